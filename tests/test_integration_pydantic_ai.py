"""pydantic-ai: snapshots find media by hash, histories hold refs, and both end with their scope."""

import asyncio
import threading
import urllib.request

import pytest

pytest.importorskip("pydantic_ai_harness", reason="needs mediakeep[pydantic-ai]")

from pydantic_ai import Agent, ModelMessagesTypeAdapter
from pydantic_ai.messages import (
    BinaryContent,
    FilePart,
    ImageUrl,
    ModelRequest,
    ModelResponse,
    SpeechPart,
    TextPart,
    ToolCallPart,
    ToolReturnPart,
    UserPromptPart,
)
from pydantic_ai.models.function import FunctionModel
from pydantic_ai_harness import StepPersistence
from pydantic_ai_harness.media import (
    DiskMediaStore,
    MediaContext,
    MediaStore,
    SqliteMediaStore,
    media_uri_for,
)
from pydantic_ai_harness.step_persistence import FileStepStore, continue_run

from mediakeep import FileMediaStore, Limits, MediaMeta, MediaMissing, TooLarge, open_store
from mediakeep.integrations.pydantic_ai import (
    HarnessMedia,
    KeepMedia,
    externalize_history,
    inline_history,
)
from mediakeep.testing import FakeClock
from pictures import frames, photograph, written

JPEG = written(photograph(320, 240), "JPEG")
PNG = written(photograph(80, 60), "PNG")
SCOPE = "chat:42"


def run(work):
    return asyncio.run(work)


@pytest.fixture
def memory():
    with FileMediaStore() as store:
        yield store


# -- the protocol, as the harness's own stores have it


@pytest.fixture(params=["mediakeep", "disk", "sqlite"])
def media(request, tmp_path):
    """Ours, and two of theirs that tell whether what is asked for here is the protocol."""
    if request.param == "disk":
        yield DiskMediaStore(tmp_path / "media")
    elif request.param == "sqlite":
        yield SqliteMediaStore(database=tmp_path / "media.db")
    else:
        with open_store(tmp_path / "store", fsync=False) as store:
            yield HarnessMedia(store, SCOPE)


def test_it_is_a_media_store_of_the_harness(media):
    assert isinstance(media, MediaStore)


def test_what_is_put_is_got_by_the_hash_of_its_bytes(media):
    async def main():
        address = await media.put(JPEG, context=MediaContext(media_type="image/jpeg"))
        assert address == media_uri_for(JPEG)
        assert await media.get(address) == JPEG
        assert await media.exists(address)

    run(main())


@pytest.mark.parametrize("verb", ["get", "get_metadata"])
def test_what_was_never_put_is_a_file_that_is_not_found(media, verb):
    address = media_uri_for(b"never put")
    with pytest.raises(FileNotFoundError):
        run(getattr(media, verb)(address))
    assert not run(media.exists(address))


@pytest.mark.parametrize("address", ["media+sha256://" + "0" * 63, "media://x", "../../etc/passwd"])
def test_what_is_no_address_is_refused(media, address):
    for verb in (media.get, media.exists, media.get_metadata):
        with pytest.raises(ValueError, match=r"sha256|media URI"):
            run(verb(address))


def test_metadata_comes_back_as_the_first_put_gave_it(media):
    async def main():
        tags = {"run": "7", "who": "Zoë \n\0 {}"}
        address = await media.put(JPEG, context=MediaContext(metadata=tags))
        assert await media.put(JPEG) == address
        assert await media.get_metadata(address) == tags
        assert await media.get_metadata(await media.put(PNG)) == {}

    run(main())


def test_empty_bytes_are_bytes(media):
    async def main():
        assert await media.get(await media.put(b"")) == b""

    run(main())


# -- what only a store with scopes gives


def test_the_same_bytes_are_one_ref_however_often_and_wherever_they_are_put(store):
    async def main():
        await asyncio.gather(*(HarnessMedia(store, SCOPE).put(PNG) for _ in range(3)))
        media = HarnessMedia(store, SCOPE)
        before = store.stats().refs
        for _ in range(3):
            await media.put(PNG)
            await HarnessMedia(store, SCOPE).put(PNG)  # of another process, say
        assert store.stats().refs == before
        assert await media.get(media_uri_for(PNG)) == PNG

    run(main())


def test_media_end_with_their_scope_and_no_other(store):
    async def main():
        one, other = HarnessMedia(store, SCOPE), HarnessMedia(store, "chat:43")
        address = await one.put(JPEG)
        assert not await other.exists(address)
        await other.put(JPEG)
        store.release_all(SCOPE)
        assert not await one.exists(address)
        with pytest.raises(MediaMissing, match="scope 'chat:42'"):
            await one.get(address)
        assert await other.get(address) == JPEG

    run(main())


def test_what_came_into_the_scope_otherwise_is_found_but_not_relied_on(store):
    async def main():
        media = HarnessMedia(store, SCOPE)
        theirs = store.put(JPEG, MediaMeta(source="telegram"), SCOPE)
        assert await media.get(media_uri_for(JPEG)) == JPEG
        address = await media.put(JPEG)
        store.release(theirs)
        assert await media.get(address) == JPEG

    run(main())


def test_a_history_in_the_same_scope_keeps_its_refs_when_a_snapshot_renews_its_own(memory):
    (message,) = externalize_history([ask(JPEG)], memory, SCOPE)

    async def main():
        media = HarnessMedia(memory, SCOPE, ttl=60)
        for _ in range(3):
            await media.put(JPEG)

    run(main())
    assert memory.read_bytes(data_of(message).decode()) == JPEG


def test_each_put_begins_the_time_to_live_again():
    clock = FakeClock()

    async def main():
        media = HarnessMedia(store, SCOPE, ttl=60)
        address = await media.put(JPEG)
        for _ in range(3):
            clock.advance(50)
            store.sweep()
            assert await media.put(JPEG) == address
        assert await media.get(address) == JPEG
        assert store.stats().refs == 1
        clock.advance(61)
        store.sweep()
        assert not await media.exists(address)
        assert store.stats().files == 0

    with FileMediaStore(clock=clock) as store:
        run(main())


def test_what_is_renewed_by_one_can_be_got_by_another_at_every_moment(opened, kind):
    one = opened()
    other = one if kind == "memory" else opened()
    address, done = media_uri_for(PNG), threading.Event()
    run(HarnessMedia(one, SCOPE, ttl=60).put(PNG))

    def renew():
        media = HarnessMedia(one, SCOPE, ttl=60)
        while not done.is_set():
            run(media.put(PNG))

    async def get(media):
        for _ in range(30):
            assert await media.get(address) == PNG

    thread = threading.Thread(target=renew)
    thread.start()
    try:
        run(get(HarnessMedia(other, SCOPE)))
    finally:
        done.set()
        thread.join()


def test_it_works_in_event_loop_after_event_loop(memory):
    media = HarnessMedia(memory, SCOPE)
    address = run(media.put(JPEG))
    assert run(media.get(address)) == JPEG


def test_a_link_is_given_only_where_there_is_one(memory):
    async def main(media):
        return await media.public_url(await media.put(JPEG))

    assert run(main(HarnessMedia(memory, SCOPE))) is None
    assert run(main(HarnessMedia(memory, SCOPE, url_expires_in=60))) is None


def test_a_link_of_object_storage_leads_to_the_bytes(fleet):
    async def main(media):
        address = await media.put(JPEG, context=MediaContext(media_type="image/jpeg"))
        return await media.public_url(address), await media.public_url(media_uri_for(b"other"))

    with open_store(**fleet) as store:
        url, none = run(main(HarnessMedia(store, SCOPE, url_expires_in=60)))
        assert none is None
        with urllib.request.urlopen(url, timeout=10) as response:
            assert response.read() == JPEG


def test_what_the_store_refuses_is_refused_in_its_own_words(tmp_path):
    with open_store(tmp_path / "store", limits=Limits(max_file_bytes=1000)) as store:
        with pytest.raises(TooLarge):
            run(HarnessMedia(store, SCOPE).put(JPEG))
        assert store.stats().files == 0


def test_media_without_a_scope_would_never_end(memory):
    with pytest.raises(ValueError, match="scope"):
        HarnessMedia(memory, "")


def test_a_snapshot_is_continued_with_its_media_and_ends_with_its_scope(tmp_path):
    seen = []

    def model(messages, _info):
        seen.append(messages)
        return ModelResponse(parts=[TextPart("a lake")])

    def agent(store):
        steps = FileStepStore(
            tmp_path / "steps", media_store=HarnessMedia(store, SCOPE), media_threshold_bytes=1024
        )
        return steps, Agent(FunctionModel(model), capabilities=[StepPersistence(store=steps)])

    async def first(store):
        _, asked = agent(store)
        await asked.run(["What is this?", BinaryContent(JPEG, media_type="image/jpeg")])

    async def second(store):
        steps, asked = agent(store)
        (run_id,) = (it.run_id for it in await steps.list_runs())
        history = await continue_run(steps, run_id=run_id)
        await asked.run("And now?", message_history=history)

    with open_store(tmp_path / "store", fsync=False) as store:
        run(first(store))
    snapshots = b"".join(it.read_bytes() for it in (tmp_path / "steps").glob("*/snapshots/*.json"))
    assert b"media+sha256://" in snapshots
    assert len(snapshots) < len(JPEG)
    with open_store(tmp_path / "store", fsync=False) as store:  # after a restart
        run(second(store))
        assert data_of(seen[-1][0]) == JPEG
        store.release_all(SCOPE)
        assert store.stats().files == 0


# -- histories


def ask(data, media_type="image/jpeg"):
    content = ["What is this?", BinaryContent(data, media_type=media_type)]
    return ModelRequest(parts=[UserPromptPart(content=content)])


def data_of(message):
    return message.parts[0].content[1].data


def every_place():
    """A history with media wherever pydantic-ai has them."""
    tool = {"shots": [BinaryContent(PNG, media_type="image/png"), "text"], "n": 1}
    answer = ToolReturnPart(tool_name="look", content=tool, tool_call_id="1")
    alone = ToolReturnPart(
        tool_name="see", content=BinaryContent(JPEG, media_type="image/jpeg"), tool_call_id="2"
    )
    speech = SpeechPart(
        speaker="assistant", transcript="hi", audio=BinaryContent(b"\0" * 2000, media_type="audio/wav")
    )
    made = FilePart(content=BinaryContent(PNG, media_type="image/png"), id="f", provider_name="p")
    return [
        ask(JPEG),
        ModelResponse(parts=[TextPart("let me see"), made, speech]),
        ModelRequest(parts=[answer, alone]),
    ]


def test_a_history_comes_back_as_it_was_from_every_place(store):
    history = every_place()
    kept = externalize_history(history, store, SCOPE)
    saved = ModelMessagesTypeAdapter.dump_json(kept)
    assert len(saved) < 3500
    loaded = ModelMessagesTypeAdapter.validate_json(saved)
    again = inline_history(loaded, store)
    assert ModelMessagesTypeAdapter.dump_json(again) == ModelMessagesTypeAdapter.dump_json(history)
    assert store.stats().refs == 3
    assert {it.meta.source for it in store.entries(SCOPE)} == {"pydantic-ai"}


def test_the_history_that_was_given_is_not_changed(memory):
    history = every_place()
    before = ModelMessagesTypeAdapter.dump_json(history)
    kept = externalize_history(history, memory, SCOPE)
    inline_history(kept, memory)
    assert ModelMessagesTypeAdapter.dump_json(history) == before


def test_saving_a_growing_history_again_makes_no_more_refs_than_there_are_media(memory):
    history = [ask(JPEG)]
    first = externalize_history(history, memory, SCOPE)
    second = externalize_history([*first, ask(JPEG), ask(PNG, "image/png")], memory, SCOPE)
    assert data_of(second[0]) == data_of(second[1]) == data_of(first[0])
    assert memory.stats().refs == 2


def test_a_file_is_called_what_the_model_was_told_before_and_after(memory):
    message = ask(JPEG)
    told = message.parts[0].content[1].identifier
    (kept,) = externalize_history([message], memory, SCOPE)
    (full,) = inline_history([kept], memory)
    assert kept.parts[0].content[1].identifier == full.parts[0].content[1].identifier == told


def test_what_is_small_stays_in_the_history(memory):
    small = ask(b"R" * 1023)
    assert externalize_history([small], memory, SCOPE)[0] is small
    assert externalize_history([small], memory, SCOPE, min_bytes=1023)[0] is not small


def test_in_place_of_media_that_have_ended_the_model_reads_why(memory):
    kept = externalize_history(every_place(), memory, SCOPE)
    memory.release_all(SCOPE)
    asked, answered, tools = inline_history(kept, memory)
    assert "released" in asked.parts[0].content[1]
    assert isinstance(answered.parts[1], TextPart)
    assert "released" in answered.parts[1].content
    assert answered.parts[2].audio is None
    assert "released" in tools.parts[0].content["shots"][0]
    assert tools.parts[0].content["shots"][1] == "text"


def test_a_picture_is_made_to_fit_the_provider(memory):
    gif = frames("GIF", 2)
    (kept,) = externalize_history([ask(gif, "image/gif")], memory, SCOPE, min_bytes=1)
    (sent,) = inline_history([kept], memory, provider="openai")
    content = sent.parts[0].content[1]
    assert content.media_type in ("image/png", "image/jpeg", "image/webp")
    assert content.data[:6] != gif[:6]


def test_a_ref_that_is_written_as_an_url_becomes_the_picture(memory):
    ref = memory.put(JPEG, scope=SCOPE)
    message = ModelRequest(parts=[UserPromptPart(content=[ImageUrl(ref)])])
    (sent,) = inline_history([message], memory)
    (content,) = sent.parts[0].content
    assert (content.data, content.media_type) == (JPEG, "image/jpeg")


def test_an_agent_has_refs_in_its_history_and_its_model_has_the_media(tmp_path):
    seen = []

    def model(messages, _info):
        seen.append(messages)
        if len(messages) == 1:
            return ModelResponse(parts=[ToolCallPart("look", {})])
        return ModelResponse(parts=[TextPart("a lake")])

    with open_store(tmp_path / "store", fsync=False) as store:
        keep = KeepMedia(store, lambda ctx: f"chat:{ctx.deps}", provider="anthropic")
        agent = Agent(FunctionModel(model), deps_type=int, capabilities=[keep])

        @agent.tool_plain
        def look() -> list:
            return ["a closer look", BinaryContent(PNG, media_type="image/png")]

        first = run(agent.run(["What is this?", BinaryContent(JPEG, media_type="image/jpeg")], deps=42))
        assert data_of(seen[1][0]) == JPEG
        assert seen[1][2].parts[0].content[1].data == PNG
        assert len(first.new_messages()) == 4
        saved = first.all_messages_json()
        assert len(saved) < 4000
        assert saved.count(b"bWVkaWE6Ly") == 2  # `media://` in base64

        history = ModelMessagesTypeAdapter.validate_json(saved)
        second = run(agent.run("And now?", deps=42, message_history=history))
        assert data_of(seen[-1][0]) == JPEG
        assert len(second.new_messages()) == 2
        assert store.scopes() == ["chat:42"]
        assert store.stats().refs == 2


def test_a_provider_that_is_none_is_refused_before_a_run(memory):
    with pytest.raises(ValueError, match="no provider"):
        KeepMedia(memory, SCOPE, provider="nobody")
