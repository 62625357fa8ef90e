"""The size of a picture from its headers: as Pillow has it, within bounds, whatever the bytes are."""

import io
import random
import struct
import time
import warnings
import zlib
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from corpus import Sample, samples
from mediakeep.intake.pixels import GIF_BYTES, GIF_READS, MOST_BYTES, dimensions
from mediakeep.intake.types import sniff

MEASURED = (
    "image/png", "image/gif", "image/jpeg", "image/webp", "image/bmp", "image/vnd.microsoft.icon",
    "image/tiff", "image/heic", "image/heif", "image/avif",
)  # fmt: skip


@pytest.fixture(scope="session")
def pictures() -> list[tuple[Sample, str]]:
    told = ((sample, sniff(sample.head()).content_type) for sample in samples())
    return [(sample, kind) for sample, kind in told if kind in MEASURED]


def measure(path: Path, kind: str) -> tuple[int, int] | None:
    with path.open("rb") as file:
        return dimensions(file, kind)


def pillow(path: Path) -> tuple[int, int] | None:
    """The stored size of the first picture as Pillow has it, or None if Pillow does not take it."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with Image.open(path) as image:
                turned = image.format == "TIFF" and image.tag_v2.get(274, 1) > 4
                return image.size[::-1] if turned else image.size
    except Exception:  # what Pillow raises for a damaged file is of many kinds
        return None


def test_pictures_have_the_size_that_pillow_says_and_never_less(
    pictures: list[tuple[Sample, str]],
) -> None:
    agreed, larger = Counter(), []
    for sample, kind in pictures:
        theirs = pillow(sample.path)
        ours = measure(sample.path, kind)
        if theirs is None:
            continue
        assert ours is not None, sample.name
        if theirs == ours:
            agreed[kind] += 1
        else:  # the greatest of several pages or frames, where Pillow begins with the first
            larger.append(sample.name)
            assert ours[0] >= theirs[0] and ours[1] >= theirs[1], sample.name
    assert agreed.total() > 700
    assert min(agreed[kind] for kind in MEASURED if kind not in ("image/heic", "image/heif")) >= 10
    assert len(larger) <= 10


@pytest.mark.parametrize("kind", ["PNG", "GIF", "JPEG", "WEBP", "BMP", "TIFF", "AVIF", "ICO"])
@pytest.mark.parametrize("size", [(1, 1), (255, 3), (64, 200)])
def test_a_picture_just_written_has_its_size(kind: str, size: tuple[int, int]) -> None:
    made = io.BytesIO()
    Image.new("RGB", size).save(made, kind, **({"sizes": [size]} if kind == "ICO" else {}))
    assert dimensions(made, sniff(made.getvalue()).content_type) == size


@pytest.mark.parametrize("options", [{"lossless": True}, {"quality": 50}, {"save_all": True}])
@pytest.mark.parametrize("mode", ["RGB", "RGBA"])
def test_webp_of_each_kind_has_its_size(options: dict, mode: str) -> None:
    made = io.BytesIO()
    frames = [Image.new(mode, (300, 17), color) for color in ("red", "blue")]
    frames[0].save(made, "WEBP", append_images=frames[1:] if "save_all" in options else [], **options)
    assert dimensions(made, "image/webp") == (300, 17)


def test_the_position_is_put_back() -> None:
    made = io.BytesIO()
    Image.new("RGB", (5, 6)).save(made, "PNG")
    made.seek(20)
    assert dimensions(made, "IMAGE/PNG; x=y") == (5, 6)
    assert made.tell() == 20


def png(width: int, height: int) -> bytes:
    header = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n\0\0\0\x0d" + header + zlib.crc32(header).to_bytes(4, "big")


def test_a_small_file_that_claims_very_many_pixels_says_so() -> None:
    assert dimensions(io.BytesIO(png(50_000, 50_000)), "image/png") == (50_000, 50_000)
    jpeg = b"\xff\xd8" + b"\xff\xfe\xff\xff" + bytes(0xFFFD)
    jpeg += b"\xff\xc2\0\x11\x08" + struct.pack(">HH", 40_000, 50_000) + bytes(10)
    assert dimensions(io.BytesIO(jpeg + b"\xff\xda\0\2"), "image/jpeg") == (50_000, 40_000)
    bmp = b"BM" + bytes(12) + struct.pack("<Iii", 40, 50_000, -50_000)
    assert dimensions(io.BytesIO(bmp), "image/bmp") == (50_000, 50_000)


def test_an_icon_cannot_hide_a_picture_behind_a_small_entry() -> None:
    entry = struct.pack("<BBBBHHII", 16, 16, 0, 0, 1, 32, 33, 22)
    icon = b"\0\0\1\0\1\0" + entry + png(30_000, 30_000)
    assert dimensions(io.BytesIO(icon), "image/x-icon") == (30_000, 30_000)


def test_a_later_page_cannot_be_larger_than_what_is_said() -> None:
    made = io.BytesIO()
    pages = [Image.new("1", size) for size in ((4, 4), (4, 900), (700, 4))]
    pages[0].save(made, "TIFF", save_all=True, append_images=pages[1:])
    assert dimensions(made, "image/tiff") == (700, 900)


def box(kind: bytes, *content: bytes) -> bytes:
    body = b"".join(content)
    return (8 + len(body)).to_bytes(4, "big") + kind + body


def heic(*sizes: tuple[int, int], before: bytes = b"") -> bytes:
    extents = b"".join(box(b"ispe", bytes(4), struct.pack(">II", *size)) for size in sizes)
    meta = box(b"meta", bytes(4), box(b"iprp", box(b"ipco", box(b"hvcC", bytes(20)), extents)))
    return box(b"ftyp", b"heic", bytes(4), b"mif1heic") + before + meta


def test_heic_of_tiles_has_the_size_of_the_whole() -> None:
    data = heic((512, 512), (4032, 3024), (320, 240), before=box(b"mdat", bytes(3_000_000)))
    assert dimensions(io.BytesIO(data), "image/heic") == (4032, 3024)


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        (b"", "image/png"),
        (png(0, 10), "image/png"),
        (png(10, 10)[:20], "image/png"),
        (png(10, 10), "image/jpeg"),
        (png(10, 10), "image/svg+xml"),
        (png(10, 10), "text/plain"),
        (png(10, 10), ""),
        (b"\xff\xd8\xff\xd9", "image/jpeg"),
        (b"II*\0\xff\xff\xff\xff", "image/tiff"),
        (heic(), "image/heic"),
    ],
)
def test_what_cannot_be_told_is_none(data: bytes, kind: str) -> None:
    assert dimensions(io.BytesIO(data), kind) is None


class Counted(io.BytesIO):
    """Counts what is read."""

    bytes_read = reads = 0

    def read(self, size: int | None = -1) -> bytes:
        data = super().read(size)
        self.bytes_read += len(data)
        self.reads += 1
        return data


HOSTILE = {
    "image/jpeg": [
        b"\xff\xd8" + b"\xff\xe1\0\2" * 1_000_000,
        b"\xff\xd8" + b"\xff" * 4_000_000,
        b"\xff\xd8" + b"\0" * 4_000_000,
        b"\xff\xd8" + b"\xff\xd0" * 2_000_000,
    ],
    "image/gif": [
        b"GIF89a" + bytes(7) + b"!\xf9" + b"\1a" * 2_000_000,
        b"GIF89a" + bytes(7) + b"!\0\0" * 1_000_000,
    ],
    "image/tiff": [
        b"II*\0\x08\0\0\0" + b"".join(struct.pack("<HI", 0, 14 + 6 * n) for n in range(500_000)),
        b"II*\0\x08\0\0\0\0\0\x08\0\0\0",
        b"II*\0\x08\0\0\0" + (b"\xff\x0f" + bytes(49_140) + b"\x08\0\0\0") * 80,
    ],
    "image/vnd.microsoft.icon": [b"\0\0\1\0\xff\xff" + bytes(16) * 65_535],
    "image/heic": [
        box(b"ftyp", b"heic") + box(b"free") * 500_000,
        heic(*[(1, 1)] * 50_000),
        b"\0\0\0\1ftyp" + b"\xff" * 100,
    ],
}  # fmt: skip


@pytest.mark.parametrize(
    ("kind", "data"), [(kind, data) for kind, all_ in HOSTILE.items() for data in all_]
)
def test_headers_without_end_are_read_within_bounds(kind: str, data: bytes) -> None:
    file = Counted(data)
    start = time.thread_time()
    assert dimensions(file, kind) is None
    assert time.thread_time() - start < 1
    gif = kind == "image/gif"  # which has the sizes of its frames between their data
    assert file.bytes_read <= (GIF_BYTES if gif else MOST_BYTES)
    assert file.reads <= (GIF_READS if gif else 9000)


@given(kind=st.sampled_from(MEASURED), data=st.binary(max_size=300))
def test_any_bytes_can_be_measured(kind: str, data: bytes) -> None:
    found = dimensions(io.BytesIO(data), kind)
    assert found is None or min(found) > 0


def test_mutated_pictures_can_be_measured(pictures: list[tuple[Sample, str]]) -> None:
    chance = random.Random(2)
    for sample, kind in pictures:
        data = bytearray(sample.head())
        for _ in range(20):
            data[chance.randrange(len(data))] = chance.randrange(256)
            data[chance.randrange(min(len(data), 40))] = chance.randrange(256)
            found = dimensions(io.BytesIO(data), kind)
            assert found is None or min(found) > 0
