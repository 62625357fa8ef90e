"""Clocks that setting the machine's time of day does not move, and what they show as a date."""

import functools
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

Clock = Callable[[], float]
"""Gives the time in seconds since the epoch."""


def time_of(seconds: float) -> datetime:
    """Return the date and time in UTC, so many seconds after the epoch."""
    return datetime.fromtimestamp(seconds, UTC)


def steady_clock() -> Clock:
    """Return a clock that starts at the time of day and then only counts what really passes.

    Where the system has such a clock, the time that the machine sleeps counts too.
    """
    boottime = getattr(time, "CLOCK_BOOTTIME", None)

    def elapsed() -> float:
        return time.monotonic() if boottime is None else time.clock_gettime(boottime)

    base = time.time() - elapsed()
    return lambda: base + elapsed()


def clock_since_boot() -> tuple[Clock, str]:
    """Return a clock that all processes of this machine share, and a name for its beginning.

    Where the system has none, the time of day must do, and the name is empty.
    """
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        number = time.CLOCK_BOOTTIME
    except (OSError, AttributeError):
        return time.time, ""
    return functools.partial(time.clock_gettime, number), boot
