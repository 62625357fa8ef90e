"""What has come into a store since it was looked at last, by whichever process.

The catalog has no list of all refs by age, but one of each scope. So each scope's newest ref is looked
up, and where that is new those before it, too. That costs in proportion to the scopes, and not to the
refs.
"""

from datetime import datetime, timedelta

from mediakeep.catalogs import Catalog
from mediakeep.model import Entry

SLACK = timedelta(seconds=5)
"""How far behind the newest ref a new one may be: what is written later may have begun before."""

MOST = 2000
"""How many are told of by one look; of more only that there were more."""


class Arrivals:
    """Tells which refs are new. The first look tells of none."""

    __slots__ = ("_newest", "_seen")

    def __init__(self) -> None:
        self._newest: datetime | None = None
        self._seen: set[str] | None = None
        """Those that are hardly older than the newest; None before the first look."""

    def news(self, catalog: Catalog) -> list[Entry]:
        """Return the refs that are new, the oldest first, MOST at most; blocks."""
        heads = catalog.latest()
        newest = max((at for _, at in heads), default=None)
        known = newest if self._seen is None else self._newest
        since = None if known is None else known - SLACK
        young: dict[str, Entry] = {}
        for scope, at in heads:
            if since is not None and at <= since:
                continue
            for entry in catalog.entries(scope, newest=True):
                if (since is not None and entry.stored_at <= since) or len(young) > 2 * MOST:
                    break
                young[entry.ref] = entry
        seen, self._seen = self._seen, set(young)
        if newest is not None and (self._newest is None or newest > self._newest):
            self._newest = newest
        if seen is None:
            return []
        new = [entry for ref, entry in young.items() if ref not in seen]
        return sorted(new, key=lambda it: it.stored_at)[-MOST:]
