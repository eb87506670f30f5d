"""What of native code can turn a caller away? For `gateway check` and `gateway routes --auth`.

FastAPI's security schemes and the ready-made guards do. What only lends something of Flask's does
not: `CurrentFlaskUser` is None for a stranger. A dependency of the team's own counts where it could
raise, and is `sure` where its code answers 401 or 403. User code is read, never run.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from fastapi.security.base import SecurityBase
from starlette.applications import Starlette

from gateway.auth import current_principal
from gateway.flask.raising import may_raise
from gateway.flask.self_guards import evidence, refuses
from gateway.flask.sessions import DEPENDENCIES
from gateway.native.candidate import Candidate, Nested

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gateway.inventory import NativeEndpoint

#: Middleware of these packages turns no stranger away ...
_HARMLESS = ("starlette.middleware.", "fastapi.middleware.")
#: ... but this one does.
_AUTHENTICATION = "starlette.middleware.authentication."
#: Ours that aren't named in DEPENDENCIES all refuse: ApiToken, BearerJwt, flask_login.
_READY_MADE = ("gateway.auth.", "gateway.flask.")

#: Route classes that look at nothing by themselves.
_ROUTES = ("starlette.", "fastapi.", "gateway.flask.")


@dataclass(frozen=True, slots=True)
class Refuser:
    """Something that can turn a caller away; `sure` where its code is known to do so."""

    what: str
    sure: bool


def of_endpoint(endpoint: NativeEndpoint, app: object) -> tuple[Refuser, ...]:
    """List what can turn a caller away from a native route: middleware, dependencies, handler.

    `app` is the native app. Dependencies of the app and its routers are the route's, too.
    """
    before = [*_middleware(app), *_of_mounts(endpoint.ref), *_of_route(endpoint.ref)]
    inside = [*of_dependencies(endpoint.dependant), *_of_handler(endpoint.handler)]
    return tuple(dict.fromkeys([*before, *inside]))


def _of_handler(handler: Any) -> Iterator[Refuser]:
    signs = evidence(handler, "") if handler is not None else ()
    sure = [str(each) for each in signs if each.refuses]
    wraps = [str(each) for each in signs if each.what.startswith("is decorated by")]
    if sure:
        yield Refuser(f"the handler itself: {', '.join(sure)}", sure=True)
    # FastAPI reads a handler's signature, so its decorators use functools.wraps; what else looks
    # like one is a function that the handler calls.
    elif wraps and hasattr(_without_ours(handler), "__wrapped__"):
        yield Refuser(f"the handler itself: {', '.join(wraps)}", sure=False)


def _without_ours(handler: Any) -> Any:
    """Return what a FlaskRoute has wrapped; any other handler as it is."""
    code = getattr(handler, "__globals__", {})
    ours = str(code.get("__name__", "")).startswith("gateway.flask.")
    return handler.__wrapped__ if ours and hasattr(handler, "__wrapped__") else handler


def of_dependencies(dependant: Any) -> Iterator[Refuser]:
    """Yield the dependencies right below `dependant`, FastAPI's own tree, that can refuse."""
    for each in getattr(dependant, "dependencies", ()):
        if _can_refuse(each):
            yield Refuser(f"the dependency {_name(each.call)}", sure=_is_sure(each))


def _can_refuse(dependant: Any) -> bool:
    call = dependant.call
    if any(call is each for each in (*DEPENDENCIES, current_principal)):
        return False
    if isinstance(call, SecurityBase):
        return bool(getattr(call, "auto_error", True))
    return may_raise(call) or any(_can_refuse(each) for each in dependant.dependencies)


def _is_sure(dependant: Any) -> bool:
    """Tell whether a dependency that can refuse is known to do so."""
    call = dependant.call
    if isinstance(call, SecurityBase) or _name(call).startswith(_READY_MADE) or refuses(call):
        return True
    return any(_can_refuse(each) and _is_sure(each) for each in dependant.dependencies)


def _of_route(ref: object) -> Iterator[Refuser]:
    """Yield a route class of the team's own: it may look at the request before anybody else."""
    while isinstance(ref, Nested):
        ref = ref.child
    if isinstance(ref, Candidate):
        kind = type(ref.top if ref.leaf is None else ref.leaf.original)
        name = f"{kind.__module__}.{kind.__qualname__}"
        if not name.startswith(_ROUTES):
            yield Refuser(f"the route class {name}", sure=False)


def _middleware(app: object) -> Iterator[Refuser]:
    for each in app.user_middleware if isinstance(app, Starlette) else ():
        name = _name(each.cls)
        if not name.startswith(_HARMLESS) or name.startswith(_AUTHENTICATION):
            yield Refuser(f"the native middleware {name}", sure=False)


def _of_mounts(ref: object) -> Iterator[Refuser]:
    """Yield the middleware of mounted apps on the way to a route."""
    while isinstance(ref, Nested):
        mount: Any = ref.mount.route
        inner = getattr(mount, "_base_app", mount.app)
        if inner is not mount.app:
            yield Refuser(f"the middleware of the mount {mount.path}", sure=False)
        yield from _middleware(inner)
        ref = ref.child


def _name(call: Any) -> str:
    while isinstance(call, partial):
        call = call.func
    named = call if hasattr(call, "__qualname__") else type(call)
    return f"{named.__module__}.{named.__qualname__}"
