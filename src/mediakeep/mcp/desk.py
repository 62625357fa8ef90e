"""What all requests of one server share: the store within its bounds, and who tells of changes."""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import TypeVar

from anyio import Semaphore

from mediakeep.aio import PAGE, AsyncMediaStore
from mediakeep.errors import UnknownRef
from mediakeep.mcp.bounds import Bounds
from mediakeep.mcp.changes import Changes
from mediakeep.mcp.links import Links
from mediakeep.mcp.uploads import Uploads
from mediakeep.model import Entry, Position
from mediakeep.offload import Pages

T = TypeVar("T")


@dataclass(slots=True)
class Desk:
    """A store as the clients of one server have it."""

    store: AsyncMediaStore
    bounds: Bounds
    changes: Changes
    uploads: Uploads | None = None
    links: Links | None = None
    pictures: Semaphore = field(default_factory=partial(Semaphore, 2))
    """Each of them may start a process that decodes."""

    async def entry(self, ref: str) -> Entry:
        """Return what is known of a live ref within the bounds.

        Raises:
            UnknownRef: it is not live; or it is of another scope, which is no difference.
        """
        try:
            entry = await self.store.entry(ref)
        except UnknownRef as error:
            if error.scope is not None and self.bounds.sees(error.scope):
                raise
            raise UnknownRef(ref) from None
        if not self.bounds.sees(entry.scope):
            raise UnknownRef(ref)
        return entry

    def entries(self, scope: str | None = None, after: Position | None = None) -> Pages[Entry]:
        """Yield the live refs of a scope within the bounds, and of those below it, behind a place.

        Close what is left early: it may hold a cursor of the catalog.
        """
        within = self.bounds.checked(scope)
        make = partial(self.store.sync.entries, within, nested=True, after=after)
        return Pages(self.store._offload, make, PAGE)

    async def in_thread(self, work: Callable[[], T], undo: Callable[[T], object] | None = None) -> T:
        """Return what blocking work on the store returns, which takes place in one of its threads."""
        return await self.store._offload.run(work, undo=undo)

    def key(self, path: str) -> str | None:
        """Return the key of the blob that lies at a path, or None.

        Raises:
            NotAFile: something else of the store's lies there.
        """
        return self.store.sync._blobs.key(path)
