"""The agent of the channel recipes: it takes over before the channel lets go, whatever happens."""

import asyncio

import pytest

pytest.importorskip("PIL", reason="needs mediakeep[images]")

from channels import Gate, assert_nothing_is_left, blobs_on_disk, play, recipe, sample
from mediakeep import MediaMeta, RefReleased, open_store
from mediakeep.aio import AsyncMediaStore

recipes = recipe("agent")
albums = recipe("albums")

SCOPE = "test:42:1"


class Channel:
    """A channel that keeps what the agent answers, and looks at the files of the answer."""

    def __init__(self, store: AsyncMediaStore) -> None:
        self.store = store
        self.answers: list[tuple[str, list[bytes]]] = []

    async def reply(self, answer) -> None:
        files = [await self.store.read_bytes(ref) for ref in answer.refs]
        self.answers.append((answer.text, files))

    async def receive(self, agent, name="photo.jpg", scope=SCOPE, text="hello") -> None:
        """Put a sample, hand it over, and let go of it."""
        async with self.store.scope(scope) as turn:
            ref = await turn.put(sample(name), MediaMeta(name, source="test"))
            await agent.hand_over(recipes.Message(scope, text, [ref], self.reply))


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "store"


@pytest.fixture
def opened(folder):
    return lambda: AsyncMediaStore(open_store(folder, fsync=False))


def test_the_channel_lets_go_while_the_agent_still_thinks(opened, folder):
    async def story():
        async with opened() as store:
            channel, gate = Channel(store), Gate(recipes.think)
            async with recipes.Agent(store, gate) as agent:
                await channel.receive(agent)
                await gate.reached.wait()
                assert await store.scopes() == [f"agent:{SCOPE}"]
                assert len(blobs_on_disk(folder)) == (await store.stats()).leases == 1
                await store.release_all(f"agent:{SCOPE}")  # whatever ends it meanwhile
                assert len(blobs_on_disk(folder)) == 1
                gate.open.set()
            assert gate.seen == [[("image/jpeg", sample("photo.jpg"))]]
            assert len(channel.answers) == 1
            assert_nothing_is_left(store.sync, folder)

    play(story)


def test_many_turns_at_once_wait_for_each_other_and_the_channel_for_none(opened, folder):
    async def story():
        async with opened() as store:
            channel, may_answer, two = Channel(store), asyncio.Event(), asyncio.Event()
            at_once = most = 0

            async def counted(text, media):
                nonlocal at_once, most
                at_once += 1
                most = max(most, at_once)
                if at_once == 2:
                    two.set()
                await may_answer.wait()
                at_once -= 1
                return text, []

            async with recipes.Agent(store, counted, at_once=2) as agent:
                for number in range(6):  # none of these waits for a turn to end
                    await channel.receive(agent, "voice.ogg", f"test:42:{number}", str(number))
                assert {it.split(":")[0] for it in await store.scopes()} == {"agent"}
                await two.wait()
                may_answer.set()
            assert sorted(text for text, _ in channel.answers) == list("012345")
            assert most == 2
            assert_nothing_is_left(store.sync, folder)

    play(story)


def test_an_agent_that_fails_says_so_and_leaves_nothing(opened, folder, caplog):
    async def story():
        async with opened() as store:
            channel = Channel(store)

            async def fail(text, media):
                raise ZeroDivisionError

            async with recipes.Agent(store, fail) as agent:
                await channel.receive(agent)
                await channel.receive(agent, scope="test:42:2")
            assert channel.answers == [("Sorry, something went wrong here.", [])] * 2
            assert_nothing_is_left(store.sync, folder)

    play(story)
    assert "test:42:1: the agent failed" in caplog.text


def test_an_answer_that_cannot_be_sent_leaves_nothing_and_stops_nobody(opened, folder, caplog):
    async def story():
        async with opened() as store:
            channel = Channel(store)

            async def fail(answer):
                raise ConnectionError("the platform is away")

            async with recipes.Agent(store) as agent:
                async with store.scope(SCOPE) as turn:
                    ref = await turn.put(sample("photo.jpg"))
                    await agent.hand_over(recipes.Message(SCOPE, "", [ref], fail))
                await channel.receive(agent, scope="test:42:2")
            assert len(channel.answers) == 1
            assert_nothing_is_left(store.sync, folder)

    play(story)
    assert "test:42:1: the answer could not be sent" in caplog.text


def test_a_ref_that_has_ended_cannot_be_handed_over(opened, folder):
    async def story():
        async with opened() as store, recipes.Agent(store) as agent:
            channel = Channel(store)
            live, dead = [await store.put(sample(it), scope=SCOPE) for it in ("voice.ogg", "photo.jpg")]
            await store.release(dead)
            with pytest.raises(RefReleased):
                await agent.hand_over(recipes.Message(SCOPE, "", [live, dead], channel.reply))
            assert await store.scopes() == [SCOPE], "what had been shared by then is not kept"
            await channel.receive(agent)

    play(story)


def test_a_message_is_taken_once_unless_taking_it_failed(opened):
    async def story():
        async with opened() as store, recipes.Agent(store) as agent:
            with pytest.raises(ConnectionError):
                async with agent.first_time(SCOPE) as first:
                    assert first
                    raise ConnectionError
            for expected in (True, False, False):
                async with agent.first_time(SCOPE) as first:
                    assert first is expected

    play(story)


def test_what_was_answered_before_a_restart_is_not_answered_again(opened):
    async def story():
        async with opened() as store:
            channel = Channel(store)
            async with recipes.Agent(store) as agent:
                await channel.receive(agent)
        async with opened() as store, recipes.Agent(store) as agent:
            async with agent.first_time(SCOPE) as first:
                assert not first
            async with agent.first_time("test:42:2") as first:
                assert first

    play(story)


def test_what_a_killed_turn_left_ends_with_the_turn_of_the_same_message(opened, folder):
    async def story():
        async with opened() as store:
            for scope in (SCOPE, f"agent:{SCOPE}"):  # refs that nobody got to end
                await store.put(sample("voice.ogg"), scope=scope)
        async with opened() as store:
            channel = Channel(store)
            async with recipes.Agent(store) as agent:
                await channel.receive(agent)
            assert len(channel.answers) == 1
            assert_nothing_is_left(store.sync, folder)

    play(story)


def test_an_agent_that_stops_waits_for_what_is_being_received(opened, folder):
    async def story():
        async with opened() as store:
            channel, receiving = Channel(store), asyncio.Event()

            async def receive(agent):
                async with agent.first_time(SCOPE):
                    receiving.set()
                    await asyncio.sleep(0.05)  # a download
                    await channel.receive(agent)

            async with recipes.Agent(store) as agent:
                task = asyncio.create_task(receive(agent))
                await receiving.wait()
            await task
            assert len(channel.answers) == 1
            with pytest.raises(RuntimeError, match="has stopped"):
                await channel.receive(agent)
            assert_nothing_is_left(store.sync, folder)

    play(story)


def test_it_answers_in_kind(opened):
    async def story():
        async with opened() as store:
            channel = Channel(store)
            async with recipes.Agent(store) as agent:
                for name in ("photo.jpg", "voice.ogg", "invoice.pdf"):
                    await channel.receive(agent, name, f"test:42:{name}")
            kinds = sorted(file[:4] for _, (file,) in channel.answers)
            assert kinds == sorted([b"\xff\xd8\xff\xe0", b"OggS", b"hell"])

    play(story)


def test_ids_of_a_platform_never_make_a_level_of_a_scope():
    assert recipes.scope_of("matrix", "!a:b.org", "$x/y%3A") == "matrix:%21a%3Ab.org:%24x%2Fy%253A"
    assert recipes.scope_of("telegram", -100123, 7) == "telegram:-100123:7"


def test_an_album_is_whole_when_nothing_more_comes():
    async def story():
        gathered = albums.Albums(0.2)
        assert await gathered.whole(None, 1) == [1]
        first = asyncio.create_task(gathered.whole("a", 1))
        other = asyncio.create_task(gathered.whole("b", 10))
        await asyncio.sleep(0)
        assert [await gathered.whole("a", it) for it in (2, 3)] == [[], []]
        assert (await first, await other) == ([1, 2, 3], [10])
        assert await gathered.whole("a", 4) == [4], "what comes too late begins anew"

    play(story)
