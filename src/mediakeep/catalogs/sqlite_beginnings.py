"""New refs in an SQLite catalog, one or many in a transaction."""

import json
import os
import sqlite3
from collections.abc import Mapping, Sequence

from mediakeep.catalogs import HasBytes, Registration
from mediakeep.catalogs import sqlite_numbers as numbers
from mediakeep.catalogs.contents import Content, contents_of
from mediakeep.catalogs.records import ORDER_SECONDS, moment
from mediakeep.catalogs.rows import bytes_of, said_of
from mediakeep.catalogs.rules import check_room, check_scope_room, is_going, lives_elsewhere, location_of
from mediakeep.model import CleanupPolicy, Limits

# A location that has a ref keeps it that long: once borrowed, it stays so.
_PLACE = """
    INSERT INTO locations (location, owned, size, sha256) VALUES (?, ?, ?, ?)
    ON CONFLICT (location) DO UPDATE SET
        owned = CASE WHEN EXISTS (SELECT 1 FROM refs WHERE location_id = id)
                     THEN min(owned, excluded.owned) ELSE excluded.owned END,
        size = excluded.size,
        sha256 = CASE excluded.sha256 WHEN '' THEN sha256 ELSE excluded.sha256 END,
        condemned = NULL, attempts = 0, error = '',
        variant_of = NULL, variant = ''
    RETURNING id
"""
_ENTER = "INSERT INTO refs VALUES (?, ?, ?, ?, ?, ?, ?)"

# The plus keeps SQLite from putting the value into substr(), which is then no longer the index.
_TWINS = """
    SELECT location FROM locations
    WHERE substr(sha256, 1, 16) = substr(:sha256, 1, 16) AND sha256 <> '' AND +sha256 = :sha256
        AND size = :size AND owned = :owned AND condemned IS NULL AND variant_of IS NULL
        AND EXISTS (SELECT 1 FROM refs WHERE location_id = id AND (:scope IS NULL OR scope = :scope))
"""

_SCOPE = """
    SELECT coalesce(sum(size), 0),
           coalesce(sum(size) FILTER (WHERE NOT EXISTS (
               SELECT 1 FROM refs WHERE location_id = locations.id AND scope = :scope
                   AND hex(ref) NOT IN (SELECT value FROM json_each(:new))
           )), 0)
    FROM locations WHERE id IN (SELECT location_id FROM refs WHERE scope = :scope)
"""

_WHERE_IS = """
    SELECT l.location FROM refs r JOIN locations l ON l.id = r.location_id WHERE r.ref = ?
"""


def twins(
    db: sqlite3.Connection, new: Sequence[Registration], limits: Limits | None, is_there: HasBytes
) -> dict[Content, str]:
    """Return, by what they contain, the live blobs that have the bytes of the `new` ones."""
    found = {}
    for content, one in contents_of(new, limits).items():
        for (location,) in db.execute(_TWINS, content._asdict()).fetchall():
            if is_there(os.fsdecode(location), one):
                found[content] = os.fsdecode(location)
                break
    return found


def write(
    db: sqlite3.Connection,
    new: Sequence[Registration],
    now: float,
    ttl: float | None,
    limits: Limits | None,
) -> None:
    """Write down new refs of locations that become live.

    Raises:
        QuotaExceeded: they would pass the limits; then the transaction must not be committed.
    """
    before = None if limits is None else numbers.use(db)
    now = moment(now)
    for it in new:
        owned = it.meta.cleanup_policy is CleanupPolicy.DELETE_ON_CLEANUP
        place = _place(db, it, owned)
        _enter(db, it, place, now, None if ttl is None else now + ttl)
        now = moment(now + ORDER_SECONDS)
    if limits is not None and before is not None:
        check_room(limits, before, numbers.use(db))
        if limits.max_scope_bytes is not None:
            _check_scopes(db, new, limits)


def restore(db: sqlite3.Connection, refs: Sequence[Registration], *, owned: bool) -> int:
    """Write down those of the refs that are not live; return how many."""
    location = location_of(refs)
    missing = {}
    for it in refs:
        row = db.execute(_WHERE_IS, (bytes_of(it.ref),)).fetchone()
        if row is None:
            missing[it.ref] = it
        elif os.fsdecode(row[0]) != location:
            raise lives_elsewhere(it.ref, os.fsdecode(row[0]), location)
    condemned = "SELECT 1 FROM locations WHERE location = ? AND condemned IS NOT NULL"
    if not os.path.isabs(location) and db.execute(condemned, (os.fsencode(location),)).fetchone():
        raise is_going(location)
    place = _place(db, refs[0], owned)
    for it in missing.values():
        _enter(db, it, place, moment(it.stored_at), it.expires_at)
    return len(missing)


def _place(db: sqlite3.Connection, new: Registration, owned: bool) -> int:
    """Make the location of `new` live, or join the live one; return its id."""
    values = (os.fsencode(new.location), owned, new.size, new.sha256)
    ((location_id,),) = db.execute(_PLACE, values).fetchall()
    return int(location_id)


def _enter(
    db: sqlite3.Connection, new: Registration, place: int, stored_at: float, expires_at: float | None
) -> None:
    path = None if new.given in (None, new.location) else os.fsencode(str(new.given))
    values = (bytes_of(new.ref), place, new.scope, path, said_of(new), stored_at, expires_at)
    db.execute(_ENTER, values)


def _check_scopes(db: sqlite3.Connection, new: Sequence[Registration], limits: Limits) -> None:
    refs: Mapping[str, list[str]] = {it.scope: [] for it in new}
    for it in new:
        refs[it.scope].append(bytes_of(it.ref).hex().upper())
    for scope, here in refs.items():
        values = {"scope": scope, "new": json.dumps(here)}
        size, more = db.execute(_SCOPE, values).fetchone()
        check_scope_room(limits, scope, size, more)
