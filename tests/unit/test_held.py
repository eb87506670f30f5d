"""States of a store: which includes which, and what comes of two that don't."""

from __future__ import annotations

import json
from typing import Any

import pytest

from gateway.held import Held, merged
from gateway.overrides import ALL, Override


def override(route: str, cutover: str = "native", **more: Any) -> Override:
    values: dict[str, Any] = {"weight": None, "kind": "set", "author": "", "reason": ""}
    values |= {"since": 1.0, "expires": None, "replaced": ""} | more
    return Override(route=route, cutover=cutover, **values)  # type: ignore[arg-type]


def rollback(route: str, **more: Any) -> Override:
    return override(route, "legacy", kind="rollback", **more)


def grown(held: Held, *puts: Override, drop: tuple[str, ...] = (), ids: str = "a") -> Held:
    """Return what comes of one write for each override."""
    for number, each in enumerate(puts):
        held = held.changed([each], drop, f"{ids}{number}")
    return held


def test_a_state_is_what_led_to_it() -> None:
    one = grown(Held(), override("x"), override("y"))
    more = grown(one, override("z"), ids="b")
    assert more.includes(one)
    assert not one.includes(more)
    assert one.includes(Held())
    assert not Held().includes(one)
    assert (one.mark, more.mark) == ("2.a1", "3.b0")


def test_a_fork_within_one_life_is_noticed() -> None:
    """An older copy is put back and written to: it comes to the same number with other contents."""
    base = grown(Held(), override("x"))
    ours, other = grown(base, rollback("x"), ids="o"), grown(base, override("y"), ids="p")
    assert ours.sequence == other.sequence
    assert ours.generation == other.generation
    assert ours.mark != other.mark
    assert not ours.includes(other)
    assert not other.includes(ours)
    whole = merged(ours, other)
    assert {(each.route, each.kind) for each in whole.overrides} == {
        ("x", "rollback"), ("y", "set"),
    }  # fmt: skip
    for less in (base, ours, other, Held()):
        assert whole.includes(less)
    assert not whole.includes(grown(ours, override("z"), ids="q"))


def test_what_was_cleared_does_not_come_back_with_an_older_copy() -> None:
    older = grown(Held(), override("x"), rollback("y"))
    ours = older.changed([], ["x", "y"], "clear")
    assert merged(ours, older).overrides == ()
    written = grown(older, rollback("z"), ids="w")
    assert [each.route for each in merged(ours, written).overrides] == ["z"]


@pytest.mark.parametrize("swap", [False, True])
@pytest.mark.parametrize("standing", [rollback("a"), override(ALL, "legacy")])
def test_neither_a_rollback_nor_the_kill_switch_is_lost(standing: Override, swap: bool) -> None:
    """Whichever side it is on, and whatever the clocks of both say."""
    for since in (0.0, 1.0, 1e9):
        each = Override(**{**standing.as_json(), "since": since})
        ours = grown(Held(), each, ids="o")
        route = "b" if standing.route == ALL else standing.route
        found = grown(Held(), override(route), ids="f")
        if swap:
            ours, found = found, ours
        kept = next(e for e in merged(ours, found).overrides if e.route == standing.route)
        assert (kept.cutover, kept.kind) == (each.cutover, each.kind)


def test_what_was_set_below_a_rollback_goes() -> None:
    ours = grown(Held(), override("GET /a"), override("GET /b"), ids="o")
    found = grown(Held(), rollback("rule", covers=("GET /a",)), ids="f")
    assert {each.route for each in merged(ours, found).overrides} == {"rule", "GET /b"}


def test_a_state_is_read_as_it_was_written() -> None:
    held = merged(
        grown(Held(), override("é\u2028", weight=2.5, cutover="canary", expires=1e9)),
        grown(Held(), rollback("a", covers=("GET /a", "HEAD /a")), ids="f"),
    )
    text = json.dumps(held.as_json())
    found = Held.parse(text)
    assert found == held
    assert [each.origin for each in found.overrides] == [each.origin for each in held.overrides]
    newer = {**held.as_json(), "unheard": 1}
    assert Held.parse(json.dumps(newer)) == held


GOOD = json.loads(json.dumps(grown(Held(), override("a")).as_json()))


@pytest.mark.parametrize(
    "change",
    [
        {"weight": 1e308},
        {"weight": 101},
        {"weight": 10**400},
        {"weight": "1"},
        {"weight": True},
        {"weight": float("nan")},
        {"since": 1e300},
        {"since": -1e15},
        {"expires": float("inf")},
        {"route": 1},
        {"author": "\ud800"},
        {"cutover": "nativ"},
        {"kind": "drop"},
        {"covers": "GET /a"},
        {"covers": [1]},
    ],
)
def test_what_cannot_be_is_refused(change: dict[str, Any]) -> None:
    text = json.dumps({**GOOD, "overrides": [{**GOOD["overrides"][0], **change}]})
    with pytest.raises(ValueError, match="validation error"):
        Held.parse(text)


@pytest.mark.parametrize("text", ["[" * 100_000, "{", "", "[]", "null", "\x00"])
def test_what_is_no_state_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="validation error"):
        Held.parse(text)
