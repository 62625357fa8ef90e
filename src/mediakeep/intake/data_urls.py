"""Data URLs (RFC 2397): taken apart, put together, and found in longer text."""

import binascii
import re
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import quote, unquote, unquote_to_bytes

from mediakeep.errors import MediaError, TooLarge
from mediakeep.intake.declared import declared_type, parameters, quoted
from mediakeep.intake.names import display_name
from mediakeep.model import NO_META, MediaMeta

if TYPE_CHECKING:
    from mediakeep.store import MediaStore

__all__ = ["BadDataURL", "DataURL", "find_data_urls", "make_data_url", "parse_data_url", "put_data_url"]

MAX_HEADER = 1024
"""How many characters may stand between `data:` and the comma."""


class BadDataURL(MediaError, ValueError):
    """The text is no data URL, or its base64 is broken."""


class DataURL(NamedTuple):
    """What a data URL holds."""

    content_type: str
    """With its parameters, except those that name a file; by default `text/plain;charset=US-ASCII`."""
    data: bytes
    filename: str = ""
    """A display name: what a parameter `name` or `filename` says."""


def parse_data_url(url: str, *, max_bytes: int | None = None) -> DataURL:
    """Take the data URL `url` apart.

    What occurs in practice is taken: white space around it and anywhere in base64, the URL-safe
    alphabet, base64 without its padding or with percent escapes, any case of `data:` and `;base64`,
    characters that should have been escaped. A `#` belongs to the data. A content type that is none
    counts as not given.

    Args:
        url: the text.
        max_bytes: how many bytes it may hold; looked at before anything is decoded.

    Raises:
        BadDataURL: it is none, or its base64 is broken.
        TooLarge: it holds more than `max_bytes`.

    >>> parse_data_url("data:image/gif;base64,R0lGODlh")
    DataURL(content_type='image/gif', data=b'GIF89a', filename='')
    >>> parse_data_url("data:,a%20b")
    DataURL(content_type='text/plain;charset=US-ASCII', data=b'a b', filename='')
    """
    begin = _BEGIN.match(url)
    if begin is None:
        raise BadDataURL(f"{_short(url)} is no data URL: it does not begin with 'data:'")
    comma = url.find(",", begin.end(), begin.end() + MAX_HEADER + 1)
    if comma < 0:
        raise BadDataURL(
            f"{_short(url)} has no comma in the {MAX_HEADER} characters behind 'data:': the data of a "
            "data URL stand behind a comma"
        )
    header = url[begin.end() : comma]
    described = _MARK.sub("", header)
    decode = _from_percent if described == header else _from_base64
    data = decode(url, comma + 1, max_bytes)
    return DataURL(_content_type(described), data, _filename(described))


def make_data_url(content_type: str, data: bytes) -> str:
    """Return a data URL in base64, of characters that HTML, Markdown and JSON take as they are.

    What is no content type becomes `application/octet-stream`. Values of parameters are percent-encoded.

    >>> make_data_url("text/plain; charset=utf-8", b"hello")
    'data:text/plain;charset=utf-8;base64,aGVsbG8='
    """
    kind, _, rest = (declared_type(content_type) or "application/octet-stream").partition(";")
    header = quote(kind, safe="/+")
    for name, value in parameters(rest):
        header += f";{quote(name, safe='')}={quote(value, safe='')}"
    return f"data:{header};base64,{binascii.b2a_base64(data, newline=False).decode('ascii')}"


def find_data_urls(text: str) -> Iterator[tuple[int, int]]:
    """Yield begin and end of each data URL in base64 that stands in `text`, from left to right.

    An URL ends before the first character that is not of its base64, so in Markdown, HTML attributes and
    JSON it ends where it should, and at white space. URLs without data, and percent-encoded ones, of
    which nobody can tell the end, are passed over. Takes time in proportion to the text, whatever is in
    it.

    >>> text = "![a cat](data:image/gif;base64,R0lGODlh) and so on"
    >>> for begin, end in find_data_urls(text):
    ...     print(text[begin:end])
    data:image/gif;base64,R0lGODlh
    """
    before = 0
    for mark in _MARK_IN_TEXT.finditer(text):
        # Looking back from the mark, for so many characters and no more, is what keeps it linear.
        reach = max(before, mark.start() - MAX_HEADER_IN_TEXT)
        header = _HEADER_IN_TEXT.search(text[reach : mark.start()])
        before = mark.end()
        if header is None or _goes_on(text, reach + header.start()):
            continue
        found = _BODY_IN_TEXT.match(text, mark.end())
        if found is not None and found.end() > mark.end():
            before = found.end()
            yield reach + header.start(), before


def put_data_url(
    store: "MediaStore",
    url: str,
    meta: MediaMeta = NO_META,
    scope: str = "",
    *,
    ttl: timedelta | float | None = None,
    max_bytes: int | None = None,
) -> str:
    """Put the bytes of the data URL `url` into `store`, and return their ref.

    Content type and name are the URL's where `meta` has none.

    Raises:
        BadDataURL: it is no data URL, or its base64 is broken.
        TooLarge: it holds more than `max_bytes`.
        MediaError: as `store.put` raises it.
    """
    found = parse_data_url(url, max_bytes=max_bytes)
    declared = replace(
        meta,
        content_type=meta.content_type or found.content_type,
        filename=meta.filename or found.filename,
    )
    return store.put(found.data, declared, scope, ttl=ttl)


MAX_HEADER_IN_TEXT = 256
"""How many characters may stand between `data:` and `;base64,` in longer text."""

_SPACE = " \t\r\n\f\v"

_BEGIN = re.compile(r"\s*data\s*:", re.IGNORECASE)
_MARK = re.compile(r";\s*base64\s*\Z", re.IGNORECASE)

_MARK_IN_TEXT = re.compile(r";[bB][aA][sS][eE]64,")
_IN_SCHEME = re.compile(r"[A-Za-z0-9+._-]")
# The last `data:` before the mark: no other one behind it, and nothing that ends a word.
_HEADER_IN_TEXT = re.compile(r"""data:(?:(?!data:)[^\s"'`<>()\[\]{}\\,])*+\Z""", re.IGNORECASE)
_BODY_IN_TEXT = re.compile(r"(?:[A-Za-z0-9+/_-]++|%2[BbFf]|%3[Dd])*+={0,2}")

_STANDARD = bytes.maketrans(b"-_", b"+/")


def _goes_on(text: str, begin: int) -> bool:
    """Return whether what stands before `begin` is part of the same word, so that it is no scheme."""
    return begin > 0 and _IN_SCHEME.match(text, begin - 1) is not None


def _content_type(header: str) -> str:
    kind, semicolon, rest = header.partition(";")
    others = "".join(
        f";{name}={quoted(unquote(value))}"
        for name, value in parameters(semicolon + rest)
        if name not in _NAMING
    )
    kind = unquote(kind)
    if not declared_type(kind):
        return declared_type("text/plain" + others) if others else "text/plain;charset=US-ASCII"
    return declared_type(kind + others)


_NAMING = ("filename", "name")


def _filename(header: str) -> str:
    found = dict(parameters(";" + header.partition(";")[2]))
    return next((name for key in _NAMING if (name := display_name(unquote(found.get(key, ""))))), "")


def _from_base64(url: str, start: int, max_bytes: int | None) -> bytes:
    if max_bytes is not None and (len(url) - start) * 3 // 4 > max_bytes:
        idle = sum(url.count(character, start) for character in _SPACE + "=")
        # Any percent escape may yet turn out to be white space or padding.
        _check_size((len(url) - start - idle - 3 * url.count("%", start)) * 3 // 4, max_bytes)
    try:
        raw = _unescaped(url, start) if "%" in url else url[start:].encode("ascii")
        letters = raw.translate(_STANDARD, _SPACE.encode()).rstrip(b"=")
        if max_bytes is not None:
            _check_size(len(letters) * 3 // 4, max_bytes)
        if len(letters) % 4 == 1:
            raise BadDataURL(f"{_short(url)} is cut short: its base64 ends in the middle of a byte")
        return binascii.a2b_base64(letters + b"=" * (-len(letters) % 4), strict_mode=True)
    except (binascii.Error, UnicodeEncodeError) as error:
        raise BadDataURL(
            f"{_short(url)} is no base64: it has characters that are not of its alphabet, or has "
            "padding where it does not end"
        ) from error


def _from_percent(url: str, start: int, max_bytes: int | None) -> bytes:
    if max_bytes is not None and len(url) - start > max_bytes:
        idle = sum(url.count(character, start) for character in _SPACE)
        _check_size(len(url) - start - idle - 2 * url.count("%", start), max_bytes)
    # As a browser does it: line breaks and tabs are no part of an URL, nor is white space at its end.
    text = url[start:].rstrip(_SPACE)
    for broken in "\t\r\n":
        text = text.replace(broken, "")
    try:
        data = _unescaped(text, 0)
    except UnicodeEncodeError as error:
        raise BadDataURL(f"{_short(url)} is no valid Unicode: {error.reason}") from error
    if max_bytes is not None:
        _check_size(len(data), max_bytes)
    return data


def _unescaped(url: str, start: int) -> bytes:
    """Return what stands behind `start`, percent escapes decoded, in memory of about twice its size."""
    data = bytearray()
    while start < len(url):
        end = start + _PIECE
        if end < len(url) and (escape := url.rfind("%", end - 2, end)) >= 0:
            end = escape
        data += unquote_to_bytes(url[start:end])
        start = end
    return bytes(data)


_PIECE = 1 << 14


def _check_size(size: int, max_bytes: int) -> None:
    if size > max_bytes:
        raise TooLarge(
            f"the data URL holds {size} bytes or more, and may hold {max_bytes} (max_bytes): "
            "send a smaller file, or raise the limit"
        )


def _short(url: str) -> str:
    return repr(url if len(url) <= _SHOWN else url[:_SHOWN] + "…")


_SHOWN = 60
