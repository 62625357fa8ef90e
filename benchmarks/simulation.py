"""Years of a fleet's traffic against the catalog in PostgreSQL, on a clock that runs ahead.

Media arrive by day and by night, on working days and at weekends. Turns end and release theirs, some of
it is shared into a session first, tools leave files with a time to live, and what a crash forgets grows
too old. Workers lease what they read, and some die with their lease. Now and then the bucket is down for
hours, so that nothing can be deleted. A sweep comes every hour.

No byte is written: it is the books that are tested, on a real server. The same seed makes the same
traffic, and the same numbers, except for the room that PostgreSQL takes.
"""

import argparse
import hashlib
import heapq
import itertools
import logging
import math
import random
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from datetime import timedelta
from typing import TypeVar

import psycopg

from benchmarks.catalogs import NoBytes, server
from benchmarks.simulation_page import PLOT, draw, summary
from mediakeep import MediaCleanerConfig, MediaMeta, MediaStore
from mediakeep.catalogs import Registration
from mediakeep.catalogs.postgres import PostgresCatalog

T = TypeVar("T")

HOUR, DAY = 3600.0, 86_400.0
BEGIN = 1_700_006_400.0  # a midnight
WARM_UP = 14 * DAY

TURN = 0.25 * HOUR  # on average, with an exponential distribution
SESSION = 7 * DAY
TOOL = DAY
MAX_AGE = 3 * DAY
READING = HOUR / 3
LEASE = HOUR
SWEEP_EVERY = HOUR
SAMPLE_EVERY = 6 * HOUR
OUTAGES_A_YEAR, OUTAGE = 6.0, (4 * HOUR, 24 * HOUR)

KINDS = {"turn": 0.60, "tool": 0.25, "forgotten": 0.15}
SHARED, LEASED, DYING = 0.2, 0.1, 0.01
META = MediaMeta("photo.jpg", "image/jpeg", "telegram")

_SAMPLE = """
    SELECT (SELECT count(*) FROM fleet.refs),
           (SELECT count(*) FROM fleet.locations WHERE condemned IS NOT NULL),
           (SELECT sum(size)::bigint FROM fleet.totals),
           (SELECT count(*) FROM fleet.leases),
           (SELECT count(*) FROM fleet.history),
           (SELECT sum(pg_total_relation_size(oid))::bigint FROM pg_class
            WHERE relnamespace = 'fleet'::regnamespace AND relkind = 'r')
"""


@dataclass(frozen=True, slots=True)
class Sample:
    """What the catalog held at a moment."""

    day: float
    refs: int
    condemned: int
    bytes: int
    leases: int
    journal: int
    catalog_bytes: int


@dataclass(frozen=True, slots=True)
class Run:
    """What became of a run."""

    samples: list[Sample]
    outages: list[tuple[float, float]]
    """From which day to which the bucket was down."""
    expected: float
    """Live refs on average, by Little's law."""
    arrived: int
    """Files in all."""
    deleted: int
    verbs: int
    seconds: float
    left: tuple[int, int, int]
    """Refs, locations and leases when all of it should be gone."""


class Fleet:
    """Bots and tools that use one catalog; `run` plays their years."""

    def __init__(self, url: str, *, seed: int, years: float, per_hour: float) -> None:
        self.now = BEGIN
        self.end = BEGIN + years * 365 * DAY
        self._random = random.Random(seed)
        self._per_hour = per_hour
        self._blobs = NoBytes()
        self._catalog = PostgresCatalog(url, lambda: self.now, schema="fleet")
        cleaner = MediaCleanerConfig(max_age=timedelta(seconds=MAX_AGE))
        self._store = MediaStore(self._catalog, self._blobs, cleaner=cleaner)
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._order = itertools.count()
        self._connection = psycopg.connect(url, autocommit=True)
        self._samples: list[Sample] = []
        self._outages: list[tuple[float, float]] = []
        self._lived = 0.0
        self._arrived = self._verbs = 0

    def run(self) -> Run:
        begun = time.perf_counter()
        self._at(self.now, self._hour)
        self._at(self.now + SWEEP_EVERY, self._sweep)
        # Half-way between two sweeps, where what waits for the next one is as much as on average.
        self._at(self.now + SWEEP_EVERY / 2, self._sample)
        for start, end in self._planned_outages():
            self._at(start, lambda: self._bucket(down=True))
            self._at(end, lambda: self._bucket(down=False))
            self._outages.append(((start - BEGIN) / DAY, (end - BEGIN) / DAY))
        while self._events:
            self.now, _, happen = heapq.heappop(self._events)
            happen()
        # What is left has had its time; whatever is still there after that would be there for ever.
        self.now = self.end + SESSION + LEASE + 1
        self._store.sweep()
        tables = ("refs", "locations", "leases")
        left = [self._count(f"SELECT count(*) FROM fleet.{table}") for table in tables]
        return Run(
            self._samples,
            self._outages,
            self._lived / (self.end - BEGIN - WARM_UP),
            self._arrived,
            self._blobs.deleted,
            self._verbs,
            time.perf_counter() - begun,
            (left[0], left[1], left[2]),
        )

    def close(self) -> None:
        self._store.close()
        self._connection.close()

    # -- what happens

    def _hour(self) -> None:
        """Plan the arrivals of one hour."""
        mean = self._per_hour * rhythm(self.now)
        for _ in range(poisson(self._random, mean)):
            self._at(self.now + self._random.random() * HOUR, self._arrive)
        if self.now + HOUR < self.end:
            self._at(self.now + HOUR, self._hour)

    def _arrive(self) -> None:
        number = self._arrived
        self._arrived += 1
        (kind,) = self._random.choices(list(KINDS), list(KINDS.values()))
        scope = f"{kind}:{number}"
        ref, key = _ref_of(self._random), _hex(self._random)
        size = int(self._random.lognormvariate(math.log(200_000), 1.2))
        sha256 = hashlib.sha256(key.encode()).hexdigest()
        new = Registration(ref, scope, f"{key[:2]}/{key}", None, META, size, sha256)
        self._verb(lambda: self._catalog.add(new, ttl=TOOL if kind == "tool" else None))
        if kind == "tool":
            self._lives(TOOL + SWEEP_EVERY / 2)
        elif kind == "forgotten":
            self._lives(MAX_AGE + SWEEP_EVERY / 2)
        else:
            lasts = self._random.expovariate(1 / TURN)
            self._lives(lasts)
            if self._random.random() < SHARED:
                self._verb(lambda: self._store.share(ref, f"session:{number}", ttl=SESSION))
                self._lives(SESSION + SWEEP_EVERY / 2)
            self._at(self.now + lasts, lambda: self._verb(lambda: self._store.release_all(scope)))
        if self._random.random() < LEASED:
            self._lease(ref)

    def _lease(self, ref: str) -> None:
        lease = self._verb(lambda: self._catalog.lease(ref, LEASE))[0]
        if self._random.random() >= DYING:
            self._at(self.now + READING, lambda: self._end_lease(lease))

    def _end_lease(self, lease: int) -> None:
        freed = self._verb(lambda: self._catalog.end_lease(lease))
        if freed:
            self._verb(lambda: self._store._reap(freed))

    def _sweep(self) -> None:
        self._verb(self._store.sweep)
        if self.now + SWEEP_EVERY < self.end + SESSION:
            self._at(self.now + SWEEP_EVERY, self._sweep)

    def _bucket(self, *, down: bool) -> None:
        self._blobs.down = down

    def _sample(self) -> None:
        (row,) = self._connection.execute(_SAMPLE).fetchall()
        self._samples.append(Sample((self.now - BEGIN) / DAY, *row))
        if self.now + SAMPLE_EVERY < self.end:
            self._at(self.now + SAMPLE_EVERY, self._sample)

    # -- the machinery

    def _at(self, when: float, happen: Callable[[], None]) -> None:
        heapq.heappush(self._events, (when, next(self._order), happen))

    def _lives(self, seconds: float) -> None:
        """Note how long a new ref will be there between the warm-up and the end."""
        start, end = max(self.now, BEGIN + WARM_UP), min(self.now + seconds, self.end)
        self._lived += max(0.0, end - start)

    def _verb(self, run: Callable[[], T]) -> T:
        self._verbs += 1
        return run()

    def _count(self, statement: str) -> int:
        ((count,),) = self._connection.execute(statement).fetchall()
        return int(count)

    def _planned_outages(self) -> Iterator[tuple[float, float]]:
        start = self.now + WARM_UP
        while True:
            start += self._random.expovariate(OUTAGES_A_YEAR / (365 * DAY))
            end = start + self._random.uniform(*OUTAGE)
            if end > self.end - DAY:
                return
            yield start, end
            start = end


def rhythm(now: float) -> float:
    """Return how busy an hour is, on average 1: nights are quiet, and so are weekends."""
    day, hour = divmod(now - BEGIN, DAY)
    by_day = 1.16 if day % 7 < 5 else 0.6
    return by_day * (1 - 0.8 * math.cos(2 * math.pi * (hour / DAY - 0.08)))


def poisson(source: random.Random, mean: float) -> int:
    """Return how many events there are where `mean` are expected (Knuth, TAOCP 2, section 3.4.1)."""
    count, product, limit = 0, source.random(), math.exp(-mean)
    while product > limit:
        count += 1
        product *= source.random()
    return count


def _hex(source: random.Random) -> str:
    return f"{source.getrandbits(128):032x}"


def _ref_of(source: random.Random) -> str:
    h = _hex(source)
    return f"media://{h[:8]}-{h[8:12]}-4{h[13:16]}-8{h[17:20]}-{h[20:]}"


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.simulation", description=__doc__)
    parser.add_argument("--years", type=float, default=2.0, help="of traffic (default 2)")
    parser.add_argument("--per-hour", type=float, default=8.0, help="files on average (default 8)")
    parser.add_argument("--seed", type=int, default=1, help="of the traffic (default 1)")
    parser.add_argument("--write", action="store_true", help=f"draw {PLOT.name}")
    asked = parser.parse_args()
    # An outage is what it is here, and not to be told of a thousand times.
    logging.getLogger("mediakeep").setLevel(logging.ERROR)
    with server(autovacuum_naptime="1s") as running:
        fleet = Fleet(running.url, seed=asked.seed, years=asked.years, per_hour=asked.per_hour)
        with closing(fleet):
            run = fleet.run()
    print(summary(run))
    if asked.write:
        draw(run)
    if any(run.left) or run.deleted != run.arrived:
        sys.exit("something was left, or was deleted more than once")


if __name__ == "__main__":
    main()
