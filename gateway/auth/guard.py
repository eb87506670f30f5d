"""The shared guard: one FastAPI dependency, solved once per request in front of either side.

It is solved by FastAPI itself, as if it stood on the route that it guards: in a route with that
route's own path, below the native app's exception handlers, with the native app as `request.app`.
So everything that a dependency may be works: sub-dependencies, classes, `yield`, `Security`,
`dependency_overrides`. The endpoint is the rest of the dispatch: `yield` dependencies stay open
around it, and see what it raises. Once the guard has let a request pass, what the rest raises is
no affair of the guard's: it has been answered already.
"""

from __future__ import annotations

import inspect
import re
from functools import partial
from inspect import signature
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple, NoReturn, cast

from fastapi import Depends, FastAPI, HTTPException, Request, Response
from fastapi.routing import APIRoute
from starlette.concurrency import run_in_threadpool
from starlette.requests import HTTPConnection  # noqa: TC002 - FastAPI reads it at run time
from starlette.routing import BaseRoute, Match, NoMatchFound

from gateway.auth.passage import Passage, Passed, Refusal, no_body
from gateway.auth.places import Guarded, Places
from gateway.auth.principal import Principal, read_principal, reads_nothing, suggestion
from gateway.inventory import route_path
from gateway.logs import logger_for
from gateway.routing import Reason
from gateway.state import is_mirror

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator, Mapping

    from starlette.applications import Starlette
    from starlette.types import Receive, Scope, Send

    from gateway.auth.passage import Rest
    from gateway.config import AuthConfig
    from gateway.inventory import NativeEndpoint
    from gateway.routing import Match as Matched
    from gateway.routing import Route, RouteTable

logger = logger_for("gateway.auth")

#: Where the guard's app finds its Passage.
_SCOPE_KEY = "gateway.passage"
_SILENT = {"tracing": False, "metrics": False, "logs": False}
#: What a framework answers by itself on a path that it knows: no view and no handler runs.
_BY_THEMSELVES = frozenset({Reason.REDIRECT, Reason.METHOD})
_SLASHES = re.compile(r"/{2,}")
#: RFC 6749, section 3.3: the characters of a scope, which need no escaping in a header.
_SCOPE_TOKEN = re.compile(r"[\x21\x23-\x5b\x5d-\x7e]+")


class _Known(NamedTuple):
    """What is known of a table: where the guard stands, and what it takes from there."""

    table: RouteTable
    places: Places
    takes: frozenset[str]


class Guard:
    """Solves `dependency` for a request, and goes on with it if that raises nothing.

    `native` lends its exception handlers and its `dependency_overrides`, and is `request.app`.
    The status code that a dependency sets on its `response` parameter is not used: FastAPI would
    use it for handlers that return no Response of their own, and here somebody else answers.
    """

    def __init__(
        self, dependency: Callable[..., Any], config: AuthConfig, native: Starlette | None
    ) -> None:
        self.dependency = dependency
        self._config, self._native = config, native
        self._told = False
        self._app = _App(native)
        self._app.router.routes[:] = [_OnItsPlace()]
        self._endpoint = self._made_endpoint(dependency)
        self._solvers: dict[str, APIRoute] = {}
        self._last: _Known | None = None
        self.dependant: object = self._solver("/").dependant
        """FastAPI's own tree, with the dependency below it."""

    def _made_endpoint(self, dependency: Callable[..., Any]) -> Callable[..., Awaitable[Response]]:
        async def guarded(request: Request, response: Response, value: Any) -> Response:
            passage: Passage = request.scope[_SCOPE_KEY]
            principal = read_principal(value, self._config.id, self._config.scopes)
            if passage.requires:
                self._tell_of_a_typo(value)
                _check_scopes(principal, passage.requires)
            await passage.go_on(principal, response.raw_headers)
            return _Sent()  # FastAPI gives it the background tasks

        # FastAPI reads the signature, and can't find our local names by itself.
        guarded.__annotations__ = {
            "request": Request,
            "response": Response,
            "value": Annotated[Any, Depends(dependency)],
            "return": Response,
        }
        return guarded

    def _tell_of_a_typo(self, value: Any) -> None:
        """Say once that `auth.scopes` leads nowhere: else a typo is only seen as 403s."""
        path = self._config.scopes
        if path is None or value is None or self._told or not reads_nothing(value, path):
            return
        self._told = True
        logger.warning(
            "auth.scopes (%s) reads nothing from a %s, so its caller has no scopes%s",
            path,
            type(value).__name__,
            suggestion(value, path),
        )

    # -- where it stands ----------------------------------------------------------------------

    def takes(self, table: RouteTable) -> frozenset[str]:
        """Return the names that the dependency takes from the path, on any route of `table`.

        A name that is a path parameter on one guarded route is one on all of them. Raises what
        FastAPI raises where it can't use the dependency on such a route.
        """
        return self._known(table).takes

    def lacking(self, table: RouteTable) -> Iterator[tuple[Route, frozenset[str]]]:
        """Yield the guarded routes whose path lacks names that the dependency takes from it."""
        known = self._known(table)
        for route in known.places.guarded:
            missing = known.takes - known.places.of(route).names
            if missing:
                yield route, missing

    def _known(self, table: RouteTable) -> _Known:
        known = self._last
        if known is None or known.table is not table:
            places = Places(table)
            path = "".join(f"/{{{name}}}" for name in sorted(places.names)) or "/"
            takes = frozenset(_path_parameters(self._compiled(path).dependant))
            known = self._last = _Known(table, places, takes)
        return known

    def on(self, table: RouteTable, match: Matched, scope: Scope) -> Guarded | None:
        """Return the route that the guard stands on for a request; None where there is none.

        On a path that nobody knows a dependency without path parameters can be solved all the
        same. Where the frameworks answer by themselves, with a redirect or a 405, the guard stands
        on the guarded route whose template the path fits.
        """
        known, route = self._known(table), match.route
        if route is not None:
            return self._on(route, scope, known)
        if not known.takes:
            return Guarded("/")
        reason = match.forced[1] if match.forced is not None else None
        return self._near(scope, known) if reason in _BY_THEMSELVES else None

    def on_socket(
        self,
        table: RouteTable,
        endpoint: NativeEndpoint,
        params: Mapping[str, Any],
        requires: frozenset[str] = frozenset(),
    ) -> Guarded | None:
        """Return the same for a native WebSocket route that `NativeApp.find` has found.

        None where it lacks a parameter that the dependency takes from the path.
        """
        if not self.takes(table) <= params.keys():
            return None
        return Guarded.by_native(endpoint, params, requires)

    def _on(self, route: Route, scope: Mapping[str, Any], known: _Known) -> Guarded | None:
        place = known.places.of(route)
        if not known.takes <= place.names:
            return None
        path = native_path = route_path(scope)
        if root := getattr(self._native, "root_path", ""):
            native_path = route_path({**scope, "root_path": root})
        params = place.read(path, native_path)
        if params is None:
            return None
        native = route.native
        if native is None:
            return Guarded(place.path, params, route.requires)
        return Guarded(place.path, params, route.requires, native.route, native.handler)

    def _near(self, scope: Scope, known: _Known) -> Guarded | None:
        scope = {**scope, "path": _SLASHES.sub("/", scope["path"])}
        for route in known.places.guarded:
            found = self._on(route, scope, known)
            if found is not None:
                # What a method of that route requires isn't asked for: none of them runs.
                return found._replace(requires=frozenset())
        return None

    def _solver(self, path: str) -> APIRoute:
        """Return the route that solves the dependency below `path`; there is one per template."""
        solver = self._solvers.get(path)
        if solver is None:
            solver = self._solvers[path] = self._compiled(path)
        return solver

    def _compiled(self, path: str) -> APIRoute:
        return APIRoute(
            path, self._endpoint, response_model=None, dependency_overrides_provider=self._native
        )

    # -- solving ------------------------------------------------------------------------------

    async def run(
        self, scope: Scope, receive: Receive, send: Send, rest: Rest, guarded: Guarded | None
    ) -> None:
        """Call `rest` with what the dependency leaves behind, if it refuses nobody.

        Where `guarded` is None the answer is 404, and nothing is solved. Without the scopes that
        the route requires the caller gets 403 (RFC 6750, section 3.1). Raises what `rest` raises,
        and what the dependency raises where no exception handler is for it.
        """
        solver = None
        state = dict(scope.get("state") or {})
        child_scope: Scope = {}
        native = self._native
        if native is not None:
            child_scope["app"], child_scope["router"] = native, native.router
            if root := getattr(native, "root_path", ""):
                child_scope["root_path"] = root
        if guarded is not None:
            solver = self._solver(guarded.path)
            child_scope["path_params"] = dict(guarded.params)
            child_scope["route"] = solver if guarded.route is None else guarded.route
            child_scope["endpoint"] = (
                solver.endpoint if guarded.endpoint is None else guarded.endpoint
            )
        passage = Passage(
            rest,
            receive,
            send,
            solver=solver,
            requires=guarded.requires if guarded is not None else frozenset(),
            child_scope=child_scope,
            state=state,
        )
        solving = {**scope, "state": state, _SCOPE_KEY: passage}
        try:
            await self._app(solving, passage.receive, passage.send)
        except Exception as error:
            if passage.error is None or passage.error is error:
                raise
            # A `yield` dependency has swallowed it, or made another one of it; too late.
            raise passage.error from None

    async def run_websocket(
        self, scope: Scope, receive: Receive, send: Send, rest: Rest, guarded: Guarded | None
    ) -> None:
        """Do the same before a WebSocket is accepted; `scope` is what `handshake` made of its own.

        Nothing has been received when `rest` is called. A refusal reaches the client where the
        server can send one; elsewhere the WebSocket is closed before it opens.
        """

        async def go_on(passed: Passed) -> None:
            await rest(Passed(passed.principal, receive, passed.headers, passed.state))

        await self.run(scope, no_body, Refusal(scope, receive, send).send, go_on, guarded)


class _App(FastAPI):
    """The guard's app: it answers what the guard refuses, by the native app's own handlers."""

    def __init__(self, native: Starlette | None) -> None:
        # No spans and metrics of its own: the guard is no server (FastAPI's own telemetry).
        silent = {"telemetry": _SILENT} if "telemetry" in signature(FastAPI).parameters else {}
        super().__init__(openapi_url=None, **cast("Any", silent))
        self._native_app = native

    def build_middleware_stack(self) -> Any:
        """Build it, at the first request, as the native app does."""
        native = self._native_app
        if native is not None:
            self.debug = native.debug
            handlers = {**self.exception_handlers, **native.exception_handlers}
            self.exception_handlers = {key: _once(each) for key, each in handlers.items()}
        else:
            self.exception_handlers = {
                key: _once(each) for key, each in self.exception_handlers.items()
            }
        return super().build_middleware_stack()


class _OnItsPlace(BaseRoute):
    """Takes whatever comes to the guarded route's own solver."""

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        """Match: the table has matched path and method already."""
        passage: Passage = scope[_SCOPE_KEY]
        return Match.FULL, passage.child_scope

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Solve the dependency; raises HTTPException 404 where there is no guarded route."""
        passage: Passage = scope[_SCOPE_KEY]
        if passage.solver is None:
            raise HTTPException(404)
        await passage.solver.app(scope, receive, send)

    def url_path_for(self, name: str, /, **path_params: Any) -> NoReturn:
        """Raise NoMatchFound: it has no path of its own."""
        raise NoMatchFound(name, path_params)


def _once(handler: Callable[..., Any]) -> Callable[..., Awaitable[Any]]:
    """Let an exception handler answer for the dependency only.

    What comes from behind the guard has been through the handlers of whoever answered.
    """
    is_async = inspect.iscoroutinefunction(handler) or inspect.iscoroutinefunction(
        type(handler).__call__
    )
    run = handler if is_async else partial(run_in_threadpool, handler)

    async def handle(request: Request, error: Exception) -> Any:
        passage: Passage = request.scope[_SCOPE_KEY]
        if passage.passed:
            raise error
        return await run(request, error)

    return handle


class _Sent(Response):
    """The answer has been sent already; what is left are the dependency's background tasks."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002
        """Run the tasks, once: not for a mirrored request."""
        if self.background is not None and not is_mirror():
            await self.background()


def asks_again(dependant: Any, dependency: Callable[..., Any]) -> bool:
    """Tell whether FastAPI would solve `dependency` for a handler, however deep below it.

    `dependant` is FastAPI's own tree of the handler's dependencies, or None.
    """
    return any(
        each.call is dependency or asks_again(each, dependency)
        for each in getattr(dependant, "dependencies", ())
    )


def _path_parameters(dependant: Any) -> Iterator[str]:
    """Yield the names that FastAPI would read from the path, however deep below `dependant`."""
    for each in getattr(dependant, "path_params", ()):
        yield each.alias
    for below in getattr(dependant, "dependencies", ()):
        yield from _path_parameters(below)


def _check_scopes(principal: Principal | None, required: frozenset[str]) -> None:
    missing = principal.missing(required) if principal is not None else tuple(sorted(required))
    if not missing:
        return
    challenge = 'Bearer error="insufficient_scope"'
    if all(_SCOPE_TOKEN.fullmatch(scope) for scope in missing):
        challenge += f', scope="{" ".join(missing)}"'
    raise HTTPException(403, "Forbidden", {"WWW-Authenticate": challenge})


async def current_principal(connection: HTTPConnection) -> Principal:
    """Return who is calling: a dependency for handlers behind `auth: shared`.

    Raises RuntimeError where no guard has run: the route's rule doesn't say `auth: shared`.
    """
    principal: Principal | None = getattr(connection.state, "principal", None)
    if principal is None:
        message = "there is no principal: the route's rule must say `auth: shared`"
        raise RuntimeError(message)
    return principal
