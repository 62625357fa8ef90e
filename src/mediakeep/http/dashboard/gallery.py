"""The gallery: files by scope, page after page, with what is looked for in the address."""

from functools import partial
from typing import Any
from urllib.parse import urlencode

from mediakeep.http.dashboard.census import Count, Group
from mediakeep.http.dashboard.pages import Page, Window
from mediakeep.http.grants import Right
from mediakeep.http.inputs import Input, Text, query_pairs, read_query
from mediakeep.http.operations import LONGEST_SCOPE
from mediakeep.http.paging import FILTERS, PAGING, page
from mediakeep.http.problems import Problem
from mediakeep.http.service import Call

PER_PAGE = 60
MOST_CHILDREN = 200
"""How many scopes of a level are listed."""

INPUTS = (
    Input("scope", Text(LONGEST_SCOPE), "this scope and those below it"),
    Input("part", Text(10), "anything: only the files, without the page around them"),
    *PAGING,
    *FILTERS,
)

_SHOWN = ("scope", "name", "type", "source", "owned", "min_size", "max_size")
_DATES = ("stored_after", "stored_before", "expires_before")


async def show_gallery(window: Window, call: Call) -> Page:
    """Show the files of a scope and of those below it, or a further page of them."""
    query: bytes = call.scope["query_string"]
    # A form sends its empty fields, too: they ask for nothing.
    said = {name: value for name, value in query_pairs(query).items() if value}
    asked = read_query(urlencode(said).encode(), INPUTS)
    scope: str | None = asked["scope"]
    asked["limit"] = PER_PAGE
    found = await window.service.read_long(
        partial(page, window.service.store, call.grant, scope, nested=True, asked=asked)
    )
    kept = {name: said[name] for name in (*_SHOWN, *_DATES) if name in said}
    following = None if found.next is None else urlencode({**kept, "cursor": found.next})
    values: dict[str, Any] = {"entries": found.entries, "next": following, "asked": said}
    if asked["part"] is not None:
        return Page("tiles.html", values)
    count = await window.census.get(call.grant)
    children = [] if count is None else sorted(_children(count, scope).items())
    filters = [name for name in kept if name != "scope"]
    values |= {
        "count": count,
        "scope": scope or "",
        "levels": _levels(scope),
        "children": [(name, it, _below(scope, name)) for name, it in children[:MOST_CHILDREN]],
        "more_children": max(0, len(children) - MOST_CHILDREN),
        "filters": len(filters),
        "kept": {name: kept[name] for name in filters},
        "here": urlencode(kept),
        "later": asked["cursor"] is not None,
        "may_put_here": scope is not None and call.grant.sees(scope),
    }
    return Page("gallery.html", values)


def _children(count: Count, scope: str | None) -> dict[str, Group]:
    return dict(count.children.get(scope or "", {}))


def _below(scope: str | None, name: str) -> str:
    return f"{scope}:{name}" if scope else name


def _levels(scope: str | None) -> list[tuple[str, str]]:
    """Return each level's name with the scope that it ends."""
    if not scope:
        return []
    parts = scope.split(":")
    return [(part, ":".join(parts[: number + 1])) for number, part in enumerate(parts)]


async def show_upload(window: Window, call: Call) -> Page:
    """Show where files are put."""
    query = read_query(call.scope["query_string"], INPUTS[:1])
    if not call.grant.can(Right.WRITE):
        raise Problem(403, "Forbidden", "the token may not write: use one that can")
    count = await window.census.get(call.grant)
    names = [] if count is None else sorted(count.scopes)[:MOST_CHILDREN]
    most = window.service.throttles.max_body_bytes(call.grant)
    return Page("upload.html", {"scope": query["scope"] or "", "scopes": names, "most": most})
