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
    """One rule of Flask's `url_map`. `ref` is the Werkzeug rule; `host` is "" for the default.

    `pattern` is a regex that reads the parameters out of a path as Werkzeug does, but as raw text;
    "" where the rule's converters can't be read. `function` is the view itself, as it was read.
    """

    template: Template
    methods: frozenset[str]
    endpoint: str
    blueprint: str
    host: str
    view: str
    ref: object = field(compare=False, repr=False)
    any_method: bool = False
    """It has no list of methods: it answers any, those that nobody has heard of, too."""
    pattern: str = field(default="", repr=False)
    function: object = field(default=None, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class LegacyAnswer:
    """What the legacy app's own router says of one path and method.

    `rule`: it has a view, `ref` is the matched rule. `redirect`: it would send the client to
    another spelling. `method`: it knows the path, not the method (405). `refused`: it would
    refuse the request itself, for its host or its upgrade. `none`: 404. `unknown`: it can't be
    asked (any WSGI app).
    """

    outcome: Literal["rule", "redirect", "method", "refused", "none", "unknown"]
    ref: object | None = None

    def agrees(self, other: LegacyAnswer) -> bool:
        """Tell whether both are the same answer: the same outcome, and the very same rule."""
        return self.outcome == other.outcome and self.ref is other.ref


Does = Literal["refuses", "perhaps", "identifies", "nothing"]


@dataclass(frozen=True, slots=True)
class Guard:
    """One thing that a caller meets on the way to a view: middleware, a hook, or the view itself.

    It certainly *refuses* some callers, *perhaps* does (something in it can't be resolved), only
    *identifies* who is calling, or does *nothing*. `evidence` says by what, the strongest first.
    """

    name: str
    place: Literal["middleware", "hook", "view"]
    does: Does
    evidence: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Guards:
    """What a caller meets: middleware and hooks, app-wide ones first, then the view.

    `view` is None where the framework answers by itself (automatic OPTIONS), or has no view.
    """

    around: tuple[Guard, ...] = ()
    view: Guard | None = None


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

    @property
    def mounted(self) -> tuple[str, ...]:
        """Path prefixes that WSGI middleware hands to another app before this one is asked."""
        ...

    def endpoints(self) -> tuple[LegacyEndpoint, ...]:
        """List every rule that answers HTTP requests."""
        ...

    def answer(self, scope: Scope, method: str, path: str) -> LegacyAnswer:
        """Say what the app's own router does with `method` and `path`, sent as `scope` tells.

        Host, scheme and upgrade headers count as they do for the app. What can't be told is
        `refused`: the app itself then says what becomes of it.
        """
        ...

    def plain(self, scope: Scope) -> bool:
        """Tell whether nothing but method and path decides: no upgrade, no host to refuse."""
        ...

    def allowed(self, scope: Scope, path: str) -> frozenset[str]:
        """List the methods that the app knows for `path`; empty where it doesn't know it."""
        ...

    def knows(self, scope: Scope, path: str) -> bool:
        """Tell whether the app says 404 to a path that it knows in another way.

        It redirects it for some other method, or only a newline at its end is too much.
        """
        ...

    def guards(self, endpoint: LegacyEndpoint | None, method: str) -> Guards:
        """Say what a caller of an endpoint meets: middleware, hooks, and the view itself.

        None stands for a path that the app doesn't know: what is around the whole app.
        """
        ...

    def fingerprint(self, endpoint: LegacyEndpoint, method: str) -> str:
        """Hash the code of a view, its decorators and helpers, and of what is around it.

        16 hexadecimal digits.
        """
        ...


@dataclass(frozen=True, slots=True)
class NativeEndpoint:
    """One effective route of the native app. `methods` is None where any is accepted.

    `path` includes every prefix; `order` is the app's own matching order; `mounted` marks a route
    inside a mounted app. `wants_flask` marks one whose handler must run inside of Flask. `ref`,
    `dependant`, `handler` and `route` are the framework's and the user's objects; `dependant` is
    None where nothing is injected, `handler` where nobody has written a function. `route` is what
    the framework puts into `scope["route"]`.
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
    route: object = field(default=None, compare=False, repr=False)


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

    @property
    def by_path(self) -> bool:
        """True where method and path alone decide: no route reads a header, or the host."""
        ...

    @property
    def answers_preflights(self) -> bool:
        """True where middleware answers every CORS preflight, so that no handler is asked."""
        ...

    @property
    def may_speak_cors(self) -> bool:
        """True where some middleware may answer a CORS preflight."""
        ...

    def find(self, scope: Scope) -> Found | None:
        """Say what the app would do with an HTTP or WebSocket scope; None for its 404."""
        ...


class OpaqueLegacy:
    """Any WSGI app: what it serves is known only by asking it."""

    opaque = True
    by_host = False
    mounted = ()
    open_converters = frozenset({"path"})

    def endpoints(self) -> tuple[LegacyEndpoint, ...]:
        """Return nothing: the routes can't be listed."""
        return ()

    def answer(self, scope: Scope, method: str, path: str) -> LegacyAnswer:  # noqa: ARG002
        """Return `unknown`."""
        return LegacyAnswer("unknown")

    def plain(self, scope: Scope) -> bool:  # noqa: ARG002
        """Return True: there is nothing else to ask."""
        return True

    def allowed(self, scope: Scope, path: str) -> frozenset[str]:  # noqa: ARG002
        """Return nothing."""
        return frozenset()

    def knows(self, scope: Scope, path: str) -> bool:  # noqa: ARG002
        """Return False."""
        return False

    def guards(self, endpoint: LegacyEndpoint | None, method: str) -> Guards:  # noqa: ARG002
        """Return nothing: it can't be known."""
        return Guards()

    def fingerprint(self, endpoint: LegacyEndpoint, method: str) -> str:  # noqa: ARG002
        """Return an empty text: it can't be known."""
        return ""


class NoNative:
    """There is no native app yet: day one of a migration."""

    opaque = False
    by_path = True
    answers_preflights = False
    may_speak_cors = False

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
