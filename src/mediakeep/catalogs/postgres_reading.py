"""Looking things up in a PostgreSQL catalog."""

import os
import random
from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Any

from mediakeep.catalogs import Place, Registration, Why
from mediakeep.catalogs.listing import Spot, stretches
from mediakeep.catalogs.postgres_database import Database
from mediakeep.catalogs.postgres_hosts import SHARED, host_of, name_of
from mediakeep.catalogs.postgres_schema import LEASED, NOW
from mediakeep.catalogs.rows import entry_of, meta_and_types, place_of, uuid_of
from mediakeep.clocks import time_of
from mediakeep.errors import MediaElsewhere, UnknownRef
from mediakeep.model import Entry, Position

PAGE = 500
"""Rows that are read at a time, so that nobody holds a snapshot for long."""

COLUMNS = """
    r.scope, coalesce(l.whole, l.location), r.path, r.meta, l.size, l.sha256, r.stored_at, r.expires_at,
    l.host
"""
_GET = f"""
    SELECT {COLUMNS} FROM mediakeep.refs r JOIN mediakeep.locations l ON l.id = r.location_id
    WHERE r.ref = %(ref)s::uuid
"""
_IS_LIVE = "SELECT 1 FROM mediakeep.refs WHERE ref = %(ref)s::uuid"
# The + 0 keeps the server from reading the journal backwards until it finds one.
_DEAD = """
    SELECT what, scope FROM mediakeep.history WHERE ref = %(ref)s::uuid ORDER BY id + 0 DESC LIMIT 1
"""

# A page of refs first, then the counts: once for each of their locations, however many refs it has.
_ENTRIES = f"""
    WITH page AS MATERIALIZED (SELECT * FROM mediakeep.refs r {{where}}),
        counts AS (
            SELECT location_id, count(*) AS refs FROM mediakeep.refs
            WHERE location_id = ANY (ARRAY(SELECT location_id FROM page)) GROUP BY location_id
        )
    SELECT r.ref::text, r.scope, coalesce(l.whole, l.location), r.path, r.meta, l.size, l.sha256,
           r.stored_at, r.expires_at, l.owned, c.refs,
           (SELECT count(*) FROM mediakeep.leases WHERE location_id = l.id AND deadline >= {NOW})
    FROM page r JOIN mediakeep.locations l ON l.id = r.location_id
        JOIN counts c ON c.location_id = l.id
    ORDER BY {{order}}
"""
_ENTRY = _ENTRIES.format(where="WHERE r.ref = %(ref)s::uuid", order="r.ref")
_PLACE = "(%(scope)s, %(stored_at)s, %(ref)s::uuid)"


def _page(where: str, order: str) -> str:
    return _ENTRIES.format(where=f"WHERE {where} ORDER BY {order} LIMIT {PAGE}", order=order)


_EXPIRING = _ENTRIES.format(
    where="WHERE r.expires_at IS NOT NULL ORDER BY r.expires_at LIMIT %(limit)s",
    order="r.expires_at, r.ref",
)
# One ref of each location that is held; several leases may hold one.
_LEASED = _ENTRIES.format(
    where=f"""WHERE r.ref = ANY (ARRAY(
        SELECT (
            SELECT ref FROM mediakeep.refs WHERE location_id = held.location_id ORDER BY ref LIMIT 1
        ) FROM (
            SELECT DISTINCT location_id FROM (
                SELECT location_id FROM mediakeep.leases WHERE deadline >= {NOW}
                ORDER BY deadline LIMIT 10 * %(limit)s::bigint
            ) live LIMIT %(limit)s
        ) held
    ))""",
    order="r.ref",
)
_OLDEST = "r.scope, r.stored_at, r.ref"
_FROM = _page(f"({_OLDEST}) > {_PLACE}", _OLDEST)
_FROM_TO = _page(f"({_OLDEST}) > {_PLACE} AND r.scope < %(end)s", _OLDEST)
_NEWEST = "r.scope DESC, r.stored_at DESC, r.ref DESC"
_BACK = _page("r.scope >= %(first)s", _NEWEST)
_BACK_FROM = _page(f"({_OLDEST}) < {_PLACE} AND r.scope >= %(first)s", _NEWEST)

_REFS_AT = f"""
    SELECT r.ref::text, {COLUMNS}
    FROM mediakeep.refs r JOIN mediakeep.locations l ON l.id = r.location_id
    WHERE r.location_id = (
            SELECT id FROM mediakeep.locations WHERE location = %(name)s AND host = %(host)s
        ) AND r.ref > %(after)s::uuid
    ORDER BY r.ref LIMIT {PAGE}
"""

# One seek per scope, however many refs each of them has.
_SCOPES = """
    WITH RECURSIVE names (name) AS (
        (SELECT scope FROM mediakeep.refs ORDER BY scope LIMIT 1)
        UNION ALL
        SELECT (SELECT scope FROM mediakeep.refs WHERE scope > name ORDER BY scope LIMIT 1) FROM names
        WHERE name IS NOT NULL
    )
    SELECT name FROM names WHERE name IS NOT NULL
"""
# Two seeks per scope, however many refs each of them has.
_LATEST = _SCOPES.replace(
    "SELECT name FROM names WHERE",
    """SELECT name, (
        SELECT stored_at FROM mediakeep.refs WHERE scope = name
        ORDER BY scope DESC, stored_at DESC LIMIT 1
    ) FROM names WHERE""",
)
_WAITING = f"""
    SELECT coalesce(l.whole, l.location), l.size, l.owned, l.condemned FROM mediakeep.locations l
    WHERE l.host = %(host)s AND l.condemned > %(after)s AND l.condemned <= %(end)s AND NOT {LEASED}
    ORDER BY l.condemned LIMIT {PAGE}
"""
# The first and the last entry of an index; both are NULL where nothing is condemned.
_SPAN = """
    SELECT min(condemned), max(condemned) FROM mediakeep.locations
    WHERE host = %(host)s AND condemned IS NOT NULL
"""
_LAST = 2**63 - 1
"""The greatest line that a journal can have."""
_PLACES = f"""
    SELECT coalesce(l.whole, l.location), l.size, l.sha256, l.condemned IS NOT NULL, {LEASED}, l.location
    FROM mediakeep.locations l WHERE l.location > %(after)s AND l.host IN ('', %(host)s)
    ORDER BY l.location LIMIT 2000
"""


class Reading:
    """Reads a catalog as it is seen from a host.

    Args:
        database: the catalog's database.
        host: whose local paths are spoken of.
    """

    def __init__(self, database: Database, host: str) -> None:
        self._database = database
        self._host = host
        self._get = database.sql(_GET)

    def get(self, ref: str) -> Registration:
        """Return the live `ref`.

        Raises:
            UnknownRef: it is not live.
            MediaElsewhere: it is a path of another host.
        """
        values = {"ref": uuid_of(ref)}
        rows = self._database.run(lambda it, _: it.execute(self._get, values).fetchall())
        if not rows:
            raise self.dead(ref)
        return self.registration(ref, rows[0])

    def registration(self, ref: str, row: tuple[Any, ...]) -> Registration:
        """Return what a row of `COLUMNS` stands for.

        Raises:
            MediaElsewhere: it is a path of another host.
        """
        scope, location, path, meta, size, sha256, stored_at, expires_at, host = row
        location, given = place_of(location, path)
        if host not in (SHARED, self._host):
            raise MediaElsewhere.at(ref, given or location, host, self._host)
        meta, declared, detected = meta_and_types(meta)
        return Registration(
            ref, scope, location, given, meta, size, sha256, declared, detected, stored_at, expires_at
        )

    def dead(self, ref: str) -> UnknownRef:
        """Return the error for a ref that is not live."""
        rows = self._database.rows(_DEAD, {"ref": ref[8:]})
        return Why(rows[0][0]).error(ref, rows[0][1]) if rows else UnknownRef(ref)

    def check_live(self, ref: str) -> None:
        """Raise the error for a ref that is not live, if it is none."""
        if not self._database.rows(_IS_LIVE, {"ref": ref[8:]}):
            raise self.dead(ref)

    def entry(self, ref: str, now: float | None) -> Entry:
        """Return all that is known of the live `ref`, on whatever host its file is."""
        rows = self._database.rows(_ENTRY, {"ref": uuid_of(ref), "now": now})
        if not rows:
            raise self.dead(ref)
        return entry_of(ref, rows[0][1:])

    def entries(
        self,
        scope: str | None,
        now: float | None,
        *,
        nested: bool,
        after: Position | None,
        newest: bool,
    ) -> Iterator[Entry]:
        """Yield the entries as `Catalog.entries` does."""
        for first, end, place in stretches(scope, after, "\x01", nested=nested, newest=newest):
            while True:
                values: dict[str, Any] = {"first": first, "end": end, "now": now}
                if place is not None:
                    values |= {**_without_nul(place)._asdict(), "ref": uuid_of(place.ref)}
                if newest:
                    statement = _BACK if place is None else _BACK_FROM
                else:
                    statement = _FROM if end is None else _FROM_TO
                rows = self._database.rows(statement, values)
                yield from (entry_of(f"media://{row[0]}", row[1:]) for row in rows)
                if len(rows) < PAGE:
                    break
                place = Spot(rows[-1][1], rows[-1][7], f"media://{rows[-1][0]}")

    def latest(self) -> list[tuple[str, datetime]]:
        """Return the scopes, each with the time of its newest ref."""
        return [(name, time_of(at)) for name, at in self._database.rows(_LATEST)]

    def expiring(self, limit: int, now: float | None) -> list[Entry]:
        """Return the entries that end next, the first of them first."""
        rows = self._database.rows(_EXPIRING, {"limit": limit, "now": now})
        return [entry_of(f"media://{row[0]}", row[1:]) for row in rows]

    def leased(self, limit: int, now: float | None) -> list[Entry]:
        """Return entries of files that a lease holds, one of each file."""
        rows = self._database.rows(_LEASED, {"limit": limit, "now": now})
        return [entry_of(f"media://{row[0]}", row[1:]) for row in rows]

    def refs_at(self, location: str) -> Iterator[Registration]:
        """Yield the live refs of a location as it is spoken of on this host."""
        values = {"name": name_of(location)[0], "host": host_of(location, self._host)}
        after = "00000000-0000-0000-0000-000000000000"
        while True:
            rows = self._database.rows(_REFS_AT, {**values, "after": after})
            yield from (self.registration(f"media://{row[0]}", row[1:]) for row in rows)
            if len(rows) < PAGE:
                return
            after = rows[-1][0]

    def scopes(self) -> list[str]:
        """Return the scopes that have a live ref, sorted."""
        return [name for (name,) in self._database.rows(_SCOPES)]

    def waiting(self, now: Callable[[], float | None]) -> Iterator[tuple[str, int, bool]]:
        """Yield location, size and ownership of what has no ref and no live lease, and is ours to reap.

        What other hosts have left is theirs. `now` gives the value of the clock, if there is one. They
        come in no order, a page here and a page there, so that those who reap together seldom meet.
        """
        for host in (SHARED, self._host):
            ((first, last),) = self._database.rows(_SPAN, {"host": host})
            if first is None:
                continue
            # No more than two for each page that is full: there are few where little is condemned.
            ranges = _halves(first - 1, _LAST, last)
            while ranges:
                after, end = ranges.pop(random.randrange(len(ranges)))  # noqa: S311
                values = {"host": host, "after": after, "end": end, "now": now()}
                rows = self._database.rows(_WAITING, values)
                for location, size, owned, _ in rows:
                    yield os.fsdecode(location), size, owned
                if len(rows) == PAGE:
                    ranges += _halves(rows[-1][3], end, last)

    def places(self, now: Callable[[], float | None]) -> Iterator[Place]:
        """Yield blobs and the paths of this host, in the order of their bytes.

        Only paths that have their first 968 bytes in common are in no particular order.
        """
        after = b""
        while True:
            values = {"host": self._host, "after": after, "now": now()}
            rows = self._database.rows(_PLACES, values)
            for location, size, sha256, condemned, leased, _ in rows:
                yield Place(os.fsdecode(location), size, sha256, condemned, leased)
            if not rows:
                return
            after = rows[-1][5]


def _without_nul(place: Spot) -> Spot:
    """Return the same place for a server that knows no NUL: what a scope of here comes before."""
    scope, nul, _ = place.scope.partition("\0")
    return Spot(scope, float("inf"), place.ref) if nul else place


def _halves(after: int, end: int, last: int) -> list[tuple[int, int]]:
    """Return two ranges of lines that are `after` to `end`, divided anywhere before `last`."""
    middle = random.randint(after, max(after, min(end, last)))  # noqa: S311
    return [it for it in ((after, middle), (middle, end)) if it[0] < it[1]]
