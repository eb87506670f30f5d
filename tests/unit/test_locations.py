"""Location patterns: what they mean, what is refused, and that what is written can be read."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.locations import Location, generalised, parse, written


@pytest.mark.parametrize(
    ("text", "location", "fits"),
    [
        ("$", ("$",), True),
        ("$", ("$", "a"), False),
        ("$.a.b", ("$", "a", "b"), True),
        ("$.a.b", ("$", "a"), False),
        ("$.a.b", ("$", "a", "b", "c"), False),
        ("$.items[*].price", ("$", "items", 3, "price"), True),
        ("$.items[*].price", ("$", "items", "price"), False),
        ("$.items[0]", ("$", "items", 0), True),
        ("$.items[0]", ("$", "items", "0"), False),
        ("$.items[0]", ("$", "items", 1), False),
        ("$['odd key']", ("$", "odd key"), True),
        ('$["a\\"b"]', ("$", 'a"b'), True),
        ("$['it\\'s']", ("$", "it's"), True),
        ("$['\\u00e9']", ("$", "é"), True),
        ("$.größe", ("$", "größe"), True),
        ("$.x-rate", ("$", "x-rate"), True),
        ("$..generated_at", ("$", "generated_at"), True),
        ("$..generated_at", ("$", "a", 1, "b", "generated_at"), True),
        ("$..generated_at", ("$", "generated_at", "a"), False),
        ("$..a.b", ("$", "a", "a", "b"), True),
        ("$..a..b", ("$", "x", "a", 0, 1, "b"), True),
        ("$..[0]", ("$", "a", 0), True),
        ("$..['a b']", ("$", 1, "a b"), True),
        ("$..*", ("$", "a", 0), True),
        ("$..*", ("$",), False),
        ("$.*", ("$", "a"), True),
        ("$.*", ("$", 0), True),
        ("$.*", ("$", "a", "b"), False),
        ("$[*]", ("$", 7), True),
        ("status", ("status",), True),
        ("status", ("$", "status"), False),
        ("body", ("body",), True),
        ("headers.Content-Type", ("headers", "content-type"), True),
        ("headers.*", ("headers", "location"), True),
        ("cookies.session", ("cookies", "session"), True),
        ("cookies.Session", ("cookies", "session"), False),
        ("cookies.a.b", ("cookies", "a.b"), True),
    ],
)
def test_a_pattern_means_exactly_its_places(text: str, location: Location, fits: bool) -> None:
    assert parse(text).matches(location) is fits


@pytest.mark.parametrize(
    "text",
    [
        "",
        "a.b",
        "price",
        "$price",
        "$.",
        "$..",
        "$...a",
        "$.a.",
        "$.items.0",
        "$.items[-1]",
        "$.items[0:2]",
        "$.items[?@.a]",
        "$.items[0,1]",
        "$.items[]",
        "$['a",
        "$. a",
        "statuses",
        "status.code",
        "body.x",
        "headers",
        "headers.",
        "headers.a b",
        "headers['x']",
        "cookies",
    ],
)
def test_what_is_no_pattern_is_refused_with_a_hint(text: str) -> None:
    with pytest.raises(ValueError, match=r"write |must start with|nothing can follow"):
        parse(text)


def test_generalised_has_no_indexes() -> None:
    assert generalised(("$", "items", 12, "price", 0)) == "$.items[*].price[*]"
    assert generalised(("headers", "content-type")) == "headers.content-type"
    assert generalised(("status",)) == "status"


def whole(text: str) -> str:
    """As JSON is read: two halves of a surrogate pair are one character."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "surrogatepass")


keys = st.text(st.characters(), max_size=12).map(whole)


@given(st.lists(keys | st.integers(0, 10**6), max_size=5))
def test_what_is_written_is_read_as_the_same_place(parts: list[str | int]) -> None:
    location = ("$", *parts)
    text = written(location)
    assert parse(text).matches(location)
    assert text.isprintable()
    text.encode("utf-8")


def test_a_huge_key_makes_no_huge_path() -> None:
    assert len(written(("$", "k" * 10**6))) < 1000
    assert len(written(("$", *["key"] * 10**5))) < 1000
