"""Overrides: runtime changes of a cutover that beat the config file. Plain values and pure rules.

An override goes by a rule's id, by a route's (`GET /items/{id}`), or by `*` for the kill switch;
a route's own beats its rule's. It remembers what the file said when it was made: once that line
changes, the file has the last word again. A rollback stays until somebody clears it.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal, cast, get_args

from gateway.config import Cutover
from gateway.routing import AUTOMATIC, Coverage
from gateway.templates import parse_any

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gateway.config import Config
    from gateway.routing import Route, RouteTable
    from gateway.templates import Template

Kind = Literal["set", "rollback"]
#: The key of the kill switch.
ALL = "*"
#: How far the clocks of two hosts may be apart, in seconds, for a rollback to count as newer.
SKEW_SECONDS = 60.0
#: Generations of a store that a Held remembers.
_MOST_ANCESTORS = 20


@dataclass(frozen=True, slots=True)
class Override:
    """One runtime change. Times are in seconds since the epoch, `weight` in percent.

    `replaced` is what the file said of the route then, as `said` writes it. `expires` is None for
    one that lasts. `covers` are the routes that a rule had then, by their ids.
    """

    route: str
    cutover: Cutover
    weight: float | None
    kind: Kind
    author: str
    reason: str
    since: float
    expires: float | None
    replaced: str
    covers: tuple[str, ...] = ()

    @property
    def text(self) -> str:
        """The cutover as people write it: `canary 10%`."""
        return written(self.cutover, self.weight)

    def as_json(self) -> dict[str, Any]:
        """Return plain values, as the stores keep them."""
        return asdict(self)

    @classmethod
    def of_json(cls, data: Any) -> Override:
        """Read what `as_json` has written; keys of a newer version are passed over.

        Raises ValueError for anything else: a store's content is nothing that we can rely on.
        """
        values = {name: data[name] for name in cls.__dataclass_fields__ if name in _object(data)}
        values["covers"] = _texts(values.get("covers", ()))
        for name, types in _FIELDS.items():
            _typed(name, values.get(name), types)
        if values["cutover"] not in get_args(Cutover) or values["kind"] not in get_args(Kind):
            message = f"neither a set nor a rollback: {values['kind']} {values['cutover']}"
            raise ValueError(message)
        return cls(**values)


_NUMBER: tuple[type, ...] = (int, float)
_FIELDS: dict[str, tuple[type, ...]] = {
    "route": (str,),
    "cutover": (str,),
    "weight": (*_NUMBER, type(None)),
    "kind": (str,),
    "author": (str,),
    "reason": (str,),
    "since": _NUMBER,
    "expires": (*_NUMBER, type(None)),
    "replaced": (str,),
}


def _typed(name: str, value: Any, types: tuple[type, ...]) -> None:
    right = isinstance(value, types) and not isinstance(value, bool)
    if not right or (isinstance(value, float) and not math.isfinite(value)):
        message = f"{name} can't be {value!r}"
        raise ValueError(message)


def _object(data: Any) -> dict[str, Any]:
    if not isinstance(data, dict):
        message = f"{type(data).__name__} where an object was expected"
        raise ValueError(message)  # noqa: TRY004 - one error for whatever is malformed
    return data


def _texts(data: Any) -> tuple[str, ...]:
    if not isinstance(data, list | tuple) or not all(isinstance(each, str) for each in data):
        message = "a list of texts was expected"
        raise ValueError(message)
    return tuple(data)


@dataclass(frozen=True, slots=True)
class Held:
    """All overrides that a store holds, and which of its states this is.

    `sequence` grows by one with every change, `at` is when that was (seconds since the epoch).
    `generation` names the store's life: a store that has lost its data begins another one, and may
    come to the same sequence with other contents. `ancestors` are the earlier lives that went into
    this one, each with the last sequence that it includes.
    """

    sequence: int = 0
    overrides: tuple[Override, ...] = ()
    generation: str = ""
    at: float = 0.0
    ancestors: tuple[tuple[str, int], ...] = ()

    @property
    def mark(self) -> str:
        """What tells this state from every other: `17.a3f9c012`."""
        return f"{self.sequence}.{self.generation}" if self.generation else str(self.sequence)

    def includes(self, other: Held) -> bool:
        """Tell whether everything that led to `other` led to this, too."""
        if not other.generation:
            return True
        if self.generation == other.generation:
            return self.sequence >= other.sequence
        return dict(self.ancestors).get(other.generation, -1) >= other.sequence

    def by_route(self, now: float) -> dict[str, Override]:
        """Return those that haven't expired, by the id that they go by."""
        return {
            each.route: each
            for each in self.overrides
            if each.expires is None or each.expires > now
        }

    def next_expiry(self) -> float | None:
        """Return when the next one ends, or has ended; None where none does."""
        return min((e.expires for e in self.overrides if e.expires is not None), default=None)

    def as_json(self) -> dict[str, Any]:
        """Return plain values, as the stores keep them."""
        return asdict(self)

    @classmethod
    def of_json(cls, data: Any) -> Held:
        """Read what `as_json` has written; raises ValueError for anything else."""
        values = _object(data)
        held = values.get("overrides")
        ancestors = values.get("ancestors", [])
        if not isinstance(held, list) or not isinstance(ancestors, list):
            message = "a list of overrides was expected"
            raise ValueError(message)  # noqa: TRY004 - as above
        _typed("sequence", values.get("sequence"), (int,))
        _typed("generation", values.get("generation"), (str,))
        _typed("at", values.get("at"), _NUMBER)
        for each in ancestors:
            if not isinstance(each, list) or [type(part) for part in each] != [str, int]:
                message = "an ancestor is a generation and a sequence"
                raise ValueError(message)
        return cls(
            values["sequence"],
            tuple(Override.of_json(each) for each in held),
            values["generation"],
            values["at"],
            tuple((name, sequence) for name, sequence in ancestors),
        )


def merged(ours: Held, found: Held, generation: str) -> Held:
    """Put together what a worker knows and what a store holds that has lost some of that.

    What was changed in the store since its loss is newer than all that we know, and counts; where
    either side has rolled back, the rollback does.
    """
    by_route = {each.route: each for each in ours.overrides}
    for each in found.overrides:
        rollback = each.kind == "rollback"
        if each.since <= ours.at - (SKEW_SECONDS if rollback else 0.0):
            continue  # we knew of it: where we don't hold it any more, somebody has cleared it
        mine = by_route.get(each.route)
        if mine is None or mine.kind != "rollback" or rollback:
            by_route[each.route] = each
    shut = {r for each in by_route.values() if each.kind == "rollback" for r in each.covers}
    kept = (e for e in by_route.values() if e.kind == "rollback" or e.route not in shut)
    ancestors = dict(ours.ancestors)
    past = (*found.ancestors, (ours.generation, ours.sequence), (found.generation, found.sequence))
    for name, sequence in past:
        if name:
            ancestors[name] = max(sequence, ancestors.pop(name, 0))
    return Held(
        max(ours.sequence, found.sequence) + 1,
        tuple(kept),
        generation,
        max(ours.at, found.at),
        tuple(ancestors.items())[-_MOST_ANCESTORS:],
    )


@dataclass(frozen=True, slots=True)
class Resolved:
    """What a ROUTE of a command means: the ids to override, and what there is to say of them.

    `alone` are the routes that only one side has: there is nothing to decide for them.
    """

    ids: tuple[str, ...]
    alone: tuple[str, ...] = ()


def written(cutover: str, weight: float | None) -> str:
    """Write a cutover as people do: `legacy`, `canary 10%`."""
    return cutover if weight is None else f"{cutover} {weight:g}%"


def said(ident: str, config: Config, table: RouteTable) -> str:
    """Tell what the file says of a rule, a route or the kill switch; empty if it knows none."""
    if ident == ALL:
        return f"kill_switch {str(config.defaults.kill_switch).lower()}"
    rule = next((each for each in table.rules if each.id == ident), None)
    if rule is None:
        route = next((each for each in table.routes if each.id == ident), None)
        if route is None:
            return ""
        rule = route.rule
    if rule is None:
        return config.defaults.cutover
    return written(rule.config.cutover, rule.config.weight)


def outdated(held: Held, config: Config, table: RouteTable) -> list[Override]:
    """Return the overrides whose line in the file has changed since; rollbacks stay."""
    return [
        each
        for each in held.overrides
        if each.kind != "rollback" and said(each.route, config, table) != each.replaced
    ]


def resolve(wanted: str, table: RouteTable) -> Resolved:
    """Find what ROUTE means: a rule's id, `GET /items/{id}`, or a path for all its methods.

    Nothing is found where `ids` and `alone` are both empty.
    """
    rule = next((each for each in table.rules if each.id == wanted), None)
    if rule is not None:
        routes = [each for each in table.routes if each.rule is rule]
        return _resolved(routes, (rule.id,))
    method, _, path = wanted.strip().rpartition(" ")
    if not path.startswith("/"):
        return Resolved(())
    segments = parse_any(path, table.legacy.open_converters).segments
    methods = {method.upper()} | ({"HEAD"} if method.upper() == "GET" else set())
    routes = [
        each
        for each in table.routes
        if _template_of(each).segments == segments and (not method or each.method in methods)
    ]
    return _resolved(routes, None)


def _template_of(route: Route) -> Template:
    template = route.legacy.template if route.legacy is not None else route.template
    return template if template is not None else parse_any(route.label)


def _resolved(routes: list[Route], ids: tuple[str, ...] | None) -> Resolved:
    both = [each for each in routes if each.coverage is Coverage.BOTH]
    alone = tuple(
        dict.fromkeys(
            each.id
            for each in routes
            if each.coverage is not Coverage.BOTH and each.method not in AUTOMATIC
        )
    )
    if not both:
        return Resolved((), alone)
    return Resolved(ids or tuple(dict.fromkeys(each.id for each in both)), alone)


def rolled_back(ident: str, active: Mapping[str, Override], table: RouteTable) -> Override | None:
    """Return the rollback that holds for a rule, a route or the kill switch; None: there is none.

    A route is also held by its rule's, and by that of a rule that has had it and is gone.
    """
    names = {ident}
    rule = next((e.rule for e in table.routes if e.id == ident and e.rule is not None), None)
    if rule is not None:
        names.add(rule.id)
    for each in active.values():
        if each.kind == "rollback" and (each.route in names or ident in orphaned(each, table)):
            return each
    return None


def orphaned(override: Override, table: RouteTable) -> frozenset[str]:
    """Return the routes that a rollback goes on to hold for, though its rule is gone."""
    routes = {each.id for each in table.routes}
    names = {*(each.id for each in table.rules), *routes, ALL}
    if override.kind != "rollback" or override.route in names:
        return frozenset()
    return frozenset(routes.intersection(override.covers))


def found_again(
    active: Mapping[str, Override], table: RouteTable
) -> tuple[dict[str, Override], dict[str, str]]:
    """Sort out overrides whose rule or route the table no longer has.

    A rollback goes on to hold for the routes that its rule had: renaming a rule must not put back
    what was rolled back. The second value tells, by id, what nothing is left of.
    """
    names = {*(each.id for each in table.rules), *(each.id for each in table.routes), ALL}
    kept = {ident: each for ident, each in active.items() if ident in names}
    lost: dict[str, str] = {}
    for ident, override in active.items():
        if ident in names:
            continue
        left = orphaned(override, table)
        # A rollback beats what was set for the same route meanwhile.
        kept |= {r: override for r in left if r not in kept or kept[r].kind != "rollback"}
        if not left:
            lost[ident] = "no rule or route has this name any more"
    return kept, lost


def known(table: RouteTable) -> list[str]:
    """List every name that a command may use, for suggestions."""
    return [*(rule.id for rule in table.rules), *dict.fromkeys(each.id for each in table.routes)]


def as_cutover(text: str) -> Cutover:
    """Return `text` as a cutover; raises ValueError for what is none."""
    if text not in get_args(Cutover):
        message = f"{text!r} is no cutover, use {', '.join(get_args(Cutover))}"
        raise ValueError(message)
    return cast("Cutover", text)
