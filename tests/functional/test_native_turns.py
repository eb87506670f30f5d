"""Native middleware that makes another request of one never leads around Flask or the guard."""

from __future__ import annotations

import sys
from types import ModuleType
from typing import TYPE_CHECKING, Any

import pytest
from fastapi import FastAPI, Header, HTTPException
from flask import Flask, abort, request
from starlette.middleware.cors import CORSMiddleware

from tests.functional.servers import serve
from tests.functional.test_fail_closed import SEEN, TOKEN, Seen, ask, moved

if TYPE_CHECKING:
    from collections.abc import Iterator

    from starlette.types import ASGIApp, Receive, Scope, Send

pytestmark = pytest.mark.network

ITEMS = {
    "prefix": "/items",
    "cutover": "native",
    "auth": "hooks",
    "accept": {**SEEN, "hooks-guard-nobody": "only DELETE and /admin are guarded"},
}


class Turning:
    """Takes method, path and root path from headers, as method overrides and rewrites do."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            told = dict(scope["headers"])
            scope = dict(scope)
            scope["method"] = told.get(b"x-method", scope["method"].encode()).decode()
            scope["path"] = told.get(b"x-path", scope["path"].encode()).decode()
            scope["root_path"] = told.get(b"x-root", scope.get("root_path", "").encode()).decode()
        await self._app(scope, receive, send)


def legacy(*, hooks: bool = True) -> Flask:
    app = Flask("legacy")
    app.secret_key = "x"
    if hooks:

        @app.before_request
        def guarded() -> None:
            admin = request.path.startswith("/admin")
            if (request.method == "DELETE" or admin) and request.headers.get("X-Token") != "t":
                abort(401)

    every = ["GET", "POST", "DELETE"]
    app.add_url_rule("/items/<int:number>", "item", lambda number: "legacy item", methods=every)
    app.add_url_rule("/admin/users", "users", lambda: "legacy users")
    return app


def twin_of(seen: Seen) -> FastAPI:
    twin = FastAPI()

    @twin.get("/items/{number}")
    async def get(number: int) -> str:
        seen.ran.append(f"get {number}")
        return "native get"

    @twin.post("/items/{number}")
    async def post(number: int) -> str:
        seen.ran.append("post")
        return "native post"

    @twin.delete("/items/{number}")
    async def delete(number: int) -> str:
        seen.ran.append("delete")
        return "native delete"

    @twin.get("/admin/users")
    async def users() -> str:
        seen.ran.append("users")
        return "native users"

    @twin.get("/admin/new")
    async def new() -> str:
        seen.ran.append("new")
        return "native new"

    @twin.get("/free")
    async def free() -> str:
        seen.ran.append("free")
        return "native free"

    twin.add_middleware(Turning)
    return twin


@pytest.mark.parametrize(
    "head",
    [
        "POST /items/5 HTTP/1.1\nX-Method: DELETE",
        "GET /items/5 HTTP/1.1\nX-Path: /admin/users",
        "GET /free HTTP/1.1\nX-Path: /admin/users",
        "GET /free HTTP/1.1\nX-Path: /admin/new",
        "GET /free HTTP/1.1\nX-Path: /a/admin/new\nX-Root: /a",
        "HEAD /free HTTP/1.1\nX-Path: /admin/users",
    ],
)
def test_what_native_middleware_turns_a_request_into_is_not_run_around_hooks(head: str) -> None:
    seen = Seen()
    with serve(moved(legacy(), twin_of(seen), seen, ITEMS)) as url:
        assert ask(url, f"{head}\nHost: ok")[0] == 403
        assert seen.ran == []
        assert ask(url, "POST /items/5 HTTP/1.1\nHost: ok") == (200, b'"native post"')


def test_native_middleware_may_spell_the_path_of_the_same_route_otherwise() -> None:
    """But it reads the same parameters: a guard may have asked for them."""
    seen = Seen()
    with serve(moved(legacy(), twin_of(seen), seen, ITEMS)) as url:
        head = "GET /items/5 HTTP/1.1\nHost: ok\nX-Path: /a/items/5\nX-Root: /a"
        assert ask(url, head) == (200, b'"native get"')
        assert ask(url, "GET /items/5 HTTP/1.1\nHost: ok\nX-Path: /items/6")[0] == 403
    assert seen.ran == ["get 5"]


def test_native_middleware_may_lead_where_nothing_of_flask_s_is_around() -> None:
    seen = Seen()
    app = Flask("legacy")
    with serve(moved(app, twin_of(seen), seen)) as url:
        head = "GET /free HTTP/1.1\nHost: ok\nX-Path: /admin/new"
        assert ask(url, head) == (200, b'"native new"')


@pytest.fixture
def dependency() -> Iterator[str]:
    def verify(x_token: str = Header("")) -> dict[str, Any]:
        if x_token != "t":
            raise HTTPException(403)
        return {"id": "me"}

    module = ModuleType("turning_guard")
    module.verify = verify  # type: ignore[attr-defined]
    sys.modules["turning_guard"] = module
    yield "turning_guard:verify"
    del sys.modules["turning_guard"]


def test_a_preflight_that_is_turned_into_a_write_is_not_past_the_shared_guard(
    dependency: str,
) -> None:
    seen = Seen()
    twin = twin_of(seen)
    turning = twin.user_middleware.pop()
    twin.add_middleware(CORSMiddleware, allow_origins=["*"], allow_methods=["*"])
    twin.user_middleware.insert(0, turning)
    rule = {**ITEMS, "auth": "shared", "accept": {"guards-itself": "a view of the tests"}}
    auth = {"dependency": dependency, "id": "id"}
    with serve(moved(legacy(hooks=False), twin, seen, rule, auth=auth)) as url:
        preflight = "Host: ok\nOrigin: http://x\nAccess-Control-Request-Method: POST"
        head = f"OPTIONS /items/5 HTTP/1.1\n{preflight}"
        assert ask(url, head)[0] == 200
        assert ask(url, f"{head}\nX-Method: DELETE")[0] == 403
        head = f"POST /items/5 HTTP/1.1\nHost: ok\n{TOKEN}"
        assert ask(url, head) == (200, b'"native post"')
        assert ask(url, f"{head}\nX-Path: /items/6")[0] == 403
    assert seen.ran == ["post"]
