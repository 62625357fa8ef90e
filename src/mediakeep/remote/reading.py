"""What a server tells, as the values that it was made of."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any, TypeVar

from mediakeep.catalogs import Registration
from mediakeep.errors import CatalogError
from mediakeep.model import (
    CleanupPolicy,
    Entry,
    Erased,
    FailedDeletion,
    Finding,
    MediaMeta,
    Receipt,
    ReconcileReport,
    ScopeStats,
    Stats,
    SweepReport,
)

T = TypeVar("T")

_NUMBERS = (
    *("refs", "scopes", "files", "size", "owned", "borrowed", "condemned", "condemned_size"),
    *("leases", "leased", "saved", "variants", "variants_size"),
)


@contextmanager
def understood(server: object) -> Iterator[None]:
    """Say of which server it is that an answer cannot be understood."""
    try:
        yield
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise CatalogError(
            f"{server} does not answer as this version of mediakeep expects ({error!r}): "
            "use the same version at both ends"
        ) from error


def read_entry(said: Mapping[str, Any], url: Callable[[str], str]) -> Entry:
    """Return the entry; its location is the `url` of its bytes."""
    ref = _text(said["ref"])
    policy = said.get("cleanup_policy") or (
        CleanupPolicy.DELETE_ON_CLEANUP if said["owned"] else CleanupPolicy.FORGET_ONLY
    )
    refs, leases = said["refs"], said["leases"]
    return Entry(
        ref=ref,
        scope=_text(said["scope"]),
        location=url(ref),
        path=None,
        meta=MediaMeta(said["filename"], said["content_type"], said["source"], policy),
        size=int(said["size"]),
        sha256=_text(said["sha256"]),
        stored_at=_moment(said["stored_at"]),
        expires_at=None if said["expires_at"] is None else _moment(said["expires_at"]),
        owned=bool(said["owned"]),
        refs=1 if refs is None else int(refs),
        leases=0 if leases is None else int(leases),
        declared_type=_text(said["declared_type"]),
        detected_type=_text(said["detected_type"]),
    )


def registration(entry: Entry) -> Registration:
    """Return what the lifecycle asks of an entry whose bytes are not on this machine."""
    return Registration(
        entry.ref, entry.scope, entry.location, None, entry.meta, entry.size, entry.sha256
    )


def read_stats(said: Mapping[str, Any]) -> Stats:
    """Return the numbers; what the server does not tell this token is 0."""
    oldest = said.get("oldest")
    return Stats(
        **{name: int(said.get(name, 0)) for name in _NUMBERS},
        oldest=None if oldest is None else _moment(oldest),
        failed=tuple(
            FailedDeletion("", _text(it["reason"]), int(it["attempts"])) for it in said.get("failed", ())
        ),
        by_scope={
            name: ScopeStats(int(it["refs"]), int(it["files"]), int(it["size"]))
            for name, it in said.get("by_scope", {}).items()
        },
    )


def read_erased(said: Mapping[str, Any]) -> Erased:
    """Return what became of one file."""
    return Erased(_text(said["location"]), int(said["size"]), int(said["refs"]), _text(said["result"]))


def read_swept(said: Mapping[str, Any]) -> SweepReport:
    """Return what a sweep did."""
    failed = tuple(
        FailedDeletion(_text(it["location"]), _text(it["reason"]), int(it["attempts"]))
        for it in said["failed"]
    )
    numbers = {name: int(said[name]) for name in ("expired", "deleted", "freed", "temps")}
    return SweepReport(**numbers, failed=failed)


def read_reconciled(said: Mapping[str, Any]) -> ReconcileReport:
    """Return what a reconcile found."""
    texts = ("kind", "subject", "reason", "remedy")
    findings = (
        Finding(**{name: _text(it[name]) for name in texts}, mended=bool(it["mended"]))
        for it in said["findings"]
    )
    return ReconcileReport(
        int(said["blobs"]),
        int(said["locations"]),
        {_text(kind): int(count) for kind, count in said["counts"].items()},
        int(said["mended"]),
        tuple(findings),
    )


def read_receipt(said: Mapping[str, Any], url: Callable[[str], str]) -> Receipt:
    """Return a line of the journal; its location is the `url` of the bytes."""
    ref = _text(said["ref"])
    return Receipt(
        _moment(said["at"]),
        _text(said["what"]),
        ref,
        _text(said["scope"]),
        url(ref),
        int(said["size"]),
        _text(said.get("by", "")),
        _text(said.get("error", "")),
    )


def _moment(text: str) -> datetime:
    return datetime.fromisoformat(text).astimezone(UTC)


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{value!r} is no text")
    return value
