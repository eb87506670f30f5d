"""What stands between a caller and the code that answers, route by route, for a reviewer."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

from gateway import guards
from gateway.inventory import Guard, Guards
from gateway.routing import Backend, Coverage

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from gateway.app import Gateway
    from gateway.config import Hooks
    from gateway.guards import Refuser
    from gateway.inventory import Does
    from gateway.routing import Route, RouteTable
    from gateway.snapshot import Snapshot

Verdict = Literal["nothing", "identifies", "unknown", "perhaps", "refuses"]
#: The weakest first: a route is as open as the side that is.
_ORDER: tuple[Verdict, ...] = ("nothing", "identifies", "unknown", "perhaps", "refuses")
#: Signs of one guard that a line names.
_MOST = 3


@dataclass(frozen=True, slots=True)
class Standing:
    """What a caller meets before one side answers, and in it.

    It certainly `refuses` some callers, `perhaps` does, or only `identifies` who is calling.
    `unknown` says why nothing more can be known.
    """

    refuses: tuple[str, ...] = ()
    perhaps: tuple[str, ...] = ()
    identifies: tuple[str, ...] = ()
    unknown: str = ""

    @property
    def verdict(self) -> Verdict:
        """Tell in one word what a stranger meets."""
        if self.refuses:
            return "refuses"
        if self.perhaps:
            return "perhaps"
        if self.unknown:
            return "unknown"
        return "identifies" if self.identifies else "nothing"

    @property
    def can_refuse(self) -> tuple[str, ...]:
        """List what refuses, or perhaps does, as people read it."""
        perhaps = tuple(f"perhaps {each}" for each in self.perhaps)
        return (*self.refuses, *perhaps, *([self.unknown] if self.unknown else ()))


def weakest(standings: Iterable[Standing]) -> Verdict:
    """Return the verdict of the side that lets most callers through."""
    return min((each.verdict for each in standings), key=_ORDER.index)


def around_native(table: RouteTable, route: Route | None, default: Hooks) -> Guards:
    """Return what of Flask's runs around a native handler; nothing where Flask is left out.

    `default` is what `defaults.hooks` says. A FlaskRoute always runs inside of Flask. A native-only
    route has what is around the whole app; a catch-all blueprint's hooks don't count for it.
    """
    hooks = route.hooks if route is not None else default
    inside = route is not None and route.native is not None and route.native.wants_flask
    if hooks == "skip" and not inside:
        return Guards()
    endpoint = route.legacy if route is not None else None
    # The view itself doesn't run.
    return replace(table.legacy.guards(endpoint, route.method if route else ""), view=None)


def before(side: Backend, route: Route, gateway: Gateway, snapshot: Snapshot) -> Standing:
    """Say what a caller meets where `side` serves the route."""
    table, unknown = snapshot.table, ""
    met, found = Guards(), _shared(gateway, route)
    if side is Backend.LEGACY and table.legacy.opaque:
        unknown = "unknown: the legacy app is not a Flask app"
    elif side is Backend.LEGACY:
        met = table.legacy.guards(route.legacy, route.method)
    else:
        met = around_native(table, route, snapshot.config.defaults.hooks)
        if route.native is None:
            unknown = "unknown: the native app's routes can't be listed"
        else:
            found += guards.of_endpoint(route.native, gateway.native)
            if route.native.kind in ("mount", "host"):
                unknown = f"unknown: what is mounted at {route.native.path}"
    every = [*met.around, *([met.view] if met.view is not None else [])]
    return Standing(
        (*_sure(found, sure=True), *_of(every, "refuses")),
        (*_sure(found, sure=False), *_of(every, "perhaps")),
        tuple(_of(every, "identifies")),
        unknown,
    )


def _sure(found: Iterable[Refuser], *, sure: bool) -> Iterator[str]:
    return (each.what for each in found if each.sure is sure)


def _of(met: Iterable[Guard], does: Does) -> Iterator[str]:
    return (_told(each) for each in met if each.does == does)


def _told(guard: Guard) -> str:
    """Name a hook or middleware; a view by what it does."""
    if guard.place != "view":
        return guard.name
    more = len(guard.evidence) - _MOST
    rest = f", and {more} more" if more > 0 else ""
    return f"the view itself: {', '.join(guard.evidence[:_MOST])}{rest}"


def _shared(gateway: Gateway, route: Route) -> list[Refuser]:
    if route.auth != "shared" or gateway.guard is None:
        return []
    # It solves one dependency: its own.
    refuses = [
        each.sure for each in guards.of_dependencies(gateway.guard.dependant, gateway.native)
    ]
    found = [guards.Refuser("the shared guard", sure=sure) for sure in refuses]
    needed = sorted(route.requires)
    return [*found, *(guards.Refuser(f"scope {scope}", sure=True) for scope in needed)]


def lost(route: Route, table: RouteTable) -> list[str]:
    """List what guarded the legacy view and doesn't guard its native handler."""
    if route.coverage is not Coverage.BOTH or route.legacy is None:
        return []
    met = table.legacy.guards(route.legacy, route.method)
    kept = {each.name for each in around_native(table, route, "inherit").around}
    gone = [each for each in met.around if each.name not in kept]
    every = [*gone, *([met.view] if met.view is not None else [])]
    return [_told(each) for each in every if each.does in ("refuses", "perhaps")]
