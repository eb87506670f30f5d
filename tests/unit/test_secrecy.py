"""What of a text is a secret, and what isn't."""

from __future__ import annotations

import pytest

from gateway.secrecy import (
    is_secret,
    path_without_secrets,
    query_without_secrets,
    without_secrets,
)

X = "hunter2-X"


@pytest.mark.parametrize(
    "text",
    [
        f"token={X}&a=1",
        f'"password": "{X}"',
        f'"password": "a\\"b{X}"',
        f"password=a,b{X}",
        f"pass={X}",
        f"user[password]={X}",
        f"Authorization: Bearer {X}",
        f"Authorization: Token {X}",
        f'Authorization: Digest username="u", response={X}',
        f"[('authorization', 'Bearer {X}')]",
        f"Cookie: a=b; sid={X}",
        f"secret_key = b'{X}'",
        f"postgresql://u:{X}@host/db",
        f"https://u:{X}@host",
        f"jwt={X}",
        f"pwd={X}",
        f"otp: {X}",
        f"X-Signature: {X}",
    ],
)
def test_a_secret_is_hidden(text: str) -> None:
    assert X not in without_secrets(text)


@pytest.mark.parametrize(
    "text",
    ["author=ann", "a compass=north", "bypass the queue", "GET /users/7", "price: 7, total: 8"],
)
def test_what_is_none_stays(text: str) -> None:
    assert without_secrets(text) == text


def test_queries_and_paths() -> None:
    for query in (f"user%5Bpassword%5D={X}", f"pass%77ord={X}", f"a=1&token={X}", f"pass={X}"):
        assert X not in query_without_secrets(query.encode())
    assert query_without_secrets(b"page=2&q=a+b") == "page=2&q=a b"
    for path in (f"/token/{X}", f"/reset-password/{X}/now"):
        assert X not in path_without_secrets(path)
    assert path_without_secrets("/users/7/orders") == "/users/7/orders"


@pytest.mark.parametrize("name", ["password", "user_password_hash", "jwt", "X-Api-Key", "pwd"])
def test_names_of_secrets(name: str) -> None:
    assert is_secret(name)


@pytest.mark.parametrize(
    "name",
    ["author", "compass", "name", "passenger", "id", "Access-Control-Allow-Credentials"],
)
def test_names_of_nothing_secret(name: str) -> None:
    assert not is_secret(name)
