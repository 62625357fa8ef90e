"""Many processes on one folder: they share the work, take turns, wait their time, and lose nothing."""

import contextlib
import functools
import itertools
import os
import random
import sqlite3
import subprocess
import sys
import time
import warnings

import pytest

from conftest import BORROWED
from crashes.apart import apart, folder_in_memory  # noqa: F401
from crashes.children import Child, Signal, together
from crashes.verdict import broken, leaked, read_books
from mediakeep import CatalogError, MediaMissing, RefReleased, UnknownRef, open_store
from mediakeep.catalogs import sqlite_file
from mediakeep.catalogs.lockfile import LockFile

PROCESSES = 4


def assert_in_order(folder):
    books = read_books(folder)
    assert [*broken(books), *leaked(folder, books)] == []


def open_and_close(folder):
    open_store(folder).close()


class Neighbour:
    """Another process, which owes nothing to this one: it began before any store was open here."""

    def __init__(self, folder):
        self._go, self._done = Signal(), Signal()
        self._child = Child(self._run, folder)

    def _run(self, folder):
        while True:
            self._go.wait()
            open_and_close(folder)
            self._done.give()

    def open_and_close(self):
        self._go.give()
        self._done.wait()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._child.kill()


def call_before_unlink(notice):
    """Have this process call `notice(name)` before it deletes a file of that name."""
    real = os.unlink

    def unlink(name, *values, **named):
        notice(os.path.basename(name))
        real(name, *values, **named)

    os.unlink = unlink


# -- all at once


def do_everything(root, me):
    """A mixed load, which looks as it goes whether the law holds; return the refs that are to stay."""
    choose = random.Random(me)
    scope, turn = f"process:{me}", f"process:{me}:turn"
    stay = {}
    with open_store(root / "store", fsync=False) as store:
        for i in range(60):
            data = b"%d of %d" % (i, me)
            ref = store.put(data, scope=scope)
            with store.lease(ref) as media:
                if i % 3:
                    assert store.release(ref)
                    store.sweep()
                else:
                    stay[ref] = data
                assert media.path.read_bytes() == data
            mine = root / "files" / f"{me} {i}"
            mine.write_bytes(data)
            stay[store.store(mine, scope=scope)] = data

            everybodys = root / "files" / f"everybody's {i % 3}"
            fresh = everybodys.with_name(f"fresh {me}")
            fresh.write_bytes(b"shared")
            fresh.rename(everybodys)
            try:
                ref = store.store(everybodys, scope=turn)
            except MediaMissing:
                pass  # another one's release came between
            else:
                assert store.read_bytes(ref) == b"shared"
            store.store(root / "theirs", BORROWED, turn)
            try:
                ref = store.share(choose.choice(list(store.entries())).ref, turn)
            except UnknownRef:
                pass  # it has ended since
            else:
                assert store.read_bytes(ref)
            store.release_all(turn)
    return stay


@apart
def test_any_number_of_processes_do_everything_at_once(root):
    (root / "files").mkdir()
    (root / "theirs").write_bytes(b"the user's")
    done = together(*(functools.partial(do_everything, root, me) for me in range(PROCESSES)))
    stay = {ref: data for some in done for ref, data in some.items()}
    books = read_books(root / "store")
    assert {ref: it.path.read_bytes() for ref, it in books.refs.items()} == stay
    with open_store(root / "store") as store:
        store.sweep()
    assert_in_order(root / "store")
    assert (root / "theirs").read_bytes() == b"the user's"


@apart
def test_two_sweepers_share_the_work_and_delete_nothing_twice(root):
    count, folder = 2000, root / "store"
    with open_store(folder, fsync=False) as store:
        for i in range(count):
            (root / str(i)).write_bytes(b"x")
            store.store(root / str(i), scope="s", ttl=0.001)

    both = [Signal(), Signal()]

    def sweep(me):
        deleted = []

        def notice(name):
            if name.isdigit():
                if not deleted:  # the other one has something to delete while this one is at it
                    both[me].give()
                    both[1 - me].wait()
                deleted.append(int(name))

        call_before_unlink(notice)
        with open_store(folder, fsync=False) as store:
            while (stats := store.stats()).refs or stats.condemned:
                assert store.sweep().failed == ()
        return deleted

    first, second = together(*(functools.partial(sweep, me) for me in range(2)))
    assert sorted(first + second) == list(range(count))
    assert_in_order(folder)


# -- the turn


def keep_the_turn(folder, kept, go_on):
    with LockFile.use(str(folder / "catalog.db.lock")).turn(10):
        kept.give()
        go_on.wait()


@apart
def test_a_writer_whose_turn_does_not_come_says_so_in_time_and_changes_nothing(root):
    folder, file = root / "store", root / "file"
    file.write_bytes(b"x")
    with open_store(folder) as store:
        old = store.put(b"old", scope="old")
    before = read_books(folder)
    kept, go_on = Signal(), Signal()
    child = Child(keep_the_turn, folder, kept, go_on)
    kept.wait()
    with open_store(folder, timeout=0.1) as store:
        for verb in (
            lambda: store.put(b"new", scope="new"),
            lambda: store.store(file, scope="new"),
            lambda: store.share(old, "new"),
            lambda: store.release(old),
            lambda: store.release_all("old"),
            lambda: store.lease(old).__enter__(),
            lambda: store.erase("old"),
        ):
            began = time.monotonic()
            with pytest.raises(CatalogError, match=r"catalog\.db.* kept its lock for more than 0\.1 s"):
                verb()
            assert 0.1 <= time.monotonic() - began < 10
        assert store.read_bytes(old) == b"old", "reading waits for nobody"
        assert read_books(folder) == before
        go_on.give()
        child.result()
        assert store.release(old)
        assert store.release(store.store(file, scope="new"))
        store.sweep()
    assert_in_order(folder)


@apart
def test_what_has_ended_and_cannot_be_forgotten_now_is_left_to_the_sweep(root):
    # An operation that raises has changed nothing. So from the transaction that ends the refs on none
    # may raise, not even where another process then keeps the turn for too long.
    folder, file = root / "store", root / "file"
    open_and_close(folder)
    start, kept, go_on, gone = Signal(), Signal(), Signal(), Signal()

    def be_in_the_way():
        for _ in range(3):
            start.wait()
            keep_the_turn(folder, kept, go_on)
            gone.give()

    def take_turns(name):
        if name == "file":
            start.give()
            kept.wait()

    def lease_and_release(ref):
        with store.lease(ref):
            store.release(ref)

    child = Child(be_in_the_way)
    real = os.unlink
    call_before_unlink(take_turns)
    try:
        with open_store(folder, timeout=0.3) as store:
            for verb in (store.release, lambda _: store.release_all("s"), lease_and_release):
                file.write_bytes(b"x")
                ref = store.store(file, scope="s")
                verb(ref)
                assert not file.exists()
                with pytest.raises(RefReleased):
                    store.resolve(ref)
                go_on.give()
                gone.wait()
                store.sweep()
                assert store.stats().condemned == 0
    finally:
        os.unlink = real
        child.kill()


@apart
def test_a_busy_process_does_not_starve_another(root):
    folder, turns = root / "store", 40
    open_and_close(folder)
    ready, stop = Signal(), Signal()

    def be_busy():
        ended = []
        locks = LockFile.use(str(folder / "catalog.db.lock"))
        ready.give()
        while not stop.given():
            with locks.turn(60):
                time.sleep(0.002)  # what a commit to a slow disk takes
            ended.append(time.monotonic())
        return ended

    def be_modest():
        waits, turn = [], LockFile.turn

        @contextlib.contextmanager
        def timed(locks, timeout):
            asked = time.monotonic()
            with turn(locks, timeout):
                waits.append((asked, time.monotonic()))
                yield

        LockFile.turn = timed
        with open_store(folder, fsync=False) as store:
            for _ in range(turns):
                store.put(b"modest")
        return waits

    busy = Child(be_busy)
    ready.wait()
    waits = Child(be_modest).result()
    stop.give()
    ended = busy.result()
    assert len(waits) >= turns
    meanwhile = sum(began < it < over for it in ended for began, over in waits)
    # In turn means one for each. Without a queue one that comes at random finds the door shut, and the
    # busy one has fifty turns for one of the other's. What it has while the other is not waiting, but
    # has something else to do or is not let run by the machine, says nothing.
    assert 0 < meanwhile < turns * 10


class Timed(sqlite3.Connection):
    """Notes from when to when it has a transaction open that writes, and when it checkpoints."""

    commits: list[tuple[int, int]] = []  # noqa: RUF012
    checkpoints: list[tuple[int, int]] = []  # noqa: RUF012
    began = 0

    def execute(self, sql, *values):
        began = time.monotonic_ns()
        result = super().execute(sql, *values)
        if sql.startswith("BEGIN IMMEDIATE"):
            self.began = began
        elif sql.startswith("COMMIT") and self.began:
            self.commits.append((self.began, time.monotonic_ns()))
            self.began = 0
        elif sql.startswith("PRAGMA wal_checkpoint"):
            self.checkpoints.append((began, time.monotonic_ns()))
        return result


@apart
def test_no_commit_runs_beside_a_checkpoint(root):
    folder = root / "store"
    open_and_close(folder)

    def load(me):
        sqlite3.connect = functools.partial(sqlite3.connect, factory=Timed)
        sqlite_file.CHECKPOINT_EVERY = 5
        with open_store(folder, fsync=False) as store:
            for i in range(250):
                ref = store.put(b"x", scope=f"{me}:{i % 7}")
                if i % 2:
                    store.release(ref)
                elif i % 11 == 0:
                    store.release_all(str(me), nested=True)
        return Timed.commits, Timed.checkpoints

    done = together(*(functools.partial(load, me) for me in range(PROCESSES)))
    spans = []
    for me, (commits, checkpoints) in enumerate(done):
        assert len(commits) >= 250
        assert len(checkpoints) >= 50
        spans += [(began, ended, me) for began, ended in commits + checkpoints]
    spans.sort()
    for (_, ended, one), (began, _, other) in itertools.pairwise(spans):
        assert ended <= began, f"process {other} began to write while process {one} did"
    switches = sum(a[2] != b[2] for a, b in itertools.pairwise(spans))
    assert switches > 10, "they were not at work at the same time"


# -- one location


@apart
def test_a_registration_waits_for_the_deletion_of_its_file_in_another_process_only(root):
    folder, file, other = root / "store", root / "file", root / "other"
    for _ in range(5):
        file.write_bytes(b"x")
        other.write_bytes(b"y")
        open_and_close(folder)
        deleting, go_on, trying = Signal(), Signal(), Signal()

        def delete(deleting=deleting, go_on=go_on):
            def stall(name):
                if name == "file":
                    deleting.give()
                    go_on.wait()

            call_before_unlink(stall)
            with open_store(folder) as store:
                store.release(store.store(file, scope="s"))

        def register(trying=trying):
            with open_store(folder) as store:
                trying.give()
                try:
                    return store.store(file, scope="again")
                except MediaMissing:
                    return "was deleted just now"

        deleter = Child(delete)
        deleting.wait()
        waiter = Child(register)
        trying.wait()
        with open_store(folder, timeout=0.1) as store:
            assert store.release(store.store(other, scope="t")), "nobody is on this one"
            with pytest.raises(CatalogError, match="lock"):
                store.store(file, scope="s")
            assert store.stats().refs == 0
        assert file.exists()
        go_on.give()
        deleter.result()
        assert waiter.result() == "was deleted just now"
        assert not file.exists()
        assert_in_order(folder)


# -- opening


@apart
def test_two_processes_that_open_a_new_folder_at_the_same_instant_both_succeed(root):
    rounds = 200
    starts, done = [Signal(), Signal()], Signal()

    def open_all(start):
        refs = []
        for i in range(rounds):
            start.wait()
            with open_store(root / str(i), fsync=False) as store:
                refs.append(store.put(b"x"))
            done.give()
        return refs

    children = [Child(open_all, start) for start in starts]
    for _ in range(rounds):
        for start in starts:
            start.give()
        done.wait(2)
    first, second = (child.result() for child in children)
    for i in range(rounds):
        assert read_books(root / str(i)).refs.keys() == {first[i], second[i]}
        assert_in_order(root / str(i))


@apart
def test_a_second_opening_in_one_process_takes_nothing_from_the_first(root):
    # POSIX locks go when a process closes any handle of their file: also one that another part of it
    # has opened. SQLite's are what keeps another process from deleting the log under our feet.
    folder = root / "store"
    with Neighbour(folder) as neighbour, open_store(folder) as store:
        refs = [store.put(b"before")]
        with open_store(folder) as second:
            refs.append(second.put(b"by the second"))
        neighbour.open_and_close()
        refs.append(store.put(b"after"))
        assert store.read_bytes(refs[-1]) == b"after"
        with open_store(folder) as second:
            neighbour.open_and_close()
            refs += [store.put(b"by the first"), second.put(b"by the second")]
            assert [second.read_bytes(refs[-2]), store.read_bytes(refs[-1])]
            assert read_books(folder).refs.keys() == set(refs)


# -- after a fork


@apart
def test_a_store_is_usable_on_both_sides_of_a_fork(root):
    folder = root / "store"
    with open_store(folder) as store, warnings.catch_warnings():
        # A lease has a thread that renews it, and Python 3.12 warns when a process with threads forks.
        warnings.simplefilter("ignore", DeprecationWarning)
        ref = store.put(b"parent's", scope="s")
        lease = store.lease(ref)

        def live_on():
            assert media.path.read_bytes() == b"parent's"
            mine = store.put(b"child's", scope="c")
            with store.lease(mine) as held:
                store.release_all("c")
                store.sweep()
                assert held.path.read_bytes() == b"child's"
            assert not held.path.exists()
            store.release(ref)
            lease.__exit__(None, None, None)
            store.sweep()
            assert media.path.exists(), "the lease is the parent's"
            return store.put(b"stays", scope="s")

        with lease as media:
            refs = [Child(live_on).result() for _ in range(2)]
            store.sweep()
            assert media.path.read_bytes() == b"parent's"
        assert not media.path.exists()
        assert [store.read_bytes(ref) for ref in refs] == [b"stays"] * 2
        assert store.read_bytes(store.put(b"afterwards")) == b"afterwards"
    assert_in_order(folder)


@apart
@pytest.mark.parametrize("used", ["read from", "written to"])
def test_a_child_keeps_its_place_when_its_parent_closes_the_store(used, root):
    folder = root / "store"
    forked, closed = Signal(), Signal()
    with Neighbour(folder) as neighbour:
        with open_store(folder) as store:
            refs = {store.put(b"parent's")}

            def live_on():
                mine = {store.put(b"child's")} if used == "written to" else set()
                assert store.stats().refs == 1 + len(mine)
                forked.give()
                closed.wait()
                ref = store.put(b"child's")
                assert store.read_bytes(ref) == b"child's"
                return {*mine, ref}

            child = Child(live_on)
            forked.wait()
        neighbour.open_and_close()
        closed.give()
        refs |= child.result()
        neighbour.open_and_close()
        assert read_books(folder).refs.keys() == refs


@apart
def test_a_child_may_end_as_any_program_does(root):
    program = """
import os, sys
from mediakeep import open_store

store = open_store(sys.argv[1])
store.put(b"before", scope="s")
if not os.fork():
    store.put(b"child's", scope="s")
    sys.exit()
assert os.wait()[1] == 0
store.put(b"after", scope="s")
"""
    done = subprocess.run(
        [sys.executable, "-c", program, str(root / "store")], capture_output=True, text=True
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert len(read_books(root / "store").refs) == 3
