"""Overrides as plain values: what a command means, what it does to the table, when it ends."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from fastapi import FastAPI
from flask import Flask, abort, request

from gateway import Gateway
from gateway.admin.views import overrides as overrides_of
from gateway.building import Builder
from gateway.changes import ChangeRefused, Wanted, ended, outlived, plan
from gateway.cutover import decide
from gateway.held import Held
from gateway.loading import load_mapping
from gateway.native import NativeApp
from gateway.overrides import ALL, Override, outdated, resolve, said
from gateway.routing import Backend, Coverage, Reason, scope_of
from gateway.store import after

if TYPE_CHECKING:
    from gateway.snapshot import Snapshot

NOW = 1_000_000.0
NOTHING = Held()
CONFIG: dict[str, Any] = {
    "version": 1,
    "routes": [
        {"name": "users", "prefix": "/users", "cutover": "canary", "auth": "none", "weight": 10},
        {"name": "guarded", "path": "/guarded", "cutover": "legacy"},
    ],
}
MOVING = {"cutover": "native", "auth": "hooks"}


def apps() -> tuple[Flask, FastAPI]:
    flask, native = Flask("legacy"), FastAPI(openapi_url=None)

    @flask.before_request
    def nobody_without_a_token() -> None:
        if request.headers.get("X-Token") != "t":
            abort(403)

    def guarded() -> Any:
        if not request.authorization:
            abort(401)
        return ""

    for path in ("/users/<int:id>", "/users/me", "/open"):
        flask.add_url_rule(path, path, lambda **_: "")
        native.add_api_route(path.replace("<int:id>", "{id:int}"), lambda: "")
    flask.add_url_rule("/open", "post", lambda: "", methods=["POST"])
    flask.add_url_rule("/guarded", "guarded", guarded)
    flask.add_url_rule("/old", "old", lambda: "")
    native.add_api_route("/guarded", lambda: "")
    native.add_api_route("/new", lambda: "")
    return flask, native


FLASK, NATIVE = apps()


def build(held: Held = NOTHING, config: dict[str, Any] | None = None) -> Snapshot:
    loaded = load_mapping(config or CONFIG, {})
    return Builder(FLASK, NativeApp(NATIVE), None, None, locked=False).build(loaded, held, NOW)


def override(route: str, cutover: str = "legacy", **more: Any) -> Override:
    values: dict[str, Any] = {"weight": None, "kind": "set", "author": "", "reason": ""}
    values |= {"since": NOW, "expires": None, "replaced": ""} | more
    return Override(route=route, cutover=cutover, **values)  # type: ignore[arg-type]


def served(snapshot: Snapshot, path: str, method: str = "GET") -> tuple[Backend, Reason]:
    scope = scope_of(method, path)
    decision = decide(snapshot.table.match(scope), scope, snapshot.policy)
    return decision.backend, decision.reason


@pytest.mark.parametrize(
    ("wanted", "ids", "alone"),
    [
        ("users", ("users",), ()),
        ("GET /users/{id}", ("GET /users/{id}", "HEAD /users/{id}"), ()),
        ("get /users/{anything}", ("GET /users/{id}", "HEAD /users/{id}"), ()),
        ("GET /users/<int:id>", ("GET /users/{id}", "HEAD /users/{id}"), ()),
        ("/open", ("GET /open", "HEAD /open"), ("POST /open",)),
        ("POST /open", (), ("POST /open",)),
        ("/old", (), ("GET /old",)),
        ("/new", (), ("GET /new",)),
        ("nobody", (), ()),
        ("GET /nowhere", (), ()),
        ("", (), ()),
        ("GET", (), ()),
    ],
)
def test_what_a_route_of_a_command_means(
    wanted: str, ids: tuple[str, ...], alone: tuple[str, ...]
) -> None:
    found = resolve(wanted, build().table)
    assert (set(found.ids), set(found.alone)) == (set(ids), set(alone))


def test_a_routes_own_override_beats_its_rules() -> None:
    held = Held(2, (override("users", "native"), override("GET /users/me", "legacy")))
    snapshot = build(held)
    assert served(snapshot, "/users/1") == (Backend.NATIVE, Reason.OVERRIDE)
    assert served(snapshot, "/users/me") == (Backend.LEGACY, Reason.OVERRIDE)
    assert served(snapshot, "/open") == (Backend.LEGACY, Reason.BOTH)
    assert snapshot.revision.endswith("-2")


def test_a_canarys_weight_is_overridden() -> None:
    snapshot = build(Held(1, (override("users", "canary", weight=100.0),)))
    assert served(snapshot, "/users/1") == (Backend.NATIVE, Reason.CANARY)


def test_the_kill_switch_beats_every_override() -> None:
    snapshot = build(Held(1, (override("users", "native"), override(ALL))))
    assert served(snapshot, "/users/1") == (Backend.LEGACY, Reason.KILL_SWITCH)
    assert served(snapshot, "/new")[0] is Backend.NATIVE


def test_what_has_expired_is_out_of_force() -> None:
    held = Held(1, (override("users", "native", expires=NOW), override(ALL, expires=NOW - 1)))
    snapshot = build(held)
    assert snapshot.overrides == {}
    assert not snapshot.policy.kill_switch
    change = ended(held, NOW)
    assert change is not None
    assert after(held, change).overrides == ()
    assert {entry.action for entry in change.entries} == {"expire"}
    assert ended(Held(1, (override("users", expires=NOW + 1),)), NOW) is None


def test_no_override_opens_what_check_would_refuse() -> None:
    """The view guards itself, and its rule doesn't say who guards the native handler."""
    snapshot = build(Held(1, (override("guarded", "native"), override("users", "native"))))
    assert "auth-missing" in snapshot.ignored["guarded"]
    assert served(snapshot, "/guarded")[0] is Backend.LEGACY
    assert served(snapshot, "/users/1")[0] is Backend.NATIVE, "the others hold"


def test_an_override_ends_with_the_line_that_it_replaced_and_a_rollback_does_not() -> None:
    config = load_mapping(CONFIG, {}).config
    table = build().table
    assert said("users", config, table) == "canary 10%"
    assert said("GET /users/me", config, table) == "canary 10%"
    assert said("GET /open", config, table) == "legacy"
    assert said(ALL, config, table) == "kill_switch false"
    assert said("gone", config, table) == ""
    held = Held(
        5,
        (
            override("users", "native", replaced="canary 10%"),
            override("GET /users/me", "native", replaced="canary 5%"),
            override("guarded", kind="rollback", replaced="native"),
            override("gone", replaced="native"),
            override(ALL, replaced="kill_switch false"),
        ),
    )
    over = outdated(held.overrides, config, table)
    assert [each.route for each in over] == ["GET /users/me", "gone"]
    assert {e.route for e in after(held, outlived(over, NOW)).overrides} == {
        "users", "guarded", ALL,
    }  # fmt: skip


def planned(wanted: Wanted, held: Held = NOTHING) -> Held:
    config = load_mapping(CONFIG, {}).config
    return after(held, plan(wanted, config, build().table, held, NOW).change)


def test_setting_a_rule_ends_the_overrides_of_its_routes() -> None:
    """Else a rollback of the rule would leave a route where it is."""
    held = Held(1, (override("GET /users/me", "native"), override("GET /open", "native")))
    held = planned(Wanted("rollback", "users"), held)
    assert {each.route for each in held.overrides} == {"users", "GET /open"}
    assert held.overrides[-1].kind == "rollback"
    assert held.overrides[-1].replaced == "canary 10%"


def test_clearing() -> None:
    held = Held(1, (override("users"), override("GET /users/me"), override("vanished")))
    assert {e.route for e in planned(Wanted("clear", "users"), held).overrides} == {
        "GET /users/me", "vanished",
    }  # fmt: skip
    assert len(planned(Wanted("clear", "vanished"), held).overrides) == 2
    assert planned(Wanted("clear", None), held).overrides == ()
    assert planned(Wanted("clear", "/users/me"), held).overrides != held.overrides


def test_clearing_a_get_clears_its_head() -> None:
    held = planned(Wanted("set", "GET /users/me", "native"))
    assert {e.route for e in held.overrides} == {"GET /users/me", "HEAD /users/me"}
    assert planned(Wanted("clear", "GET /users/me"), held).overrides == ()


def refused(wanted: Wanted, held: Held, config: dict[str, Any] = CONFIG) -> str:
    table = build(held, config).table
    with pytest.raises(ChangeRefused) as why:
        plan(wanted, load_mapping(config, {}).config, table, held, NOW)
    return str(why.value)


def test_nothing_is_set_over_a_rollback() -> None:
    """It stays until somebody clears it: also with its rule set, or for a while."""
    held = planned(Wanted("rollback", "GET /users/me", author="ann", reason="wrong totals"))
    for wanted in (
        Wanted("set", "GET /users/me", "native", seconds=60),
        Wanted("set", "/users/me", "canary", 5.0),
    ):
        assert "was rolled back by ann (wrong totals): clear that first" in refused(wanted, held)
    config = load_mapping(CONFIG, {}).config
    found = plan(Wanted("set", "users", "native"), config, build(held).table, held, NOW)
    assert found.skipped == ("GET /users/me", "HEAD /users/me")
    snapshot = build(after(held, found.change))
    assert served(snapshot, "/users/me")[0] is Backend.LEGACY
    assert served(snapshot, "/users/1")[0] is Backend.NATIVE
    held = planned(Wanted("rollback", "users"), held)
    assert len(held.overrides) == 3, "a route's own rollback isn't lost in its rule's"
    assert "'users' was rolled back" in refused(Wanted("set", "GET /users/{id}", "native"), held)
    assert "--all was rolled" in refused(
        Wanted("set", None, "legacy"), planned(Wanted("rollback", None))
    )


def test_what_a_set_ends_is_written_down() -> None:
    held = planned(Wanted("set", "GET /users/me", "native"))
    config = load_mapping(CONFIG, {}).config
    found = plan(Wanted("set", "users", "canary", 50.0), config, build(held).table, held, NOW)
    assert [(e.action, e.route, e.before, e.after) for e in found.change.entries] == [
        ("set", "users", "canary 10%", "canary 50%"),
        ("drop", "GET /users/me", "native", "canary 50%"),
        ("drop", "HEAD /users/me", "native", "canary 50%"),
    ]


def test_rolling_back_all_leaves_what_only_native_has() -> None:
    config = load_mapping(CONFIG, {}).config
    found = plan(Wanted("rollback", None), config, build().table, Held(), NOW)
    assert found.routes == (ALL,)
    assert found.skipped == ("GET /new",)
    found = plan(Wanted("rollback", "/new"), config, build().table, Held(), NOW)
    assert (found.routes, found.skipped) == ((), ("GET /new",))


@pytest.mark.parametrize(
    ("wanted", "what"),
    [
        (Wanted("set", "usrs", "native"), "did you mean 'users'?"),
        (Wanted("set", "users", "canary"), "needs a weight"),
        (Wanted("set", "users", "native", 5.0), "no meaning"),
        (Wanted("set", "users", "canary", 101.0), "0 to 100"),
        (Wanted("set", "users", "canary", float("nan")), "0 to 100"),
        (Wanted("set", "users", "native", seconds=0), "longer"),
        (Wanted("set", "users", "native", seconds=float("inf")), "at most 366 days"),
        (Wanted("set", "users", "native", reason="a\x1b[2J"), "printable"),
        (Wanted("clear", "users", author="a\nb"), "printable"),
        (Wanted("set", None, "native"), "legacy only"),
        (Wanted("set", "/new", "legacy"), "only one side"),
        (Wanted("clear", "nothing-like-it"), "there is no rule or route"),
    ],
)
def test_a_command_that_makes_no_sense_says_why(wanted: Wanted, what: str) -> None:
    with pytest.raises(ChangeRefused, match=what.replace("?", r"\?")):
        planned(wanted)


def test_a_gateway_without_a_file_keeps_its_overrides_in_memory() -> None:
    app = Gateway(*apps(), CONFIG, verify_lock=False)
    assert app.table.routes
    assert {route.coverage for route in app.table.routes} == set(Coverage)


def test_a_rollback_outlives_its_rules_name() -> None:
    """Who renames a rule, or narrows it, doesn't put back what was rolled back."""
    config = {
        "version": 1,
        "routes": [{"name": "u", "prefix": "/users", "cutover": "native", "auth": "none"}],
    }
    held = planned_with(config, Wanted("rollback", "u"))
    renamed = {
        "version": 1,
        "routes": [{"name": "v", "prefix": "/users", "cutover": "native", "auth": "none"}],
    }
    snapshot = build(held, renamed)
    assert served(snapshot, "/users/1") == (Backend.LEGACY, Reason.OVERRIDE)
    assert snapshot.ignored == {}
    one = {"version": 1, "routes": [{"path": "/users/me", "cutover": "native", "auth": "none"}]}
    assert served(build(held, one), "/users/me")[0] is Backend.LEGACY
    set_ = planned_with(config, Wanted("set", "u", "legacy"))
    snapshot = build(set_, renamed)
    assert served(snapshot, "/users/1")[0] is Backend.NATIVE
    assert snapshot.ignored == {"u": "no rule or route has this name any more"}


def planned_with(config: dict[str, Any], wanted: Wanted, held: Held = NOTHING) -> Held:
    table = build(held, config).table
    return after(held, plan(wanted, load_mapping(config, {}).config, table, held, NOW).change)


def test_clearing_all_undoes_what_was_done_to_all_first() -> None:
    held = planned(Wanted("rollback", "users"))
    held = planned(Wanted("rollback", None), held)
    held = planned(Wanted("clear", None), held)
    assert [each.route for each in held.overrides] == ["users"]
    assert planned(Wanted("clear", None), held).overrides == ()


def test_nothing_is_set_while_all_is_rolled_back() -> None:
    held = planned(Wanted("rollback", None, reason="fire"))
    for route in ("users", "GET /open"):
        assert "--all was rolled back (fire)" in refused(Wanted("set", route, "native"), held)


@pytest.mark.parametrize(
    "routes",
    [
        [{"name": "u", "path": "/users/me", "cutover": "native", "auth": "none"},
         {"name": "w", "prefix": "/users", "cutover": "native", "auth": "none"}],
        [{"name": "o", "path": "/open", "methods": ["GET"], "cutover": "native", "auth": "none"},
         {"name": "w", "prefix": "/users", "cutover": "native", "auth": "none"}],
        [{"name": "u", "path": "/open", "methods": ["GET"], "cutover": "native", "auth": "none"},
         {"name": "w", "prefix": "/users", "cutover": "native", "auth": "none"}],
        [{"name": "u", "prefix": "/users", "cutover": "native", "auth": "none"},
         {"path": "/users/me", "cutover": "native", "auth": "none"}],
        [],
    ],
)  # fmt: skip
def test_a_rollback_outlives_every_edit_of_the_file(routes: list[dict[str, Any]]) -> None:
    """Split, renamed, its name given to another rule, carved out of, or without any rule."""
    config = {
        "version": 1,
        "routes": [{"name": "u", "prefix": "/users", "cutover": "native", "auth": "none"}],
    }
    held = planned_with(config, Wanted("rollback", "u"))
    guarded = {"path": "/guarded", "cutover": "legacy"}
    edited = {"version": 1, "defaults": MOVING, "routes": [*routes, guarded]}
    snapshot = build(held, edited)
    for path in ("/users/1", "/users/me"):
        assert served(snapshot, path) == (Backend.LEGACY, Reason.OVERRIDE), path
    assert served(snapshot, "/open")[0] is Backend.NATIVE, "it was about other routes"
    assert snapshot.ignored == {}


def test_a_rollback_outlives_a_parameters_name() -> None:
    flask, native = Flask("x"), FastAPI(openapi_url=None)
    flask.before_request(lambda: abort(403))
    flask.add_url_rule("/users/<int:user_id>", "u", lambda **_: "")
    native.add_api_route("/users/{user_id}", lambda: "")
    held = planned(Wanted("rollback", "GET /users/{id}"))
    config = {"version": 1, "defaults": MOVING}
    builder = Builder(flask, NativeApp(native), None, None, locked=False)
    snapshot = builder.build(load_mapping(config, {}), held, NOW)
    assert served(snapshot, "/users/1")[0] is Backend.LEGACY


def test_a_rollback_whose_rule_is_gone_is_cleared_by_its_routes() -> None:
    config = {
        "version": 1,
        "routes": [{"name": "u", "prefix": "/users", "cutover": "native", "auth": "none"}],
    }
    renamed = {
        "version": 1,
        "routes": [{"name": "v", "prefix": "/users", "cutover": "native", "auth": "none"}],
    }
    held = planned_with(config, Wanted("rollback", "u"))
    assert "'u' was rolled back" in refused(Wanted("set", "GET /users/me", "native"), held, renamed)
    found = overrides_of(build(held, renamed))["overrides"]
    assert [(each["route"], len(each["holds_for"])) for each in found] == [("u", 6)]
    one = planned_with(renamed, Wanted("clear", "/users/me"), held)
    assert served(build(one, renamed), "/users/me")[0] is Backend.NATIVE
    assert served(build(one, renamed), "/users/1")[0] is Backend.LEGACY
    for route in ("v", "u", None):
        assert planned_with(renamed, Wanted("clear", route), held).overrides == ()
    assert planned_with(renamed, Wanted("clear", "/users/<int:id>"), one).overrides == ()
