"""Which route is this? Rules over real apps: selectors, specificity, hosts, catch-alls."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from fastapi import APIRouter, Depends, FastAPI
from fastapi.middleware.cors import CORSMiddleware
from fastapi.security import HTTPBasic
from flask import Blueprint, Flask, abort, request
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Mount

from gateway import ConfigError, Gateway
from gateway.admin.views import listed
from gateway.cutover import decide

if TYPE_CHECKING:
    from collections.abc import Iterable

    from starlette.types import Receive, Scope, Send


def legacy_app(*paths: str, **settings: Any) -> Flask:
    app = Flask("legacy", **settings)
    for entry in paths:
        method, _, path = entry.rpartition(" ")
        app.add_url_rule(path, entry, lambda **_: "legacy", methods=[method or "GET"])
    return app


def native_app(*paths: str) -> FastAPI:
    app = FastAPI()
    for entry in paths:
        method, _, path = entry.rpartition(" ")
        app.add_api_route(path, lambda: "native", methods=[method or "GET"])
    return app


def gateway(legacy: Any, native: Any, *rules: dict[str, Any], **defaults: Any) -> Gateway:
    config = {
        "version": 1,
        "defaults": {"hooks": "skip", **defaults},
        "routes": [{"cutover": "native", "auth": "none", **rule} for rule in rules],
    }
    return Gateway(legacy, native, config)


def scope(path: str, method: str = "GET", host: str = "localhost", **more: Any) -> dict[str, Any]:
    return {
        "type": "http",
        "method": method,
        "path": path,
        "raw_path": path.encode(),
        "root_path": "",
        "query_string": b"",
        "headers": [(b"host", host.encode())],
        **more,
    }


def serves(gate: Gateway, path: str, method: str = "GET", host: str = "localhost") -> str:
    asked = scope(path, method, host)
    decision = decide(gate.table.match(asked), asked, gate.snapshots.current.policy)
    return f"{decision.backend.value} {decision.reason.value}"


def rule_of(gate: Gateway, path: str, method: str = "GET", host: str = "localhost") -> str | None:
    route = gate.table.match(scope(path, method, host)).route
    return route.rule.id if route is not None and route.rule is not None else None


def errors(legacy: Any, native: Any, *rules: dict[str, Any], **defaults: Any) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        gateway(legacy, native, *rules, **defaults)
    return [str(problem) for problem in caught.value.problems if problem.fatal]


def findings(gate: Gateway) -> list[str]:
    """List what `check` refuses, and what legacy serves meanwhile."""
    return [str(problem) for problem in gate.snapshots.current.warnings if problem.finding]


def warnings(gate: Gateway) -> list[str]:
    return [str(problem) for problem in gate.snapshots.current.warnings]


def codes(messages: Iterable[str]) -> list[str]:
    return [message.rpartition("[")[2].rstrip("]") for message in messages]


# -- selectors ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "template", ["/users/<int:id>", "/users/<name>", "/users/{id}", "/users/{any:int}"]
)
def test_a_path_is_a_template_in_either_syntax_and_names_do_not_matter(template: str) -> None:
    gate = gateway(
        legacy_app("/users/<int:user_id>"), native_app("/users/{id}"), {"path": template}
    )
    assert serves(gate, "/users/7") == "native rule"


@pytest.mark.parametrize("path", ["/items", "/items/"])
def test_a_path_names_its_template_with_or_without_the_trailing_slash(path: str) -> None:
    gate = gateway(legacy_app("/items/"), native_app("/items"), {"path": path})
    assert serves(gate, "/items/") == "native rule"
    assert serves(gate, "/items") == "legacy redirect"


def test_a_path_is_no_concrete_url() -> None:
    found = errors(legacy_app("/users/<int:id>"), native_app("/users/{id}"), {"path": "/users/7"})
    assert codes(found) == ["no-match"]


def test_a_path_parameter_that_spans_segments_pairs_only_with_another_such() -> None:
    legacy = legacy_app("/files/<path:p>")
    assert (
        serves(
            gateway(legacy, native_app("/files/{rest:path}"), {"path": "/files/{rest:path}"}),
            "/files/a/b",
        )
        == "native rule"
    )
    assert codes(errors(legacy, native_app("/files/{p}"), {"path": "/files/<path:p>"})) == [
        "no-native"
    ]


def test_a_custom_converter_that_spans_segments_counts_as_a_path() -> None:
    from werkzeug.routing import PathConverter

    class Wide(PathConverter):
        regex = ".+"
        part_isolating = False

    legacy = Flask("legacy")
    legacy.url_map.converters["wide"] = Wide
    legacy.add_url_rule("/w/<wide:p>", "wide", lambda p: p)
    gate = gateway(legacy, native_app("/w/{p:path}"), {"path": "/w/<wide:p>"})
    assert serves(gate, "/w/a/b") == "native rule"


@pytest.mark.parametrize(
    "converter", ["int(min=1)", "any(a,b,'c>d')", "string(length=3)", "float", "uuid"]
)
def test_converter_arguments_do_not_keep_templates_from_pairing(converter: str) -> None:
    gate = gateway(legacy_app(f"/c/<{converter}:v>"), native_app("/c/{v}"), {"path": "/c/{v}"})
    assert [
        route.coverage.value
        for route in gate.table.routes
        if route.method == "GET" and route.label.startswith("/c/")
    ] == ["both"]


def test_a_prefix_owns_whole_segments_only() -> None:
    paths = ("/api", "/api/x", "/api/x/y", "/apix", "/ap")
    gate = gateway(legacy_app(*paths), native_app(*paths), {"prefix": "/api"})
    assert [serves(gate, path).split()[0] for path in paths] == [
        "native", "native", "native", "legacy", "legacy",
    ]  # fmt: skip


def test_a_prefix_may_hold_parameters() -> None:
    paths = ("/t/<tenant>/users", "/t/<tenant>/items")
    gate = gateway(
        legacy_app(*paths, "/t"),
        native_app("/t/{t}/users", "/t/{t}/items", "/t"),
        {"prefix": "/t/{tenant}"},
    )
    assert serves(gate, "/t/acme/users") == "native rule"
    assert serves(gate, "/t") == "legacy both"


def test_the_root_prefix_owns_everything() -> None:
    gate = gateway(legacy_app("/", "/a"), native_app("/", "/a"), {"prefix": "/"})
    assert serves(gate, "/") == "native rule"
    assert serves(gate, "/a") == "native rule"


def test_the_path_slash_names_the_root_alone() -> None:
    gate = gateway(legacy_app("/", "/a"), native_app("/", "/a"), {"path": "/"})
    assert serves(gate, "/") == "native rule"
    assert serves(gate, "/a") == "legacy both"


def blueprints() -> Flask:
    app, shop, admin = Flask("legacy"), Blueprint("shop", __name__), Blueprint("admin", __name__)
    shop.add_url_rule("/cart", "cart", lambda: "cart")
    admin.add_url_rule("/users", "users", lambda: "users")
    shop.register_blueprint(admin, url_prefix="/admin")
    app.register_blueprint(shop, url_prefix="/shop")
    app.add_url_rule("/shopping", "shopping", lambda: "x")
    return app


PARTNERS = ("/shop/cart", "/shop/admin/users", "/shopping")


def test_a_blueprint_owns_the_nested_ones_too() -> None:
    gate = gateway(blueprints(), native_app(*PARTNERS), {"blueprint": "shop"})
    assert [serves(gate, path) for path in PARTNERS] == [
        "native rule",
        "native rule",
        "legacy both",
    ]


def test_a_nested_blueprint_beats_the_one_around_it() -> None:
    gate = gateway(
        blueprints(),
        native_app(*PARTNERS),
        {"blueprint": "shop", "cutover": "legacy"},
        {"blueprint": "shop.admin"},
    )
    assert serves(gate, "/shop/cart") == "legacy rule"
    assert serves(gate, "/shop/admin/users") == "native rule"


def test_an_endpoint_is_flask_s_own_name() -> None:
    gate = gateway(blueprints(), native_app(*PARTNERS), {"endpoint": "shop.admin.users"})
    assert serves(gate, "/shop/admin/users") == "native rule"
    assert serves(gate, "/shop/cart") == "legacy both"


def test_an_endpoint_with_several_rules_moves_all_of_them() -> None:
    legacy = Flask("legacy")
    for path in ("/a", "/b"):
        legacy.add_url_rule(path, "same", str)
    gate = gateway(legacy, native_app("/a", "/b"), {"endpoint": "same"})
    assert (serves(gate, "/a"), serves(gate, "/b")) == ("native rule", "native rule")


def test_a_tag_of_an_included_router_counts() -> None:
    native, router = FastAPI(), APIRouter(tags=["v2"])
    router.add_api_route("/a", lambda: "native")
    native.include_router(router, prefix="/x", tags=["outer"])
    native.add_api_route("/x/b", lambda: "native")
    for tag in ("v2", "outer"):
        gate = gateway(legacy_app("/x/a", "/x/b"), native, {"tag": tag})
        assert (serves(gate, "/x/a"), serves(gate, "/x/b")) == ("native rule", "legacy both")


def test_methods_narrow_a_rule_and_get_includes_head() -> None:
    both = ("GET /a", "POST /a", "PUT /a")
    gate = gateway(legacy_app(*both), native_app(*both), {"path": "/a", "methods": ["get", "PUT"]})
    assert [serves(gate, "/a", m) for m in ("GET", "HEAD", "PUT", "POST")] == [
        "native rule", "native rule", "native rule", "legacy both",
    ]  # fmt: skip


# -- specificity ----------------------------------------------------------------------------------


def test_selectors_rank_path_endpoint_prefix_blueprint_tag() -> None:
    native, router = FastAPI(), APIRouter(tags=["t"])
    router.add_api_route("/shop/cart", lambda: "native")
    native.include_router(router)
    rules = [
        {"name": "tag", "tag": "t"},
        {"name": "blueprint", "blueprint": "shop"},
        {"name": "short", "prefix": "/shop"},
        {"name": "long", "prefix": "/shop/cart"},
        {"name": "endpoint", "endpoint": "shop.cart"},
        {"name": "path", "path": "/shop/cart"},
    ]
    while rules:
        gate = gateway(blueprints(), native, *rules)
        assert rule_of(gate, "/shop/cart") == rules[-1]["name"]
        assert (
            rule_of(gateway(blueprints(), native, *reversed(rules)), "/shop/cart")
            == (rules.pop()["name"])
        )


def test_priority_beats_specificity() -> None:
    gate = gateway(
        legacy_app("/api/x"),
        native_app("/api/x"),
        {"path": "/api/x"},
        {"prefix": "/api", "cutover": "legacy", "priority": 1},
    )
    assert serves(gate, "/api/x") == "legacy rule"


def test_a_rule_with_methods_beats_one_without() -> None:
    gate = gateway(
        legacy_app("GET /a", "POST /a"),
        native_app("GET /a", "POST /a"),
        {"path": "/a", "cutover": "legacy"},
        {"path": "/a", "methods": ["POST"]},
    )
    assert (serves(gate, "/a", "GET"), serves(gate, "/a", "POST")) == ("legacy rule", "native rule")


def test_head_named_itself_beats_head_implied_by_get() -> None:
    gate = gateway(
        legacy_app("/a"),
        native_app("/a"),
        {"path": "/a", "methods": ["GET"]},
        {"path": "/a", "methods": ["HEAD"], "cutover": "legacy"},
    )
    assert (serves(gate, "/a"), serves(gate, "/a", "HEAD")) == ("native rule", "legacy rule")


@pytest.mark.parametrize(
    ("one", "two"),
    [
        ({"path": "/a/<int:x>"}, {"path": "/a/{y}"}),
        ({"path": "/a/{y}"}, {"path": "/a/{y}/"}),
        ({"prefix": "/a"}, {"prefix": "/a/"}),
        ({"path": "/a/{y}", "methods": ["GET"]}, {"path": "/a/{y}", "methods": ["GET", "POST"]}),
        ({"path": "/a/{y}", "host": "x.io"}, {"path": "/a/{y}", "host": "X.io"}),
    ],
)
def test_two_rules_that_claim_a_route_equally_are_an_error_that_names_both(
    one: dict[str, Any], two: dict[str, Any]
) -> None:
    found = errors(
        legacy_app("GET /a/<int:x>", "POST /a/<int:x>"),
        native_app("GET /a/{x}", "POST /a/{x}"),
        {"name": "first", **one},
        {"name": "second", **two},
    )
    (message,) = [m for m in found if "[collision]" in m]
    assert "'first'" in message
    assert "'second'" in message


def test_a_priority_settles_a_collision() -> None:
    gate = gateway(
        legacy_app("/a"),
        native_app("/a"),
        {"path": "/a", "cutover": "legacy"},
        {"path": "/a", "priority": 1},
    )
    assert serves(gate, "/a") == "native rule"


def test_two_hosts_do_not_collide() -> None:
    gate = gateway(
        legacy_app("/a"),
        native_app("/a"),
        {"path": "/a", "host": "one.io"},
        {"path": "/a", "host": "two.io", "cutover": "legacy"},
    )
    assert serves(gate, "/a", host="one.io") == "native rule"
    assert serves(gate, "/a", host="two.io") == "legacy rule"
    assert serves(gate, "/a", host="three.io") == "legacy both"


# -- hosts (B3) -----------------------------------------------------------------------------------


def test_a_host_rule_holds_for_its_host_whatever_the_case_and_port() -> None:
    gate = gateway(legacy_app("/a"), native_app("/a"), {"path": "/a", "host": "shop.io"})
    for host in ("shop.io", "SHOP.io", "shop.io:8000"):
        assert serves(gate, "/a", host=host) == "native rule"
    for host in ("xshop.io", "a.shop.io", "", "[::1]:80", "shop.io.evil"):
        assert serves(gate, "/a", host=host) == "legacy both"


def test_a_wildcard_host_needs_a_label_before_it_and_ranks_below_the_exact_one() -> None:
    gate = gateway(
        legacy_app("/a"),
        native_app("/a"),
        {"path": "/a", "host": "*.shop.io"},
        {"path": "/a", "host": "old.shop.io", "cutover": "legacy"},
        {"path": "/a", "host": "*.deep.shop.io", "cutover": "legacy"},
    )
    assert serves(gate, "/a", host="new.shop.io") == "native rule"
    assert serves(gate, "/a", host="old.shop.io") == "legacy rule"
    assert serves(gate, "/a", host="x.deep.shop.io") == "legacy rule"
    assert serves(gate, "/a", host="shop.io") == "legacy both"
    assert serves(gate, "/a", host=".shop.io").startswith("legacy")


def test_an_exact_host_on_a_prefix_does_not_beat_a_path_rule() -> None:
    gate = gateway(
        legacy_app("/a"),
        native_app("/a"),
        {"prefix": "/", "host": "shop.io", "cutover": "legacy"},
        {"path": "/a"},
    )
    assert serves(gate, "/a", host="shop.io") == "native rule"


def subdomains() -> Flask:
    app = Flask("legacy", subdomain_matching=True)
    app.config["SERVER_NAME"] = "shop.io"
    app.add_url_rule("/", "home", lambda: "home")
    app.add_url_rule("/", "admin", lambda: "admin", subdomain="admin")
    app.add_url_rule("/users/<id>", "users", lambda id: "user")  # noqa: A006
    app.add_url_rule("/users/me", "me", lambda: "me", subdomain="admin")
    return app


@pytest.mark.filterwarnings("ignore:Current server name:UserWarning")  # Werkzeug's own
def test_the_root_of_a_subdomain_is_not_the_root_of_the_default_host() -> None:
    native = native_app("/", "/users/{id}")
    gate = gateway(subdomains(), native, {"path": "/"}, {"path": "/users/{id}"})
    assert serves(gate, "/", host="shop.io") == "native rule"
    assert serves(gate, "/", host="admin.shop.io").startswith("legacy")
    assert serves(gate, "/users/me", host="admin.shop.io").startswith("legacy")
    assert serves(gate, "/users/me", host="shop.io") == "native rule"
    assert serves(gate, "/", host="elsewhere.io").startswith("legacy")


def test_the_default_cutover_does_not_move_a_subdomain_either() -> None:
    gate = Gateway(
        subdomains(),
        native_app("/"),
        {
            "version": 1,
            "defaults": {"cutover": "native", "auth": "shared", "hooks": "skip"},
            "auth": {"dependency": "tests.apps.guards:verify_token", "id": "sub"},
        },
    )
    assert serves(gate, "/", host="shop.io") == "native both"
    assert serves(gate, "/", host="admin.shop.io") == "legacy only_legacy"


def test_a_rule_that_says_the_host_moves_the_subdomain() -> None:
    gate = gateway(subdomains(), native_app("/"), {"path": "/", "host": "admin.shop.io"})
    assert serves(gate, "/", host="admin.shop.io") == "native rule"
    assert serves(gate, "/", host="shop.io") == "legacy both"


def test_an_endpoint_rule_moves_the_subdomain_that_it_names() -> None:
    gate = gateway(subdomains(), native_app("/"), {"endpoint": "admin"})
    assert serves(gate, "/", host="admin.shop.io") == "native rule"
    assert serves(gate, "/", host="shop.io") == "legacy both"


def test_host_matching_keeps_hosts_apart() -> None:
    app = Flask("legacy", host_matching=True, static_host="a.io")
    for host in ("a.io", "b.io"):
        app.add_url_rule("/x", host, lambda: "x", host=host)
    gate = gateway(app, native_app("/x"), {"path": "/x", "host": "b.io"})
    assert serves(gate, "/x", host="a.io").startswith("legacy")
    assert serves(gate, "/x", host="b.io") == "native rule"


# -- what is more specific stays (B3, B3b) --------------------------------------------------------


def test_a_moved_parameter_does_not_swallow_a_static_legacy_route() -> None:
    gate = gateway(
        legacy_app("/users/<name>", "/users/me"), native_app("/users/{id}"), {"path": "/users/{id}"}
    )
    assert serves(gate, "/users/7") == "native rule"
    assert serves(gate, "/users/me") == "legacy only_legacy"


def test_a_flagged_native_route_is_found_under_a_legacy_catch_all() -> None:
    native = native_app("/new", "/new/{id}", "POST /new")
    gate = gateway(
        legacy_app("/<path:p>", "POST /<path:p>"),
        native,
        {"path": "/new", "methods": ["GET"]},
        {"path": "/new/{id}"},
    )
    assert serves(gate, "/new") == "native rule"
    assert serves(gate, "/new/7") == "native rule"
    assert serves(gate, "/new", "POST") == "legacy only_legacy"
    assert serves(gate, "/old") == "legacy only_legacy"


def test_head_of_a_flagged_native_route_under_a_legacy_catch_all_goes_where_get_goes() -> None:
    gate = gateway(legacy_app("/<path:p>"), native_app("/new"), {"path": "/new"})
    assert serves(gate, "/new").split()[0] == "native"
    assert serves(gate, "/new", "HEAD").split()[0] == "native"


def test_an_unflagged_native_route_under_a_legacy_catch_all_is_listed() -> None:
    gate = gateway(legacy_app("/c/<path:p>"), native_app("/c/x", "/d"))
    assert serves(gate, "/c/x") == "legacy only_legacy"
    assert serves(gate, "/d") == "native only_native"
    (message,) = warnings(gate)
    assert "GET /c/x" in message
    assert codes([message]) == ["catch-all"]


def test_a_native_mount_at_the_root_swallows_nothing() -> None:
    native = native_app("/named")
    native.router.routes.append(Mount("/", Starlette()))
    gate = gateway(legacy_app("/old", "/named"), native, {"path": "/named"})
    assert serves(gate, "/old") == "legacy only_legacy"
    assert serves(gate, "/named") == "native rule"
    assert serves(gate, "/nobody") == "legacy neither"
    assert serves(gate, "/old", "DELETE") == "legacy method"


def test_a_native_mount_below_a_prefix_is_native_s() -> None:
    native = FastAPI()
    native.mount("/files", Starlette())
    gate = gateway(legacy_app("/old"), native)
    assert serves(gate, "/files/a") == "native only_native"
    assert serves(gate, "/filesx") == "legacy neither"


def test_two_catch_alls_stay_legacy_until_a_rule_says_otherwise() -> None:
    legacy, native = legacy_app("/<path:p>"), native_app("/{p:path}")
    assert serves(gateway(legacy, native), "/x/y") == "legacy both"
    assert serves(gateway(legacy, native, {"path": "/{p:path}"}), "/x/y") == "native rule"


# -- no partner, other converters -----------------------------------------------------------------


@pytest.mark.parametrize("selector", [{"path": "/a"}, {"endpoint": "GET /a"}])
@pytest.mark.parametrize("more", [{"cutover": "native"}, {"cutover": "canary", "weight": 5}])
def test_a_path_or_endpoint_without_a_native_partner_is_an_error(
    selector: dict[str, Any], more: dict[str, Any]
) -> None:
    found = errors(legacy_app("GET /a"), native_app("/b"), {**selector, **more})
    assert codes(found) == ["no-native"]
    assert "GET /a" in found[0]


def test_a_wide_rule_leaves_routes_without_a_partner_legacy_and_warns() -> None:
    for selector in ({"prefix": "/shop"}, {"blueprint": "shop"}):
        gate = gateway(blueprints(), native_app("/shop/cart"), selector)
        assert serves(gate, "/shop/cart") == "native rule"
        assert serves(gate, "/shop/admin/users") == "legacy only_legacy"
        assert "only-legacy" in codes(warnings(gate))


def test_a_rule_that_says_legacy_needs_no_partner() -> None:
    gate = gateway(legacy_app("/a"), native_app("/b"), {"path": "/a", "cutover": "legacy"})
    assert serves(gate, "/a").startswith("legacy")


def test_a_native_only_route_may_be_switched_off_by_a_rule() -> None:
    gate = gateway(legacy_app("/a"), native_app("/b"), {"path": "/b", "cutover": "legacy"})
    assert serves(gate, "/b") == "legacy rule"


def test_a_canary_of_a_native_only_route_is_an_error() -> None:
    found = errors(
        legacy_app("/a"), native_app("/b"), {"path": "/b", "cutover": "canary", "weight": 5}
    )
    assert codes(found) == ["no-legacy"]


def test_what_flask_s_converter_refuses_stays_legacy_unless_the_rule_opts_in() -> None:
    legacy, native = legacy_app("/x/<int:id>"), native_app("/x/{id}")
    rule = {"path": "/x/{id}"}
    plain = gateway(legacy, native, rule)
    assert serves(plain, "/x/7") == "native rule"
    assert serves(plain, "/x/abc") == "legacy converter"
    assert codes(warnings(plain)) == ["converters-differ"]
    opted = gateway(legacy, native, {**rule, "methods": ["GET"], "on_mismatch": "native"})
    assert serves(opted, "/x/abc") == "native rule"
    silent = gateway(legacy, native, {**rule, "on_mismatch": "legacy"})
    assert serves(silent, "/x/abc") == "legacy converter"
    assert warnings(opted) == warnings(silent) == []


@pytest.mark.parametrize("less", [{"methods": None}, {"auth": None}, {"prefix": "/x"}])
def test_flask_s_404_stays_until_a_rule_names_path_and_methods_and_who_guards(
    less: dict[str, Any],
) -> None:
    rule = {"path": "/x/{id}", "methods": ["GET"], "on_mismatch": "native", **less}
    if "prefix" in rule:
        del rule["path"]
    gate = gateway(legacy_app("/x/<int:id>"), native_app("/x/{id}"), rule)
    assert serves(gate, "/x/abc") in ("legacy converter", "legacy refused")
    assert "mismatch-unguarded" in codes(findings(gate))


def test_an_unmoved_route_answers_what_flask_refuses_as_flask_does() -> None:
    gate = gateway(legacy_app("/x/<int:id>"), native_app("/x/{id}"))
    assert serves(gate, "/x/abc") == "legacy converter"


# -- methods --------------------------------------------------------------------------------------


def test_a_method_that_only_native_has_is_flask_s_405_until_a_rule_names_it() -> None:
    sides = legacy_app("/a"), native_app("GET /a", "PATCH /a", "HEAD /b")
    gate = gateway(*sides)
    assert serves(gate, "/a", "PATCH") == "legacy method"
    assert serves(gate, "/a", "DELETE") == "legacy method"
    assert serves(gate, "/a", "GET") == "legacy both"
    assert codes(warnings(gate)) == ["method-refused"]
    for rule in ({"path": "/a"}, {"prefix": "/a", "methods": ["PATCH"]}):
        assert serves(gateway(*sides, rule), "/a", "PATCH") == "legacy method"
    named = {"path": "/a", "methods": ["PATCH"]}
    gate = gateway(*sides, {**named, "auth": None})
    assert serves(gate, "/a", "PATCH") == "legacy method"
    gate = gateway(*sides, named)
    assert serves(gate, "/a", "PATCH") == "native rule"
    assert serves(gate, "/a", "DELETE") == "legacy method"
    assert warnings(gate) == []


def test_a_native_only_path_answers_405_itself() -> None:
    gate = gateway(legacy_app("/a"), native_app("/n"))
    for method in ("HEAD", "POST", "OPTIONS", "PURGE"):
        assert serves(gate, "/n", method) == "native method"


@pytest.mark.parametrize("method", ["get", "Get", "gEt"])
def test_the_case_of_a_method_does_not_wake_a_retired_view(method: str) -> None:
    """Werkzeug reads `get` as `GET`, so the table must not take it for another method."""
    for path, template in (("/a", "/a"), ("/u/7", "/u/{id}")):
        gate = gateway(
            legacy_app("/a", "/u/<int:id>"), native_app("/a", "/u/{id}"), {"path": template}
        )
        assert serves(gate, path, method).split()[0] == "native"


def preflight(gate: Gateway, path: str, asked: str) -> str:
    headers = [(b"origin", b"https://app.io"), (b"access-control-request-method", asked.encode())]
    request = scope(path, "OPTIONS", headers=headers, client=("10.0.0.1", 5))
    decision = decide(gate.table.match(request), request, gate.snapshots.current.policy)
    return f"{decision.backend.value} {decision.reason.value}"


def crossed(*, cors: bool) -> Gateway:
    native = native_app("GET /a", "POST /a", "PUT /a", "PATCH /n")
    if cors:
        native.add_middleware(CORSMiddleware, allow_origins=["https://app.io"])
    return gateway(
        legacy_app("GET /a", "POST /a", "PUT /a"),
        native,
        {"path": "/a", "methods": ["POST"]},
        {"path": "/a", "methods": ["PUT"], "cutover": "canary", "weight": 100, "sticky": ["ip"]},
    )


def test_a_preflight_goes_to_the_side_of_the_method_that_it_asks_for() -> None:
    gate = crossed(cors=True)
    assert preflight(gate, "/a", "POST") == "native preflight"
    assert preflight(gate, "/a", "GET") == "legacy preflight"
    assert preflight(gate, "/a", "PUT") == "legacy preflight"
    assert preflight(gate, "/n", "PATCH") == "native preflight"
    assert preflight(gate, "/nobody", "GET") == "legacy preflight"


def test_without_cors_middleware_a_preflight_before_the_shared_guard_is_flask_s() -> None:
    """Flask's own OPTIONS asks no handler, so that it isn't guarded; native might ask one."""
    gate = crossed(cors=False)
    assert preflight(gate, "/a", "POST") == "legacy preflight"
    assert preflight(gate, "/a", "GET") == "legacy preflight"
    assert preflight(gate, "/n", "PATCH") == "native method"
    key = {"auth": {"dependency": "tests.apps.guards:verify_token", "id": "sub"}}
    rule = {"path": "/x", "auth": "shared"}
    asked = scope("/x", "OPTIONS")
    asked["headers"] += [(b"origin", b"https://a.test"), (b"access-control-request-method", b"GET")]
    guarded = gateway_of(legacy_app("/x"), native_app("/x"), rule, **key)
    assert guarded.table.match(asked).preflight
    own = Flask("legacy")
    own.add_url_rule("/x", "x", str, methods=["GET", "OPTIONS"], provide_automatic_options=False)
    guarded = gateway_of(own, native_app("/x"), rule, **key)
    assert not guarded.table.match(asked).preflight


def test_options_without_the_preflight_headers_is_the_owner_s() -> None:
    gate = gateway(legacy_app("/a"), native_app("/a"), {"path": "/a"})
    assert serves(gate, "/a", "OPTIONS").startswith("legacy")


# -- spellings ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "path", ["//items/7", "/items//7", "/./items/7", "/Items/7", "/items/7/", "/items/7/.",
             "/items/7 ", "/x/../items/7", "/items/7;a=b",
             "/items/\uff17", "/items/7\n", "\\items\\7", "items/7"],
)  # fmt: skip
def test_another_spelling_is_what_flask_says_and_never_the_retired_view(path: str) -> None:
    legacy = legacy_app("/items/<int:id>")
    gate = gateway(legacy, native_app("/items/{id}"), {"path": "/items/{id}"})
    answer = legacy.test_client().open(
        "/", environ_overrides={"PATH_INFO": path.encode().decode("latin-1")}
    )
    if serves(gate, path).startswith("legacy"):
        assert answer.status_code != 200, "the retired view would run"
    answer.close()


def test_a_root_path_is_no_part_of_the_template() -> None:
    gate = gateway(legacy_app("/items/<id>"), native_app("/items/{id}"), {"path": "/items/{id}"})
    asked = scope("/app/items/7", root_path="/app")
    route = gate.table.match(asked).route
    assert route is not None
    assert route.label == "/items/{id}"
    assert serves(gate, "/app/items/7") == "legacy neither"


# -- apps whose routes can't be listed ------------------------------------------------------------


def wsgi(environ: Any, start_response: Any) -> list[bytes]:
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"wsgi"]


async def asgi(scope: Scope, receive: Receive, send: Send) -> None:
    await PlainTextResponse("asgi")(scope, receive, send)


def test_any_wsgi_app_works_by_path_and_prefix() -> None:
    native = native_app("/items/{id}", "/api/x", "/api/y", "/free")
    gate = gateway(wsgi, native, {"path": "/items/{id}"}, {"prefix": "/api"})
    assert serves(gate, "/items/7") == "native rule"
    assert serves(gate, "/items/7", "HEAD").split()[0] == "native"
    assert serves(gate, "/api/x") == "native rule"
    assert serves(gate, "/apix") == "legacy neither"
    assert serves(gate, "/free") == "legacy both"


@pytest.mark.parametrize("path", ["/items/", "//items", "/Items", "/./items"])
def test_no_spelling_of_a_moved_path_falls_back_to_an_unlisted_legacy_app(path: str) -> None:
    """A WSGI app may be lenient about spellings, so that its retired handler would run."""
    gate = gateway(wsgi, native_app("/items"), {"path": "/items"})
    assert serves(gate, path).split()[0] == "native"


def test_any_asgi_app_works_by_path_and_prefix() -> None:
    legacy = legacy_app("/items/<int:id>", "/api/x", "/free", "/files/<path:p>")
    gate = gateway(legacy, asgi, {"path": "/items/{id}"}, {"prefix": "/api"}, {"path": "/files/v2"})
    assert serves(gate, "/items/7") == "native rule"
    assert serves(gate, "/api/x") == "native rule"
    assert serves(gate, "/api/new") == "native rule"
    assert serves(gate, "/apix") == "legacy neither"
    assert serves(gate, "/free") == "legacy only_legacy"
    assert serves(gate, "/files/v2") == "native rule"
    assert serves(gate, "/files/v1") == "legacy only_legacy"


@pytest.mark.parametrize("path", ["/API/X", "//api/x", "/./api//x", "/api/x/", "/q/../api/x"])
def test_two_unlisted_apps_are_split_by_prefix_in_every_spelling(path: str) -> None:
    gate = gateway(wsgi, asgi, {"prefix": "/api"})
    assert serves(gate, path) == "native rule"
    assert serves(gate, "/other") == "legacy neither"


@pytest.mark.parametrize("selector", [{"blueprint": "shop"}, {"endpoint": "a"}])
def test_flask_selectors_are_refused_for_another_wsgi_app(selector: dict[str, Any]) -> None:
    assert codes(errors(wsgi, native_app("/a"), selector)) == ["needs-flask"]


def test_a_tag_is_refused_for_another_asgi_app() -> None:
    assert "needs-fastapi" in codes(errors(legacy_app("/a"), asgi, {"tag": "t"}))


def test_without_a_native_app_everything_is_legacy() -> None:
    gate = gateway(legacy_app("/a"), None)
    assert serves(gate, "/a") == "legacy only_legacy"
    assert serves(gate, "/b") == "legacy neither"
    assert codes(errors(legacy_app("/a"), None, {"path": "/a"})) == ["no-native"]


# -- names ----------------------------------------------------------------------------------------


def test_an_unnamed_rule_has_an_id_of_its_selector_whatever_its_position() -> None:
    rules: list[dict[str, Any]] = [{"path": "/a", "methods": ["POST", "GET"]}, {"prefix": "/b"}]
    apps = legacy_app("GET /a", "POST /a", "/b/c"), native_app("GET /a", "POST /a", "/b/c")
    ids = {rule.id for rule in gateway(*apps, *rules).table.rules}
    assert ids == {rule.id for rule in gateway(*apps, *reversed(rules)).table.rules}
    assert len(ids) == 2


def test_a_route_is_called_by_method_and_template_in_one_syntax() -> None:
    gate = gateway(legacy_app("/users/<int:id>", "/f/<path:p>"), native_app("/n/{x:int}"))
    ids = {route.id for route in gate.table.routes}
    assert {"GET /users/{id}", "GET /f/{p:path}", "GET /n/{x}"} <= ids


# -- who guards HEAD and OPTIONS ------------------------------------------------------------------


def guarded_app(**options: Any) -> Flask:
    app = Flask("legacy")

    def view() -> str:
        if not request.authorization:
            abort(401)
        return "legacy"

    app.add_url_rule("/secret", "secret", view, **options)
    return app


def every_method(*paths: str, **options: Any) -> FastAPI:
    app = FastAPI(**options)
    for path in paths:
        app.add_api_route(path, lambda: "native", methods=["GET", "HEAD", "OPTIONS"])
    return app


def hooked(app: Flask) -> Flask:
    """Add a hook that refuses callers, so that `auth: hooks` has something to say."""

    @app.before_request
    def nobody_without_a_token() -> None:
        if request.headers.get("X-Token") != "t":
            abort(403)

    return app


BY_HOOKS = {"auth": "hooks", "hooks": "inherit"}


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_a_view_that_guards_itself_is_not_moved_by_its_head_either(method: str) -> None:
    rule = {"path": "/secret", "methods": [method]}
    for said, code in (({"auth": None}, "auth-missing"), (BY_HOOKS, "guards-itself")):
        gate = gateway(hooked(guarded_app()), native_app("/secret"), {**rule, **said})
        (found,) = findings(gate)
        assert codes([found]) == [code]
        assert f"{method} /secret" in found
        assert serves(gate, "/secret", method) == "legacy refused"


def test_options_that_the_view_answers_itself_is_guarded_by_it_flask_s_own_is_not() -> None:
    own = hooked(guarded_app(methods=["GET", "OPTIONS"], provide_automatic_options=False))
    native = native_app("/secret", "OPTIONS /secret")
    rule = {"path": "/secret", "methods": ["OPTIONS"], **BY_HOOKS}
    gate = gateway(own, native, rule)
    assert codes(findings(gate)) == ["guards-itself"]
    assert serves(gate, "/secret", "OPTIONS") == "legacy refused"
    gate = gateway(hooked(guarded_app()), native, rule)
    assert findings(gate) == []
    assert serves(gate, "/secret", "OPTIONS") == "native rule"


@pytest.mark.parametrize("rule", [{"methods": ["OPTIONS"]}, {}])
def test_a_handler_for_several_methods_opens_none_of_them(rule: dict[str, Any]) -> None:
    rule = {"path": "/secret", **rule}
    for said, code in (({"auth": None}, "auth-missing"), (BY_HOOKS, "guards-itself")):
        gate = gateway(hooked(guarded_app()), every_method("/secret"), {**rule, **said})
        assert codes(findings(gate)) == [code]
        assert serves(gate, "/secret", "OPTIONS") == "legacy refused"


def test_a_handler_for_options_opens_no_other_view_of_its_path() -> None:
    """Flask's own OPTIONS belongs to the first rule of a path, the handler to any of them."""
    flask = Flask("legacy")
    flask.add_url_rule("/secret", "open", lambda: "legacy")
    flask.add_url_rule("/secret", "shut", lambda: abort(401), methods=["POST"])
    native = native_app("/secret")
    native.add_api_route("/secret", lambda: "native", methods=["POST", "OPTIONS"])
    gate = gateway(hooked(flask), native, {"path": "/secret", **BY_HOOKS})
    assert serves(gate, "/secret") == "native rule"
    assert serves(gate, "/secret", "POST") == "legacy refused"
    assert serves(gate, "/secret", "OPTIONS") == "legacy refused"


def test_a_method_that_flask_s_guarded_view_does_not_have_is_not_opened_by_its_handler() -> None:
    alone = FastAPI()
    alone.add_api_route("/secret", lambda: "native", methods=["GET", "PUT"])
    for rule in ((), ({"path": "/secret"},), ({"path": "/secret", "cutover": "legacy"},)):
        gate = gateway(guarded_app(), alone, *rule)
        assert serves(gate, "/secret", "PUT") == "legacy method"


def test_a_native_route_taken_from_a_wider_view_has_to_say_auth() -> None:
    flask = Flask("legacy")
    flask.add_url_rule("/<path:rest>", "wide", lambda rest: abort(401))
    hooked(flask)
    native = native_app("/new")
    for said, code in (({"auth": None}, "auth-missing"), (BY_HOOKS, "guards-itself")):
        gate = gateway(flask, native, {"path": "/new", **said})
        assert codes(findings(gate)) == [code]
        assert serves(gate, "/new") == "legacy refused"
    gate = gateway(flask, native, {"path": "/new"})
    assert findings(gate) == []
    assert serves(gate, "/new") == "native rule"


@pytest.mark.parametrize("method", ["HEAD", "OPTIONS"])
@pytest.mark.parametrize("auth", ["shared", "native"])
def test_a_rule_for_head_or_options_says_auth_where_that_of_get_does(
    method: str, auth: str
) -> None:
    sides = legacy_app("/x"), every_method("/x", dependencies=[Depends(HTTPBasic())])
    get = {"path": "/x", "methods": ["GET"], "auth": auth}
    other: dict[str, Any] = {"path": "/x", "methods": [method]}
    key = {"auth": {"dependency": "tests.apps.guards:verify_token", "id": "sub"}}
    with pytest.raises(ConfigError) as caught:
        gateway_of(*sides, get, other, **key)
    assert [each.code for each in caught.value.problems if each.fatal] == ["auth-differs"]
    assert [each.code for each in caught.value.problems if each.finding] == ["auth-missing"]
    for rules in ((get, {**other, "auth": auth}), ({**get, "methods": None},)):
        gate = gateway_of(*sides, *rules, **key)
        assert findings(gate) == []
        held = [each for each in gate.table.routes if each.id in ("GET /x", f"{method} /x")]
        assert [each.auth for each in held] == [auth, auth]


def test_unlisted_apps_have_the_head_of_a_guarded_get_guarded_too() -> None:
    key = {"auth": {"dependency": "tests.apps.guards:verify_token", "id": "sub"}}
    rules = {"prefix": "/", "auth": "shared"}, {"path": "/x", "methods": ["HEAD"]}
    with pytest.raises(ConfigError) as caught:
        gateway_of(wsgi, asgi, *rules, **key)
    assert [each.code for each in caught.value.problems if each.fatal] == ["auth-differs"]


def test_a_preflight_runs_no_handler_past_the_shared_guard() -> None:
    key = {"auth": {"dependency": "tests.apps.guards:verify_token", "id": "sub"}}
    gate = gateway_of(legacy_app("/x"), every_method("/x"), {"path": "/x", "auth": "shared"}, **key)
    asked = scope("/x", "OPTIONS")
    asked["headers"] += [(b"origin", b"https://a.test"), (b"access-control-request-method", b"GET")]
    match = gate.table.match(asked)
    assert match.forced is None
    assert match.route is not None
    assert match.route.auth == "shared"


def test_head_and_options_have_a_row_where_they_differ_from_get() -> None:
    get, head = {"path": "/x", "methods": ["GET"]}, {"path": "/x", "methods": ["HEAD"]}
    sides = legacy_app("/x"), native_app("/x")
    rows = {
        name: [each.id for each in listed(gateway(*sides, *rules).snapshots.current)]
        for name, rules in {
            "alike": (get,),
            "other cutover": (get, {**head, "cutover": "legacy"}),
            "other auth": ({**get, "auth": "native"}, head),
        }.items()
    }
    assert "HEAD /x" not in rows["alike"]
    assert "HEAD /x" in rows["other cutover"]
    assert "HEAD /x" in rows["other auth"]


def gateway_of(legacy: Any, native: Any, *rules: dict[str, Any], **config: Any) -> Gateway:
    routes = [{"cutover": "native", "hooks": "skip", **rule} for rule in rules]
    return Gateway(legacy, native, {"version": 1, "routes": routes, **config})
