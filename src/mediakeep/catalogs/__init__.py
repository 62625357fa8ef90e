"""The books: refs, scopes, locations and leases. A catalog never touches bytes.

Each verb of :class:`Catalog` is one atomic step on the domain, so that the steps between them, and a
crash between them, are all that :class:`mediakeep.MediaStore` has to order. Two verbs call back while
they hold *the location's own lock*, which keeps everyone else off that one location and nothing else:
`add` lets the caller look whether the file is there, `reap` lets it delete the bytes. That is how a
registration meets a deletion of the same file: one waits for the other, and then sees what it did.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import NamedTuple

from mediakeep.errors import RefExpired, RefReleased, UnknownRef
from mediakeep.model import Entry, FailedDeletion, MediaMeta, Stats

__all__ = ["Catalog", "Clock", "Ended", "Reaped", "Registration", "Why"]

Clock = Callable[[], float]
"""Gives the time in seconds since the epoch."""


class Why(StrEnum):
    """Why a ref ended."""

    RELEASED = "released"
    EXPIRED = "expired"

    def error(self, ref: str, scope: str) -> UnknownRef:
        """Return the error that a look-up of the dead `ref` raises."""
        return (RefExpired if self is Why.EXPIRED else RefReleased)(ref, scope=scope)


class Registration(NamedTuple):
    """One ref as the catalog keeps it.

    `location` is a canonical local path (absolute) or the key of a blob (never absolute). `path` is the
    absolute path that the caller gave for a local file, and None for a blob, whose folder may move.
    """

    ref: str
    scope: str
    location: str
    path: Path | None
    meta: MediaMeta
    size: int
    sha256: str = ""


@dataclass(slots=True)
class Ended:
    """What an end of refs did: how many ended, and the locations that it condemned."""

    refs: int = 0
    condemned: list[str] = field(default_factory=list)


@dataclass(slots=True)
class Reaped:
    """What a reap did: files deleted, their bytes, and what failed."""

    deleted: int = 0
    freed: int = 0
    failed: list[FailedDeletion] = field(default_factory=list)


class Catalog(ABC):
    """The abstract books; :class:`mediakeep.testing.CatalogContract` says what must hold of them.

    Every verb is atomic, safe from any thread, and raises :class:`~mediakeep.CatalogError` where the
    books cannot be read or written, having changed nothing.
    """

    __slots__ = ()

    @abstractmethod
    def add(
        self,
        new: Registration,
        *,
        ttl: float | None = None,
        verify: Callable[[], object] | None = None,
    ) -> None:
        """Write down a new ref; its location becomes live, also where it was condemned.

        The first live ref of a location decides whether it is owned; a later one that borrows it makes
        it undeletable until the last ref has ended. `verify` is called under the location's own lock,
        where no deletion of it can run; what it raises passes through, and nothing is written.
        `ttl` is in seconds from now.
        """

    @abstractmethod
    def share(self, ref: str, new_ref: str, scope: str, *, ttl: float | None = None) -> None:
        """Write down `new_ref` in `scope` for what the live `ref` names.

        Raises:
            UnknownRef: `ref` is not live.
        """

    @abstractmethod
    def get(self, ref: str) -> Registration:
        """Return the live `ref`.

        Raises:
            UnknownRef: it is not live; as `RefReleased` or `RefExpired` where that is remembered.
        """

    @abstractmethod
    def release(self, ref: str) -> Ended:
        """End `ref` if it is live."""

    @abstractmethod
    def release_scope(self, scope: str, *, nested: bool = False) -> Ended:
        """End every ref of `scope`; with `nested` also of the scopes below it (`scope:…`)."""

    @abstractmethod
    def expire(self, max_age: float | None, *, limit: int = 1000) -> Ended:
        """End up to `limit` refs that are past their time.

        That is, refs past their own ttl, and those without one that were stored more than `max_age`
        seconds ago. None for `max_age` leaves the latter alone.
        """

    @abstractmethod
    def due(self, max_age: float | None) -> int:
        """Return how many refs `expire` would end, all in all."""

    @abstractmethod
    def reap(self, delete: Callable[[str], None], locations: Iterable[str] | None = None) -> Reaped:
        """Delete the bytes of condemned locations without a live lease, and forget them.

        For each one `delete(location)` is called under that location's own lock. If it raises
        `OSError` the location stays condemned and the failure is written down. A location that somebody
        else is deleting or registering right now is left to them. None for `locations` means all.
        """

    @abstractmethod
    def condemned(self) -> Iterator[tuple[str, int]]:
        """Yield location and size of what a `reap` would delete now."""

    @abstractmethod
    def knows(self, location: str) -> bool:
        """Return whether any row names this location."""

    @abstractmethod
    def entry(self, ref: str) -> Entry:
        """Return all that is known of the live `ref`; raises as `get` does."""

    @abstractmethod
    def entries(self, scope: str | None = None, *, nested: bool = False) -> Iterator[Entry]:
        """Yield the live refs, all of them or those of a scope, by scope and then by age."""

    @abstractmethod
    def scopes(self) -> list[str]:
        """Return the names of the scopes that have a live ref, sorted."""

    @abstractmethod
    def stats(self, *, by_scope: bool = False) -> Stats:
        """Return the books in numbers."""

    @abstractmethod
    def close(self) -> None:
        """Give back what the catalog holds; a second call does nothing."""


def below(scope: str) -> str:
    """Return what the names of all scopes below `scope` begin with."""
    return f"{scope}:"
