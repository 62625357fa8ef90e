"""Traces of the server: spans for requests and what they have the store do, and no secret."""

from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip("starlette")
pytest.importorskip("opentelemetry.sdk")

from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode

from http_server import Served, serving
from mediakeep import Limits
from test_http_uploads import wait_until

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
SCOPE, NAME = "chat:geheim", "geheim.txt"


@pytest.fixture(scope="module")
def seen() -> Iterator[InMemorySpanExporter]:
    """Set the process's tracer provider, which can be done only once, and take it back."""
    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    trace.set_tracer_provider(provider)
    yield exporter
    provider.shutdown()
    trace._TRACER_PROVIDER = None
    trace._TRACER_PROVIDER_SET_ONCE._done = False


@pytest.fixture
def served(seen: InMemorySpanExporter, tmp_path: Path) -> Iterator[Served]:
    with serving(tmp_path, limits=Limits(max_file_bytes=1000)) as served:
        wait_until(lambda: spans(seen, "GET /healthz"))
        seen.clear()
        yield served


def spans(seen: InMemorySpanExporter, name: str) -> list[ReadableSpan]:
    return [it for it in seen.get_finished_spans() if it.name == name]


def one(seen: InMemorySpanExporter, name: str) -> ReadableSpan:
    wait_until(lambda: spans(seen, name))  # a span ends after the client has its answer
    (span,) = spans(seen, name)
    return span


def test_a_request_is_a_span_and_what_the_store_does_one_within_it(served, seen):
    parent = {"traceparent": f"00-{TRACE}-00f067aa0ba902b7-01"}
    media_id = served.put(b"hello", SCOPE, filename=NAME, headers=parent)
    request = one(seen, "POST /v1/media")
    assert request.kind is SpanKind.SERVER
    assert request.attributes == {
        "http.request.method": "POST",
        "url.scheme": "http",
        "http.route": "/v1/media",
        "http.response.status_code": 201,
    }
    assert f"{request.context.trace_id:032x}" == TRACE, "it goes on with the client's trace"
    put = one(seen, "mediakeep.put")
    assert put.parent.span_id == request.context.span_id
    served.client.delete(f"/v1/media/{media_id}")
    ended = one(seen, "DELETE /v1/media/{id}")
    assert one(seen, "mediakeep.release").parent.span_id == ended.context.span_id


def test_a_failure_is_one_by_its_type_only(served, seen):
    answer = served.client.post(f"/v1/media?scope={SCOPE}&filename={NAME}", content=bytes(2000))
    assert answer.status_code == 413
    put = one(seen, "mediakeep.put")
    assert put.status.status_code is StatusCode.ERROR
    assert put.attributes == {"error.type": "TooLarge"}
    assert put.events == ()
    request = one(seen, "POST /v1/media")
    assert request.status.status_code is StatusCode.UNSET, "the client's fault is no error of ours"


def test_no_span_tells_what_is_secret(served, seen):
    media_id = served.put(b"hello", SCOPE, filename=NAME)
    served.get(media_id, headers={"authorization": "Bearer geheim"}, download="true")
    served.client.request("PROPFIND", "/v1/media")
    served.client.get(f"/v1/scopes/{SCOPE}")
    served.client.get("/geheim?geheim=1")
    served.client.get(f"/v1/media/{media_id}/thumbnail")
    wait_until(lambda: spans(seen, "GET /v1/media/{id}/thumbnail"))
    told = "".join(it.to_json() for it in seen.get_finished_spans())
    assert "geheim" not in told.lower()
    assert media_id not in told
    assert spans(seen, "_OTHER /v1/media")
    assert spans(seen, "GET"), "what has no route is named by its method alone"


def test_without_a_provider_nothing_is_traced(tmp_path, monkeypatch):
    from mediakeep.http.tracing import Traces

    monkeypatch.setattr(trace, "_TRACER_PROVIDER", None)
    assert Traces().tracer is None
    with serving(tmp_path) as served:
        assert served.get(served.put(b"hello")).content == b"hello"


def test_without_the_package_nothing_is_traced(monkeypatch):
    from mediakeep.http.tracing import Traces

    monkeypatch.setitem(__import__("sys").modules, "opentelemetry", None)
    traces = Traces()
    assert traces.tracer is None
    with traces.verb("put"):
        pass
