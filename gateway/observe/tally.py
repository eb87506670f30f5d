"""Counts what was served, cheaply: per route and side, by plain integers.

The hot path does two dictionary lookups and a handful of additions. Everything else (rates,
percentiles, Prometheus' text) is made of these numbers when somebody asks.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from gateway.routing import Backend, Reason

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from gateway.cutover import Decision
    from gateway.routing import Match, RouteTable

#: Upper bounds of the durations' histogram, in seconds; the last bucket is open.
BOUNDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
#: How many seconds of history are kept.
HISTORY_SECONDS = 60
#: Methods that a label may hold where no route is known: the rest is `other`.
_METHODS = frozenset({"DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT"})
_CLASSES = ("aborted", "1xx", "2xx", "3xx", "4xx", "5xx")

Key = tuple[str, str, str]
"""Method, path template (empty: no route) and side: legacy, native, or guard (it refused)."""


@dataclass(slots=True)
class Line:
    """What one side has served of one route. `durations` go by `BOUNDS`, `seconds` is their sum."""

    durations: list[int] = field(default_factory=lambda: [0] * (len(BOUNDS) + 1))
    seconds: float = 0.0
    reasons: dict[str, int] = field(default_factory=dict)
    statuses: dict[str, int] = field(default_factory=dict)

    @property
    def count(self) -> int:
        """How many requests there were."""
        return sum(self.durations)

    @property
    def errors(self) -> int:
        """How many of them were answered with 5xx."""
        return self.statuses.get("5xx", 0)

    def add(self, other: Line) -> None:
        """Count what another worker has counted, too."""
        self.durations = [a + b for a, b in zip(self.durations, other.durations, strict=True)]
        self.seconds += other.seconds
        for mine, theirs in ((self.reasons, other.reasons), (self.statuses, other.statuses)):
            for name, number in theirs.items():
                mine[name] = mine.get(name, 0) + number


@dataclass(slots=True)
class Moment:
    """What was served of one route within one second of the clock."""

    legacy: int = 0
    native: int = 0
    errors: int = 0

    def add(self, other: Moment) -> None:
        """Count what was counted elsewhere in the same second, too."""
        self.legacy += other.legacy
        self.native += other.native
        self.errors += other.errors


class Tally:
    """Counts for one worker. Everything runs on the event loop."""

    def __init__(self) -> None:
        self.lines: dict[Key, Line] = {}
        self.history: dict[tuple[str, str], deque[tuple[int, Moment]]] = {}
        self._table: RouteTable | None = None
        # A route's line by its identity: only valid for the table that holds the route.
        self._legacy: dict[int, Line] = {}
        self._native: dict[int, Line] = {}
        self._guard: dict[int, Line] = {}
        self._counted: dict[Key, tuple[int, int]] = {}

    def note(
        self,
        table: RouteTable,
        match: Match,
        decision: Decision,
        method: str,
        status: int,
        seconds: float,
    ) -> None:
        """Count one finished request; `status` is 0 where there was no answer."""
        if table is not self._table:
            self._table = table
            self._legacy.clear()
            self._native.clear()
            self._guard.clear()
        if decision.backend is Backend.LEGACY:
            lines = self._legacy
        else:
            lines = self._guard if decision.reason is Reason.GUARD else self._native
        route = match.route
        line = lines.get(id(route)) if route is not None else None
        if line is None:
            line = self._line(match, decision, method)
            if route is not None:
                lines[id(route)] = line
        line.durations[bisect_left(BOUNDS, seconds)] += 1
        line.seconds += seconds
        reason = decision.reason._value_
        reasons = line.reasons
        reasons[reason] = reasons.get(reason, 0) + 1
        kind = _CLASSES[status // 100] if status < 600 else "5xx"  # noqa: PLR2004
        statuses = line.statuses
        statuses[kind] = statuses.get(kind, 0) + 1

    def _line(self, match: Match, decision: Decision, method: str) -> Line:
        route = match.route
        if route is None:
            named = method if method in _METHODS else "other"
            key = (named, "", decision.side)
        else:
            key = (route.method, route.label, decision.side)
        return self.lines.setdefault(key, Line())

    def tick(self, second: int) -> None:
        """Note what has come since the last tick as the history of `second` (epoch)."""
        for key, line in self.lines.items():
            count, errors = line.count, line.errors
            known = self._counted.get(key, (0, 0))
            if (count, errors) == known:
                continue
            self._counted[key] = (count, errors)
            seconds = self.history.setdefault(key[:2], deque(maxlen=HISTORY_SECONDS))
            if not seconds or seconds[-1][0] != second:
                seconds.append((second, Moment()))
            moment = seconds[-1][1]
            if key[2] == "native":
                moment.native += count - known[0]
            elif key[2] == "legacy":
                moment.legacy += count - known[0]
            moment.errors += errors - known[1]

    def as_json(self) -> dict[str, Any]:
        """Return plain values, for other workers."""
        return {
            "lines": _lines(self.lines),
            "history": [
                [*key, [[second, m.legacy, m.native, m.errors] for second, m in seconds]]
                for key, seconds in self.history.items()
            ],
        }


@dataclass(slots=True)
class Totals:
    """The counts of all workers of a server together."""

    lines: dict[Key, Line] = field(default_factory=dict)
    history: dict[tuple[str, str], dict[int, Moment]] = field(default_factory=dict)

    def add(self, data: dict[str, Any]) -> None:
        """Add what one worker's `as_json` says."""
        for method, label, side, durations, seconds, reasons, statuses in data["lines"]:
            if len(durations) == len(BOUNDS) + 1:
                line = Line(list(durations), seconds, dict(reasons), dict(statuses))
                self.lines.setdefault((method, label, side), Line()).add(line)
        for method, label, moments in data["history"]:
            held = self.history.setdefault((method, label), {})
            for second, legacy, native, errors in moments:
                held.setdefault(second, Moment()).add(Moment(legacy, native, errors))

    def as_json(self) -> dict[str, Any]:
        """Return plain values, without the history: what `add` takes."""
        return {"lines": _lines(self.lines), "history": []}


def _lines(lines: dict[Key, Line]) -> list[list[Any]]:
    return [
        # Copies: they are read on other threads, and counted on in the meantime.
        [*key, list(line.durations), line.seconds, dict(line.reasons), dict(line.statuses)]
        for key, line in lines.items()
    ]


def totals(parts: Iterable[dict[str, Any]]) -> Totals:
    """Add up what the workers say."""
    whole = Totals()
    for part in parts:
        whole.add(part)
    return whole


def percentile(durations: Sequence[int], share: float) -> float | None:
    """Estimate a percentile in seconds from a histogram, by the straight line within its bucket.

    As Prometheus' histogram_quantile does: the open bucket counts as its lower bound. None where
    nothing was counted.
    """
    count = sum(durations)
    if not count:
        return None
    wanted, seen, lower = share * count, 0, 0.0
    for bound, number in zip(BOUNDS, durations, strict=False):
        if number and seen + number >= wanted:
            return lower + (bound - lower) * (wanted - seen) / number
        seen += number
        lower = bound
    return lower
