"""Views that a library makes of the team's classes, and apps that are installed as packages."""

from __future__ import annotations

import importlib
import sys
from functools import wraps
from typing import TYPE_CHECKING, Any

import pytest
from flask import Blueprint, Flask, abort, request

from gateway import Gateway
from gateway.flask.routes import FlaskRoutes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


def readings(app: Flask) -> dict[str, str]:
    """Return what each view does, by the last part of its path."""
    routes = FlaskRoutes(app)
    found: dict[str, str] = {}
    for each in routes.endpoints():
        view = routes.guards(each, "GET").view
        assert view is not None
        found[each.template.source.rpartition("/")[2]] = view.does
    return found


def needs_login(function: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(function)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        if request.authorization is None:
            abort(401)
        return function(*args, **kwargs)

    return wrapper


@pytest.mark.parametrize("name", ["flask_restx", "flask_restful"])
def test_resources_are_read_though_a_library_wraps_them(name: str) -> None:
    rest = pytest.importorskip(name)

    class Plain(rest.Resource):  # type: ignore[misc, name-defined]
        def get(self) -> Any:
            return {}

    class Decorated(Plain):
        method_decorators = (needs_login,)

    class ByMethod(Plain):
        method_decorators = {"get": [needs_login]}  # noqa: RUF012

    class Writes(Plain):
        method_decorators = {"post": [needs_login]}  # noqa: RUF012

    class Inside(rest.Resource):  # type: ignore[misc, name-defined]
        def get(self) -> Any:
            rest.abort(403)

    class Dispatches(Plain):
        def dispatch_request(self, *args: Any, **kwargs: Any) -> Any:
            if "key" not in request.args:
                abort(401)
            return super().dispatch_request(*args, **kwargs)

    app = Flask("resources")
    blueprint = Blueprint("below", "resources", url_prefix="/below")
    apis = rest.Api(app), rest.Api(blueprint)
    below = {}
    for number, api in enumerate(apis):
        for kind in (Plain, Decorated, ByMethod, Writes, Inside, Dispatches):
            path = f"/{kind.__name__.lower()}{number}"
            api.add_resource(kind, path, endpoint=f"e{kind.__name__}{number}")
            below[path.strip("/")] = kind.__name__ not in ("Plain", "Writes")
    app.register_blueprint(blueprint)
    found = readings(app)
    assert {path: found[path] for path in below} == {
        path: "refuses" if guarded else "nothing" for path, guarded in below.items()
    }


def test_decorators_of_a_whole_api_are_read() -> None:
    rest = pytest.importorskip("flask_restx")

    class Plain(rest.Resource):  # type: ignore[misc, name-defined]
        def get(self) -> Any:
            return {}

    app = Flask("resources")
    rest.Api(app, decorators=[needs_login]).add_resource(Plain, "/plain")
    assert readings(app)["plain"] == "refuses"


INSTALLED = """
from functools import wraps
from flask import Blueprint, Flask, abort, g, request
from flask.views import MethodView

shop = Blueprint("shop", __name__)

def needs_login(function):
    @wraps(function)
    def wrapper(*args, **kwargs):
        if request.authorization is None:
            abort(401)
        return function(*args, **kwargs)
    return wrapper

@shop.before_app_request
def who():
    if request.args.get("as") != "ann":
        abort(403)

@shop.route("/open")
def open_():
    return "open"

@shop.route("/decorated")
@needs_login
def decorated():
    return "decorated"

@shop.route("/inside")
def inside():
    if not g.get("user"):
        abort(401)
    return "inside"

class Listed(MethodView):
    decorators = [needs_login]
    def get(self):
        return "listed"

class Plain(MethodView):
    def get(self):
        return "plain"

shop.add_url_rule("/listed", view_func=Listed.as_view("listed"))
shop.add_url_rule("/plain", view_func=Plain.as_view("plain"))

def create_app():
    app = Flask(__name__)
    app.register_blueprint(shop)
    return app
"""


@pytest.fixture(params=["app", "blueprint"])
def installed(request: Any, tmp_path: Path) -> Iterator[Flask]:
    """Return an app that pip has put into site-packages, or one with a blueprint from there."""
    name = f"installed_{request.param}"
    folder = tmp_path / "lib" / "site-packages"
    (folder / name).mkdir(parents=True)
    (folder / name / "__init__.py").write_text(INSTALLED)
    sys.path.insert(0, str(folder))
    try:
        module = importlib.import_module(name)
        if request.param == "app":
            yield module.create_app()
        else:
            app = Flask("around")
            app.register_blueprint(module.shop)
            yield app
    finally:
        sys.path.remove(str(folder))
        sys.modules.pop(name, None)


def test_an_installed_app_is_read_as_one_that_lies_in_a_folder_is(installed: Flask) -> None:
    found = readings(installed)
    del found["<path:filename>"]
    assert found == {
        "open": "nothing",
        "decorated": "refuses",
        "inside": "refuses",
        "listed": "refuses",
        "plain": "nothing",
    }
    routes = FlaskRoutes(installed)
    endpoint = next(each for each in routes.endpoints() if each.endpoint == "shop.open_")
    assert [each.does for each in routes.guards(endpoint, "GET").around] == ["refuses"]


NATIVE = {
    "shop_native": """
from fastapi import APIRouter, Depends, FastAPI, HTTPException
from shop_keys import needs_key
from shop_native.rights import refuse_strangers

router = APIRouter()

def guarded(who: str = ""):
    refuse_strangers(who)

@router.get("/inside")
def inside(who: str = ""):
    refuse_strangers(who)
    return "inside"

@router.get("/depends", dependencies=[Depends(guarded)])
def depends():
    return "depends"

@router.get("/keyed", dependencies=[Depends(needs_key)])
def keyed():
    return "keyed"

@router.get("/open")
def open_():
    return "open"

app = FastAPI()
app.include_router(router)
""",
    "shop_native/rights": """
from fastapi import HTTPException

def refuse_strangers(who):
    if who != "ann":
        raise HTTPException(403)
""",
    "shop_keys": """
from fastapi import Header, HTTPException

class Keys:
    def check(self, key):
        if key != "right":
            raise HTTPException(401)

keys = Keys()

def needs_key(x_key: str = Header("")):
    keys.check(x_key)
""",
}


@pytest.fixture
def installed_native(tmp_path: Path) -> Iterator[None]:
    """Put a native app and a package of guards into site-packages, as an image has them."""
    folder = tmp_path / "lib" / "site-packages"
    for name, text in NATIVE.items():
        file = folder / f"{name}.py" if "/" in name else folder / name / "__init__.py"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    sys.path.insert(0, str(folder))
    try:
        yield
    finally:
        sys.path.remove(str(folder))
        for name in NATIVE:
            sys.modules.pop(name.replace("/", "."), None)


@pytest.mark.usefixtures("installed_native")
@pytest.mark.parametrize("passed", [True, False])
def test_an_installed_native_app_is_read_as_one_that_lies_in_a_folder_is(passed: bool) -> None:
    legacy = Flask("legacy")
    paths = ["/inside", "/depends", "/keyed", "/open"]
    for path in paths:
        legacy.add_url_rule(path, path.strip("/"), str)
    rules = [{"path": path, "cutover": "native", "auth": "native"} for path in paths]
    config: dict[str, Any] = {"version": 1, "routes": rules}
    native = importlib.import_module("shop_native").app if passed else None
    if not passed:
        config["native"] = {"app": "shop_native:app"}
    gateway = Gateway(legacy, native, config)
    refused = {
        route.label: [each.code for each in route.findings]
        for route in gateway.table.routes
        if route.method == "GET" and route.label in paths
    }
    assert refused == {"/inside": [], "/depends": [], "/keyed": [], "/open": ["guards-nobody"]}
