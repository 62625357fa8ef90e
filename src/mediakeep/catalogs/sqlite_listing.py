"""Listing the entries of an SQLite catalog, a page at a time."""

import sqlite3
from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Any

from mediakeep.catalogs.listing import Spot, stretches
from mediakeep.catalogs.rows import bytes_of, entry_of, ref_of
from mediakeep.catalogs.sqlite_file import SqliteFile
from mediakeep.clocks import time_of
from mediakeep.model import Entry, Position

PAGE = 500
"""Rows that are read at a time, so that no reader holds the write-ahead log for long."""

# A page of refs first, then the counts: once for each of their locations, however many refs it has.
_ENTRIES = """
    WITH page AS (SELECT * FROM refs r {where}),
        counts AS (
            SELECT location_id, count(*) AS refs FROM refs
            WHERE location_id IN (SELECT location_id FROM page) GROUP BY location_id
        )
    SELECT r.ref, r.scope, l.location, r.path, r.meta, l.size, l.sha256, r.stored_at, r.expires_at,
           l.owned, c.refs,
           (SELECT count(*) FROM leases WHERE location_id = l.id AND deadline >= :now AND boot = :boot)
    FROM page r JOIN locations l ON l.id = r.location_id JOIN counts c ON c.location_id = l.id
    ORDER BY {order}
"""
ENTRY = _ENTRIES.format(where="WHERE r.ref = :ref", order="r.ref")
"""One row: that of a ref, then those that `entry_of` reads."""

_EXPIRING = _ENTRIES.format(
    where="WHERE expires_at IS NOT NULL ORDER BY expires_at, stored_at LIMIT :limit",
    order="r.expires_at, r.ref",
)
# One ref of each location that is held.
_LEASED = _ENTRIES.format(
    where="""WHERE ref IN (
        SELECT (SELECT min(ref) FROM refs WHERE location_id = held.location_id) FROM (
            SELECT DISTINCT location_id FROM leases WHERE deadline >= :now AND boot = :boot LIMIT :limit
        ) held
    )""",
    order="r.ref",
)

# What an older version wrote is not of whole microseconds, so that its own place may be before it.
_OLDEST = f"""
    WHERE (scope, stored_at, ref) > (:scope, :stored_at, :ref) AND ref <> :ref {{bound}}
    ORDER BY scope, stored_at, ref LIMIT {PAGE}
"""
_NEWEST = f"""
    WHERE scope >= :first {{bound}}
    ORDER BY scope DESC, stored_at DESC, ref DESC LIMIT {PAGE}
"""
_BEHIND = "AND (scope, stored_at, ref) < (:scope, :stored_at, :ref) AND ref <> :ref"


def entries(
    file: SqliteFile,
    now: Callable[[], dict[str, Any]],
    scope: str | None,
    *,
    nested: bool,
    after: Position | None,
    newest: bool,
) -> Iterator[Entry]:
    """Yield the entries as `Catalog.entries` does; `now` gives the time for leases."""
    for first, end, place in stretches(scope, after, "\0", nested=nested, newest=newest):
        while True:
            values = {"first": first, "end": end, **now()}
            if place is not None:
                values |= {**place._asdict(), "ref": bytes_of(place.ref)}
            with file.read() as db:
                rows = db.execute(_page(end, place, newest=newest), values).fetchall()
            yield from (entry_of(ref_of(row[0]), row[1:]) for row in rows)
            if len(rows) < PAGE:
                break
            place = Spot(rows[-1][1], rows[-1][7], ref_of(rows[-1][0]))


# Two seeks per scope, however many refs each of them has.
_LATEST = """
    WITH RECURSIVE names (name) AS (
        SELECT min(scope) FROM refs
        UNION ALL
        SELECT (SELECT min(scope) FROM refs WHERE scope > name) FROM names WHERE name IS NOT NULL
    )
    SELECT name, (SELECT max(stored_at) FROM refs WHERE scope = name)
    FROM names WHERE name IS NOT NULL
"""


def latest(db: sqlite3.Connection) -> list[tuple[str, datetime]]:
    """Return the scopes, each with the time of its newest ref."""
    return [(name, time_of(at)) for name, at in db.execute(_LATEST)]


def expiring(db: sqlite3.Connection, limit: int, now: dict[str, Any]) -> list[Entry]:
    """Return the entries that end next, the first of them first."""
    rows = db.execute(_EXPIRING, {"limit": limit, **now}).fetchall()
    return [entry_of(ref_of(row[0]), row[1:]) for row in rows]


def leased(db: sqlite3.Connection, limit: int, now: dict[str, Any]) -> list[Entry]:
    """Return entries of files that a lease holds, one of each file."""
    rows = db.execute(_LEASED, {"limit": limit, **now}).fetchall()
    return [entry_of(ref_of(row[0]), row[1:]) for row in rows]


def _page(end: str | None, place: Spot | None, *, newest: bool) -> str:
    if newest:
        where = _NEWEST.format(bound="" if place is None else _BEHIND)
        return _ENTRIES.format(where=where, order="r.scope DESC, r.stored_at DESC, r.ref DESC")
    where = _OLDEST.format(bound="" if end is None else "AND scope < :end")
    return _ENTRIES.format(where=where, order="r.scope, r.stored_at, r.ref")
