"""Probes for Kubernetes: whether the process is alive, and whether traffic may come."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Any

from gateway.admin.rendering import Json

if TYPE_CHECKING:
    from collections.abc import Mapping

    from starlette.responses import Response
    from starlette.types import Receive, Scope, Send

_HEADERS = {"cache-control": "no-store", "x-content-type-options": "nosniff"}
PAGES = ("/healthy", "/ready")


class Phase(StrEnum):
    """Where the process is in its life."""

    STARTING = "starting"
    READY = "ready"
    DRAINING = "draining"


async def serve_probe(
    path: str, phase: Phase, detail: Mapping[str, Any], scope: Scope, receive: Receive, send: Send
) -> None:
    """Answer `path` (below the prefix): `/healthy` is always 200, `/ready` only while ready.

    `detail` is told with readiness and never changes it: a config that was not taken, or a store
    that is down, leave the last good state in force.
    """
    response: Response
    if scope["type"] == "websocket":
        await receive()
        await send({"type": "websocket.close", "code": 1000})
        return
    if path not in PAGES:
        response = Json({"detail": "no such page"}, 404, headers=_HEADERS)
    elif scope["method"] not in ("GET", "HEAD"):
        headers = {**_HEADERS, "allow": "GET, HEAD"}
        response = Json({"detail": "method not allowed"}, 405, headers=headers)
    elif path == "/healthy":
        response = Json({"status": "healthy"}, headers=_HEADERS)
    else:
        status = 200 if phase is Phase.READY else 503
        response = Json({"status": phase.value, **detail}, status, headers=_HEADERS)
    await response(scope, receive, send)
