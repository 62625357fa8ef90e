"""Resources: every live ref within the bounds, what is known of it, and a small copy of a picture."""

import base64
import re
from contextlib import aclosing
from functools import partial

from mcp.shared.exceptions import MCPError
from mcp_types import (
    INVALID_PARAMS,
    BlobResourceContents,
    CompleteRequestParams,
    CompleteResult,
    Completion,
    ListResourcesResult,
    ListResourceTemplatesResult,
    ReadResourceResult,
    ResourceTemplate,
    TextResourceContents,
)

from mediakeep.errors import TooLarge, UnknownRef
from mediakeep.mcp.desk import Desk
from mediakeep.mcp.finding import picture
from mediakeep.mcp.pages import page
from mediakeep.mcp.telling import (
    UUID,
    Refused,
    clean,
    facts,
    id_of,
    quoted,
    refusal,
    resource,
    to_text,
    type_of,
)
from mediakeep.messages.fetching import in_units
from mediakeep.model import Entry

PAGE = 100
"""How many resources a page of the list has."""

THUMBNAIL_PIXELS = 256

MOST_COMPLETIONS = 100
"""As the protocol bounds them."""

_URI = re.compile(rf"(media://{UUID})(|/entry|/thumbnail)")
_TEXTS = ("application/json", "application/xml", "image/svg+xml")

_TEMPLATES = (
    ResourceTemplate(
        name="media",
        uri_template="media://{id}",
        description="The bytes of a medium; text as text. Its id is the UUID of its ref.",
    ),
    ResourceTemplate(
        name="entry",
        uri_template="media://{id}/entry",
        mime_type="application/json",
        description="What is known of a medium: name, type, size, scope, times.",
    ),
    ResourceTemplate(
        name="thumbnail",
        uri_template="media://{id}/thumbnail",
        description=f"A small copy of a picture, at most {THUMBNAIL_PIXELS} pixels along a side.",
    ),
)


async def list_resources(desk: Desk, cursor: str | None) -> ListResourcesResult:
    """Return a page of the resources, by scope and then by age."""
    try:
        found = await page(partial(desk.entries, None), PAGE, cursor)
    except Refused as error:
        raise MCPError(INVALID_PARAMS, refusal(error)) from error
    return ListResourcesResult(resources=list(map(resource, found.entries)), next_cursor=found.next)


def list_templates() -> ListResourceTemplatesResult:
    """Return the templates of their addresses."""
    return ListResourceTemplatesResult(resource_templates=list(_TEMPLATES))


async def complete(desk: Desk, asked: CompleteRequestParams) -> CompleteResult:
    """Offer the ids that go on from what is begun."""
    values: list[str] = []
    more = False
    templates = {it.uri_template for it in _TEMPLATES}
    if asked.argument.name == "id" and getattr(asked.ref, "uri", "") in templates:
        async with aclosing(desk.entries()) as entries:
            async for entry in entries:
                if id_of(entry.ref).startswith(asked.argument.value):
                    if more := len(values) == MOST_COMPLETIONS:
                        break
                    values.append(id_of(entry.ref))
    return CompleteResult(completion=Completion(values=values, has_more=more))


async def read(desk: Desk, uri: str) -> ReadResourceResult:
    """Return what a resource holds.

    Raises:
        MCPError: there is no such resource here, or it is too large for a message.
    """
    found = _URI.fullmatch(uri)
    try:
        if found is None:
            raise Refused(f"{quoted(uri[:100])} is no resource of this server")
        entry = await desk.entry(found[1])
        return ReadResourceResult(contents=[await _PARTS[found[2]](desk, entry, uri)])
    except (Refused, UnknownRef, TooLarge) as error:
        raise MCPError(INVALID_PARAMS, refusal(error), {"uri": clean(uri[:100])}) from error


Contents = TextResourceContents | BlobResourceContents


async def _bytes(desk: Desk, entry: Entry, uri: str) -> Contents:
    most = desk.bounds.max_inline_bytes

    def read_up_to() -> bytes:
        # A file that lies elsewhere may have grown since it was registered.
        with desk.store.sync.open(entry.ref) as file:
            return file.read(most + 1)

    data = await desk.in_thread(read_up_to)
    if len(data) > most:
        raise TooLarge(
            f"it has more than {in_units(most)}, which is more than a message takes here: "
            "export_media gives it a path"
        )
    kind = type_of(entry)
    if kind.startswith("text/") or kind in _TEXTS:
        try:
            return TextResourceContents(uri=uri, mime_type=kind, text=data.decode())
        except UnicodeDecodeError:  # then as the bytes that it is
            return _blob(uri, kind, data)
    return _blob(uri, kind, data)


async def _entry(desk: Desk, entry: Entry, uri: str) -> Contents:  # noqa: ARG001
    return TextResourceContents(uri=uri, mime_type="application/json", text=to_text(facts(entry)))


async def _thumbnail(desk: Desk, entry: Entry, uri: str) -> Contents:
    shown = await picture(desk, entry, THUMBNAIL_PIXELS)
    return BlobResourceContents(uri=uri, mime_type=shown.mime_type, blob=shown.data)


_PARTS = {"": _bytes, "/entry": _entry, "/thumbnail": _thumbnail}


def _blob(uri: str, kind: str, data: bytes) -> Contents:
    return BlobResourceContents(uri=uri, mime_type=kind, blob=base64.b64encode(data).decode())
