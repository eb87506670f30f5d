"""What a run found, as plain values that go to JSON and back."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

#: One figure per metric, from one run of one case on one peer.
Sample = dict[str, float]


@dataclass(frozen=True, slots=True)
class Metric:
    """How a figure is shown; `worst` keeps the highest value of a block instead of its mean."""

    title: str
    digits: int
    worst: bool = False


METRICS = {
    "cpu_us": Metric("CPU µs/request", 0),
    "cpu_ms": Metric("CPU ms/transfer", 0),
    "rps": Metric("requests/s", 0),
    "mb_s": Metric("MB/s", 0),
    "p50_ms": Metric("p50 ms", 2),
    "p99_ms": Metric("p99 ms", 2),
    "rss_mb": Metric("RSS growth MB", 1, worst=True),
    "p50_idle_ms": Metric("p50 idle ms", 2),
    "p50_busy_ms": Metric("p50 busy ms", 2),
    "p99_idle_ms": Metric("p99 idle ms", 2),
    "p99_busy_ms": Metric("p99 busy ms", 2),
    "match_us": Metric("match + decide µs", 2),
    "werkzeug_us": Metric("Werkzeug bind + match µs", 2),
    "beyond_us": Metric("beyond Werkzeug µs", 2),
    "errors": Metric("errors", 0, worst=True),
}


@dataclass(slots=True)
class PeerResult:
    """One peer in one case: `values` has one figure per block and metric; `problem` is "" or why.

    A peer with a problem (not installed, failed) has no complete values.
    """

    title: str
    problem: str = ""
    values: dict[str, list[float]] = field(default_factory=dict)

    def add_block(self, samples: list[Sample]) -> None:
        """Append the figures of one block: the mean of its samples, or the worst."""
        for name in samples[0]:
            found = [sample[name] for sample in samples]
            value = max(found) if METRICS[name].worst else sum(found) / len(found)
            self.values.setdefault(name, []).append(value)


@dataclass(slots=True)
class CaseResult:
    """One case: when it began (UTC, ISO 8601), how many blocks, and what each peer did."""

    title: str
    started: str
    blocks: int
    baseline: str
    peers: dict[str, PeerResult] = field(default_factory=dict)


@dataclass(slots=True)
class Results:
    """A whole run: the machine and versions, and the cases by name."""

    machine: dict[str, str]
    versions: dict[str, str]
    cases: dict[str, CaseResult] = field(default_factory=dict)

    def save(self, path: Path) -> None:
        """Write the results as JSON."""
        text = json.dumps(asdict(self), indent=1, ensure_ascii=False)
        path.write_text(text + "\n", encoding="utf-8")


def load_results(path: Path) -> Results:
    """Read what `Results.save` has written."""
    data = json.loads(path.read_text(encoding="utf-8"))
    cases = {
        name: CaseResult(
            **{**case, "peers": {peer: PeerResult(**each) for peer, each in case["peers"].items()}}
        )
        for name, case in data["cases"].items()
    }
    return Results(data["machine"], data["versions"], cases)
