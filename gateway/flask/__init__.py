"""Flask's world for native handlers: its context, its session, its exceptions."""

from gateway.flask.route import FlaskRoute
from gateway.flask.sessions import FlaskSession, ReadOnlyFlaskSession

__all__ = ["FlaskRoute", "FlaskSession", "ReadOnlyFlaskSession"]
