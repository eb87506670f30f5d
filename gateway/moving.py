"""May native answer a route that legacy has? Pure: what isn't said is refused.

A rule says who guards the native handler (`auth:`). That is held against what the code of both
apps tells. The reading of code adds evidence; it never proves that a view is open, so whatever it
can't resolve counts against the move until somebody accepts it by name, or has proved it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Protocol, get_args

from gateway.config import AcceptedCode
from gateway.routing import WEBSOCKET, Coverage, Finding

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from gateway.config import Auth
    from gateway.inventory import Does, LegacyEndpoint, LegacyRoutes, NativeEndpoint
    from gateway.routing import Route

ACCEPTABLE: frozenset[str] = frozenset(get_args(AcceptedCode))
#: How many signs a message names.
_MOST = 3


class Evidence(Protocol):
    """What is known beside both route tables."""

    @property
    def shared_refuses(self) -> bool:
        """Whether `auth.dependency` is there and can refuse somebody."""
        ...

    def handler_refuses(self, endpoint: NativeEndpoint) -> bool:
        """Tell whether a native route certainly refuses somebody, by itself or what is before it.

        "Perhaps" is no guard.
        """
        ...

    def is_proved(self, route: Route) -> bool:
        """Tell whether `gateway prove` has seen both sides refuse alike, with this very code."""
        ...

    def was_accepted(self, code: str, route: Route) -> bool:
        """Tell whether the rule's `accept` was written for this route, too (`routes.lock`)."""
        ...


@dataclass(frozen=True, slots=True)
class NoEvidence:
    """Nothing is known: for tables that nobody serves from."""

    shared_refuses: bool = False

    def handler_refuses(self, endpoint: NativeEndpoint) -> bool:  # noqa: ARG002
        """Return False."""
        return False

    def is_proved(self, route: Route) -> bool:  # noqa: ARG002
        """Return False."""
        return False

    def was_accepted(self, code: str, route: Route) -> bool:  # noqa: ARG002
        """Return True: there is no lock."""
        return True


def judged(
    route: Route,
    views: Sequence[LegacyEndpoint],
    handlers: Sequence[NativeEndpoint],
    legacy: LegacyRoutes,
    evidence: Evidence,
    beside: Sequence[LegacyEndpoint] = (),
) -> Route:
    """Return the route with its findings, and with those that its rule accepts.

    `views` are the legacy views that native may answer for, `beside` those of the same path that
    the handler may answer for under another method; `handlers` the native routes of this
    template that may do so.
    """
    judge = _Judge(route, views, handlers, legacy, evidence, beside)
    open_: list[Finding] = []
    accepted: dict[str, str] = {}
    said = route.rule.config.accept if route.rule is not None else {}
    for finding in judge.findings():
        reason = said.get(finding.code)  # type: ignore[call-overload] # any code may be asked for
        if reason is not None and evidence.was_accepted(finding.code, route):
            accepted[finding.code] = reason
        elif reason is not None:
            what = f"{finding.what}; its rule accepts this for the routes in the lock only"
            open_.append(Finding(finding.code, what, "look at it, then run: gateway lock"))
        else:
            open_.append(finding)
    return replace(route, findings=tuple(open_), accepted=accepted)


def accepted_as(code: str, route: Route) -> str:
    """Name a finding of a route for `routes.lock`: `CODE METHOD PATH`, then the view it is about.

    Two views may have one path template: on two hosts, or by two converters.
    """
    view = route.legacy
    if view is None:
        return f"{code} {route.id}"
    host = f" host={view.host}" if view.host else ""
    return f"{code} {route.id} {view.endpoint}{host}"


def better_word(route: Route, legacy: LegacyRoutes) -> str | None:
    """Name the inherited hook that would guard a route which says that nobody does."""
    if route.auth != "none" or route.hooks == "skip" or route.legacy is None:
        return None
    around = legacy.guards(route.legacy, route.method).around
    return next((each.name for each in around if each.does == "refuses"), None)


@dataclass(frozen=True, slots=True)
class _Judge:
    """What is known of one route."""

    route: Route
    views: Sequence[LegacyEndpoint]
    handlers: Sequence[NativeEndpoint]
    legacy: LegacyRoutes
    evidence: Evidence
    beside: Sequence[LegacyEndpoint]

    def findings(self) -> Iterator[Finding]:
        auth = self.route.auth
        if auth is None:
            if self.route.coverage is Coverage.BOTH:
                yield self._unsaid()
        elif auth == "hooks":
            yield from self._by_hooks()
        elif auth == "shared":
            if not self.route.requires:
                yield from self._by_dependency()
        elif auth == "native" and not self._refuses_itself():
            yield Finding(
                "guards-nobody",
                "nothing in the native handler, its dependencies or its middleware certainly "
                "refuses a caller",
                "give it a dependency that answers 401 or 403, such as Depends(flask_login), or "
                "say `auth: none`; if it refuses by a redirect, prove it (gateway prove), and add "
                "`accept: {guards-nobody: how it refuses}`",
            )

    def _unsaid(self) -> Finding:
        """Ask for `auth:`, with the line that fits best."""
        word: Auth = "none"
        why = "nothing was found that refuses anybody"
        refusing, perhaps = self._views()
        hooks = self._hooks("refuses") if self.route.hooks == "inherit" else []
        guarded = hooks or refusing or perhaps or self._hooks("perhaps") or self.legacy.opaque
        if hooks and not (refusing or perhaps):
            word, why = "hooks", f"{hooks[0]} comes before it, and its view asks nobody else"
        elif self._refuses_itself():
            word, why = "native", "the native handler refuses by itself"
        elif hooks and not refusing:
            word, why = "hooks", f"{hooks[0]} comes before it; `check` says what the view may"
        elif guarded and self.evidence.shared_refuses:
            word, why = "shared", "auth.dependency guards it, then"
        elif guarded:
            word = "native"
            why = "once its handler refuses whom legacy refuses; or shared, none"
        return Finding(
            "auth-missing",
            "native would answer, and nobody says who guards it",
            f"add `auth: {word}` to its rule: {why}",
            word,
        )

    def _by_hooks(self) -> Iterator[Finding]:
        if self.route.method == WEBSOCKET:
            yield Finding(
                "websocket-unguarded",
                "Flask's hooks never run for a WebSocket",
                "say `auth: shared`, `native` or `none` in a rule for it",
            )
            return
        if self.legacy.opaque or self.route.hooks == "skip":
            what = "Flask's hooks, which should guard it, don't run around it"
            yield Finding("hooks-skipped", what, "say `auth: shared`, `native` or `none`")
            return
        proved = self.evidence.is_proved(self.route)
        if not self._hooks("refuses", "perhaps") and not proved:
            yield Finding(
                "hooks-guard-nobody",
                "none of Flask's hooks and middleware can refuse a caller here",
                "say `auth: shared`, `native` or `none`, prove it (gateway prove), or accept it",
            )
        refusing, perhaps = self._views()
        if refusing:
            yield Finding(
                "guards-itself",
                "the view refuses callers by itself, which no hook does for native: "
                + _list(refusing),
                "let the handler do the same and say `auth: native`, or `auth: shared`",
            )
        elif perhaps and not proved:
            yield Finding(
                "may-guard-itself",
                f"the view may refuse callers by itself: {_list(perhaps)}",
                "prove it (gateway prove), or add `accept: {may-guard-itself: why it doesn't}`",
            )

    def _by_dependency(self) -> Iterator[Finding]:
        if not self.evidence.shared_refuses:
            yield Finding(
                "guards-nobody",
                "auth.dependency can refuse nobody: it only tells who is calling",
                "name one that does, such as gateway.flask:flask_login, or say `requires:`",
            )
        refusing, _ = self._views()
        if refusing and not self.evidence.is_proved(self.route):
            yield Finding(
                "guards-itself",
                "the view refuses callers by itself, beside the shared guard: " + _list(refusing),
                "say what it asks for with `requires:`, or accept it: "
                "`accept: {guards-itself: why}`",
            )

    def _refuses_itself(self) -> bool:
        """Tell whether every handler that may answer certainly refuses somebody."""
        return bool(self.handlers) and all(map(self.evidence.handler_refuses, self.handlers))

    def _hooks(self, *does: Does) -> list[str]:
        """Name the hooks and middleware that refuse somebody here, or perhaps do."""
        method = self.route.method
        asked = [self.legacy.guards(view, method) for view in self.views]
        if not self.views:
            asked = [self.legacy.guards(None, method)]
        return [each.name for found in asked for each in found.around if each.does in does]

    def _views(self) -> tuple[list[str], list[str]]:
        """Return the signs that the views refuse callers, and those that they may."""
        refusing: list[str] = []
        perhaps: list[str] = []
        for view in (*self.views, *self.beside):
            for method in self._answered(view):
                found = self.legacy.guards(view, method).view
                if found is None or found.does in ("nothing", "identifies"):
                    continue
                signs = list(found.evidence or (found.name,))
                (refusing if found.does == "refuses" else perhaps).extend(signs)
        return refusing, perhaps

    def _answered(self, view: LegacyEndpoint) -> list[str]:
        """List the methods of a view that the route's handler could answer for.

        HEAD is served by the handler for GET, and a handler for OPTIONS may be one for other
        methods, too: Flask's own OPTIONS is open where its GET is not.
        """
        methods = {self.route.method}
        if self.route.method == "HEAD":
            methods |= view.methods & {"GET"}
        elif self.route.method == "OPTIONS":
            for handler in self.handlers:
                methods |= view.methods & (handler.methods or view.methods)
        return sorted(methods)


def _list(signs: list[str]) -> str:
    unique = list(dict.fromkeys(signs))
    more = f" and {len(unique) - _MOST} more" if len(unique) > _MOST else ""
    return ", ".join(unique[:_MOST]) + more
