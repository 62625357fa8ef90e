"""File names of strangers, made harmless: to show, to put into a header, to make a file of.

What comes out is one path component on Linux, macOS and Windows, whatever came in. The rules are those
that Windows has for names (Microsoft's "Naming Files, Paths, and Namespaces"), since they are the
narrowest, and Unicode's for what cannot be seen (general categories Cc, Cf, Co, Cs, Zl, Zp, the
noncharacters, and DerivedCoreProperties' `Default_Ignorable_Code_Point`).
"""

import re
import unicodedata

__all__ = ["display_name", "with_number"]

MAX_NAME_BYTES = 255
"""How long a name may be, in bytes of UTF-8: what ext4, APFS and most others take for a component."""


def display_name(name: str) -> str:
    r"""Return the harmless name that is meant by `name`; "" if nothing of it is left.

    - Of a path the part behind the last `/` or `\` counts.
    - In Unicode NFC, without what cannot be seen: control and format characters (so nothing turns the
      direction of writing, and joined emoji come apart), surrogates, private use, fillers. Each run of
      white space is one space, with none at the ends, so that no extension hides far to the right.
    - No dot at the end. What Windows refuses in names, `<>:"|?*`, becomes `_`.
    - `_` comes in front of a device of Windows (`CON`, `nul.txt`, `COM¹`), and of a first character
      that would hide a file (`.bashrc`) or mean something to a shell (`-rf`, `~root`).
    - At most `MAX_NAME_BYTES` bytes of UTF-8, cut before the extension and never between a character
      and its combining marks.

    It is idempotent. A name in HTML, a header or a shell needs that place's own encoding all the same.

    >>> display_name("../../etc/passwd"), display_name(r"C:\Users\me\cat.jpg"), display_name("aux.txt")
    ('passwd', 'cat.jpg', '_aux.txt')
    """
    name = re.split(r"[/\\]", name)[-1]
    if len(name) > 2 * _MOST:  # normalising many combining marks takes quadratic time
        name = name[:_MOST] + name[-_MOST:]
    name = unicodedata.normalize("NFC", _UNSEEN.sub("", _WHITE.sub(" ", name)))
    name = _REFUSED.sub("_", _WHITE.sub(" ", name).strip(" ").rstrip(". "))
    name = _cut(name, "")
    if _UNSAFE_START.match(name):
        name = _cut("_" + name, "")
    return name


def with_number(name: str, n: int) -> str:
    """Return `name` with a number before its extension, to tell it from others of that name.

    It stays within `MAX_NAME_BYTES`, and `.tar.gz` and its like stay together.

    Raises:
        ValueError: `n` is negative.

    >>> with_number("cat.jpg", 2), with_number("backup.tar.gz", 3)
    ('cat (2).jpg', 'backup (3).tar.gz')
    """
    if n < 0:
        raise ValueError(f"the number of a name must be 0 or more, not {n}")
    return _cut(name, f" ({n})")


_MOST = 2 * MAX_NAME_BYTES

_WHITE = re.compile(r"\s+")

_UNSEEN = re.compile(
    "["
    "\x00-\x1f\x7f-\x9f"  # Cc; of these, white space has become a space before
    "\xad\u0600-\u0605\u061c\u06dd\u070f\u0890\u0891\u08e2\u180e\u200b-\u200f\u2028-\u202e"
    "\u2060-\u206f\ufeff\ufff0-\ufffb\U000110bd\U000110cd\U00013430-\U0001345f\U0001bca0-\U0001bca3"
    "\U0001d173-\U0001d17a\U000e0000-\U000e0fff"  # Cf, Zl, Zp, and what will be: tags and selectors
    "\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u2800\u3164\uffa0"  # fillers that show nothing
    "\ud800-\udfff\ue000-\uf8ff\U000f0000-\U0010ffff"  # surrogates and private use
    "\ufdd0-\ufdef\ufffe\uffff"  # noncharacters, also at the end of each plane
    + "".join(f"{chr(last - 1)}{chr(last)}" for last in range(0x1FFFF, 0xF0000, 0x10000))
    + "]"
)

_REFUSED = re.compile(r'[<>:"|?*]')

_UNSAFE_START = re.compile(
    r"[-~.]|(?:CON|PRN|AUX|NUL|CLOCK\$|CONIN\$|CONOUT\$|(?:COM|LPT)[0-9¹²³]) *(?:\.|\Z)", re.IGNORECASE
)

_EXTENSION = re.compile(r"(?:\.tar)?\.[^. ]{1,20}\Z", re.IGNORECASE)


def _cut(name: str, suffix: str) -> str:
    """Return stem, `suffix` and extension of `name`, the stem cut so that they fit."""
    found = _EXTENSION.search(name, 1)
    stem, extension = (name[: found.start()], found[0]) if found else (name, "")
    room = MAX_NAME_BYTES - len((suffix + extension).encode())
    encoded = stem.encode()
    if len(encoded) > room:
        kept = encoded[:room].decode(errors="ignore")
        # What comes next must begin a character of its own; if not, the one before it goes too.
        while kept and _continues(stem[len(kept)]):
            kept = kept[:-1]
        stem = kept.rstrip(" ") if extension or suffix else kept.rstrip(". ")
    if suffix:  # which begins with a space of its own
        stem = stem.rstrip(" ")
    return (stem + suffix + extension).lstrip(" ")


def _continues(character: str) -> bool:
    """Return whether `character` belongs to the one before it: a combining mark or a skin tone."""
    return unicodedata.category(character)[0] == "M" or "\U0001f3fb" <= character <= "\U0001f3ff"
