"""What a request is answered with, short of the bytes of a file."""

import json
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from starlette.types import Send

Headers = list[tuple[bytes, bytes]]
"""Names in lower case, and values that are safe in a header."""


@dataclass(slots=True)
class Answer:
    """A status with a JSON document, or with nothing."""

    status: int
    said: Any = None
    headers: Headers = field(default_factory=list)
    content_type: bytes = b"application/json"

    async def send(
        self, send: Send, *, head: bool = False, more: bool = False, endless: bool = False
    ) -> None:
        """Send it; with `head` without its body, with `more` without an end.

        With `endless` without an end, and without saying where that will be.
        """
        headers = [*_ALWAYS, *self.headers]
        body = b""
        if self.said is not None:
            body = self.said if isinstance(self.said, bytes) else to_json(self.said)
            headers.append((b"content-type", self.content_type))
        if self.status not in (204, 304) and not endless:
            headers.append((b"content-length", b"%d" % len(body)))
        await send({"type": "http.response.start", "status": self.status, "headers": headers})
        await send(
            {"type": "http.response.body", "body": b"" if head else body, "more_body": more or endless}
        )


# JSON is never to be taken for a page, nor to tell a page of elsewhere anything.
_ALWAYS: Headers = [
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),
    (b"cross-origin-resource-policy", b"same-origin"),
]


def to_json(said: Any) -> bytes:
    """Return `said` as JSON in ASCII, in which no text can end the text that it stands in."""
    return json.dumps(said, default=_as_text, separators=(",", ":")).encode("ascii")


def _as_text(value: object) -> str:
    if isinstance(value, datetime):
        return value.isoformat(timespec="microseconds").replace("+00:00", "Z")
    raise TypeError(f"{value!r} has no place in JSON")
