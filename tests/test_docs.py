"""The documentation is true: its examples run and print what they say, its links lead somewhere."""

import pkgutil
import re
import shutil
from pathlib import Path

import pytest

import mediakeep
import mediakeep.testing

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


def anchors(page: Path) -> set[str]:
    text = page.read_text()
    found = {given or slug(title) for title, given in HEADING.findall(FENCED.sub("", text))}
    return found | set(DOCUMENTED.findall(text))


def slug(title: str) -> str:
    """Return what a heading is called in links, on GitHub and by Python-Markdown alike."""
    return re.sub(r"[-\s]+", "-", re.sub(r"[^\w\s-]", "", title).strip().lower())


def test_every_public_name_is_in_the_reference():
    documented = set(DOCUMENTED.findall((ROOT / "docs" / "reference.md").read_text()))
    public = {f"mediakeep.{name}" for name in mediakeep.__all__}
    public |= {f"mediakeep.testing.{name}" for name in mediakeep.testing.__all__}
    assert public <= documented
    for name in documented:
        assert pkgutil.resolve_name(name) is not None, f"{name} is documented, but is not"


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
