"""Forked processes that tests start: what they return or raise comes back, and they wait for a word."""

import os
import pickle
import select
import signal
import traceback
from collections.abc import Callable
from typing import Any

PATIENCE_SECONDS = 60.0
"""How long anybody here waits for a process before it calls it stuck."""


class Child:
    """A forked process that runs `work(*values)`. Fork from a process without threads."""

    def __init__(self, work: Callable[..., Any], *values: Any) -> None:
        self._said, say = os.pipe()
        self._ended = False
        self.pid = os.fork()
        if not self.pid:
            os.close(self._said)
            _run(say, work, values)
        os.close(say)

    def result(self) -> Any:
        """Return what `work` returned, once it has.

        Raises:
            AssertionError: it raised, or the process died; the message has its traceback.
        """
        data = bytearray()
        while True:
            if not select.select([self._said], [], [], PATIENCE_SECONDS)[0]:
                self.kill()
                raise AssertionError(f"process {self.pid} is stuck: no word in {PATIENCE_SECONDS:g} s")
            chunk = os.read(self._said, 1 << 16)
            if not chunk:
                break
            data += chunk
        status = self._wait()
        if not data:
            raise AssertionError(f"process {self.pid} died with status {status}")
        fine, value = pickle.loads(data)
        if not fine:
            raise AssertionError(f"process {self.pid} failed:\n{value}")
        return value

    def kill(self) -> None:
        """Kill it with SIGKILL, if it has not ended."""
        if not self._ended:
            os.kill(self.pid, signal.SIGKILL)
            self._wait()

    def _wait(self) -> int:
        _, status = os.waitpid(self.pid, 0)
        os.close(self._said)
        self._ended = True
        return os.waitstatus_to_exitcode(status)


def _run(say: int, work: Callable[..., Any], values: tuple[Any, ...]) -> None:
    try:
        answer = (True, work(*values))
    except BaseException:
        answer = (False, traceback.format_exc())
    try:
        with os.fdopen(say, "wb") as out:
            pickle.dump(answer, out)
    finally:
        os._exit(0)


class Signal:
    """One process says something has happened, another waits for it. Each word is for one waiter."""

    def __init__(self) -> None:
        self._heard, self._said = os.pipe()

    def give(self, times: int = 1) -> None:
        """Say it, for as many waiters."""
        os.write(self._said, b"." * times)

    def wait(self, times: int = 1) -> None:
        """Wait until it has been said, as often."""
        for _ in range(times):
            assert select.select([self._heard], [], [], PATIENCE_SECONDS)[0], "nobody gave the signal"
            os.read(self._heard, 1)

    def given(self) -> bool:
        """Return whether it has been said and nobody has heard it yet."""
        return bool(select.select([self._heard], [], [], 0)[0])

    def close(self) -> None:
        """Give back its handles."""
        os.close(self._heard)
        os.close(self._said)


def together(*works: Callable[[], Any]) -> list[Any]:
    """Run each in a child of its own, all from the same instant; return what they returned."""
    ready, go = Signal(), Signal()

    def work_with_the_others(work: Callable[[], Any]) -> Any:
        ready.give()
        go.wait()
        return work()

    children = [Child(work_with_the_others, work) for work in works]
    try:
        ready.wait(len(children))
        go.give(len(children))
        return [child.result() for child in children]
    finally:
        for child in children:
            child.kill()
        ready.close()
        go.close()
