"""Cancel an operation at each of its steps in turn: each time it waits, each call of its threads.

A step of the event loop is a suspension of the task: the coroutine is driven by hand, and the
cancellation is asked for just before it waits for the n-th time. A step of a thread is a call of the
operating system or of SQLite: the thread stops there until the cancellation has reached the task.
"""

import asyncio
import inspect
import sys
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from itertools import count

import anyio
import trio

from mediakeep import Lease, MediaScope

CANCELLED = object()
"""What `attempt` gives for an operation that was cancelled."""

MODES = ("asyncio task", "asyncio scope", "trio scope")
"""asyncio's own cancellation, which knows no shield, and that of a cancel scope on either backend."""

STEPS_OF_THREADS = {
    "open", "mkdir", "flock", "write", "link", "unlink", "rename", "fsync", "close", "stat", "lstat",
    "execute", "executemany", "commit",
}  # fmt: skip
CYCLES = 6
"""After how many turns of the event loop a cancellation has reached its task."""

Cancel = Callable[[], object]
Operation = Callable[[], Awaitable[object]]


class Stepped:
    """Awaits `operation` and calls `at_step(n)` before it waits for the n-th time."""

    def __init__(self, operation: Operation, at_step: Callable[[int], object]) -> None:
        self.operation = operation
        self.at_step = at_step
        self.steps = 0

    def __await__(self):
        awaitable = self.operation().__await__()
        value, thrown = None, None
        while True:
            try:
                signal = awaitable.send(value) if thrown is None else awaitable.throw(thrown)
            except StopIteration as end:
                return end.value
            self.steps += 1
            self.at_step(self.steps)
            try:
                value, thrown = (yield signal), None
            except BaseException as error:
                value, thrown = None, error


def run(mode: str, main: Callable[[], Awaitable[object]]) -> object:
    return anyio.run(main, backend=mode.split()[0])


async def attempt(
    mode: str, operation: Operation, at_step: Callable[[Cancel, int], object]
) -> tuple[object, int]:
    """Return what the operation returns, or CANCELLED, and how many times it waited."""
    if mode == "asyncio task":
        stepped = Stepped(operation, lambda n: at_step(task.cancel, n))

        async def body() -> object:
            return await stepped

        task = asyncio.create_task(body())
        try:
            return await task, stepped.steps
        except asyncio.CancelledError:
            return CANCELLED, stepped.steps
    with anyio.CancelScope() as scope:
        stepped = Stepped(operation, lambda n: at_step(scope.cancel, n))
        return await stepped, stepped.steps
    return CANCELLED, stepped.steps


async def at_each_wait(
    mode: str, operation: Operation, check: Callable[[object], object], *, again: bool = False
) -> int:
    """Cancel at each suspension in turn, `again` at all that follow; return how many there are.

    Each time `check` is given what came of it.
    """
    for at in count(1):

        def at_step(cancel: Cancel, n: int, at: int = at) -> None:
            if n == at or (again and at < n < at + 8):
                cancel()

        outcome, steps = await attempt(mode, operation, at_step)
        check(outcome)
        if steps < at:
            return steps
        assert at < 500
    raise AssertionError


async def at_each_call(mode: str, operation: Operation, check: Callable[[object], object]) -> int:
    """Cancel at each step of the operation's threads in turn; return how many there are."""
    for at in count(1):
        cancels: list[Cancel] = []
        with _stopping(at, cancels) as reached:
            outcome, _ = await attempt(mode, operation, lambda cancel, _, to=cancels: to.append(cancel))
        check(outcome)
        if not reached:
            return at - 1
        assert at < 500
    raise AssertionError


@contextmanager
def _stopping(at: int, cancels: list[Cancel]) -> Iterator[list[str]]:
    """Have threads stop at the `at`-th step until the task has been cancelled."""
    reached: list[str] = []
    numbers = count(1)
    in_loop = soon()

    def stop() -> None:
        delivered = threading.Event()

        def turn(left: int) -> None:
            if left == CYCLES:
                cancels[0]()
            if left:
                in_loop(lambda: turn(left - 1))
            else:
                delivered.set()

        in_loop(lambda: turn(CYCLES))
        assert delivered.wait(20)

    def profile(frame: object, event: str, called: object) -> None:
        name = getattr(called, "__name__", "")
        if event == "c_call" and name in STEPS_OF_THREADS and next(numbers) == at:
            reached.append(name)
            sys.setprofile(None)
            stop()
            sys.setprofile(profile)

    _current.profile = profile
    try:
        yield reached
    finally:
        _current.profile = None


class _Current:
    profile: Callable[[object, str, object], None] | None = None


_current = _Current()


class Watched:
    """A store, scope or lease as it is, whose verbs stop at the steps of `at_each_call`."""

    def __init__(self, it: object) -> None:
        self._it = it

    def __getattr__(self, name: str) -> object:
        found = getattr(self._it, name)
        if not callable(found):
            return found

        def watched(*args: object, **kwargs: object) -> object:
            sys.setprofile(_current.profile)
            try:
                result = found(*args, **kwargs)
            finally:
                sys.setprofile(None)
            return Watched(result) if isinstance(result, Lease | MediaScope) else result

        return watched


def soon() -> Callable[[Callable[[], object]], object]:
    """Return what runs a call in the event loop, from any thread."""
    try:
        return trio.lowlevel.current_trio_token().run_sync_soon
    except RuntimeError:
        return asyncio.get_running_loop().call_soon_threadsafe


def suspends(operation: Awaitable[object]) -> bool:
    """Return whether the coroutine waits for anything at all."""
    assert inspect.iscoroutine(operation)
    try:
        operation.send(None)
    except StopIteration:
        return False
    finally:
        operation.close()
    return True
