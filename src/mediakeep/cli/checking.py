"""`check`: what the books say against what is on the disk."""

import sys
from dataclasses import asdict
from datetime import timedelta
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

import click

from mediakeep.cli import REFUSED, plain
from mediakeep.cli.display import bar_on_stderr, count_text, on_terminal, to_json
from mediakeep.cli.ending import fail_if_any
from mediakeep.cli.options import Settings, duration, pass_settings, takes_json, takes_store

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

    from mediakeep.model import Finding, ReconcileReport

MANY_FILES = 5000
"""Beyond this a progress bar is shown."""


@click.command()
@click.option("--fix", is_flag=True, help="Mend what can be mended.")
@click.option("--deep", is_flag=True, help="Also read every copy and compare its sha256; takes long.")
@click.option("--force", is_flag=True, help="With --fix: mend even if most files would be lost by it.")
@click.option("--grace", type=duration, default="1h", show_default=True, metavar="DURATION",
              help="How old a copy, or an upload, must be before it counts as abandoned.")  # fmt: skip
@takes_store
@takes_json
@pass_settings
def check(settings: Settings, *, fix: bool, deep: bool, force: bool, grace: timedelta) -> None:
    """Compare the books of the store with what is really there.

    On the disk, or in the bucket.

    One line for each thing that is not as it should be, then a sum. Nothing is changed without --fix;
    the store may be in use meanwhile. With --json the first 1,000 findings are listed, and all counted.

    \b
      missing    a file that a ref names is gone        --fix ends its refs if its folder is there
      size       a copy has another size                restore it, or release its refs
      sha256     a copy has other bytes                 restore it, or release its refs
      orphan     a copy that nothing names              --fix deletes it
      temp       left by a writer that died             --fix removes it
      upload     parts of one that was cut off          --fix aborts it
      condemned  still waits to be deleted              --fix deletes it
      upload     an upload that was cut off             --fix aborts it
      lease      of a process that died                 --fix forgets it
      books      the catalog contradicts itself         --fix puts it right

    Exit codes: 0 nothing is wrong, or all is mended; 1 something is left.
    """  # noqa: D301
    from mediakeep.errors import MediaError

    if force and not fix:
        raise click.UsageError("--force goes with --fix")
    with settings.opened() as store, _Watch() as watch:

        def tell(finding: "Finding") -> None:
            watch.pause()
            click.echo(_line(finding, fix=fix))

        try:
            report = store.reconcile(
                not fix,
                deep=deep,
                grace=grace,
                force=force,
                tell=None if settings.json else tell,
                progress=watch.move,
            )
        except MediaError as error:
            if type(error) is not MediaError:
                raise
            # The one that has no kind of its own is the refusal to lose most of the store.
            raise click.ClickException(f"{error} (--fix --force does it all the same)") from error
        failed = store.stats().failed if fix else ()
    if settings.json:
        click.echo(to_json(_report_json(report, fix=fix)))
    else:
        click.echo(_summary(report, fix=fix))
    fail_if_any(failed)
    if not report.clean:
        raise click.exceptions.Exit(REFUSED)


def _line(finding: "Finding", *, fix: bool) -> str:
    fate = "" if not fix else " (mended)" if finding.mended else " (not mended)"
    return plain(f"{finding.kind:<9}  {finding.subject}  {finding.reason}; {finding.remedy}{fate}")


def _summary(report: "ReconcileReport", *, fix: bool) -> str:
    looked = f"looked at {count_text(report.locations, 'file')} and {count_text(report.blobs, 'blob')}"
    if not report.counts:
        return f"{looked}: nothing to mend"
    counts = ", ".join(f"{count} {kind}" for kind, count in report.counts.items())
    if not fix:
        return f"{looked}: {counts} (`mediakeep check --fix` mends what can be mended)"
    left = sum(report.counts.values()) - report.mended
    return f"{looked}: {counts}; {report.mended} mended, {left} left"


def _report_json(report: "ReconcileReport", *, fix: bool) -> dict[str, Any]:
    return {
        "dry_run": not fix,
        "blobs": report.blobs,
        "locations": report.locations,
        "counts": report.counts,
        "mended": report.mended,
        "clean": report.clean,
        "findings": [asdict(finding) for finding in report.findings],
    }


class _Watch:
    """Shows how far it is, where there is much to look at and somebody who waits at a terminal."""

    def __init__(self) -> None:
        self._bar: Progress | None = None
        self._task: TaskID
        self._done = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.pause()

    def pause(self) -> None:
        """Take the bar away until it next moves, so that a line can be printed."""
        if self._bar is not None:
            self._bar.stop()

    def move(self, done: int, total: int) -> None:
        """Show that `done` of `total` places have been looked at."""
        if total <= MANY_FILES or not on_terminal(sys.stderr):
            return
        if self._bar is None:
            from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn

            text = TextColumn("{task.description}")
            self._bar = bar_on_stderr(text, BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
            self._task = self._bar.add_task("looking", total=total)
        if done < self._done:  # it looks at everything before it mends
            self._bar.reset(self._task, description="mending")
        self._done = done
        self._bar.update(self._task, completed=done, total=total)
        self._bar.start()
