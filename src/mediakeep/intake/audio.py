"""MPEG audio: MP3 and AAC are bare frames, known by a header that says where the next one is."""

from typing import Final

_KBITS: Final = {  # ISO/IEC 11172-3 and 13818-3: by (MPEG-1, layer), kbit/s by index
    (True, 1): (0, 32, 64, 96, 128, 160, 192, 224, 256, 288, 320, 352, 384, 416, 448),
    (True, 2): (0, 32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384),
    (True, 3): (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    (False, 1): (0, 32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256),
    (False, 2): (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
    (False, 3): (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}
_HERTZ: Final = (44_100, 48_000, 32_000)


def mpeg_type(head: bytes) -> tuple[str, bool] | None:
    """Return `audio/mpeg` if a frame stands at the start; certain if a second one follows it."""
    length = _mpeg_frame(head, 0)
    if not length:
        return None
    if length + 4 > len(head):
        return "audio/mpeg", False
    return ("audio/mpeg", True) if _mpeg_frame(head, length) else None


def aac_type(head: bytes) -> tuple[str, bool] | None:
    """Return `audio/aac` if an ADTS frame stands at the start; certain if a second one follows it."""
    length = _adts_frame(head, 0)
    if not length or (length < len(head) - 6 and not _adts_frame(head, length)):
        return None
    return "audio/aac", length < len(head) - 6


def id3_type(head: bytes) -> tuple[str, bool] | None:
    """Return what an ID3v2 tag stands before: FLAC or AAC if they follow within the head, else MP3.

    ID3v2.4 section 3.1: version, flags, and a size of four bytes with seven bits each.
    """
    if len(head) < 10 or head[3] > 9 or head[5] & 0x0F or max(head[6:10]) > 0x7F:
        return None
    size = head[6] << 21 | head[7] << 14 | head[8] << 7 | head[9]
    after = head[10 + size : 10 + size + 8]
    if after.startswith(b"fLaC"):
        return "audio/flac", True
    if _adts_frame(after, 0):
        return "audio/aac", True
    return "audio/mpeg", True


def _mpeg_frame(head: bytes, start: int) -> int:
    """Return the length of the frame at `start`, or 0 if there is none (ISO/IEC 11172-3, 2.4.1.3)."""
    if start + 4 > len(head) or head[start] != 0xFF or head[start + 1] & 0xE0 != 0xE0:
        return 0
    version, layer = head[start + 1] >> 3 & 3, 4 - (head[start + 1] >> 1 & 3)
    index, rate, padding = head[start + 2] >> 4, head[start + 2] >> 2 & 3, head[start + 2] >> 1 & 1
    # Layer I would take the mark of UTF-16 for a frame, and nobody sends it.
    if version == 1 or layer not in (2, 3) or index in (0, 15) or rate == 3 or head[start + 3] & 3 == 2:
        return 0
    first = version == 3
    hertz = _HERTZ[rate] >> (0 if first else 1 if version == 2 else 2)
    samples = 144 if first or layer == 2 else 72
    return samples * _KBITS[first, layer][index] * 1000 // hertz + padding


def _adts_frame(head: bytes, start: int) -> int:
    """Return the length of the frame at `start`, or 0 if there is none (ISO/IEC 13818-7, 6.2)."""
    if start + 7 > len(head) or head[start] != 0xFF or head[start + 1] & 0xF6 != 0xF0:
        return 0
    if head[start + 2] >> 2 & 0x0F > 12:  # sampling frequencies that are reserved
        return 0
    length = (head[start + 3] & 3) << 11 | head[start + 4] << 3 | head[start + 5] >> 5
    return length if length > 7 else 0
