"""The command lines in the documentation: they can be said, and sessions print what they say."""

import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

click = pytest.importorskip("click", reason="needs mediakeep[cli]")

from mediakeep.cli.commands import command_line  # noqa: E402 - once it is known that click is there

ROOT = Path(__file__).parents[1]
MEDIA = ROOT / "examples" / "media"
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md", *ROOT.glob("docs/**/*.md")]

FENCE = re.compile(r"^ *```(\w*)[^\n]*\n(.*?)^ *```$", re.DOTALL | re.MULTILINE)
SHELLS = {"sh", "bash", "console", "ini", "text", "dockerfile", ""}
SPAN = re.compile(r"`(mediakeep [^`]+)`")
BEGIN = re.compile(
    r"(?:^ *|\$\(|^ *\$ |^ExecStart=[\w/]*/|&& |; |\| |run --rm \S+ |[A-Z_]+=\S* |instrument |/bin/)"
    r"mediakeep(?= )",
    re.MULTILINE,
)
ENDS = ("|", "&&", ";", ">", ">>", "<", "2>", "&", "||")
SOME_REF = "media://0b0f7d2c-6f53-4d8e-9a2f-1c1f6a4b7a10"
RUN = re.compile(r"^<!-- runs -->\n\n?```console\n(.*?)^```$", re.DOTALL | re.MULTILINE)


def name_of(page: Path) -> str:
    return str(page.relative_to(ROOT))


def lines(text: str) -> Iterator[list[str]]:
    """Yield the words behind `mediakeep` of each command line in the fences of a page."""
    for language, block in FENCE.findall(text):
        if language not in SHELLS:
            continue
        block = block.replace("\\\n", " ")
        for found in BEGIN.finditer(block):
            rest = block[found.end() :].partition("\n")[0]
            if found[0].startswith("$("):
                rest = rest.rpartition(")")[0]
            yield words(rest)


def words(line: str) -> list[str]:
    lexer = shlex.shlex(line, posix=True, punctuation_chars="|&;<>")
    lexer.whitespace_split = True
    found = [re.sub(r"^\$\w+$", SOME_REF, word) for word in lexer]
    end = next((n for n, word in enumerate(found) if word in ENDS), len(found))
    return found[:end]


def parsed(words: list[str], *, whole: bool) -> str:
    """Return the command that is meant; raise as the command line would.

    Only a `whole` line has all that the command needs: what is said in passing has its options alone.
    """
    command, name = command_line, "mediakeep"
    context = click.Context(command, info_name=name)
    while isinstance(command, click.Group):
        _, words, _ = command.make_parser(context).parse_args(list(words))
        if not words:
            break
        name = words[0]
        found = command.get_command(context, name)
        if found is None:
            raise click.UsageError(f"there is no command {name!r}")
        command, words = found, words[1:]
        context = click.Context(command, info_name=name, parent=context)
    else:
        if whole:
            try:
                command.make_context(name, list(words), parent=context.parent).close()
            except click.BadParameter as error:
                # A file that a line names need not be on this machine.
                if not (error.param and isinstance(error.param.type, click.Path)):
                    raise
        else:
            command.make_parser(context).parse_args(list(words))
    return name


def with_commands() -> list[Path]:
    return [page for page in PAGES if any(lines(page.read_text())) or SPAN.search(page.read_text())]


@pytest.mark.parametrize("page", with_commands(), ids=name_of)
def test_a_command_line_can_be_said(page):
    text = page.read_text()
    for line in lines(text):
        try:
            parsed(line, whole=True)
        except click.ClickException as error:
            pytest.fail(f"{page.name}: mediakeep {shlex.join(line)}: {error.format_message()}")
    for span in SPAN.findall(FENCE.sub("", text)):
        try:
            parsed(words(span.replace("…", ""))[1:], whole=False)
        except click.NoArgsIsHelpError:
            continue
        except click.ClickException as error:
            pytest.fail(f"{page.name}: {span}: {error.format_message()}")


@pytest.mark.parametrize(
    "line",
    ["putt photo.jpg", "put --scop a photo.jpg", "resolve", "sweep --max-age x", "token mint"],
)
def test_a_command_line_that_cannot_be_said_is_found(line):
    page = f"```sh\nexport A=1\n$ mediakeep {line}\n```\n"
    (found,) = lines(page)
    with pytest.raises(click.ClickException):
        parsed(found, whole=True)


@pytest.mark.parametrize("page", [page for page in PAGES if RUN.search(page.read_text())], ids=name_of)
def test_a_session_in_a_shell_prints_what_it_says(page, tmp_path):
    here = tmp_path / "here"
    here.mkdir()
    for sample in MEDIA.iterdir():
        if sample.suffix not in (".md", ".py"):
            shutil.copy(sample, here)
    programs = tmp_path / "bin"
    programs.mkdir()
    command = programs / "mediakeep"
    command.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -m mediakeep "$@"\n')
    command.chmod(0o755)
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("MEDIAKEEP_")},
        "PATH": f"{programs}:{os.environ['PATH']}",
        "HOME": str(tmp_path),
    }
    for session in RUN.findall(page.read_text()):
        asked = re.findall(r"^\$ (.*(?:\\\n.*)*)$", session, re.MULTILINE)
        script = "set -e\n" + "\n".join(f"printf '$\\n'\n{line}" for line in asked)
        done = subprocess.run(
            ["bash", "-c", script],
            cwd=here,
            env=environment,
            text=True,
            capture_output=True,
            timeout=120,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        said = re.split(r"^\$ .*(?:\\\n.*)*\n", session, flags=re.MULTILINE)[1:]
        printed = done.stdout.split("$\n")[1:]
        assert len(said) == len(printed) == len(asked)
        for line, expected, got in zip(asked, said, printed, strict=True):
            pattern = ".*".join(re.escape(part) for part in expected.split("…"))
            assert re.fullmatch(pattern, got), (
                f"{page.name}: $ {line}\nprinted {got!r}, not {expected!r}"
            )
