"""What the addresses of a catalog and of a place for bytes begin with."""

POSTGRES = ("postgresql://", "postgres://")
"""A catalog in PostgreSQL."""

SERVERS = ("http://", "https://")
"""A server of mediakeep."""

BUCKETS = ("s3://", "gs://", "az://")
"""A bucket of Amazon S3 and what speaks its protocol, of Google Cloud Storage, of Azure Blob Storage."""
