"""HTTPMediaStore: the verbs of a store that a server keeps, `mediakeep serve`, over its HTTP API.

Of the engine it has what can be derived from other verbs, and no catalog and no blobs: these are the
server's, and so are limits, true types, clean names, sweeps and the clock. Copies of what is resolved
are on this machine. A lease is held twice: on the server, so that the file stays, and in the cache, so
that the copy does.
"""

import logging
import os
import re
import secrets
import ssl
import weakref
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, BinaryIO, NoReturn, TypeVar
from urllib.parse import quote

from mediakeep.blobs import Source
from mediakeep.catalogs import Registration
from mediakeep.cursors import Cursor
from mediakeep.errors import MediaError, NotOverHTTP, UnknownRef
from mediakeep.intake.names import display_name
from mediakeep.intake.roots import Roots
from mediakeep.leases import LEASE_SECONDS, Heartbeat
from mediakeep.many import Telling, parted
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
from mediakeep.refs import PREFIX
from mediakeep.remote.bodies import Body
from mediakeep.remote.connection import Connection
from mediakeep.remote.copies import CACHE_BYTES, Copies
from mediakeep.remote.holding import Holds
from mediakeep.remote.problems import error_of
from mediakeep.remote.reading import (
    read_entry,
    read_erased,
    read_receipt,
    read_reconciled,
    read_stats,
    read_swept,
    registration,
    understood,
)
from mediakeep.store import MediaStore

logger = logging.getLogger("mediakeep.store")

T = TypeVar("T")

_ID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")

PAGE = 1000
"""How many entries, scopes or lines of the journal are asked for at a time."""


class HTTPMediaStore(MediaStore):
    """A store that a server keeps (`mediakeep serve`), with the verbs of any other.

    Safe from any thread, and in a forked child. Nothing is asked before the first verb is called. What
    only the server's machine can do raises :class:`~mediakeep.NotOverHTTP`: registering paths, and
    putting bytes that are never deleted.

    A verb that fails because the server broke off may have done its work there; `put` finds that out by
    itself where it can read its source again (bytes, files, streams that can seek).

    Args:
        url: `http://host:port` or `https://…`, with the path that a proxy may have put before `/v1`.
        token: as `mediakeep token create` printed it; not needed where the server wants none.
        cache: the folder for copies on this machine, which processes may share; by default one of this
            user's and this server's under `$XDG_CACHE_HOME` or `~/.cache`. It outlives the process.
        cache_bytes: how much the copies take together at most. What is larger has no path and is read
            with `open`.
        import_roots: the only folders that `put` copies files from; by default all are.
        default_ttl: how long a ref lives that is given no ttl of its own, as a timedelta or in seconds;
            by default what the server says.
        lease_seconds: how long a lease outlives a process that died with it.
        timeout: how many seconds the server may be silent.
        tls: trusts other certificates than the machine does.

    Raises:
        ValueError: an argument cannot be one.
        ImportError: httpcore2 is missing: `pip install "mediakeep[client]"`.
    """

    __slots__ = ("__weakref__", "_connection", "_copies", "_holds")

    def __init__(
        self,
        url: str,
        *,
        token: str | None = None,
        cache: str | os.PathLike[str] | None = None,
        cache_bytes: int = CACHE_BYTES,
        import_roots: Iterable[str | os.PathLike[str]] | None = None,
        default_ttl: timedelta | float | None = None,
        lease_seconds: float = LEASE_SECONDS,
        timeout: float = 60.0,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self._roots = None if import_roots is None else Roots(import_roots)
        self._default_ttl = None if default_ttl is None else seconds_of("default_ttl", default_ttl)
        self._lease_seconds = seconds_of("lease_seconds", lease_seconds)
        self._cleaner = None  # the server sweeps
        self._connection = Connection(url, token, timeout=timeout, tls=tls)
        self._copies = Copies(self._connection, _bytes_path, cache, cache_bytes)
        self._holds = Holds(self._connection)
        self._heartbeat = Heartbeat(self._holds, self._lease_seconds)
        _stores.add(self)

    def __repr__(self) -> str:
        return f"HTTPMediaStore({str(self._connection.base)!r})"

    # -- in

    def store(
        self,
        local_path: str | os.PathLike[str],
        meta: MediaMeta = NO_META,
        scope: str = "",
        *,
        ttl: timedelta | float | None = None,
    ) -> NoReturn:
        """Raise NotOverHTTP: a server is told no paths, neither of its own machine nor of this one."""
        raise NotOverHTTP(
            f"{os.fsdecode(local_path)!r} cannot be registered over HTTP: put its bytes, as in "
            "put(Path(…), meta, scope)"
        )

    def store_many(
        self,
        items: Iterable[tuple[str | os.PathLike[str], MediaMeta]],
        scope: str = "",
        *,
        ttl: timedelta | float | None = None,
    ) -> NoReturn:
        """Raise NotOverHTTP, as `store` does."""
        raise NotOverHTTP("files cannot be registered over HTTP: put their bytes with put_many")

    def _put(self, source: Source, meta: MediaMeta, scope: str, seconds: float | None) -> str:
        if meta.cleanup_policy is CleanupPolicy.FORGET_ONLY:
            raise NotOverHTTP(
                "no server takes bytes that are never deleted (forget_only): put them on its machine"
            )
        query = {
            "scope": scope,
            # The server cleans names too, but takes no query with what may stand in some.
            "filename": display_name(meta.filename) if meta.filename else "",
            "content_type": meta.content_type,
            "source": meta.source,
            "ttl": None if seconds is None else repr(seconds),
        }
        said = {name: value for name, value in query.items() if value or name == "scope"}
        stored = self._connection.upload("/v1/media", said, Body(source), secrets.token_hex(16))
        with understood(self._connection.base):
            return str(stored["ref"])

    def put_many(
        self,
        items: Iterable[tuple[Source | Path, MediaMeta]],
        scope: str = "",
        *,
        ttl: timedelta | float | None = None,
    ) -> list[str]:
        """Take custody of the bytes of many sources; see :meth:`MediaStore.put_many`.

        They are put one after the other. If one fails those before it are released, so that nothing is
        kept; if this process dies meanwhile they stay until their scope ends.
        """
        seconds = self._checked(NO_META, scope, ttl)
        refs: list[str] = []
        try:
            for number, item in enumerate(items):
                with Telling() as telling:
                    telling.about(number, None)
                    source, meta = parted(item, "put_many")
                    telling.about(number, source)
                    refs.append(self.put(source, meta, scope, ttl=seconds))
        except BaseException:
            for ref in refs:
                try:
                    self.release(ref)
                except (
                    MediaError
                ) as error:  # the others, and what went wrong first, are not lost over it
                    logger.warning("%s stays until its scope ends: %s", ref, error, extra={"ref": ref})
            raise
        return refs

    def share(self, ref: str, scope: str, *, ttl: timedelta | float | None = None) -> str:
        """Return a new ref in `scope` for the file of `ref`; see :meth:`MediaStore.share`."""
        seconds = self._checked(NO_META, scope, ttl)
        said: dict[str, Any] = {"scope": scope}
        if seconds is not None:
            said["ttl"] = seconds
        stored = self._about(ref, lambda path: self._connection.post(f"{path}/share", said, ref=ref))
        with understood(self._connection.base):
            return str(stored["ref"])

    # -- out

    def resolve(self, ref: str) -> Path:
        """Return the path of a copy on this machine, which is made if there is none.

        See :meth:`MediaStore.resolve`; a `lease` keeps it.
        """
        return self.resolve_with_meta(ref).path

    def resolve_with_meta(self, ref: str) -> Media:
        """Return path and meta of the file; raises as `resolve` does."""
        found = self._find(ref)
        return Media(self._about(ref, lambda _: self._copies.path(found)), found.meta)

    def open(self, ref: str) -> BinaryIO:
        """Open the file for reading, once its bytes are here; see :meth:`MediaStore.open`."""
        found = self._find(ref)
        return self._about(ref, lambda _: self._copies.open(found))

    def url(self, ref: str, expires_in: timedelta | float) -> str:
        """Return a signed link of the server; see :meth:`MediaStore.url`.

        It ends when the ref does, and when the token that made it is revoked.

        Args:
            ref: the file.
            expires_in: a timedelta or seconds, up to the server's `max_link_seconds`.

        Raises:
            UnknownRef: the ref is not live.
            ValueError: `expires_in` cannot be one.
        """
        said = {"expires_in": seconds_of("expires_in", expires_in)}
        made = self._about(ref, lambda path: self._connection.post(f"{path}/link", said, ref=ref))
        with understood(self._connection.base):
            url = str(made["url"])
        if not url.startswith("/"):
            return url
        # A server that has not been told its public URL knows only the path, and not who put what
        # before it.
        return f"{self._connection.base}{_bytes_path(ref)}?{url.partition('?')[2]}"

    def variant(self, ref: str, name: str, make: Callable[[Path], bytes]) -> Path:
        """Return the path of what `make` makes of the file; see :meth:`MediaStore.variant`.

        It is made on this machine, from the copy, and is one itself: no stats of the server count it.
        """
        with self._held(ref) as found, self._on_this_machine(found) as path:

            def made() -> bytes:
                data = make(path)
                self.entry(ref)  # what has ended meanwhile gets no variant that would outlive it
                return data

            return self._copies.variant(found, name, made)

    def entry(self, ref: str) -> Entry:
        """Return all that is known of the live `ref`; raises as `resolve` does.

        The location is the URL of its bytes. To a token that does not see all scopes the server does not
        say how many refs and leases the file has: it is then one, and none.
        """
        said = self._about(ref, lambda path: self._connection.get(f"{path}/entry", ref=ref))
        with understood(self._connection.base):
            return self._read_entry(said)

    def entries(
        self,
        scope: str | None = None,
        *,
        nested: bool = False,
        after: Position | None = None,
        newest: bool = False,
    ) -> Iterator[Entry]:
        """Yield the live refs by scope and then by age; see :meth:`MediaStore.entries`."""
        path = "/v1/media" if scope is None else _scope_path(scope)
        query: dict[str, Any] = {} if scope is None else {"nested": _flag(nested)}
        if newest:
            query["order"] = "newest"
        if after is not None:
            query["cursor"] = str(Cursor.at(after))
        for page in self._pages(path, query):
            with understood(self._connection.base):
                entries = [self._read_entry(it) for it in page["entries"]]
            yield from entries

    def scopes(self) -> list[str]:
        """Return the names of the scopes that have a live ref and that the token sees, sorted."""
        names: list[str] = []
        for page in self._pages("/v1/scopes", {}):
            with understood(self._connection.base):
                names += map(str, page["scopes"])
        return names

    def stats(self, *, by_scope: bool = False) -> Stats:
        """Return the store in numbers; see :meth:`MediaStore.stats`.

        They are some seconds old at most. A token that does not see all scopes is told the refs, scopes
        and size of its own; `failed` says why, and not which files.
        """
        said = self._connection.get("/v1/stats", {"by_scope": _flag(by_scope)})
        with understood(self._connection.base):
            return read_stats(said)

    def history(self, ref: str | None = None, *, scope: str | None = None) -> Iterator[Receipt]:
        """Yield the journal, oldest line first; see :meth:`MediaStore.history`.

        The server tells the newest first, so all that is asked for is fetched before the first is given.
        """
        query: dict[str, Any] = {"limit": PAGE}
        if ref is not None:
            if not _is_whole(ref):
                return
            query["id"] = ref.removeprefix(PREFIX)
        if scope is not None:
            query["scope"] = scope
        lines: list[Receipt] = []
        while True:
            said = self._connection.get("/v1/history", query)
            with understood(self._connection.base):
                page = [read_receipt(it, self._bytes_url) for it in said["lines"]]
            lines += page
            if len(page) < PAGE:
                break
            # Many lines may be of the same moment: the next page begins within it.
            oldest = page[-1].at
            query["before"] = _text(oldest + timedelta(microseconds=1))
            query["skip"] = sum(it.at == oldest for it in lines)
        yield from reversed(lines)

    # -- ends

    def release(self, ref: str) -> bool:
        """End `ref`; see :meth:`MediaStore.release`. Its copy here goes too."""
        try:
            self._about(ref, lambda path: self._connection.delete(path, ref=ref))
        except UnknownRef:
            return False
        self._copies.forget(ref)
        return True

    def release_all(self, scope: str, *, nested: bool = False) -> None:
        """End every ref of `scope`; see :meth:`MediaStore.release_all`. Their copies here go too.

        A server does not end the empty scope as a whole: its refs are ended one by one.
        """
        self._checked(NO_META, scope, None)
        if scope:
            query = {"nested": _flag(nested)}
            self._connection.delete(_scope_path(scope), query, repeatable=True)
        else:
            for entry in list(self.entries(scope, nested=nested)):
                self.release(entry.ref)
        self._copies.forget_scope(scope, nested=nested)

    def erase(self, scope: str, *, wait: timedelta | float | None = None) -> tuple[Erased, ...]:
        """End `scope` and delete its files at once; see :meth:`MediaStore.erase`. Copies here go too.

        A server does not erase the empty scope as a whole.

        Raises:
            AccessDenied: the token may not `admin`, or does not see all scopes below.
            StillLeased: a lease holds a file.
        """
        return self._erase(scope, None if wait is None else seconds_of("wait", wait))

    def _erase(
        self, scope: str, seconds: float | None, heed: Callable[[], object] = lambda: None
    ) -> tuple[Erased, ...]:
        self._checked(NO_META, scope, None)
        heed()
        asked: dict[str, Any] = {"scope": scope}
        if seconds is not None:
            asked["wait"] = seconds
        try:
            said = self._in_the_end("/v1/erase", asked)
        finally:
            self._copies.forget_scope(scope, nested=True)
        with understood(self._connection.base):
            return tuple(map(read_erased, said["files"]))

    def clean_expired(self) -> int:
        """Have the server sweep, and return how many refs ended."""
        return self.sweep().expired

    def sweep(self, *, dry_run: bool = False) -> SweepReport:
        """Have the server sweep now, which it does by itself too; see :meth:`MediaStore.sweep`.

        What is older than the `max_age` of its own cleaner ends, and what is past its ttl.

        Raises:
            AccessDenied: the token may not `admin`, or does not see all scopes.
        """
        said = self._in_the_end("/v1/sweep", {"dry_run": dry_run}, repeatable=True)
        with understood(self._connection.base):
            return read_swept(said)

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
        """Have the server compare its catalog with its blobs; see :meth:`MediaStore.reconcile`.

        `tell` hears of what the report names, in the end; `progress` hears of nothing.

        Raises:
            AccessDenied: the token may not `admin`, or does not see all scopes.
        """
        seconds = grace.total_seconds() if isinstance(grace, timedelta) else float(grace)
        asked = {"dry_run": dry_run, "deep": deep, "grace": seconds, "force": force}
        said = self._in_the_end("/v1/reconcile", asked, repeatable=dry_run)
        with understood(self._connection.base):
            report = read_reconciled(said)
        if tell is not None:
            for finding in report.findings:
                tell(finding)
        return report

    # -- end

    def close(self) -> None:
        """Give back the connections. Leases that are held lapse; copies stay."""
        if self._heartbeat is not None:
            self._heartbeat.stop()
        self._connection.close()

    # -- what the verbs of the engine are derived from

    @property
    def _blocks(self) -> bool:
        return True

    def _begin_lease(self, ref: str) -> tuple[int, Registration]:
        number = self._about(ref, lambda path: self._holds.begin(path, ref, self._lease_seconds))
        try:
            if self._heartbeat is not None:
                self._heartbeat.add(number)  # first, since the server may be slow to tell
            return number, self._find(ref)
        except BaseException:
            if self._heartbeat is not None:
                self._heartbeat.remove(number)
            self._holds.end(number)
            raise

    def _end_lease(self, number: int) -> None:
        if self._heartbeat is None or self._heartbeat.remove(number):
            self._holds.end(number)

    def _on_this_machine(self, found: Registration) -> AbstractContextManager[Path]:
        return self._copies.hold(found)

    # -- how it asks

    def _find(self, ref: str) -> Registration:
        return registration(self.entry(ref))

    def _about(self, ref: str, ask: Callable[[str], T]) -> T:
        """Return what `ask` does with the path of `ref`, of which nothing stays here if it has ended."""
        if not _is_whole(ref):
            raise UnknownRef(ref)
        try:
            return ask(_bytes_path(ref))
        except UnknownRef:
            self._copies.forget(ref)
            raise

    def _in_the_end(self, path: str, asked: dict[str, Any], *, repeatable: bool = False) -> Any:
        """Return the answer to what may take long, and of which failure may be told late."""
        said = self._connection.post(path, asked, repeatable=repeatable)
        with understood(self._connection.base):
            if "error" in said:
                raise error_of(int(said["status"]), said, "", str(self._connection.base))
        return said

    def _pages(self, path: str, query: dict[str, Any]) -> Iterator[Any]:
        query = {**query, "limit": PAGE}
        while True:
            page = self._connection.get(path, query)
            yield page
            with understood(self._connection.base):
                query["cursor"] = page["next"]
            if query["cursor"] is None:
                return

    def _read_entry(self, said: Any) -> Entry:
        return read_entry(said, self._bytes_url)

    def _bytes_url(self, ref: str) -> str:
        return f"{self._connection.base}{_bytes_path(ref)}"


_stores: "weakref.WeakSet[HTTPMediaStore]" = weakref.WeakSet()


def _after_fork() -> None:
    for store in _stores:
        store._connection.after_fork()
        store._copies.after_fork()


os.register_at_fork(after_in_child=_after_fork)


def _bytes_path(ref: str) -> str:
    return f"/v1/media/{quote(ref.removeprefix(PREFIX), safe='')}"


def _scope_path(scope: str) -> str:
    # Dots are data too: a path that is `..` would be another one by the time it arrives.
    return "/v1/scopes/" + quote(scope, safe="").replace(".", "%2E")


def _is_whole(ref: object) -> bool:
    """Return whether `ref` is one, so that it can be asked about: what else would a path be made of?"""
    return (
        isinstance(ref, str) and ref.startswith(PREFIX) and _ID.fullmatch(ref, len(PREFIX)) is not None
    )


def _flag(value: bool) -> str:
    return "true" if value else "false"


def _text(moment: datetime) -> str:
    return moment.isoformat(timespec="microseconds").replace("+00:00", "Z")
