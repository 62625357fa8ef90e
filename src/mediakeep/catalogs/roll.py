"""The refs of one scope in the order of their age, as an in-memory catalog keeps them."""

from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Mapping

from mediakeep.catalogs import Registration


class Roll:
    """Refs by their age, and then by their names, with lazy deletion.

    To begin a list anywhere costs the logarithm of how many there are. What has ended stays in its place
    until half of the roll is dead, so that an end costs the same however many refs there are. At the two
    ends, where most lists begin and most refs end, it is passed over once and for all.

    Args:
        live: all live refs by their names; what is not in there any more has ended.
    """

    __slots__ = ("_begin", "_dead", "_in_order", "_items", "_live")

    def __init__(self, live: Mapping[str, Registration]) -> None:
        self._live = live
        self._items: list[Registration] = []
        self._begin = 0  # before it all are dead
        self._dead = 0
        self._in_order = True

    def __len__(self) -> int:
        return len(self._items) - self._dead

    def __iter__(self) -> Iterator[Registration]:
        get = self._live.get
        return (it for it in self._items if get(it.ref) is it)

    def add(self, new: Registration) -> None:
        """Write down a ref; nearly always it is the youngest."""
        items = self._items
        if items and new.stored_at <= items[-1].stored_at and _place(new) < _place(items[-1]):
            self._in_order = False
        items.append(new)

    def ended(self) -> None:
        """Hear that one ref of the roll is no longer live."""
        items, get = self._items, self._live.get
        self._dead += 1
        if self._dead > len(items) // 2:
            self._bury()
            return
        while get((first := items[self._begin]).ref) is not first:
            self._begin += 1
        while get((last := items[-1]).ref) is not last:
            items.pop()
            self._dead -= 1

    def page(
        self, after: tuple[float, str] | None, count: int, *, newest: bool
    ) -> tuple[list[Registration], tuple[float, str] | None]:
        """Return up to `count` refs behind a place, and the last one's place; None if that was the end.

        A place is a time and a ref. With `newest` the youngest ref comes first.
        """
        if not self._in_order:
            self._bury()
            self._items.sort(key=_place)
            self._in_order = True
        items, begin = self._items, self._begin
        if newest:
            end = len(items) if after is None else bisect_left(items, after, begin, key=_place)
            steps = range(end - 1, begin - 1, -1)
        else:
            start = begin if after is None else bisect_right(items, after, begin, key=_place)
            steps = range(start, len(items))
        found: list[Registration] = []
        for step in steps:
            if self._lives(items[step]):
                found.append(items[step])
                if len(found) == count:
                    return found, _place(found[-1])
        return found, None

    def _lives(self, it: Registration) -> bool:
        # By identity: a ref that has ended and was restored is here twice, and lives once.
        return self._live.get(it.ref) is it

    def _bury(self) -> None:
        self._items, self._begin, self._dead = list(self), 0, 0


def _place(it: Registration) -> tuple[float, str]:
    return it.stored_at, it.ref
