"""Numbers for Prometheus. No label ever grows with ids, scopes, names or paths: routes are templates."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST

from mediakeep.model import Stats, SweepReport

CONTENT_TYPE = CONTENT_TYPE_LATEST

METHODS = frozenset({"GET", "HEAD", "POST", "DELETE", "OPTIONS"})

_GAUGES = {
    "refs": "live refs",
    "scopes": "scopes with a live ref",
    "files": "locations with a live ref",
    "size": "bytes of these",
    "owned": "locations that go with their last ref",
    "borrowed": "locations that stay",
    "condemned": "locations that wait for their deletion",
    "condemned_size": "bytes of these",
    "leases": "live leases",
    "leased": "locations that they hold",
    "saved": "bytes that equal files do not take",
}


class Metrics:
    """The numbers of one worker, and those of the store."""

    __slots__ = (
        "_failed",
        "_in",
        "_out",
        "_registry",
        "_requests",
        "_seconds",
        "_series",
        "_store",
        "_sweep_failures",
        "_sweep_seconds",
        "_sweeps",
        "_swept",
    )

    def __init__(self) -> None:
        registry = self._registry = CollectorRegistry()
        self._store = {
            name: Gauge(f"mediakeep_{name.replace('size', 'bytes')}", about, registry=registry)
            for name, about in _GAUGES.items()
        }
        self._failed = Gauge(
            "mediakeep_failed_deletions",
            "locations whose last deletion failed (at most 1000)",
            registry=registry,
        )
        self._requests = Counter(
            "mediakeep_http_requests", "requests", ("method", "route", "status"), registry=registry
        )
        self._seconds = Histogram(
            "mediakeep_http_request_seconds",
            "from the head of a request to the end of its answer",
            ("route",),
            registry=registry,
        )
        self._series: dict[tuple[str, str, int], tuple[Counter, Histogram]] = {}
        self._out = Counter("mediakeep_http_sent_bytes", "bytes of bodies sent", registry=registry)
        self._in = Counter("mediakeep_http_received_bytes", "bytes of files put", registry=registry)
        self._sweeps = Counter("mediakeep_sweeps", "sweeps of this worker", registry=registry)
        self._sweep_seconds = Histogram(
            "mediakeep_sweep_seconds", "how long they took", registry=registry
        )
        self._sweep_failures = Counter(
            "mediakeep_sweep_failures",
            "sweeps that raised, and deletions that failed",
            registry=registry,
        )
        self._swept = Counter("mediakeep_swept", "what sweeps ended", ("what",), registry=registry)

    def answered(self, method: str, route: str, status: int, seconds: float, sent: int) -> None:
        """Count a request."""
        method = method if method in METHODS else "other"
        found = self._series.get((method, route, status))
        if found is None:  # to look them up by their labels takes longer than to count
            found = self._requests.labels(method, route, str(status)), self._seconds.labels(route)
            self._series[method, route, status] = found
        found[0].inc()
        found[1].observe(seconds)
        self._out.inc(sent)

    def received(self, size: int) -> None:
        """Count a file that was put."""
        self._in.inc(size)

    def swept(self, report: SweepReport | None, seconds: float) -> None:
        """Count a sweep; None is one that raised."""
        self._sweeps.inc()
        self._sweep_seconds.observe(seconds)
        if report is None:
            self._sweep_failures.inc()
            return
        self._sweep_failures.inc(len(report.failed))
        self._swept.labels("refs").inc(report.expired)
        self._swept.labels("files").inc(report.deleted)
        self._swept.labels("bytes").inc(report.freed)

    def text(self, stats: Stats) -> bytes:
        """Return all numbers in Prometheus' text format."""
        for name, gauge in self._store.items():
            gauge.set(getattr(stats, name))
        self._failed.set(len(stats.failed))
        return generate_latest(self._registry)
