"""Blocks: routes that legacy serves whatever the file says, since native let in a stranger there.

A block goes by a route (`GET /users/{id}`, which holds for HEAD, too) and by the releases in which
the verdict `opened` came up. It ends when a person accepts that, for these releases, or when a new
release has been compared for long enough. An entry never leaves the store: one that has ended says
so, and one that is missing has been lost. Plain values and pure rules.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import ConfigDict, Field

from gateway.overrides import Moment, shape_of
from gateway.templates import parse_any

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from gateway.inventory import LegacyRoutes
    from gateway.routing import Route, RouteTable

#: A new release must be compared so often, and both sides must have refused somebody, to end one.
ENOUGH = 200
#: Who blocks and rolls back, in the audit trail.
AUTHOR = "guardrail"
#: Releases that a block remembers.
_MOST_RELEASES = 16
#: Cutovers that are rolled back, as native serves clients there.
MOVED = frozenset({"canary", "live"})


@dataclass(frozen=True, slots=True)
class Block:
    """What is known of one route: the releases in which it opened, and whether that has ended.

    `releases` are build ids, the newest last. Times are in seconds since the epoch: `since` when it
    began, `at` when it ended. `what` says how both sides answered. `author` and `reason` are of
    whoever ended it.
    """

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(strict=True, allow_inf_nan=False)

    route: str
    releases: Annotated[tuple[str, ...], Field(min_length=1)]
    since: Moment
    what: str
    ended: Literal["", "accepted", "proved"] = ""
    at: Moment = 0.0
    author: str = ""
    reason: str = ""

    @property
    def stands(self) -> bool:
        """Whether legacy serves the route because of it."""
        return not self.ended

    def settles(self, other: Block) -> bool:
        """Tell whether what `other` found is known here already, or was accepted."""
        known = set(other.releases) <= set(self.releases)
        if self.ended == "proved":
            return known and self.at >= other.since
        return known

    def opened_again(self, other: Block) -> Block:
        """Return the block that stands after another finding."""
        releases = (*(r for r in self.releases if r not in other.releases), *other.releases)
        return replace(
            other,
            releases=releases[-_MOST_RELEASES:],
            since=self.since if self.stands else other.since,
        )

    def as_json(self) -> dict[str, Any]:
        """Return plain values."""
        return asdict(self)


def name_of(route: Route) -> str:
    """Return the name that a route's block goes by; HEAD is asked of the handler for GET."""
    return _name(route.id)


def _name(ident: str) -> str:
    method, _, path = ident.partition(" ")
    return f"GET {path}" if method == "HEAD" else ident


def standing(blocks: Iterable[Block]) -> dict[str, Block]:
    """Return those that stand, by their routes."""
    return {each.route: each for each in blocks if each.stands}


def blocked(blocks: Iterable[Block], table: RouteTable) -> dict[str, Block]:
    """Return what is blocked in a table, by the ids of its routes.

    A block holds for the method and the shape of a path, whatever its parameters are called now.
    """
    by_shape = {shape_of(each.route, table): each for each in blocks if each.stands}
    by_shape.pop(None, None)
    if not by_shape:
        return {}
    found = {}
    for route in table.routes:
        block = by_shape.get(shape_of(name_of(route), table))
        if block is not None:
            found[route.id] = block
    return found


def shapes_of(
    blocks: Iterable[Block], legacy: LegacyRoutes
) -> frozenset[tuple[str, tuple[str, ...]]]:
    """Return method and path's shape of what is blocked, before there is a table."""
    named = (each.route.partition(" ") for each in blocks if each.stands)
    return frozenset(
        (method, parse_any(path, legacy.open_converters).segments) for method, _, path in named
    )


def together(blocks: Iterable[Block], more: Iterable[Block]) -> tuple[Block, ...]:
    """Put what was found by two sides together; one that stands never gives way."""
    found = {each.route: each for each in blocks}
    for each in more:
        mine = found.get(each.route)
        if mine is None or (each.stands and not mine.stands):
            found[each.route] = each
        elif mine.stands and each.stands:
            found[each.route] = mine.opened_again(each)
    return tuple(found.values())


def unwritten(found: Mapping[str, Block], held: Iterable[Block]) -> dict[str, Block]:
    """Return what of `found` a store doesn't know yet, joined with what it knows."""
    known = {each.route: each for each in held}
    left = {}
    for route, block in found.items():
        before = known.get(route)
        if before is None:
            left[route] = block
        elif not before.settles(block):
            left[route] = before.opened_again(block)
    return left


def lost(before: Iterable[Block], after: Iterable[Block]) -> dict[str, Block]:
    """Return what stood before and isn't known any more: entries never leave the store."""
    known = {each.route for each in after}
    return {each.route: each for each in before if each.stands and each.route not in known}


@dataclass(frozen=True, slots=True)
class Proof:
    """What the comparisons of one release say of a blocked route."""

    compared: int = 0
    refused: int = 0
    """Comparisons in which both sides turned the caller away."""

    @property
    def ends(self) -> bool:
        """Whether that is enough to end the block."""
        return self.compared >= ENOUGH and self.refused > 0


def proof_key(block: Block, release: str, worker: str) -> str:
    """Name what one worker has compared of a block; one that begins anew is counted anew."""
    return "\n".join((block.route, release, f"{block.since:.6f}", worker))


def proof(block: Block, release: str, documents: Mapping[str, Any]) -> Proof:
    """Add up what all workers of a release have compared; what can't be read counts nothing."""
    start = proof_key(block, release, "")
    whole = Proof()
    for key, told in documents.items():
        if key.startswith(start) and isinstance(told, list) and len(told) == 2:  # noqa: PLR2004
            compared, refused = told
            if type(compared) is int and type(refused) is int and 0 <= refused <= compared:
                whole = Proof(whole.compared + compared, whole.refused + refused)
    return whole
