"""The server over its two transports: standard input and output, and streamable HTTP."""

import hmac
import ipaddress
import logging
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit

import anyio
import uvicorn
from mcp.server.stdio import stdio_server
from mcp.server.transport_security import TransportSecuritySettings
from starlette.applications import Starlette
from starlette.datastructures import Headers
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from mediakeep.errors import MediaError
from mediakeep.mcp.changes import Changes
from mediakeep.mcp.server import MediaServer
from mediakeep.mcp.uploads import Uploads

logger = logging.getLogger("mediakeep.mcp")

PATH = "/mcp"
"""Where the protocol is spoken over HTTP."""

SHUTDOWN_SECONDS = 5
"""How long what is under way may take once the server is told to stop."""

MAX_SESSIONS = 1000


async def serve_stdio(server: MediaServer, *, listener: socket.socket | None = None) -> None:
    """Serve one client over standard input and output, until it closes them.

    Args:
        server: the server.
        listener: where its upload links are served, if it makes any; it is closed at the end.
    """
    async with anyio.create_task_group() as tasks:
        uploading = None
        if listener is not None and server.desk.uploads is not None:
            uploads = server.desk.uploads
            uploads.url = uploads.url or address_of(listener)
            uploading = _Quiet(_config(Starlette(routes=[_route(server, uploads)])))
            tasks.start_soon(uploading.serve, [listener])
        try:
            async with stdio_server() as (incoming, outgoing):
                await server.run(incoming, outgoing, server.create_initialization_options())
        finally:
            if uploading is not None:
                uploading.should_exit = True


def serve_http(
    server: MediaServer,
    listener: socket.socket,
    *,
    token: str = "",
    public_url: str = "",
    ready: Callable[[str], object] | None = None,
) -> None:
    """Serve any number of clients over streamable HTTP, until the process is told to stop.

    Args:
        server: the server.
        listener: where connections are taken; it is closed at the end.
        token: what clients must show as `Authorization: Bearer …`; without one only this machine is
            served.
        public_url: how clients reach it, if not by the address it listens at.
        ready: is given the address of the protocol once connections are taken.

    Raises:
        MediaError: it can be reached from elsewhere, and there is no token.
    """
    check_reach(listener.getsockname()[0], token)
    uploads = server.desk.uploads
    address = public_url.rstrip("/") or address_of(listener)
    if uploads is not None:
        uploads.url = uploads.url or address
    if ready is not None:
        ready(address + PATH)
    app = http_app(server, token=token, public_url=public_url)
    _Alone(_config(app), server.changes).run([listener])


def http_app(server: MediaServer, *, token: str = "", public_url: str = "") -> ASGIApp:
    """Return the ASGI application that `serve_http` serves: `/mcp`, and the route of upload links.

    Web pages of elsewhere are kept out: by the token, and without one by the names in `Host` and
    `Origin`, which must be those of this machine.
    """
    uploads = server.desk.uploads
    app = server.streamable_http_app(
        streamable_http_path=PATH,
        custom_starlette_routes=None if uploads is None else [_route(server, uploads)],
        # A data URL takes four characters for three bytes, and its message some more.
        max_request_body_size=server.desk.bounds.max_inline_bytes * 4 // 3 + (1 << 16),
        max_sessions=MAX_SESSIONS,
        transport_security=_security(public_url) if token else None,
    )
    return _Guarded(app, token) if token else app


def check_reach(host: str, token: str) -> None:
    """Raise MediaError if a server at this address could be reached from elsewhere without a token."""
    try:
        here = host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        here = False
    if not here and not token:
        raise MediaError(
            f"{host} can be reached from elsewhere, and there is no token: set MEDIAKEEP_MCP_TOKEN, "
            "or serve 127.0.0.1"
        )


def address_of(listener: socket.socket) -> str:
    """Return the URL at which a socket listens."""
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def _route(server: MediaServer, uploads: Uploads) -> Route:
    desk = server.desk
    return uploads.route(desk.store, desk.bounds.max_file_bytes, desk.changes.look_again)


def _security(public_url: str) -> TransportSecuritySettings:
    """Return what is checked besides a token, which no page of elsewhere has."""
    name = urlsplit(public_url).netloc
    if not name:
        return TransportSecuritySettings(enable_dns_rebinding_protection=False)
    local = ["127.0.0.1:*", "localhost:*", "[::1]:*"]
    origins = [f"http://{it}" for it in local]
    return TransportSecuritySettings(
        allowed_hosts=[name, *local], allowed_origins=[public_url.rstrip("/"), *origins]
    )


class _Guarded:
    """Lets only those speak the protocol who show the token (RFC 6750)."""

    def __init__(self, app: ASGIApp, token: str) -> None:
        self._app = app
        self._token = token.encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        # Upload links are secrets of their own. Everything else needs the token.
        if scope["type"] == "http" and not scope["path"].startswith("/upload/"):
            scheme, _, shown = Headers(scope=scope).get("authorization", "").partition(" ")
            right = hmac.compare_digest(shown.strip().encode(), self._token)
            if not right or scheme.lower() != "bearer":
                headers = {"www-authenticate": 'Bearer realm="mediakeep"'}
                await PlainTextResponse("show the token", 401, headers)(scope, receive, send)
                return
        await self._app(scope, receive, send)


class _Alone(uvicorn.Server):
    """The only server of a process: told to stop, it ends all streams and then returns."""

    def __init__(self, config: uvicorn.Config, changes: Changes) -> None:
        super().__init__(config)
        self._changes = changes

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        # uvicorn's own would end the process by the signal, before the store is closed.
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = {it: signal.signal(it, self.handle_exit) for it in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._changes.close()
        await super().shutdown(sockets)


class _Quiet(uvicorn.Server):
    """A server beside another one, to which signals belong."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def _config(app: ASGIApp) -> uvicorn.Config:
    return uvicorn.Config(
        app,
        log_config=None,
        access_log=False,
        server_header=False,
        ws="none",
        timeout_graceful_shutdown=SHUTDOWN_SECONDS,
    )
