"""Everything that is wrong with a config and the two apps it is for, once its table is made."""

from __future__ import annotations

import difflib
from dataclasses import dataclass, field
from itertools import product
from typing import TYPE_CHECKING

from gateway.moving import better_word
from gateway.routing import (
    AUTOMATIC,
    SAFE,
    SAMPLES,
    UNMOVED,
    WEBSOCKET,
    Coverage,
    host_matches,
    native_template,
    scope_of,
)
from gateway.templates import Template, parse_any

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from datetime import date

    from gateway.config import Auth, Config
    from gateway.exceptions import Problem
    from gateway.loading import Source
    from gateway.routing import Finding, Route, RouteTable, Rule


@dataclass(slots=True)
class Claims:
    """What one rule has claimed, for the problems that only the whole shows."""

    moved: list[Route] = field(default_factory=list)
    stayed: list[Route] = field(default_factory=list)
    claimed: int = 0
    methods: set[str] = field(default_factory=set)


@dataclass(frozen=True, slots=True)
class Findings:
    """What making the table has shown: who claims what, and which rules claim the same.

    `claims` goes by the rule's index; `collisions` by two of them, with the place.
    """

    claims: Mapping[int, Claims]
    collisions: Mapping[tuple[int, int], str]


def find_problems(
    config: Config,
    source: Source,
    table: RouteTable,
    findings: Findings,
    today: date,
) -> list[Problem]:
    """List what is wrong; with errors among it the table must never serve."""
    return _Checks(config, source, table, findings, today).run()


class _Checks:
    def __init__(
        self,
        config: Config,
        source: Source,
        table: RouteTable,
        findings: Findings,
        today: date,
    ) -> None:
        self.config, self.source, self.today = config, source, today
        self.table, self.rules = table, table.rules
        self.legacy, self.native = table.legacy, table.native
        self.claims, self.collisions = findings.claims, findings.collisions
        self.problems: list[Problem] = []

    def run(self) -> list[Problem]:
        routes = self.table.routes
        self._check_selectors()
        self._check_prefix_taken()
        self._check_rules(routes)
        self._check_findings(routes)
        self._check_default_auth()
        self._check_automatic(routes)
        self._check_tester(routes)
        self._check_websockets()
        self._check_catch_alls()
        self._check_refused_methods(routes)
        self._check_left_out(routes)
        self._check_mounted_over(routes)
        return self.problems

    def _report(
        self,
        code: str,
        rule: Rule,
        key: str,
        what: str,
        next_: str = "",
        *,
        warning: bool = False,
        finding: bool = False,
    ) -> None:
        location: tuple[str | int, ...] = ("routes", rule.index)
        if key:
            location = (*location, key)
        self.problems.append(
            self.source.problem(code, location, what, next_, warning=warning, finding=finding)
        )

    def _check_selectors(self) -> None:
        names: dict[str, Rule] = {}
        for rule in self.rules:
            config = rule.config
            if config.name is not None and config.name in names:
                first = names[config.name]
                self._report(
                    "duplicate-name",
                    rule,
                    "name",
                    f"{config.name!r} is also {first.key}",
                    "give each rule a name of its own",
                )
            if config.name is not None:
                names.setdefault(config.name, rule)
            for key in ("blueprint", "endpoint"):
                if getattr(config, key) is not None and self.legacy.opaque:
                    self._report(
                        "needs-flask",
                        rule,
                        key,
                        "the legacy app is not a Flask app",
                        "use path or prefix",
                    )
            if config.tag is not None and self.native.opaque:
                self._report(
                    "needs-fastapi",
                    rule,
                    "tag",
                    "the native app is not a FastAPI app",
                    "use path or prefix",
                )

    def _check_prefix_taken(self) -> None:
        prefix = parse_any(self.config.admin.prefix)
        sides: list[tuple[str, Template]] = [
            ("legacy", e.template) for e in self.legacy.endpoints()
        ]
        sides += [
            ("native", native_template(e)) for e in self.native.endpoints() if e.kind != "websocket"
        ]
        for side, template in sides:
            if prefix.segments and template.below(prefix):
                self.problems.append(
                    self.source.problem(
                        "prefix-taken",
                        ("admin", "prefix"),
                        f"the {side} app has {template.label} below {self.config.admin.prefix}",
                        "choose another admin.prefix",
                    )
                )

    def _check_rules(self, routes: Sequence[Route]) -> None:
        for (first, second), where in sorted(self.collisions.items()):
            one, two = self.rules[first], self.rules[second]
            self._report(
                "collision",
                two,
                "",
                f"{two.id!r} and {one.key} {one.id!r} claim {where} equally",
                "narrow one of them, or give one a priority",
            )
        for rule in self.rules:
            self._check_rule(rule, routes)

    def _check_rule(self, rule: Rule, routes: Sequence[Route]) -> None:
        claims, config = self.claims[rule.index], rule.config
        if config.expires is not None and config.expires < self.today:
            self._report(
                "expired",
                rule,
                "expires",
                f"the flag expired on {config.expires}",
                "finish the move, or choose a later day",
                warning=True,
            )
        if not claims.claimed:
            if not (config.blueprint or config.endpoint) or not self.legacy.opaque:
                self._report_no_match(rule, routes)
            return
        self._check_partners(rule, claims)
        self._check_auth(rule)
        self._check_said_hooks(rule)
        self._check_unlisted_head(rule)
        self._check_hooks(rule)
        self._check_converters(rule, claims)
        self._check_mismatch(rule)
        self._check_better_words(rule, claims)
        self._check_accepted(rule, routes)

    def _report_no_match(self, rule: Rule, routes: Sequence[Route]) -> None:
        shadowed = [
            route for route in routes if rule in route.considered and route.rule is not None
        ]
        key, _, wanted = rule.selector.partition(": ")
        if shadowed and any(rule.index in pair for pair in self.collisions):
            return
        if shadowed:
            by = shadowed[0].rule
            what = f"claims nothing: {by.id!r} is more specific everywhere" if by else ""
            self._report("never-used", rule, "", what, "remove it", warning=True)
            return
        if self.legacy.opaque and rule.template is not None:
            if rule.config.cutover != "legacy":
                self._report(
                    "no-native",
                    rule,
                    key,
                    f"the native app has no route {wanted}",
                    "write the handler first",
                )
            return
        methods = f"{'/'.join(rule.config.methods)} " if rule.config.methods else ""
        choices = _choices(key, routes)
        close = difflib.get_close_matches(wanted, choices, n=1, cutoff=0.5)
        hint = f"did you mean {close[0]}?" if close else "`gateway routes` lists them all"
        if rule.config.methods and any(_same_place(rule, route) for route in routes):
            hint = "it exists, for other methods"
        self._report("no-match", rule, key, f"no route matches {methods}{wanted}", hint)

    def _check_partners(self, rule: Rule, claims: Claims) -> None:
        config = rule.config
        stayed = [route.id for route in claims.stayed]
        exact = config.path is not None or config.endpoint is not None
        if stayed and exact:
            self._report(
                "no-native",
                rule,
                "cutover",
                f"native has no handler for {_listing(stayed)}",
                "write it, or name only the methods that native has",
            )
        elif stayed:
            self._report(
                "only-legacy",
                rule,
                "cutover",
                f"{len(stayed)} of {len(stayed) + _real(claims.moved)} routes have no native "
                f"handler and stay legacy: {_listing(stayed)}",
                "write the handlers when you are ready",
                warning=True,
            )
        guardrail = config.guardrail or self.config.defaults.guardrail
        if guardrail is not None and config.host is not None:
            self._report(
                "no-source",
                rule,
                "guardrail" if config.guardrail is not None else "host",
                "figures are counted by path, not by host: a guardrail can't tell hosts apart",
                "leave out the guardrail, or the host",
            )
        if guardrail is not None and guardrail.consistency is not None and config.sample == 0:
            self._report(
                "no-source",
                rule,
                "guardrail",
                "consistency has no source: a canary's answers aren't compared",
                "set sample, the percent of its requests to compare",
            )
        if config.cutover in ("shadow", "live") and config.writes is None:
            kept = [r.id for r in claims.moved if r.method not in SAFE | AUTOMATIC]
            serves = "legacy" if config.cutover == "shadow" else "native"
            if kept:
                self._report(
                    "writes-not-mirrored",
                    rule,
                    "cutover",
                    f"requests that may write aren't mirrored, {serves} alone serves them: "
                    f"{_listing(kept)}",
                    "name the methods (methods: [GET]), or say how a write is undone (writes:)",
                    warning=True,
                )
        if config.cutover in ("canary", "shadow", "live"):
            alone = [r.id for r in claims.moved if r.coverage is Coverage.ONLY_NATIVE]
            if alone and exact:
                self._report(
                    "no-legacy",
                    rule,
                    "cutover",
                    f"{config.cutover} needs both sides; legacy doesn't have {_listing(alone)}",
                    "use cutover: native",
                )
        if config.methods is not None and not self.legacy.opaque and not self.native.opaque:
            unused = [method for method in config.methods if method not in claims.methods]
            if unused:
                self._report(
                    "unused-method",
                    rule,
                    "methods",
                    f"no route of this rule has {', '.join(unused)}",
                    "remove it",
                    warning=True,
                )

    def _check_auth(self, rule: Rule) -> None:
        auth = rule.config.auth or self.config.defaults.auth
        if auth == "shared" and not self._has_guard():
            self._report(
                "missing-key",
                rule,
                "auth" if rule.config.auth else "",
                "`auth: shared` needs auth.dependency",
                "name a FastAPI dependency there: module:attr",
            )
        if auth == "shared":
            scopes = self.config.auth.scopes if self.config.auth is not None else ""
            if rule.config.requires and scopes is None:
                self._report(
                    "no-scopes",
                    rule,
                    "requires",
                    "nobody has any scope without auth.scopes: every caller gets 403",
                    "say where in the dependency's value the scopes are",
                    warning=True,
                )
            return
        if rule.config.requires:
            self._report(
                "not-shared", rule, "requires", "scopes are checked by the shared guard only",
                "say `auth: shared`",
            )  # fmt: skip
        if "principal" in (rule.config.sticky or ()):
            self._report(
                "not-shared", rule, "sticky", "only the shared guard knows a principal",
                "say `auth: shared`",
            )  # fmt: skip

    def _has_guard(self) -> bool:
        return self.config.auth is not None and self.config.auth.dependency is not None

    def _check_hooks(self, rule: Rule) -> None:
        if rule.config.hooks == "inherit" and self.legacy.opaque:
            self._report(
                "needs-flask", rule, "hooks", "the legacy app is not a Flask app", "say hooks: skip"
            )

    def _check_findings(self, routes: Sequence[Route]) -> None:
        """Report each move that may not be, once per rule and kind.

        Where legacy has the route it serves it meanwhile; a native-only route can't be served.
        """
        found: dict[tuple[int | None, str, bool], list[tuple[Route, Finding]]] = {}
        for route in (*routes, *self._socket_routes()):
            if route.cutover not in UNMOVED:
                for finding in route.findings:
                    if route.auth == "shared" and not self._has_guard():
                        continue  # that there is no guard has been said
                    both = route.coverage is Coverage.BOTH or route.method == WEBSOCKET
                    rule = route.rule.index if route.rule is not None else None
                    found.setdefault((rule, finding.code, both), []).append((route, finding))
        for (_, code, both), each in found.items():
            written = [entry for entry in each if entry[0].method not in AUTOMATIC] or each
            route, finding = written[0]
            others = [other.id for other, _ in written[1:]]
            more = f" (and so on for {_listing(others)})" if others else ""
            what, next_ = f"{route.id}: {finding.what}{more}", finding.next
            if route.rule is not None:
                self._report(code, route.rule, "", what, next_, finding=both)
                continue
            location: tuple[str, ...] = ("routes",)
            if self.config.defaults.cutover == "native":
                location = ("defaults", "cutover")
                next_ = f"give it a rule: {next_}"
            self.problems.append(self.source.problem(code, location, what, next_, finding=both))

    def _socket_routes(self) -> list[Route]:
        units = self.table.sockets.values()
        return [match.route for unit in units for match in unit.matches if match.route is not None]

    def _check_accepted(self, rule: Rule, routes: Sequence[Route]) -> None:
        """Warn of what a rule accepts and nothing of it is there any more."""
        mine = [route for route in routes if route.rule is rule]
        for code in rule.config.accept:
            if not any(code in each.accepted for each in mine) and not any(
                finding.code == code for each in mine for finding in each.findings
            ):
                self._report(
                    "accept-unused",
                    rule,
                    "accept",
                    f"{code} isn't found on any of its routes",
                    "remove it",
                    warning=True,
                )

    def _check_better_words(self, rule: Rule, claims: Claims) -> None:
        """Say where Flask's hooks would guard what a rule leaves open."""
        for route in claims.moved:
            hook = better_word(route, self.legacy)
            if hook is not None and route.method not in AUTOMATIC:
                self._report(
                    "hooks-guard-it",
                    rule,
                    "auth",
                    f"{route.id}: {hook} refuses callers here, and runs: `auth: none` says nobody",
                    "`auth: hooks` is the better word",
                    warning=True,
                )
                return

    def _check_mismatch(self, rule: Rule) -> None:
        config = rule.config
        auth = config.auth or self.config.defaults.auth
        if config.on_mismatch != "native" or self.legacy.opaque or config.cutover in UNMOVED:
            return
        if (
            config.path is None
            or config.methods is None
            or auth not in ("shared", "native", "none")
        ):
            self._report(
                "mismatch-unguarded",
                rule,
                "on_mismatch",
                "no view's hooks run on a path that Flask refuses, so Flask's 404 stays",
                "name path and methods, and say `auth: shared`, `native` or `none`",
                finding=True,
            )

    def _check_said_hooks(self, rule: Rule) -> None:
        """Refuse what contradicts itself."""
        config = rule.config
        if config.auth != "hooks":
            return
        if self.legacy.opaque:
            self._report(
                "needs-flask", rule, "auth", "the legacy app is not a Flask app",
                "say `auth: shared`, `native` or `none`",
            )  # fmt: skip
        elif (config.hooks or self.config.defaults.hooks) == "skip":
            self._report(
                "hooks-skipped", rule, "auth", "`hooks: skip` leaves out what should guard it",
                "say `hooks: inherit`, or who guards it instead",
            )  # fmt: skip

    def _check_automatic(self, routes: Sequence[Route]) -> None:
        """Refuse a HEAD that isn't guarded as the GET is whose handler serves it; OPTIONS alike."""
        alike: dict[tuple[str, str], list[Route]] = {}
        for route in routes:
            if route.method == "GET" or route.method in AUTOMATIC:
                domain = route.legacy.host if route.legacy is not None else ""
                alike.setdefault((route.label, domain), []).append(route)
        found: dict[tuple[str, str | None], tuple[Route, Route]] = {}
        for group in alike.values():
            for host in dict.fromkeys(route.host for route in group):
                picked = _picked(group, (host or "").replace("*", "any"))
                gets = [each for each in picked if each.method == "GET" and _is_said(each.auth)]
                for get, other in product(gets, picked):
                    if not _follows(other, get):
                        found.setdefault((other.id, other.host), (other, get))
        for other, get in found.values():
            rule = other.rule or get.rule
            what = f"{other.id}: GET has `auth: {get.auth}`, this method has it not"
            if rule is not None:
                next_ = "say `auth:` here, too"
                if other.rule is None:
                    next_ = f"name {other.method} in a rule that says `auth:`"
                self._report("auth-differs", rule, "", what, next_)

    def _check_unlisted_head(self, rule: Rule) -> None:
        """Do the same where nobody knows which routes a rule is about."""
        config = rule.config
        methods = config.methods or ()
        if not self.native.opaque or "HEAD" not in methods or "GET" in methods or config.auth:
            return
        for other in self.rules:
            if _is_said(other.config.auth) and _meet(rule, other):
                what = f"{other.id!r} has `auth: {other.config.auth}`, this rule's HEAD has it not"
                self._report("auth-differs", rule, "", what, "say `auth:` here, too")
                return

    def _check_tester(self, routes: Sequence[Route]) -> None:
        if self.config.tester is None:
            return
        shut = [each for each in routes if each.findings and each.coverage is Coverage.BOTH]
        names = _written(shut) or [each.id for each in shut]
        if names:
            self.problems.append(
                self.source.problem(
                    "not-testable",
                    ("tester",),
                    f"no tester reaches native on {_listing(names, len(names))}: nobody says who "
                    "guards it, or `check` refuses the move",
                    "give them a rule that says `auth:`",
                    warning=True,
                )
            )

    def _check_default_auth(self) -> None:
        if self.config.defaults.auth == "shared" and not self._has_guard():
            self.problems.append(
                self.source.problem(
                    "missing-key",
                    ("defaults", "auth"),
                    "`auth: shared` needs auth.dependency",
                    "name a FastAPI dependency there: module:attr",
                )
            )

    def _check_websockets(self) -> None:
        """Name the WebSockets that are refused, since nobody says who guards them."""
        for route in self._socket_routes():
            if route.findings or route.template is None:
                continue
            path = route.template.sample("1")
            scope = {**scope_of("GET", path), "type": "websocket"}
            if self.table.socket(scope).forced is None:
                continue
            location: tuple[str | int, ...] = ("routes",)
            if route.rule is not None:
                location = ("routes", route.rule.index)
            self.problems.append(
                self.source.problem(
                    "websocket-unguarded",
                    location,
                    f"{route.label}: Flask's hooks never run for a WebSocket, and Flask answers "
                    "this path: it is refused (403)",
                    "say `auth: shared`, `native` or `none` in a rule for it",
                    finding=True,
                )
            )

    def _check_refused_methods(self, routes: Sequence[Route]) -> None:
        """List native handlers for methods that Flask answers with 405, and goes on to."""
        shut = [
            route.id
            for route in routes
            if route.coverage is Coverage.ONLY_NATIVE
            and route.cutover == "legacy"
            and route.method not in AUTOMATIC | {"*"}
            and (route.rule is None or route.rule.config.cutover != "legacy")
        ]
        if shut:
            self.problems.append(
                self.source.problem(
                    "method-refused",
                    ("routes",),
                    f"Flask has the path for other methods, and says 405 as ever: {_listing(shut)}",
                    "name path and methods in a rule that says `auth: shared`, `native` or `none`",
                    warning=True,
                )
            )

    def _check_left_out(self, routes: Sequence[Route]) -> None:
        """Name Flask's app-wide guards that don't guard native-only routes: they have no endpoint.

        Flask-WTF's CSRF protection is one.
        """
        if self.legacy.opaque:
            return
        alone = [
            route
            for route in routes
            if route.coverage is Coverage.ONLY_NATIVE
            and route.cutover == "native"
            and route.hooks == "inherit"
            and route.method not in AUTOMATIC
        ]
        for method in sorted({route.method for route in alone}):
            elsewhere = {
                hook.name
                for view in self.legacy.endpoints()
                if method in view.methods and not view.blueprint
                for hook in self.legacy.guards(view, method).around
                if hook.does == "refuses"
            }
            here = self.legacy.guards(None, method).around
            gone = elsewhere - {hook.name for hook in here if hook.does in ("refuses", "perhaps")}
            for name in sorted(gone):
                named = [route.id for route in alone if route.method == method]
                self.problems.append(
                    self.source.problem(
                        "hooks-left-out",
                        ("routes",),
                        f"{name} guards Flask's {method} routes, and not {_listing(named)}, which "
                        "only native has: Flask knows no endpoint there",
                        "guard them natively",
                        warning=True,
                    )
                )

    def _check_mounted_over(self, routes: Sequence[Route]) -> None:
        """Name moved routes below a path that WSGI middleware hands to another app."""
        for prefix in self.legacy.mounted:
            below = parse_any(prefix)
            taken = [
                route.id
                for route in routes
                if route.cutover not in UNMOVED
                and route.method not in AUTOMATIC
                and parse_any(route.label).below(below)
            ]
            if taken and below.segments:
                self.problems.append(
                    self.source.problem(
                        "mounted-over",
                        ("routes",),
                        f"DispatcherMiddleware hands {prefix} to another app, which answers "
                        f"instead of {_listing(taken)}",
                        "move the mount's paths where it is made, or leave them to legacy",
                        warning=True,
                    )
                )

    def _check_converters(self, rule: Rule, claims: Claims) -> None:
        if rule.config.on_mismatch is not None:
            return
        found = []
        for route in claims.moved:
            if route.legacy is None or route.template is None or route.method in AUTOMATIC:
                continue
            one, two = route.legacy.template, route.template
            if not route.wider and _converters(one) != _converters(two):
                found.append((route, one.source, two.source))
        if found:
            route, flask, fastapi = found[0]
            others = _listing([each.id for each, _, _ in found[1:]])
            more = f" (and so on for {others})" if others else ""
            self._report(
                "converters-differ",
                rule,
                "",
                f"{route.method}: Flask's {flask} and FastAPI's {fastapi} convert differently"
                f"{more}",
                "what Flask refuses stays its 404; `on_mismatch: native` gives FastAPI's "
                "answer, `on_mismatch: legacy` silences this",
                warning=True,
            )

    def _check_catch_alls(self) -> None:
        """List native routes that nobody flagged and that a wider Flask rule answers."""
        if self.legacy.by_host:
            return
        for route in self.table.routes:
            if (
                route.coverage is not Coverage.ONLY_NATIVE
                or route.rule is not None
                or route.template is None
                or route.template.catch_all
                or route.method == "*"
            ):
                continue
            for value in SAMPLES:
                path = route.template.sample(value)
                answer = self.legacy.answer(scope_of(route.method, path), route.method, path)
                if answer.outcome == "rule":
                    rule = getattr(answer.ref, "rule", "a legacy rule")
                    self.problems.append(
                        self.source.problem(
                            "catch-all",
                            ("routes",),
                            f"{route.id} is native, but Flask's {rule} answers it",
                            "name it in a rule to serve it natively",
                            warning=True,
                        )
                    )
                    break


def _is_said(auth: Auth | None) -> bool:
    return auth in ("shared", "native")


def _picked(routes: Iterable[Route], host: str) -> list[Route]:
    """Return the routes that hold for a host, one per method and legacy view."""
    found: dict[tuple[str, int], Route] = {}
    for route in routes:
        view = id(route.legacy.ref) if route.legacy is not None else 0
        if host_matches(route.host, host):
            found.setdefault((route.method, view), route)
    return list(found.values())


def _follows(other: Route, get: Route) -> bool:
    """Tell whether HEAD or OPTIONS lets in nobody whom GET turns away, or says who may come."""
    if other.method == "GET" or (other.rule is not None and other.rule.config.auth is not None):
        return True
    if other.method == "OPTIONS" and (other.native != get.native or other.cutover == "legacy"):
        return True
    return (other.auth, other.requires) == (get.auth, get.requires)


def _meet(one: Rule, two: Rule) -> bool:
    """Tell whether two rules over unlisted routes could claim the same path."""
    if one.template is None or two.template is None:
        return False
    first, second = one.template, two.template
    return first.overlaps(second) or first.below(second) or second.below(first)


def _written(routes: Iterable[Route]) -> list[str]:
    """List the routes that somebody has written a handler for."""
    return [route.id for route in routes if route.method not in AUTOMATIC]


def _real(routes: Sequence[Route]) -> int:
    return sum(route.method not in AUTOMATIC for route in routes)


def _listing(ids: list[str], most: int = 3) -> str:
    shown = ", ".join(dict.fromkeys(ids[:most]))
    return f"{shown} and {len(ids) - most} more" if len(ids) > most else shown


def _converters(template: Template) -> tuple[str, ...]:
    same = {"default": "str", "string": "str"}
    return tuple(same.get(name, name) for name in template.converters)


def _same_place(rule: Rule, route: Route) -> bool:
    """Tell whether a route has the rule's template, whatever its method."""
    template = route.legacy.template if route.legacy is not None else route.template
    return (
        rule.template is not None
        and template is not None
        and rule.config.path is not None
        and template.segments == rule.template.segments
    )


def _choices(key: str, routes: Sequence[Route]) -> list[str]:
    if key == "path":
        return sorted({r.legacy.template.source if r.legacy else r.label for r in routes})
    if key == "prefix":
        return sorted({f"/{r.label.split('/')[1]}" for r in routes if r.label.count("/")})
    if key == "tag":
        return sorted({tag for r in routes if r.native for tag in r.native.tags})
    found = (r.legacy for r in routes if r.legacy is not None)
    return sorted({e.blueprint if key == "blueprint" else e.endpoint for e in found})
