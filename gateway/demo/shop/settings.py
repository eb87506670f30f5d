"""Settings from the environment, read when they are needed: importing fixes nothing."""

from __future__ import annotations

import hmac
import os

DEFAULT_TOKEN = "demo-token"  # noqa: S105 - the documented token of a demo
#: What either side answers, with status 401, to a request without the right token.
UNAUTHORIZED = "missing or wrong x-token"


def token() -> str:
    """Return the token that guarded pages ask for (GATEWAY_DEMO_TOKEN)."""
    return os.environ.get("GATEWAY_DEMO_TOKEN") or DEFAULT_TOKEN


def token_matches(given: str) -> bool:
    """Compare a token with the expected one, in constant time."""
    # As bytes: compare_digest refuses str beyond ASCII, and a header may hold anything.
    return hmac.compare_digest(given.encode(), token().encode())


def totals_mended() -> bool:
    """Tell whether the native order total is mended (GATEWAY_DEMO_MENDED): the story's flag."""
    return bool(os.environ.get("GATEWAY_DEMO_MENDED"))
