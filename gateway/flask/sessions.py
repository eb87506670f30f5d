"""The Flask session, read and written by native code through the app's own session interface.

So a signed cookie, Redis, files and whatever else Flask-Session knows all work, both ways. Inside
inherited hooks the session is Flask's own, which Flask saves; elsewhere it is opened here, and
saved with the answer's first byte, if it was changed.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Annotated, Any

from fastapi import Depends, Request
from flask import has_request_context, session
from flask.sessions import SecureCookieSessionInterface, SessionMixin

from gateway.flask.environ import environ_of
from gateway.logs import logger_for

if TYPE_CHECKING:
    from collections.abc import Mapping

    from flask import Flask
    from starlette.types import Message, Send

logger = logger_for("gateway.flask")

#: Where native handlers find the request's Sessions.
SCOPE_KEY = "gateway.sessions"


class Sessions:
    """Opens the session of one request, at most once, and saves it with the answer."""

    def __init__(self, app: Flask, scope: Mapping[str, Any], *, read_only: bool = False) -> None:
        self.read_only = read_only
        self._app = app
        self._scope = scope
        self._opened: SessionMixin | None = None
        self.writable = False
        self.used = False
        """Somebody has asked for what the cookie says, so the answer depends on it."""

    async def open(self) -> SessionMixin:
        """Return the session."""
        self.used = True
        if self._opened is None:
            self._opened = await _run(self._app, self._open)
        return self._opened

    def _open(self) -> SessionMixin:
        app = self._app
        request = app.request_class(environ_of(app, self._scope))
        opened = app.session_interface.open_session(app, request)
        return opened if opened is not None else app.session_interface.make_null_session(app)

    async def save(self) -> list[tuple[bytes, bytes]]:
        """Save a session that was changed; return the headers that tell the client."""
        opened = self._opened
        if opened is None or not self.writable:
            return []
        headers: list[tuple[bytes, bytes]] = await _run(self._app, self._save, opened)
        return headers

    def _save(self, opened: SessionMixin) -> list[tuple[bytes, bytes]]:
        app = self._app
        response = app.response_class()
        before = list(response.headers)
        with app.app_context():
            app.session_interface.save_session(app, opened, response)
        return [
            (name.lower().encode("latin-1"), value.encode("latin-1"))
            for name, value in response.headers
            if (name, value) not in before
        ]

    def sending(self, send: Send) -> Send:
        """Return `send` with the session saved before the first byte, and its `Vary: Cookie`."""

        async def saved(message: Message) -> None:
            if message["type"] == "http.response.start" and self.used:
                headers = [*message.get("headers", ()), *await self.save()]
                if not any(_varies(name, value) for name, value in headers):
                    headers.append((b"vary", b"Cookie"))
                message = {**message, "headers": headers}
            await send(message)

        return saved


def _varies(name: bytes, value: bytes) -> bool:
    """Tell whether a header says that the answer depends on the cookie (RFC 9110, 12.5.5)."""
    if name.lower() != b"vary":
        return False
    named = {each.strip().lower() for each in value.split(b",")}
    return not named.isdisjoint({b"cookie", b"*"})


async def _run(app: Flask, function: Any, *args: Any) -> Any:
    """Call `function`: a signed cookie at once, a session elsewhere (Redis, files) in a thread."""
    if type(app.session_interface) is SecureCookieSessionInterface:
        return function(*args)
    return await asyncio.to_thread(function, *args)


async def read(app: Flask, scope: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the session of a request as the gateway itself sees it; an unreadable one is empty."""
    try:
        return dict(await Sessions(app, scope).open())
    except Exception:
        logger.exception("the Flask session could not be read; taken for an empty one")
        return {}


#: The dependencies of this package that a handler outside of Flask may have.
DEPENDENCIES: set[Any] = set()


def borrows(dependant: Any) -> bool:
    """Tell whether a route's dependencies ask for anything of Flask's."""
    return any(
        below.call in DEPENDENCIES or borrows(below)
        for below in getattr(dependant, "dependencies", ())
    )


async def _writable(request: Request) -> Any:
    sessions = _sessions(request)
    if sessions is None:
        return session
    if sessions.read_only:
        message = "the shared guard may read the session, not write it: use ReadOnlyFlaskSession"
        raise RuntimeError(message)
    sessions.writable = True
    return await sessions.open()


async def _readable(request: Request) -> Any:
    sessions = _sessions(request)
    return dict(session if sessions is None else await sessions.open())


def _sessions(request: Request) -> Sessions | None:
    """Return the request's Sessions; None inside inherited hooks, where Flask's own is live."""
    if has_request_context():
        return None
    sessions: Sessions | None = request.scope.get(SCOPE_KEY)
    if sessions is None:
        message = "a Flask session needs the gateway in front: serve the app through it"
        raise RuntimeError(message)
    return sessions


DEPENDENCIES |= {_writable, _readable}

FlaskSession = Annotated[SessionMixin, Depends(_writable)]
"""The session, as `flask.session`: change it, and it is saved with the answer."""
ReadOnlyFlaskSession = Annotated[dict[str, Any], Depends(_readable)]
"""A copy of the session's values; changing it changes nothing."""
