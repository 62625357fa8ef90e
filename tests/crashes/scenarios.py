"""What a process is doing when it is killed: one class for each verb, with what was there before."""

import errno
import os
import secrets
import shutil
import time
from dataclasses import replace
from pathlib import Path

from mediakeep import CleanupPolicy, MediaMeta, MediaStore, open_store
from mediakeep.catalogs import sqlite_file
from mediakeep.refs import new_ref
from mediakeep.testing import FakeClock

DATA = Path(__file__).parents[1] / "data"
BORROWED = MediaMeta(cleanup_policy=CleanupPolicy.FORGET_ONLY)
NOW = 1_767_225_600.0
LATER = NOW + 3 * 86_400
"""Past the time of every lease, and within that of the journal."""


class Scenario:
    """One store, the files around it, and what is done to them when the process dies.

    `through` are effects that the deed has to have, in this order; a test that watched none would
    prove nothing.
    """

    through: tuple[str, ...] = ()
    expires = False
    """Whether a sweep later on ends refs by itself."""
    mended = False
    """Whether it takes a reconcile to leave no byte behind."""
    kept = 0
    """Blobs that the store was told never to delete, and that have no ref left in the end."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.folder = root / "store"
        self.files = root / "files"
        self.theirs = root / "theirs"

    def open(self, now: float = NOW) -> MediaStore:
        return open_store(self.folder, clock=FakeClock(now), fsync=True)

    def file(self, name: str) -> Path:
        """A file that may be given to the store."""
        return _made(self.files / name)

    def their(self, name: str) -> Path:
        """A file that nobody but the user may delete."""
        return _made(self.theirs / name)

    def prepare(self, store: MediaStore) -> None:
        """Bring about what is there before, in an earlier process."""

    def begin(self, store: MediaStore) -> None:
        """Do what the same process did before it was in danger."""

    def act(self, store: MediaStore) -> None:
        """Do what the process dies of."""
        raise NotImplementedError


def _made(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    if not path.exists():
        path.write_bytes(b"bytes of " + os.fsencode(path.name))
    return path


def only(store: MediaStore, scope: str) -> str:
    """Return the one ref in `scope`."""
    (entry,) = store.entries(scope)
    return entry.ref


class FirstOpening(Scenario):
    through = ("create", "script", "rename", "fsync", "PRAGMA journal_mode=WAL")

    def open(self, now: float = NOW) -> MediaStore | None:
        return super().open(now) if now == LATER else None

    def act(self, store: None) -> None:
        super().open()


class OpeningOfAnOlderVersion(FirstOpening):
    through = ("PRAGMA journal_mode=WAL", "BEGIN IMMEDIATE", "ALTER TABLE", "CREATE INDEX", "COMMIT")

    def open(self, now: float = NOW) -> MediaStore | None:
        if not self.folder.exists():
            shutil.copytree(DATA / "schema-1", self.folder)
        return super().open(now)


class Put(Scenario):
    through = (
        "create", "flock", "write", "link", "fsync", "fsync", "lockf", "BEGIN IMMEDIATE",
        "INSERT INTO locations", "INSERT INTO refs", "COMMIT", "lockf", "unlink",
    )  # fmt: skip

    def prepare(self, store: MediaStore) -> None:
        store.put(b"old", scope="old")

    def begin(self, store: MediaStore) -> None:
        # The same steps each time: its folder has to be made, unless that of the old one is it.
        (old,) = (it.name for it in (self.folder / "blobs").iterdir() if it.name != "tmp")
        secrets.token_hex = lambda count: ("00" if old != "00" else "11") * count

    def act(self, store: MediaStore) -> None:
        store.put(iter([b"bytes ", b"in two chunks"]), scope="new")


class FirstPut(Scenario):
    through = (
        "mkdir", "fsync", "create", "write", "mkdir", "fsync", "link", "fsync", "fsync",
        "COMMIT", "unlink",
    )  # fmt: skip

    def act(self, store: MediaStore) -> None:
        store.put(b"bytes", scope="new", ttl=10 * 86_400)


class PutOfWhatIsKept(Scenario):
    through = ("create", "write", "link", "COMMIT", "unlink")

    def act(self, store: MediaStore) -> None:
        store.put(b"bytes", BORROWED, "new")


class PutThatCheckpoints(Scenario):
    through = ("link", "COMMIT", "PRAGMA wal_checkpoint", "unlink")

    def begin(self, store: MediaStore) -> None:
        sqlite_file.CHECKPOINT_EVERY = 1

    def act(self, store: MediaStore) -> None:
        store.put(b"bytes", scope="new")


class PutOfBytesThatAreThere(Scenario):
    through = (
        "create", "write", "link", "fsync", "BEGIN IMMEDIATE", "INSERT INTO refs", "COMMIT", "unlink",
        "unlink",
    )  # fmt: skip

    def prepare(self, store: MediaStore) -> None:
        store.put(b"bytes", scope="old")

    def act(self, store: MediaStore) -> None:
        store.put(b"bytes", scope="new")


class PutOfBytesThatHaveJustEnded(PutOfBytesThatAreThere):
    through = ("link", "INSERT INTO locations", "COMMIT", "unlink")

    def prepare(self, store: MediaStore) -> None:
        super().prepare(store)
        with _no_unlinks():
            store.release_all("old")


class PutMany(Scenario):
    through = (
        "create", "write", "link", "fsync", "create", "write", "link", "fsync", "BEGIN IMMEDIATE",
        "INSERT INTO refs", "INSERT INTO refs", "INSERT INTO refs", "COMMIT", "unlink", "unlink",
    )  # fmt: skip

    def prepare(self, store: MediaStore) -> None:
        store.put(b"old", scope="old")

    def begin(self, store: MediaStore) -> None:
        names = iter(f"{n:x}" * 32 for n in range(1, 10))  # the same steps each time
        secrets.token_hex = lambda count: next(names)

    def act(self, store: MediaStore) -> None:
        # One that is there, and two that are the same: three refs, of which one blob is new.
        store.put_many([(it, MediaMeta()) for it in (b"old", b"bytes", b"bytes")], "new")


class StoreMany(Scenario):
    through = (
        "lockf", "lockf", "BEGIN IMMEDIATE", "INSERT INTO locations", "INSERT INTO refs",
        "INSERT INTO locations", "INSERT INTO refs", "COMMIT", "lockf", "lockf",
    )  # fmt: skip

    def prepare(self, store: MediaStore) -> None:
        ref = store.store(self.file("new"), scope="old")
        with _no_unlinks():
            store.release(ref)
        self.file("other")

    def act(self, store: MediaStore) -> None:
        them = [self.files / "new", self.files / "other", self.files / "new"]
        store.store_many([(it, MediaMeta()) for it in them], "new")


class Restore(Scenario):
    through = (
        "BEGIN IMMEDIATE",
        "INSERT INTO locations",
        "INSERT INTO refs",
        "INSERT INTO refs",
        "COMMIT",
    )

    def prepare(self, store: MediaStore) -> None:
        store.store(self.file("new"), scope="old")

    def begin(self, store: MediaStore) -> None:
        (entry,) = store.entries("old")
        self.refs = [
            replace(store._catalog.get(entry.ref), ref=new_ref(), scope="new") for _ in range(2)
        ]

    def act(self, store: MediaStore) -> None:
        assert store._catalog.restore(self.refs, owned=True) == 2


class Variant(Scenario):
    through = (
        "INSERT INTO leases", "COMMIT", "link", "fsync", "BEGIN IMMEDIATE", "INSERT INTO locations",
        "COMMIT", "unlink", "DELETE FROM leases", "COMMIT",
    )  # fmt: skip

    def prepare(self, store: MediaStore) -> None:
        store.put(b"bytes", scope="old")

    def begin(self, store: MediaStore) -> None:
        self.ref = only(store, "old")

    def act(self, store: MediaStore) -> None:
        store.variant(self.ref, "loud", lambda path: path.read_bytes().upper())


class StoreInPlace(Scenario):
    through = (
        "lockf",
        "BEGIN IMMEDIATE",
        "INSERT INTO locations",
        "INSERT INTO refs",
        "COMMIT",
        "lockf",
    )

    def prepare(self, store: MediaStore) -> None:
        self.file("new")

    def act(self, store: MediaStore) -> None:
        store.store(self.files / "new", scope="new")


class StoreOfWhatIsCondemned(StoreInPlace):
    def prepare(self, store: MediaStore) -> None:
        ref = store.store(self.file("new"), scope="old")
        with _no_unlinks():
            store.release(ref)


class StoreOfWhatIsBorrowed(Scenario):
    through = ("INSERT INTO locations", "INSERT INTO refs", "COMMIT")

    def prepare(self, store: MediaStore) -> None:
        store.store(self.their("new"), BORROWED, "user")

    def act(self, store: MediaStore) -> None:
        store.store(self.theirs / "new", scope="new")


class Share(Scenario):
    through = ("BEGIN IMMEDIATE", "INSERT INTO refs", "COMMIT")

    def prepare(self, store: MediaStore) -> None:
        store.put(b"bytes", scope="old")

    def begin(self, store: MediaStore) -> None:
        self.ref = only(store, "old")

    def act(self, store: MediaStore) -> None:
        store.share(self.ref, "new")


_DELETED = ("lockf", "unlink", "BEGIN IMMEDIATE", "DELETE FROM locations", "COMMIT", "lockf")
_ENDED = ("BEGIN IMMEDIATE", "DELETE FROM refs", "UPDATE locations", "COMMIT", *_DELETED)


class ReleaseOfAFile(Scenario):
    through = _ENDED

    def prepare(self, store: MediaStore) -> None:
        store.store(self.file("old"), scope="old")

    def begin(self, store: MediaStore) -> None:
        self.ref = only(store, "old")

    def act(self, store: MediaStore) -> None:
        store.release(self.ref)


class ReleaseOfABlob(ReleaseOfAFile):
    def prepare(self, store: MediaStore) -> None:
        store.put(b"bytes", scope="old")


class ReleaseOfAnOriginal(ReleaseOfAFile):
    through = (*_ENDED[:2], "INSERT INTO history", *_ENDED[2:5], "unlink", "unlink", *_DELETED[2:])

    def prepare(self, store: MediaStore) -> None:
        ref = store.put(b"bytes", scope="old")
        store.variant(ref, "loud", lambda path: path.read_bytes().upper())


class ReleaseOfWhatIsBorrowed(ReleaseOfAFile):
    through = ("DELETE FROM refs", "DELETE FROM locations", "COMMIT")

    def prepare(self, store: MediaStore) -> None:
        store.store(self.their("old"), BORROWED, "old")


class ReleaseOfWhatIsKept(ReleaseOfAFile):
    through = ("DELETE FROM refs", "DELETE FROM locations", "COMMIT")
    kept = 1

    def prepare(self, store: MediaStore) -> None:
        store.put(b"bytes", BORROWED, "old")


class ReleaseWhoseUnlinkFails(ReleaseOfAFile):
    through = ("DELETE FROM refs", "COMMIT", "lockf", "BEGIN IMMEDIATE", "UPDATE locations", "COMMIT")

    def begin(self, store: MediaStore) -> None:
        super().begin(store)
        _no_unlinks().__enter__()


class ReleaseAll(Scenario):
    through = (*_ENDED[:5], "unlink", "unlink", "unlink", *_DELETED[2:])

    def prepare(self, store: MediaStore) -> None:
        store.store(self.file("one"), scope="s")
        store.store(self.file("two"), scope="s:below")
        store.put(b"bytes", scope="s:below:that")
        shared = store.store(self.file("shared"), scope="s")
        store.share(shared, "another")
        store.share(store.put(b"shared", scope="s"), "another")
        store.store(self.their("borrowed"), BORROWED, "s")
        store.store(self.theirs / "borrowed", scope="s:below")
        store.store(self.their("kept by its alias"), BORROWED, "another")
        store.store(self.theirs / "kept by its alias", scope="s")

    def act(self, store: MediaStore) -> None:
        store.release_all("s", nested=True)


class Erase(ReleaseAll):
    def act(self, store: MediaStore) -> None:
        store.erase("s")


class ExpireAndSweep(Scenario):
    through = _ENDED
    expires = True

    def prepare(self, store: MediaStore) -> None:
        store.store(self.file("old"), scope="s", ttl=60)
        store.put(b"bytes", scope="s", ttl=60)
        store.store(self.file("stays"), scope="s")

    def begin(self, store: MediaStore) -> None:
        store._catalog._clock.advance(61)

    def act(self, store: MediaStore) -> None:
        store.sweep()


class SweepOfWhatFailed(Scenario):
    through = _DELETED

    def prepare(self, store: MediaStore) -> None:
        for name in ("one", "two"):
            store.store(self.file(name), scope="s")
        with _no_unlinks():
            store.release_all("s")
            store.sweep()

    def act(self, store: MediaStore) -> None:
        store.sweep()


class SweepOfWhatDeadWritersLeft(Scenario):
    through = ("flock", "unlink", "unlink", "unlink")

    def prepare(self, store: MediaStore) -> None:
        live = store.resolve(store.put(b"was named", scope="old"))
        kept = store.resolve(store.put(b"is never deleted", BORROWED, "old"))
        tmp = self.folder / "blobs" / "tmp"
        for path in (live, kept):
            os.link(path, tmp / f"{path.parent.name}.{path.name}")
        unnamed = live.parent / ("0" * 32)
        unnamed.write_bytes(b"was not")
        os.link(unnamed, tmp / f"{unnamed.parent.name}.{unnamed.name}")
        (tmp / ("00." + "1" * 32)).write_bytes(b"half")

    def act(self, store: MediaStore) -> None:
        store.sweep()


class LeaseBegins(Scenario):
    through = ("BEGIN IMMEDIATE", "INSERT INTO leases", "COMMIT")

    def prepare(self, store: MediaStore) -> None:
        store.store(self.file("old"), scope="old")

    def begin(self, store: MediaStore) -> None:
        self.lease = store.lease(only(store, "old"))

    def act(self, store: MediaStore) -> None:
        self.lease.__enter__()


class LeaseIsRenewed(LeaseBegins):
    through = ("BEGIN IMMEDIATE", "UPDATE leases", "COMMIT")

    def begin(self, store: MediaStore) -> None:
        super().begin(store)
        self.lease.__enter__()

    def act(self, store: MediaStore) -> None:
        store._catalog._clock.advance(1)
        assert store._catalog.renew([self.lease._number], 60) == []


class ReleaseUnderLease(LeaseIsRenewed):
    through = ("DELETE FROM refs", "UPDATE locations", "COMMIT")

    def act(self, store: MediaStore) -> None:
        store.release_all("old")
        assert (self.files / "old").exists()


class BorrowedReleaseUnderLease(LeaseIsRenewed):
    through = ("DELETE FROM refs", "UPDATE locations", "COMMIT", "DELETE FROM leases", "COMMIT")

    def prepare(self, store: MediaStore) -> None:
        store.store(self.their("old"), BORROWED, "old")

    def act(self, store: MediaStore) -> None:
        store.release_all("old")
        self.lease.__exit__(None, None, None)


class LeaseEndsAndDeletes(LeaseIsRenewed):
    through = ("DELETE FROM leases", "COMMIT", *_DELETED)

    def begin(self, store: MediaStore) -> None:
        super().begin(store)
        store.release_all("old")

    def act(self, store: MediaStore) -> None:
        self.lease.__exit__(None, None, None)


class LapsedLeaseIsForgotten(Scenario):
    through = ("DELETE FROM leases", "COMMIT", *_DELETED)

    def prepare(self, store: MediaStore) -> None:
        ref = store.store(self.file("old"), scope="old")
        store._catalog.lease(ref, 60)
        store.release(ref)

    def begin(self, store: MediaStore) -> None:
        store._catalog._clock.advance(61)

    def act(self, store: MediaStore) -> None:
        store.sweep()


class ReconcileOfAnOrphan(Scenario):
    through = ("INSERT INTO locations", "COMMIT", *_DELETED)
    mended = True

    def prepare(self, store: MediaStore) -> None:
        path = store.resolve(store.put(b"bytes", scope="old"))
        orphan = path.parent / ("0" * 32)
        orphan.write_bytes(b"that nothing names")
        os.utime(orphan, (time.time() - 7200,) * 2)

    def act(self, store: MediaStore) -> None:
        assert store.reconcile(dry_run=False).mended == 1


class Close(Scenario):
    through = ("close", "close")

    def prepare(self, store: MediaStore) -> None:
        store.put(b"bytes", scope="old")

    def begin(self, store: MediaStore) -> None:
        store.put(b"bytes", scope="s")
        store.release_all("s")

    def act(self, store: MediaStore) -> None:
        store.close()


class _no_unlinks:  # noqa: N801
    """No file but a temporary one can be deleted."""

    def __enter__(self) -> None:
        self._real = os.unlink

        def unlink(name: str, *values: object, **named: object) -> None:
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), name)

        os.unlink = unlink

    def __exit__(self, *_: object) -> None:
        os.unlink = self._real


SCENARIOS = {
    it.__name__: it
    for it in list(globals().values())
    if isinstance(it, type) and issubclass(it, Scenario) and it is not Scenario
}
