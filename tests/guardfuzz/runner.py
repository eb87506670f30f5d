"""Worlds brought to life, requests sent to both sides, and what came of it."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import time
import warnings
from dataclasses import dataclass, field
from random import Random
from typing import TYPE_CHECKING

from gateway import ConfigError, Gateway
from tests.guardfuzz import legacy, native
from tests.guardfuzz.oracle import MOVED, Failure, Oracle, Seen, watch
from tests.guardfuzz.requests import SECRET, Requests
from tests.guardfuzz.wire import PATIENCE, Parser, Server, running
from tests.guardfuzz.world import fits
from tests.guardfuzz.worlds import make

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator

    from flask import Flask

    from gateway.cutover import Decision
    from gateway.observe import Exchange
    from tests.guardfuzz.wire import Answer
    from tests.guardfuzz.world import Guard, Request, View, World

#: How many requests a world is sent.
PER_WORLD = 500
_LOUD = ("gateway", "legacy", "uvicorn", "uvicorn.error", "asyncio", "flask_wtf")


@dataclass(slots=True)
class Tally:
    """What a run has seen. Shares are of `requests`."""

    requests: int = 0
    worlds: int = 0
    rejected: int = 0
    """Worlds whose config the gateway refuses."""
    hits: int = 0
    """Requests that Flask matches to a guarded view whose route has moved."""
    refused: int = 0
    """Of those, the ones that a guard turned away."""
    ran: int = 0
    """Requests for which a native handler ran."""
    errors: int = 0
    """Requests that got a 500, and none from bare Flask."""
    unended: int = 0
    """Requests whose end never came: they aren't judged."""
    seconds: float = 0.0
    found: list[Found] = field(default_factory=list)
    problems: dict[str, int] = field(default_factory=dict)
    """Why worlds were rejected, by code."""
    broken: dict[str, str] = field(default_factory=dict)
    """One example of each kind of error."""


@dataclass(frozen=True, slots=True)
class Found:
    """A failure, and all that it takes to see it again."""

    seed: int
    number: int
    parser: Parser
    world: World
    request: Request
    failure: Failure

    def text(self) -> str:
        """Render it for people."""
        return (
            f"{self.failure.kind}: {self.failure.text}\n"
            f"again: python -m tests.guardfuzz --seed {self.seed} --only {self.number} "
            f"--parser {self.parser}\n{self.world.text()}request\n  {self.request.raw!r}\n"
        )


@dataclass(slots=True)
class Stage:
    """A world that runs: the gateway, bare Flask, and bare Flask without its guards."""

    world: World
    oracle: Oracle
    ledger: native.Ledger
    exchanges: list[Exchange]
    seen: list[Seen]
    open_seen: list[Seen]
    moved: Server
    bare: Server
    stripped: Server

    async def ask(self, request: Request, number: str, patience: float) -> _Case:
        """Send one request to the gateway and to bare Flask."""
        raw = request.raw
        self.ledger.current = number
        self.seen.clear()
        self.exchanges.clear()
        self.ledger.entered.clear()
        bare = await self.bare.send(raw, patience)
        answer = await self.moved.send(raw, patience)
        told = [exchange.decision for exchange in self.exchanges]
        entered = bool(self.ledger.entered) if self.world.watched else None
        return _Case(number, request, list(self.seen), bare, answer, told, entered)

    async def judge(self, case: _Case, patience: float) -> list[Failure]:
        """Hold what ran for a request against what bare Flask did.

        Of a request that never ends nothing is known: bare Flask waits for the rest of its body.
        """
        if not case.bare.whole:
            return []
        ran = self.ledger.ran.get(case.number, [])
        stripped = None
        if self.oracle.needs_stripped(ran):
            self.open_seen.clear()
            await self.stripped.send(case.request.raw, patience)
            stripped = list(self.open_seen)
        failures = self.oracle.judge(ran, case.seen, stripped)
        failures += self.oracle.judge_views(case.answer.raw, case.request.raw)
        if len(case.told) == 1:
            failures += self.oracle.believe(case.told[0], case.seen, entered=case.entered)
        return failures


@dataclass(frozen=True, slots=True)
class _Case:
    number: str
    request: Request
    seen: list[Seen]
    bare: Answer
    answer: Answer
    told: list[Decision]
    entered: bool | None


@contextlib.asynccontextmanager
async def staged(world: World, parser: Parser) -> AsyncIterator[Stage]:
    """Bring a world to life. Raises ConfigError or RuntimeError where the gateway refuses it."""
    ledger = native.Ledger()
    exchanges: list[Exchange] = []
    seen: list[Seen] = []
    open_seen: list[Seen] = []
    gateway = Gateway(
        legacy.build(world),
        native.build(world, ledger),
        world.config(),
        observers=[exchanges.append],
    )
    bare = Gateway(_watched(world, seen, guarded=True), config=_plain(world))
    stripped = Gateway(_watched(world, open_seen, guarded=False), config=_plain(world))
    proxy = world.proxy_headers
    async with running(gateway), running(bare), running(stripped):
        yield Stage(
            world,
            Oracle(world),
            ledger,
            exchanges,
            seen,
            open_seen,
            Server(gateway, parser, proxy_headers=proxy),
            Server(bare, parser, proxy_headers=proxy),
            Server(stripped, parser, proxy_headers=proxy),
        )


def _watched(world: World, seen: list[Seen], *, guarded: bool) -> Flask:
    app = legacy.build(world, guarded=guarded)
    watch(app, seen)
    return app


def _plain(world: World) -> dict[str, object]:
    body = "stream" if world.stream else "spool"
    return {"version": 1, "legacy": {"threads": 4, "body": body}}


# -- runs ----------------------------------------------------------------------------------------


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Keep the apps' and the gateway's log lines away; set what the worlds' configs ask for."""
    levels = {name: logging.getLogger(name).level for name in _LOUD}
    before = os.environ.get("GUARDFUZZ_SECRET")
    os.environ["GUARDFUZZ_SECRET"] = SECRET
    for name in _LOUD:
        logging.getLogger(name).setLevel(logging.CRITICAL + 1)
    try:
        with warnings.catch_warnings():
            # Werkzeug warns of each strange host; as an error it would change Flask's answer.
            warnings.simplefilter("ignore")
            yield
    finally:
        for name, level in levels.items():
            logging.getLogger(name).setLevel(level)
        if before is None:
            del os.environ["GUARDFUZZ_SECRET"]
        else:
            os.environ["GUARDFUZZ_SECRET"] = before


def request_of(world: World, seed: int, number: int) -> Request:
    """Make the request with a number once more."""
    return Requests(world).make(Random(f"{seed}:{number}"), str(number))


def world_of(seed: int, number: int) -> World:
    """Make the world of a request once more."""
    return make(f"{seed}:{number // PER_WORLD}")


async def run_world(seed: int, index: int, parser: Parser, tally: Tally) -> None:
    """Send a world its requests, and add what came of it to `tally`."""
    world = make(f"{seed}:{index}")
    started = time.perf_counter()
    try:
        async with staged(world, parser) as stage:
            await _run(stage, seed, index, parser, tally)
        tally.worlds += 1
    except (ConfigError, RuntimeError) as error:
        tally.rejected += 1
        problems = error.problems if isinstance(error, ConfigError) else ()
        for code in {p.code for p in problems if not p.warning} or {str(error)[:60]}:
            tally.problems[code] = tally.problems.get(code, 0) + 1
    tally.seconds += time.perf_counter() - started


async def _run(stage: Stage, seed: int, index: int, parser: Parser, tally: Tally) -> None:
    maker = Requests(stage.world)
    guarded = _guarded(stage.world)
    cases: list[_Case] = []
    for number in range(index * PER_WORLD, (index + 1) * PER_WORLD):
        request = maker.make(Random(f"{seed}:{number}"), str(number))
        cases.append(await stage.ask(request, str(number), PATIENCE))
    if any(rule.get("cutover") in ("shadow", "live") for rule in stage.world.rules):
        await asyncio.sleep(0.05)  # mirrors come after the answer
    for case in cases:
        ran = stage.ledger.ran.get(case.number, [])
        tally.requests += 1
        tally.ran += bool(ran)
        hit = any(seen.endpoint in guarded for seen in case.seen)
        tally.hits += hit
        tally.refused += hit and not any(seen.dispatched for seen in case.seen)
        tally.unended += not case.bare.whole
        if case.answer.status >= 500 > case.bare.status:
            tally.errors += 1
            kind = f"{case.answer.status} for {case.bare.status}"
            tally.broken.setdefault(kind, f"--seed {seed} --only {case.number} --parser {parser}")
        for failure in await stage.judge(case, PATIENCE):
            world = stage.world
            found = Found(seed, int(case.number), parser, world, case.request, failure)
            tally.found.append(found)


async def again(world: World, request: Request, parser: Parser, number: int) -> list[Failure]:
    """Send one request to a fresh world, with more patience."""
    async with staged(world, parser) as stage:
        case = await stage.ask(request, str(number), PATIENCE * 5)
        if any(rule.get("cutover") == "shadow" for rule in world.rules):
            await asyncio.sleep(0.05)
        return await stage.judge(case, PATIENCE * 5)


def _guarded(world: World) -> frozenset[str]:
    """Name the views that have a guard in front of them and a native handler in their place."""
    moved = [
        handler
        for handler in world.handlers
        if (rule := world.rule_of(handler.name)) is not None and rule.get("cutover") in MOVED
    ]
    return frozenset(
        view.endpoint
        for view in world.views
        if any(h.key == view.key or fits(view.template, h.template) for h in moved)
        and (
            world.csrf
            or any(layer.kind == "token" for layer in world.layers)
            or any(_applies(guard, view) for guard in world.guards)
        )
    )


def _applies(guard: Guard, view: View) -> bool:
    if guard.place == "blueprint":
        return f"{view.blueprint}.".startswith(f"{guard.blueprint}.")
    return view.template.startswith(guard.about) or view.endpoint.startswith(guard.about)


async def run(
    seed: int,
    parsers: tuple[Parser, ...],
    goes_on: Callable[[dict[Parser, Tally]], bool],
    tallies: dict[Parser, Tally],
) -> None:
    """Run world after world on each parser while `goes_on` says so."""
    index = 0
    while goes_on(tallies):
        for parser in parsers:
            await run_world(seed, index, parser, tallies[parser])
        index += 1
