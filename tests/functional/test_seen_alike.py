"""What Flask's middleware and hooks have made of a request is what the native handler serves.

The oracle is bare Flask: the handler sees the headers, the body and the arguments that the view
would have seen, or the view answers.
"""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

import pytest
from fastapi import APIRouter, FastAPI, Header, Request
from flask import Flask, g, request
from starlette.responses import PlainTextResponse
from werkzeug.datastructures import ImmutableMultiDict
from werkzeug.test import run_wsgi_app

from gateway import Gateway
from gateway.flask import FlaskRoute
from gateway.routing import Backend
from tests.functional.servers import serve
from tests.functional.test_fail_closed import SEEN, TOKEN, Seen, ask, guard, moved, told

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = pytest.mark.network

ME = {"path": "/me", "cutover": "native", "auth": "hooks", "accept": SEEN}
USER = {"path": "/users/<int:number>", "cutover": "native", "auth": "hooks", "accept": SEEN}
ORG = {"path": "/orgs/<org>", "cutover": "native", "auth": "hooks", "accept": SEEN}
SAVE = {"path": "/save", "methods": ["POST"], "cutover": "native", "auth": "none"}


def signed_in_app(how: str) -> Flask:
    """`/me` trusts X-User, which only the app's own middleware or hook may set."""
    app = Flask("legacy")
    app.secret_key = "x"

    def identify(environ: dict[str, Any]) -> None:
        environ.pop("HTTP_X_USER", None)
        if environ.get("HTTP_X_TOKEN") == "t":
            environ["HTTP_X_USER"] = "alice"

    if how == "middleware":
        inner = app.wsgi_app

        def wrapped(environ: Any, start_response: Any) -> Any:
            identify(environ)
            return inner(environ, start_response)

        app.wsgi_app = wrapped  # type: ignore[method-assign]
    else:

        @app.before_request
        def hook() -> None:
            identify(request.environ)

    app.before_request(guard)
    app.add_url_rule("/me", "me", lambda: f'"{request.headers.get("X-User")}"')
    return app


@pytest.mark.parametrize("how", ["middleware", "hook"])
@pytest.mark.parametrize("sent", ["X-User: root", "x-user: root\nX-User: eve", "X-Other: 1"])
def test_a_header_that_legacy_takes_or_gives_is_what_native_sees(how: str, sent: str) -> None:
    """Else a caller who is let in as somebody says who else it is."""
    twin = FastAPI()

    @twin.get("/me")
    async def me(request: Request) -> str:
        return ",".join(request.headers.getlist("x-user"))

    with serve(moved(signed_in_app(how), twin, Seen(), ME)) as url:
        assert ask(url, f"GET /me HTTP/1.1\nHost: ok\n{TOKEN}\n{sent}") == (200, b'"alice"')
        assert ask(url, f"GET /me HTTP/1.1\nHost: ok\n{sent}")[0] == 401


def test_a_cookie_that_middleware_takes_away_is_no_cookie_natively() -> None:
    app = signed_in_app("hook")
    inner = app.wsgi_app

    def wrapped(environ: Any, start_response: Any) -> Any:
        environ["HTTP_COOKIE"] = "seen=yes"
        environ["HTTP_X_ADDED"] = "ö"
        return inner(environ, start_response)

    app.wsgi_app = wrapped  # type: ignore[method-assign]
    twin = FastAPI()

    @twin.get("/me")
    async def me(request: Request, x_added: str = Header("")) -> str:
        return f"{sorted(request.cookies.items())} {x_added}"

    with serve(moved(app, twin, Seen(), ME)) as url:
        asked = f"GET /me HTTP/1.1\nHost: ok\n{TOKEN}\nCookie: admin=1\nCookie: role=root"
        assert ask(url, asked) == (200, "\"[('seen', 'yes')] ö\"".encode())


def org_app(change: Callable[[dict[str, Any]], None], *, early: bool) -> Flask:
    """A hook says whose org it is, whatever the path says."""
    app = Flask("legacy")
    app.secret_key = "x"
    app.before_request(guard)
    if early:

        @app.url_value_preprocessor
        def preprocess(endpoint: str | None, values: dict[str, Any] | None) -> None:
            change(values or {})
    else:

        @app.before_request
        def replace() -> None:
            values = dict(request.view_args or {})
            change(values)
            request.view_args = values

    app.add_url_rule("/orgs/<org>", "org", lambda org="none": f'"{org}"')
    return app


def org_twin(seen: Seen) -> FastAPI:
    twin = FastAPI()

    @twin.get("/orgs/{org}")
    async def org(org: str) -> str:
        seen.ran.append(org)
        return f"native {org}"

    return twin


@pytest.mark.parametrize("early", [True, False])
def test_arguments_that_a_hook_has_changed_are_the_view_s(
    early: bool, caplog: pytest.LogCaptureFixture
) -> None:
    """Native reads them from the path, where the caller has chosen them."""
    seen = Seen()
    app = org_app(lambda values: values.update(org="mine"), early=early)
    with told(caplog) as lines, serve(moved(app, org_twin(seen), seen, ORG)) as url:
        for _ in range(2):
            asked = f"GET /orgs/victim HTTP/1.1\nHost: ok\n{TOKEN}"
            assert ask(url, asked) == (200, b'"mine"')
        assert lines("changed the view's arguments (org)") == 1
        assert seen.ran == []
        asked = f"GET /orgs/mine HTTP/1.1\nHost: ok\n{TOKEN}"
        assert ask(url, asked) == (200, b'"native mine"')


def test_a_query_that_a_hook_has_replaced_is_the_view_s() -> None:
    seen = Seen()
    app, twin = Flask("legacy"), FastAPI()
    app.before_request(guard)

    @app.before_request
    def scope() -> None:
        if request.args.get("org"):
            request.args = ImmutableMultiDict({"org": "mine"})

    app.add_url_rule("/me", "me", lambda: request.args.get("org", "none"))

    @twin.get("/me")
    async def me(org: str = "none") -> str:
        seen.ran.append(org)
        return org

    with serve(moved(app, twin, seen, ME)) as url:
        assert ask(url, f"GET /me?org=victim HTTP/1.1\nHost: ok\n{TOKEN}") == (200, b"mine")
        assert ask(url, f"GET /me?page=2 HTTP/1.1\nHost: ok\n{TOKEN}") == (200, b'"none"')
    assert seen.ran == ["none"]


def test_an_argument_that_a_hook_takes_out_keeps_native_in_place() -> None:
    """As Flask's own pattern for languages has it: `g.lang = values.pop("lang")`."""
    seen = Seen()

    def change(values: dict[str, Any]) -> None:
        g.org = values.pop("org", None)

    with serve(moved(org_app(change, early=True), org_twin(seen), seen, ORG)) as url:
        asked = f"GET /orgs/mine HTTP/1.1\nHost: ok\n{TOKEN}"
        assert ask(url, asked) == (200, b'"native mine"')


def test_what_a_hook_means_by_an_argument_that_it_takes_out_is_the_handler_s_to_ask() -> None:
    """The path may say one thing, and the hook keep another: a FlaskRoute reads it as the view."""
    seen = Seen()

    def change(values: dict[str, Any]) -> None:
        values.pop("org", None)
        g.org = "mine"

    twin = FastAPI()
    router = APIRouter(route_class=FlaskRoute)

    @router.get("/orgs/{org}")
    def org(org: str) -> str:
        return f"native {g.org}"

    twin.include_router(router)
    with serve(moved(org_app(change, early=True), twin, seen, ORG)) as url:
        asked = f"GET /orgs/victim HTTP/1.1\nHost: ok\n{TOKEN}"
        assert ask(url, asked) == (200, b"native mine")


class Unseekable:
    """A WSGI input that can only be read once."""

    def __init__(self, data: bytes) -> None:
        self._data = io.BytesIO(data)

    def read(self, size: int = -1) -> bytes:
        return self._data.read(size)


def save_app(wrap: Callable[[bytes], Any]) -> Flask:
    """Middleware takes the evil out of each body."""
    app = Flask("legacy")
    app.secret_key = "x"
    inner = app.wsgi_app

    def wrapped(environ: Any, start_response: Any) -> Any:
        data = environ["wsgi.input"].read().replace(b"evil", b"fine!")
        environ["wsgi.input"], environ["CONTENT_LENGTH"] = wrap(data), str(len(data))
        return inner(environ, start_response)

    app.wsgi_app = wrapped  # type: ignore[method-assign]
    app.add_url_rule("/save", "save", lambda: bytes(request.get_data()), methods=["POST"])
    return app


@pytest.mark.parametrize("wrap", [io.BytesIO, Unseekable])
@pytest.mark.parametrize("body", ["spool", "stream"])
def test_a_body_that_middleware_has_replaced_is_what_native_reads(wrap: Any, body: str) -> None:
    """Or the view answers, where nobody can read it twice."""
    twin = FastAPI()

    @twin.post("/save")
    async def save(request: Request) -> str:
        data = await request.body()
        assert int(request.headers["content-length"]) == len(data)
        return data.decode()

    rule = {**SAVE, "body": body}
    with serve(moved(save_app(wrap), twin, Seen(), rule)) as url:
        status, answer = ask(url, "POST /save HTTP/1.1\nHost: ok", b"an evil body")
        expected = b'"an fine! body"' if wrap is io.BytesIO else b"an fine! body"
        assert (status, answer) == (200, expected)


def test_a_longer_body_is_read_to_its_end_whatever_the_length_said() -> None:
    """As Werkzeug reads it for a view, since the gateway ends its bodies by itself."""
    app, twin = Flask("legacy"), FastAPI()

    @app.before_request
    def clean() -> None:
        request.environ["wsgi.input"] = io.BytesIO(b"a cleaned body that is longer")

    app.add_url_rule("/save", "save", lambda: bytes(request.get_data()), methods=["POST"])

    @twin.post("/save")
    async def save(request: Request) -> PlainTextResponse:
        return PlainTextResponse(await request.body())

    bare = Gateway(legacy=app)
    with serve(bare) as oracle:
        expected = ask(oracle, "POST /save HTTP/1.1\nHost: ok", b"evil")
    with serve(moved(app, twin, seen := Seen(), SAVE)) as url:
        assert ask(url, "POST /save HTTP/1.1\nHost: ok", b"evil") == expected
    assert expected == (200, b"a cleaned body that is longer")
    assert seen.exchanges[-1].decision.backend is Backend.NATIVE


def user_twin(seen: Seen) -> FastAPI:
    twin = FastAPI()

    @twin.get("/users/{number}")
    async def user(number: int) -> str:
        seen.ran.append(str(number))
        return f"native {number}"

    return twin


def user_app() -> Flask:
    app = Flask("legacy")
    app.secret_key = "x"
    app.before_request(guard)
    app.add_url_rule("/users/<int:number>", "user", lambda number: f"legacy {number}")
    return app


def test_a_request_made_of_another_s_environ_leaves_that_one_alone() -> None:
    """The inner one gets its own view, as from Flask's test client; the outer one gets native."""
    seen = Seen()
    app = user_app()

    @app.before_request
    def inner() -> None:
        if "inner" not in request.environ:
            environ = {**request.environ, "PATH_INFO": "/users/7", "inner": True}
            chunks, _, _ = run_wsgi_app(app.wsgi_app, environ)
            g.inner = b"".join(chunks).decode()

    observed: list[str] = []

    @app.after_request
    def tell(response: Any) -> Any:
        observed.append(g.get("inner", ""))
        return response

    with serve(moved(app, user_twin(seen), seen, USER)) as url:
        asked = f"GET /users/5 HTTP/1.1\nHost: ok\n{TOKEN}"
        assert ask(url, asked) == (200, b'"native 5"')
    assert seen.ran == ["5"]
    assert "legacy 7" in observed


def test_middleware_that_asks_the_app_twice_gets_two_answers() -> None:
    seen = Seen()
    app = user_app()
    inner: Any = app.wsgi_app
    statuses: list[str] = []

    def again(environ: Any, start_response: Any) -> Any:
        """Try once more with a fresh token where the first answer was a refusal."""
        told: list[Any] = []
        body = b"".join(inner(environ, lambda *head: told.append(head)))
        statuses.append(told[-1][0])
        if statuses[-1].startswith("401") or environ.get("HTTP_X_TWICE"):
            environ["HTTP_X_TOKEN"] = "t"
            body = b"".join(inner(environ, lambda *head: told.append(head)))
        start_response(*told[-1])
        return [body]

    app.wsgi_app = again  # type: ignore[method-assign]
    with serve(moved(app, user_twin(seen), seen, USER)) as url:
        assert ask(url, "GET /users/5 HTTP/1.1\nHost: ok") == (200, b'"native 5"')
        asked = f"GET /users/6 HTTP/1.1\nHost: ok\n{TOKEN}\nX-Twice: 1"
        assert ask(url, asked)[0] == 200
    assert seen.ran == ["5", "6"]
    assert statuses == ["401 UNAUTHORIZED", "200 OK"]
