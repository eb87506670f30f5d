"""`state:` is held to what the store's client understands, before anything is opened."""

from __future__ import annotations

import pytest

from gateway.exceptions import ConfigError
from gateway.loading import load_mapping

KNOWN = "its query can hold prefix, db, username, password, ssl_ca_certs"


@pytest.mark.parametrize(
    ("url", "what"),
    [
        ("redis://:hunter2@host/0?db=x", "db in its query must be a number"),
        ("redis://:hunter2@host/0?db=-1", "db in its query must be a number"),
        ("redis://:hunter2@host/0?db=²", "db in its query must be a number"),
        ("redis://:hunter2@host/0?db=", "db in its query must be a number"),
        ("redis://:hunter2@host/0?prefix=", "prefix in its query must be a text"),
        ("redis://:hunter2@host/0?db=1&db=2", "db stands twice in its query"),
        ("redis://:hunter2@host/0?socket_timeout=x", KNOWN),
        ("redis://:hunter2@host/0?protocol=x", KNOWN),
        ("redis://:hunter2@host/0?retry=x", KNOWN),
        ("redis://:hunter2@host/0?encoding=x", KNOWN),
        ("redis://:hunter2@host/0?decode_responses=0", KNOWN),
        ("redis://ann?hunter2@host/0", KNOWN),
        ("redis://:hunter2@host/0?ssl_ca_certs=ca.pem", "ssl_ca_certs needs rediss://"),
        ("rediss://:hunter2@host/0?ssl_cert_reqs=x", "ssl_cert_reqs in its query must be required"),
        ("rediss://host/0?ssl_check_hostname=hunter2", "must be true or false"),
        ("redis://:hunter2@host/shop", "the database in its path must be a number"),
    ],
)
def test_an_option_that_redis_cant_have_is_a_problem(url: str, what: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load_mapping({"version": 1, "state": url}, {})
    [problem] = caught.value.problems
    assert (problem.code, problem.key) == ("bad-value", "state")
    assert what in problem.what
    assert "hun" not in str(problem)


@pytest.mark.parametrize(
    "url",
    [
        "redis://host",
        "redis://host/",
        "redis://:p%2Fw@[::1]:6380/3?prefix=shop",
        "redis://host?db=3&prefix=shop&username=ann&password=pw",
        "rediss://host/0?ssl_cert_reqs=none&ssl_check_hostname=false",
        "rediss://host/0?ssl_ca_certs=/ca.pem&ssl_ca_path=/ca&ssl_certfile=c.pem&ssl_keyfile=k.pem",
        "sqlite:///state.db?x=y",
    ],
)
def test_what_redis_understands_is_taken(url: str) -> None:
    assert load_mapping({"version": 1, "state": url}, {}).config.state == url
