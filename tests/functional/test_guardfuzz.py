"""A small run of the guard fuzzer, and the fuzzer itself held to what it promises.

`python -m tests.guardfuzz --minutes 30` is the long one.
"""

from __future__ import annotations

import asyncio
from random import Random
from typing import Any

import pytest
from werkzeug.exceptions import BadRequest, MethodNotAllowed, NotFound

from tests.guardfuzz import worlds
from tests.guardfuzz.__main__ import first_failure
from tests.guardfuzz.faults import FAULTS
from tests.guardfuzz.native import Ran, Reading
from tests.guardfuzz.oracle import Oracle, Seen
from tests.guardfuzz.requests import Requests
from tests.guardfuzz.runner import PER_WORLD, Tally, quiet, request_of, run_world, world_of
from tests.guardfuzz.shrink import shrink
from tests.guardfuzz.wire import PARSERS, Parser
from tests.guardfuzz.world import Handler, Request, Rule, View, World

WORLDS = 6
SHOWN = 3


@pytest.mark.parametrize("parser", PARSERS)
def test_no_native_handler_runs_where_bare_flask_refuses(parser: Parser) -> None:
    tally = Tally()

    async def run() -> None:
        for index in range(WORLDS):
            await run_world(12, index, parser, tally)

    with quiet():
        asyncio.run(run())
    assert not tally.found, "\n".join(found.text() for found in tally.found[:SHOWN])
    assert tally.worlds >= WORLDS * 0.8, tally.problems
    assert tally.hits >= 0.3 * tally.requests
    assert tally.ran >= 0.1 * tally.requests


def test_a_fault_that_is_put_back_is_found_and_made_small() -> None:
    """`python -m tests.guardfuzz --faults` does this with all of them, up to 20,000 requests."""
    fault = FAULTS["5 method"]
    with quiet(), fault.put_back():
        at, found = first_failure(1, "httptools", fault.kinds, PER_WORLD)
        assert found is not None, at
        small = shrink(found, 40)
    assert len(small.request.raw) <= len(found.request.raw)
    assert len(small.world.views) <= len(found.world.views)
    assert small.failure.kind == "opened (MethodNotAllowed)"
    again = f"python -m tests.guardfuzz --seed 1 --only {found.number} --parser httptools"
    assert again in small.text()
    assert repr(small.request.raw) in small.text()


def test_a_number_makes_the_same_world_and_request_again() -> None:
    for number in (0, 7, 1234):
        world, request = world_of(5, number), request_of(world_of(5, number), 5, number)
        assert world == world_of(5, number)
        assert world.text() == world_of(5, number).text()
        again = request_of(world, 5, number)
        assert (again.method, again.target, again.body) == (
            request.method, request.target, request.body
        )  # fmt: skip


def test_every_kind_of_world_and_request_comes_up() -> None:
    made = [worlds.make(f"kinds:{index}") for index in range(400)]
    assert {guard.place for world in made for guard in world.guards} == {
        "app", "blueprint", "values", "signal", "subclass",
    }  # fmt: skip
    assert {rule.get("auth") for world in made for rule in world.rules} == {
        "hooks", "shared", "native", "none",
    }  # fmt: skip
    for option in (
        "csrf", "host_matching", "subdomain_matching", "trusted_hosts", "root_path", "cors",
        "proxy_headers", "kill_switch", "moves_by_default", "tester", "stream",
    ):  # fmt: skip
        assert any(getattr(world, option) for world in made), option
    maker = Requests(made[0])
    notes = {note for n in range(2000) for note in maker.make(Random(n), str(n)).notes}
    assert len(notes) == 17, notes


def test_a_request_is_the_bytes_that_it_says() -> None:
    request = Request(b"POST", b"/a", headers=((b"Host", b"h"),), body=b"x", more=b"more")
    assert request.raw == b"POST /a HTTP/1.1\r\nHost: h\r\n\r\nxmore"


# -- the oracle ----------------------------------------------------------------------------------

VIEW = View("/items/<int:id>", "items", ("GET",))
WIDE = View("/users/<name>", "users", ("GET",))
PAIRED = Handler("paired", "/items/{id}", ("GET", "POST"))
INSIDE = Handler("inside", "/users/export", ("GET",))
ALONE = Handler("alone", "/new", ("GET",))


def seen(
    path: str,
    endpoint: str = "",
    *,
    method: str = "GET",
    refused: bool = False,
    raised: type[BaseException] | None = None,
) -> Seen:
    found = Seen("1", method, path, endpoint, {}, raised, dispatched=not refused)
    if endpoint and not refused:
        found.called.append(endpoint)
    return found


def kinds(
    handler: Handler, path: str, bare: list[Seen], *, method: str = "GET", **rule: Any
) -> list[str]:
    rules = {"path": handler.template, "cutover": "native", "auth": "hooks", **rule}
    world = World(
        "oracle",
        (VIEW, WIDE),
        (PAIRED, INSIDE, ALONE),
        (),
        (),
        (Rule(tuple(rules.items()), (handler.name,)),),
    )
    reading = Reading(method, "http", "h", path)
    ran = Ran(handler.name, "1", reading, None, {}, authorized=False, gate=False)
    return [failure.kind for failure in Oracle(world).judge([ran], bare, None)]


def test_a_handler_may_run_where_flask_called_its_view() -> None:
    assert kinds(PAIRED, "/items/5", [seen("/items/5", "items")]) == []
    assert kinds(INSIDE, "/users/export", [seen("/users/export", "users")]) == []
    assert kinds(PAIRED, "/items/5", [seen("/items/5", "items", method="HEAD")]) == []


def test_a_handler_may_not_run_where_a_hook_refused_or_another_view_answered() -> None:
    refused = [seen("/items/5", "items", refused=True)]
    assert kinds(PAIRED, "/items/5", refused) == ["opened (refused)"]
    assert kinds(PAIRED, "/items/5", [seen("/x", "users")]) == ["opened (another view)"]
    assert kinds(PAIRED, "/items/5", []) == ["opened (not asked)"]
    bad_host = [seen("/items/5", raised=BadRequest)]
    assert kinds(PAIRED, "/items/5", bad_host) == ["opened (BadRequest)"]


def test_a_path_that_flask_does_not_know_is_native_only_after_the_hooks() -> None:
    assert kinds(ALONE, "/new", [seen("/new", raised=NotFound)]) == []
    refused = [seen("/new", raised=NotFound, refused=True)]
    assert kinds(ALONE, "/new", refused) == ["opened (refused, native only)"]
    assert kinds(PAIRED, "/items/x", [seen("/items/x", raised=NotFound)]) == ["opened (NotFound)"]
    said: dict[str, Any] = {"auth": "none", "methods": ("GET",), "on_mismatch": "native"}
    assert kinds(PAIRED, "/items/x", [seen("/items/x", raised=NotFound)], **said) == []


def test_a_method_that_flask_lacks_has_to_be_said() -> None:
    bare = [seen("/items/5", method="POST", raised=MethodNotAllowed)]
    found = kinds(PAIRED, "/items/5", bare, method="POST", methods=("POST",))
    assert found == ["opened (MethodNotAllowed)"]
    said: dict[str, Any] = {"auth": "native", "methods": ("POST",)}
    assert kinds(PAIRED, "/items/5", bare, method="POST", **said) == []
    assert kinds(PAIRED, "/items/5", bare, method="POST", auth="none") == [
        "opened (MethodNotAllowed)"
    ]


def test_the_shared_guard_has_to_have_let_the_caller_in() -> None:
    bare = [seen("/items/5", "items")]
    assert kinds(PAIRED, "/items/5", bare, auth="shared") == ["shared"]
