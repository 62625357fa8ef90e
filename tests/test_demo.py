"""The demo is the first thing that a newcomer runs: it must come to its verdict, and be able to fail."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("rich", reason="the demo needs mediakeep[all]")

DEMO = Path(__file__).parents[1] / "examples" / "demo.py"


def play(tmp_path: Path, *before: str) -> subprocess.CompletedProcess[str]:
    """Run the demo in a process of its own, after some lines of Python that change the world."""
    program = "\n".join([*before, f"import runpy; runpy.run_path({str(DEMO)!r}, run_name='__main__')"])
    return subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        timeout=60,
        env={**os.environ, "TMPDIR": str(tmp_path)},
    )


def test_the_demo_comes_to_a_good_verdict_and_leaves_nothing(tmp_path):
    done = play(tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.endswith("All as it should be.\n")
    assert "WRONG" not in done.stdout
    assert done.stderr == ""
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("sabotage", "claim"),
    [
        ("mediakeep.MediaStore.sweep = lambda self: mediakeep.SweepReport()", "expired"),
        ("mediakeep.MediaStore.release_all = lambda self, scope: None", "the voice note is gone"),
    ],
)
def test_the_demo_fails_where_something_is_not_as_it_should_be(tmp_path, sabotage, claim):
    done = play(tmp_path, "import mediakeep", sabotage)
    assert done.returncode == 1
    wrong = [line for line in done.stdout.splitlines() if "WRONG" in line]
    assert any(claim in line for line in wrong), done.stdout
    assert "not as they should be" in done.stdout
