"""Every effect that mediakeep has on a disk, a lock or the books, watched, so that one can be the last.

What is watched is patched into a forked child only; the library has no code for it.
"""

import fcntl
import functools
import os
import re
import signal
import sqlite3
from collections.abc import Callable
from typing import Any

_CALLS = (
    (os, "write"),
    (os, "fsync"),
    (os, "link"),
    (os, "rename"),
    (os, "unlink"),
    (os, "mkdir"),
    (fcntl, "flock"),
    (fcntl, "lockf"),
)
_STATEMENTS = re.compile(
    r"\s*(BEGIN IMMEDIATE|BEGIN|COMMIT|ROLLBACK|INSERT INTO \w+|UPDATE \w+|DELETE FROM \w+"
    r"|ALTER TABLE|CREATE INDEX|PRAGMA journal_mode=\w+|PRAGMA wal_checkpoint|PRAGMA application_id)"
)


class Effects:
    """Counts the effects of this process; kills it just before or just after one of them.

    Args:
        last: which point to die at, from 1; an effect has one before it and, if it succeeds, one after.
    """

    def __init__(self, last: int = 0) -> None:
        self.points: list[str] = []
        self._last = last
        self._counts = False

    def watch(self) -> None:
        """Look at all effects from now on, for good."""
        for module, name in _CALLS:
            setattr(module, name, self._watched(getattr(module, name), lambda _, name=name: name))
        os.open = self._watched(os.open, _name_of_open)
        sqlite3.connect = functools.partial(sqlite3.connect, factory=self._connections())

    def count(self) -> None:
        """Begin to count, and to kill."""
        self._counts = True

    def around(self, name: str, effect: Callable[[], Any]) -> Any:
        """Have the effect, or die before or after it."""
        if not self._counts:
            return effect()
        self._pass(f"before {name}")
        result = effect()
        self._pass(f"after {name}")
        return result

    def _pass(self, point: str) -> None:
        self.points.append(point)
        if len(self.points) == self._last:
            os.kill(os.getpid(), signal.SIGKILL)

    def _watched(self, real: Callable[..., Any], name_of: Callable[[Any], str]) -> Callable[..., Any]:
        @functools.wraps(real)
        def watched(*values: Any, **named: Any) -> Any:
            name = name_of(values)
            return self.around(name, lambda: real(*values, **named)) if name else real(*values, **named)

        return watched

    def _connections(self) -> type[sqlite3.Connection]:
        effects = self

        class Watched(sqlite3.Connection):
            def execute(self, sql: str, *values: Any) -> sqlite3.Cursor:
                found = _STATEMENTS.match(sql)
                if found is None:
                    return super().execute(sql, *values)
                return effects.around(found[1], lambda: super(Watched, self).execute(sql, *values))

            def executemany(self, sql: str, rows: Any) -> sqlite3.Cursor:
                rows = list(rows)
                if not rows:
                    return super().executemany(sql, rows)
                name = _STATEMENTS.match(sql)[1]
                return effects.around(name, lambda: super(Watched, self).executemany(sql, rows))

            def executescript(self, sql: str) -> sqlite3.Cursor:
                return effects.around("script", lambda: super(Watched, self).executescript(sql))

            def close(self) -> None:
                effects.around("close", super().close)

        return Watched


def _name_of_open(values: tuple[Any, ...]) -> str:
    return "create" if values[1] & os.O_CREAT else ""
