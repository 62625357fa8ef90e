"""The bytes of a source on their way to a server: as they come, and again if the source allows it."""

from collections.abc import Iterator

from mediakeep.blobs.sources import Chunk, Source, chunks

PIECE = 256 << 10


class Body:
    """Iterates over the bytes of `source`, in pieces of at most 256 KiB.

    `length` is how many there are, None if that is not known before they have been read. `error` is what
    reading the source raised.
    """

    __slots__ = ("_began_at", "_source", "begun", "can_repeat", "error", "length")

    def __init__(self, source: Source) -> None:
        whole = isinstance(source, Chunk)
        self.length = memoryview(source).nbytes if isinstance(source, Chunk) else None
        self._source = source
        self._began_at = None if whole else _position(source)
        self.can_repeat = whole or self._began_at is not None
        self.begun = False
        self.error: BaseException | None = None

    def start(self) -> None:
        """Be ready to be read from the start, for the first time or again."""
        self.error = None
        if self.begun and self._began_at is not None:
            self._source.seek(self._began_at)  # type: ignore[union-attr]

    def __iter__(self) -> Iterator[bytes]:
        self.begun = True
        try:
            for chunk in chunks(self._source):
                for start in range(0, len(chunk), PIECE):
                    # A copy, since what is not bytes may be changed by whoever gave it.
                    yield bytes(chunk[start : start + PIECE])
        except GeneratorExit:
            raise
        except BaseException as error:
            self.error = error
            raise


def _position(source: object) -> int | None:
    """Return where a stream stands that can go back there, None for any other."""
    try:
        if source.seekable():  # type: ignore[attr-defined]
            return int(source.tell())  # type: ignore[attr-defined]
    except (AttributeError, OSError, ValueError):
        return None
    return None
