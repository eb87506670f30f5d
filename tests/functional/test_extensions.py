"""Flask's extensions through the bridge, and around a moved route (C11, C12)."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from fastapi import APIRouter, FastAPI
from flask import Blueprint, Flask, g, jsonify, request

from gateway import Gateway
from gateway.flask import FlaskRoute
from tests.functional.servers import serve

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.network


@contextlib.contextmanager
def shop(flask: Flask, router: APIRouter | None = None, **rule: Any) -> Iterator[httpx.Client]:
    """Serve `flask` with `/moved` moved; a client of it."""
    native = FastAPI()
    if router is None:
        router = APIRouter()

        @router.api_route("/moved", methods=["GET", "POST"])
        async def moved() -> Any:
            return {"side": "native", "text": "x" * 2000}

    native.include_router(router)
    rules = [{"path": "/moved", "cutover": "native", "auth": "none", **rule}]
    app = Gateway(flask, native, {"version": 1, "routes": rules}, verify_lock=False)
    with serve(app) as url, httpx.Client(base_url=url, timeout=20) as client:
        yield client


def legacy_app() -> Flask:
    app = Flask("legacy")
    app.secret_key = "k"

    @app.route("/moved", methods=["GET", "POST"])
    @app.route("/legacy", methods=["GET", "POST"])
    def view() -> Any:
        return jsonify(side="legacy", text="x" * 2000)

    return app


def test_csrf_guards_the_moved_route_too() -> None:
    from flask_wtf import CSRFProtect
    from flask_wtf.csrf import generate_csrf

    flask = legacy_app()
    flask.config["WTF_CSRF_TIME_LIMIT"] = None
    CSRFProtect(flask)
    flask.add_url_rule("/token", "token", generate_csrf)
    with shop(flask, methods=["POST"]) as client:
        for path in ("/legacy", "/moved"):
            refused = client.post(path)
            assert refused.status_code == 400
            assert "CSRF" in refused.text
        token = client.get("/token").text
        assert client.post("/moved", headers={"X-CSRFToken": token}).json()["side"] == "native"
        assert client.post("/legacy", data={"csrf_token": token}).json()["side"] == "legacy"


def test_a_default_rate_limit_counts_both_sides() -> None:
    limiter = pytest.importorskip("flask_limiter")
    from flask_limiter.util import get_remote_address

    flask = legacy_app()
    flask.config["RATELIMIT_HEADERS_ENABLED"] = True
    limiter.Limiter(
        get_remote_address, app=flask, application_limits=["4/hour"], storage_uri="memory://"
    )
    with shop(flask) as client:
        codes = [client.get(path).status_code for path in ("/moved", "/legacy") * 3]
        assert codes == [200] * 4 + [429] * 2
        assert client.get("/moved").headers["x-ratelimit-limit"] == "4"


def test_a_blueprints_hook_fires() -> None:
    flask = Flask("legacy")
    blueprint = Blueprint("shop", "shop")

    @blueprint.before_request
    def closed() -> Any:
        return ("closed", 403) if "X-Closed" in request.headers else None

    blueprint.add_url_rule("/moved", "moved", lambda: "")
    flask.register_blueprint(blueprint)
    with shop(flask) as client:
        assert client.get("/moved", headers={"X-Closed": "1"}).text == "closed"
        assert client.get("/moved").json()["side"] == "native"


@pytest.mark.parametrize("kind", ["def", "async"])
def test_sqlalchemy_with_two_connections_and_sixty_requests(tmp_path: Path, kind: str) -> None:
    """C7: each request gives its connection back; nobody waits for a thread that waits for one."""
    from concurrent.futures import ThreadPoolExecutor

    SQLAlchemy = pytest.importorskip("flask_sqlalchemy").SQLAlchemy  # noqa: N806 - a class
    from sqlalchemy import text
    from sqlalchemy.pool import QueuePool

    flask = Flask("legacy")
    flask.config["SQLALCHEMY_DATABASE_URI"] = f"sqlite:///{tmp_path / 'shop.db'}"
    flask.config["SQLALCHEMY_ENGINE_OPTIONS"] = {
        "poolclass": QueuePool,
        "pool_size": 2,
        "max_overflow": 0,
    }
    db = SQLAlchemy(flask)
    flask.add_url_rule("/moved", "moved", lambda: "")
    router = APIRouter(route_class=FlaskRoute)

    def query() -> Any:
        return {"one": db.session.execute(text("select 1")).scalar()}

    if kind == "def":
        router.get("/moved")(query)
    else:

        async def asynchronous() -> Any:
            return query()

        router.get("/moved")(asynchronous)
    with shop(flask, router) as client, ThreadPoolExecutor(60) as pool:
        answers = list(pool.map(lambda _: client.get("/moved"), range(60)))
        assert {answer.status_code for answer in answers} == {200}
        with flask.app_context():
            assert db.engine.pool.checkedout() == 0
            db.engine.dispose()


def test_sql_on_the_event_loop_is_named_and_freezes_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """C7: fifty `async def` requests, each keeping one of five connections."""
    import asyncio
    from concurrent.futures import ThreadPoolExecutor

    from sqlalchemy import create_engine, text
    from sqlalchemy.pool import QueuePool

    database = f"sqlite:///{tmp_path / 'shop.db'}"
    engine = create_engine(database, poolclass=QueuePool, pool_size=5, max_overflow=0)
    flask = Flask("legacy")
    flask.teardown_appcontext(lambda _: g.connection.close() if "connection" in g else None)
    flask.add_url_rule("/moved", "moved", lambda: "")
    flask.add_url_rule("/plain", "plain", lambda: "")
    router = APIRouter(route_class=FlaskRoute)

    def query() -> Any:
        g.connection = engine.connect()
        return {"one": g.connection.execute(text("select 1")).scalar()}

    @router.get("/moved")
    async def blocking_handler() -> Any:
        answer = query()
        await asyncio.sleep(0.02)
        return answer

    @router.get("/plain")
    def plain_handler() -> Any:
        return query()

    native = FastAPI()
    native.include_router(router)
    rules = [{"path": path, "cutover": "native", "auth": "none"} for path in ("/moved", "/plain")]
    config = {"version": 1, "legacy": {"threads": 5}, "routes": rules}
    app = Gateway(flask, native, config, verify_lock=False)
    with serve(app) as url, httpx.Client(base_url=url) as client, ThreadPoolExecutor(50) as pool:
        for path in ("/plain", "/moved"):
            answers = list(pool.map(client.get, [path] * 50))
            assert {answer.status_code for answer in answers} == {200}
    engine.dispose()
    named = [r.getMessage() for r in caplog.records if r.name == "gateway.loop"]
    assert len(named) == 1, "said once, and not of the `def` handler"
    assert "blocking_handler" in named[0] or "query" in named[0]
    assert __file__ in named[0]


def test_an_asyncio_engine_is_welcome_on_the_loop(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    pytest.importorskip("aiosqlite")
    from sqlalchemy import text
    from sqlalchemy.ext.asyncio import create_async_engine
    from sqlalchemy.pool import NullPool

    engine = create_async_engine(f"sqlite+aiosqlite:///{tmp_path / 'shop.db'}", poolclass=NullPool)
    router = APIRouter()

    @router.get("/moved")
    async def moved() -> Any:
        async with engine.connect() as connection:
            return (await connection.execute(text("select 1"))).scalar()

    with shop(legacy_app(), router, methods=["GET"]) as client:
        assert client.get("/moved").json() == 1
    assert not [r for r in caplog.records if r.name == "gateway.loop"]


def test_cors_talisman_compress_principal_and_babel_mark_the_moved_route() -> None:
    babel = pytest.importorskip("flask_babel")
    compress = pytest.importorskip("flask_compress")
    principal = pytest.importorskip("flask_principal")
    talisman = pytest.importorskip("flask_talisman")
    from flask_cors import CORS

    flask = legacy_app()
    CORS(flask, origins=["https://a.test"])
    talisman.Talisman(flask, force_https=False)
    compress.Compress(flask)
    babel.Babel(flask, locale_selector=lambda: request.headers.get("X-Locale", "en"))
    extension = principal.Principal(flask)
    extension.identity_loader(lambda: principal.Identity(request.headers.get("X-Who")))

    @flask.after_request
    def tell(response: Any) -> Any:
        response.headers["X-Identity"] = f"{g.identity.id} {babel.get_locale()}"
        return response

    headers = {"Origin": "https://a.test", "X-Who": "ann", "X-Locale": "de"}
    with shop(flask) as client:
        legacy, moved = (client.get(path, headers=headers) for path in ("/legacy", "/moved"))
        assert moved.json()["side"] == "native"
        for name in (
            "access-control-allow-origin",
            "content-security-policy",
            "x-frame-options",
            "content-encoding",
            "vary",
        ):
            assert moved.headers[name] == legacy.headers[name], name
        assert moved.headers["x-identity"] == legacy.headers["x-identity"] == "ann de"
        assert moved.headers["content-encoding"]


def test_caching_and_jwt_extended_keep_working_on_legacy() -> None:
    caching = pytest.importorskip("flask_caching")
    jwt = pytest.importorskip("flask_jwt_extended")

    flask = legacy_app()
    flask.config.update(CACHE_TYPE="SimpleCache", JWT_SECRET_KEY="k" * 40)
    cache = caching.Cache(flask)
    jwt.JWTManager(flask)
    calls: list[int] = []

    def cached() -> str:
        calls.append(1)
        return str(len(calls))

    def me() -> str:
        return str(jwt.get_jwt_identity())

    flask.add_url_rule("/cached", "cached", cache.cached(timeout=60)(cached))
    flask.add_url_rule("/me", "me", jwt.jwt_required()(me))

    flask.add_url_rule("/token", "token", lambda: jwt.create_access_token("ann"))
    with shop(flask) as client:
        assert [client.get("/cached").text for _ in range(3)] == ["1"] * 3
        assert client.get("/me").status_code == 401
        token = client.get("/token").text
        assert client.get("/me", headers={"Authorization": f"Bearer {token}"}).text == "ann"


@pytest.mark.parametrize(("auth", "codes"), [(None, ["auth-missing"]), ("hooks", None)])
def test_a_guard_that_is_only_a_decorator_is_listed(
    auth: str | None, codes: list[str] | None, caplog: pytest.LogCaptureFixture
) -> None:
    from flask_login import LoginManager, login_required

    flask = Flask("legacy")
    LoginManager(flask).user_loader(lambda _: None)
    flask.add_url_rule("/moved", "moved", login_required(lambda: ""))
    with shop(flask, auth=auth) as client:
        assert client.get("/moved").status_code == 401
    said = [each for each in caplog.messages if "GET /moved" in each]
    if codes is None:
        assert any("flask_login.utils.login_required" in each for each in said), said
        codes = ["hooks-guard-nobody", "guards-itself"]
    assert [each.rpartition("[")[2].rstrip("]") for each in said] == codes


def test_login_required_that_stays_on_the_handler_redirects_as_before() -> None:
    from flask_login import LoginManager, UserMixin, login_required, login_user

    flask, native = Flask("legacy"), FastAPI()
    flask.secret_key = "a secret of tests"
    logins = LoginManager(flask)
    logins.login_view = "login"
    user = UserMixin()
    user.id = "ann"
    logins.user_loader({"ann": user}.get)
    flask.add_url_rule("/login", "login", lambda: str(login_user(user)))
    flask.add_url_rule("/me", "me", login_required(lambda: "legacy"))
    router = APIRouter(route_class=FlaskRoute)
    router.add_api_route("/me", login_required(lambda: "native"))
    native.include_router(router)
    rule = {"path": "/me", "methods": ["GET"], "cutover": "native", "auth": "native"}
    gate = Gateway(flask, native, {"version": 1, "routes": [rule]})
    assert not [each for each in gate.snapshots.current.warnings if each.finding]
    with serve(gate) as base, httpx.Client(base_url=base) as client:
        stranger = client.get("/me")
        assert (stranger.status_code, stranger.headers["location"]) == (302, "/login?next=%2Fme")
        client.get("/login")
        assert client.get("/me").text.strip('"') == "native"


def test_restx_and_smorest() -> None:
    restx = pytest.importorskip("flask_restx")
    smorest = pytest.importorskip("flask_smorest")
    from flask.views import MethodView

    flask = legacy_app()
    api = restx.Api(flask, prefix="/restx", doc="/restx/doc")

    class Builds(restx.Resource):  # type: ignore[misc, name-defined] # untyped
        def get(self) -> Any:
            return {"restx": True}, 206, {"Content-Range": "builds 1-2/*"}

    api.add_resource(Builds, "/builds")
    flask.config.update(API_TITLE="x", API_VERSION="1", OPENAPI_VERSION="3.0.2")
    other = smorest.Api(flask)
    blueprint = smorest.Blueprint("pets", "pets", url_prefix="/pets")

    @blueprint.route("/")
    class Pets(MethodView):
        def get(self) -> Any:
            return [{"pet": 1}]

    other.register_blueprint(blueprint)
    with shop(flask) as client:
        builds = client.get("/restx/builds")
        assert (builds.status_code, builds.json()) == (206, {"restx": True})
        assert builds.headers["content-range"] == "builds 1-2/*"
        assert client.get("/pets/").json() == [{"pet": 1}]
        assert client.get("/moved").json()["side"] == "native"


def test_admin_is_served() -> None:
    admin = pytest.importorskip("flask_admin")
    babel = pytest.importorskip("flask_babel")
    flask = legacy_app()
    babel.Babel(flask)
    admin.Admin(flask, name="shop")
    with shop(flask) as client:
        page = client.get("/admin/")
        assert page.status_code == 200
        assert "shop" in page.text
