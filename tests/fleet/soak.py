"""Eight workers at full load on one database and one bucket, killed at random, judged from outside.

    python -m tests.fleet.soak --rounds 500

Every worker writes down what it was promised into a log that outlives it. Whenever all are dead, that is
compared with the rows and the objects as they are, then swept, and compared again. A round is a killing.
"""

import argparse
import os
import random
import secrets
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

if __name__ == "__main__":  # then the neighbours are known by other names
    sys.path.insert(0, str(Path(__file__).parents[1]))

from fleet.children import Worker, Workers
from fleet.judge import Judge, Live
from fleet.killing import LATER_SECONDS, Later
from fleet.proxy import Proxy, speak_s3
from mediakeep import MediaMeta, MediaStore, open_store
from soaking import Load, Promises, SoakError

WORKERS = 8
ROUNDS_BETWEEN_VERDICTS = 24
LONGEST_NAP_SECONDS = 0.15
PHOTO = MediaMeta(filename="photo.jpg", content_type="image/jpeg")


# -- the load


def work(where: dict[str, Any], log: str, name: str, seed: str) -> None:
    """Do this and that until the end."""
    _Load(where, log, name, seed).run()


class _Load(Load):
    """One life of one worker."""

    def __init__(self, where: dict[str, Any], log: str, name: str, seed: str) -> None:
        super().__init__(log, name, seed)
        self._where = where

    def _open(self) -> MediaStore:
        return open_store(**self._where)

    def _deeds(self, store: MediaStore) -> list[Callable[[MediaStore], object]]:
        deeds = [self._put, self._put, self._share, self._read, self._lease, self._variant]
        return [*deeds, self._release, self._release_all, self._sweep, self._take_over]

    def _put(self, store: MediaStore) -> None:
        data, scope = self._some_bytes(), self._some_scope()
        ttl = self._random.choice((None, None, None, 0.01))
        self._got(store.put(data, PHOTO, scope, ttl=ttl), scope, data, ttl=ttl is not None)

    def _read(self, store: MediaStore) -> None:
        ref = self._some_ref()
        if ref is not None:
            read = self._random.choice((store.read_bytes, lambda it: store.resolve(it).read_bytes()))
            self._check(ref, read(ref), self._mine[ref][1])

    def _lease(self, store: MediaStore) -> None:
        ref = self._some_ref()
        if ref is None:
            return
        _, data = self._mine[ref]
        with store.lease(ref), store._blobs.open(store.entry(ref).location) as file:
            if self._random.random() < 0.5:
                self._release_one(store, ref)
                store.sweep()
            self._check(ref, file.read(), data)

    def _take_over(self, store: MediaStore) -> None:
        """End what a worker that died has left; of those that live all scopes are their own."""
        slot, _, life = self._name.partition(".")
        names = {scope.partition(":")[0] for scope in store.scopes()}
        dead = [it for it in names if it.partition(".")[0] == slot and it.partition(".")[2] != life]
        if dead:
            self._release_scope(store, self._random.choice(sorted(dead)))


# -- the judge


def differs(found: Live, it: dict[str, Any]) -> Iterator[str]:
    """Yield what is wrong with a ref, given what its worker said of it."""
    if (found.scope, found.sha256) != (it["scope"], it["sha256"]):
        yield f"{found.ref} is {found}, and was given as {it}"


class Soak:
    """Kills workers at random, and judges whenever none is left.

    Args:
        postgres, seaweed: the servers.
        folder: for caches and the log.
        seed: of what the workers do; when they die is up to the machine.
    """

    def __init__(self, postgres: Any, seaweed: Any, folder: Path, seed: int) -> None:
        self._seaweed = seaweed
        self._url = postgres.url
        self._schema = f"soak_{os.getpid()}_{secrets.token_hex(4)}"
        self._bucket = f"media/{secrets.token_hex(8)}"
        self._folder = folder
        self._log = folder / "log"
        self._log.touch()
        self._seed = seed
        self._random = random.Random(seed)
        self._lives = 0
        self._promises = Promises(self._log, differs)
        self._running: dict[int, Worker] = {}
        self.counts: Counter[str] = Counter()

    def run(self, rounds: int, tell: Any = None, seconds: float | None = None) -> Counter[str]:
        """Kill that many workers, or as many as these seconds allow; return what was counted.

        Raises:
            SoakError: the law was broken; the message has the seed.
        """
        began = time.monotonic()
        self._judge = Judge(self._url, self._schema, self._bucket, self._seaweed.options)
        with ExitStack() as stack:
            stack.callback(self._judge.close)
            open_store(**self._where()).close()
            late = stack.enter_context(Proxy(self._seaweed.ports["s3"], speak_s3, Later()))
            where = self._where(endpoint=f"http://127.0.0.1:{late.port}")
            where |= {"where": self._url, "clock": lambda: time.time() + LATER_SECONDS}
            self._later = stack.enter_context(open_store(**where))
            self._workers = stack.enter_context(Workers())
            try:
                for number in range(1, rounds + 1):
                    self._start_missing()
                    time.sleep(self._random.uniform(0, LONGEST_NAP_SECONDS))
                    over = seconds is not None and time.monotonic() - began > seconds
                    everybody = number % ROUNDS_BETWEEN_VERDICTS == 0 or number == rounds or over
                    self._kill(list(self._running) if everybody else [self._random.randrange(WORKERS)])
                    self.counts["kills"] += 1
                    if everybody:
                        problems = self._verdict()
                        if problems:
                            raise SoakError("\n".join(problems))
                        if tell is not None:
                            tell(number, self.counts)
                    if over:
                        break
            except SoakError as error:
                raise SoakError(f"round {number}, seed {self._seed}:\n{error}") from None
        return self.counts

    def _where(self, **options: Any) -> dict[str, Any]:
        return {
            "where": f"{self._url}?application_name={self._schema}",
            "blobs": f"s3://{self._bucket}",
            "catalog_options": {"schema": self._schema, "pool_size": 4},
            "blob_options": {
                **self._seaweed.options,
                "cache": str(self._folder / "cache"),
                "cache_bytes": 2 << 20,
                **options,
            },
        }

    def _start_missing(self) -> None:
        for slot in range(WORKERS):
            if slot not in self._running:
                self._lives += 1
                self._running[slot] = self._workers.start(
                    "fleet.soak:work",
                    where=self._where(),
                    log=str(self._log),
                    name=f"worker{slot}.{self._lives}",
                    seed=f"{self._seed} {self._lives}",
                )

    def _kill(self, slots: list[int]) -> None:
        dying = [self._running.pop(slot) for slot in slots]
        for worker in dying:
            worker.kill()
        for worker in dying:
            worker.wait()

    def _verdict(self) -> list[str]:
        """Look, sweep, look again; return what is broken."""
        self._judge.wait_for_the_end(self._schema)
        self._promises.read()
        judge, counts = self._judge, self.counts
        books, there = judge.books(), judge.objects()
        problems = [*judge.broken(books, deep=False), *self._promises.broken(books.refs, swept=False)]
        self._promises.settle(books.refs)
        counts["refs live at a verdict"] += len(books.refs)
        counts["condemned at a verdict"] += len(books.condemned)
        counts["leases at a verdict"] += books.leases
        counts["objects without a row at a verdict"] += len(
            [it for it in there if it not in books.keys and not it.startswith("tmp/")]
        )
        counts["refs promised"] = self._promises.got

        report = self._later.sweep()
        counts["expired by the judge"] += report.expired
        counts["deleted by the judge"] += report.deleted
        counts["writers settled by the judge"] += report.temps
        swept = judge.books()
        problems += [*judge.broken(swept), *judge.leaked(swept)]
        problems += self._promises.broken(swept.refs, swept=True)
        self._promises.settle(swept.refs)
        return problems


def main() -> None:
    parser = argparse.ArgumentParser(prog="soak", description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=500)
    parser.add_argument("--seed", type=int, default=None, help="of an earlier run, for the same deeds")
    options = parser.parse_args()
    from postgres_server import PostgresServer
    from seaweed_server import Seaweed

    seed = random.SystemRandom().randrange(1 << 32) if options.seed is None else options.seed
    began = time.monotonic()

    def tell(number: int, counts: Counter[str]) -> None:
        line = f"\r{number}/{options.rounds} rounds, {counts['refs promised']} refs promised"
        print(f"{line}, {time.monotonic() - began:.0f} s", end="", file=sys.stderr, flush=True)

    print(f"seed {seed}", file=sys.stderr)
    postgres = PostgresServer()
    try:
        with Seaweed() as seaweed, tempfile.TemporaryDirectory() as folder:
            counts = Soak(postgres, seaweed, Path(folder), seed).run(options.rounds, tell)
    except SoakError as error:
        sys.exit(f"\n{error}")
    finally:
        postgres.close()
    print(file=sys.stderr)
    for name, number in sorted(counts.items()):
        print(f"{number:>9,} {name}")


if __name__ == "__main__":
    main()
