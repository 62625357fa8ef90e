"""Erase: a user's files are to go now, and somebody wants to know that they have."""

import time
from collections import Counter
from collections.abc import Callable, Iterable

from mediakeep.catalogs import Catalog, Reaped
from mediakeep.errors import StillLeased
from mediakeep.model import Entry, Erased

Reap = Callable[[Iterable[str]], Reaped]

NAP_SECONDS = 0.02
"""How long to wait between two looks whether a lease has ended."""


def erase(catalog: Catalog, reap: Reap, scope: str, *, wait: float | None) -> tuple[Erased, ...]:
    """End `scope` and those below it, delete what may be deleted, and tell what became of each file.

    See :meth:`mediakeep.MediaStore.erase`; `wait` is in seconds.
    """
    files: dict[str, Entry] = {}
    refs: Counter[str] = Counter()
    for entry in catalog.entries(scope, nested=True):
        refs[entry.location] += 1
        files[entry.location] = entry
    condemned = catalog.release_scope(scope, nested=True, refuse_leased=wait is None).condemned
    failed = {it.location: it.reason for it in reap(condemned).failed}
    if wait is not None:
        _await_leases(catalog, reap, condemned, wait, failed)
    gone = set(condemned)

    def result(entry: Entry) -> str:
        if entry.location in failed:
            return f"failed: {failed[entry.location]}"
        if entry.location in gone:
            return "deleted"
        return "kept: borrowed" if not entry.owned else "kept: another scope has a ref of it"

    return tuple(Erased(name, it.size, refs[name], result(it)) for name, it in files.items())


def _await_leases(
    catalog: Catalog, reap: Reap, locations: list[str], seconds: float, failed: dict[str, str]
) -> None:
    """Reap the locations as their leases end; what fails for another reason goes into `failed`."""
    deadline = time.monotonic() + seconds
    while left := [it for it in locations if it not in failed and catalog.knows(it)]:
        if time.monotonic() > deadline:
            raise StillLeased(
                f"{left[0]!r} is still held by a lease after {seconds:g} s: its refs have ended, "
                "and it goes when its lease ends"
            )
        time.sleep(NAP_SECONDS)
        failed |= {it.location: it.reason for it in reap(left).failed}
