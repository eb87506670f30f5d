"""Shared auth: one dependency in front of both sides, and who it says is calling."""

from gateway.auth.guard import Guard, asks_again, current_principal
from gateway.auth.principal import Principal, read_principal

__all__ = ["Guard", "Principal", "asks_again", "current_principal", "read_principal"]
