"""Timing two sides fairly: interleaved rounds, the same garbage collection, ratios per round."""

import array
import fcntl
import gc
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SHARED_MEMORY = Path("/dev/shm")
IN_MEMORY = SHARED_MEMORY if SHARED_MEMORY.is_dir() else ROOT
"""Where very many files are made when it does not matter on what file system they are."""

FS_IOC_GETFLAGS, FS_IOC_SETFLAGS, FS_TOPDIR_FL = 0x80086601, 0x40086602, 0x00020000  # linux/fs.h

Side = Callable[[], float]
"""Does its work once and returns the seconds of one operation; what it prepares is not timed."""


@dataclass(frozen=True, slots=True)
class Scale:
    """How much is done: the full run is the one to publish.

    Many short rounds, so that the two sides of one are neighbours in time and other work on the machine
    slows both. `long_rounds` are those that take long to prepare.
    """

    rounds: int = 42
    long_rounds: int = 7
    refs: int = 1_000_000
    expired: int = 100_000
    owned: int = 10_000
    files: int = 2_000
    puts: int = 25
    catalog_refs: int = 10_000_000


FULL = Scale()
QUICK = Scale(rounds=14, long_rounds=3, refs=100_000, expired=10_000, owned=2_000, catalog_refs=200_000)


@dataclass(frozen=True, slots=True)
class Line:
    """One line of the table: what each round of either side gave, in seconds of one operation.

    Args:
        what: the operation, and what it is measured against.
        reach: the ratio to stay within; None for a line that is only told.
        ours: one value a round.
        peer: one value a round, or a single constant.
        how: how it was measured, in one sentence.
        scale: from a value to what is printed.
        unit: of what is printed.
    """

    what: str
    reach: float | None
    ours: tuple[float, ...]
    peer: tuple[float, ...]
    how: str
    scale: float = 1e6
    unit: str = "µs"

    @property
    def ratios(self) -> list[float]:
        """One ratio a round: neighbours in time, so that what slows both cancels out."""
        peers = self.peer if len(self.peer) == len(self.ours) else self.peer * len(self.ours)
        return [ours / peer for ours, peer in zip(self.ours, peers, strict=True)]

    @property
    def ratio(self) -> float:
        return statistics.median(self.ratios)

    @property
    def spread(self) -> tuple[float, float]:
        """The first and the third quartile of the ratios."""
        if len(self.ours) < 2:
            return self.ratio, self.ratio
        first, _, third = statistics.quantiles(self.ratios, n=4, method="inclusive")
        return first, third

    def median(self, values: tuple[float, ...]) -> float:
        """Return the median of either side, as it is printed."""
        return statistics.median(values) * self.scale

    @property
    def verdict(self) -> str:
        if self.reach is None:
            return "no target"
        if self.ratio <= self.reach:
            return "reached"
        return f"short by {max(1, round(100 * (self.ratio / self.reach - 1)))} %"


def per_call(run: Callable[[], object], calls: int) -> float:
    """Return the seconds of one of the `calls` that `run` makes.

    The collector starts with empty young generations and stays switched on: what it costs to keep
    objects is part of the price.
    """
    gc.collect(1)
    start = time.perf_counter()
    run()
    return (time.perf_counter() - start) / calls


def interleaved(ours: Side, peer: Side, rounds: int) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Run ours, peer, ours, peer … and return what each round gave, that of the warm-up left out."""
    gc.collect()
    ours()
    peer()
    pairs = [(ours(), peer()) for _ in range(rounds)]
    mine, theirs = zip(*pairs, strict=True)
    return mine, theirs


def resident_bytes() -> int:
    """Return how much memory the process has."""
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def highest_growth(run: Callable[[], object]) -> int:
    """Return how many bytes more than before the process had at most while it ran."""
    gc.collect()
    # What a reset of the high-water mark leaves is the present size: proc(5), clear_refs.
    Path("/proc/self/clear_refs").write_text("5")
    before = resident_bytes()
    run()
    status = Path("/proc/self/status").read_text()
    highest = next(line for line in status.splitlines() if line.startswith("VmHWM:"))
    return int(highest.split()[1]) * 1024 - before


@contextmanager
def scratch(within: Path = ROOT) -> Iterator[Path]:
    """Give a folder on the repository's own file system, and remove it at the end."""
    with tempfile.TemporaryDirectory(prefix="bench-", dir=within, ignore_cleanup_errors=True) as name:
        folder = Path(name)
        _spread(folder)
        yield folder


def _spread(folder: Path) -> None:
    """Have ext4 keep the folders that are made in `folder` apart, as `chattr +T` does.

    ext4 passes over inodes that were deleted in the last minutes, one by one: to make a file near many
    of them takes twenty times as long, and who has to do so is chance.
    """
    handle = os.open(folder, os.O_RDONLY)
    try:
        with suppress(OSError):  # another file system
            flags = array.array("l", [0])
            fcntl.ioctl(handle, FS_IOC_GETFLAGS, flags)
            flags[0] |= FS_TOPDIR_FL
            fcntl.ioctl(handle, FS_IOC_SETFLAGS, flags)
    finally:
        os.close(handle)


def fresh_place(folder: Path, *, of: int = 8) -> Path:
    """Make several folders in `folder` and return the one in which files are made fastest."""
    folder.mkdir()
    _spread(folder)
    places = [folder / str(n) for n in range(of)]
    cost = {}
    for place in places:
        start = time.perf_counter()
        make_files(place, 20)
        cost[place] = time.perf_counter() - start
    return min(places, key=lambda place: cost[place])


def fresh(like: bytes) -> bytes:
    """Return bytes as `like` that nobody had before: a store keeps the same ones only once."""
    return os.urandom(16) + like[16:]


def make_files(folder: Path, count: int, content: bytes = b"x" * 1000) -> list[str]:
    """Make `count` files and return their paths."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = [f"{folder}/photo-{n:07}.jpg" for n in range(count)]
    for path in paths:
        with open(path, "xb") as file:
            file.write(content)
    return paths
