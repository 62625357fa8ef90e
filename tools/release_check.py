"""Build mediakeep, and check that what was built can be released.

    python tools/release_check.py [EXTRA…]      by default `core`, each extra alone, `all` and `least`

1. Source distribution and wheel are built into dist/, twice: the same bytes must come out.
2. Their metadata and contents are checked, and the quick tests run from the unpacked sources.
3. For the core and for each extra alone a fresh environment gets the wheel with that one extra. There
   tests/smoke does what the extra gives on real data (a real PostgreSQL, object store and server), has
   every extra that is missing named, and imports every public module. `least` is `all` with the least
   version of each package that an extra names.
4. The environment of `all` becomes a bill of materials (CycloneDX) in dist/.

Environments are made two at a time. What came from a package index is in pip's cache the next time.
"""

import hashlib
import json
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import time
import tomllib
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, TypeVar

from packaging.requirements import Requirement
from release_contents import faults_of_sdist, faults_of_version, faults_of_wheel

T = TypeVar("T")

ROOT = Path(__file__).resolve().parents[1]
DIST = ROOT / "dist"
SMOKE = ROOT / "tests" / "smoke"
AT_A_TIME = 2
SECONDS = 1800

sys.path.insert(0, str(ROOT / "tests"))
from postgres_server import PostgresServer  # noqa: E402
from seaweed_server import Seaweed  # noqa: E402

EXTRAS: dict[str, list[str]] = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"][
    "optional-dependencies"
]
FRAMEWORKS = {"adk", "agno", "langchain", "mcp", "pydantic-ai"}

INSTALLED_AS = {"core": "", "least": "all", "otel": "otel,server"}
"""What is installed, where it is not the extra alone: `otel` adds to the server."""

# Newer Pythons have no wheels of versions that were made before them.
USUAL = ["core", *EXTRAS, *(["least"] if sys.version_info < (3, 12) else [])]

QUICK = (
    *("tests/test_names.py", "tests/test_types.py", "tests/test_docs.py", "tests/test_api_surface.py"),
    *("tests/test_store.py", "-k", "not fleet and not http"),
)


class Unfit(Exception):
    """What was built cannot be released, and why."""


def main(extras: Sequence[str]) -> int:
    """Check all of it; return 0 if it can be released."""
    unknown = set(extras) - {*EXTRAS, "core", "least"}
    if unknown:
        print(f"there is no {', '.join(sorted(unknown))}: there are core, least, {', '.join(EXTRAS)}")
        return 2
    begun = time.monotonic()
    try:
        wheel, sdist = _step("built twice, alike", _build)
        _step("the contents are right", lambda: _check_contents(wheel, sdist))
        _step("the metadata and the README are right", lambda: _twine(wheel, sdist))
        _step("the quick tests pass in the sources", lambda: _test_sources(sdist))
        failed = _check_extras(wheel, extras or USUAL)
    except Unfit as error:
        print(f"UNFIT: {error}")
        return 1
    for name, said in failed.items():
        print(f"\n== {name}\n{said}")
    minutes = (time.monotonic() - begun) / 60
    verdict = f"UNFIT: {', '.join(failed)}" if failed else "it can be released"
    print(f"{verdict} ({minutes:.1f} minutes)")
    return int(bool(failed))


def _step(name: str, work: Callable[[], T]) -> T:
    begun = time.monotonic()
    result = work()
    print(f"{name} ({time.monotonic() - begun:.0f} s)", flush=True)
    return result


def _run(*command: object, **options: Any) -> str:
    words = [str(it) for it in command]
    done = subprocess.run(words, capture_output=True, encoding="utf-8", timeout=SECONDS, **options)
    if done.returncode:
        raise Unfit(f"{' '.join(words)}\n{done.stdout[-6000:]}{done.stderr[-6000:]}")
    return str(done.stdout)


# -- what is built


def _build() -> tuple[Path, Path]:
    shutil.rmtree(DIST, ignore_errors=True)
    with tempfile.TemporaryDirectory() as again:
        for folder in (DIST, Path(again)):
            _run(sys.executable, "-m", "build", "--outdir", folder, ROOT)
        for one in DIST.iterdir():
            other = Path(again, one.name)
            if not other.exists() or _digest(one) != _digest(other):
                raise Unfit(f"{one.name} is another one each time it is built")
    (wheel,), (sdist,) = DIST.glob("*.whl"), DIST.glob("*.tar.gz")
    return wheel, sdist


def _digest(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()


def _check_contents(wheel: Path, sdist: Path) -> None:
    faults = [*faults_of_version(), *faults_of_wheel(wheel), *faults_of_sdist(sdist)]
    if faults:
        raise Unfit("\n".join(faults))


def _twine(*files: Path) -> None:
    _run(sys.executable, "-m", "twine", "check", "--strict", *files)


def _test_sources(sdist: Path) -> None:
    with tempfile.TemporaryDirectory() as folder:
        with tarfile.open(sdist) as archive:
            archive.extractall(folder, filter="data")
        (sources,) = Path(folder).iterdir()
        _run(
            *(sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *QUICK),
            cwd=sources,
            env={**os.environ, "PYTHONPATH": str(sources / "src")},
        )


# -- what it is once installed


def _check_extras(wheel: Path, extras: Sequence[str]) -> dict[str, str]:
    """Return what went wrong by extra."""
    failed: dict[str, str] = {}
    with ExitStack() as stack:
        surroundings = {**_without_python(), **stack.enter_context(_servers())}
        pool = stack.enter_context(ThreadPoolExecutor(AT_A_TIME))

        def check(extra: str) -> None:
            begun = time.monotonic()
            try:
                told = _check_extra(wheel, extra, surroundings)
            except (Unfit, subprocess.TimeoutExpired) as error:
                failed[extra] = str(error)
                told = "FAILED"
            print(f"{extra:12} {told} ({time.monotonic() - begun:.0f} s)", flush=True)

        list(pool.map(check, extras))
    return failed


def _check_extra(wheel: Path, extra: str, surroundings: dict[str, str]) -> str:
    with tempfile.TemporaryDirectory(prefix=f"release-{extra}-") as folder:
        venv = Path(folder, "venv")
        python = venv / "bin" / "python"
        _run(sys.executable, "-m", "venv", "--without-pip", venv)
        pip = (sys.executable, "-m", "pip", "--disable-pip-version-check", "--python", python)
        wanted = INSTALLED_AS.get(extra, extra)
        bounds = _least_versions(Path(folder, "least.txt")) if extra == "least" else []
        what = f"{wheel}[{wanted}]" if wanted else wheel
        _run(*pip, "install", "--quiet", what, *bounds, env=surroundings)
        _run(*pip, "check", env=surroundings)

        def smoke(*what: str) -> str:
            said = _run(python, "-I", SMOKE, *what, env=surroundings, cwd=folder)
            return said.splitlines()[-1].split(": ")[-1]

        parts = sorted(set(EXTRAS) - FRAMEWORKS - {"all"}) if wanted == "all" else [extra]
        told = [f"works {smoke('works', 'core', *(it for it in parts if it != 'core'))}"]
        told += [f"hints {smoke('hints')}", f"modules {smoke('modules')}"]
        if extra == "all":
            _list_materials(wheel, python, surroundings)
        count = len(json.loads(_run(*pip, "list", "--format", "json", env=surroundings)))
        return f"{count:3} packages, {', '.join(told)}"


def _least_versions(file: Path) -> list[object]:
    """Write down the least versions, and return what makes pip take them."""
    named = [Requirement(it) for extra in set(EXTRAS) - FRAMEWORKS - {"all"} for it in EXTRAS[extra]]
    least = {it.name: bound.version for it in named for bound in it.specifier if bound.operator == ">="}
    file.write_text("".join(f"{name}=={version}\n" for name, version in sorted(least.items())))
    return ["--constraint", file]


def _list_materials(wheel: Path, python: Path, surroundings: dict[str, str]) -> None:
    bill = DIST / f"{'-'.join(wheel.name.split('-')[:2])}.cdx.json"
    options = ("--pyproject", ROOT / "pyproject.toml", "--output-reproducible", "--of", "JSON")
    _run(
        *(sys.executable, "-m", "cyclonedx_py", "environment", *options, "-o", bill, python),
        env=surroundings,
    )
    document = json.loads(bill.read_text())
    # It takes the version from pyproject.toml, where a build has yet to fill it in.
    document["metadata"]["component"]["version"] = wheel.name.split("-")[1]
    bill.write_text(json.dumps(document, indent=2) + "\n")


@contextmanager
def _servers() -> Iterator[dict[str, str]]:
    """Start what the smoke programs speak to, and give its addresses as they want them."""
    with ExitStack() as stack:
        postgres = PostgresServer()
        stack.callback(postgres.close)
        objects = stack.enter_context(Seaweed())
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="release-store-"))
        serve = (sys.executable, "-m", "mediakeep", "serve", "--store", folder, "--port", "0")
        log = stack.enter_context(open(Path(folder, "log"), "wb"))
        served = stack.enter_context(
            subprocess.Popen(serve, stdout=subprocess.PIPE, stderr=log, text=True)
        )
        stack.callback(served.terminate)
        assert served.stdout is not None  # noqa: S101  a pipe was asked for
        address = served.stdout.readline().split()[-1]
        yield {
            "SMOKE_POSTGRES": postgres.url,
            "SMOKE_OBJECTS": json.dumps(objects.options),
            "SMOKE_SERVER": address,
        }


def _without_python() -> dict[str, str]:
    """Return the environment of this process, less what would lead to other packages."""
    return {
        name: it
        for name, it in os.environ.items()
        if name not in ("PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV")
    }


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
