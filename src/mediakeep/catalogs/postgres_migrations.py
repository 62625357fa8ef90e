"""Bringing the tables of a PostgreSQL catalog to the version that this mediakeep knows."""

from typing import Any

from mediakeep.catalogs.postgres_database import Connection, Database
from mediakeep.catalogs.postgres_locks import LOCK, key_of
from mediakeep.catalogs.postgres_schema import MIGRATIONS, OLDEST_SERVER, VERSION
from mediakeep.errors import CatalogError

SCHEMA = "mediakeep"

_STATE = """
    SELECT EXISTS (SELECT 1 FROM pg_class WHERE relnamespace = to_regnamespace(%(schema)s)),
           to_regclass(%(about)s) IS NOT NULL AND EXISTS (
               SELECT 1 FROM pg_attribute
               WHERE attrelid = to_regclass(%(about)s) AND attname = 'product')
"""


def migrate(url: str, *, schema: str = SCHEMA, timeout: float = 3600.0) -> int:
    """Bring the catalog at `url` to this version of mediakeep; make it if there is none.

    One migrator works at a time, others wait for it. It is one transaction: all of it, or nothing.

    Args:
        url: the database; its role must be allowed to make the schema, or own it.
        schema: where the catalog's tables are.
        timeout: how many seconds it may take.

    Returns:
        the version that was there before; 0 if there was none.

    Raises:
        CatalogError: the schema holds something else or is of a newer version, or the database cannot
            be used. Nothing has changed.
    """
    database = Database(url, schema, timeout=timeout, pool_size=1)
    try:
        return database.transact(lambda connection: _migrate(database, connection))
    finally:
        database.close()


def version_of(url: str, *, schema: str = SCHEMA, timeout: float = 60.0) -> int:
    """Return the version of the catalog at `url`, 0 if there is none; raises as `migrate` does."""
    database = Database(url, schema, timeout=timeout, pool_size=1)
    try:
        return database.run(lambda connection, _: _version(database, connection))
    finally:
        database.close()


def prepare(database: Database) -> None:
    """Make the tables if there are none, and refuse those that this version does not know."""
    found = database.run(lambda connection, _: _version(database, connection))
    if found == 0:
        database.transact(lambda connection: _migrate(database, connection))
    elif found < VERSION:
        raise CatalogError(
            f"the catalog in schema {database.schema!r} was written by an older mediakeep (version "
            f"{found}; this one reads {VERSION}): run `mediakeep migrate` on its database"
        )


def _migrate(database: Database, connection: Connection) -> int:
    key = key_of(database.schema, "migration")
    connection.execute(LOCK, {"key": key})
    found = _version(database, connection)
    if found == 0:
        connection.execute(f'CREATE SCHEMA IF NOT EXISTS "{database.schema}"'.encode())
    for migration in MIGRATIONS[found:]:
        connection.execute(database.sql(migration).encode())
    if found < VERSION:
        connection.execute(database.sql(f"UPDATE mediakeep.about SET version = {VERSION}").encode())
    return found


def _version(database: Database, connection: Connection) -> int:
    """Return the version of the tables, 0 where there are none; refuse what is not ours."""
    schema = database.schema
    if connection.info.server_version < OLDEST_SERVER:
        raise CatalogError(
            f"PostgreSQL {connection.info.server_version // 10_000} is too old: use version 14 or newer"
        )
    ((encoding,),) = connection.execute("SHOW server_encoding").fetchall()
    if encoding != "UTF8":
        raise CatalogError(f"the database is encoded in {encoding}: make one with ENCODING 'UTF8'")
    names = {"schema": f'"{schema}"', "about": f'"{schema}".about'}
    ((used, ours),) = connection.execute(_STATE, names).fetchall()
    rows: list[tuple[Any, ...]] = []
    if ours:
        rows = connection.execute(
            database.sql("SELECT product, version FROM mediakeep.about")
        ).fetchall()
    if used and (len(rows) != 1 or rows[0][0] != "mediakeep"):
        raise CatalogError(
            f"schema {schema!r} holds something that is not a mediakeep catalog: "
            "give the catalog a schema of its own"
        )
    version: int = rows[0][1] if rows else 0
    if version > VERSION:
        raise CatalogError(
            f"the catalog in schema {schema!r} was written by a newer mediakeep (version {version}; "
            f"this one knows up to {VERSION}): upgrade mediakeep"
        )
    return version
