"""What happens in the store, told to whoever listens, whichever process does it.

The journal tells of ends and deletions. It cannot be read from a place on, so it is read again and again
while anybody listens, the longer it takes the less often. So are the newest refs of all scopes; but what
this worker puts is told at once.
"""

import asyncio
import logging
import secrets
from collections import OrderedDict, deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import islice
from typing import Any

from mediakeep.errors import MediaError
from mediakeep.http.arrivals import Arrivals
from mediakeep.http.entries import id_of
from mediakeep.http.grants import Grant
from mediakeep.model import Entry, Receipt
from mediakeep.offload import Offload
from mediakeep.store import MediaStore

logger = logging.getLogger("mediakeep.http")

LOOK_SECONDS = 1.0
"""How often the journal is read, if that takes no more than a twentieth of it."""

SLACK = timedelta(seconds=30)
"""How far behind the newest line a new one may be: by another's clock, or after a wait."""

MOST_TOLD = 20_000
"""Of how many refs it is remembered that their beginning was told."""

REMEMBERED = 1000
"""How many events are kept for those whose connection broke."""

BACKLOG = 1000
"""How many events may wait for one listener; one that is slower is told to look at everything anew."""


@dataclass(frozen=True, slots=True)
class Happening:
    """One event; `scope` says who may hear of it, None only who sees all scopes."""

    number: int
    name: str
    scope: str | None
    said: dict[str, Any]

    def concerns(self, grant: Grant) -> bool:
        """Return whether who has this `grant` may hear of it."""
        return grant.sees_all if self.scope is None else grant.sees(self.scope)


@dataclass(eq=False, slots=True)
class Listener:
    """Somebody who hears of what happens from now on."""

    waiting: deque[Happening] = field(default_factory=deque)
    woken: asyncio.Event = field(default_factory=asyncio.Event)
    missed: bool = False
    """Whether some events were dropped, since it was too slow."""


class Feed:
    """The events of one worker. For one event loop."""

    def __init__(self, store: MediaStore) -> None:
        self.name = secrets.token_hex(4)
        """Tells its numbers from those of other workers, and of this one before it was started again."""
        self._store = store
        self._listeners: set[Listener] = set()
        self._last: deque[Happening] = deque(maxlen=REMEMBERED)
        self._number = 0
        self._again = asyncio.Event()
        self._watching: asyncio.Task[None] | None = None
        self._told: OrderedDict[str, None] = OrderedDict()  # refs whose beginning has been
        self._offload = Offload(1)

    def tell_put(self, entry: Entry) -> None:
        """Say that a ref has begun, if that has not been said."""
        if entry.ref in self._told:
            return
        self._told[entry.ref] = None
        if len(self._told) > MOST_TOLD:
            self._told.popitem(last=False)
        said = {
            "at": entry.stored_at,
            "ref": entry.ref,
            "id": id_of(entry.ref),
            "scope": entry.scope,
            "size": entry.size,
            "content_type": entry.meta.content_type,
            "filename": entry.meta.filename,
        }
        self._tell("put", entry.scope, said)

    def look_again(self) -> None:
        """Look into the journal soon: something has ended."""
        self._again.set()

    @contextmanager
    def listening(self, after: str = "") -> Iterator[Listener]:
        """Give a listener, who also hears of what has happened since the event with the id `after`."""
        listener = Listener()
        name, _, number = after.partition("-")
        if after:
            known = name == self.name and number.isdigit()
            first = self._last[0].number if self._last else self._number + 1
            listener.missed = not known or int(number) + 1 < first
            if known:
                listener.waiting.extend(it for it in self._last if it.number > int(number))
        self._listeners.add(listener)
        if self._watching is None:
            self._watching = asyncio.create_task(self._watch())
        try:
            yield listener
        finally:
            self._listeners.discard(listener)
            if not self._listeners and self._watching is not None:
                self._watching.cancel()
                self._watching = None

    def _tell(self, name: str, scope: str | None, said: dict[str, Any]) -> None:
        self._number += 1
        happening = Happening(self._number, name, scope, said)
        self._last.append(happening)
        for listener in self._listeners:
            if len(listener.waiting) >= BACKLOG:
                listener.waiting.clear()
                listener.missed = True
            listener.waiting.append(happening)
            listener.woken.set()

    async def _watch(self) -> None:
        loop = asyncio.get_running_loop()
        journal, arrivals = _Journal(), Arrivals()
        first = True
        used = None
        while True:
            began = loop.time()
            self._again.clear()
            try:
                begun = await self._offload.run(lambda: arrivals.news(self._store._catalog))
                receipts = await self._offload.run(lambda: journal.news(self._store))
                now = await self._offload.run(self._store._catalog.use)
            except Exception as error:  # whoever listens goes on listening
                quiet = isinstance(error, MediaError)
                logger.warning("no news just now: %s", error, exc_info=None if quiet else error)
            else:
                for entry in begun:
                    self.tell_put(entry)
                for receipt in () if first else receipts:
                    self._tell_receipt(receipt)
                if used is not None and now != used:
                    self._tell("changed", None, {"files": now.files, "size": now.size})
                first, used = False, now
            took = loop.time() - began
            await asyncio.sleep(took * 19)
            try:
                async with asyncio.timeout(max(0.0, LOOK_SECONDS - took * 20)):
                    await self._again.wait()
            except TimeoutError:
                continue

    def _tell_receipt(self, receipt: Receipt) -> None:
        # A file's own fate tells whether another scope has the same: only for those who see all.
        of_the_file = receipt.what in ("deleted", "failed")
        said = receipt_json(receipt, whole=of_the_file)
        self._tell(receipt.what, None if of_the_file else receipt.scope, said)


class _Journal:
    """Tells what is new in a journal since it was looked at last."""

    def __init__(self) -> None:
        self._seen: set[tuple[datetime, str, str, str]] = set()
        self._newest: datetime | None = None

    def news(self, store: MediaStore) -> list[Receipt]:
        """Return the lines that are new, the oldest first; blocks."""
        since = None if self._newest is None else self._newest - SLACK
        found = [it for it in store.history() if since is None or it.at >= since]
        new = [it for it in found if _key(it) not in self._seen]
        if found:
            self._newest = max(it.at for it in found)
            since = self._newest - SLACK
            self._seen = {_key(it) for it in found if it.at >= since}
        return sorted(new, key=lambda it: it.at)


def _key(receipt: Receipt) -> tuple[datetime, str, str, str]:
    return receipt.at, receipt.what, receipt.ref, receipt.location


def receipt_json(receipt: Receipt, *, whole: bool) -> dict[str, Any]:
    """Return a line of the journal; with `whole` also who did it, and why it failed."""
    said: dict[str, Any] = {
        "at": receipt.at,
        "what": receipt.what,
        "ref": receipt.ref,
        "id": id_of(receipt.ref),
        "scope": receipt.scope,
        "size": receipt.size,
    }
    if whole:
        said |= {"by": receipt.by, "error": receipt.error}
    return said


def drain(listener: Listener) -> list[Happening]:
    """Return what waits for a listener, and forget it."""
    found = list(islice(listener.waiting, len(listener.waiting)))
    listener.waiting.clear()
    listener.woken.clear()
    return found
