"""Is native as good as legacy? One figure after the other, and what must hold for all counts."""

from __future__ import annotations

import random
import time
import timeit
from bisect import bisect_left
from dataclasses import replace
from functools import partial
from math import comb, exp, inf
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.config import GuardrailConfig
from gateway.observe.tally import BOUNDS, percentile
from gateway.rollout.analysis import Analysis, Verdict, analyse, reference
from gateway.rollout.durations import quantile
from gateway.rollout.evidence import evidence, excess, mean
from gateway.rollout.figures import EMPTY, IDLE, Side, Window

if TYPE_CHECKING:
    from collections.abc import Callable

PASS, HOLD, ROLLBACK = Verdict
ORDER = list(Verdict)
HEALTHY = Side(20_000, 100)
RELATIVE = GuardrailConfig()
ABSOLUTE = GuardrailConfig(success_rate=99, against_legacy=False)
BOTH = GuardrailConfig(success_rate=99)
DURATIONS = GuardrailConfig(success_rate=99, against_legacy=False, duration_ratio=1.2)
CONSISTENT = GuardrailConfig(consistency=99, against_legacy=False)


def judged(window: Window, config: GuardrailConfig, baseline: Side = IDLE) -> Analysis:
    return analyse(window, config, bounds=BOUNDS, baseline=baseline)


@pytest.mark.parametrize(
    ("config", "native", "legacy", "verdict"),
    [
        (RELATIVE, (1000, 5), (99_000, 495), PASS),
        (RELATIVE, (1000, 30), (99_000, 495), ROLLBACK),
        (RELATIVE, (1000, 30), (1000, 5), ROLLBACK),
        (RELATIVE, (200, 4), (19_800, 99), PASS),
        (RELATIVE, (200, 6), (19_800, 99), HOLD),
        (RELATIVE, (199, 0), (19_800, 99), HOLD),
        (RELATIVE, (200, 0), (199, 1), HOLD),
        (RELATIVE, (1000, 0), (0, 0), HOLD),
        (RELATIVE, (1000, 1000), (0, 0), HOLD),
        (RELATIVE, (6, 6), (594, 3), ROLLBACK),
        (RELATIVE, (1, 1), (0, 0), HOLD),
        (RELATIVE, (2, 2), (10, 0), HOLD),
        (RELATIVE, (1000, 2), (99_000, 0), PASS),
        (RELATIVE, (1000, 12), (99_000, 0), ROLLBACK),
        (RELATIVE, (5000, 250), (20_000, 1000), PASS),
        (RELATIVE, (5000, 2500), (20_000, 10_000), PASS),
        (ABSOLUTE, (1000, 5), (99_000, 495), PASS),
        (ABSOLUTE, (1000, 5), (0, 0), PASS),
        (ABSOLUTE, (1000, 11), (99_000, 495), HOLD),
        (ABSOLUTE, (1000, 50), (0, 0), ROLLBACK),
        (ABSOLUTE, (5000, 150), (95_000, 2850), ROLLBACK),
        (BOTH, (1000, 5), (0, 0), PASS),
        (BOTH, (1000, 30), (99_000, 495), ROLLBACK),
        (BOTH, (0, 0), (0, 0), HOLD),
        (GuardrailConfig(success_rate=100), (100_000, 1), (0, 0), ROLLBACK),
        (GuardrailConfig(success_rate=100), (1000, 0), (0, 0), PASS),
        (GuardrailConfig(margin=3), (1000, 30), (99_000, 495), PASS),
    ],
)
def test_success(
    config: GuardrailConfig, native: tuple[int, int], legacy: tuple[int, int], verdict: Verdict
) -> None:
    assert judged(Window(Side(*native), Side(*legacy)), config).verdict is verdict


def test_without_legacys_traffic_the_baseline_stands_in() -> None:
    bad, good = Window(Side(1000, 30)), Window(Side(1000, 5))
    assert judged(bad, RELATIVE, HEALTHY).verdict is ROLLBACK
    assert judged(good, RELATIVE, HEALTHY).verdict is PASS


def test_legacy_that_fails_now_is_no_longer_its_baseline() -> None:
    outage = Window(Side(500, 50), Side(500, 50))
    assert judged(outage, RELATIVE, HEALTHY).verdict is PASS
    assert reference(outage.legacy, HEALTHY) == outage.legacy
    over = Side(500, 1), Side(20_000, 2000)
    assert reference(*over) == over[0], "an old outage excuses nothing"
    assert reference(Side(500, 3), HEALTHY) == Side(20_500, 103)
    assert reference(IDLE, HEALTHY) == HEALTHY


def test_the_text_has_the_figures() -> None:
    (absolute, relative) = judged(Window(Side(512, 16), Side(9410, 38)), BOTH).findings
    assert absolute.text == "success 96.88% of 512 (legacy 99.60% of 9,410), wanted 99%"
    assert relative.text.endswith("wanted legacy's less 0.1 points")
    assert absolute.figures["failures"] == 16
    (unfair, _) = judged(Window(Side(512, 16), Side(10_000, 300)), BOTH).findings
    assert unfair.text.endswith("wanted 99% (legacy itself has 97.00%)")
    (young, _) = judged(Window(Side(12, 0), Side(10_000, 1)), BOTH).findings
    assert (
        young.text
        == "success 100% of 12 (legacy 99.99% of 10,000), wanted 99%, at least 200 needed"
    )


def test_a_rollback_before_enough_requests_says_that_it_was_clear() -> None:
    (absolute, _) = judged(Window(Side(12, 12), Side(10_000, 1)), BOTH).findings
    assert absolute.verdict is ROLLBACK
    assert absolute.text.endswith("wanted 99%, clear before 200")


def test_an_analysis_tells_what_decided() -> None:
    analysis = judged(Window(Side(1000, 20), Side(99_000, 495)), BOTH)
    assert analysis.verdict is ROLLBACK
    assert analysis.text.startswith("success 98.00% of 1,000")
    assert analysis.findings[0].verdict is HOLD
    assert "wanted 99%" not in analysis.text
    assert analysis.figures["against_legacy.legacy_requests"] == 99_000


@pytest.mark.parametrize(
    ("compared", "different", "verdict"),
    [
        (0, 0, HOLD),
        (199, 0, HOLD),
        (200, 2, PASS),
        (200, 3, HOLD),
        (200, 14, ROLLBACK),
        (4, 4, ROLLBACK),
    ],
)
def test_consistency(compared: int, different: int, verdict: Verdict) -> None:
    window = Window(Side(compared), compared=compared, different=different)
    assert judged(window, CONSISTENT).verdict is verdict


def timed(count: int, draw: Callable[[], float], factor: float = 1) -> Side:
    durations, seconds = [0] * (len(BOUNDS) + 1), 0.0
    for _ in range(count):
        took = draw() * factor
        durations[bisect_left(BOUNDS, took)] += 1
        seconds += took
    return Side(count, 0, tuple(durations), seconds)


SHAPES: dict[str, Callable[[random.Random], float]] = {
    "heavy tail": lambda r: 0.004 * r.paretovariate(1.3),
    "lognormal": lambda r: r.lognormvariate(-4.6, 0.8),
    "slow": lambda r: r.lognormvariate(-0.5, 0.5),
    "narrow": lambda r: r.gauss(0.03, 0.002),
    "lower in its bucket": lambda _: 0.006,
    "higher in its bucket": lambda _: 0.009,
}


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize(
    ("factor", "verdicts"),
    [
        (1.0, {PASS}),
        (1.19, {PASS, HOLD}),
        (1.5, {PASS, HOLD, ROLLBACK}),
        (2.0, {ROLLBACK}),
        (20, {ROLLBACK}),
    ],
)
def test_durations(shape: str, factor: float, verdicts: set[Verdict]) -> None:
    """Twice as slow is found in every shape; within the ratio nothing is rolled back."""
    source = random.Random(7)

    def draw() -> float:
        return SHAPES[shape](source)

    legacy = timed(10_000, draw)
    for count in (500, 2000):
        found = judged(Window(timed(count, draw, factor), legacy), DURATIONS)
        assert found.verdict in verdicts, found


def test_half_as_slow_again_does_not_pass_with_enough_requests() -> None:
    source = random.Random(7)
    legacy = timed(10_000, lambda: source.lognormvariate(-4.6, 0.8))
    native = timed(2000, lambda: source.lognormvariate(-4.6, 0.8), 1.5)
    assert judged(Window(native, legacy), DURATIONS).verdict is not PASS


def test_durations_need_both_sides() -> None:
    native = timed(1000, lambda: 0.1)
    assert judged(Window(native), DURATIONS).verdict is HOLD
    assert judged(Window(native), DURATIONS, timed(1000, lambda: 0.1)).verdict is PASS
    assert judged(Window(native), DURATIONS, timed(1000, lambda: 0.01)).verdict is ROLLBACK
    beside = Window(native, timed(1000, lambda: 0.1))
    assert judged(beside, DURATIONS, timed(90_000, lambda: 0.01)).verdict is PASS, "load has grown"
    text = judged(beside, DURATIONS).findings[1].text
    assert text == (
        "p95 97.5 ms, mean 100 ms of 1,000 (legacy 97.5 ms, 100 ms of 1,000), "
        "wanted at most 1.2 times legacy's"
    )


@given(st.lists(st.integers(0, 50), min_size=14, max_size=14), st.floats(0.01, 0.99))
def test_quantiles_are_those_of_the_status_page(durations: list[int], share: float) -> None:
    assert quantile(durations, share, BOUNDS) == pytest.approx(percentile(durations, share) or 0.0)


counts = st.integers(0, 3000)


@st.composite
def sides(draw: st.DrawFn) -> Side:
    durations = tuple(draw(st.lists(st.integers(0, 300), min_size=14, max_size=14)))
    requests = sum(durations)
    seconds = sum(count * bound for count, bound in zip(durations, (*BOUNDS, 20.0), strict=True))
    return Side(requests, draw(st.integers(0, requests)), durations, seconds)


@st.composite
def windows(draw: st.DrawFn) -> Window:
    compared = draw(counts)
    return Window(draw(sides()), draw(sides()), compared, draw(st.integers(0, compared)))


configs = st.builds(
    GuardrailConfig,
    min_requests=st.integers(1, 500),
    success_rate=st.none() | st.floats(0, 100),
    margin=st.floats(0, 5),
    duration_ratio=st.none() | st.floats(1, 10),
    consistency=st.none() | st.floats(0, 100),
)


@given(windows(), sides(), configs)
def test_more_failures_never_make_it_better(
    window: Window, baseline: Side, config: GuardrailConfig
) -> None:
    native = window.native
    before = judged(window, config, baseline)
    if native.failures < native.requests:
        worse = replace(window, native=replace(native, failures=native.failures + 1))
        assert ORDER.index(judged(worse, config, baseline).verdict) >= ORDER.index(before.verdict)
    if window.different < window.compared:
        worse = replace(window, different=window.different + 1)
        assert ORDER.index(judged(worse, config, baseline).verdict) >= ORDER.index(before.verdict)


@given(windows(), sides(), configs)
def test_a_later_window_is_never_rolled_back_sooner(
    window: Window, baseline: Side, config: GuardrailConfig
) -> None:
    found = [
        analyse(window, config, bounds=BOUNDS, baseline=baseline, number=number).verdict
        for number in (1, 2, 10)
    ]
    assert found == sorted(found, key=ORDER.index, reverse=True)


@given(windows(), sides(), configs)
def test_native_that_did_nothing_is_held(
    window: Window, baseline: Side, config: GuardrailConfig
) -> None:
    idle = Window(IDLE, window.legacy)
    assert judged(idle, config, baseline).verdict is HOLD
    assert judged(EMPTY, config).verdict is HOLD


@given(sides(), st.integers(1, 20))
def test_sides_that_did_the_same_are_never_rolled_back(side: Side, times: int) -> None:
    legacy = IDLE
    for _ in range(times):
        legacy += side
    config = GuardrailConfig(duration_ratio=1)
    assert judged(Window(side, legacy), config).verdict is not ROLLBACK


@given(st.lists(windows(), min_size=2, max_size=4), configs, st.randoms())
def test_windows_add_up_in_any_order(
    parts: list[Window], config: GuardrailConfig, order: random.Random
) -> None:
    shuffled = parts[:]
    order.shuffle(shuffled)
    one = judged(sum(parts, EMPTY), config).verdict
    assert judged(sum(shuffled, EMPTY), config).verdict is one


@given(windows(), sides(), configs)
def test_figures_are_plain_numbers(window: Window, baseline: Side, config: GuardrailConfig) -> None:
    for value in judged(window, config, baseline).figures.values():
        assert isinstance(value, int | float)
        assert abs(value) < inf


def test_evidence_is_an_e_value() -> None:
    """On average it is at most 1 where the bound holds, whatever the number of trials."""
    for share in (0.001, 0.05, 0.5):
        for trials in (1, 10, 100):
            expected = sum(
                comb(trials, hits)
                * share**hits
                * (1 - share) ** (trials - hits)
                * exp(evidence(hits, trials, share))
                for hits in range(trials + 1)
            )
            assert expected == pytest.approx(1)
    assert evidence(0, 10, 0) == 0
    assert evidence(1, 10, 0) == inf
    assert evidence(10, 10, 1) == 0
    assert excess(0, 0, 0, 0) == 0
    assert mean([inf, 0.0]) == inf
    assert mean([2.0, 2.0]) == pytest.approx(2)


def test_an_analysis_takes_less_than_200_microseconds() -> None:
    source = random.Random(7)
    native, legacy = (
        timed(count, lambda: source.lognormvariate(-4.6, 0.8)) for count in (2000, 10_000)
    )
    window = Window(native, legacy, 500, 3)
    config = GuardrailConfig(success_rate=99, duration_ratio=1.2, consistency=99)
    asked = partial(judged, window, config, legacy)
    # CPU time: other work on the machine is none of the analysis's.
    taken = timeit.repeat(asked, timer=time.thread_time, number=100, repeat=10)
    assert min(taken) / 100 < 200e-6
