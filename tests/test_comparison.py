"""The comparison is of what it says: the versions that it names, and what their sources say."""

import ast
import importlib
import re
import tomllib
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "comparison.md"
MEASURED = ROOT / "docs" / "comparison-benchmarks.md"
NAMES = {
    "agno": "agno",
    "depot": "filedepot",
    "diskcache": "diskcache",
    "google": "google-adk",
    "pydantic_ai_harness": "pydantic-ai-harness",
}
"""The package that is imported, and the one that is installed."""

VERSIONS = {
    name: version
    for name, _, version in (
        it.partition("==")
        for it in tomllib.loads((ROOT / "pyproject.toml").read_text())["dependency-groups"]["peers"]
    )
    if version
}
NAMED = re.compile(rf"`((?:{'|'.join(NAMES)})(?:\.\w+)+)`")
QUOTED = re.compile(r'"([^"|]+)"')


def files(name):
    """The folder that `name` is installed in, if it is there in the version that was read."""
    try:
        installed = distribution(name)
    except PackageNotFoundError:
        pytest.skip(f"{name} is not installed: it is in the dependency group `peers`")
    if installed.version != VERSIONS[name]:
        pytest.skip(f"{name} {installed.version} is installed, and {VERSIONS[name]} was read")
    return Path(str(installed.locate_file("")))


def source_of(dotted):
    """The text of the file, and of the class, function or constant in it, that a name stands for."""
    folder = files(NAMES[dotted.partition(".")[0]])
    parts = dotted.split(".")
    for n in range(len(parts), 0, -1):
        path = folder.joinpath(*parts[:n])
        for file in (path.with_suffix(".py"), path / "__init__.py"):
            if file.is_file():
                return within(file.read_text(), parts[n:], dotted)
        if path.is_dir() and n == len(parts):
            return ""
    raise AssertionError(f"there is no {dotted}")


def within(text, parts, dotted):
    node = ast.parse(text)
    for part in parts:
        node = next((it for it in node.body if part in names_of(it)), None)
        assert node is not None, f"there is no {dotted}"
    return ast.get_source_segment(text, node) if parts else text


def names_of(node):
    if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
        return [node.name]
    targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
    return [it.id for it in targets if isinstance(it, ast.Name)]


def methods_of(dotted):
    """The public methods of a class, as its source has them."""
    (node,) = ast.parse(source_of(dotted)).body
    return {
        it.name
        for it in node.body
        if isinstance(it, ast.FunctionDef | ast.AsyncFunctionDef) and not it.name.startswith("_")
    }


def test_the_page_names_the_versions_that_the_group_pins():
    text = PAGE.read_text()
    assert dict(re.findall(r"^\| \[([\w-]+)\]\(\S+\) \| (\d[\w.]*) \|", text, re.MULTILINE)) == VERSIONS
    assert dict(re.findall(r"^## ([\w-]+) (\d[\w.]*)$", text, re.MULTILINE)) == VERSIONS


def test_the_benchmarks_were_run_with_the_versions_that_the_group_pins():
    told = re.search(r"^Measured on .*$", MEASURED.read_text(), re.MULTILINE)
    assert told is not None
    for name, version in VERSIONS.items():
        assert f"{name} {version}" in told[0], f"run `make bench-peers`: {name} is now {version}"


@pytest.mark.parametrize("name", sorted(set(NAMED.findall(PAGE.read_text()))))
def test_each_name_that_the_page_gives_is_in_the_source(name):
    source_of(name)


ROWS = [row for row in PAGE.read_text().splitlines() if NAMED.search(row) and QUOTED.search(row)]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: QUOTED.search(row)[1][:30])
def test_what_the_page_quotes_is_in_the_source_that_it_names(row):
    sources = [" ".join(source_of(name).split()) for name in NAMED.findall(row)]
    for quoted in QUOTED.findall(row):
        assert any(quoted in source for source in sources), f"nowhere does it say {quoted!r}"


# A verb that is not among these is one that the page says is not there.
PROTOCOLS = {
    "pydantic_ai_harness.media._store.MediaStore": {
        *("put", "get", "exists", "public_url", "get_metadata"),
    },
    "agno.media.storage.base.MediaStorage": {
        *("upload", "download", "get_url", "delete", "delete_many", "exists"),
    },
    "depot.io.interfaces.FileStorage": {
        *("fileid", "fileinfo", "get", "create", "replace", "delete", "exists", "list"),
    },
    "google.adk.artifacts.base_artifact_service.BaseArtifactService": {
        *("save_artifact", "load_artifact", "list_artifact_keys", "delete_artifact"),
        *("list_versions", "list_artifact_versions", "get_artifact_version"),
    },
}


@pytest.mark.parametrize("name", PROTOCOLS)
def test_a_peer_has_no_other_verbs_than_those_that_were_read(name):
    assert methods_of(name) == PROTOCOLS[name]


ABSENT = [
    ("diskcache", "diskcache", "fsync|async def"),
    ("filedepot", "depot", "fsync|async def|hashlib|HTTP_RANGE"),
    ("agno", "agno/media", "fsync"),
    ("pydantic-ai-harness", "pydantic_ai_harness/media", r"fsync|def \w*delete|expires"),
    ("google-adk", "google/adk/artifacts", "fsync|hashlib|sha256"),
]


@pytest.mark.parametrize(("name", "folder", "words"), ABSENT, ids=[it[0] for it in ABSENT])
def test_what_the_page_says_is_not_there_is_nowhere_in_the_source(name, folder, words):
    sources = list((files(name) / folder).rglob("*.py"))
    assert sources
    for source in sources:
        found = re.search(words, source.read_text())
        assert found is None, f"{source.name} has {found[0]!r}"


@pytest.fixture
def peers(monkeypatch):
    """The benchmark itself."""
    for name, version in VERSIONS.items():
        pytest.importorskip(name_of_import(name), reason=f"{name} {version} is in the group `peers`")
    monkeypatch.syspath_prepend(ROOT)
    return importlib.import_module("benchmarks.peers")


def name_of_import(name):
    imported = next(it for it, installed in NAMES.items() if installed == name)
    return "google.adk" if imported == "google" else imported


def tiny(peers):
    return peers.PeerScale({1_000: 2, 50_000: 1}, 1, 1, 1, 2, 2, 8, 1_000, 1 << 20, 1)


def test_each_peer_does_the_same_work(peers):
    """Each gives back the bytes that it was given: else it raises."""
    for group in (peers.FAST, peers.DURABLE):
        for verb, rounds in peers.alone(group, tiny(peers), 1_000, 2).items():
            without = {"harness", "harness-sqlite"} if verb == "end" else set()
            assert set(rounds) == set(group) - without
        assert all(0 < taken < 100 for name in group for taken in peers.footprint(name, tiny(peers)))


def test_what_was_measured_becomes_a_page(peers):
    page = importlib.import_module("benchmarks.peer_page")
    found = peers.measure(("mediakeep", "bare"), tiny(peers))
    text = page.section(found, found, tiny(peers))
    for words in ("Put from 2 processes", "| bare file |", "1 MiB put", "## Where mediakeep is slower"):
        assert words in text
