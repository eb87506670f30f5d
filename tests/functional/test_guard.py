"""`auth: shared` over real sockets (C10, B13): one guard in front of both sides."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Annotated, Any

import httpx
import pytest
from fastapi import Depends, FastAPI, HTTPException, Request
from fastapi.responses import JSONResponse, StreamingResponse
from flask import Flask, Response, g, jsonify, request
from starlette.middleware.cors import CORSMiddleware

from gateway import Exchange, Gateway
from gateway.auth import Principal, current_principal
from tests.apps import guards
from tests.functional.servers import serve

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from _typeshed.wsgi import StartResponse, WSGIEnvironment

pytestmark = pytest.mark.network

ANN = {"Authorization": "Bearer ann"}
BOB = {"Authorization": "Bearer bob"}
PATHS = ("/legacy", "/moved", "/native", "/nowhere", "/inherited")


def legacy_app(*, hooks: bool = True) -> Flask:
    app = Flask("legacy")

    def who() -> Any:
        principal = request.environ.get("gateway.principal")
        return jsonify(
            side="legacy",
            environ=principal.id if principal else None,
            g=g.principal.id if "principal" in g else None,
            remote_user=request.environ.get("REMOTE_USER"),
        )

    def echo() -> Any:
        return request.get_json()

    for path in ("/legacy", "/moved", "/inherited", "/canary"):
        app.add_url_rule(path, path[1:], who)
    app.add_url_rule("/legacy", "post", echo, methods=["POST"])
    app.add_url_rule("/moved", "moved_post", echo, methods=["POST"])
    app.add_url_rule("/size", "size", lambda: str(len(request.get_data())), methods=["POST"])
    app.add_url_rule("/open", "open", lambda: "open")
    if hooks:

        @app.before_request
        def seen() -> None:
            guards.LOG.append(f"hook {g.principal.id if 'principal' in g else None}")

    return app


def native_app() -> FastAPI:
    app = FastAPI()

    @app.get("/moved")
    @app.get("/inherited")
    @app.get("/native")
    @app.get("/canary")
    async def who(
        request: Request, principal: Annotated[Principal, Depends(current_principal)]
    ) -> Any:
        guards.LOG.append("handler")
        return {
            "side": "native",
            "id": principal.id,
            "scopes": sorted(principal.scopes),
            "state": request.state.principal.value,
        }

    @app.post("/moved")
    async def post(payload: dict[str, int]) -> Any:
        return payload

    @app.get("/crash")
    async def crash() -> None:
        raise ZeroDivisionError

    @app.get("/stream")
    async def stream() -> StreamingResponse:
        async def parts() -> AsyncIterator[bytes]:
            for n in range(3):
                guards.LOG.append(f"part {n}")
                yield b"%d" % n

        return StreamingResponse(parts())

    @app.exception_handler(HTTPException)
    async def refused(_: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, HTTPException)
        return JSONResponse({"our": error.detail}, error.status_code, error.headers)

    return app


def settings(**more: Any) -> dict[str, Any]:
    return {
        "version": 1,
        "auth": {"dependency": "tests.apps.guards:verify_token", "id": "sub", "scopes": "scope"},
        "defaults": {"auth": "shared", "hooks": "skip"},
        "routes": [
            {"path": "/moved", "methods": ["GET", "POST"], "cutover": "native"},
            {"path": "/inherited", "cutover": "native", "hooks": "inherit"},
            {"path": "/open", "cutover": "legacy", "auth": "none"},
            {
                "path": "/legacy",
                "methods": ["POST"],
                "cutover": "legacy",
                "requires": ["items:write"],
            },
        ],
        "served_by": True,
        **more,
    }


@pytest.fixture(autouse=True)
def log() -> list[str]:
    guards.LOG.clear()
    return guards.LOG


@pytest.fixture
def url() -> Iterator[str]:
    with serve(Gateway(legacy_app(), native_app(), settings(), verify_lock=False)) as url:
        yield url


@pytest.mark.parametrize(
    "headers",
    [
        [],
        [("Authorization", "Bearer wrong")],
        [("Authorization", "Bearer ann"), ("Authorization", "Bearer ann")],
        [("X-Principal", "ann"), ("X_Principal", "ann"), ("REMOTE_USER", "ann")],
        [("gateway.principal", "ann"), ("Remote-User", "ann")],
    ],
)
def test_the_same_401_everywhere(url: str, headers: list[tuple[str, str]]) -> None:
    answers = {
        (path, method): httpx.request(method, url + path, headers=headers)
        for path in PATHS
        for method in ("GET", "POST", "PUT", "OPTIONS", "PROPFIND")
    }
    for asked, answer in answers.items():
        assert answer.status_code == 401, asked
        assert answer.json() == {"our": "who are you?"}, "the native app's own handler"
        assert answer.headers["www-authenticate"] == "Bearer"
    assert httpx.head(url + "/moved", headers=headers).status_code == 401
    assert not any(each in ("handler", "hook None") for each in guards.LOG)


def test_both_sides_know_the_principal(url: str) -> None:
    legacy = httpx.get(url + "/legacy", headers=ANN).json()
    assert legacy == {"side": "legacy", "environ": "ann", "g": "ann", "remote_user": None}
    native = httpx.get(url + "/moved", headers=ANN).json()
    assert (native["side"], native["id"]) == ("native", "ann")
    assert native["scopes"] == ["items:read", "items:write"]
    assert native["state"] == guards.CALLERS["ann"]
    inherited = httpx.get(url + "/inherited", headers=BOB).json()
    assert (inherited["side"], inherited["id"]) == ("native", "bob")
    assert "hook bob" in guards.LOG, "before_request sees it too"
    spoofed = httpx.get(url + "/legacy", headers={**ANN, "X-Principal": "bob", "Remote_User": "x"})
    assert spoofed.json() == legacy


@pytest.mark.parametrize("path", ["/legacy", "/moved", "/native", "/inherited", "/nowhere"])
def test_the_dependency_runs_once_and_stays_open_around_the_handler(url: str, path: str) -> None:
    httpx.get(url + path, headers=ANN)
    time.sleep(0.05)
    log = guards.LOG
    assert [log.count(each) for each in ("open", "verify", "close")] == [1, 1, 1]
    assert log[-1] == "close"
    assert log.index("verify") == 1


def test_it_stays_open_around_a_stream_and_sees_a_crash(url: str) -> None:
    assert httpx.get(url + "/stream", headers=ANN).text == "012"
    time.sleep(0.05)
    assert guards.LOG == ["open", "verify", "part 0", "part 1", "part 2", "close"]
    guards.LOG.clear()
    answer = httpx.get(url + "/crash", headers=ANN)
    assert (answer.status_code, answer.text) == (500, "Internal Server Error")
    time.sleep(0.05)
    assert guards.LOG == ["open", "verify", "saw the crash", "close"]


def test_an_open_route_is_open(url: str) -> None:
    assert httpx.get(url + "/open").text == "open"


def test_scopes(url: str) -> None:
    assert httpx.post(url + "/legacy", json={"a": 1}, headers=ANN).json() == {"a": 1}
    refused = httpx.post(url + "/legacy", json={"a": 1}, headers=BOB)
    assert refused.status_code == 403
    expected = 'Bearer error="insufficient_scope", scope="items:write"'
    assert refused.headers["www-authenticate"] == expected


@pytest.mark.parametrize("body", [b"{", b"\xff", b""])
def test_auth_comes_before_a_malformed_body(url: str, body: bytes) -> None:
    typed = {"Content-Type": "application/json"}
    assert httpx.post(url + "/moved", content=body, headers=typed).status_code == 401
    assert httpx.post(url + "/moved", content=body, headers=typed | ANN).status_code in (400, 422)
    assert httpx.post(url + "/moved", json={"a": 1}, headers=ANN).json() == {"a": 1}


@pytest.mark.parametrize(
    "path", ["/%6doved", "//moved", "/moved/", "/./moved", "/MOVED", "/moved%2f"]
)
def test_no_spelling_steps_around_the_guard(url: str, path: str) -> None:
    assert httpx.get(url + path).status_code == 401


def test_a_preflight_is_never_refused() -> None:
    native = native_app()
    native.add_middleware(CORSMiddleware, allow_origins=["https://a.test"], allow_methods=["*"])
    asking = {"Origin": "https://a.test", "Access-Control-Request-Method": "GET"}
    with serve(Gateway(legacy_app(), native, settings(), verify_lock=False)) as url:
        moved = httpx.options(url + "/moved", headers=asking)
        assert moved.status_code == 200
        assert moved.headers["access-control-allow-origin"] == "https://a.test"
        assert httpx.options(url + "/legacy", headers=asking).status_code == 200
        assert (
            httpx.options(url + "/moved", headers={"Origin": "https://a.test"}).status_code == 401
        )
    assert "verify" not in guards.LOG[:1]


def test_overrides_of_the_native_app_are_honoured() -> None:
    native = native_app()
    app = Gateway(legacy_app(), native, settings(), verify_lock=False)
    with serve(app) as url:
        assert httpx.get(url + "/legacy").status_code == 401
        native.dependency_overrides[guards.verify_token] = lambda: {"sub": "stand-in"}
        assert httpx.get(url + "/legacy").json()["g"] == "stand-in"
        native.dependency_overrides = {}
        assert httpx.get(url + "/legacy").status_code == 401


@pytest.mark.parametrize("size", [10, 1_000_000])
@pytest.mark.parametrize("path", ["/size", "/legacy"])
def test_a_dependency_may_read_the_body(size: int, path: str) -> None:
    auth = {"dependency": "tests.apps.guards:signed"}
    app = Gateway(legacy_app(), native_app(), settings(auth=auth, routes=[]), verify_lock=False)
    body = b'"' + b"x" * size + b'"'
    headers = {"X-Signature": str(len(body)), "Content-Type": "application/json"}
    with serve(app) as url:
        assert httpx.post(url + path, content=body).status_code == 401
        answer = httpx.post(url + path, content=body, headers=headers)
        assert answer.status_code == 200
        assert answer.text == str(len(body)) if path == "/size" else answer.content == body[1:-1]


def test_a_dependency_may_want_a_json_body() -> None:
    auth = {"dependency": "tests.apps.guards:typed"}
    app = Gateway(legacy_app(), native_app(), settings(auth=auth, routes=[]), verify_lock=False)
    with serve(app) as url:
        assert httpx.post(url + "/legacy", json={"who": "x"}).json() == {"who": "x"}
        assert httpx.post(url + "/legacy", content=b"{").status_code == 422


def test_a_typo_in_auth_id_lets_nobody_in_and_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    auth = {"dependency": "tests.apps.guards:verify_token", "id": "sbu"}
    app = Gateway(legacy_app(), native_app(), settings(auth=auth, routes=[]), verify_lock=False)
    with serve(app) as url:
        assert httpx.get(url + "/legacy").status_code == 401
        answer = httpx.get(url + "/legacy", headers=ANN)
        assert (answer.status_code, answer.text) == (500, "Internal Server Error")
    said = "auth.id (sbu) reads nothing from a dict, not an id (did you mean sub?)"
    assert said in caplog.text


def test_a_typo_in_auth_scopes_leaves_no_scopes_and_is_logged_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    auth = {"dependency": "tests.apps.guards:verify_token", "id": "sub", "scopes": "scop"}
    rule = {"path": "/legacy", "cutover": "legacy", "requires": ["items:read"]}
    app = Gateway(legacy_app(), native_app(), settings(auth=auth, routes=[rule]), verify_lock=False)
    with serve(app) as url:
        for _ in range(2):
            assert httpx.get(url + "/legacy", headers=ANN).status_code == 403
    said = [record.getMessage() for record in caplog.records if record.name == "gateway.auth"]
    what = "auth.scopes (scop) reads nothing from a dict, so its caller has no scopes"
    assert said == [f"{what} (did you mean scope?)"]


def test_requires_without_auth_scopes_is_warned_of() -> None:
    auth = {"dependency": "tests.apps.guards:verify_token", "id": "sub"}
    rule = {"path": "/legacy", "cutover": "legacy", "requires": ["items:read"]}
    app = Gateway(legacy_app(), native_app(), settings(auth=auth, routes=[rule]), verify_lock=False)
    assert [each.code for each in app.snapshots.current.warnings] == ["no-scopes"]


def test_a_canary_by_principal_and_a_tester_by_role() -> None:
    rule = {"path": "/canary", "cutover": "canary", "weight": 50, "sticky": ["principal"]}
    config = settings(routes=[rule], tester={"role": "tester"})
    seen: list[Exchange] = []
    app = Gateway(legacy_app(), native_app(), config, observers=[seen.append], verify_lock=False)
    with serve(app) as url:
        sides = {
            name: {httpx.get(url + "/canary", headers=headers).json()["side"] for _ in range(5)}
            for name, headers in (("ann", ANN), ("bob", BOB))
        }
        assert all(len(found) == 1 for found in sides.values()), "an identity keeps its side"
        qa = {"Authorization": "Bearer qa"}
        for side in ("legacy", "native"):
            asked = httpx.get(url + "/canary", headers={**qa, "X-Cutover": side})
            assert asked.json()["side"] == side
        other = "native" if sides["ann"] == {"legacy"} else "legacy"
        asked = httpx.get(url + "/canary", headers={**ANN, "X-Cutover": other})
        assert {asked.json()["side"]} == sides["ann"], "only the role may pick"
        assert httpx.get(url + "/canary").status_code == 401
    assert {each.decision.identity for each in seen[:10]} == {"principal"}
    assert seen[-1].decision.reason == "guard"
    assert seen[-1].status == 401


def test_middleware_that_leads_to_a_guarded_route_is_stopped() -> None:
    flask = legacy_app()
    inner = flask.wsgi_app

    def rewrite(environ: WSGIEnvironment, start_response: StartResponse) -> Any:
        environ["PATH_INFO"] = environ.pop("HTTP_X_PATH", environ["PATH_INFO"])
        return inner(environ, start_response)

    flask.wsgi_app = rewrite  # type: ignore[method-assign]
    with serve(Gateway(flask, native_app(), settings(), verify_lock=False)) as url:
        for path in ("/legacy", "/moved", "/inherited"):
            assert httpx.get(url + "/open", headers={"X-Path": path}).status_code == 403
        assert httpx.get(url + "/open").text == "open"
        assert httpx.get(url + "/legacy", headers=ANN).status_code == 200
    assert "handler" not in guards.LOG


def test_hooks_run_after_the_guard(url: str) -> None:
    assert httpx.get(url + "/inherited").status_code == 401
    time.sleep(0.05)
    assert guards.LOG == ["open", "verify", "close"]


def test_a_handler_without_a_guard_gets_a_clear_error() -> None:
    config = {"version": 1, "defaults": {"hooks": "skip"}}
    native = native_app()
    with serve(Gateway(legacy_app(), native, config, verify_lock=False)) as url:
        assert httpx.get(url + "/native").status_code == 500


def test_flask_s_answer_passes_unchanged() -> None:
    flask = legacy_app()

    @flask.after_request
    def mark(response: Response) -> Response:
        response.headers["X-Flask"] = "yes"
        return response

    with serve(Gateway(flask, native_app(), settings(), verify_lock=False)) as url:
        assert httpx.get(url + "/inherited", headers=ANN).headers["x-flask"] == "yes"
        assert "x-flask" not in httpx.get(url + "/moved", headers=ANN).headers


def test_a_handler_that_runs_the_dependency_again_is_warned_of() -> None:
    flask, native = Flask("legacy"), FastAPI()
    flask.add_url_rule("/once", "once", lambda: "")
    flask.add_url_rule("/twice", "twice", lambda: "")

    def below(value: Annotated[Any, Depends(guards.verify_token)]) -> Any:
        return value

    @native.get("/once")
    async def once(principal: Annotated[Principal, Depends(current_principal)]) -> str:
        return principal.id

    @native.get("/twice", dependencies=[Depends(below)])
    async def twice() -> str:
        return "twice"

    config = {
        "version": 1,
        "auth": {"dependency": "tests.apps.guards:verify_token"},
        "defaults": {"cutover": "native", "auth": "shared"},
    }
    warnings = Gateway(flask, native, config, verify_lock=False).snapshots.current.warnings
    said = [problem for problem in warnings if problem.code == "guarded-twice"]
    assert len(said) == 1
    assert said[0].what.startswith("GET /twice declares it too")
