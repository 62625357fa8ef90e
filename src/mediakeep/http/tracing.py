"""Traces: a span for each request and for what it has the store do, through OpenTelemetry.

There are spans where its API is installed (`pip install "mediakeep[otel]"`) and the program, or
`opentelemetry-instrument`, has set a tracer provider before the application is made. Where they go is
that provider's business. They are named as OpenTelemetry's semantic conventions for HTTP servers say.
Like the access log they tell no path, query, header, id, scope or token.
"""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import TYPE_CHECKING

from starlette.types import ASGIApp, Message, Receive, Scope, Send

if TYPE_CHECKING:
    from opentelemetry.trace import Tracer

METHODS = frozenset({"GET", "HEAD", "POST", "DELETE", "OPTIONS", "PUT", "PATCH"})


class Traces:
    """Begins spans of the store's verbs; where nobody traces, it does nothing."""

    __slots__ = ("tracer",)

    def __init__(self) -> None:
        self.tracer = _find_tracer()

    def verb(self, name: str) -> AbstractContextManager[None]:
        """Have a span `mediakeep.<name>` around a block, within that of the request."""
        return _UNTRACED if self.tracer is None else _span(self.tracer, name)

    def around(self, app: ASGIApp) -> ASGIApp:
        """Return `app` with a span around each request."""
        return app if self.tracer is None else _Traced(self.tracer, app)


_UNTRACED: AbstractContextManager[None] = nullcontext()


def _find_tracer() -> "Tracer | None":
    """Return what begins spans, None where nobody would see them."""
    try:
        from opentelemetry import trace
    except ModuleNotFoundError:
        return None
    provider = trace.get_tracer_provider()
    if isinstance(provider, trace.ProxyTracerProvider):  # which stands for one that nobody has set
        return None
    from mediakeep import __version__

    return provider.get_tracer("mediakeep", __version__)


@contextmanager
def _span(tracer: "Tracer", name: str) -> Iterator[None]:
    from opentelemetry.trace import StatusCode

    # An error's own words may name a ref, a scope or a path: only its type is told.
    with tracer.start_as_current_span(
        f"mediakeep.{name}", record_exception=False, set_status_on_exception=False
    ) as span:
        try:
            yield
        except BaseException as error:
            span.set_attribute("error.type", type(error).__name__)
            span.set_status(StatusCode.ERROR)
            raise


class _Traced:
    """An application with a span around each request."""

    def __init__(self, tracer: "Tracer", app: ASGIApp) -> None:
        self._tracer = tracer
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        from opentelemetry import propagate
        from opentelemetry.trace import SpanKind, StatusCode

        status = 0

        async def seen(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        said = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        method = scope["method"] if scope["method"] in METHODS else "_OTHER"
        with self._tracer.start_as_current_span(
            method,
            context=propagate.extract(said),
            kind=SpanKind.SERVER,
            attributes={"http.request.method": method, "url.scheme": scope.get("scheme", "http")},
            record_exception=False,
            set_status_on_exception=False,
        ) as span:
            try:
                await self._app(scope, receive, seen)
            finally:
                if route := scope.get("mediakeep.route"):
                    span.update_name(f"{method} {route}")
                    span.set_attribute("http.route", route)
                if status:
                    span.set_attribute("http.response.status_code", status)
                if not status or status >= 500:
                    span.set_status(StatusCode.ERROR)
