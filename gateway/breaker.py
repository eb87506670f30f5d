"""The circuit breaker: a route whose native handler keeps failing is legacy's for a while.

Pure: time comes from outside, in seconds of any clock that doesn't go back. One per route and
worker.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING

from gateway.logs import logger_for
from gateway.routing import Backend, Reason

if TYPE_CHECKING:
    from gateway.config import CircuitConfig
    from gateway.cutover import Decision
    from gateway.routing import Route

logger = logger_for("gateway.breaker")

_FIRST_ERROR = 500


class State(StrEnum):
    """Closed: native serves. Open: legacy does. Half-open: a few requests try native again."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half_open"


@dataclass(slots=True)
class Breaker:
    """Counts failures within `config.window` and opens at `config.ratio` percent of them.

    Not before `config.requests` have been seen: one failure of one request is no trend.
    """

    config: CircuitConfig
    state: State = State.CLOSED
    opened: int = 0
    """How often it has opened."""
    _seen: deque[tuple[float, bool]] = field(default_factory=deque)
    _failures: int = 0
    _until: float = 0.0
    _probing: int = 0
    _passed: int = 0

    def allows(self, now: float) -> bool:
        """Tell whether native may serve one more; every True must be followed by `note`."""
        if self.state is State.CLOSED:
            return True
        if self.state is State.OPEN:
            if now < self._until:
                return False
            self.state, self._probing, self._passed = State.HALF_OPEN, 0, 0
        if self._probing >= self.config.probes:
            return False
        self._probing += 1
        return True

    def note(self, ok: bool | None, now: float) -> None:
        """Count an outcome; None is neither (the client left, or the handler asked for legacy)."""
        if self.state is State.HALF_OPEN:
            self._note_probe(ok, now)
        elif self.state is State.CLOSED and ok is not None:
            self._forget(now)
            self._seen.append((now, ok))
            self._failures += not ok
            enough = len(self._seen) >= self.config.requests
            if enough and self._failures * 100 >= self.config.ratio * len(self._seen):
                self._open(now)

    def _note_probe(self, ok: bool | None, now: float) -> None:
        self._probing = max(0, self._probing - 1)
        if ok is False:
            self._open(now)
        elif ok:
            self._passed += 1
            if self._passed >= self.config.probes:
                self.state = State.CLOSED
                self._clear()

    def _open(self, now: float) -> None:
        self.state, self._until = State.OPEN, now + self.config.open
        self.opened += 1
        self._clear()

    def _clear(self) -> None:
        self._seen.clear()
        self._failures = 0

    def _forget(self, now: float) -> None:
        seen = self._seen
        while seen and seen[0][0] <= now - self.config.window:
            self._failures -= not seen.popleft()[1]


class Breakers:
    """The breakers of one worker's routes, by the route's id; a new config makes a new one."""

    def __init__(self) -> None:
        self._by_route: dict[str, Breaker] = {}

    def allows(self, route: Route, now: float) -> bool:
        """Tell whether native may serve a request of a route with a circuit."""
        return self._of(route).allows(now)

    def note(self, route: Route, decision: Decision, status: int, now: float) -> None:
        """Count how native did; a request that it was not asked for counts nothing."""
        ok: bool | None = None
        if decision.reason is Reason.GUARD:
            return
        if decision.reason is Reason.FAILOVER:
            ok = False
        elif decision.backend is Backend.NATIVE:
            ok = status < _FIRST_ERROR if status else None
        elif decision.reason not in (Reason.USE_LEGACY, Reason.HOOKS):
            return
        breaker = self._of(route)
        before = breaker.state
        breaker.note(ok, now)
        if breaker.state is not before:
            logger.warning("the circuit of %s is %s now", route.id, breaker.state.value)

    def forgo(self, route: Route, now: float) -> None:
        """Take back that a request is allowed: it has become one of another route."""
        self._of(route).note(None, now)

    def states(self) -> dict[str, str]:
        """Return the routes whose circuit isn't closed, with its state."""
        return {
            route: breaker.state.value
            for route, breaker in self._by_route.items()
            if breaker.state is not State.CLOSED
        }

    @property
    def opened(self) -> int:
        """How often any of them has opened."""
        return sum(breaker.opened for breaker in self._by_route.values())

    def _of(self, route: Route) -> Breaker:
        config = route.circuit
        if config is None:
            message = f"{route.id} has no circuit"
            raise ValueError(message)
        ident = f"GET {route.label}" if route.method == "HEAD" else route.id
        found = self._by_route.get(ident)
        if found is None or found.config != config:
            found = self._by_route[ident] = Breaker(config)
        return found
