"""The scopes as a tree: `:` separates their levels."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from mediakeep.cli import plain
from mediakeep.cli.display import count_text, entry_json, row_of, size_text

if TYPE_CHECKING:
    from mediakeep.model import Entry

_LEVELS = 100  # of a scope that are unfolded: deeper ones stay in one piece


@dataclass(slots=True)
class Branch:
    """One level of the scopes, with all that lies at it and below it."""

    scope: str = ""
    name: str = ""
    refs: int = 0
    files: dict[str, int] = field(default_factory=dict)
    """Size by location, so that a file counts once however many refs share it."""
    entries: list["Entry"] = field(default_factory=list)
    below: dict[str, "Branch"] = field(default_factory=dict)

    @property
    def size(self) -> int:
        """The bytes of all files at this level and below."""
        return sum(self.files.values())


def grow(entries: Iterable["Entry"]) -> Branch:
    """Return the root of the tree that the scopes of `entries` make."""
    root = Branch()
    for entry in entries:
        branch = root
        _count(branch, entry)
        for name in entry.scope.split(":", _LEVELS):
            if name not in branch.below:
                scope = name if branch is root else f"{branch.scope}:{name}"
                branch.below[name] = Branch(scope, name)
            branch = branch.below[name]
            _count(branch, entry)
        branch.entries.append(entry)
    return root


def _count(branch: Branch, entry: "Entry") -> None:
    branch.refs += 1
    branch.files[entry.location] = entry.size


def tree_lines(branch: Branch, indent: str = "") -> Iterator[str]:
    """Yield the levels and entries below `branch`, drawn as a tree."""
    now = datetime.now(UTC)
    last = len(branch.entries) + len(branch.below) - 1
    items: list[Entry | Branch] = [*branch.entries, *branch.below.values()]
    for index, item in enumerate(items):
        stem, under = ("└── ", "    ") if index == last else ("├── ", "│   ")
        if isinstance(item, Branch):
            numbers = f"{count_text(item.refs, 'ref')}, {size_text(item.size)}"
            yield f"{indent}{stem}{plain(item.name) or '-'}  ({numbers})"
            yield from tree_lines(item, indent + under)
        else:
            ref, size, _, _, _, kept, *_, name = row_of(item, now)
            yield f"{indent}{stem}{ref}  {size}  {kept}  {name}"


def tree_json(branch: Branch) -> dict[str, Any]:
    """Return `branch` and all below it."""
    return {
        "scope": branch.scope,
        "refs": branch.refs,
        "size": branch.size,
        "entries": [entry_json(entry) for entry in branch.entries],
        "below": [tree_json(each) for each in branch.below.values()],
    }
