"""Leases, many processes on one folder, and a reconcile.

The processes are forked, meet at a barrier, and work for a fixed time on one store with fsync off. What
counts is the time of one operation of all of them together: half the time is twice the throughput.
"""

import multiprocessing
import os
import random
import statistics
import threading
import time
from pathlib import Path

from benchmarks.measure import Line, Scale, fresh, interleaved, make_files, per_call, scratch
from mediakeep import FileMediaStore, MediaStore, open_store

SECONDS = 1.5
"""How long the processes of one round work."""

PHOTO = random.Random(4).randbytes(10_000)
OWN_REFS = 200
CALLS = 2_000


def lease_in_memory(scale: Scale) -> Line:
    with scratch() as folder, FileMediaStore() as store:
        refs = [store.store(path) for path in make_files(folder, CALLS)]
        lock = threading.Lock()

        def lease_all() -> None:
            for ref in refs:
                with store.lease(ref):
                    pass

        def resolve_all() -> None:
            for ref in refs:
                with lock:
                    store.resolve(ref)

        return Line(
            "in memory: `lease` and its end against `resolve` under a lock",
            3.0,
            *interleaved(
                lambda: per_call(lease_all, CALLS), lambda: per_call(resolve_all, CALLS), scale.rounds
            ),
            how=f"{CALLS:,} refs one after the other",
        )


def lease_in_folder(scale: Scale) -> Line:
    with scratch() as folder, open_store(folder / "store", fsync=False) as store:
        ref = store.put(fresh(b"x"), scope="s")

        def lease_all() -> None:
            for _ in range(scale.puts):
                with store.lease(ref):
                    pass

        def two_transactions() -> None:
            for _ in range(scale.puts):
                store.share(ref, "s")
                store.share(ref, "s")

        return Line(
            "durable: `lease` and its end, fsync off, against two transactions (`share` twice)",
            1.0,
            *interleaved(
                lambda: per_call(lease_all, scale.puts),
                lambda: per_call(two_transactions, scale.puts),
                scale.rounds,
            ),
            how=f"{scale.puts} of them a round",
        )


class Load:
    """What one process did: operations, and how long each of its resolves took."""

    def __init__(self, folder: Path, *, mixed: bool) -> None:
        self._store = open_store(folder, fsync=False)
        self._scope = f"worker:{os.getpid()}"
        self._random = random.Random(os.getpid())
        self._mixed = mixed
        self.refs = [self._put() for _ in range(OWN_REFS)]
        self.waits: list[float] = []

    def _put(self) -> str:
        return self._store.put(fresh(PHOTO), scope=self._scope)

    def run(self, seconds: float) -> int:
        """Work for so long: 70 % resolve, 20 % put, 10 % release; or resolve only."""
        done, end = 0, time.perf_counter() + seconds
        while (now := time.perf_counter()) < end:
            what = self._random.random() if self._mixed else 0.0
            if what < 0.7:
                self._store.resolve(self._random.choice(self.refs))
                self.waits.append(time.perf_counter() - now)
            elif what < 0.9:
                self.refs.append(self._put())
            else:
                self._store.release(self.refs.pop(self._random.randrange(len(self.refs))))
            done += 1
        self._store.close()
        return done


def together(folder: Path, processes: int, *, mixed: bool) -> tuple[float, list[float]]:
    """Return the seconds of one operation of all processes together, and every wait for a resolve."""
    context = multiprocessing.get_context("fork")
    start, results = context.Barrier(processes), context.SimpleQueue()

    def work() -> None:
        load = Load(folder, mixed=mixed)
        start.wait()
        results.put((load.run(SECONDS), load.waits))

    workers = [context.Process(target=work) for _ in range(processes)]
    for worker in workers:
        worker.start()
    found = [results.get() for _ in workers]
    for worker in workers:
        worker.join()
        if worker.exitcode:
            raise RuntimeError("an operation failed in a process under load")
    return SECONDS / sum(done for done, _ in found), [wait for _, waits in found for wait in waits]


def resolving(scale: Scale) -> Line:
    with scratch() as folder:
        return Line(
            "durable: `resolve` in 2 processes against one, time of one operation",
            1 / 1.7,
            *interleaved(
                lambda: together(folder / "two", 2, mixed=False)[0],
                lambda: together(folder / "one", 1, mixed=False)[0],
                scale.long_rounds,
            ),
            how=f"{OWN_REFS} refs a process, at random, for {SECONDS} s",
        )


def mixed(scale: Scale) -> Line:
    with scratch() as folder:
        return Line(
            "durable: 70 % resolve, 20 % put of 10 kB, 10 % release in 4 processes against one",
            2.0,
            *interleaved(
                lambda: together(folder / "four", 4, mixed=True)[0],
                lambda: together(folder / "one", 1, mixed=True)[0],
                scale.long_rounds,
            ),
            how=f"time of one operation of all together, for {SECONDS} s; no operation fails",
        )


def waiting(scale: Scale) -> Line:
    with scratch() as folder:
        waits = [together(folder / "four", 4, mixed=True)[1] for _ in range(scale.long_rounds)]
        idle = [together(folder / "one", 1, mixed=False)[1] for _ in range(scale.long_rounds)]
        return Line(
            "durable: p99 of `resolve` in that load of 4 processes against its idle median",
            10.0,
            tuple(_p99(them) for them in waits),
            tuple(statistics.median(them) for them in idle),
            how="4 processes on the cores of the machine, so that some wait for a core, too",
        )


def beside_a_sweep(scale: Scale) -> Line:
    with scratch() as folder:
        waits, idle = [], []
        for n in range(3):
            now = [0.0]
            with open_store(folder / str(n), fsync=False, clock=lambda now=now: now[0]) as store:
                _fill(store, scale.expired)
                kept = [store.put(fresh(b"x"), scope="kept") for _ in range(OWN_REFS)]
                idle.append(statistics.median(_resolve(store, kept, lambda: False)))
                now[0] = 100.0
                sweeper = threading.Thread(target=store.sweep)
                sweeper.start()
                waits.append(_p99(_resolve(store, kept, lambda t=sweeper: t.is_alive())))
                sweeper.join()
        return Line(
            f"durable: p99 of `resolve` beside a sweep of {scale.expired:,} expired files against idle",
            10.0,
            tuple(waits),
            tuple(idle),
            how="the sweep runs in another thread of the same process; blobs of 1 byte",
        )


def _fill(store: MediaStore, count: int) -> None:
    for n in range(count):
        store.put(fresh(b"x"), scope=f"s{n // 10}", ttl=50)


def _resolve(store: MediaStore, refs: list[str], more: object) -> list[float]:
    waits: list[float] = []
    while len(waits) < CALLS or more():  # type: ignore[operator]
        for ref in refs:
            start = time.perf_counter()
            store.resolve(ref)
            waits.append(time.perf_counter() - start)
    return waits


def reconciling(scale: Scale) -> Line:
    with scratch() as folder, open_store(folder / "store", fsync=False) as store:
        for n in range(scale.expired):
            store.put(fresh(b"x"), scope=f"s{n // 10}")

        def walk() -> None:
            for shard in os.scandir(folder / "store" / "blobs"):
                for blob in os.scandir(shard):
                    blob.stat()

        return Line(
            f"durable: `reconcile` of {scale.expired:,} blobs against a bare walk with stat",
            3.0,
            *interleaved(
                lambda: per_call(store.reconcile, scale.expired),
                lambda: per_call(walk, scale.expired),
                scale.long_rounds,
            ),
            how="a dry run over a sound store",
        )


def _p99(waits: list[float]) -> float:
    return sorted(waits)[int(len(waits) * 0.99)]


LINES = {
    "lease.memory": lease_in_memory,
    "lease.durable": lease_in_folder,
    "processes.resolve": resolving,
    "processes.mixed": mixed,
    "processes.p99": waiting,
    "processes.sweep": beside_a_sweep,
    "reconcile": reconciling,
}
