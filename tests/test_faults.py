"""What a machine does to a store: disks fill, folders go, permissions and clocks change, locks stay."""

import errno
import functools
import os
import shutil
import sqlite3
import subprocess
import tempfile
import time
from contextlib import contextmanager, suppress
from datetime import timedelta
from pathlib import Path

import pytest

from conftest import BORROWED
from crashes.apart import apart, folder_in_memory  # noqa: F401
from crashes.children import Child, Signal
from crashes.verdict import broken, leaked, read_books
from mediakeep import (
    BlobError,
    CatalogError,
    MediaCleanerConfig,
    MediaError,
    RefExpired,
    UnknownRef,
    open_store,
)
from mediakeep.catalogs import sqlite_file
from mediakeep.testing import FakeClock

NOBODY = 65534
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount, or become somebody else")


def assert_in_order(folder):
    books = read_books(folder)
    assert [*broken(books), *leaked(folder, books)] == []


# -- the disk is full


@contextmanager
def small_disk(folder, size):
    """A disk of that many bytes, mounted on a folder."""
    folder.mkdir()
    options = f"size={size},mode=0700"
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)], capture_output=True, text=True
    )
    if done.returncode:
        pytest.skip(f"this machine does not let root mount a tmpfs: {done.stderr.strip()}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def fill(disk):
    """Leave no free byte on the disk; return what has to be deleted to have them back."""
    path = disk / "ballast"
    with path.open("ab", buffering=0) as file:
        for size in (1 << 20, 1 << 12, 1):
            try:
                while True:
                    file.write(b"\0" * size)
            except OSError as error:
                assert error.errno == errno.ENOSPC
    return path


@as_root
def test_a_full_disk_refuses_bytes_and_keeps_what_it_has(tmp_path):
    with small_disk(tmp_path / "disk", 4 << 20) as disk, open_store(disk / "store") as store:
        old = store.put(b"old", scope="old")
        before = set((disk / "store" / "blobs").rglob("*"))
        with pytest.raises(BlobError, match="No space left on device"):
            store.put(b"x" * (8 << 20), scope="new")
        assert set(store.scopes()) == {"old"}
        ballast = fill(disk)
        for size in (0, 10, 100_000):
            with pytest.raises((BlobError, CatalogError), match=r"No space left|free some space"):
                store.put(b"x" * size, scope="new")
        assert store.read_bytes(old) == b"old"
        assert set(store.scopes()) == {"old"}
        ballast.unlink()
        assert {it for it in (disk / "store" / "blobs").rglob("*") if it.is_file()} <= before
        ref = store.put(b"x" * 100_000, scope="new")
        assert store.read_bytes(ref) == b"x" * 100_000
        store.release_all("new")
        store.sweep()
        assert_in_order(disk / "store")


@as_root
def test_books_that_cannot_grow_refuse_what_does_not_fit_and_nothing_else(tmp_path):
    # The bytes lie elsewhere; only the catalog's disk is full. Whatever is raised has not happened.
    with small_disk(tmp_path / "disk", 1 << 20) as disk:
        store = open_store(disk / "store", blobs=tmp_path / "blobs", fsync=False)
        refs = {store.put(b"%d" % i, scope="s") for i in range(10)}
        ballast = fill(disk)
        refused = 0
        for i in range(200):
            try:
                refs.add(store.put(b"more", scope="s"))
            except CatalogError as error:
                assert "free some space" in str(error)
                refused += 1
            if i % 7 == 0:
                ref = refs.pop()
                try:
                    store.release(ref)
                except CatalogError as error:
                    assert "free some space" in str(error)
                    refs.add(ref)
            assert {it.ref for it in store.entries()} == refs
        assert refused
        ballast.unlink()
        store.put(b"afterwards", scope="t")
        store.sweep()
        assert len(list((tmp_path / "blobs").rglob("*/" + "?" * 32))) == store.stats().files
        store.close()
        books = read_books(disk / "store")
        assert [it for it in broken(books) if "its file" not in it] == []


@as_root
def test_a_store_that_could_not_be_made_leaves_nothing_and_is_made_later(tmp_path):
    with small_disk(tmp_path / "disk", 256 << 10) as disk:
        ballast = fill(disk)
        for _ in range(2):
            with pytest.raises(CatalogError, match=r"No space left|free some space"):
                open_store(disk / "store")
        left = set(os.listdir(disk / "store")) if (disk / "store").exists() else set()
        assert left <= {"catalog.db.lock"}
        ballast.unlink()
        with open_store(disk / "store") as store:
            assert store.read_bytes(store.put(b"x")) == b"x"


class FullFrom:
    """A disk without room for the last of that many steps."""

    STEPS = ("open", "write", "fsync", "link", "mkdir")

    def __init__(self, monkeypatch, last):
        self.left = last
        for name in self.STEPS:
            monkeypatch.setattr(os, name, functools.partial(self._step, name, getattr(os, name)))

    def _step(self, name, real, *values, **named):
        if name != "open" or values[1] & os.O_CREAT:
            self.left -= 1
            if self.left == 0:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return real(*values, **named)


def test_a_put_that_meets_a_full_disk_at_any_step_leaves_nothing(tmp_path):
    store = open_store(tmp_path / "store")
    blobs = tmp_path / "store" / "blobs"
    store.put(b"old", scope="old")
    for step in range(1, 100):
        shutil.rmtree(blobs, ignore_errors=True)  # so that every folder has to be made
        with pytest.MonkeyPatch.context() as patch:
            disk = FullFrom(patch, step)
            try:
                store.put(iter([b"one", b"two"]), scope="new")
                break
            except BlobError as error:
                assert "No space left on device" in str(error)
        assert disk.left == 0
        assert [it for it in blobs.rglob("*") if it.is_file()] == [], f"step {step}"
        assert store.scopes() == ["old"]
    assert step > 10
    assert store.scopes() == ["new", "old"]
    store.release_all("old")
    store.close()
    assert_in_order(tmp_path / "store")


class Failing(sqlite3.Connection):
    """A connection on a disk that fails at some statements."""

    failing = ""

    def execute(self, sql, *values):
        if self.failing and sql.startswith(self.failing):
            raise sqlite3.OperationalError("disk I/O error")
        return super().execute(sql, *values)


@pytest.fixture
def failing(monkeypatch):
    monkeypatch.setattr(sqlite3, "connect", functools.partial(sqlite3.connect, factory=Failing))

    def fail(statement):
        monkeypatch.setattr(Failing, "failing", statement)

    return fail


def test_a_write_whose_commit_fails_has_not_happened(tmp_path, failing):
    path = tmp_path / "file"
    path.write_bytes(b"x")
    with open_store(tmp_path / "store") as store:
        old = store.put(b"old", scope="old")
        before = read_books(tmp_path / "store")
        for statement in ("BEGIN IMMEDIATE", "COMMIT"):
            failing(statement)
            for verb in (
                lambda: store.put(b"new", scope="new"),
                lambda: store.store(path, scope="new"),
                lambda: store.share(old, "new"),
                lambda: store.release(old),
                lambda: store.release_all("old"),
                lambda: store.lease(old).__enter__(),
            ):
                with pytest.raises(CatalogError, match="disk I/O error"):
                    verb()
        assert read_books(tmp_path / "store") == before
        failing("")
        assert store.read_bytes(store.put(b"new", scope="new")) == b"new"
        store.sweep()
    assert_in_order(tmp_path / "store")


def test_what_is_committed_is_not_refused_because_of_a_checkpoint(tmp_path, failing, monkeypatch):
    # A full disk may fail the copying into the main file; by then the ref is written down.
    monkeypatch.setattr(sqlite_file, "CHECKPOINT_EVERY", 1)
    with open_store(tmp_path / "store") as store:
        old = store.put(b"old", scope="old")
        failing("PRAGMA wal_checkpoint")
        ref = store.put(b"new", scope="new")
        assert store.read_bytes(ref) == b"new"
        store.release(old)
        assert store.scopes() == ["new"]
        failing("")
        store.sweep()
    assert_in_order(tmp_path / "store")


def test_what_is_written_after_a_failure_is_as_durable_as_before(tmp_path, failing, monkeypatch):
    # Forgetting what was deleted may be lost with the power, and nothing else may.
    path = tmp_path / "file"
    path.write_bytes(b"x")
    with open_store(tmp_path / "store") as store:
        ref = store.store(path, scope="s")
        real = os.unlink

        def unlink(*values, **named):
            failing("BEGIN IMMEDIATE")
            real(*values, **named)

        monkeypatch.setattr(os, "unlink", unlink)
        with suppress(CatalogError):
            store.release(ref)
        monkeypatch.setattr(os, "unlink", real)
        failing("")
        assert not path.exists()
        durable = []

        class Asking(Failing):
            def execute(self, sql, *values):
                if sql.startswith("COMMIT"):
                    durable.append(super().execute("PRAGMA synchronous").fetchone()[0])
                return super().execute(sql, *values)

        store._catalog._file._writer.__class__ = Asking
        store.put(b"durable")
        assert durable == [2], "synchronous=FULL"


# -- permissions


@contextmanager
def folder_of_nobody():
    """A folder that an unprivileged user can reach and owns."""
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o755)
        own = Path(folder, "own")
        own.mkdir()
        os.chown(own, NOBODY, NOBODY)
        yield own


def as_nobody(work, *values):
    def run():
        # Python loads some of its own modules late; as nobody it may not be able to read them.
        with tempfile.TemporaryDirectory() as warm, open_store(warm) as store:
            store.put(b"text")
        os.setgid(NOBODY)
        os.setuid(NOBODY)
        return work(*values)

    return Child(run)


@as_root
@apart
def test_a_folder_that_cannot_be_written_is_refused_and_stays_as_it_is():
    with folder_of_nobody() as folder:
        open_store(folder / "store").close()
        (folder / "store").chmod(0o755)
        before = sorted((it, it.stat().st_mtime_ns) for it in folder.rglob("*"))

        def use():
            for place in ("store", "new"):
                with pytest.raises(CatalogError, match="Permission denied"):
                    open_store(folder / place)

        folder.chmod(0o555)
        as_nobody(use).result()
        assert sorted((it, it.stat().st_mtime_ns) for it in folder.rglob("*")) == before


@as_root
@apart
def test_permission_that_is_lost_while_a_store_is_open_and_given_again():
    with folder_of_nobody() as folder:
        lost, given = Signal(), Signal()

        def use():
            path = folder / "in" / "file"
            path.parent.mkdir()
            path.write_bytes(b"x")
            with open_store(folder / "store") as store:
                old = store.put(b"old", scope="old")
                ref = store.store(path, scope="s")
                (folder / "in").chmod(0o555)
                for shard in (folder / "store" / "blobs").iterdir():
                    shard.chmod(0o555)
                (folder / "store" / "blobs").chmod(0o555)
                with pytest.raises(BlobError, match="Permission denied"):
                    store.put(b"new", scope="new")
                assert store.scopes() == ["old", "s"]
                assert store.read_bytes(old) == b"old"
                store.release(old)
                store.release(ref)
                stats = store.stats()
                assert (stats.refs, stats.condemned, len(stats.failed)) == (0, 2, 2)
                assert "Permission denied" in stats.failed[0].reason
                assert path.exists()
                assert len(store.sweep().failed) == 2
                lost.give()
                given.wait()
                assert store.sweep().deleted == 2
                assert not path.exists()
                assert store.read_bytes(store.put(b"new")) == b"new"

        child = as_nobody(use)
        lost.wait()
        for it in [folder / "in", *(folder / "store").rglob("*")]:
            if it.is_dir():
                it.chmod(0o755)
        given.give()
        child.result()
        assert_in_order(folder / "store")


@as_root
@apart
def test_books_that_became_read_only_are_still_read():
    with folder_of_nobody() as folder:
        with open_store(folder / "store") as store:
            ref = store.put(b"x", scope="s")
        for it in [folder / "store", *(folder / "store").rglob("*")]:
            os.chown(it, NOBODY, NOBODY)
        (folder / "store" / "catalog.db").chmod(0o444)

        def use():
            with open_store(folder / "store") as store:
                assert store.read_bytes(ref) == b"x"
                for verb in (lambda: store.put(b"new"), lambda: store.release(ref)):
                    with pytest.raises(CatalogError, match="must be able to write it and its folder"):
                        verb()
                assert store.stats().refs == 1

        as_nobody(use).result()
        (folder / "store" / "catalog.db").chmod(0o600)
        with open_store(folder / "store") as store:
            store.sweep()
        assert_in_order(folder / "store")


# -- what is taken away from underneath


def assert_every_write_says(store, ref, path, message):
    for verb in (
        lambda: store.put(b"new", scope="new"),
        lambda: store.store(path, scope="new"),
        lambda: store.share(ref, "new"),
        lambda: store.release(ref),
        lambda: store.lease(ref).__enter__(),
    ):
        with pytest.raises(MediaError, match=message):
            verb()
    for verb in (store.sweep, store.stats, lambda: list(store.entries()), lambda: store.resolve(ref)):
        try:
            verb()  # from what it has still open it may answer, or say what is wrong
        except MediaError as error:
            assert str(store_folder(store)) in str(error)


def store_folder(store):
    return os.path.dirname(store._catalog._file._path)


def test_a_folder_that_is_removed_underneath_is_missed_and_not_made_again(tmp_path):
    folder, path = tmp_path / "store", tmp_path / "file"
    path.write_bytes(b"x")
    with open_store(folder) as store:
        ref = store.put(b"x", scope="s")
        shutil.rmtree(folder)
        assert_every_write_says(store, ref, path, "No such file|removed|moved")
        assert not folder.exists()
    assert path.exists()
    with open_store(folder) as store:
        assert store.read_bytes(store.put(b"x")) == b"x"


@pytest.mark.parametrize("put_there", ["nothing", "another store's", "its backup"])
def test_books_that_are_removed_or_replaced_underneath_are_missed(put_there, tmp_path):
    folder, path = tmp_path / "store", tmp_path / "file"
    path.write_bytes(b"x")
    with open_store(folder) as store:
        store.put(b"x", scope="in the backup")
    shutil.copytree(folder, tmp_path / "backup")
    with open_store(tmp_path / "another") as another:
        another.put(b"y", scope="another")
    with open_store(folder) as store:
        ref = store.put(b"x", scope="s")
        blobs = {it for it in (folder / "blobs").rglob("*") if it.is_file()}
        (folder / "catalog.db").unlink()
        if put_there != "nothing":
            where = "another" if put_there == "another store's" else "backup"
            fresh = tmp_path / "fresh"
            shutil.copyfile(tmp_path / where / "catalog.db", fresh)
            fresh.rename(folder / "catalog.db")
        assert_every_write_says(store, ref, path, "removed|replaced|moved")
        assert {it for it in (folder / "blobs").rglob("*") if it.is_file()} == blobs
    assert path.exists()


def test_blobs_that_are_removed_underneath_are_missing_and_can_be_reconciled(tmp_path):
    with open_store(tmp_path / "store") as store:
        ref = store.put(b"x", scope="s")
        shutil.rmtree(tmp_path / "store" / "blobs")
        with pytest.raises(FileNotFoundError, match="somebody deleted its file"):
            store.read_bytes(ref)
        assert store.reconcile(dry_run=False).counts == {"missing": 1}
        with pytest.raises(UnknownRef, match="reconcile"):
            store.resolve(ref)
        assert store.read_bytes(store.put(b"y")) == b"y"
    assert_in_order(tmp_path / "store")


# -- another program keeps the books


@apart
def test_books_that_another_program_keeps_locked_are_waited_for_but_not_for_ever(root):
    folder, path = root / "store", root / "file"
    path.write_bytes(b"x")
    with open_store(folder) as store:
        old = store.put(b"old", scope="old")
    before = read_books(folder)
    locked, go_on = Signal(), Signal()

    def keep_locked():
        db = sqlite3.connect(folder / "catalog.db", isolation_level=None)
        db.execute("BEGIN IMMEDIATE")
        db.execute("DELETE FROM refs")
        locked.give()
        go_on.wait()
        db.execute("ROLLBACK")
        db.close()

    child = Child(keep_locked)
    locked.wait()
    with open_store(folder, timeout=0.1) as store:
        for verb in (
            lambda: store.put(b"new", scope="new"),
            lambda: store.store(path, scope="new"),
            lambda: store.share(old, "new"),
            lambda: store.release(old),
            lambda: store.lease(old).__enter__(),
        ):
            began = time.monotonic()
            with pytest.raises(CatalogError, match=r"SQLITE_BUSY.*another program keeps it locked"):
                verb()
            assert 0.1 <= time.monotonic() - began < 10
        assert store.read_bytes(old) == b"old"
        assert read_books(folder) == before
        go_on.give()
        child.result()
        store.release(old)
        assert store.read_bytes(store.put(b"new", scope="new")) == b"new"
        store.sweep()
    assert_in_order(folder)


# -- the machine's clock


DAY = 86_400.0


@pytest.mark.parametrize("jumps", [(-400, 0), (400, 0), (-400, 800), (800, -800), (0.5, -0.5, 0.5)])
def test_a_clock_that_is_set_between_runs_loses_nothing(jumps, tmp_path):
    # Only time may end a ref, and only by as much as the clock says. What is live has its file.
    clock = FakeClock()
    owned = {}
    for number, jump in enumerate([0, *jumps]):
        clock.advance(jump * DAY)
        with open_store(tmp_path / "store", clock=clock) as store:
            assert store.sweep().expired == 0
            for ref, data in owned.items():
                assert store.read_bytes(ref) == data
            path = tmp_path / str(number)
            path.write_bytes(b"in place %d" % number)
            theirs = tmp_path / f"their {number}"
            theirs.write_bytes(b"theirs")
            owned[store.store(path, scope="s")] = b"in place %d" % number
            owned[store.put(b"blob %d" % number, scope="s")] = b"blob %d" % number
            store.store(theirs, BORROWED, "s")
            ended = store.put(b"ended", scope="t")
            with store.lease(ended) as media:
                store.release(ended)
                store.sweep()
                assert media.path.exists()
            assert not media.path.exists()
            with pytest.raises(UnknownRef):
                store.resolve(ended)
    with open_store(tmp_path / "store", clock=clock) as store:
        store.release_all("s")
        assert store.stats().condemned == 0
    assert not (tmp_path / "0").exists()
    assert (tmp_path / "their 0").exists()
    assert_in_order(tmp_path / "store")


def test_a_clock_that_is_set_ends_what_has_a_time_to_live_by_expiry_only(tmp_path):
    clock = FakeClock()
    cleaner = MediaCleanerConfig(max_age=timedelta(days=1))
    with open_store(tmp_path / "store", clock=clock, cleaner=cleaner) as store:
        short = store.put(b"an hour", scope="s", ttl=3600)
        aged = store.put(b"a day", scope="s")
        long = store.put(b"a year", scope="s", ttl=365 * DAY)
    clock.advance(-30 * DAY)
    with open_store(tmp_path / "store", clock=clock, cleaner=cleaner) as store:
        back_then = store.put(b"a day, by a clock that was late", scope="s")
        assert store.sweep().expired == 0
    clock.advance(30 * DAY + 3601)
    with open_store(tmp_path / "store", clock=clock, cleaner=cleaner) as store:
        assert store.sweep().expired == 2
        for ref in (short, back_then):
            with pytest.raises(RefExpired):
                store.resolve(ref)
        assert [store.read_bytes(ref) for ref in (aged, long)] == [b"a day", b"a year"]
    assert_in_order(tmp_path / "store")


@apart
def test_setting_the_machines_clock_ends_no_lease(root, monkeypatch):
    with open_store(root / "store") as store:
        ref = store.put(b"x", scope="s")
        with store.lease(ref) as media:
            store.release(ref)
            real = time.time
            for jump in (-400 * DAY, 400 * DAY):
                monkeypatch.setattr(time, "time", lambda jump=jump: real() + jump)
                with open_store(root / "store") as other:
                    assert other.sweep().deleted == 0
                assert media.path.exists()
        assert not media.path.exists()
