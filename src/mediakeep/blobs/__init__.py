"""The bytes: places that keep what they are given under a fresh, unguessable key. They know no refs."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import BinaryIO, NamedTuple

from mediakeep.blobs.sources import Source

__all__ = ["Blob", "Blobs", "IsNamed", "Source", "Staged"]


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


IsNamed = Callable[[str], bool]
"""Says whether a catalog names a key."""


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
    ) -> AbstractContextManager[Staged]:
        """Take custody of the bytes of `source`; a context manager that gives their key.

        On entry the bytes are complete and durable. The caller then names the key in a catalog and
        leaves the block. If it raises, they are removed unless `is_named` says that it got so far; if
        that cannot be told, or the process dies in between, `settle` finds them. Bytes that are `kept`
        are never deleted once they have been named, whatever becomes of their owner.

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
    def path(self, key: str) -> Path:
        """Return the local path of the bytes."""

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
    def open(self, key: str) -> BinaryIO:
        """Open the bytes for reading; raises `OSError`."""

    @abstractmethod
    def delete(self, key: str) -> None:
        """Delete the bytes; no error if they are gone, `OSError` if they cannot be deleted."""

    @abstractmethod
    def scan(self) -> Iterator[Blob]:
        """Yield all blobs, in the order of their keys; what comes and goes meanwhile may be missed."""

    @abstractmethod
    def being_written(self, key: str) -> bool:
        """Return whether the bytes of `key` still wait for their writer to name them in a catalog."""

    @abstractmethod
    def leftovers(self) -> Iterator[str]:
        """Yield a name for each of what `settle` would look at, and touch nothing."""

    @abstractmethod
    def close(self) -> None:
        """Give back what the place holds; a second call does nothing."""
