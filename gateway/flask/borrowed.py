"""Single things of Flask's for native handlers that need no whole Flask request around them."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Annotated, Any

from fastapi import Depends, HTTPException, Request
from flask import has_request_context
from flask import url_for as flask_url_for

from gateway.flask.environ import environ_of
from gateway.flask.sessions import DEPENDENCIES, SCOPE_KEY

if TYPE_CHECKING:
    from collections.abc import Callable

    from flask import Flask

    from gateway.flask.sessions import Sessions

#: Where native handlers find the Flask app.
FLASK_KEY = "gateway.flask"


def _app(request: Request) -> Flask:
    app: Flask | None = request.scope.get(FLASK_KEY)
    if app is None:
        message = "this needs the gateway in front: serve the app through it"
        raise RuntimeError(message)
    return app


async def flask_user(request: Request) -> Any:
    """Return Flask-Login's current user: a dependency; None for an anonymous one.

    Inside inherited hooks it is the user that Flask knows already; elsewhere the app's own user
    loader is asked, on another thread, as it may ask a database.
    """
    if has_request_context():
        return _logged_in()
    app = _app(request)
    sessions: Sessions | None = request.scope.get(SCOPE_KEY)
    if sessions is not None:
        sessions.used = True

    def load() -> Any:
        with app.request_context(environ_of(app, request.scope)):
            return _logged_in()

    return await asyncio.to_thread(load)


def _logged_in() -> Any:
    from flask_login import current_user  # noqa: PLC0415 - only who uses it has it

    user = current_user._get_current_object()  # noqa: SLF001 - Werkzeug documents it
    return user if user.is_authenticated else None


async def flask_login(user: Annotated[Any, Depends(flask_user)]) -> Any:
    """Let in whoever is logged in by Flask-Login: for `auth.dependency` (`auth.id: id`).

    Raises HTTPException 401 for anybody else.
    """
    if user is None:
        raise HTTPException(401, "Unauthorized")
    return user


def _url_for(request: Request) -> Callable[..., str]:
    """Return a `url_for` of Flask's endpoints, for handlers outside of Flask."""
    if has_request_context():
        return flask_url_for
    app = _app(request)

    def build(endpoint: str, **values: Any) -> str:
        with app.request_context(environ_of(app, request.scope)):
            return flask_url_for(endpoint, **values)

    return build


DEPENDENCIES |= {flask_user, _url_for}

CurrentFlaskUser = Annotated[Any, Depends(flask_user)]
"""Flask-Login's current user, None if nobody is logged in."""
FlaskUrlFor = Annotated[Any, Depends(_url_for)]
"""`flask.url_for` by itself."""
