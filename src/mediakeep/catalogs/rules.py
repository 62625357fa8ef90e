"""What every catalog decides in the same way, and in the same words."""

from collections.abc import Sequence

from mediakeep.catalogs.records import Registration, Use
from mediakeep.errors import CatalogError, QuotaExceeded, StillLeased
from mediakeep.model import Limits

NAMED_FAILURES = 1000
"""How many failed deletions `stats` names."""


def location_of(refs: Sequence[Registration]) -> str:
    """Return the one location of the refs to restore.

    Raises:
        ValueError: they have several, or there are none.
    """
    locations = {it.location for it in refs}
    if len(locations) != 1:
        raise ValueError(f"refs are restored one location at a time, not those of {len(locations)}")
    return locations.pop()


def is_going(location: str) -> CatalogError:
    """Return the error for a blob whose refs cannot be restored, since it is condemned."""
    return CatalogError(
        f"blob {location!r} is condemned here, and its bytes may be going: "
        "put them under another key, and restore the refs with that"
    )


def lives_elsewhere(ref: str, location: str, wanted: str) -> CatalogError:
    """Return the error for a ref that cannot be restored, since it is live at another location."""
    return CatalogError(
        f"{ref} is live here at {location!r} and cannot be restored at {wanted!r}: "
        "it has been restored already, or release it first"
    )


def below(scope: str) -> str:
    """Return what the names of all scopes below `scope` begin with."""
    return f"{scope}:"


def check_room(limits: Limits, before: Use, after: Use) -> None:
    """Raise QuotaExceeded if the store has grown past its limits."""
    if limits.max_store_files is not None and before.files < after.files > limits.max_store_files:
        raise QuotaExceeded(
            f"the store has {before.files} files and may have {limits.max_store_files} "
            "(max_store_files): release refs or scopes that are done, or sweep"
        )
    if limits.max_store_bytes is not None and before.size < after.size > limits.max_store_bytes:
        raise QuotaExceeded(
            f"the store has {before.size} bytes and may have {limits.max_store_bytes} "
            f"(max_store_bytes), so {after.size - before.size} more do not fit: "
            "release refs or scopes that are done, or sweep"
        )


def check_scope_room(limits: Limits, scope: str, size: int, more: int) -> None:
    """Raise QuotaExceeded if the scope, with `size` bytes after `more` came in, is past its limit."""
    if limits.max_scope_bytes is not None and more and size > limits.max_scope_bytes:
        raise QuotaExceeded(
            f"scope {scope!r} has {size - more} bytes and may have {limits.max_scope_bytes} "
            f"(max_scope_bytes), so {more} more do not fit: release refs of it that are done"
        )


def still_leased(location: str, ref: str, leases: int) -> StillLeased:
    """Return the error for a location that is to be deleted while a lease holds it."""
    return StillLeased(
        f"{location!r} ({ref}) is held by {leases} lease{'s' if leases > 1 else ''}; "
        "nothing was ended: wait for the lease to end, or tell erase how long to wait"
    )
