"""Customers who look at their orders' totals: the traffic of `gateway demo --story`."""

from __future__ import annotations

import asyncio
import random
from dataclasses import dataclass

import httpx

from gateway.demo.shop.orders import ORDERS

#: Requests under way at a time, and the seconds between two of each: some 150 requests per second.
_AT_ONCE = 6
_PAUSE = 0.035
#: Accounts, so many that five percent of them are still a crowd.
_ACCOUNTS = 2000


@dataclass(slots=True)
class Seen:
    """What customers have met since they were last asked."""

    legacy: int = 0
    native: int = 0
    failed: int = 0

    @property
    def requests(self) -> int:
        """How many answers there were."""
        return self.legacy + self.native


class Customers:
    """They ask as long as `ask` runs."""

    def __init__(self, url: str) -> None:
        self.seen = Seen()
        """Since `take` was last called."""
        self._url = url
        self._dice = random.Random()  # noqa: S311 - decides nothing but who looks at what

    def take(self) -> Seen:
        """Return what was seen since the last call, and begin anew."""
        seen, self.seen = self.seen, Seen()
        return seen

    async def ask(self) -> None:
        """Ask for ever; ended by cancelling. What gets no answer counts as failed."""
        async with (
            httpx.AsyncClient(base_url=self._url, timeout=10, trust_env=False) as client,
            asyncio.TaskGroup() as group,
        ):
            for _ in range(_AT_ONCE):
                group.create_task(self._one(client))

    async def _one(self, client: httpx.AsyncClient) -> None:
        while True:
            account = f"account-{self._dice.randrange(_ACCOUNTS)}"
            number = self._dice.randint(1, ORDERS)
            try:
                answer = await client.get(f"/orders/{number}/total", headers={"X-Account": account})
            except httpx.TransportError:
                self.seen.failed += 1
                await asyncio.sleep(_PAUSE)
                continue
            if answer.headers.get("x-served-by") == "native":
                self.seen.native += 1
            else:
                self.seen.legacy += 1
            self.seen.failed += answer.is_server_error
            await asyncio.sleep(_PAUSE)
