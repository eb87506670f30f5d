"""What of native code can turn a caller away, and what only looks as if."""

from __future__ import annotations

import functools
import threading
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

import jwt
import pytest
from fastapi import Depends, FastAPI, HTTPException
from fastapi.routing import APIRoute
from fastapi.security import APIKeyHeader, HTTPBearer
from starlette.middleware.gzip import GZipMiddleware

from gateway.auth import current_principal
from gateway.auth.tokens import ApiToken
from gateway.flask import CurrentFlaskUser, FlaskSession, flask_login, flask_user
from gateway.guards import Refuser, of_endpoint
from gateway.native import NativeApp

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from starlette.types import ASGIApp, Receive, Scope, Send


def verify() -> None:
    raise HTTPException(401)


class Verifier:
    def check(self, token: str) -> str:
        if token != "t":
            raise LookupError(token)
        return token


class Engine(threading.Thread):
    """A library's object, so to say."""


verifier, engine, lock = Verifier(), Engine(), threading.Lock()


def raises() -> None:
    raise LookupError


def helped() -> None:
    raises()


def by_method(token: str) -> str:
    return verifier.check(token)


def by_library(token: str) -> Any:
    return jwt.decode(token, "key", algorithms=["HS256"])


def made(role: str) -> Callable[[str], str]:
    def check(token: str) -> str:
        return verifier.check(token + role)

    return check


@functools.wraps(raises)
def decorated() -> None:
    raises()


class Asked:
    def __init__(self, token: str) -> None:
        raises()


class Pages:
    def __init__(self, page: int = 1) -> None:
        self.page = page


class Plain:
    pass


def connect() -> Iterator[str]:
    lock.acquire()
    try:
        yield str(engine.ident)
    except KeyError:
        engine.join()
        raise
    finally:
        lock.release()


async def clock() -> datetime:
    return datetime.now(UTC)


@functools.cache
def settings() -> Pages:
    return Pages()


def current(user: CurrentFlaskUser) -> Any:
    return user


class First(APIRoute):
    """Looks at requests first."""


def through(_: Annotated[Any, Depends(flask_login)]) -> None:
    """Lets FastAPI solve a guard for it."""


class Gate:
    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self.app(scope, receive, send)


def plain() -> str:
    return ""


def refused() -> None:
    raise HTTPException(403)


def with_user(user: CurrentFlaskUser, held: FlaskSession) -> str:
    held["user"] = user
    return ""


@functools.wraps(plain)
def wrapped() -> str:
    return plain()


def found(app: FastAPI, path: str = "/x") -> tuple[Refuser, ...]:
    native = NativeApp(app)
    endpoint = next(each for each in native.endpoints() if each.path == path)
    return of_endpoint(endpoint, app)


def sureness(*dependencies: Any, handler: Callable[..., Any] = plain) -> list[bool]:
    app = FastAPI()
    app.add_api_route("/x", handler, dependencies=[Depends(each) for each in dependencies])
    return [each.sure for each in found(app)]


@pytest.mark.parametrize(
    "guard", [verify, through, flask_login, HTTPBearer(), APIKeyHeader(name="k")]
)
def test_a_guard_is_sure(guard: Any) -> None:
    assert sureness(guard) == [True]


def test_the_ready_made_guards_are_sure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("A_TOKEN", "secret")
    assert sureness(ApiToken(env="A_TOKEN")) == [True]


@pytest.mark.parametrize("lent", [flask_user, current_principal, HTTPBearer(auto_error=False)])
def test_what_only_tells_who_is_calling_is_none(lent: Any) -> None:
    assert sureness(lent) == []


@pytest.mark.parametrize("own", [raises, helped, by_method, made("x"), decorated, Asked])
def test_a_dependency_that_raises_may_be_one(own: Any) -> None:
    assert sureness(own) == [False]


@pytest.mark.parametrize("own", [connect, clock, settings, Pages, Plain, functools.partial(clock)])
def test_a_dependency_that_raises_nothing_is_none(own: Any) -> None:
    assert sureness(own) == []


def test_dependencies_of_the_team_s_own() -> None:
    assert sureness(connect, clock, current) == []
    assert sureness(raises, verify) == [False, True]


def test_a_route_class_may_be_one() -> None:
    app = FastAPI()
    app.router.route_class = First
    app.add_api_route("/x", plain)
    assert [each.sure for each in found(app)] == [False]


def test_handlers() -> None:
    assert sureness(handler=plain) == sureness(handler=with_user) == []
    assert sureness(handler=refused) == [True]
    assert sureness(handler=wrapped) == [], "a decorator is read as well"


def test_dependencies_of_the_app_and_middleware_count() -> None:
    app = FastAPI(dependencies=[Depends(verify)])
    app.add_api_route("/x", plain)
    app.add_middleware(GZipMiddleware)
    app.add_middleware(Gate)
    name = "tests.unit.guards.test_handlers"
    assert found(app) == (
        Refuser(f"the native middleware {name}.Gate", sure=False),
        Refuser(f"the dependency {name}.verify", sure=True),
    )


def test_a_mounted_app_s_own_middleware_counts() -> None:
    inner, outer = FastAPI(), FastAPI()
    inner.add_api_route("/x", plain)
    inner.add_middleware(Gate)
    outer.mount("/in", inner)
    assert [each.sure for each in found(outer, "/in/x")] == [False]
