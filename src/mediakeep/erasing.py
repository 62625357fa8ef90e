"""Erase: a user's files are to go now, and somebody wants to know that they have."""

import time
from collections.abc import Callable, Iterable

from mediakeep.catalogs import Catalog, EndedFile, Reaped
from mediakeep.errors import StillLeased
from mediakeep.fates import Fate, fates_of
from mediakeep.model import Entry, Erased

Reap = Callable[[Iterable[str]], Reaped]

NAP_SECONDS = 0.02
"""How long to wait between two looks whether a lease has ended."""


def erase(catalog: Catalog, reap: Reap, scope: str, *, wait: float | None) -> tuple[Erased, ...]:
    """End `scope` and those below it, delete what may be deleted, and tell what became of each file.

    See :meth:`mediakeep.MediaStore.erase`; `wait` is in seconds.
    """
    ended = catalog.release_scope(scope, nested=True, refuse_leased=wait is None)
    failed = {it.location: it.reason for it in reap(ended.condemned).failed}
    if wait is not None:
        _await_leases(catalog, reap, ended.condemned, wait, failed)
    gone = set(ended.condemned)

    def result(location: str, file: EndedFile) -> str:
        if location in failed:
            return f"failed: {failed[location]}"
        if location in gone:
            if not catalog.knows(location):
                return "deleted"
            if catalog.is_live(location):
                return "kept: it was registered again meanwhile"
            return "failed: left to the next sweep"
        return "kept: another scope has a ref of it" if file.owned else "kept: borrowed"

    return tuple(
        Erased(location, file.size, file.refs, result(location, file))
        for location, file in sorted(ended.files.items())
    )


def foresee(entries: Iterable[Entry]) -> tuple[Erased, ...]:
    """Return what erasing the scope of these `entries` tells if nobody else does anything meanwhile.

    A file that it would wait for, or be refused because of, has the result `leased: …`.
    """

    def result(fate: Fate) -> str:
        if not fate.entry.owned:
            return "kept: borrowed"
        if fate.kept_by == "others":
            return "kept: another scope has a ref of it"
        if fate.kept_by == "leased":
            times = f"{fate.entry.leases} time{'s' if fate.entry.leases > 1 else ''}"
            return f"leased: {times}, so say how long to wait"
        return "deleted"

    fates = sorted(fates_of(entries), key=lambda it: it.entry.location)
    return tuple(Erased(it.entry.location, it.entry.size, it.refs, result(it)) for it in fates)


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
