"""What the commands take: the store, spans of time, scopes and refs, and how shells complete them."""

import re
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass, field
from datetime import timedelta
from itertools import islice
from typing import TYPE_CHECKING, Any, TypeVar

import click
from click.core import ParameterSource
from click.shell_completion import CompletionItem

from mediakeep.cli.address import Address
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
_PATIENCE_SECONDS = 2.0
_STORE = "A folder, or postgresql://user@host/database. [default: mediakeep in your user data directory]"
_HARMLESS = re.compile(r"(?!-)[\w:./@+-]+")


# -- the store


@dataclass(slots=True)
class Settings:
    """What the options say that every command takes."""

    store: str | None = None
    blobs: str | None = None
    schema: str | None = None
    json: bool = False
    given: set[str] = field(default_factory=set)
    """Which of them stand on the command line, and not only in the environment."""

    def address(self) -> Address:
        """Return where the store is; it may not be there yet.

        What the environment says of bytes and schema is said of the store that it names: it does not
        change a folder that the command line names.
        """
        if self.store is None:
            import platformdirs

            folder = platformdirs.user_data_dir("mediakeep", appauthor=False)
            return Address(folder, *self._given_for(folder))
        return Address(self.store, *self._given_for(self.store))

    def _given_for(self, store: str) -> tuple[str | None, str | None]:
        shared = Address(store).shared
        both_from_environment = self.store is not None and "store" not in self.given
        theirs = shared or both_from_environment or "blobs" in self.given
        return self.blobs if theirs else None, self.schema if shared or "schema" in self.given else None

    def folder(self) -> "Path":
        """Return the folder of the store; it may not be there yet.

        Raises:
            click.UsageError: the store is in a database.
        """
        from pathlib import Path

        address = self.address()
        if address.shared:
            raise click.UsageError(f"this needs the folder of a store, and {address} is a database")
        return Path(address.store)

    def opened(
        self, *, make: bool = False, max_age: timedelta | None = None
    ) -> AbstractContextManager["MediaStore"]:
        """Open the store for a block; unless it may `make` one, it must be there."""
        return self.address().opened(make=make, max_age=max_age)


pass_settings = click.make_pass_decorator(Settings, ensure=True)


# -- options of every command


def _remember(ctx: click.Context, param: click.Parameter, value: str | bool | None) -> None:
    if value is None or value is False or param.name is None:
        return
    settings = ctx.ensure_object(Settings)
    if param.name == "store":
        Address(str(value)).check(bytes_needed=False)
    setattr(settings, param.name, value)
    if ctx.get_parameter_source(param.name) is ParameterSource.COMMANDLINE:
        settings.given.add(param.name)


def takes_json(command: Command) -> Command:
    """Let a command take --json, after its name as well as before it."""
    return click.option(
        "--json",
        is_flag=True,
        expose_value=False,
        callback=_remember,
        help="Print one JSON document instead of text.",
    )(command)


def takes_store(command: Command, *, from_environment: bool = False) -> Command:
    """Let a command take --store, --blobs and --schema, after its name as well as before it."""
    for name, metavar, text in (
        ("schema", "NAME", "The schema of a store in PostgreSQL. [default: mediakeep]"),
        ("blobs", "PLACE", "Where its bytes are: a folder, or s3://bucket/prefix. [default: in it]"),
        ("store", "STORE", _STORE),
    ):
        command = click.option(
            f"--{name}",
            metavar=metavar,
            envvar=f"MEDIAKEEP_{name.upper()}" if from_environment else None,
            show_envvar=from_environment,
            expose_value=False,
            callback=_remember,
            shell_complete=_complete_folders,
            help=text,
        )(command)
    return command


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
    found: list[str] = []

    def look() -> None:
        # Somebody is in the middle of a line: no error may be printed into it.
        with suppress(Exception), ctx.ensure_object(Settings).opened() as store:
            found.extend(it for it in names(store) if it.startswith(begun) and _HARMLESS.fullmatch(it))

    # Nor may a server that does not answer keep him waiting: what it is asked ends with the process.
    asking = threading.Thread(target=look, name="mediakeep-completion", daemon=True)
    asking.start()
    asking.join(_PATIENCE_SECONDS)
    return [] if asking.is_alive() else found


def _complete_folders(
    ctx: click.Context,  # noqa: ARG001
    param: click.Parameter,  # noqa: ARG001
    incomplete: str,
) -> list[CompletionItem]:
    """Have the shell offer folders."""
    return [CompletionItem(incomplete, type="dir")]
