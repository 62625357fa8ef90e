"""How cost grows with the number of refs, and what a sweep does to whoever resolves beside it."""

import itertools
import random
import statistics
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from benchmarks.measure import IN_MEMORY, Line, Scale, interleaved, make_files, per_call, scratch
from mediakeep import CleanupPolicy, MediaCleanerConfig, MediaMeta, MediaStore
from mediakeep.blobs.temporary import TemporaryBlobs
from mediakeep.catalogs import Registration
from mediakeep.catalogs.memory import MemoryCatalog
from mediakeep.refs import new_ref

MAX_AGE = 1800.0
SWEEPS = 200
STORES = 1000
LOOK_UPS = 10_000
BURST = 100
PAUSE = 0.001


class ClockByHand:
    """A clock that is set: refs age when the benchmark says so."""

    def __init__(self) -> None:
        self.now = 1e9

    def __call__(self) -> float:
        return self.now


class FilledStore:
    """A store in memory with any number of refs of files that need not be there.

    They are written to the catalog itself, since only their number matters here.
    """

    def __init__(self, folder: Path, refs: int = 0) -> None:
        self.clock = ClockByHand()
        self.catalog = MemoryCatalog(self.clock)
        cleaner = MediaCleanerConfig(max_age=timedelta(seconds=MAX_AGE))
        self.store = MediaStore(self.catalog, TemporaryBlobs(folder), cleaner=cleaner)
        self.refs: list[str] = []
        self._counter = itertools.count()
        self.fill(refs)

    def fill(self, refs: int) -> None:
        """Register until there are `refs`."""
        while len(self.refs) < refs:
            n = next(self._counter)
            ref, path = new_ref(), f"/srv/bot/downloads/{n // 10_000}/{n:07}-photo.jpg"
            meta = MediaMeta(f"photo-{n}.jpg", "image/jpeg", "telegram")
            scope = f"telegram:{n // 1000}:{n // 10}"
            self.catalog.add(Registration(ref, scope, path, Path(path), meta, 1000))
            self.refs.append(ref)

    def sweep_seconds(self) -> float:
        def run() -> None:
            for _ in range(SWEEPS):
                self.store.clean_expired()

        return per_call(run, SWEEPS)


def idle_sweep(scale: Scale) -> Line:
    with scratch() as folder:
        few, many = FilledStore(folder, 1000), FilledStore(folder, scale.refs)
        return Line(
            f"in memory: idle sweep at {scale.refs:,} refs against 1,000 refs",
            2.0,
            *interleaved(many.sweep_seconds, few.sweep_seconds, scale.rounds),
            how=f"`clean_expired` with nothing due, {SWEEPS} times a round",
        )


def longest_resolve(scale: Scale) -> Line:
    """The peer is the switch interval: what one busy thread costs another in any Python program."""
    with scratch(IN_MEMORY) as folder:
        filled = FilledStore(folder, scale.refs - scale.expired)
        longest, beside_counting = [], []
        for _ in range(scale.long_rounds):
            filled.clock.now -= 2 * MAX_AGE
            for path in make_files(folder / "old", scale.expired, b""):
                filled.store.store(path, scope="telegram:old")
            filled.clock.now += 2 * MAX_AGE
            longest.append(_longest_beside(filled.store.clean_expired, filled))
            beside_counting.append(_longest_beside(_count, filled))
    return Line(
        f"in memory: longest `resolve` while another thread sweeps {scale.expired:,} expired among "
        f"{scale.refs:,} refs, against the switch interval",
        3.0,
        tuple(longest),
        (sys.getswitchinterval(),),
        how=f"the longest wait for an answer of each sweep, in a thread that asks {BURST} times, pauses "
        f"for {PAUSE * 1e3:g} ms and asks again; the worst of all sweeps {max(longest) * 1e3:.1f} ms; "
        f"beside a thread that only counts, in turn, {statistics.median(beside_counting) * 1e3:.1f} ms",
    )


def _longest_beside(work: Callable[[], object], filled: FilledStore) -> float:
    """Return the longest time that a thread waited for an answer while another did `work`.

    It asks in bursts, as one that handles messages does: a thread that never paused would leave the
    other no more than a few deletions in a switch interval. Time counts from when it wants to go on, so
    what the interpreter makes it wait after a pause is in it.
    """
    asked = random.Random(2).sample(filled.refs, BURST)
    resolve, clock = filled.store.resolve, time.perf_counter
    worker = threading.Thread(target=work)
    longest = 0.0
    worker.start()
    while worker.is_alive():
        last = clock() + PAUSE
        time.sleep(PAUSE)
        for ref in asked:
            resolve(ref)
            now = clock()
            if now - last > longest:
                longest = now - last
            last = now
    worker.join()
    return longest


def _count() -> None:
    until = time.perf_counter() + 2.0
    while time.perf_counter() < until:
        pass


# -- the curve


@dataclass(frozen=True, slots=True)
class Point:
    """Median seconds of one operation with so many live refs."""

    refs: int
    store: float
    resolve: float
    idle_sweep: float


def curve(scale: Scale) -> list[Point]:
    """Measure one growing store at each power of ten from 1,000 refs on."""
    sizes = [10**n for n in range(3, len(str(scale.refs)))]
    points = []
    with scratch() as folder:
        paths = make_files(folder / "files", STORES)
        filled = FilledStore(folder)
        for size in sizes:
            filled.fill(size)
            rounds = [
                (_store_seconds(filled, paths), _resolve_seconds(filled), filled.sweep_seconds())
                for _ in range(scale.long_rounds)
            ]
            points.append(Point(size, *map(statistics.median, zip(*rounds, strict=True))))
    return points


def _store_seconds(filled: FilledStore, paths: list[str]) -> float:
    store = filled.store.store
    meta = MediaMeta("photo.jpg", "image/jpeg", "telegram", CleanupPolicy.FORGET_ONLY)

    def run() -> None:
        for path in paths:
            store(path, meta, "telegram:curve")

    seconds = per_call(run, len(paths))
    filled.store.release_all("telegram:curve")
    return seconds


def _resolve_seconds(filled: FilledStore) -> float:
    asked = random.Random(3).choices(filled.refs, k=LOOK_UPS)
    resolve = filled.store.resolve

    def run() -> None:
        for ref in asked:
            resolve(ref)

    return per_call(run, len(asked))
