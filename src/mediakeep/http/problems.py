"""What went wrong, as problem details (RFC 9457), in the words of mediakeep's own errors."""

import logging
from collections.abc import Iterable, Mapping
from typing import Any

from mediakeep.errors import (
    BlobError,
    CatalogError,
    MediaElsewhere,
    MediaError,
    MediaMissing,
    NotAFile,
    PathNotAllowed,
    QuotaExceeded,
    RefReleased,
    StillLeased,
    TooLarge,
    TypeNotAllowed,
    UnknownRef,
)
from mediakeep.http.answers import Answer, Headers
from mediakeep.http.grants import Grant
from mediakeep.http.tokens import BadSecretsFile
from mediakeep.images.unusable import ImagesExtraMissing, NoPicture, UnusableImage

logger = logging.getLogger("mediakeep.http")

CONTENT_TYPE = b"application/problem+json"
TYPE = "urn:mediakeep:error:"

SCHEMA: dict[str, Any] = {
    "type": "object",
    "description": "Problem details (RFC 9457).",
    "required": ["type", "title", "status", "detail", "error"],
    "properties": {
        "type": {"type": "string", "description": f"`{TYPE}` and `error`"},
        "title": {"type": "string", "description": "what kind of problem it is"},
        "status": {"type": "integer"},
        "detail": {"type": "string", "description": "what happened, and what to do about it"},
        "error": {"type": "string", "description": "the name of the error, as in Python"},
        "scope": {"type": "string", "description": "of a ref that was live once"},
    },
}

TITLES = {
    "BadLink": "The signed link is not valid",
    "BadSecretsFile": "The server cannot tell who may ask",
    "BadRequest": "The request is not as it must be",
    "BlobError": "Bytes cannot be read or written just now",
    "CatalogError": "The catalog cannot be read or written just now",
    "Conflict": "The same is being done already",
    "Forbidden": "The token does not allow this",
    "IdempotencyKeyReused": "The idempotency key belongs to another request",
    "ImagesExtraMissing": "This server makes no pictures",
    "InternalError": "A fault of the server",
    "LeaseEnded": "The lease has ended",
    "MediaElsewhere": "The file lies on another host",
    "MediaMissing": "The bytes are not where they should be",
    "MethodNotAllowed": "The resource has no such method",
    "NoPicture": "The file has no picture to show",
    "NotAFile": "The bytes are not where they should be",
    "NotFound": "There is nothing here",
    "NotReady": "The store does not answer",
    "PathNotAllowed": "The bytes are not where they should be",
    "QuotaExceeded": "The store or the scope is full",
    "RangeNotSatisfiable": "The file has no such bytes",
    "Refused": "It would do more than may be meant",
    "RefExpired": "The ref has outlived its time to live",
    "RefReconciled": "The ref was ended, since its file was gone",
    "RefReleased": "The ref was released",
    "StillLeased": "A lease holds a file",
    "TooLarge": "It is more than a limit allows",
    "TooManyRequests": "Too much at a time",
    "TooSlow": "The body came too slowly",
    "TypeNotAllowed": "The content type is refused",
    "Unauthorized": "A token is needed",
    "UnknownRef": "The ref names nothing that is known here",
    "UnusableImage": "No picture can be made of it",
    "PreconditionFailed": "The file is not the one that was meant",
    "WrongHost": "The server is not known by this name",
}
"""What each kind of problem is called."""


class Problem(Exception):
    """Ends a request with problem details; `error` is a name in TITLES."""

    def __init__(
        self,
        status: int,
        error: str,
        detail: str,
        headers: Iterable[tuple[bytes, bytes]] = (),
        more: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.error = error
        self.detail = detail
        self.headers = tuple(headers)
        self.more = more or {}

    def answer(self) -> Answer:
        """Return it as what is sent."""
        said = {
            "type": f"{TYPE}{self.error}",
            "title": TITLES[self.error],
            "status": self.status,
            "detail": self.detail,
            "error": self.error,
            **self.more,
        }
        headers: Headers = [(b"cache-control", b"no-store"), *self.headers]
        return Answer(self.status, said, headers, CONTENT_TYPE)


def bad_request(detail: str) -> Problem:
    """Return the problem of a request that is not as it must be."""
    return Problem(400, "BadRequest", detail)


def unknown(ref: object) -> Problem:
    """Return what is said of a ref that is unknown, and of one that the token may not see."""
    return Problem(404, "UnknownRef", str(UnknownRef(ref)))


_STATUS: dict[type[MediaError], int] = {
    RefReleased: 410,
    UnknownRef: 410,  # RefExpired; what is merely unknown is told before
    MediaMissing: 410,
    NotAFile: 410,
    PathNotAllowed: 410,
    MediaElsewhere: 421,
    TooLarge: 413,
    TypeNotAllowed: 415,
    QuotaExceeded: 507,
    StillLeased: 409,
    ImagesExtraMissing: 501,
    NoPicture: 415,
    UnusableImage: 422,
    CatalogError: 503,
    BlobError: 503,
    BadSecretsFile: 503,
}

# These words name paths, hosts or drivers of the server's machine. They go to the log.
_PRIVATE = {
    MediaMissing: "the ref is live, but its file is gone: somebody else deleted it",
    NotAFile: "the ref is live, but something else has taken the place of its file",
    PathNotAllowed: "the ref is live, but its file leads outside of where this store may read",
    MediaElsewhere: "the file was registered where it lies, on another host: ask the server there",
    BlobError: "the server's log says more: try again later",
    CatalogError: "the server's log says more: try again later",
    BadSecretsFile: "the server's log says more: nobody is let in until that is mended",
}


def problem_of(error: MediaError, grant: Grant) -> Problem:
    """Return an error of the store as what is told to somebody who has this `grant`."""
    if type(error) is UnknownRef:
        return unknown(error.ref)
    if isinstance(error, UnknownRef) and not grant.sees(error.scope or ""):
        return unknown(error.ref)
    kind = next((it for it in type(error).__mro__ if it in TITLES_OF), None)
    if kind is None:
        logger.error("an error that is none of the store's: %s", error, exc_info=error)
        return Problem(500, "InternalError", "the server's log says more: please report it")
    name, status = kind.__name__, next(_STATUS[it] for it in kind.__mro__ if it in _STATUS)
    detail = str(error)
    if kind in _PRIVATE:
        logger.warning("%s: %s", name, error, extra={"error": name})
        detail = _PRIVATE[kind]
    elif isinstance(error, UnusableImage):
        detail = f"the file {error.reason}"
    elif kind is QuotaExceeded and not grant.sees_all:
        # Its words tell how much others have.
        detail = "the scope or the store has no room for it: release what is done"
    headers = [(b"retry-after", b"5")] if status == 503 else []
    scope = error.scope if isinstance(error, UnknownRef) else None
    return Problem(status, name, detail, headers, None if scope is None else {"scope": scope})


def _kinds(of: type[MediaError]) -> set[type]:
    return {of, *(kind for sub in of.__subclasses__() for kind in _kinds(sub))}


TITLES_OF = {kind for kind in _kinds(MediaError) if kind.__name__ in TITLES}
"""The errors of the store that are told by name."""


def too_slow() -> Problem:
    """Return the problem of a body that does not arrive."""
    return Problem(
        408, "TooSlow", "the body came too slowly or stopped: send it again", [(b"connection", b"close")]
    )
