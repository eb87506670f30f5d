"""The composition root: parts become a Gateway, and a Gateway is an ASGI app."""

from __future__ import annotations

import asyncio
import hashlib
import logging
import os
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from fastapi import FastAPI
from fastapi.exceptions import FastAPIError
from flask import Flask
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse

from gateway.admin.probes import Phase, serve_probe
from gateway.auth import Guard, asks_again
from gateway.compiling import compile_table
from gateway.cors import cors_problems
from gateway.cutover import Policy, Tester
from gateway.dispatch import Dispatcher
from gateway.exceptions import AppImportError, ConfigError, GatewayError
from gateway.flask import urls
from gateway.flask.main_loop import MainLoop
from gateway.flask.misuse import misused
from gateway.flask.routes import FlaskRoutes
from gateway.flask.side import FlaskSide
from gateway.importing import import_app, import_callable
from gateway.inventory import LegacyRoutes, NativeRoutes, NoNative, OpaqueLegacy, route_path
from gateway.legacy import Bridge, Pool
from gateway.lifespan import NestedLifespan
from gateway.loading import Loaded, in_order, load, load_mapping
from gateway.lock import verify_lock
from gateway.native import NativeApp
from gateway.observe import LoopSql
from gateway.routing import AUTOMATIC
from gateway.snapshot import Snapshot, SnapshotStore
from gateway.state import begin

if TYPE_CHECKING:
    from collections.abc import Sequence

    from _typeshed.wsgi import WSGIApplication
    from starlette.middleware import Middleware
    from starlette.types import ASGIApp, Receive, Scope, Send

    from gateway.exceptions import Problem
    from gateway.observe import Observer
    from gateway.routing import RouteTable

logger = logging.getLogger("gateway")


class Gateway:
    """One ASGI app in front of a legacy WSGI app and a native ASGI app.

    `legacy` and `native` win over the config's import strings. `config` is a path, the values
    themselves, or None for GATEWAY_CONFIG (else: no rules, everything as it was). `middleware`
    wraps both sides; the gateway's own pages stay outside of it. `observers` hear of every
    finished request. Without `verify_lock` a stale `routes.lock` is no error.

    Raises ConfigError with every problem, before anything is served.
    """

    def __init__(
        self,
        legacy: WSGIApplication | None = None,
        native: ASGIApp | None = None,
        config: str | os.PathLike[str] | Mapping[str, Any] | None = None,
        *,
        middleware: Sequence[Middleware] = (),
        observers: Sequence[Observer] = (),
        verify_lock: bool = True,
    ) -> None:
        self._verify_lock = verify_lock
        self._loaded = _load(config)
        problems: list[Problem] = []
        legacy_app = _app_for("legacy", legacy, self._loaded, problems)
        native_app = _app_for("native", native, self._loaded, problems)
        self._guard = _guard(self._loaded, native_app, problems)
        problems += _patched(self._loaded)
        if problems:
            raise ConfigError(problems)
        self.legacy: WSGIApplication = legacy_app
        self.native: ASGIApp | None = native_app
        settings = self._loaded.config.legacy
        self._native = NativeApp(native_app) if native_app is not None else None
        self._pool = Pool(
            threads=settings.threads, queue=settings.queue, queue_timeout=settings.queue_timeout
        )
        self._prefix = self._loaded.config.admin.prefix.rstrip("/")
        self._phase = Phase.STARTING
        self._flask = FlaskSide(legacy_app) if isinstance(legacy_app, Flask) else None
        if self._flask is not None and self._native is not None:
            urls.install(self._flask.app, self._native.url_for)
        self._main_loop: MainLoop | None = None
        if settings.async_views == "main" and self._flask is not None:
            self._main_loop = MainLoop(self._flask.app)
        self.snapshots = SnapshotStore(self._build())
        self._dispatch = Dispatcher(
            snapshots=self.snapshots,
            legacy=Bridge(legacy_app, self._pool, settings),
            native=self._native,
            flask=self._flask,
            guard=self._guard,
            observers=tuple(observers),
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
        return tuple(verify_lock(self._loaded, self.table))

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
        # The cheap test first: it is paid by every request.
        if self._prefix in path:
            path = route_path(scope)
            if path == self._prefix or path.startswith(f"{self._prefix}/"):
                revision = self.snapshots.current.revision
                below = path[len(self._prefix) :]
                await serve_probe(below, self._phase, revision, scope, receive, send)
                return
        if self._phase is Phase.STARTING:
            await self._refuse_unstarted(scope, receive, send)
            return
        begin()
        await self._app(scope, receive, send)

    async def _lifespan(self, scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        nested = NestedLifespan(self._native, dict(scope)) if self._native is not None else None
        failure = await nested.start() if nested is not None else None
        if failure is None:
            try:
                # Once more: routes may have been added since the Gateway was made.
                self.snapshots.swap(self.snapshots.current.revision, self._build())
            except GatewayError as error:
                failure = str(error)
                if nested is not None:
                    await nested.stop()
        if failure is not None:
            await send({"type": "lifespan.startup.failed", "message": failure})
            return
        self._pool.start()
        if self._main_loop is not None:
            self._main_loop.loop = asyncio.get_running_loop()
        loop_sql = LoopSql()
        loop_sql.start()
        self._phase = Phase.READY
        for problem in self.snapshots.current.warnings:
            logger.warning("%s", problem)
        await send({"type": "lifespan.startup.complete"})
        await receive()
        self._phase = Phase.DRAINING
        loop_sql.stop()
        await self._pool.drain(self._loaded.config.legacy.shutdown_timeout)
        if self._main_loop is not None:
            self._main_loop.loop = None
        failure = await nested.stop() if nested is not None else None
        if failure is not None:
            await send({"type": "lifespan.shutdown.failed", "message": failure})
        else:
            await send({"type": "lifespan.shutdown.complete"})

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

    def _build(self) -> Snapshot:
        """Compile the config against both apps; raise ConfigError with every problem."""
        loaded = self._loaded
        legacy: LegacyRoutes
        legacy = FlaskRoutes(self.legacy) if isinstance(self.legacy, Flask) else OpaqueLegacy()
        native: NativeRoutes = self._native if self._native is not None else NoNative()
        today = datetime.now(UTC).date()
        refused = None
        if self._flask is not None:
            self._flask.refresh()
            self._flask.learn(native.endpoints())
            refused = self._flask.refusal
        compiled = compile_table(loaded.config, loaded.source, legacy, native, today, refused)
        problems = list(compiled.problems)
        if self._verify_lock:
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
        problems += self._guarded_twice(compiled.table)
        problems += cors_problems(loaded, compiled.table, self.legacy, self.native)
        policy, unset = _policy(loaded)
        problems += unset
        if not all(problem.warning for problem in problems):
            raise ConfigError(in_order(problems))
        digest = hashlib.blake2b(loaded.config.model_dump_json().encode(), digest_size=6)
        return Snapshot(
            config=loaded.config,
            table=compiled.table,
            policy=policy,
            revision=digest.hexdigest(),
            warnings=tuple(problems),
        )

    def _guarded_twice(self, table: RouteTable) -> list[Problem]:
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
            self._loaded.source.problem(
                "guarded-twice",
                ("auth", "dependency"),
                f"{each} declares it too, so it runs twice: once in front, once for the handler",
                "let the handler take Depends(current_principal)",
                warning=True,
            )
            for each in dict.fromkeys(twice)
        ]


def _load(config: str | os.PathLike[str] | Mapping[str, Any] | None) -> Loaded:
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
    if auth is None:
        return None
    location = ("auth", "dependency")
    try:
        dependency = import_callable(auth.dependency, "a dependency")
        return Guard(dependency, auth, native if isinstance(native, FastAPI) else None)
    except AppImportError as error:
        problems.append(loaded.source.problem("app-import", location, str(error)))
    except (FastAPIError, TypeError, ValueError) as error:
        what = f"FastAPI can't use it as a dependency: {error}"
        problems.append(loaded.source.problem("bad-dependency", location, what))
    return None


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
