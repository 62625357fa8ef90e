"""The first page of a PDF as a picture. Runs in the process that decodes pictures."""

import math
from typing import BinaryIO

import pypdfium2  # type: ignore[import-untyped]
from PIL import Image

from mediakeep.images.unusable import UnusableImage
from mediakeep.images.wanted import Wanted

MAX_EDGE = 4096
"""The most pixels along the longer side of a page, whatever is wanted."""


def first_page(file: BinaryIO, wanted: Wanted) -> Image.Image:
    """Return the first page of the PDF in `file`, its longer side as long as wanted.

    Raises:
        UnusableImage: it is encrypted, malformed, or its first page has no sides.
    """
    try:
        document = pypdfium2.PdfDocument(file)
    except pypdfium2.PdfiumError as error:
        if error.err_code == pypdfium2.raw.FPDF_ERR_PASSWORD:
            raise UnusableImage("is encrypted: without its password no page can be shown") from error
        raise UnusableImage("cannot be read as PDF: it is malformed or cut off") from error
    try:
        page = document[0]
        width, height = page.get_size()
    except (pypdfium2.PdfiumError, IndexError) as error:
        raise UnusableImage("has no page that can be read: it is malformed or cut off") from error
    if not all(side > 0 and math.isfinite(side) for side in (width, height)):
        raise UnusableImage("has a first page without sides")
    edge = min(wanted.max_edge or MAX_EDGE, MAX_EDGE)
    # Sides are rounded up: a hair less keeps the longer one from a pixel more.
    image: Image.Image = page.render(scale=math.nextafter(edge / max(width, height), 0)).to_pil()
    size = wanted.size_for(*image.size)
    return image if size == image.size else image.resize(size, Image.Resampling.LANCZOS)
