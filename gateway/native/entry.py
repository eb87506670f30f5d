"""The one route that the gateway adds to the native app: it answers for all the others.

It stands first in `app.router.routes` and, for requests that come through the gateway, takes the
place of the router's linear search. For everybody else it isn't there: it matches nothing unless
the app's router itself is asking on behalf of a Ticket. So tools that walk `app.routes` to name
a route (OpenTelemetry, Prometheus) pass it by, before and after the request.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from starlette.responses import PlainTextResponse
from starlette.routing import Match, NoMatchFound
from starlette.websockets import WebSocketClose

from gateway.native.candidate import Candidate, Nested, Ref, Transparent, get_route_path
from gateway.native.table import Selection, Table
from gateway.state import is_mirror

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Mapping

    from starlette.datastructures import URLPath
    from starlette.types import Receive, Scope, Send

    MayTurn = Callable[[Scope], bool]

#: Where a request's Ticket lies in its scope.
SCOPE_KEY = "gateway.native"


class Pin:
    """A request's order to be served by one route, whatever its path is.

    It holds as long as nobody in between has changed method, path or root path. `path` is the
    request's as the route's template spells it, if that is known. Raises ValueError where the path
    doesn't fit the route and a parameter is missing to write one that does.
    """

    __slots__ = ("_fitted", "_path", "_root", "_seen", "candidate", "child", "params")

    def __init__(
        self,
        ref: Ref,
        candidate: Candidate,
        params: Mapping[str, Any],
        scope: Scope,
        root: str,
        path: str | None,
    ) -> None:
        self.candidate = candidate
        self.child = ref.child if isinstance(ref, Nested) else None
        self.params = params
        self._root = root
        self._seen = (scope.get("method"), scope["path"], root)
        self._fitted = path if path is not None and ref.convert(path) is not None else None
        # A mount matches whatever is below it, so it can't tell whether the child will fit.
        self._path: str | None = None
        if isinstance(ref, Nested) or candidate.is_mount:
            inner = get_route_path({"path": scope["path"], "root_path": root})
            if ref.convert(inner) is None:
                self._path = root + (self._fitted or ref.fill(params))
        elif not candidate.parameters <= params.keys():
            candidate.fill(params)

    def holds(self, scope: Scope) -> bool:
        """Tell whether the request still is the one that the route was meant for."""
        return self._seen == (scope.get("method"), scope["path"], scope.get("root_path", ""))

    def select(self, scope: Scope, other: Candidate | None = None) -> Selection | None:
        """Return the pinned route's selection, or None where the route itself refuses.

        `other` is asked in its place: a route of the same template.
        """
        candidate = other or self.candidate
        if self._path is not None:
            scope = {**scope, "path": self._path}
        match, child_scope = candidate.matches(scope)
        if match is Match.NONE and not candidate.is_mount:
            # Spelled differently: `//x`, a slash more or less.
            fitted = self._fitted or candidate.fill(self.params)
            scope = {**scope, "path": self._root + fitted}
            match, child_scope = candidate.matches(scope)
        if match is Match.NONE:
            return None
        if candidate.reads_path:
            # The mounted app reads the path itself, so it needs the one that fits.
            child_scope["path"] = scope["path"]
        elif self.params:
            child_scope["path_params"] = {**child_scope.get("path_params", {}), **self.params}
        return Selection(candidate, match, child_scope)


class Ticket:
    """What the gateway hands through the app's middleware to its router, for one request.

    `refused`: the path doesn't fit the route that was decided, so that the answer is a 404.
    `seen` is method, path and root path as they were decided about, `root` the root path as the
    app's middleware has left it. `may_turn` tells whether that middleware may make a given other
    request of it.
    """

    __slots__ = (
        "forbidden",
        "may_turn",
        "outer_router",
        "pin",
        "refused",
        "root",
        "seen",
        "selected",
        "settled",
    )

    def __init__(
        self,
        pin: Pin | None,
        outer_router: object,
        seen: tuple[str | None, str, str],
        may_turn: MayTurn | None = None,
        *,
        refused: bool = False,
    ) -> None:
        self.pin = pin
        self.seen = seen
        self.may_turn = may_turn
        self.refused = refused
        self.forbidden = False
        self.outer_router = outer_router
        self.root = seen[2]
        self.selected: Candidate | None = None
        self.settled = False


class Entry(Transparent):
    """Selects through the table. One per router, however many gateways wrap the app."""

    path = ""
    name = ""
    include_in_schema = False

    def __init__(self, table: Table) -> None:
        self.table = table

    @classmethod
    def installed(cls, table: Table) -> Entry:
        """Return the router's entry, adding one where there is none."""
        for route in table.router.routes:
            if isinstance(route, cls) and route.table.router is table.router:
                return route
        entry = cls(table)
        entry.ensure()
        return entry

    def ensure(self) -> None:
        """Stand in the list, even after somebody has replaced it."""
        routes = self.table.router.routes
        if not routes or (routes[0] is not self and all(route is not self for route in routes)):
            routes.insert(0, self)

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        """Match whatever the app matches, FULL or PARTIAL; the router handles the rest."""
        ticket = scope.get(SCOPE_KEY)
        if (
            not isinstance(ticket, Ticket)
            or ticket.settled
            or scope.get("router") is not self.table.router
        ):
            return Match.NONE, {}
        if ticket.outer_router is not None:
            scope["router"] = ticket.outer_router
        ticket.root = scope.get("root_path", "")
        if ticket.refused or (ticket.pin is not None and ticket.pin.holds(scope)):
            selection = self._pinned(ticket.pin, scope) if ticket.pin is not None else None
            if selection is None:
                # No route of another template may answer instead: it is not what was decided.
                return Match.FULL, {}
        else:
            selection = self.table.select(scope)
            if selection is not None and not self._is_allowed(ticket, scope, selection):
                ticket.forbidden = True
                return Match.FULL, {}
        if selection is None:
            # The router goes on to its slash redirect, which asks again, with another path.
            ticket.settled = True
            return Match.NONE, {}
        ticket.selected = selection.candidate
        return Match.FULL, selection.child_scope

    def _pinned(self, pin: Pin, scope: Scope) -> Selection | None:
        selection = pin.select(scope)
        if selection is None:
            asked = (pin.select(scope, each) for each in self.table.alike(pin.candidate))
            selection = next((each for each in asked if each is not None), None)
        return selection

    def _is_allowed(self, ticket: Ticket, scope: Scope, selection: Selection) -> bool:
        """Tell whether a route may run for the request that the app's middleware has left.

        The same route with the same parameters may; for anything else the gateway is asked.
        """
        turned = (scope.get("method"), scope["path"], scope.get("root_path", ""))
        if turned == ticket.seen or ticket.may_turn is None:
            return True
        method, path, root = ticket.seen
        before, now = get_route_path({"path": path, "root_path": root}), get_route_path(scope)
        if method == turned[0]:
            candidate = selection.candidate
            params = candidate.convert(now)
            if before == now or (params is not None and params == candidate.convert(before)):
                return True
        return ticket.may_turn(scope)

    def handle(self, scope: Scope, receive: Receive, send: Send) -> Coroutine[Any, Any, None]:
        """Run what `matches` has selected; the coroutine is the real route's own."""
        ticket: Ticket = scope[SCOPE_KEY]
        ticket.settled = True
        candidate = ticket.selected
        if ticket.forbidden:
            if scope["type"] == "websocket":
                return WebSocketClose()(scope, receive, send)
            return PlainTextResponse("Forbidden", 403)(scope, receive, send)
        if candidate is None:
            refusing: Coroutine[Any, Any, None] = self.table.router.not_found(scope, receive, send)
            return refusing
        if scope.get("route") is self:
            # Some versions of Starlette's router put the matched route there.
            scope["route"] = candidate.top
        outer = scope.get("router")
        handed = ticket.may_turn is not None and self._hand_on(ticket, scope, candidate)
        running = candidate.run(scope, receive, send)
        if handed:
            running = _with_router_again(running, scope, outer)
        return _without_exit(running) if is_mirror() else running

    def _hand_on(self, ticket: Ticket, scope: Scope, candidate: Candidate) -> bool:
        """Give a mounted app a ticket of its own: its middleware may turn the request as well."""
        app, may_turn = self.table.inner(candidate), ticket.may_turn
        if app is None or may_turn is None:
            return False
        below = Entry.installed(Table(app))
        below.ensure()
        root = ticket.seen[2]
        mounted_at = root + scope.get("root_path", "").removeprefix(ticket.root)

        def may_turn_below(turned: Scope) -> bool:
            """Ask about the request that leads there from outside."""
            path = mounted_at + get_route_path(turned)
            return may_turn({**turned, "path": path, "root_path": root})

        inside = below.table.root_path(scope)
        seen = (scope.get("method"), scope["path"], inside)
        pin = _pin_below(ticket.pin, candidate, below.table, scope, inside)
        scope[SCOPE_KEY] = Ticket(pin, scope.pop("router", None), seen, may_turn_below)
        return True

    def url_path_for(self, name: str, /, **path_params: Any) -> URLPath:
        """Raise NoMatchFound: the entry has no path of its own."""
        raise NoMatchFound(name, path_params)


def _pin_below(
    pin: Pin | None, mount: Candidate, table: Table, scope: Scope, root: str
) -> Pin | None:
    """Pin the route of a mounted app: its own order of routes has no say either."""
    if pin is None or pin.child is None or pin.candidate is not mount:
        return None
    candidate = table.current(outermost(pin.child))
    if candidate is None or not candidate.has_template:
        return None
    return Pin(pin.child, candidate, pin.params, scope, root, None)


async def _with_router_again(
    running: Coroutine[Any, Any, None], scope: Scope, router: object
) -> None:
    """Run a mounted app, and leave the outer router in the scope, as Starlette does."""
    try:
        await running
    finally:
        scope["router"] = router


async def _without_exit(running: Coroutine[Any, Any, None]) -> None:
    """Run a mirrored route, whose end must not be the server's.

    asyncio lets these two stop the event loop from any task, and middleware (Starlette's
    BaseHTTPMiddleware) runs the route in one of its own, where nobody outside can catch them.
    """
    try:
        await running
    except (SystemExit, KeyboardInterrupt) as error:
        message = f"the mirrored handler raised {type(error).__name__}"
        raise RuntimeError(message) from error


def outermost(ref: Ref) -> Candidate:
    """Return the app's own route that leads to `ref`."""
    return ref.mount if isinstance(ref, Nested) else ref
