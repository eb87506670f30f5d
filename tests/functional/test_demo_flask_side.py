"""The demo's systems that need Flask's world on the native side: S1(b), S1(c), S2, S5, S6."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
import pytest

from gateway import Gateway
from gateway.demo.legacy import create_app
from gateway.demo.native import app as native_app
from gateway.demo.shop.settings import DEFAULT_TOKEN, UNAUTHORIZED
from tests.functional.servers import serve
from tests.functional.services import redis_server

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.network

CONFIG = Path(__file__).parents[2] / "config" / "gateway.yaml"
TOKEN = {"X-Token": DEFAULT_TOKEN}


@pytest.fixture(params=["files", "redis"])
def url(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[str]:
    monkeypatch.setenv("GATEWAY_DEMO_DB", str(tmp_path / "shop.db"))
    if request.param == "redis":
        with redis_server(tmp_path) as redis:
            monkeypatch.setenv("GATEWAY_DEMO_REDIS", redis)
            yield from served()
    else:
        yield from served()


def served() -> Iterator[str]:
    with serve(Gateway(create_app(), native_app, CONFIG)) as url:
        yield url


def test_an_unported_helper_works_behind_the_inherited_guard(url: str) -> None:
    """S1(b): `request` and `g`, four calls below a native handler."""
    refused = httpx.post(url + "/items/import", json={"item_name": "whisk"})
    assert (refused.status_code, refused.json()) == (401, {"error": UNAUTHORIZED})
    stored = httpx.post(url + "/items/import", json={"item_name": "whisk"}, headers=TOKEN)
    assert stored.headers["x-served-by"] == "native"
    assert stored.json()["token"] == DEFAULT_TOKEN
    assert stored.json()["data"]["item_name"] == "whisk"
    bad = httpx.post(url + "/items/import", json={"size": 3}, headers=TOKEN)
    assert (bad.status_code, bad.json()) == (400, {"error": "item_name is required"})


def test_a_context_variable_is_read_by_code_that_knows_no_framework(url: str) -> None:
    """S1(c), on either side."""
    native = httpx.get(url + "/whoami", headers={"X-Account": "ada"})
    assert native.headers["x-served-by"] == "native"
    legacy = create_app().test_client().get("/whoami", headers={"X-Account": "ada"})
    assert native.json() == legacy.get_json() == {"signature": "ada, kitchen shop"}
    assert httpx.get(url + "/whoami").json() == {"signature": "nobody, kitchen shop"}


def test_one_coroutine_works_side_by_side_for_both(url: str) -> None:
    """S2: 20 items of 50 ms each, from both sides, in less than half of their sum."""
    pairs = [[group, item] for group in range(4) for item in range(5)]
    expected = {"processed": [f"{group}:{item}" for group, item in pairs]}
    started = time.monotonic()
    native = httpx.post(url + "/process/", json=pairs)
    assert native.headers["x-served-by"] == "native"
    assert native.json() == expected
    legacy = create_app().test_client().post("/process/", json=pairs)
    assert legacy.get_json() == expected
    assert time.monotonic() - started < 1.0


def test_log_in_on_legacy_act_natively_log_out_on_legacy(url: str) -> None:
    """S5, with the session in files and in Redis."""
    with httpx.Client(base_url=url) as client:
        assert client.get("/notes").status_code == 401
        assert client.post("/login", json={"name": "ada"}).headers["x-served-by"] == "legacy"
        for text in ("one", "two"):
            written = client.post("/notes", json={"text": text})
            assert (written.status_code, written.headers["x-served-by"]) == (201, "native")
        assert client.get("/notes").json() == {"user": "ada", "notes": ["one", "two"]}
        assert client.post("/logout").headers["x-served-by"] == "legacy"
        assert client.get("/notes").status_code == 401


@pytest.fixture
def bare() -> Iterator[str]:
    """The native app without the gateway, on the same database."""
    with serve(native_app) as url:
        yield url


def test_builds_have_the_same_status_header_and_pages(url: str, bare: str) -> None:
    """S6: the project is flat on one side and nested on the other, which is meant."""
    queries = ("", "?page=2&per_page=7", "?scratch=true", "?page=9", "?scratch=false&per_page=3")
    for query in queries:
        legacy, native = (httpx.get(f"{each}/api/koji-builds{query}") for each in (url, bare))
        assert legacy.headers["x-served-by"] == "legacy", "it is compared, not moved"
        assert legacy.status_code == native.status_code == 206
        assert legacy.headers["content-range"] == native.headers["content-range"]
        for old, new in zip(legacy.json(), native.json(), strict=True):
            project = new.pop("project")
            assert old.pop("project_name") == (project["name"] if project else None)
            assert old.pop("project_url") == (project["url"] if project else None)
            assert old == new
