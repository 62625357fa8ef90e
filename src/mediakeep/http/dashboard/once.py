"""One-time login links: for the owner of a server, who need not look for a token to see its pages.

A link is made by whoever may write into the server's state folder, and is a file there until it is used:
only one of those who try removes it. It opens a token of its own for a session's time, which is listed
and can be revoked as any other.
"""

import hashlib
import os
import secrets
import time
from pathlib import Path

from mediakeep.http.config import TOKENS, ServerConfig
from mediakeep.http.dashboard.sessions import SESSION_SECONDS
from mediakeep.http.grants import Right
from mediakeep.http.tokens import Tokens

FOLDER = "login"
NAME = "login link"
"""What the tokens that links open are called."""

LINK_SECONDS = 600
"""How long a link can be used."""


def way_in(config: ServerConfig) -> str:
    """Return the path of the window for who has started the server.

    It is a new one-time link where tokens are needed and only this machine can connect.
    """
    state = config.state_folder()
    if state is None or not Tokens(state / TOKENS).exist():
        return "/"
    return make_login(state) if config.loopback else "/login"


def make_login(state: Path) -> str:
    """Return the path and query of a new link, after removing those that nobody used in time."""
    folder = state / FOLDER
    folder.mkdir(0o700, parents=True, exist_ok=True)
    for left in folder.iterdir():
        if not _is_young(left):
            left.unlink(missing_ok=True)
    secret = secrets.token_urlsafe(32)
    os.close(os.open(folder / _hash(secret), os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
    return f"/login?once={secret}"


def use_login(state: Path, tokens: Tokens, secret: str) -> str | None:
    """Return the id of a token for who brings this secret; None if it is none, too old, or was used."""
    link = state / FOLDER / _hash(secret)
    young = _is_young(link)
    try:
        link.unlink()
    except FileNotFoundError:
        return None
    if not young:
        return None
    for token in tokens:
        if token.name == NAME and token.expires_at is not None and token.expires_at <= time.time():
            tokens.revoke(token.id)  # it is over: nobody wants to see it in the list for ever
    _, token = tokens.create(["*"], list(Right), name=NAME, ttl=SESSION_SECONDS)
    return token.id


def _is_young(link: Path) -> bool:
    try:
        return 0 <= time.time() - link.stat().st_mtime < LINK_SECONDS
    except FileNotFoundError:
        return False


def _hash(secret: str) -> str:
    return hashlib.sha256(secret.encode(errors="replace")).hexdigest()
