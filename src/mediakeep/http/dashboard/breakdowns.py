"""What the largest scopes and sorts of files had, every few minutes of a week, in a file of fixed size.

A record has a place of its own in the file, that of its time in the week, and room for the largest names
only. As with the samples of the whole, workers that share the file write the same, and a record that is
torn, or is not of the time that its place stands for, is passed over.
"""

import json
import os
import struct
import time
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

FILE = "breakdowns.bin"
EVERY_SECONDS = 300
SLOTS = 7 * 86_400 // EVERY_SECONDS
"""How many are kept: those of a week."""

MOST_NAMES = 6
LONGEST_NAME = 60
MOST_READ = 240
"""How many of a time are told, evenly chosen: a plot shows no more."""

_HEAD = struct.Struct("<qII")  # which slot since the epoch, the length of what follows, and its CRC-32
_ROOM = 2048

Parts = Mapping[str, tuple[int, int]]
"""Refs and bytes by name."""


class Breakdown(NamedTuple):
    """What there was at a time, in seconds since the epoch, by first level of scopes and by sort."""

    at: float
    levels: Parts
    sorts: Parts


class Breakdowns:
    """The breakdowns in the file at `path`; None keeps them in memory."""

    __slots__ = ("_clock", "_kept", "_path")

    def __init__(self, path: Path | None, clock: Callable[[], float] = time.time) -> None:
        self._path = path
        self._clock = clock
        self._kept: dict[int, bytes] = {}

    def is_due(self) -> bool:
        """Return whether nobody has kept that of this time yet; blocks."""
        slot = int(self._clock() // EVERY_SECONDS)
        return self._read(slot) is None

    def add(self, levels: Parts, sorts: Parts) -> None:
        """Keep the largest of these for this time; blocks."""
        slot = int(self._clock() // EVERY_SECONDS)
        kept, more = _largest(levels), _largest(sorts)
        while len(said := json.dumps([kept, more]).encode()) > _ROOM - _HEAD.size:
            kept = kept[:-1]
        record = _HEAD.pack(slot, len(said), zlib.crc32(said)) + said
        if self._path is None:
            self._kept[slot % SLOTS] = record
            return
        self._path.parent.mkdir(0o700, parents=True, exist_ok=True)
        handle = os.open(self._path, os.O_CREAT | os.O_WRONLY | os.O_CLOEXEC, 0o600)
        try:
            os.pwrite(handle, record.ljust(_ROOM, b"\0"), slot % SLOTS * _ROOM)
        finally:
            os.close(handle)

    def since(self, seconds: float) -> list[Breakdown]:
        """Return those of the last `seconds`, the oldest first, at most MOST_READ; blocks."""
        last = int(self._clock() // EVERY_SECONDS)
        count = min(int(seconds // EVERY_SECONDS) + 1, SLOTS)
        step = -(-count // MOST_READ)
        found = (self._read(slot) for slot in range(last - count + 1, last + 1, step))
        return [it for it in found if it is not None]

    def _read(self, slot: int) -> Breakdown | None:
        if self._path is None:
            record = self._kept.get(slot % SLOTS, b"")
        else:
            try:
                handle = os.open(self._path, os.O_RDONLY | os.O_CLOEXEC)
            except FileNotFoundError:
                return None
            try:
                record = os.pread(handle, _ROOM, slot % SLOTS * _ROOM)
            finally:
                os.close(handle)
        if len(record) < _HEAD.size:
            return None
        of, length, crc = _HEAD.unpack_from(record)
        said = record[_HEAD.size : _HEAD.size + length]
        if of != slot or zlib.crc32(said) != crc:
            return None
        levels, sorts = ({name: (refs, size) for name, refs, size in it} for it in json.loads(said))
        return Breakdown(slot * float(EVERY_SECONDS), levels, sorts)


def shown_name(name: str) -> str:
    """Return a name as it is kept: at most so long."""
    return name if len(name) <= LONGEST_NAME else name[: LONGEST_NAME - 1] + "…"


def _largest(parts: Parts) -> list[tuple[str, int, int]]:
    ranked = sorted(parts.items(), key=lambda it: (-it[1][1], -it[1][0], it[0]))
    return [(shown_name(name), refs, size) for name, (refs, size) in ranked[:MOST_NAMES]]
