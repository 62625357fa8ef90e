"""The assistant comes to a good verdict, sees what is wrong, and its parts do as they say."""

import importlib
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

import mediakeep
from mediakeep import MediaMeta, RefReleased, open_store

pytest.importorskip("PIL", reason="the assistant needs mediakeep[images]")

ROOT = Path(__file__).parents[1]
SAMPLES = ROOT / "examples" / "media"
SOURCES = os.pathsep.join([str(Path(mediakeep.__file__).parents[1]), str(ROOT)])
DEADLINE = 120.0

sys.path.append(str(ROOT))
channel, media, outside, queues, tools, watcher, worker = (
    importlib.import_module(f"examples.assistant.{name}")
    for name in ("channel", "media", "outside", "queues", "tools", "watcher", "worker")
)

SHORT = """
import examples.assistant.story as story
ann = [it for it in story.ROUND if it.chat == "ann"]
story.ROUND = tuple(ann)
"""
"""A story of one user, in which nobody is killed."""

WITHOUT_RICH = "import sys; sys.modules['rich'] = None"

TAKES_AND_WAITS = """
import sys, time
from pathlib import Path
from examples.assistant.queues import Queues, Taker
folder = Path(sys.argv[1])
taker = Taker(folder, "other")
print(Queues(folder).take(taker).id, flush=True)
time.sleep(600)
"""


def play(tmp_path: Path, *arguments: str, before: str = "") -> subprocess.CompletedProcess[str]:
    """Run the assistant, after some lines of Python that change the world, in each of its processes."""
    changes = tmp_path / "changes"
    changes.mkdir()
    (changes / "sitecustomize.py").write_text(before)
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    return subprocess.run(
        [sys.executable, *arguments],
        capture_output=True,
        text=True,
        timeout=2 * DEADLINE,
        cwd=tmp_path,
        env={
            **os.environ,
            "TMPDIR": str(temporary),
            "PYTHONPATH": f"{changes}{os.pathsep}{SOURCES}",
        },
    )


def test_the_assistant_comes_to_a_good_verdict_and_leaves_nothing(tmp_path):
    done = play(tmp_path, str(ROOT / "examples" / "assistant"))
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.endswith("All as it should be.\n")
    assert "WRONG" not in done.stdout
    assert done.stdout.count("kill -9") == 2
    assert "Traceback" not in done.stderr
    assert list((tmp_path / "temporary").iterdir()) == []


def test_what_it_has_worked_with_can_be_kept_and_without_rich_it_speaks_plainly(tmp_path):
    folder = tmp_path / "new" / "folder"
    program = ("-m", "examples.assistant", "--rounds", "2", "--keep", str(folder))
    done = play(tmp_path, *program, before=SHORT + WITHOUT_RICH)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "in the first of 2 rounds" in done.stdout
    assert done.stdout.endswith("All as it should be.\n")
    with open_store(folder / "store") as store:
        kept = [(entry.scope, entry.meta.source) for entry in store.entries()]
    assert kept == [("user:ann:1003", "tool:draw"), ("user:ann:1007", "tool:draw")]


@pytest.mark.parametrize(
    ("sabotage", "claims"),
    [
        (
            "mediakeep.MediaStore.share = lambda self, ref, scope, ttl=None: ref",
            ("nothing was deleted early", "what was to be kept"),
        ),
        (
            "mediakeep.MediaStore.release_all = lambda self, scope, nested=False: None",
            ("every scope but", "two days later"),
        ),
    ],
)
def test_the_assistant_sees_what_is_not_as_it_should_be(tmp_path, sabotage, claims):
    done = play(tmp_path, "-m", "examples.assistant", before=f"{SHORT}\nimport mediakeep\n{sabotage}")
    assert done.returncode == 1, done.stdout + done.stderr
    wrong = [line for line in done.stdout.splitlines() if "WRONG" in line]
    for claim in claims:
        assert any(claim in line for line in wrong), done.stdout
    assert "not as they should be" in done.stdout.splitlines()[-1]


@pytest.mark.parametrize("arguments", [("--rounds", "0"), ("--keep", "changes")])
def test_it_refuses_what_it_cannot_do(tmp_path, arguments):
    done = play(tmp_path, "-m", "examples.assistant", *arguments)
    assert done.returncode == 2
    assert arguments[0] in done.stderr or "is there already" in done.stderr


@pytest.fixture
def store(tmp_path):
    with media.open_media(tmp_path) as store:
        yield store


@pytest.fixture
def line_up(tmp_path):
    with queues.Queues(tmp_path) as opened:
        yield opened


@pytest.fixture
def taker(tmp_path):
    taker = queues.Taker(tmp_path, "worker")
    yield taker
    taker.close()


@pytest.fixture
def world():
    with outside.Outside(lambda *_: None) as world:
        yield world


def test_a_message_has_one_taker_until_that_dies(tmp_path, line_up, taker):
    line_up.put("inbound", "1", "ann", {"text": "hello", "media": []})
    program = [sys.executable, "-c", TAKES_AND_WAITS, str(tmp_path)]
    with subprocess.Popen(
        program, stdout=subprocess.PIPE, text=True, env={**os.environ, "PYTHONPATH": SOURCES}
    ) as other:
        try:
            assert other.stdout.readline() == "1\n"
            assert line_up.take(taker) is None
        finally:
            other.send_signal(signal.SIGKILL)
    again = line_up.take(taker)
    assert (again.id, again.deliveries, again.ends) == ("1", 2, None)


def test_a_message_that_comes_twice_is_queued_once_and_its_second_media_go(line_up, store, taker):
    arrived = (store, line_up, "ann", "1", "look", [SAMPLES / "photo.jpg"])
    assert channel.receive(*arrived) is True
    assert channel.receive(*arrived) is False
    (entry,) = store.entries("chat:ann:1")
    assert line_up.take(taker).body["media"][0]["ref"] == entry.ref
    assert line_up.take(taker) is None


def test_the_messages_of_a_chat_keep_their_order_and_replies_go_first(line_up, taker):
    for message, chat in (("1", "ann"), ("2", "ann"), ("3", "bob")):
        line_up.put("inbound", message, chat, {})
    first, other = line_up.take(taker), line_up.take(taker)
    assert (first.id, other.id, line_up.take(taker)) == ("1", "3", None)
    line_up.handled(first, queues.Outcome(("turn",), [], {"text": "hello"}))
    line_up.done(first)
    assert [line_up.take(taker).id, line_up.take(taker).id] == ["1:reply", "2"]


def test_a_turn_that_begins_anew_ends_what_was_half_done(line_up, store, taker, world):
    photo = SAMPLES / "photo.jpg"
    channel.receive(store, line_up, "ann", "1", "Keep this, and make a card of it.", [photo])
    half_done = [store.put(photo, scope=f"{stage}:ann:1") for stage in ("assistant", "user", "history")]
    again = replace(line_up.take(taker), deliveries=2)
    worker.Worker(store, line_up, outside.Line(world.port), "worker").handle(again)
    for ref in half_done:
        with pytest.raises(RefReleased):
            store.resolve(ref)
    scopes = {entry.scope: entry.meta.filename for entry in store.entries()}
    assert scopes == {"user:ann:1": "photo.jpg", "history:ann:1": "", "outbound:ann:1": ""}


def test_what_was_handled_is_not_answered_again_but_its_scopes_end(
    tmp_path, line_up, store, taker, world
):
    channel.receive(store, line_up, "ann", "1", "look", [SAMPLES / "photo.jpg"])
    before = queues.Taker(tmp_path, "worker of before")
    line_up.handled(line_up.take(before), queues.Outcome(("chat:ann:1",)))
    before.close()
    worker.Worker(store, line_up, outside.Line(world.port), "worker").handle(line_up.take(taker))
    assert (world.requests, store.scopes(), line_up.open_messages()) == (0, [], 0)


def test_a_reply_that_is_sent_twice_is_shown_once(line_up, store, taker, world):
    ref = store.put(SAMPLES / "photo.jpg", scope="outbound:ann:1")
    line_up.put("outbound", "1:reply", "ann", {"text": "here", "media": [ref]})
    message = line_up.take(taker)
    for _ in range(2):
        channel.send(store, outside.Line(world.port), message)
    assert (world.sends, len(world.shown)) == (2, 1)
    assert world.shown["1:reply"].media == (("image/jpeg", (SAMPLES / "photo.jpg").read_bytes()),)


def test_a_reply_whose_media_are_gone_says_so(line_up, store, taker, world):
    ref = store.put(b"gone", scope="outbound:ann:1")
    store.release(ref)
    line_up.put("outbound", "1:reply", "ann", {"text": "here", "media": [ref]})
    channel.send(store, outside.Line(world.port), line_up.take(taker))
    assert "was released" in world.shown["1:reply"].text
    assert world.shown["1:reply"].media == ()


def test_a_model_gets_nothing_of_another_chat(line_up, store, taker):
    secret = store.put(SAMPLES / "photo.jpg", MediaMeta(), "history:bob:7")
    line_up.put("inbound", "1", "ann", {})
    toolbox = tools.Toolbox(store, line_up.take(taker))
    call = {"type": "tool_use", "id": "c", "name": "keep", "input": {"media": secret}}
    result = toolbox.use(call)
    assert result["is_error"] and "not of this chat" in result["content"][0]["text"]
    assert store.scopes() == ["history:bob:7"]


def test_a_user_who_writes_a_ref_of_another_chat_gets_nothing_of_it(line_up, store, taker, world):
    secret = store.put(SAMPLES / "photo.jpg", scope="history:bob:7")
    text = f"Keep the card, and make a card of it.\ncard.png: {secret}"
    channel.receive(store, line_up, "ann", "1", text, [])
    at_work = worker.Worker(store, line_up, outside.Line(world.port), "worker")
    for _ in ("the message", "the reply"):
        at_work.handle(line_up.take(taker))
    assert "not of this chat" in world.shown["1:reply"].text
    assert world.shown["1:reply"].media == ()
    assert [entry.ref for entry in store.entries()] == [secret]


def test_the_watcher_sees_what_is_deleted_early_and_only_that(tmp_path, line_up, store, taker):
    early, in_time = (store.put(name.encode(), scope=name) for name in ("early", "in time"))
    for message, ref in (("1", early), ("2", in_time)):
        line_up.put("inbound", message, message, {"media": [ref]})
    watching = watcher.Watcher(tmp_path, store)
    watching.start()
    try:
        deadline = time.monotonic() + DEADLINE
        while watching.looks < 2 and time.monotonic() < deadline:
            time.sleep(0.01)
        line_up.take(taker)
        line_up.handled(line_up.take(taker), queues.Outcome(("in time",)))
        store.release(in_time)
        store.release(early)
        while not watching.early and time.monotonic() < deadline:
            time.sleep(0.01)
    finally:
        watching.stop()
    assert list(watching.early) == [early]
    assert watching.ended
