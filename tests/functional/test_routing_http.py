"""Scenarios B1 to B5 over real sockets: methods, spellings, redirects, CORS, WebSockets."""

from __future__ import annotations

import contextlib
import socket
from typing import TYPE_CHECKING, Annotated, Any
from urllib.parse import urlsplit

import httpx
import pytest
from fastapi import Body, FastAPI, WebSocket
from flask import Flask, redirect, request
from starlette.middleware.cors import CORSMiddleware
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from gateway import Gateway
from tests.functional.servers import serve

if TYPE_CHECKING:
    from collections.abc import Iterator

    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

pytestmark = pytest.mark.network

#: What a retired view says: no client may ever see it.
RETIRED = "retired"
RULES: list[dict[str, Any]] = [
    {"path": "/items/", "methods": ["GET", "DELETE"], "cutover": "native", "auth": "none"},
    {"path": "/plain", "cutover": "native", "auth": "none"},
    {"path": "/users/{id}", "cutover": "native", "auth": "none"},
    {"path": "/opted/{id}", "methods": ["GET"], "cutover": "native", "auth": "none",
     "on_mismatch": "native"},
    {"path": "/new/x", "cutover": "native", "auth": "none"},
    {"path": "/CaSe", "cutover": "native", "auth": "none"},
]  # fmt: skip


def legacy_app() -> Flask:
    app = Flask("legacy")

    def retired(**_: Any) -> str:
        return RETIRED

    app.add_url_rule("/items/", "items", retired, methods=["GET"])
    app.add_url_rule("/items/", "items_delete", retired, methods=["DELETE"])
    app.add_url_rule(
        "/items/", "items_post", lambda: {"posted": request.get_json()}, methods=["POST"]
    )
    app.add_url_rule("/plain", "plain", retired)
    app.add_url_rule("/users/<int:id>", "user", retired)
    app.add_url_rule("/users/me", "me", lambda: "me")
    app.add_url_rule("/opted/<int:id>", "opted", retired)
    app.add_url_rule("/new/<path:p>", "catch", lambda p: f"legacy {p}")
    app.add_url_rule("/CaSe", "case", retired)
    app.add_url_rule("/docs", "docs", lambda: "Flask's docs")
    app.add_url_rule("/home", "home", lambda: redirect("/items"))
    app.add_url_rule("/canary", "canary", lambda: "canary")
    return app


def native_app() -> FastAPI:
    app = FastAPI()
    ran: list[str] = []
    app.state.ran = ran

    @app.get("/items")
    def items() -> dict[str, str]:
        ran.append("items")
        return {"from": "native"}

    @app.delete("/items")
    def delete(payload: Annotated[Any, Body()] = None) -> dict[str, Any]:
        ran.append("delete")
        return {"deleted": payload}

    @app.get("/plain/")
    def plain() -> str:
        return "native"

    @app.get("/users/{id}")
    async def user(id: int) -> dict[str, int]:  # noqa: A002
        return {"id": id}

    @app.get("/opted/{id}")
    async def opted(id: int) -> dict[str, int]:  # noqa: A002
        return {"id": id}

    @app.get("/new/x")
    def new() -> str:
        return "native"

    @app.get("/CaSe")
    def case() -> str:
        return "native"

    @app.get("/only")
    def only() -> str:
        return "native"

    @app.get("/canary")
    def canary() -> str:
        return "canary"

    @app.websocket("/ws/{name}")
    async def echo(socket: WebSocket, name: str) -> None:
        await socket.accept()
        await socket.send_text(f"{name}: {await socket.receive_text()}")
        await socket.close()

    return app


def gateway(legacy: Flask, native: FastAPI, *rules: dict[str, Any], **config: Any) -> Gateway:
    return Gateway(
        legacy,
        native,
        {
            "version": 1,
            "served_by": True,
            "defaults": {"hooks": "skip"},
            "routes": list(rules or RULES),
            **config,
        },
    )


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with serve(gateway(legacy_app(), native_app())) as base:
        yield base


@pytest.fixture(scope="module")
def client(url: str) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=url, timeout=20) as session:
        yield session


def raw(url: str, target: str, method: str = "GET", body: bytes = b"", *headers: str) -> bytes:
    """Send a request line as it is: clients like httpx tidy paths up."""
    place = urlsplit(url)
    assert place.hostname is not None
    lines = [
        f"{method} {target} HTTP/1.1",
        f"Host: {place.netloc}",
        "Connection: close",
        *headers,
        f"Content-Length: {len(body)}",
    ]
    with socket.create_connection((place.hostname, place.port or 80), timeout=20) as wire:
        wire.sendall("\r\n".join(lines).encode() + b"\r\n\r\n" + body)
        answer = b""
        while chunk := wire.recv(65536):
            answer += chunk
    return answer


def status(answer: bytes) -> int:
    return int(answer.split(b" ", 2)[1])


def allow(answer: httpx.Response) -> set[str]:
    return {method.strip() for method in answer.headers["allow"].split(",")}


def side(answer: httpx.Response) -> str:
    return str(answer.headers["x-served-by"])


# -- B1: methods ----------------------------------------------------------------------------------


def test_get_is_native_and_post_on_the_same_path_is_legacy(client: httpx.Client) -> None:
    get, post = client.get("/items/"), client.post("/items/", json={"a": 1})
    assert (get.json(), side(get)) == ({"from": "native"}, "native")
    assert (post.json(), side(post)) == ({"posted": {"a": 1}}, "legacy")


def test_head_of_a_moved_route_is_get_without_its_body(client: httpx.Client, url: str) -> None:
    get, head = client.get("/items/"), client.head("/items/")
    assert (head.status_code, head.content, side(head)) == (200, b"", "native")
    for name in ("content-length", "content-type"):
        assert head.headers[name] == get.headers[name]
    head_end, _, body = raw(url, "/items/", "HEAD").partition(b"\r\n\r\n")
    assert (status(head_end), body) == (200, b"")


def test_a_connection_lives_on_after_head(client: httpx.Client) -> None:
    assert [client.head("/items/").status_code, client.get("/items/").status_code] == [200, 200]


def test_head_of_a_native_only_route_stays_fastapi_s(client: httpx.Client) -> None:
    answer = client.head("/only")
    assert (answer.status_code, side(answer)) == (405, "native")


def test_options_is_flask_s_own_answer_with_the_methods_of_both(client: httpx.Client) -> None:
    answer = client.options("/items/")
    assert (answer.status_code, answer.content, side(answer)) == (200, b"", "legacy")
    assert allow(answer) == {"GET", "HEAD", "POST", "DELETE", "OPTIONS"}


def test_405_is_the_owner_s_with_the_methods_of_both(client: httpx.Client) -> None:
    answer = client.put("/items/")
    assert (answer.status_code, side(answer)) == (405, "legacy")
    assert "Method Not Allowed" in answer.text
    assert allow(answer) == {"GET", "HEAD", "POST", "DELETE", "OPTIONS"}
    lonely = client.post("/only")
    assert (lonely.status_code, side(lonely), allow(lonely)) == (405, "native", {"GET"})


def test_allow_is_one_header_and_names_no_method_twice(client: httpx.Client) -> None:
    answer = client.put("/items/")
    values = answer.headers.get_list("allow")
    assert len(values) == 1
    methods = values[0].replace(" ", "").split(",")
    assert len(methods) == len(set(methods))


@pytest.mark.parametrize("named", [False, True])
def test_a_native_only_method_of_a_legacy_path_is_served_and_allowed_once_named(
    named: bool,
) -> None:
    legacy, native = Flask("legacy"), FastAPI()
    legacy.add_url_rule("/a", "a", lambda: "legacy")
    native.add_api_route("/a", lambda: "native", methods=["PATCH"])
    rule = {"path": "/a", "methods": ["PATCH"], "cutover": "native", "auth": "none"}
    rules = [rule] if named else []
    gate = Gateway(legacy, native, {"version": 1, "served_by": True, "routes": rules})
    with serve(gate) as base, httpx.Client(base_url=base) as client:
        answer = client.patch("/a")
        assert (answer.status_code, side(answer)) == ((200, "native") if named else (405, "legacy"))
        assert side(client.get("/a")) == "legacy"
        for answer in (client.options("/a"), client.put("/a")):
            assert allow(answer) == {"GET", "HEAD", "OPTIONS"} | ({"PATCH"} if named else set())
            assert side(answer) == "legacy"


@pytest.mark.parametrize("http", ["h11", "httptools"])
def test_the_case_of_a_method_never_wakes_a_retired_view(http: str) -> None:
    with serve(gateway(legacy_app(), native_app()), http=http) as base:
        for path in ("/items/", "/users/7", "/plain"):
            for method in ("get", "Get", "delete"):
                assert RETIRED.encode() not in raw(base, path, method)


# -- B2: spellings --------------------------------------------------------------------------------

SPELLINGS = [
    target
    for path in ("/items/", "/users/7", "/plain", "/CaSe", "/new/x")
    for target in (
        f"/{path}",
        f"//{path}",
        f"/.{path}",
        f"/x/..{path}",
        f"{path}/",
        f"{path}//",
        f"{path}/.",
        f"{path}.",
        path.rstrip("/"),
        path.upper(),
        path.lower(),
        path.replace("s", "%73").replace("n", "%6e").replace("l", "%6C"),
        path.replace("/", "%2f"),
        "/" + path[1:].replace("/", "%2F"),
        path.replace("/", "\\"),
        f"{path}%00",
        f"{path}%0a",
        f"{path}%20",
        f"{path};x=1",
        f"{path}?x=/items",
        f"{path}#frag",
        f"http://elsewhere.io{path}",
        f"*{path}",
        path.replace("7", "07"),
        path.replace("7", "%EF%BC%97"),
        path.replace("7", "+7"),
    )
]


@pytest.mark.parametrize("method", ["GET", "HEAD", "DELETE"])
def test_no_spelling_of_a_path_reaches_a_retired_view(url: str, method: str) -> None:
    for target in SPELLINGS:
        answer = raw(url, target, method, b"", "X_Original_URL: /items/", "X-Rewrite-URL: /items/")
        assert RETIRED.encode() not in answer, target
        assert status(answer) < 500, target


def test_each_spelling_is_answered_as_bare_flask_or_by_native(url: str) -> None:
    bare = legacy_app().test_client()
    for target in ("//items/", "/items//", "/./items/", "/Items/", "/users/7/", "/case", "/plain/"):
        ours = raw(url, target)
        path = target.encode().decode("latin-1")
        theirs = bare.open("/", environ_overrides={"PATH_INFO": path})
        assert status(ours) == theirs.status_code, target
        theirs.close()


@pytest.mark.parametrize("target", ["/%69tems/", "/use%72s/7"])
def test_a_percent_encoded_path_is_the_same_path(url: str, target: str) -> None:
    answer = raw(url, target)
    assert status(answer) == 200
    assert b"x-served-by: native" in answer.lower()


@contextlib.contextmanager
def behind(middleware: Any, *rules: dict[str, Any]) -> Iterator[tuple[str, list[str]]]:
    legacy, native = legacy_app(), native_app()
    legacy.wsgi_app = middleware(legacy.wsgi_app)  # type: ignore[method-assign]
    with serve(gateway(legacy, native, *rules)) as base:
        yield base, native.state.ran


def method_override(app: WSGIApplication) -> WSGIApplication:
    def wrapped(environ: WSGIEnvironment, start_response: StartResponse) -> Any:
        environ["REQUEST_METHOD"] = environ.get(
            "HTTP_X_HTTP_METHOD_OVERRIDE", environ["REQUEST_METHOD"]
        )
        return app(environ, start_response)

    return wrapped


def prefix_strip(app: WSGIApplication) -> WSGIApplication:
    def wrapped(environ: WSGIEnvironment, start_response: StartResponse) -> Any:
        if environ["PATH_INFO"].startswith("/app/"):
            environ["PATH_INFO"] = environ["PATH_INFO"].removeprefix("/app")
            environ["SCRIPT_NAME"] = "/app"
        return app(environ, start_response)

    return wrapped


def test_a_method_override_is_handed_to_native_once_with_its_body() -> None:
    with behind(method_override) as (base, ran), httpx.Client(base_url=base) as client:
        override = {"X-HTTP-Method-Override": "DELETE"}
        big = {"data": "x" * 300_000}
        answer = client.post("/items/", json=big, headers=override)
        assert answer.json() == {"deleted": big}
        assert ran == ["delete"]
        plain = client.post("/items/", json={"b": 2})
        assert plain.json() == {"posted": {"b": 2}}
        assert ran == ["delete"]


def test_a_stripped_prefix_is_handed_to_native_once() -> None:
    with behind(prefix_strip) as (base, ran), httpx.Client(base_url=base) as client:
        answer = client.get("/app/items/")
        assert (answer.status_code, answer.json()) == (200, {"from": "native"})
        assert ran == ["items"]
        assert client.get("/app/users/7").json() == {"id": 7}
        assert client.request("DELETE", "/app/items/", json=[1]).json() == {"deleted": [1]}
        assert client.get("/app/users/me").text == "me"
        assert client.post("/app/items/", json=[2]).json() == {"posted": [2]}


@pytest.mark.parametrize("middleware", [method_override, prefix_strip])
def test_no_spelling_reaches_a_retired_view_behind_middleware_either(middleware: Any) -> None:
    with behind(middleware) as (base, _):
        for target in SPELLINGS:
            for tried in (target, f"/app{target}" if target.startswith("/") else target):
                for method, override in (
                    ("GET", "GET"),
                    ("POST", "GET"),
                    ("POST", "DELETE"),
                    ("GET", "get"),
                    ("POST", "delete"),
                ):
                    answer = raw(base, tried, method, b"{}", f"X-HTTP-Method-Override: {override}")
                    assert RETIRED.encode() not in answer, (tried, method, override)
                    assert status(answer) < 500, (tried, method, override)


def test_what_is_handed_over_says_that_native_served_it() -> None:
    with behind(prefix_strip) as (base, _), httpx.Client(base_url=base) as client:
        assert side(client.get("/app/items/")) == "native"


def test_head_behind_a_stripped_prefix_is_native_s_get_without_its_body() -> None:
    with behind(prefix_strip) as (base, ran), httpx.Client(base_url=base) as client:
        head = client.head("/app/items/")
        assert (head.status_code, head.content) == (200, b"")
        assert head.headers["content-length"] == client.get("/items/").headers["content-length"]
        assert ran == ["items", "items"]


def test_a_tester_picks_legacy_behind_a_stripped_prefix_too(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("TESTER_SECRET", "open sesame")
    legacy = legacy_app()
    legacy.wsgi_app = prefix_strip(legacy.wsgi_app)  # type: ignore[method-assign, assignment]
    gate = gateway(legacy, native_app(), tester={"secret_env": "TESTER_SECRET"})
    headers = {"X-Cutover": "legacy", "X-Cutover-Secret": "open sesame"}
    with serve(gate) as base:
        assert httpx.get(f"{base}/items/", headers=headers).text == RETIRED
        assert httpx.get(f"{base}/app/items/", headers=headers).text == RETIRED


def test_a_canary_behind_a_stripped_prefix_keeps_a_client_on_its_side() -> None:
    rule = {
        "path": "/canary",
        "methods": ["GET"],
        "cutover": "canary",
        "auth": "none",
        "weight": 50,
        "sticky": ["cookie:gw_id"],
    }
    with behind(prefix_strip, rule) as (base, _), httpx.Client(base_url=base) as client:
        assert len({client.get("/app/canary").text for _ in range(40)}) == 1


# -- redirects, B3, B4, B5 ------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/items", "/items/", "/plain", "/home"])
def test_redirects_end(client: httpx.Client, path: str) -> None:
    answer = client.get(path, follow_redirects=True)
    assert answer.status_code == 200
    assert len(answer.history) <= 2


def test_flask_decides_the_slash_with_308(client: httpx.Client) -> None:
    answer = client.get("/items?page=2")
    assert answer.status_code == 308
    assert urlsplit(answer.headers["location"])[2:4] == ("/items/", "page=2")
    assert side(answer) == "legacy"
    assert client.get("/plain/").status_code == 404


def test_a_moved_parameter_leaves_the_static_legacy_route(client: httpx.Client) -> None:
    assert client.get("/users/7").json() == {"id": 7}
    assert client.get("/users/me").text == "me"


def test_a_legacy_catch_all_keeps_all_but_the_flagged_route(client: httpx.Client) -> None:
    assert client.get("/new/x").json() == "native"
    assert client.get("/new/y").text == "legacy y"
    assert client.get("/new/x/y").text == "legacy x/y"


def test_ready_is_ours_under_catch_alls_of_both_sides() -> None:
    legacy, native = Flask("legacy"), FastAPI()
    legacy.add_url_rule("/<path:p>", "all", lambda p: "legacy")
    native.mount("/", native_app())
    with serve(Gateway(legacy, native, {"version": 1})) as base:
        assert httpx.get(f"{base}/-/ready").status_code == 200
        assert httpx.get(f"{base}/-/ready").text != "legacy"
        assert httpx.get(f"{base}/x").text == "legacy"


def test_what_flask_s_converter_refuses_stays_its_404(client: httpx.Client) -> None:
    answer = client.get("/users/abc")
    assert (answer.status_code, side(answer)) == (404, "legacy")
    assert "<title>404 Not Found</title>" in answer.text


def test_a_rule_may_opt_into_fastapi_s_422(client: httpx.Client) -> None:
    answer = client.get("/opted/abc")
    assert (answer.status_code, side(answer)) == (422, "native")


def test_docs_stay_flask_s_and_the_rest_of_fastapi_s_own_pages_work(client: httpx.Client) -> None:
    assert client.get("/docs").text == "Flask's docs"
    assert side(client.get("/openapi.json")) == "native"


def test_a_path_that_neither_side_knows_gets_flask_s_404(client: httpx.Client) -> None:
    answer = client.get("/nobody")
    assert (answer.status_code, side(answer)) == (404, "legacy")
    assert "<title>404 Not Found</title>" in answer.text


# -- B13: CORS ------------------------------------------------------------------------------------


def preflight(client: httpx.Client, path: str, method: str) -> httpx.Response:
    headers = {"Origin": "https://app.io", "Access-Control-Request-Method": method}
    return client.options(path, headers=headers)


def test_a_preflight_goes_to_the_side_that_serves_the_method() -> None:
    legacy, native = legacy_app(), native_app()
    native.add_middleware(CORSMiddleware, allow_origins=["https://app.io"], allow_methods=["*"])

    @legacy.after_request
    def cors(response: Any) -> Any:
        response.headers["Access-Control-Allow-Origin"] = "https://legacy.io"
        return response

    with serve(gateway(legacy, native)) as base, httpx.Client(base_url=base) as client:
        moved = preflight(client, "/items/", "DELETE")
        assert (moved.status_code, side(moved)) == (200, "native")
        assert moved.headers["access-control-allow-origin"] == "https://app.io"
        assert "DELETE" in moved.headers["access-control-allow-methods"]
        stayed = preflight(client, "/items/", "POST")
        assert (stayed.status_code, side(stayed)) == (200, "legacy")
        assert stayed.headers["access-control-allow-origin"] == "https://legacy.io"


def test_the_preflight_of_a_canary_is_legacy_s() -> None:
    rule = {
        "path": "/canary",
        "methods": ["GET"],
        "cutover": "canary",
        "auth": "none",
        "weight": 100,
        "sticky": ["ip"],
    }
    gate = gateway(legacy_app(), native_app(), rule)
    with serve(gate) as base, httpx.Client(base_url=base) as client:
        assert side(client.get("/canary")) == "native"
        assert side(preflight(client, "/canary", "GET")) == "legacy"


# -- WebSockets -----------------------------------------------------------------------------------


def test_a_native_websocket_works(url: str) -> None:
    with connect(url.replace("http", "ws") + "/ws/bob") as wire:
        wire.send("hello")
        assert wire.recv() == "bob: hello"


@pytest.mark.parametrize("path", ["/items/", "/users/me", "/nobody", "/only"])
def test_a_websocket_to_a_path_without_one_is_refused_cleanly(url: str, path: str) -> None:
    with pytest.raises(InvalidStatus) as caught, connect(url.replace("http", "ws") + path):
        pass
    assert caught.value.response.status_code == 403
    assert httpx.get(f"{url}/users/me").text == "me"


# -- tester, cookie, X-Served-By ------------------------------------------------------------------


def test_a_tester_with_the_secret_picks_the_side(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TESTER_SECRET", "open sesame")
    native = native_app()

    @native.get("/free")
    def free() -> str:
        return "native"

    legacy = legacy_app()
    legacy.add_url_rule("/free", "free", lambda: dict(request.headers))
    free_ = {"path": "/free", "cutover": "legacy", "auth": "none"}
    gate = gateway(legacy, native, free_, tester={"secret_env": "TESTER_SECRET"})
    with serve(gate) as base, httpx.Client(base_url=base) as client:
        secret = {"X-Cutover-Secret": "open sesame"}
        assert side(client.get("/free")) == "legacy"
        assert side(client.get("/free", headers={"X-Cutover": "native"})) == "legacy"
        wrong = {"X-Cutover": "native", "X-Cutover-Secret": "open"}
        assert side(client.get("/free", headers=wrong)) == "legacy"
        assert side(client.get("/free", headers={"X-Cutover": "native", **secret})) == "native"
        assert side(client.get("/items/", headers={"X-Cutover": "legacy", **secret})) == "legacy"
        seen = client.get("/free", headers={"X-Cutover": "legacy", **secret}).text
        assert "open sesame" not in seen


def test_a_canary_mints_one_cookie_and_keeps_its_side() -> None:
    rule = {
        "path": "/canary",
        "methods": ["GET"],
        "cutover": "canary",
        "auth": "none",
        "weight": 50,
        "sticky": ["cookie:gw_id"],
    }
    sides = set()
    with serve(gateway(legacy_app(), native_app(), rule)) as base:
        for _ in range(40):
            with httpx.Client(base_url=base) as client:
                first = client.get("/canary")
                (line,) = first.headers.get_list("set-cookie")
                assert line.startswith("gw_id=")
                assert {"Path=/", "HttpOnly", "SameSite=Lax", "Max-Age=31536000"} <= set(
                    line.split("; ")
                )
                assert "Secure" not in line
                again = client.get("/canary")
                assert "set-cookie" not in again.headers
                assert side(again) == side(first)
                sides.add(side(first))
                assert "set-cookie" not in client.get("/users/me").headers
    assert sides == {"legacy", "native"}


def test_served_by_is_off_unless_asked_for() -> None:
    with serve(gateway(legacy_app(), native_app(), served_by=False)) as base:
        for path in ("/items/", "/users/me", "/nobody"):
            assert "x-served-by" not in httpx.get(base + path).headers
