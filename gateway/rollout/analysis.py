"""Is native as good as legacy? Figures of both sides → pass, hold or rollback, with the reason.

Each figure is judged by the evidence against it (`gateway.rollout.evidence`), which may be looked
at as often as one likes:

| evidence | verdict |
|---|---|
| an e-value of 250 (times the square of the window's number) | rollback |
| an e-value of 10, fewer than `min_requests`, or measured below what is wanted | hold |
| neither | pass |

So a figure that is as good as wanted is rolled back by chance in less than 1 of 150 steps, however
long a step is held (the sum of 1/n² is 1.65); of whole walks on a healthy route it is about 1
of 400 (`tests/unit/rollout/test_simulated.py`). Nothing is rolled back for want of data, and
evidence needs no minimum of requests: it counts them itself.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from math import log
from typing import TYPE_CHECKING

from gateway.rollout.durations import average, on_average, quantile, slower
from gateway.rollout.evidence import despite, evidence, excess
from gateway.rollout.figures import IDLE

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from gateway.config import GuardrailConfig
    from gateway.rollout.figures import Side, Window

_ROLLBACK = log(250)
_HOLD = log(10)
#: An e-value of 20 says that legacy is no longer what it was when the baseline was taken.
_CHANGED = log(20)
#: Odds against both sides failing for a common cause.
_COMMON = log(50)
#: Of native's requests, so many legacy must have now to tell whether both have a common cause.
_TELLING = 0.5
#: Standard errors from which a mean is clearly above another; a sign to hold, not to roll back.
_CLEARLY = 2.0
#: Infinite evidence, as JSON can write it.
_MOST_EVIDENCE = 1e6


class Verdict(StrEnum):
    """What a figure says, from good to bad."""

    PASS = "pass"  # noqa: S105 - no password
    HOLD = "hold"
    ROLLBACK = "rollback"


_ORDER = tuple(Verdict)


@dataclass(frozen=True, slots=True)
class Finding:
    """What one figure says. `text` is one line with the `figures` that caused the verdict."""

    metric: str
    verdict: Verdict
    text: str
    figures: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Analysis:
    """The worst verdict of all figures, and every one of them."""

    verdict: Verdict
    findings: tuple[Finding, ...]

    @property
    def text(self) -> str:
        """The findings that decided, in one line."""
        return "; ".join(each.text for each in self.findings if each.verdict is self.verdict)

    @property
    def figures(self) -> dict[str, float]:
        """All figures, as `metric.figure`."""
        return {
            f"{each.metric}.{name}": value
            for each in self.findings
            for name, value in each.figures.items()
        }


def analyse(
    window: Window,
    config: GuardrailConfig,
    *,
    bounds: Sequence[float],
    baseline: Side = IDLE,
    number: int = 1,
) -> Analysis:
    """Judge what came in `window`, the `number`th of its step (from 1).

    `baseline` is what legacy did before the window, on the same route: at a weight of 100 there
    is nothing else to compare with. `bounds` are the upper bounds of the durations' histograms in
    seconds.
    """
    limit = _ROLLBACK + 2 * log(number)
    legacy = reference(window.legacy, baseline)
    findings = []
    if config.success_rate is not None:
        findings.append(_success(window.native, legacy, config.success_rate, config, limit))
    if config.against_legacy:
        findings.append(_against_legacy(window, baseline, config, limit))
    if config.duration_ratio is not None:
        # Concurrent requests bear the same load; older ones only stand in for them.
        enough = window.legacy.requests >= config.min_requests
        other = window.legacy if enough else legacy
        findings.append(
            _durations(window.native, other, config.duration_ratio, config, limit, bounds)
        )
    if config.consistency is not None:
        findings.append(_consistency(window, config.consistency, config, limit))
    worst = max((each.verdict for each in findings), key=_ORDER.index)
    return Analysis(worst, tuple(findings))


def reference(now: Side, before: Side) -> Side:
    """Return what native is compared with: legacy now and before, or now alone if it changed.

    An outage that both sides have must not be held against native, nor may an old one excuse it.
    """
    worse = excess(now.failures, now.requests, before.failures, before.requests)
    better = excess(before.failures, before.requests, now.failures, now.requests)
    return now if max(worse, better) >= _CHANGED else now + before


def _success(
    native: Side, legacy: Side, wanted: float, config: GuardrailConfig, limit: float
) -> Finding:
    proof = evidence(native.failures, native.requests, 1 - wanted / 100)
    measured = _rate(native)
    text = f"success {_of(native)}{_beside(legacy)}, wanted {wanted:g}%"
    if legacy.requests and _rate(legacy) < wanted:
        text += f" (legacy itself has {_percent(_rate(legacy))})"
    verdict = _verdict(proof, limit, native.requests, config, good=measured >= wanted)
    figures = {**_counts(native, legacy), "wanted": wanted, "evidence": proof}
    text += _wanting(verdict, native.requests, config)
    return _finding("success_rate", verdict, text, figures)


def _against_legacy(
    window: Window, baseline: Side, config: GuardrailConfig, limit: float
) -> Finding:
    native, legacy = window.native, reference(window.legacy, baseline)
    proof = _worse(window, legacy, baseline, config.margin / 100)
    figures = {**_counts(native, legacy), "margin": config.margin, "evidence": proof}
    name = "against_legacy"
    if not legacy.requests and config.success_rate is not None:
        text = "no request of legacy to compare success with, success_rate alone counts"
        return _finding(name, Verdict.PASS, text, figures)
    text = f"success {_of(native)}{_beside(legacy)}, wanted legacy's less {config.margin:g} points"
    if not legacy.requests:
        text += " (no request of legacy: set success_rate or begin at a lower weight)"
    seen = min(native.requests, legacy.requests)
    verdict = _verdict(proof, limit, seen, config, good=True)
    return _finding(name, verdict, text + _wanting(verdict, seen, config), figures)


def _worse(window: Window, legacy: Side, baseline: Side, margin: float) -> float:
    """Return the evidence that native fails more than `legacy` by more than `margin`, a share.

    An outage of both sides (a database, the network) makes native worse than legacy once was, and
    so does native's own fault; but then legacy is as it was. Where legacy has traffic enough to
    tell, the one explanation is held against the other.
    """
    native, now = window.native, window.legacy

    def borne(side: Side) -> float:
        return side.failures + margin * side.requests

    proof = excess(native.failures, native.requests, borne(legacy), legacy.requests)
    if not baseline.requests or legacy is now or now.requests < _TELLING * native.requests:
        return proof
    both = native + now
    shared = excess(both.failures, both.requests, borne(baseline), baseline.requests)
    return despite(proof, shared, _COMMON)


def _consistency(window: Window, wanted: float, config: GuardrailConfig, limit: float) -> Finding:
    compared, different = window.compared, window.different
    proof = evidence(different, compared, 1 - wanted / 100)
    measured = 100 * (1 - different / compared) if compared else 100.0
    text = f"consistency {_percent(measured)} of {compared:,} compared, wanted {wanted:g}%"
    verdict = _verdict(proof, limit, compared, config, good=measured >= wanted)
    figures = {"compared": compared, "different": different, "wanted": wanted, "evidence": proof}
    return _finding("consistency", verdict, text + _wanting(verdict, compared, config), figures)


def _durations(
    native: Side,
    legacy: Side,
    ratio: float,
    config: GuardrailConfig,
    limit: float,
    bounds: Sequence[float],
) -> Finding:
    proof = slower(native, legacy, ratio, bounds)
    count, count_legacy = sum(native.durations), sum(legacy.durations)
    ours, theirs = (
        quantile(native.durations, 0.95, bounds),
        quantile(legacy.durations, 0.95, bounds),
    )
    text = f"durations of {count:,} native and {count_legacy:,} legacy requests don't compare"
    if count and count_legacy:
        text = (
            f"p95 {_seconds(ours)}, mean {_seconds(average(native))} of {count:,} "
            f"(legacy {_seconds(theirs)}, {_seconds(average(legacy))} of {count_legacy:,}), "
            f"wanted at most {ratio:g} times legacy's"
        )
    seen = min(count, count_legacy)
    figures = {
        "requests": count,
        "legacy_requests": count_legacy,
        "p95": ours,
        "legacy_p95": theirs,
        "mean": average(native),
        "legacy_mean": average(legacy),
        "wanted": ratio,
        "evidence": proof,
    }
    good = on_average(native, legacy, ratio, bounds) < _CLEARLY
    verdict = _verdict(proof, limit, seen, config, good=good)
    return _finding("duration_ratio", verdict, text + _wanting(verdict, seen, config), figures)


def _verdict(proof: float, limit: float, seen: int, config: GuardrailConfig, good: bool) -> Verdict:
    if proof >= limit:
        return Verdict.ROLLBACK
    if proof >= _HOLD or seen < config.min_requests or not good:
        return Verdict.HOLD
    return Verdict.PASS


def _finding(metric: str, verdict: Verdict, text: str, figures: dict[str, float]) -> Finding:
    figures["evidence"] = min(figures["evidence"], _MOST_EVIDENCE)
    return Finding(metric, verdict, text, figures)


def _counts(native: Side, legacy: Side) -> dict[str, float]:
    return {
        "requests": native.requests,
        "failures": native.failures,
        "legacy_requests": legacy.requests,
        "legacy_failures": legacy.failures,
    }


def _rate(side: Side) -> float:
    return 100 * (1 - side.failures / side.requests) if side.requests else 100.0


def _of(side: Side) -> str:
    return (
        f"{_percent(_rate(side))} of {side.requests:,}" if side.requests else "unknown (no request)"
    )


def _beside(legacy: Side) -> str:
    return f" (legacy {_of(legacy)})" if legacy.requests else ""


def _wanting(verdict: Verdict, seen: int, config: GuardrailConfig) -> str:
    if seen >= config.min_requests or verdict is Verdict.PASS:
        return ""
    if verdict is Verdict.ROLLBACK:
        return f", clear before {config.min_requests:,}"
    return f", at least {config.min_requests:,} needed"


def _percent(value: float) -> str:
    """Write a percentage; one below 100 never as 100.0."""
    return "100%" if value == 100 else f"{min(value, 99.99):.2f}%"  # noqa: PLR2004


def _seconds(value: float) -> str:
    return f"{value * 1000:.3g} ms" if value < 1 else f"{value:.3g} s"
