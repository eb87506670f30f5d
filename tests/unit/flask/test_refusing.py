"""What of native code can turn a caller away, and what only looks as if."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Annotated, Any

import pytest
from fastapi import Depends, FastAPI, HTTPException
from fastapi.security import APIKeyHeader, HTTPBearer
from starlette.middleware.gzip import GZipMiddleware

from gateway.auth import current_principal
from gateway.auth.tokens import ApiToken
from gateway.flask import CurrentFlaskUser, FlaskSession, flask_login, flask_user
from gateway.flask.refusing import Refuser, of_endpoint
from gateway.native import NativeApp

if TYPE_CHECKING:
    from collections.abc import Callable

    from starlette.types import ASGIApp, Receive, Scope, Send


def verify() -> None:
    raise HTTPException(401)


def connect() -> str:
    return "a database"


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


def test_a_dependency_of_the_team_s_own_may_be_one() -> None:
    assert sureness(connect, verify) == [False, True]


def test_handlers() -> None:
    assert sureness(handler=plain) == sureness(handler=with_user) == []
    assert sureness(handler=refused) == [True]
    assert sureness(handler=wrapped) == [False], "whatever decorates a handler may guard it"


def test_dependencies_of_the_app_and_middleware_count() -> None:
    app = FastAPI(dependencies=[Depends(verify)])
    app.add_api_route("/x", plain)
    app.add_middleware(GZipMiddleware)
    app.add_middleware(Gate)
    name = "tests.unit.flask.test_refusing"
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
