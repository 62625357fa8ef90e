"""mediakeep: media that lives exactly as long as it should.

A name is imported when it is first asked for, so that a command that only prints its help does not pay
for a store.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mediakeep.blobs.temporary import TEMP_DIR_NAME, temp_dir
    from mediakeep.cleaner import MediaCleanerConfig
    from mediakeep.errors import (
        AccessDenied,
        BlobError,
        CatalogError,
        MediaElsewhere,
        MediaError,
        MediaMissing,
        NotAFile,
        NotOverHTTP,
        PathNotAllowed,
        QuotaExceeded,
        RefExpired,
        RefReconciled,
        RefReleased,
        ScopeClosed,
        StillLeased,
        TooLarge,
        TypeNotAllowed,
        UnknownRef,
    )
    from mediakeep.leases import Lease
    from mediakeep.model import (
        CleanupPolicy,
        Entry,
        Erased,
        FailedDeletion,
        Finding,
        Limits,
        Media,
        MediaMeta,
        Receipt,
        ReconcileReport,
        ScopeStats,
        Stats,
        SweepReport,
    )
    from mediakeep.opening import FileMediaStore, open_store
    from mediakeep.scope import MediaScope
    from mediakeep.store import MediaStore

__version__ = "0.1.0"

__all__ = [
    "TEMP_DIR_NAME",
    "AccessDenied",
    "BlobError",
    "CatalogError",
    "CleanupPolicy",
    "Entry",
    "Erased",
    "FailedDeletion",
    "FileMediaStore",
    "Finding",
    "Lease",
    "Limits",
    "Media",
    "MediaCleanerConfig",
    "MediaElsewhere",
    "MediaError",
    "MediaMeta",
    "MediaMissing",
    "MediaScope",
    "MediaStore",
    "NotAFile",
    "NotOverHTTP",
    "PathNotAllowed",
    "QuotaExceeded",
    "Receipt",
    "ReconcileReport",
    "RefExpired",
    "RefReconciled",
    "RefReleased",
    "ScopeClosed",
    "ScopeStats",
    "Stats",
    "StillLeased",
    "SweepReport",
    "TooLarge",
    "TypeNotAllowed",
    "UnknownRef",
    "open_store",
    "temp_dir",
]

_HOMES = {
    name: f"mediakeep.{home}"
    for home, names in {
        "blobs.temporary": (
            "TEMP_DIR_NAME",
            "temp_dir",
        ),
        "cleaner": ("MediaCleanerConfig",),
        "errors": (
            "AccessDenied",
            "BlobError",
            "CatalogError",
            "MediaElsewhere",
            "MediaError",
            "MediaMissing",
            "NotAFile",
            "NotOverHTTP",
            "PathNotAllowed",
            "QuotaExceeded",
            "RefExpired",
            "RefReconciled",
            "RefReleased",
            "ScopeClosed",
            "StillLeased",
            "TooLarge",
            "TypeNotAllowed",
            "UnknownRef",
        ),
        "leases": ("Lease",),
        "model": (
            "CleanupPolicy",
            "Entry",
            "Erased",
            "FailedDeletion",
            "Finding",
            "Limits",
            "Media",
            "MediaMeta",
            "Receipt",
            "ReconcileReport",
            "ScopeStats",
            "Stats",
            "SweepReport",
        ),
        "opening": (
            "FileMediaStore",
            "open_store",
        ),
        "scope": ("MediaScope",),
        "store": ("MediaStore",),
    }.items()
    for name in names
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'mediakeep' has no attribute {name!r}")
    value = getattr(import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
