"""Everything below `admin.prefix`: the probes for everybody, the rest for who has the token."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gateway.admin.api import make_api
from gateway.admin.door import Door, Token
from gateway.admin.probes import PAGES, Phase, serve_probe

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Receive, Scope, Send

    from gateway.control import Control
    from gateway.guardrail import Guardrail
    from gateway.observe.telemetry import Telemetry


class Pages:
    """The gateway's own pages, as one ASGI app; `phase` is set by whoever runs the process."""

    def __init__(
        self,
        prefix: str,
        token: Token,
        control: Control,
        telemetry: Telemetry,
        guardrail: Guardrail,
    ) -> None:
        self.phase = Phase.STARTING
        self._prefix = prefix
        self._control = control
        self._token = token
        self._door: ASGIApp | None = None
        if token.expected:
            self._door = Door(make_api(control, telemetry, guardrail), token)

    async def __call__(self, below: str, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request for the page `below` the prefix."""
        door = self._door if self._token.known else None
        if scope["type"] == "websocket" or below in PAGES or door is None:
            revision = self._control.snapshots.current.revision
            detail = {"revision": revision, **self._control.health()}
            await serve_probe(below, self.phase, detail, scope, receive, send)
            return
        inner = {**scope, "root_path": scope.get("root_path", "") + self._prefix}
        for key in ("app", "router", "route", "endpoint"):
            inner.pop(key, None)
        await door(inner, receive, send)
