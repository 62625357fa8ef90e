"""Signatures of binary formats, and the few fields after them that make a short one sure.

A verdict is a type and whether it is certain; None where no signature fits.
"""

import re
import struct
from collections.abc import Callable
from typing import TypeAlias

from mediakeep.intake.archives import gzip_type, zip_type
from mediakeep.intake.audio import aac_type, id3_type, mpeg_type
from mediakeep.intake.containers import (
    bmff_type,
    ebml_type,
    form_type,
    ogg_type,
    quicktime_type,
    riff_type,
)

Verdict: TypeAlias = tuple[str, bool] | None
Test: TypeAlias = Callable[[bytes], Verdict]


def signature(head: bytes) -> Verdict:
    """Return what the signature at the start of `head` says, or None."""
    for prefix, found in _BY_FIRST_BYTE.get(head[0], ()):
        if head.startswith(prefix):
            verdict = found(head) if callable(found) else (found, True)
            if verdict:
                return verdict
    return _elsewhere(head)


def _elsewhere(head: bytes) -> Verdict:
    """Return what a signature says that does not stand at the very start."""
    if head[4:8] == b"ftyp":
        return bmff_type(head)
    if head[4:8] in (b"moov", b"mdat", b"wide", b"free", b"skip", b"pnot"):
        return quicktime_type(head)
    if head[257:262] == b"ustar" or _sums_up(head):
        return "application/x-tar", True
    return None


def _sums_up(head: bytes) -> bool:
    """Return whether it is a tar header from before `ustar`: the sum of its bytes is in it, in octal."""
    written = head[148:156].strip(b"\0 ")
    if (
        len(head) < 512
        or not 3 < len(written) < 7
        or not written.isdigit()
        or written.strip(b"01234567")
    ):
        return False
    return sum(head[:148]) + 8 * 0x20 + sum(head[156:512]) == int(written, 8)


def _jp2(head: bytes) -> Verdict:
    return ("image/jpx" if head[20:24] == b"jpx " else "image/jp2"), True


def _bmp(head: bytes) -> Verdict:
    # BITMAPFILEHEADER: two reserved words of zero, then the size of one of the known headers.
    sure = len(head) >= 18 and head[15:18] == bytes(3) and head[14] in (12, 16, 40, 52, 56, 64, 108, 124)
    return ("image/bmp", True) if sure else None


def _icon(head: bytes) -> Verdict:
    # ICONDIR, then per image ICONDIRENTRY: the reserved byte is zero (some writers: 255), the data lies
    # behind the directory.
    if len(head) < 22:
        return None
    count, reserved = int.from_bytes(head[4:6], "little"), head[9]
    size, start = struct.unpack_from("<II", head, 14)
    sure = 0 < count <= 4096 and reserved in (0, 255) and size and start >= 6 + 16 * count
    return ("image/vnd.microsoft.icon", True) if sure else None


def _flac(head: bytes) -> Verdict:
    # RFC 9639 section 8: the first block is STREAMINFO, of type 0.
    return ("audio/flac", True) if head[4:5] in (b"\0", b"\x80") else None


def _psd(head: bytes) -> Verdict:
    return ("image/vnd.adobe.photoshop", True) if head[4:6] in (b"\0\1", b"\0\2") else None


def _executable(head: bytes) -> Verdict:
    """Tell a DOS or Windows program from words that begin with MZ: its header has zeros."""
    kind = "application/vnd.microsoft.portable-executable"
    if len(head) < 64 or b"\0" not in head[:64]:
        return None
    start = int.from_bytes(head[60:64], "little")
    return kind, head[start : start + 4] == b"PE\0\0"


def _class_or_mach(head: bytes) -> Verdict:
    # Both begin with CAFEBABE: a universal binary counts its few parts where a class has its version.
    if len(head) < 8:
        return None
    number = int.from_bytes(head[4:8], "big")
    return ("application/x-mach-binary", True) if number < 40 else ("application/java-vm", True)


def _sfnt(head: bytes) -> Verdict:
    # OpenType 1.9, table directory: few tables, and a search range that follows from their number.
    if len(head) < 12:
        return None
    tables, span = struct.unpack_from(">HH", head, 4)
    sure = 0 < tables < 256 and span == 16 << (tables.bit_length() - 1)
    kind = "font/otf" if head[:1] == b"O" else "font/ttf"
    return (kind, True) if sure else None


def _transport(head: bytes) -> Verdict:
    # ISO/IEC 13818-1 section 2.4.3: packets of 188 bytes, each with the sync byte.
    packets = head[::188]
    return ("video/mp2t", True) if len(packets) > 2 and packets.count(b"G") == len(packets) else None


def _mpeg_video(head: bytes) -> Verdict:
    return ("video/mpeg", True) if len(head) > 11 else None


def _portable(head: bytes) -> Verdict:
    # Netpbm: a letter and a digit, then width and height in decimal, with comments between.
    kind = ("bitmap", "graymap", "pixmap")[(head[1] - 0x31) % 3]
    return (f"image/x-portable-{kind}", True) if _PORTABLE.match(head) else None


def _jpeg(head: bytes) -> Verdict:
    return ("image/jpeg", True) if len(head) < 4 or head[3] >= 0xC0 else None


def _rar(head: bytes) -> Verdict:
    return ("application/vnd.rar", True) if head[6:7] in (b"\0", b"\1") else None


def _zstd_after_skip(head: bytes) -> Verdict:
    # RFC 8878 section 3.1.2: a frame to be skipped tells its size; LZ4 begins with the same ones.
    size = int.from_bytes(head[4:8], "little")
    return ("application/zstd", True) if head.startswith(b"\x28\xb5\x2f\xfd", 8 + size) else None


def _xl_codestream(head: bytes) -> Verdict:
    # ISO/IEC 18181-1: two bytes are all there is, and they are no text.
    return ("image/jxl", False) if len(head) > 4 else None


_PORTABLE = re.compile(rb"P[1-6]\s++(?:#[^\n]{0,100}\n\s*+){0,8}\d{1,10}\s++\d{1,10}\s")
_SIGNATURES: tuple[tuple[bytes, str | Test], ...] = (
    (b"\xff\xd8\xff", _jpeg),
    (b"\x89PNG\r\n\x1a\n", "image/png"),
    (b"GIF87a", "image/gif"),
    (b"GIF89a", "image/gif"),
    (b"RIFF", riff_type),
    (b"RF64", riff_type),
    (b"BW64", riff_type),
    (b"FORM", form_type),
    (b"BM", _bmp),
    (b"II*\0", "image/tiff"),
    (b"MM\0*", "image/tiff"),
    (b"II+\0\x08\0\0\0", "image/tiff"),  # BigTIFF
    (b"MM\0+\0\x08\0\0", "image/tiff"),
    (b"\0\0\1\0", _icon),
    (b"\0\0\2\0", _icon),
    (b"8BPS", _psd),
    *((b"P%d" % number, _portable) for number in range(1, 7)),
    (b"/* XPM */", "image/x-xpixmap"),
    (b"\0\0\0\x0cjP  \r\n\x87\n", _jp2),
    (b"\xff\x4f\xff\x51", "image/j2c"),
    (b"\0\0\0\x0cJXL \r\n\x87\n", "image/jxl"),
    (b"\xff\x0a", _xl_codestream),
    (b"ID3", id3_type),
    (b"\xff", aac_type),
    (b"\xff", mpeg_type),
    (b"OggS\0", ogg_type),
    (b"fLaC", _flac),
    (b"#!AMR\n", "audio/amr"),
    (b"#!AMR-WB\n", "audio/amr-wb"),
    (b"MThd\0\0\0\6", "audio/midi"),
    (b"\x1a\x45\xdf\xa3", ebml_type),
    (b"FLV\1", "video/x-flv"),
    (b"\x30\x26\xb2\x75\x8e\x66\xcf\x11", "video/x-ms-asf"),
    (b"\0\0\1\xba", _mpeg_video),
    (b"\0\0\1\xb3", _mpeg_video),
    (b"G", _transport),
    (b"%PDF-", "application/pdf"),
    (b"\xef\xbb\xbf%PDF-", "application/pdf"),
    (b"%!PS", "application/postscript"),
    (b"\xc5\xd0\xd3\xc6", "application/postscript"),
    (b"{\\rtf", "text/rtf"),
    (b"PK\3\4", zip_type),
    (b"PK\5\6", "application/zip"),
    (b"PK\7\x08PK\3\4", "application/zip"),
    (b"\x1f\x8b\x08", gzip_type),
    (b"7z\xbc\xaf\x27\x1c", "application/x-7z-compressed"),
    (b"Rar!\x1a\7", _rar),
    (b"BZh", "application/x-bzip2"),
    (b"\xfd7zXZ\0", "application/x-xz"),
    (b"\x28\xb5\x2f\xfd", "application/zstd"),
    *((bytes([number, 0x2A, 0x4D, 0x18]), _zstd_after_skip) for number in range(0x50, 0x60)),
    (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "application/x-ole-storage"),
    (b"SQLite format 3\0", "application/vnd.sqlite3"),
    (b"\0asm\1\0\0\0", "application/wasm"),
    (b"\x7fELF", "application/x-elf"),
    (b"MZ", _executable),
    (b"\xfe\xed\xfa\xce", "application/x-mach-binary"),
    (b"\xfe\xed\xfa\xcf", "application/x-mach-binary"),
    (b"\xce\xfa\xed\xfe", "application/x-mach-binary"),
    (b"\xcf\xfa\xed\xfe", "application/x-mach-binary"),
    (b"\xca\xfe\xba\xbe", _class_or_mach),
    (b"\0\1\0\0", _sfnt),
    (b"true", _sfnt),
    (b"OTTO", _sfnt),
    (b"wOFF", "font/woff"),
    (b"wOF2", "font/woff2"),
)

_BY_FIRST_BYTE: dict[int, tuple[tuple[bytes, str | Test], ...]] = {}
for _prefix, _found in _SIGNATURES:
    _BY_FIRST_BYTE[_prefix[0]] = (*_BY_FIRST_BYTE.get(_prefix[0], ()), (_prefix, _found))
