"""The books in PostgreSQL: durable, for many threads, processes and machines.

A state of a location is a pattern of rows, as in SQLite. Live: it has refs. Condemned: it has none, and
`condemned` names the line of the journal that tells why; the same for a borrowed one that a lease still
holds. Gone and forgotten: no row. No count of refs or leases is kept anywhere.

Everything runs at the isolation level READ COMMITTED, under these locks, taken in this order: the
location's own (an advisory lock, for `register` and `reap`), those of what is limited (likewise), refs,
locations, totals (rows). A deadlock, where an order cannot be kept, is found by the server, and the verb
run again.
"""

import os
import secrets
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import nullcontext
from datetime import datetime
from typing import Any

from mediakeep.catalogs import (
    Catalog,
    DeleteMany,
    Ended,
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
from mediakeep.catalogs import postgres_checks as checks
from mediakeep.catalogs import postgres_journal as journal
from mediakeep.catalogs import postgres_numbers as numbers
from mediakeep.catalogs.deletion import Deletion
from mediakeep.catalogs.postgres_batches import Batches
from mediakeep.catalogs.postgres_beginnings import Beginnings, check_scope
from mediakeep.catalogs.postgres_database import Connection, Database, T, UniqueViolation
from mediakeep.catalogs.postgres_ending import Ending
from mediakeep.catalogs.postgres_hosts import host_of, name_of, this_host
from mediakeep.catalogs.postgres_limits import bound_by, within
from mediakeep.catalogs.postgres_locks import LOCK, key_of
from mediakeep.catalogs.postgres_migrations import SCHEMA, migrate, prepare
from mediakeep.catalogs.postgres_reading import COLUMNS, Reading
from mediakeep.catalogs.postgres_reaping import Reaper
from mediakeep.catalogs.postgres_schema import ALONE, LEASED, NOW
from mediakeep.catalogs.records import moment
from mediakeep.catalogs.rows import HISTORY_SECONDS, names_below, process, uuid_of
from mediakeep.clocks import Clock
from mediakeep.errors import UnknownRef
from mediakeep.model import Entry, Limits, Position, Receipt, Stats

__all__ = ["PostgresCatalog", "migrate"]

POOL_SIZE = 10
"""How many connections a process may have."""

ENDED_AT_ONCE = 5000
"""How many refs of a scope end in one transaction."""

_ENDING = "SELECT ref, scope, location_id FROM mediakeep.refs WHERE"
_REF = f"{_ENDING} ref = %(ref)s::uuid FOR UPDATE"
_SCOPE = f"{_ENDING} scope = %(scope)s ORDER BY scope, stored_at, ref LIMIT %(most)s FOR UPDATE"
_NESTED = (
    f"{_ENDING} scope >= %(first)s AND scope < %(end)s"
    " ORDER BY scope, stored_at, ref LIMIT %(most)s FOR UPDATE"
)
_BOTH = f"""
    {_ENDING} ref = ANY (ARRAY(
        SELECT ref FROM mediakeep.refs WHERE scope = %(scope)s UNION ALL
        SELECT ref FROM mediakeep.refs WHERE scope >= %(first)s AND scope < %(end)s
    )) ORDER BY ref FOR UPDATE
"""
_THERE = "location = %(name)s AND host = %(host)s"
_AT = f"""
    {_ENDING} location_id = (SELECT id FROM mediakeep.locations WHERE {_THERE})
    ORDER BY ref FOR UPDATE
"""

_PAST_TTL = f"expires_at IS NOT NULL AND expires_at < {NOW}"
_PAST_AGE = f"expires_at IS NULL AND stored_at < {NOW} - %(max_age)s::float8"
# What another sweeper is ending is left to it.
_EXPIRE = (
    f"{_ENDING} {_PAST_TTL} ORDER BY expires_at LIMIT %(most)s FOR UPDATE SKIP LOCKED",
    f"{_ENDING} {_PAST_AGE} ORDER BY stored_at LIMIT %(most)s FOR UPDATE SKIP LOCKED",
)
# By the oldest, for which there is one plan. Asked whether there is any, the server guesses that a third
# of all are due once the statement is prepared, and reads the table in the hope to meet one soon.
_IS_ANY_DUE = f"""
    SELECT (SELECT expires_at FROM mediakeep.refs WHERE expires_at IS NOT NULL
            ORDER BY expires_at LIMIT 1) < {NOW},
           (SELECT stored_at FROM mediakeep.refs WHERE expires_at IS NULL
            ORDER BY stored_at LIMIT 1) < {NOW} - %(max_age)s::float8
"""
_DUE = f"""
    SELECT (SELECT count(*) FROM mediakeep.refs WHERE {_PAST_TTL})
         + (SELECT count(*) FROM mediakeep.refs WHERE {_PAST_AGE})
"""

_KNOWS = f"SELECT 1 FROM mediakeep.locations WHERE {_THERE}"
_IS_LIVE = f"""
    SELECT 1 FROM mediakeep.locations l WHERE {_THERE} AND (
        EXISTS (SELECT 1 FROM mediakeep.refs WHERE location_id = l.id)
        OR EXISTS (SELECT 1 FROM mediakeep.refs WHERE location_id = l.variant_of)
    )
"""
_ADOPT = """
    INSERT INTO mediakeep.locations (location, whole, host, owned, size, sha256)
    VALUES (%(name)s, %(whole)s, %(host)s, true, %(size)s, '')
    ON CONFLICT (location, host) DO NOTHING RETURNING id
"""
_CONDEMN_ADOPTED = f"""
    WITH noted AS (
        INSERT INTO mediakeep.history (at, what, scope, location, location_id, size, process)
        SELECT {NOW}, %(what)s, '', coalesce(whole, location), id, size, %(process)s
        FROM mediakeep.locations WHERE id = %(id)s RETURNING id
    )
    UPDATE mediakeep.locations SET condemned = (SELECT id FROM noted) WHERE id = %(id)s
"""
_HOLD = f"SELECT id FROM mediakeep.locations WHERE {_THERE} FOR UPDATE"
_LOSE = f"""
    DELETE FROM mediakeep.locations l WHERE {_THERE} AND NOT {LEASED} AND {ALONE}
"""

_VARIANT = """
    SELECT coalesce(l.whole, l.location) FROM mediakeep.locations l
    WHERE l.variant_of = (SELECT location_id FROM mediakeep.refs WHERE ref = %(ref)s::uuid)
        AND l.variant = %(variant)s AND l.condemned IS NULL
"""
_ADD_VARIANT = """
    WITH original AS (
        SELECT location_id FROM mediakeep.refs WHERE ref = %(ref)s::uuid FOR KEY SHARE
    )
    INSERT INTO mediakeep.locations
        (location, whole, host, owned, size, sha256, variant_of, variant)
    SELECT %(name)s, %(whole)s, %(host)s, true, %(size)s, %(sha256)s, location_id, %(variant)s
    FROM original
    ON CONFLICT (variant_of, variant) WHERE variant_of IS NOT NULL AND condemned IS NULL DO NOTHING
"""

_LEASE = f"""
    WITH held AS (
        SELECT * FROM mediakeep.refs WHERE ref = %(ref)s::uuid FOR KEY SHARE
    ), made AS (
        INSERT INTO mediakeep.leases (number, location_id, deadline, holder)
        SELECT %(number)s, l.id, {NOW} + %(seconds)s::float8, %(holder)s
        FROM held JOIN mediakeep.locations l ON l.id = location_id WHERE l.host IN ('', %(host)s)
        ON CONFLICT (number) DO NOTHING
    )
    SELECT {COLUMNS} FROM held r JOIN mediakeep.locations l ON l.id = r.location_id
"""
_RENEW = f"""
    UPDATE mediakeep.leases SET deadline = {NOW} + %(seconds)s::float8
    WHERE number = ANY(%(numbers)s) AND deadline >= {NOW} RETURNING number
"""
_LEASED_LOCATION = """
    SELECT id FROM mediakeep.locations
    WHERE id = (SELECT location_id FROM mediakeep.leases WHERE number = %(number)s) FOR NO KEY UPDATE
"""
_END_LEASE = "DELETE FROM mediakeep.leases WHERE number = %(number)s"
# The OFFSET keeps the server from reading all that is condemned, which it may take for nothing.
_FREED = f"""
    SELECT coalesce(l.whole, l.location) FROM (
        SELECT * FROM mediakeep.locations WHERE id = %(id)s OR variant_of = %(id)s OFFSET 0
    ) l
    WHERE l.condemned IS NOT NULL AND NOT {LEASED}
"""
_FORGET_LAPSED = f"DELETE FROM mediakeep.leases WHERE deadline < {NOW}"


class PostgresCatalog(Catalog):
    """Refs, scopes, locations and leases in a schema of a PostgreSQL database.

    The tables are made when a catalog is opened on a database that has none. A newer mediakeep may want
    them changed: :func:`migrate` does that.

    Local paths belong to the host that registered them: elsewhere they cannot be looked up, and are not
    deleted. Blobs are everybody's.

    A verb that finds the server gone, or somebody in its way, is tried again for some seconds; what
    was written is written once.

    Args:
        url: a URL or a connection string of libpq, such as `postgresql://user@host/database`.
        clock: instead of the database's, by which expiry, leases and the journal go otherwise.
        schema: the schema of the tables; several catalogs may share a database.
        timeout: how many seconds a verb waits for a connection, for a lock, and for one statement.
        pool_size: how many connections this process may have. A deletion keeps one busy while it runs.
        history_seconds: how long the journal goes back.
        host: a name of this host that no other has, and that it keeps; by default made of its name and
            its machine id.

    Raises:
        CatalogError: the database cannot be used, or the schema holds something else, or tables of
            another version.
        ImportError: psycopg is not installed.
        ValueError: an argument cannot be what it should be.
    """

    __slots__ = (
        "_batches",
        "_beginnings",
        "_clock",
        "_database",
        "_history_seconds",
        "_host",
        "_reading",
        "_unshortened",
    )

    def __init__(
        self,
        url: str,
        clock: Clock | None = None,
        *,
        schema: str = SCHEMA,
        timeout: float = 60.0,
        pool_size: int = POOL_SIZE,
        history_seconds: float = HISTORY_SECONDS,
        host: str | None = None,
    ) -> None:
        self._clock = clock
        self._history_seconds = history_seconds
        self._host = host or this_host()
        self._unshortened = 0
        self._database = Database(url, schema, timeout=timeout, pool_size=pool_size)
        self._reading = Reading(self._database, self._host)
        self._beginnings = Beginnings(self._database, self._host)
        self._batches = Batches(self._database, self._host)
        try:
            prepare(self._database)
        except BaseException:
            self._database.close()
            raise

    def _now(self) -> float | None:
        """Return the time by the clock that was given; without one the database has its own.

        Both are of whole microseconds.
        """
        return None if self._clock is None else moment(self._clock())

    def _place(self, location: str) -> dict[str, Any]:
        name, whole = name_of(location)
        return {"name": name, "whole": whole, "host": host_of(location, self._host)}

    # -- beginnings

    def add(
        self,
        new: Registration,
        *,
        ttl: float | None = None,
        limits: Limits | None = None,
        is_there: IsThere | None = None,
    ) -> str:
        limits = bound_by(limits)
        values = self._beginnings.values(new, ttl, self._now())
        if is_there is not None:
            twins = self._batches.twins((new,), limits, lambda key, _: is_there(key))
            twin = next(iter(twins.values()), None)
            if twin is not None:
                joining = {**values, "twin": twin[1]}
                if self._begin(
                    limits, lambda it, again: self._beginnings.join(it, joining, limits, again=again)
                ):
                    return twin[0]
        self._begin(limits, lambda it, again: self._beginnings.write(it, values, limits, again=again))
        return new.location

    def add_many(
        self,
        new: Sequence[Registration],
        *,
        ttl: float | None = None,
        limits: Limits | None = None,
        is_there: HasBytes | None = None,
    ) -> list[str]:
        return self._batches.add(new, ttl, bound_by(limits), is_there, self._now())

    def _begin(self, limits: Limits | None, work: Callable[[Connection, bool], T]) -> T | bool:
        """Run what writes one row of refs: as it is, or in a transaction where limits are counted."""

        def begin(connection: Connection, again: bool) -> T | bool:
            with nullcontext() if limits is None else connection.transaction():
                try:
                    return work(connection, again)
                except UniqueViolation:
                    if again:  # the attempt that was cut off has got through just now
                        return True
                    raise

        return self._database.run(begin)

    def register(
        self,
        location: str,
        check: Callable[[], Registration],
        *,
        ttl: float | None = None,
        limits: Limits | None = None,
    ) -> None:
        limits = bound_by(limits)
        host = host_of(location, self._host)
        key = {"key": key_of(self._database.schema, host, location)}

        def register(connection: Connection, again: bool) -> None:
            with connection.transaction():
                connection.execute(LOCK, key)
                values = self._beginnings.values(check(), ttl, self._now())
                self._beginnings.write(connection, values, limits, again=again)

        self._begin(None, register)

    def register_many(
        self,
        locations: Sequence[str],
        check: Callable[[], Sequence[Registration]],
        *,
        ttl: float | None = None,
        limits: Limits | None = None,
    ) -> None:
        self._batches.register(locations, check, ttl, bound_by(limits), self._now)

    def restore(self, refs: Sequence[Registration], *, owned: bool) -> int:
        return self._batches.restore(refs, owned=owned, now=self._now())

    def share(
        self,
        ref: str,
        new_ref: str,
        scope: str,
        *,
        ttl: float | None = None,
        limits: Limits | None = None,
    ) -> None:
        limits = bound_by(limits)
        old, new = uuid_of(ref), uuid_of(new_ref)
        check_scope(scope)
        values = {"old": old, "ref": new, "scope": scope, "ttl": ttl, "now": self._now()}
        if not self._begin(
            limits, lambda it, again: self._beginnings.share(it, values, limits, again=again)
        ):
            raise self._reading.dead(ref)

    # -- look-ups

    def get(self, ref: str) -> Registration:
        return self._reading.get(ref)

    def knows(self, location: str) -> bool:
        return bool(self._database.rows(_KNOWS, self._place(location)))

    def entry(self, ref: str) -> Entry:
        return self._reading.entry(ref, self._now())

    def entries(
        self,
        scope: str | None = None,
        *,
        nested: bool = False,
        after: Position | None = None,
        newest: bool = False,
    ) -> Iterator[Entry]:
        return self._reading.entries(scope, self._now(), nested=nested, after=after, newest=newest)

    def latest(self) -> list[tuple[str, datetime]]:
        return self._reading.latest()

    def expiring(self, limit: int) -> list[Entry]:
        return self._reading.expiring(limit, self._now())

    def leased(self, limit: int) -> list[Entry]:
        return self._reading.leased(limit, self._now())

    def refs_at(self, location: str) -> Iterator[Registration]:
        return self._reading.refs_at(location)

    def scopes(self) -> list[str]:
        return self._reading.scopes()

    # -- ends

    def release(self, ref: str) -> Ended:
        try:
            values = {"ref": uuid_of(ref)}
        except UnknownRef:
            return Ended()
        return self._end(Why.RELEASED, values, [_REF])

    def release_scope(self, scope: str, *, nested: bool = False, refuse_leased: bool = False) -> Ended:
        first, end = names_below(scope)
        values: dict[str, Any] = {"scope": scope, "first": first, "end": end, "most": ENDED_AT_ONCE}
        if refuse_leased:
            # All or nothing, however many they are.
            values["most"] = None
            mine = _BOTH if nested else _SCOPE
            return self._end(Why.RELEASED, values, [mine], refuse_leased=True)
        statements = [_SCOPE, _NESTED] if nested else [_SCOPE]
        ended = self._end(Why.RELEASED, values, statements)
        more = ended
        while more.refs >= ENDED_AT_ONCE:
            more = self._end(Why.RELEASED, values, statements)
            _merge(ended, more)
        return ended

    def expire(self, max_age: float | None, *, limit: int = 1000) -> Ended:
        values = {"max_age": max_age, "now": self._now(), "most": limit}
        # No transaction for nothing.
        ((by_ttl, by_age),) = self._database.rows(_IS_ANY_DUE, values)
        statements = [it for it, due in zip(_EXPIRE, (by_ttl, by_age), strict=True) if due]
        return self._end(Why.EXPIRED, values, statements) if statements else Ended()

    def due(self, max_age: float | None) -> int:
        ((count,),) = self._database.rows(_DUE, {"max_age": max_age, "now": self._now()})
        return int(count)

    def _end(
        self, why: Why, values: dict[str, Any], statements: list[str], *, refuse_leased: bool = False
    ) -> Ended:
        """End the refs that the statements select, up to `most` of them together, in one transaction."""
        now = self._now()

        def end(connection: Connection) -> Ended:
            ended = Ended()
            ending = Ending(connection, self._database.sql, why, now)
            for mine in statements:
                most = values.get("most")
                left = {**values, "most": None if most is None else most - ended.refs}
                _merge(ended, ending.end(mine, left, refuse_leased=refuse_leased))
            return ended

        ended = self._database.transact(end)
        self._unshortened += ended.refs
        if self._unshortened >= journal.DROPPED // 2:
            # Drops twice what was written, so that the journal keeps its length.
            self._unshortened = 0
            journal.drop_old(self._database, now, self._history_seconds)
        return ended

    # -- deletions

    def reap(
        self,
        delete: Callable[[str], None],
        locations: Iterable[str] | None = None,
        *,
        delete_many: DeleteMany | None = None,
    ) -> Reaped:
        if locations is None:
            locations = (name for name, _, _ in self._reading.waiting(self._now))
        deletion = Deletion(delete, delete_many)
        return Reaper(self._database, self._host, self._clock, deletion).reap(iter(locations))

    def condemned(self) -> Iterator[tuple[str, int]]:
        return ((name, size) for name, size, owned in self._reading.waiting(self._now) if owned)

    # -- variants

    def variant(self, ref: str, name: str) -> str | None:
        rows = self._database.rows(_VARIANT, {"ref": uuid_of(ref), "variant": name})
        if not rows:
            self._reading.check_live(ref)
        return os.fsdecode(rows[0][0]) if rows else None

    def add_variant(
        self, ref: str, name: str, key: str, size: int, sha256: str, *, limits: Limits | None = None
    ) -> str:
        limits = bound_by(limits)
        values = {
            "ref": uuid_of(ref),
            "variant": name,
            "size": size,
            "sha256": sha256,
            **self._place(key),
        }

        def add(connection: Connection, _: bool) -> bool:
            with connection.transaction(), within(limits, self._database, connection, {}):
                return bool(connection.execute(self._database.sql(_ADD_VARIANT), values).rowcount)

        if self._database.run(add):
            return key
        there = self.variant(ref, name)  # raises if the ref is dead
        return key if there is None else there

    # -- leases

    @property
    def leases_lapse(self) -> bool:
        return True

    def lease(self, ref: str, seconds: float) -> tuple[int, Registration]:
        number = secrets.randbits(62)
        values = {
            "ref": uuid_of(ref),
            "number": number,
            "seconds": seconds,
            "holder": process(),
            "host": self._host,
            "now": self._now(),
        }
        rows = self._database.rows(_LEASE, values)
        if not rows:
            raise self._reading.dead(ref)
        return number, self._reading.registration(ref, rows[0])

    def renew(self, leases: Iterable[int], seconds: float) -> list[int]:
        numbers = list(leases)
        values = {"numbers": numbers, "seconds": seconds, "now": self._now()}
        renewed = {number for (number,) in self._database.rows(_RENEW, values)}
        return [number for number in numbers if number not in renewed]

    def end_lease(self, lease: int) -> list[str]:
        values: dict[str, Any] = {"number": lease, "now": self._now()}
        sql = self._database.sql

        def end(connection: Connection) -> list[str]:
            # Two leases of a location that end at once: the second sees that the first has gone.
            rows = connection.execute(sql(_LEASED_LOCATION), values).fetchall()
            if not rows:
                return []
            connection.execute(sql(_END_LEASE), values)
            freed = connection.execute(sql(_FREED), {**values, "id": rows[0][0]}).fetchall()
            return [os.fsdecode(location) for (location,) in freed]

        return self._database.transact(end)

    def forget_lapsed(self) -> int:
        """Forget leases that have lapsed, and shorten the journal; return how many leases."""
        now = self._now()
        sql = self._database.sql(_FORGET_LAPSED)
        lapsed = self._database.run(lambda it, _: it.execute(sql, {"now": now}).rowcount)
        journal.drop_old(self._database, now, self._history_seconds)
        return lapsed

    # -- numbers and the journal

    def use(self) -> Use:
        return self._database.run(lambda it, _: numbers.use(self._database, it))

    def tally(self, majors: Sequence[str]) -> list[Tally]:
        return numbers.tally(self._database, majors)

    def stats(self, *, by_scope: bool = False) -> Stats:
        return numbers.stats(self._database, self._now(), by_scope=by_scope)

    def history(self, ref: str | None = None, scope: str | None = None) -> Iterator[Receipt]:
        return journal.lines(self._database, ref, scope, names_below(scope or ""))

    # -- for reconciling

    def places(self) -> Iterator[Place]:
        return self._reading.places(self._now)

    def is_live(self, location: str) -> bool:
        return bool(self._database.rows(_IS_LIVE, self._place(location)))

    def adopt(self, location: str, size: int) -> None:
        values = {
            **self._place(location),
            "size": size,
            "now": self._now(),
            "what": Why.RECONCILED.value,
            "process": process(),
        }

        def adopt(connection: Connection) -> None:
            for (made,) in connection.execute(self._database.sql(_ADOPT), values).fetchall():
                connection.execute(self._database.sql(_CONDEMN_ADOPTED), {**values, "id": made})

        self._database.transact(adopt)

    def lose(self, location: str) -> int:
        values = {**self._place(location), "now": self._now()}

        def lose(connection: Connection) -> int:
            ending = Ending(connection, self._database.sql, Why.RECONCILED, values["now"])
            ended = ending.end(_AT, values)
            connection.execute(self._database.sql(_HOLD), values)
            connection.execute(self._database.sql(_LOSE), values)
            return ended.refs

        return self._database.transact(lose)

    def faults(self, *, deep: bool = False) -> Iterator[Fault]:
        """Yield what is inconsistent; to check the files under it is the server's own business."""
        yield from checks.faults(self._database, self._now())

    def mend(self) -> None:
        checks.mend(self._database, self._now())

    def close(self) -> None:
        """Close the connections; every other verb raises `CatalogError` from now on."""
        self._database.close()


def _merge(ended: Ended, more: Ended) -> None:
    ended.refs += more.refs
    ended.condemned += more.condemned
    for location, file in more.files.items():
        if location in ended.files:
            ended.files[location].refs += file.refs
        else:
            ended.files[location] = file
