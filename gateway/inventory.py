"""Both apps' route tables as plain values, and what the router asks of either app.

The router never imports Flask or FastAPI: it sees these values and two small protocols, so that
any WSGI app (`OpaqueLegacy`) and any ASGI app work too.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Protocol

if TYPE_CHECKING:
    from gateway.templates import Template

Scope = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class LegacyEndpoint:
    """One rule of Flask's `url_map`. `ref` is the Werkzeug rule; `host` is "" for the default."""

    template: Template
    methods: frozenset[str]
    endpoint: str
    blueprint: str
    host: str
    view: str
    ref: object = field(compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class LegacyAnswer:
    """What the legacy app's own router says of one path and method.

    `rule`: it has a view, `ref` is the matched rule. `redirect`: it would send the client to
    another spelling. `method`: it knows the path, not the method (405). `refused`: it would
    refuse the host. `none`: 404. `unknown`: it can't be asked (any WSGI app).
    """

    outcome: Literal["rule", "redirect", "method", "refused", "none", "unknown"]
    ref: object | None = None


@dataclass(frozen=True, slots=True)
class Guards:
    """What stands before a legacy view: middleware and hooks by name, and evidence in the view.

    `refusing` are those of all three that have code which turns callers away; of the others
    nobody knows. `harmless` are those that are known to let everybody through.
    """

    middleware: tuple[str, ...] = ()
    hooks: tuple[str, ...] = ()
    view: tuple[str, ...] = ()
    refusing: frozenset[str] = frozenset()
    harmless: frozenset[str] = frozenset()


class LegacyRoutes(Protocol):
    """The legacy app's routes, as far as they can be known."""

    @property
    def opaque(self) -> bool:
        """True where the routes can't be listed: a WSGI app that isn't Flask."""
        ...

    @property
    def by_host(self) -> bool:
        """True where the answer depends on the request's host, not on path and method alone."""
        ...

    @property
    def open_converters(self) -> frozenset[str]:
        """Names of the converters whose values may hold a slash."""
        ...

    def endpoints(self) -> tuple[LegacyEndpoint, ...]:
        """List every rule that answers HTTP requests."""
        ...

    def answer(self, scope: Scope, method: str, path: str) -> LegacyAnswer:
        """Say what the app's own router does with `method` and `path`."""
        ...

    def allowed(self, scope: Scope, path: str) -> frozenset[str]:
        """List the methods that the app knows for `path`; empty where it doesn't know it."""
        ...

    def guards(self, endpoint: LegacyEndpoint | None, method: str) -> Guards:
        """Say what guards an endpoint: hooks, and what the view may do itself.

        None stands for a path that the app doesn't know: what is around the whole app.
        """
        ...

    def self_guards(self, endpoint: LegacyEndpoint, method: str) -> tuple[str, ...]:
        """Say what the view itself may do to turn callers away; the `view` of `guards`.

        Empty where the framework answers the method without asking the view.
        """
        ...


@dataclass(frozen=True, slots=True)
class NativeEndpoint:
    """One effective route of the native app. `methods` is None where any is accepted.

    `path` includes every prefix; `order` is the app's own matching order; `mounted` marks a route
    inside a mounted app. `wants_flask` marks one whose handler must run inside of Flask. `ref`,
    `dependant` and `handler` are the framework's and the user's objects; `dependant` is None where
    nothing is injected, `handler` where nobody has written a function.
    """

    path: str
    methods: frozenset[str] | None
    name: str
    tags: tuple[str, ...]
    kind: Literal["route", "websocket", "mount", "host", "frontend"]
    order: int
    module: str
    qualname: str
    include_in_schema: bool
    mounted: bool
    ref: object = field(compare=False, repr=False)
    wants_flask: bool = False
    dependant: object = field(default=None, compare=False, repr=False)
    handler: object = field(default=None, compare=False, repr=False)


class Found(NamedTuple):
    """What the native app itself would do with a request: run it, answer 405, or redirect."""

    endpoint: NativeEndpoint
    outcome: Literal["full", "partial", "redirect"]
    path_params: Mapping[str, Any]


class NativeRoutes(Protocol):
    """The native app's routes, as far as they can be known."""

    @property
    def opaque(self) -> bool:
        """True where the routes can't be listed: an ASGI app that isn't Starlette."""
        ...

    def endpoints(self) -> tuple[NativeEndpoint, ...]:
        """List the effective routes in the app's own matching order."""
        ...

    def find(self, scope: Scope) -> Found | None:
        """Say what the app would do with an HTTP or WebSocket scope; None for its 404."""
        ...


class OpaqueLegacy:
    """Any WSGI app: what it serves is known only by asking it."""

    opaque = True
    by_host = False
    open_converters = frozenset({"path"})

    def endpoints(self) -> tuple[LegacyEndpoint, ...]:
        """Return nothing: the routes can't be listed."""
        return ()

    def answer(self, scope: Scope, method: str, path: str) -> LegacyAnswer:  # noqa: ARG002
        """Return `unknown`."""
        return LegacyAnswer("unknown")

    def allowed(self, scope: Scope, path: str) -> frozenset[str]:  # noqa: ARG002
        """Return nothing."""
        return frozenset()

    def guards(self, endpoint: LegacyEndpoint | None, method: str) -> Guards:  # noqa: ARG002
        """Return nothing: it can't be known."""
        return Guards()

    def self_guards(self, endpoint: LegacyEndpoint, method: str) -> tuple[str, ...]:  # noqa: ARG002
        """Return nothing: it can't be known."""
        return ()


class NoNative:
    """There is no native app yet: day one of a migration."""

    opaque = False

    def endpoints(self) -> tuple[NativeEndpoint, ...]:
        """Return nothing."""
        return ()

    def find(self, scope: Scope) -> Found | None:  # noqa: ARG002
        """Return None."""
        return None


def route_path(scope: Scope) -> str:
    """Return the request's path without `root_path`, compared by segment (ASGI HTTP scope)."""
    path: str = scope["path"]
    root: str = scope.get("root_path", "")
    if root and path.startswith(root):
        rest = path[len(root) :]
        if not rest or rest.startswith("/"):
            return rest or "/"
    return path
