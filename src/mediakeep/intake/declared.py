r"""What a sender declares of a file: the values of `Content-Type` and `Content-Disposition`.

Senders get both wrong in many ways, and some mean harm. What comes out of here is in the form that the
standards give, or empty; what the bytes really are is for others to find out.
"""

import re
from collections.abc import Iterator
from urllib.parse import unquote_to_bytes

from mediakeep.intake.names import display_name

MAX_DECLARED = 4096
"""How many characters of a value are looked at."""


def declared_type(text: str) -> str:
    """Return the content type in `text` in one spelling; "" if it holds none.

    Type, subtype and the names of parameters are in lower case, nothing stands around `;` and `=`, and
    values are quoted where they must be (RFC 9110, section 8.3.1). Parameters that are broken or given
    twice are left out, and so are those that would make it longer than 255 characters.

    >>> declared_type(' Text/HTML ; Charset="utf-8"; =x'), declared_type("<script>")
    ('text/html;charset=utf-8', '')
    """
    kind, _, rest = text[:MAX_DECLARED].partition(";")
    kind = kind.strip().lower()
    if not _TYPE.fullmatch(kind):
        return ""
    seen = set()
    for name, value in parameters(rest):
        longer = f"{kind};{name}={quoted(value)}"
        if name not in seen and _PLAIN.fullmatch(value) and len(longer) <= 255:
            kind = longer
            seen.add(name)
    return kind


def declared_name(disposition: str) -> str:
    r"""Return the display name in the value of a `Content-Disposition`; "" if it holds none.

    `filename*` (RFC 8187, in UTF-8 or ISO-8859-1) goes before `filename` (RFC 6266, section 4.3). Names
    without the quotes that they need are taken up to the next `;`.

    >>> declared_name('attachment; filename="na\\"me.txt"; filename*=UTF-8\'\'%e2%82%ac.txt')
    '€.txt'
    >>> declared_name("attachment; filename=my cat.jpg")
    'my cat.jpg'
    """
    found = dict(reversed(list(parameters(disposition.partition(";")[2]))))  # the first of its name
    extended = _extended(found.get("filename*", ""))
    return display_name(extended) or display_name(found.get("filename", ""))


def parameters(text: str) -> Iterator[tuple[str, str]]:
    """Yield name and value of each parameter in `text`, which are separated by `;`."""
    for found in _PARAMETER.finditer(text[:MAX_DECLARED]):
        name, text_in_quotes, bare = found.groups()
        # Only quotes and backslashes are escaped in practice: "C:\new.txt" is meant as it is.
        yield name.lower(), bare.strip() if bare is not None else _ESCAPED.sub(r"\1", text_in_quotes)


def quoted(value: str) -> str:
    r"""Return `value` as it stands in a header: in quotes, unless it is a token.

    >>> print(quoted("utf-8"), quoted('a "b"'))
    utf-8 "a \"b\""
    """
    return value if _TOKEN.fullmatch(value) else '"' + _QUOTABLE.sub(r"\\\g<0>", value) + '"'


def _extended(value: str) -> str:
    """Return what an RFC 8187 `ext-value` stands for; "" if it is none."""
    charset, _, rest = value.partition("'")
    _, quote, encoded = rest.partition("'")
    if not quote or charset.lower() not in ("utf-8", "iso-8859-1") or not encoded.isascii():
        return ""
    try:
        return unquote_to_bytes(encoded).decode(charset)
    except UnicodeDecodeError:
        return ""


_WORD = r"[A-Za-z0-9!#$%&'*+.^_`|~-]+"
_TOKEN = re.compile(_WORD)
_TYPE = re.compile(r"[a-z0-9][a-z0-9!#$&^_.+-]{0,126}/[a-z0-9][a-z0-9!#$&^_.+-]{0,126}")  # RFC 6838, 4.2
_PARAMETER = re.compile(rf'(?:^|;)\s*({_WORD})\s*=\s*(?:"((?:[^"\\]|\\.)*+)"|([^;]*))')
_PLAIN = re.compile(r"[ -~]*")
_ESCAPED = re.compile(r'\\(["\\])')
_QUOTABLE = re.compile(r'["\\]')
