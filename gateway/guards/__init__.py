"""What can refuse a caller: views, hooks, middleware, native handlers. Code is read, never run."""

from gateway.guards.handlers import (
    Refuser,
    adopt_native,
    handler_fingerprint,
    of_dependencies,
    of_endpoint,
)
from gateway.guards.hooks import FlaskGuards, middleware

__all__ = [
    "FlaskGuards",
    "Refuser",
    "adopt_native",
    "handler_fingerprint",
    "middleware",
    "of_dependencies",
    "of_endpoint",
]
