"""Rules and two route tables → one RouteTable, and everything that is wrong with them."""

from __future__ import annotations

import difflib
from collections import defaultdict
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from gateway.routing import (
    Concrete,
    Coverage,
    Match,
    NativeKey,
    Route,
    RouteTable,
    Rule,
    Unit,
    native_key,
    native_template,
)
from gateway.templates import Template, parse_any

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import date

    from gateway.config import Config, Cutover, RuleConfig
    from gateway.exceptions import Problem
    from gateway.inventory import LegacyEndpoint, LegacyRoutes, NativeEndpoint, NativeRoutes
    from gateway.loading import Source

#: Methods that frameworks answer by themselves; nobody writes a handler for them.
AUTOMATIC = frozenset({"HEAD", "OPTIONS"})
#: What "any method" stands for in a table; `*` covers the ones that nobody has heard of.
ANY_METHOD = frozenset({"*", "DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT"})
_SELECTOR_RANK = {"path": 5, "endpoint": 4, "prefix": 3, "blueprint": 2, "tag": 1}
_SAMPLES = ("1", "x")
_SKIP_HOOKS = "say `hooks: skip` where native may run without them"


@dataclass(frozen=True, slots=True)
class Compiled:
    """A table, and the problems that compiling it found; with errors among them it never serves."""

    table: RouteTable
    problems: tuple[Problem, ...]

    @property
    def errors(self) -> tuple[Problem, ...]:
        """The problems that forbid serving."""
        return tuple(problem for problem in self.problems if not problem.warning)


@dataclass(frozen=True, slots=True)
class _Spot:
    """One template and method on either side or both, before rules are looked at."""

    method: str
    template: Template
    legacy: LegacyEndpoint | None
    native: NativeEndpoint | None


@dataclass(slots=True)
class _Claims:
    """What one rule has claimed so far, for the problems that only the whole shows."""

    moved: list[Route] = field(default_factory=list)
    stayed: list[Route] = field(default_factory=list)
    claimed: int = 0
    methods: set[str] = field(default_factory=set)


def compile_table(
    config: Config,
    source: Source,
    legacy: LegacyRoutes,
    native: NativeRoutes,
    today: date,
    hooks_refused: str | None = None,
) -> Compiled:
    """Compile `config` against both apps; never raises for what a user can get wrong.

    `hooks_refused` says why no native handler can run inside this legacy app's hooks.
    """
    return _Compiler(config, source, legacy, native, today, hooks_refused).run()


def make_rule(index: int, config: RuleConfig, open_converters: frozenset[str]) -> Rule:
    """Give a rule its id (its name, else derived from its selector, never from its index)."""
    text = config.path or config.prefix
    template = parse_any(text, open_converters) if text is not None else None
    rule = Rule(config.name or "", index, config, template)
    if config.name is None:
        derived = rule.selector.replace(": ", ":", 1)
        if config.methods:
            derived = f"{','.join(config.methods)} {derived}"
        if config.host:
            derived += f"@{config.host}"
        if config.priority:
            derived += f"!{config.priority}"
        rule = replace(rule, id=derived)
    return rule


class _Compiler:
    def __init__(
        self,
        config: Config,
        source: Source,
        legacy: LegacyRoutes,
        native: NativeRoutes,
        today: date,
        hooks_refused: str | None,
    ) -> None:
        self.config, self.source, self.today = config, source, today
        self.hooks_refused = hooks_refused
        self.legacy, self.native = legacy, native
        self.problems: list[Problem] = []
        self.rules = tuple(
            make_rule(index, rule, legacy.open_converters)
            for index, rule in enumerate(config.routes)
        )
        self.natives = tuple(
            (endpoint, native_template(endpoint))
            for endpoint in native.endpoints()
            if endpoint.kind != "websocket"
        )
        self.partners: dict[tuple[str, ...], list[NativeEndpoint]] = defaultdict(list)
        for endpoint, template in self.natives:
            if endpoint.kind == "route":
                self.partners[template.segments].append(endpoint)
        self.claims = {rule.index: _Claims() for rule in self.rules}
        self.collisions: dict[tuple[int, int], str] = {}

    def run(self) -> Compiled:
        self._check_selectors()
        by_legacy: dict[int, dict[str, Unit]] = defaultdict(dict)
        by_native: dict[NativeKey, Unit] = {}
        routes: list[Route] = []
        paired: set[tuple[str, ...]] = set()
        legacy_endpoints = self.legacy.endpoints()
        self._check_prefix_taken(legacy_endpoints)
        seen: set[tuple[tuple[str, ...], str]] = set()
        for endpoint in legacy_endpoints:
            for method in sorted(endpoint.methods):
                partner = self._partner(endpoint.template, method)
                spot = _Spot(method, endpoint.template, endpoint, partner)
                unit = self._unit(spot, routes)
                by_legacy[id(endpoint.ref)][method] = unit
                if not endpoint.host:
                    seen.add((endpoint.template.segments, method))
                if partner is not None and not endpoint.host:
                    paired.add(endpoint.template.segments)
                    by_native.setdefault(native_key(partner, method), unit)
        for native, template in self.natives:
            for method in sorted(native.methods or ANY_METHOD):
                name = native_key(native, method)
                if name in by_native or (template.segments, method) in seen:
                    continue
                by_native[name] = self._unit(_Spot(method, template, None, native), routes)
        overlays = self._overlays(legacy_endpoints, by_native)
        concrete = self._concrete(routes)
        table = RouteTable(
            routes=tuple(routes),
            rules=self.rules,
            legacy=self.legacy,
            native=self.native,
            by_legacy=by_legacy,
            by_native=by_native,
            overlays=overlays,
            flagged=frozenset[NativeKey]().union(*overlays.values()),
            concrete=concrete,
            folded=self._folded(by_native) if self.legacy.opaque else (),
            wide={
                id(endpoint.ref): endpoint.template.rank
                for endpoint in legacy_endpoints
                if endpoint.template.open
            },
            paired=frozenset(paired),
            static={},
        )
        table = replace(table, static=_static_matches(table))
        self._check_rules(routes)
        self._check_default_hooks(routes)
        self._check_default_auth(routes)
        self._check_websockets()
        self._check_catch_alls(table)
        return Compiled(table, tuple(self.problems))

    # -- what there is ------------------------------------------------------------------------

    def _partner(self, template: Template, method: str) -> NativeEndpoint | None:
        """Return the native route that pairs; for HEAD the one for GET if there's no own one."""
        for wanted in (method, "GET") if method == "HEAD" else (method,):
            for endpoint in self.partners.get(template.segments, ()):
                if endpoint.methods is None or wanted in endpoint.methods:
                    return endpoint
        return None

    # -- which rules claim it -----------------------------------------------------------------

    def _unit(self, spot: _Spot, routes: list[Route]) -> Unit:
        claiming = self._claiming(spot)
        matches: list[Match] = []
        hosts: set[str | None] = set()
        for rule in claiming:
            if rule.config.host in hosts:
                continue
            hosts.add(rule.config.host)
            matches.append(self._match(spot, rule, claiming, routes))
            if rule.config.host is None:
                break
        if None not in hosts:
            matches.append(self._match(spot, None, claiming, routes))
        return Unit(tuple(matches))

    def _claiming(self, spot: _Spot) -> tuple[Rule, ...]:
        """Return the rules that claim a spot, the most specific first; note collisions."""
        ranked = sorted(
            ((self._rank(rule, spot.method), rule) for rule in self.rules if _claims(rule, spot)),
            key=lambda entry: entry[0],
            reverse=True,
        )
        for position, (rank, rule) in enumerate(ranked):
            for other_rank, other in ranked[position + 1 :]:
                if rank == other_rank and rule.config.host == other.config.host:
                    pair = (min(rule.index, other.index), max(rule.index, other.index))
                    self.collisions.setdefault(pair, f"{spot.method} {spot.template.label}")
        return tuple(rule for _, rule in ranked)

    @staticmethod
    def _rank(rule: Rule, method: str) -> tuple[int, ...]:
        config = rule.config
        selector = next(name for name in _SELECTOR_RANK if getattr(config, name) is not None)
        depth = 0
        if config.prefix is not None and rule.template is not None:
            depth = len(rule.template.segments)
        elif config.blueprint is not None:
            depth = config.blueprint.count(".")
        host = 0 if config.host is None else 1 if config.host.startswith("*.") else 2
        named = 0 if config.methods is None else 2 if method in config.methods else 1
        return (
            config.priority,
            _SELECTOR_RANK[selector],
            depth,
            host,
            len(config.host or ""),
            named,
        )

    # -- what they make of it -----------------------------------------------------------------

    def _match(
        self, spot: _Spot, rule: Rule | None, considered: tuple[Rule, ...], routes: list[Route]
    ) -> Match:
        native = spot.native
        opaque_native = self.native.opaque and spot.legacy is not None and rule is not None
        if spot.legacy is not None and spot.legacy.host and not _names_host(rule):
            # A subdomain's `/` is not the default host's: only a rule that says so pairs them.
            native, opaque_native = None, False
        if opaque_native and spot.method in AUTOMATIC and spot.method != "HEAD":
            opaque_native = False
        route = self._route(spot, native, opaque_native, rule, considered)
        routes.append(route)
        if rule is not None:
            self._note(rule, route)
        head = (
            spot.method == "HEAD"
            and native is not None
            and native.methods is not None
            and "HEAD" not in native.methods
        )
        return Match(route, head=head)

    def _route(
        self,
        spot: _Spot,
        native: NativeEndpoint | None,
        opaque_native: bool,
        rule: Rule | None,
        considered: tuple[Rule, ...],
    ) -> Route:
        defaults = self.config.defaults
        has_native = native is not None or opaque_native
        has_legacy = spot.legacy is not None or self.legacy.opaque
        if has_native and has_legacy:
            coverage = Coverage.BOTH
        else:
            coverage = Coverage.ONLY_NATIVE if has_native else Coverage.ONLY_LEGACY
        said = rule.config if rule is not None else None
        cutover: Cutover
        if coverage is Coverage.ONLY_LEGACY:
            cutover = "legacy"
        elif coverage is Coverage.ONLY_NATIVE:
            cutover = "legacy" if said is not None and said.cutover == "legacy" else "native"
        else:
            cutover = said.cutover if said is not None else defaults.cutover
        weight = (said.weight if said is not None else None) or 0.0
        sticky = (said.sticky if said is not None else None) or defaults.sticky
        return Route(
            method=spot.method,
            label=spot.template.label,
            legacy=spot.legacy,
            native=native,
            coverage=coverage,
            rule=rule,
            cutover=cutover,
            threshold=round(weight * 100),
            sticky=sticky,
            reads_session=cutover == "canary" and any(s.startswith("session:") for s in sticky),
            salt=(said.salt if said is not None else None) or defaults.salt,
            body=(said.body if said is not None else None) or self.config.legacy.body,
            hooks=(said.hooks if said is not None else None) or defaults.hooks,
            auth=(said.auth if said is not None else None) or defaults.auth,
            requires=frozenset(said.requires if said is not None else ()),
            host=said.host if said is not None else None,
            considered=considered,
            native_opaque=opaque_native,
            template=native_template(native) if native is not None else None,
        )

    def _note(self, rule: Rule, route: Route) -> None:
        claims = self.claims[rule.index]
        claims.claimed += 1
        claims.methods.add(route.method)
        if rule.config.cutover == "legacy":
            return
        if route.coverage is Coverage.ONLY_LEGACY:
            if route.method not in AUTOMATIC:
                claims.stayed.append(route)
        else:
            claims.moved.append(route)

    # -- the rest of the table ----------------------------------------------------------------

    def _overlays(
        self, legacy: tuple[LegacyEndpoint, ...], by_native: dict[NativeKey, Unit]
    ) -> dict[int, frozenset[NativeKey]]:
        """Find, per legacy rule, flagged native-only routes that are more specific than it."""
        flagged = [
            (name, match.route.template)
            for name, unit in by_native.items()
            if (match := unit.matches[0]).route is not None
            and match.route.coverage is Coverage.ONLY_NATIVE
            and match.route.template is not None
            and (
                match.route.rule is not None
                or (self.config.defaults.cutover == "native" and not match.route.template.open)
            )
        ]
        overlays: dict[int, frozenset[NativeKey]] = {}
        for endpoint in legacy:
            names = frozenset(
                name
                for name, template in flagged
                if template.rank < endpoint.template.rank and template.overlaps(endpoint.template)
            )
            if names:
                overlays[id(endpoint.ref)] = names
        return overlays

    def _concrete(self, routes: list[Route]) -> tuple[Concrete, ...]:
        """Compile the path and prefix rules that an app without a list of routes needs."""
        if not self.native.opaque:
            return ()
        found: list[tuple[tuple[int, ...], Concrete]] = []
        for rule in self.rules:
            if rule.template is None:
                continue
            prefix = rule.config.prefix is not None
            methods = rule.config.methods
            spot = _Spot(",".join(methods) if methods else "*", rule.template, None, None)
            # Neither app's routes below it are known, so both may have them.
            route = replace(
                self._route(spot, None, True, rule, (rule,)),
                coverage=Coverage.BOTH,
                cutover=rule.config.cutover,
            )
            routes.append(route)
            self.claims[rule.index].claimed += 1
            named = None if methods is None else frozenset(methods) | _head_of(methods)
            unit = Unit((Match(route),)) if rule.config.host is None else self._hosted(route)
            found.append((self._rank(rule, "*"), Concrete(rule.template, prefix, named, unit)))
        found.sort(key=lambda entry: entry[0], reverse=True)
        return tuple(concrete for _, concrete in found)

    @staticmethod
    def _folded(by_native: dict[NativeKey, Unit]) -> tuple[tuple[Template, str, Match], ...]:
        return tuple(
            (match.route.template, match.route.method, match)
            for unit in by_native.values()
            for match in unit.matches
            if match.route is not None
            and match.route.template is not None
            and match.route.rule is not None
            and match.route.cutover != "legacy"
        )

    @staticmethod
    def _hosted(route: Route) -> Unit:
        elsewhere = replace(route, cutover="legacy", rule=None, host=None)
        return Unit((Match(route), Match(elsewhere)))

    # -- what is wrong ------------------------------------------------------------------------

    def _report(
        self,
        code: str,
        rule: Rule,
        key: str,
        what: str,
        next_: str = "",
        *,
        warning: bool = False,
    ) -> None:
        location: tuple[str | int, ...] = ("routes", rule.index)
        if key:
            location = (*location, key)
        self.problems.append(self.source.problem(code, location, what, next_, warning=warning))

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

    def _check_prefix_taken(self, endpoints: tuple[LegacyEndpoint, ...]) -> None:
        prefix = parse_any(self.config.admin.prefix)
        sides: list[tuple[str, Template]] = [("legacy", e.template) for e in endpoints]
        sides += [("native", template) for _, template in self.natives]
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

    def _check_rules(self, routes: list[Route]) -> None:
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

    def _check_rule(self, rule: Rule, routes: list[Route]) -> None:
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
        self._check_self_guards(rule, claims)
        self._check_hooks(rule, claims)
        self._check_converters(rule, claims)

    def _report_no_match(self, rule: Rule, routes: list[Route]) -> None:
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

    def _check_partners(self, rule: Rule, claims: _Claims) -> None:
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
        if config.cutover == "canary":
            alone = [r.id for r in claims.moved if r.coverage is Coverage.ONLY_NATIVE]
            if alone and exact:
                self._report(
                    "no-legacy",
                    rule,
                    "cutover",
                    f"a canary needs both sides; legacy doesn't have {_listing(alone)}",
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

    def _check_self_guards(self, rule: Rule, claims: _Claims) -> None:
        """Refuse to move a view that may guard itself, until the rule says who does then."""
        if rule.config.auth is not None:
            return
        for route in claims.moved:
            if route.legacy is None or route.method in AUTOMATIC:
                continue
            found = self.legacy.guards(route.legacy, route.method).view
            if found:
                self._report(
                    "may-guard-itself",
                    rule,
                    "",
                    f"{route.id}: the legacy view may guard itself, which a native handler doesn't "
                    f"inherit: it {_listing(list(found))}",
                    "say `auth: shared`, `auth: native` or `auth: none`",
                )

    def _check_auth(self, rule: Rule) -> None:
        auth = rule.config.auth or self.config.defaults.auth
        if auth == "shared" and self.config.auth is None:
            self._report(
                "missing-key",
                rule,
                "auth" if rule.config.auth else "",
                "`auth: shared` needs auth.dependency",
                "name a FastAPI dependency there: module:attr",
            )
        if auth == "shared":
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

    def _check_hooks(self, rule: Rule, claims: _Claims) -> None:
        if rule.config.hooks == "inherit" and self.legacy.opaque:
            self._report(
                "needs-flask", rule, "hooks", "the legacy app is not a Flask app", "say hooks: skip"
            )
        if self.hooks_refused is not None:
            kept = _written(route for route in claims.moved if route.hooks == "inherit")
            if kept:
                self._report(
                    "hooks-refused",
                    rule,
                    "hooks" if rule.config.hooks else "",
                    f"Flask's hooks can't run around {_listing(kept)}: {self.hooks_refused}",
                    _SKIP_HOOKS,
                )

    def _check_default_auth(self, routes: list[Route]) -> None:
        for route in routes:
            if route.rule is not None or route.cutover == "legacy" or route.legacy is None:
                continue
            found = self.legacy.guards(route.legacy, route.method).view
            if found and route.method not in AUTOMATIC and self.config.defaults.auth is None:
                self.problems.append(
                    self.source.problem(
                        "may-guard-itself",
                        ("defaults", "cutover"),
                        f"{route.id}: the legacy view may guard itself, which a native handler "
                        f"doesn't inherit: it {_listing(list(found))}",
                        "give it a rule that says `auth:`",
                    )
                )
        if self.config.defaults.auth == "shared" and self.config.auth is None:
            self.problems.append(
                self.source.problem(
                    "missing-key",
                    ("defaults", "auth"),
                    "`auth: shared` needs auth.dependency",
                    "name a FastAPI dependency there: module:attr",
                )
            )

    def _check_websockets(self) -> None:
        sockets = [e.path for e in self.native.endpoints() if e.kind == "websocket"]
        if sockets and self.config.defaults.auth == "shared":
            self.problems.append(
                self.source.problem(
                    "websocket-unguarded",
                    ("defaults", "auth"),
                    f"the shared guard stands before HTTP only, not before {_listing(sockets)}",
                    "guard WebSockets by a dependency of their own",
                    warning=True,
                )
            )

    def _check_default_hooks(self, routes: list[Route]) -> None:
        if self.hooks_refused is None or self.config.defaults.hooks == "skip":
            return
        kept = _written(r for r in routes if r.rule is None and r.cutover != "legacy")
        if kept:
            self.problems.append(
                self.source.problem(
                    "hooks-refused",
                    ("defaults", "hooks"),
                    f"Flask's hooks can't run around {_listing(kept)}: {self.hooks_refused}",
                    _SKIP_HOOKS,
                )
            )

    def _check_converters(self, rule: Rule, claims: _Claims) -> None:
        if rule.config.on_mismatch is not None:
            return
        for route in claims.moved:
            if route.legacy is None or route.template is None or route.method in AUTOMATIC:
                continue
            one, two = route.legacy.template, route.template
            if _converters(one) != _converters(two):
                self._report(
                    "converters-differ",
                    rule,
                    "",
                    f"{route.method}: Flask's {one.source} and FastAPI's {two.source} convert "
                    "differently",
                    "what Flask refuses stays its 404; `on_mismatch: native` gives FastAPI's "
                    "answer, `on_mismatch: legacy` silences this",
                    warning=True,
                )

    def _check_catch_alls(self, table: RouteTable) -> None:
        """List native routes that nobody flagged and that a wider Flask rule answers."""
        if self.legacy.by_host:
            return
        for route in table.routes:
            if (
                route.coverage is not Coverage.ONLY_NATIVE
                or route.rule is not None
                or route.template is None
                or route.template.catch_all
                or route.method == "*"
            ):
                continue
            for value in _SAMPLES:
                path = route.template.sample(value)
                answer = self.legacy.answer(_scope(route.method, path), route.method, path)
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


def _claims(rule: Rule, spot: _Spot) -> bool:
    config = rule.config
    if config.methods is not None:
        implied = _head_of(config.methods)
        if spot.method not in config.methods and spot.method not in implied:
            return False
    legacy, native = spot.legacy, spot.native
    if legacy is not None and legacy.host and not _names_host(rule):
        return False
    if rule.template is not None:
        if config.path is not None:
            return spot.template.segments == rule.template.segments
        return spot.template.below(rule.template)
    if config.endpoint is not None:
        return legacy is not None and legacy.endpoint == config.endpoint
    if config.blueprint is not None:
        return legacy is not None and (
            legacy.blueprint == config.blueprint
            or legacy.blueprint.startswith(f"{config.blueprint}.")
        )
    return native is not None and config.tag in native.tags


def _names_host(rule: Rule | None) -> bool:
    """Tell whether a rule may claim routes of a subdomain: it says the host, or Flask's names."""
    if rule is None:
        return False
    config = rule.config
    return bool(config.host or config.endpoint or config.blueprint)


def _head_of(methods: tuple[str, ...]) -> frozenset[str]:
    return frozenset({"HEAD"}) if "GET" in methods else frozenset()


def _written(routes: Iterable[Route]) -> list[str]:
    """List the routes that somebody has written a handler for."""
    return [route.id for route in routes if route.method not in AUTOMATIC]


def _real(routes: list[Route]) -> int:
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


def _choices(key: str, routes: list[Route]) -> list[str]:
    if key == "path":
        return sorted({r.legacy.template.source if r.legacy else r.label for r in routes})
    if key == "prefix":
        return sorted({f"/{r.label.split('/')[1]}" for r in routes if r.label.count("/")})
    if key == "tag":
        return sorted({tag for r in routes if r.native for tag in r.native.tags})
    found = (r.legacy for r in routes if r.legacy is not None)
    return sorted({e.blueprint if key == "blueprint" else e.endpoint for e in found})


def _scope(method: str, path: str) -> dict[str, Any]:
    return {
        "type": "http",
        "method": method,
        "path": path,
        "raw_path": path.encode(),
        "root_path": "",
        "query_string": b"",
        "headers": [],
    }


def _static_matches(table: RouteTable) -> dict[tuple[str, str], Match]:
    """Ask the table once for every path without parameters, so that no request has to again.

    Only where the answer depends on nothing but method and path.
    """
    hosts = any(endpoint.kind == "host" for endpoint in table.native.endpoints())
    if table.legacy.by_host or hosts or table.native.opaque:
        return {}
    found: dict[tuple[str, str], Match] = {}
    several = {route.label for route in table.routes if route.host is not None}
    for route in table.routes:
        if route.method in ("OPTIONS", "*") or route.label in several:
            continue
        templates = [route.template] if route.template is not None else []
        if route.legacy is not None:
            templates.append(route.legacy.template)
        for template in templates:
            if template.static:
                scope = _scope(route.method, template.source)
                match = table.match(scope)
                found[route.method, template.source] = replace(
                    match, direct=_direct(table, match, scope)
                )
    return found


def _direct(table: RouteTable, match: Match, scope: dict[str, Any]) -> bool:
    if match.route is None or match.route.native is None or match.head:
        return False
    found = table.native.find(scope)
    return found is not None and found.outcome == "full" and found.endpoint == match.route.native
