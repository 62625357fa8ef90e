"""Deleting the bytes of condemned locations, and forgetting them, in batches."""

import functools
import os
import platform
import sqlite3
import time
from collections.abc import Callable, Iterator
from typing import Any

from mediakeep.catalogs import Reaped
from mediakeep.catalogs.sqlite_file import SqliteFile
from mediakeep.catalogs.sqlite_schema import LEASED
from mediakeep.clocks import Clock
from mediakeep.errors import BlobError
from mediakeep.model import FailedDeletion

BATCH = 256
"""How many deletions are forgotten in one transaction..."""
BATCH_SECONDS = 0.02
"""...unless they are slow: then a registration must not wait for those of other locations."""

_CONDEMNED = f"""
    SELECT id, size, condemned, attempts, owned FROM locations
    WHERE location = :location AND condemned IS NOT NULL AND NOT {LEASED}
"""
# The line of the journal that `condemned` names tells which ref was the last.
_NOTE = """
    INSERT INTO history (at, what, ref, scope, location, size, process, error)
    SELECT :at, :what, h.ref, coalesce(h.scope, ''), l.location, l.size, :process, :error
    FROM locations l LEFT JOIN history h ON h.id = l.condemned
    WHERE l.id = :id AND l.condemned = :condemned AND l.owned
"""
_NOTE_FIRST = f"{_NOTE} AND l.attempts = 0"
_FORGET = "DELETE FROM locations WHERE id = :id AND condemned = :condemned"
_COUNT = """
    UPDATE locations SET attempts = attempts + 1, error = :error
    WHERE id = :id AND condemned = :condemned
"""


class Reaper:
    """One reap: takes locations one by one, deletes each under its own lock, forgets them together.

    Each stays locked until it is forgotten: otherwise a second sweeper could find it condemned and
    delete whatever has taken its path since.

    Args:
        file: the catalog's file.
        clock: the time of day, for the journal.
        now: gives the parameters of `LEASED`.
    """

    def __init__(self, file: SqliteFile, clock: Clock, now: Callable[[], dict[str, Any]]) -> None:
        self._file = file
        self._clock = clock
        self._now = now
        self._reaped = Reaped()

    def reap(self, delete: Callable[[str], None], names: Iterator[str]) -> Reaped:
        """Call `delete` for each of the locations that is condemned and unleased."""
        for name in names:
            self._batch(name, names, delete)
        return self._reaped

    def _batch(self, first: str, more: Iterator[str], delete: Callable[[str], None]) -> None:
        locks = self._file.locks
        held: list[str] = []
        done: list[dict[str, Any]] = []
        failed: list[dict[str, Any]] = []
        until = time.monotonic() + BATCH_SECONDS
        connection = self._file.borrow()
        try:
            name: str | None = first
            while name is not None:
                if locks.try_hold(name):
                    held.append(name)
                    self._one(connection, name, delete, done, failed)
                room = len(held) < BATCH and time.monotonic() < until
                name = next(more, None) if room else None
        finally:
            self._file.give_back(connection)
            try:
                self._forget(done, failed)
            finally:
                for name in held:
                    locks.drop(name)

    def _one(
        self,
        db: sqlite3.Connection,
        name: str,
        delete: Callable[[str], None],
        done: list[dict[str, Any]],
        failed: list[dict[str, Any]],
    ) -> None:
        with self._file.wrapping():
            values = {"location": os.fsencode(name), **self._now()}
            row = db.execute(_CONDEMNED, values).fetchone()
        if row is None:
            return
        location_id, size, condemned, attempts, owned = row
        what = {"id": location_id, "condemned": condemned, "error": ""}
        try:
            if owned:
                delete(name)
        except (OSError, BlobError) as error:
            self._reaped.failed.append(FailedDeletion(name, str(error), attempts + 1))
            failed.append({**what, "error": str(error)})
            return
        done.append(what)
        self._reaped.deleted += owned
        self._reaped.freed += size * owned

    def _forget(self, done: list[dict[str, Any]], failed: list[dict[str, Any]]) -> None:
        """Write down what was deleted, and what could not be.

        If this is lost with the power the location is condemned still, and deleted again without effect.
        """
        if not done and not failed:
            return
        line = {"at": self._clock(), "process": process()}
        with self._file.write(lazily=True) as db:
            db.executemany(_NOTE, [{**it, **line, "what": "deleted"} for it in done])
            db.executemany(_FORGET, done)
            db.executemany(_NOTE_FIRST, [{**it, **line, "what": "failed"} for it in failed])
            db.executemany(_COUNT, failed)


def process() -> str:
    """Return the name of this process for the journal."""
    return f"process {os.getpid()} on {_node()}"


@functools.cache
def _node() -> str:
    return platform.node() or "this machine"
