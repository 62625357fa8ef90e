"""An SQLite catalog in numbers."""

import sqlite3
from collections.abc import Sequence
from typing import Any

from mediakeep.catalogs import Tally, Use
from mediakeep.catalogs.rows import stats_of
from mediakeep.catalogs.rules import NAMED_FAILURES
from mediakeep.model import Stats

_LOCATIONS = """
    SELECT count(*) FILTER (WHERE condemned IS NULL AND variant_of IS NULL),
           count(*) FILTER (WHERE condemned IS NULL AND variant_of IS NULL AND owned),
           coalesce(sum(size) FILTER (WHERE condemned IS NULL AND variant_of IS NULL), 0),
           count(*) FILTER (WHERE condemned IS NULL AND variant_of IS NOT NULL),
           coalesce(sum(size) FILTER (WHERE condemned IS NULL AND variant_of IS NOT NULL), 0),
           count(*) FILTER (WHERE condemned IS NOT NULL AND owned),
           coalesce(sum(size) FILTER (WHERE condemned IS NOT NULL AND owned), 0)
    FROM locations
"""

# Of blobs only: a path is no copy that would have been made.
_SAVED = """
    SELECT coalesce(sum((n - 1) * size), 0)
    FROM (SELECT location_id, count(*) AS n FROM refs GROUP BY location_id HAVING n > 1)
    JOIN locations ON locations.id = location_id
    WHERE substr(location, 1, 1) <> x'2f'
"""

_SCOPES = """
    SELECT scope, sum(n), count(*), sum(size)
    FROM (SELECT scope, location_id, count(*) AS n FROM refs GROUP BY scope, location_id)
    JOIN locations ON locations.id = location_id
    GROUP BY scope ORDER BY scope
"""


# Only what is one of the majors comes out: a content type is any text. In the order of the table, and
# not of an index that does not have the meta, it takes half the time.
_TALLY = """
    WITH typed AS MATERIALIZED (
        SELECT scope, location_id, json_extract(meta, '$.content_type') AS type FROM refs NOT INDEXED
    )
    SELECT scope, CASE {majors} ELSE '' END AS major, count(*), sum(size)
    FROM typed JOIN locations ON locations.id = location_id
    GROUP BY 1, 2
"""


def tally(db: sqlite3.Connection, majors: Sequence[str]) -> list[Tally]:
    """Return how many refs of which sort each scope has."""
    cases = (f"WHEN type LIKE :m{n} || '/%' THEN :m{n}" for n in range(len(majors)))
    sql = _TALLY.format(majors=" ".join(cases) or "WHEN false THEN ''")
    return [Tally(*row) for row in db.execute(sql, {f"m{n}": it for n, it in enumerate(majors)})]


def use(db: sqlite3.Connection) -> Use:
    """Return how much the books name."""
    return Use(*db.execute("SELECT files, size FROM totals").fetchone())


def stats(db: sqlite3.Connection, now: dict[str, Any], *, by_scope: bool) -> Stats:
    """Return all numbers, of one moment."""
    db.execute("BEGIN")  # one snapshot for all of them
    try:
        refs = db.execute("SELECT count(*), min(stored_at), count(DISTINCT scope) FROM refs").fetchone()
        locations = db.execute(_LOCATIONS).fetchone()
        (saved,) = db.execute(_SAVED).fetchone()
        failed = db.execute(
            "SELECT location, error, attempts FROM locations"
            f" WHERE condemned IS NOT NULL AND attempts > 0 LIMIT {NAMED_FAILURES}"
        ).fetchall()
        leases = db.execute(
            "SELECT count(*), count(DISTINCT location_id) FROM leases"
            " WHERE deadline >= :now AND boot = :boot",
            now,
        ).fetchone()
        scopes = db.execute(_SCOPES).fetchall() if by_scope else []
    finally:
        db.execute("COMMIT")
    return stats_of(refs, locations, leases, saved, failed, scopes)
