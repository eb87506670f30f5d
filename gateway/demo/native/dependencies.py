"""What handlers ask for: the caller's token, a database session, the time."""

from collections.abc import Callable, Coroutine, Iterator
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


class TokenFirstRoute(APIRoute):
    """Checks the token before the body is looked at, as legacy's `before_request` does.

    FastAPI parses JSON before it solves dependencies: without this, malformed JSON from a stranger
    would be answered with 422, and legacy says 401.
    """

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Return FastAPI's handler behind the check."""
        handle = super().get_route_handler()

        async def guarded(request: Request) -> Response:
            await verify_token(request.headers.get("x-token", ""))
            return await handle(request)

        return guarded


def db_session() -> Iterator[Session]:
    """Open a session for one request. A `def`, as its users: SQLAlchemy's calls block."""
    with database().session() as session:
        yield session


async def clock() -> datetime:
    """Return the time. Handlers get it from outside, so a test can set it."""
    return datetime.now(UTC)


Token = Annotated[str, Depends(verify_token)]
Db = Annotated[Session, Depends(db_session)]
Now = Annotated[datetime, Depends(clock)]
