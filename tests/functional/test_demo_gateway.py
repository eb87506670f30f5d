"""The demo as a whole behind the gateway: two apps, one shop."""

from __future__ import annotations

import importlib
import shutil
import sys
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
import pytest

import gateway.demo.legacy
from gateway import ConfigError, Gateway
from gateway.demo.legacy import create_app
from gateway.demo.native import app as native_app
from gateway.demo.native.dependencies import clock
from gateway.demo.traffic import ACCOUNTS
from gateway.loading import load
from gateway.lock import write_lock
from tests.functional.demo_cases import TOKEN
from tests.functional.live import wait_until
from tests.functional.servers import serve

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.network

CONFIG = Path(__file__).parents[2] / "config" / "gateway.yaml"


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("GATEWAY_DEMO_TOKEN", raising=False)
    monkeypatch.setenv("GATEWAY_DEMO_DB", str(tmp_path / "shop.db"))


@pytest.fixture
def shop() -> Iterator[httpx.Client]:
    with (
        serve(Gateway(config=CONFIG)) as base_url,
        httpx.Client(base_url=base_url, headers=TOKEN, trust_env=False) as client,
    ):
        yield client


def side_of(response: httpx.Response) -> str:
    return response.headers["x-served-by"]


def test_what_native_wrote_legacy_reads(shop: httpx.Client) -> None:
    created = shop.post("/items/", json={"item_name": "tea strainer", "tags": ["new"]})
    assert side_of(created) == "native"
    item_id = created.json()["data"]["id"]

    first = shop.get(f"/api/v1/items/{item_id}")
    assert (side_of(first), first.json()["name"]) == ("legacy", "tea strainer")
    second = shop.get(f"/api/v2/items/{item_id}")
    assert (side_of(second), second.json()["item_name"]) == ("native", "tea strainer")
    assert f"{item_id},tea strainer,0,new,0" in shop.get("/items/export.csv").text


def test_what_legacy_wrote_native_reads_without_the_password() -> None:
    """Behind the clients' backs: the rule is a shadow, and declares the password."""
    gateway = Gateway(config=CONFIG)
    with serve(gateway) as base_url, httpx.Client(base_url=base_url, trust_env=False) as client:
        user = {"name": "zoe", "email": "z@x", "password": "correct horse"}
        created = client.post("/user", json=user)
        assert side_of(created) == "legacy"
        answer = client.get(f"/user/{created.json()['id']}")
        assert (side_of(answer), answer.json()["password"][:7]) == ("legacy", "scrypt$")
        tried = gateway.mirrors.verdicts.tried
        wait_until(lambda: ("GET", "/user/{user_id}") in tried)
    assert tried["GET", "/user/{user_id}"].verdicts == {"expected": 1}


def test_each_account_stays_on_its_side(shop: httpx.Client) -> None:
    def ask(account: str) -> tuple[str, str]:
        return account, side_of(shop.get("/items/1", headers={"X-Account": account}))

    seen = Counter(ask(account) for account in ACCOUNTS * 3)
    assert set(seen.values()) == {3}, "an account that changed sides has two entries"
    assert {side for _, side in seen} == {"legacy", "native"}


def test_a_doubled_token_is_refused_whichever_side_the_account_is_on(shop: httpx.Client) -> None:
    """Flask reads both lines as one, FastAPI the one it likes: Flask's own check has to stay."""
    doubled = [("X-Token", TOKEN["X-Token"]), ("X-Token", "wrong")]
    statuses = set()
    for account in ACCOUNTS:
        headers = [*doubled, ("X-Account", account)]
        answer = httpx.get(f"{shop.base_url}/items/1", headers=headers)
        statuses.add(answer.status_code)
    assert statuses == {401}


def test_a_client_without_an_account_gets_a_cookie_and_stays(shop: httpx.Client) -> None:
    first = shop.get("/items/1")
    assert first.cookies["gw_id"]
    again = [shop.get("/items/1") for _ in range(5)]
    assert {side_of(answer) for answer in again} == {side_of(first)}
    assert not any(answer.cookies for answer in again)


def test_both_sides_write_at_once(shop: httpx.Client) -> None:
    """Native items and legacy users, many at a time: nobody finds the database locked."""

    def write(number: int) -> int:
        if number % 2:
            return shop.post("/items/", json={"item_name": f"cup {number}"}).status_code
        user = {"name": f"user {number}", "email": "u@x", "password": "correct horse"}
        return shop.post("/user", json=user).status_code

    with ThreadPoolExecutor(16) as pool:
        statuses = Counter(pool.map(write, range(80)))
    assert statuses == {200: 40, 201: 40}
    assert shop.get("/api/v1/items").json()["total"] == 40 + 40


def test_another_token_is_asked_for_on_both_sides(
    shop: httpx.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GATEWAY_DEMO_TOKEN", "tökén")
    given = {b"X-Token": "tökén".encode("latin-1")}
    for answer in (
        shop.post("/items/", json={"item_name": "cup"}),
        shop.get("/items/export.csv"),
    ):
        assert answer.status_code == 401
    assert shop.get("/items/export.csv", headers=given).status_code == 200
    created = shop.post("/items/", json={"item_name": "cup"}, headers=given)
    assert (created.status_code, created.json()["token"]) == (200, "tökén")


def test_the_clock_of_native_is_passed_in(shop: httpx.Client) -> None:
    native_app.dependency_overrides[clock] = lambda: datetime(2030, 1, 2, 3, 4, 5, tzinfo=UTC)
    try:
        answer = shop.get("/files/stock.csv").json()
    finally:
        del native_app.dependency_overrides[clock]
    assert answer["generated_at"] == "2030-01-02T03:04:05+00:00"


def test_a_native_handler_without_a_line_changes_nothing(shop: httpx.Client) -> None:
    """POST /user is written on both sides, and no rule names it."""
    answer = shop.post("/user", json={"name": "zoe"})
    assert (side_of(answer), answer.status_code) == ("legacy", 400)


def test_no_spelling_reaches_the_retired_health_page() -> None:
    flask = create_app()

    def retired() -> str:
        message = "legacy's health page was reached"
        raise AssertionError(message)

    flask.view_functions["site.health"] = retired
    with (
        serve(Gateway(legacy=flask, config=CONFIG)) as base_url,
        httpx.Client(base_url=base_url, follow_redirects=True, trust_env=False) as client,
    ):
        for path in ("/health", "//health", "/%68ealth", "/./health", "/health?x", "/health/"):
            assert client.get(path).status_code in (200, 404), path
        assert side_of(client.get("/health")) == "native"


def test_the_config_has_nothing_to_report() -> None:
    warnings = Gateway(config=CONFIG).snapshots.current.warnings
    assert not [problem for problem in warnings if problem.code != "lock-stale"]


def test_a_linter_that_removes_an_import_is_caught_by_the_lock(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """S8: the app without the import of its users starts, and the gateway doesn't."""
    source = Path(gateway.demo.legacy.__file__).parent
    package = tmp_path / "linted_shop"
    shutil.copytree(source, package, ignore=shutil.ignore_patterns("__pycache__"))
    for file in package.glob("*.py"):
        text = file.read_text().replace("gateway.demo.legacy", "linted_shop")
        file.write_text(
            text.replace(
                "from . import api_v1, builds, files, items, orders, site, staff, users",
                "from . import api_v1, builds, files, items, orders, site, staff",
            )
        )
    monkeypatch.syspath_prepend(tmp_path)
    config = tmp_path / "gateway.yaml"
    config.write_text("version: 1\nlock: routes.lock\n")
    whole = Gateway(legacy=create_app(), native=native_app, config={"version": 1})
    write_lock(load(config), whole.table)
    Gateway(legacy=create_app(), native=native_app, config=config)

    try:
        linted = importlib.import_module("linted_shop").create_app()
    finally:
        for name in [name for name in sys.modules if name.split(".")[0] == "linted_shop"]:
            del sys.modules[name]
    assert linted.test_client().get("/health").status_code == 200
    assert linted.test_client().get("/user/1").status_code == 404
    with pytest.raises(ConfigError) as raised:
        Gateway(legacy=linted, native=native_app, config=config)
    assert {problem.code for problem in raised.value.problems} == {"route-vanished"}
    assert "legacy GET /user/<int:user_id> users.show_user" in str(raised.value)
    assert "legacy POST /user users.create_user" in str(raised.value)
