"""The tools that only look: list, describe, and look at a picture."""

import base64
from functools import partial

from mcp_types import CallToolResult, ImageContent

from mediakeep.integrations.sending import fetched
from mediakeep.mcp.arguments import Linking, Listing, Looking, OneRef
from mediakeep.mcp.desk import Desk
from mediakeep.mcp.pages import page
from mediakeep.mcp.telling import Refused, answer, facts, link, name_of, type_of
from mediakeep.messages.providers import Provider
from mediakeep.model import Entry

PICTURE_BYTES = 1_000_000
"""How much base64 of a picture a result may hold, which is what clients take."""


async def list_media(desk: Desk, asked: Listing) -> CallToolResult:
    """Return a page of what there is, each as a link."""
    anything = asked.type in (None, "*", "*/*")
    wanted = None if anything else (asked.type or "").lower().removesuffix("*")
    part = None if asked.name is None else asked.name.casefold()

    def fits(entry: Entry) -> bool:
        kind = type_of(entry)
        typed = wanted is None or (kind.startswith(wanted) if wanted.endswith("/") else kind == wanted)
        return typed and (part is None or part in name_of(entry).casefold())

    found = await page(partial(desk.entries, asked.scope), asked.limit, asked.cursor, fits)
    said = {"media": [facts(entry) for entry in found.entries], "next": found.next}
    return answer(said, *map(link, found.entries))


async def describe_media(desk: Desk, asked: OneRef) -> CallToolResult:
    """Return what is known of one medium."""
    entry = await desk.entry(asked.ref)
    return answer(facts(entry), link(entry))


async def look_at_media(desk: Desk, asked: Looking) -> CallToolResult:
    """Return a picture, made small enough for a message."""
    entry = await desk.entry(asked.ref)
    shown = await picture(desk, entry, asked.size)
    return answer(facts(entry), shown, link(entry))


async def picture(desk: Desk, entry: Entry, size: int) -> ImageContent:
    """Return the picture that an entry is, its longer side at most `size` pixels.

    Raises:
        Refused: it is none, or cannot be made fit.
    """
    limits = Provider(
        "a look",
        frozenset({"mcp"}),
        frozenset({"image/jpeg", "image/png", "image/webp"}),
        image_bytes=PICTURE_BYTES,
        image_edge=size,
        animated=False,
    )
    async with desk.pictures:
        found = await desk.in_thread(partial(fetched, desk.store.sync, entry.ref, "", limits))
    if isinstance(found, str):
        raise Refused(found)
    return ImageContent(data=base64.b64encode(found.data).decode(), mime_type=found.content_type)


async def link_media(desk: Desk, asked: Linking) -> CallToolResult:
    """Return a signed URL of the file."""
    entry = await desk.entry(asked.ref)
    if desk.links is None:
        raise Refused("this server makes no links")
    url = await desk.links.make(asked.ref, asked.seconds)
    said = {**facts(entry), "url": url, "seconds": asked.seconds}
    return answer(said, link(entry).model_copy(update={"uri": url}))
