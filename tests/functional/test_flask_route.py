"""`FlaskRoute` over real sockets: Flask's world inside native handlers (C1 to C5, C8)."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextvars import ContextVar
from functools import wraps
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from fastapi import APIRouter, Depends, FastAPI, HTTPException
from flask import Flask, Response, abort, current_app, g, jsonify, request, session
from pydantic import BaseModel

from gateway import Gateway
from gateway.flask import FlaskRoute, FlaskSession, ReadOnlyFlaskSession
from gateway.legacy import standin
from tests.functional.servers import serve

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator

pytestmark = pytest.mark.network

tenant: ContextVar[str] = ContextVar("tenant", default="nobody's")
HOOKS = ("inherit", "skip")


class Handled(Exception):
    """Flask has an errorhandler for it."""


class Natively(Exception):
    """FastAPI has an exception handler for it."""


class Item(BaseModel):
    name: str


def legacy_app(log: list[str]) -> Flask:
    app = Flask("legacy")
    app.secret_key = "k"

    @app.before_request
    def before() -> None:
        log.append("before")
        g.user = request.args.get("user", "nobody")
        g.thread = threading.get_ident()

    @app.after_request
    def after(response: Response) -> Response:
        log.append("after")
        response.headers["X-User"] = g.user
        return response

    @app.teardown_request
    def teardown(_: BaseException | None) -> None:
        log.append("teardown")

    @app.errorhandler(Handled)
    def handled(error: Handled) -> Any:
        return jsonify(handled=str(error)), 418

    @app.errorhandler(404)
    def missing(error: Exception) -> Any:
        return "Flask's 404", 404

    @app.errorhandler(500)
    def crashed(error: Any) -> Any:
        return f"Flask's 500: {type(error.original_exception).__name__}", 500

    @app.get("/login")
    def login() -> str:
        session.permanent = True
        session["user"] = {"name": "ann", "cart": [1]}
        return "in"

    @app.get("/cart")
    def cart() -> Any:
        return jsonify(session.get("user"))

    @app.get("/logout")
    def logout() -> str:
        session.clear()
        return "out"

    return app


def deep() -> str:
    """A helper that nobody has ported, four calls down."""
    return f"{g.user} {request.args['user']} {current_app.name} {tenant.get()}"


async def set_tenant(user: str) -> None:
    tenant.set(f"{user}'s")


def add(router: APIRouter) -> None:
    @router.get("/async", dependencies=[Depends(set_tenant)])
    async def asynchronous() -> dict[str, Any]:
        return {"deep": deep()}

    @router.get("/def", dependencies=[Depends(set_tenant)])
    def plain() -> dict[str, Any]:
        time.sleep(0.01)
        return {"deep": deep(), "thread": threading.get_ident() == g.thread}

    @router.get("/jsonify")
    async def with_jsonify() -> Response:
        response = jsonify(made="by Flask")
        response.set_cookie("a", "b")
        return response

    @router.get("/tuple")
    def with_tuple() -> Any:
        return {"made": "of three"}, 202, {"X-Extra": "yes"}

    @router.get("/pair")
    async def with_pair() -> Any:
        return "two", 203

    @router.get("/model")
    async def with_model() -> Item:
        return Item(name=g.user)

    @router.get("/list")
    async def with_list() -> tuple[int, int]:
        return 1, 2

    @router.get("/abort")
    def aborts() -> None:
        abort(404)

    @router.get("/handled")
    async def handled() -> None:
        raise Handled("well")

    @router.get("/natively")
    async def natively() -> None:
        raise Natively

    @router.get("/http")
    async def http() -> None:
        raise HTTPException(404, "FastAPI's 404")

    @router.get("/typed/{n}")
    async def typed(n: int) -> int:
        return n

    @router.get("/crash")
    def crash() -> None:
        raise ZeroDivisionError

    @router.post("/json")
    async def both_read(item: Item) -> dict[str, Any]:
        return {"native": item.name, "flask": request.get_json()["name"]}

    @router.post("/flask-first")
    def flask_first() -> dict[str, Any]:
        return {"form": request.form.to_dict(), "files": sorted(request.files)}


def native_app() -> FastAPI:
    app = FastAPI()
    direct, inner, outer = (APIRouter(route_class=FlaskRoute) for _ in range(3))
    add(direct)
    app.router.routes.extend(direct.routes)
    add(inner)
    outer.include_router(inner, prefix="/inner")
    app.include_router(outer, prefix="/outer")

    @app.exception_handler(Natively)
    async def natively(_: Any, error: Exception) -> Any:
        from fastapi.responses import JSONResponse

        return JSONResponse({"natively": True}, 419)

    @app.get("/session/read")
    async def read(held: ReadOnlyFlaskSession) -> Any:
        held["lost"] = True
        return held

    @app.get("/session/change")
    async def change(held: FlaskSession) -> Any:
        held["user"] = {**held["user"], "cart": [*held["user"]["cart"], 2]}
        return held["user"]

    @app.get("/session/clear")
    def clear(held: FlaskSession) -> str:
        held.clear()
        return "cleared"

    return app


@pytest.fixture
def log() -> list[str]:
    return []


@pytest.fixture(params=HOOKS)
def url(request: pytest.FixtureRequest, log: list[str]) -> Iterator[str]:
    settings = {"version": 1, "defaults": {"hooks": request.param}, "legacy": {"threads": 60}}
    app = Gateway(legacy_app(log), native_app(), settings, verify_lock=False)
    with serve(app) as url:
        yield url


@pytest.fixture(params=["", "/outer/inner"], ids=["direct", "included"])
def base(url: str, request: pytest.FixtureRequest) -> str:
    return url + str(request.param)


@pytest.mark.parametrize("kind", ["async", "def"])
def test_fifty_identities_at_once(base: str, log: list[str], kind: str) -> None:
    def ask(n: int) -> tuple[int, httpx.Response]:
        return n, httpx.get(f"{base}/{kind}?user=u{n}", timeout=30)

    with ThreadPoolExecutor(50) as pool:
        for n, answer in pool.map(ask, range(50)):
            assert answer.json()["deep"] == f"u{n} u{n} legacy u{n}'s"
            assert answer.headers["x-user"] == f"u{n}"
            assert answer.json().get("thread", True), "on the thread of its hooks"
    time.sleep(0.1)
    assert [log.count(each) for each in ("before", "after", "teardown")] == [50, 50, 50]


@pytest.mark.parametrize(
    ("path", "status", "body"),
    [
        ("/jsonify", 200, {"made": "by Flask"}),
        ("/tuple", 202, {"made": "of three"}),
        ("/pair", 203, "two"),
        ("/model", 200, {"name": "ann"}),
        ("/list", 200, [1, 2]),
        ("/abort", 404, "Flask's 404"),
        ("/handled", 418, {"handled": "well"}),
        ("/natively", 419, {"natively": True}),
        ("/http", 404, {"detail": "FastAPI's 404"}),
        ("/typed/7", 200, 7),
        ("/crash", 500, "Flask's 500: ZeroDivisionError"),
    ],
)
def test_answers_and_errors_of_both_worlds(
    base: str, log: list[str], path: str, status: int, body: Any
) -> None:
    answer = httpx.get(f"{base}{path}?user=ann")
    assert answer.status_code == status
    assert (answer.text if isinstance(body, str) else answer.json()) == body
    assert answer.headers["x-user"] == "ann"
    if path == "/jsonify":
        assert answer.headers["set-cookie"] == "a=b; Path=/"
    if path == "/tuple":
        assert answer.headers["x-extra"] == "yes"
    time.sleep(0.05)
    assert log == ["before", "after", "teardown"]


def test_a_value_that_does_not_fit_is_fastapis_422(base: str) -> None:
    assert httpx.get(f"{base}/typed/x").status_code == 422


def test_both_sides_read_the_same_body(base: str) -> None:
    answer = httpx.post(f"{base}/json", json={"name": "x"})
    assert answer.json() == {"native": "x", "flask": "x"}
    chunked = httpx.post(
        f"{base}/json",
        content=iter([b'{"name"', b':"y"}']),
        headers={"Content-Type": "application/json"},
    )
    assert chunked.json() == {"native": "y", "flask": "y"}
    form = httpx.post(f"{base}/flask-first", data={"a": "1"}, files={"f": b"x" * 400_000})
    assert form.json() == {"form": {"a": "1"}, "files": ["f"]}


def test_a_session_goes_both_ways(url: str) -> None:
    with httpx.Client(base_url=url) as client:
        client.get("/login")
        assert client.get("/session/read").json()["user"]["cart"] == [1]
        assert "set-cookie" in client.get("/session/change").headers
        assert client.get("/cart").json() == {"name": "ann", "cart": [1, 2]}
        cleared = client.get("/session/clear")
        assert "session=; Expires=Thu, 01 Jan 1970" in cleared.headers["set-cookie"]
        assert client.get("/cart").json() is None


def test_reading_saves_nothing() -> None:
    settings = {"version": 1, "defaults": {"hooks": "skip"}}
    flask = Flask("legacy")
    flask.secret_key = "k"
    app = Gateway(flask, native_app(), settings, verify_lock=False)
    with serve(app) as url:
        answer = httpx.get(url + "/session/read")
        assert answer.json() == {"lost": True}
        assert "set-cookie" not in answer.headers


# -- misuse --------------------------------------------------------------------------------------


def login_required(view: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(view)
    def decorated(*args: Any, **kwargs: Any) -> Any:
        return view(*args, **kwargs)

    return decorated


def test_a_flask_decorator_over_an_async_def_is_refused() -> None:
    router = APIRouter(route_class=FlaskRoute)

    async def handler() -> str:
        return ""

    with pytest.raises(TypeError, match=r"handler is an `async def` inside login_required"):
        router.get("/")(login_required(handler))
    router.get("/")(login_required(lambda: ""))


def test_a_def_dependency_that_sets_a_variable_is_refused() -> None:
    def lost(user: str) -> None:
        tenant.set(user)

    router = APIRouter(route_class=FlaskRoute)
    with pytest.raises(TypeError, match=r"lost is a plain `def` and sets .* tenant.*async def"):
        router.get("/", dependencies=[Depends(lost)])(lambda: "")


def test_a_def_dependency_that_pushes_a_context_is_refused() -> None:
    flask = Flask("x")

    def context() -> Iterator[None]:
        with flask.app_context():
            yield

    async def fine() -> AsyncIterator[None]:
        with flask.app_context():
            yield

    router = APIRouter(route_class=FlaskRoute)
    router.get("/", dependencies=[Depends(fine)])(lambda: "")
    with pytest.raises(TypeError, match=r"enters a Flask context.*use FlaskRoute"):
        router.get("/", dependencies=[Depends(context)])(lambda: "")


def test_without_the_gateway_there_is_one_clear_error() -> None:
    async def ask() -> None:
        transport = httpx.ASGITransport(native_app())
        async with httpx.AsyncClient(transport=transport, base_url="http://x") as client:
            await client.get("/async?user=x")

    with pytest.raises(RuntimeError, match="needs the gateway in front"):
        asyncio.run(ask())


def test_a_lost_context_variable_is_reported_at_the_start_too() -> None:
    def lost() -> None:
        tenant.set("gone")

    native = FastAPI()
    native.get("/plain", dependencies=[Depends(lost)])(lambda: "")
    gateway = Gateway(Flask("x"), native, {"version": 1}, verify_lock=False)
    codes = {problem.code: problem.what for problem in gateway.snapshots.current.warnings}
    assert "lost is a plain `def` and sets the context variable tenant" in codes["lost-context"]


def test_gevent_s_threads_are_refused_by_name() -> None:
    """S2: with patched threads the pool would block the loop; measured, one second."""
    pytest.importorskip("gevent")
    code = (
        "from gevent import monkey; monkey.patch_all()\n"
        "from flask import Flask\n"
        "from gateway import ConfigError, Gateway\n"
        "try:\n"
        "    Gateway(Flask('x'), None, {'version': 1})\n"
        "except ConfigError as error:\n"
        "    print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "gevent has patched `threading`" in done.stdout
    assert "[gevent-patched]" in done.stdout


def test_a_task_that_outlives_its_request_is_named(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """C14: nobody closes what such a task opens in the context that it still sees."""
    monkeypatch.setattr(standin, "OUTLIVED_SECONDS", 0.2)
    monkeypatch.setattr(standin, "SURE_SECONDS", 0.1)
    flask, native, router = Flask("legacy"), FastAPI(), APIRouter(route_class=FlaskRoute)
    running: list[asyncio.Task[None]] = []

    @router.get("/leaves")
    async def leaves() -> str:
        running.append(asyncio.create_task(asyncio.sleep(1)))
        return "left"

    @router.get("/waits")
    async def waits() -> str:
        await asyncio.create_task(asyncio.sleep(0))
        return "waited"

    @router.get("/fails")
    async def fails() -> str:
        raise HTTPException(418)

    native.include_router(router)
    for path in ("/leaves", "/waits", "/fails"):
        flask.add_url_rule(path, path[1:], lambda: "legacy")
    rule = {"prefix": "/", "cutover": "native", "auth": "none"}
    config = {"version": 1, "routes": [rule]}
    with serve(Gateway(flask, native, config, verify_lock=False)) as url:
        for path in ("/leaves", "/leaves", "/waits", "/fails"):
            httpx.get(url + path)
        time.sleep(0.5)
    said = [r.getMessage() for r in caplog.records if "outlives" in r.getMessage()]
    assert len(said) == 1, said
    assert said[0].startswith("GET /leaves (")
    assert "leaves) started a task" in said[0]
