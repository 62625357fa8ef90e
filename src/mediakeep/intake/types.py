"""The true type of bytes: what their head says they are, and what that makes of what was declared."""

from typing import NamedTuple

from mediakeep.intake.kinds import (
    OCTETS,
    ancestors,
    essence,
    extension,
    extensions,
    is_name,
    may_be,
    recognisable,
)
from mediakeep.intake.signatures import signature
from mediakeep.intake.text import text_type

__all__ = ["HEAD_BYTES", "Sniffed", "essence", "extension", "extensions", "proven", "settle", "sniff"]

HEAD_BYTES = 4096
"""How much of a file is looked at: a DOCX needs about 2 KB to be told from other ZIP archives."""


class Sniffed(NamedTuple):
    """What bytes were found to be."""

    content_type: str
    """By its one name, as `essence` gives it; empty where nothing is recognised."""
    certain: bool
    """Whether a signature or structure says so that nothing else has; False for a guess."""


NOTHING = Sniffed("", False)
_SHOWN = ("image/", "audio/", "video/")


def sniff(head: bytes) -> Sniffed:
    """Return what a file is that begins with `head`, of which the first `HEAD_BYTES` are looked at.

    Signatures come before text, so a picture with a script in it is what its signature says. HTML and
    scripts are never called an image, and SVG only as `image/svg+xml`. Never raises.

    >>> sniff(b"GIF89a" + bytes(20))
    Sniffed(content_type='image/gif', certain=True)
    >>> sniff(b"<script>alert(1)</script>").content_type, sniff(b"").content_type
    ('text/html', '')
    """
    if len(head) > HEAD_BYTES or type(head) is not bytes:
        head = bytes(head[:HEAD_BYTES])
    if not head:
        return NOTHING
    content_type, certain = signature(head) or text_type(head)
    return Sniffed(content_type, certain)


def settle(declared: str, sniffed: Sniffed) -> str:
    r"""Return what to call a file: as declared, unless its bytes are certainly something else.

    What is declared stays letter for letter, parameters too, where the bytes may be that: it is the same
    type by another name, the special case of what was found (DOCX of ZIP), or its twin in a container
    that does not tell (audio and video of MP4, Ogg, WebM). If what was found is the special case,
    that is returned. Nothing declared becomes what was found for certain, else stays nothing. What
    only may be HTML, for the tags in it, is still never called a picture or a sound.

    >>> settle("image/png", sniff(b"#!/bin/sh\nrm -r /\n"))
    'text/x-shellscript'
    >>> settle("audio/ogg; codecs=opus", Sniffed("video/ogg", True))
    'audio/ogg; codecs=opus'
    """
    said, found = essence(declared), sniffed.content_type
    if may_be(found, said):
        return declared
    if not sniffed.certain and not (found == "text/html" and said.startswith(_SHOWN)):
        return declared
    return found


def proven(declared: str, sniffed: Sniffed) -> str:
    """Return what rules should take a file for, whatever was declared: one type, without parameters.

    That is what was found, also where it is a guess, if it contradicts what was declared. If nothing was
    found, it is what was declared, but `application/octet-stream` if that is nothing, no type as
    RFC 6838 has them, or one whose bytes would have been recognised.

    >>> proven("image/png", sniff(b"just words")), proven("image/png", sniff(bytes(64)))
    ('text/plain', 'application/octet-stream')
    """
    said, found = essence(declared), sniffed.content_type
    if not is_name(said):
        said = ""
    if not found:
        return OCTETS if not said or recognisable(said) else said
    if said == "image/svg+xml" and found == "text/plain":  # XML is text, but text is no picture
        return found
    if may_be(found, said):
        return said
    if not sniffed.certain and said != OCTETS and said in ancestors(found):
        return said
    return found
