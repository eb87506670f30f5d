"""Who is let in: the one thing about two answers that nothing may hide."""

from __future__ import annotations

from typing import Any

import pytest

from gateway.refusals import Refusal
from gateway.routing import Backend
from gateway.shadow.answer import Answer
from gateway.shadow.compare import Verdict
from gateway.shadow.opening import changed_since, difference, limited, pair, told

SCOPE: dict[str, Any] = {"path": "/a", "root_path": "", "method": "GET", "headers": []}


def answer(status: int, *, by_hook: bool = False, location: bytes = b"") -> Answer:
    headers = ((b"location", location),) if location else ()
    return Answer(status, headers, b"", by_hook=by_hook)


LOGIN = answer(302, location=b"/login?next=/a")


@pytest.mark.parametrize(
    ("legacy", "native", "verdict", "both"),
    [
        (answer(401), answer(200), Verdict.OPENED, False),
        (answer(404), answer(204), Verdict.OPENED, False),
        (LOGIN, answer(200), Verdict.OPENED, False),
        (answer(200, by_hook=True), answer(200), Verdict.OPENED, False),
        (answer(200), answer(403), Verdict.CLOSED, False),
        (answer(200), answer(404), Verdict.CLOSED, False),
        (answer(200), answer(302, location=b"/login"), Verdict.CLOSED, False),
        (answer(401), LOGIN, None, True),
        (answer(401), answer(404), None, False),
        (answer(404), answer(404), None, False),
        (answer(200), answer(200), None, False),
        (answer(401), answer(422), None, False),
        (answer(401), answer(0), None, False),
        (answer(500), answer(200), None, False),
        (answer(302, location=b"/b"), answer(200), None, False),
        (answer(429), answer(200), None, False),
    ],
)
def test_a_pair_has_a_verdict_where_one_side_alone_lets_in(
    legacy: Answer, native: Answer, verdict: Verdict | None, both: bool
) -> None:
    found = pair(legacy, native, SCOPE, ["/login"])
    assert (found.verdict, found.both_refused) == (verdict, both)


def test_a_login_page_is_known_below_a_root_path() -> None:
    below = {**SCOPE, "path": "/shop/a", "root_path": "/shop"}
    for page in (b"/login", b"/shop/login"):
        found = pair(answer(302, location=page), answer(200), below, ["/login"])
        assert found.verdict is Verdict.OPENED
    assert pair(answer(302, location=b"/x/login"), answer(200), below, ["/login"]).verdict is None


def test_the_side_that_turned_away_is_named() -> None:
    assert pair(answer(401), answer(200), SCOPE, ()).away is Backend.LEGACY
    assert pair(answer(200), answer(401), SCOPE, ()).away is Backend.NATIVE


@pytest.mark.parametrize(
    ("again", "late", "raced"),
    [
        (Refusal.REFUSED, True, True),
        (Refusal.ABSENT, True, True),
        (Refusal.LET_IN, True, False),
        (Refusal.OTHER, True, False),
        (Refusal.LIMITED, True, False),
        (Refusal.LET_IN, False, True),
        (Refusal.REFUSED, False, False),
        (Refusal.ABSENT, False, False),
        (Refusal.OTHER, False, False),
    ],
)
def test_only_what_has_changed_meanwhile_is_raced(again: Refusal, late: bool, raced: bool) -> None:
    assert changed_since(again, late=late) is raced


def test_only_a_hook_s_limit_is_skipped() -> None:
    assert limited(answer(429, by_hook=True), answer(200))
    assert limited(answer(200), answer(503, by_hook=True))
    assert not limited(answer(429), answer(200))
    assert not limited(answer(401, by_hook=True), answer(200))


def test_it_is_told_without_anything_of_the_request() -> None:
    hook = answer(200, by_hook=True)
    assert told(answer(401), answer(200)) == "legacy answered 401, native 200"
    assert told(hook, answer(200)) == "legacy answered 200 by a hook or middleware, native 200"
    found = difference(hook, answer(200))
    assert (found.path, found.legacy, found.native) == (
        "who is let in",
        "200 by a hook or middleware",
        "200",
    )
