"""No client can make a false `opened`, and none can hide a true one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import httpx
import pytest
from fastapi import FastAPI, Header, HTTPException
from flask import Flask, abort, request

from tests.functional.live import wait_until
from tests.functional.servers import serve
from tests.functional.test_opened import made, own_folder, settled, verdicts

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["own_folder"]
pytestmark = pytest.mark.network


def test_a_path_that_flask_never_answered_is_no_proof() -> None:
    """`on_mismatch: native` means that native answers there: legacy's 404 is what was asked for."""
    flask, native = Flask("legacy"), FastAPI()
    flask.add_url_rule("/items/<int:number>", "item", lambda number: "x")

    @native.get("/items/{number}")
    async def item(number: str) -> str:
        return "x"

    rule = {"path": "/items/<int:number>", "methods": ["GET"], "cutover": "live", "auth": "none"}
    gateway = made(flask, native, {**rule, "on_mismatch": "native"})
    with serve(gateway) as url:
        assert httpx.get(f"{url}/items/5.0").status_code == 200
        wait_until(lambda: not gateway.mirrors.in_flight)
        assert httpx.get(f"{url}/items/5").status_code == 200
        settled(gateway)
        assert "opened" not in verdicts(gateway)
        assert httpx.get(f"{url}/items/5").headers["x-served-by"] == "native"


def guarded(*, natively: bool) -> tuple[Flask, FastAPI]:
    flask, native = Flask("legacy"), FastAPI()

    def view() -> str:
        if request.headers.get("X-Key") != "good":
            abort(401)
        return "x"

    flask.add_url_rule("/a", "a", view)

    @native.get("/a")
    async def handler(x_key: str = Header("")) -> str:
        if natively and x_key != "good":
            raise HTTPException(401)
        return "x"

    return flask, native


LIVE = {"path": "/a", "cutover": "live", "auth": "none"}
TWICE = [("X-Key", "good"), ("X-Key", "again")]


def test_a_header_that_is_sent_twice_is_read_otherwise_by_each_side() -> None:
    """Flask joins both lines, Starlette takes the first; nobody is let in who wasn't."""
    gateway = made(*guarded(natively=True), LIVE)
    with serve(gateway) as url:
        assert httpx.get(f"{url}/a", headers=TWICE).status_code == 200
        settled(gateway)
        assert verdicts(gateway) == {"raced": 1}
        assert httpx.get(f"{url}/a", headers=TWICE).headers["x-served-by"] == "native"


def a_body(url: str) -> None:
    httpx.request("GET", f"{url}/a", content=b"nobody reads this")


def a_long_body(url: str) -> None:
    httpx.request("GET", f"{url}/a", content=b"x" * 3_000_000)


def an_upgrade(url: str) -> None:
    httpx.get(f"{url}/a", headers={"Upgrade": "h2c"})


def two_lines(url: str) -> None:
    httpx.get(f"{url}/a", headers=[("X-Key", "1"), ("X-Key", "2"), ("X-Other", "1"),
                                   ("X-Other", "2")])  # fmt: skip


@pytest.mark.parametrize("hiding", [a_body, a_long_body, an_upgrade, two_lines])
def test_nothing_in_a_request_hides_whom_native_lets_in(hiding: Callable[[str], Any]) -> None:
    gateway = made(*guarded(natively=False), LIVE)
    with serve(gateway) as url:
        hiding(url)
        settled(gateway)
        assert "opened" in verdicts(gateway)
