"""AsyncMediaStore: the verbs of a store, awaited; on asyncio and on trio.

The verbs are the store's own and run in threads, so all that is said of them holds, and their errors are
the same. What is said here is what a cancellation does to them:

- **Beginnings** (`store`, `put`, both of many, `share`, `export`, entering a lease): cancelled at any
  point, they leave nothing. What a thread had finished by then is undone before it goes on.
- **Ends** (`release`, `release_all`, the end of a lease or a scope, `aclose`, `stop`) take place when
  they are called, also in a task that is cancelled already, so that they can stand in a `finally`.
- **Long work** (`sweep`, `clean_expired`, `erase`, `reconcile`, `variant`): cancelled before it has
  begun it leaves everything as it was. Once begun it is finished before the cancellation goes on; of
  `erase` only the waiting for leases is cut short.
"""

import os
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from contextlib import asynccontextmanager, suppress
from datetime import timedelta
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self, TypeVar, cast

from mediakeep.blobs.sources import Source
from mediakeep.errors import MediaMissing, NotAFile, PathNotAllowed, UnknownRef
from mediakeep.feeding import AsyncSource, heeding, is_async, put_from
from mediakeep.leases import Lease
from mediakeep.many import parted
from mediakeep.model import (
    NO_META,
    CleanupPolicy,
    Entry,
    Erased,
    Finding,
    Media,
    MediaMeta,
    Position,
    Receipt,
    ReconcileReport,
    Stats,
    SweepReport,
    seconds_of,
)
from mediakeep.offload import Heed, Offload, Pages
from mediakeep.scope import MediaScope
from mediakeep.store import MediaStore

if TYPE_CHECKING:
    from anyio import AsyncFile

__all__ = ["AsyncLease", "AsyncMediaScope", "AsyncMediaStore"]

T = TypeVar("T")

THREADS = 8
"""How many threads a store has by default."""

PAGE = 500
"""How many entries or receipts are fetched at a time."""

CHUNK_BYTES = 1 << 18
"""How many bytes `stream` gives at a time by default."""


class AsyncMediaStore:
    """A :class:`MediaStore` whose verbs are awaited; on asyncio and on trio, through anyio.

    It is a view for one event loop: any number of them may share a store, which is not closed by
    dropping them but by `aclose`, or at the end of an `async with` block. Look-ups of one ref in a store
    whose books are in memory are answered at once; all else runs in threads.

    Args:
        store: the store.
        threads: how many threads it may keep busy at a time. They are not taken from those that the
            program has for other work.

    Raises:
        ImportError: anyio is missing: `pip install "mediakeep[aio]"`.
        ValueError: `threads` is not a positive whole number.

    >>> import anyio
    >>> from mediakeep import FileMediaStore
    >>> async def main():
    ...     async with AsyncMediaStore(FileMediaStore()) as store:
    ...         async with store.scope("chat:1") as turn:
    ...             ref = await turn.put(b"hello")
    ...             print(await store.read_bytes(ref))
    ...         print((await store.stats()).refs)
    >>> anyio.run(main)
    b'hello'
    0
    """

    __slots__ = ("_blocks", "_offload", "_store")

    def __init__(self, store: MediaStore, *, threads: int = THREADS) -> None:
        self._store = store
        self._offload = Offload(threads)
        self._blocks = store._blocks

    @property
    def sync(self) -> MediaStore:
        """The store itself, for code that may block."""
        return self._store

    # -- in

    async def store(
        self,
        local_path: str | os.PathLike[str],
        meta: MediaMeta = NO_META,
        scope: str = "",
        *,
        ttl: timedelta | float | None = None,
    ) -> str:
        """Register a file where it lies, as :meth:`MediaStore.store` does.

        Cancelled, it leaves no ref, and the file where it is.
        """
        return await self._offload.run(
            partial(self._store.store, local_path, meta, scope, ttl=ttl), undo=self._withdraw
        )

    async def put(
        self,
        source: Source | Path | AsyncSource,
        meta: MediaMeta = NO_META,
        scope: str = "",
        *,
        ttl: timedelta | float | None = None,
    ) -> str:
        """Take custody of the bytes of `source`, as :meth:`MediaStore.put` does.

        Cancelled, it leaves nothing: no bytes, no ref. Only bytes that were put with `forget_only` and
        were complete already stay, since the store never deletes such.

        Args:
            source: also an asynchronous stream, which is what has an `async def read(size)`, such as an
                `asyncio.StreamReader`, aiohttp's `content` or an uploaded file of Starlette; or an
                asynchronous iterable of bytes, such as anyio's streams or httpx's `aiter_bytes()`. They
                are read in the task that calls this, about a chunk of 1 MiB ahead of the disk. Any other
                is read in a thread.
            meta: what is said of the bytes.
            scope: what the ref belongs to and ends with.
            ttl: how long the ref lives, as a timedelta or in seconds.
        """
        return await self._put(source, lambda it: self._store.put(it, meta, scope, ttl=ttl))

    async def _put(
        self, source: Source | Path | AsyncSource, put: Callable[[Source | Path], str]
    ) -> str:
        release = self._store.release
        if is_async(source):
            return await put_from(source, put, self._offload, release)
        heed = Heed()
        heeded = heeding(cast(Source | Path, source), heed)
        return await self._offload.run(lambda: put(heeded), undo=release, heed=heed)

    async def store_many(
        self,
        items: Iterable[tuple[str | os.PathLike[str], MediaMeta]],
        scope: str = "",
        *,
        ttl: timedelta | float | None = None,
    ) -> list[str]:
        """Register many files where they lie, as :meth:`MediaStore.store_many` does.

        Cancelled, it leaves no ref, and the files where they are.
        """
        return await self._store_many(lambda: self._store.store_many(items, scope, ttl=ttl))

    async def _store_many(self, store: Callable[[], list[str]]) -> list[str]:
        return await self._offload.run(store, undo=partial(_each, self._withdraw))

    async def put_many(
        self,
        items: Iterable[tuple[Source | Path, MediaMeta]],
        scope: str = "",
        *,
        ttl: timedelta | float | None = None,
    ) -> list[str]:
        """Take custody of the bytes of many sources, as :meth:`MediaStore.put_many` does.

        Cancelled, it leaves nothing, as `put`. The sources are read in a thread, and none of them may be
        asynchronous: put such one by one.
        """
        return await self._put_many(items, lambda them: self._store.put_many(them, scope, ttl=ttl))

    async def _put_many(
        self,
        items: Iterable[tuple[Source | Path, MediaMeta]],
        put: Callable[[Iterator[tuple[Source | Path, MediaMeta]]], list[str]],
    ) -> list[str]:
        heed = Heed()

        def heeded() -> Iterator[tuple[Source | Path, MediaMeta]]:
            for item in items:
                heed.check()
                source, meta = parted(item, "put_many")
                if is_async(source):
                    raise TypeError(f"put_many takes no asynchronous source such as {source!r}: put it")
                yield heeding(source, heed), meta

        release = partial(_each, self._store.release)
        return await self._offload.run(lambda: put(heeded()), undo=release, heed=heed)

    async def share(self, ref: str, scope: str, *, ttl: timedelta | float | None = None) -> str:
        """Return a new ref in `scope` for the file of `ref`, as :meth:`MediaStore.share` does."""
        return await self._offload.run(
            partial(self._store.share, ref, scope, ttl=ttl), undo=self._store.release
        )

    def scope(
        self, name: str, *, nested: bool = False, keep_on_error: bool = False
    ) -> "AsyncMediaScope":
        """Return a view of the scope `name` for an `async with` block, as :meth:`MediaStore.scope` does.

        The scope is released at the end of the block, also where that is a cancellation.
        """
        return AsyncMediaScope(self, self._store.scope(name, nested=nested, keep_on_error=keep_on_error))

    def _withdraw(self, ref: str) -> None:
        """End a ref whose `store` was cancelled, and leave the file where it is.

        A release would delete the file, if this was its only ref. So another ref borrows it meanwhile.
        """
        with suppress(UnknownRef):
            entry = self._store.entry(ref)
            if entry.owned and entry.refs == 1 and os.path.isabs(entry.location):
                borrowed = MediaMeta(cleanup_policy=CleanupPolicy.FORGET_ONLY)
                with suppress(MediaMissing, NotAFile, PathNotAllowed):  # it has gone without us
                    guard = self._store.store(entry.location, borrowed, entry.scope)
                    self._store.release(ref)
                    ref = guard
        self._store.release(ref)

    # -- out

    async def _look_up(self, work: Callable[[], T]) -> T:
        return await self._offload.run(work) if self._blocks else work()

    async def resolve(self, ref: str) -> Path:
        """Return the absolute path of the file, as :meth:`MediaStore.resolve` does."""
        return await self._look_up(partial(self._store.resolve, ref))

    async def resolve_with_meta(self, ref: str) -> Media:
        """Return path and meta of the file, as :meth:`MediaStore.resolve_with_meta` does."""
        return await self._look_up(partial(self._store.resolve_with_meta, ref))

    @asynccontextmanager
    async def open(self, ref: str) -> "AsyncIterator[AsyncFile[bytes]]":
        """Open the file for an `async with` block, as :meth:`MediaStore.open` does.

        The block gets an `anyio.AsyncFile`, which is closed at its end. It reads in threads that anyio
        has for all; :meth:`stream` in those of this store.
        """
        from anyio import wrap_file

        file = await self._offload.run(partial(self._store.open, ref), undo=lambda file: file.close())
        try:
            yield wrap_file(file)
        finally:
            await self._offload.finish(file.close)

    def stream(self, ref: str, *, chunk_bytes: int = CHUNK_BYTES) -> AsyncIterator[bytes]:
        """Yield the bytes of the file, `chunk_bytes` at a time; raises, once read from, as `open` does.

        It is opened when the first chunk is asked for, and can from then on be read to its end, whatever
        ends meanwhile.

        Raises:
            ValueError: `chunk_bytes` is not positive.
        """
        if chunk_bytes < 1:
            raise ValueError(f"chunk_bytes must be a positive number, not {chunk_bytes!r}")

        def chunks() -> Iterator[bytes]:
            with self._store.open(ref) as file:
                while chunk := file.read(chunk_bytes):
                    yield chunk

        return Pages(self._offload, chunks, 2)

    def lease(self, ref: str) -> "AsyncLease":
        """Return a hold on the file of `ref` for an `async with` block.

        As :meth:`MediaStore.lease` does: the block gets path and meta. The lease ends with the block,
        also where that is a cancellation.
        """
        return AsyncLease(self, self._store.lease(ref))

    async def read_bytes(self, ref: str) -> bytes:
        """Return all bytes of the file, as :meth:`MediaStore.read_bytes` does."""
        return await self._offload.run(partial(self._store.read_bytes, ref))

    async def data_url(self, ref: str) -> str:
        """Return the file as a `data:` URL, as :meth:`MediaStore.data_url` does."""
        return await self._offload.run(partial(self._store.data_url, ref))

    async def url(self, ref: str, expires_in: timedelta | float) -> str:
        """Return a URL that lets whoever has it read the file, as :meth:`MediaStore.url` does."""
        return await self._offload.run(partial(self._store.url, ref, expires_in))

    async def export(
        self,
        ref: str,
        directory: str | os.PathLike[str],
        *,
        mode: int = 0o644,
        group: int | None = None,
        link: bool = False,
    ) -> Path:
        """Give the file a readable name in `directory`, as :meth:`MediaStore.export` does.

        Cancelled, it leaves no file there.
        """
        export = partial(self._store.export, ref, directory, mode=mode, group=group, link=link)
        return await self._offload.run(export, undo=lambda path: path.unlink(missing_ok=True))

    async def variant(self, ref: str, name: str, make: Callable[[Path], bytes]) -> Path:
        """Return the path of what `make` makes of the file, as :meth:`MediaStore.variant` does.

        `make` is called in a thread. Cancelled meanwhile, the variant stays with its original.
        """
        return await self._offload.run(partial(self._store.variant, ref, name, make))

    async def entry(self, ref: str) -> Entry:
        """Return all that is known of the live `ref`, as :meth:`MediaStore.entry` does."""
        return await self._look_up(partial(self._store.entry, ref))

    def entries(
        self,
        scope: str | None = None,
        *,
        nested: bool = False,
        after: Position | None = None,
        newest: bool = False,
    ) -> AsyncIterator[Entry]:
        """Yield the live refs, as :meth:`MediaStore.entries` does; it may be left early."""
        list_them = partial(self._store.entries, scope, nested=nested, after=after, newest=newest)
        return Pages(self._offload, list_them, PAGE)

    async def scopes(self) -> list[str]:
        """Return the names of the scopes that have a live ref, sorted."""
        return await self._offload.run(self._store.scopes)

    async def stats(self, *, by_scope: bool = False) -> Stats:
        """Return the store in numbers, as :meth:`MediaStore.stats` does."""
        return await self._offload.run(partial(self._store.stats, by_scope=by_scope))

    def history(self, ref: str | None = None, *, scope: str | None = None) -> AsyncIterator[Receipt]:
        """Yield the journal, as :meth:`MediaStore.history` does; it may be left early."""
        return Pages(self._offload, partial(self._store.history, ref, scope=scope), PAGE)

    # -- ends

    async def release(self, ref: str) -> bool:
        """End `ref`, as :meth:`MediaStore.release` does; also in a task that is cancelled."""
        return await self._offload.finish(partial(self._store.release, ref))

    async def release_all(self, scope: str, *, nested: bool = False) -> None:
        """End a scope, as :meth:`MediaStore.release_all` does; also in a task that is cancelled."""
        await self._offload.finish(partial(self._store.release_all, scope, nested=nested))

    async def erase(self, scope: str, *, wait: timedelta | float | None = None) -> tuple[Erased, ...]:
        """End a scope and delete its files at once, as :meth:`MediaStore.erase` does.

        Cancelled while it waits for leases, it waits no longer: the refs have ended, and the files go
        when their leases end.
        """
        if wait is None:
            return await self._offload.run(partial(self._store.erase, scope))
        seconds = seconds_of("wait", wait)
        heed = Heed()
        return await self._offload.run(
            lambda: self._store._erase(scope, seconds, heed.check), heed=heed, idle=True
        )

    async def clean_expired(self) -> int:
        """Sweep, and return how many refs ended, as :meth:`MediaStore.clean_expired` does."""
        return await self._offload.run(self._store.clean_expired)

    async def sweep(self, *, dry_run: bool = False) -> SweepReport:
        """End what is past its time and delete what is condemned, as :meth:`MediaStore.sweep` does."""
        return await self._offload.run(partial(self._store.sweep, dry_run=dry_run))

    async def reconcile(
        self,
        dry_run: bool = True,
        *,
        deep: bool = False,
        grace: timedelta | float = timedelta(hours=1),
        force: bool = False,
        tell: Callable[[Finding], object] | None = None,
        progress: Callable[[int, int], object] | None = None,
    ) -> ReconcileReport:
        """Compare the catalog with what is on disk, as :meth:`MediaStore.reconcile` does.

        `tell` and `progress` are called in a thread.
        """
        return await self._offload.run(
            partial(
                self._store.reconcile,
                dry_run,
                deep=deep,
                grace=grace,
                force=force,
                tell=tell,
                progress=progress,
            )
        )

    # -- time and end

    async def start(self) -> None:
        """Have a thread sweep every interval, as :meth:`MediaStore.start` does."""
        await self._offload.run(self._store.start)

    async def stop(self) -> None:
        """Stop that thread, as :meth:`MediaStore.stop` does; also in a task that is cancelled."""
        await self._offload.finish(self._store.stop)

    async def aclose(self) -> None:
        """Close the store, as :meth:`MediaStore.close` does; also in a task that is cancelled."""
        await self._offload.finish(self._store.close)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.aclose()


class AsyncMediaScope:
    """A :class:`MediaScope` whose verbs are awaited, for an `async with` block."""

    __slots__ = ("_of", "_scope")

    def __init__(self, of: AsyncMediaStore, scope: MediaScope) -> None:
        self._of = of
        self._scope = scope

    def __repr__(self) -> str:
        return f"<Async{repr(self._scope)[1:]}"

    @property
    def name(self) -> str:
        """The scope's name."""
        return self._scope.name

    async def store(
        self,
        local_path: str | os.PathLike[str],
        meta: MediaMeta = NO_META,
        *,
        ttl: timedelta | float | None = None,
    ) -> str:
        """Register a file in this scope, as :meth:`AsyncMediaStore.store` does.

        Raises:
            ScopeClosed: the block has ended.
        """
        of = self._of
        return await of._offload.run(
            partial(self._scope.store, local_path, meta, ttl=ttl), undo=of._withdraw
        )

    async def put(
        self,
        source: Source | Path | AsyncSource,
        meta: MediaMeta = NO_META,
        *,
        ttl: timedelta | float | None = None,
    ) -> str:
        """Take bytes into this scope, as :meth:`AsyncMediaStore.put` does.

        Raises:
            ScopeClosed: the block has ended.
        """
        return await self._of._put(source, lambda it: self._scope.put(it, meta, ttl=ttl))

    async def store_many(
        self,
        items: Iterable[tuple[str | os.PathLike[str], MediaMeta]],
        *,
        ttl: timedelta | float | None = None,
    ) -> list[str]:
        """Register many files in this scope, as :meth:`AsyncMediaStore.store_many` does.

        Raises:
            ScopeClosed: the block has ended.
        """
        return await self._of._store_many(lambda: self._scope.store_many(items, ttl=ttl))

    async def put_many(
        self,
        items: Iterable[tuple[Source | Path, MediaMeta]],
        *,
        ttl: timedelta | float | None = None,
    ) -> list[str]:
        """Take the bytes of many sources into this scope, as :meth:`AsyncMediaStore.put_many` does.

        Raises:
            ScopeClosed: the block has ended.
        """
        return await self._of._put_many(items, lambda them: self._scope.put_many(them, ttl=ttl))

    async def aclose(self) -> None:
        """Release the scope, as :meth:`MediaScope.close` does; also in a task that is cancelled."""
        await self._of._offload.finish(self._scope.close)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._of._offload.finish(partial(self._scope.__exit__, kind, error, trace))


class AsyncLease:
    """A :class:`Lease` for an `async with` block, which gets path and meta of the file."""

    __slots__ = ("_lease", "_of")

    def __init__(self, of: AsyncMediaStore, lease: Lease) -> None:
        self._of = of
        self._lease = lease

    @property
    def ref(self) -> str:
        """The ref whose file is held."""
        return self._lease.ref

    async def __aenter__(self) -> Media:
        if not self._of._blocks:
            return self._lease.__enter__()
        return await self._of._offload.run(self._lease.__enter__, undo=lambda _: self._end())

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._of._offload.finish(self._end)

    def _end(self) -> None:
        self._lease.__exit__(None, None, None)


def _each(undo: Callable[[str], object], refs: list[str]) -> None:
    for ref in refs:
        undo(ref)
