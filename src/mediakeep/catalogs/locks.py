"""Locks that a catalog takes on single locations, and in turn on the books."""

import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from mediakeep.errors import CatalogError

Key = str | int


class KeyedLock:
    """One exclusive lock per key, made when it is wanted and gone when it is dropped.

    Holding one key keeps nobody off another. For threads of one process.
    """

    __slots__ = ("_changed", "_held", "_lock", "_waiting")

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._changed = threading.Condition(self._lock)
        self._held: set[Key] = set()
        self._waiting = 0

    def try_hold(self, key: Key) -> bool:
        """Take `key` and return True, or return False where somebody has it."""
        with self._lock:
            if key in self._held:
                return False
            self._held.add(key)
            return True

    def hold(self, key: Key, timeout: float) -> None:
        """Take `key`, waiting for whoever has it.

        Raises:
            CatalogError: it was not given back within `timeout` seconds.
        """
        if self.try_hold(key):
            return
        deadline = time.monotonic() + timeout
        with self._lock:
            self._waiting += 1
            try:
                while key in self._held:
                    if not self._changed.wait(deadline - time.monotonic()):
                        raise CatalogError(
                            f"{key!r} is still being deleted or registered after {timeout:g} s: "
                            "try again, and look why its disk is slow"
                        )
                self._held.add(key)
            finally:
                self._waiting -= 1

    @contextmanager
    def holding(self, keys: Iterable[str], timeout: float) -> Iterator[None]:
        """Hold all `keys` for a block, taken in one order, so that nobody waits in a circle.

        Raises:
            CatalogError: one of them was not given back within `timeout` seconds.
        """
        held: list[str] = []
        try:
            for key in sorted(set(keys)):
                self.hold(key, timeout)
                held.append(key)
            yield
        finally:
            for key in held:
                self.drop(key)

    def drop(self, key: Key) -> None:
        """Give `key` back."""
        with self._lock:
            self._held.discard(key)
            if self._waiting:
                self._changed.notify_all()
