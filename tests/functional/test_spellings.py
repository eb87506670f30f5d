"""What is refused for its path stays refused, however the path is spelled."""

from __future__ import annotations

import socket

import pytest
from fastapi import FastAPI, WebSocket
from flask import Blueprint, Flask

from gateway import Gateway
from tests.functional.servers import serve
from tests.functional.test_fail_closed import PARSERS, TOKEN, Seen, ask, guard, moved

pytestmark = pytest.mark.network

UPGRADE = (
    "Host: ok\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)


def upgraded(url: str, path: str) -> int:
    """Return the status that an upgrade of a path is answered with; 101: it is open."""
    host, port = url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=10) as connection:
        connection.sendall(f"GET {path} HTTP/1.1\r\n{UPGRADE}".encode())
        return int(connection.recv(4096).split(b" ", 2)[1])


def test_no_spelling_opens_a_socket_beside_a_guarded_view() -> None:
    seen = Seen()
    app, twin = Flask("legacy"), FastAPI()
    app.before_request(guard)
    app.add_url_rule("/users", "users", lambda: "legacy")
    app.add_url_rule("/items/<int:number>", "item", lambda number: "legacy")
    app.add_url_rule("/shelf/", "shelf", lambda: "legacy")

    @twin.websocket("/users")
    @twin.websocket("/shelf")
    @twin.websocket("/free")
    async def feed(websocket: WebSocket) -> None:
        seen.ran.append("feed")
        await websocket.accept()

    @twin.websocket("/items/{number}")
    async def item(websocket: WebSocket, number: str) -> None:
        seen.ran.append(number)
        await websocket.accept()

    paths = ("/users", "/users%0a", "/%75sers", "/items/5", "/items/5.0", "/items/x", "/shelf",
             "/shelf%0a", "/items/5%0a")  # fmt: skip
    with serve(moved(app, twin, seen)) as url:
        assert {path: upgraded(url, path) for path in paths} == dict.fromkeys(paths, 403)
        assert seen.ran == []
        assert upgraded(url, "/free") == 101


@pytest.mark.parametrize("parser", PARSERS)
def test_a_newline_leads_to_no_handler_that_the_path_itself_does_not_lead_to(parser: str) -> None:
    """Starlette's patterns overlook one at the end (`$`), Flask's converters don't."""
    seen = Seen()
    app, twin = Flask("legacy"), FastAPI()
    blueprint = Blueprint("docs", "docs")
    blueprint.before_request(guard)
    blueprint.add_url_rule("/docs/<any(a,b):name>", "doc", lambda name: "legacy")
    app.register_blueprint(blueprint)

    @twin.get("/docs/a")
    @twin.post("/docs/a")
    async def doc() -> str:
        seen.ran.append("doc")
        return "native"

    with serve(moved(app, twin, seen), http=parser) as url:
        assert ask(url, "GET /docs/a HTTP/1.1\nHost: ok")[0] == 401
        assert ask(url, "POST /docs/a HTTP/1.1\nHost: ok")[0] == 405
        # Old Werkzeug overlooks it as well, and its hooks run.
        assert ask(url, "GET /docs/a%0a HTTP/1.1\nHost: ok")[0] in (401, 404)
        assert ask(url, "POST /docs/a%0A HTTP/1.1\nHost: ok")[0] in (404, 405)
    assert seen.ran == []


@pytest.mark.parametrize("method", ["GET", "POST", "OPTIONS"])
def test_a_path_that_flask_has_on_one_host_is_unknown_on_another(method: str) -> None:
    """Native tells nothing of it there: no 405, and no redirect to the spelling that it has."""
    seen = Seen()

    def hosted() -> Flask:
        app = Flask("legacy", host_matching=True, static_folder=None)
        app.before_request(guard)
        app.add_url_rule("/users/<name>", "user", lambda name: f"legacy {name}", host="ok")
        return app

    twin = FastAPI()

    @twin.get("/users/{name}")
    async def user(name: str) -> str:
        seen.ran.append(name)
        return "native"

    rule = {"prefix": "/users", "host": "ok", "cutover": "native", "auth": "hooks"}
    paths = ("/users/ann", "/users/ann/", "/users//ann")
    with serve(Gateway(legacy=hosted())) as oracle, serve(moved(hosted(), twin, seen, rule)) as url:
        for path in paths:
            asked = f"{method} {path} HTTP/1.1\nHost: elsewhere\n{TOKEN}"
            assert ask(url, asked) == ask(oracle, asked)
        assert seen.ran == []
        assert ask(url, f"GET /users/ann HTTP/1.1\nHost: ok\n{TOKEN}") == (200, b'"native"')
