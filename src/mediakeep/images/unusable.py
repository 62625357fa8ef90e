"""What is raised about a picture."""

import os

from mediakeep.errors import MediaError


class UnusableImage(MediaError, ValueError):
    """The picture cannot be used: it is malformed, a bomb, or cannot be made to fit.

    Attributes:
        reason: why, without the path, so that it can be told to a model or a stranger: "is SVG, …".
        picture: the path of the file, where it is known.
    """

    def __init__(self, reason: str, picture: str | os.PathLike[str] | None = None) -> None:
        super().__init__(reason)
        self.reason = reason
        self.picture = picture

    def __str__(self) -> str:
        what = "the picture" if self.picture is None else repr(os.fspath(self.picture))
        return f"{what} {self.reason}"


class NoPicture(UnusableImage):
    """The file is no picture, and there is none in it that can be shown for it."""


class ImagesExtraMissing(UnusableImage, ImportError):
    """The picture would have to be changed, and the packages that do that are not installed."""
