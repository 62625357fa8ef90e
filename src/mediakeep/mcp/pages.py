"""Entries page by page, with cursors that stay good while refs come and go.

The order is the catalog's: by scope, then by age, then by ref. A cursor names the last ref of a page by
these three, so that the next page goes on behind it, whether that ref still lives or not.
"""

import base64
import binascii
import json
from collections.abc import Callable
from contextlib import aclosing
from datetime import datetime
from typing import NamedTuple

from mediakeep.mcp.telling import Refused
from mediakeep.model import Entry
from mediakeep.offload import Pages


class Page(NamedTuple):
    """Some entries, and the cursor of the next page; None after the last."""

    entries: list[Entry]
    next: str | None


async def page(
    entries: Pages[Entry],
    limit: int,
    cursor: str | None,
    fits: Callable[[Entry], bool] = lambda _: True,
) -> Page:
    """Return up to `limit` of the `entries` that come after a cursor and fit; closes them.

    Raises:
        Refused: the cursor is none.
    """
    after = None if cursor is None else _read(cursor)
    found: list[Entry] = []
    async with aclosing(entries):
        async for entry in entries:
            if (after is not None and _place(entry) <= after) or not fits(entry):
                continue
            if len(found) == limit:
                return Page(found, _written(found[-1]))
            found.append(entry)
    return Page(found, None)


_Place = tuple[str, datetime, str]


def _place(entry: Entry) -> _Place:
    return entry.scope, entry.stored_at, entry.ref


def _written(entry: Entry) -> str:
    place = json.dumps([entry.scope, entry.stored_at.isoformat(), entry.ref])
    return base64.urlsafe_b64encode(place.encode()).decode()


def _read(cursor: str) -> _Place:
    try:
        scope, at, ref = json.loads(base64.urlsafe_b64decode(cursor.encode()))
        moment = datetime.fromisoformat(at)
        if isinstance(scope, str) and isinstance(ref, str) and moment.tzinfo is not None:
            return scope, moment, ref
    except (binascii.Error, ValueError, TypeError, RecursionError) as error:
        raise Refused("the cursor is none: give `next` of the page before") from error
    raise Refused("the cursor is none: give `next` of the page before")
