"""One effective route of the native app: how to ask it, run it, read and write its path."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from fastapi.routing import APIRoute, APIWebSocketRoute

# Private, and there is no public one: Starlette's routes match what it leaves of path and root
# path, and whoever asks them must agree (tests/unit/test_native.py pins it).
from starlette._utils import get_route_path
from starlette.routing import BaseRoute, Match, Mount, Route, WebSocketRoute, replace_params

from gateway.native import included
from gateway.native.index import Shape, shape_of

if TYPE_CHECKING:
    from collections.abc import Coroutine, Iterator, Mapping
    from collections.abc import Set as AbstractSet

    from starlette.types import Receive, Scope, Send

__all__ = [
    "Candidate",
    "Nested",
    "Ref",
    "Transparent",
    "candidate_shape",
    "candidates_of",
    "get_route_path",
]

# Classes whose `matches` is decided by the template. Any other may match whatever it likes.
_BY_TEMPLATE = {cls.matches for cls in (Route, WebSocketRoute, Mount, APIRoute, APIWebSocketRoute)}


class Transparent(BaseRoute):
    """A route that only stands for others of its app: never listed, never a candidate."""


@dataclass(frozen=True, slots=True, eq=False)
class Candidate:
    """One effective route: where it stands in the app, how to ask and run it.

    `top` is the app's own entry at `position`: the route itself, or the included router it is
    in. `route` carries the effective template and `parameters` the names in it; without a
    template a path can neither be read nor written.
    """

    order: int
    position: int
    top: BaseRoute
    route: Any
    leaf: included.Leaf | None
    parameters: AbstractSet[str]
    has_template: bool
    is_mount: bool

    @classmethod
    def of(
        cls, order: int, position: int, top: BaseRoute, leaf: included.Leaf | None = None
    ) -> Candidate:
        """Look at a route of the app, or at one below its included router `top`."""
        route: Any = top if leaf is None else leaf.effective
        return cls(
            order,
            position,
            top,
            route,
            leaf,
            parameters=frozenset(getattr(route, "param_convertors", ())),
            has_template=hasattr(route, "path_regex") and hasattr(route, "path_format"),
            is_mount=isinstance(route, Mount),
        )

    @property
    def reads_path(self) -> bool:
        """Whether what runs finds its own way by the path in the scope."""
        return self.is_mount or (self.leaf is not None and self.leaf.whole is not None)

    @property
    def key(self) -> tuple[int, str]:
        """What identifies the route after other routes have come or gone."""
        original = self.top if self.leaf is None else self.leaf.original
        return id(original), getattr(self.route, "path", "")

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        """Ask the real route."""
        return self.top.matches(scope) if self.leaf is None else self.leaf.matches(scope)

    def run(self, scope: Scope, receive: Receive, send: Send) -> Coroutine[Any, Any, None]:
        """Run the route in a scope that its `matches` has already been merged into."""
        if self.leaf is not None:
            return self.leaf.run(scope, receive, send)
        included.select(scope, self.route)
        return self.top.handle(scope, receive, send)

    def convert(self, path: str) -> dict[str, Any] | None:
        """Read the parameters out of `path`; None where it doesn't fit the template."""
        match = self.route.path_regex.match(path) if self.has_template else None
        if match is None:
            return None
        convertors = self.route.param_convertors
        try:
            return {name: convertors[name].convert(raw) for name, raw in match.groupdict().items()}
        except ValueError:
            return None

    def fill(self, params: Mapping[str, Any]) -> str:
        """Write a path that fits the template; ValueError where a parameter is missing."""
        missing = sorted(self.parameters - params.keys())
        if missing:
            raise ValueError(f"{self.route.path}: no value for {', '.join(missing)}")
        taken = {name: params[name] for name in self.parameters}
        path, _ = replace_params(self.route.path_format, self.route.param_convertors, taken)
        return path


@dataclass(frozen=True, slots=True, eq=False)
class Nested:
    """A route of a mounted app, reached through the mount."""

    mount: Candidate
    child: Candidate | Nested

    def convert(self, path: str) -> dict[str, Any] | None:
        """Read the parameters of mount and child out of `path`."""
        outer = self.mount.convert(path)
        # Starlette's patterns overlook a newline at the end of a path (`$`).
        if outer is None or path.endswith("\n") != str(outer["path"]).endswith("\n"):
            return None
        inner = self.child.convert("/" + str(outer.pop("path")))
        return None if inner is None else {**outer, **inner}

    def fill(self, params: Mapping[str, Any]) -> str:
        """Write a path that fits the mount and, below it, the child."""
        return self.mount.fill({**params, "path": self.child.fill(params).removeprefix("/")})


Ref = Candidate | Nested


def parameters(ref: Ref) -> AbstractSet[str]:
    """Return the names of the path parameters that lead to a route, its mounts' included."""
    if isinstance(ref, Nested):
        return (ref.mount.parameters - {"path"}) | parameters(ref.child)
    return ref.parameters


def candidates_of(routes: list[BaseRoute]) -> Iterator[Candidate]:
    """List what the app can run, in its own matching order."""
    order = 0
    for position, top in enumerate(routes):
        if isinstance(top, Transparent):
            continue
        leaves = included.leaves(top) if included.is_included(top) else None
        if leaves is None:
            yield Candidate.of(order, position, top)
            order += 1
            continue
        for leaf in leaves:
            yield Candidate.of(order, position, top, leaf)
            order += 1


def candidate_shape(candidate: Candidate) -> Shape | None:
    """Return the shape of the template; None where it isn't the template that decides."""
    asked = candidate.top if candidate.leaf is None else candidate.leaf.original
    if candidate.leaf is not None and not isinstance(asked, APIRoute):
        asked = candidate.route
    if type(asked).matches not in _BY_TEMPLATE or "matches" in vars(asked):
        return None
    if candidate.leaf is not None and candidate.leaf.whole is not None:
        return None
    path: str = candidate.route.path
    if isinstance(asked, Mount):
        path += "/{path:path}"
    return shape_of(path, candidate.route.path_regex)
