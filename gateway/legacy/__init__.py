"""The legacy side: a bridge that serves a WSGI app over ASGI, and the pool it runs on."""

from gateway.legacy.body import Spool, SpoolBudget
from gateway.legacy.bridge import Bridge
from gateway.legacy.call import CALL_KEY, Call
from gateway.legacy.environ import EnvironBuilder
from gateway.legacy.pool import Pool, PoolStats
from gateway.legacy.standin import Answer, LoopBody, StandIn, current

__all__ = [
    "CALL_KEY",
    "Answer",
    "Bridge",
    "Call",
    "EnvironBuilder",
    "LoopBody",
    "Pool",
    "PoolStats",
    "Spool",
    "SpoolBudget",
    "StandIn",
    "current",
]
