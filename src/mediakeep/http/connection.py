"""One connection: uvicorn's, which here also notices clients that are too slow or say too much."""

import asyncio
import socket
from typing import Any

from uvicorn.protocols.http.httptools_impl import (
    STATUS_LINE,
    HttpToolsProtocol,
    RequestResponseCycle,
)

from mediakeep.http.config import ServerConfig

TICKS = 4
"""How often a time limit is looked at before it is over."""


class Connection(HttpToolsProtocol):
    """Cuts off who sends a head too slowly or too large, and who does not take what is sent.

    The limits come with the application's lifespan state. How slowly a body may come is the business of
    who reads it.
    """

    _arriving = 0
    _head_bytes = 0
    _head_since: float | None = None
    _timer: asyncio.TimerHandle | None = None
    _waiting_bytes = 0
    _waiting_since = 0.0
    _moved = False

    @property
    def _limits(self) -> ServerConfig:
        config: ServerConfig = self.app_state["config"]
        return config

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin to watch."""
        super().connection_made(transport)
        taken = transport.get_extra_info("socket")
        if taken is not None and taken.family in (socket.AF_INET, socket.AF_INET6):
            # asyncio does so only where the listener was made with the number of the protocol. Without
            # it the second packet of an answer waits for the client's delayed acknowledgement, 40 ms.
            taken.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._head_since = self._waiting_since = self.loop.time()
        self._watch()

    def connection_lost(self, exc: Exception | None) -> None:
        """Watch no longer."""
        if self._timer is not None:
            self._timer.cancel()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Take what the client sends."""
        self._arriving = len(data)
        super().data_received(data)
        if self._head_since is not None and self.parser is not None:
            self._head_bytes += len(data)  # what is in a name or value that has no end yet, too
            if self._head_bytes > self._limits.max_head_bytes and not self.transport.is_closing():
                self.send_400_response("")

    def on_message_begin(self) -> None:
        """Begin to count a head."""
        super().on_message_begin()
        self._head_bytes = 0
        self._head_since = self.loop.time()

    def on_headers_complete(self) -> None:
        """Stop counting."""
        most = self._limits.max_head_bytes
        if self._head_bytes + self._arriving > most:  # a part of that may be another request's
            size = len(self.url) + sum(len(name) + len(value) + 4 for name, value in self.headers)
            self._head_bytes = size
            if size > most:
                raise ValueError(
                    "the head is too large"
                )  # which the parser tells as an error of its own
        self._head_since = None
        super().on_headers_complete()

    def send_400_response(self, msg: str) -> None:  # noqa: ARG002
        """Say that the request is none, or has too large a head, and close."""
        status = 431 if self._head_bytes > self._limits.max_head_bytes else 400
        head = STATUS_LINE[status] + b"content-length: 0\r\nconnection: close\r\n\r\n"
        # In the middle of another answer it would be taken for a part of that.
        if self.cycle is None or self.cycle.response_complete or not self.cycle.response_started:
            self.transport.write(head)
        self.transport.close()

    def resume_writing(self) -> None:
        """Go on sending."""
        self._moved = True
        super().resume_writing()

    def shutdown(self) -> None:
        """Finish what is under way, and tell what has no end of its own to end."""
        self.app_state["closing"].set()
        super().shutdown()

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        if cycle.scope["method"] != "HEAD":  # where no body comes that the head could go with
            cycle.transport = _HeadWithBody(self.transport, self.loop)  # type: ignore[assignment]
        super()._start_asgi_task(cycle, app)

    def _watch(self) -> None:
        limits, now = self._limits, self.loop.time()
        waiting = self.transport.get_write_buffer_size()
        if not waiting or self._moved or waiting < self._waiting_bytes:
            self._waiting_since, self._moved = now, False
        elif now - self._waiting_since > limits.write_seconds:
            self.transport.abort()  # to close would mean to wait for it
            return
        self._waiting_bytes = waiting
        idle = self.cycle is None or self.cycle.response_complete
        if (
            idle
            and self._head_since is not None
            and now - self._head_since > limits.head_seconds
            and not self.transport.is_closing()
        ):
            self.transport.close()
        self._timer = self.loop.call_later(
            min(limits.head_seconds, limits.write_seconds) / TICKS, self._watch
        )


class _HeadWithBody:
    """A transport for one answer, which sends its head together with the first piece of its body.

    uvicorn writes them one by one: two calls of the kernel and two packets, and a client that is woken
    twice. A head whose body does not follow at once goes by itself.
    """

    __slots__ = ("_began", "_head", "_loop", "_transport")

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        self._transport = transport
        self._loop = loop
        self._head = b""
        self._began = False

    def write(self, data: bytes) -> None:
        if self._head:
            head, self._head = self._head, b""
            self._transport.writelines((head, data) if data else (head,))
        elif self._began:
            self._transport.write(data)
        else:
            self._began = True
            self._head = data
            self._loop.call_soon(self._send_head)

    def close(self) -> None:
        self._send_head()
        self._transport.close()

    def is_closing(self) -> bool:
        return self._transport.is_closing()

    def _send_head(self) -> None:
        if self._head and not self._transport.is_closing():
            self._transport.write(self._head)
        self._head = b""


def options(config: ServerConfig) -> dict[str, Any]:
    """Return what uvicorn is to be told besides the application."""
    return {
        "http": Connection,
        "ws": "none",
        "lifespan": "on",
        "log_config": None,
        "access_log": False,
        "server_header": False,
        "date_header": False,
        "proxy_headers": bool(config.trusted_proxies),
        "forwarded_allow_ips": list(config.trusted_proxies),
        "limit_concurrency": config.max_connections,
        "timeout_keep_alive": 15,
        "timeout_graceful_shutdown": config.shutdown_seconds,
        "workers": config.workers,
    }
