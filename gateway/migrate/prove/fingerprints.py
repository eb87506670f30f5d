"""What tells one state of a route's code from another, for the record."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gateway import evidence

if TYPE_CHECKING:
    from gateway.app import Gateway
    from gateway.routing import Route


def fingerprints(gateway: Gateway, route: Route) -> tuple[str, str] | None:
    """Return legacy's and native's fingerprint; None where there is no code to read."""
    handlers = evidence.Handlers(gateway.native)
    return evidence.fingerprints(route, gateway.table.legacy, handlers, gateway.guard)
