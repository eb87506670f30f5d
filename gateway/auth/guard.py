"""The shared guard: one FastAPI dependency, solved once per request in front of either side.

It is solved by FastAPI itself, in a route of an app of its own, so that everything a dependency
may be works: sub-dependencies, classes, `yield`, `dependency_overrides` of the native app. The
route's endpoint is the rest of the dispatch: `yield` dependencies stay open around it, and see
what it raises. What the guard refuses is answered by the native app's own exception handlers.
"""

from __future__ import annotations

import logging
from inspect import signature
from typing import TYPE_CHECKING, Annotated, Any, cast

from fastapi import APIRouter, Depends, FastAPI, HTTPException, Request, Response
from fastapi.routing import APIRoute
from starlette.routing import Match

from gateway.auth.principal import Principal, read_principal, reads_nothing, suggestion

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable

    from starlette.types import Message, Receive, Scope, Send

    from gateway.config import AuthConfig

logger = logging.getLogger("gateway.auth")

#: How much of a body a dependency may read; it is kept for whoever serves the request.
MAX_READ_BYTES = 10_000_000
#: Where the guard's endpoint finds its Passage.
_SCOPE_KEY = "gateway.passage"
_SILENT = {"tracing": False, "metrics": False, "logs": False}


class Guard:
    """Solves `dependency` for a request, and goes on with it if that raises nothing.

    `native` lends its exception handlers and its `dependency_overrides`.
    """

    def __init__(
        self, dependency: Callable[..., Any], config: AuthConfig, native: FastAPI | None
    ) -> None:
        self.dependency = dependency
        self._config = config
        self._told = False
        # No spans and metrics of its own: the guard is no server (FastAPI's own telemetry).
        silent = {"telemetry": _SILENT} if "telemetry" in signature(FastAPI).parameters else {}
        self._app = FastAPI(openapi_url=None, **cast("Any", silent))
        if native is not None:
            self._app.exception_handlers = native.exception_handlers
        router = APIRouter(dependency_overrides_provider=native, route_class=_AnyRequest)
        router.add_api_route("/", self._endpoint(dependency), response_model=None)
        self._app.router.routes[:] = router.routes
        self.dependant: object = getattr(router.routes[0], "dependant", None)
        """FastAPI's own tree, with the dependency below it."""

    def _endpoint(self, dependency: Callable[..., Any]) -> Callable[..., Awaitable[Response]]:
        async def guarded(request: Request, value: Annotated[Any, Depends(dependency)]) -> Response:
            passage: _Passage = request.scope[_SCOPE_KEY]
            principal = read_principal(value, self._config.id, self._config.scopes)
            if passage.requires:
                self._tell_of_a_typo(value)
                _check_scopes(principal, passage.requires)
            await passage.go_on(principal)
            return _Sent()

        # FastAPI reads the signature, and can't find our local names by itself.
        guarded.__annotations__ = {
            "request": Request,
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

    async def run(
        self,
        scope: Scope,
        receive: Receive,
        send: Send,
        rest: Callable[[Principal | None, Receive, Send], Awaitable[None]],
        requires: Iterable[str] = (),
    ) -> None:
        """Call `rest` with the Principal and a `receive` that gives the whole body.

        The Principal is None where the dependency returned None: an anonymous caller that it
        lets in. Without the `requires` scopes the caller gets 403 (RFC 6750, section 3.1).
        """
        passage = _Passage(rest, receive, send, frozenset(requires))
        await self._app({**scope, _SCOPE_KEY: passage}, passage.receive, passage.send)


class _Passage:
    """One request on its way through the guard."""

    def __init__(
        self,
        rest: Callable[[Principal | None, Receive, Send], Awaitable[None]],
        receive: Receive,
        send: Send,
        requires: frozenset[str],
    ) -> None:
        self.requires = requires
        self._rest = rest
        self._receive = receive
        self._send = send
        self._read: list[Message] = []
        self._size = 0
        self._passed = False

    async def receive(self) -> Message:
        """Read for the dependency, and remember it for whoever serves the request."""
        message = await self._receive()
        self._size += len(message.get("body", b""))
        if self._size > MAX_READ_BYTES:
            raise HTTPException(413, "Content Too Large")
        self._read.append(message)
        return message

    async def send(self, message: Message) -> None:
        """Send the guard's own refusal. Once passed, the answer is the rest's own affair."""
        if not self._passed:
            await self._send(message)

    async def go_on(self, principal: Principal | None) -> None:
        self._passed = True
        receive = self._replay if self._read else self._receive
        await self._rest(principal, receive, self._send)

    async def _replay(self) -> Message:
        return self._read.pop(0) if self._read else await self._receive()


class _AnyRequest(APIRoute):
    """Serves whatever comes: the table has matched path and method already."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.methods = set()

    def matches(self, scope: Scope) -> tuple[Match, Scope]:  # noqa: ARG002 - Starlette's signature
        """Match."""
        return Match.FULL, {"path_params": {}, "endpoint": self.endpoint, "route": self}


class _Sent(Response):
    """The answer has been sent already."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Do nothing."""


def asks_again(dependant: Any, dependency: Callable[..., Any]) -> bool:
    """Tell whether FastAPI would solve `dependency` for a handler, however deep below it.

    `dependant` is FastAPI's own tree of the handler's dependencies, or None.
    """
    return any(
        each.call is dependency or asks_again(each, dependency)
        for each in getattr(dependant, "dependencies", ())
    )


def _check_scopes(principal: Principal | None, required: frozenset[str]) -> None:
    missing = principal.missing(required) if principal is not None else tuple(sorted(required))
    if missing:
        raise HTTPException(
            403,
            "Forbidden",
            {"WWW-Authenticate": f'Bearer error="insufficient_scope", scope="{" ".join(missing)}"'},
        )


async def current_principal(request: Request) -> Principal:
    """Return who is calling: a dependency for handlers behind `auth: shared`.

    Raises RuntimeError where no guard has run: the route's rule doesn't say `auth: shared`.
    """
    principal: Principal | None = getattr(request.state, "principal", None)
    if principal is None:
        message = "there is no principal: the route's rule must say `auth: shared`"
        raise RuntimeError(message)
    return principal
