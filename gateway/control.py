"""Live control: the file's last good reading and the store's overrides, kept in force together.

Everything that changes the snapshot goes through one Control, one step at a time: a reload of the
file, a change that somebody asks for, a change that another worker has made, an override's end.
Whatever fails leaves the last good snapshot where it is, and is told by `health`.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from gateway.blocks import MOVED, Block, lost, name_of, standing, together, unwritten
from gateway.changes import (
    ChangeRefused,
    Planned,
    Wanted,
    ended,
    opened,
    outlived,
    plan,
    proved,
    spoken_of,
    unknown,
)
from gateway.exceptions import ConfigError, GatewayError, Problem
from gateway.held import Held
from gateway.lastknown import LastKnown
from gateway.loading import digest_of_file, load
from gateway.logs import logger_for
from gateway.overrides import ALL, outdated
from gateway.snapshot import with_blocks
from gateway.store import Change, Entry, StoreConflict, StoreDown, after

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from gateway.blocks import Proof
    from gateway.building import Builder
    from gateway.config import Config
    from gateway.loading import Loaded
    from gateway.routing import Route
    from gateway.snapshot import Snapshot, SnapshotStore
    from gateway.store import Store

logger = logger_for("gateway.control")

T = TypeVar("T")

#: How long one look at the store lasts, in seconds: shutdown waits for no longer.
LOOK_SECONDS = 0.5
#: How long to wait after a failed look, in seconds.
RETRY_SECONDS = 0.5
#: How long to wait after overrides that are over couldn't be removed, in seconds.
DROP_AGAIN_SECONDS = 10.0
#: How long to wait before a store is given back once more what it has lost, in seconds.
RESTORE_AGAIN_SECONDS = 5.0
#: How often a change is tried again after somebody else's came first.
ATTEMPTS = 10
#: What a running process can change; every other key waits for a restart.
HOT_KEYS = frozenset({"routes", "defaults"})


class RevisionMismatch(GatewayError):
    """The caller knows another revision than the current one; nothing was changed."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """How the last reload went. `at` is in seconds since the epoch.

    `problems` are why the file was not taken; then the last good one stays in force.
    `restart_required` are keys that have changed and that only a restart can change.
    """

    ok: bool
    at: float
    revision: str
    problems: tuple[Problem, ...] = ()
    restart_required: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Changed:
    """What a command has done: the ids that it was about, those left alone, and the revision.

    `blocked` are routes that stay on legacy although the change would move them.
    """

    routes: tuple[str, ...]
    skipped: tuple[str, ...]
    revision: str
    ignored: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    blocked: tuple[str, ...] = ()


@dataclass(slots=True)
class Counts:
    """What control has done so far, for metrics."""

    reloads_ok: int = 0
    reloads_failed: int = 0
    store_errors: int = 0


class Control:
    """Keeps `snapshots` true to the file of `loaded` and to `store`.

    `release` returns the build id of what is served; it may take a while, and is called once.
    """

    def __init__(
        self,
        *,
        builder: Builder,
        snapshots: SnapshotStore,
        loaded: Loaded,
        store: Store,
        clock: Callable[[], float] = time.time,
        release: Callable[[], str] = lambda: "",
    ) -> None:
        self.snapshots = snapshots
        self.counts = Counts()
        self.outcome = Outcome(ok=True, at=clock(), revision=snapshots.current.revision)
        self.store_error: str | None = None
        """Why the store can't be used just now; None: it can."""
        self.release = ""
        """The build id of what is served; empty before `start`."""
        self._find_release = release
        self._unwritten: dict[str, Block] = {}
        self._moved: dict[str, str] = {}
        self._writing: asyncio.Task[None] | None = None
        self._builder = builder
        self._loaded = loaded
        self._store, self._watched = store, store
        self._clock = clock
        self._held = Held()
        self._last_known: LastKnown | None = None
        self._has_read = False
        self._drop_again = self._restore_again = 0.0
        self._lock = asyncio.Lock()
        self._threads: ThreadPoolExecutor | None = None
        self._watching: asyncio.Task[None] | None = None

    # -- its life -----------------------------------------------------------------------------

    async def open(self) -> None:
        """Take what the store holds and build again; write nothing, and watch nothing.

        Raises ConfigError where the apps have changed since and no longer bear the config. A store
        that is down is no error: the file is in force until it comes back, and for `start` what was
        last known here.
        """
        self._threads = ThreadPoolExecutor(2, "gateway-control")
        self._watched = self._store.twin()
        async with self._lock:
            if self._last_known is not None:
                self._unwritten = await self._run(self._last_known.blocks)
            try:
                self._holds(await self._look(self._watched.read))
                self._has_read = True
            except StoreDown:
                if self._last_known is not None:
                    self._holds(await self._run(self._last_known.read))
            await self._rebuild(accepted=False)

    async def start(self) -> None:
        """Open, end what the file has put an end to meanwhile, and watch the store.

        Raises ConfigError as `open` does.
        """
        self._builder.proves_writes = True
        self._last_known = LastKnown(
            self._store.url, str(self._loaded.file or self._loaded.source.name)
        )
        await self.open()
        self.release = await self._run(self._find_release)
        async with self._lock:
            await self._drop_outdated()
        self._watching = asyncio.create_task(self._watch(), name="gateway-store")

    async def stop(self) -> None:
        """Stop watching and let go of the store; also after `open`."""
        if self._watching is not None:
            self._watched.interrupt()
            self._watching.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._watching
            self._watching = None
        if self._writing is not None:
            await asyncio.gather(self._writing, return_exceptions=True)
        threads, self._threads = self._threads, None
        if threads is not None:
            await asyncio.get_running_loop().run_in_executor(None, threads.shutdown)
        self._store.close()
        self._watched.close()

    # -- the file -----------------------------------------------------------------------------

    async def reload(self, author: str = "gateway") -> Outcome:
        """Read the file again and take what is hot in it; keep the last good one if it is wrong."""
        async with self._lock:
            return await self._reloaded(author)

    async def _reloaded(self, author: str) -> Outcome:
        self.outcome = outcome = await self._reload(author)
        if outcome.ok:
            self.counts.reloads_ok += 1
        else:
            self.counts.reloads_failed += 1
        return outcome

    async def _take_file(self, author: str) -> None:
        """Take a file that has changed and that nobody has told of yet."""
        loaded = self._loaded
        if loaded.file is None:
            return
        if await self._run(partial(digest_of_file, loaded.file)) != loaded.digest:
            await self._reloaded(author)

    async def _reload(self, author: str) -> Outcome:
        before, now = self._loaded, self._clock()
        held = self._held
        try:
            if before.file is None:
                fresh = before
            else:
                fresh = await self._run(partial(load, _as_named(before)))
            fresh, waiting = _hot(before, fresh)
            snapshot = await self._run(partial(self._builder.build, fresh, held, now))
        except Exception as error:
            if not isinstance(error, ConfigError):
                logger.exception("the config was not taken")
                what = f"reading it failed: {type(error).__name__}: {error}"
                error = ConfigError([Problem("unreadable-file", _as_named(before), "", what)])
            kept = self.snapshots.current.revision
            for problem in error.problems:
                if not problem.warning:
                    logger.error("the config was not taken: %s", problem)
            wrong = tuple(p for p in error.problems if not p.warning)
            return Outcome(False, now, kept, wrong, self.outcome.restart_required)
        self._loaded = fresh
        self._swap(snapshot)
        if fresh.digest != before.digest:
            await self._drop_outdated()
        if waiting != self.outcome.restart_required and waiting:
            logger.warning("restart to change %s", ", ".join(waiting))
        revision = self.snapshots.current.revision
        if before.config != fresh.config:
            logger.info("the config of revision %s is in force (%s)", revision, author)
        return Outcome(True, now, revision, (), waiting)

    # -- changes ------------------------------------------------------------------------------

    async def change(self, wanted: Wanted, known: Collection[str] | None = None) -> Changed:
        """Carry out what somebody asks for, in the store and here.

        Raises ChangeRefused where it makes no sense, ConfigError where the config forbids it (an
        unguarded view), RevisionMismatch where the current revision isn't among `known` (None: any
        will do), StoreDown where it can't be kept.
        """
        async with self._lock:
            # What is asked for is meant for the file as it is now.
            await self._take_file(wanted.author or "a change")
            await self._write_blocks()  # what is asked for must not be planned without them
            for _ in range(ATTEMPTS):
                await self._take(await self._look(self._store.read))
                current = self.snapshots.current
                if known is not None and current.revision not in known:
                    named = ", ".join(sorted(known)) or "of another kind"
                    raise RevisionMismatch(
                        f"revision {named} is no longer current ({current.revision} is)"
                    )
                now = self._clock()
                planned = plan(wanted, self._loaded.config, current.table, self._held, now)
                if not planned.routes:
                    return Changed((), planned.skipped, current.revision, (), planned.blocked)
                snapshot = await self._tried(planned, now)
                try:
                    held = await self._look(
                        partial(self._store.write, _stamped(planned, current), self._held)
                    )
                except StoreConflict:
                    continue
                self._holds(held)
                self._swap(snapshot)
                _tell(wanted.action, planned)
                return Changed(
                    planned.routes,
                    planned.skipped,
                    snapshot.revision,
                    tuple(each for each in planned.routes if each in snapshot.ignored),
                    _new_cautions(current, snapshot),
                    planned.blocked,
                )
        raise StoreConflict("others kept changing the overrides; try again")

    async def _tried(self, planned: Planned, now: float) -> Snapshot:
        """Build as if the change were made; refuse it where that leads to an error."""
        held = after(self._held, planned.change)
        build = partial(self._builder.build, self._loaded, held, now, accepted=True)
        snapshot = await self._run(build)
        new = {each.route for each in planned.change.put}
        refused = [why for route, why in snapshot.ignored.items() if route in new]
        if refused:
            raise ConfigError([Problem("refused", "override", "", why) for why in refused])
        return snapshot

    # -- blocks -------------------------------------------------------------------------------

    def block(self, route: Route, what: str) -> None:
        """Leave a route to legacy from now on, as native has let in whom legacy refused.

        At once here, whatever becomes of the store; it is written down, and what native serves is
        rolled back for all, as soon as the store takes it. `what` says how both sides answered.
        """
        name = name_of(route)
        found = Block(name, (self.release,), self._clock(), what)
        known = {each.route: each for each in self._blocks()}.get(name)
        if known is not None and known.settles(found):
            return
        if route.cutover in MOVED:
            own = self.snapshots.current.overrides.get(route.id)
            rule = route.rule.id if route.rule is not None else name
            self._moved[name] = name if own is not None and own.route == route.id else rule
        self._unwritten |= {name: found if known is None else known.opened_again(found)}
        logger.error("%s opened: %s; legacy serves it from here on", name, what)
        self._swap(self.snapshots.current)
        if self._watching is not None and (self._writing is None or self._writing.done()):
            self._writing = asyncio.create_task(self._write_soon(), name="gateway-blocks")

    def standing(self) -> dict[str, Block]:
        """Return the blocks that stand, by the names of their routes."""
        return standing(self._blocks())

    async def prove(self, block: Block, proof: Proof) -> None:
        """End a block, if it still is as it was when that was proved. Raises StoreDown."""
        async with self._lock:
            await self._write_blocks()
            await self._take(await self._look(self._store.read))
            if block not in self._held.blocks:
                return
            change = proved(block, proof, self.release, self._clock())
            with contextlib.suppress(StoreConflict):  # the next look proves it again
                held = await self._look(partial(self._store.write, change, self._held))
                await self._rebuild(held)
                logger.warning("%s is blocked no more: %s", block.route, change.entries[0].reason)

    def _blocks(self) -> tuple[Block, ...]:
        """Return what the store holds, and what it hasn't taken yet."""
        return together(self._held.blocks, self._unwritten.values())

    def _holds(self, held: Held) -> None:
        """Take over a state; blocks that it has lost, or doesn't know yet, wait to be written."""
        missing = lost(self._held.blocks, held.blocks)
        self._unwritten = unwritten({**missing, **self._unwritten}, held.blocks)
        self._held = held

    async def _write_soon(self) -> None:
        """Write blocks without waiting for the next look at the store, which tries it again."""
        with contextlib.suppress(StoreDown, StoreConflict):
            async with self._lock:
                await self._write_blocks()
        await self._remember()

    async def _write_blocks(self) -> None:
        """Write blocks that the store hasn't taken yet; roll back what native serves there."""
        for _ in range(ATTEMPTS):
            if not self._unwritten:
                return
            await self._take(await self._look(self._store.read))
            now, current = self._clock(), self.snapshots.current
            found = [(each, self._moved.get(name)) for name, each in self._unwritten.items()]
            planned = opened(found, self._loaded.config, current.table, self._held, now)
            try:
                snapshot = await self._tried(planned, now)
            except ConfigError:  # a block needs no rollback to hold
                alone = [(each, None) for each, _ in found]
                planned = opened(alone, self._loaded.config, current.table, self._held, now)
                snapshot = await self._tried(planned, now)
            try:
                held = await self._look(
                    partial(self._store.write, _stamped(planned, current), self._held)
                )
            except StoreConflict:
                continue
            for block, _ in found:
                self._moved.pop(block.route, None)
            self._holds(held)
            self._swap(snapshot)
            _tell("block", planned)
        if self._unwritten:
            raise StoreConflict("others kept changing the overrides; try again")

    # -- what was done ------------------------------------------------------------------------

    async def audit(self, limit: int, route: str | None = None) -> list[Entry]:
        """Return the last entries of the audit trail: all, or those that have to do with a ROUTE.

        These are its own, those of its rule or of its rule's routes, and those about all routes.
        Raises ChangeRefused where nothing has this name and nothing ever had, StoreDown.
        """
        names = None if route is None else spoken_of(route, self.snapshots.current.table)
        async with self._lock:
            asked = {route, *names} if route is not None and names is not None else None
            found = await self._look(partial(self._store.audit, limit, asked))
        if route not in (None, ALL) and not names and not found:
            raise ChangeRefused(unknown(str(route), self.snapshots.current.table))
        return found

    async def documents(self, *kinds: str) -> list[dict[str, Any]]:
        """Return what the store keeps of each kind, by key. Raises StoreDown."""
        async with self._lock:
            return [await self._look(partial(self._store.documents, kind)) for kind in kinds]

    # -- the store ----------------------------------------------------------------------------

    async def _watch(self) -> None:
        while True:
            try:
                await self._watch_once()
                await self._write_waiting()
                await self._remember()
                await self._end_overdue()
            except StoreDown:
                await asyncio.sleep(RETRY_SECONDS)
                await self._keep_blocks()
                await self._end_overdue()
            except Exception:
                logger.exception("watching the overrides failed")
                await asyncio.sleep(RETRY_SECONDS)

    async def _watch_once(self) -> None:
        end, now = self._held.next_expiry(), self._clock()
        seconds = LOOK_SECONDS if end is None or end <= now else min(LOOK_SECONDS, end - now)
        changed = await self._look(partial(self._watched.wait, self._held.mark, seconds))
        if changed:
            async with self._lock:
                await self._take(await self._look(self._watched.read))

    async def _write_waiting(self) -> None:
        """Write blocks that could not be written when they were found."""
        if self._unwritten:
            async with self._lock:
                await self._write_blocks()

    async def _remember(self) -> None:
        """Keep what holds for a process that starts while the store is down."""
        known, held = self._last_known, self._held
        if known is not None and known.is_due(held):
            await self._run(partial(known.note, held))
        await self._keep_blocks()

    async def _keep_blocks(self) -> None:
        """Keep the blocks that no store has taken yet for whatever process starts next."""
        if self._last_known is not None:
            await self._run(partial(self._last_known.keep, dict(self._unwritten)))

    async def _end_overdue(self) -> None:
        """Put what has expired out of force, whether or not the store can be told of it."""
        over = ended(self._held, self._clock())
        if over is None:
            return
        async with self._lock:
            if self.snapshots.current.overrides.keys() & set(over.drop):
                await self._rebuild()
            await self._drop(over)

    async def _take(self, held: Held) -> None:
        """Put in force what the store holds; give it back what it has lost."""
        first, self._has_read = not self._has_read, True
        if held.mark == self._held.mark:
            if first:
                await self._drop_outdated()
            return
        if not held.includes(self._held):
            held = await self._restore()
        await self._rebuild(held)
        if first:
            await self._drop_outdated()

    async def _restore(self) -> Held:
        """Put back what the store has lost; not again and again where it goes on losing it."""
        now = self._clock()
        if now < self._restore_again:
            raise StoreDown(f"{self._store.url}: it goes on losing what is put back")
        self._restore_again = now + RESTORE_AGAIN_SECONDS
        entry = Entry(now, "restore", "*", "", "", "gateway", "the store had lost it")
        held = await self._look(partial(self._store.restore, self._held, entry))
        # Whatever has become of the file or the server: look at it with fresh eyes.
        await self._run(self._store.close)
        await self._run(self._watched.close)
        logger.warning("the store had lost the overrides; they were put back")
        return held

    async def _drop_outdated(self) -> None:
        """End overrides whose line in the file has changed, here or while the store was away.

        Only where this process has read the file anew: while replicas are replaced one by one, an
        older one must not judge by its older file what a newer one was asked for.
        """
        gone = outdated(self._held.overrides, self._loaded.config, self.snapshots.current.table)
        if gone:
            await self._drop(outlived(gone, self._clock()))

    async def _drop(self, change: Change) -> None:
        """Remove overrides that are over; where somebody else was quicker, that is as good.

        A store that can't be written to is left alone for a while: they are out of force anyway.
        """
        if self.store_error is not None or self._clock() < self._drop_again:
            return
        try:
            held = await self._look(partial(self._store.write, change, self._held))
        except StoreConflict:
            return
        except StoreDown:
            self._drop_again = self._clock() + DROP_AGAIN_SECONDS
            return
        for entry in change.entries:
            logger.info("override of %s is over: %s", entry.route, entry.reason)
        await self._rebuild(held)

    async def _rebuild(self, held: Held | None = None, *, accepted: bool = True) -> None:
        """Put in force what is held, or `held` from now on, under the config that is loaded."""
        held = self._held if held is None else held
        build = partial(self._builder.build, self._loaded, held, self._clock(), accepted=accepted)
        snapshot = await self._run(build)
        self._holds(held)
        self._swap(snapshot)

    def _swap(self, snapshot: Snapshot) -> None:
        snapshot = with_blocks(snapshot, self._blocks())
        for route, why in snapshot.ignored.items():
            if route not in self.snapshots.current.ignored:
                logger.warning("the override of %s is ignored: %s", route, why)
        before = {str(problem) for problem in self.snapshots.current.warnings}
        for problem in snapshot.warnings:
            if problem.finding and str(problem) not in before:
                logger.error("legacy serves what may not move: %s", problem)
        self.snapshots.swap(self.snapshots.current.revision, snapshot)

    async def _look(self, function: Callable[[], T]) -> T:
        """Ask the store, and take note of how it is."""
        try:
            result = await self._run(function)
        except StoreDown as error:
            self.counts.store_errors += 1
            if self.store_error is None:
                logger.error("the store is down, the last known overrides stay: %s", error)
            self.store_error = str(error)
            raise
        if self.store_error is not None:
            logger.warning("the store is back")
            self.store_error = None
        return result

    async def _run(self, function: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._threads, function)

    # -- what there is to see -----------------------------------------------------------------

    @property
    def loaded(self) -> Loaded:
        """The config in force, and where it came from."""
        return self._loaded

    @property
    def sequence(self) -> int:
        """The number of the last change that is in force here."""
        return self._held.sequence

    @property
    def store(self) -> Store:
        """The store of overrides; take a twin of it."""
        return self._store

    @property
    def store_url(self) -> str:
        """Where overrides are kept, without a password."""
        return self._store.url

    def health(self) -> dict[str, Any]:
        """Say in short what is not as it should be, for the readiness probe: no secrets."""
        wrong = self.outcome.problems
        return {
            "config": "ok" if self.outcome.ok else f"kept: {_shortly(wrong)}",
            "restart_required": list(self.outcome.restart_required),
            "store": "ok" if self.store_error is None else "down: the last known overrides hold",
            "refused": list(self.snapshots.current.refused),
        }


def _as_named(loaded: Loaded) -> str:
    """Return the path as it was given, for messages; it may be relative to the working folder."""
    return loaded.source.name


def _hot(before: Loaded, fresh: Loaded) -> tuple[Loaded, tuple[str, ...]]:
    """Take what a running process can take of a fresh reading; list what it can't."""
    waiting = []
    for key in type(fresh.config).model_fields:
        if key not in HOT_KEYS:
            waiting += _differing(key, getattr(before.config, key), getattr(fresh.config, key))
    hot = {key: getattr(fresh.config, key) for key in HOT_KEYS}
    config: Config = before.config.model_copy(update=hot)
    return replace(fresh, config=config), tuple(waiting)


def _differing(key: str, one: Any, two: Any) -> list[str]:
    if one == two:
        return []
    fields = getattr(type(one), "model_fields", None)
    if fields is None or type(one) is not type(two):
        return [key]
    return [f"{key}.{name}" for name in fields if getattr(one, name) != getattr(two, name)]


def _shortly(problems: tuple[Problem, ...]) -> str:
    first = problems[0]
    more = f" and {len(problems) - 1} more" if len(problems) > 1 else ""
    return f"{first.where} [{first.code}]{more}"


def _new_cautions(before: Snapshot, now: Snapshot) -> tuple[str, ...]:
    """Return what `check` would warn of, if the file said what has just been changed."""
    known = {str(each) for each in before.cautions}
    return tuple(str(each) for each in now.cautions if str(each) not in known)


def _stamped(planned: Planned, current: Snapshot) -> Change:
    entries = [replace(each, revision=current.revision) for each in planned.change.entries]
    return replace(planned.change, entries=entries)


def _tell(action: str, planned: Planned) -> None:
    for entry in planned.change.entries:
        logger.warning(
            "%s %s: %s -> %s, by %s%s",
            action,
            entry.route,
            entry.before or "nothing",
            entry.after,
            entry.author or "nobody named",
            f" ({entry.reason})" if entry.reason else "",
        )
