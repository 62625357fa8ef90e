"""What costs something to count, counted in the background, and told with its age.

Pages do not wait for it longer than WAIT_SECONDS, and where it takes longer only until there is a first
count. Counting takes a twentieth of the time at most while somebody looks, and else a sixtieth, for the
plots. It is the catalog that counts, all refs of all scopes: so the numbers are exact, of when they were
counted.
"""

import asyncio
import logging
import time
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial

from mediakeep.errors import MediaError
from mediakeep.http.dashboard.words import FAMILIES
from mediakeep.http.grants import Grant
from mediakeep.http.service import Service
from mediakeep.model import ScopeStats, Stats
from mediakeep.store import MediaStore

logger = logging.getLogger("mediakeep.http")

LEAST_SECONDS = 2.0
SHARE = 20
"""A count is good for this many times as long as it took, and LEAST_SECONDS at least."""

WAIT_SECONDS = 0.4
_MOST_GRANTS = 64


@dataclass(slots=True)
class Group:
    """Some refs, and the bytes that they name; a file of several refs counts for each."""

    refs: int = 0
    size: int = 0

    def add(self, refs: int, size: int) -> None:
        """Count more of them."""
        self.refs += refs
        self.size += size


@dataclass(frozen=True, slots=True)
class Count:
    """What one who sees some scopes is told of them; `at` is when it was counted (monotonic)."""

    at: float
    took: float
    scopes: Mapping[str, ScopeStats]
    children: Mapping[str, Mapping[str, Group]]
    """Under each scope, and under the empty text, what the next level's names have."""
    refs: int
    size: int
    families: Mapping[str, Group]
    stats: Stats | None
    """All numbers; only for who sees all scopes."""

    @property
    def age_seconds(self) -> float:
        """How old it is."""
        return time.monotonic() - self.at


@dataclass(slots=True)
class _Grants:
    count: Count | None = None
    counting: asyncio.Task[None] | None = None
    began: float = 0.0


class Census:
    """Counts for whoever looks, of what his grant shows. For one event loop."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._by_scopes: OrderedDict[tuple[str, ...], _Grants] = OrderedDict()

    async def get(self, grant: Grant) -> Count | None:
        """Return the last count; None if the first one still takes its time."""
        mine = self._by_scopes.setdefault(grant.scopes, _Grants())
        self._by_scopes.move_to_end(grant.scopes)
        while len(self._by_scopes) > _MOST_GRANTS:
            self._by_scopes.popitem(last=False)
        count = mine.count
        if count is None or count.age_seconds > max(LEAST_SECONDS, SHARE * count.took):
            self._begin(mine, grant)
        counting = mine.counting
        # Where counting is quick it is worth to wait for. Else what was counted last is told at once.
        if counting is not None and (count is None or count.took < WAIT_SECONDS / 4):
            left = mine.began + WAIT_SECONDS - time.monotonic()
            await asyncio.wait({counting}, timeout=max(0.0, left))
            if counting.done():
                counting.result()  # a fault of the server is not to be kept quiet
        return mine.count

    async def count(self, grant: Grant) -> Count | None:
        """Count now, however long it takes; None if that fails."""
        mine = self._by_scopes.setdefault(grant.scopes, _Grants())
        counting = self._begin(mine, grant)
        await asyncio.wait({counting})
        counting.result()
        return mine.count

    def _begin(self, mine: _Grants, grant: Grant) -> "asyncio.Task[None]":
        if mine.counting is None:
            mine.counting = asyncio.create_task(self._count(mine, grant))
            mine.began = time.monotonic()
        return mine.counting

    async def _count(self, mine: _Grants, grant: Grant) -> None:
        try:
            mine.count = await self._service.read_long(partial(_counted, self._service.store, grant))
        except MediaError as error:
            logger.warning("the dashboard's numbers could not be counted: %s", error)
        finally:
            mine.counting = None


def _counted(store: MediaStore, grant: Grant) -> Count:
    began = time.monotonic()
    stats = store.stats(by_scope=True)
    scopes = {name: it for name, it in stats.by_scope.items() if grant.sees(name)}
    children: dict[str, dict[str, Group]] = {}
    for name, numbers in scopes.items():
        levels = name.split(":")
        for depth, level in enumerate(levels):
            above = ":".join(levels[:depth])
            if depth and not above:
                break  # an empty first level: what is under it would stand beside it
            under = children.setdefault(above, {})
            under.setdefault(level, Group()).add(numbers.refs, numbers.size)
    families: dict[str, Group] = {}
    for scope, major, refs, size in store._catalog.tally(tuple(FAMILIES)):
        if grant.sees(scope):
            families.setdefault(major or "other", Group()).add(refs, size)
    now = time.monotonic()
    return Count(
        now,
        now - began,
        scopes,
        children,
        stats.refs if grant.sees_all else sum(it.refs for it in scopes.values()),
        stats.size if grant.sees_all else sum(it.size for it in scopes.values()),
        families,
        stats if grant.sees_all else None,
    )
