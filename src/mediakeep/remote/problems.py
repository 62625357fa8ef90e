"""From problem details (RFC 9457) back to the errors that they were made of."""

from collections.abc import Mapping
from typing import Any

from mediakeep.errors import (
    AccessDenied,
    BlobError,
    CatalogError,
    MediaElsewhere,
    MediaError,
    MediaMissing,
    NotAFile,
    PathNotAllowed,
    QuotaExceeded,
    RefExpired,
    RefReconciled,
    RefReleased,
    StillLeased,
    TooLarge,
    TypeNotAllowed,
    UnknownRef,
)

_OF_REFS = {it.__name__: it for it in (UnknownRef, RefReleased, RefReconciled, RefExpired)}
_BY_NAME: dict[str, type[MediaError]] = {
    it.__name__: it
    for it in (
        BlobError,
        CatalogError,
        MediaElsewhere,
        NotAFile,
        PathNotAllowed,
        QuotaExceeded,
        StillLeased,
        TooLarge,
        TypeNotAllowed,
    )
}
_NOT_ALLOWED = ("Unauthorized", "Forbidden", "WrongHost")


class NotAnsweredError(Exception):
    """A request was not answered; `unsent` says that it cannot have reached the server."""

    def __init__(self, server: str, why: str, *, unsent: bool) -> None:
        super().__init__(why)
        self.server = server
        self.why = why
        self.unsent = unsent

    def told(self) -> CatalogError:
        """Return it as what callers get."""
        advice = "is it running?" if self.unsent else "what was asked for may have been done"
        return UnansweredError(f"the server at {self.server} {self.why} ({advice})")


class UnansweredError(CatalogError):
    """The server is away, and would not answer another question either."""


class LeaseEnded(CatalogError):
    """The lease has lapsed, or was never ours."""


def error_of(status: int, said: Mapping[str, Any], ref: str, server: str) -> Exception:
    """Return the error that an answer with this `status` and these problem details tells.

    `ref` is the one that was asked about.
    """
    name, detail = str(said.get("error", "")), str(said.get("detail", ""))[:2000]
    if name in _OF_REFS:
        scope = said.get("scope")
        return _OF_REFS[name](ref or "what was put", scope=scope if isinstance(scope, str) else None)
    if name == "MediaMissing":
        return MediaMissing.at(ref, detail)
    if name in _BY_NAME:
        return _BY_NAME[name](detail)
    if name == "LeaseEnded":
        return LeaseEnded(detail)
    if name == "Refused":
        return MediaError(detail)
    if name == "BadRequest":
        return ValueError(detail)
    if name in _NOT_ALLOWED or status in (401, 403):
        return AccessDenied(f"the server at {server} refuses this: {detail or f'status {status}'}")
    if 300 <= status < 400:
        return CatalogError(
            f"the server at {server} redirects (status {status}), which is not followed, so that no "
            "other host sees the token: give its final address"
        )
    if not name:
        return CatalogError(f"{server} does not answer as a server of mediakeep does: status {status}")
    return CatalogError(f"the server at {server} answers with status {status}: {detail}")
