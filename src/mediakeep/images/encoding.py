"""From a picture to bytes that are few enough: first better or worse encoded, then smaller.

Photographs become JPEG (WebP where that is not taken). What has few colours, as drawings and screens
do, or lets something show through becomes PNG, and WebP or JPEG if a PNG has too many bytes. Where the
format knows no transparency, white shows through.
"""

import io
import math
from typing import NamedTuple, cast

from PIL import Image

from mediakeep.images.unusable import UnusableImage
from mediakeep.images.wanted import Wanted

MAX_ENCODINGS = 12
"""How often one picture is encoded before it counts as one that cannot be made to fit."""

_LONGEST = {"image/jpeg": 65_500, "image/png": 2**31 - 1, "image/webp": 16_383}
"""The longest side that each format, or its encoder, can have."""

_FORMATS = {"image/jpeg": "JPEG", "image/png": "PNG", "image/webp": "WEBP"}
_QUALITIES = (85, 70, 50)
_SAMPLE = 128
_GREYS = 64


class _Step(NamedTuple):
    content_type: str
    quality: int = 0


def encoded(image: Image.Image, wanted: Wanted) -> bytes:
    """Return `image`, of mode L, RGB or RGBA, in a type and number of bytes that are wanted.

    Raises:
        UnusableImage: even a small copy of it has too many bytes.
    """
    steps = _steps(image, wanted.content_types)
    image = _scaled(image, min(_LONGEST[step.content_type] for step in steps) / max(image.size))
    for _ in range(MAX_ENCODINGS):
        step = steps.pop(0)
        data = _encode(image, step)
        if wanted.max_bytes is None or len(data) <= wanted.max_bytes:
            return data
        if not steps:
            if max(image.size) == 1:
                break
            # Bytes go about with the area; a little less, so that the next is likely to be the last.
            image = _scaled(image, min(0.8, 0.8 * math.sqrt(wanted.max_bytes / len(data))))
            steps.append(step._replace(quality=_QUALITIES[1]))
    raise UnusableImage(
        f"cannot be made to fit into {wanted.max_bytes} bytes as {' or '.join(wanted.content_types)}"
    )


def _steps(image: Image.Image, types: tuple[str, ...]) -> list[_Step]:
    """Return what to try at full size, the best first."""
    drawn = image.mode == "RGBA" or _has_few_colours(image)
    lossy = ("image/webp", "image/jpeg") if drawn else ("image/jpeg", "image/webp")
    second = next((t for t in lossy if t in types), None)
    steps = [_Step("image/png")] if "image/png" in types and (drawn or second is None) else []
    if second is not None:
        steps += [_Step(second, quality) for quality in _QUALITIES]
    return steps


def _has_few_colours(image: Image.Image) -> bool:
    """Return whether no more than one in eight pixels of a sample has a colour of its own.

    Of greys there are only 256, so that more than 64 are many.
    """
    width, height = min(image.width, _SAMPLE), min(image.height, _SAMPLE)
    sample = image.resize((width, height), Image.Resampling.NEAREST)
    found = sample.convert("RGB").getcolors(max(_GREYS, width * height // 8))
    if found is None:
        return False
    colours = [cast("tuple[int, int, int]", colour) for _, colour in found]
    return len(colours) <= _GREYS or any(not red == green == blue for red, green, blue in colours)


def _scaled(image: Image.Image, scale: float) -> Image.Image:
    if scale >= 1:
        return image
    size = max(1, int(image.width * scale)), max(1, int(image.height * scale))
    return image.resize(size, Image.Resampling.LANCZOS, reducing_gap=3.0)


def _encode(image: Image.Image, step: _Step) -> bytes:
    if step.content_type == "image/jpeg" and image.mode == "RGBA":
        white = Image.new("RGB", image.size, "white")
        white.paste(image, mask=image)
        image = white
    data = io.BytesIO()
    if step.content_type == "image/png":
        image.save(data, "PNG")
    else:
        image.save(data, _FORMATS[step.content_type], quality=step.quality)
    return data.getvalue()
