"""Between workers and a server: hears each request and each answer whole, and lets a gate decide.

A gate may let them pass, hold them up, change them, or cut the connection. Requests of S3 are those of
HTTP/1.1 (RFC 9112); those of PostgreSQL what is sent up to a Sync or as a simple query, answered up to
ReadyForQuery (https://www.postgresql.org/docs/current/protocol-message-formats.html).
"""

import contextlib
import re
import socket
import struct
import threading
from collections.abc import Callable
from functools import partial
from typing import NamedTuple, Self

TLS, GSS, CANCEL = 80877103, 80877104, 80877102
"""What a client of PostgreSQL may ask for before it begins."""

PATIENCE = 60.0

ARM = "/now/it/counts"
"""A path that no server is asked for: by it a worker tells a gate that what follows counts."""


class Asked(NamedTuple):
    """A request."""

    what: str
    """In a few words: `PUT marker`, `INSERT INTO refs`, `COMMIT`."""
    data: bytes


class Cut(Exception):
    """Cut the connection, after so much of the answer."""

    def __init__(self, passed: bytes = b"") -> None:
        self.passed = passed


class Gate:
    """Lets all pass. Each hook may block; it may raise `Cut`."""

    def connect(self) -> None:
        """Somebody connects."""

    def ask(self, asked: Asked) -> bytes | None:
        """A request has come, and has not been sent on; what this returns is the answer to it."""

    def answer(self, asked: Asked, answer: bytes) -> bytes:
        """Its answer has come; return what is sent back."""
        return answer

    def close(self) -> None:
        """Let go of whatever is held up."""


class Proxy:
    """A proxy on a free port of the loopback; a context manager. `gate` may be changed at any time."""

    def __init__(self, port: int, talk: "Talk", gate: Gate | None = None) -> None:
        self._target = port
        self._talk = talk
        self.gate = gate or Gate()
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=100)
        self.port: int = self._listener.getsockname()[1]
        self._open: set[socket.socket] = set()
        self._threads: list[threading.Thread] = []

    def __enter__(self) -> Self:
        self._start(self._listen)
        return self

    def __exit__(self, *error: object) -> None:
        self.gate.close()
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.cut_all()
        for thread in list(self._threads):
            thread.join(PATIENCE)
            assert not thread.is_alive()

    def cut_all(self) -> None:
        """Cut every connection that there is."""
        for one in list(self._open):
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)

    def _start(self, work: Callable[..., None], *arguments: object) -> None:
        thread = threading.Thread(target=work, args=arguments, daemon=True)
        self._threads = [it for it in self._threads if it.is_alive()] + [thread]
        thread.start()

    def _listen(self) -> None:
        while True:
            try:
                near, _ = self._listener.accept()
            except OSError:
                return
            self._start(self._serve, near)

    def _serve(self, near: socket.socket) -> None:
        with near, contextlib.suppress(OSError, EOFError, Cut):
            self.gate.connect()
            near.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            with socket.create_connection(("127.0.0.1", self._target)) as far:
                far.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                self._open |= {near, far}
                try:
                    self._talk(Wire(near), Wire(far), self._pass)
                finally:
                    self._open -= {near, far}

    def _pass(self, asked: Asked, near: "Wire", far: "Wire", read: Callable[[], bytes]) -> None:
        """Pass one request on, and its answer back."""
        gate = self.gate
        given = gate.ask(asked)
        if given is None:
            far.send(asked.data)
            try:
                given = gate.answer(asked, read())
            except Cut as cut:
                near.send(cut.passed)
                raise
        near.send(given)


class Wire:
    """One end of a connection."""

    def __init__(self, end: socket.socket) -> None:
        self._end = end
        self._left = bytearray()

    def send(self, data: bytes) -> None:
        self._end.sendall(data)

    def exactly(self, count: int) -> bytes:
        while len(self._left) < count:
            self._more()
        taken = bytes(self._left[:count])
        del self._left[:count]
        return taken

    def until(self, mark: bytes) -> bytes:
        while (at := self._left.find(mark)) < 0:
            self._more()
        return self.exactly(at + len(mark))

    def to_the_end(self) -> bytes:
        with contextlib.suppress(EOFError):
            while True:
                self._more()
        return self.exactly(len(self._left))

    def _more(self) -> None:
        data = self._end.recv(1 << 18)
        if not data:
            raise EOFError
        self._left += data


Pass = Callable[[Asked, Wire, Wire, Callable[[], bytes]], None]
Talk = Callable[[Wire, Wire, Pass], None]


# -- S3


def speak_s3(near: Wire, far: Wire, passed: Pass) -> None:
    """Pass requests of HTTP on, one after the other."""
    while True:
        head = near.until(b"\r\n\r\n")
        asked = Asked(_s3_words(head), head + _body(near, head))
        passed(asked, near, far, partial(_http_answer, far, head.startswith(b"HEAD ")))


_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)\r\n", re.IGNORECASE)
_CHUNKED = re.compile(rb"\r\ntransfer-encoding: *chunked\r\n", re.IGNORECASE)


def _http_answer(wire: Wire, is_head: bool) -> bytes:
    head = wire.until(b"\r\n\r\n")
    if is_head or head[9:12] in (b"204", b"304"):
        return head
    if not _LENGTH.search(head) and not _CHUNKED.search(head):
        return head + wire.to_the_end()
    return head + _body(wire, head)


def _body(wire: Wire, head: bytes) -> bytes:
    if _CHUNKED.search(head):
        body = bytearray()
        while True:
            size = wire.until(b"\r\n")
            body += size + wire.exactly(int(size, 16) + 2)
            if int(size, 16) == 0:
                return bytes(body)
    found = _LENGTH.search(head)
    return wire.exactly(int(found[1])) if found else b""


def _s3_words(head: bytes) -> str:
    """Return what a request asks, such as `PUT marker`."""
    method, target, _ = head.split(b"\r\n", 1)[0].decode("ascii").split(" ")
    path, _, query = target.partition("?")
    for sign, what in (
        ("partNumber=", "part"),
        ("uploadId=", "upload"),
        ("uploads", "uploads"),
        ("delete", "delete"),
        ("list-type", "list"),
    ):
        if sign in query:
            return f"{method} {what}"
    for sign, what in (
        ("/tmp/writer.", "marker"),
        ("/tmp/left.", "left"),
        ("/tmp/clock.", "clock"),
        (ARM, "arm"),
    ):
        if sign in path:
            return f"{method} {what}"
    return f"{method} object"


# -- PostgreSQL


def speak_postgres(near: Wire, far: Wire, passed: Pass) -> None:
    """Pass the start of a session on as it is, and then each query."""
    while True:
        length = near.exactly(4)
        start = near.exactly(struct.unpack("!i", length)[0] - 4)
        code = struct.unpack("!i", start[:4])[0]
        if code not in (TLS, GSS):
            break
        near.send(b"N")
    far.send(length + start)
    if code == CANCEL:
        return
    near.send(_to_ready(far))
    prepared: dict[bytes, str] = {}
    while True:
        asked = _query(near, prepared)
        if asked is None:
            return
        passed(asked, near, far, lambda: _to_ready(far))


def _message(wire: Wire) -> tuple[bytes, bytes]:
    """Return the kind of the next message, and all of it."""
    head = wire.exactly(5)
    return head[:1], head + wire.exactly(struct.unpack("!i", head[1:])[0] - 4)


def _query(wire: Wire, prepared: dict[bytes, str]) -> Asked | None:
    """Return what the client sends up to where it waits for an answer; None if it ends."""
    data, words = bytearray(), ""
    while True:
        kind, message = _message(wire)
        data += message
        if kind == b"X":
            return None
        if kind == b"Q":
            return Asked(_sql_words(message[5:-1]), bytes(data))
        if kind == b"P":
            name, sql, _ = message[5:].split(b"\0", 2)
            words = prepared[name] = _sql_words(sql)
        elif kind == b"B":
            words = prepared.get(message[5:].split(b"\0", 2)[1], words)
        elif kind in (b"S", b"c", b"f"):
            return Asked(words, bytes(data))


def _to_ready(wire: Wire) -> bytes:
    """Return the answer up to where the client may go on."""
    data = bytearray()
    try:
        while True:
            kind, message = _message(wire)
            data += message
            if kind in (b"Z", b"G"):
                return bytes(data)
    except EOFError:
        if not data:
            raise
        return bytes(data)  # its last words


_VERB = re.compile(r"(?:INSERT INTO|UPDATE|DELETE FROM) (?:\"\w+\"\.)?(\w+)")


def _sql_words(sql: bytes) -> str:
    """Return what a statement does: what it writes first, or else how it begins."""
    text = " ".join(sql.decode("utf-8", "replace").split())
    found = _VERB.search(text)
    if found and "FOR UPDATE" not in text[: found.start()]:
        return f"{found[0].split()[0]} {found[1]}"
    return " ".join(text.split()[:2]) if text[:6] in ("SELECT", "WITH m", "WITH h") else text[:40]
