"""Values of header fields: what strangers said, encoded as a header needs it."""

import re
from datetime import UTC
from email.utils import formatdate, parsedate_to_datetime
from functools import lru_cache
from urllib.parse import quote

from mediakeep.intake.names import display_name
from mediakeep.model import MediaMeta

OCTETS = "application/octet-stream"

_TYPE = re.compile(r"[a-z0-9][a-z0-9!#$&^_.+-]{0,126}/[a-z0-9][a-z0-9!#$&^_.+-]{0,126}", re.IGNORECASE)
_PARAMETERS = re.compile(
    r"""(?: ?; ?[A-Za-z0-9_-]{1,40}=(?:[A-Za-z0-9_.+-]{1,80}|"[A-Za-z0-9_., +/-]{0,80}"))*"""
)
# What a browser shows without running anything of it.
_SHOWN = re.compile(
    r"image/(?:jpeg|png|gif|webp|avif|bmp|heic|heif|vnd\.microsoft\.icon)|audio/.*|video/.*|text/plain"
)
_ASCII = re.compile(r"[^ !#-$&-\[\]-~]")  # without quotes, backslashes and percents
_WORD = "!#$&+-.^_`|~"  # what RFC 8187 leaves as it is in a value, besides letters and digits

CSP = (
    b"default-src 'none'; img-src 'self'; media-src 'self'; style-src 'unsafe-inline'; "
    b"sandbox; frame-ancestors 'none'"
)
"""For the bytes of strangers: whatever they are, they run nothing and reach nothing."""


def content_type(meta: MediaMeta) -> str:
    """Return the type to serve a file with: as it was said, if that can stand in a header."""
    essence, semicolon, rest = meta.content_type.partition(";")
    essence = essence.strip().lower()
    if not _TYPE.fullmatch(essence):
        return OCTETS
    parameters = f"; {rest.strip()}" if semicolon else ""
    return essence + parameters if _PARAMETERS.fullmatch(parameters) else essence


def disposition(meta: MediaMeta, kind: str, *, attachment: bool) -> str:
    r"""Return the value of `Content-Disposition` (RFC 6266) for a file of the type `kind`.

    What is not safe to show is an attachment, whatever was asked for. The name is in ASCII and, where
    that is not all of it, in UTF-8 too (RFC 8187).

    >>> disposition(MediaMeta("h\u00e9\"\r\n.png"), "image/png", attachment=False)
    'inline; filename="h__ .png"; filename*=UTF-8\'\'h%C3%A9_%20.png'
    """
    shown = not attachment and _SHOWN.fullmatch(kind.partition(";")[0])
    said = "inline" if shown else "attachment"
    name = display_name(meta.filename)
    if not name:
        return said
    plain = _ASCII.sub("_", name)
    said += f'; filename="{plain}"'
    if plain != name:
        said += "; filename*=UTF-8''" + quote(name, safe=_WORD)
    return said


@lru_cache(maxsize=4096)
def http_date(seconds: float) -> str:
    """Return a time as an HTTP-date (RFC 9110, section 5.6.7)."""
    return formatdate(int(seconds), usegmt=True)


def parse_date(text: str) -> int | None:
    """Return the seconds since the epoch of an HTTP-date, None if it is none."""
    try:
        found = parsedate_to_datetime(text)
        return int((found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp())
    except (TypeError, ValueError, OverflowError):
        return None
