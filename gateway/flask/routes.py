"""Flask's `url_map` as plain values, and Flask's own answer to "which route is this?"."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from flask import Flask
from werkzeug.exceptions import HTTPException, MethodNotAllowed
from werkzeug.routing import RequestRedirect

from gateway.flask.self_guards import Evidence, evidence, refuses
from gateway.inventory import Guards, LegacyAnswer, LegacyEndpoint, Scope
from gateway.templates import parse_flask

if TYPE_CHECKING:
    from collections.abc import Iterator

    from werkzeug.routing import Map, MapAdapter, Rule

#: A Werkzeug rule without `methods` accepts any; these are the ones worth a row of their own.
ANY_METHOD = frozenset({"DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT"})

#: Where middleware keeps what it wraps, by custom.
_WRAPPED = ("app", "wsgi_app", "application", "_app")
_MAX_WRAPPERS = 20
#: Every request goes through these methods of the app before its hooks.
_ENTRIES = ("__call__", "wsgi_app", "preprocess_request")
#: Middleware that turns nobody away.
_HARMLESS = ("werkzeug.middleware.",)

_NONE = LegacyAnswer("none")
_METHOD = LegacyAnswer("method")
_REDIRECT = LegacyAnswer("redirect")
_REFUSED = LegacyAnswer("refused")


class FlaskRoutes:
    """Routes of one Flask app. The app's own matcher is the only judge of a path."""

    opaque = False

    def __init__(self, app: Flask) -> None:
        self.app = app
        self.by_host = _depends_on_host(app)
        self._answers: dict[int, LegacyAnswer] = {}
        self._found: dict[tuple[str, str], tuple[Evidence, ...]] = {}
        # Without hosts every request binds the same way, so that one adapter serves them all.
        self._adapter: MapAdapter | None = None
        if not self.by_host:
            subdomain = app.url_map.default_subdomain
            self._adapter = app.url_map.bind("localhost", subdomain=subdomain)

    @property
    def open_converters(self) -> frozenset[str]:
        """Names of the converters whose values may hold a slash (Werkzeug, `part_isolating`)."""
        converters = self.app.url_map.converters
        return frozenset(name for name, kind in converters.items() if not kind.part_isolating)

    def endpoints(self) -> tuple[LegacyEndpoint, ...]:
        """List every rule that answers HTTP requests."""
        return tuple(
            self._endpoint(rule)
            for rule in self.app.url_map.iter_rules()
            if not rule.build_only and not rule.websocket
        )

    def _endpoint(self, rule: Rule) -> LegacyEndpoint:
        url_map: Map = self.app.url_map
        host = rule.host if url_map.host_matching else rule.subdomain
        if not url_map.host_matching and host == url_map.default_subdomain:
            host = ""
        view = self.app.view_functions.get(rule.endpoint)
        return LegacyEndpoint(
            template=parse_flask(rule.rule, self.open_converters),
            methods=ANY_METHOD if rule.methods is None else frozenset(rule.methods),
            endpoint=rule.endpoint,
            blueprint=rule.endpoint.rpartition(".")[0],
            host=host or "",
            view="" if view is None else f"{view.__module__}.{_qualname(view)}",
            ref=rule,
        )

    def answer(self, scope: Scope, method: str, path: str) -> LegacyAnswer:
        """Say what Flask's router does with `method` and `path`."""
        try:
            adapter = self._adapter or self._bind(scope)
        except HTTPException:
            return _REFUSED
        if adapter is None:
            return _NONE
        try:
            rule, _ = adapter.match(path, method, return_rule=True)
        except RequestRedirect:
            return _REDIRECT
        except MethodNotAllowed:
            return _METHOD
        except HTTPException:
            return _NONE
        known = self._answers.get(id(rule))
        if known is None:
            # One per rule of the map, so that this is bounded.
            known = self._answers[id(rule)] = LegacyAnswer("rule", rule)
        return known

    def allowed(self, scope: Scope, path: str) -> frozenset[str]:
        """List the methods that Flask knows for `path`."""
        try:
            adapter = self._adapter or self._bind(scope)
            return frozenset(adapter.allowed_methods(path)) if adapter else frozenset()
        except HTTPException:
            return frozenset()

    def guards(self, endpoint: LegacyEndpoint | None, method: str) -> Guards:
        """Say what guards an endpoint; user code is read, never run."""
        app = self.app
        names: list[str | None] = [None]
        blueprint = endpoint.blueprint if endpoint is not None else ""
        while blueprint:
            names.append(blueprint)
            blueprint = blueprint.rpartition(".")[0]
        hooks = [
            (f"{_qualified(hook)} ({name or 'app'})", hook)
            for name in names
            for hook in app.before_request_funcs.get(name, ())
        ]
        middleware = [(_qualified(each), each) for each in _middleware(app)]
        around = [*middleware, *hooks]
        found = self._evidence(endpoint, method) if endpoint is not None else ()
        refusing = [name for name, each in around if refuses(each)]
        refusing += [str(each) for each in found if each.refuses]
        return Guards(
            tuple(name for name, _ in middleware),
            tuple(name for name, _ in hooks),
            tuple(str(each) for each in found),
            refusing=frozenset(refusing),
            harmless=frozenset(name for name, _ in around if name.startswith(_HARMLESS)),
        )

    def self_guards(self, endpoint: LegacyEndpoint, method: str) -> tuple[str, ...]:
        """Say what the view itself may do to turn callers away; user code is read, never run."""
        return tuple(str(each) for each in self._evidence(endpoint, method))

    def _evidence(self, endpoint: LegacyEndpoint, method: str) -> tuple[Evidence, ...]:
        # Flask answers OPTIONS itself, after its hooks, unless the view has asked for it.
        if method == "OPTIONS" and getattr(endpoint.ref, "provide_automatic_options", False):
            return ()
        key = (endpoint.endpoint, method)
        if key not in self._found:
            view = self.app.view_functions.get(endpoint.endpoint)
            self._found[key] = evidence(view, method) if view is not None else ()
        return self._found[key]

    def _bind(self, scope: Scope) -> MapAdapter | None:
        return self.app.create_url_adapter(self.app.request_class(_host_environ(scope)))


def _middleware(app: Flask) -> Iterator[Any]:
    """Yield what is wrapped around the app, as far as wrappers say what they wrap.

    A subclass may do the same in methods of its own.
    """
    for name in _ENTRIES:
        method = getattr(type(app), name)
        if method is not getattr(Flask, name):
            yield method
    each = vars(app).get("wsgi_app")
    for _ in range(_MAX_WRAPPERS):
        if each is None or getattr(each, "__func__", None) is Flask.wsgi_app:
            return
        yield each
        held = getattr(each, "__dict__", {})
        each = next((held[name] for name in _WRAPPED if callable(held.get(name))), None)


def _qualified(function: Any) -> str:
    return f"{getattr(function, '__module__', '')}.{_qualname(function)}"


def _qualname(view: Any) -> str:
    return getattr(view, "__qualname__", type(view).__qualname__)


def _depends_on_host(app: Flask) -> bool:
    return bool(
        app.url_map.host_matching
        or app.subdomain_matching
        or app.config.get("SERVER_NAME")
        or app.config.get("TRUSTED_HOSTS")
        or type(app).create_url_adapter is not Flask.create_url_adapter
    )


def _host_environ(scope: Scope) -> dict[str, Any]:
    """Build as much of a WSGI environ as Flask reads to bind its map to a request."""
    server = scope.get("server") or ("localhost", 80)
    environ = {
        "REQUEST_METHOD": scope["method"],
        "SCRIPT_NAME": scope.get("root_path", ""),
        "PATH_INFO": scope["path"].encode().decode("latin-1"),
        "QUERY_STRING": scope.get("query_string", b"").decode("latin-1"),
        "SERVER_NAME": server[0],
        "SERVER_PORT": str(server[1] or 80),
        "wsgi.url_scheme": scope.get("scheme", "http"),
    }
    for name, value in scope["headers"]:
        if name == b"host":
            environ["HTTP_HOST"] = value.decode("latin-1")
    return environ
