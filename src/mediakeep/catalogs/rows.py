"""What catalogs in SQL keep in a row, and what values that stands for."""

import functools
import json
import os
import platform
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from mediakeep.catalogs import Registration
from mediakeep.catalogs.rules import below
from mediakeep.clocks import time_of
from mediakeep.errors import UnknownRef
from mediakeep.model import CleanupPolicy, Entry, FailedDeletion, MediaMeta, Receipt, ScopeStats, Stats

HISTORY_SECONDS = 7 * 86_400.0
"""How long a journal goes back, and with it why a ref is dead."""

_SPELLED = re.compile("media://[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_said_in = json.JSONDecoder().raw_decode  # json.loads looks for a mark and for blanks, too


def bytes_of(ref: str) -> bytes:
    """Return the 16 bytes of a ref.

    Raises:
        UnknownRef: it is not spelled as a ref is.
    """
    try:
        key = bytes.fromhex(ref[8:].replace("-", ""))
    except (TypeError, ValueError, AttributeError):
        raise UnknownRef(ref) from None
    if len(key) != 16 or ref_of(key) != ref:
        raise UnknownRef(ref)
    return key


def uuid_of(ref: str) -> str:
    """Return the UUID of a ref as text, where that is all that is wanted.

    Raises:
        UnknownRef: it is not spelled as a ref is.
    """
    if not isinstance(ref, str) or _SPELLED.fullmatch(ref) is None:
        raise UnknownRef(ref)
    return ref[8:]


def ref_of(key: bytes) -> str:
    """Return the ref that has these 16 bytes."""
    h = key.hex()
    return f"media://{h[:8]}-{h[8:12]}-{h[12:16]}-{h[16:20]}-{h[20:]}"


def said_of(new: Registration) -> str:
    """Return meta and types as ASCII JSON, so that a name of invalid Unicode comes back as it was."""
    meta = new.meta
    texts = {
        "filename": meta.filename,
        "content_type": meta.content_type,
        "source": meta.source,
        "detected": new.detected,
    }
    said = {name: text for name, text in texts.items() if text}
    if new.declared != meta.content_type:
        said["declared"] = new.declared
    if meta.cleanup_policy is not CleanupPolicy.DELETE_ON_CLEANUP:
        said["cleanup_policy"] = meta.cleanup_policy.value
    return json.dumps(said)


@functools.lru_cache(maxsize=1024)
def meta_and_types(text: str) -> tuple[MediaMeta, str, str]:
    """Return meta, declared and detected type out of what `said_of` gave."""
    said, _ = _said_in(text)
    declared, detected = said.pop("declared", None), said.pop("detected", "")
    meta = MediaMeta(**said)
    return meta, meta.content_type if declared is None else declared, detected


def place_of(location: bytes, path: bytes | None) -> tuple[str, str | None]:
    """Return a location, and the path that its caller gave if it is not a blob."""
    name = os.fsdecode(location)
    if path is not None:
        return name, os.fsdecode(path)
    return name, name if os.path.isabs(name) else None


def entry_of(ref: str, row: Sequence[Any]) -> Entry:
    """Return the entry of `ref`.

    Of the row: scope, location, path, meta, size, sha256, stored_at, expires_at, owned, refs, leases.
    """
    scope, location, path, meta, size, sha256, stored_at, expires_at, owned, refs, leases = row
    name, given = place_of(location, path)
    said, declared, detected = meta_and_types(meta)
    return Entry(
        ref=ref,
        scope=scope,
        location=name,
        path=None if given is None else Path(given),
        meta=said,
        size=size,
        sha256=sha256,
        stored_at=time_of(stored_at),
        expires_at=None if expires_at is None else time_of(expires_at),
        owned=bool(owned),
        refs=refs,
        leases=leases,
        declared_type=declared,
        detected_type=detected,
    )


def receipts_of(row: tuple[Any, ...], ref: str | None) -> Iterator[Receipt]:
    """Yield the lines that a row of `history` stands for.

    Where it is that of another ref than the one asked for, only what became of the file.
    """
    _, at, what, key, scope, location, size, process, failed_at, error, deleted_at, deleted_by = row
    named = "" if key is None else ref_of(key)
    common = (named, scope, os.fsdecode(location), size)
    if ref in (None, named):
        yield Receipt(time_of(at), what, *common, process)
    if failed_at is not None:
        yield Receipt(time_of(failed_at), "failed", *common, deleted_by, error)
    if deleted_at is not None:
        yield Receipt(time_of(deleted_at), "deleted", *common, deleted_by)


def stats_of(
    refs: Sequence[Any],
    locations: Sequence[Any],
    leases: Sequence[Any],
    saved: int,
    failed: Iterable[Sequence[Any]],
    by_scope: Iterable[Sequence[Any]],
) -> Stats:
    """Return a catalog in numbers.

    Args:
        refs: how many, stored_at of the oldest, in how many scopes.
        locations: how many files, how many of them owned, their size, how many variants, their size, how
            many condemned, their size.
        leases: how many, on how many files.
        saved: the bytes that are kept once and named more than once.
        failed: location, error and attempts of each failed deletion.
        by_scope: name, refs, files and size of each scope, where they were asked for.
    """
    refs_count, oldest, scopes = refs
    files, owned, size, variants, variants_size, condemned, condemned_size = locations
    leases_count, leased = leases
    return Stats(
        refs=refs_count,
        scopes=scopes,
        files=files,
        size=size,
        owned=owned,
        borrowed=files - owned,
        condemned=condemned,
        condemned_size=condemned_size,
        leases=leases_count,
        leased=leased,
        saved=saved,
        variants=variants,
        variants_size=variants_size,
        oldest=None if oldest is None else time_of(oldest),
        failed=tuple(FailedDeletion(os.fsdecode(it), why, times) for it, why, times in failed),
        by_scope={name: ScopeStats(*counts) for name, *counts in by_scope},
    )


def names_below(scope: str) -> tuple[str, str]:
    """Return the first name below `scope`, and the first after all of these."""
    prefix = below(scope)
    return prefix, prefix[:-1] + chr(ord(prefix[-1]) + 1)


def process() -> str:
    """Return the name of this process for the journal."""
    return f"process {os.getpid()} on {_node()}"


@functools.cache
def _node() -> str:
    return platform.node() or "this machine"
