"""Keeps what a mirrored request does inside Flask from lasting.

Its hooks run as ever, since views need what they put on `g`. But a session that is kept on the
server would be written by a request that nobody has sent, and a rate limit used up by it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from flask.sessions import SecureCookieSessionInterface

from gateway.state import is_mirror

if TYPE_CHECKING:
    from flask import Flask, Response
    from flask.sessions import SessionInterface, SessionMixin

_MARK = "_gateway_quiet"


def quieten(app: Flask) -> None:
    """Ready the app, and what extensions it has by now, for mirrored requests; may be repeated."""
    interface = app.session_interface
    if not hasattr(interface, _MARK) and type(interface) is not SecureCookieSessionInterface:
        _quieten_sessions(interface)
    for limiter in _limiters(app):
        if not hasattr(limiter, _MARK):
            setattr(limiter, _MARK, True)
            # Flask-Limiter, "Rate limit exemption": no limit is counted where a filter says True.
            limiter.request_filter(is_mirror)


def _quieten_sessions(interface: SessionInterface) -> None:
    """Wrap `save_session` on the object: mirrored requests get the cookie and save nothing.

    A signed cookie needs none of this: it is saved with the answer, which nobody gets.
    """
    original = interface.save_session

    def save_session(app: Flask, session: SessionMixin, response: Response) -> None:
        if not is_mirror():
            original(app, session, response)
            return
        # As Flask's own interface decides, so that the names of cookies can be compared.
        name = interface.get_cookie_name(app)
        if not session:
            if session.modified:
                response.delete_cookie(name)
        elif interface.should_set_cookie(app, session):
            response.set_cookie(name, "mirrored")

    interface.save_session = save_session  # type: ignore[method-assign]
    setattr(interface, _MARK, True)


def _limiters(app: Flask) -> list[Any]:
    found = app.extensions.get("limiter", ())
    several = found if isinstance(found, set | list | tuple | frozenset) else (found,)
    return [each for each in several if hasattr(each, "request_filter")]
