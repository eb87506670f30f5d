"""The shared guard is solved as if it stood on the route that it guards (F1 7, 8; F2 6, 9)."""

from __future__ import annotations

import asyncio
import socket
from typing import TYPE_CHECKING, Annotated, Any

import pytest
from fastapi import APIRouter, Depends, FastAPI, HTTPException, Request, Response, WebSocket
from fastapi.responses import JSONResponse, PlainTextResponse
from flask import Blueprint, Flask, abort, make_response
from werkzeug.routing import BaseConverter, Rule

from gateway import Gateway
from gateway.auth import Guard, Guarded, Passed, Principal, current_principal, handshake
from gateway.config import AuthConfig
from gateway.exceptions import ConfigError
from tests.apps import placed
from tests.functional import inprocess
from tests.functional.servers import serve

if TYPE_CHECKING:
    import contextlib
    from collections.abc import Iterator

    from starlette.types import Receive, Scope, Send

    from tests.functional.inprocess import Client

MINE, THEIRS = "/orgs/acme", "/orgs/victim"


class Letters(BaseConverter):
    """A converter with a regex of its own."""

    regex = "[a-z]{2,8}"

    def to_python(self, value: str) -> Any:
        placed.LOG.append("to_python")
        return value.upper()


def legacy_app() -> Flask:
    app = Flask("legacy", static_folder=None)
    app.url_map.converters["letters"] = Letters

    def view(**values: Any) -> Any:
        return {"side": "legacy", **values}

    for path in (
        "/orgs/<org>/items",
        "/orgs/<org>/moved",
        "/orgs/<string(minlength=2):org>/named",
        "/orgs/<letters:org>/custom",
        "/orgs/<any(acme, victim):org>/any",
        "/orgs/<org>-<int:team>/mixed",
        "/orgs/<org>/slash/",
        "/orgs/<path:org>/files",
        "/orgs/<uuid:team>/<org>/late",
    ):
        app.add_url_rule(path, path, view, methods=["GET", "POST"])
    app.url_map.add(Rule("/orgs/<org>/any-method", endpoint="any_method"))
    app.view_functions["any_method"] = view
    blueprint = Blueprint("below", "below", url_prefix="/orgs/<org>")
    blueprint.add_url_rule("/blueprint", "view", view)
    app.register_blueprint(blueprint)
    return app


def native_app() -> FastAPI:
    app = FastAPI(openapi_url=None)
    app.state.name = "the native app"

    async def moved(org: str, principal: Annotated[Principal, Depends(current_principal)]) -> Any:
        return {"side": "native", "org": org, "who": principal.id}

    app.add_api_route("/orgs/{org}/moved", moved, methods=["GET", "POST"])
    app.add_api_route("/orgs/{org}/native", moved)
    router = APIRouter(prefix="/orgs/{org}")
    router.add_api_route("/included", moved)
    app.include_router(router)
    sub = FastAPI(openapi_url=None)

    async def deep(leaf: str) -> Any:
        return {"side": "native", "org": "acme", "leaf": leaf}

    sub.add_api_route("/deep/{leaf}", deep)
    app.mount("/orgs/{org}/mount", sub)
    return app


#: Some dependencies of the tests refuse nobody.
KNOWN = {"guards-nobody": "not what is tested"}


def settings(dependency: str, **more: Any) -> dict[str, Any]:
    return {
        "version": 1,
        "auth": {"dependency": f"tests.apps.placed:{dependency}", **more.pop("auth", {})},
        "defaults": {"auth": "shared", "hooks": "skip"},
        "routes": [
            {"path": "/orgs/{org}/moved", "cutover": "native", "auth": "shared", "accept": KNOWN}
        ],
        **more,
    }


def client(
    legacy: Flask, native: FastAPI, config: dict[str, Any], *, raises: bool = False
) -> contextlib.AbstractContextManager[Client]:
    return inprocess.asking(Gateway(legacy, native, config, verify_lock=False), raises=raises)


@pytest.fixture(autouse=True)
def log() -> list[Any]:
    placed.LOG.clear()
    return placed.LOG


@pytest.fixture(scope="module")
def members() -> Iterator[Client]:
    with client(legacy_app(), native_app(), settings("member")) as asking:
        yield asking


PLACES = (
    "items",
    "moved",
    "native",
    "named",
    "custom",
    "any",
    "any-method",
    "included",
    "blueprint",
    "files",
    "mount/deep/leaf",
)


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("query", ["", "?org=acme", "?org=acme&org=acme", "?org"])
def test_the_path_decides_and_never_the_query(members: Client, place: str, query: str) -> None:
    refused = members.get(f"{THEIRS}/{place}{query}")
    assert (refused.status_code, refused.json()) == (403, {"detail": "ann is no member of victim"})
    assert [each for each in placed.LOG if each != "to_python"] == ["victim"]


@pytest.mark.parametrize("place", PLACES)
def test_whoever_the_path_lets_in_gets_in(members: Client, place: str) -> None:
    answer = members.get(f"{MINE}/{place}?org=victim")
    assert (answer.status_code, placed.LOG.count("acme")) == (200, 1)
    assert answer.json()["org"].lower() == "acme"


@pytest.mark.parametrize(
    "path",
    [
        "/orgs/%76ictim/items",
        "//orgs/victim/items",
        "/orgs/victim%0a/items",
        "/orgs/vic%3Ftim/items",
        "/orgs/victim-7/mixed",
        "/orgs/00000000-0000-0000-0000-000000000000/victim/late",
        "/orgs/victim/acme/files",
        "/orgs/%E2%82%ACvictim/moved",
        "/orgs/victim/slash/",
    ],
)
def test_other_spellings_and_converters(members: Client, path: str) -> None:
    assert members.get(path).status_code == 403


@pytest.mark.parametrize(
    "method", ["HEAD", "POST", "PROPFIND", "TRACE", "OPTIONS", "PUT", "DELETE", "X-ODD"]
)
@pytest.mark.parametrize("place", ["items", "moved", "any-method", "native"])
def test_every_method(members: Client, method: str, place: str) -> None:
    assert members.request(method, f"{THEIRS}/{place}").status_code == 403
    assert members.request(method, f"{MINE}/{place}").status_code in (200, 405)


@pytest.mark.parametrize("method", ["PROPFIND", "TRACE", "X-ODD", "REPORT"])
def test_a_werkzeug_rule_without_methods_is_guarded_by_its_rule(method: str) -> None:
    """F1 8: only the rule says `shared`, and the method is no row of the table."""
    rule = {"path": "/orgs/{org}/any-method", "cutover": "legacy", "auth": "shared"}
    config = settings("member", defaults={"hooks": "skip"}, routes=[rule])
    with client(legacy_app(), native_app(), config) as asking:
        assert asking.request(method, f"{THEIRS}/any-method").status_code == 403
        assert asking.request(method, f"{MINE}/any-method").status_code == 200
        assert asking.request(method, f"{THEIRS}/items").status_code == 405, "nobody guards it"


@pytest.mark.parametrize(
    "path", ["/", "/nowhere", "/orgs", "/orgs/acme/nowhere", "/nowhere?org=acme"]
)
def test_unknown_paths_are_404_and_nothing_runs(members: Client, path: str) -> None:
    answer = members.get(path)
    assert (answer.status_code, answer.json()) == (404, {"detail": "Not Found"})
    assert placed.LOG == []


def test_a_redirect_and_a_405_are_guarded_as_the_route_they_speak_of(members: Client) -> None:
    assert members.get(f"{MINE}/slash").status_code == 308
    assert members.get(f"{THEIRS}/slash").status_code == 403
    assert members.get("/orgs//acme/slash").status_code == 308
    assert members.request("PUT", f"{MINE}/items").status_code == 405
    assert members.request("PUT", f"{THEIRS}/items").status_code == 403


def test_a_class_and_a_dependency_below_it() -> None:
    with client(legacy_app(), native_app(), settings("Member", auth={"id": "id"})) as asking:
        for place in ("items", "moved", "native", "mount/deep/leaf"):
            assert asking.get(f"{MINE}/{place}").status_code == 200
            assert asking.get(f"{THEIRS}/{place}?org=acme").status_code == 403
            assert asking.get(f"/orgs/x/{place}?org=acme").status_code == 422


def accounts(native: FastAPI) -> contextlib.AbstractContextManager[Client]:
    flask = Flask("legacy", static_folder=None)
    for path in ("/a/<int:account>/legacy", "/a/<account>/text", "/a/<float:account>/real"):
        flask.add_url_rule(path, path, lambda account: {"account": account})
    flask.add_url_rule("/a/<int:n>/moved", "moved", lambda n: {"account": n})
    rules = [{"path": "/a/<int:n>/moved", "cutover": "native", "auth": "shared"}]
    return client(flask, native, settings("by_account", routes=rules))


def test_values_are_converted_as_fastapi_converts_them() -> None:
    native = FastAPI(openapi_url=None)

    @native.get("/a/{account}/moved")
    @native.get("/a/{account:int}/native")
    async def moved(account: int) -> dict[str, int]:
        return {"account": account}

    with accounts(native) as asking:
        for place in ("legacy", "text", "moved", "native"):
            assert asking.get(f"/a/007/{place}").json() == {
                "account": 7 if place != "text" else "007"
            }
            assert asking.get(f"/a/8/{place}?account=7").status_code == 403
        assert asking.get("/a/x/text?account=7").status_code == 422
        assert asking.get("/a/7.0/real").status_code == 200
        assert asking.get("/a/7.5/real").status_code == 422
    assert set(placed.LOG) == {7, 8}


def test_a_dependency_that_reads_path_params_itself() -> None:
    with client(legacy_app(), native_app(), settings("by_path_params")) as asking:
        for place in ("items", "moved", "native", "mount/deep/leaf"):
            assert asking.get(f"{MINE}/{place}").status_code == 200
            assert asking.get(f"{THEIRS}/{place}").status_code == 403
        assert asking.get("/orgs/acme-7/mixed").status_code == 200
        assert asking.get("/nowhere").status_code == 404, "solved, and Flask doesn't know it"
    assert placed.LOG[-2:] == [{"org": "acme", "team": "7"}, {}]
    assert {"org": "acme", "leaf": "leaf"} in placed.LOG


# -- check ------------------------------------------------------------------------------------


def refusal(flask: Flask, native: FastAPI, config: dict[str, Any]) -> list[Any]:
    with pytest.raises(ConfigError) as raised:
        Gateway(flask, native, config, verify_lock=False)
    return [each for each in raised.value.problems if each.code == "guard-parameter"]


def test_a_guarded_route_without_the_parameter_is_an_error() -> None:
    flask = legacy_app()
    flask.add_url_rule("/plain", "plain", lambda: "plain")
    flask.add_url_rule("/t/<team>", "team", lambda team: team)
    problem = refusal(flask, native_app(), settings("member"))[0]
    assert problem.what == (
        "tests.apps.placed:member takes 'org' from the path, "
        "which GET /plain, GET /t/{team} does not have"
    )
    assert problem.key == "defaults.auth"
    open_ = [
        {"path": path, "cutover": "legacy", "auth": "none"} for path in ("/plain", "/t/<team>")
    ]
    config = settings("member")
    config["routes"] += open_
    Gateway(flask, native_app(), config, verify_lock=False)


def test_the_error_points_at_the_rule_that_says_shared() -> None:
    flask = legacy_app()
    flask.add_url_rule("/plain", "plain", lambda: "plain")
    rules = [
        {"path": "/orgs/{org}/moved", "cutover": "native", "auth": "shared"},
        {"path": "/plain", "cutover": "legacy", "auth": "shared"},
    ]
    found = refusal(
        flask, native_app(), settings("member", defaults={"hooks": "skip"}, routes=rules)
    )
    assert [(each.key, "GET /plain" in each.what) for each in found] == [("routes[1].auth", True)]


def test_without_any_such_parameter_the_query_is_a_query() -> None:
    flask = Flask("legacy", static_folder=None)
    flask.add_url_rule("/plain", "plain", lambda: "plain")
    config = settings("member", routes=[])
    with client(flask, FastAPI(openapi_url=None), config) as asking:
        assert asking.get("/plain?org=victim").status_code == 403
        assert asking.get("/plain?org=acme").status_code == 200


def test_names_of_both_templates_are_known() -> None:
    flask, native = Flask("legacy", static_folder=None), FastAPI(openapi_url=None)
    flask.add_url_rule("/orgs/<org>/x", "x", lambda org: org)

    @native.get("/orgs/{tenant}/x")
    async def handler(tenant: str) -> str:
        return tenant

    config = settings("member", routes=[{"path": "/orgs/<org>/x", "cutover": "native"}])
    with client(flask, native, config) as asking:
        assert asking.get(f"{MINE}/x").json() == "acme"
        assert asking.get(f"{THEIRS}/x?org=acme").status_code == 403


def test_a_name_at_two_positions_is_an_error() -> None:
    """Nobody knows which of the two is meant: the view takes one, the handler the other."""
    flask, native = Flask("legacy", static_folder=None), FastAPI(openapi_url=None)
    flask.add_url_rule("/orgs/<org>/<other>", "x", lambda org, other: org + other)
    native.add_api_route("/orgs/{other}/{org}", lambda org: org)
    found = refusal(flask, native, settings("member", routes=[]))
    assert "which GET /orgs/{org}/{other} does not have" in found[0].what


def test_an_explicit_query_of_that_name_is_fastapi_s_own_error() -> None:
    found = refusal(legacy_app(), native_app(), settings("by_query"))
    assert "Cannot use `Query` for path param 'org'" in found[0].what
    assert found[0].key == "auth.dependency"
    with client(legacy_app(), native_app(), settings("by_alias")) as asking:
        assert asking.get(f"{MINE}/moved?org=bob").json()["who"] == "bob"


# -- what a dependency on a route has ------------------------------------------------------------


def busy_app() -> tuple[Flask, FastAPI]:
    flask, native = Flask("legacy", static_folder=None), FastAPI(openapi_url=None)
    native.state.name = "the native app"

    def view(org: str, item: int) -> Any:
        response = make_response(f"legacy {org} {item}")
        response.headers["X-Guard"] = "the view's own"
        response.set_cookie("view", "v")
        return response

    flask.add_url_rule("/orgs/<org>/legacy/<int:item>", "legacy", view)
    flask.add_url_rule("/orgs/<org>/items/<int:item>", "items", view)
    flask.add_url_rule("/orgs/<org>/stream/<int:item>", "stream", lambda **_: iter(["a", "b"]))

    @native.get("/orgs/{org}/items/{item}")
    async def native_item(org: str, item: int, request: Request) -> Any:
        placed.LOG.append(request.state.seen)
        return PlainTextResponse(f"native {org} {item}", headers={"X-Guard": "the handler's own"})

    @native.get("/orgs/{org}/only/{item}")
    async def only(org: str, item: int) -> dict[str, Any]:
        return {"org": org, "item": item}

    return flask, native


BUSY = {"path": "/orgs/{org}/items/{item}", "cutover": "native", "auth": "shared"}


@pytest.mark.parametrize(
    ("path", "route", "endpoint", "own"),
    [
        ("/orgs/a/legacy/5", "/orgs/{org}/legacy/{item}", "guarded", "the view's own"),
        ("/orgs/a/items/5", "/orgs/{org}/items/{item}", "native_item", "the handler's own"),
        ("/orgs/a/only/5", "/orgs/{org}/only/{item}", "only", None),
        ("/orgs/a/stream/5", "/orgs/{org}/stream/{item}", "guarded", None),
    ],
)
def test_a_dependency_has_what_it_has_on_the_route(
    path: str, route: str, endpoint: str, own: str | None
) -> None:
    with client(*busy_app(), settings("busy", routes=[BUSY])) as asking:
        answer = asking.get(path)
    assert answer.status_code == 200, "the sub-response's status is for FastAPI's own answers"
    assert placed.LOG[0] == {
        "app": "the native app",
        "route": route,
        "url": "http://testserver/orgs/a/items/5",
        "endpoint": endpoint,
    }
    assert answer.headers.get_list("x-guard") == [*([own] if own else []), "passed"]
    cookies = answer.headers.get_list("set-cookie")
    assert [each.split(";")[0] for each in cookies if not each.startswith("view=")] == [
        "one=1",
        "two=2",
    ]
    assert "999" not in answer.headers.get_list("content-length")
    assert placed.LOG.count("told") == 1
    assert ("by the guard" in placed.LOG) is (endpoint == "native_item")


def test_a_refusal_carries_none_of_it() -> None:
    with client(*busy_app(), settings("busy", routes=[BUSY])) as asking:
        answer = asking.get("/orgs/a/legacy/5", headers={"X-User": "nobody"})
    assert (answer.status_code, answer.json()) == (401, {"detail": "who are you?"})
    assert "x-guard" not in answer.headers
    assert placed.LOG == []


@pytest.mark.parametrize("cutover", ["shadow", "live"])
def test_a_mirror_neither_repeats_the_tasks_nor_compares_the_headers(cutover: str) -> None:
    flask, native = Flask("legacy", static_folder=None), FastAPI(openapi_url=None)
    native.state.name = "the native app"
    flask.add_url_rule("/orgs/<org>/<item>", "x", lambda **_: {"same": True})

    @native.get("/orgs/{org}/{item}")
    async def native_item() -> dict[str, bool]:
        return {"same": True}

    rule = {
        "path": "/orgs/<org>/<item>",
        "cutover": cutover,
        "compare": {"headers": ["x-guard", "content-type"]},
    }
    app = Gateway(flask, native, settings("busy", routes=[rule]), verify_lock=False)
    with inprocess.asking(app) as asking:
        assert asking.get("/orgs/a/5").headers.get_list("x-guard") == ["passed"]
        for _ in range(200):
            if len([each for each in placed.LOG if isinstance(each, dict)]) > 1:
                break
            asking.wait(0.02)
        asking.wait(0.1)
    assert placed.LOG.count("told") == 1


def test_security_scopes_in_the_tree() -> None:
    auth = {"id": "id", "scopes": "scopes"}
    config = settings("secured", auth=auth, routes=[BUSY | {"requires": ["items:read"]}])
    flask, native = busy_app()
    with client(flask, native, config) as asking:
        for path in ("/orgs/a/legacy/5", "/orgs/a/only/5"):
            placed.LOG.clear()
            assert asking.get(path, headers={"X-Scopes": "read"}).status_code == 200
            assert placed.LOG == [["read"], []]
            assert asking.get(path).json() == {"detail": "needs read"}


def test_an_override_takes_its_parameters_from_the_path_too() -> None:
    native = native_app()

    def stand_in(org: str) -> str:
        return f"stand-in for {org}"

    with client(legacy_app(), native, settings("member")) as asking:
        native.dependency_overrides[placed.member] = stand_in
        assert asking.get(f"{THEIRS}/moved?org=acme").json()["who"] == "stand-in for victim"
        native.dependency_overrides.clear()
        assert asking.get(f"{THEIRS}/moved").status_code == 403


# -- exceptions -------------------------------------------------------------------------------


def failing_app() -> tuple[Flask, FastAPI]:
    flask, native = Flask("legacy", static_folder=None), FastAPI(openapi_url=None)
    flask.config["PROPAGATE_EXCEPTIONS"] = True

    def crash() -> str:
        raise ZeroDivisionError("in the view")

    def forbidden() -> str:
        abort(403)

    flask.add_url_rule("/legacy", "legacy", crash)
    flask.add_url_rule("/moved", "moved", crash)
    flask.add_url_rule("/forbidden", "forbidden", forbidden)

    @native.get("/moved")
    async def moved() -> None:
        raise ZeroDivisionError("in the handler")

    @native.get("/unpaid")
    async def unpaid() -> None:
        raise placed.NotPaid

    @native.get("/teapot")
    async def teapot() -> None:
        raise HTTPException(418, "teapot")

    @native.exception_handler(Exception)
    async def crashed(_: Request, error: Exception) -> Response:
        placed.LOG.append(f"handler: {error}")
        return JSONResponse({"our": "500"}, 500)

    @native.exception_handler(placed.NotPaid)
    def not_paid(_: Request, __: Exception) -> Response:
        placed.LOG.append("not paid")
        return JSONResponse({"our": "402"}, 402)

    return flask, native


FAILING = [{"path": "/moved", "cutover": "native", "auth": "shared", "accept": KNOWN}]


@pytest.mark.parametrize("path", ["/legacy", "/moved", "/unpaid", "/nowhere", "/forbidden"])
@pytest.mark.parametrize(
    ("raised", "status", "said"),
    [
        ("paid", 402, ["solved", "not paid"]),
        ("http", 418, ["solved"]),
        ("crash", 500, ["solved", "handler: in the dependency"]),
    ],
)
def test_what_the_dependency_raises_is_handled_once(
    path: str, raised: str, status: int, said: list[str]
) -> None:
    with client(*failing_app(), settings("raising", routes=FAILING)) as asking:
        answer = asking.get(path, headers={"X-Raise": raised})
    assert answer.status_code == status
    assert said == placed.LOG


@pytest.mark.parametrize(
    ("path", "status", "said"),
    [
        ("/moved", 500, ["solved", "handler: in the handler"]),
        ("/unpaid", 402, ["solved", "not paid"]),
        ("/teapot", 418, ["solved"]),
        ("/legacy", 500, ["solved"]),
        ("/forbidden", 403, ["solved"]),
    ],
)
def test_what_comes_from_behind_the_guard_is_handled_where_it_was_raised(
    path: str, status: int, said: list[str]
) -> None:
    with client(*failing_app(), settings("raising", routes=FAILING)) as asking:
        assert asking.get(path).status_code == status
    assert said == placed.LOG


@pytest.mark.parametrize("path", ["/legacy", "/moved"])
def test_an_unhandled_exception_reaches_the_server(path: str) -> None:
    with client(*failing_app(), settings("raising", routes=FAILING), raises=True) as asking:
        with pytest.raises(ZeroDivisionError, match="in the dependency"):
            asking.get(path, headers={"X-Raise": "crash"})
        if path == "/moved":
            with pytest.raises(ZeroDivisionError, match="in the handler"):
                asking.get(path)
    assert [each for each in placed.LOG if each.startswith("handler")] == (
        ["handler: in the dependency", "handler: in the handler"][: 2 if path == "/moved" else 1]
    )


@pytest.mark.parametrize(
    ("dependency", "said"),
    [("swallowing", "swallowed"), ("converting", "converted")],
)
def test_a_yield_dependency_can_t_hide_what_has_been_answered(dependency: str, said: str) -> None:
    expected = ["handler: in the handler", f"{said} ZeroDivisionError"]
    with (
        client(*failing_app(), settings(dependency, routes=FAILING), raises=True) as asking,
        pytest.raises(ZeroDivisionError, match="in the handler"),
    ):
        asking.get("/moved")
    assert expected == placed.LOG


# -- scopes -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("requires", "status", "challenge"),
    [
        (["write"], 403, 'Bearer error="insufficient_scope", scope="write"'),
        (["read", "write"], 403, 'Bearer error="insufficient_scope", scope="write"'),
        (["skriva-日本"], 403, 'Bearer error="insufficient_scope"'),
        (["wri\nte", "x"], 403, 'Bearer error="insufficient_scope"'),
        (["wri\r\nSet-Cookie: a=b"], 403, 'Bearer error="insufficient_scope"'),
        (['wr"ite'], 403, 'Bearer error="insufficient_scope"'),
        (["läsa", "a\nb", "read"], 200, None),
    ],
)
@pytest.mark.parametrize("path", ["/legacy", "/native"])
def test_any_scope_gives_a_clean_403(
    requires: list[str], status: int, challenge: str | None, path: str
) -> None:
    flask, native = Flask("legacy", static_folder=None), FastAPI(openapi_url=None)
    flask.add_url_rule("/legacy", "legacy", lambda: "legacy")
    native.add_api_route("/native", lambda: "native")
    rule = {"path": path, "auth": "shared", "requires": requires}
    rule["cutover"] = path.removeprefix("/")
    config = settings("many_scopes", routes=[rule], auth={"id": "id", "scopes": "scopes"})
    with client(flask, native, config) as asking:
        answer = asking.get(path)
    assert (answer.status_code, answer.headers.get("www-authenticate")) == (status, challenge)
    assert "set-cookie" not in answer.headers


# -- WebSockets -------------------------------------------------------------------------------


def socket_app(dependency: Any, guarded: Guarded | None) -> Any:
    """Stands in front of one WebSocket as the dispatcher does."""
    guard = Guard(dependency, AuthConfig(), native_app())

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        async def rest(passed: Passed) -> None:
            assert (await passed.receive())["type"] == "websocket.connect"
            answer = passed.sending(send)
            await answer({"type": "websocket.accept"})
            who = passed.principal.id if passed.principal else ""
            await answer({"type": "websocket.send", "text": who})
            await answer({"type": "websocket.close", "code": 1000})

        await guard.run_websocket(handshake(scope), receive, send, rest, guarded)

    return app


def placed_at(org: str) -> Guarded:
    return Guarded("/orgs/{org}/socket", {"org": org})


async def handshaken(dependency: Any, guarded: Guarded | None, *, denial: bool) -> list[Any]:
    sent: list[Any] = []
    scope: dict[str, Any] = {
        "type": "websocket",
        "path": "/orgs/x/socket",
        "raw_path": b"/orgs/x/socket",
        "root_path": "",
        "query_string": b"org=acme",
        "headers": [(b"host", b"testserver")],
        "http_version": "1.1",
        "scheme": "wss",
        "extensions": {"websocket.http.response": {}} if denial else {},
    }

    async def receive() -> Any:
        return {"type": "websocket.connect"}

    async def send(message: Any) -> None:
        sent.append(message)

    await socket_app(dependency, guarded)(scope, receive, send)
    return sent


def test_a_websocket_is_accepted_for_whom_the_guard_lets_in() -> None:
    sent = asyncio.run(handshaken(placed.member, placed_at("acme"), denial=False))
    assert [each["type"] for each in sent] == [
        "websocket.accept",
        "websocket.send",
        "websocket.close",
    ]
    assert sent[1]["text"] == "ann"


def test_its_cookies_come_with_the_accept() -> None:
    async def greeting(request: Request, response: Response) -> str:
        assert (request.method, request.url.scheme) == ("GET", "https")
        assert await request.body() == b""
        response.set_cookie("one", "1")
        return "ann"

    sent = asyncio.run(handshaken(greeting, Guarded("/"), denial=False))
    assert sent[0]["headers"] == [(b"set-cookie", b"one=1; Path=/; SameSite=lax")]


@pytest.mark.parametrize(
    ("guarded", "status"), [(placed_at("victim"), 403), (None, 404)], ids=["refused", "unknown"]
)
def test_a_refused_websocket_is_never_accepted(guarded: Guarded | None, status: int) -> None:
    denied = asyncio.run(handshaken(placed.member, guarded, denial=True))
    assert [each["type"] for each in denied] == [
        "websocket.http.response.start",
        "websocket.http.response.body",
    ]
    assert denied[0]["status"] == status
    closed = asyncio.run(handshaken(placed.member, guarded, denial=False))
    assert [(each["type"], each["code"]) for each in closed] == [("websocket.close", 1008)]


def test_a_crash_before_the_accept_is_a_500_and_raised() -> None:
    async def crash() -> None:
        raise ZeroDivisionError

    sent: list[Any] = []

    async def run() -> None:
        sent.extend(await handshaken(crash, Guarded("/"), denial=True))

    with pytest.raises(ZeroDivisionError):
        asyncio.run(run())


@pytest.mark.parametrize(
    ("path", "params"),
    [("/orgs/victim/socket", {"org": "victim"}), ("/plain-socket", None), ("/room/x", None)],
)
def test_a_websocket_route_lends_its_parameters(path: str, params: Any) -> None:
    """One that lacks what the dependency takes from the path gives nothing to stand on."""
    native = native_app()

    async def socket_route(_: WebSocket) -> None: ...

    for each in ("/orgs/{org}/socket", "/plain-socket", "/room/{name}"):
        native.add_api_websocket_route(each, socket_route)
    app = Gateway(legacy_app(), native, settings("member"), verify_lock=False)
    assert app.guard is not None
    scope = {"type": "websocket", "path": path, "root_path": "", "headers": []}
    table = app.snapshots.current.table
    found = table.native.find(scope)
    assert found is not None
    guarded = app.guard.on_socket(table, found.endpoint, found.path_params)
    assert (guarded and dict(guarded.params)) == params
    assert guarded is None or guarded.endpoint is socket_route


@pytest.mark.network
@pytest.mark.parametrize(
    ("guarded", "status"),
    [(placed_at("acme"), 101), (placed_at("victim"), 403), (None, 404)],
    ids=["let in", "refused", "unknown"],
)
def test_a_client_sees_why_its_websocket_is_refused(guarded: Guarded | None, status: int) -> None:
    with serve(socket_app(placed.member, guarded), lifespan="off") as url:
        address = url.replace("http://", "")
        host, _, port = address.partition(":")
        with socket.create_connection((host, int(port)), timeout=20) as connection:
            lines = (
                "GET /orgs/x/socket HTTP/1.1",
                f"Host: {address}",
                "Connection: Upgrade",
                "Upgrade: websocket",
                "Sec-WebSocket-Version: 13",
                "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==",
                "",
                "",
            )
            connection.sendall("\r\n".join(lines).encode())
            answer = connection.recv(65536)
    assert answer.split(b" ")[1] == str(status).encode()


# -- other apps -------------------------------------------------------------------------------


@pytest.mark.parametrize("path", [f"{THEIRS}/native", f"/api{THEIRS}/native"])
def test_a_root_path_of_the_native_app_is_no_way_round(path: str) -> None:
    native = native_app()
    native.root_path = "/api"
    with client(legacy_app(), native, settings("member")) as asking:
        assert asking.get(f"{path}?org=acme").status_code in (403, 404)
        assert asking.get(path.replace("victim", "acme")).status_code in (200, 404)
    assert "acme" not in placed.LOG[:1]


def wsgi(_: Any, start_response: Any) -> list[bytes]:
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"legacy"]


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/orgs/acme/x", 200),
        ("/orgs/acme", 200),
        ("/ORGS/acme/x", 200),
        ("/orgs/victim/x", 403),
        ("/ORGS/victim/x", 403),
        ("//orgs/victim/x", 403),
        ("//orgs/acme/x", 200),
        ("/orgs/%2e%2fvictim/x", 404),
        ("/orgs/acme%2f..%2fvictim/x", 404),
        ("/orgs/acme%2f%2f..%2fvictim", 404),
        ("/orgs/acme%2f..", 404),
        ("/elsewhere?org=acme", 404),
    ],
)
def test_a_legacy_app_whose_routes_are_not_known(path: str, status: int) -> None:
    """A spelling that only this app may read as the guarded path can't be solved: 404."""
    rules = [{"prefix": "/orgs/{org}", "cutover": "legacy", "auth": "shared"}]
    app = Gateway(wsgi, opaque, settings("member", routes=rules), verify_lock=False)
    with inprocess.asking(app) as asking:
        assert asking.get(path).status_code == status


async def opaque(scope: Scope, receive: Receive, send: Send) -> None:
    if scope["type"] == "lifespan":
        for event in ("startup", "shutdown"):
            await receive()
            await send({"type": f"lifespan.{event}.complete"})


@pytest.mark.parametrize("path", ["/t/acme-b-c", "/t/evil-b-c"])
def test_templates_that_read_a_path_differently_are_404(path: str) -> None:
    """Flask's converter takes one letter after the dash, FastAPI all that it can get."""
    flask, native = Flask("legacy", static_folder=None), FastAPI(openapi_url=None)
    flask.url_map.converters["dashed"] = type("Dashed", (BaseConverter,), {"regex": ".+"})
    flask.add_url_rule("/t/<string(length=4):org>-<dashed:x>", "x", lambda org, x: org + x)
    native.add_api_route("/t/{org}-{x}", lambda org: org)
    with client(flask, native, settings("member", routes=[])) as asking:
        assert asking.get(path).status_code == 404
        assert placed.LOG == []
        assert asking.get("/t/acme-b").status_code == 200


def test_a_converter_that_can_t_be_read_lets_nobody_in() -> None:
    class Odd(BaseConverter):
        made = 0

        def __init__(self, url_map: Any) -> None:
            super().__init__(url_map)
            Odd.made += 1
            if Odd.made > 1:
                raise RuntimeError("only once")

    flask = Flask("legacy", static_folder=None)
    flask.url_map.converters["odd"] = Odd
    flask.add_url_rule("/orgs/<odd:org>/x", "x", lambda org: org)
    with client(flask, FastAPI(openapi_url=None), settings("member", routes=[])) as asking:
        for org in ("acme", "victim"):
            assert asking.get(f"/orgs/{org}/x?org=acme").status_code == 404
    assert placed.LOG == []
