"""What a Flask app has around all of its views, by name."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from flask import Flask, abort
from werkzeug.middleware.proxy_fix import ProxyFix

from gateway.flask.routes import FlaskRoutes

if TYPE_CHECKING:
    from collections.abc import Callable

HERE = "tests.unit.flask.test_around"


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
    guards = FlaskRoutes(Flask("plain")).guards(None, "GET")
    assert (guards.middleware, guards.hooks, guards.view) == ((), (), ())


def test_middleware_is_named_through_other_middleware() -> None:
    app = Flask("wrapped")
    app.wsgi_app = ProxyFix(Gate(app.wsgi_app))  # type: ignore[method-assign]
    guards = FlaskRoutes(app).guards(None, "GET")
    assert guards.middleware == ("werkzeug.middleware.proxy_fix.ProxyFix", f"{HERE}.Gate")
    assert guards.harmless == {"werkzeug.middleware.proxy_fix.ProxyFix"}
    assert guards.refusing == {f"{HERE}.Gate"}


def test_a_subclass_s_own_way_counts() -> None:
    guards = FlaskRoutes(Closed("closed")).guards(None, "GET")
    assert guards.middleware == (f"{HERE}.Closed.preprocess_request",)
    assert guards.refusing == set(guards.middleware)
