"""The legacy side: a bridge that serves a WSGI app over ASGI, and the pool it runs on."""

from gateway.legacy.bridge import Bridge
from gateway.legacy.pool import Pool, PoolStats

__all__ = ["Bridge", "Pool", "PoolStats"]
