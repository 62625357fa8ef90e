"""Many new refs in a PostgreSQL catalog: one statement, where there are no limits to keep.

The rows go as one JSON text (psycopg takes twice as long over arrays, and COPY cannot meet rows that are
there already). A place is written by the first of the refs that share it.
"""

import json
import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

from mediakeep.catalogs import HasBytes, Registration
from mediakeep.catalogs.contents import Content, contents_of, share_out
from mediakeep.catalogs.postgres_beginnings import MADE_LIVE, check_scope
from mediakeep.catalogs.postgres_database import Connection, Database, UniqueViolation
from mediakeep.catalogs.postgres_hosts import SHARED, host_of, name_of
from mediakeep.catalogs.postgres_limits import within
from mediakeep.catalogs.postgres_locks import LOCKS, key_of
from mediakeep.catalogs.postgres_schema import NOW
from mediakeep.catalogs.records import ORDER_SECONDS, moment
from mediakeep.catalogs.rows import said_of, uuid_of
from mediakeep.catalogs.rules import is_going, lives_elsewhere, location_of
from mediakeep.model import CleanupPolicy, Limits

_SINCE = f"(floor(({NOW} + n.n * {ORDER_SECONDS}) * 1e6 + 0.5) / 1e6)"
_WRITE = f"""
    WITH new AS MATERIALIZED (
        SELECT * FROM json_to_recordset(%(rows)s::json) AS it (
            n integer, ref uuid, scope text, path bytea, meta text, stored_at float8, expires_at float8,
            location_id bigint, name bytea, whole bytea, host text, owned boolean, size bigint,
            sha256 text
        )
    ), place AS (
        INSERT INTO mediakeep.locations AS l (location, whole, host, owned, size, sha256)
        SELECT name, whole, host, owned, size, sha256 FROM new WHERE owned IS NOT NULL
        {MADE_LIVE}
        RETURNING id, location, host
    )
    INSERT INTO mediakeep.refs (ref, location_id, scope, path, meta, stored_at, expires_at)
    SELECT n.ref, coalesce(n.location_id, p.id), n.scope, n.path, n.meta,
           coalesce(n.stored_at, {_SINCE}),
           CASE WHEN n.stored_at IS NULL THEN {_SINCE} + %(ttl)s::float8 ELSE n.expires_at END
    FROM new n LEFT JOIN place p ON p.location = n.name AND p.host = n.host
    WHERE n.ref IS NOT NULL
"""

# The OFFSET keeps it one look into the index each, however many they are.
_TWINS = """
    SELECT w.n, coalesce(l.whole, l.location), l.id
    FROM json_to_recordset(%(contents)s::json)
        AS w (n integer, sha256 text, size bigint, owned boolean, scope text)
    CROSS JOIN LATERAL (
        SELECT * FROM mediakeep.locations l
        WHERE substr(l.sha256, 1, 16) = substr(w.sha256, 1, 16) AND l.sha256 <> ''
            AND l.sha256 = w.sha256 AND l.size = w.size AND l.owned = w.owned
            AND l.condemned IS NULL AND l.variant_of IS NULL AND l.host = ''
            AND EXISTS (
                SELECT 1 FROM mediakeep.refs
                WHERE location_id = l.id AND (w.scope IS NULL OR scope = w.scope)
            )
        OFFSET 0
    ) l
    ORDER BY w.n, l.id
"""
# They stay locked until the refs are there.
_HOLD_TWINS = """
    SELECT l.id, l.owned FROM mediakeep.locations l
    WHERE l.id = ANY(%(ids)s::bigint[]) AND l.condemned IS NULL ORDER BY l.id FOR NO KEY UPDATE
"""

_WRITTEN = """
    SELECT r.ref::text, coalesce(l.whole, l.location)
    FROM mediakeep.refs r JOIN mediakeep.locations l ON l.id = r.location_id
    WHERE r.ref = ANY(%(refs)s::uuid[])
    UNION ALL SELECT ref::text, location FROM mediakeep.history WHERE ref = ANY(%(refs)s::uuid[])
"""

_IS_CONDEMNED = """
    SELECT condemned IS NOT NULL FROM mediakeep.locations
    WHERE location = %(name)s AND host = %(host)s FOR NO KEY UPDATE
"""
_WHERE_ARE = """
    SELECT r.ref::text, coalesce(l.whole, l.location), l.host
    FROM mediakeep.refs r JOIN mediakeep.locations l ON l.id = r.location_id
    WHERE r.ref = ANY(%(refs)s::uuid[])
"""


class Batches:
    """Writes down many new refs at once.

    Args:
        database: the catalog's database.
        host: whose local paths are spoken of.
    """

    def __init__(self, database: Database, host: str) -> None:
        self._database = database
        self._host = host

    def add(
        self,
        new: Sequence[Registration],
        ttl: float | None,
        limits: Limits | None,
        is_there: HasBytes | None,
        now: float | None,
    ) -> list[str]:
        """Write down refs of blobs; return their locations."""
        if not new:
            return []
        twins = {} if is_there is None else self.twins(new, limits, is_there)

        def add(connection: Connection) -> list[str]:
            with nullcontext() if limits is None and not twins else connection.transaction():
                locations, ids = [it.location for it in new], dict[str, int]()
                with self._within(limits, connection, new):
                    if is_there is not None:
                        held = self._hold(connection, twins)
                        ids = dict(held.values())
                        keys = {content: key for content, (key, _) in held.items()}
                        locations = share_out(new, limits, keys)
                    self._write(connection, self._rows(new, locations, ids), ttl, now)
                return locations

        return self._once(new, add)

    def register(
        self,
        locations: Sequence[str],
        check: Callable[[], Sequence[Registration]],
        ttl: float | None,
        limits: Limits | None,
        now: Callable[[], float | None],
    ) -> None:
        """Write down refs of `locations`, which nobody else deletes or registers meanwhile."""
        keys = sorted({self._key(it) for it in locations})
        new: list[Registration] = []

        def register(connection: Connection) -> list[str]:
            with connection.transaction():
                connection.execute(LOCKS, {"keys": keys})
                new[:] = check()
                there = [it.location for it in new]
                with self._within(limits, connection, new):
                    self._write(connection, self._rows(new, there, {}), ttl, now())
                return there

        self._once(new, register)

    def restore(self, refs: Sequence[Registration], *, owned: bool, now: float | None) -> int:
        """Write down those of the refs that are not live; return how many."""
        location = location_of(refs)
        host = host_of(location, self._host)
        is_blob = host == SHARED
        # A file that is condemned may be restored, but not while it is being deleted. Nobody waits for
        # the deletion of a blob, which would be gone then; but those who restore it come one by one.
        key = key_of(self._database.schema, "restore", location) if is_blob else self._key(location)
        wanted = {it.ref: it for it in refs}
        place = {**self._place(location), "owned": owned, "size": refs[0].size, "sha256": refs[0].sha256}

        def restore(connection: Connection) -> int:
            def rows(statement: str, **values: Any) -> list[Any]:
                return connection.execute(self._database.sql(statement), values).fetchall()

            connection.execute(LOCKS, {"keys": [key]})
            condemned = rows(_IS_CONDEMNED, name=name_of(location)[0], host=host)
            if is_blob and condemned == [(True,)]:
                raise is_going(location)
            live = rows(_WHERE_ARE, refs=[ref[8:] for ref in wanted])
            for ref, there, on in live:
                if (os.fsdecode(there), on) != (location, host):
                    raise lives_elsewhere(f"media://{ref}", os.fsdecode(there), location)
            missing = wanted.keys() - {f"media://{ref}" for ref, *_ in live}
            entering = []
            for it in wanted.values():
                if it.ref in missing:
                    times = {"stored_at": moment(it.stored_at), "expires_at": it.expires_at}
                    entering.append({**self._place(location), **_entered(it), **times})
            self._write(connection, [place, *entering], None, now)
            return len(entering)

        return self._database.transact(restore)

    def twins(
        self, new: Sequence[Registration], limits: Limits | None, is_there: HasBytes
    ) -> dict[Content, tuple[str, int]]:
        """Return key and id of the live blobs that have the bytes of new ones."""
        contents = list(contents_of(new, limits).items())
        wanted = json.dumps([{"n": n, **it._asdict()} for n, (it, _) in enumerate(contents)])
        found: dict[Content, tuple[str, int]] = {}
        for n, location, number in self._database.rows(_TWINS, {"contents": wanted}):
            key = os.fsdecode(location)
            content, one = contents[n]
            if content not in found and is_there(key, one):
                found[content] = key, number
        return found

    def _hold(
        self, connection: Connection, twins: Mapping[Content, tuple[str, int]]
    ) -> dict[Content, tuple[str, int]]:
        """Return those of the twins that are live still, and stay so until the transaction has ended."""
        if not twins:
            return {}
        values = {"ids": [number for _, number in twins.values()]}
        rows = connection.execute(self._database.sql(_HOLD_TWINS), values).fetchall()
        owned: dict[int, bool] = dict(rows)
        return {it: twin for it, twin in twins.items() if owned.get(twin[1]) == it.owned}

    # -- one transaction, once

    def _once(self, new: Sequence[Registration], begin: Callable[[Connection], list[str]]) -> list[str]:
        """Return the locations that `begin` gives the `new` refs, of which it writes all or none."""

        def once(connection: Connection, again: bool) -> list[str]:
            try:
                return (again and self._written(connection, new)) or begin(connection)
            except UniqueViolation:
                # The attempt that was cut off has got through just now.
                written = again and self._written(connection, new)
                if not written:
                    raise
                return written

        return self._database.run(once)

    def _written(self, connection: Connection, new: Sequence[Registration]) -> list[str]:
        """Return the locations of the refs, if an attempt whose end was not heard of wrote them."""
        values = {"refs": [it.ref[8:] for it in new]}
        rows = connection.execute(self._database.sql(_WRITTEN), values).fetchall()
        found = {f"media://{ref}": os.fsdecode(location) for ref, location in rows}
        return [found.get(it.ref, it.location) for it in new] if found else []

    def _within(
        self, limits: Limits | None, connection: Connection, new: Sequence[Registration]
    ) -> AbstractContextManager[None]:
        return within(limits, self._database, connection, {it.ref[8:]: it.scope for it in new})

    def _write(
        self, connection: Connection, rows: list[dict[str, Any]], ttl: float | None, now: float | None
    ) -> None:
        values = {"rows": json.dumps(rows, separators=(",", ":")), "ttl": ttl, "now": now}
        connection.execute(self._database.sql(_WRITE), values)

    # -- rows

    def _rows(
        self, new: Sequence[Registration], locations: Sequence[str], ids: Mapping[str, int]
    ) -> list[dict[str, Any]]:
        """Return the rows of `_WRITE` for refs of these locations, some of which have `ids` already."""
        rows = []
        first: dict[str, dict[str, Any]] = {}
        for n, (it, location) in enumerate(zip(new, locations, strict=True)):
            row = {"n": n, **_entered(it)}
            rows.append(row)
            if location in ids:
                row["location_id"] = ids[location]
                continue
            row |= self._place(location)
            place = first.setdefault(location, row)
            owned = it.meta.cleanup_policy is CleanupPolicy.DELETE_ON_CLEANUP
            place["owned"] = place.get("owned", True) and owned
            place["size"] = it.size
            place["sha256"] = it.sha256 or place.get("sha256", "")
        return rows

    def _place(self, location: str) -> dict[str, Any]:
        name, whole = name_of(location)
        host = host_of(location, self._host)
        return {"name": _hex(name), "whole": None if whole is None else _hex(whole), "host": host}

    def _key(self, location: str) -> int:
        return key_of(self._database.schema, host_of(location, self._host), location)


def _entered(new: Registration) -> dict[str, Any]:
    """Return what the row of a ref has of its own."""
    check_scope(new.scope)
    row = {"ref": uuid_of(new.ref), "scope": new.scope, "meta": said_of(new)}
    if new.given not in (None, new.location):
        row["path"] = _hex(os.fsencode(str(new.given)))
    return row


def _hex(data: bytes) -> str:
    """Return a `bytea` as the server reads it (PostgreSQL documentation, section 8.4.1)."""
    return "\\x" + data.hex()
