"""What is asked for when a picture is changed: the few words that pass between the two processes."""

import math
from typing import NamedTuple

WRITTEN = ("image/jpeg", "image/png", "image/webp")
"""The types that pictures are written in."""


class Wanted(NamedTuple):
    """Bounds of the picture that is to be made; None means no limit. `max_bytes` counts the file's."""

    content_types: tuple[str, ...]
    max_bytes: int | None = None
    max_edge: int | None = None
    max_pixels: int | None = None

    def size_for(self, width: int, height: int) -> tuple[int, int]:
        """Return the largest size within bounds that keeps the proportions; never an enlarged one."""
        scale = 1.0
        if self.max_edge is not None:
            scale = min(scale, self.max_edge / max(width, height))
        if self.max_pixels is not None:
            scale = min(scale, math.sqrt(self.max_pixels / (width * height)))
        if scale == 1.0:
            return width, height
        wide, high = max(1, round(width * scale)), max(1, round(height * scale))
        if self.max_pixels is not None and wide * high > self.max_pixels:
            # Rounded up on a side, or on a strip one pixel wide: give the rest to the longer side.
            if wide >= high:
                wide = max(1, self.max_pixels // high)
            else:
                high = max(1, self.max_pixels // wide)
        return wide, high
