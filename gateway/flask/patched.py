"""Methods of Flask's own class, and views, that somebody has replaced.

Agents that measure an app do so (`Flask.dispatch_request = …`), before our methods are installed or
after, and others might guard an app that way. What such a method does can't be told by its name: a
copy made by `functools.wraps` has the original's. But a function keeps the globals of the module in
which it was written. A view may be wrapped at any time, as Flask looks it up for each request.
"""

from __future__ import annotations

from operator import itemgetter
from types import FunctionType
from typing import TYPE_CHECKING, Any

from flask import Flask

if TYPE_CHECKING:
    from gateway.config import Auth
    from gateway.routing import Route

#: What Flask calls on the way of a request.
_ON_THE_WAY = (
    "__call__",
    "wsgi_app",
    "request_context",
    "create_url_adapter",
    "full_dispatch_request",
    "preprocess_request",
    "dispatch_request",
    "finalize_request",
    "process_response",
)
_on_the_way = itemgetter(*_ON_THE_WAY)
#: Who may guard a native handler only where the view was found to guard itself by nothing else.
_RELYING: frozenset[Auth | None] = frozenset({"hooks", "shared"})


class _Known:
    """What was looked at last, as it is looked at for each request."""

    way: tuple[Any, ...] = ()
    patched: bool = False
    dispatch: Any = None


def is_patched() -> bool:
    """Tell whether anything else than Flask's own methods is on the way of a request."""
    way = _on_the_way(vars(Flask))
    if way != _Known.way:
        _Known.patched = not all(map(_is_flask_s, way))
        _Known.way = way
    return _Known.patched


def other_dispatch(cls: type[Flask]) -> str | None:
    """Name what would call the views in the place of `Flask.dispatch_request`; None: nothing does.

    A native handler stands in for that method, so that whatever else it does would be left out.
    """
    found = cls.dispatch_request
    if found is _Known.dispatch:
        return None
    if _is_flask_s(found):
        _Known.dispatch = found
        return None
    if isinstance(found, FunctionType):
        return f"{found.__globals__.get('__name__')}.{found.__code__.co_name}"
    return f"{type(found).__module__}.{type(found).__qualname__}"


def has_other_view(app: Flask, route: Route | None) -> bool:
    """Tell whether a moved route's view is another one than `check` has read: it may be guarded.

    False where the rule says that somebody else guards native, or nobody.
    """
    view = route.legacy if route is not None and route.auth in _RELYING else None
    return view is not None and app.view_functions.get(view.endpoint) is not view.function


def _is_flask_s(method: object) -> bool:
    module = method.__globals__.get("__name__") if isinstance(method, FunctionType) else None
    return str(module).partition(".")[0] == "flask"
