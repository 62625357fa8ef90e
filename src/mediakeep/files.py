"""Regular files where they lie: one canonical name each, and a removal that follows nothing."""

import errno
import io
import logging
import os
import stat
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, NamedTuple, Self

from mediakeep.errors import BlobError, MediaMissing, NotAFile

logger = logging.getLogger("mediakeep.files")

# Linux: a handle on the name itself, which neither opens the file nor follows a symlink, and from which
# the kernel tells the canonical path. One look, so what is checked and what is named are the same.
_HANDLES = hasattr(os, "O_PATH") and os.path.isdir("/proc/self/fd")
_NAME = getattr(os, "O_PATH", 0) | os.O_CLOEXEC | getattr(os, "O_NOFOLLOW", 0)
_FOLDER = getattr(os, "O_PATH", 0) | os.O_CLOEXEC | os.O_DIRECTORY


class Look(NamedTuple):
    """What stands at a path: its canonical name and its size in bytes."""

    location: str
    size: int


def look(path: str) -> Look:
    """Return the canonical name and the size of the regular file at `path`.

    Canonical means absolute, with no `..` and no symlink among its folders. The last component is never
    followed: a symlink to a regular file is a file of its own, with the size of its target.

    Raises:
        MediaMissing: nothing is there.
        NotAFile: what is there is not a regular file, or the path cannot be one.
        BlobError: the operating system refuses to look.
    """
    try:
        location, found = _by_handle(path) if _HANDLES else _by_name(path)
        if stat.S_ISLNK(found.st_mode):
            found = os.stat(path)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise MediaMissing(
            error.errno, f"{error.strerror} (register a file after it is written)", path
        ) from error
    except OSError as error:
        raise BlobError(f"cannot look at {path!r}: {error.strerror}") from error
    except ValueError as error:  # an embedded NUL
        raise NotAFile(f"{path!r} cannot be the path of a file: {error}") from error
    if not stat.S_ISREG(found.st_mode):
        raise NotAFile(f"{path!r} is {_kind(found.st_mode)}: only regular files can be registered")
    return Look(location, found.st_size)


def _by_handle(path: str) -> tuple[str, os.stat_result]:
    handle = os.open(path, _NAME)
    try:
        found = os.fstat(handle)
        location = os.readlink(f"/proc/self/fd/{handle}")
    finally:
        os.close(handle)
    if stat.S_ISDIR(found.st_mode):
        return location, found
    if not location.endswith("/" + os.path.basename(path)):  # "… (deleted)" since, or unreachable
        return _by_name(path)
    return location, found


def _by_name(path: str) -> tuple[str, os.stat_result]:
    folder, name = os.path.split(path)
    found = os.lstat(path)
    return os.path.join(os.path.realpath(folder), name), found


def is_plain(path: str) -> bool:
    """Return whether `path` could be canonical as it is written: absolute, without `.` or `..`."""
    return path.startswith("/") and "//" not in path and "/." not in path


def _kind(mode: int) -> str:
    for test, kind in (
        (stat.S_ISDIR, "a directory"),
        (stat.S_ISFIFO, "a FIFO"),
        (stat.S_ISSOCK, "a socket"),
        (stat.S_ISBLK, "a block device"),
        (stat.S_ISCHR, "a character device"),
    ):
        if test(mode):
            return kind
    return "not a regular file"


class Remover:
    """Deletes files by canonical path; a context manager, since it keeps the last folder open.

    A canonical path has no symlink among its folders. One that has a symlink now leads somewhere that
    nobody registered, so it is refused. Something at the path that is no longer a file or a symlink is
    left alone: the file that was registered is gone.
    """

    __slots__ = ("_folder", "_handle")

    def __init__(self) -> None:
        self._folder = ""
        self._handle = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._leave()

    def remove(self, location: str) -> None:
        """Delete the file or symlink at `location`; no error if it is gone.

        Raises:
            OSError: it is there and cannot be deleted.
        """
        folder, _, name = location.rpartition("/") if os.sep == "/" else _split(location)
        try:
            if folder != self._folder:
                self._enter(folder)
            if self._handle >= 0:
                mode = os.lstat(name, dir_fd=self._handle).st_mode
            else:
                mode = os.lstat(location).st_mode
            if not (stat.S_ISREG(mode) or stat.S_ISLNK(mode)):
                logger.warning(
                    "%s is %s now: left alone",
                    location,
                    _kind(mode),
                    extra={"location": location},
                )
                return
            if self._handle >= 0:
                os.unlink(name, dir_fd=self._handle)
            else:
                os.unlink(location)
        except (FileNotFoundError, NotADirectoryError):
            return

    def _enter(self, folder: str) -> None:
        self._leave()
        folder = folder or "/"
        if not _HANDLES:
            canonical = os.path.realpath(folder)
        else:
            handle = os.open(folder, _FOLDER)
            self._handle = handle
            canonical = os.readlink(f"/proc/self/fd/{handle}")
        if canonical != folder and os.path.exists(folder):
            self._leave()
            raise OSError(
                errno.ELOOP,
                f"its folder is reached through a symbolic link now (it leads to {canonical}), "
                "which is not followed: delete the file by hand, or put the folder back",
                folder,
            )
        self._folder = folder

    def _leave(self) -> None:
        if self._handle >= 0:
            os.close(self._handle)
        self._handle, self._folder = -1, ""


def _split(location: str) -> tuple[str, str, str]:
    folder, name = os.path.split(location)
    return folder, os.sep, name


def sync_folder(folder: str) -> None:
    """Make the names in `folder` survive a loss of power."""
    handle = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def path_of(file: BinaryIO) -> Path | None:
    """Return a path that leads to the open `file` and to nothing else, where the system has such."""
    try:
        return Path(f"/proc/self/fd/{file.fileno()}") if _HANDLES else None
    except io.UnsupportedOperation:  # it is read from elsewhere
        return None


def open_regular(path: str | os.PathLike[str]) -> BinaryIO:
    """Open the regular file at `path` for reading, without ever waiting for a FIFO's writer.

    Raises:
        NotAFile: something else has taken its place.
        OSError: it cannot be opened.
    """
    handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    try:
        mode = os.fstat(handle).st_mode
        if not stat.S_ISREG(mode):
            raise NotAFile(f"{os.fspath(path)!r} is {_kind(mode)} now, not the file it was")
        return os.fdopen(handle, "rb")
    except BaseException:
        os.close(handle)
        raise
