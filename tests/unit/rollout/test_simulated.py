"""The guardrail on simulated traffic: what it finds, how soon, and how often it is wrong.

Seeds are fixed; `pytest -s` prints the figures. Legacy's counts are drawn as Poisson variables,
native's by chunks of 20 requests, after each of which the guardrail may look.
"""

from __future__ import annotations

import random
from bisect import bisect_left
from functools import cache
from itertools import pairwise
from math import comb, exp, sqrt

import pytest

from gateway.config import GuardrailConfig
from gateway.observe.tally import BOUNDS
from gateway.rollout.analysis import Verdict, analyse
from gateway.rollout.figures import IDLE, Side, Window
from gateway.rollout.walk import Kind, State, Walk, advance, begin, counted

CHUNK = 20
STEPS = (1, 5, 25, 50, 100)
HEALTHY = 0.005
#: How long a step lasts, in native requests; the clock counts them.
LASTING = 2000
RELATIVE = GuardrailConfig(interval=LASTING)
BOTH = GuardrailConfig(success_rate=99, interval=LASTING)


@cache
def cumulated(rate: float) -> list[float]:
    total, found = 0.0, []
    for hits in range(CHUNK):
        total += comb(CHUNK, hits) * rate**hits * (1 - rate) ** (CHUNK - hits)
        found.append(total)
    return found


def failing(source: random.Random, rate: float) -> int:
    """Draw how many requests of a chunk fail."""
    return bisect_left(cumulated(rate), source.random())


def poisson(source: random.Random, expected: float) -> int:
    if expected > 30:
        return max(0, round(source.gauss(expected, sqrt(expected))))
    limit, product, count = exp(-expected), source.random(), 0
    while product > limit:
        product *= source.random()
        count += 1
    return count


def beside(weight: float) -> float:
    """Tell how many requests legacy gets for a chunk of native's."""
    return CHUNK * (100 - weight) / weight


def walked(
    source: random.Random, config: GuardrailConfig, rate: float, legacy_rate: float
) -> tuple[Walk, list[Kind]]:
    """Walk a whole way and look whenever native has failed, and at each step's end."""
    here, moves, now = begin(config, 1, {}, 0), [], 0
    native, failures, legacy, legacy_failures = 0, 0, 0, 0
    while here.state in (State.WALKING, State.WATCHING):
        now += CHUNK
        new = failing(source, rate)
        share = 0.0 if here.state is State.WATCHING else beside(here.weight)
        native, failures = native + CHUNK, failures + new
        legacy += round(share)
        legacy_failures += poisson(source, share * legacy_rate)
        if not new and now - here.since < config.interval:
            continue
        counters = Window(Side(native, failures), Side(legacy, legacy_failures))
        here = counted(here, {"worker": counters}, config)
        found = analyse(
            here.window, config, bounds=BOUNDS, baseline=here.baseline, number=here.number
        )
        move = advance(here, found, config, now)
        if move is not None:
            here = move.walk
            moves.append(move.kind)
    return here, moves


def test_a_route_equal_to_legacy_walks_to_native() -> None:
    """Healthy at 99.5%: falsely rolled back in less than 1% of 2,000 walks."""
    source, runs, wrong = random.Random(2026), 2000, 0
    for _ in range(runs):
        here, moves = walked(source, BOTH, HEALTHY, HEALTHY)
        wrong += here.state is State.ROLLED_BACK
        if here.state is State.DONE:
            assert moves == [Kind.PROMOTE] * 4 + [Kind.FINISH, Kind.COMPLETE]
    print(f"falsely rolled back: {wrong} of {runs}")
    assert wrong / runs < 0.01


def test_a_legacy_that_fails_much_is_the_measure() -> None:
    source, runs, wrong = random.Random(2026), 200, 0
    for _ in range(runs):
        wrong += walked(source, RELATIVE, 0.05, 0.05)[0].state is State.ROLLED_BACK
    print(f"falsely rolled back at 5%: {wrong} of {runs}")
    assert wrong / runs < 0.02


def remembered(source: random.Random, weight: float) -> Side:
    """Draw what legacy did in the steps below `weight`."""
    requests = sum(round(LASTING / CHUNK * beside(step)) for step in STEPS if step < weight)
    return Side(requests, poisson(source, requests * HEALTHY))


def found_after(
    source: random.Random, config: GuardrailConfig, weight: float, rate: float, most: int
) -> int | None:
    """Return after how many native requests a route is rolled back, None if it isn't."""
    baseline, share = remembered(source, weight), beside(weight)
    failures = legacy = legacy_failures = 0
    for native in range(CHUNK, most + 1, CHUNK):
        new = failing(source, rate)
        failures += new
        legacy += round(share)
        legacy_failures += poisson(source, share * HEALTHY)
        if new:
            window = Window(Side(native, failures), Side(legacy, legacy_failures))
            found = analyse(window, config, bounds=BOUNDS, baseline=baseline)
            if found.verdict is Verdict.ROLLBACK:
                return native
    return None


@pytest.mark.parametrize("config", [RELATIVE, BOTH], ids=["against legacy", "absolute, too"])
@pytest.mark.parametrize("weight", STEPS)
def test_3_percent_of_errors_are_found_within_1000_native_requests(
    weight: float, config: GuardrailConfig
) -> None:
    source, runs = random.Random(2026), 1000
    found = [found_after(source, config, weight, 0.03, 1000) for _ in range(runs)]
    in_time = sorted(each for each in found if each is not None)
    print(f"{weight}%: {len(in_time)} of {runs} in time, half of them by {in_time[runs // 2]}")
    assert len(in_time) / runs >= 0.99


@pytest.mark.parametrize("weight", STEPS)
def test_50_percent_of_errors_are_found_on_all_workers_together(weight: float) -> None:
    """Where many workers each see too little for a burst of their own."""
    source, runs = random.Random(2026), 2000
    late = sum(found_after(source, RELATIVE, weight, 0.5, 40) is None for _ in range(runs))
    print(f"{weight}%: {late} of {runs} later than 40 requests")
    assert late / runs < 0.001


def test_errors_that_begin_late_are_found_too() -> None:
    """After 100,000 good requests a new 3% is found in about the same time."""
    source, delays = random.Random(2026), []
    for run in range(100):
        here = begin(BOTH, 100, {}, 0, baseline=Side(200_000, 1000))
        native, failures, begins = 0, 0, 100_000 + 20 * run
        while True:
            native += CHUNK
            failures += failing(source, 0.03 if native > begins else HEALTHY)
            if native <= begins and native % 500:
                continue
            here = counted(here, {"worker": Window(Side(native, failures))}, BOTH)
            found = analyse(
                here.window, BOTH, bounds=BOUNDS, baseline=here.baseline, number=here.number
            )
            if found.verdict is Verdict.ROLLBACK:
                delays.append(native - begins)
                break
    delays.sort()
    print(f"found after {delays[50]} requests (half), {delays[-2]} (99 of 100)")
    assert delays[0] > 0, "never before it began"
    assert delays[50] < 1000
    assert delays[-2] < 2500


@pytest.mark.parametrize("weight", [1, 5, 25, 50])
def test_an_outage_of_both_sides_is_not_natives_fault(weight: float) -> None:
    source, runs, wrong = random.Random(2026), 300, 0
    for _ in range(runs):
        baseline, share = remembered(source, weight), beside(weight)
        failures = legacy = legacy_failures = 0
        for native in range(CHUNK, 1001, CHUNK):
            failures += failing(source, 0.1)
            legacy += round(share)
            legacy_failures += poisson(source, share * 0.1)
            window = Window(Side(native, failures), Side(legacy, legacy_failures))
            found = analyse(window, RELATIVE, bounds=BOUNDS, baseline=baseline)
            if found.verdict is Verdict.ROLLBACK:
                wrong += 1
                break
    print(f"{weight}%: {wrong} of {runs}")
    assert wrong / runs < 0.06


def drawn(source: random.Random, shares: list[float], requests: float) -> Side:
    """Draw durations by the shares of the buckets."""
    durations = tuple(poisson(source, share * requests) for share in shares)
    # The mean varies as that of a heavy tail does.
    seconds = sum(
        count * bound * source.uniform(0.5, 1)
        for count, bound in zip(durations, (*BOUNDS, 20.0), strict=True)
    )
    return Side(sum(durations), 0, durations, seconds)


def test_equal_durations_are_not_rolled_back() -> None:
    """Pareto's tail, index 1.3, from 4 ms: its variance is infinite."""
    above = [1.0, *(min(1.0, (0.004 / bound) ** 1.3) for bound in BOUNDS), 0.0]
    shares = [before - after for before, after in pairwise(above)]
    config = GuardrailConfig(against_legacy=False, duration_ratio=1.2)
    source, runs, wrong, passed = random.Random(2026), 400, 0, 0
    for _ in range(runs):
        baseline = IDLE
        for weight in (*STEPS, 100):
            native = legacy = IDLE
            for _ in range(10):
                native += drawn(source, shares, 200)
                legacy += drawn(source, shares, 10 * beside(weight))
                found = analyse(Window(native, legacy), config, bounds=BOUNDS, baseline=baseline)
                wrong += found.verdict is Verdict.ROLLBACK
            passed += found.verdict is Verdict.PASS
            baseline += legacy
    print(f"falsely rolled back: {wrong} of {runs} walks; passed {passed} of {runs * 6} steps")
    assert wrong / runs < 0.01
    assert passed / (runs * 6) > 0.9
