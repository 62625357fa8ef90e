"""Entries page by page, with cursors that stay good while refs come and go.

The order is that of the catalog: by scope, then by age, then by ref. A cursor names the last ref of a
page by these three, so the next page goes on right after it, whether that ref still lives or not. The
catalog cannot begin at a place yet: scopes before it are left out by their names, and what comes before
it within its scope is passed over.
"""

import base64
import json
from bisect import bisect_left
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, NamedTuple

from mediakeep.http.grants import Grant
from mediakeep.http.inputs import Flag, Input, Moment, Text, Whole
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

    Blocks. `asked` are the values of PAGING and FILTERS.

    Raises:
        Problem: the cursor is none.
    """
    fits = _filter(asked)
    after = None if asked["cursor"] is None else _Place.read(asked["cursor"])
    found: list[Entry] = []
    last: Entry | None = None
    for number, entry in enumerate(_from(store, grant, scope, after, nested=nested)):
        if len(found) == asked["limit"] or number == MOST_LOOKED_AT:
            return Page(found, None if last is None else _Place.of(last).text())
        last = entry
        if fits(entry):
            found.append(entry)
    return Page(found, None)


def page_of_scopes(
    store: MediaStore, grant: Grant, prefix: str, limit: int, cursor: str | None
) -> tuple[list[str], str | None]:
    """Return names of scopes with a live ref that begin with `prefix`, and the next page's cursor."""
    names = [it for it in store.scopes() if it.startswith(prefix) and grant.sees(it)]
    if cursor is not None:
        names = names[bisect_left(names, _Place.read(cursor).scope + "\0") :]
    some = names[:limit]
    return some, _Place(some[-1], 0, "").text() if len(names) > limit else None


def _from(
    store: MediaStore, grant: Grant, scope: str | None, after: "_Place | None", *, nested: bool
) -> Iterator[Entry]:
    """Yield the entries that come after a place, scope by scope."""
    if after is None and grant.sees_all:
        yield from store.entries(scope, nested=nested)
        return
    names = store.scopes() if scope is None or nested else [scope]
    if scope is not None and nested:
        names = [it for it in names if it == scope or it.startswith(f"{scope}:")]
    if after is not None:
        names = names[bisect_left(names, after.scope) :]
    for name in names:
        if not grant.sees(name):
            continue
        for entry in store.entries(name):
            if after is None or name != after.scope or _Place.of(entry) > after:
                yield entry


@dataclass(frozen=True, slots=True, order=True)
class _Place:
    """Where a ref stands in the order of entries."""

    scope: str
    stored_at: int
    """Microseconds since the epoch."""
    ref: str

    @classmethod
    def of(cls, entry: Entry) -> "_Place":
        since = entry.stored_at - _EPOCH
        microseconds = (since.days * 86_400 + since.seconds) * 10**6 + since.microseconds
        return cls(entry.scope, microseconds, entry.ref)

    def text(self) -> str:
        said = json.dumps([self.scope, self.stored_at, self.ref], separators=(",", ":"))
        return base64.urlsafe_b64encode(said.encode()).rstrip(b"=").decode()

    @classmethod
    def read(cls, text: str) -> "_Place":
        try:
            said = json.loads(base64.urlsafe_b64decode(text.encode() + b"=" * (-len(text) % 4)))
            scope, stored_at, ref = said
            if (type(scope), type(stored_at), type(ref)) != (str, int, str):
                raise TypeError
        except (ValueError, TypeError, RecursionError):
            raise bad_request("the cursor is none: take `next` of the page before, as it is") from None
        return cls(scope, stored_at, ref)


_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


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
