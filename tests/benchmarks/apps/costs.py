"""One app whose routes differ only in what of Flask and auth stands around the handler."""

import itertools
from typing import Annotated, Any, cast

from fastapi import APIRouter, Depends, FastAPI
from flask import Blueprint, Flask, g, session
from starlette.middleware import Middleware

from gateway import Gateway, request_state
from gateway.auth import Principal, current_principal
from gateway.dispatch import Dispatcher, _Request
from gateway.flask import FlaskRoute, FlaskSession, ReadOnlyFlaskSession

legacy = Flask(__name__)
legacy.secret_key = "bench"
hooked = Blueprint("hooked", __name__)
plain = Blueprint("plain", __name__)


@hooked.before_request
def before() -> None:
    g.user = "ann"


@hooked.after_request
def after(response: Any) -> Any:
    response.headers["X-User"] = g.user
    return response


def view() -> dict[str, str]:
    return {"hello": "world"}


def writing_view() -> dict[str, str]:
    session["n"] = 1
    return {"hello": "world"}


#: About 2 KB of JSON, in another order of keys on either side.
ITEMS = [{"id": n, "name": f"item {n}", "price": n * 1.25, "tags": ["a", "b"]} for n in range(32)]


def json_view() -> dict[str, Any]:
    return {"items": ITEMS, "total": 32}


def new_view() -> dict[str, Any]:
    return {"items": ITEMS, "total": request_state()["number"]}


for name in ("json", "shadow-off", "shadow-on", "native-json"):
    plain.add_url_rule(f"/{name}", name, json_view)
plain.add_url_rule("/shadow-new", "shadow-new", new_view)
for name in ("hooks", "route", "bare", "read", "write", "shared", "hello", "uncounted"):
    blueprint = hooked if name in ("hooks", "route") else plain
    blueprint.add_url_rule(f"/{name}", name, view)
    legacy.add_url_rule(f"/legacy/{name}", f"legacy_{name}", view)
hooked.add_url_rule("/legacy-hooks", "legacy-hooks", view)
plain.add_url_rule("/legacy-write", "legacy-write", writing_view)
legacy.register_blueprint(hooked)
legacy.register_blueprint(plain)

native = FastAPI()
flask_routes = APIRouter(route_class=FlaskRoute)


@native.get("/bare")
@native.get("/uncounted")
@native.get("/hooks")
@flask_routes.get("/route")
async def handler() -> dict[str, str]:
    return {"hello": "world"}


@native.get("/json")
@native.get("/shadow-off")
@native.get("/shadow-on")
@native.get("/native-json")
async def json_handler() -> dict[str, Any]:
    return {"total": 32, "items": ITEMS}


@native.get("/shadow-new")
async def new_handler() -> dict[str, Any]:
    return {"total": request_state()["number"], "items": ITEMS}


@native.get("/read")
async def read(held: ReadOnlyFlaskSession) -> dict[str, str]:
    return {"hello": held.get("user", "world")}


@native.get("/write")
async def write(held: FlaskSession) -> dict[str, str]:
    held["n"] = 1
    return {"hello": "world"}


@native.get("/shared")
async def shared(principal: Annotated[Principal, Depends(current_principal)]) -> dict[str, str]:
    return {"hello": principal.id}


native.include_router(flask_routes)


class Numbered:
    """Gives every request another number, and so `/shadow-new` another answer each time."""

    def __init__(self, app: Any) -> None:
        self.app = app
        self.numbers = itertools.count()

    def __call__(self, scope: Any, receive: Any, send: Any) -> Any:
        if scope["type"] == "http":
            request_state()["number"] = next(self.numbers)
        return self.app(scope, receive, send)


async def everybody() -> str:
    return "ann"


def _rule(name: str, **more: Any) -> dict[str, Any]:
    return {"path": f"/{name}", "methods": ["GET"], "cutover": "native", "auth": "none", **more}


app = Gateway(
    legacy=cast("Any", legacy),
    native=native,
    config={
        "version": 1,
        "auth": {"dependency": f"{__name__}:everybody"},
        "routes": [
            *(_rule(name) for name in ("bare", "uncounted", "hooks", "route", "read", "write")),
            _rule(
                "shared", auth="shared", accept={"guards-nobody": "its price is all that counts"}
            ),
            {"path": "/legacy/shared", "cutover": "legacy", "auth": "shared"},
            _rule("native-json"),
            {"path": "/shadow-off", "cutover": "shadow", "sample": 0},
            {"path": "/shadow-on", "cutover": "shadow"},
            {"path": "/shadow-new", "cutover": "shadow"},
        ],
        # All of them: what is skipped would cost nothing.
        "mirror": {"in_flight": 64},
    },
    middleware=[Middleware(Numbered)],
)


class SometimesUncounted(Dispatcher):
    """Dispatches as ever, and leaves out counting where the path says so."""

    __slots__ = ()

    def __call__(self, scope: Any, receive: Any, send: Any) -> Any:
        if scope["path"].endswith("/uncounted"):
            snapshot = self.snapshots.current
            match = snapshot.table.match(scope)
            return self._admitted(_Request(snapshot, match, scope, receive, send))
        return Dispatcher.__call__(self, scope, receive, send)


app._dispatch.__class__ = SometimesUncounted
