"""The documentation is true: its examples run and print what they say, its links lead somewhere."""

import ast
import importlib
import pkgutil
import re
import shutil
from pathlib import Path
from types import ModuleType

import pytest

from mediakeep import MediaStore

ROOT = Path(__file__).parents[1]
MEDIA = ROOT / "examples" / "media"
HEIC = ROOT / "tests" / "data" / "pictures" / "turned.heic"
TOP = ("README.md", "CONTRIBUTING.md", "CHANGELOG.md", "SECURITY.md")
PAGES = [*(ROOT / name for name in TOP), *ROOT.glob("docs/**/*.md")]
MADE_LATER = {"docs/benchmarks.md"}  # written by `make bench`

EXAMPLE = re.compile(r"^```python\n(.*?)^```$", re.DOTALL | re.MULTILINE)
FENCED = re.compile(r"^```.*?^```$", re.DOTALL | re.MULTILINE)
LINK = re.compile(r"(!?)\[([^\]]*)\]\(([^)\s]+)\)")
HEADING = re.compile(r"^#{1,6} +(.+?)(?: *\{#([\w.-]+)\})?$", re.MULTILINE)
DOCUMENTED = re.compile(r"^::: ([\w.]+)$", re.MULTILINE)
TEST = re.compile(r"(test_\w+\.py)::(test_\w+)")
ENTRY = re.compile(
    r"^::: ([\w.]+)$(?:\n    options:$(?:\n      .*$)*?\n      members:((?: .*$)(?:\n        - .*$)*))?",
    re.MULTILINE,
)
LISTED = re.compile(r"\]\([\w/-]+\.md#(mediakeep\.[\w.]+)\)")
CODE = re.compile(r"^```py(?:thon)?\n(.*?)^```$", re.DOTALL | re.MULTILINE)
IMPORT = re.compile(r"^ *from (mediakeep[\w.]*) import (\([^)]*\)|.*)$", re.MULTILINE)
INNER = {"mediakeep.http.inputs"}
INCLUDED = re.compile(r'^ *--8<-- "([^":]+):?([^"]*)"$', re.MULTILINE)
SAID = re.compile(r"^ *print\(.*\)  # (.+)$", re.MULTILINE)


def name_of(page: Path) -> str:
    return str(page.relative_to(ROOT))


def with_examples() -> list[Path]:
    return [page for page in PAGES if EXAMPLE.search(page.read_text())]


@pytest.mark.parametrize("page", with_examples(), ids=name_of)
def test_examples_run_in_order_and_print_what_they_say(page, tmp_path, monkeypatch, capsys):
    for sample in MEDIA.iterdir():
        if sample.suffix not in (".md", ".py"):
            shutil.copy(sample, tmp_path)
    shutil.copy(HEIC, tmp_path / "photo.heic")
    monkeypatch.chdir(tmp_path)
    namespace: dict[str, object] = {"__name__": "example"}
    for block in EXAMPLE.finditer(page.read_text()):
        line = page.read_text()[: block.start(1)].count("\n")
        # As many empty lines before it as in the page: then a traceback names the page's line.
        exec(compile("\n" * line + block[1], str(page), "exec"), namespace)
        printed = capsys.readouterr().out.splitlines()
        said = SAID.findall(block[1])
        if said:
            assert len(printed) == len(said), f"{page.name}:{line}: printed {printed}, not {said}"
        for got, expected in zip(printed, said, strict=False):
            pattern = ".*".join(re.escape(part) for part in expected.split("…"))
            assert re.fullmatch(pattern, got), f"{page.name}:{line}: printed {got!r}, not {expected!r}"


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_links_lead_somewhere(page):
    for image, text, target in LINK.findall(FENCED.sub("", page.read_text())):
        assert text, f"{target} has no words that say what it is"
        if re.match(r"https?://", target):
            continue
        path, _, anchor = target.partition("#")
        aim = page.parent / path if path else page
        if str(aim.resolve().relative_to(ROOT)) in MADE_LATER and not aim.exists():
            continue
        assert aim.exists(), f"{page.name} leads to {target}, which is not there"
        assert not (image and anchor)
        if anchor:
            assert anchor in anchors(aim), f"{page.name} leads to {target}: no such heading"


@pytest.mark.parametrize("page", [it for it in PAGES if INCLUDED.search(it.read_text())], ids=name_of)
def test_files_that_are_shown_exist_and_are_tested(page):
    tests = [it.read_text() for it in ROOT.glob("tests/test_*.py")]
    for name, section in INCLUDED.findall(page.read_text()):
        shown = ROOT / name
        assert shown.is_file(), f"{page.name} shows {name}, which is not there"
        assert not section or f"--8<-- [start:{section}]" in shown.read_text(), (
            f"{name} has no {section}"
        )
        # A program of several files is run by the name of its folder.
        runs = (f'"{shown.stem}"', f'"{shown.parent.name}"')
        assert any(it in test for test in tests for it in runs), f"{name} is run by no test"


def anchors(page: Path) -> set[str]:
    text = page.read_text()
    found = {given or slug(title) for title, given in HEADING.findall(FENCED.sub("", text))}
    return found | set(DOCUMENTED.findall(text))


def slug(title: str) -> str:
    """Return what a heading is called in links, on GitHub and by Python-Markdown alike."""
    return re.sub(r"[-\s]+", "-", re.sub(r"[^\w\s-]", "", title).strip().lower())


def test_every_public_name_is_in_the_reference():
    described = {name: value for page in PAGES for name, value in entries(page.read_text()).items()}
    reference = (ROOT / "docs" / "reference.md").read_text()
    listed = {**entries(reference), **{name: described[name] for name in LISTED.findall(reference)}}
    public = names_in_all() | names_that_pages_import()
    found = {id(value) for value in listed.values() if callable(value)}
    missing = {
        name for name in public if name not in listed and id(pkgutil.resolve_name(name)) not in found
    }
    assert not missing, f"docs/reference.md neither describes nor leads to {sorted(missing)}"


def test_every_verb_of_a_store_has_a_recipe():
    recipes = (ROOT / "docs" / name for name in ("quickstart.md", "how-to.md", "migrating.md"))
    code = "".join(block[1] for page in recipes for block in CODE.finditer(page.read_text()))
    verbs = {name for name, value in vars(MediaStore).items() if callable(value) and name[0] != "_"}
    assert len(verbs) > 25
    assert {verb for verb in verbs if not re.search(rf"\.{verb}\(", code)} == set()


def entries(text: str) -> dict[str, object]:
    """Return what a page describes from docstrings, by its full name."""
    found: dict[str, object] = {}
    for name, members in ENTRY.findall(text):
        value = found[name] = pkgutil.resolve_name(name)
        names = re.findall(r"\w+", members) if members else getattr(value, "__all__", ())
        for member in names:
            if isinstance(value, ModuleType) and member != "false":
                found[f"{name}.{member}"] = getattr(value, member)
    return found


def names_in_all() -> set[str]:
    """Return what each module says that it offers, but for those that only serve their neighbours."""
    public = set()
    for file in (ROOT / "src").glob("mediakeep/**/*.py"):
        module = ".".join(file.relative_to(ROOT / "src").with_suffix("").parts).removesuffix(".__init__")
        if module not in INNER and re.search(r"^__all__ = ", file.read_text(), re.MULTILINE):
            public |= {f"{module}.{name}" for name in importlib.import_module(module).__all__}
    assert len(public) > 80
    return public


def names_that_pages_import() -> set[str]:
    code = "".join(block[1] for page in PAGES for block in CODE.finditer(page.read_text()))
    return {
        f"{module}.{name.split()[0]}"
        for module, names in IMPORT.findall(code)
        for name in names.strip("()").split(",")
        if name.strip()
    }


def test_metrics_that_are_named_exist():
    pytest.importorskip("prometheus_client", reason="needs mediakeep[server]")
    from mediakeep.http.metrics import Metrics
    from mediakeep.model import Stats, SweepReport

    numbers = Metrics()
    numbers.answered("GET", "/v1/media/{id}", 200, 0.1, 1)
    numbers.swept(SweepReport(), 0.1)
    told = numbers.text(Stats()).decode()
    known = set(re.findall(r"^(?:# TYPE )?(mediakeep_\w+)", told, re.MULTILINE))
    text = (ROOT / "docs" / "operations.md").read_text()
    named = set(re.findall(r"\b(mediakeep_\w+)", EXAMPLE.sub("", text)))
    assert named <= known
    of_the_store = {name for name in known if re.search(rf"^{name} ", told, re.MULTILINE)}
    assert len(of_the_store - {"mediakeep_sweeps_total"}) > 8
    assert {it for it in of_the_store if not it.endswith(("_created", "_count", "_sum"))} <= named


def test_lines_of_the_log_that_are_named_are_logged():
    said = set()
    for file in (ROOT / "src").glob("mediakeep/**/*.py"):
        for call in ast.walk(ast.parse(file.read_text())):
            if isinstance(call, ast.Call) and ast.unparse(call.func).startswith("logger."):
                line = call.args[0]
                if isinstance(line, ast.Constant):
                    said.add((ast.unparse(call.func)[7:], re.sub(r"%[sdg]", "…", line.value)))
    text = (ROOT / "docs" / "operations.md").read_text()
    lines = re.findall(r"^\| `([^`]+)` \| (warning|error) \|", text, re.MULTILINE)
    assert len(lines) > 5
    for line, level in lines:
        levels = {"error", "exception"} if level == "error" else {level}
        assert any((it, line) in said for it in levels), f"nobody logs {line!r} as {level}"


def test_every_command_and_option_is_on_the_page_of_the_command_line():
    click = pytest.importorskip("click", reason="needs mediakeep[cli]")
    from mediakeep.cli.commands import command_line

    text = (ROOT / "docs" / "cli.md").read_text()
    headings = {title for title, _ in HEADING.findall(text)}
    for name, command in command_line.commands.items():
        assert any(name in heading.strip("`").split() for heading in headings), f"{name} has no heading"
        for parameter in command.params:
            if isinstance(parameter, click.Option) and not parameter.hidden:
                spelled = [it for it in parameter.opts if it.startswith("--")]
                assert any(f"`{it}" in text for it in spelled), f"{name} {spelled} is not described"


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_tests_that_are_named_exist(page):
    for file, test in TEST.findall(page.read_text()):
        assert f"def {test}(" in (ROOT / "tests" / file).read_text(), f"{page.name} names {file}::{test}"


def test_the_changelog_begins_with_what_is_not_released_yet():
    headings = [title for title, _ in HEADING.findall((ROOT / "CHANGELOG.md").read_text())]
    assert headings[:2] == ["Changelog", "Unreleased"]
