"""What a Flask app puts around its views, and so around a handler that has taken one over."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any

from flask import Flask, Request, appcontext_pushed, request_finished, request_started
from flask.sessions import SecureCookieSessionInterface

from gateway.flask import inside, sessions
from gateway.flask.borrowed import FLASK_KEY
from gateway.flask.mirroring import quieten
from gateway.flask.patched import has_other_view, is_patched, other_than_flask_s
from gateway.routing import Coverage

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from starlette.types import Scope as ASGIScope
    from starlette.types import Send

    from gateway.config import Hooks
    from gateway.inventory import NativeEndpoint, Scope
    from gateway.routing import Match

_HOOKS = (
    "url_value_preprocessors",
    "before_request_funcs",
    "after_request_funcs",
    "teardown_request_funcs",
)


class FlaskSide:
    """One Flask app as the dispatcher sees it: who must pass through it, and who need not."""

    def __init__(self, app: Flask) -> None:
        self.app = app
        self.idle = False
        """No native request has anything to do with Flask: none is surrounded, none borrows."""
        self._always = False
        self._session_cookie: bytes | None = None
        self._wanting: frozenset[int] = frozenset()
        self._borrowing: frozenset[int] = frozenset()
        inside.install(app)
        self.refresh()

    @property
    def rewrites(self) -> bool:
        """Middleware stands before Flask's own matching, and might change method or path."""
        return self._rewrites or "wsgi_app" in vars(self.app)

    @property
    def full_dispatch(self) -> str | None:
        """What calls hooks and view in the place of Flask's own; None: nothing does.

        Then nobody can tell whether a hook has answered, or a view that it has called by itself.
        """
        return other_than_flask_s("full_dispatch_request", self.app.full_dispatch_request)

    def refresh(self) -> None:
        """Look again at what is around the app; its hooks are looked at for each request."""
        app = self.app
        interface = app.session_interface
        self._rewrites = _rewrites(app)
        self._always = (
            self._rewrites
            or _overrides(app)
            # Who knows what it asks of a request that has no cookie.
            or type(interface) is not SecureCookieSessionInterface
            or any(getattr(app, kind).get(None) for kind in _HOOKS)
            or bool(getattr(app, "before_first_request_funcs", ()))  # Flask 2.2
            or _listened_to(app)
        )
        # Flask writes a permanent session's cookie anew with every answer.
        if app.secret_key:
            self._session_cookie = f"{app.config['SESSION_COOKIE_NAME']}=".encode()
        self._settle()

    def learn(self, endpoints: Iterable[NativeEndpoint]) -> None:
        """Note which native routes need something of Flask's beyond its hooks."""
        known = list(endpoints)
        self._wanting = frozenset(each.order for each in known if each.wants_flask)
        self._borrowing = frozenset(
            each.order for each in known if sessions.borrows(each.dependant)
        )
        self._settle()

    def lets_by(self, match: Match, scope: Scope, hooks: Hooks) -> bool:
        """Tell whether a request that native serves may go around Flask.

        Only where Flask, asked with the real request, gives the decided rule, or knows nothing of
        the path; and only where its rule says so, or where Flask would do nothing around it. The
        one place that decides this: what it doesn't let by goes through Flask.
        """
        outcome = match.read.outcome
        alone = match.route is None or match.route.coverage is not Coverage.BOTH
        if not (outcome == "rule" or (outcome == "none" and alone)) or self.wanted_by(match):
            return False
        if has_other_view(self.app, match.route):
            return False
        return hooks == "skip" or not self.surrounds(match, scope)

    def wanted_by(self, match: Match) -> bool:
        """Tell whether the handler must run inside Flask, whatever the rule says of hooks."""
        if not self._wanting:
            return False
        route = match.route
        return route is None or (route.native is not None and route.native.order in self._wanting)

    def lend(self, match: Match, scope: ASGIScope, send: Send) -> tuple[ASGIScope, Send]:
        """Let a native handler outside of Flask reach what is Flask's, if it asks for it."""
        if not self._borrowing:
            return scope, send
        native = match.route.native if match.route is not None else None
        if native is not None and native.order not in self._borrowing:
            return scope, send
        opened = sessions.Sessions(self.app, scope)
        lent = {**scope, FLASK_KEY: self.app, sessions.SCOPE_KEY: opened}
        return lent, opened.sending(send)

    def for_guard(self, scope: ASGIScope) -> tuple[ASGIScope, sessions.Sessions]:
        """Let the shared guard ask for what is Flask's: its user, and the session to read.

        Returns the scope for it, and the session, which knows whether it was asked for.
        """
        opened = sessions.Sessions(self.app, scope, read_only=True)
        return {**scope, FLASK_KEY: self.app, sessions.SCOPE_KEY: opened}, opened

    async def read_session(self, scope: Scope) -> Mapping[str, Any]:
        """Return the Flask session of a request; empty where there is none."""
        return await sessions.read(self.app, scope)

    def prepare_mirrors(self) -> None:
        """Keep what mirrored requests do inside Flask from lasting."""
        quieten(self.app)

    def _settle(self) -> None:
        """Note whether native requests have nothing to do with Flask at all, for the quick way."""
        self.idle = not (self._always or self._session_cookie or self._wanting or self._borrowing)

    def surrounds(self, match: Match, scope: Scope) -> bool:
        """Tell whether Flask does anything around this route's view: hooks, middleware, session."""
        app = self.app
        if self._always or "wsgi_app" in vars(app) or _listened_to(app):
            return True
        if is_patched() or inside.overrides(app):
            return True
        # Flask looks at its hooks for each request, so that one added by now counts.
        names = _scopes(str(getattr(match.read.ref, "endpoint", "")))
        for kind in _HOOKS:
            hooks = getattr(self.app, kind)
            for name in names if hooks else ():
                if hooks.get(name):
                    return True
        cookie = self._session_cookie
        if cookie is not None:
            for name, value in scope["headers"]:
                if name == b"cookie" and cookie in value:
                    return True
        limit = self.app.config["MAX_CONTENT_LENGTH"]
        return limit is not None and _may_exceed(limit, scope)


def _may_exceed(limit: int, scope: Scope) -> bool:
    """Tell whether Flask would refuse a body by its length, once a view asks for it."""
    for name, value in scope["headers"]:
        if name == b"transfer-encoding":
            return True
        if name == b"content-length":
            return not value.isdigit() or int(value) > limit
    return False


@lru_cache(maxsize=4096)
def _scopes(endpoint: str) -> tuple[str | None, ...]:
    """Name whose hooks Flask runs: for the endpoint `a.b.c` the app's (None), `a.b`'s and `a`'s."""
    parts = endpoint.split(".")[:-1]
    return (None, *(".".join(parts[:count]) for count in range(len(parts), 0, -1)))


def _listened_to(app: Flask) -> bool:
    """Tell whether somebody hears of each request; a receiver may refuse one by raising."""
    # Asked for each request: a generator over the three would cost more than the looks.
    return bool(
        (request_started.receivers and request_started.has_receivers_for(app))
        or (request_finished.receivers and request_finished.has_receivers_for(app))
        or (appcontext_pushed.receivers and appcontext_pushed.has_receivers_for(app))
    )


def _rewrites(app: Flask) -> bool:
    """Tell whether anything stands between the server and Flask's own matching."""
    return (
        "wsgi_app" in vars(app)
        or any(
            getattr(type(app), name) is not getattr(Flask, name)
            for name in ("wsgi_app", "__call__", "request_context")
        )
        or app.request_class is not Request
    )


def _overrides(app: Flask) -> bool:
    """Tell whether a subclass, or the object itself, does in its own way what Flask would do."""
    for cls in type(app).__mro__:
        if cls is Flask:
            break
        if any(callable(value) and hasattr(Flask, name) for name, value in vars(cls).items()):
            return True
    return any(
        callable(getattr(Flask, name, None)) and name not in inside.WRAPPED for name in vars(app)
    )
