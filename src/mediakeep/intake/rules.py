"""What the limits say of a type, of a size by type, and of a picture's pixels."""

from typing import BinaryIO

from mediakeep.errors import TooLarge, TypeNotAllowed
from mediakeep.intake.pixels import dimensions
from mediakeep.intake.types import HEAD_BYTES, essence, proven, sniff
from mediakeep.model import Limits


def judges_content(limits: Limits) -> bool:
    """Return whether a rule asks what the bytes are, so that they must be looked at."""
    return bool(
        limits.allowed_types is not None
        or limits.refused_types
        or limits.max_bytes_by_type
        or limits.max_pixels
    )


def check_type(limits: Limits, proven_type: str, declared: str) -> None:
    """Raise TypeNotAllowed if files of this type may not come in."""
    said = f" (declared as {declared!r})" if declared and essence(declared) != proven_type else ""
    for pattern in limits.refused_types:
        if _fits(proven_type, pattern):
            raise TypeNotAllowed(
                f"it is {proven_type}{said}, and {pattern} is refused (refused_types): "
                "convert it, or send another file"
            )
    allowed = limits.allowed_types
    if allowed is not None and not any(_fits(proven_type, it) for it in allowed):
        raise TypeNotAllowed(
            f"it is {proven_type}{said}, and only {', '.join(allowed) or 'nothing'} may come in "
            "(allowed_types): convert it, or send another file"
        )


def check_size(limits: Limits, size: int, proven_type: str) -> None:
    """Raise TooLarge if a file of this type may not have so many bytes."""
    if limits.max_file_bytes is not None and size > limits.max_file_bytes:
        raise TooLarge(
            f"it has {size} bytes or more, and a file may have {limits.max_file_bytes} "
            "(max_file_bytes): send a smaller one, or raise the limit"
        )
    for pattern, most in limits.max_bytes_by_type.items():
        if size > most and _fits(proven_type, pattern):
            raise TooLarge(
                f"it is {proven_type} of {size} bytes or more, and a file of {pattern} may have {most} "
                "(max_bytes_by_type): send a smaller one, or raise the limit"
            )


def check_pixels(limits: Limits, file: BinaryIO, proven_type: str) -> None:
    """Raise TooLarge if a picture does not say in its header that it has no more pixels than it may."""
    if (
        limits.max_pixels is None
        or not proven_type.startswith("image/")
        or proven_type == "image/svg+xml"  # which has none
    ):
        return
    found = dimensions(file, proven_type)
    if found is None:
        raise TooLarge(
            f"it is {proven_type}, and its header does not tell how many pixels it has (max_pixels): "
            "convert it to PNG or JPEG"
        )
    if found[0] * found[1] > limits.max_pixels:
        raise TooLarge(
            f"it is a picture of {found[0]} x {found[1]} pixels, and one may have {limits.max_pixels} "
            "(max_pixels): scale it down, or raise the limit"
        )


def check_file(limits: Limits, file: BinaryIO, size: int, declared: str) -> None:
    """Raise what the limits say of a file that is complete.

    Raises:
        TooLarge, TypeNotAllowed: it is more, or other, than the limits allow.
    """
    found = proven(declared, sniff(file.read(HEAD_BYTES)))
    check_type(limits, found, declared)
    check_size(limits, size, found)
    check_pixels(limits, file, found)


def _fits(content_type: str, pattern: str) -> bool:
    main, _, sub = pattern.partition("/")
    if sub != "*":
        return content_type == pattern
    return main in ("*", content_type.partition("/")[0])
