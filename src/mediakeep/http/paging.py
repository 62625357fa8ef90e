"""Entries page by page, with cursors that stay good while refs come and go.

The order is that of the catalog: by scope, then by age, then by ref, or the other way round. A cursor
names the last ref of a page by these three, so the next page goes on right behind it, whether that ref
still lives or not. To get there costs the catalog no more than a page.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any, NamedTuple

from mediakeep.catalogs.listing import NIL
from mediakeep.cursors import Cursor
from mediakeep.http.grants import Grant
from mediakeep.http.inputs import Choice, Flag, Input, Moment, Text, Whole
from mediakeep.http.problems import bad_request
from mediakeep.model import Entry
from mediakeep.store import MediaStore

MOST_LOOKED_AT = 5000
"""How many entries a page looks at: where filters let few through it ends early, with a cursor."""

LONGEST_CURSOR = 8192

PAGING = (
    Input("limit", Whole(1, 1000), "how many at most", default=100),
    Input("cursor", Text(LONGEST_CURSOR), "`next` of the page before"),
)

ORDERS = ("oldest", "newest")

ORDER = Input(
    "order",
    Choice(ORDERS),
    "of each scope the oldest ref first; or the other way round, also the last scope first",
    default="oldest",
)

FILTERS = (
    Input("type", Text(255, r"[^/\s]+/[^/\s]+"), "content type, such as `image/png` or `image/*`"),
    Input("name", Text(255), "part of the file name, in any case"),
    Input("source", Text(255), "exactly this source"),
    Input("owned", Flag(), "whether the bytes go with their last ref"),
    Input("min_size", Whole(0, 10**15), "bytes"),
    Input("max_size", Whole(0, 10**15), "bytes"),
    Input("stored_after", Moment(), "stored at this time or later"),
    Input("stored_before", Moment(), "stored before this time"),
    Input("expires_before", Moment(), "has a time to live that ends before this time"),
)


class Page(NamedTuple):
    """Some entries, and the cursor of the next page; None after the last one."""

    entries: list[Entry]
    next: str | None


def page(
    store: MediaStore, grant: Grant, scope: str | None, *, nested: bool, asked: dict[str, Any]
) -> Page:
    """Return a page of what `grant` sees: of all scopes, or of `scope`, with `nested` of those below.

    Blocks. `asked` are the values of PAGING, ORDER and FILTERS.

    Raises:
        Problem: the cursor is none.
    """
    fits = _filter(asked)
    after = None if asked["cursor"] is None else read_cursor(asked["cursor"])
    newest = asked["order"] == "newest"
    found: list[Entry] = []
    last: Entry | None = None
    entries = _entries(store, grant, scope, after, nested=nested, newest=newest)
    for number, entry in enumerate(entries):
        if len(found) == asked["limit"] or number == MOST_LOOKED_AT:
            return Page(found, None if last is None else str(Cursor.at(last)))
        last = entry
        if fits(entry):
            found.append(entry)
    return Page(found, None)


def page_of_scopes(
    store: MediaStore, grant: Grant, prefix: str, limit: int, cursor: str | None
) -> tuple[list[str], str | None]:
    """Return names of scopes with a live ref that begin with `prefix`, and the next page's cursor."""
    names = [it for it in store.scopes() if it.startswith(prefix) and grant.sees(it)]
    after = None if cursor is None else read_cursor(cursor)
    if after is not None:
        names = names[bisect_right(names, after.scope) :]
    some = names[:limit]
    following = Cursor(some[-1], _LONG_AGO, NIL) if len(names) > limit else None
    return some, None if following is None else str(following)


_LONG_AGO = datetime(1970, 1, 1, tzinfo=UTC)


def read_cursor(text: str) -> Cursor:
    """Return the cursor that `text` spells.

    Raises:
        Problem: it is none.
    """
    try:
        return Cursor.read(text)
    except ValueError as error:
        raise bad_request(str(error)) from None


def _entries(
    store: MediaStore,
    grant: Grant,
    scope: str | None,
    after: Cursor | None,
    *,
    nested: bool,
    newest: bool,
) -> Iterator[Entry]:
    """Yield what `grant` sees of the entries that come behind a place."""
    if grant.sees_all or (scope is not None and (grant.sees(scope) and not nested)):
        yield from store.entries(scope, nested=nested, after=after, newest=newest)
        return
    names = store.scopes() if scope is None or nested else [scope]
    if scope is not None and nested:
        names = [it for it in names if it == scope or it.startswith(f"{scope}:")]
    if after is not None and newest:
        names = names[: bisect_right(names, after.scope)]
    elif after is not None:
        names = names[bisect_left(names, after.scope) :]
    for name in reversed(names) if newest else names:
        if grant.sees(name):
            yield from store.entries(name, after=after, newest=newest)


def _filter(asked: dict[str, Any]) -> Callable[[Entry], bool]:
    """Return what says whether an entry is wanted."""
    tests: list[Callable[[Entry], bool]] = []

    def wanted(name: str, test: Callable[[Entry, Any], bool]) -> None:
        value = asked[name]
        if value is not None:
            tests.append(lambda entry: test(entry, value))

    wanted("type", lambda entry, pattern: _is(entry.meta.content_type, pattern))
    wanted("name", lambda entry, part: part.casefold() in entry.meta.filename.casefold())
    wanted("source", lambda entry, source: entry.meta.source == source)
    wanted("owned", lambda entry, owned: entry.owned == owned)
    wanted("min_size", lambda entry, size: entry.size >= size)
    wanted("max_size", lambda entry, size: entry.size <= size)
    wanted("stored_after", lambda entry, moment: entry.stored_at >= moment)
    wanted("stored_before", lambda entry, moment: entry.stored_at < moment)
    wanted("expires_before", lambda entry, at: entry.expires_at is not None and entry.expires_at < at)
    return lambda entry: all(test(entry) for test in tests)


def _is(content_type: str, pattern: str) -> bool:
    essence, pattern = content_type.partition(";")[0].strip().lower(), pattern.lower()
    if pattern.endswith("/*"):
        return pattern == "*/*" or essence.startswith(pattern[:-1])
    return essence == pattern
