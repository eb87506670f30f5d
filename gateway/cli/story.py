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
from gateway.demo.orders_traffic import Customers, Seen
from gateway.loading import load_mapping

if TYPE_CHECKING:
    import socket
    from collections.abc import Awaitable, Callable, Mapping

_NAME = "order-total"
_TOKEN_ENV = "GATEWAY_STORY_TOKEN"  # noqa: S105 - a variable's name
_MENDED_ENV = "GATEWAY_DEMO_MENDED"
#: In seconds what takes hours elsewhere.
_GUARDRAIL = {"success_rate": 99, "steps": [5, 25, 100], "min_requests": 20, "interval": "2s"}
_CONFIG = {
    "version": 1,
    "legacy": {"app": "gateway.demo.legacy:create_app()"},
    "native": {"app": "gateway.demo.native:app"},
    "defaults": {"sticky": ["header:X-Account"]},
    "admin": {"token_env": _TOKEN_ENV},
    "served_by": True,
    "routes": [
        {
            "name": _NAME,
            "path": "/orders/<int:order_id>/total",
            "cutover": "legacy",
            "hooks": "skip",
            "auth": "none",
            "guardrail": _GUARDRAIL,
        }
    ],
}

_READ = 3.0  # seconds to read a paragraph
_PATIENCE = 60.0  # seconds that anything may take on a busy machine
_LOOK = 0.1  # seconds between two looks
_BAR = 20
#: Comparisons, requests and failures that are enough to tell.
_COMPARED = 100
_ASKED = 100
_FAILURES = 3


class _StuckError(Exception):
    """What the story waits for doesn't come."""


def tell_story(listener: socket.socket) -> None:
    """Play the story on `listener`, in about a minute. Exits with 1 where it can't go on."""
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
            if not telling.done():
                raise _StuckError("the server has ended")
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
        await self._asked()
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
        _say("At least the rule has a guardrail. Its figures are small, the story is a short one:")
        _quote(f"guardrail: {_written(_GUARDRAIL)}")
        self._customers.take()
        await self._set("canary", 5)
        _say("One client in twenty is on FastAPI now.")
        await self._until(self._has_failed, "no client met the bug")
        seen = self._customers.seen
        _say(f"Clients: {seen.native} requests served by FastAPI, {_errors(seen.failed)}.")

    async def _rolled_back(self) -> None:
        _chapter(4, "The guardrail rolls back")
        _say("Nobody does anything.")
        entry = await self._rollback()
        _say(f"In all {_errors(self._customers.take().failed)}, then this in `gateway audit`:")
        _quote(
            f"{entry['action']} {entry['route']}: {entry['before']} -> {entry['after']}, "
            f"by {entry['author']}"
        )
        _quote(entry["reason"])
        await self._asked()
        self._show_customers()
        _say("It stays on Flask until somebody clears the rollback.")
        await asyncio.sleep(2 * _READ)

    async def _mended(self) -> None:
        _chapter(5, "Mended, and moved")
        _say("The handler is mended. The comparison has the first word.")
        os.environ[_MENDED_ENV] = "1"
        await self._post("/clear", reason="mended")
        _command(f"gateway clear {_NAME}")
        await self._set("shadow")
        found = await self._compared(_COMPARED)
        _show_verdicts(found)
        if found["different"]:
            raise _StuckError("the mended handler differs from legacy")
        await asyncio.sleep(_READ)
        self._customers.take()
        await self._set("canary", 5)
        _say("From here on the guardrail walks by itself.")
        await self._walk()
        _say("Not one error, and nobody has changed a line of the Flask app.")
        await asyncio.sleep(_READ)

    # -- what chapters need -------------------------------------------------------------------

    async def _has_failed(self) -> bool:
        return self._customers.seen.failed >= _FAILURES or bool(await self._moves("rollback"))

    async def _rollback(self) -> dict[str, Any]:
        async def rolled_back() -> bool:
            return bool(await self._moves("rollback"))

        await self._until(rolled_back, "the guardrail has not rolled back")
        return (await self._moves("rollback"))[0]

    async def _walk(self) -> None:
        """Show each step when the guardrail has ended it."""
        known, step = len(await self._moves()), "canary 5%"

        async def moved() -> bool:
            return len(await self._moves()) > known

        while step != "complete":
            await self._until(moved, f"the guardrail stays at {step}")
            _show_step(step, self._customers.take())
            entry = (await self._moves())[known]
            known += 1
            if entry["action"] == "rollback":
                raise _StuckError(f"the mended handler was {entry['reason']}")
            step = entry["after"] if entry["action"] == "set" else entry["action"]

    async def _moves(self, *actions: str) -> list[dict[str, Any]]:
        """Return what the guardrail has done, the oldest first: all, or what these are."""
        entries = (await self._get(f"/audit?route={_NAME}"))["entries"]
        return [
            each
            for each in reversed(entries)
            if each["author"] == "guardrail" and (not actions or each["action"] in actions)
        ]

    async def _asked(self) -> None:
        """Let customers come and ask."""
        self._customers.take()

        async def enough() -> bool:
            return self._customers.seen.requests >= _ASKED

        await self._until(enough, "no customers came")

    def _show_customers(self) -> None:
        seen = self._customers.take()
        _say(
            f"Clients: {seen.requests} requests, {seen.legacy} served by Flask and {seen.native} "
            f"by FastAPI, {_errors(seen.failed)}."
        )

    def _show_differences(self) -> None:
        # Kept in the store, which is in memory here; what came last may not be there yet.
        kept = self._gateway.control.store.documents("diffs")
        samples = {**kept, **self._gateway.mirrors.verdicts.take_samples()}
        for sample in samples.values():
            for each in sample["differences"]:
                _quote(
                    f"{sample['method']} {sample['path']}  {each['path']}: "
                    f"legacy {each['legacy']}, native {each['native']}"
                )

    async def _compared(self, number: int) -> Counter[str]:
        """Wait for so many comparisons from now on; return their verdicts."""
        before = self._verdicts()

        async def enough() -> bool:
            return (self._verdicts() - before).total() >= number

        await self._until(enough, "nothing was compared")
        return self._verdicts() - before

    def _verdicts(self) -> Counter[str]:
        tried = self._gateway.mirrors.verdicts.tried.values()
        return sum((each.verdicts for each in tried), Counter())

    async def _set(self, cutover: str, weight: float | None = None) -> None:
        await self._post("/overrides", cutover=cutover, weight=weight)
        _command(f"gateway set {_NAME} {cutover}{f' --weight {weight}' if weight else ''}")

    async def _post(self, page: str, **body: Any) -> None:
        answer = await self._api.post(page, json={"route": _NAME, "author": "you", **body})
        if answer.is_error:
            raise _StuckError(f"{page} was refused: {answer.text}")

    async def _get(self, page: str) -> Any:
        answer = await self._api.get(page)
        answer.raise_for_status()
        return answer.json()

    async def _until(self, condition: Callable[[], Awaitable[bool]], otherwise: str) -> None:
        end = time.monotonic() + _PATIENCE
        while not await condition():
            if time.monotonic() > end:
                raise _StuckError(f"{otherwise} for {_PATIENCE:g} s")
            await asyncio.sleep(_LOOK)


def _what_next() -> None:
    _chapter(6, "What to read next")
    _say("config/gateway.yaml explains every line of a move; `gateway demo` serves that shop.")
    _say("gateway/demo/native/routers/orders.py has the bug, README.md how to move your app.")


def _show_verdicts(found: Counter[str]) -> None:
    _say(f"{found.total()} comparisons: {found['equal']} equal, {found['different']} different.")


def _show_step(name: str, seen: Seen) -> None:
    filled = round(_BAR * seen.native / max(1, seen.requests))
    bar = Text("█" * filled, "green").append("░" * (_BAR - filled), "cyan")
    share = f" native {seen.native} of {seen.requests}, {_errors(seen.failed)}"
    out.print(Text.assemble(f"  {name:<12} ", bar, share))


def _written(values: Mapping[str, Any]) -> str:
    return "{" + ", ".join(f"{key}: {value}" for key, value in values.items()) + "}"


def _errors(number: int) -> str:
    return "no errors" if not number else "1 error" if number == 1 else f"{number} errors"


def _chapter(number: int, title: str) -> None:
    out.print()
    out.print(cell(f"{number}. {title}", "bold"))


def _say(text: str) -> None:
    _indented(cell(text), 2)


def _command(text: str) -> None:
    out.print(cell(f"  $ {text}", "yellow"))


def _quote(text: str) -> None:
    _indented(cell(text, "magenta"), 4)


def _indented(text: Text, columns: int) -> None:
    """Print with a margin that the second line has, too."""
    for line in text.wrap(out, max(20, out.width - columns)):
        line.rstrip()
        out.print(Text(" " * columns) + line)
