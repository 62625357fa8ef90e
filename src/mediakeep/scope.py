"""A scope as a block of code: what is stored inside ends with it."""

import os
from collections.abc import Iterable
from datetime import timedelta
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

from mediakeep.blobs import Source
from mediakeep.errors import ScopeClosed
from mediakeep.model import NO_META, MediaMeta

if TYPE_CHECKING:
    from mediakeep.store import MediaStore


class MediaScope:
    """A view of a store that stores into one scope, and releases it at the end of its block.

    It releases everything in that scope, whoever stored it, and also when the block ends by an
    exception, unless `keep_on_error` is set. From then on it refuses to store. Scopes below it are left
    alone unless `nested` is set. Safe from any thread: what another thread is storing while the block
    ends is either released with the rest or refused.
    """

    __slots__ = ("_closed", "_keep_on_error", "_nested", "_store", "name")

    def __init__(
        self, store: "MediaStore", name: str, *, nested: bool = False, keep_on_error: bool = False
    ) -> None:
        self._store = store
        self._nested = nested
        self._keep_on_error = keep_on_error
        self._closed = False
        self.name = name

    def __repr__(self) -> str:
        return f"<MediaScope {self.name!r}{' closed' if self._closed else ''}>"

    def store(
        self,
        local_path: str | os.PathLike[str],
        meta: MediaMeta = NO_META,
        *,
        ttl: timedelta | float | None = None,
    ) -> str:
        """Register a file in this scope, as :meth:`MediaStore.store` does.

        Raises:
            ScopeClosed: the block has ended.
        """
        self._refuse_if_closed()
        return self._still_open(self._store.store(local_path, meta, self.name, ttl=ttl))

    def put(
        self,
        source: Source | Path,
        meta: MediaMeta = NO_META,
        *,
        ttl: timedelta | float | None = None,
    ) -> str:
        """Take bytes into this scope, as :meth:`MediaStore.put` does.

        Raises:
            ScopeClosed: the block has ended.
        """
        self._refuse_if_closed()
        return self._still_open(self._store.put(source, meta, self.name, ttl=ttl))

    def store_many(
        self,
        items: Iterable[tuple[str | os.PathLike[str], MediaMeta]],
        *,
        ttl: timedelta | float | None = None,
    ) -> list[str]:
        """Register many files in this scope, as :meth:`MediaStore.store_many` does.

        Raises:
            ScopeClosed: the block has ended.
        """
        self._refuse_if_closed()
        return self._all_still_open(self._store.store_many(items, self.name, ttl=ttl))

    def put_many(
        self,
        items: Iterable[tuple[Source | Path, MediaMeta]],
        *,
        ttl: timedelta | float | None = None,
    ) -> list[str]:
        """Take the bytes of many sources into this scope, as :meth:`MediaStore.put_many` does.

        Raises:
            ScopeClosed: the block has ended.
        """
        self._refuse_if_closed()
        return self._all_still_open(self._store.put_many(items, self.name, ttl=ttl))

    def close(self) -> None:
        """Release the scope and refuse to store from now on; a second call does nothing more."""
        self._closed = True
        self._store.release_all(self.name, nested=self._nested)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if kind is not None and self._keep_on_error:
            self._closed = True
        else:
            self.close()

    def _refuse_if_closed(self) -> None:
        if self._closed:
            raise ScopeClosed(
                f"scope {self.name!r} has ended: store into another one, or inside its block"
            )

    def _still_open(self, ref: str) -> str:
        """Return the new `ref`, unless the scope ended while it was being written."""
        return self._all_still_open([ref])[0]

    def _all_still_open(self, refs: list[str]) -> list[str]:
        if self._closed:
            # Its release may have come before our rows; after it nobody else would.
            for ref in refs:
                self._store.release(ref)
            self._refuse_if_closed()
        return refs
