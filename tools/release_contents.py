"""What has to be in a wheel and in a source distribution of mediakeep, and what must not."""

import re
import subprocess
import tarfile
import tomllib
import zipfile
from collections.abc import Iterator
from email import message_from_bytes
from email.message import Message
from pathlib import Path, PurePosixPath

from packaging.version import Version

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "src" / "mediakeep"

ESSENTIAL = (
    "mediakeep/py.typed",
    "mediakeep/testing/__init__.py",
    "mediakeep/http/dashboard/templates/base.html",
    "mediakeep/http/dashboard/static/base.css",
)
"""What is easily left out: it is named here too, should `src` itself have lost it."""

IN_SDIST = ("src", "tests", "docs", "examples", "tools")
"""Folders whose tracked files belong into a source distribution, all of them."""


def faults_of_wheel(wheel: Path) -> Iterator[str]:
    """Yield what is wrong with the names in a wheel, and with its metadata."""
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
        metadata = _metadata(archive)
    inside = {it for it in names if ".dist-info/" not in it}
    wanted = {f"mediakeep/{it.relative_to(PACKAGE).as_posix()}" for it in _files_of(PACKAGE)}
    yield from (f"{it} is not in the wheel" for it in sorted({*wanted, *ESSENTIAL} - inside))
    yield from (f"{it} is in the wheel, and not in src" for it in sorted(inside - wanted))
    if not any(it.endswith(".dist-info/licenses/LICENSE") for it in names):
        yield "the licence is not in the wheel"
    yield from _faults_of_metadata(metadata)


def faults_of_sdist(sdist: Path) -> Iterator[str]:
    """Yield what is wrong with the names in a source distribution."""
    with tarfile.open(sdist) as archive:
        files = [PurePosixPath(it.name) for it in archive.getmembers() if not it.isdir()]
    names = {str(PurePosixPath(*it.parts[1:])) for it in files}
    tracked = set(_tracked())
    yield from (
        f"{it} is in the source distribution, and not under version control"
        for it in sorted(names - tracked - {"PKG-INFO"})
    )
    wanted = {it for it in tracked if it.startswith(tuple(f"{folder}/" for folder in IN_SDIST))}
    wanted |= {"README.md", "CHANGELOG.md", "SECURITY.md", "CONTRIBUTING.md", "LICENSE", "Makefile"}
    yield from (f"{it} is not in the source distribution" for it in sorted(wanted - names))


def faults_of_version() -> Iterator[str]:
    """Yield where the tag of this commit, if it has one, and the changelog tell of other versions."""
    version = re.search(r'^__version__ = "(.+)"$', (PACKAGE / "__init__.py").read_text(), re.MULTILINE)
    number = "" if version is None else version[1]
    if str(Version(number)) != number:
        yield f"{number} is not how a version is spelled"
    tags = [it for it in _git("tag", "--points-at", "HEAD") if re.match(r"v\d", it)]
    yield from (f"the tag {it} is not that of version {number}" for it in tags if it != f"v{number}")
    changes = (ROOT / "CHANGELOG.md").read_text()
    heading = rf"^## {re.escape(number)} - \d{{4}}-\d\d-\d\d$"
    if tags and not re.search(heading, changes, re.MULTILINE):
        yield f"CHANGELOG.md has no heading '## {number} - <date>'"


def _metadata(archive: zipfile.ZipFile) -> Message:
    name = next(it for it in archive.namelist() if it.endswith(".dist-info/METADATA"))
    return message_from_bytes(archive.read(name))


def _faults_of_metadata(said: Message) -> Iterator[str]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    source = (PACKAGE / "__init__.py").read_text()
    if f'__version__ = "{said["Version"]}"' not in source:
        yield f"the wheel is of version {said['Version']}, and the source of another one"
    if set(said.get_all("Provides-Extra", [])) != set(project["optional-dependencies"]):
        yield "the wheel offers other extras than pyproject.toml"
    plain = [it for it in said.get_all("Requires-Dist", []) if "extra ==" not in it]
    yield from (f"the core needs {it}" for it in plain)
    if said["License-Expression"] != "MIT":
        yield f"the licence is said to be {said['License-Expression']!r}"
    # Until it is known where the project lives, better no address than a wrong one.
    yield from (
        f"the address {it} is nobody's" for it in said.get_all("Project-URL", []) if "example" in it
    )


def _files_of(folder: Path) -> Iterator[Path]:
    return (it for it in folder.rglob("*") if it.is_file() and "__pycache__" not in it.parts)


def _tracked() -> list[str]:
    return _git("-c", "core.quotepath=off", "ls-files")


def _git(*arguments: str) -> list[str]:
    said = subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=True)
    return said.stdout.splitlines()
