"""Routes and the user's cases → what is asked of both sides. Pure."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal
from urllib.parse import quote, urlencode

from gateway.changes import ChangeRefused, unknown
from gateway.exceptions import ConfigError
from gateway.migrate.prove.cases import RouteCase
from gateway.overrides import resolve, shape_of
from gateway.proofs import guard_text
from gateway.routing import AUTOMATIC, SAFE, Coverage

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gateway.config import Config, WritesConfig
    from gateway.exceptions import Problem
    from gateway.loading import Source
    from gateway.migrate.prove.cases import CasesConfig, Credentials, IdentityConfig
    from gateway.routing import Route, RouteTable

_PARAMETER = re.compile(r"{(?P<name>\w+)(?::path)?}")
#: Sample values that Werkzeug's converters take; any other parameter is "1".
_SAMPLES: Mapping[str, str] = {
    "float": "1.0",
    "uuid": "00000000-0000-4000-8000-000000000001",
}
_EMPTY = RouteCase()

#: What puts back what a request has written; `nothing` is needed by one that only reads.
Undoing = Literal["nothing", "reset", "rollback"]


@dataclass(frozen=True, slots=True)
class Request:
    """One HTTP request, ready to be sent. `path` is quoted; header names are as written."""

    method: str
    path: str
    query: str = ""
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes = b""


@dataclass(frozen=True, slots=True)
class Target:
    """One route that is to be proved.

    `hindrance` says why it can't be asked, and `next` what to do; both empty where it can.
    """

    route: Route
    case: RouteCase
    undoing: Undoing = "nothing"
    writes: WritesConfig | None = None
    hindrance: str = ""
    next: str = ""

    @property
    def guard(self) -> str:
        """Who guards the route once it has moved, as a proof remembers it."""
        return guard_text(self.route.auth, self.route.hooks, self.route.requires)


def auth_of(route: Route, config: Config) -> str | None:
    """Return what the config says of who guards a route; None where it says nothing."""
    own = config.routes[route.rule.index].auth if route.rule is not None else None
    return own or config.defaults.auth


def targets(
    table: RouteTable,
    config: Config,
    cases: CasesConfig,
    source: Source,
    refused: Mapping[int, str],
    wanted: str | None = None,
) -> tuple[Target, ...]:
    """Choose the routes: those that both apps have and a rule governs, or those of `wanted`.

    `refused` are the rules that can't be moved, by their index, with the reason. Raises ConfigError
    where the cases name a route that isn't there, ChangeRefused where `wanted` does.
    """
    by_route = _cases_by_route(table, cases, source)
    chosen = _wanted(table, wanted) if wanted is not None else None
    found: dict[tuple[str, str | None, str], Target] = {}
    for route in table.routes:
        if route.coverage is not Coverage.BOTH or route.method in AUTOMATIC:
            continue
        if chosen is not None and route.id not in chosen:
            continue
        if chosen is None and route.rule is None and config.defaults.cutover == "legacy":
            continue
        host = route.legacy.host if route.legacy is not None else ""
        case = by_route.get(route.id, _EMPTY)
        found[route.id, route.host, host] = _target(route, case, config, cases, refused)
    return tuple(found.values())


def _wanted(table: RouteTable, wanted: str) -> frozenset[str]:
    resolved = resolve(wanted, table)
    if not resolved.ids:
        alone = ", ".join(resolved.alone)
        what = f"only one side has {alone}: there is nothing to compare" if alone else ""
        raise ChangeRefused(what or unknown(wanted, table))
    rules = {each.id for each in table.rules if each.id in resolved.ids}
    return frozenset(
        each.id
        for each in table.routes
        if each.id in resolved.ids or (each.rule is not None and each.rule.id in rules)
    )


def _cases_by_route(table: RouteTable, cases: CasesConfig, source: Source) -> dict[str, RouteCase]:
    shapes: dict[tuple[str, tuple[str, ...]], list[Route]] = {}
    for route in table.routes:
        shape = shape_of(route.id, table)
        if shape is not None:
            shapes.setdefault(shape, []).append(route)
    found: dict[str, RouteCase] = {}
    problems: list[Problem] = []
    for key, case in cases.routes.items():
        location = ("routes", key)
        shape = shape_of(key, table)
        routes = shapes.get(shape, []) if shape is not None else []
        if not routes:
            problems.append(source.problem("unknown-route", location, unknown(key, table)))
            continue
        names = _names(routes[0])
        problems += [
            source.problem(
                "unknown-parameter",
                (*location, "values", name),
                f"{routes[0].id} has no such parameter",
                f"known: {', '.join(names)}" if names else "it has none: remove it",
            )
            for name in case.values
            if name not in names
        ]
        found |= dict.fromkeys((each.id for each in routes), case)
    if problems:
        raise ConfigError(problems)
    return found


def _target(
    route: Route,
    case: RouteCase,
    config: Config,
    cases: CasesConfig,
    refused: Mapping[int, str],
) -> Target:
    hindrance = next_ = ""
    wrong = refused.get(route.rule.index) if route.rule is not None else None
    undoing: Undoing = "nothing"
    writes = config.routes[route.rule.index].writes if route.rule is not None else None
    if route.rule is None and config.defaults.cutover == "legacy":
        hindrance, next_ = "no rule names it", "write one, with the `auth:` that is to be proved"
    elif auth_of(route, config) is None:
        hindrance, next_ = "nothing says who guards it once it has moved", "give its rule `auth:`"
    elif wrong is not None:
        hindrance, next_ = f"it can't be moved: {wrong}", "mend that first (gateway check)"
    elif route.method not in SAFE:
        if cases.reset is not None:
            undoing = "reset"
        elif writes is not None:
            undoing = "rollback"
        else:
            hindrance = "it may write, and nothing puts the data back"
            next_ = "name a `reset:` in the cases, or give its rule `writes:`"
    return Target(route, case, undoing, writes, hindrance, next_)


def _names(route: Route) -> tuple[str, ...]:
    return tuple(found["name"] for found in _PARAMETER.finditer(route.label))


def _converters(route: Route) -> tuple[str, ...]:
    """Return the converters of a route's parameters: Flask's, unless its view is a wider one."""
    legacy = route.legacy.template if route.legacy is not None else None
    if legacy is not None and legacy.label == route.label:
        return legacy.converters
    return route.template.converters if route.template is not None else ()


def path_of(route: Route, case: RouteCase) -> str:
    """Return a concrete path, quoted, with the case's values, and samples where it has none."""
    converters = iter(_converters(route))

    def fill(found: re.Match[str]) -> str:
        sample = _SAMPLES.get(next(converters, "str"), "1")
        value = str(case.values.get(found["name"], sample))
        return quote(value, safe="/" if found[0].endswith(":path}") else "")

    filled, at = "", 0
    for found in _PARAMETER.finditer(route.label):
        filled += quote(route.label[at : found.start()]) + fill(found)
        at = found.end()
    return filled + quote(route.label[at:])


def request_for(
    target: Target, identity: IdentityConfig, shown: Credentials | None, host: str
) -> Request:
    """Make the request that one identity sends; `shown` is what its login has given."""
    route, case = target.route, target.case
    body, kind = _body(case, shown if route.method not in SAFE else None)
    headers = dict(case.headers)
    if kind and not any(name.lower() == "content-type" for name in headers):
        headers["Content-Type"] = kind
    cookies = dict(identity.cookies)
    own = dict(identity.headers)
    if shown is not None:
        cookies |= shown.cookies
        own |= shown.headers
        if route.method not in SAFE:
            own |= shown.csrf.header
    taken = {name.lower() for name in own}
    lines = [("Host", case.host or host)]
    lines += [(name, value) for name, value in headers.items() if name.lower() not in taken]
    lines += own.items()
    if cookies:
        lines.append(("Cookie", "; ".join(f"{name}={value}" for name, value in cookies.items())))
    if body or route.method not in SAFE:
        lines.append(("Content-Length", str(len(body))))
    return Request(
        route.method, path_of(route, case), case.query.removeprefix("?"), tuple(lines), body
    )


def _body(case: RouteCase, shown: Credentials | None) -> tuple[bytes, str]:
    fields = shown.csrf.field if shown is not None else {}
    if case.json_ is not None:
        return json.dumps(case.json_).encode(), "application/json"
    if case.form is not None or (fields and case.body is None):
        return urlencode({**(case.form or {}), **fields}).encode(), (
            "application/x-www-form-urlencoded"
        )
    return (case.body or "").encode(), ""
