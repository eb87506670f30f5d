"""The admin pages under attack: nothing is changed and nothing is learned without the token."""

from __future__ import annotations

import logging
import math
import socket
import time
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from fastapi import FastAPI
from flask import Flask

from gateway import Gateway
from gateway.admin.door import FAILURES_PER_ADDRESS, MAX_BODY, Failures
from gateway.exceptions import ConfigError
from gateway.overrides import Override
from gateway.store import Change, Entry, SqliteStore
from tests.functional.servers import serve

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.network

TOKEN = "a-token-of-thirty-two-characters"
RIGHT = {"Authorization": f"Bearer {TOKEN}"}
PAGES = ("/routes", "/status", "/config", "/overrides", "/audit", "/metrics", "/openapi.json")
CHANGES = ("/overrides", "/rollback", "/clear", "/reload")
SET = {"route": "/a", "cutover": "native"}


def gateway(**config: Any) -> Gateway:
    flask, native = Flask("legacy"), FastAPI()
    flask.add_url_rule("/a", "a", lambda: "legacy")
    flask.add_url_rule("/<path:rest>", "rest", lambda rest: f"legacy {rest}")
    native.add_api_route("/a", lambda: "native")
    rules = [{"path": "/a", "cutover": "legacy", "auth": "none"}]
    config = {"version": 1, "admin": {"token_env": "GATEWAY_TEST_TOKEN"}, "routes": rules} | config
    return Gateway(flask, native, config, verify_lock=False)


@pytest.fixture
def url(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    monkeypatch.setenv("GATEWAY_TEST_TOKEN", TOKEN)
    with serve(gateway()) as url:
        yield url
        held = httpx.get(f"{url}/-/overrides", headers=RIGHT).json()
        assert held["revision"].endswith("-0"), "something was changed"
        assert httpx.get(f"{url}/a").text == "legacy"


WRONG: dict[str, dict[str, Any]] = {
    "none": {},
    "wrong": {"headers": {"Authorization": "Bearer wrong"}},
    "almost": {"headers": {"Authorization": f"Bearer {TOKEN[:-1]}"}},
    "longer": {"headers": {"Authorization": f"Bearer {TOKEN}x"}},
    "case": {"headers": {"Authorization": f"Bearer {TOKEN.upper()}"}},
    "empty": {"headers": {"Authorization": "Bearer"}},
    "basic": {"auth": ("admin", TOKEN)},
    "bare": {"headers": {"Authorization": TOKEN}},
    "query": {"params": {"token": TOKEN, "access_token": TOKEN}},
    "cookie": {"headers": {"Cookie": f"token={TOKEN}; Authorization=Bearer {TOKEN}"}},
    "other header": {"headers": {"X-Token": TOKEN, "X-Authorization": f"Bearer {TOKEN}"}},
    "underscore": {"headers": {"Author_ization": f"Bearer {TOKEN}"}},
    "odd bytes": {"headers": {"Authorization": b"Bearer \xff\xfe"}},
    "cross-site": {"headers": {"Origin": "https://evil.test", "Sec-Fetch-Site": "cross-site"}},
}


@pytest.mark.parametrize("name", WRONG)
def test_nobody_comes_in_without_the_token(url: str, name: str) -> None:
    learned = set()
    for page in PAGES:
        answer = httpx.get(f"{url}/-{page}", **WRONG[name])
        assert answer.status_code in (401, 429)
        learned.add(answer.json()["detail"])
    for page in CHANGES:
        answer = httpx.post(f"{url}/-{page}", json=SET, **WRONG[name])
        assert answer.status_code in (401, 429)
        learned.add(answer.json()["detail"])
    assert learned <= {"the admin token is needed", "too many wrong tokens"}


def test_two_tokens_are_none(url: str) -> None:
    host = url.removeprefix("http://")
    with socket.create_connection((host.split(":")[0], int(host.split(":")[1]))) as client:
        line = f"Authorization: Bearer {TOKEN}\r\n"
        head = f"GET /-/routes HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{line}{line}\r\n"
        client.sendall(head.encode())
        assert client.recv(4096).startswith(b"HTTP/1.1 401")


def test_a_page_that_is_not_there_looks_like_one_that_is(url: str) -> None:
    there, nowhere = (httpx.get(f"{url}/-{page}") for page in ("/routes", "/nowhere"))
    assert (there.status_code, there.content) == (nowhere.status_code, nowhere.content)
    assert httpx.get(f"{url}/-/nowhere", headers=RIGHT).status_code == 404


@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS", "PUT", "PATCH", "DELETE", "TRACE"])
@pytest.mark.parametrize("page", CHANGES)
def test_only_a_post_changes_anything(url: str, method: str, page: str) -> None:
    answer = httpx.request(method, f"{url}/-{page}", headers=RIGHT, params=SET)
    if (method, page) == ("GET", "/overrides"):
        assert answer.status_code == 200
    else:
        assert answer.status_code == 405


@pytest.mark.parametrize(
    "content_type",
    ["application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "text/plain"],
)
def test_a_form_of_another_site_changes_nothing(url: str, content_type: str) -> None:
    """What a browser sends without asking first, with whatever credentials it has."""
    body = b'{"route": "/a", "cutover": "native"}'
    headers = {"Content-Type": content_type, "Origin": "https://evil.test", "Cookie": "a=b"}
    answer = httpx.post(f"{url}/-/overrides", content=body, headers=headers)
    assert answer.status_code == 401
    preflight = {"Origin": "https://evil.test", "Access-Control-Request-Method": "POST"}
    answer = httpx.request("OPTIONS", f"{url}/-/overrides", headers=preflight)
    assert not [name for name in answer.headers if name.startswith("access-control")]


@pytest.mark.parametrize(
    "body",
    [
        b"", b"{", b"null", b"[]", b"[" * 10_000, b"\xff\xfe", b'{"route": "/a"}',
        b'{"route": "/a", "cutover": "shadw"}',
        b'{"route": "/a", "all": true, "cutover": "legacy"}',
        b'{"route": "/a", "cutover": "native", "weight": 5}',
        b'{"route": "/a", "cutover": "canary", "weight": 101}',
        b'{"route": "/a", "cutover": "canary", "weight": true}',
        b'{"route": "/a", "cutover": "native", "seconds": -1}',
        b'{"route": "/a", "cutover": "native", "unheard": 1}',
        b'{"route": "/a", "cutover": "native", "reason": "\\u001b[2J"}',
        b'{"route": "/a\\r\\nx", "cutover": "native"}',
        b'{"route": "/nowhere", "cutover": "native"}',
        b'{"all": true, "cutover": "native"}',
    ],
)  # fmt: skip
def test_a_body_that_makes_no_sense_changes_nothing(url: str, body: bytes) -> None:
    headers = {**RIGHT, "Content-Type": "application/json"}
    answer = httpx.post(f"{url}/-/overrides", content=body, headers=headers)
    assert answer.status_code in (400, 422), answer.text


def test_a_body_that_is_too_long_is_not_read(url: str) -> None:
    long = b'{"route": "' + b"x" * MAX_BODY + b'"}'
    headers = {**RIGHT, "Content-Type": "application/json"}
    assert httpx.post(f"{url}/-/overrides", content=long, headers=headers).status_code == 413
    pieces = iter([b"x" * 10_000] * 10)
    answer = httpx.post(f"{url}/-/overrides", content=pieces, headers=headers)
    assert answer.status_code == 413
    stranger = httpx.post(f"{url}/-/overrides", content=long)
    assert stranger.status_code == 401, "who has no token isn't told about bodies"


def test_an_old_revision_changes_nothing(url: str) -> None:
    current = httpx.get(f"{url}/-/overrides", headers=RIGHT).headers["etag"]
    for tag in ('"000000000000-0"', "000000000000-0", '"x', "W/x", '"' * 50, f"W/{current}", ","):
        headers = {**RIGHT, "If-Match": tag}
        assert httpx.post(f"{url}/-/overrides", json=SET, headers=headers).status_code == 412


def test_if_match_is_a_list_on_any_number_of_lines(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("GATEWAY_TEST_TOKEN", TOKEN)
    monkeypatch.setenv("GATEWAY_STATE", f"sqlite:///{tmp_path}/state.db")
    with serve(gateway()) as url:
        for number in range(3):
            current = httpx.get(f"{url}/-/overrides", headers=RIGHT).headers["etag"]
            tags = [f'"x", {current}', f'"x" ,{current},', current.strip('"')][number]
            lines = [*RIGHT.items(), ("If-Match", '"old"'), ("If-Match", tags)]
            body = {"route": "/a", "cutover": "canary", "weight": number}
            answer = httpx.post(f"{url}/-/overrides", json=body, headers=lines)
            assert answer.status_code == 200, answer.text


@pytest.mark.parametrize(
    "body",
    [
        b'{"route": "/a", "cutover": "canary", "weight": NaN}',
        b'{"route": "/a", "cutover": "canary", "weight": 1e400}',
        b'{"route": "/a", "cutover": "native", "seconds": Infinity}',
        b'{"route": "/a", "cutover": "native", "seconds": 1e400}',
        b'{"route": "/a", "cutover": "native", "seconds": 1e300}',
        b'{"route": "/a", "cutover": "native", "reason": "\\ud800"}',
        b'{"route": "/a", "cutover": "native", "\\ud800": 1}',
        b'{"route": "\\udfff", "cutover": "native"}',
    ],
)
def test_what_json_cannot_say_is_refused_and_not_repeated(url: str, body: bytes) -> None:
    headers = {**RIGHT, "Content-Type": "application/json"}
    answer = httpx.post(f"{url}/-/overrides", content=body, headers=headers)
    assert answer.status_code == 422
    assert answer.json()["detail"][0].keys() == {"loc", "msg", "type"}
    assert httpx.get(f"{url}/-/overrides", headers=RIGHT).json()["overrides"] == []


@pytest.mark.parametrize("token", ["ein-schlüssel-mit-ümläuten", f" {TOKEN}\n"])
def test_a_token_is_compared_as_it_was_meant(token: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GATEWAY_TEST_TOKEN", token)
    with serve(gateway()) as url:
        bearer = [(b"authorization", b"Bearer " + token.strip().encode())]
        assert httpx.get(f"{url}/-/routes", headers=bearer).status_code == 200


def test_a_token_file_may_be_empty_or_wrong_for_a_while(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text("")
    config = {"token_file": str(file)}
    with serve(gateway(admin=config)) as url:

        def asked(token: str) -> int:
            headers = {"Authorization": f"Bearer {token}"}
            return httpx.get(f"{url}/-/routes", headers=headers).status_code

        assert asked(TOKEN) == 404
        file.write_text(f"{TOKEN}\n")
        assert asked(TOKEN) == 200
        file.write_text("short")
        assert (asked(TOKEN), asked("short")) == (200, 401), "the last one stays"
        file.write_text("")
        assert asked(TOKEN) == 404
        file.write_text("short")
        assert (asked(TOKEN), asked("short")) == (404, 404)
        file.unlink()
        assert asked(TOKEN) == 404
        file.write_text(TOKEN[::-1])
        assert (asked(TOKEN), asked(TOKEN[::-1])) == (401, 200)


def test_no_page_shows_the_stores_password(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GATEWAY_TEST_TOKEN", TOKEN)
    monkeypatch.delenv("GATEWAY_STATE", raising=False)
    state = "redis://ann:secret-one@localhost:1/0?prefix=shop&password=secret-two"
    with serve(gateway(state=state)) as url:
        for page in PAGES:
            text = httpx.get(f"{url}/-{page}", headers=RIGHT).text
            assert "secret-" not in text
        shown = httpx.get(f"{url}/-/config", headers=RIGHT).json()["config"]["state"]
        assert shown == "redis://***@localhost:1/0?prefix=shop&password=***"


@pytest.mark.parametrize("state", ["redis://h:notaport/0", "redis://:p/x@h", "redis://[::1/0"])
def test_a_store_that_is_no_url_is_a_problem_of_the_config(
    state: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("GATEWAY_STATE", raising=False)
    with pytest.raises(ConfigError) as wrong:
        gateway(state=state)
    assert "state" in str(wrong.value)
    assert state not in str(wrong.value), "it may hold a password"


@pytest.mark.parametrize(
    "path",
    ["//-/overrides", "/x/../-/overrides", "/-/../-/overrides", "/./-/overrides", "/-//overrides",
     "/-/overrides/", "/-/%6fverrides", "/%2d/overrides", "/-%2foverrides", "/-/./overrides"],
)  # fmt: skip
def test_another_spelling_needs_the_token_or_is_the_apps(url: str, path: str) -> None:
    host, port = url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port))) as client:
        client.sendall(f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
        answer = client.recv(4096)
    assert b"revision" not in answer


def test_wrong_tokens_are_limited_and_the_right_one_is_not(url: str) -> None:
    """Behind an ingress everybody has one address: whoever guesses must not lock the owner out."""
    codes = [
        httpx.get(f"{url}/-/routes", headers={"Authorization": f"Bearer {n}"}).status_code
        for n in range(FAILURES_PER_ADDRESS + 3)
    ]
    assert codes == [401] * FAILURES_PER_ADDRESS + [429] * 3
    refused = httpx.get(f"{url}/-/routes", headers={"Authorization": "Bearer x"})
    assert 1 <= int(refused.headers["retry-after"]) <= 60
    assert httpx.get(f"{url}/-/routes", headers=RIGHT).status_code == 200


def test_failures_are_forgotten_after_a_minute() -> None:
    now = [0.0]
    failures = Failures(lambda: now[0])
    waits = [failures.count("a") for _ in range(FAILURES_PER_ADDRESS + 1)]
    assert waits == [0] * FAILURES_PER_ADDRESS + [60]
    assert failures.count("b") == 0
    now[0] = 61.0
    assert failures.count("a") == 0
    for number in range(200):
        last = failures.count(f"address {number}")
    assert last > 0, "from many addresses, too"


@pytest.mark.parametrize("page", [*PAGES, "/nowhere"])
def test_every_page_says_what_browsers_may_not_do(url: str, page: str) -> None:
    for headers in ({}, RIGHT):
        answer = httpx.get(f"{url}/-{page}", headers=headers)
        assert answer.headers["cache-control"] == "no-store"
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["x-frame-options"] == "DENY"
        assert "default-src 'none'" in answer.headers["content-security-policy"]
        assert not [name for name in answer.headers if name.startswith("access-control")]


def test_without_a_token_everything_but_the_probes_is_off() -> None:
    with serve(gateway(admin={})) as url:
        for page in PAGES:
            answer = httpx.get(f"{url}/-{page}", headers={"Authorization": "Bearer"})
            assert (answer.status_code, answer.json()) == (404, {"detail": "no such page"})
        assert httpx.post(f"{url}/-/reload", headers=RIGHT).status_code == 404
        assert httpx.get(f"{url}/-/ready").status_code == 200
        assert httpx.get(f"{url}/-/healthy").status_code == 200


def test_a_short_token_never_serves(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("GATEWAY_TEST_TOKEN", "short")
    with pytest.raises(ConfigError, match="shorter than 16") as raised:
        gateway()
    assert "short\n" not in str(raised.value)
    (tmp_path / "token").write_text("tiny\n")
    with pytest.raises(ConfigError, match="shorter than 16"):
        gateway(admin={"token_file": str(tmp_path / "token")})
    with pytest.raises(ConfigError, match="can't be read"):
        gateway(admin={"token_file": str(tmp_path / "nowhere")})
    with pytest.raises(ConfigError, match="not from both"):
        gateway(admin={"token_file": "a", "token_env": "B"})


def test_a_token_file_may_be_replaced(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text(f"{TOKEN}\n")
    with serve(gateway(admin={"token_file": str(file)})) as url:
        assert httpx.get(f"{url}/-/routes", headers=RIGHT).status_code == 200
        fresh = tmp_path / "fresh"
        fresh.write_text("another-token-of-enough-characters")
        fresh.replace(file)
        assert httpx.get(f"{url}/-/routes", headers=RIGHT).status_code == 401
        other = {"Authorization": "Bearer another-token-of-enough-characters"}
        assert httpx.get(f"{url}/-/routes", headers=other).status_code == 200
        file.unlink()
        assert httpx.get(f"{url}/-/routes", headers=other).status_code == 200, "the last one stays"


def test_another_prefix_and_a_mounted_gateway(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GATEWAY_TEST_TOKEN", TOKEN)
    app = gateway(admin={"token_env": "GATEWAY_TEST_TOKEN", "prefix": "/_gateway"})
    with serve(app, root_path="/shop") as url:
        assert httpx.get(f"{url}/_gateway/routes", headers=RIGHT).json()["routes"]
        assert httpx.get(f"{url}/_gateway/ready").json()["status"] == "ready"
        assert httpx.get(f"{url}/-/routes", headers=RIGHT).text == "legacy -/routes"


def test_no_page_shows_a_secret(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GATEWAY_TEST_TOKEN", TOKEN)
    monkeypatch.delenv("GATEWAY_STATE", raising=False)
    app = gateway(state="redis://ann:pass-word@127.0.0.1:1/0")
    with serve(app) as url:
        for page in PAGES[:-1]:
            text = httpx.get(f"{url}/-{page}", headers=RIGHT).text
            assert TOKEN not in text
            assert "pass-word" not in text
        assert "***@127.0.0.1:1" in httpx.get(f"{url}/-/config", headers=RIGHT).text
        ready = httpx.get(f"{url}/-/ready")
        assert ready.status_code == 200
        assert ready.json()["store"].startswith("down")
        assert "pass-word" not in ready.text


def test_the_openapi_document_names_every_page(url: str) -> None:
    document = httpx.get(f"{url}/-/openapi.json", headers=RIGHT).json()
    assert {f"/-{path}" for path in (*PAGES, *CHANGES) if path != "/openapi.json"} <= {
        document["servers"][0]["url"] + path if "servers" in document else path
        for path in document["paths"]
    }


def test_what_json_cannot_say_is_shown_where_the_store_holds_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Another program, or another version, may have written it."""
    monkeypatch.setenv("GATEWAY_TEST_TOKEN", TOKEN)
    monkeypatch.setenv("GATEWAY_STATE", f"sqlite:///{tmp_path}/state.db")
    half = "\ud800"
    # pytest-xdist can't hand such a line of the log over.
    caplog.set_level(logging.CRITICAL, "gateway")
    caplog.set_level(logging.CRITICAL, "uvicorn")
    override = Override(
        "GET /a", "canary", 5.0, "set", "ann", "é", time.time(), None, "legacy"
    )  # fmt: skip
    entries = [Entry(at, "set", "GET /a", half, "", half, "") for at in (math.nan, math.inf, 1.0)]
    store = SqliteStore(tmp_path / "state.db")
    store.write(Change([override]))
    for entry in entries:
        store.note(entry)
    store.close()
    with serve(gateway()) as url:
        answers = {page: httpx.get(f"{url}/-{page}", headers=RIGHT) for page in PAGES}
        assert {page: each.status_code for page, each in answers.items()} == dict.fromkeys(
            PAGES, 200
        )
        [row] = [r for r in answers["/status"].json()["routes"] if r["override"] is not None]
        assert row["override"]["reason"] == "é"
        told = answers["/audit"].json()["entries"]
        assert [each["at"] for each in told[-3:]] == [1.0, None, None]
        assert httpx.get(f"{url}/-/ready").status_code == 200


@pytest.mark.parametrize("length", ["0" * 5000 + "34", "9" * 5000, "-1", ""])
def test_a_length_that_is_no_plain_number_is_refused(url: str, length: str) -> None:
    host, port = url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port))) as client:
        head = f"POST /-/reload HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {TOKEN}\r\n"
        client.sendall(f"{head}Content-Length: {length}\r\n\r\n".encode())
        status = client.recv(4096).split(b" ", 2)[1]
    assert status in (b"400", b"413")
