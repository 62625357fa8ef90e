"""The books in memory: the readable reference, and the catalog of one process that needs no more."""

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime

from mediakeep.catalogs import Catalog, Clock, Ended, Reaped, Registration, Why, below
from mediakeep.catalogs.agenda import Agenda
from mediakeep.catalogs.locks import KeyedLock
from mediakeep.errors import UnknownRef
from mediakeep.model import CleanupPolicy, Entry, FailedDeletion, ScopeStats, Stats

REMEMBERED = 4096
"""How many ended refs the catalog can still say the reason for."""

NAMED_FAILURES = 1000
"""How many failed deletions `stats` names."""


def steady_clock() -> Clock:
    """Return a clock that starts at the time of day and then only counts what really passes.

    Setting the machine's clock does not move it. Where the system has such a clock, the time that the
    machine sleeps counts too.
    """
    boottime = getattr(time, "CLOCK_BOOTTIME", None)

    def elapsed() -> float:
        return time.monotonic() if boottime is None else time.clock_gettime(boottime)

    base = time.time() - elapsed()
    return lambda: base + elapsed()


class _Location:
    """One place of bytes: its live refs, and whether it may be deleted when they have ended."""

    __slots__ = ("attempts", "error", "owned", "refs", "size")

    def __init__(self) -> None:
        self.refs: set[str] = set()
        self.owned = True
        self.size = 0
        self.attempts = 0
        self.error = ""


class MemoryCatalog(Catalog):
    """Refs, scopes and locations in dicts, under one lock that no disk access is ever made under.

    Look-ups of a live ref take no lock at all. What has ended is remembered for the last 4,096 refs.
    """

    __slots__ = (
        "_by_age",
        "_by_ttl",
        "_clock",
        "_condemned",
        "_ended",
        "_locations",
        "_lock",
        "_on_location",
        "_refs",
        "_scopes",
        "_timeout",
        "_times",
    )

    def __init__(self, clock: Clock | None = None, *, timeout: float = 60.0) -> None:
        self._clock = clock or steady_clock()
        self._timeout = timeout
        self._lock = threading.Lock()
        self._on_location = KeyedLock()
        self._refs: dict[str, Registration] = {}
        self._times: dict[str, tuple[float, float | None]] = {}  # ref: stored at, expires at
        self._scopes: dict[str, dict[str, None]] = {}
        self._locations: dict[str, _Location] = {}  # with a live ref
        self._condemned: dict[str, _Location] = {}
        self._ended: OrderedDict[str, tuple[Why, str]] = OrderedDict()
        self._by_age = Agenda(self._refs.__contains__)
        self._by_ttl = Agenda(self._refs.__contains__)

    # -- beginnings

    def add(
        self,
        new: Registration,
        *,
        ttl: float | None = None,
        verify: Callable[[], object] | None = None,
    ) -> None:
        self._on_location.hold(new.location, self._timeout)
        try:
            if verify is not None:
                verify()
            with self._lock:
                self._write(new, ttl)
        finally:
            self._on_location.drop(new.location)

    def share(self, ref: str, new_ref: str, scope: str, *, ttl: float | None = None) -> None:
        # No lock on the location: what has a live ref is not being deleted.
        with self._lock:
            self._write(self.get(ref)._replace(ref=new_ref, scope=scope), ttl)

    def _write(self, new: Registration, ttl: float | None) -> None:
        owned = new.meta.cleanup_policy is CleanupPolicy.DELETE_ON_CLEANUP
        location = self._locations.get(new.location)
        if location is None:
            self._condemned.pop(new.location, None)
            location = self._locations[new.location] = _Location()
            location.owned = owned
        elif not owned:
            location.owned = False
        location.size = new.size
        location.refs.add(new.ref)
        now = self._clock()
        self._refs[new.ref] = new
        self._scopes.setdefault(new.scope, {})[new.ref] = None
        if ttl is None:
            self._times[new.ref] = (now, None)
            self._by_age.add(new.ref, now)
        else:
            self._times[new.ref] = (now, now + ttl)
            self._by_ttl.add(new.ref, now + ttl)

    # -- look-ups

    def get(self, ref: str) -> Registration:
        try:
            return self._refs[ref]
        except KeyError:
            raise self._dead(ref) from None

    def _dead(self, ref: str) -> UnknownRef:
        why, scope = self._ended.get(ref, (None, ""))
        return UnknownRef(ref) if why is None else why.error(ref, scope)

    def knows(self, location: str) -> bool:
        with self._lock:
            return location in self._locations or location in self._condemned

    def entry(self, ref: str) -> Entry:
        with self._lock:
            found = self.get(ref)
            stored_at, expires_at = self._times[ref]
            location = self._locations[found.location]
            return Entry(
                ref=ref,
                scope=found.scope,
                location=found.location,
                path=found.path,
                meta=found.meta,
                size=found.size,
                sha256=found.sha256,
                stored_at=datetime.fromtimestamp(stored_at, UTC),
                expires_at=None if expires_at is None else datetime.fromtimestamp(expires_at, UTC),
                owned=location.owned,
                refs=len(location.refs),
                leases=0,
            )

    def entries(self, scope: str | None = None, *, nested: bool = False) -> Iterator[Entry]:
        names = self.scopes() if scope is None else self._named(scope, nested)
        for name in names:
            with self._lock:
                refs = list(self._scopes.get(name, ()))
            for ref in refs:
                try:
                    yield self.entry(ref)
                except UnknownRef:  # ended since
                    continue

    def scopes(self) -> list[str]:
        with self._lock:
            return sorted(self._scopes)

    def _named(self, scope: str, nested: bool) -> list[str]:
        if not nested:
            return [scope]
        with self._lock:
            inner = [name for name in self._scopes if name.startswith(below(scope))]
        return [scope, *sorted(inner)]

    # -- ends

    def release(self, ref: str) -> Ended:
        ended = Ended()
        with self._lock:
            if ref in self._refs:
                self._end(ref, Why.RELEASED, ended)
        return ended

    def release_scope(self, scope: str, *, nested: bool = False) -> Ended:
        ended = Ended()
        for name in self._named(scope, nested):
            with self._lock:
                for ref in list(self._scopes.get(name, ())):
                    self._end(ref, Why.RELEASED, ended)
        return ended

    def expire(self, max_age: float | None, *, limit: int = 1000) -> Ended:
        ended = Ended()
        with self._lock:
            now = self._clock()
            due = self._by_ttl.pop_before(now, limit)
            if max_age is not None:
                due += self._by_age.pop_before(now - max_age, limit - len(due))
            for ref in due:
                self._end(ref, Why.EXPIRED, ended)
        return ended

    def due(self, max_age: float | None) -> int:
        with self._lock:
            now = self._clock()
            aged = 0 if max_age is None else self._by_age.count_before(now - max_age)
            return aged + self._by_ttl.count_before(now)

    def _end(self, ref: str, why: Why, ended: Ended) -> None:
        """Take `ref` out of the books, and condemn or forget its location if it was the last."""
        dead = self._refs.pop(ref)
        _, expires_at = self._times.pop(ref)
        if why is not Why.EXPIRED:  # else it has just been taken from its agenda
            (self._by_age if expires_at is None else self._by_ttl).ended()
        scope = self._scopes[dead.scope]
        del scope[ref]
        if not scope:
            del self._scopes[dead.scope]
        location = self._locations[dead.location]
        location.refs.remove(ref)
        if not location.refs:
            del self._locations[dead.location]
            if location.owned:
                self._condemned[dead.location] = location
                ended.condemned.append(dead.location)
        ended.refs += 1
        self._ended[ref] = (why, dead.scope)
        if len(self._ended) > REMEMBERED:
            self._ended.popitem(last=False)

    # -- deletions

    def reap(self, delete: Callable[[str], None], locations: Iterable[str] | None = None) -> Reaped:
        reaped = Reaped()
        if locations is None:
            with self._lock:
                locations = list(self._condemned)
        for name in locations:
            if not self._on_location.try_hold(name):
                continue
            try:
                # Under its lock nobody can register it, so this cannot change before it is gone.
                condemned = self._condemned.get(name)
                if condemned is not None:
                    self._reap(name, condemned, delete, reaped)
            finally:
                self._on_location.drop(name)
        return reaped

    def _reap(
        self, name: str, condemned: _Location, delete: Callable[[str], None], reaped: Reaped
    ) -> None:
        try:
            delete(name)
        except OSError as error:
            condemned.attempts += 1
            condemned.error = str(error)
            reaped.failed.append(FailedDeletion(name, str(error), condemned.attempts))
        else:
            with self._lock:
                del self._condemned[name]
            reaped.deleted += 1
            reaped.freed += condemned.size

    def condemned(self) -> Iterator[tuple[str, int]]:
        with self._lock:
            yield from [(name, it.size) for name, it in self._condemned.items()]

    # -- numbers

    def stats(self, *, by_scope: bool = False) -> Stats:
        with self._lock:
            live = self._locations.values()
            failed = [
                FailedDeletion(name, it.error, it.attempts)
                for name, it in self._condemned.items()
                if it.attempts
            ]
            oldest = min((stored_at for stored_at, _ in self._times.values()), default=None)
            owned = sum(it.owned for it in live)
            return Stats(
                refs=len(self._refs),
                scopes=len(self._scopes),
                files=len(live),
                size=sum(it.size for it in live),
                owned=owned,
                borrowed=len(live) - owned,
                condemned=len(self._condemned),
                condemned_size=sum(it.size for it in self._condemned.values()),
                leased=0,
                oldest=None if oldest is None else datetime.fromtimestamp(oldest, UTC),
                failed=tuple(failed[:NAMED_FAILURES]),
                by_scope={name: self._scope_stats(name) for name in sorted(self._scopes)}
                if by_scope
                else {},
            )

    def _scope_stats(self, name: str) -> ScopeStats:
        refs = self._scopes[name]
        files = {self._refs[ref].location for ref in refs}
        return ScopeStats(len(refs), len(files), sum(self._locations[it].size for it in files))

    def close(self) -> None:
        """Do nothing: the books go with the process."""
