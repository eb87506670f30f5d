"""Ids and scopes are read from whatever a dependency returns, and errors never show the value."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel

from gateway.auth import Principal, read_principal
from gateway.exceptions import GatewayError


class User(BaseModel):
    id: int
    roles: list[str] = []


@dataclass
class Account:
    owner: User


class Pair(NamedTuple):
    name: str
    scope: str


@pytest.mark.parametrize(
    ("value", "id_path", "scopes_path", "expected"),
    [
        ("ann", None, None, ("ann", ())),
        (7, None, None, ("7", ())),
        ({"sub": "ann", "scope": "a b"}, "sub", "scope", ("ann", ("a", "b"))),
        ({"sub": "ann", "scope": ""}, "sub", "scope", ("ann", ())),
        ({"sub": "ann"}, "sub", "scope", ("ann", ())),
        (User(id=3, roles=["x"]), "id", "roles", ("3", ("x",))),
        (Account(User(id=4)), "owner.id", "owner.roles", ("4", ())),
        (Pair("ann", "a"), "name", "scope", ("ann", ("a",))),
        ({"users": [{"id": 0}]}, "users.0.id", None, ("0", ())),
        ({"sub": "ann", "scopes": {"a": True}}, "sub", "scopes", ("ann", ("a",))),
    ],
)
def test_reading(
    value: Any, id_path: str | None, scopes_path: str | None, expected: tuple[str, Any]
) -> None:
    principal = read_principal(value, id_path, scopes_path)
    assert principal is not None
    assert (principal.id, tuple(sorted(principal.scopes))) == expected
    assert principal.value is value
    assert "value" not in repr(principal)


def test_none_is_nobody() -> None:
    assert read_principal(None, "sub") is None


@pytest.mark.parametrize(
    ("value", "id_path", "scopes_path"),
    [
        ({"sub": "s3cret"}, None, None),
        ({"sub": None, "x": "s3cret"}, "sub", None),
        ({"sub": ""}, "sub", None),
        ({"sub": True}, "sub", None),
        ({"sub": ["s3cret"]}, "sub", None),
        ({"sub": "ann", "scope": 7}, "sub", "scope"),
        ({"sub": "ann", "scope": [7]}, "sub", "scope"),
        ([], "0.x", None),
    ],
)
def test_what_is_no_principal(value: Any, id_path: str | None, scopes_path: str | None) -> None:
    with pytest.raises(GatewayError, match=r"auth\.(id|scopes)") as caught:
        read_principal(value, id_path, scopes_path)
    assert "s3cret" not in str(caught.value)


json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=6,
)


@given(json, st.text(max_size=6), st.text(max_size=6))
def test_nothing_else_is_ever_raised(value: Any, id_path: str, scopes_path: str) -> None:
    try:
        found = read_principal(value, id_path, scopes_path)
    except GatewayError:
        return
    assert found is None or found.id


@pytest.mark.parametrize(
    ("value", "path", "meant"),
    [
        ({"sub": "s3cret"}, "sbu", "sub"),
        (User(id=3), "ids", "id"),
        (Account(User(id=3)), "owner.ids", "owner.id"),
        (Account(User(id=3)), "onwer.id", "owner.id"),
        (Pair("s3cret", "a"), "nmae", "name"),
    ],
)
def test_a_typo_is_told_with_what_was_meant(value: Any, path: str, meant: str) -> None:
    with pytest.raises(GatewayError) as caught:
        read_principal(value, path)
    said = str(caught.value)
    assert said.startswith(f"auth.id ({path}) reads nothing from a {type(value).__name__}")
    assert said.endswith(f"(did you mean {meant}?)")
    assert "s3cret" not in said


def test_missing_scopes() -> None:
    principal = Principal("ann", frozenset({"a", "b"}))
    assert principal.missing(["b", "d", "c"]) == ("c", "d")
    assert principal.missing([]) == ()
