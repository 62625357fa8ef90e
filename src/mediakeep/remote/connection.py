"""Requests to a server of mediakeep: what is sent, what is sent again, and what goes wrong on the way.

Redirects are not followed, so a token goes to no other host than the one it was given for. Again goes,
after a connection broke, only what changes nothing if it comes twice (RFC 9110, section 9.2.2), and an
upload under its idempotency key; and whatever the server says that it has not even looked at (429).
"""

import json
import random
import re
import ssl
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager
from typing import Any, NamedTuple, TypeVar
from urllib.parse import quote, urlencode

try:
    import httpcore2
except ImportError as error:
    raise ImportError(
        f'a store over HTTP needs {error.name}: pip install "mediakeep[client]"'
    ) from error

from mediakeep.errors import BlobError, CatalogError
from mediakeep.model import seconds_of
from mediakeep.remote.bodies import Body
from mediakeep.remote.problems import NotAnsweredError, error_of
from mediakeep.remote.servers import server_at
from mediakeep.remote.sockets import AttentiveBackend

T = TypeVar("T")

CONNECT_SECONDS = 10.0
KEEP_SECONDS = 5.0
"""How long an idle connection is used again; less than a server keeps it."""

MOST_TRIES = 3

_GOOD = (200, 201, 204)
MAX_JSON_BYTES = 64 << 20


class Reply(NamedTuple):
    """An answer whose body is still to come: its length if that is known, its ETag, its pieces."""

    size: int | None
    etag: str
    pieces: Iterator[bytes]


class Connection:
    """Speaks to the server at `url`; from any thread, and in a forked child by connections of its own.

    Args:
        url: `http://host:port` or `https://…`, with the path that a proxy may have put before `/v1`.
        token: what is shown as `Authorization: Bearer`; it is in no `repr`, log line or error.
        timeout: how many seconds the server may be silent.
        tls: trusts other certificates than the machine does.

    Raises:
        ValueError: the URL or the token cannot be one.
    """

    __slots__ = ("_closed", "_headers", "_of_parents", "_pool", "_timeout", "_tls", "base")

    def __init__(
        self, url: str, token: str | None, *, timeout: float, tls: ssl.SSLContext | None = None
    ) -> None:
        self.base = server_at(url)
        self._headers = [(b"user-agent", b"mediakeep"), (b"accept-encoding", b"identity")]
        if token is not None:
            if not re.fullmatch(r"[!-~]+", token):
                raise ValueError(
                    "the token cannot be one: give it as `mediakeep token create` printed it"
                )
            self._headers.append((b"authorization", b"Bearer " + token.encode("ascii")))
        seconds = seconds_of("timeout", timeout)
        self._timeout = {
            "connect": min(seconds, CONNECT_SECONDS),
            **dict.fromkeys(("read", "write", "pool"), seconds),
        }
        self._tls = tls
        self._closed = False
        self._of_parents: list[httpcore2.ConnectionPool] = []
        self._open()

    def __repr__(self) -> str:
        return f"Connection({self.base!r})"

    # -- what is asked

    def get(self, path: str, query: Mapping[str, Any] | None = None, *, ref: str = "") -> Any:
        """Return the JSON that a GET of `path` is answered with; `ref` is what it is about."""
        return self._ask("GET", path, query, ref=ref, repeatable=True)

    def post(
        self,
        path: str,
        said: Mapping[str, Any],
        *,
        ref: str = "",
        repeatable: bool = False,
        within: float | None = None,
    ) -> Any:
        """Return the JSON that a POST of the JSON `said` is answered with.

        `within` is how many seconds the server may be silent, where that is less than usual.
        """
        return self._ask("POST", path, said=said, ref=ref, repeatable=repeatable, within=within)

    def delete(
        self,
        path: str,
        query: Mapping[str, Any] | None = None,
        *,
        ref: str = "",
        repeatable: bool = False,
    ) -> Any:
        """Return the JSON that a DELETE is answered with, None if there is none."""
        return self._ask("DELETE", path, query, ref=ref, repeatable=repeatable)

    def upload(self, path: str, query: Mapping[str, Any], body: Body, key: str) -> Any:
        """Return the JSON that a POST of the bytes of `body` is answered with.

        It is sent again, under the idempotency `key`, if the body can be.
        """
        headers = [(b"idempotency-key", key.encode("ascii"))] if body.can_repeat else []
        if body.length is not None:
            headers.append((b"content-length", b"%d" % body.length))
        else:
            headers.append((b"transfer-encoding", b"chunked"))

        def send() -> Any:
            body.start()
            try:
                with self._answered("POST", path, query, headers, body) as response:
                    return self._json(response)
            finally:
                # What reading the source raised is the caller's own, whatever the connection made of it.
                if body.error is not None:
                    raise body.error

        return self._repeated(send, safe=True, whole=lambda: body.can_repeat or not body.begun)

    @contextmanager
    def fetch(self, path: str, *, ref: str) -> Iterator[Reply]:
        """Give the answer to a GET of `path`, whose body is read in the block.

        Raises:
            CutOffError: the body does not come to its end; while it is read.
        """
        with ExitStack() as opened:

            def send() -> httpcore2.Response:
                return opened.enter_context(self._answered("GET", path, None, [], None, ref))

            response = self._repeated(send, safe=True)
            length = _header(response, b"content-length")
            size = int(length) if length.isdecimal() else None
            yield Reply(size, _header(response, b"etag"), self._pieces(response, ref))

    def etag(self, path: str, *, ref: str) -> str:
        """Return the ETag of the bytes at `path`."""

        def send() -> str:
            with self._answered("HEAD", path, None, [], None, ref) as response:
                return _header(response, b"etag")

        try:
            return self._repeated(send, safe=True)
        except CatalogError:
            # What a HEAD is answered with says no more than a status: a GET tells the reason.
            with self.fetch(path, ref=ref) as reply:
                return reply.etag

    def after_fork(self) -> None:
        """Start afresh in a child: what is open is its parent's, which closing it would disturb."""
        self._of_parents.append(self._pool)
        self._open()

    def close(self) -> None:
        """Close all connections."""
        self._closed = True
        self._pool.close()

    # -- how it is sent

    def _ask(
        self,
        method: str,
        path: str,
        query: Mapping[str, Any] | None = None,
        *,
        said: Mapping[str, Any] | None = None,
        ref: str,
        repeatable: bool,
        within: float | None = None,
    ) -> Any:
        headers, body = [], None
        if said is not None:
            data = json.dumps(said).encode("ascii")
            headers = [
                (b"content-type", b"application/json"),
                (b"content-length", b"%d" % len(data)),
            ]
            body = [data]

        def send() -> Any:
            with self._answered(method, path, query, headers, body, ref, within) as response:
                return self._json(response)

        return self._repeated(send, safe=repeatable, within=within)

    def _repeated(
        self,
        send: Callable[[], T],
        *,
        safe: bool,
        whole: Callable[[], bool] = lambda: True,
        within: float | None = None,
    ) -> T:
        """Return what `send` returns, and call it again where that may help.

        It must be `safe` to do so, or sure that the server has done nothing; and what is sent must still
        be the `whole` of it.
        """
        patience = time.monotonic() + self._at_most(within)["read"]
        tries = 0
        while True:
            tries += 1
            try:
                return send()
            except NotAnsweredError as error:
                if tries >= MOST_TRIES or not (safe or error.unsent) or not whole():
                    raise error.told() from error.__cause__
                wait = 0.05 * 2**tries * random.uniform(0.5, 1.0)  # noqa: S311 - not a secret
            except _LaterError as later:
                wait = later.seconds
                late = time.monotonic() + wait > patience
                if late or not (safe or later.unseen) or not whole():
                    raise later.told from None
            time.sleep(wait)

    @contextmanager
    def _answered(
        self,
        method: str,
        path: str,
        query: Mapping[str, Any] | None,
        headers: list[tuple[bytes, bytes]],
        body: Any,
        ref: str = "",
        within: float | None = None,
    ) -> Iterator[httpcore2.Response]:
        """Send a request, and give its answer for a block if it is a good one."""
        target = self.base.target + path
        if query:
            target += "?" + urlencode(query, quote_via=quote)
        with ExitStack() as opened:
            with self._explained():
                response = opened.enter_context(self._stream(method, target, headers, body, within))
            if response.status not in _GOOD:
                raise self._refusal(response, ref)
            yield response

    def _stream(
        self,
        method: str,
        target: str,
        headers: list[tuple[bytes, bytes]],
        body: Any,
        within: float | None,
    ) -> AbstractContextManager[httpcore2.Response]:
        if self._closed:
            raise CatalogError(f"the store at {self.base} is closed: open it again")
        url = httpcore2.URL(
            scheme=self.base.scheme.encode(),
            host=self.base.host.encode("idna"),
            port=self.base.port,
            target=target.encode("ascii"),
        )
        return self._pool.stream(
            method,
            url,
            headers=[(b"host", self.base.authority.encode("idna")), *self._headers, *headers],
            content=body,
            extensions={"timeout": self._at_most(within)},
        )

    def _at_most(self, within: float | None) -> dict[str, float]:
        if within is None:
            return self._timeout
        return {what: min(seconds, within) for what, seconds in self._timeout.items()}

    def _open(self) -> None:
        self._pool = httpcore2.ConnectionPool(
            ssl_context=self._tls,
            max_connections=None,
            max_keepalive_connections=8,
            keepalive_expiry=KEEP_SECONDS,
            network_backend=AttentiveBackend(),
        )

    def _refusal(self, response: httpcore2.Response, ref: str) -> Exception:
        """Return what an answer that is none of the good ones says."""
        with self._explained():
            data = _bounded(response)
        try:
            said = json.loads(data)
        except (ValueError, RecursionError):
            said = None
        if not isinstance(said, dict):
            said = {}
        error = error_of(response.status, said, ref, str(self.base))
        after = _header(response, b"retry-after")
        if after.isdecimal() and (response.status == 429 or said.get("error") == "Conflict"):
            return _LaterError(int(after[:6]), error, unseen=response.status == 429)
        return error

    def _json(self, response: httpcore2.Response) -> Any:
        """Return the JSON of an answer, None if it has none."""
        with self._explained():
            data = _bounded(response)
        if not data:
            return None
        try:
            return json.loads(data)
        except (ValueError, RecursionError) as error:
            raise CatalogError(
                f"{self.base} does not answer as a server of mediakeep does: no JSON"
            ) from error

    def _pieces(self, response: httpcore2.Response, ref: str) -> Iterator[bytes]:
        try:
            with self._explained():
                yield from response.iter_stream()
        except NotAnsweredError as error:
            raise CutOffError(
                f"the bytes of {ref} did not all come: {error.told()}"
            ) from error.__cause__

    @contextmanager
    def _explained(self) -> Iterator[None]:
        """Turn the errors of connections into ours."""
        try:
            yield
        except httpcore2.TimeoutException as error:
            unsent = isinstance(error, httpcore2.ConnectTimeout | httpcore2.PoolTimeout)
            why = f"does not answer: {_short(error)}"
            raise NotAnsweredError(str(self.base), why, unsent=unsent) from error
        except httpcore2.ConnectError as error:
            why = f"cannot be reached: {_short(error)}"
            raise NotAnsweredError(str(self.base), why, unsent=True) from error
        except (httpcore2.NetworkError, httpcore2.RemoteProtocolError) as error:
            why = f"broke off: {_short(error)}"
            raise NotAnsweredError(str(self.base), why, unsent=False) from error


class CutOffError(BlobError):
    """The connection broke while bytes came."""


class _LaterError(Exception):
    """The server asks to be asked later; `told` is what to raise instead of waiting any longer."""

    def __init__(self, seconds: int, told: Exception, *, unseen: bool) -> None:
        self.seconds = seconds
        self.told = told
        self.unseen = unseen


def _bounded(response: httpcore2.Response) -> bytes:
    data = bytearray()
    for piece in response.iter_stream():
        data += piece
        if len(data) > MAX_JSON_BYTES:
            raise CatalogError(f"the server's answer has more than {MAX_JSON_BYTES} bytes")
    return bytes(data)


def _header(response: httpcore2.Response, name: bytes) -> str:
    return next((value for key, value in response.headers if key.lower() == name), b"").decode("latin-1")


def _short(error: Exception) -> str:
    return str(error)[:200] or type(error).__name__
