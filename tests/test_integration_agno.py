"""agno: media of sessions in a store, under the session's scope; its own local storage beside ours."""

import asyncio
import base64
import hashlib
import inspect
import urllib.request
import uuid

import pytest

pytest.importorskip("agno", reason="needs mediakeep[agno]")

from agno.agent import Agent
from agno.db.in_memory import InMemoryDb
from agno.media import Image
from agno.media.storage.base import AsyncMediaStorage, MediaStorage
from agno.media.storage.local.async_local import AsyncLocalMediaStorage
from agno.media.storage.local.local import LocalMediaStorage
from agno.models.base import Model
from agno.models.response import ModelResponse

from cancelling import CANCELLED, Watched, at_each_call, at_each_wait
from mediakeep import FileMediaStore, Limits, MediaMissing, open_store
from mediakeep.integrations.agno import (
    AgnoMedia,
    AsyncAgnoMedia,
    scope_of_upload,
    session_scope,
)
from pictures import photograph, written

JPEG = written(photograph(320, 240), "JPEG")
PNG = written(photograph(80, 60), "PNG")
BASE64 = base64.b64encode(JPEG).decode()[:400]


def upload_id(session="42", medium=None, data=JPEG):
    """What agno gives as the id of an upload."""
    return f"{session[:120]}-{medium or uuid.uuid4()}-{hashlib.sha256(data).hexdigest()[:16]}"


@pytest.fixture
def memory():
    with FileMediaStore() as store:
        yield store


class Called:
    """Either kind of storage, called in the same words."""

    def __init__(self, storage):
        self.storage = storage

    def __getattr__(self, verb):
        def call(*args, **kwargs):
            result = getattr(self.storage, verb)(*args, **kwargs)
            return asyncio.run(result) if inspect.iscoroutine(result) else result

        return call


@pytest.fixture(params=["ours", "ours, awaited", "agno's", "agno's, awaited"])
def storage(request, tmp_path, memory):
    """Ours, and those of agno that tell whether what is asked for here is the protocol."""
    return Called(
        {
            "ours": lambda: AgnoMedia(memory),
            "ours, awaited": lambda: AsyncAgnoMedia(memory),
            "agno's": lambda: LocalMediaStorage(str(tmp_path)),
            "agno's, awaited": lambda: AsyncLocalMediaStorage(str(tmp_path)),
        }[request.param]()
    )


# -- the protocol


def test_what_is_uploaded_is_downloaded_by_its_key(storage):
    key = storage.upload(upload_id(), JPEG, mime_type="image/jpeg", filename="lake.jpg")
    assert storage.exists(key)
    assert storage.download(key) == JPEG


def test_deleting_says_that_it_is_gone_however_often(storage):
    key = storage.upload(upload_id(), JPEG)
    assert storage.delete(key)
    assert storage.delete(key)
    assert not storage.exists(key)
    with pytest.raises(FileNotFoundError):
        storage.download(key)


def test_deleting_many_counts_what_is_gone(storage):
    keys = [storage.upload(upload_id(data=it), it) for it in (JPEG, PNG)]
    assert storage.delete_many([*keys, "never-uploaded"]) == 3
    assert not any(storage.exists(it) for it in keys)


def test_the_same_upload_again_has_the_same_key(storage):
    medium = upload_id()
    keys = {storage.upload(medium, JPEG, mime_type="image/jpeg") for _ in range(3)}
    assert len(keys) == 1


def test_one_session_may_end_what_another_has_as_well(storage):
    one, other = (storage.upload(upload_id(it), JPEG) for it in ("42", "43"))
    storage.delete(one)
    assert storage.download(other) == JPEG


def test_a_folder_has_no_links(storage):
    assert storage.get_url(storage.upload(upload_id(), JPEG)) is None


# -- what only a store with scopes gives


def test_they_are_storages_of_agno(memory):
    assert isinstance(AgnoMedia(memory), MediaStorage)
    assert isinstance(AsyncAgnoMedia(memory), AsyncMediaStorage)
    sync, awaited = (AgnoMedia(memory, bucket="b"), AsyncAgnoMedia(memory, bucket="b"))
    assert (sync.backend_name, sync.bucket) == (awaited.backend_name, awaited.bucket)


def test_the_key_is_the_ref_and_all_else_is_known_of_it(store):
    key = AgnoMedia(store).upload(upload_id(), JPEG, mime_type="image/jpeg", filename="../lake.jpg")
    entry = store.entry(f"media://{key}")
    assert (entry.scope, entry.meta.filename) == ("agno:42", "lake.jpg")
    assert entry.meta.content_type == "image/jpeg"


def test_media_end_with_the_scope_of_their_session(store):
    media = AgnoMedia(store)
    mine = [media.upload(upload_id("a:b", data=it), it) for it in (JPEG, PNG)]
    other = media.upload(upload_id("a"), JPEG)
    store.release_all(session_scope("a:b"))
    assert not any(media.exists(it) for it in mine)
    with pytest.raises(MediaMissing, match="released"):
        media.download(mine[0])
    assert media.download(other) == JPEG


@pytest.mark.parametrize(
    ("session", "medium", "scope"),
    [
        ("chat-7", None, "agno:chat-7"),
        (str(uuid.UUID(int=7)), None, f"agno:{uuid.UUID(int=7)}"),
        ("a:b%", None, "agno:a%3Ab%25"),
        ("line\nbreak", None, "agno:line\nbreak"),
        ("7", "my-photo", None),  # where the session ends cannot be told
        ("s" * 120, None, None),  # it may go on
        ("s" * 200, None, None),
    ],
)
def test_the_session_is_told_from_an_upload_only_where_that_is_certain(session, medium, scope):
    upload = upload_id(session, medium)
    assert scope_of_upload(upload) == (scope or f"agno:upload:{upload}")


def test_the_scope_may_be_given(memory):
    AgnoMedia(memory, "chat:42:turn:1").upload(upload_id(), JPEG)
    AgnoMedia(memory, lambda media_id: f"user:{media_id[:2]}").upload(upload_id(), JPEG)
    assert memory.scopes() == ["chat:42:turn:1", "user:42"]
    with pytest.raises(ValueError, match="scope"):
        AgnoMedia(memory, "")


def test_the_same_id_for_other_bytes_is_another_medium(memory):
    media, medium = AgnoMedia(memory), upload_id()
    keys = [media.upload(medium, it) for it in (JPEG, PNG)]
    assert [media.download(it) for it in keys] == [JPEG, PNG]


@pytest.mark.parametrize("kind", [AgnoMedia, AsyncAgnoMedia])
@pytest.mark.parametrize("medium", ["i1", "2ec2b5d1-22eb-4757-b84a-79679112b25f"])
def test_sessions_that_agno_cuts_to_the_same_have_media_of_their_own(memory, kind, medium):
    """agno gives both the same id of the upload, and each deletes what its own run names."""
    storage = Called(kind(memory))
    uploads = [upload_id("s" * 120 + it, medium) for it in ("-first", "-second")]
    assert uploads[0] == uploads[1]
    first, second = (storage.upload(it, JPEG) for it in uploads)
    storage.delete(first)
    assert storage.download(second) == JPEG


def test_an_upload_that_nobody_finds_again_leaves_nothing_when_it_is_cancelled(memory):
    medium = upload_id("s" * 200)
    storage = AsyncAgnoMedia(Watched(memory))

    def check(outcome):
        if outcome is not CANCELLED:
            memory.release(f"media://{outcome}")
        assert memory.stats().refs == 0

    async def main():
        assert await at_each_wait("asyncio task", lambda: storage.upload(medium, JPEG), check)
        assert await at_each_call("asyncio task", lambda: storage.upload(medium, JPEG), check)

    asyncio.run(main())


@pytest.mark.parametrize("medium", ["i1", "2ec2b5d1-22eb-4757-b84a-79679112b25f"])
def test_sessions_that_agno_leaves_whole_upload_a_medium_once(memory, medium):
    storage = Called(AgnoMedia(memory))
    assert len({storage.upload(upload_id("s" * 110, medium), JPEG) for _ in range(2)}) == 1


def test_a_link_of_object_storage_leads_to_the_bytes(fleet):
    with open_store(**fleet) as store:
        media = AgnoMedia(store)
        key = media.upload(upload_id(), JPEG, mime_type="image/jpeg")
        url = media.get_url(key, expires_in=60)
        with urllib.request.urlopen(url, timeout=10) as response:
            assert response.read() == JPEG
        store.release(f"media://{key}")
        assert media.get_url(key) is None


def test_a_delete_that_fails_says_so(tmp_path, caplog):
    store = open_store(tmp_path / "store", fsync=False)
    media = AgnoMedia(store)
    key = media.upload(upload_id(), JPEG)
    store.close()
    assert media.delete(key) is False
    assert f"cannot release media://{key}" in caplog.text


# -- a whole agent


class Scripted(Model):
    """A model that keeps what it is asked, and says the same to everything."""

    def __init__(self):
        super().__init__(id="scripted")
        self.asked = []

    def invoke(self, messages, **_):
        self.asked.append([it for message in messages for it in message.images or []])
        return ModelResponse(role="assistant", content="a lake")

    async def ainvoke(self, messages, **_):
        return self.invoke(messages)

    def invoke_stream(self, messages, **_):
        yield self.invoke(messages)

    async def ainvoke_stream(self, messages, **_):
        yield self.invoke(messages)

    def _parse_provider_response(self, response, **_):
        return response

    _parse_provider_response_delta = _parse_provider_response


def agent_with(storage):
    db = InMemoryDb()
    agent = Agent(
        model=Scripted(),
        db=db,
        media_storage=storage,
        store_media=True,
        add_history_to_context=True,
        telemetry=False,
    )
    return agent, db


def test_a_session_keeps_its_pictures_in_the_store_until_it_is_deleted(memory):
    agent, db = agent_with(AgnoMedia(memory))
    agent.run("What is this?", images=[Image(content=JPEG)], session_id="42")
    assert BASE64 not in str(db.get_sessions(deserialize=False))
    (entry,) = memory.entries("agno:42")
    assert memory.read_bytes(entry.ref) == JPEG

    agent.run("And now?", session_id="42")
    assert [it.content for it in agent.model.asked[-1]] == [JPEG]
    assert memory.stats().refs == 1

    agent.delete_session("42", delete_media=True)
    assert memory.stats().files == 0


def test_without_a_storage_the_session_has_the_pictures_itself():
    agent, db = agent_with(None)
    agent.run("What is this?", images=[Image(content=JPEG)], session_id="42")
    assert BASE64 in str(db.get_sessions(deserialize=False))


def test_an_awaited_session_too(memory):
    async def main():
        agent, _ = agent_with(AsyncAgnoMedia(memory))
        await agent.arun("What is this?", images=[Image(content=JPEG)], session_id="42")
        assert [it.scope for it in memory.entries()] == ["agno:42"]
        await agent.arun("And now?", session_id="42")
        assert [it.content for it in agent.model.asked[-1]] == [JPEG]
        await agent.adelete_session("42", delete_media=True)
        assert memory.stats().files == 0

    asyncio.run(main())


def test_a_picture_that_the_store_refuses_stays_with_the_session(tmp_path):
    with open_store(tmp_path / "store", limits=Limits(max_file_bytes=1000)) as store:
        agent, _ = agent_with(AgnoMedia(store))
        agent.run("What is this?", images=[Image(content=JPEG)], session_id="42")
        agent.run("And now?", session_id="42")
        assert [it.content for it in agent.model.asked[-1]] == [JPEG]
        assert store.stats().files == 0
