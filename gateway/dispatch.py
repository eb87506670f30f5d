"""The way of one request: match → decide → serve → observe. The snapshot is read once."""

from __future__ import annotations

import contextlib
import logging
import time
import traceback
from dataclasses import dataclass, replace
from functools import partial
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, NamedTuple

from starlette.requests import ClientDisconnect
from starlette.responses import PlainTextResponse

from gateway.cutover import NOBODY, Caller, Decision, decide, set_cookie
from gateway.exceptions import AnswerAbortedError, Handover, RequestRefused, Strayed, UseLegacy
from gateway.failover import Empty, KeptBody, attempt
from gateway.flask.inside import ENVIRON_KEY, Passport, RetiredRoute
from gateway.inventory import route_path
from gateway.observe import Exchange, Observer, notify
from gateway.routing import SAFE, Backend, Coverage, Match, Reason
from gateway.state import request_state

if TYPE_CHECKING:
    from collections.abc import Awaitable, Mapping

    from starlette.types import Message, Receive, Scope, Send

    from gateway.auth import Guard, Principal
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

logger = logging.getLogger("gateway.dispatch")

#: Where legacy finds the Principal; no header can write there (PEP 3333: they become HTTP_…).
PRINCIPAL_KEY = "gateway.principal"
#: Set where legacy serves a mirrored request.
MIRROR_KEY = "gateway.mirror"
#: What an answer that broke off is counted as: whatever its head said, it has failed.
_BROKEN = 599
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

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[Any]:
        """Serve one request or WebSocket."""
        if scope["type"] != "http":
            return self._websocket(scope, receive, send)
        snapshot = self.snapshots.current
        match = snapshot.table.match(scope)
        return self._observed(snapshot, match, scope, receive, send)

    async def _observed(
        self, snapshot: Snapshot, match: Match, scope: Scope, receive: Receive, send: Send
    ) -> None:
        record = _Record(send, match)
        broken = False
        started = time.perf_counter()
        try:
            if self.tracing is None:
                await self._admitted(snapshot, match, scope, receive, record)
            else:
                await self._traced(self.tracing, snapshot, match, scope, receive, record)
        except UseLegacy:
            message = f"{scope['path']}: UseLegacy, but legacy has no such route"
            logger.error(message)
            raise RuntimeError(message) from None
        except Exception as error:
            broken = not isinstance(error, OSError | ClientDisconnect)  # the client hasn't left
            raise
        finally:
            now = time.perf_counter()
            duration = now - started
            route = record.match.route
            status = max(record.status, _BROKEN) if broken else record.status
            if route is not None and route.circuit is not None:
                self.breakers.note(route, record.decision, status, now)
            if route is not None and route.guardrail is not None and self.guardrail is not None:
                self.guardrail.note(route, record.decision, status)
            self.tally.note(
                snapshot.table, record.match, record.decision, scope["method"], status, duration
            )
            if self.observers:
                exchange = Exchange(
                    method=scope["method"],
                    path=scope["path"],
                    match=record.match,
                    decision=record.decision,
                    status=record.status,
                    duration=duration,
                    revision=snapshot.revision,
                    state=request_state(),
                    principal=record.principal,
                    trace_id=record.trace_id,
                )
                notify(self.observers, exchange)

    async def _traced(
        self,
        tracing: Tracing,
        snapshot: Snapshot,
        match: Match,
        scope: Scope,
        receive: Receive,
        record: _Record,
    ) -> None:
        with tracing.around(dict(scope)) as (span, traced):
            record.trace_id = tracing.trace_id(span)
            try:
                await self._admitted(snapshot, match, traced, receive, record)
            finally:
                tracing.finish(span, record.match, record.decision, record.status)

    def _admitted(
        self, snapshot: Snapshot, match: Match, scope: Scope, receive: Receive, send: _Record
    ) -> Awaitable[None]:
        """Serve the request, after the shared guard where the route asks for it."""
        if snapshot.config.auth is not None and _is_guarded(snapshot, match):
            return self._guarded(snapshot, match, scope, receive, send)
        route = match.route
        if route is not None and route.reads_session:
            return self._decided(snapshot, match, scope, None, receive, send)
        decision = send.forced or decide(match, scope, snapshot.policy)
        return self._serve(snapshot, match, decision, scope, receive, send, None)

    async def _guarded(
        self, snapshot: Snapshot, match: Match, scope: Scope, receive: Receive, send: _Record
    ) -> None:
        if self.guard is None:  # no table is built without one; a broken snapshot opens nothing
            await PlainTextResponse("Forbidden", HTTPStatus.FORBIDDEN)(scope, receive, send)
            return

        async def go_on(principal: Principal | None, receive: Receive, _: Send) -> None:
            state = {**scope.get("state", {}), "principal": principal}
            known = {**scope, "state": state}
            await self._decided(snapshot, match, known, principal, receive, send)

        requires = match.route.requires if match.route is not None else frozenset[str]()
        asked = scope if self.flask is None else self.flask.for_guard(scope)
        refuse = _wrap(snapshot, _GUARDED, scope, send)
        await self.guard.run(asked, receive, refuse, go_on, requires)

    async def _decided(
        self,
        snapshot: Snapshot,
        match: Match,
        scope: Scope,
        principal: Principal | None,
        receive: Receive,
        send: _Record,
    ) -> None:
        caller = NOBODY
        route = match.route
        if principal is not None:
            caller = Caller(principal.id, principal.scopes)
            send.principal = principal.id
        if route is not None and route.reads_session and self.flask is not None:
            caller = replace(caller, session=await self.flask.read_session(scope))
        decision = send.forced or decide(match, scope, snapshot.policy, caller)
        await self._serve(snapshot, match, decision, scope, receive, send, principal)

    def _serve(
        self,
        snapshot: Snapshot,
        match: Match,
        decision: Decision,
        scope: Scope,
        receive: Receive,
        send: _Record,
        principal: Principal | None,
    ) -> Awaitable[None]:
        """Serve the request by the side that was decided for, or by legacy while it can't."""
        route = match.route
        # What is forced doesn't follow the cutover: the other side will never have to answer it.
        mirroring = route.mirroring if route is not None and match.forced is None else None
        if route is not None and mirroring is not None and self.mirrors is not None:
            kept = self.mirrors.keep(snapshot, route, scope, receive, send.sends)
            if kept is not None:
                send.sends = kept.send
                serving = self._answer(
                    snapshot, match, decision, scope, kept.receive, send, principal
                )
                return self._mirrored(serving, snapshot, match, kept, send)
        return self._answer(snapshot, match, decision, scope, receive, send, principal)

    async def _mirrored(
        self,
        serving: Awaitable[None],
        snapshot: Snapshot,
        match: Match,
        kept: Kept,
        send: _Record,
    ) -> None:
        """Serve, and then let the other side answer as well, which nobody waits for."""
        try:
            await serving
        except Exception:
            kept.error = traceback.format_exc()
            raise
        finally:
            if self.mirrors is not None:
                self.mirrors.begin(snapshot, match, kept, send.decision)

    async def rerun(
        self,
        snapshot: Snapshot,
        match: Match,
        decision: Decision,
        scope: Scope,
        receive: Receive,
        send: Send,
    ) -> None:
        """Serve a mirrored request: decided already, neither counted nor observed."""
        record = _Record(send, match)
        record.forced = decision
        await self._admitted(snapshot, match, scope, receive, record)

    def _answer(
        self,
        snapshot: Snapshot,
        match: Match,
        decision: Decision,
        scope: Scope,
        receive: Receive,
        send: _Record,
        principal: Principal | None,
    ) -> Awaitable[None]:
        asked = scope
        if snapshot.policy.tester is not None:
            scope = _shown(snapshot, scope)
        native = decision.backend is Backend.NATIVE
        route = match.route
        if native and route is not None and route.circuit is not None:
            native = self.breakers.allows(route, time.perf_counter())
            if not native:
                decision = replace(decision, backend=Backend.LEGACY, reason=Reason.CIRCUIT_OPEN)
        if native and route is not None and route.guardrail is not None and self._tripped(route):
            native = False
            decision = replace(decision, backend=Backend.LEGACY, reason=Reason.OVERRIDE)
        send.decision = decision
        flask = self.flask
        if native and (flask is None or flask.idle or not self._inherits(snapshot, match, scope)):
            answer = _wrap(snapshot, decision, asked, send)
            if flask is not None and not flask.idle:
                scope, answer = flask.lend(match, scope, answer)
            if route is None or route.coverage is not Coverage.BOTH:
                return self._native(match, scope, receive, answer)
            call = _Request(scope, asked, receive, send, principal)
            return self._native_first(snapshot, match, decision, call, answer)
        call = _Request(scope, asked, receive, send, principal)
        return self._serve_legacy(snapshot, match, decision, call)

    def _tripped(self, route: Route) -> bool:
        """Tell whether native fails in a burst here, so that its rollback is on its way."""
        return self.guardrail is not None and route.id in self.guardrail.stopped

    async def _native_first(
        self, snapshot: Snapshot, match: Match, decision: Decision, call: _Request, answer: Send
    ) -> None:
        """Let native answer, and legacy where it fails or hands over before its first byte."""
        failover = match.route.failover if match.route is not None else None
        scope, receive = call.scope, call.receive
        safe = scope["method"] in SAFE
        if failover is None and safe:
            try:
                await self._native(match, scope, receive, answer)
            except UseLegacy:
                if call.send.forced is not None:
                    raise
                empty = call._replace(receive=Empty(receive))
                await self._go_over(snapshot, match, decision, Reason.USE_LEGACY, empty)
            return
        kept = KeptBody(receive, snapshot.config.legacy.spool_memory, self.legacy.spooled)
        try:
            reason = Reason.USE_LEGACY
            # A mirror that asks for the other side has nothing to be compared with.
            handed_over = () if call.send.forced is not None else (UseLegacy,)
            with contextlib.suppress(*handed_over):
                if failover is None or not (safe or failover.unsafe):
                    await self._native(match, scope, kept, answer)
                    return
                timeout = failover.timeout if safe else None
                failure = await attempt(partial(self._native, match, scope), kept, answer, timeout)
                if failure is None:
                    return
                logger.warning("%s %s: %s", scope["method"], scope["path"], failure.what)
                reason = Reason.FAILOVER
            again = call._replace(receive=kept.again())
            await self._go_over(snapshot, match, decision, reason, again)
        except RequestRefused as refused:
            response = PlainTextResponse(f"{refused}\n", refused.status, {"retry-after": "5"})
            await response(scope, receive, answer)
        finally:
            kept.close()

    async def _go_over(
        self, snapshot: Snapshot, match: Match, decision: Decision, reason: Reason, call: _Request
    ) -> None:
        """Let legacy answer what native was to answer."""
        if call.send.status:
            message = f"{call.scope['path']}: UseLegacy came after the first byte"
            raise AnswerAbortedError(message)
        decision = replace(decision, backend=Backend.LEGACY, reason=reason)
        await self._serve_legacy(snapshot, match, decision, call)

    async def _serve_legacy(
        self, snapshot: Snapshot, match: Match, decision: Decision, call: _Request
    ) -> None:
        """Serve by the legacy app: by its view, or by the native handler in the view's place."""
        flask, principal, send = self.flask, call.principal, call.send
        send.decision = decision
        extra: dict[str, Any] | None = None
        passport: Passport | None = None
        native = decision.backend is Backend.NATIVE
        if flask is not None and (native or flask.rewrites or principal is not None):
            passport = self._passport(snapshot, match, decision, call.asked)
            passport.principal = principal
            passport.mirrored = send.forced is not None
            extra = {ENVIRON_KEY: passport}
        if principal is not None:
            extra = {**(extra or {}), PRINCIPAL_KEY: principal}
        if send.forced is not None:
            extra = {**(extra or {}), MIRROR_KEY: True}
        answer = _wrap(snapshot, decision, call.asked, send, passport)
        body = match.route.body if match.route is not None else snapshot.config.legacy.body
        try:
            await self.legacy.serve(
                call.scope,
                call.receive,
                answer,
                body=body,
                environ_extra=extra,
                may_ask=passport is not None,
            )
        except RetiredRoute as retired:
            handed = Decision(Backend.NATIVE, Reason.RETIRED, mint=decision.mint)
            send.match, send.decision, passport = retired.match, handed, None
            answer = _wrap(snapshot, handed, retired.scope, send)
            shown = _shown(snapshot, dict(retired.scope))
            await self._native(retired.match, shown, retired.receive, answer)
        except Strayed:
            raise
        except Handover as handover:
            logger.error(
                "legacy handed over %s without a route", call.scope["path"], exc_info=handover
            )
            response = PlainTextResponse("Internal Server Error", 500)
            await response(call.scope, call.receive, answer)
        finally:
            if passport is not None:
                send.match, send.decision = passport.match, passport.decision
                if passport.decision.backend is Backend.NATIVE and not passport.asked:
                    # Native has done nothing, well or badly.
                    send.decision = replace(
                        passport.decision, backend=Backend.LEGACY, reason=Reason.HOOKS
                    )

    def _inherits(self, snapshot: Snapshot, match: Match, scope: Mapping[str, Any]) -> bool:
        """Tell whether Flask's own machinery belongs around a match that native serves."""
        if self.flask is None:
            return False
        if self.flask.wanted_by(match):
            return True
        hooks = match.route.hooks if match.route is not None else snapshot.config.defaults.hooks
        return hooks == "inherit" and self.flask.surrounds(match, scope)

    def _passport(
        self, snapshot: Snapshot, match: Match, decision: Decision, scope: Scope
    ) -> Passport:
        return Passport(
            table=snapshot.table,
            policy=snapshot.policy,
            scope=scope,
            match=match,
            decision=decision,
            native=lambda found: partial(self._native_shown, snapshot, found),
            inherits=lambda found: self._inherits(snapshot, found, scope),
        )

    async def _native_shown(
        self, snapshot: Snapshot, match: Match, scope: Scope, receive: Receive, send: Send
    ) -> None:
        await self._native(match, _shown(snapshot, scope), receive, send)

    def _native(self, match: Match, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        native = self.native
        if native is None:
            # Nothing is ever decided native without a native app; this is for broken snapshots.
            answer = PlainTextResponse("Bad Gateway", HTTPStatus.BAD_GATEWAY)
            return answer(scope, receive, send)
        if match.head:
            scope = {**scope, "method": "GET"}
            headless = _WithoutBody(receive, send)
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
            if params is not None:
                return native.serve(route.native, params, scope, receive, send)
        return native(scope, receive, send)

    async def _websocket(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self.native is not None and (self.native.opaque or self.native.find(scope) is not None):
            await self.native(scope, receive, send)
            return
        # Closing before accepting is a 403 to the client (ASGI, WebSocket "Close").
        await receive()
        await send({"type": "websocket.close", "code": 1000, "reason": "no such WebSocket"})


class _Record:
    """A `send` that notes what becomes of a request.

    No coroutine of its own: it is on every request's way.
    """

    __slots__ = ("decision", "forced", "match", "principal", "sends", "status", "trace_id")

    def __init__(self, send: Send, match: Match) -> None:
        self.sends = send
        self.match = match
        self.decision = _GUARDED  # until somebody has decided
        self.forced: Decision | None = None
        self.status = 0
        self.principal: str | None = None
        self.trace_id: str | None = None

    def __call__(self, message: Message) -> Awaitable[None]:
        if message["type"] == "http.response.start":
            self.status = message["status"]
        return self.sends(message)


class _Request(NamedTuple):
    """One request on its way: as the apps may see it, and as the client sent it (`asked`)."""

    scope: Scope
    asked: Scope
    receive: Receive
    send: _Record
    principal: Principal | None


class _WithoutBody:
    """Send a GET's answer to a HEAD request: its headers as they are, no body (RFC 9110, 9.3.2).

    After the headers the handler is told that the client has left, so that streams end.
    """

    def __init__(self, receive: Receive, send: Send) -> None:
        self._receive, self._send = receive, send
        self._done = False

    async def receive(self) -> Message:
        if self._done:
            return {"type": "http.disconnect"}
        return await self._receive()

    async def send(self, message: Message) -> None:
        if self._done:
            return
        if message["type"] == "http.response.start":
            await self._send(message)
        elif message["type"] == "http.response.body":
            self._done = True
            await self._send({"type": "http.response.body", "body": b"", "more_body": False})
        else:
            await self._send(message)


def _is_guarded(snapshot: Snapshot, match: Match) -> bool:
    """Tell whether the shared guard comes first.

    Never before a CORS preflight: those carry no credentials (Fetch, section 3.2.2), and the
    owner's real answer opens nothing.
    """
    if match.forced is not None and match.forced[1] is Reason.PREFLIGHT:
        return False
    auth = match.route.auth if match.route is not None else snapshot.config.defaults.auth
    return auth == "shared"


def _wrap(
    snapshot: Snapshot,
    decision: Decision,
    scope: Scope | Mapping[str, Any],
    send: Send,
    passport: Passport | None = None,
) -> Send:
    """Return `send` with what the gateway adds to this answer's headers; mostly `send` itself."""
    widen = scope["method"] == "OPTIONS" or decision.reason is Reason.METHOD
    if not snapshot.config.served_by and decision.mint is None and not widen:
        return send
    added: list[tuple[bytes, bytes]] = []
    if decision.mint is not None:
        secure = scope.get("scheme") in ("https", "wss")
        added.append((b"set-cookie", set_cookie(*decision.mint, secure=secure)))

    async def answer(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = [*message["headers"], *added]
            if snapshot.config.served_by:
                headers.append((b"x-served-by", _server(decision, passport)))
            if widen:
                headers = _widen(headers, snapshot, scope)
            message = {**message, "headers": headers}
        await send(message)

    return answer


def _server(decision: Decision, passport: Passport | None) -> bytes:
    """Name who answered: where Flask's hooks or the guard came first, not always who was to."""
    if passport is None:
        return decision.side.encode()
    return b"native" if passport.asked else b"legacy"


def _widen(
    headers: list[tuple[bytes, bytes]], snapshot: Snapshot, scope: Scope | Mapping[str, Any]
) -> list[tuple[bytes, bytes]]:
    """Make a present `Allow` name the methods of both sides (RFC 9110, section 10.2.1)."""
    said = [value for name, value in headers if name.lower() == b"allow"]
    if not said:
        return headers
    methods = {m.strip() for value in said for m in value.decode("latin-1").split(",")}
    more = sorted(snapshot.table.allowed(scope) - methods)
    if not more:
        return headers
    value = b", ".join([*said, *(method.encode("latin-1") for method in more)])
    kept = [(name, old) for name, old in headers if name.lower() != b"allow"]
    return [*kept, (b"allow", value)]


def _shown(snapshot: Snapshot, scope: Scope) -> Scope:
    """Return the scope as the apps may see it: without the tester's secret."""
    if snapshot.policy.tester is None:
        return scope
    name = snapshot.policy.tester.secret_header
    headers = [(key, value) for key, value in scope["headers"] if key != name]
    return scope if len(headers) == len(scope["headers"]) else {**scope, "headers": headers}
