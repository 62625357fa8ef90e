"""What is due when: the order in which an in-memory catalog's refs expire."""

import heapq
from collections.abc import Callable, Iterator


class Agenda:
    """Refs by the time they are due: a binary heap with lazy deletion.

    Looking whether anything is due costs the same however many refs there are, and taking what is due
    costs in proportion to it. A ref that ended early stays in the heap until it comes to the top, or
    until half of the heap is dead and it is built anew.
    """

    __slots__ = ("_dead", "_heap", "_is_live")

    def __init__(self, is_live: Callable[[str], bool]) -> None:
        self._heap: list[tuple[float, str]] = []
        self._is_live = is_live
        self._dead = 0

    def add(self, ref: str, when: float) -> None:
        """Note that `ref` is due at `when`."""
        heapq.heappush(self._heap, (when, ref))

    def pop_before(self, when: float, limit: int) -> list[str]:
        """Take up to `limit` live refs that are due strictly before `when`."""
        due: list[str] = []
        while self._heap and self._heap[0][0] < when and len(due) < limit:
            ref = heapq.heappop(self._heap)[1]
            if self._is_live(ref):
                due.append(ref)
            else:
                self._dead -= 1
        return due

    def first(self, limit: int) -> list[str]:
        """Return up to `limit` live refs, those that are due first, at a cost in proportion."""
        found: list[str] = []
        heads = [(*self._heap[0], 0)] if self._heap else []
        while heads and len(found) < limit:
            _, ref, i = heapq.heappop(heads)
            if self._is_live(ref):
                found.append(ref)
            for under in (2 * i + 1, 2 * i + 2):
                if under < len(self._heap):
                    heapq.heappush(heads, (*self._heap[under], under))
        return found

    def count_before(self, when: float) -> int:
        """Return how many live refs are due strictly before `when`, at a cost in proportion."""
        return sum(1 for _ in self._before(when))

    def _before(self, when: float) -> Iterator[str]:
        # In a heap whatever is under an entry that is not due is not due either.
        heads = [0]
        while heads:
            i = heads.pop()
            if i < len(self._heap) and self._heap[i][0] < when:
                heads += (2 * i + 1, 2 * i + 2)
                if self._is_live(self._heap[i][1]):
                    yield self._heap[i][1]

    def ended(self) -> None:
        """Hear that one ref of the agenda is no longer live."""
        self._dead += 1
        while self._heap and not self._is_live(self._heap[0][1]):
            heapq.heappop(self._heap)
            self._dead -= 1
        if self._dead > 1000 and self._dead > len(self._heap) // 2:
            # In Python on purpose, entry by entry: one call into C over a million entries would keep
            # every other thread waiting for the interpreter.
            live: list[tuple[float, str]] = []
            for when, ref in self._heap:
                if self._is_live(ref):
                    heapq.heappush(live, (when, ref))
            self._heap, self._dead = live, 0
