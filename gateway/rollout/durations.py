"""Is one side slower? Histograms of durations, held against each other."""

from __future__ import annotations

from bisect import bisect_right
from itertools import accumulate
from typing import TYPE_CHECKING

from gateway.rollout.evidence import excess, mean

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gateway.rollout.figures import Side

#: Which bounds of the histogram durations are compared at: those that legacy exceeds this often.
_MOST, _LEAST = 0.5, 0.05
#: How far the histogram's open bucket is taken to reach, in multiples of its lower bound.
_OPEN = 3.0


def slower(native: Side, legacy: Side, ratio: float, bounds: Sequence[float]) -> float:
    """Return the evidence that native takes more than `ratio` times as long as legacy.

    If it doesn't, native exceeds a bound at most as often as legacy exceeds bound / ratio. That
    lies within a bucket: how often legacy exceeds it is known for certain only at the bucket's
    lower end. Where the means, which are exact, say that native is slower, it is interpolated.
    Compared at the bounds from legacy's median to its p95; the evidence is their average.
    """
    if not any(native.durations) or not any(legacy.durations):
        return 0.0
    slow, slow_legacy = _above(native.durations), _above(legacy.durations)
    count, count_legacy = slow[0], slow_legacy[0]
    agreed = average(native) > ratio * average(legacy)
    found: list[float] = []
    for index, bound in enumerate(bounds):
        target = bound / ratio
        below = bisect_right(bounds, target) - 1
        allowed: float = slow_legacy[below + 1]
        lower = bounds[below] if below >= 0 else 0.0
        if agreed and target > lower:
            part = (target - lower) / (bounds[below + 1] - lower)
            allowed -= part * (slow_legacy[below + 1] - slow_legacy[below + 2])
        if allowed > _MOST * count_legacy:
            continue
        found.append(excess(slow[index + 1], count, allowed, count_legacy))
        if allowed <= _LEAST * count_legacy:
            break
    return mean(found) if found else 0.0


def on_average(native: Side, legacy: Side, ratio: float, bounds: Sequence[float]) -> float:
    """Return by how many standard errors native's mean is above `ratio` times legacy's.

    The means are exact; the errors are what the histograms allow at most.
    """
    count, count_legacy = sum(native.durations), sum(legacy.durations)
    if not count or not count_legacy:
        return 0.0
    error = _variance(native, bounds) / count + ratio**2 * _variance(legacy, bounds) / count_legacy
    above = average(native) - ratio * average(legacy)
    return above / error**0.5 if error > 0 else 0.0


def _variance(side: Side, bounds: Sequence[float]) -> float:
    squares = sum(count * bound**2 for count, bound in zip(side.durations, bounds, strict=False))
    squares += side.durations[-1] * (_OPEN * bounds[-1]) ** 2
    return max(0.0, squares / sum(side.durations) - average(side) ** 2)


def _above(durations: Sequence[int]) -> list[int]:
    """Return how many took longer than 0 and than each bound."""
    return [*accumulate(reversed(durations))][::-1]


def quantile(durations: Sequence[int], share: float, bounds: Sequence[float]) -> float:
    """Estimate a quantile in seconds, by the straight line within its bucket; 0 without data.

    As Prometheus' histogram_quantile does: the open bucket counts as its lower bound.
    """
    wanted, seen, lower = share * sum(durations), 0, 0.0
    for bound, count in zip(bounds, durations, strict=False):
        if count and seen + count >= wanted:
            return lower + (bound - lower) * (wanted - seen) / count
        seen += count
        lower = bound
    return lower if durations and seen < sum(durations) else 0.0


def average(side: Side) -> float:
    """Return the exact mean in seconds; 0 without data."""
    count = sum(side.durations)
    return side.seconds / count if count else 0.0
