"""A folder of copies of what lies elsewhere: bounded, shared by processes, kept over restarts.

    cache/3f/3f0c…        the bytes of a key
    cache/3f/3f0c….part   the bytes of a key on their way, locked by who brings them
    cache/room            how much is taken, at most; locked to change it

All locks are the kernel's (`flock`), so what a killed process held is free. A complete copy bears a
modification time that follows from its key and size and that nothing else gives: a file that was
written to, cut off or put there by somebody else is not taken for one. Its access time says when it
was used last. A copy in use is locked too (shared), and is not evicted.
"""

import errno
import fcntl
import hashlib
import logging
import os
import stat
import time
import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

from mediakeep.errors import BlobError, MediaMissing

logger = logging.getLogger("mediakeep.blobs")

_PART = ".part"
_TOUCH_SECONDS = 1.0
_SPARE = 0.9


class Incoming(NamedTuple):
    """The bytes of a key as they come: how many, what they hash to if that is known, and themselves."""

    size: int
    sha256: str
    pieces: Iterable[bytes]


Fetch = Callable[[], AbstractContextManager[Incoming]]


class Cache:
    """Copies in the folder `root`, of at most `limit` bytes together, those on their way included.

    Folders are made with mode 0700, files with 0600. A key is two names with a slash between them.

    Args:
        root: the folder; nobody else's. It is made when the first bytes come.
        limit: in bytes.
    """

    __slots__ = ("_folder", "_limit", "root")

    def __init__(self, root: str | os.PathLike[str], limit: int) -> None:
        if limit <= 0:
            raise ValueError(f"cache_bytes must be positive, not {limit!r}")
        self.root = os.path.realpath(root)
        self._folder = Path(self.root)
        self._limit = limit

    def path(self, key: str, fetch: Fetch) -> Path:
        """Return the path of the copy, which `fetch` brings if it is not there.

        However many threads and processes ask at once, one of them fetches and the others wait. The
        copy may be evicted from then on: `hold` it to keep it.

        Raises:
            BlobError: it does not fit, what came is not what was announced, or the disk fails.
                What `fetch` raises passes through. No part of it is left.
        """
        path = f"{self.root}/{key}"
        try:
            while not self._is_there(key, path):
                self._bring(key, path, fetch)
        except (BlobError, MediaMissing):
            raise
        except OSError as error:
            raise BlobError(
                f"cannot keep a copy in the cache {self.root!r}: {error.strerror or error}"
            ) from error
        return self._folder / key

    @contextmanager
    def hold(self, key: str, fetch: Fetch) -> Iterator[Path]:
        """Give the path of the copy, which is not evicted while the block is open."""
        process = os.getpid()
        while True:
            path = self.path(key, fetch)
            try:
                handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
            except FileNotFoundError:
                continue  # evicted in between
            try:
                fcntl.flock(handle, fcntl.LOCK_SH)
                if _is_at(handle, path):
                    yield path
                    return
            finally:
                if os.getpid() == process:
                    _unlock(handle)
                else:  # a child has left the block: the lock is its parent's
                    os.close(handle)

    def drop(self, key: str) -> None:
        """Remove the copy, held, on its way, or not; no error if there is none."""
        path = os.path.join(self.root, key)
        # In this order: what is on its way may get its name in between.
        if not (os.path.lexists(path + _PART) or os.path.lexists(path)):
            return
        with suppress(FileNotFoundError), self._room() as room:
            with suppress(FileNotFoundError):
                os.unlink(path + _PART)  # who brings it finds that out, and gives its room back
            size = os.lstat(path).st_size
            os.unlink(path)
            _take_off(room, size)

    def discard(self, key: str) -> None:
        """Remove the copy unless somebody holds it; no error if there is none."""
        path = os.path.join(self.root, key)
        if not os.path.lexists(path):
            return
        with suppress(FileNotFoundError), self._room() as room:
            size = os.lstat(path).st_size
            if _remove_unused(path):
                _take_off(room, size)

    def key(self, path: str) -> str | None:
        """Return what lies at the canonical `path` of this folder, relative to it; None if elsewhere."""
        if not path.startswith(self.root + os.sep):
            return None
        return path[len(self.root) + 1 :].replace(os.sep, "/")

    # -- in

    def _is_there(self, key: str, path: str) -> bool:
        try:
            found = os.lstat(path)
        except FileNotFoundError:
            return False
        if not stat.S_ISREG(found.st_mode) or found.st_mtime_ns != _seal(key, found.st_size):
            return False
        now = time.time_ns()
        if abs(now - found.st_atime_ns) > _TOUCH_SECONDS * 1e9:
            with suppress(FileNotFoundError):
                os.utime(path, ns=(now, found.st_mtime_ns), follow_symlinks=False)
        return True

    def _bring(self, key: str, path: str, fetch: Fetch) -> None:
        """Fetch the copy, or wait until somebody else has; what then is there tells."""
        part = path + _PART
        handle = self._open_part(part)
        try:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                # Shared, since what is being brought here will be held by those who use it.
                fcntl.flock(handle, fcntl.LOCK_SH)
                return
            if not _is_at(handle, part):
                return  # somebody else has brought it, or failed to
            taken = 0
            try:
                if self._is_there(key, path):
                    return
                with fetch() as (size, sha256, pieces):
                    self._reserve(handle, size)
                    taken = size
                    self._receive(key, handle, size, sha256, pieces)
                with suppress(IsADirectoryError), self._room():
                    if _is_at(handle, part):  # else it was dropped meanwhile, and may not be there
                        os.rename(part, path)
                        part = ""
                    return
                raise BlobError(f"{path!r} is a folder: the cache's folder must be nobody else's")
            finally:
                if part:
                    with suppress(FileNotFoundError), self._room() as room:
                        if _is_at(handle, part):
                            os.unlink(part)
                        _take_off(room, taken)
        finally:
            _unlock(handle)

    def _open_part(self, part: str) -> int:
        flags = os.O_CREAT | os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW
        try:
            handle = os.open(part, flags, 0o600)
        except FileNotFoundError:
            for folder in (self.root, os.path.dirname(part)):
                os.makedirs(folder, 0o700, exist_ok=True)
            handle = os.open(part, flags, 0o600)
        _waited_for.add(handle)
        return handle

    def _receive(self, key: str, handle: int, size: int, sha256: str, pieces: Iterable[bytes]) -> None:
        """Write what comes, make sure that it is what was announced, and seal it."""
        digest, came = hashlib.sha256(), 0
        for piece in pieces:
            came += len(piece)
            if came > size:
                break
            digest.update(piece)
            rest = memoryview(piece)
            while rest:
                rest = rest[os.write(handle, rest) :]
        if came != size:
            raise BlobError(f"{key} came with {came} bytes instead of {size}: try again")
        if sha256 and digest.hexdigest() != sha256:
            raise BlobError(
                f"{key} is damaged where it is stored: its sha256 is {digest.hexdigest()} instead of "
                f"{sha256}; restore it from a backup, or release its refs"
            )
        os.fsync(handle)  # else a loss of power could leave a seal on bytes that never were written
        os.utime(handle, ns=(time.time_ns(), _seal(key, size)))

    # -- room

    def _reserve(self, part: int, size: int) -> None:
        """Make room for `size` bytes and take it for the file `part`, or raise."""
        if size > self._limit:
            raise BlobError(
                f"{size} bytes do not fit into the cache {self.root!r} of {self._limit}: "
                "raise cache_bytes, or read it with open"
            )
        with self._room() as room:
            taken = _read_number(room)
            if taken is None or taken + size > self._limit:
                taken = self._evict(size)
                _write_number(room, taken)
            if taken + size > self._limit:
                raise BlobError(
                    f"no room for {size} bytes in the cache {self.root!r}: {taken} of {self._limit} "
                    "are in use; end leases, or raise cache_bytes"
                )
            os.ftruncate(part, 0)
            os.ftruncate(part, size)
            _write_number(room, taken + size)

    def _evict(self, size: int) -> int:
        """Remove what was used least recently until `size` fits with some to spare; return the rest.

        It also removes what killed processes have left.
        """
        found, taken = [], 0
        for folder in _folders(self.root):
            with os.scandir(folder) as them:
                for it in them:
                    with suppress(FileNotFoundError):
                        about = it.stat(follow_symlinks=False)
                        if stat.S_ISREG(about.st_mode):
                            taken += about.st_size
                            oldest = 0 if it.name.endswith(_PART) else about.st_atime_ns
                            found.append((oldest, about.st_size, it.path))
        found.sort()
        goal = max(int(self._limit * _SPARE) - size, 0)
        for _, freed, path in found:
            if (path.endswith(_PART) or taken > goal) and _remove_unused(path):
                taken -= freed
        return taken

    @contextmanager
    def _room(self) -> Iterator[int]:
        """Lock the account, without which no file comes, gets its name or goes: so a count is right."""
        path = os.path.join(self.root, "room")
        handle = os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        _waited_for.add(handle)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX)
            yield handle
        finally:
            _unlock(handle)


def _seal(key: str, size: int) -> int:
    """Return the modification time of a complete copy, in nanoseconds: some second before 2009."""
    return (315_532_800 + zlib.crc32(f"{key} {size}".encode()) % 900_000_000) * 1_000_000_000


def _folders(root: str) -> list[str]:
    with os.scandir(root) as them:
        return [it.path for it in them if it.is_dir(follow_symlinks=False)]


def _remove_unused(path: str) -> bool:
    """Remove the file unless somebody holds it."""
    try:
        handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except FileNotFoundError:
        return True
    except OSError as error:
        logger.warning("%s stays in the cache: %s", path, error.strerror, extra={"path": path})
        return False
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if not _is_at(handle, path):
            return False
        os.unlink(path)
        return True
    except BlockingIOError:
        return False
    finally:
        _unlock(handle)


def _is_at(handle: int, path: str | os.PathLike[str]) -> bool:
    try:
        return os.path.samestat(os.fstat(handle), os.lstat(path))
    except FileNotFoundError:
        return False


def _unlock(handle: int) -> None:
    # By name: a child that was forked meanwhile shares the lock, and would keep it.
    fcntl.flock(handle, fcntl.LOCK_UN)
    _waited_for.discard(handle)
    os.close(handle)


_waited_for: set[int] = set()
"""The open files of this process whose locks others wait for."""


def _after_fork() -> None:
    # What the parent's threads were doing nobody does here. If the parent is killed its locks would be
    # held for as long as this child lives.
    while _waited_for:
        os.close(_waited_for.pop())


os.register_at_fork(after_in_child=_after_fork)


def _read_number(handle: int) -> int | None:
    text = os.pread(handle, 32, 0)
    return int(text) if text.isdigit() else None


def _take_off(room: int, size: int) -> None:
    taken = _read_number(room)
    if size and taken is not None:
        _write_number(room, max(taken - size, 0))


def _write_number(handle: int, number: int) -> None:
    text = b"%d" % number
    os.ftruncate(handle, 0)
    if os.pwrite(handle, text, 0) != len(text):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
