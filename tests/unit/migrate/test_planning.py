"""Routes and cases become requests."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from fastapi import FastAPI
from flask import Flask

from gateway import Gateway
from gateway.loading import Source
from gateway.migrate.prove.asking import host_of
from gateway.migrate.prove.cases import CasesConfig, Credentials, IdentityConfig
from gateway.migrate.prove.planning import Target, path_of, request_for, targets

if TYPE_CHECKING:
    from gateway.config import Config
    from gateway.routing import RouteTable

NOBODY = IdentityConfig()


def apps() -> tuple[Flask, FastAPI]:
    flask, native = Flask("planning"), FastAPI(openapi_url=None)
    paths = [
        ("/items/<int:item_id>", "/items/{item_id}"),
        ("/prices/<float:price>", "/prices/{price}"),
        ("/keys/<uuid:key>", "/keys/{key}"),
        ("/files/<path:name>", "/files/{name:path}"),
        ("/a b/<x>", "/a b/{x}"),
        ("/plain", "/plain"),
    ]
    for number, (legacy, path) in enumerate(paths):
        flask.add_url_rule(legacy, f"v{number}", lambda **_: "", methods=["GET", "POST"])
        native.add_api_route(path, lambda: "", methods=["GET", "POST"])
    return flask, native


def built(rules: list[dict[str, Any]], **more: Any) -> tuple[Config, RouteTable]:
    flask, native = apps()
    whole = {"version": 1, "routes": rules, **more}
    gateway = Gateway(flask, native, config=whole, verify_lock=False)
    return gateway.snapshots.current.config, gateway.table


def planned(
    rules: list[dict[str, Any]],
    wanted: str | None = None,
    cases: dict[str, Any] | None = None,
    refused: dict[int, str] | None = None,
    **more: Any,
) -> dict[str, Target]:
    config, table = built(rules, **more)
    whole = CasesConfig.model_validate({"version": 1, "identities": {}, **(cases or {})})
    found = targets(table, config, whole, Source("prove.yaml"), refused or {}, wanted)
    return {each.route.id: each for each in found}


ALL = [{"prefix": "/", "cutover": "legacy", "auth": "native", "name": "all"}]


@pytest.mark.parametrize(
    ("route", "values", "path"),
    [
        ("GET /items/{item_id}", {}, "/items/1"),
        ("GET /items/{item_id}", {"item_id": 7}, "/items/7"),
        ("GET /prices/{price}", {}, "/prices/1.0"),
        ("GET /keys/{key}", {}, "/keys/00000000-0000-4000-8000-000000000001"),
        ("GET /files/{name:path}", {"name": "a/b c?.txt"}, "/files/a/b%20c%3F.txt"),
        ("GET /a b/{x}", {"x": "ü/é"}, "/a%20b/%C3%BC%2F%C3%A9"),
        ("GET /plain", {}, "/plain"),
    ],
)
def test_a_path_is_filled_with_values_or_samples(
    route: str, values: dict[str, Any], path: str
) -> None:
    found = planned(ALL, cases={"routes": {route: {"values": values}}})[route]
    assert path_of(found.route, found.case) == path


def test_every_route_of_both_apps_below_a_rule_is_asked_and_no_other() -> None:
    rules = [{"path": "/plain", "methods": ["GET"], "cutover": "legacy", "auth": "native"}]
    assert list(planned(rules)) == ["GET /plain"]
    assert len(planned(ALL)) == 12  # neither HEAD nor OPTIONS


def test_routes_without_a_rule_are_asked_where_they_are_native_by_default() -> None:
    defaults = {"cutover": "native", "auth": "hooks"}
    assert len(planned([], defaults=defaults)) == 12


@pytest.mark.parametrize("wanted", ["all", "/plain", "GET /plain"])
def test_a_route_is_named_as_in_other_commands(wanted: str) -> None:
    assert "GET /plain" in planned(ALL, wanted)


def test_a_named_route_without_a_rule_is_unproved() -> None:
    assert planned([], "GET /plain")["GET /plain"].hindrance == "no rule names it"


def test_a_rule_without_auth_is_unproved() -> None:
    rules = [{"path": "/plain", "methods": ["GET"], "cutover": "shadow"}]
    assert "nothing says who guards it" in planned(rules)["GET /plain"].hindrance


def test_a_rule_that_cannot_be_moved_is_unproved() -> None:
    found = planned(ALL, refused={0: "the app has a dispatch_request of its own"})
    assert found["GET /plain"].hindrance == (
        "it can't be moved: the app has a dispatch_request of its own"
    )


@pytest.mark.parametrize(
    ("reset", "writes", "undoing"),
    [
        (None, None, "nothing"),
        ("shop:reset", None, "reset"),
        (None, {"rollback": "shop:back", "probe": "shop:probe"}, "rollback"),
        ("shop:reset", {"rollback": "shop:back", "probe": "shop:probe"}, "reset"),
    ],
)
def test_a_write_needs_something_that_undoes_it(
    reset: str | None, writes: dict[str, str] | None, undoing: str
) -> None:
    rule = {"path": "/plain", "cutover": "legacy", "auth": "native"}
    # The rule isn't served here, so that what undoes it needn't be imported.
    config, table = built([rule])
    changed = config.routes[0].model_validate({**rule, "writes": writes})
    config = config.model_copy(update={"routes": (changed,)})
    cases = CasesConfig.model_validate({"version": 1, "identities": {}, "reset": reset})
    found = {e.route.id: e for e in targets(table, config, cases, Source("prove.yaml"), {})}
    assert found["POST /plain"].undoing == undoing
    assert bool(found["POST /plain"].hindrance) == (undoing == "nothing")
    assert found["GET /plain"].undoing == "nothing"
    assert not found["GET /plain"].hindrance


def test_a_request_has_what_the_case_and_the_identity_say() -> None:
    case = {"query": "?full=1", "headers": {"X-Token": "case", "Accept": "a/b"}, "json": {"a": 1}}
    found = planned(ALL, cases={"reset": "shop:reset", "routes": {"POST /plain": case}})[
        "POST /plain"
    ]
    ann = IdentityConfig(headers={"x-token": "ann"}, cookies={"a": "1", "s": "old"})
    shown = Credentials.model_validate(
        {"cookies": {"s": "new"}, "csrf": {"header": {"X-CSRFToken": "t"}, "field": {"c": "t"}}}
    )
    request = request_for(found, ann, shown, "shop.test")
    assert (request.method, request.path, request.query) == ("POST", "/plain", "full=1")
    assert request.body == b'{"a": 1}'
    assert request.headers == (
        ("Host", "shop.test"),
        ("Accept", "a/b"),
        ("Content-Type", "application/json"),
        ("x-token", "ann"),
        ("X-CSRFToken", "t"),
        ("Cookie", "a=1; s=new"),
        ("Content-Length", "8"),
    )


def test_a_token_of_csrf_is_a_field_of_a_form_and_nothing_that_reads_has_one() -> None:
    cases = {"reset": "shop:reset", "routes": {"POST /plain": {"form": {"name": "a b"}}}}
    found = planned(ALL, cases=cases)
    shown = Credentials.model_validate({"csrf": {"field": {"c": "t"}, "header": {"X-C": "t"}}})
    write = request_for(found["POST /plain"], NOBODY, shown, "localhost")
    assert write.body == b"name=a+b&c=t"
    assert ("Content-Type", "application/x-www-form-urlencoded") in write.headers
    read = request_for(found["GET /plain"], NOBODY, shown, "localhost")
    assert (read.body, read.headers) == (b"", (("Host", "localhost"),))


def test_a_plain_body_keeps_its_type() -> None:
    case = {"body": "<a/>", "headers": {"content-type": "text/xml"}}
    cases = {"reset": "shop:reset", "routes": {"POST /plain": case}}
    request = request_for(planned(ALL, cases=cases)["POST /plain"], NOBODY, None, "localhost")
    assert request.body == b"<a/>"
    assert [name for name, _ in request.headers] == ["Host", "content-type", "Content-Length"]


def test_the_host_is_the_rules_else_the_apps() -> None:
    flask = Flask("hosts", subdomain_matching=True)
    flask.config["SERVER_NAME"] = "shop.test"
    native = FastAPI(openapi_url=None)
    flask.add_url_rule("/x", "x", lambda: "", subdomain="api")
    flask.add_url_rule("/y", "y", lambda: "")
    native.add_api_route("/x", lambda: "")
    native.add_api_route("/y", lambda: "")
    rules = [{"path": "/y", "host": "*.y.test", "cutover": "legacy", "auth": "none"}]
    gateway = Gateway(flask, native, config={"version": 1, "routes": rules}, verify_lock=False)
    found = {
        (e.id, e.host): host_of(e, flask) for e in gateway.table.routes if e.legacy is not None
    }
    assert found["GET /x", None] == "api.shop.test"
    assert found["GET /y", "*.y.test"] == "any.y.test"
