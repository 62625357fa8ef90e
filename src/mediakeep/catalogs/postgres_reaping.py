"""Deleting the bytes of condemned locations, and forgetting them, in batches."""

import os
import select
from collections.abc import Iterator
from itertools import islice
from typing import Any

from mediakeep.catalogs import Reaped
from mediakeep.catalogs.deletion import Deletion
from mediakeep.catalogs.postgres_database import Connection, Database
from mediakeep.catalogs.postgres_hosts import host_of, name_of
from mediakeep.catalogs.postgres_locks import key_of
from mediakeep.catalogs.postgres_schema import LEASED, NOW
from mediakeep.catalogs.rows import process
from mediakeep.clocks import Clock
from mediakeep.model import FailedDeletion

BATCH = 200
"""How many locations are locked at once: the server has room for a few thousand locks in all..."""
BATCH_SECONDS = 0.05
"""...and for how long: a registration must not wait for slow deletions of other locations."""

_TRY_HOLD = """
    SELECT name, host FROM unnest(%(names)s::bytea[], %(hosts)s::text[], %(keys)s::bigint[])
        AS wanted (name, host, key)
    WHERE pg_try_advisory_xact_lock(key)
"""
# The OFFSET keeps the server from reading all that is condemned for each batch, which by its statistics
# is often nothing: they are from before.
_CONDEMNED = f"""
    SELECT coalesce(l.whole, l.location), l.id, l.size, l.condemned, l.attempts, l.owned
    FROM unnest(%(names)s::bytea[], %(hosts)s::text[]) AS held (name, host)
    CROSS JOIN LATERAL (
        SELECT * FROM mediakeep.locations WHERE location = held.name AND host = held.host OFFSET 0
    ) l
    WHERE l.condemned IS NOT NULL AND NOT {LEASED}
"""
# `condemned` is the line of the journal that tells of the last ref. It is another one if the location
# was registered, and condemned again, since it was looked at; then there is nothing to write down.
_NOTE_DELETED = f"""
    UPDATE mediakeep.history h SET deleted_at = {NOW}, deleted_by = %(by)s
    FROM unnest(%(ids)s::bigint[], %(lines)s::bigint[]) AS it (id, line)
    JOIN mediakeep.locations l ON l.id = it.id AND l.condemned = it.line AND l.owned
    WHERE h.id = it.line
"""
_FORGET = """
    DELETE FROM mediakeep.locations l
    USING unnest(%(ids)s::bigint[], %(lines)s::bigint[]) AS it (id, line)
    WHERE l.id = it.id AND l.condemned = it.line
"""
_NOTE_FAILED = f"""
    UPDATE mediakeep.history h SET failed_at = {NOW}, deleted_by = %(by)s, error = it.error
    FROM unnest(%(lines)s::bigint[], %(errors)s::text[]) AS it (line, error)
    WHERE h.id = it.line AND h.failed_at IS NULL
"""
_COUNT = """
    UPDATE mediakeep.locations l SET attempts = l.attempts + 1, error = it.error
    FROM unnest(%(ids)s::bigint[], %(lines)s::bigint[], %(errors)s::text[]) AS it (id, line, error)
    WHERE l.id = it.id AND l.condemned = it.line
"""


class Reaper:
    """One reap: locks locations in batches, deletes each under its own lock, forgets them together.

    The locks are those of the transaction, which holds no row while bytes are deleted, and are gone with
    it or with the connection. If that is lost the rows are condemned still, and their bytes deleted
    again without effect.

    Args:
        database: the catalog's database.
        host: whose paths may be deleted here, besides blobs.
        clock: if the database's own is not to be used.
        deletion: what deletes bytes.
    """

    def __init__(self, database: Database, host: str, clock: Clock | None, deletion: Deletion) -> None:
        self._database = database
        self._host = host
        self._clock = clock
        self._deletion = deletion
        self._reaped = Reaped()

    def reap(self, names: Iterator[str]) -> Reaped:
        """Delete those of the locations that are condemned and unleased."""
        for name in names:
            # All are taken off the iterator before there is a connection: it may need one itself.
            left = self._batch([name, *islice(names, BATCH - 1)])
            for slow in left:
                self._batch([slow])
        return self._reaped

    def _batch(self, names: list[str]) -> list[str]:
        """Return those that were not reached, because deleting is slow."""
        reaped, left = self._database.transact(lambda connection: self._in(connection, names))
        self._reaped.deleted += reaped.deleted
        self._reaped.freed += reaped.freed
        self._reaped.failed += reaped.failed
        return left

    def _in(self, connection: Connection, names: list[str]) -> tuple[Reaped, list[str]]:
        def run(statement: str, values: dict[str, Any]) -> list[Any]:
            cursor = connection.execute(sql(statement), {"now": self._now(), "by": process(), **values})
            return cursor.fetchall() if cursor.description else []

        sql, reaped = self._database.sql, Reaped()
        hosts = [host_of(name, self._host) for name in names]
        keys = [key_of(self._database.schema, *it) for it in zip(hosts, names, strict=True)]
        indexed = [name_of(name)[0] for name in names]
        held = run(_TRY_HOLD, {"names": indexed, "hosts": hosts, "keys": keys})
        if not held:
            return reaped, []
        columns = list(zip(*held, strict=True))
        # In a statement of its own: it sees what was committed before the locks were there.
        rows = run(_CONDEMNED, {"names": list(columns[0]), "hosts": list(columns[1])})
        done: list[tuple[int, int]] = []
        failed: list[tuple[int, int, str]] = []
        line = select.poll()
        line.register(connection.fileno(), select.POLLIN)
        for row, name, error in self._deletion.run(rows, BATCH_SECONDS):
            if line.poll(0):
                # Nobody was asked anything. If the server has ended the session, which this raises, the
                # locks have gone with it, and what comes next may have been registered again.
                connection.execute("SELECT 1")
            _, location_id, size, condemned, attempts, owned = row
            if error is not None:
                reason = _printable(error.strerror or str(error))
                reaped.failed.append(FailedDeletion(name, reason, attempts + 1))
                failed.append((location_id, condemned, reason))
                continue
            done.append((location_id, condemned))
            reaped.deleted += owned
            reaped.freed += size * owned
        if failed:
            ids, lines, errors = map(list, zip(*failed, strict=True))
            run(_NOTE_FAILED, {"lines": lines, "errors": errors})
            run(_COUNT, {"ids": ids, "lines": lines, "errors": errors})
        if done:
            gone = {"ids": [it for it, _ in done], "lines": [line for _, line in done]}
            run(_NOTE_DELETED, gone)
            run(_FORGET, gone)
        return reaped, [os.fsdecode(row[0]) for row in rows]

    def _now(self) -> float | None:
        return None if self._clock is None else self._clock()


def _printable(text: str) -> str:
    """Return the text without what PostgreSQL cannot keep."""
    return text.encode("utf-8", "backslashreplace").decode().replace("\0", "\\0")
