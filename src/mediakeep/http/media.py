"""What can be asked of one ref: bytes, entry, thumbnail, share, signed link, and its end."""

import math
import time
from functools import partial
from pathlib import Path

from mediakeep.clocks import time_of
from mediakeep.errors import MediaMissing
from mediakeep.http.answers import Answer, Headers
from mediakeep.http.conditions import Validators, precondition
from mediakeep.http.endings import plan_of
from mediakeep.http.entries import entry_json, stored_json, url_of
from mediakeep.http.fields import http_date
from mediakeep.http.files import send_file
from mediakeep.http.grants import Right
from mediakeep.http.problems import Problem
from mediakeep.http.service import Call
from mediakeep.model import Entry

SIZES = (64, 128, 256, 512, 1024)
"""Longer sides of thumbnails. There are few, since each is kept as long as its original."""


async def get_bytes(call: Call) -> None:
    """Send the bytes."""
    await send_file(call)


async def get_entry(call: Call) -> Answer:
    """Tell what is known of the ref."""

    def look() -> Entry:
        call.look_up()
        return call.service.store.entry(call.ref)

    entry = await call.service.look(look)
    return Answer(200, entry_json(entry, call.grant), [(b"cache-control", b"no-store")])


async def get_thumbnail(call: Call) -> Answer:
    """Send a small copy of a picture, or the poster of another file."""
    size: int = call.query["size"]
    found = await call.service.look(call.look_up)
    headers: Headers = [(b"cache-control", b"private, no-cache")]
    if found.sha256:
        now = Validators(f'"{found.sha256}-{size}"', int(found.stored_at))
        headers += [
            (b"etag", now.etag.encode()),
            (b"last-modified", http_date(now.modified).encode()),
        ]
        status = precondition(call.headers, now)
        if status == 304:
            return Answer(304, headers=headers)
        if status == 412:
            raise Problem(412, "PreconditionFailed", "the picture is not the one that is spoken of")
    async with call.service.thumbnails:  # each may start a process that decodes
        with call.service.traces.verb("variant"):
            data = await call.service.writes._offload.run(partial(_thumbnail, call, size))
    kind = b"image/png" if data.startswith(b"\x89PNG") else b"image/jpeg"
    return Answer(200, data, headers, kind)


def _thumbnail(call: Call, size: int) -> bytes:
    from mediakeep.images import poster

    def make(path: Path) -> bytes:
        return poster(path, size)

    path = call.service.store.variant(call.ref, f"thumbnail-{size}", make)
    try:
        return path.read_bytes()
    except FileNotFoundError as error:
        call.look_up()  # if it has ended just now, that is the reason to give
        raise MediaMissing.at(path, "it was made just now") from error


async def share(call: Call) -> Answer:
    """Make another ref of the file, in another scope."""
    call.require(Right.READ)
    scope: str = call.body["scope"]
    call.require_scope(scope)
    await call.service.look(call.look_up)
    with call.service.traces.verb("share"):
        ref = await call.service.writes.share(call.ref, scope, ttl=call.body["ttl"])
    entry = await call.service.look(partial(call.service.store.entry, ref))
    call.service.feed.tell_put(entry)
    said = stored_json(call, entry)
    return Answer(201, said, [(b"location", said["links"]["self"].encode())])


async def make_link(call: Call) -> Answer:
    """Make a URL that lets whoever has it read the bytes for a while."""
    await call.service.look(call.look_up)
    expires = math.ceil(time.time() + call.body["expires_in"])
    query = call.service.keys.sign(call.path["id"], expires, call.body["disposition"], call.grant.holder)
    said = {
        "url": f"{url_of(call, call.ref)}?{query}",
        "expires_at": time_of(expires),
    }
    return Answer(201, said, [(b"cache-control", b"no-store")])


async def release(call: Call) -> Answer:
    """End the ref; its file goes if that was the last one."""
    dry_run: bool = call.query["dry_run"]

    def look() -> Entry:
        call.look_up()
        return call.service.store.entry(call.ref)

    plan = plan_of([await call.service.look(look)])
    if not dry_run:
        with call.service.traces.verb("release"):
            ended = await call.service.writes.release(call.ref)
        if not ended:
            await call.service.look(call.look_up)  # somebody else was faster: say how it ended
        call.service.feed.look_again()
    return Answer(200, plan.json(call.grant, dry_run=dry_run))
