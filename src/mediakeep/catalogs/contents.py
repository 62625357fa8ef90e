"""Blobs of the same bytes in a batch of new ones: which of them are kept, and who shares them."""

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from mediakeep.catalogs import Registration
from mediakeep.model import CleanupPolicy, Limits


class Content(NamedTuple):
    """What two blobs have in common that may be one."""

    sha256: str
    size: int
    owned: bool
    scope: str | None
    """Where limits count by scope, else None."""


def content_of(new: Registration, limits: Limits | None) -> Content | None:
    """Return what a twin of the `new` blob must have; None if that is not known."""
    if not new.sha256:
        return None
    by_scope = limits is not None and limits.max_scope_bytes is not None
    owned = new.meta.cleanup_policy is CleanupPolicy.DELETE_ON_CLEANUP
    return Content(new.sha256, new.size, owned, new.scope if by_scope else None)


def contents_of(new: Iterable[Registration], limits: Limits | None) -> dict[Content, Registration]:
    """Return what there is of different bytes among the `new` blobs, each with one that has them."""
    found: dict[Content, Registration] = {}
    for it in new:
        content = content_of(it, limits)
        if content is not None:
            found.setdefault(content, it)
    return found


def share_out(
    new: Sequence[Registration], limits: Limits | None, twins: Mapping[Content, str]
) -> list[str]:
    """Return the location of each: that of its twin, or of the first in the batch with its bytes."""
    known, locations = dict(twins), []
    for it in new:
        content = content_of(it, limits)
        shared = it.location if content is None else known.setdefault(content, it.location)
        locations.append(shared)
    return locations
