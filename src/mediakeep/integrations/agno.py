"""agno: the media of sessions in a store, with the session's scope.

Give one to an agent, a team or a workflow as `media_storage`. What agno then offloads goes into the
scope of its session, `delete_session(..., delete_media=True)` releases it, and so does
`store.release_all(session_scope(...))`.
"""

import hashlib
import logging
import re
from collections.abc import Callable
from datetime import timedelta
from functools import partial
from typing import Any

try:
    from agno.media.storage.base import AsyncMediaStorage, MediaStorage
except ImportError as error:
    raise ImportError('mediakeep.integrations.agno needs agno: pip install "mediakeep[agno]"') from error

from mediakeep.errors import BlobError, MediaError, MediaMissing, UnknownRef
from mediakeep.integrations.notes import note
from mediakeep.integrations.scopes import scope_of
from mediakeep.integrations.threads import Threads
from mediakeep.model import MediaMeta, seconds_of
from mediakeep.refs import PREFIX
from mediakeep.store import MediaStore

logger = logging.getLogger("mediakeep.integrations.agno")

__all__ = ["AgnoMedia", "AsyncAgnoMedia", "scope_of_upload", "session_scope"]

FRAMEWORK = "agno"
"""The source that media of these adapters have; what agno says of them stands behind it."""

URL_SECONDS = 3600.0
"""How long a signed link works if agno does not say: as long as those of agno's own storages."""


def session_scope(session_id: str) -> str:
    """Return the scope of the media of a session.

    >>> session_scope("42")
    'agno:42'
    """
    return scope_of(FRAMEWORK, session_id)


def scope_of_upload(media_id: str) -> str:
    """Return the scope of what agno uploads under `media_id`, which names the session in front.

    agno (3.1, `agno.utils.media_offload`) writes `<session, first 120 characters>-<medium>-<16 hex>`.
    Where the medium's own id is a UUID, as agno gives one, the session is what stands before it. Where
    it is not, or the session's may be cut off, that cannot be told for certain. Then the medium gets a
    scope of its own, which ends with `delete_media` but with no session: better than with another's.

    >>> scope_of_upload("42-0a7f4c1e-58f5-4d27-9d5f-2a1d64c31b77-0123456789abcdef")
    'agno:42'
    >>> scope_of_upload("42-my-photo-0123456789abcdef")
    'agno:upload:42-my-photo-0123456789abcdef'
    """
    found = _UPLOAD.fullmatch(media_id)
    if found and len(found["session"]) < _LONGEST_SESSION:
        return session_scope(found["session"])
    return scope_of(FRAMEWORK, "upload", media_id)


def _may_be_of_two(media_id: str) -> bool:
    """Return whether the session in an upload's id may be cut off, and so stand for another one too."""
    found = _UPLOAD.fullmatch(media_id)
    if found:
        return len(found["session"]) >= _LONGEST_SESSION
    return len(media_id) >= _LONGEST_SESSION + len("-m-0123456789abcdef")


_LONGEST_SESSION = 120
_UUID = "[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}"
_UPLOAD = re.compile(rf"(?P<session>.+)-{_UUID}-[0-9a-f]{{16}}", re.DOTALL)


class AgnoMedia(MediaStorage):
    """agno's storage of media, over a store: for agents that `run`.

    The storage key of a medium is its ref without `media://`.

    Args:
        store: where the media go; it is not closed.
        scope: what they belong to and end with: one for all, or what gives it for agno's id of an
            upload. By default that of their session, as :func:`scope_of_upload` tells it.
        url_expires_in: how long signed links work, as a timedelta or in seconds, if agno does not say.
            Only object storage has such links; for others agno reads the bytes.
        bucket: tells several stores of one agno database from each other.
        persist_remote_urls: whether agno downloads what it has a URL of, to offload that too.

    Raises:
        ValueError: the scope is empty, or the time is not a positive one.
    """

    backend_name = "mediakeep"

    def __init__(
        self,
        store: MediaStore,
        scope: str | Callable[[str], str] = scope_of_upload,
        *,
        url_expires_in: timedelta | float = URL_SECONDS,
        bucket: str | None = None,
        persist_remote_urls: bool = False,
    ) -> None:
        if not scope:
            raise ValueError("media need a scope to end with: give one, such as 'agno:42'")
        self._store = store
        self._scope_of = (lambda _: scope) if isinstance(scope, str) else scope
        self._url_seconds = seconds_of("url_expires_in", url_expires_in)
        self.bucket = bucket
        self.persist_remote_urls = persist_remote_urls

    def upload(
        self,
        media_id: str,
        content: bytes,
        *,
        mime_type: str | None = None,
        filename: str | None = None,
        metadata: dict[str, Any] | None = None,
    ) -> str:
        """Put `content` into its scope, and return its storage key.

        The same upload again gives the same key, for which the scope is read. But where agno may have
        cut the session off in `media_id`, each gets a key of its own: it may be of another session that
        begins alike, and the first to be deleted would take the medium from it. Of the metadata agno
        itself keeps what it needs.

        Raises:
            MediaError: what :meth:`MediaStore.put` raises; agno logs it, and keeps the bytes inline.
        """
        scope = self._scope_of(media_id)
        digest = hashlib.sha256(content).hexdigest()
        source = note(FRAMEWORK, {"id": media_id, "filename": filename})
        for entry in () if _may_be_of_two(media_id) else self._store.entries(scope):
            same = (entry.sha256, entry.meta.source, entry.declared_type)
            if same == (digest, source, mime_type or ""):
                return entry.ref.removeprefix(PREFIX)
        meta = MediaMeta(filename or "", mime_type or "", source)
        return self._store.put(content, meta, scope).removeprefix(PREFIX)

    def download(self, storage_key: str) -> bytes:
        """Return the bytes of a storage key.

        Raises:
            MediaMissing: they have ended, or never were here; also a `FileNotFoundError`, of which
                agno's server makes a 404.
        """
        try:
            return self._store.read_bytes(PREFIX + storage_key)
        except UnknownRef as error:
            raise MediaMissing.at(storage_key, str(error)) from error

    def get_url(self, storage_key: str, *, expires_in: int | None = None) -> str | None:
        """Return a signed link, or None where there is none: for a folder, and for what has ended."""
        try:
            return self._store.url(PREFIX + storage_key, expires_in or self._url_seconds)
        except (UnknownRef, BlobError):
            return None

    def delete(self, storage_key: str) -> bool:
        """Release a medium. Return whether it has ended, now or before; False if that failed."""
        try:
            self._store.release(PREFIX + storage_key)
        except MediaError as error:
            logger.warning("cannot release %s%s: %s", PREFIX, storage_key, error)
            return False
        return True

    def exists(self, storage_key: str) -> bool:
        """Return whether a medium is there: that its ref is live."""
        try:
            self._store.entry(PREFIX + storage_key)
        except UnknownRef:
            return False
        return True


class AsyncAgnoMedia(AsyncMediaStorage):
    """agno's storage of media, over a store: for agents that `arun`. Like :class:`AgnoMedia`."""

    backend_name = "mediakeep"

    def __init__(
        self,
        store: MediaStore,
        scope: str | Callable[[str], str] = scope_of_upload,
        *,
        url_expires_in: timedelta | float = URL_SECONDS,
        bucket: str | None = None,
        persist_remote_urls: bool = False,
    ) -> None:
        self._media = AgnoMedia(store, scope, url_expires_in=url_expires_in)
        self._threads = Threads()
        self.bucket = bucket
        self.persist_remote_urls = persist_remote_urls

    async def upload(
        self,
        media_id: str,
        content: bytes,
        *,
        mime_type: str | None = None,
        filename: str | None = None,
        metadata: dict[str, Any] | None = None,
    ) -> str:
        """Put `content` into its scope, as :meth:`AgnoMedia.upload` does.

        Cancelled, it may leave it there if the same upload finds it again.
        """
        upload = partial(self._media.upload, media_id, content)
        return await self._threads.run(
            partial(upload, mime_type=mime_type, filename=filename, metadata=metadata),
            undo=self._media.delete if _may_be_of_two(media_id) else None,
        )

    async def download(self, storage_key: str) -> bytes:
        """Return the bytes of a storage key, as :meth:`AgnoMedia.download` does."""
        return await self._threads.run(partial(self._media.download, storage_key))

    async def get_url(self, storage_key: str, *, expires_in: int | None = None) -> str | None:
        """Return a signed link or None, as :meth:`AgnoMedia.get_url` does."""
        return await self._threads.run(partial(self._media.get_url, storage_key, expires_in=expires_in))

    async def delete(self, storage_key: str) -> bool:
        """Release a medium, as :meth:`AgnoMedia.delete` does; also in a task that is cancelled."""
        return await self._threads.finish(partial(self._media.delete, storage_key))

    async def delete_many(self, storage_keys: list[str]) -> int:
        """Release media, and return how many have ended; also in a task that is cancelled."""
        return await self._threads.finish(partial(self._media.delete_many, storage_keys))

    async def exists(self, storage_key: str) -> bool:
        """Return whether a medium is there, as :meth:`AgnoMedia.exists` does."""
        return await self._threads.run(partial(self._media.exists, storage_key))
