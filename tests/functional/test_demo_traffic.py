"""The demo's traffic: real requests that show both sides, and never a failure of the demo."""

from __future__ import annotations

import asyncio
import random
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from gateway import Exchange, Gateway
from gateway.demo.traffic import next_visit, traffic
from tests.functional.servers import serve

if TYPE_CHECKING:
    from starlette.types import Receive, Scope, Send

pytestmark = pytest.mark.network

CONFIG = Path(__file__).parents[2] / "config" / "gateway.yaml"


async def run_for(seconds: float, base_url: str) -> float:
    """Run the traffic; return how long it took to end once it was told to."""
    stop = asyncio.Event()
    task = asyncio.create_task(traffic(base_url, stop))
    await asyncio.sleep(seconds)
    assert not task.done(), "it ended by itself"
    stop.set()
    told = time.perf_counter()
    await task
    return time.perf_counter() - told


def test_traffic_reaches_both_sides_at_its_pace(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("GATEWAY_DEMO_DB", str(tmp_path / "shop.db"))
    seen: list[Exchange] = []
    with serve(Gateway(config=CONFIG, observers=[seen.append])) as base_url:
        ended = asyncio.run(run_for(4.0, base_url))
    assert ended < 2.0
    assert 4 <= len(seen) <= 44, "at most 10 per second"
    assert {exchange.decision.backend.value for exchange in seen} == {"legacy", "native"}
    assert all(0 < exchange.status < 500 for exchange in seen)


def test_traffic_covers_every_kind_of_rule() -> None:
    dice = random.Random(1)
    paths = {next_visit(dice).path for _ in range(1000)}
    for start in ("/user/", "/files/", "/items/", "/api/v1/", "/api/v2/", "/health"):
        assert any(path.startswith(start) for path in paths), start


@pytest.mark.parametrize("base_url", ["http://127.0.0.1:1", "http://[bad", "nonsense"])
def test_a_server_that_is_gone_is_no_failure(base_url: str) -> None:
    asyncio.run(run_for(0.5, base_url))


def test_a_failing_server_is_no_failure() -> None:
    async def broken(scope: Scope, receive: Receive, send: Send) -> None:
        await send(
            {"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"9")]}
        )
        await send({"type": "http.response.body", "body": b"x"})

    with serve(broken, lifespan="off") as base_url:
        asyncio.run(run_for(0.5, base_url))
