"""What runs in the process that a picture has for its own: bind yourself, decode, encode, answer."""

import math
import os
import sys
import warnings
from collections.abc import Sequence
from typing import Any, BinaryIO

from PIL import Image, UnidentifiedImageError

from mediakeep.images.bounds import MAX_PIXELS
from mediakeep.images.decoding import decoded
from mediakeep.images.encoding import encoded
from mediakeep.images.unusable import UnusableImage
from mediakeep.images.wanted import Wanted


def work(asked: dict[str, Any]) -> None:
    """Answer on standard output what becomes of the picture on standard input.

    The answer is a line, `made` or `refused` with a number of bytes, and then the picture or the reason.
    """
    with os.fdopen(os.dup(1), "wb") as answer:
        os.dup2(2, 1)  # what a library prints is not part of the answer
        warnings.simplefilter("ignore")
        Image.MAX_IMAGE_PIXELS = MAX_PIXELS  # also for pictures inside pictures, as in ICO
        ready(asked["formats"])
        _bind(asked["memory"], math.ceil(asked["seconds"]))
        verdict, data = outcome(sys.stdin.buffer, asked["formats"], Wanted(*asked["wanted"]))
        answer.write(b"%s %d\n" % (verdict, len(data)))
        answer.write(data)


def ready(formats: Sequence[str]) -> None:
    """Load the decoders for `formats`, each with as few threads as it can do with."""
    if "HEIF" in formats:
        import pi_heif  # type: ignore[import-untyped]

        pi_heif.register_heif_opener(
            thumbnails=False, depth_images=False, aux_images=False, decode_threads=1
        )
    if "PDF" in formats:
        import pypdfium2  # type: ignore[import-untyped]  # noqa: F401
    if "AVIF" in formats:
        from PIL import AvifImagePlugin

        AvifImagePlugin.DEFAULT_MAX_THREADS = 1


def outcome(file: BinaryIO, formats: Sequence[str], wanted: Wanted) -> tuple[bytes, bytes]:
    """Return `made` and the new picture, or `refused` and the reason in UTF-8."""
    try:
        if "PDF" in formats:
            from mediakeep.images.pages import first_page

            image = first_page(file, wanted)
        else:
            image = decoded(file, formats, wanted)
        return b"made", encoded(image, wanted)
    except UnusableImage as error:
        reason = error.reason
    except UnidentifiedImageError:  # its message tells of this process only
        reason = "cannot be decoded: it is malformed or cut off"
    except MemoryError:
        reason = "takes more memory to decode than a picture may have: make it smaller"
    except Exception as error:  # Pillow has no error of its own: hostile bytes raise a score of kinds
        text = f"{type(error).__name__}: {error}"[:200]
        reason = f"cannot be decoded: it is malformed, cut off or too large ({text})"
    return b"refused", reason.encode(errors="replace")


def _bind(memory: int, seconds: int) -> None:
    try:
        import resource
    except ImportError:  # Windows has no such limits; there the time is still kept, from outside
        return
    for name, limit in (
        ("RLIMIT_AS", memory),
        ("RLIMIT_CPU", seconds),
        ("RLIMIT_FSIZE", 0),
        ("RLIMIT_CORE", 0),
    ):
        kind = getattr(resource, name)
        _, hard = resource.getrlimit(kind)
        if hard != resource.RLIM_INFINITY:
            limit = min(limit, hard)
        # Of the processor's time the soft limit tells that it was that, the hard one only kills.
        most = limit + 1 if name == "RLIMIT_CPU" and limit != hard else limit
        try:
            resource.setrlimit(kind, (limit, most))
        except (OSError, ValueError):
            if sys.platform == "linux":  # macOS knows RLIMIT_AS and refuses it
                raise
