"""`gateway demo --story`: one route's move, played on a real server with real traffic.

Everything is done by what a user has, too: the admin pages for changes and the audit trail, the
comparisons for what was found. The configuration is the story's own, and nothing is left behind.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import secrets
import time
from collections import Counter
from typing import TYPE_CHECKING, Any

import httpx
from rich.text import Text

from gateway.app import Gateway
from gateway.cli.hosted import hosted, url_of
from gateway.cli.output import cell, fail, out
from gateway.demo.orders_traffic import Customers
from gateway.loading import load_mapping

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable

_NAME = "order-total"
_TOKEN_ENV = "GATEWAY_STORY_TOKEN"  # noqa: S105 - a variable's name
_MENDED_ENV = "GATEWAY_DEMO_MENDED"
_CONFIG = {
    "version": 1,
    "legacy": {"app": "gateway.demo.legacy:create_app()"},
    "native": {"app": "gateway.demo.native:app"},
    "defaults": {"sticky": ["header:X-Account"]},
    "admin": {"token_env": _TOKEN_ENV},
    "served_by": True,
    "routes": [
        {"name": _NAME, "path": "/orders/<int:order_id>/total", "cutover": "legacy"} |
        {"hooks": "skip", "auth": "none"}
    ],
}  # fmt: skip

_READ = 2.5  # seconds to read a paragraph
_PATIENCE = 40.0  # seconds that anything may take on a busy machine
_LOOK = 0.1  # seconds between two looks
_BAR = 20
#: Comparisons, requests and failures that are enough to tell.
_COMPARED = 60
_ASKED = 100
_FAILURES = 3
_STEPS = (5, 25, 100)


class _StuckError(Exception):
    """What the story waits for doesn't come."""


def tell_story(listener: socket.socket) -> None:
    """Play the story on `listener`; about a minute. Exits with 1 where it can't go on."""
    os.environ.pop(_MENDED_ENV, None)
    os.environ[_TOKEN_ENV] = secrets.token_urlsafe(18)
    # What the log says of the failures that are the story is told by the story.
    logging.disable(logging.CRITICAL)
    gateway = Gateway(config=load_mapping(_CONFIG, {}), verify_lock=False)
    try:
        with contextlib.suppress(KeyboardInterrupt):
            asyncio.run(_play(gateway, listener))
    except (_StuckError, TimeoutError, httpx.HTTPError) as error:
        fail(f"the story can't go on: {str(error) or 'the server does not answer'}", 1)


async def _play(gateway: Gateway, listener: socket.socket) -> None:
    url = url_of(listener)
    headers = {"Authorization": f"Bearer {os.environ[_TOKEN_ENV]}"}
    async with (
        hosted(gateway, listener) as serving,
        httpx.AsyncClient(base_url=f"{url}/-", headers=headers, timeout=20, trust_env=False) as api,
    ):
        customers = Customers(url)
        asking = asyncio.create_task(customers.ask())
        telling = asyncio.create_task(_Story(gateway, api, customers).tell())
        try:
            await asyncio.wait({serving, asking, telling}, return_when=asyncio.FIRST_COMPLETED)
            for task in (telling, asking):
                if task.done():
                    await task
        finally:
            for task in (telling, asking):
                task.cancel()
            await asyncio.gather(telling, asking, return_exceptions=True)


class _Story:
    """The chapters, one after the other."""

    def __init__(self, gateway: Gateway, api: httpx.AsyncClient, customers: Customers) -> None:
        self._gateway, self._api, self._customers = gateway, api, customers

    async def tell(self) -> None:
        """Tell all of it."""
        await self._everything_on_flask()
        await self._shadow_finds_the_bug()
        await self._moved_all_the_same()
        await self._rolled_back()
        await self._mended()
        _what_next()

    # -- chapters -----------------------------------------------------------------------------

    async def _everything_on_flask(self) -> None:
        _chapter(1, "Everything on Flask")
        _say("A shop has run on Flask for years. One page adds up an order: GET /orders/7/total.")
        _say("Its FastAPI successor is written. No line moves it yet, so that Flask answers.")
        self._customers.take()
        await self._until(lambda: self._customers.seen.requests >= _ASKED, "no customers came")
        self._show_customers()
        await asyncio.sleep(_READ)

    async def _shadow_finds_the_bug(self) -> None:
        _chapter(2, "shadow: the comparison finds the bug")
        await self._set("shadow")
        _say("Flask still answers. FastAPI is asked as well, afterwards, and both are compared.")
        self._customers.take()
        found = await self._compared(_COMPARED)
        _say(
            f"{found.total()} comparisons: {found['equal']} equal, {found['different']} different."
        )
        self._show_differences()
        self._show_customers()
        _say("Nobody saw any of it: the clients got Flask's answers.")
        await asyncio.sleep(2 * _READ)

    async def _moved_all_the_same(self) -> None:
        _chapter(3, "Somebody moves it anyway")
        await self._set("canary", 5)
        self._customers.take()
        await self._until(lambda: self._customers.seen.failed >= _FAILURES, "no client met the bug")
        self._show_customers()
        _say("One client in twenty is on FastAPI now, and meets its errors.")
        await asyncio.sleep(_READ)

    async def _rolled_back(self) -> None:
        _chapter(4, "Rolled back")
        await self._post("/rollback", reason="5xx on empty orders", author="you")
        _command(f"gateway rollback {_NAME} --reason '5xx on empty orders'")
        entries = (await self._get("/audit?limit=1"))["entries"]
        for entry in entries:
            _quote(
                f"audit: {entry['action']} {entry['route']}: {entry['before']} -> "
                f"{entry['after']}, by {entry['author']}: {entry['reason']}"
            )
        self._customers.take()
        await self._until(lambda: self._customers.seen.requests >= _ASKED, "no customers came")
        self._show_customers()
        _say("It stays on Flask until somebody clears the rollback.")
        await asyncio.sleep(_READ)

    async def _mended(self) -> None:
        _chapter(5, "Mended, and moved")
        os.environ[_MENDED_ENV] = "1"
        await self._post("/clear", author="you", reason="mended")
        _command(f"gateway clear {_NAME}")
        await self._set("shadow")
        found = await self._compared(_COMPARED)
        _say(
            f"{found.total()} comparisons: {found['equal']} equal, {found['different']} different."
        )
        if found["different"]:
            raise _StuckError("the mended handler differs from legacy")
        await asyncio.sleep(_READ)
        for weight in _STEPS:
            await self._set("canary", weight)
            await self._step(f"canary {weight}%")
        await self._set("native")
        await self._step("native")
        _say("Not one error, and nobody has changed a line of the Flask app.")
        await asyncio.sleep(_READ)

    # -- what chapters need -------------------------------------------------------------------

    async def _step(self, name: str) -> None:
        self._customers.take()
        await self._until(lambda: self._customers.seen.requests >= _ASKED, "no customers came")
        seen = self._customers.take()
        filled = round(_BAR * seen.native / seen.requests)
        bar = Text("█" * filled, "green").append("░" * (_BAR - filled), "cyan")
        out.print(
            Text.assemble(
                f"  {name:<12} ",
                bar,
                f" native {seen.native} of {seen.requests}, {_errors(seen.failed)}",
            )
        )

    def _show_customers(self) -> None:
        seen = self._customers.take()
        _say(
            f"Clients: {seen.requests} requests, {seen.legacy} served by Flask and {seen.native} "
            f"by FastAPI, {_errors(seen.failed)}."
        )

    def _show_differences(self) -> None:
        samples = self._gateway.mirrors.verdicts.take_samples()
        for sample in samples.values():
            for each in sample["differences"]:
                _quote(
                    f"{sample['method']} {sample['path']}  {each['path']}: "
                    f"legacy {each['legacy']}, native {each['native']}"
                )

    async def _compared(self, number: int) -> Counter[str]:
        """Wait for so many comparisons from now on; return their verdicts."""
        before = self._verdicts()
        await self._until(
            lambda: (self._verdicts() - before).total() >= number, "nothing was compared"
        )
        return self._verdicts() - before

    def _verdicts(self) -> Counter[str]:
        tried = self._gateway.mirrors.verdicts.tried.values()
        return sum((each.verdicts for each in tried), Counter())

    async def _set(self, cutover: str, weight: float | None = None) -> None:
        await self._post("/overrides", cutover=cutover, weight=weight, author="you")
        _command(f"gateway set {_NAME} {cutover}{f' --weight {weight}' if weight else ''}")

    async def _post(self, page: str, **body: Any) -> None:
        answer = await self._api.post(page, json={"route": _NAME, **body})
        if answer.is_error:
            raise _StuckError(f"{page} was refused: {answer.text}")

    async def _get(self, page: str) -> Any:
        answer = await self._api.get(page)
        answer.raise_for_status()
        return answer.json()

    async def _until(self, condition: Callable[[], bool], otherwise: str) -> None:
        end = time.monotonic() + _PATIENCE
        while not condition():
            if time.monotonic() > end:
                raise _StuckError(f"{otherwise} for {_PATIENCE:g} s")
            await asyncio.sleep(_LOOK)


def _what_next() -> None:
    _chapter(6, "What to read next")
    _say("config/gateway.yaml explains every line of a move; `gateway demo` serves that shop.")
    _say("gateway/demo/native/routers/orders.py has the bug, README.md how to move your app.")


def _errors(number: int) -> str:
    return "no errors" if not number else "1 error" if number == 1 else f"{number} errors"


def _chapter(number: int, title: str) -> None:
    out.print()
    out.print(cell(f"{number}. {title}", "bold"))


def _say(text: str) -> None:
    out.print(cell(f"  {text}"))


def _command(text: str) -> None:
    out.print(cell(f"  $ {text}", "yellow"))


def _quote(text: str) -> None:
    out.print(cell(f"    {text}", "magenta"))
