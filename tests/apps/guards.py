"""Dependencies for `auth.dependency` in the tests."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

from blinker import signal
from fastapi import Body, Depends, HTTPException, Request
from fastapi.security import HTTPBearer

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from fastapi.security import HTTPAuthorizationCredentials

#: What happened, for the tests to look at.
LOG: list[str] = []
#: What `introspected` has found in the state of each request.
FOUND: list[set[str]] = []

asked = signal("token-introspected")

CALLERS = {
    "ann": {"sub": "ann", "scope": "items:read items:write"},
    "bob": {"sub": "bob", "scope": "items:read"},
    "qa": {"sub": "qa", "scope": "tester"},
}

bearer = HTTPBearer(auto_error=False)


async def connection() -> AsyncIterator[str]:
    """A yield dependency: open around the handler."""
    LOG.append("open")
    try:
        yield "connection"
    except ZeroDivisionError:
        LOG.append("saw the crash")
        raise
    finally:
        LOG.append("close")


def verify_token(request: Request, _: str = Depends(connection)) -> dict[str, Any]:
    """An ordinary dependency, `def`, with a sub-dependency."""
    LOG.append("verify")
    lines = request.headers.getlist("authorization")
    if len(lines) != 1 or not lines[0].startswith("Bearer "):
        raise HTTPException(401, "who are you?", {"WWW-Authenticate": "Bearer"})
    caller = CALLERS.get(lines[0].removeprefix("Bearer "))
    if caller is None:
        raise HTTPException(401, "who are you?", {"WWW-Authenticate": "Bearer"})
    return caller


async def by_bearer(
    credentials: Annotated[Any, Depends(bearer)],
) -> HTTPAuthorizationCredentials | None:
    """A security scheme of FastAPI's own; nobody is let in as nobody."""
    return credentials  # type: ignore[no-any-return]


async def introspected(request: Request) -> dict[str, str]:
    """Does something that is seen from outside, and leaves something behind."""
    names = ("greeted", "principal", "token")
    FOUND.append({name for name in names if hasattr(request.state, name)})
    if "x-stranger" in request.headers:
        raise HTTPException(401)
    request.state.token = "introspected"
    asked.send()
    return {"sub": "ann"}


async def signed(request: Request) -> str:
    """Reads the body, as a webhook's signature check does."""
    body = await request.body()
    if request.headers.get("x-signature") != str(len(body)):
        raise HTTPException(401, "bad signature")
    return "webhook"


async def typed(payload: Annotated[dict[str, Any], Body()]) -> str:
    """Wants a JSON body."""
    return str(payload["who"])
