"""Albums: messages that a platform sends one by one, and that belong together."""

import asyncio
from typing import Generic, TypeVar

T = TypeVar("T")

PAUSE_SECONDS = 1.0
"""How long nothing more has come when an album is taken to be whole: nobody says how many there are."""


class Albums(Generic[T]):
    """Gathers the parts of albums."""

    def __init__(self, pause_seconds: float = PAUSE_SECONDS) -> None:
        self._pause_seconds = pause_seconds
        self._open: dict[str, tuple[list[T], asyncio.Event]] = {}

    async def whole(self, album: str | None, part: T) -> list[T]:
        """Return all parts, in order, to whoever brings the first one; nothing to the others.

        What belongs to no album is a whole of its own. A part that comes too late begins anew.
        """
        if album is None:
            return [part]
        if album in self._open:
            parts, more = self._open[album]
            parts.append(part)
            more.set()
            return []
        parts, more = self._open[album] = [part], asyncio.Event()
        try:
            while True:
                async with asyncio.timeout(self._pause_seconds):
                    await more.wait()
                more.clear()
        except TimeoutError:
            return parts
        finally:
            del self._open[album]
