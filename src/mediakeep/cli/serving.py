"""`serve`: a store behind HTTP."""

import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from mediakeep.cli.address import Address
from mediakeep.cli.options import Settings, pass_settings, takes_store

if TYPE_CHECKING:
    from mediakeep.http.config import ServerConfig


@click.command()
@click.option("--config", type=click.Path(exists=True, dir_okay=False, path_type=Path),
              help="A TOML file with settings.")  # fmt: skip
@click.option("--host", help="The address to listen at. [default: 127.0.0.1]")
@click.option("--port", type=click.IntRange(0, 65535), help="The port; 0 takes one that is free. "
              "[default: 8321]")  # fmt: skip
@click.option("--workers", type=click.IntRange(min=1), help="How many processes. [default: 1]")
@click.option("--state", type=click.Path(file_okay=False), metavar="DIR",
              help="The folder of tokens and keys. [default: server, in the store's]")  # fmt: skip
@click.option("--public-url", help="What signed links begin with, such as https://media.example.")
@click.option("--log", type=click.Choice(["json", "text"]), help="How the log is written. "
              "[default: json]")  # fmt: skip
@click.option("--check-config", is_flag=True, help="Only say whether the settings can be used.")
@takes_store
@pass_settings
def serve(settings: Settings, /, *, config: Path | None, check_config: bool, **flags: object) -> None:
    """Serve the store over HTTP.

    Without tokens only this machine is served, and whoever is on it may do everything. Make tokens with
    `mediakeep token create` before you serve others, and put a proxy that speaks TLS in front.

    The tokens and keys of a store in PostgreSQL are in the folder --state.

    Every setting can stand in the TOML file, and in the environment as MEDIAKEEP_SERVER_PORT and so on.
    Options go before the environment, and that goes before the file.

    \b
      mediakeep serve
      mediakeep serve --store postgresql://keeper@db/media --blobs s3://bucket/media --state DIR
      mediakeep serve --config /etc/mediakeep.toml --check-config

    It runs until it gets SIGTERM or ^C; then it finishes what is under way.
    """  # noqa: D301
    from mediakeep.cli.opening import warnings_shown
    from mediakeep.http.config import load_config

    try:
        from mediakeep.http import running
    except ModuleNotFoundError as error:
        if (error.name or "").startswith("mediakeep"):
            raise
        message = f'the server needs {error.name}: pip install "mediakeep[server]"'
        raise click.ClickException(message) from error
    # What the environment says is read with the other settings; a file goes before the default folder.
    flags |= {name: getattr(settings, name) for name in settings.given - {"json"}}
    found = load_config(flags, file=config)
    if not found.store:
        found = load_config({"store": settings.address().store, **flags}, file=config)
    _check_place(found)
    with warnings_shown():  # the server's own log begins when it serves
        running.check(found)
    if check_config:
        click.echo("the settings can be used")
        return
    running.serve(found, ready=partial(_tell, found))


def _check_place(config: "ServerConfig") -> None:
    """Refuse what is no place for a store, without a word of its password.

    Raises:
        click.BadParameter: it is none.
    """
    if config.store == "memory:":
        return
    address = Address(config.store, config.blobs or None, config.schema or None).check()
    if address.shared:
        from mediakeep.cli.opening import check_database

        check_database(address)


def _tell(config: "ServerConfig", address: str) -> None:
    from mediakeep.http.dashboard.once import way_in

    click.echo(f"serving at {address}")
    # A link that lets in is for the eyes of who sits there, and not for a log.
    if sys.stdout.isatty():
        click.echo(f"look at it: {address}{way_in(config)}")
