"""Blocks: what stands, what has ended, and what a store that forgets can't undo."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from fastapi import FastAPI
from flask import Flask

from gateway.blocks import (
    ENOUGH,
    Block,
    Proof,
    blocked,
    lost,
    proof,
    proof_key,
    standing,
    together,
    unwritten,
)
from gateway.building import Builder
from gateway.changes import ChangeRefused, Wanted, opened, plan, proved
from gateway.cutover import Policy, decide
from gateway.held import Held, merged
from gateway.loading import load_mapping
from gateway.native import NativeApp
from gateway.routing import Backend, Match, Reason
from gateway.store import Change, MemoryStore, after

if TYPE_CHECKING:
    from gateway.snapshot import Snapshot

NOW = 1_000.0
ROUTE = "GET /users/{id}"
STANDS = Block(ROUTE, ("r1",), NOW, "legacy answered 401, native 200")
ACCEPTED = replace(STANDS, ended="accepted", at=NOW + 1, author="ann", reason="meant")
PROVED = replace(STANDS, ended="proved", at=NOW + 1)
R2 = replace(STANDS, releases=("r2",), since=NOW + 5)


def test_entries_say_whether_they_stand() -> None:
    assert standing([STANDS, replace(ACCEPTED, route="GET /b")]) == {ROUTE: STANDS}


@pytest.mark.parametrize(
    ("known", "found", "settled"),
    [
        (STANDS, STANDS, True),
        (STANDS, R2, False),
        (ACCEPTED, replace(STANDS, since=NOW + 9), True),  # the release was accepted
        (ACCEPTED, R2, False),
        (PROVED, STANDS, True),  # found before that was proved
        (PROVED, replace(STANDS, since=NOW + 9), False),
    ],
)
def test_what_is_known_already_is_not_written_again(
    known: Block, found: Block, settled: bool
) -> None:
    left = unwritten({ROUTE: found}, [known])
    assert (left == {}) is settled
    if not settled:
        assert left[ROUTE].stands
        assert set(left[ROUTE].releases) == {*known.releases, *found.releases}


def test_a_block_remembers_sixteen_releases() -> None:
    block = STANDS
    for number in range(40):
        block = block.opened_again(replace(STANDS, releases=(f"r{number}",)))
    assert block.releases == tuple(f"r{number}" for number in range(24, 40))
    assert block.since == NOW


@pytest.mark.parametrize("ended", [ACCEPTED, PROVED])
@pytest.mark.parametrize("swap", [False, True])
def test_one_that_stands_never_gives_way(ended: Block, swap: bool) -> None:
    ours = Held().changed((), (), "o1", [STANDS])
    found = Held().changed((), (), "f1", [ended])
    if swap:
        ours, found = found, ours
    assert merged(ours, found).blocks == (STANDS,)
    assert together(ours.blocks, found.blocks) == (STANDS,)


def test_two_findings_are_one_block_of_both_releases() -> None:
    (block,) = together([STANDS], [R2])
    assert (block.releases, block.since) == (("r1", "r2"), NOW)


def test_only_what_stood_can_be_lost() -> None:
    """A gateway of an older version writes the state without them."""
    assert lost([STANDS], []) == {ROUTE: STANDS}
    assert lost([STANDS], [ACCEPTED]) == {}
    assert lost([ACCEPTED], []) == {}


@pytest.mark.parametrize("block", [STANDS, ACCEPTED, PROVED])
def test_a_store_gives_back_what_it_was_given(block: Block) -> None:
    held = after(Held(), Change(blocks=[block]))
    assert Held.parse(json.dumps(held.as_json())) == held
    store = MemoryStore()
    assert store.write(Change(blocks=[block])).blocks == (block,)
    assert store.write(Change(blocks=[ACCEPTED])).blocks == (ACCEPTED,)


# -- what is blocked ----------------------------------------------------------------------------


def build(held: Held, cutover: str = "live", path: str = "/users/<int:id>") -> Snapshot:
    flask, native = Flask("legacy"), FastAPI(openapi_url=None)
    flask.add_url_rule(path, "users", lambda: "")
    flask.add_url_rule("/b", "b", lambda: "")
    native.add_api_route("/users/{user}", lambda: "")
    native.add_api_route("/b", lambda: "")
    rule = {"name": "all", "prefix": "/", "cutover": cutover, "auth": "none"}
    loaded = load_mapping({"version": 1, "routes": [rule]}, {})
    return Builder(flask, NativeApp(native), None, None, locked=False).build(loaded, held, NOW)


HELD = Held().changed((), (), "w1", [STANDS])


@pytest.mark.parametrize("path", ["/users/<int:id>", "/users/<who>", "/users/<string:x>"])
def test_a_block_holds_for_its_path_whatever_the_parameter_is_called(path: str) -> None:
    snapshot = build(HELD, path=path)
    methods = {ident.partition(" ")[0] for ident in snapshot.blocks}
    assert methods == {"GET", "HEAD"}
    assert snapshot.policy.blocked == snapshot.blocks.keys()
    assert blocked([ACCEPTED], snapshot.table) == {}


@pytest.mark.parametrize("cutover", ["live", "native"])
def test_legacy_serves_a_blocked_route(cutover: str) -> None:
    snapshot = build(HELD, cutover)
    for route in snapshot.table.routes:
        decision = decide(Match(route), {"method": route.method, "headers": []}, snapshot.policy)
        if route.label == "/b" and route.method in ("GET", "HEAD"):
            assert decision.backend is Backend.NATIVE
        elif route.label != "/b" and route.method in ("GET", "HEAD") and route.native:
            assert (decision.backend, decision.reason) == (Backend.LEGACY, Reason.BLOCKED)
            forced = Match(route, (Backend.NATIVE, Reason.PREFLIGHT))
            decision = decide(forced, {"method": "OPTIONS", "headers": []}, snapshot.policy)
            assert decision.backend is Backend.LEGACY
            assert decide(forced, {"headers": []}, Policy()).backend is Backend.NATIVE


# -- changes ------------------------------------------------------------------------------------


def planned(wanted: Wanted, held: Held = HELD) -> Change:
    snapshot = build(held)
    return plan(wanted, snapshot.config, snapshot.table, held, NOW + 10).change


@pytest.mark.parametrize("route", [ROUTE, "all", "/users/{x}", "GET /users/<int:id>"])
def test_a_block_is_accepted_by_any_name_of_its_route(route: str) -> None:
    change = planned(Wanted("accept", route, author="ann", reason="meant"))
    (block,) = change.blocks
    assert (block.ended, block.releases, block.author) == ("accepted", ("r1",), "ann")
    assert [(e.action, e.route, e.before) for e in change.entries] == [
        ("accept", ROUTE, "blocked"),
    ]
    assert build(after(HELD, change)).blocks == {}


def test_a_block_of_a_route_that_is_gone_goes_by_its_own_name() -> None:
    gone = replace(STANDS, route="GET /gone")
    held = Held().changed((), (), "w1", [gone])
    (block,) = planned(Wanted("accept", "GET /gone", reason="it is gone"), held).blocks
    assert not block.stands


@pytest.mark.parametrize(
    ("wanted", "said"),
    [
        (Wanted("accept", ROUTE), "--reason"),
        (Wanted("accept", ROUTE, reason="  "), "--reason"),
        (Wanted("accept", None, reason="x"), "name the route"),
        (Wanted("accept", "GET /nowhere", reason="x"), "there is no rule or route"),
        (Wanted("set", ROUTE, "native"), "is blocked: legacy answered 401, native 200"),
        (Wanted("set", ROUTE, "canary", 1.0), "gateway diffs accept 'GET /users/{id}' --reason"),
    ],
)
def test_what_makes_no_sense_is_refused_with_the_way_out(wanted: Wanted, said: str) -> None:
    with pytest.raises(ChangeRefused) as refusal:
        planned(wanted)
    assert said in str(refusal.value)


def test_a_rule_may_move_but_not_its_blocked_route() -> None:
    snapshot = build(HELD)
    wanted = Wanted("set", "all", "native")
    found = plan(wanted, snapshot.config, snapshot.table, HELD, NOW)
    assert [each.partition(" ")[0] for each in found.blocked] == ["GET"]
    assert found.routes == ("all",)
    quiet = replace(wanted, cutover="shadow")
    assert plan(quiet, snapshot.config, snapshot.table, HELD, NOW).blocked == ()


def test_what_native_serves_is_rolled_back_with_the_block() -> None:
    snapshot = build(Held())
    found = opened([(STANDS, "all")], snapshot.config, snapshot.table, Held(), NOW)
    (override,) = found.change.put
    assert (override.route, override.kind, override.author) == ("all", "rollback", "guardrail")
    assert override.reason == f"opened: {ROUTE}: {STANDS.what}"
    held = after(Held(), found.change)
    again = opened([(R2, "all")], snapshot.config, snapshot.table, held, NOW)
    assert again.change.put == ()  # it is rolled back already
    unnamed = opened([(STANDS, "gone")], snapshot.config, snapshot.table, Held(), NOW)
    assert (unnamed.change.put, unnamed.change.blocks) == ((), [STANDS])


# -- proof --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("compared", "refused", "ends"),
    [(ENOUGH, 1, True), (ENOUGH - 1, 5, False), (ENOUGH, 0, False), (10 * ENOUGH, 0, False)],
)
def test_a_release_is_proved_by_enough_and_one_that_both_refused(
    compared: int, refused: int, ends: bool
) -> None:
    assert Proof(compared, refused).ends is ends


def test_proofs_of_all_workers_of_a_release_add_up() -> None:
    key = proof_key
    documents = {
        key(STANDS, "r2", "one"): [150, 1],
        key(STANDS, "r2", "two"): [50, 0],
        key(STANDS, "r3", "one"): [1000, 1000],
        key(replace(STANDS, since=NOW - 1), "r2", "one"): [1000, 1],  # of an earlier block
        key(replace(STANDS, route="GET /b"), "r2", "one"): [1000, 1],
        key(STANDS, "r2", "odd"): [1],
        key(STANDS, "r2", "odder"): ["x", None],
        key(STANDS, "r2", "oddest"): [1, 5],
    }
    assert proof(STANDS, "r2", documents) == Proof(200, 1)


def test_the_end_says_why() -> None:
    change = proved(STANDS, Proof(200, 3), "r2", NOW + 9)
    (block,) = change.blocks
    assert (block.ended, block.at) == ("proved", NOW + 9)
    assert "release r2: 200 comparisons, both refused in 3" in block.reason
    assert [(e.action, e.author) for e in change.entries] == [("unblock", "gateway")]
