"""How the server and its store are: for load balancers, for Prometheus, for people."""

from typing import Any

from mediakeep.http.answers import Answer
from mediakeep.http.metrics import CONTENT_TYPE
from mediakeep.http.problems import Problem
from mediakeep.http.service import Call
from mediakeep.model import ScopeStats

TOLD = (
    *("refs", "scopes", "files", "size", "owned", "borrowed", "condemned", "condemned_size"),
    *("leases", "leased", "saved", "variants", "variants_size", "oldest"),
)
"""What is told of the store's numbers to who sees all scopes."""


async def healthz(call: Call) -> Answer:  # noqa: ARG001
    """Tell that the process answers."""
    return Answer(200, {"status": "ok"}, [(b"cache-control", b"no-store")])


async def readyz(call: Call) -> Answer:
    """Tell whether catalog and blobs answer."""
    if not await call.service.ready.get(call.service.store):
        detail = "catalog or blobs do not answer: the server's log says more"
        raise Problem(503, "NotReady", detail, [(b"retry-after", b"5")])
    return Answer(200, {"status": "ok"}, [(b"cache-control", b"no-store")])


async def get_metrics(call: Call) -> Answer:
    """Give all numbers to Prometheus."""
    stats = await call.service.numbers.get(call.service.writes)
    text = call.service.metrics.text(stats)
    return Answer(200, text, [(b"cache-control", b"no-store")], CONTENT_TYPE.encode())


async def get_stats(call: Call) -> Answer:
    """Tell the numbers of the store, or of the token's own scopes."""
    by_scope: bool = call.query["by_scope"]
    if call.grant.sees_all and not by_scope:
        stats = await call.service.numbers.get(call.service.writes)
    else:
        stats = await call.service.numbers_by_scope.get(call.service.writes)
    said: dict[str, Any] = {}
    if call.grant.sees_all:
        said = {name: getattr(stats, name) for name in TOLD}
        # Not which files these are: locations are paths of the server's machine.
        said["failed"] = [{"reason": it.reason, "attempts": it.attempts} for it in stats.failed]
    mine = {name: it for name, it in stats.by_scope.items() if call.grant.sees(name)}
    if not call.grant.sees_all:
        said = {
            "refs": sum(it.refs for it in mine.values()),
            "scopes": len(mine),
            "size": sum(it.size for it in mine.values()),
        }
    if by_scope:
        said["by_scope"] = {name: _numbers(it) for name, it in mine.items()}
    return Answer(200, said, [(b"cache-control", b"no-store")])


def _numbers(stats: ScopeStats) -> dict[str, int]:
    return {"refs": stats.refs, "files": stats.files, "size": stats.size}
