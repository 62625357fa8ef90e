"""How much each token may ask of one worker: requests in a time, and uploads at a time."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from mediakeep.http.config import ServerConfig
from mediakeep.http.grants import Grant
from mediakeep.http.problems import Problem

MOST_STREAMS = 16
"""Event streams that a token may have open at a time."""

BURST_SECONDS = 2.0
"""A token that was quiet may ask as much at once as in this time."""


@dataclass(slots=True)
class _Use:
    left: float
    at: float
    uploads: int = 0
    streams: int = 0


class Throttles:
    """Counts what tokens ask for. For one thread; each worker counts for itself."""

    __slots__ = ("_clock", "_config", "_uses")

    def __init__(self, config: ServerConfig, clock: Callable[[], float] = time.monotonic) -> None:
        self._config = config
        self._clock = clock
        self._uses: dict[str, _Use] = {}

    def admit(self, grant: Grant, *, by_link: bool = False) -> None:
        """Count a request (a token bucket that holds BURST_SECONDS of them).

        Those by signed links are counted by themselves: whoever has one of these, and that may be
        everybody, takes nothing from the token that made it.

        Raises:
            Problem: there have been too many.
        """
        rate = grant.allowance.requests_per_second
        rate = self._config.requests_per_second if rate is None else rate
        if not rate:
            return
        now, use = self._clock(), self._use(grant, f"link {grant.holder}" if by_link else None)
        room = max(1.0, rate * BURST_SECONDS)
        use.left = min(room, use.left + (now - use.at) * rate)
        use.at = now
        if use.left < 1:
            wait = (1 - use.left) / rate
            raise _too_many(f"more than {rate:g} requests a second", int(wait) + 1)
        use.left -= 1

    @contextmanager
    def upload(self, grant: Grant) -> Iterator[None]:
        """Count an upload while the block runs.

        Raises:
            Problem: too many are under way.
        """
        most = grant.allowance.max_uploads or self._config.max_uploads
        use = self._use(grant)
        if use.uploads >= most:
            raise _too_many(f"{most} uploads are under way", 1)
        use.uploads += 1
        try:
            yield
        finally:
            use.uploads -= 1

    @contextmanager
    def stream(self, grant: Grant) -> Iterator[None]:
        """Count a stream of events while the block runs; raises as `upload` does."""
        use = self._use(grant)
        if use.streams >= MOST_STREAMS:
            raise _too_many(f"{MOST_STREAMS} event streams are open", 5)
        use.streams += 1
        try:
            yield
        finally:
            use.streams -= 1

    def max_body_bytes(self, grant: Grant) -> int:
        """Return how many bytes an upload may have."""
        most = grant.allowance.max_body_bytes
        return self._config.max_body_bytes if most is None else min(most, self._config.max_body_bytes)

    def _use(self, grant: Grant, name: str | None = None) -> _Use:
        # Holders are tokens that exist, so that strangers cannot make this grow.
        name = grant.holder if name is None else name
        use = self._uses.get(name)
        if use is None:
            use = self._uses[name] = _Use(float("inf"), self._clock())
        return use


def _too_many(what: str, seconds: int) -> Problem:
    return Problem(
        429,
        "TooManyRequests",
        f"{what}, and the token may have no more: try again in {seconds} s",
        [(b"retry-after", b"%d" % seconds)],
    )
