"""What handlers ask for: the caller's token, a database session, the time."""

from collections.abc import Awaitable, Callable, Coroutine, Iterator
from datetime import UTC, datetime
from typing import Annotated, Any

from fastapi import Depends, Header, Request, Response
from fastapi.routing import APIRoute
from sqlalchemy.orm import Session

from gateway.demo.native.errors import UnauthorizedError
from gateway.demo.shop.database import database
from gateway.demo.shop.settings import token_matches


async def verify_token(x_token: Annotated[str, Header()] = "") -> str:
    """Return the caller's token; raise UnauthorizedError unless it is the right one."""
    if not token_matches(x_token):
        raise UnauthorizedError
    return x_token


def first(check: Callable[[Request], Awaitable[Any]]) -> type[APIRoute]:
    """Make a route class that runs `check` before the body is looked at, as Flask's guards do.

    FastAPI parses JSON before it solves dependencies: without this, malformed JSON from a stranger
    would be answered with 422, and legacy says 401. A rule with `auth: shared` needs none of it.
    """

    class CheckedFirst(APIRoute):
        def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
            handle = super().get_route_handler()

            async def checked(request: Request) -> Response:
                await check(request)
                return await handle(request)

            return checked

    return CheckedFirst


def db_session() -> Iterator[Session]:
    """Open a session for one request. A `def`, as its users: SQLAlchemy's calls block."""
    with database().session() as session:
        yield session


async def clock() -> datetime:
    """Return the time. Handlers get it from outside, so a test can set it."""
    return datetime.now(UTC)


Token = Annotated[str, Depends(verify_token)]


async def caller(_: Token) -> dict[str, str]:
    """Say who holds the shop's token, in a JWT's words: the gateway's shared guard."""
    return {"sub": "kitchen", "scope": "items:read items:write"}


Db = Annotated[Session, Depends(db_session)]
Now = Annotated[datetime, Depends(clock)]
