"""The mirror: what one side has answered, the other is asked for as well, and both are compared.

It begins once the client's answer has been handed over, in a task of its own with a copy of the
request. It is bounded in every way: by a share of the requests, by how many run at once, by time
and by bytes; what is beyond is skipped, and counted by the reason. No client waits for it, and
whatever it raises ends here.

One thing can't be kept from the client by all that: a mirrored `async def` handler that blocks the
event loop which they share. So it is caught at its first block, its route is mirrored no more, and
the handler is named.
"""

from __future__ import annotations

import asyncio
import inspect
import random
import time
from collections import Counter
from contextlib import AsyncExitStack
from dataclasses import replace
from functools import partial
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import anyio.to_thread

from gateway.cutover import Decision
from gateway.exceptions import Handover, UseLegacy
from gateway.logs import logger_for
from gateway.refusals import Refusal
from gateway.routing import SAFE, Backend, Match, Reason
from gateway.shadow.compare import Verdict
from gateway.shadow.effects import listen, recording
from gateway.shadow.kept import Collecting, Kept, Unfit, apart
from gateway.shadow.opening import changed_since, limited, meaning, pair, told
from gateway.shadow.steps import in_steps
from gateway.shadow.writes import Undo
from gateway.state import Reached, begin, mirrored

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Collection
    from types import CodeType, FrameType

    from anyio import CapacityLimiter
    from starlette.types import Receive, Scope, Send

    from gateway.config import MirrorConfig, WritesConfig
    from gateway.routing import Mirroring, Route
    from gateway.shadow.answer import Answer
    from gateway.shadow.effects import Recording
    from gateway.shadow.opening import Pair
    from gateway.shadow.verdicts import Verdicts
    from gateway.snapshot import Snapshot

logger = logger_for("gateway.shadow")

#: A mirrored handler that keeps the event loop for longer, in seconds, is mirrored no more.
BLOCK_SECONDS = 0.25
#: A route that so often doesn't answer in time is mirrored no more; a timeout weighs as much as so
#: many answers in time.
MOST_TIMEOUTS = 5
_TIMEOUT_WEIGHT = 5
#: How long a route is left alone then, in seconds.
SUSPENDED_SECONDS = 600.0
#: How long the server's end waits for mirrors under way, in seconds.
END_SECONDS = 1.0
#: Numbers of our own: an app may have seeded those of the module, and count on what comes next.
_DICE = random.Random()  # noqa: S311 - no secret


_MIRRORED = {side: Decision(side, Reason.MIRROR) for side in Backend}
#: Another side than the decided one has answered: there is nothing to mirror for.
_ELSEWHERE = (Reason.FAILOVER, Reason.USE_LEGACY, Reason.RETIRED, Reason.GUARD)


#: What a client can do to a request so that both answers can't be compared; who is let in still is.
_HIDING = frozenset({"unread", "too_long", "upgrade"})


class Rerun(Protocol):
    """Serves a request once more, by the side that is named; neither counted nor observed."""

    def __call__(
        self,
        snapshot: Snapshot,
        match: Match,
        decision: Decision,
        scope: Scope,
        receive: Receive,
        send: Send,
        reached: Reached,
        /,
    ) -> Awaitable[None]:
        """Serve it, and write down in `reached` how far it has come in the legacy app."""
        ...


class Watch(Protocol):
    """Who wants to know who is let in where; on the event loop."""

    def compared(self, route: Route, pair: Pair, verdict: Verdict | None, what: str, /) -> None:
        """Take note of one comparison: both refusals, the verdict on them, and how it is told."""
        ...


class _Late(Exception):
    """The mirrored side has had its time."""


class _Job(NamedTuple):
    """One request to mirror: what was kept of it, which side has answered, what that has raised."""

    snapshot: Snapshot
    match: Match
    route: Route
    mirroring: Mirroring
    kept: Kept
    served: Backend
    error: BaseException | None


class Mirrors:
    """All mirrors of one worker; everything runs on the event loop.

    `rerun` asks a side; `prepare` readies the legacy app, and may be called again and again.
    `is_full` tells that no thread is left for legacy, which would refuse the request then. `login`
    returns the paths of login pages, to which a redirect is a refusal.
    """

    def __init__(
        self,
        settings: MirrorConfig,
        rerun: Rerun,
        verdicts: Verdicts,
        prepare: Callable[[], None] = lambda: None,
        is_full: Callable[[], bool] = lambda: False,
        watch: Watch | None = None,
        login: Callable[[], Collection[str]] = tuple,
    ) -> None:
        self.outcomes: Counter[tuple[str, str, str]] = Counter()
        """How mirrors ended, by method, path template and outcome."""
        self.suspended: dict[str, str] = {}
        """The routes that are mirrored no more, by id, with the handler that is to blame."""
        self.verdicts = verdicts
        self._settings = settings
        self._rerun = rerun
        self._prepare = prepare
        self._is_full = is_full
        self._watch = watch
        self._find_login = login
        self._login: Collection[str] = ()
        self._running: dict[asyncio.Task[None], _Job] = {}
        self._revision = ""
        self._stopped = False
        self._unready = False
        self._limiter: CapacityLimiter | None = None
        self._bare: dict[int, tuple[Route, Route]] = {}
        self._undo: dict[WritesConfig, Undo] = {}
        self._timeouts: Counter[str] = Counter()
        self._until: dict[str, float] = {}

    @property
    def in_flight(self) -> int:
        """How many run just now."""
        return len(self._running)

    # -- in the client's request --------------------------------------------------------------

    def keep(
        self, snapshot: Snapshot, route: Route, scope: Scope, receive: Receive, send: Send
    ) -> Kept | None:
        """Return what keeps a request for its mirror; None where this one isn't mirrored."""
        mirroring = route.mirroring
        if mirroring is None or not mirroring.sample or _percent() >= mirroring.sample:
            return None
        if snapshot.policy.kill_switch:
            return None
        if scope["method"] == "OPTIONS":
            return None  # a CORS preflight: its route is that of the method which it asks for
        if snapshot.revision != self._revision:
            self._revision = snapshot.revision
            self._stopped = False
            self.suspended.clear()
            self._bare.clear()
            try:
                self._make_ready()
                self._unready = False
            except Exception:
                self._unready = True
                logger.exception("nothing is mirrored: the legacy app can't be made ready for it")
        if self._unready:
            self._count(route, "unready")
        elif self.suspended and route.id in self.suspended and not self._may_again(route):
            self._count(route, "suspended")
        elif len(self._running) >= self._settings.in_flight:
            self._count(route, "busy")
        else:
            kept = Kept(scope, receive, send, mirroring.compare.max_body)
            if mirroring.side_effects is not None:
                listen()
                kept.effects = set()
                recording.set(kept.effects)
            return kept
        return None

    def _make_ready(self) -> None:
        """Prepare the legacy app, and let mirrors take no thread from the clients' handlers.

        Starlette runs `def` handlers on the threads of anyio's default limiter, which is one for
        the whole loop: it gets as many more as there may be mirrors.
        """
        self._prepare()
        self._login = frozenset(self._find_login())
        if self._limiter is None:
            self._limiter = anyio.to_thread.current_default_thread_limiter()
            self._limiter.total_tokens += self._settings.in_flight

    def begin(
        self,
        snapshot: Snapshot,
        match: Match,
        kept: Kept,
        served: Decision,
        error: BaseException | None = None,
    ) -> None:
        """Send the mirror on its way; the client has its answer, or `error` was raised."""
        route = match.route
        if route is None or route.mirroring is None:
            return
        why = kept.unfit
        if served.reason in _ELSEWHERE:
            why = served.reason.value
        elif len(self._running) >= self._settings.in_flight:
            why = "busy"
        if why in _HIDING and kept.scope["method"] in SAFE and kept.answer.complete:
            # Else whoever has found a way in could add a body that nobody reads, and stay unseen.
            kept.answer.give_up(why)
            why = None
        if why is not None:
            self._count(route, why)
            return
        bare, mirroring = self._bared(match, route), route.mirroring
        job = _Job(snapshot, bare, route, mirroring, kept, served.backend, error)
        task = asyncio.get_running_loop().create_task(
            self._mirror(job), name="gateway-mirror", context=kept.context
        )
        self._running[task] = job

    def _bared(self, match: Match, route: Route) -> Match:
        """Return the match without failover: the mirrored side answers by itself or not at all."""
        known = self._bare.get(id(route))
        if known is None or known[0] is not route:
            known = (route, replace(route, failover=None, circuit=None))
            self._bare[id(route)] = known
        return replace(match, route=known[1])

    # -- by itself ----------------------------------------------------------------------------

    async def _mirror(self, job: _Job) -> None:
        mirrored.set(True)
        try:
            if self._is_full():
                self._count(job.route, "busy")
                return
            await self._compare(job)
        except Unfit as unfit:
            self._count(job.route, unfit.why)
        except Exception:
            logger.exception("a mirror failed")
        else:
            self._count(job.route, "compared")
        finally:
            if (task := asyncio.current_task()) is not None:
                self._running.pop(task, None)

    async def _compare(self, job: _Job) -> None:
        kept, mirroring = job.kept, job.mirroring
        first = kept.answer.answer(job.error, kept.reached)
        other = Backend.NATIVE if job.served is Backend.LEGACY else Backend.LEGACY
        effects = _recorded(kept)
        second = await self._ask(job, other)
        recording.set(None)
        legacy, native = (first, second) if other is Backend.NATIVE else (second, first)
        if limited(legacy, native):
            raise Unfit("limited")
        who = await self._who(job, legacy, native)
        cut = legacy.cut or native.cut
        if cut is not None and who is None:
            raise Unfit(cut)
        if cut is None and mirroring.noise and _percent() < mirroring.noise:
            twin = await self._ask(job, Backend.LEGACY)
            if twin.cut is not None:
                raise Unfit(twin.cut)
            await self.verdicts.learn(job.route, mirroring, legacy, twin)
        if who is None:
            _refuse_unreadable(legacy, native)
        done: tuple[Recording, Recording] | None = None
        if effects is not None and kept.effects is not None:
            mine, theirs = kept.effects, effects
            done = (mine, theirs) if other is Backend.NATIVE else (theirs, mine)
        scope = kept.scope
        await self.verdicts.compare(job.route, mirroring, scope, legacy, native, done, who)

    async def _who(self, job: _Job, legacy: Answer, native: Answer) -> Verdict | None:
        """Tell whether only one side has let the caller in, and tell `watch` at once."""
        scope = job.kept.scope
        found = pair(legacy, native, scope, self._login)
        verdict = found.verdict
        viewless = job.route.legacy is not None and job.match.read.outcome != "rule"
        if viewless and verdict is Verdict.OPENED and found.legacy is Refusal.ABSENT:
            # A path that only `on_mismatch` gives to native: that legacy has no such page is why.
            verdict = None
        if verdict is not None and (
            await self._has_raced(job, found, legacy, native) or await self._is_misread(job, found)
        ):
            verdict = Verdict.RACED
        if self._watch is not None:
            self._watch.compared(job.route, found, verdict, told(legacy, native))
        return verdict

    async def _has_raced(self, job: _Job, found: Pair, legacy: Answer, native: Answer) -> bool:
        """Ask the first side again where something may have happened between the two answers.

        If the refusing side ran second, the first may refuse by now. A 404 that came first may have
        been too early: what it is about may have been made since.
        """
        kept = job.kept
        if kept.scope["method"] not in SAFE:
            return False
        first = legacy if job.served is Backend.LEGACY else native
        late = found.away is not job.served
        if not late and (first.status != HTTPStatus.NOT_FOUND or first.by_hook):
            return False
        try:
            again = await self._ask(job, job.served)
        except Unfit:
            return False  # it can't be told: what was seen counts
        return changed_since(meaning(again, kept.scope, self._login), late=late)

    async def _is_misread(self, job: _Job, found: Pair) -> bool:
        """Tell whether the sides differ only in how they read a header that was sent twice.

        WSGI joins its lines, Starlette reads the first. So any client could let a verdict come up.
        """
        headers = job.kept.scope["headers"]
        once: list[tuple[bytes, bytes]] = []
        told: set[bytes] = set()
        for name, value in headers:
            if name == b"cookie" or name not in told:
                once.append((name, value))
            told.add(name)
        if job.kept.scope["method"] not in SAFE or len(once) == len(headers):
            return False
        try:
            again = await self._ask(job, found.away, {**job.kept.scope, "headers": once})
        except Unfit:
            return False
        return meaning(again, job.kept.scope, self._login) is Refusal.LET_IN

    async def _ask(self, job: _Job, side: Backend, changed: Scope | None = None) -> Answer:
        """Ask one side, by a `changed` scope if there is one. Raises Unfit where it has no answer.

        One that is cut has a status and headers, and the reason.
        """
        begin(job.kept.state)
        again = job.kept.again()
        collecting = Collecting(again, job.mirroring.compare.max_body)
        scope = apart(job.kept.scope if changed is None else changed)
        reached = Reached()

        def blocked(seconds: float) -> None:
            if side is Backend.NATIVE:
                self._suspend(job.route, seconds)

        decision = _MIRRORED[side]
        run = partial(
            self._rerun, job.snapshot, job.match, decision, scope, again, collecting, reached
        )
        error = await self._ended(job, collecting, partial(self._bounded, job, run, blocked))
        try:
            await self._uncancelled()
            answer = collecting.answer
            if answer.why is not None and not answer.status:
                raise Unfit(answer.why)
            if not answer.complete and error is None and answer.why is None:
                raise Unfit("no_answer")
            if self._timeouts and self._timeouts[job.route.id] > 0:
                self._timeouts[job.route.id] -= 1
            return answer.answer(error, reached)
        finally:
            del error  # its frames lead back here

    async def _ended(
        self, job: _Job, collecting: Collecting, run: Callable[[], Awaitable[None]]
    ) -> BaseException | None:
        """Await a side's answer, and return what it has raised. Raises Unfit where it has none."""
        try:
            await run()
        except Unfit:
            if not collecting.answer.status:
                raise
        except _Late:
            if not collecting.answer.complete:
                self._hangs(job.route)
                if not collecting.answer.status:
                    raise Unfit("timeout") from None
                collecting.answer.give_up("timeout")
        except (UseLegacy, Handover) as other:
            why = "use_legacy" if isinstance(other, UseLegacy) else "strayed"
            raise Unfit(why) from None
        except BaseException as raised:
            # Not even SystemExit may end the server. Cancelled: the handler did that to itself.
            if self._stopped and isinstance(raised, asyncio.CancelledError):
                raise
            return raised
        return None

    async def _uncancelled(self) -> None:
        """Take back what a handler has done to the task that it ran in: the next wait would end."""
        task = asyncio.current_task()
        while task is not None and task.cancelling() and not self._stopped:
            task.uncancel()
            try:
                await asyncio.sleep(0)
            except asyncio.CancelledError:
                if self._stopped:
                    raise

    async def _bounded(
        self,
        job: _Job,
        run: Callable[[], Awaitable[None]],
        blocked: Callable[[float], None],
    ) -> None:
        """Await it for so long, or until its writes can be undone. Raises _Late, and Unfit."""
        writes = job.mirroring.writes
        if writes is None:
            timeout = asyncio.timeout(None)
            try:
                async with timeout:
                    # A timer is dear, and many a handler never waits for anything.
                    until = asyncio.get_running_loop().time() + self._settings.timeout
                    limit = partial(timeout.reschedule, until)
                    await in_steps(run(), BLOCK_SECONDS, blocked, limit)
            except TimeoutError:
                if timeout.expired():
                    raise _Late from None
                raise  # the handler's own: its database was late, for instance
            return
        # No timeout: the thread of a `def` handler goes on, and would write after the end.
        async with AsyncExitStack() as stack:
            try:
                await self._undoing(writes).enter(stack)
            except Exception:
                logger.exception("a request that writes is not mirrored: nothing would undo it")
                raise Unfit("unready") from None
            await in_steps(run(), BLOCK_SECONDS, blocked)

    def _undoing(self, writes: WritesConfig) -> Undo:
        found = self._undo.get(writes)
        if found is None:
            found = self._undo[writes] = Undo.of(writes)
        return found

    def _hangs(self, route: Route) -> None:
        """Suspend a route that never answers in time: its threads go on, whoever waits for them."""
        self._timeouts[route.id] += _TIMEOUT_WEIGHT
        if (
            self._timeouts[route.id] >= MOST_TIMEOUTS * _TIMEOUT_WEIGHT
            and route.id not in self.suspended
        ):
            del self._timeouts[route.id]
            self._until[route.id] = time.monotonic() + SUSPENDED_SECONDS
            self.suspended[route.id] = _name_of(route)
            logger.error(
                "%s has not answered within %g s, again and again: %s is mirrored no more for %d "
                "minutes, or until the config or an override changes",
                _name_of(route),
                self._settings.timeout,
                route.id,
                SUSPENDED_SECONDS / 60,
            )

    # -- what blocks the loop -----------------------------------------------------------------

    def blocked(self, frame: FrameType | None) -> None:
        """Learn, on any thread, what the loop's thread runs while it is blocked.

        A handler may run in a task that middleware has started, which nobody sees from here.
        """
        codes: set[CodeType] = set()
        while frame is not None:
            codes.add(frame.f_code)
            frame = frame.f_back
        for job in list(self._running.values()):
            if job.served is Backend.LEGACY and _code_of(job.route) in codes:
                self._suspend(job.route, BLOCK_SECONDS)

    def _may_again(self, route: Route) -> bool:
        """Give a suspended route another chance: the machine may have been to blame."""
        if time.monotonic() < self._until.get(route.id, 0.0):
            return False
        del self.suspended[route.id]
        return True

    def _suspend(self, route: Route, seconds: float) -> None:
        if route.id in self.suspended:
            return
        self._until[route.id] = time.monotonic() + SUSPENDED_SECONDS
        name = self.suspended[route.id] = _name_of(route)
        logger.error(
            "%s has blocked the event loop for %.2f s while it was mirrored: %s is mirrored no "
            "more for %d minutes, or until the config or an override changes. Write it as `def`, "
            "or await what it waits for",
            name,
            seconds,
            route.id,
            SUSPENDED_SECONDS / 60,
        )

    # -- the rest -----------------------------------------------------------------------------

    def _count(self, route: Route, outcome: str) -> None:
        self.outcomes[route.method, route.label, outcome] += 1

    def as_json(self) -> dict[str, Any]:
        """Return plain values, for metrics and other workers."""
        return {
            "outcomes": [[*key, number] for key, number in self.outcomes.items()],
            "suspended": dict(self.suspended),
            "verdicts": self.verdicts.as_json(),
        }

    async def stop(self) -> None:
        """End what is under way; what doesn't end soon is left behind.

        With the next request it begins anew: some run a server again and again, in their tests.
        """
        self._stopped = True
        self._revision = ""
        if self._limiter is not None:
            self._limiter.total_tokens -= self._settings.in_flight
            self._limiter = None
        running = list(self._running)
        for task in running:
            task.cancel()
        if running:
            await asyncio.wait(running, timeout=END_SECONDS)
        self._running.clear()  # what was cancelled before its first step has never run
        self.verdicts.close()


def _recorded(kept: Kept) -> Recording | None:
    """Record what the running mirror does from here on, if the client's request was recorded."""
    if kept.effects is None:
        return None
    effects: Recording = set()
    recording.set(effects)
    return effects


def _refuse_unreadable(legacy: Answer, native: Answer) -> None:
    """Raise Unfit where two bodies differ, and might not if they could be decoded."""
    if legacy.body != native.body and not (legacy.readable and native.readable):
        raise Unfit("encoded")


def _percent() -> float:
    """Draw from 0 to 100."""
    return _DICE.random() * 100


def _name_of(route: Route) -> str:
    endpoint = route.native
    return f"{endpoint.module}.{endpoint.qualname}" if endpoint is not None else "its handler"


def _code_of(route: Route) -> CodeType | None:
    call = getattr(route.native.dependant, "call", None) if route.native is not None else None
    code: CodeType | None = getattr(inspect.unwrap(call), "__code__", None) if call else None
    return code
