"""LangChain: messages with refs in place of media, and back.

The blocks are LangChain's own (`{"type": "image", "base64": …, "mime_type": …}`, also audio, video, file
and those before its version 1) and those of the providers, which its messages may hold as well.
"""

from collections.abc import Sequence
from typing import Any, cast

from mediakeep.integrations.contents import Contents, KeepingStore
from mediakeep.messages import Provider, externalize, inline
from mediakeep.messages.providers import provider_of
from mediakeep.store import MediaStore

try:
    from langchain_core.messages import BaseMessage
except ImportError as error:
    raise ImportError(
        'mediakeep.integrations.langchain needs langchain-core: pip install "mediakeep[langchain]"'
    ) from error

__all__ = ["externalize_messages", "inline_messages"]

FRAMEWORK = "langchain"
"""The source that media out of messages have."""


def externalize_messages(
    messages: Sequence[BaseMessage], store: MediaStore, scope: str, *, min_bytes: int = 1024
) -> list[BaseMessage]:
    """Return messages in which refs stand where media of `min_bytes` or more were.

    Looked at are content, additional keywords, calls of tools, and what tools give beside their answer
    (`artifact`). The messages given are not changed. The same bytes get the ref that they have in the
    scope, so that doing it again as a conversation grows makes no more refs than there are media.

    Raises:
        MediaError: the store refuses a medium or cannot write it. Those before it stay in the scope.
        ValueError: the scope is empty.
    """
    keeping = cast("MediaStore", KeepingStore(store, Contents(store, scope, FRAMEWORK)))
    trees = [_tree(it, _FIELDS) for it in messages]
    kept = externalize(trees, keeping, scope, min_bytes=min_bytes, source=FRAMEWORK)
    return [_with(message, tree) for message, tree in zip(messages, kept, strict=True)]


def inline_messages(
    messages: Sequence[BaseMessage], store: MediaStore, *, provider: str | Provider = "data-url"
) -> list[BaseMessage]:
    """Return messages in which media stand where refs were; the way back of `externalize_messages`.

    Also a block of LangChain's whose `url` is a ref gets the medium. The messages given are not changed.

    Args:
        messages: the messages.
        store: where the refs are.
        provider: who gets them. `data-url` gives every block what it had. For a provider that is named,
            blocks in the content become its own, within its limits, and what has ended or cannot be
            sent becomes a text that says why: :func:`mediakeep.messages.inline` tells more.

    Raises:
        ValueError: there is no such provider.
    """
    target = provider_of(provider)
    fields = _FIELDS if target.gives_back else ("content",)
    trees = [_tree(it, fields) for it in messages]
    full = inline(trees, store, provider=target)
    return [_with(message, tree) for message, tree in zip(messages, full, strict=True)]


_FIELDS = ("content", "additional_kwargs", "tool_calls", "artifact")

_ROLES = {"human": "user", "ai": "assistant"}


def _tree(message: BaseMessage, fields: Sequence[str]) -> dict[str, Any]:
    """Return what of a message may hold media, as providers write a message."""
    found = {field: value for field in fields if (value := getattr(message, field, None))}
    return {"role": _ROLES.get(message.type, message.type), "content": "", **found}


def _with(message: BaseMessage, tree: dict[str, Any]) -> BaseMessage:
    """Return `message` with what of `tree` is different; itself if nothing is."""
    changed = {
        field: value
        for field, value in tree.items()
        if field in _FIELDS and value and value != getattr(message, field)
    }
    return message.model_copy(update=changed) if changed else message
