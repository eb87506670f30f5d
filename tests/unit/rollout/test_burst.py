"""A burst of failures: found within 50 requests, and never seen where there is none."""

from __future__ import annotations

import random
from collections import defaultdict

import pytest

from gateway.rollout.burst import Burst


def until_burst(burst: Burst, rate: float, source: random.Random, most: int) -> int | None:
    for number in range(1, most + 1):
        if burst.note(ok=source.random() >= rate):
            return number
    return None


def test_nine_failures_in_a_row_are_a_burst() -> None:
    burst = Burst()
    assert [burst.note(ok=False) for _ in range(9)] == [False] * 8 + [True]


def test_successes_before_them_hide_nothing() -> None:
    burst = Burst()
    for _ in range(100_000):
        assert not burst.note(ok=True)
    assert [burst.note(ok=False) for _ in range(9)] == [False] * 8 + [True]


def test_every_second_request_failing_is_found_within_50() -> None:
    source = random.Random(11)
    runs = 20_000
    missed = sum(until_burst(Burst(), 0.5, source, 50) is None for _ in range(runs))
    assert missed / runs < 0.001


def false_alarms(burst: Burst, rate: float, requests: int) -> float:
    """Return how many bursts are expected in `requests` at a failure rate, exactly.

    Follows the distribution of the level until it no longer changes.
    """
    gain, loss, limit = burst._gain, burst._loss, burst._limit
    levels, last = {0.0: 1.0}, 0.0
    for _ in range(600):
        after: dict[float, float] = defaultdict(float)
        last = 0.0
        for level, share in levels.items():
            if level + gain >= limit:
                last += share * rate
            else:
                after[round(level + gain, 2)] += share * rate
            after[round(max(0.0, level - loss), 2)] += share * (1 - rate)
        levels = after
    return last * requests


@pytest.mark.parametrize(("rate", "most"), [(0.005, 1e-9), (0.01, 1e-7), (0.03, 1e-3)])
def test_few_failures_are_no_burst_in_100_000_requests(rate: float, most: float) -> None:
    assert false_alarms(Burst(), rate, 100_000) < most


@pytest.mark.parametrize("rate", [0.05, 0.1, 0.2, 0.4])
def test_what_legacy_fails_anyway_is_no_burst(rate: float) -> None:
    assert false_alarms(Burst(rate), rate, 100_000) < 0.01


def test_a_legacy_that_fails_half_the_time_is_no_measure() -> None:
    burst = Burst(0.5)
    assert not any(burst.note(ok=False) for _ in range(1000))
