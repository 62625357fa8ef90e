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
from collections.abc import Iterable, Iterator
from dataclasses import replace
from datetime import timedelta
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self

from mediakeep.blobs import Blobs, Source
from mediakeep.blobs.temporary import TemporaryBlobs
from mediakeep.catalogs import Catalog, Clock, Reaped, Registration
from mediakeep.catalogs.memory import MemoryCatalog
from mediakeep.cleaner import Cleaner, MediaCleanerConfig
from mediakeep.errors import BlobError, MediaMissing
from mediakeep.files import Remover, check_still_there, look, open_regular
from mediakeep.model import (
    NO_META,
    CleanupPolicy,
    Entry,
    Media,
    MediaMeta,
    Stats,
    SweepReport,
    seconds_of,
)
from mediakeep.refs import new_ref
from mediakeep.scope import MediaScope

logger = logging.getLogger("mediakeep.store")


class MediaStore:
    """Owns the life of media files: refs in, paths out, bytes gone when nobody needs them.

    Safe from any thread. Close it when you are done, or use it in a `with` block. Stores are made by
    :func:`open_store` and :class:`FileMediaStore`; give a catalog and blobs of your own to run it on
    others.

    Args:
        catalog: the books.
        blobs: where `put` keeps bytes.
        cleaner: when refs get too old, and how often `start` has the store swept.
    """

    __slots__ = ("_blobs", "_catalog", "_cleaner", "_max_age", "_never_expires")

    def __init__(
        self, catalog: Catalog, blobs: Blobs, *, cleaner: MediaCleanerConfig | None = None
    ) -> None:
        self._catalog = catalog
        self._blobs = blobs
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
            ValueError: `scope` or `ttl` cannot be one.
        """
        path = os.fsdecode(local_path)
        seconds = _checked(meta, scope, ttl)
        found = look(path)
        location = self._blobs.key(found.location)
        given = None
        if location is None:
            location = found.location
            given = Path(path if os.path.isabs(path) else location)
        ref = new_ref()
        self._catalog.add(
            Registration(ref, scope, location, given, meta, found.size),
            ttl=seconds,
            verify=partial(check_still_there, found.location),
        )
        return ref

    def put(
        self,
        source: Source,
        meta: MediaMeta = NO_META,
        scope: str = "",
        *,
        ttl: timedelta | float | None = None,
    ) -> str:
        """Take custody of the bytes of `source`, and return their ref.

        When it returns the bytes are complete and durable under a name of the store's own. With the
        policy `forget_only` they are still there when every ref has ended, and the store never deletes
        them.

        Args:
            source: bytes, a binary stream (read from where it stands to its end), or an iterable of
                bytes.
            meta: what is said of the bytes; given back exactly.
            scope: what the ref belongs to and ends with.
            ttl: how long the ref lives, as a timedelta or in seconds.

        Raises:
            BlobError: the bytes cannot be written. What reading `source` raises passes through. Nothing
                is kept of what was read.
            TypeError: `source` gives no bytes.
            ValueError: `scope` or `ttl` cannot be one.
        """
        seconds = _checked(meta, scope, ttl)
        ref = new_ref()
        kept = meta.cleanup_policy is CleanupPolicy.FORGET_ONLY
        try:
            with self._blobs.stage(source, kept=kept) as staged:
                self._catalog.add(
                    Registration(ref, scope, staged.key, None, meta, staged.size, staged.sha256),
                    ttl=seconds,
                )
        except BaseException:
            self._settle_abandoned_quietly()
            raise
        return ref

    def share(self, ref: str, scope: str, *, ttl: timedelta | float | None = None) -> str:
        """Return a new ref in `scope` for the file of the live `ref`.

        The file then lives until both have ended. This is how a file is handed over: whoever needs it
        next shares it into a scope of its own, and the first scope may end.

        Raises:
            UnknownRef: `ref` is not live.
        """
        seconds = _checked(NO_META, scope, ttl)
        new = new_ref()
        self._catalog.share(ref, new, scope, ttl=seconds)
        return new

    def scope(self, name: str, *, nested: bool = False) -> MediaScope:
        """Return a view that stores into the scope `name` and releases it at the end of its block.

        With `nested` the scopes below it (`name:…`) are released with it.
        """
        _checked(NO_META, name, None)
        return MediaScope(self, name, nested=nested)

    # -- out

    def resolve(self, ref: str) -> Path:
        """Return the absolute path of the file. It is not looked at: `open` tells if it is there.

        Raises:
            UnknownRef: the ref is not live; as `RefReleased` or `RefExpired` where that is known.
        """
        found = self._catalog.get(ref)
        return found.path or self._blobs.path(found.location)

    def resolve_with_meta(self, ref: str) -> Media:
        """Return path and meta of the file; raises as `resolve` does."""
        found = self._catalog.get(ref)
        return Media(found.path or self._blobs.path(found.location), found.meta)

    def open(self, ref: str) -> BinaryIO:
        """Open the file for reading. What is open can be read to its end, whatever ends meanwhile.

        Raises:
            UnknownRef: the ref is not live.
            MediaMissing: somebody else deleted the file.
            NotAFile: something else has taken its place.
            BlobError: it cannot be read.
        """
        path = self.resolve(ref)
        try:
            return open_regular(path)
        except FileNotFoundError as error:
            self._catalog.get(ref)  # if it has ended just now, that is the reason to give
            raise MediaMissing.at(path, f"{ref} is live, but somebody deleted its file") from error
        except OSError as error:
            raise BlobError(f"cannot read {str(path)!r} ({ref}): {error.strerror}") from error

    def read_bytes(self, ref: str) -> bytes:
        """Return all bytes of the file; raises as `open` does."""
        with self.open(ref) as file:
            return file.read()

    def entry(self, ref: str) -> Entry:
        """Return all that is known of the live `ref`; raises as `resolve` does."""
        return self._with_path(self._catalog.entry(ref))

    def entries(self, scope: str | None = None, *, nested: bool = False) -> Iterator[Entry]:
        """Yield the live refs by scope and then by age: all, or those of `scope`.

        With `nested` those of the scopes below it too. Refs that start or end while you iterate may be
        in it or not.
        """
        return map(self._with_path, self._catalog.entries(scope, nested=nested))

    def _with_path(self, entry: Entry) -> Entry:
        return entry if entry.path else replace(entry, path=self._blobs.path(entry.location))

    def scopes(self) -> list[str]:
        """Return the names of the scopes that have a live ref, sorted."""
        return self._catalog.scopes()

    def stats(self, *, by_scope: bool = False) -> Stats:
        """Return the store in numbers; with `by_scope` also those of each scope."""
        return self._catalog.stats(by_scope=by_scope)

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
        reaped = self._reap()
        temps = self._settle_abandoned()
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

    def _reap(self, locations: Iterable[str] | None = None) -> Reaped:
        """Delete the condemned `locations`, or all that are condemned."""
        with Remover() as remover:

            def delete(location: str) -> None:
                if os.path.isabs(location):
                    remover.remove(location)
                else:
                    self._blobs.delete(location)

            reaped = self._catalog.reap(delete, locations)
        for failure in reaped.failed:
            logger.warning(
                "cannot delete %s (attempt %d): %s; the next sweep tries again",
                failure.location,
                failure.attempts,
                failure.reason,
                extra={"location": failure.location, "attempts": failure.attempts},
            )
        return reaped

    def _settle_abandoned(self) -> int:
        """Remove what writers that died have left, unless the catalog got to name it."""
        settled = 0
        for key in self._blobs.abandoned():
            if key is not None and not self._catalog.knows(key):
                self._blobs.delete(key)
            settled += 1
        return settled

    def _settle_abandoned_quietly(self) -> None:
        """Do so after a failed put, whose own error is the one to raise."""
        try:
            self._settle_abandoned()
        except Exception as error:
            logger.warning("left to the next sweep: %s", error)

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


class FileMediaStore(MediaStore):
    """A store whose books are in memory, for one process; files stay where they lie.

    `put` writes into a folder of its own, which goes when the store is closed or its process ends. Files
    that were registered in place stay where they are when the store is closed.

    Args:
        cleaner: when refs get too old, and how often `start` has the store swept.
        clock: gives the time in seconds; by default one that setting the machine's clock cannot move.
        root: where `put` makes its folder; default :func:`temp_dir`.

    >>> with FileMediaStore() as store:
    ...     ref = store.put(b"hello", MediaMeta(filename="hello.txt"), scope="chat:1")
    ...     path = store.resolve(ref)
    ...     print(path.read_text())
    ...     store.release_all("chat:1")
    ...     print(path.exists())
    hello
    False
    """

    __slots__ = ()

    def __init__(
        self,
        *,
        cleaner: MediaCleanerConfig | None = None,
        clock: Clock | None = None,
        root: str | os.PathLike[str] | None = None,
    ) -> None:
        super().__init__(MemoryCatalog(clock), TemporaryBlobs(root), cleaner=cleaner)


def _checked(meta: MediaMeta, scope: str, ttl: timedelta | float | None) -> float | None:
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
    return None if ttl is None else seconds_of("ttl", ttl)
