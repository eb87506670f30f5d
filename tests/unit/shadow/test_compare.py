"""The comparison of two answers, its policy aside from noise."""

from __future__ import annotations

import gc
import gzip
import json
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.config import CompareConfig, ExpectConfig
from gateway.shadow.answer import Answer
from gateway.shadow.compare import Comparison, Difference, Policy, Verdict, compare

if TYPE_CHECKING:
    from collections.abc import Iterator

PLAIN = Policy.of(CompareConfig())


def answer(
    body: Any = None,
    status: int = 200,
    kind: str | None = "application/json",
    *pairs: tuple[str, str],
    error: BaseException | None = None,
) -> Answer:
    headers = [("content-type", kind)] if kind is not None else []
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    encoded = tuple((k.encode(), v.encode("latin-1")) for k, v in (*headers, *pairs))
    return Answer(status, encoded, raw, error)


def policy(expect: list[dict[str, Any]] | None = None, **keys: Any) -> Policy:
    declared = [ExpectConfig.model_validate(each) for each in expect or ()]
    return Policy.of(CompareConfig.model_validate(keys), declared)


def differences(legacy: Any, native: Any, how: Policy = PLAIN) -> dict[str, str]:
    found = compare(answer(legacy), answer(native), how).differences
    return {each.path: each.kind for each in found}


def only(comparison: Comparison) -> Difference:
    (found,) = comparison.differences
    return found


@pytest.mark.parametrize(
    ("legacy", "native", "found"),
    [
        ({"a": 1}, {"a": 1}, {}),
        ({"a": 1, "b": 2}, {"b": 2, "a": 1}, {}),
        ({"a": 1}, {"a": 1.0}, {}),
        ({"a": 1}, {"a": 2}, {"$.a": "changed"}),
        ({"a": 1}, {"a": True}, {"$.a": "type"}),
        ({"a": 0}, {"a": False}, {"$.a": "type"}),
        ({"a": 1}, {"a": "1"}, {"$.a": "type"}),
        ({"a": None}, {"a": 1}, {"$.a": "type"}),
        ({"a": None}, {}, {"$.a": "missing"}),
        ({}, {"a": None}, {"$.a": "added"}),
        ({"a": {"b": [1, {"c": 2}]}}, {"a": {"b": [1, {"c": 3}]}}, {"$.a.b[1].c": "changed"}),
        ({"a": {}}, {"a": []}, {"$.a": "type"}),
        ([], {}, {"$": "type"}),
        (1, 2, {"$": "changed"}),
        (float("nan"), float("nan"), {}),
        ([float("nan")], [1.5], {"$[0]": "changed"}),
        ({"a": float("inf")}, {"a": float("-inf")}, {"$.a": "changed"}),
        ({"a": "\ud800"}, {"a": "\ud801"}, {"$.a": "changed"}),
        ({"\ud800'": 1}, {"\ud800'": 2}, {r"$['\ud800\'']": "changed"}),
        ({"a b": 1, "": 2}, {"a b": 2, "": 3}, {"$['a b']": "changed", "$['']": "changed"}),
        ([1, 2, 3], [2, 3, 4], {"$[0]": "missing", "$[2]": "added"}),
        ([1, 2, 3], [1, 5, 3], {"$[1]": "changed"}),
        ([1, 2], [1, 2, 3, 4], {"$[2]": "added", "$[3]": "added"}),
        ([[1], [2]], [[1], [3]], {"$[1][0]": "changed"}),
        ([{"i": 1, "v": 1}, {"i": 2}], [{"i": 1, "v": 2}, {"i": 2}], {"$[0].v": "changed"}),
        ([1, 2], [2, 1], {"$[0]": "added", "$[1]": "missing"}),
    ],
)
def test_json_is_compared_by_path(legacy: Any, native: Any, found: dict[str, str]) -> None:
    result = differences(legacy, native)
    if legacy == [1, 2] and native == [2, 1]:
        assert sorted(result.values()) == ["added", "missing"]
    else:
        assert result == found


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(), max_size=4),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=3), inner, max_size=4)
    ),
    max_leaves=20,
)
POLICIES = [
    PLAIN,
    policy(ignore=["$..x"], unordered=["$..*", "$"], tolerance={"$..*": 0.5}),
    policy(ignore=["$.a[*].b"], tolerance={"$[0]": 1}),
    policy([{"path": "$..nope", "native": "missing"}]),
]


@given(json_values, st.sampled_from(POLICIES))
def test_a_body_is_equal_to_itself_written_otherwise(value: Any, how: Policy) -> None:
    spaced = json.dumps(value, indent=1).encode()
    assert compare(answer(value), answer(spaced), how).verdict is Verdict.EQUAL


@given(json_values, json_values)
def test_whatever_is_written_otherwise_in_json_differs(legacy: Any, native: Any) -> None:
    """An oracle: the canonical text of both, where numbers are alike only as numbers."""

    def canonical(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: canonical(each) for key, each in sorted(value.items())}
        if isinstance(value, list):
            return [canonical(each) for each in value]
        whole = isinstance(value, float) and value.is_integer()
        return int(value) if whole else value

    equal = json.dumps(canonical(legacy)) == json.dumps(canonical(native))
    for how in (PLAIN, POLICIES[3]):
        verdict = compare(answer(legacy), answer(native), how).verdict
        assert (verdict is Verdict.EQUAL) is equal


@given(st.integers(min_value=10**17), st.sampled_from([1, -1]), st.sampled_from([1, 2, 10**5]))
def test_integers_of_any_length_are_compared_exactly(number: int, sign: int, more: int) -> None:
    """UUIDs, hashes and amounts in the smallest unit are longer than 64 bits."""
    legacy, native = {"id": sign * number}, {"id": sign * (number + more)}
    assert differences(legacy, native) == {"$.id": "changed"}
    assert differences(legacy, legacy, POLICIES[3]) == {}


@pytest.mark.parametrize(
    ("word", "number"),
    [
        ("true", "1"),
        ("true", "1.00"),
        ("true", "10e-1"),
        ("true", "0.99999999999999999999"),
        ("true", "1.0000000000000000000001"),
        ("false", "-0.0"),
        ("false", f"0.{'0' * 400}1"),
    ],
)
def test_a_word_is_no_number_however_that_is_written(word: str, number: str) -> None:
    legacy, native = (answer(f'{{"a": {each}}}'.encode()) for each in (word, number))
    assert compare(legacy, native, PLAIN).verdict is Verdict.DIFFERENT


@given(st.lists(json_values, max_size=6), st.randoms())
def test_an_unordered_list_is_equal_in_any_order(value: list[Any], random: Any) -> None:
    shuffled = random.sample(value, len(value))
    how = policy(unordered=["$"])
    assert compare(answer(value), answer(shuffled), how).verdict is Verdict.EQUAL


def test_an_unordered_list_is_a_multiset() -> None:
    how = policy(unordered=["$.tags"])
    assert differences({"tags": [1, 1, 2]}, {"tags": [2, 1, 1]}, how) == {}
    found = compare(answer({"tags": [1, 1, 2]}), answer({"tags": [2, 2, 1]}), how).differences
    assert sorted(each.kind for each in found) == ["added", "missing"]
    assert differences({"tags": [1, True]}, {"tags": [True, True]}, how) != {}


def test_a_field_that_differs_in_all_elements_of_an_unordered_list_is_named() -> None:
    how = policy(unordered=["$"])
    legacy = [{"id": i, "name": f"n{i}", "price": i, "tax": 1} for i in range(100)]
    native = [{**each, "tax": 2} for each in reversed(legacy)]
    found = compare(answer(legacy), answer(native), how).differences
    assert {each.field for each in found} == {"$[*].tax"}
    assert len(found) == 100


def test_the_element_that_differs_is_named_in_an_unordered_list() -> None:
    how = policy(unordered=["$.items"])
    items = [{"id": i, "name": f"n{i}", "price": i * 10, "tags": ["a", "b"]} for i in range(6)]
    native = [dict(each) for each in reversed(items)]
    native[1]["price"] = 41
    del native[4]["name"]
    found = differences({"items": items}, {"items": native}, how)
    assert found == {"$.items[4].price": "changed", "$.items[1].name": "missing"}


def test_ignored_places_and_all_below_don_t_count() -> None:
    how = policy(ignore=["$..generated_at", "$.meta", "$.items[*].seen", "$.list[1]"])
    legacy = {
        "generated_at": 1,
        "deep": [{"generated_at": {"x": 1}}],
        "meta": {"a": 1},
        "items": [{"seen": 1, "id": 1}],
        "list": [1, 2, 3],
    }
    native = {
        "deep": [{"generated_at": None}],
        "meta": 4,
        "items": [{"seen": 2, "id": 1}],
        "list": [1, 9, 3],
    }
    assert differences(legacy, native, how) == {}
    native["items"][0]["id"] = 2  # type: ignore[index]
    assert differences(legacy, native, how) == {"$.items[0].id": "changed"}


def test_ignored_members_don_t_tell_elements_of_unordered_lists_apart() -> None:
    how = policy(ignore=["$..at"], unordered=["$"])
    legacy = [{"id": 1, "at": 1}, {"id": 2, "at": 2, "n": {"at": 1}}]
    assert differences(legacy, [{"id": 2, "n": {}}, {"id": 1, "at": 9}], how) == {}


@pytest.mark.parametrize(
    ("legacy", "native", "equal"),
    [
        (1, 1.01, True),
        (1, 1.02, False),
        (0.3, 0.29, True),
        (10**30, 10**30 + 1, False),
        ("1", "1.001", False),
        (1, None, False),
        (1, True, False),
        (float("inf"), 1, False),
        (float("nan"), 1, False),
        (float("nan"), float("nan"), True),
    ],
)
def test_a_tolerance_is_an_absolute_distance(legacy: Any, native: Any, equal: bool) -> None:
    how = policy(tolerance={"$.items[*].price": 0.01})
    found = differences({"items": [{"price": legacy}]}, {"items": [{"price": native}]}, how)
    if legacy == 10**30:
        assert found == {}, "a float can't tell them apart"
    else:
        assert (not found) is equal


def test_a_tolerance_holds_within_unordered_lists() -> None:
    how = policy(tolerance={"$[*].p": 0.01}, unordered=["$"])
    legacy = [{"n": "a", "p": 1.0}, {"n": "a", "p": 5.0}, {"n": "b", "p": 1}]
    native = [{"n": "b", "p": 1.001}, {"n": "a", "p": 5.001}, {"n": "a", "p": 1.001}]
    assert differences(legacy, native, how) == {}
    native[1]["p"] = 5.5
    assert differences(legacy, native, how) == {"$[1].p": "changed"}


def test_malformed_json_on_one_side_is_a_difference() -> None:
    found = only(compare(answer({"a": 1}), answer(b'{"a": 1'), PLAIN))
    assert (found.path, found.kind, found.legacy) == ("body", "type", "JSON")
    assert "no JSON" in found.native
    assert only(compare(answer(b"\xff\xfe\xfa"), answer({}), PLAIN)).path == "body"
    both = compare(answer(b"{"), answer(b"["), PLAIN)
    assert only(both).kind == "changed"
    assert compare(answer(b"{"), answer(b"{"), PLAIN).verdict is Verdict.EQUAL


@pytest.fixture
def _no_collection() -> Iterator[None]:
    """Hypothesis' hook of the garbage collector can't run where the stack is full."""
    gc.disable()
    yield
    gc.enable()


@pytest.mark.usefixtures("_no_collection")
def test_odd_json_survives() -> None:
    deep = b"[" * 100_000 + b"]" * 100_000
    assert compare(answer(deep), answer(deep + b" "), PLAIN).verdict is Verdict.DIFFERENT
    nested = b"[" * 400 + b"1" + b"]" * 400
    other = b"[" * 400 + b"2" + b"]" * 400
    assert only(compare(answer(nested), answer(other), PLAIN)).path == "body"
    digits = b"1" + b"0" * (sys.get_int_max_str_digits() + 10)
    huge = b'{"a": %b}' % digits
    assert compare(answer(huge), answer(huge + b" "), PLAIN).verdict is Verdict.EQUAL
    found = only(compare(answer(huge), answer(b'{"a": %b1}' % digits), PLAIN))
    assert found.path == "$.a"
    assert len(found.native) < 300
    assert differences(json.loads("[1e999]"), [1], PLAIN) == {"$[0]": "changed"}
    twice = compare(answer(b'{"a": 1, "a": 2}'), answer(b'{"a": 2}'), PLAIN)
    assert twice.verdict is Verdict.EQUAL, "the last one counts, as in Python"


def test_lists_in_lists_cost_no_power_of_their_depth() -> None:
    legacy, native = b"[1,2]", b"[2,3]"
    for _ in range(60):
        legacy, native = b"[%b,5]" % legacy, b"[4,%b]" % native
    assert compare(answer(legacy), answer(native), PLAIN).differences
    how = policy(unordered=["$", "$..*"])
    assert compare(answer(legacy), answer(native), how).differences


def test_deepdiff_is_loaded_where_it_is_needed_and_not_before() -> None:
    code = (
        "import sys, gateway.shadow.compare, gateway.shadow.noise; print('deepdiff' in sys.modules)"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "False"


def test_an_ignored_body_may_be_anything() -> None:
    how = policy(ignore=["body"])
    assert compare(answer({"a": 1}), answer(b"{"), how).verdict is Verdict.EQUAL
    assert compare(answer({"a": 1}), answer({"a": 2}), how).verdict is Verdict.EQUAL


def test_many_differences_are_cut() -> None:
    many = compare(answer(list(range(10_000))), answer([-1 - i for i in range(10_000)]), PLAIN)
    assert many.cut
    assert len(many.differences) == 200


@pytest.mark.parametrize(
    ("legacy", "native", "equal"),
    [
        ("application/json", "application/json; charset=utf-8", True),
        ("application/json", "Application/JSON;charset=UTF-8", True),
        ("application/json", "application/json; charset=latin-1", False),
        ("application/json", "application/problem+json", False),
        ("text/html; charset=utf-8", "text/html; charset=UTF8", True),
        ("text/html; charset=utf-8", "text/html", False),
        ('text/html; charset="utf-8"', "text/html; charset=utf-8", True),
        ("multipart/mixed; boundary=a", "multipart/mixed; boundary=b", True),
        ("application/json", None, False),
        (None, None, True),
        ("a/b; x=1; y=2", "a/b; y=2; x=1", True),
    ],
)
def test_content_types_are_compared_by_meaning(
    legacy: str | None, native: str | None, equal: bool
) -> None:
    result = compare(answer(1, 200, legacy), answer(1, 200, native), PLAIN)
    assert (result.verdict is Verdict.EQUAL) is equal
    if not equal:
        assert only(result).path == "headers.content-type"


def test_the_location_counts_and_other_headers_where_they_are_chosen() -> None:
    legacy = answer(1, 302, "text/plain", ("location", "/a"), ("x-total", "5"))
    native = answer(1, 302, "text/plain", ("Location", "/b"))
    assert only(compare(legacy, native, PLAIN)).path == "headers.location"
    chosen = policy(headers=["X-Total"])
    found = only(compare(legacy, native, chosen))
    assert found == Difference("headers.x-total", "5", None, "missing", "headers.x-total")
    assert compare(legacy, native, policy(headers=[])).verdict is Verdict.EQUAL
    assert compare(legacy, native, policy(ignore=["headers.*"])).verdict is Verdict.EQUAL


def test_what_is_remembered_of_equal_bodies_says_nothing_of_others() -> None:
    how = policy()
    pair = answer({"a": 1, "b": True}), answer({"b": True, "a": 1})
    for _ in range(3):
        assert compare(*pair, how).verdict is Verdict.EQUAL
        assert compare(pair[0], answer({"b": True, "a": 2}), how).verdict is Verdict.DIFFERENT
        assert compare(pair[0], answer({"b": 1, "a": 1}), how).verdict is Verdict.DIFFERENT
        assert compare(pair[1], pair[0], how).verdict is Verdict.EQUAL
    failed = answer({"b": True, "a": 1}, 500)
    assert compare(pair[0], failed, how).verdict is Verdict.DIFFERENT
    plain = answer({"b": True, "a": 1}, 200, "text/plain")
    assert compare(pair[0], plain, how).verdict is Verdict.DIFFERENT


def test_cookies_are_compared_by_name_and_never_shown() -> None:
    legacy = answer(1, 200, None, ("set-cookie", "session=SECRET1; Path=/"), ("set-cookie", "a=1"))
    native = answer(1, 200, None, ("set-cookie", "session=SECRET2"), ("set-cookie", "b=SECRET3"))
    result = compare(legacy, native, PLAIN)
    assert {each.path: each.kind for each in result.differences} == {
        "cookies.a": "missing",
        "cookies.b": "added",
    }
    assert "SECRET" not in repr(result)
    ignoring = policy(ignore=["cookies.a", "cookies.b"])
    assert compare(legacy, native, ignoring).verdict is Verdict.EQUAL


@pytest.mark.parametrize(
    ("cookie", "state"),
    [
        ("s=; Max-Age=0", "deleted"),
        ("s=; Max-Age=-1; Path=/", "deleted"),
        ("s=; Expires=Thu, 01 Jan 1970 00:00:00 GMT", "deleted"),
        ("s=x; Max-Age=60; Expires=Thu, 01 Jan 1970 00:00:00 GMT", "set"),
        ("s=; Expires=Thu, 01 Jan 2099 00:00:00 GMT", "set"),
        ("s=; Expires=nonsense; Max-Age=soon", "set"),
    ],
)
def test_deleting_a_cookie_is_not_setting_it(cookie: str, state: str) -> None:
    set_ = answer(1, 200, None, ("set-cookie", "s=1"))
    result = compare(set_, answer(1, 200, None, ("set-cookie", cookie)), PLAIN)
    if state == "set":
        assert result.verdict is Verdict.EQUAL
    else:
        found = only(result)
        assert (found.path, found.legacy, found.native) == ("cookies.s", "set", "deleted")


def test_the_status_counts_always() -> None:
    found = only(compare(answer(1), answer(1, 201), PLAIN))
    assert (found.path, found.legacy, found.native) == ("status", 200, 201)
    assert len(compare(answer(1), answer(2, 201), PLAIN).differences) == 2
    other_class = compare(answer({"a": 1}), answer({"detail": 1}, 500), PLAIN)
    assert only(other_class).path == "status"


class OutOfStock(Exception):
    """Raised by a view."""


RAISED = OutOfStock("card 4111 1111")
NAME = f"raised {__name__}.OutOfStock"


def test_a_side_that_failed_differs_in_its_status() -> None:
    raised = answer(1, 0, None, error=RAISED)
    found = only(compare(answer(1), raised, policy(ignore=["$", "body", "headers.*"])))
    assert (found.path, found.native) == ("status", NAME)
    assert only(compare(answer(1), answer(b"", 0, None), PLAIN)).native == "no answer"
    late = only(compare(answer(1), answer(1, 200, error=RAISED), PLAIN))
    assert late.native == f"200, {NAME}"
    builtin = only(compare(answer(1), answer(1, 0, error=KeyError("secret")), PLAIN))
    assert builtin.native == "raised KeyError"
    assert "4111" not in repr(late)
    declared = policy([{"path": "status", "native": 0}])
    assert compare(answer(1), raised, declared).verdict is Verdict.DIFFERENT
    assert compare(raised, raised, PLAIN).verdict is Verdict.EQUAL


def test_of_head_only_the_headers_count() -> None:
    legacy, native = answer({"a": 1}), answer(b"")
    assert compare(legacy, native, PLAIN, head=True).verdict is Verdict.EQUAL
    assert compare(legacy, native, PLAIN).verdict is Verdict.DIFFERENT


def test_text_is_compared_decoded_and_shown_around_the_difference() -> None:
    legacy = answer("é".encode("latin-1") * 500 + b"A", 200, "text/plain; charset=latin-1")
    same = answer(("é" * 500 + "A").encode(), 200, "text/plain; charset=utf-8")
    how = policy(headers=[])
    assert compare(legacy, same, how).verdict is Verdict.EQUAL
    other = answer(("é" * 500 + "B").encode(), 200, "text/plain; charset=utf-8")
    found = only(compare(legacy, other, how))
    assert found.path == "body"
    assert "character 500 of 501" in found.legacy
    assert len(found.legacy) < 300


def test_other_bodies_are_compared_by_bytes_and_not_shown() -> None:
    legacy = answer(b"\x00" * 10**6 + b"a", 200, "image/png")
    native = answer(b"\x00" * 10**6 + b"bcd", 200, "image/png")
    found = only(compare(legacy, native, PLAIN))
    assert found.legacy == "1000001 bytes, differ from 1000000"
    assert found.native == "1000003 bytes, differ from 1000000"
    wrong = answer(b"\xff\xfe", 200, "text/plain; charset=utf-8")
    assert (
        "bytes"
        in only(compare(wrong, answer(b"a", 200, "text/plain; charset=utf-8"), PLAIN)).legacy
    )
    unknown = answer(b"a", 200, "text/plain; charset=klingon")
    assert compare(unknown, unknown, PLAIN).verdict is Verdict.EQUAL


def test_a_content_coding_doesn_t_count() -> None:
    coded = answer(
        gzip.compress(b'{"a": 1}'), 200, "application/json", ("content-encoding", "gzip")
    )
    assert compare(coded, answer({"a": 1}), PLAIN).verdict is Verdict.EQUAL
    assert only(compare(coded, answer({"a": 2}), PLAIN)).path == "$.a"
    bomb = answer(
        gzip.compress(b" " * 10**8), 200, "application/json", ("content-encoding", "gzip")
    )
    assert compare(bomb, answer({"a": 2}), PLAIN).verdict is Verdict.DIFFERENT
    broken = answer(b"nonsense", 200, "application/json", ("content-encoding", "gzip"))
    assert compare(broken, answer({"a": 2}), PLAIN).verdict is Verdict.DIFFERENT


def test_every_member_of_a_gzipped_body_counts() -> None:
    """A body may be several members, one after the other (RFC 1952, section 2.2)."""
    coding = ("content-encoding", "gzip")

    def coded(*parts: bytes) -> Answer:
        return answer(b"".join(map(gzip.compress, parts)), 200, "application/json", coding)

    assert compare(coded(b'{"a":', b" 1}"), answer({"a": 1}), PLAIN).verdict is Verdict.EQUAL
    assert only(compare(coded(b'{"a":', b" 1}"), coded(b'{"a":', b" 2}"), PLAIN)).path == "$.a"
    longer = compare(coded(b'{"a": 1}'), coded(b'{"a": 1}', b"2"), PLAIN)
    assert longer.verdict is Verdict.DIFFERENT


def test_secrets_are_masked_and_values_are_short() -> None:
    legacy = {
        "password": "hunter2",
        "user": {"api_key": "hunter2", "name": "ann"},
        "tokens": [{"value": "hunter2"}],
        "url": "https://x/?token=hunter2&a=1",
        "long": "a" * 10_000,
        "gone": {"deep": {"secret": "hunter2", "pin": 1}, "list": list(range(10_000))},
        "ok": "Authorization: Bearer hunter2",
    }
    native = {
        "password": "hunter2x",
        "user": {"api_key": "hunter2x", "name": "bob"},
        "tokens": [{"value": "hunter2x"}],
        "url": "https://x/?token=hunter2x&a=2",
        "long": "a" * 9_999,
        "ok": None,
    }
    result = compare(answer(legacy), answer(native), PLAIN)
    assert "hunter2" not in repr(result)
    assert len(repr(result)) < 4_000
    shown = {each.path: (each.legacy, each.native) for each in result.differences}
    assert shown["$.password"] == ("***", "***")
    assert shown["$.user.name"] == ("ann", "bob")
    assert shown["$.url"] == ("https://x/?token=***&a=1", "https://x/?token=***&a=2")
    json.dumps(shown).encode()


def test_secrets_in_text_bodies_and_headers_are_masked() -> None:
    legacy = answer(b"<input name=csrf_token value=1>&token=hunter2", 200, "text/html")
    native = answer(b"<input name=csrf_token value=1>&token=hunter3", 200, "text/html")
    result = compare(legacy, native, PLAIN)
    assert "hunter" not in repr(result)
    to = [answer(b"", 302, None, ("location", f"/?session={each}")) for each in ("hun", "hunt")]
    assert "hun" not in repr(compare(to[0], to[1], PLAIN))


def test_what_is_shown_can_be_written_as_utf_8() -> None:
    result = compare(answer({"\ud800": "\ud801"}), answer({"\ud800": ["\ud802"]}), PLAIN)
    repr(result).encode()
    only(result).path.encode()
    only(result).legacy.encode()


def test_all_of_fifty_seeded_differences_are_found() -> None:
    def document(seeded: frozenset[int]) -> dict[str, Any]:
        fields: dict[str, Any] = {"at": len(seeded), "list": []}
        for i in range(50):
            value: Any = [i, f"text {i}", i % 2 == 0, None, [i, i + 1]][i % 5]
            other: Any = [i + 1, f"text {i}.", i % 2 != 0, 0, [i]][i % 5]
            holder = {"value": other if i in seeded else value, "seen_at": len(seeded) * i}
            if i % 3:
                fields[f"field{i}"] = holder
            else:
                fields["list"].append({"id": i, **holder})
        return fields

    how = policy(ignore=["$.at", "$..seen_at"])
    legacy = document(frozenset())
    for i in range(50):
        assert compare(answer(legacy), answer(document(frozenset({i}))), how).differences
    every = compare(answer(legacy), answer(document(frozenset(range(50)))), how)
    assert len({each.path for each in every.differences}) == 50


@pytest.mark.parametrize(
    ("legacy", "native"),
    [
        ({"fields": [{"name": "passwd[]", "value": "hunter2"}]},
         {"fields": [{"name": "passwd[]", "value": "hunter2!"}]}),
        ({"h": [["X-Api-Key", "hunter2"]]}, {"h": [["X-Api-Key", "hunter2!"]]}),
        ({"name": "user_pwd", "value": {"is": "hunter2"}},
         {"name": "user_pwd", "value": {"is": "hunter2!"}}),
        ({"key": "pin"}, {"key": "pin", "value": "hunter2"}),
        ({"db_pass": "hunter2"}, {"db_pass": "hunter2!"}),
    ],
)  # fmt: skip
def test_a_secrets_name_may_stand_beside_it(legacy: Any, native: Any) -> None:
    found = compare(answer(legacy), answer(native), PLAIN)
    assert found.verdict is Verdict.DIFFERENT
    assert "hunter2" not in repr(found)
    assert "***" in repr(found)


def test_a_name_of_nothing_secret_hides_nothing() -> None:
    legacy, native = ({"name": "page", "value": each} for each in ("one", "two"))
    (found,) = compare(answer(legacy), answer(native), PLAIN).differences
    assert (found.legacy, found.native) == ("one", "two")
