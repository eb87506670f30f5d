"""Where a canary stands on its way to `native`, and its next move.

| state | when | move | then |
|---|---|---|---|
| walking, waiting, watching | a rollback verdict, or a burst | rollback: `legacy` | rolled_back |
| walking | passed, `interval` over, a higher step | promote: `canary`, its weight | walking |
| walking | the same, no higher step | finish: `native` | watching |
| walking | the same, no higher step, `confirm` | wait: nothing changes | waiting |
| waiting | a person has confirmed, no rollback | finish: `native` | watching |
| watching | passed, `interval` over | complete: nothing changes | done |
| paused, rolled_back, done | anything | none, until somebody begins anew | |

Hold is the absence of a move; it never ends a walk. Place is kept as a weight, not as a number of
a step: the next step is the first one above it, whatever the config says by now.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Literal

from gateway.rollout.analysis import Verdict, reference
from gateway.rollout.figures import EMPTY, IDLE, Side, Window, mapping, number, whole

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gateway.config import GuardrailConfig
    from gateway.rollout.analysis import Analysis

#: Native requests after which a new window begins, so that a failure that comes late is not
#: hidden by what went well before.
WINDOW = 2000
#: How many workers that don't report are remembered, in case they do again.
_MISSING = 64
_ALL = 100


class State(StrEnum):
    """What a walk does; the table above tells what ends each."""

    WALKING = "walking"
    WAITING = "waiting"
    WATCHING = "watching"
    PAUSED = "paused"
    ROLLED_BACK = "rolled_back"
    DONE = "done"


#: States in which figures are counted and judged.
ACTIVE = frozenset({State.WALKING, State.WAITING, State.WATCHING})


class Kind(StrEnum):
    """What a move does."""

    PROMOTE = "promote"
    WAIT = "wait"
    FINISH = "finish"
    COMPLETE = "complete"
    ROLLBACK = "rollback"


@dataclass(frozen=True, slots=True)
class Walk:
    """One route's walk; a value that a store can keep at any time.

    `weight` is native's share in percent, `since` when the step began (seconds of the clock that
    `advance` gets). `window` holds what was counted since the last `number` began, `seen` each
    worker's counters when they were last read, `baseline` what legacy did in earlier windows.
    """

    state: State
    weight: float
    since: float
    number: int = 1
    window: Window = EMPTY
    seen: Mapping[str, Window] = field(default_factory=dict)
    baseline: Side = IDLE

    def as_json(self) -> dict[str, Any]:
        """Return plain values."""
        return {
            "state": self.state.value,
            "weight": self.weight,
            "since": self.since,
            "number": self.number,
            "window": self.window.as_json(),
            "seen": {worker: counters.as_json() for worker, counters in self.seen.items()},
            "baseline": self.baseline.as_json(),
        }

    @classmethod
    def of_json(cls, data: Any) -> Walk:
        """Read what `as_json` has written; raises ValueError for anything else.

        Keys of a newer version are passed over.
        """
        data = mapping(data)
        weight = number(data, "weight")
        if weight > _ALL:
            message = f"weight must be at most {_ALL}, found {weight!r}"
            raise ValueError(message)
        return cls(
            State(data.get("state")),
            weight,
            number(data, "since"),
            max(1, whole(data, "number")),
            Window.of_json(data.get("window")),
            {str(k): Window.of_json(v) for k, v in mapping(data.get("seen")).items()},
            Side.of_json(data.get("baseline")),
        )


@dataclass(frozen=True, slots=True)
class Move:
    """What the guardrail does now: the cutover to set, why, and the walk after it.

    `changes` is False where the cutover stays as it is. `figures` go into the audit trail.
    """

    kind: Kind
    cutover: Literal["legacy", "canary", "native"]
    weight: float | None
    reason: str
    figures: Mapping[str, float]
    walk: Walk

    @property
    def changes(self) -> bool:
        """Tell whether there is a cutover to set."""
        return self.kind not in (Kind.WAIT, Kind.COMPLETE)


def begin(
    config: GuardrailConfig,
    weight: float,
    counters: Mapping[str, Window],
    now: float,
    baseline: Side = IDLE,
) -> Walk:
    """Start a walk at a canary's `weight`, which is its first step; at 0, at the first step.

    `counters` are every worker's, as they stand. `baseline` is what is known of legacy already:
    without it a walk that begins at 100 has nothing to compare with.
    """
    return Walk(
        State.WALKING,
        weight or config.steps[0],
        now,
        seen=dict(counters),
        baseline=baseline,
    )


def counted(walk: Walk, counters: Mapping[str, Window], config: GuardrailConfig) -> Walk:
    """Add what each worker has counted since it was last read.

    By worker, so that one that restarts takes nothing away. A worker that wasn't known counts from
    here on: what it did before may belong to an earlier step. One that is missing is waited for. A
    full window is followed by a new one.
    """
    if walk.state not in ACTIVE:
        return walk
    if walk.window.native.requests >= max(WINDOW, 2 * config.min_requests):
        walk = replace(walk, number=walk.number + 1, window=EMPTY, baseline=_remembered(walk))
    window = walk.window
    for worker, now in counters.items():
        if worker in walk.seen:
            window += now.since(walk.seen[worker])
    gone = [each for each in walk.seen.items() if each[0] not in counters]
    return replace(walk, window=window, seen={**dict(gone[-_MISSING:]), **counters})


def advance(
    walk: Walk, analysis: Analysis, config: GuardrailConfig, now: float, *, confirmed: bool = False
) -> Move | None:
    """Return the next move, None to stay. `confirmed` counts only for a walk that waits."""
    if walk.state not in ACTIVE:
        return None
    if analysis.verdict is Verdict.ROLLBACK:
        return rollback(walk, analysis.text, now, analysis.figures)
    if walk.state is State.WAITING:
        return _finish(walk, analysis, now, "confirmed by a person") if confirmed else None
    if analysis.verdict is not Verdict.PASS or now - walk.since < config.interval:
        return None
    why = "; ".join(each.text for each in analysis.findings)
    if walk.state is State.WATCHING:
        done = replace(walk, state=State.DONE)
        reason = f"native has been watched, the walk is done: {why}"
        return Move(Kind.COMPLETE, "native", None, reason, analysis.figures, done)
    above = next((step for step in config.steps if step > walk.weight), None)
    if above is not None:
        reason = f"{walk.weight:g}% passed, {above:g}% is next: {why}"
        after = _stepped(walk, State.WALKING, above, now)
        return Move(Kind.PROMOTE, "canary", above, reason, analysis.figures, after)
    if config.confirm:
        reason = f"{walk.weight:g}% passed, a person must confirm native: {why}"
        waiting = replace(walk, state=State.WAITING)
        return Move(Kind.WAIT, "canary", walk.weight, reason, analysis.figures, waiting)
    return _finish(walk, analysis, now, f"{walk.weight:g}% passed, native is next")


def rollback(walk: Walk, why: str, now: float, figures: Mapping[str, float]) -> Move:
    """Go back to legacy at once: for `advance`, and for a burst that a worker has seen."""
    where = "native" if walk.state is State.WATCHING else f"{walk.weight:g}%"
    after = replace(walk, state=State.ROLLED_BACK, since=now)
    return Move(Kind.ROLLBACK, "legacy", None, f"rolled back at {where}: {why}", figures, after)


def paused(walk: Walk, now: float) -> Walk:
    """Leave the route to a person who has set its cutover by hand; `begin` walks on."""
    return replace(walk, state=State.PAUSED, since=now) if walk.state in ACTIVE else walk


def _finish(walk: Walk, analysis: Analysis, now: float, what: str) -> Move:
    why = "; ".join(each.text for each in analysis.findings)
    after = _stepped(walk, State.WATCHING, _ALL, now)
    return Move(Kind.FINISH, "native", None, f"{what}: {why}", analysis.figures, after)


def _stepped(walk: Walk, state: State, weight: float, now: float) -> Walk:
    return Walk(state, weight, now, seen=walk.seen, baseline=_remembered(walk))


def _remembered(walk: Walk) -> Side:
    """Return the baseline with this window's legacy; where they disagree, the larger of both."""
    known = reference(walk.window.legacy, walk.baseline)
    return max(known, walk.baseline, key=lambda side: side.requests)
