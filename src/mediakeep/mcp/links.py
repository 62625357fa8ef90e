"""Signed links from a `mediakeep serve` that serves the same store, for whoever cannot read resources.

The token stays here: a client gets a URL that reads one file until it expires.
"""

import re
from typing import Any
from urllib.parse import urljoin, urlsplit

import httpx2

from mediakeep.mcp.telling import Refused, id_of

MAX_SECONDS = 86_400
"""The longest that a link lasts that a client asks for."""


class Links:
    """Asks a server for signed links.

    Args:
        url: where the server is, such as `http://127.0.0.1:8321`.
        token: one that may read the scope; empty if the server needs none.

    Raises:
        ValueError: it is no such URL, or no token.
    """

    def __init__(self, url: str, token: str = "") -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.username is not None:
            raise ValueError("the server's URL must be http:// or https:// and a host, without a user")
        if not re.fullmatch(r"[!-~]*", token):
            raise ValueError("the server's token has characters that no token has")
        self._base = url.rstrip("/") + "/"
        self._headers = {"authorization": f"Bearer {token}"} if token else {}

    async def make(self, ref: str, seconds: int) -> str:
        """Return a URL that reads the file of `ref` for so long.

        Raises:
            Refused: the server cannot be reached, or makes none.
        """
        asked = urljoin(self._base, f"v1/media/{id_of(ref)}/link")
        try:
            async with httpx2.AsyncClient(timeout=10, headers=self._headers) as client:
                found = await client.post(asked, json={"expires_in": seconds})
            said: Any = found.json()
        except (httpx2.HTTPError, ValueError) as error:
            raise Refused("the server that makes links does not answer") from error
        if found.status_code != 201:
            raise Refused(f"the server makes no link: it answers {found.status_code}")
        url = urljoin(self._base, str(said.get("url", "")) if isinstance(said, dict) else "")
        if not re.fullmatch(r"https?://[!-;=?-~]+", url):
            raise Refused("the server gives no link that can be used")
        return url
