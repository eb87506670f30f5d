"""A native path inside a wider view has that view as its legacy side, in every way (F1 14)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import httpx
import pytest
from fastapi import FastAPI, HTTPException
from fastapi.responses import PlainTextResponse

from gateway.exceptions import UseLegacy
from tests.functional.servers import serve
from tests.functional.test_fail_closed import TOKEN, WIDER, Seen, ask, moved, users_app, users_twin

if TYPE_CHECKING:
    from gateway import Gateway

pytestmark = pytest.mark.network

ADMIN_TOKEN = "a-token-of-thirty-two-characters"
RIGHT = {"Authorization": f"Bearer {ADMIN_TOKEN}"}
PATHS = ("/users/export", "/files/a/raw")
LEGACY = {"/users/export": b"legacy export", "/files/a/raw": b"legacy a/raw"}


def asked(path: str, head: str = TOKEN) -> str:
    return f"GET {path} HTTP/1.1\nHost: ok\n{head}"


def administered(seen: Seen, **more: Any) -> Gateway:
    said = {"admin": {"token_env": "GATEWAY_TEST_TOKEN"}, "state": "memory://"}
    rules = [{**rule, "name": f"rule{n}", **more} for n, rule in enumerate(WIDER)]
    return moved(users_app(), users_twin(seen), seen, *rules, **said)


@pytest.mark.parametrize(
    ("page", "body"),
    [
        ("/overrides", {"all": True, "cutover": "legacy"}),
        ("/rollback", {"all": True}),
        ("/rollback", {"route": "rule0"}),
        ("/overrides", {"route": "rule0", "cutover": "legacy"}),
        ("/overrides", {"route": "rule0", "cutover": "shadow"}),
        ("/overrides", {"route": "GET /users/export", "cutover": "legacy"}),
    ],
)
def test_whatever_puts_it_back_puts_it_back_on_that_view(
    page: str, body: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GATEWAY_TEST_TOKEN", ADMIN_TOKEN)
    seen = Seen()
    with serve(administered(seen)) as url:
        assert ask(url, asked("/users/export")) == (200, b'"native"')
        done = httpx.post(f"{url}/-{page}", json={**body, "reason": "a test"}, headers=RIGHT)
        assert done.status_code == 200, done.text
        before = len(seen.ran)
        for path in PATHS if "all" in body else PATHS[:1]:
            assert ask(url, asked(path)) == (200, LEGACY[path])
            assert ask(url, asked(path, "X-Token: no"))[0] == 401
        assert "shadow" in body.values() or len(seen.ran) == before


@pytest.mark.parametrize("cutover", ["legacy", "shadow"])
def test_a_file_that_says_so_leaves_it_to_that_view(cutover: str) -> None:
    seen = Seen()
    rules = [{**rule, "cutover": cutover} for rule in WIDER]
    with serve(moved(users_app(), users_twin(seen), seen, *rules)) as url:
        for path in PATHS:
            assert ask(url, asked(path)) == (200, LEGACY[path])
            assert ask(url, asked(path, "X-Token: no"))[0] == 401


def hands_over() -> None:
    raise UseLegacy


def fails() -> None:
    raise HTTPException(503)


def crashes() -> None:
    raise LookupError


@pytest.mark.parametrize("handler", [hands_over, fails, crashes])
def test_what_native_gives_up_is_answered_by_that_view(handler: Any) -> None:
    seen, native = Seen(), FastAPI()
    native.add_api_route("/users/export", handler)
    native.add_api_route("/files/{name}/raw", lambda name: handler(), response_model=None)
    rules = [{**rule, "failover": True} for rule in WIDER]
    with serve(moved(users_app(), native, seen, *rules)) as url:
        for path in PATHS:
            assert ask(url, asked(path)) == (200, LEGACY[path])
            assert ask(url, asked(path, "X-Token: no"))[0] == 401


def test_one_opened_there_puts_it_back_on_that_view(monkeypatch: pytest.MonkeyPatch) -> None:
    """The view refuses by itself: nothing but its own code knows who may see the export."""
    from flask import Flask, abort, request

    from tests.functional.live import wait_until

    monkeypatch.setenv("GATEWAY_TEST_TOKEN", ADMIN_TOKEN)
    app, native, seen = Flask("legacy"), FastAPI(), Seen()

    @app.get("/users/<name>")
    def show(name: str) -> str:
        if request.headers.get("X-Token") != "t":
            abort(403)
        return f"legacy {name}"

    @native.get("/users/export")
    async def export() -> PlainTextResponse:
        seen.ran.append("export")
        return PlainTextResponse("native")

    rule = {"path": "/users/export", "cutover": "live", "auth": "none", "sample": 100}
    gateway = moved(app, native, seen, rule, state="memory://")
    with serve(gateway) as url:
        assert ask(url, asked("/users/export", "X-Token: no"))[0] == 200
        wait_until(lambda: bool(gateway.control.standing()))
        wait_until(lambda: bool(gateway.snapshots.current.overrides))
        assert ask(url, asked("/users/export", "X-Token: no"))[0] == 403
        assert ask(url, asked("/users/export")) == (200, b"legacy export")
