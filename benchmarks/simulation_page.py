"""What a simulation found: in words, and as an SVG that is always the same for the same run."""

import statistics
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.measure import ROOT

if TYPE_CHECKING:
    from benchmarks.simulation import Run

PLOT = ROOT / "docs" / "img" / "fleet.svg"
WARM_UP_DAYS = 14
_LAW = "arrivals × lifetime"
_CATALOG = "the catalog itself (MB)"


def summary(run: "Run") -> str:
    """Return the numbers that a run proves, as a table in Markdown."""
    steady = [it for it in run.samples if it.day >= WARM_UP_DAYS]
    half = len(steady) // 2
    live = statistics.fmean(it.refs for it in steady)
    calm = [it for it in steady if not _is_disturbed(run, it.day)]
    rows = [
        ("simulated", f"{run.samples[-1].day:,.0f} days in {run.seconds:,.0f} s"),
        ("files that arrived", f"{run.arrived:,}"),
        ("verbs run", f"{run.verbs:,}"),
        ("live refs on average", f"{live:,.1f}"),
        ("arrival rate × lifetime (Little's law)", f"{run.expected:,.1f}"),
        ("measured against that", f"{live / run.expected:.3f}"),
        ("live refs, second half against first", _halves([it.refs for it in steady], half)),
        ("bytes kept, second half against first", _halves([it.bytes for it in steady], half)),
        ("journal lines, second half against first", _halves([it.journal for it in steady], half)),
        (
            "size of the catalog on disk, second half against first",
            _halves([it.catalog_bytes for it in steady], half),
        ),
        ("bucket down", f"{len(run.outages)} times, {_hours_down(run):,.0f} hours in all"),
        ("most condemned files meanwhile", f"{max(it.condemned for it in steady):,}"),
        ("most condemned files otherwise", f"{max(it.condemned for it in calm):,}"),
        ("files deleted", f"{run.deleted:,}"),
        ("left in the end: refs, files, leases", ", ".join(map(str, run.left))),
    ]
    return "\n".join(["| what | found |", "|---|---|", *(f"| {a} | {b} |" for a, b in rows)])


def draw(run: "Run", file: Path = PLOT) -> None:
    """Write the curves to `file`: one point a day."""
    import matplotlib as mpl

    mpl.use("svg")
    from matplotlib import pyplot as plt

    days = [list(group) for _, group in groupby(run.samples, key=lambda it: int(it.day))]
    x = [int(group[0].day) for group in days]

    def mean(name: str, scale: float = 1.0) -> list[float]:
        return [statistics.fmean(getattr(it, name) for it in group) / scale for group in days]

    with mpl.rc_context({"svg.hashsalt": "mediakeep", "font.size": 10}):
        figure, (refs, backlog, size) = plt.subplots(3, sharex=True, figsize=(7, 6.5))
        refs.plot(x, mean("refs"), color="#2ca02c", linewidth=0.8, label="live refs")
        refs.axhline(run.expected, color="black", linestyle="--", linewidth=1, label=_LAW)
        backlog.plot(
            x,
            [max(it.condemned for it in group) for group in days],
            color="#d62728",
            linewidth=0.8,
            label="condemned, the day's most",
        )
        for start, end in run.outages:
            backlog.axvspan(start, max(end, start + 1), color="#d62728", alpha=0.15, linewidth=0)
        size.plot(x, mean("bytes", 1e6), color="#1f77b4", linewidth=0.8, label="bytes kept (MB)")
        size.plot(
            x,
            mean("catalog_bytes", 1e6),
            color="#9467bd",
            linewidth=0.8,
            label=_CATALOG,
        )
        for axes in (refs, backlog, size):
            axes.set_ylim(0, axes.get_ylim()[1] * 1.25)  # room for the legend
            axes.grid(visible=True, alpha=0.3)
            axes.legend(frameon=False, loc="upper right", fontsize=8, ncols=2)
        size.set_xlabel("days")
        refs.set_title("A fleet's traffic on an accelerated clock")
        figure.tight_layout()
        figure.savefig(file, metadata={"Date": None, "Creator": None})
        plt.close(figure)


def _halves(values: list[int], half: int) -> str:
    return f"{statistics.fmean(values[half:]) / statistics.fmean(values[:half]):.3f}"


def _is_disturbed(run: "Run", day: float) -> bool:
    """Return whether the bucket is down, or has not been up for two hours."""
    return any(start <= day <= end + 2 / 24 for start, end in run.outages)


def _hours_down(run: "Run") -> float:
    return sum(end - start for start, end in run.outages) * 24
