"""Markup: HTML, SVG and other XML, told apart by the root element; and PHP, which begins like it."""

import re
from typing import Final

# WHATWG MIME Sniffing section 7.1, and the other elements that run or load something.
_ELEMENTS = """
html head body title script style iframe frame frameset h1 h2 h3 h4 h5 h6 div span font table tr td
a b i p br hr ul ol li dl img image video audio source object embed applet form input button select
textarea details marquee meta link base center pre blockquote section article main nav header footer
noscript template math isindex keygen picture strong em u tt small code dialog svg
"""
_HTML: Final = frozenset(_ELEMENTS.split())
_ROOT: Final = re.compile(r"<(?:([A-Za-z_][\w.-]*+):)?([A-Za-z_][\w.-]*+)(?=[\s/>]|\Z)")
_DOCTYPE: Final = re.compile(r"<!doctype\s++([\w:.-]++)", re.IGNORECASE)
_SPACE: Final = re.compile(r"\s*+")
_PIECES = 8
"""How many comments and the like are passed over, and brackets in a doctype."""
_SVG_NAMESPACE = "http://www.w3.org/2000/svg"


def markup_type(text: str, *, strict: bool = False) -> tuple[str, bool] | None:
    """Return what markup `text` begins with, after white space, prolog, comments and doctype.

    With `strict` only what is certain. SVG is only what has the root element `svg`; what has the root
    `html` is HTML, in XML's spelling too.
    """
    at, is_xml, commented = 0, False, False
    for _ in range(_PIECES):
        at = past_space(text, at)
        start = text[at : at + 9].lower()
        if start.startswith(("<?php", "<?=")) or (start[:2] == "<?" and start[2:3].isspace()):
            return "text/x-php", True
        if start.startswith("<!--"):
            commented, end = True, text.find("-->", at + 4) + 3
        elif start.startswith("<?"):
            is_xml, end = is_xml or start.startswith("<?xml"), text.find("?>", at) + 2
        elif start == "<!doctype":
            name = _DOCTYPE.match(text, at)
            if name and name[1].lower() == "html":
                return "text/html", True
            is_xml, end = is_xml or name is not None, _doctype_end(text, at)
        else:
            break
        if end < at:  # goes on behind the head
            break
        at = end
    return _by_root(text, at, is_xml, commented, strict)


def _by_root(text: str, at: int, is_xml: bool, commented: bool, strict: bool) -> tuple[str, bool] | None:
    root = _ROOT.match(text, at)
    prefix, name = (root[1], root[2]) if root else ("", "")
    if name == "svg" and (not prefix or _SVG_NAMESPACE in text[at : at + 2000]):
        return "image/svg+xml", True
    if name.lower() == "html" or (not is_xml and name.lower() in _HTML):
        return "text/html", True
    if is_xml or (root and " xmlns" in text[at : text.find(">", at) + 1]):
        return "application/xml", True
    if root and (commented or "</" in text):
        return "application/xml", True
    # A browser that has to guess takes a comment for HTML.
    return ("text/html", False) if commented and not strict else None


def past_space(text: str, at: int) -> int:
    """Return where the white space ends that begins at `at`."""
    space = _SPACE.match(text, at)
    return space.end() if space else at


def _doctype_end(text: str, at: int) -> int:
    """Return where the doctype ends, its internal subset in brackets included; -1 if behind the head."""
    close, bracket = text.find(">", at), text.find("[", at)
    if bracket < 0 or close < bracket:
        return close + 1 or -1
    for _ in range(_PIECES):
        bracket = text.find("]", bracket) + 1
        end = past_space(text, bracket)
        if not bracket or text.startswith(">", end):
            return end + 1 if bracket else -1
    return -1
