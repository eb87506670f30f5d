"""What is asked of Flask outside of its own serving sees the real request (F1 15; F2 7)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from fastapi import FastAPI, HTTPException, Response
from flask import Flask, request, session
from flask_login import LoginManager, UserMixin, login_user
from werkzeug.middleware.proxy_fix import ProxyFix

from gateway import Gateway
from gateway.flask import (  # noqa: TC001 - FastAPI reads them at run time
    CurrentFlaskUser,
    FlaskSession,
    ReadOnlyFlaskSession,
)
from tests.functional import inprocess

if TYPE_CHECKING:
    import contextlib

    from tests.functional.inprocess import Client

BROWSER = {"User-Agent": "Firefox", "Accept-Language": "sv"}


class User(UserMixin):  # type: ignore[misc] # untyped
    def __init__(self, name: str) -> None:
        self.id = name


def legacy_app() -> tuple[Flask, Any]:
    app = Flask("legacy", static_folder=None)
    app.secret_key = "new"
    manager = LoginManager(app)
    manager.user_loader(User)

    @app.get("/login")
    def login() -> str:
        login_user(User("ann"), remember="remember" in request.args)
        return "in"

    @app.get("/legacy")
    def legacy() -> str:
        return "legacy"

    return app, manager


def native_app() -> FastAPI:
    app = FastAPI(openapi_url=None)

    @app.get("/native")
    async def native() -> str:
        return "native"

    return app


def guarded(app: Flask, **more: Any) -> contextlib.AbstractContextManager[Client]:
    rules = [
        {"path": "/login", "cutover": "legacy", "auth": "none"},
        {"path": "/legacy", "cutover": "legacy", "auth": "shared"},
        {"path": "/native", "cutover": "native", "auth": "shared", "hooks": "skip"},
    ]
    auth = {"dependency": "gateway.flask:flask_login", "id": "id"}
    config = {"version": 1, "auth": auth, "routes": rules, **more}
    return inprocess.asking(Gateway(app, native_app(), config, verify_lock=False))


def logged_in(client: Client, query: str = "", **more: Any) -> dict[str, str]:
    """Return the headers of a browser that has logged in."""
    answer = client.get(f"/login{query}", headers=BROWSER, **more)
    cookies = "; ".join(each.split(";")[0] for each in answer.headers.get_list("set-cookie"))
    return BROWSER | {"Cookie": cookies}


@pytest.mark.parametrize("path", ["/legacy", "/native"])
@pytest.mark.parametrize(
    ("changed", "peer", "status"),
    [
        ({}, "127.0.0.1", 200),
        ({"Accept-Language": "de"}, "127.0.0.1", 200),
        ({"User-Agent": "curl"}, "127.0.0.1", 401),
        ({"User-Agent": ""}, "127.0.0.1", 401),
        ({}, "10.0.0.9", 401),
        ({"X-Forwarded-For": "10.0.0.9"}, "127.0.0.1", 401),
        ({"Cookie": ""}, "127.0.0.1", 401),
    ],
)
def test_strong_session_protection(
    path: str, changed: dict[str, str], peer: str, status: int
) -> None:
    app, manager = legacy_app()
    manager.session_protection = "strong"
    with guarded(app) as client:
        headers = logged_in(client)
        assert client.get(path, headers=headers | changed, peer=peer).status_code == status


@pytest.mark.parametrize("path", ["/legacy", "/native"])
def test_a_remember_me_cookie(path: str) -> None:
    app, _ = legacy_app()
    with guarded(app) as client:
        headers = logged_in(client, "?remember")
        remembered = headers["Cookie"].partition("remember_token=")[2].partition(";")[0]
        only = BROWSER | {"Cookie": f"remember_token={remembered}"}
        assert client.get(path, headers=only).status_code == 200
        forged = BROWSER | {"Cookie": f"remember_token={remembered}0"}
        assert client.get(path, headers=forged).status_code == 401


@pytest.mark.parametrize("path", ["/legacy", "/native"])
@pytest.mark.parametrize(
    ("sent", "status"),
    [
        ({"headers": {"X-Api-Key": "right"}}, 200),
        ({"headers": {"X-Api-Key": "wrong"}}, 401),
        ({"headers": {"X_Api_Key": "right"}}, 401),
        ({"headers": [("X-Api-Key", "right"), ("X-Api-Key", "right")]}, 401),
        ({"headers": {"Authorization": "Basic cmlnaHQ6cmlnaHQ="}}, 200),
        ({"params": {"key": "right"}}, 200),
        ({"headers": {"Content-Type": "application/x-key"}}, 200),
    ],
)
def test_a_request_loader_sees_the_real_headers(
    path: str, sent: dict[str, Any], status: int
) -> None:
    app, manager = legacy_app()

    @manager.request_loader  # type: ignore[untyped-decorator]
    def load(asked: Any) -> User | None:
        known = (
            asked.headers.get("X-Api-Key") == "right"
            or (asked.authorization and asked.authorization.username == "right")
            or asked.args.get("key") == "right"
            or asked.mimetype == "application/x-key"
        )
        return User("key") if known else None

    with guarded(app) as client:
        assert client.get(path, **sent).status_code == status


@pytest.mark.parametrize("path", ["/legacy", "/native"])
@pytest.mark.parametrize(
    ("forwarded", "peer", "status"),
    [
        ("10.0.0.9", "127.0.0.1", 200),
        ("10.0.0.9, 10.0.0.7", "127.0.0.1", 401),
        ("10.0.0.7", "10.0.0.9", 401),
        ("", "10.0.0.9", 200),
    ],
)
def test_proxy_fix_is_seen(path: str, forwarded: str, peer: str, status: int) -> None:
    app, manager = legacy_app()

    @manager.request_loader  # type: ignore[untyped-decorator]
    def load(asked: Any) -> User | None:
        return User("inside") if asked.remote_addr == "10.0.0.9" else None

    app.wsgi_app = ProxyFix(app.wsgi_app, x_for=1)  # type: ignore[method-assign]
    with guarded(app) as client:
        headers = {"X-Forwarded-For": forwarded} if forwarded else {}
        assert client.get(path, headers=headers, peer=peer).status_code == status


def test_a_request_with_two_hosts_is_refused() -> None:
    app, _ = legacy_app()
    with guarded(app) as client:
        headers = [("Host", "a.test"), ("Host", "b.test")]
        for path in ("/legacy", "/native"):
            assert client.get(path, headers=headers).status_code == 400


# -- Vary -------------------------------------------------------------------------------------


async def by_session(values: ReadOnlyFlaskSession) -> str:
    """For `auth.dependency`: who the session says it is."""
    if "user" not in values:
        raise HTTPException(401)
    return str(values["user"])


def reading_app() -> tuple[Flask, FastAPI]:
    flask, native = Flask("legacy", static_folder=None), FastAPI(openapi_url=None)
    flask.secret_key = "new"

    @flask.get("/enter")
    def enter() -> str:
        session["user"] = "ann"
        return "in"

    flask.add_url_rule("/legacy", "legacy", lambda: "legacy")

    @native.get("/reads")
    async def reads(values: ReadOnlyFlaskSession) -> Any:
        return len(values)

    @native.get("/writes")
    async def writes(values: FlaskSession) -> Any:
        return len(values)

    @native.get("/changes")
    async def changes(values: FlaskSession) -> Any:
        values["count"] = 1

    @native.get("/user")
    async def user(found: CurrentFlaskUser) -> Any:
        return str(found)

    @native.get("/plain")
    async def plain() -> str:
        return "plain"

    @native.get("/varies")
    async def varies(values: ReadOnlyFlaskSession, response: Response) -> Any:
        response.headers["Vary"] = "Accept, cookie"
        return len(values)

    LoginManager(flask).user_loader(User)
    return flask, native


@pytest.mark.parametrize(
    ("path", "vary"),
    [
        ("/reads", ["Cookie"]),
        ("/writes", ["Cookie"]),
        ("/changes", ["Cookie"]),
        ("/user", ["Cookie"]),
        ("/varies", ["Accept, cookie"]),
        ("/plain", []),
    ],
)
@pytest.mark.parametrize("cookie", [{}, {"Cookie": "other=1"}])
def test_who_reads_the_session_outside_of_flask_varies_by_cookie(
    path: str, vary: list[str], cookie: dict[str, str]
) -> None:
    config = {"version": 1, "defaults": {"hooks": "skip"}}
    app = Gateway(*reading_app(), config, verify_lock=False)
    with inprocess.asking(app) as client:
        assert client.get(path, headers=cookie).headers.get_list("vary") == vary


@pytest.mark.parametrize("path", ["/plain", "/legacy", "/reads"])
def test_what_the_guard_has_read_from_the_session_varies_by_cookie(path: str) -> None:
    config = {
        "version": 1,
        "auth": {"dependency": "tests.functional.test_flask_login_guard:by_session"},
        "defaults": {"auth": "shared", "hooks": "skip"},
        "routes": [{"path": "/enter", "cutover": "legacy", "auth": "none"}],
    }
    with inprocess.asking(Gateway(*reading_app(), config, verify_lock=False)) as client:
        refused = client.get(path)
        assert (refused.status_code, refused.headers.get_list("vary")) == (401, ["Cookie"])
        cookie = client.get("/enter").headers["set-cookie"].split(";")[0]
        answer = client.get(path, headers={"Cookie": cookie})
        assert (answer.status_code, answer.headers.get_list("vary")) == (200, ["Cookie"])
