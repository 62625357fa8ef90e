"""Upload links: URLs that take one file, once, so that its bytes pass through no model.

The address holds 256 random bits, and nothing else lets anybody in: who has the link may put one file
into the scope that it was made for, until it expires.
"""

import secrets
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from dataclasses import dataclass, replace

from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from mediakeep.aio import AsyncMediaStore
from mediakeep.errors import MediaError, QuotaExceeded, TooLarge, TypeNotAllowed
from mediakeep.mcp.telling import Refused, facts, refusal
from mediakeep.model import Entry, MediaMeta

LAST_SECONDS = 900
"""How long a link can be used."""

MOST_LINKS = 1000
"""How many links may wait for their file."""

_HEADERS = {"cache-control": "no-store", "x-content-type-options": "nosniff"}
_SAYS_NOTHING = ("application/x-www-form-urlencoded", "application/octet-stream")


@dataclass(frozen=True, slots=True)
class _Ticket:
    scope: str
    meta: MediaMeta
    ttl: float | None
    expires: float


class Uploads:
    """The links of one server.

    Args:
        url: what links begin with, such as `http://127.0.0.1:8322`; may be set later, when it is known.
        clock: gives the time in seconds; it need not be that of the day.
    """

    def __init__(self, url: str = "", clock: Callable[[], float] = time.monotonic) -> None:
        self.url = url
        self._clock = clock
        self._tickets: dict[str, _Ticket] = {}

    def make(self, scope: str, meta: MediaMeta, ttl: float | None) -> str:
        """Return a new link.

        Raises:
            Refused: too many are waiting for their file.
        """
        now = self._clock()
        self._tickets = {name: it for name, it in self._tickets.items() if it.expires > now}
        if len(self._tickets) >= MOST_LINKS:
            raise Refused("too many upload links are open: use them, or wait until they expire")
        name = secrets.token_urlsafe(32)
        self._tickets[name] = _Ticket(scope, meta, ttl, now + LAST_SECONDS)
        return f"{self.url.rstrip('/')}/upload/{name}"

    def route(
        self, store: AsyncMediaStore, max_file_bytes: int, done: Callable[[], object] = lambda: None
    ) -> Route:
        """Return what takes the files: `PUT` or `POST`, the bytes in the body.

        Args:
            store: where they go.
            max_file_bytes: the largest one that is taken.
            done: called when one has been stored.
        """

        async def take(request: Request) -> Response:
            name = request.path_params["name"]
            ticket = self._tickets.pop(name, None)  # first: it is good for one file, not for two at once
            if ticket is None or ticket.expires <= self._clock():
                return _problem(404, "the link has been used or has expired: ask for a new one")
            try:
                entry = await _put(store, request, ticket, max_file_bytes)
            except BaseException as error:
                self._tickets[name] = ticket  # nothing was kept, so it may be tried again
                if isinstance(error, ClientDisconnect):
                    return Response(status_code=400)  # nobody is there to read it
                if not isinstance(error, MediaError):
                    raise
                return _problem(_STATUS.get(type(error), 503), refusal(error))
            done()
            return JSONResponse(facts(entry), 201, _HEADERS)

        return Route("/upload/{name}", take, methods=["PUT", "POST"])


_STATUS = {TooLarge: 413, TypeNotAllowed: 415, QuotaExceeded: 507}


async def _put(store: AsyncMediaStore, request: Request, ticket: _Ticket, most: int) -> Entry:
    said = request.headers.get("content-type", "")
    if said.startswith("multipart/"):
        raise TypeNotAllowed("a form is not taken: send the bytes of the file as the body")
    meta = ticket.meta
    if not meta.content_type and said.partition(";")[0].strip().lower() not in _SAYS_NOTHING:
        meta = replace(meta, content_type=said[:255])
    async with aclosing(_bounded(request, most)) as body:
        ref = await store.put(body, meta, ticket.scope, ttl=ticket.ttl)
    try:
        return await store.entry(ref)
    except BaseException:
        await store.release(ref)
        raise


async def _bounded(request: Request, most: int) -> AsyncGenerator[bytes, None]:
    count = 0
    async for chunk in request.stream():
        count += len(chunk)
        if count > most:
            raise TooLarge(f"a file may have {most} bytes here: send a smaller one")
        yield chunk


def _problem(status: int, words: str) -> Response:
    return JSONResponse({"error": words}, status, _HEADERS)
