"""How much the store had, minute by minute: a ring of samples that never grows.

A record is three 64-bit numbers, and its place in the file is that of its minute in the week. So workers
that share the file write the same, a crash tears one record at most, and one whose minute does not
belong to its place is passed over.
"""

import os
import struct
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from mediakeep.catalogs import Use

FILE = "samples.bin"
MINUTES = 7 * 24 * 60
"""How many samples are kept: those of a week."""

_RECORD = struct.Struct("<qqq")


class Sample(NamedTuple):
    """What the store had at a time, in seconds since the epoch."""

    at: float
    files: int
    size: int


class Samples:
    """The samples in the file at `path`; None keeps them in memory."""

    __slots__ = ("_clock", "_kept", "_path")

    def __init__(self, path: Path | None, clock: Callable[[], float] = time.time) -> None:
        self._path = path
        self._clock = clock
        self._kept = bytearray(MINUTES * _RECORD.size) if path is None else None

    def add(self, use: Use) -> None:
        """Keep the sample of this minute; blocks."""
        minute = int(self._clock() // 60)
        at, record = minute % MINUTES * _RECORD.size, _RECORD.pack(minute, *use)
        if self._kept is not None:
            self._kept[at : at + _RECORD.size] = record
        elif self._path is not None:
            self._path.parent.mkdir(0o700, parents=True, exist_ok=True)
            handle = os.open(self._path, os.O_CREAT | os.O_WRONLY | os.O_CLOEXEC, 0o600)
            try:
                os.pwrite(handle, record, at)
            finally:
                os.close(handle)

    def since(self, seconds: float) -> list[Sample]:
        """Return the samples of the last `seconds`, the oldest first; blocks."""
        now = int(self._clock() // 60)
        first = max(now - seconds // 60, now - MINUTES + 1)
        data = self._read()
        whole = memoryview(data)[: len(data) - len(data) % _RECORD.size]
        found = [
            Sample(minute * 60.0, files, size)
            for place, (minute, files, size) in enumerate(_RECORD.iter_unpack(whole))
            if minute % MINUTES == place and first <= minute <= now and minute
        ]
        return sorted(found)

    def _read(self) -> bytes | bytearray:
        if self._kept is not None or self._path is None:
            return self._kept or b""
        try:
            return self._path.read_bytes()
        except FileNotFoundError:
            return b""
