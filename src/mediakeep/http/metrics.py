"""Numbers for Prometheus. No label ever grows with ids, scopes, names or paths: routes are templates."""

from bisect import bisect_left
from collections.abc import Iterator
from itertools import accumulate

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from prometheus_client.metrics_core import CounterMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

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
        "_registry",
        "_requests",
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
        self._requests = Requests()
        registry.register(self._requests)
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
        self._requests.count(method, route, status, seconds, sent)

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


class Requests(Collector):
    """Counts requests, for one thread: each would take four locks with prometheus-client's own."""

    BOUNDS = (0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0)
    """The buckets of a histogram, in seconds: those of prometheus-client."""

    def __init__(self) -> None:
        self._counts: dict[tuple[str, str, int], int] = {}
        self._times: dict[str, _Times] = {}
        self._sent = 0

    def count(self, method: str, route: str, status: int, seconds: float, sent: int) -> None:
        """Count one, which took so many seconds and was answered with so many bytes."""
        key = method if method in METHODS else "other", route, status
        self._counts[key] = self._counts.get(key, 0) + 1
        times = self._times.get(route)
        if times is None:
            times = self._times[route] = _Times(len(self.BOUNDS))
        times.sum += seconds
        times.buckets[bisect_left(self.BOUNDS, seconds)] += 1
        self._sent += sent

    def collect(self) -> Iterator[Metric]:
        """Yield the families of Prometheus' data model."""
        counts = CounterMetricFamily(
            "mediakeep_http_requests", "requests", labels=("method", "route", "status")
        )
        for (method, route, status), count in self._counts.items():
            counts.add_metric((method, route, str(status)), count)
        yield counts
        seconds = HistogramMetricFamily(
            "mediakeep_http_request_seconds",
            "from the head of a request to the end of its answer",
            labels=("route",),
        )
        names = [*map(str, self.BOUNDS), "+Inf"]
        for route, times in self._times.items():
            seconds.add_metric(
                (route,), list(zip(names, accumulate(times.buckets), strict=True)), times.sum
            )
        yield seconds
        yield CounterMetricFamily("mediakeep_http_sent_bytes", "bytes of bodies sent", self._sent)


class _Times:
    __slots__ = ("buckets", "sum")

    def __init__(self, bounds: int) -> None:
        self.sum = 0.0
        self.buckets = [0] * (bounds + 1)
