"""Walks canaries up and rolls them back: the only one who changes a cutover without being asked.

Every worker tells the store what it has counted, and one of them, who holds a lease, adds it up,
judges it (`gateway.rollout`) and moves. A move is an override like anybody's: all workers follow
it, and the audit trail has it with the figures that caused it. Whoever leads keeps nothing of a
walk to itself, so that the next leader goes on in the middle of a step.

A burst of failures isn't left to the leader: the worker that sees it stops sending requests to
native at once, and then rolls back for all. Nor is a caller whom native has let in and legacy
refused: `Control.block` rolls that back at once, of a canary and of `live`, with a guardrail or
without.

What a person does has the last word: a rollback stays until it is cleared, and whoever sets the
weight in the middle of a walk ends it. `confirm: true` waits for somebody to set `native`.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from gateway.blocks import AUTHOR
from gateway.changes import Wanted
from gateway.control import RevisionMismatch
from gateway.exceptions import GatewayError
from gateway.logs import logger_for
from gateway.observe.tally import BOUNDS, Line
from gateway.rollout.analysis import analyse
from gateway.rollout.burst import Burst
from gateway.rollout.figures import Side, Window
from gateway.rollout.walk import (
    ACTIVE,
    Kind,
    Move,
    State,
    Walk,
    advance,
    begin,
    counted,
    paused,
)
from gateway.routing import Backend, Reason
from gateway.shadow.compare import UNEQUAL
from gateway.store import Entry, StoreDown

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from gateway.config import GuardrailConfig
    from gateway.control import Control
    from gateway.cutover import Decision
    from gateway.observe.tally import Tally
    from gateway.overrides import Override
    from gateway.routing import Route
    from gateway.shadow.verdicts import Verdicts
    from gateway.snapshot import Snapshot
    from gateway.store import Store

logger = logger_for("gateway.guardrail")

T = TypeVar("T")

#: How often figures are told and judged, in seconds.
LOOK_SECONDS = 0.5
#: How long the lead is held without being prolonged, in seconds.
LEASE_SECONDS = 3.0
#: How long a worker's figures count that tells nothing more, in seconds.
FIGURES_SECONDS = 30.0
#: How long a walk is remembered, in seconds (90 days).
WALK_SECONDS = 90 * 86_400.0
#: Legacy's own failures are known after so many requests.
_ENOUGH = 100
#: A worker isn't further behind the store than so many changes; else the number makes no sense.
_MOST_BEHIND = 1000
_FIRST_ERROR = 500


@dataclass(frozen=True, slots=True)
class Guarded:
    """A rule with a guardrail as it stands: its routes, what holds for it, and what overrides it.

    `weight` is in percent, None unless it is a canary.
    """

    rule: str
    config: GuardrailConfig
    routes: tuple[Route, ...]
    cutover: str
    weight: float | None
    override: Override | None


def guarded(snapshot: Snapshot) -> dict[str, Guarded]:
    """List the rules with a guardrail, by their ids."""
    by_rule: dict[str, list[Route]] = {}
    for route in snapshot.table.routes:
        if route.guardrail is None or route.rule is None:
            continue
        if route.id not in snapshot.overrides:  # else it belongs to whoever has set it
            by_rule.setdefault(route.rule.id, []).append(route)
    found = {}
    for rule, routes in by_rule.items():
        first = routes[0]
        if first.guardrail is not None:
            weight = first.threshold / 100 if first.cutover == "canary" else None
            override = snapshot.overrides.get(rule)
            found[rule] = Guarded(
                rule, first.guardrail, tuple(routes), first.cutover, weight, override
            )
    return found


class Guardrail:
    """One worker's part in it; everything but the store runs on the event loop."""

    def __init__(
        self,
        control: Control,
        store: Store,
        tally: Tally,
        verdicts: Verdicts,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.moves: Counter[tuple[str, str]] = Counter()
        """What this worker has done as the leader, or by a burst: by rule and kind of move."""
        self.tripped: dict[str, str] = {}
        """Rules that this worker leaves to legacy until their rollback is in force, and why."""
        self.stopped: frozenset[str] = frozenset()
        """Their routes, by their ids."""
        self._control, self._store = control, store
        self._tally, self._verdicts = tally, verdicts
        self._clock = clock
        self._worker = secrets.token_hex(6)
        self._bursts: dict[str, Burst] = {}
        self._revision = ""
        self._basis = ""
        self._guarded: dict[str, Guarded] = {}
        self._watched: frozenset[str] = frozenset()
        self._told: dict[str, Any] = {}
        self._told_at = 0.0
        self._task: asyncio.Task[None] | None = None
        self._threads: ThreadPoolExecutor | None = None
        self._down = False
        self._hurry = asyncio.Event()

    # -- its life -----------------------------------------------------------------------------

    def start(self) -> None:
        """Begin to look."""
        self._store = self._store.twin()
        self._threads = ThreadPoolExecutor(1, "gateway-guardrail")
        self._task = asyncio.create_task(self._look_on(), name="gateway-guardrail")

    async def stop(self) -> None:
        """Look no more; somebody else will lead."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            self._task = None
        threads, self._threads = self._threads, None
        if threads is not None:
            await asyncio.get_running_loop().run_in_executor(None, threads.shutdown)
        self._store.close()

    # -- on a request's way -------------------------------------------------------------------

    def note(self, route: Route, decision: Decision, status: int) -> None:
        """Count how native did with one request; called for routes with a guardrail."""
        if decision.reason is Reason.FAILOVER:
            ok = False
        elif status and decision.side == Backend.NATIVE.value:
            ok = status < _FIRST_ERROR
        else:
            return
        rule = route.rule
        if rule is None or rule.id in self.tripped or route.id not in self._watched:
            return
        burst = self._bursts.get(rule.id)
        if burst is None:
            burst = self._bursts[rule.id] = Burst(self._ambient(rule.id))
        if burst.note(ok):
            why = f"native fails in a burst (the last of its requests: {route.id}, {status})"
            self.tripped[rule.id] = why
            self.stopped |= {each.id for each in self._guarded[rule.id].routes}
            self._hurry.set()
            logger.error("%s: %s; legacy serves it from here on", rule.id, why)

    def _ambient(self, rule: str) -> float:
        """Return legacy's own share of failures, as far as this worker knows it."""
        found = self._guarded.get(rule)
        legacy = self._counters(found).legacy if found is not None else Side()
        return legacy.failures / legacy.requests if legacy.requests >= _ENOUGH else 0.0

    # -- by itself ----------------------------------------------------------------------------

    async def _look_on(self) -> None:
        while True:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._hurry.wait(), LOOK_SECONDS)
            self._hurry.clear()
            try:
                await self._look()
            except StoreDown as error:
                if not self._down:
                    logger.error("no canary is moved while the store is down: %s", error)
                self._down = True
            except Exception:
                logger.exception("looking after the canaries failed")
            else:
                self._down = False

    async def _look(self) -> None:
        self._refresh()
        for rule, why in list(self.tripped.items()):
            await self._roll_back_burst(rule, why)
        self._refresh()
        if not self._guarded:
            return
        await self._tell()
        if self._control.snapshots.current.policy.kill_switch:
            return  # nobody is served by native: there is nothing to judge
        if await self._ask(partial(self._store.lease, "guardrail", self._worker, LEASE_SECONDS)):
            await self._lead()

    def _refresh(self) -> None:
        """Look again at the rules, if anything has changed them."""
        snapshot = self._control.snapshots.current
        self._basis = snapshot.revision
        if snapshot.revision != self._revision:
            self._revision = snapshot.revision
            self._guarded = guarded(snapshot)
            self._watched = frozenset(r.id for e in self._guarded.values() for r in e.routes)
            self._bursts.clear()

    async def _roll_back_burst(self, rule: str, why: str) -> None:
        if rule not in self._guarded or self._is_rolled_back(rule):
            self._release(rule)
            return
        reason = f"rolled back at once: {why}"
        wanted = Wanted("rollback", rule, author=AUTHOR, reason=reason, alone=True)
        if await self._change(wanted):
            self.moves[rule, Kind.ROLLBACK.value] += 1
            self._release(rule)

    def _release(self, rule: str) -> None:
        """Leave a rule to the table again, which knows of its rollback by now."""
        self.tripped.pop(rule, None)
        if not self.tripped:
            self.stopped = frozenset()

    def _is_rolled_back(self, rule: str) -> bool:
        override = self._control.snapshots.current.overrides.get(rule)
        return override is not None and override.kind == "rollback"

    async def _tell(self) -> None:
        """Tell the store what this worker has counted, if that is news or almost forgotten."""
        figures = {
            rule: self._counters(each).as_json()
            for rule, each in self._guarded.items()
            if each.cutover in ("canary", "native")
        }
        now = self._clock()
        if figures == self._told and now - self._told_at < FIGURES_SECONDS / 3:
            return
        put = partial(self._store.put, "figures", {self._worker: figures}, FIGURES_SECONDS)
        await self._ask(put)
        self._told, self._told_at = figures, now

    def _counters(self, found: Guarded) -> Window:
        """Add up what this worker has counted of a rule's routes since it started."""
        native, legacy, failovers = Line(), Line(), 0
        compared = different = 0
        for route in found.routes:
            for side, whole in (("native", native), ("legacy", legacy)):
                line = self._tally.lines.get((route.method, route.label, side))
                if line is not None:
                    whole.add(line)
            tried = self._verdicts.tried.get((route.method, route.label))
            if tried is not None:
                compared += sum(tried.verdicts.values())
                different += sum(tried.verdicts[each.value] for each in UNEQUAL)
        # What failover covered was a request of native's, and its failure.
        failovers = legacy.reasons.get(Reason.FAILOVER.value, 0)
        return Window(
            Side(
                native.count + failovers,
                native.errors + failovers,
                tuple(native.durations),
                native.seconds,
            ),
            Side(
                max(0, legacy.count - failovers),
                max(0, legacy.errors),
                tuple(legacy.durations),
                legacy.seconds,
            ),
            compared,
            different,
        )

    # -- as the leader ------------------------------------------------------------------------

    async def _lead(self) -> None:
        figures = await self._ask(partial(self._store.documents, "figures"))
        known = await self._ask(partial(self._store.documents, "walks"))
        walks: dict[str, Any] = {}
        gone = [rule for rule in known if rule not in self._guarded]
        for rule, found in self._guarded.items():
            behind = _sequence(known.get(rule)) - self._control.sequence
            if 0 < behind < _MOST_BEHIND:
                continue  # what the last move has changed isn't known here yet
            counters = _of_rule(figures, rule)
            before = _walk(known.get(rule))
            try:
                walk = self._placed(found, before, counters)
                if walk is None:
                    gone += [rule] if rule in known else []
                    continue
                walk, said = await self._judged(found, walk, counters)
            except (ValueError, ArithmeticError) as error:
                logger.error("the walk of %s can't be judged and begins anew: %s", rule, error)
                gone.append(rule)
                continue
            document = {
                "walk": walk.as_json(), "said": said, "sequence": self._control.sequence
            }  # fmt: skip
            if document != known.get(rule):
                walks[rule] = document
        if walks:
            await self._ask(partial(self._store.put, "walks", walks, WALK_SECONDS))
        if gone:
            await self._ask(partial(self._store.remove, "walks", gone))

    def _placed(
        self, found: Guarded, walk: Walk | None, counters: Mapping[str, Window]
    ) -> Walk | None:
        """Return where a rule's walk stands, whatever has been done to it meanwhile.

        None: there is none, since nothing is a canary.
        """
        now, override = self._clock(), found.override
        if walk is not None and walk.since > now:
            walk = replace(walk, since=now)  # the clock that wrote it was ahead
        if override is not None and override.stays:
            if walk is None or walk.state is State.ROLLED_BACK:
                return walk
            return replace(walk, state=State.ROLLED_BACK, since=now)
        if override is not None and override.author != AUTHOR:
            if override.expires is not None:
                return paused(walk, now) if walk is not None else None  # it ends by itself
            if walk is not None and walk.state in ACTIVE and override.since > walk.since:
                if walk.state is State.WAITING and found.cutover == "native":
                    return replace(walk, state=State.WATCHING, since=now)
                return paused(replace(walk, weight=found.weight or walk.weight), now)
            if walk is not None and walk.state is State.PAUSED:
                return walk
        if found.cutover == "canary" and found.weight:
            return self._placed_canary(found, found.weight, walk, counters)
        if found.cutover == "native" and walk is not None:
            if walk.state is State.WALKING:
                return replace(walk, state=State.WATCHING, weight=100.0, since=now)
            return walk if walk.state in (State.WATCHING, State.DONE) else None
        return None

    def _placed_canary(
        self, found: Guarded, weight: float, walk: Walk | None, counters: Mapping[str, Window]
    ) -> Walk:
        now = self._clock()
        if walk is None or walk.state not in (State.WALKING, State.WAITING):
            return begin(found.config, weight, counters, now)
        if weight == walk.weight:
            return walk
        # A leader has moved and died before it wrote that down, or the file says otherwise.
        return begin(found.config, weight, counters, now, walk.baseline)

    async def _judged(
        self, found: Guarded, walk: Walk, counters: Mapping[str, Window]
    ) -> tuple[Walk, str]:
        """Judge a walk, and move if it is time; return it, and what there is to say."""
        if walk.state not in ACTIVE:
            return walk, ""
        config, now = found.config, self._clock()
        walk = counted(walk, counters, config)
        analysis = analyse(
            walk.window, config, bounds=BOUNDS, baseline=walk.baseline, number=walk.number
        )
        said = f"{analysis.verdict.value}: {analysis.text}"
        move = advance(walk, analysis, config, now)
        if move is None or not await self._moved(found.rule, move):
            return walk, said
        self.moves[found.rule, move.kind.value] += 1
        # The other rules are as they were; only so does the next move of this look count.
        self._basis = self._control.snapshots.current.revision
        return move.walk, move.reason

    async def _moved(self, rule: str, move: Move) -> bool:
        if not await self._ask(
            partial(self._store.lease, "guardrail", self._worker, LEASE_SECONDS)
        ):
            return False  # it took too long to get here: somebody else leads by now
        if not move.changes:
            entry = Entry(
                self._clock(),
                move.kind.value,
                rule,
                move.cutover,
                move.cutover,
                AUTHOR,
                move.reason,
            )
            await self._ask(partial(self._store.note, entry))
            logger.warning("%s: %s", rule, move.reason)
            return True
        if move.kind is Kind.ROLLBACK:
            wanted = Wanted("rollback", rule, author=AUTHOR, reason=move.reason, alone=True)
        else:
            wanted = Wanted(
                "set",
                rule,
                move.cutover,
                move.weight,
                author=AUTHOR,
                reason=move.reason,
                alone=True,
            )
        return await self._change(wanted)

    async def _change(self, wanted: Wanted) -> bool:
        """Ask control for it; False where it can't be done now, which the log tells.

        Only as long as everything is as it was when that was decided: else the next look decides.
        """
        try:
            await self._control.change(wanted, [self._basis])
        except StoreDown:
            raise
        except RevisionMismatch:
            return False
        except GatewayError as error:
            logger.error("%s %s: %s", wanted.action, wanted.route, error)
            return False
        return True

    # -- what there is to see -----------------------------------------------------------------

    async def walks(self) -> dict[str, dict[str, Any]]:
        """Return every walk by its rule: state, weight, since, and what was said last.

        Empty where the store is down.
        """
        if not self._guarded:
            return {}
        with contextlib.suppress(StoreDown):
            known = await self._ask(partial(self._store.documents, "walks"))
            return {
                rule: {**_shown(walk), "said": known[rule].get("said", "")}
                for rule in known
                if (walk := _walk(known[rule])) is not None
            }
        return {}

    async def _ask(self, function: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._threads, function)


def _of_rule(figures: Mapping[str, Any], rule: str) -> dict[str, Window]:
    """Return what each worker has counted of a rule; what can't be read counts nothing."""
    found = {}
    for worker, told in figures.items():
        with contextlib.suppress(ValueError, AttributeError):
            if rule in told:
                found[worker] = Window.of_json(told[rule])
    return found


def _walk(document: Any) -> Walk | None:
    """Read a walk from the store; one that can't be read begins anew."""
    if document is None:
        return None
    try:
        return Walk.of_json(document["walk"])
    except (ValueError, KeyError, TypeError) as error:
        logger.warning("a walk in the store can't be read and begins anew: %s", error)
        return None


def _sequence(document: Any) -> int:
    """Return the overrides' sequence that a walk was written after."""
    found = document.get("sequence") if isinstance(document, dict) else None
    return found if isinstance(found, int) else 0


def _shown(walk: Walk) -> dict[str, Any]:
    return {"state": walk.state.value, "weight": walk.weight, "since": walk.since}
