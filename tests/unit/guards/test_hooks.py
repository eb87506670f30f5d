"""Hooks and middleware are read for the route: what they do on its paths, with its method."""

from __future__ import annotations

import functools
import hmac
import re
from typing import TYPE_CHECKING, Any

import pytest
from flask import Blueprint, Flask, Response, abort, current_app, g, redirect, request, session
from flask_wtf import CSRFProtect
from werkzeug.middleware.proxy_fix import ProxyFix

from gateway.flask.routes import FlaskRoutes
from gateway.guards import middleware

if TYPE_CHECKING:
    from collections.abc import Callable

    from gateway.inventory import Guard

CLIENTS = {"shop": "secret"}
PUBLIC = {"public", "static"}
PREFIXES = ("/admin", "/internal")


def only_known() -> None:
    if request.args.get("as") != "ann":
        abort(401)


def identifies() -> None:
    given = request.headers.get("X-Api-Key", "")
    g.client = None
    for name, secret in CLIENTS.items():
        g.client = name if hmac.compare_digest(given, secret) else None


def remembers() -> None:
    g.user = session.get("user")


def tries_a_token() -> None:
    try:
        scheme, _, token = request.headers["Authorization"].partition(" ")
    except KeyError:
        g.user = None
    else:
        g.user = CLIENTS.get(token) if scheme == "Bearer" else None


def takes_a_tenant() -> None:
    g.tenant = request.host.partition(".")[0] or "public"


def asks_basic() -> None:
    given = request.authorization
    known = given is not None and hmac.compare_digest(given.password or "", CLIENTS["shop"])
    g.user = given.username if known and given is not None else "nobody"


def nothing() -> None:
    g.started = 1.0


def below_admin() -> Any:
    if request.path.startswith("/admin") and not g.get("user"):
        return redirect("/login")
    return None


def below_prefixes() -> None:
    for prefix in PREFIXES:
        if request.path.startswith(prefix):
            abort(403)


def not_public() -> None:
    if request.endpoint in PUBLIC:
        return
    if not session.get("user"):
        abort(401)


def not_public_by_rule() -> None:
    if request.url_rule is None or request.url_rule.rule == "/public":
        return
    abort(403)


def by_helper() -> None:
    if _is_open():
        return
    abort(401)


def _is_open() -> bool:
    return request.endpoint in PUBLIC or request.path == "/public"


def in_blueprint() -> None:
    if request.blueprint == "staff":
        abort(403)


def in_blueprints() -> None:
    if "staff" in request.blueprints:
        abort(403)


def writes_only() -> None:
    if request.method in ("GET", "HEAD", "OPTIONS"):
        return
    abort(403)


def by_match() -> None:
    match request.endpoint:
        case "admin":
            abort(403)
        case _:
            pass


def by_decorated_views() -> None:
    if current_app.view_functions.get(request.endpoint or "") in OPEN_VIEWS:
        return
    abort(401)


def by_setting() -> None:
    if current_app.config["OPEN"]:
        return
    abort(401)


def only_for_known() -> None:
    if g.user and g.user == "mallory":
        abort(403)


def view(**_: str) -> str:
    return ""


def public(**_: str) -> str:
    return ""


OPEN_VIEWS: set[Any] = {public}
public.is_public = True  # type: ignore[attr-defined]


def by_attribute() -> None:
    found = current_app.view_functions.get(request.endpoint or "")
    if getattr(found, "is_public", False):
        return
    abort(401)


def by_pattern() -> None:
    if re.match(r"^/(public|other)$", request.path):
        return
    abort(401)


def by_compiled_pattern() -> None:
    if not PATTERN.match(request.path):
        abort(401)


def by_any() -> None:
    if any(request.path.startswith(each) for each in PREFIXES):
        abort(403)


def by_loop() -> None:
    for each in PREFIXES:
        if request.path.startswith(each):
            break
    else:
        return
    abort(403)


PATTERN = re.compile("/public|/other")


def app_with(*hooks: Callable[[], Any]) -> Flask:
    app = Flask("hooked")
    app.secret_key = "s"
    app.config["OPEN"] = False
    staff = Blueprint("staff", "staff")
    staff.add_url_rule("/staff", "list", view, methods=["GET", "POST"])
    app.add_url_rule("/public", "public", public)
    for name in ("admin", "other"):
        app.add_url_rule(f"/{name}", name, view, methods=["GET", "POST"])
    app.add_url_rule("/admin/users/<name>", "user", view)
    app.add_url_rule("/<path:page>", "page", view)
    app.register_blueprint(staff)
    for hook in hooks:
        app.before_request(hook)
    return app


def around(app: Flask, endpoint: str | None, method: str = "GET") -> list[Guard]:
    routes = FlaskRoutes(app)
    found = next((each for each in routes.endpoints() if each.endpoint == endpoint), None)
    return list(routes.guards(found, method).around)


def does(hook: Callable[[], Any], endpoint: str | None, method: str = "GET") -> str:
    (met,) = around(app_with(hook), endpoint, method)
    return met.does


@pytest.mark.parametrize(
    ("hook", "said"),
    [
        (only_known, "refuses"),
        (identifies, "identifies"),
        (remembers, "identifies"),
        (tries_a_token, "identifies"),
        (takes_a_tenant, "nothing"),
        (nothing, "nothing"),
        (by_setting, "refuses"),
        (by_decorated_views, "refuses"),
        (only_for_known, "perhaps"),
        (functools.partial(only_known), "refuses"),
    ],
)
def test_what_a_hook_does(hook: Callable[[], Any], said: str) -> None:
    assert does(hook, "other") == said


def test_a_hook_that_reads_basic_credentials_is_no_guard() -> None:
    """What reading them may do depends on Werkzeug's version; it never counts as a refusal."""
    assert does(asks_basic, "other") in ("identifies", "perhaps")


@pytest.mark.parametrize(
    ("hook", "refused", "let_through"),
    [
        (below_admin, ["admin", "user"], ["public", "other", "staff.list"]),
        (below_prefixes, ["admin", "user"], ["public", "other"]),
        (not_public, ["admin", "other", None], ["public"]),
        (not_public_by_rule, ["admin", "user", "page"], ["public", None]),
        (by_helper, ["admin", "other"], ["public"]),
        (in_blueprint, ["staff.list"], ["admin", None]),
        (in_blueprints, ["staff.list"], ["admin", None]),
        (by_match, ["admin"], ["public", "other"]),
        (by_decorated_views, ["admin", "user"], ["public"]),
        (by_attribute, ["admin", "user"], ["public"]),
        (by_pattern, ["admin"], ["public", "other"]),
        (by_compiled_pattern, ["admin"], ["public", "other"]),
        (by_any, ["admin", "user"], ["public", "other"]),
    ],
)
def test_a_hook_is_read_for_the_route(
    hook: Callable[[], Any], refused: list[str | None], let_through: list[str | None]
) -> None:
    assert [does(hook, each) for each in refused] == ["refuses"] * len(refused)
    said = {does(hook, each) for each in let_through}
    assert not said & {"refuses", "perhaps"}


def test_a_hook_that_asks_for_the_path_of_a_catch_all_is_a_perhaps() -> None:
    assert does(below_admin, "page") == "perhaps"
    assert does(below_prefixes, "page") == "perhaps"
    assert does(below_admin, None) == "perhaps"
    assert does(by_pattern, "user") == does(by_any, "page") == "perhaps"
    assert does(by_loop, "admin") in ("refuses", "perhaps")


def test_a_hook_that_asks_for_the_method() -> None:
    assert does(writes_only, "other", "GET") == "nothing"
    assert does(writes_only, "other", "POST") == "refuses"


def test_a_hook_that_only_identifies_never_refuses() -> None:
    (met,) = around(app_with(identifies), "other")
    assert met.name == f"{__name__}.identifies (app)"
    assert met.place == "hook"
    assert any("X-Api-Key" in each for each in met.evidence)


def test_hooks_come_in_order_with_their_blueprints() -> None:
    app = app_with(nothing)
    inner, outer = Blueprint("inner", "inner"), Blueprint("outer", "outer")
    inner.add_url_rule("/deep", "deep", view)
    inner.before_request(only_known)
    outer.before_request(remembers)
    outer.register_blueprint(inner)
    app.register_blueprint(outer)
    met = around(app, "outer.inner.deep")
    assert [each.name.removeprefix(f"{__name__}.") for each in met] == [
        "nothing (app)",
        "remembers (outer)",
        "only_known (outer.inner)",
    ]
    assert [each.does for each in met] == ["nothing", "identifies", "refuses"]


def test_hooks_that_were_put_in_by_hand_count() -> None:
    app = app_with()
    app.before_request_funcs.setdefault(None, []).append(only_known)
    assert [each.does for each in around(app, "other")] == ["refuses"]


def test_csrf_protection_refuses_what_writes() -> None:
    app = app_with()
    csrf = CSRFProtect(app)
    assert [each.does for each in around(app, "other", "GET")] == ["nothing"]
    (met,) = around(app, "other", "POST")
    assert (met.does, met.evidence) == ("refuses", ("refuses without a CSRF token",))
    csrf.exempt(app.blueprints["staff"])
    assert [each.does for each in around(app, "staff.list", "POST")] == ["nothing"]


def test_what_runs_after_a_view_and_before_hooks_counts_too() -> None:
    app = app_with()

    @app.after_request
    def late(response: Response) -> Response:
        if not session.get("user"):
            response.status_code = 401
        return response

    @app.url_value_preprocessor
    def early(endpoint: str | None, values: dict[str, Any] | None) -> None:
        if endpoint == "admin":
            abort(403)

    assert [each.does for each in around(app, "other")] == ["nothing", "refuses"]
    assert [each.does for each in around(app, "admin")] == ["refuses", "refuses"]


def test_after_request_that_only_sets_headers_does_nothing() -> None:
    app = app_with()

    @app.after_request
    def timed(response: Response) -> Response:
        response.headers["X-Time"] = "1"
        return response

    assert [each.does for each in around(app, "other")] == ["nothing"]


class Gate:
    def __init__(self, app: Any) -> None:
        self.app = app

    def __call__(self, environ: Any, start_response: Any) -> Any:
        if environ.get("HTTP_X_SECRET") != "s":
            start_response("401 Unauthorized", [])
            return [b""]
        return self.app(environ, start_response)


class Headers:
    def __init__(self, app: Any) -> None:
        self.app = app

    def __call__(self, environ: Any, start_response: Any) -> Any:
        def start(status: str, headers: list[Any], exc_info: Any = None) -> Any:
            return start_response(status, [*headers, ("X-Frame", "no")], exc_info)

        environ["shop.time"] = 1
        return self.app(environ, start)


class BelowAdmin:
    def __init__(self, app: Any) -> None:
        self.app = app

    def __call__(self, environ: Any, start_response: Any) -> Any:
        if environ["PATH_INFO"].startswith("/admin"):
            return Response("no", 403)(environ, start_response)
        return self.app(environ, start_response)


class Unknown:
    def __init__(self, app: Any) -> None:
        self.app = app
        self.rules: Any = None

    def __call__(self, environ: Any, start_response: Any) -> Any:
        if self.rules.check(environ):
            return self.app(environ, start_response)
        return []


def wrapping(app: Any) -> Any:
    def wrapped(environ: Any, start_response: Any) -> Any:
        if environ["REQUEST_METHOD"] == "POST":
            start_response("403 Forbidden", [])
            return [b""]
        return app(environ, start_response)

    return wrapped


@pytest.mark.parametrize(
    ("wrapper", "endpoint", "method", "said"),
    [
        (Gate, "other", "GET", "refuses"),
        (Headers, "other", "GET", "nothing"),
        (BelowAdmin, "admin", "GET", "refuses"),
        (BelowAdmin, "other", "GET", "nothing"),
        (Unknown, "other", "GET", "perhaps"),
        (wrapping, "other", "GET", "nothing"),
        (wrapping, "other", "POST", "refuses"),
        (ProxyFix, "other", "GET", "nothing"),
    ],
)
def test_what_middleware_does(wrapper: Any, endpoint: str, method: str, said: str) -> None:
    app = app_with()
    app.wsgi_app = wrapper(app.wsgi_app)  # type: ignore[method-assign]
    assert [each.does for each in around(app, endpoint, method)] == [said]


class Prefixed:
    """As ihatemoney has it: the app for its config, and what it wraps."""

    def __init__(self, app: Flask) -> None:
        self.app = app
        self.wsgi_app = app.wsgi_app

    def __call__(self, environ: Any, start_response: Any) -> Any:
        environ["SCRIPT_NAME"] = self.app.config["APPLICATION_ROOT"]
        return self.wsgi_app(environ, start_response)


class Lone:
    """What it wraps is out of sight; the app that it holds isn't it."""

    def __init__(self, app: Flask) -> None:
        self.app = app
        self._inner = [app.wsgi_app]

    def __call__(self, environ: Any, start_response: Any) -> Any:
        return self._inner[0](environ, start_response)


def test_middleware_that_keeps_the_app_beside_what_it_wraps_is_read_once() -> None:
    app = app_with()
    app.wsgi_app = Gate(app.wsgi_app)  # type: ignore[method-assign]
    app.wsgi_app = ProxyFix(Prefixed(app))  # type: ignore[method-assign]
    assert [type(each) for each in middleware(app)] == [ProxyFix, Prefixed, Gate]
    assert "refuses" in [each.does for each in around(app, "other")]


def test_middleware_that_hides_what_it_wraps_is_the_last_that_is_read() -> None:
    app = app_with()
    app.wsgi_app = ProxyFix(Lone(app))  # type: ignore[method-assign]
    assert [type(each) for each in middleware(app)] == [ProxyFix, Lone]


def test_middleware_that_wraps_itself_is_read_once() -> None:
    app = app_with()
    gate = Gate(app.wsgi_app)
    gate.app = gate
    app.wsgi_app = gate  # type: ignore[method-assign]
    assert list(middleware(app)) == [gate]


def test_middleware_is_read_apart_from_what_it_wraps() -> None:
    app = app_with()
    app.wsgi_app = Headers(Gate(app.wsgi_app))  # type: ignore[method-assign]
    assert [each.does for each in around(app, "other")] == ["nothing", "refuses"]
