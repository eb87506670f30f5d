"""The one route that the gateway adds to the native app: it answers for all the others.

It stands first in `app.router.routes` and, for requests that come through the gateway, takes the
place of the router's linear search. For everybody else it isn't there: it matches nothing unless
the app's router itself is asking on behalf of a Ticket. So tools that walk `app.routes` to name
a route (OpenTelemetry, Prometheus) pass it by, before and after the request.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from starlette.routing import Match, NoMatchFound

from gateway.native.candidate import Candidate, Nested, Ref, Transparent, get_route_path
from gateway.native.table import Selection, Table
from gateway.state import is_mirror

if TYPE_CHECKING:
    from collections.abc import Coroutine, Mapping

    from starlette.datastructures import URLPath
    from starlette.types import Receive, Scope, Send

#: Where a request's Ticket lies in its scope.
SCOPE_KEY = "gateway.native"


class Pin:
    """A request's order to be served by one route, whatever its path is.

    It holds as long as nobody in between has changed method, path or root path. Raises ValueError
    where the path doesn't fit the route and a parameter is missing to write one that does.
    """

    __slots__ = ("_path", "_root", "_seen", "candidate", "params")

    def __init__(
        self, ref: Ref, candidate: Candidate, params: Mapping[str, Any], scope: Scope, root: str
    ) -> None:
        self.candidate = candidate
        self.params = params
        self._root = root
        self._seen = (scope.get("method"), scope["path"], root)
        # A mount matches whatever is below it, so it can't tell whether the child will fit.
        self._path: str | None = None
        if isinstance(ref, Nested) or candidate.is_mount:
            inner = get_route_path({"path": scope["path"], "root_path": root})
            if ref.convert(inner) is None:
                self._path = root + ref.fill(params)
        elif not candidate.parameters <= params.keys():
            candidate.fill(params)

    def select(self, scope: Scope) -> Selection | None:
        """Return the pinned route's selection, or None where the pin no longer holds."""
        if self._seen != (scope.get("method"), scope["path"], scope.get("root_path", "")):
            return None
        if self._path is not None:
            scope = {**scope, "path": self._path}
        match, child_scope = self.candidate.matches(scope)
        if match is Match.NONE and not self.candidate.is_mount:
            # Spelled differently: `//x`, a slash more or less.
            fitted = {**scope, "path": self._root + self.candidate.fill(self.params)}
            match, child_scope = self.candidate.matches(fitted)
        if match is Match.NONE:
            return None
        if self.candidate.is_mount:
            # The mounted app reads the path itself, so it needs the one that fits.
            child_scope["path"] = scope["path"]
        elif self.params:
            child_scope["path_params"] = {**child_scope.get("path_params", {}), **self.params}
        return Selection(self.candidate, match, child_scope)


class Ticket:
    """What the gateway hands through the app's middleware to its router, for one request."""

    __slots__ = ("outer_router", "pin", "selected", "settled")

    def __init__(self, pin: Pin | None, outer_router: object) -> None:
        self.pin = pin
        self.outer_router = outer_router
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
        selection = ticket.pin.select(scope) if ticket.pin is not None else None
        if selection is None:
            selection = self.table.select(scope)
        if selection is None:
            # The router goes on to its slash redirect, which asks again, with another path.
            ticket.settled = True
            return Match.NONE, {}
        ticket.selected = selection.candidate
        return Match.FULL, selection.child_scope

    def handle(self, scope: Scope, receive: Receive, send: Send) -> Coroutine[Any, Any, None]:
        """Run what `matches` has selected; the coroutine is the real route's own."""
        ticket: Ticket = scope[SCOPE_KEY]
        ticket.settled = True
        candidate = ticket.selected
        if candidate is None:
            raise RuntimeError("a route was run that never matched")
        if scope.get("route") is self:
            # Some versions of Starlette's router put the matched route there.
            scope["route"] = candidate.top
        running = candidate.run(scope, receive, send)
        return _without_exit(running) if is_mirror() else running

    def url_path_for(self, name: str, /, **path_params: Any) -> URLPath:
        """Raise NoMatchFound: the entry has no path of its own."""
        raise NoMatchFound(name, path_params)


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
