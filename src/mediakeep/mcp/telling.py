"""What clients are told, made harmless: names, scopes and content types come from strangers.

A client hands what it is told to a model and shows it to people. So no file name, scope or content type
gets there as it came: names are display names, types are types, and what is not printable is spelled
out, as is what makes tags. In text all of it stands in JSON strings, which no quote and no line break
can end.
"""

import json
import logging
import re
from collections.abc import Sequence
from typing import Any

from mcp_types import CallToolResult, ContentBlock, Resource, ResourceLink, TextContent

from mediakeep.errors import (
    MediaError,
    MediaMissing,
    QuotaExceeded,
    RefExpired,
    RefReleased,
    TooLarge,
    TypeNotAllowed,
    UnknownRef,
)
from mediakeep.intake.data_urls import BadDataURL
from mediakeep.intake.names import display_name
from mediakeep.messages.fetching import in_units, short_type
from mediakeep.model import Entry
from mediakeep.refs import PREFIX

logger = logging.getLogger("mediakeep.mcp")

UUID = "[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"
"""What stands behind `media://`, as a pattern."""


class Refused(Exception):
    """What a client asks for is not to be had; the words are for the model that asked."""


def clean(text: str) -> str:
    r"""Return `text` in one line, with all spelled out that is not printable, and what makes tags.

    >>> print(clean("a\u202eb\n<c>"))
    a\u202eb\n\x3cc\x3e
    """
    if text.isprintable() and "<" not in text and ">" not in text:
        return text
    return "".join(_spelled(c) for c in text)


def _spelled(character: str) -> str:
    if character in "<>":
        return f"\\x{ord(character):x}"
    return character if character.isprintable() else repr(character)[1:-1]


def facts(entry: Entry) -> dict[str, Any]:
    """Return what is told of an entry.

    Not where it lies; nor how many refs and leases its file has, which would tell what other scopes
    have.
    """
    said: dict[str, Any] = {
        "uri": entry.ref,
        "name": name_of(entry),
        "type": type_of(entry),
        "size": entry.size,
        "scope": clean(entry.scope),
        "source": clean(entry.meta.source)[:100],
        "stored_at": entry.stored_at.isoformat(timespec="seconds"),
        "expires_at": entry.expires_at and entry.expires_at.isoformat(timespec="seconds"),
        "sha256": entry.sha256,
        "owned": entry.owned,
    }
    return {name: value for name, value in said.items() if value not in ("", None)}


def name_of(entry: Entry) -> str:
    """Return a display name of an entry; never empty, as a resource must have one."""
    return display_name(entry.meta.filename) or f"file-{entry.ref[-12:]}"


def type_of(entry: Entry) -> str:
    """Return the content type of an entry, without parameters."""
    return short_type(entry.meta.content_type) or "application/octet-stream"


def resource(entry: Entry) -> Resource:
    """Return the resource that an entry is."""
    return Resource.model_validate(_resource(entry))


def link(entry: Entry) -> ResourceLink:
    """Return a link to the resource that an entry is."""
    return ResourceLink.model_validate(_resource(entry))


def _resource(entry: Entry) -> dict[str, Any]:
    return {
        "uri": entry.ref,
        "name": name_of(entry),
        "mime_type": type_of(entry),
        "size": entry.size,
        "description": f"{type_of(entry)}, {in_units(entry.size)}, in scope {quoted(entry.scope)}",
        "annotations": {"last_modified": entry.stored_at.isoformat(timespec="seconds")},
    }


def quoted(text: str) -> str:
    r"""Return `text` as a JSON string that ends nothing around it: no quotes, line, tag or entity.

    >>> print(quoted('<a> "b"\n'))
    "\\x3ca\\x3e \"b\"\\n"
    """
    return to_text(clean(text))


def to_text(said: object) -> str:
    """Return `said` as JSON in one line, which also HTML and XML take for text."""
    text = json.dumps(said, ensure_ascii=False, separators=(", ", ": "))
    return _MARKUP.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


_MARKUP = re.compile("[<>&]")


def answer(said: dict[str, Any], *blocks: ContentBlock) -> CallToolResult:
    """Return the result of a tool: `said` as it is and as text, and then `blocks`."""
    content: Sequence[ContentBlock] = [TextContent(text=to_text(said)), *blocks]
    return CallToolResult(content=list(content), structured_content=said)


def refusal(error: Exception) -> str:
    """Return what a client is told of an error: what it may know, and what it can do.

    The errors' own words may name paths of this machine, or what other scopes have.
    """
    match error:
        case Refused():
            return clean(str(error))
        case RefReleased():
            return f"{clean(str(error.ref))} was released: it is gone for good"
        case RefExpired():
            return f"{clean(str(error.ref))} has expired: it is gone for good"
        case UnknownRef():
            return f"{clean(str(error.ref))} is unknown here: list_media tells what there is"
        case MediaMissing():
            return "the file is missing: somebody deleted it behind the store's back"
        case QuotaExceeded():  # its own words tell how much others have
            return "there is no room for it: the scope or the store is full"
        case TooLarge() | TypeNotAllowed() | BadDataURL():
            return clean(str(error))
    quiet = isinstance(error, MediaError)
    logger.warning("a request failed: %s", error, exc_info=None if quiet else error)
    return f"it failed ({type(error).__name__}); the server's log says why"


def id_of(ref: str) -> str:
    """Return the uuid of a ref."""
    return ref.removeprefix(PREFIX)
