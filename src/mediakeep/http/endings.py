"""What ends with a release: which files go, which stay, and why."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

from mediakeep.fates import fates_of
from mediakeep.http.entries import id_of
from mediakeep.http.grants import Grant
from mediakeep.model import Entry

MOST_NAMED = 1000
"""How many files an answer names; the numbers count all."""

MOST_PLANNED = 100_000
"""Of how many refs it is told what becomes of their files: each takes some memory."""

PLAN_SCHEMA: dict[str, Any] = {
    "type": "object",
    "required": ["dry_run", "refs", "files"],
    "properties": {
        "dry_run": {"type": "boolean"},
        "refs": {"type": "integer", "description": "how many refs end"},
        "files": {
            "type": ["object", "null"],
            "description": (
                "what becomes of their files; null for a token that does not see all scopes, "
                f"and for more than {MOST_PLANNED} refs"
            ),
            "properties": {
                "deleted": {"type": "integer"},
                "freed": {"type": "integer", "description": "bytes"},
                "kept": {
                    "type": "array",
                    "items": {
                        "type": "object",
                        "properties": {"id": {"type": "string"}, "why": {"type": "string"}},
                    },
                },
            },
        },
    },
}


@dataclass(slots=True)
class Plan:
    """What happens if some refs end, and nobody else does anything meanwhile."""

    refs: int = 0
    deleted: int = 0
    freed: int = 0
    kept: list[tuple[Entry, str]] = field(default_factory=list)
    whole: bool = True
    """Whether there were few enough to tell."""

    def json(self, grant: Grant, *, dry_run: bool) -> dict[str, Any]:
        """Return it as it is told to who has this `grant`.

        Whether a file goes or stays tells whether another scope has the same.
        """
        files = None
        if grant.sees_all and self.whole:
            kept = [{"id": id_of(entry.ref), "why": why} for entry, why in self.kept[:MOST_NAMED]]
            files = {"deleted": self.deleted, "freed": self.freed, "kept": kept}
        return {"dry_run": dry_run, "refs": self.refs, "files": files}


def plan_of(entries: Iterable[Entry]) -> Plan:
    """Return what becomes of the files of `entries` if these end."""
    rest = iter(entries)
    planned = list(islice(rest, MOST_PLANNED + 1))
    plan = Plan(refs=len(planned) + sum(1 for _ in rest), whole=len(planned) <= MOST_PLANNED)
    if not plan.whole:
        return plan
    for fate in fates_of(planned):
        entry, others = fate.entry, fate.others
        match fate.kept_by:
            case "others":
                why = f"shared with {others} other ref{'s' if others > 1 else ''}"
                plan.kept.append((entry, why))
            case "borrowed":
                plan.kept.append((entry, "borrowed"))
            case "leased":
                plan.kept.append((entry, "leased: it goes when that ends"))
            case _:
                plan.deleted += 1
                plan.freed += entry.size
    return plan
