"""From bytes to a picture that is upright, in sRGB, no larger than wanted, and says nothing of itself.

Runs in a process of its own; errors of any kind are caught there.
"""

import io
import mmap
import re
from collections.abc import Sequence
from typing import BinaryIO, cast

from PIL import Image, ImageCms

from mediakeep.images.bounds import MAX_PIXELS, MAX_SCANS
from mediakeep.images.unusable import UnusableImage
from mediakeep.images.wanted import Wanted

_ORIENTATION = 0x0112
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_MARKER = re.compile(rb"\xff[\x01-\xcf\xd8-\xfe]")


def decoded(file: BinaryIO, formats: Sequence[str], wanted: Wanted) -> Image.Image:
    """Return the first frame of the picture in `file` in mode L, RGB or RGBA, scaled to what is wanted.

    Only the decoders named by `formats` may look at it. RGBA means that something shows through.
    """
    if "JPEG" in formats and _scans(file) > MAX_SCANS:
        raise UnusableImage(f"has more than {MAX_SCANS} scans, which no camera writes: save it anew")
    file.seek(0)
    with Image.open(file, formats=list(formats)) as opened:
        width, height = opened.size
        if width * height > MAX_PIXELS:
            raise UnusableImage(f"has {width} x {height} pixels, and at most {MAX_PIXELS} are decoded")
        size = wanted.size_for(width, height)
        drafted = opened.draft(None, size)  # a JPEG is decoded at 1/2, 1/4 or 1/8 if that is enough
        opened.load()
        if drafted is None:  # TIFF turns itself while it loads, and HEIF may then have another size
            size = wanted.size_for(*opened.size)
        turn = _turn(opened)
        profile = opened.info.get("icc_profile")
        image = _plain(opened)
    if image.size != size:
        image = image.resize(size, Image.Resampling.LANCZOS, reducing_gap=3.0)
    image = _in_srgb(image, profile)
    if turn is not None:
        image = image.transpose(turn)
    if image.mode == "RGBA" and image.getchannel("A").getextrema()[0] == 255:
        image = image.convert("RGB")
    image.info = {}  # encoders write some of it down without being asked
    return image


def _scans(file: BinaryIO) -> int:
    """Return how many scans the JPEG in `file` has (ITU-T T.81, B.2), or a little over MAX_SCANS."""
    scans, at = 0, 2
    with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        # Within a scan's data a marker can only be a restart, which the pattern leaves out.
        while scans <= MAX_SCANS and (found := _MARKER.search(data, at)):
            marker, at = data[found.start() + 1], found.end()
            if marker == 0xD9:  # the end: what is appended (films, other pictures) does not count
                break
            scans += marker == 0xDA
            if marker not in (0x01, 0xD8):
                at += int.from_bytes(data[at : at + 2], "big")
    return scans


def _turn(image: Image.Image) -> Image.Transpose | None:
    """Return what puts the picture upright, by its EXIF (2.32, 4.6.4 A) or XMP."""
    try:
        orientation = image.getexif().get(_ORIENTATION)
    except Exception:  # a picture is worth more than what a broken EXIF says of it
        return None
    return _UPRIGHT.get(orientation) if isinstance(orientation, int) else None


def _plain(image: Image.Image) -> Image.Image:
    """Return the picture in a mode that can be scaled: L, RGB, RGBA, CMYK or LAB."""
    mode = image.mode
    if mode == "La":
        return image.convert("LA").convert("RGBA")
    if image.has_transparency_data:
        return image if mode == "RGBA" else image.convert("RGBA")
    if mode in ("L", "RGB", "CMYK", "LAB"):
        return image
    if mode == "1":
        return image.convert("L")
    if mode == "I" or mode == "F" or mode.startswith("I;16"):
        return _eight_bits(image)
    return image.convert("RGB")


def _eight_bits(image: Image.Image) -> Image.Image:
    """Return grey of 16 bits, 32 bits or fractions in 8: by its depth, or else from darkest to lightest.

    A plain conversion would cut every value off at 255, which leaves white.
    """
    if image.mode == "I;16":
        low, high = 0.0, 65535.0
    else:
        if image.mode.startswith("I;16"):
            image = image.convert("I")
        low, high = cast("tuple[float, float]", image.getextrema())
        full = next((full for full in (1.0, 255.0, 65535.0) if low >= 0 and high <= full), None)
        if full is not None and not (full == 1.0 and image.mode == "I"):
            low, high = 0.0, full
    scale = 255 / (high - low) if high > low else 0.0
    return image.point(lambda value: value * scale - low * scale).convert("L")


def _in_srgb(image: Image.Image, profile: bytes | None) -> Image.Image:
    """Return the picture with the colours that its profile gives it, as sRGB (IEC 61966-2-1)."""
    mode = image.mode
    out = "RGBA" if mode == "RGBA" else "RGB"
    try:
        source = ImageCms.createProfile("LAB") if mode == "LAB" else profile and io.BytesIO(profile)
        if source:
            shown = ImageCms.profileToProfile(
                image,
                ImageCms.ImageCmsProfile(source),
                ImageCms.createProfile("sRGB"),
                renderingIntent=ImageCms.Intent.RELATIVE_COLORIMETRIC,
                outputMode=out,
                flags=ImageCms.Flags.BLACKPOINTCOMPENSATION,
            )
            if shown is not None:
                return shown.convert("L") if mode == "L" else shown
    except (ImageCms.PyCMSError, OSError, TypeError, ValueError):
        if mode == "LAB":
            raise
        # A broken profile, or one of another kind of picture: the numbers are taken as they are.
    return image if mode in ("L", "RGB", "RGBA") else image.convert("RGB")
