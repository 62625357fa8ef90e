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
    RefReleased,
    ScopeClosed,
    TooLarge,
    TypeNotAllowed,
    UnknownRef,
)
from mediakeep.model import (
    CleanupPolicy,
    Entry,
    FailedDeletion,
    Media,
    MediaMeta,
    ScopeStats,
    Stats,
    SweepReport,
)
from mediakeep.opening import open_store
from mediakeep.scope import MediaScope
from mediakeep.store import FileMediaStore, MediaStore

__version__ = "0.1.0"

__all__ = [
    "TEMP_DIR_NAME",
    "BlobError",
    "CatalogError",
    "CleanupPolicy",
    "Entry",
    "FailedDeletion",
    "FileMediaStore",
    "Media",
    "MediaCleanerConfig",
    "MediaError",
    "MediaMeta",
    "MediaMissing",
    "MediaScope",
    "MediaStore",
    "NotAFile",
    "QuotaExceeded",
    "RefExpired",
    "RefReleased",
    "ScopeClosed",
    "ScopeStats",
    "Stats",
    "SweepReport",
    "TooLarge",
    "TypeNotAllowed",
    "UnknownRef",
    "open_store",
    "temp_dir",
]
