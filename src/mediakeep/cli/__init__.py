"""The command `mediakeep`: its outer edge, where every failure becomes one line and an exit code.

Click and everything else that is not the standard library is imported by :func:`main` only, so that
`import mediakeep` never pays for it and a missing extra can be named.
"""

import io
import os
import sys
from collections.abc import Sequence

PROGRAM = "mediakeep"

DONE, REFUSED, USAGE, INTERRUPTED = 0, 1, 2, 130
"""Exit codes; 130 is what a shell gives a program that ^C has ended."""

_EXTRA = {"click", "platformdirs", "rich"}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command with `arguments`, by default those of the process, and return its exit code."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # what its encoding lacks is spelled out
            stream.reconfigure(errors="backslashreplace")
    try:
        return _run(arguments)
    except KeyboardInterrupt:
        return INTERRUPTED
    except Exception as error:
        code, line = _explain(error)
        complain(line)
        return code
    finally:
        _let_go_of_stdout()


def complain(line: str) -> None:
    """Write one line to standard error."""
    if sys.stderr is not None:
        sys.stderr.write(f"{PROGRAM}: {plain(line)}\n")


def plain(text: str) -> str:
    r"""Return `text` with everything spelled out that is not printable.

    Scopes, names, content types and paths are hostile data: no control character, newline or mark that
    turns writing around gets from them to a terminal.

    >>> plain("a\x1b[2J\n")
    'a\\x1b[2J\\n'
    """
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)


def _run(arguments: Sequence[str] | None) -> int:
    import click

    from mediakeep.cli.commands import command_line

    if f"_{PROGRAM.upper()}_COMPLETE" in os.environ:
        from mediakeep.cli.completion import register

        register()
    try:
        code = command_line.main(arguments, prog_name=PROGRAM, standalone_mode=False)
    except click.Abort:
        return INTERRUPTED
    except click.UsageError as error:
        command = error.ctx.command_path if error.ctx else PROGRAM
        complain(f"{' '.join(error.format_message().split())} (see `{command} --help`)")
        return USAGE
    except click.ClickException as error:
        complain(error.format_message())
        return error.exit_code
    return code if isinstance(code, int) else DONE


def _explain(error: Exception) -> tuple[int, str]:
    """Return the exit code of what went wrong, and the line that says what to do."""
    from mediakeep.errors import MediaError

    if isinstance(error, ModuleNotFoundError) and error.name in _EXTRA:
        return REFUSED, f'the command line needs {error.name}: pip install "mediakeep[cli]"'
    if isinstance(error, ImportError) and "mediakeep[" in str(error):
        return REFUSED, str(error)
    if isinstance(error, OSError) and error.strerror:
        where = "" if error.filename is None else f"{os.fsdecode(error.filename)}: "
        return REFUSED, f"{where}{error.strerror}"
    if isinstance(error, MediaError | OSError | ValueError):
        return REFUSED, str(error)
    # Ours to mend, and still no traceback in a user's face: one line that finds the place.
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    place = "" if trace is None else f" at {trace.tb_frame.f_code.co_filename}:{trace.tb_lineno}"
    return REFUSED, f"this is a bug, please report it: {type(error).__name__}: {error}{place}"


def _let_go_of_stdout() -> None:
    """Write out what is buffered; what cannot be written must not trip the interpreter at its exit."""
    if sys.stdout is None:
        return
    try:
        sys.stdout.flush()
    except OSError:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)
