"""Advisory locks of PostgreSQL, by 64-bit keys: on single locations, on limits, on migrations.

All are locks of a transaction: they end with it, and with a client that dies. Two names with the same
key wait for each other without need, and nothing worse.
"""

import hashlib
import os

LOCK = "SELECT pg_advisory_xact_lock(%(key)s)"
"""Waits for the lock of a key; the connection's `lock_timeout` says for how long."""

LOCKS = "SELECT pg_advisory_xact_lock(key) FROM unnest(%(keys)s::bigint[]) AS key"
"""Waits for the locks of many keys, in the order that they are given in."""


def key_of(schema: str, *names: str) -> int:
    """Return the key for what `names` name in the catalog of this schema."""
    hashed = hashlib.blake2b(digest_size=8, person=b"mediakeep")
    for name in (schema, *names):
        data = os.fsencode(name)
        hashed.update(len(data).to_bytes(8, "big"))
        hashed.update(data)
    return int.from_bytes(hashed.digest(), "big", signed=True)
