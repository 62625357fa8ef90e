"""The curve: cost of an operation against the number of live refs, as an SVG that is always the same."""

from pathlib import Path

from benchmarks.growth import Point
from benchmarks.measure import ROOT

PLOT = ROOT / "docs" / "img" / "growth.svg"

SERIES = (
    ("store", "store", "#1f77b4", "o"),
    ("resolve", "resolve", "#2ca02c", "s"),
    ("idle_sweep", "idle sweep", "#d62728", "^"),
)


def draw(points: list[Point], file: Path = PLOT) -> None:
    """Write the curve to `file`; the same points give the same bytes."""
    import matplotlib as mpl

    mpl.use("svg")
    from matplotlib import pyplot as plt

    file.parent.mkdir(parents=True, exist_ok=True)
    with mpl.rc_context({"svg.hashsalt": "mediakeep", "font.size": 11}):
        figure, axes = plt.subplots(figsize=(7, 4))
        refs = [point.refs for point in points]
        for name, label, colour, marker in SERIES:
            micros = [getattr(point, name) * 1e6 for point in points]
            axes.plot(refs, micros, color=colour, marker=marker, label=label)
            axes.annotate(f"{micros[-1]:.2g} µs", (refs[-1], micros[-1]), (6, 4), **_BESIDE)
        axes.set(xscale="log", yscale="log", xlabel="live refs", ylabel="µs per operation (median)")
        axes.set_title("In memory: cost against the number of refs")
        axes.set_xlim(right=refs[-1] * 2.5)
        axes.set_ylim(0.05, 100)
        axes.grid(visible=True, which="major", alpha=0.3)
        axes.legend(frameon=False)
        figure.tight_layout()
        figure.savefig(file, metadata={"Date": None, "Creator": None})
        plt.close(figure)


_BESIDE = {"textcoords": "offset points", "fontsize": 9}
