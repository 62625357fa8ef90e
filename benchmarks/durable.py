"""The store in a folder against diskcache, and against the bare system calls.

diskcache runs with its default settings: SQLite in WAL mode with `synchronous=NORMAL`, which is ours
without fsync, and values of more than 32 kB in files of their own.
"""

import itertools
import os
import random
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import diskcache

from benchmarks.measure import (
    Line,
    Scale,
    Side,
    fresh,
    fresh_place,
    interleaved,
    make_files,
    per_call,
    scratch,
)
from mediakeep import MediaStore, open_store

PAYLOAD = random.Random(4).randbytes(100_000)
SCOPE = "telegram:42:1"
PLACES = 7
READS = 500
FILLED = 1500
"""How many refs and keys either side has before it is measured, so that its folders are there."""


class Bench:
    """One folder with a store and a cache side by side."""

    def __init__(self, folder: Path, calls: int, *, fsync: bool) -> None:
        self.folder = folder
        self.calls = calls
        self.cache = diskcache.Cache(str(folder / "cache"))
        self.store: MediaStore = open_store(folder / "store", fsync=fsync)
        for n in range(FILLED):
            self.store.put(b"%d" % n, scope="before")
            self.cache.set(f"before-{n}", b"x")

    def put(self, rounds: int = 1) -> list[str]:
        return [self.store.put(fresh(PAYLOAD), scope=SCOPE) for _ in range(rounds * self.calls)]

    def set(self, rounds: int = 1) -> list[str]:
        keys = [os.urandom(16).hex() for _ in range(rounds * self.calls)]
        for key in keys:
            self.cache.set(key, fresh(PAYLOAD))
        return keys

    def timed(self, run: Callable[[], object]) -> Side:
        return lambda: per_call(run, self.calls)

    def close(self) -> None:
        self.store.close()
        self.cache.close()


def side_by_side(
    scale: Scale, sides: Callable[[Bench], tuple[Side, Side]], *, fsync: bool = False
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Measure in several places, one after the other: where on the disk a file lies changes its cost."""
    ours: tuple[float, ...] = ()
    peer: tuple[float, ...] = ()
    with scratch() as folder:
        for n in range(PLACES):
            place = fresh_place(folder / f"place-{n}")
            with closing(Bench(place, scale.puts, fsync=fsync)) as bench:
                here, there = interleaved(*sides(bench), max(1, scale.rounds // PLACES))
            ours, peer = ours + here, peer + there
    return ours, peer


def put(scale: Scale) -> Line:
    return Line(
        "durable: `put` of 100 kB, fsync off, against diskcache `set`",
        0.8,
        *side_by_side(scale, lambda bench: (bench.timed(bench.put), bench.timed(bench.set))),
        how=f"{scale.puts} of them a round, the same bytes on both sides, in {PLACES} places of a disk",
    )


def put_fsync(scale: Scale) -> Line:
    def sides(bench: Bench) -> tuple[Side, Side]:
        bare = bench.folder / "bare"
        bare.mkdir()

        def write_all() -> None:
            for _ in range(bench.calls):
                _write_durably(bare, os.urandom(16).hex())

        return bench.timed(bench.put), bench.timed(write_all)

    return Line(
        "durable: `put` of 100 kB, fsync on, against bare write, fsync and rename",
        1.6,
        *side_by_side(scale, sides, fsync=True),
        how=f"{scale.puts} of them a round, in {PLACES} places of a disk; the bare side does not sync "
        "its folder, so its new name may be lost with the power, and ours may not",
    )


def _write_durably(folder: Path, name: str) -> None:
    temp = f"{folder}/{name}.tmp"
    handle = os.open(temp, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
    try:
        os.write(handle, fresh(PAYLOAD))
        os.fsync(handle)
    finally:
        os.close(handle)
    os.rename(temp, f"{folder}/{name}")


def _reading(
    scale: Scale, read: Callable[[MediaStore, str], object]
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    def sides(bench: Bench) -> tuple[Side, Side]:
        refs, keys = bench.put(8), bench.set(8)
        asked = random.Random(5).choices(range(len(refs)), k=READS)

        def ours() -> None:
            for n in asked:
                read(bench.store, refs[n])

        def peer() -> None:
            for n in asked:
                bench.cache.get(keys[n])

        return lambda: per_call(ours, READS), lambda: per_call(peer, READS)

    return side_by_side(scale, sides)


def resolve(scale: Scale) -> Line:
    return Line(
        "durable: `resolve` against diskcache `get` of 100 kB",
        0.8,
        *_reading(scale, MediaStore.resolve),
        how=f"{READS} of {8 * scale.puts} values a round, in random order; ours gives the path, "
        "diskcache the bytes out of its file",
    )


def read_bytes(scale: Scale) -> Line:
    return Line(
        "durable: `read_bytes` against diskcache `get` of 100 kB",
        None,
        *_reading(scale, MediaStore.read_bytes),
        how=f"{READS} of {8 * scale.puts} values a round, in random order; both give the bytes",
    )


def release(scale: Scale) -> Line:
    def sides(bench: Bench) -> tuple[Side, Side]:
        def side(fill: Callable[[], list[str]], end: Callable[[str], object]) -> Side:
            def timed() -> float:
                names = fill()

                def run() -> None:
                    for name in names:
                        end(name)

                return per_call(run, len(names))

            return timed

        return side(bench.put, bench.store.release), side(bench.set, bench.cache.delete)

    return Line(
        "durable: `release` of one owned file, fsync off, against diskcache `delete`",
        0.6,
        *side_by_side(scale, sides),
        how=f"{scale.puts} a round, each the only ref of its 100 kB, in {PLACES} places of a disk",
    )


def release_all(scale: Scale) -> Line:
    with scratch() as folder, open_store(folder / "store", fsync=False) as media:
        rounds = itertools.count()

        def ours() -> float:
            for path in make_files(folder / f"ours-{next(rounds)}", scale.owned):
                media.store(path, scope=SCOPE)
            return per_call(lambda: media.release_all(SCOPE), scale.owned)

        def peer() -> float:
            paths = make_files(folder / f"peer-{next(rounds)}", scale.owned)

            def run() -> None:
                for path in paths:
                    os.unlink(path)

            return per_call(run, scale.owned)

        return Line(
            f"durable: `release_all` of {scale.owned:,} owned files, fsync off, against a bare "
            "`os.unlink` loop",
            2.5,
            *interleaved(ours, peer, scale.long_rounds),
            how="files of 1 kB, just made, in one folder, registered in place in one scope",
        )


LINES: dict[str, Callable[[Scale], Line | None]] = {
    "durable.put": put,
    "durable.put_fsync": put_fsync,
    "durable.resolve": resolve,
    "durable.read_bytes": read_bytes,
    "durable.release": release,
    "durable.release_all": release_all,
}
