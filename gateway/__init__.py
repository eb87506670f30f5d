"""An ASGI/WSGI mounting gateway: move a live Flask app to FastAPI, one route at a time.

One process serves both apps. Everything falls through to Flask until a line of config moves a
path, per method, to its native FastAPI handler.
"""

from gateway.app import Gateway
from gateway.auth import Principal, current_principal
from gateway.exceptions import ConfigError, GatewayError, Problem, UseLegacy
from gateway.observe import Exchange, Observer
from gateway.state import is_mirror, request_state

__all__ = [
    # the app
    "Gateway",
    # what a native handler may raise
    "UseLegacy",
    # what went wrong
    "ConfigError",
    "GatewayError",
    "Problem",
    # what happened
    "Exchange",
    "Observer",
    # what belongs to one request
    "Principal",
    "current_principal",
    "is_mirror",
    "request_state",
]
