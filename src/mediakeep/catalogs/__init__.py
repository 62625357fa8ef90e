"""The books: refs, scopes, locations and leases. A catalog never touches bytes.

Each verb of :class:`Catalog` is one atomic step on the domain, so that the steps between them, and a
crash between them, are all that :class:`mediakeep.MediaStore` has to order. Some verbs call back while
they hold *the location's own lock*, which keeps everyone else off that one location and nothing else:
`register` lets the caller look whether the file is there (`register_many` those of many), `reap` lets it
delete the bytes. That is how a registration meets a deletion of the same file: one waits for the other,
and then sees what it did.
"""

import heapq
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import datetime

from mediakeep.catalogs.records import (
    DeleteMany,
    Ended,
    EndedFile,
    Fault,
    HasBytes,
    IsThere,
    Place,
    Reaped,
    Registration,
    Tally,
    Use,
    Why,
)
from mediakeep.clocks import Clock
from mediakeep.model import Entry, Limits, Position, Receipt, Stats

__all__ = [
    "Catalog",
    "Clock",
    "DeleteMany",
    "Ended",
    "EndedFile",
    "Fault",
    "HasBytes",
    "IsThere",
    "Place",
    "Reaped",
    "Registration",
    "Tally",
    "Use",
    "Why",
]


class Catalog(ABC):
    """The abstract books; :class:`mediakeep.testing.CatalogContract` says what must hold of them.

    Every verb is atomic, safe from any thread, and raises :class:`~mediakeep.CatalogError` where the
    books cannot be read or written, having changed nothing.
    """

    __slots__ = ()

    @property
    def blocks(self) -> bool:
        """Whether to look up a ref may wait for a disk or a network."""
        return True

    @abstractmethod
    def add(
        self,
        new: Registration,
        *,
        ttl: float | None = None,
        limits: Limits | None = None,
        is_there: IsThere | None = None,
    ) -> str:
        """Write down a new ref of a blob that nobody else knows yet, and return its location.

        With `is_there` the ref may be given to a blob that is live already, if it has the same bytes by
        size and sha256, is owned or borrowed as the new one, is in the same scope where the limits
        count by scope, and is there when it is asked for. `ttl` is in seconds from now.

        Raises:
            QuotaExceeded: what comes in with it would pass one of the `limits`.
        """

    @abstractmethod
    def add_many(
        self,
        new: Sequence[Registration],
        *,
        ttl: float | None = None,
        limits: Limits | None = None,
        is_there: HasBytes | None = None,
    ) -> list[str]:
        """Write down many new refs as `add` does each, all or none; return their locations in order.

        With `is_there` those of the same bytes among them share a location too, that of the first. They
        are kept in the order given, each a microsecond younger than the one before it.

        Raises:
            QuotaExceeded: what comes in with all of them would pass one of the `limits`.
        """

    @abstractmethod
    def register(
        self,
        location: str,
        check: Callable[[], Registration],
        *,
        ttl: float | None = None,
        limits: Limits | None = None,
    ) -> None:
        """Write down a new ref of `location`, which becomes live, also where it was condemned.

        `check` is called under the location's own lock, where no deletion of it can run, and returns
        what to write down; what it raises passes through, and nothing is written. The first live ref
        of a location decides whether it is owned; a later one that borrows it makes it undeletable until
        the last ref has ended.

        Raises:
            QuotaExceeded: what comes in with it would pass one of the `limits`.
        """

    @abstractmethod
    def register_many(
        self,
        locations: Sequence[str],
        check: Callable[[], Sequence[Registration]],
        *,
        ttl: float | None = None,
        limits: Limits | None = None,
    ) -> None:
        """Write down new refs of `locations` as `register` does each, all or none.

        `check` is called once, or again if a connection was lost, under the locks of all the locations,
        which are taken in one order, so that nobody waits in a circle. It looks at all the files, and
        returns what to write down. A location may be named several times. The refs are kept in the
        order given, each a microsecond younger than the one before it.

        Raises:
            QuotaExceeded: what comes in with all of them would pass one of the `limits`.
        """

    @abstractmethod
    def restore(self, refs: Sequence[Registration], *, owned: bool) -> int:
        """Write down refs of one location as another catalog had them; return how many were not here.

        Each keeps its `stored_at` and `expires_at`, and lives also if it has ended here before; what is
        past its time ends with the next `expire`. The location is `owned` or not as it was there; one
        that is live here is joined as by a registration. Whether the bytes are there is for the caller
        to see to. No limits are looked at.

        Raises:
            CatalogError: the location is a blob that is condemned here, whose bytes may be going; or a
                ref is live at another location.
            ValueError: the refs are not of one location.
        """

    @abstractmethod
    def share(
        self,
        ref: str,
        new_ref: str,
        scope: str,
        *,
        ttl: float | None = None,
        limits: Limits | None = None,
    ) -> None:
        """Write down `new_ref` in `scope` for what the live `ref` names.

        Raises:
            UnknownRef: `ref` is not live.
            QuotaExceeded: the scope would pass one of the `limits`.
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
    def release_scope(self, scope: str, *, nested: bool = False, refuse_leased: bool = False) -> Ended:
        """End every ref of `scope`; with `nested` also of the scopes below it (`scope:…`).

        Raises:
            StillLeased: with `refuse_leased`, if a lease would keep a location that this condemns.
        """

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
    def reap(
        self,
        delete: Callable[[str], None],
        locations: Iterable[str] | None = None,
        *,
        delete_many: DeleteMany | None = None,
    ) -> Reaped:
        """Delete the bytes of condemned locations without a live lease, and forget them.

        For each one `delete(location)` is called under that location's own lock. If it raises
        `OSError` the location stays condemned and the failure is written down. With `delete_many` that
        may be called with many blobs instead. A location that somebody else is deleting or registering
        right now is left to them. None for `locations` means all.
        """

    @abstractmethod
    def condemned(self) -> Iterator[tuple[str, int]]:
        """Yield location and size of what a `reap` would delete now."""

    # -- variants

    @abstractmethod
    def variant(self, ref: str, name: str) -> str | None:
        """Return the blob that is the variant `name` of what the live `ref` names, if there is one.

        Raises:
            UnknownRef: `ref` is not live.
        """

    @abstractmethod
    def add_variant(
        self, ref: str, name: str, key: str, size: int, sha256: str, *, limits: Limits | None = None
    ) -> str:
        """Write down a blob as the variant `name` of what the live `ref` names.

        It is condemned with its original, when the last ref of that has ended. If there is one of that
        name already nothing is written. Returns the one that is there now.

        Raises:
            UnknownRef: `ref` is not live.
            QuotaExceeded: the store would pass one of the `limits`.
        """

    # -- leases

    @property
    @abstractmethod
    def leases_lapse(self) -> bool:
        """Whether a lease ends by itself when it is not renewed."""

    @abstractmethod
    def lease(self, ref: str, seconds: float) -> tuple[int, Registration]:
        """Hold what the live `ref` names, and return the lease's number with it.

        It is not reaped while the lease is live.

        Raises:
            UnknownRef: `ref` is not live.
        """

    @abstractmethod
    def renew(self, leases: Iterable[int], seconds: float) -> list[int]:
        """Let the leases last for `seconds` from now; return those that had lapsed and are gone."""

    @abstractmethod
    def end_lease(self, lease: int) -> list[str]:
        """End a lease; return the location if it can be reaped now."""

    @abstractmethod
    def forget_lapsed(self) -> int:
        """Forget leases that have lapsed; return how many."""

    # -- look-ups of many

    @abstractmethod
    def knows(self, location: str) -> bool:
        """Return whether any row names this location."""

    @abstractmethod
    def entry(self, ref: str) -> Entry:
        """Return all that is known of the live `ref`; raises as `get` does."""

    @abstractmethod
    def entries(
        self,
        scope: str | None = None,
        *,
        nested: bool = False,
        after: Position | None = None,
        newest: bool = False,
    ) -> Iterator[Entry]:
        """Yield the live refs, all of them or those of a scope, by scope, then by age, then by ref.

        With `newest` the other way round: the last scope first, and of each the newest ref. With `after`
        those that come behind that place in this order, whether its ref is live or not. To get there
        costs no more than a page, however many come before it.
        """

    def latest(self) -> list[tuple[str, datetime]]:
        """Return the scopes that have a live ref, each with the time of its newest."""
        newest = ((name, next(self.entries(name, newest=True), None)) for name in self.scopes())
        return [(name, it.stored_at) for name, it in newest if it is not None]

    def expiring(self, limit: int) -> list[Entry]:
        """Return up to `limit` live refs that have a time to live, those that end next first."""
        mortal = (it for it in self.entries() if it.expires_at is not None)
        return heapq.nsmallest(limit, mortal, key=lambda it: (it.expires_at, it.ref))

    def leased(self, limit: int) -> list[Entry]:
        """Return up to `limit` live refs of files that a live lease holds, one of each file."""
        found: dict[str, Entry] = {}
        for it in self.entries():
            if it.leases and len(found) < limit:
                found.setdefault(it.location, it)
        return list(found.values())

    @abstractmethod
    def refs_at(self, location: str) -> Iterator[Registration]:
        """Yield the live refs of a location, in the order of their names.

        Those that start or end meanwhile may be among them or not.
        """

    @abstractmethod
    def scopes(self) -> list[str]:
        """Return the names of the scopes that have a live ref, sorted."""

    @abstractmethod
    def stats(self, *, by_scope: bool = False) -> Stats:
        """Return the books in numbers."""

    def tally(self, majors: Sequence[str]) -> list[Tally]:
        """Return how many live refs of which sort each scope has, at a cost in proportion to them all.

        Content types are told apart by what stands before their slash, if it is one of `majors`.
        """
        found: dict[tuple[str, str], list[int]] = {}
        for it in self.entries():
            name, slash, _ = it.meta.content_type.partition("/")
            major = name.lower() if slash and name.lower() in majors else ""
            counted = found.setdefault((it.scope, major), [0, 0])
            counted[0] += 1
            counted[1] += it.size
        return [Tally(*sort, *counted) for sort, counted in found.items()]

    @abstractmethod
    def use(self) -> Use:
        """Return how much the books name, at a cost that does not grow with it."""

    @abstractmethod
    def history(self, ref: str | None = None, scope: str | None = None) -> Iterator[Receipt]:
        """Yield the journal's lines, oldest first: all, or those of a ref and its file, or of a scope.

        A scope's are those of the scopes below it too.
        """

    # -- for reconciling

    @abstractmethod
    def places(self) -> Iterator[Place]:
        """Yield every location, in the order of its bytes in the file system's encoding."""

    @abstractmethod
    def is_live(self, location: str) -> bool:
        """Return whether a live ref names this location, or that of which it is a variant."""

    @abstractmethod
    def adopt(self, location: str, size: int) -> None:
        """Write down bytes that nothing names as condemned, so that they are reaped as any others.

        Does nothing if a row names the location.
        """

    @abstractmethod
    def lose(self, location: str) -> int:
        """End the refs of a live location whose bytes are gone, and forget it; return how many ended.

        A variant is only forgotten, since it can be made again.
        """

    @abstractmethod
    def faults(self, *, deep: bool = False) -> Iterator[Fault]:
        """Yield what is inconsistent or out of date in the catalog itself."""

    @abstractmethod
    def mend(self) -> None:
        """Put right what `faults` finds and what can be put right without deleting anything."""

    @abstractmethod
    def close(self) -> None:
        """Give back what the catalog holds; a second call does nothing."""
