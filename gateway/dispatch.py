"""The way of one request: match → decide → serve → observe. The snapshot is read once."""

from __future__ import annotations

import time
from dataclasses import dataclass, field, replace
from functools import partial
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from starlette.requests import ClientDisconnect
from starlette.responses import PlainTextResponse

from gateway.auth import handshake
from gateway.cutover import NOBODY, Caller, Decision, decide
from gateway.exceptions import AnswerAbortedError, Handover, RequestRefused, Strayed, UseLegacy
from gateway.failover import KeptBody, attempt
from gateway.flask.inside import ENVIRON_KEY, Passport, RetiredRoute
from gateway.inventory import route_path
from gateway.logs import logger_for
from gateway.observe import Exchange, Observer, notify
from gateway.outgoing import WithoutBody, adding
from gateway.routing import SAFE, Backend, Coverage, Match, Reason
from gateway.secrecy import path_without_secrets
from gateway.shadow.effects import forget
from gateway.shadow.kept import apart
from gateway.state import REACHED_KEY, request_state

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from starlette.types import Message, Receive, Scope, Send

    from gateway.auth import Guard, Passed, Principal
    from gateway.breaker import Breakers
    from gateway.flask.side import FlaskSide
    from gateway.guardrail import Guardrail
    from gateway.legacy import Bridge
    from gateway.native import NativeApp
    from gateway.observe.tally import Tally
    from gateway.observe.tracing import Tracing
    from gateway.routing import Route
    from gateway.shadow.kept import Kept
    from gateway.shadow.mirror import Mirrors
    from gateway.snapshot import Snapshot, SnapshotStore
    from gateway.state import Reached

logger = logger_for("gateway.dispatch")

#: Where legacy finds the Principal; no header can write there (PEP 3333: they become HTTP_…).
PRINCIPAL_KEY = "gateway.principal"
#: Set where legacy serves a mirrored request.
MIRROR_KEY = "gateway.mirror"
#: What an answer that broke off is counted as: whatever its head said, it has failed.
_BROKEN = 599
#: What a mounted app says of a path that it doesn't have.
_NOT_HERE = frozenset({HTTPStatus.NOT_FOUND, HTTPStatus.METHOD_NOT_ALLOWED})
_GUARDED = Decision(Backend.NATIVE, Reason.GUARD)


@dataclass(slots=True)
class Dispatcher:
    """Serves HTTP and WebSocket scopes from the current snapshot.

    `flask` is None where legacy isn't a Flask app. `tally` counts every HTTP request,
    `breakers` keep failing routes on legacy; `observers` hear of each request, and cost nothing
    while there are none.
    """

    snapshots: SnapshotStore
    legacy: Bridge
    native: NativeApp | None
    flask: FlaskSide | None
    tally: Tally
    breakers: Breakers
    guard: Guard | None = None
    tracing: Tracing | None = None
    observers: tuple[Observer, ...] = ()
    mirrors: Mirrors | None = None
    guardrail: Guardrail | None = None
    bypassed: set[str] = field(default_factory=set)
    """Moved routes that WSGI middleware has answered by itself, so that it is told once."""

    def __post_init__(self) -> None:
        """Have a say in what the native app's own middleware makes of a request."""
        if self.native is not None:
            self.native.may_turn = self._may_turn

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[Any]:
        """Serve one request or WebSocket."""
        if scope["type"] != "http":
            return self._websocket(scope, receive, send)
        snapshot = self.snapshots.current
        match = snapshot.table.match(scope)
        return self._observed(_Request(snapshot, match, scope, receive, send))

    async def rerun(
        self,
        snapshot: Snapshot,
        match: Match,
        decision: Decision,
        scope: Scope,
        receive: Receive,
        send: Send,
        reached: Reached,
    ) -> None:
        """Serve a mirrored request: decided already, neither counted nor observed.

        Raises what native has raised, also where Flask has answered for it, and Strayed where the
        view may have answered in native's place.
        """
        request = _Request(snapshot, match, scope, receive, send, decision)
        request.reached = reached
        await self._admitted(request)
        error, request.error = request.error, None
        if error is not None:
            try:
                raise error
            finally:
                del error  # its frames lead back here
        if request.strayed:
            raise Strayed(path_without_secrets(scope["path"]))

    # -- observe ------------------------------------------------------------------------------

    async def _observed(self, request: _Request) -> None:
        broken = False
        started = time.perf_counter()
        try:
            if self.tracing is None:
                await self._admitted(request)
            else:
                await self._traced(self.tracing, request)
        except UseLegacy:
            broken = True
            path = path_without_secrets(request.scope["path"])
            message = f"{path}: UseLegacy, but legacy has no such route"
            logger.error(message)
            raise RuntimeError(message) from None
        except Exception as error:
            broken = not isinstance(error, OSError | ClientDisconnect)  # the client hasn't left
            raise
        finally:
            now = time.perf_counter()
            status = max(request.status, _BROKEN) if broken else request.status
            self._finished(request, status, now, now - started)

    def _finished(self, request: _Request, status: int, now: float, duration: float) -> None:
        match, decision, method = request.served, request.decision, request.scope["method"]
        route = match.route
        if route is not None and route.circuit is not None:
            self.breakers.note(route, decision, status, now)
        if request.allowed is not None and request.allowed is not route:
            self.breakers.forgo(request.allowed, now)
        if route is not None and route.guardrail is not None and self.guardrail is not None:
            self.guardrail.note(route, decision, status)
        self.tally.note(request.snapshot.table, match, decision, method, status, duration)
        if self.observers:
            notify(self.observers, request.exchange(duration))

    async def _traced(self, tracing: Tracing, request: _Request) -> None:
        with tracing.around(dict(request.scope)) as (span, traced):
            request.trace_id = tracing.trace_id(span)
            request.scope = request.began = traced
            try:
                await self._admitted(request)
            finally:
                tracing.finish(span, request.served, request.decision, request.status)

    # -- decide -------------------------------------------------------------------------------

    def _admitted(self, request: _Request) -> Awaitable[None]:
        """Serve the request, after the shared guard where the route asks for it."""
        snapshot, match = request.snapshot, request.match
        if _is_guarded(snapshot, match):
            return self._guarded(request)
        if match.route is not None and match.route.reads_session:
            return self._known(request, NOBODY)
        decision = request.forced or decide(match, request.scope, snapshot.policy)
        return self._serve(request, decision)

    async def _guarded(self, request: _Request) -> None:
        scope, route = request.scope, request.match.route
        if self.guard is None:  # no table is built without one; a broken snapshot opens nothing
            refusal = PlainTextResponse("Forbidden", HTTPStatus.FORBIDDEN)
            await refusal(scope, request.receive, request)
            return

        refuse = adding(request.snapshot, _GUARDED, scope, request)
        asked, session = scope, None
        if self.flask is not None:
            asked, session = self.flask.for_guard(scope)
            refuse = session.sending(refuse)

        async def go_on(passed: Passed) -> None:
            state = {**passed.state, "principal": passed.principal}
            request.scope, request.receive = {**scope, "state": state}, passed.receive
            request.sends = passed.sending(request.sends)
            if session is not None and session.used and request.forced is None:
                request.sends = session.sending(request.sends)
            request.principal = principal = passed.principal
            request.guarded = route
            if request.forced is not None:
                forget()  # of the client's request, too, only what comes after the guard counts
            caller = NOBODY if principal is None else Caller(principal.id, principal.scopes)
            await self._known(request, caller)

        if route is not None and route.mirroring is not None:
            request.began = apart(scope)
        guarded = self.guard.on(request.snapshot.table, request.match, scope)
        await self.guard.run(asked, request.receive, refuse, go_on, guarded)

    async def _known(self, request: _Request, caller: Caller) -> None:
        """Serve the request of a caller who is known, or may be by the Flask session."""
        route = request.match.route
        if route is not None and route.reads_session and self.flask is not None:
            session = await self.flask.read_session(request.scope)
            caller = replace(caller, session=session)
        request.caller = caller
        policy = request.snapshot.policy
        decision = request.forced or decide(request.match, request.scope, policy, caller)
        await self._serve(request, decision)

    # -- serve --------------------------------------------------------------------------------

    def _serve(self, request: _Request, decision: Decision) -> Awaitable[None]:
        """Serve the request by the side that was decided for, or by legacy while it can't."""
        match, mirrors = request.match, self.mirrors
        route = match.route
        if route is None or route.mirroring is None or mirrors is None:
            return self._answer(request, decision)
        if match.forced is not None:
            # It doesn't follow the cutover: the other side will never have to answer it.
            return self._answer(request, decision)
        kept = mirrors.keep(request.snapshot, route, request.began, request.receive, request.sends)
        if kept is None:
            return self._answer(request, decision)
        return self._mirrored(mirrors, request, decision, kept)

    async def _mirrored(
        self, mirrors: Mirrors, request: _Request, decision: Decision, kept: Kept
    ) -> None:
        """Serve, and then let the other side answer as well, which nobody waits for."""
        request.receive, request.sends = kept.receive, kept.send
        request.reached = kept.reached
        error: Exception | None = None
        try:
            await self._answer(request, decision)
        except Exception as raised:
            error = raised
            raise
        finally:
            error, request.error = error or request.error, None
            mirrors.begin(request.snapshot, request.match, kept, request.decision, error)
            del error  # its frames lead back here: no circle shall keep them alive

    def _answer(self, request: _Request, decision: Decision) -> Awaitable[None]:
        snapshot, match = request.snapshot, request.match
        request.shown = _shown(snapshot, request.scope)
        native = decision.backend is Backend.NATIVE
        route = match.route
        if native and route is not None and route.guardrail is not None and self._tripped(route):
            native = False
            decision = replace(decision, backend=Backend.LEGACY, reason=Reason.OVERRIDE)
        if native and route is not None and route.circuit is not None:
            native = self.breakers.allows(route, time.perf_counter())
            if native:
                request.allowed = route
            else:
                decision = replace(decision, backend=Backend.LEGACY, reason=Reason.CIRCUIT_OPEN)
        request.decision = decision
        flask = self.flask
        if not native or not (flask is None or self._goes_around(flask, request, match)):
            return self._serve_legacy(request, decision)
        answer = adding(snapshot, decision, request.scope, request)
        if flask is not None and not flask.idle:
            request.shown, answer = flask.lend(match, request.shown, answer)
        if route is None or route.coverage is not Coverage.BOTH:
            return self._native(match, request.shown, request.receive, answer)
        return self._native_first(request, decision, answer)

    def _tripped(self, route: Route) -> bool:
        """Tell whether native fails in a burst here, so that its rollback is on its way."""
        return self.guardrail is not None and route.id in self.guardrail.stopped

    async def _native_first(self, request: _Request, decision: Decision, answer: Send) -> None:
        """Let native answer, and legacy where it fails or hands over before its first byte."""
        match, scope, receive = request.match, request.shown, request.receive
        failover = match.route.failover if match.route is not None else None
        safe = scope["method"] in SAFE
        memory = request.snapshot.config.legacy.spool_memory
        kept = KeptBody(receive, memory, self.legacy.spooled)
        try:
            reason = Reason.USE_LEGACY
            try:
                if failover is None or not (safe or failover.unsafe):
                    await self._native(match, scope, kept, answer)
                    return
                timeout = failover.timeout if safe else None
                failure = await attempt(partial(self._native, match, scope), kept, answer, timeout)
                if failure is None:
                    return
                path = path_without_secrets(scope["path"])
                logger.warning("%s %s: %s", scope["method"], path, failure.what)
                reason = Reason.FAILOVER
            except UseLegacy:
                if request.forced is not None:
                    raise  # a mirror that asks for the other side has nothing to be compared with
            request.receive = kept.again()
            await self._go_over(request, decision, reason)
        except RequestRefused as refused:
            response = PlainTextResponse(f"{refused}\n", refused.status, {"retry-after": "5"})
            await response(scope, receive, answer)
        finally:
            kept.close()

    async def _go_over(self, request: _Request, decision: Decision, reason: Reason) -> None:
        """Let legacy answer what native was to answer."""
        if request.status:
            path = path_without_secrets(request.scope["path"])
            message = f"{path}: UseLegacy came after the first byte"
            raise AnswerAbortedError(message)
        decision = replace(decision, backend=Backend.LEGACY, reason=reason)
        await self._serve_legacy(request, decision)

    async def _serve_legacy(self, request: _Request, decision: Decision) -> None:
        """Serve by the legacy app: by its view, or by the native handler in the view's place."""
        flask, principal, match = self.flask, request.principal, request.match
        snapshot, scope, receive = request.snapshot, request.shown, request.receive
        request.decision = decision
        extra: dict[str, Any] = {}
        passport: Passport | None = None
        native = decision.backend is Backend.NATIVE
        if native and self.native is not None:
            scope = self.native.rooted(scope)
        if flask is not None and (native or flask.rewrites or principal is not None):
            passport = extra[ENVIRON_KEY] = self._passport(request, decision)
        if principal is not None:
            extra[PRINCIPAL_KEY] = principal
        if request.forced is not None:
            extra[MIRROR_KEY] = True
        if request.reached is not None and flask is not None and flask.full_dispatch is None:
            extra[REACHED_KEY] = request.reached
        answer = adding(snapshot, decision, request.scope, request, passport)
        body = match.route.body if match.route is not None else snapshot.config.legacy.body
        try:
            await self.legacy.serve(
                scope,
                receive,
                answer,
                body=body,
                environ_extra=extra or None,
                may_ask=passport is not None,
            )
        except RetiredRoute as retired:
            handed = Decision(Backend.NATIVE, Reason.RETIRED, mint=decision.mint)
            request.served, request.decision, passport = retired.match, handed, None
            answer = adding(snapshot, handed, retired.scope, request)
            shown = _shown(snapshot, dict(retired.scope))
            await self._native(retired.match, shown, retired.receive, answer)
        except Strayed:
            raise
        except Handover as handover:
            path = path_without_secrets(scope["path"])
            logger.error("legacy handed over %s without a route", path, exc_info=handover)
            response = PlainTextResponse("Internal Server Error", 500)
            await response(scope, receive, answer)
        finally:
            if passport is not None:
                request.error = passport.error or passport.raised
                passport.error = passport.raised = passport.handed = None
                request.served, request.decision = passport.match, passport.decision
                if passport.decision.backend is Backend.NATIVE and not passport.asked:
                    # Native has done nothing, well or badly.
                    reason = Reason.HOOKS if passport.held else Reason.MIDDLEWARE
                    request.decision = replace(
                        passport.decision, backend=Backend.LEGACY, reason=reason
                    )
                    other = flask.full_dispatch if flask is not None else None
                    request.strayed = passport.strayed if passport.held else other is not None
                    if not passport.held:
                        self._tell_of_middleware(request, other)

    def _tell_of_middleware(self, request: _Request, other: str | None) -> None:
        """Name a moved route, once, whose path something in front of Flask serves by itself.

        `other` is what calls hooks and view in the place of Flask's own method.
        """
        route = request.match.route
        answered = request.status < HTTPStatus.MULTIPLE_CHOICES or request.status in _NOT_HERE
        if route is None or not answered or route.id in self.bypassed:
            return
        self.bypassed.add(route.id)
        logger.warning(
            "%s: %s answered by itself (%d), so that Flask called neither its view "
            "nor the native handler. Is another app mounted there?"
            if other is None
            else "%s: %s, or WSGI middleware, answered by itself (%d), without Flask's hooks: the "
            "native handler runs only behind them",
            route.id,
            other or "WSGI middleware",
            request.status,
        )

    # -- Flask around native ------------------------------------------------------------------

    def _goes_around(self, flask: FlaskSide, request: _Request, match: Match) -> bool:
        defaults = request.snapshot.config.defaults
        hooks = match.route.hooks if match.route is not None else defaults.hooks
        return flask.lets_by(match, request.scope, hooks)

    def _inherits(self, request: _Request, match: Match) -> bool:
        """Tell whether Flask's own machinery belongs around a match that native serves."""
        return self.flask is not None and not self._goes_around(self.flask, request, match)

    def _passport(self, request: _Request, decision: Decision) -> Passport:
        snapshot, flask, scope = request.snapshot, self.flask, request.scope
        if decision.backend is Backend.NATIVE and self.native is not None:
            scope = self.native.rooted(scope)
        return Passport(
            table=snapshot.table,
            policy=snapshot.policy,
            scope=scope,
            match=request.match,
            decision=decision,
            native=lambda found: partial(self._native_shown, snapshot, found),
            inherits=partial(self._inherits, request),
            rewrites=flask is not None and flask.rewrites,
            caller=request.caller,
            principal=request.principal,
            guarded=request.guarded,
            mirrored=request.forced is not None,
        )

    async def _native_shown(
        self, snapshot: Snapshot, match: Match, scope: Scope, receive: Receive, send: Send
    ) -> None:
        if match.head:
            # Flask's hooks see the GET's whole body; the bridge drops it after them.
            scope, match = {**scope, "method": "GET"}, replace(match, head=False)
        await self._native(match, _shown(snapshot, scope), receive, send)

    def _native(self, match: Match, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        native = self.native
        if native is None:
            # Nothing is ever decided native without a native app; this is for broken snapshots.
            answer = PlainTextResponse("Bad Gateway", HTTPStatus.BAD_GATEWAY)
            return answer(scope, receive, send)
        if match.head:
            scope = {**scope, "method": "GET"}
            headless = WithoutBody(receive, send)
            receive, send = headless.receive, headless.send
        route = match.route
        if (
            not match.direct
            and route is not None
            and route.legacy is not None
            and route.native is not None
            and route.template is not None
            and match.forced is None
        ):
            # Straight to the template that pairs: FastAPI's order of routes and its slash
            # redirects have no say on a path that Flask's url_map has already read.
            path = route.template.fit(route_path(scope))
            params = native.params_for(route.native, path)
            return native.serve(route.native, params, scope, receive, send, path)
        return native(scope, receive, send)

    def _may_turn(self, scope: Scope) -> bool:
        """Tell whether native middleware may make this request of another one.

        Flask's hooks and the shared guard have seen that other one. So it may where neither has
        anything to do with this one, and native would answer it.
        """
        snapshot = self.snapshots.current
        if scope["type"] == "http":
            match = snapshot.table.match(scope)
            decision = decide(match, scope, snapshot.policy)
            may = decision.backend is Backend.NATIVE and not _is_guarded(snapshot, match)
            if may and self.flask is not None:
                defaults = snapshot.config.defaults
                hooks = match.route.hooks if match.route is not None else defaults.hooks
                may = self.flask.lets_by(match, scope, hooks)
        else:
            match = snapshot.table.socket(scope)
            auth = match.route.auth if match.route is not None else snapshot.table.default_auth
            may = auth != "shared" and not (match.forced and match.forced[0] is Backend.LEGACY)
        if not may:
            logger.warning(
                "%s %s: middleware of the native app made this of another request; refused, as "
                "Flask or the shared guard has not seen it",
                scope.get("method", "WEBSOCKET"),
                path_without_secrets(scope["path"]),
            )
        return may

    async def _websocket(self, scope: Scope, receive: Receive, send: Send) -> None:
        snapshot = self.snapshots.current
        match = snapshot.table.socket(scope)
        native = self.native
        if native is None or (match.forced and match.forced[0] is Backend.LEGACY):
            await _close(receive, send)
            return
        auth = match.route.auth if match.route is not None else snapshot.config.defaults.auth
        if auth != "shared":
            await native(scope, receive, send)
        elif self.guard is None:  # as above
            await _close(receive, send)
        else:
            await self._guarded_socket(self.guard, snapshot, match, scope, receive, send)

    async def _guarded_socket(
        self,
        guard: Guard,
        snapshot: Snapshot,
        match: Match,
        scope: Scope,
        receive: Receive,
        send: Send,
    ) -> None:
        """Let native accept a WebSocket once the shared guard has let the caller in."""
        native = self.native
        found = native.find(scope) if native is not None else None
        if native is None or found is None:  # nobody knows what an unlisted app has there
            await _close(receive, send)
            return
        requires = match.route.requires if match.route is not None else frozenset[str]()
        guarded = guard.on_socket(snapshot.table, found.endpoint, found.path_params, requires)
        asked = handshake(scope)
        if self.flask is not None:
            asked, _ = self.flask.for_guard(asked)

        async def go_on(passed: Passed) -> None:
            state = {**passed.state, "principal": passed.principal}
            shown = {**scope, "state": state}
            await native(shown, passed.receive, passed.sending(send))

        await guard.run_websocket(asked, receive, send, go_on, guarded)


async def _close(receive: Receive, send: Send) -> None:
    """Refuse a WebSocket: closing before accepting is a 403 to the client (ASGI, "Close")."""
    await receive()
    await send({"type": "websocket.close", "code": 1000, "reason": "no such WebSocket"})


class _Request:
    """One request on its way, and what becomes of it; to the apps it is their `send`.

    `scope` is what the client sent, `shown` what the apps may see of it, and `began` what a mirror
    begins with: it is guarded again, so nothing that the guard has left in the state is there.
    `forced` is the decision on a mirrored request, which nobody decides about again. `served` is
    the match that has answered in the end: Flask's middleware may lead to another one than `match`,
    and away from the route whose circuit has `allowed` native. `status` is 0 before the answer's
    first byte. `error` is what native has raised inside Flask, which has answered for it.
    `strayed`: native was not asked inside Flask, and the view may have answered. `reached` is where
    somebody wants to know how far it comes in there. Calling it is no coroutine of its own: every
    message comes this way.
    """

    __slots__ = (
        "allowed",
        "began",
        "caller",
        "decision",
        "error",
        "forced",
        "guarded",
        "match",
        "principal",
        "reached",
        "receive",
        "scope",
        "sends",
        "served",
        "shown",
        "snapshot",
        "status",
        "strayed",
        "trace_id",
    )

    def __init__(
        self,
        snapshot: Snapshot,
        match: Match,
        scope: Scope,
        receive: Receive,
        send: Send,
        forced: Decision | None = None,
    ) -> None:
        self.snapshot = snapshot
        self.match = self.served = match
        self.scope = self.shown = self.began = scope
        self.receive = receive
        self.sends = send
        self.forced = forced
        self.decision = _GUARDED  # until somebody has decided
        self.caller = NOBODY
        self.principal: Principal | None = None
        self.guarded: Route | None = None
        self.reached: Reached | None = None
        self.allowed: Route | None = None
        self.status = 0
        self.error: Exception | None = None
        self.strayed = False
        self.trace_id: str | None = None

    def __call__(self, message: Message) -> Awaitable[None]:
        if message["type"] == "http.response.start":
            self.status = message["status"]
        return self.sends(message)

    def exchange(self, duration: float) -> Exchange:
        """Return what has become of it, after `duration` seconds."""
        return Exchange(
            method=self.scope["method"],
            path=self.scope["path"],
            match=self.served,
            decision=self.decision,
            status=self.status,
            duration=duration,
            revision=self.snapshot.revision,
            state=request_state(),
            principal=self.principal.id if self.principal is not None else None,
            trace_id=self.trace_id,
        )


def _is_guarded(snapshot: Snapshot, match: Match) -> bool:
    """Tell whether the shared guard comes first.

    Never before a CORS preflight that a framework answers by itself: those carry no credentials
    (Fetch, section 3.2.2), and no handler is asked.
    """
    if match.preflight:
        return False
    auth = match.route.auth if match.route is not None else snapshot.config.defaults.auth
    return auth == "shared"


def _shown(snapshot: Snapshot, scope: Scope) -> Scope:
    """Return the scope as the apps may see it: without the tester's secret."""
    if snapshot.policy.tester is None:
        return scope
    name = snapshot.policy.tester.secret_header
    headers = [(key, value) for key, value in scope["headers"] if key != name]
    return scope if len(headers) == len(scope["headers"]) else {**scope, "headers": headers}
