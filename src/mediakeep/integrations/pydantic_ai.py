"""pydantic-ai: the media of agents in a store, and out of their histories.

- :class:`HarnessMedia` is a `MediaStore` of pydantic-ai-harness (`pydantic_ai_harness.media`), for its
  snapshots: they find their media by hash, and the media end with a scope.
- :class:`KeepMedia` is a capability of an agent: its history has refs, and the model gets the bytes.
- :func:`externalize_history` and :func:`inline_history` do the same by hand, before and after saving.
"""

import re
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from functools import partial
from typing import Any, TypeVar, cast

try:
    from pydantic_ai.capabilities import AbstractCapability
    from pydantic_ai.messages import (
        BaseToolReturnPart,
        BinaryContent,
        FilePart,
        FileUrl,
        ModelMessage,
        SpeechPart,
        TextPart,
        UserPromptPart,
    )
    from pydantic_ai.models import ModelRequestContext
    from pydantic_ai.tools import RunContext
    from pydantic_ai_harness.media import MediaContext, media_uri_for, parse_media_uri
except ImportError as error:
    raise ImportError(
        "mediakeep.integrations.pydantic_ai needs pydantic-ai and pydantic-ai-harness: "
        'pip install "mediakeep[pydantic-ai]"'
    ) from error

from mediakeep.errors import BlobError, MediaMissing, UnknownRef
from mediakeep.integrations.contents import Contents
from mediakeep.integrations.notes import note, noted
from mediakeep.integrations.sending import fetched
from mediakeep.integrations.threads import Threads
from mediakeep.messages.providers import Provider, provider_of
from mediakeep.model import MediaMeta, seconds_of
from mediakeep.refs import is_ref
from mediakeep.store import MediaStore

__all__ = ["HarnessMedia", "KeepMedia", "externalize_history", "inline_history"]

T = TypeVar("T")

FRAMEWORK = "pydantic-ai"
"""The source that media out of histories have."""

HARNESS = "pydantic-ai-harness"
"""The source that media of snapshots have; the metadata of their put stands behind it."""

_NO_CONTEXT = MediaContext()


class HarnessMedia:
    """The media of one scope, as pydantic-ai-harness addresses them: `media+sha256://<hex>`.

    It implements the protocol `pydantic_ai_harness.media.MediaStore`. The same bytes are kept once in
    the scope, and all of them end with it: `store.release_all(scope)`. So give it the scope of what the
    snapshots are of. Bytes that others put into the scope are found too.

    To find a hash that it does not know yet the entries of the scope are read, and nothing of the rest
    of the store.

    Args:
        store: where the media are; it is not closed.
        scope: what they belong to and end with.
        ttl: how long bytes live after they were last put, as a timedelta or in seconds. Without it they
            live as long as their scope, or as the store's own `default_ttl` or cleaner says.
        url_expires_in: how long links of `public_url` work, as a timedelta or in seconds; without it
            there are none.

    Raises:
        ValueError: the scope is empty, or a time is not a positive one.
    """

    def __init__(
        self,
        store: MediaStore,
        scope: str,
        *,
        ttl: timedelta | float | None = None,
        url_expires_in: timedelta | float | None = None,
    ) -> None:
        self._store = store
        self._scope = scope
        self._ttl = None if ttl is None else seconds_of("ttl", ttl)
        self._url_seconds = (
            None if url_expires_in is None else seconds_of("url_expires_in", url_expires_in)
        )
        # Others than those of histories: their refs stand nowhere, and change when they are renewed.
        self._contents = Contents(store, scope, HARNESS)
        self._threads = Threads()
        self._turn = threading.Lock()

    async def put(self, data: bytes, *, context: MediaContext = _NO_CONTEXT) -> str:
        """Keep `data` in the scope, and return its address.

        The metadata of the first put of the same bytes is kept. Media of which a time to live is known
        live on for the whole of it.

        Raises:
            MediaError: what :meth:`MediaStore.put` raises, such as `QuotaExceeded`.
        """
        return await self._threads.run(partial(self._put, data, context))

    def _put(self, data: bytes, context: MediaContext) -> str:
        address = media_uri_for(data)
        digest = parse_media_uri(address)
        metadata = {"metadata": dict(context.metadata)} if context.metadata else None
        meta = MediaMeta(context.filename or "", context.media_type or "", note(HARNESS, metadata))
        with self._turn:
            ref = self._contents.own(digest)
            if ref is None or not self._renewed(digest, ref):
                self._contents.keep(data, meta, ttl=self._ttl)
        return address

    def _renewed(self, digest: str, ref: str) -> bool:
        """Return whether `ref` is live, after its time has begun again if it has one."""
        try:
            if self._ttl is not None or self._store.entry(ref).expires_at is not None:
                self._contents.renew(digest, ref, self._ttl)
        except UnknownRef:  # it ended just now
            return False
        return True

    async def get(self, uri: str, *, context: MediaContext = _NO_CONTEXT) -> bytes:
        """Return the bytes of an address.

        Raises:
            MediaMissing: the scope has none such; also a `FileNotFoundError`, as the protocol wants it.
            ValueError: it is no address.
        """
        return await self._threads.run(partial(self._get, uri))

    def _get(self, uri: str) -> bytes:
        return self._with_ref(uri, self._store.read_bytes)

    async def exists(self, uri: str, *, context: MediaContext = _NO_CONTEXT) -> bool:
        """Return whether the scope has the bytes of an address; raises ValueError if it is none."""
        digest = parse_media_uri(uri)
        return await self._threads.run(lambda: self._contents.find(digest) is not None)

    async def public_url(self, uri: str, *, context: MediaContext = _NO_CONTEXT) -> str | None:
        """Return a link that works for a while, or None.

        There is none without `url_expires_in`, for bytes that the scope does not have, and where what
        keeps the bytes serves nothing by itself, as a folder does not.
        """
        if self._url_seconds is None:
            return None
        return await self._threads.run(partial(self._url, uri, self._url_seconds))

    def _url(self, uri: str, seconds: float) -> str | None:
        try:
            return self._with_ref(uri, lambda ref: self._store.url(ref, seconds))
        except (BlobError, MediaMissing):
            return None

    async def get_metadata(self, uri: str, *, context: MediaContext = _NO_CONTEXT) -> Mapping[str, str]:
        """Return the metadata that the first put of the bytes had; raises as `get` does."""
        return await self._threads.run(partial(self._metadata, uri))

    def _metadata(self, uri: str) -> Mapping[str, str]:
        entry = self._with_ref(uri, self._store.entry)
        return dict((noted(HARNESS, entry.meta.source) or {}).get("metadata", {}))

    def _with_ref(self, uri: str, use: Callable[[str], T]) -> T:
        """Return what `use` makes of the ref of an address, whichever of several is still live."""
        digest = parse_media_uri(uri)
        while (ref := self._contents.find(digest)) is not None:
            try:
                return use(ref)
            except UnknownRef:
                continue  # it ended since it was found: there may be another
        raise MediaMissing.at(uri, f"scope {self._scope!r} has no such bytes, or has ended")


@dataclass
class KeepMedia(AbstractCapability[Any]):
    """A capability of an agent: its history has refs where media were, and the model gets the media.

    Before each request the media of the history go into the store, each once in the scope. What is sent
    has them again: pictures made to fit the provider if it is named, and a short text in place of what
    has ended or cannot be sent. So histories that are saved stay small, and their media end with the
    scope.

    A model's last answer has its own files as they came, since the run has yet to give them out. Give
    what is saved to :func:`externalize_history`, which knows what is in the scope already.

    Args:
        store: where the media are; it is not closed.
        scope: what their refs belong to and end with, or what gives it for a run.
        provider: whose limits hold for one picture: a name that `inline` knows, or a `Provider`.
        min_bytes: smaller media stay in the history.
    """

    store: MediaStore
    scope: str | Callable[[RunContext[Any]], str]
    provider: str | Provider = "data-url"
    min_bytes: int = 1024

    def __post_init__(self) -> None:
        self._threads = Threads()
        provider_of(self.provider)  # now, and not in the middle of a run

    async def before_model_request(
        self, ctx: RunContext[Any], request_context: ModelRequestContext
    ) -> ModelRequestContext:
        """Put refs into the history, and media into what is sent."""
        scope = self.scope if isinstance(self.scope, str) else self.scope(ctx)
        ctx.messages[:] = await self._threads.run(partial(self._kept, list(ctx.messages), scope))
        sent = await self._threads.run(partial(self._sent, list(request_context.messages), scope))
        return replace(request_context, messages=sent)

    def _kept(self, messages: list[ModelMessage], scope: str) -> list[ModelMessage]:
        return externalize_history(messages, self.store, scope, min_bytes=self.min_bytes)

    def _sent(self, messages: list[ModelMessage], scope: str) -> list[ModelMessage]:
        # Through the store, so that what came with this very message is made to fit as well.
        return inline_history(self._kept(messages, scope), self.store, provider=self.provider)


def externalize_history(
    messages: Sequence[ModelMessage], store: MediaStore, scope: str, *, min_bytes: int = 1024
) -> list[ModelMessage]:
    """Return a history in which refs stand where media of `min_bytes` or more were.

    The ref stands as the data of the same `BinaryContent`; all else stays. The messages given are not
    changed. The same bytes get the ref that they have in the scope, so that doing it again and again,
    as a conversation grows, makes no more refs than there are media.

    Raises:
        MediaError: the store refuses a medium or cannot write it. Those before it stay in the scope.
        ValueError: the scope is empty.
    """
    contents = Contents(store, scope, FRAMEWORK)

    def kept(content: BinaryContent | FileUrl) -> BinaryContent | FileUrl:
        if not isinstance(content, BinaryContent) or _ref_of(content) is not None:
            return content
        if len(content.data) < max(1, min_bytes):
            return content
        ref = contents.keep(content.data, MediaMeta("", content.media_type, note(FRAMEWORK)))
        return _with(content, type(content), ref.encode(), content.media_type)

    return [_rewritten(it, kept) for it in messages]


def inline_history(
    messages: Sequence[ModelMessage], store: MediaStore, *, provider: str | Provider = "data-url"
) -> list[ModelMessage]:
    """Return a history in which media stand where refs were; the way back of `externalize_history`.

    Also refs in an `ImageUrl`, `AudioUrl`, `VideoUrl` or `DocumentUrl` become media. In place of what
    has ended or cannot be sent stands a short text that says why. The messages given are not changed.

    Args:
        messages: the history.
        store: where the refs are.
        provider: who gets it. `data-url` gives every medium as it is; for others pictures are made to
            fit the provider's limits for one (`pip install "mediakeep[images]"`).

    Raises:
        ValueError: there is no such provider.
    """
    target = provider_of(provider)

    def sent(content: BinaryContent | FileUrl) -> BinaryContent | FileUrl | str:
        ref = _ref_of(content)
        if ref is None:
            return content
        said = content.media_type if isinstance(content, BinaryContent) else content._media_type or ""
        found = fetched(store, ref, said, target)
        if isinstance(found, str):
            return found
        media_type = said if target.gives_back and said else found.content_type
        kind = type(content) if isinstance(content, BinaryContent) else BinaryContent
        return _with(content, kind, found.data, media_type)

    return [_rewritten(it, sent) for it in messages]


_REF = re.compile(rb"media://[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")


def _ref_of(content: BinaryContent | FileUrl) -> str | None:
    """Return the ref that stands for a medium, if one does."""
    if isinstance(content, FileUrl):
        return content.url if is_ref(content.url) else None
    found = _REF.fullmatch(content.data) if len(content.data) < 64 else None
    return found and found[0].decode()


def _with(
    content: BinaryContent | FileUrl, kind: type[BinaryContent], data: bytes, media_type: str
) -> BinaryContent:
    """Return `content` with other data; it keeps its name, which by default comes from the data."""
    return kind(
        data,
        media_type=media_type,
        identifier=content.identifier,
        vendor_metadata=content.vendor_metadata,
    )


Change = Callable[[BinaryContent | FileUrl], BinaryContent | FileUrl | str]


def _rewritten(message: ModelMessage, change: Change) -> ModelMessage:
    """Return `message` with its media changed; itself if nothing of it changes."""
    parts: list[Any] = [_part(it, change) for it in message.parts]
    if all(new is old for new, old in zip(parts, message.parts, strict=True)):
        return message
    # What replace says of a union is that no field has the same type in both.
    return cast("ModelMessage", replace(cast("Any", message), parts=parts))


def _part(part: Any, change: Change) -> Any:
    match part:
        case FilePart():
            file: Any = change(part.content)
            if isinstance(file, str):
                return TextPart(file)
            return part if file is part.content else replace(part, content=file)
        case SpeechPart(audio=BinaryContent() as audio):
            speech: Any = change(audio)
            if speech is audio:
                return part
            return replace(part, audio=None if isinstance(speech, str) else speech)
        case UserPromptPart() | BaseToolReturnPart():
            content = _walked(part.content, change)
            return part if content is part.content else replace(part, content=content)
    return part


def _walked(value: Any, change: Change) -> Any:
    """Return `value` with the media in it changed; itself if nothing of it changes."""
    if isinstance(value, BinaryContent | FileUrl):
        return change(value)
    if type(value) in (list, tuple):
        items = [_walked(it, change) for it in value]
        same = all(new is old for new, old in zip(items, value, strict=True))
        return value if same else type(value)(items)
    if type(value) is dict:
        values = {key: _walked(it, change) for key, it in value.items()}
        same = all(values[key] is value[key] for key in value)
        return value if same else values
    return value
