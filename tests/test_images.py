"""Pictures are made fit for who takes them, and no picture harms the one who looks at it."""

import io
import os
import random
import subprocess
import sys
import tempfile
import threading
import warnings
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image, ImageChops, ImageFile, ImageStat, PngImagePlugin

import pictures
from mediakeep import MediaError, MediaMissing, NotAFile
from mediakeep.images import (
    MAX_PIXELS,
    ImageRules,
    UnusableImage,
    apart,
    fitted,
    thumbnail,
)
from mediakeep.images.header import DECODED, read_header
from mediakeep.images.wanted import Wanted
from mediakeep.images.worker import outcome, ready

ANY = ImageRules(frozenset(DECODED))
WEB = ImageRules(frozenset({"image/jpeg", "image/png", "image/gif", "image/webp"}))
JPEG = ImageRules(frozenset({"image/jpeg"}))
PNG = ImageRules(frozenset({"image/png"}))
WEBP = ImageRules(frozenset({"image/webp"}))

Write = Callable[[bytes], Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def write(data: bytes) -> Path:
        path = tmp_path / f"picture-{len(list(tmp_path.iterdir()))}"
        path.write_bytes(data)
        return path

    return write


def here(data: bytes, rules: ImageRules) -> bytes:
    """What the process apart does with a picture, done in this one: that saves hundreds of starts."""
    formats = DECODED[read_header(io.BytesIO(data)).content_type]
    ready(formats)
    types = tuple(sorted(rules.content_types & {"image/jpeg", "image/png", "image/webp"}))
    limit = None if rules.max_bytes is None else rules.max_bytes // 4 * 3
    with tempfile.TemporaryFile() as file:
        file.write(data)
        file.flush()
        end, made = outcome(file, formats, Wanted(types, limit, rules.max_edge, rules.max_pixels))
    assert end == b"made", made
    return made


def opened(data: bytes | None) -> Image.Image:
    assert data is not None, "it fitted as it was"
    with Image.open(io.BytesIO(data)) as image:
        image.load()
        return image


def corners(image: Image.Image) -> list[str]:
    """The names of the colours in the middles of the four quarters, as they are read."""
    image = image.convert("RGB")
    named = {"red": (255, 0, 0), "lime": (0, 255, 0), "blue": (0, 0, 255), "yellow": (255, 255, 0)}
    found = []
    for x, y in ((1, 1), (3, 1), (1, 3), (3, 3)):
        pixel = image.getpixel((image.width * x // 4, image.height * y // 4))
        found.append(
            min(
                named,
                key=lambda name: sum((a - b) ** 2 for a, b in zip(pixel, named[name], strict=True)),
            )
        )
    return found


def base64_length(data: bytes) -> int:
    return (len(data) + 2) // 3 * 4


# -- what fits is passed on


@pytest.mark.parametrize("content_type", sorted(pictures.every_format()))
def test_a_picture_that_is_taken_as_it_is_stays_as_it_is(write: Write, content_type: str) -> None:
    assert fitted(write(pictures.every_format()[content_type]), ANY) is None


def test_what_fits_needs_no_package(write: Write) -> None:
    small = write(pictures.written(pictures.quarters(), "PNG"))
    large = write(pictures.written(pictures.quarters(200, 200), "PNG"))
    script = (
        "import sys; sys.path[:] = [p for p in sys.path if 'site-packages' not in p] + [sys.argv[3]]\n"
        "from pathlib import Path\n"
        "from mediakeep.images import *\n"
        "rules = ImageRules(frozenset({'image/png'}), max_edge=100)\n"
        "assert fitted(Path(sys.argv[1]), rules) is None\n"
        "try: fitted(Path(sys.argv[2]), rules)\n"
        "except ImagesExtraMissing as error: print(error)\n"
    )
    source = Path(apart.__file__).parents[2]
    told = subprocess.run(
        [sys.executable, "-I", "-S", "-c", script, small, large, source],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert 'Pillow: pip install "mediakeep[images]"' in told


def test_heic_names_what_it_takes(tmp_path: Path) -> None:
    packages = tmp_path / "packages"
    packages.mkdir()
    (packages / "PIL").symlink_to(Path(Image.__file__).parent)
    script = (
        "import sys; sys.path[:] = [p for p in sys.path if 'site-packages' not in p] + sys.argv[2:]\n"
        "from pathlib import Path\n"
        "from mediakeep.images import *\n"
        "try: thumbnail(Path(sys.argv[1]), 32)\n"
        "except ImagesExtraMissing as error: print(error)\n"
    )
    source = Path(apart.__file__).parents[2]
    told = subprocess.run(
        [sys.executable, "-I", "-S", "-c", script, pictures.DATA / "turned.heic", source, packages],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert 'takes pi-heif: pip install "mediakeep[images]"' in told


def test_bytes_are_counted_in_base64_to_the_last_one(write: Write) -> None:
    data = pictures.written(pictures.photograph(60, 40), "PNG")
    for padding in (b"", b"x", b"xx"):  # every remainder of a division by three
        path = write(data + padding)
        exact = base64_length(data + padding)
        assert fitted(path, ImageRules(PNG.content_types, max_bytes=exact)) is None
        made = fitted(path, ImageRules(PNG.content_types | JPEG.content_types, max_bytes=exact - 1))
        assert made is not None
        assert base64_length(made) < exact


def test_sides_are_counted_to_the_last_pixel(write: Write) -> None:
    path = write(pictures.written(pictures.quarters(96, 64), "PNG"))
    assert fitted(path, ImageRules(PNG.content_types, max_edge=96)) is None
    assert opened(fitted(path, ImageRules(PNG.content_types, max_edge=95))).size == (95, 63)
    assert fitted(path, ImageRules(PNG.content_types, max_pixels=96 * 64)) is None
    made = opened(fitted(path, ImageRules(PNG.content_types, max_pixels=96 * 64 - 1)))
    assert 96 * 64 * 0.95 < made.width * made.height < 96 * 64


@pytest.mark.parametrize(("width", "height"), [(3000, 1), (1, 3000), (2999, 2), (333, 777)])
def test_a_strip_stays_within_its_rules(width: int, height: int) -> None:
    data = pictures.written(Image.new("RGB", (width, height), "red"), "PNG")
    made = opened(here(data, ImageRules(WEB.content_types, max_edge=100, max_pixels=99)))
    assert max(made.size) <= 100
    assert made.width * made.height <= 99


@pytest.mark.parametrize("kind", ["GIF", "PNG", "WEBP"])
def test_an_animation_becomes_its_first_frame_unless_it_is_taken(write: Write, kind: str) -> None:
    path = write(pictures.frames(kind))
    assert fitted(path, ImageRules(WEB.content_types, animated=True)) is None
    made = opened(fitted(path, WEB))
    assert getattr(made, "n_frames", 1) == 1
    assert corners(made) == ["red"] * 4


@pytest.mark.parametrize("kind", ["GIF", "PNG", "WEBP"])
def test_one_frame_is_no_animation(write: Write, kind: str) -> None:
    path = write(pictures.frames(kind, 1))
    assert fitted(path, WEB) is None


def test_frames_are_not_looked_for_without_end() -> None:
    """What takes too long to tell counts as animated, and is made anew."""
    still = pictures.frames("GIF", 1)
    pieces = still[:-1] + b"!\xfe" + b"\1x" * 10**6
    chunks = pictures.png(8, 8, *[pictures.chunk(b"teXt", b"")] * 10**5, rows=bytes(72))
    assert read_header(io.BytesIO(pieces)).animated
    with pytest.raises(UnusableImage, match="no width and height"):
        read_header(io.BytesIO(chunks))


def test_a_frame_does_not_hide_behind_what_decoders_skip() -> None:
    data = pictures.frames("GIF")
    first = data.index(b",", 13)
    assert read_header(io.BytesIO(data[:first] + bytes(3) + data[first:])).animated


@pytest.mark.parametrize("byte", [0x01, 0x20, 0x3A, 0xFF])
def test_a_frame_does_not_hide_behind_a_byte_that_nobody_knows(byte: int) -> None:
    data = pictures.frames("GIF")
    second = data.index(b"!\xf9", data.index(b",", 13))
    hidden = data[:second] + bytes([byte]) + data[second:]
    with Image.open(io.BytesIO(hidden)) as image:
        assert image.n_frames > 1
    assert read_header(io.BytesIO(hidden)).animated


def test_behind_the_trailer_there_are_no_frames() -> None:
    still = pictures.frames("GIF", 1)
    assert not read_header(io.BytesIO(still + b"what somebody appended")).animated


# -- what is made


@pytest.mark.parametrize("content_type", sorted(pictures.every_format()))
@pytest.mark.parametrize("rules", [JPEG, PNG, WEBP], ids=["jpeg", "png", "webp"])
def test_every_format_becomes_every_format(write: Write, content_type: str, rules: ImageRules) -> None:
    path = write(pictures.every_format()[content_type])
    made = fitted(path, rules)
    if content_type in rules.content_types:
        assert made is None
        return
    image = opened(made)
    assert image.get_format_mimetype() in rules.content_types
    if content_type == "image/heic":  # it was turned by 90°
        assert image.size == (64, 96)
        assert corners(image) == ["blue", "red", "yellow", "lime"]
    else:
        assert corners(image) == list(pictures.CORNERS)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF", "AVIF"])
def test_a_picture_is_put_upright(kind: str, orientation: int) -> None:
    seen = {
        1: ["red", "lime", "blue", "yellow"],
        2: ["lime", "red", "yellow", "blue"],
        3: ["yellow", "blue", "lime", "red"],
        4: ["blue", "yellow", "red", "lime"],
        5: ["red", "blue", "lime", "yellow"],
        6: ["blue", "red", "yellow", "lime"],
        7: ["yellow", "lime", "blue", "red"],
        8: ["lime", "yellow", "red", "blue"],
    }
    data = pictures.written(pictures.quarters(96, 64), kind, exif=pictures.exif(orientation))
    image = opened(here(data, ImageRules(PNG.content_types, max_edge=48)))
    assert corners(image) == seen[orientation]
    assert image.size == ((48, 32) if orientation < 5 else (32, 48))
    assert image.getexif().get(0x0112, 1) == 1


@pytest.mark.parametrize("rules", [JPEG, PNG, WEBP], ids=["jpeg", "png", "webp"])
def test_nothing_is_told_of_where_and_with_what_it_was_taken(rules: ImageRules) -> None:
    image = pictures.quarters()
    place, told = pictures.PLACE, pictures.exif()
    text = PngImagePlugin.PngInfo()
    text.add_text("Comment", place.decode())
    originals = (
        pictures.written(
            image, "JPEG", exif=told, comment=place, xmp=place, icc_profile=pictures.swapping_profile()
        ),
        pictures.written(image, "PNG", exif=told, pnginfo=text, icc_profile=pictures.swapping_profile()),
        pictures.written(image, "WEBP", exif=told, xmp=place),
        pictures.written(image, "TIFF", exif=told),
        pictures.written(image, "GIF", comment=place),
        (pictures.DATA / "turned.heic").read_bytes(),
    )
    for original in originals[:-1]:
        assert place in original
    for original in originals:
        made = here(original, ImageRules(rules.content_types, max_edge=48))
        assert made is not None
        assert place not in made
        assert not opened(made).getexif()
        assert not {"exif", "xmp", "comment", "icc_profile"} & opened(made).info.keys()


def test_a_profile_is_followed_and_then_left_out(write: Write) -> None:
    """Models are trained on sRGB numbers; few of those who prepare pictures for them read profiles."""
    profile = pictures.swapping_profile()
    for data in (
        pictures.written(pictures.quarters(), "PNG", icc_profile=profile),
        pictures.written(pictures.quarters(mode="RGBA"), "PNG", icc_profile=profile),
        pictures.written(pictures.quarters().quantize(16), "PNG", icc_profile=profile),
    ):
        image = opened(here(data, ImageRules(PNG.content_types, max_edge=48)))
        assert corners(image)[:3] == ["lime", "blue", "red"]
        assert "icc_profile" not in image.info


@pytest.mark.parametrize(
    "profile", [b"no profile", pictures.swapping_profile()[:300]], ids=["none", "cut"]
)
def test_a_broken_profile_is_no_reason_to_refuse(profile: bytes) -> None:
    data = pictures.written(pictures.quarters(), "PNG", icc_profile=profile)
    assert corners(opened(here(data, JPEG))) == list(pictures.CORNERS)


@pytest.mark.parametrize("rules", [PNG, WEBP], ids=["png", "webp"])
@pytest.mark.parametrize("source", ["png", "heic", "palette", "grey", "key", "webp"])
def test_what_shows_through_goes_on_showing(source: str, rules: ImageRules) -> None:
    image = opened(here(see_through(source), ImageRules(rules.content_types, max_edge=32)))
    assert image.mode in ("RGBA", "P")
    assert image.convert("RGBA").getpixel((16, 16))[3] == 0
    assert image.convert("RGBA").getpixel((2, 2))[3] == 255


@pytest.mark.parametrize("source", ["png", "heic", "palette", "grey", "key", "webp"])
def test_white_shows_through_where_a_format_knows_no_transparency(source: str) -> None:
    image = opened(here(see_through(source), ImageRules(JPEG.content_types, max_edge=32)))
    assert min(image.convert("RGB").getpixel((16, 16))) > 245
    assert min(image.convert("RGB").getpixel((2, 2))) < 100


def see_through(source: str) -> bytes:
    """Quarters of 64 x 64 with a hole in the middle."""
    if source == "heic":
        return (pictures.DATA / "alpha.heic").read_bytes()
    image = pictures.quarters(64, 64, "RGBA")
    image.paste((0, 0, 0, 0), (16, 16, 48, 48))
    match source:
        case "palette":
            palette = image.convert("RGB").quantize(8)
            hole = palette.getpixel((32, 32))
            return pictures.written(palette, "PNG", transparency=hole)
        case "grey":
            return pictures.written(image.convert("LA"), "PNG")
        case "key":
            return pictures.written(image.convert("RGB"), "PNG", transparency=(0, 0, 0))
        case "webp":
            return pictures.written(image, "WEBP", lossless=True)
    return pictures.written(image, "PNG")


def deep(mode: str) -> bytes:
    gradient = Image.linear_gradient("L").resize((64, 64)).convert("I").point(lambda value: value * 257)
    match mode:
        case "png":
            return pictures.written(gradient.convert("I;16"), "PNG")
        case "tiff":
            return pictures.written(gradient.convert("I;16"), "TIFF")
        case "tiff big-endian":
            return pictures.written(gradient.convert("I;16B"), "TIFF")
        case "tiff 32":
            return pictures.written(gradient, "TIFF")
        case "tiff wide":
            return pictures.written(gradient.point(lambda value: value * 1000), "TIFF")
        case "tiff fractions":
            return pictures.written(
                gradient.convert("F").point(lambda value: value * (1 / 65535)), "TIFF"
            )
    return (pictures.DATA / "deep.heic").read_bytes()


@pytest.mark.parametrize("rules", [JPEG, PNG], ids=["jpeg", "png"])
@pytest.mark.parametrize(
    "mode", ["png", "tiff", "tiff big-endian", "tiff 32", "tiff wide", "tiff fractions", "heic"]
)
def test_deep_grey_is_not_cut_off_at_white(mode: str, rules: ImageRules) -> None:
    made = here(deep(mode), ImageRules(rules.content_types, max_edge=63))
    image = opened(made).convert("L")
    for y in (4, 16, 32, 48, 60):
        assert abs(image.getpixel((32, y)) - 255 * y / 63) < 8


def test_ink_becomes_light() -> None:
    """CMYK, as printers have it; Adobe's programs write it the other way round in a JPEG."""
    image = pictures.quarters().convert("CMYK")
    for kind in ("JPEG", "TIFF"):
        made = opened(here(pictures.written(image, kind), PNG if kind == "JPEG" else JPEG))
        assert made.mode == "RGB"
        assert corners(made) == list(pictures.CORNERS)


def test_of_several_pictures_in_a_jpeg_the_first_counts() -> None:
    """The multi-picture format of cameras (CIPA DC-007)."""
    data = pictures.written(
        pictures.quarters(), "MPO", save_all=True, append_images=[Image.new("RGB", (96, 64), "black")]
    )
    assert corners(opened(here(data, PNG))) == list(pictures.CORNERS)


def test_black_and_white_stays_so() -> None:
    image = Image.new("1", (64, 64), 0)
    image.paste(1, (0, 0, 32, 64))
    made = opened(here(pictures.written(image, "TIFF", compression="group4"), JPEG))
    assert made.convert("L").getpixel((8, 8)) > 250
    assert made.convert("L").getpixel((56, 8)) < 5


def test_photographs_become_jpeg_and_drawings_png() -> None:
    photograph = pictures.written(pictures.photograph(400, 300), "PNG")
    grey = pictures.written(pictures.photograph(400, 300).convert("L").convert("RGB"), "PNG")
    drawing = pictures.written(pictures.quarters(400, 300), "JPEG", quality=95)
    for data, kind in (
        (photograph, "JPEG"),
        (grey, "JPEG"),
        (drawing, "PNG"),
        (see_through("png"), "PNG"),
    ):
        assert opened(here(data, ImageRules(WEB.content_types, max_edge=60))).format == kind


def test_a_picture_that_is_only_too_wide_is_only_scaled() -> None:
    data = pictures.written(pictures.photograph(400, 300), "JPEG", quality=95)
    made = here(data, ImageRules(WEB.content_types, max_bytes=10**6, max_edge=200))
    scaled = opened(data).resize((200, 150), Image.Resampling.LANCZOS)
    difference = ImageStat.Stat(ImageChops.difference(opened(made).convert("L"), scaled.convert("L")))
    assert difference.mean[0] < 3


@pytest.mark.parametrize("rules", [JPEG, PNG, WEBP, WEB], ids=["jpeg", "png", "webp", "any"])
@pytest.mark.parametrize("limit", [100_000, 20_000, 2_000])
def test_bytes_give_way_by_quality_and_then_by_size(rules: ImageRules, limit: int) -> None:
    data = pictures.written(pictures.photograph(500, 400), "TIFF")
    made = here(data, ImageRules(rules.content_types, max_bytes=limit))
    assert made is not None
    assert limit * 0.3 < base64_length(made) <= limit


def test_no_more_bytes_are_taken_away_than_needed(write: Write) -> None:
    data = pictures.written(pictures.photograph(500, 400), "JPEG", quality=95)
    made = fitted(write(data), ImageRules(JPEG.content_types, max_bytes=base64_length(data) - 1))
    assert opened(made).size == (500, 400)


def test_what_cannot_be_made_small_enough_is_refused(write: Write) -> None:
    path = write(pictures.written(pictures.photograph(50, 40), "PNG"))
    with pytest.raises(UnusableImage, match="cannot be made to fit into 30 bytes"):
        fitted(path, ImageRules(JPEG.content_types, max_bytes=40))


def test_a_receiver_that_takes_nothing_that_is_written_is_told_so(write: Write) -> None:
    path = write(pictures.written(pictures.quarters(), "PNG"))
    for types in (frozenset({"image/heic"}), frozenset[str]()):
        with pytest.raises(UnusableImage, match="no format that fits"):
            fitted(path, ImageRules(types))


def test_a_thumbnail_is_small_and_never_larger_than_its_original(write: Write) -> None:
    path = write(pictures.written(pictures.photograph(400, 300), "JPEG", exif=pictures.exif(6)))
    assert opened(thumbnail(path, 128)).size == (96, 128)
    assert opened(thumbnail(path, 128)).format == "JPEG"
    assert opened(thumbnail(path, 1000)).size == (300, 400)
    assert pictures.PLACE not in thumbnail(path, 1000)


def test_a_thumbnail_keeps_what_shows_through(write: Write) -> None:
    image = opened(thumbnail(write(see_through("heic")), 32))
    assert image.format == "PNG"
    assert image.getpixel((16, 16))[3] == 0


@pytest.mark.parametrize("bad", [0, -1, 1.5, True])
def test_rules_that_mean_nothing_are_refused(bad: object) -> None:
    for name in ("max_bytes", "max_edge", "max_pixels"):
        with pytest.raises(ValueError, match=name):
            ImageRules(JPEG.content_types, **{name: bad})  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="content_types"):
        ImageRules("image/jpeg")  # type: ignore[arg-type]


# -- what is no picture, or a bad one


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "nothing that is known"),
        (b"just words", "is text/plain|nothing that is known"),
        (b'<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"/>', "is SVG"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "give one of"),
        (b"8BPS\0\1" + bytes(40), "give one of"),
        (b"\xd7\xcd\xc6\x9a" + bytes(40), "give one of"),
        (b"P6 9 9 255\n" + bytes(243), "give one of"),
        (b"\x89PNG\r\n\x1a\n", "malformed or cut off"),
        (b"\xff\xd8\xff\xe0", "malformed or cut off"),
    ],
    ids=["empty", "text", "svg", "eps", "psd", "wmf", "ppm", "png head", "jpeg head"],
)
def test_what_is_no_picture_that_is_read_never_reaches_a_decoder(
    write: Write, data: bytes, reason: str
) -> None:
    path = write(data)
    with pytest.raises(UnusableImage, match=reason) as caught:
        fitted(path, WEB)
    assert str(path) in str(caught.value)
    assert str(path) not in caught.value.reason


@pytest.mark.parametrize(
    "content_type", ["image/avif", "image/heic", "image/jpeg", "image/png", "image/webp"]
)
def test_a_picture_that_is_cut_off_is_refused(write: Write, content_type: str) -> None:
    image = pictures.photograph(200, 150)
    if content_type == "image/heic":
        data = pictures.every_format()[content_type]
    else:
        data = pictures.written(image, content_type.partition("/")[2].upper())
    with pytest.raises(UnusableImage, match="malformed"):
        fitted(write(data[: len(data) * 2 // 3]), ImageRules(frozenset({"image/jpeg"}), max_edge=20))


def claims(kind: str) -> bytes:
    if kind == "png":
        return pictures.png(50_000, 50_000, rows=bytes(5 * 2**20))
    if kind == "bmp":
        data = bytearray(pictures.every_format()["image/bmp"])
        data[18:26] = (50_000).to_bytes(4, "little") * 2
    elif kind == "gif":
        data = bytearray(pictures.every_format()["image/gif"])
        data[6:10] = b"\xff\xff\xff\xff"
    else:
        data = bytearray(pictures.every_format()["image/jpeg"])
        at = data.index(b"\xff\xc0") + 5
        data[at : at + 4] = (50_000).to_bytes(2, "big") * 2
    return bytes(data)


@pytest.mark.parametrize("kind", ["png", "bmp", "gif", "jpeg"])
@pytest.mark.parametrize("rules", [ANY, JPEG], ids=["as it is", "changed"])
def test_a_small_file_that_claims_a_huge_picture_is_refused_by_its_header(
    write: Write, kind: str, rules: ImageRules
) -> None:
    data = claims(kind)
    assert len(data) < 20_000
    with pytest.raises(UnusableImage, match=f"at most {MAX_PIXELS}"):
        fitted(write(data), rules)


def test_an_icon_that_hides_a_huge_picture_is_refused(write: Write) -> None:
    with pytest.raises(UnusableImage):
        fitted(write(pictures.icon_of(claims("png"))), JPEG)


def test_text_that_inflates_without_end_is_refused(write: Write) -> None:
    chunks = [pictures.chunk(b"zTXt", b"t\0\0" + pictures.zlib.compress(bytes(2**20), 9))] * 100
    data = pictures.png(8, 8, *chunks, rows=bytes(72))
    assert len(data) < 150_000
    with pytest.raises(UnusableImage):
        fitted(write(data), JPEG)


def test_rows_that_inflate_far_are_decoded_within_bounds(write: Write) -> None:
    side = 9_000
    path = write(pictures.png(side, side, rows=bytes(side * (side + 1))))
    assert path.stat().st_size < 100_000
    assert opened(fitted(path, ImageRules(JPEG.content_types, max_edge=100))).size == (100, 100)


def test_a_jpeg_with_scans_without_end_is_refused(write: Write) -> None:
    with pytest.raises(UnusableImage, match="more than 100 scans"):
        fitted(write(pictures.many_scans(200)), PNG)
    assert opened(fitted(write(pictures.many_scans(50)), PNG)).size == (64, 64)


def test_scans_behind_the_end_do_not_count(write: Write) -> None:
    """Phones append films and further pictures to a JPEG."""
    data = pictures.written(pictures.quarters(), "JPEG") + b"\xff\xda\0\2" * 500
    assert corners(opened(fitted(write(data), PNG))) == list(pictures.CORNERS)


def test_a_picture_that_takes_too_long_is_given_up(
    write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(apart, "MAX_SECONDS", 0.3)
    monkeypatch.setattr(apart, "_BOOT", "while True: pass")
    with pytest.raises(UnusableImage, match=r"more than 0.3 s"):
        fitted(write(pictures.written(pictures.quarters(), "PNG")), JPEG)


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such limit")
def test_a_process_ends_itself_where_nobody_is_left_to_end_it(
    write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    bound = (
        "import json, sys; sys.path[:] = json.loads(sys.argv[1])['path']; from mediakeep.images.worker "
    )
    monkeypatch.setattr(apart, "_BOOT", bound + "import _bind; _bind(2**30, 1)\nwhile True: pass")
    with pytest.raises(UnusableImage, match="takes more than"):
        fitted(write(pictures.written(pictures.quarters(), "PNG")), JPEG)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux keeps to a limit of address space")
def test_a_picture_that_takes_too_much_memory_is_given_up(
    write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    side = 9_000
    path = write(pictures.png(side, side, rows=bytes(side * (side + 1))))
    monkeypatch.setattr(apart, "MAX_MEMORY_BYTES", 96 * 2**20)
    with pytest.raises(UnusableImage, match="memory"):
        fitted(path, ImageRules(JPEG.content_types, max_edge=100))


@pytest.mark.parametrize(
    ("does", "reason"),
    [
        ("import os; os.abort()", "SIGABRT"),
        ("raise SystemExit(3)", "exit status 3.*import mediakeep.images.worker"),
        ("print('made 10'); print('cut')", "made its decoder fail"),
        ("import sys; sys.stdout.write('made 4\\nabcd')", "is text/plain"),
        ("import os\nwhile True: os.write(1, bytes(65536))", "made its decoder fail"),
    ],
    ids=["crash", "exit", "cut short", "no picture", "endless"],
)
def test_a_decoder_that_is_not_itself_is_not_believed(
    write: Write, monkeypatch: pytest.MonkeyPatch, does: str, reason: str
) -> None:
    monkeypatch.setattr(apart, "_BOOT", does)
    monkeypatch.setattr(apart, "_MAX_ANSWER", 2**20)
    with pytest.raises(UnusableImage, match=reason):
        fitted(write(pictures.written(pictures.quarters(), "PNG")), JPEG)


def test_a_picture_that_is_made_and_does_not_fit_is_not_passed_on(
    write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    large = write(pictures.written(pictures.quarters(500, 500), "JPEG"))
    tells = (
        f"import sys; data = open({str(large)!r}, 'rb').read()\n"
        "sys.stdout.buffer.write(b'made %d\\n' % len(data) + data)"
    )
    monkeypatch.setattr(apart, "_BOOT", tells)
    with pytest.raises(UnusableImage, match="was changed, and still is 500 x 500"):
        fitted(
            write(pictures.written(pictures.quarters(), "PNG")),
            ImageRules(JPEG.content_types, max_edge=50),
        )


def test_a_decoder_knows_nothing_of_the_programs_environment(
    write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("API_KEY", "a secret")
    tells = "import os; data = str(dict(os.environ)); print(f'refused {len(data) + 1}'); print(data)"
    monkeypatch.setattr(apart, "_BOOT", tells)
    with pytest.raises(UnusableImage) as caught:
        fitted(write(pictures.written(pictures.quarters(), "PNG")), JPEG)
    assert "MALLOC_ARENA_MAX" in caught.value.reason
    assert "a secret" not in caught.value.reason


def test_a_program_that_does_not_know_where_python_is_is_told_what_to_do(
    write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "frozen", True, raising=False)
    with pytest.raises(MediaError, match="set_executable"):
        fitted(write(pictures.written(pictures.quarters(), "PNG")), JPEG)


def test_nothing_changes_in_the_program_around(write: Write) -> None:
    script = (
        "import sys, warnings; from pathlib import Path; from PIL import Image\n"
        "sys.path.append(sys.argv[2])\n"
        "from mediakeep.images import *\n"
        "Image.init(); before = Image.MAX_IMAGE_PIXELS, sorted(Image.OPEN), list(warnings.filters)\n"
        "fitted(Path(sys.argv[1]), ImageRules(frozenset({'image/jpeg'})))\n"
        "assert before == (Image.MAX_IMAGE_PIXELS, sorted(Image.OPEN), list(warnings.filters))\n"
    )
    path = pictures.DATA / "turned.heic"
    source = Path(apart.__file__).parents[2]
    subprocess.run([sys.executable, "-I", "-c", script, path, source], check=True)


def test_many_threads_at_once_each_get_their_own(write: Write) -> None:
    paths = [write(pictures.written(Image.new("RGB", (100 + n, 50), "red"), "BMP")) for n in range(8)]
    made: dict[int, bytes | None] = {}

    def fit(number: int) -> None:
        made[number] = fitted(paths[number], PNG)

    threads = [threading.Thread(target=fit, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [opened(made[number]).width for number in range(8)] == [100 + number for number in range(8)]


def test_a_file_that_is_not_there_is_missing(tmp_path: Path) -> None:
    with pytest.raises(MediaMissing):
        fitted(tmp_path / "none.png", WEB)


def test_only_files_are_looked_at(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path, tmp_path / "pipe"):
        with pytest.raises(NotAFile):
            fitted(path, WEB)


# -- chance

FUZZED = {
    **pictures.every_format(),
    "animated gif": pictures.frames("GIF"),
    "animated png": pictures.frames("PNG"),
    "animated webp": pictures.frames("WEBP"),
    "progressive": pictures.written(
        pictures.quarters(), "JPEG", progressive=True, exif=pictures.exif(5)
    ),
    "palette": see_through("palette"),
    "profile": pictures.written(pictures.quarters(), "PNG", icc_profile=pictures.swapping_profile()),
    "alpha heic": see_through("heic"),
    "jpeg in tiff": pictures.written(pictures.quarters(), "TIFF", compression="jpeg"),
}


@pytest.mark.parametrize("name", sorted(FUZZED))
def test_whatever_chance_makes_of_a_file_ends_in_a_picture_or_a_reason(
    tmp_path: Path, name: str
) -> None:
    """Within this process, so that it is many; the next test goes all the way."""
    data = FUZZED[name]
    with Path(tmp_path / "fuzzed").open("w+b") as file:
        formats = DECODED[read_header(io.BytesIO(data)).content_type]
        ready(formats)
        chance = random.Random(name)
        ends = set()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            for _ in range(200):
                file.seek(0)
                file.truncate()
                file.write(pictures.mutated(data, chance))
                file.flush()
                end, made = outcome(file, formats, Wanted(("image/jpeg", "image/png"), 3_000, 40, 1_500))
                ends.add(end)
                if end == b"made":
                    header = read_header(io.BytesIO(made))
                    assert header.content_type in ("image/jpeg", "image/png")
                    assert header.size <= 3_000
                    assert max(header.width, header.height) <= 40
                else:
                    assert made
        assert ends == {b"made", b"refused"}


@pytest.mark.parametrize("name", sorted(FUZZED))
def test_whatever_chance_makes_of_a_file_fits_or_is_refused(write: Write, name: str) -> None:
    chance = random.Random(f"{name} once more")
    rules = ImageRules(WEB.content_types, max_bytes=3_000, max_edge=40)
    path = write(pictures.mutated(FUZZED[name], chance))
    try:
        made = fitted(path, rules)
    except UnusableImage as error:
        assert error.picture == path
    else:
        with io.BytesIO(path.read_bytes() if made is None else made) as file:
            header = read_header(file)
        assert max(header.width, header.height) <= 40
        assert header.content_type in WEB.content_types


def test_what_the_program_lets_pillow_do_has_no_effect_here(
    write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", True)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1)
    data = pictures.written(pictures.quarters(), "JPEG")
    with pytest.raises(UnusableImage, match="malformed"):
        fitted(write(data[: len(data) * 2 // 3]), PNG)
    assert fitted(write(data), PNG)
