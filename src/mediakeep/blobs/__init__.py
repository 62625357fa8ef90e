"""The bytes: places that keep what they are given under a fresh, unguessable key. They know no refs."""

import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from datetime import timedelta
from pathlib import Path
from typing import BinaryIO, NamedTuple

from mediakeep.blobs.sources import Source
from mediakeep.errors import BlobError
from mediakeep.model import MediaMeta

__all__ = ["About", "Blob", "Blobs", "IsNamed", "Source", "Staged", "Unfinished", "size_of"]


class Staged(NamedTuple):
    """Bytes that are complete and durable under their key, and wait for a row that names it."""

    key: str
    size: int
    sha256: str


class Blob(NamedTuple):
    """Bytes that are there, as a scan finds them."""

    key: str
    size: int
    modified_at: float
    """In seconds since the epoch, by the clock of the place."""
    kept: bool


class Unfinished(NamedTuple):
    """A write that was cut off, whose bytes are there and have no key yet; found by a reconcile only."""

    key: str
    modified_at: float
    """In seconds since the epoch, by the clock of the place."""
    abort: Callable[[], None]
    """Removes what it has left; no error if that is gone, `OSError` if it cannot be done."""


IsNamed = Callable[[str], bool]
"""Says whether a catalog names a key."""

About = Callable[[], MediaMeta]
"""Says what the bytes are, once the first of them have been read."""


class Blobs(ABC):
    """An abstract place for bytes; :class:`mediakeep.testing.BlobsContract` says what must hold.

    A key is opaque, relative and never used twice.
    """

    __slots__ = ()

    @abstractmethod
    def stage(
        self,
        source: Source,
        *,
        is_named: IsNamed,
        kept: bool = False,
        about: About | None = None,
    ) -> AbstractContextManager[Staged]:
        """Take custody of the bytes of `source`; a context manager that gives their key.

        On entry the bytes are complete and durable. The caller then names the key in a catalog and
        leaves the block. If it raises, they are removed unless `is_named` says that it got so far; if
        that cannot be told, or the process dies in between, `settle` finds them. Bytes that are `kept`
        are never deleted once they have been named, whatever becomes of their owner. A place that serves
        bytes by itself serves them as what `about` says they are.

        Raises:
            BlobError: the place fails. What reading `source` raises passes through as it is. Either way
                nothing is left behind.
        """

    @abstractmethod
    def settle(self, is_named: IsNamed) -> int:
        """Remove what writers that died have left, unless they got to name it.

        Returns how many writers that were.
        """

    @abstractmethod
    def path(self, key: str, *, sha256: str = "") -> Path:
        """Return the path of the bytes on this machine, or of a copy of them, made if there is none.

        Args:
            key: of the bytes. Where they are on this machine nobody looks whether they are there.
            sha256: what a copy must hash to, where the catalog knows.

        Raises:
            MediaMissing: no copy can be made, since they are gone.
            BlobError: no copy can be made.
        """

    def local_path(self, key: str) -> Path | None:
        """Return the path of the bytes where they lie on this machine, None where they do not."""
        return self.path(key)

    def hold(self, key: str, *, sha256: str = "") -> AbstractContextManager[Path]:
        """Return a context manager that gives `path`, and keeps a copy there meanwhile."""
        return nullcontext(self.path(key, sha256=sha256))

    def url(self, key: str, expires_in: timedelta | float) -> str:
        """Return a URL that lets whoever has it read the bytes, until `expires_in` from now.

        Raises:
            BlobError: this place serves nothing by itself.
        """
        raise BlobError(
            "bytes in a folder have no URL of their own: keep them in object storage, or serve the store"
        )

    @abstractmethod
    def key(self, path: str) -> str | None:
        """Return the key whose bytes lie at the canonical local `path`, or None if it is elsewhere.

        Raises:
            NotAFile: the path belongs to this place, but not to the bytes of a key.
        """

    @abstractmethod
    def holds(self, key: str, size: int, *, kept: bool) -> bool:
        """Return whether the bytes of `key` are there, have this size, and are `kept` or not."""

    @abstractmethod
    def size(self, key: str) -> int | None:
        """Return how many bytes `key` has, None if they are gone; `OSError` if nobody can tell."""

    @abstractmethod
    def open(self, key: str) -> BinaryIO:
        """Open the bytes for reading; raises `OSError`."""

    @abstractmethod
    def delete(self, key: str) -> None:
        """Delete the bytes; no error if they are gone, `OSError` if they cannot be deleted."""

    @property
    def deletes_many(self) -> bool:
        """Whether `delete_many` takes about as long as one `delete`."""
        return False

    def delete_many(self, keys: Sequence[str]) -> dict[str, OSError]:
        """Delete the bytes of all `keys`; return what could not be deleted, and why."""
        failed: dict[str, OSError] = {}
        for key in keys:
            try:
                self.delete(key)
            except OSError as error:
                failed[key] = error
        return failed

    @abstractmethod
    def scan(self) -> Iterator[Blob]:
        """Yield all blobs, in the order of their keys; what comes and goes meanwhile may be missed."""

    @abstractmethod
    def being_written(self, key: str) -> bool:
        """Return whether the bytes of `key` still wait for their writer to name them in a catalog."""

    @abstractmethod
    def leftovers(self) -> Iterator[str]:
        """Yield a name for each of what `settle` would look at, and touch nothing."""

    def unfinished(self) -> Iterator[Unfinished]:
        """Yield the writes that were cut off and that `settle` cannot see; raises `OSError`."""
        return iter(())

    def now(self) -> float:
        """Return the time by which `modified_at` goes, in seconds since the epoch.

        A place whose clock is not this machine's says what its own tells.
        """
        return time.time()

    @abstractmethod
    def close(self) -> None:
        """Give back what the place holds; a second call does nothing."""


def size_of(blobs: Blobs, key: str) -> int | None:
    """Return how many bytes `key` has, None if they are gone.

    Raises:
        BlobError: nobody can tell.
    """
    try:
        return blobs.size(key)
    except BlobError:
        raise
    except OSError as error:
        raise BlobError(f"cannot look at {key}: {error.strerror or error}") from error
