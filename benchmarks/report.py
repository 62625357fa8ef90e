"""The table as Markdown, with the machine it was measured on."""

import os
import platform
import sqlite3
import sys
from importlib.metadata import version
from pathlib import Path

from benchmarks.measure import ROOT, Line

PAGE = ROOT / "docs" / "benchmarks.md"
PEERS = ("diskcache", "psycopg", "obstore", "pydantic-ai-harness", "agno")
"""What mediakeep is measured against, or with."""

BEGIN, END = "<!-- measured: begin -->", "<!-- measured: end -->"

LOAD = os.getloadavg()[0]
"""Other work on the machine, before ours begins."""

NEW_PAGE = f"""# Benchmarks

What mediakeep costs beside a peer that does the same or less, measured in one run on one machine:
`make bench` (or `python -m benchmarks --write`) makes this page. Ratios carry over to other machines,
absolute times do not. Each ratio is the median of the ratios of neighbouring rounds (ours, peer, ours,
peer …), with their quartiles in brackets; both sides are warmed up, and the garbage collector is on for
both.

{BEGIN}
{END}
"""


def file_system(folder: Path = ROOT) -> str:
    """Return the type of the file system that `folder` is on."""
    device = folder.stat().st_dev
    wanted = f"{os.major(device)}:{os.minor(device)}"
    try:
        mounts = Path("/proc/self/mountinfo").read_text().splitlines()
    except FileNotFoundError:
        return "unknown"
    found = [line.split(" - ")[1].split()[0] for line in mounts if line.split()[2] == wanted]
    return found[0] if found else "unknown"


def machine() -> str:
    try:
        system = platform.freedesktop_os_release()["PRETTY_NAME"]
    except OSError:
        system = f"{platform.system()} {platform.release()}"
    return (
        f"{os.cpu_count()} cores ({platform.machine()}), {system}, {file_system()}, "
        f"Python {platform.python_version()}, SQLite {sqlite3.sqlite_version}, "
        f"{', '.join(f'{it} {version(it)}' for it in PEERS)}, load {LOAD:.1f} at the start, "
        f"switch interval {sys.getswitchinterval() * 1e3:g} ms"
    )


def number(value: float) -> str:
    """Return three significant digits, never as a power of ten."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def row(line: Line) -> str:
    first, third = line.spread
    spread = f" ({first:.2f}–{third:.2f})" if len(line.ours) > 1 else ""
    reach = "–" if line.reach is None else f"≤ {line.reach:g}×"
    unit = "" if line.unit == "µs" else f" {line.unit}"
    cells = (
        line.what,
        reach,
        f"{line.ratio:.2f}×{spread}",
        f"{number(line.median(line.ours))}{unit}",
        f"{number(line.median(line.peer))}{unit}",
        line.verdict,
    )
    return f"| {' | '.join(cells)} |"


def table(lines: dict[str, Line | None]) -> str:
    head = "| what | reach | measured ratio | ours (µs) | peer (µs) | verdict |"
    rows = [
        f"| {name} | | | | | not present |" if line is None else row(line)
        for name, line in lines.items()
    ]
    return "\n".join([head, "|---|---|---|---|---|---|", *rows])


def section(lines: dict[str, Line | None], plot: Path | None) -> str:
    """Return what stands between the markers."""
    how = "\n".join(f"- {line.what}: {line.how}." for line in lines.values() if line is not None)
    parts = [f"Measured on {machine()}.", table(lines), "How each line is measured:", how]
    if plot is not None:
        alt = "Cost of store, resolve and an idle sweep against the number of live refs"
        parts.append(f"![{alt}]({plot.relative_to(PAGE.parent).as_posix()})")
    return "\n\n".join(parts)


def write(text: str) -> None:
    """Put `text` between the markers of the page, which is made if it is not there."""
    PAGE.parent.mkdir(exist_ok=True)
    before, _, after = _page()
    PAGE.write_text(f"{before}{BEGIN}\n{text}\n{END}{after}")


def add(lines: dict[str, Line | None]) -> None:
    """Put `lines` among those of the page, in the place of what they were, marked as later."""
    before, text, after = _page()
    kept = text.strip().split("\n")
    for line in filter(None, lines.values()):
        own = f"| {line.what} |", f"| † {line.what} |", f"- {line.what}: "
        kept = [it for it in kept if not it.startswith((*own, _LATER))]
        kept.insert(_last(kept, "|") + 1, row(line).replace("| ", "| † ", 1))
        kept.insert(_last(kept, "- ") + 1, f"- {line.what}: {line.how}.")
        kept[1:1] = [f"{_LATER} were measured later, on {machine()}."]
    PAGE.write_text("\n".join((f"{before}{BEGIN}", *kept, f"{END}{after}")))


_LATER = "Lines with a †"


def _last(lines: list[str], beginning: str) -> int:
    return max(number for number, it in enumerate(lines) if it.startswith(beginning))


def _page() -> tuple[str, str, str]:
    """Return what comes before the markers of the page, between them, and after them."""
    before, _, rest = (PAGE.read_text() if PAGE.exists() else NEW_PAGE).partition(BEGIN)
    text, found, after = rest.partition(END)
    if not found:
        raise SystemExit(f"{PAGE} lacks the markers {BEGIN} and {END}")
    return before, text, after
