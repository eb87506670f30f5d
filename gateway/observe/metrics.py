"""Prometheus' text of everything that is counted, for all workers of the server together.

The client library's custom collectors are used, with a registry of our own: its multi-process mode
wants an environment variable that would change the user's own metrics in the same process.
Labels are route templates and short codes, never a path as it came.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from prometheus_client import CollectorRegistry
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.registry import Collector

from gateway.observe.tally import BOUNDS, Totals, totals

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

CONTENT_TYPE: str = CONTENT_TYPE_LATEST
_ROUTE = ("route", "method", "backend")

#: Name → (kind, help, how several workers' values become one).
METRICS: dict[str, tuple[str, str]] = {
    "gateway_opened_total": (
        "counter",
        "Comparisons in which native let in a caller whom legacy refused; the route is blocked.",
    ),
    "gateway_blocked": (
        "gauge",
        "1 while legacy serves a route because of that, whatever the config says, on any worker.",
    ),
    "gateway_decisions_total": (
        "counter",
        "Requests by who was to serve them, and why (a reason code).",
    ),
    "gateway_requests_total": (
        "counter",
        "Requests by the class of the answer's status; `aborted` where the client left first.",
    ),
    "gateway_request_duration_seconds": (
        "histogram",
        "From the gateway's first look at a request to the end of its answer.",
    ),
    "gateway_config_reloads_total": ("counter", "Reloads of the config, by their result."),
    "gateway_config_last_reload_successful": (
        "gauge",
        "1 while the file's last reading is in force, on every worker; 0 while the last good is.",
    ),
    "gateway_config_last_reload_timestamp_seconds": (
        "gauge",
        "When the config was read last, in seconds since the epoch.",
    ),
    "gateway_config_restart_required": ("gauge", "Changed keys that wait for a restart."),
    "gateway_config_revisions": (
        "gauge",
        "Different revisions among the workers; more than 1 only while they catch up.",
    ),
    "gateway_overrides": ("gauge", "Overrides in force."),
    "gateway_overrides_ignored": ("gauge", "Overrides that the config no longer bears."),
    "gateway_routes_refused": (
        "gauge",
        "Moved routes that legacy serves, as `gateway check` refuses their move.",
    ),
    "gateway_kill_switch": ("gauge", "1 while legacy serves everything that it can serve."),
    "gateway_store_up": ("gauge", "1 while every worker reaches the store of overrides."),
    "gateway_store_errors_total": ("counter", "Failed looks at the store of overrides."),
    "gateway_circuits_open": (
        "gauge",
        "Routes that legacy serves as native has failed too often, summed over the workers.",
    ),
    "gateway_circuit_opened_total": ("counter", "How often a circuit has opened."),
    "gateway_loop_blocks_total": (
        "counter",
        "How often the event loop was blocked for longer than observe.loop_lag, and by what.",
    ),
    "gateway_loop_longest_block_seconds": (
        "gauge",
        "The longest time for which the event loop was blocked since the worker started.",
    ),
    "gateway_mirrors_total": (
        "counter",
        "Requests chosen for a mirror, by what came of it: `compared`, or why it wasn't.",
    ),
    "gateway_comparisons_total": (
        "counter",
        "Compared answers by verdict: equal, expected, noise, different, opened, closed, raced.",
    ),
    "gateway_differences_total": (
        "counter",
        "Answers that differed unexpectedly, by the field; one answer may count for several.",
    ),
    "gateway_mirrors_in_flight": ("gauge", "Mirrored requests under way."),
    "gateway_mirrors_suspended": (
        "gauge",
        "Routes that are mirrored no more: their handler blocks the event loop, or hangs.",
    ),
    "gateway_guardrail_moves_total": (
        "counter",
        "What the guardrail has done, by rule: promote, wait, finish, complete, rollback.",
    ),
    "gateway_pool_threads": ("gauge", "Threads for legacy requests, all workers together."),
    "gateway_pool_busy": ("gauge", "Threads that serve a legacy request."),
    "gateway_pool_queued": ("gauge", "Legacy requests that wait for a thread."),
    "gateway_pool_dropped_total": ("counter", "Waiting requests whose client had left."),
    "gateway_pool_refused_total": ("counter", "Legacy requests refused with 503."),
    "gateway_workers": ("gauge", "Worker processes that serve."),
}
#: Gauges of which the smallest worker's value counts; of the others the sum does.
_SMALLEST = frozenset({"gateway_config_last_reload_successful", "gateway_store_up"})
#: Gauges that are the same for all workers, so that the largest value counts.
_LARGEST = frozenset(
    {
        "gateway_config_last_reload_timestamp_seconds",
        "gateway_config_restart_required",
        "gateway_overrides",
        "gateway_overrides_ignored",
        "gateway_kill_switch",
        "gateway_routes_refused",
        "gateway_loop_longest_block_seconds",
    }
)

Part = dict[str, Any]
"""What one worker tells: `tally`, `counters`, `gauges`, `revision`, and whether it is `alive`."""


def render(parts: Sequence[Part]) -> bytes:
    """Write what the workers tell as Prometheus' text."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Collector(lambda: _families(parts)))
    return generate_latest(registry)


class _Collector(Collector):
    def __init__(self, collect: Callable[[], Iterator[Metric]]) -> None:
        self._collect = collect

    def collect(self) -> Iterator[Metric]:
        return self._collect()


def _families(parts: Sequence[Part]) -> Iterator[Metric]:
    yield from _opened(parts)
    yield from _requests(totals(part["tally"] for part in parts))
    counted: Counter[str] = Counter()
    for part in parts:
        counted.update(part["counters"])
    reloads = _counter("gateway_config_reloads_total", ("result",))
    for result in ("ok", "failed"):
        reloads.add_metric([result], counted[f"reloads_{result}"])
    yield reloads
    for name in ("store_errors", "circuit_opened", "pool_dropped", "pool_refused"):
        family = _counter(f"gateway_{name}_total", ())
        family.add_metric([], counted[name])
        yield family
    blocks = _counter("gateway_loop_blocks_total", ("culprit",))
    blamed: Counter[str] = Counter()
    for part in parts:
        blamed.update(part.get("blocks", {}))
    for culprit, number in blamed.items():
        blocks.add_metric([culprit], number)
    yield blocks
    moves = _counter("gateway_guardrail_moves_total", ("rule", "move"))
    moved: Counter[tuple[str, str]] = Counter()
    for part in parts:
        moved.update({(rule, kind): number for rule, kind, number in part.get("moves", ())})
    for labels, number in moved.items():
        moves.add_metric(labels, number)
    yield moves
    yield from _mirrors([part["mirrors"] for part in parts if "mirrors" in part])
    alive = [part for part in parts if part.get("alive", True)]
    revisions = {part["revision"] for part in alive}
    yield _gauge("gateway_config_revisions", len(revisions))
    yield _gauge("gateway_workers", len(alive))
    for name, (kind, _) in METRICS.items():
        values = [part["gauges"][name] for part in alive if name in part["gauges"]]
        if kind == "gauge" and values:
            how = min if name in _SMALLEST else max if name in _LARGEST else sum
            yield _gauge(name, how(values))


def _opened(parts: Sequence[Part]) -> Iterator[Metric]:
    """Say where native let in whom legacy refused, of every route that both apps have."""
    opened: Counter[tuple[str, str]] = Counter()
    blocked: dict[tuple[str, str], int] = {}
    for part in parts:
        for method, label, number, stands in part.get("opened", ()):
            opened[label, method] += number
            if part.get("alive", True):
                blocked[label, method] = max(stands, blocked.get((label, method), 0))
    family = _counter("gateway_opened_total", ("route", "method"))
    for labels, number in opened.items():
        family.add_metric(labels, number)
    yield family
    gauge = GaugeMetricFamily(
        "gateway_blocked", METRICS["gateway_blocked"][1], labels=("route", "method")
    )
    for labels, stands in blocked.items():
        gauge.add_metric(labels, stands)
    yield gauge


def _mirrors(parts: Sequence[dict[str, Any]]) -> Iterator[Metric]:
    outcomes: Counter[tuple[str, str, str]] = Counter()
    verdicts: Counter[tuple[str, str, str]] = Counter()
    fields: Counter[tuple[str, str, str]] = Counter()
    for part in parts:
        for method, label, outcome, number in part["outcomes"]:
            outcomes[label, method, outcome] += number
        for method, label, by_verdict, by_field in part["verdicts"]:
            verdicts.update({(label, method, each): n for each, n in by_verdict.items()})
            fields.update({(label, method, each): n for each, n in by_field.items()})
    for name, kind, counted in (
        ("gateway_mirrors_total", "outcome", outcomes),
        ("gateway_comparisons_total", "verdict", verdicts),
        ("gateway_differences_total", "field", fields),
    ):
        family = _counter(name, ("route", "method", kind))
        for labels, number in counted.items():
            family.add_metric(labels, number)
        yield family


def _requests(whole: Totals) -> Iterator[Metric]:
    decisions = _counter("gateway_decisions_total", (*_ROUTE, "reason"))
    requests = _counter("gateway_requests_total", (*_ROUTE, "status"))
    name = "gateway_request_duration_seconds"
    durations = HistogramMetricFamily(name, METRICS[name][1], labels=_ROUTE)
    for (method, label, side), line in whole.lines.items():
        labels = [label, method, side]
        for reason, number in line.reasons.items():
            decisions.add_metric([*labels, reason], number)
        for status, number in line.statuses.items():
            requests.add_metric([*labels, status], number)
        buckets, seen = [], 0
        for bound, number in zip((*BOUNDS, float("inf")), line.durations, strict=True):
            seen += number
            buckets.append(("+Inf" if bound == float("inf") else str(bound), float(seen)))
        durations.add_metric(labels, buckets, line.seconds)
    yield decisions
    yield requests
    yield durations


def _counter(name: str, labels: Sequence[str]) -> CounterMetricFamily:
    return CounterMetricFamily(name.removesuffix("_total"), METRICS[name][1], labels=labels)


def _gauge(name: str, value: float) -> GaugeMetricFamily:
    return GaugeMetricFamily(name, METRICS[name][1], value=value)
