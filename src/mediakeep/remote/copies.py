"""Copies on this machine of what a server keeps, in the cache that object storage has too."""

import hashlib
import os
import re
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from tempfile import TemporaryFile
from typing import BinaryIO, cast

from mediakeep.blobs.cache import Cache, Fetch, Incoming
from mediakeep.catalogs import Registration
from mediakeep.errors import BlobError, UnknownRef
from mediakeep.remote.connection import Connection, CutOffError

CACHE_BYTES = 4 << 30

MOST_KNOWN = 65_536
"""Of how many refs it is remembered where their copies are."""

PAUSES = (0.0, 0.005, 0.02, 0.08, 0.32)
"""In seconds, before each try to fetch a file that is changed meanwhile, or whose bytes break off."""

_SHA256 = re.compile(r"[0-9a-f]{64}")


class Copies:
    """The copies that this process has made, each under what its bytes hash to.

    What this process hears to have ended is removed, unless somebody holds it or another of its refs has
    the same bytes. What ends without its hearing of it goes when others need the room.

    Args:
        connection: to the server.
        path_of: gives the path of a ref's bytes there.
        folder: of the copies; by default one of this user's and this server's.
        limit: in bytes.
    """

    __slots__ = (
        "_cache",
        "_connection",
        "_known",
        "_leaving",
        "_limit",
        "_lock",
        "_path_of",
        "_scopes",
        "_uses",
    )

    def __init__(
        self,
        connection: Connection,
        path_of: Callable[[str], str],
        folder: str | os.PathLike[str] | None,
        limit: int,
    ) -> None:
        self._connection = connection
        self._path_of = path_of
        self._cache = Cache(_default_folder(str(connection.base)) if folder is None else folder, limit)
        self._limit = limit
        self._lock = threading.Condition()
        self._leaving: set[str] = set()
        """The keys whose copies are being removed: who wants one of them anew waits for that."""
        self._known: dict[str, tuple[str, set[str]]] = {}
        """By ref: its scope, and the keys of its copy and of its variants'."""
        self._scopes: dict[str, set[str]] = {}
        """By scope: its refs."""
        self._uses: Counter[str] = Counter()
        """By key: how many refs have it."""

    def after_fork(self) -> None:
        """Start afresh in a child, whose parent may have held the lock or have been removing copies."""
        is_whole = self._lock.acquire(blocking=False)
        self._lock, self._leaving = threading.Condition(), set()
        if not is_whole:  # a thread of the parent was in the middle of writing something down
            self._scopes, self._uses = {}, Counter()
            for ref, (scope, keys) in self._known.items():
                self._scopes.setdefault(scope, set()).add(ref)
                self._uses.update(keys)

    def path(self, found: Registration) -> Path:
        """Return the path of the copy, which is made if there is none; see :meth:`Cache.path`."""
        path, key = self._brought(found, self._cache.path)
        self._remove(key)  # where the ref ended while it came, nobody else does
        return path

    @contextmanager
    def hold(self, found: Registration) -> Iterator[Path]:
        """Give the path of the copy, which stays while the block is open."""
        with ExitStack() as held:
            path, key = self._brought(
                found, lambda key, fetch: held.enter_context(self._cache.hold(key, fetch))
            )
            try:
                yield path
            finally:
                held.close()
                self._remove(key)  # where the ref ended meanwhile, nobody else does

    def _brought(self, found: Registration, bring: Callable[[str, Fetch], Path]) -> tuple[Path, str]:
        """Return the path of the copy and its key; also of a file that is being changed there."""
        failure = BlobError(f"the file of {found.ref} is changed again and again: try later")
        for pause in PAUSES:
            time.sleep(pause)
            key, fetch = self._copy(found)
            try:
                return bring(key, fetch), key
            except _ChangedError:
                continue
            except CutOffError as error:
                failure = error
            except UnknownRef:
                self.forget(found.ref)  # it was remembered once more
                raise
        raise failure

    def open(self, found: Registration) -> BinaryIO:
        """Open the bytes: those of the copy or, if they are too many for one, fetched for this alone."""
        if found.size <= self._limit:
            with self.hold(found) as path:
                return open(path, "rb")
        file = cast(BinaryIO, TemporaryFile())  # noqa: SIM115 - it is what is returned
        try:
            digest = hashlib.sha256()
            with self._connection.fetch(self._path_of(found.ref), ref=found.ref) as reply:
                for piece in reply.pieces:
                    digest.update(piece)
                    file.write(piece)
            if found.sha256 not in ("", digest.hexdigest()):
                raise BlobError(f"the bytes of {found.ref} are damaged: their sha256 is another one")
            file.seek(0)
        except OSError as error:
            file.close()
            raise BlobError(
                f"cannot keep the bytes of {found.ref}: {error.strerror or error}"
            ) from error
        except BaseException:
            file.close()
            raise
        return file

    def variant(self, found: Registration, name: str, make: Callable[[], bytes]) -> Path:
        """Return the path of what `make` gives for the file and `name`, made if it is not there."""
        key = _key_of(f"variant {self._copy(found)[0]} {name}")
        self._remember(found, key)

        @contextmanager
        def made() -> Iterator[Incoming]:
            data = make()
            yield Incoming(len(data), hashlib.sha256(data).hexdigest(), [data])

        path = self._cache.path(key, made)
        self._remove(key)  # where the ref ended since `make` was done, nobody else does
        return path

    def forget(self, ref: str) -> None:
        """Remove the copy of a ref that has ended."""
        with self._lock:
            unused = self._drop(ref)
        for key in unused:
            self._remove(key)

    def forget_scope(self, scope: str, *, nested: bool) -> None:
        """Remove the copies of all refs of a scope that has ended."""
        with self._lock:
            ended = [scope]
            if nested:
                ended += [it for it in self._scopes if it.startswith(f"{scope}:")]
            refs = [ref for it in ended for ref in self._scopes.get(it, ())]
            unused = [key for ref in refs for key in self._drop(ref)]
        for key in unused:
            self._remove(key)

    def _remove(self, key: str) -> None:
        """Remove a copy, unless a ref has it: also one that has come by since it had none."""
        with self._lock:
            # Whoever is at it may have found it held by us.
            self._lock.wait_for(lambda: key not in self._leaving)
            if key in self._uses:
                return
            self._leaving.add(key)
        try:
            self._cache.discard(key)
        finally:
            with self._lock:
                self._leaving.discard(key)
                self._lock.notify_all()

    def _drop(self, ref: str) -> list[str]:
        """Know nothing of `ref` any more; return the keys that nothing else has. Under the lock."""
        known = self._known.pop(ref, None)
        if known is None:
            return []
        scope, keys = known
        self._scopes[scope].discard(ref)
        if not self._scopes[scope]:
            del self._scopes[scope]
        self._uses.subtract(keys)
        unused = [key for key in keys if not self._uses[key]]
        for key in unused:
            del self._uses[key]
        return unused

    def _remember(self, found: Registration, key: str) -> None:
        with self._lock:
            self._lock.wait_for(lambda: key not in self._leaving)
            _, keys = known = self._known.pop(found.ref, (found.scope, set()))
            self._known[found.ref] = known  # as the last: what is being used is not forgotten
            if key not in keys:
                keys.add(key)
                self._uses[key] += 1
                self._scopes.setdefault(found.scope, set()).add(found.ref)
            if len(self._known) > MOST_KNOWN:
                self._drop(next(iter(self._known)))

    def _copy(self, found: Registration) -> tuple[str, Fetch]:
        """Return the key of the copy of a file, and what brings it."""
        etag = ""
        # It becomes a path, and a server that has been taken over may say anything.
        if _SHA256.fullmatch(found.sha256):
            key = f"{found.sha256[:2]}/{found.sha256}"
        else:  # a file that lies where it was registered, and may be changed there
            etag = self._connection.etag(self._path_of(found.ref), ref=found.ref)
            key = _key_of(f"{self._connection.base} {found.ref} {etag}")
        self._remember(found, key)

        @contextmanager
        def fetch() -> Iterator[Incoming]:
            with self._connection.fetch(self._path_of(found.ref), ref=found.ref) as reply:
                if etag and reply.etag != etag:
                    raise _ChangedError
                size = found.size if reply.size is None else reply.size
                yield Incoming(size, found.sha256, reply.pieces)

        return key, fetch


class _ChangedError(Exception):
    """The file is another one than when it was looked at."""


def _key_of(text: str) -> str:
    name = hashlib.sha256(text.encode()).hexdigest()
    return f"{name[:2]}/{name}"


def _default_folder(server: str) -> Path:
    try:
        base = os.environ.get("XDG_CACHE_HOME") or Path("~/.cache").expanduser()
    except RuntimeError as error:
        raise ValueError("this user has no home for a cache: give a folder as cache=…") from error
    return Path(base, "mediakeep", hashlib.sha256(server.encode()).hexdigest()[:32])
