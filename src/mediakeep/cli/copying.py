"""`copy`: a live store into another one."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from mediakeep.cli import REFUSED, complain
from mediakeep.cli.address import Address
from mediakeep.cli.display import bar_on_stderr, count_text, on_terminal, size_text, to_json
from mediakeep.cli.options import Settings, pass_settings, takes_json

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager

    from mediakeep.copying import CopyFailure, CopyReport
    from mediakeep.store import MediaStore


@click.command()
@click.option("--from", "source", metavar="STORE", required=True, help="The store to copy from.")
@click.option("--from-blobs", metavar="PLACE", help="Where its bytes are. [default: in its folder]")
@click.option("--from-schema", metavar="NAME", help="Its schema in PostgreSQL. [default: mediakeep]")
@click.option("--to", "target", metavar="STORE", required=True, help="The store to copy into.")
@click.option("--to-blobs", metavar="PLACE", help="Where its bytes are. [default: in its folder]")
@click.option("--to-schema", metavar="NAME", help="Its schema in PostgreSQL. [default: mediakeep]")
@click.option("--dry-run", is_flag=True, help="Only say what would be copied and ended.")
@click.option("--revive", is_flag=True, help="Bring back refs that have ended in the target.")
@click.option("--jobs", type=click.IntRange(1, 64), default=8, show_default=True, metavar="N",
              help="How many files are copied at a time.")  # fmt: skip
@takes_json
@pass_settings
def copy(
    settings: Settings,
    source: str,
    from_blobs: str | None,
    from_schema: str | None,
    target: str,
    to_blobs: str | None,
    to_schema: str | None,
    *,
    dry_run: bool,
    revive: bool,
    jobs: int,
) -> None:
    """Copy all that is live in one store into another.

    Refs stay as they are: names, scopes, times, policies. Both stores may be in use. Run it again to
    copy what is new and to end what has ended since, also after it was cut off; the source is never
    changed. What is read and what is written are compared by size and sha256.

    \b
      mediakeep copy --from ./media --to postgresql://keeper@db/media \\
          --to-blobs s3://bucket/media             while the bots are at work
      (stop the bots, copy again, start them on the new store)

    A file that is only borrowed keeps its path, so copy on the machine that has it. One that the source
    owns where it lies gets a copy among the target's blobs.

    Exit codes: 0 all is there; 1 something could not be copied; 2 wrong usage.
    """  # noqa: D301
    from mediakeep.copying import copy as copy_store

    here = Address(source, from_blobs, from_schema).check()
    there = Address(target, to_blobs, to_schema).check()

    def tell(failure: "CopyFailure") -> None:
        complain(f"not copied: {failure.ref} (scope {failure.scope!r}): {failure.reason}")

    with here.opened() as old, _target(there, dry_run) as new, _bar(dry_run) as progress:
        report = copy_store(
            old, new, tell=tell, progress=progress, dry_run=dry_run, revive=revive, jobs=jobs
        )
    if settings.json:
        click.echo(to_json({"dry_run": dry_run, "from": str(here), "to": str(there), **asdict(report)}))
    else:
        click.echo("\n".join(_lines(report, dry_run=dry_run)))
    if report.failed:
        raise click.exceptions.Exit(REFUSED)


def _target(there: Address, dry_run: bool) -> "AbstractContextManager[MediaStore]":
    from mediakeep.cli.opening import is_there
    from mediakeep.opening import FileMediaStore

    # What would be copied into a store that is not there is what would be copied into an empty one.
    return FileMediaStore() if dry_run and not is_there(there) else there.opened(make=True)


@contextmanager
def _bar(dry_run: bool) -> "Iterator[Callable[[int, int], object] | None]":
    """Show how far it is, for a block, if somebody waits at a terminal."""
    if not on_terminal(sys.stderr):
        yield None
        return
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn

    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
    with bar_on_stderr(*columns) as bar:
        task = bar.add_task("looking at refs" if dry_run else "copying refs", total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


def _lines(report: "CopyReport", *, dry_run: bool) -> Iterator[str]:
    would = "would " if dry_run else ""
    files = f"{count_text(report.files, 'file')} ({size_text(report.size)})"
    yield (
        f"{would}{'copy' if dry_run else 'copied'} {count_text(report.refs, 'ref')} with {files}: "
        f"{report.there} there already, {report.ended} ended, {report.failed} failed"
    )
    if report.registered:
        yield f"{count_text(report.registered, 'ref')} of borrowed files, which stay where they are"
    if report.taken:
        yield (
            f"{count_text(report.taken, 'file')} that the source owns where they lie: the target has "
            "copies of its own"
        )
    if report.dead:
        yield (
            f"{count_text(report.dead, 'ref')} left out, since they have ended in the target "
            "(--revive brings them back)"
        )
