"""Elements of XML, parsed within bounds and without entities."""

from xml.parsers import expat

from mediakeep.images.posters.bounds import MAX_ELEMENTS
from mediakeep.images.unusable import UnusableImage


def elements(data: bytes) -> list[tuple[str, dict[str, str]]]:
    """Return each element's name, without its prefix, and its attributes, in the order of the document.

    A document type is read over. Nothing is loaded from elsewhere.

    Raises:
        UnusableImage: it is malformed, declares an entity, or has too many elements.
    """
    found: list[tuple[str, dict[str, str]]] = []

    def begin(name: str, attributes: dict[str, str]) -> None:
        if len(found) == MAX_ELEMENTS:
            raise UnusableImage(f"has XML in it with more than {MAX_ELEMENTS} elements")
        found.append((name.rpartition(":")[2], attributes))

    def refuse(*_: object) -> None:
        raise UnusableImage("has XML in it that declares entities, which nothing needs")

    parser = expat.ParserCreate()
    parser.StartElementHandler = begin
    parser.EntityDeclHandler = refuse
    try:
        parser.Parse(data, True)
    except UnusableImage:
        raise
    except (expat.ExpatError, ValueError, LookupError) as error:  # the latter two of encodings
        raise UnusableImage("has XML in it that is malformed or cut off") from error
    return found
