"""A ref as it stands in a message: bare, or with a mark that says how the data was written there.

`media://<uuid>` alone stands for the data in the usual spelling of its place. Where it was spelled
otherwise, the header of the data URL (percent-encoded), `base64` or `bytes` follows behind a `#`:
`media://<uuid>#data:image/jpg;base64,`. In running text a data URL always leaves such a mark, unless it
was the target of a Markdown link; so what mediakeep put there can be told from what somebody wrote.
"""

import re
from typing import NamedTuple
from urllib.parse import quote, unquote_to_bytes

from mediakeep.refs import PREFIX

BASE64 = "base64"
"""The mark of plain base64 in a place where a data URL is usual."""
BYTES = "bytes"
"""The mark of bytes that were not text at all."""


class Mark(NamedTuple):
    """A ref, and how the data was written in its place; `written` is empty for the usual spelling."""

    ref: str
    written: str = ""

    def __str__(self) -> str:
        return f"{self.ref}#{_quoted(self.written)}" if self.written else self.ref

    @property
    def header(self) -> str:
        """What stood before the data, if it was a data URL: `data:` and all up to the comma."""
        return self.written if self.written.endswith(",") else ""


def read_mark(value: object) -> Mark | None:
    """Return the mark that `value` is, with nothing behind it, or None if it is none.

    >>> read_mark("media://0a7f4c1e-58f5-4d27-9d5f-2a1d64c31b77#data:image/jpg;base64,").written
    'data:image/jpg;base64,'
    """
    found = _WHOLE.fullmatch(value) if isinstance(value, str) else None
    return found and Mark(found[1], _unquoted(found[2] or ""))


def _quoted(written: str) -> str:
    # The comma that ends a header is what tells its end in running text: those within it are escaped.
    comma = "," if written.endswith(",") else ""
    return quote(written.removesuffix(comma), safe=":/;=+", errors="surrogatepass") + comma


def _unquoted(written: str) -> str:
    octets = unquote_to_bytes(written)
    try:
        return octets.decode("utf-8", "surrogatepass")
    except UnicodeDecodeError:  # not of our making: somebody wrote it
        return octets.decode("utf-8", "replace")


_UUID = r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"
_DATA = r"(?i:data:)[A-Za-z0-9:/;=+%._~-]*,"
_HEADER = rf"#({_DATA})"
# White space before a data URL stands in its mark, percent-encoded.
_WHOLE = re.compile(rf"""({PREFIX}[!"$-~]*)(?:#({BASE64}|{BYTES}|(?:%[0-9A-F]{{2}})*{_DATA}))?""")

IN_TEXT = re.compile(rf"(?:(?<=\]\()({PREFIX}{_UUID})(?:{_HEADER})?|({PREFIX}{_UUID}){_HEADER})")
"""A mark that `externalize` left in running text."""


def marked_in_text(found: re.Match[str]) -> Mark:
    """Return the mark that a match of `IN_TEXT` is."""
    return Mark(found[1] or found[3], _unquoted(found[2] or found[4] or ""))
