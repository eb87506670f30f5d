"""The second lock: no middleware inside Flask may lead a request to a view that has been retired.

The table decides by the path that the client sent. A WSGI middleware may change method or path
after that (method override, prefix strip). So once Flask itself has matched, and before its first
hook, the matched rule and method are held against the table once more.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from flask import Flask, Request, request, request_started

from gateway.cutover import decide
from gateway.exceptions import Handover
from gateway.routing import Backend, Match

if TYPE_CHECKING:
    from gateway.cutover import Policy
    from gateway.inventory import Scope
    from gateway.routing import RouteTable

#: Where the bridge hands the Passport to the app.
ENVIRON_KEY = "gateway.passport"


@dataclass(frozen=True, slots=True)
class Passport:
    """What was decided for a request before Flask saw it."""

    table: RouteTable
    policy: Policy
    match: Match
    scope: Scope


class RetiredRoute(Handover):
    """Flask matched a rule that native serves now; `match` is that rule's, method and path too."""

    def __init__(self, match: Match, method: str, path: str) -> None:
        super().__init__(f"{method} {path}")
        self.match, self.method, self.path = match, method, path


def needs_lock(app: Flask) -> bool:
    """Tell whether anything stands between the server and Flask's own matching.

    Plain Flask matches the very method and path that the table has matched: no lock, no cost.
    """
    return (
        "wsgi_app" in vars(app)
        or any(
            getattr(type(app), name) is not getattr(Flask, name)
            for name in ("wsgi_app", "__call__", "request_context")
        )
        or app.request_class is not Request
    )


def install(app: Flask) -> None:
    """Watch `app`; doing it twice is the same as once."""
    request_started.connect(_check, sender=app)


def _check(sender: Flask, **_: Any) -> None:  # noqa: ARG001 - blinker's signature
    passport: Passport | None = request.environ.get(ENVIRON_KEY)
    rule = request.url_rule
    if passport is None or rule is None:
        return
    route = passport.match.route
    decided = route.legacy if route is not None else None
    if decided is not None and decided.ref is rule and passport.scope["method"] == request.method:
        return
    scope = {**passport.scope, "method": request.method, "path": request.path, "root_path": ""}
    match = passport.table.for_legacy_rule(rule, scope)
    decision = decide(match, scope, passport.policy)
    # Nobody is given an identity here: the answer's headers are out of reach, so that the next
    # request would find none again and could land on the other side.
    if decision.backend is Backend.LEGACY or decision.mint is not None:
        return
    raise RetiredRoute(match, request.method, request.path)
