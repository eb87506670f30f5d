"""Flask's MAX_CONTENT_LENGTH holds on a moved route as it does on its view."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import httpx
import pytest
from fastapi import FastAPI, Request
from flask import Flask, request

from gateway import Gateway
from tests.functional.servers import serve

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.network

LIMIT = 10


def made(*, hooks: bool, handled: bool, rule: dict[str, Any]) -> Gateway:
    legacy, native = Flask("old"), FastAPI()
    legacy.config["MAX_CONTENT_LENGTH"] = LIMIT

    for path in ("/view", "/moved"):

        @legacy.post(path, endpoint=path.strip("/"))
        def view() -> str:
            if request.mimetype.endswith("form-urlencoded"):
                return str(len(request.form.get("a", "")))
            return str(len(request.get_data()))

    if hooks:

        @legacy.before_request
        def before() -> None:
            pass

    if handled:

        @legacy.errorhandler(413)
        def too_large(_: Exception) -> Any:
            return "too large for us", 413

    @native.post("/moved")
    async def moved(request: Request) -> int:
        body = await request.body()
        return len(body.removeprefix(b"a="))

    rule = {"path": "/moved", "methods": ["POST"], "cutover": "native", "auth": "none", **rule}
    return Gateway(legacy=legacy, native=native, config={"version": 1, "routes": [rule]})


def parts(size: int) -> Iterator[bytes]:
    yield b"b" * (size // 2)
    yield b"b" * (size - size // 2)


@pytest.mark.parametrize("hooks", [True, False], ids=["hooks", "no-hooks"])
@pytest.mark.parametrize("handled", [True, False], ids=["handled", "plain"])
def test_a_body_that_the_view_refuses_is_refused(hooks: bool, handled: bool) -> None:
    with serve(made(hooks=hooks, handled=handled, rule={})) as url:
        for size in (0, LIMIT, LIMIT + 1, 1_000_000):
            old, new = (httpx.post(f"{url}/{p}", content=b"b" * size) for p in ("view", "moved"))
            assert (old.status_code, old.text) == (new.status_code, new.text)
            form = {"a": "b" * (size - 2)}
            old, new = (httpx.post(f"{url}/{p}", data=form) for p in ("view", "moved"))
            assert (old.status_code, old.text) == (new.status_code, new.text)
            assert new.status_code == (200 if size <= LIMIT else 413)
        old, new = (httpx.post(f"{url}/{p}", content=parts(LIMIT + 1)) for p in ("view", "moved"))
        assert (old.status_code, old.text) == (new.status_code, new.text)


def test_hooks_skip_leaves_it_to_native() -> None:
    with serve(made(hooks=True, handled=True, rule={"hooks": "skip"})) as url:
        assert httpx.post(f"{url}/moved", content=b"b" * 50).text == "50"
