"""Flask's `url_map` as plain values, and Flask's own answer to "which route is this?"."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from flask import Flask, Request
from werkzeug.exceptions import HTTPException, MethodNotAllowed, NotFound
from werkzeug.middleware.dispatcher import DispatcherMiddleware
from werkzeug.routing import Map, RequestRedirect
from werkzeug.routing.rules import parse_converter_args

from gateway.guards import FlaskGuards, middleware
from gateway.inventory import Guards, LegacyAnswer, LegacyEndpoint, Scope
from gateway.legacy import EnvironBuilder
from gateway.templates import flask_pattern, parse_flask

if TYPE_CHECKING:
    from werkzeug.routing import MapAdapter, Rule

#: A Werkzeug rule without `methods` accepts any; these are the ones worth a row of their own.
ANY_METHOD = frozenset({"DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT"})

#: Adapters that are kept: one for each Host header that clients send.
_MAX_ADAPTERS = 256
_UNASKED = object()
_ENVIRONS = EnvironBuilder()

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
        self._adapters: dict[object, Any] = {}
        self._guards = FlaskGuards(app)
        self._made_of = _parts(app)

    @property
    def is_current(self) -> bool:
        """Whether the app still has the views, hooks and settings that were looked at."""
        try:
            return bool(self._made_of == _parts(self.app))
        except Exception:  # noqa: BLE001 - settings are the user's objects
            return False

    @property
    def open_converters(self) -> frozenset[str]:
        """Names of the converters whose values may hold a slash (Werkzeug, `part_isolating`)."""
        converters = self.app.url_map.converters
        return frozenset(name for name, kind in converters.items() if not kind.part_isolating)

    @property
    def mounted(self) -> tuple[str, ...]:
        """Path prefixes that Werkzeug's DispatcherMiddleware hands to another app."""
        return tuple(
            prefix
            for each in middleware(self.app)
            if isinstance(each, DispatcherMiddleware)
            for prefix in each.mounts
        )

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
            any_method=rule.methods is None,
            pattern=_pattern(rule),
            function=view,
        )

    def answer(self, scope: Scope, method: str, path: str) -> LegacyAnswer:
        """Say what Flask's router does with `method` and `path`, sent as `scope` tells."""
        try:
            adapter = self._adapter_for(scope)
            if adapter is None:
                return _REFUSED
            rule, _ = adapter.match(_seen_path(scope, path), method, return_rule=True)
        except RequestRedirect:
            return _REDIRECT
        except MethodNotAllowed:
            return _METHOD
        except NotFound:
            return _NONE
        except Exception:  # noqa: BLE001 - a converter that needs Flask's contexts: Flask will say
            return _REFUSED
        known = self._answers.get(id(rule))
        if known is None:
            # One per rule of the map, so that this is bounded.
            known = self._answers[id(rule)] = LegacyAnswer("rule", rule)
        return known

    def plain(self, scope: Scope) -> bool:
        """Tell whether Flask looks at nothing but method and path."""
        if self.by_host or scope.get("root_path"):
            return False
        head = _head(scope)
        if head is None:
            return False
        known = self._adapters.get(head, _UNASKED)
        if known is _UNASKED:
            known = self._adapter_for(scope)
        return known is not None and not known.websocket

    def allowed(self, scope: Scope, path: str) -> frozenset[str]:
        """List the methods that Flask knows for `path`."""
        try:
            adapter = self._adapter_for(scope)
            seen = _seen_path(scope, path)
            return frozenset(adapter.allowed_methods(seen)) if adapter else frozenset()
        except Exception:  # noqa: BLE001 - as above
            return frozenset()

    def knows(self, scope: Scope, path: str) -> bool:
        """Tell whether Flask redirects `path` to one with a slash for some method.

        For other methods it says 404 (Werkzeug, `strict_slashes`). Or whether it knows it without
        the newline at its end, which FastAPI's patterns overlook (`$`).
        """
        whole = path.removesuffix("\n")
        if whole != path and self.allowed(scope, whole):
            return True
        return not whole.endswith("/") and bool(self.allowed(scope, f"{whole}/"))

    def _adapter_for(self, scope: Scope) -> MapAdapter | None:
        """Return the url map, bound to a request as Flask binds it; None where Flask refuses to.

        Without hosts in the map all requests of one head are bound alike, so that a few adapters
        serve them all.
        """
        head = None if self.by_host else _head(scope)
        if head is None:
            return self._bind(scope)
        known: Any = self._adapters.get(head, _UNASKED)
        if known is _UNASKED:
            # What else the request brings must not be kept for others of the same host.
            only = {**scope, "headers": [each for each in scope["headers"] if each[0] == b"host"]}
            try:
                known = self._bind(only)
            except HTTPException:
                known = None
            if len(self._adapters) >= _MAX_ADAPTERS:
                self._adapters.clear()
            self._adapters[head] = known
        adapter: MapAdapter | None = known
        return adapter

    def guards(self, endpoint: LegacyEndpoint | None, method: str) -> Guards:
        """Say what a caller of an endpoint meets; user code is read, never run."""
        return self._guards.guards(endpoint, method)

    def fingerprint(self, endpoint: LegacyEndpoint, method: str) -> str:
        """Hash the code of a view, its decorators and helpers, and of what is around it."""
        return self._guards.fingerprint(endpoint, method)

    def _bind(self, scope: Scope) -> MapAdapter | None:
        request = self.app.request_class(_ENVIRONS.build(_whole(scope)))
        return self.app.create_url_adapter(request)


def _pattern(rule: Rule) -> str:
    """Return the regex that reads the rule's parameters out of a path; "" where it can't be made.

    It is made of the regexes of the app's own converters, so that it splits a path as they do.
    """

    def converter_regex(name: str, converter: str, arguments: str) -> str:
        positional, keywords = parse_converter_args(arguments) if arguments else ((), {})
        return rule.get_converter(name, converter, positional, keywords).regex

    try:
        return flask_pattern(rule.rule, converter_regex)
    except Exception:  # noqa: BLE001 - a converter is the user's code
        return ""


def _qualname(view: Any) -> str:
    return getattr(view, "__qualname__", type(view).__qualname__)


def _depends_on_host(app: Flask) -> bool:
    return bool(
        app.url_map.host_matching
        or app.subdomain_matching
        or app.config.get("SERVER_NAME")
        or app.config.get("TRUSTED_HOSTS")
        or type(app.url_map) is not Map
        or type(app).create_url_adapter is not Flask.create_url_adapter
        or "create_url_adapter" in vars(app)
        or app.request_class is not Request
    )


def _parts(app: Flask) -> tuple[object, ...]:
    """Return what the answers about an app depend on, its url map aside: that is always asked."""
    hooks = (app.before_request_funcs, app.after_request_funcs, app.url_value_preprocessors)
    return (
        app.url_map,
        dict(app.view_functions),
        [{name: list(each) for name, each in kind.items()} for kind in hooks],
        {
            name: {code: dict(each) for code, each in codes.items()}
            for name, codes in app.error_handler_spec.items()
        },
        vars(app).get("wsgi_app"),
        app.request_class,
        app.response_class,
        dict(app.config),
    )


def _head(scope: Scope) -> object | None:
    """Return what else Flask's matching may depend on; None where that is more than the host.

    An upgrade makes a WebSocket of a request (Werkzeug, `Map.bind_to_environ`), and two content
    types make one that is refused.
    """
    host: bytes | None = None
    typed = False
    for name, value in scope["headers"]:
        if name == b"host":
            if host is not None:
                return None
            host = value
        elif name == b"content-type":
            if typed:
                return None
            typed = True
        elif name == b"upgrade":
            return None
    if host is None:
        return (None, scope.get("scheme"), tuple(scope.get("server") or ()))
    return (host, scope.get("scheme"))


def _seen_path(scope: Scope, path: str) -> str:
    """Return the path as Flask will see it: PATH_INFO, decoded (Werkzeug, `Request.path`)."""
    if not scope.get("root_path") and path.isascii():
        return path
    environ = _ENVIRONS.build({**_whole(scope), "headers": []})
    info: str = environ["PATH_INFO"]
    return info.encode("latin-1").decode("utf-8", "replace")


def _whole(scope: Scope) -> dict[str, Any]:
    """Return the scope with what a question may leave out and a request never does."""
    return {"http_version": "1.1", "scheme": "http", "query_string": b"", **scope}
