"""Blocking work of an adapter, off whichever event loop calls it."""

import threading
from collections.abc import Callable
from typing import TypeVar

from mediakeep.offload import Offload

T = TypeVar("T")

THREADS = 8
"""How many threads an adapter keeps busy at a time for one event loop."""


class Threads:
    """Runs work in threads, as :class:`AsyncMediaStore` does, for event loops that come and go.

    Frameworks make an adapter once, and run loop after loop with it (`run_sync`, `asyncio.run`).
    """

    def __init__(self) -> None:
        self._of_this_thread = threading.local()

    @property
    def _offload(self) -> Offload:
        # A thread runs one loop at a time, and limiters of one must not be waited for in another.
        offload: Offload | None = getattr(self._of_this_thread, "offload", None)
        if offload is None:
            offload = self._of_this_thread.offload = Offload(THREADS)
        return offload

    async def run(self, work: Callable[[], T], *, undo: Callable[[T], object] | None = None) -> T:
        """Return what `work` returns; cancelled after it has begun, `undo` gets that instead."""
        return await self._offload.run(work, undo=undo)

    async def finish(self, work: Callable[[], T]) -> T:
        """Return what `work` returns; it takes place also in a task that is cancelled."""
        return await self._offload.finish(work)
