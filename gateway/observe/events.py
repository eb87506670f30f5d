"""The one event there is, and the protocol of its listeners."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from gateway.logs import logger_for

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from gateway.cutover import Decision
    from gateway.routing import Match

logger = logger_for("gateway.observe")


@dataclass(frozen=True, slots=True)
class Exchange:
    """One finished request: what was decided, what was answered, how long it took.

    `status` is 0 where the client left before there was one; `duration` is in seconds. `state` is
    what `request_state()` held at the end; `principal` the id of whom the shared guard let in.
    """

    method: str
    path: str
    match: Match
    decision: Decision
    status: int
    duration: float
    revision: str
    state: Mapping[str, Any] = field(default_factory=dict)
    principal: str | None = None
    trace_id: str | None = None


class Observer(Protocol):
    """Listens to exchanges. Called on the event loop: it must be quick and must not block."""

    def __call__(self, exchange: Exchange, /) -> None:
        """Take note of one finished request."""
        ...


def notify(observers: Iterable[Observer], exchange: Exchange) -> None:
    """Tell every observer; one that raises is logged and never harms the request."""
    for observer in observers:
        try:
            observer(exchange)
        except Exception:
            logger.exception("observer %r failed", observer)
