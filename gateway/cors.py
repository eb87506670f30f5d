"""Whether both sides speak CORS: a moved route must not lose what browsers rely on.

Flask-CORS works by `after_request`, so it stays around a native handler that inherits Flask's
hooks. What a hook can't carry is lost: `hooks: skip`, and `@cross_origin` on the view itself.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from flask import Flask
from starlette.applications import Starlette
from starlette.middleware.cors import CORSMiddleware

from gateway.routing import AUTOMATIC, UNMOVED, Coverage

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gateway.exceptions import Problem
    from gateway.loading import Loaded
    from gateway.routing import Route, RouteTable


def cors_problems(loaded: Loaded, table: RouteTable, legacy: Any, native: Any) -> Iterator[Problem]:
    """Warn once for each rule by which a route has left a side with CORS for one without."""
    if not isinstance(legacy, Flask) or not isinstance(native, Starlette):
        return
    native_has = _native_cors(native)
    told: set[tuple[int | None, str]] = set()
    for route in table.routes:
        moved = route.coverage is Coverage.BOTH and route.cutover not in UNMOVED
        if not moved or route.method in AUTOMATIC:
            continue
        by_hook, by_view = _hook_speaks(legacy, route), _view_speaks(legacy, route)
        kept = by_hook and _inherits(route)
        if (by_hook or by_view) == (native_has or kept):
            continue
        rule = route.rule.index if route.rule is not None else None
        one, other = ("native", "legacy") if native_has else ("legacy", "native")
        if (rule, one) in told:
            continue
        told.add((rule, one))
        next_ = "give both sides the same policy, or browsers see two"
        if by_hook:
            next_ = "say `hooks: inherit`, or give native the same policy by CORSMiddleware"
        elif by_view:
            next_ = "@cross_origin stays on the view: give native the same by CORSMiddleware"
        yield loaded.source.problem(
            "cors-differs",
            ("routes",) if rule is None else ("routes", rule),
            f"the {one} app handles CORS, the {other} app doesn't, and {route.id} has moved",
            next_,
            warning=True,
        )


def _inherits(route: Route) -> bool:
    """Tell whether Flask's hooks run around the native handler."""
    return route.hooks == "inherit" or (route.native is not None and route.native.wants_flask)


def _hook_speaks(app: Flask, route: Route) -> bool:
    """Find Flask-CORS among the hooks of the whole app, and of the view's blueprints."""
    names: list[str | None] = [None]
    parts = route.legacy.endpoint.split(".")[:-1] if route.legacy is not None else []
    names += [".".join(parts[: end + 1]) for end in range(len(parts))]
    hooks = (hook for name in names for hook in app.after_request_funcs.get(name, ()))
    return any(_is_flask_cors(hook) for hook in hooks)


def _view_speaks(app: Flask, route: Route) -> bool:
    """Find Flask-CORS's decorator `@cross_origin` around the view."""
    view: Any = app.view_functions.get(route.legacy.endpoint) if route.legacy is not None else None
    seen: set[int] = set()
    while view is not None and id(view) not in seen:
        seen.add(id(view))
        if _is_flask_cors_code(view):
            return True
        view = getattr(view, "__wrapped__", None)
    return False


def _is_flask_cors(hook: Any) -> bool:
    return str(getattr(hook, "__module__", "")).startswith("flask_cors")


def _is_flask_cors_code(function: Any) -> bool:
    """Tell where a function is written: a wrapper bears the name of what it wraps."""
    module = getattr(function, "__globals__", {}).get("__name__", "")
    return str(module).startswith("flask_cors")


def _native_cors(app: Starlette) -> bool:
    return any(
        isinstance(middleware.cls, type) and issubclass(middleware.cls, CORSMiddleware)
        for middleware in app.user_middleware
    )
