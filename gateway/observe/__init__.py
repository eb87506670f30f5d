"""What happened to each request, told to whoever listens; listening never harms the request."""

from gateway.observe.events import Exchange, Observer, notify
from gateway.observe.loop_sql import LoopSql

__all__ = ["Exchange", "LoopSql", "Observer", "notify"]
