"""What can be wrong inside a PostgreSQL catalog, and what puts it right."""

import os
from collections.abc import Iterator
from typing import Any

from mediakeep.catalogs import Fault
from mediakeep.catalogs.postgres_database import Connection, Database
from mediakeep.catalogs.postgres_numbers import USE
from mediakeep.catalogs.postgres_schema import NOW, SLOTS
from mediakeep.catalogs.rows import process

NAMED = 1000
"""How many rows of one fault are named."""

_REFLESS = """
    l.condemned IS NULL AND NOT EXISTS (SELECT 1 FROM mediakeep.refs WHERE location_id = l.id)
    AND NOT EXISTS (SELECT 1 FROM mediakeep.refs WHERE location_id = l.variant_of)
"""
_CONDEMNED_ALIVE = """
    l.condemned IS NOT NULL AND EXISTS (SELECT 1 FROM mediakeep.refs WHERE location_id = l.id)
"""
_COUNTED = "SELECT count(*), coalesce(sum(size), 0)::bigint FROM mediakeep.locations"
_LAPSED = f"SELECT number, holder FROM mediakeep.leases WHERE deadline < {NOW}"

_CONDEMN_REFLESS = f"""
    WITH adrift AS (
        SELECT l.id, coalesce(l.whole, l.location) AS location, l.size FROM mediakeep.locations l
        WHERE l.owned AND {_REFLESS}
    ), noted AS (
        INSERT INTO mediakeep.history (at, what, scope, location, location_id, size, process)
        SELECT {NOW}, 'reconciled', '', location, id, size, %(process)s FROM adrift
        RETURNING id, location_id
    )
    UPDATE mediakeep.locations l SET condemned = noted.id FROM noted WHERE l.id = noted.location_id
"""
_COUNT_AGAIN = f"""
    UPDATE mediakeep.totals t
    SET files = CASE t.slot WHEN 0 THEN n.files ELSE 0 END,
        size = CASE t.slot WHEN 0 THEN n.size ELSE 0 END
    FROM (SELECT count(*) AS files, coalesce(sum(size), 0) AS size FROM mediakeep.locations) n
    WHERE t.slot < {SLOTS}
"""


def faults(database: Database, now: float | None) -> list[Fault]:
    """Return what contradicts itself or is out of date, all of one moment."""

    def look(connection: Connection, _: bool) -> list[Fault]:
        with connection.transaction():
            connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
            return list(_faults(database, connection, now))

    return database.run(look)


def _faults(database: Database, connection: Connection, now: float | None) -> Iterator[Fault]:
    def rows(statement: str) -> list[Any]:
        sql = database.sql(f"{statement} LIMIT {NAMED}")
        return connection.execute(sql, {"now": now}).fetchall()

    named = "SELECT coalesce(l.whole, l.location) FROM mediakeep.locations l WHERE"
    for (location,) in rows(f"{named} {_REFLESS}"):
        yield Fault(
            "books",
            os.fsdecode(location),
            "no ref names it, and it is not condemned",
            "mending condemns it if it is owned, and forgets it if it is borrowed",
        )
    for (location,) in rows(f"{named} {_CONDEMNED_ALIVE}"):
        yield Fault(
            "books",
            os.fsdecode(location),
            "it is condemned although a live ref names it",
            "mending takes the condemnation back",
        )
    (said,), (found,) = rows(USE), rows(_COUNTED)
    if said != found:
        reason = f"say {said} files and bytes, and the rows add up to {found}"
        yield Fault("books", "totals", reason, "mending adds them up again")
    for number, holder in rows(_LAPSED):
        yield Fault("lease", str(number), f"of {holder} has lapsed", "a sweep forgets it")


def mend(database: Database, now: float | None) -> None:
    """Put right what `faults` finds; deletes no bytes, it only condemns.

    Nobody else writes meanwhile, if there is anything to mend in the books.
    """
    broken = any(fault.kind == "books" for fault in faults(database, now))

    def put_right(connection: Connection) -> None:
        def run(statement: str) -> None:
            connection.execute(database.sql(statement), {"now": now, "process": process()})

        run(f"DELETE FROM mediakeep.leases WHERE deadline < {NOW}")
        if broken:
            run("LOCK TABLE mediakeep.refs, mediakeep.locations IN SHARE ROW EXCLUSIVE MODE")
            run(
                "UPDATE mediakeep.locations l SET condemned = NULL, attempts = 0, error = ''"
                f" WHERE {_CONDEMNED_ALIVE}"
            )
            run(_CONDEMN_REFLESS)
            run(f"DELETE FROM mediakeep.locations l WHERE NOT l.owned AND {_REFLESS}")
            run(_COUNT_AGAIN)

    database.transact(put_right)
