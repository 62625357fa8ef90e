"""Uploads in parts that were cut off: S3 keeps and charges for their parts until they are aborted.

obstore neither lists nor aborts them, so botocore does, with what obstore was told: its options, its
credential provider, and the variables of the environment that it reads. Azure drops the blocks of such
an upload by itself after a week; on Google's storage it takes a lifecycle rule of the bucket
(docs/objects.md).
"""

import asyncio
import functools
import inspect
import logging
import os
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from typing import Any

from obstore.store import S3Store

from mediakeep.blobs import Unfinished
from mediakeep.blobs.remote import READ_SECONDS, RETRIES, Remote, failed

logger = logging.getLogger("mediakeep.blobs")

CONNECT_SECONDS = 5.0

_GONE = ("NoSuchUpload", "NoSuchKey")
_NOT_OFFERED = ("NotImplemented", "MethodNotAllowed")


def unfinished(remote: Remote) -> Iterator[Unfinished]:
    """Yield the uploads in parts under the prefix of `remote` that were neither completed nor aborted.

    Those of writers that are alive are among them. There are none to tell of but on S3.

    Raises:
        ObjectStoreError: the service fails or refuses; its role needs `s3:ListBucketMultipartUploads`.
    """
    store = remote.store
    if not isinstance(store, S3Store):
        return
    try:
        import botocore.exceptions
    except ImportError:
        logger.warning(
            "uploads that were cut off are not looked for in %s, since botocore is not installed: "
            'pip install "mediakeep[objects]"',
            remote.url,
        )
        return
    prefix = f"{store.prefix}/" if store.prefix else ""
    bucket = str(store.config["bucket"])
    with closing(_client(store)) as client:
        pages = iter(
            client.get_paginator("list_multipart_uploads").paginate(Bucket=bucket, Prefix=prefix)
        )
        while True:
            try:
                page = next(pages, None)
            except (botocore.exceptions.ClientError, botocore.exceptions.BotoCoreError) as error:
                code = _code(error)
                if code in _NOT_OFFERED:
                    logger.warning(
                        "uploads that were cut off are not looked for in %s, since the service does not "
                        "list them (%s): have a lifecycle rule remove them",
                        remote.url,
                        code,
                    )
                    return
                raise failed(remote, "list the uploads of", "", _reason(error)) from None
            if page is None:
                return
            for it in page.get("Uploads", ()):
                yield Unfinished(
                    it["Key"].removeprefix(prefix),
                    it["Initiated"].timestamp(),
                    _Abort(remote, client, bucket, it["Key"], it["UploadId"]),
                )


class _Abort:
    """Aborts one upload; what is gone is no error."""

    __slots__ = ("_bucket", "_client", "_key", "_number", "_remote")

    def __init__(self, remote: Remote, client: Any, bucket: str, key: str, number: str) -> None:
        self._remote = remote
        self._client = client
        self._bucket = bucket
        self._key = key
        self._number = number

    def __call__(self) -> None:
        from botocore.exceptions import BotoCoreError, ClientError

        try:
            self._client.abort_multipart_upload(
                Bucket=self._bucket, Key=self._key, UploadId=self._number
            )
        except (ClientError, BotoCoreError) as error:
            if _code(error) not in _GONE:
                raise failed(self._remote, "abort the upload of", self._key, _reason(error)) from None


def _client(store: S3Store) -> Any:
    """Return a client of botocore for the service that `store` speaks to, with the same credentials."""
    import botocore.session
    from botocore import UNSIGNED
    from botocore.config import Config

    said: Mapping[str, Any] = store.config
    client_options: Mapping[str, Any] = store.client_options or {}

    def option(*names: str) -> str | None:
        """Return what obstore was told, or else reads from the environment, under one of the names."""
        variables = (f"AWS_{name.removeprefix('aws_').upper()}" for name in names)
        found = next((said[name] for name in names if name in said), None)
        return found or next((os.environ[it] for it in variables if os.environ.get(it)), None)

    endpoint = option("aws_endpoint_url_s3") or option("endpoint", "endpoint_url")
    virtual = _is_true(option("virtual_hosted_style_request"))
    host = f"://{said['bucket']}."
    if virtual and endpoint and host in endpoint:
        endpoint = endpoint.replace(host, "://", 1)  # botocore puts it there by itself
    proxy = client_options.get("proxy_url")
    config = Config(
        connect_timeout=CONNECT_SECONDS,
        read_timeout=READ_SECONDS,
        retries={"mode": "standard", "total_max_attempts": RETRIES},
        s3={"addressing_style": "virtual" if virtual else "path"},
        proxies=None if proxy is None else {"http": proxy, "https": proxy},
        signature_version=UNSIGNED if _is_true(option("skip_signature")) else "s3v4",
    )
    session = botocore.session.Session()
    session.register_component("data_loader", _descriptions())
    return session.create_client(
        "s3",
        region_name=option("region", "default_region") or "us-east-1",
        endpoint_url=endpoint,
        verify=False if _is_true(client_options.get("allow_invalid_certificates")) else None,
        config=config,
        **_credentials(store),
    )


@functools.cache
def _descriptions() -> Any:
    """Return what reads botocore's descriptions of services, which takes long and is kept then."""
    from botocore.loaders import create_loader

    return create_loader()


def _credentials(store: S3Store) -> dict[str, Any]:
    """Return the credentials that `store` was given; none where botocore finds them as obstore does."""
    said: Mapping[str, Any] = store.config
    if store.credential_provider is not None:
        said = _provided(store.credential_provider)
    if "access_key_id" not in said:
        return {}
    return {
        "aws_access_key_id": said["access_key_id"],
        "aws_secret_access_key": said["secret_access_key"],
        "aws_session_token": said.get("session_token") or said.get("token"),
    }


def _provided(provider: Any) -> Mapping[str, Any]:
    """Return what a provider gives, which may have to be awaited."""
    given = provider()
    if not inspect.isawaitable(given):
        return dict(given)

    async def awaited() -> Any:
        return await given

    # In a thread of its own: in this one a loop may be running.
    with ThreadPoolExecutor(1) as thread:
        return dict(thread.submit(asyncio.run, awaited()).result())


def _is_true(value: Any) -> bool:
    return str(value).lower() in ("true", "1", "yes", "on", "y", "t")


def _code(error: Any) -> str:
    """Return S3's name for what went wrong, or nothing if it did not answer."""
    return str(getattr(error, "response", {}).get("Error", {}).get("Code", ""))


def _reason(error: Any) -> str:
    """Return what went wrong, and nothing that came from a request."""
    code = _code(error)
    if code == "AccessDenied":
        return (
            "access is refused: the role needs s3:ListBucketMultipartUploads on the bucket and "
            "s3:AbortMultipartUpload in the prefix"
        )
    return f"the service answered {code}" if code else f"it cannot be reached ({type(error).__name__})"
