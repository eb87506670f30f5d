"""Dependencies for `auth.dependency` that ask for what only the guarded route has."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

from fastapi import (
    BackgroundTasks,
    Depends,
    Header,
    HTTPException,
    Path,
    Query,
    Request,
    Response,
    Security,
)
from fastapi.security import SecurityScopes  # noqa: TC002 - FastAPI reads it at run time

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

#: What happened, for the tests to look at.
LOG: list[Any] = []


async def member(org: str | None = None, x_user: Annotated[str, Header()] = "ann") -> str:
    """Lets in whoever belongs to the path's organisation; F1 7 as it was reported."""
    LOG.append(org)
    if org is not None and not org.startswith("acme"):
        raise HTTPException(403, f"{x_user} is no member of {org}")
    return x_user


def _org(org: Annotated[str, Path(min_length=3)]) -> str:
    return org


class Member:
    """A class as a dependency, which gets its organisation from a dependency below it."""

    def __init__(self, org: str = Depends(_org)) -> None:
        LOG.append(org)
        if org != "acme":
            raise HTTPException(403, f"not a member of {org}")
        self.id = "ann"


async def by_account(account: int) -> str:
    """Takes a number from the path."""
    LOG.append(account)
    if account != 7:
        raise HTTPException(403, "not your account")
    return "ann"


async def by_path_params(request: Request) -> str:
    """Reads the path's parameters by itself."""
    LOG.append(dict(request.path_params))
    if request.path_params.get("org", "acme") != "acme":
        raise HTTPException(403, "no member")
    return "ann"


async def by_query(org: Annotated[str, Query()]) -> str:
    """FastAPI refuses it on a route with such a path parameter."""
    return org


async def by_alias(ident: Annotated[str, Query(alias="org")] = "none") -> str:
    """Wants the query, and says so."""
    return ident


async def tell(message: str) -> None:
    """A background task."""
    LOG.append(message)


async def busy(request: Request, response: Response, background: BackgroundTasks) -> str:
    """Asks for all that a dependency on a route has."""
    if request.headers.get("x-user") == "nobody":
        raise HTTPException(401, "who are you?")
    route = request.scope["route"]
    LOG.append(
        {
            "app": request.app.state.name,
            "route": route.path,
            "url": str(request.url_for("native_item", org="a", item=5)),
            "endpoint": getattr(request.scope["endpoint"], "__name__", None),
        }
    )
    request.state.seen = "by the guard"
    response.headers["X-Guard"] = "passed"
    response.headers["Content-Length"] = "999"
    response.set_cookie("one", "1")
    response.set_cookie("two", "2")
    response.status_code = 299
    background.add_task(tell, "told")
    return "ann"


class NotPaid(Exception):
    """The native app has a handler for it."""


async def raising(request: Request) -> str:
    """Raises what `X-Raise` names."""
    LOG.append("solved")
    match request.headers.get("x-raise"):
        case "paid":
            raise NotPaid
        case "http":
            raise HTTPException(418, "teapot")
        case "crash":
            raise ZeroDivisionError("in the dependency")
    return "ann"


async def swallowing() -> AsyncIterator[str]:
    """Sees what comes from behind it, and keeps it for itself."""
    try:
        yield "ann"
    except Exception as error:
        LOG.append(f"swallowed {type(error).__name__}")


async def converting() -> AsyncIterator[str]:
    """Makes another error of what comes from behind it."""
    try:
        yield "ann"
    except Exception as error:
        LOG.append(f"converted {type(error).__name__}")
        raise HTTPException(418, "too late") from error


async def _needs(scopes: SecurityScopes, x_scopes: Annotated[str, Header()] = "") -> str:
    LOG.append(scopes.scopes)
    missing = sorted(set(scopes.scopes) - set(x_scopes.split()))
    if missing:
        raise HTTPException(403, f"needs {' '.join(missing)}")
    return "ann"


async def secured(
    reader: Annotated[str, Security(_needs, scopes=["read"])],
    again: Annotated[str, Security(_needs, scopes=["read"])],
    fresh: Annotated[str, Depends(_needs, use_cache=False)],
) -> dict[str, Any]:
    """Security scopes inside of the tree; the same dependency is solved once per scopes."""
    return {"id": reader + again[:0] + fresh[:0], "scopes": ["items:read"]}


async def many_scopes() -> dict[str, Any]:
    """A caller with scopes of all kinds."""
    return {"id": "ann", "scopes": ["read", "läsa", "a\nb"]}
