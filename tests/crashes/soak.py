"""Workers at full load on one folder, killed at random moments, and judged from outside.

    python -m tests.crashes.soak --rounds 2000

Every worker writes down what it was promised (a ref that it got, a ref that it released) into a log that
outlives it. Whenever all are dead, that is compared with the books and the files as they lie there, then
swept, and compared again. A round is one killing.
"""

import argparse
import hashlib
import os
import random
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from mediakeep import CleanupPolicy, MediaMeta, MediaMissing, MediaStore, open_store

if __name__ == "__main__":  # then the neighbours are known by other names
    sys.path.insert(0, str(Path(__file__).parents[1]))

from crashes.verdict import Live, broken, leaked, read_books
from soaking import Load, Promises, SoakError

WORKERS = 3
ROUNDS_BETWEEN_VERDICTS = 8
LONGEST_NAP_SECONDS = 0.04
FOREVER_SECONDS = 3600.0
"""Longer than any lease and any time to live here; shorter than the journal."""

BORROWED = MediaMeta(cleanup_policy=CleanupPolicy.FORGET_ONLY)


class Places:
    """Where things are, for workers and judge alike."""

    def __init__(self, root: Path) -> None:
        self.store = root / "store"
        self.own = root / "own"
        """Files of one worker each, given to the store once."""
        self.shared = root / "shared"
        """Files that every worker gives to the store, and makes again when they are gone."""
        self.theirs = root / "theirs"
        """Files of the user, never to be touched."""
        self.log = root / "log"

    def open(self, *, ahead: float = 0.0, fsync: bool = False) -> MediaStore:
        # With a clock of our own leases go by it too, so that the judge can see the end of them.
        return open_store(self.store, clock=lambda: time.time() + ahead, fsync=fsync)


# -- the load


class Worker(Load):
    """One life of one worker."""

    def __init__(self, places: Places, slot: int, life: int, seed: str) -> None:
        super().__init__(places.log, f"worker{slot}:{life}", seed)
        self._places = places
        self._slot = slot
        self._life = life
        self._made = 0

    def _open(self) -> MediaStore:
        return self._places.open(fsync=self._random.random() < 0.2)

    def _deeds(self, store: MediaStore) -> list[Callable[[MediaStore], object]]:
        self._release_a_dead_life(store)
        deeds = [self._put, self._store_own, self._store_shared, self._borrow, self._share]
        deeds += [self._read, self._read, self._lease, self._release, self._release_all, self._sweep]
        return [*deeds, self._variant]

    def _put(self, store: MediaStore) -> None:
        data, scope = self._some_bytes(), self._some_scope()
        ttl = self._random.choice((None, None, None, 0.01))
        source = iter([data[:100], data[100:]]) if self._random.random() < 0.3 else data
        self._got(store.put(source, scope=scope, ttl=ttl), scope, data, ttl=ttl is not None)

    def _store_own(self, store: MediaStore) -> None:
        self._made += 1
        path = self._places.own / f"{self._slot}-{self._life}-{self._made}"
        data, scope = self._some_bytes(), self._some_scope()
        path.write_bytes(data)
        self._got(store.store(path, scope=scope), scope, data, path=path)

    def _store_shared(self, store: MediaStore) -> None:
        path = self._places.shared / str(self._random.randrange(4))
        data, scope = b"bytes of " + path.name.encode(), self._some_scope()
        if not path.exists():
            fresh = path.with_name(f".{self._slot}")
            fresh.write_bytes(data)
            fresh.rename(path)
        with suppress(MediaMissing):  # if another worker's release came between
            self._got(store.store(path, scope=scope), scope, data, path=path)

    def _borrow(self, store: MediaStore) -> None:
        # The user's own ref of it lives all the time, so not even an owning one may end it.
        path = self._places.theirs / str(self._random.randrange(4))
        meta, scope = self._random.choice((MediaMeta(), BORROWED)), self._some_scope()
        self._got(store.store(path, meta, scope), scope, path.read_bytes(), path=path)

    def _read(self, store: MediaStore) -> None:
        ref = self._some_ref()
        if ref is not None:
            self._check(ref, store.read_bytes(ref), self._mine[ref][1])

    def _lease(self, store: MediaStore) -> None:
        ref = self._some_ref()
        if ref is None:
            return
        _, data = self._mine[ref]
        with store.lease(ref) as media:
            if self._random.random() < 0.5:
                self._release_one(store, ref)
                store.sweep()
            self._check(ref, media.path.read_bytes(), data)

    def _release_a_dead_life(self, store: MediaStore) -> None:
        """End what an earlier life left, or nothing: then others have to live with it."""
        scopes = {":".join(name.split(":")[:2]) for name in store.scopes()}
        dead = [scope for scope in scopes if scope.startswith(f"worker{self._slot}:")]
        for scope in sorted(dead):
            if self._random.random() < 0.7 and scope != self._name:
                self._release_scope(store, scope)


# -- the judge


def differs(found: Live, it: dict[str, Any]) -> Iterator[str]:
    """Yield what is wrong with a ref, given what its worker said of it."""
    if it["path"] is not None and str(found.path) != it["path"]:
        yield f"{found.ref} names {found.path} instead of {it['path']}"
    if found.scope != it["scope"]:
        yield f"{found.ref} is in {found.scope} instead of {it['scope']}"
    if hashlib.sha256(found.path.read_bytes()).hexdigest() != it["sha256"]:
        yield f"{found.ref} has other bytes than were given"


class Judge:
    """Compares everything from outside whenever all workers are dead."""

    def __init__(self, places: Places) -> None:
        self._places = places
        self._promises = Promises(places.log, differs)
        self._theirs = {path: path.read_bytes() for path in places.theirs.iterdir()}
        self._owned: set[Path] = set()
        """What the store was ever seen to own."""
        self.counts: Counter[str] = Counter()

    def judge(self) -> list[str]:
        """Look, sweep, look again; return what is broken."""
        places = self._places
        self._promises.read()
        books = read_books(places.store)
        if books is None:
            return []
        problems = [*broken(books), *self._promises.broken(books.refs, swept=False), *self._touched()]
        self._owned |= books.owned
        self._promises.settle(books.refs)
        self.counts["refs live at a verdict"] += len(books.refs)
        self.counts["condemned at a verdict"] += len(books.condemned)
        self.counts["leases at a verdict"] += books.leases
        self.counts["refs promised"] = self._promises.got

        with places.open(ahead=FOREVER_SECONDS) as store:
            report = store.sweep()
        self.counts["expired by the judge"] += report.expired
        self.counts["deleted by the judge"] += report.deleted
        self.counts["temps of the dead"] += report.temps
        swept = read_books(places.store)
        problems += [*broken(swept), *self._promises.broken(swept.refs, swept=True), *self._touched()]
        problems += leaked(places.store, swept)
        lost = [it for it in books.refs.values() if it.ref not in swept.refs and not it.expires]
        problems += [f"the sweep ended {it.ref} ({it.scope})" for it in lost]
        # Files that were the store's and that no ref names have to be gone.
        left = [
            path for path in self._owned - swept.owned if path.parent == places.own and path.exists()
        ]
        problems += [f"{path} was the store's, is named by nothing, and is still there" for path in left]
        self._promises.settle(swept.refs)
        return problems

    def _touched(self) -> Iterator[str]:
        for path, data in self._theirs.items():
            if not path.exists() or path.read_bytes() != data:
                yield f"{path} is the user's, and was touched"


# -- the rounds


class Soak:
    """Starts, kills, restarts, and calls the judge."""

    def __init__(self, root: Path, seed: int) -> None:
        self._places = places = Places(root)
        for folder in (places.own, places.shared, places.theirs):
            folder.mkdir()
        for i in range(4):
            (places.theirs / str(i)).write_bytes(b"the user's %d" % i)
        with places.open() as store:
            for path in places.theirs.iterdir():
                store.store(path, BORROWED, "user")
        places.log.touch()
        self._seed = seed
        self._random = random.Random(seed)
        self._lives = 0
        self._workers: dict[int, int] = {}
        self._judge = Judge(places)

    def run(self, rounds: int, tell: Any = None) -> Counter[str]:
        """Kill that many workers; return what was counted.

        Raises:
            SoakError: the law was broken; the message has the seed.
        """
        try:
            for number in range(1, rounds + 1):
                self._start_missing()
                time.sleep(self._random.uniform(0, LONGEST_NAP_SECONDS))
                everybody = number % ROUNDS_BETWEEN_VERDICTS == 0 or number == rounds
                for slot in list(self._workers) if everybody else [self._random.randrange(WORKERS)]:
                    self._kill(slot)
                if everybody:
                    problems = self._judge.judge()
                    if problems:
                        raise SoakError("\n".join(problems))
                    if tell is not None:
                        tell(number, self._judge.counts)
        except SoakError as error:
            raise SoakError(f"round {number}, seed {self._seed}:\n{error}") from None
        finally:
            for slot in list(self._workers):
                self._kill(slot)
        return self._judge.counts

    def _start_missing(self) -> None:
        for slot in range(WORKERS):
            if slot not in self._workers:
                self._lives += 1
                pid = os.fork()
                if not pid:
                    Worker(self._places, slot, self._lives, f"{self._seed} {self._lives}").run()
                self._workers[slot] = pid

    def _kill(self, slot: int) -> None:
        pid = self._workers.pop(slot)
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


def main() -> None:
    parser = argparse.ArgumentParser(prog="soak", description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=2000)
    parser.add_argument(
        "--seed", type=int, default=None, help="of an earlier run, to repeat its choices"
    )
    parser.add_argument("--folder", type=Path, default=None, help="where to work; an empty folder")
    options = parser.parse_args()
    seed = random.SystemRandom().randrange(1 << 32) if options.seed is None else options.seed
    began = time.monotonic()

    def tell(number: int, counts: Counter[str]) -> None:
        line = f"\r{number}/{options.rounds} rounds, {counts['refs promised']} refs promised"
        print(f"{line}, {time.monotonic() - began:.0f} s", end="", file=sys.stderr, flush=True)

    print(f"seed {seed}", file=sys.stderr)
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        try:
            counts = Soak(Path(folder), seed).run(options.rounds, tell)
        except SoakError as error:
            sys.exit(f"\n{error}")
    print(file=sys.stderr)
    for name, number in sorted(counts.items()):
        print(f"{number:>9,} {name}")


if __name__ == "__main__":
    main()
