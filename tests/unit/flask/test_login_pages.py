"""Where Flask-Login sends a stranger."""

from __future__ import annotations

import pytest
from flask import Blueprint, Flask
from flask_login import LoginManager

from gateway.flask.login_pages import login_pages


def app() -> Flask:
    flask = Flask("login")
    auth = Blueprint("auth", __name__, url_prefix="/auth")
    auth.add_url_rule("/login", "login", lambda: "")
    auth.add_url_rule("/<name>/login", "named", lambda name: name)
    flask.register_blueprint(auth)
    return flask


@pytest.mark.parametrize(
    ("view", "pages"),
    [
        ("auth.login", {"/auth/login"}),
        ("/somewhere", {"/somewhere"}),
        ("https://sso.example/in?x=1", {"/in"}),
        ("auth.named", set()),
        ("nowhere", set()),
        (None, set()),
    ],
)
def test_the_login_view(view: str | None, pages: set[str]) -> None:
    flask = app()
    LoginManager(flask).login_view = view
    assert login_pages(flask) == pages


def test_each_blueprint_may_have_its_own() -> None:
    flask = app()
    manager = LoginManager(flask)
    manager.blueprint_login_views = {"admin": "auth.login", "shop": "/shop/in"}
    assert login_pages(flask) == {"/auth/login", "/shop/in"}


def test_without_flask_login_there_is_none() -> None:
    assert login_pages(app()) == frozenset()
