"""Run the benchmarks: all of them, or those named; `--write` makes the page and its plot."""

import argparse
import sys
import time

from benchmarks import (
    asynchronous,
    checkpoints,
    durable,
    memory,
    messages,
    objects,
    plot,
    postgres,
    processes,
    report,
    server,
    sniffing,
    startup,
    streaming,
)
from benchmarks.growth import curve
from benchmarks.measure import FULL, QUICK, Line

LINES = {
    **memory.LINES,
    **durable.LINES,
    **processes.LINES,
    **startup.LINES,
    **messages.LINES,
    **checkpoints.LINES,
    **asynchronous.LINES,
    **sniffing.LINES,
    **streaming.LINES,
    **postgres.LINES,
    **objects.LINES,
    **server.LINES,
}

# They delete very many files, and ext4 is slow to make new ones for minutes after that: they come last.
LAST = ("release_all", "processes.sweep", "reconcile")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument(
        "names", nargs="*", metavar="name", help=f"one of {', '.join(LINES)}, or what it begins with"
    )
    parser.add_argument("--quick", action="store_true", help="a smaller run, for a first look")
    parser.add_argument("--write", action="store_true", help=f"write {report.PAGE.name} and its plot")
    parser.add_argument("--add", action="store_true", help="put the lines that are named into the page")
    asked = parser.parse_args()
    scale = QUICK if asked.quick else FULL
    chosen = [
        name for name in LINES if not asked.names or any(name.startswith(it) for it in asked.names)
    ]
    if asked.write and len(chosen) < len(LINES):
        parser.error("the page is written as a whole: give no names with --write")

    lines: dict[str, Line | None] = dict.fromkeys(chosen)
    for name in sorted(chosen, key=lambda it: it.endswith(LAST)):
        start = time.perf_counter()
        lines[name] = LINES[name](scale)
        print(f"{name}: {time.perf_counter() - start:.0f} s", file=sys.stderr, flush=True)
    if asked.write:
        plot.draw(curve(scale))
        report.write(report.section(lines, plot.PLOT))
    if asked.add:
        report.add(lines)
    print(report.section(lines, None))


if __name__ == "__main__":
    main()
