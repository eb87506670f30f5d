"""Means, ratios and their 95% intervals. Pure."""

from __future__ import annotations

import math
import random
from dataclasses import dataclass
from statistics import fmean
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

_RESAMPLES = 4000
_SEED = 20_26


@dataclass(frozen=True, slots=True)
class Interval:
    """An estimate with its 95% interval; with one value the three are the same."""

    value: float
    low: float
    high: float


def percentile(ordered: Sequence[float], share: float) -> float:
    """Return the value below which `share` (0 to 1) of the ordered values lie, interpolated."""
    if not ordered:
        raise ValueError("no values")
    place = share * (len(ordered) - 1)
    below = math.floor(place)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (ordered[above] - ordered[below]) * (place - below)


def _bootstrap(values: Sequence[float], estimate: Callable[[Sequence[float]], float]) -> Interval:
    if len(values) == 1:
        return Interval(values[0], values[0], values[0])
    # Seeded: the same measurements always give the same table.
    dice = random.Random(_SEED)
    count = len(values)
    draws = sorted(estimate(dice.choices(values, k=count)) for _ in range(_RESAMPLES))
    return Interval(estimate(values), percentile(draws, 0.025), percentile(draws, 0.975))


def mean(values: Sequence[float]) -> Interval:
    """Return the mean of `values` and its bootstrap interval."""
    return _bootstrap(values, fmean)


def paired_ratio(ours: Sequence[float], theirs: Sequence[float]) -> Interval:
    """Return the geometric mean of `ours[i] / theirs[i]`, each pair from one A-B-B-A block.

    All values must be above zero. Raises ValueError where the two differ in length.
    """
    logs = [math.log(a / b) for a, b in zip(ours, theirs, strict=True)]
    found = _bootstrap(logs, fmean)
    return Interval(math.exp(found.value), math.exp(found.low), math.exp(found.high))


def palindrome(names: Sequence[str], block: int) -> list[str]:
    """Order one block: every name once, then all again backwards, so that any two run A-B-B-A.

    The names rotate from block to block, so that none is always first or in the middle.
    """
    shift = block % len(names)
    once = [*names[shift:], *names[:shift]]
    return [*once, *reversed(once)]
