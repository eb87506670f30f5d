"""What a Flask app has around all of its views, by name."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from flask import Flask, abort
from werkzeug.middleware.proxy_fix import ProxyFix

from gateway.flask.routes import FlaskRoutes
from gateway.inventory import Guards

if TYPE_CHECKING:
    from collections.abc import Callable

HERE = "tests.unit.guards.test_around"


class Gate:
    def __init__(self, app: Callable[..., Any]) -> None:
        self.app = app

    def __call__(self, environ: Any, start_response: Any) -> Any:
        start_response("403 Forbidden", [])
        return [b""]


class Closed(Flask):
    def preprocess_request(self) -> Any:
        abort(401)


def test_an_app_with_nothing_around_it() -> None:
    assert FlaskRoutes(Flask("plain")).guards(None, "GET") == Guards()


def test_middleware_is_named_through_other_middleware() -> None:
    app = Flask("wrapped")
    app.wsgi_app = ProxyFix(Gate(app.wsgi_app))  # type: ignore[method-assign]
    around = FlaskRoutes(app).guards(None, "GET").around
    assert [(each.name, each.place, each.does) for each in around] == [
        ("werkzeug.middleware.proxy_fix.ProxyFix", "middleware", "nothing"),
        (f"{HERE}.Gate", "middleware", "refuses"),
    ]


def test_a_subclass_s_own_way_counts() -> None:
    around = FlaskRoutes(Closed("closed")).guards(None, "GET").around
    assert [(each.name, each.does) for each in around] == [
        (f"{HERE}.Closed.preprocess_request", "refuses")
    ]
