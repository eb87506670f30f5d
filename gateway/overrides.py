"""Overrides: runtime changes of a cutover that beat the config file. Plain values and pure rules.

An override goes by a rule's id, by a route's (`GET /items/{id}`), or by `*` for the kill switch;
a route's own beats its rule's. It remembers what the file said when it was made: once that line
changes, the file has the last word again. A rollback stays until somebody clears it.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal, cast

from gateway.routing import AUTOMATIC, Coverage
from gateway.templates import parse_any

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gateway.config import Config, Cutover
    from gateway.routing import Route, RouteTable
    from gateway.templates import Template

Kind = Literal["set", "rollback"]
#: The key of the kill switch.
ALL = "*"


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
    def of_json(cls, data: Mapping[str, Any]) -> Override:
        """Read what `as_json` has written; keys of a newer version are passed over."""
        values = {name: data[name] for name in cls.__dataclass_fields__ if name in data}
        return cls(**{**values, "covers": tuple(values.get("covers", ()))})


@dataclass(frozen=True, slots=True)
class Held:
    """All overrides that a store holds, by route, and the number of its last change.

    `sequence` grows by one with every change and never goes back.
    """

    sequence: int = 0
    overrides: tuple[Override, ...] = ()

    def by_route(self, now: float) -> dict[str, Override]:
        """Return those that haven't expired, by the id that they go by."""
        return {
            each.route: each
            for each in self.overrides
            if each.expires is None or each.expires > now
        }

    def next_expiry(self, now: float) -> float | None:
        """Return when the next one ends, None where none does."""
        return min(
            (e.expires for e in self.overrides if e.expires and e.expires > now), default=None
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


def found_again(
    active: Mapping[str, Override], table: RouteTable
) -> tuple[dict[str, Override], dict[str, str]]:
    """Sort out overrides whose rule or route the table no longer has.

    A rollback goes on to hold for the routes that its rule had: renaming a rule must not put back
    what was rolled back. The second value tells, by id, what nothing is left of.
    """
    routes = {each.id for each in table.routes}
    names = {each.id for each in table.rules} | routes | {ALL}
    kept = {ident: each for ident, each in active.items() if ident in names}
    lost: dict[str, str] = {}
    for ident, override in active.items():
        if ident in names:
            continue
        left = routes.intersection(override.covers) if override.kind == "rollback" else set[str]()
        for route in left:
            kept.setdefault(route, override)
        if not left:
            lost[ident] = "no rule or route has this name any more"
    return kept, lost


def known(table: RouteTable) -> list[str]:
    """List every name that a command may use, for suggestions."""
    return [*(rule.id for rule in table.rules), *dict.fromkeys(each.id for each in table.routes)]


def as_cutover(text: str) -> Cutover:
    """Return `text` as a cutover; raises ValueError for what is none that can be set."""
    if text not in ("legacy", "canary", "native"):
        message = f"{text!r} is no cutover that can be set: legacy, canary or native"
        raise ValueError(message)
    return cast("Cutover", text)
