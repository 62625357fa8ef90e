"""What the comparison found, as a page and as plots that are always the same for the same run."""

import os
import platform
import sqlite3
import statistics
import tomllib
from collections.abc import Iterable
from importlib.metadata import version
from typing import TYPE_CHECKING

from benchmarks.measure import ROOT, Line
from benchmarks.peer_stores import PEERS
from benchmarks.report import LOAD, file_system, number

if TYPE_CHECKING:
    from benchmarks.peers import Found, PeerScale

PAGE = ROOT / "docs" / "comparison-benchmarks.md"
GROUP = "peers"
"""The dependency group that names each peer with its version."""

BEGIN, END = "<!-- measured: begin -->", "<!-- measured: end -->"

VERBS = {
    "put": "Put",
    "read": "Read back",
    "find": "Look up",
    "end": "Delete",
    "together": "Put from {processes} processes",
}
ABOUT = {
    "put": (
        "The bytes are in memory. What returns has them under a name, with file name and content type "
        "where there is a place for them. mediakeep, agno and pydantic-ai-harness compute a sha256. "
        "diskcache writes values that it gets as bytes line by line."
    ),
    "read": (
        "All bytes, of files that were put just before and are in the page cache, in random order."
    ),
    "find": (
        "`resolve` of mediakeep, which looks into its books and not at the disk; `in` of diskcache; "
        "`exists` of filedepot, agno, pydantic-ai-harness and a bare file; `get_artifact_version` of "
        "google-adk."
    ),
    "end": (
        "`release` of mediakeep, of the only ref; `delete` of diskcache, filedepot and agno; "
        "`delete_artifact` of google-adk. pydantic-ai-harness has no such verb."
    ),
    "together": (
        "All into one folder at once: the time from the first start to the last end, for each file. On "
        "fewer cores than processes a core is waited for, too."
    ),
}
SLOWER = 1.05
"""From this ratio on mediakeep is told to be the slower one."""


def pinned() -> dict[str, str]:
    """Return the peers, and the version of each that is compared."""
    with open(ROOT / "pyproject.toml", "rb") as file:
        group = tomllib.load(file)["dependency-groups"][GROUP]
    return dict(it.split("==") for it in group if isinstance(it, str) and "==" in it)


def line(found: "Found", verb: str, size: int, name: str) -> Line | None:
    """Return what mediakeep took against `name`, or None if that has no such verb."""
    rounds = found.rounds[verb, size]
    if name not in rounds:
        return None
    return Line(f"{verb} {size}", None, rounds[_ours(found, name)], rounds[name], "")


def section(fast: "Found", durable: "Found", scale: "PeerScale") -> str:
    """Return what stands between the markers."""
    return "\n\n".join(
        [
            f"Measured on {machine()}.",
            "## Without waiting for the disk",
            _FAST,
            _image("peers-fast.svg", "Time of each verb without waiting for the disk, by peer"),
            *_tables(fast, scale),
            "## On the disk when it returns",
            _DURABLE,
            _image("peers-durable.svg", "Time of each verb when what returns is on the disk, by peer"),
            *_tables(durable, scale),
            "## What they take",
            _footprint([fast, durable], scale),
            _image("peers-footprint.svg", "Bytes on disk and in memory, by peer"),
            "## Where mediakeep is slower",
            _slower([fast, durable], scale),
            "## What each was told",
            _settings([fast, durable]),
        ]
    )


_FAST = (
    "What returned survives the end of the process, and may be lost with the power. filedepot, agno, "
    "pydantic-ai-harness on disk and google-adk never wait for the disk. diskcache does not by default. "
    "mediakeep is told not to."
)
_DURABLE = (
    "What returned survives a loss of power. Of the peers only these can do that. diskcache never syncs "
    "its files, so that all values have to be in its database."
)


def machine() -> str:
    """Return what it was measured on, and with."""
    try:
        system = platform.freedesktop_os_release()["PRETTY_NAME"]
    except OSError:
        system = f"{platform.system()} {platform.release()}"
    peers = ", ".join(f"{it} {version(it)}" for it in pinned())
    return (
        f"{os.cpu_count()} cores ({platform.machine()}), {system}, {file_system()}, "
        f"Python {platform.python_version()}, SQLite {sqlite3.sqlite_version}, {peers}; "
        f"load {LOAD:.1f} at the start"
    )


def write(text: str) -> None:
    """Put `text` between the markers of the page."""
    page = PAGE.read_text()
    before, _, rest = page.partition(BEGIN)
    _, found, after = rest.partition(END)
    if not found:
        raise SystemExit(f"{PAGE} lacks the markers {BEGIN} and {END}")
    PAGE.write_text(f"{before}{BEGIN}\n{text}\n{END}{after}")


def _ours(found: "Found", name: str) -> str:
    ours = PEERS[name].ours
    return ours if ours in found.peers else found.peers[0]


def _sizes(found: "Found", verb: str) -> list[int]:
    return [size for it, size in found.rounds if it == verb]


def _tables(found: "Found", scale: "PeerScale") -> Iterable[str]:
    for verb, title in VERBS.items():
        sizes = _sizes(found, verb)
        if not sizes:
            continue
        yield f"### {title.format(processes=scale.processes)}"
        yield ABOUT[verb]
        yield _table(
            ["", *(size_of(it) for it in sizes)],
            (
                [PEERS[name].name, *(_cell(found, verb, size, name) for size in sizes)]
                for name in found.peers
            ),
        )


def _cell(found: "Found", verb: str, size: int, name: str) -> str:
    measured = line(found, verb, size, name)
    if measured is None:
        return "–"
    median = time_of(statistics.median(measured.peer))
    if _ours(found, name) == name:
        return median
    first, third = measured.spread
    return f"{median}; **{_ratio(measured.ratio)}** ({_ratio(first)}–{_ratio(third)})"


def _footprint(groups: "list[Found]", scale: "PeerScale") -> str:
    rows = []
    for found in groups:
        for name in found.peers:
            differing, same = found.disk[name]
            opened, put = found.memory[name]
            label = f"{PEERS[name].name}{', durable' if found is not groups[0] else ''}"
            rows.append([label, f"{differing:.2f}", f"{same:.2f}", megabytes(opened), megabytes(put)])
    head = [
        "",
        f"disk: {scale.kept} different files of {size_of(scale.kept_bytes)}",
        f"disk: the same 8 files, {scale.kept} times",
        "memory: imported and opened",
        f"memory: a file of {size_of(scale.streamed)} put",
    ]
    return f"{_TAKE}\n\n{_table(head, rows)}"


_TAKE = (
    "On disk: bytes that the folder takes in the end, as `du` counts them, for each byte that was put. "
    "In memory: by how much a fresh Python grows when the peer is imported and opened and has put one "
    "small file, and by how much more, at most, while it puts a large one: from a file where the peer "
    "takes files, else from bytes. The bare file is copied by the kernel."
)


def _slower(groups: "list[Found]", scale: "PeerScale") -> str:
    """Return every cell in which a peer is faster, peer by peer, the farthest first."""
    cells: dict[str, list[tuple[float, str]]] = {}
    for found in groups:
        for name in found.peers:
            if name in (*_BARE, _ours(found, name)):
                continue
            for verb, size in found.rounds:
                measured = line(found, verb, size, name)
                if measured is not None and measured.ratio > SLOWER:
                    title = VERBS[verb].format(processes=scale.processes).lower()
                    of = cells.setdefault(_label(found, name), [])
                    of.append((measured.ratio, f"{title} {size_of(size)} {_ratio(measured.ratio)}"))
    if not cells:
        return "In nothing that is measured here."
    lines = [
        f"- **{label}** is faster at: {', '.join(words for _, words in sorted(of, reverse=True))}."
        for label, of in cells.items()
    ]
    return f"By more than {SLOWER - 1:.0%}, the farthest first:\n\n" + "\n".join(lines)


_BARE = ("bare", "bare-durable")


def _settings(groups: "list[Found]") -> str:
    rows = [[_label(found, name), PEERS[name].settings] for found in groups for name in found.peers]
    return _table(["", "what"], rows)


def _label(found: "Found", name: str) -> str:
    return f"{PEERS[name].name}{', durable' if _slug(found) == 'durable' else ''}"


def _table(head: list[str], rows: Iterable[list[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def _image(file: str, alt: str) -> str:
    return f"![{alt}](img/{file})"


def _slug(found: "Found") -> str:
    return "durable" if "durable" in found.peers[0] else "fast"


def size_of(size: int) -> str:
    return f"{size >> 20} MiB" if size % (1 << 20) == 0 else f"{size // 1000} kB"


def time_of(seconds: float) -> str:
    return f"{number(seconds * 1e6)} µs" if seconds < 1e-3 else f"{number(seconds * 1e3)} ms"


def _ratio(ratio: float) -> str:
    return f"{ratio:.1f}×" if ratio >= 10 else f"{ratio:.2f}×"


def megabytes(size: int) -> str:
    return f"{size / 1e6:.1f} MB"
