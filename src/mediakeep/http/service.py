"""What all requests of one worker share, and what each of them knows of itself."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any, TypeVar

from starlette.types import Receive, Scope, Send

from mediakeep.aio import AsyncMediaStore
from mediakeep.blobs.local import LocalBlobs
from mediakeep.catalogs import Registration
from mediakeep.catalogs.memory import MemoryCatalog
from mediakeep.catalogs.sqlite import SqliteCatalog
from mediakeep.http.config import ServerConfig
from mediakeep.http.feed import Feed
from mediakeep.http.grants import Grant, Right
from mediakeep.http.idempotency import Answers
from mediakeep.http.inputs import MAX_JSON_BYTES
from mediakeep.http.links import LinkKeys
from mediakeep.http.metrics import Metrics
from mediakeep.http.numbers import Numbers, Readiness
from mediakeep.http.problems import Problem, bad_request, too_slow, unknown
from mediakeep.http.throttles import Throttles
from mediakeep.http.tokens import Tokens
from mediakeep.http.tracing import Traces
from mediakeep.offload import Offload
from mediakeep.refs import PREFIX
from mediakeep.store import MediaStore

T = TypeVar("T")

READERS, WRITERS = 8, 8
"""Threads of one worker for look-ups and reads, and for all that takes longer."""


@dataclass(slots=True)
class Service:
    """A store being served by one worker."""

    store: MediaStore
    config: ServerConfig
    tokens: Tokens | None
    keys: LinkKeys
    throttles: Throttles
    metrics: Metrics
    feed: Feed
    answers: Answers
    closing: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when the server has been told to stop: whatever has no end of its own ends now."""
    requests: int = 0
    """How many are being answered."""
    answered: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when one of them has ended."""
    reading: Offload = field(default_factory=partial(Offload, READERS))
    # A second view of the same store, so that no look-up waits behind uploads.
    writes: AsyncMediaStore = field(init=False)
    local: bool = field(init=False)
    """Whether catalog and blobs are on this machine, so that a look-up waits for no server."""
    thumbnails: asyncio.Semaphore = field(default_factory=partial(asyncio.Semaphore, 2))
    long_reads: asyncio.Semaphore = field(default_factory=partial(asyncio.Semaphore, WRITERS // 4))
    """For what may read much of the books, so that uploads get their turn."""
    upkeep: asyncio.Semaphore = field(default_factory=partial(asyncio.Semaphore, WRITERS // 4))
    """For erasing, sweeping and reconciling on request, of which each keeps a thread busy."""
    lapsing: dict[int, asyncio.TimerHandle] = field(default_factory=dict)
    """Leases of a catalog whose own never lapse."""
    numbers: Numbers = field(default_factory=partial(Numbers, by_scope=False))
    numbers_by_scope: Numbers = field(default_factory=partial(Numbers, by_scope=True))
    ready: Readiness = field(default_factory=Readiness)
    traces: Traces = field(default_factory=Traces)

    def __post_init__(self) -> None:
        self.writes = AsyncMediaStore(self.store, threads=WRITERS)
        catalog, blobs = self.store._catalog, self.store._blobs
        self.local = isinstance(catalog, MemoryCatalog | SqliteCatalog) and isinstance(blobs, LocalBlobs)

    async def last_answers(self) -> None:
        """Wait until no request is under way: a cancelled one has a lease to end, or a put to undo."""
        while self.requests:
            self.answered.clear()
            await self.answered.wait()

    async def read(self, work: Callable[[], T], undo: Callable[[T], object] | None = None) -> T:
        """Return what a quick look-up returns, which takes place in a thread."""
        return await self.reading.run(work, undo=undo)

    async def look(self, work: Callable[[], T]) -> T:
        """Return what a look-up of one ref returns: at once, where that waits for no server."""
        with self.traces.verb("look_up"):
            return work() if self.local else await self.read(work)

    async def read_long(self, work: Callable[[], T]) -> T:
        """Return what a long look-up returns, such as a page of a list."""
        async with self.long_reads:
            return await self.writes._offload.run(work)


@dataclass(slots=True)
class Call:
    """One request: what was asked, by whom, and how to answer."""

    service: Service
    scope: Scope
    receive: Receive
    send: Send
    grant: Grant
    route: str = ""
    """The path's template."""
    path: Mapping[str, str] = field(default_factory=dict)
    query: Mapping[str, Any] = field(default_factory=dict)
    body: Mapping[str, Any] = field(default_factory=dict)
    by_link: bool = False
    """Whether a signed link was shown instead of a token."""
    received: bool = False
    """Whether the body has been read to its end."""
    _headers: dict[str, str] | None = None

    @property
    def headers(self) -> Mapping[str, str]:
        """The header fields by names in lower case; repeated ones are joined by commas."""
        if self._headers is None:
            self._headers = {}
            for name, value in self.scope["headers"]:
                key, text = name.decode("latin-1"), value.decode("latin-1")
                self._headers[key] = f"{self._headers[key]}, {text}" if key in self._headers else text
        return self._headers

    @property
    def ref(self) -> str:
        """The ref that the path names."""
        return PREFIX + self.path["id"]

    def require(self, right: Right) -> None:
        """Raise Problem unless who asks has this right."""
        if not self.grant.can(right):
            raise Problem(403, "Forbidden", f"the token may not {right.value}: use one that can")

    def require_scope(self, scope: str) -> None:
        """Raise Problem unless `scope`, which who asks has named, is one of his."""
        if not self.grant.sees(scope):
            raise Problem(403, "Forbidden", f"scope {scope!r} is not one of the token's")

    def look_up(self) -> Registration:
        """Return the ref that the path names, as the catalog keeps it; blocks.

        Raises:
            Problem: it is of a scope that who asks may not see.
            UnknownRef: it is not live.
        """
        found = self.service.store._catalog.get(self.ref)
        if not self.grant.sees(found.scope):
            raise unknown(self.ref)
        return found

    async def chunks(self) -> AsyncIterator[bytes]:
        """Yield the body piece by piece.

        Raises:
            Problem: it stops, or comes too slowly.
            Disconnected: the client has gone.
        """
        config, loop = self.service.config, asyncio.get_running_loop()
        began, count = loop.time(), 0
        while not self.received:
            try:
                async with asyncio.timeout(config.body_seconds):
                    message = await self.receive()
            except TimeoutError:
                raise too_slow() from None
            if message["type"] == "http.disconnect":
                raise Disconnected
            self.received = not message.get("more_body", False)
            if chunk := message.get("body", b""):
                count += len(chunk)
                yield chunk
            late = loop.time() - began - config.body_seconds
            if late > 0 and count < late * config.min_bytes_per_second:
                raise too_slow()

    async def read_body(self, most: int = MAX_JSON_BYTES) -> bytes:
        """Return the whole body, which is small.

        Raises:
            Problem: it is longer than `most` bytes.
        """
        body = bytearray()
        async for chunk in self.chunks():
            body += chunk
            if len(body) > most:
                raise bad_request(f"the body has more than {most} bytes")
        return bytes(body)


class Disconnected(Exception):
    """The client has gone before its request was answered: there is nobody to tell."""
