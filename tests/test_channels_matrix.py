"""matrix-nio: what arrives is kept until it has been answered, and then gone."""

import asyncio
import shutil
from contextlib import asynccontextmanager

import pytest

pytest.importorskip("vodozemac", reason="needs matrix-nio[e2e]")

from aiohttp import web
from aiohttp.test_utils import TestServer
from nio import AsyncClient, AsyncClientConfig, RoomEncryptedMedia, RoomMessageNotice
from nio.crypto import decrypt_attachment

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
from standins.matrix import ALICES_TOKEN, ROOM, SECRET_ROOM, SERVER, TOKEN, USERS, Matrix

agent = recipe("agent")
bot = recipe("matrix_bot")

JPEG, PDF, OGG, WEBP = (sample(it) for it in ("photo.jpg", "invoice.pdf", "voice.ogg", "sticker.webp"))


@pytest.fixture(scope="module")
def accounts(tmp_path_factory):
    """Folders of keys, by user: a new one costs more than all else that a test does."""
    folder = tmp_path_factory.mktemp("accounts")

    async def make():
        for token, (user, device) in USERS.items():
            (folder / token).mkdir()
            client = AsyncClient("http://standin.example", store_path=str(folder / token))
            client.restore_login(user, device, token)
            client.store.database.close()
            await client.close()

    play(make)
    return folder


@pytest.fixture
def started(tmp_path, accounts):
    """Starts the bot at a stand-in; afterwards nothing may be left in its store."""

    @asynccontextmanager
    async def started(think=agent.think, *, takes=bot.TAKES, platform=None, **options):
        folder = tmp_path / "store"
        shutil.copytree(accounts / TOKEN, tmp_path / "keys")
        limits = Limits(max_file_bytes=takes)
        async with AsyncMediaStore(open_store(folder, limits=limits, fsync=False)) as store:
            async with Matrix(**options) as platform:
                mind = agent.Agent(store, think)
                async with bot.connected(mind, platform.url, TOKEN, tmp_path / "keys"):
                    await platform.syncing.wait()
                    try:
                        yield platform, store
                    finally:
                        if isinstance(think, Gate):
                            think.open.set()  # else a test that fails would wait for the agent
            assert_nothing_is_left(store.sync, folder)

    return started


def file(url, name="invoice.pdf", kind="m.file", content_type="application/pdf", **more):
    return {"msgtype": kind, "body": name, "url": url, "info": {"mimetype": content_type}, **more}


def metas(store, event, room=ROOM):
    return metas_in(store.sync, f"agent:{agent.scope_of('matrix', room, event)}")


def test_a_picture_is_answered_with_a_small_copy(started):
    async def story():
        async with started() as (platform, _):
            photo = file(platform.upload(JPEG), "lake.jpg", "m.image", "image/jpeg")
            event = await platform.send(photo)
            words, picture = await platform.sent.get(), await platform.sent.get()
        assert (words.room, words.content["msgtype"]) == (ROOM, "m.notice")
        assert "lake.jpg" in words.content["body"]
        assert words.content["m.relates_to"] == {"m.in_reply_to": {"event_id": event}}
        assert picture.content["msgtype"] == "m.image"
        data, content_type = platform.media[picture.content["url"].removeprefix("mxc://")]
        assert 0 < len(data) < len(JPEG) and content_type.startswith("image/")

    play(story)


def test_media_outlive_the_scope_of_their_message_while_the_agent_thinks(started, tmp_path):
    async def story():
        gate = Gate(agent.think)
        async with started(gate) as (platform, store):
            event = await platform.send(file(platform.upload(PDF)))
            await gate.reached.wait()
            turn = f"agent:{agent.scope_of('matrix', ROOM, event)}"
            await until(lambda: store.sync.scopes() == [turn])
            assert metas(store, event) == [MediaMeta("invoice.pdf", "application/pdf", "matrix")]
            assert len(blobs_on_disk(tmp_path / "store")) == 1
            gate.open.set()
            await platform.sent.get()
        assert gate.seen == [[("application/pdf", PDF)]]

    play(story)


def test_a_voice_message_is_answered_by_voice(started):
    async def story():
        gate = Gate(agent.think)
        async with started(gate) as (platform, store):
            voice = {"org.matrix.msc1767.audio": {"duration": 1500}, "org.matrix.msc3245.voice": {}}
            said = file(platform.upload(OGG), "Voice message.ogg", "m.audio", "audio/ogg", **voice)
            event = await platform.send(said)
            await gate.reached.wait()
            assert metas(store, event) == [MediaMeta("Voice message.ogg", "audio/ogg", "matrix:voice")]
            gate.open.set()
            assert (await platform.sent.get()).content["body"].startswith("I heard")
            answer = (await platform.sent.get()).content
        assert answer["msgtype"] == "m.audio" and "org.matrix.msc3245.voice" in answer
        assert platform.media[answer["url"].removeprefix("mxc://")][0].startswith(b"OggS")

    play(story)


def test_a_sticker_is_taken(started):
    async def story():
        gate = Gate(agent.think)
        async with started(gate) as (platform, store):
            sticker = {
                "body": "a wave",
                "url": platform.upload(WEBP),
                "info": {"mimetype": "image/webp"},
            }
            event = await platform.send(sticker, "m.sticker")
            await gate.reached.wait()
            assert metas(store, event) == [MediaMeta("a wave", "image/webp", "matrix:sticker")]
            gate.open.set()
            await platform.sent.get()
        assert gate.seen == [[("image/webp", WEBP)]]

    play(story)


def test_what_is_said_of_a_file_is_no_name(started):
    async def story():
        gate = Gate(agent.think)
        async with started(gate) as (platform, store):
            said = file(platform.upload(PDF), "please pay this", filename="invoice.pdf")
            event = await platform.send(said)
            await gate.reached.wait()
            assert metas(store, event) == [MediaMeta("invoice.pdf", "application/pdf", "matrix")]
            gate.open.set()
            assert "please pay this" in (await platform.sent.get()).content["body"]

    play(story)


@pytest.fixture
def her_keys(tmp_path, accounts):
    return shutil.copytree(accounts / ALICES_TOKEN, tmp_path / "alice")


@asynccontextmanager
async def alice(platform, folder):
    """Another real client, in the encrypted room; it decrypts what it is answered."""
    config = AsyncClientConfig(store_sync_tokens=True)
    client = AsyncClient(platform.url, store_path=str(folder), config=config)
    client.restore_login(*USERS[ALICES_TOKEN], ALICES_TOKEN)
    answers = asyncio.Queue()

    async def received(_, event):
        if event.sender != client.user_id:
            answers.put_nowait(event)

    await client.sync(full_state=True)
    client.add_event_callback(received, (RoomMessageNotice, RoomEncryptedMedia))
    await client.keys_upload()
    await client.keys_query()
    syncing = asyncio.create_task(client.sync_forever(timeout=30_000))
    try:
        yield client, answers
    finally:
        syncing.cancel()
        await asyncio.gather(syncing, return_exceptions=True)
        client.store.database.close()
        await client.close()


async def encrypted(client, data):
    """Upload a file as a client does into an encrypted room; return what its message says."""
    uploaded, keys = await client.upload(lambda *_: [data], encrypt=True, filesize=len(data))
    said = file("", "secret.pdf") | {"file": {"url": uploaded.content_uri, **keys}}
    del said["url"]
    return said


def test_an_encrypted_file_is_decrypted_before_it_is_put_and_answered_encrypted(started, her_keys):
    async def story():
        gate = Gate(agent.think)
        async with (
            started(gate) as (platform, store),
            alice(platform, her_keys) as (her, answers),
        ):
            said = await encrypted(her, PDF)
            assert PDF not in [data for data, _ in platform.media.values()]
            event = await her.room_send(
                SECRET_ROOM, "m.room.message", said, ignore_unverified_devices=True
            )
            await gate.reached.wait()
            assert metas(store, event.event_id, SECRET_ROOM) == [
                MediaMeta("secret.pdf", "application/pdf", "matrix")
            ]
            gate.open.set()
            assert "secret.pdf" in (await answers.get()).body
            answer = await answers.get()
            data, _ = platform.media[answer.url.removeprefix("mxc://")]
            plain = decrypt_attachment(data, answer.key["k"], answer.hashes["sha256"], answer.iv)
            assert b"secret.pdf" in plain and b"secret.pdf" not in data
        assert gate.seen == [[("application/pdf", PDF)]]
        assert {platform.sent.get_nowait().type for _ in range(2)} == {"m.room.encrypted"}

    play(story)


def test_an_encrypted_file_that_was_changed_is_refused_and_nothing_is_kept(started, her_keys):
    async def story():
        async with started() as (platform, _), alice(platform, her_keys) as (her, answers):
            said = await encrypted(her, PDF)
            where = said["file"]["url"].removeprefix("mxc://")
            data, content_type = platform.media[where]
            platform.media[where] = (bytes([data[0] ^ 1]) + data[1:], content_type)
            await her.room_send(SECRET_ROOM, "m.room.message", said, ignore_unverified_devices=True)
            assert "Sorry" in (await answers.get()).body

    play(story)


def test_an_encrypted_file_that_is_too_large_is_refused(started, her_keys, monkeypatch):
    async def story():
        monkeypatch.setattr(bot, "TAKES", 100_000)
        async with started() as (platform, _), alice(platform, her_keys) as (her, answers):
            said = await encrypted(her, bytes(3_000_000))
            await her.room_send(SECRET_ROOM, "m.room.message", said, ignore_unverified_devices=True)
            assert "too large" in (await answers.get()).body

    play(story)


def test_what_is_said_to_be_too_large_is_refused_and_not_even_fetched(started):
    async def story():
        async with started() as (platform, _):
            film = file(platform.upload(b""), info={"size": bot.TAKES + 1})
            await platform.send(film)
            assert "too large: I take up to 50 MiB" in (await platform.sent.get()).content["body"]
        assert not [it for it in platform.asked if "/download/" in it]

    play(story)


def test_what_turns_out_to_be_too_large_is_refused(started):
    async def story():
        async with started(takes=100_000) as (platform, _):
            for size in (1, "1", None, {}):
                await platform.send(file(platform.upload(bytes(3_000_000)), info={"size": size}))
                assert "too large" in (await platform.sent.get()).content["body"]

    play(story)


def test_an_answer_that_the_server_does_not_take_is_told_of_instead(started):
    async def think(text, media):
        return "here", [(bytes(200_000), MediaMeta("film.bin", "application/octet-stream"))]

    async def story():
        async with started(think, upload_limit=100_000) as (platform, _):
            await platform.send({"msgtype": "m.text", "body": "make a film"})
            assert "too large for this server" in (await platform.sent.get()).content["body"]
        assert platform.sent.empty() and not platform.media

    play(story)


def test_an_event_that_comes_again_is_one_turn(started):
    async def story():
        gate = Gate(agent.think)
        gate.open.set()
        async with started(gate) as (platform, _):
            said = file(platform.upload(PDF))
            event = await platform.send(said)
            await platform.send(said, number=event)
            await platform.sent.get(), await platform.sent.get()
            await platform.send(said, number=event)
            await platform.send({"msgtype": "m.text", "body": "other"})
            assert "other" in (await platform.sent.get()).content["body"]
        assert len(gate.seen) == 2

    play(story)


def test_a_hostile_name_stays_a_name(started, tmp_path):
    seen = []

    async def think(text, media):
        seen.append((media[0].meta.filename, media[0].path.read_bytes()))
        return "thank you", []

    async def story():
        async with started(think) as (platform, _):
            for name in ("../../etc/passwd", "a\x00\nb.pdf", "\u202efdp.exe", "x" * 300 + ".pdf", ""):
                await platform.send(file(platform.upload(PDF), name))
                await platform.sent.get()
                kept, data = seen.pop()
                assert not set("/\\\0\n\u202e") & set(kept) and len(kept) <= 255
                assert data == PDF
            assert {it.name for it in tmp_path.iterdir()} == {"store", "keys"}

    play(story)


def test_an_address_names_a_file_or_nothing(started):
    async def story():
        async with started() as (platform, _):
            before = len(platform.asked)
            for address in (
                "mxc://../account",
                f"mxc://{SERVER}/..%2f..%2fv3%2faccount",
                f"mxc://{SERVER}/a?b=c",
                "https://elsewhere.example/invoice.pdf",
                "mxc:///",
                "",
            ):
                await platform.send(file(address))
                assert "Sorry" in (await platform.sent.get()).content["body"]
        assert platform.asked[before:] == []

    play(story)


def test_what_other_servers_make_of_an_event_does_no_harm(started):
    async def story():
        gate = Gate(agent.think)
        gate.open.set()
        async with started(gate) as (platform, _):
            for broken in (
                {"info": "none"},
                {"info": {"mimetype": 5, "size": "many"}},
                {"filename": {"a": "b"}},
                {"filename": None},
                {"org.matrix.msc3245.voice": None},
            ):
                await platform.send(file(platform.upload(PDF)) | broken)
                await platform.sent.get(), await platform.sent.get()
                ((_, data),) = gate.seen.pop()
                assert data == PDF

    play(story)


def test_a_correction_is_not_answered(started):
    async def story():
        async with started() as (platform, _):
            await platform.send({"msgtype": "m.text", "body": "* hi", "m.new_content": {"body": "hi"}})
            await platform.send({"msgtype": "m.text", "body": "other"})
            assert "other" in (await platform.sent.get()).content["body"]

    play(story)


def test_a_token_that_is_none_is_said(tmp_path):
    async def story():
        async with Matrix() as platform, AsyncMediaStore(open_store(tmp_path / "store")) as store:
            with pytest.raises(bot.MatrixRefusal, match="Missing access token"):
                async with bot.connected(agent.Agent(store), platform.url, "wrong", tmp_path / "keys"):
                    pass

    play(story)


def test_a_file_that_is_gone_is_told_of(started):
    async def story():
        async with started() as (platform, _):
            await platform.send(file(f"mxc://{SERVER}/gone"))
            assert "cannot get" in (await platform.sent.get()).content["body"]

    play(story)


def test_the_token_goes_to_the_homeserver_only(started):
    async def story():
        asked = []

        async def elsewhere(request):
            asked.append("Authorization" in request.headers)
            return web.Response(body=PDF)

        other = web.Application()
        other.router.add_get("/{path:.*}", elsewhere)
        async with TestServer(other) as server, started() as (platform, _):
            platform.elsewhere[f"{SERVER}/moved"] = str(server.make_url("/cdn/1"))
            await platform.send(file(f"mxc://{SERVER}/moved"))
            assert "invoice.pdf" in (await platform.sent.get()).content["body"]
        assert asked == [False]

    play(story)


def test_what_was_said_before_the_bot_came_is_not_answered(tmp_path):
    async def story():
        async with Matrix() as platform, AsyncMediaStore(open_store(tmp_path / "store")) as store:
            await platform.send({"msgtype": "m.text", "body": "before"})
            async with bot.connected(agent.Agent(store), platform.url, TOKEN, tmp_path / "keys"):
                await platform.syncing.wait()
                await platform.send({"msgtype": "m.text", "body": "while"})
                assert "while" in (await platform.sent.get()).content["body"]
            await platform.send(file(platform.upload(PDF)))
            async with bot.connected(agent.Agent(store), platform.url, TOKEN, tmp_path / "keys"):
                assert "invoice.pdf" in (await platform.sent.get()).content["body"]
                await platform.sent.get()
            assert platform.sent.empty()
            assert_nothing_is_left(store.sync, tmp_path / "store")

    play(story)


def test_what_was_taken_over_is_answered_before_the_bot_stops(started):
    async def story():
        gate = Gate(agent.think)
        async with started(gate) as (platform, _):
            await platform.send(file(platform.upload(PDF)))
            await gate.reached.wait()
        assert "invoice.pdf" in platform.sent.get_nowait().content["body"]

    play(story)


def test_the_program_answers_and_leaves_nothing_when_it_is_told_to_stop(tmp_path):
    folder = tmp_path / "store"

    async def story():
        async with Matrix() as platform:
            environment = {
                "MATRIX_HOMESERVER": platform.url,
                "MATRIX_TOKEN": TOKEN,
                "MATRIX_KEYS": str(tmp_path / "keys"),
                "MEDIA_STORE": str(folder),
            }
            with running("matrix_bot", **environment) as process:
                await platform.syncing.wait()
                await platform.send(file(platform.upload(PDF)))
                assert "invoice.pdf" in (await platform.sent.get()).content["body"]
                process.terminate()
                assert await asyncio.to_thread(process.wait) == 0
        with open_store(folder) as store:
            assert_nothing_is_left(store, folder)

    play(story)
