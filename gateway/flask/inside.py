"""Inside Flask: the native handler stands in the view's place, and no retired view ever runs.

A moved route keeps what Flask puts around its view: the WSGI middleware, `before_request`,
`after_request`, the session and the teardown. So the request goes through the Flask app as ever,
on one worker thread, and only where Flask would call the view does the native app answer.

Flask's own reading of the request is the authority. The table decides by what the client sent, and
middleware may change that; Flask may also refuse to match at all. So once Flask has matched, and
before its first hook, its answer is held against the one that was decided for. Where they are not
the same, it is decided again, for what Flask has found. And where Flask would call the view, its
answer must still be the same: then the hooks that have run are those of this very rule. The handler
gets the headers and the body that the view would get; where it can't, or where hooks have changed
the view's arguments, the view answers.

Four methods of the app are wrapped, and two more where somebody else dispatches (`behind`), all of
them documented as ones to override. They are set on the object, since the class belongs to
everybody.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from importlib.metadata import version
from threading import Lock
from typing import TYPE_CHECKING, Any
from urllib.parse import quote
from weakref import ReferenceType, ref

from flask import (
    Flask,
    Response,
    abort,
    g,
    has_request_context,
    request,
    request_finished,
)
from werkzeug.exceptions import (
    HTTPException,
    MethodNotAllowed,
    NotFound,
    RequestEntityTooLarge,
)
from werkzeug.routing import RequestRedirect

from gateway.cutover import NOBODY, Caller, Decision, decide
from gateway.exceptions import Handover, Strayed, UseLegacy
from gateway.flask import behind
from gateway.flask.patched import ON_THE_WAY, has_other_view, other_than_flask_s
from gateway.flask.reached import note_view
from gateway.flask.responses import flask_response, is_host, passed_on
from gateway.flask.seen import (
    Unreadable,
    changed_arguments,
    replaced_body,
    with_headers,
    with_length,
)
from gateway.flask.watched import replaced, watch
from gateway.inventory import LegacyAnswer, route_path
from gateway.legacy import CALL_KEY
from gateway.logs import escape_exceptions_of, logger_for
from gateway.routing import NOT_FOUND, SAFE, Backend, Match, Reason, header, request_host
from gateway.secrecy import path_without_secrets

if TYPE_CHECKING:
    from collections.abc import Mapping

    from flask import Request
    from starlette.types import ASGIApp

    from gateway.auth import Principal
    from gateway.cutover import Policy
    from gateway.inventory import Scope
    from gateway.legacy import Answer, Call
    from gateway.routing import Route, RouteTable

logger = logger_for("gateway.flask")

#: Werkzeug before 2.3 bounds only the forms that it parses.
_LIMITS_ALL_BODIES = tuple(map(int, version("werkzeug").split(".")[:2])) >= (2, 3)
_FORMS = frozenset({"multipart/form-data", "application/x-www-form-urlencoded"})

#: Where the dispatcher hands the Passport to the app.
ENVIRON_KEY = "gateway.passport"
#: Marks an app whose methods are wrapped; holds its _Installed.
_MARK = "_gateway_inside"
_FIRST_ERROR = 500

_REDIRECT, _METHOD, _REFUSED = (
    LegacyAnswer("redirect"),
    LegacyAnswer("method"),
    LegacyAnswer("refused"),
)

Method = Callable[..., Any]

#: What is ours on the object from the start, of what Flask calls on the way of a request.
_OURS = ("preprocess_request", "dispatch_request")
_OTHERS = frozenset(ON_THE_WAY) - frozenset(_OURS)
#: What is wrapped as soon as somebody else dispatches.
_BEHIND = {
    "ensure_sync": behind.ensuring,
    "make_default_options_response": behind.answering_options,
}
#: What the gateway sets on the app's object.
WRAPPED = frozenset(
    {
        "preprocess_request",
        "dispatch_request",
        "handle_user_exception",
        "handle_exception",
        "async_to_sync",
        "ensure_sync",
        "make_default_options_response",
    }
)


@dataclass(slots=True, eq=False)
class _Installed:
    """What is kept with an app whose methods are wrapped.

    `had` are the methods that its object had of its own before; `way` is what has been set there.
    `opened`: what is wrapped only where somebody else dispatches. `told`: what was said of its
    routes, and is said once.
    """

    had: dict[str, Method]
    way: tuple[Any, ...] = ()
    opened: dict[str, Method] = field(default_factory=dict)
    told: set[tuple[str, str]] = field(default_factory=set)
    lock: Lock = field(default_factory=Lock)


@dataclass(slots=True, eq=False)
class Passport:
    """What was decided for a request before Flask saw it, and what became of it inside.

    `scope` is the request as it was handed to the WSGI app. `native` makes the ASGI app that serves
    a match, `inherits` tells whether Flask's hooks belong around it. `rewrites`: middleware, or a
    request class of the app's own, may have made another request of it.
    """

    table: RouteTable
    policy: Policy
    scope: Scope
    match: Match
    decision: Decision
    native: Callable[[Match], ASGIApp]
    inherits: Callable[[Match], bool]
    rewrites: bool
    caller: Caller = NOBODY
    principal: Principal | None = None
    guarded: Route | None = None
    """The route that the shared guard has run for."""
    mirrored: bool = False
    """Nobody gets the answer: the request may be nothing but what was decided."""
    held: bool = False
    """Flask itself has matched the request: no middleware has answered it."""
    asked: bool = False
    """The native app was asked for the answer."""
    error: Exception | None = None
    """What the native app has raised; it has answered 500 with `failed`."""
    failed: Response | None = None
    raised: Exception | None = None
    """What has failed in a handler, for Flask to handle."""
    handed: Exception | None = None
    """What a handler has raised for Flask to handle, an answer by `abort` as well."""
    passed: bool = False
    """None of Flask's hooks has answered."""
    dispatched: bool = False
    """Flask has come to where it calls the view, or says that it has none."""
    dispatching: bool = False
    """A `dispatch_request` that isn't Flask's own runs for the request, and none of its hooks."""
    other: str | None = None
    """What dispatches in the place of Flask's own method."""
    _left: bool = False
    """The view was left the answer; what it calls is its own."""
    _answer: Response | None = None
    _request: ReferenceType[Request] | None = None
    """Flask's request that it is for: there may be others made of the same environ."""
    _arguments: Mapping[str, Any] = field(default_factory=dict)
    """What Flask's matching has read out of the path, before any hook."""
    _began: tuple[Scope, Match, Decision] | None = None
    _early: str | None = None
    """What has been replaced in the request before its first hook."""

    def begin(self) -> bool:
        """Tell whether it is for the request that Flask begins with, and bind it to that one.

        A request that a view or a hook makes of this one's environ gets its own view, as one of
        Flask's test client does. Middleware may hand the same one to Flask again; as long as native
        has not been asked, what counts is the last time.
        """
        if self._began is None:
            self._began = self.scope, self.match, self.decision
        elif self.asked or request.environ[CALL_KEY].environ is not request.environ:
            return self.is_for_current()
        else:
            self.scope, self.match, self.decision = self._began
        if not self.is_for_current():
            self._request, self._left = ref(_current()), False
        return True

    def is_for_current(self) -> bool:
        """Tell whether Flask's current request is the one that it is bound to."""
        return self._request is not None and self._request() is _current()

    def admit(self) -> None:
        """Refuse a request made of this one's environ where the shared guard has not run for it."""
        scope, faithful = _as_flask_sees_it(self.scope)
        answer = _read() if faithful else _REFUSED
        match = self.table.interpret(answer, scope, request.path)
        if not self._may_enter(match, self.scope, scope):
            abort(403)

    def hold(self) -> None:
        """Hold what Flask has matched against what was decided; may change match and decision.

        Raises RetiredRoute where native must take the request out of Flask, Strayed where a
        mirrored request is no longer the one that was decided: it might be a DELETE by now.
        """
        self.held = True
        self._arguments = dict(request.view_args or {})
        sent, answer = self.scope, _read()
        if self.rewrites:
            self.scope, faithful = _as_flask_sees_it(sent)
            answer = answer if faithful else _REFUSED
        elif sent["method"] != request.method:
            self.scope = {**sent, "method": request.method}  # Flask reads `get` as GET
        if answer.agrees(self.match.read) and (
            self.scope is sent or _about_the_same(sent, self.scope)
        ):
            return
        if self.mirrored:
            raise Strayed(f"{request.method} {path_without_secrets(request.path)}")
        native = self.decision.backend is Backend.NATIVE
        match = self.table.interpret(answer, self.scope, request.path)
        if not self._may_enter(match, sent, self.scope):
            abort(403)
        if native and match.route is not None and match.route is self.match.route:
            self.match = match
            if match.forced is None:
                return
        self._decide_again(match, sent, native=native)

    def _decide_again(self, match: Match, sent: Scope, *, native: bool) -> None:
        """Decide for what Flask has found, with the same caller."""
        decision = decide(match, self.scope, self.policy, self.caller)
        # Nobody is given an identity here: the answer's headers are out of reach, so that the
        # next request would find none again and could land on the other side.
        if decision.backend is Backend.LEGACY or decision.mint is not None:
            if native:
                self.match, self.decision = match, Decision(Backend.LEGACY, decision.reason)
            return
        logger.warning(
            "%s %s: middleware inside legacy turned it into %s %s, which native serves now",
            sent["method"],
            path_without_secrets(sent["path"]),
            request.method,
            path_without_secrets(request.path),
        )
        if not self.inherits(match):
            raise RetiredRoute(match, self.scope)
        self.match = match
        self.decision = Decision(Backend.NATIVE, Reason.RETIRED, mint=self.decision.mint)

    def _may_enter(self, match: Match, sent: Scope, now: Scope) -> bool:
        """Tell whether the shared guard has let the caller in here: it may have run elsewhere.

        It has, where it was this rule's, on this very path, and the caller has the scopes.
        """
        route, guarded = match.route, self.guarded
        auth = route.auth if route is not None else self.table.default_auth
        if auth != "shared" or (route is None and match.read.outcome != "rule"):
            return True
        if route is None:  # a view that was added at run time: the guard runs by default
            ran, requires = self.match.route is None and not self.match.preflight, frozenset[str]()
        else:
            ran = (
                guarded is not None and guarded.rule is route.rule and guarded.label == route.label
            )
            requires = route.requires
        scopes = self.principal.scopes if self.principal is not None else frozenset[str]()
        if ran and route_path(sent) == route_path(now) and requires <= scopes:
            return True
        logger.warning(
            "%s %s: middleware inside legacy turned it into %s, which the shared guard protects",
            sent["method"],
            path_without_secrets(sent["path"]),
            route.id if route is not None else path_without_secrets(now["path"]),
        )
        return False

    def watch(self, app: Flask) -> None:
        """Note from now on what hooks put in the place of a part of the request."""
        if self.decision.backend is Backend.NATIVE:
            self._early = watch(app, _current())

    @property
    def stands_in(self) -> bool:
        """Whether native answers where Flask is about to call a view, or to say that it has none.

        Hooks may have changed what Flask has matched: then the answer is Flask's.
        """
        native = self.decision.backend is Backend.NATIVE and not self._left
        return native and self.held and _read().agrees(self.match.read)

    def stand_in(
        self,
        app: Flask,
        arguments: Mapping[str, Any] | None = None,
        against: str | None = None,
    ) -> Response | None:
        """Let the native app answer; None where it leaves that to the view.

        `arguments`: what the view would be called with, if that isn't what Flask has matched;
        `against` says why native can't answer. Raises its own error, once its answer is kept in
        `failed`. Nothing runs twice: asked again, it gives the same answer, or raises the same.
        """
        error = self.error or self.handed
        if error is not None:
            raise error
        if self._answer is None:
            self._answer = self._native_answer(app, against or self._against(app, arguments))
            self._left = self._answer is None
        return self._answer

    def _native_answer(self, app: Flask, reason: str | None) -> Response | None:
        call: Call = request.environ[CALL_KEY]
        body: bytes | None = None
        if self._redirects_nowhere():
            self.decision = Decision(Backend.LEGACY, Reason.NEITHER)
            return None
        if reason is None:
            scope = with_headers(self.scope, call.sent, request.environ)
            try:
                body = replaced_body(call, request.environ)
            except Unreadable:
                reason = "middleware has replaced the body by one that can be read only once"
        if reason is not None:
            self._stay_with_view(app, reason)
            return None
        if body is not None:
            scope = with_length(scope, len(body))
        _refuse_too_large(call, body)
        self.asked = True
        may_fail, timeout = self._failover()
        try:
            answer = call.ask(self.native(self.match), dict(scope), timeout, body)
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
        return self._answered(app, call, answer)

    def _answered(self, app: Flask, call: Call, answer: Answer) -> Response:
        """Return native's answer as Flask's hooks get it, or raise what belongs in its place."""
        beside = call.stand_in.beside if call.stand_in is not None else None
        if isinstance(beside, Exception):
            # Flask handles it, as if the view had raised it.
            self.raised = None if isinstance(beside, HTTPException) else beside
            self.handed = beside
            raise beside
        if isinstance(beside, Response):
            return passed_on(beside, app.response_class, answer)
        response = flask_response(app.response_class, answer)
        if answer.error is not None:
            self.error, self.failed = answer.error, response
            raise answer.error
        return response

    def _redirects_nowhere(self) -> bool:
        """Tell whether native would redirect to another spelling, on a host that no URL can have.

        Flask's own answer stays then, as for any path that it doesn't know.
        """
        if self.match.forced != (Backend.NATIVE, Reason.REDIRECT):
            return False
        return not is_host((header(self.scope, b"host") or b"").decode("latin-1"))

    def _against(self, app: Flask, arguments: Mapping[str, Any] | None) -> str | None:
        """Say why the handler can't be called as, and with what, the view would be called."""
        if has_other_view(app, self.match.route):
            return "its view has been replaced since `check` read it (a reload reads it again)"
        if self._early is not None:
            return f"something has replaced request.{self._early} before Flask's first hook"
        who = "a hook of Flask's" if self.other is None else f"a hook of Flask's, or {self.other},"
        part = replaced(_current())
        if part is not None:
            return f"{who} has replaced request.{part}"
        changed = set(changed_arguments(self._arguments, request.view_args))
        changed |= set(changed_arguments(self._arguments, arguments))
        if not changed:
            return None
        return f"{who} has changed the view's arguments ({', '.join(sorted(changed))})"

    def settle(self, app: Flask, other: str) -> None:
        """Look at what became of it where `other` has dispatched, and has given an answer.

        Raises Strayed where nobody gets the answer: nobody can tell whether the view has run.
        """
        if self._left:
            return
        if self.mirrored and self._answer is None and self.error is None:
            raise Strayed(self.match_id)
        self.error = None  # whoever has caught it has given another answer
        if not self.asked:
            self._tell_once(
                app,
                f"{other} answered without calling what app.ensure_sync makes of the view, as "
                "Flask.dispatch_request does: native can't answer",
            )

    def _stay_with_view(self, app: Flask, reason: str) -> None:
        """Leave the answer to the view, and say so once; hooks have run, and don't run again.

        Raises Strayed where nobody gets the answer: it would not be native's.
        """
        if self.mirrored:
            raise Strayed(self.match_id)
        if self.match.route is None or self.match.route.legacy is None:
            message = f"{self.match_id}: {reason}, and legacy has no such route (`hooks: skip`?)"
            raise RuntimeError(message)
        self._tell_once(app, f"{reason}, so that the view answers, not native")

    def _tell_once(self, app: Flask, text: str) -> None:
        told = _installed(app).told
        if (self.match_id, text) not in told:
            told.add((self.match_id, text))
            logger.warning("%s: %s", self.match_id, text)

    @property
    def strayed(self) -> bool:
        """Whether a view may have answered without our knowing: a full dispatch of another's."""
        return self.held and self.passed and not self.dispatched

    @property
    def match_id(self) -> str:
        """The route's name, for messages."""
        route = self.match.route
        return route.id if route is not None else path_without_secrets(self.scope["path"])

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
        super().__init__(f"{scope['method']} {path_without_secrets(scope['path'])}")
        self.match, self.scope = match, scope


def is_installed(app: Flask) -> bool:
    """Tell whether `install` has been called."""
    return _MARK in vars(app)


def install(app: Flask) -> None:
    """Wrap what `app` does with a request; doing it twice is the same as once."""
    if is_installed(app):
        return
    had = {name: vars(app)[name] for name in WRAPPED if name in vars(app)}
    installed = _Installed(had)
    setattr(app, _MARK, installed)
    escape_exceptions_of(app.name)
    _wrap(app, "preprocess_request", _preprocess)
    _wrap(app, "dispatch_request", _dispatch)
    _note_view(app)
    _wrap(app, "handle_user_exception", _user_exception)
    _wrap(app, "handle_exception", _exception)
    installed.way = tuple(map(vars(app).get, _OURS))


def overrides(app: Flask) -> bool:
    """Tell whether the app's object has methods of its own on a request's way; asked for each.

    It may have had them before ours, or have been given them since.
    """
    held = vars(app)
    installed: _Installed = held[_MARK]
    return (
        bool(installed.had)
        or not held.keys().isdisjoint(_OTHERS)
        or installed.way != tuple(map(held.get, _OURS))
    )


def _installed(app: Flask) -> _Installed:
    found: _Installed = vars(app)[_MARK]
    return found


def _other(app: Flask) -> str | None:
    """Name what calls the views, or readies them, in the place of Flask's own methods."""
    had, kind = _installed(app).had, type(app)
    found = other_than_flask_s(
        "dispatch_request", had.get("dispatch_request") or kind.dispatch_request
    )
    if found is not None:
        return found
    return other_than_flask_s("ensure_sync", vars(app).get("ensure_sync") or kind.ensure_sync)


def _open(app: Flask) -> None:
    """Wrap what calls views, and what answers for them, where Flask's own dispatch doesn't."""
    opened = _installed(app).opened
    if all(vars(app).get(name) is opened.get(name, app) for name in _BEHIND):
        return
    with _installed(app).lock:
        for name, wrap in _BEHIND.items():
            if vars(app).get(name) is not opened.get(name, app):
                original = vars(app).get(name) or _of_class(app, name)
                opened[name] = wrap(app, original, _bound)
                setattr(app, name, opened[name])


def _bound() -> Passport | None:
    """Return the passport of the current request, while that request's dispatch runs."""
    passport: Passport | None = None
    if has_request_context():
        passport = request.environ.get(ENVIRON_KEY)
    if passport is None or not passport.dispatching or not passport.is_for_current():
        return None
    return passport


def _wrap(app: Flask, name: str, wrapper: Callable[..., Any]) -> None:
    original: Method = vars(app).get(name) or _of_class(app, name)

    # Flask 3.2 puts its context first, so that only the last argument is known.
    def wrapped(*args: Any) -> Any:
        passport: Passport | None = request.environ.get(ENVIRON_KEY)
        if passport is None or not (wrapper is _preprocess or passport.is_for_current()):
            return original(*args)
        return wrapper(app, original, passport, *args)

    setattr(app, name, wrapped)


def _of_class(app: Flask, name: str) -> Method:
    """Return the app's method, whatever the class has under that name by then."""

    def method(*args: Any) -> Any:
        return getattr(type(app), name)(app, *args)

    return method


def _note_view(app: Flask) -> None:
    """Write down when Flask calls the view, whoever answers in its place then."""
    original: Method = app.dispatch_request

    def dispatch_request(*args: Any) -> Any:
        note_view(request.environ)
        return original(*args)

    app.dispatch_request = dispatch_request  # type: ignore[method-assign]


def _preprocess(app: Flask, original: Method, passport: Passport, *args: Any) -> Any:
    if passport.begin():
        passport.dispatching = False
        passport.hold()
        passport.watch(app)
    else:
        passport.admit()
    if passport.principal is not None:
        g.principal = passport.principal
    answer = original(*args)
    passport.passed = answer is None
    return answer


def _dispatch(app: Flask, original: Method, passport: Passport, *args: Any) -> Any:
    passport.dispatched = True
    if not passport.stands_in:
        return original(*args)
    other = _other(app)
    if other is not None:
        _open(app)
        return behind.dispatch(app, original, passport, other, args)
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


def _refuse_too_large(call: Call, body: bytes | None) -> None:
    """Raise what the view's own reading of the body would raise (Flask, MAX_CONTENT_LENGTH)."""
    limit = request.max_content_length
    if limit is None or not (_LIMITS_ALL_BODIES or request.mimetype in _FORMS):
        return
    if body is not None:
        length = len(body)
    else:
        length = call.body.size if call.body is not None else request.content_length or 0
    if length > limit:
        raise RequestEntityTooLarge


def _current() -> Request:
    """Return Flask's request itself, not the proxy (Werkzeug, `LocalProxy`)."""
    found: Request = request._get_current_object()  # type: ignore[attr-defined] # noqa: SLF001
    return found


def _read() -> LegacyAnswer:
    """Return what Flask itself has made of the request (Flask, `Request.routing_exception`)."""
    error = request.routing_exception
    if error is None:
        rule = request.url_rule
        return LegacyAnswer("rule", rule) if rule is not None else _REFUSED
    if isinstance(error, RequestRedirect):
        return _REDIRECT
    if isinstance(error, MethodNotAllowed):
        return _METHOD
    return NOT_FOUND if isinstance(error, NotFound) else _REFUSED


def _about_the_same(sent: Scope, seen: Scope) -> bool:
    """Tell whether what decides about a request is as it was sent."""
    return (
        sent["method"] == seen["method"]
        and route_path(sent) == route_path(seen)
        and request_host(sent) == request_host(seen)
    )


def _as_flask_sees_it(scope: Scope) -> tuple[Scope, bool]:
    """Return the request as middleware inside Flask has changed it; the same if it hasn't.

    The second value is False where a request class of the app's own shows its hooks a method or a
    path that Flask has not matched: then nobody can say which request native would have to serve.
    """
    environ = request.environ
    root = _decoded(environ.get("SCRIPT_NAME", "")).rstrip("/")
    path = "/" + _decoded(environ.get("PATH_INFO", "")).lstrip("/")
    faithful = request.path == path and request.method == environ["REQUEST_METHOD"].upper()
    changed: dict[str, Any] = {}
    if request.method != scope["method"]:
        changed["method"] = request.method
    if root != scope.get("root_path", "").rstrip("/") or path != _own_path(scope):
        changed["root_path"], changed["path"] = root, root + path
        changed["raw_path"] = quote(root + path, safe="/:@!$&'()*+,;=~-._").encode()
    query = environ.get("QUERY_STRING", "").encode("latin-1")
    if query != scope.get("query_string", b""):
        changed["query_string"] = query
    scheme = environ["wsgi.url_scheme"]
    if scheme != scope.get("scheme", "http"):
        changed["scheme"] = scheme
    host = environ.get("HTTP_HOST", "").encode("latin-1")
    if host != (header(scope, b"host") or b""):
        headers = [each for each in scope["headers"] if each[0] != b"host"]
        changed["headers"] = [(b"host", host), *headers]
    address, client = environ.get("REMOTE_ADDR"), scope.get("client")
    if address and (client is None or address != client[0]):
        changed["client"] = (address, 0)
    return ({**scope, **changed}, faithful) if changed else (scope, faithful)


def _own_path(scope: Scope) -> str:
    return "/" + route_path(scope).lstrip("/")


def _decoded(text: str) -> str:
    """Read a path of the environ (PEP 3333, "Unicode Issues")."""
    return text.encode("latin-1").decode("utf-8", "replace")
