"""One bucket and prefix, through obstore: its options, its time, and its errors in mediakeep's words."""

import errno
import os
import re
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from typing import Any, NoReturn
from urllib.parse import urlsplit

import obstore
from obstore.exceptions import AlreadyExistsError, BaseError, PermissionDeniedError, UnauthenticatedError
from obstore.store import AzureStore, GCSStore, S3Store, from_url

from mediakeep.errors import BlobError, MediaMissing

SCHEMES = ("s3", "gs", "az")
ENDPOINTS = ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_ENDPOINT")
"""Where obstore reads the address of an S3 service from."""

RETRIES = 6
RETRY_SECONDS = 30.0
READ_SECONDS = 20.0
REQUEST_SECONDS = 300.0

_CODE = re.compile(r"<Code>(\w{1,64})</Code>")
_STATUS = re.compile(r"status code: (\d{3}[ \w]{0,40})")
_BUCKET_GONE = ("NoSuchBucket", "ContainerNotFound", "The specified bucket does not exist")


class ObjectStoreError(BlobError, OSError):
    """The object store failed or refused; an `OSError` too, with the reason as its `strerror`."""


class Remote:
    """A bucket and a prefix in it.

    Args:
        url: `s3://bucket/prefix`, `gs://bucket/prefix` or `az://container/prefix`, without credentials.
        options: for the store: `endpoint`, `region`, `client_options`, `retry_config`,
            `credential_provider` and whatever else obstore knows of its kind.
    """

    __slots__ = ("_pid", "store", "url")

    def __init__(self, url: str, options: dict[str, Any]) -> None:
        parts = urlsplit(url)
        if "@" in parts.netloc or parts.query or parts.fragment:
            raise ValueError(
                f"a {parts.scheme or 'store'} URL must hold no credentials and no query: give them as "
                "options, or in the environment"
            )
        if parts.scheme not in SCHEMES or not parts.netloc:
            raise ValueError(f"{url!r} names no bucket: write it as s3://bucket/prefix, gs:// or az://")
        self.url = url.rstrip("/")
        options = dict(options)
        read = ENDPOINTS if parts.scheme == "s3" else ()
        endpoint = options.get("endpoint") or next(filter(None, map(os.environ.get, read)), "")
        client = {
            "connect_timeout": timedelta(seconds=5),
            "read_timeout": timedelta(seconds=READ_SECONDS),
            "timeout": timedelta(seconds=REQUEST_SECONDS),
            **({"allow_http": True} if str(endpoint).startswith("http://") else {}),
            **options.pop("client_options", {}),
        }
        retry = {
            "max_retries": RETRIES,
            "retry_timeout": timedelta(seconds=RETRY_SECONDS),
            "backoff": {
                "init_backoff": timedelta(milliseconds=100),
                "max_backoff": timedelta(seconds=5),
            },
            **options.pop("retry_config", {}),
        }
        connect: Any = from_url  # it knows three sets of options, and the URL tells which
        try:
            store = connect(self.url, client_options=client, retry_config=retry, **options)
        except (BaseError, TypeError, ValueError) as error:
            # The text may repeat an option, and so a secret.
            known = ", ".join(sorted(options)) or "none"
            raise ValueError(
                f"obstore takes no such store: {self.url} with the options {known} "
                f"({type(error).__name__})"
            ) from None
        assert isinstance(store, S3Store | GCSStore | AzureStore)  # noqa: S101 (the schemes above)
        self.store = store
        self._pid = os.getpid()

    def __repr__(self) -> str:
        return f"Remote({self.url!r})"

    @property
    def is_the_parents(self) -> bool:
        """Whether this is a forked child, which can do nothing with it."""
        return os.getpid() != self._pid

    @contextmanager
    def failing(self, verb: str, name: str = "") -> Iterator[None]:
        """Turn obstore's errors into mediakeep's, which name no credentials.

        Every request is made in such a block.
        """
        if self.is_the_parents:
            # Its threads stayed in the parent, so that it would wait for them for ever.
            raise ObjectStoreError(
                errno.ECHILD,
                f"cannot {verb} {self.url} in a forked child: start workers with spawn or forkserver",
            )
        try:
            yield
        except FileNotFoundError as error:
            text = str(error)
            if any(it in text for it in _BUCKET_GONE):
                self._fail(verb, name, "the bucket is not there: create it, or correct the URL")
            advice = "somebody deleted it, or it was never written"
            raise MediaMissing.at(f"{self.url}/{name}", advice) from None
        except (PermissionDeniedError, UnauthenticatedError) as error:
            self._fail(verb, name, _refused(str(error)), errno.EACCES)
        except BaseError as error:
            text = str(error)
            if "403 Forbidden" in text or "401 Unauthorized" in text:
                self._fail(verb, name, _refused(text), errno.EACCES)
            if any(it in text for it in _BUCKET_GONE):
                self._fail(verb, name, "the bucket is not there: create it, or correct the URL")
            self._fail(verb, name, reason(error))

    def _fail(self, verb: str, name: str, why: str, number: int = errno.EIO) -> NoReturn:
        # Without its cause: an answer may repeat the request, with its token.
        raise failed(self, verb, name, why, number) from None

    def put(self, name: str, data: bytes | memoryview, attributes: dict[str, str] | None = None) -> None:
        """Write the object `name` in one request; one that is there must be our own, sent twice."""
        with self.failing("write", name):
            try:
                obstore.put(
                    self.store,
                    name,
                    data,
                    mode="create",
                    use_multipart=False,
                    attributes=attributes,
                )
            except AlreadyExistsError:
                # An answer was lost and the request repeated: names are random.
                if obstore.head(self.store, name)["size"] != len(data):
                    raise

    def delete(self, names: list[str]) -> None:
        """Delete objects, in batches where the service can; no error for those that are gone."""
        if not names:
            return
        with self.failing("delete", names[0] if len(names) == 1 else f"{len(names)} objects"):
            try:
                obstore.delete(self.store, names)
            except FileNotFoundError as error:
                if any(it in str(error) for it in _BUCKET_GONE):
                    raise
                for name in names if len(names) > 1 else ():  # some services stop at the first
                    with suppress(FileNotFoundError):
                        obstore.delete(self.store, name)

    def now(self) -> float:
        """Return the time by the clock of the service, which is that of `modified_at` too."""
        name = f"tmp/clock.{secrets.token_hex(8)}"
        try:
            self.put(name, b"")
            with self.failing("read", name):
                return obstore.head(self.store, name)["last_modified"].timestamp()
        finally:
            self.delete([name])


def failed(remote: Remote, verb: str, name: str, why: str, number: int = errno.EIO) -> ObjectStoreError:
    """Return the error for what could not be done to the object `name`, or to all if that is empty."""
    what = f"{remote.url}/{name}" if name else remote.url
    return ObjectStoreError(number, f"cannot {verb} {what}: {why}")


def reason(error: BaseException) -> str:
    """Return what went wrong in a few words of obstore's error, none of which came from a request."""
    text = str(error)
    status, code = _STATUS.search(text), _CODE.search(text)
    if status or code:
        said = " ".join(it[1] for it in (status, code) if it)
        return f"the service answered {said}, also when asked again"
    for sign, words in (
        ("Connect", "the service cannot be reached (is the endpoint right?)"),
        ("TimedOut", "the service did not answer in time"),
        ("timed out", "the service did not answer in time"),
        ("Timeout", "the service did not answer in time"),
    ):
        if sign in text:
            return words
    return "the connection broke off"


def _refused(text: str) -> str:
    code = _CODE.search(text)
    said = f" ({code[1]})" if code else ""
    return (
        f"access is refused{said}: check the credentials, the region, the clock of this machine, and "
        "that they may read, write, list and delete in this prefix"
    )
