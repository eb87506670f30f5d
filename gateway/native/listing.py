"""Routes as plain values, for the rest of the gateway."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

from starlette.routing import Host, Mount, Route, WebSocketRoute

from gateway.inventory import NativeEndpoint
from gateway.native import included
from gateway.native.candidate import Candidate, Nested

if TYPE_CHECKING:
    from collections.abc import Iterator

    from starlette.routing import Router

Kind = Literal["route", "websocket", "mount", "host", "frontend"]


def listed(candidate: Candidate, order: int) -> NativeEndpoint:
    """Describe a route of the app itself."""
    route = candidate.route
    kind = _kind(candidate)
    path = route.host if isinstance(route, Host) else getattr(route, "path", None)
    methods = getattr(route, "methods", None)
    module, qualname = _described(getattr(route, "endpoint", None))
    return NativeEndpoint(
        path=path or "/",
        methods=frozenset(methods) if methods and kind == "route" else None,
        name=getattr(route, "name", None) or "",
        tags=tuple(str(getattr(tag, "value", tag)) for tag in getattr(route, "tags", None) or ()),
        kind=kind,
        order=order,
        module=module,
        qualname=qualname,
        include_in_schema=bool(getattr(route, "include_in_schema", False)),
        mounted=False,
        ref=candidate,
        wants_flask=bool(getattr(_asked(candidate), "wants_flask", False)),
        dependant=getattr(route, "dependant", None)
        or getattr(_asked(candidate), "dependant", None),
        handler=getattr(route, "endpoint", None),
        route=_asked(candidate),
    )


def _asked(candidate: Candidate) -> Any:
    return candidate.top if candidate.leaf is None else candidate.leaf.original


def _kind(candidate: Candidate) -> Kind:
    asked = _asked(candidate)
    if isinstance(asked, Route):
        return "route"
    if isinstance(asked, WebSocketRoute):
        return "websocket"
    if isinstance(asked, Host):
        return "host"
    # A route class of its own with a template is a route; without one it decides by itself what
    # it takes, as a mount does.
    if not isinstance(asked, Mount) and getattr(candidate.route, "path", None):
        return "route"
    return "mount"


def _described(endpoint: Any) -> tuple[str, str]:
    while isinstance(endpoint, partial):
        endpoint = endpoint.func
    if endpoint is None:
        return "", ""
    named = endpoint if hasattr(endpoint, "__qualname__") else type(endpoint)
    return named.__module__ or "", named.__qualname__


def listed_below(
    mount: Candidate, below: tuple[NativeEndpoint, ...], first: int
) -> dict[int, NativeEndpoint]:
    """Describe the routes of a mounted app as the outer app sees them, by their own order."""
    mounted: dict[int, NativeEndpoint] = {}
    for number, endpoint in enumerate(below, first):
        ref = endpoint.ref
        if isinstance(ref, Candidate | Nested):
            ref = Nested(mount, ref)
        mounted[endpoint.order] = replace(
            endpoint, path=mount.route.path + endpoint.path, order=number, mounted=True, ref=ref
        )
    return mounted


def listed_frontends(router: Router, first: int) -> Iterator[NativeEndpoint]:
    """Describe what `frontend()` serves, in order from `first`."""
    for number, (path, route) in enumerate(included.frontends(router), first):
        yield NativeEndpoint(
            path=path,
            methods=frozenset({"GET", "HEAD"}),
            name="",
            tags=(),
            kind="frontend",
            order=number,
            module="",
            qualname="",
            include_in_schema=False,
            mounted=False,
            ref=route,
        )
