"""The bytes of a file as an answer: whole, in ranges, or not at all because the client has them.

Starlette's own file response takes a thread for each step and never answers 304. Here what a local
store can tell at once is answered in the event loop: a look-up in SQLite takes some 10 µs, a hop to a
thread ten times as much. Bytes are read there only if the kernel has them in memory (`preadv2` with
RWF_NOWAIT), so that no disk stops the loop. All else takes one hop to a thread, and one for each chunk.
"""

import asyncio
import io
import os
import secrets
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from functools import lru_cache, partial
from typing import BinaryIO

from mediakeep.catalogs import Registration
from mediakeep.errors import BlobError
from mediakeep.http.answers import Headers
from mediakeep.http.conditions import Span, Validators, precondition, wanted_spans
from mediakeep.http.fields import CSP, content_type, disposition, http_date
from mediakeep.http.problems import Problem
from mediakeep.http.service import Call, Disconnected
from mediakeep.model import MediaMeta
from mediakeep.store import MediaStore

CHUNK = 256 << 10
"""How much is read at a time. An answer of no more is in memory before it begins, and needs no lease."""

_PAUSES = (0.005, 0.02, 0.08)
"""In seconds, before a small file is read again that became shorter while it was read."""

_NOWAIT = getattr(os, "RWF_NOWAIT", 0)


async def send_file(call: Call) -> None:
    """Answer a GET or HEAD of the bytes of the ref that the path names.

    While more than CHUNK bytes are under way a lease holds the file.

    Raises:
        Problem: it is not to be seen, a precondition fails, or it has no such bytes.
        MediaError: it is not live, or cannot be read.
    """
    head = call.scope["method"] == "HEAD"
    begun = _begin(call, head, at_once=True) if call.service.local else None
    if begun is None:
        with call.service.traces.verb("open"):
            work = partial(_begin_in_thread, call, head)
            begun = await call.service.read(work, undo=_Begun.give_back)
    try:
        start = {"type": "http.response.start", "status": begun.status, "headers": begun.headers}
        await call.send(start)
        if begun.source is None:
            await call.send({"type": "http.response.body", "body": begun.small})
            return
        async with _noticing_the_end(call) as ended:
            await _send_spans(call, begun, begun.source, ended)
    finally:
        if begun.lease is not None:
            await call.service.reading.finish(begun.give_back)
        else:
            begun.give_back()


@dataclass(slots=True)
class _Begun:
    """An answer that has been decided on."""

    status: int
    headers: Headers
    small: bytes | bytearray = b""
    source: "_Source | None" = None
    spans: list[Span] = field(default_factory=list)
    between: list[bytes] = field(default_factory=list)
    """What comes before each span, and after the last one."""
    store: MediaStore | None = None
    lease: int | None = None

    def give_back(self) -> None:
        """Close the file and end the lease."""
        if self.source is not None:
            self.source.file.close()
        if self.lease is not None and self.store is not None:
            number, self.lease = self.lease, None
            self.store._end_lease(number)


def _begin(call: Call, head: bool, at_once: bool = False) -> _Begun | None:
    """Look up, decide, and read what is small; None if it is not to be done `at_once`."""
    store = call.service.store
    found = call.look_up()
    if found.sha256:
        now = Validators(f'"{found.sha256}"', int(found.stored_at))
        status = precondition(call.headers, now)
        if status != 200 or head:
            return _without_bytes(call, found, now, status, found.size)
    elif at_once:
        return None  # where it lies may be anywhere
    try:
        file = store._blobs.open(found.location) if at_once else store.open(call.ref)
    except OSError:
        if at_once:
            return None  # the store tells better what is wrong
        raise
    kept_open = False
    try:
        source = _Source(file)
        if not found.sha256:
            # Registered where it lies: others may change it, and within one tick of its clock too.
            now = Validators(f'W/"{source.modified_ns:x}-{source.size:x}"', source.modified_ns // 10**9)
            status = precondition(call.headers, now)
            if status != 200 or head:
                return _without_bytes(call, found, now, status, source.size)
        elif source.size != found.size:
            raise BlobError(
                f"{found.location} has {source.size} bytes and should have {found.size}: "
                "see `mediakeep check --deep`"
            )
        begun = _decide(call, found, now, source.size)
        if sum(span.length for span in begun.spans) > CHUNK:
            if at_once:
                return None
            begun.store = store
            begun.lease, _ = store._begin_lease(call.ref)
            begun.source = source
            kept_open = True
            return begun
        parts = []
        for span in begun.spans:
            part = source.read_now(*span) if at_once else source.read(*span)
            if part is None:
                return None
            parts.append(part)
        begun.small = _woven(begun.between, parts)
        return begun
    finally:
        if not kept_open:
            file.close()


def _begin_in_thread(call: Call, head: bool) -> _Begun:
    for pause in _PAUSES:
        try:
            begun = _begin(call, head)
        except _ShorterError:  # whoever registered it where it lies may be writing it anew
            time.sleep(pause)
        else:
            break
    else:
        begun = _begin(call, head)
    if begun is None:
        raise AssertionError  # only what is to be done at once may be given up
    return begun


def _without_bytes(call: Call, found: Registration, now: Validators, status: int, size: int) -> _Begun:
    if status == 412:
        raise Problem(412, "PreconditionFailed", "the file is not the one that the request speaks of")
    if status == 304:  # what the client has been told with the bytes is not told again (section 15.4.5)
        return _Begun(304, [(b"etag", now.etag.encode()), _KEEP, _policy(call)])
    headers = _headers(call, found, now)
    headers.append((b"content-length", b"%d" % size))
    return _Begun(status, headers)


def _decide(call: Call, found: Registration, now: Validators, size: int) -> _Begun:
    headers = _headers(call, found, now)
    spans = wanted_spans(call.headers, now, size)
    if spans is None:
        headers.append((b"content-length", b"%d" % size))
        return _Begun(200, headers, spans=[Span(0, size)], between=[b"", b""])
    if not spans:
        raise Problem(
            416,
            "RangeNotSatisfiable",
            f"the file has {size} bytes",
            [(b"content-range", b"bytes */%d" % size)],
        )
    if len(spans) == 1:
        headers.append((b"content-range", _content_range(spans[0], size)))
        headers.append((b"content-length", b"%d" % spans[0].length))
        return _Begun(206, headers, spans=spans, between=[b"", b""])
    return _parts(headers, spans, size)


def _parts(headers: Headers, spans: list[Span], size: int) -> _Begun:
    """Return several ranges as multipart/byteranges (RFC 9110, section 14.6)."""
    boundary = secrets.token_hex(16).encode()
    kind = dict(headers)[b"content-type"]
    between = [
        b"%s--%s\r\nContent-Type: %s\r\nContent-Range: %s\r\n\r\n"
        % (b"\r\n" if number else b"", boundary, kind, _content_range(span, size))
        for number, span in enumerate(spans)
    ]
    between.append(b"\r\n--%s--\r\n" % boundary)
    length = sum(map(len, between)) + sum(span.length for span in spans)
    headers = [(name, value) for name, value in headers if name != b"content-type"]
    headers.append((b"content-type", b"multipart/byteranges; boundary=" + boundary))
    headers.append((b"content-length", b"%d" % length))
    return _Begun(206, headers, spans=spans, between=between)


def _content_range(span: Span, size: int) -> bytes:
    return b"bytes %d-%d/%d" % (span.start, span.start + span.length - 1, size)


def _headers(call: Call, found: Registration, now: Validators) -> Headers:
    shown = _shown(found.meta, call.query["download"])
    return [
        *shown,
        (b"etag", now.etag.encode()),
        (b"last-modified", http_date(now.modified).encode()),
        *_ALWAYS,
        _policy(call),
    ]


def _policy(call: Call) -> tuple[bytes, bytes]:
    # A link is for others to use, also in their pages; a token's answers are not.
    return b"cross-origin-resource-policy", b"cross-origin" if call.by_link else b"same-origin"


@lru_cache(maxsize=4096)
def _shown(meta: MediaMeta, attachment: bool) -> Headers:
    kind = content_type(meta)
    shown = disposition(meta, kind, attachment=attachment)
    return [(b"content-type", kind.encode()), (b"content-disposition", shown.encode("ascii"))]


# The bytes of a ref never change, but the ref may end: so whoever keeps them asks each time.
_KEEP = (b"cache-control", b"private, no-cache")
_ALWAYS: Headers = [
    (b"accept-ranges", b"bytes"),
    _KEEP,
    (b"x-content-type-options", b"nosniff"),
    (b"content-security-policy", CSP),
    (b"referrer-policy", b"no-referrer"),
]


def _woven(between: list[bytes], parts: list[bytes | bytearray]) -> bytes | bytearray:
    if len(parts) == 1:
        return parts[0] if not between[0] else b"".join((between[0], parts[0], between[1]))
    return b"".join(it for pair in zip(between, [*parts, b""], strict=True) for it in pair)


# -- what is large


async def _send_spans(call: Call, begun: _Begun, source: "_Source", ended: asyncio.Event) -> None:
    for between, span in zip(begun.between, begun.spans, strict=False):
        if between:
            await call.send({"type": "http.response.body", "body": between, "more_body": True})
        at, end = span.start, span.start + span.length
        while at < end:
            length = min(CHUNK, end - at)
            chunk = source.read_now(at, length)
            if chunk is None:
                chunk = await call.service.read(partial(source.read, at, length))
            at += len(chunk)
            await call.send({"type": "http.response.body", "body": chunk, "more_body": True})
            await asyncio.sleep(0)  # a client as fast as we are leaves others no turn otherwise
            if ended.is_set():
                raise Disconnected
    await call.send({"type": "http.response.body", "body": begun.between[-1]})


@asynccontextmanager
async def _noticing_the_end(call: Call) -> AsyncIterator[asyncio.Event]:
    """Give an event that is set once the client has gone: sending does not tell."""
    ended = asyncio.Event()

    async def listen() -> None:
        while (await call.receive())["type"] != "http.disconnect":
            pass
        ended.set()

    task = asyncio.create_task(listen())
    try:
        yield ended
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


class _ShorterError(BlobError):
    pass


class _Source:
    """An open file that is read from wherever it is wanted."""

    __slots__ = ("_handle", "file", "modified_ns", "size")

    def __init__(self, file: BinaryIO) -> None:
        self.file = file
        try:
            self._handle = file.fileno()
        except io.UnsupportedOperation:  # an object: a stream from a server
            self._handle = -1
            self.size = file.seek(0, io.SEEK_END)
            self.modified_ns = 0
            file.seek(0)
        else:
            found = os.fstat(self._handle)
            self.size, self.modified_ns = found.st_size, found.st_mtime_ns

    def read(self, at: int, length: int) -> bytes:
        """Return `length` bytes from `at` on.

        Raises:
            BlobError: they cannot be read, or the file has become shorter.
        """
        parts = []
        try:
            if self._handle < 0:
                self.file.seek(at)
            while length:
                if self._handle >= 0:
                    part = os.pread(self._handle, length, at)
                else:
                    part = self.file.read(length)
                if not part:
                    raise _ShorterError("a file has become shorter while it was read")
                parts.append(part)
                at, length = at + len(part), length - len(part)
        except OSError as error:
            raise BlobError(f"cannot read on: {error.strerror or error}") from error
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def read_now(self, at: int, length: int) -> bytes | bytearray | None:
        """Return bytes from `at` on that are in memory, None if that means to wait for a disk."""
        if self._handle < 0 or not _NOWAIT:
            return None
        if not length:
            return b""
        room = bytearray(length)
        try:
            count = os.preadv(self._handle, [room], at, _NOWAIT)
        except OSError:  # not in memory, or the file system cannot tell
            return None
        # Part of it: the rest is on the disk, or the file has become shorter.
        return room if count == length else None
