"""A little real traffic: some twenty customers who use the shop over HTTP."""

from __future__ import annotations

import asyncio
import logging
import random
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import httpx

from gateway.demo.shop.seed import FILES, NAMES
from gateway.demo.shop.settings import token

if TYPE_CHECKING:
    from collections.abc import Callable

logger = logging.getLogger(__name__)

ACCOUNTS = tuple(f"account-{number:02}" for number in range(1, 21))
#: Seconds between two requests: 5 to 10 of them per second.
PAUSE = (0.1, 0.2)


@dataclass(frozen=True, slots=True)
class Visit:
    """One request of a customer."""

    method: str
    path: str
    json: Any = None
    guarded: bool = False
    params: dict[str, str] = field(default_factory=dict)


def _item(dice: random.Random) -> Visit:
    item = {"item_name": f"whisk {dice.randrange(1000)}", "size": dice.randrange(50)}
    return Visit("POST", "/items/", item | {"tags": ["new", "kitchen"]}, guarded=True)


def _user(dice: random.Random) -> Visit:
    name = f"{dice.choice(NAMES)}-{dice.randrange(10**9)}"
    user = {"name": name, "email": f"{name}@shop.example", "password": "correct horse"}
    return Visit("POST", "/user", user)


#: What customers do, and how often: the weights are relative.
_HABITS: tuple[tuple[int, Callable[[random.Random], Visit]], ...] = (
    (8, lambda dice: Visit("GET", f"/user/{dice.randint(1, len(NAMES))}")),
    (5, lambda dice: Visit("GET", f"/files/{dice.choice(FILES)}", params={"tag": "seen"})),
    (4, _item),
    (4, lambda dice: Visit("GET", f"/api/v1/items/{dice.randint(1, 40)}")),
    (4, lambda dice: Visit("GET", "/api/v2/items", params={"page": str(dice.randint(1, 4))})),
    (3, lambda dice: Visit("GET", f"/items/{dice.randint(1, 40)}", guarded=True)),
    (3, lambda _: Visit("GET", "/")),
    (2, lambda _: Visit("GET", "/api/v1/items")),
    (2, lambda _: Visit("GET", "/health")),
    (2, lambda dice: Visit("GET", "/api/koji-builds", params={"page": str(dice.randint(1, 3))})),
    (2, lambda _: Visit("GET", "/whoami")),
    (1, lambda dice: Visit("POST", "/process/", [[1, n] for n in range(dice.randint(1, 5))])),
    (1, lambda _: Visit("POST", "/items/import", {"item_name": "imported"}, guarded=True)),
    (1, _user),
    (1, lambda _: Visit("GET", "/items/export.csv", guarded=True)),
    (1, lambda _: Visit("POST", "/items/", {"item_name": "whisk"})),  # no token: 401
    (1, lambda _: Visit("GET", "/user/abc")),  # 404, a typo
)


def next_visit(dice: random.Random) -> Visit:
    """Return what some customer does next."""
    weights = [weight for weight, _ in _HABITS]
    (_, habit) = dice.choices(_HABITS, weights)[0]
    return habit(dice)


async def traffic(base_url: str, stop: asyncio.Event) -> None:
    """Send 5 to 10 requests per second to `base_url` until `stop` is set.

    Never raises: a server that is slow, failing or gone is a debug message and the next request.
    """
    dice = random.Random()  # noqa: S311 - decides nothing but which page is looked at
    async with httpx.AsyncClient(timeout=5, trust_env=False) as client:
        while not stop.is_set():
            await _visit(client, base_url, next_visit(dice), dice.choice(ACCOUNTS))
            try:
                await asyncio.wait_for(stop.wait(), dice.uniform(*PAUSE))
            except TimeoutError:
                continue


async def _visit(client: httpx.AsyncClient, base_url: str, visit: Visit, account: str) -> None:
    headers = {"X-Account": account}
    if visit.guarded:
        headers["X-Token"] = token()
    try:
        await client.request(
            visit.method,
            base_url.rstrip("/") + visit.path,
            headers=headers,
            json=visit.json,
            params=visit.params,
        )
    except Exception as error:  # noqa: BLE001 - whatever it is, the demo goes on
        logger.debug("%s %s: %r", visit.method, visit.path, error)
