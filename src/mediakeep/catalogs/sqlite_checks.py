"""What can be wrong inside an SQLite catalog, and what puts it right."""

import os
import sqlite3
from collections.abc import Iterator
from typing import Any

from mediakeep.catalogs import Fault
from mediakeep.catalogs.rows import ref_of

NAMED = 1000
"""How many rows of one fault are named."""

_REFLESS = """
    condemned IS NULL
    AND NOT EXISTS (SELECT 1 FROM refs WHERE location_id IN (locations.id, locations.variant_of))
"""
_CONDEMNED_ALIVE = """
    condemned IS NOT NULL AND EXISTS (SELECT 1 FROM refs WHERE location_id = locations.id)
"""
_HOMELESS = "NOT EXISTS (SELECT 1 FROM locations WHERE id = refs.location_id)"
_TOTALS = "SELECT count(*), coalesce(sum(size), 0) FROM locations"


def faults(db: sqlite3.Connection, now: dict[str, Any], *, deep: bool) -> list[Fault]:
    """Return what contradicts itself or is out of date; with `deep` also by SQLite's own check."""
    db.execute("BEGIN")  # one snapshot: what is compared is of one moment
    try:
        return list(_faults(db, now, deep=deep))
    finally:
        db.execute("COMMIT")


def _faults(db: sqlite3.Connection, now: dict[str, Any], *, deep: bool) -> Iterator[Fault]:
    if deep:
        for (problem,) in db.execute("PRAGMA integrity_check(100)").fetchall():
            if problem != "ok":
                yield Fault("books", "catalog.db", problem, "restore it from a backup")
    for ref, scope in _rows(db, f"SELECT ref, scope FROM refs WHERE {_HOMELESS}"):
        yield Fault(
            "books", ref_of(ref), f"a ref of scope {scope!r} without a location", "mending ends it"
        )
    for (location,) in _rows(db, f"SELECT location FROM locations WHERE {_REFLESS}"):
        yield Fault(
            "books",
            os.fsdecode(location),
            "no ref names it, and it is not condemned",
            "mending condemns it if it is owned, and forgets it if it is borrowed",
        )
    for (location,) in _rows(db, f"SELECT location FROM locations WHERE {_CONDEMNED_ALIVE}"):
        yield Fault(
            "books",
            os.fsdecode(location),
            "it is condemned although a live ref names it",
            "mending takes the condemnation back",
        )
    said = db.execute("SELECT files, size FROM totals").fetchone()
    found = db.execute(_TOTALS).fetchone()
    if said != found:
        reason = f"say {said} files and bytes, and the rows add up to {found}"
        yield Fault("books", "totals", reason, "mending adds them up again")
    sql = "SELECT number, holder FROM leases WHERE deadline < :now OR boot <> :boot"
    for number, holder in _rows(db, sql, now):
        yield Fault("lease", str(number), f"of {holder} has lapsed", "a sweep forgets it")


def mend(db: sqlite3.Connection, now: dict[str, Any], *, at: float, by: str) -> None:
    """Put right what `faults` finds; deletes no bytes, it only condemns."""
    db.execute(f"DELETE FROM refs WHERE {_HOMELESS}")
    db.execute(f"UPDATE locations SET condemned = NULL, attempts = 0 WHERE {_CONDEMNED_ALIVE}")
    (line,) = db.execute("SELECT coalesce(max(id), 0) FROM history").fetchone()
    adrift = db.execute(
        f"SELECT id, location, size FROM locations WHERE owned AND {_REFLESS}"
    ).fetchall()
    db.executemany(
        "INSERT INTO history (id, at, what, scope, location, size, process)"
        " VALUES (?, ?, 'reconciled', '', ?, ?, ?)",
        [(line + i, at, location, size, by) for i, (_, location, size) in enumerate(adrift, 1)],
    )
    db.executemany(
        "UPDATE locations SET condemned = ? WHERE id = ?",
        [(line + i, location_id) for i, (location_id, _, _) in enumerate(adrift, 1)],
    )
    db.execute(f"DELETE FROM locations WHERE NOT owned AND {_REFLESS}")
    db.execute("DELETE FROM leases WHERE deadline < :now OR boot <> :boot", now)
    db.execute(f"UPDATE totals SET (files, size) = ({_TOTALS})")


def _rows(db: sqlite3.Connection, sql: str, values: dict[str, Any] | None = None) -> list[Any]:
    return db.execute(f"{sql} LIMIT {NAMED}", values or {}).fetchall()
