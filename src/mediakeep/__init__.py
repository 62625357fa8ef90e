"""mediakeep: media that lives exactly as long as it should."""

from mediakeep.blobs.temporary import TEMP_DIR_NAME, temp_dir
from mediakeep.cleaner import MediaCleanerConfig
from mediakeep.errors import (
    BlobError,
    CatalogError,
    MediaError,
    MediaMissing,
    NotAFile,
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
    "MediaError",
    "MediaMeta",
    "MediaMissing",
    "MediaScope",
    "MediaStore",
    "NotAFile",
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
