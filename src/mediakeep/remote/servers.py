"""Addresses of servers."""

import re
from typing import NamedTuple
from urllib.parse import quote, urlsplit


class Server(NamedTuple):
    """Where a server is."""

    scheme: str
    host: str
    port: int
    authority: str
    target: str
    """The path that all paths begin with, without a slash at its end."""

    def __str__(self) -> str:
        return f"{self.scheme}://{self.authority}{self.target}"


def server_at(url: str) -> Server:
    """Return the server that `url` names.

    Raises:
        ValueError: it cannot be the URL of one; a password in it is not told.
    """
    try:
        parts = urlsplit(url)
        port = parts.port
        host = parts.hostname or ""
        plain = re.fullmatch(rb"[\w.-]+|[\da-f:.]+", host.encode("idna"))
    except (ValueError, UnicodeError):
        raise ValueError("the server's URL cannot be one: give http://host:port") from None
    if parts.username is not None or parts.password is not None:
        raise ValueError("the server's URL has a user or password in it: give the token as token=…")
    if parts.scheme not in ("http", "https") or not plain or parts.query or parts.fragment:
        raise ValueError(f"{url!r} is no server: give http://host:port or https://host:port")
    if port == 0:
        raise ValueError(f"{url!r} has no port that can be connected to")
    shown = f"[{host}]" if ":" in host else host
    return Server(
        parts.scheme,
        host,
        port or (443 if parts.scheme == "https" else 80),
        shown if port is None else f"{shown}:{port}",
        quote(parts.path.rstrip("/"), safe="/%"),
    )
