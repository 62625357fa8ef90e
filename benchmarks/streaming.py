"""A large stream on its way in: how fast, and in how much memory.

`python -m benchmarks.streaming` prints how many bytes a fresh process grows by.
"""

import hashlib
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

from benchmarks.measure import ROOT, Line, Scale, highest_growth, interleaved, scratch
from mediakeep import open_store

SIZE = 64 << 20
CHUNK = 1 << 20
MOST_GROWTH = 8 << 20


def make_stream(folder: Path) -> Path:
    """Make a file that no two rounds have in common."""
    path = folder / "stream"
    path.write_bytes(os.urandom(CHUNK) * (SIZE // CHUNK))
    return path


def copy_with_sha256(source: BinaryIO, target: Path) -> str:
    """Copy as anybody would who wants the hash as well."""
    digest = hashlib.sha256()
    with open(target, "xb") as file:
        while chunk := source.read(CHUNK):
            digest.update(chunk)
            file.write(chunk)
    return digest.hexdigest()


def speed(scale: Scale) -> Line:
    with (
        scratch() as folder,
        open_store(folder / "store", fsync=False, dedupe=False) as store,
        open(make_stream(folder), "rb") as source,
    ):

        def timed(run: Callable[[], object]) -> float:
            source.seek(0)
            start = time.perf_counter()
            run()
            return time.perf_counter() - start

        def ours() -> float:
            cost = timed(lambda: store.put(source, scope="s"))
            store.release_all("s")
            return cost

        def peer() -> float:
            target = folder / "copy"
            cost = timed(lambda: copy_with_sha256(source, target))
            target.unlink()
            return cost

        return Line(
            "`put` of 64 MiB from a stream, fsync off, against a bare copy with sha256, time",
            1.25,
            *interleaved(ours, peer, scale.long_rounds),
            how="an open file on the same disk, in the page cache; chunks of 1 MiB on both sides",
        )


def memory(_: Scale) -> Line:
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.streaming"], cwd=ROOT, capture_output=True, check=True
    )
    return Line(
        "memory that `put` of 64 MiB from a stream adds, against 8 MiB",
        1.0,
        (float(done.stdout),),
        (float(MOST_GROWTH),),
        how="highest resident set of a fresh process during the put, less what it had before it",
        scale=1 / 1024,
        unit="KiB",
    )


def main() -> None:
    with scratch() as folder, open_store(folder / "store", fsync=False) as store:
        store.put(iter([b"small"]), scope="before")  # what is loaded once is not counted
        path = make_stream(folder)
        with open(path, "rb") as source:
            print(highest_growth(lambda: store.put(source, scope="s")))


LINES: dict[str, Callable[[Scale], Line | None]] = {
    "streaming.speed": speed,
    "streaming.memory": memory,
}

if __name__ == "__main__":
    main()
