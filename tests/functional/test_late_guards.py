"""What guards a Flask app may come late: Flask looks at it for each request, and so do we."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from fastapi import FastAPI, Header, HTTPException
from flask import Blueprint, Flask, appcontext_pushed, request_started
from werkzeug.routing import Map

from tests.functional.servers import serve
from tests.functional.test_fail_closed import SEEN, TOKEN, Seen, ask, guard, moved, override, told

if TYPE_CHECKING:
    from werkzeug.routing import MapAdapter

pytestmark = pytest.mark.network

OPEN = {"prefix": "/", "cutover": "native", "auth": "none"}
ASKED = "GET /shop/page HTTP/1.1\nHost: ok"


def shop() -> Flask:
    app = Flask("legacy")
    blueprint, inner = Blueprint("shop", "shop"), Blueprint("inner", "inner")
    inner.add_url_rule("/page", "page", lambda: "legacy page")
    blueprint.register_blueprint(inner)
    app.register_blueprint(blueprint, url_prefix="/shop")
    return app


def shop_twin(seen: Seen) -> FastAPI:
    twin = FastAPI()

    @twin.get("/shop/page")
    async def page() -> str:
        seen.ran.append("page")
        return "native page"

    return twin


def by_hook(app: Flask) -> None:
    app.before_request_funcs.setdefault(None, []).append(guard)


def by_blueprint_hook(app: Flask) -> None:
    app.before_request_funcs.setdefault("shop", []).append(guard)


def by_preprocessor(app: Flask) -> None:
    app.url_value_preprocessors.setdefault("shop.inner", []).append(lambda *_: guard())


def by_middleware(app: Flask) -> None:
    inner = app.wsgi_app

    def wrapped(environ: Any, start_response: Any) -> Any:
        if environ.get("HTTP_X_TOKEN") == "t":
            return inner(environ, start_response)
        start_response("401 Unauthorized", [("Content-Length", "0")])
        return []

    app.wsgi_app = wrapped  # type: ignore[method-assign]


@pytest.mark.parametrize("late", [by_hook, by_blueprint_hook, by_preprocessor, by_middleware])
def test_a_guard_that_is_added_while_requests_flow_guards_the_next_one(late: Any) -> None:
    seen = Seen()
    app = shop()
    with serve(moved(app, shop_twin(seen), seen, OPEN)) as url:
        assert ask(url, ASKED) == (200, b'"native page"')
        late(app)
        assert ask(url, ASKED)[0] == 401
        assert ask(url, f"{ASKED}\n{TOKEN}") == (200, b'"native page"')
    assert seen.ran == ["page", "page"]


def guarded_page() -> str:
    guard()
    return "legacy page"


def in_place(app: Flask) -> None:
    app.view_functions["shop.inner.page"] = guarded_page


def by_other_mapping(app: Flask) -> None:
    app.view_functions = {**app.view_functions, "shop.inner.page": guarded_page}


def knows(x_who: str | None = Header(None)) -> str:
    if x_who != "ann":
        raise HTTPException(401)
    return x_who


@pytest.mark.parametrize("late", [in_place, by_other_mapping])
@pytest.mark.parametrize(
    ("auth", "hooks"),
    [
        ("hooks", "inherit"),
        ("shared", "inherit"),
        ("shared", "skip"),
        ("none", "inherit"),
        ("none", "skip"),
    ],
)
def test_a_view_that_is_wrapped_while_requests_flow_answers_by_itself(
    auth: str, hooks: str, late: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """It may be a guard; only where native is guarded otherwise, or by nobody, it need not be."""
    seen = Seen()
    app = shop()
    accepted = dict.fromkeys(("may-guard-itself", "hooks-guard-nobody"), "a page of the tests")
    rule: dict[str, Any] = {"prefix": "/", "cutover": "native", "auth": auth, "hooks": hooks}
    if auth == "hooks":
        rule["accept"] = accepted
    more = {"auth": {"dependency": f"{__name__}:knows"}} if auth == "shared" else {}
    who = f"{ASKED}\nX-Who: ann"
    with (
        told(caplog) as lines,
        serve(moved(app, shop_twin(seen), seen, rule, **more)) as url,
    ):
        assert ask(url, who) == (200, b'"native page"')
        late(app)
        if auth == "none":
            assert ask(url, who) == (200, b'"native page"')
            return
        assert ask(url, who)[0] == 401
        assert ask(url, f"{who}\n{TOKEN}") == (200, b"legacy page")
        assert lines("its view has been replaced") == 1
    assert seen.ran == ["page"]


@pytest.mark.parametrize("signal", [request_started, appcontext_pushed])
def test_a_receiver_of_a_signal_may_refuse(signal: Any) -> None:
    seen = Seen()
    app = shop()

    def refuse(_: object, **__: object) -> None:
        raise PermissionError

    with serve(moved(app, shop_twin(seen), seen, OPEN)) as url:
        assert ask(url, ASKED) == (200, b'"native page"')
        with signal.connected_to(refuse, app):
            assert ask(url, ASKED)[0] == 500
    assert seen.ran == ["page"]


def test_middleware_that_is_added_after_the_gateway_may_change_the_method() -> None:
    """A view that has been retired is not reached through it, and each method keeps its guard."""
    seen = Seen()
    app = Flask("legacy")
    guarded = Blueprint("guarded", "guarded")
    guarded.before_request(guard)
    guarded.add_url_rule("/x", "delete", lambda: "legacy delete", methods=["DELETE"])
    app.register_blueprint(guarded)
    app.add_url_rule("/x", "post", lambda: "legacy post", methods=["POST"])
    twin = FastAPI()

    @twin.delete("/x")
    async def delete() -> str:
        seen.ran.append("delete")
        return "native delete"

    rule = {"path": "/x", "methods": ["DELETE"], "cutover": "native", "auth": "hooks"}
    gateway = moved(app, twin, seen, {**rule, "accept": SEEN})
    app.wsgi_app = override(app.wsgi_app)  # type: ignore[method-assign]
    with serve(gateway) as url:
        asked = "POST /x HTTP/1.1\nHost: ok\nX-Method: DELETE"
        assert ask(url, asked)[0] == 401
        assert ask(url, f"{asked}\n{TOKEN}") == (200, b'"native delete"')


class VersionedMap(Map):
    """Knows its rules only where a header names the version."""

    def bind_to_environ(self, environ: Any, *args: Any, **more: Any) -> MapAdapter:
        adapter = super().bind_to_environ(environ, *args, **more)
        found = getattr(environ, "environ", environ)
        if found.get("HTTP_X_VERSION") != "1":
            match = adapter.match
            adapter.match = lambda _=None, *a, **k: match("/nowhere", *a, **k)  # type: ignore[method-assign,assignment]
        return adapter


def test_a_map_of_the_app_s_own_is_asked_with_the_real_request() -> None:
    seen = Seen()
    app = Flask("legacy")
    app.url_map = VersionedMap()
    app.add_url_rule("/shop/page", "page", lambda: "legacy page")
    with serve(moved(app, shop_twin(seen), seen, {**OPEN, "prefix": "/shop"})) as url:
        for _ in range(2):
            assert ask(url, ASKED)[0] == 404
            assert ask(url, f"{ASKED}\nX-Version: 1") == (200, b'"native page"')
    assert seen.ran == ["page", "page"]
