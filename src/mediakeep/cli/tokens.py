"""`token`: who may ask the server."""

import sys
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from mediakeep.cli import plain
from mediakeep.cli.display import echo_json_list, moment_text, on_terminal, to_json
from mediakeep.cli.options import Settings, duration, pass_settings, takes_json, takes_store
from mediakeep.clocks import time_of
from mediakeep.http.grants import Allowance, Right, check_pattern

if TYPE_CHECKING:
    from mediakeep.http.tokens import Token, Tokens

RIGHTS = tuple(right.value for right in Right)
HEADINGS = ("ID", "NAME", "CAN", "SCOPES", "CREATED", "EXPIRES")


@click.group()
def token() -> None:
    """Make, list and revoke the tokens of `mediakeep serve`.

    \b
      mediakeep token create --scope 'telegram:*' --can read,write --ttl 30d
      mediakeep token list
      mediakeep token revoke 1a2b3c4d
    """  # noqa: D301


def _takes_state(command: Any) -> Any:
    return click.option(
        "--state",
        type=click.Path(file_okay=False, path_type=Path),
        metavar="DIR",
        envvar="MEDIAKEEP_SERVER_STATE",
        help="The folder of tokens and keys. [default: server, in the store's]",
    )(command)


def _rights(text: str) -> tuple[str, ...]:
    """Return the rights that `text` lists, with commas."""
    rights = tuple(it.strip() for it in text.split(","))
    for right in rights:
        if right not in RIGHTS:
            raise click.BadParameter(f"{right!r} is no right: there are {', '.join(RIGHTS)}")
    return rights


def _pattern(text: str) -> str:
    """Return `text`, if it is a pattern of scopes."""
    try:
        return check_pattern(text)
    except ValueError as error:
        raise click.BadParameter(str(error)) from None


@token.command()
@click.option("--scope", "scopes", multiple=True, required=True, type=_pattern, metavar="PATTERN",
              help="A scope, 'prefix:*' for all below it, or '*'; several may be given.")  # fmt: skip
@click.option("--can", "rights", required=True, type=_rights, metavar="RIGHTS",
              help=f"What it may do there, with commas: {', '.join(RIGHTS)}.")  # fmt: skip
@click.option("--ttl", type=duration, metavar="DURATION", help="How long it is valid, such as 30d. "
              "[default: until it is revoked]")  # fmt: skip
@click.option("--name", default="", help="What it is for; for people.")
@click.option("--max-body", type=click.IntRange(min=1), metavar="BYTES",
              help="The most that one of its uploads may have.")  # fmt: skip
@click.option("--max-uploads", type=click.IntRange(min=1), metavar="N",
              help="How many uploads it may have under way.")  # fmt: skip
@click.option("--rate", type=click.FloatRange(min=0, min_open=True), metavar="N",
              help="How many requests a second it may make.")  # fmt: skip
@_takes_state
@takes_store
@takes_json
@pass_settings
def create(
    settings: Settings,
    *,
    scopes: tuple[str, ...],
    rights: tuple[str, ...],
    ttl: timedelta | None,
    name: str,
    max_body: int | None,
    max_uploads: int | None,
    rate: float | None,
    state: Path | None,
) -> None:
    """Make a token and print it, this one time.

    A running server knows it at once. From the first one on everybody has to show a token.
    """
    text, made = _tokens(settings, state).create(
        scopes,
        rights,
        name=name,
        ttl=None if ttl is None else ttl.total_seconds(),
        allowance=Allowance(max_body, max_uploads, rate),
    )
    click.echo(to_json({"token": text, **_json(made)}) if settings.json else text)


@token.command("list")
@_takes_state
@takes_store
@takes_json
@pass_settings
def list_tokens(settings: Settings, *, state: Path | None) -> None:
    """List the tokens; not their text, which nobody has but who made them."""
    tokens = _tokens(settings, state)
    if settings.json:
        echo_json_list(_json(it) for it in tokens)
    else:
        headings = [HEADINGS] if on_terminal(sys.stdout) else []
        rows: list[tuple[str, ...]] = [*headings, *map(_row, tokens)]
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        for row in rows:
            cells = (text.ljust(width) for text, width in zip(row, widths, strict=True))
            click.echo("  ".join(cells).rstrip())


@token.command()
@click.argument("number", metavar="ID")
@_takes_state
@takes_store
@pass_settings
def revoke(settings: Settings, number: str, *, state: Path | None) -> None:
    """End a token at once, and the signed links that were made with it."""
    if not _tokens(settings, state).revoke(number):
        raise click.ClickException(f"no token {number!r}: see `mediakeep token list`")
    click.echo(f"revoked {plain(number)}")


@token.command("rotate-links")
@click.option("--keep", type=click.IntRange(min=0), default=1, show_default=True, metavar="N",
              help="How many older keys stay good; 0 ends every link at once.")  # fmt: skip
@_takes_state
@takes_store
@pass_settings
def rotate_links(settings: Settings, *, keep: int, state: Path | None) -> None:
    """Make a new key that signs links from now on."""
    from mediakeep.http.config import LINK_KEYS
    from mediakeep.http.links import LinkKeys

    key = LinkKeys(_folder(settings, state) / LINK_KEYS).rotate(keep=keep)
    click.echo(f"links are signed with key {key.id} from now on")


def _tokens(settings: Settings, state: Path | None) -> "Tokens":
    from mediakeep.http.config import TOKENS
    from mediakeep.http.tokens import Tokens

    return Tokens(_folder(settings, state) / TOKENS)


def _folder(settings: Settings, state: Path | None) -> Path:
    from mediakeep.opening import is_store

    if state is not None:
        return state
    address = settings.address()
    if address.shared:
        raise click.UsageError(
            f"the tokens of a store in a database ({address}) are in a folder of their own: "
            "name it with --state, as for `mediakeep serve`"
        )
    folder = settings.folder()
    if not is_store(folder):
        raise click.ClickException(
            f"no store at {folder}: name it with --store, or the folder of tokens with --state"
        )
    return folder / "server"


def _json(it: "Token") -> dict[str, Any]:
    return {
        "id": it.id,
        "name": it.name,
        "scopes": it.scopes,
        "can": it.can,
        "created_at": time_of(it.created_at),
        "expires_at": None if it.expires_at is None else time_of(it.expires_at),
        "max_body_bytes": it.allowance.max_body_bytes,
        "max_uploads": it.allowance.max_uploads,
        "requests_per_second": it.allowance.requests_per_second,
    }


def _row(it: "Token") -> tuple[str, ...]:
    expires = "-" if it.expires_at is None else moment_text(time_of(it.expires_at))
    return (
        it.id,
        plain(it.name) or "-",
        ",".join(it.can),
        plain(" ".join(it.scopes)),
        moment_text(time_of(it.created_at)),
        expires,
    )
