"""The overview: how much there is, how that came about, what ends next, what fails to go.

What the store holds altogether, what ends next and what is held costs the same however much there is:
the catalog has an index of each. The past is that of the samples. All else is the census's, as old as
the page says.
"""

import time
from collections.abc import Mapping
from functools import partial
from urllib.parse import parse_qs

from mediakeep.catalogs import Use
from mediakeep.http.dashboard.breakdowns import Breakdown, Parts, shown_name
from mediakeep.http.dashboard.census import Count, Group
from mediakeep.http.dashboard.pages import Page, Window
from mediakeep.http.dashboard.plots import Line, Lines, draw_line, draw_lines
from mediakeep.http.dashboard.samples import Sample
from mediakeep.http.dashboard.words import FAMILIES
from mediakeep.http.service import Call
from mediakeep.model import Entry

RANGES = {"3h": 3 * 3600, "24h": 86_400, "7d": 7 * 86_400}
"""What a plot may go back to, in seconds."""

MOST_SHOWN = 6

MOST_LOOKED_AT = 1000
"""Among how many that end next those of a token's own scopes are looked for."""


async def show_overview(window: Window, call: Call) -> Page:
    """Show the store in numbers."""
    asked = parse_qs(call.scope["query_string"].decode("latin-1")).get("range", ["24h"])[0]
    span = asked if asked in RANGES else "24h"
    service = window.service
    count = await window.census.get(call.grant)
    values = {
        "count": count,
        "families": _ranked(count, "families"),
        "levels": _ranked(count, "levels"),
        "expiring": await service.read(partial(_expiring, call)),
        "leased": (),
        "ranges": tuple(RANGES),
        "range": span,
        "use": None,
        "sizes": None,
        "counts": None,
        "several": (),
    }
    if call.grant.sees_all:  # how much the store has tells what other scopes have
        use = await service.read(service.store._catalog.use)
        seen = await service.read(partial(window.samples.since, RANGES[span]))
        sizes, counts = _lines(seen, use, RANGES[span])
        values |= {"use": use, "sizes": sizes, "counts": counts}
        values["leased"] = await service.read(partial(service.store._catalog.leased, MOST_SHOWN))
        past = await service.read(partial(window.breakdowns.since, RANGES[span]))
        values["several"] = _parts(past, count, RANGES[span])
    return Page("overview.html", values)


def _expiring(call: Call) -> list[Entry]:
    catalog, grant = call.service.store._catalog, call.grant
    if grant.sees_all:
        return catalog.expiring(MOST_SHOWN)
    return [it for it in catalog.expiring(MOST_LOOKED_AT) if grant.sees(it.scope)][:MOST_SHOWN]


def _parts(
    past: list[Breakdown], count: Count | None, seconds: float
) -> list[tuple[str, str, str, Lines]]:
    """Return plots of the largest scopes and sorts: a title, `levels` or `sorts`, a kind, the lines."""
    now = time.time()
    if count is not None:
        levels, sorts = parts_of(count)
        past = [*past, Breakdown(now - count.age_seconds, levels, sorts)]
    if not past:
        return []
    plots = []
    for what, title in (("levels", "by scope"), ("sorts", "by type")):
        named: list[tuple[float, Parts]] = [(it.at, getattr(it, what)) for it in past]
        now_has = named[-1][1]
        # In both plots the same, so that a name has one colour.
        largest = sorted(now_has, key=lambda it: (-now_has[it][1], it))[:MOST_SHOWN]
        for at, kind in ((1, "size"), (0, "count")):
            series = {
                name: [(when, float(parts[name][at])) for when, parts in named if name in parts]
                for name in largest
            }
            if series:
                words = "Bytes" if kind == "size" else "Refs"
                lines = draw_lines(series, now, seconds, binary=kind == "size")
                plots.append((f"{words} {title}", what, kind, lines))
    return plots


def parts_of(count: Count) -> tuple[Parts, Parts]:
    """Return what first levels of scopes and sorts of types have."""

    def parts(groups: Mapping[str, Group], names: Mapping[str, str]) -> Parts:
        return {shown_name(names.get(it, it)): (has.refs, has.size) for it, has in groups.items()}

    levels = parts(count.children.get("", {}), {"": "no scope"})
    return levels, parts(count.families, {**FAMILIES, "other": "Other"})


def _lines(seen: list[Sample], use: Use, seconds: float) -> tuple[Line, Line]:
    now = time.time()
    points = [it for it in seen if now - seconds <= it.at <= now]
    points.append(Sample(now, *use))
    return (
        draw_line([(it.at, it.size) for it in points], now, seconds, binary=True),
        draw_line([(it.at, it.files) for it in points], now, seconds, binary=False),
    )


def _ranked(count: Count | None, what: str) -> list[tuple[str, int, int, float]]:
    """Return names with refs, bytes, and their part of the largest, the largest first."""
    if count is None:
        return []
    groups = count.families if what == "families" else count.children.get("", {})
    most = max((it.size for it in groups.values()), default=0) or 1
    ranked = sorted(groups.items(), key=lambda it: (-it[1].size, -it[1].refs, it[0]))
    return [(name, it.refs, it.size, it.size / most) for name, it in ranked[:MOST_SHOWN]]
