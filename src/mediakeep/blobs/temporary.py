"""A folder of bytes that goes with its process: where an in-memory store puts what it is given."""

import fcntl
import os
import shutil
import stat
import tempfile
import threading
import weakref
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from mediakeep.blobs import About, IsNamed, Source, Staged
from mediakeep.blobs.local import LocalBlobs
from mediakeep.errors import BlobError

__all__ = ["TemporaryBlobs"]

TEMP_DIR_NAME = "picoclaw_media"
"""The name of the folder that bots of this machine share for downloads."""

_PREFIX = "store-"


def temp_dir() -> Path:
    """Return the folder for downloads: `TEMP_DIR_NAME` under the system's temporary folder.

    It need not exist yet.
    """
    return Path(tempfile.gettempdir(), TEMP_DIR_NAME)


class TemporaryBlobs(LocalBlobs):
    """Blobs in a fresh folder under `root`, which is locked while its process lives.

    The folder is made when the first bytes come, and deleted by `close` or at the end of the process,
    except for bytes that are `kept`. Whoever makes a folder also removes those whose process is dead.
    """

    __slots__ = ("__weakref__", "_claim", "_remove", "_shared", "_within")

    def __init__(self, root: str | os.PathLike[str] | None = None) -> None:
        self._within = os.path.realpath(temp_dir() if root is None else root)
        self._shared = root is None
        self._claim = threading.Lock()
        self._remove: weakref.finalize[[str, int, int], TemporaryBlobs] | None = None
        # Until a folder is claimed, one that cannot hold anything stands for it.
        super().__init__(os.path.join(self._within, _PREFIX), fsync=False)

    @contextmanager
    def stage(
        self,
        source: Source,
        *,
        is_named: IsNamed,
        kept: bool = False,
        about: About | None = None,
    ) -> Iterator[Staged]:
        with self._claim:
            if self._remove is None:
                folder, lock = _claim_folder(self._within, shared=self._shared)
                self._root = self._territory = folder
                self._remove = weakref.finalize(self, _remove_folder, folder, lock, os.getpid())
        with super().stage(source, is_named=is_named, kept=kept, about=about) as staged:
            yield staged

    def close(self) -> None:
        """Delete the folder, and with it all bytes that are not `kept`."""
        with self._claim:
            if self._remove is not None:
                self._remove()
                self._remove = None


def _claim_folder(within: str, *, shared: bool) -> tuple[str, int]:
    """Make a folder of our own, locked; remove those whose owner is dead."""
    try:
        os.makedirs(within, 0o700, exist_ok=True)
        if shared and not _is_safe(os.lstat(within)):
            # Under a world-writable /tmp anyone can be first to take the name.
            raise BlobError(
                f"{within!r} belongs to another user, or others may replace what is in it: "
                "give the store a folder of its own (root=…)"
            )
        with _alone(within):
            for name in os.listdir(within):
                if name.startswith(_PREFIX):
                    _remove_if_dead(os.path.join(within, name))
            folder = tempfile.mkdtemp(prefix=_PREFIX, dir=within)
            lock = os.open(os.path.join(folder, ".lock"), os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
            fcntl.flock(lock, fcntl.LOCK_EX)
            return folder, lock
    except OSError as error:
        raise BlobError(f"cannot make a folder in {within!r}: {error.strerror}") from error


def _is_safe(folder: os.stat_result) -> bool:
    replaceable = folder.st_mode & 0o022 and not folder.st_mode & stat.S_ISVTX
    return folder.st_uid == os.getuid() and not replaceable


@contextmanager
def _alone(within: str) -> Iterator[None]:
    """Keep others from making or removing folders, so that none is seen before it is locked."""
    lock = os.open(os.path.join(within, ".lock"), os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
    finally:
        os.close(lock)


def _remove_if_dead(folder: str) -> None:
    with suppress(OSError):
        if stat.S_ISDIR(os.lstat(folder).st_mode) and os.lstat(folder).st_uid == os.getuid():
            flags = os.O_CREAT | os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW
            lock = os.open(os.path.join(folder, ".lock"), flags, 0o600)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                _empty(folder)
            finally:
                os.close(lock)


def _remove_folder(folder: str, lock: int, owner: int) -> None:
    if os.getpid() == owner:  # a forked child leaves its parent's folder alone
        _empty(folder)
    os.close(lock)


def _empty(folder: str) -> None:
    """Remove the folder; if there are kept bytes in it, all but these."""
    for name in os.listdir(folder):
        if name not in ("kept", ".lock"):
            shutil.rmtree(os.path.join(folder, name), ignore_errors=True)
    with suppress(OSError):
        os.rmdir(os.path.join(folder, "kept"))
    if not os.path.lexists(os.path.join(folder, "kept")):
        shutil.rmtree(folder, ignore_errors=True)
