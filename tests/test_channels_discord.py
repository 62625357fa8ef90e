"""discord.py: what arrives is kept until it has been answered, and then gone."""

import asyncio
import json
import os
import signal
import warnings
from contextlib import asynccontextmanager

import pytest

with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)  # discord.py imports audioop
    discord = pytest.importorskip("discord", reason="needs discord.py")

import yarl
from discord.gateway import DiscordWebSocket
from discord.http import Route

from channels import (
    Gate,
    assert_nothing_is_left,
    blobs_on_disk,
    metas_in,
    play,
    recipe,
    sample,
    until,
)
from mediakeep import Limits, MediaMeta, open_store
from mediakeep.aio import AsyncMediaStore
from standins.discord import BOT, CHANNEL, TOKEN, VOICE_MESSAGE, Discord

agent = recipe("agent")
bot = recipe("discord_bot")

# discord.py's own, from Python 3.13 on.
pytestmark = pytest.mark.filterwarnings("ignore:'count' is passed as positional:DeprecationWarning")

JPEG, OGG, PDF = (sample(it) for it in ("photo.jpg", "voice.ogg", "invoice.pdf"))


@pytest.fixture
def started(tmp_path, monkeypatch):
    """Starts the bot at a stand-in; afterwards nothing may be left in its store."""

    @asynccontextmanager
    async def started(think=agent.think, *, takes=bot.TAKES, **options):
        folder = tmp_path / "store"
        limits = Limits(max_file_bytes=takes)
        async with (
            Discord(**options) as platform,
            AsyncMediaStore(open_store(folder, limits=limits, fsync=False)) as store,
        ):
            lead(monkeypatch, platform)
            async with bot.connected(agent.Agent(store, think), TOKEN):
                await platform.ready.wait()
                try:
                    yield platform, store
                finally:
                    if isinstance(think, Gate):
                        think.open.set()  # else a test that fails would wait for the agent
            assert_nothing_is_left(store.sync, folder)
            assert platform.credentials_at_cdn == []

    return started


def lead(monkeypatch, platform):
    """Lead discord.py to a stand-in: it has no setting for where Discord is."""
    monkeypatch.setattr(Route, "BASE", platform.api)
    monkeypatch.setattr(DiscordWebSocket, "DEFAULT_GATEWAY", yarl.URL(platform.gateway))
    monkeypatch.setattr(discord.asset.Asset, "BASE", platform.cdn)


def metas(store, scope):
    return metas_in(store.sync, scope)


def test_a_picture_is_answered_with_a_small_copy(started):
    async def story():
        async with started() as (platform, _):
            number = await platform.say("hi", platform.upload(JPEG, "lake.jpg", "image/jpeg"))
            answer = await platform.sent.get()
        assert answer.reply_to == number
        assert "hi" in answer.content and "lake.jpg" in answer.content
        ((name, data),) = answer.files
        assert name.endswith((".jpg", ".webp", ".png")) and 0 < len(data) < len(JPEG)

    play(story)


def test_media_outlive_the_scope_of_their_message_while_the_agent_thinks(started, tmp_path):
    async def story():
        gate = Gate(agent.think)
        async with started(gate) as (platform, store):
            number = await platform.say("", platform.upload(PDF, "invoice.pdf", "application/pdf"))
            await gate.reached.wait()
            turn = f"agent:discord:{CHANNEL}:{number}"
            await until(lambda: store.sync.scopes() == [turn])
            assert metas(store, turn) == [MediaMeta("invoice.pdf", "application/pdf", "discord")]
            assert len(blobs_on_disk(tmp_path / "store")) == 1
            gate.open.set()
            await platform.sent.get()
        assert gate.seen == [[("application/pdf", PDF)]]

    play(story)


def test_several_files_of_a_message_are_one_turn(started):
    async def story():
        gate = Gate(agent.think)
        gate.open.set()
        async with started(gate) as (platform, _):
            files = [
                platform.upload(JPEG, f"{number}.jpg", "image/jpeg", description="a lake")
                for number in range(10)
            ]
            await platform.say("", *files)
            answer = await platform.sent.get()
        assert len(gate.seen) == 1 and len(gate.seen[0]) == 10
        assert len(answer.files) == 10

    play(story)


def test_a_voice_message_is_answered_by_voice(started):
    async def story():
        gate = Gate(agent.think)
        async with started(gate) as (platform, store):
            voice = platform.upload(
                OGG, "voice-message.ogg", "audio/ogg", duration_secs=1.5, waveform="AAAA"
            )
            number = await platform.say("", voice, flags=VOICE_MESSAGE)
            await gate.reached.wait()
            assert metas(store, f"agent:discord:{CHANNEL}:{number}") == [
                MediaMeta("voice-message.ogg", "audio/ogg", "discord:voice")
            ]
            gate.open.set()
            answer = await platform.sent.get()
        assert answer.content.startswith("I heard")
        assert answer.files[0][1].startswith(b"OggS")

    play(story)


@pytest.mark.parametrize(
    ("data", "kind", "name", "content_type"),
    [
        (sample("diagram.png"), 1, "wave.png", "image/png"),
        (json.dumps({"v": "5.5.2", "layers": []}).encode(), 3, "wave.json", "application/json"),
    ],
    ids=["png", "lottie"],
)
def test_a_sticker_is_taken(started, data, kind, name, content_type):
    async def story():
        gate = Gate(agent.think)
        async with started(gate) as (platform, store):
            number = await platform.say("", stickers=[platform.sticker(data, "wave", kind)])
            await gate.reached.wait()
            assert metas(store, f"agent:discord:{CHANNEL}:{number}") == [
                MediaMeta(name, content_type, "discord:sticker")
            ]
            gate.open.set()
            await platform.sent.get()
        assert gate.seen == [[(content_type, data)]]

    play(story)


@pytest.mark.parametrize(
    "name", ["../../etc/passwd", "a\x00\nb.pdf", "\u202efdp.exe", "x" * 300 + ".pdf", ""]
)
def test_a_hostile_name_stays_a_name(started, name, tmp_path):
    async def story():
        gate = Gate(agent.think)
        async with started(gate) as (platform, store):
            number = await platform.say("", platform.upload(PDF, name, "application/pdf"))
            await gate.reached.wait()
            (meta,) = metas(store, f"agent:discord:{CHANNEL}:{number}")
            assert not set("/\\\0\n\u202e") & set(meta.filename) and len(meta.filename) <= 255
            assert [it for it in tmp_path.iterdir() if it.name != "store"] == []
            gate.open.set()
            answer = await platform.sent.get()
        assert gate.seen == [[("application/pdf", PDF)]]
        assert len(answer.content) <= 2000

    play(story)


def test_what_is_said_to_be_too_large_is_refused_and_not_even_fetched(started):
    async def story():
        async with started() as (platform, _):
            large = platform.upload(b"", "film.mp4", "video/mp4") | {"size": bot.TAKES + 1}
            await platform.say("", large)
            answer = await platform.sent.get()
            assert "too large" in answer.content and "25 MiB" in answer.content
            assert platform.fetched == []

    play(story)


def test_what_turns_out_to_be_too_large_is_refused_and_the_rest_is_taken(started):
    async def story():
        gate = Gate(agent.think)
        gate.open.set()
        async with started(gate, takes=100_000) as (platform, _):
            liar = platform.upload(bytes(3_000_000), "zeros.bin", "application/octet-stream") | {
                "size": 1
            }
            await platform.say("look", liar, platform.upload(PDF, "invoice.pdf", "application/pdf"))
            assert "too large" in (await platform.sent.get()).content
            assert "invoice.pdf" in (await platform.sent.get()).content
        assert gate.seen == [[("application/pdf", PDF)]]

    play(story)


@pytest.mark.parametrize(("megabytes", "attached"), [(10, 0), (50, 1)])
def test_an_answer_that_the_guild_does_not_take_is_told_of_instead(started, megabytes, attached):
    async def think(text, media):
        large = bytes(11 << 20)
        return "here", [(large, MediaMeta("film.bin", "application/octet-stream"))]

    async def story():
        async with started(think, upload_limit=megabytes << 20) as (platform, _):
            await platform.say("make a film")
            answer = await platform.sent.get()
        assert len(answer.files) == attached
        assert ("too large for Discord" in answer.content) is not bool(attached)

    play(story)


def test_a_message_that_comes_again_is_one_turn(started):
    async def story():
        gate = Gate(agent.think)
        gate.open.set()
        async with started(gate) as (platform, _):
            photo = platform.upload(JPEG, "lake.jpg", "image/jpeg")
            number = await platform.say("once", photo)
            await platform.say("once", photo, number=number)
            await platform.sent.get()
            await platform.say("then", platform.upload(PDF, "a.pdf", "application/pdf"), number=number)
            await platform.say("other")
            assert "other" in (await platform.sent.get()).content
        assert len(gate.seen) == 2

    play(story)


def test_bots_are_not_answered(started):
    async def story():
        async with started() as (platform, _):
            await platform.say("I am a bot", author=BOT | {"id": "101"})
            await platform.say("I am not")
            assert "I am not" in (await platform.sent.get()).content

    play(story)


def test_a_file_that_cannot_be_fetched_leaves_nothing(started):
    async def story():
        async with started() as (platform, _):
            gone = platform.upload(PDF, "invoice.pdf", "application/pdf")
            gone["url"] = gone["url"].replace("hm=", "hm=0")
            good = platform.upload(JPEG, "lake.jpg", "image/jpeg")
            await platform.say("", good, gone)
            answer = await platform.sent.get()
            assert "could not" in answer.content and "invoice.pdf" in answer.content
            assert "lake.jpg" in (await platform.sent.get()).content

    play(story)


def test_direct_messages_are_answered(started):
    async def story():
        async with started() as (platform, _):
            await platform.say("hi", platform.upload(JPEG, "lake.jpg", "image/jpeg"), guild=False)
            answer = await platform.sent.get()
        assert answer.channel == "500" and len(answer.files) == 1

    play(story)


def test_nobody_is_called_by_what_somebody_said(started):
    async def story():
        async with started() as (platform, _):
            await platform.say("@everyone **come**")
            answer = await platform.sent.get()
        assert answer.mentions["parse"] == []

    play(story)


def test_what_was_taken_over_is_answered_before_the_bot_stops(started):
    async def story():
        gate = Gate(agent.think)
        async with started(gate) as (platform, _):
            await platform.say("", platform.upload(PDF, "invoice.pdf", "application/pdf"))
            await gate.reached.wait()
        assert "invoice.pdf" in platform.sent.get_nowait().content

    play(story)


def test_the_program_answers_and_leaves_nothing_when_it_is_told_to_stop(tmp_path, monkeypatch):
    folder = tmp_path / "store"
    monkeypatch.setenv("MEDIA_STORE", str(folder))
    monkeypatch.setenv("DISCORD_TOKEN", TOKEN)

    async def story():
        async with Discord() as platform, asyncio.TaskGroup() as tasks:
            lead(monkeypatch, platform)
            tasks.create_task(bot.main())
            await platform.ready.wait()
            await platform.say("", platform.upload(PDF, "invoice.pdf", "application/pdf"))
            assert "invoice.pdf" in (await platform.sent.get()).content
            os.kill(os.getpid(), signal.SIGTERM)
        with open_store(folder) as store:
            assert_nothing_is_left(store, folder)

    play(story)


def test_a_token_that_is_none_is_said(tmp_path, monkeypatch):
    async def story():
        async with Discord() as platform, AsyncMediaStore(open_store(tmp_path / "store")) as store:
            lead(monkeypatch, platform)
            with pytest.raises(ExceptionGroup) as failed:
                async with bot.connected(agent.Agent(store), "wrong"):
                    await asyncio.Event().wait()
            assert failed.group_contains(discord.LoginFailure)

    play(story)
