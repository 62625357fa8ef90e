"""What every soak has: the load that a worker puts on a store, and what it was promised.

A worker writes each promise (a ref that it got, a ref that it released) into a log that outlives it.
"""

import hashlib
import json
import os
import random
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from mediakeep import MediaStore, UnknownRef


class SoakError(AssertionError):
    """The law was broken."""


def is_in(scope: str, above: str) -> bool:
    return scope == above or scope.startswith(f"{above}:")


class Load:
    """One life of one worker: does this and that until it is killed.

    Args:
        log: where it says what it was promised.
        name: of this life, and its scope.
        seed: of what it does.
    """

    def __init__(self, log: str | Path, name: str, seed: str) -> None:
        self._name = name
        self._random = random.Random(seed)
        self._mine: dict[str, tuple[str, bytes]] = {}
        """The refs that this life got and has not released: their scope and bytes."""
        self._log = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT)

    def run(self) -> None:
        try:
            store = self._open()
            deeds = self._deeds(store)
            while True:
                self._random.choice(deeds)(store)
        except BaseException:
            self._say("broken", text=traceback.format_exc())
            os._exit(1)

    def _open(self) -> MediaStore:
        raise NotImplementedError

    def _deeds(self, store: MediaStore) -> list[Callable[[MediaStore], object]]:
        """Return what it does, more than once what it does more often."""
        raise NotImplementedError

    def _say(self, what: str, **values: Any) -> None:
        # Between two line ends, so that a line which death has cut off spoils no other.
        line = json.dumps({"what": what, "by": self._name, **values})
        os.write(self._log, b"\n%b\n" % line.encode())

    def _got(
        self, ref: str, scope: str, data: bytes, *, path: Path | None = None, ttl: bool = False
    ) -> None:
        sha256 = hashlib.sha256(data).hexdigest()
        self._say("got", ref=ref, scope=scope, sha256=sha256, path=path and str(path), ttl=ttl)
        if not ttl:
            self._mine[ref] = (scope, data)

    def _some_scope(self) -> str:
        return self._random.choice((self._name, f"{self._name}:turn{self._random.randrange(3)}"))

    def _some_bytes(self) -> bytes:
        if self._random.random() < 0.3:  # what all of them have, so that blobs are shared
            return b"everybody has %d" % self._random.randrange(3)
        return self._random.randbytes(self._random.choice((0, 10, 5_000, 200_000)))

    def _some_ref(self) -> str | None:
        return self._random.choice(list(self._mine)) if self._mine else None

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
        self._mine = {ref: it for ref, it in self._mine.items() if not is_in(it[0], scope)}

    def _sweep(self, store: MediaStore) -> None:
        if self._random.random() < 0.3:
            store.sweep()


class Promises:
    """What the log says: which refs must be live, which must be dead, and what they name.

    Args:
        log: that of the workers.
        differs: gives what is wrong with a ref in the books, given what its worker said of it.
    """

    def __init__(self, log: Path, differs: Callable[[Any, dict[str, Any]], Iterator[str]]) -> None:
        self._log = log
        self._differs = differs
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
        return [ref for ref, it in self._live.items() if is_in(it["scope"], scope)]

    def _bury(self, refs: list[str]) -> None:
        self._dead.update(refs)
        self._unsure.difference_update(refs)
        for ref in refs:
            self._live.pop(ref, None)

    def broken(self, refs: Mapping[str, Any], *, swept: bool) -> Iterator[str]:
        """Yield where the live refs of the books are others than was promised."""
        for ref in self._dead & refs.keys():
            yield f"{ref} was released, and is live"
        for ref, it in self._live.items():
            if ref in refs:
                if swept and it["ttl"]:
                    yield f"{ref} has expired, and is live"
                yield from self._differs(refs[ref], it)
            elif ref not in self._unsure:
                yield f"{ref} was returned to {it['by']}, nobody released it, and it is gone"

    def settle(self, refs: Mapping[str, Any]) -> None:
        """Take what is live in the books now for what was meant where that was open."""
        for ref in self._unsure - refs.keys():
            self._live.pop(ref, None)
        self._unsure &= refs.keys()
        self._dead.clear()  # a ref is never used again: what is gone by now stays so
