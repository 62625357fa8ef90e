"""The books in an SQLite file: durable, for many threads and processes of one machine.

A state of a location is a pattern of rows. Live: it has refs. Condemned: it has none, and `condemned`
names the line of the journal that tells why; the same for a borrowed one that a lease still holds. Gone
and forgotten: no row. No count of refs or leases is kept anywhere.
"""

import json
import os
import secrets
import sqlite3
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from mediakeep.catalogs import (
    Catalog,
    DeleteMany,
    Ended,
    EndedFile,
    Fault,
    HasBytes,
    IsThere,
    Place,
    Reaped,
    Registration,
    Tally,
    Use,
    Why,
)
from mediakeep.catalogs import sqlite_beginnings as beginnings
from mediakeep.catalogs import sqlite_checks as checks
from mediakeep.catalogs import sqlite_listing as listing
from mediakeep.catalogs import sqlite_numbers as numbers
from mediakeep.catalogs import sqlite_variants as variants
from mediakeep.catalogs.contents import share_out
from mediakeep.catalogs.deletion import Deletion
from mediakeep.catalogs.rows import (
    HISTORY_SECONDS,
    bytes_of,
    entry_of,
    meta_and_types,
    names_below,
    place_of,
    process,
    receipts_of,
    ref_of,
)
from mediakeep.catalogs.rules import check_room, location_of, still_leased
from mediakeep.catalogs.sqlite_file import SqliteFile
from mediakeep.catalogs.sqlite_reaping import Reaper
from mediakeep.catalogs.sqlite_schema import COLUMNS, LEASED, MIGRATIONS, SCHEMA, VERSION
from mediakeep.clocks import Clock, clock_since_boot
from mediakeep.errors import UnknownRef
from mediakeep.model import (
    Entry,
    Limits,
    Position,
    Receipt,
    Stats,
)

PAGE = 500
"""Rows that are read at a time, so that no reader holds the write-ahead log for long."""

__all__ = ["SqliteCatalog"]


class SqliteCatalog(Catalog):
    """Refs, scopes, locations and leases in the SQLite file at `path`.

    Args:
        path: the file; made if it does not exist. Its folder must.
        clock: gives the time of day; wall-clock time, since it must mean the same after a restart.
            Leases go by the time since the machine's boot, unless a clock is given here.
        fsync: whether what is written survives a loss of power.
        timeout: how many seconds a writer waits for its turn.
        history_seconds: how long the journal goes back.

    Raises:
        CatalogError: the file is not a catalog, is damaged, or is of a newer version.
    """

    __slots__ = ("_boot", "_clock", "_file", "_history_seconds", "_lease_clock")

    def __init__(
        self,
        path: str | os.PathLike[str],
        clock: Clock | None = None,
        *,
        fsync: bool = True,
        timeout: float = 60.0,
        history_seconds: float = HISTORY_SECONDS,
    ) -> None:
        self._clock = clock or time.time
        self._lease_clock, self._boot = (clock, "") if clock else clock_since_boot()
        self._history_seconds = history_seconds
        self._file = SqliteFile(
            os.path.realpath(path), SCHEMA, VERSION, MIGRATIONS, fsync=fsync, timeout=timeout
        )

    def _now(self) -> dict[str, Any]:
        """Return the parameters of `LEASED`."""
        return {"now": self._lease_clock(), "boot": self._boot}

    # -- beginnings

    def add(
        self,
        new: Registration,
        *,
        ttl: float | None = None,
        limits: Limits | None = None,
        is_there: IsThere | None = None,
    ) -> str:
        of_one = None if is_there is None else lambda key, _: is_there(key)
        return self._add((new,), ttl, limits, of_one)[0]

    def add_many(
        self,
        new: Sequence[Registration],
        *,
        ttl: float | None = None,
        limits: Limits | None = None,
        is_there: HasBytes | None = None,
    ) -> list[str]:
        if is_there is not None:
            # Nobody shall wait for his turn to write while the bytes of many are looked at.
            is_there = _asked_once(is_there)
            with self._file.read() as db:
                beginnings.twins(db, new, limits, is_there)
        return self._add(new, ttl, limits, is_there)

    def _add(
        self,
        new: Sequence[Registration],
        ttl: float | None,
        limits: Limits | None,
        is_there: HasBytes | None,
    ) -> list[str]:
        with self._file.write() as db:
            if is_there is not None:
                twins = beginnings.twins(db, new, limits, is_there)
                locations = share_out(new, limits, twins)
                new = [replace(it, location=to) for it, to in zip(new, locations, strict=True)]
            beginnings.write(db, new, self._clock(), ttl, limits)
        return [it.location for it in new]

    def register(
        self,
        location: str,
        check: Callable[[], Registration],
        *,
        ttl: float | None = None,
        limits: Limits | None = None,
    ) -> None:
        self.register_many((location,), lambda: (check(),), ttl=ttl, limits=limits)

    def register_many(
        self,
        locations: Sequence[str],
        check: Callable[[], Sequence[Registration]],
        *,
        ttl: float | None = None,
        limits: Limits | None = None,
    ) -> None:
        with self._file.holding(locations):
            self._add(check(), ttl, limits, None)

    def restore(self, refs: Sequence[Registration], *, owned: bool) -> int:
        location = location_of(refs)
        # A file that is condemned may be restored, but not while it is being deleted.
        with (
            self._file.holding((location,) if os.path.isabs(location) else ()),
            self._file.write() as db,
        ):
            return beginnings.restore(db, refs, owned=owned)

    def share(
        self,
        ref: str,
        new_ref: str,
        scope: str,
        *,
        ttl: float | None = None,
        limits: Limits | None = None,
    ) -> None:
        with self._file.write() as db:
            new = replace(self._get(db, ref), ref=new_ref, scope=scope)
            beginnings.write(db, (new,), self._clock(), ttl, limits)

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
        key = bytes_of(ref)
        row = db.execute(
            f"SELECT {COLUMNS} FROM refs r JOIN locations l ON l.id = r.location_id WHERE r.ref = ?",
            (key,),
        ).fetchone()
        if row is None:
            raise self._dead(db, ref, key)
        return _registration(ref, row)

    def _dead(self, db: sqlite3.Connection, ref: str, key: bytes) -> UnknownRef:
        row = db.execute(
            "SELECT what, scope FROM history WHERE ref = ? ORDER BY id DESC LIMIT 1", (key,)
        ).fetchone()
        return UnknownRef(ref) if row is None else Why(row[0]).error(ref, row[1])

    def knows(self, location: str) -> bool:
        with self._file.read() as db:
            sql = "SELECT 1 FROM locations WHERE location = ?"
            return db.execute(sql, (os.fsencode(location),)).fetchone() is not None

    def entry(self, ref: str) -> Entry:
        key = bytes_of(ref)
        with self._file.read() as db:
            row = db.execute(listing.ENTRY, {"ref": key, **self._now()}).fetchone()
            if row is None:
                raise self._dead(db, ref, key)
            return entry_of(ref, row[1:])

    def entries(
        self,
        scope: str | None = None,
        *,
        nested: bool = False,
        after: Position | None = None,
        newest: bool = False,
    ) -> Iterator[Entry]:
        return listing.entries(self._file, self._now, scope, nested=nested, after=after, newest=newest)

    def latest(self) -> list[tuple[str, datetime]]:
        with self._file.read() as db:
            return listing.latest(db)

    def expiring(self, limit: int) -> list[Entry]:
        with self._file.read() as db:
            return listing.expiring(db, limit, self._now())

    def leased(self, limit: int) -> list[Entry]:
        with self._file.read() as db:
            return listing.leased(db, limit, self._now())

    def refs_at(self, location: str) -> Iterator[Registration]:
        sql = (
            f"SELECT r.ref, {COLUMNS} FROM refs r JOIN locations l ON l.id = r.location_id"
            " WHERE r.location_id = (SELECT id FROM locations WHERE location = ?) AND r.ref > ?"
            f" ORDER BY r.ref LIMIT {PAGE}"
        )
        after = b""
        while True:
            with self._file.read() as db:
                rows = db.execute(sql, (os.fsencode(location), after)).fetchall()
            yield from (_registration(ref_of(row[0]), row[1:]) for row in rows)
            if len(rows) < PAGE:
                return
            after = rows[-1][0]

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
            key = bytes_of(ref)
        except UnknownRef:
            return Ended()
        return self._end(Why.RELEASED, "ref = :ref", {"ref": key})

    def release_scope(self, scope: str, *, nested: bool = False, refuse_leased: bool = False) -> Ended:
        where, values = "scope = :scope", {"scope": scope}
        if nested:
            first, end = names_below(scope)
            where, values = (
                "(scope = :scope OR (scope >= :first AND scope < :end))",
                {"scope": scope, "first": first, "end": end},
            )
        with self._file.read() as db:  # no turn to write for nothing
            if db.execute(f"SELECT 1 FROM refs WHERE {where} LIMIT 1", values).fetchone() is None:
                return Ended()
        return self._end(Why.RELEASED, where, values, refuse_leased=refuse_leased)

    def expire(self, max_age: float | None, *, limit: int = 1000) -> Ended:
        with self._file.read() as db:
            refs: list[tuple[bytes]] = []
            for where, than in _due(self._clock(), max_age):
                sql = f"SELECT ref FROM refs WHERE {where} LIMIT {limit - len(refs)}"
                refs += db.execute(sql, (than,)).fetchall()
        if not refs:
            return Ended()
        # Nothing makes a ref younger, so what was due is due: only whether it still lives is open.
        marks = ", ".join(f":ref{i}" for i in range(len(refs)))
        values = {f"ref{i}": ref for i, (ref,) in enumerate(refs)}
        return self._end(Why.EXPIRED, f"ref IN ({marks})", values)

    def due(self, max_age: float | None) -> int:
        with self._file.read() as db:
            total = 0
            for where, than in _due(self._clock(), max_age):
                (count,) = db.execute(f"SELECT count(*) FROM refs WHERE {where}", (than,)).fetchone()
                total += count
            return total

    def _end(
        self, why: Why, where: str, values: dict[str, Any], *, refuse_leased: bool = False
    ) -> Ended:
        with self._file.write() as db:
            if refuse_leased:
                self._refuse_leased(db, where, values)
            return self._end_in(db, why, where, values)

    def _refuse_leased(self, db: sqlite3.Connection, where: str, values: dict[str, Any]) -> None:
        row = db.execute(
            f"""
            SELECT location, (SELECT ref FROM refs WHERE location_id = id LIMIT 1),
                   (SELECT count(*) FROM leases WHERE location_id = id AND deadline >= :now
                        AND boot = :boot)
            FROM locations
            WHERE id IN (SELECT location_id FROM refs WHERE {where}) AND owned AND {LEASED}
                AND NOT EXISTS (SELECT 1 FROM refs WHERE location_id = id AND NOT {where})
            LIMIT 1
            """,
            {**values, **self._now()},
        ).fetchone()
        if row is not None:
            raise still_leased(os.fsdecode(row[0]), ref_of(row[1]), row[2])

    def _end_in(self, db: sqlite3.Connection, why: Why, where: str, values: dict[str, Any]) -> Ended:
        """End the refs that match, write the journal, condemn or forget what has no ref left."""
        rows = db.execute(
            f"DELETE FROM refs WHERE {where} RETURNING ref, scope, location_id", values
        ).fetchall()
        ids = json.dumps(list({location_id for _, _, location_id in rows}))
        places = {
            location_id: (location, size, owned)
            for location_id, location, size, owned in db.execute(
                "SELECT id, location, size, owned FROM locations"
                " WHERE id IN (SELECT value FROM json_each(?))",
                (ids,),
            )
        }
        now, by = self._clock(), process()
        line, oldest = db.execute(
            "SELECT coalesce(max(id), 0), (SELECT at FROM history ORDER BY id LIMIT 1) FROM history"
        ).fetchone()

        def note(lines: list[tuple[int, bytes, str, bytes, int]]) -> None:
            db.executemany(
                "INSERT INTO history (id, at, what, ref, scope, location, size, process)"
                " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                [(number, now, why.value, *about, by) for number, *about in lines],
            )

        note([(n, ref, scope, *places[at][:2]) for n, (ref, scope, at) in enumerate(rows, line + 1)])
        last_lines = {location_id: line + i for i, (_, _, location_id) in enumerate(rows, 1)}
        last_refs = {location_id: (ref, scope) for ref, scope, location_id in rows}
        doomed = variants.condemn_variants(db, last_refs, line + len(rows) + 1, note)
        waiting = db.execute(
            f"""
            UPDATE locations SET condemned = json_extract(last.value, '$[1]')
            FROM json_each(:last) AS last
            WHERE locations.id = json_extract(last.value, '$[0]') AND (owned OR {LEASED})
                AND NOT EXISTS (SELECT 1 FROM refs WHERE location_id = locations.id)
            RETURNING location, owned
            """,
            {"last": json.dumps(list(last_lines.items())), **self._now()},
        ).fetchall()
        if len(waiting) < len(last_lines):  # what is borrowed is forgotten
            db.execute(
                """
                DELETE FROM locations
                WHERE id IN (SELECT value FROM json_each(?)) AND condemned IS NULL
                    AND NOT EXISTS (SELECT 1 FROM refs WHERE location_id = locations.id)
                """,
                (ids,),
            )
        if line and oldest < now - self._history_seconds:
            self._shorten_history(db, now)
        files = dict(doomed)
        for _, _, location_id in rows:
            location, size, owned = places[location_id]
            files.setdefault(os.fsdecode(location), EndedFile(size, bool(owned))).refs += 1
        condemned = [os.fsdecode(location) for location, owned in waiting if owned]
        condemned.extend(doomed)
        return Ended(len(rows), condemned, files)

    def _shorten_history(self, db: sqlite3.Connection, now: float) -> None:
        """Drop those of the journal's oldest lines whose time is over, a bounded number at a time.

        Never the newest one: its number keeps that of the next one from having been used before.
        """
        db.execute(
            "DELETE FROM history WHERE at < ? AND id < (SELECT max(id) FROM history)"
            " AND id IN (SELECT id FROM history ORDER BY id LIMIT 2000)"
            " AND id NOT IN (SELECT condemned FROM locations WHERE condemned IS NOT NULL)",
            (now - self._history_seconds,),
        )

    # -- deletions

    def reap(
        self,
        delete: Callable[[str], None],
        locations: Iterable[str] | None = None,
        *,
        delete_many: DeleteMany | None = None,
    ) -> Reaped:
        if locations is None:
            locations = (name for name, _, _ in self._waiting())
        deletion = Deletion(delete, delete_many)
        return Reaper(self._file, self._clock, self._now, deletion).reap(iter(locations))

    def condemned(self) -> Iterator[tuple[str, int]]:
        return ((name, size) for name, size, owned in self._waiting() if owned)

    def _waiting(self) -> Iterator[tuple[str, int, bool]]:
        """Yield location, size and ownership of what has no ref and no live lease."""
        after = (-1, -1)
        while True:
            with self._file.read() as db:
                rows = db.execute(
                    "SELECT location, size, owned, condemned, id FROM locations"
                    " WHERE condemned IS NOT NULL AND (condemned, id) > (:condemned, :id)"
                    f" AND NOT {LEASED} ORDER BY condemned, id LIMIT {PAGE}",
                    {"condemned": after[0], "id": after[1], **self._now()},
                ).fetchall()
            yield from ((os.fsdecode(row[0]), row[1], bool(row[2])) for row in rows)
            if len(rows) < PAGE:
                return
            after = rows[-1][3:]

    # -- variants

    def variant(self, ref: str, name: str) -> str | None:
        with self._file.read() as db:
            self._get(db, ref)
            return variants.variant(db, bytes_of(ref), name)

    def add_variant(
        self, ref: str, name: str, key: str, size: int, sha256: str, *, limits: Limits | None = None
    ) -> str:
        with self._file.write() as db:
            self._get(db, ref)
            there = variants.variant(db, bytes_of(ref), name)
            if there is None:
                before = numbers.use(db)
                variants.add_variant(db, bytes_of(ref), name, key, size, sha256)
                if limits is not None:
                    check_room(limits, before, numbers.use(db))
            return there or key

    # -- leases

    @property
    def leases_lapse(self) -> bool:
        return True

    def lease(self, ref: str, seconds: float) -> tuple[int, Registration]:
        number = secrets.randbits(62)
        with self._file.write() as db:
            found = self._get(db, ref)
            db.execute(
                "INSERT INTO leases SELECT ?, location_id, ?, ?, ? FROM refs WHERE ref = ?",
                (number, self._lease_clock() + seconds, self._boot, process(), bytes_of(ref)),
            )
        return number, found

    def renew(self, leases: Iterable[int], seconds: float) -> list[int]:
        lost = []
        with self._file.write() as db:
            now = self._now()
            for number in leases:
                values = {"number": number, "deadline": now["now"] + seconds, **now}
                renewed = db.execute(
                    "UPDATE leases SET deadline = :deadline"
                    " WHERE number = :number AND deadline >= :now AND boot = :boot",
                    values,
                )
                if not renewed.rowcount:
                    lost.append(number)
        return lost

    def end_lease(self, lease: int) -> list[str]:
        with self._file.write() as db:
            rows = db.execute(
                "DELETE FROM leases WHERE number = ? RETURNING location_id", (lease,)
            ).fetchall()
            return [
                os.fsdecode(row[0])
                for (location_id,) in rows
                for row in db.execute(
                    "SELECT location FROM locations WHERE (id = :id OR variant_of = :id)"
                    f" AND condemned IS NOT NULL AND NOT {LEASED}",
                    {"id": location_id, **self._now()},
                ).fetchall()
            ]

    def forget_lapsed(self) -> int:
        lapsed = "FROM leases WHERE deadline < :now OR boot <> :boot"
        with self._file.read() as db:
            if db.execute(f"SELECT 1 {lapsed} LIMIT 1", self._now()).fetchone() is None:
                return 0
        with self._file.write() as db:
            return db.execute(f"DELETE {lapsed}", self._now()).rowcount

    # -- numbers and the journal

    def use(self) -> Use:
        with self._file.read() as db:
            return numbers.use(db)

    def tally(self, majors: Sequence[str]) -> list[Tally]:
        with self._file.read() as db:
            return numbers.tally(db, majors)

    def stats(self, *, by_scope: bool = False) -> Stats:
        with self._file.read() as db:
            return numbers.stats(db, self._now(), by_scope=by_scope)

    def history(self, ref: str | None = None, scope: str | None = None) -> Iterator[Receipt]:
        where, values = "", dict[str, Any]()
        if ref is not None:
            # The end of the ref itself, and what became of its file, whichever ref was the last.
            where = """ AND (ref = :ref OR (deleted_at IS NOT NULL OR failed_at IS NOT NULL)
                AND location IN (SELECT location FROM history WHERE ref = :ref))"""
            try:
                values["ref"] = bytes_of(ref)
            except UnknownRef:
                return
        if scope is not None:
            where += " AND (scope = :scope OR (scope >= :first AND scope < :end))"
            first, end = names_below(scope)
            values |= {"scope": scope, "first": first, "end": end}
        sql = f"SELECT * FROM history WHERE id > :after{where} ORDER BY id LIMIT {PAGE}"
        after = -1
        while True:
            with self._file.read() as db:
                rows = db.execute(sql, {"after": after, **values}).fetchall()
            for row in rows:
                yield from receipts_of(row, ref)
            if len(rows) < PAGE:
                return
            after = rows[-1][0]

    # -- for reconciling

    def places(self) -> Iterator[Place]:
        sql = (
            f"SELECT location, size, sha256, condemned IS NOT NULL, {LEASED} FROM locations"
            " WHERE location > :after ORDER BY location LIMIT 2000"
        )
        after = b""
        while True:
            with self._file.read() as db:
                rows = db.execute(sql, {"after": after, **self._now()}).fetchall()
            for location, size, sha256, condemned, leased in rows:
                yield Place(os.fsdecode(location), size, sha256, bool(condemned), bool(leased))
            if not rows:
                return
            after = rows[-1][0]

    def is_live(self, location: str) -> bool:
        with self._file.read() as db:
            sql = """
                SELECT 1 FROM locations WHERE location = ?
                AND EXISTS (SELECT 1 FROM refs WHERE location_id IN (locations.id, locations.variant_of))
            """
            return db.execute(sql, (os.fsencode(location),)).fetchone() is not None

    def adopt(self, location: str, size: int) -> None:
        values = {
            "location": os.fsencode(location),
            "size": size,
            "at": self._clock(),
            "process": process(),
            "what": Why.RECONCILED.value,
        }
        unknown = "WHERE NOT EXISTS (SELECT 1 FROM locations WHERE location = :location)"
        with self._file.write() as db:
            noted = db.execute(
                "INSERT INTO history (at, what, scope, location, size, process)"
                f" SELECT :at, :what, '', :location, :size, :process {unknown}",
                values,
            )
            db.execute(
                "INSERT INTO locations (location, owned, size, sha256, condemned)"
                f" SELECT :location, 1, :size, '', :line {unknown}",
                {**values, "line": noted.lastrowid},
            )

    def lose(self, location: str) -> int:
        values = {"location": os.fsencode(location)}
        of_it = "location_id IN (SELECT id FROM locations WHERE location = :location)"
        with self._file.write() as db:
            ended = self._end_in(db, Why.RECONCILED, of_it, values)
            db.execute(
                f"DELETE FROM locations WHERE location = :location AND NOT {LEASED}"
                " AND NOT EXISTS (SELECT 1 FROM refs WHERE location_id = locations.id)",
                {**values, **self._now()},
            )
        return ended.refs

    def faults(self, *, deep: bool = False) -> Iterator[Fault]:
        with self._file.read() as db:
            found = checks.faults(db, self._now(), deep=deep)
        yield from found

    def mend(self) -> None:
        with self._file.write() as db:
            checks.mend(db, self._now(), at=self._clock(), by=process())

    def close(self) -> None:
        """Close the file; every other verb raises `CatalogError` from now on."""
        self._file.close()


def _asked_once(is_there: HasBytes) -> HasBytes:
    answers: dict[str, bool] = {}

    def ask(key: str, new: Registration) -> bool:
        if key not in answers:
            answers[key] = is_there(key, new)
        return answers[key]

    return ask


def _due(now: float, max_age: float | None) -> Iterator[tuple[str, float]]:
    """Yield the conditions under which a ref is past its time; each is one range of refs_by_age."""
    yield "expires_at < ?", now
    if max_age is not None:
        yield "expires_at IS NULL AND stored_at < ?", now - max_age


def _registration(ref: str, row: tuple[Any, ...]) -> Registration:
    """Return what a row of `COLUMNS` stands for."""
    scope, location, path, meta, size, sha256, stored_at, expires_at = row
    location, given = place_of(location, path)
    meta, declared, detected = meta_and_types(meta)
    return Registration(
        ref, scope, location, given, meta, size, sha256, declared, detected, stored_at, expires_at
    )
