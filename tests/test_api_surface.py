"""What users rely on changes by decision only: names, signatures, options, paths, variables, metrics."""

import ast
import inspect
import pkgutil
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
TOOL = ROOT / "tools" / "api_surface.py"
AGREED = ROOT / "tests" / "data"

DECIDE = """
The public surface has changed. If that is meant, run `make api`, say it in CHANGELOG.md, and mind what
docs/stability.md promises: what goes must have been deprecated first.
"""


def agreed_lines() -> list[str]:
    return (AGREED / "api.txt").read_text().splitlines()


def test_the_public_surface_is_what_was_agreed():
    done = subprocess.run([sys.executable, TOOL], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, DECIDE + done.stdout + done.stderr
    assert done.stdout == ""


def test_a_rename_is_told_by_the_line_that_is_gone_and_the_one_that_is_new(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(TOOL.parent)
    import api_surface

    before = (AGREED / "api.txt").read_text()
    assert "def mediakeep.MediaStore.release_all(self, scope: str," in before
    renamed = tmp_path / "api.txt"
    renamed.write_text(
        before.replace("MediaStore.release_all(self, scope:", "MediaStore.end(self, scope:")
    )
    gone, new = (
        [
            it
            for it in api_surface.differences(renamed, agreed_lines())
            if it.startswith(sign) and "def" in it
        ]
        for sign in "-+"
    )
    assert [it.split("(")[0] for it in gone] == [
        "-def mediakeep.MediaStore.end",
        "-async def mediakeep.aio.AsyncMediaStore.end",
        "-def mediakeep.remote.HTTPMediaStore.end",
    ]
    assert len(new) == 3


def test_the_tool_says_nothing_of_what_it_does_not_know():
    done = subprocess.run([sys.executable, TOOL, "--wirte"], capture_output=True, text=True, timeout=120)
    assert (done.returncode, "--write" in done.stdout) == (2, True)


@pytest.mark.parametrize(
    "module", sorted({it.removeprefix("# ") for it in agreed_lines() if it[:1] == "#"})
)
def test_what_is_agreed_is_what_python_sees(module):
    """The tool reads sources; here the objects have their say."""
    lines = agreed_lines()
    begin = lines.index(f"# {module}") + 1
    end = next((n for n in range(begin, len(lines)) if not lines[n]), len(lines))
    seen = 0
    for line in lines[begin:end]:
        kind, _, text = line.partition("mediakeep.")
        name = f"mediakeep.{text}".split("(")[0].split(":")[0].split(" ")[0]
        if kind.endswith("class ") or " = mediakeep." in line:
            assert pkgutil.resolve_name(name) is not None
            seen += 1
        elif kind in ("def ", "async def "):
            found = inspect.signature(pkgutil.resolve_name(name)).parameters
            written = ast.parse(f"{line}: pass".replace(name, "it")).body[0].args
            names = [it.arg for it in (*written.posonlyargs, *written.args, *written.kwonlyargs)]
            stars = [it.arg for it in (written.vararg, written.kwarg) if it]
            assert sorted(found) == sorted(names + stars), name
            seen += 1
    assert seen


DOCUMENTED = re.compile(r"^::: ([\w.]+)$", re.MULTILINE)


def test_what_the_documentation_describes_is_public():
    agreed = agreed_lines()
    modules = {it.removeprefix("# ") for it in agreed if it.startswith("#")}
    words = {re.split(r"[(:]", word)[0] for line in agreed for word in line.split()}
    for page in (ROOT / "docs").rglob("*.md"):
        for name in DOCUMENTED.findall(page.read_text()):
            assert name in modules | words, f"{page.name} describes {name}"
