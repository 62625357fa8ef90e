"""An object as a file: read as a stream from where it stands, and opened again elsewhere by a seek."""

import io
import time
from collections.abc import Iterator
from typing import Any

import obstore
from obstore.exceptions import BaseError

from mediakeep.blobs.remote import Remote

PIECE = 1 << 20
"""How many bytes are taken from the connection at a time: the most that is read ahead."""

ATTEMPTS = 4
"""How often in a row a broken connection is opened again before a reader gives up."""


class ObjectReader(io.RawIOBase):
    """The bytes of one object.

    Raises `OSError` where the service fails, `MediaMissing` (a `FileNotFoundError`) where it has no
    such object. A connection that breaks is opened again at the place where it broke.
    """

    def __init__(self, remote: Remote, name: str) -> None:
        super().__init__()
        self._remote = remote
        self._name = name
        self._at = 0
        self._result: Any = None
        self._stream: Iterator[bytes] | None = None
        self._piece = memoryview(b"")
        with remote.failing("read", name):
            self._result = obstore.get(remote.store, name)
        self.size: int = self._result.meta["size"]
        self.sha256: str = self._result.attributes.get("sha256", "")

    def readable(self) -> bool:
        """Return True."""
        return True

    def seekable(self) -> bool:
        """Return True."""
        return True

    def tell(self) -> int:
        """Return the position in bytes."""
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        """Go to a position; the next read asks for the bytes from there on."""
        if self.closed:
            raise ValueError("I/O operation on closed file")
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self.size}[whence]
        at = base + offset
        if at < 0:
            raise ValueError(f"negative seek position {at}")
        ahead = at - self._at
        if 0 <= ahead <= len(self._piece):
            self._piece = self._piece[ahead:]
        else:
            self._drop()
        self._at = at
        return at

    def readinto(self, buffer: Any, /) -> int:
        """Fill `buffer` with what comes next, as far as one piece goes."""
        if self.closed:
            raise ValueError("I/O operation on closed file")
        room = memoryview(buffer).cast("B")
        if not self._piece:
            self._piece = memoryview(self._next())
        count = min(len(room), len(self._piece))
        room[:count] = self._piece[:count]
        self._piece = self._piece[count:]
        self._at += count
        return count

    def pieces(self) -> Iterator[bytes]:
        """Yield all bytes from here to the end, each piece once."""
        while piece := bytes(self._piece) or self._next():
            self._piece = memoryview(b"")
            self._at += len(piece)
            yield piece

    def readall(self) -> bytes:
        """Return all bytes from here to the end."""
        return b"".join(self.pieces())

    def close(self) -> None:
        """Give the connection back."""
        self._drop()
        super().close()

    def _drop(self) -> None:
        self._result = self._stream = None
        self._piece = memoryview(b"")

    def _next(self) -> bytes:
        """Return the next piece, or nothing at the end."""
        if self._at >= self.size:
            return b""
        for attempt in range(ATTEMPTS):
            try:
                if self._stream is None:
                    if self._result is None:
                        options: Any = {"range": {"offset": self._at}}
                        self._result = obstore.get(self._remote.store, self._name, options=options)
                    self._stream = self._result.stream(min_chunk_size=PIECE)
                piece = next(self._stream, b"")
                if piece:
                    return piece
                raise EOFError  # the connection ended before the object did
            except (BaseError, EOFError) as error:
                self._drop()
                if attempt == ATTEMPTS - 1:
                    with self._remote.failing("read", self._name):
                        raise BaseError(str(error)) from None
                time.sleep(0.05 * 2**attempt)
            except FileNotFoundError:
                self._drop()
                with self._remote.failing("read", self._name):
                    raise
        raise AssertionError("unreachable")
