"""Archives that are documents: what the head shows of their members, inflated a bounded bit."""

import re
import struct
import zlib
from typing import Final

_MEMBERS = 16
"""How many members of an archive are looked at."""
_INFLATED_BYTES = 2048
"""How much of a compressed member is looked at."""

_BY_MIMETYPE: Final = (
    b"application/epub+zip",
    b"application/vnd.oasis.opendocument.text",
    b"application/vnd.oasis.opendocument.spreadsheet",
    b"application/vnd.oasis.opendocument.presentation",
    b"application/vnd.oasis.opendocument.graphics",
)
_MAIN_PARTS: Final = (  # ECMA-376 part 1: the content type of the main part, and what the whole is
    (
        b"wordprocessingml.document.main",
        "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
    ),
    (b"spreadsheetml.sheet.main", "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"),
    (
        b"presentationml.presentation.main",
        "application/vnd.openxmlformats-officedocument.presentationml.presentation",
    ),
    (b"ms-word.document.macroEnabled.main", "application/vnd.ms-word.document.macroenabled.12"),
    (b"ms-excel.sheet.macroEnabled.main", "application/vnd.ms-excel.sheet.macroenabled.12"),
    (
        b"ms-powerpoint.presentation.macroEnabled.main",
        "application/vnd.ms-powerpoint.presentation.macroenabled.12",
    ),
)
_FOLDERS: Final = {b"word": _MAIN_PARTS[0][1], b"xl": _MAIN_PARTS[1][1], b"ppt": _MAIN_PARTS[2][1]}
_PACKAGE: Final = (b"[Content_Types].xml", b"_rels/", b"docProps/", b"customXml/")
_TELLING: Final = {
    b"META-INF/container.xml": "application/epub+zip",
    b"META-INF/MANIFEST.MF": "application/java-archive",
    b"AndroidManifest.xml": "application/vnd.android.package-archive",
}
_STICKER: Final = re.compile(rb'"tgs"\s*+:\s*+1')
_LOTTIE: Final = tuple(
    re.compile(rb'"%s"\s*+:\s*+-?\d' % key) for key in (b"fr", b"ip", b"op", b"w", b"h")
)


def zip_type(head: bytes) -> tuple[str, bool]:
    """Return what the members of a ZIP archive make of it, as far as the head shows them.

    APPNOTE.TXT 6.3.10 section 4.3.7 (local headers); OpenDocument 1.3 part 2 section 3.3 and EPUB 3.3
    section 4.3 (a first member `mimetype`, stored); ECMA-376 part 2 (`[Content_Types].xml`).
    """
    folder, package, listed = b"", False, False
    start = 0
    for _ in range(_MEMBERS):
        if start + 30 > len(head):
            break
        flags, method = struct.unpack_from("<HH", head, start + 6)
        size, _, name_length, extra_length = struct.unpack_from("<IIHH", head, start + 18)
        name = head[start + 30 : start + 30 + name_length]
        body = start + 30 + name_length + extra_length
        if start == 0 and name == b"mimetype" and method == 0:
            found = _declared_inside(head[body : body + 80])
            if found:
                return found, True
        if name == b"[Content_Types].xml" and not listed:
            listed = True
            found = _main_part(head[body:], method)
            if found:
                return found, True
        if name in _TELLING:
            return _TELLING[name], True
        package = package or name.startswith(_PACKAGE)
        first, slash, _ = name.partition(b"/")
        if slash and first in _FOLDERS:
            folder = first
        if package and folder:
            return _FOLDERS[folder], True
        # With bit 3 the size may stand behind the data: look for the next header.
        start = head.find(b"PK\3\4", body + size) if flags & 8 else body + size
        if start < 0 or not head.startswith(b"PK\3\4", start):
            break
    return "application/zip", True


def gzip_type(head: bytes) -> tuple[str, bool]:
    """Return `application/x-tgsticker` if a gzip file holds a Lottie animation, else that it is gzip."""
    try:
        inside = zlib.decompressobj(31).decompress(head, _INFLATED_BYTES)
    except zlib.error:
        inside = b""
    return ("application/x-tgsticker" if is_lottie(inside) else "application/gzip"), True


def is_lottie(data: bytes) -> bool:
    """Return whether JSON that begins with `data` is a Lottie animation (Lottie specification 1.0)."""
    if (b'"fr"' not in data and b'"tgs"' not in data) or data.lstrip()[:1] != b"{":
        return False
    return _STICKER.search(data) is not None or all(key.search(data) for key in _LOTTIE)


def _declared_inside(content: bytes) -> str:
    """Return the type that the member `mimetype` says, if it is one that is said so."""
    for kind in _BY_MIMETYPE:
        if content.startswith(kind) and not content[len(kind) :].startswith(b"-"):  # "-template"
            return kind.decode()
    return ""


def _main_part(body: bytes, method: int) -> str:
    try:
        listing = zlib.decompressobj(-15).decompress(body, _INFLATED_BYTES) if method == 8 else body
    except zlib.error:
        return ""
    for mark, kind in _MAIN_PARTS:
        if mark in listing:
            return kind
    return ""
