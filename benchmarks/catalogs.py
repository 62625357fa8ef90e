"""PostgreSQL catalogs to measure: a server of theirs, rows by the million, blobs without bytes."""

import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import psycopg
from tests.postgres_server import PostgresServer

from mediakeep import MediaMeta
from mediakeep.blobs import About, Blob, Blobs, IsNamed, Source, Staged
from mediakeep.blobs.sources import chunks
from mediakeep.catalogs import Registration
from mediakeep.catalogs.postgres import PostgresCatalog

STEP_SECONDS = 0.01
"""Between one ref that is filled in and the next."""
TTL_SECONDS = 30 * 86_400.0
"""Of every second of them; the others have none."""
SIZE = 100_000
AT_ONCE = 100_000

SETTINGS = {
    "shared_buffers": "4GB",
    "max_wal_size": "8GB",
    "checkpoint_timeout": "30min",
    "autovacuum": "on",
    "autovacuum_naptime": "5s",
}

# What `add` writes, in the order of time. The numbers of the new locations follow each other.
_LOCATIONS = """
    INSERT INTO {schema}.locations (location, whole, host, owned, size, sha256)
    SELECT convert_to(left(key, 2) || '/' || key, 'UTF8'), NULL, '', true, %(size)s,
           encode(sha256(convert_to('bytes of ' || n, 'UTF8')), 'hex')
    FROM generate_series(%(first)s::bigint, %(last)s::bigint) AS n, md5('key of ' || n) AS key
    ORDER BY n
"""
_REFS = """
    INSERT INTO {schema}.refs (ref, location_id, scope, path, meta, stored_at, expires_at)
    SELECT overlay(overlay(md5('ref of ' || n) placing '4' from 13) placing '8' from 17)::uuid,
           n + %(offset)s, 'telegram:' || n / 1000 || ':' || n / 10, NULL,
           format('{{"filename": "photo-%%s.jpg", "content_type": "image/jpeg", "source": "telegram", '
                  '"detected": "image/jpeg"}}', n),
           %(start)s::float8 + n * %(step)s::float8,
           CASE n %% 2 WHEN 1 THEN %(start)s::float8 + n * %(step)s::float8 + %(ttl)s::float8 END
    FROM generate_series(%(first)s::bigint, %(last)s::bigint) AS n
    ORDER BY n
"""


def ref_of(n: int) -> str:
    """Return the ref that `fill` makes for `n`."""
    h = _hash("ref of", n)
    return f"media://{h[:8]}-{h[8:12]}-4{h[13:16]}-8{h[17:20]}-{h[20:]}"


def registration_of(n: int) -> Registration:
    """Return what `fill` writes down for `n`, as a store would hand it to `add`."""
    key = _hash("key of", n)
    return Registration(
        ref_of(n),
        f"telegram:{n // 1000}:{n // 10}",
        f"{key[:2]}/{key}",
        None,
        MediaMeta(f"photo-{n}.jpg", "image/jpeg", "telegram"),
        SIZE,
        hashlib.sha256(f"bytes of {n}".encode()).hexdigest(),
        declared="image/jpeg",
        detected="image/jpeg",
    )


def fill(connection: psycopg.Connection[Any], schema: str, first: int, last: int, start: float) -> None:
    """Write the refs `first` to `last` as `add` would, one every `STEP_SECONDS` from `start` on.

    The server makes the rows, with all indexes, keys and triggers in place, so that they lie as rows do
    that came one by one.
    """
    for low in range(first, last + 1, AT_ONCE):
        high = min(last, low + AT_ONCE - 1)
        with connection.transaction():
            values = {"first": low, "last": high, "size": SIZE}
            connection.execute(_LOCATIONS.format(schema=schema), values)
            ((newest,),) = connection.execute(f"SELECT max(id) FROM {schema}.locations").fetchall()
            times = {"start": start, "step": STEP_SECONDS, "ttl": TTL_SECONDS}
            connection.execute(_REFS.format(schema=schema), {**values, **times, "offset": newest - high})


def check_filling(server: PostgresServer, count: int = 100) -> None:
    """Compare rows of `fill` with those that the verbs of a catalog make of the same media.

    Raises:
        AssertionError: they differ.
    """
    now = [0.0]
    filled = PostgresCatalog(server.url, schema="filled_sample")
    added = PostgresCatalog(server.url, lambda: now[0], schema="added_sample")
    with psycopg.connect(server.url, autocommit=True) as connection:
        fill(connection, "filled_sample", 1, count, 1e9)
        for n in range(1, count + 1):
            now[0] = 1e9 + n * STEP_SECONDS
            added.add(registration_of(n), ttl=TTL_SECONDS if n % 2 else None)
        rows = {
            schema: [
                connection.execute(f"SELECT {columns} FROM {schema}.{table}").fetchall()
                for table, columns in _COMPARED.items()
            ]
            for schema in ("filled_sample", "added_sample")
        }
        if rows["filled_sample"] != rows["added_sample"]:
            raise AssertionError("the rows that are filled in are not those that the catalog writes")
        for catalog, schema in ((filled, "filled_sample"), (added, "added_sample")):
            catalog.close()
            connection.execute(f"DROP SCHEMA {schema} CASCADE")


_COMPARED = {
    "locations": "id, location, whole, host, owned, size, sha256, condemned, attempts, error, "
    "variant_of, variant",
    "refs": "ref, location_id, scope, path, meta, stored_at, expires_at",
    "totals t": "sum(files), sum(size)",
}


@contextmanager
def server(**settings: str) -> Iterator[PostgresServer]:
    """Give a PostgreSQL server of the size of this machine.

    It does not wait for the disk (fsync off), unless told so: both sides of a ratio would wait the same
    time, which would hide what differs.
    """
    server = PostgresServer()
    try:
        with psycopg.connect(server.url, autocommit=True) as connection:
            for name, value in {**SETTINGS, **settings}.items():
                connection.execute(f"ALTER SYSTEM SET {name} = '{value}'")
        server.stop()
        server.start()
        yield server
    finally:
        server.close()


class NoBytes(Blobs):
    """Blobs that keep nothing, where only the books are measured. Deleting fails while it is `down`."""

    __slots__ = ("deleted", "down")

    def __init__(self) -> None:
        self.deleted = 0
        self.down = False

    @contextmanager
    def stage(
        self,
        source: Source,
        *,
        is_named: IsNamed,
        kept: bool = False,
        about: About | None = None,
    ) -> Iterator[Staged]:
        digest, size = hashlib.sha256(), 0
        for chunk in chunks(source):
            digest.update(chunk)
            size += len(chunk)
        key = os.urandom(16).hex()
        yield Staged(f"{key[:2]}/{key}", size, digest.hexdigest())

    def settle(self, is_named: IsNamed) -> int:
        return 0

    def path(self, key: str, *, sha256: str = "") -> Path:
        return Path("/nowhere", key)

    def key(self, path: str) -> str | None:
        return None

    def holds(self, key: str, size: int, *, kept: bool) -> bool:
        return True

    def size(self, key: str) -> int | None:
        return None

    def open(self, key: str) -> BinaryIO:
        raise FileNotFoundError(f"{key} has no bytes")

    def delete(self, key: str) -> None:
        if self.down:
            raise OSError("the bucket is down")
        self.deleted += 1

    def scan(self) -> Iterator[Blob]:
        return iter(())

    def being_written(self, key: str) -> bool:
        return False

    def leftovers(self) -> Iterator[str]:
        return iter(())

    def close(self) -> None:
        pass


def _hash(what: str, n: int) -> str:
    return hashlib.md5(f"{what} {n}".encode(), usedforsecurity=False).hexdigest()
