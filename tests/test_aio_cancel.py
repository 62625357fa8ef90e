"""A cancellation leaves nothing half done, wherever it comes."""

import asyncio
import os
import sqlite3
import threading
from contextlib import closing

import anyio
import pytest

from cancelling import CANCELLED, MODES, Watched, at_each_call, at_each_wait, attempt, run, soon
from conftest import BORROWED
from mediakeep import BlobError, FileMediaStore, MediaMeta, UnknownRef, open_store
from mediakeep.aio import AsyncMediaStore
from mediakeep.offload import Offload

LARGE = 2_500_000
"""More than two chunks, so that the source is fed to a thread."""


def over(place, **options):
    return AsyncMediaStore(Watched(place.store), **options)


class Place:
    """A store and what can be seen of it from outside."""

    def __init__(self, kind, folder):
        self.kind = kind
        self.folder = folder
        options = {"fsync": False, "dedupe": False}
        if kind == "memory":
            self.store = open_store("memory:", blobs=folder / "blobs", **options)
        else:
            self.store = open_store(folder / "store", **options)
        self.mine = folder / "mine.txt"
        self.mine.write_bytes(b"a file of the user's")
        self.out = folder / "out"
        self.out.mkdir()
        self.seed = self.store.put(b"was here before", MediaMeta("seed.txt"), "before")

    def seen(self):
        """All files below the folder, but for the catalog's own, and all rows of the books."""
        files = {
            os.path.join(within, name)
            for within, _, names in os.walk(self.folder)
            for name in names
            if not name.startswith(("catalog.db", ".lock"))
        }
        if self.kind == "memory":
            stats = self.store.stats()
            return files, (stats.refs, stats.files, stats.condemned, stats.leases, stats.owned)
        with closing(sqlite3.connect(f"file:{self.folder}/store/catalog.db?mode=ro", uri=True)) as db:
            rows = [
                sorted(db.execute(f"SELECT {what} FROM {table}"))
                for table, what in (
                    ("refs", "ref, scope"),
                    ("locations", "location, owned, condemned"),
                    ("leases", "number"),
                )
            ]
        return files, rows


@pytest.fixture(params=MODES)
def mode(request):
    return request.param


@pytest.fixture(params=("memory", "folder"))
def place(request, tmp_path):
    it = Place(request.param, tmp_path)
    yield it
    it.store.close()


async def small():
    yield b"a few"
    await anyio.lowlevel.checkpoint()
    yield b" bytes"


async def large():
    for _ in range(LARGE // 250_000):
        await anyio.lowlevel.checkpoint()
        yield b"x" * 250_000


def put_bytes(place, store):
    return store.put(b"bytes", MediaMeta("a.txt"), "turn")


def put_path(place, store):
    return store.put(place.mine, MediaMeta("a.txt"), "turn")


def put_chunks(place, store):
    return store.put(iter([b"a few", b" bytes"]), MediaMeta("a.txt"), "turn")


def put_small(place, store):
    return store.put(small(), MediaMeta("a.txt"), "turn")


def put_large(place, store):
    return store.put(large(), MediaMeta("a.txt"), "turn")


def store_in_place(place, store):
    return store.store(place.mine, MediaMeta("a.txt"), "turn")


def borrow(place, store):
    return store.store(place.mine, BORROWED, "turn")


def share(place, store):
    return store.share(place.seed, "turn")


BEGINNINGS = [put_bytes, put_path, put_chunks, put_small, put_large, store_in_place, borrow, share]


def check_beginning(place, before):
    """Return a check: either there is a live ref, or all is as it was."""

    def check(outcome):
        if outcome is not CANCELLED:
            assert place.store.resolve(outcome).exists()
            if place.store.entry(outcome).location == str(place.mine):
                place.store.store(place.mine, BORROWED, "turn")  # or the release deletes it
            place.store.release_all("turn")
        assert place.seen() == before

    return check


@pytest.mark.parametrize("begin", BEGINNINGS)
def test_a_beginning_that_is_cancelled_while_it_waits_leaves_nothing(place, mode, begin):
    async def main():
        store = over(place)
        check = check_beginning(place, place.seen())
        assert await at_each_wait(mode, lambda: begin(place, store), check) >= 2
        await at_each_wait(mode, lambda: begin(place, store), check, again=mode == "asyncio task")

    run(mode, main)


@pytest.mark.parametrize("begin", BEGINNINGS)
def test_a_beginning_that_is_cancelled_while_its_thread_works_leaves_nothing(place, mode, begin):
    async def main():
        store = over(place)
        steps = await at_each_call(
            mode, lambda: begin(place, store), check_beginning(place, place.seen())
        )
        in_books_only = place.kind == "memory" and begin is share
        assert in_books_only or steps >= 2

    run(mode, main)


def test_an_export_that_is_cancelled_leaves_no_file(place, mode):
    async def main():
        store = over(place)
        before = place.seen()

        def check(outcome):
            if outcome is not CANCELLED:
                outcome.unlink()
            assert place.seen() == before

        def export():
            return store.export(place.seed, place.out)

        assert await at_each_wait(mode, export, check)
        assert await at_each_call(mode, export, check)

    run(mode, main)


def test_a_lease_that_is_cancelled_anywhere_has_ended(place, mode):
    async def main():
        store = over(place)
        before = place.seen()

        async def hold():
            async with store.lease(place.seed) as media:
                assert media.path.exists()
                await anyio.lowlevel.checkpoint()

        def check(outcome):
            assert place.seen() == before

        await at_each_wait(mode, hold, check)
        await at_each_wait(mode, hold, check, again=mode == "asyncio task")
        await at_each_call(mode, hold, check)

    run(mode, main)


def test_a_scope_that_is_cancelled_anywhere_has_ended(place, mode):
    async def main():
        store = over(place)
        before = place.seen()

        async def turn():
            async with store.scope("turn") as scope:
                await scope.put(b"bytes")
                await scope.put(small())
                await anyio.lowlevel.checkpoint()

        def check(outcome):
            assert place.seen() == before

        await at_each_wait(mode, turn, check)
        await at_each_wait(mode, turn, check, again=mode == "asyncio task")
        await at_each_call(mode, turn, check)

    run(mode, main)


@pytest.mark.parametrize("end", ["release", "release_all"])
def test_an_end_takes_place_wherever_it_is_cancelled(place, mode, end):
    async def main():
        store = over(place)
        before = place.seen()

        async def ends():
            ref = place.store.put(b"bytes", scope="turn")  # no wait in it
            await (store.release(ref) if end == "release" else store.release_all("turn"))

        def check(outcome):
            assert place.seen() == before

        assert await at_each_wait(mode, ends, check)
        assert await at_each_wait(mode, ends, check, again=mode == "asyncio task")
        assert await at_each_call(mode, ends, check)

    run(mode, main)


def test_an_end_takes_place_in_a_task_that_is_cancelled_already(place, mode):
    async def main():
        store = over(place)
        ref = place.store.put(b"bytes", scope="turn")

        async def ends():
            try:
                await anyio.sleep_forever()
            finally:
                await store.release(ref)

        outcome, _ = await attempt(mode, ends, lambda cancel, n: n == 1 and cancel())
        assert outcome is CANCELLED
        with pytest.raises(UnknownRef):
            place.store.resolve(ref)

    run(mode, main)


def test_a_store_that_is_closed_in_a_cancelled_task_is_closed(tmp_path, mode):
    async def main():
        store = AsyncMediaStore(FileMediaStore(root=tmp_path))
        await store.put(b"bytes")

        async def block():
            async with store:
                await anyio.sleep_forever()

        outcome, _ = await attempt(mode, block, lambda cancel, n: n == 1 and cancel())
        assert outcome is CANCELLED
        assert [name for name in os.listdir(tmp_path) if name != ".lock"] == []

    run(mode, main)


def test_work_that_was_interrupted_is_done_when_its_task_has_ended(place, mode):
    # Whoever awaits the cancelled task may close the store next: no thread may be at work then.
    async def main():
        store = over(place)
        in_loop, cancels, ended = soon(), [], []

        def source():
            cancelled = threading.Event()
            in_loop(lambda: (cancels[0](), cancelled.set()))
            cancelled.wait(20)
            threading.Event().wait(0.05)  # the thread goes on while the cancellation is under way
            ended.append(True)
            yield b"bytes"

        outcome, _ = await attempt(
            mode, lambda: store.put(source()), lambda cancel, _: cancels.append(cancel)
        )
        assert outcome is CANCELLED
        assert ended

    before = place.seen()
    run(mode, main)
    assert place.seen() == before


def test_a_put_that_is_under_way_when_the_program_ends_leaves_nothing(place):
    at_work, go_on = threading.Event(), threading.Event()

    def source():
        at_work.set()
        go_on.wait(20)
        yield b"bytes"

    async def main():
        store = over(place)
        task = asyncio.create_task(store.put(source(), scope="turn"))
        await asyncio.to_thread(at_work.wait, 20)
        asyncio.get_running_loop().call_soon(go_on.set)
        return task

    before = place.seen()
    assert asyncio.run(main()).cancelled()
    assert place.seen() == before


def test_a_put_of_a_long_stream_ends_when_it_is_cancelled(place, mode):
    async def main():
        store = over(place)
        in_loop, cancels, read = soon(), [], []

        def long():
            in_loop(lambda: cancels[0]())
            for n in range(20_000):
                read.append(n)
                threading.Event().wait(0.001)
                yield b"bytes"

        outcome, _ = await attempt(
            mode, lambda: store.put(long()), lambda cancel, _: cancels.append(cancel)
        )
        assert outcome is CANCELLED
        assert len(read) < 20_000

    before = place.seen()
    run(mode, main)
    assert place.seen() == before


def test_an_erase_that_waits_for_a_lease_stops_waiting_when_it_is_cancelled(place, mode):
    async def main():
        store = over(place, threads=1)
        cancels = []

        async def erase():
            async with anyio.create_task_group() as group:
                group.start_soon(cancel_when_ended)
                await store.erase("before", wait=3600)

        async def cancel_when_ended():
            while (await store.stats()).refs:  # the only thread is free
                await anyio.sleep(0.001)
            cancels[0]()

        with place.store.lease(place.seed) as media:
            with anyio.fail_after(20):
                outcome, _ = await attempt(mode, erase, lambda cancel, _: cancels.append(cancel))
            assert outcome is CANCELLED
            assert media.path.exists()
        assert not media.path.exists()

    run(mode, main)


def test_what_cannot_be_undone_is_logged_and_the_cancellation_goes_on(mode, caplog):
    async def main():
        offload = Offload(1)
        in_loop, cancels = soon(), []

        def work():
            cancelled = threading.Event()
            in_loop(lambda: (cancels[0](), in_loop(cancelled.set)))
            cancelled.wait(20)
            return "ref"

        def undo(ref):
            raise BlobError(f"no space left for {ref}")

        outcome, _ = await attempt(
            mode, lambda: offload.run(work, undo=undo), lambda cancel, _: cancels.append(cancel)
        )
        assert outcome is CANCELLED
        assert "no space left for ref" in caplog.text

    run(mode, main)
