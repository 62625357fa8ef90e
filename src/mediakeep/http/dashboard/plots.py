"""Plots, drawn here: numbers become the coordinates of an SVG, which a template writes down."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

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


@dataclass(frozen=True, slots=True)
class Part:
    """One of several lines, with its name and the value that it ends with."""

    name: str
    strokes: tuple[str, ...]
    last: tuple[float, float]
    value: float


@dataclass(frozen=True, slots=True)
class Lines:
    """A plot of several numbers over time, on one scale."""

    parts: tuple[Part, ...]
    levels: tuple[Tick, ...]
    times: tuple[Tick, ...]
    lone: bool


def draw_line(
    points: Sequence[tuple[float, float]], now: float, seconds: float, *, binary: bool
) -> Line:
    """Return a plot of `points` (time and value, the oldest first) over the last `seconds`.

    With `binary` the levels are round in bytes (decimal), else round as counts. There is at least one.
    """
    kept = _thinned(points, now, seconds)
    values = [value for _, value in kept]
    frame = _Frame(now, seconds, max(values), binary=binary)
    strokes, areas = [], []
    for part in _unbroken(kept, _gap(seconds)):
        path = frame.path(part)
        strokes.append(path)
        first, last, ground = frame.x(part[0][0]), frame.x(part[-1][0]), frame.y(0)
        areas.append(f"{path} L{last:g} {ground:g} L{first:g} {ground:g} Z")
    at, value = kept[-1]
    return Line(
        tuple(strokes),
        tuple(areas),
        (frame.x(at), frame.y(value)),
        frame.levels(),
        frame.times(),
        " ".join(f"{frame.x(at):g},{frame.y(value):g},{now - at:.0f},{value:.0f}" for at, value in kept),
        min(values),
        max(values),
        len(kept) < 3,
    )


def draw_lines(
    series: Mapping[str, Sequence[tuple[float, float]]], now: float, seconds: float, *, binary: bool
) -> Lines:
    """Return a plot of several lines of `points`, each as of `draw_line`; there is at least one."""
    kept = {name: _thinned(points, now, seconds) for name, points in series.items()}
    frame = _Frame(now, seconds, max(it for points in kept.values() for _, it in points), binary=binary)
    parts = []
    for name, points in kept.items():
        at, value = points[-1]
        # They are kept the more rarely the longer it takes to count them.
        usual = sorted(b[0] - a[0] for a, b in pairwise(points))[: len(points) // 2 + 1]
        gap = max(3 * _gap(seconds), 3 * usual[-1] if usual else 0.0)
        strokes = tuple(map(frame.path, _unbroken(points, gap)))
        parts.append(Part(name, strokes, (frame.x(at), frame.y(value)), value))
    lone = max(map(len, kept.values())) < 3
    return Lines(tuple(parts), frame.levels(), frame.times(), lone)


class _Frame:
    """Where in the box a time and a value are."""

    def __init__(self, now: float, seconds: float, most: float, *, binary: bool) -> None:
        self._now, self._seconds = now, seconds
        self._step = _step(most, binary=binary)
        self._top = max(self._step, math.ceil(most / self._step) * self._step)

    def x(self, at: float) -> float:
        return round(LEFT + (WIDTH - LEFT - RIGHT) * (1 - (self._now - at) / self._seconds), 1)

    def y(self, value: float) -> float:
        return round(TOP + (HEIGHT - TOP - BOTTOM) * (1 - value / self._top), 1)

    def path(self, points: Sequence[tuple[float, float]]) -> str:
        return "M" + " L".join(f"{self.x(at):g} {self.y(value):g}" for at, value in points)

    def levels(self) -> tuple[Tick, ...]:
        values = (self._step * n for n in range(round(self._top / self._step) + 1))
        return tuple(Tick(self.y(it), it) for it in values)

    def times(self) -> tuple[Tick, ...]:
        spans = (self._seconds * part for part in (1, 0.75, 0.5, 0.25, 0))
        return tuple(Tick(self.x(self._now - it), it) for it in spans)


def _thinned(
    points: Sequence[tuple[float, float]], now: float, seconds: float
) -> list[tuple[float, float]]:
    bucket = seconds / BUCKETS
    thinned: dict[int, tuple[float, float]] = {}
    for at, value in points:
        thinned[int((at - now) // bucket)] = at, value  # the last one of each bucket
    return list(thinned.values())


def _gap(seconds: float) -> float:
    return max(GAP_SECONDS, 3 * seconds / BUCKETS)


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
