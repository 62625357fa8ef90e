"""Bytes in a folder of this machine: written aside, named when complete, deleted by key.

    blobs/3f/3f0c…   the bytes of a key, in one of 256 folders
    blobs/kept/…     bytes that are never deleted (put with `forget_only`)
    blobs/tmp/…      one name per writer at work, locked while it lives

A writer's file in `tmp` carries the name of its key to be. When the bytes are complete it is linked
under that key, and only when a catalog has named the key does the name in `tmp` go. So a look into
`tmp`, as long as there are writers at work or dead, finds all that a crash can leave behind.
"""

import errno
import fcntl
import hashlib
import logging
import os
import re
import secrets
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryFile
from typing import BinaryIO

from mediakeep.blobs import About, Blob, Blobs, IsNamed, Source, Staged
from mediakeep.blobs.sources import chunks
from mediakeep.errors import BlobError, CatalogError, NotAFile
from mediakeep.files import open_regular, sync_folder

__all__ = ["LocalBlobs"]

logger = logging.getLogger("mediakeep.blobs")

_KEPT = "kept/"
_SHARD = re.compile(r"[0-9a-f]{2}|kept")
_NAME = re.compile(r"[0-9a-f]{32}")
_KEY = re.compile(rf"({_SHARD.pattern})/{_NAME.pattern}")


class LocalBlobs(Blobs):
    """Blobs in the folder `root`, which is made when the first bytes come; the one above it must exist.

    Args:
        root: the folder; on one file system, and nobody else's.
        fsync: whether bytes survive a loss of power once `stage` has given their key.
        territory: a folder around `root` that belongs to the same store: no path in it can be
            registered, except that of a blob.
        folder_mode: permissions of the folders made here.
        file_mode: permissions of the files made here.
    """

    __slots__ = ("_file_mode", "_folder_mode", "_fsync", "_root", "_territory")

    def __init__(
        self,
        root: str | os.PathLike[str],
        *,
        fsync: bool = True,
        territory: str | os.PathLike[str] | None = None,
        folder_mode: int = 0o700,
        file_mode: int = 0o600,
    ) -> None:
        self._root = os.path.realpath(root)
        self._territory = self._root if territory is None else os.path.realpath(territory)
        self._fsync = fsync
        self._folder_mode = folder_mode
        self._file_mode = file_mode

    # -- in

    @contextmanager
    def stage(
        self,
        source: Source,
        *,
        is_named: IsNamed,
        kept: bool = False,
        about: About | None = None,
    ) -> Iterator[Staged]:
        with _failing("write into", self._root):
            shard, name, handle = self._open_temp(kept)
        temp = self._temp(shard, name)
        try:
            try:
                size, digest = _copy(source, handle)
                with _failing("write", temp):
                    self._publish(handle, temp, shard, name)
            except BaseException:
                self._settle_one(temp, is_named=lambda _: False)
                raise
            try:
                yield Staged(f"{shard}/{name}", size, digest)
            except BaseException:
                self._settle_one(temp, is_named)
                raise
            with suppress(OSError):
                os.unlink(temp)
        finally:
            os.close(handle)

    def _settle_one(self, temp: str, is_named: IsNamed) -> None:
        """Remove the bytes of a writer that failed or died, unless it got to name them.

        What goes wrong here leaves the name in `tmp`, and so leaves it to the next sweep.
        """
        key = os.path.basename(temp).replace(".", "/", 1)
        try:
            if not is_named(key):
                with suppress(FileNotFoundError):
                    os.unlink(os.path.join(self._root, key))
            with suppress(FileNotFoundError):
                os.unlink(temp)
        except (OSError, CatalogError) as error:
            logger.warning("%s is left to the next sweep: %s", temp, error, extra={"path": temp})

    def _temp(self, shard: str, name: str) -> str:
        return os.path.join(self._root, "tmp", f"{shard}.{name}")

    def _open_temp(self, kept: bool) -> tuple[str, str, int]:
        """Return folder and name of a key to be, and its file in `tmp`, locked by its writer."""
        flags = os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_CLOEXEC
        while True:
            name = secrets.token_hex(16)
            shard = "kept" if kept else name[:2]
            temp = self._temp(shard, name)
            try:
                handle = os.open(temp, flags, self._file_mode)
            except FileNotFoundError:
                self._make_folder(os.path.dirname(temp))
                continue
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if os.path.lexists(temp):
                    return shard, name, handle
            except BlockingIOError:  # somebody came between the two, and takes it for abandoned
                with suppress(FileNotFoundError):
                    os.unlink(temp)
            except BaseException:
                os.close(handle)
                raise
            os.close(handle)

    def _publish(self, handle: int, temp: str, shard: str, name: str) -> None:
        """Give complete bytes their name, and see to it that both outlast a loss of power.

        The name comes first, since nobody knows it yet: a file system with a journal then writes both
        at once, and the folder costs nothing more.
        """
        folder = os.path.join(self._root, shard)
        final = os.path.join(folder, name)
        try:
            _link(temp, final)
        except FileNotFoundError:
            self._make_folder(folder)
            _link(temp, final)
        if self._fsync:
            os.fsync(handle)
            sync_folder(folder)

    def _make_folder(self, folder: str) -> None:
        for made in (self._root, folder):
            try:
                os.mkdir(made, self._folder_mode)  # and not what is above: that is somebody else's
            except FileExistsError:
                continue
            if self._fsync:
                sync_folder(os.path.dirname(made))

    # -- left behind

    def settle(self, is_named: IsNamed) -> int:
        settled = 0
        for _, temp in self._dead_writers():
            self._settle_one(temp, is_named)
            settled += 1
        return settled

    def leftovers(self) -> Iterator[str]:
        seen = [name for name, _ in self._dead_writers()]
        if seen:
            time.sleep(0.01)  # one that had just been made is locked by its writer now
            yield from (f"tmp/{name}" for name, _ in self._dead_writers() if name in seen)

    def being_written(self, key: str) -> bool:
        return os.path.lexists(self._temp(*key.split("/")))

    def _dead_writers(self) -> Iterator[tuple[str, str]]:
        """Yield name and path of each file in `tmp` whose writer is dead, locked meanwhile."""
        folder = os.path.join(self._root, "tmp")
        try:
            names = os.listdir(folder)
        except FileNotFoundError:
            return
        for name in names:
            temp = os.path.join(folder, name)
            try:
                handle = os.open(temp, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
            except FileNotFoundError:
                continue
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if os.path.lexists(temp):  # else its writer has just finished
                    yield name, temp
            except BlockingIOError:
                continue  # its writer is at work
            finally:
                os.close(handle)

    # -- out

    def path(self, key: str, *, sha256: str = "") -> Path:
        return Path(self._root, key)

    def key(self, path: str) -> str | None:
        if not path.startswith(self._territory + os.sep):
            return None
        key = path[len(self._root) + 1 :].replace(os.sep, "/")
        if path.startswith(self._root + os.sep) and _KEY.fullmatch(key):
            return key
        raise NotAFile(
            f"{path!r} is the store's own: register files that lie outside of {self._territory!r}, "
            "and share a ref to give its file to another scope"
        )

    def holds(self, key: str, size: int, *, kept: bool) -> bool:
        try:
            found = os.lstat(os.path.join(self._root, key))
        except OSError:
            return False
        there = stat.S_ISREG(found.st_mode) and found.st_size == size
        # Whoever has it under another name, as an export may, could have written into it.
        return there and found.st_nlink == 1 and kept == key.startswith(_KEPT)

    def size(self, key: str) -> int | None:
        try:
            return os.stat(os.path.join(self._root, key)).st_size
        except FileNotFoundError:
            return None

    def open(self, key: str) -> BinaryIO:
        return open_regular(os.path.join(self._root, key))

    def delete(self, key: str) -> None:
        if not key.startswith(_KEPT):
            with suppress(FileNotFoundError):
                os.unlink(os.path.join(self._root, key))

    def scan(self) -> Iterator[Blob]:
        try:
            shards = sorted(os.listdir(self._root))
        except FileNotFoundError:
            return
        for shard in shards:
            if _SHARD.fullmatch(shard):
                yield from self._scan(shard)

    def _scan(self, shard: str) -> Iterator[Blob]:
        found, kept = [], shard == "kept"
        with os.scandir(os.path.join(self._root, shard)) as them:
            for it in them:
                if not _NAME.fullmatch(it.name):
                    continue
                try:
                    about = it.stat(follow_symlinks=False)
                except FileNotFoundError:
                    continue
                if stat.S_ISREG(about.st_mode):
                    found.append(Blob(f"{shard}/{it.name}", about.st_size, about.st_mtime, kept))
        found.sort()
        return iter(found)

    def now(self) -> float:
        """Return the time by the clock of the file system, which a network may have a server for."""
        try:
            with TemporaryFile(dir=self._root) as file:
                return os.fstat(file.fileno()).st_mtime
        except OSError:
            return time.time()  # nothing can be written here, and so nothing be deleted by its age

    def close(self) -> None:
        """Do nothing: the folder stays."""


def _copy(source: Source, handle: int) -> tuple[int, str]:
    """Write all of `source` to `handle`; return the number of bytes and their sha256."""
    digest = hashlib.sha256()
    size = 0
    for chunk in chunks(source):
        size += len(chunk)
        digest.update(chunk)
        with _failing("write", "the bytes"):
            while chunk:
                chunk = chunk[os.write(handle, chunk) :]
    return size, digest.hexdigest()


@contextmanager
def _failing(verb: str, what: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise BlobError(f"cannot {verb} {what}: {error.strerror or error}") from error


def _link(temp: str, final: str) -> None:
    try:
        os.link(temp, final)
    except OSError as error:
        if error.errno not in (errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.EMLINK):
            raise
        # A file system without hard links. What is lost is that a crash before the row leaves a name in
        # tmp; such bytes are found by `reconcile` only.
        os.rename(temp, final)
