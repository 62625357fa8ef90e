"""What the addresses of a catalog and of a place for bytes begin with, and what they are by that."""

import os

POSTGRES = ("postgresql://", "postgres://")
"""A catalog in PostgreSQL."""

SERVERS = ("http://", "https://")
"""A server of mediakeep."""

BUCKETS = ("s3://", "gs://", "az://")
"""A bucket of Amazon S3 and what speaks its protocol, of Google Cloud Storage, of Azure Blob Storage."""


def in_database(store: str) -> bool:
    """Return whether the books of `store` are in a database, which other machines may use too."""
    return store.startswith(POSTGRES)


def in_bucket(blobs: str | None) -> bool:
    """Return whether `blobs` is the address of a bucket."""
    return blobs is not None and blobs.startswith(BUCKETS)


def is_odd(store: str) -> bool:
    """Return whether `store` is neither a folder's name nor an address of books, but a mistake."""
    looks_odd = not store or "://" in store or (store.endswith(":") and os.sep not in store)
    return looks_odd and not in_database(store)


def is_odd_for_bytes(blobs: str) -> bool:
    """Return whether `blobs` is neither a folder's name nor the address of a bucket."""
    return not blobs or ("://" in blobs and not in_bucket(blobs))
