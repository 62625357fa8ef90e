"""Members of a ZIP archive, read within bounds whatever the archive claims (APPNOTE.TXT 6.3.10).

The standard library's reader makes an object of every member that is listed, and there is no end to how
many a file may list. Here only names and places are kept, and names are only names: nothing is written.
"""

import os
import struct
import zlib
from typing import BinaryIO, NamedTuple

from mediakeep.images.posters.bounds import MAX_DIRECTORY_BYTES
from mediakeep.images.unusable import UnusableImage

_END = struct.Struct("<4s4H2LH")  # section 4.3.16
_LISTED = struct.Struct("<4s6H3L5H2L")  # section 4.3.12
_LONGEST_COMMENT = 0xFFFF


class _Member(NamedTuple):
    method: int
    size: int
    at: int


class Archive:
    """The members of the archive in `file`, those that are encrypted left out.

    Raises:
        UnusableImage: it is malformed, cut off, larger than 4 GiB (ZIP64), or lists too many members.
    """

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._members = dict(self._listed())

    def read(self, name: str, most: int) -> bytes | None:
        """Return the content of a member; None if there is none of this name.

        Raises:
            UnusableImage: it is malformed, or has more than `most` bytes when it is inflated.
        """
        member = self._members.get(name)
        if member is None:
            return None
        # Deflate makes nothing longer by more than a thousandth, if it is not there to waste time.
        if member.size > most + most // 512 + 1024:
            raise _too_large(most)
        self._file.seek(member.at)
        head = self._file.read(30)  # section 4.3.7
        if len(head) < 30 or head[:4] != b"PK\3\4":
            raise _malformed()
        self._file.seek(sum(struct.unpack_from("<HH", head, 26)), os.SEEK_CUR)
        data = self._file.read(member.size)
        if len(data) < member.size:
            raise _malformed()
        if member.method == 8:
            data = _inflated(data, most + 1)
        if len(data) > most:
            raise _too_large(most)
        return data

    def _listed(self) -> list[tuple[str, _Member]]:
        size = self._file.seek(0, os.SEEK_END)
        begin = max(0, size - _LONGEST_COMMENT - _END.size)
        self._file.seek(begin)
        tail = self._file.read(size - begin)
        at = tail.rfind(b"PK\5\6", 0, len(tail) - _END.size + 4)
        if at < 0:
            raise _malformed()
        _, _, _, _, _, length, start, _ = _END.unpack_from(tail, at)
        if length > MAX_DIRECTORY_BYTES:
            raise UnusableImage("is an archive that lists more members than are looked at")
        # Counted from the end, since something may stand before the archive.
        first = begin + at - length
        if first < start:
            raise _malformed()
        self._file.seek(first)
        return _members(self._file.read(length), first - start)


def _members(directory: bytes, before: int) -> list[tuple[str, _Member]]:
    found = []
    at = 0
    while at + _LISTED.size <= len(directory):
        fields = _LISTED.unpack_from(directory, at)
        mark, flags, method, size, place = (fields[it] for it in (0, 3, 4, 8, 16))
        if mark != b"PK\1\2":
            raise _malformed()
        at += _LISTED.size
        name = directory[at : at + fields[10]].decode("utf-8", "replace")
        at += sum(fields[10:13])
        if method in (0, 8) and not flags & 1:
            found.append((name, _Member(method, size, before + place)))
    return found


def _inflated(data: bytes, most: int) -> bytes:
    inflater = zlib.decompressobj(-15)
    try:
        return inflater.decompress(data, most)
    except zlib.error:
        raise _malformed() from None


def _malformed() -> UnusableImage:
    return UnusableImage("is an archive that is malformed or cut off")


def _too_large(most: int) -> UnusableImage:
    return UnusableImage(f"has a part of more than {most} bytes that would have to be looked at")
