"""Blocking work in threads, off the event loop: what has begun is finished or undone.

A thread cannot be stopped. anyio waits for it where a scope of its own is cancelled, but not where
asyncio cancels a task by itself (`Task.cancel`, `asyncio.timeout`, the end of `asyncio.run`): there the
thread goes on, and nobody hears what it did. So each piece of work says here whether it has begun and
ended, and whoever is cancelled waits for it before the cancellation goes on.
"""

import logging
import math
import threading
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator
from functools import partial
from itertools import islice
from typing import Generic, TypeVar

try:
    from anyio import CancelScope, CapacityLimiter, get_cancelled_exc_class, to_thread
except ImportError as error:
    raise ImportError('mediakeep.aio needs anyio: pip install "mediakeep[aio]"') from error

T = TypeVar("T")

logger = logging.getLogger("mediakeep.aio")


class Offload:
    """Runs blocking work in up to `threads` threads at a time, whatever other threads a program has.

    For one event loop, of asyncio or of trio.

    Raises:
        ValueError: `threads` is not a positive whole number.
    """

    __slots__ = ("_threads", "_waiting")

    def __init__(self, threads: int) -> None:
        if type(threads) is not int or threads < 1:
            raise ValueError(f"threads must be a positive whole number, not {threads!r}")
        self._threads = CapacityLimiter(threads)
        # Who waits for a thread's end must not wait for its turn among those who work.
        self._waiting = CapacityLimiter(math.inf)

    async def run(
        self,
        work: Callable[[], T],
        *,
        undo: Callable[[T], object] | None = None,
        heed: "Heed | None" = None,
        idle: bool = False,
    ) -> T:
        """Return what `work` returns, or raise what it raises.

        Work that is `idle`, since it mostly waits, takes none of the threads.

        Cancelled before a thread has begun it, nothing happens. Cancelled later, `heed` is told; when
        `work` has ended, and `undo` has been given what it returned, the cancellation goes on.
        """
        call = _Call(work)
        try:
            return await to_thread.run_sync(
                call, limiter=self._waiting if idle else self._threads, abandon_on_cancel=True
            )
        except BaseException as error:
            # Not only a cancellation: ^C may come through too. What `work` itself raises has ended it. A
            # task that is thrown away may wait for nothing any more.
            if not isinstance(error, GeneratorExit) and not call.claim():  # a thread has begun it
                if heed is not None:
                    heed.cancelled = True
                await self._through(call)
                if undo is not None and call.results:
                    await self.undo(partial(undo, call.results[0]))
            raise

    async def finish(self, work: Callable[[], T]) -> T:
        """Return what `work` returns, or raise what it raises; also in a task that is cancelled.

        A cancellation goes on when `work` has ended.
        """
        call = _Call(work)
        interrupted = await self._through(call)
        if interrupted is not None:
            if call.error is not None:
                logger.error("what was finished in a cancelled task failed: %s", call.error)
            raise interrupted
        try:
            return call.outcome()
        finally:
            call.error = None  # or the two would keep each other alive

    async def undo(self, work: Callable[[], object]) -> None:
        """Do `work`, as `finish` does, in a task whose own error or cancellation goes on after it.

        If it fails that is logged, and does not take the place of what is going on.
        """
        call = _Call(work)
        interrupted = await self._through(call)
        if call.error is not None:
            logger.error(
                "what an unfinished task had begun could not be undone; it ends with its scope, its ttl "
                "or the next sweep: %s",
                call.error,
            )
        if interrupted is not None:
            raise interrupted

    async def _through(self, call: "_Call[T]") -> BaseException | None:
        """Have `call` run to its end; return the first cancellation that came through the shield."""
        interrupted: BaseException | None = None
        while not call.ended.is_set():
            try:
                with CancelScope(shield=True):
                    if call.begun:
                        await to_thread.run_sync(
                            call.ended.wait, limiter=self._waiting, abandon_on_cancel=True
                        )
                    else:
                        await to_thread.run_sync(
                            call.quietly, limiter=self._threads, abandon_on_cancel=True
                        )
            except get_cancelled_exc_class() as cancelled:  # asyncio's own: it knows no shield
                interrupted = interrupted or cancelled
        return interrupted


class Heed:
    """Tells work in a thread that nobody waits for its outcome any more."""

    __slots__ = ("cancelled",)

    def __init__(self) -> None:
        self.cancelled = False

    def check(self) -> None:
        """Raise BrokenOffError if so."""
        if self.cancelled:
            raise BrokenOffError


class BrokenOffError(Exception):
    """The task that wanted this was cancelled. Nobody hears of it but the work that it ends."""


class Pages(AsyncIterator[T]):
    """The items of a blocking iterator, `count` fetched at a time.

    It may be left early: what the iterator holds goes with it. `make` makes it, in a thread too.
    """

    __slots__ = ("_count", "_done", "_items", "_make", "_offload", "_page")

    def __init__(self, offload: Offload, make: Callable[[], Iterator[T]], count: int) -> None:
        self._offload = offload
        self._make = make
        self._count = count
        self._items: Iterator[T] | None = None
        self._page: deque[T] = deque()
        self._done = False

    def __aiter__(self) -> "Pages[T]":
        return self

    async def __anext__(self) -> T:
        while not self._page:
            if self._done:
                raise StopAsyncIteration
            await self._offload.run(self._fetch)
        return self._page.popleft()

    async def aclose(self) -> None:
        """Fetch no more, and give back what the iterator holds."""
        self._done = True
        self._page.clear()
        close = getattr(self._items, "close", None)
        if close is not None:
            await self._offload.finish(close)

    def _fetch(self) -> None:
        # Kept here and not returned: a task that is cancelled meanwhile may ask again, and misses none.
        try:
            if self._items is None:
                self._items = self._make()
            page = list(islice(self._items, self._count))
        except BaseException:
            self._done = True
            raise
        self._page.extend(page)
        self._done = len(page) < self._count


class _Call(Generic[T]):
    """One piece of work, which one thread at most does, once."""

    __slots__ = ("_claimed", "ended", "error", "results", "work")

    def __init__(self, work: Callable[[], T]) -> None:
        self._claimed = threading.Lock()
        self.work = work
        self.ended = threading.Event()
        self.results: list[T] = []
        self.error: BaseException | None = None

    def claim(self) -> bool:
        """Take the work, and return whether nobody had."""
        return self._claimed.acquire(blocking=False)

    @property
    def begun(self) -> bool:
        return self._claimed.locked()

    def __call__(self) -> T:
        """Do the work, in the thread."""
        if not self.claim():
            raise BrokenOffError
        try:
            result = self.work()
            self.results.append(result)
            return result
        finally:
            self.ended.set()

    def quietly(self) -> None:
        """Do the work if nobody has begun it; what it raises is kept for `outcome`."""
        if not self.claim():
            return
        try:
            self.results.append(self.work())
        except BaseException as error:
            self.error = error
        finally:
            self.ended.set()

    def outcome(self) -> T:
        if self.error is not None:
            raise self.error
        return self.results[0]
