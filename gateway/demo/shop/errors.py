"""What the domain refuses. Either side turns these into its own answers."""

from __future__ import annotations


class ShopError(Exception):
    """Something that the shop refuses; its text may be shown to the client."""


class NotFoundError(ShopError):
    """There is no such record."""


class DuplicateError(ShopError):
    """A record with this name exists already."""
