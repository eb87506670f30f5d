"""A Flask rule that is added while requests flow is behind the shared guard, as all the others."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from fastapi import FastAPI
from flask import Flask

from tests.functional.servers import serve
from tests.functional.test_fail_closed import SHARED, Seen, ask, moved

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

    from gateway import Gateway

pytestmark = pytest.mark.network

ANN = "Authorization: Bearer ann"


class Leading:
    """Middleware that may turn one path into another."""

    def __init__(self, app: Any) -> None:
        self.app = app

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Any:
        environ["PATH_INFO"] = environ.get("HTTP_X_PATH", environ["PATH_INFO"])
        environ["REQUEST_METHOD"] = environ.get("HTTP_X_METHOD", environ["REQUEST_METHOD"])
        return self.app(environ, start_response)


def app_of(ran: list[str], **more: Any) -> tuple[Flask, Gateway]:
    app = Flask("legacy")
    app.add_url_rule("/open", "open", lambda: "open")
    app.add_url_rule("/known", "known", lambda: "known")
    app.wsgi_app = Leading(app.wsgi_app)  # type: ignore[method-assign]
    free = {"path": "/open", "cutover": "legacy", "auth": "none"}
    return app, moved(app, FastAPI(), Seen(), free, **{**SHARED, **more})


def add(app: Flask, ran: list[str], path: str = "/late", **more: Any) -> None:
    """Add a rule as plug-ins do; Flask itself would refuse to after its first request."""

    def view(**_: str) -> str:
        ran.append(path)
        return "late"

    app.view_functions["late"] = view
    app.url_map.add(app.url_rule_class(path, endpoint="late", **more))


@pytest.mark.parametrize(
    ("path", "asked", "more"),
    [
        ("/late", "GET /open HTTP/1.1\nX-Path: /late", {"methods": ["GET"]}),
        ("/late/<x>", "GET /open HTTP/1.1\nX-Path: /late/1", {"methods": ["GET"]}),
        ("/late", "GET /open HTTP/1.1\nX-Path: /late\nX-Method: PROPFIND", {}),
        ("/open", "GET /open HTTP/1.1\nX-Method: DELETE", {"methods": ["DELETE"]}),
        ("/late", "GET /nowhere HTTP/1.1\nX-Path: /late", {"methods": ["GET"]}),
    ],
)
def test_nobody_reaches_it_around_the_guard(path: str, asked: str, more: dict[str, Any]) -> None:
    ran: list[str] = []
    app, gateway = app_of(ran)
    with serve(gateway) as url:
        assert ask(url, "GET /open HTTP/1.1\nHost: ok") == (200, b"open")
        add(app, ran, path, **more)
        assert ask(url, f"{asked}\nHost: ok")[0] in (401, 403)
        assert ran == []
        assert ask(url, "GET /open HTTP/1.1\nHost: ok") == (200, b"open")


def test_whom_the_guard_lets_in_there_gets_in() -> None:
    ran: list[str] = []
    app, gateway = app_of(ran)
    with serve(gateway) as url:
        add(app, ran, methods=["GET"])
        assert ask(url, "GET /late HTTP/1.1\nHost: ok")[0] == 401
        assert ran == []
        assert ask(url, f"GET /late HTTP/1.1\nHost: ok\n{ANN}") == (200, b"late")
        # The guard has run for a route of another path: it says nothing of this one.
        asked = f"GET /known HTTP/1.1\nHost: ok\nX-Path: /late\n{ANN}"
        assert ask(url, asked)[0] == 403
    assert ran == ["/late"]


def test_without_a_shared_default_it_is_as_open_as_flask_has_it() -> None:
    ran: list[str] = []
    app, gateway = app_of(ran, defaults={})
    with serve(gateway) as url:
        add(app, ran, methods=["GET"])
        assert ask(url, "GET /open HTTP/1.1\nHost: ok\nX-Path: /late") == (200, b"late")
