"""Locks between processes: byte ranges of one small file that nobody ever writes to.

The kernel drops a process's locks when it dies, so no crash leaves one behind. POSIX record locks
(fcntl(2)) belong to a process as a whole: they say nothing between its threads, and closing *any* handle
of the file drops them all. So there is one `LockFile` per file and process, never closed while somebody
uses it, with a lock for the threads in front.
"""

import fcntl
import os
import threading
import time
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from mediakeep.catalogs.locks import KeyedLock
from mediakeep.errors import CatalogError

_TURN, _NEXT, _OPENING, _LOCATIONS = 0, 1, 2, 16  # offsets in the file

FORK_SECONDS = 5.0
"""How long a fork waits for a writer."""

_used: "dict[tuple[int, int], LockFile]" = {}
_using = threading.Lock()


class LockFile:
    """The locks of one catalog, for all threads of all processes on this machine."""

    __slots__ = ("_by_location", "_handle", "_identity", "_paused", "_users", "_writer", "path")

    def __init__(self, path: str, handle: int, identity: tuple[int, int]) -> None:
        self.path = path
        self._handle = handle
        self._identity = identity
        self._users = 0
        self._paused = False
        self._writer = threading.Lock()
        self._by_location = KeyedLock()

    @classmethod
    def use(cls, path: str) -> "LockFile":
        """Return this process's one object for the file at `path`, which is made if need be.

        Raises:
            OSError: the file cannot be made or opened.
        """
        with _using:
            try:
                found = os.stat(path)
                lock_file = _used.get((found.st_dev, found.st_ino))
            except FileNotFoundError:
                lock_file = None
            if lock_file is None:
                flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
                handle = os.open(path, flags, 0o600)
                found = os.fstat(handle)
                identity = (found.st_dev, found.st_ino)
                lock_file = _used[identity] = cls(path, handle, identity)
            lock_file._users += 1
            return lock_file

    def leave(self) -> None:
        """Say that one user is done; the last one closes the file."""
        with _using:
            self._users -= 1
            if not self._users:
                del _used[self._identity]
                os.close(self._handle)

    def is_still_there(self) -> bool:
        """Return whether the file still has its name, so that whoever comes next gets the same locks.

        Raises:
            FileNotFoundError: it has none.
        """
        found = os.stat(self.path)
        return (found.st_dev, found.st_ino) == self._identity

    def before_fork(self) -> None:
        """Wait until no thread of this process is writing, and let none begin."""
        self._paused = self._writer.acquire(timeout=FORK_SECONDS)

    def after_fork_in_parent(self) -> None:
        """Let writers begin again."""
        if self._paused:
            self._writer.release()

    def after_fork_in_child(self) -> None:
        """Start afresh: a child holds none of its parent's locks, and has none of its threads."""
        self._paused = False
        self._writer = threading.Lock()
        self._by_location = KeyedLock()

    # -- the books: one writer at a time, in turn

    @contextmanager
    def turn(self, timeout: float) -> Iterator[None]:
        """Be the only one to write to the books or to checkpoint them.

        Whoever has had its turn queues behind those that wait already: it has to pass `_NEXT`, which the
        first of them holds. So a busy process cannot starve the others.

        Raises:
            CatalogError: the turn did not come within `timeout` seconds.
        """
        deadline = time.monotonic() + timeout
        if not self._writer.acquire(timeout=timeout):
            raise self._late(timeout)
        try:
            self._wait_for(_NEXT, deadline, timeout)
            try:
                self._wait_for(_TURN, deadline, timeout)
            finally:
                self._give_back(_NEXT)
            try:
                yield
            finally:
                self._give_back(_TURN)
        finally:
            self._writer.release()

    @contextmanager
    def opening(self, timeout: float) -> Iterator[None]:
        """Be the only one to make or migrate the books."""
        if not self._writer.acquire(timeout=timeout):
            raise self._late(timeout)
        try:
            self._wait_for(_OPENING, time.monotonic() + timeout, timeout)
            try:
                yield
            finally:
                self._give_back(_OPENING)
        finally:
            self._writer.release()

    # -- one location

    @contextmanager
    def holding(self, locations: Iterable[str], timeout: float) -> Iterator[None]:
        """Keep every other thread and process off `locations`, waiting for whoever is on them.

        They are taken in one order, so that nobody waits in a circle.

        Raises:
            CatalogError: one of them was not given back within `timeout` seconds.
        """
        held: list[int] = []
        try:
            # By offset, since that is what others wait for: two locations may have the same.
            for offset in sorted(set(map(_offset, locations))):
                self._hold(offset, timeout)
                held.append(offset)
            yield
        finally:
            for offset in held:
                self._drop(offset)

    def _hold(self, offset: int, timeout: float) -> None:
        deadline = time.monotonic() + timeout
        self._by_location.hold(offset, timeout)
        try:
            self._wait_for(offset, deadline, timeout)
        except BaseException:
            self._by_location.drop(offset)
            raise

    def try_hold(self, location: str) -> bool:
        """Keep others off `location` and return True, or return False where somebody is on it."""
        offset = _offset(location)
        if not self._by_location.try_hold(offset):
            return False
        if self._take(offset):
            return True
        self._by_location.drop(offset)
        return False

    def drop(self, location: str) -> None:
        """Give `location` back."""
        self._drop(_offset(location))

    def _drop(self, offset: int) -> None:
        self._give_back(offset)
        self._by_location.drop(offset)

    # -- the kernel's locks

    def _take(self, offset: int) -> bool:
        try:
            fcntl.lockf(self._handle, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, offset)
        except (BlockingIOError, PermissionError):  # EAGAIN or EACCES: both mean taken
            return False
        return True

    def _wait_for(self, offset: int, deadline: float, timeout: float) -> None:
        # The kernel can wait for us, but not with a time-out. Turns are shorter than these naps.
        nap = 0.00005
        while not self._take(offset):
            if time.monotonic() > deadline:
                raise self._late(timeout)
            time.sleep(nap)
            nap = min(nap * 1.3, 0.001)

    def _give_back(self, offset: int) -> None:
        fcntl.lockf(self._handle, fcntl.LOCK_UN, 1, offset)

    def _late(self, timeout: float) -> CatalogError:
        return CatalogError(
            f"{self.path}: another process or thread kept its lock for more than {timeout:g} s; "
            "nothing was changed: try again, or look for a process that hangs"
        )


def _offset(location: str) -> int:
    # Two locations that share an offset wait for each other without need; nothing worse.
    return _LOCATIONS + zlib.crc32(os.fsencode(location))


def before_fork() -> None:
    """Pause all writers of this process; called before it forks."""
    for lock_file in list(_used.values()):
        lock_file.before_fork()


def after_fork_in_parent() -> None:
    """Let them go on."""
    for lock_file in list(_used.values()):
        lock_file.after_fork_in_parent()


def after_fork_in_child() -> None:
    """Start afresh."""
    global _using
    _using = threading.Lock()
    for lock_file in list(_used.values()):
        lock_file.after_fork_in_child()
