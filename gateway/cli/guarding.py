"""What stands between a caller and the code that answers, route by route, for a reviewer."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

from gateway.flask import refusing
from gateway.inventory import Guards
from gateway.routing import Backend, Coverage

if TYPE_CHECKING:
    from collections.abc import Iterable

    from gateway.app import Gateway
    from gateway.config import Hooks
    from gateway.flask.refusing import Refuser
    from gateway.routing import Route, RouteTable
    from gateway.snapshot import Snapshot

Verdict = Literal["nobody", "unknown", "perhaps", "guarded"]
#: The weakest first: a route is as open as the side that is.
_ORDER: tuple[Verdict, ...] = ("nobody", "unknown", "perhaps", "guarded")


@dataclass(frozen=True, slots=True)
class Standing:
    """What can turn a caller away before one side answers, and in it.

    `sure` have code that refuses; of `perhaps` only their authors know. `unknown` says why
    nothing more can be known.
    """

    sure: tuple[str, ...] = ()
    perhaps: tuple[str, ...] = ()
    unknown: str = ""

    @property
    def verdict(self) -> Verdict:
        """Tell in one word what a stranger meets."""
        if self.sure:
            return "guarded"
        if self.perhaps:
            return "perhaps"
        return "unknown" if self.unknown else "nobody"

    @property
    def lines(self) -> list[str]:
        """Write it as people read it; never empty."""
        perhaps = [f"perhaps {each}" for each in self.perhaps]
        unknown = [self.unknown] if self.unknown else []
        return [*self.sure, *perhaps, *unknown] or ["nobody"]


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
    return replace(table.legacy.guards(endpoint, route.method if route else ""), view=())


def before(side: Backend, route: Route, gateway: Gateway, snapshot: Snapshot) -> Standing:
    """Say what a caller meets where `side` serves the route."""
    table, found, unknown = snapshot.table, _shared(gateway, route), ""
    if side is Backend.LEGACY and table.legacy.opaque:
        unknown = "unknown: the legacy app is not a Flask app"
    elif side is Backend.LEGACY:
        guards = table.legacy.guards(route.legacy, route.method)
        found += [*_named(guards), *_of_view(guards)]
    else:
        found += _named(around_native(table, route, snapshot.config.defaults.hooks))
        if route.native is None:
            unknown = "unknown: the native app's routes can't be listed"
        else:
            found += refusing.of_endpoint(route.native, gateway.native)
            if route.native.kind in ("mount", "host"):
                unknown = f"unknown: what is mounted at {route.native.path}"
    return Standing(
        tuple(each.what for each in found if each.sure),
        tuple(each.what for each in found if not each.sure),
        unknown,
    )


def _shared(gateway: Gateway, route: Route) -> list[Refuser]:
    if route.auth != "shared" or gateway.guard is None:
        return []
    # It solves one dependency: its own.
    refuses = [each.sure for each in refusing.of_dependencies(gateway.guard.dependant)]
    found = [refusing.Refuser("the shared guard", sure=sure) for sure in refuses]
    needed = sorted(route.requires)
    return [*found, *(refusing.Refuser(f"scope {scope}", sure=True) for scope in needed)]


def _named(guards: Guards) -> list[Refuser]:
    return [
        refusing.Refuser(name, sure=name in guards.refusing)
        for name in (*guards.middleware, *guards.hooks)
        if name not in guards.harmless
    ]


def _of_view(guards: Guards) -> list[Refuser]:
    sure = [each for each in guards.view if each in guards.refusing]
    what = f"the view itself: {', '.join(sure or guards.view)}"
    return [refusing.Refuser(what, sure=bool(sure))] if guards.view else []


def lost(route: Route, table: RouteTable) -> list[str]:
    """List what guarded the legacy view and doesn't guard its native handler."""
    if route.coverage is not Coverage.BOTH or route.legacy is None:
        return []
    guards = table.legacy.guards(route.legacy, route.method)
    kept = around_native(table, route, "inherit")
    names = [each for each in (*guards.middleware, *guards.hooks) if each not in guards.harmless]
    gone = [each for each in names if each not in (*kept.middleware, *kept.hooks)]
    return [*gone, *([f"the view itself: {', '.join(guards.view)}"] if guards.view else [])]
