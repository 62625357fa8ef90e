"""Who asks: by a bearer token (RFC 6750), a session, a signed link, or from here where none exists."""

import ipaddress
from collections.abc import Collection, Mapping
from functools import lru_cache
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from mediakeep.http.dashboard.sessions import session_grant
from mediakeep.http.grants import EVERYTHING, Grant, Right
from mediakeep.http.links import BadLink
from mediakeep.http.problems import Problem

if TYPE_CHECKING:
    from mediakeep.http.service import Call, Service

NOBODY = Grant((), ())
"""For what everybody may ask."""


def authenticate(service: "Service", call: "Call", right: Right | None) -> Grant:
    """Return what the one who makes this call may do.

    Raises:
        Problem: a token is needed, and none was shown that is valid.
    """
    if is_open(service):
        _refuse_strangers(call, service.config.cors_origins)
        return EVERYTHING
    if right is None or (right is Right.METRICS and service.config.open_metrics):
        return Grant((), [right]) if right else NOBODY
    scheme, _, text = call.headers.get("authorization", "").partition(" ")
    grant = None
    if scheme.lower() == "bearer" and service.tokens is not None:
        grant = service.tokens.allow(text.strip())
    elif not scheme:
        grant = session_grant(service, call)
    if grant is None:
        raise _unauthorized("error" if scheme else "")
    call.scope["mediakeep.holder"] = grant.holder
    return grant


def authenticate_link(service: "Service", call: "Call", query: Mapping[str, str]) -> Grant:
    """Return what the one who made this signed link may do.

    Raises:
        Problem: the link is not valid, or the token that made it is not any more.
    """
    try:
        service.keys.check(call.path["id"], query)
    except BadLink as error:
        raise Problem(403, "BadLink", str(error)) from None
    if query["by"]:
        grant = service.tokens.grant(query["by"]) if service.tokens is not None else None
    else:
        grant = EVERYTHING if is_open(service) else None
    if grant is None:
        raise Problem(403, "BadLink", "the token that made the link has ended: ask for a new one")
    call.scope["mediakeep.holder"] = grant.holder
    return grant


def is_open(service: "Service") -> bool:
    """Return whether nobody has to show a token: there are none, and only this machine can connect."""
    return service.tokens is None or not service.tokens.exist()


def _refuse_strangers(call: "Call", friends: Collection[str]) -> None:
    """Refuse what a web page of somewhere else makes the browser of this machine's user ask.

    Such a page can send requests to the loopback, and by rebinding its own name to it even read the
    answers. A browser then says so: by the name in `Host`, by `Origin`, or by `Sec-Fetch-Site`.
    """
    host = call.headers.get("host", "")
    if not _is_here(host):
        raise Problem(
            421,
            "WrongHost",
            f"without tokens only the loopback is served, not {host[:100]!r}: create one",
        )
    origin = call.headers.get("origin")
    if origin in friends:
        return
    if (origin is not None and urlsplit(origin).netloc != host) or call.headers.get(
        "sec-fetch-site", "none"
    ) not in ("none", "same-origin"):
        raise Problem(
            403, "Forbidden", "a web page of elsewhere may not ask here: create a token for it"
        )


@lru_cache(maxsize=256)
def _is_here(host: str) -> bool:
    try:
        name = urlsplit(f"//{host}").hostname or ""
        return name in ("localhost", "") or ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False


def _unauthorized(error: str) -> Problem:
    challenge = b'Bearer realm="mediakeep"' + (b', error="invalid_token"' if error else b"")
    return Problem(
        401,
        "Unauthorized",
        "show a valid token as `Authorization: Bearer …`: `mediakeep token create` makes one",
        [(b"www-authenticate", challenge)],
    )
