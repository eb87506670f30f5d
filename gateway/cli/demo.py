"""`gateway demo`: the demo behind a real server, with a live view of who serves what."""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
import shutil
import sys
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from gateway.app import Gateway
from gateway.cli.hosted import hosted, url_of
from gateway.cli.output import cell, out
from gateway.demo.traffic import traffic as send_traffic
from gateway.loading import load
from gateway.routing import Backend

if TYPE_CHECKING:
    import socket

    from gateway.observe import Exchange

_BAR = 10
_REFRESH = 0.5  # seconds


@dataclass(slots=True)
class _Tally:
    """What has been seen of one route."""

    legacy: int = 0
    native: int = 0
    failed: int = 0
    seconds: dict[Backend, float] = field(default_factory=lambda: defaultdict(float))


class _Board:
    """Counts exchanges per route and draws them."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._tallies: dict[tuple[str, str], _Tally] = defaultdict(_Tally)

    def __call__(self, exchange: Exchange) -> None:
        route = exchange.match.route
        name = route.id if route is not None else f"({exchange.decision.reason})"
        cutover: str = route.cutover if route is not None else ""
        if route is not None and route.cutover == "canary":
            cutover = f"canary {route.threshold / 100:g}%"
        tally = self._tallies[name, cutover]
        if exchange.decision.backend is Backend.NATIVE:
            tally.native += 1
        else:
            tally.legacy += 1
        tally.failed += exchange.status >= 500  # noqa: PLR2004 - server errors
        tally.seconds[exchange.decision.backend] += exchange.duration

    def __rich__(self) -> Group:
        table = Table(box=None, pad_edge=False, header_style="bold")
        table.add_column("ROUTE", no_wrap=True)
        for column in ("CUTOVER", "LEGACY", "NATIVE", "SHARE", "ms LEGACY", "ms NATIVE", "5xx"):
            table.add_column(column, no_wrap=True)
        for (name, cutover), tally in sorted(self._tallies.items()):
            total = tally.legacy + tally.native
            filled = round(_BAR * tally.native / total) if total else 0
            bar = Text("█" * filled, "green").append("█" * (_BAR - filled), "cyan")
            table.add_row(
                Text(name),
                cutover,
                str(tally.legacy),
                str(tally.native),
                bar,
                _mean(tally, Backend.LEGACY, tally.legacy),
                _mean(tally, Backend.NATIVE, tally.native),
                str(tally.failed),
            )
        head = Text.assemble(
            (f"{self._url}  ", "bold"),
            ("legacy (Flask) ", "cyan"),
            ("native (FastAPI)", "green"),
            "   Ctrl-C ends it",
        )
        return Group(head, Text(), table)


def _mean(tally: _Tally, side: Backend, count: int) -> str:
    return f"{1000 * tally.seconds[side] / count:.1f}" if count else ""


def _facts(config: Path, url: str) -> list[str]:
    """Return where the demo is and how to steer it, a line each.

    Makes an admin token where the config wants one and nobody has set it; only such a one is shown.
    """
    facts = [f"gateway demo at {url}"]
    variable = load(config).config.admin.token_env
    if variable is None:
        return facts
    watch = f"{_command()} status --watch --url {url}"
    steer = f"steer it from another shell: export GATEWAY_URL={url}"
    if os.environ.get(variable):
        return [*facts, f"watch it, with your {variable}: {watch}", steer]
    token = os.environ[variable] = secrets.token_urlsafe(18)
    watch = f"watch it: {variable}={token} {watch}"
    return [*facts, f"admin token: {token}", watch, f"{steer} {variable}={token}"]


def _command() -> str:
    """Return how another shell calls this command."""
    beside = Path(sys.executable).with_name("gateway")
    if shutil.which("gateway") is not None or not beside.exists():
        return "gateway"
    return os.path.relpath(beside) if beside.is_relative_to(Path.cwd()) else str(beside)


def run_demo(
    listener: socket.socket, config: Path | None, *, traffic: bool, seconds: float
) -> None:
    """Serve the demo on `listener` until Ctrl-C, or for `seconds`."""
    url = url_of(listener)
    board = _Board(url)
    path = config if config is not None else Path("config/gateway.yaml")
    facts = _facts(path, url)
    gateway = Gateway(config=path, observers=[board])
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(_serve(gateway, listener, board, facts, seconds, traffic))


async def _serve(
    gateway: Gateway,
    listener: socket.socket,
    board: _Board,
    facts: list[str],
    seconds: float,
    traffic: bool,
) -> None:
    stop = asyncio.Event()
    async with hosted(gateway, listener) as serving:
        sending = asyncio.create_task(send_traffic(url_of(listener), stop)) if traffic else None
        for fact in facts:
            out.print(cell(fact))  # the terminal wraps it, so that it can be copied as one line
        loop = asyncio.get_running_loop()
        end = loop.time() + seconds if seconds else float("inf")
        with Live(board, console=out, refresh_per_second=1 / _REFRESH) as live:
            while not serving.done() and loop.time() < end:
                await asyncio.sleep(_REFRESH)
                live.refresh()
        stop.set()
        if sending is not None:
            await sending
