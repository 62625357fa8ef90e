"""Files from the web, which the extra `download` brings: into the store, or not at all."""

import ssl
from collections.abc import Mapping
from contextlib import closing
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

from mediakeep.intake.declared import declared_name, declared_type
from mediakeep.intake.failures import AddressRefused, DownloadError, DownloadTimeout
from mediakeep.intake.names import display_name
from mediakeep.model import NO_META, MediaMeta, seconds_of

if TYPE_CHECKING:
    from mediakeep.intake.fetching import Answer
    from mediakeep.store import MediaStore

__all__ = ["AddressRefused", "DownloadError", "DownloadTimeout", "download"]

MAX_BYTES = 100 * 1024 * 1024
MAX_SECONDS = 60.0
MAX_REDIRECTS = 5


def download(
    url: str,
    store: "MediaStore",
    scope: str = "",
    *,
    meta: MediaMeta = NO_META,
    ttl: timedelta | float | None = None,
    max_bytes: int = MAX_BYTES,
    max_seconds: float = MAX_SECONDS,
    headers: Mapping[str, str] | None = None,
    proxy: str | None = None,
    allow_private: bool = False,
    max_redirects: int = MAX_REDIRECTS,
    tls: ssl.SSLContext | None = None,
) -> str:
    """Put the file at the web address `url` into `store`, and return its ref.

    Content type and name are what the response says of them, where `meta` says nothing: its
    `Content-Type` and `Content-Disposition`, or else the end of the path. Cookies are not kept, and no
    proxy is taken from the environment.

    Args:
        url: http or https, without user and password.
        store: where the bytes go, as they come.
        scope: what the ref belongs to and ends with.
        meta: what is known of the file already.
        ttl: how long the ref lives, as a timedelta or in seconds.
        max_bytes: how large the file may be, decoded.
        max_seconds: how long all of it may take, from resolving the name to the last byte.
        headers: sent to the scheme, host and port of `url` only; the first redirect that leads
            elsewhere ends that.
        proxy: `http://host:port`, with `user:password@` if it wants them. It resolves the names, so it
            must refuse those of private addresses.
        allow_private: connect to addresses that are not public ones too.
        max_redirects: how many redirects are followed, each checked as `url` is.
        tls: whom to trust, and with which certificate to answer; by default those that this machine
            trusts.

    Raises:
        AddressRefused: it leads to an address that is not public, by whatever name or redirect.
        DownloadTimeout: it takes too long.
        TooLarge: it is more than `max_bytes`.
        DownloadError: it cannot be had otherwise, or the extra is not installed.
        MediaError: as `store.put` raises it.
        ValueError: a limit, a header or the proxy cannot be one.
    """
    try:
        from mediakeep.intake.fetching import Wanted, fetch
    except ModuleNotFoundError as error:
        if error.name not in ("httpcore2", "httpx2"):
            raise
        raise DownloadError(f'downloads need {error.name}: pip install "mediakeep[download]"') from error

    for name, amount in (("max_bytes", max_bytes), ("max_redirects", max_redirects + 1)):
        if amount <= 0:
            raise ValueError(f"{name} must be a positive number, not {amount!r}")
    wanted = Wanted(
        url,
        max_bytes,
        seconds_of("max_seconds", max_seconds),
        headers or {},
        proxy,
        allow_private,
        max_redirects,
        tls,
    )
    with fetch(wanted) as answer, closing(answer.body()) as body:
        return store.put(body, _declared(answer, meta), scope, ttl=ttl)


def _declared(answer: "Answer", meta: MediaMeta) -> MediaMeta:
    """Return `meta` with what the response says where it says nothing."""
    name = declared_name(answer.header("content-disposition"))
    return replace(
        meta,
        filename=meta.filename or name or display_name(answer.url.path),
        content_type=meta.content_type or declared_type(answer.header("content-type")),
    )
