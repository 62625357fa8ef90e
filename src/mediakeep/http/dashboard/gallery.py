"""The gallery: files by scope, page by page from either end, with what is looked for in the address."""

from functools import partial
from typing import Any, NamedTuple
from urllib.parse import urlencode

from mediakeep.cursors import Cursor
from mediakeep.http.dashboard.census import Count, Group
from mediakeep.http.dashboard.pages import Page, Window
from mediakeep.http.grants import Grant, Right
from mediakeep.http.inputs import Choice, Input, Text, query_pairs, read_query
from mediakeep.http.operations import LONGEST_SCOPE
from mediakeep.http.paging import FILTERS, LONGEST_CURSOR, ORDERS, PAGING, page, read_cursor
from mediakeep.http.problems import Problem
from mediakeep.http.service import Call
from mediakeep.model import Entry
from mediakeep.store import MediaStore

PER_PAGE = 60
MOST_CHILDREN = 200
"""How many scopes of a level are listed."""

END = "end"
"""What comes before it is the last page."""

INPUTS = (
    Input("scope", Text(LONGEST_SCOPE), "this scope and those below it"),
    Input("part", Text(10), "anything: only the files, without the page around them"),
    Input("order", Choice(ORDERS), "which end comes first", default="newest"),
    Input("at", Text(LONGEST_CURSOR), "the page begins with this file, or where it was"),
    Input("before", Text(LONGEST_CURSOR), f"the page ends before this file, or with the last: `{END}`"),
    *PAGING,
    *FILTERS,
)

_SHOWN = ("scope", "order", "name", "type", "source", "owned", "min_size", "max_size")
_DATES = ("stored_after", "stored_before", "expires_before")


class _Shown(NamedTuple):
    """A page of files, and what to ask for those around it; None where there are none."""

    entries: list[Entry]
    before: dict[str, str] | None
    next: dict[str, str] | None


async def show_gallery(window: Window, call: Call) -> Page:
    """Show the files of a scope and of those below it, or a further page of them."""
    query: bytes = call.scope["query_string"]
    # A form sends its empty fields, too: they ask for nothing.
    said = {name: value for name, value in query_pairs(query).items() if value}
    asked = read_query(urlencode(said).encode(), INPUTS)
    scope: str | None = asked["scope"]
    asked["limit"] = PER_PAGE
    found = await window.service.read_long(partial(_shown, window.service.store, call.grant, asked))
    kept = {name: said[name] for name in (*_SHOWN, *_DATES) if name in said}
    values: dict[str, Any] = {
        "entries": found.entries,
        "at": str(Cursor.at(found.entries[0])) if found.entries else None,
        "before": None if found.before is None else urlencode({**kept, **found.before}),
        "next": None if found.next is None else urlencode({**kept, **found.next}),
        "asked": said,
        "order": asked["order"],
    }
    if asked["part"] is not None:
        return Page("tiles.html", values)
    count = await window.census.get(call.grant)
    children = [] if count is None else sorted(_children(count, scope).items())
    filters = [name for name in kept if name not in ("scope", "order")]
    values |= {
        "count": count,
        "scope": scope or "",
        "levels": _levels(scope),
        "children": [(name, it, _below(scope, name)) for name, it in children[:MOST_CHILDREN]],
        "more_children": max(0, len(children) - MOST_CHILDREN),
        "filters": len(filters),
        "kept": {name: kept[name] for name in kept if name != "scope"},
        "here": urlencode(kept),
        "end": urlencode({**kept, "before": END}),
        "may_put_here": scope is not None and call.grant.sees(scope),
    }
    return Page("gallery.html", values)


def _shown(store: MediaStore, grant: Grant, asked: dict[str, Any]) -> _Shown:
    """Return the page that is asked for; what comes before is listed the other way round."""
    newest, end = asked["order"] == "newest", asked["before"]
    listed = partial(page, store, grant, asked["scope"], nested=True)
    if end is not None:
        found = listed(
            asked={
                **asked,
                "order": ORDERS[not newest],
                "cursor": None if end == END else end,
            }
        )
        entries = found.entries[::-1]
        before = None if found.next is None else {"before": found.next}
        more = entries and end != END
        return _Shown(entries, before, {"cursor": str(Cursor.at(entries[-1]))} if more else None)
    begin = asked["cursor"]
    if asked["at"] is not None:
        begin = str(read_cursor(asked["at"]).just_before(newest=newest))
    found = listed(asked={**asked, "cursor": begin})
    entries = found.entries
    before = {"before": str(Cursor.at(entries[0]))} if entries and begin is not None else None
    return _Shown(entries, before, None if found.next is None else {"cursor": found.next})


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
