"""The Flask side of a world: real hooks and real middleware, made from what the world says.

Views do nothing but answer, so that all that refuses a caller is inherited by who stands in.
"""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

from flask import (
    Blueprint,
    Flask,
    Response,
    abort,
    redirect,
    request,
    request_started,
    session,
)
from flask_wtf.csrf import CSRFProtect
from werkzeug.exceptions import Forbidden
from werkzeug.middleware.dispatcher import DispatcherMiddleware
from werkzeug.middleware.proxy_fix import ProxyFix
from werkzeug.routing import Rule as WerkzeugRule

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

    from tests.guardfuzz.world import Guard, Layer, View, World

SECRET_KEY = "guardfuzz-guardfuzz-guardfuzz"
WORD = "sesame"
#: A value of a path parameter that a guard may keep to itself.
KEPT_VALUE = "13"


def build(world: World, *, guarded: bool = True) -> Flask:
    """Make the world's Flask app; without its guards and middleware unless `guarded`."""
    kinds = [g for g in world.guards if g.place == "subclass"] if guarded else []
    cls = _subclass(kinds[0]) if kinds else Flask
    app = cls(
        "legacy",
        static_folder=None,
        host_matching=world.host_matching,
        subdomain_matching=world.subdomain_matching,
    )
    app.url_map.merge_slashes = world.merge_slashes
    if world.secret_key:
        app.secret_key = SECRET_KEY
    app.config.update(
        SERVER_NAME=world.server_name,
        TRUSTED_HOSTS=list(world.trusted_hosts) or None,
        WTF_CSRF_TIME_LIMIT=None,
        WTF_CSRF_SSL_STRICT=False,
    )
    if guarded:
        if world.csrf:
            CSRFProtect(app)
        for guard in world.guards:
            if guard.place != "blueprint":
                _register(app, guard)
    _add_views(app, world, guarded=guarded)
    for layer in world.layers if guarded else ():
        _wrap(app, layer)
    return app


def _add_views(app: Flask, world: World, *, guarded: bool) -> None:
    blueprints: dict[str, Blueprint] = {}
    for view in world.views:
        name = view.blueprint
        while name:
            parent, _, local = name.rpartition(".")
            blueprints.setdefault(name, Blueprint(local, "legacy"))
            name = parent
    for guard in world.guards if guarded else ():
        if guard.place == "blueprint" and guard.blueprint in blueprints:
            blueprints[guard.blueprint].before_request(hook(guard))
    # Flask wants one function for all the rules of an endpoint.
    functions: dict[str, Callable[..., str]] = {}
    for view in world.views:
        function = functions.setdefault(view.endpoint, _view(view.endpoint))
        if view.methods is not None:
            _add_view(blueprints.get(view.blueprint, app), view, function)
    for name in sorted(blueprints, key=len, reverse=True):
        parent, _, _ = name.rpartition(".")
        blueprints.get(parent, app).register_blueprint(blueprints[name])
    for view in world.views:
        if view.methods is None:
            # Flask's own add_url_rule always makes a list.
            app.url_map.add(
                WerkzeugRule(view.template, endpoint=view.endpoint, **dict(view.options))
            )
            app.view_functions[view.endpoint] = functions[view.endpoint]


def _add_view(owner: Flask | Blueprint, view: View, function: Callable[..., str]) -> None:
    options = dict(view.options)
    if view.own_options:
        options["provide_automatic_options"] = False
    local = view.endpoint.rpartition(".")[2]
    assert view.methods is not None
    owner.add_url_rule(view.template, local, function, methods=list(view.methods), **options)


def _view(endpoint: str) -> Callable[..., str]:
    text = f"view:{endpoint};"

    def view(**values: Any) -> str:
        return text

    return view


# -- hooks ---------------------------------------------------------------------------------------


def _register(app: Flask, guard: Guard) -> None:
    function = hook(guard)
    if guard.place == "app":
        app.before_request(function)
    elif guard.place == "values":

        def preprocess(endpoint: str | None, values: dict[str, Any] | None) -> None:
            function()

        app.url_value_preprocessor(preprocess)
    elif guard.place == "signal":

        def started(sender: Flask, **_: Any) -> None:
            function()

        request_started.connect(started, app, weak=False)


def _subclass(guard: Guard) -> type[Flask]:
    function = hook(guard)

    class Guarded(Flask):
        def preprocess_request(self, *args: Any) -> Any:
            refused = function()
            return super().preprocess_request(*args) if refused is None else refused

    return Guarded


def hook(guard: Guard) -> Callable[[], Any]:
    """Make a `before_request` function."""

    def aborts() -> None:
        if concerns(guard) and not knows(guard.credential):
            abort(401)

    def returns() -> Any:
        if concerns(guard) and not knows(guard.credential):
            return "no", 401
        return None

    def redirects() -> Any:
        if concerns(guard) and not knows(guard.credential):
            return redirect("/login")
        return None

    def raises() -> None:
        if concerns(guard) and not knows(guard.credential):
            raise Forbidden

    hooks: dict[str, Callable[[], Any]] = {
        "abort": aborts, "return": returns, "redirect": redirects, "raise": raises,
    }  # fmt: skip
    # A preprocessor and a signal can't answer, they can only raise.
    return aborts if guard.place in ("values", "signal") else hooks[guard.refusal]


def concerns(guard: Guard) -> bool:
    """Tell whether a guard looks at the credentials of the current request."""
    about, rule = guard.about, request.url_rule
    asks: dict[str, Callable[[], bool]] = {
        "always": lambda: True,
        "endpoint": lambda: (request.endpoint or "").startswith(about),
        "known": lambda: request.endpoint is not None,
        "url_rule": lambda: rule is not None and rule.rule.startswith(about),
        "path": lambda: request.path.startswith(about),
        "full_path": lambda: (request.script_root + request.path).startswith(about),
        "url": lambda: urlsplit(request.url).path.startswith(about),
        "host": lambda: request.host.partition(":")[0].lower() != about,
        "method": lambda: request.method not in ("GET", "HEAD", "OPTIONS"),
        "scheme": lambda: request.scheme != "https",
        "values": lambda: KEPT_VALUE in map(str, (request.view_args or {}).values()),
        "blueprint": lambda: about in request.blueprints,
    }
    return asks[guard.asks]()


def knows(credential: str) -> bool:
    """Tell whether the current request has the right credential."""
    if credential == "session":
        return session.get("user") == "ada"
    if credential == "json":
        sent = request.get_json(silent=True)
        return isinstance(sent, dict) and sent.get("key") == WORD
    if credential == "basic":
        given = request.authorization
        return given is not None and given.type == "basic" and given.get("password") == WORD
    found: dict[str, Callable[[], str | None]] = {
        "token": lambda: request.headers.get("X-Token"),
        "bearer": lambda: request.headers.get("Authorization", "").removeprefix("Bearer "),
        "cookie": lambda: request.cookies.get("key"),
        "query": lambda: request.args.get("key"),
        "form": lambda: request.form.get("key"),
    }
    return found[credential]() == WORD


# -- middleware ----------------------------------------------------------------------------------


def _wrap(app: Flask, layer: Layer) -> None:
    inner = app.wsgi_app
    wrapped: WSGIApplication
    if layer.kind == "proxyfix":
        wrapped = ProxyFix(inner, x_for=1, x_proto=1, x_host=1, x_port=1, x_prefix=1)
    elif layer.kind == "mount":
        wrapped = DispatcherMiddleware(inner, {layer.about: _elsewhere})
    elif layer.kind == "view":
        wrapped = CallsView(inner, app, layer.about)
    elif layer.kind == "token":
        wrapped = WantsToken(inner, layer.about)
    else:
        wrapped = Rewrites(inner, layer)
    app.wsgi_app = wrapped  # type: ignore[method-assign]


def _elsewhere(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    return Response("elsewhere")(environ, start_response)


class WantsToken:
    """Turns callers away before Flask sees them."""

    def __init__(self, app: WSGIApplication, about: str) -> None:
        self.app, self.about = app, about

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        kept = environ.get("PATH_INFO", "").startswith(self.about)
        if kept and environ.get("HTTP_X_TOKEN") != WORD:
            start_response("401 Unauthorized", [("Content-Type", "text/plain")])
            return [b"no"]
        return self.app(environ, start_response)


class CallsView:
    """Calls a view by itself, as a cache or an RPC layer does, unless Flask's hooks say no."""

    def __init__(self, inner: WSGIApplication, app: Flask, about: str) -> None:
        self.inner, self.app, self.about = inner, app, about

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        if environ.get("PATH_INFO", "") != self.about or environ.get("HTTP_X_TOKEN") != WORD:
            return self.inner(environ, start_response)
        with self.app.request_context(environ):
            function = self.app.view_functions.get(request.endpoint or "")
            if function is None:
                return self.inner(environ, start_response)
            answer = function(**(request.view_args or {}))
            return Response(str(answer))(environ, start_response)


class Rewrites:
    """Changes method, path, prefix or host on the way in."""

    def __init__(self, app: WSGIApplication, layer: Layer) -> None:
        self.app, self.about = app, layer.about
        self.change: Callable[[WSGIEnvironment], None] = getattr(self, f"_{layer.kind}")

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        self.change(environ)
        return self.app(environ, start_response)

    def _override_header(self, environ: WSGIEnvironment) -> None:
        self._set_method(environ, environ.get("HTTP_X_HTTP_METHOD_OVERRIDE", ""))

    def _override_query(self, environ: WSGIEnvironment) -> None:
        self._set_method(environ, *parse_qs(environ.get("QUERY_STRING", "")).get("_method", ()))

    def _override_form(self, environ: WSGIEnvironment) -> None:
        if environ.get("CONTENT_TYPE", "").startswith("application/x-www-form-urlencoded"):
            body = environ["wsgi.input"].read()
            environ["wsgi.input"] = io.BytesIO(body)
            sent = parse_qs(body.decode("latin-1"))
            self._set_method(environ, *sent.get("_method", ()))

    def _set_method(self, environ: WSGIEnvironment, method: str = "", *_: str) -> None:
        if method.upper() in ("GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS"):
            environ["REQUEST_METHOD"] = method.upper()

    def _strip(self, environ: WSGIEnvironment) -> None:
        path = environ["PATH_INFO"]
        if path.startswith(self.about + "/"):
            environ["PATH_INFO"] = path[len(self.about) :]

    def _script(self, environ: WSGIEnvironment) -> None:
        path = environ["PATH_INFO"]
        if path.startswith(self.about + "/"):
            environ["SCRIPT_NAME"] = environ.get("SCRIPT_NAME", "") + self.about
            environ["PATH_INFO"] = path[len(self.about) :]

    def _original_url(self, environ: WSGIEnvironment) -> None:
        if environ.get("HTTP_X_ORIGINAL_URL", "").startswith("/"):
            environ["PATH_INFO"] = environ["HTTP_X_ORIGINAL_URL"].partition("?")[0]

    def _lower(self, environ: WSGIEnvironment) -> None:
        environ["PATH_INFO"] = environ["PATH_INFO"].lower()

    def _real_host(self, environ: WSGIEnvironment) -> None:
        if "HTTP_X_REAL_HOST" in environ:
            environ["HTTP_HOST"] = environ["HTTP_X_REAL_HOST"]
