"""`erase`: a user's files are to go now, and somebody wants to know that they have."""

import sys
from collections.abc import Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import click

from mediakeep.cli import REFUSED, complain, plain
from mediakeep.cli.display import count_text, on_terminal, size_text, to_json
from mediakeep.cli.options import (
    Settings,
    complete_scopes,
    duration,
    pass_settings,
    scope_name,
    takes_json,
    takes_store,
)
from mediakeep.refs import is_ref

if TYPE_CHECKING:
    from mediakeep.model import Erased


@click.command()
@click.option("--wait", type=duration, metavar="DURATION", help="How long to wait for leases that hold "
              "a file, such as 30s. [default: refuse]")  # fmt: skip
@click.option("--dry-run", is_flag=True, help="Only say what would become of each file.")
@click.option("--yes", is_flag=True, help="Do not ask; needed where nobody can be asked.")
@click.argument("scope", type=scope_name, shell_complete=complete_scopes)
@takes_store
@takes_json
@pass_settings
def erase(settings: Settings, scope: str, *, wait: timedelta | None, dry_run: bool, yes: bool) -> None:
    """End a scope, delete its files now, and report on each.

    For a user's request to be forgotten. The scopes below it (SCOPE:...) end too. A file is kept if it
    is borrowed, or if another scope has a ref of it; the report says so. While somebody holds a lease on
    a file nothing is erased, unless you --wait for the lease to end: the refs end at once then, so that
    no new lease can begin.

    \b
      mediakeep erase telegram:42 --dry-run
      mediakeep erase telegram:42 --wait 30s --yes

    Exit codes: 0 erased, 1 nothing was there, refused, or a file could not be deleted.
    """  # noqa: D301
    if not scope:
        raise click.UsageError("an empty scope is not erased: name one")
    if is_ref(scope):
        raise click.UsageError("erase takes a scope: for a ref use `mediakeep release`")
    if not (dry_run or yes or on_terminal(sys.stdin)):
        raise click.UsageError(
            "erasing cannot be undone, and nobody is here to be asked: say --yes, "
            "or look first with --dry-run"
        )
    from mediakeep.erasing import foresee

    with settings.opened() as store:
        report = foresee(store.entries(scope, nested=True))
        if report and not (dry_run or yes or _agreed(_question(scope, report))):
            raise click.ClickException("nothing was erased")
        if not dry_run:
            report = store.erase(scope, wait=wait)
    if not report:
        raise click.ClickException(f"nothing in scope {scope!r} or below: see `mediakeep scopes`")
    if settings.json:
        click.echo(to_json(_report_json(scope, report, dry_run=dry_run)))
    else:
        click.echo(
            "\n".join((*(_line(it, dry_run=dry_run) for it in report), _summary(report, dry_run)))
        )
    failed = _having("failed", report)
    if failed:
        complain(
            f"{count_text(len(failed), 'file')} could not be deleted: mend that, "
            "then run `mediakeep sweep`"
        )
        raise click.exceptions.Exit(REFUSED)


def _question(scope: str, report: "Sequence[Erased]") -> str:
    refs = count_text(sum(it.refs for it in report), "ref")
    going = [it for it in report if not it.result.startswith("kept")]
    files = f"{count_text(len(going), 'file')} ({size_text(sum(it.size for it in going))})"
    return plain(f"End {refs} of {scope!r} and below, and delete {files}? [y/N] ")


def _agreed(question: str) -> bool:
    # Not click's own way to ask, which puts a space into standard output.
    click.echo(question, nl=False, err=True)
    return sys.stdin.readline().strip().lower() in ("y", "yes")


def _having(result: str, report: "Sequence[Erased]") -> "list[Erased]":
    return [it for it in report if _result(it)[0] == result]


def _result(erased: "Erased") -> tuple[str, str]:
    """Return what became of a file, and why."""
    result, _, why = erased.result.partition(": ")
    return result, why


_WOULD = {"deleted": "would delete", "kept": "would keep", "leased": "is leased"}


def _line(erased: "Erased", *, dry_run: bool) -> str:
    result, why = _result(erased)
    shown = f"{_WOULD[result]:<12}" if dry_run else f"{result:<7}"
    reason = f"  ({why})" if why else ""
    return plain(f"{shown}  {erased.location}  {size_text(erased.size)}{reason}")


def _summary(report: "Sequence[Erased]", dry_run: bool) -> str:
    deleted = _having("deleted", report)
    size = size_text(sum(it.size for it in deleted))
    numbers = [
        f"{count_text(len(deleted), 'file')} deleted ({size})",
        f"{len(_having('kept', report))} kept",
    ]
    for result, text in (("failed", "not deleted"), ("leased", "leased")):
        if some := _having(result, report):
            numbers.append(f"{len(some)} {text}")
    refs = count_text(sum(it.refs for it in report), "ref")
    return f"{'would erase' if dry_run else 'erased'} {refs}: {', '.join(numbers)}"


def _report_json(scope: str, report: "Sequence[Erased]", *, dry_run: bool) -> dict[str, Any]:
    return {
        "dry_run": dry_run,
        "scope": scope,
        "refs": sum(it.refs for it in report),
        "freed": sum(it.size for it in _having("deleted", report)),
        "files": [
            {"location": it.location, "size": it.size, "refs": it.refs, "result": result, "why": why}
            for it in report
            for result, why in (_result(it),)
        ],
    }
