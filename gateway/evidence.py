"""What the code of both apps, the lock and earlier proofs tell of who is refused, for one build."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from gateway import guards
from gateway.moving import accepted_as
from gateway.proofs import guard_text

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from gateway.auth import Guard
    from gateway.inventory import LegacyRoutes, NativeEndpoint, NativeRoutes
    from gateway.proofs import Proof
    from gateway.routing import Route


class Handlers:
    """What has been read of the native app's handlers, each of them once. Code doesn't change."""

    def __init__(self, app: object) -> None:
        self.app = app
        # With the endpoint, so that its id stays its own.
        self._refusing: dict[int, tuple[NativeEndpoint, bool]] = {}
        self._codes: dict[int, tuple[NativeEndpoint, str]] = {}
        self._guard: tuple[Guard, bool] | None = None

    def adopt(self, native: NativeRoutes, guard: Guard | None, named: Iterable[str]) -> None:
        """Read the native app's packages as the team's own, though they may be installed.

        `named` are the modules of both apps that the config names.
        """
        guards.adopt_native(
            self.app, native.endpoints(), [guard.dependant] if guard is not None else [], named
        )

    def refuses(self, endpoint: NativeEndpoint) -> bool:
        """Tell whether a native route certainly refuses somebody."""
        known = self._refusing.get(id(endpoint))
        if known is None:
            found = any(each.sure for each in guards.of_endpoint(endpoint, self.app))
            known = self._refusing[id(endpoint)] = (endpoint, found)
        return known[1]

    def guard_refuses(self, guard: Guard) -> bool:
        """Tell whether the shared guard can refuse somebody."""
        if self._guard is None or self._guard[0] is not guard:
            found = any(True for _ in guards.of_dependencies(guard.dependant, self.app))
            self._guard = (guard, found)
        return self._guard[1]

    def code(self, endpoint: NativeEndpoint) -> str:
        """Return the fingerprint of a native route's code."""
        known = self._codes.get(id(endpoint))
        if known is None:
            found = guards.handler_fingerprint(endpoint, self.app)
            known = self._codes[id(endpoint)] = (endpoint, found)
        return known[1]


@dataclass(frozen=True, slots=True)
class KnownEvidence:
    """Answers `gateway.moving`'s questions. User code is read, never run.

    `accepted` holds what the lock says is accepted, as `gateway.moving.accepted_as` writes it; it
    is None where there is no lock. `proofs` are those of `routes.proof`, by route.
    """

    legacy: LegacyRoutes
    handlers: Handlers
    guard: Guard | None
    accepted: frozenset[str] | None
    proofs: Mapping[str, Proof]

    @property
    def shared_refuses(self) -> bool:
        """Whether `auth.dependency` is there and can refuse somebody."""
        return self.guard is not None and self.handlers.guard_refuses(self.guard)

    def handler_refuses(self, endpoint: NativeEndpoint) -> bool:
        """Tell whether a native route certainly refuses somebody."""
        return self.handlers.refuses(endpoint)

    def is_proved(self, route: Route) -> bool:
        """Tell whether a proof is there, of this very code; that of GET is HEAD's, too."""
        if route.method == "HEAD":
            route = replace(route, method="GET")
        proof = self.proofs.get(route.id)
        if proof is None:
            return False
        found = fingerprints(route, self.legacy, self.handlers, self.guard)
        said = guard_text(route.auth, route.hooks, route.requires)
        return found is not None and proof.holds(*found, said)

    def was_accepted(self, code: str, route: Route) -> bool:
        """Tell whether the lock has this route among those that the rule's `accept` is for."""
        if self.accepted is None:
            return True
        name = accepted_as(code, route)
        if route.legacy is None:  # it is no view's: those of its path that have one count, too
            return any(each == name or each.startswith(f"{name} ") for each in self.accepted)
        return name in self.accepted


def fingerprints(
    route: Route, legacy: LegacyRoutes, handlers: Handlers, guard: Guard | None
) -> tuple[str, str] | None:
    """Return what tells one state of a route's code from another, on either side.

    Legacy's is of the view and what is around it, native's of the handler; with `auth: shared` the
    guard's belongs to it. None where there is no code to read: legacy isn't Flask, or nobody has
    written a handler.
    """
    if route.legacy is None or route.native is None or route.native.handler is None:
        return None
    view = legacy.fingerprint(route.legacy, route.method)
    handler = handlers.code(route.native)
    if route.auth == "shared" and guard is not None:
        solved = replace(route.native, handler=guard.dependency, dependant=guard.dependant)
        handler = f"{handler}.{guards.handler_fingerprint(solved, handlers.app)}"
    return (view, handler) if view else None
