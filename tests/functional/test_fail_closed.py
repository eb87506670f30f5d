"""A moved route is never weaker than it was, whatever the request looks like.

The oracle is bare Flask: where it would not have called the view, the native handler must not run.
"""

from __future__ import annotations

import contextlib
import logging
import socket
from typing import TYPE_CHECKING, Any

import pytest
from fastapi import APIRouter, FastAPI, WebSocket
from fastapi.routing import APIRoute
from flask import Blueprint, Flask, abort, request
from flask_wtf import CSRFProtect
from starlette.middleware.cors import CORSMiddleware
from starlette.responses import PlainTextResponse
from starlette.routing import Match, Mount, Route
from werkzeug.middleware.dispatcher import DispatcherMiddleware
from werkzeug.middleware.proxy_fix import ProxyFix

from gateway import Gateway
from gateway.routing import Backend, Reason
from tests.functional.servers import serve

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from gateway import Exchange

pytestmark = pytest.mark.network

#: A view is read, and what it does isn't known to be harmless: the tests' views are no guards.
SEEN = {"may-guard-itself": "a view of the tests"}
TOKEN = "X-Token: t"
PARSERS = ("httptools", "h11")


def ask(url: str, head: str, body: bytes = b"") -> tuple[int, bytes]:
    """Send one request as it is written; return status and body."""
    host, port = url.removeprefix("http://").split(":")
    text = head.replace("\n", "\r\n").encode("latin-1")
    if body:
        text += b"\r\nContent-Length: %d" % len(body)
    with socket.create_connection((host, int(port)), timeout=10) as connection:
        connection.sendall(text + b"\r\nConnection: close\r\n\r\n" + body)
        answer = b""
        with contextlib.suppress(ConnectionError):
            while part := connection.recv(65536):
                answer += part
    status = int(answer.split(b" ", 2)[1]) if answer else 0
    return status, answer.partition(b"\r\n\r\n")[2]


class Seen:
    """Which native handlers have run, and what became of each request."""

    def __init__(self) -> None:
        self.ran: list[str] = []
        self.exchanges: list[Exchange] = []

    def __call__(self, exchange: Exchange) -> None:
        self.exchanges.append(exchange)


def guard() -> None:
    if request.headers.get("X-Token") != "t":
        abort(401)


def admin_app(how: str = "blueprint") -> Flask:
    """A guarded `/admin/users` and friends; `how` says what the guard hangs on."""
    app = Flask("legacy")
    app.secret_key = "x"
    blueprint = Blueprint("admin", "admin")
    inner = Blueprint("inner", "inner")
    if how == "blueprint":
        blueprint.before_request(guard)
    elif how == "nested":
        inner.before_request(guard)
    elif how == "endpoint":

        @app.before_request
        def by_endpoint() -> None:
            if request.endpoint is not None and request.endpoint.startswith("admin."):
                guard()

    elif how == "url_rule":

        @app.before_request
        def by_rule() -> None:
            if request.url_rule is not None and request.url_rule.rule.startswith("/admin"):
                guard()

    elif how == "app":
        app.before_request(guard)
    elif how == "csrf":
        CSRFProtect(app)

    @blueprint.route("/users", methods=["GET", "DELETE"])
    def users() -> str:
        return "legacy users"

    @inner.route("/deep", methods=["GET", "DELETE"])
    def deep() -> str:
        return "legacy deep"

    blueprint.register_blueprint(inner, url_prefix="/inner")
    app.register_blueprint(blueprint, url_prefix="/admin")
    return app


def admin_twin(seen: Seen) -> FastAPI:
    app = FastAPI()

    @app.get("/admin/users")
    @app.delete("/admin/users")
    async def users() -> str:
        seen.ran.append("users")
        return "native users"

    @app.get("/admin/inner/deep")
    @app.delete("/admin/inner/deep")
    async def deep() -> str:
        seen.ran.append("deep")
        return "native deep"

    return app


def moved(legacy: Any, native: Any, seen: Seen, *rules: dict[str, Any], **more: Any) -> Gateway:
    config = {"version": 1, "routes": list(rules), **more}
    return Gateway(legacy=legacy, native=native, config=config, observers=[seen])


ADMIN = {"prefix": "/admin", "cutover": "native", "auth": "hooks", "accept": SEEN}

#: Heads that Flask refuses to match, so that no blueprint's hooks run.
UNREAD = (
    "Host: a..b",
    "Host: .a",
    f"Host: {'x' * 64}.example",
    "Host: a..b\nX-Token: wrong",
    "Host: ok\nConnection: upgrade\nUpgrade: websocket",
    "Host: ok\nConnection: keep-alive\nConnection: Upgrade\nUpgrade: websocket",
    "Host: ok\nUpgrade: WebSocket\nConnection: foo, upgrade",
)


@pytest.mark.parametrize("parser", PARSERS)
@pytest.mark.parametrize("how", ["blueprint", "nested", "endpoint", "url_rule", "csrf"])
def test_what_flask_refuses_to_match_never_reaches_native(how: str, parser: str) -> None:
    """F1 1 and 2: the hooks of a blueprint don't run then, nor do guards that ask for the rule."""
    seen = Seen()
    rule = {**ADMIN, "accept": {**SEEN, "hooks-guard-nobody": "CSRF is all that there is"}}
    path = "/admin/inner/deep" if how == "nested" else "/admin/users"
    with serve(moved(admin_app(how), admin_twin(seen), seen, rule), http=parser) as url:
        for head in UNREAD:
            status, body = ask(url, f"DELETE {path} HTTP/1.1\n{head}")
            assert status in (400, 401), (head, body)
        assert seen.ran == []
        if how != "csrf":
            assert ask(url, f"DELETE {path} HTTP/1.1\nHost: ok")[0] == 401
            assert ask(url, f"DELETE {path} HTTP/1.1\nHost: ok\n{TOKEN}")[0] == 200
            assert len(seen.ran) == 1


@pytest.mark.parametrize("scheme", ["ws", "wss"])
def test_a_scheme_of_websockets_is_flask_s_to_refuse(scheme: str) -> None:
    seen = Seen()
    gateway = moved(admin_app(), admin_twin(seen), seen, ADMIN)
    trusting = {"proxy_headers": True, "forwarded_allow_ips": "*"}
    with serve(gateway, **trusting) as url:
        head = f"DELETE /admin/users HTTP/1.1\nHost: ok\nX-Forwarded-Proto: {scheme}"
        assert ask(url, head)[0] == 400
    assert seen.ran == []


@pytest.mark.parametrize(
    "head",
    ["X-Forwarded-Host: a..b", "X-Forwarded-Proto: ws", "X-Forwarded-Host: .x"],
)
def test_what_proxy_fix_makes_of_a_request_is_what_counts(head: str) -> None:
    seen = Seen()
    app = admin_app()
    app.wsgi_app = ProxyFix(app.wsgi_app, x_host=1, x_proto=1)  # type: ignore[method-assign]
    with serve(moved(app, admin_twin(seen), seen, ADMIN)) as url:
        # Older Werkzeugs take such a host, and the hooks refuse then.
        assert ask(url, f"DELETE /admin/users HTTP/1.1\nHost: ok\n{head}")[0] in (400, 401)
        assert seen.ran == []
        assert ask(url, f"DELETE /admin/users HTTP/1.1\nHost: ok\n{TOKEN}")[0] == 200
    assert seen.ran == ["users"]


def test_what_flask_refuses_is_legacy_s_where_hooks_are_skipped_as_well() -> None:
    """Only after a match made with the real head may a request go around Flask."""
    seen = Seen()
    rule = {"prefix": "/admin", "cutover": "native", "auth": "none", "hooks": "skip"}
    bare = Gateway(legacy=admin_app())
    with serve(moved(admin_app(), admin_twin(seen), seen, rule)) as url, serve(bare) as oracle:
        for head in UNREAD:
            refused = ask(oracle, f"GET /admin/users HTTP/1.1\n{head}")[0] == 400
            found = ask(url, f"GET /admin/users HTTP/1.1\n{head}")[0]
            assert found == (400 if refused else 200)
            if refused:
                assert seen.exchanges[-1].decision.reason is Reason.BAD_REQUEST
                assert seen.ran == []
            seen.ran.clear()
        assert ask(url, "GET /admin/users HTTP/1.1\nHost: ok")[0] == 200
    assert seen.ran == ["users"]


def items_app(how: str = "blueprint") -> Flask:
    app = Flask("legacy")
    blueprint = Blueprint("items", "items")
    (blueprint if how == "blueprint" else app).before_request(guard)
    blueprint.add_url_rule("/items/<int:id>", "show", lambda id: f"legacy {id}")  # noqa: A006
    app.register_blueprint(blueprint)
    return app


def items_twin(seen: Seen) -> FastAPI:
    app = FastAPI()

    @app.get("/items/{id}")
    async def show(id: float) -> float:  # noqa: A002
        seen.ran.append(f"item {id}")
        return id

    return app


def refused_spellings() -> list[str]:
    """Return the spellings that Flask's converter refuses: older Werkzeugs take some of them."""
    found = ("/items/5.0", "/items/+5", "/items/%205", "/items/1e3", "/items/-5", "/items/%2B5")
    client = items_app().test_client()
    return [each for each in found if client.get(each, headers={"X-Token": "t"}).status_code == 404]


SPELLINGS = refused_spellings()


@pytest.mark.parametrize("auth", ["hooks", "none"])
def test_a_value_that_flask_s_converter_refuses_passes_the_app_s_hooks(auth: str) -> None:
    """F1 3: `on_mismatch: native` gives FastAPI's answer, but to nobody whom the hooks refuse."""
    seen = Seen()
    rule = {
        "path": "/items/<int:id>",
        "methods": ["GET"],
        "cutover": "native",
        "auth": auth,
        "accept": SEEN,
        "on_mismatch": "native",
    }
    with serve(moved(items_app("app"), items_twin(seen), seen, rule)) as url:
        for path in SPELLINGS:
            assert ask(url, f"GET {path} HTTP/1.1\nHost: ok")[0] == 401
        assert seen.ran == []
        known = [ask(url, f"GET {path} HTTP/1.1\nHost: ok\n{TOKEN}")[0] for path in SPELLINGS]
    # No view's hooks run on a path that Flask doesn't know, so that `hooks` guards nothing there.
    assert known == [404 if auth == "hooks" else 200] * len(SPELLINGS)


@pytest.mark.parametrize(
    "more",
    [
        {"auth": "hooks", "methods": ["GET"]},
        {"auth": "none"},
        {"auth": "none", "methods": ["GET"], "path": None, "prefix": "/items"},
    ],
)
def test_a_rule_that_does_not_name_path_method_and_guard_keeps_flask_s_404(
    more: dict[str, Any],
) -> None:
    seen = Seen()
    rule = {"path": "/items/<int:id>", "cutover": "native", "on_mismatch": "native"}
    rule = {key: value for key, value in (rule | more).items() if value is not None}
    gateway = moved(items_app(), items_twin(seen), seen, {**rule, "accept": SEEN})
    assert "mismatch-unguarded" in {p.code for p in gateway.snapshots.current.warnings}
    with serve(gateway) as url:
        for path in SPELLINGS:
            assert ask(url, f"GET {path} HTTP/1.1\nHost: ok")[0] == 404
    assert seen.ran == []


def users_app() -> Flask:
    app = Flask("legacy")
    app.secret_key = "x"
    blueprint = Blueprint("users", "users")
    blueprint.before_request(guard)
    blueprint.add_url_rule("/users/<name>", "show", lambda name: f"legacy {name}")
    blueprint.add_url_rule("/files/<path:name>", "files", lambda name: f"legacy {name}")
    app.register_blueprint(blueprint)
    return app


def users_twin(seen: Seen) -> FastAPI:
    app = FastAPI()

    @app.get("/users/export")
    @app.post("/users/export")
    @app.get("/files/{name}/raw")
    async def export(name: str = "") -> str:
        seen.ran.append("export")
        return "native"

    return app


WIDER = (
    {"path": "/users/export", "cutover": "native", "auth": "hooks", "accept": SEEN},
    {"path": "/files/{name}/raw", "cutover": "native", "auth": "hooks", "accept": SEEN},
)


@pytest.mark.parametrize("path", ["/users/export", "/users//export", "/files/a/raw"])
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_a_path_taken_from_a_wider_view_stays_behind_that_view_s_hooks(
    path: str, method: str
) -> None:
    """F1 4: without a session cookie, with one, and by HEAD."""
    seen = Seen()
    with serve(moved(users_app(), users_twin(seen), seen, *WIDER)) as url:
        followed = "/users/export" if "//" in path else path
        for head in ("Host: ok", "Host: ok\nCookie: session=x", "Host: ok\nX-Token: wrong"):
            assert ask(url, f"{method} {followed} HTTP/1.1\n{head}")[0] == 401
            assert ask(url, f"{method} {path} HTTP/1.1\n{head}")[0] in (308, 401)
        assert seen.ran == []
        assert ask(url, f"{method} {followed} HTTP/1.1\nHost: ok\n{TOKEN}")[0] == 200
    assert seen.ran == ["export"]


def test_a_path_taken_from_a_wider_view_has_it_as_its_legacy_side() -> None:
    """F1 14: the kill switch, an override and UseLegacy lead to it."""
    seen = Seen()
    gateway = moved(users_app(), users_twin(seen), seen, *WIDER, defaults={"kill_switch": True})
    routes = {route.id: route for route in gateway.table.routes}
    assert routes["GET /users/export"].coverage == "both"
    with serve(gateway) as url:
        assert ask(url, f"GET /users/export HTTP/1.1\nHost: ok\n{TOKEN}") == (200, b"legacy export")
        assert ask(url, f"GET /files/a/raw HTTP/1.1\nHost: ok\n{TOKEN}") == (200, b"legacy a/raw")
    assert seen.ran == []
    assert {each.decision.reason for each in seen.exchanges} == {Reason.KILL_SWITCH}


def test_a_canary_of_a_path_taken_from_a_wider_view_goes_to_both_sides() -> None:
    seen = Seen()
    rule = {**WIDER[0], "cutover": "canary", "weight": 50, "sticky": ["header:X-Account"]}
    with serve(moved(users_app(), users_twin(seen), seen, rule)) as url:
        for number in range(20):
            head = f"GET /users/export HTTP/1.1\nHost: ok\n{TOKEN}\nX-Account: {number}"
            assert ask(url, head)[0] == 200
    assert 0 < len(seen.ran) < 20


@pytest.mark.parametrize("selector", ["path", "prefix", "blueprint", "endpoint"])
@pytest.mark.parametrize("auth", ["hooks", None])
def test_a_method_that_flask_refuses_stays_refused(auth: str | None, selector: str) -> None:
    """F1 5: one handler for GET and POST, where Flask has GET only."""
    seen = Seen()
    app, twin = admin_app(), FastAPI()

    @twin.api_route("/admin/users", methods=["GET", "POST", "PUT", "DELETE"])
    async def users() -> str:
        seen.ran.append("users")
        return "native"

    named = {"path": "/admin/users", "prefix": "/admin", "blueprint": "admin"}
    found = named.get(selector, "admin.users")
    rule: dict[str, Any] = {selector: found, "cutover": "native", "accept": SEEN}
    rule |= {"auth": auth} if auth else {}
    with serve(moved(app, twin, seen, rule)) as url:
        for method in ("POST", "PUT", "PATCH", "PROPFIND"):
            for head in ("Host: ok", f"Host: ok\n{TOKEN}", "Host: ok\nX-Method: GET"):
                assert ask(url, f"{method} /admin/users HTTP/1.1\n{head}")[0] == 405
    assert seen.ran == []


def test_a_rule_that_names_path_method_and_guard_adds_a_method_behind_the_app_s_hooks() -> None:
    seen = Seen()
    app, twin = admin_app("app"), FastAPI()

    @twin.post("/admin/users")
    async def users() -> str:
        seen.ran.append("users")
        return "native"

    rule = {"path": "/admin/users", "methods": ["POST"], "cutover": "native", "auth": "none"}
    with serve(moved(app, twin, seen, rule)) as url:
        assert ask(url, "POST /admin/users HTTP/1.1\nHost: ok")[0] == 401
        assert seen.ran == []
        assert ask(url, f"POST /admin/users HTTP/1.1\nHost: ok\n{TOKEN}")[0] == 200
    assert seen.ran == ["users"]


@pytest.mark.filterwarnings("ignore:The `root_path` parameter is deprecated")
@pytest.mark.parametrize("path", ["/admin/new", "/api/admin/new", "/api//admin/new"])
@pytest.mark.parametrize("asks", ["path", "url", "full_path", "script_root", "environ"])
@pytest.mark.parametrize("method", ["GET", "HEAD", "POST"])
def test_a_root_path_of_fastapi_s_own_hides_no_path_from_the_hooks(
    path: str, asks: str, method: str
) -> None:
    """F1 6: what Flask's hooks see is what native serves."""
    seen = Seen()
    app = Flask("legacy")

    @app.before_request
    def by_path() -> None:
        seen_by = {
            "path": request.path,
            "full_path": request.full_path,
            "url": request.url.partition("//")[2].partition("/")[2].removeprefix("api"),
            "script_root": request.root_path.removesuffix("/api") + request.path,
            "environ": request.environ["PATH_INFO"],
        }
        if seen_by[asks].lstrip("/").startswith("admin"):
            guard()

    twin = FastAPI(root_path="/api")

    @twin.api_route("/admin/new", methods=["GET", "POST"])
    async def new() -> str:
        seen.ran.append("new")
        return "native"

    rule = {"path": "/admin/new", "cutover": "native", "auth": "none"}
    with serve(moved(app, twin, seen, rule)) as url:
        assert ask(url, f"{method} {path} HTTP/1.1\nHost: ok")[0] in (401, 404)
        assert seen.ran == []
        if "//" not in path:
            assert ask(url, f"{method} {path} HTTP/1.1\nHost: ok")[0] == 401
            allowed = 405 if method == "HEAD" else 200
            assert ask(url, f"{method} {path} HTTP/1.1\nHost: ok\n{TOKEN}")[0] == allowed


def override(app: Any) -> Any:
    """Method override, as WSGI middleware."""

    def wrapped(environ: dict[str, Any], start_response: Any) -> Any:
        environ["REQUEST_METHOD"] = environ.get("HTTP_X_METHOD", environ["REQUEST_METHOD"])
        return app(environ, start_response)

    return wrapped


def test_a_method_that_middleware_has_changed_is_decided_again_for_flask_s_rule() -> None:
    """The native handler that was decided never runs behind another rule's hooks."""
    seen = Seen()
    app = Flask("legacy")
    guarded, free = Blueprint("guarded", "guarded"), Blueprint("free", "free")
    guarded.before_request(guard)
    guarded.add_url_rule("/x", "delete", lambda: "legacy delete", methods=["DELETE"])
    free.add_url_rule("/x", "post", lambda: "legacy post", methods=["POST"])
    app.register_blueprint(guarded)
    app.register_blueprint(free)
    app.wsgi_app = override(app.wsgi_app)  # type: ignore[method-assign]
    twin = FastAPI()

    @twin.delete("/x")
    async def delete() -> str:
        seen.ran.append("delete")
        return "native delete"

    @twin.post("/x")
    async def post() -> str:
        seen.ran.append("post")
        return "native post"

    rules = (
        {"path": "/x", "methods": ["DELETE"], "cutover": "native", "auth": "hooks", "accept": SEEN},
        {"path": "/x", "methods": ["POST"], "cutover": "native", "auth": "none"},
    )
    with serve(moved(app, twin, seen, *rules)) as url:
        assert ask(url, "POST /x HTTP/1.1\nHost: ok\nX-Method: DELETE")[0] == 401
        assert ask(url, "DELETE /x HTTP/1.1\nHost: ok")[0] == 401
        assert seen.ran == []
        told = f"POST /x HTTP/1.1\nHost: ok\nX-Method: DELETE\n{TOKEN}"
        assert ask(url, told) == (200, b'"native delete"')
        assert ask(url, "DELETE /x HTTP/1.1\nHost: ok\nX-Method: POST") == (200, b'"native post"')
        assert ask(url, "POST /x HTTP/1.1\nHost: ok\nX-Method: PUT")[0] == 405
    assert seen.ran == ["delete", "post"]


def test_hooks_that_change_what_flask_has_matched_leave_the_answer_to_flask() -> None:
    seen = Seen()
    app = admin_app("app")

    @app.before_request
    def elsewhere() -> None:
        if request.args.get("to"):
            request.url_rule = next(r for r in app.url_map.iter_rules() if "deep" in r.endpoint)

    with serve(moved(app, admin_twin(seen), seen, ADMIN)) as url:
        asked = f"GET /admin/users?to=deep HTTP/1.1\nHost: ok\n{TOKEN}"
        assert ask(url, asked) == (200, b"legacy deep")
    assert seen.ran == []


@contextlib.contextmanager
def told(caplog: pytest.LogCaptureFixture) -> Iterator[Callable[[str], int]]:
    """Count the log lines with a word in them."""
    with caplog.at_level(logging.WARNING):
        yield lambda word: sum(word in record.getMessage() for record in caplog.records)


def test_another_app_mounted_over_a_moved_path_is_named(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """F1 12: the decided native handler did not run, and no report says that it did."""
    seen = Seen()
    app, other = admin_app(), Flask("other")
    other.add_url_rule("/users", "users", lambda: "mounted", methods=["GET", "DELETE"])
    app.wsgi_app = DispatcherMiddleware(  # type: ignore[method-assign]
        app.wsgi_app, {"/admin": other.wsgi_app}
    )
    gateway = moved(app, admin_twin(seen), seen, ADMIN)
    assert "mounted-over" in {p.code for p in gateway.snapshots.current.warnings}
    with told(caplog) as lines, serve(gateway) as url:
        for _ in range(2):
            asked = f"GET /admin/users HTTP/1.1\nHost: ok\n{TOKEN}"
            assert ask(url, asked) == (200, b"mounted")
        assert lines("mounted-over") == 1
    assert seen.ran == []
    assert {each.decision.backend for each in seen.exchanges} == {Backend.LEGACY}


def nested_mount(app: Flask, other: Flask) -> Any:
    return DispatcherMiddleware(DispatcherMiddleware(app.wsgi_app, {"/admin": other.wsgi_app}), {})


def mount_behind_a_fix(app: Flask, other: Flask) -> Any:
    return ProxyFix(DispatcherMiddleware(app.wsgi_app, {"/admin": other.wsgi_app}))


def cascade(app: Flask, other: Flask) -> Any:
    """Ask another app first, and this one where that has no such page."""
    inner = app.wsgi_app

    def wrapped(environ: dict[str, Any], start_response: Any) -> Any:
        adapter = other.url_map.bind_to_environ({**environ, "PATH_INFO": "/users"})
        if environ["PATH_INFO"] == "/admin/users" and adapter.test():
            return other.wsgi_app({**environ, "PATH_INFO": "/users"}, start_response)
        return inner(environ, start_response)

    return wrapped


def cache(app: Flask, _: Flask) -> Any:
    """Answer from a cache."""
    inner = app.wsgi_app

    def wrapped(environ: dict[str, Any], start_response: Any) -> Any:
        if environ["PATH_INFO"] == "/admin/users":
            start_response("200 OK", [("Content-Length", "7")])
            return [b"mounted"]
        return inner(environ, start_response)

    return wrapped


@pytest.mark.parametrize("around", [nested_mount, mount_behind_a_fix, cascade, cache])
def test_whatever_answers_instead_of_flask_is_named(
    around: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """F1 12: at the start, or where it is first seen; never counted as native."""
    seen = Seen()
    app, other = admin_app(), Flask("other")
    other.add_url_rule("/users", "users", lambda: "mounted", methods=["GET", "DELETE"])
    app.wsgi_app = around(app, other)  # type: ignore[method-assign]
    with told(caplog) as lines, serve(moved(app, admin_twin(seen), seen, ADMIN)) as url:
        for _ in range(3):
            asked = f"GET /admin/users HTTP/1.1\nHost: ok\n{TOKEN}"
            assert ask(url, asked) == (200, b"mounted")
        found = lines("mounted-over"), lines("answered by itself")
        assert max(found) == 1
        assert ask(url, "GET /admin/inner/deep HTTP/1.1\nHost: ok")[0] in (401, 404)
    assert seen.ran == []
    assert {each.decision.backend for each in seen.exchanges[:3]} == {Backend.LEGACY}


def test_middleware_that_calls_views_by_itself_is_named_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    seen = Seen()
    app = admin_app()
    inner = app.wsgi_app

    def direct(environ: dict[str, Any], start_response: Any) -> Any:
        if environ["PATH_INFO"] == "/admin/users":
            with app.request_context(environ):
                view: Any = app.view_functions["admin.users"]
                return app.make_response(view())(environ, start_response)
        return inner(environ, start_response)

    app.wsgi_app = direct  # type: ignore[method-assign]
    with told(caplog) as lines, serve(moved(app, admin_twin(seen), seen, ADMIN)) as url:
        for _ in range(3):
            assert ask(url, "GET /admin/users HTTP/1.1\nHost: ok") == (200, b"legacy users")
        assert lines("answered by itself") == 1
    assert seen.ran == []
    reasons = [(each.decision.backend, each.decision.reason) for each in seen.exchanges]
    assert reasons == [(Backend.LEGACY, Reason.MIDDLEWARE)] * 3


def by_endpoint(app: Flask) -> None:
    @app.before_request
    def known_only() -> None:
        if request.endpoint is not None:
            guard()


def by_rule(app: Flask) -> None:
    @app.before_request
    def by_url_rule() -> None:
        if not request.url_rule:
            return
        guard()


def by_names(app: Flask) -> None:
    @app.before_request
    def all_but_open() -> None:
        if request.endpoint not in (None, "open"):
            guard()


def by_view(app: Flask) -> None:
    @app.before_request
    def by_view_function() -> None:
        if request.endpoint in app.view_functions:
            guard()


@pytest.mark.parametrize("hook", [CSRFProtect, by_endpoint, by_rule, by_view, by_names])
@pytest.mark.parametrize("method", ["POST", "DELETE"])
def test_a_hook_that_does_not_run_on_native_only_routes_is_said(hook: Any, method: str) -> None:
    """F1 13: Flask-WTF asks for the endpoint, and a path of native's own has none."""
    app, twin = Flask("legacy"), FastAPI(openapi_url=None)
    app.secret_key = "x"
    hook(app)
    app.add_url_rule("/old", "old", lambda: "old", methods=[method])
    twin.add_api_route("/new", lambda: "new", methods=[method])
    gateway = Gateway(legacy=app, native=twin)
    warnings = [p for p in gateway.snapshots.current.warnings if p.code == "hooks-left-out"]
    assert len(warnings) == 1
    assert f"{method} /new" in warnings[0].what
    with serve(gateway) as url:
        assert ask(url, f"{method} /old HTTP/1.1\nHost: ok")[0] in (400, 401)
        assert ask(url, f"{method} /new HTTP/1.1\nHost: ok") == (200, b'"new"')


class RefusingMatches(APIRouter):
    def matches(self, scope: Any) -> Any:
        if dict(scope["headers"]).get(b"x-token") != b"t":
            return Match.NONE, {}
        return super().matches(scope)


class RefusingHandle(APIRouter):
    async def handle(self, scope: Any, receive: Any, send: Any) -> None:
        if dict(scope["headers"]).get(b"x-token") != b"t":
            await send({"type": "http.response.start", "status": 403, "headers": []})
            await send({"type": "http.response.body", "body": b""})
            return
        await super().handle(scope, receive, send)


class RefusingCall(APIRouter):
    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http" and dict(scope["headers"]).get(b"x-token") != b"t":
            await PlainTextResponse("no", 403)(scope, receive, send)
            return
        await super().__call__(scope, receive, send)


class RefusingRoute(APIRoute):
    def matches(self, scope: Any) -> Any:
        if dict(scope["headers"]).get(b"x-token") != b"t":
            return Match.NONE, {}
        return super().matches(scope)


class RefusingHandleOfRoute(APIRoute):
    async def handle(self, scope: Any, receive: Any, send: Any) -> None:
        if dict(scope["headers"]).get(b"x-token") != b"t":
            await PlainTextResponse("no", 403)(scope, receive, send)
            return
        await super().handle(scope, receive, send)


class OfRoutes(APIRouter):
    def __init__(self) -> None:
        super().__init__(route_class=RefusingRoute)


class OfHandlers(APIRouter):
    def __init__(self) -> None:
        super().__init__(route_class=RefusingHandleOfRoute)


@pytest.mark.parametrize(
    "kind", [RefusingMatches, RefusingHandle, RefusingCall, OfRoutes, OfHandlers]
)
@pytest.mark.parametrize("how", ["included", "nested", "mounted", "own"])
def test_a_router_that_refuses_is_asked(kind: type[APIRouter], how: str) -> None:
    """F1 19: FastAPI from 0.137 on asks an included router before the routes below it."""

    def twin() -> FastAPI:
        router, outer, app = kind(), APIRouter(), FastAPI()

        @router.get("/secret")
        @router.get("/secret/{number}")
        async def secret(number: int = 0) -> str:
            return "secret"

        if how == "own":
            app.router, owned = router, app.router
            router.dependency_overrides_provider = owned.dependency_overrides_provider
            return app
        if how == "mounted":
            app.mount("/in", router)
            return app
        outer.include_router(router)
        app.include_router(outer if how == "nested" else router, prefix="/in")
        return app

    root = "" if how == "own" else "/in"
    gateway = Gateway(legacy=Flask("legacy"), native=twin())
    with serve(gateway) as ours, serve(twin()) as bare:
        for path in (f"{root}/secret", f"{root}/secret/7"):
            for head in ("Host: ok", f"Host: ok\n{TOKEN}", "Host: ok\nX-Token: no"):
                asked = f"GET {path} HTTP/1.1\n{head}"
                found, right = ask(ours, asked)[0], ask(bare, asked)[0]
                assert found == right, (asked, found, right)


class Choosy(Mount):
    def matches(self, scope: Any) -> Any:
        if dict(scope["headers"]).get(b"x-token") != b"t":
            return Match.NONE, {}
        return super().matches(scope)


def test_a_route_that_reads_a_header_is_asked_for_each_request() -> None:
    twin = FastAPI()

    async def hello(_: Any) -> PlainTextResponse:
        return PlainTextResponse("hi")

    twin.router.routes.append(Choosy("/in", routes=[Route("/", hello), Route("/x", hello)]))
    with serve(Gateway(legacy=Flask("legacy"), native=twin)) as url:
        for _ in range(2):
            assert ask(url, "GET /in/x HTTP/1.1\nHost: ok")[0] == 404
            assert ask(url, f"GET /in/x HTTP/1.1\nHost: ok\n{TOKEN}") == (200, b"hi")


def test_no_change_at_run_time_does_what_check_would_refuse() -> None:
    """F1 10: a rule that says `native` over a handler that guards nothing, and then `set`."""
    from gateway.exceptions import ConfigError
    from gateway.held import Held
    from gateway.overrides import Override

    seen = Seen()
    rule = {"path": "/admin/users", "cutover": "legacy", "auth": "native"}
    gateway = moved(admin_app(), admin_twin(seen), seen, {**rule, "name": "users"})
    override = Override(
        "users", "native", None, "set", "ann", "", 0.0, None, "legacy", ("GET /admin/users",)
    )
    snapshot = gateway.preview(Held(overrides=(override,)))
    assert "guards-nobody" in snapshot.ignored["users"]
    route = next(r for r in snapshot.table.routes if r.id == "GET /admin/users")
    assert route.cutover == "legacy"
    assert ConfigError is not None


def test_a_tester_reaches_native_only_where_a_rule_says_who_guards_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("TESTER", "hush")
    seen = Seen()
    rule = {"path": "/admin/users", "cutover": "legacy"}
    tester = {"secret_env": "TESTER"}
    picked = "X-Cutover: native\nX-Cutover-Secret: hush"
    asked = f"GET /admin/users HTTP/1.1\nHost: ok\n{TOKEN}\n{picked}"
    unsaid = moved(admin_app(), admin_twin(seen), seen, rule, tester=tester)
    with serve(unsaid) as url:
        assert ask(url, asked) == (200, b"legacy users")
    said = {**rule, "auth": "hooks", "accept": SEEN}
    with serve(moved(admin_app(), admin_twin(seen), seen, said, tester=tester)) as url:
        assert ask(url, asked) == (200, b'"native users"')
        assert ask(url, asked.replace(TOKEN, "X-No: t"))[0] == 401
    assert seen.ran == ["users"]


def test_a_move_that_check_refuses_is_served_by_legacy(caplog: pytest.LogCaptureFixture) -> None:
    """What isn't said is refused, and is no reason to crash."""
    seen = Seen()
    rule = {"path": "/admin/users", "cutover": "native"}
    with told(caplog) as lines:
        gateway = moved(admin_app(), admin_twin(seen), seen, rule)
        with serve(gateway) as url:
            assert ask(url, f"GET /admin/users HTTP/1.1\nHost: ok\n{TOKEN}") == (
                200,
                b"legacy users",
            )
        assert lines("auth-missing") == 1
    assert seen.ran == []
    assert seen.exchanges[0].decision.reason is Reason.REFUSED


def test_a_native_socket_on_a_path_that_flask_answers_needs_somebody_s_word() -> None:
    """F1 8: no hook of Flask's runs for a WebSocket."""
    from websockets.exceptions import InvalidStatus
    from websockets.sync.client import connect

    app, twin = admin_app(), FastAPI()

    @twin.websocket("/admin/users")
    @twin.websocket("/admin/feed")
    @twin.websocket("/free")
    async def feed(websocket: WebSocket) -> None:
        await websocket.accept()
        await websocket.send_text("open")

    def answers(*rules: dict[str, Any]) -> list[str | int]:
        found: list[str | int] = []
        with serve(moved(app, twin, Seen(), *rules)) as url:
            for path in ("/admin/users", "/admin/feed", "/free"):
                try:
                    with connect(f"ws{url[4:]}{path}", open_timeout=10) as socket_:
                        found.append(str(socket_.recv()))
                except InvalidStatus as refused:
                    found.append(refused.response.status_code)
        return found

    guarded = {"prefix": "/admin", "cutover": "legacy", "auth": "hooks"}
    assert answers() == [403, "open", "open"]
    assert answers(guarded) == [403, 403, "open"]
    assert answers({**guarded, "auth": "none"}) == ["open", "open", "open"]


@pytest.mark.parametrize("host", ["a..b", f"{'x' * 70}.test", ".a"])
def test_a_host_that_flask_refuses_opens_no_socket(host: str) -> None:
    """Nobody knows then whether Flask answers the path."""
    legacy, twin = Flask("old"), FastAPI()
    legacy.add_url_rule("/items/<path:rest>", "items", lambda rest: rest)

    @twin.websocket("/items/feed/{name}")
    async def feed(websocket: WebSocket) -> None:
        await websocket.accept()

    lines = [
        "GET /items/feed/a HTTP/1.1",
        f"Host: {host}",
        "Upgrade: websocket",
        "Connection: Upgrade",
        "Sec-WebSocket-Version: 13",
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
    ]
    with serve(moved(legacy, twin, Seen())) as url:
        port = int(url.rpartition(":")[2])
        with socket.create_connection(("127.0.0.1", port), timeout=10) as client:
            client.sendall("\r\n".join([*lines, "", ""]).encode())
            assert client.recv(64).startswith(b"HTTP/1.1 403")


@pytest.mark.parametrize("parser", ["h11", "httptools"])
@pytest.mark.parametrize("path", ["/moved", "/only-native"])
@pytest.mark.parametrize("second", ["application/json", "text/plain", ""])
def test_two_content_types_are_refused_for_both_sides(parser: str, path: str, second: str) -> None:
    """Each reader would take another one; Flask is never asked with two."""
    seen, legacy, twin = Seen(), Flask("old"), FastAPI()
    legacy.add_url_rule("/moved", "moved", lambda: "legacy", methods=["POST"])
    legacy.add_url_rule("/legacy", "legacy", lambda: "legacy", methods=["POST"])
    for each in ("/moved", "/only-native"):
        twin.add_api_route(each, lambda: seen.ran.append("native"), methods=["POST"])
    rule = {"path": "/moved", "methods": ["POST"], "cutover": "native", "auth": "none"}
    types = f"Content-Type: application/x-www-form-urlencoded\nContent-Type: {second}"
    with serve(moved(legacy, twin, seen, rule), http=parser) as url:
        expected = ask(url, f"POST /legacy HTTP/1.1\nHost: ok\n{types}", b"a=1")
        assert ask(url, f"POST {path} HTTP/1.1\nHost: ok\n{types}", b"a=1") == expected
    assert expected[0] == 400
    assert seen.ran == []


def test_the_shared_guard_comes_before_a_socket_is_accepted() -> None:
    """F1 8: below a `prefix:` rule."""
    from websockets.exceptions import InvalidStatus
    from websockets.sync.client import connect

    seen, twin = Seen(), FastAPI()

    @twin.websocket("/admin/feed/{room}")
    async def feed(websocket: WebSocket, room: str) -> None:
        seen.ran.append(room)
        await websocket.accept()
        await websocket.send_text(websocket.state.principal.id)

    rule = {"prefix": "/admin", "cutover": "native", "auth": "shared"}
    more = {"auth": SHARED["auth"]}
    with serve(moved(admin_app(), twin, seen, rule, **more)) as url:
        address = f"ws{url[4:]}/admin/feed/7"
        for headers in ({}, {"Authorization": "Bearer nobody"}, {"X-Token": "t"}):
            with pytest.raises(InvalidStatus) as refused:
                connect(address, additional_headers=headers, open_timeout=10)
            assert refused.value.response.status_code in (401, 403)
        assert seen.ran == []
        token = {"Authorization": "Bearer ann"}
        with connect(address, additional_headers=token, open_timeout=10) as opened:
            assert opened.recv() == "ann"
    assert seen.ran == ["7"]


def preflight_app(*, view: bool) -> Flask:
    app = Flask("legacy")
    methods = ["GET", "OPTIONS"] if view else ["GET"]
    app.add_url_rule("/data", "data", lambda: "secret", methods=methods)
    return app


PREFLIGHT = (
    "OPTIONS /data HTTP/1.1\nHost: ok\nOrigin: https://a.example\n"
    "Access-Control-Request-Method: GET"
)
SHARED = {
    "auth": {"dependency": "tests.apps.guards:verify_token", "id": "sub"},
    "defaults": {"auth": "shared"},
}


def test_a_preflight_passes_the_shared_guard_only_where_no_handler_is_asked() -> None:
    """F1 8: a view that answers OPTIONS by itself is guarded, whatever the request looks like."""
    legacy = {"path": "/data", "cutover": "legacy"}
    with serve(moved(preflight_app(view=True), FastAPI(), Seen(), legacy, **SHARED)) as url:
        assert ask(url, PREFLIGHT)[0] == 401
    with serve(moved(preflight_app(view=False), FastAPI(), Seen(), legacy, **SHARED)) as url:
        assert ask(url, PREFLIGHT)[0] == 200
    moving = {"path": "/data", "cutover": "native", "auth": "shared"}
    for answered, status in ((False, 401), (True, 200)):
        twin = FastAPI()
        twin.add_api_route("/data", lambda: "native", methods=["GET", "OPTIONS"])
        if answered:
            twin.add_middleware(CORSMiddleware, allow_origins=["*"])
        with serve(moved(preflight_app(view=False), twin, Seen(), moving, **SHARED)) as url:
            assert ask(url, PREFLIGHT)[0] == status
