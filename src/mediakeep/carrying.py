"""Carrying the bytes of one file from a store into the blobs of another, and comparing them."""

import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import BinaryIO

from mediakeep.blobs import Staged
from mediakeep.catalogs import Registration
from mediakeep.errors import BlobError, MediaElsewhere, MediaMissing, NotAFile, PathNotAllowed
from mediakeep.store import MediaStore

_CHUNK = 1 << 20


class NotCopiedError(BlobError):
    """A file of the source cannot be copied as it is, which is not the fault of the target."""


OF_THE_FILE = (NotCopiedError, MediaMissing, NotAFile, PathNotAllowed, MediaElsewhere)
"""What is wrong with one file of the source, and says nothing of the others."""


def is_blob(location: str) -> bool:
    """Return whether a location is the key of a blob, and not a path."""
    return not os.path.isabs(location)


class Carrier:
    """Carries bytes from `source` to `target`, from any thread."""

    def __init__(self, source: MediaStore, target: MediaStore) -> None:
        self._source = source
        self._target = target
        self._stopped = False

    def stop(self) -> None:
        """Break off what is being carried; what is staged by then is removed."""
        self._stopped = True

    @contextmanager
    def staged(self, found: Registration, *, owned: bool) -> Iterator[Staged]:
        """Put the bytes of `found` into the target for a block, which names them in its catalog.

        They are what the source's books say, and when they are read again in the target they are the
        same.

        Raises:
            UnknownRef: it has ended in the source.
            NotCopiedError: its bytes are not as the books say, cannot be read, or change meanwhile.
            MediaMissing, NotAFile, PathNotAllowed: it cannot be opened.
            BlobError: the target cannot take them.
        """
        with (
            self._opened(found) as file,
            self._target._blobs.stage(
                self._read(file, found),
                is_named=self._target._catalog.knows,
                kept=not owned and self._is_kept(found),
                about=lambda: found.meta,
            ) as staged,
        ):
            _check_read(found, staged)
            self._check_written(staged)
            yield staged

    @contextmanager
    def _opened(self, found: Registration) -> Iterator[BinaryIO]:
        try:
            file = self._source._open(found, found.path)
        except OF_THE_FILE:
            raise
        except BlobError as error:
            raise NotCopiedError(str(error)) from error
        with file:
            yield file

    def _read(self, file: BinaryIO, found: Registration) -> Iterator[bytes]:
        """Yield the bytes of an open file, unless they change meanwhile."""
        before = os.fstat(file.fileno()) if found.path is not None else None
        try:
            while chunk := file.read(_CHUNK):
                self._check_going()
                yield chunk
        except OSError as error:
            raise NotCopiedError(f"cannot read {found.location!r}: {error.strerror or error}") from error
        if before is not None:
            after = os.fstat(file.fileno())
            if (before.st_size, before.st_mtime_ns) != (after.st_size, after.st_mtime_ns):
                raise NotCopiedError(f"{found.location!r} was changed while it was read: copy again")

    def _check_written(self, staged: Staged) -> None:
        digest = hashlib.sha256()
        try:
            with self._target._blobs.open(staged.key) as file:
                while chunk := file.read(_CHUNK):
                    self._check_going()
                    digest.update(chunk)
        except OSError as error:
            raise BlobError(
                f"cannot read what was written as {staged.key}: {error.strerror or error}"
            ) from error
        if digest.hexdigest() != staged.sha256:
            raise BlobError(
                f"what was written as {staged.key} has the sha256 {digest.hexdigest()} instead of "
                f"{staged.sha256}: look after the disk or the service of the target"
            )

    def _is_kept(self, found: Registration) -> bool:
        """Return whether a blob of the source is never deleted."""
        if not is_blob(found.location):
            return False
        for kept in (True, False):
            if self._source._blobs.holds(found.location, found.size, kept=kept):
                return kept
        raise NotCopiedError(f"{found.location} is not there in the source, or has another size")

    def _check_going(self) -> None:
        if self._stopped:
            raise NotCopiedError("the copy was broken off")


def _check_read(found: Registration, staged: Staged) -> None:
    remedy = "restore it from a backup, or release its refs"
    if is_blob(found.location) and found.size != staged.size:
        raise NotCopiedError(
            f"{found.location} has {staged.size} bytes in the source instead of {found.size}: {remedy}"
        )
    if found.sha256 not in ("", staged.sha256):
        raise NotCopiedError(
            f"{found.location} has the sha256 {staged.sha256} in the source instead of "
            f"{found.sha256}: {remedy}"
        )
