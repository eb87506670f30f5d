"""Who serves one request: `decide` over real tables of real apps."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import Any

import pytest
from fastapi import FastAPI
from flask import Flask, abort

from gateway import Gateway
from gateway import cutover as deciding
from gateway.cutover import BUCKETS, Decision, Policy, bucket_of, decide, set_cookie

IDENTITIES = 100_000
TESTER = deciding.Tester(b"x-cutover", b"x-cutover-secret", b"open sesame")
SECRET = [(b"x-cutover-secret", b"open sesame")]


def apps() -> tuple[Flask, FastAPI]:
    legacy, native = Flask("legacy"), FastAPI()
    for path in ("/both", "/free", "/legacy"):
        legacy.add_url_rule(path, path, lambda: "legacy")
    for path in ("/both", "/free", "/native"):
        native.add_api_route(path, lambda: "native")
    return legacy, native


def gateway(
    cutover: str = "native", defaults: dict[str, Any] | None = None, **rule: Any
) -> Gateway:
    entry = {"path": "/both", "methods": ["GET"], "cutover": cutover, "auth": "none", **rule}
    config = {"version": 1, "defaults": {"hooks": "skip", **(defaults or {})}, "routes": [entry]}
    return Gateway(*apps(), config)


def canary(weight: float, **rule: Any) -> Gateway:
    return gateway("canary", weight=weight, **{"sticky": ["header:X-Account"], **rule})


def scope(
    path: str = "/both", method: str = "GET", headers: Any = (), client: Any = ("10.0.0.1", 5)
) -> dict[str, Any]:
    return {
        "type": "http",
        "method": method,
        "path": path,
        "raw_path": path.encode(),
        "root_path": "",
        "query_string": b"",
        "headers": [(b"host", b"localhost"), *headers],
        "client": client,
        "scheme": "http",
    }


def decided(gate: Gateway, policy: Policy | None = None, **request: Any) -> Decision:
    asked = scope(**request)
    used = gate.snapshots.current.policy if policy is None else policy
    return decide(gate.table.match(asked), asked, used)


def side(decision: Decision) -> tuple[str, str]:
    return decision.backend.value, decision.reason.value


def account(name: str) -> list[tuple[bytes, bytes]]:
    return [(b"x-account", name.encode())]


def asking(wanted: str) -> list[tuple[bytes, bytes]]:
    return [(b"x-cutover", wanted.encode()), *SECRET]


# -- the order ------------------------------------------------------------------------------------


def test_a_rule_decides_where_nothing_stands_above_it() -> None:
    assert side(decided(gateway("native"))) == ("native", "rule")
    assert side(decided(gateway("legacy"))) == ("legacy", "rule")


def test_without_a_rule_coverage_decides() -> None:
    gate = gateway()
    assert side(decided(gate, path="/free")) == ("legacy", "both")
    assert side(decided(gate, path="/legacy")) == ("legacy", "only_legacy")
    assert side(decided(gate, path="/native")) == ("native", "only_native")
    assert side(decided(gate, path="/nobody")) == ("legacy", "neither")


def test_the_default_cutover_moves_what_both_have_and_nothing_else() -> None:
    flask, native = apps()
    flask.before_request(lambda: abort(401))
    config = {
        "version": 1,
        "defaults": {"cutover": "native", "auth": "hooks"},
        "routes": [{"path": "/both", "cutover": "legacy"}],
    }
    gate = Gateway(flask, native, config)
    assert side(decided(gate, path="/free")) == ("native", "both")
    assert side(decided(gate, path="/both")) == ("legacy", "rule")
    assert side(decided(gate, path="/legacy")) == ("legacy", "only_legacy")


def test_the_kill_switch_beats_the_rule_and_the_tester() -> None:
    policy = Policy(kill_switch=True, tester=TESTER)
    assert side(decided(gateway(), policy)) == ("legacy", "kill_switch")
    assert side(decided(gateway(), policy, headers=asking("native"))) == ("legacy", "kill_switch")


def test_the_kill_switch_stops_a_canary_of_everybody() -> None:
    decision = decided(canary(100), Policy(kill_switch=True), headers=account("a"))
    assert side(decision) == ("legacy", "kill_switch")
    assert decision.mint is None


def test_the_kill_switch_leaves_what_only_native_has() -> None:
    assert side(decided(gateway(), Policy(kill_switch=True), path="/native")) == (
        "native",
        "only_native",
    )


def test_the_kill_switch_comes_from_the_config() -> None:
    assert side(decided(gateway(defaults={"kill_switch": True}))) == ("legacy", "kill_switch")


def test_a_tester_beats_the_rule_both_ways() -> None:
    policy = Policy(tester=TESTER)
    assert side(decided(gateway("native"), policy, headers=asking("legacy"))) == (
        "legacy",
        "tester",
    )
    assert side(decided(gateway("legacy"), policy, headers=asking(" Native "))) == (
        "native",
        "tester",
    )
    assert side(decided(canary(0), policy, headers=asking("native"))) == ("native", "tester")


@pytest.mark.parametrize(
    "headers",
    [
        [(b"x-cutover", b"legacy")],
        [(b"x-cutover", b"legacy"), (b"x-cutover-secret", b"")],
        [(b"x-cutover", b"legacy"), (b"x-cutover-secret", b"open sesam")],
        [(b"x-cutover", b"legacy"), (b"x-cutover-secret", b"open sesame ")],
        [(b"x-cutover", b"legacy"), (b"x-cutover-secret", "öpen".encode())],
        [(b"x-cutover", b"flask"), *SECRET],
        [(b"x-cutover", b""), *SECRET],
        [(b"x_cutover", b"legacy"), *SECRET],
        SECRET,
    ],
)
def test_a_tester_without_the_secret_or_a_side_changes_nothing(
    headers: list[tuple[bytes, bytes]],
) -> None:
    assert side(decided(gateway(), Policy(tester=TESTER), headers=headers)) == ("native", "rule")


def test_nobody_is_a_tester_unless_configured() -> None:
    assert side(decided(gateway(), headers=asking("legacy"))) == ("native", "rule")


def test_a_tester_cannot_call_a_side_that_lacks_the_route() -> None:
    policy = Policy(tester=TESTER)
    for path, wanted in (("/legacy", "native"), ("/native", "legacy"), ("/nobody", "native")):
        plain = decided(gateway(), policy, path=path)
        assert decided(gateway(), policy, path=path, headers=asking(wanted)) == plain


def test_a_tester_may_test_a_route_that_no_rule_moves_but_somebody_guards() -> None:
    flask, native = apps()
    flask.before_request(lambda: abort(401))
    policy = Policy(tester=TESTER)
    gate = Gateway(flask, native, {"version": 1, "defaults": {"auth": "hooks"}})
    assert side(decided(gate, policy, headers=asking("native"))) == ("native", "tester")
    assert side(decided(gate, policy, headers=asking("legacy"))) == ("legacy", "tester")
    gate = Gateway(flask, native, {"version": 1})
    assert side(decided(gate, policy, headers=asking("native"))) == ("legacy", "both")
    assert side(decided(gate, policy, headers=asking("legacy"))) == ("legacy", "tester")


def test_a_tester_does_not_open_what_no_rule_may_move_without_saying_auth(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("TESTER_SECRET", "open sesame")
    flask, native = apps()
    flask.view_functions["/both"] = lambda: abort(401)
    config: dict[str, Any] = {"version": 1, "tester": {"secret_env": "TESTER_SECRET"}}
    gate = Gateway(flask, native, config)
    policy = gate.snapshots.current.policy
    for method in ("GET", "HEAD"):
        asked = {**scope(headers=asking("native")), "method": method}
        assert side(decide(gate.table.match(asked), asked, policy)) == ("legacy", "both")
    warned = [each for each in gate.snapshots.current.warnings if each.code == "not-testable"]
    assert len(warned) == 1
    assert "GET /both" in warned[0].what
    said = {"path": "/both", "cutover": "legacy", "auth": "none"}
    gate = Gateway(flask, native, {**config, "routes": [said]})
    assert side(decided(gate, policy, headers=asking("native"))) == ("native", "tester")


# -- the canary -----------------------------------------------------------------------------------


def share(gate: Gateway, amount: int = IDENTITIES) -> int:
    asked = scope(headers=account("?"))
    match, policy = gate.table.match(asked), gate.snapshots.current.policy
    natives = 0
    for number in range(amount):
        asked["headers"] = account(f"user-{number}")
        natives += decide(match, asked, policy).backend.value == "native"
    return natives


@pytest.mark.parametrize(("weight", "slack"), [(0, 0.0), (10, 0.005), (50, 0.005), (100, 0.0)])
def test_a_weight_takes_its_share_of_identities_and_is_exact_at_the_ends(
    weight: float, slack: float
) -> None:
    assert abs(share(canary(weight)) / IDENTITIES - weight / 100) <= slack


def test_every_weight_has_half_open_bounds_over_all_buckets() -> None:
    buckets = {bucket_of("gateway", f"user-{number}") for number in range(IDENTITIES)}
    assert min(buckets) >= 0
    assert max(buckets) < BUCKETS
    assert decided(canary(0.01), headers=account("a")).bucket == bucket_of("gateway", "a")
    by_bucket = {bucket_of("gateway", f"user-{number}"): number for number in range(IDENTITIES)}
    inside, outside = by_bucket[1233], by_bucket[1234]
    gate = canary(12.34)
    assert side(decided(gate, headers=account(f"user-{inside}"))) == ("native", "canary")
    assert side(decided(gate, headers=account(f"user-{outside}"))) == ("legacy", "canary")


def test_raising_the_weight_moves_nobody_back() -> None:
    moved: set[int] = set()
    for weight in (0, 0.5, 1, 5, 25, 50, 99.99, 100):
        gate = canary(weight)
        now = {
            number
            for number in range(2_000)
            if decided(gate, headers=account(f"user-{number}")).backend.value == "native"
        }
        assert moved <= now
        moved = now
    assert len(moved) == 2_000


PROGRAM = """
import json, sys
from gateway.cutover import bucket_of
json.dump([bucket_of("shop", f"user-{n}") for n in range(2000)], sys.stdout)
"""


def test_an_identity_stays_on_its_side_in_every_process() -> None:
    answers = []
    for seed in ("0", "1", "4242"):
        ran = subprocess.run(
            [sys.executable, "-c", PROGRAM],
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            check=True,
        )
        answers.append(json.loads(ran.stdout))
    here = [bucket_of("shop", f"user-{number}") for number in range(2000)]
    assert answers == [here, here, here]


def test_the_hash_is_pinned_for_ever() -> None:
    """A change of these numbers would deal the users of every running canary anew."""
    assert [bucket_of("gateway", name) for name in ("a", "user-1", "é")] == [7851, 3122, 5136]


def test_another_salt_deals_anew_and_a_rule_s_salt_beats_the_default() -> None:
    def buckets(gate: Gateway) -> list[int | None]:
        return [decided(gate, headers=account(f"u{n}")).bucket for n in range(50)]

    plain, salted = buckets(canary(50)), buckets(canary(50, salt="shop"))
    by_default = buckets(canary(50, defaults={"salt": "shop"}))
    assert plain != salted
    assert by_default == salted
    assert buckets(canary(50, salt="shop", defaults={"salt": "other"})) == salted


def test_salt_and_identity_cannot_spell_one_another() -> None:
    assert bucket_of("ab", "c") != bucket_of("a", "bc")
    assert bucket_of("a", "1:b") != bucket_of("a:1", "b")


def test_two_rules_with_one_salt_put_a_caller_on_the_same_side_of_both() -> None:
    gate = Gateway(
        *apps(),
        {
            "version": 1,
            "defaults": {"hooks": "skip", "sticky": ["header:X-Account"]},
            "routes": [
                {
                    "path": "/both",
                    "methods": ["GET"],
                    "cutover": "canary",
                    "auth": "none",
                    "weight": 30,
                },
                {
                    "path": "/free",
                    "methods": ["GET"],
                    "cutover": "canary",
                    "auth": "none",
                    "weight": 30,
                },
            ],
        },
    )
    for number in range(200):
        one, two = (
            decided(gate, path=p, headers=account(f"u{number}")) for p in ("/both", "/free")
        )
        assert one == two


def test_head_of_a_canary_takes_the_side_of_get() -> None:
    gate = canary(50)
    for number in range(100):
        headers = account(f"u{number}")
        get, head = (decided(gate, method=m, headers=headers) for m in ("GET", "HEAD"))
        assert get.backend is head.backend


# -- identity -------------------------------------------------------------------------------------


def test_no_identity_is_legacy_and_nothing_is_minted() -> None:
    decision = decided(canary(100))
    assert side(decision) == ("legacy", "no_identity")
    assert decision.mint is None


def test_the_first_source_present_counts() -> None:
    gate = canary(50, sticky=["header:X-Account", "cookie:uid", "ip"])
    cookie = [(b"cookie", b"a=1; uid=u7; b=2")]
    assert decided(gate, headers=[*account("a"), *cookie]).identity == "header:X-Account"
    assert decided(gate, headers=cookie).identity == "cookie:uid"
    assert decided(gate, headers=cookie).bucket == bucket_of("gateway", "u7")
    assert decided(gate).identity == "ip"
    assert decided(gate).bucket == bucket_of("gateway", "10.0.0.1")
    assert side(decided(gate, client=None)) == ("legacy", "no_identity")


@pytest.mark.parametrize("empty", [b"", b"   "])
def test_an_empty_header_is_no_identity(empty: bytes) -> None:
    gate = canary(100, sticky=["header:X-Account"])
    assert side(decided(gate, headers=[(b"x-account", empty)])) == ("legacy", "no_identity")


def test_a_quoted_cookie_is_the_same_identity_as_a_plain_one() -> None:
    gate = canary(50, sticky=["cookie:uid"])
    plain, quoted = ([(b"cookie", f"uid={v}".encode())] for v in ("u7", '"u7"'))
    assert decided(gate, headers=plain) == decided(gate, headers=quoted)


def test_a_cookie_is_found_in_any_of_several_cookie_lines() -> None:
    gate = canary(50, sticky=["cookie:uid"])
    lines = [(b"cookie", b"xuid=no"), (b"cookie", b"uid=u7")]
    assert decided(gate, headers=lines).bucket == bucket_of("gateway", "u7")


def test_hostile_identities_never_fail() -> None:
    gate = canary(50, sticky=["cookie:uid", "header:X-Account"])
    for text in (
        b"\xff\xfe",
        b"uid",
        b"uid=",
        b'uid="',
        b'uid="\\',
        b";;=;",
        b"uid=" + b"x" * 9999,
    ):
        decided(gate, headers=[(b"cookie", text), (b"x-account", b"\xff" + text)])


def test_a_gw_cookie_that_the_rule_asks_for_is_minted_once_and_then_kept() -> None:
    gate = canary(50, sticky=["header:X-Account", "cookie:gw_id"])
    first = decided(gate)
    assert first.reason.value == "canary"
    assert first.identity == "cookie:gw_id"
    assert first.mint is not None
    name, value = first.mint
    assert name == "gw_id"
    again = decided(gate, headers=[(b"cookie", f"{name}={value}".encode())])
    assert again.mint is None
    assert (again.backend, again.bucket) == (first.backend, first.bucket)


def test_minted_identities_differ_and_are_hard_to_guess() -> None:
    gate = canary(50, sticky=["cookie:gw_id"])
    minted = {decision.mint[1] for _ in range(500) if (decision := decided(gate)).mint}
    assert len(minted) == 500
    assert min(map(len, minted)) >= 16


def test_nothing_is_minted_for_a_caller_who_has_an_identity() -> None:
    gate = canary(50, sticky=["header:X-Account", "cookie:gw_id"])
    assert decided(gate, headers=account("a")).mint is None


def test_a_cookie_of_the_application_is_never_minted() -> None:
    decision = decided(canary(100, sticky=["cookie:session"]))
    assert side(decision) == ("legacy", "no_identity")
    assert decision.mint is None


def test_only_a_canary_mints() -> None:
    for cutover in ("legacy", "native"):
        assert decided(gateway(cutover, sticky=["cookie:gw_id"])).mint is None


def test_a_tester_of_a_canary_gets_no_cookie() -> None:
    gate = canary(50, sticky=["cookie:gw_id"])
    decision = decided(gate, Policy(tester=TESTER), headers=asking("native"))
    assert side(decision) == ("native", "tester")
    assert decision.mint is None


def test_the_minted_cookie_is_for_the_server_only_and_secure_over_https() -> None:
    plain, secure = (set_cookie("gw_id", "abc", secure=s).decode() for s in (False, True))
    assert plain.startswith("gw_id=abc; ")
    for attribute in ("Path=/", "HttpOnly", "SameSite=Lax", "Max-Age=31536000"):
        assert attribute in plain.split("; ")
    assert "Secure" not in plain
    assert secure == plain + "; Secure"
