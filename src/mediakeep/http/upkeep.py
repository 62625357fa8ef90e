"""What keeps a store in order and takes long: erase, sweep and reconcile, for tokens that may.

A client must not take a server that is still at work for one that has died, nor may a proxy cut it off.
So an answer that takes its time begins with its status, and a line break every few seconds, which JSON
allows before a value (RFC 8259, section 2); then the outcome. If that is a failure its problem details
are the body of an answer that began as a good one, as with CompleteMultipartUpload of Amazon's S3. Work
that has begun is done to its end, also when its client has gone.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import asdict
from functools import partial
from typing import Any, TypeVar

from mediakeep.erasing import foresee
from mediakeep.errors import MediaError, StillLeased
from mediakeep.http.answers import Answer, Headers, to_json
from mediakeep.http.problems import Problem, problem_of
from mediakeep.http.service import Call
from mediakeep.model import Erased

T = TypeVar("T")

SOON_SECONDS = 2.0
"""What is done by then is answered in one piece, with the status of its outcome."""

BEAT_SECONDS = 5.0
"""How often a client is sent a sign of life after that."""


async def erase(call: Call) -> Answer | None:
    """End a scope and those below it, delete their files at once, and tell what became of each."""
    scope, wait, dry_run = call.body["scope"], call.body["wait"], call.body["dry_run"]
    call.require_scope(scope)
    if not call.grant.sees_below(scope):
        raise Problem(403, "Forbidden", f"the token does not see all scopes below {scope!r}")
    service = call.service

    async def work() -> dict[str, Any]:
        if dry_run:
            entries = partial(service.store.entries, scope, nested=True)
            report = await service.read_long(lambda: foresee(entries()))
        else:
            with service.traces.verb("erase"):
                report = await service.writes.erase(scope, wait=wait)
            service.feed.look_again()
        return {"dry_run": dry_run, "files": [_erased_json(call, it) for it in report]}

    return await _in_the_end(call, work)


async def sweep(call: Call) -> Answer | None:
    """End what is past its time, and delete what is condemned."""
    _require_all(call)
    service, dry_run = call.service, call.body["dry_run"]

    async def work() -> dict[str, Any]:
        loop = asyncio.get_running_loop()
        began = loop.time()
        with service.traces.verb("sweep"):
            report = await service.writes.sweep(dry_run=dry_run)
        if not dry_run:
            service.metrics.swept(report, loop.time() - began)
            service.feed.look_again()
        return {"dry_run": dry_run, **asdict(report)}

    return await _in_the_end(call, work)


async def reconcile(call: Call) -> Answer | None:
    """Compare the catalog with the blobs, and mend it where that is asked for."""
    _require_all(call)
    service, asked = call.service, call.body

    async def work() -> dict[str, Any]:
        with service.traces.verb("reconcile"):
            report = await service.writes.reconcile(
                asked["dry_run"], deep=asked["deep"], grace=asked["grace"], force=asked["force"]
            )
        if not asked["dry_run"]:
            service.feed.look_again()
        return {"dry_run": asked["dry_run"], **asdict(report)}

    return await _in_the_end(call, work)


def _require_all(call: Call) -> None:
    if not call.grant.sees_all:
        raise Problem(403, "Forbidden", "that is about the whole store: use a token of all scopes (`*`)")


def _erased_json(call: Call, it: Erased) -> dict[str, Any]:
    # A path of the server's machine is nothing to tell somebody who looks after some scopes only.
    location = it.location if call.grant.sees_all or not it.location.startswith("/") else ""
    return {"location": location, "size": it.size, "refs": it.refs, "result": it.result}


async def _in_the_end(call: Call, work: Callable[[], Awaitable[T]]) -> Answer | None:
    """Answer with what the work returns, however long it takes."""

    async def in_turn() -> T:
        async with call.service.upkeep:
            return await work()

    working = asyncio.ensure_future(in_turn())
    try:
        done, _ = await asyncio.wait({working}, timeout=SOON_SECONDS)
        if done:
            return Answer(200, _outcome(call, working), _FRESH)
        await Answer(200, b"\n", _FRESH).send(call.send, endless=True)
        while not done:
            done, _ = await asyncio.wait({working}, timeout=BEAT_SECONDS)
            await call.send({"type": "http.response.body", "body": b"\n", "more_body": True})
        try:
            said = _outcome(call, working)
        except Problem as problem:
            said = problem.answer().said
        await call.send({"type": "http.response.body", "body": to_json(said)})
        return None
    finally:
        if not working.done():  # the server stops
            working.cancel()
            await asyncio.wait({working})


_FRESH: Headers = [(b"cache-control", b"no-store"), (b"x-accel-buffering", b"no")]


def _outcome(call: Call, working: "asyncio.Future[T]") -> T:
    try:
        return working.result()
    except StillLeased as error:
        if call.grant.sees_all:
            raise problem_of(error, call.grant) from None
        what = "its refs have ended, and it goes when its lease ends"
        advice = what if call.body["wait"] else "nothing was ended: say how long to `wait`"
        raise Problem(409, "StillLeased", f"a lease holds a file of the scope; {advice}") from None
    except MediaError as error:
        if type(error) is MediaError:  # it refuses, in its own words
            raise Problem(409, "Refused", str(error)) from None
        raise problem_of(error, call.grant) from error
