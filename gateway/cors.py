"""Whether both sides speak CORS: a moved route must not lose what browsers rely on.

A preflight goes to the side that serves the method it asks about, so a route that moves from an
app with CORS to one without stops working in browsers, and only there.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from flask import Flask
from starlette.applications import Starlette
from starlette.middleware.cors import CORSMiddleware

from gateway.routing import UNMOVED, Coverage

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gateway.exceptions import Problem
    from gateway.loading import Loaded
    from gateway.routing import RouteTable


def cors_problems(loaded: Loaded, table: RouteTable, legacy: Any, native: Any) -> Iterator[Problem]:
    """Warn where only one of the two apps handles CORS and a route has left legacy."""
    moved = [r for r in table.routes if r.coverage is Coverage.BOTH and r.cutover not in UNMOVED]
    if not moved or not isinstance(legacy, Flask) or not isinstance(native, Starlette):
        return
    flask_has, native_has = _flask_cors(legacy), _native_cors(native)
    if flask_has == native_has:
        return
    one, other = ("legacy", "native") if flask_has else ("native", "legacy")
    yield loaded.source.problem(
        "cors-differs",
        ("routes",),
        f"the {one} app handles CORS, the {other} app doesn't, and {moved[0].id} has moved",
        "give both sides the same policy, or browsers see two",
        warning=True,
    )


def _flask_cors(app: Flask) -> bool:
    """Find Flask-CORS, which works by after_request, for the app or a blueprint."""
    hooks = (hook for hooks in app.after_request_funcs.values() for hook in hooks)
    return any(_is_flask_cors(hook) for hook in hooks)


def _is_flask_cors(hook: Any) -> bool:
    return str(getattr(hook, "__module__", "")).startswith("flask_cors")


def _native_cors(app: Starlette) -> bool:
    return any(
        isinstance(middleware.cls, type) and issubclass(middleware.cls, CORSMiddleware)
        for middleware in app.user_middleware
    )
