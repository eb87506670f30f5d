"""Asks both apps in this process: legacy as bare Flask, native as clients get it after the move."""

from __future__ import annotations

import asyncio
import inspect
import os
import re
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, cast, get_args

from flask import Flask, request
from pydantic import ValidationError

from gateway.app import Gateway
from gateway.config import (
    AcceptedCode,
    AdminConfig,
    CircuitConfig,
    Config,
    FailoverConfig,
    ObserveConfig,
    RuleConfig,
)
from gateway.exceptions import ConfigError, GatewayError
from gateway.flask.login_pages import login_pages
from gateway.legacy import Bridge, Pool
from gateway.lifespan import NestedLifespan
from gateway.migrate.prove.cases import Apps, Credentials, offered
from gateway.migrate.prove.client import FIRST_SECONDS, ask
from gateway.migrate.prove.judging import Answered, Cell, failed
from gateway.migrate.prove.planning import request_for
from gateway.migrate.prove.raised import Raised, told
from gateway.refusals import Refusal, refused, speaks_of_csrf
from gateway.routing import AUTOMATIC, REASONS, Backend, Coverage, Reason
from gateway.shadow.writes import Undo

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping

    from starlette.types import Receive, Scope, Send

    from gateway.loading import Loaded
    from gateway.migrate.prove.cases import Cases, Side
    from gateway.migrate.prove.client import Received
    from gateway.migrate.prove.fence import Fence
    from gateway.migrate.prove.planning import Request, Target
    from gateway.observe import Exchange
    from gateway.routing import Route, RouteTable

#: Where the legacy app finds what notes that its view was asked.
_REACHED_KEY = "gateway.prove.reached"
_NOTHING = Answered(0, Refusal.OTHER)
#: Somebody in front of the handler has answered.
_BEFORE = (Reason.HOOKS, Reason.GUARD)
_THREADS = 4
_RULE = re.compile(r"routes\[(\d+)\]")


class CannotStart(GatewayError):
    """The apps don't start: the message says why."""


def moved(loaded: Loaded, methods: Mapping[int, frozenset[str]]) -> Loaded:
    """Return a config in which rules are native, and nothing but that is done.

    `methods` are those that both apps have of each rule, by its index. A rule without any, and one
    that says nothing of `auth:`, is on legacy. What the analysis finds is accepted: the proof is to
    tell. There is no store, no mirror, no failover, and nobody picks a side.
    """
    whole = loaded.config
    defaults = whole.defaults.model_copy(
        update={"kill_switch": False, "failover": None, "circuit": None, "guardrail": None}
    )
    rules = (_moved(e, whole, methods.get(index)) for index, e in enumerate(whole.routes))
    config = whole.model_copy(
        update={
            "defaults": defaults,
            "tester": None,
            "admin": AdminConfig(prefix=whole.admin.prefix),
            "observe": ObserveConfig(),
            "state": None,
            # Where no file can be: what is accepted holds for all routes as long as there is none.
            "lock": f"{os.devnull}/none",
            "routes": tuple(rules),
        }
    )
    return replace(loaded, config=config, file=None, digest=None)


def _moved(rule: RuleConfig, config: Config, methods: frozenset[str] | None) -> RuleConfig:
    said = rule.auth is not None or config.defaults.auth is not None
    native = said and bool(methods)
    # A rule that names its routes may not name one that only legacy has.
    exact = rule.path is not None or rule.endpoint is not None
    return rule.model_copy(
        update={
            "cutover": "native" if native else "legacy",
            "methods": tuple(sorted(methods or ())) if native and exact else rule.methods,
            "weight": None,
            "sample": None,
            "guardrail": None,
            "writes": None,
            "failover": FailoverConfig(enabled=False),
            "circuit": CircuitConfig(enabled=False),
            "accept": dict.fromkeys(get_args(AcceptedCode), "gateway prove asks both sides"),
            "expires": None,
        }
    )


def _methods(table: RouteTable) -> dict[int, frozenset[str]]:
    """Return the methods that both apps have of each rule."""
    found: dict[int, frozenset[str]] = {}
    for route in table.routes:
        if route.rule is None or route.coverage is not Coverage.BOTH:
            continue
        if route.method not in AUTOMATIC:
            index = route.rule.index
            found[index] = found.get(index, frozenset()) | {route.method}
    return found


@dataclass(slots=True)
class Sides:
    """Both apps, started. `fence` tells what they tried to reach outside."""

    gateway: Gateway
    cases: Cases
    fence: Fence
    login: Collection[str]
    bridge: Bridge
    raised: Raised
    _seen: list[Exchange]
    stray: list[str] = field(default_factory=list)
    """What was blocked outside of any request: at the start, or on a thread of the apps' own."""
    _written: bool = False
    _apps: Apps = field(init=False)

    def __post_init__(self) -> None:
        self._apps = Apps(self.gateway.legacy, self.gateway.native)

    async def cell(self, target: Target, identity: str) -> Cell:
        """Ask one route as one identity on both sides."""
        if target.hindrance:
            return Cell(identity, None, None, target.hindrance)
        self.stray += self.fence.taken()
        try:
            legacy = await self._one("legacy", target, identity)
            native = await self._one("native", target, identity)
        except _NotAsked as error:
            return Cell(identity, None, None, str(error))
        return Cell(identity, legacy, native)

    async def _one(self, side: Side, target: Target, identity: str) -> Answered:
        try:
            await self._reset(target)
            wanted = await self._request(side, target, identity)
            send = self._legacy if side == "legacy" else self._native
            self.raised.taken()  # by a reset or a login
            if target.undoing == "rollback" and target.writes is not None:
                answer = await _undone(Undo.of(target.writes), send, wanted)
            else:
                answer = await send(wanted)
        finally:
            tried = self.fence.taken()
        if tried:
            return replace(answer, trouble=f"{', '.join(tried)} was blocked (--allow-host)")
        return answer

    async def _reset(self, target: Target) -> None:
        """Put the data back before a write, and before what is asked after one."""
        writes = target.undoing == "reset"
        if self.cases.reset is not None and (writes or self._written):
            await _called(self.cases.reset, "reset", apps=self._apps)
            self._written = writes

    async def _request(self, side: Side, target: Target, name: str) -> Request:
        identity = self.cases.config.identities[name]
        login, shown = self.cases.logins.get(name), None
        if login is not None:
            given = await _called(login, f"the login of {name}", side=side, apps=self._apps)
            try:
                shown = Credentials.model_validate(given)
            except ValidationError as error:
                first = error.errors()[0]
                where = ".".join(str(each) for each in first["loc"]) or "it"
                message = f"the login of {name} returned no credentials: {where}: {first['msg']}"
                raise _NotAsked(message) from None
        return request_for(target, identity, shown, host_of(target.route, self.gateway.legacy))

    async def _legacy(self, wanted: Request) -> Answered:
        reached: list[bool] = []

        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            extra = {_REACHED_KEY: reached}
            await self.bridge.serve(scope, receive, send, environ_extra=extra)

        received = await ask(app, wanted)
        known = isinstance(self.gateway.legacy, Flask)
        return self._answered(received, wanted, by_hook=known and not reached)

    async def _native(self, wanted: Request) -> Answered:
        self._seen.clear()
        received = await ask(self.gateway, wanted)
        if not self._seen:
            return replace(_NOTHING, trouble="the gateway told nothing of the request")
        decision = self._seen[-1].decision
        by_hook = decision.reason in _BEFORE
        asked = by_hook or decision.reason is Reason.USE_LEGACY
        if decision.backend is not Backend.NATIVE and not asked:
            why = REASONS[decision.reason]
            answer = self._answered(received, wanted, by_hook=False)
            return replace(answer, trouble=f"legacy answered in its place: {why}")
        return self._answered(received, wanted, by_hook=by_hook)

    def _answered(self, received: Received, wanted: Request, *, by_hook: bool) -> Answered:
        status, raised = received.status, self.raised.taken()
        if not status:
            error = received.error
            why = told(error) if error is not None else f"no answer in {FIRST_SECONDS:g} s"
            return replace(_NOTHING, trouble=why)
        refusal = refused(
            status,
            received.headers,
            login=self.login,
            by_hook=by_hook,
            body=received.body,
            path=wanted.path,
        )
        by_csrf = refusal is Refusal.REFUSED and speaks_of_csrf(received.body)
        return Answered(status, refusal, by_csrf, failed(status, by_hook, raised))


class _NotAsked(Exception):
    """A request couldn't be made; the message says why."""


async def _called(call: Callable[..., Any], what: str, **values: Any) -> Any:
    """Call one of the user's functions on a thread; await what it returns, if it can be."""
    try:
        result = await asyncio.to_thread(call, **offered(call, **values))
        return await result if inspect.isawaitable(result) else result
    except (Exception, SystemExit) as error:  # noqa: BLE001 - it is the user's own code
        raise _NotAsked(f"{what} raised {told(error)}") from None


async def _undone(
    undo: Undo, send: Callable[[Request], Awaitable[Answered]], wanted: Request
) -> Answered:
    """Send a request within what undoes its writes."""
    try:
        async with AsyncExitStack() as stack:
            await undo.enter(stack)
            return await send(wanted)
    except Exception as error:  # noqa: BLE001 - it is the user's own code; nothing else raises
        raise _NotAsked(f"writes.rollback raised {told(error)}") from None


@dataclass(frozen=True, slots=True)
class Made:
    """The gateway in which everything has moved, not started yet, and what it will tell of.

    `table` has the rules under the ids that they have in the file. `refused` are those that can't
    be moved, by their index, with the reason.
    """

    gateway: Gateway
    table: RouteTable
    refused: Mapping[int, str]
    seen: list[Exchange]


def make(loaded: Loaded) -> Made:
    """Import both apps and make the gateway in which everything has moved. Raises ConfigError."""
    unmoved = Gateway(config=moved(loaded, {}), verify_lock=False)
    seen: list[Exchange] = []
    methods = _methods(unmoved.table)
    refused: dict[int, str] = {}

    def attempt() -> Gateway:
        movable = {index: each for index, each in methods.items() if index not in refused}
        return Gateway(
            unmoved.legacy,
            unmoved.native,
            moved(loaded, movable),
            observers=[seen.append],
            verify_lock=False,
        )

    try:
        gateway = attempt()
    except ConfigError as error:
        refused = _refused(error)
        if not refused.keys() & methods.keys():
            raise
        gateway = attempt()
    return Made(gateway, unmoved.table, refused, seen)


def _refused(error: ConfigError) -> dict[int, str]:
    """Return the rules that have errors, by their index."""
    found: dict[int, str] = {}
    for problem in error.problems:
        rule = _RULE.match(problem.key)
        if rule is not None and not problem.warning:
            found.setdefault(int(rule[1]), problem.what)
    return found


@asynccontextmanager
async def running(made: Made, loaded: Loaded, cases: Cases, fence: Fence) -> AsyncIterator[Sides]:
    """Start both apps, and stop them in the end. Raises CannotStart."""
    gateway, settings = made.gateway, loaded.config.legacy
    pool = Pool(_THREADS, settings.queue, settings.queue_timeout)
    scope = {"type": "lifespan", "asgi": {"version": "3.0"}, "state": {}}
    lifespan = NestedLifespan(gateway, scope)
    failure = await lifespan.start()
    if failure is not None:
        raise CannotStart(f"the native app doesn't start: {failure}")
    pool.start()
    noted = _note_views(gateway.legacy) if isinstance(gateway.legacy, Flask) else None
    login = _login_pages(loaded, cases, gateway.legacy)
    bridge = Bridge(cast("Any", gateway.legacy), pool, settings)
    try:
        with Raised(gateway.legacy) as raised:
            yield Sides(gateway, cases, fence, login, bridge, raised, made.seen)
    finally:
        if noted is not None:
            noted()
        await pool.drain(0)
        await lifespan.stop()


def _note_views(app: Flask) -> Callable[[], None]:
    """Have the app note that a request came as far as its view: no hook has answered it.

    Return what undoes that.
    """
    original: Callable[..., Any] = app.dispatch_request

    # Flask 3.2 hands its context over.
    def dispatch_request(*args: Any) -> Any:
        reached = request.environ.get(_REACHED_KEY)
        if reached is not None:
            reached.append(True)
        return original(*args)

    def undo() -> None:
        setattr(app, "dispatch_request", original)  # noqa: B010 - as it was

    setattr(app, "dispatch_request", dispatch_request)  # noqa: B010 - documented to be overridden
    return undo


def _login_pages(loaded: Loaded, cases: Cases, legacy: object) -> Collection[str]:
    auth = loaded.config.auth
    said = cases.config.login or (auth.login if auth is not None else None)
    if said is not None:
        return said
    return login_pages(legacy) if isinstance(legacy, Flask) else ()


def host_of(route: Route, legacy: object) -> str:
    """Return the host that a route is asked at."""
    config: Mapping[str, Any] = legacy.config if isinstance(legacy, Flask) else {}
    name = str(config.get("SERVER_NAME") or "localhost")
    if route.host is not None:
        return route.host.replace("*.", "any.")
    own = route.legacy.host if route.legacy is not None else ""
    if not own:
        return name
    matched = isinstance(legacy, Flask) and legacy.url_map.host_matching
    return own if matched else f"{own}.{name}"
