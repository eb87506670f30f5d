"""The demo's comparisons under its own traffic: what is meant is declared, and there is no more."""

from __future__ import annotations

import asyncio
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
import pytest

from gateway import Gateway
from gateway.demo.shop.orders import ORDERS
from gateway.demo.traffic import traffic
from gateway.loading import load
from tests.functional.live import wait_until
from tests.functional.servers import serve

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = [pytest.mark.network, pytest.mark.usefixtures("never_suspended")]

CONFIG = Path(__file__).parents[2] / "config" / "gateway.yaml"
USER = ("GET", "/user/{user_id}")
BUILDS = ("GET", "/api/koji-builds")
FILE = ("GET", "/files/{name:path}")
TOTAL = ("GET", "/orders/{order_id}/total")


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("GATEWAY_DEMO_MENDED", raising=False)
    monkeypatch.setenv("GATEWAY_DEMO_DB", str(tmp_path / "shop.db"))
    monkeypatch.setattr("gateway.demo.traffic.PAUSE", (0.0, 0.01))  # customers in a hurry


async def customers(base_url: str, enough: Callable[[], bool]) -> None:
    stop = asyncio.Event()
    sending = asyncio.create_task(traffic(base_url, stop))
    try:
        async with asyncio.timeout(60):
            while not enough():
                await asyncio.sleep(0.1)
    finally:
        stop.set()
        await sending


def verdicts(gateway: Gateway) -> dict[tuple[str, str], Counter[str]]:
    return {key: tried.verdicts for key, tried in gateway.mirrors.verdicts.tried.items()}


def least(gateway: Gateway) -> int:
    """Return how often the route was compared that was compared least."""
    return min(verdicts(gateway).get(key, Counter()).total() for key in (USER, BUILDS, FILE))


def test_nothing_differs_that_is_not_declared() -> None:
    """S3, S4 and S6, with all that customers do besides."""
    gateway = Gateway(config=CONFIG)
    with serve(gateway) as base_url:
        asyncio.run(customers(base_url, lambda: least(gateway) >= 10))
        wait_until(lambda: not gateway.mirrors.in_flight)
    found = verdicts(gateway)
    assert asyncio.run(gateway.control.documents("diffs")) == [{}]
    assert set(found) == {USER, BUILDS, FILE}
    assert {key: set(counted) for key, counted in found.items()} == {
        USER: {"expected"},
        BUILDS: {"expected"},
        FILE: {"noise"},
    }


def test_a_password_that_comes_back_is_found() -> None:
    """The other way round: what the rule declares is all that it lets pass."""
    gateway = Gateway(config=CONFIG)
    rule = next(each for each in load(CONFIG).config.routes if each.name == "user-read")
    assert [each.model_dump() for each in rule.expect] == [
        {"path": "$.password", "legacy": {"type": "string"}, "native": "missing"}
    ]
    with serve(gateway) as base_url:
        assert httpx.get(f"{base_url}/user/4711").status_code == 404
        wait_until(lambda: verdicts(gateway).get(USER) == {"equal": 1})
        assert httpx.get(f"{base_url}/user/1").json()["password"].startswith("scrypt$")
        wait_until(lambda: verdicts(gateway)[USER] == {"equal": 1, "expected": 1})


@pytest.mark.parametrize("mended", ["", "1"])
def test_the_storys_bug_differs_until_it_is_mended(
    mended: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GATEWAY_DEMO_MENDED", mended)
    rule = {"path": "/orders/{order_id}/total", "cutover": "shadow"}
    loaded = load(CONFIG).config
    apps = {"legacy": {"app": loaded.legacy.app}, "native": {"app": loaded.native.app}}
    gateway = Gateway(config={"version": 1, "routes": [rule], **apps}, verify_lock=False)
    with serve(gateway) as base_url, httpx.Client(base_url=base_url) as client:
        for number in range(1, ORDERS + 2):
            answer = client.get(f"/orders/{number}/total")
            assert answer.status_code == (200 if number <= ORDERS else 404)
            wait_until(lambda: not gateway.mirrors.in_flight)
    right = {"equal": ORDERS + 1}
    wrong = {"equal": ORDERS + 1 - 12, "different": 12}
    assert verdicts(gateway)[TOTAL] == (right if mended else wrong)


def test_the_storys_bug_harms_nobody_in_the_demo() -> None:
    gateway = Gateway(config=CONFIG)
    with serve(gateway) as base_url:
        for number in (5, 7):
            answer = httpx.get(f"{base_url}/orders/{number}/total")
            assert (answer.status_code, answer.headers["x-served-by"]) == (200, "legacy")
    assert not gateway.mirrors.outcomes
