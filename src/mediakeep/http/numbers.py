"""What costs something to find out about a store, found out only now and then, however many ask."""

import asyncio
import logging

from mediakeep.aio import AsyncMediaStore
from mediakeep.errors import MediaError
from mediakeep.model import Stats
from mediakeep.store import MediaStore

logger = logging.getLogger("mediakeep.http")

STATS_SECONDS = 2.0
"""How long numbers are told again, or twenty times as long as it took to count them."""

READY_SECONDS = 1.0
READY_WITHIN = 10.0
"""How long catalog and blobs may take to answer."""


class Numbers:
    """The store in numbers."""

    __slots__ = ("_asking", "_by_scope", "_fresh_until", "_stats")

    def __init__(self, *, by_scope: bool) -> None:
        self._asking = asyncio.Lock()
        self._by_scope = by_scope
        self._fresh_until = 0.0
        self._stats = Stats()

    async def get(self, store: AsyncMediaStore) -> Stats:
        """Return the numbers, which may be some seconds old."""
        loop = asyncio.get_running_loop()
        async with self._asking:
            began = loop.time()
            if began >= self._fresh_until:
                self._stats = await store.stats(by_scope=self._by_scope)
                now = loop.time()
                self._fresh_until = now + max(STATS_SECONDS, 20 * (now - began))
            return self._stats


class Readiness:
    """Whether catalog and blobs answer."""

    __slots__ = ("_asking", "_looking", "_until")

    def __init__(self) -> None:
        self._asking = asyncio.Lock()
        self._looking: asyncio.Task[None] | None = None
        self._until = 0.0

    async def get(self, store: MediaStore) -> bool:
        """Return whether they do, or did a moment ago."""
        loop = asyncio.get_running_loop()
        async with self._asking:
            if loop.time() < self._until:
                return True
            # Not one of the others' threads: they may all be waiting for what does not answer. Nor one
            # more each time: whoever asks again waits for the same look.
            if self._looking is None:
                self._looking = asyncio.create_task(asyncio.to_thread(_look, store))
            done, _ = await asyncio.wait({self._looking}, timeout=READY_WITHIN)
            if not done:
                logger.warning("not ready: no answer for %g s", READY_WITHIN)
                return False
            looking, self._looking = self._looking, None
            try:
                looking.result()
            except (MediaError, OSError) as error:
                logger.warning("not ready: %s", error)
                return False
            self._until = loop.time() + READY_SECONDS
        return True


def _look(store: MediaStore) -> None:
    store._catalog.use()
    next(iter(store._blobs.leftovers()), None)
