"""The native app as the gateway uses it: list, find, run, run this very route."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from starlette.applications import Starlette
from starlette.middleware.cors import CORSMiddleware
from starlette.routing import Router

from gateway.native.candidate import Candidate, Nested, parameters
from gateway.native.entry import SCOPE_KEY, Entry, Pin, Ticket, outermost
from gateway.native.table import Table

if TYPE_CHECKING:
    from collections.abc import Awaitable, Mapping

    from starlette.types import ASGIApp, Receive, Scope, Send

    from gateway.inventory import Found, NativeEndpoint
    from gateway.native.entry import MayTurn


class NativeApp:
    """An ASGI app, its routes indexed where it is a FastAPI, a Starlette or a bare Router.

    Any other ASGI app is `opaque`: it has no endpoints, `find` knows nothing, and it is called
    as it is. An indexed app gets one more entry in `app.router.routes`, which neither its OpenAPI
    document nor `url_path_for` shows; its answers stay the same, also when it is called directly.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app
        self.may_turn: MayTurn | None = None
        """Tells whether middleware of the app may make the given other request of one."""
        self._entry: Entry | None = None
        if isinstance(app, Starlette | Router):
            self._entry = Entry.installed(Table(app))

    @property
    def opaque(self) -> bool:
        """True where the routes can't be listed."""
        return self._entry is None

    @property
    def by_path(self) -> bool:
        """True where method and path alone decide which route is found."""
        return self._entry is not None and self._entry.table.by_path

    @property
    def answers_preflights(self) -> bool:
        """True where CORSMiddleware answers every preflight (Starlette, `preflight_response`).

        A subclass may do otherwise, so it doesn't count.
        """
        return CORSMiddleware in self._middleware()

    @property
    def may_speak_cors(self) -> bool:
        """True where middleware is of CORSMiddleware's kind, or says CORS in its name."""
        return any(
            (isinstance(each, type) and issubclass(each, CORSMiddleware))
            or "cors" in getattr(each, "__name__", "").lower()
            for each in self._middleware()
        )

    def _middleware(self) -> list[Any]:
        app = self.app
        return [each.cls for each in app.user_middleware] if isinstance(app, Starlette) else []

    def rooted(self, scope: Scope) -> Scope:
        """Return the scope with the root path that the app sets by itself, FastAPI(root_path=…).

        Whoever else looks at the path then sees the one that the app's routes will see.
        """
        root: str = getattr(self.app, "root_path", "")
        path: str = scope["path"]
        if not root or scope.get("root_path", "") == root:
            return scope
        below = path == root or path.startswith(root.rstrip("/") + "/")
        return {**scope, "root_path": root} if below else scope

    def endpoints(self) -> tuple[NativeEndpoint, ...]:
        """List the effective routes in the app's own matching order.

        Routes added, removed or replaced at run time are seen. The routes of a mounted app stand
        before their mount, with the mount's path before their own. A Host's `path` is its host
        pattern; `frontend()` comes last, as the app itself asks it last.
        """
        return () if self._entry is None else self._entry.table.endpoints()

    def find(self, scope: Mapping[str, Any]) -> Found | None:
        """Say what the app itself would do with an HTTP or WebSocket scope; None for its 404.

        Never raises and never changes `scope`. Inside a mounted Starlette app the child route is
        found; a mount whose app can't be asked, or doesn't know the path, is found itself.
        """
        return None if self._entry is None else self._entry.table.find(scope)

    def params_for(self, endpoint: NativeEndpoint, path: str) -> dict[str, Any] | None:
        """Read `endpoint`'s parameters out of `path` (without root path); None if it doesn't fit.

        For a mount the rest of the path is under `path`.
        """
        ref = endpoint.ref
        return ref.convert(path) if isinstance(ref, Candidate | Nested) else None

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        """Answer as `app` does, at a cost that doesn't grow with the number of its routes."""
        return self.app(self._ticketed(None, scope), receive, send)

    def url_for(self, name: str, values: Mapping[str, Any]) -> str | None:
        """Write the path of the route called `name`; values that it doesn't take are its query.

        None where no route of that name takes what `values` has.
        """
        for endpoint in self.endpoints():
            ref = endpoint.ref
            if endpoint.name != name or not isinstance(ref, Candidate | Nested):
                continue
            try:
                path = ref.fill(values)
            except (ValueError, AssertionError):  # a convertor refuses a value
                continue
            query = {key: each for key, each in values.items() if key not in parameters(ref)}
            return f"{path}?{urlencode(query, doseq=True)}" if query else path
        return None

    async def serve(
        self,
        endpoint: NativeEndpoint,
        path_params: Mapping[str, Any] | None,
        scope: Scope,
        receive: Receive,
        send: Send,
        path: str | None = None,
    ) -> None:
        """Run `endpoint` through all of the app's middleware, however the path is spelled.

        `path_params` are as `params_for` gave them for `path`, or `find`; ValueError if one is
        missing. Where they are None, or the route itself refuses the request, the answer is a 404:
        no route of another template steps in. The path in the scope stays the client's own; only a
        mounted app, which reads it, gets one that fits. Normal matching applies instead where a
        middleware changes method, path or root path, where the app no longer has the route, and to
        a Host, `frontend()` and other routes without a path template. A HEAD on a route without
        HEAD is a 405, as ever.
        """
        pin: Pin | None = None
        ref = endpoint.ref
        if self._entry is not None and isinstance(ref, Candidate | Nested):
            table = self._entry.table
            candidate = table.current(outermost(ref))
            if candidate is not None and candidate.has_template:
                if path_params is None:
                    await self.app(self._ticketed(None, scope, refused=True), receive, send)
                    return
                pin = Pin(ref, candidate, path_params, scope, table.root_path(scope), path)
        await self.app(self._ticketed(pin, scope), receive, send)

    def _ticketed(self, pin: Pin | None, scope: Scope, *, refused: bool = False) -> Scope:
        if self._entry is None or scope["type"] == "lifespan":
            return scope
        self._entry.ensure()
        # Below another Starlette app `router` is that app's. The entry needs to see its own
        # router asking, and puts the other back then.
        outer_router = scope.get("router")
        if outer_router is not None:
            scope = dict(scope)
            del scope["router"]
        seen = (scope.get("method"), scope["path"], self._entry.table.root_path(scope))
        scope[SCOPE_KEY] = Ticket(pin, outer_router, seen, self.may_turn, refused=refused)
        return scope
