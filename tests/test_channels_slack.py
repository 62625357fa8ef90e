"""slack-bolt: what arrives is kept until it has been answered, and then gone."""

import asyncio
from contextlib import asynccontextmanager

import pytest

pytest.importorskip("slack_bolt", reason="needs slack-bolt")

from aiohttp import web
from aiohttp.test_utils import TestServer
from slack_bolt.async_app import AsyncApp
from slack_sdk.web.async_client import AsyncWebClient

from channels import (
    Gate,
    assert_nothing_is_left,
    blobs_on_disk,
    metas_in,
    play,
    recipe,
    running,
    sample,
    until,
)
from mediakeep import Limits, MediaMeta, open_store
from mediakeep.aio import AsyncMediaStore
from standins.slack import APP_TOKEN, BOT_TOKEN, CHANNEL, SIGNING_SECRET, Slack

agent = recipe("agent")
bot = recipe("slack_bot")

JPEG, PDF, OGG = (sample(it) for it in ("photo.jpg", "invoice.pdf", "voice.ogg"))


@pytest.fixture
def started(tmp_path):
    """Starts the bot at a stand-in; afterwards nothing may be left in its store."""

    @asynccontextmanager
    async def started(think=agent.think, *, takes=bot.TAKES, http=False):
        folder = tmp_path / "store"
        limits = Limits(max_file_bytes=takes)
        async with (
            Slack() as platform,
            AsyncMediaStore(open_store(folder, limits=limits, fsync=False)) as store,
        ):
            client = AsyncWebClient(BOT_TOKEN, base_url=f"{platform.url}/api/")
            app = AsyncApp(client=client, signing_secret=SIGNING_SECRET)
            mind = agent.Agent(store, think)
            bot.SlackBot(mind, app, platform.url)
            receiving = bot.connected(mind, app, APP_TOKEN)
            if http:
                receiving = bot.serving(mind, app, 0, "127.0.0.1")
            async with receiving as port:
                platform.events_url = f"http://127.0.0.1:{port}/slack/events"
                if not http:
                    await platform.connected.wait()
                try:
                    yield platform, store
                finally:
                    if isinstance(think, Gate):
                        think.open.set()  # else a test that fails would wait for the agent
            assert_nothing_is_left(store.sync, folder)

    return started


def scope_of(event):
    return f"slack:{CHANNEL}:{event['event']['ts']}"


def metas(store, event):
    return metas_in(store.sync, f"agent:{scope_of(event)}")


def test_a_picture_is_answered_in_its_thread_with_a_small_copy(started):
    async def story():
        async with started() as (platform, _):
            event = platform.event("hi", platform.file(JPEG, "lake.jpg", "image/jpeg"))
            envelope = await platform.deliver(event)
            answer = await platform.sent.get()
            assert await platform.acknowledged.get() == envelope
        assert (answer.channel, answer.thread) == (CHANNEL, event["event"]["ts"])
        assert "hi" in answer.text and "lake.jpg" in answer.text
        ((name, data),) = answer.files
        assert name.endswith((".jpg", ".webp", ".png")) and 0 < len(data) < len(JPEG)

    play(story)


def test_media_outlive_the_scope_of_their_message_while_the_agent_thinks(started, tmp_path):
    async def story():
        gate = Gate(agent.think)
        async with started(gate) as (platform, store):
            event = platform.event("", platform.file(PDF, "invoice.pdf", "application/pdf"))
            await platform.deliver(event)
            await gate.reached.wait()
            await until(lambda: store.sync.scopes() == [f"agent:{scope_of(event)}"])
            assert metas(store, event) == [MediaMeta("invoice.pdf", "application/pdf", "slack")]
            assert len(blobs_on_disk(tmp_path / "store")) == 1
            gate.open.set()
            await platform.sent.get()
        assert gate.seen == [[("application/pdf", PDF)]]

    play(story)


def test_an_audio_clip_is_answered_by_voice(started):
    async def story():
        gate = Gate(agent.think)
        async with started(gate) as (platform, store):
            clip = platform.file(OGG, "audio_message.ogg", "audio/ogg", subtype="slack_audio")
            event = platform.event("", clip)
            await platform.deliver(event)
            await gate.reached.wait()
            assert metas(store, event) == [MediaMeta("audio_message.ogg", "audio/ogg", "slack:voice")]
            gate.open.set()
            answer = await platform.sent.get()
        assert answer.text.startswith("I heard")
        assert answer.files[0][1].startswith(b"OggS")

    play(story)


def test_several_files_of_a_message_are_one_turn(started):
    async def story():
        gate = Gate(agent.think)
        gate.open.set()
        async with started(gate) as (platform, _):
            files = [platform.file(JPEG, f"{it}.jpg", "image/jpeg") for it in range(4)]
            await platform.deliver(platform.event("", *files))
            answer = await platform.sent.get()
        assert [len(it) for it in gate.seen] == [4]
        assert len(answer.files) == 4

    play(story)


@pytest.mark.parametrize("http", [False, True], ids=["socket", "http"])
def test_what_slack_sends_again_is_one_turn(started, http):
    async def story():
        gate = Gate(agent.think)
        async with started(gate, http=http) as (platform, store):
            event = platform.event("once", platform.file(PDF, "invoice.pdf", "application/pdf"))
            send = platform.post if http else platform.deliver
            await send(event)
            await gate.reached.wait()
            for number in (1, 2, 3):  # while the first is being answered
                await send(event, retry=number)
            gate.open.set()
            assert "once" in (await platform.sent.get()).text
            await until(lambda: not store.sync.scopes())
            await send(event, retry=1)  # and after it
            await send(platform.event("other"))
            assert "other" in (await platform.sent.get()).text
        assert len(gate.seen) == 2
        assert len(platform.fetched) == 1

    play(story)


def test_an_event_that_slack_did_not_sign_is_refused(started):
    async def story():
        async with started(http=True) as (platform, _):
            event = platform.event("hi", platform.file(PDF, "invoice.pdf", "application/pdf"))
            assert await platform.post(event, secret="another") == 401
            assert await platform.post(platform.event("good")) == 200
            assert "good" in (await platform.sent.get()).text
            assert platform.fetched == []

    play(story)


@pytest.mark.parametrize("external", [True, False], ids=["told", "not-told"])
def test_the_token_goes_to_slack_only(started, external):
    async def story():
        asked = []

        async def elsewhere(request):
            asked.append(dict(request.headers))
            return web.Response(body=PDF)

        other = web.Application()
        other.router.add_get("/{path:.*}", elsewhere)
        async with TestServer(other) as server, started() as (platform, _):
            url = str(server.make_url("/files-pri/invoice.pdf"))
            where = {"url_private": url, "url_private_download": url, "is_external": external}
            file = platform.file(PDF, "invoice.pdf", "application/pdf", **where)
            await platform.deliver(platform.event("", file))
            assert "Sorry" in (await platform.sent.get()).text
        assert asked == []

    play(story)


def test_a_page_to_sign_in_is_not_taken_for_the_file(started):
    async def story():
        async with started() as (platform, _):
            file = platform.file(PDF, "invoice.pdf", "application/pdf")
            platform.token = "xoxb-with-more-scopes"
            await platform.deliver(platform.event("", file))
            assert "Sorry" in (await platform.sent.get()).text

    play(story)


def test_a_file_of_another_workspace_is_asked_for_first(started):
    async def story():
        gate = Gate(agent.think)
        gate.open.set()
        async with started(gate) as (platform, _):
            file = platform.file(PDF, "invoice.pdf", "application/pdf")
            stub = {"id": file["id"], "file_access": "check_file_info"}
            await platform.deliver(platform.event("", stub))
            assert "invoice.pdf" in (await platform.sent.get()).text
        assert gate.seen == [[("application/pdf", PDF)]]

    play(story)


def test_a_file_that_is_gone_is_told_of(started):
    async def story():
        async with started() as (platform, _):
            await platform.deliver(platform.event("", {"id": "F0", "mode": "tombstone"}))
            assert "Sorry" in (await platform.sent.get()).text

    play(story)


def test_what_is_said_to_be_too_large_is_refused_and_not_even_fetched(started):
    async def story():
        async with started() as (platform, _):
            film = platform.file(b"", "film.mp4", "video/mp4", size=bot.TAKES + 1)
            await platform.deliver(platform.event("", film))
            assert "too large: I take up to 50 MiB" in (await platform.sent.get()).text
        assert platform.fetched == []

    play(story)


def test_what_turns_out_to_be_too_large_is_refused_and_the_rest_is_taken(started):
    async def story():
        gate = Gate(agent.think)
        gate.open.set()
        async with started(gate, takes=100_000) as (platform, _):
            liar = platform.file(bytes(3_000_000), "zeros.bin", "application/octet-stream", size=1)
            good = platform.file(PDF, "invoice.pdf", "application/pdf")
            await platform.deliver(platform.event("look", liar, good))
            assert "too large" in (await platform.sent.get()).text
            assert "invoice.pdf" in (await platform.sent.get()).text
        assert gate.seen == [[("application/pdf", PDF)]]

    play(story)


@pytest.mark.parametrize(
    "name", ["../../etc/passwd", "a\x00\nb.pdf", "\u202efdp.exe", "x" * 300 + ".pdf", ""]
)
def test_a_hostile_name_stays_a_name(started, name, tmp_path):
    async def story():
        gate = Gate(agent.think)
        async with started(gate) as (platform, store):
            event = platform.event("", platform.file(PDF, name, "application/pdf"))
            await platform.deliver(event)
            await gate.reached.wait()
            (meta,) = metas(store, event)
            assert not set("/\\\0\n\u202e") & set(meta.filename) and len(meta.filename) <= 255
            assert [it for it in tmp_path.iterdir() if it.name != "store"] == []
            gate.open.set()
            await platform.sent.get()
        assert gate.seen == [[("application/pdf", PDF)]]

    play(story)


@pytest.mark.parametrize(
    "more",
    [{"subtype": "message_changed"}, {"subtype": "channel_join"}, {"bot_id": "B2"}],
    ids=["edit", "join", "bot"],
)
def test_only_what_people_say_is_answered(started, more):
    async def story():
        async with started() as (platform, _):
            await platform.deliver(platform.event("not to be answered", **more))
            await platform.deliver(platform.event("hi"))
            assert "hi" in (await platform.sent.get()).text

    play(story)


def test_nobody_is_called_by_what_somebody_said(started):
    async def story():
        async with started() as (platform, _):
            await platform.deliver(platform.event("&lt;!channel&gt; &amp; come"))
            assert "&lt;!channel&gt; &amp; come" in (await platform.sent.get()).text

    play(story)


def test_what_was_taken_over_is_answered_before_the_bot_stops(started):
    async def story():
        gate = Gate(agent.think)
        async with started(gate) as (platform, _):
            await platform.deliver(platform.event("", platform.file(PDF, "a.pdf", "application/pdf")))
            await gate.reached.wait()
        assert "a.pdf" in platform.sent.get_nowait().text

    play(story)


def test_the_program_answers_and_leaves_nothing_when_it_is_told_to_stop(tmp_path):
    folder = tmp_path / "store"

    async def story():
        async with Slack() as platform:
            environment = {
                "SLACK_API_URL": f"{platform.url}/api/",
                "SLACK_FILES_URL": platform.url,
                "SLACK_BOT_TOKEN": BOT_TOKEN,
                "SLACK_APP_TOKEN": APP_TOKEN,
                "MEDIA_STORE": str(folder),
            }
            with running("slack_bot", **environment) as process:
                await platform.connected.wait()
                file = platform.file(PDF, "invoice.pdf", "application/pdf")
                await platform.deliver(platform.event("", file))
                assert "invoice.pdf" in (await platform.sent.get()).text
                process.terminate()
                assert await asyncio.to_thread(process.wait) == 0
        with open_store(folder) as store:
            assert_nothing_is_left(store, folder)

    play(story)
