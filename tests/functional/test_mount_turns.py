"""Middleware inside a mounted app that makes another request of one leads around no guard."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import httpx
import pytest
from fastapi import FastAPI
from flask import Flask, abort, request
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.responses import PlainTextResponse
from starlette.routing import BaseRoute, Host, Mount, Route, Router

from tests.functional.servers import serve
from tests.functional.test_fail_closed import SEEN, TOKEN, Seen, ask, moved
from tests.functional.test_native_turns import Turning

if TYPE_CHECKING:
    from collections.abc import Callable

    from starlette.requests import Request
    from starlette.types import ASGIApp, Receive, Scope, Send

pytestmark = pytest.mark.network

RULE = {
    "prefix": "/m",
    "cutover": "native",
    "auth": "hooks",
    "accept": {**SEEN, "hooks-guard-nobody": "only DELETE and /admin are guarded"},
}


def handlers(seen: Seen, below: str) -> list[BaseRoute]:
    """Return routes for what the legacy app has below a path."""

    def handler(name: str) -> Any:
        async def answer(_: Request) -> PlainTextResponse:
            seen.ran.append(name)
            return PlainTextResponse(f"native {name}")

        return answer

    every = ["GET", "POST", "DELETE"]
    known = {"/items/{number:int}": every, "/admin/users": ["GET"], "/free": ["GET"]}
    return [
        Route(path.removeprefix(below), handler(f"{method.lower()} {path}"), methods=[method])
        for path, methods in known.items()
        for method in methods
        if path.startswith(below)
    ]


def fastapi_app(seen: Seen) -> ASGIApp:
    sub = FastAPI(routes=handlers(seen, ""))
    sub.add_middleware(Turning)
    return mounted(sub)


def starlette_app(seen: Seen) -> ASGIApp:
    return mounted(Starlette(routes=handlers(seen, ""), middleware=[Middleware(Turning)]))


def router_s_own(seen: Seen) -> ASGIApp:
    return mounted(Router(routes=handlers(seen, ""), middleware=[Middleware(Turning)]))


def mount_s_own(seen: Seen) -> ASGIApp:
    app = FastAPI()
    turning = [Middleware(Turning)]
    app.router.routes.append(Mount("/m", routes=handlers(seen, ""), middleware=turning))
    return app


def wrapped(seen: Seen) -> ASGIApp:
    """Middleware that no list shows."""
    return mounted(Turning(Starlette(routes=handlers(seen, ""))))


def two_deep(seen: Seen) -> ASGIApp:
    inner = Starlette(routes=handlers(seen, ""), middleware=[Middleware(Turning)])
    app = FastAPI()
    app.mount("/", Starlette(routes=[Mount("/m", inner)]))
    return app


def mounted(sub: ASGIApp) -> ASGIApp:
    app = FastAPI()
    app.mount("/m", sub)
    return app


def behind_a_host(seen: Seen) -> ASGIApp:
    sub = Starlette(routes=[Mount("/m", routes=handlers(seen, ""))])
    sub.add_middleware(Turning)
    app = FastAPI()
    app.router.routes.append(Host("ok", sub))
    return app


KINDS: dict[str, Callable[[Seen], ASGIApp]] = {
    each.__name__: each
    for each in (
        fastapi_app, starlette_app, router_s_own, mount_s_own, wrapped, two_deep, behind_a_host
    )
}  # fmt: skip


def legacy_below() -> Flask:
    """The legacy app, whose paths are all below `/m`."""
    app = Flask("legacy")

    @app.before_request
    def guarded() -> None:
        admin = request.path.startswith("/m/admin")
        if (request.method == "DELETE" or admin) and request.headers.get("X-Token") != "t":
            abort(401)

    every = ["GET", "POST", "DELETE"]
    app.add_url_rule("/m/items/<int:number>", "item", lambda number: "legacy item", methods=every)
    app.add_url_rule("/m/admin/users", "users", lambda: "legacy users")
    return app


TURNED = (
    "POST /m/items/5 HTTP/1.1\nX-Method: DELETE",
    "GET /m/items/5 HTTP/1.1\nX-Path: /m/admin/users",
    "GET /m/free HTTP/1.1\nX-Path: /m/admin/users",
    "HEAD /m/free HTTP/1.1\nX-Path: /m/admin/users",
    "GET /m/free HTTP/1.1\nX-Path: /a/admin/users\nX-Root: /a",
    "GET /m/free HTTP/1.1\nX-Path: /a/b/admin/users\nX-Root: /a/b",
)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("head", TURNED)
def test_what_it_turns_a_request_into_is_not_run_around_hooks(kind: str, head: str) -> None:
    seen = Seen()
    with serve(moved(legacy_below(), KINDS[kind](seen), seen, RULE)) as url:
        status, body = ask(url, f"{head}\nHost: ok")
        # Where nothing below the mount is listed, its paths have not moved.
        assert (
            status == 403 or body == b"legacy item" or (kind == "behind_a_host" and status == 404)
        )
    assert seen.ran == []


@pytest.mark.parametrize("kind", ["fastapi_app", "mount_s_own", "two_deep"])
def test_what_it_leaves_alone_is_served(kind: str) -> None:
    seen = Seen()
    with serve(moved(legacy_below(), KINDS[kind](seen), seen, RULE)) as url:
        for method, token in (("GET", ""), ("POST", ""), ("DELETE", f"\n{TOKEN}")):
            answer = ask(url, f"{method} /m/items/5 HTTP/1.1\nHost: ok{token}")
            assert answer == (200, f"native {method.lower()} /items/{{number:int}}".encode())
        assert ask(url, "DELETE /m/items/5 HTTP/1.1\nHost: ok")[0] == 401
        spelled = "GET /m/items/5 HTTP/1.1\nHost: ok\nX-Path: /a/m/items/5\nX-Root: /a/m"
        assert ask(url, spelled)[0] == 200
        assert ask(url, "GET /m/items/ HTTP/1.1\nHost: ok")[0] == 404
        assert ask(url, "PUT /m/items/5 HTTP/1.1\nHost: ok")[0] == 405
        assert ask(url, "GET /m/free/ HTTP/1.1\nHost: ok")[0] == 307
    assert len(seen.ran) == 4


@pytest.mark.parametrize("kind", sorted(KINDS.keys() - {"behind_a_host"}))
def test_it_may_lead_where_nothing_of_flask_s_is_around(kind: str) -> None:
    seen = Seen()
    with serve(moved(Flask("legacy"), KINDS[kind](seen), seen)) as url:
        head = "GET /m/free HTTP/1.1\nHost: ok\nX-Path: /m/admin/users"
        assert ask(url, head) == (200, b"native get /admin/users")


def test_the_scope_is_as_it_was_for_who_looks_at_it_afterwards() -> None:
    """Tools read the router and the route of a request once it is over."""
    found: list[Any] = []

    class Looking:
        def __init__(self, app: ASGIApp) -> None:
            self._app = app

        async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
            await self._app(scope, receive, send)
            found.append((scope["router"], scope["endpoint"], scope["root_path"]))

    def twin() -> FastAPI:
        app = FastAPI()
        app.mount("/m", Starlette(routes=handlers(Seen(), "")))
        app.add_middleware(Looking)
        return app

    ours, bare = twin(), twin()
    with serve(moved(Flask("legacy"), ours, Seen())) as url, serve(bare) as oracle:
        for server in (url, oracle):
            assert ask(server, "GET /m/free HTTP/1.1\nHost: ok")[0] == 200
    assert [each[0] for each in found] == [ours.router, bare.router]
    assert found[0][2] == found[1][2]


@pytest.mark.parametrize("order", [1, -1])
@pytest.mark.parametrize("path", ["/m/teams/13", "/m/teams/13/", "/m/teams/a/b"])
def test_the_order_of_a_mounted_app_s_routes_has_no_say(path: str, order: int) -> None:
    """Flask's `/teams/<name>` and `/teams/<path:rest>` are told apart by Flask, not by FastAPI."""
    seen, legacy, sub, native = Seen(), Flask("old"), FastAPI(), FastAPI()
    legacy.add_url_rule("/m/teams/<name>", "one", lambda name: f"one {name}")
    legacy.add_url_rule("/m/teams/<path:rest>", "rest", lambda rest: f"rest {rest}")

    async def one(name: str) -> PlainTextResponse:
        return PlainTextResponse(f"one {name}")

    async def rest(rest: str) -> PlainTextResponse:
        return PlainTextResponse(f"rest {rest}")

    for template, handler in [("/teams/{name}/", one), ("/teams/{rest:path}", rest)][::order]:
        sub.add_api_route(template, handler)
    native.mount("/m", sub)
    rule = {"prefix": "/m", "cutover": "native", "auth": "none"}
    with serve(moved(legacy, native, seen, rule, served_by=True)) as url:
        answer = httpx.get(url + path)
    assert answer.text == legacy.test_client().get(path).text
    assert answer.headers["x-served-by"] == "native"


@pytest.mark.parametrize("tail", ["%0a", "%0A", "%0a%0a"])
def test_a_newline_at_the_end_is_part_of_a_mounted_app_s_parameter(tail: str) -> None:
    """Hooks see it, and Starlette's patterns overlook it: native isn't asked with another value."""
    seen, legacy, sub, native = Seen(), Flask("old"), FastAPI(), FastAPI()
    legacy.add_url_rule("/m/teams/<name>", "one", lambda name: f"one {name!r}")

    async def one(name: str) -> PlainTextResponse:
        return PlainTextResponse(f"one {name!r}")

    sub.add_api_route("/teams/{name}", one)
    native.mount("/m", sub)
    rule = {"prefix": "/m", "cutover": "native", "auth": "none"}
    with serve(moved(legacy, native, seen, rule)) as url:
        assert httpx.get(f"{url}/m/teams/list").text == "one 'list'"
        answer = httpx.get(f"{url}/m/teams/list{tail}")
    assert answer.status_code == 404 or answer.text == "one " + repr(
        "list" + "\n" * tail.count("%")
    )
