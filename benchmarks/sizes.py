"""How much a catalog in PostgreSQL takes on disk: bytes a row, for each table and index that grows."""

import argparse
import time
from collections.abc import Callable
from contextlib import closing
from datetime import timedelta
from typing import Any

import psycopg

from benchmarks.catalogs import STEP_SECONDS, NoBytes, fill, server
from mediakeep import MediaCleanerConfig, MediaMeta, MediaStore
from mediakeep.catalogs.postgres import PostgresCatalog

LINES = 100_000
VERBS = 1000

# So many leases as there are lines in the journal, each as `lease` makes it.
_LEASES = """
    INSERT INTO {schema}.leases (number, location_id, deadline, holder)
    SELECT (random() * 4e18)::bigint, id, extract(epoch FROM statement_timestamp()) + 60, 'host-1:12345'
    FROM {schema}.locations LIMIT %s
"""
_SIZES = """
    SELECT coalesce(t.relname, c.relname), c.relname, pg_relation_size(c.oid)
    FROM pg_class c LEFT JOIN pg_index i ON i.indexrelid = c.oid
        LEFT JOIN pg_class t ON t.oid = i.indrelid
    WHERE c.relnamespace = %(schema)s::regnamespace AND c.relkind IN ('r', 'i')
        AND coalesce(t.relname, c.relname)::text = ANY(%(tables)s)
        AND pg_relation_size(c.oid) > 100000
    ORDER BY array_position(%(tables)s, coalesce(t.relname, c.relname)::text), c.relkind DESC, 3 DESC
"""


def sizes(
    connection: psycopg.Connection[Any], schema: str, *tables: str
) -> list[tuple[str, str, float]]:
    """Return table, table or index, and bytes a row of it."""
    count = {
        table: connection.execute(f"SELECT count(*) FROM {schema}.{table}").fetchall()[0][0]
        for table in tables
    }
    rows = connection.execute(_SIZES, {"schema": schema, "tables": list(tables)}).fetchall()
    return [(table, name, size / count[table]) for table, name, size in rows]


def add_lines_and_leases(url: str, schema: str) -> None:
    """Let refs expire and files go, by the verbs, for the journal; and lease others."""
    with psycopg.connect(url, autocommit=True) as connection:
        fill(connection, schema, 10**9, 10**9 + LINES - 1, -1e7)
        catalog = PostgresCatalog(url, schema=schema)
        age = MediaCleanerConfig(max_age=timedelta(days=365))
        with closing(MediaStore(catalog, NoBytes(), cleaner=age)) as store:
            store.sweep()
        connection.execute(_LEASES.format(schema=schema), (LINES,))


def log_bytes(url: str, schema: str) -> list[tuple[str, float]]:
    """Return what the server writes to its log for a verb, and so to every replica, in bytes a ref."""
    with (
        psycopg.connect(url, autocommit=True) as connection,
        closing(MediaStore(PostgresCatalog(url, schema=schema), NoBytes())) as store,
    ):

        def measured(run: Callable[[], object]) -> float:
            connection.execute("CHECKPOINT")
            ((before,),) = connection.execute("SELECT pg_current_wal_insert_lsn()").fetchall()
            run()
            lsn = "SELECT pg_wal_lsn_diff(pg_current_wal_insert_lsn(), %s)::bigint"
            ((written,),) = connection.execute(lsn, (before,)).fetchall()
            return float(written / VERBS)

        refs: list[str] = []
        meta = MediaMeta("photo.jpg", "image/jpeg", "telegram")
        return [
            ("put", measured(lambda: refs.extend(store.put(b"x%d" % n, meta) for n in range(VERBS)))),
            ("release", measured(lambda: [store.release(ref) for ref in refs])),
        ]


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.sizes", description=__doc__)
    parser.add_argument("--refs", type=int, default=1_000_000, help="how many (default a million)")
    asked = parser.parse_args()
    with server() as running, psycopg.connect(running.url, autocommit=True) as connection:
        PostgresCatalog(running.url, schema="media").close()
        fill(connection, "media", 1, asked.refs, time.time() - asked.refs * STEP_SECONDS)
        # Before refs have ended, which leave room behind.
        found = sizes(connection, "media", "refs", "locations")
        add_lines_and_leases(running.url, "media")
        found += sizes(connection, "media", "history", "leases")
        print("| table | what | bytes a row |\n|---|---|---|")
        for table, name, size in found:
            print(f"| {table} | {name} | {size:.0f} |")
        for verb, size in log_bytes(running.url, "media"):
            print(f"| log of the server | `{verb}`, right after a checkpoint | {size:.0f} |")


if __name__ == "__main__":
    main()
