"""The access log: one line per request on stdout, for people or as JSON.

It holds the path without its query and without secrets, the template, who answered and why, and
what the request's state says; never a header, a body or a value whose name sounds secret.
"""

from __future__ import annotations

import json
import logging
import sys
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Literal

from gateway.logs import logger_for
from gateway.observe.redact import redacted
from gateway.secrecy import path_without_secrets

if TYPE_CHECKING:
    from gateway.observe.events import Exchange

NAME = "gateway.access"


class AccessLog:
    """An observer that writes lines of a kind: `console` or `json`.

    Lines go to the logger `gateway.access`, which gets a handler for stdout where nobody has given
    it one.
    """

    def __init__(self, kind: Literal["console", "json"]) -> None:
        self._json = kind == "json"
        self._logger = logger_for(NAME)
        self._logger.setLevel(logging.INFO)
        if not self._logger.handlers:
            handler = logging.StreamHandler(sys.stdout)
            handler.setFormatter(logging.Formatter("%(message)s"))
            self._logger.addHandler(handler)
            self._logger.propagate = False

    def __call__(self, exchange: Exchange) -> None:
        """Write one request's line."""
        fields = fields_of(exchange)
        line = json.dumps(fields, default=str) if self._json else _for_people(fields)
        self._logger.info("%s", line)


def fields_of(exchange: Exchange) -> dict[str, Any]:
    """Return what the log tells of a request; absent values are left out."""
    route, decision = exchange.match.route, exchange.decision
    label = route.label if route is not None else None
    fields: dict[str, Any] = {
        "time": datetime.now(UTC).isoformat(timespec="milliseconds"),
        "method": exchange.method,
        "path": path_without_secrets(exchange.path, label),
        "route": label,
        "rule": route.rule.id if route is not None and route.rule is not None else None,
        "backend": decision.side,
        "reason": decision.reason.value,
        "status": exchange.status or None,
        "duration_ms": round(exchange.duration * 1000, 3),
        "principal": exchange.principal,
        "trace_id": exchange.trace_id,
        "revision": exchange.revision,
        "state": redacted(dict(exchange.state)) or None,
    }
    return {name: value for name, value in fields.items() if value is not None}


def _for_people(fields: dict[str, Any]) -> str:
    state = fields.get("state")
    return (
        f"{fields['time']} {fields['method']} {fields['path']} {fields.get('status', '-')} "
        f"{fields['duration_ms']:.1f}ms {fields['backend']} ({fields['reason']})"
        + (f" {fields['principal']}" if "principal" in fields else "")
        + (f" {json.dumps(state, default=str)}" if state else "")
    )
