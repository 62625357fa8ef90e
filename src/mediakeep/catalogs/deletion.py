"""Deleting what a batch of rows tells of: one by one, or all blobs of it together."""

import os
import time
from collections.abc import Callable, Iterator
from typing import Any

from mediakeep.catalogs import DeleteMany

Row = tuple[Any, ...]
"""Location in bytes, id, size, line of the journal, attempts, and whether the bytes may be deleted."""


class Deletion:
    """What deletes bytes.

    Args:
        delete: deletes those of one location; raises `OSError`.
        delete_many: deletes those of many blobs together, if that is a single request.
    """

    __slots__ = ("_delete", "_delete_many")

    def __init__(self, delete: Callable[[str], None], delete_many: DeleteMany | None) -> None:
        self._delete = delete
        self._delete_many = delete_many

    def run(self, rows: list[Row], seconds: float) -> Iterator[tuple[Row, str, OSError | None]]:
        """Take rows off the list, delete what they tell of, and yield each with its name and failure.

        Rows are left in the list when deleting one by one has taken `seconds`; the first is always done.
        """
        if self._delete_many is not None:
            yield from self._together(rows, self._delete_many)
        until = time.monotonic() + seconds
        while rows:
            row = rows.pop()
            name = os.fsdecode(row[0])
            failure = None
            try:
                if row[5]:
                    self._delete(name)
            except OSError as error:
                failure = error
            yield row, name, failure
            if time.monotonic() > until:
                return

    def _together(
        self, rows: list[Row], delete_many: DeleteMany
    ) -> Iterator[tuple[Row, str, OSError | None]]:
        blobs = {os.fsdecode(row[0]): row for row in rows if row[5] and not os.path.isabs(row[0])}
        if len(blobs) > 1:
            rows[:] = [row for row in rows if os.fsdecode(row[0]) not in blobs]
            failed = delete_many(list(blobs))
            for name, row in blobs.items():
                yield row, name, failed.get(name)
