"""Work on one thing after the other, and on different things at once."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from weakref import WeakValueDictionary


class Turns:
    """Locks by name, within this process; each is there for as long as somebody has or wants it."""

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._turns: WeakValueDictionary[str, _Turn] = WeakValueDictionary()

    @contextmanager
    def of(self, name: str) -> Iterator[None]:
        """Have a block run when no other of this name does."""
        with self._guard:
            turn = self._turns.setdefault(name, _Turn())
        with turn.lock:
            yield


class _Turn:
    """A lock that can be referred to weakly, as a bare one cannot."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
