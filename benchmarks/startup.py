"""What it costs to import the library and to ask the command for help, against an empty Python."""

import os
import site
import subprocess
import time
import venv
from collections.abc import Callable
from pathlib import Path

from benchmarks.measure import ROOT, Line, Scale, Side, interleaved, scratch


def _python(folder: Path) -> str:
    """Make an environment with nothing but mediakeep and what it needs, and return its Python.

    The one we run in may have `.pth` files that make every start slow, and so our ratio look good.
    """
    venv.create(folder, with_pip=False)
    packages = next(folder.glob("lib/python*/site-packages"))
    paths = [str(ROOT / "src"), *site.getsitepackages()]
    (packages / "mediakeep.pth").write_text("\n".join(paths) + "\n")
    return str(folder / "bin" / "python")


def _start(*command: str) -> Side:
    hidden = ("PYTHONDONTWRITEBYTECODE", "PYTHONPATH")
    environment = {name: value for name, value in os.environ.items() if name not in hidden}

    def timed() -> float:
        start = time.perf_counter()
        subprocess.run(command, env=environment, check=True, stdout=subprocess.DEVNULL)
        return time.perf_counter() - start

    return timed


def _line(scale: Scale, what: str, reach: float, *arguments: str) -> Line:
    with scratch() as folder:
        python = _python(folder)
        ours, peer = _start(python, *arguments), _start(python, "-c", "pass")
        return Line(
            f"{what} against `python -c pass`",
            reach,
            *interleaved(ours, peer, scale.rounds),
            how="whole processes, byte code written, in a virtual environment with nothing else to load",
        )


def importing(scale: Scale) -> Line:
    return _line(scale, "`python -c 'import mediakeep'`", 2.5, "-c", "import mediakeep")


def command(scale: Scale) -> Line | None:
    """Return None while there is no command."""
    if not (ROOT / "src" / "mediakeep" / "__main__.py").exists():
        return None
    return _line(scale, "`mediakeep --help`", 6.0, "-m", "mediakeep", "--help")


LINES: dict[str, Callable[[Scale], Line | None]] = {
    "startup.import": importing,
    "startup.help": command,
}
