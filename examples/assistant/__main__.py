"""An assistant end to end: workers are killed in the middle, and media live as long as they should.

Run it with `python -m examples.assistant`, or `python examples/assistant`. It works in a temporary
folder that it removes. The exit code is 1 if anything is not as it should be.
"""

import argparse
import importlib.util
import sys
import tempfile
from pathlib import Path

if not __package__:  # run as a folder: let it be found by its own name, in the workers too
    sys.path[0] = str(Path(__file__).resolve().parents[2])

from examples.assistant.play import play
from examples.assistant.timeline import teller


def main() -> int:
    """Play it; return the exit code."""
    parser = argparse.ArgumentParser(prog="assistant", description=__doc__.partition("\n")[0])
    parser.add_argument("--keep", type=Path, metavar="DIR", help="work in this new folder, and leave it")
    parser.add_argument("--rounds", type=int, default=1, metavar="N", help="tell the story N times")
    given = parser.parse_args()
    if given.rounds < 1:
        parser.error(f"--rounds must be 1 or more, not {given.rounds}")
    if importlib.util.find_spec("PIL") is None:
        parser.error(
            'the assistant draws with Pillow, which is missing: pip install "mediakeep[images]"'
        )
    tell = teller()
    tell(("mediakeep: an assistant with two workers, of which some are killed", "bold"))
    if given.keep is None:
        with tempfile.TemporaryDirectory(prefix="mediakeep-assistant-") as folder:
            return play(Path(folder), given.rounds, tell)
    if given.keep.exists() and not (given.keep.is_dir() and not any(given.keep.iterdir())):
        parser.error(f"{given.keep} is there already: name a folder that is new or empty")
    given.keep.mkdir(parents=True, exist_ok=True)
    return play(given.keep, given.rounds, tell)


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:  # the workers have been stopped, and the folder is removed
        sys.exit(130)
