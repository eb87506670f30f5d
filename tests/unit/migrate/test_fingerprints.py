"""A proof ends with the code that it was made with, and with nothing else."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

from fastapi import Depends, FastAPI, Header, HTTPException
from flask import Flask, abort, request

from gateway import Gateway
from gateway.migrate.prove.fingerprints import fingerprints

if TYPE_CHECKING:
    from collections.abc import Callable


def view() -> str:
    return "view"


def view_changed() -> str:
    if "X-Token" not in request.headers:
        abort(403)
    return "view"


def hook() -> None:
    if "X-Token" not in request.headers:
        abort(401)


def hook_changed() -> None:
    if request.headers.get("X-Token") != "right":
        abort(401)


async def caller(x_token: Annotated[str, Header()] = "") -> str:
    if not x_token:
        raise HTTPException(401)
    return x_token


async def caller_changed(x_token: Annotated[str, Header()] = "") -> str:
    if x_token != "right":
        raise HTTPException(401)
    return x_token


def handler() -> str:
    return "handler"


def handler_changed() -> str:
    return "changed"


def of(
    view: Callable[..., Any] = view,
    hook: Callable[..., Any] = hook,
    handler: Callable[..., Any] = handler,
    depends: Callable[..., Any] = caller,
    guard: str = "caller",
    auth: str = "native",
) -> tuple[str, str] | None:
    flask, native = Flask("prints"), FastAPI(openapi_url=None)
    flask.add_url_rule("/x", "x", view)
    flask.before_request(hook)
    native.add_api_route("/x", handler, dependencies=[Depends(depends)])
    config = {
        "version": 1,
        "auth": {"dependency": f"tests.unit.migrate.test_fingerprints:{guard}"},
        "routes": [{"path": "/x", "methods": ["GET"], "cutover": "legacy", "auth": auth}],
    }
    gateway = Gateway(flask, native, config=config, verify_lock=False)
    route = next(each for each in gateway.table.routes if each.id == "GET /x")
    return fingerprints(gateway, route)


def test_the_same_code_has_the_same_fingerprints() -> None:
    assert of() == of()
    assert of() is not None


def test_each_part_of_the_code_counts() -> None:
    same = of()
    assert same is not None
    legacy, native = same
    for changed in (of(view=view_changed), of(hook=hook_changed)):
        assert changed is not None
        assert (changed[0] != legacy, changed[1]) == (True, native)
    for changed in (of(handler=handler_changed), of(depends=caller_changed)):
        assert changed is not None
        assert (changed[0], changed[1] != native) == (legacy, True)


def test_the_shared_guard_is_part_of_what_it_guards() -> None:
    shared = of(auth="shared")
    changed = of(auth="shared", guard="caller_changed")
    assert shared is not None
    assert changed is not None
    assert (shared[0], shared[1] != changed[1]) == (changed[0], True)
    assert of(guard="caller_changed") == of()


def test_code_that_cannot_be_read_has_none() -> None:
    native = FastAPI(openapi_url=None)
    native.add_api_route("/x", handler)

    def wsgi(environ: Any, start: Any) -> list[bytes]:
        raise NotImplementedError

    rule = {"path": "/x", "methods": ["GET"], "cutover": "native", "auth": "none", "hooks": "skip"}
    gateway = Gateway(wsgi, native, config={"version": 1, "routes": [rule]}, verify_lock=False)
    route = next(each for each in gateway.table.routes if each.rule is not None)
    assert fingerprints(gateway, route) is None
