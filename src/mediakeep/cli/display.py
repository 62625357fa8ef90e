"""What people and programs get to read: aligned text, and JSON.

Every text that came from outside goes through `plain` on its way to people. JSON is ASCII.
"""

import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from itertools import chain, islice
from typing import TYPE_CHECKING, Any, TextIO

import click

from mediakeep.cli import plain

if TYPE_CHECKING:
    from rich.progress import Progress, ProgressColumn

    from mediakeep.model import Entry
    from mediakeep.store import MediaStore

HEADINGS = ("REF", "SIZE", "AGE", "EXPIRES", "REFS", "KEPT", "TYPE", "SCOPE", "NAME")

_LOOK_AHEAD = 500  # rows that decide how wide the columns are, so that any number can follow
_WIDEST = 44  # a ref


def on_terminal(stream: TextIO | None) -> bool:
    """Return whether somebody reads `stream` on a terminal."""
    return stream is not None and stream.isatty()


def size_text(size: int) -> str:
    """Return a number of bytes for people.

    >>> size_text(999), size_text(1536), size_text(5 << 30)
    ('999 B', '1.5 KiB', '5.0 GiB')
    """
    if size < 1024:
        return f"{size} B"
    power = min((size.bit_length() - 1) // 10, 5)
    return f"{size / (1 << 10 * power):.1f} {'KMGTP'[power - 1]}iB"


def span_text(span: timedelta) -> str:
    """Return a span of time for people, in one unit; never a negative one.

    >>> span_text(timedelta(minutes=90)), span_text(timedelta(days=3))
    ('90m', '3d')
    """
    seconds = max(0, int(span.total_seconds()))
    for unit, length, end in (("s", 1, 120), ("m", 60, 7_200), ("h", 3_600, 172_800)):
        if seconds < end:
            return f"{seconds // length}{unit}"
    return f"{seconds // 86_400}d"


def moment_text(moment: datetime) -> str:
    """Return a moment for people, in the time zone of the machine."""
    return moment.astimezone().isoformat(" ", "seconds")


def count_text(count: int, what: str) -> str:
    """Return `count` of `what`, as in `1 file` and `2 files`."""
    return f"{count} {what}{'' if count == 1 else 's'}"


# -- JSON


def to_json(value: object) -> str:
    """Return `value` as indented JSON in ASCII, which is safe for a terminal too."""
    import json

    # The one control character that JSON leaves as it is.
    return json.dumps(value, indent=2, default=_as_text).replace("\x7f", "\\u007f")


def echo_json_list(values: Iterable[object]) -> None:
    """Print `values` as one JSON list, without ever holding more than one of them."""
    opening = "["
    for value in values:
        click.echo(f"{opening}\n  {to_json(value).replace(chr(10), chr(10) + '  ')}", nl=False)
        opening = ","
    click.echo("[]" if opening == "[" else "\n]")


def _as_text(value: object) -> str:
    return value.isoformat() if isinstance(value, datetime) else str(value)


def entry_json(entry: "Entry") -> dict[str, Any]:
    """Return all that is known of a ref, as every command gives it."""
    return {
        "ref": entry.ref,
        "scope": entry.scope,
        "filename": entry.meta.filename,
        "content_type": entry.meta.content_type,
        "declared_type": entry.declared_type,
        "detected_type": entry.detected_type,
        "source": entry.meta.source,
        "size": entry.size,
        "sha256": entry.sha256,
        "stored_at": entry.stored_at,
        "expires_at": entry.expires_at,
        "owned": entry.owned,
        "refs": entry.refs,
        "leases": entry.leases,
        "location": entry.location,
        "path": entry.path,
    }


# -- a list


def echo_table(entries: Iterable["Entry"]) -> None:
    """Print one aligned line per entry, the ref first; with headings on a terminal."""
    now = datetime.now(UTC)
    echo_rows((row_of(entry, now) for entry in entries), HEADINGS)


def echo_rows(rows: Iterator[Sequence[str]], headings: Sequence[str]) -> None:
    """Print one aligned line per row; with headings on a terminal."""
    first = list(islice(rows, _LOOK_AHEAD))
    if not first:
        return
    if on_terminal(sys.stdout):
        first.insert(0, headings)
    widths = [min(_WIDEST, max(map(len, column))) for column in zip(*first, strict=True)]
    widths[-1] = 0  # nothing follows the last one
    right = headings.index("SIZE")
    rows = chain(first, rows)
    while some := list(islice(rows, _LOOK_AHEAD)):
        click.echo("\n".join(_aligned(row, widths, right) for row in some))


def row_of(entry: "Entry", now: datetime) -> Sequence[str]:
    """Return the texts of an entry, as HEADINGS names them."""
    return (
        entry.ref,
        size_text(entry.size),
        span_text(now - entry.stored_at),
        _expiry(entry, now),
        str(entry.refs),
        _kept(entry),
        plain(entry.meta.content_type) or "-",
        plain(entry.scope) or "-",
        plain(entry.meta.filename) or "-",
    )


def _aligned(row: Sequence[str], widths: Sequence[int], right: int) -> str:
    cells = zip(row, widths, strict=True)
    return "  ".join(
        text.rjust(width) if column == right else text.ljust(width)
        for column, (text, width) in enumerate(cells)
    )


def _expiry(entry: "Entry", now: datetime) -> str:
    if entry.expires_at is None:
        return "-"
    return span_text(entry.expires_at - now) if entry.expires_at > now else "due"


def _kept(entry: "Entry") -> str:
    return ("owned" if entry.owned else "borrowed") + (",leased" if entry.leases else "")


# -- one entry


def place_text(entry: "Entry") -> str:
    """Return the path of a file, or the key of one that is in a bucket, for people."""
    return plain(entry.location if entry.path is None else str(entry.path))


def is_elsewhere(store: "MediaStore", entry: "Entry") -> bool:
    """Return whether the file was registered where it lies, on another host."""
    from mediakeep.errors import MediaElsewhere, UnknownRef

    if os.path.isabs(entry.location):
        try:
            store.resolve(entry.ref)
        except MediaElsewhere:
            return True
        except UnknownRef:  # ended since
            return False
    return False


def entry_lines(entry: "Entry", *, elsewhere: bool) -> Iterator[str]:
    """Yield what is known of one ref, for people; its file may be `elsewhere`."""
    now = datetime.now(UTC)
    size = size_text(entry.size)
    shown = {
        "ref": entry.ref,
        "scope": plain(entry.scope) or "-",
        "name": plain(entry.meta.filename) or "-",
        "type": plain(entry.meta.content_type) or "-",
        "source": plain(entry.meta.source) or "-",
        "size": size if size.endswith(" B") else f"{size} ({entry.size} bytes)",
        "sha256": entry.sha256 or "- (registered in place)",
        "stored": f"{moment_text(entry.stored_at)} ({span_text(now - entry.stored_at)} ago)",
        "expires": "never by itself: ends with its scope",
        "kept": "owned: deleted when its last ref has ended"
        if entry.owned
        else "borrowed: never deleted",
        "refs": str(entry.refs),
        "leases": str(entry.leases),
        "path": f"- (in the bucket as {plain(entry.location)}; `mediakeep resolve` makes a copy here)"
        if entry.path is None
        else plain(str(entry.path)),
    }
    if entry.expires_at is not None:
        left = _expiry(entry, now)
        when = "due: ends with the next sweep" if left == "due" else f"in {left}"
        shown["expires"] = f"{moment_text(entry.expires_at)} ({when})"
    if entry.declared_type not in ("", entry.meta.content_type):
        shown["type"] += f" (declared as {plain(entry.declared_type)})"
    if not entry.leases:
        del shown["leases"]
    if elsewhere:
        shown["path"] += " (on another host, where it was registered)"
    elif entry.path is not None and not os.path.lexists(entry.path):
        shown["path"] += " (nothing is there: somebody deleted it)"
    return block(shown)


def block(shown: dict[str, str]) -> Iterator[str]:
    """Yield a line for each name and text, the texts aligned."""
    width = max(map(len, shown))
    return (f"{name.ljust(width)}  {text}" for name, text in shown.items())


# -- a bar


def bar_on_stderr(*columns: "ProgressColumn") -> "Progress":
    """Return a bar that is shown on standard error and leaves nothing there."""
    from rich.console import Console
    from rich.progress import Progress

    # Standard output is for results: without the last two rich would take it over.
    return Progress(
        *columns,
        console=Console(stderr=True),
        transient=True,
        redirect_stdout=False,
        redirect_stderr=False,
    )
