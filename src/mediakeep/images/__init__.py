"""Pictures made fit for models: the right type, small enough, upright, and with nothing to tell of.

What a file is and how large it is comes from its header, read here with the standard library alone. A
picture that fits is never decoded. One that does not is decoded in a process of its own, which may use
so much memory and so much time and no more: a decoder that runs wild or crashes takes nothing with it.

Needs Pillow, and pi-heif for HEIC, as soon as a picture has to be changed:
`pip install "mediakeep[images]"`; and pypdfium2 for pages of PDF: `pip install "mediakeep[documents]"`.
"""

import io
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from mediakeep.errors import BlobError, MediaMissing
from mediakeep.files import open_regular
from mediakeep.images.bounds import MAX_FILE_BYTES, MAX_MEMORY_BYTES, MAX_PIXELS, MAX_SECONDS
from mediakeep.images.header import DECODED, Header, named_type, read_header
from mediakeep.images.posters import PDF, picture_in
from mediakeep.images.unusable import ImagesExtraMissing, NoPicture, UnusableImage
from mediakeep.images.wanted import WRITTEN, Wanted
from mediakeep.intake.types import HEAD_BYTES, sniff

__all__ = (
    "MAX_FILE_BYTES",
    "MAX_MEMORY_BYTES",
    "MAX_PIXELS",
    "MAX_SECONDS",
    "ImageRules",
    "ImagesExtraMissing",
    "NoPicture",
    "UnusableImage",
    "fitted",
    "poster",
    "thumbnail",
)


@dataclass(frozen=True, slots=True)
class ImageRules:
    """What a receiver takes; None means no limit.

    Args:
        content_types: the types it takes, such as `image/jpeg`.
        max_bytes: the most bytes in base64, which is 4 for every 3 of the file or part of them.
        max_edge: the most pixels along the longer side.
        max_pixels: the most pixels in all.
        animated: whether more than one frame is taken.

    Raises:
        ValueError: the types are one text, or a limit is not a positive whole number.
    """

    content_types: frozenset[str]
    max_bytes: int | None = None
    max_edge: int | None = None
    max_pixels: int | None = None
    animated: bool = False

    def __post_init__(self) -> None:
        if isinstance(self.content_types, str):
            raise ValueError(f"content_types must be a set of types, not {self.content_types!r}")
        for name in ("max_bytes", "max_edge", "max_pixels"):
            limit = getattr(self, name)
            if limit is not None and not (type(limit) is int and limit > 0):
                raise ValueError(f"{name} must be a positive whole number, not {limit!r}")


def fitted(path: Path, rules: ImageRules) -> bytes | None:
    """Return None if the picture at `path` fits `rules` as it is, else the bytes of one that does.

    Whether it fits is told from its header and its size: the file is then passed on as it is, with its
    metadata. What is returned is upright, in sRGB, without metadata, and its first frame only; it is a
    JPEG, PNG or WebP, whichever the rules allow and the picture needs.

    Raises:
        UnusableImage: it is no picture that is known, malformed, cut off, larger than MAX_PIXELS, takes
            more than MAX_SECONDS or MAX_MEMORY_BYTES to decode, or cannot be made to fit.
        ImagesExtraMissing: it would have to be changed, and what does that is not installed.
        MediaMissing: there is no such file.
        NotAFile: it is a directory, a device, a socket or a FIFO.
        BlobError: it cannot be read.
    """
    with _opened(path) as file:
        header = read_header(file)
        if _misfit(header, rules) is None:
            return None
        return _changed(file, header, rules)


def thumbnail(path: Path, size: int) -> bytes:
    """Return a small copy of the picture at `path`, its longer side at most `size` pixels.

    It is a JPEG; where there is transparency, or few colours, a PNG. Never larger than the original,
    and changed as by `fitted`, which also says what it raises.
    """
    rules = _small(size)
    with _opened(path) as file:
        return _changed(file, read_header(file), rules)


def poster(path: Path, size: int) -> bytes:
    """Return a small picture that shows what the file at `path` is, as `thumbnail` does of a picture.

    Of a PDF it is the first page, its longer side `size` pixels, but 4096 at most. Of an EPUB, an
    OpenDocument or an Office document, and of music in MP3, MP4 and FLAC, it is the cover or preview
    that the file has in it. It is found by the file's bytes, whatever its name says.

    Raises:
        NoPicture: it is of another type, or has no picture in it that is read here.
        UnusableImage: it or its picture is malformed, encrypted, or more than is decoded; else as
            `fitted` says.
    """
    rules = _small(size)
    with _opened(path) as file:
        content_type = named_type(sniff(file.read(HEAD_BYTES)).content_type)
        if content_type in DECODED:
            return _changed(file, read_header(file), rules)
        if content_type == PDF:
            from mediakeep.images.apart import first_page  # what has no page starts no process

            return _checked(first_page(file, Wanted(_types(rules), max_edge=size)), rules)
        return _carried(picture_in(file, content_type), content_type, size)


def _carried(picture: bytes | None, content_type: str, size: int) -> bytes:
    """Return the small copy of a picture that was found in a file of this type.

    It is a JPEG: OpenDocument previews are black letters on nothing, and this puts them on white.
    """
    if not picture:
        raise NoPicture(
            f"is {content_type or 'nothing that is known'}, and has no picture to show for it"
        )
    kind = named_type(sniff(picture).content_type)
    if kind not in DECODED:
        raise NoPicture(f"has a picture in it that is {kind or 'nothing that is known'}, and not shown")
    with tempfile.TemporaryFile() as file:
        file.write(picture)
        file.flush()
        try:
            return _changed(file, read_header(file), _small(size, "image/jpeg"))
        except ImagesExtraMissing:
            raise
        except UnusableImage as error:
            raise UnusableImage(f"has a picture in it that {error.reason}") from error


def _small(size: int, *types: str) -> ImageRules:
    return ImageRules(frozenset(types or ("image/jpeg", "image/png")), max_edge=size)


def _types(rules: ImageRules) -> tuple[str, ...]:
    return tuple(t for t in WRITTEN if t in rules.content_types)


@contextmanager
def _opened(path: Path) -> Iterator[BinaryIO]:
    try:
        with open_regular(path) as file:
            yield file
    except FileNotFoundError as error:
        raise MediaMissing.at(path, "a picture must be there to be looked at") from error
    except OSError as error:
        raise BlobError(f"cannot read {str(path)!r}: {error.strerror}") from error
    except UnusableImage as error:
        error.picture = path
        raise


def _changed(file: BinaryIO, header: Header, rules: ImageRules) -> bytes:
    from mediakeep.images.apart import changed  # what fits starts no process

    types = _types(rules)
    if not types:
        raise UnusableImage(
            f"has no format that fits: pictures are written as {', '.join(WRITTEN)}, "
            f"and what is taken is {', '.join(sorted(rules.content_types)) or 'nothing'}"
        )
    limit = None if rules.max_bytes is None else rules.max_bytes // 4 * 3
    wanted = Wanted(types, limit, rules.max_edge, rules.max_pixels)
    return _checked(changed(file, header, wanted), rules)


def _checked(data: bytes, rules: ImageRules) -> bytes:
    # It comes from a process that has read hostile bytes, so that its word is not taken for it.
    misfit = _misfit(read_header(io.BytesIO(data)), rules)
    if misfit is not None:
        raise UnusableImage(f"was changed, and still {misfit}")
    return data


def _misfit(header: Header, rules: ImageRules) -> str | None:
    """Return in which way a picture does not fit, or None."""
    base64 = 4 * -(-header.size // 3)
    if header.content_type not in rules.content_types:
        return f"is {header.content_type}, which is not taken"
    if rules.max_bytes is not None and base64 > rules.max_bytes:
        return f"has {base64} bytes in base64, more than {rules.max_bytes}"
    if rules.max_edge is not None and max(header.width, header.height) > rules.max_edge:
        return f"is {header.width} x {header.height}, with a side longer than {rules.max_edge}"
    if rules.max_pixels is not None and header.width * header.height > rules.max_pixels:
        return f"is {header.width} x {header.height}, more than {rules.max_pixels} pixels"
    if header.animated and not rules.animated:
        return "is animated"
    return None
