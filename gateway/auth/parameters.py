"""Which guarded routes lack a path parameter that the shared guard takes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fastapi.exceptions import FastAPIError

from gateway.routing import AUTOMATIC

if TYPE_CHECKING:
    from gateway.auth.guard import Guard
    from gateway.exceptions import Problem
    from gateway.loading import Loaded
    from gateway.locations import Location
    from gateway.routing import Route, RouteTable

CODE = "guard-parameter"
_SHOWN = 5


def parameter_problems(guard: Guard | None, loaded: Loaded, table: RouteTable) -> list[Problem]:
    """Report the guarded routes whose path lacks a parameter that the dependency takes from it.

    A name that is a path parameter on one guarded route is never read from the query: anybody
    could choose it there.
    """
    if guard is None:
        return []
    name = loaded.config.auth.dependency if loaded.config.auth is not None else None
    where: Location = ("auth", "dependency")
    try:
        found = list(guard.lacking(table))
    except (AssertionError, FastAPIError, NameError, TypeError, ValueError) as error:
        what = f"FastAPI can't use it where a guarded route's path has such a parameter: {error}"
        return [loaded.source.problem(CODE, where, what, "give the parameter another name")]
    lacking: dict[tuple[Location, str], list[Route]] = {}
    for route, missing in found:
        said = route.rule is not None and route.rule.config.auth is not None
        rule: Location = ("defaults",)
        if route.rule is not None and said:
            rule = ("routes", route.rule.index)
        for parameter in missing:
            lacking.setdefault(((*rule, "auth"), parameter), []).append(route)
    return [
        loaded.source.problem(
            CODE,
            location,
            f"{name} takes {parameter!r} from the path, which {_listed(routes)} does not have",
            "name the parameter as the dependency does, or say another `auth:` for the route",
        )
        for (location, parameter), routes in sorted(lacking.items(), key=str)
    ]


def _listed(routes: list[Route]) -> str:
    """Name the routes; the methods that frameworks add by themselves only where they are all."""
    written = [route.id for route in routes if route.method not in AUTOMATIC]
    ids = list(dict.fromkeys(written or [route.id for route in routes]))
    more = f" and {len(ids) - _SHOWN} more" if len(ids) > _SHOWN else ""
    return f"{', '.join(ids[:_SHOWN])}{more}"
