"""The awaited store: a hundred puts at once against threads, and how long they keep the event loop."""

import asyncio
import os
import random
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

from benchmarks.measure import Line, Scale, Side, fresh_place, interleaved, scratch
from mediakeep import MediaStore, open_store
from mediakeep.aio import AsyncMediaStore

AT_ONCE = 100
THREADS = 4
PLACES = 7
SCOPE = "telegram:42:1"
PAYLOADS = [random.Random(n).randbytes(100_000) for n in range(AT_ONCE)]
"""All different: the same bytes would be kept once."""

TICK_SECONDS = 0.001


class Bench:
    """One store; what is put in a round goes at its end, outside of the time that is taken."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.store: MediaStore = open_store(folder / "store", fsync=False)
        (folder / "bare").mkdir()

    def close(self) -> None:
        self.store.close()

    def put(self, payload: bytes) -> str:
        return self.store.put(payload, scope=SCOPE)

    def from_threads(self) -> float:
        """Return the seconds of one put, of a hundred from four threads."""
        with ThreadPoolExecutor(THREADS) as threads:
            list(threads.map(len, PAYLOADS))  # the threads are there
            start = time.perf_counter()
            list(threads.map(self.put, PAYLOADS))
            seconds = time.perf_counter() - start
        self.store.release_all(SCOPE)
        return seconds / AT_ONCE

    def awaited(self) -> float:
        """Return the seconds of one put, of a hundred tasks at once."""

        async def main() -> float:
            store = AsyncMediaStore(self.store)
            await asyncio.gather(*(store.stats() for _ in range(THREADS)))  # so they are here
            start = time.perf_counter()
            await asyncio.gather(*(store.put(it, scope=SCOPE) for it in PAYLOADS))
            return time.perf_counter() - start

        seconds = asyncio.run(main())
        self.store.release_all(SCOPE)
        return seconds / AT_ONCE

    def stall_of_puts(self) -> float:
        async def puts() -> None:
            store = AsyncMediaStore(self.store)
            await asyncio.gather(*(store.put(it, scope=SCOPE) for it in PAYLOADS))

        longest = asyncio.run(_longest_stall(puts))
        self.store.release_all(SCOPE)
        return longest

    def stall_of_bare_writes(self) -> float:
        """As bare as it gets: the bytes into a file of their own, in asyncio's own threads."""

        def write(n: int) -> None:
            with open(self.folder / "bare" / str(n), "wb") as file:
                file.write(PAYLOADS[n])

        async def writes() -> None:
            await asyncio.gather(*(asyncio.to_thread(write, n) for n in range(AT_ONCE)))

        longest = asyncio.run(_longest_stall(writes))
        for n in range(AT_ONCE):
            os.unlink(self.folder / "bare" / str(n))
        return longest


async def _longest_stall(load: Callable[[], Awaitable[None]]) -> float:
    """Return the longest time in seconds by which a task that sleeps for 1 ms was late under `load`."""
    longest = 0.0

    async def tick() -> None:
        nonlocal longest
        while True:
            before = time.perf_counter()
            await asyncio.sleep(TICK_SECONDS)
            longest = max(longest, time.perf_counter() - before - TICK_SECONDS)

    ticking = asyncio.create_task(tick())
    await asyncio.sleep(2 * TICK_SECONDS)
    longest = 0.0
    for _ in range(3):
        await load()
    ticking.cancel()
    return longest


def _line(
    scale: Scale, what: str, reach: float, sides: Callable[[Bench], tuple[Side, Side]], how: str
) -> Line:
    ours: tuple[float, ...] = ()
    peer: tuple[float, ...] = ()
    with scratch() as folder:
        for n in range(PLACES):
            place = fresh_place(folder / f"place-{n}")
            with closing(Bench(place)) as bench:
                here, there = interleaved(*sides(bench), max(1, scale.rounds // PLACES))
            ours, peer = ours + here, peer + there
    return Line(what, reach, ours, peer, how=f"{how}, in {PLACES} places of a disk")


def put(scale: Scale) -> Line:
    return _line(
        scale,
        f"async: {AT_ONCE} `put` of 100 kB at once, fsync off, against {THREADS} threads",
        1.42,  # at least 0.7 times the throughput
        lambda bench: (bench.awaited, bench.from_threads),
        "the time of one put, the same bytes into the same store on both sides",
    )


def stall(scale: Scale) -> Line:
    return _line(
        scale,
        "async: longest stall of the event loop meanwhile, against `asyncio.to_thread` writing files",
        2.0,
        lambda bench: (bench.stall_of_puts, bench.stall_of_bare_writes),
        f"how late a sleep of 1 ms was at most, during three times {AT_ONCE} of them at once",
    )


LINES: dict[str, Callable[[Scale], Line | None]] = {"async.put": put, "async.stall": stall}
