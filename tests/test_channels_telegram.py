"""Telegram: what arrives is kept until it has been answered, and then gone; with both libraries.

The bots run as a user runs them, as programs, against a stand-in for the Bot API. The tests look at the
store from outside: it is theirs as much as the bot's.
"""

import asyncio
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from channels import (
    DEADLINE,
    ROOT,
    assert_nothing_is_left,
    packages_of,
    play,
    recipe,
    running,
    sample,
    wait_until,
    wait_until_nothing_is_left,
)
from mediakeep import Entry, MediaMeta, MediaStore, open_store
from mediakeep.aio import AsyncMediaStore
from mediakeep.testing import FakeClock
from standins.telegram import DOWNLOAD_BYTES, PHOTO_BYTES, TOKEN, UPLOAD_BYTES, Sent, Telegram

PROGRAMS = {"python-telegram-bot": "telegram_bot", "aiogram": "aiogram_bot"}
TOO_LARGE = "Sorry, I can take files of up to 20 MB only."
HOSTILE = "../../etc/cron.d/\u202efdp.exe\r\nX: y<img src=x>.pdf"


@dataclass
class Bot:
    """A bot that may be started and stopped, what it talks to, and the store that it has."""

    library: str
    telegram: Telegram
    folder: Path
    store: MediaStore

    @contextmanager
    def started(self) -> Iterator["subprocess.Popen[str]"]:
        packages = packages_of("aiogram") if self.library == "aiogram" else None
        polls = self.telegram.calls["getUpdates"]
        with running(
            PROGRAMS[self.library],
            packages,
            TELEGRAM_TOKEN=TOKEN,
            TELEGRAM_API_URL=self.telegram.url,
            MEDIA_STORE=str(self.folder),
        ) as process:
            self.telegram.wait_until(lambda: self.telegram.calls["getUpdates"] > polls)
            yield process

    def ask(self, *messages: dict[str, Any], answers: int = 1) -> list[Sent]:
        """Give messages at once, and return the answers, once there are so many."""
        before = len(self.telegram.sent)
        self.telegram.give(*messages)
        self.telegram.wait_until(lambda: len(self.telegram.sent) >= before + answers)
        return self.telegram.sent[before:]

    @contextmanager
    def held(self, method: str) -> Iterator[None]:
        """Hold the bot in the middle of sending its answer, until the block ends."""
        self.telegram.held.add(method)
        try:
            yield
        finally:
            self.telegram.held.discard(method)

    def give_and_hold(self, *messages: dict[str, Any]) -> list[Entry]:
        """Give messages; return what the store has when the bot is in the middle of answering."""
        self.updates = self.telegram.give(*messages)
        self.telegram.wait_until(lambda: self.telegram.holding)
        return list(self.store.entries())

    def wait_until_nothing_is_left(self) -> None:
        wait_until_nothing_is_left(self.store, self.folder)


@pytest.fixture(scope="module", params=PROGRAMS)
def library(request) -> str:
    if request.param == "python-telegram-bot" and find_spec("telegram") is None:
        pytest.skip("needs python-telegram-bot")
    return request.param


@pytest.fixture(scope="module")
def bot(library, tmp_path_factory) -> Iterator[Bot]:
    """A bot that every test may talk to and none may stop."""
    folder = tmp_path_factory.mktemp("bot") / "store"
    with Telegram() as telegram, open_store(folder) as store:
        it = Bot(library, telegram, folder, store)
        with it.started():
            yield it


@pytest.fixture
def mortal(library, tmp_path) -> Iterator[Bot]:
    """A bot of one test, not started yet."""
    with Telegram() as telegram, open_store(tmp_path / "store") as store:
        yield Bot(library, telegram, tmp_path / "store", store)


def photo(telegram: Telegram, name: str = "photo.jpg", **more: Any) -> dict[str, Any]:
    return {"photo": telegram.photo(sample(name)), **more}


def sticker(data: bytes, telegram: Telegram, *, moves: str = "") -> dict[str, Any]:
    shape = {"type": "regular", "width": 512, "height": 512}
    shape |= {"is_animated": moves == "tgs", "is_video": moves == "webm"}
    return {"sticker": telegram.file(data, "stickers/file_2", **shape)}


def document(data: bytes | int, telegram: Telegram, **said: Any) -> dict[str, Any]:
    return {"document": telegram.file(data, "documents/file_3", **said)}


BALL = {kind: (ROOT / f"tests/data/stickers/ball.{kind}").read_bytes() for kind in ("tgs", "webm")}
VOICE = {"mime_type": "audio/ogg", "duration": 3}
PDF = {"file_name": HOSTILE, "mime_type": "application/x-msdownload"}


# -- what arrives


@pytest.mark.parametrize(
    ("make", "data", "declared", "detected", "answered_by"),
    [
        (lambda it: photo(it), sample("photo.jpg"), "", "image/jpeg", "sendPhoto"),
        (
            lambda it: {"voice": it.file(sample("voice.ogg"), "voice/file_4.oga", **VOICE)},
            sample("voice.ogg"),
            "audio/ogg",
            "audio/ogg",
            "sendVoice",
        ),
        (
            lambda it: sticker(sample("sticker.webp"), it),
            sample("sticker.webp"),
            "image/webp",
            "image/webp",
            "sendPhoto",
        ),
        (
            lambda it: sticker(BALL["tgs"], it, moves="tgs"),
            BALL["tgs"],
            "application/x-tgsticker",
            "application/x-tgsticker",
            "sendDocument",
        ),
        (
            lambda it: sticker(BALL["webm"], it, moves="webm"),
            BALL["webm"],
            "video/webm",
            "video/webm",
            "sendDocument",
        ),
    ],
    ids=["photo", "voice note", "sticker", "animated sticker", "video sticker"],
)
def test_what_arrives_is_kept_as_declared_until_it_is_answered(
    bot, make, data, declared, detected, answered_by
):
    with bot.held(answered_by):
        entries = bot.give_and_hold(make(bot.telegram))
        message = bot.updates[0]["message"]["message_id"]
        # The message's own scope has ended long since: the agent has what it needs.
        assert {it.scope for it in entries} == {f"agent:telegram:42:{message}"}
        came = [it for it in entries if it.meta.source == "telegram"]
        assert [(it.declared_type, it.detected_type) for it in came] == [(declared, detected)]
        assert bot.store.read_bytes(came[0].ref) == data
        assert all(it.expires_at for it in entries), "if the bot dies now, they must end"
        assert [it for it in entries if it.meta.source.startswith("tool:")], "the answer is kept too"
    bot.telegram.wait_until(lambda: bot.telegram.sent and not bot.telegram.holding)
    bot.wait_until_nothing_is_left()
    assert bot.telegram.sent[-1].method == answered_by
    assert bot.telegram.sent[-1].files[0][1]


def test_a_hostile_name_stays_data(bot):
    with bot.held("sendDocument"):
        entries = bot.give_and_hold(document(sample("invoice.pdf"), bot.telegram, **PDF))
        (came,) = (it for it in entries if it.meta.source == "telegram")
        assert came.meta.content_type == "application/pdf"  # as the bytes show, whatever was declared
        assert came.declared_type == PDF["mime_type"]
        assert came.meta.filename == "fdp.exe X_ y_img src=x_.pdf"
        assert came.path.is_relative_to(bot.folder)
    bot.wait_until_nothing_is_left()


def test_an_album_is_one_turn_with_one_answer(bot):
    album = [photo(bot.telegram, media_group_id="777", caption="the lake")]
    album += [photo(bot.telegram, "diagram.png", media_group_id="777")]
    album += [photo(bot.telegram, "wave.gif", media_group_id="777")]
    album += [{**document(DOWNLOAD_BYTES + 1, bot.telegram), "media_group_id": "777"}]
    before = len(bot.telegram.sent)
    with bot.held("sendMediaGroup"):
        entries = bot.give_and_hold(*album)
        first = bot.updates[0]["message"]["message_id"]
        assert {it.scope for it in entries} == {f"agent:telegram:42:{first}"}
        assert len([it for it in entries if it.meta.source == "telegram"]) == 3
    bot.telegram.wait_until(lambda: len(bot.telegram.sent) == before + 2)
    told, sent = bot.telegram.sent[before:]
    assert told.says == TOO_LARGE  # of the one, while the others are taken
    assert (sent.method, len(sent.files)) == ("sendMediaGroup", 3)
    assert sent.says.startswith("I got the lake; ")
    bot.wait_until_nothing_is_left()


def test_what_has_no_file_is_no_turn(bot):
    place = {"location": {"latitude": 47.6, "longitude": 9.4}}
    (sent,) = bot.ask(place, {"text": "hello"})
    assert sent.says == "I got hello"
    bot.wait_until_nothing_is_left()


# -- what is too large


def test_a_file_that_is_said_to_be_too_large_is_not_even_fetched(bot):
    asked = bot.telegram.calls["getFile"]
    (sent,) = bot.ask(document(DOWNLOAD_BYTES + 1, bot.telegram))
    assert sent.says == TOO_LARGE
    assert bot.telegram.calls["getFile"] == asked
    bot.wait_until_nothing_is_left()


def test_a_file_that_telegram_refuses_to_give_is_told_and_leaves_nothing(bot):
    asked = bot.telegram.calls["getFile"]
    (sent,) = bot.ask(document(DOWNLOAD_BYTES + 1, bot.telegram, told=False))
    assert sent.says == TOO_LARGE
    assert bot.telegram.calls["getFile"] == asked + 1
    bot.wait_until_nothing_is_left()


def test_a_file_that_turns_out_too_large_while_it_comes_is_told_and_leaves_nothing(bot):
    # What the limits of the store allow is a little less than what Telegram gives.
    (sent,) = bot.ask(document(bytes(20_000_001), bot.telegram, told=False))
    assert sent.says == TOO_LARGE
    bot.wait_until_nothing_is_left()


@pytest.fixture
def in_process(tmp_path) -> Iterator[tuple[Any, Any, Telegram]]:
    """python-telegram-bot in this process, for what the agent of the recipes never does."""
    pytest.importorskip("telegram.ext", reason="needs python-telegram-bot")
    with Telegram() as telegram:
        yield recipe("agent"), recipe("telegram_bot"), telegram


def test_a_picture_that_is_too_large_for_a_photo_is_sent_as_a_document(in_process, tmp_path):
    agent, bot, telegram = in_process
    large = sample("diagram.png") + bytes(10_000_000)

    async def draw(text, media):
        return "a poster", [(large, MediaMeta("poster.png"))]

    async def story():
        async with AsyncMediaStore(open_store(tmp_path / "store", fsync=False)) as store:
            async with bot.polling(agent.Agent(store, draw), TOKEN, telegram.url):
                telegram.give({"text": "a poster, please"})
                await telegram.until(lambda: telegram.sent)
            assert_nothing_is_left(store.sync, tmp_path / "store")

    play(story)
    (sent,) = telegram.sent
    assert (sent.method, sent.files) == ("sendDocument", [("poster.png", large)])


def test_a_download_that_breaks_off_leaves_nothing_and_may_come_again(in_process, tmp_path, caplog):
    agent, bot, telegram = in_process

    async def story():
        async with AsyncMediaStore(open_store(tmp_path / "store", fsync=False)) as store:
            async with bot.polling(agent.Agent(store), TOKEN, telegram.url):
                telegram.breaks_off = True
                updates = telegram.give(photo(telegram))
                async with asyncio.timeout(DEADLINE):
                    while "peer closed connection" not in caplog.text:  # the library logs what failed
                        await asyncio.sleep(0.01)
                assert_nothing_is_left(store.sync, tmp_path / "store")
                telegram.breaks_off = False
                telegram.give_again(updates)
                await telegram.until(lambda: telegram.sent)
            assert_nothing_is_left(store.sync, tmp_path / "store")

    play(story)
    assert [it.method for it in telegram.sent] == ["sendPhoto"]


def test_the_stand_in_refuses_what_telegram_refuses(in_process):
    from telegram import Bot as Client
    from telegram.error import BadRequest, NetworkError

    *_, telegram = in_process

    async def story():
        async with Client(TOKEN, f"{telegram.url}/bot", f"{telegram.url}/file/bot") as client:
            with pytest.raises(BadRequest, match="10485761 bytes is too big for a photo"):
                await client.send_photo(42, bytes(PHOTO_BYTES + 1))
            with pytest.raises(NetworkError, match="Request Entity Too Large"):
                await client.send_document(42, bytes(UPLOAD_BYTES + 1), write_timeout=60)
            with pytest.raises(BadRequest, match="File is too big"):
                await client.get_file(telegram.file(DOWNLOAD_BYTES + 1, "x")["file_id"])
            with pytest.raises(BadRequest, match="nvalid file_id"):
                await client.get_file("a file of another bot")
            at_most = telegram.file(DOWNLOAD_BYTES, "x")
            assert (await client.get_file(at_most["file_id"])).file_size == DOWNLOAD_BYTES

    play(story)
    assert not telegram.sent


# -- what comes twice, and what dies


def test_a_message_that_comes_twice_is_answered_once(bot):
    before = len(bot.telegram.sent)
    with bot.held("sendPhoto"):
        bot.give_and_hold(photo(bot.telegram))
        bot.telegram.give_again(bot.updates)  # while it is being answered
        assert [it.says for it in bot.ask({"text": "in between"})] == ["I got in between"]
    bot.telegram.wait_until(lambda: len(bot.telegram.sent) == before + 2)
    bot.telegram.give_again(bot.updates)  # and when it has been
    assert [it.says for it in bot.ask({"text": "after"})] == ["I got after"]
    assert [it.method for it in bot.telegram.sent[before:]] == [
        "sendMessage",
        "sendPhoto",
        "sendMessage",
    ]
    bot.wait_until_nothing_is_left()


@pytest.mark.parametrize("library", ["python-telegram-bot"], indirect=True)
def test_a_bot_that_is_killed_before_it_answers_loses_nothing_and_leaves_nothing(mortal, tmp_path):
    with mortal.started() as process, mortal.held("sendPhoto"):
        entries = mortal.give_and_hold(photo(mortal.telegram))
        process.kill()
        process.wait()
        mortal.telegram.wait_until(lambda: not mortal.telegram.holding)
    assert len(list(mortal.store.entries())) == len(entries) == 2
    assert all(mortal.store.read_bytes(it.ref) for it in entries)

    # If the message never comes again, its time ends it.
    copy = shutil.copytree(mortal.folder, tmp_path / "copy")
    with open_store(copy, clock=FakeClock(time.time())) as store:
        assert store.sweep().expired == 0
    later = time.time() + timedelta(hours=2).total_seconds()
    with open_store(copy, clock=FakeClock(later)) as store:
        assert store.sweep().expired == 2
        assert_nothing_is_left(store, copy)

    # If it does, it is answered, and the end of that turn is the end of what was left of the first.
    with mortal.started():
        mortal.telegram.give_again(mortal.updates)
        mortal.telegram.wait_until(lambda: mortal.telegram.sent)
        wait_until(lambda: not mortal.store.stats().refs)
    assert [it.method for it in mortal.telegram.sent] == ["sendPhoto"]
    with open_store(mortal.folder, clock=FakeClock(later)) as store:
        store.sweep()  # what the dead process held by a lease goes once that has lapsed
        assert_nothing_is_left(store, mortal.folder)


def test_a_bot_that_is_told_to_stop_answers_first(mortal):
    with mortal.started() as process:
        with mortal.held("sendPhoto"):
            mortal.give_and_hold(photo(mortal.telegram))
            process.send_signal(signal.SIGTERM)
            with pytest.raises(subprocess.TimeoutExpired):
                process.wait(0.2)
        assert process.wait(DEADLINE) == 0
    assert [it.method for it in mortal.telegram.sent] == ["sendPhoto"]
    assert_nothing_is_left(mortal.store, mortal.folder)
