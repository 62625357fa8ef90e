"""Covers and previews of documents that are ZIP archives: EPUB, OpenDocument, Office Open XML."""

import posixpath
from typing import BinaryIO
from urllib.parse import unquote

from mediakeep.images.posters.bounds import MAX_MARKUP_BYTES, MAX_PICTURE_BYTES
from mediakeep.images.posters.markup import elements
from mediakeep.images.posters.zipped import Archive


def picture_of_archive(file: BinaryIO) -> bytes | None:
    """Return the cover or preview that the archive in `file` names, whichever kind of document it is.

    Raises:
        UnusableImage: it is malformed, or what is to be read of it too large.
    """
    archive = Archive(file)
    for named in (_cover_of_epub, _preview_of_office):
        name = named(archive)
        if name is not None:
            return archive.read(name, MAX_PICTURE_BYTES)
    # OpenDocument 1.3 part 2 section 3.7
    return archive.read("Thumbnails/thumbnail.png", MAX_PICTURE_BYTES)


def _cover_of_epub(archive: Archive) -> str | None:
    """EPUB 3.3 sections 4.2.6.3.1 (container) and 5.7 (properties of items); OPF 2.0.1 has no cover.

    Books of EPUB 2 name it as Apple and Adobe once did: `<meta name="cover" content="…">` with the id.
    """
    package = next(
        (
            it["full-path"]
            for it in _of(archive, "META-INF/container.xml", "rootfile")
            if "full-path" in it
        ),
        None,
    )
    if package is None:
        return None
    items, named = {}, ""
    for element, said in _elements(archive, package):
        if element == "item" and "href" in said:
            if "cover-image" in said.get("properties", "").split():
                return _from(package, said["href"])
            items[said.get("id", "")] = said["href"]
        elif element == "meta" and said.get("name") == "cover":
            named = said.get("content", "")
    return _from(package, items[named]) if named in items else None


def _preview_of_office(archive: Archive) -> str | None:
    """ECMA-376 part 2 sections 6.5 (relationships) and 8.4 (thumbnails); only what is in the package."""
    for said in _of(archive, "_rels/.rels", "Relationship"):
        if said.get("Type", "").endswith("/metadata/thumbnail") and said.get("TargetMode") != "External":
            return _from("", said.get("Target", ""))
    return None


def _of(archive: Archive, name: str, element: str) -> list[dict[str, str]]:
    return [said for found, said in _elements(archive, name) if found == element]


def _elements(archive: Archive, name: str) -> list[tuple[str, dict[str, str]]]:
    data = archive.read(name, MAX_MARKUP_BYTES)
    return [] if data is None else elements(data)


def _from(base: str, reference: str) -> str:
    """Return the name of the member that one called `base` refers to."""
    path = unquote(reference.partition("#")[0].partition("?")[0])
    return posixpath.normpath(posixpath.join("/", posixpath.dirname(base), path)).lstrip("/")
