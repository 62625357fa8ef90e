"""The commands that only look: at one ref, at many, at the store as a whole."""

import codecs
import re
import sys
from collections import Counter
from dataclasses import asdict
from itertools import chain, islice
from typing import TYPE_CHECKING, BinaryIO

import click

from mediakeep.cli import plain
from mediakeep.cli.display import (
    block,
    count_text,
    echo_json_list,
    echo_table,
    entry_json,
    entry_lines,
    is_elsewhere,
    moment_text,
    on_terminal,
    size_text,
    to_json,
)
from mediakeep.cli.options import (
    Settings,
    complete_refs,
    complete_scopes,
    pass_settings,
    permissions,
    ref_name,
    scope_name,
    takes_json,
    takes_store,
)

if TYPE_CHECKING:
    from pathlib import Path

    from mediakeep.model import Stats

_CHUNK = 1 << 18
_REASONS = 3  # why deletions failed, that are named
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0e-\x1f\x7f-\x9f]")


@click.command()
@click.argument("ref", type=ref_name, shell_complete=complete_refs)
@takes_store
@takes_json
@pass_settings
def resolve(settings: Settings, ref: str) -> None:
    """Print the path of the file that REF names.

    For a file in a bucket that is the path of a copy on this machine, which may go when others need its
    room: export what has to stay.

    On a terminal what is not printable in it is spelled out; into a pipe it goes as it is.
    """
    with settings.opened() as store:
        path = store.resolve(ref)
    if settings.json:
        click.echo(to_json({"ref": ref, "path": path}))
    elif on_terminal(sys.stdout):
        click.echo(plain(str(path)))
    else:
        click.echo(bytes(path) + b"\n", nl=False)


@click.command()
@click.argument("ref", type=ref_name, shell_complete=complete_refs)
@takes_store
@takes_json
@pass_settings
def show(settings: Settings, ref: str) -> None:
    """Print all that is known of REF."""
    with settings.opened() as store:
        entry = store.entry(ref)
        elsewhere = is_elsewhere(store, entry)
    lines = entry_lines(entry, elsewhere=elsewhere)
    click.echo(to_json(entry_json(entry)) if settings.json else "\n".join(lines))


@click.command()
@click.option("--force", is_flag=True, help="Write to a terminal even what is not text.")
@click.argument("ref", type=ref_name, shell_complete=complete_refs)
@takes_store
@pass_settings
def cat(settings: Settings, ref: str, *, force: bool) -> None:
    """Write the bytes of REF to standard output.

    \b
      mediakeep cat media://... > photo.jpg
    """  # noqa: D301
    if settings.json:
        raise click.UsageError("cat writes the bytes as they are: for JSON use `mediakeep show --json`")
    if sys.stdout is None:
        raise click.ClickException("standard output is closed: send it to a file or a pipe")
    with settings.opened() as store:
        source = store.open(ref)
    with source:
        _copy(source, sys.stdout.buffer, text_only=on_terminal(sys.stdout) and not force)


def _copy(source: BinaryIO, target: BinaryIO, *, text_only: bool) -> None:
    """Copy all bytes, as long as they are text if they have to be."""
    decoder = codecs.getincrementaldecoder("utf-8")()
    while chunk := source.read(_CHUNK):
        if text_only:
            try:
                harmless = not _CONTROL.search(decoder.decode(chunk))
            except UnicodeDecodeError:
                harmless = False
            if not harmless:
                target.flush()
                raise click.ClickException(
                    "this is not text, and could upset your terminal: send it to a file with >, "
                    "or write it here with --force"
                )
        target.write(chunk)
    target.flush()


@click.command()
@click.option(
    "--mode",
    type=permissions,
    default="644",
    show_default=True,
    metavar="OCTAL",
    help="Permissions of the copies.",
)
@click.option(
    "--link",
    is_flag=True,
    help="Make hard links where possible: no copy, and the very same "
    "file, so that nobody may write into it.",
)
@click.argument(
    "refs", metavar="REF...", nargs=-1, required=True, type=ref_name, shell_complete=complete_refs
)
@click.argument("folder", metavar="DIR", type=click.Path(exists=True, file_okay=False))
@takes_store
@takes_json
@pass_settings
def export(settings: Settings, refs: tuple[str, ...], folder: str, *, mode: int, link: bool) -> None:
    """Give files a readable name in the folder DIR, and print their paths.

    The name is that of the file, made safe, with the ending of what its bytes are. Nothing is ever
    overwritten: a name that is taken gets a number. What is exported is yours, and stays.

    \b
      mediakeep export media://... ~/Downloads
    """  # noqa: D301
    exported: list[tuple[str, Path]] = []
    with settings.opened() as store:
        try:
            for ref in refs:
                exported.append((ref, store.export(ref, folder, mode=mode, link=link)))  # noqa: PERF401
        finally:
            if settings.json:
                echo_json_list({"ref": ref, "path": path} for ref, path in exported)
            else:
                for _, path in exported:
                    click.echo(plain(str(path)) if on_terminal(sys.stdout) else bytes(path))


@click.command()
@click.option("--tree", is_flag=True, help="Show scopes as a tree, with sums.")
@click.option("--newest", is_flag=True, help="The other way round: of each scope the newest ref first.")
@click.option("--limit", type=click.IntRange(min=1), help="How many at most.")
@click.argument("scope", type=scope_name, required=False, shell_complete=complete_scopes)
@takes_store
@takes_json
@pass_settings
def ls(settings: Settings, scope: str | None, *, tree: bool, newest: bool, limit: int | None) -> None:
    """List the live refs.

    All, or those of SCOPE and the scopes below it (SCOPE:...), by scope and then by age. One line each:
    the ref, the size, how long it has been here, in what time it expires, how many refs share the file,
    whether it is owned (deleted in the end) or borrowed, content type, scope, name.
    """
    with settings.opened() as store:
        entries = islice(store.entries(scope, nested=scope is not None, newest=newest), limit)
        first = next(entries, None)
        found = chain([] if first is None else [first], entries)
        if tree:
            from mediakeep.cli.tree import grow, tree_json, tree_lines

            root = grow(found)
            if settings.json:
                click.echo(to_json(tree_json(root)))
            elif first is not None:
                click.echo("\n".join(tree_lines(root)))
        elif settings.json:
            echo_json_list(entry_json(entry) for entry in found)
        else:
            echo_table(found)
    if first is None and scope is not None:
        raise click.ClickException(f"nothing in scope {scope!r} or below: see `mediakeep scopes`")


@click.command()
@takes_store
@takes_json
@pass_settings
def scopes(settings: Settings) -> None:
    """List the scopes that have a live ref."""
    with settings.opened() as store:
        if settings.json:
            held = store.stats(by_scope=True).by_scope
            echo_json_list({"scope": name, **asdict(numbers)} for name, numbers in held.items())
        elif names := store.scopes():
            click.echo("\n".join(plain(name) or '""' for name in names))


@click.command()
@takes_store
@takes_json
@pass_settings
def stats(settings: Settings) -> None:
    """Print the store in numbers."""
    with settings.opened() as store:
        found = store.stats()
    if settings.json:
        numbers = asdict(found)
        del numbers["by_scope"]  # that is what `scopes --json` gives
        address = settings.address()
        click.echo(to_json({"store": str(address), "blobs": address.bytes_shown(), **numbers}))
    else:
        click.echo("\n".join(block(_stats_text(settings, found))))


def _stats_text(settings: Settings, stats: "Stats") -> dict[str, str]:
    address = settings.address()
    condemned = f"{stats.condemned}, {size_text(stats.condemned_size)}"
    return {
        "store": plain(str(address)),
        **({} if address.blobs is None else {"blobs": plain(address.bytes_shown())}),
        "refs": f"{stats.refs} in {count_text(stats.scopes, 'scope')}",
        "files": f"{stats.files}, {size_text(stats.size)}",
        "owned": f"{stats.owned} (deleted when their last ref has ended)",
        "borrowed": f"{stats.borrowed} (never deleted)",
        "saved": size_text(stats.saved) + (" (refs share the same bytes)" if stats.saved else ""),
        "variants": f"{stats.variants}, {size_text(stats.variants_size)}" if stats.variants else "0",
        "leases": f"{stats.leases} on {count_text(stats.leased, 'file')}" if stats.leases else "0",
        "condemned": f"{condemned} (wait for deletion)" if stats.condemned else "0",
        "failed": _failed_text(stats),
        "oldest": "-" if stats.oldest is None else moment_text(stats.oldest),
    }


def _failed_text(stats: "Stats") -> str:
    """Return how many deletions failed, and the most frequent reasons."""
    if not stats.failed:
        return "0"
    reasons = Counter(each.reason for each in stats.failed)
    named = [f"{count} x {plain(reason)}" for reason, count in reasons.most_common(_REASONS)]
    more = len(reasons) - len(named)
    return "; ".join(
        (
            f"{len(stats.failed)} (`mediakeep sweep` tries again): {named[0]}",
            *named[1:],
            *([f"{count_text(more, 'other reason')}: see --json"] if more else ()),
        )
    )
