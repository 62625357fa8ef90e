"""Connections to addresses that were checked, none of which outlives a deadline.

The only module that knows of sockets: a network backend for httpcore2, which is where that library
wants such things to be (its documentation, "Network Backends").
"""

import ssl
import time
from collections.abc import Callable, Iterable
from typing import Any

import httpcore2

from mediakeep.intake.addresses import Address, resolve


class Deadline:
    """A point in time that nothing may take longer than."""

    __slots__ = ("_ends_at",)

    def __init__(self, max_seconds: float) -> None:
        self._ends_at = time.monotonic() + max_seconds

    def left(self) -> float:
        """Return how many seconds are left.

        Raises:
            TimeoutError: none are.
        """
        seconds = self._ends_at - time.monotonic()
        if seconds <= 0:
            raise TimeoutError
        return seconds


class CheckedBackend(httpcore2.NetworkBackend):
    """Resolves each name itself, has all its addresses judged, and connects to one of just these.

    So no second look-up can give another answer than the one that was judged, and whatever spelling a
    host has is judged by what it means. The name stays what it was for the `Host` header and for TLS.

    Args:
        deadline: ends whatever still goes on then, byte by byte as well as not at all.
        judge: raises for a host that is not to be connected to.
    """

    def __init__(self, deadline: Deadline, judge: Callable[[str, list[Address]], object]) -> None:
        self._deadline = deadline
        self._judge = judge
        self._backend = httpcore2.SyncBackend()

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ARG002
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore2.NetworkStream:
        """Connect to the first address of `host` that answers, each having a fair share of the time."""
        try:
            addresses = resolve(host, port, self._deadline.left())
        except TimeoutError:
            raise
        except OSError as error:
            raise httpcore2.ConnectError(f"its host is not found: {error}") from error
        self._judge(host, addresses)
        failure: Exception = httpcore2.ConnectError("its host has no address")
        for tried, address in enumerate(addresses):
            share = self._deadline.left() / (len(addresses) - tried)
            try:
                stream = self._backend.connect_tcp(
                    address.host, port, share, local_address, socket_options
                )
            except (httpcore2.ConnectError, httpcore2.ConnectTimeout) as error:
                failure = error
            else:
                return _TimedStream(stream, self._deadline)
        raise failure


class _TimedStream(httpcore2.NetworkStream):
    """A stream whose every read and write ends with the deadline."""

    def __init__(self, stream: httpcore2.NetworkStream, deadline: Deadline) -> None:
        self._stream = stream
        self._deadline = deadline

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:  # noqa: ARG002
        return self._stream.read(max_bytes, self._deadline.left())

    def write(self, buffer: bytes, timeout: float | None = None) -> None:  # noqa: ARG002
        self._stream.write(buffer, self._deadline.left())

    def close(self) -> None:
        self._stream.close()

    def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,  # noqa: ARG002
    ) -> httpcore2.NetworkStream:
        secured = self._stream.start_tls(ssl_context, server_hostname, self._deadline.left())
        return _TimedStream(secured, self._deadline)

    def get_extra_info(self, info: str) -> Any:
        return self._stream.get_extra_info(info)
