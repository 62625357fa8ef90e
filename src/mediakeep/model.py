"""The values that pass through mediakeep: frozen, slotted, without behaviour of their own."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from pathlib import Path
from typing import NamedTuple, Protocol


class CleanupPolicy(StrEnum):
    """May the store ever delete the bytes?"""

    DELETE_ON_CLEANUP = "delete_on_cleanup"
    """Owned: the bytes go when the last ref and lease have ended."""
    FORGET_ONLY = "forget_only"
    """Borrowed: the refs end, the bytes stay."""


@dataclass(frozen=True, slots=True)
class MediaMeta:
    """What the one who stores a file says about it.

    All four are data: they are kept and given back exactly, and never become a path or a header as
    they are. An empty policy means `delete_on_cleanup`.

    Raises:
        ValueError: the policy is neither of the two.
        TypeError: a text is not a `str`.

    >>> MediaMeta(filename="cat.jpg", cleanup_policy="forget_only").cleanup_policy
    <CleanupPolicy.FORGET_ONLY: 'forget_only'>
    >>> MediaMeta(cleanup_policy="Forget-Only")
    Traceback (most recent call last):
    ...
    ValueError: 'Forget-Only' is no cleanup policy: use 'delete_on_cleanup' or 'forget_only'
    """

    filename: str = ""
    content_type: str = ""
    source: str = ""
    cleanup_policy: CleanupPolicy = CleanupPolicy.DELETE_ON_CLEANUP

    def __post_init__(self) -> None:
        for name in ("filename", "content_type", "source"):
            if not isinstance(getattr(self, name), str):
                raise TypeError(f"MediaMeta.{name} must be a str, not {getattr(self, name)!r}")
        if type(self.cleanup_policy) is not CleanupPolicy:
            try:
                policy = CleanupPolicy(self.cleanup_policy or CleanupPolicy.DELETE_ON_CLEANUP)
            except ValueError:
                choices = " or ".join(repr(p.value) for p in CleanupPolicy)
                raise ValueError(
                    f"{self.cleanup_policy!r} is no cleanup policy: use {choices}"
                ) from None
            object.__setattr__(self, "cleanup_policy", policy)


NO_META = MediaMeta()
"""What is said of a file of which nothing is said."""


class Media(NamedTuple):
    """Where a file is and what was said of it; unpacks as `path, meta`."""

    path: Path
    meta: MediaMeta


@dataclass(frozen=True, slots=True)
class Entry:
    """What is known of one ref.

    `location` is where the bytes are, as the catalog names it: a canonical local path, or the key of
    a blob. Refs of one location share its fate: `refs` counts them, this one included. `owned` says
    whether the bytes may be deleted when the last of them has ended, and `leases` how many holders
    keep them until then. `path` is where to read them on this machine.
    """

    ref: str
    scope: str
    location: str
    path: Path | None
    meta: MediaMeta
    size: int
    sha256: str
    """Hex digest; empty for a file that was registered in place."""
    stored_at: datetime
    expires_at: datetime | None
    """None where the ref has no time to live of its own."""
    owned: bool
    refs: int
    leases: int
    declared_type: str = ""
    """The content type that was said of the bytes, and..."""
    detected_type: str = ""
    """...the one that they show; empty where they show none, or were not looked at."""


class Position(Protocol):
    """A place in a list of entries, to go on from it; every entry is one."""

    @property
    def scope(self) -> str:
        """The scope of the ref."""

    @property
    def stored_at(self) -> datetime:
        """When it was stored."""

    @property
    def ref(self) -> str:
        """The ref, which need not be live."""


_TYPE_PATTERN = re.compile(r"\*/\*|[a-z0-9][a-z0-9!#$&^_.+-]*/(\*|[a-z0-9][a-z0-9!#$&^_.+-]*)")


@dataclass(frozen=True, slots=True)
class Limits:
    """What may come in, and how much of it; None means no limit. Sizes are bytes.

    Whatever the books name counts, once per file: owned, borrowed and condemned. What does not fit is
    refused; nothing is ever thrown out to make room. A type is judged by what the bytes show, not by
    what is said of them. Patterns of types are like `image/png`, `image/*` or `*/*`.

    Raises:
        ValueError: a limit is not a positive whole number, or a pattern is none.

    >>> Limits(allowed_types=["image/*"], max_bytes_by_type={"image/gif": 1_000_000}).allowed_types
    ('image/*',)
    """

    max_file_bytes: int | None = None
    max_scope_bytes: int | None = None
    max_store_bytes: int | None = None
    max_store_files: int | None = None
    max_pixels: int | None = None
    """Width times height of a picture, as its header says."""
    allowed_types: Sequence[str] | None = None
    refused_types: Sequence[str] = ()
    """Refused even where a pattern of `allowed_types` fits."""
    max_bytes_by_type: Mapping[str, int] = field(default_factory=dict, hash=False)
    """Most bytes of a file by pattern of type; the smallest one that fits counts."""

    def __post_init__(self) -> None:
        for name in self.__slots__[:5]:
            limit = getattr(self, name)
            if limit is not None:
                _check_limit(name, limit)
        for name in ("allowed_types", "refused_types"):
            patterns = getattr(self, name)
            if patterns is not None:
                if isinstance(patterns, str):
                    raise ValueError(f"{name} must be a list of types, not {patterns!r}")
                object.__setattr__(self, name, tuple(_type_pattern(name, it) for it in patterns))
        caps = {_type_pattern("max_bytes_by_type", it): n for it, n in self.max_bytes_by_type.items()}
        for pattern, limit in caps.items():
            _check_limit(f"max_bytes_by_type[{pattern!r}]", limit)
        object.__setattr__(self, "max_bytes_by_type", caps)


def _check_limit(name: str, limit: object) -> None:
    if not (type(limit) is int and limit > 0):
        raise ValueError(f"{name} must be a positive whole number, not {limit!r}")


def _type_pattern(name: str, pattern: object) -> str:
    lower = pattern.lower() if isinstance(pattern, str) else ""
    if not _TYPE_PATTERN.fullmatch(lower):
        raise ValueError(f"{name}: {pattern!r} is no type: write one such as 'image/png' or 'image/*'")
    return lower


@dataclass(frozen=True, slots=True)
class Receipt:
    """One line of the store's journal: what ended or was deleted, when, why, and by which process.

    A ref has one line when it ends (`what` is `released`, `expired` or `reconciled`). A file has one
    when it is `deleted`, and one when deleting it first `failed` (`error` says how); `ref` and `scope`
    are then those of the last ref that had named it.
    """

    at: datetime
    what: str
    ref: str
    scope: str
    location: str
    size: int
    by: str
    error: str = ""


@dataclass(frozen=True, slots=True)
class Erased:
    """What became of one file of an erased scope: `deleted`, or why it was `kept` or `failed`."""

    location: str
    size: int
    refs: int
    """How many refs of the scope named it; none if it was made of another file."""
    result: str


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that is not as it should be, and what mends it.

    `kind` is `missing`, `size` or `sha256` (a file that the books name), `orphan` (a blob that nothing
    names), `temp` (left by a writer that died), `condemned` (waits for its deletion), `lease` (lapsed)
    or `books` (the catalog contradicts itself). `subject` is a location, a ref or a table.
    """

    kind: str
    subject: str
    reason: str
    remedy: str
    mended: bool = False


@dataclass(frozen=True, slots=True)
class ReconcileReport:
    """What a reconcile found: the first findings, and how many of each kind there were in all."""

    blobs: int = 0
    """How many blobs were looked at."""
    locations: int = 0
    """How many locations of the catalog were looked at."""
    counts: Mapping[str, int] = field(default_factory=dict)
    mended: int = 0
    findings: tuple[Finding, ...] = ()

    @property
    def clean(self) -> bool:
        """Whether there is nothing left to mend."""
        return sum(self.counts.values()) == self.mended


@dataclass(frozen=True, slots=True)
class FailedDeletion:
    """Bytes that should be gone and are not, because the last attempt to delete them failed."""

    location: str
    reason: str
    attempts: int


@dataclass(frozen=True, slots=True)
class ScopeStats:
    """What one scope holds: `size` counts a location once, however many of its refs are here."""

    refs: int = 0
    files: int = 0
    size: int = 0


@dataclass(frozen=True, slots=True)
class Stats:
    """The store in numbers; sizes are bytes.

    `files` counts locations with a live ref, each either `owned` or `borrowed`. `condemned` ones have
    no ref left and still wait for their deletion, because a lease holds them or because deleting
    failed (`failed` names each of these, at most the first 1,000). `leases` counts the live leases and
    `leased` the locations that they hold. `saved` is what refs that share a blob would take if each had
    its own. `variants` are pictures made from others; they count for the limits, and not in `files`.
    """

    refs: int = 0
    scopes: int = 0
    files: int = 0
    size: int = 0
    owned: int = 0
    borrowed: int = 0
    condemned: int = 0
    condemned_size: int = 0
    leases: int = 0
    leased: int = 0
    saved: int = 0
    variants: int = 0
    variants_size: int = 0
    oldest: datetime | None = None
    failed: tuple[FailedDeletion, ...] = ()
    by_scope: Mapping[str, ScopeStats] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class SweepReport:
    """What a sweep did, or with `dry_run` would do.

    `expired` counts refs; `deleted` counts files, `freed` their bytes. `failed` names each file whose
    deletion failed; the next sweep tries again. `temps` counts leftovers of writers that died.
    """

    expired: int = 0
    deleted: int = 0
    freed: int = 0
    temps: int = 0
    failed: tuple[FailedDeletion, ...] = ()


LONGEST_SECONDS = 100 * 365.25 * 86_400
"""The longest amount of time that is taken for one, and not for a slip."""


def seconds_of(name: str, amount: timedelta | float) -> float:
    """Return the positive `amount` of time in seconds; `name` is for the error message.

    Raises:
        ValueError: the amount is zero or negative, not a number, or more than 100 years.
    """
    seconds = amount.total_seconds() if isinstance(amount, timedelta) else float(amount)
    if not (0 < seconds <= LONGEST_SECONDS):
        raise ValueError(
            f"{name} must be a positive amount of time of at most 100 years, not {amount!r}"
        )
    return seconds
