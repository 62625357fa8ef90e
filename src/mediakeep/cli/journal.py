"""`log`: where did my file go?"""

import heapq
import os
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from itertools import chain
from typing import TYPE_CHECKING

import click

from mediakeep.cli import complain, plain
from mediakeep.cli.display import (
    count_text,
    echo_json_list,
    echo_rows,
    is_elsewhere,
    moment_text,
    size_text,
    span_text,
)
from mediakeep.cli.options import (
    Settings,
    complete_scopes_and_refs,
    pass_settings,
    scope_name,
    takes_json,
    takes_store,
)
from mediakeep.refs import is_ref

if TYPE_CHECKING:
    from mediakeep.model import Entry, Receipt
    from mediakeep.store import MediaStore

HEADINGS = ("TIME", "WHAT", "REF", "SCOPE", "LOCATION", "SIZE", "BY", "ERROR")


@click.command()
@click.option("--limit", type=click.IntRange(min=1), default=100, show_default=True, metavar="N",
              help="List the newest N lines only.")  # fmt: skip
@click.argument(
    "target",
    metavar="[REF|SCOPE]",
    type=scope_name,
    required=False,
    shell_complete=complete_scopes_and_refs,
)
@takes_store
@takes_json
@pass_settings
def log(settings: Settings, target: str | None, *, limit: int) -> None:
    """Tell where a file went: when, why and by whom.

    The journal of the last week, newest line last: all of it, what concerns REF and its file, or what
    concerns SCOPE and the scopes below it (SCOPE:...). Of a REF that has not ended it says so.

    \b
      released    a ref was ended, by itself or with its scope
      expired     a ref had outlived its time to live
      reconciled  a ref was ended by `check --fix`: its file was gone
      deleted     the file was deleted: its last ref had ended
      failed      deleting the file failed; the last column says why

    \b
      mediakeep log media://...
      mediakeep log telegram:42 --limit 20
    """  # noqa: D301
    with settings.opened() as store:
        if target is None:
            lines, older = _newest(store.history(), limit)
        elif not is_ref(target):
            lines, older = _newest(store.history(scope=target), limit)
        else:
            lines, older = _newest(store.history(target), limit)
            live = _live(store, target, forgive=bool(lines))
            elsewhere = live is not None and is_elsewhere(store, live)
            _echo(settings, lines, older, live, elsewhere=elsewhere)
            return
    _echo(settings, lines, older, None)
    if target is not None and not lines:
        raise click.ClickException(
            f"nothing of scope {target!r} or below has ended in the last week: "
            "`mediakeep ls` lists what is live"
        )


def _newest(lines: Iterable["Receipt"], limit: int) -> tuple[list["Receipt"], int]:
    """Return the newest of `lines`, the newest last, and how many others there are."""
    total = 0
    heap: list[tuple[datetime, int, Receipt]] = []
    # The journal goes by ends, and a file may be deleted long after its last ref has ended.
    for total, line in enumerate(lines, 1):
        if len(heap) < limit:
            heapq.heappush(heap, (line.at, total, line))
        else:
            heapq.heappushpop(heap, (line.at, total, line))
    return [line for _, _, line in sorted(heap)], total - len(heap)


def _live(store: "MediaStore", ref: str, *, forgive: bool) -> "Entry | None":
    """Return the entry of `ref` if it is live; where it is not, raise why, or `forgive` it."""
    from mediakeep.errors import UnknownRef

    try:
        return store.entry(ref)
    except UnknownRef:
        if forgive:
            return None
        raise


def _echo(
    settings: Settings,
    lines: Sequence["Receipt"],
    older: int,
    live: "Entry | None",
    *,
    elsewhere: bool = False,
) -> None:
    if older:
        complain(f"{count_text(older, 'older line')} left out: --limit {older + len(lines)} lists all")
    if settings.json:
        echo_json_list(asdict(line) for line in chain(lines, [] if live is None else [_as_line(live)]))
        return
    echo_rows((_row(line) for line in lines), HEADINGS)
    if live is not None:
        click.echo(_live_text(live, elsewhere))


def _row(line: "Receipt") -> Sequence[str]:
    return (
        moment_text(line.at),
        line.what,
        line.ref or "-",
        plain(line.scope) or "-",
        plain(line.location),
        size_text(line.size),
        plain(line.by),
        plain(line.error) or "-",
    )


def _as_line(live: "Entry") -> "Receipt":
    from mediakeep.model import Receipt

    return Receipt(
        at=live.stored_at,
        what="live",
        ref=live.ref,
        scope=live.scope,
        location=live.location,
        size=live.size,
        by="",
    )


def _live_text(live: "Entry", elsewhere: bool) -> str:
    ago = span_text(datetime.now(UTC) - live.stored_at)
    since = f"{live.ref} is live since {moment_text(live.stored_at)} ({ago} ago)"
    if live.path is None:
        return plain(f"{since}: its file is in the bucket as {live.location}")
    if elsewhere:
        return plain(f"{since}: its file is {live.path} on another host, where it was registered")
    if not os.path.lexists(live.path):
        return plain(f"{since}, but nothing is at {live.path}: somebody else deleted it")
    return plain(f"{since}: its file is {live.path}")
