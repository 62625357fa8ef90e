"""The books in an SQLite file: durable, for many threads and processes of one machine.

A state of a location is a pattern of rows: live is a row with refs; condemned is a row without refs and
with a number in `condemned`; gone and forgotten are no row. No count is kept anywhere.
"""

import json
import os
import secrets
import sqlite3
import time
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from mediakeep.catalogs import Catalog, Clock, Ended, Reaped, Registration, Why, below
from mediakeep.catalogs.sqlite_file import SqliteFile
from mediakeep.errors import BlobError, UnknownRef
from mediakeep.model import CleanupPolicy, Entry, FailedDeletion, MediaMeta, ScopeStats, Stats

VERSION = 1

SCHEMA = """
CREATE TABLE locations (
    id INTEGER PRIMARY KEY,
    location BLOB NOT NULL UNIQUE,      -- a local path in the file system's bytes, or the key of a blob
    owned INTEGER NOT NULL,             -- may the bytes be deleted?
    size INTEGER NOT NULL,
    sha256 TEXT NOT NULL,
    condemned INTEGER,                  -- a random number, another one each time; NULL while live
    attempts INTEGER NOT NULL DEFAULT 0,  -- deletions that failed
    error TEXT NOT NULL DEFAULT ''
) STRICT;
CREATE INDEX locations_condemned ON locations (condemned) WHERE condemned IS NOT NULL;

CREATE TABLE refs (
    ref BLOB PRIMARY KEY,               -- the 16 bytes of the uuid
    location_id INTEGER NOT NULL REFERENCES locations (id),
    scope TEXT NOT NULL,
    path BLOB,                          -- as the caller gave it; NULL where that is the location
    meta TEXT NOT NULL,                 -- JSON
    stored_at REAL NOT NULL,            -- seconds since the epoch
    expires_at REAL                     -- NULL without a time to live of its own
) STRICT, WITHOUT ROWID;
CREATE INDEX refs_by_location ON refs (location_id);
CREATE INDEX refs_by_scope ON refs (scope, stored_at);
CREATE INDEX refs_by_age ON refs (expires_at, stored_at);

CREATE TABLE ended (                    -- why refs are dead, for a day
    id INTEGER PRIMARY KEY,             -- grows with time
    ref BLOB NOT NULL UNIQUE,
    scope TEXT NOT NULL,
    why TEXT NOT NULL,
    ended_at REAL NOT NULL
) STRICT
"""

REMEMBERED_SECONDS = 86_400.0
"""How long the catalog can say why a ref ended."""

NAMED_FAILURES = 1000
"""How many failed deletions `stats` names."""

PAGE = 500
"""Rows that are read at a time, so that no reader holds the write-ahead log for long."""

_BATCH = 256  # deletions that are forgotten in one transaction,
_BATCH_SECONDS = 0.02  # unless they are slow: then a registration must not wait for the others

_ENTRY = """
    SELECT r.ref, r.scope, l.location, r.path, r.meta, l.size, l.sha256, r.stored_at, r.expires_at,
           l.owned, (SELECT count(*) FROM refs WHERE location_id = l.id)
    FROM refs r JOIN locations l ON l.id = r.location_id
"""


class SqliteCatalog(Catalog):
    """Refs, scopes and locations in the SQLite file at `path`.

    Args:
        path: the file; made if it does not exist. Its folder must.
        clock: gives the time of day; wall-clock time, since it must mean the same after a restart.
        fsync: whether what is written survives a loss of power.
        timeout: how many seconds a writer waits for its turn.

    Raises:
        CatalogError: the file is not a catalog, is damaged, or is of a newer version.
    """

    __slots__ = ("_clock", "_file")

    def __init__(
        self,
        path: str | os.PathLike[str],
        clock: Clock | None = None,
        *,
        fsync: bool = True,
        timeout: float = 60.0,
    ) -> None:
        self._clock = clock or time.time
        self._file = SqliteFile(os.path.realpath(path), SCHEMA, VERSION, fsync=fsync, timeout=timeout)

    # -- beginnings

    def add(
        self,
        new: Registration,
        *,
        ttl: float | None = None,
        verify: Callable[[], object] | None = None,
    ) -> None:
        if verify is None:  # a fresh blob: nobody else knows its name
            with self._file.write() as db:
                self._write(db, new, ttl)
            return
        with self._file.wrapping():
            self._file.locks.hold(new.location, self._file.timeout)
        try:
            verify()
            with self._file.write() as db:
                self._write(db, new, ttl)
        finally:
            self._file.locks.drop(new.location)

    def share(self, ref: str, new_ref: str, scope: str, *, ttl: float | None = None) -> None:
        with self._file.write() as db:
            self._write(db, self._get(db, ref)._replace(ref=new_ref, scope=scope), ttl)

    def _write(self, db: sqlite3.Connection, new: Registration, ttl: float | None) -> None:
        now = self._clock()
        ((location_id,),) = db.execute(
            """
            INSERT INTO locations (location, owned, size, sha256) VALUES (?, ?, ?, ?)
            ON CONFLICT (location) DO UPDATE SET
                owned = CASE WHEN EXISTS (SELECT 1 FROM refs WHERE location_id = id)
                             THEN min(owned, excluded.owned) ELSE excluded.owned END,
                size = excluded.size,
                sha256 = CASE excluded.sha256 WHEN '' THEN sha256 ELSE excluded.sha256 END,
                condemned = NULL, attempts = 0, error = ''
            RETURNING id
            """,
            (
                os.fsencode(new.location),
                new.meta.cleanup_policy is CleanupPolicy.DELETE_ON_CLEANUP,
                new.size,
                new.sha256,
            ),
        ).fetchall()
        path = None if new.path is None or str(new.path) == new.location else os.fsencode(new.path)
        db.execute(
            "INSERT INTO refs VALUES (?, ?, ?, ?, ?, ?, ?)",
            (
                _bytes_of(new.ref),
                location_id,
                new.scope,
                path,
                _meta_to_json(new.meta),
                now,
                None if ttl is None else now + ttl,
            ),
        )

    # -- look-ups

    def get(self, ref: str) -> Registration:
        file = self._file
        connection = file.borrow()
        try:
            return self._get(connection, ref)
        except sqlite3.Error as error:
            raise file.error(error) from error
        finally:
            file.give_back(connection)

    def _get(self, db: sqlite3.Connection, ref: str) -> Registration:
        key = _bytes_of(ref)
        row = db.execute(
            "SELECT r.scope, l.location, r.path, r.meta, l.size, l.sha256"
            " FROM refs r JOIN locations l ON l.id = r.location_id WHERE r.ref = ?",
            (key,),
        ).fetchone()
        if row is None:
            raise self._dead(db, ref, key)
        scope, location, path, meta, size, sha256 = row
        location, path = _place(location, path)
        return Registration(ref, scope, location, path, _meta_from_json(meta), size, sha256)

    def _dead(self, db: sqlite3.Connection, ref: str, key: bytes) -> UnknownRef:
        row = db.execute("SELECT why, scope FROM ended WHERE ref = ?", (key,)).fetchone()
        return UnknownRef(ref) if row is None else Why(row[0]).error(ref, row[1])

    def knows(self, location: str) -> bool:
        with self._file.read() as db:
            sql = "SELECT 1 FROM locations WHERE location = ?"
            return db.execute(sql, (os.fsencode(location),)).fetchone() is not None

    def entry(self, ref: str) -> Entry:
        key = _bytes_of(ref)
        with self._file.read() as db:
            row = db.execute(f"{_ENTRY} WHERE r.ref = ?", (key,)).fetchone()
            if row is None:
                raise self._dead(db, ref, key)
            return _entry(row)

    def entries(self, scope: str | None = None, *, nested: bool = False) -> Iterator[Entry]:
        if scope is None:
            yield from self._entries("", None)
            return
        yield from self._entries(scope, scope + "\0")
        if nested:
            yield from self._entries(*_nested(scope))

    def _entries(self, first: str, end: str | None) -> Iterator[Entry]:
        """Yield the entries of the scopes from `first` up to, not including, `end`."""
        after: tuple[str, float, bytes] = (first, float("-inf"), b"")
        below_end = "" if end is None else "AND r.scope < :end"
        while True:
            with self._file.read() as db:
                rows = db.execute(
                    f"{_ENTRY} WHERE (r.scope, r.stored_at, r.ref) > (:scope, :stored_at, :ref)"
                    f" {below_end} ORDER BY r.scope, r.stored_at, r.ref LIMIT {PAGE}",
                    {"scope": after[0], "stored_at": after[1], "ref": after[2], "end": end},
                ).fetchall()
            yield from map(_entry, rows)
            if len(rows) < PAGE:
                return
            after = (rows[-1][1], rows[-1][7], rows[-1][0])

    def scopes(self) -> list[str]:
        # One seek per scope, however many refs each of them has.
        with self._file.read() as db:
            rows = db.execute(
                """
                WITH RECURSIVE names (name) AS (
                    SELECT min(scope) FROM refs
                    UNION ALL
                    SELECT (SELECT min(scope) FROM refs WHERE scope > name) FROM names
                    WHERE name IS NOT NULL
                )
                SELECT name FROM names WHERE name IS NOT NULL
                """
            ).fetchall()
        return [name for (name,) in rows]

    # -- ends

    def release(self, ref: str) -> Ended:
        try:
            key = _bytes_of(ref)
        except UnknownRef:
            return Ended()
        return self._end_if_any(Why.RELEASED, "ref = ?", key)

    def release_scope(self, scope: str, *, nested: bool = False) -> Ended:
        if not nested:
            return self._end_if_any(Why.RELEASED, "scope = ?", scope)
        inside = "scope = ? OR (scope >= ? AND scope < ?)"
        return self._end_if_any(Why.RELEASED, inside, scope, *_nested(scope))

    def expire(self, max_age: float | None, *, limit: int = 1000) -> Ended:
        with self._file.read() as db:
            now = self._clock()
            refs: list[tuple[bytes]] = []
            for where, than in _due(now, max_age):
                sql = f"SELECT ref FROM refs WHERE {where} LIMIT {limit - len(refs)}"
                refs += db.execute(sql, (than,)).fetchall()
        if not refs:
            return Ended()
        # Nothing makes a ref younger, so what was due is due: only whether it still lives is open.
        marks = ", ".join("?" * len(refs))
        return self._end_if_any(Why.EXPIRED, f"ref IN ({marks})", *(ref for (ref,) in refs))

    def due(self, max_age: float | None) -> int:
        with self._file.read() as db:
            total = 0
            for where, than in _due(self._clock(), max_age):
                (count,) = db.execute(f"SELECT count(*) FROM refs WHERE {where}", (than,)).fetchone()
                total += count
            return total

    def _end_if_any(self, why: Why, where: str, *values: str | bytes) -> Ended:
        """End the refs that match; take no writer's turn where none does."""
        with self._file.read() as db:
            if db.execute(f"SELECT 1 FROM refs WHERE {where} LIMIT 1", values).fetchone() is None:
                return Ended()
        with self._file.write() as db:
            rows = db.execute(
                f"DELETE FROM refs WHERE {where} RETURNING ref, scope, location_id", values
            ).fetchall()
            now = self._clock()
            db.executemany(
                "INSERT OR REPLACE INTO ended (ref, scope, why, ended_at) VALUES (?, ?, ?, ?)",
                [(ref, scope, why.value, now) for ref, scope, _ in rows],
            )
            ids = json.dumps(list({location_id for _, _, location_id in rows}))
            condemned = db.execute(
                """
                UPDATE locations SET condemned = ?
                WHERE id IN (SELECT value FROM json_each(?)) AND owned
                    AND NOT EXISTS (SELECT 1 FROM refs WHERE location_id = locations.id)
                RETURNING location
                """,
                (secrets.randbits(62), ids),
            ).fetchall()
            if len(condemned) < len(rows):  # what is borrowed is forgotten
                db.execute(
                    """
                    DELETE FROM locations
                    WHERE id IN (SELECT value FROM json_each(?)) AND NOT owned
                        AND NOT EXISTS (SELECT 1 FROM refs WHERE location_id = locations.id)
                    """,
                    (ids,),
                )
            self._forget_old(db, now)
        return Ended(len(rows), [os.fsdecode(location) for (location,) in condemned])

    def _forget_old(self, db: sqlite3.Connection, now: float) -> None:
        """Drop what ended more than a day ago, a bounded number of rows at a time, oldest first."""
        rows = db.execute("SELECT id, ended_at FROM ended ORDER BY id LIMIT 2000").fetchall()
        old = 0
        for row_id, ended_at in rows:
            if ended_at >= now - REMEMBERED_SECONDS:
                break
            old = row_id
        if old:
            db.execute("DELETE FROM ended WHERE id <= ?", (old,))

    # -- deletions

    def reap(self, delete: Callable[[str], None], locations: Iterable[str] | None = None) -> Reaped:
        reaped = Reaped()
        names = iter(self._condemned_names() if locations is None else locations)
        for name in names:
            self._reap_some(name, names, delete, reaped)
        return reaped

    def _condemned_names(self) -> Iterator[str]:
        return (name for name, _ in self.condemned())

    def _reap_some(
        self, first: str, more: Iterator[str], delete: Callable[[str], None], reaped: Reaped
    ) -> None:
        """Delete one location, and as many more as can be forgotten in the same transaction.

        Each stays locked until it is forgotten: otherwise a second sweeper could find it condemned and
        delete whatever has taken its path since.
        """
        locks = self._file.locks
        held: list[str] = []
        deleted: list[tuple[int, int]] = []
        failed: list[tuple[str, int, int]] = []
        until = time.monotonic() + _BATCH_SECONDS
        connection = self._file.borrow()
        try:
            name: str | None = first
            while name is not None:
                if locks.try_hold(name):
                    held.append(name)
                    self._reap_one(connection, name, delete, reaped, deleted, failed)
                room = len(held) < _BATCH and time.monotonic() < until
                name = next(more, None) if room else None
        finally:
            self._file.give_back(connection)
            try:
                self._forget(deleted, failed)
            finally:
                for name in held:
                    locks.drop(name)

    def _reap_one(
        self,
        db: sqlite3.Connection,
        name: str,
        delete: Callable[[str], None],
        reaped: Reaped,
        deleted: list[tuple[int, int]],
        failed: list[tuple[str, int, int]],
    ) -> None:
        with self._file.wrapping():
            row = db.execute(
                "SELECT id, size, condemned, attempts FROM locations"
                " WHERE location = ? AND condemned IS NOT NULL",
                (os.fsencode(name),),
            ).fetchone()
        if row is None:
            return
        location_id, size, condemned, attempts = row
        try:
            delete(name)
        except (OSError, BlobError) as error:
            reaped.failed.append(FailedDeletion(name, str(error), attempts + 1))
            failed.append((str(error), location_id, condemned))
        else:
            reaped.deleted += 1
            reaped.freed += size
            deleted.append((location_id, condemned))

    def _forget(self, deleted: list[tuple[int, int]], failed: list[tuple[str, int, int]]) -> None:
        if not deleted and not failed:
            return
        with self._file.write(lazily=True) as db:
            db.executemany("DELETE FROM locations WHERE id = ? AND condemned = ?", deleted)
            db.executemany(
                "UPDATE locations SET attempts = attempts + 1, error = ? WHERE id = ? AND condemned = ?",
                failed,
            )

    def condemned(self) -> Iterator[tuple[str, int]]:
        after = (-1, -1)
        while True:
            with self._file.read() as db:
                rows = db.execute(
                    "SELECT location, size, condemned, id FROM locations"
                    " WHERE condemned IS NOT NULL AND (condemned, id) > (?, ?)"
                    f" ORDER BY condemned, id LIMIT {PAGE}",
                    after,
                ).fetchall()
            yield from ((os.fsdecode(location), size) for location, size, _, _ in rows)
            if len(rows) < PAGE:
                return
            after = rows[-1][2:]

    # -- numbers

    def stats(self, *, by_scope: bool = False) -> Stats:
        with self._file.read() as db:
            db.execute("BEGIN")  # one snapshot for all the numbers
            try:
                refs, oldest = db.execute("SELECT count(*), min(stored_at) FROM refs").fetchone()
                files, owned, size, condemned, condemned_size = db.execute(
                    """
                    SELECT count(*) FILTER (WHERE condemned IS NULL),
                           count(*) FILTER (WHERE condemned IS NULL AND owned),
                           coalesce(sum(size) FILTER (WHERE condemned IS NULL), 0),
                           count(condemned),
                           coalesce(sum(size) FILTER (WHERE condemned IS NOT NULL), 0)
                    FROM locations
                    """
                ).fetchone()
                failed = db.execute(
                    "SELECT location, error, attempts FROM locations"
                    f" WHERE condemned IS NOT NULL AND attempts > 0 LIMIT {NAMED_FAILURES}"
                ).fetchall()
                (scopes,) = db.execute("SELECT count(DISTINCT scope) FROM refs").fetchone()
                rows = self._scope_rows(db) if by_scope else []
            finally:
                db.execute("COMMIT")
        return Stats(
            refs=refs,
            scopes=scopes,
            files=files,
            size=size,
            owned=owned,
            borrowed=files - owned,
            condemned=condemned,
            condemned_size=condemned_size,
            oldest=None if oldest is None else datetime.fromtimestamp(oldest, UTC),
            failed=tuple(FailedDeletion(os.fsdecode(it[0]), it[1], it[2]) for it in failed),
            by_scope={name: ScopeStats(*numbers) for name, *numbers in rows},
        )

    def _scope_rows(self, db: sqlite3.Connection) -> list[Any]:
        return db.execute(
            """
            SELECT scope, sum(n), count(*), sum(size)
            FROM (SELECT scope, location_id, count(*) AS n FROM refs GROUP BY scope, location_id)
            JOIN locations ON locations.id = location_id
            GROUP BY scope ORDER BY scope
            """
        ).fetchall()

    def close(self) -> None:
        """Close the file; every other verb raises `CatalogError` from now on."""
        self._file.close()


def _nested(scope: str) -> tuple[str, str]:
    """Return the first name below `scope`, and the first after all of these."""
    prefix = below(scope)
    return prefix, prefix[:-1] + chr(ord(prefix[-1]) + 1)


def _due(now: float, max_age: float | None) -> Iterator[tuple[str, float]]:
    """Yield the conditions under which a ref is past its time; each is one range of refs_by_age."""
    yield "expires_at < ?", now
    if max_age is not None:
        yield "expires_at IS NULL AND stored_at < ?", now - max_age


def _bytes_of(ref: str) -> bytes:
    """Return the 16 bytes of a ref.

    Raises:
        UnknownRef: it is not spelled as a ref is.
    """
    try:
        key = bytes.fromhex(ref[8:].replace("-", ""))
    except (TypeError, ValueError, AttributeError):
        raise UnknownRef(ref) from None
    if len(key) != 16 or _ref_of(key) != ref:
        raise UnknownRef(ref)
    return key


def _ref_of(key: bytes) -> str:
    h = key.hex()
    return f"media://{h[:8]}-{h[8:12]}-{h[12:16]}-{h[16:20]}-{h[20:]}"


def _meta_to_json(meta: MediaMeta) -> str:
    # ASCII, so that a file name that is not valid Unicode comes back as it was.
    kept = {"filename": meta.filename, "content_type": meta.content_type, "source": meta.source}
    said: dict[str, str] = {name: text for name, text in kept.items() if text}
    if meta.cleanup_policy is not CleanupPolicy.DELETE_ON_CLEANUP:
        said["cleanup_policy"] = meta.cleanup_policy.value
    return json.dumps(said)


def _meta_from_json(text: str) -> MediaMeta:
    return MediaMeta(**json.loads(text))


def _place(location: bytes, path: bytes | None) -> tuple[str, Path | None]:
    name = os.fsdecode(location)
    if path is not None:
        return name, Path(os.fsdecode(path))
    return name, Path(name) if os.path.isabs(name) else None


def _entry(row: tuple[Any, ...]) -> Entry:
    key, scope, location, path, meta, size, sha256, stored_at, expires_at, owned, refs = row
    location, path = _place(location, path)
    return Entry(
        ref=_ref_of(key),
        scope=scope,
        location=location,
        path=path,
        meta=_meta_from_json(meta),
        size=size,
        sha256=sha256,
        stored_at=datetime.fromtimestamp(stored_at, UTC),
        expires_at=None if expires_at is None else datetime.fromtimestamp(expires_at, UTC),
        owned=bool(owned),
        refs=refs,
        leases=0,
    )
