"""Covers of music: in ID3 tags (MP3), in the boxes of MP4, in the blocks of FLAC."""

import os
import re
import struct
from collections.abc import Iterator
from typing import BinaryIO

from mediakeep.images.posters.bounds import MAX_PICTURE_BYTES, MAX_STEPS

_FRONT = 3
"""The type of picture that is the front cover, in ID3 and in FLAC."""
_TEXT = re.compile(rb"(?s:.)*?\0")
_WIDE_TEXT = re.compile(rb"(?s:..)*?\0\0")
"""A text of ID3 with the zeros that end it; the wide one is UTF-16."""


def cover_of_id3(file: BinaryIO) -> bytes | None:
    """Return the front cover of an ID3v2 tag at the start, or another picture if there is none.

    id3.org: ID3v2.4.0 structure sections 3 to 5 and native frames section 4.14, and the same of 2.3 and
    2.2. Frames that are compressed or encrypted are passed over.
    """
    head = file.read(10)
    if len(head) < 10 or head[:3] != b"ID3" or head[3] not in (2, 3, 4):
        return None
    version, flags = head[3], head[5]
    tag = file.read(min(_seven(head[6:10]), MAX_PICTURE_BYTES))
    if flags & 0x80 and version < 4:
        tag = _synchronised(tag)
    at = 0
    if flags & 0x40 and version > 2:
        at = _seven(tag[:4]) if version == 4 else int.from_bytes(tag[:4], "big") + 4
    return _front(filter(None, map(_attached, _frames(tag[at:], version))))


def _frames(tag: bytes, version: int) -> Iterator[tuple[bytes, bytes]]:
    """Yield name and content of each frame with a picture."""
    name_length, head_length = (3, 6) if version == 2 else (4, 10)
    at = 0
    for _ in range(MAX_STEPS):
        head = tag[at : at + head_length]
        if len(head) < head_length or not head[0]:
            return
        name, size = head[:name_length], head[name_length : 2 * name_length]
        length = _seven(size) if version == 4 else int.from_bytes(size, "big")
        at += head_length + length
        if name in (b"APIC", b"PIC") and at <= len(tag):
            content = _plain(tag[at - length : at], head[-1] if version > 2 else 0, version)
            if content is not None:
                yield name, content


def _plain(content: bytes, flags: int, version: int) -> bytes | None:
    if version == 4:
        if flags & 0x0C:
            return None
        content = content[(1 if flags & 0x40 else 0) + (4 if flags & 0x01 else 0) :]
        return _synchronised(content) if flags & 0x02 else content
    return None if flags & 0xC0 else content[1 if flags & 0x20 else 0 :]


def _attached(frame: tuple[bytes, bytes]) -> tuple[int, bytes] | None:
    """Return type and bytes of a picture: encoding, format, type, description, and then its data."""
    name, content = frame
    end = 4 if name == b"PIC" else content.find(b"\0", 1) + 1
    if not 0 < end < len(content):
        return None
    text = (_WIDE_TEXT if content[0] in (1, 2) else _TEXT).match(content, end + 1)
    return None if text is None else (content[end], content[text.end() :])


def _synchronised(data: bytes) -> bytes:
    return data.replace(b"\xff\0", b"\xff")


def _seven(data: bytes) -> int:
    """Return a number of which each byte has seven bits."""
    number = 0
    for byte in data:
        number = number << 7 | byte & 0x7F
    return number


def cover_of_flac(file: BinaryIO) -> bytes | None:
    """Return the front cover, or another picture if there is none (RFC 9639 sections 8.1 and 8.8)."""
    return _front(_pictures(file))


def _pictures(file: BinaryIO) -> Iterator[tuple[int, bytes]]:
    at, last, left = 4, False, MAX_PICTURE_BYTES
    for _ in range(MAX_STEPS):
        file.seek(at)
        head = file.read(4)
        if last or len(head) < 4:
            return
        last, kind, length = head[0] >= 0x80, head[0] & 0x7F, int.from_bytes(head[1:], "big")
        at += 4 + length
        if kind == 6 and length <= left:
            left -= length
            found = _picture(file.read(length))
            if found is not None:
                yield found


def _picture(block: bytes) -> tuple[int, bytes] | None:
    at = 4
    for skipped in (0, 16):  # the media type; the description, and the sides and colours behind it
        at += 4 + int.from_bytes(block[at : at + 4], "big") + skipped
    length = int.from_bytes(block[at : at + 4], "big")
    data = block[at + 4 : at + 4 + length]
    return (int.from_bytes(block[:4], "big"), data) if data and len(data) == length else None


def _front(found: Iterator[tuple[int, bytes]]) -> bytes | None:
    first = None
    for kind, data in found:
        if kind == _FRONT:
            return data
        first = first or data
    return first


def cover_of_mp4(file: BinaryIO) -> bytes | None:
    """Return the first picture of `moov/udta/meta/ilst/covr/data` (QuickTime File Format, metadata)."""
    start, end = 0, file.seek(0, os.SEEK_END)
    for kind in (b"moov", b"udta", b"meta", b"ilst", b"covr", b"data"):
        found = next(((at, until) for it, at, until in _boxes(file, start, end) if it == kind), None)
        if found is None:
            return None
        start, end = found
        if kind == b"meta":
            file.seek(start)
            # In MP4 it has a version and flags, in QuickTime it has not.
            start += 0 if file.read(8)[4:] == b"hdlr" else 4
    start += 8  # the kind of data, and its language
    if end - start > MAX_PICTURE_BYTES:
        return None
    file.seek(start)
    return file.read(max(0, end - start)) or None


def _boxes(file: BinaryIO, start: int, end: int) -> Iterator[tuple[bytes, int, int]]:
    """Yield kind, start and end of the content of each box (ISO/IEC 14496-12 section 4.2)."""
    for _ in range(MAX_STEPS):
        if start + 8 > end:
            return
        file.seek(start)
        head = file.read(16)
        if len(head) < 8:
            return
        size, kind = struct.unpack_from(">I4s", head)
        begin = start + 8
        if size == 1 and len(head) == 16:
            size, begin = int.from_bytes(head[8:], "big"), start + 16
        until = end if size == 0 else min(start + size, end)
        if until < begin:
            return
        yield kind, begin, until
        start = until
