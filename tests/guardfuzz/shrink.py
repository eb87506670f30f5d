"""A failure made small: what of its world and of its request is there for nothing is left out."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from gateway import ConfigError
from tests.guardfuzz.runner import Found, again

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.guardfuzz.oracle import Failure
    from tests.guardfuzz.world import Request, World

_LISTS = ("layers", "guards", "views", "handlers", "rules")
_OPTIONS: dict[str, Any] = {
    "csrf": False, "cors": False, "proxy_headers": False, "kill_switch": False,
    "moves_by_default": False, "tester": False, "stream": False, "watched": False,
    "secret_key": False,
    "merge_slashes": True, "trusted_hosts": (), "root_path": "", "host_matching": False,
    "subdomain_matching": False, "server_name": None,
}  # fmt: skip


def confirmed(found: Found) -> bool:
    """Tell whether a failure shows itself when its request is sent alone, to a fresh world."""
    return _fails(found, found.world, found.request) is not None


def shrink(found: Found, most: int = 300) -> Found:
    """Return the smallest world and request that still fail in the same way.

    `most` is how many trials it may take, each with a world of its own.
    """
    left = most
    smaller = True
    while smaller and left > 0:
        smaller = False
        for world, request in _smaller(found):
            left -= 1
            failure = _fails(found, world, request)
            if failure is not None:
                found = replace(found, world=world, request=request, failure=failure)
                smaller = True
                break
            if left <= 0:
                break
    return found


def _fails(found: Found, world: World, request: Request) -> Failure | None:
    try:
        failures = asyncio.run(again(world, request, found.parser, found.number))
    except (ConfigError, RuntimeError, ValueError):
        return None
    return next((each for each in failures if each.kind == found.failure.kind), None)


def _smaller(found: Found) -> Iterator[tuple[World, Request]]:
    """Yield what is a step smaller, the largest steps first."""
    world, request = found.world, found.request
    for name in _LISTS:
        entries: tuple[Any, ...] = getattr(world, name)
        for each in entries:
            if getattr(each, "name", None) != found.failure.handler:
                kept = tuple(e for e in entries if e is not each)
                yield _tidied(_with(world, name, kept)), request
    for name, plain in _OPTIONS.items():
        if getattr(world, name) != plain:
            yield _with(world, name, plain), request
    if request.more:
        yield world, replace(request, more=b"")
    for header in request.headers:
        kept = tuple(h for h in request.headers if h is not header)
        yield world, replace(request, headers=kept)
    if request.body:
        names = (b"content-length", b"content-type", b"transfer-encoding")
        headers = tuple(h for h in request.headers if h[0].lower() not in names)
        yield world, replace(request, body=b"", headers=headers)
    if b"?" in request.target:
        yield world, replace(request, target=request.target.partition(b"?")[0])
    for number, rule in enumerate(world.rules):
        for key in ("on_mismatch", "failover", "hooks"):
            if rule.get(key) is not None:
                settings = tuple(pair for pair in rule.settings if pair[0] != key)
                rules = list(world.rules)
                rules[number] = replace(rule, settings=settings)
                yield replace(world, rules=tuple(rules)), request


def _with(world: World, name: str, value: Any) -> World:
    changes: dict[str, Any] = {name: value}
    return replace(world, **changes)


def _tidied(world: World) -> World:
    """Leave rules out that are about nothing any more."""
    names = {handler.name for handler in world.handlers}
    rules = [replace(r, covers=tuple(c for c in r.covers if c in names)) for r in world.rules]
    return replace(world, rules=tuple(rule for rule in rules if rule.covers))
