"""The books in memory: the readable reference, and the catalog of one process that needs no more."""

import os
import threading
from collections import OrderedDict, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import datetime
from itertools import count, islice
from typing import NamedTuple

from mediakeep.catalogs import (
    Catalog,
    Clock,
    DeleteMany,
    Ended,
    EndedFile,
    Fault,
    HasBytes,
    IsThere,
    Place,
    Reaped,
    Registration,
    Use,
    Why,
)
from mediakeep.catalogs.agenda import Agenda
from mediakeep.catalogs.contents import Content, contents_of, share_out
from mediakeep.catalogs.locks import KeyedLock
from mediakeep.catalogs.records import ORDER_SECONDS, moment
from mediakeep.catalogs.roll import Roll
from mediakeep.catalogs.rules import (
    NAMED_FAILURES,
    below,
    check_room,
    check_scope_room,
    is_going,
    lives_elsewhere,
    location_of,
    still_leased,
)
from mediakeep.clocks import steady_clock, time_of
from mediakeep.errors import UnknownRef
from mediakeep.model import (
    CleanupPolicy,
    Entry,
    FailedDeletion,
    Limits,
    Position,
    Receipt,
    ScopeStats,
    Stats,
)

__all__ = ["MemoryCatalog"]

PAGE = 500
"""How many refs are listed under the lock at a time."""

FEW = 4
"""Up to how many refs of one location are kept in a tuple."""

REMEMBERED = 4096
"""How many ended refs the catalog can still say the reason for, and how long its journal is."""


_Line = tuple[float, str, str, str, str, int, int, str]
"""A line of the journal: when, what, ref, scope, location, size, process id, error."""


class _Location:
    """One place of bytes: its live refs and leases, and whether it may be deleted in the end."""

    __slots__ = ("attempts", "error", "last", "leases", "owned", "refs", "sha256", "size", "variants")

    def __init__(self, owned: bool) -> None:
        # Nearly every location has one ref, and a set of one takes four times the memory of a tuple.
        self.refs: tuple[str, ...] | set[str] = ()
        self.leases: set[int] | None = None  # made by the first
        self.variants: dict[str, str] | None = None  # by name
        self.owned = owned
        self.size = 0
        self.sha256 = ""
        self.attempts = 0
        self.error = ""
        self.last = ("", "")  # ref and scope that ended last

    def join(self, ref: str) -> None:
        if isinstance(self.refs, set):
            self.refs.add(ref)
        else:
            self.refs = (*self.refs, ref) if len(self.refs) < FEW else {*self.refs, ref}

    def leave(self, ref: str) -> None:
        if isinstance(self.refs, set):
            self.refs.discard(ref)
        else:
            self.refs = tuple(it for it in self.refs if it != ref)


class _Variant(NamedTuple):
    """A blob that was made from what lies at the live location `of`."""

    of: str
    name: str
    size: int
    sha256: str


class MemoryCatalog(Catalog):
    """Refs, scopes, locations and leases in dicts, under one lock that no disk access is made under.

    Look-ups of a live ref take no lock at all. What has ended is remembered for the last 4,096 refs. A
    lease lasts until it is ended, since its holder cannot outlive the catalog.
    """

    __slots__ = (
        "_by_age",
        "_by_ttl",
        "_clock",
        "_condemned",
        "_ended",
        "_journal",
        "_leases",
        "_locations",
        "_lock",
        "_numbers",
        "_on_location",
        "_refs",
        "_scopes",
        "_size",
        "_timeout",
        "_twins",
        "_variants",
    )

    def __init__(self, clock: Clock | None = None, *, timeout: float = 60.0) -> None:
        self._clock = clock or steady_clock()
        self._timeout = timeout
        self._lock = threading.Lock()
        self._on_location = KeyedLock()
        self._refs: dict[str, Registration] = {}
        self._scopes: dict[str, Roll] = {}
        self._locations: dict[str, _Location] = {}  # with a live ref
        self._condemned: dict[str, _Location] = {}  # without; a borrowed one while it is leased
        self._twins: dict[str, list[str]] = {}  # live blobs by sha256
        self._variants: dict[str, _Variant] = {}
        self._size = 0  # of the files of all three
        self._leases: dict[int, str] = {}
        self._numbers = count(1)
        self._ended: OrderedDict[str, tuple[Why, str]] = OrderedDict()
        self._journal: deque[_Line] = deque(maxlen=REMEMBERED)
        self._by_age = Agenda(self._refs.__contains__)
        self._by_ttl = Agenda(self._refs.__contains__)

    @property
    def blocks(self) -> bool:
        return False

    # -- beginnings

    def add(
        self,
        new: Registration,
        *,
        ttl: float | None = None,
        limits: Limits | None = None,
        is_there: IsThere | None = None,
    ) -> str:
        of_one = None if is_there is None else lambda key, _: is_there(key)
        return self.add_many((new,), ttl=ttl, limits=limits, is_there=of_one)[0]

    def add_many(
        self,
        new: Sequence[Registration],
        *,
        ttl: float | None = None,
        limits: Limits | None = None,
        is_there: HasBytes | None = None,
    ) -> list[str]:
        twins: dict[Content, str] = {}
        if is_there is not None:
            contents = contents_of(new, limits)
            with self._lock:
                found = [self._twins_of(it) for it in contents]
            for (content, one), keys in zip(contents.items(), found, strict=True):
                for key in keys:
                    if is_there(key, one):
                        twins[content] = key
                        break
        with self._lock:
            if is_there is not None:
                # One may have ended since.
                live = {it: key for it, key in twins.items() if key in self._twins_of(it)}
                for it, location in zip(new, share_out(new, limits, live), strict=True):
                    it.location = location
            self._write(new, ttl, limits)
        return [it.location for it in new]

    def _twins_of(self, content: Content) -> list[str]:
        """Return the live blobs that have this content, named in its scope if it has one."""
        found = []
        for name in self._twins.get(content.sha256, ()):
            location = self._locations[name]
            scope = content.scope
            inside = scope is None or any(self._refs[ref].scope == scope for ref in location.refs)
            if location.size == content.size and location.owned == content.owned and inside:
                found.append(name)
        return found

    def register(
        self,
        location: str,
        check: Callable[[], Registration],
        *,
        ttl: float | None = None,
        limits: Limits | None = None,
    ) -> None:
        self._on_location.hold(location, self._timeout)
        try:
            new = (check(),)
            with self._lock:
                self._write(new, ttl, limits)
        finally:
            self._on_location.drop(location)

    def register_many(
        self,
        locations: Sequence[str],
        check: Callable[[], Sequence[Registration]],
        *,
        ttl: float | None = None,
        limits: Limits | None = None,
    ) -> None:
        with self._on_location.holding(locations, self._timeout):
            new = check()
            with self._lock:
                self._write(new, ttl, limits)

    def restore(self, refs: Sequence[Registration], *, owned: bool) -> int:
        name = location_of(refs)
        # A file that is condemned may be restored, but not while it is being deleted.
        with (
            self._on_location.holding((name,) if os.path.isabs(name) else (), self._timeout),
            self._lock,
        ):
            for it in refs:
                here = self._refs.get(it.ref)
                if here is not None and here.location != name:
                    raise lives_elsewhere(it.ref, here.location, name)
            if name in self._condemned and not os.path.isabs(name):
                raise is_going(name)
            missing = {it.ref: it for it in refs if it.ref not in self._refs}
            self._place(name, owned, refs[0].size, refs[0].sha256)
            for it in missing.values():
                self._ended.pop(it.ref, None)
                self._enter(replace(it, stored_at=moment(it.stored_at)))
        return len(missing)

    def share(
        self,
        ref: str,
        new_ref: str,
        scope: str,
        *,
        ttl: float | None = None,
        limits: Limits | None = None,
    ) -> None:
        # No lock on the location: what has a live ref is not being deleted.
        with self._lock:
            self._write((replace(self.get(ref), ref=new_ref, scope=scope),), ttl, limits)

    def _write(self, new: Sequence[Registration], ttl: float | None, limits: Limits | None) -> None:
        if limits is not None:
            self._check_limits(new, limits)
        now = moment(self._clock())
        for it in new:
            owned = it.meta.cleanup_policy is CleanupPolicy.DELETE_ON_CLEANUP
            self._place(it.location, owned, it.size, it.sha256)
            it.stored_at, it.expires_at = now, None if ttl is None else now + ttl
            self._enter(it)
            now = moment(now + ORDER_SECONDS)

    def _place(self, name: str, owned: bool, size: int, sha256: str) -> None:
        """Make a location live, or join the live one."""
        live = self._locations.get(name)
        location = live or self._condemned.get(name) or _Location(owned)
        if live is None:
            self._condemned.pop(name, None)
            self._promote(name)
            location.variants = None  # those that it had were condemned with it
            self._locations[name] = location
            if sha256 or location.sha256:
                self._twins.setdefault(sha256 or location.sha256, []).append(name)
            location.owned, location.attempts, location.error = owned, 0, ""
        elif not owned:
            location.owned = False
        self._size += size - location.size
        location.size = size
        location.sha256 = sha256 or location.sha256

    def _enter(self, new: Registration) -> None:
        """Write down a ref of a live location."""
        ref = new.ref
        self._locations[new.location].join(ref)
        self._refs[ref] = new
        scope = self._scopes.get(new.scope)
        if scope is None:
            scope = self._scopes[new.scope] = Roll(self._refs)
        scope.add(new)
        if new.expires_at is None:
            self._by_age.add(ref, new.stored_at)
        else:
            self._by_ttl.add(ref, new.expires_at)

    def _promote(self, name: str) -> None:
        """Make a variant a file of its own, since somebody registers it."""
        variant = self._variants.pop(name, None)
        if variant is not None:
            self._size -= variant.size
            del (self._locations[variant.of].variants or {})[variant.name]

    def _check_limits(self, new: Sequence[Registration], limits: Limits) -> None:
        """Refuse what does not fit, before any of it is written."""
        sizes = {it.location: it.size for it in new}
        places = {name: self._locations.get(name) or self._condemned.get(name) for name in sizes}
        before = self._use()
        files = sum(place is None for place in places.values())
        more = sum(sizes[name] - (place.size if place else 0) for name, place in places.items())
        check_room(limits, before, Use(before.files + files, before.size + more))
        if limits.max_scope_bytes is not None:
            for scope in {it.scope for it in new}:
                inside = {it.location for it in self._scopes.get(scope, ())}
                coming = {it.location for it in new if it.scope == scope} - inside
                added = sum(sizes[name] for name in coming)
                size = sum(self._locations[name].size for name in inside) + added
                check_scope_room(limits, scope, size, added)

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
            return self._names(location)

    def _names(self, location: str) -> bool:
        return any(location in it for it in (self._locations, self._condemned, self._variants))

    def entry(self, ref: str) -> Entry:
        with self._lock:
            found = self.get(ref)
            location = self._locations[found.location]
            return Entry(
                ref=ref,
                scope=found.scope,
                location=found.location,
                path=found.path,
                meta=found.meta,
                size=location.size,
                sha256=location.sha256,
                stored_at=time_of(found.stored_at),
                expires_at=None if found.expires_at is None else time_of(found.expires_at),
                owned=location.owned,
                refs=len(location.refs),
                leases=len(location.leases or ()),
                declared_type=found.declared,
                detected_type=found.detected,
            )

    def entries(
        self,
        scope: str | None = None,
        *,
        nested: bool = False,
        after: Position | None = None,
        newest: bool = False,
    ) -> Iterator[Entry]:
        names = self.scopes() if scope is None else self._named(scope, nested)
        if newest:
            names.reverse()
        for name in names:
            place = None
            if after is not None and name == after.scope:
                place = (after.stored_at.timestamp(), after.ref)
            elif after is not None and (name > after.scope) is newest:
                continue
            while True:
                with self._lock:
                    roll = self._scopes.get(name)
                    found, place = ([], None) if roll is None else roll.page(place, PAGE, newest=newest)
                for it in found:
                    with suppress(UnknownRef):  # ended since
                        yield self.entry(it.ref)
                if place is None:
                    break

    def latest(self) -> list[tuple[str, datetime]]:
        with self._lock:
            newest = [(name, it.page(None, 1, newest=True)[0]) for name, it in self._scopes.items()]
            return [(name, time_of(them[0].stored_at)) for name, them in newest]

    def expiring(self, limit: int) -> list[Entry]:
        with self._lock:
            refs = self._by_ttl.first(limit)
        return self._entries_of(refs)

    def leased(self, limit: int) -> list[Entry]:
        with self._lock:
            held = dict.fromkeys(self._leases.values())
            places = (self._locations[it] for it in held if it in self._locations)
            refs = [min(it.refs) for it in islice(places, limit)]
        return self._entries_of(refs)

    def _entries_of(self, refs: Iterable[str]) -> list[Entry]:
        found = []
        for ref in refs:
            with suppress(UnknownRef):  # ended since
                found.append(self.entry(ref))
        return found

    def refs_at(self, location: str) -> Iterator[Registration]:
        with self._lock:
            there = self._locations.get(location)
            found = [self._refs[ref] for ref in sorted(there.refs)] if there is not None else []
        yield from found

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

    def release_scope(self, scope: str, *, nested: bool = False, refuse_leased: bool = False) -> Ended:
        ended = Ended()
        names = self._named(scope, nested)
        with self._lock:
            refs = [it.ref for name in names for it in self._scopes.get(name, ())]
            if refuse_leased:
                self._refuse_leased(refs)
            for ref in refs:
                self._end(ref, Why.RELEASED, ended)
        return ended

    def _refuse_leased(self, refs: list[str]) -> None:
        ending = set(refs)
        for ref in refs:
            location = self._locations[self._refs[ref].location]
            if location.owned and location.leases and ending.issuperset(location.refs):
                raise still_leased(self._refs[ref].location, ref, len(location.leases))

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
        dead = self._refs[ref]
        # Before it goes: look-ups take no lock, and what is not live must say why.
        self._ended[ref] = (why, dead.scope)
        if len(self._ended) > REMEMBERED:
            self._ended.popitem(last=False)
        del self._refs[ref]
        if why is not Why.EXPIRED:  # else it has just been taken from its agenda
            (self._by_age if dead.expires_at is None else self._by_ttl).ended()
        scope = self._scopes[dead.scope]
        scope.ended()
        if not scope:
            del self._scopes[dead.scope]
        location = self._locations[dead.location]
        location.leave(ref)
        if not location.refs:
            del self._locations[dead.location]
            self._forget_twin(dead.location, location.sha256)
            location.last = (ref, dead.scope)
            if location.owned or location.leases:
                self._condemned[dead.location] = location
            else:
                self._size -= location.size
            if location.owned:
                ended.condemned.append(dead.location)
        ended.refs += 1
        file = ended.files.setdefault(dead.location, EndedFile(location.size, location.owned))
        file.refs += 1
        self._note(why.value, ref, dead.scope, dead.location, location.size)
        if location.variants is not None and not location.refs:
            self._condemn_variants(location, why, ended)

    def _forget_twin(self, name: str, sha256: str) -> None:
        if sha256:
            twins = self._twins[sha256]
            twins.remove(name)
            if not twins:
                del self._twins[sha256]

    def _condemn_variants(self, location: _Location, why: Why, ended: Ended) -> None:
        for key in (location.variants or {}).values():
            variant = self._variants.pop(key)
            condemned = self._condemned[key] = _Location(owned=True)
            condemned.size, condemned.sha256 = variant.size, variant.sha256
            condemned.last, condemned.leases = (
                location.last,
                location.leases,
            )  # of both, one and the same
            ended.condemned.append(key)
            ended.files[key] = EndedFile(variant.size, owned=True)
            self._note(why.value, *location.last, key, variant.size)

    # -- variants

    def variant(self, ref: str, name: str) -> str | None:
        with self._lock:
            return (self._locations[self.get(ref).location].variants or {}).get(name)

    def add_variant(
        self, ref: str, name: str, key: str, size: int, sha256: str, *, limits: Limits | None = None
    ) -> str:
        with self._lock:
            of = self.get(ref).location
            location = self._locations[of]
            if location.variants is None:
                location.variants = {}
            if name in location.variants:
                return location.variants[name]
            if limits is not None:
                before = self._use()
                check_room(limits, before, Use(before.files + 1, before.size + size))
            location.variants[name] = key
            self._variants[key] = _Variant(of, name, size, sha256)
            self._size += size
            return key

    # -- deletions

    def reap(
        self,
        delete: Callable[[str], None],
        locations: Iterable[str] | None = None,
        *,
        delete_many: DeleteMany | None = None,
    ) -> Reaped:
        reaped = Reaped()
        if locations is None:
            with self._lock:
                locations = list(self._condemned)
        for name in locations:
            if not self._on_location.try_hold(name):
                continue
            try:
                # Under its lock nobody can register it, and nobody can lease what has no live ref. So
                # what is condemned and unleased now stays so until it is gone.
                condemned = self._condemned.get(name)
                if condemned is not None and not condemned.leases:
                    self._reap(name, condemned, delete, reaped)
            finally:
                self._on_location.drop(name)
        return reaped

    def _reap(
        self, name: str, condemned: _Location, delete: Callable[[str], None], reaped: Reaped
    ) -> None:
        try:
            if condemned.owned:
                delete(name)
        except OSError as error:
            reason = error.strerror or str(error)
            with self._lock:
                condemned.attempts += 1
                condemned.error = reason
                if condemned.attempts == 1:
                    self._note("failed", *condemned.last, name, condemned.size, reason)
            reaped.failed.append(FailedDeletion(name, reason, condemned.attempts))
            return
        with self._lock:
            if self._condemned.get(name) is not condemned:  # somebody found it gone, and said so
                return
            del self._condemned[name]
            self._size -= condemned.size
            if condemned.owned:
                self._note("deleted", *condemned.last, name, condemned.size)
                reaped.deleted += 1
                reaped.freed += condemned.size

    def condemned(self) -> Iterator[tuple[str, int]]:
        with self._lock:
            yield from [
                (name, it.size) for name, it in self._condemned.items() if it.owned and not it.leases
            ]

    # -- leases

    @property
    def leases_lapse(self) -> bool:
        return False

    def lease(self, ref: str, seconds: float) -> tuple[int, Registration]:
        with self._lock:
            found = self._refs.get(ref)
            if found is None:
                raise self._dead(ref)
            number = next(self._numbers)
            location = self._locations[found.location]
            if location.leases is None:
                location.leases = {number}
            else:
                location.leases.add(number)
            self._leases[number] = found.location
        return number, found

    def renew(self, leases: Iterable[int], seconds: float) -> list[int]:
        return [number for number in leases if number not in self._leases]

    def end_lease(self, lease: int) -> list[str]:
        with self._lock:
            name = self._leases.pop(lease, None)
            if name is None:
                return []
            location = self._locations.get(name) or self._condemned[name]
            if location.leases is not None:
                location.leases.discard(lease)
            if location.leases:
                return []
            return [it for it in (name, *(location.variants or {}).values()) if it in self._condemned]

    def forget_lapsed(self) -> int:
        return 0

    # -- numbers and the journal

    def use(self) -> Use:
        with self._lock:
            return self._use()

    def _use(self) -> Use:
        files = len(self._locations) + len(self._condemned) + len(self._variants)
        return Use(files, self._size)

    def stats(self, *, by_scope: bool = False) -> Stats:
        with self._lock:
            live = self._locations.values()
            condemned = {name: it for name, it in self._condemned.items() if it.owned}
            failed = [
                FailedDeletion(name, it.error, it.attempts)
                for name, it in condemned.items()
                if it.attempts
            ]
            oldest = min((it.stored_at for it in self._refs.values()), default=None)
            owned = sum(it.owned for it in live)
            return Stats(
                refs=len(self._refs),
                scopes=len(self._scopes),
                files=len(live),
                size=sum(it.size for it in live),
                owned=owned,
                borrowed=len(live) - owned,
                condemned=len(condemned),
                condemned_size=sum(it.size for it in condemned.values()),
                leases=len(self._leases),
                leased=len(set(self._leases.values())),
                saved=sum(
                    (len(it.refs) - 1) * it.size
                    for name, it in self._locations.items()
                    if not os.path.isabs(name)
                ),
                variants=len(self._variants),
                variants_size=sum(it.size for it in self._variants.values()),
                oldest=None if oldest is None else time_of(oldest),
                failed=tuple(failed[:NAMED_FAILURES]),
                by_scope={name: self._scope_stats(name) for name in sorted(self._scopes)}
                if by_scope
                else {},
            )

    def _scope_stats(self, name: str) -> ScopeStats:
        refs = self._scopes[name]
        files = {it.location for it in refs}
        return ScopeStats(len(refs), len(files), sum(self._locations[it].size for it in files))

    def _note(self, what: str, ref: str, scope: str, location: str, size: int, error: str = "") -> None:
        line = (self._clock(), what, ref, scope, location, size, os.getpid(), error)
        self._journal.append(line)  # a Receipt is only made of it when somebody asks

    def history(self, ref: str | None = None, scope: str | None = None) -> Iterator[Receipt]:
        with self._lock:
            noted = list(self._journal)
        lines = [
            Receipt(time_of(at), what, of, scope_of, location, size, f"process {pid}", error)
            for at, what, of, scope_of, location, size, pid, error in noted
        ]
        places = {line.location for line in lines if line.ref == ref}
        for line in lines:
            of_its_file = line.location in places and line.what in ("deleted", "failed")
            if ref is not None and line.ref != ref and not of_its_file:
                continue
            if scope is not None and line.scope != scope and not line.scope.startswith(below(scope)):
                continue
            yield line

    # -- for reconciling

    def places(self) -> Iterator[Place]:
        with self._lock:
            places = [
                Place(name, it.size, it.sha256, condemned, bool(it.leases))
                for condemned, them in ((False, self._locations), (True, self._condemned))
                for name, it in them.items()
            ]
            places += [
                Place(key, it.size, it.sha256, False, False) for key, it in self._variants.items()
            ]
        yield from sorted(places, key=lambda place: os.fsencode(place.location))

    def is_live(self, location: str) -> bool:
        return location in self._locations or location in self._variants

    def adopt(self, location: str, size: int) -> None:
        with self._lock:
            if not self._names(location):
                stray = self._condemned[location] = _Location(owned=True)
                stray.size = size
                self._size += size
                self._note(Why.RECONCILED.value, "", "", location, size)

    def lose(self, location: str) -> int:
        ended = Ended()
        with self._lock:
            lost = self._locations.get(location)
            for ref in list(lost.refs) if lost else ():
                self._end(ref, Why.RECONCILED, ended)
            if location in self._condemned and not self._condemned[location].leases:
                self._size -= self._condemned.pop(location).size
            self._promote(location)
        return ended.refs

    def faults(self, *, deep: bool = False) -> Iterator[Fault]:
        with self._lock:
            size = sum(
                it.size
                for them in (self._locations, self._condemned, self._variants)
                for it in them.values()
            )
            if size != self._size:
                yield Fault("books", "size", f"says {self._size}, adds up to {size}", "report a bug")

    def mend(self) -> None:
        """Do nothing: the books in memory are written by one lock's holder only."""

    def close(self) -> None:
        """Do nothing: the books go with the process."""
