"""From an asynchronous source to a `put` that reads it: what is small in one go, what is large fed.

The event loop reads the source, in the task of whoever puts it, so that its errors, its time limits and
its cancellation are where they belong. A `put` takes its bytes in one sweep of a thread. What fits into
one chunk is collected first, and no thread waits for it. For what is larger the `put` has a thread of
its own, which is parked between chunks: it takes no turn from others while the source is slow.
"""

import contextvars
import inspect
import itertools
import os
import threading
from collections.abc import AsyncIterable, Awaitable, Callable, Iterator
from contextlib import aclosing
from functools import partial
from pathlib import Path
from queue import SimpleQueue
from typing import Any, Protocol, TypeGuard, cast

from mediakeep.blobs.sources import CHUNK, Source, chunks
from mediakeep.offload import BrokenOffError, Heed, Offload


class AsyncReader(Protocol):
    """What has an asynchronous `read`, such as an `asyncio.StreamReader` or an uploaded file."""

    async def read(self, size: int, /) -> bytes:
        """Return up to `size` bytes; none at the end."""


AsyncSource = AsyncReader | AsyncIterable[bytes]
"""What can be put besides a `Source`: an asynchronous stream, or the chunks one by one."""

Put = Callable[[Source], str]


def is_async(source: Source | Path | AsyncSource) -> TypeGuard[AsyncSource]:
    """Return whether `source` is to be read by the event loop."""
    return hasattr(source, "__aiter__") or _reads(source)


def _reads(source: object) -> bool:
    return inspect.iscoroutinefunction(getattr(source, "read", None))


def heeding(source: Source | Path, heed: Heed) -> Source | Path:
    """Return `source`, which ends with an error once the task that puts it is cancelled."""
    if isinstance(source, bytes | bytearray | memoryview | str | os.PathLike):
        return source

    def heeded() -> Iterator[Any]:
        for chunk in chunks(source):
            heed.check()
            yield chunk

    return heeded()


async def put_from(
    source: AsyncSource, put: Put, offload: Offload, release: Callable[[str], object]
) -> str:
    """Read `source` to its end, have `put` take it in a thread, and return the ref.

    If anything is raised or cancelled meanwhile, the `put` is broken off; a ref that it had got to write
    down is given to `release`. A generator is closed in any case: nobody else may have it.
    """
    read = _reader(source)
    if not inspect.isasyncgen(source):
        return await _feed(read, put, offload, release)
    async with aclosing(source):
        return await _feed(read, put, offload, release)


async def _feed(
    read: Callable[[], Awaitable[Any]], put: Put, offload: Offload, release: Callable[[str], object]
) -> str:
    piece, whole = await _collect(read)
    if whole:
        return await offload.run(partial(put, piece), undo=release)
    feed = _Feed(put)
    try:
        while (ref := await offload.run(partial(feed.give, piece, last=whole))) is None:
            piece, whole = await _collect(read)
        return ref
    except GeneratorExit:  # the task is thrown away, and may wait for nothing any more
        feed.leave()
        raise
    except BaseException:
        await offload.undo(partial(feed.break_off, release))
        raise


def _reader(source: AsyncSource) -> Callable[[], Awaitable[Any]]:
    """Return what gives the next bytes of `source`, and None at its end."""
    if _reads(source):

        async def read() -> Any:
            chunk = await cast(AsyncReader, source).read(CHUNK)
            return None if chunk == b"" else chunk

        return read
    them = aiter(cast(AsyncIterable[bytes], source))
    return lambda: anext(them, None)


async def _collect(read: Callable[[], Awaitable[Any]]) -> tuple[Any, bool]:
    """Return bytes that are worth a hop to another thread, and whether they are the last."""
    piece = bytearray()
    for count in itertools.count(1):
        if len(piece) >= CHUNK:
            break
        if count % _TURN == 0:  # a source that never waits gives others no turn
            from anyio.lowlevel import (
                checkpoint,
            )  # here, since `offload` says it best if there is no anyio

            await checkpoint()
        chunk = await read()
        if chunk is None:
            return piece, True
        if not isinstance(chunk, bytes | bytearray | memoryview):
            return chunk, False  # `put` refuses it, in its own words
        if not piece and len(chunk) >= CHUNK:
            return chunk, False
        piece += chunk  # a copy: the source may use its buffer again
    return piece, False


_TURN = 256
"""After how many chunks in a row other tasks get a turn."""


class _Feed:
    """A `put` in a thread of its own that is given its bytes piece by piece.

    Its verbs block until the thread has written what it got, and then it is parked or has ended.
    """

    __slots__ = ("_error", "_given", "_parked", "_put", "_ref", "_thread")

    def __init__(self, put: Put) -> None:
        self._put = put
        self._given: SimpleQueue[Any] = SimpleQueue()
        self._parked: SimpleQueue[None] = SimpleQueue()
        self._ref: str | None = None
        self._error: BaseException | None = None
        # A daemon, so that a program that ends without telling it does not wait for it for ever.
        self._thread = threading.Thread(
            target=contextvars.copy_context().run, args=(self._run,), name="mediakeep-put", daemon=True
        )

    def give(self, piece: Any, *, last: bool) -> str | None:
        """Have the thread write `piece`; return the ref if it was the `last` one.

        Raises what the `put` raises, which has ended then.
        """
        if self._thread.ident is None:
            self._thread.start()
        self._given.put(piece)
        self._parked.get()
        if last and self._error is None:
            self._given.put(_END)
            self._parked.get()
        if self._error is not None:
            raise self._error
        return self._ref

    def break_off(self, release: Callable[[str], object]) -> None:
        """End the `put` and leave nothing of it, however far it got."""
        if self._thread.ident is None:
            return
        self.leave()
        self._thread.join()
        self._error = None
        if self._ref is not None:
            release(self._ref)

    def leave(self) -> None:
        """Have the `put` break off, if it has not ended, and do not wait for it."""
        self._given.put(_BROKEN_OFF)

    def _run(self) -> None:
        try:
            self._ref = self._put(self._pieces())
        except BaseException as error:
            self._error = error
        finally:
            self._parked.put(None)

    def _pieces(self) -> Iterator[Any]:
        while (piece := self._given.get()) is not _END:
            if piece is _BROKEN_OFF:
                raise BrokenOffError
            yield piece
            self._parked.put(None)


_END, _BROKEN_OFF = object(), object()
