"""Ends of refs in a PostgreSQL catalog: what goes, what is condemned, what the journal says of it.

Whoever ends refs locks them first, and then their locations, each in a fixed order. Only then, in a new
statement that sees what was committed while it waited, does it look which locations have no ref left.
Whoever adds a ref locks the location, or a live ref of it, until it has committed. So one of the two
sees what the other did.
"""

import os
from collections.abc import Callable
from typing import Any

from mediakeep.catalogs import Ended, EndedFile, Why
from mediakeep.catalogs.postgres_database import Connection, Values
from mediakeep.catalogs.postgres_schema import ALONE, LEASED, NOW
from mediakeep.catalogs.rows import process
from mediakeep.catalogs.rules import still_leased

LOCK = """
    WITH mine AS ({mine})
    SELECT m.ref::text, m.scope, l.id, coalesce(l.whole, l.location), l.size, l.owned
    FROM mine m JOIN mediakeep.locations l ON l.id = m.location_id
    WHERE l.id = ANY (ARRAY(SELECT location_id FROM mine))
    ORDER BY l.id FOR UPDATE OF l
"""
"""Locks refs and their locations. `mine` selects the refs with FOR UPDATE.

The condition is for the plan: not knowing how few they are, the server would read all locations.
"""

_DELETE = "DELETE FROM mediakeep.refs WHERE ref = ANY(%(refs)s::uuid[])"

_NOTE = f"""
    INSERT INTO mediakeep.history (at, what, ref, scope, location, location_id, size, process)
    SELECT {NOW}, %(what)s, ref, scope, location, location_id, size, %(process)s
    FROM unnest(%(refs)s::uuid[], %(scopes)s::text[], %(locations)s::bytea[], %(ids)s::bigint[],
                %(sizes)s::bigint[]) AS new (ref, scope, location, location_id, size)
    RETURNING id, location_id
"""

_HELD = f"""
    SELECT coalesce(l.whole, l.location), l.id,
           (SELECT count(*) FROM mediakeep.leases WHERE location_id = l.id AND deadline >= {NOW})
    FROM mediakeep.locations l
    WHERE l.id = ANY(%(ids)s) AND l.owned AND {LEASED} AND {ALONE} LIMIT 1
"""

_VARIANTS = """
    SELECT l.id, coalesce(l.whole, l.location), l.size, l.variant_of FROM mediakeep.locations l
    WHERE l.variant_of = ANY(%(ids)s) AND l.condemned IS NULL
        AND NOT EXISTS (SELECT 1 FROM mediakeep.refs WHERE location_id = l.id)
        AND NOT EXISTS (SELECT 1 FROM mediakeep.refs WHERE location_id = l.variant_of)
    ORDER BY l.id FOR UPDATE
"""

_CONDEMN = f"""
    UPDATE mediakeep.locations l SET condemned = last.line
    FROM unnest(%(ids)s::bigint[], %(lines)s::bigint[]) AS last (id, line)
    WHERE l.id = last.id AND (l.owned OR {LEASED}) AND {ALONE}
    RETURNING coalesce(l.whole, l.location), l.owned
"""

_FORGET = f"""
    DELETE FROM mediakeep.locations l
    WHERE l.id = ANY(%(ids)s) AND l.condemned IS NULL AND {ALONE}
"""


class Ending:
    """One end of refs, in the transaction of `connection`.

    Args:
        connection: where the transaction runs.
        sql: gives a statement for the catalog's schema.
        why: what the journal says.
        now: the value of the clock, if there is one.
    """

    def __init__(
        self, connection: Connection, sql: Callable[[str], str], why: Why, now: float | None
    ) -> None:
        self._connection = connection
        self._sql = sql
        self._common = {"now": now, "what": why.value, "process": process()}

    def end(self, mine: str, values: Values, *, refuse_leased: bool = False) -> Ended:
        """End the refs that `mine` selects and locks: condemn or forget what has no ref left.

        Raises:
            StillLeased: with `refuse_leased`, if a lease would keep what this condemns.
        """
        rows = self._run(LOCK.format(mine=mine), values)
        if not rows:
            return Ended()
        refs = [row[0] for row in rows]
        self._connection.execute(self._sql(_DELETE), {"refs": refs})
        last = {row[2]: row for row in rows}
        ids = list(last)
        if refuse_leased:
            for location, location_id, leases in self._run(_HELD, {"ids": ids}):
                raise still_leased(os.fsdecode(location), f"media://{last[location_id][0]}", leases)
        lines = self._note(rows)
        files: dict[str, EndedFile] = {}
        for _, _, _, location, size, owned in rows:
            files.setdefault(os.fsdecode(location), EndedFile(size, owned)).refs += 1
        variants = self._run(_VARIANTS, {"ids": ids})
        if variants:
            # They are told of under the ref that their original had last.
            lines |= self._note(
                [(*last[of][:2], it, location, size) for it, location, size, of in variants]
            )
            for _, location, size, _ in variants:
                files.setdefault(os.fsdecode(location), EndedFile(size, owned=True))
        waiting = self._run(_CONDEMN, {"ids": list(lines), "lines": list(lines.values())})
        if len(waiting) < len(lines):  # what is borrowed is forgotten
            self._connection.execute(self._sql(_FORGET), {"ids": ids})
        return Ended(len(rows), [os.fsdecode(it) for it, owned in waiting if owned], files)

    def _note(self, rows: list[Any]) -> dict[int, int]:
        """Write a line for each ref; return the last line of each location."""
        refs, scopes, ids, locations, sizes = zip(*(row[:5] for row in rows), strict=True)
        written = self._run(
            _NOTE,
            {
                "refs": list(refs),
                "scopes": list(scopes),
                "ids": list(ids),
                "locations": list(locations),
                "sizes": list(sizes),
            },
        )
        return {location_id: line for line, location_id in sorted(written)}

    def _run(self, statement: str, values: Values) -> list[Any]:
        values = {**values, **self._common}
        return self._connection.execute(self._sql(statement), values).fetchall()
