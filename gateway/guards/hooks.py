"""What a caller meets on the way to a Flask view: middleware, hooks, and the view itself."""

from __future__ import annotations

import hashlib
from functools import partial
from types import MethodType
from typing import TYPE_CHECKING, Any

from flask import Flask

from gateway.guards import source
from gateway.guards.frame import Facts, Finding, Outcome
from gateway.guards.known import is_known
from gateway.guards.reader import Reader
from gateway.guards.values import (
    ANY_DATA,
    ANYTHING,
    ENVIRON,
    START_RESPONSE,
    Known,
    Routed,
    RoutePath,
    Values,
)
from gateway.inventory import Guard, Guards

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from gateway.guards.values import Value
    from gateway.inventory import Does, LegacyEndpoint

#: Where middleware keeps what it wraps, by custom.
_WRAPPED = ("app", "wsgi_app", "application", "_app")
_MAX_WRAPPERS = 20
#: Every request goes through these methods of the app before its hooks.
_ENTRIES = (
    "__call__",
    "wsgi_app",
    "preprocess_request",
    "full_dispatch_request",
    "dispatch_request",
)
_CSRF = "flask_wtf.csrf.CSRFProtect"
_ORDER: tuple[Does, ...] = ("refuses", "perhaps", "identifies", "nothing")


class FlaskGuards:
    """Reads one Flask app's guards, route by route."""

    def __init__(self, app: Flask) -> None:
        self.app = app
        self._reader = Reader(app)
        #: By function and place, as `Reader` keeps what it has read of functions.
        self._read: dict[tuple[int, str], dict[frozenset[str], dict[object, Outcome]]] = {}
        self._prepared = False

    def guards(self, endpoint: LegacyEndpoint | None, method: str) -> Guards:
        """Say what a caller of a route meets; None stands for a path that Flask doesn't know."""
        facts = facts_of(endpoint, method)
        around = tuple(
            guard(name, place, outcome.findings) for name, place, outcome in self._around(facts)
        )
        view = self._view_of(endpoint, method, facts)
        if view is None or endpoint is None:
            return Guards(around)
        return Guards(around, guard(endpoint.view, "view", view.findings))

    def fingerprint(self, endpoint: LegacyEndpoint, method: str) -> str:
        """Hash the source of a view, its decorators and helpers, and of what is around it."""
        facts = facts_of(endpoint, method)
        outcomes = [outcome for _, _, outcome in self._around(facts)]
        view = self._view_of(endpoint, method, facts)
        return fingerprint([*outcomes, *([view] if view is not None else [])],
                           [name for name, _, _ in self._around(facts)])  # fmt: skip

    def _view_of(
        self, endpoint: LegacyEndpoint | None, method: str, facts: Facts
    ) -> Outcome | None:
        if endpoint is None:
            return None
        # Flask answers OPTIONS itself, after its hooks, unless the view has asked for it.
        if method == "OPTIONS" and getattr(endpoint.ref, "provide_automatic_options", False):
            return None
        view = self.app.view_functions.get(endpoint.endpoint)
        if view is None:
            return None
        return self._outcome(view, "view", facts, (), self._values_of(endpoint))

    def _values_of(self, endpoint: LegacyEndpoint) -> Values:
        """Return what a view's parameters may be: plain data, unless a converter is the team's."""
        for name in endpoint.template.converters:
            kind = self.app.url_map.converters.get(name)
            if kind is not None and source.is_own(kind):
                return ANYTHING
        return ANY_DATA

    def _around(self, facts: Facts) -> Iterator[tuple[str, Any, Outcome]]:
        self._prepare()
        app = self.app
        wsgi: tuple[Values, ...] = (frozenset({ENVIRON}), frozenset({START_RESPONSE}))
        wrapped = list(middleware(app))
        for each in wrapped:
            # Each for itself: what it wraps is read in its own turn.
            self._reader.outside = True
            self._reader.behind = frozenset(id(one) for one in wrapped if one is not each)
            method = each in [getattr(type(app), name) for name in _ENTRIES]
            args: tuple[Values, ...] = (frozenset({Known(app)}),) if method else ()
            if not method or getattr(each, "__name__", "") in ("__call__", "wsgi_app"):
                args += wsgi
            answers = method and getattr(each, "__name__", "") not in ("__call__", "wsgi_app")
            yield (
                source.full_name(each) if not isinstance(each, type) else str(each),
                "middleware",
                self._outcome(each, "middleware", facts, args, ANY_DATA, answers=answers),
            )
        self._reader.behind = frozenset()
        self._reader.outside = False
        names: list[str | None] = [None, *reversed(facts.blueprints)]
        groups: tuple[tuple[Any, str], ...] = (
            (app.url_value_preprocessors, " values"),
            (app.before_request_funcs, ""),
            (app.after_request_funcs, " after"),
        )
        for funcs, kind in groups:
            for name in names:
                for hook in funcs.get(name, ()):
                    args = ()
                    if kind == " values":
                        args = (frozenset({Routed(facts.endpoint)}), ANY_DATA)
                    if kind == " after":
                        given: Value = self._reader.make(app.response_class, "hook")
                        args = (frozenset({given}),)
                    yield (
                        f"{source.full_name(hook)} ({name or 'app'}{kind and ':'}{kind})",
                        "hook",
                        self._outcome(hook, f"hook{kind}", facts, args, ANY_DATA,
                                      answers=kind != " values"),
                    )  # fmt: skip

    def _prepare(self) -> None:
        """Read all hooks once, so that it is known what they put into `g`."""
        if self._prepared:
            return
        self._prepared = True
        adopt(_written_in(self.app))
        for hooks in self.app.before_request_funcs.values():
            for hook in hooks:
                self._reader.read(hook, Facts())

    def _outcome(
        self,
        function: Any,
        place: str,
        facts: Facts,
        args: tuple[Values, ...],
        rest: Values,
        *,
        answers: bool = True,
    ) -> Outcome:
        by_names = self._read.setdefault((id(function), place), {})
        for names, by_facts in by_names.items():
            found = by_facts.get(facts.of(names))
            if found is not None:
                return found
        if place == "hook" and source.full_name(function).startswith(_CSRF):
            outcome = self._csrf(function, facts)
        else:
            outcome = self._reader.read(function, facts, args, rest, answers=answers)
        # `url_value_preprocessor`s are given the endpoint.
        names = outcome.routed | ({"endpoint"} if place == "hook values" else set())
        by_names.setdefault(names, {})[facts.of(names)] = outcome
        return outcome

    def _csrf(self, hook: Any, facts: Facts) -> Outcome:
        """Read Flask-WTF's own hook: it refuses methods that write, by 400, but knows nobody."""
        methods = self.app.config.get("WTF_CSRF_METHODS") or {"POST", "PUT", "PATCH", "DELETE"}
        checks = self.app.config.get("WTF_CSRF_ENABLED", True)
        checks = checks and self.app.config.get("WTF_CSRF_CHECK_DEFAULT", True)
        held = source.plain_dict(source.cells(hook).get("self"))
        view = self.app.view_functions.get(facts.endpoint or "")
        name = f"{getattr(view, '__module__', '')}.{getattr(view, '__name__', '')}"
        exempt = (
            view is None
            or name in held.get("_exempt_views", ())
            or facts.blueprint in held.get("_exempt_blueprints", ())
            or any(getattr(each, "name", None) == facts.blueprint
                   for each in held.get("_exempt_blueprints", ()))
        )  # fmt: skip
        if not checks or exempt or facts.method not in methods:
            return Outcome(routed=_OF_CSRF)
        return Outcome((Finding("refuses", "refuses without a CSRF token"),), routed=_OF_CSRF)


#: On which facts of a route it depends whether CSRF is checked.
_OF_CSRF = frozenset({"endpoint", "blueprint", "method"})


def adopt(modules: Iterable[str]) -> None:
    """Have the packages of these modules read as the team's own, unless they are known by name.

    For modules in which apps, views, hooks and handlers are written.
    """
    roots = {each.partition(".")[0] for each in modules}
    source.adopt(each for each in roots if each and not is_known(each))


def _written_in(app: Flask) -> Iterator[str]:
    """Name the modules in which an app, its blueprints, views, hooks and middleware are written."""
    yield from (app.import_name, source.home(type(app)))
    yield from (each.import_name for each in app.blueprints.values())
    groups: tuple[Any, ...] = (
        app.url_value_preprocessors, app.before_request_funcs, app.after_request_funcs,
    )  # fmt: skip
    hooks = [hook for funcs in groups for each in funcs.values() for hook in each]
    for each in (*app.view_functions.values(), *hooks, *middleware(app)):
        for one in layers(each):
            yield source.home(one)


def layers(function: Any) -> Iterator[Any]:
    """Yield a view or hook, what decorators have kept of it, and the class that it is made of."""
    for _ in range(_MAX_WRAPPERS):
        while isinstance(function, partial | MethodType):
            if isinstance(function, MethodType):
                yield type(function.__self__)
                function = function.__func__
            else:
                function = function.func
        yield function
        held = source.plain_dict(function)
        if isinstance(held.get("view_class"), type):
            yield held["view_class"]
        function = held.get("__wrapped__")
        if function is None:
            return


def facts_of(endpoint: LegacyEndpoint | None, method: str) -> Facts:
    """Return what is known of every request for a route."""
    if endpoint is None:
        return Facts(method=method, given=True, path=RoutePath(""))
    rule = str(getattr(endpoint.ref, "rule", endpoint.template.source))
    strict = getattr(endpoint.ref, "strict_slashes", True)
    path: Any = RoutePath(rule.partition("<")[0])
    if endpoint.template.static:
        loose = not strict and rule.endswith("/")
        path = RoutePath(rule.rstrip("/")) if loose else Known(rule)
    return Facts(endpoint.endpoint, endpoint.blueprint or None, rule, method, path, given=True)


def guard(name: str, place: Any, findings: Iterable[Finding]) -> Guard:
    """Sum up what was read of one thing on the way."""
    ordered = sorted(dict.fromkeys(findings), key=lambda each: _ORDER.index(each.does))
    does: Does = ordered[0].does if ordered else "nothing"
    return Guard(name, place, does, tuple(str(each) for each in ordered))


def fingerprint(outcomes: Iterable[Outcome], names: Iterable[str] = ()) -> str:
    """Hash the code that was read: 16 hexadecimal digits."""
    codes = {
        f"{code.co_qualname} {source.digest(code)}" for each in outcomes for code in each.codes
    }
    text = "\n".join([*sorted(codes), *names])
    return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()


def middleware(app: Flask) -> Iterator[Any]:
    """Yield what is wrapped around the app, as far as wrappers say what they wrap.

    A subclass may do the same in methods of its own.
    """
    for name in _ENTRIES:
        method = getattr(type(app), name)
        if method is not getattr(Flask, name):
            yield method
    each, seen = vars(app).get("wsgi_app"), [app]
    while each is not None and getattr(each, "__func__", None) is not Flask.wsgi_app:
        if any(each is one for one in seen) or len(seen) > _MAX_WRAPPERS:
            return
        yield each
        seen.append(each)
        held = source.plain_dict(each)
        # Some keep the app as well, for its config: that isn't what they wrap.
        inner = (held.get(name) for name in _WRAPPED if held.get(name) is not app)
        each = next((one for one in inner if callable(one)), None)
