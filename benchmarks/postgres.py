"""The store on PostgreSQL against bare statements, and how its cost grows with the number of refs.

Both sides of a line talk to the same server, on this machine, over the loopback, one statement after the
other. It has its caches in memory and does not wait for the disk.
"""

import functools
import itertools
import multiprocessing
import os
import random
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from datetime import timedelta
from multiprocessing.synchronize import Barrier
from pathlib import Path
from typing import Any

import psycopg
from psycopg_pool import ConnectionPool
from tests.postgres_server import PostgresServer

from benchmarks.catalogs import STEP_SECONDS, NoBytes, check_filling, fill, ref_of, server
from benchmarks.measure import (
    IN_MEMORY,
    Line,
    Scale,
    Side,
    interleaved,
    make_files,
    per_call,
    scratch,
)
from mediakeep import MediaCleanerConfig, MediaMeta, MediaStore
from mediakeep.catalogs.postgres import PostgresCatalog
from mediakeep.refs import new_ref

READS, STORES, SWEEPS, BATCH = 500, 100, 20, 1000
FEW = 10_000
WORKERS = 4
MAX_AGE = timedelta(days=30)
META = MediaMeta("photo.jpg", "image/jpeg", "telegram")

_SELECT = """
    SELECT r.scope, l.location, r.path, r.meta, l.size, l.sha256, r.stored_at, r.expires_at, l.host
    FROM {schema}.refs r JOIN {schema}.locations l ON l.id = r.location_id WHERE r.ref = %s::uuid
"""
_INSERT_LOCATION = """
    INSERT INTO bare.locations (location, host, owned, size, sha256) VALUES (%s, %s, true, %s, '')
    RETURNING id
"""
_INSERT_REF = """
    INSERT INTO bare.refs (ref, location_id, scope, path, meta, stored_at, expires_at)
    VALUES (%s::uuid, %s, %s, NULL, %s, extract(epoch FROM statement_timestamp()), NULL)
"""
_COPY_LOCATIONS = "COPY bare.locations (id, location, host, owned, size, sha256) FROM STDIN"
_COPY_REFS = "COPY bare.refs (ref, location_id, scope, meta, stored_at) FROM STDIN"
_SAID = '{"filename": "photo.jpg", "content_type": "image/jpeg", "source": "telegram"}'
_SCANS = """
    SELECT sum(seq_scan)::bigint FROM pg_stat_user_tables
    WHERE schemaname = %s AND relname IN ('refs', 'locations', 'history')
"""
# The same columns, indexes and foreign key; no totals are kept of them.
_BARE_TABLES = """
    CREATE SCHEMA bare;
    CREATE TABLE bare.locations (LIKE {schema}.locations INCLUDING ALL);
    CREATE TABLE bare.refs (LIKE {schema}.refs INCLUDING ALL,
        FOREIGN KEY (location_id) REFERENCES bare.locations (id));
"""


class Bench:
    """A store on a catalog of `refs` refs, with the pool of connections that its catalog uses."""

    def __init__(self, url: str, schema: str, refs: int) -> None:
        self.schema = schema
        self.refs = refs
        catalog = PostgresCatalog(url, schema=schema)
        with psycopg.connect(url, autocommit=True) as connection:
            fill(connection, schema, 1, refs, time.time() - refs * STEP_SECONDS)
            for table in ("locations", "refs"):
                connection.execute(f"VACUUM ANALYZE {schema}.{table}")
        self.store = MediaStore(catalog, NoBytes(), cleaner=MediaCleanerConfig(max_age=MAX_AGE))
        catalog.knows("warm")
        pool = catalog._database._pool
        assert pool is not None
        self.pool: ConnectionPool[psycopg.Connection[tuple[Any, ...]]] = pool
        self._random = random.Random(6)

    def resolve_seconds(self) -> float:
        asked = [ref_of(n) for n in self._random.choices(range(1, self.refs + 1), k=READS)]

        def run() -> None:
            for ref in asked:
                self.store.resolve(ref)

        return per_call(run, READS)

    def select_seconds(self) -> float:
        asked = [ref_of(n) for n in self._random.choices(range(1, self.refs + 1), k=READS)]
        statement = _SELECT.format(schema=self.schema)

        def run() -> None:
            for ref in asked:
                with self.pool.connection() as connection:
                    connection.execute(statement, (ref[8:],)).fetchone()

        return per_call(run, READS)

    def store_seconds(self, files: "Files") -> float:
        paths = files.made()

        def run() -> None:
            for path in paths:
                self.store.store(path, META, "telegram:42:1")

        return per_call(run, len(paths))

    def sweep_seconds(self) -> float:
        def run() -> None:
            for _ in range(SWEEPS):
                self.store.sweep()

        return per_call(run, SWEEPS)

    def table_scans(self) -> int:
        """Return how often the server has read one of the tables that grow from end to end."""
        with self.pool.connection() as connection:
            # What this connection did; it is the only one that works on these tables.
            connection.execute("SELECT pg_stat_force_next_flush()")
            connection.execute("SELECT pg_stat_clear_snapshot()")
            ((scans,),) = connection.execute(_SCANS, (self.schema,)).fetchall()
            return int(scans)


class Files:
    """Makes files that nobody has registered yet."""

    def __init__(self, folder: Path, count: int = STORES) -> None:
        self._folder = folder
        self._count = count
        self._rounds = itertools.count()

    def made(self) -> list[str]:
        return make_files(self._folder / str(next(self._rounds)), self._count, b"x")


@contextmanager
def bench(refs: int = FEW) -> Iterator[tuple[Bench, PostgresServer]]:
    with server() as running:
        made = Bench(running.url, "media", refs)
        with closing(made.store):
            yield made, running


def resolve(scale: Scale) -> Line:
    with bench() as (ours, _):
        return Line(
            "PostgreSQL: `resolve` against a bare psycopg select on the same pool",
            1.3,
            *interleaved(ours.resolve_seconds, ours.select_seconds, scale.rounds),
            how=f"{READS} of {FEW:,} refs a round, at random; the bare side fetches the same columns of "
            "the same two tables",
        )


def store(scale: Scale) -> Line:
    with bench() as (ours, running), scratch(IN_MEMORY) as folder:
        files = Files(folder)
        with psycopg.connect(running.url, autocommit=True) as connection:
            connection.execute(_BARE_TABLES.format(schema=ours.schema))

        def bare() -> float:
            paths = files.made()

            def run() -> None:
                for path in paths:
                    with ours.pool.connection() as connection, connection.transaction():
                        values = (os.fsencode(path), "here", 1)
                        ((made,),) = connection.execute(_INSERT_LOCATION, values)
                        row = (new_ref()[8:], made, "telegram:42:1", _SAID)
                        connection.execute(_INSERT_REF, row)

            return per_call(run, len(paths))

        return Line(
            "PostgreSQL: `store` against the two bare inserts in one transaction",
            1.5,
            *interleaved(lambda: ours.store_seconds(files), bare, scale.rounds),
            how=f"{STORES} files a round; the bare side does not look at the file, and writes the same "
            "two rows into tables with the same indexes and foreign key; the server does not wait for "
            "the disk, which would take the same time on both sides",
        )


def store_many(scale: Scale) -> Line:
    with bench() as (ours, running), scratch(IN_MEMORY) as folder:
        files = Files(folder, BATCH)
        numbers = itertools.count(1, BATCH)
        with psycopg.connect(running.url, autocommit=True) as connection:
            connection.execute(_BARE_TABLES.format(schema=ours.schema))

        def many() -> float:
            items = [(path, META) for path in files.made()]
            return per_call(lambda: ours.store.store_many(items, "telegram:42:1"), BATCH)

        def bare() -> float:
            paths, first = files.made(), next(numbers)

            def run() -> None:
                with ours.pool.connection() as connection, connection.transaction():
                    cursor = connection.cursor()
                    with cursor.copy(_COPY_LOCATIONS) as copy:
                        for n, path in enumerate(paths, first):
                            copy.write_row((n, os.fsencode(path), "here", True, 1, ""))
                    with cursor.copy(_COPY_REFS) as copy:
                        for n in range(first, first + BATCH):
                            copy.write_row((new_ref()[8:], n, "telegram:42:1", _SAID, time.time()))

            return per_call(run, BATCH)

        return Line(
            f"PostgreSQL: `store_many` of {BATCH:,} against a bare COPY of the same rows",
            3.0,
            *interleaved(many, bare, scale.rounds),
            how="the time of one; the bare side copies the same rows into both tables in one "
            "transaction, looks at no file, and knows what numbers its locations have",
        )


@functools.cache
def growth(scale: Scale) -> dict[str, Line]:
    """Measure two catalogs on one server side by side: one with many refs, one with few."""
    with server() as running, scratch(IN_MEMORY) as folder:
        check_filling(running)
        few = Bench(running.url, "few", FEW)
        many = Bench(running.url, "many", scale.catalog_refs)
        with closing(few.store), closing(many.store):
            return grown(many, few, Files(folder), scale)


def grown(many: Bench, few: Bench, files: Files, scale: Scale) -> dict[str, Line]:
    def line(what: str, seconds: Callable[[Bench], float], how: str) -> Line:
        return Line(
            f"PostgreSQL: {what} at {many.refs:,} refs against {few.refs:,}",
            1.5,
            *interleaved(lambda: seconds(many), lambda: seconds(few), scale.rounds),
            how=how,
        )

    def sweep() -> Line:
        before = many.table_scans()
        swept = line("idle sweep", Bench.sweep_seconds, "")
        scans = many.table_scans() - before
        return replace(
            swept,
            how=f"`sweep` with nothing due, {SWEEPS} times a round; the server counts {scans} scans of "
            "whole tables (refs, locations and journal) meanwhile",
        )

    return {
        "resolve": line(
            "`resolve`",
            Bench.resolve_seconds,
            f"{READS} a round, at random among all; rows made by the server, the same as those that the "
            "verbs make, which a sample proves; all of it is in memory",
        ),
        "store": line("`store`", lambda it: it.store_seconds(files), f"{STORES} files a round"),
        "sweep": sweep(),
    }


def sweeping(scale: Scale) -> Line:
    with server() as running:
        PostgresCatalog(running.url, schema="swept").close()
        first = itertools.count(1, scale.expired)

        def side(workers: int) -> Side:
            def run() -> float:
                with psycopg.connect(running.url, autocommit=True) as connection:
                    start = next(first)
                    fill(connection, "swept", start, start + scale.expired - 1, 1e9)
                    for table in ("locations", "refs", "history"):
                        connection.execute(f"VACUUM ANALYZE swept.{table}")
                seconds = sweep_together(running.url, "swept", workers)
                with psycopg.connect(running.url, autocommit=True) as connection:
                    left = "SELECT count(*) FROM swept.refs", "SELECT count(*) FROM swept.locations"
                    assert all(connection.execute(it).fetchone() == (0,) for it in left)
                return seconds / scale.expired

            return run

        return Line(
            f"PostgreSQL: sweeping {scale.expired:,} expired refs, {WORKERS} workers against one, time",
            1 / 1.6,
            *interleaved(side(WORKERS), side(1), scale.long_rounds),
            how="processes that start together, until the last one is done; the server runs on the same "
            f"{os.cpu_count()} cores, and deleting bytes takes no time here",
        )


def sweep_together(url: str, schema: str, workers: int) -> float:
    """Return the seconds that so many processes take together to sweep the catalog."""
    context = multiprocessing.get_context("fork")
    start = context.Barrier(workers + 1, timeout=60)
    sweepers = [context.Process(target=_sweep, args=(url, schema, start)) for _ in range(workers)]
    for sweeper in sweepers:
        sweeper.start()
    start.wait()
    begun = time.perf_counter()
    for sweeper in sweepers:
        sweeper.join()
        if sweeper.exitcode:
            raise RuntimeError("a sweep failed")
    return time.perf_counter() - begun


def _sweep(url: str, schema: str, start: Barrier) -> None:
    catalog = PostgresCatalog(url, schema=schema)
    with closing(MediaStore(catalog, NoBytes(), cleaner=MediaCleanerConfig(max_age=MAX_AGE))) as store:
        start.wait()
        store.sweep()


LINES: dict[str, Callable[[Scale], Line | None]] = {
    "postgres.resolve": resolve,
    "postgres.store": store,
    "postgres.store_many": store_many,
    "postgres.resolve_grown": lambda scale: growth(scale)["resolve"],
    "postgres.store_grown": lambda scale: growth(scale)["store"],
    "postgres.sweep_grown": lambda scale: growth(scale)["sweep"],
    "postgres.sweep": sweeping,
}
