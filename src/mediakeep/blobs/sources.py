"""What bytes can come from, cut into chunks."""

import os
from collections.abc import Iterable, Iterator
from typing import BinaryIO

CHUNK = 1 << 20
"""How many bytes are read from a stream at a time."""

Chunk = bytes | bytearray | memoryview

Source = Chunk | BinaryIO | Iterable[Chunk]
"""What can be put: bytes, a binary stream that is read to its end, or the chunks one by one."""


def chunks(source: Source) -> Iterator[memoryview]:
    """Yield the bytes of `source`, in the pieces in which they come.

    Raises:
        TypeError: it gives something else than bytes.
    """
    if isinstance(source, Chunk):
        yield memoryview(source).cast("B")
        return
    if isinstance(source, str | os.PathLike):
        raise TypeError(
            f"put takes bytes, a stream or a Path, not {source!r}: give Path(…) to have a file copied"
        )
    read = getattr(source, "read", None)
    for chunk in iter(lambda: read(CHUNK), b"") if callable(read) else iter(source):
        if not isinstance(chunk, Chunk):
            raise TypeError(f"put takes bytes, and its source gave {type(chunk).__name__}")
        yield memoryview(chunk).cast("B")
