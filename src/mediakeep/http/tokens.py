"""Tokens: who may ask the server, kept as hashes in a small file beside the store.

A token has 256 random bits, so nobody can guess one, and one round of SHA-256 keeps it as safe as a slow
password hash would: those are for what people think up, where a dictionary can be tried.
"""

import fcntl
import hashlib
import hmac
import json
import os
import re
import secrets
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from mediakeep.errors import MediaError
from mediakeep.files import sync_folder
from mediakeep.http.grants import NO_ALLOWANCE, Allowance, Grant, Right

VERSION = 1

_TOKEN = re.compile(r"mk_([0-9a-f]{8})_[A-Za-z0-9_-]{43}", re.ASCII)
_NOBODYS = hashlib.sha256(b"").hexdigest()


class BadSecretsFile(MediaError):
    """A file with tokens or keys is damaged, or others can read it."""


@dataclass(frozen=True, slots=True)
class Token:
    """What is kept of a token; not the token itself. Times are seconds since the epoch."""

    id: str
    name: str
    sha256: str
    scopes: tuple[str, ...]
    can: tuple[str, ...]
    created_at: float
    expires_at: float | None = None
    allowance: Allowance = NO_ALLOWANCE

    def grant(self) -> Grant:
        """Return what it allows."""
        return Grant(self.scopes, self.can, self.id, self.allowance)


class Tokens:
    """The tokens in the file at `path`, which is made when the first one is.

    Processes may share it: it is replaced as a whole, and read again when it has changed. So a token
    that is revoked ends at once, in every server.

    Args:
        path: the file; only its owner may read it.
        clock: the time in seconds since the epoch.
    """

    __slots__ = ("_clock", "_exist", "_grants", "_name", "_path", "_seen", "_tokens")

    def __init__(self, path: str | os.PathLike[str], clock: Callable[[], float] = time.time) -> None:
        self._path = Path(path)
        self._name = str(self._path)  # looked at with every request
        self._clock = clock
        self._exist = False
        self._seen: tuple[int, ...] | None = None
        self._tokens: dict[str, Token] = {}
        self._grants: dict[str, Grant] = {}

    @property
    def path(self) -> Path:
        """The file."""
        return self._path

    def exist(self) -> bool:
        """Return whether there is such a file, or was one, so that everybody has to show a token."""
        self._exist = self._exist or os.path.exists(self._name)
        return self._exist

    def create(
        self,
        scopes: Iterable[str],
        can: Iterable[Right | str],
        *,
        name: str = "",
        ttl: float | None = None,
        allowance: Allowance | None = None,
    ) -> tuple[str, Token]:
        """Return a new token, which nobody can be told again, and what is kept of it.

        Args:
            scopes: patterns of scopes, see :class:`~mediakeep.http.grants.Grant`.
            can: what it may do there.
            name: what it is for; for people.
            ttl: how many seconds it is valid; without it, until it is revoked.
            allowance: how much it may ask for.

        Raises:
            ValueError: a pattern or right is none, or there is none at all.
            BadSecretsFile: the file is damaged, or others can read it.
        """
        grant = Grant(scopes, can)
        if not grant.scopes or not grant.rights:
            raise ValueError("a token needs at least one scope and one right")
        with self._changing() as tokens:
            number = next(it for it in iter(lambda: secrets.token_hex(4), "") if it not in tokens)
            text = f"mk_{number}_{secrets.token_urlsafe(32)}"
            now = self._clock()
            token = tokens[number] = Token(
                number,
                name,
                _hash(text),
                grant.scopes,
                tuple(right.value for right in Right if right in grant.rights),
                now,
                None if ttl is None else now + ttl,
                allowance or NO_ALLOWANCE,
            )
        return text, token

    def revoke(self, number: str) -> bool:
        """End the token with this id; return whether there was one."""
        with self._changing() as tokens:
            return tokens.pop(number, None) is not None

    def __iter__(self) -> Iterator[Token]:
        """Yield all tokens, the oldest first; also those that have expired."""
        self._refresh()
        return iter(sorted(self._tokens.values(), key=lambda token: token.created_at))

    def allow(self, text: str) -> Grant | None:
        """Return what the token `text` allows, None if there is no such token any more."""
        found = _TOKEN.fullmatch(text)
        self._refresh()
        token = self._tokens.get(found[1]) if found else None
        # Compared in constant time, also where there is nothing to compare with. Ids are no secret.
        same = hmac.compare_digest(_hash(text), token.sha256 if token else _NOBODYS)
        return self._grant(token) if token and same else None

    def grant(self, number: str) -> Grant | None:
        """Return what the token with this id allows, None if there is no such token any more."""
        self._refresh()
        token = self._tokens.get(number)
        return None if token is None else self._grant(token)

    def _grant(self, token: Token) -> Grant | None:
        over = token.expires_at is not None and token.expires_at <= self._clock()
        return None if over else self._grants[token.id]

    def _refresh(self) -> None:
        try:
            found = os.stat(self._name)
        except FileNotFoundError:
            self._tokens, self._grants = {}, {}
            return
        seen = (found.st_ino, found.st_mtime_ns, found.st_size)
        if seen != self._seen:
            self._tokens = _read(self._path)
            self._grants = {number: token.grant() for number, token in self._tokens.items()}
            self._seen = seen

    @contextmanager
    def _changing(self) -> Iterator[dict[str, Token]]:
        """Give the tokens to a block, and write what it made of them; one process at a time."""
        with locked(self._path):
            tokens = _read(self._path) if self._path.exists() else {}
            yield tokens
            rows = [asdict(token) for token in tokens.values()]
            write_secrets(self._path, {"version": VERSION, "tokens": rows})


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode(errors="replace")).hexdigest()


def _read(path: Path) -> dict[str, Token]:
    said = read_secrets(path)
    try:
        if said["version"] != VERSION:
            raise BadSecretsFile(f"{str(path)!r} is of version {said['version']}: upgrade mediakeep")
        tokens = [_token(row) for row in said["tokens"]]
    except (KeyError, TypeError, ValueError) as error:
        raise BadSecretsFile(f"{str(path)!r} holds no tokens: {error!r}; restore it") from error
    return {token.id: token for token in tokens}


def _token(row: dict[str, Any]) -> Token:
    token = Token(
        **{
            **row,
            "scopes": tuple(row["scopes"]),
            "can": tuple(row["can"]),
            "allowance": Allowance(**row["allowance"]),
        }
    )
    token.grant()  # or its patterns and rights are none
    return token


# -- files with secrets


def read_secrets(path: Path) -> dict[str, Any]:
    """Return the JSON object in a file that only its owner may read.

    Raises:
        BadSecretsFile: it is damaged, or others can read it.
        FileNotFoundError: there is no such file.
    """
    with open(path, encoding="utf-8") as file:
        if os.fstat(file.fileno()).st_mode & 0o077:
            raise BadSecretsFile(f"others can read {str(path)!r}: chmod 600 it")
        try:
            said = json.load(file)
        except ValueError as error:
            raise BadSecretsFile(f"{str(path)!r} is damaged: {error}; restore it") from error
    if not isinstance(said, dict):
        raise BadSecretsFile(f"{str(path)!r} is damaged: it holds no object; restore it")
    return said


def write_secrets(path: Path, said: Mapping[str, Any]) -> None:
    """Replace the file at `path`, whole or not at all; only its owner may read it."""
    temp = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        handle = os.open(temp, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o600)
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            json.dump(said, file, indent=1)
            file.flush()
            os.fsync(handle)
        os.replace(temp, path)
    except BaseException:
        with suppress(FileNotFoundError):
            os.unlink(temp)
        raise
    sync_folder(str(path.parent))


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Keep other processes from changing the file at `path` while the block runs."""
    path.parent.mkdir(0o700, parents=True, exist_ok=True)
    handle = os.open(f"{path}.lock", os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)
