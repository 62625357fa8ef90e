"""Kills a worker at each request that it makes, and judges what it leaves, from outside."""

import os
import re
import secrets
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import timedelta
from email.utils import format_datetime, parsedate_to_datetime
from pathlib import Path
from typing import Any, NamedTuple

from mediakeep import MediaStore, open_store

from .children import Worker, Workers
from .deeds import DEEDS, Deed
from .judge import Books, Judge
from .proxy import Asked, Cut, Gate, Proxy, speak_postgres, speak_s3

LATER_SECONDS = 2 * 3600
"""Past the time of every lease and every writer."""

_CHANGES = re.compile(r"COMMIT|INSERT|UPDATE|DELETE|PUT|POST|GET object")
"""Requests that change something, if only on the side of the worker."""

_LASTS = re.compile(r"COMMIT|INSERT (?:refs|locations|leases)|PUT|POST|GET object")
"""Of these, what outlives the worker: it is also killed when that is done and it has not heard so."""

State = tuple[tuple[str, str], ...]
"""The live refs, whatever their names: scope, and what their bytes hash to."""


class Outcome(NamedTuple):
    """What came of killing a worker everywhere."""

    kills: int
    steps: list[str]
    """The requests that it makes when it is let live."""
    states: set[State]
    """What was found after a kill."""
    before: State
    after: State
    problems: list[str]


class Killer(Gate):
    """Counts requests from when it is armed, one at a time, and kills the worker at number `last`.

    Either when the request arrives, and is not sent on, or when its answer has come, and is not sent
    back.
    """

    def __init__(self, last: int, *, hears: bool, late: bool) -> None:
        self._last = last
        self._hears = hears
        self._late = late
        self._turn = threading.Lock()
        self._kill: Callable[[], None] | None = None
        self.steps: list[str] = []
        self.killed = False
        self.armed = False
        self.worker: Worker | None = None

    def connect(self) -> None:
        if self.killed:
            raise Cut

    def ask(self, asked: Asked) -> bytes | None:
        self._turn.acquire()
        try:
            if self.killed:
                raise Cut
            if asked.what == "GET arm":
                self.armed = True
                self._turn.release()
                return b"HTTP/1.1 204 No Content\r\n\r\n"
            if self.armed:
                self.steps.append(asked.what)
                if not self._hears and len(self.steps) == self._last:
                    self._die()
        except BaseException:
            self._turn.release()
            raise
        return None

    def answer(self, asked: Asked, answer: bytes) -> bytes:
        try:
            if self.killed or (self._hears and self.armed and len(self.steps) == self._last):
                self._die()
        finally:
            self._turn.release()
        return later(asked, answer) if self._late else answer

    def _die(self) -> None:
        assert self.worker is not None
        self.killed = True
        self.worker.kill()
        raise Cut


class Killing:
    """Kills workers that do one deed, each time at another request.

    Args:
        deed: its name.
        postgres, seaweed: the servers.
        workers: what starts them.
        folder: for their caches.
        everywhere: kill also where it finds the servers as another kill does.
    """

    def __init__(
        self,
        deed: str,
        postgres: Any,
        seaweed: Any,
        workers: Workers,
        folder: Path,
        *,
        everywhere: bool = False,
    ) -> None:
        self._everywhere = everywhere
        self._name = deed
        self._deed: Deed = DEEDS[deed]()
        self._postgres = postgres
        self._seaweed = seaweed
        self._workers = workers
        self._folder = folder
        self._schema = f"killing_{os.getpid()}_{secrets.token_hex(4)}"
        self._bucket = f"media/{secrets.token_hex(8)}"
        self._judge = Judge(postgres.url, self._schema, self._bucket, seaweed.options)
        self._runs = 0
        self._uploads_of_others = set(seaweed.uploads())

    def outcome(self) -> Outcome:
        with ExitStack() as stack:
            stack.callback(self._judge.close)
            self._to_books = stack.enter_context(Proxy(self._postgres.port, speak_postgres))
            self._to_bytes = stack.enter_context(Proxy(self._seaweed.ports["s3"], speak_s3))
            late = stack.enter_context(Proxy(self._seaweed.ports["s3"], speak_s3, Later()))
            self._later = stack.enter_context(
                open_store(
                    **self._where(self._postgres.url, late.port),
                    clock=lambda: time.time() + LATER_SECONDS,
                )
            )
            return self._outcome()

    def _outcome(self) -> Outcome:
        before, after, steps = self._undisturbed()
        states: set[State] = set()
        problems: list[str] = []
        kills = 0
        for hears in (False, True):
            number = 0
            while not problems:
                number += 1
                if not self._everywhere and self._is_the_same(steps, number, hears=hears):
                    continue
                gate, books = self._run(number, hears=hears)
                if not gate.killed:
                    break
                kills += 1
                states.add(_state(books))
                point = f"{'after' if hears else 'before'} request {number}, {gate.steps[-1]}"
                found = list(self._judged(books, before, after))
                problems += [f"killed {point}: {problem}" for problem in found]
        return Outcome(kills, steps, states, before, after, problems)

    def _is_the_same(self, steps: list[str], number: int, *, hears: bool) -> bool:
        """Return whether this kill finds the servers where another one finds them.

        A request that only reads changes nothing; so there is nothing new after it.
        """
        last, counts = (number, _LASTS) if hears else (number - 1, _CHANGES)
        return 0 < last <= len(steps) and not counts.match(steps[last - 1])

    def _undisturbed(self) -> tuple[State, State, list[str]]:
        self._prepare()
        before = _state(self._judge.books())
        gate, books = self._act(Killer(0, hears=False, late=self._deed.late))
        assert not gate.killed
        assert gate.steps, "nothing was watched"
        return before, _state(books), gate.steps

    def _run(self, number: int, *, hears: bool) -> tuple[Killer, Books]:
        self._prepare()
        return self._act(Killer(number, hears=hears, late=self._deed.late))

    def _prepare(self) -> None:
        self._judge.wipe()
        with open_store(**self._where(self._postgres.url, self._seaweed.ports["s3"])) as store:
            self._deed.prepare(store, self._judge)

    def _act(self, gate: Killer) -> tuple[Killer, Books]:
        self._runs += 1
        client = f"{self._schema}_{self._runs}"
        url = f"postgresql://keeper@127.0.0.1:{self._to_books.port}/postgres?application_name={client}"
        self._to_books.gate = self._to_bytes.gate = gate
        gate.worker = self._workers.start(
            "fleet.deeds:act",
            name=self._name,
            where=self._where(url, self._to_bytes.port),
            arm=f"http://127.0.0.1:{self._to_bytes.port}",
        )
        code = gate.worker.wait()
        assert code == (-9 if gate.killed else 0), f"the worker ended with {code} by itself"
        self._judge.wait_for_the_end(client)
        return gate, self._judge.books()

    def _where(self, url: str, s3: int) -> dict[str, Any]:
        return {
            "where": url,
            "blobs": f"s3://{self._bucket}",
            "catalog_options": {"schema": self._schema},
            "blob_options": {
                **self._seaweed.options,
                "endpoint": f"http://127.0.0.1:{s3}",
                "cache": str(self._folder / f"cache-{self._runs}"),
            },
        }

    # -- the judgement

    def _judged(self, books: Books, before: State, after: State) -> Iterator[str]:
        """Yield what is not as it must be: first as it lies there, then after one sweep."""
        deed, store = self._deed, self._later
        state = _state(books)
        yield from self._judge.broken(books, but=deed.lost)
        if state not in (before, after):
            yield f"half done: {state} is neither {before} nor {after}"
        if deed.mended:
            store.reconcile(dry_run=False)
            left = set(self._seaweed.uploads()) - self._uploads_of_others
            if deed.uploads and left:
                yield f"uploads are left: {left}"
        store.sweep()
        swept = self._judge.books()
        yield from self._judge.broken(swept)
        yield from self._judge.leaked(swept, kept=deed.kept if state == after else 0)
        expected = after if deed.expires or deed.lost else state
        if _state(swept) != expected:
            yield f"the sweep made {_state(swept)} of {expected}"
        yield from self._unusable(store)

    def _unusable(self, store: MediaStore) -> Iterator[str]:
        for entry in list(store.entries()):
            if store.resolve(entry.ref).stat().st_size != entry.size:
                yield f"{entry.ref} has a copy of another size"


class Later(Gate):
    """The service as it will be some hours on: one need not wait until a writer counts as dead."""

    def answer(self, asked: Asked, answer: bytes) -> bytes:
        return later(asked, answer)


def later(asked: Asked, answer: bytes) -> bytes:
    """Return the answer as the service would give it some hours on, if it is asked for the time."""
    if asked.what != "HEAD clock":
        return answer
    head, name, rest = answer.partition(b"\r\nLast-Modified: ")
    assert name, answer
    line, end, more = rest.partition(b"\r\n")
    at = parsedate_to_datetime(line.decode()) + timedelta(seconds=LATER_SECONDS)
    return head + name + format_datetime(at, usegmt=True).encode() + end + more


def _state(books: Books) -> State:
    return tuple(sorted((it.scope, it.sha256) for it in books.refs.values()))
