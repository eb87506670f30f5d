"""OpenTelemetry: one span around each request, in the caller's trace; who answered, and why.

Spans that FastAPI's or Flask's own instrumentation makes become its children. Only the API is
used (extra `otel`): what is done with spans is for the user's SDK to say.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from opentelemetry import propagate, trace
from opentelemetry.trace import SpanKind, Status, StatusCode

from gateway.secrecy import path_without_secrets

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gateway.cutover import Decision
    from gateway.routing import Match

_FIRST_ERROR = 500


class Tracing:
    """Makes the spans. Names and attributes follow OpenTelemetry's HTTP conventions."""

    def __init__(self) -> None:
        self._tracer = trace.get_tracer("gateway")

    @contextmanager
    def around(self, scope: dict[str, Any]) -> Iterator[tuple[Any, dict[str, Any]]]:
        """Enter a span for one request; give it, and the scope as the apps shall see it.

        Their own instrumentation reads the parent from the headers, so that has to be this span.
        Exceptions are recorded by whoever handles them.
        """
        headers: dict[str, str] = {}
        for name, value in scope["headers"]:
            headers.setdefault(name.decode("latin-1"), value.decode("latin-1"))
        current = trace.get_current_span().get_span_context()
        # A server's own instrumentation may have begun a span already.
        context = None if current.is_valid else propagate.extract(headers)
        with self._tracer.start_as_current_span(
            scope["method"],
            context,
            SpanKind.SERVER if not current.is_valid else SpanKind.INTERNAL,
            {
                "http.request.method": scope["method"],
                "url.path": path_without_secrets(scope["path"]),
            },
            record_exception=False,
            set_status_on_exception=False,
        ) as span:
            own: dict[str, str] = {}
            propagate.inject(own)
            names = {name.encode("latin-1") for name in own}
            kept = [(name, value) for name, value in scope["headers"] if name not in names]
            kept += [(n.encode("latin-1"), v.encode("latin-1")) for n, v in own.items()]
            yield span, {**scope, "headers": kept}

    def trace_id(self, span: Any) -> str | None:
        """Return a span's trace id as W3C writes it; None where there is no trace."""
        context = span.get_span_context()
        return f"{context.trace_id:032x}" if context.is_valid else None

    def finish(self, span: Any, match: Match, decision: Decision, status: int) -> None:
        """Say on the span what became of the request."""
        if not span.is_recording():
            return
        if match.route is not None:
            span.update_name(f"{match.route.method} {match.route.label}")
            span.set_attribute("http.route", match.route.label)
        span.set_attribute("gateway.backend", decision.backend.value)
        span.set_attribute("gateway.reason", decision.reason.value)
        if status:
            span.set_attribute("http.response.status_code", status)
        if status >= _FIRST_ERROR or not status:
            span.set_status(Status(StatusCode.ERROR))
