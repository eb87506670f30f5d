"""Hooks and decorators of known Flask extensions are read right."""

from __future__ import annotations

from typing import Any

import pytest
from flask import Flask, jsonify
from flask_login import LoginManager, login_required

from gateway.flask.routes import FlaskRoutes


def view() -> Any:
    return jsonify(ok=True)


def reading(app: Flask, function: Any = view) -> list[str]:
    """Return what is around the view, and the view itself, do."""
    app.add_url_rule("/x", "x", function)
    routes = FlaskRoutes(app)
    endpoint = next(each for each in routes.endpoints() if each.endpoint == "x")
    met = routes.guards(endpoint, "GET")
    assert met.view is not None
    return [*(each.does for each in met.around), met.view.does]


def fresh() -> Flask:
    app = Flask("extended")
    app.secret_key = "s"
    return app


def test_flask_login() -> None:
    app = fresh()
    LoginManager(app)
    assert reading(app) == ["nothing", "nothing"]
    app = fresh()
    LoginManager(app)
    assert reading(app, login_required(view)) == ["nothing", "refuses"]


def test_flask_jwt_extended() -> None:
    jwt = pytest.importorskip("flask_jwt_extended")
    app = fresh()
    jwt.JWTManager(app)
    assert reading(app, jwt.jwt_required()(view)) == ["refuses"]
    assert reading(fresh(), jwt.jwt_required(optional=True)(view)) == ["nothing"]

    def verified() -> Any:
        jwt.verify_jwt_in_request()
        return jsonify(ok=True)

    assert reading(fresh(), verified) == ["refuses"]


def test_flask_limiter_answers_429_which_is_no_refusal() -> None:
    limiter = pytest.importorskip("flask_limiter")
    app = fresh()
    limits = limiter.Limiter(lambda: "x", app=app, storage_uri="memory://")
    assert set(reading(app, limits.limit("1/day")(view))) == {"nothing"}


def test_flask_talisman() -> None:
    talisman = pytest.importorskip("flask_talisman")
    app = fresh()
    talisman.Talisman(app)
    assert set(reading(app)) == {"nothing"}


def test_flask_principal() -> None:
    principal = pytest.importorskip("flask_principal")
    app = fresh()
    principal.Principal(app)
    assert reading(app) == ["identifies", "nothing"]
    needed = principal.Permission(principal.RoleNeed("admin"))
    assert reading(fresh(), needed.require(403)(view)) == ["refuses"]

    def inside() -> Any:
        with needed.require(403):
            return jsonify(ok=True)

    assert reading(fresh(), inside) == ["refuses"]


def test_flask_babel_and_caching() -> None:
    babel = pytest.importorskip("flask_babel")
    caching = pytest.importorskip("flask_caching")
    app = fresh()
    babel.Babel(app)
    cache = caching.Cache(app, config={"CACHE_TYPE": "SimpleCache"})
    assert reading(app, cache.cached()(view)) == ["nothing"]
