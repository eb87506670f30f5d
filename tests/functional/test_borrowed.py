"""Sessions on every backend, Flask-Login's user and url_for, across both sides (C8, C13, S5)."""

from __future__ import annotations

import contextlib
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from cachelib import FileSystemCache
from fastapi import FastAPI
from flask import Flask, jsonify, session, url_for
from flask_login import LoginManager, UserMixin, current_user, login_user, logout_user
from flask_session import Session

from gateway import Gateway
from gateway.flask import (  # noqa: TC001 - FastAPI reads them
    CurrentFlaskUser,
    FlaskSession,
    FlaskUrlFor,
    ReadOnlyFlaskSession,
)
from tests.functional.servers import serve
from tests.functional.services import redis_server

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.network


class User(UserMixin):  # type: ignore[misc] # untyped
    def __init__(self, name: str) -> None:
        self.id = name


def legacy_app() -> Flask:
    app = Flask("legacy")
    app.secret_key = "new"
    manager = LoginManager(app)
    manager.user_loader(lambda name: User(name) if name != "gone" else None)

    @app.get("/login/<name>")
    def login(name: str) -> str:
        session.permanent = True
        login_user(User(name))
        session["cart"] = {"items": [1]}
        return "in"

    @app.get("/logout")
    def logout() -> str:
        logout_user()
        return "out"

    @app.get("/cart")
    def cart() -> Any:
        return jsonify(user=current_user.get_id(), cart=session.get("cart"))

    @app.get("/links")
    def links() -> Any:
        return jsonify(
            native=url_for("read_item", item_id=3, q="a b"),
            external=url_for("read_item", item_id=3, _external=True, _anchor="x"),
            own=url_for("cart"),
        )

    return app


def native_app() -> FastAPI:
    app = FastAPI()

    @app.get("/native/cart")
    async def read(held: ReadOnlyFlaskSession, user: CurrentFlaskUser) -> Any:
        return {"user": user.id if user else None, "cart": held.get("cart")}

    @app.get("/native/add")
    async def add(held: FlaskSession) -> Any:
        held["cart"]["items"].append(2)
        held.modified = True
        return "added"

    @app.get("/native/clear")
    def clear(held: FlaskSession) -> Any:
        held.clear()
        return "cleared"

    @app.get("/native/items/{item_id}", name="read_item")
    async def item(item_id: int, link: FlaskUrlFor) -> Any:
        return {"login": link("login", name="ann"), "all": link("cart", _external=True)}

    return app


@pytest.fixture(params=["cookie", "redis", "filesystem"])
def app(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Flask]:
    flask = legacy_app()
    with contextlib.ExitStack() as stack:
        if request.param == "redis":
            import redis

            client = redis.Redis.from_url(stack.enter_context(redis_server(tmp_path)))
            stack.callback(client.close)
            flask.config.update(SESSION_TYPE="redis", SESSION_REDIS=client)
            Session(flask)
        elif request.param == "filesystem":
            cache = FileSystemCache(str(tmp_path / "sessions"))
            flask.config.update(SESSION_TYPE="cachelib", SESSION_CACHELIB=cache)
            Session(flask)
        yield flask


@pytest.mark.parametrize("hooks", ["inherit", "skip"])
def test_a_session_goes_both_ways(app: Flask, hooks: str) -> None:
    settings = {"version": 1, "defaults": {"hooks": hooks}}
    gateway = Gateway(app, native_app(), settings, verify_lock=False)
    with serve(gateway) as url, httpx.Client(base_url=url) as client:
        assert client.get("/native/cart").json() == {"user": None, "cart": None}
        client.get("/login/ann")
        held = {"user": "ann", "cart": {"items": [1]}}
        assert client.get("/native/cart").json() == held
        client.get("/native/add")
        assert client.get("/cart").json()["cart"] == {"items": [1, 2]}
        assert client.get("/native/cart").json()["cart"] == {"items": [1, 2]}
        client.get("/logout")
        assert client.get("/native/cart").json()["user"] is None
        client.get("/login/gone")
        assert client.get("/native/cart").json()["user"] is None
        client.get("/native/clear")
        assert client.get("/cart").json() == {"user": None, "cart": None}


def test_what_flask_sets_is_what_native_sets() -> None:
    """Set-Cookie and Vary, a permanent session, a deleted one; fallback keys read, never sign."""
    flask, native = Flask("legacy"), FastAPI()
    flask.secret_key = "new"
    flask.config["SECRET_KEY_FALLBACKS"] = ["old"]

    @flask.get("/legacy/<int:n>")
    def change(n: int) -> str:
        session.permanent = True
        session["n"] = n
        return ""

    @flask.get("/legacy/clear")
    def clear() -> str:
        session.clear()
        return ""

    @native.get("/native/clear")
    async def native_clear(held: FlaskSession) -> str:
        held.clear()
        return ""

    @native.get("/native/{n}")
    async def native_change(n: int, held: FlaskSession) -> str:
        held.permanent = True
        held["n"] = n
        return ""

    @native.get("/native/read/it")
    async def read(held: ReadOnlyFlaskSession) -> Any:
        return held

    old = Flask("old")
    old.secret_key = "old"
    signer = old.session_interface.get_signing_serializer(old)  # type: ignore[attr-defined]
    settings = {"version": 1, "defaults": {"hooks": "skip"}}
    with serve(Gateway(flask, native, settings, verify_lock=False)) as url:

        def facts(path: str, cookie: str | None = None) -> Any:
            cookies = {"session": cookie} if cookie else None
            answer = httpx.get(url + path, cookies=cookies)
            head, _, attributes = answer.headers.get("set-cookie", "").partition(";")
            attributes = attributes.partition(" Expires=")[0] + attributes[-20:]
            return head.partition(".")[0], attributes, answer.headers.get("vary")

        signed = signer.dumps({"n": 5})
        assert facts("/native/7") == facts("/legacy/7")
        if version("flask") < "3.1":  # knows no fallback keys
            return
        assert facts("/native/7", signed) == facts("/legacy/7", signed)
        assert facts("/native/clear", signed) == facts("/legacy/clear", signed)
        assert httpx.get(url + "/native/read/it", cookies={"session": signed}).json() == {"n": 5}


def test_url_for_finds_the_other_side() -> None:
    settings = {"version": 1, "defaults": {"hooks": "skip"}}
    gateway = Gateway(legacy_app(), native_app(), settings, verify_lock=False)
    with serve(gateway) as url:
        assert httpx.get(url + "/links").json() == {
            "native": "/native/items/3?q=a+b",
            "external": f"{url}/native/items/3#x",
            "own": "/cart",
        }
        assert httpx.get(url + "/native/items/3").json() == {
            "login": "/login/ann",
            "all": f"{url}/cart",
        }


def test_a_login_of_flask_is_a_shared_guard() -> None:
    settings = {
        "version": 1,
        "auth": {"dependency": "gateway.flask:flask_login", "id": "id"},
        "routes": [{"path": "/native/cart", "cutover": "native", "auth": "shared"}],
    }
    with (
        serve(Gateway(legacy_app(), native_app(), settings, verify_lock=False)) as url,
        httpx.Client(base_url=url) as client,
    ):
        assert client.get("/native/cart").status_code == 401
        client.get("/login/ann")
        assert client.get("/native/cart").json()["user"] == "ann"


def test_a_canary_by_a_key_of_the_session(app: Flask) -> None:
    native = native_app()

    @native.get("/cart")
    async def cart() -> Any:
        return {"user": "native"}

    rule = {
        "path": "/cart",
        "cutover": "canary",
        "weight": 50,
        "sticky": ["session:_user_id"],
        "auth": "none",
        "hooks": "skip",
    }
    gateway = Gateway(app, native, {"version": 1, "routes": [rule]}, verify_lock=False)
    sides = {}
    with serve(gateway) as url:
        for name in ("ann", "bob", "cid", "dan", "eve"):
            with httpx.Client(base_url=url) as client:
                assert client.get("/cart").json()["user"] is None, "no identity: legacy"
                client.get(f"/login/{name}")
                seen = {client.get("/cart").json()["user"] for _ in range(3)}
                assert len(seen) == 1
                sides[name] = seen.pop()
    assert len(set(sides.values()) & {"native"}) == 1
    assert len(sides) > list(sides.values()).count("native")
