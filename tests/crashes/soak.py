"""Workers at full load on one folder, killed at random moments, and judged from outside.

    python -m tests.crashes.soak --rounds 2000

Every worker writes down what it was promised (a ref that it got, a ref that it released) into a log that
outlives it. Whenever all are dead, that is compared with the books and the files as they lie there, then
swept, and compared again. A round is one killing.
"""

import argparse
import hashlib
import json
import os
import random
import signal
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from mediakeep import CleanupPolicy, MediaMeta, MediaMissing, MediaStore, UnknownRef, open_store

from .verdict import Books, Live, broken, leaked, read_books

WORKERS = 3
ROUNDS_BETWEEN_VERDICTS = 8
LONGEST_NAP_SECONDS = 0.04
FOREVER_SECONDS = 3600.0
"""Longer than any lease and any time to live here; shorter than the journal."""

BORROWED = MediaMeta(cleanup_policy=CleanupPolicy.FORGET_ONLY)


class SoakError(AssertionError):
    """The law was broken."""


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


class Worker:
    """One life of one worker: does this and that until it is killed."""

    def __init__(self, places: Places, slot: int, life: int, seed: str) -> None:
        self._places = places
        self._slot = slot
        self._scope = f"worker{slot}:{life}"
        self._life = life
        self._random = random.Random(seed)
        self._made = 0
        self._mine: dict[str, tuple[str, bytes]] = {}
        """The refs that this life got and has not released: their scope and bytes."""
        self._log = os.open(places.log, os.O_WRONLY | os.O_APPEND | os.O_CREAT)

    def run(self) -> None:
        try:
            store = self._places.open(fsync=self._random.random() < 0.2)
            self._release_a_dead_life(store)
            deeds = [self._put, self._store_own, self._store_shared, self._borrow, self._share]
            deeds += [self._read, self._read, self._lease, self._release, self._release_all, self._sweep]
            deeds += [self._variant]
            while True:
                self._random.choice(deeds)(store)
        except BaseException:
            self._say("broken", text=traceback.format_exc())
            os._exit(1)

    def _say(self, what: str, **values: Any) -> None:
        # Between two line ends, so that a line which death has cut off spoils no other.
        line = json.dumps({"what": what, "by": self._scope, **values})
        os.write(self._log, b"\n%b\n" % line.encode())

    def _got(
        self, ref: str, scope: str, data: bytes, *, path: Path | None = None, ttl: bool = False
    ) -> None:
        sha256 = hashlib.sha256(data).hexdigest()
        self._say("got", ref=ref, scope=scope, sha256=sha256, path=path and str(path), ttl=ttl)
        if not ttl:
            self._mine[ref] = (scope, data)

    def _some_scope(self) -> str:
        return self._random.choice((self._scope, f"{self._scope}:turn{self._random.randrange(3)}"))

    def _some_bytes(self) -> bytes:
        if self._random.random() < 0.3:  # what all of them have, so that blobs are shared
            return b"everybody has %d" % self._random.randrange(3)
        return self._random.randbytes(self._random.choice((0, 10, 5_000, 200_000)))

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

    def _share(self, store: MediaStore) -> None:
        entries = [it for it in store.entries() if it.expires_at is None and it.scope != "user"]
        if not entries:
            return
        entry, scope = self._random.choice(entries), self._some_scope()
        try:
            ref = store.share(entry.ref, scope)
        except UnknownRef:
            return  # it ended just now
        self._got(ref, scope, store.read_bytes(ref), path=None if entry.sha256 else entry.path)

    def _some_ref(self) -> str | None:
        return self._random.choice(list(self._mine)) if self._mine else None

    def _read(self, store: MediaStore) -> None:
        ref = self._some_ref()
        if ref is not None:
            self._check(ref, store.read_bytes(ref), self._mine[ref][1])

    def _variant(self, store: MediaStore) -> None:
        ref = self._some_ref()
        if ref is None:
            return
        name = self._random.choice(("one", "two"))
        with store.lease(ref):
            path = store.variant(ref, name, lambda path: path.read_bytes()[::-1])
            self._check(ref, path.read_bytes()[::-1], self._mine[ref][1])

    def _check(self, ref: str, found: bytes, data: bytes) -> None:
        if found != data:
            raise SoakError(f"{ref} is live or leased, and has other bytes: {found[:40]!r}")

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

    def _release(self, store: MediaStore) -> None:
        ref = self._some_ref()
        if ref is not None:
            self._release_one(store, ref)

    def _release_one(self, store: MediaStore, ref: str) -> None:
        self._say("releasing", ref=ref)
        store.release(ref)
        self._say("released", ref=ref)
        del self._mine[ref]

    def _release_all(self, store: MediaStore) -> None:
        self._release_scope(store, self._some_scope())

    def _release_scope(self, store: MediaStore, scope: str) -> None:
        self._say("releasing all", scope=scope)
        store.release_all(scope, nested=True)
        self._say("released all", scope=scope)
        self._mine = {ref: it for ref, it in self._mine.items() if not _is_in(it[0], scope)}

    def _release_a_dead_life(self, store: MediaStore) -> None:
        """End what an earlier life left, or nothing: then others have to live with it."""
        scopes = {":".join(name.split(":")[:2]) for name in store.scopes()}
        dead = [scope for scope in scopes if scope.startswith(f"worker{self._slot}:")]
        for scope in sorted(dead):
            if self._random.random() < 0.7 and scope != self._scope:
                self._release_scope(store, scope)

    def _sweep(self, store: MediaStore) -> None:
        if self._random.random() < 0.3:
            store.sweep()


def _is_in(scope: str, above: str) -> bool:
    return scope == above or scope.startswith(f"{above}:")


# -- the judge


class Promises:
    """What the log says: which refs must be live, which must be dead, and what they name."""

    def __init__(self, log: Path) -> None:
        self._log = log
        self._read_to = 0
        self._live: dict[str, dict[str, Any]] = {}
        self._dead: set[str] = set()
        self._unsure: set[str] = set()
        self.got = 0

    def read(self) -> None:
        """Read on in the log."""
        with self._log.open("rb") as log:
            log.seek(self._read_to)
            data = log.read()
        self._read_to += len(data)
        for line in data.splitlines():
            with suppress(json.JSONDecodeError):  # cut off: what it would have said stays open
                self._hear(json.loads(line))

    def _hear(self, it: dict[str, Any]) -> None:
        match it["what"]:
            case "got":
                self.got += 1
                self._live[it["ref"]] = it
                if it["ttl"]:
                    self._unsure.add(it["ref"])
            case "releasing":
                self._unsure.add(it["ref"])
            case "released":
                self._bury([it["ref"]])
            case "releasing all":
                self._unsure.update(self._of(it["scope"]))
            case "released all":
                self._bury(self._of(it["scope"]))
            case "broken":
                raise SoakError(f"{it['by']}:\n{it['text']}")

    def _of(self, scope: str) -> list[str]:
        return [ref for ref, it in self._live.items() if _is_in(it["scope"], scope)]

    def _bury(self, refs: list[str]) -> None:
        self._dead.update(refs)
        self._unsure.difference_update(refs)
        for ref in refs:
            self._live.pop(ref, None)

    def broken(self, books: Books, *, swept: bool) -> Iterator[str]:
        """Yield where the books are other than was promised."""
        for ref in self._dead & books.refs.keys():
            yield f"{ref} was released, and is live"
        for ref, it in self._live.items():
            if ref in books.refs:
                if swept and it["ttl"]:
                    yield f"{ref} has expired, and is live"
                yield from self._differs(books.refs[ref], it)
            elif ref not in self._unsure:
                yield f"{ref} was returned to {it['by']}, nobody released it, and it is gone"

    def _differs(self, found: Live, it: dict[str, Any]) -> Iterator[str]:
        if it["path"] is not None and str(found.path) != it["path"]:
            yield f"{found.ref} names {found.path} instead of {it['path']}"
        if found.scope != it["scope"]:
            yield f"{found.ref} is in {found.scope} instead of {it['scope']}"
        if hashlib.sha256(found.path.read_bytes()).hexdigest() != it["sha256"]:
            yield f"{found.ref} has other bytes than were given"

    def settle(self, books: Books) -> None:
        """Take what is in the books now for what was meant where that was open."""
        for ref in self._unsure:
            if ref not in books.refs:
                self._live.pop(ref, None)
        self._unsure &= books.refs.keys()
        self._dead.clear()  # a ref is never used again: what is gone by now stays so


class Judge:
    """Compares everything from outside whenever all workers are dead."""

    def __init__(self, places: Places) -> None:
        self._places = places
        self._promises = Promises(places.log)
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
        problems = [*broken(books), *self._promises.broken(books, swept=False), *self._touched()]
        self._owned |= books.owned
        self._promises.settle(books)
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
        problems += [*broken(swept), *self._promises.broken(swept, swept=True), *self._touched()]
        problems += leaked(places.store, swept)
        lost = [it for it in books.refs.values() if it.ref not in swept.refs and not it.expires]
        problems += [f"the sweep ended {it.ref} ({it.scope})" for it in lost]
        # Files that were the store's and that no ref names have to be gone.
        left = [
            path for path in self._owned - swept.owned if path.parent == places.own and path.exists()
        ]
        problems += [f"{path} was the store's, is named by nothing, and is still there" for path in left]
        self._promises.settle(swept)
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
