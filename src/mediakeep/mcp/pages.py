"""Entries page by page, with cursors that stay good while refs come and go."""

from collections.abc import Callable
from contextlib import aclosing
from typing import NamedTuple

from mediakeep.cursors import Cursor
from mediakeep.mcp.telling import Refused
from mediakeep.model import Entry
from mediakeep.offload import Pages


class Page(NamedTuple):
    """Some entries, and the cursor of the next page; None after the last."""

    entries: list[Entry]
    next: str | None


async def page(
    begin: Callable[[Cursor | None], Pages[Entry]],
    limit: int,
    cursor: str | None,
    fits: Callable[[Entry], bool] = lambda _: True,
) -> Page:
    """Return up to `limit` of the entries that come after a cursor and fit.

    Args:
        begin: returns the entries that come behind a place, None for all.
        limit: how many at most.
        cursor: `next` of the page before.
        fits: whether an entry is wanted.

    Raises:
        Refused: the cursor is none.
    """
    try:
        after = None if cursor is None else Cursor.read(cursor)
    except ValueError as error:
        raise Refused(str(error)) from error
    found: list[Entry] = []
    async with aclosing(begin(after)) as entries:
        async for entry in entries:
            if not fits(entry):
                continue
            if len(found) == limit:
                return Page(found, str(Cursor.at(found[-1])))
            found.append(entry)
    return Page(found, None)
