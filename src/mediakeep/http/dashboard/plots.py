"""Plots, drawn here: numbers become the coordinates of an SVG, which a template writes down."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

WIDTH, HEIGHT = 640, 200
LEFT, RIGHT, TOP, BOTTOM = 8, 8, 14, 26
BUCKETS = 240
"""How many points a line has at most."""

GAP_SECONDS = 300.0
"""Where nothing was seen for so long the line is broken."""


@dataclass(frozen=True, slots=True)
class Tick:
    """A line across the plot, or a mark under it."""

    at: float
    value: float


@dataclass(frozen=True, slots=True)
class Line:
    """A plot of one number over time; coordinates are those of a box of WIDTH by HEIGHT."""

    strokes: tuple[str, ...]
    areas: tuple[str, ...]
    last: tuple[float, float]
    levels: tuple[Tick, ...]
    """Values of round numbers."""
    times: tuple[Tick, ...]
    """Values are seconds before now."""
    points: str
    """Each point as `x,y,seconds before now,value`, for who points at it."""
    least: float
    most: float
    lone: bool
    """Whether there is too little to see a line."""


def draw_line(
    points: Sequence[tuple[float, float]], now: float, seconds: float, *, binary: bool
) -> Line:
    """Return a plot of `points` (time and value, the oldest first) over the last `seconds`.

    With `binary` the levels are round in bytes (decimal), else round as counts. There is at least one.
    """
    bucket = seconds / BUCKETS
    thinned: dict[int, tuple[float, float]] = {}
    for at, value in points:
        thinned[int((at - now) // bucket)] = at, value  # the last one of each bucket
    kept = list(thinned.values())
    values = [value for _, value in kept]
    step = _step(max(values), binary=binary)
    top = max(step, math.ceil(max(values) / step) * step)

    def x(at: float) -> float:
        return round(LEFT + (WIDTH - LEFT - RIGHT) * (1 - (now - at) / seconds), 1)

    def y(value: float) -> float:
        return round(TOP + (HEIGHT - TOP - BOTTOM) * (1 - value / top), 1)

    strokes, areas = [], []
    for part in _unbroken(kept, max(GAP_SECONDS, 3 * bucket)):
        places = [(x(at), y(value)) for at, value in part]
        path = "M" + " L".join(f"{a:g} {b:g}" for a, b in places)
        strokes.append(path)
        areas.append(f"{path} L{places[-1][0]:g} {y(0):g} L{places[0][0]:g} {y(0):g} Z")
    at, value = kept[-1]
    return Line(
        tuple(strokes),
        tuple(areas),
        (x(at), y(value)),
        tuple(Tick(y(step * n), step * n) for n in range(round(top / step) + 1)),
        tuple(Tick(x(now - seconds * part), seconds * part) for part in (1, 0.75, 0.5, 0.25, 0)),
        " ".join(f"{x(at):g},{y(value):g},{now - at:.0f},{value:.0f}" for at, value in kept),
        min(values),
        max(values),
        len(kept) < 3,
    )


def _step(most: float, *, binary: bool) -> float:
    """Return a round number that fits three or four times into `most`."""
    if most <= 0:
        return 1.0
    rough = most / 3
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(it * power for it in (1, 2, 5, 10) if it * power >= rough)
    return step if binary else max(1.0, step)


def _unbroken(points: Sequence[tuple[float, float]], gap: float) -> list[list[tuple[float, float]]]:
    parts: list[list[tuple[float, float]]] = []
    for point in points:
        if not parts or point[0] - parts[-1][-1][0] > gap:
            parts.append([])
        parts[-1].append(point)
    return parts
