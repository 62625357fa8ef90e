"""Pictures that files carry of themselves: covers of books and music, previews of documents.

They are found with the standard library alone and within bounds, whatever a file claims, and are given
as they are in it. Decoding them is for the process apart, as with any other picture.
"""

from collections.abc import Callable
from typing import BinaryIO

from mediakeep.images.header import DECODED
from mediakeep.images.posters.documents import picture_of_archive
from mediakeep.images.posters.tracks import cover_of_flac, cover_of_id3, cover_of_mp4
from mediakeep.intake.kinds import ancestors, essence

PDF = "application/pdf"

_OF_DOCUMENTS = (
    "application/epub+zip",
    "application/vnd.oasis.opendocument.",
    "application/vnd.openxmlformats-officedocument.",
    "application/vnd.ms-excel.sheet.macroenabled.",
    "application/vnd.ms-powerpoint.presentation.macroenabled.",
    "application/vnd.ms-word.document.macroenabled.",
)
_OF_TRACKS: dict[str, Callable[[BinaryIO], bytes | None]] = {
    "audio/flac": cover_of_flac,
    "audio/mp4": cover_of_mp4,
    "audio/mpeg": cover_of_id3,
    "video/mp4": cover_of_mp4,
    "video/quicktime": cover_of_mp4,
}


def picture_in(file: BinaryIO, content_type: str) -> bytes | None:
    """Return the picture that `file`, whose bytes are of this type, carries of itself; None without one.

    Raises:
        UnusableImage: the file is malformed, or its picture too large.
    """
    file.seek(0)
    if content_type in _OF_TRACKS:
        return _OF_TRACKS[content_type](file)
    if "application/zip" in (content_type, *ancestors(content_type)):
        return picture_of_archive(file)
    return None


def may_have_poster(content_type: str) -> bool:
    """Return whether it is worth to ask for the poster of a file of this type.

    Films can have one, too, and rarely do.

    >>> may_have_poster("application/pdf"), may_have_poster("video/mp4"), may_have_poster("text/plain")
    (True, False, False)
    """
    name = essence(content_type)
    if name in DECODED or name == PDF or name.startswith(_OF_DOCUMENTS):
        return True
    return name in _OF_TRACKS and name.startswith("audio/")
