"""What of native code can turn a caller away? For `gateway check` and `gateway routes --auth`.

FastAPI's security schemes and the ready-made guards do. What only lends something of Flask's does
not: `CurrentFlaskUser` is None for a stranger. A dependency of the team's own counts where it
could refuse, and is `sure` where its code answers 401 or 403. User code is read, never run.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from fastapi.security.base import SecurityBase
from starlette.applications import Starlette

from gateway.auth import current_principal
from gateway.guards import source
from gateway.guards.frame import Outcome
from gateway.guards.hooks import adopt, fingerprint, guard, layers
from gateway.guards.reader import Reader
from gateway.guards.values import Lib, Values
from gateway.native.candidate import Candidate, Nested

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from gateway.inventory import Does, NativeEndpoint

#: Middleware of these packages turns no stranger away ...
_HARMLESS = ("starlette.middleware.", "fastapi.middleware.")
#: ... but this one does.
_AUTHENTICATION = "starlette.middleware.authentication."
#: Ours that refuse; the others only lend what Flask knows.
_READY_MADE = ("gateway.auth.", "gateway.flask.borrowed.flask_login")
_OURS = "gateway.flask."
#: Signs of one handler that are named.
_MOST = 3
#: Route classes that look at nothing by themselves.
_ROUTES = ("starlette.", "fastapi.", "gateway.flask.")
#: What FastAPI passes to a function: texts, models, requests, what dependencies return.
_PARAMETERS: Values = frozenset({Lib()})


@dataclass(frozen=True, slots=True)
class Refuser:
    """Something that can turn a caller away; `sure` where its code is known to do so."""

    what: str
    sure: bool


class _Readings:
    """What was read of one native app. In a dependency any exception keeps callers out."""

    def __init__(self, app: object) -> None:
        self._handlers = Reader(app, native=True)
        self._dependencies = Reader(app, native=True)
        self._dependencies.any_raise = True
        self._known: dict[tuple[int, bool], Outcome] = {}

    def handler(self, function: Any, *, tuples: bool) -> Outcome:
        """Read a handler; `tuples` where `return "no", 403` is an answer, as in Flask."""
        key = (id(function), tuples)
        if key not in self._known:
            self._known[key] = self._handlers.read(function, rest=_PARAMETERS, answers=tuples)
        return self._known[key]

    def dependency(self, call: Any) -> Outcome:
        """Read a dependency's own code."""
        key = (id(call), False)
        if key not in self._known:
            self._known[key] = self._dependencies.read(call, rest=_PARAMETERS, answers=False)
        return self._known[key]


_by_app: WeakKeyDictionary[Any, _Readings] = WeakKeyDictionary()
_alone = _Readings(None)


def _readings(app: object) -> _Readings:
    if not isinstance(app, Starlette):
        return _alone
    if app not in _by_app:
        _by_app[app] = _Readings(app)
    return _by_app[app]


def adopt_native(
    app: object,
    endpoints: Iterable[NativeEndpoint],
    dependants: Iterable[object],
    named: Iterable[str],
) -> None:
    """Have the packages that native is written in read as the team's own, wherever they lie.

    They are those of handlers, dependencies, route classes and middleware, and of the modules
    `named` in the config. To be called before anything is read.
    """
    adopt({*named, source.home(type(app)), *_written_in(app, [*endpoints], [*dependants])})


def _written_in(app: object, endpoints: list[NativeEndpoint], pending: list[Any]) -> Iterator[str]:
    written: list[Any] = []
    if isinstance(app, Starlette):
        written += [each.cls for each in app.user_middleware]
    for endpoint in endpoints:
        written += [endpoint.handler, _kind(endpoint.ref)]
        pending.append(endpoint.dependant)
    while pending:
        dependant = pending.pop()
        written.append(getattr(dependant, "call", None))
        pending += getattr(dependant, "dependencies", ())
    for each in written:
        for layer in layers(each) if each is not None else ():
            yield source.home(layer)


def of_endpoint(endpoint: NativeEndpoint, app: object) -> tuple[Refuser, ...]:
    """List what can turn a caller away from a native route: middleware, dependencies, handler.

    `app` is the native app. Dependencies of the app and its routers are the route's, too.
    """
    before = [*_middleware(app), *_of_mounts(endpoint.ref), *_of_route(endpoint.ref)]
    readings = _readings(app)
    inside = [*_of_dependencies(endpoint.dependant, readings), *_of_handler(endpoint, readings)]
    return tuple(dict.fromkeys([*before, *inside]))


def of_dependencies(dependant: Any, app: object = None) -> Iterator[Refuser]:
    """Yield the dependencies right below `dependant`, FastAPI's own tree, that can refuse.

    `app` is the native app: its exception handlers say what an exception of the team's becomes.
    """
    return _of_dependencies(dependant, _readings(app))


def handler_fingerprint(endpoint: NativeEndpoint, app: object) -> str:
    """Hash the source of a handler, its dependencies and route class: 16 hexadecimal digits."""
    readings = _readings(app)
    outcomes = []
    if endpoint.handler is not None:
        outcomes.append(readings.handler(endpoint.handler, tuples=endpoint.wants_flask))
    names = [f"{endpoint.module}.{endpoint.qualname}", _route_class(endpoint.ref)]
    pending = [*getattr(endpoint.dependant, "dependencies", ())]
    while pending:
        each: Any = pending.pop(0)
        names.append(_name(each.call))
        if not _is_ours(each.call):
            outcomes.append(readings.dependency(each.call))
        pending += each.dependencies
    kind = _kind(endpoint.ref)
    if kind is not None and source.is_own(kind):
        codes = [getattr(each, "__code__", None) for each in vars(kind).values()]
        own = frozenset(each for each in codes if each is not None)
        outcomes.append(Outcome(codes=own))
    return fingerprint(outcomes, names)


def _of_handler(endpoint: NativeEndpoint, readings: _Readings) -> Iterator[Refuser]:
    if endpoint.handler is None:
        return
    read = readings.handler(endpoint.handler, tuples=endpoint.wants_flask)
    summed = guard("", "view", read.findings)
    if summed.does in ("refuses", "perhaps"):
        wanted = [each for each in read.findings if each.does == summed.does]
        signs = list(dict.fromkeys(str(each) for each in wanted))
        more = f", and {len(signs) - _MOST} more" if len(signs) > _MOST else ""
        what = f"the handler itself: {', '.join(signs[:_MOST])}{more}"
        yield Refuser(what, sure=summed.does == "refuses")


def _of_dependencies(dependant: Any, readings: _Readings) -> Iterator[Refuser]:
    for each in getattr(dependant, "dependencies", ()):
        does = _does(each, readings)
        if does in ("refuses", "perhaps"):
            yield Refuser(f"the dependency {_name(each.call)}", sure=does == "refuses")


def _does(dependant: Any, readings: _Readings) -> Does:
    """Tell what a dependency does, and those below it."""
    call = dependant.call
    if call is current_principal or (_is_ours(call) and not _name(call).startswith(_READY_MADE)):
        return "nothing"
    if isinstance(call, SecurityBase) and not source.is_own(type(call)):
        return "refuses" if getattr(call, "auto_error", True) else "nothing"
    if _name(call).startswith(_READY_MADE):
        return "refuses"
    found = [_does(each, readings) for each in dependant.dependencies]
    found.append(guard("", "view", readings.dependency(call).findings).does)
    return "refuses" if "refuses" in found else "perhaps" if "perhaps" in found else "nothing"


def _is_ours(call: Any) -> bool:
    return call is current_principal or _name(call).startswith((_OURS, "gateway.auth."))


def _kind(ref: object) -> type | None:
    """Return the class of a route as the app has it."""
    while isinstance(ref, Nested):
        ref = ref.child
    if isinstance(ref, Candidate):
        return type(ref.top if ref.leaf is None else ref.leaf.original)
    return None


def _route_class(ref: object) -> str:
    kind = _kind(ref)
    return f"{kind.__module__}.{kind.__qualname__}" if kind is not None else ""


def _of_route(ref: object) -> Iterator[Refuser]:
    """Yield a route class of the team's own: it may look at the request before anybody else."""
    name = _route_class(ref)
    if name and not name.startswith(_ROUTES):
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
