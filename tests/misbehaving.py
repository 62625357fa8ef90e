"""A web server that does exactly what a test tells it, and so whatever a bad one may do."""

import contextlib
import socket
import ssl
import threading
from collections.abc import Callable
from typing import NamedTuple, Self

HANDS = 20.0
"""Seconds after which a hand that was told to wait gives up, so that no test hangs on the server."""


class Asked(NamedTuple):
    """A request as it came in: method, target, and headers by their names in lower case."""

    method: str
    target: str
    headers: dict[str, str]


Hand = Callable[[socket.socket, threading.Event], object]
"""Answers one request: writes what it likes; the event says that the server closes."""


class Misbehaving:
    """A server on a free port of the loopback; a context manager. Each target has its answer."""

    def __init__(self, tls: ssl.SSLContext | None = None) -> None:
        self.asked: list[Asked] = []
        self._answers: dict[str, Hand] = {}
        self._tls = tls
        self._closing = threading.Event()
        self._connections: list[socket.socket] = []
        self._threads: list[threading.Thread] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]

    def __enter__(self) -> Self:
        self._start(self._listen)
        return self

    def __exit__(self, *error: object) -> None:
        self._closing.set()
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for connection in self._connections:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(HANDS)
            assert not thread.is_alive(), "a hand of the server did not end"

    def url(self, target: str = "/", host: str = "127.0.0.1") -> str:
        return f"{'http' if self._tls is None else 'https'}://{host}:{self.port}{target}"

    def answer(self, target: str, hand: Hand | bytes) -> str:
        """Have `target` answered by `hand`, or by these bytes and the end. Return its URL."""
        self._answers[target] = hand if callable(hand) else lambda wire, _: wire.sendall(hand)
        return self.url(target)

    def _start(self, work: Callable[..., object], *arguments: object) -> None:
        thread = threading.Thread(target=work, args=arguments, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _listen(self) -> None:
        while not self._closing.is_set():
            try:
                wire, _ = self._listener.accept()
            except OSError:
                return
            self._start(self._serve, wire)

    def _serve(self, wire: socket.socket) -> None:
        with contextlib.suppress(OSError), wire:
            wire.settimeout(HANDS)
            if self._tls is not None:
                wire = self._tls.wrap_socket(wire, server_side=True)
            self._connections.append(wire)
            with wire:
                head = b""
                while b"\r\n\r\n" not in head:
                    more = wire.recv(65536)
                    if not more:
                        return
                    head += more
                lines = head.decode("latin-1").split("\r\n\r\n")[0].split("\r\n")
                method, target, _ = lines[0].split(" ")
                pairs = (line.split(": ", 1) for line in lines[1:])
                self.asked.append(Asked(method, target, {name.lower(): value for name, value in pairs}))
                self._answers.get(target, _missing)(wire, self._closing)


def _missing(wire: socket.socket, _: threading.Event) -> None:
    wire.sendall(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")


def ok(body: bytes, *headers: str) -> bytes:
    """Return a response that is as it should be."""
    lines = ["HTTP/1.1 200 OK", f"Content-Length: {len(body)}", *headers]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def redirect(location: str, status: int = 302, *headers: str) -> bytes:
    lines = [f"HTTP/1.1 {status} Elsewhere", f"Location: {location}", "Content-Length: 0", *headers]
    return "\r\n".join(lines).encode() + b"\r\n\r\n"


def drip(data: bytes, then: bytes = b"", every: float = 0.02) -> Hand:
    """Send `data`, and then for ever `then`, a piece at a time with a rest in between."""

    def hand(wire: socket.socket, closing: threading.Event) -> None:
        wire.sendall(data)
        while not closing.wait(every):
            wire.sendall(then)

    return hand


def flood(data: bytes, then: bytes) -> Hand:
    """Send `data`, and then for ever `then`, as fast as it is read."""

    def hand(wire: socket.socket, closing: threading.Event) -> None:
        wire.sendall(data)
        while not closing.is_set():
            wire.sendall(then)

    return hand


def tunnel(port: int) -> Hand:
    """Be a proxy that connects to `port` of this machine, wherever it is asked to."""

    def hand(wire: socket.socket, closing: threading.Event) -> None:
        with socket.create_connection(("127.0.0.1", port)) as beyond:
            wire.sendall(b"HTTP/1.1 200 Connected\r\n\r\n")
            back = threading.Thread(target=_pump, args=(beyond, wire), daemon=True)
            back.start()
            _pump(wire, beyond)
            back.join(HANDS)

    return hand


def _pump(source: socket.socket, sink: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(65536):
            sink.sendall(data)
    with contextlib.suppress(OSError):
        sink.shutdown(socket.SHUT_WR)
