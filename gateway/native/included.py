"""What the gateway knows of FastAPI's private parts, all in this one place.

FastAPI up to 0.136 copies an included router's routes into the app. From 0.137 on it keeps the
router as one entry (`_IncludedRouter`), match it once more per nesting level, and offer no public
way from a path to the route below it. This module opens such entries and does for one route what
`_IncludedRouter.handle` and `_handle_selected` do, without their second search. Where a version
of FastAPI has other parts than those named here, `leaves` answers None: the entry is then asked
and run as a whole, as FastAPI itself does, which is slower and just as right; but the routes
below it are not listed, so none of them can be paired.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from operator import attrgetter
from typing import TYPE_CHECKING, Any

from fastapi import routing
from starlette.routing import BaseRoute, Match, Mount

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterator, Sequence

    from starlette.types import Receive, Scope, Send

    RouteSelected = Callable[..., None]

_included: Any = getattr(routing, "_IncludedRouter", None)
_context: Any = getattr(routing, "_EffectiveRouteContext", None)
_group: Any = getattr(routing, "_FrontendRouteGroup", None)
_scope_key: str = getattr(routing, "_FASTAPI_SCOPE_KEY", "")
_context_key: str = getattr(routing, "_FASTAPI_EFFECTIVE_ROUTE_CONTEXT_KEY", "")
_router_key: str = getattr(routing, "_FASTAPI_INCLUDED_ROUTER_KEY", "")
# Since 0.15x: tells FastAPI's own telemetry the template. OpenTelemetry's instrumentation walks
# `app.routes` itself and needs nothing.
_route_selected: RouteSelected | None = getattr(routing, "_route_selected", None)
_limit_forms: Any = getattr(routing, "_apply_router_form_limits", None)
_limit_body: Any = getattr(routing, "wrap_app_with_body_limit", None)

_VERSION = "_routes_version"
_version = attrgetter(_VERSION)
_MISSING = object()


def _has(cls: Any, *names: str) -> bool:
    return all(name in getattr(cls, "__dataclass_fields__", ()) for name in names)


#: Whether this FastAPI's included routers are built as this module expects.
UNDERSTOOD = bool(
    _has(_included, "original_router", "include_context")
    and hasattr(_included, "effective_candidates")
    and _has(_context, "original_route", "starlette_route", "path")
    and _scope_key
    and _context_key
    and _router_key
)


@dataclass(frozen=True, slots=True, eq=False)
class Leaf:
    """One route below an included router, with the routers that lead to it, outermost first."""

    branches: tuple[Any, ...]
    context: Any
    original: BaseRoute
    effective: Any
    limits: tuple[Any, ...]
    handle: Callable[[Scope, Receive, Send], Coroutine[Any, Any, None]]
    plain: bool
    whole: Any = None
    """The outermost router, where one on the way decides by itself."""

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        """Ask the route, as `_IncludedRouter._match` does, and the routers on the way to it."""
        match, child_scope = self._matches(scope)
        if self.whole is not None and match is not Match.NONE:
            match, _ = self.whole.matches(scope)
        return match, child_scope

    def _matches(self, scope: Scope) -> tuple[Match, Scope]:
        if self.plain:
            match, child_scope = self.context.matches(scope)
            if match is not Match.NONE and isinstance(self.original, routing.APIRoute):
                child_scope["route"] = self.original
            return match, child_scope
        # The route's own `matches` reads the included prefix from the scope.
        inner = scope.setdefault(_scope_key, {})
        before = {key: inner.get(key, _MISSING) for key in (_context_key, _router_key)}
        inner[_context_key], inner[_router_key] = self.context, self.branches[-1]
        try:
            return self.original.matches(scope)
        finally:
            for key, value in before.items():
                if value is _MISSING:
                    inner.pop(key, None)
                else:
                    inner[key] = value

    def run(self, scope: Scope, receive: Receive, send: Send) -> Coroutine[Any, Any, None]:
        """Run the route in a scope that its `matches` has already been merged into."""
        if self.whole is not None:
            handled: Coroutine[Any, Any, None] = self.whole.handle(scope, receive, send)
            return handled
        inner = scope.setdefault(_scope_key, {})
        for limits in self.limits:
            _limit_forms(scope, limits)
        inner[_router_key] = self.branches[-1]
        select(scope, self.effective)
        inner[_context_key] = self.context
        if isinstance(self.original, routing.APIRoute):
            scope["route"] = self.original
        return self.handle(scope, receive, send)


def is_included(route: BaseRoute) -> bool:
    """Tell whether `route` stands for a whole included router."""
    return _included is not None and isinstance(route, _included)


def leaves(route: Any) -> list[Leaf] | None:
    """List the routes below an included router in FastAPI's order; None where it can't be read.

    A router with a `matches` or `handle` of its own may refuse whom the routes below it would let
    in: such routes are asked and run through it.
    """
    if not UNDERSTOOD:
        return None
    plain = all(_is_plain(each) for each in routers(route))
    found = _leaves(route, ())
    return list(found) if plain else [replace(leaf, whole=route) for leaf in found]


def _is_plain(router: Any) -> bool:
    return all(
        getattr(type(router), name, None) is getattr(routing.APIRouter, name, None)
        and name not in vars(router)
        for name in ("matches", "handle")
    )


def _leaves(branch: Any, above: tuple[Any, ...]) -> Iterator[Leaf]:
    branches = (*above, branch)
    for candidate in branch.effective_candidates():
        if isinstance(candidate, _included):
            yield from _leaves(candidate, branches)
        else:
            yield _leaf(branches, candidate)


def _leaf(branches: tuple[Any, ...], context: Any) -> Leaf:
    original = context.original_route
    is_api = isinstance(original, routing.APIRoute)
    effective = context if is_api else context.starlette_route or original
    contexts = [branch.include_context for branch in branches]
    limits = tuple(
        filter(None, (getattr(each, "form_limits", None) for each in contexts))
        if _limit_forms is not None
        else ()
    )
    handle = original.handle if is_api else effective.handle
    if not is_api and _limit_body is not None:
        # An APIRoute has the limit built into its app.
        handle = _limit_body(handle, getattr(contexts[-1], "max_body_size", None))
    plain = not is_api or (
        type(original).matches is routing.APIRoute.matches and "matches" not in vars(original)
    )
    return Leaf(branches, context, original, effective, limits, handle, plain)


def routers(route: Any) -> Iterator[Any]:
    """List the included router and those nested in it."""
    yield route.original_router
    for child in route.original_router.routes:
        if is_included(child):
            yield from routers(child)


def stamp(of: Sequence[Any]) -> object:
    """Return a value that changes when one of these routers gets or loses a route.

    FastAPI rebuilds what it knows of an included router when the private `_routes_version` has
    changed, and only then. The public list can't tell the same: it would have to be compared
    once per router and request, and changes that FastAPI doesn't see either would be seen.
    Where the counter is missing the lists are compared all the same.
    """
    try:
        return sum(map(_version, of))
    except AttributeError:
        return [list(router.routes) for router in of]


def select(scope: Scope, route: Any) -> None:
    """Tell FastAPI's own telemetry which template serves the request."""
    if _route_selected is not None and "fastapi.telemetry" in scope:
        _route_selected(
            scope=scope, path=getattr(route, "path_format", None), mount=isinstance(route, Mount)
        )


def frontends(router: Any) -> Iterator[tuple[str, BaseRoute]]:
    """List the paths given to `frontend()`, with prefixes, in FastAPI's order."""
    for route in getattr(router, "_low_priority_routes", ()):
        yield from _frontends("", route)
    for route in router.routes:
        if is_included(route) and hasattr(route, "effective_low_priority_routes"):
            for context in route.effective_low_priority_routes():
                yield from _frontends(context.frontend_prefix, context.original_route)


def _frontends(prefix: str, group: Any) -> Iterator[tuple[str, BaseRoute]]:
    if _group is None or not isinstance(group, _group):
        return
    for route in group.routes:
        yield (prefix + route.path).rstrip("/") or "/", route
