"""Sessions: a token, shown once, becomes a cookie that browsers keep and pages cannot read.

The cookie names the token and when the session ends, under a seal of the server's keys. No worker has to
remember it, and it ends with its token. A cookie comes with whatever a browser sends, so it counts only
for what the server's own pages ask (`SameSite` does not tell apart the ports of one host): by
`Sec-Fetch-Site`, and where a browser does not say that, by `Origin`.
"""

import re
import secrets
import time
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from mediakeep.http.grants import Grant

if TYPE_CHECKING:
    from mediakeep.http.service import Call, Service

SESSION_SECONDS = 12 * 3600
"""How long a session lasts."""

_LONGEST = 200
_SAFE = ("GET", "HEAD")


def begin_session(service: "Service", call: "Call", holder: str) -> bytes:
    """Return the value of `Set-Cookie` that begins a session for the token with this id."""
    said = holder, str(int(time.time()) + SESSION_SECONDS), secrets.token_urlsafe(12)
    value = ".".join((*said, service.keys.seal("session", *said)))
    return _cookie(service, call, value, SESSION_SECONDS)


def end_session(service: "Service", call: "Call") -> bytes:
    """Return the value of `Set-Cookie` that ends a session."""
    return _cookie(service, call, "", 0)


def session_grant(service: "Service", call: "Call") -> Grant | None:
    """Return what the session of this call may do; None if there is none that is valid."""
    if service.tokens is None or "cookie" not in call.headers or not is_own_page(service, call):
        return None
    name = _name(call)
    for pair in re.split(r"[;,]\s*", call.headers["cookie"]):
        key, _, value = pair.partition("=")
        parts = value.split(".", 3)
        if key != name or len(parts) != 4 or len(value) > _LONGEST:
            continue
        holder, expires, nonce, proof = parts
        if service.keys.sealed(proof, "session", holder, expires, nonce) and int(expires) > time.time():
            return service.tokens.grant(holder)
    return None


def is_own_page(service: "Service", call: "Call") -> bool:
    """Return whether one of the server's own pages asks, or its user by the address bar."""
    safe = call.scope["method"] in _SAFE
    site, origin = call.headers.get("sec-fetch-site"), call.headers.get("origin")
    if site is not None:
        return site == "same-origin" or (safe and site == "none")
    if origin is None:
        return safe
    there = urlsplit(origin).netloc
    return bool(there) and there in (
        call.headers.get("host", ""),
        urlsplit(service.config.public_url).netloc,
    )


def _cookie(service: "Service", call: "Call", value: str, seconds: int) -> bytes:
    secure = "https" in (call.scope.get("scheme"), urlsplit(service.config.public_url).scheme)
    path = call.scope.get("root_path", "") or "/"
    said = f"{_name(call)}={value}; Path={path}; Max-Age={seconds}; HttpOnly; SameSite=Strict"
    return f"{said}; Secure".encode() if secure else said.encode()


def _name(call: "Call") -> str:
    # Cookies do not tell ports apart, and a machine may serve several stores.
    port = call.headers.get("host", "").rpartition(":")[2]
    return f"mediakeep_{port}" if port.isascii() and port.isdigit() else "mediakeep"
