"""A shop with roles on both sides, for `gateway prove`: some native handlers lost their guard."""

from __future__ import annotations

import contextlib
import contextvars
import os
import socket
import sqlite3
from http.cookies import SimpleCookie
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from fastapi import APIRouter, Depends, FastAPI, Header, HTTPException, Response
from fastapi.responses import JSONResponse
from fastapi.routing import APIRoute
from flask import Blueprint, Flask, abort, g, jsonify, request, session
from flask_login import LoginManager, UserMixin, current_user, login_required, login_user
from flask_wtf import CSRFProtect
from flask_wtf.csrf import generate_csrf

from gateway.flask import CurrentFlaskUser, FlaskRoute, flask_login

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from flask.typing import ResponseReturnValue

    from gateway.migrate.prove.cases import Apps

TOKENS = {"t-admin": "admin", "t-ann": "ann"}
#: Nobody lives there (RFC 5737).
OUTSIDE = ("192.0.2.1", 80)
#: What `reset` and `login` were called for.
CALLS: list[str] = []


class Person(UserMixin):  # type: ignore[misc] # untyped
    def __init__(self, name: str) -> None:
        self.id = name


def database() -> Path:
    return Path(os.environ["PROOF_DB"])


@contextlib.contextmanager
def rows() -> Iterator[sqlite3.Connection]:
    with contextlib.closing(sqlite3.connect(database())) as connection, connection:
        yield connection


def reset() -> None:
    CALLS.append("reset")
    with rows() as connection:
        connection.execute("DROP TABLE IF EXISTS orders")
        connection.execute("CREATE TABLE orders (name TEXT UNIQUE)")


#: The connection of the rollback that is open.
_held: contextvars.ContextVar[sqlite3.Connection | None] = contextvars.ContextVar(
    "held", default=None
)


@contextlib.contextmanager
def rolled_back() -> Iterator[None]:
    CALLS.append("begin")
    held = sqlite3.connect(database(), check_same_thread=False)
    token = _held.set(held)
    try:
        yield
    finally:
        _held.reset(token)
        held.rollback()
        held.close()
        CALLS.append("end")


def probe() -> Iterator[bool]:
    order("probe")
    yield False
    with rows() as connection:
        yield connection.execute("SELECT count(*) FROM orders").fetchone() != (0,)


def order(name: str) -> None:
    """Store an order; the same one twice is an error."""
    held = _held.get()
    with contextlib.nullcontext(held) if held is not None else rows() as connection:
        connection.execute("INSERT INTO orders VALUES (?)", [name])


def reach_out() -> None:
    with socket.socket() as outward, contextlib.suppress(OSError):
        outward.settimeout(0.2)
        outward.connect(OUTSIDE)


desk = Blueprint("desk", __name__, url_prefix="/desk")


@desk.before_request
def check_token() -> ResponseReturnValue | None:
    name = TOKENS.get(request.headers.get("X-Token", ""))
    if name is None:
        return jsonify(error="no"), 401
    g.name = name
    return None


@desk.get("/items/<int:item_id>")
def item(item_id: int) -> ResponseReturnValue:
    return jsonify(id=item_id)


@desk.get("/reports/<name>")
def report(name: str) -> ResponseReturnValue:
    if g.name != "admin":
        abort(403)
    return jsonify(name=name)


@desk.get("/notes/<int:note_id>")
def note(note_id: int) -> ResponseReturnValue:
    """Hide what isn't the caller's."""
    return jsonify(id=note_id) if g.name == "ann" else abort(404)


@desk.get("/far")
def far() -> ResponseReturnValue:
    reach_out()
    return jsonify(far=True)


@desk.get("/busy")
def busy() -> ResponseReturnValue:
    return jsonify(error="slow down"), 429


@desk.get("/broken")
def broken() -> ResponseReturnValue:
    message = "broken"
    raise RuntimeError(message)


@desk.post("/orders")
def create_order() -> ResponseReturnValue:
    order(request.get_json()["name"])
    return jsonify(stored=True), 201


def count_orders() -> int:
    with rows() as connection:
        return int(connection.execute("SELECT count(*) FROM orders").fetchone()[0])


@desk.get("/orders/none")
def no_orders() -> ResponseReturnValue:
    return abort(404) if count_orders() else jsonify(none=True)


def legacy(*, csrf: bool = False) -> Flask:
    app = Flask(__name__)
    app.secret_key = "proof"
    manager = LoginManager(app)
    manager.login_view = "login"
    manager.user_loader(Person)
    app.register_blueprint(desk)
    if csrf:
        CSRFProtect(app)
    app.add_url_rule("/open", "open", lambda: "open")
    app.add_url_rule("/login", "login", _login, methods=["GET", "POST"])
    app.add_url_rule("/account", "account", login_required(_account))
    app.add_url_rule("/account", "rename", login_required(_rename), methods=["POST"])
    return app


def legacy_with_csrf() -> Flask:
    return legacy(csrf=True)


def _login() -> ResponseReturnValue:
    if request.method == "GET":
        return str(generate_csrf())
    login_user(Person(request.form["name"]))
    return f"hello {session['_user_id']}"


def _account() -> ResponseReturnValue:
    return jsonify(name=str(current_user.id))


def _rename() -> ResponseReturnValue:
    order(request.form["name"])
    return jsonify(stored=True)


def cookies(answer: Any) -> dict[str, str]:
    jar: SimpleCookie = SimpleCookie()
    for line in answer.headers.getlist("Set-Cookie"):
        jar.load(line)
    return {name: each.value for name, each in jar.items()}


def log_in(apps: Apps, side: str) -> dict[str, Any]:
    """Log in as a browser does, with a token of CSRF's."""
    CALLS.append(f"login {side}")
    client = apps.legacy.test_client()
    token = client.get("/login").get_data(as_text=True)
    answer = client.post("/login", data={"name": "ann", "csrf_token": token})
    return {"cookies": cookies(answer), "csrf": {"field": {"csrf_token": token}}}


def visit(apps: Apps) -> dict[str, Any]:
    """Be nobody, with a right token of CSRF's."""
    answer = apps.legacy.test_client().get("/login")
    token = answer.get_data(as_text=True)
    return {"cookies": cookies(answer), "csrf": {"field": {"csrf_token": token}}}


def fails() -> None:
    message = "no\nsuch user"
    raise LookupError(message)


def fails_with_a_page() -> dict[str, Any]:
    message = "<html>\n Retry later " + "<p>none</p>" * 5_000
    raise AssertionError(message)


def gives_nonsense() -> dict[str, str]:
    return {"cookies": "a=b"}


def wants_more(name: str) -> None:
    raise NotImplementedError(name)


async def caller(x_token: Annotated[str, Header()] = "") -> str:
    name = TOKENS.get(x_token)
    if name is None:
        raise HTTPException(401, "no")
    return name


Name = Annotated[str, Depends(caller)]


def native() -> FastAPI:
    """Guard everything as legacy does."""
    return _native(report_guarded=True)


def native_unguarded() -> FastAPI:
    """Have lost the role check of one handler."""
    return _native(report_guarded=False)


def _native(*, report_guarded: bool) -> FastAPI:
    app = FastAPI(openapi_url=None)
    router = APIRouter(prefix="/desk")

    @router.get("/items/{item_id}")
    def item(item_id: int, name: Name) -> dict[str, int]:
        return {"id": item_id}

    @router.get("/reports/{name}")
    def report(name: str, caller: Name) -> dict[str, str]:
        if report_guarded and caller != "admin":
            raise HTTPException(403)
        return {"name": name}

    @router.get("/notes/{note_id}")
    def note(note_id: int, name: Name) -> dict[str, int]:
        if name != "ann":
            raise HTTPException(403)
        return {"id": note_id}

    @router.get("/far")
    def far(name: Name) -> dict[str, bool]:
        reach_out()
        return {"far": True}

    @router.get("/busy")
    def busy(name: Name) -> Response:
        return JSONResponse({"error": "slow down"}, 429)

    @router.get("/broken")
    def broken(name: Name) -> None:
        message = "broken"
        raise RuntimeError(message)

    @router.post("/orders", status_code=201)
    def create_order(body: dict[str, str], name: Name) -> dict[str, bool]:
        order(body["name"])
        return {"stored": True}

    @router.get("/orders/none")
    def no_orders(name: Name) -> dict[str, bool]:
        if count_orders():
            raise HTTPException(404)
        return {"none": True}

    app.include_router(router)

    @app.get("/open")
    def open_() -> str:
        return "open"

    @app.get("/account", dependencies=[Depends(flask_login)])
    def account(user: CurrentFlaskUser) -> dict[str, str]:
        return {"name": user.id if user is not None else ""}

    @app.post("/account", dependencies=[Depends(flask_login)])
    def rename() -> dict[str, bool]:
        order("renamed")
        return {"stored": True}

    return app


def native_strict() -> FastAPI:
    """Turn everybody away from one route."""
    app = FastAPI(openapi_url=None)

    @app.get("/desk/items/{item_id}")
    def item(item_id: int) -> None:
        raise HTTPException(403)

    return app


def native_failing_plain() -> FastAPI:
    """Let one in, and fail."""
    return _native_failing(APIRoute)


def native_failing_in_flask() -> FastAPI:
    return _native_failing(FlaskRoute)


def _native_failing(route: type[APIRoute]) -> FastAPI:
    app = FastAPI(openapi_url=None)
    router = APIRouter(route_class=route)

    @router.get("/desk/items/{item_id}")
    def item(item_id: int, name: Name) -> None:
        message = f"no seat {item_id}"
        raise LookupError(message)

    app.include_router(router)
    return app


def native_fussy() -> FastAPI:
    """Look at the parameters before the caller."""
    app = FastAPI(openapi_url=None)

    @app.get("/desk/items/{item_id}")
    def item(item_id: int, page: int) -> dict[str, int]:
        return {"id": item_id, "page": page}

    return app


def native_that_fails_to_start() -> FastAPI:
    async def fail() -> None:
        message = "no database"
        raise RuntimeError(message)

    @contextlib.asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        await fail()
        yield

    return FastAPI(lifespan=lifespan)


def plain_wsgi() -> Any:
    """No Flask app, with one guarded path."""

    def app(environ: dict[str, Any], start: Any) -> list[bytes]:
        known = environ.get("HTTP_X_TOKEN") in TOKENS
        start("200 OK" if known else "401 Unauthorized", [("Content-Type", "text/plain")])
        return [b"guarded" if known else b"no"]

    return app


def native_guarded() -> FastAPI:
    app = FastAPI(openapi_url=None)

    @app.get("/guarded")
    def guarded(name: Name) -> str:
        return name

    return app


def native_that_reaches_out() -> FastAPI:
    reach_out()
    return native()
