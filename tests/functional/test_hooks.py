"""`hooks: inherit` over real sockets (C9, C2, C5, C6): a moved route answers as its legacy twin.

Every route exists twice, under `/legacy/…` served by Flask's view and under `/moved/…` by the
native handler in the view's place; both apps give the same answers, so that whatever differs is
the doing of the hooks around them.
"""

from __future__ import annotations

import asyncio
import json
import re
import socket
import threading
import time
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from fastapi import FastAPI, HTTPException, Request
from fastapi.responses import FileResponse, StreamingResponse
from flask import (
    Flask,
    Response,
    abort,
    g,
    jsonify,
    make_response,
    redirect,
    request,
    session,
    stream_with_context,
)
from flask.sessions import SecureCookieSessionInterface
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import BaseModel
from starlette.middleware import Middleware
from werkzeug.middleware.proxy_fix import ProxyFix

from gateway import Exchange, Gateway
from tests.functional.servers import serve

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator
    from pathlib import Path

    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment
    from starlette.types import ASGIApp, Receive, Scope, Send

pytestmark = pytest.mark.network

TOKEN = {"X-Token": "secret"}
OUTCOMES = (
    "pass",
    "abort",
    "response",
    "tuple",
    "redirect",
    "cookie",
    "stream",
    "crash",
    "204",
    "304",
    "custom",
)
SIDES = ("legacy", "moved")


class Item(BaseModel):
    name: str


class Teapot(Exception):
    """An error with a handler of its own on the Flask side."""


def legacy_app(log: list[str]) -> Flask:
    app = Flask("legacy")
    app.secret_key = "k"

    @app.before_request
    def guard() -> Any:
        log.append(f"before {request.endpoint}")
        if request.headers.get("X-Token") != "secret":
            return jsonify(error="who are you?"), 401
        g.user = "ann"
        return outcome(request.headers.get("X-Outcome", "pass"))

    @app.after_request
    def mark(response: Response) -> Response:
        log.append("after")
        response.headers["Content-Security-Policy"] = "default-src 'self'"
        response.headers["X-User"] = str(g.get("user"))
        session["seen"] = session.get("seen", 0) + 1
        if "X-Length" in request.headers and not response.direct_passthrough:
            response.headers["X-Length"] = str(len(response.get_data()))
        if "X-Shout" in request.headers:
            response.set_data(response.get_data().upper())
        return response

    @app.teardown_request
    def end(error: BaseException | None) -> None:
        log.append(f"teardown {type(error).__name__}" if error else "teardown")

    @app.errorhandler(Teapot)
    def teapot(error: Teapot) -> Any:
        return "short and stout", 418

    for side in SIDES:
        add_views(app, side)
    return app


def outcome(kind: str) -> Any:
    if kind == "abort":
        abort(403)
    if kind == "crash":
        raise RuntimeError("the hook crashed")
    if kind == "custom":
        raise Teapot
    if kind == "cookie":
        response = make_response("with a cookie", 200)
        response.set_cookie("hook", "yes", httponly=True)
        return response
    simple: dict[str, Callable[[], Any]] = {
        "pass": lambda: None,
        "response": lambda: Response("early", 202, {"X-Early": "1"}),
        "tuple": lambda: ({"early": True}, 203, {"X-Early": "2"}),
        "redirect": lambda: redirect("/login?next=x"),
        "stream": lambda: Response(stream_with_context(iter(["a", "b", "c"])), mimetype="text/x"),
        "204": lambda: ("", 204),
        "304": lambda: ("", 304),
    }
    return simple[kind]()


def add_views(app: Flask, side: str) -> None:
    def item() -> Any:
        return jsonify(name=request.get_json()["name"])

    app.add_url_rule(f"/{side}/hello", f"{side}_hello", lambda: jsonify(hello="you"))
    app.add_url_rule(f"/{side}/item", f"{side}_item", item, methods=["POST", "PUT"])
    app.add_url_rule(f"/{side}/user/<int:n>", f"{side}_user", lambda n: jsonify(user=n))
    for name in ("who", "crash", "missing", "stream", "file", "slow", "big", "thread"):
        app.add_url_rule(f"/{side}/{name}", f"{side}_{name}", lambda: "legacy")


def native_app(folder: Path | None = None, threads: list[str] | None = None) -> FastAPI:
    app = FastAPI()

    @app.get("/moved/hello")
    async def hello() -> dict[str, str]:
        return {"hello": "you"}

    @app.post("/moved/item")
    async def item(item: Item) -> Item:
        return item

    @app.put("/moved/item")
    async def raw(request: Request) -> dict[str, int]:
        return {"length": len(await request.body())}

    @app.get("/moved/user/{n}")
    def user(n: int) -> dict[str, int]:
        return {"user": n}

    @app.get("/moved/who")
    async def who() -> dict[str, Any]:
        # Flask's context is around the handler, also in an `async def`.
        return {"user": g.user, "path": request.path, "endpoint": request.endpoint}

    @app.get("/moved/crash")
    async def crash() -> None:
        raise ZeroDivisionError

    @app.get("/moved/missing")
    def missing() -> None:
        raise HTTPException(404, "no such thing")

    @app.get("/moved/stream")
    async def stream() -> StreamingResponse:
        async def parts() -> AsyncIterator[bytes]:
            for n in range(5):
                yield b"%d\n" % n
                await asyncio.sleep(0.01)

        return StreamingResponse(parts(), media_type="text/event-stream")

    @app.get("/moved/big")
    async def big() -> StreamingResponse:
        async def parts() -> AsyncIterator[bytes]:
            for _ in range(50):
                yield b"x" * 100_000

        return StreamingResponse(parts(), media_type="text/plain")

    @app.get("/moved/file")
    async def file() -> FileResponse:
        assert folder is not None
        return FileResponse(folder / "file.bin")

    @app.get("/moved/slow")
    async def slow() -> str:
        await asyncio.sleep(30)
        return "never"

    @app.get("/moved/thread")
    def thread() -> str:
        assert threads is not None
        threads.append(threading.current_thread().name)
        return g.user  # type: ignore[no-any-return]

    @app.get("/only")
    async def only() -> dict[str, str]:
        return {"only": "native", "user": g.user}

    return app


def config(**more: Any) -> dict[str, Any]:
    rule = {
        "prefix": "/moved",
        "cutover": "native",
        "auth": "none",
        "on_mismatch": "legacy",
        **more,
    }
    return {"version": 1, "routes": [rule], "served_by": True}


@pytest.fixture
def log() -> list[str]:
    return []


@pytest.fixture
def url(log: list[str], tmp_path: Path) -> Iterator[str]:
    (tmp_path / "file.bin").write_bytes(b"0123456789" * 200_000)
    app = Gateway(legacy_app(log), native_app(tmp_path), config(), verify_lock=False)
    with serve(app) as url:
        yield url


def fetch(url: str, path: str, method: str = "GET", **more: Any) -> httpx.Response:
    headers = {**TOKEN, **more.pop("headers", {})}
    return httpx.request(method, url + path, headers=headers, timeout=20, **more)


def facts(answer: httpx.Response) -> dict[str, Any]:
    ignored = ("date", "server", "x-served-by", "content-length")
    # A session cookie's timestamp and signature differ from second to second.
    headers = sorted(
        (k, re.sub(r"(session=[^.;]+)[^;]*", r"\1", v))
        for k, v in answer.headers.multi_items()
        if k not in ignored
    )
    body: Any = answer.content
    if "json" in answer.headers.get("content-type", "") and body:
        body = json.loads(body)
    return {"status": answer.status_code, "headers": headers, "body": body}


@pytest.mark.parametrize("kind", OUTCOMES)
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_every_outcome_of_a_hook_is_the_same(
    url: str, log: list[str], kind: str, method: str
) -> None:
    answers = []
    for side in SIDES:
        log.clear()
        answer = fetch(url, f"/{side}/hello", method, headers={"X-Outcome": kind})
        time.sleep(0.05)
        answers.append((facts(answer), [each.replace(side, "") for each in log]))
    assert answers[0] == answers[1]
    if kind != "stream":  # stream_with_context enters the context once more, and leaves it too
        assert sum(each.startswith("teardown") for each in answers[1][1]) == 1


def test_the_native_handler_answers_in_the_views_place(url: str) -> None:
    answer = fetch(url, "/moved/who")
    assert answer.json() == {"user": "ann", "path": "/moved/who", "endpoint": "moved_who"}
    assert answer.headers["x-served-by"] == "native"
    assert answer.headers["content-security-policy"] == "default-src 'self'"
    assert answer.headers["x-user"] == "ann"
    assert "session=" in answer.headers["set-cookie"]


@pytest.mark.parametrize("path", ["/moved/hello", "/legacy/hello", "/only", "/nowhere", "/docs"])
def test_without_the_token_every_path_is_refused_alike(url: str, path: str) -> None:
    answer = httpx.get(url + path)
    assert answer.status_code == 401
    assert answer.json() == {"error": "who are you?"}
    assert answer.headers["x-served-by"] == "legacy"


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b'{"name": 1}', b"\xff"])
def test_auth_comes_before_validation(url: str, body: bytes) -> None:
    headers = {"Content-Type": "application/json"}
    answer = httpx.post(url + "/moved/item", content=body, headers=headers)
    assert answer.status_code == 401
    assert fetch(url, "/moved/item", "POST", content=body, headers=headers).status_code in (
        400,
        422,
    )


def test_a_native_only_route_runs_the_apps_hooks_without_an_endpoint(
    url: str, log: list[str]
) -> None:
    assert fetch(url, "/only").json() == {"only": "native", "user": "ann"}
    assert log[0] == "before None"


def test_hooks_can_be_skipped_by_rule(log: list[str]) -> None:
    app = Gateway(legacy_app(log), native_app(), config(hooks="skip"), verify_lock=False)
    with serve(app) as url:
        answer = httpx.get(url + "/moved/hello")
        assert answer.json() == {"hello": "you"}
        assert "x-user" not in answer.headers
        assert httpx.get(url + "/only").status_code == 401
    assert log == ["before None", "after", "teardown"]


def test_after_request_may_read_and_change_the_answer(url: str) -> None:
    answer = fetch(url, "/moved/hello", headers={"X-Length": "", "X-Shout": ""})
    assert answer.content == b'{"HELLO":"YOU"}'
    assert answer.headers["x-length"] == answer.headers["content-length"] == "15"


def test_a_native_crash_is_fastapis_500_and_the_teardown_is_told(
    url: str, log: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    answer = fetch(url, "/moved/crash")
    assert (answer.status_code, answer.text) == (500, "Internal Server Error")
    assert answer.headers["x-user"] == "ann"
    time.sleep(0.05)
    assert log == ["before moved_crash", "after", "teardown ZeroDivisionError"]
    reports = [r for r in caplog.records if r.exc_info and r.exc_info[0] is ZeroDivisionError]
    assert len(reports) == 1, "the server reports it, once"


def test_fastapis_own_errors_pass_through_after_request(url: str) -> None:
    answer = fetch(url, "/moved/missing")
    assert (answer.status_code, answer.json()) == (404, {"detail": "no such thing"})
    assert answer.headers["x-user"] == "ann"


@pytest.mark.parametrize("size", [0, 10, 300_000, 3_000_000])
def test_both_sides_read_the_same_bytes(size: int) -> None:
    seen: list[int] = []
    flask = legacy_app([])

    @flask.before_request
    def read() -> None:
        seen.append(len(request.get_data()))

    @flask.after_request
    def again(response: Response) -> Response:
        seen.append(len(request.get_data()))
        return response

    app = Gateway(flask, native_app(), config(), verify_lock=False)
    with serve(app) as url:
        for content in (b"x" * size, iter([b"x" * size])):
            answer = fetch(url, "/moved/item", "PUT", content=content)
            assert answer.json() == {"length": size}
    assert seen == [size] * 4


def test_a_large_body_that_no_hook_reads_is_native_s_alone(url: str) -> None:
    answer = fetch(url, "/moved/item", "PUT", content=b"x" * 5_000_000)
    assert answer.json() == {"length": 5_000_000}


def test_streams_leave_the_worker_free(tmp_path: Path) -> None:
    (tmp_path / "file.bin").write_bytes(b"0123456789" * 200_000)
    flask = legacy_app([])
    single = config() | {"legacy": {"threads": 1}}
    gateway = Gateway(flask, native_app(tmp_path), single, verify_lock=False)
    with (
        serve(gateway) as url,
        httpx.stream("GET", url + "/moved/stream", headers=TOKEN) as stream,
    ):
        lines = stream.iter_lines()
        assert next(lines) == "0"
        assert stream.headers["x-user"] == "ann", "after_request ran before the first byte"
        # The only thread there is answers another request meanwhile.
        assert fetch(url, "/legacy/hello").status_code == 200
        assert list(lines) == ["1", "2", "3", "4"]
        assert fetch(url, "/moved/big").content == b"x" * 5_000_000
        assert len(fetch(url, "/moved/file").content) == 2_000_000


def test_a_client_that_leaves_a_stream_frees_everything(url: str, log: list[str]) -> None:
    for _ in range(20):
        with httpx.stream("GET", url + "/moved/big", headers=TOKEN) as stream:
            next(stream.iter_raw(10))
    assert fetch(url, "/legacy/hello").status_code == 200
    time.sleep(0.2)
    assert log.count("teardown") == 21


class Impatient:
    """Cancels whatever takes longer than a moment."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            async with asyncio.timeout(0.2):
                await self.app(scope, receive, send)
        except TimeoutError:
            await send({"type": "http.response.start", "status": 504, "headers": []})
            await send({"type": "http.response.body", "body": b"late", "more_body": False})


@pytest.mark.parametrize("where", ["before", "endpoint", "after"])
def test_ten_cancelled_requests_are_ten_teardowns(where: str) -> None:
    log: list[str] = []
    cancelled: list[str] = []
    flask = legacy_app(log)
    native = native_app()

    @flask.before_request
    def wait_before() -> None:
        if where == "before" and "moved" in request.path:
            time.sleep(0.5)

    @flask.after_request
    def wait_after(response: Response) -> Response:
        if where == "after" and "moved" in request.path:
            time.sleep(0.5)
        return response

    @native.get("/moved/endpoint")
    async def endpoint() -> str:
        try:
            if where == "endpoint":
                await asyncio.sleep(30)
        except asyncio.CancelledError:
            cancelled.append("yes")
            raise
        return "done"

    flask.add_url_rule("/moved/endpoint", "endpoint", lambda: "")
    app = Gateway(flask, native, config(), middleware=[Middleware(Impatient)], verify_lock=False)
    with serve(app) as url:
        with httpx.Client(headers=TOKEN) as client:
            for _ in range(10):
                assert client.get(url + "/moved/endpoint").status_code == 504
        time.sleep(0.7)
        assert fetch(url, "/legacy/hello").status_code == 200
        assert app._pool.stats().busy == 0
    assert sum(each.startswith("teardown") for each in log) == 11
    assert len(cancelled) == (10 if where == "endpoint" else 0)


# -- middleware around Flask ---------------------------------------------------------------------


def gate(app: WSGIApplication) -> WSGIApplication:
    """A 401 gate that stands before Flask."""

    def guarded(environ: WSGIEnvironment, start_response: StartResponse) -> Any:
        if environ.get("HTTP_X_GATE") != "open":
            start_response("401 Unauthorized", [("Content-Type", "text/plain")])
            return [b"gate"]
        return app(environ, start_response)

    return guarded


def test_a_gate_in_wsgi_app_guards_the_moved_route_too(log: list[str]) -> None:
    flask = legacy_app(log)
    flask.wsgi_app = gate(flask.wsgi_app)  # type: ignore[method-assign, assignment]
    with serve(Gateway(flask, native_app(), config(), verify_lock=False)) as url:
        for path in ("/moved/hello", "/legacy/hello", "/only", "/nowhere"):
            closed = fetch(url, path)
            assert (closed.status_code, closed.text) == (401, "gate"), path
            assert closed.headers["x-served-by"] == "legacy"
        assert fetch(url, "/moved/hello", headers={"X-Gate": "open"}).json() == {"hello": "you"}
        assert fetch(url, "/moved/stream", headers={"X-Gate": "open"}).text == "0\n1\n2\n3\n4\n"


def test_an_allowlist_behind_proxyfix_guards_the_moved_route_too(log: list[str]) -> None:
    flask = legacy_app(log)

    def allowlist(app: WSGIApplication) -> WSGIApplication:
        def guarded(environ: WSGIEnvironment, start_response: StartResponse) -> Any:
            if environ["REMOTE_ADDR"] != "10.0.0.7":
                start_response("403 Forbidden", [])
                return [b""]
            return app(environ, start_response)

        return guarded

    flask.wsgi_app = ProxyFix(allowlist(flask.wsgi_app))  # type: ignore[method-assign]
    with serve(Gateway(flask, native_app(), config(), verify_lock=False)) as url:
        assert fetch(url, "/moved/hello").status_code == 403
        allowed = fetch(url, "/moved/hello", headers={"X-Forwarded-For": "10.0.0.7"})
        assert allowed.json() == {"hello": "you"}


def test_a_rewritten_request_runs_what_it_was_rewritten_to(log: list[str]) -> None:
    """A method override inside Flask: PUT where the client sent POST, and the reverse."""
    flask = legacy_app(log)
    inner = flask.wsgi_app

    def override(environ: WSGIEnvironment, start_response: StartResponse) -> Any:
        environ["REQUEST_METHOD"] = environ.pop("HTTP_X_METHOD_OVERRIDE", environ["REQUEST_METHOD"])
        environ["PATH_INFO"] = environ.pop("HTTP_X_PATH", environ["PATH_INFO"])
        return inner(environ, start_response)

    flask.wsgi_app = override  # type: ignore[method-assign]
    seen: list[Exchange] = []
    app = Gateway(flask, native_app(), config(), observers=[seen.append], verify_lock=False)
    with serve(app) as url:
        put = fetch(
            url,
            "/moved/item",
            "POST",
            content=b'{"name":"x"}',
            headers={"X-Method-Override": "PUT", "Content-Type": "application/json"},
        )
        assert put.json() == {"length": len(b'{"name":"x"}')}
        into = fetch(url, "/legacy/hello", headers={"X-Path": "/moved/who"})
        assert into.json()["endpoint"] == "moved_who"
        assert into.headers["x-served-by"] == "native"
        out = fetch(url, "/moved/who", headers={"X-Path": "/legacy/hello"})
        assert out.json() == {"hello": "you"}
        assert out.headers["x-served-by"] == "legacy"
        only = fetch(url, "/moved/who", headers={"X-Path": "/only"})
        assert only.json() == {"only": "native", "user": "ann"}
    sides = [str(exchange.decision.backend) for exchange in seen]
    assert sides == ["native", "native", "legacy", "native"]


def test_a_tester_gets_flask_s_hooks_and_keeps_the_secret(
    log: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TESTER_SECRET", "open sesame")
    native = native_app()

    @native.get("/moved/headers")
    async def headers(request: Request) -> list[str]:
        return list(request.headers)

    flask = legacy_app(log)
    flask.add_url_rule("/moved/headers", "headers", lambda: "legacy")
    said = {"path": "/moved/headers", "cutover": "legacy", "auth": "none"}
    tested = {"version": 1, "tester": {"secret_env": "TESTER_SECRET"}, "routes": [said]}
    asking = {"X-Cutover": "native", "X-Cutover-Secret": "open sesame"}
    with serve(Gateway(flask, native, tested, verify_lock=False)) as url:
        assert httpx.get(url + "/moved/headers", headers=asking).status_code == 401
        shown = fetch(url, "/moved/headers", headers=asking)
        assert "x-cutover" in shown.json()
        assert "x-cutover-secret" not in shown.json()
        assert fetch(url, "/moved/headers").text == "legacy"


# -- routes with nothing around them -------------------------------------------------------------


def test_a_route_with_nothing_around_it_takes_no_thread() -> None:
    flask = Flask("bare")
    flask.secret_key = "k"
    flask.add_url_rule("/moved/hello", "hello", lambda: "")
    flask.add_url_rule("/moved/thread", "thread", lambda: "")
    app = Gateway(flask, native_app(), config(), verify_lock=False)
    with serve(app) as url:
        assert httpx.get(url + "/moved/hello").json() == {"hello": "you"}
        assert app._pool.stats().served == 0
        # A permanent session's cookie is written anew with every answer: Flask must see it.
        httpx.get(url + "/moved/hello", cookies={"session": "x"})
        assert app._pool.stats().served == 1


def test_hooks_of_another_blueprint_cost_nothing() -> None:
    from flask import Blueprint

    flask = Flask("bare")
    outer, inner = Blueprint("outer", "outer"), Blueprint("inner", "inner")
    outer.before_request(lambda: ("outer hook", 418))
    inner.add_url_rule("/moved/hello", "hello", lambda: "")
    flask.add_url_rule("/moved/who", "who", lambda: "")
    outer.register_blueprint(inner)
    flask.register_blueprint(outer)
    app = Gateway(flask, native_app(), config(), verify_lock=False)
    with serve(app) as url:
        assert httpx.get(url + "/moved/hello").text == "outer hook"
        assert app._pool.stats().served == 1
        assert httpx.get(url + "/moved/who").status_code == 500, "no Flask context"
        assert app._pool.stats().served == 1


def test_a_preprocessor_of_url_values_is_a_hook_too() -> None:
    flask = Flask("bare")
    flask.add_url_rule("/moved/user/<int:n>", "user", lambda n: "")

    @flask.url_value_preprocessor
    def refuse(endpoint: str | None, values: dict[str, Any] | None) -> None:
        if values and values["n"] == 13:
            abort(403)

    with serve(Gateway(flask, native_app(), config(), verify_lock=False)) as url:
        assert httpx.get(url + "/moved/user/12").json() == {"user": 12}
        assert httpx.get(url + "/moved/user/13").status_code == 403


def test_a_session_interface_of_ones_own_is_always_asked() -> None:
    class ByHeader(SecureCookieSessionInterface):
        def open_session(self, app: Flask, request: Any) -> Any:
            if "X-Token" not in request.headers:
                abort(401)
            return super().open_session(app, request)

    flask = Flask("bare")
    flask.secret_key = "k"
    flask.session_interface = ByHeader()
    flask.add_url_rule("/moved/hello", "hello", lambda: "")
    with serve(Gateway(flask, native_app(), config(), verify_lock=False)) as url:
        # 500, as Flask itself says: it has no session to save then.
        assert httpx.get(url + "/moved/hello").status_code == 500
        assert fetch(url, "/moved/hello").json() == {"hello": "you"}


def test_a_native_only_route_below_a_wide_rule_of_flask(log: list[str]) -> None:
    """Flask matches its own catch-all, and native stands in that view's place."""
    flask = legacy_app(log)
    flask.add_url_rule("/wide/<path:rest>", "wide", lambda rest: f"legacy {rest}")
    native = native_app()

    @native.get("/wide/narrow")
    async def narrow() -> dict[str, Any]:
        return {"endpoint": request.endpoint, "user": g.user}

    rules = {
        "version": 1,
        "routes": [{"path": "/wide/narrow", "cutover": "native", "auth": "none"}],
    }
    with serve(Gateway(flask, native, rules, verify_lock=False)) as url:
        assert httpx.get(url + "/wide/narrow").status_code == 401
        assert fetch(url, "/wide/narrow").json() == {"endpoint": "wide", "user": "ann"}
        assert fetch(url, "/wide/other").text == "legacy other"


# -- an attack -----------------------------------------------------------------------------------

SPELLINGS = st.sampled_from(
    [
        "/moved/hello",
        "//moved/hello",
        "/moved//hello",
        "/moved/./hello",
        "/x/../moved/hello",
        "/moved/hello/",
        "/%6doved/hello",
        "/moved%2fhello",
        "/MOVED/hello",
        "/moved/hello%00",
        "/moved/hello;x",
        "/moved/hello?next=/legacy/hello",
        "/moved/item",
        "/moved/who",
        "/only",
        "/docs",
        "/openapi.json",
        "http://other.test/moved/hello",
    ]
)
METHODS = st.sampled_from(["GET", "HEAD", "POST", "PUT", "OPTIONS", "DELETE", "PATCH", "TRACE"])
CREDENTIALS = st.sampled_from(
    [
        [],
        [("X-Token", "wrong")],
        [("X_Token", "secret")],
        [("X-Token", "secret "), ("X-Token", "x")],
        [("X-Token", ""), ("X_Token", "secret")],
        [("X-Token", "SECRET")],
        [("Cookie", "X-Token=secret")],
        [("X-Principal", "ann"), ("Gateway-Principal", "ann")],
        [("X-Cutover", "native")],
        [("Origin", "https://a.test"), ("Access-Control-Request-Method", "GET")],
        [("Content-Type", "application/json"), ("Content-Length", "1")],
        [("Transfer-Encoding", "chunked")],
        [("Upgrade", "websocket"), ("Connection", "Upgrade")],
        [("Expect", "100-continue")],
        [("X-Forwarded-Prefix", "/x"), ("X-Forwarded-For", "127.0.0.1")],
        [("X-HTTP-Method-Override", "GET")],
    ]
)


@pytest.fixture(scope="module")
def attacked() -> Iterator[str]:
    with serve(Gateway(legacy_app([]), native_app(), config(), verify_lock=False)) as url:
        yield url


@settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))
@given(method=METHODS, target=SPELLINGS, headers=CREDENTIALS)
def test_nothing_gets_past_the_hook(
    attacked: str, method: str, target: str, headers: list[Any]
) -> None:
    """Whoever has no token is refused by Flask's hook, whatever the request looks like."""
    port = int(attacked.rpartition(":")[2])
    lines = [f"{method} {target} HTTP/1.1", "Host: x", "Connection: close"]
    lines += [f"{name}: {value}" for name, value in headers]
    raw = "\r\n".join([*lines, "", ""]).encode()
    raw += b"{" if ("Content-Length", "1") in headers else b""
    raw += b"0\r\n\r\n" if ("Transfer-Encoding", "chunked") in headers else b""
    with socket.create_connection(("127.0.0.1", port), timeout=10) as client:
        client.sendall(raw)
        answer = b""
        while piece := client.recv(65536):
            answer += piece
    answer = answer.removeprefix(b"HTTP/1.1 100 Continue\r\n\r\n")
    status = int(answer.split(b" ", 2)[1])
    assert status >= 400, answer[:200]
    assert b"hello" not in answer.partition(b"\r\n\r\n")[2]
