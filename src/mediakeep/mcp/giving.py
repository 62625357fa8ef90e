"""The tools that change something: save, take an upload, share, export, release."""

import mimetypes
import os
from collections.abc import Iterator
from functools import partial
from typing import BinaryIO

from mcp_types import CallToolResult

from mediakeep.errors import TooLarge
from mediakeep.intake.data_urls import put_data_url
from mediakeep.mcp.arguments import Exporting, OneRef, Saving, Sharing, Uploading
from mediakeep.mcp.desk import Desk
from mediakeep.mcp.telling import Refused, answer, clean, facts, link
from mediakeep.mcp.uploads import LAST_SECONDS
from mediakeep.model import MediaMeta

SOURCE = "mcp"
"""The source that media of clients have."""


async def save_media(desk: Desk, asked: Saving) -> CallToolResult:
    """Put bytes out of a data URL, or the copy of a file, into a scope."""
    scope = desk.bounds.checked(asked.scope)
    if (asked.data_url is None) == (asked.path is None):
        raise Refused("give either data_url or path")
    meta = MediaMeta(asked.filename, asked.content_type, SOURCE)

    def put() -> str:
        sync, bounds, ttl = desk.store.sync, desk.bounds, asked.ttl_seconds
        if asked.data_url is not None:
            most = bounds.max_inline_bytes
            return put_data_url(sync, asked.data_url, meta, scope, ttl=ttl, max_bytes=most)
        path = asked.path or ""
        with bounds.folders.open(path, desk.key) as file:
            name = meta.filename or os.path.basename(path)
            named = MediaMeta(name, meta.content_type or _type_of(path), SOURCE)
            return sync.put(_bounded(file, bounds.max_file_bytes), named, scope, ttl=ttl)

    ref = await desk.in_thread(put, undo=desk.store.sync.release)
    return await _told(desk, ref)


async def make_upload_link(desk: Desk, asked: Uploading) -> CallToolResult:
    """Return a URL that takes one file."""
    if desk.uploads is None:
        raise Refused("this server takes no uploads: use save_media")
    meta = MediaMeta(asked.filename, asked.content_type, SOURCE)
    url = desk.uploads.make(desk.bounds.checked(asked.scope), meta, asked.ttl_seconds)
    return answer(
        {
            "url": url,
            "method": "PUT",
            "expires_in_seconds": LAST_SECONDS,
            "max_bytes": desk.bounds.max_file_bytes,
            "example": f"curl -T FILE {url}",
            "then": "the answer has the ref as `uri`, and list_media shows it",
        }
    )


async def share_media(desk: Desk, asked: Sharing) -> CallToolResult:
    """Make another ref of the same file, in another scope."""
    scope = desk.bounds.checked(asked.scope)
    await desk.entry(asked.ref)
    return await _told(desk, await desk.store.share(asked.ref, scope, ttl=asked.ttl_seconds))


async def export_media(desk: Desk, asked: Exporting) -> CallToolResult:
    """Copy the file into a folder, under a name that is free."""
    entry = await desk.entry(asked.ref)

    def folder() -> str:
        return desk.bounds.folders.folder(asked.directory, desk.key)

    path = await desk.store.export(asked.ref, await desk.in_thread(folder))
    return answer({"path": clean(str(path)), **facts(entry)}, link(entry))


async def release_media(desk: Desk, asked: OneRef) -> CallToolResult:
    """End a ref."""
    if not desk.bounds.allow_release:
        raise Refused("this server does not release: it was started without --allow-release")
    await desk.entry(asked.ref)
    # Whether the file went with it would tell whether another scope has it too.
    if not await desk.store.release(asked.ref):
        await desk.entry(asked.ref)  # somebody else was faster: say how it ended
    desk.changes.look_again()
    return answer({"released": asked.ref})


async def _told(desk: Desk, ref: str) -> CallToolResult:
    """Return the answer of a new ref, or end it: what fails has changed nothing."""
    try:
        entry = await desk.store.entry(ref)
    except BaseException:
        await desk.store.release(ref)
        raise
    desk.changes.look_again()
    return answer(facts(entry), link(entry))


def _type_of(path: str) -> str:
    """Return the content type that a name suggests, or an empty string."""
    # Only the ending: mimetypes would read the whole name as a URL.
    return mimetypes.guess_type(f"file{os.path.splitext(path)[1]}")[0] or ""


def _bounded(file: BinaryIO, most: int) -> Iterator[bytes]:
    count = 0
    for chunk in iter(partial(file.read, 1 << 20), b""):
        count += len(chunk)
        if count > most:  # it may grow while it is read
            raise TooLarge(f"a file may have {most} bytes here: save a smaller one")
        yield chunk
