"""The store in memory against what nobody could do less: a dict, `os.stat`, `os.unlink`."""

import itertools
import os
import random
import subprocess
import sys
import uuid
from collections.abc import Callable
from pathlib import Path

from benchmarks.growth import idle_sweep, longest_resolve
from benchmarks.measure import (
    ROOT,
    Line,
    Scale,
    interleaved,
    make_files,
    per_call,
    scratch,
)
from mediakeep import FileMediaStore, MediaMeta

Job = tuple[str, MediaMeta, str]


def jobs(paths: list[str]) -> list[Job]:
    """What a bot would say of each file: a name of its own, a scope for every ten."""
    return [
        (path, MediaMeta(os.path.basename(path), "image/jpeg", "telegram"), f"telegram:42:{n // 10}")
        for n, path in enumerate(paths)
    ]


def store(scale: Scale) -> Line:
    with scratch() as folder:
        given = jobs(make_files(folder / "files", scale.files))

        def ours() -> float:
            store = FileMediaStore().store

            def run() -> None:
                for path, meta, scope in given:
                    store(path, meta, scope)

            return per_call(run, len(given))

        def peer() -> float:
            known: dict[str, str] = {}

            def run() -> None:
                for path, _meta, _scope in given:
                    os.stat(path)
                    known[f"media://{uuid.uuid4()}"] = path

            return per_call(run, len(given))

        return Line(
            "in memory: `store` against a bare loop of `os.stat`, uuid4 text and dict insert",
            3.0,
            *interleaved(ours, peer, scale.rounds),
            how=f"{scale.files:,} files of a folder on disk, a scope for every ten, into a fresh store",
        )


def resolve(scale: Scale) -> Line:
    with scratch() as folder:
        media = FileMediaStore()
        refs = [media.store(*job) for job in jobs(make_files(folder / "files", scale.files))]
        known = {ref: media.resolve(ref) for ref in refs}
        random.Random(1).shuffle(refs)
        asked = refs * 10

        def bare(ref: str) -> Path:
            return known[ref]

        def side(look_up: Callable[[str], Path]) -> float:
            def run() -> None:
                for ref in asked:
                    look_up(ref)

            return per_call(run, len(asked))

        return Line(
            "in memory: `resolve` against a bare dict look-up in a function",
            4.0,
            *interleaved(lambda: side(media.resolve), lambda: side(bare), scale.rounds),
            how=f"{len(asked):,} look-ups in random order among {len(refs):,} refs",
        )


def release_all(scale: Scale) -> Line:
    with scratch() as folder:
        rounds = itertools.count()

        def ours() -> float:
            media = FileMediaStore()
            for path in make_files(folder / f"ours-{next(rounds)}", scale.owned):
                media.store(path, scope="telegram:42:1")
            return per_call(lambda: media.release_all("telegram:42:1"), scale.owned)

        def peer() -> float:
            paths = make_files(folder / f"peer-{next(rounds)}", scale.owned)

            def run() -> None:
                for path in paths:
                    os.unlink(path)

            return per_call(run, scale.owned)

        return Line(
            f"in memory: `release_all` of {scale.owned:,} owned files against a bare `os.unlink` loop",
            1.5,
            *interleaved(ours, peer, scale.long_rounds),
            how="files of 1 kB, just made, in one folder on disk, registered in place in one scope",
        )


def per_ref(scale: Scale) -> Line:
    """Measure in a process of its own, where nothing was freed that could be used again."""
    command = [sys.executable, "-m", "benchmarks.footprint", str(scale.refs)]
    done = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True)
    return Line(
        f"in memory: memory per ref at {scale.refs:,} refs, against 1 KiB",
        1.0,
        (float(done.stdout),),
        (1024.0,),
        how="growth of the resident set of a fresh process that registers as many distinct files by "
        "`store`, each with a file name of its own, a scope for every ten",
        scale=1.0,
        unit="bytes",
    )


LINES: dict[str, Callable[[Scale], Line | None]] = {
    "memory.store": store,
    "memory.resolve": resolve,
    "memory.idle_sweep": idle_sweep,
    "memory.longest_resolve": longest_resolve,
    "memory.release_all": release_all,
    "memory.per_ref": per_ref,
}
