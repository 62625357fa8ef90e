"""The same work over each peer, side by side: `python -m benchmarks.peers --help`.

Only equals are compared: what does not wait for the disk with what does not, what does with what does,
and what is awaited with the awaited store. See `peer_stores` for what each peer is told to do.
"""

import argparse
import os
import random
import sys
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks import peer_page, peer_plots
from benchmarks.measure import fresh, fresh_place, per_call, scratch
from benchmarks.peer import Peer
from benchmarks.peer_process import Group, memory
from benchmarks.peer_stores import DURABLE, FAST, PEERS

MIB = 1 << 20
LEAST_READS, LEAST_LOOK_UPS = 10, 100
"""Of each round, however few files it puts."""

DISTINCT = 8
"""How many different pictures there are where the same ones come again and again."""


@dataclass(frozen=True, slots=True)
class PeerScale:
    """How much is done: the full run is the one to publish. `calls` are those of a round, by size."""

    calls: dict[int, int]
    places: int = 3
    rounds: int = 6
    """In each place of the disk."""
    filled: int = 400
    """How many small files a store has before it is measured."""
    processes: int = 4
    each_puts: int = 50
    kept: int = 240
    kept_bytes: int = 50_000
    streamed: int = 64 * MIB
    memory_runs: int = 3


FULL = PeerScale({1_000: 40, 200_000: 12, 5 * MIB: 2})
QUICK = PeerScale({1_000: 20, 200_000: 6, 5 * MIB: 1}, places=2, rounds=3, filled=100, memory_runs=1)

Rounds = dict[str, tuple[float, ...]]
"""What each round gave, by the key of a peer: seconds of one operation."""


@dataclass
class Found:
    """All that was measured of some peers that are equally durable."""

    peers: tuple[str, ...]
    rounds: dict[tuple[str, int], Rounds] = field(default_factory=dict)
    """By verb and size; the verb of several processes is `together`."""
    disk: dict[str, tuple[float, float]] = field(default_factory=dict)
    """Bytes on disk for each byte that was put: of different files, and of the same ones."""
    memory: dict[str, tuple[int, int]] = field(default_factory=dict)
    """Bytes that a process grows by: to be there, and to put a large file."""


def measure(peers: Sequence[str], scale: PeerScale) -> Found:
    """Measure `peers` side by side."""
    found = Found(tuple(peers))
    for size, calls in scale.calls.items():
        with _told(f"{peers[0]} and its peers, {size:,} bytes"):
            for verb, rounds in alone(peers, scale, size, calls).items():
                if verb != "find" or size == min(scale.calls):  # no look-up looks at the bytes
                    found.rounds[verb, size] = rounds
    with _told(f"{peers[0]} and its peers, {scale.processes} processes"):
        found.rounds["together", 1_000] = side_by_side(peers, scale)
    with _told(f"{peers[0]} and its peers, disk and memory"):
        found.disk = {name: footprint(name, scale) for name in peers}
        found.memory = {name: _memory(name, scale) for name in peers}
    return found


def alone(peers: Sequence[str], scale: PeerScale, size: int, calls: int) -> dict[str, Rounds]:
    """Have each peer put, read, find and end `calls` files of `size` bytes, in turn, round by round."""
    times: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    payload = random.Random(size).randbytes(size)
    with scratch() as folder:
        for place in range(scale.places):
            # Apart from each other: what one has deleted would slow down who makes files beside it.
            places = {name: fresh_place(folder / f"{name}-{place}") / "store" for name in peers}
            with opened(places) as stores:
                for peer in stores.values():
                    peer.each(peer.put, [b"before %d" % n for n in range(scale.filled)])
                for turn in range(scale.rounds + 1):
                    for name in _from(peers, turn):
                        taken = _round(stores[name], [fresh(payload) for _ in range(calls)])
                        if turn:  # the first one warms up
                            for verb, seconds in taken.items():
                                times[verb][name].append(seconds)
    return {verb: {it: tuple(of[it]) for it in peers if it in of} for verb, of in times.items()}


def _round(peer: Peer, them: list[bytes]) -> dict[str, float]:
    """Return the seconds of one call of each verb; what was put has gone in the end."""
    keys: list[object] = []
    taken = {"put": per_call(lambda: keys.extend(peer.each(peer.put, them)), len(them))}
    order = random.Random(len(them)).sample(range(len(them)), len(them))
    asked = [keys[n] for n in order]
    if peer.each(peer.read, asked) != [them[n] for n in order]:
        raise RuntimeError(f"{peer.name} gives other bytes than it was given")
    reads, look_ups = (asked * -(-least // len(asked)) for least in (LEAST_READS, LEAST_LOOK_UPS))
    taken["read"] = per_call(lambda: peer.each(peer.read, reads), len(reads))
    taken["find"] = per_call(lambda: peer.each(peer.find, look_ups), len(look_ups))
    ended = per_call(lambda: peer.each(peer.end, keys), len(them))
    if peer.ends:
        taken["end"] = ended
    return taken


def side_by_side(peers: Sequence[str], scale: PeerScale) -> Rounds:
    """Have several processes of each peer put files of 1 kB into one folder, in turn, round by round."""
    times: dict[str, list[float]] = {name: [] for name in peers}
    with scratch() as folder, ExitStack() as stack:
        groups = {}
        for name in peers:
            groups[name] = Group(name, folder / name, scale.processes, scale.each_puts)
            stack.callback(groups[name].close)
            groups[name].wait()
        for turn in range(scale.rounds * 2 + 1):
            for name in _from(peers, turn):
                seconds = groups[name].seconds()
                if turn:
                    times[name].append(seconds)
    return {name: tuple(of) for name, of in times.items()}


def footprint(name: str, scale: PeerScale) -> tuple[float, float]:
    """Return what each byte takes on disk: of files that all differ, and of a few that come again."""
    payload = random.Random(1).randbytes(scale.kept_bytes)
    few = [fresh(payload) for _ in range(DISTINCT)]
    taken = []
    for them in ([fresh(payload) for _ in range(scale.kept)], few * (scale.kept // DISTINCT)):
        with scratch() as folder:
            with opened({name: folder / "store"}) as stores:
                stores[name].each(stores[name].put, them)
            taken.append(_bytes_on_disk(folder) / sum(map(len, them)))
    return taken[0], taken[1]


def _bytes_on_disk(folder: Path) -> int:
    """Return what `folder` takes, as `du` counts it: blocks, folders and all."""
    paths = [folder, *folder.rglob("*")]
    return sum(path.lstat().st_blocks for path in paths) * 512


def _memory(name: str, scale: PeerScale) -> tuple[int, int]:
    """Return the medians of some fresh processes."""
    runs = []
    for _ in range(scale.memory_runs):
        with scratch() as folder:
            file = folder / "file"
            file.write_bytes(os.urandom(MIB) * (scale.streamed // MIB))
            runs.append(memory(name, folder / name, file))
    opened, put = (sorted(values)[len(runs) // 2] for values in zip(*runs, strict=True))
    return opened, put


@contextmanager
def opened(places: Mapping[str, Path]) -> Iterator[dict[str, Peer]]:
    """Give peers, each in the folder that is named for it."""
    with ExitStack() as stack:
        stores = {}
        for name, folder in places.items():
            stores[name] = PEERS[name](folder)
            stack.callback(stores[name].close)
        yield stores


def _from(peers: Sequence[str], turn: int) -> list[str]:
    """Return `peers`, beginning with another one each turn: whoever is next to whom takes turns too."""
    start = turn % len(peers)
    return [*peers[start:], *peers[:start]]


@contextmanager
def _told(what: str) -> Iterator[None]:
    start = time.perf_counter()
    yield
    print(f"{what}: {time.perf_counter() - start:.0f} s", file=sys.stderr, flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.peers", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a smaller run, for a first look")
    parser.add_argument(
        "--write", action="store_true", help=f"write {peer_page.PAGE.name} and its plots"
    )
    asked = parser.parse_args()
    scale = QUICK if asked.quick else FULL
    found = []
    for peers in (FAST, DURABLE):
        os.sync()  # what others have written is not to be waited for here
        found.append(measure(peers, scale))
    fast, durable = found
    text = peer_page.section(fast, durable, scale)
    if asked.write:
        peer_plots.draw(fast, durable, scale.processes)
        peer_page.write(text)
    print(text)


if __name__ == "__main__":
    main()
