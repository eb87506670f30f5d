"""Where a guard stands: the templates of one route, and how they read a request's path.

A route may have a Flask template, a native one, or both. Flask's is read by the regexes of Flask's
own converters, and gives the raw text; FastAPI then converts it to what the dependency declares. A
native template is read by Starlette's convertors. Where both fit, they must read the same text.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from functools import lru_cache
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple

from starlette.routing import compile_path

from gateway.routing import native_template
from gateway.templates import label_pattern, normalise, parse_native

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from starlette.convertors import Convertor

    from gateway.inventory import LegacyEndpoint, NativeEndpoint
    from gateway.routing import Route, RouteTable
    from gateway.templates import Template

#: Native kinds whose template ends in a parameter that is ours: the rest of the path.
_OPEN_KINDS = ("mount", "frontend")


class Guarded(NamedTuple):
    """The route that the shared guard guards, for one request.

    `path` is the route's template in FastAPI's syntax; every name of its parameters is in it.
    `route` and `endpoint` are what FastAPI puts into the scope; None where only legacy has the
    route: then the guard puts a route of its own there, with that template.
    """

    path: str
    params: Mapping[str, Any] = MappingProxyType({})
    requires: frozenset[str] = frozenset()
    route: object = None
    endpoint: object = None

    @classmethod
    def by_native(
        cls,
        endpoint: NativeEndpoint,
        params: Mapping[str, Any],
        requires: frozenset[str] = frozenset(),
    ) -> Guarded:
        """Stand on a native route whose parameters are known: what `NativeApp.find` has found."""
        path = _place_of_native(endpoint).path
        return cls(path, dict(params), requires, endpoint.route, endpoint.handler)


@dataclass(frozen=True, slots=True)
class _Reading:
    """One template: `names` go by position. `regex` is None where it can't be read."""

    template: Template
    regex: re.Pattern[str] | None
    names: tuple[str, ...]
    convertors: Mapping[str, Convertor[Any]] = field(default_factory=dict)

    def match(self, path: str) -> re.Match[str] | None:
        """Return how the path fits, as it is or spelled as the template is; None if it doesn't."""
        regex = self.regex
        if regex is None:
            return None
        return regex.match(path) or regex.match(self.template.fit(path))

    def texts(self, match: re.Match[str]) -> tuple[str, ...]:
        """Return the raw text of each parameter."""
        return tuple(match[name] for name in self.names)

    def params(self, match: re.Match[str]) -> dict[str, Any]:
        """Return the parameters as their convertors make them, or as text where one refuses."""
        convertors = self.convertors
        try:
            if convertors:
                return {name: convertors[name].convert(match[name]) for name in self.names}
        except ValueError:
            pass
        return {name: match[name] for name in self.names}


@dataclass(frozen=True, slots=True)
class Place:
    """The templates of one route, compiled.

    `path` has all parameters that the route has, in FastAPI's syntax, and `written` their names.
    `names` are those that a dependency may take: not those that both templates have, but at
    different positions. A `strict` place is in front of a legacy app that may read `..` or `//` in
    its own way: there such paths fit no template.
    """

    path: str
    written: frozenset[str]
    names: frozenset[str]
    _readings: tuple[_Reading, ...]
    strict: bool = False

    def read(self, path: str, native_path: str) -> dict[str, Any] | None:
        """Return the parameters of a path; None where no template fits, or both disagree.

        `native_path` is the path below the native app's own root path.
        """
        if not self.written:
            return {}
        if self.strict and not _is_plain(path):
            return None
        first = self._readings[0]
        match = first.match(native_path if first.convertors else path)
        if len(self._readings) == 1:
            return first.params(match) if match is not None else None
        native = self._readings[1]
        by_native = native.match(native_path)
        if match is not None and by_native is not None:
            if first.texts(match) != native.texts(by_native):
                return None
            params = first.params(match) | native.params(by_native)
        elif match is not None:
            params = self._both(first.texts(match))
        elif by_native is not None:
            params = self._both(native.texts(by_native)) | native.params(by_native)
        else:
            return None
        return {name: value for name, value in params.items() if name in self.names}

    def _both(self, texts: tuple[str, ...]) -> dict[str, Any]:
        """Name what one template has read as both do: where they pair, position by position."""
        return {
            name: text
            for reading in self._readings
            for name, text in zip(reading.names, texts, strict=True)
        }


class Places:
    """The places of one table's guarded routes, compiled once.

    A row of the table whose method only one app has takes the other app's template from the rows
    of the same path: the names in the path don't change with the method.
    """

    def __init__(self, table: RouteTable) -> None:
        self._table = table  # it keeps the routes alive, whose ids are keys below
        self._views: dict[tuple[str, ...], LegacyEndpoint] = {}
        self._handlers: dict[tuple[str, ...], NativeEndpoint] = {}
        for route in table.routes:
            if route.legacy is not None and not route.legacy.host:
                self._views.setdefault(route.legacy.template.segments, route.legacy)
            if route.native is not None and route.native.kind == "route":
                self._handlers.setdefault(native_template(route.native).segments, route.native)
        self.guarded = tuple(route for route in table.routes if route.auth == "shared")
        self._by_route = {id(route): self._made(route) for route in self.guarded}
        sockets = (_place_of_native(each) for each in guarded_sockets(table))
        self.names = frozenset[str]().union(
            *(place.written for place in (*self._by_route.values(), *sockets))
        )
        """Every name that is a path parameter of a guarded route."""

    def of(self, route: Route) -> Place:
        """Return where a guard of `route` stands."""
        return self._by_route.get(id(route)) or self._made(route)

    def _made(self, route: Route) -> Place:
        legacy, native = route.legacy, route.native
        if legacy is None and native is not None and native.kind == "route":
            legacy = self._views.get(native_template(native).segments)
        elif legacy is not None and native is None and not legacy.host:
            native = self._handlers.get(legacy.template.segments)
        return _place(
            legacy.template if legacy is not None else None,
            legacy.pattern if legacy is not None else "",
            native_template(native) if native is not None else None,
            native.kind if native is not None else "",
            route.label,
            strict=self._table.legacy.opaque,
        )


def guarded_sockets(table: RouteTable) -> Iterator[NativeEndpoint]:
    """Yield the WebSocket routes that `defaults` or a rule above them guard."""
    by_default = any(route.rule is None and route.auth == "shared" for route in table.routes)
    rules = [rule.template for rule in table.rules if rule.config.auth == "shared"]
    for endpoint in table.native.endpoints():
        if endpoint.kind != "websocket":
            continue
        below = native_template(endpoint)
        if by_default or any(each is not None and below.below(each) for each in rules):
            yield endpoint


def _place_of_native(endpoint: NativeEndpoint) -> Place:
    native = native_template(endpoint)
    return _place(None, "", native, endpoint.kind, endpoint.path, strict=False)


@lru_cache(maxsize=4096)
def _place(
    legacy: Template | None,
    pattern: str,
    native: Template | None,
    kind: str,
    label: str,
    *,
    strict: bool,
) -> Place:
    readings: list[_Reading] = []
    if legacy is not None:
        readings.append(_Reading(legacy, _compiled(pattern), legacy.names))
    if native is not None and kind != "host":
        readings.append(_native_reading(native, open_=kind in _OPEN_KINDS))
    if not readings and kind != "host":
        own = parse_native(label)
        # Legacy may be lenient about case.
        regex = re.compile(label_pattern(label), re.IGNORECASE | re.DOTALL)
        readings.append(_Reading(own, regex, own.names))
    names = [name for each in readings for name in each.names]
    clashing = {
        name
        for name in names
        if len({each.names.index(name) for each in readings if name in each.names}) > 1
    }
    path = label if native is None or legacy is not None else native.source
    if kind == "host":
        path = "/"
    if kind in _OPEN_KINDS:
        path = path.removesuffix("/{path:path}") or "/"
    known = parse_native(path).names
    more = dict.fromkeys(name for name in names if name not in known)
    return Place(
        path.rstrip("/") + "".join(f"/{{{name}}}" for name in more) if more else path,
        frozenset(names),
        frozenset(names) - clashing,
        tuple(readings),
        strict,
    )


def _is_plain(path: str) -> bool:
    """Tell whether nothing but case, and slashes at either end, may be read in another way."""
    return normalise(path) == ("/" + path.strip("/")).casefold().rstrip("/")


def _native_reading(template: Template, *, open_: bool) -> _Reading:
    names = template.names[:-1] if open_ else template.names
    try:
        regex, _, convertors = compile_path(template.source)
    except (ValueError, AssertionError):  # a mount's parameter that its child has, too
        return _Reading(template, None, names)
    return _Reading(template, regex, names, convertors)


def _compiled(pattern: str) -> re.Pattern[str] | None:
    try:
        return re.compile(pattern) if pattern else None
    except re.error:
        return None
