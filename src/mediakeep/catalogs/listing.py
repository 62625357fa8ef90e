"""Where a list of entries begins and ends, for catalogs that keep an index by scope, age and ref."""

from collections.abc import Iterator
from typing import NamedTuple

from mediakeep.catalogs.rows import names_below
from mediakeep.model import Position

NIL = "media://00000000-0000-0000-0000-000000000000"
"""The first ref in the order of refs; nothing ever has it."""


class Spot(NamedTuple):
    """A place in the order of entries: scope, seconds since the epoch, ref."""

    scope: str
    stored_at: float
    ref: str


class Stretch(NamedTuple):
    """The entries of the scopes from `first` up to, not including, `end`, behind a place.

    None for `end` or `place` leaves that side open.
    """

    first: str
    end: str | None
    place: Spot | None


def stretches(
    scope: str | None, after: Position | None, least: str, *, nested: bool, newest: bool
) -> Iterator[Stretch]:
    """Yield the stretches of the index that a list consists of, in the order of the list.

    Args:
        scope: the scope that is listed; None lists all.
        after: the place behind which the list begins; None for its own beginning.
        least: the least character that a scope may have.
        nested: whether the scopes below it are listed too.
        newest: whether the list goes from the last entry to the first.
    """
    ranges: list[tuple[str, str | None]] = [("", None) if scope is None else (scope, scope + least)]
    if scope is not None and nested:
        ranges.append(names_below(scope))  # names between the two are not below it
    behind = None if after is None else Spot(after.scope, after.stored_at.timestamp(), after.ref)
    for first, end in reversed(ranges) if newest else ranges:
        if newest:
            if behind is not None and behind.scope < first:
                continue
            bounds = [it for it in (behind, None if end is None else Spot(end, -_EVER, NIL)) if it]
            yield Stretch(first, end, min(bounds, default=None))
        else:
            if behind is not None and end is not None and behind.scope >= end:
                continue
            start = Spot(first, -_EVER, NIL)
            yield Stretch(first, end, start if behind is None else max(start, behind))


_EVER = float("inf")
