"""Kills a process at each step of a scenario in turn, and judges what it leaves, from outside."""

import json
import os
import shutil
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from mediakeep import MediaStore

from .effects import Effects
from .scenarios import LATER, Scenario
from .system_calls import let_parent_trace, trace
from .verdict import Books, broken, leaked, read_books

State = tuple[tuple[str, str, bool], ...] | None
"""The live refs, whatever their names: scope, what they name, whether it is owned."""


class Outcome(NamedTuple):
    """What came of killing a scenario's process everywhere."""

    kills: int
    steps: list[str]
    """The points that it passes when it is let live."""
    states: set[State]
    """What was found after a kill."""
    before: State
    after: State
    problems: list[str]


def kill_at_every_effect(kind: type[Scenario], root: Path) -> Outcome:
    """Kill just before and just after each effect that mediakeep has."""
    return _Killing(kind, root, _run_to_effect).outcome()


def kill_at_every_system_call(kind: type[Scenario], root: Path) -> Outcome:
    """Kill before each system call that changes something, SQLite's included."""
    return _Killing(kind, root, _run_to_system_call).outcome()


# -- one run

Run = Callable[[Scenario, int], list[str] | None]
"""Runs the scenario up to that point; the names of its steps if it lived to its end, None if not."""

_BEGIN_ONLY = -1
_ALL = 0


def _run_to_effect(scenario: Scenario, last: int) -> list[str] | None:
    said, say = os.pipe()
    write = os.write  # as it is without being watched
    pid = os.fork()
    if not pid:
        effects = Effects(last)
        effects.watch()
        _act(scenario, last, effects.count, lambda: write(say, json.dumps(effects.points).encode()))
    os.close(say)
    with os.fdopen(said, "rb") as words:
        text = words.read()
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    assert code in (0, -9), f"the process ended with {code} by itself"
    return json.loads(text) if code == 0 else None


def _run_to_system_call(scenario: Scenario, last: int) -> list[str] | None:
    pid = os.fork()
    if not pid:
        _act(scenario, last, let_parent_trace, lambda: None)
    code, names = trace(pid, last)
    assert code in (0, -9), f"the process ended with {code} by itself"
    return names if code == 0 else None


def _act(scenario: Scenario, last: int, arm: Callable[[], object], tell: Callable[[], object]) -> None:
    try:
        store = scenario.open()
        scenario.begin(store)
        if last != _BEGIN_ONLY:
            arm()
            scenario.act(store)
        tell()
        os._exit(0)
    except BaseException:
        traceback.print_exc()
        os._exit(1)


# -- all of them


class _Killing:
    def __init__(self, kind: type[Scenario], root: Path, run: Run) -> None:
        self._scenario = kind(root / "place")
        self._template = root / "template"
        self._run = run

    def outcome(self) -> Outcome:
        scenario = self._scenario
        scenario.root.mkdir()
        with scenario.open() or _nothing() as store:
            scenario.prepare(store)
        shutil.copytree(scenario.root, self._template, symlinks=True)
        self._prepared = read_books(scenario.folder)

        self._run(scenario, _BEGIN_ONLY)
        before = _state(read_books(scenario.folder))
        self._restore()
        steps = self._run(scenario, _ALL)
        assert steps, "nothing was watched"
        after = _state(read_books(scenario.folder))

        states: set[State] = set()
        problems: list[str] = []
        kills = survived = 0
        while True:
            self._restore()
            if self._run(scenario, kills + 1) is not None:
                survived += 1
                # A slow machine may have taken more steps the first time, deleting in smaller batches.
                if kills >= len(steps) or survived > 3:
                    break
                continue
            kills += 1
            books = read_books(scenario.folder)
            states.add(_state(books))
            found = list(self._judge(books, before, after))
            problems += [f"killed at {self._point(steps, kills)}: {problem}" for problem in found]
        return Outcome(kills, steps, states, before, after, problems)

    def _restore(self) -> None:
        shutil.rmtree(self._scenario.root)
        shutil.copytree(self._template, self._scenario.root, symlinks=True)

    def _point(self, steps: list[str], number: int) -> str:
        if self._run is _run_to_effect:
            return f"point {number}, {steps[number - 1]}"
        return f"call {number}, {steps[min(number, len(steps)) - 1]}"

    def _judge(self, books: Books | None, before: State, after: State) -> Iterator[str]:
        """Yield what is not as it must be: first as it lies there, then after one sweep."""
        scenario = self._scenario
        state = _state(books)
        yield from broken(books)
        yield from self._touched(books, "the crash")
        if state not in (before, after):
            yield f"half done: {state} is neither {before} nor {after}"

        with scenario.open(LATER) as store:
            if scenario.mended:
                store.reconcile(dry_run=False)
            store.sweep()
            ref = store.put(b"still usable", scope="afterwards")
            assert store.read_bytes(ref) == b"still usable"
            store.release(ref)
        swept = read_books(scenario.folder)
        yield from broken(swept)
        yield from leaked(scenario.folder, swept, kept=scenario.kept if state == after else 0)
        yield from self._touched(books, "the sweep")
        yield from self._left(books, swept)
        expected = after if scenario.expires else state or ()
        if _state(swept) != expected:
            yield f"the sweep made {_state(swept)} of {expected}"

    def _touched(self, books: Books | None, culprit: str) -> Iterator[str]:
        """Yield the files that nobody gave to the store, and that are not as they were."""
        given = self._given(books)
        for path in self._files():
            if path in given and path.parent == self._scenario.files:
                continue
            copy = self._template / path.relative_to(self._scenario.root)
            if not path.exists() or path.read_bytes() != copy.read_bytes():
                yield f"{path} was never given to the store, and {culprit} touched it"

    def _left(self, books: Books | None, swept: Books | None) -> Iterator[str]:
        """Yield the files that were given to the store, that no ref names, and that are still there."""
        for path in self._files():
            if path in self._given(books) and path not in swept.paths and path.exists():
                yield f"{path} was given to the store, is named by nothing, and is still there"

    def _given(self, books: Books | None) -> set[Path]:
        return {path for it in (self._prepared, books) if it is not None for path in it.owned}

    def _files(self) -> Iterator[Path]:
        for name in ("files", "theirs"):
            for path in sorted((self._template / name).glob("*")):
                yield self._scenario.root / path.relative_to(self._template)


def _state(books: Books | None) -> State:
    if books is None:
        return None
    refs = books.refs.values()
    return tuple(sorted((it.scope, it.sha256 if it.is_blob else it.path.name, it.owned) for it in refs))


class _nothing:  # noqa: N801
    def __enter__(self) -> MediaStore | None:
        return None

    def __exit__(self, *_: object) -> None:
        pass
