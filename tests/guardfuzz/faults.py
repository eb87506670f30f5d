"""Known faults of earlier versions, put back, to show that the fuzzer finds them.

This is the one place among the tests where the product's internals are replaced at run time: that
is its purpose. Each fault is one of those that an outsider's review had found (Host `a..b` opening
a guarded route was the first); its name says what goes wrong, its kinds how the oracle calls it.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from gateway import cutover, dispatch, routing
from gateway.compiling import _Compiler
from gateway.dispatch import Dispatcher
from gateway.flask.inside import Passport
from gateway.flask.routes import FlaskRoutes
from gateway.flask.side import FlaskSide
from gateway.native import NativeApp, included
from gateway.routing import Backend, Match, Reason, RouteTable
from tests.guardfuzz.native import ASKS_ROUTERS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from gateway.cutover import Policy
    from gateway.inventory import Scope


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault: what puts it back, and the kinds of failures that give it away."""

    put_back: Callable[[], contextlib.AbstractContextManager[None]]
    kinds: tuple[str, ...]


@contextlib.contextmanager
def _replaced(*changes: tuple[Any, str, Any]) -> Iterator[None]:
    """Set attributes, and set them back: (owner, name, value)."""
    kept = [(owner, name, vars(owner)[name]) for owner, name, _ in changes]
    for owner, name, value in changes:
        setattr(owner, name, value)
    try:
        yield
    finally:
        for owner, name, value in kept:
            setattr(owner, name, value)


def _trusts_itself() -> tuple[tuple[Any, str, Any], ...]:
    """What was decided outside stands, whatever Flask makes of the request."""

    def hold(self: Passport) -> None:
        self.held = True

    def stands_in(self: Passport) -> bool:
        return self.decision.backend is Backend.NATIVE

    return (Passport, "hold", hold), (Passport, "stands_in", property(stands_in))


def _plain_always(self: FlaskRoutes, scope: Scope) -> bool:
    return not self.by_host


def _host() -> contextlib.AbstractContextManager[None]:
    """The table binds Flask's map to `localhost`, whoever the request is for."""
    bind: Any = vars(FlaskRoutes)["_adapter_for"]

    def adapter_for(self: FlaskRoutes, scope: Scope) -> Any:
        if self.by_host:
            return bind(self, scope)
        return self.app.url_map.bind("localhost", subdomain=self.app.url_map.default_subdomain)

    return _replaced(
        (FlaskRoutes, "_adapter_for", adapter_for),
        (FlaskRoutes, "plain", _plain_always),
        *_trusts_itself(),
    )


def _upgrade() -> contextlib.AbstractContextManager[None]:
    """The table asks Flask's map without the headers and the scheme of a WebSocket."""
    bind: Any = vars(FlaskRoutes)["_adapter_for"]

    def adapter_for(self: FlaskRoutes, scope: Scope) -> Any:
        headers = [each for each in scope["headers"] if each[0] not in (b"upgrade", b"connection")]
        return bind(self, {**scope, "headers": headers, "scheme": "http"})

    def plain(self: FlaskRoutes, scope: Scope) -> bool:
        return not self.by_host and adapter_for(self, scope) is not None

    return _replaced(
        (FlaskRoutes, "_adapter_for", adapter_for),
        (FlaskRoutes, "plain", plain),
        *_trusts_itself(),
    )


def _mismatch() -> contextlib.AbstractContextManager[None]:
    """`on_mismatch: native` needs nobody to say who guards the handler."""
    opted: Any = routing._opted

    def lenient(route: Any, method: str) -> bool:
        rule = route.rule if route is not None else None
        return opted(route, method) or (rule is not None and rule.config.on_mismatch == "native")

    return _replaced((routing, "_opted", lenient))


def _wider() -> contextlib.AbstractContextManager[None]:
    """A native path inside a wider view is taken for one that Flask doesn't know."""
    lets_by: Any = FlaskSide.lets_by

    def lenient(self: FlaskSide, match: Match, scope: Scope, hooks: Any) -> bool:
        wider = match.route is not None and match.route.wider
        if wider and not self._always and all(name != b"cookie" for name, _ in scope["headers"]):
            return True
        return bool(lets_by(self, match, scope, hooks))

    return _replaced((FlaskSide, "lets_by", lenient))


def _method() -> contextlib.AbstractContextManager[None]:
    """A method that only native has is native's, on Flask's paths as well."""
    opted: Any = routing._opted

    def lenient(route: Any, method: str) -> bool:
        return route is not None or opted(route, method)

    def is_refused(self: Any, route: Any) -> bool:
        return False

    return _replaced((routing, "_opted", lenient), (_Compiler, "_is_refused", is_refused))


def _root_path() -> contextlib.AbstractContextManager[None]:
    """Flask's hooks see another path than the native app, which takes its root path off."""

    def rooted(self: NativeApp, scope: Scope) -> Scope:
        return scope

    return _replaced((NativeApp, "rooted", rooted))


def _socket() -> contextlib.AbstractContextManager[None]:
    """WebSockets go to native wherever it has the route."""

    def socket(self: RouteTable, scope: Scope) -> Match:
        known = self.native.find(scope) is not None
        backend = Backend.NATIVE if known else Backend.LEGACY
        return Match(None, (backend, Reason.ONLY_NATIVE))

    return _replaced((RouteTable, "socket", socket))


def _preflight() -> contextlib.AbstractContextManager[None]:
    """Whatever looks like a preflight passes the shared guard, a handler for OPTIONS too."""
    original: Any = RouteTable._preflight

    def preflight(self: RouteTable, scope: Scope, asked: str, path: str) -> Match:
        found: Match = original(self, scope, asked, path)
        return replace(found, preflight=True)

    return _replaced((RouteTable, "_preflight", preflight))


def _any_method() -> contextlib.AbstractContextManager[None]:
    """A method of a rule without a list isn't in the table, so that nothing guards it."""
    original: Any = RouteTable._legacy_rule

    def legacy_rule(self: RouteTable, scope: Scope, answer: Any) -> Match:
        if scope["method"] in ("PROPFIND", "TRACE", "PURGE"):
            return Match(None, (Backend.LEGACY, Reason.ONLY_LEGACY), read=answer)
        found: Match = original(self, scope, answer)
        return found

    return _replaced((RouteTable, "_legacy_rule", legacy_rule))


def _middleware() -> contextlib.AbstractContextManager[None]:
    """Where WSGI middleware has answered, the report says that a hook did."""
    original: Any = vars(Dispatcher)["_passport"]

    def passport(self: Dispatcher, *args: Any) -> Passport:
        made: Passport = original(self, *args)
        made.held = True
        return made

    return _replaced((Dispatcher, "_passport", passport))


def _kill_switch() -> contextlib.AbstractContextManager[None]:
    """The kill switch leaves native paths inside wider views as they are."""
    original: Any = cutover.decide

    def decide(match: Match, scope: Scope, policy: Policy, *caller: Any) -> Any:
        if match.route is not None and match.route.wider:
            policy = replace(policy, kill_switch=False)
        return original(match, scope, policy, *caller)

    return _replaced((dispatch, "decide", decide))


def _router() -> contextlib.AbstractContextManager[None]:
    """A router that refuses is run past."""

    def is_plain(router: Any) -> bool:
        return True

    return _replaced((included, "_is_plain", is_plain))


#: By number and name, as the list of faults found from outside has them.
FAULTS: dict[str, Fault] = {
    "1 bad host": Fault(_host, ("opened (BadHost)",)),
    "2 upgrade": Fault(_upgrade, ("opened (WebsocketMismatch)",)),
    "3 on_mismatch": Fault(_mismatch, ("opened (NotFound)",)),
    "4 wider view": Fault(_wider, ("opened (refused)",)),
    "5 method": Fault(_method, ("opened (MethodNotAllowed)",)),
    "6 root path": Fault(_root_path, ("two paths",)),
    "8 websocket": Fault(_socket, ("websocket",)),
    "8 preflight": Fault(_preflight, ("shared", "shared, legacy")),
    "8 any method": Fault(_any_method, ("shared", "shared, legacy")),
    "12 middleware": Fault(_middleware, ("report (hooks)",)),
    "14 kill switch": Fault(_kill_switch, ("kill switch",)),
}
if ASKS_ROUTERS:
    FAULTS["19 router"] = Fault(_router, ("router",))
