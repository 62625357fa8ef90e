"""Many files in one go: all of them get a ref, or none does.

What is said of one file in :mod:`mediakeep.store` holds for each of them. The bytes of a `put_many` are
complete before the one transaction that names them all; a crash before it leaves what as many writers
leave that died.
"""

import os
from collections.abc import Iterable
from contextlib import ExitStack
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self, TypeVar

from mediakeep.blobs import Source
from mediakeep.catalogs import Registration, Use
from mediakeep.files import is_plain, look
from mediakeep.model import NO_META, MediaMeta
from mediakeep.refs import new_ref

if TYPE_CHECKING:
    from mediakeep.store import MediaStore

T = TypeVar("T")


def put_many(
    store: "MediaStore",
    items: Iterable[tuple[Source | Path, MediaMeta]],
    scope: str,
    ttl: timedelta | float | None,
) -> list[str]:
    """Take custody of the bytes of all `items`; see :meth:`MediaStore.put_many`."""
    seconds = store._checked(NO_META, scope, ttl)
    limits, dedupe = store._limits, store._dedupe
    before = None if limits is None else store._catalog.use()
    new: list[Registration] = []
    is_named = False
    try:
        with ExitStack() as staged:
            for number, item in enumerate(items):
                with Telling() as telling, ExitStack() as opened:
                    telling.about(number, None)
                    source, meta = parted(item, "put_many")
                    telling.about(number, source)
                    store._checked(meta, scope, ttl)
                    if isinstance(source, os.PathLike):
                        path = os.fsdecode(source)
                        source = opened.enter_context(store._open_import(path))
                        meta = meta if meta.filename else replace(meta, filename=os.path.basename(path))
                    new.append(staged.enter_context(store._staged(source, meta, scope, before)))
                if before is not None and not dedupe:  # else it may take no room
                    before = Use(before.files + 1, before.size + new[-1].size)
            locations = store._catalog.add_many(
                new, ttl=seconds, limits=limits, is_there=store._has_bytes if dedupe else None
            )
            is_named = True
            for it, location in zip(new, locations, strict=True):
                it.location = location
    except BaseException:
        if is_named:  # and then a writer could not say that its bytes were still there
            for it in new:
                store.release(it.ref)
        raise
    return [it.ref for it in new]


@dataclass(slots=True)
class _File:
    path: str
    meta: MediaMeta
    ref: str
    location: str
    key: str | None = None


class _MovedError(Exception):
    """Some file is not where it was taken to be: its canonical name is another one."""


def store_many(
    store: "MediaStore",
    items: Iterable[tuple[str | os.PathLike[str], MediaMeta]],
    scope: str,
    ttl: timedelta | float | None,
) -> list[str]:
    """Register the files of all `items` where they lie; see :meth:`MediaStore.store_many`."""
    seconds = store._checked(NO_META, scope, ttl)
    pairs = list(items)
    files = []
    with Telling() as telling:
        for number, item in enumerate(pairs):
            telling.about(number, None)
            given, meta = parted(item, "store_many")
            telling.about(number, given)
            store._checked(meta, scope, ttl)
            path = os.fsdecode(given)
            # Mostly it is canonical as it is, and one look, under its lock, is enough.
            location = path if is_plain(path) else look(path).location
            files.append(_File(path, meta, new_ref(), location))

    def check() -> list[Registration]:
        sizes = []
        moved = False
        with Telling() as telling:
            for number, it in enumerate(files):
                telling.about(number, it.path)
                location, size = look(it.path)
                moved = moved or location != it.location
                it.location = location
                sizes.append(size)
        if moved:
            raise _MovedError
        new = []
        with Telling() as telling:
            for number, (it, size) in enumerate(zip(files, sizes, strict=True)):
                telling.about(number, it.path)
                new.append(
                    store._registration(it.ref, scope, it.path, it.location, it.key, it.meta, size)
                )
        return new

    while True:
        with Telling() as telling:
            for number, it in enumerate(files):
                telling.about(number, it.path)
                it.key = store._blobs.key(it.location)
        locations = [it.key or it.location for it in files]
        try:
            store._catalog.register_many(locations, check, ttl=seconds, limits=store._limits)
        except _MovedError:
            continue
        return [it.ref for it in files]


def parted(item: tuple[T, MediaMeta], verb: str) -> tuple[T, MediaMeta]:
    """Return the source and the meta of one of the items that `verb` was given.

    Raises:
        TypeError: it is no pair.
    """
    if not isinstance(item, tuple | list):
        raise TypeError(f"{verb} takes pairs of a source and its MediaMeta, not {type(item).__name__}")
    if len(item) != 2:
        raise TypeError(f"{verb} takes pairs of a source and its MediaMeta, and here are {len(item)}")
    return item[0], item[1]


class Telling:
    """Notes on whatever is raised in its block which item it was about."""

    __slots__ = ("_number", "_source")

    def about(self, number: int, source: object) -> None:
        """Say which item comes now."""
        self._number, self._source = number, source

    def __enter__(self) -> Self:
        self.about(0, None)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if isinstance(error, Exception):
            what = ""
            if isinstance(self._source, str | os.PathLike):
                what = f", {os.fsdecode(self._source)!r}"
            error.add_note(f"This was item {self._number}{what}; nothing of the batch is kept.")
