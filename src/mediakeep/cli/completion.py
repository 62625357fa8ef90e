"""Completion in shells: click's own, except where scopes and refs are too much for it in bash."""

import os

import click
from click.shell_completion import (
    CompletionItem,
    ShellComplete,
    add_completion_class,
    get_completion_class,
    split_arg_string,
)

from mediakeep.cli import PROGRAM

SHELLS = ("bash", "zsh", "fish")


def register() -> None:
    """Have our own answers given to bash."""
    add_completion_class(BashComplete)


def script(command: click.Command, shell: str) -> str:
    """Return what makes `shell` complete `command`."""
    register()
    complete = get_completion_class(shell)
    if complete is None:
        raise click.UsageError(f"{shell} is not supported: {', '.join(SHELLS)} are")
    return complete(command, {}, PROGRAM, f"_{PROGRAM.upper()}_COMPLETE").source()


class BashComplete(ShellComplete):
    """Bash splits words at `:`, which stands in every scope and ref. So this one reads the line itself.

    Bash replaces only what stands after the last of its breaks, so only that is answered.
    """

    name = "bash"
    source_template = """\
%(complete_func)s() {
    local IFS=$'\\n' type value
    COMPREPLY=()
    while IFS=, read -r type value; do
        case $type in
            dir) compopt -o dirnames 2>/dev/null ;;
            file) compopt -o default 2>/dev/null ;;
            plain) COMPREPLY+=("$value") ;;
        esac
    done < <(COMP_LINE=$COMP_LINE COMP_POINT=$COMP_POINT COMP_WORD=${COMP_WORDS[COMP_CWORD]} \\
        BREAKS=$COMP_WORDBREAKS %(complete_var)s=bash_complete "$1" 2>/dev/null)
}
complete -F %(complete_func)s %(prog_name)s
"""

    _begun = ""

    def get_completion_args(self) -> tuple[list[str], str]:
        """Return the whole words before the cursor, and the one that is begun."""
        line = os.fsencode(os.environ["COMP_LINE"])[: int(os.environ["COMP_POINT"])]
        words = split_arg_string(os.fsdecode(line))
        self._begun = words.pop() if words and not line.endswith((b" ", b"\t")) else ""
        return words[1:], self._begun

    def format_completion(self, item: CompletionItem) -> str:
        """Return the item less what bash leaves standing; inside quotes it breaks nothing."""
        breaks = os.environ.get("BREAKS", "")
        kept = 0
        if item.type == "plain" and not os.environ.get("COMP_WORD", "").startswith(("'", '"')):
            kept = max((at + 1 for at, mark in enumerate(self._begun) if mark in breaks), default=0)
        return f"{item.type},{item.value[kept:]}"
