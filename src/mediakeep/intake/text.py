"""Text: its encoding, and what it is text of. Markup and scripts are certain, all else a guess."""

import codecs
from json import JSONDecodeError, JSONDecoder
from typing import Final

from mediakeep.intake.archives import is_lottie
from mediakeep.intake.markup import markup_type
from mediakeep.intake.scripts import script_type

# What occurs in text, besides letters: BEL, BS, HT, LF, VT, FF, CR and ESC.
_TEXT: Final = bytes([7, 8, 9, 10, 11, 12, 13, 27, *range(32, 127), *range(128, 256)])
_ACTIVE: Final = ("<script", "<iframe", "<html", "<body", "<svg", "<img ", "<object", "<embed")
_TAG_CHARACTERS = 256
"""How much of a text is looked through for tags."""
_BOMS: Final = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),  # before UTF-16: it begins with the same two bytes
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
)
_BEGINNINGS: Final = (
    ("BEGIN:VCARD", "text/vcard"),
    ("BEGIN:VCALENDAR", "text/calendar"),
    ("WEBVTT", "text/vtt"),
)
_JSON: Final = JSONDecoder()
_JSON_CHARACTERS = 200
"""How much of a text is parsed to see whether it is JSON."""
_CSV_CHARACTERS = 1024
_CSV_LINES = 10
"""How many lines must have the same number of commas, if there are so many."""


def text_type(head: bytes) -> tuple[str, bool]:
    """Return what the text is and whether that is certain; an empty type if it is no text.

    The last character may be cut in two. Markup and scripts are recognised behind control characters
    too, because those who run them do not mind.
    """
    text = decoded(head)
    if text is None:
        rough = _roughly(head).lstrip()
        if rough.startswith("<"):
            return markup_type(rough, strict=True) or ("", False)
        return (rough.startswith("#!") and script_type(rough)) or ("", False)
    start_of = text.lstrip()
    if not start_of:
        return "text/plain", False
    if start_of[0] == "<":
        found = markup_type(start_of)
        if found:
            return found
    elif start_of[0] in "{[":
        found = _json(start_of)
        if found:
            return found
    for beginning, kind in _BEGINNINGS:
        if start_of.startswith(beginning):
            return kind, True
    found = script_type(start_of)
    if found:
        return found
    if "<" in text:
        lower = start_of[:_TAG_CHARACTERS].lower()
        if any(tag in lower for tag in _ACTIVE):
            return "text/html", False
    return ("text/csv" if _is_csv(text) else "text/plain"), False


def decoded(head: bytes) -> str | None:
    """Return the text that `head` begins, by its mark, as UTF-8, UTF-16 or in some 8-bit code; or None.

    Of an 8-bit code only ASCII comes out right, and that is all that is looked at.
    """
    for mark, encoding in _BOMS:
        if head.startswith(mark):
            return _by(encoding, head[len(mark) :])
    if not head.translate(None, _TEXT):
        text = _by("utf-8", head, checked=True)
        if text is not None:
            return text
        # Not a handful of random bytes: those seldom have white space and no control characters.
        return head.decode("latin-1") if len(head.split(None, 1)) > 1 else None
    if b"\0" not in head[:2]:
        encoding = "utf-16-le" if head[1:2] == b"\0" else ""
    else:
        encoding = "utf-16-be" if head[:1] == b"\0" else "utf-16-le"
    if not encoding or len(head) < 4:
        return None
    # Without a mark only what is ASCII for the most part.
    zeros = head[encoding.endswith("le") :: 2].count(0)
    return _by(encoding, head) if zeros * 2 > len(head) * 0.8 else None


def _roughly(head: bytes) -> str:
    """Return what those would read who do not mind bytes that are no text."""
    for mark, encoding in _BOMS:
        if head.startswith(mark):
            return head[len(mark) :].decode(encoding, "replace")
    return head.decode("latin-1")


def _by(encoding: str, data: bytes, *, checked: bool = False) -> str | None:
    try:
        text = codecs.getincrementaldecoder(encoding)().decode(data)
    except UnicodeDecodeError:
        return None
    if not text or not (checked or _is_clean(text)):
        return None
    return text


def _is_clean(text: str) -> bool:
    return not text.encode("utf-8", "replace").translate(None, _TEXT)


def _json(text: str) -> tuple[str, bool] | None:
    """Return what JSON it is if `text` is some, or the beginning of some (RFC 8259).

    An object, and an array of objects, is certain: `[1]` may as well be a footnote.
    """
    part = text[:_JSON_CHARACTERS]
    try:
        _, end = _JSON.raw_decode(part)
    except JSONDecodeError as error:
        if not _is_cut(error, len(part)):
            return None
        end = len(text)
    except RecursionError:
        return None
    rest = text[end:].lstrip()
    if rest and rest[0] not in "{[":
        return None
    if rest:
        return "application/x-ndjson", False
    if text[0] == "{" and is_lottie(text.encode("utf-8", "replace")):
        return "video/lottie+json", True
    return "application/json", text[0] == "{" or text[1:].lstrip()[:1] == "{"


def _is_cut(error: JSONDecodeError, length: int) -> bool:
    """Return whether the only thing wrong is that the text ends too early."""
    # Six characters have the longest things that are taken whole, such as an escape by its number.
    return error.pos >= length - 6 or error.msg.startswith("Unterminated string")


def _is_csv(text: str) -> bool:
    """Return whether the first lines have the same number of commas outside quotes (RFC 4180)."""
    if "," not in text:
        return False
    lines = "".join(text[:_CSV_CHARACTERS].split('"')[::2]).splitlines()
    if len(lines) > _CSV_LINES:
        lines = lines[:_CSV_LINES]
    elif len(lines) > 2 and (len(text) > _CSV_CHARACTERS or not text.endswith(("\n", "\r"))):
        lines.pop()  # may be cut
    if len(lines) < 2:
        return False
    commas = lines[0].count(",")
    return commas > 0 and all(line.count(",") == commas for line in lines)
