"""One FastAPI app with every kind of route and middleware that FastAPI and Starlette have."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

from fastapi import APIRouter, Depends, FastAPI, Request, Response, WebSocket
from fastapi.responses import JSONResponse, PlainTextResponse
from fastapi.routing import APIRoute
from fastapi.staticfiles import StaticFiles
from starlette.middleware.base import BaseHTTPMiddleware
from starlette.routing import BaseRoute, Host, Match, Mount, Route, Router, WebSocketRoute

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable
    from pathlib import Path

    from starlette.types import ASGIApp, Message, Receive, Scope, Send

HAS_FRONTEND = hasattr(FastAPI, "frontend")


class ZooError(Exception):
    """Handled by the app's own handler, as 418."""


class Tagged(APIRoute):
    """Overrides `get_route_handler` and `handle`, both visible in the answer."""

    def get_route_handler(self) -> Callable[[Request], Any]:
        inner = super().get_route_handler()

        async def handler(request: Request) -> Response:
            response: Response = await inner(request)
            response.headers["x-handler"] = "tagged"
            return response

        return handler

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def tagged(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message["headers"], (b"x-handle", b"tagged")]
            await send(message)

        await super().handle(scope, receive, tagged)


class Versioned(APIRoute):
    """Overrides `matches`: only for callers that send `x-version: 2`."""

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        if (b"x-version", b"2") not in scope["headers"]:
            return Match.NONE, {}
        match, child_scope = super().matches(scope)
        child_scope["zoo.versioned"] = True
        return match, child_scope


class Timing:
    """Pure ASGI middleware: leaves a header, and may rewrite the path as a proxy would."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["path"].startswith("/rewritten/"):
            scope = {**scope, "path": scope["path"].removeprefix("/rewritten")}

        async def timed(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message["headers"], (b"x-timing", b"1")]
            await send(message)

        await self.app(scope, receive, timed)


def who(scope: Scope) -> dict[str, Any]:
    """Say what the framework put into the scope for this request."""
    endpoint = scope.get("endpoint")
    return {
        "route": getattr(scope.get("route"), "path", None),
        "endpoint": getattr(endpoint, "__name__", type(endpoint).__name__),
        "params": {key: repr(value) for key, value in scope.get("path_params", {}).items()},
        "root_path": scope.get("root_path", ""),
        "path": scope["path"],
        "versioned": scope.get("zoo.versioned", False),
    }


async def echo(request: Request) -> JSONResponse:
    return JSONResponse(who(request.scope))


def echo_named(name: str) -> Callable[[Request], Awaitable[JSONResponse]]:
    async def endpoint(request: Request) -> JSONResponse:
        return JSONResponse({"name": name, **who(request.scope)})

    endpoint.__name__ = name
    return endpoint


async def plain_asgi(scope: Scope, receive: Receive, send: Send) -> None:
    if scope["type"] == "websocket":
        await send({"type": "websocket.close", "code": 4000, "reason": scope["path"]})
        return
    await PlainTextResponse(f"asgi {scope['root_path']} {scope['path']}")(scope, receive, send)


def log_of(request: Request) -> list[str]:
    """The app's event log, which tests read; replaceable by `dependency_overrides`."""
    log: list[str] = request.app.state.log
    return log


async def resource(log: Annotated[list[str], Depends(log_of)]) -> AsyncIterator[str]:
    log.append("open")
    try:
        yield "resource"
    finally:
        log.append("close")


def build(directory: Path) -> FastAPI:
    """Build the app; `directory` holds `page.txt` and `index.html` for the static mounts."""
    app = FastAPI(exception_handlers={404: _not_found, ZooError: _zoo_error})
    app.state.log = []
    app.add_middleware(BaseHTTPMiddleware, dispatch=_signed)
    app.add_middleware(Timing)
    _direct(app)
    _routers(app)
    _mounts(app, directory)
    if HAS_FRONTEND:
        app.frontend("/ui", directory=directory)
    return app


async def _signed(
    request: Request, call_next: Callable[[Request], Awaitable[Response]]
) -> Response:
    response = await call_next(request)
    response.headers["x-signed"] = "zoo"
    return response


async def _not_found(request: Request, exc: Exception) -> JSONResponse:
    return JSONResponse({"lost": request.url.path, "why": repr(exc)}, 404)


async def _zoo_error(request: Request, exc: Exception) -> JSONResponse:
    return JSONResponse({"zoo": str(exc), "at": request.url.path}, 418)


def _direct(app: FastAPI) -> None:
    app.get("/")(echo_named("home"))
    app.get("/users/me")(echo_named("me"))
    app.get("/users/{id:int}")(echo_named("user"))
    app.put("/users/{id:int}")(echo_named("put_user"))
    app.delete("/users/{name}")(echo_named("delete_user"))
    app.get("/files/{rest:path}")(echo_named("files"))
    app.get("/files/{rest:path}/meta")(echo_named("never"))
    app.get("/price-{amount:float}.{ext}")(echo_named("price"))
    app.get("/thing/{id:uuid}")(echo_named("thing"))
    app.get("/items/")(echo_named("items"))
    app.post("/items/")(echo_named("create_item"))
    app.api_route("/any", methods=["GET", "HEAD", "OPTIONS", "PURGE"], include_in_schema=False)(
        echo_named("any_method")
    )
    app.add_route("/plain/{name}", echo, methods=["GET", "POST"])
    app.router.routes.append(Route("/every", plain_asgi))
    app.router.add_api_route(
        "/v", echo_named("v2"), methods=["GET"], route_class_override=Versioned
    )
    app.get("/v")(echo_named("v1"))

    @app.get("/fail")
    async def fail() -> None:
        raise ZooError("on purpose")

    @app.get("/held/{id}")
    async def held(
        id: str,  # noqa: A002
        held: Annotated[str, Depends(resource)],
        log: Annotated[list[str], Depends(log_of)],
    ) -> Response:
        log.append("run")
        return PlainTextResponse(f"{held} {id}")

    @app.get("/linked/{id}")
    async def linked(request: Request, id: str) -> dict[str, str]:  # noqa: A002
        return {
            "self": str(request.url_for("linked", id=id)),
            "deep": str(request.url_for("leaf", id=7)),
            "path": str(app.url_path_for("leaf", id=8)),
        }

    @app.websocket("/ws/{room}")
    async def ws(websocket: WebSocket, room: str) -> None:
        await websocket.accept()
        await websocket.send_json({"room": room, **who(websocket.scope)})
        await websocket.close()

    async def raw_ws(websocket: WebSocket) -> None:
        await websocket.accept()
        await websocket.send_json(who(websocket.scope))
        await websocket.close()

    app.router.routes.append(WebSocketRoute("/raw-ws/{n:int}", raw_ws))


def _routers(app: FastAPI) -> None:
    def guard(response: Response) -> None:
        response.headers.append("x-guard", "inner")

    def gate(response: Response) -> None:
        response.headers.append("x-guard", "outer")

    inner = APIRouter(prefix="/inner", tags=["inner"], dependencies=[Depends(guard)])
    middle = APIRouter(prefix="/middle", tags=["middle"])
    outer = APIRouter(prefix="/outer/{tenant}", dependencies=[Depends(gate)])
    inner.get("/leaf/{id:int}", name="leaf", tags=["leaf"])(_leaf)
    inner.get("/open/{rest:path}")(echo_named("open"))
    inner.post("/leaf/{id:int}")(echo_named("post_leaf"))
    inner.add_api_route("/tagged/{id}", _leaf, route_class_override=Tagged)
    inner.add_api_route("/v", echo_named("inner_v2"), route_class_override=Versioned)
    inner.get("/v")(echo_named("inner_v1"))
    inner.add_route("/plain/{name}", echo)
    inner.mount("/box", plain_asgi)

    @inner.websocket("/ws/{room}")
    async def inner_ws(websocket: WebSocket, room: str, tenant: str) -> None:
        await websocket.accept()
        await websocket.send_json({"room": room, "tenant": tenant, **who(websocket.scope)})
        await websocket.close()

    middle.include_router(inner, prefix="/deep")
    middle.get("/")(echo_named("middle_root"))
    middle.get("/{word}")(echo_named("middle_word"))
    outer.include_router(middle)
    outer.get("/middle/late")(echo_named("never_reached"))
    app.include_router(outer, prefix="/api", tags=["api"])
    app.include_router(middle, prefix="/second")
    app.get("/api/x/middle/later")(echo_named("shadowed"))


async def _leaf(request: Request, id: Any) -> dict[str, Any]:  # noqa: A002
    return {"id": id, **who(request.scope)}


def _mounts(app: FastAPI, directory: Path) -> None:
    sub = FastAPI(openapi_url=None)
    sub.get("/child/{id:int}", tags=["child"])(echo_named("child"))
    sub.get("/slash/")(echo_named("sub_slash"))
    deeper = FastAPI(openapi_url=None)
    deeper.get("/grandchild/{name}")(echo_named("grandchild"))
    sub.mount("/deeper/{level}", deeper)
    app.mount("/sub", sub, name="sub")
    app.mount("/asgi", plain_asgi)
    app.mount("/static", StaticFiles(directory=directory), name="static")
    routes: list[BaseRoute] = [Route("/star/{n:int}", echo, methods=["GET"])]
    app.router.routes.append(Mount("/group", routes=routes))
    hosted = Router(routes=[Route("/hosted/{x}", echo)])
    app.router.routes.append(Host("{name}.zoo.test", app=hosted, name="hosted"))


@dataclass(frozen=True)
class Answer:
    """What came back from one call, what WebSocket messages were sent, and the final scope."""

    status: int | None
    headers: list[tuple[str, str]]
    body: bytes
    sent: list[Message]
    scope: Scope
    error: str

    def header(self, name: str) -> list[str]:
        """Return the values of one header."""
        return [value for key, value in self.headers if key == name]


async def ask(
    app: Callable[[Scope, Receive, Send], Awaitable[None]],
    path: str,
    method: str = "GET",
    *,
    kind: str = "http",
    headers: list[tuple[bytes, bytes]] | None = None,
    **scope_values: Any,
) -> Answer:
    """Send one request without a body (or open one WebSocket) and collect all that is sent."""
    scope = scope_of(path, method, kind=kind, headers=headers, **scope_values)
    sent: list[Message] = []
    incoming: list[Message] = [
        {"type": "http.request", "body": b"", "more_body": False}
        if kind == "http"
        else {"type": "websocket.connect"}
    ]

    async def receive() -> Message:
        if incoming:
            return incoming.pop()
        if kind == "http":
            await asyncio.Event().wait()  # The client stays until it has its answer.
        return {"type": "websocket.disconnect", "code": 1000}

    async def send(message: Message) -> None:
        sent.append(message)

    error = ""
    try:
        await app(scope, receive, send)
    except Exception as exc:
        # What an app lets through is part of its answer.
        error = repr(exc)
    starts = [message for message in sent if message["type"] == "http.response.start"]
    return Answer(
        status=starts[0]["status"] if starts else None,
        headers=[
            (key.decode(), value.decode())
            for message in starts
            for key, value in message["headers"]
        ],
        body=b"".join(m["body"] for m in sent if m["type"] == "http.response.body"),
        sent=[m for m in sent if m["type"].startswith("websocket")],
        scope=scope,
        error=error,
    )


def scope_of(
    path: str,
    method: str = "GET",
    *,
    kind: str = "http",
    headers: list[tuple[bytes, bytes]] | None = None,
    **values: Any,
) -> Scope:
    """Return an ASGI scope as uvicorn makes it."""
    scope: Scope = {
        "type": kind,
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "1.1",
        "scheme": "http" if kind == "http" else "ws",
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"",
        "root_path": "",
        "headers": [(b"host", b"zoo.example"), *(headers or [])],
        "client": ("127.0.0.1", 5000),
        "server": ("127.0.0.1", 80),
        **values,
    }
    if kind == "http":
        scope["method"] = method
    else:
        scope["subprotocols"] = []
    return scope
