"""The store in a folder against diskcache, and against the bare system calls.

diskcache runs with its default settings: SQLite in WAL mode with `synchronous=NORMAL`, which is ours
without fsync, and values of more than 32 kB in files of their own.
"""

import itertools
import os
import random
from collections.abc import Callable
from pathlib import Path

import diskcache

from benchmarks.measure import Line, Scale, Side, interleaved, make_files, per_call, scratch
from mediakeep import MediaStore, open_store

PAYLOAD = random.Random(4).randbytes(100_000)
SCOPE = "telegram:42:1"
FILLED = 1500
"""How many values either side has before it is measured."""


class Bench:
    """One folder with a store and a cache side by side."""

    def __init__(self, folder: Path, calls: int, *, fsync: bool = False) -> None:
        self.calls = calls
        self.cache = diskcache.Cache(str(folder / "cache"))
        self.media: MediaStore = open_store(folder / "store", fsync=False)
        self.put(FILLED // calls)  # so that all folders are there
        self.set(FILLED // calls)
        self.media.close()
        self.media = open_store(folder / "store", fsync=fsync)

    def put(self, rounds: int = 1) -> list[str]:
        return [self.media.put(PAYLOAD, scope=SCOPE) for _ in range(rounds * self.calls)]

    def set(self, rounds: int = 1) -> list[str]:
        keys = [os.urandom(16).hex() for _ in range(rounds * self.calls)]
        for key in keys:
            self.cache.set(key, PAYLOAD)
        return keys

    def put_side(self) -> float:
        return per_call(self.put, self.calls)

    def set_side(self) -> float:
        return per_call(self.set, self.calls)

    def close(self) -> None:
        self.media.close()
        self.cache.close()


def put(scale: Scale) -> Line:
    with scratch() as folder:
        bench = Bench(folder, scale.puts)
        line = Line(
            "durable: `put` of 100 kB, fsync off, against diskcache `set`",
            0.8,
            *interleaved(bench.put_side, bench.set_side, scale.rounds),
            how=f"{scale.puts} of them a round, the same bytes on both sides",
        )
        bench.close()
        return line


def put_fsync(scale: Scale) -> Line:
    with scratch() as folder:
        bench = Bench(folder, scale.puts, fsync=True)
        bare = folder / "bare"
        bare.mkdir()

        def write_all() -> None:
            for _ in range(bench.calls):
                _write_durably(bare, os.urandom(16).hex())

        def peer() -> float:
            return per_call(write_all, bench.calls)

        line = Line(
            "durable: `put` of 100 kB, fsync on, against bare write, fsync and rename",
            1.6,
            *interleaved(bench.put_side, peer, scale.rounds),
            how=f"{bench.calls} of them a round; the bare side does not sync its folder, so its new "
            "name may be lost with the power, and ours may not",
        )
        bench.close()
        return line


def _write_durably(folder: Path, name: str) -> None:
    temp = f"{folder}/{name}.tmp"
    handle = os.open(temp, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
    try:
        os.write(handle, PAYLOAD)
        os.fsync(handle)
    finally:
        os.close(handle)
    os.rename(temp, f"{folder}/{name}")


def _read_line(
    scale: Scale,
    what: str,
    reach: float | None,
    read: Callable[[MediaStore, str], object],
    note: str,
) -> Line:
    with scratch() as folder:
        bench = Bench(folder, scale.puts)
        refs, keys = bench.put(8), bench.set(8)
        asked = random.Random(5).choices(range(len(refs)), k=500)

        def ours() -> None:
            for n in asked:
                read(bench.media, refs[n])

        def peer() -> None:
            for n in asked:
                bench.cache.get(keys[n])

        line = Line(
            what,
            reach,
            *interleaved(
                lambda: per_call(ours, len(asked)), lambda: per_call(peer, len(asked)), scale.rounds
            ),
            how=f"{len(asked):,} of {len(refs)} values a round, in random order; {note}",
        )
        bench.close()
        return line


def resolve(scale: Scale) -> Line:
    return _read_line(
        scale,
        "durable: `resolve` against diskcache `get` of 100 kB",
        0.8,
        MediaStore.resolve,
        "ours gives the path, diskcache the bytes out of its file",
    )


def read_bytes(scale: Scale) -> Line:
    return _read_line(
        scale,
        "durable: `read_bytes` against diskcache `get` of 100 kB",
        None,
        MediaStore.read_bytes,
        "both give the bytes",
    )


def release(scale: Scale) -> Line:
    with scratch() as folder:
        bench = Bench(folder, scale.puts)

        def side(fill: Callable[[], list[str]], end: Callable[[str], object]) -> Side:
            def timed() -> float:
                names = fill()

                def run() -> None:
                    for name in names:
                        end(name)

                return per_call(run, len(names))

            return timed

        line = Line(
            "durable: `release` of one owned file, fsync off, against diskcache `delete`",
            0.6,
            *interleaved(
                side(bench.put, bench.media.release),
                side(bench.set, bench.cache.delete),
                scale.rounds,
            ),
            how=f"{scale.puts} a round, each the only ref of its 100 kB",
        )
        bench.close()
        return line


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
