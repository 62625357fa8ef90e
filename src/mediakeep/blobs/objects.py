"""Bytes in object storage (S3, GCS, Azure), with copies on this machine for those who need a path.

    prefix/3f/3f0c…   the bytes of a key
    prefix/kept/…     bytes that are never deleted (put with `forget_only`)
    prefix/tmp/…      who is writing, see :mod:`mediakeep.blobs.writers`

What a crash between two steps leaves: before the object, a marker that names a key without bytes; after
it, one that names a key with bytes and without a row. Both are found by `settle` when the marker has
not been renewed for `writer_seconds`. Parts of a multipart upload that was cut off are not objects:
`reconcile` finds those, see :mod:`mediakeep.blobs.uploads`.
"""

import errno
import hashlib
import io
import logging
import os
import re
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any, BinaryIO
from urllib.parse import quote

try:
    import obstore
except ImportError as error:
    raise ImportError(
        f'blobs in object storage need {error.name}: pip install "mediakeep[objects]"'
    ) from error

from mediakeep.blobs import About, Blob, Blobs, IsNamed, Source, Staged, Unfinished
from mediakeep.blobs.cache import Cache, Incoming
from mediakeep.blobs.parts import MAX_BYTES, PART_BYTES, Parts
from mediakeep.blobs.reading import PIECE, ObjectReader
from mediakeep.blobs.remote import ObjectStoreError, Remote
from mediakeep.blobs.sources import chunks
from mediakeep.blobs.uploads import unfinished
from mediakeep.blobs.writers import WRITER_SECONDS, Writers
from mediakeep.errors import BlobError, CatalogError, MediaMissing, NotAFile
from mediakeep.model import MediaMeta, seconds_of

__all__ = ["ObjectBlobs", "ObjectStoreError"]

logger = logging.getLogger("mediakeep.blobs")

CACHE_BYTES = 4 << 30
URL_SECONDS = 7 * 24 * 3600.0
"""How long a signed URL can be valid (S3 API Reference, "Authenticating Requests", X-Amz-Expires)."""

DELETE_AT_ONCE = 1000

_KEPT = "kept/"
_KEY = re.compile(r"(?:[0-9a-f]{2}|kept)/[0-9a-f]{32}")
_TYPE = re.compile(r"[\w.+-]{1,63}/[\w.+-]{1,63}", re.ASCII)
_SHOWN = re.compile(r"(?:image/(?!svg)|audio/|video/).*")
_OPAQUE = "application/octet-stream"


class ObjectBlobs(Blobs):
    """Blobs in a bucket, under a prefix that is nobody else's.

    Credentials come from the environment or the machine, as obstore and the cloud's SDKs take them, or
    from `options`. They are in no `repr`, log line or error of mediakeep.

    obstore does not survive a fork: start workers with spawn or forkserver.

    Args:
        url: `s3://bucket/prefix`, `gs://bucket/prefix` or `az://container/prefix`.
        cache: the folder for copies on this machine, which processes may share; by default one of
            this user's and this place's under `$XDG_CACHE_HOME` or `~/.cache`. It outlives the process.
        cache_bytes: how much the copies take together at most. A blob that is larger has no path and is
            read with `open`.
        writer_seconds: how long after the last sign of life a writer counts as dead, whole seconds.
        options: what obstore takes for such a store: `endpoint`, `region`, `client_options`,
            `retry_config`, `credential_provider`, …

    Raises:
        ValueError: the URL or an option is none that can be used.
        ImportError: obstore is missing: `pip install "mediakeep[objects]"`.
    """

    __slots__ = ("_cache", "_remote", "_writers")

    def __init__(
        self,
        url: str,
        *,
        cache: str | os.PathLike[str] | None = None,
        cache_bytes: int = CACHE_BYTES,
        writer_seconds: float = WRITER_SECONDS,
        **options: Any,
    ) -> None:
        self._remote = Remote(url, options)
        self._cache = Cache(_default_cache(url, options) if cache is None else cache, cache_bytes)
        self._writers = Writers(self._remote, writer_seconds)

    def __repr__(self) -> str:
        return f"ObjectBlobs({self._remote.url!r})"

    # -- in

    @contextmanager
    def stage(
        self,
        source: Source,
        *,
        is_named: IsNamed,
        kept: bool = False,
        about: About | None = None,
    ) -> Iterator[Staged]:
        """Take custody of the bytes of `source`; see :meth:`mediakeep.blobs.Blobs.stage`.

        Up to `PART_BYTES` go in one request, with their sha256 beside them; more goes in parts while it
        is read, and takes the memory of a few parts. The object is served with the content type and
        the file name that `about` says.
        """
        pieces = _Pieces(source)
        pieces.fill()
        key = self._writers.begin(kept=kept)
        settled = False
        try:
            try:
                self._upload(key, pieces, about)
                self._writers.check(key)
            except BaseException:
                settled = self._settle_key(key, lambda _: False)
                raise
            try:
                yield Staged(key, pieces.size, pieces.sha256)
            except BaseException:
                settled = self._settle_key(key, is_named)
                raise
            settled = True
            if not self._writers.survived(key):
                raise BlobError(
                    f"{key} may have been removed, since naming it took longer than a writer's time: "
                    "release its ref, and put the bytes again"
                )
        finally:
            self._writers.end(key, settled=settled)

    def _upload(self, key: str, pieces: "_Pieces", about: About | None) -> None:
        attributes = {} if about is None else _attributes(about())
        if pieces.ended:
            attributes["sha256"] = pieces.sha256
            self._remote.put(key, pieces.taken(), attributes)
            return
        with Parts(self._remote, key, attributes) as parts:
            for piece in pieces.rest():
                parts.write(piece)

    def _settle_key(self, key: str, is_named: IsNamed) -> bool:
        """Remove the object of a writer that failed or died, unless it got to name it.

        Returns whether that could be done, or has been left to the next sweep to do.
        """
        try:
            try:
                if not is_named(key):
                    self._remote.delete([key])
            except CatalogError as error:
                self._writers.leave(key)
                logger.warning("%s is left to the next sweep: %s", key, error, extra={"key": key})
        except OSError as error:
            logger.warning("%s is left to a later sweep: %s", key, error, extra={"key": key})
            return False
        return True

    # -- left behind

    def settle(self, is_named: IsNamed) -> int:
        settled = 0
        for dead in self._writers.dead():
            try:
                marker = self._writers.claim(dead)
                doomed = [key for key in self._writers.keys(marker) if not is_named(key)]
                self._remote.delete(doomed)
                self._writers.remove(marker)
            except FileNotFoundError:
                continue  # another sweep was faster
            except (OSError, CatalogError) as error:
                logger.warning("%s is left to a later sweep: %s", dead, error)
            settled += 1
        return settled

    def leftovers(self) -> Iterator[str]:
        return self._writers.dead()

    def being_written(self, key: str) -> bool:
        return self._writers.speaks_for(key)

    def unfinished(self) -> Iterator[Unfinished]:
        """Yield the uploads in parts that nobody completed: of dead writers, and of those at work.

        Raises:
            ObjectStoreError: the service fails or refuses.
        """
        return (it for it in unfinished(self._remote) if _KEY.fullmatch(it.key))

    def now(self) -> float:
        """Return the time by the clock of the service; writes an object for it, and removes it.

        Raises:
            ObjectStoreError: the service fails.
        """
        return self._remote.now()

    # -- out

    def path(self, key: str, *, sha256: str = "") -> Path:
        """Return the path of a copy on this machine, which is made if there is none.

        It may be evicted from then on when others need the room: `hold` it for as long as you use it.

        Args:
            key: of the bytes.
            sha256: what they must hash to, where the catalog knows; a blob of one request also knows
                that itself, one that was written in parts only its size.

        Raises:
            MediaMissing: there is no such object.
            BlobError: it does not fit into the cache, is damaged, or the service or the disk fails.
        """
        return self._cache.path(key, lambda: self._fetch(key, sha256))

    def local_path(self, key: str) -> None:
        """Return None: there may be a copy, and nobody says how long."""

    def hold(self, key: str, *, sha256: str = "") -> AbstractContextManager[Path]:
        """Return a context manager that gives the `path` of a copy, which stays meanwhile."""
        return self._cache.hold(key, lambda: self._fetch(key, sha256))

    @contextmanager
    def _fetch(self, key: str, sha256: str) -> Iterator[Incoming]:
        with ObjectReader(self._remote, key) as reader:
            yield Incoming(reader.size, sha256 or reader.sha256, reader.pieces())

    def key(self, path: str) -> str | None:
        key = self._cache.key(path)
        if key is None or _KEY.fullmatch(key):
            return key
        raise NotAFile(f"{path!r} is the store's own: register files that lie outside of its cache")

    def holds(self, key: str, size: int, *, kept: bool) -> bool:
        """Return whether the object is there with this size and keeping; False also if none can tell."""
        try:
            return kept == key.startswith(_KEPT) and self.size(key) == size
        except OSError as error:
            logger.warning("%s is taken for missing: %s", key, error, extra={"key": key})
            return False

    def size(self, key: str) -> int | None:
        """Return how many bytes the object has, or None if there is none; `path` may still have a copy.

        Raises:
            ObjectStoreError: the service fails.
        """
        try:
            with self._remote.failing("look at", key):
                return obstore.head(self._remote.store, key)["size"]
        except MediaMissing:
            return None

    def open(self, key: str) -> BinaryIO:
        """Open the object for reading, as a stream from the service that can seek.

        Nothing is kept on this machine, and at most 1 MiB is read ahead.

        Raises:
            MediaMissing: there is no such object (a `FileNotFoundError`).
            ObjectStoreError: the service fails or refuses (an `OSError`); also while reading.
        """
        return io.BufferedReader(ObjectReader(self._remote, key), PIECE // 8)

    def url(self, key: str, expires_in: timedelta | float) -> str:
        """Return a URL that lets whoever has it read the object until it expires.

        It goes on working when the ref has ended, until it expires or the object is deleted.

        Args:
            key: of the bytes.
            expires_in: a timedelta or seconds, up to 7 days.

        Raises:
            ValueError: `expires_in` is not in these bounds.
            ObjectStoreError: there are no credentials to sign it with.
        """
        seconds = seconds_of("expires_in", expires_in)
        if not 1 <= seconds <= URL_SECONDS:
            raise ValueError(f"expires_in must be from 1 second to 7 days, not {expires_in!r}")
        with self._remote.failing("sign a URL of", key):
            return obstore.sign(self._remote.store, "GET", key, timedelta(seconds=int(seconds)))

    def delete(self, key: str) -> None:
        if not key.startswith(_KEPT):
            self._remote.delete([key])
            self._cache.drop(key)

    @property
    def deletes_many(self) -> bool:
        return True

    def delete_many(self, keys: Sequence[str]) -> dict[str, OSError]:
        """Delete the bytes of all `keys`, a thousand in one request; return what failed, and why."""
        doomed = [key for key in keys if not key.startswith(_KEPT)]
        failed: dict[str, OSError] = {}
        for start in range(0, len(doomed), DELETE_AT_ONCE):
            some = doomed[start : start + DELETE_AT_ONCE]
            try:
                self._remote.delete(some)
            except OSError:  # of which of them is not said
                failed |= super().delete_many(some)
            else:
                for key in some:
                    self._cache.drop(key)
        return failed

    def scan(self) -> Iterator[Blob]:
        """Yield all blobs in the order of their keys, a page of the listing at a time.

        Raises:
            ObjectStoreError: the service fails, or lists in another order, so that a comparison with a
                catalog would be wrong.
        """
        last = ""
        with self._remote.failing("list"):
            pages = iter(obstore.list(self._remote.store, chunk_size=1000))
        while True:
            with self._remote.failing("list"):
                page = next(pages, None)
            if page is None:
                return
            for it in page:
                key = it["path"]
                if not _KEY.fullmatch(key):
                    continue
                if key <= last:
                    raise ObjectStoreError(
                        errno.EIO,
                        f"{self._remote.url} lists {key} after {last}, so it cannot be scanned in order",
                    )
                last = key
                yield Blob(key, it["size"], it["last_modified"].timestamp(), key.startswith(_KEPT))

    def close(self) -> None:
        """Withdraw the marker of this process; objects and copies stay."""
        self._writers.close()


class _Pieces:
    """A source in pieces of at most `PIECE` bytes that nobody changes any more, and what they hash to.

    `fill` takes up to `PART_BYTES` of it into memory; `ended` says whether that was all.
    """

    def __init__(self, source: Source) -> None:
        self._digest = hashlib.sha256()
        self._source = self._cut(source)
        self._first: list[bytes | memoryview] = []
        self.size = 0
        self.ended = False

    @property
    def sha256(self) -> str:
        return self._digest.hexdigest()

    def fill(self) -> None:
        for piece in self._source:
            self._first.append(piece)
            if self.size > PART_BYTES:
                return
        self.ended = True

    def taken(self) -> bytes | memoryview:
        return self._first[0] if len(self._first) == 1 else b"".join(self._first)

    def rest(self) -> Iterator[bytes | memoryview]:
        """Yield all pieces, those in memory first."""
        while self._first:
            yield self._first.pop(0)
        yield from self._source

    def _cut(self, source: Source) -> Iterator[bytes | memoryview]:
        for chunk in chunks(source):
            whole = chunk.obj
            if isinstance(whole, bytes) and len(whole) == len(chunk) <= PART_BYTES:
                yield self._count(whole)
                continue
            for start in range(0, len(chunk), PIECE):
                piece = chunk[start : start + PIECE]
                # A copy of what is not bytes, since whoever gave it may change it.
                yield self._count(piece if isinstance(whole, bytes) else bytes(piece))

    def _count(self, piece: bytes | memoryview) -> bytes | memoryview:
        self.size += len(piece)
        if self.size > MAX_BYTES:
            raise BlobError(f"more than {MAX_BYTES} bytes cannot be written as one object")
        self._digest.update(piece)
        return piece


def _attributes(meta: MediaMeta) -> dict[str, str]:
    """Return the headers that an object is served with, so that no browser runs what a stranger sent."""
    content_type = meta.content_type if _TYPE.fullmatch(meta.content_type) else _OPAQUE
    how = "inline" if _SHOWN.fullmatch(content_type) else "attachment"
    if meta.filename:
        # RFC 6266, section 4.1, with the extended notation of RFC 8187.
        how += "; filename*=UTF-8''" + quote(meta.filename, safe="", errors="replace")
    return {"Content-Type": content_type, "Content-Disposition": how}


def _default_cache(url: str, options: dict[str, Any]) -> Path:
    try:
        base = os.environ.get("XDG_CACHE_HOME") or Path("~/.cache").expanduser()
    except RuntimeError as error:
        raise ValueError("this user has no home for a cache: give a folder as cache=…") from error
    place = hashlib.sha256(f"{options.get('endpoint', '')} {url.rstrip('/')}".encode()).hexdigest()[:32]
    return Path(base, "mediakeep", place)
