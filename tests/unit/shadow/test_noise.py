"""What differs by itself: learned from legacy against legacy, and never more than that."""

from __future__ import annotations

import json
from random import Random
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.config import CompareConfig, ExpectConfig
from gateway.shadow.answer import Answer
from gateway.shadow.compare import NOTHING, Comparison, Policy, Verdict, compare, compare_twins
from gateway.shadow.noise import DAY, Noise

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    Handler = Callable[[Random], list[str]]

POLICY = Policy.of(CompareConfig())
JSON = ((b"content-type", b"application/json"),)


def answer(body: Any, status: int = 200) -> Answer:
    return Answer(status, JSON, json.dumps(body).encode())


def teach(noise: Noise, legacy: Any, twin: Any, now: float = 0.0, policy: Policy = POLICY) -> None:
    noise.learn(compare_twins(answer(legacy), answer(twin), policy, noise.learned(now)), now)


def learned(*pairs: tuple[Any, Any]) -> Noise:
    noise = Noise()
    for legacy, twin in pairs:
        teach(noise, legacy, twin)
    return noise


def judge(noise: Noise, legacy: Any, native: Any, now: float = 0.0) -> Comparison:
    return compare(answer(legacy), answer(native), POLICY, noise.learned(now))


def paths(noise: Noise) -> dict[str, str]:
    return {entry.path: entry.flap for entry in noise.listing(0)}


def test_nothing_is_noise_before_it_was_learned() -> None:
    noise = Noise()
    assert noise.learned(0) is NOTHING
    assert judge(noise, {"at": 1}, {"at": 2}).verdict is Verdict.DIFFERENT
    teach(noise, {"at": 1, "a": 1}, {"at": 2, "a": 1})
    assert judge(noise, {"at": 3, "a": 1}, {"at": 4, "a": 1}) == Comparison(
        Verdict.NOISE, noisy=("$.at",)
    )
    assert judge(noise, {"at": 3, "a": 1}, {"at": 3, "a": 1}).verdict is Verdict.EQUAL
    assert judge(noise, {"at": 3, "a": 1}, {"at": 4, "a": 2}).verdict is Verdict.DIFFERENT


def test_a_value_that_changes_must_still_be_there_and_of_its_type() -> None:
    noise = learned(({"at": "1"}, {"at": "2"}))
    assert judge(noise, {"at": "3"}, {}).verdict is Verdict.DIFFERENT
    assert judge(noise, {"at": "3"}, {"at": 4}).verdict is Verdict.DIFFERENT
    assert judge(noise, {"at": "3"}, {"at": None}).verdict is Verdict.DIFFERENT


def test_a_field_that_comes_and_goes() -> None:
    noise = learned(({"debug": {"id": 1}}, {}))
    assert paths(noise) == {"$.debug": "absent"}
    for native in ({}, {"debug": None}, {"debug": {"id": 2, "x": [1]}}):
        assert judge(noise, {"debug": {"id": 1}}, native).verdict is Verdict.NOISE
    assert judge(noise, {"debug": {"id": 1}}, {"other": 1}).verdict is Verdict.DIFFERENT


def test_a_learned_path_doesn_t_swallow_its_parent_or_siblings() -> None:
    noise = learned(({"a": {"b": 1, "c": 1}}, {"a": {"b": 2, "c": 1}}))
    assert judge(noise, {"a": {"b": 1, "c": 1}}, {"a": {"b": 3, "c": 2}}).differences
    assert judge(noise, {"a": {"b": 1, "c": 1}}, {}).differences
    assert judge(noise, {"a": {"b": 1}}, {"a": 1}).differences


def test_an_index_is_any_index() -> None:
    noise = learned(({"l": [{"at": 1, "i": 1}]}, {"l": [{"at": 2, "i": 1}]}))
    assert paths(noise) == {"$.l[*].at": "changed"}
    legacy = {"l": [{"at": 1, "i": 1}, {"at": 1, "i": 2}]}
    assert judge(noise, legacy, {"l": [{"at": 5, "i": 1}, {"at": 6, "i": 2}]}).noisy == (
        "$.l[*].at",
    )
    found = judge(noise, legacy, {"l": [{"at": 5, "i": 1}, {"at": 6, "i": 3}]})
    assert [each.path for each in found.differences] == ["$.l[1].i"]


def test_an_order_by_chance_is_learned_as_such() -> None:
    noise = learned(({"l": [1, 2, 3]}, {"l": [3, 1, 2]}))
    assert paths(noise) == {"$.l": "order"}
    assert judge(noise, {"l": [4, 5, 6]}, {"l": [6, 4, 5]}).verdict is Verdict.EQUAL
    assert judge(noise, {"l": [4, 5, 6]}, {"l": [6, 4, 4]}).verdict is Verdict.DIFFERENT


def test_an_order_by_chance_beside_fields_by_chance() -> None:
    def items(*pairs: tuple[int, float]) -> dict[str, Any]:
        return {"l": [{"id": i, "name": f"n{i}", "at": at} for i, at in pairs]}

    noise = learned((items((1, 0.1), (2, 0.2), (3, 0.3)), items((3, 0.4), (1, 0.5), (2, 0.6))))
    assert paths(noise) == {"$.l": "order", "$.l[*].at": "changed"}
    legacy = items((1, 1), (2, 2), (3, 3))
    assert judge(noise, legacy, items((2, 4), (3, 5), (1, 6))).verdict is Verdict.NOISE
    native = items((2, 4), (3, 5), (1, 6))
    native["l"][1]["name"] = "other"
    assert [each.path for each in judge(noise, legacy, native).differences] == ["$.l[2].name"]


def test_a_length_by_chance_hides_no_field_of_the_elements() -> None:
    noise = learned(({"l": [{"i": 1}, {"i": 2}]}, {"l": [{"i": 1}, {"i": 2}, {"i": 3}]}))
    assert paths(noise) == {"$.l[*]": "absent"}
    legacy = {"l": [{"i": 1}, {"i": 2}, {"i": 3}]}
    assert judge(noise, legacy, {"l": [{"i": 2}, {"i": 3}]}).verdict is Verdict.NOISE
    assert judge(noise, legacy, {"l": [{"i": 1}, {"i": 9}, {"i": 3}]}).differences


def test_generated_keys_are_any_key() -> None:
    def document(*keys: str) -> dict[str, Any]:
        return {"map": {"total": 2, **{key: {"n": 1} for key in keys}}}

    noise = learned(*((document(f"a{i}", "b0"), document(f"c{i}", "b0")) for i in range(4)))
    assert paths(noise) == {"$.map.*": "absent"}
    assert judge(noise, document("x1", "b0"), document("y2", "b0")).noisy == ("$.map.*",)
    assert judge(noise, document("x1"), document("x1")).verdict is Verdict.EQUAL
    lost = {"map": {"x1": {"n": 1}}}
    assert [each.path for each in judge(noise, document("x1"), lost).differences] == ["$.map.total"]
    changed = document("x1")
    changed["map"]["x1"]["n"] = 2
    assert judge(noise, document("x1"), changed).differences, "a key on both sides is compared"
    assert judge(noise, document("b0"), document()).differences, "it was always on both sides"


def test_generated_keys_without_digits_take_more_of_them() -> None:
    random = Random(1)
    names = ["".join(random.choices("abcdefgh", k=8)) for _ in range(60)]
    noise = learned(
        *(({"m": {a: 1}}, {"m": {b: 1}}) for a, b in zip(names, names[30:], strict=False))
    )
    assert "$.m.*" in paths(noise)
    assert judge(noise, {"m": {"foo": 1}}, {"m": {"bar": 1}}).verdict is Verdict.NOISE


def test_a_member_that_is_null_at_times_beside_generated_keys() -> None:
    noise = learned(*(({"m": {f"a{i}": 1}}, {"m": {f"b{i}": 1}}) for i in range(4)))
    teach(noise, {"m": {"k1": None}}, {"m": {"k1": 2}})
    assert judge(noise, {"m": {"k1": 2}}, {"m": {"k1": None}}).verdict is Verdict.NOISE
    assert judge(noise, {"m": {"k2": 2}}, {"m": {"k2": None}}).verdict is Verdict.DIFFERENT


def test_the_same_field_below_many_keys_is_one() -> None:
    pairs = (({f"id{i}": {"at": 1, "n": 1}}, {f"id{i}": {"at": 2, "n": 1}}) for i in range(5))
    noise = learned(*pairs)
    assert paths(noise) == {"$.*.at": "changed"}
    assert noise.listing(0)[0].count == 5
    fresh = ({"id77": {"at": 1, "n": 1}}, {"id77": {"at": 2, "n": 1}})
    assert judge(noise, *fresh).verdict is Verdict.NOISE
    teach(noise, *fresh)
    assert noise.listing(0)[0].count == 6
    assert judge(noise, {"id77": {"at": 1, "n": 1}}, {"id77": {"at": 1, "n": 2}}).differences
    assert judge(noise, {"total": {"at": 1}}, {"total": {"at": 2}}).differences


def test_many_noisy_fields_of_a_record_are_not_all_its_fields() -> None:
    names = ["created", "updated", "seen", "expires", "token", "etag", "nonce"]
    noise = learned((dict.fromkeys([*names, "a"], 1), {**dict.fromkeys(names, 2), "a": 1}))
    assert len(noise.listing(0)) == 7
    assert judge(noise, {"a": 1}, {"a": 2}).differences


def test_the_status_is_never_learned() -> None:
    noise = Noise()
    noise.learn(compare_twins(answer({"a": 1}), answer({"a": 2}, 503), POLICY), 0)
    failed = Answer(200, JSON, b"{}", RuntimeError())
    noise.learn(compare_twins(answer({"a": 1}), failed, POLICY), 0)
    html = Answer(200, ((b"content-type", b"text/html"),), b"")
    noise.learn(compare_twins(answer({"a": 1}), html, POLICY), 0)
    assert "status" not in paths(noise)
    assert "headers.content-type" not in paths(noise)
    found = compare(answer({}), answer({}, 503), POLICY, noise.learned(0))
    assert found.verdict is Verdict.DIFFERENT


def test_the_whole_document_is_never_learned_to_be_of_any_type() -> None:
    assert learned(({"a": 1}, [1])).listing(0) == []


def test_cookies_headers_and_texts_are_learned() -> None:
    def page(text: bytes, *pairs: tuple[bytes, bytes]) -> Answer:
        return Answer(302, ((b"content-type", b"text/html"), *pairs), text)

    noise = Noise()
    first = page(b"nonce 1", (b"location", b"/?n=1"), (b"set-cookie", b"seen=1"))
    noise.learn(compare_twins(first, page(b"nonce 2", (b"location", b"/?n=2")), POLICY), 0)
    assert paths(noise) == {
        "body": "changed",
        "headers.location": "changed",
        "cookies.seen": "absent",
    }
    other = page(b"nonce 3", (b"location", b"/?n=3"))
    assert compare(first, other, POLICY, noise.learned(0)).verdict is Verdict.NOISE


def test_what_is_declared_is_no_noise() -> None:
    policy = Policy.of(CompareConfig(), [ExpectConfig(path="$.password", native="missing")])
    noise = Noise()
    teach(noise, {"password": 1}, {"password": 2}, policy=policy)
    leak = compare(answer({"password": 1}), answer({"password": 1}), policy, noise.learned(0))
    assert leak.verdict is Verdict.DIFFERENT


def test_what_isn_t_seen_again_is_forgotten() -> None:
    noise = Noise(memory=100)
    teach(noise, {"a": 1, "b": 1}, {"a": 2, "b": 2}, now=0)
    teach(noise, {"a": 1, "b": 1}, {"a": 2, "b": 1}, now=60)
    first, _ = noise.listing(60)
    assert (first.first, first.last, first.count) == (0, 60, 2)
    assert judge(noise, {"b": 1}, {"b": 2}, now=99).verdict is Verdict.NOISE
    known = noise.learned(99)
    assert noise.learned(99) is known
    assert judge(noise, {"b": 1}, {"b": 2}, now=100).verdict is Verdict.DIFFERENT
    assert judge(noise, {"a": 1}, {"a": 2}, now=159).verdict is Verdict.NOISE
    assert judge(noise, {"a": 1}, {"a": 2}, now=160).verdict is Verdict.DIFFERENT
    assert noise.listing(160) == []


def test_the_memory_is_bounded() -> None:
    noise = Noise(limit=50)
    for _ in range(3):
        teach(noise, {"often": 1}, {"often": 2})
    random = Random(1)
    for _ in range(100):
        key = "".join(random.choices("abcdefghij", k=9))
        teach(noise, {key: 1}, {key: 2})
    assert len(noise.listing(0)) <= 50
    assert "$.often" in paths(noise)
    teach(noise, {"k" * 10**6: 1}, {"k" * 10**6: 2})
    assert max(map(len, paths(noise))) < 1000


def test_workers_share_what_they_know() -> None:
    one = learned(*(({"m": {f"a{i}": 1, "z": 1}}, {"m": {f"b{i}": 1, "z": 1}}) for i in range(4)))
    teach(one, {"l": [{"at": 1}, {"at": 3}]}, {"l": [{"at": 2}, {"at": 3}]}, now=5)
    other = Noise()
    teach(other, {"l": [{"at": 1}]}, {"l": [{"at": 2}]}, now=1)
    data = json.loads(json.dumps(one.as_json()))
    for _ in range(2):
        other.merge(data, now=10)
        one.merge(json.loads(json.dumps(other.as_json())), now=10)
    assert one.listing(10) == other.listing(10)
    assert other.listing(10)[-1].first in (0, 1)
    assert judge(other, {"m": {"x9": 1, "z": 1}}, {"m": {"y8": 1}}).differences
    late = Noise()
    late.merge(data, now=DAY * 2)
    assert late.listing(DAY * 2) == []


def stamped(random: Random) -> list[str]:
    return [
        f'"at":"{random.random()}"',
        f'"trace":"{random.getrandbits(64):x}"',
        f'"load":{random.random()},"name":"chair"',
    ]


def shuffled(random: Random) -> list[str]:
    items = [f'{{"id":{i},"seen":{random.random()}}}' for i in (1, 2, 3)]
    random.shuffle(items)
    return [f'"items":[{",".join(items)}]']


def keyed(random: Random) -> list[str]:
    return [f'"map":{{"k{random.getrandbits(40)}":{{"v":1}},"fixed":1}}']


def occasional(random: Random) -> list[str]:
    parts = [f'"owner":{"null" if random.random() < 0.02 else 7}']
    if random.random() < 0.02:
        parts.append('"cached":true')
    if random.random() < 0.02:
        parts.append(f'"debug":{{"ms":{random.random()}}}')
    return parts


def plain(random: Random) -> list[str]:
    return ['"price":9.5,"tags":["a","b"],"total":{"n":3}']


HANDLERS = {
    stamped: {"$.at": "changed", "$.trace": "changed", "$.load": "changed"},
    shuffled: {"$.items": "order", "$.items[*].seen": "changed"},
    keyed: {"$.map.*": "absent"},
    occasional: {"$.owner": "absent", "$.cached": "absent", "$.debug": "absent"},
}


def rendered(random: Random, handlers: Iterable[Handler], *more: str) -> Answer:
    parts = [part for handler in handlers for part in handler(random)]
    return Answer(200, JSON, f"{{{','.join([*parts, *more])}}}".encode())


def taught(random: Random, handlers: Iterable[Handler], *more: str) -> Noise:
    noise, handlers = Noise(), tuple(handlers)
    for _ in range(200):
        legacy, twin = (rendered(random, handlers, *more) for _ in range(2))
        noise.learn(compare_twins(legacy, twin, POLICY, noise.learned(0)), 0)
    return noise


def alarms(handlers: Iterable[Handler], times: int) -> int:
    """Compare answers in pairs drawn from 1,000 of each side: a million different pairs."""
    random, handlers = Random(8), tuple(handlers)
    known = taught(random, handlers).learned(0)
    legacy, native = ([rendered(random, handlers) for _ in range(1_000)] for _ in range(2))
    return sum(
        compare(one, other, POLICY, known).verdict is Verdict.DIFFERENT
        for one, other in zip(
            random.choices(legacy, k=times), random.choices(native, k=times), strict=True
        )
    )


def test_200_twins_teach_all_that_is_noise() -> None:
    everything = {path: flap for learned in HANDLERS.values() for path, flap in learned.items()}
    assert paths(taught(Random(7), [*HANDLERS, plain])) == everything


@pytest.mark.parametrize("handler", HANDLERS)
def test_200_000_comparisons_of_identical_handlers_give_no_false_alarm(handler: Handler) -> None:
    """The four handlers together."""
    assert alarms([handler], 200_000 // len(HANDLERS)) == 0


def test_all_kinds_of_noise_in_one_document_give_no_false_alarm() -> None:
    assert alarms([*HANDLERS, plain], 5_000) == 0


def test_learning_hides_none_of_fifty_seeded_differences() -> None:
    def fields(seeded: int = -1) -> str:
        return ",".join(f'"f{i}x":{i + (i == seeded)}' for i in range(50))

    random = Random(9)
    known = taught(random, HANDLERS, fields()).learned(0)
    found = []
    for i in range(50):
        legacy, native = (rendered(random, HANDLERS, fields(each)) for each in (-1, i))
        found += [each.path for each in compare(legacy, native, POLICY, known).differences]
    assert found == [f"$.f{i}x" for i in range(50)]


values = st.recursive(
    st.none() | st.booleans() | st.integers(0, 3) | st.sampled_from(["", "a", "\ud800"]),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from("abc12"), inner, max_size=4)
    ),
    max_leaves=12,
)


@given(st.lists(st.tuples(values, values), min_size=1, max_size=6))
def test_what_twins_have_shown_is_no_difference_any_more(pairs: list[tuple[Any, Any]]) -> None:
    """Whole documents of another type aside; and what was learned survives being shared."""
    same_type = [(a, b) for a, b in pairs if type(a) is type(b)]
    noise = Noise()
    for _ in range(6):
        for legacy, twin in same_type:
            teach(noise, legacy, twin)
    other = Noise()
    other.merge(json.loads(json.dumps(noise.as_json())), 0)
    assert other.listing(0) == noise.listing(0)
    for legacy, twin in same_type:
        for known in (noise, other):
            assert judge(known, legacy, twin).verdict is not Verdict.DIFFERENT
            assert judge(known, legacy, legacy).verdict is Verdict.EQUAL
