"""The native app's routes as they are now: listed, and searched by path."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

from starlette.applications import Starlette
from starlette.routing import BaseRoute, Host, Match, Mount, Router

from gateway.inventory import Found, NativeEndpoint
from gateway.native import included
from gateway.native.candidate import Candidate, candidate_shape, candidates_of, get_route_path
from gateway.native.index import PathIndex
from gateway.native.listing import listed, listed_below, listed_frontends

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from starlette.types import Scope

Ask: TypeAlias = "Callable[[Candidate, Scope], tuple[Match, Scope]]"

#: How many layers of middleware around a mounted app are looked through.
_MOST_LAYERS = 16


class Selection(NamedTuple):
    """The route that the app itself would run, FULL or PARTIAL (405), and its scope."""

    candidate: Candidate
    match: Match
    child_scope: Scope


@dataclass(frozen=True, slots=True, eq=False)
class _Sub:
    table: Table
    seen: _Built
    endpoints: Mapping[int, NativeEndpoint]


@dataclass(frozen=True, slots=True, eq=False)
class _Built:
    """One reading of the routes. The last three go by the candidate's order.

    `inner` are the apps with routers of their own below mounts and hosts, listed or not.
    """

    snapshot: list[BaseRoute]
    routers: tuple[Any, ...]
    stamp: object
    candidates: tuple[Candidate, ...]
    index: PathIndex[Candidate]
    by_key: Mapping[tuple[int, str], Candidate]
    endpoints: tuple[NativeEndpoint, ...]
    endpoint_of: Mapping[int, NativeEndpoint]
    subs: Mapping[int, _Sub]
    inner: Mapping[int, Starlette | Router]


class Table:
    """The routes of one Starlette or FastAPI app (or bare Router), read again when they change."""

    def __init__(self, app: Starlette | Router, above: tuple[Router, ...] = ()) -> None:
        self.router: Router = app.router if isinstance(app, Starlette) else app
        # The routers that lead here through mounts: an app may be mounted below itself.
        self._lineage = (*above, self.router)
        self._app = app
        self._built: _Built | None = None

    def root_path(self, scope: Mapping[str, Any]) -> str:
        """Return the root path as the app's routes will see it; FastAPI's own setting wins."""
        return getattr(self._app, "root_path", "") or scope.get("root_path", "")

    def fresh(self) -> _Built:
        """Return the current reading.

        Comparing the list with its copy costs about 0.3 µs for 500 routes, as equal lists hold
        identical objects. A route replaced by an *equal* one shows when it is selected.
        """
        built = self._built
        if (
            built is not None
            and self.router.routes == built.snapshot
            and (not built.routers or included.stamp(built.routers) == built.stamp)
            and (not built.subs or all(s.table.fresh() is s.seen for s in built.subs.values()))
        ):
            return built
        return self._read()

    def endpoints(self) -> tuple[NativeEndpoint, ...]:
        """List the routes, and last what `frontend()` serves, as the app itself asks it last."""
        routes = self.fresh().endpoints
        return (*routes, *listed_frontends(self.router, len(routes)))

    @property
    def by_path(self) -> bool:
        """Whether method and path alone decide which route is found, in mounted apps as well."""
        built = self.fresh()
        return all(candidate_shape(each) is not None for each in built.candidates) and all(
            sub.table.by_path for sub in built.subs.values()
        )

    def current(self, candidate: Candidate) -> Candidate | None:
        """Return the same route in the current reading; None if the app no longer has it."""
        built = self.fresh()
        if candidate.order < len(built.candidates) and (
            built.candidates[candidate.order] is candidate
        ):
            return candidate
        return built.by_key.get(candidate.key)

    def inner(self, candidate: Candidate) -> Starlette | Router | None:
        """Return the app below a mount or a host that finds its own route; None: none is seen."""
        built = self._built
        if built is None or not built.inner:
            return None
        current = self.current(candidate)
        return built.inner.get(current.order) if current is not None else None

    def alike(self, candidate: Candidate) -> list[Candidate]:
        """List the other routes of the same template: they may tell callers apart."""
        path = getattr(candidate.route, "path", None)
        return [
            each
            for each in self.fresh().candidates
            if each is not candidate and getattr(each.route, "path", None) == path
        ]

    def select(self, scope: Scope, ask: Ask = Candidate.matches) -> Selection | None:
        """Return what the app's router would select in its first pass."""
        return self._select(scope, ask)[1]

    def _select(self, scope: Scope, ask: Ask) -> tuple[_Built, Selection | None]:
        built = self.fresh()
        selection = _select(built, scope, ask)
        if selection is not None:
            candidate = selection.candidate
            if self.router.routes[candidate.position] is not candidate.top:
                built = self._read()
                selection = _select(built, scope, ask)
        return built, selection

    def find(self, scope: Mapping[str, Any]) -> Found | None:
        """Say what the app itself would do with an HTTP or WebSocket scope."""
        probe = dict(scope)
        probe["root_path"] = self.root_path(scope)
        if "fastapi" in probe and isinstance(probe["fastapi"], dict):
            probe["fastapi"] = dict(probe["fastapi"])
        built, selection = self._select(probe, _ask_safely)
        if selection is not None:
            return self._found(built, probe, selection)
        if probe["type"] != "http":
            return None
        return self._redirect(built, probe) or self._frontend(probe, len(built.endpoints))

    def _found(self, built: _Built, probe: Scope, selection: Selection) -> Found:
        candidate, match, child_scope = selection
        sub = built.subs.get(candidate.order) if built.subs else None
        if sub is not None and match is Match.FULL:
            below = sub.table.find({**probe, **child_scope})
            endpoint = sub.endpoints.get(below.endpoint.order) if below is not None else None
            if below is not None and endpoint is not None:
                return Found(endpoint, below.outcome, below.path_params)
        return Found(
            built.endpoint_of[candidate.order],
            "full" if match is Match.FULL else "partial",
            child_scope.get("path_params", {}),
        )

    def _redirect(self, built: _Built, probe: Scope) -> Found | None:
        path = get_route_path(probe)
        if not self.router.redirect_slashes or path == "/":
            return None
        whole: str = probe["path"]
        probe = {**probe, "path": whole.rstrip("/") if path.endswith("/") else whole + "/"}
        for candidate in built.index.candidates(get_route_path(probe)):
            match, child_scope = _ask_safely(candidate, probe)
            if match is not Match.NONE:
                endpoint = built.endpoint_of[candidate.order]
                return Found(endpoint, "redirect", child_scope.get("path_params", {}))
        return None

    def _frontend(self, probe: Scope, first: int) -> Found | None:
        path = get_route_path(probe)
        best: NativeEndpoint | None = None
        for endpoint in listed_frontends(self.router, first):
            below = endpoint.path in ("/", path) or path.startswith(endpoint.path + "/")
            # "/" is the least specific, being the shortest.
            if below and (best is None or len(endpoint.path) > len(best.path)):
                best = endpoint
        if best is None:
            return None
        return Found(best, "full" if probe["method"] in ("GET", "HEAD") else "partial", {})

    def _read(self) -> _Built:
        routes = list(self.router.routes)
        candidates = tuple(candidates_of(routes))
        endpoints: list[NativeEndpoint] = []
        endpoint_of: dict[int, NativeEndpoint] = {}
        subs: dict[int, _Sub] = {}
        inner: dict[int, Starlette | Router] = {}
        for candidate in candidates:
            below = _inner_app(candidate)
            if below is not None:
                inner[candidate.order] = below
            sub = _sub_table(candidate, self._lineage)
            if sub is not None:
                seen = sub.fresh()
                subs[candidate.order] = _Sub(
                    sub, seen, listed_below(candidate, sub.endpoints(), len(endpoints))
                )
                endpoints += subs[candidate.order].endpoints.values()
            endpoint = listed(candidate, len(endpoints))
            endpoint_of[candidate.order] = endpoint
            endpoints.append(endpoint)
        routers = tuple(
            router
            for route in routes
            if included.is_included(route) and included.UNDERSTOOD
            for router in included.routers(route)
        )
        self._built = _Built(
            routes,
            routers,
            included.stamp(routers),
            candidates,
            PathIndex(
                ((each, candidate_shape(each)) for each in candidates), lambda each: each.order
            ),
            {each.key: each for each in reversed(candidates)},
            tuple(endpoints),
            endpoint_of,
            subs,
            inner,
        )
        return self._built


def _ask_safely(candidate: Candidate, scope: Scope) -> tuple[Match, Scope]:
    """Ask the route; one whose converter or own `matches` fails is where the app will end too."""
    try:
        return candidate.matches(scope)
    except Exception:  # noqa: BLE001
        return Match.FULL, {}


def _select(built: _Built, scope: Scope, ask: Ask) -> Selection | None:
    partial_match: Selection | None = None
    for candidate in built.index.candidates(get_route_path(scope)):
        match, child_scope = ask(candidate, scope)
        if match is Match.FULL:
            return Selection(candidate, match, child_scope)
        if match is Match.PARTIAL and partial_match is None:
            partial_match = Selection(candidate, match, child_scope)
    return partial_match


def _sub_table(candidate: Candidate, above: tuple[Router, ...]) -> Table | None:
    if not candidate.is_mount:
        return None
    # `app` is wrapped when the mount has middleware of its own; `_base_app` never is.
    for app in (candidate.route.app, getattr(candidate.route, "_base_app", None)):
        if isinstance(app, Starlette | Router):
            sub = Table(app, above)
            return None if any(each is sub.router for each in above) else sub
    return None


def _inner_app(candidate: Candidate) -> Starlette | Router | None:
    """Find the app below a mount or a host, through the middleware around it."""
    if not isinstance(candidate.route, Mount | Host):
        return None
    # `app` is wrapped when the mount has middleware of its own; `_base_app` never is.
    layer = [getattr(candidate.route, "_base_app", candidate.route.app)]
    for _ in range(_MOST_LAYERS):
        found = next((each for each in layer if isinstance(each, Starlette | Router)), None)
        if found is not None or not layer:
            return found
        layer = [
            value
            for each in layer
            for value in getattr(each, "__dict__", {}).values()
            if callable(value) and not isinstance(value, type)
        ]
    return None
