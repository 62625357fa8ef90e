"""`release` and `sweep`: what ends, which files go with it, which stay and why."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import click

from mediakeep.cli import REFUSED, complain
from mediakeep.cli.display import count_text, place_text, size_text, to_json
from mediakeep.cli.options import (
    Settings,
    complete_scopes_and_refs,
    duration,
    pass_settings,
    scope_name,
    takes_json,
    takes_store,
)
from mediakeep.refs import is_ref

if TYPE_CHECKING:
    from mediakeep.model import Entry, FailedDeletion, SweepReport


@click.command()
@click.option("--nested", is_flag=True, help="Also end the scopes below SCOPE (SCOPE:...).")
@click.option("--dry-run", is_flag=True, help="Only say what would end, go and stay.")
@click.argument("target", metavar="SCOPE|REF", type=scope_name, shell_complete=complete_scopes_and_refs)
@takes_store
@takes_json
@pass_settings
def release(settings: Settings, target: str, *, nested: bool, dry_run: bool) -> None:
    """End a scope with all its refs, or a single ref.

    Files whose last ref that was are deleted, unless they are borrowed.

    \b
      mediakeep release telegram:42 --nested --dry-run
      mediakeep release media://...
    """  # noqa: D301
    if not target:
        raise click.UsageError(
            "an empty scope is not released: name one, or release its refs one by one"
        )
    if nested and is_ref(target):
        raise click.UsageError("--nested goes with a scope, not with a ref")
    with settings.opened() as store:
        if is_ref(target):
            plan = plan_release([store.entry(target)])
        else:
            plan = plan_release(store.entries(target, nested=nested))
            if not plan.refs:
                below = not nested and any(store.entries(target, nested=True))
                remedy = "add --nested to end those below it" if below else "see `mediakeep scopes`"
                raise click.ClickException(f"nothing in scope {target!r}: {remedy}")
        if not dry_run:
            if is_ref(target):
                store.release(target)
            else:
                store.release_all(target, nested=nested)
            plan.note_failures(store.stats().failed)
    if settings.json:
        click.echo(to_json(plan_json(plan, dry_run=dry_run)))
    else:
        click.echo("\n".join((*(plan_lines(plan) if dry_run else ()), summary(plan, dry_run=dry_run))))
    fail_if_any(plan.failed)


@click.command()
@click.option("--max-age", type=duration, help="Also end refs without a --ttl that are older than this.")
@click.option("--dry-run", is_flag=True, help="Only say how many would end and go.")
@takes_store
@takes_json
@pass_settings
def sweep(settings: Settings, max_age: timedelta | None, *, dry_run: bool) -> None:
    """End what is past its time, and delete it.

    Refs end that have outlived their time to live; files go that no ref needs any more. It also tries
    again what could not be deleted before. Run it now and then, for instance from cron.
    """
    with settings.opened(max_age=max_age) as store:
        report = store.sweep(dry_run=dry_run)
    if settings.json:
        click.echo(to_json({"dry_run": dry_run, **asdict(report)}))
    else:
        click.echo(_sweep_text(report, dry_run=dry_run))
    fail_if_any(report.failed)


def _sweep_text(report: "SweepReport", *, dry_run: bool) -> str:
    refs, size = count_text(report.expired, "ref"), size_text(report.freed)
    files, leftovers = count_text(report.deleted, "file"), count_text(report.temps, "leftover")
    if dry_run:
        return (
            f"would expire {refs} and what only they need, and delete {files} ({size}) condemned before"
        )
    return f"swept: {refs} expired, {files} deleted ({size}), {leftovers} removed"


def fail_if_any(failed: "Sequence[FailedDeletion]") -> None:
    """Complain of each deletion that failed, and exit with 1 if there are any."""
    for each in failed:
        complain(
            f"cannot delete {each.location}: {each.reason} (attempt {each.attempts}); "
            "mend that, then run `mediakeep sweep`"
        )
    if failed:
        raise click.exceptions.Exit(REFUSED)


@dataclass(slots=True)
class Plan:
    """The refs that end, and the files whose fate that decides."""

    refs: list[str] = field(default_factory=list)
    deleted: list["Entry"] = field(default_factory=list)
    kept: list[tuple["Entry", str]] = field(default_factory=list)
    """Each with the reason."""
    failed: list["FailedDeletion"] = field(default_factory=list)
    """What could not be deleted when it was tried."""

    @property
    def freed(self) -> int:
        """How many bytes go."""
        return sum(entry.size for entry in self.deleted)

    def note_failures(self, failed: Iterable["FailedDeletion"]) -> None:
        """Take those files off the deleted ones that are among the `failed`."""
        mine = {entry.location for entry in self.deleted}
        self.failed = [each for each in failed if each.location in mine]
        gone_wrong = {each.location for each in self.failed}
        self.deleted = [each for each in self.deleted if each.location not in gone_wrong]


def plan_release(entries: Iterable["Entry"]) -> Plan:
    """Return what happens if the refs of `entries` end, and nobody else does anything meanwhile."""
    from mediakeep.fates import fates_of

    ending = list(entries)
    plan = Plan([entry.ref for entry in ending])
    for fate in fates_of(ending):
        entry = fate.entry
        match fate.kept_by:
            case "others":
                plan.kept.append((entry, f"shared with {count_text(fate.others, 'other ref')}"))
            case "borrowed":
                plan.kept.append((entry, "borrowed"))
            case "leased":
                times = count_text(entry.leases, "time")
                plan.kept.append((entry, f"leased {times}: goes when that ends"))
            case _:
                plan.deleted.append(entry)
    return plan


def plan_lines(plan: Plan) -> Iterator[str]:
    """Yield each ref and file of a release that is not done."""
    for ref in plan.refs:
        yield f"would end     {ref}"
    for entry in plan.deleted:
        yield f"would delete  {place_text(entry)}  {size_text(entry.size)}"
    for entry, why in plan.kept:
        yield f"would keep    {place_text(entry)}  {size_text(entry.size)}  ({why})"


def summary(plan: Plan, *, dry_run: bool) -> str:
    """Return a release in one line."""
    ended = f"{'would release' if dry_run else 'released'} {count_text(len(plan.refs), 'ref')}"
    deleted = f"{count_text(len(plan.deleted), 'file')} deleted ({size_text(plan.freed)})"
    failed = f", {len(plan.failed)} not deleted" if plan.failed else ""
    return f"{ended}: {deleted}, {len(plan.kept)} kept{failed}"


def plan_json(plan: Plan, *, dry_run: bool) -> dict[str, Any]:
    """Return a release for a program."""
    return {
        "dry_run": dry_run,
        "refs": plan.refs,
        "deleted": [
            {"path": each.path, "location": each.location, "size": each.size} for each in plan.deleted
        ],
        "freed": plan.freed,
        "kept": [
            {"path": each.path, "location": each.location, "size": each.size, "why": why}
            for each, why in plan.kept
        ],
        "failed": [asdict(each) for each in plan.failed],
    }
