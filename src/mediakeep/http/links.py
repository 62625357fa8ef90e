"""Signed links: URLs that let whoever has them read one file until they expire.

The signature is HMAC-SHA256 (RFC 2104) over the id, the expiry, the disposition, and the token that made
the link: with that token the link ends, too. Keys are rotated: the newest one signs, all of them verify.
"""

import base64
import hashlib
import hmac
import os
import secrets
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from urllib.parse import urlencode

from mediakeep.http.tokens import BadSecretsFile, locked, read_secrets, write_secrets

PARAMETERS = frozenset({"expires", "disposition", "by", "key", "signature"})
"""The parameters of a signed link's query."""

DISPOSITIONS = ("inline", "attachment")


class BadLink(Exception):
    """The link is forged, incomplete, or has expired; the text says which, without the signature."""


@dataclass(frozen=True, slots=True)
class Key:
    """One key; the secret is 256 random bits in hex."""

    id: str
    secret: str
    created_at: float


class LinkKeys:
    """The keys in the file at `path`, which is made when the first link is; None keeps them in memory.

    Processes that share the file share the links.
    """

    __slots__ = ("_clock", "_keys", "_path", "_seen")

    def __init__(
        self, path: str | os.PathLike[str] | None = None, clock: Callable[[], float] = time.time
    ) -> None:
        self._path = None if path is None else Path(path)
        self._clock = clock
        self._keys: dict[str, Key] = {}
        self._seen: tuple[int, ...] | None = None

    def rotate(self, *, keep: int = 1) -> Key:
        """Make a new key, which signs from now on; return it.

        Args:
            keep: how many of the older keys still verify; with 0 every link ends that was made so far.
        """
        key = Key(secrets.token_hex(4), secrets.token_hex(32), self._clock())
        if self._path is None:
            self._keep(key, keep)
        else:
            with locked(self._path):
                self._refresh()
                self._keep(key, keep)
                write_secrets(self._path, {"keys": [asdict(it) for it in self._keys.values()]})
                self._refresh()
        return key

    def _keep(self, key: Key, keep: int) -> None:
        older = list(self._keys.values())
        self._keys = {it.id: it for it in (*older[max(0, len(older) - keep) :], key)}

    def sign(self, media_id: str, expires: int, disposition: str, by: str) -> str:
        """Return the query of a link to `media_id` that is valid until `expires`.

        Args:
            media_id: the uuid of the ref.
            expires: the time in whole seconds since the epoch.
            disposition: `inline` or `attachment`.
            by: the id of the token that makes it.
        """
        self._refresh()
        key = next(reversed(self._keys.values()), None) or self.rotate()
        said = {"expires": str(expires), "disposition": disposition, "by": by, "key": key.id}
        return urlencode({**said, "signature": _signature(key, media_id, said)})

    def check(self, media_id: str, query: Mapping[str, str]) -> None:
        """Raise BadLink unless `query` is that of a link to `media_id` that is valid now."""
        if set(query) != PARAMETERS:
            raise BadLink("the link is incomplete: copy all of it")
        self._refresh()
        key = self._keys.get(query["key"])
        # Compared in constant time, also where there is no such key any more.
        expected = _signature(key or Key("", "00", 0), media_id, query)
        if not hmac.compare_digest(expected.encode(), query["signature"].encode()) or key is None:
            raise BadLink("the link was not signed here, or its key is gone: ask for a new one")
        if int(query["expires"]) <= self._clock():
            raise BadLink("the link has expired: ask for a new one")

    def seal(self, *parts: str) -> str:
        """Return a proof that `parts` were named here, for what comes back through a client."""
        self._refresh()
        key = next(reversed(self._keys.values()), None) or self.rotate()
        return f"{key.id}.{_mac(key, 'seal', *parts)}"

    def sealed(self, proof: str, *parts: str) -> bool:
        """Return whether `proof` is one of these `parts`."""
        self._refresh()
        number, _, mac = proof.partition(".")
        key = self._keys.get(number)
        expected = _mac(key or Key("", "00", 0), "seal", *parts)
        return hmac.compare_digest(expected.encode(), mac.encode()) and key is not None

    def _refresh(self) -> None:
        if self._path is None:
            return
        try:
            found = os.stat(self._path)
        except FileNotFoundError:
            self._keys = {}
            return
        seen = (found.st_ino, found.st_mtime_ns, found.st_size)
        if seen != self._seen:
            try:
                keys = [Key(**row) for row in read_secrets(self._path)["keys"]]
                for key in keys:
                    bytes.fromhex(key.secret)
            except (KeyError, TypeError, ValueError) as error:
                raise BadSecretsFile(f"{str(self._path)!r} holds no keys: {error!r}") from error
            self._keys = {key.id: key for key in keys}
            self._seen = seen


def _signature(key: Key, media_id: str, said: Mapping[str, str]) -> str:
    return _mac(key, "link", media_id, said["expires"], said["disposition"], said["by"])


def _mac(key: Key, *parts: str) -> str:
    # Each part with its length: no two lists of parts are the same message.
    message = "".join(f"{len(part)}:{part}" for part in parts).encode(errors="surrogatepass")
    digest = hmac.digest(bytes.fromhex(key.secret), message, hashlib.sha256)
    return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
