"""The overview: how much there is, how that came about, what ends next, what fails to go.

What the store holds altogether costs the same however much that is (`Catalog.use`); the past is that of
the samples. All else is the census's, as old as the page says.
"""

import time
from functools import partial
from urllib.parse import parse_qs

from mediakeep.catalogs import Use
from mediakeep.http.dashboard.census import Count
from mediakeep.http.dashboard.pages import Page, Window
from mediakeep.http.dashboard.plots import Line, draw_line
from mediakeep.http.dashboard.samples import Sample
from mediakeep.http.service import Call

RANGES = {"3h": 3 * 3600, "24h": 86_400, "7d": 7 * 86_400}
"""What a plot may go back to, in seconds."""

MOST_SHOWN = 6


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
        "expiring": () if count is None else count.expiring[:MOST_SHOWN],
        "leased": () if count is None else count.leased[:MOST_SHOWN],
        "ranges": tuple(RANGES),
        "range": span,
        "use": None,
        "sizes": None,
        "counts": None,
    }
    if call.grant.sees_all:  # how much the store has tells what other scopes have
        use = await service.read(service.store._catalog.use)
        seen = await service.read(partial(window.samples.since, RANGES[span]))
        sizes, counts = _lines(seen, use, RANGES[span])
        values |= {"use": use, "sizes": sizes, "counts": counts}
    return Page("overview.html", values)


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
