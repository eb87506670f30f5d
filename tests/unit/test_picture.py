"""The status as it is drawn: what stays readable where room is scarce, and what is told beside."""

from __future__ import annotations

import time
from io import StringIO
from typing import Any

import pytest
from rich.console import Console

from gateway.cli.picture import named, picture


def row(route: str, **more: Any) -> dict[str, Any]:
    method, _, path = route.partition(" ")
    side = {"requests": 4, "errors": 0, "p50": 0.004, "p95": 0.25}
    return {
        "route": route, "method": method, "path": path, "rule": "", "coverage": "both",
        "cutover": "canary", "weight": 12.5, "overridden": False, "requests": 8,
        "native_share": 50.0, "rate": 120.5, "error_rate": 0.1,
        "sides": {"legacy": side, "native": side}, "history": list(range(60)),
        "circuit": None, "file": None, "override": None, **more,
    }  # fmt: skip


def status(*rows: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {
        "revision": "abc-1", "workers": 1, "kill_switch": False, "kill_switch_override": None,
        "ignored": {}, "routes": list(rows),
        "health": {"config": "ok", "store": "ok", "restart_required": []}, **more,
    }  # fmt: skip


def drawn(data: dict[str, Any], width: int) -> list[str]:
    console = Console(file=StringIO(), width=width, soft_wrap=True, highlight=False)
    console.print(picture(data, width))
    assert isinstance(console.file, StringIO)
    return [line.rstrip() for line in console.file.getvalue().splitlines()]


LONG = "GET /api/v1/customers/{customer_id}/orders/{order_id}"


@pytest.mark.parametrize(
    ("width", "shown"),
    [
        (200, "ROUTE CUTOVER NATIVE REQ/S ERR/S LEGACY p50/p95 NATIVE p50/p95 LAST MINUTE"),
        (125, "ROUTE CUTOVER NATIVE REQ/S ERR/S LEGACY p50/p95 NATIVE p50/p95"),
        (95, "ROUTE CUTOVER NATIVE REQ/S ERR/S"),
        (80, "ROUTE CUTOVER ERR/S"),
        (67, "ROUTE CUTOVER"),
    ],
)
def test_the_least_important_columns_go_first(width: int, shown: str) -> None:
    lines = drawn(status(row(LONG)), width)
    assert lines[2].split() == shown.split()
    assert f"{LONG}  canary 12.5%" in lines[3]
    assert max(len(line) for line in lines) <= width


def test_a_route_wider_than_the_terminal_is_folded_and_not_cut() -> None:
    lines = drawn(status(row(LONG)), 40)
    assert "".join(line[:27].strip() for line in lines[3:]).replace(" ", "") == LONG.replace(
        " ", ""
    )


def test_notes_that_have_no_room_stand_below() -> None:
    held = {"author": "me", "reason": "x" * 30, "kind": "set", "expires": time.time() + 90}
    noted = row(LONG, override=held, file="legacy", circuit={"open": 1, "closed": 1})
    said = f"circuit open on 1 worker; the file says legacy (set by me, 1 min left: {'x' * 30})"
    assert drawn(status(noted), 300)[3].endswith(said)
    lines = drawn(status(noted), 80)
    assert lines[2].split() == ["ROUTE", "CUTOVER", "ERR/S"]
    assert lines[4] == ""
    assert "".join(lines[5:]) == f"{LONG}: {said}"


def test_failures_that_no_client_saw_are_told() -> None:
    lines = drawn(status(row("GET /a", failovers=3, circuit={"half_open": 2})), 300)
    assert lines[3].endswith(
        "native failed, legacy answered: 3 of 8; circuit half open on 2 workers"
    )
    assert "NOTES" not in "".join(drawn(status(row("GET /a")), 300))


def test_nobodys_text_steers_the_terminal() -> None:
    evil = "\x1b[2J\u202e\n\udc80"
    held = {"author": evil, "reason": evil, "kind": "set", "expires": None}
    data = status(
        row("GET /a", override=held, file="legacy"),
        kill_switch=True, kill_switch_override=held, ignored={evil: evil}, revision=evil,
        health={"config": evil, "store": evil, "restart_required": [evil]},
    )  # fmt: skip
    text = "\n".join(drawn(data, 500))
    assert not set(text) & {"\x1b", "\u202e", "\udc80"}
    assert text.count(r"\x1b[2J\u202e\n\udc80") == 10


def test_workers_are_counted_in_english() -> None:
    assert drawn(status(), 80)[0] == "revision abc-1, 1 worker"
    assert drawn(status(workers=2), 80)[0] == "revision abc-1, 2 workers"
    assert drawn(status(workers=0), 80)[0] == (
        "revision abc-1, from the store: --url asks a running gateway for figures"
    )


@pytest.mark.parametrize(
    "wanted",
    ["items", "GET /items/{id}", "get /items/<int:number>", "HEAD /items/{x}", "/items/{id}"],
)
def test_a_route_is_found_by_each_of_its_names(wanted: str) -> None:
    rows = [row("GET /items/{id}", rule="items"), row("GET /items/new"), row("POST /items/")]
    assert named(rows, wanted) == rows[:1]
    assert named(rows, "nope") == named(rows, "PUT /items/{id}") == []


@pytest.mark.parametrize(
    ("walk", "told"),
    [
        ({"state": "walking", "weight": 5.0, "said": "hold: success unknown"},
         "guardrail: walking at 5%, hold"),
        ({"state": "rolled_back", "weight": 5.0, "said": "rolled back at 5%: success 50% of 40"},
         "guardrail: rolled back"),
        ({"state": "done", "weight": 100.0, "said": ""}, "guardrail: done"),
    ],
)  # fmt: skip
def test_a_walk_is_told(walk: dict[str, Any], told: str) -> None:
    data = status(row("GET /a", rule="a"), row("GET /b"), walks={"a": {"since": 0.0, **walk}})
    lines = drawn(data, 200)
    assert next(line for line in lines if told in line).startswith("GET /a")


def test_what_keeps_native_from_answering_is_said() -> None:
    kept = row(LONG, findings=["auth-missing"], bypassed=3)
    text = " ".join(" ".join(drawn(status(kept), 320)).split())
    assert "kept on legacy, `gateway check` refuses the move: auth-missing" in text
    assert "WSGI middleware answered instead: 3 times" in text
