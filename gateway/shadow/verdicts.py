"""What the comparisons of one worker have come to: counted, learned, and kept as samples."""

from __future__ import annotations

import asyncio
import hashlib
import time
import traceback
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Any

from gateway.logs import logger_for
from gateway.secrecy import path_without_secrets, query_without_secrets, without_secrets
from gateway.shadow.compare import UNEQUAL, Comparison, Policy, Verdict, compare, compare_twins
from gateway.shadow.effects import differing
from gateway.shadow.noise import Noise
from gateway.shadow.opening import FIELD, difference
from gateway.shadow.tracebacks import shortened

if TYPE_CHECKING:
    from collections.abc import Callable

    from starlette.types import Scope

    from gateway.routing import Mirroring, Route
    from gateway.shadow.answer import Answer
    from gateway.shadow.compare import Difference
    from gateway.shadow.effects import Recording

logger = logger_for("gateway.shadow")

#: Bodies up to this many bytes are compared on the event loop: a thread would cost more.
SMALL_BYTES = 4_096
#: How many kinds of mismatch are kept for a route, and for how long (seven days, in seconds).
MOST_SAMPLES = 20
KEPT_SECONDS = 7 * 86_400.0
#: How much of a traceback is kept, in characters.
MOST_TRACEBACK = 4_000
#: Fields that are told apart in a route's counts; what comes after them is `other`.
MOST_FIELDS = 100


@dataclass(slots=True)
class Tried:
    """What came of a route's comparisons: verdicts by their name, differences by their field."""

    verdicts: Counter[str] = field(default_factory=Counter)
    fields: Counter[str] = field(default_factory=Counter)


class Verdicts:
    """Compares, counts and keeps, for one worker. `clock` gives seconds since the epoch."""

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self.tried: dict[tuple[str, str], Tried] = {}
        """By method and path template."""
        self.noise: dict[str, Noise] = {}
        """What was learned of each route, by its id."""
        self._clock = clock
        self._policies: dict[str, tuple[Mirroring, Policy]] = {}
        self._samples: dict[str, dict[str, Any]] = {}
        self._threads: ThreadPoolExecutor | None = None

    async def compare(
        self,
        route: Route,
        mirroring: Mirroring,
        scope: Scope,
        legacy: Answer,
        native: Answer,
        effects: tuple[Recording, Recording] | None = None,
        who: Verdict | None = None,
    ) -> None:
        """Compare two answers to one request, and what both sides did, and note the verdict.

        `who` is the verdict on who was let in, if there is one: it stands above all others.
        """
        if who is Verdict.RACED:
            self._count(route, Comparison(who))
            return
        if legacy.cut is None is native.cut:
            found = await self._compared(route, mirroring, scope, legacy, native, effects)
        else:
            found = Comparison(Verdict.EQUAL, cut=True)
        if who is not None:
            differences = (difference(legacy, native), *found.differences)
            found = replace(found, verdict=who, differences=differences)
        self._count(route, found)
        if found.verdict in UNEQUAL:
            self._keep(route, scope, found, legacy, native)

    async def _compared(
        self,
        route: Route,
        mirroring: Mirroring,
        scope: Scope,
        legacy: Answer,
        native: Answer,
        effects: tuple[Recording, Recording] | None,
    ) -> Comparison:
        head = scope["method"] == "HEAD"
        learned = self._noise(route).learned(self._clock())
        policy = self._policy(route, mirroring)
        small = len(legacy.body) + len(native.body) <= 2 * SMALL_BYTES
        if small or legacy.body == native.body:
            found = compare(legacy, native, policy, learned, head=head)
        else:
            judge = partial(compare, legacy, native, policy, learned, head=head)
            found = await self._run(judge)
        if effects is not None and mirroring.side_effects is not None:
            apart = differing(*effects, mirroring.side_effects.ignore)
            if apart:
                differences = (*found.differences, *apart)
                found = replace(found, verdict=Verdict.DIFFERENT, differences=differences)
        return found

    def _count(self, route: Route, found: Comparison) -> None:
        key = (route.method, route.label)
        tried = self.tried.get(key)
        if tried is None:
            tried = self.tried[key] = Tried()
        tried.verdicts[found.verdict.value] += 1
        if found.verdict in UNEQUAL:
            for each in dict.fromkeys(difference.field for difference in found.differences):
                known = each in tried.fields or len(tried.fields) < MOST_FIELDS
                tried.fields[each if known else "other"] += 1

    async def learn(self, route: Route, mirroring: Mirroring, legacy: Answer, twin: Answer) -> None:
        """Learn from two of legacy's answers to one request what differs by itself."""
        twins = await self._run(compare_twins, legacy, twin, self._policy(route, mirroring))
        self._noise(route).learn(twins, self._clock())

    def take_samples(self) -> dict[str, dict[str, Any]]:
        """Return the mismatches since the last call, by a key that tells their kinds apart."""
        samples, self._samples = self._samples, {}
        return samples

    def as_json(self) -> list[list[Any]]:
        """Return plain values: method, path template, counts by verdict and by field."""
        return [[*key, dict(e.verdicts), dict(e.fields)] for key, e in self.tried.items()]

    def _keep(
        self, route: Route, scope: Scope, found: Comparison, legacy: Answer, native: Answer
    ) -> None:
        kinds = sorted({_kind(each) for each in found.differences})
        kind = hashlib.blake2b("\n".join(kinds).encode("utf-8", "replace"), digest_size=6)
        key = f"{route.id} {kind.hexdigest()}"
        if key in self._samples:
            return  # one of its kind is enough until they are taken: a traceback is dear
        mine = sum(1 for each in self._samples.values() if each["route"] == route.id)
        if mine >= MOST_SAMPLES and found.verdict is not Verdict.OPENED:
            return
        self._samples[key] = {
            "route": route.id,
            "at": self._clock(),
            "verdict": found.verdict.value,
            "method": scope["method"],
            "path": path_without_secrets(scope["path"], route.label),
            "query": query_without_secrets(scope.get("query_string", b"")),
            "legacy": _essence(legacy),
            "native": _essence(native),
            "differences": [asdict(each) for each in found.differences],
            "more": found.cut,
        }

    def _noise(self, route: Route) -> Noise:
        name = route.id
        known = self.noise.get(name)
        if known is None:
            known = self.noise[name] = Noise()
        return known

    def _policy(self, route: Route, mirroring: Mirroring) -> Policy:
        name = route.id
        known = self._policies.get(name)
        if known is None or (known[0] is not mirroring and known[0] != mirroring):
            policy = Policy.of(mirroring.compare, mirroring.expect)
            known = self._policies[name] = (mirroring, policy)
        return known[1]

    async def _run(self, function: Any, *args: Any) -> Any:
        if self._threads is None:
            # One, so that comparisons take no more than a processor's share from the clients.
            self._threads = ThreadPoolExecutor(1, "gateway-compare")
        return await asyncio.get_running_loop().run_in_executor(self._threads, function, *args)

    def close(self) -> None:
        """End the thread."""
        threads, self._threads = self._threads, None
        if threads is not None:
            threads.shutdown(wait=False, cancel_futures=True)


def _kind(difference: Difference) -> str:
    """Tell what makes a mismatch another one: one status must not hide the next."""
    if difference.field in ("status", FIELD):
        return f"{difference.field} {difference.legacy} {difference.native}"
    return f"{difference.field} {difference.kind}"


def _essence(answer: Answer) -> dict[str, Any]:
    told: str | None = None
    if answer.error is not None:
        whole = "".join(traceback.format_exception(answer.error))
        # Cut afterwards: else a secret's name could be gone, and its value still be there.
        told = shortened(without_secrets(whole), MOST_TRACEBACK)
    return {"status": answer.status, "bytes": len(answer.body), "error": told}
