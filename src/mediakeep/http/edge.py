"""The outer edge: a failure becomes problem details, and a request a line of the log and a count.

A line tells the path's template, never the path, the query or a header: no id, scope, token, signature.
"""

import asyncio
import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from urllib.parse import unquote_to_bytes

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from mediakeep.errors import MediaError
from mediakeep.http.access import NOBODY
from mediakeep.http.fields import http_date
from mediakeep.http.grants import Grant
from mediakeep.http.problems import Problem, bad_request, problem_of
from mediakeep.http.service import Call, Disconnected, Service

logger = logging.getLogger("mediakeep.http")
access_logger = logging.getLogger("mediakeep.http.access")

LINGER_SECONDS = 2.0
LINGER_BYTES = 4 << 20
"""How long, and how much, of a refused body is still received, so that its sender gets to read why."""


class Edge:
    """Wraps the routes; what comes out of it is always a whole answer."""

    __slots__ = ("_app", "_service")

    def __init__(self, service: Service, app: ASGIApp) -> None:
        self._service = service
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        loop = asyncio.get_running_loop()
        began, seen = loop.time(), _Seen(send)
        self._service.requests += 1
        try:
            try:
                _check_path(scope)
                await self._app(scope, receive, seen)
            except Disconnected:
                seen.gone = True
            except Exception as error:
                if seen.status:
                    raise  # too late to say so: the connection is cut, and the client sees that
                await _refuse(scope, receive, seen, _problem(scope, error))
        finally:
            self._service.requests -= 1
            self._service.answered.set()
            seconds = loop.time() - began
            status = seen.status or 499  # as nginx counts those who went before there was an answer
            route = scope.get("mediakeep.route", "none")
            self._service.metrics.answered(scope["method"], route, status, seconds, seen.count)
            if self._service.config.access_log and access_logger.isEnabledFor(logging.INFO):
                _tell(scope, route, status, seconds, seen)


def _tell(scope: Scope, route: str, status: int, seconds: float, seen: "_Seen") -> None:
    method: str = scope["method"]
    told = (method if method.isalpha() else "?", route, status)
    # Made by hand: to find out which line of code it comes from, as `info` does, takes as long again.
    record = logging.LogRecord(
        access_logger.name, logging.INFO, __file__, 0, "%s %s %d", told, None, "_tell"
    )
    vars(record).update(
        method=method,
        route=route,
        status=status,
        seconds=round(seconds, 6),
        sent_bytes=seen.count,
        complete=seen.complete,
        token=scope.get("mediakeep.holder", ""),
        client=(scope.get("client") or ("",))[0],
    )
    access_logger.handle(record)


class _Seen:
    """Sends, and remembers what was sent."""

    __slots__ = ("_send", "complete", "count", "gone", "status")

    def __init__(self, send: Send) -> None:
        self._send = send
        self.status = 0
        self.count = 0
        self.complete = False
        self.gone = False

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            message["headers"] = [(b"date", _now()), *message["headers"]]
        else:
            self.count += len(message.get("body", b""))
        await self._send(message)
        if message["type"] == "http.response.body" and not message.get("more_body", False):
            self.complete = True


def _now() -> bytes:
    # Our own and not uvicorn's, which may be a second old: `Last-Modified` must not be later (RFC 9110,
    # section 8.8.2.1).
    return _date(int(time.time()))


@lru_cache(maxsize=2)
def _date(seconds: int) -> bytes:
    return http_date(seconds).encode()


def _check_path(scope: Scope) -> None:
    """Refuse a path that is not UTF-8: what has been made of it by now may be somebody else's scope."""
    if "\0" in scope["path"]:
        raise bad_request("the path has a NUL in it, which no id and no scope has")
    raw = scope.get("raw_path")
    if raw and "\ufffd" in scope["path"]:
        try:
            unquote_to_bytes(raw).decode()
        except UnicodeDecodeError:
            raise bad_request("the path is not UTF-8, percent-encoded") from None


def _problem(scope: Scope, error: Exception) -> Problem:
    if isinstance(error, Problem):
        return error
    call: Call | None = scope.get("mediakeep.call")
    grant: Grant = (call.grant if call is not None else None) or NOBODY
    if isinstance(error, MediaError):
        return problem_of(error, grant)
    logger.error("a request failed", exc_info=error)
    return Problem(500, "InternalError", "the server's log says more: please report it")


async def _refuse(scope: Scope, receive: Receive, send: Send, problem: Problem) -> None:
    """Send a problem, and let a client that is still sending its body get to read it."""
    call: Call | None = scope.get("mediakeep.call")
    answer, head = problem.answer(), scope["method"] == "HEAD"
    unread = call is None or not call.received
    has_body = any(name in (b"content-length", b"transfer-encoding") for name, _ in scope["headers"])
    if not (unread and has_body):
        await answer.send(send, head=head)
        return
    # A connection that is closed with bytes unread is reset, and what was sent on it may be lost.
    if not any(name == b"connection" for name, _ in answer.headers):
        answer.headers.append((b"connection", b"close"))
    await answer.send(send, head=head, more=True)
    with _for_a_while():
        async with asyncio.timeout(LINGER_SECONDS):
            count = 0
            while count < LINGER_BYTES:
                message = await receive()
                count += len(message.get("body", b""))
                if message["type"] == "http.disconnect" or not message.get("more_body", False):
                    break
    await send({"type": "http.response.body", "body": b""})


@contextmanager
def _for_a_while() -> Iterator[None]:
    try:
        yield
    except TimeoutError:
        return
