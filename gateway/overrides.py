"""Overrides: runtime changes of a cutover that beat the config file. Plain values and pure rules.

An override goes by a rule's id, by a route's (`GET /items/{id}`), or by `*` for the kill switch;
a route's own beats its rule's. It remembers what the file said when it was made: once that line
changes, the file has the last word again. A rollback stays until somebody clears it.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, cast, get_args

from pydantic import ConfigDict, Field

from gateway.config import Cutover
from gateway.routing import AUTOMATIC, Coverage
from gateway.templates import parse_any

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from gateway.config import Config
    from gateway.routing import Route, RouteTable
    from gateway.templates import Template

Kind = Literal["set", "rollback"]
#: The key of the kill switch.
ALL = "*"


#: Seconds since the epoch; what lies beyond the year 5000 is no time.
Moment = Annotated[float, Field(ge=0, le=1e11)]


@dataclass(frozen=True, slots=True)
class Override:
    """One runtime change. Times are in seconds since the epoch, `weight` in percent.

    `replaced` is what the file said of the route then, as `said` writes it. `expires` is None for
    one that lasts. `covers` are the routes that it was about then, by their ids. `origin` names the
    write of the store that made it (`gateway.held`).
    """

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(strict=True, allow_inf_nan=False)

    route: str
    cutover: Cutover
    weight: Annotated[float, Field(ge=0, le=100)] | None
    kind: Kind
    author: str
    reason: str
    since: Moment
    expires: Moment | None
    replaced: str
    covers: tuple[str, ...] = ()
    origin: str = field(default="", compare=False)

    @property
    def text(self) -> str:
        """The cutover as people write it: `canary 10%`."""
        return written(self.cutover, self.weight)

    @property
    def stays(self) -> bool:
        """Whether it holds until somebody clears it, whatever becomes of the file."""
        return self.kind == "rollback"

    def as_json(self) -> dict[str, Any]:
        """Return plain values."""
        return asdict(self)


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


def outdated(held: Iterable[Override], config: Config, table: RouteTable) -> list[Override]:
    """Return the overrides whose line in the file has changed since; rollbacks stay."""
    return [
        each for each in held if not each.stays and said(each.route, config, table) != each.replaced
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
    template = route.template
    if route.legacy is not None and not route.wider:  # a wider view has other paths as well
        template = route.legacy.template
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


def shape_of(ident: str, table: RouteTable) -> tuple[str, tuple[str, ...]] | None:
    """Return a route's method and the shape of its path, whatever its parameters are called."""
    method, _, path = ident.partition(" ")
    if not path.startswith("/"):
        return None
    return method, parse_any(path, table.legacy.open_converters).segments


def rollbacks(active: Mapping[str, Override], table: RouteTable) -> dict[str, Override]:
    """Return what is rolled back, by the ids of rules and routes.

    A rollback holds for the routes that it was about, whatever becomes of their rule: it may be
    renamed, narrowed, split, or have given its name away. As long as the rule has any of them, it
    holds for whatever else the rule has got, too.
    """
    found: dict[str, Override] = {}
    standing = [each for each in active.values() if each.stays and each.route != ALL]
    if not standing:
        return found
    shapes = {each.id: shape_of(each.id, table) for each in table.routes}
    for override in standing:
        meant = {shape_of(each, table) for each in (*override.covers, override.route)} - {None}
        held = [each for each in table.routes if shapes[each.id] in meant]
        for route in held:
            found[route.id] = override
            if route.rule is not None and route.rule.id == override.route:
                found[override.route] = override
    return found


def rolled_back(ident: str, active: Mapping[str, Override], table: RouteTable) -> Override | None:
    """Return the rollback that holds for a rule, a route or everything; None: there is none."""
    everything = active.get(ALL)
    if everything is not None and everything.stays:
        return everything
    found = rollbacks(active, table)
    rule = next((e.rule for e in table.routes if e.id == ident and e.rule is not None), None)
    return found.get(ident) or (found.get(rule.id) if rule is not None else None)


def found_again(
    active: Mapping[str, Override], table: RouteTable
) -> tuple[dict[str, Override], dict[str, str]]:
    """Sort out what the overrides hold for in the table as it is now, by the ids that count there.

    The second value tells, by id, what nothing is left of.
    """
    names = {*(each.id for each in table.rules), *(each.id for each in table.routes), ALL}
    kept = {i: each for i, each in active.items() if i in names and (i == ALL or not each.stays)}
    back = rollbacks(active, table)
    # A rollback beats whatever else was set for the same rule or route.
    kept |= back
    held = {override.route for override in kept.values()}
    lost = {
        ident: "no rule or route has this name any more" for ident in active if ident not in held
    }
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
