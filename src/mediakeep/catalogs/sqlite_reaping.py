"""Deleting the bytes of condemned locations, and forgetting them, in batches."""

import json
import os
from collections.abc import Callable, Iterator
from itertools import chain, islice
from typing import Any

from mediakeep.catalogs import Reaped
from mediakeep.catalogs.deletion import Deletion, Row
from mediakeep.catalogs.rows import process
from mediakeep.catalogs.sqlite_file import SqliteFile
from mediakeep.catalogs.sqlite_schema import LEASED
from mediakeep.clocks import Clock
from mediakeep.model import FailedDeletion

BATCH = 1000
"""How many deletions are forgotten in one transaction..."""
BATCH_SECONDS = 0.02
"""...unless they are slow: then a registration must not wait for those of other locations."""

_CONDEMNED = f"""
    SELECT location, id, size, condemned, attempts, owned FROM locations
    WHERE condemned IS NOT NULL AND NOT {LEASED} AND location IN
"""
# `condemned` is the line of the journal that tells of the last ref. It is another one if the location
# was registered, and condemned again, since it was looked at; then there is nothing to write down.
_SAME = "(id, condemned) IN (SELECT value ->> 0, value ->> 1 FROM json_each(:rows))"
_NOTE_DELETED = f"""
    UPDATE history SET deleted_at = :at, deleted_by = :by
    WHERE id IN (SELECT condemned FROM locations WHERE {_SAME} AND owned)
"""
_FORGET = f"DELETE FROM locations WHERE {_SAME}"
_NOTE_FAILED = """
    UPDATE history SET failed_at = :at, deleted_by = :by, error = :error
    WHERE id = :condemned AND failed_at IS NULL
"""
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
        deletion: what deletes bytes.
    """

    def __init__(
        self,
        file: SqliteFile,
        clock: Clock,
        now: Callable[[], dict[str, Any]],
        deletion: Deletion,
    ) -> None:
        self._file = file
        self._clock = clock
        self._now = now
        self._deletion = deletion
        self._reaped = Reaped()

    def reap(self, names: Iterator[str]) -> Reaped:
        """Delete those of the locations that are condemned and unleased."""
        for name in names:
            self._batch(name, names)
        return self._reaped

    def _batch(self, first: str, more: Iterator[str]) -> None:
        locks = self._file.locks
        held: list[str] = []
        done: list[tuple[int, int]] = []
        failed: list[dict[str, Any]] = []
        try:
            held.extend(filter(locks.try_hold, chain((first,), islice(more, BATCH - 1))))
            left = self._condemned(held)
            for row, name, error in self._deletion.run(left, BATCH_SECONDS):
                self._note(row, name, error, done, failed)
        finally:
            try:
                self._forget(done, failed)
            finally:
                for name in held:
                    locks.drop(name)
        for row in left:  # those that were not reached, one by one: deleting is slow here
            self._batch(os.fsdecode(row[0]), iter(()))

    def _condemned(self, names: list[str]) -> list[Any]:
        """Return the rows of those locations that are condemned and unleased."""
        marks = ", ".join(f":l{i}" for i in range(len(names)))
        values = {f"l{i}": os.fsencode(name) for i, name in enumerate(names)}
        with self._file.read() as db:
            return db.execute(f"{_CONDEMNED} ({marks})", {**values, **self._now()}).fetchall()

    def _note(
        self,
        row: Row,
        name: str,
        error: OSError | None,
        done: list[tuple[int, int]],
        failed: list[dict[str, Any]],
    ) -> None:
        _, location_id, size, condemned, attempts, owned = row
        if error is not None:
            reason = error.strerror or str(error)
            self._reaped.failed.append(FailedDeletion(name, reason, attempts + 1))
            failed.append({"id": location_id, "condemned": condemned, "error": reason})
            return
        done.append((location_id, condemned))
        self._reaped.deleted += owned
        self._reaped.freed += size * owned

    def _forget(self, done: list[tuple[int, int]], failed: list[dict[str, Any]]) -> None:
        """Write down what was deleted, and what could not be.

        If this is lost with the power the location is condemned still, and deleted again without effect.
        """
        if not done and not failed:
            return
        line = {"at": self._clock(), "by": process(), "rows": json.dumps(done)}
        with self._file.write(lazily=True) as db:
            if done:
                db.execute(_NOTE_DELETED, line)
                db.execute(_FORGET, line)
            if failed:
                db.executemany(_NOTE_FAILED, [{**it, **line} for it in failed])
                db.executemany(_COUNT, failed)
