"""`check` names a move that browsers would notice: CORS is lost, or comes."""

from __future__ import annotations

from typing import Any

import flask_cors
import pytest
from fastapi import APIRouter, FastAPI
from fastapi.middleware.cors import CORSMiddleware
from flask import Blueprint, Flask

from gateway import Gateway
from gateway.flask import FlaskRoute
from tests.functional.inprocess import asking


def apps(*, flask: str = "", fastapi: bool = False) -> tuple[Flask, FastAPI]:
    """Make two apps; in Flask the `app`, a `blueprint`, its `parent` or the `view` speaks CORS."""
    legacy, native = Flask("cors"), FastAPI()
    parent, shop = Blueprint("parent", "cors"), Blueprint("shop", "cors")

    def items() -> str:
        return "legacy"

    shop.add_url_rule(
        "/items", "items", flask_cors.cross_origin()(items) if "view" in flask else items
    )
    if flask == "blueprint":
        flask_cors.CORS(shop)
    if flask == "parent":
        flask_cors.CORS(parent)
    parent.register_blueprint(shop)
    legacy.register_blueprint(parent)
    native.add_api_route("/items", lambda: "native")
    if flask == "app":
        flask_cors.CORS(legacy)
    if flask == "beside":
        other = Blueprint("other", "cors")
        flask_cors.CORS(other)
        legacy.register_blueprint(other)
    if fastapi:
        native.add_middleware(CORSMiddleware, allow_origins=["*"])
    return legacy, native


def moved(legacy: Flask, native: FastAPI, **keys: str) -> Gateway:
    rule = {"path": "/items", "cutover": "native", "auth": "none", **keys}
    return Gateway(legacy, native, {"version": 1, "routes": [rule]})


def told(gateway: Gateway) -> list[str]:
    return [each.next for each in gateway.snapshots.current.warnings if each.code == "cors-differs"]


@pytest.mark.parametrize("flask", ["app", "blueprint", "parent"])
def test_an_inherited_hook_takes_cors_along(flask: str) -> None:
    assert told(moved(*apps(flask=flask))) == []


@pytest.mark.parametrize("flask", ["app", "blueprint", "parent"])
def test_cors_is_lost_where_the_hooks_are_skipped(flask: str) -> None:
    [next_] = told(moved(*apps(flask=flask), hooks="skip"))
    assert "hooks: inherit" in next_


def test_cors_that_is_the_view_s_own_is_lost() -> None:
    [next_] = told(moved(*apps(flask="view")))
    assert "@cross_origin" in next_


def test_the_hooks_of_another_blueprint_are_not_the_route_s() -> None:
    assert told(moved(*apps(flask="beside"), hooks="skip")) == []


def test_a_flask_route_keeps_the_hooks_whatever_the_rule_says() -> None:
    legacy, _ = apps(flask="app")
    native, router = FastAPI(), APIRouter(route_class=FlaskRoute)
    router.add_api_route("/items", lambda: "native")
    native.include_router(router)
    assert told(moved(legacy, native, hooks="skip")) == []


def test_cors_that_only_native_has_is_named() -> None:
    assert len(told(moved(*apps(fastapi=True)))) == 1


@pytest.mark.parametrize("hooks", ["inherit", "skip"])
@pytest.mark.parametrize("both", [True, False])
def test_equal_sides_are_silent(both: bool, hooks: str) -> None:
    assert told(moved(*apps(flask="app" if both else "", fastapi=both), hooks=hooks)) == []


@pytest.mark.parametrize("cutover", ["legacy", "shadow"])
def test_nothing_is_said_before_a_route_has_moved(cutover: str) -> None:
    assert told(moved(*apps(flask="view"), cutover=cutover)) == []


ORIGIN = {"Origin": "https://shop.example"}


def asked(client: Any, method: str = "OPTIONS") -> tuple[int, str | None, str | None]:
    headers = ORIGIN | {"Access-Control-Request-Method": "GET"} if method == "OPTIONS" else ORIGIN
    answer = client.request(method, "/items", headers=headers)
    allowed = (answer.headers.get(f"access-control-allow-{name}") for name in ("origin", "methods"))
    return (answer.status_code, *allowed)


@pytest.mark.parametrize("flask", ["app", "blueprint", "parent"])
def test_browsers_see_no_difference_where_nothing_is_named(flask: str) -> None:
    """A preflight needs a 2xx (Fetch, section 4.8): native alone would say 405."""
    legacy, native = apps(flask=flask)
    with asking(moved(legacy, native)) as client:
        assert client.get("/items").json() == "native"
        for method in ("GET", "OPTIONS"):
            answer = legacy.test_client().open(
                "/items",
                method=method,
                headers=ORIGIN | {"Access-Control-Request-Method": "GET"},
            )
            origin = answer.headers.get("Access-Control-Allow-Origin")
            status, allowed, methods = asked(client, method)
            assert (status, allowed) == (answer.status_code, origin)
            assert status == 200
            assert (methods is not None) == (method == "OPTIONS")


def test_a_middleware_of_cors_s_kind_answers_preflights_of_its_own_routes() -> None:
    class Ours(CORSMiddleware):
        pass

    legacy, native = apps(flask="app")
    native.add_middleware(Ours, allow_origins=["https://shop.example"], allow_methods=["GET"])
    with asking(moved(legacy, native)) as client:
        assert asked(client) == (200, "https://shop.example", "GET")


def test_a_native_handler_for_options_answers_its_preflights() -> None:
    legacy, native = apps()
    native.add_api_route("/items", lambda: "options", methods=["OPTIONS"])
    with asking(moved(legacy, native)) as client:
        headers = ORIGIN | {"Access-Control-Request-Method": "GET"}
        assert client.request("OPTIONS", "/items", headers=headers).json() == "options"
