"""The event stream (server-sent events, HTML standard section 9.2), and the journal itself."""

import asyncio
import heapq
from contextlib import suppress
from datetime import datetime
from functools import partial
from typing import Any

from mediakeep.http.answers import Answer, to_json
from mediakeep.http.feed import Feed, Happening, drain, receipt_json
from mediakeep.http.service import Call
from mediakeep.model import Receipt
from mediakeep.refs import PREFIX

QUIET_SECONDS = 15.0
"""After so long without an event a comment is sent, so that proxies and clients see life."""

NAMES = ("put", "released", "expired", "reconciled", "deleted", "failed", "changed", "reset")


async def stream_events(call: Call) -> None:
    """Send events until the client goes or the server stops."""
    service = call.service
    after = call.headers.get("last-event-id", "")
    with service.throttles.stream(call.grant), service.feed.listening(after) as listener:
        headers = [
            (b"content-type", b"text/event-stream"),
            (b"cache-control", b"no-store"),
            (b"x-accel-buffering", b"no"),
            (b"x-content-type-options", b"nosniff"),
        ]
        await call.send({"type": "http.response.start", "status": 200, "headers": headers})
        if call.scope["method"] == "HEAD":
            await call.send({"type": "http.response.body", "body": b""})
            return
        await _send(call, b"retry: 2000\n\n")
        ending = asyncio.create_task(_end_of(call))
        try:
            while not ending.done():
                if listener.missed:
                    listener.missed = False
                    await _send(call, _event(service.feed, None))
                happenings = [it for it in drain(listener) if it.concerns(call.grant)]
                if happenings:
                    await _send(call, b"".join(_event(service.feed, it) for it in happenings))
                waiting = asyncio.create_task(listener.woken.wait())
                try:
                    done, _ = await asyncio.wait(
                        (ending, waiting), timeout=QUIET_SECONDS, return_when=asyncio.FIRST_COMPLETED
                    )
                finally:
                    waiting.cancel()
                if not done:
                    await _send(call, b": still here\n\n")
                if not _may_listen(call):
                    break
        finally:
            ending.cancel()
            with suppress(asyncio.CancelledError):
                await ending
        await call.send({"type": "http.response.body", "body": b""})


def _may_listen(call: Call) -> bool:
    """Return whether the token is still valid: a stream may be open for days."""
    tokens = call.service.tokens
    if not call.grant.holder:
        return tokens is None or not tokens.exist()
    return tokens is not None and tokens.grant(call.grant.holder) is not None


async def _end_of(call: Call) -> None:
    """Return when the client has gone, or the server is told to stop."""
    closing = asyncio.create_task(call.service.closing.wait())
    gone = asyncio.create_task(_gone(call))
    try:
        await asyncio.wait((closing, gone), return_when=asyncio.FIRST_COMPLETED)
    finally:
        closing.cancel()
        gone.cancel()


async def _gone(call: Call) -> None:
    while (await call.receive())["type"] != "http.disconnect":
        pass


async def _send(call: Call, data: bytes) -> None:
    await call.send({"type": "http.response.body", "body": data, "more_body": True})


def _event(feed: Feed, happening: Happening | None) -> bytes:
    # JSON in ASCII has no line break, so nothing in it can end a field or an event.
    if happening is None:
        return b"event: reset\ndata: {}\n\n"
    return b"event: %s\nid: %s-%d\ndata: %s\n\n" % (
        happening.name.encode(),
        feed.name.encode(),
        happening.number,
        to_json(happening.said),
    )


async def get_history(call: Call) -> Answer:
    """Tell what has ended and was deleted, the newest first."""
    lines = await call.service.read_long(partial(_newest, call))
    said: dict[str, Any] = {
        "lines": [receipt_json(line, whole=call.grant.sees_all) for line in lines],
    }
    return Answer(200, said, [(b"cache-control", b"no-store")])


def _newest(call: Call) -> list[Receipt]:
    asked, grant = call.query, call.grant
    ref = None if asked["id"] is None else PREFIX + asked["id"]
    before: datetime | None = asked["before"]

    def wanted(line: Receipt) -> bool:
        if before is not None and line.at >= before:
            return False
        # The fate of a file tells what other scopes have.
        return grant.sees_all or (line.what not in ("deleted", "failed") and grant.sees(line.scope))

    lines = call.service.store.history(ref, scope=asked["scope"])
    numbered = ((line.at, number, line) for number, line in enumerate(lines) if wanted(line))
    skip: int = asked["skip"]
    return [line for _, _, line in heapq.nlargest(skip + asked["limit"], numbered)][skip:]
