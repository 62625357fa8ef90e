"""A file can be held while it is being used, whatever ends meanwhile."""

import asyncio
import os
import subprocess
import sys
import threading
import time
from datetime import timedelta

import pytest

from conftest import BORROWED
from mediakeep import (
    AccessDenied,
    CatalogError,
    MediaCleanerConfig,
    MediaMeta,
    RefReleased,
    UnknownRef,
    open_store,
)
from mediakeep.leases import LEASE_SECONDS, Heartbeat


@pytest.fixture(params=["in place", "put"])
def stored(request, store, make):
    """A ref in scope `turn`, and the path of its file."""
    if request.param == "put":
        ref = store.put(b"bytes", MediaMeta("a"), "turn")
    else:
        ref = store.store(make(), MediaMeta("a"), "turn")
    return ref, store.resolve(ref)


def test_a_lease_gives_path_and_meta(store, stored):
    ref, path = stored
    with store.lease(ref) as media:
        assert media == (path, MediaMeta("a"))


def test_a_held_file_outlives_its_scope_and_goes_when_the_lease_ends(store, stored):
    ref, path = stored
    with store.lease(ref):
        store.release_all("turn")
        store.sweep()
        assert path.exists()
        with pytest.raises(RefReleased):
            store.lease(ref).__enter__()
        with pytest.raises(RefReleased):
            store.share(ref, "late")
        assert store.stats().condemned == 1
    assert not path.exists()
    assert store.stats().condemned == 0


def test_leases_nest_and_the_last_one_ends_it(store, stored):
    ref, path = stored
    with store.lease(ref):
        with store.lease(ref):
            store.release(ref)
        assert path.exists()
    assert not path.exists()


def test_a_lease_ends_also_when_its_block_raises(store, stored):
    ref, path = stored
    with pytest.raises(ZeroDivisionError), store.lease(ref):
        store.release(ref)
        raise ZeroDivisionError
    assert not path.exists()


def test_a_lease_may_end_in_another_thread(store, stored):
    ref, path = stored
    lease = store.lease(ref)
    lease.__enter__()
    store.release(ref)
    thread = threading.Thread(target=lease.__exit__, args=(None, None, None))
    thread.start()
    thread.join()
    assert not path.exists()


def test_one_lease_object_is_one_hold_at_a_time(store, stored):
    ref, _ = stored
    lease = store.lease(ref)
    with lease, pytest.raises(RuntimeError, match="held already"):
        lease.__enter__()
    with lease:
        assert store.entry(ref).leases == 1
    assert store.entry(ref).leases == 0


def test_a_lease_survives_share_and_expiry(opened, make, clock):
    store = opened(cleaner=MediaCleanerConfig(max_age=timedelta(seconds=10)))
    path = make()
    ref = store.store(path, MediaMeta(), "a")
    with store.lease(ref):
        shared = store.share(ref, "b")
        store.release(ref)
        clock.advance(11)
        assert store.clean_expired() == 1
        assert path.exists()
        with pytest.raises(UnknownRef):
            store.resolve(shared)
    assert not path.exists()


def test_a_held_file_that_is_registered_again_lives_on(store, stored):
    ref, path = stored
    with store.lease(ref):
        store.release(ref)
        again = store.store(path, MediaMeta(), "again")
    assert store.resolve(again).exists()
    store.release(again)
    assert not path.exists()


def test_a_lease_on_a_borrowed_file_deletes_nothing(store, make):
    path = make()
    ref = store.store(path, BORROWED, "s")
    with store.lease(ref):
        store.release(ref)
        assert store.stats().leases == 1
    assert path.exists()
    assert store.stats().leases == 0


def test_leases_show_in_stats_and_entry(store, stored):
    ref, _ = stored
    with store.lease(ref), store.lease(ref):
        assert store.entry(ref).leases == 2
        assert next(store.entries("turn")).leases == 2
        stats = store.stats()
        assert (stats.leases, stats.leased) == (2, 1)


def test_an_unknown_ref_cannot_be_leased(store):
    with pytest.raises(UnknownRef, match="media://nope"), store.lease("media://nope"):
        raise AssertionError


# -- across processes

HOLD = """
import sys
from mediakeep import open_store
store = open_store(sys.argv[1])
with store.lease(sys.argv[2]) as media:
    print("held", flush=True)
    sys.stdin.readline()
    print(media.path.read_text(), flush=True)
"""


def holder(folder, ref):
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, folder, ref],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout.readline() == "held\n"
    return process


def test_a_lease_holds_against_other_processes(tmp_path):
    with open_store(tmp_path, fsync=False) as store:
        ref = store.put(b"bytes", scope="s")
        path = store.resolve(ref)
        process = holder(tmp_path, ref)
        store.release_all("s")
        store.sweep()
        assert path.exists()
        out, _ = process.communicate("\n", timeout=30)
        assert out == "bytes\n"
        assert not path.exists()


def test_the_lease_of_a_killed_process_lapses(tmp_path):
    with open_store(tmp_path, fsync=False) as store:
        ref = store.put(b"bytes", scope="s")
        path = store.resolve(ref)
        process = holder(tmp_path, ref)
        process.kill()
        process.communicate()
        store.release_all("s")
        assert path.exists()
    later = time.time() + LEASE_SECONDS + 1
    with open_store(tmp_path, fsync=False, clock=lambda: later) as store:
        store.sweep()
        assert not path.exists()
        assert store.stats().leases == 0


def test_a_living_lease_is_renewed(tmp_path, clock, until_renewed):
    """It holds for much longer than it would last by itself."""
    with open_store(tmp_path, clock=clock, fsync=False, lease_seconds=0.15) as store:
        ref = store.put(b"bytes", scope="s")
        with store.lease(ref) as media:
            store.release_all("s")
            for _ in range(5):
                clock.advance(0.1)
                store.sweep()
                assert media.path.exists()
                until_renewed()
        assert not media.path.exists()


def test_a_lost_lease_is_reported(tmp_path, clock, caplog):
    with open_store(tmp_path, clock=clock, fsync=False) as store:
        ref = store.put(b"x")
        heart = Heartbeat(store._catalog, 0.03)
        heart.add(store._catalog.lease(ref, 0.03)[0])
        clock.advance(1)
        deadline = time.monotonic() + 30
        while "had lapsed before" not in caplog.text and time.monotonic() < deadline:
            time.sleep(0.01)
        heart.stop()
    assert "1 leases had lapsed before they were renewed" in caplog.text


class Refusing:
    """Renews nothing the first time."""

    def __init__(self, error):
        self.error = error
        self.renewed = threading.Event()

    def renew(self, leases, seconds):
        error, self.error = self.error, None
        if error is not None:
            raise error
        self.renewed.set()
        return []


@pytest.mark.parametrize(
    "error",
    [CatalogError("it is away"), AccessDenied("a proxy says no"), RuntimeError("no more threads")],
    ids=lambda it: type(it).__name__,
)
def test_whatever_keeps_a_lease_from_being_renewed_it_is_tried_again(error, caplog):
    refusing = Refusing(error)
    heart = Heartbeat(refusing, 0.03)
    heart.add(1)
    assert refusing.renewed.wait(30)
    heart.stop()
    assert str(error) in caplog.text


def test_leases_are_renewed_also_when_a_thread_for_it_could_not_be_started_before():
    refusing = Refusing(None)
    heart = Heartbeat(refusing, 0.03)
    usual = threading.stack_size(1 << 50)  # which no machine has
    try:
        with pytest.raises(RuntimeError, match="thread"):
            heart.add(1)
    finally:
        threading.stack_size(usual)
    heart.add(2)
    assert refusing.renewed.wait(30)
    heart.stop()


def test_setting_the_machines_clock_ends_no_lease(tmp_path, monkeypatch):
    with open_store(tmp_path, fsync=False) as store:
        ref = store.put(b"x", scope="s")
        with store.lease(ref) as media:
            store.release_all("s")
            real = time.time
            monkeypatch.setattr(time, "time", lambda: real() + 10**6)
            store.sweep()
            assert media.path.exists()


def test_a_child_forked_inside_a_block_does_not_end_its_parents_lease(tmp_path):
    with open_store(tmp_path, fsync=False) as store:
        ref = store.put(b"x", scope="s")
        lease = store.lease(ref)
        with lease as media:
            pid = os.fork()
            if pid == 0:
                lease.__exit__(None, None, None)
                os._exit(0)
            os.waitpid(pid, 0)
            store.release_all("s")
            store.sweep()
            assert media.path.exists()


# -- handing over


def test_a_queue_hands_a_file_from_handler_to_agent(store):
    """The handler's scope ends while the message is still queued."""

    async def handler(queue: asyncio.Queue) -> None:
        with store.scope("telegram:42:7") as turn:
            ref = turn.put(b"photo", MediaMeta("photo.jpg", "image/jpeg", "telegram"))
            received = asyncio.Event()
            await queue.put((ref, received))
            await received.wait()  # the agent has shared it into its own scope

    async def agent(queue: asyncio.Queue) -> bytes:
        ref, received = await queue.get()
        with store.scope("agent:1"):
            mine = store.share(ref, "agent:1")
            received.set()
            while "telegram:42:7" in store.scopes():
                await asyncio.sleep(0)
            with store.lease(mine) as media:
                return media.path.read_bytes()

    async def run() -> bytes:
        queue: asyncio.Queue = asyncio.Queue()
        _, data = await asyncio.gather(handler(queue), agent(queue))
        return data

    assert asyncio.run(run()) == b"photo"
    stats = store.stats()
    assert (stats.refs, stats.condemned) == (0, 0)
