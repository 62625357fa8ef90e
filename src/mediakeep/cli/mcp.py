"""`mcp`: a store for agents that speak the Model Context Protocol."""

import os
import re
import signal
import socket
from contextlib import ExitStack

import click

from mediakeep.cli.options import Settings, complete_scopes, pass_settings, scope_name, takes_store

TOKEN_VARIABLE = "MEDIAKEEP_MCP_TOKEN"  # noqa: S105 (its name)
SERVER_TOKEN_VARIABLE = "MEDIAKEEP_MCP_SERVER_TOKEN"  # noqa: S105

_UNITS = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9}
_SIZE = re.compile(r"([1-9][0-9]{0,12})([kKmMgG]?)")


def _size(text: str) -> int:
    """Return the number of bytes that `text` spells, such as 500k, 8M or 2G (times 1,000)."""
    found = _SIZE.fullmatch(text)
    if found is None:
        raise click.BadParameter(f"{text!r} is no size: write a number of bytes, or 500k, 8M, 2G")
    return int(found[1]) * _UNITS[found[2].lower()]


@click.command()
@click.option(
    "--scope",
    type=scope_name,
    required=True,
    metavar="SCOPE",
    shell_complete=complete_scopes,
    help="What clients see: this scope and those below it, and nothing else.",
)
@click.option(
    "--root",
    "roots",
    multiple=True,
    metavar="DIR",
    type=click.Path(exists=True, file_okay=False),
    help="A folder that files are taken from and exported into; may be repeated. "
    "[default: the working directory]",
)
@click.option("--allow-release", is_flag=True, help="Let clients end refs.")
@click.option(
    "--max-file",
    type=_size,
    default="256M",
    show_default=True,
    metavar="SIZE",
    help="The largest file that is taken.",
)
@click.option(
    "--max-inline",
    type=_size,
    default="8M",
    show_default=True,
    metavar="SIZE",
    help="The most bytes that pass through a message.",
)
@click.option("--http", is_flag=True, help="Serve streamable HTTP instead of standard input and output.")
@click.option("--host", default="127.0.0.1", show_default=True, help="The address to listen at.")
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    default=8322,
    show_default=True,
    help="The port, with --http; 0 takes one that is free.",
)
@click.option(
    "--upload-port",
    type=click.IntRange(0, 65535),
    help="Without --http: take files by upload links at this port; 0 takes one that is free.",
)
@click.option(
    "--public-url",
    default="",
    metavar="URL",
    help="How clients reach --http or the upload port, if not at that address.",
)
@click.option(
    "--server-url",
    metavar="URL",
    help="A `mediakeep serve` of the same store, which makes download links.",
)
@click.option(
    "--server-token",
    default="",
    envvar=SERVER_TOKEN_VARIABLE,
    show_envvar=True,
    help="A token of that server that may read the scope.",
)
@takes_store
@pass_settings
def mcp(
    settings: Settings,
    /,
    scope: str,
    roots: tuple[str, ...],
    max_file: int,
    max_inline: int,
    host: str,
    port: int,
    upload_port: int | None,
    public_url: str,
    server_url: str | None,
    server_token: str,
    *,
    allow_release: bool,
    http: bool,
) -> None:
    """Serve one scope of the store to agents (MCP).

    It speaks the Model Context Protocol. Media are resources, media://<uuid>, and tools list, describe,
    show, save, share and export them. An agent starts the command and speaks over its standard input
    and output; with --http any number of agents connect.

    \b
      mediakeep mcp --scope telegram:42
      mediakeep mcp --scope telegram:42 --root ./workspace --allow-release
      mediakeep mcp --scope team --http --port 8322

    Over HTTP only this machine is served, unless MEDIAKEEP_MCP_TOKEN has the token that clients must
    show.
    """  # noqa: D301
    from mediakeep import mcp as serving  # names the extra, if the SDK is missing
    from mediakeep.aio import AsyncMediaStore

    if http and upload_port is not None:
        raise click.UsageError("--upload-port goes without --http, which takes uploads at its own port")
    token = os.environ.get(TOKEN_VARIABLE, "")
    links = None if server_url is None else serving.Links(server_url, server_token)
    bounds = serving.Bounds(
        scope=scope,
        roots=roots or (".",),
        private=_folders_of(settings),
        allow_release=allow_release,
        max_file_bytes=max_file,
        max_inline_bytes=max_inline,
    )
    with ExitStack() as opened:
        listener = None
        if http or upload_port is not None:
            if http:
                serving.check_reach(host, token)
            listener = opened.enter_context(_listener(host, port if http else upload_port or 0))
        store = AsyncMediaStore(opened.enter_context(settings.opened(make=True)))
        uploads = None if listener is None else serving.Uploads(public_url)
        server = serving.create_server(store, bounds, uploads=uploads, links=links)
        if http and listener is not None:
            serving.serve_http(
                server,
                listener,
                token=token,
                public_url=public_url,
                ready=lambda address: click.echo(f"serving at {address}"),
            )
        else:
            import anyio

            # The thread that reads standard input cannot be interrupted, and Python would wait for it.
            # What a process leaves that ends at any moment, every store can bear.
            signal.signal(signal.SIGINT, signal.SIG_DFL)
            anyio.run(lambda: serving.serve_stdio(server, listener=listener))


def _folders_of(settings: Settings) -> list[str]:
    """Return the folders that are the store's own, on this machine."""
    address = settings.address()
    found = [] if address.shared else [address.store]
    return found if address.blobs is None or address.in_bucket else [*found, address.blobs]


def _listener(host: str, port: int) -> socket.socket:
    name = host.strip("[]")
    family = socket.AF_INET6 if ":" in name else socket.AF_INET
    return socket.create_server((name, port), family=family, backlog=256)
