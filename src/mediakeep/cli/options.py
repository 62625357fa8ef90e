"""What the commands take: the store, spans of time, scopes and refs, and how shells complete them."""

import os
import re
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass
from datetime import timedelta
from itertools import islice
from typing import TYPE_CHECKING, Any, TypeVar

import click

from mediakeep.refs import PREFIX, is_ref

if TYPE_CHECKING:
    from pathlib import Path

    from mediakeep.store import MediaStore

Command = TypeVar("Command", bound=Callable[..., Any])

_SPAN = re.compile(r"(?:[0-9]{1,12}[wdhms])+")
_AMOUNT = re.compile(r"([0-9]+)([wdhms])")
_SECONDS = {"w": 604_800, "d": 86_400, "h": 3_600, "m": 60, "s": 1}
_LONGEST_SECONDS = 36_500 * 86_400
_LOOKED_AT = 2000  # refs, when a shell asks for completions: it has to be quick
_HARMLESS = re.compile(r"(?!-)[\w:./@+-]+")


# -- the store


@dataclass(slots=True)
class Settings:
    """What the options say that every command takes."""

    store: str | None = None
    json: bool = False

    def folder(self) -> "Path":
        """Return the folder of the store; it may not be there yet."""
        from pathlib import Path

        if self.store is not None:
            return Path(self.store)
        import platformdirs

        return Path(platformdirs.user_data_dir("mediakeep", appauthor=False))

    def opened(
        self, *, make: bool = False, max_age: timedelta | None = None
    ) -> AbstractContextManager["MediaStore"]:
        """Open the store for a block, as :func:`mediakeep.cli.opening.opened` does."""
        from mediakeep.cli.opening import opened

        return opened(self.folder(), make=make, max_age=max_age)


pass_settings = click.make_pass_decorator(Settings, ensure=True)


# -- options of every command


def _remember(ctx: click.Context, param: click.Parameter, value: str | bool | None) -> None:
    if value is None or value is False or param.name is None:
        return
    if param.name == "store":
        _check_store(str(value))
    setattr(ctx.ensure_object(Settings), param.name, value)


def _check_store(where: str) -> None:
    if where == "memory:":
        raise click.BadParameter("a store in memory would end with the command: give a folder")
    if not where or "://" in where or (where.endswith(":") and os.sep not in where):
        raise click.BadParameter(f"{where!r} is no folder: give the folder of a store")


def takes_json(command: Command) -> Command:
    """Let a command take --json, after its name as well as before it."""
    return click.option(
        "--json",
        is_flag=True,
        expose_value=False,
        callback=_remember,
        help="Print one JSON document instead of text.",
    )(command)


def takes_store(command: Command, *, variable: str | None = None) -> Command:
    """Let a command take --store, after its name as well as before it."""
    return click.option(
        "--store",
        metavar="DIR",
        type=click.Path(file_okay=False, readable=False),
        envvar=variable,
        show_envvar=variable is not None,
        expose_value=False,
        callback=_remember,
        help="The folder of the store. [default: mediakeep in your user data directory]",
    )(command)


# -- types


def duration(text: str) -> timedelta:
    """Return the span of time that `text` spells, such as 90s, 30m, 2h, 7d, 1w or 1d12h."""
    if not _SPAN.fullmatch(text):
        raise click.BadParameter(f"{text!r} is no span of time: write 90s, 30m, 2h, 7d, 1w or 1d12h")
    seconds = sum(int(amount) * _SECONDS[unit] for amount, unit in _AMOUNT.findall(text))
    if not 0 < seconds <= _LONGEST_SECONDS:
        raise click.BadParameter(f"{text!r} must be more than nothing and at most 100 years (36500d)")
    return timedelta(seconds=seconds)


def scope_name(text: str) -> str:
    """Return `text`, if it can be the name of a scope."""
    try:
        text.encode()
    except UnicodeEncodeError:
        raise click.BadParameter(f"{text!r} is not valid UTF-8") from None
    return text


def ref_name(text: str) -> str:
    """Return `text`, if it is written as a ref."""
    if not is_ref(text):
        raise click.BadParameter(
            f"{text!r} is no ref: they begin with media://, `mediakeep ls` lists them"
        )
    return text


def permissions(text: str) -> int:
    """Return the permissions that `text` spells in octal, such as 640."""
    if not re.fullmatch(r"0?[0-7]{3}", text):
        raise click.BadParameter(f"{text!r} are no permissions: write three octal digits, such as 640")
    return int(text, 8)


# -- completion


def complete_scopes(
    ctx: click.Context,
    param: click.Parameter,  # noqa: ARG001
    incomplete: str,
) -> list[str]:
    """Offer the scopes that have a live ref."""
    return _offered(ctx, incomplete, lambda store: iter(store.scopes()))


def complete_refs(
    ctx: click.Context,
    param: click.Parameter,  # noqa: ARG001
    incomplete: str,
) -> list[str]:
    """Offer the refs that are live."""

    def refs(store: "MediaStore") -> Iterator[str]:
        return (entry.ref for entry in islice(store.entries(), _LOOKED_AT))

    return _offered(ctx, incomplete, refs)


def complete_scopes_and_refs(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:
    """Offer scopes, and refs once one is begun."""
    offered = complete_scopes(ctx, param, incomplete)
    if incomplete and incomplete[: len(PREFIX)] == PREFIX[: len(incomplete)]:
        offered += complete_refs(ctx, param, incomplete)
    return offered


def _offered(
    ctx: click.Context, begun: str, names: Callable[["MediaStore"], Iterator[str]]
) -> list[str]:
    """Return the names that go on from what is `begun`.

    A shell puts them on the command line as they are. So those that it would read as more than one
    word, or as a command, are left out.
    """
    # Somebody is in the middle of a line: no error may be printed into it.
    with suppress(Exception), ctx.ensure_object(Settings).opened() as store:
        return [name for name in names(store) if name.startswith(begun) and _HARMLESS.fullmatch(name)]
    return []
