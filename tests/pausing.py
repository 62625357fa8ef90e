"""Stopping a thread between two lines, where only bad luck would have it stop."""

import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

PATIENCE = 20.0


@contextmanager
def paused(
    work: Callable[[], object], within: Callable[..., object], when: Callable[[dict[str, Any]], object]
) -> Iterator[None]:
    """Run `work` in a thread that stands still during the block.

    It stops before the first line of the function `within` at whose local names `when` holds. After the
    block it goes on to its end.
    """
    stopped, go_on = threading.Event(), threading.Event()

    def trace(frame: FrameType, event: str, argument: object) -> Any:
        if frame.f_code is not within.__code__:  # type: ignore[attr-defined]
            return None
        if event == "line" and not stopped.is_set() and when(frame.f_locals):
            stopped.set()
            go_on.wait(PATIENCE)
        return trace

    def run() -> None:
        sys.settrace(trace)
        work()

    thread = threading.Thread(target=run)
    thread.start()
    try:
        assert stopped.wait(PATIENCE), "it never came there"
        yield
    finally:
        go_on.set()
        thread.join(PATIENCE)
