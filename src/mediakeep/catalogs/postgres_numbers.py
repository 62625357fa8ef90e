"""A PostgreSQL catalog in numbers. `stats` counts what there is, so its cost grows with it."""

from collections.abc import Sequence
from typing import Any

from mediakeep.catalogs import Tally, Use
from mediakeep.catalogs.postgres_database import Connection, Database
from mediakeep.catalogs.postgres_schema import NOW
from mediakeep.catalogs.rows import stats_of
from mediakeep.catalogs.rules import NAMED_FAILURES
from mediakeep.model import Stats

USE = "SELECT sum(files)::bigint, sum(size)::bigint FROM mediakeep.totals"

_REFS = "SELECT count(*), min(stored_at), count(DISTINCT scope) FROM mediakeep.refs"
_LOCATIONS = """
    SELECT count(*) FILTER (WHERE condemned IS NULL AND variant_of IS NULL),
           count(*) FILTER (WHERE condemned IS NULL AND variant_of IS NULL AND owned),
           coalesce(sum(size) FILTER (WHERE condemned IS NULL AND variant_of IS NULL), 0)::bigint,
           count(*) FILTER (WHERE condemned IS NULL AND variant_of IS NOT NULL),
           coalesce(sum(size) FILTER (WHERE condemned IS NULL AND variant_of IS NOT NULL), 0)::bigint,
           count(*) FILTER (WHERE condemned IS NOT NULL AND owned),
           coalesce(sum(size) FILTER (WHERE condemned IS NOT NULL AND owned), 0)::bigint
    FROM mediakeep.locations
"""
# Of blobs only: a path is no copy that would have been made.
_SAVED = """
    SELECT coalesce(sum((n - 1) * size), 0)::bigint
    FROM (
        SELECT location_id, count(*) AS n FROM mediakeep.refs GROUP BY location_id HAVING count(*) > 1
    ) r
    JOIN mediakeep.locations l ON l.id = r.location_id
    WHERE l.host = ''
"""
_SCOPES = """
    SELECT scope, sum(n)::bigint, count(*), sum(size)::bigint
    FROM (SELECT scope, location_id, count(*) AS n FROM mediakeep.refs GROUP BY scope, location_id) r
    JOIN mediakeep.locations l ON l.id = r.location_id
    GROUP BY scope ORDER BY scope
"""
_LEASES = f"""
    SELECT count(*), count(DISTINCT location_id) FROM mediakeep.leases WHERE deadline >= {NOW}
"""
_FAILED = f"""
    SELECT coalesce(whole, location), error, attempts FROM mediakeep.locations
    WHERE condemned IS NOT NULL AND attempts > 0 ORDER BY id LIMIT {NAMED_FAILURES}
"""


# Meta is JSON in which a quote within a text has a backslash before it: so this is the key, and no text.
_TALLY = r"""
    SELECT scope, CASE WHEN major = ANY (%(majors)s) THEN major ELSE '' END, count(*), sum(size)::bigint
    FROM (
        SELECT scope, location_id,
               lower(substring(meta FROM '"content_type": "([^"/\\]*)/')) AS major
        FROM mediakeep.refs
    ) r
    JOIN mediakeep.locations l ON l.id = r.location_id
    GROUP BY 1, 2
"""


def tally(database: Database, majors: Sequence[str]) -> list[Tally]:
    """Return how many refs of which sort each scope has."""
    return [Tally(*row) for row in database.rows(_TALLY, {"majors": list(majors)})]


def use(database: Database, connection: Connection) -> Use:
    """Return how much the books name."""
    ((files, size),) = connection.execute(database.sql(USE)).fetchall()
    return Use(files, size)


def stats(database: Database, now: float | None, *, by_scope: bool) -> Stats:
    """Return all numbers, of one moment."""

    def count(connection: Connection, _: bool) -> Stats:
        def rows(statement: str) -> list[Any]:
            return connection.execute(database.sql(statement), {"now": now}).fetchall()

        with connection.transaction():
            connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
            (refs,), (locations,), (leases,) = rows(_REFS), rows(_LOCATIONS), rows(_LEASES)
            ((saved,),) = rows(_SAVED)
            failed = rows(_FAILED)
            scopes = rows(_SCOPES) if by_scope else []
        return stats_of(refs, locations, leases, saved, failed, scopes)

    return database.run(count)
