"""Conditional requests (RFC 9110, section 13) and ranges (section 14)."""

import re
from collections.abc import Mapping
from typing import NamedTuple

from mediakeep.http.fields import parse_date

MOST_RANGES = 32
"""A request for more ranges gets the whole file (RFC 9110, section 14.2 lets a server do so)."""


class Validators(NamedTuple):
    """What tells one state of a file from another."""

    etag: str
    """With its quotes, and `W/` where it is weak."""
    modified: int
    """Seconds since the epoch."""


class Span(NamedTuple):
    """Bytes of a file: the first one, and how many."""

    start: int
    length: int


def precondition(headers: Mapping[str, str], now: Validators) -> int:
    """Return 304 or 412 if the conditions of a GET or HEAD say so, else 200 (section 13.2.2)."""
    if (wanted := headers.get("if-match")) is not None:
        if not _any(wanted, now.etag, strong=True):
            return 412
    elif (text := headers.get("if-unmodified-since")) is not None:
        since = parse_date(text)
        if since is not None and now.modified > since:
            return 412
    if (known := headers.get("if-none-match")) is not None:
        return 304 if _any(known, now.etag, strong=False) else 200
    if (text := headers.get("if-modified-since")) is not None:
        since = parse_date(text)
        if since is not None and now.modified <= since:
            return 304
    return 200


def wanted_spans(headers: Mapping[str, str], now: Validators, size: int) -> list[Span] | None:
    """Return the spans that a GET asks for; None if it gets the whole file, none if none can be given.

    Unknown units, malformed fields and too many ranges are ignored (section 14.2). Ranges that overlap
    or touch are put together, in the order in which they were asked for first.
    """
    text = headers.get("range")
    if text is None or not _still(headers.get("if-range"), now):
        return None
    unit, equals, rest = text.partition("=")
    if not equals or unit.strip().lower() != "bytes":
        return None
    asked = rest.split(",")
    if len(asked) > MOST_RANGES:
        return None
    asked = [it for each in asked if (it := each.strip(" \t"))]  # section 5.6.1.2: may be empty
    spans: list[Span] = []
    for each in asked:
        found = _RANGE.fullmatch(each)
        if not found or each == "-":
            return None
        first, last = found[1], found[2]
        if not first:
            length = min(int(last), size)
            span = Span(size - length, length)
        else:
            if last and int(last) < int(first):
                return None
            end = min(int(last) + 1, size) if last else size
            span = Span(int(first), end - int(first))
        if span.length > 0:
            _add(spans, span)
    return spans if asked else None


def _add(spans: list[Span], new: Span) -> None:
    for number, old in enumerate(spans):
        if new.start <= old.start + old.length and old.start <= new.start + new.length:
            start = min(old.start, new.start)
            end = max(old.start + old.length, new.start + new.length)
            del spans[number]
            _add(spans, Span(start, end - start))  # which may reach others now
            return
    spans.append(new)


def _still(text: str | None, now: Validators) -> bool:
    """Return whether `If-Range` (section 13.1.5) holds; only a strong validator can."""
    if text is None:
        return True
    if text.startswith(('"', "W/")):
        return text == now.etag and not text.startswith("W/")
    # A date is strong only if nothing can have changed since within its second: as with a strong etag.
    return parse_date(text) == now.modified and not now.etag.startswith("W/")


def _any(text: str, etag: str, *, strong: bool) -> bool:
    if strong and etag.startswith("W/"):
        return text.strip() == "*"
    if text == etag or text.strip() == "*":  # mostly it is the very one
        return True
    tags = _ETAG.findall(text)
    if strong:
        return any(tag == etag for tag in tags)
    return any(tag.removeprefix("W/") == etag.removeprefix("W/") for tag in tags)


_RANGE = re.compile(r"([0-9]{0,18})-([0-9]{0,18})", re.ASCII)
_ETAG = re.compile(r'(?:W/)?"[\x21\x23-\x7e\x80-\xff]*"')
