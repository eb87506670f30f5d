"""Views, and methods of Flask's own (on class, subclass or object), that somebody has replaced.

Agents that measure an app do so (`Flask.dispatch_request = …`), before our methods are installed or
after, and others might guard an app that way. What such a method does can't be told by its name: a
copy made by `functools.wraps` has the original's. But a function keeps the globals of the module in
which it was written. A view may be wrapped at any time, as Flask looks it up for each request.
"""

from __future__ import annotations

from operator import itemgetter
from types import FunctionType, MethodType
from typing import TYPE_CHECKING, Any

from flask import Flask

if TYPE_CHECKING:
    from gateway.config import Auth
    from gateway.routing import Route

#: What Flask calls on the way of a request.
ON_THE_WAY = (
    "__call__",
    "wsgi_app",
    "request_context",
    "create_url_adapter",
    "full_dispatch_request",
    "preprocess_request",
    "dispatch_request",
    "ensure_sync",
    "finalize_request",
    "process_response",
)
_on_the_way = itemgetter(*ON_THE_WAY)
#: Who may guard a native handler only where the view was found to guard itself by nothing else.
_RELYING: frozenset[Auth | None] = frozenset({"hooks", "shared"})


class _Known:
    """What was looked at last, as it is looked at for each request."""

    way: tuple[Any, ...] = ()
    patched: bool = False
    own: dict[str, Any] = {}  # noqa: RUF012 - one for all: there is one class Flask


def is_patched() -> bool:
    """Tell whether anything else than Flask's own methods is on the way of a request."""
    way = _on_the_way(vars(Flask))
    if way != _Known.way:
        _Known.patched = not all(map(_is_flask_s, way))
        _Known.way = way
    return _Known.patched


def other_than_flask_s(name: str, method: Any) -> str | None:
    """Name what is there in the place of Flask's own method `name`; None: it is Flask's."""
    if method is _Known.own.get(name):
        return None
    found: Any = method.__func__ if type(method) is MethodType else method
    if _is_flask_s(found):
        _Known.own[name] = found
        return None
    if type(found) is FunctionType:
        return f"{found.__globals__.get('__name__')}.{found.__code__.co_qualname}"
    return f"{type(found).__module__}.{type(found).__qualname__}"


def has_other_view(app: Flask, route: Route | None) -> bool:
    """Tell whether a moved route's view is another one than `check` has read: it may be guarded.

    False where the rule says that somebody else guards native, or nobody.
    """
    view = route.legacy if route is not None and route.auth in _RELYING else None
    return view is not None and app.view_functions.get(view.endpoint) is not view.function


def _is_flask_s(method: object) -> bool:
    # Not `isinstance`: the wrappers of wrapt say that they are of the class that they wrap.
    module = method.__globals__.get("__name__") if type(method) is FunctionType else None
    return str(module).partition(".")[0] == "flask"
