"""What can be asked of scopes: their names, their entries, and their end."""

from functools import partial
from typing import Any

from mediakeep.http.answers import Answer
from mediakeep.http.endings import Plan, plan_of
from mediakeep.http.entries import entry_json
from mediakeep.http.paging import page, page_of_scopes
from mediakeep.http.problems import Problem, bad_request
from mediakeep.http.service import Call

FRESH = [(b"cache-control", b"no-store")]


async def list_scopes(call: Call) -> Answer:
    """List the scopes that have a live ref."""
    names, following = await call.service.read_long(
        partial(
            page_of_scopes,
            call.service.store,
            call.grant,
            call.query["prefix"],
            call.query["limit"],
            call.query["cursor"],
        )
    )
    return Answer(200, {"scopes": names, "next": following}, FRESH)


async def list_media(call: Call) -> Answer:
    """List the live refs of all scopes."""
    return await _listed(call, None, nested=True)


async def list_scope(call: Call) -> Answer:
    """List the live refs of a scope."""
    return await _listed(call, call.path["scope"], nested=call.query["nested"])


async def _listed(call: Call, scope: str | None, *, nested: bool) -> Answer:
    if scope is not None and not nested and not call.grant.sees(scope):
        return Answer(200, {"entries": [], "next": None}, FRESH)  # as of one that has no ref
    asked = dict(call.query)
    store = call.service.store
    found = await call.service.read_long(
        partial(page, store, call.grant, scope, nested=nested, asked=asked)
    )
    said: dict[str, Any] = {
        "entries": [entry_json(entry, call.grant) for entry in found.entries],
        "next": found.next,
    }
    return Answer(200, said, FRESH)


async def release_scope(call: Call) -> Answer:
    """End a scope, and with `nested` those below it."""
    scope, nested, dry_run = call.path["scope"], call.query["nested"], call.query["dry_run"]
    if not scope:
        raise bad_request("the empty scope is not ended as a whole: end its refs one by one")
    call.require_scope(scope)
    if nested and not call.grant.sees_below(scope):
        raise Problem(403, "Forbidden", f"the token does not see all scopes below {scope!r}")
    store = call.service.store

    def foresee() -> Plan:
        return plan_of(store.entries(scope, nested=nested))

    plan = await call.service.read_long(foresee)
    if not dry_run:
        with call.service.traces.verb("release_all"):
            await call.service.writes.release_all(scope, nested=nested)
        call.service.feed.look_again()
    return Answer(200, plan.json(call.grant, dry_run=dry_run))
