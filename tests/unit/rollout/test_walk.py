"""The walk from a small weight to `native`: every row of the table, restarts, changed configs."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.config import GuardrailConfig
from gateway.rollout.analysis import Analysis, Finding, Verdict
from gateway.rollout.figures import EMPTY, IDLE, Side, Window
from gateway.rollout.walk import (
    ACTIVE,
    WINDOW,
    Kind,
    Move,
    State,
    Walk,
    advance,
    begin,
    counted,
    paused,
    rollback,
)

CONFIG = GuardrailConfig(interval=60)
CONFIRM = GuardrailConfig(interval=60, confirm=True)
BUCKETS = (1, 2, 3)


def analysis(verdict: Verdict) -> Analysis:
    return Analysis(verdict, (Finding("success_rate", verdict, "99.9% of 500", {"requests": 500}),))


PASSED, HELD, BAD = (analysis(verdict) for verdict in Verdict)


def walk(state: State = State.WALKING, weight: float = 5, since: float = 1000) -> Walk:
    return Walk(state, weight, since)


def moved(move: Move | None) -> Move:
    assert move is not None
    return move


def test_a_clean_route_walks_to_native() -> None:
    now, here, path = 0.0, begin(CONFIG, 1, {}, 0), []
    while here.state is not State.DONE:
        assert advance(here, PASSED, CONFIG, now + 59.9) is None, "a step lasts its interval"
        now += 60
        move = moved(advance(here, PASSED, CONFIG, now))
        path.append((move.kind, move.cutover, move.weight, move.changes))
        here = move.walk
    assert path == [
        (Kind.PROMOTE, "canary", 5, True),
        (Kind.PROMOTE, "canary", 25, True),
        (Kind.PROMOTE, "canary", 50, True),
        (Kind.PROMOTE, "canary", 100, True),
        (Kind.FINISH, "native", None, True),
        (Kind.COMPLETE, "native", None, False),
    ]


@pytest.mark.parametrize("state", [State.WALKING, State.WAITING, State.WATCHING])
def test_hold_never_ends_a_walk(state: State) -> None:
    assert advance(walk(state), HELD, CONFIRM, 1e9) is None


@pytest.mark.parametrize(
    ("state", "where"),
    [(State.WALKING, "5%"), (State.WAITING, "5%"), (State.WATCHING, "native")],
)
def test_a_bad_verdict_rolls_back_at_once(state: State, where: str) -> None:
    move = moved(advance(walk(state), BAD, CONFIG, 1000.5))
    assert (move.kind, move.cutover, move.weight, move.changes) == (
        Kind.ROLLBACK,
        "legacy",
        None,
        True,
    )
    assert move.reason == f"rolled back at {where}: 99.9% of 500"
    assert move.figures == {"success_rate.requests": 500}
    assert (move.walk.state, move.walk.since) == (State.ROLLED_BACK, 1000.5)


@pytest.mark.parametrize("state", sorted(set(State) - ACTIVE))
@pytest.mark.parametrize("found", [PASSED, HELD, BAD])
def test_nothing_moves_a_walk_that_is_over(state: State, found: Analysis) -> None:
    assert advance(walk(state), found, CONFIG, 1e9, confirmed=True) is None
    assert counted(walk(state), {"a": Window(Side(5))}, CONFIG) == walk(state)
    assert paused(walk(state), 5) == walk(state)


def test_a_person_confirms_native() -> None:
    last = walk(weight=100)
    asked = moved(advance(last, PASSED, CONFIRM, 1060, confirmed=True))
    assert (asked.kind, asked.changes) == (Kind.WAIT, False), "not before it was asked for"
    assert asked.walk.state is State.WAITING
    assert advance(asked.walk, PASSED, CONFIRM, 9999) is None
    finished = moved(advance(asked.walk, HELD, CONFIRM, 9999, confirmed=True))
    assert (finished.kind, finished.cutover) == (Kind.FINISH, "native")
    assert finished.reason.startswith("confirmed by a person")
    assert finished.walk.state is State.WATCHING
    bad = moved(advance(asked.walk, BAD, CONFIRM, 9999, confirmed=True))
    assert bad.kind is Kind.ROLLBACK


def test_a_burst_needs_no_analysis() -> None:
    move = rollback(walk(weight=25), "9 failures of 9", 7, {"failures": 9})
    assert move.reason == "rolled back at 25%: 9 failures of 9"
    assert move.walk.state is State.ROLLED_BACK


def test_a_person_who_sets_the_cutover_pauses_the_walk() -> None:
    assert paused(walk(), 7) == walk(State.PAUSED, since=7)


@pytest.mark.parametrize(
    ("weight", "first", "following"),
    [(0, 1, 5), (1, 1, 5), (0.2, 0.2, 1), (10, 10, 25), (25, 25, 50)],
)
def test_a_walk_begins_where_the_file_says(weight: float, first: float, following: float) -> None:
    begun = begin(CONFIG, weight, {}, 0)
    assert begun.weight == first
    assert moved(advance(begun, PASSED, CONFIG, 60)).weight == following


@pytest.mark.parametrize(
    ("steps", "weight"), [((1, 5, 10, 50), 10), ((50,), 50), ((2, 3), None), ((1, 5), None)]
)
def test_other_steps_leave_the_walk_in_its_place(
    steps: tuple[float, ...], weight: float | None
) -> None:
    config = GuardrailConfig(steps=steps)
    move = moved(advance(walk(weight=5), PASSED, config, 2000))
    assert move.weight == weight
    assert move.cutover == ("native" if weight is None else "canary")


def window(native: int, legacy: int, failures: int = 0) -> Window:
    return Window(Side(native, failures, BUCKETS, 1.5), Side(legacy, failures, BUCKETS, 2.5), 7, 1)


def test_counters_are_counted_from_where_they_were_last_read() -> None:
    here = begin(CONFIG, 1, {"a": window(100, 1000), "b": window(50, 500)}, 0)
    here = counted(here, {"a": window(110, 1100), "b": window(55, 550)}, CONFIG)
    here = counted(here, {"a": window(111, 1100)}, CONFIG)
    here = counted(here, {"a": window(112, 1100), "b": window(56, 550)}, CONFIG)
    assert (here.window.native.requests, here.window.legacy.requests) == (18, 150)
    assert here.window.native.durations == (0, 0, 0)
    assert here.window.compared == 0


def test_a_worker_that_restarts_counts_from_its_start_and_a_new_one_from_here_on() -> None:
    """What a worker did before it was known may belong to an earlier step, or to no walk at all."""
    here = begin(CONFIG, 1, {"a": window(100, 1000)}, 0)
    here = counted(here, {"a": window(4, 40), "b": window(3000, 30)}, CONFIG)
    assert (here.window.native.requests, here.window.legacy.requests) == (4, 40)
    here = counted(here, {"a": window(4, 40), "b": window(3003, 60)}, CONFIG)
    assert (here.window.native.requests, here.window.legacy.requests) == (7, 70)


def test_workers_that_are_gone_are_forgotten_some_day() -> None:
    here = begin(CONFIG, 1, {}, 0)
    for number in range(500):
        here = counted(here, {str(number): window(1, 1)}, CONFIG)
    assert len(here.seen) < 100


def test_a_full_window_is_followed_by_another_and_legacy_is_remembered() -> None:
    here = replace(walk(), window=Window(Side(WINDOW), Side(9000, 9)), seen={"a": EMPTY})
    here = counted(here, {"a": Window(Side(10), Side(90, 1))}, CONFIG)
    assert here.window == Window(Side(10), Side(90, 1))
    assert (here.number, here.baseline, here.since) == (2, Side(9000, 9), 1000)


def test_the_next_step_remembers_legacy_and_counts_anew() -> None:
    here = replace(
        walk(weight=50), window=window(300, 9000), seen={"a": window(300, 9000)}, number=3
    )
    after = moved(advance(here, PASSED, CONFIG, 1060)).walk
    assert after == Walk(State.WALKING, 100, 1060, seen=here.seen, baseline=here.window.legacy)
    later = replace(after, window=window(300, 0))
    assert moved(advance(later, PASSED, CONFIG, 1120)).walk.baseline.requests == 9000


def test_an_outage_of_legacy_does_not_replace_what_was_known() -> None:
    here = replace(walk(), window=Window(Side(300), Side(300, 60)), baseline=Side(9000, 9))
    assert moved(advance(here, PASSED, CONFIG, 1060)).walk.baseline == Side(9000, 9)


sides = st.builds(
    Side,
    st.integers(0, 10**9),
    st.integers(0, 10**9),
    st.lists(st.integers(0, 10**9), max_size=14).map(tuple),
    st.floats(0, 1e9),
)
windows = st.builds(Window, sides, sides, st.integers(0, 10**9), st.integers(0, 10**9))
walks = st.builds(
    Walk,
    st.sampled_from(State),
    st.floats(0, 100),
    st.floats(0, 1e10),
    st.integers(1, 1000),
    windows,
    st.dictionaries(st.text(max_size=8), windows, max_size=3),
    sides,
)


@given(walks)
def test_a_walk_survives_the_store(here: Walk) -> None:
    assert Walk.of_json(json.loads(json.dumps(here.as_json()))) == here


def test_keys_of_a_newer_version_are_passed_over() -> None:
    assert Walk.of_json({**walk().as_json(), "mood": "good"}) == walk()


@pytest.mark.parametrize(
    "wrong",
    [
        {"state": "dancing"},
        {"state": None},
        {"weight": 101},
        {"weight": "5"},
        {"weight": True},
        {"weight": float("nan")},
        {"since": float("inf")},
        {"number": 1.5},
        {"window": None},
        {"window": {**EMPTY.as_json(), "compared": -1}},
        {"window": {**EMPTY.as_json(), "native": []}},
        {"baseline": {**IDLE.as_json(), "durations": 5}},
        {"baseline": {**IDLE.as_json(), "durations": ["x"]}},
        {"seen": [1]},
        {"seen": {"a": 5}},
    ],
)
def test_what_is_no_walk_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"."):
        Walk.of_json({**walk().as_json(), **wrong})


@pytest.mark.parametrize("wrong", [None, [], "walk", {}, {"state": "walking"}])
def test_what_is_no_mapping_of_a_walk_is_refused(wrong: Any) -> None:
    with pytest.raises(ValueError, match=r"."):
        Walk.of_json(wrong)
