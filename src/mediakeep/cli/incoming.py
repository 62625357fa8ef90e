"""`put` and `add`: all files are looked at first, and what was stored is always said."""

import os
import stat
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from datetime import timedelta
from typing import TYPE_CHECKING, BinaryIO

import click

from mediakeep.cli import REFUSED, complain
from mediakeep.cli.display import bar_on_stderr, entry_json, on_terminal, to_json
from mediakeep.cli.options import (
    Command,
    Settings,
    complete_scopes,
    duration,
    pass_settings,
    scope_name,
    takes_json,
    takes_store,
)

if TYPE_CHECKING:
    from mediakeep.model import Entry, MediaMeta
    from mediakeep.store import MediaStore

STANDARD_INPUT = "-"

MANY_FILES = 20
LARGE_BYTES = 16 << 20
"""Beyond either of these a progress bar is shown."""

_CHUNK = 1 << 20

Feed = Callable[[BinaryIO], Iterable[bytes]]
"""Reads a file in chunks, and may tell somebody how far it is."""


def _takes_files(command: Command) -> Command:
    """Let a command take files and what is said of them."""
    for option in (
        click.option("--type", "content_type", metavar="TYPE", help="Content type, such as image/jpeg. "
                     "[default: guessed from the name]"),
        click.option("--filename", help="The name to keep for a single file. [default: its own]"),
        click.option("--source", default="cli", show_default=True, help="Where it comes from."),
        click.option("--ttl", type=duration, help="End the ref after this time: 90s, 30m, 2h, 7d, "
                     "1w, 1d12h. [default: when its scope ends]"),
        click.option("--scope", type=scope_name, metavar="SCOPE", shell_complete=complete_scopes,
                     help="What it belongs to and ends with, such as telegram:42:7. Required."),
        click.argument("files", metavar="FILE...", nargs=-1, required=True,
                       type=click.Path(readable=False, allow_dash=True)),
    ):  # fmt: skip
        command = option(command)
    return command


@click.command()
@_takes_files
@takes_store
@takes_json
@pass_settings
def put(
    settings: Settings,
    /,
    files: tuple[str, ...],
    scope: str | None,
    ttl: timedelta | None,
    **said: str | None,
) -> None:
    """Copy files into the store and print a ref for each.

    The copies are the store's own: yours stay as they are. FILE can be - for standard input. If one
    of the files is missing or is no regular file, nothing is stored.

    \b
      mediakeep put cat.jpg dog.jpg --scope telegram:42:7 --ttl 2h
      curl -s URL | mediakeep put - --scope fetch:1 --filename page.html
    """  # noqa: D301
    scope = _checked(files, scope, said)
    if files.count(STANDARD_INPUT) > 1:
        raise click.UsageError("standard input can be read only once: give - a single time")
    total = _check_files(files)
    with settings.opened(make=True) as store:

        def put_one(file: str, feed: Feed) -> str:
            with _open_source(file) as source:
                return store.put(feed(source), _meta(file, said), scope, ttl=ttl)

        _store_each(files, store, settings, put_one, total=total)


@click.command()
@click.option("--borrow/--own", default=True, help="Never delete the file, or delete it when its last "
              "ref has ended. [default: borrow]")  # fmt: skip
@_takes_files
@takes_store
@takes_json
@pass_settings
def add(
    settings: Settings,
    /,
    files: tuple[str, ...],
    scope: str | None,
    ttl: timedelta | None,
    *,
    borrow: bool,
    **said: str | None,
) -> None:
    """Register files where they lie and print a ref for each.

    Nothing is copied or moved. The files are only borrowed, that is never deleted, unless you give
    them to the store with --own.

    \b
      mediakeep add report.pdf --scope task:9             borrowed: it stays for ever
      mediakeep add /tmp/voice.ogg --scope task:9 --own   deleted when task:9 is released
    """  # noqa: D301
    scope = _checked(files, scope, said)
    if STANDARD_INPUT in files:
        raise click.UsageError("standard input lies nowhere: use `mediakeep put -`")
    _check_files(files)
    with settings.opened(make=True) as store:

        def add_one(file: str, _: Feed) -> str:
            return store.store(file, _meta(file, said, owned=not borrow), scope, ttl=ttl)

        _store_each(files, store, settings, add_one)


def _checked(files: tuple[str, ...], scope: str | None, said: dict[str, str | None]) -> str:
    """Return the scope, which must be there."""
    if not scope:
        raise click.UsageError(
            "--scope is missing: it names what the file belongs to and ends with, "
            "such as --scope telegram:42:7"
        )
    if said["filename"] is not None and len(files) > 1:
        raise click.UsageError(
            "--filename names a single file: put the others with a command of their own"
        )
    return scope


def _meta(file: str, said: dict[str, str | None], *, owned: bool = True) -> "MediaMeta":
    """Return what is said of `file`, and what can be guessed where nothing is said."""
    from mediakeep.model import CleanupPolicy, MediaMeta

    name, content_type = said["filename"], said["content_type"]
    if name is None:
        name = "" if file == STANDARD_INPUT else os.path.basename(file)
    return MediaMeta(
        filename=name,
        content_type=_type_of(name) if content_type is None else content_type,
        source=said["source"] or "",
        cleanup_policy=CleanupPolicy.DELETE_ON_CLEANUP if owned else CleanupPolicy.FORGET_ONLY,
    )


def _type_of(name: str) -> str:
    """Return the content type that a name suggests, or an empty string."""
    import mimetypes

    # Only the endings: mimetypes would read the whole name as a URL.
    stem, ending = os.path.splitext(name)
    content_type, packed = mimetypes.guess_type(f"file{os.path.splitext(stem)[1]}{ending}")
    return f"application/{packed}" if packed else content_type or ""


def _check_files(files: Sequence[str]) -> int:
    """Return the size in bytes of all `files` together, if each is a regular file that can be read.

    Raises:
        click.exceptions.Exit: one is not, which has been said of each.
    """
    total, refused = 0, 0
    for file in files:
        if file == STANDARD_INPUT:
            continue
        reason = ""
        try:
            found = os.stat(file)
        except OSError as error:
            reason = error.strerror or str(error)
        else:
            total += found.st_size
            if stat.S_ISDIR(found.st_mode):
                reason = "is a directory: name the files in it"
            elif not stat.S_ISREG(found.st_mode):
                reason = "is not a regular file: pipe it into `mediakeep put -`"
            elif not os.access(file, os.R_OK):
                reason = "cannot be read by you"
        if reason:
            refused += 1
            complain(f"{file}: {reason}; nothing was stored")
    if refused:
        raise click.exceptions.Exit(REFUSED)
    return total


def _store_each(
    files: Sequence[str],
    store: "MediaStore",
    settings: Settings,
    store_one: Callable[[str, Feed], str],
    *,
    total: int = 0,
) -> None:
    """Store `files` one after the other, and print their refs.

    If one fails the rest is not tried; then, as at the end, what was stored and what was not is said.
    Where `total` bytes are to be read, a bar shows how far it is if they, or the files, are many.
    """
    stored: list[tuple[str, Entry]] = []
    large = total > LARGE_BYTES or (total > 0 and len(files) > MANY_FILES)
    bar = large and on_terminal(sys.stderr)
    at_once = not settings.json and not (bar and on_terminal(sys.stdout))
    try:
        with _progress(len(files), total) if bar else nullcontext(_read_chunks) as feed:
            for file in files:
                ref = store_one(file, feed)
                stored.append((file, store.entry(ref)))
                if at_once:
                    click.echo(ref)
    finally:
        left = files[len(stored) :]
        if settings.json:
            refs = [{"file": file, **entry_json(entry)} for file, entry in stored]
            click.echo(to_json({"stored": refs, "not_stored": left}))
        elif not at_once:
            for _, entry in stored:
                click.echo(entry.ref)
        if left and len(files) > 1:
            complain(f"stored {len(stored)} of {len(files)} files; not stored: {', '.join(left)}")


@contextmanager
def _open_source(file: str) -> Iterator[BinaryIO]:
    """Open `file` for a block; `-` is standard input, which stays open."""
    from mediakeep.files import open_regular

    if file != STANDARD_INPUT:
        with open_regular(file) as source:
            yield source
    elif sys.stdin is None:
        raise click.ClickException("standard input is closed: pipe something into it, or name a file")
    else:
        yield sys.stdin.buffer


def _read_chunks(source: BinaryIO) -> Iterator[bytes]:
    """Yield the bytes of `source`, a chunk at a time."""
    while chunk := source.read(_CHUNK):
        yield chunk


@contextmanager
def _progress(files: int, total: int) -> Iterator[Feed]:
    """Show a bar on standard error for a block, and give what moves it."""
    from rich.progress import BarColumn, DownloadColumn, TextColumn, TimeRemainingColumn

    begun = 0
    columns = TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TimeRemainingColumn()
    with bar_on_stderr(*columns) as bar:
        task = bar.add_task("", total=total)

        def feed(source: BinaryIO) -> Iterator[bytes]:
            nonlocal begun
            begun += 1
            bar.update(task, description=f"file {begun} of {files}")
            for chunk in _read_chunks(source):
                yield chunk
                bar.advance(task, len(chunk))

        yield feed
