"""What is told of a request: the access log, OpenTelemetry spans, Sentry's reports."""

from __future__ import annotations

import json
import logging
from typing import TYPE_CHECKING, Any

import httpx
import pytest
import sentry_sdk
from fastapi import FastAPI, HTTPException, Request
from flask import Flask, g
from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from sentry_sdk.transport import Transport

from gateway import Gateway, request_state
from gateway.observe.access import NAME
from gateway.observe.redact import redacted
from tests.functional.live import wait_until
from tests.functional.servers import serve

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.network


def apps() -> tuple[Flask, FastAPI]:
    flask, native = Flask("legacy"), FastAPI()

    @flask.before_request
    def before() -> None:
        g.seen = True

    @flask.get("/users/<int:number>")
    def user(number: int) -> str:
        request_state().update(tenant="kitchen", api_token="t0p", cart={"password": "x", "n": 1})
        with trace.get_tracer("users").start_as_current_span("query"):
            return str(number)

    flask.add_url_rule("/moved", "moved", lambda: "legacy")
    flask.add_url_rule("/crash", "crash", lambda: str(1 / 0))
    flask.add_url_rule("/crash-moved", "crash-moved", lambda: "legacy")
    flask.add_url_rule("/over", "over", lambda: "legacy")

    @native.get("/moved")
    async def moved() -> str:
        with trace.get_tracer("users").start_as_current_span("native query"):
            return "native"

    @native.get("/crash-moved")
    @native.get("/over")
    async def crash() -> None:
        raise ZeroDivisionError

    return flask, native


def config(**observe: Any) -> dict[str, Any]:
    return {
        "version": 1,
        "observe": observe,
        "auth": {"dependency": f"{__name__}:caller", "id": "sub"},
        "routes": [
            {"path": "/moved", "cutover": "native", "auth": "shared"},
            {"path": "/crash-moved", "cutover": "native", "auth": "none"},
            {"path": "/over", "cutover": "native", "auth": "none", "failover": True},
        ],
    }


async def caller(request: Request) -> dict[str, str]:
    if "x-stranger" in request.headers:
        raise HTTPException(401)
    return {"sub": "ann"}


@pytest.fixture
def lines(capsys: pytest.CaptureFixture[str]) -> Iterator[logging.Logger]:
    logger = logging.getLogger(NAME)
    yield logger
    logger.handlers.clear()
    logger.propagate = True


@pytest.mark.usefixtures("lines")
def test_a_json_line_for_each_request(capsys: pytest.CaptureFixture[str]) -> None:
    with serve(Gateway(*apps(), config(access_log="json"), verify_lock=False)) as url:
        httpx.get(f"{url}/users/7?token=secret", headers={"Authorization": "Bearer secret"})
        httpx.get(f"{url}/moved")
        httpx.get(f"{url}/odd%0Aline%1b[2J")
        httpx.get(f"{url}/-/ready")
    written = capsys.readouterr().out
    assert "secret" not in written
    assert "t0p" not in written
    first, second, third = (json.loads(line) for line in written.splitlines())
    assert first.items() >= {
        "method": "GET", "path": "/users/7", "route": "/users/{number}", "backend": "legacy",
        "reason": "only_legacy", "status": 200,
        "state": {"tenant": "kitchen", "api_token": "***", "cart": {"password": "***", "n": 1}},
    }.items()  # fmt: skip
    assert 0 < first["duration_ms"] < 5000
    assert second.items() >= {
        "backend": "native", "reason": "rule", "principal": "ann", "rule": "path:/moved",
    }.items()  # fmt: skip
    assert third["path"] == "/odd\\nline\\x1b[2J"


@pytest.mark.usefixtures("lines")
def test_a_line_for_people(capsys: pytest.CaptureFixture[str]) -> None:
    with serve(Gateway(*apps(), config(access_log="console"), verify_lock=False)) as url:
        httpx.get(f"{url}/moved")
    (line,) = capsys.readouterr().out.splitlines()
    assert " GET /moved 200 " in line
    assert line.endswith("ms native (rule) ann")


def test_secrets_are_hidden_by_their_names() -> None:
    found = redacted(
        {"password": 1, "userPassword": 2, "Authorization": 3, "x-api-key": 4, "SESSION_ID": [5],
         "passenger": "kept", "deep": {"list": [{"client_secret": 6}]}, "object": object},
    )  # fmt: skip
    hidden = json.dumps(found)
    assert not [n for n in "123456" if f" {n}" in hidden or f"[{n}" in hidden]
    assert found["passenger"] == "kept"
    loop: dict[str, Any] = {}
    loop["self"] = loop
    assert json.dumps(redacted(loop))


EXPORTER = InMemorySpanExporter()


@pytest.fixture(scope="module")
def spans() -> InMemorySpanExporter:
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(EXPORTER))
    trace.set_tracer_provider(provider)
    return EXPORTER


def is_own(span: ReadableSpan) -> bool:
    """Tell whether a span is the gateway's."""
    return "gateway.reason" in (span.attributes or {})


def test_one_span_in_the_callers_trace_and_the_apps_below_it(spans: InMemorySpanExporter) -> None:
    parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    with serve(Gateway(*apps(), config(tracing=True), verify_lock=False)) as url:
        for path in ("/users/7", "/moved", "/crash", "/nowhere"):
            spans.clear()
            httpx.get(url + path, headers={"traceparent": parent})
            # It ends after the last byte, so that the client may be quicker.
            wait_until(lambda: any(map(is_own, spans.get_finished_spans())))
            found = spans.get_finished_spans()
            own = next(filter(is_own, found))
            assert f"{own.context.trace_id:032x}" == "0af7651916cd43dd8448eb211c80319c"
            assert own.parent is not None
            assert f"{own.parent.span_id:016x}" == "b7ad6b7169203331"
            attributes = dict(own.attributes or {})
            if path == "/users/7":
                assert own.name == "GET /users/{number}"
                assert attributes["gateway.backend"] == "legacy"
                assert attributes["http.route"] == "/users/{number}"
            elif path == "/moved":
                assert attributes["gateway.reason"] == "rule"
            elif path == "/crash":
                assert not own.status.is_ok
                assert attributes["http.response.status_code"] == 500
            else:
                assert own.name == "GET"
            by_id = {span.context.span_id: span for span in found}
            for span in found:
                top = span
                while top.parent is not None and top.parent.span_id in by_id:
                    top = by_id[top.parent.span_id]
                assert top is own, "everything lies below the gateway's own span"
            names = {span.name for span in found}
            assert path != "/users/7" or names == {"GET /users/{number}", "query"}
            assert path != "/moved" or "native query" in names


class _Kept(Transport):
    """Keeps what would be sent."""

    def __init__(self) -> None:
        super().__init__()
        self.events: list[Any] = []

    def capture_envelope(self, envelope: Any) -> None:
        for item in envelope.items:
            event = item.get_event()
            if event is not None:
                self.events.append(event)


@pytest.mark.parametrize("path", ["/crash", "/crash-moved", "/over"])
def test_sentry_gets_the_original_exception_once(path: str) -> None:
    """From either side, through inherited hooks, and where legacy answers for native."""
    kept = _Kept()
    sentry_sdk.init("http://key@127.0.0.1:1/1", transport=kept, default_integrations=True)
    try:
        with serve(Gateway(*apps(), config(), verify_lock=False)) as url:
            status = httpx.get(url + path).status_code
            assert status == (200 if path == "/over" else 500)
    finally:
        sentry_sdk.flush(2)
        sentry_sdk.get_client().close()
        sentry_sdk.init()
    raised = [e["exception"]["values"][-1]["type"] for e in kept.events if e.get("exception")]
    assert raised == ["ZeroDivisionError"]
