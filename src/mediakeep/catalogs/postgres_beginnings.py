"""New refs in a PostgreSQL catalog: one statement each, where there are no limits to keep."""

import os
from typing import Any

from mediakeep.catalogs import Registration
from mediakeep.catalogs.postgres_database import Connection, Cursor, Database, Values
from mediakeep.catalogs.postgres_hosts import host_of, name_of
from mediakeep.catalogs.postgres_limits import within
from mediakeep.catalogs.postgres_schema import NOW
from mediakeep.catalogs.rows import said_of, uuid_of
from mediakeep.errors import CatalogError
from mediakeep.model import CleanupPolicy, Limits

_REF = """
    INSERT INTO mediakeep.refs (ref, location_id, scope, path, meta, stored_at, expires_at)
    SELECT %(ref)s::uuid, {location_id}, %(scope)s, {path}, {meta}, {now}, {now} + %(ttl)s::float8
    FROM {place}
"""

# A location that has a ref keeps it that long: once borrowed, it stays so. The OFFSET keeps the server
# from reading all refs into a table of hashes, for a batch of which none is there.
MADE_LIVE = """
        ON CONFLICT (location, host) DO UPDATE SET
            owned = excluded.owned AND
                (l.owned
                    OR NOT EXISTS (SELECT 1 FROM mediakeep.refs WHERE location_id = l.id OFFSET 0)),
            size = excluded.size,
            sha256 = CASE excluded.sha256 WHEN '' THEN l.sha256 ELSE excluded.sha256 END,
            variant_of = NULL, variant = '',
            condemned = NULL, attempts = 0, error = ''
"""
_WRITE = f"""
    WITH place AS (
        INSERT INTO mediakeep.locations AS l (location, whole, host, owned, size, sha256)
        VALUES (%(name)s, %(whole)s, %(host)s, %(owned)s, %(size)s, %(sha256)s)
        {MADE_LIVE}
        RETURNING id
    )
    {_REF.format(place="place", location_id="id", path="%(path)s", meta="%(meta)s", now=NOW)}
"""

# It stays locked until the ref is there; if it was condemned meanwhile, none is written.
_JOIN = f"""
    WITH place AS (
        SELECT l.id FROM mediakeep.locations l
        WHERE l.id = %(twin)s AND l.owned = %(owned)s AND l.condemned IS NULL FOR NO KEY UPDATE
    )
    {_REF.format(place="place", location_id="id", path="NULL", meta="%(meta)s", now=NOW)}
"""

# The ref that is shared cannot end before the new one is there.
_SHARE = _REF.format(
    place="mediakeep.refs r WHERE r.ref = %(old)s::uuid FOR KEY SHARE",
    location_id="r.location_id",
    path="r.path",
    meta="r.meta",
    now=NOW,
)

_IS_WRITTEN = """
    SELECT 1 FROM mediakeep.refs WHERE ref = %(ref)s::uuid
    UNION ALL SELECT 1 FROM mediakeep.history WHERE ref = %(ref)s::uuid
"""


class Beginnings:
    """Writes down new refs.

    Args:
        database: the catalog's database.
        host: whose local paths are spoken of.
    """

    def __init__(self, database: Database, host: str) -> None:
        self._database = database
        self._host = host

    def values(self, new: Registration, ttl: float | None, now: float | None) -> dict[str, Any]:
        """Return the parameters of the statements for a new ref."""
        name, whole = name_of(new.location)
        check_scope(new.scope)
        return {
            "now": now,
            "ttl": ttl,
            "ref": uuid_of(new.ref),
            "scope": new.scope,
            "name": name,
            "whole": whole,
            "host": host_of(new.location, self._host),
            "path": None if new.given in (None, new.location) else os.fsencode(str(new.given)),
            "meta": said_of(new),
            "owned": new.meta.cleanup_policy is CleanupPolicy.DELETE_ON_CLEANUP,
            "size": new.size,
            "sha256": new.sha256,
        }

    def write(
        self, connection: Connection, values: Values, limits: Limits | None, *, again: bool
    ) -> None:
        """Write down a ref of a location that becomes live.

        Raises:
            QuotaExceeded: it would pass the limits; then the transaction must not be committed.
        """
        self._limited(connection, _WRITE, values, limits, again=again)

    def join(
        self, connection: Connection, values: Values, limits: Limits | None, *, again: bool
    ) -> bool:
        """Write down a ref of the live blob `twin`; return whether that was still there."""
        return self._limited(connection, _JOIN, values, limits, again=again)

    def share(
        self, connection: Connection, values: Values, limits: Limits | None, *, again: bool
    ) -> bool:
        """Write down a ref of what the ref `old` names; return whether that was live."""
        return self._limited(connection, _SHARE, values, limits, again=again)

    def _limited(
        self,
        connection: Connection,
        statement: str,
        values: Values,
        limits: Limits | None,
        *,
        again: bool,
    ) -> bool:
        with within(limits, self._database, connection, {values["ref"]: values["scope"]}):
            if again and self._run(connection, _IS_WRITTEN, values).fetchall():
                return True  # the attempt whose end was not heard of
            return bool(self._run(connection, statement, values).rowcount)

    def _run(self, connection: Connection, statement: str, values: Values) -> Cursor:
        return connection.execute(self._database.sql(statement), values)


def check_scope(scope: str) -> None:
    """Refuse a scope that PostgreSQL cannot keep.

    Raises:
        CatalogError: there is a NUL in it.
    """
    if "\0" in scope:
        raise CatalogError(
            f"scope {scope!r} has a NUL in it, which PostgreSQL cannot keep: leave it out"
        )
