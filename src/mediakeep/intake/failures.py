"""How a download fails."""

from mediakeep.errors import MediaError


class DownloadError(MediaError):
    """The file cannot be had from its URL. Nothing is kept of it.

    Messages name the URL without what may be secret in it: no user, no query, of the path the end only.

    Attributes:
        status: the HTTP status, where it was one that told of the failure; else None.
    """

    def __init__(self, message: str, *, status: int | None = None) -> None:
        super().__init__(message)
        self.status = status


class AddressRefused(DownloadError):
    """The URL, or a redirect, leads to an address that is not a public one."""


class DownloadTimeout(DownloadError, TimeoutError):
    """The download was not complete in its time: later, or with more time, it may be."""
