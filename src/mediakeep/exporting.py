"""A real file under a readable name, for a sandbox or a person: `export`."""

import errno
import os
import secrets
import shutil
from contextlib import suppress
from itertools import count
from pathlib import Path
from typing import BinaryIO

from mediakeep.errors import BlobError
from mediakeep.files import path_of
from mediakeep.intake.names import display_name, with_number
from mediakeep.intake.types import extension, extensions
from mediakeep.model import MediaMeta

MOST_NAMES = 10_000
"""How many numbers are tried for a name that is taken."""

_NO_LINKS = (errno.EXDEV, errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.EMLINK)


def export(
    source: BinaryIO,
    name: str,
    folder: str | os.PathLike[str],
    *,
    mode: int,
    group: int | None,
    link: bool,
) -> Path:
    """Give the open file `source` the name `name`, or that with a number, in `folder`; return the path.

    It appears under that name when it is complete, and never replaces anything.

    Raises:
        BlobError: it cannot be read or written there. Nothing is left behind.
    """
    try:
        where = os.path.realpath(folder)
        temp = os.path.join(where, f".mediakeep-{secrets.token_hex(8)}.part")
        try:
            if not (link and _linked(source, temp, where)):
                _copy(source, temp, mode, group)
            return _named(temp, where, name)
        finally:
            with suppress(FileNotFoundError, NotADirectoryError):
                os.unlink(temp)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise BlobError(f"cannot export {name!r} into {os.fspath(folder)!r}: {reason}") from error


def export_name(ref: str, meta: MediaMeta) -> str:
    """Return a safe name for the file of `ref`, with the extension of what its bytes are.

    >>> export_name("", MediaMeta("../../etc/invoice.exe", "application/pdf"))
    'invoice.pdf'
    """
    content_type = meta.content_type
    name = display_name(meta.filename) or f"file-{ref[-12:]}"
    ending = extension(content_type)
    # What text is called tells more than its type does.
    if not ending or content_type.startswith("text/plain"):
        return name
    stem, given = os.path.splitext(name)
    return name if given.lower() in extensions(content_type) else display_name(f"{stem}{ending}")


def _linked(source: BinaryIO, temp: str, where: str) -> bool:
    path = path_of(source)
    if path is None:
        return False
    folder = os.open(where, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        # Only with a folder's handle does Python have the kernel follow the link to the file itself.
        os.link(path, temp, src_dir_fd=folder, follow_symlinks=True)
    except OSError as error:
        if error.errno in _NO_LINKS:
            return False
        raise
    finally:
        os.close(folder)
    return True


def _copy(source: BinaryIO, temp: str, mode: int, group: int | None) -> None:
    flags = os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC
    with os.fdopen(os.open(temp, flags, 0o600), "wb") as target:
        shutil.copyfileobj(source, target, 1 << 20)
        target.flush()
        if group is not None:
            os.fchown(target.fileno(), -1, group)
        os.fchmod(target.fileno(), mode)


def _named(temp: str, where: str, name: str) -> Path:
    """Give `temp` the first name that is free."""
    for number in count(1):
        path = os.path.join(where, name if number == 1 else with_number(name, number))
        try:
            _take_name(temp, path)
        except FileExistsError:
            if number == MOST_NAMES:
                raise
            continue
        return Path(path)
    raise AssertionError


def _take_name(temp: str, path: str) -> None:
    try:
        os.link(temp, path)
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        # No hard links here: a name that is taken first holds the place until the file replaces it.
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o600))
        try:
            os.replace(temp, path)
        except BaseException:
            os.unlink(path)
            raise
