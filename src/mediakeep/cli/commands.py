"""The command line as a whole: what a newcomer reads first, and the commands in order."""

import click

from mediakeep import __version__
from mediakeep.cli import PROGRAM
from mediakeep.cli.checking import check
from mediakeep.cli.copying import copy
from mediakeep.cli.ending import release, sweep
from mediakeep.cli.erasing import erase
from mediakeep.cli.incoming import add, put
from mediakeep.cli.journal import log
from mediakeep.cli.mcp import mcp
from mediakeep.cli.migrating import migrate
from mediakeep.cli.options import takes_json, takes_store
from mediakeep.cli.outgoing import cat, export, ls, resolve, scopes, show, stats
from mediakeep.cli.serving import serve
from mediakeep.cli.tokens import token


class _InOrder(click.Group):
    """Lists its commands in the order in which one gets to need them."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        return list(self.commands)


@click.group(
    cls=_InOrder,
    invoke_without_command=True,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@takes_json
@lambda command: takes_store(command, from_environment=True)
@click.version_option(__version__, prog_name=PROGRAM)
@click.pass_context
def command_line(ctx: click.Context) -> None:
    """Keep media files exactly as long as somebody needs them.

    A file that you put is copied into the store and gets a ref, media://<uuid>. It belongs to a scope,
    by convention channel:chat:message, and is deleted when its last ref has ended: because you released
    it or its scope, or because its time to live was over.

    \b
      mediakeep put cat.jpg --scope telegram:42:7    copy it in; prints media://...
      mediakeep resolve media://...                  print the path of the file
      mediakeep ls telegram:42                       list what that chat holds
      mediakeep release telegram:42:7                end it; the file goes
      mediakeep sweep                                end what is past its time
      mediakeep log telegram:42                      tell what ended there, and why
      mediakeep check                                compare the books with the disk

    The store is a folder, or a PostgreSQL database whose --blobs are in a folder or a bucket: name it
    with --store or MEDIAKEEP_STORE, or take the folder in your user data directory. --store, --blobs and
    --json can stand before a command and after it.

    Exit codes: 0 done, 1 not found or refused, 2 wrong usage.
    """  # noqa: D301
    if ctx.invoked_subcommand is None:
        click.echo(ctx.get_help())


@click.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion(shell: str) -> None:
    """Print the completion script of a shell.

    It makes the shell complete commands, options, scopes and refs.

    \b
      eval "$(mediakeep completion bash)"       in ~/.bashrc
      eval "$(mediakeep completion zsh)"        in ~/.zshrc, after compinit
      mediakeep completion fish | source        in ~/.config/fish/config.fish
    """  # noqa: D301
    from mediakeep.cli.completion import script

    click.echo(script(command_line, shell), nl=False)


for _command in (
    *(put, add, resolve, show, cat, export, ls, scopes),
    *(release, erase, sweep, log, stats, check, copy, migrate, serve, token, mcp, completion),
):
    command_line.add_command(_command)
