"""The FastAPI side of a world, whose handlers write down that they ran and what they were given."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, Any

import flask
from fastapi import APIRouter, Depends, FastAPI, Header, HTTPException, Request, WebSocket
from fastapi.middleware.cors import CORSMiddleware
from fastapi.responses import PlainTextResponse
from starlette.routing import Match

from gateway.exceptions import UseLegacy
from tests.guardfuzz.legacy import WORD

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from starlette.types import ASGIApp, Receive, Scope, Send

    from tests.guardfuzz.world import Handler, World

#: Tells whose call it is, also where an answer is asked for twice or later.
ID_HEADER = b"x-fuzz-id"


@dataclass(frozen=True, slots=True)
class Reading:
    """How one side reads a request: what hooks guard by, and what a handler goes by."""

    method: str
    scheme: str
    host: str
    path: str


@dataclass(frozen=True, slots=True)
class Ran:
    """One run of a native handler. `inside` is what Flask's hooks saw, None outside of Flask.

    `number` is the request's id, empty where it carries none.
    """

    handler: str
    number: str
    native: Reading
    inside: Reading | None
    params: Mapping[str, Any]
    authorized: bool
    gate: bool


@dataclass(slots=True)
class Ledger:
    """Who ran, by the request's id. `current` is taken where a request doesn't tell its id."""

    current: str = ""
    entered: list[str] = field(default_factory=list)
    """The paths that the native app was asked for, where the world has its middleware."""
    ran: dict[str, list[Ran]] = field(default_factory=dict)

    def note(self, handler: str, scope: Scope, params: Mapping[str, Any]) -> None:
        """Write down that a handler was called."""
        headers = list(scope["headers"])
        number = next((v.decode("latin-1") for k, v in headers if k == ID_HEADER), "")
        case = number.removesuffix("b") or self.current
        authorized = any(k == b"authorization" and v == _BEARER for k, v in headers)
        gate = any(k == b"x-gate" for k, _ in headers)
        run = Ran(handler, number, _read(scope), _inside(), dict(params), authorized, gate)
        self.ran.setdefault(case, []).append(run)


_BEARER = f"Bearer {WORD}".encode()


def _read(scope: Scope) -> Reading:
    host = next((v.decode("latin-1") for k, v in scope["headers"] if k == b"host"), "")
    root: str = scope.get("app_root_path", scope.get("root_path", ""))
    path: str = scope["path"]
    if root and (path == root or path.startswith(root.rstrip("/") + "/")):
        path = path[len(root.rstrip("/")) :] or "/"
    return Reading(scope.get("method", "WEBSOCKET"), scope["scheme"], host.lower(), _bare(path))


def _inside() -> Reading | None:
    if not flask.has_request_context():
        return None
    seen = flask.request
    host: str = seen.environ.get("HTTP_HOST", "")
    return Reading(seen.method, seen.scheme, host.lower(), _bare(seen.path))


def _bare(path: str) -> str:
    """Leave slashes at both ends out.

    Werkzeug's `request.path` has one leading slash, however many were sent; a mounted app is given
    the path that fits its own template.
    """
    return "/" + path.strip("/")


async def shared_guard(authorization: Annotated[str | None, Header()] = None) -> str:
    """The dependency of `auth: shared`."""
    if authorization != f"Bearer {WORD}":
        raise HTTPException(401)
    return "ada"


def own_guard(x_native: Annotated[str | None, Header()] = None) -> None:
    """The guard of handlers behind `auth: native`."""
    if x_native != WORD:
        raise HTTPException(401)


class GatedRouter(APIRouter):
    """Knows no path without the header X-Gate; FastAPI asks an included router since 0.137."""

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        if not any(name == b"x-gate" for name, _ in scope.get("headers", ())):
            return Match.NONE, {}
        parent: Any = super()
        found: tuple[Match, Scope] = parent.matches(scope)
        return found


ASKS_ROUTERS = hasattr(APIRouter, "matches")


class Entered:
    """Middleware of the native app: writes down that it was asked at all."""

    def __init__(self, app: ASGIApp, entered: list[str]) -> None:
        self.app, self.entered = app, entered

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "lifespan":
            self.entered.append(scope["path"])
        await self.app(scope, receive, send)


def build(world: World, ledger: Ledger) -> FastAPI:
    """Make the world's native app."""
    app = FastAPI(openapi_url=None)
    app.root_path = world.root_path  # as `FastAPI(root_path=...)`, which newer versions deprecate
    if world.watched:
        app.add_middleware(Entered, entered=ledger.entered)
    if world.cors:
        app.add_middleware(CORSMiddleware, allow_origins=["*"], allow_methods=["*"])
    mounts: dict[str, FastAPI] = {}
    for handler in world.handlers:
        dependencies = [Depends(own_guard)] if handler.guarded else []
        if not handler.methods:
            app.add_api_websocket_route(
                handler.template, _socket(handler, ledger), dependencies=dependencies
            )
            continue
        function = _endpoint(handler, ledger)
        more: Any = {
            "methods": list(handler.methods),
            "dependencies": dependencies,
            "tags": [handler.base.strip("/") or "root"],
        }
        if handler.place == "mount":
            mounts.setdefault(handler.base, FastAPI(openapi_url=None)).add_api_route(
                handler.template.removeprefix(handler.base), function, **more
            )
        elif handler.place == "app":
            app.add_api_route(handler.template, function, **more)
        else:
            router = GatedRouter() if handler.place == "gated" else APIRouter()
            router.add_api_route(handler.template, function, **more)
            app.include_router(router)
    for base, mounted in mounts.items():
        app.mount(base, mounted)
    return app


def _endpoint(handler: Handler, ledger: Ledger) -> Callable[..., Awaitable[Any]]:
    async def handle(request: Request) -> PlainTextResponse:
        ledger.note(handler.name, request.scope, request.path_params)
        if handler.gives_up and "x-give-up" in request.headers:
            raise UseLegacy
        return PlainTextResponse("native")

    return handle


def _socket(handler: Handler, ledger: Ledger) -> Callable[..., Awaitable[None]]:
    async def handle(websocket: WebSocket) -> None:
        ledger.note(handler.name, websocket.scope, websocket.path_params)
        await websocket.accept()
        await websocket.close()

    return handle
