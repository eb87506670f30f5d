"""A view that guards itself is never opened natively until somebody says who guards it then."""

from __future__ import annotations

from itertools import product
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from fastapi import FastAPI
from fastapi.responses import PlainTextResponse
from flask import Flask, abort, request
from flask.views import MethodView
from starlette.routing import Route

from gateway import ConfigError, Gateway
from tests.functional.servers import serve

if TYPE_CHECKING:
    from collections.abc import Iterator

    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment
    from starlette.types import Receive, Scope, Send

pytestmark = pytest.mark.network

SECRET = "sesame-sesame-sesame"
TESTER = {"X-Cutover": "native", "X-Cutover-Secret": SECRET}
NATIVE = {"X-Handler": "native"}
METHODS = ("GET", "HEAD", "OPTIONS", "POST", "PUT", "TRACE", "PURGE")


def asks_who() -> str:
    if not request.authorization:
        abort(401)
    return "legacy"


class Overriding:
    """Middleware that reads the method from a header, and may turn one path into another."""

    def __init__(self, app: WSGIApplication) -> None:
        self.app = app

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Any:
        environ["REQUEST_METHOD"] = environ.get("HTTP_X_METHOD", environ["REQUEST_METHOD"])
        environ["PATH_INFO"] = environ.get("HTTP_X_PATH", environ["PATH_INFO"])
        return self.app(environ, start_response)


class Resource(MethodView):
    def get(self, **_: Any) -> str:
        return asks_who()

    def options(self, **_: Any) -> str:
        return asks_who()


def legacy_app(shape: str) -> tuple[Flask, str]:
    """Return an app with one guarded view, and a path that leads to it."""
    app = Flask("legacy")
    app.add_url_rule("/open", "open", lambda: "legacy")
    if shape == "plain":
        app.add_url_rule("/secret", "secret", asks_who)
        return app, "/secret"
    if shape == "itself":
        methods = ["OPTIONS", "GET", "HEAD"]
        app.add_url_rule(
            "/secret", "secret", asks_who, methods=methods, provide_automatic_options=False
        )
        return app, "/secret"
    if shape == "class":
        app.add_url_rule("/secret", view_func=Resource.as_view("secret"))
        return app, "/secret"
    if shape == "subdomain":
        app = Flask("legacy", subdomain_matching=True)
        app.config["SERVER_NAME"] = "shop.test"
        app.add_url_rule("/secret", "secret", asks_who, subdomain="admin")
        return app, "/secret"
    if shape == "wide":
        app.add_url_rule("/<path:rest>", "secret", lambda rest: asks_who())
        return app, "/secret"
    app.add_url_rule("/pages/<int:page>", "secret", lambda page: asks_who())
    return app, "/pages/7"


def native_app(shape: str, path: str, *, options: bool) -> FastAPI:
    """Return an app whose answers, where legacy would ask who is there, say so in a header.

    `options`: legacy asks for OPTIONS, too.
    """
    app = FastAPI(openapi_url=None)
    template = path.replace("7", "{page}")

    def handler() -> PlainTextResponse:
        return PlainTextResponse("native", headers=NATIVE)

    class Anything:
        async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
            await handler()(scope, receive, send)

    app.add_api_route("/open", lambda: "native")
    if shape == "get":
        app.add_api_route(template, handler)
    elif shape == "together":
        app.add_api_route(template, handler, methods=["GET", "HEAD", "OPTIONS", "PUT"])
    elif shape == "apart":
        app.add_api_route(template, handler)
        app.add_api_route(template, handler, methods=["HEAD"])
        app.add_api_route(template, handler if options else lambda: "", methods=["OPTIONS"])
    else:
        app.router.routes.append(Route(template, Anything()))
    return app


def configs(path: str) -> Iterator[dict[str, Any]]:
    """Yield configs that never say `auth:`."""
    template = path.replace("7", "<int:page>")
    moved = {"path": "/open", "cutover": "native", "hooks": "inherit"}
    yield {}
    yield {"routes": [moved]}
    yield {"defaults": {"cutover": "native"}}
    for method, cutover in product(("GET", "HEAD", "OPTIONS", "PUT"), ("native", "shadow")):
        yield {"routes": [{"path": template, "methods": [method], "cutover": cutover}]}
    yield {"routes": [{"path": template, "cutover": "native", "on_mismatch": "native"}]}
    yield {"routes": [{"path": template, "cutover": "legacy", "on_mismatch": "native"}]}
    yield {"routes": [{"path": template, "cutover": "canary", "weight": 100, "sticky": ["ip"]}]}
    yield {"routes": [{"path": template, "cutover": "native", "host": "testserver"}]}
    yield {"routes": [{"path": template, "cutover": "native", "host": "admin.shop.test"}]}
    yield {"routes": [{"prefix": "/", "cutover": "native"}]}
    yield {"routes": [{"prefix": "/", "methods": ["HEAD", "OPTIONS"], "cutover": "native"}, moved]}
    yield {"routes": [{"endpoint": "secret", "cutover": "live"}]}


def tricks(path: str) -> Iterator[tuple[str, str, dict[str, str]]]:
    """Yield what a stranger, or a tester whom legacy doesn't know, may send."""
    for method in METHODS:
        for headers in ({}, TESTER, {"Host": "admin.shop.test"}, {"Host": "shop.test"}):
            yield method, path, headers
        yield "POST", path, {"X-Method": method, **TESTER}
        yield method, "/open", {"X-Path": path}
        origin = {"Origin": "https://evil.test", "Access-Control-Request-Method": method}
        yield "OPTIONS", path, origin
        yield "OPTIONS", path, {**origin, **TESTER}
    for other in ("/pages/x", f"{path}/", f"/{path}", path.upper(), path.replace("s", "%73")):
        yield "GET", other, TESTER


@pytest.mark.parametrize("native", ["get", "together", "apart", "any"])
@pytest.mark.parametrize("legacy", ["plain", "itself", "class", "subdomain", "wide", "converter"])
def test_a_stranger_never_reaches_the_handler_of_a_view_that_guards_itself(
    legacy: str, native: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TESTER_SECRET", SECRET)
    accepted, opened = 0, []
    _, path = legacy_app(legacy)
    for config in configs(path):
        flask, _ = legacy_app(legacy)
        flask.wsgi_app = Overriding(flask.wsgi_app)  # type: ignore[method-assign]
        tester = {"secret_env": "TESTER_SECRET"}
        app = native_app(native, path, options=legacy in ("itself", "class"))
        try:
            gate = Gateway(flask, app, {"version": 1, "tester": tester, **config})
        except ConfigError:
            continue
        accepted += 1
        with serve(gate) as url, httpx.Client() as client:
            for method, asked, headers in tricks(path):
                with client.stream(method, f"{url}{asked}", headers=headers) as answer:
                    if "x-handler" in answer.headers:
                        opened.append(f"{config}: {method} {asked} {headers}")
    assert not opened, f"{len(opened)}, such as {opened[:: len(opened) // 8 + 1]}"
    assert accepted
