"""Declared differences: green exactly as declared."""

from __future__ import annotations

import json
from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError

from gateway.config import CompareConfig, ExpectConfig, Percent
from gateway.shadow.answer import Answer
from gateway.shadow.compare import Comparison, Policy, Verdict, compare

Declared = dict[str, Any]


def answer(body: Any, status: int = 200, cookie: str | None = None) -> Answer:
    headers = [(b"content-type", b"application/json")]
    if cookie is not None:
        headers.append((b"set-cookie", cookie.encode()))
    return Answer(status, tuple(headers), json.dumps(body).encode())


def judged(legacy: Any, native: Any, *expect: Declared, statuses: str = "200 200") -> Comparison:
    policy = Policy.of(CompareConfig(), [ExpectConfig.model_validate(each) for each in expect])
    first, second = map(int, statuses.split())
    return compare(answer(legacy, first), answer(native, second), policy)


def verdict(legacy: Any, native: Any, *expect: Declared, statuses: str = "200 200") -> str:
    return judged(legacy, native, *expect, statuses=statuses).verdict.value


NO_PASSWORD = {"path": "$..password", "native": "missing"}
NESTED = (
    {"path": "$.project_id", "native": "missing"},
    {"path": "$.project", "legacy": "missing", "native": {"type": "object"}},
)
CREATED = {"path": "status", "legacy": 200, "native": 201}
NUMBER = {"path": "$.price", "legacy": {"type": "string"}, "native": {"type": "number"}}
WORD = {"path": "$.a", "legacy": {"value": "any"}, "native": 1}
NESTING = {"path": "$.a", "legacy": [1], "native": {"value": {"b": 1}}}
FLAT = {"id": 1, "project_id": 7}


@pytest.mark.parametrize(
    ("legacy", "native", "expect", "outcome"),
    [
        ({"id": 1, "password": "x"}, {"id": 1}, [NO_PASSWORD], "expected"),
        ([{"u": {"password": "x"}}], [{"u": {}}], [NO_PASSWORD], "expected"),
        ({"id": 1, "password": "x"}, {"id": 1, "password": "x"}, [NO_PASSWORD], "different"),
        ({"id": 1, "password": "x"}, {"id": 1, "password": None}, [NO_PASSWORD], "different"),
        ({"id": 1}, {"id": 1}, [NO_PASSWORD], "equal"),
        ({"id": 1}, {"id": 1, "password": "x"}, [NO_PASSWORD], "different"),
        ({"id": 1, "password": "x"}, {"id": 2}, [NO_PASSWORD], "different"),
        (FLAT, {"id": 1, "project": {"id": 7}}, NESTED, "expected"),
        (FLAT, {"id": 1}, NESTED, "different"),
        (FLAT, {"id": 1, "project": 7}, NESTED, "different"),
        (FLAT, {"id": 1, "project_id": 7, "project": {"id": 7}}, NESTED, "different"),
        (FLAT, FLAT, NESTED, "different"),
        ({"price": "9.99"}, {"price": 9.99}, [NUMBER], "expected"),
        ({"price": "9.99"}, {"price": "9.99"}, [NUMBER], "different"),
        ({"price": "9.99"}, {"price": None}, [NUMBER], "different"),
        ({"price": 1}, {"price": 1}, [NUMBER], "equal"),
        ({"price": 1}, {"price": 2}, [NUMBER], "different"),
        ({"a": 1}, {"a": 2}, [{"path": "$.a", "legacy": 1, "native": 2}], "expected"),
        ({"a": 1}, {"a": 3}, [{"path": "$.a", "legacy": 1, "native": 2}], "different"),
        ({"a": 5}, {"a": 5}, [{"path": "$.a", "legacy": 1, "native": 2}], "equal"),
        ({"a": 1}, {"a": True}, [{"path": "$.a", "legacy": 1, "native": 1.5}], "different"),
        ({"a": "any"}, {"a": 1}, [WORD], "expected"),
        ({"a": "x"}, {"a": 1}, [WORD], "different"),
        ({"a": [1]}, {"a": {"b": 1}}, [NESTING], "expected"),
        ({"a": None}, {}, [{"path": "$.a", "legacy": None, "native": "missing"}], "expected"),
        ({}, {"b": 1}, [{"path": "$.b", "legacy": "missing"}], "expected"),
        ({}, {}, [{"path": "$.b", "legacy": "missing"}], "equal"),
    ],
)  # fmt: skip
def test_it_is_green_exactly_as_declared(
    legacy: Any, native: Any, expect: list[Declared], outcome: str
) -> None:
    assert verdict(legacy, native, *expect) == outcome


def test_what_was_declared_and_did_not_come_is_told() -> None:
    result = judged({"password": "hunter2"}, {"password": "hunter2"}, NO_PASSWORD)
    (found,) = result.differences
    assert (found.path, found.kind) == ("$.password", "changed")
    assert "native: missing" in found.note
    assert "hunter2" not in repr(result)


def test_what_was_declared_and_came_is_listed() -> None:
    legacy = {"items": [{"password": 1}, {"password": 2}]}
    assert judged(legacy, {"items": [{}, {}]}, NO_PASSWORD).expected == ("$.items[*].password",)


def test_a_declared_status() -> None:
    assert verdict({}, {}, CREATED, statuses="200 201") == "expected"
    assert verdict({}, {}, CREATED, statuses="200 200") == "different"
    assert verdict({}, {}, CREATED, statuses="200 202") == "different"
    assert verdict({}, {}, CREATED, statuses="404 404") == "equal"
    assert verdict({"a": 1}, {"a": 2}, CREATED, statuses="200 201") == "different"


def test_an_added_member_is_only_demanded_of_successful_answers() -> None:
    assert verdict({"error": 1}, {"error": 1}, *NESTED, statuses="404 404") == "equal"


def test_a_declared_cookie() -> None:
    policy = Policy.of(
        CompareConfig(), [ExpectConfig(path="cookies.s", legacy="missing", native="set")]
    )
    new = answer({}, 200, "s=1")
    assert compare(answer({}), new, policy).verdict is Verdict.EXPECTED
    assert compare(answer({}), answer({}), policy).verdict is Verdict.DIFFERENT
    gone = answer({}, 200, "s=; Max-Age=0")
    assert compare(answer({}), gone, policy).verdict is Verdict.DIFFERENT


def test_a_declared_header_is_compared_even_if_it_is_no_chosen_one() -> None:
    policy = Policy.of(CompareConfig(), [ExpectConfig(path="headers.x-new", legacy="missing")])
    native = Answer(200, (*answer({}).headers, (b"x-new", b"1")), b"{}")
    assert compare(answer({}), native, policy).expected == ("headers.x-new",)


def test_declared_differences_hold_in_unordered_lists() -> None:
    policy = Policy.of(CompareConfig(unordered=("$",)), [ExpectConfig.model_validate(NO_PASSWORD)])
    legacy = answer([{"id": 1, "password": 1}, {"id": 2, "password": 2}])
    assert compare(legacy, answer([{"id": 2}, {"id": 1}]), policy).verdict is Verdict.EXPECTED
    leak = compare(legacy, answer([{"id": 2}, {"id": 1, "password": 1}]), policy)
    assert leak.verdict is Verdict.DIFFERENT


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        ({"path": "price", "native": 1}, "must start with"),
        ({"path": "$.a"}, "compare.ignore"),
        ({"path": "$.a", "legacy": 1, "native": 1}, "no difference"),
        ({"path": "$.a", "native": {"type": "str"}}, "no type of JSON"),
        ({"path": "$.a", "native": {"b": 1}}, "value"),
        ({"path": "status", "native": "missing"}, "always has a status"),
        ({"path": "$.a", "native": 1, "reason": "x"}, "not permitted"),
    ],
)
def test_what_declares_nothing_is_refused(keys: Declared, words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        ExpectConfig.model_validate(keys)


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        ({"ignore": ["status"]}, "always compared"),
        ({"ignore": ["$.a["]}, "can't read"),
        ({"unordered": ["headers.vary"]}, r"must start with \$"),
        ({"tolerance": {"$.a": -1}}, "greater than or equal"),
        ({"tolerance": {"$.a": True}}, "no number"),
        ({"tolerance": {"a": 1}}, "must start with"),
        ({"headers": ["Set-Cookie"]}, "by the cookies' names"),
        ({"headers": ["a b"]}, "match pattern"),
    ],
)
def test_a_comparison_that_can_t_be_is_refused(keys: Declared, words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        CompareConfig.model_validate(keys)


@pytest.mark.parametrize(
    ("text", "percent"), [("5%", 5), (5, 5), ("0.5 %", 0.5), (0, 0), ("100%", 100)]
)
def test_a_share_is_a_percentage(text: Any, percent: float) -> None:
    assert TypeAdapter(Percent).validate_python(text) == percent


@pytest.mark.parametrize("text", ["101%", -1, "five", True, "%", "5%%"])
def test_what_is_no_share_is_refused(text: Any) -> None:
    with pytest.raises(ValidationError):
        TypeAdapter(Percent).validate_python(text)
