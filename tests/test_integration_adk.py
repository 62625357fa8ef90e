"""google-adk: artifacts in a store; ADK's own services tell whether what is asked for is its contract.

What is asked of all of them is what ADK's public tests of its artifact services ask.
"""

import asyncio
import threading
import urllib.request
from dataclasses import replace
from datetime import UTC, datetime

import pytest

pytest.importorskip("google.adk", reason="needs mediakeep[adk]")

from google.adk.agents import Agent
from google.adk.artifacts import InMemoryArtifactService
from google.adk.artifacts.file_artifact_service import FileArtifactService
from google.adk.errors.input_validation_error import InputValidationError
from google.adk.models import BaseLlm, LlmResponse
from google.adk.runners import Runner
from google.adk.sessions import InMemorySessionService
from google.adk.tools import ToolContext
from google.genai import types

from mediakeep import FileMediaStore, Limits, MediaMissing, TooLarge, open_store
from mediakeep.integrations.adk import AdkArtifacts
from pictures import photograph, written

JPEG = written(photograph(320, 240), "JPEG")
APP = {"app_name": "app", "user_id": "user"}
SESSION = {**APP, "session_id": "42"}


def picture(data=JPEG, mime_type="image/jpeg"):
    return types.Part.from_bytes(data=data, mime_type=mime_type)


def text(words):
    return types.Part(text=words)


class Called:
    """A service whose verbs are not awaited."""

    def __init__(self, service):
        self.service = service

    def __getattr__(self, verb):
        return lambda **asked: asyncio.run(getattr(self.service, verb)(**asked))


@pytest.fixture
def memory():
    with FileMediaStore() as store:
        yield store


@pytest.fixture(params=["mediakeep", "memory", "file"])
def service(request, tmp_path, memory):
    """Ours, and two of ADK's own."""
    if request.param == "file":
        return Called(FileArtifactService(root_dir=tmp_path / "artifacts"))
    return Called(InMemoryArtifactService() if request.param == "memory" else AdkArtifacts(memory))


@pytest.fixture(params=["mediakeep", "memory"])
def both(request, memory):
    """Ours, and ADK's in memory: that of files has less."""
    return Called(InMemoryArtifactService() if request.param == "memory" else AdkArtifacts(memory))


@pytest.fixture
def ours(memory):
    return Called(AdkArtifacts(memory))


# -- versions


def test_what_is_not_there_is_none_and_no_error(service):
    nothing = {**SESSION, "filename": "lake.jpg"}
    assert service.load_artifact(**nothing) is None
    assert service.get_artifact_version(**nothing) is None
    assert service.list_versions(**nothing) == []
    assert service.list_artifact_versions(**nothing) == []
    assert service.list_artifact_keys(**SESSION) == []
    service.delete_artifact(**nothing)


@pytest.mark.parametrize(
    "part",
    [
        picture(),
        picture(b"\0" * 3, "text/plain"),
        text("words, and Zoë's"),
        picture(b"", "application/pdf"),
        types.Part(inline_data=types.Blob(mime_type="a/b", data=b"c", display_name="My (final).png")),
    ],
)
def test_what_was_saved_is_loaded(service, part):
    assert service.save_artifact(**SESSION, filename="it", artifact=part) == 0
    assert service.load_artifact(**SESSION, filename="it") == part


def test_a_part_may_be_given_as_json_has_it(service):
    part = {"inlineData": {"mimeType": "text/plain", "data": "aGVsbG8="}}
    service.save_artifact(**SESSION, filename="it", artifact=part)
    assert service.load_artifact(**SESSION, filename="it").inline_data.data == b"hello"


def test_each_save_is_the_next_version_and_all_stay(service):
    for number in range(12):
        saved = service.save_artifact(**SESSION, filename="a/b c", artifact=text(f"v{number}"))
        assert saved == number
    assert service.list_versions(**SESSION, filename="a/b c") == list(range(12))
    assert service.load_artifact(**SESSION, filename="a/b c") == text("v11")
    assert service.load_artifact(**SESSION, filename="a/b c", version=1) == text("v1")
    assert service.load_artifact(**SESSION, filename="a/b c", version=0) == text("v0")
    for none in (12, -1):
        assert service.load_artifact(**SESSION, filename="a/b c", version=none) is None
        assert service.get_artifact_version(**SESSION, filename="a/b c", version=none) is None


def test_what_is_said_of_a_version_is_kept_with_it(service):
    for number in range(2):
        service.save_artifact(
            **SESSION, filename="it", artifact=picture(), custom_metadata={"n": number, "deep": [1.5]}
        )
    versions = service.list_artifact_versions(**SESSION, filename="it")
    assert [it.version for it in versions] == [0, 1]
    assert [it.custom_metadata for it in versions] == [{"n": n, "deep": [1.5]} for n in range(2)]
    assert {it.mime_type for it in versions} == {"image/jpeg"}
    assert service.get_artifact_version(**SESSION, filename="it") == versions[1]
    assert service.get_artifact_version(**SESSION, filename="it", version=0) == versions[0]
    assert len({it.canonical_uri for it in versions}) == 2


def test_deleting_ends_all_versions_and_numbers_begin_again(service):
    for _ in range(2):
        service.save_artifact(**SESSION, filename="it", artifact=picture())
    service.delete_artifact(**SESSION, filename="it")
    assert service.load_artifact(**SESSION, filename="it") is None
    assert service.list_artifact_keys(**SESSION) == []
    assert service.save_artifact(**SESSION, filename="it", artifact=picture()) == 0


def test_a_name_within_another_is_an_artifact_of_its_own(service):
    service.save_artifact(**SESSION, filename="doc", artifact=text("parent"))
    for number in range(3):
        service.save_artifact(**SESSION, filename="doc/nested", artifact=text(f"nested {number}"))
    assert service.list_artifact_keys(**SESSION) == ["doc", "doc/nested"]
    assert service.list_versions(**SESSION, filename="doc") == [0]
    assert service.load_artifact(**SESSION, filename="doc") == text("parent")
    service.delete_artifact(**SESSION, filename="doc")
    assert service.load_artifact(**SESSION, filename="doc/nested") == text("nested 2")


# -- whose they are


def test_names_are_listed_with_those_of_the_user(service):
    for name in ("user:profile.png", "b.txt", "a.txt"):
        service.save_artifact(**SESSION, filename=name, artifact=text(name))
    assert service.list_artifact_keys(**SESSION) == ["a.txt", "b.txt", "user:profile.png"]
    assert service.list_artifact_keys(**APP) == ["user:profile.png"]
    assert service.list_artifact_keys(**APP, session_id="43") == ["user:profile.png"]


def test_what_is_the_users_is_there_in_every_session(service):
    service.save_artifact(**SESSION, filename="user:it", artifact=text("mine"))
    assert service.load_artifact(**APP, session_id="43", filename="user:it") == text("mine")
    assert service.load_artifact(**APP, filename="user:it") == text("mine")
    service.delete_artifact(**APP, filename="user:it")
    assert service.load_artifact(**SESSION, filename="user:it") is None


@pytest.mark.parametrize("other", [{"app_name": "b"}, {"user_id": "b"}, {"session_id": "b"}])
def test_others_see_and_delete_nothing(service, other):
    service.save_artifact(**SESSION, filename="it", artifact=text("mine"))
    theirs = {**SESSION, **other, "filename": "it"}
    assert service.load_artifact(**theirs) is None
    assert service.list_versions(**theirs) == []
    service.delete_artifact(**theirs)
    assert service.load_artifact(**SESSION, filename="it") == text("mine")


def test_what_is_a_sessions_needs_one(both):
    for verb in ("load_artifact", "list_versions", "delete_artifact"):
        with pytest.raises(InputValidationError, match="Session ID"):
            getattr(both, verb)(**APP, filename="it")
    with pytest.raises(InputValidationError, match="Session ID"):
        both.save_artifact(**APP, filename="it", artifact=text(""))


BAD_NAMES = (
    "",
    " ",
    "..",
    "../escape",
    "a/../b",
    "/etc",
    "\\a",
    "C:\\a",
    "a\0b",
    "v/sessions/s",
    "v/apps",
)


@pytest.mark.parametrize("name", BAD_NAMES)
@pytest.mark.parametrize("field", ["app_name", "user_id", "session_id"])
def test_names_that_could_lead_elsewhere_are_refused(service, field, name):
    asked = {**SESSION, field: name}
    named = {**asked, "filename": "user:it" if field != "session_id" else "it"}
    with pytest.raises(InputValidationError):
        service.save_artifact(**named, artifact=text(""))
    for verb in ("load_artifact", "delete_artifact", "list_versions"):
        with pytest.raises(InputValidationError):
            getattr(service, verb)(**named)
    with pytest.raises(InputValidationError):
        service.list_artifact_keys(**asked)


@pytest.mark.parametrize("user_id", ["group/user", "aa:b", "aa%3Ab", "Zoë"])
def test_names_may_hold_what_separates_scopes(service, user_id):
    asked = {"app_name": "projects/1/engines/2", "user_id": user_id, "session_id": "ss:1"}
    service.save_artifact(**asked, filename="x", artifact=text("mine"))
    assert service.load_artifact(**asked, filename="x") == text("mine")
    assert service.list_artifact_keys(**asked) == ["x"]


# -- references


def reference(name="source", session="/sessions/42", version=0, user="user"):
    uri = f"artifact://apps/app/users/{user}{session}/artifacts/{name}/versions/{version}"
    return types.Part(file_data=types.FileData(file_uri=uri, mime_type="text/plain"))


def test_a_reference_leads_to_what_it_names(both):
    both.save_artifact(**SESSION, filename="folder/source", artifact=text("v0"))
    both.save_artifact(**SESSION, filename="folder/source", artifact=text("v1"))
    both.save_artifact(**SESSION, filename="user:mine", artifact=text("mine"))
    both.save_artifact(**SESSION, filename="one", artifact=reference("folder/source"))
    both.save_artifact(**SESSION, filename="two", artifact=reference("user:mine", session=""))
    assert both.load_artifact(**SESSION, filename="one") == text("v0")
    assert both.load_artifact(**SESSION, filename="two") == text("mine")
    assert both.get_artifact_version(**SESSION, filename="one").mime_type is None


@pytest.mark.parametrize(
    "part", [reference(user="other"), reference(session="/sessions/43"), reference(version="x")]
)
def test_a_reference_to_what_is_not_yours_is_refused(both, part):
    with pytest.raises(InputValidationError):
        both.save_artifact(**SESSION, filename="it", artifact=part)


def test_a_reference_is_checked_again_when_it_is_loaded(memory, ours):
    """Rows may come from elsewhere: of an older version, or of somebody who writes to the database."""
    ours.save_artifact(**APP, session_id="43", filename="source", artifact=text("theirs"))
    ours.save_artifact(**SESSION, filename="it", artifact=reference())
    kept = memory.entry(ours.get_artifact_version(**SESSION, filename="it").canonical_uri)
    memory.release(kept.ref)
    altered = replace(kept.meta, source=kept.meta.source.replace("/sessions/42/", "/sessions/43/"))
    assert altered != kept.meta
    memory.put(b"", altered, kept.scope)
    with pytest.raises(InputValidationError, match="same session"):
        ours.load_artifact(**SESSION, filename="it")


def test_a_reference_to_itself_ends(both):
    both.save_artifact(**SESSION, filename="it", artifact=reference("it"))
    with pytest.raises(InputValidationError, match="depth"):
        both.load_artifact(**SESSION, filename="it")


def test_a_chain_of_references_is_followed_as_far_as_adk_does(both):
    both.save_artifact(**SESSION, filename="0", artifact=text("end"))
    for number in range(1, 7):
        both.save_artifact(**SESSION, filename=str(number), artifact=reference(str(number - 1)))
    assert both.load_artifact(**SESSION, filename="5") == text("end")
    with pytest.raises(InputValidationError, match="depth"):
        both.load_artifact(**SESSION, filename="6")


def test_a_file_elsewhere_is_kept_as_its_address(both):
    part = types.Part(file_data=types.FileData(file_uri="gs://b/lake.jpg", mime_type="image/jpeg"))
    both.save_artifact(**SESSION, filename="it", artifact=part)
    assert both.load_artifact(**SESSION, filename="it") == part
    assert both.get_artifact_version(**SESSION, filename="it").mime_type == "image/jpeg"


def test_empty_text_is_text_and_an_empty_part_is_refused(both):
    both.save_artifact(**SESSION, filename="it", artifact=text(""))
    assert both.load_artifact(**SESSION, filename="it") == text("")
    with pytest.raises(InputValidationError):
        both.save_artifact(**SESSION, filename="it", artifact=types.Part())


@pytest.mark.parametrize(
    "part",
    [
        types.Part(file_data=types.FileData(file_uri="")),
        types.Part(inline_data=types.Blob(mime_type="image/png")),
        types.Part(function_call=types.FunctionCall(name="f")),
    ],
)
def test_a_part_without_content_is_refused(ours, part):
    """As ADK's services of files and of buckets do."""
    with pytest.raises(InputValidationError):
        ours.save_artifact(**SESSION, filename="it", artifact=part)
    assert ours.list_artifact_keys(**SESSION) == []


def test_an_artifact_that_a_rewind_removed_is_none(service):
    gone = types.Part(inline_data=types.Blob(mime_type="application/octet-stream", data=b""))
    service.save_artifact(**SESSION, filename="it", artifact=text("was there"))
    assert service.save_artifact(**SESSION, filename="it", artifact=gone) == 1
    assert service.load_artifact(**SESSION, filename="it") is None
    assert service.load_artifact(**SESSION, filename="it", version=0) == text("was there")


def test_what_was_saved_or_loaded_may_be_changed_without_harm(both):
    part, said = picture(), {"tags": ["a"]}
    both.save_artifact(**SESSION, filename="it", artifact=part, custom_metadata=said)
    part.inline_data.data = b"changed"
    said["tags"].append("b")
    both.load_artifact(**SESSION, filename="it").inline_data.data = b"changed"
    assert both.load_artifact(**SESSION, filename="it") == picture()
    assert both.get_artifact_version(**SESSION, filename="it").custom_metadata == {"tags": ["a"]}


# -- what only a store with scopes gives


def save_some(service):
    for session in ("42", "43", "user"):
        asked = {**APP, "session_id": session}
        service.save_artifact(**asked, filename="lake.jpg", artifact=picture())
        service.save_artifact(**asked, filename="a:b/c", artifact=picture())
    service.save_artifact(**SESSION, filename="user:me.jpg", artifact=picture())


def test_a_sessions_artifacts_end_with_its_scope(store):
    service = Called(AdkArtifacts(store))
    save_some(service)
    store.release_all(service.service.scope(**SESSION), nested=True)
    assert service.list_artifact_keys(**SESSION) == ["user:me.jpg"]
    assert service.list_artifact_keys(**APP, session_id="43") == ["a:b/c", "lake.jpg", "user:me.jpg"]
    assert service.list_artifact_keys(**APP, session_id="user") == ["a:b/c", "lake.jpg", "user:me.jpg"]


def test_all_that_a_user_has_ends_with_one_scope(store):
    service = Called(AdkArtifacts(store))
    save_some(service)
    store.erase(service.service.scope(**APP))
    assert store.stats().refs == 0


def test_a_padded_session_is_the_session_that_adk_makes_of_it(ours):
    ours.save_artifact(**APP, session_id="42\n", filename="it", artifact=text("mine"))
    assert ours.load_artifact(**SESSION, filename="it") == text("mine")


def test_the_uri_of_a_version_is_its_ref_and_its_time_that_of_the_store(memory, ours):
    ours.save_artifact(**SESSION, filename="docs/lake.jpg", artifact=picture())
    version = ours.get_artifact_version(**SESSION, filename="docs/lake.jpg")
    path, meta = memory.resolve_with_meta(version.canonical_uri)
    assert path.read_bytes() == JPEG
    assert (meta.filename, meta.content_type) == ("lake.jpg", "image/jpeg")
    now = datetime.now(UTC).timestamp()
    assert now - 60 < version.create_time <= now + 1


def test_a_version_in_object_storage_has_a_link(fleet):
    with open_store(**fleet) as store:
        service = Called(AdkArtifacts(store))
        service.save_artifact(**SESSION, filename="lake.jpg", artifact=picture())
        ref = service.get_artifact_version(**SESSION, filename="lake.jpg").canonical_uri
        with urllib.request.urlopen(store.url(ref, 60), timeout=10) as response:
            assert response.read() == JPEG


def test_artifacts_are_there_after_a_restart(tmp_path):
    for number in range(3):
        with open_store(tmp_path / "store", fsync=False) as store:
            service = Called(AdkArtifacts(store))
            assert service.save_artifact(**SESSION, filename="it", artifact=text(f"{number}")) == number


def test_saves_at_once_get_versions_of_their_own(kind, opened):
    """From services and stores of their own, as of several processes; in memory there is one."""
    stores = [opened()] * 3 if kind == "memory" else [opened() for _ in range(3)]
    services = [Called(AdkArtifacts(it)) for it in stores]
    ready, saved = threading.Barrier(6), []

    def save(number):
        ready.wait()
        part = text(str(number))
        version = services[number % 3].save_artifact(**SESSION, filename="it", artifact=part)
        saved.append((version, part))

    threads = [threading.Thread(target=save, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    versions = sorted(version for version, _ in saved)
    assert len(set(versions)) == 6
    assert services[0].list_versions(**SESSION, filename="it") == versions
    for version, part in saved:
        assert services[0].load_artifact(**SESSION, filename="it", version=version) == part


def test_a_save_that_the_store_refuses_leaves_nothing(tmp_path):
    with open_store(tmp_path / "store", limits=Limits(max_file_bytes=1000)) as store:
        service = Called(AdkArtifacts(store))
        with pytest.raises(TooLarge):
            service.save_artifact(**SESSION, filename="it", artifact=picture())
        assert service.list_artifact_keys(**SESSION) == []


def test_metadata_that_json_cannot_have_is_refused(ours):
    for said in ({"x": object()}, {"x": float("nan")}):
        with pytest.raises(InputValidationError, match="JSON"):
            ours.save_artifact(**SESSION, filename="it", artifact=text(""), custom_metadata=said)


def test_metadata_too_deep_to_be_sent_is_refused_and_leaves_nothing(ours):
    deep = {}
    for _ in range(500):
        deep = {"in": deep}
    with pytest.raises(InputValidationError, match="custom_metadata"):
        ours.save_artifact(**SESSION, filename="it", artifact=text(""), custom_metadata=deep)
    assert ours.list_versions(**SESSION, filename="it") == []


def test_a_file_that_somebody_deleted_is_missed_aloud(memory, ours):
    ours.save_artifact(**SESSION, filename="it", artifact=picture())
    memory.resolve(ours.get_artifact_version(**SESSION, filename="it").canonical_uri).unlink()
    with pytest.raises(MediaMissing):
        ours.load_artifact(**SESSION, filename="it")


# -- a whole agent


class Scripted(BaseLlm):
    """A model that asks for a tool once, and then says what it got."""

    async def generate_content_async(self, llm_request, stream=False):
        last = llm_request.contents[-1].parts[-1]
        if last.function_response is None:
            part = types.Part(function_call=types.FunctionCall(name="draw", args={}))
        else:
            part = text(str(last.function_response.response["result"]))
        yield LlmResponse(content=types.Content(role="model", parts=[part]))


async def draw(tool_context: ToolContext) -> str:
    """Draw a lake."""
    version = await tool_context.save_artifact("lake.jpg", picture())
    loaded = await tool_context.load_artifact("lake.jpg")
    return f"version {version} of {await tool_context.list_artifacts()}, {len(loaded.inline_data.data)}"


def test_an_agent_saves_and_loads_what_its_tool_draws(memory):
    service = AdkArtifacts(memory)

    async def main():
        sessions = InMemorySessionService()
        agent = Agent(name="painter", model=Scripted(model="scripted"), tools=[draw])
        runner = Runner(app_name="app", agent=agent, session_service=sessions, artifact_service=service)
        await sessions.create_session(**SESSION)
        said = []
        for _ in range(2):
            message = types.Content(role="user", parts=[text("Draw a lake")])
            async for event in runner.run_async(user_id="user", session_id="42", new_message=message):
                said += [it.text for it in event.content.parts if it.text]
        await runner.close()
        return said

    assert asyncio.run(main()) == [f"version {n} of ['lake.jpg'], {len(JPEG)}" for n in range(2)]
    memory.release_all(service.scope(**SESSION), nested=True)
    assert memory.stats().files == 0
