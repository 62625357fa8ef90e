"""What a picture's header says of it, read with the standard library alone and without decoding.

The walks through PNG (PNG 3rd edition, 5.3 and 11.3.6), GIF (GIF89a, 17 to 27) and WebP (RFC 9649,
2.7) are bounded: after so many steps a picture counts as animated, so that it is made anew.
"""

import os
from typing import BinaryIO, NamedTuple

from mediakeep.images.bounds import MAX_PIXELS
from mediakeep.images.unusable import UnusableImage
from mediakeep.intake.pixels import dimensions
from mediakeep.intake.types import HEAD_BYTES, sniff

DECODED = {
    "image/avif": ("AVIF",),
    "image/bmp": ("BMP",),
    "image/gif": ("GIF",),
    "image/heic": ("HEIF",),
    "image/heif": ("HEIF",),
    "image/jpeg": ("JPEG",),
    "image/png": ("PNG",),
    "image/tiff": ("TIFF",),
    "image/vnd.microsoft.icon": ("ICO",),
    "image/webp": ("WEBP",),
}
"""The types that are read, and the one decoder of Pillow's that is let near each."""

_ALIASES = {
    "image/apng": "image/png",
    "image/avif-sequence": "image/avif",
    "image/heic-sequence": "image/heic",
    "image/heif-sequence": "image/heif",
    "image/x-icon": "image/vnd.microsoft.icon",
    "image/x-ms-bmp": "image/bmp",
}
_MAX_STEPS = 65_536
_SEQUENCES = frozenset({b"avis", b"hevc", b"hevx", b"msf1"})


class Header(NamedTuple):
    """The real type of a picture, its size in bytes, its sides in pixels, and if it has many frames."""

    content_type: str
    size: int
    width: int
    height: int
    animated: bool


def read_header(file: BinaryIO) -> Header:
    """Return what the header of the picture in `file` says.

    Raises:
        UnusableImage: it is no picture that is read here, it has no sides, or claims more than
            MAX_PIXELS.
    """
    size = file.seek(0, os.SEEK_END)
    file.seek(0)
    head = file.read(HEAD_BYTES)
    sniffed = sniff(head).content_type
    content_type = named_type(sniffed)
    if content_type == "image/svg+xml":
        raise UnusableImage("is SVG, a drawing that is not turned into pixels here: make a PNG of it")
    if content_type not in DECODED:
        what = f"is {content_type}" if content_type else "is nothing that is known"
        raise UnusableImage(f"{what}: give one of {', '.join(sorted(DECODED))}")
    sides = dimensions(file, sniffed)
    if sides is None or min(sides) < 1:
        raise UnusableImage(
            f"is {content_type}, but its header is malformed or cut off: it has no width and height"
        )
    width, height = sides
    if width * height > MAX_PIXELS:
        raise UnusableImage(
            f"claims {width} x {height} pixels, and at most {MAX_PIXELS} are decoded: make it smaller"
        )
    return Header(content_type, size, width, height, _animated(file, head, content_type))


def named_type(sniffed: str) -> str:
    """Return the one name in DECODED of what was sniffed; what is not there stays as it is."""
    return _ALIASES.get(sniffed, sniffed)


def _animated(file: BinaryIO, head: bytes, content_type: str) -> bool:
    match content_type:
        case "image/png":
            return _png_animated(file)
        case "image/gif":
            return _gif_animated(file)
        case "image/webp":
            return head[12:16] == b"VP8X" and len(head) > 20 and bool(head[20] & 2)
        case "image/avif" | "image/heic" | "image/heif":
            end = min(int.from_bytes(head[:4], "big"), len(head))
            brands = {head[8:12], *(head[at : at + 4] for at in range(16, end - 3, 4))}
            return not _SEQUENCES.isdisjoint(brands)
    return False


def _png_animated(file: BinaryIO) -> bool:
    at = 8
    for _ in range(_MAX_STEPS):
        file.seek(at)
        chunk = file.read(12)
        if len(chunk) < 12 or chunk[4:8] in (b"IDAT", b"IEND"):
            return False
        if chunk[4:8] == b"acTL":
            return int.from_bytes(chunk[8:12], "big") > 1
        at += 12 + int.from_bytes(chunk[:4], "big")
    return True


def _gif_animated(file: BinaryIO) -> bool:
    file.seek(10)
    at = 13 + _colours(file.read(1))
    frames, within = 0, False
    for _ in range(_MAX_STEPS):
        file.seek(at)
        block = file.read(10)
        if not block:
            return False
        if within:  # the data of a block: pieces with their length, the last of them empty
            at += 1 + block[0]
            within = block[0] > 0
        elif block[0] == 0x2C:  # a frame
            frames += 1
            if frames > 1:
                return True
            at += 11 + _colours(block[9:10])
            within = True
        elif block[0] == 0x21:  # an extension
            at += 2
            within = True
        elif block[0] == 0:  # decoders skip it, so that it must not hide a frame
            at += 1
        else:  # decoders may skip what they do not know, too, or stop: only the trailer is an end to all
            return block[0] != 0x3B
    return True


def _colours(flags: bytes) -> int:
    """Return how many bytes of colours follow, by the packed field of a GIF descriptor."""
    return 3 << (1 + (flags[0] & 7)) if flags and flags[0] & 0x80 else 0
