"""The lifecycle: the one place that orders steps on bytes against steps on books.

The orders, and what a crash between two steps leaves:

- `store`: look at the file, then write its row while the location is locked. Nothing, or a ref.
- `put`: bytes under their key, then the row, then the writer's name in `tmp` goes. Before the row the
  name in `tmp` tells the next sweep whose bytes these are; after it they are live.
- ends: the refs go and the location is condemned in one transaction, then the bytes go, then the
  location is forgotten. A location that is condemned is found by the next sweep, bytes or no bytes.
"""

import logging
import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from dataclasses import replace
from datetime import timedelta
from itertools import count
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self

from mediakeep.blobs import Blobs, Source, size_of
from mediakeep.catalogs import Catalog, Reaped, Registration, Use
from mediakeep.cleaner import Cleaner, MediaCleanerConfig
from mediakeep.erasing import erase
from mediakeep.errors import BlobError, CatalogError, MediaMissing
from mediakeep.exporting import export, export_name
from mediakeep.files import Remover, is_plain, look, open_regular, path_of
from mediakeep.intake.data_urls import make_data_url
from mediakeep.intake.incoming import Incoming
from mediakeep.intake.roots import Roots
from mediakeep.intake.rules import check_file, check_pixels, check_size, judges_content
from mediakeep.leases import LEASE_SECONDS, Heartbeat, Lease
from mediakeep.many import put_many, store_many
from mediakeep.model import (
    NO_META,
    CleanupPolicy,
    Entry,
    Erased,
    Finding,
    Limits,
    Media,
    MediaMeta,
    Position,
    Receipt,
    ReconcileReport,
    Stats,
    SweepReport,
    seconds_of,
)
from mediakeep.reconciling import Reconciler
from mediakeep.refs import new_ref
from mediakeep.scope import MediaScope

logger = logging.getLogger("mediakeep.store")


class _TwinFoundError(Exception):
    """The bytes that were staged are not needed: those of this key do as well."""

    def __init__(self, key: str) -> None:
        self.key = key


class _ElsewhereError(Exception):
    """The file is not where it was taken to be: its canonical name is another one."""

    def __init__(self, location: str) -> None:
        self.location = location


class MediaStore:
    """Owns the life of media files: refs in, paths out, bytes gone when nobody needs them.

    Safe from any thread. Close it when you are done, or use it in a `with` block. Stores are made by
    :func:`open_store` and :class:`FileMediaStore`; give a catalog and blobs of your own to run it on
    others.

    Args:
        catalog: the books.
        blobs: where `put` keeps bytes.
        cleaner: when refs get too old, and how often `start` has the store swept.
        limits: what may come in, and how much.
        dedupe: whether bytes that are there already are kept once, with several refs.
        import_roots: the folders that files are taken from, by `store` and by `put` of a path; without
            them all are. What is checked is where a path leads, symlinks and all.
        default_ttl: how long a ref lives that is given no ttl of its own, as a timedelta or in seconds;
            so that a scope that nobody releases ends too.
        lease_seconds: how long a lease outlives a process that died with it.

    Raises:
        ValueError: a time is not a positive one, or a root no folder.
    """

    __slots__ = (
        "_blobs",
        "_catalog",
        "_cleaner",
        "_dedupe",
        "_default_ttl",
        "_heartbeat",
        "_lease_seconds",
        "_limits",
        "_max_age",
        "_never_expires",
        "_roots",
    )

    def __init__(
        self,
        catalog: Catalog,
        blobs: Blobs,
        *,
        cleaner: MediaCleanerConfig | None = None,
        limits: Limits | None = None,
        dedupe: bool = False,
        import_roots: Iterable[str | os.PathLike[str]] | None = None,
        default_ttl: timedelta | float | None = None,
        lease_seconds: float = LEASE_SECONDS,
    ) -> None:
        self._catalog = catalog
        self._blobs = blobs
        self._limits = limits
        self._dedupe = dedupe
        self._roots = None if import_roots is None else Roots(import_roots)
        self._default_ttl = None if default_ttl is None else seconds_of("default_ttl", default_ttl)
        self._lease_seconds = seconds_of("lease_seconds", lease_seconds)
        self._heartbeat = Heartbeat(catalog, lease_seconds) if catalog.leases_lapse else None
        self._cleaner = None if cleaner is None else Cleaner(cleaner, self.clean_expired)
        age = timedelta(0) if cleaner is None else cleaner.max_age
        self._max_age = age.total_seconds() if age > timedelta(0) else None
        self._never_expires = cleaner is not None and self._max_age is None

    # -- in

    def store(
        self,
        local_path: str | os.PathLike[str],
        meta: MediaMeta = NO_META,
        scope: str = "",
        *,
        ttl: timedelta | float | None = None,
    ) -> str:
        """Register the file at `local_path` where it lies, and return its new ref.

        It is neither moved nor copied. With the policy `delete_on_cleanup`, the default, the store
        owns it from now on and deletes it when its last ref has ended. The file is known by its
        canonical path, so it is the same one under every spelling; the first live ref decides whether
        it is owned, and one that borrows it makes it undeletable until the last ref has ended. A symlink
        is a file of its own: what is deleted in the end is the link.

        Args:
            local_path: a regular file, or a symlink to one.
            meta: what is said of the file; given back exactly.
            scope: what the ref belongs to and ends with.
            ttl: how long the ref lives, as a timedelta or in seconds; without it, as long as its scope
                or the cleaner's `max_age` says.

        Raises:
            MediaMissing: there is no such file.
            NotAFile: it is a directory, a device, a socket or a FIFO, or one of the store's own files.
            PathNotAllowed: it lies, or leads, outside of the store's import roots.
            TooLarge, QuotaExceeded, TypeNotAllowed: it is more, or other, than the store's limits allow.
            ValueError: `scope` or `ttl` cannot be one.
        """
        path = os.fsdecode(local_path)
        seconds = self._checked(meta, scope, ttl)
        ref = new_ref()
        # Mostly the path is canonical as it is, and one look, under its lock, is enough.
        location = path if is_plain(path) else look(path).location
        while True:
            key = self._blobs.key(location)

            def check(location: str = location, key: str | None = key) -> Registration:
                found, size = look(path)
                if found != location:
                    raise _ElsewhereError(found)
                return self._registration(ref, scope, path, location, key, meta, size)

            try:
                self._catalog.register(key or location, check, ttl=seconds, limits=self._limits)
            except _ElsewhereError as elsewhere:
                location = elsewhere.location
            else:
                return ref

    def put(
        self,
        source: Source | Path,
        meta: MediaMeta = NO_META,
        scope: str = "",
        *,
        ttl: timedelta | float | None = None,
    ) -> str:
        """Take custody of the bytes of `source`, and return their ref.

        When it returns the bytes are complete and durable under a name of the store's own. With the
        policy `forget_only` they are still there when every ref has ended, and the store never deletes
        them.

        What the bytes are is looked at: where they contradict the content type of `meta` for certain,
        or it is empty, theirs is kept instead, and `entry` tells both. The file name is kept without
        folders, control characters and what else makes names dangerous.

        Args:
            source: bytes, a binary stream (read from where it stands to its end), an iterable of
                bytes, or the `Path` of a file to copy, whose name is kept if `meta` has none.
            meta: what is said of the bytes.
            scope: what the ref belongs to and ends with.
            ttl: how long the ref lives, as a timedelta or in seconds.

        Raises:
            BlobError: the bytes cannot be written. What reading `source` raises passes through. Nothing
                is kept of what was read.
            TooLarge, QuotaExceeded, TypeNotAllowed: they are more, or other, than the limits allow.
            MediaMissing, NotAFile, PathNotAllowed: the file cannot be copied.
            TypeError: `source` gives no bytes.
            ValueError: `scope` or `ttl` cannot be one.
        """
        seconds = self._checked(meta, scope, ttl)
        if isinstance(source, os.PathLike):
            path = os.fsdecode(source)
            with self._open_import(path) as file:
                meta = meta if meta.filename else replace(meta, filename=os.path.basename(path))
                return self._put(file, meta, scope, seconds)
        return self._put(source, meta, scope, seconds)

    def _put(self, source: Source, meta: MediaMeta, scope: str, seconds: float | None) -> str:
        limits = self._limits
        before = None if limits is None else self._catalog.use()
        with self._staged(source, meta, scope, before) as new:

            def is_there(twin: str) -> bool:
                return self._has_bytes(twin, new)

            new.location = self._catalog.add(
                new, ttl=seconds, limits=limits, is_there=is_there if self._dedupe else None
            )
        return new.ref

    @contextmanager
    def _staged(
        self, source: Source, meta: MediaMeta, scope: str, before: Use | None
    ) -> Iterator[Registration]:
        """Take custody of bytes for a block that has the catalog write down what it is given.

        If that names another key, which has the same bytes, the block sets it as `location`, and these
        go. `before` is how much the store has had, where limits ask for it.
        """
        kept = meta.cleanup_policy is CleanupPolicy.FORGET_ONLY
        limits = self._limits
        incoming = Incoming(source, meta, limits, before)
        with (
            suppress(_TwinFoundError),
            self._blobs.stage(
                incoming, is_named=self._catalog.knows, kept=kept, about=incoming.settled_meta
            ) as (key, size, sha256),
        ):
            if limits is not None and limits.max_pixels is not None:
                with self._blobs.open(key) as file:
                    check_pixels(limits, file, incoming.proven)
            new = Registration(
                new_ref(),
                scope,
                key,
                None,
                incoming.settled_meta(),
                size,
                sha256,
                incoming.declared,
                incoming.detected,
            )
            yield new
            if new.location != key:
                raise _TwinFoundError(new.location)

    def _has_bytes(self, key: str, new: Registration) -> bool:
        kept = new.meta.cleanup_policy is CleanupPolicy.FORGET_ONLY
        return self._blobs.holds(key, new.size, kept=kept)

    def put_many(
        self,
        items: Iterable[tuple[Source | Path, MediaMeta]],
        scope: str = "",
        *,
        ttl: timedelta | float | None = None,
    ) -> list[str]:
        """Take custody of the bytes of many sources, all or none, and return their refs in order.

        Each is taken as by `put`, one after the other; then one transaction names them all. In a folder
        each keeps a file open until then, of which a process may have about a thousand: put some hundred
        at a time.

        Args:
            items: the sources, each with what is said of it.
            scope: what the refs belong to and end with.
            ttl: how long they live, as a timedelta or in seconds.

        Raises:
            MediaError: as `put` raises it, with a note of which item it was. What reading a source or
                `items` raises passes through. Nothing is kept of any of them.
        """
        return put_many(self, items, scope, ttl)

    def store_many(
        self,
        items: Iterable[tuple[str | os.PathLike[str], MediaMeta]],
        scope: str = "",
        *,
        ttl: timedelta | float | None = None,
    ) -> list[str]:
        """Register many files where they lie, all or none, and return their refs in order.

        Each is registered as by `store`, all in one transaction, under the locks of all: give some
        thousand at a time. A file may be named several times, and has a ref for each.

        Args:
            items: the files, each with what is said of it.
            scope: what the refs belong to and end with.
            ttl: how long they live, as a timedelta or in seconds.

        Raises:
            MediaError: as `store` raises it, with a note of which item it was. None is registered then.
        """
        return store_many(self, items, scope, ttl)

    def _registration(
        self,
        ref: str,
        scope: str,
        path: str,
        location: str,
        key: str | None,
        meta: MediaMeta,
        size: int,
    ) -> Registration:
        """Return what to write down of the file at `path`, or refuse what is not to be registered."""
        if key is not None:
            self._check_there(key, path)
        if self._roots is not None:
            self._roots.check(path, location, os.path.realpath(location))
        if self._limits is not None:
            self._judge(self._limits, path, size, meta.content_type)
        given = None if key else path if os.path.isabs(path) else location
        declared = meta.content_type
        return Registration(ref, scope, key or location, given, meta, size, declared=declared)

    def _check_there(self, key: str, path: str) -> None:
        """Raise unless the bytes of `key` are there: `path` may be a copy that has outlived them."""
        if size_of(self._blobs, key) is None:
            raise MediaMissing.at(path, "it is a copy of what has been deleted: put its bytes again")

    def _open_import(self, path: str) -> BinaryIO:
        """Open a file to copy, if it is one and lies where files may be taken from."""
        look(path)
        try:
            file = open_regular(path)
        except OSError as error:
            raise BlobError(f"cannot read {path!r}: {error.strerror}") from error
        try:
            if self._roots is not None:
                self._roots.check_file(path, file)
        except BaseException:
            file.close()
            raise
        return file

    def share(self, ref: str, scope: str, *, ttl: timedelta | float | None = None) -> str:
        """Return a new ref in `scope` for the file of the live `ref`.

        The file then lives until both have ended. This is how a file is handed over: whoever needs it
        next shares it into a scope of its own, and the first scope may end.

        Raises:
            UnknownRef: `ref` is not live.
            QuotaExceeded: `scope` would have more than the store's limits allow.
        """
        seconds = self._checked(NO_META, scope, ttl)
        new = new_ref()
        self._catalog.share(ref, new, scope, ttl=seconds, limits=self._limits)
        return new

    def scope(self, name: str, *, nested: bool = False, keep_on_error: bool = False) -> MediaScope:
        """Return a view that stores into the scope `name` and releases it at the end of its block.

        With `nested` the scopes below it (`name:…`) are released with it. With `keep_on_error` nothing
        is released when the block ends by an exception.
        """
        self._checked(NO_META, name, None)
        return MediaScope(self, name, nested=nested, keep_on_error=keep_on_error)

    def _judge(self, limits: Limits, path: str, size: int, declared: str) -> None:
        """Raise what the limits say of the file at `path`, which is only read if they ask what it is."""
        if not judges_content(limits):
            check_size(limits, size, "")
            return
        try:
            file = open_regular(path)
        except FileNotFoundError as error:
            raise MediaMissing.at(path, "it was there just now: register a file that stays") from error
        except OSError as error:
            raise BlobError(f"cannot look into {path!r}: {error.strerror}") from error
        with file:
            check_file(limits, file, size, declared)

    def _checked(self, meta: MediaMeta, scope: str, ttl: timedelta | float | None) -> float | None:
        """Return the ttl in seconds, or refuse what cannot be written down."""
        if not isinstance(meta, MediaMeta):
            raise TypeError(f"meta must be a MediaMeta, not {meta!r}")
        if not isinstance(scope, str):
            raise TypeError(f"scope must be a str, not {scope!r}")
        if not scope.isascii():
            try:
                scope.encode()
            except UnicodeEncodeError as error:
                raise ValueError(f"scope {scope!r} is not valid Unicode: {error.reason}") from None
        return self._default_ttl if ttl is None else seconds_of("ttl", ttl)

    # -- out

    def resolve(self, ref: str) -> Path:
        """Return the absolute path of the file. It is not looked at: `open` tells if it is there.

        Where bytes are in object storage the path is that of a copy on this machine, which is made if
        there is none. It may go when others need its room: `lease` keeps it.

        Raises:
            UnknownRef: the ref is not live; as `RefReleased` or `RefExpired` where that is known.
            MediaElsewhere: it was registered on another machine, and lies there.
            MediaMissing, BlobError: no copy can be made.
        """
        found = self._catalog.get(ref)
        return found.path or self._copy_of(found)

    def resolve_with_meta(self, ref: str) -> Media:
        """Return path and meta of the file; raises as `resolve` does."""
        found = self._catalog.get(ref)
        return Media(found.path or self._copy_of(found), found.meta)

    def _copy_of(self, found: Registration) -> Path:
        try:
            return self._blobs.path(found.location, sha256=found.sha256)
        except MediaMissing:
            self._catalog.get(found.ref)  # if it has ended just now, that is the reason to give
            raise

    def url(self, ref: str, expires_in: timedelta | float) -> str:
        """Return a URL that lets whoever has it read the file, until `expires_in` from now.

        It goes on working when the ref has ended, until it expires or the bytes are deleted.

        Args:
            ref: the file; one that `put` took.
            expires_in: a timedelta or seconds, up to 7 days.

        Raises:
            UnknownRef: the ref is not live.
            BlobError: what keeps the bytes serves nothing by itself, as a folder does not.
            ValueError: `expires_in` cannot be one.
        """
        seconds = seconds_of("expires_in", expires_in)
        found = self._catalog.get(ref)
        if found.path is not None:
            raise BlobError(f"{ref} was registered where it lies, and has no URL: put it instead")
        return self._blobs.url(found.location, seconds)

    def open(self, ref: str) -> BinaryIO:
        """Open the file for reading. What is open can be read to its end, whatever ends meanwhile.

        Raises:
            UnknownRef: the ref is not live.
            MediaMissing: somebody else deleted the file.
            NotAFile: something else has taken its place.
            PathNotAllowed: it leads outside of the store's import roots by now.
            BlobError: it cannot be read.
        """
        found = self._catalog.get(ref)
        return self._open(found, found.path)

    def _open(self, found: Registration, path: Path | None) -> BinaryIO:
        """Open the file at `path`, or the bytes where they are kept."""
        where = path or self._blobs.local_path(found.location) or found.location
        try:
            file = self._blobs.open(found.location) if path is None else open_regular(path)
        except FileNotFoundError as error:
            self._catalog.get(found.ref)  # if it has ended just now, that is the reason to give
            raise MediaMissing.at(
                where, f"{found.ref} is live, but somebody deleted its file"
            ) from error
        except BlobError:
            raise
        except OSError as error:
            raise BlobError(f"cannot read {str(where)!r} ({found.ref}): {error.strerror}") from error
        if found.path is not None and self._roots is not None:
            try:
                self._roots.check_file(str(path), file)
            except BaseException:
                file.close()
                raise
        return file

    def lease(self, ref: str) -> Lease:
        """Return a hold on the file of `ref`: a context manager that gives its path and meta.

        While its block is open nothing deletes the file, whatever ends meanwhile, in any process. When
        the block ends and nothing else needs the file, it goes at once. Leases nest, and may end in
        another thread than they began. In a folder store a lease is renewed while the block is open;
        that of a process that died lapses after `lease_seconds`.

        Raises (on entering the block):
            UnknownRef: the ref is not live.
            MediaMissing, BlobError: there is no copy on this machine, and none can be made.

        >>> from mediakeep import FileMediaStore
        >>> with FileMediaStore() as store:
        ...     ref = store.put(b"hello", scope="turn")
        ...     with store.lease(ref) as media:
        ...         store.release_all("turn")
        ...         media.path.read_text()
        ...     media.path.exists()
        'hello'
        False
        """
        return Lease(self, ref)

    def _find(self, ref: str) -> Registration:
        """Return what is known of the live `ref` alone."""
        return self._catalog.get(ref)

    @contextmanager
    def _held(self, ref: str) -> Iterator[Registration]:
        """Lease what `ref` names for a block, wherever its bytes are."""
        number, found = self._begin_lease(ref)
        try:
            yield found
        finally:
            self._end_lease(number)

    def _on_this_machine(self, found: Registration) -> AbstractContextManager[Path]:
        """Return a context manager that gives a path of the file, which stays meanwhile."""
        path = found.path
        return (
            self._blobs.hold(found.location, sha256=found.sha256) if path is None else nullcontext(path)
        )

    def _begin_lease(self, ref: str) -> tuple[int, Registration]:
        number, found = self._catalog.lease(ref, self._lease_seconds)
        if self._heartbeat is not None:
            self._heartbeat.add(number)
        return number, found

    def _end_lease(self, number: int) -> None:
        if self._heartbeat is not None and not self._heartbeat.remove(number):
            return
        waiting = self._catalog.end_lease(number)
        if waiting:
            self._reap(waiting)

    def read_bytes(self, ref: str) -> bytes:
        """Return all bytes of the file; raises as `open` does."""
        with self.open(ref) as file:
            return file.read()

    def data_url(self, ref: str) -> str:
        """Return the file as a `data:` URL (RFC 2397) in base64; raises as `open` does."""
        content_type = self._find(ref).meta.content_type
        return make_data_url(content_type, self.read_bytes(ref))

    def export(
        self,
        ref: str,
        directory: str | os.PathLike[str],
        *,
        mode: int = 0o644,
        group: int | None = None,
        link: bool = False,
    ) -> Path:
        """Give the file a readable name in `directory`, for what needs a real file; return its path.

        It is the clean display name, with the extension of what the bytes are, and a number if that is
        taken: nothing is ever overwritten. What is exported is the caller's, and outlives the ref.

        Args:
            ref: what to export.
            directory: a folder that exists.
            mode: permissions of the copy.
            group: the group id of the copy; by default the process's own.
            link: make a hard link where that is possible, which costs no space. It is then the very
                same file: `mode` and `group` do not apply, and who writes into it damages the store's.

        Raises:
            UnknownRef: the ref is not live.
            MediaMissing: somebody else deleted the file.
            BlobError: it cannot be read, or not be written there. Nothing is left behind.
        """
        with self._held(ref) as found, self.open(ref) as file:
            name = export_name(ref, found.meta)
            return export(file, name, directory, mode=mode, group=group, link=link)

    def variant(self, ref: str, name: str, make: Callable[[Path], bytes]) -> Path:
        """Return the path of what `make` makes of the file, such as a smaller picture.

        It is made once, and lives and dies with the original. So hold a lease on the ref for as long as
        you use the path. Where bytes are in object storage it is that of a copy, as with `resolve`.

        Args:
            ref: the original.
            name: tells this variant from others of the same file.
            make: is given a path of the original and returns the bytes; what it raises passes through.

        Raises:
            UnknownRef: the ref is not live.
            MediaMissing, PathNotAllowed: the original cannot be opened, as by `open`.
            QuotaExceeded: there is no room for it in the store.
            BlobError: it cannot be written.
        """
        found = self._catalog.variant(ref, name)
        if found is not None:
            with suppress(MediaMissing):
                path = self._blobs.path(found)
                if path.exists():
                    return path
            self._catalog.lose(found)
        with (
            self._held(ref) as original,
            self._on_this_machine(original) as path,
            self._open(original, path) as file,
        ):
            # What was opened lies where it may. Its path may lead elsewhere by now.
            checked = path_of(file) if self._roots is not None else None
            made = make(checked or path)
            try:
                with self._blobs.stage(made, is_named=self._catalog.knows) as (key, size, sha256):
                    found = self._catalog.add_variant(ref, name, key, size, sha256, limits=self._limits)
                    if found != key:
                        raise _TwinFoundError(found)
            except _TwinFoundError as twin:
                key = twin.key
        return self._blobs.path(key)

    def entry(self, ref: str) -> Entry:
        """Return all that is known of the live `ref`; raises as `resolve` does."""
        return self._with_path(self._catalog.entry(ref))

    def entries(
        self,
        scope: str | None = None,
        *,
        nested: bool = False,
        after: Position | None = None,
        newest: bool = False,
    ) -> Iterator[Entry]:
        """Yield the live refs by scope and then by age: all, or those of `scope`.

        Refs that start or end while you iterate may be in it or not; every other one comes once. To show
        a page, take as many as it has with `itertools.islice`; for the next one ask for what comes
        `after` the last. That costs the same however many there are.

        Args:
            scope: of which scope; by default of all.
            nested: those of the scopes below it too.
            after: an entry, which need not live any more: only what comes behind its place is listed.
            newest: the other way round: the last scope first, and of each the newest ref.
        """
        entries = self._catalog.entries(scope, nested=nested, after=after, newest=newest)
        return map(self._with_path, entries)

    def _with_path(self, entry: Entry) -> Entry:
        return entry if entry.path else replace(entry, path=self._blobs.local_path(entry.location))

    def scopes(self) -> list[str]:
        """Return the names of the scopes that have a live ref, sorted."""
        return self._catalog.scopes()

    def stats(self, *, by_scope: bool = False) -> Stats:
        """Return the store in numbers; with `by_scope` also those of each scope."""
        return self._catalog.stats(by_scope=by_scope)

    def history(self, ref: str | None = None, *, scope: str | None = None) -> Iterator[Receipt]:
        """Yield the journal, oldest line first: all of it, or what concerns a ref or a scope.

        That of a ref tells when and why it ended, and what became of its file. A folder store's journal
        goes back a week, that in memory 4,096 lines.
        """
        return self._catalog.history(ref, scope)

    # -- ends

    def release(self, ref: str) -> bool:
        """End `ref`; its file goes if that was the last one. Return whether it was live until now."""
        ended = self._catalog.release(ref)
        self._reap(ended.condemned)
        return ended.refs > 0

    def release_all(self, scope: str, *, nested: bool = False) -> None:
        """End every ref of `scope`; files whose last ref that was go.

        With `nested` the scopes below it (`scope:…`) end too. A scope that is unknown or has ended is no
        error, nor is a file that is gone already. A file that cannot be deleted now is logged, counted
        in `stats`, and tried again by every sweep.
        """
        self._reap(self._catalog.release_scope(scope, nested=nested).condemned)

    def erase(self, scope: str, *, wait: timedelta | float | None = None) -> tuple[Erased, ...]:
        """End `scope` and those below it, delete their files at once, and tell what became of each.

        For a user's request to be forgotten. A file stays where it is borrowed, or where a ref of
        another scope still names it; the report says so.

        Args:
            scope: the scope; nested ones end with it.
            wait: how long to wait for leases that hold a file. The refs have ended then, so that no
                new lease can begin.

        Raises:
            StillLeased: a lease holds a file. Without `wait` nothing has changed; with it the refs have
                ended, and the file goes when its lease ends.
        """
        return self._erase(scope, None if wait is None else seconds_of("wait", wait))

    def _erase(
        self, scope: str, seconds: float | None, heed: Callable[[], object] = lambda: None
    ) -> tuple[Erased, ...]:
        """Erase; `heed` is called before each round but the first, and may raise to end the waiting."""
        rounds = count()

        def reap(locations: Iterable[str]) -> Reaped:
            if next(rounds):
                heed()
            return self._reap(locations)

        return erase(self._catalog, reap, scope, wait=seconds)

    def clean_expired(self) -> int:
        """Sweep, and return how many refs ended.

        Those end that outlived their own ttl or, without one, are older than the cleaner's `max_age`.
        With a `max_age` of zero or less this does nothing.
        """
        if self._never_expires:
            return 0
        return self.sweep().expired

    def sweep(self, *, dry_run: bool = False) -> SweepReport:
        """End what is past its time, then delete what is condemned, also where that failed before.

        It also removes what writers that died have left behind. With `dry_run` it only says what it
        would do; the files of the refs that would expire are not in its count of files.
        """
        if dry_run:
            sizes = [size for _, size in self._catalog.condemned()]
            due = self._catalog.due(self._max_age)
            return SweepReport(expired=due, deleted=len(sizes), freed=sum(sizes))
        expired = 0
        while ended := self._catalog.expire(self._max_age).refs:
            expired += ended
        self._catalog.forget_lapsed()
        reaped = self._reap()
        temps = self._blobs.settle(self._catalog.knows)
        if expired or reaped.deleted or temps:
            logger.info(
                "swept: %d refs expired, %d files deleted (%d bytes), %d leftovers removed",
                expired,
                reaped.deleted,
                reaped.freed,
                temps,
                extra={"expired": expired, "deleted": reaped.deleted, "freed": reaped.freed},
            )
        return SweepReport(expired, reaped.deleted, reaped.freed, temps, tuple(reaped.failed))

    @property
    def _blocks(self) -> bool:
        """Whether to look up a ref may wait for a disk or a network."""
        return self._catalog.blocks

    def _reap(self, locations: Iterable[str] | None = None) -> Reaped:
        """Delete the condemned `locations`, or all that are condemned."""
        with Remover() as remover:

            def delete(location: str) -> None:
                if os.path.isabs(location):
                    remover.remove(location)
                else:
                    self._blobs.delete(location)

            try:
                reaped = self._catalog.reap(
                    delete,
                    locations,
                    delete_many=self._blobs.delete_many if self._blobs.deletes_many else None,
                )
            except CatalogError as error:
                # The refs have ended, so this is no longer the time to raise.
                logger.warning("what is condemned is left to the next sweep: %s", error)
                return Reaped()
        for failure in reaped.failed:
            logger.warning(
                "cannot delete %s (attempt %d): %s; the next sweep tries again",
                failure.location,
                failure.attempts,
                failure.reason,
                extra={"location": failure.location, "attempts": failure.attempts},
            )
        return reaped

    def reconcile(
        self,
        dry_run: bool = True,
        *,
        deep: bool = False,
        grace: timedelta | float = timedelta(hours=1),
        force: bool = False,
        tell: Callable[[Finding], object] | None = None,
        progress: Callable[[int, int], object] | None = None,
    ) -> ReconcileReport:
        """Compare the catalog with what is on disk; with `dry_run=False` mend what can be mended.

        The store may be in use meanwhile. Mending deletes blobs that nothing names, ends refs whose file
        is gone, and puts the catalog right where it contradicts itself. Damaged files are reported only.

        Args:
            dry_run: change nothing.
            deep: also read every blob and compare its sha256, and let SQLite check its file.
            grace: how old a blob must be before it counts as one that nothing names.
            force: mend also where most of the blobs would be deleted, or most refs would end.
            tell: hears of every finding; the report holds the first 1,000.
            progress: hears now and then how many of about how many places have been looked at.

        Raises:
            MediaError: mending would delete most blobs or end the refs of most files, as after the loss
                of a catalog or of a mount. Nothing is changed.
        """
        reconciler = Reconciler(
            self._catalog,
            self._blobs,
            reap=self._reap,
            settle=lambda: self._blobs.settle(self._catalog.knows),
            deep=deep,
            grace=grace.total_seconds() if isinstance(grace, timedelta) else grace,
            tell=tell,
            progress=progress,
        )
        return reconciler.check() if dry_run else reconciler.mend(force=force)

    # -- time and end

    def start(self) -> None:
        """Have a daemon thread sweep every interval, if a cleaner is configured and enabled.

        Any number of calls is safe, also after `stop`.
        """
        if self._cleaner is not None:
            self._cleaner.start()

    def stop(self) -> None:
        """Stop that thread; returns when a sweep in progress has ended. Any number of calls is safe."""
        if self._cleaner is not None:
            self._cleaner.stop()

    def close(self) -> None:
        """Stop the cleaner and give back what the store holds. Refs of a folder store stay."""
        self.stop()
        if self._heartbeat is not None:
            self._heartbeat.stop()
        self._catalog.close()
        self._blobs.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()
