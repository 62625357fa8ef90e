"""What mediakeep's extras bring, why, and under which licences:  python tools/dependencies.py [--write]

It reads the metadata of the packages that are installed here, so all extras have to be. Without
`--write` it prints what is wrong: a licence that is not allowed or cannot be told, a package that nobody
gave a reason for, a page docs/dependencies.md that is out of date.
"""

import re
import sys
import textwrap
import tomllib
from collections.abc import Iterable, Iterator, Sequence
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

from licences import ALLOWED, EXCEPTIONS, is_allowed, licence_of
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "dependencies.md"

REASONS = {
    "agno": "the framework that its adapter is for",
    "anyio": "threads for the asynchronous store, on asyncio and trio",
    "botocore": "finding uploads to S3 that were cut off, which obstore does not list",
    "click": "the command line: quick to start, and completes in shells",
    "google-adk": "the framework that its adapter is for",
    "httpcore2": "connections whose address is checked and which can be given up",
    "httptools": "reading HTTP requests, several times as fast as in Python",
    "httpx2": "URLs of downloads, parsed and joined as they are everywhere else",
    "jinja2": "the pages of the dashboard, escaped",
    "langchain-core": "the framework that its adapter is for",
    "langgraph": "the checkpoints that its adapter is for",
    "mcp": "the Model Context Protocol's own SDK",
    "obstore": "object storage of S3, GCS and Azure, at a third of the processor time of boto3",
    "opentelemetry-api": "spans, where a program has set a provider",
    "pi-heif": "decoding HEIC; the wheel of its sister pillow-heif is GPL, for encoders not used here",
    "pillow": "decoding, scaling and encoding pictures",
    "platformdirs": "where a user's data are, if no store is named",
    "prometheus-client": "numbers in Prometheus' format",
    "psycopg": "PostgreSQL",
    "pydantic-ai-harness": "the framework that its adapter is for",
    "pypdfium2": "first pages of PDF, by the engine of Chromium",
    "python-multipart": "forms with files, piece by piece",
    "rich": "bars on a terminal; loaded only when one is shown",
    "starlette": "routes of the server",
    "uvicorn": "the server's processes and connections",
    "uvloop": "a quicker event loop for the server; not on Windows",
}
"""Why each package is named in an extra."""


def main(arguments: Sequence[str]) -> int:
    """Write the page, or print what is wrong and return 1 if anything is."""
    if arguments == ["--write"]:
        PAGE.write_text(page())
    elif arguments:
        print(__doc__)
        return 2
    found = list(faults())
    print(*found, sep="\n", end="\n" if found else "")
    return int(bool(found))


def faults() -> Iterator[str]:
    """Yield what is wrong with licences, reasons and the page."""
    named = {name for requirements in extras().values() for name in requirements}
    yield from (f"{it} is in an extra, and nobody says why" for it in sorted(named - set(REASONS)))
    yield from (f"{it} is in no extra" for it in sorted(set(REASONS) - named))
    brought = closures()
    for name in sorted(brought):
        licence = licence_of(name)
        if licence is None:
            yield f"the licence of {name} cannot be told from its metadata: see tools/licences.py"
        elif not is_allowed(licence) and name not in EXCEPTIONS:
            yield f"{name} is under {licence}, which is not allowed: see tools/licences.py"
    yield from (f"{it} is an exception, and not needed" for it in sorted(set(EXCEPTIONS) - set(brought)))
    if not PAGE.exists() or _named_part(PAGE.read_text()) != _named_part(page()):
        yield "docs/dependencies.md is out of date: python tools/dependencies.py --write"


def extras() -> dict[str, dict[str, Requirement]]:
    """Return what each extra names, but `all`, by the names of packages."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    return {
        extra: {canonicalize_name(it.name): it for it in map(Requirement, requirements)}
        for extra, requirements in sorted(project["optional-dependencies"].items())
        if extra != "all"
    }


def closures() -> dict[str, set[str]]:
    """Return each package that comes with an extra, and with which, on this machine and this Python."""
    found: dict[str, set[str]] = {}
    for extra, requirements in extras().items():
        for name in _closure(requirements.values()):
            found.setdefault(name, set()).add(extra)
    return found


def _closure(requirements: Iterable[Requirement]) -> set[str]:
    seen: set[tuple[str, str]] = set()
    left = list(requirements)
    while left:
        wanted = left.pop()
        if wanted.marker is not None and not wanted.marker.evaluate({"extra": ""}):
            continue
        name = canonicalize_name(wanted.name)
        for extra in ("", *wanted.extras):
            if (name, extra) in seen:
                continue
            seen.add((name, extra))
            try:
                said = distribution(name).requires or []
            except PackageNotFoundError:
                raise SystemExit(f"{name} is not installed: all extras have to be") from None
            for it in map(Requirement, said):
                if it.marker is None or it.marker.evaluate({"extra": extra}):
                    it.marker = None
                    left.append(it)
    return {name for name, _ in seen}


# -- the page

BEGIN = """\
# Dependencies

The core needs Python's standard library and nothing else. This page tells what each extra brings, for
whoever has to answer for it. It is written by `python tools/dependencies.py --write`. A test holds it
against `pyproject.toml`, and the licences of all that is installed against a list of those that are
allowed.

`make release-check` makes a bill of materials in CycloneDX's format: `dist/mediakeep-….cdx.json`.

## What extras name

"""

LICENCES = """
## Licences

mediakeep is under the MIT licence. What it names, and what that needs in turn, is under licences that
ask for no more than to keep their notices:
{allowed}.

These are other ones:

"""

REST = """
## What comes with these

At the time of writing, on Linux with Python {python}. `pip install` decides on the day, within what the
packages above ask for.

"""


def page() -> str:
    """Return docs/dependencies.md."""
    brought = closures()
    named: list[str] = []
    lines = ["| extra | package | at least | licence | why |", "|---|---|---|---|---|"]
    for extra, requirements in extras().items():
        named += requirements
        for name, it in requirements.items():
            said = (f"`{extra}`", name, _least(it), licence_of(name), REASONS.get(name))
            lines.append(f"| {' | '.join(map(str, said))} |")
    others = [
        f"- **{name}** ({licence_of(name)}): {why}."
        for name, why in EXCEPTIONS.items()
        if name in brought
    ]
    rest = ["| package | licence | with |", "|---|---|---|"]
    for name in sorted(set(brought) - set(named)):
        them = ", ".join(f"`{it}`" for it in sorted(brought[name]))
        rest.append(f"| {name} | {licence_of(name)} | {them} |")
    allowed = textwrap.fill(", ".join(sorted(ALLOWED)), 105)
    python = ".".join(map(str, sys.version_info[:2]))
    texts = [BEGIN, *_lines(lines), LICENCES.format(allowed=allowed), *_lines(others)]
    return "".join([*texts, REST.format(python=python), *_lines(rest)])


def _lines(texts: list[str]) -> list[str]:
    return [f"{it}\n" for it in texts]


def _least(requirement: Requirement) -> str:
    least = [it.version for it in requirement.specifier if it.operator == ">="]
    below = [f", below {it.version}" for it in requirement.specifier if it.operator == "<"]
    return "".join([*least, *below])


def _named_part(text: str) -> list[str]:
    """Return what of a page is ours to say: the rest is for others to change, day by day."""
    ours = text.partition("\n## What comes with these")[0]
    # The licence of a package is told by its metadata, which a newer version may word anew.
    return [re.sub(r"(\| [^|]*){2}\|$", "", it) for it in ours.splitlines() if not it.startswith("- **")]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
