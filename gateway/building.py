"""Both apps, a config and the overrides → one Snapshot, or every problem that forbids it."""

from __future__ import annotations

import hashlib
import os
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING

from flask import Flask

from gateway.auth import Guard, asks_again, parameter_problems
from gateway.compiling import Compiled, compile_table
from gateway.cors import cors_problems
from gateway.cutover import Policy, Tester
from gateway.evidence import Handlers, KnownEvidence
from gateway.exceptions import AppImportError, ConfigError
from gateway.flask.misuse import misused
from gateway.flask.routes import FlaskRoutes
from gateway.inventory import LegacyRoutes, NativeRoutes, NoNative, OpaqueLegacy
from gateway.loading import Loaded, in_order
from gateway.lock import accepted_in, verify_lock
from gateway.overrides import ALL, Override, found_again
from gateway.proofs import NAME, ProofError, proved
from gateway.routing import AUTOMATIC, UNMOVED, Coverage
from gateway.shadow.writes import Undo
from gateway.snapshot import Snapshot, with_blocks

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from datetime import date

    from _typeshed.wsgi import WSGIApplication
    from starlette.types import ASGIApp

    from gateway.blocks import Block
    from gateway.config import WritesConfig
    from gateway.exceptions import Problem
    from gateway.flask.side import FlaskSide
    from gateway.held import Held
    from gateway.moving import Evidence
    from gateway.native import NativeApp
    from gateway.routing import RouteTable


class Builder:
    """Builds snapshots for one pair of apps; may be called on any thread, by one at a time.

    `flask` is None where legacy isn't a Flask app. Without `locked` a stale `routes.lock` is no
    error. `strict`: what `gateway check` finds against a move is an error, too.
    """

    def __init__(
        self,
        legacy: WSGIApplication,
        native: NativeApp | None,
        flask: FlaskSide | None,
        guard: Guard | None,
        *,
        locked: bool,
        strict: bool = False,
    ) -> None:
        self._legacy, self._native, self._flask = legacy, native, flask
        self._guard, self._locked = guard, locked
        self.strict = strict
        self.proves_writes = False
        """Whether a rule's `writes` are tried out; only where the config is to be served."""
        self._routes: FlaskRoutes | None = None
        self._handlers = Handlers(native.app if native is not None else None)
        self._proved: dict[WritesConfig, tuple[str, str] | None] = {}
        self._accepted: tuple[Loaded, tuple[Problem, ...]] | None = None

    def build(self, loaded: Loaded, held: Held, now: float, *, accepted: bool = False) -> Snapshot:
        """Compile the config against both apps, then what overrides change of it.

        `now` is in seconds since the epoch. An override that leads to an error is left out, and
        listed in `ignored`. Raises ConfigError with every problem of the config itself; not where
        it was `accepted` before: what has become of files like `routes.lock` meanwhile must not
        keep an override from being made, or from ending.
        """
        legacy: LegacyRoutes = OpaqueLegacy()
        if isinstance(self._legacy, Flask):
            legacy = self._flask_routes(self._legacy)
        native: NativeRoutes = self._native if self._native is not None else NoNative()
        if self._flask is not None:
            self._flask.refresh()
            self._flask.learn(native.endpoints())
        self._handlers.adopt(native, self._guard, _named_modules(loaded))
        today = datetime.fromtimestamp(now, UTC).date()
        evidence = self._evidence(loaded, legacy)
        compile_ = partial(self._compiled, loaded, legacy, native, today, evidence, held.blocks)
        compiled = compile_({})
        policy, unset = _policy(loaded)
        if accepted and self._accepted is not None and self._accepted[0] is loaded:
            warnings = self._accepted[1]
        else:
            problems = in_order([*self._problems(loaded, compiled, native), *unset])
            if any(each.fatal or (self.strict and each.finding) for each in problems):
                raise ConfigError(problems)
            warnings = tuple(problems)
            self._accepted = (loaded, warnings)
        active = held.by_route(now)
        switch = active.pop(ALL, None)
        table = compiled.table
        active, ignored = found_again(active, table)
        cautions: tuple[Problem, ...] = ()
        if active:
            compiled = compile_(active)
            if compiled.errors or _unmovable(active, compiled.table):
                active, wrong = _sorted_out(compile_, active)
                ignored |= wrong
                compiled = compile_(active)
            table = compiled.table
            usual = {str(each) for each in warnings}
            cautions = tuple(
                each for each in compiled.problems if each.warning and str(each) not in usual
            )
        if switch is not None:
            active = {**active, ALL: switch}
            policy = Policy(kill_switch=switch.cutover == "legacy", tester=policy.tester)
        snapshot = Snapshot(
            config=loaded.config,
            table=table,
            policy=policy,
            revision=f"{digest_of(loaded)}-{held.mark}",
            warnings=warnings,
            overrides=active,
            ignored=ignored,
            cautions=cautions,
        )
        return with_blocks(snapshot, held.blocks)

    def _flask_routes(self, app: Flask) -> FlaskRoutes:
        """Return the app's routes, read anew only where it has changed: reading takes its time."""
        if self._routes is None or not self._routes.is_current:
            self._routes = FlaskRoutes(app)
        return self._routes

    def lock_problems(self, loaded: Loaded, table: RouteTable) -> tuple[Problem, ...]:
        """Compare `routes.lock` with both apps as `table` knows them."""
        return tuple(verify_lock(loaded, table))

    def _compiled(
        self,
        loaded: Loaded,
        legacy: LegacyRoutes,
        native: NativeRoutes,
        today: date,
        evidence: Evidence,
        blocks: tuple[Block, ...],
        overrides: Mapping[str, Override],
    ) -> Compiled:
        return compile_table(
            loaded.config,
            loaded.source,
            legacy,
            native,
            today,
            overrides,
            evidence,
            blocks,
        )

    def _evidence(self, loaded: Loaded, legacy: LegacyRoutes) -> Evidence:
        try:
            proofs = proved(loaded.folder / NAME)
        except ProofError:
            proofs = {}
        return KnownEvidence(legacy, self._handlers, self._guard, accepted_in(loaded), proofs)

    def _problems(self, loaded: Loaded, compiled: Compiled, native: NativeRoutes) -> list[Problem]:
        problems = list(compiled.problems)
        if self._locked:
            problems += verify_lock(loaded, compiled.table)
        if loaded.config.legacy.async_views == "main" and self._flask is None:
            problems.append(
                loaded.source.problem(
                    "needs-flask",
                    ("legacy", "async_views"),
                    "the legacy app is not a Flask app",
                    "remove it",
                )
            )
        problems += [
            loaded.source.problem("lost-context", ("native", "app"), what, warning=True)
            for what in dict.fromkeys(
                what for each in native.endpoints() for what in misused(each.dependant)
            )
        ]
        problems += self._guarded_twice(loaded, compiled.table)
        problems += self._writes(loaded)
        problems += parameter_problems(self._guard, loaded, compiled.table)
        app: ASGIApp | None = self._native.app if self._native is not None else None
        problems += cors_problems(loaded, compiled.table, self._legacy, app)
        return problems

    def _writes(self, loaded: Loaded) -> list[Problem]:
        """Hold each rule's `writes` to what they promise."""
        problems: list[Problem] = []
        for index, rule in enumerate(loaded.config.routes):
            if rule.writes is None:
                continue
            location = ("routes", index, "writes")
            try:
                undo = Undo.of(rule.writes)
            except AppImportError as error:
                problems.append(loaded.source.problem("app-import", location, str(error)))
                continue
            if not self.proves_writes:
                continue
            if rule.writes not in self._proved:
                self._proved[rule.writes] = undo.prove()
            wrong = self._proved[rule.writes]
            if wrong is not None:
                problems.append(loaded.source.problem("writes-last", location, *wrong))
        return problems

    def _guarded_twice(self, loaded: Loaded, table: RouteTable) -> list[Problem]:
        """Warn of handlers that solve the shared guard's dependency once more by themselves."""
        guard = self._guard
        if guard is None:
            return []
        twice = [
            route.id
            for route in table.routes
            if route.auth == "shared"
            and route.native is not None
            and route.method not in AUTOMATIC
            and asks_again(route.native.dependant, guard.dependency)
        ]
        return [
            loaded.source.problem(
                "guarded-twice",
                ("auth", "dependency"),
                f"{each} declares it too, so it runs twice: once in front, once for the handler",
                "let the handler take Depends(current_principal)",
                warning=True,
            )
            for each in dict.fromkeys(twice)
        ]


def _sorted_out(
    compile_: Callable[[Mapping[str, Override]], Compiled], overrides: Mapping[str, Override]
) -> tuple[dict[str, Override], dict[str, str]]:
    """Tell the overrides that can hold from those that can't; the oldest are tried first."""
    kept: dict[str, Override] = {}
    ignored: dict[str, str] = {}
    for route, override in sorted(overrides.items(), key=lambda each: each[1].since):
        trial = {**kept, route: override}
        compiled = compile_(trial)
        if compiled.errors:
            ignored[route] = str(compiled.errors[0])
        elif wrong := _unmovable({route: override}, compiled.table):
            ignored[route] = wrong
        else:
            kept = trial
    return kept, ignored


def _unmovable(overrides: Mapping[str, Override], table: RouteTable) -> str:
    """Say why native may not answer a route that an override moves; empty where it may."""
    for ident, override in overrides.items():
        if override.cutover in UNMOVED:
            continue
        for route in table.routes:
            mine = route.id == ident or (route.rule is not None and route.rule.id == ident)
            if mine and route.findings and route.coverage is Coverage.BOTH:
                return f"{route.id}: {route.findings[0]}"
    return ""


def digest_of(loaded: Loaded) -> str:
    """Return what tells one config from another: 12 hexadecimal digits."""
    text = loaded.config.model_dump_json().encode()
    return hashlib.blake2b(text, digest_size=6).hexdigest()


def _named_modules(loaded: Loaded) -> list[str]:
    """List the modules that the config's import strings name: `module:attr`."""
    named = (loaded.config.legacy.app, loaded.config.native.app)
    return [each.partition(":")[0] for each in named if each is not None]


def _policy(loaded: Loaded) -> tuple[Policy, list[Problem]]:
    kill_switch, tester = loaded.config.defaults.kill_switch, loaded.config.tester
    if tester is None:
        return Policy(kill_switch), []
    secret = os.environ.get(tester.secret_env, "") if tester.secret_env else None
    if secret == "":
        problem = loaded.source.problem(
            "missing-secret",
            ("tester", "secret_env"),
            f"the environment variable {tester.secret_env} is not set",
            "set it, or remove tester",
        )
        return Policy(kill_switch), [problem]
    return (
        Policy(
            kill_switch,
            Tester(
                header=tester.header.lower().encode(),
                secret_header=tester.secret_header.lower().encode(),
                secret=secret.encode() if secret else None,
                role=tester.role,
            ),
        ),
        [],
    )
