"""Rules and two route tables → one RouteTable."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from gateway.blocks import AUTHOR, shapes_of
from gateway.checks import Claims, Findings, find_problems
from gateway.config import CircuitConfig, RuleConfig
from gateway.inventory import LegacyAnswer
from gateway.moving import NoEvidence, judged
from gateway.routing import (
    AUTOMATIC,
    NOT_FOUND,
    SAFE,
    SAMPLES,
    UNMOVED,
    WEBSOCKET,
    Concrete,
    Coverage,
    Match,
    Mirroring,
    NativeKey,
    Route,
    RouteTable,
    Rule,
    Unit,
    is_opted,
    native_key,
    native_template,
    scope_of,
)
from gateway.templates import Template, parse_any

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from datetime import date

    from gateway.blocks import Block
    from gateway.config import Config, Cutover, DefaultsConfig, FailoverConfig, GuardrailConfig
    from gateway.exceptions import Problem
    from gateway.inventory import LegacyEndpoint, LegacyRoutes, NativeEndpoint, NativeRoutes
    from gateway.loading import Source
    from gateway.moving import Evidence
    from gateway.overrides import Override

NO_OVERRIDES: Mapping[str, Override] = {}
NO_EVIDENCE: Evidence = NoEvidence()
#: What "any method" stands for in a table; `*` covers the ones that nobody has heard of.
ANY_METHOD = frozenset({"*", "DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT"})
#: Percent of a canary's requests that are mirrored unless its rule says so: who is let in is proved
#: on live traffic.
CANARY_SAMPLE = 1.0
#: Stands for the rule of a route that an override alone has put into `shadow` or `live`.
_SAYS_NOTHING = RuleConfig(path="/", cutover="shadow")
_SELECTOR_RANK = {"path": 5, "endpoint": 4, "prefix": 3, "blueprint": 2, "tag": 1}


@dataclass(frozen=True, slots=True)
class Compiled:
    """A table, and the problems that compiling it found; with errors among them it never serves."""

    table: RouteTable
    problems: tuple[Problem, ...]

    @property
    def errors(self) -> tuple[Problem, ...]:
        """The problems that forbid serving."""
        return tuple(problem for problem in self.problems if problem.fatal)


@dataclass(frozen=True, slots=True)
class _Spot:
    """One template and method on either side or both, before rules are looked at."""

    method: str
    template: Template
    legacy: LegacyEndpoint | None
    native: NativeEndpoint | None
    wide: LegacyEndpoint | None = None
    """The wider legacy view that answers this path of native's, until the path is moved."""


def compile_table(
    config: Config,
    source: Source,
    legacy: LegacyRoutes,
    native: NativeRoutes,
    today: date,
    overrides: Mapping[str, Override] = NO_OVERRIDES,
    evidence: Evidence = NO_EVIDENCE,
    blocks: Iterable[Block] = (),
) -> Compiled:
    """Compile `config` against both apps; never raises for what a user can get wrong.

    `overrides` go by a route's id or a rule's, and hold as if the file said so.
    `evidence` is what is known of who refuses whom. What `blocks` has is mirrored, though legacy
    serves it: so the next release can prove itself.
    """
    compiler = _Compiler(config, legacy, native, overrides, evidence, blocks)
    table = compiler.run()
    findings = Findings(compiler.claims, compiler.collisions)
    problems = find_problems(config, source, table, findings, today)
    return Compiled(table, tuple(problems))


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
        legacy: LegacyRoutes,
        native: NativeRoutes,
        overrides: Mapping[str, Override],
        evidence: Evidence,
        blocks: Iterable[Block],
    ) -> None:
        self.config, self.overrides, self.evidence = config, overrides, evidence
        self.legacy, self.native = legacy, native
        self.blocked = shapes_of(blocks, legacy)
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
        self.views = legacy.endpoints()
        self.places = frozenset(each.template.segments for each in self.views)
        self.claims = {rule.index: Claims() for rule in self.rules}
        self.collisions: dict[tuple[int, int], str] = {}

    def run(self) -> RouteTable:
        by_legacy: dict[int, dict[str, Unit]] = defaultdict(dict)
        by_native: dict[NativeKey, Unit] = {}
        routes: list[Route] = []
        paired: set[tuple[str, ...]] = set()
        legacy_endpoints = self.views
        seen: set[tuple[tuple[str, ...], str]] = set()
        for endpoint in legacy_endpoints:
            methods = endpoint.methods | {"*"} if endpoint.any_method else endpoint.methods
            for method in sorted(methods):
                partner = self._partner(endpoint.template, method)
                spot = _Spot(method, endpoint.template, endpoint, partner)
                unit = self._unit(spot, routes)
                by_legacy[id(endpoint.ref)][method] = unit
                if not endpoint.host:
                    seen.add((endpoint.template.segments, method))
                if partner is None:
                    continue
                paired.add(endpoint.template.segments)
                if not endpoint.host:
                    by_native.setdefault(native_key(partner, method), unit)
        overlays: dict[int, dict[NativeKey, Unit]] = defaultdict(dict)
        for native, template in self.natives:
            for method in sorted(native.methods or ANY_METHOD):
                name = native_key(native, method)
                if name in by_native or (template.segments, method) in seen:
                    continue
                spot = _Spot(method, template, None, native)
                for endpoint in (taken := self._wider(spot)):
                    unit = self._unit(replace(spot, wide=endpoint), routes)
                    overlays[id(endpoint.ref)][name] = unit
                by_native[name] = self._unit(spot, routes, listed=not taken)
        concrete = self._concrete(routes)
        table = RouteTable(
            routes=tuple(routes),
            rules=self.rules,
            legacy=self.legacy,
            native=self.native,
            by_legacy=by_legacy,
            by_native=by_native,
            overlays=overlays,
            sockets=self._sockets(),
            concrete=concrete,
            folded=self._folded(by_native) if self.legacy.opaque else (),
            wide={
                id(endpoint.ref): endpoint.template.rank
                for endpoint in legacy_endpoints
                if endpoint.template.open
            },
            paired=frozenset(paired),
            static={},
            default_auth=self.config.defaults.auth,
        )
        return replace(table, static=_static_matches(table))

    # -- what there is ------------------------------------------------------------------------

    def _partner(self, template: Template, method: str) -> NativeEndpoint | None:
        """Return the native route that pairs; for HEAD the one for GET if there's no own one."""
        for wanted in (method, "GET") if method == "HEAD" else (method,):
            for endpoint in self.partners.get(template.segments, ()):
                if endpoint.methods is None or wanted in endpoint.methods:
                    return endpoint
        return None

    # -- which rules claim it -----------------------------------------------------------------

    def _unit(self, spot: _Spot, routes: list[Route], *, listed: bool = True) -> Unit:
        """Compile a spot; `listed` routes are shown, and noted as what their rules have claimed."""
        claiming = self._claiming(spot)
        noted = routes if listed else None
        matches: list[Match] = []
        hosts: set[str | None] = set()
        for rule in claiming:
            if rule.config.host in hosts:
                continue
            hosts.add(rule.config.host)
            matches.append(self._match(spot, rule, claiming, noted))
            if rule.config.host is None:
                break
        if None not in hosts:
            matches.append(self._match(spot, None, claiming, noted))
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
        self,
        spot: _Spot,
        rule: Rule | None,
        considered: tuple[Rule, ...],
        routes: list[Route] | None,
    ) -> Match:
        native = spot.native
        opaque_native = self.native.opaque and spot.legacy is not None and rule is not None
        if spot.legacy is not None and spot.legacy.host and not _names_host(rule):
            # A subdomain's `/` is not the default host's: only a rule that says so pairs them.
            native, opaque_native = None, False
        if opaque_native and spot.method in AUTOMATIC and spot.method != "HEAD":
            opaque_native = False
        route = self._route(spot, native, opaque_native, rule, considered)
        if routes is not None:
            routes.append(route)
            if rule is not None:
                self._note(rule, route)
        view = route.legacy
        read = NOT_FOUND if view is None else LegacyAnswer("rule", view.ref)
        head = (
            spot.method == "HEAD"
            and native is not None
            and native.methods is not None
            and "HEAD" not in native.methods
        )
        return Match(route, head=head, read=read)

    def _route(
        self,
        spot: _Spot,
        native: NativeEndpoint | None,
        opaque_native: bool,
        rule: Rule | None,
        considered: tuple[Rule, ...],
        *,
        both: bool = False,
    ) -> Route:
        defaults = self.config.defaults
        has_native = native is not None or opaque_native
        view = spot.legacy or spot.wide
        has_legacy = view is not None or self.legacy.opaque
        if both or (has_native and has_legacy):
            coverage = Coverage.BOTH
        else:
            coverage = Coverage.ONLY_NATIVE if has_native else Coverage.ONLY_LEGACY
        said = rule.config if rule is not None else None
        override = self._override(f"{spot.method} {spot.template.label}", rule)
        cutover: Cutover
        if coverage is Coverage.ONLY_LEGACY:
            cutover = "legacy"
        elif coverage is Coverage.ONLY_NATIVE:
            cutover = "legacy" if said is not None and said.cutover == "legacy" else "native"
        elif override is not None:
            cutover = override.cutover
        else:
            cutover = said.cutover if said is not None else defaults.cutover
        weight = (said.weight if said is not None else None) or 0.0
        if override is not None:
            weight = override.weight or 0.0
        failover = circuit = None
        if coverage is Coverage.BOTH and cutover not in UNMOVED:
            failover, circuit = _precautions(said, defaults)
        sticky = (said.sticky if said is not None else None) or defaults.sticky
        mirrored_as = cutover
        if self.blocked and self._proves_itself(spot, said, override):
            mirrored_as = "shadow"
        route = Route(
            method=spot.method,
            label=spot.template.label,
            legacy=view,
            native=native,
            coverage=coverage,
            rule=rule,
            cutover=cutover,
            overridden=override is not None and coverage is Coverage.BOTH,
            failover=failover,
            circuit=circuit,
            mirroring=_mirroring(said, mirrored_as, spot.method, coverage),
            guardrail=_guardrail(said, defaults) if coverage is Coverage.BOTH else None,
            wider=spot.wide is not None,
            elsewhere=view is None and spot.template.segments in self.places,
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
        if coverage is Coverage.ONLY_NATIVE and self._is_refused(route):
            return replace(route, cutover="legacy")
        return self._judged(route) if has_native else route

    def _proves_itself(
        self, spot: _Spot, said: RuleConfig | None, override: Override | None
    ) -> bool:
        """Tell whether a blocked route is mirrored: unless a person, or the file, says legacy."""
        method = "GET" if spot.method == "HEAD" else spot.method
        if (method, spot.template.segments) not in self.blocked:
            return False
        if override is not None and override.author != AUTHOR and override.cutover == "legacy":
            return False
        return (said.cutover if said is not None else self.config.defaults.cutover) != "legacy"

    def _is_refused(self, route: Route) -> bool:
        """Tell whether Flask answers 405 to a method that only native has, and goes on doing so."""
        template = route.template
        if template is None or template.catch_all or self.legacy.by_host or is_opted(route):
            return False
        method = route.method
        scopes = [scope_of(method, template.sample(value)) for value in SAMPLES]
        said = [self.legacy.answer(scope, method, scope["path"]).outcome for scope in scopes]
        return all(outcome == "method" for outcome in said)

    def _judged(self, route: Route) -> Route:
        """Return the route with what speaks against native's answering it."""
        if route.coverage is Coverage.ONLY_NATIVE and route.rule is None:
            return route  # it is as FastAPI alone would serve it, behind Flask's app-wide hooks
        views: tuple[LegacyEndpoint, ...] = (route.legacy,) if route.legacy else ()
        if not views and route.coverage is Coverage.BOTH and route.template is None:
            # Nobody knows which routes the handler has, so that all below its rule count.
            rule = route.rule.template if route.rule is not None else None
            views = tuple(
                each
                for each in self.views
                if rule is not None
                and (each.template.below(rule) or each.template.overlaps(rule))
                and (route.method == "*" or each.methods & frozenset(route.method.split(",")))
            )
        beside: tuple[LegacyEndpoint, ...] = ()
        if route.method == "OPTIONS" and route.legacy is not None:
            beside = tuple(
                each
                for each in self.views
                if each is not route.legacy
                and each.host == route.legacy.host
                and each.template.segments == route.legacy.template.segments
            )
        return judged(route, views, self._handlers(route), self.legacy, self.evidence, beside)

    def _handlers(self, route: Route) -> list[NativeEndpoint]:
        """List the native routes that may answer: those of one template may share it out."""
        if route.native is None:
            return []
        wanted = {route.method} | ({"GET"} if route.method == "HEAD" else set())
        alike = () if route.template is None else self.partners.get(route.template.segments, ())
        others = [
            each
            for each in alike
            if each is not route.native and (each.methods is None or each.methods & wanted)
        ]
        return [route.native, *others]

    def _override(self, route: str, rule: Rule | None) -> Override | None:
        """Return the override that holds for a route: its own, else its rule's."""
        found = self.overrides.get(route)
        if found is None and rule is not None:
            found = self.overrides.get(rule.id)
        return found

    def _note(self, rule: Rule, route: Route) -> None:
        claims = self.claims[rule.index]
        claims.claimed += 1
        claims.methods.add(route.method)
        if route.coverage is Coverage.ONLY_LEGACY:
            if rule.config.cutover != "legacy" and route.method not in AUTOMATIC:
                claims.stayed.append(route)
        elif route.cutover != "legacy":
            claims.moved.append(route)

    # -- the rest of the table ----------------------------------------------------------------

    def _wider(self, spot: _Spot) -> list[LegacyEndpoint]:
        """List the wider legacy views that answer a flagged path of native's until it moves.

        Each of them is then its legacy side, and Flask's hooks for that view run.
        """
        if not self._claiming(spot) and (
            self.config.defaults.cutover != "native" or spot.template.open
        ):
            return []
        found = [
            view
            for view in self.views
            if (spot.method in view.methods or view.any_method)
            and spot.template.rank < view.template.rank
            and spot.template.overlaps(view.template)
        ]
        if not found or self.legacy.by_host or not spot.template.static:
            return found
        path = spot.template.source
        answer = self.legacy.answer(scope_of(spot.method, path), spot.method, path)
        return [view for view in found if view.ref is answer.ref]

    def _sockets(self) -> dict[int, Unit]:
        """Compile native's WebSocket routes; a rule guards them whatever methods it names."""
        found: dict[int, Unit] = {}
        for endpoint in self.native.endpoints():
            if endpoint.kind == "websocket":
                spot = _Spot(WEBSOCKET, native_template(endpoint), None, endpoint)
                found[endpoint.order] = self._unit(spot, [])
        return found

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
            route = self._route(spot, None, True, rule, (rule,), both=True)
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


def _precautions(
    said: RuleConfig | None, defaults: DefaultsConfig
) -> tuple[FailoverConfig | None, CircuitConfig | None]:
    """Return what a route's failover and circuit breaker are; failover brings a breaker along."""
    failover = said.failover if said is not None else None
    circuit = said.circuit if said is not None else None
    failover = defaults.failover if failover is None else failover
    circuit = defaults.circuit if circuit is None else circuit
    failover = failover if failover is not None and failover.enabled else None
    if circuit is None and failover is not None:
        circuit = CircuitConfig()
    return failover, circuit if circuit is not None and circuit.enabled else None


def _guardrail(said: RuleConfig | None, defaults: DefaultsConfig) -> GuardrailConfig | None:
    """Return what a rule's guardrail is; a route without a rule has none."""
    if said is None:
        return None
    return said.guardrail if said.guardrail is not None else defaults.guardrail


def _mirroring(
    said: RuleConfig | None, cutover: Cutover, method: str, coverage: Coverage
) -> Mirroring | None:
    """Return what of a route is mirrored; None where nothing is."""
    if coverage is not Coverage.BOTH or cutover not in ("shadow", "canary", "live"):
        return None
    said = said if said is not None else _SAYS_NOTHING
    if method not in SAFE and (said.writes is None or method == "OPTIONS"):
        return None
    sample = said.sample
    if sample is None:
        sample = CANARY_SAMPLE if cutover == "canary" else 100.0
    effects = said.side_effects
    if effects is not None and not effects.enabled:
        effects = None
    return Mirroring(sample, said.noise, said.compare, said.expect, said.writes, effects)


def _claims(rule: Rule, spot: _Spot) -> bool:
    config = rule.config
    if config.methods is not None and spot.method != WEBSOCKET:
        implied = _head_of(config.methods)
        if spot.method not in config.methods and spot.method not in implied:
            return False
    legacy, native = spot.legacy, spot.native
    view = legacy or spot.wide
    if view is not None and view.host and not _names_host(rule):
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


def _static_matches(table: RouteTable) -> dict[tuple[str, str], Match]:
    """Ask the table once for every path without parameters, so that no request has to again.

    Only where the answer depends on nothing but method and path.
    """
    if table.legacy.by_host or not table.native.by_path:
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
                scope = scope_of(route.method, template.source)
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
