"""What the comparison found, as plots that are always the same for the same run."""

import statistics
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.measure import ROOT
from benchmarks.peer_page import VERBS, megabytes, size_of, time_of
from benchmarks.peer_stores import PEERS

if TYPE_CHECKING:
    from benchmarks.peers import Found

IMAGES = ROOT / "docs" / "img"

Panel = tuple[str, dict[str, float], Callable[[Any], str]]
"""What it shows, the value of each peer, and how one is written."""


def draw(fast: "Found", durable: "Found", processes: int, folder: Path = IMAGES) -> None:
    """Write the plots; the same values give the same bytes."""
    for found, title, file in (
        (fast, "Without waiting for the disk", "peers-fast.svg"),
        (durable, "On the disk when it returns", "peers-durable.svg"),
    ):
        panels: list[Panel] = [
            (
                f"{VERBS[verb].format(processes=processes)}, {size_of(size)}",
                {it: statistics.median(of) for it, of in found.rounds[verb, size].items()},
                time_of,
            )
            for verb, size in _SHOWN
            if (verb, size) in found.rounds
        ]
        _bars(panels, found.peers, title, folder / file)
    _bars(
        [
            ("On disk, all different", {it: a for it, (a, _) in fast.disk.items()}, _times),
            ("On disk, the same 8", {it: b for it, (_, b) in fast.disk.items()}, _times),
            ("Memory: opened", {it: a for it, (a, _) in fast.memory.items()}, megabytes),
            ("Memory: put of 64 MiB", {it: b for it, (_, b) in fast.memory.items()}, megabytes),
        ],
        fast.peers,
        "What they take",
        folder / "peers-footprint.svg",
    )


_SHOWN = (
    ("put", 1_000),
    ("put", 200_000),
    ("put", 5 << 20),
    ("together", 1_000),
    ("read", 1_000),
    ("read", 200_000),
    ("find", 1_000),
    ("end", 200_000),
)
"""What the plots show, verb and size."""
GROUND, INK, QUIET, OURS, THEIRS = "#f8fafc", "#0f172a", "#475569", "#0f766e", "#94a3b8"
"""A ground of its own, so that it reads alike on light and dark pages."""


def _times(value: float) -> str:
    return f"{value:.2f}×"


def _bars(panels: list[Panel], peers: tuple[str, ...], title: str, file: Path) -> None:
    import matplotlib as mpl

    mpl.use("svg")
    from matplotlib import pyplot as plt

    file.parent.mkdir(parents=True, exist_ok=True)
    labels = [PEERS[name].name for name in peers]
    settings: Any = {
        "svg.hashsalt": "mediakeep",
        "font.size": 9,
        "text.color": INK,
        "axes.labelcolor": INK,
        "ytick.color": INK,
        "figure.facecolor": GROUND,
        "axes.facecolor": GROUND,
    }
    across = 2
    down = -(-len(panels) // across)
    size = (7.5, down * (0.45 + 0.2 * len(peers)) + 0.5)
    with mpl.rc_context(settings):
        figure, grid = plt.subplots(
            down,
            across,
            figsize=size,
            squeeze=False,
            sharey=True,
        )
        for axes, (what, values, words) in zip(grid.flat, panels, strict=True):
            colours = [OURS if name.startswith("mediakeep") else THEIRS for name in peers]
            lengths = [values.get(name, 0.0) for name in peers]
            axes.barh(labels, lengths, color=colours, height=0.7)
            axes.set_title(what, fontsize=9, loc="left")
            axes.set_xlim(0, max(lengths) * 1.35)
            for row, name in enumerate(peers):
                text = words(values[name]) if name in values else "no such verb"
                axes.annotate(
                    text,
                    (lengths[row], row),
                    (3, 0),
                    textcoords="offset points",
                    va="center",
                    fontsize=8,
                    color=INK if name in values else QUIET,
                )
            axes.set_xticks([])
            axes.tick_params(axis="y", length=0)
            for side in ("top", "right", "bottom"):
                axes.spines[side].set_visible(False)
            axes.spines["left"].set_color(THEIRS)
        grid[0, 0].invert_yaxis()  # for all of them: they share it
        figure.suptitle(title, x=0.01, ha="left", fontsize=11, fontweight="bold")
        figure.tight_layout()
        figure.savefig(file, metadata={"Date": None, "Creator": None})
        plt.close(figure)
