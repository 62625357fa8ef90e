"""Connections that notice an answer which comes before the request has been sent to its end."""

import ssl
from collections.abc import Iterable
from typing import Any

import httpcore2


class AttentiveBackend(httpcore2.NetworkBackend):
    """Connects as httpcore2 does; what it gives stops writing once the server has answered.

    A server that refuses an upload says so at once. httpcore2 would send on to the end of a source that
    may have none, and read the answer only then; a failed write is what has it read at once. Over TLS
    that cannot be seen from outside, since what comes in may be TLS's own: there it sends until the
    server closes.
    """

    def __init__(self) -> None:
        self._backend = httpcore2.SyncBackend()

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore2.NetworkStream:
        """Connect to the host."""
        stream = self._backend.connect_tcp(host, port, timeout, local_address, socket_options)
        return _AttentiveStream(stream)


class _AttentiveStream(httpcore2.NetworkStream):
    def __init__(self, stream: httpcore2.NetworkStream) -> None:
        self._stream = stream

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return self._stream.read(max_bytes, timeout)

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        if self._stream.get_extra_info("is_readable"):
            raise httpcore2.WriteError("the server has answered, or gone, before it was asked")
        self._stream.write(buffer, timeout)

    def close(self) -> None:
        self._stream.close()

    def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,
    ) -> httpcore2.NetworkStream:
        return self._stream.start_tls(ssl_context, server_hostname, timeout)

    def get_extra_info(self, info: str) -> Any:
        return self._stream.get_extra_info(info)
