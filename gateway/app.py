"""The composition root: parts become a Gateway, and a Gateway is an ASGI app."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
import time
from collections.abc import Mapping
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from fastapi.exceptions import FastAPIError
from flask import Flask
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse

from gateway.admin import Pages, Phase, Token, WeakToken
from gateway.auth import Guard
from gateway.breaker import Breakers
from gateway.building import Builder
from gateway.config import AdminConfig, ObserveConfig
from gateway.control import Control
from gateway.dispatch import Dispatcher
from gateway.exceptions import AppImportError, ConfigError, GatewayError
from gateway.flask import urls
from gateway.flask.login_pages import login_pages
from gateway.flask.main_loop import MainLoop
from gateway.flask.reached import noting
from gateway.flask.side import FlaskSide
from gateway.guardrail import Guardrail
from gateway.held import Held
from gateway.http10 import unchunked
from gateway.importing import import_app, import_callable
from gateway.inventory import route_path
from gateway.legacy import Bridge, Pool
from gateway.lifespan import NestedLifespan
from gateway.loading import Loaded, load, load_mapping
from gateway.lock import verify_lock
from gateway.logs import logger_for
from gateway.native import NativeApp
from gateway.observe import AccessLog, LoopLag, LoopSql, Tally, Telemetry, Workers, server_pid
from gateway.overrides import outdated
from gateway.release import named, of_code
from gateway.reload import OnHangup, watch
from gateway.routing import AUTOMATIC, Coverage
from gateway.shadow.effects import recording
from gateway.shadow.mirror import Mirrors
from gateway.shadow.proofs import Proofs
from gateway.shadow.sharing import Sharing
from gateway.shadow.verdicts import Verdicts
from gateway.snapshot import SnapshotStore
from gateway.state import begin
from gateway.store import open_store

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from _typeshed.wsgi import WSGIApplication
    from starlette.middleware import Middleware
    from starlette.types import ASGIApp, Receive, Scope, Send

    from gateway.exceptions import Problem
    from gateway.observe import Observer
    from gateway.observe.tracing import Tracing
    from gateway.routing import RouteTable
    from gateway.snapshot import Snapshot

logger = logger_for("gateway")


class Gateway:
    """One ASGI app in front of a legacy WSGI app and a native ASGI app.

    `legacy` and `native` win over the config's import strings. `config` is a path, the values
    themselves, what `load` has made of them, or None for GATEWAY_CONFIG (else: no rules,
    everything as it was). `middleware` wraps both sides; the gateway's own pages stay outside of
    it. `observers` hear of every finished request. Without `verify_lock` a stale `routes.lock` is
    no error.

    Raises ConfigError with every problem, before anything is served.
    """

    def __init__(
        self,
        legacy: WSGIApplication | None = None,
        native: ASGIApp | None = None,
        config: str | os.PathLike[str] | Mapping[str, Any] | Loaded | None = None,
        *,
        middleware: Sequence[Middleware] = (),
        observers: Sequence[Observer] = (),
        verify_lock: bool = True,
        strict: bool = False,
    ) -> None:
        loaded = _load(config)
        problems: list[Problem] = []
        legacy_app = _app_for("legacy", legacy, loaded, problems)
        native_app = _app_for("native", native, loaded, problems)
        guard = _guard(loaded, native_app, problems)
        token = _token(loaded, problems)
        tracing = _tracing(loaded, problems)
        problems += _patched(loaded)
        if problems:
            raise ConfigError(problems)
        self.legacy: WSGIApplication = legacy_app
        self.native: ASGIApp | None = native_app
        self.guard = guard
        whole = loaded.config
        settings = whole.legacy
        self._native = NativeApp(native_app) if native_app is not None else None
        self._pool = Pool(
            threads=settings.threads, queue=settings.queue, queue_timeout=settings.queue_timeout
        )
        self._flask = FlaskSide(legacy_app) if isinstance(legacy_app, Flask) else None
        if self._flask is not None and self._native is not None:
            urls.install(self._flask.app, self._native.url_for)
        self._main_loop: MainLoop | None = None
        if settings.async_views == "main" and self._flask is not None:
            self._main_loop = MainLoop(self._flask.app)
        self._builder = Builder(
            legacy_app, self._native, self._flask, guard, locked=verify_lock, strict=strict
        )
        self.snapshots = SnapshotStore(self._builder.build(loaded, Held(), time.time()))
        store = open_store(
            whole.state, loaded.folder, on_disk=loaded.file is not None, alone=server_pid() is None
        )
        self.control = Control(
            builder=self._builder,
            snapshots=self.snapshots,
            loaded=loaded,
            store=store,
            release=self._release,
        )
        tally, self._breakers = Tally(), Breakers()
        verdicts = Verdicts()
        self._guardrail = Guardrail(self.control, self.control.store, tally, verdicts)
        self._started = time.time()
        self._mirror_pool = Pool(whole.mirror.in_flight, 0, settings.queue_timeout)
        self._proofs = Proofs(self.control)
        served = noting(legacy_app)
        again = Dispatcher(
            snapshots=self.snapshots,
            legacy=Bridge(served, self._mirror_pool, settings),
            native=self._native,
            flask=self._flask,
            guard=guard,
            tally=tally,
            breakers=self._breakers,
        )
        self.mirrors = Mirrors(
            whole.mirror,
            again.rerun,
            verdicts,
            self._prepare_mirror,
            lambda: self._mirror_pool.is_full,
            self._proofs,
            self._login_pages,
        )
        self._sharing = Sharing(verdicts, store, self._mirrored, proofs=self._proofs)
        self._lag = LoopLag(whole.observe.loop_lag, self.mirrors.blocked)
        self._telemetry = Telemetry(tally, Workers(server_pid()), self._facts)
        self._prefix = whole.admin.prefix.rstrip("/")
        self._pages = Pages(self._prefix, token, self.control, self._telemetry, self._guardrail)
        self._dispatch = Dispatcher(
            snapshots=self.snapshots,
            legacy=Bridge(served, self._pool, settings),
            native=self._native,
            flask=self._flask,
            guard=guard,
            tally=tally,
            breakers=self._breakers,
            tracing=tracing,
            observers=(*observers, *_access_log(whole.observe)),
            mirrors=self.mirrors,
            guardrail=self._guardrail,
        )
        app: ASGIApp = self._dispatch
        for cls, args, kwargs in reversed(list(middleware)):
            app = cls(app, *args, **kwargs)
        self._app = app

    @property
    def table(self) -> RouteTable:
        """The routes that are in force now."""
        return self.snapshots.current.table

    def lock_problems(self) -> tuple[Problem, ...]:
        """Compare `routes.lock` with both apps as they are now."""
        return tuple(verify_lock(self.control.loaded, self.table))

    def preview(self, held: Held) -> Snapshot:
        """Return what would be in force with the overrides that a store holds; changes nothing.

        Those whose line in the file has changed since they were made no longer count.
        """
        loaded = self.control.loaded
        gone = outdated(held.overrides, loaded.config, self.table)
        left = replace(held, overrides=tuple(e for e in held.overrides if e not in gone))
        return self._builder.build(loaded, left, time.time())

    def leave(self) -> None:
        """Say by `/-/ready` that traffic shall go elsewhere; what comes is served as ever."""
        self._pages.phase = Phase.DRAINING

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one ASGI scope."""
        if scope["type"] == "lifespan":
            await self._lifespan(scope, receive, send)
            return
        path: str = scope["path"]
        if not path.startswith("/") and "://" in path:
            # Absolute-form (RFC 9112, section 3.2.2), which h11 hands on as it came: both the
            # table and the apps must see one and the same path.
            path = "/" + path.partition("://")[2].partition("/")[2]
            raw = scope.get("raw_path") or quote(path).encode()
            if b"://" in raw:
                raw = b"/" + raw.partition(b"://")[2].partition(b"/")[2]
            scope = {**scope, "path": path, "raw_path": raw}
        if scope.get("http_version") == "1.0":
            send = unchunked(scope, send)
        # The cheap test first: it is paid by every request.
        if self._prefix in path:
            path = route_path(scope)
            if path == self._prefix or path.startswith(f"{self._prefix}/"):
                await self._pages(path[len(self._prefix) :], scope, receive, send)
                return
        if self._pages.phase is Phase.STARTING:
            await self._refuse_unstarted(scope, receive, send)
            return
        begin()
        if recording.get() is not None:
            recording.set(None)  # a pipelined request begins in the context of the one before
        await self._app(scope, receive, send)

    async def _lifespan(self, scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        nested = NestedLifespan(self._native, dict(scope)) if self._native is not None else None
        failure = await nested.start() if nested is not None else None
        raised = nested.error if nested is not None and failure is not None else None
        if failure is None:
            try:
                # It builds once more: routes may have been added since the Gateway was made.
                await self.control.start()
            except GatewayError as error:
                failure, raised = str(error), error
                await self.control.stop()
                if nested is not None:
                    await nested.stop()
        if failure is not None:
            await send({"type": "lifespan.startup.failed", "message": failure})
            if raised is not None:
                raise raised  # as Starlette does; a server that was told doesn't log it again
            return
        async with self._running():
            self._pages.phase = Phase.READY
            for problem in self.snapshots.current.warnings:
                (logger.error if problem.finding else logger.warning)("%s", problem)
            await send({"type": "lifespan.startup.complete"})
            await receive()
            self._pages.phase = Phase.DRAINING
        failure = await nested.stop() if nested is not None else None
        if nested is not None and failure is not None:
            await send({"type": "lifespan.shutdown.failed", "message": failure})
            if nested.error is not None:
                raise nested.error
        else:
            await send({"type": "lifespan.shutdown.complete"})

    @contextlib.asynccontextmanager
    async def _running(self) -> AsyncIterator[None]:
        """Run what works for requests and beside them; end it once the last of them is served."""
        self._pool.start()
        if any(route.mirroring is not None for route in self.table.routes):
            # Not with the first mirror: starting threads takes the loop's time.
            self._mirror_pool.start()
        if self._main_loop is not None:
            self._main_loop.loop = asyncio.get_running_loop()
        await self._sharing.prepare()
        loop_sql = LoopSql()
        for service in (loop_sql, self._lag, self._telemetry, self._guardrail, self._sharing):
            service.start()
        reload = self.control.reload
        watching = asyncio.create_task(watch(self.control.loaded, reload), name="gateway-reload")
        hangup = OnHangup(reload)
        hangup.install()
        yield
        hangup.remove()
        watching.cancel()
        await asyncio.gather(watching, return_exceptions=True)
        loop_sql.stop()
        self._lag.stop()
        await self._guardrail.stop()
        await self.mirrors.stop()
        await self._sharing.stop()
        await self._mirror_pool.drain(0)
        await self._pool.drain(self.snapshots.current.config.legacy.shutdown_timeout)
        await self._telemetry.stop()
        await self.control.stop()
        if self._main_loop is not None:
            self._main_loop.loop = None

    def _facts(self) -> dict[str, Any]:
        """Return this worker's numbers of the moment, for metrics."""
        pool, control, snapshot = self._pool.stats(), self.control, self.snapshots.current
        outcome = control.outcome
        return {
            "revision": snapshot.revision,
            "started": self._started,
            "circuits": self._breakers.states(),
            "counters": {
                **asdict(control.counts),
                "pool_dropped": pool.dropped,
                "pool_refused": pool.refused,
                "circuit_opened": self._breakers.opened,
            },
            "blocks": dict(self._lag.counts),
            "mirrors": self.mirrors.as_json(),
            "opened": self._opened(snapshot),
            "moves": [[*key, number] for key, number in self._guardrail.moves.items()],
            "gauges": {
                "gateway_config_last_reload_successful": int(outcome.ok),
                "gateway_config_last_reload_timestamp_seconds": outcome.at,
                "gateway_config_restart_required": len(outcome.restart_required),
                "gateway_overrides": len(snapshot.overrides),
                "gateway_overrides_ignored": len(snapshot.ignored),
                "gateway_routes_refused": len(snapshot.refused),
                "gateway_kill_switch": int(snapshot.policy.kill_switch),
                "gateway_store_up": int(control.store_error is None),
                "gateway_loop_longest_block_seconds": self._lag.longest,
                "gateway_circuits_open": len(self._breakers.states()),
                "gateway_mirrors_in_flight": self.mirrors.in_flight,
                "gateway_mirrors_suspended": len(self.mirrors.suspended),
                "gateway_pool_threads": pool.threads,
                "gateway_pool_busy": pool.busy,
                "gateway_pool_queued": pool.queued,
            },
        }

    def _opened(self, snapshot: Snapshot) -> list[list[Any]]:
        """Return how often each route has opened here, and whether it is blocked: 1 or 0.

        Routes that a rule names are there from the start, HEAD only where it has opened.
        """
        counts, stand = self._proofs.opened, snapshot.blocks
        names = {
            (route.method, route.label)
            for route in snapshot.table.routes
            if route.coverage is Coverage.BOTH
            and route.method not in AUTOMATIC
            and (route.rule is not None or route.mirroring is not None)
        }
        return [
            [method, label, counts.get((method, label), 0), int(f"{method} {label}" in stand)]
            for method, label in sorted(names | counts.keys())
        ]

    def _mirrored(self) -> frozenset[str]:
        """Return the ids of the routes that are mirrored as the config is now."""
        return frozenset(each.id for each in self.table.routes if each.mirroring is not None)

    def _release(self) -> str:
        """Return the build id of both apps' code; reads files."""
        name = named(os.environ)
        return name if name is not None else of_code(self._written_in())

    def _written_in(self) -> set[str]:
        """Return the modules that both apps are written in, as far as they can be told."""
        table, names = self.table, {type(self.legacy).__module__, type(self.native).__module__}
        names.update(str(getattr(each, "__module__", "")) for each in (self.legacy, self.native))
        if self._flask is not None:
            app = self._flask.app
            names.add(app.import_name)
            names.update(str(getattr(v, "__module__", "")) for v in app.view_functions.values())
        names.update(r.native.module for r in table.routes if r.native is not None)
        return names

    def _login_pages(self) -> frozenset[str]:
        """Return the paths of login pages: a redirect to one of them is a refusal."""
        auth = self.control.loaded.config.auth
        if auth is not None and auth.login is not None:
            return frozenset(auth.login)
        return login_pages(self._flask.app) if self._flask is not None else frozenset()

    def _prepare_mirror(self) -> None:
        """Make ready for a mirrored request; what there is to do is done for the first one."""
        self._mirror_pool.start()
        if self._flask is not None:
            self._flask.prepare_mirrors()

    async def _refuse_unstarted(self, scope: Scope, receive: Receive, send: Send) -> None:
        logger.error(
            "a request came before the ASGI lifespan: run the server with it on "
            "(uvicorn --lifespan on), and forward it from any app that mounts the gateway"
        )
        if scope["type"] == "websocket":
            await receive()
            await send({"type": "websocket.close", "code": 1011})
            return
        response = PlainTextResponse("Service Unavailable: the gateway was not started\n", 503)
        await response(scope, receive, send)


def _load(config: str | os.PathLike[str] | Mapping[str, Any] | Loaded | None) -> Loaded:
    if isinstance(config, Loaded):
        return config
    if isinstance(config, Mapping):
        return load_mapping(config)
    if config is not None:
        return load(config)
    named = os.environ.get("GATEWAY_CONFIG")
    return load(named) if named else load_mapping({"version": 1})


def _app_for(side: str, given: Any, loaded: Loaded, problems: list[Problem]) -> Any:
    """Return the app of one side: the object given, else what the config names."""
    location = (side, "app")
    app = given
    if app is None:
        string = getattr(loaded.config, side).app
        if string is None:
            if side == "legacy":
                problems.append(
                    loaded.source.problem(
                        "missing-key", location, "is missing", "name the Flask app: module:app"
                    )
                )
            return None
        try:
            app = import_app(string)
        except AppImportError as error:
            problems.append(loaded.source.problem("app-import", location, str(error)))
            return None
    wrong = _wrong_side(side, app)
    if wrong:
        problems.append(loaded.source.problem("app-kind", location, *wrong))
    return app


def _guard(loaded: Loaded, native: Any, problems: list[Problem]) -> Guard | None:
    """Make the shared guard that the config names, if it names one."""
    auth = loaded.config.auth
    if auth is None or auth.dependency is None:
        return None
    location = ("auth", "dependency")
    try:
        dependency = import_callable(auth.dependency, "a dependency")
        return Guard(dependency, auth, native if isinstance(native, Starlette) else None)
    except AppImportError as error:
        problems.append(loaded.source.problem("app-import", location, str(error)))
    except (AssertionError, FastAPIError, NameError, TypeError, ValueError) as error:
        what = f"FastAPI can't use it as a dependency: {error}"
        problems.append(loaded.source.problem("bad-dependency", location, what))
    return None


def _token(loaded: Loaded, problems: list[Problem]) -> Token:
    """Read the admin token; without one the admin pages are off."""
    admin = loaded.config.admin
    try:
        return Token(admin, loaded.folder)
    except WeakToken as error:
        key = "token_env" if admin.token_env is not None else "token_file"
        hint = "`openssl rand -hex 24` makes a good one"
        problems.append(loaded.source.problem("weak-token", ("admin", key), str(error), hint))
        return Token(AdminConfig(), loaded.folder)


def _tracing(loaded: Loaded, problems: list[Problem]) -> Tracing | None:
    if not loaded.config.observe.tracing:
        return None
    try:
        from gateway.observe.tracing import Tracing  # noqa: PLC0415 - needs the `otel` extra
    except ModuleNotFoundError as error:
        problems.append(
            loaded.source.problem(
                "missing-package",
                ("observe", "tracing"),
                f"tracing needs {error.name}",
                "pip install 'gateway[otel]'",
            )
        )
        return None
    return Tracing()


def _access_log(observe: ObserveConfig) -> tuple[Observer, ...]:
    return () if observe.access_log == "none" else (AccessLog(observe.access_log),)


def _patched(loaded: Loaded) -> list[Problem]:
    """Refuse gevent's threads: the pool's locks would then block the event loop."""
    monkey = sys.modules.get("gevent.monkey")
    if monkey is None or not monkey.is_module_patched("threading"):
        return []
    return [
        loaded.source.problem(
            "gevent-patched",
            ("legacy", "app"),
            "gevent has patched `threading` in this process, which stops the event loop",
            "remove monkey.patch_all(); the gateway serves legacy on real threads",
        )
    ]


def _wrong_side(side: str, app: Any) -> tuple[str, str] | None:
    if not callable(app):
        return f"{type(app).__name__} can't be called as an app", "name the app itself"
    if side == "legacy" and isinstance(app, Starlette):
        return "this is an ASGI app, legacy is the WSGI side", "name it under native.app"
    if side == "native" and isinstance(app, Flask):
        return "this is a Flask app, native is the ASGI side", "name it under legacy.app"
    return None
