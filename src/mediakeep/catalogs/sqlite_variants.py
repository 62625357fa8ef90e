"""Blobs made from others, in an SQLite catalog."""

import json
import os
import sqlite3
from collections.abc import Callable
from typing import Any

from mediakeep.catalogs import EndedFile

_VARIANT = """
    SELECT location FROM locations
    WHERE variant_of = (SELECT location_id FROM refs WHERE ref = ?) AND variant = ? AND condemned IS NULL
"""
_ADD_VARIANT = """
    INSERT INTO locations (location, owned, size, sha256, variant_of, variant)
    SELECT ?, 1, ?, ?, location_id, ? FROM refs WHERE ref = ?
"""
_VARIANTS_OF_ENDED = """
    SELECT id, location, size, variant_of FROM locations
    WHERE variant_of IN (SELECT value FROM json_each(?)) AND condemned IS NULL
        AND NOT EXISTS (SELECT 1 FROM refs WHERE location_id IN (locations.id, variant_of))
"""


def variant(db: sqlite3.Connection, ref: bytes, name: str) -> str | None:
    """Return the variant `name` of what `ref` names."""
    row = db.execute(_VARIANT, (ref, name)).fetchone()
    return None if row is None else os.fsdecode(row[0])


def add_variant(db: sqlite3.Connection, ref: bytes, name: str, key: str, size: int, sha256: str) -> None:
    """Write down a blob as the variant `name` of what the live `ref` names."""
    db.execute(_ADD_VARIANT, (os.fsencode(key), size, sha256, name, ref))


def condemn_variants(
    db: sqlite3.Connection,
    ended: dict[int, tuple[bytes, str]],
    first_line: int,
    note: Callable[[list[tuple[int, bytes, str, bytes, int]]], object],
) -> dict[str, EndedFile]:
    """Condemn the variants of those of the `ended` locations that have no ref left; return them.

    `ended` gives the ref and scope that each location had last. `note` writes lines of the journal,
    each with its number, ref, scope, location and size.
    """
    rows: list[Any] = db.execute(_VARIANTS_OF_ENDED, (json.dumps(list(ended)),)).fetchall()
    if rows:
        numbered = list(enumerate(rows, first_line))
        note([(line, *ended[of], location, size) for line, (_, location, size, of) in numbered])
        db.executemany(
            "UPDATE locations SET condemned = ? WHERE id = ?", [(line, row[0]) for line, row in numbered]
        )
    return {os.fsdecode(location): EndedFile(size, owned=True) for _, location, size, _ in rows}
