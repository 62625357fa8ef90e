"""Limits of a PostgreSQL catalog: kept by those who fill the same room one after the other."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from mediakeep.catalogs.postgres_database import Connection, Database
from mediakeep.catalogs.postgres_locks import LOCKS, key_of
from mediakeep.catalogs.postgres_numbers import use
from mediakeep.catalogs.rules import check_room, check_scope_room
from mediakeep.model import Limits

# What came in is what only the new refs of the scope name.
_SCOPES = """
    SELECT s.scope,
        (SELECT coalesce(sum(l.size), 0)::bigint FROM mediakeep.locations l
         WHERE l.id IN (SELECT location_id FROM mediakeep.refs WHERE scope = s.scope)),
        (SELECT coalesce(sum(l.size), 0)::bigint FROM mediakeep.locations l
         WHERE l.id IN (
                SELECT location_id FROM mediakeep.refs
                WHERE ref = ANY(%(refs)s::uuid[]) AND scope = s.scope
            ) AND NOT EXISTS (
                SELECT 1 FROM mediakeep.refs o
                WHERE o.location_id = l.id AND o.scope = s.scope AND o.ref <> ALL(%(refs)s::uuid[])
            ))
    FROM unnest(%(scopes)s::text[]) AS s (scope)
"""


@contextmanager
def within(
    limits: Limits | None, database: Database, connection: Connection, scopes: Mapping[str, str]
) -> Iterator[None]:
    """Keep the block, which writes in a transaction, within the limits, if there are any.

    Others who may fill the same room wait until the transaction has ended. `scopes` gives the scope of
    each ref that the block writes, by the text of its uuid.

    Raises:
        QuotaExceeded: it did not fit; the transaction must not be committed.
    """
    if limits is None:
        yield
        return
    schema = database.schema
    keys = []
    if limits.max_scope_bytes is not None:
        keys = sorted(key_of(schema, "limits", scope) for scope in set(scopes.values()))
    if limits.max_store_bytes is not None or limits.max_store_files is not None:
        keys.insert(0, key_of(schema, "limits"))
    if keys:
        connection.execute(LOCKS, {"keys": keys})
    before = use(database, connection)
    yield
    check_room(limits, before, use(database, connection))
    if limits.max_scope_bytes is not None and scopes:
        values = {"refs": list(scopes), "scopes": sorted(set(scopes.values()))}
        for scope, size, more in connection.execute(database.sql(_SCOPES), values).fetchall():
            check_scope_room(limits, scope, size, more)


def bound_by(limits: Limits | None) -> Limits | None:
    """Return those limits that the books must keep, or None if there are none."""
    if limits is None:
        return None
    counted = (limits.max_store_bytes, limits.max_store_files, limits.max_scope_bytes)
    return limits if any(it is not None for it in counted) else None
