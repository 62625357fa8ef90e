"""More bytes than one request should hold: an object in parts (S3's multipart upload), as they come."""

import queue
import threading
from collections.abc import Iterator
from types import TracebackType
from typing import Self

import obstore

from mediakeep.blobs.remote import Remote

PART_BYTES = 8 << 20
"""What is written in one request at most, and held in memory before; more goes in such parts."""

PARTS_AT_ONCE = 4

MAX_BYTES = 10_000 * PART_BYTES
"""S3 takes 10,000 parts an object (S3 User Guide, "Amazon S3 multipart upload limits")."""

_WAITING = 8


class Parts:
    """One upload in parts, as a context manager; at its end the object is there.

    It runs in a thread of its own: a source that reads from an object store itself could not be read
    inside obstore. A block that raises ends the upload instead of breaking it off, which would leave its
    parts for ever; the caller then deletes the object, which lacks its end.
    """

    __slots__ = ("_attributes", "_failure", "_key", "_remote", "_thread", "_waiting")

    def __init__(self, remote: Remote, key: str, attributes: dict[str, str]) -> None:
        self._remote = remote
        self._key = key
        self._attributes = attributes
        self._waiting: queue.Queue[bytes | memoryview | None] = queue.Queue(_WAITING)
        self._failure: BaseException | None = None
        self._thread = threading.Thread(target=self._send, name="mediakeep-parts", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def write(self, piece: bytes | memoryview) -> None:
        """Hand over the next bytes; waits while enough are on their way.

        Raises:
            OSError: the service has failed.
        """
        if self._failure is not None:
            raise self._failure
        self._waiting.put(piece)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._waiting.put(None)
        self._thread.join()
        if error is None and self._failure is not None:
            raise self._failure

    def _send(self) -> None:
        pieces: Iterator[bytes | memoryview] = iter(self._waiting.get, None)
        try:
            with self._remote.failing("write", self._key):
                obstore.put(
                    self._remote.store,
                    self._key,
                    pieces,
                    attributes=self._attributes,
                    use_multipart=True,
                    chunk_size=PART_BYTES,
                    max_concurrency=PARTS_AT_ONCE,
                )
        except BaseException as failure:
            self._failure = failure
            for _ in pieces:  # so that nobody waits for room
                pass
