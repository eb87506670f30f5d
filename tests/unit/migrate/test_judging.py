"""What two answers prove: the whole table, and what a route's cells come to."""

from __future__ import annotations

from dataclasses import replace

import pytest

from gateway import Gateway
from gateway.migrate.prove.cases import RouteCase
from gateway.migrate.prove.judging import (
    Answered,
    Cell,
    Outcome,
    Verdict,
    failed,
    in_order,
    judge,
)
from gateway.migrate.prove.planning import Target
from gateway.migrate.prove.recording import recorded
from gateway.migrate.prove.reporting import as_json, cell_text, junit, table
from gateway.proofs import Proof
from gateway.refusals import Refusal
from tests.apps import pair

ROUTES = {
    auth: {
        route.id: route
        for route in Gateway(
            pair.legacy,
            pair.native,
            config={
                "version": 1,
                "routes": [
                    {"path": "/items/", "methods": ["GET"], "cutover": "legacy", "auth": auth},
                    {"path": "/users/{id}", "cutover": "legacy", "auth": auth},
                ],
            },
            verify_lock=False,
        ).table.routes
    }
    for auth in ("native", "none")
}


def target(name: str = "GET /items/", auth: str = "native", hindrance: str = "") -> Target:
    return Target(ROUTES[auth][name], RouteCase(), hindrance=hindrance)


LET_IN = Answered(200, Refusal.LET_IN)
REFUSED = Answered(401, Refusal.REFUSED)
ABSENT = Answered(404, Refusal.ABSENT)
OTHER = Answered(422, Refusal.OTHER)
LIMITED = Answered(429, Refusal.LIMITED)
BY_CSRF = Answered(400, Refusal.REFUSED, by_csrf=True)
BLOCKED = Answered(200, Refusal.LET_IN, trouble="192.0.2.1:80 was blocked")
BROKEN = Answered(500, Refusal.OTHER, trouble="it failed with 500")


@pytest.mark.parametrize(
    ("legacy", "native", "verdict"),
    [
        (LET_IN, LET_IN, "same"),
        (LET_IN, REFUSED, "closed"),
        (LET_IN, ABSENT, "closed"),
        (LET_IN, OTHER, "unlike"),
        (REFUSED, LET_IN, "opened"),
        (REFUSED, REFUSED, "same"),
        (REFUSED, ABSENT, "unlike"),
        (REFUSED, OTHER, "unlike"),
        (ABSENT, LET_IN, "opened"),
        (ABSENT, REFUSED, "unlike"),
        (ABSENT, ABSENT, "same"),
        (ABSENT, OTHER, "unlike"),
        (OTHER, LET_IN, "unlike"),
        (OTHER, REFUSED, "unlike"),
        (OTHER, ABSENT, "unlike"),
        (OTHER, OTHER, "same"),
        (LIMITED, LET_IN, "unclear"),
        (REFUSED, LIMITED, "unclear"),
        (BROKEN, LET_IN, "unclear"),
        (REFUSED, BROKEN, "unclear"),
        (BY_CSRF, REFUSED, "unclear"),
        (REFUSED, BY_CSRF, "unclear"),
        (LET_IN, BY_CSRF, "unclear"),
        (BY_CSRF, LET_IN, "opened"),
        (REFUSED, BLOCKED, "opened"),
        (replace(REFUSED, trouble="blocked"), LET_IN, "unclear"),
        (LET_IN, BLOCKED, "unclear"),
        (None, LET_IN, "unclear"),
        (REFUSED, None, "unclear"),
    ],
)
def test_two_answers(legacy: Answered | None, native: Answered | None, verdict: str) -> None:
    assert Cell("ann", legacy, native).verdict == verdict


def test_a_cell_that_was_not_asked_is_unclear() -> None:
    cell = Cell("ann", None, None, "no reset")
    assert (cell.verdict, cell.trouble, cell_text(cell)) == (
        Verdict.UNCLEAR,
        "no reset",
        "not asked",
    )


BOTH = (Cell("nobody", REFUSED, REFUSED), Cell("ann", LET_IN, LET_IN))


def test_one_let_in_and_one_refused_alike_is_a_proof() -> None:
    found = judge(target(), BOTH)
    assert (found.outcome, found.let_in, found.refused) == (Outcome.PROVED, ("ann",), ("nobody",))
    assert not found.open


@pytest.mark.parametrize(
    ("more", "outcome", "why"),
    [
        (Cell("bob", REFUSED, LET_IN), "opened", "bob (legacy out 401, native in 200)"),
        (Cell("bob", LET_IN, REFUSED), "closed", "bob (legacy in 200, native out 401)"),
        (Cell("bob", REFUSED, OTHER), "unproved", "bob (legacy out 401, native other 422)"),
        (Cell("bob", LIMITED, LIMITED), "unproved", "bob: legacy answered 429"),
        (Cell("bob", None, None, "no login"), "unproved", "bob: no login"),
        (Cell("bob", BY_CSRF, BY_CSRF), "unproved", "bob: CSRF refused first"),
    ],
)
def test_one_cell_that_is_not_alike_is_enough(more: Cell, outcome: str, why: str) -> None:
    found = judge(target(), (*BOTH, more))
    assert found.outcome == outcome
    assert why in found.why


def test_a_redirect_beside_a_refusal_may_be_one_to_a_login_page() -> None:
    found = judge(target(), [*BOTH, Cell("bob", Answered(302, Refusal.OTHER), REFUSED)])
    assert found.outcome is Outcome.UNPROVED
    assert found.next == "is that a redirect to a login page? Then name it in auth.login"


def test_what_is_opened_is_said_before_all_else() -> None:
    cells = (
        Cell("a", LIMITED, LIMITED),
        Cell("b", LET_IN, REFUSED),
        Cell("c", REFUSED, LET_IN),
        Cell("d", REFUSED, LET_IN),
    )
    found = judge(target(), cells)
    assert found.outcome is Outcome.OPENED
    assert found.why.endswith("c (legacy out 401, native in 200); also d")


@pytest.mark.parametrize("auth", ["native", "none"])
def test_where_nobody_is_let_in_nothing_is_proved(auth: str) -> None:
    cells = (Cell("nobody", REFUSED, REFUSED), Cell("ann", ABSENT, ABSENT))
    found = judge(target(auth=auth), cells)
    assert found.outcome is Outcome.UNPROVED
    assert found.why == "legacy let nobody in: nobody out 401, ann absent 404"
    assert not found.open


def test_where_nobody_is_refused_nothing_is_proved() -> None:
    cells = (Cell("nobody", LET_IN, LET_IN), Cell("ann", LET_IN, LET_IN))
    assert judge(target(), cells).outcome is Outcome.UNPROVED
    assert judge(target(), cells).open
    signed = judge(target(auth="none"), cells)
    assert (signed.outcome, signed.open) == (Outcome.OPEN, True)


def test_a_404_is_no_refusal_and_no_open_door() -> None:
    cells = (Cell("nobody", ABSENT, ABSENT), Cell("ann", LET_IN, LET_IN))
    found = judge(target(auth="none"), cells)
    assert (found.outcome, found.why, found.open) == (
        Outcome.UNPROVED,
        "legacy refused nobody",
        False,
    )


def test_a_route_that_cannot_be_asked_is_unproved() -> None:
    found = judge(target(hindrance="no reset"), ())
    assert (found.outcome, found.why) == (Outcome.UNPROVED, "no reset")


def test_a_failure_is_no_refusal_unless_a_hook_failed() -> None:
    assert failed(500, by_hook=False) == "it failed with 500"
    assert failed(500, by_hook=True) == ""
    assert failed(503, by_hook=False) == ""
    assert failed(401, by_hook=False) == ""


def test_the_worst_comes_first() -> None:
    proved = judge(target(), BOTH)
    opened = judge(target(), [Cell("c", REFUSED, LET_IN)])
    unproved = judge(target(hindrance="no"), ())
    assert in_order([proved, unproved, opened]) == (opened, unproved, proved)


OLD = Proof("old", "old", "native,inherit", ("ann",), ("nobody",))


def test_only_what_is_proved_is_recorded() -> None:
    found = judge(target(), BOTH)
    after = recorded({"GET /gone": OLD}, [found], lambda _: ("l", "n"), whole=True)
    assert after == {"GET /items/": Proof("l", "n", "native,inherit", ("ann",), ("nobody",))}


def test_what_was_not_asked_keeps_its_proof() -> None:
    before = {"GET /users/{user_id}": OLD, "GET /items/": OLD}
    opened = judge(target(), [Cell("c", REFUSED, LET_IN)])
    assert recorded(before, [opened], lambda _: ("l", "n"), whole=False) == {
        "GET /users/{user_id}": OLD
    }


def test_code_that_cannot_be_read_is_never_recorded() -> None:
    assert recorded({}, [judge(target(), BOTH)], lambda _: None, whole=True) == {}


def test_a_route_that_hosts_tell_apart_is_never_recorded() -> None:
    found = judge(target(), BOTH)
    assert recorded({}, [found, found], lambda _: ("l", "n"), whole=True) == {}


def test_the_reports_hold_what_could_break_them() -> None:
    nasty = "pipe | and \x1b[31m <&>"
    found = judge(target(), [Cell("bob", None, None, nasty)])
    assert 'message="bob: pipe | and [31m &lt;&amp;&gt;"' in junit([found])
    page = table([found], ["sqlite:///shop.db"])
    assert "| `GET /items/` | native | not asked | unproved |" in page
    assert as_json([found], [])["routes"][0]["cells"][0]["trouble"] == nasty


def test_two_unlike_answers_are_both_shown() -> None:
    assert cell_text(Cell("ann", REFUSED, LET_IN)) == "out 401 / in 200"
    assert cell_text(Cell("ann", REFUSED, Answered(403, Refusal.REFUSED))) == "out 401 / out 403"
    assert cell_text(Cell("ann", LET_IN, LET_IN)) == "in 200"
