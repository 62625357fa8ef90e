"""A clock for tests."""

from datetime import timedelta


class FakeClock:
    """A clock that moves only when it is told to.

    >>> clock = FakeClock(100.0)
    >>> clock.advance(timedelta(minutes=1))
    >>> clock()
    160.0
    """

    def __init__(self, now: float = 1_767_225_600.0) -> None:  # 2026-01-01T00:00:00Z
        self.now = now

    def __call__(self) -> float:
        """Return the time in seconds since the epoch."""
        return self.now

    def advance(self, by: timedelta | float) -> None:
        """Move by an amount of time, a timedelta or seconds; a negative one moves back."""
        self.now += by.total_seconds() if isinstance(by, timedelta) else by
