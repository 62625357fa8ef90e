"""One GET request, redirects included: what goes out to whom, and what may come back.

URLs are httpx2's, connections httpcore2's: its `Client` decodes without bound, keeps cookies and reads
proxies from the environment, none of which is wanted here.
"""

import re
import ssl
import zlib
from collections.abc import Generator, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from functools import cache
from typing import NamedTuple

import httpcore2
import httpx2

from mediakeep.errors import TooLarge
from mediakeep.intake.addresses import Address, literal, refusal
from mediakeep.intake.connections import CheckedBackend, Deadline
from mediakeep.intake.decoding import gunzipped
from mediakeep.intake.failures import AddressRefused, DownloadError, DownloadTimeout


class Wanted(NamedTuple):
    """What is to be fetched, and within which bounds; as `download` describes it."""

    url: str
    max_bytes: int
    max_seconds: float
    headers: Mapping[str, str]
    proxy: str | None
    allow_private: bool
    max_redirects: int
    tls: ssl.SSLContext | None


class Answer:
    """A response that holds a file: where it came from in the end, its headers, and its body, once."""

    def __init__(self, url: httpx2.URL, response: httpcore2.Response, max_bytes: int) -> None:
        self.url = url
        self._headers = response.headers
        self._body = response.iter_stream()
        self._max_bytes = max_bytes
        self._packed = self._check()

    def header(self, name: str) -> str:
        """Return the first value of the header `name`; "" if there is none."""
        return _header(self._headers, name)

    def body(self) -> Generator[bytes]:
        """Yield the decoded body.

        Raises:
            TooLarge: it is more than is wanted.
            DownloadError: it does not come to its end.
        """
        with _explained(self.url):
            if not self._packed:
                yield from _limited(self._body, self._max_bytes, self._max_bytes)
            else:
                # Packing adds a little to what cannot be packed, and anything to what is empty.
                raw = _limited(
                    self._body, self._max_bytes + self._max_bytes // 64 + 1024, self._max_bytes
                )
                yield from _limited(gunzipped(raw), self._max_bytes, self._max_bytes)

    def _check(self) -> bool:
        """Refuse what the headers already tell to be of no use; return whether the body is packed."""
        coding = self.header("content-encoding").strip().lower()
        if coding not in ("", "identity", "gzip", "x-gzip"):
            raise DownloadError(
                f"{shown(self.url)} is packed with {coding[:40]!r}, which was not asked for: ask its "
                "server for it without Content-Encoding"
            )
        length = self.header("content-length")
        if length.isdecimal() and int(length[:20]) > self._max_bytes:
            raise _too_large(f"{shown(self.url)} has {length[:20]} bytes", self._max_bytes)
        return "gzip" in coding


@contextmanager
def fetch(wanted: Wanted) -> Iterator[Answer]:
    """Ask for `wanted`, follow where it leads, and give the answer that holds the file.

    Raises:
        DownloadError: there is none.
        TooLarge: it is more than is wanted.
    """
    url = _checked(wanted.url)
    headers = _own_headers(wanted.headers)
    deadline = Deadline(wanted.max_seconds)
    with _pool(wanted, deadline) as pool:
        for _ in range(wanted.max_redirects + 1):
            if wanted.proxy and not wanted.allow_private:
                _judge_unresolved(url)
            with ExitStack() as open_response:
                with _explained(url):
                    response = open_response.enter_context(
                        pool.stream(
                            "GET",
                            httpcore2.URL(
                                scheme=url.raw_scheme,
                                host=url.raw_host,
                                port=url.port,
                                target=url.raw_path,
                            ),
                            headers=[(b"Host", url.netloc), *headers.items()],
                        )
                    )
                if response.status in _WHOLE:
                    yield Answer(url, response, wanted.max_bytes)
                    return
                following = _following(url, response)
            if _origin(following) != _origin(url):
                headers = _own_headers({})  # for good: the next one may lead back, to where it likes
            url = following
    raise DownloadError(
        f"{shown(url)} is where {wanted.max_redirects} redirects led, and it redirects again: give its "
        "final URL, or raise max_redirects"
    )


def shown(url: httpx2.URL) -> str:
    """Return what may be told of `url`: tokens stand in the middle of paths as well as in queries."""
    host = url.netloc.decode("ascii", "replace")
    path, _, name = url.raw_path.partition(b"?")[0].decode("ascii", "replace").rpartition("/")
    between = "/…/" if path else "/"
    return f"{url.scheme}://{host[:100]}{between}{name if len(name) <= 60 else name[:60] + '…'}"


def _pool(wanted: Wanted, deadline: Deadline) -> httpcore2.ConnectionPool:
    def judge(host: str, addresses: list[Address]) -> None:
        # With a proxy that is the only host that is connected to; the caller trusts it.
        if wanted.allow_private or wanted.proxy:
            return
        for address in addresses:
            if address.refusal:
                raise _refused(host, address.host, address.refusal)

    return httpcore2.ConnectionPool(
        ssl_context=wanted.tls or _trusted(),
        proxy=None if wanted.proxy is None else _proxy(wanted.proxy),
        max_keepalive_connections=0,
        network_backend=CheckedBackend(deadline, judge),
    )


def _judge_unresolved(url: httpx2.URL) -> None:
    """Refuse an address that stands in the URL; names are for the proxy to resolve, and to refuse."""
    host = url.raw_host.decode("ascii").lower().rstrip(".")
    local = f".{host}".endswith(".localhost")  # RFC 6761, section 6.3
    address = "127.0.0.1" if local else literal(host)
    if address and (why := refusal(address)):
        raise _refused(host, address, why)


def _refused(host: str, address: str, why: str) -> AddressRefused:
    leads = f"leads to {address}, which" if address != host else ""
    return AddressRefused(
        f"{' '.join((host[:100], leads)).strip()} is not a public address ({why}): if you trust this "
        "host and whoever gave its URL, pass allow_private=True"
    )


def _checked(text: str) -> httpx2.URL:
    """Return the URL in `text` if it can be asked for."""
    try:
        url = httpx2.URL(text)
    except httpx2.InvalidURL:
        url = _NOWHERE  # its own words are left out: they may be the password
    if url.scheme not in (*_PORTS, ""):
        raise DownloadError(
            f"the URL is of the scheme {url.scheme[:20]!r}: only http and https are downloaded"
        )
    if not url.scheme or not _HOST.fullmatch(url.raw_host) or not 0 < _origin(url)[2] < 65536:
        raise DownloadError("the URL cannot be one: give http(s)://host/path, escaped where needed")
    if url.userinfo:
        raise DownloadError(
            f"{shown(url)} has a user or password in it: pass them in headers, as Authorization"
        )
    return url


def _following(url: httpx2.URL, response: httpcore2.Response) -> httpx2.URL:
    """Return where a redirect leads, or raise what else it is that is not a file."""
    if response.status not in _REDIRECTS:
        advice = _ADVICE.get(response.status, "try again later" if response.status >= 500 else "")
        raise DownloadError(
            f"{shown(url)} was answered with status {response.status}" + (advice and f": {advice}"),
            status=response.status,
        )
    location = _header(response.headers, "location")
    try:
        return _checked(str(url.join(location)) if location else "")
    except (httpx2.InvalidURL, ValueError):
        why = "where it leads cannot be a URL"
    except DownloadError as error:
        why = str(error)
    raise DownloadError(
        f"{shown(url)} is a redirect that is not followed: {why}", status=response.status
    ) from None


def _own_headers(given: Mapping[str, str]) -> dict[bytes, bytes]:
    """Return the headers of a request: those `given`, and ours where these have none."""
    headers = {b"user-agent": b"mediakeep", b"accept": b"*/*", b"accept-encoding": b"identity"}
    for name, value in given.items():
        if not _TOKEN.fullmatch(name) or name.lower() in _OURS:
            raise ValueError(
                f"a download cannot be asked for with the header {name[:40]!r}: leave it out"
            )
        if not _VALUE.fullmatch(value):
            raise ValueError(f"the value of the header {name!r} has characters that no header can have")
        headers[name.lower().encode()] = value.encode("latin-1")
    return headers


def _proxy(text: str) -> httpcore2.Proxy:
    try:
        url = httpx2.URL(text)
    except httpx2.InvalidURL:
        url = _NOWHERE
    if url.scheme != "http" or not url.host:
        raise ValueError(
            "the proxy must be given as http://host:port, or http://user:password@host:port"
        )
    place = httpcore2.URL(scheme=b"http", host=url.raw_host, port=url.port or 80, target=b"/")
    auth = (url.username.encode(), url.password.encode()) if url.userinfo else None
    return httpcore2.Proxy(place, auth)


@contextmanager
def _explained(url: httpx2.URL) -> Iterator[None]:
    """Turn the errors of connections into ours, which name the URL."""
    try:
        yield
    except (TimeoutError, httpcore2.TimeoutException) as error:
        raise DownloadTimeout(
            f"{shown(url)} was not complete in its time: try again later, or raise max_seconds"
        ) from error
    except zlib.error as error:
        raise DownloadError(f"{shown(url)} is packed with gzip, and that is broken: {error}") from error
    except httpcore2.RemoteProtocolError as error:
        raise DownloadError(
            f"{shown(url)} was not answered as HTTP wants it, or was cut short: {_short(error)}"
        ) from error
    except (httpcore2.NetworkError, httpcore2.ProtocolError, httpcore2.ProxyError) as error:
        raise DownloadError(f"{shown(url)} cannot be reached: {_short(error)}") from error


def _short(error: Exception) -> str:
    return str(error)[:200]  # it may hold what the server sent


def _limited(chunks: Iterator[bytes], most: int, told: int) -> Iterator[bytes]:
    """Yield `chunks` as long as they are no more than `most` bytes in all."""
    size = 0
    for chunk in chunks:
        size += len(chunk)
        if size > most:
            raise _too_large(f"the download has {size} bytes or more", told)
        yield chunk


def _too_large(what: str, max_bytes: int) -> TooLarge:
    return TooLarge(
        f"{what}, and may have {max_bytes} (max_bytes): take a smaller file, or raise the limit"
    )


def _origin(url: httpx2.URL) -> tuple[str, bytes, int]:
    return url.scheme, url.raw_host.lower(), _PORTS[url.scheme] if url.port is None else url.port


def _header(headers: list[tuple[bytes, bytes]], name: str) -> str:
    value = next((value for key, value in headers if key.lower() == name.encode()), b"")
    try:
        return value.decode()  # HTTP wants ASCII; what is sent beyond it is mostly this
    except UnicodeDecodeError:
        return value.decode("latin-1")


@cache
def _trusted() -> ssl.SSLContext:
    return httpcore2.default_ssl_context()  # reads all certificates of the machine: some 20 ms


_NOWHERE = httpx2.URL("")
_PORTS = {"http": 80, "https": 443}
_WHOLE = (200, 203)
_REDIRECTS = (301, 302, 303, 307, 308)
_ADVICE = {
    401: "pass headers with an Authorization that is valid",
    403: "it may want headers with an Authorization, or has expired",
    404: "there is no such file, or no more",
    407: "the proxy wants a user and password",
    410: "the file is no more",
    429: "try again later",
}
_HOST = re.compile(rb"[0-9A-Fa-f:.]*:[0-9A-Fa-f:.]*|[A-Za-z0-9_-]{1,63}(?:\.[A-Za-z0-9_-]{1,63})*\.?")
_TOKEN = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
_VALUE = re.compile(r"[!-~\xa0-\xff](?:[\t -~\xa0-\xff]*[!-~\xa0-\xff])?|")
_OURS = ("accept-encoding", "connection", "content-length", "expect", "host", "range", "te",
         "transfer-encoding", "upgrade")  # fmt: skip
