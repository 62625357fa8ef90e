"""Who may do what: rights, and the scopes in which they hold."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import StrEnum


class Right(StrEnum):
    """What a token may be allowed to do."""

    READ = "read"
    """Bytes, entries, thumbnails, scopes, stats, history, events, leases, signed links."""
    WRITE = "write"
    """Put files into a scope, and share refs into it."""
    RELEASE = "release"
    """End refs and scopes."""
    METRICS = "metrics"
    """The numbers of the whole store for Prometheus."""
    ADMIN = "admin"
    """Erase scopes, which tells what became of each file; in all scopes also sweep and reconcile."""


@dataclass(frozen=True, slots=True)
class Allowance:
    """How much one token may ask for; None means what the server allows anybody."""

    max_body_bytes: int | None = None
    max_uploads: int | None = None
    """At a time."""
    requests_per_second: float | None = None


NO_ALLOWANCE = Allowance()


@dataclass(frozen=True, slots=True)
class Grant:
    """What somebody may do, and in which scopes.

    A pattern is a scope, or `prefix:*` for every scope that begins with `prefix:`, or `*` for all. So
    `telegram:*` is all below `telegram`, and not `telegram` itself.

    Raises:
        ValueError: a pattern has a star elsewhere than as its last level.

    >>> grant = Grant(["telegram:*", "web"], [Right.READ])
    >>> grant.sees("telegram:42:7"), grant.sees("telegram"), grant.sees("web"), grant.sees("web:1")
    (True, False, True, False)
    """

    scopes: tuple[str, ...] = ("*",)
    rights: frozenset[Right] = frozenset(Right)
    holder: str = ""
    """The id of the token; empty where nobody has to show one."""
    allowance: Allowance = NO_ALLOWANCE
    sees_all: bool = field(init=False, compare=False)
    _exact: frozenset[str] = field(init=False, repr=False, compare=False)
    _below: tuple[str, ...] = field(init=False, repr=False, compare=False)

    def __init__(
        self,
        scopes: Iterable[str] = ("*",),
        rights: Iterable[Right | str] = tuple(Right),
        holder: str = "",
        allowance: Allowance | None = None,
    ) -> None:
        patterns = tuple(scopes)
        for pattern in patterns:
            check_pattern(pattern)
        put = object.__setattr__
        put(self, "scopes", patterns)
        put(self, "rights", frozenset(map(Right, rights)))
        put(self, "holder", holder)
        put(self, "allowance", allowance or NO_ALLOWANCE)
        put(self, "sees_all", "*" in patterns)
        put(self, "_exact", frozenset(p for p in patterns if not p.endswith("*")))
        put(self, "_below", tuple(p[:-1] for p in patterns if p.endswith(":*")))

    def sees(self, scope: str) -> bool:
        """Return whether `scope` is one of its scopes."""
        return self.sees_all or scope in self._exact or scope.startswith(self._below)

    def sees_below(self, scope: str) -> bool:
        """Return whether every scope below `scope` is one of its scopes."""
        return self.sees_all or f"{scope}:".startswith(self._below)

    def can(self, right: Right) -> bool:
        """Return whether it holds this right, in its scopes."""
        return right in self.rights


def check_pattern(pattern: str) -> str:
    """Return `pattern`, if it is one of scopes."""
    stem = pattern[:-1] if pattern == "*" or pattern.endswith(":*") else pattern
    if "*" in stem or pattern == ":*":
        raise ValueError(
            f"{pattern!r} is no pattern of scopes: write a scope, 'prefix:*' for all below it, or '*'"
        )
    return pattern


EVERYTHING = Grant()
"""For who need not show a token."""
