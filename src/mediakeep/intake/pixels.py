"""The size of a picture, from its headers: nothing is decoded, so no bomb goes off."""

import struct
from collections.abc import Callable, Iterator
from typing import BinaryIO, Final, TypeAlias

from mediakeep.intake.kinds import essence

__all__ = ["dimensions"]

MOST_BYTES = 1024 * 1024
"""How much of a file is read in all."""
_MOST_READS = 4096
"""How many pieces of a file are read in all."""
GIF_BYTES, GIF_READS = 64 << 20, 40_000
"""The same for GIF, which tells the sizes of its frames between their data."""

Size: TypeAlias = tuple[int, int]


def dimensions(file: BinaryIO, content_type: str) -> Size | None:
    """Return width and height in pixels of the picture that `file` is, read from its start.

    They are as stored: neither turned nor cropped as the metadata asks. Of several pictures in a file
    (pages, icons, frames, tiles) they are the greatest width and the greatest height of any, so that no
    decoder makes more of it. At most `MOST_BYTES` are read (of a GIF `GIF_BYTES`), and the position is
    put back.

    None if it cannot be told: another type, SVG (which has no pixels), a damaged header, or more headers
    than are read. Never raises for what the bytes are; what the file raises passes.
    """
    measure = _MEASURES.get(essence(content_type))
    if measure is None:
        return None
    position = file.tell()
    try:
        width, height = measure(_Bounded(file))
    except (_Damaged, _TooFar, struct.error):
        return None
    finally:
        file.seek(position)
    return (width, height) if width > 0 and height > 0 else None


class _Damaged(Exception):
    """The headers do not say."""


class _TooFar(Exception):
    """The headers say more than is read."""


class _Bounded:
    """A file of which only so much is read."""

    def __init__(self, file: BinaryIO, most_bytes: int = MOST_BYTES, reads: int = _MOST_READS) -> None:
        self._file = file
        self._bytes, self._reads = most_bytes, reads

    def widened(self, most_bytes: int, reads: int) -> "_Bounded":
        """Return the same file, of which more is read."""
        return _Bounded(self._file, most_bytes, reads)

    def at(self, start: int, count: int) -> bytes:
        """Return exactly `count` bytes."""
        data = self.upto(start, count)
        if len(data) < count:
            raise _Damaged
        return data

    def upto(self, start: int, count: int) -> bytes:
        """Return `count` bytes, or as many as there are."""
        self._bytes -= count
        self._reads -= 1
        if self._bytes < 0 or self._reads < 0:
            raise _TooFar
        if not 0 <= start < 1 << 62:
            raise _Damaged
        self._file.seek(start)
        data = self._file.read(count)
        while len(data) < count and (more := self._file.read(count - len(data))):
            data += more
        return data


def _png(file: _Bounded, start: int = 0) -> Size:
    # PNG (third edition) sections 5.3 and 11.2.1: IHDR comes first. Decoders believe the last one.
    if file.at(start, 8) != b"\x89PNG\r\n\x1a\n":
        raise _Damaged
    width = height = 0
    at = start + 8
    while True:
        head = file.upto(at, 16)
        kind = head[4:8]
        if kind == b"IHDR" and len(head) == 16:
            wide, high = struct.unpack_from(">II", head, 8)
            width, height = max(width, wide), max(height, high)
        elif not width:
            raise _Damaged
        elif len(head) < 8 or kind in (b"IDAT", b"IEND"):
            return width, height
        at += 12 + int.from_bytes(head[:4], "big")


def _gif(file: _Bounded) -> Size:
    # GIF89a section 18 and 20: decoders make the canvas as large as its frames, so all are looked at.
    file = file.widened(GIF_BYTES, GIF_READS)
    head = file.at(0, 13)
    if head[:6] not in (b"GIF87a", b"GIF89a"):
        raise _Damaged
    width, height, flags = struct.unpack_from("<HHB", head, 6)
    at = 13 + _color_table(flags)
    while True:
        block = file.upto(at, 10)
        if block[:1] == b"\x2c" and len(block) == 10:
            left, top, wide, high, flags = struct.unpack_from("<HHHHB", block, 1)
            width, height = max(width, left + wide), max(height, top + high)
            at = _past_blocks(file, at + 11 + _color_table(flags))
        elif block[:1] == b"\x21":
            at = _past_blocks(file, at + 2)
        else:
            return width, height


def _color_table(flags: int) -> int:
    return 3 << (flags & 7) + 1 if flags & 0x80 else 0


def _past_blocks(file: _Bounded, at: int) -> int:
    count = 1024
    while True:
        data = file.upto(at, count)
        here = 0
        while here < len(data) and data[here]:
            here += 1 + data[here]
        if here < len(data):
            return at + here + 1
        if len(data) < count:  # the end of the file
            return at + here
        at += here
        count = min(2 * count, 1 << 16)


def _jpeg(file: _Bounded) -> Size:
    # ITU-T T.81 annex B: segments up to the start of scan; SOF0 to SOF15 but for DHT, JPG and DAC.
    if file.at(0, 2) != b"\xff\xd8":
        raise _Damaged
    width = height = 0
    at = 2
    for _ in range(_MOST_READS):
        at, marker = _marker(file, at)
        if marker in (0xDA, 0xD9):
            break
        if 0xD0 <= marker <= 0xD8 or marker == 1:
            continue
        (length,) = struct.unpack(">H", file.at(at, 2))
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            high, wide = struct.unpack(">HH", file.at(at + 3, 4))
            width, height = max(width, wide), max(height, high)
        at += max(length, 2)
    return width, height


def _marker(file: _Bounded, at: int) -> tuple[int, int]:
    """Return the next marker, and where its segment begins. Decoders pass over what is between."""
    while True:
        piece = file.upto(at, 16)
        for index in range(len(piece) - 1):
            if piece[index] == 0xFF and piece[index + 1] not in (0, 0xFF):
                return at + index + 2, piece[index + 1]
        if len(piece) < 16:
            raise _Damaged
        at += 15


def _webp(file: _Bounded) -> Size:
    # RFC 9649 sections 2.5 to 2.7, VP8: RFC 6386 section 9.1.
    head = file.at(0, 30)
    if head[:4] != b"RIFF" or head[8:12] != b"WEBP":
        raise _Damaged
    kind = head[12:16]
    if kind == b"VP8X":
        return 1 + int.from_bytes(head[24:27], "little"), 1 + int.from_bytes(head[27:30], "little")
    if kind == b"VP8L" and head[20] == 0x2F:
        bits = int.from_bytes(head[21:25], "little")
        return 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
    if kind == b"VP8 " and head[23:26] == b"\x9d\x01\x2a":
        width, height = struct.unpack_from("<HH", head, 26)
        return width & 0x3FFF, height & 0x3FFF
    raise _Damaged


def _bmp(file: _Bounded) -> Size:
    head = file.at(0, 26)
    if not head.startswith(b"BM"):
        raise _Damaged
    return _dib(head[14:])


def _dib(header: bytes) -> Size:
    # BITMAPCOREHEADER has 12 bytes; the height of the others is negative for rows from the top. A
    # negative width is an error, or a very large one.
    size, width, height = struct.unpack_from("<IIi", header)
    if size == 12:
        width, height = struct.unpack_from("<HH", header, 4)
    return width, abs(height)


def _icon(file: _Bounded) -> Size:
    # ICONDIR and ICONDIRENTRY; each entry may lie about the PNG or BMP that it points to.
    zero, kind, count = struct.unpack("<HHH", file.at(0, 6))
    if zero or kind not in (1, 2) or not 0 < count <= 1024:
        raise _Damaged
    width = height = 0
    for index in range(count):
        entry = file.at(6 + 16 * index, 16)
        (start,) = struct.unpack_from("<I", entry, 12)
        wide, high = entry[0] or 256, entry[1] or 256
        width, height = max(width, wide), max(height, high)
        picture = file.upto(start, 24)
        if picture.startswith(b"\x89PNG\r\n\x1a\n"):
            wide, high = _png(file, start)
        elif len(picture) == 24:
            wide, high = _dib(picture)
            high //= 2  # the mask is below the picture
        width, height = max(width, wide), max(height, high)
    return width, height


def _tiff(file: _Bounded) -> Size:
    # TIFF 6.0 section 2, and the BigTIFF design: directories in a chain, tags 256 and 257.
    head = file.at(0, 16)
    order = {b"II": "<", b"MM": ">"}.get(head[:2])
    if order is None:
        raise _Damaged
    (version,) = struct.unpack_from(order + "H", head, 2)
    if version not in (42, 43):
        raise _Damaged
    big = version == 43
    (start,) = struct.unpack_from(order + ("Q" if big else "I"), head, 8 if big else 4)
    width = height = 0
    seen: set[int] = set()
    while start and start not in seen:
        seen.add(start)
        try:
            wide, high, start = _directory(file, start, order, big)
        except _Damaged:
            if len(seen) == 1:
                raise
            break  # no reader comes further either
        width, height = max(width, wide), max(height, high)
    return width, height


_TIFF_NUMBERS: Final = {1: "B", 3: "H", 4: "I", 16: "Q"}


def _directory(file: _Bounded, start: int, order: str, big: bool) -> tuple[int, int, int]:
    counted, entry, pointer = ("Q", 20, "Q") if big else ("H", 12, "I")
    (count,) = struct.unpack(order + counted, file.at(start, struct.calcsize(order + counted)))
    start += struct.calcsize(order + counted)
    entries = file.upto(start, count * entry)
    found = {256: 0, 257: 0}
    for at in range(0, len(entries) - entry + 1, entry):
        tag, kind = struct.unpack_from(order + "HH", entries, at)
        if tag in found and kind in _TIFF_NUMBERS and (big or kind != 16):
            (value,) = struct.unpack_from(order + _TIFF_NUMBERS[kind], entries, at + (12 if big else 8))
            found[tag] = max(found[tag], value)
    follows = file.upto(start + count * entry, struct.calcsize(order + pointer))
    complete = len(follows) == struct.calcsize(order + pointer)
    return found[256], found[257], struct.unpack(order + pointer, follows)[0] if complete else 0


def _heif(file: _Bounded) -> Size:
    # ISO/IEC 23008-12 section 6.5.3: `ispe` in meta/iprp/ipco; for sequences `tkhd`, ISO/IEC 14496-12.
    width = height = 0
    for kind, start, end in _boxes(file, 0, 1 << 62):
        if kind == b"meta":
            paths = _within(file, start + 4, end, (b"iprp", b"ipco"))
        elif kind == b"moov":
            paths = _within(file, start, end, (b"trak",))
        else:
            continue
        for inner, at, _ in paths:
            if inner == b"ispe":
                wide, high = struct.unpack(">II", file.at(at + 4, 8))
            elif inner == b"tkhd":
                version = file.at(at, 1)[0]
                fixed = struct.unpack(">II", file.at(at + (88 if version else 76), 8))
                wide, high = fixed[0] >> 16, fixed[1] >> 16
            else:
                continue
            width, height = max(width, wide), max(height, high)
    return width, height


def _within(
    file: _Bounded, start: int, end: int, path: tuple[bytes, ...]
) -> Iterator[tuple[bytes, int, int]]:
    """Give the boxes inside every box of that path."""
    for kind, at, until in _boxes(file, start, end):
        if kind != path[0]:
            continue
        if len(path) == 1:
            yield from _boxes(file, at, until)
        else:
            yield from _within(file, at, until, path[1:])


def _boxes(file: _Bounded, start: int, end: int) -> Iterator[tuple[bytes, int, int]]:
    """Give kind, start and end of the content of each box (ISO/IEC 14496-12 section 4.2)."""
    while start + 8 <= end:
        head = file.upto(start, 16)
        if len(head) < 8:
            return
        size, kind = struct.unpack_from(">I4s", head)
        content = start + 8
        if size == 1:
            (size,) = struct.unpack_from(">Q", head, 8)
            content += 8
        until = min(start + size, end) if size else end
        if until < content:
            return
        yield kind, content, until
        start = until


_MEASURES: Final[dict[str, Callable[[_Bounded], Size]]] = {
    "image/png": _png,
    "image/gif": _gif,
    "image/jpeg": _jpeg,
    "image/webp": _webp,
    "image/bmp": _bmp,
    "image/vnd.microsoft.icon": _icon,
    "image/tiff": _tiff,
    "image/heic": _heif,
    "image/heif": _heif,
    "image/avif": _heif,
}
