"""Tests that fork: in an interpreter of their own if need be, since it must not have threads then."""

import functools
import os
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
APART = "MEDIAKEEP_TEST_APART"

MEMORY = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None


def apart(test: Callable[..., None]) -> Callable[..., None]:
    """Run the test by a pytest of its own if other tests have left threads in this one."""

    @functools.wraps(test)
    def elsewhere(**fixtures: object) -> None:
        if _threads() == 1 or APART in os.environ:
            test(**fixtures)
            return
        name = os.environ["PYTEST_CURRENT_TEST"].rpartition(" ")[0]
        done = subprocess.run(
            [sys.executable, "-m", "pytest", "-q", "-rs", "-p", "no:cacheprovider", "--no-header", name],
            cwd=ROOT,
            env={**os.environ, APART: "1"},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        if done.returncode:
            pytest.fail(done.stdout, pytrace=False)
        if "1 skipped" in done.stdout:
            pytest.skip(done.stdout.partition("SKIPPED")[2].partition("\n")[0])

    return elsewhere


def _threads() -> int:
    try:
        return len(os.listdir("/proc/self/task"))  # as the kernel counts them, and Python when it forks
    except OSError:
        return threading.active_count()


@pytest.fixture(name="root")
def folder_in_memory(tmp_path: Path) -> Iterator[Path]:
    """A folder in memory, if there is such: a death is as sudden there, and an fsync takes no time."""
    if MEMORY is None:
        yield tmp_path
        return
    with tempfile.TemporaryDirectory(dir=MEMORY) as folder:
        yield Path(folder)
