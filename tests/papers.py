"""Documents and music with pictures in them, made by hand: books, office documents, PDF, ID3 tags."""

import io
import struct
import zipfile
from collections.abc import Mapping
from xml.sax.saxutils import quoteattr

import pictures

COVER = pictures.written(pictures.quarters(), "PNG")
DOCX = "application/vnd.openxmlformats-officedocument.wordprocessingml.document"
THUMBNAIL = "http://schemas.openxmlformats.org/package/2006/relationships/metadata/thumbnail"


def zipped(members: Mapping[str, bytes | str], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", method) as archive:
        for name, data in members.items():
            stored = zipfile.ZIP_STORED if name == "mimetype" else None
            archive.writestr(name, data, compress_type=stored)
    return file.getvalue()


def epub(
    package: str | None = None,
    members: Mapping[str, bytes | str] | None = None,
    container: str = "<container><rootfile full-path='OEBPS/book.opf'/></container>",
) -> bytes:
    """A book of EPUB 3 whose cover is `COVER`, or what else its package document says."""
    if package is None:
        package = (
            '<package xmlns="http://www.idpf.org/2007/opf" version="3.0"><manifest>'
            '<item id="c1" href="one.xhtml" media-type="application/xhtml+xml"/>'
            '<item id="c" properties="other cover-image" href="my%20cover.png" media-type="image/png"/>'
            "</manifest></package>"
        )
    return zipped(
        {
            "mimetype": "application/epub+zip",
            "META-INF/container.xml": container,
            "OEBPS/book.opf": package,
            "OEBPS/one.xhtml": "<html/>",
            "OEBPS/my cover.png": COVER,
            **(members or {}),
        }
    )


def old_epub() -> bytes:
    """A book of EPUB 2, with a document type, prefixes, and its package in the middle of the archive."""
    return epub(
        '<?xml version="1.0"?><!DOCTYPE package PUBLIC "+//ISBN 0-9673008-1-9//DTD OEB 1.2 Package//EN" '
        '"http://openebook.org/dtds/oeb-1.2/oebpkg12.dtd"><opf:package xmlns:opf="http://www.idpf.org/2007/opf">'
        '<opf:metadata><opf:meta name="cover" content="front"/></opf:metadata><opf:manifest>'
        '<opf:item id="front" href="../art/front.png"/></opf:manifest></opf:package>',
        {"art/front.png": COVER},
    )


def office(target: str, members: Mapping[str, bytes | str], more: str = "") -> bytes:
    """A text document of Office whose relationships name a thumbnail."""
    return zipped(
        {
            "[Content_Types].xml": f"<Types><Override ContentType='{DOCX}.main+xml'/></Types>",
            "_rels/.rels": f"<Relationships><Relationship Id='a' Type='{THUMBNAIL}' "
            f"Target={quoteattr(target)} {more}/></Relationships>",
            "word/document.xml": "<document/>",
            **members,
        }
    )


def pdf(
    drawn: bytes = b"1 0 0 rg 0 100 100 100 re f 0 1 0 rg 100 100 100 100 re f "
    b"0 0 1 rg 0 0 100 100 re f 1 1 0 rg 100 0 100 100 re f",
    box: str = "0 0 200 200",
    trailer: str = "",
    pages: str = "/Kids [3 0 R] /Count 1",
    resources: str = "",
    more: tuple[bytes, ...] = (),
) -> bytes:
    """A document whose first page shows what `pictures.quarters` does, or else what is drawn."""
    objects = [
        b"<< /Type /Catalog /Pages 2 0 R >>",
        f"<< /Type /Pages {pages} >>".encode(),
        f"<< /Type /Page /Parent 2 0 R /MediaBox [{box}] /Contents 4 0 R "
        f"/Resources << {resources} >> >>".encode(),
        b"<< /Length %d >>\nstream\n%s\nendstream" % (len(drawn), drawn),
        *more,
    ]
    data, places = b"%PDF-1.7\n", []
    for number, content in enumerate(objects, 1):
        places.append(len(data))
        data += b"%d 0 obj\n%s\nendobj\n" % (number, content)
    table = b"".join(b"%010d 00000 n \n" % place for place in places)
    count = len(objects) + 1
    end = f"trailer << /Size {count} /Root 1 0 R {trailer} >>\nstartxref\n{len(data)}\n%%EOF\n"
    return data + b"xref\n0 %d\n0000000000 65535 f \n" % count + table + end.encode()


def encrypted_pdf() -> bytes:
    """One that asks for a password (PDF 32000-1 section 7.6.3)."""
    letters = "ab" * 32
    return pdf(
        trailer=f"/ID [<{letters}> <{letters}>] /Encrypt << /Filter /Standard /V 1 /R 2 /Length 40 "
        f"/P -4 /O <{letters}> /U <{letters}> >>"
    )


def id3(version: int, *frames: bytes, flags: int = 0, before: bytes = b"") -> bytes:
    """A tag and a silent frame of MP3."""
    content = before + b"".join(frames)
    if flags & 0x80:
        content = content.replace(b"\xff", b"\xff\0")
    return (
        b"ID3"
        + bytes([version, 0, flags])
        + seven(len(content))
        + content
        + b"\xff\xfb\x90\0"
        + bytes(413)
    )


def attached(
    version: int, data: bytes, kind: int = 3, flags: int = 0, encoding: int = 0, text: bytes = b"x\0"
) -> bytes:
    """A frame with a picture."""
    media_type = b"PNG" if version == 2 else b"image/png\0"
    content = bytes([encoding]) + media_type + bytes([kind]) + text + data
    if version == 2:
        return b"PIC" + len(content).to_bytes(3, "big") + content
    if version == 3 and flags & 0x20:
        content = b"\1" + content
    if version == 4 and flags & 1:
        content = seven(len(content)) + content
    if version == 4 and flags & 2:
        content = content.replace(b"\xff", b"\xff\0")
    size = seven(len(content)) if version == 4 else len(content).to_bytes(4, "big")
    return b"APIC" + size + bytes([0, flags]) + content


def seven(number: int) -> bytes:
    return bytes(number >> shift & 0x7F for shift in (21, 14, 7, 0))


def flac(*found: tuple[int, bytes]) -> bytes:
    """Its first block, and pictures by their kind."""
    blocks = [(0, bytes(34))]
    for kind, data in found:
        head = struct.pack(">II9sI", kind, 9, b"image/png", 4) + b"text" + bytes(16)
        blocks.append((6, head + len(data).to_bytes(4, "big") + data))
    written = [bytes([kind]) + len(data).to_bytes(3, "big") + data for kind, data in blocks]
    written[-1] = bytes([written[-1][0] | 0x80]) + written[-1][1:]
    return b"fLaC" + b"".join(written)


def box(kind: bytes, *content: bytes) -> bytes:
    data = b"".join(content)
    return struct.pack(">I4s", 8 + len(data), kind) + data


def m4a(data: bytes, full: bytes = bytes(4)) -> bytes:
    """Sound in MP4 with a cover; the boxes that come before it are of every sort of length."""
    tags = box(
        b"ilst", box(b"\xa9nam", bytes(4)), box(b"covr", box(b"data", b"\0\0\0\x0e\0\0\0\0", data))
    )
    meta = box(b"meta", full, box(b"hdlr", bytes(25)), tags)
    media = struct.pack(">I4sQ", 1, b"mdat", 16 + 100) + bytes(100)
    return (
        box(b"ftyp", b"M4A \0\0\0\0")
        + media
        + box(b"moov", box(b"mvhd", bytes(100)), box(b"udta", meta))
    )
