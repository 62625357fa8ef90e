"""The body of a response, decoded in bounded steps."""

import zlib
from collections.abc import Iterable, Iterator

STEP = 1 << 16
"""How many bytes come out at a time, however small they were packed."""


def gunzipped(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """Yield what the gzip members in `chunks` hold (RFC 1952), `STEP` bytes at a time.

    Raises:
        zlib.error: it is no gzip, or ends too soon.
    """
    member = None
    for chunk in chunks:
        rest = chunk
        while rest:
            member = member or zlib.decompressobj(wbits=16 + zlib.MAX_WBITS)
            data = member.decompress(rest, STEP)
            if data:
                yield data
            if member.eof:
                rest, member = member.unused_data, None  # another one may follow
            else:
                rest = member.unconsumed_tail
    if member is not None:
        raise zlib.error("it ends too soon")
