"""The site as `make docs` builds it: strictly, and so that it needs nobody else."""

import os
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest

pytest.importorskip("mkdocs", reason="needs the dependency group `docs`")
pytest.importorskip("mkdocstrings", reason="needs the dependency group `docs`")

from test_docs import entries

ROOT = Path(__file__).parents[1]
FETCHED = {
    "script": "src",
    "link": "href",
    "img": "src",
    "iframe": "src",
    "source": "src",
    "object": "data",
}


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All pages. What is worth a warning, such as a link to a heading that is not there, fails."""
    folder = tmp_path_factory.mktemp("site")
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", folder],
        cwd=ROOT,
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert done.returncode == 0, done.stderr
    return folder


class Fetched(HTMLParser):
    """What a browser fetches to show a page."""

    def __init__(self) -> None:
        super().__init__()
        self.urls: list[str] = []
        self.ids: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        said = dict(attrs)
        self.ids.add(said.get("id") or "")
        if tag in FETCHED and said.get("rel") not in ("canonical", "prev", "next", "alternate"):
            self.urls.append(said.get(FETCHED[tag]) or "")


def read(page: Path) -> Fetched:
    parser = Fetched()
    parser.feed(page.read_text())
    parser.close()
    return parser


def test_a_page_needs_nothing_but_what_is_beside_it(site):
    pages = list(site.glob("**/*.html"))
    assert len(pages) > 30
    for page in pages:
        for url in filter(None, read(page).urls):
            assert not re.match(r"[a-z]+:|//", url) or url.startswith("data:"), (
                f"{page.name} fetches {url}"
            )
            if page.name != "404.html":  # which is written for the root of a server
                assert (page.parent / url.partition("#")[0].partition("?")[0]).exists(), (page, url)


def test_the_reference_shows_all_that_it_describes(site):
    described = entries((ROOT / "docs" / "reference.md").read_text())
    assert len(described) > 100
    assert set(described) <= read(site / "reference.html").ids
