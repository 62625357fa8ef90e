"""Documents and music show what they are, and none harms the one who looks at it."""

import io
import random
import struct
import subprocess
import sys
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

import corpus
import papers
import pictures
from mediakeep import MediaMissing
from mediakeep.images import NoPicture, UnusableImage, apart, poster, thumbnail
from mediakeep.images.posters import bounds, may_have_poster, picture_in
from mediakeep.images.posters.zipped import Archive
from mediakeep.intake.types import sniff
from test_images import corners, opened

Write = Callable[[bytes], Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def write(data: bytes) -> Path:
        path = tmp_path / f"file-{len(list(tmp_path.iterdir()))}"
        path.write_bytes(data)
        return path

    return write


def inside(data: bytes) -> bytes | None:
    return picture_in(io.BytesIO(data), sniff(data).content_type)


# -- what is found

CARRIERS = {
    "an EPUB 3": papers.epub(),
    "an EPUB 2": papers.old_epub(),
    "Office": papers.office("docProps/thumbnail.png", {"docProps/thumbnail.png": papers.COVER}),
    "Office, from the root": papers.office("/a/b.png", {"a/b.png": papers.COVER}),
    "ID3v2.2": papers.id3(2, b"TT2\0\0\2\0x", papers.attached(2, papers.COVER)),
    "ID3v2.3": papers.id3(3, papers.attached(3, papers.COVER)),
    "ID3v2.3 unsynchronised": papers.id3(3, papers.attached(3, papers.COVER), flags=0x80),
    "ID3v2.3 with an extended header": papers.id3(
        3, papers.attached(3, papers.COVER), flags=0x40, before=b"\0\0\0\6" + bytes(6)
    ),
    "ID3v2.3 in a group": papers.id3(3, papers.attached(3, papers.COVER, flags=0x20)),
    "ID3v2.4": papers.id3(4, papers.attached(4, papers.COVER)),
    "ID3v2.4 unsynchronised, with its length": papers.id3(4, papers.attached(4, papers.COVER, flags=3)),
    "ID3v2.4 with an extended header": papers.id3(
        4, papers.attached(4, papers.COVER), flags=0x40, before=b"\0\0\0\6\1\0"
    ),
    "ID3 with a text of UTF-16": papers.id3(
        3, papers.attached(3, papers.COVER, encoding=1, text=b"\xff\xfe\0\1x\0\0\0")
    ),
    "ID3 with another picture before the cover": papers.id3(
        3, papers.attached(3, b"a band", 10), papers.attached(3, papers.COVER)
    ),
    "ID3 with no front cover": papers.id3(3, papers.attached(3, papers.COVER, 0)),
    "ID3 behind a frame that is encrypted": papers.id3(
        3, papers.attached(3, b"\1secret", flags=0x40), papers.attached(3, papers.COVER)
    ),
    "FLAC": papers.flac((10, b"a band"), (3, papers.COVER), (4, b"the back")),
    "MP4": papers.m4a(papers.COVER),
    "QuickTime's metadata": papers.m4a(papers.COVER, full=b""),
}


@pytest.mark.parametrize("name", CARRIERS)
def test_what_a_file_carries_of_itself_is_found_to_the_byte(name: str) -> None:
    assert inside(CARRIERS[name]) == papers.COVER


def test_a_cover_becomes_a_small_picture(write: Write) -> None:
    made = opened(poster(write(papers.epub()), 48))
    assert made.size == (48, 32)
    assert corners(made) == list(pictures.CORNERS)


def test_real_documents_and_music_show_something() -> None:
    found: dict[str, int] = {}
    missed = set()
    for sample in corpus.samples():
        with sample.path.open("rb") as file:
            content_type = sniff(sample.head()).content_type
            data = picture_in(file, content_type)
        if data and sniff(data).content_type in ("image/png", "image/jpeg"):
            with Image.open(io.BytesIO(data)) as image:
                image.load()  # it was cut out neither too short nor too long
            kind = content_type.rpartition(".")[2]
            found[kind] = found.get(kind, 0) + 1
            if not may_have_poster(content_type):
                missed.add(content_type)
    assert {"audio/flac", "audio/mpeg", "video/mp4", "presentation", "spreadsheet", "text"} <= set(found)
    assert found["document"] > 10
    assert missed == {"video/mp4"}


def test_a_picture_is_its_own_poster(write: Write) -> None:
    path = write(pictures.written(pictures.photograph(300, 200), "JPEG"))
    assert poster(path, 64) == thumbnail(path, 64)


def test_the_first_page_of_a_pdf_is_shown(write: Write) -> None:
    pytest.importorskip("pypdfium2")
    made = opened(poster(write(papers.pdf()), 128))
    assert made.size == (128, 128)
    assert corners(made) == list(pictures.CORNERS)


def test_what_shows_through_a_preview_is_white(write: Write) -> None:
    nothing = pictures.written(Image.new("RGBA", (20, 20), (0, 0, 0, 0)), "PNG")
    made = opened(poster(write(papers.epub(members={"OEBPS/my cover.png": nothing})), 20))
    assert made.mode == "RGB"
    assert made.getpixel((10, 10)) == (255, 255, 255)


@pytest.mark.parametrize("box", ["0 0 612 792", "0 0 3 14400", "-100 -50 100 50"])
def test_a_page_is_as_long_as_wanted_whatever_it_says(write: Write, box: str) -> None:
    pytest.importorskip("pypdfium2")
    assert max(opened(poster(write(papers.pdf(box=box)), 100)).size) == 100


# -- what is not


@pytest.mark.parametrize(
    "data",
    [
        b"just words",
        b"",
        papers.zipped({"a.txt": "a", "b.txt": "b"}),
        papers.epub("<package><manifest><item id='a' href='my%20cover.png'/></manifest></package>"),
        papers.epub("<package><metadata><meta name='cover' content='none'/></metadata></package>"),
        papers.epub("<package><item properties='cover-image' href='none.png'/></package>"),
        papers.epub(container="<container/>"),
        papers.office("http://127.0.0.1/a.png", {"a": papers.COVER}, "TargetMode='External'"),
        papers.office("../../../../etc/passwd", {}),
        papers.office("thumbnail.emf", {"thumbnail.emf": b"\1\0\0\0" + bytes(36) + b" EMF" + bytes(60)}),
        papers.id3(3),
        papers.id3(3, papers.attached(3, papers.COVER, flags=0x80)),
        papers.flac(),
        papers.m4a(b""),
        papers.id3(3, papers.attached(3, b"", text=b"without an end")),
        papers.box(b"ftyp", b"M4A \0\0\0\0") + struct.pack(">I4sQ", 1, b"free", 1 << 62) + bytes(40),
        papers.office("http://[", {}),
        b"<svg xmlns='http://www.w3.org/2000/svg'/>",
    ],
)
def test_what_has_no_picture_is_told_so(write: Write, data: bytes) -> None:
    path = write(data)
    with pytest.raises(NoPicture) as refused:
        poster(path, 64)
    assert str(path) not in refused.value.reason


def test_a_file_that_is_not_there_is_missing(tmp_path: Path) -> None:
    with pytest.raises(MediaMissing):
        poster(tmp_path / "none.pdf", 64)


def test_a_page_names_what_it_takes(write: Write, tmp_path: Path) -> None:
    path = write(papers.pdf())
    script = (
        "import sys; sys.path[:] = [p for p in sys.path if 'site-packages' not in p] + [sys.argv[2]]\n"
        "from pathlib import Path\n"
        "from mediakeep.images import *\n"
        "try: poster(Path(sys.argv[1]), 32)\n"
        "except ImagesExtraMissing as error: print(error)\n"
    )
    source = Path(apart.__file__).parents[2]
    told = subprocess.run(
        [sys.executable, "-I", "-S", "-c", script, path, source],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert 'takes Pillow and pypdfium2: pip install "mediakeep[documents]"' in told


# -- hostile files


def renamed(data: bytes, place: int, value: bytes) -> bytes:
    """A ZIP archive whose last listed member says something else of itself."""
    at = data.rindex(b"PK\1\2") + place
    return data[:at] + value + data[at + len(value) :]


def entities() -> str:
    declared = "".join(f"<!ENTITY e{n} '{f'&e{n - 1};' * 10}'>" for n in range(1, 12))
    return f"<!DOCTYPE x [<!ENTITY e0 'ha'>{declared}]><package>&e11;</package>"


ODT = {"mimetype": "application/vnd.oasis.opendocument.text"}
PREVIEW = papers.zipped({**ODT, "Thumbnails/thumbnail.png": papers.COVER})
END = PREVIEW.rindex(b"PK\5\6")


def claimed(size: int) -> bytes:
    """An archive whose list of members is said to be so long."""
    return PREVIEW[: END + 12] + struct.pack("<L", size) + PREVIEW[END + 16 :]


HOSTILE = {
    "a bomb for a cover": papers.epub(members={"OEBPS/my cover.png": bytes(20 << 20)}),
    "a bomb for a list of contents": papers.epub("<package>" + " " * (4 << 20)),
    "a bomb that claims to be small": renamed(
        papers.zipped({**ODT, "Thumbnails/thumbnail.png": bytes(20 << 20)}), 24, struct.pack("<I", 100)
    ),
    "entities that grow": papers.epub(entities()),
    "an entity of another file": papers.epub(
        "<!DOCTYPE x [<!ENTITY e SYSTEM 'file:///etc/passwd'>]><package>&e;</package>"
    ),
    "elements without end": papers.epub("<package>" + "<a>" * 30_000),
    "XML that is cut off": papers.epub("<package><manifest>"),
    "XML in an encoding that nobody knows": papers.epub("<?xml version='1.0' encoding='x-none'?><a/>"),
    "members without end": claimed(bounds.MAX_DIRECTORY_BYTES + 1),
    "a list that begins before the file": claimed(END + 1),
    "a list that begins before it says": claimed(END - 1),
    "a member that lies behind the end": renamed(PREVIEW, 42, struct.pack("<L", 1 << 30)),
    "a member longer than the file": renamed(PREVIEW, 20, struct.pack("<L", 1 << 20)),
    "an archive that is cut off": PREVIEW[:-30],
    "a list that is none": PREVIEW.replace(b"PK\1\2", b"PK\1\3"),
    "a cover that claims to be huge": papers.epub(
        members={"OEBPS/my cover.png": pictures.png(50_000, 50_000)}
    ),
    "a cover that is cut off": papers.id3(3, papers.attached(3, papers.COVER[:60])),
    "music that is cut off": papers.m4a(papers.COVER)[:-200],
    "a cover that is malformed": papers.m4a(b"\xff\xd8\xff\xe0" + bytes(2000)),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_document_is_refused_with_a_reason(write: Write, name: str) -> None:
    path = write(HOSTILE[name])
    with pytest.raises(UnusableImage) as refused:
        poster(path, 64)
    assert not isinstance(refused.value, NoPicture)
    assert str(path) not in refused.value.reason


def test_the_names_in_an_archive_are_only_names(write: Write, tmp_path: Path) -> None:
    package = "<package><item properties='cover-image' href='../../../out.png'/></package>"
    data = papers.epub(package, {"out.png": papers.COVER, "../../out.png": b"not this one"})
    before = sorted(tmp_path.iterdir())
    assert inside(data) == papers.COVER
    assert sorted(tmp_path.iterdir()) == before


def test_a_member_is_inflated_no_further_than_wanted() -> None:
    archive = Archive(io.BytesIO(papers.zipped({"a": bytes(1000)})))
    assert archive.read("a", 1000) == bytes(1000)
    with pytest.raises(UnusableImage, match="999"):
        archive.read("a", 999)
    assert archive.read("b", 10) is None


def test_blocks_and_frames_are_not_looked_at_without_end() -> None:
    many = bounds.MAX_STEPS + 10
    frames = papers.id3(3, b"TXXX\0\0\0\1\0\0x" * many, papers.attached(3, papers.COVER))
    padding = papers.flac((3, papers.COVER))
    blocks = padding[:42] + b"\1\0\0\0" * many + padding[42:]
    boxes = papers.box(b"ftyp", b"M4A \0\0\0\0") + papers.box(b"free") * many + papers.m4a(papers.COVER)
    for data in (frames, blocks, boxes):
        assert inside(data) is None


HOSTILE_PDF = {
    "one that is encrypted": (papers.encrypted_pdf(), "encrypted"),
    "one that is cut off": (papers.pdf()[:30], "malformed or cut off"),
    "one without pages": (papers.pdf(pages="/Kids [] /Count 0"), "malformed or cut off"),
    "one whose pages go round": (papers.pdf(pages="/Kids [2 0 R] /Count 1"), "no page"),
}


@pytest.mark.parametrize("name", HOSTILE_PDF)
def test_a_pdf_that_cannot_be_shown_is_refused_with_a_reason(write: Write, name: str) -> None:
    pytest.importorskip("pypdfium2")
    data, reason = HOSTILE_PDF[name]
    with pytest.raises(UnusableImage, match=reason):
        poster(write(data), 64)


def test_a_page_that_takes_too_long_is_given_up(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("pypdfium2")
    monkeypatch.setattr(apart, "MAX_SECONDS", 0.5)
    line = b"0 0 m " + b"200 7 l 3 190 l 180 200 l 20 10 l " * 300 + b"f\n"
    with pytest.raises(UnusableImage, match=r"takes more than 0\.5 s"):
        poster(write(papers.pdf(line * 3000)), 1024)


def test_a_huge_picture_in_a_page_is_shown_or_refused(write: Write) -> None:
    pytest.importorskip("pypdfium2")
    rows = zlib.compress(bytes(60_000 * 60_000 // 64))
    image = (
        b"<< /Type /XObject /Subtype /Image /Width 60000 /Height 60000 /ColorSpace /DeviceRGB "
        b"/BitsPerComponent 16 /Filter /FlateDecode /Length %d >>\n" % len(rows)
    )
    page = papers.pdf(
        b"200 0 0 200 0 0 cm /I Do",
        resources="/XObject << /I 5 0 R >>",
        more=(image + b"stream\n%s\nendstream" % rows,),
    )
    try:
        made = poster(write(page), 64)
    except UnusableImage as error:
        assert "decode" in error.reason
    else:
        assert opened(made).size == (64, 64)


@pytest.mark.parametrize("name", sorted(CARRIERS))
def test_whatever_chance_makes_of_a_file_ends_in_a_picture_or_a_reason(name: str) -> None:
    chance = random.Random(name)
    for _ in range(50):
        data = pictures.mutated(CARRIERS[name], chance)
        for content_type in ("application/zip", "audio/mpeg", "audio/mp4", "audio/flac"):
            try:
                found = picture_in(io.BytesIO(data), content_type)
            except UnusableImage as error:
                assert error.reason
            else:
                assert found is None or len(found) <= bounds.MAX_PICTURE_BYTES


def test_stored_members_are_read_as_deflated_ones_are() -> None:
    members = {**ODT, "Thumbnails/thumbnail.png": papers.COVER}
    assert inside(papers.zipped(members, zipfile.ZIP_STORED)) == papers.COVER


def test_something_may_stand_before_an_archive() -> None:
    file = io.BytesIO(b"#!/bin/sh\n" + PREVIEW)
    assert picture_in(file, "application/zip") == papers.COVER
