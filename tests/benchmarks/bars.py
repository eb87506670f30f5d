"""The bars that the gateway must meet, and whether a run met them. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from tests.benchmarks import stats
from tests.benchmarks.peers import OURS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tests.benchmarks.results import CaseResult
    from tests.benchmarks.stats import Interval

Verdict = Literal["met", "not met", "unclear", "too few blocks", "no figures"]

#: A ratio whose bar is under this needs `BLOCKS` A-B-B-A blocks before it may be judged.
_CLOSE = 1.2
BLOCKS = 30


@dataclass(frozen=True, slots=True)
class Bar:
    """`metric` of our `row`, alone or divided by `against` (a peer, or a metric of our own).

    `limit` is the bar and `reach` the figure to reach for; `least` turns "at most" into "at least".
    """

    case: str
    title: str
    metric: str
    limit: float
    reach: float
    against: str | None = None
    against_metric: str | None = None
    row: str = OURS
    least: bool = False

    def figure(self, cases: Mapping[str, CaseResult]) -> Interval | None:
        """Return the measured figure with its 95% interval, or None where it wasn't measured."""
        case = cases.get(self.case)
        if case is None:
            return None
        ours = _values(case, self.row, self.metric)
        if self.against is None and self.against_metric is None:
            return stats.mean(ours) if ours else None
        theirs = _values(case, self.against or self.row, self.against_metric or self.metric)
        if not ours or len(ours) != len(theirs):
            return None
        return stats.paired_ratio(ours, theirs)

    def verdict(self, figure: Interval | None, blocks: int) -> Verdict:
        """Judge by the whole interval: `unclear` where the bar lies inside of it."""
        if figure is None:
            return "no figures"
        if self.against is not None and self.limit < _CLOSE and blocks < BLOCKS:
            return "too few blocks"
        low, high = figure.low, figure.high
        if self.least:
            low, high = -high, -low
        limit = -self.limit if self.least else self.limit
        if high <= limit:
            return "met"
        return "not met" if low > limit else "unclear"

    def goal(self) -> str:
        """Write the bar as `≤ 0.60`."""
        return f"{'≥' if self.least else '≤'} {self.limit:g}"


def _values(case: CaseResult, peer: str, metric: str) -> list[float]:
    found = case.peers.get(peer)
    return found.values.get(metric, []) if found is not None and not found.problem else []


BARS: tuple[Bar, ...] = (
    Bar("legacy-hello", "CPU against gunicorn gthread", "cpu_us", 0.60, 0.40, "gunicorn"),
    Bar("legacy-hello", "CPU against FastAPI + a2wsgi mount", "cpu_us", 0.40, 0.25, "a2wsgi"),
    Bar("legacy-hello", "CPU against Granian WSGI", "cpu_us", 1.3, 1.0, "granian-wsgi"),
    Bar("legacy-hello", "CPU against pyvoy's WSGI mount", "cpu_us", 0.65, 0.5, "pyvoy"),
    Bar("native-hello", "CPU against bare FastAPI", "cpu_us", 1.10, 1.00, "fastapi"),
    Bar("moved-hello", "CPU against bare FastAPI, moved route", "cpu_us", 1.10, 1.00, "fastapi"),
    Bar("flat-last", "CPU against FastAPI, last of 500 flat", "cpu_us", 0.35, 0.22, "fastapi"),
    Bar("nested-last", "CPU against FastAPI, last of 500 nested", "cpu_us", 0.35, 0.22, "fastapi"),
    Bar("match", "µs beyond Werkzeug, legacy route", "beyond_us", 5, 3, row="only-legacy"),
    Bar("match", "µs beyond Werkzeug, moved route", "beyond_us", 5, 3, row="moved"),
    Bar("match", "µs beyond Werkzeug, native-only route", "beyond_us", 5, 3, row="only-native"),
    Bar("download", "MB/s against gunicorn gthread", "mb_s", 0.5, 1.0, "gunicorn", least=True),
    Bar("upload", "RSS growth, MB", "rss_mb", 16, 4),
    Bar("stalled", "RSS growth, MB", "rss_mb", 16, 4),
    Bar("contended", "p99 busy against idle", "p99_busy_ms", 1.5, 1.1, None, "p99_idle_ms"),
)
