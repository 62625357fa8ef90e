"""Containers whose first fields say what they hold: ISO base media, RIFF, IFF, Ogg, Matroska."""

from typing import Final

_BRANDS: Final = {  # ISO/IEC 14496-12 and the register of brands (mp4ra.org)
    b"qt  ": "video/quicktime",
    b"kddi": "video/3gpp2",
    b"M4A ": "audio/mp4",
    b"M4B ": "audio/mp4",
    b"M4P ": "audio/mp4",
    b"avif": "image/avif",
    b"avis": "image/avif",
    b"heic": "image/heic",
    b"heix": "image/heic",
    b"heim": "image/heic",
    b"heis": "image/heic",
    b"hevc": "image/heic",
    b"hevx": "image/heic",
    b"hevm": "image/heic",
    b"hevs": "image/heic",
    b"mif1": "image/heif",
    b"mif2": "image/heif",
    b"msf1": "image/heif",
    b"miaf": "image/heif",
    b"jp2 ": "image/jp2",
    b"jpx ": "image/jpx",
    b"crx ": "image/x-canon-cr3",
}
_FILM: Final = (b"mvhd", b"cmov", b"rmra", b"iods", b"trak", b"udta")
_RIFF: Final = {b"WAVE": "audio/wav", b"WEBP": "image/webp", b"AVI ": "video/x-msvideo"}
_STREAMS = 8
"""How many streams of an Ogg file are looked at."""
_OGG: Final = {  # the first packet of each logical stream, and whether there are pictures in it
    b"OpusHead": "audio/ogg",
    b"\1vorbis": "audio/ogg",
    b"\x7fFLAC": "audio/ogg",
    b"Speex   ": "audio/ogg",
    b"\x80theora": "video/ogg",
    b"\1video": "video/ogg",
    b"BBCD\0": "video/ogg",
    b"OVP80": "video/ogg",
}


def bmff_type(head: bytes) -> tuple[str, bool] | None:
    """Return what the brands of a `ftyp` box say (ISO/IEC 14496-12 section 4.3).

    A brand that is not known is MP4, which all others come from. The still-picture brand `mif1` is
    shared by HEIC and AVIF; the compatible ones say which.
    """
    if head[0] or head[1]:  # a box of 64 KB or more holds no brands: it is text
        return None
    major = head[8:12]
    found = _BRANDS.get(major)
    if found == "image/heif":
        return _still(head), True
    if found:
        return found, True
    if major.startswith(b"3g2"):
        return "video/3gpp2", True
    if major.startswith((b"3gp", b"3gg", b"3gr", b"3gs", b"3ge")):
        return "video/3gpp", True
    return "video/mp4", True


def _still(head: bytes) -> str:
    end = min(int.from_bytes(head[:4], "big"), len(head), 512)
    compatible = {_BRANDS.get(head[start : start + 4]) for start in range(16, end, 4)}
    for exact in ("image/avif", "image/heic"):
        if exact in compatible:
            return exact
    return "image/heif"


def quicktime_type(head: bytes) -> tuple[str, bool] | None:
    """Return `video/quicktime` for a film from before there was `ftyp` (QuickTime File Format)."""
    size, kind = int.from_bytes(head[:4], "big"), head[4:8]
    if kind == b"moov":
        inner = head[20:24] if size == 1 else head[12:16]
        return ("video/quicktime", True) if inner in _FILM else None
    if kind == b"mdat":
        return ("video/quicktime", False) if size == 1 or size >= 8 else None
    follows = head[size + 4 : size + 8]
    if size >= 8 and follows in (b"moov", b"mdat", b"wide", b"free", b"skip", b"PICT"):
        return "video/quicktime", True
    return None


def riff_type(head: bytes) -> tuple[str, bool] | None:
    """Return what the form of a RIFF file is; RF64 and BW64 are WAV beyond 4 GB (EBU Tech 3306)."""
    found = _RIFF.get(head[8:12])
    return (found, True) if found else None


def form_type(head: bytes) -> tuple[str, bool] | None:
    """Return `audio/aiff` if an IFF file is one."""
    return ("audio/aiff", True) if head[8:12] in (b"AIFF", b"AIFC") else None


def ebml_type(head: bytes) -> tuple[str, bool] | None:
    """Return what the DocType of an EBML file says (RFC 8794 section 11.2.4).

    Whether there are pictures in it is only said further on: it is called video in either case.
    """
    start = head.find(b"\x42\x82", 4, 256)
    if start < 0 or start + 3 > len(head):
        return None
    name = head[start + 3 : start + 3 + (head[start + 2] & 0x7F)].rstrip(b"\0")
    if name == b"webm":
        return "video/webm", True
    return ("video/x-matroska", True) if name == b"matroska" else None


def ogg_type(head: bytes) -> tuple[str, bool]:
    """Return whether there are pictures in an Ogg file: the first page of each stream says so.

    RFC 3533 section 6: 27 bytes, the last of them the number of lengths that follow.
    """
    found = ""
    start = 0
    for _ in range(_STREAMS):
        if not head.startswith(b"OggS", start) or start + 27 > len(head):
            break
        flags, count = head[start + 5], head[start + 26]
        if not flags & 2:  # behind the first page of the last stream
            break
        body = start + 27 + count
        for mark, kind in _OGG.items():
            if head.startswith(mark, body) and found != "video/ogg":
                found = kind
        start = body + sum(head[start + 27 : body])
    return found or "application/ogg", True
