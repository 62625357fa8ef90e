"""What catalogs take and give: refs as they are written down, and what became of them."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import NamedTuple

from mediakeep.errors import (
    RefExpired,
    RefReconciled,
    RefReleased,
    UnknownRef,
)
from mediakeep.model import FailedDeletion, MediaMeta


class Why(StrEnum):
    """Why a ref ended."""

    RELEASED = "released"
    EXPIRED = "expired"
    RECONCILED = "reconciled"

    def error(self, ref: str, scope: str) -> UnknownRef:
        """Return the error that a look-up of the dead `ref` raises."""
        kinds = {Why.EXPIRED: RefExpired, Why.RECONCILED: RefReconciled}
        return kinds.get(self, RefReleased)(ref, scope=scope)


@dataclass(slots=True)
class Registration:
    """One ref as the catalog keeps it; nobody changes it once it is written down.

    `location` is a canonical local path (absolute) or the key of a blob (never absolute). `given` is the
    absolute path that the caller gave for a local file, and None for a blob, whose folder may move.
    """

    ref: str
    scope: str
    location: str
    given: str | None
    meta: MediaMeta
    size: int
    sha256: str = ""
    declared: str = ""
    """The content type as it was said; that of `meta` is the one to believe."""
    detected: str = ""
    """The content type that the bytes show."""
    stored_at: float = field(default=0.0, compare=False)
    """Set by the catalog, by its clock, in whole microseconds; so is `expires_at`, in any fractions."""
    expires_at: float | None = field(default=None, compare=False)
    _path: Path | None = field(default=None, init=False, repr=False, compare=False)

    @property
    def path(self) -> Path | None:
        """The path that the caller gave; None for a blob."""
        # Made when it is first asked for, and kept: a Path takes longer to make than to look up, and
        # takes more memory than all the rest.
        if self._path is None and self.given is not None:
            self._path = Path(self.given)
        return self._path


@dataclass(slots=True)
class EndedFile:
    """A file that refs which have just ended named: how many of them, and what its location is."""

    size: int
    owned: bool
    refs: int = 0


@dataclass(slots=True)
class Ended:
    """What an end of refs did: how many ended, of which files, and the locations that it condemned."""

    refs: int = 0
    condemned: list[str] = field(default_factory=list)
    files: dict[str, EndedFile] = field(default_factory=dict)


@dataclass(slots=True)
class Reaped:
    """What a reap did: files deleted, their bytes, and what failed."""

    deleted: int = 0
    freed: int = 0
    failed: list[FailedDeletion] = field(default_factory=list)


class Place(NamedTuple):
    """A location as the catalog keeps it."""

    location: str
    size: int
    sha256: str
    condemned: bool
    leased: bool


class Use(NamedTuple):
    """How much the books name, variants and condemned locations included."""

    files: int
    size: int


class Tally(NamedTuple):
    """Refs of one scope and one sort of content type; a file counts for each of its refs."""

    scope: str
    major: str
    """What stands before the slash, such as `image`; empty for others."""
    refs: int
    size: int


class Fault(NamedTuple):
    """Something in the catalog that contradicts something else in it, or is out of date."""

    kind: str
    subject: str
    reason: str
    remedy: str


IsThere = Callable[[str], bool]
"""Says whether the bytes of a key are really there."""

HasBytes = Callable[[str, Registration], bool]
"""Says whether a key really has the bytes that a registration tells of."""

DeleteMany = Callable[[Sequence[str]], Mapping[str, OSError]]
"""Deletes the bytes of many keys; returns which could not be deleted, and why."""

ORDER_SECONDS = 1e-6
"""How much younger each ref of a batch is than the one before it, so that they stay in order."""


def moment(seconds: float) -> float:
    """Return a time in whole microseconds, so that a `datetime` keeps all of it."""
    return (seconds * 1e6 + 0.5) // 1 / 1e6
