"""The refs of one scope in the order of their age, as an in-memory catalog keeps them."""

from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Mapping

from mediakeep.catalogs import Registration


class Roll:
    """Refs by their age, and then by their names, with lazy deletion.

    To begin a list anywhere costs the logarithm of how many there are. What has ended stays in its place
    until half of the roll is dead, so that an end costs the same however many refs there are.

    Args:
        live: all live refs by their names; what is not in there any more has ended.
    """

    __slots__ = ("_dead", "_in_order", "_items", "_live")

    def __init__(self, live: Mapping[str, Registration]) -> None:
        self._live = live
        self._items: list[Registration] = []
        self._dead = 0
        self._in_order = True

    def __len__(self) -> int:
        return len(self._items) - self._dead

    def __iter__(self) -> Iterator[Registration]:
        # By identity: a ref that has ended and was restored is here twice, and lives once.
        return (it for it in self._items if self._live.get(it.ref) is it)

    def add(self, new: Registration) -> None:
        """Write down a ref; nearly always it is the youngest."""
        if self._items and _place(self._items[-1]) > _place(new):
            self._in_order = False
        self._items.append(new)

    def ended(self) -> None:
        """Hear that one ref of the roll is no longer live."""
        self._dead += 1
        if self._dead > len(self._items) // 2:
            self._items, self._dead = list(self), 0

    def page(
        self, after: tuple[float, str] | None, count: int, *, newest: bool
    ) -> tuple[list[Registration], tuple[float, str] | None]:
        """Return up to `count` refs that come behind a place, and the next one's; None after the last.

        A place is a time and a ref. With `newest` the youngest ref comes first.
        """
        items = self._ordered()
        found: list[Registration] = []
        if newest:
            at = len(items) if after is None else bisect_left(items, after, key=_place)
            steps = range(at - 1, -1, -1)
        else:
            at = 0 if after is None else bisect_right(items, after, key=_place)
            steps = range(at, len(items))
        for step in steps:
            it = items[step]
            if self._live.get(it.ref) is it:
                found.append(it)
                if len(found) == count:
                    return found, _place(it)
        return found, None

    def _ordered(self) -> list[Registration]:
        if not self._in_order:
            self._items.sort(key=_place)
            self._in_order = True
        return self._items


def _place(it: Registration) -> tuple[float, str]:
    return it.stored_at, it.ref
