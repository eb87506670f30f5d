"""Inside Flask: the native handler stands in the view's place, and no retired view ever runs.

A moved route keeps what Flask puts around its view: the WSGI middleware, `before_request`,
`after_request`, the session and the teardown. So the request goes through the Flask app as ever,
on one worker thread, and only where Flask would call the view does the native app answer.

The table decides by the path that the client sent, and a WSGI middleware may change method or
path after that (method override, prefix strip). So once Flask itself has matched, and before its
first hook, the matched rule and method are held against the table once more.

Four methods of the app are wrapped, all of them documented as ones to override. They are set on
the object, since the class belongs to everybody.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from flask import Flask, abort, g, request, request_finished

from gateway.cutover import Decision, decide
from gateway.exceptions import Handover, Strayed, UseLegacy
from gateway.flask.responses import flask_response
from gateway.inventory import route_path
from gateway.legacy import CALL_KEY
from gateway.routing import SAFE, Backend, Match, Reason

if TYPE_CHECKING:
    from flask import Response
    from starlette.types import ASGIApp

    from gateway.auth import Principal
    from gateway.cutover import Policy
    from gateway.inventory import Scope
    from gateway.legacy import Call
    from gateway.routing import RouteTable

logger = logging.getLogger("gateway.flask")

#: Where the dispatcher hands the Passport to the app.
ENVIRON_KEY = "gateway.passport"
#: Marks an app whose methods are wrapped.
_MARK = "_gateway_inside"
_FIRST_ERROR = 500

Method = Callable[..., Any]

#: What the gateway sets on the app's object.
WRAPPED = frozenset(
    {
        "preprocess_request",
        "dispatch_request",
        "handle_user_exception",
        "handle_exception",
        "async_to_sync",
    }
)


@dataclass(slots=True, eq=False)
class Passport:
    """What was decided for a request before Flask saw it, and what became of it inside.

    `scope` is the request as the client sent it. `native` makes the ASGI app that serves a match,
    `inherits` tells whether Flask's hooks belong around it.
    """

    table: RouteTable
    policy: Policy
    scope: Scope
    match: Match
    decision: Decision
    native: Callable[[Match], ASGIApp]
    inherits: Callable[[Match], bool]
    principal: Principal | None = None
    mirrored: bool = False
    """Nobody gets the answer: the request may be nothing but what was decided."""
    rewritten: Scope | None = None
    """The request as middleware inside Flask has changed it."""
    asked: bool = False
    """The native app was asked for the answer."""
    error: Exception | None = None
    """What the native app has raised; it has answered 500 with `failed`."""
    failed: Response | None = None

    def hold(self) -> None:
        """Hold what Flask has matched against the table; may change match and decision.

        Raises RetiredRoute where native must take the request out of Flask, Strayed where a
        mirrored request is no longer the one that was decided: it might be a DELETE by now.
        """
        rule = request.url_rule
        route = self.match.route
        decided = route.legacy.ref if route is not None and route.legacy is not None else None
        native = self.decision.backend is Backend.NATIVE
        if rule is decided and _untouched(self.scope, rule is None):
            return
        if self.mirrored:
            raise Strayed(f"{request.method} {request.path}")
        if rule is None and not native:
            return
        scope = _as_flask_sees_it(self.scope)
        bare = {**scope, "path": request.path, "root_path": ""}
        match = self.table.match(bare) if rule is None else self.table.for_legacy_rule(rule, bare)
        if native and match.route is not None and match.route is self.match.route:
            return
        decision = decide(match, bare, self.policy)
        if not self._may_enter(match):
            abort(403)
        # Nobody is given an identity here: the answer's headers are out of reach, so that the
        # next request would find none again and could land on the other side.
        if decision.backend is Backend.LEGACY or decision.mint is not None:
            if native:
                self.match, self.decision = match, Decision(Backend.LEGACY, decision.reason)
            return
        logger.warning(
            "%s %s: middleware inside legacy turned it into %s %s, which native serves now",
            self.scope["method"],
            self.scope["path"],
            request.method,
            request.path,
        )
        if not self.inherits(match):
            raise RetiredRoute(match, scope)
        self.match, self.rewritten = match, scope
        self.decision = Decision(Backend.NATIVE, Reason.RETIRED, mint=self.decision.mint)

    def _may_enter(self, match: Match) -> bool:
        """Tell whether the shared guard has let the caller in here: it ran for another route."""
        route = match.route
        if route is None or route.auth != "shared":
            return True
        logger.warning(
            "%s %s: middleware inside legacy turned it into %s, which the shared guard protects",
            self.scope["method"],
            self.scope["path"],
            route.id,
        )
        return self.principal is not None and not self.principal.missing(route.requires)

    def stand_in(self, app: Flask) -> Response | None:
        """Let the native app answer; None where it leaves that to the view.

        Raises its own error, once its answer is kept in `failed`.
        """
        call: Call = request.environ[CALL_KEY]
        self.asked = True
        may_fail, timeout = self._failover()
        try:
            answer = call.ask(self.native(self.match), dict(self.rewritten or self.scope), timeout)
        except UseLegacy:
            if self.mirrored:
                raise Strayed(self.match_id) from None
            self._leave_to_view(call, Reason.USE_LEGACY)
            return None
        except (Exception, TimeoutError) as error:
            if not may_fail or not call.input_kept:
                raise
            logger.warning("%s: %s; the view answers", self.match_id, error)
            self._leave_to_view(call, Reason.FAILOVER)
            return None
        if may_fail and answer.status >= _FIRST_ERROR and call.input_kept:
            call.give_up_answer()
            logger.warning("%s: native answered %d; the view answers", self.match_id, answer.status)
            self._leave_to_view(call, Reason.FAILOVER)
            return None
        response = flask_response(app.response_class, answer)
        if answer.error is not None:
            self.error, self.failed = answer.error, response
            raise answer.error
        return response

    @property
    def match_id(self) -> str:
        """The route's name, for messages."""
        return self.match.route.id if self.match.route is not None else str(self.scope["path"])

    def _failover(self) -> tuple[bool, float | None]:
        """Tell whether the view answers where native fails, and how long native may take."""
        config = self.match.route.failover if self.match.route is not None else None
        if config is None:
            return False, None
        if request.method in SAFE:
            return True, config.timeout
        return config.unsafe, None

    def _leave_to_view(self, call: Call, reason: Reason) -> None:
        """Note that Flask's own view answers; its hooks have run, and don't run again."""
        if not call.input_kept:
            message = "the body was streamed to the native handler: legacy can't read it again"
            raise RuntimeError(message)
        if self.match.route is None or self.match.route.legacy is None:
            message = f"{self.match_id}: UseLegacy, but legacy has no such route"
            raise RuntimeError(message)
        self.asked = False
        self.decision = Decision(Backend.LEGACY, reason, mint=self.decision.mint)


class RetiredRoute(Handover):
    """Flask matched a rule that native serves, without Flask's hooks; `scope` as changed inside."""

    def __init__(self, match: Match, scope: Scope) -> None:
        super().__init__(f"{scope['method']} {scope['path']}")
        self.match, self.scope = match, scope


def is_installed(app: Flask) -> bool:
    """Tell whether `install` has been called."""
    return _MARK in vars(app)


def install(app: Flask) -> None:
    """Wrap what `app` does with a request; doing it twice is the same as once."""
    if is_installed(app):
        return
    setattr(app, _MARK, True)
    _wrap(app, "preprocess_request", _preprocess)
    _wrap(app, "dispatch_request", _dispatch)
    _wrap(app, "handle_user_exception", _user_exception)
    _wrap(app, "handle_exception", _exception)


def _wrap(app: Flask, name: str, wrapper: Callable[..., Any]) -> None:
    original: Method = getattr(app, name)

    # Flask 3.2 puts its context first, so that only the last argument is known.
    def wrapped(*args: Any) -> Any:
        passport: Passport | None = request.environ.get(ENVIRON_KEY)
        return original(*args) if passport is None else wrapper(app, original, passport, *args)

    setattr(app, name, wrapped)


def _preprocess(_: Flask, original: Method, passport: Passport, *args: Any) -> Any:
    passport.hold()
    if passport.principal is not None:
        g.principal = passport.principal
    return original(*args)


def _dispatch(app: Flask, original: Method, passport: Passport, *args: Any) -> Any:
    if passport.decision.backend is Backend.LEGACY:
        return original(*args)
    response = passport.stand_in(app)
    return original(*args) if response is None else response


def _user_exception(_: Flask, original: Method, passport: Passport, *args: Any) -> Any:
    """Keep Flask's error handlers away from what native has already answered."""
    if passport.error is args[-1]:
        raise passport.error
    return original(*args)


def _exception(app: Flask, original: Method, passport: Passport, *args: Any) -> Any:
    """Finish native's own 500; the teardown functions are given its exception, as ever."""
    response = passport.failed
    if response is None or passport.error is not args[-1]:
        return original(*args)
    try:
        process: Method = app.process_response
        response = process(*args[:-1], response)
        request_finished.send(app, response=response)
    except Exception:
        app.logger.exception("after_request failed on an answer of the native app")
    return response


def _untouched(scope: Scope, unknown: bool) -> bool:
    """Tell whether nobody has changed the method, and a path that Flask doesn't know."""
    method: str = scope["method"]
    return method.upper() == request.method and (not unknown or request.path == route_path(scope))


def _as_flask_sees_it(scope: Scope) -> Mapping[str, Any]:
    """Return the scope as middleware inside Flask has changed it: its method, path and query."""
    environ = request.environ
    root = environ.get("SCRIPT_NAME", "").encode("latin-1").decode("utf-8", "replace")
    path = root + request.path
    return {
        **scope,
        "method": request.method,
        "path": path,
        "raw_path": quote(path, safe="/:@!$&'()*+,;=~-._").encode(),
        "root_path": root,
        "query_string": environ.get("QUERY_STRING", "").encode("latin-1"),
    }
