"""Who acts, for utilities that know neither Flask nor FastAPI (S1): a context variable."""

from __future__ import annotations

from contextvars import ContextVar

actor: ContextVar[str] = ContextVar("shop_actor", default="nobody")


def signature() -> str:
    """Return how an entry in the books is signed."""
    return f"{actor.get()}, kitchen shop"
