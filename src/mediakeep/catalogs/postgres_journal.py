"""The journal of a PostgreSQL catalog: reading it, and dropping its oldest lines."""

from collections.abc import Iterator
from typing import Any

from mediakeep.catalogs.postgres_database import Connection, Database
from mediakeep.catalogs.postgres_schema import NOW
from mediakeep.catalogs.rows import receipts_of, uuid_of
from mediakeep.errors import UnknownRef
from mediakeep.model import Receipt

PAGE = 500
"""Lines that are read at a time."""

DROPPED = 5000
"""Lines that are dropped at a time."""

_COLUMNS = """
    h.id, h.at, h.what, uuid_send(h.ref), h.scope, h.location, h.size, h.process, h.failed_at, h.error,
    h.deleted_at, h.deleted_by
"""
_ALL = f"SELECT {_COLUMNS} FROM mediakeep.history h WHERE h.id > %(after)s ORDER BY h.id LIMIT {PAGE}"
# The + 0 keeps the server from reading the whole journal in its order, in the hope of a few matches.
# The end of the ref itself, and what became of its file, whichever ref was the last.
_OF_REF = f"""
    SELECT {_COLUMNS} FROM mediakeep.history h
    WHERE h.id > %(after)s AND (
        h.ref = %(ref)s::uuid OR (h.failed_at IS NOT NULL OR h.deleted_at IS NOT NULL)
    ) AND h.location_id IN (SELECT location_id FROM mediakeep.history WHERE ref = %(ref)s::uuid)
    ORDER BY h.id + 0 LIMIT {PAGE}
"""
# One scope at a time is one range of the index each; together they are put in order.
_OF_SCOPE = f"""
    SELECT {_COLUMNS} FROM (
        (SELECT * FROM mediakeep.history WHERE scope = %(scope)s AND id > %(after)s
            ORDER BY scope, id LIMIT {PAGE})
        UNION ALL
        (SELECT * FROM mediakeep.history WHERE scope >= %(first)s AND scope < %(end)s AND id > %(after)s
            ORDER BY id + 0 LIMIT {PAGE})
    ) h ORDER BY h.id LIMIT {PAGE}
"""

# The oldest lines by number, those that tell of what is still condemned excepted. Nothing more is read
# if the very oldest is young enough; the OFFSET keeps the server from reading all that is condemned.
_DROP = f"""
    WITH oldest AS MATERIALIZED (
        SELECT id, at FROM mediakeep.history
        WHERE (SELECT at FROM mediakeep.history ORDER BY id LIMIT 1) < {NOW} - %(kept)s::float8
        ORDER BY id LIMIT {DROPPED}
    )
    DELETE FROM mediakeep.history WHERE id = ANY (ARRAY(
        SELECT o.id FROM oldest o WHERE o.at < {NOW} - %(kept)s::float8
            AND NOT EXISTS (SELECT 1 FROM mediakeep.locations WHERE condemned = o.id OFFSET 0)
    ))
"""


def lines(
    database: Database, ref: str | None, scope: str | None, below: tuple[str, str]
) -> Iterator[Receipt]:
    """Yield the lines: all, or those of a ref and its file, or of a scope and those `below` it."""
    values: dict[str, Any] = {"scope": scope, "first": below[0], "end": below[1]}
    if ref is not None:
        try:
            values["ref"] = uuid_of(ref)
        except UnknownRef:
            return
    statement = _OF_REF if ref is not None else _OF_SCOPE if scope is not None else _ALL
    inside = None if ref is None else scope
    after = 0
    while True:
        rows = database.rows(statement, {**values, "after": after})
        for row in rows:
            if inside is None or row[4] == inside or below[0] <= row[4] < below[1]:
                yield from receipts_of(row, ref)
        if len(rows) < PAGE:
            return
        after = rows[-1][0]


def drop_old(database: Database, now: float | None, kept_seconds: float) -> int:
    """Drop those of the oldest lines whose time is over; return how many."""

    def drop(connection: Connection, _: bool) -> int:
        values = {"now": now, "kept": kept_seconds}
        return connection.execute(database.sql(_DROP), values).rowcount

    return database.run(drop)
