"""Files that come in: raw or in a form, streamed into the store under its limits."""

from collections.abc import AsyncGenerator, AsyncIterator
from functools import partial
from typing import Any

from mediakeep.errors import TooLarge
from mediakeep.http.answers import Answer
from mediakeep.http.entries import stored_json
from mediakeep.http.idempotency import Earlier, fingerprint
from mediakeep.http.multipart import Form, Part
from mediakeep.http.problems import Problem, bad_request
from mediakeep.http.service import Call
from mediakeep.intake.declared import declared_name
from mediakeep.model import Entry, MediaMeta

MOST_FILES = 100
"""In one form."""

# What clients say of bytes of which nothing was said to them.
_SAYS_NOTHING = ("application/x-www-form-urlencoded", "application/octet-stream")


async def put_media(call: Call) -> Answer:
    """Take custody of the bytes in the body, or of each file of a form.

    Nothing is kept of a request that fails, nor of one whose client goes before its last byte has come.
    """
    scope: str = call.query["scope"]
    call.require_scope(scope)
    if call.headers.get("content-encoding", "identity").strip().lower() != "identity":
        # Kept as it came it would be called what it is only once decoded (RFC 9110, section 8.4).
        raise Problem(
            415,
            "TypeNotAllowed",
            "a body with a Content-Encoding is not taken: send the file as it is",
            [(b"accept-encoding", b"identity")],
        )
    most = call.service.throttles.max_body_bytes(call.grant)
    declared_length = call.headers.get("content-length", "")
    if declared_length.isdigit() and int(declared_length) > most:
        raise _too_large(most)
    with call.service.throttles.upload(call.grant):
        key = call.headers.get("idempotency-key")
        if key is None:
            entries, again = await _put(call, scope, most), False
        else:
            about = fingerprint(scope, call.scope["query_string"], declared_length)
            earlier = Earlier(call, key, about)
            entries, again = await earlier.or_now(partial(_put, call, scope, most))
    said: dict[str, Any] = {"media": [stored_json(call, entry) for entry in entries]}
    if not _is_form(call):
        said = said["media"][0]
    headers = [(b"location", said["links"]["self"].encode())] if "links" in said else []
    if again:
        headers.append((b"idempotent-replayed", b"true"))
    return Answer(201, said, headers)


async def _put(call: Call, scope: str, most: int) -> list[Entry]:
    body = _bounded(call.chunks(), most)
    refs: list[str] = []
    try:
        if _is_form(call):
            await _put_form(call, Form(call.headers["content-type"], body), scope, refs)
        else:
            refs.append(await _put_one(call, body, _raw_meta(call), scope))
        return [await _entry(call, ref) for ref in refs]
    except BaseException:
        for ref in refs:
            await call.service.writes.release(ref)
        raise


async def _put_form(call: Call, form: Form, scope: str, refs: list[str]) -> None:
    while (part := await form.next()) is not None:
        if part.filename is None:
            raise bad_request(f"the form's part {part.name!r} is no file: use the query's parameters")
        if len(refs) == MOST_FILES:
            raise bad_request(f"the form has more than {MOST_FILES} files: send several")
        refs.append(await _put_one(call, form.chunks(), _part_meta(call, part), scope))
    if not refs:
        raise bad_request("the form has no file")


async def _put_one(call: Call, body: AsyncIterator[bytes], meta: MediaMeta, scope: str) -> str:
    with call.service.traces.verb("put"):
        return await call.service.writes.put(body, meta, scope, ttl=call.query["ttl"])


async def _entry(call: Call, ref: str) -> Entry:
    entry = await call.service.look(partial(call.service.store.entry, ref))
    call.service.metrics.received(entry.size)
    call.service.feed.tell_put(entry)
    return entry


def _raw_meta(call: Call) -> MediaMeta:
    name = call.query["filename"] or declared_name(call.headers.get("content-disposition", ""))
    return _meta(call, name, call.headers.get("content-type", ""))


def _part_meta(call: Call, part: Part) -> MediaMeta:
    return _meta(call, part.filename or "", part.content_type)


def _meta(call: Call, filename: str, said: str) -> MediaMeta:
    if said.partition(";")[0].strip().lower() in _SAYS_NOTHING:
        said = ""
    return MediaMeta(filename, call.query["content_type"] or said[:255], call.query["source"])


async def _bounded(body: AsyncIterator[bytes], most: int) -> AsyncGenerator[bytes, None]:
    count = 0
    async for chunk in body:
        count += len(chunk)
        if count > most:
            raise _too_large(most)
        yield chunk


def _is_form(call: Call) -> bool:
    kind = call.headers.get("content-type", "").partition(";")[0]
    return kind.strip().lower() == "multipart/form-data"


def _too_large(most: int) -> TooLarge:
    return TooLarge(f"a body may have {most} bytes here (max_body_bytes): send a smaller one")
