"""The circuit breaker: when it opens, whom it lets through, when it closes again."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from gateway.breaker import Breaker, State
from gateway.config import CircuitConfig

CONFIG = CircuitConfig(ratio=50, requests=4, window=10, open=30, probes=2)


def state(breaker: Breaker) -> State:
    return breaker.state


def fail(breaker: Breaker, times: int, now: float = 0) -> None:
    for _ in range(times):
        assert breaker.allows(now)
        breaker.note(ok=False, now=now)


def test_it_opens_at_the_ratio_and_not_before_enough_were_seen() -> None:
    breaker = Breaker(CONFIG)
    fail(breaker, 3)
    assert state(breaker) is State.CLOSED
    breaker.note(ok=True, now=0)
    assert state(breaker) is State.OPEN, "3 of 4"
    assert not breaker.allows(29.9)
    assert breaker.opened == 1


def test_what_lies_before_the_window_is_forgotten() -> None:
    breaker = Breaker(CONFIG)
    fail(breaker, 3, now=0)
    fail(breaker, 3, now=10)
    assert state(breaker) is State.CLOSED
    fail(breaker, 1, now=10)
    assert state(breaker) is State.OPEN


def test_probes_close_it_and_one_failure_opens_it_again() -> None:
    breaker = Breaker(CONFIG)
    fail(breaker, 4)
    assert [breaker.allows(30) for _ in range(3)] == [True, True, False]
    assert state(breaker) is State.HALF_OPEN
    breaker.note(ok=True, now=30)
    assert state(breaker) is State.HALF_OPEN
    breaker.note(ok=True, now=31)
    assert state(breaker) is State.CLOSED
    fail(breaker, 4, now=40)
    assert breaker.allows(70)
    breaker.note(ok=False, now=71)
    assert state(breaker) is State.OPEN
    assert not breaker.allows(100.9)
    assert breaker.opened == 3


def test_a_probe_whose_client_left_gives_its_place_back() -> None:
    breaker = Breaker(CONFIG)
    fail(breaker, 4)
    assert [breaker.allows(30) for _ in range(2)] == [True, True]
    breaker.note(ok=None, now=30)
    assert breaker.allows(31)


@given(st.lists(st.tuples(st.floats(0, 5), st.sampled_from([True, False, None])), max_size=200))
def test_it_never_gets_stuck(steps: list[tuple[float, bool | None]]) -> None:
    """Whatever has happened: once the time is over, and probes succeed, native serves again."""
    breaker, now = Breaker(CONFIG), 0.0
    for pause, ok in steps:
        now += pause
        if breaker.allows(now):
            breaker.note(ok, now)
    now += CONFIG.open
    for _ in range(CONFIG.probes):
        assert breaker.allows(now)
        breaker.note(ok=True, now=now)
    assert state(breaker) in (State.CLOSED, State.OPEN)
    assert breaker.allows(now + CONFIG.open)
