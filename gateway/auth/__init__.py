"""Shared auth: one dependency in front of both sides, and who it says is calling."""

from gateway.auth.guard import Guard, asks_again, current_principal
from gateway.auth.parameters import parameter_problems
from gateway.auth.passage import Passed, handshake
from gateway.auth.places import Guarded
from gateway.auth.principal import Principal, read_principal

__all__ = [
    "Guard",
    "Guarded",
    "Passed",
    "Principal",
    "asks_again",
    "current_principal",
    "handshake",
    "parameter_problems",
    "read_principal",
]
