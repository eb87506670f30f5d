"""What `match` and `decide` cost with 500 + 500 routes: `python -m tests.benchmarks.match`.

Single-threaded, in µs of CPU per request, beside Werkzeug's own bind + match of the same paths.
Prints one JSON line for the harness, which runs it in a process of its own.
"""

from __future__ import annotations

import json
import sys
import time
from typing import TYPE_CHECKING, Any, cast

from fastapi import FastAPI
from flask import Flask
from werkzeug.exceptions import HTTPException

from gateway import Gateway
from gateway.cutover import decide
from gateway.routing import Backend

if TYPE_CHECKING:
    from collections.abc import Callable

    from gateway.cutover import Policy
    from gateway.routing import RouteTable

#: Routes of either app; half of each side's are paired with the other's and moved by a rule.
COUNT = 500
#: Different paths per kind, spread over the table.
_SPREAD = 50
_CALLS = 4_000

Scopes = list[dict[str, Any]]


def _view(key: int) -> str:
    return str(key)


async def _handler(key: int) -> dict[str, int]:
    return {"key": key}


def build() -> tuple[Flask, Gateway]:
    """Make both apps and the gateway: 250 legacy-only, 250 moved, 250 native-only routes."""
    legacy, native = Flask(__name__), FastAPI()
    half = COUNT // 2
    for index in range(half):
        legacy.add_url_rule(f"/legacy{index}/<int:key>", f"legacy{index}", _view)
        legacy.add_url_rule(f"/moved{index}/<int:key>", f"moved{index}", _view)
        native.get(f"/moved{index}/{{key}}")(_handler)
        native.get(f"/native{index}/{{key}}")(_handler)
    rules = [
        {
            "path": f"/moved{index}/<int:key>",
            "cutover": "native",
            "hooks": "skip",
            "auth": "none",
        }
        for index in range(half)
    ]
    return legacy, Gateway(
        legacy=cast("Any", legacy), native=native, config={"version": 1, "routes": rules}
    )


def scopes(kind: str) -> Scopes:
    """Make ASGI scopes for GET requests that hit routes of one kind, evenly over the table."""
    step = COUNT // 2 // _SPREAD
    paths = [f"/{kind}{index}/{index}" for index in range(0, COUNT // 2, step)]
    return [
        {
            "type": "http",
            "http_version": "1.1",
            "method": "GET",
            "scheme": "http",
            "path": path,
            "raw_path": path.encode(),
            "query_string": b"",
            "root_path": "",
            "headers": [(b"host", b"127.0.0.1:8000"), (b"accept", b"*/*")],
            "server": ("127.0.0.1", 8000),
            "client": ("127.0.0.1", 50000),
        }
        for path in paths
    ]


def _micros(call: Callable[[dict[str, Any]], object], requests: Scopes) -> float:
    """Return the CPU µs of this thread per call."""
    rounds = _CALLS // len(requests)
    start = time.thread_time_ns()
    for _ in range(rounds):
        for scope in requests:
            call(scope)
    return (time.thread_time_ns() - start) / (rounds * len(requests)) / 1e3


# --- the hook: how the harness asks the gateway's core; adapt this when the core's API moves -----


def measure_table(
    table: RouteTable, policy: Policy, legacy: Flask, requests: Scopes
) -> dict[str, float]:
    """Time `table.match` + `decide` against Werkzeug's bind + match, A-B-B-A, in µs."""

    def ours(scope: dict[str, Any]) -> object:
        return decide(table.match(scope), scope, policy)

    def werkzeug(scope: dict[str, Any]) -> object:
        adapter = legacy.url_map.bind("127.0.0.1:8000", url_scheme="http")
        try:
            return adapter.match(scope["path"], scope["method"])
        except HTTPException:
            return None

    taken = {ours: 0.0, werkzeug: 0.0}
    for call in (ours, werkzeug, werkzeug, ours):
        taken[call] += _micros(call, requests) / 2
    beyond = taken[ours] - taken[werkzeug]
    return {"match_us": taken[ours], "werkzeug_us": taken[werkzeug], "beyond_us": beyond}


# -------------------------------------------------------------------------------------------------

#: Kind of route: the prefix of its paths, and who must be chosen for it.
KINDS = {
    "only-legacy": ("legacy", Backend.LEGACY),
    "moved": ("moved", Backend.NATIVE),
    "only-native": ("native", Backend.NATIVE),
}


def main(blocks: int) -> None:
    """Measure every kind `blocks` times, after one round to warm up, and print the figures."""
    legacy, gateway = build()
    policy = gateway.snapshots.current.policy
    for prefix, backend in KINDS.values():
        for scope in scopes(prefix):
            decision = decide(gateway.table.match(scope), scope, policy)
            if decision.backend is not backend:
                sys.exit(f"{scope['path']} went to {decision.backend} ({decision.reason})")
    found: dict[str, list[dict[str, float]]] = {kind: [] for kind in KINDS}
    for block in range(blocks + 1):
        for kind, (prefix, _) in KINDS.items():
            figures = measure_table(gateway.table, policy, legacy, scopes(prefix))
            if block:
                found[kind].append(figures)
    print(json.dumps(found))


if __name__ == "__main__":
    main(int(sys.argv[1]))
