"""What happened to each request, counted and told to whoever listens; listening never harms it."""

from gateway.observe.access import AccessLog
from gateway.observe.events import Exchange, Observer, notify
from gateway.observe.loop_lag import LoopLag
from gateway.observe.loop_sql import LoopSql
from gateway.observe.tally import Tally
from gateway.observe.telemetry import Telemetry
from gateway.observe.workers import Workers, server_pid

__all__ = [
    "AccessLog",
    "Exchange",
    "LoopLag",
    "LoopSql",
    "Observer",
    "Tally",
    "Telemetry",
    "Workers",
    "notify",
    "server_pid",
]
