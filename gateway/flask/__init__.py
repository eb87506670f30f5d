"""Flask's world for native handlers: its context, its session, its users, its URLs."""

from gateway.flask.borrowed import CurrentFlaskUser, FlaskUrlFor, flask_login, flask_user
from gateway.flask.route import FlaskRoute
from gateway.flask.sessions import FlaskSession, ReadOnlyFlaskSession

__all__ = [
    "CurrentFlaskUser",
    "FlaskRoute",
    "FlaskSession",
    "FlaskUrlFor",
    "ReadOnlyFlaskSession",
    "flask_login",
    "flask_user",
]
