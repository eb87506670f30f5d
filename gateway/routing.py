"""Which route is this? Rules and both route tables, compiled into one immutable RouteTable.

A request belongs to the route that Flask's own `url_map` names, where Flask knows the path; to the
route that FastAPI names, where only FastAPI does. `gateway.compiling` builds the table.
"""

from __future__ import annotations

from collections.abc import Mapping  # noqa: TC003 - REASONS is one at run time
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from gateway.inventory import (
    Found,
    LegacyAnswer,
    LegacyEndpoint,
    LegacyRoutes,
    NativeEndpoint,
    NativeRoutes,
    Scope,
    route_path,
)
from gateway.templates import Template, normalise, parse_native

if TYPE_CHECKING:
    from gateway.config import (
        Auth,
        BodyMode,
        CircuitConfig,
        CompareConfig,
        Cutover,
        ExpectConfig,
        FailoverConfig,
        GuardrailConfig,
        Hooks,
        RuleConfig,
        SideEffectsConfig,
        WritesConfig,
    )


#: Methods that frameworks answer by themselves; nobody writes a handler for them.
AUTOMATIC = frozenset({"HEAD", "OPTIONS"})
#: Values that a path's parameters are filled with, to ask an app what it makes of a template.
SAMPLES = ("1", "x")
#: Stands in the place of a method for native's WebSocket routes.
WEBSOCKET = "WEBSOCKET"
#: Methods that may be tried twice without asking (of those in RFC 9110, 9.2.1, the ones we serve).
SAFE = frozenset({"GET", "HEAD"})


class Backend(StrEnum):
    """Who serves a request."""

    LEGACY = "legacy"
    NATIVE = "native"


class Reason(StrEnum):
    """Why this backend: a short code, the same in `gateway match`, logs and metrics."""

    KILL_SWITCH = "kill_switch"
    TESTER = "tester"
    OVERRIDE = "override"
    RULE = "rule"
    CANARY = "canary"
    NO_IDENTITY = "no_identity"
    BOTH = "both"
    ONLY_LEGACY = "only_legacy"
    ONLY_NATIVE = "only_native"
    NEITHER = "neither"
    REDIRECT = "redirect"
    METHOD = "method"
    CONVERTER = "converter"
    BAD_REQUEST = "bad_request"
    REFUSED = "refused"
    PREFLIGHT = "preflight"
    RETIRED = "retired"
    BLOCKED = "blocked"
    GUARD = "guard"
    CIRCUIT_OPEN = "circuit_open"
    FAILOVER = "failover"
    USE_LEGACY = "use_legacy"
    HOOKS = "hooks"
    MIDDLEWARE = "middleware"
    MIRROR = "mirror"


#: Who answers the client under each cutover; a canary deals by identity.
LEADS: Mapping[Cutover, Backend] = {
    "legacy": Backend.LEGACY,
    "shadow": Backend.LEGACY,
    "canary": Backend.LEGACY,
    "live": Backend.NATIVE,
    "native": Backend.NATIVE,
}
#: What legacy says of a path that it doesn't know.
NOT_FOUND = LegacyAnswer("none")
#: Who may guard a native handler that Flask's own matching doesn't lead to.
_SAID: frozenset[Auth] = frozenset({"shared", "native", "none"})
#: The cutovers under which no client is answered by native.
UNMOVED: frozenset[Cutover] = frozenset({"legacy", "shadow"})

REASONS: Mapping[Reason, str] = {
    Reason.KILL_SWITCH: "the kill switch is on: legacy serves everything that it can serve",
    Reason.TESTER: "the tester header, with its secret, picked this side",
    Reason.OVERRIDE: "an override, made at run time, beats what the file says",
    Reason.RULE: "the rule's cutover says so",
    Reason.CANARY: "the identity's bucket is inside (native) or outside (legacy) the weight",
    Reason.NO_IDENTITY: "a canary, but no identity source was present: legacy",
    Reason.BOTH: "both apps have the route and no rule names it: defaults.cutover",
    Reason.ONLY_LEGACY: "only the legacy app has the route",
    Reason.ONLY_NATIVE: "only the native app has the route",
    Reason.NEITHER: "neither app knows the path: legacy answers, as it did before",
    Reason.REDIRECT: "Flask redirects to another spelling of the path",
    Reason.METHOD: "the path is known, the method isn't: its owner says 405",
    Reason.CONVERTER: "Flask's converter refuses this value; legacy answers, as it did before",
    Reason.BAD_REQUEST: "Flask refuses the request itself: its host, or its upgrade",
    Reason.REFUSED: "`gateway check` refuses this move, so legacy serves the route",
    Reason.PREFLIGHT: "a CORS preflight goes to the side that serves the method it asks for, if it "
    "can answer",
    Reason.BLOCKED: "native let in a caller whom legacy refused: legacy serves (gateway diffs)",
    Reason.GUARD: "the shared guard refused the caller; neither side was asked",
    Reason.CIRCUIT_OPEN: "native has failed too often on this route: legacy serves for a while",
    Reason.FAILOVER: "native failed before its first byte, so legacy answered",
    Reason.USE_LEGACY: "the native handler asked for legacy (raise UseLegacy())",
    Reason.HOOKS: "one of Flask's own hooks answered before the native handler was asked",
    Reason.MIDDLEWARE: "WSGI middleware answered by itself, so that Flask called neither side",
    Reason.MIRROR: "a mirrored request, whose answer nobody gets",
    Reason.RETIRED: "middleware inside legacy turned this into a route that native has taken over",
}


@dataclass(frozen=True, slots=True)
class Rule:
    """One entry of the config, ready to be compared: its id, and where it was written."""

    id: str
    index: int
    config: RuleConfig
    template: Template | None

    @property
    def selector(self) -> str:
        """The one selector that the rule has, as `path: /users/{id}`."""
        for name in ("path", "prefix", "blueprint", "endpoint", "tag"):
            value = getattr(self.config, name)
            if value is not None:
                return f"{name}: {value}"
        return ""

    @property
    def key(self) -> str:
        """Where the rule stands in the config: `routes[3]`."""
        return f"routes[{self.index}]"


class Coverage(StrEnum):
    """Which of the apps has a route."""

    BOTH = "both"
    ONLY_LEGACY = "only_legacy"
    ONLY_NATIVE = "only_native"


@dataclass(frozen=True, slots=True)
class Mirroring:
    """What of a route's requests the other side is asked for, too, and how answers are compared.

    `sample` and `noise` are in percent; `side_effects` is None where they aren't compared.
    """

    sample: float
    noise: float
    compare: CompareConfig
    expect: tuple[ExpectConfig, ...]
    writes: WritesConfig | None
    side_effects: SideEffectsConfig | None = None


@dataclass(frozen=True, slots=True)
class Finding:
    """One reason why native may not answer a route: a short code, what is wrong, what to do.

    `auth` is the word that fits best where the rule has none.
    """

    code: str
    what: str
    next: str = ""
    auth: Auth | None = None

    def __str__(self) -> str:
        """Render as `what (what next) [code]`."""
        hint = f" ({self.next})" if self.next else ""
        return f"{self.what}{hint} [{self.code}]"


@dataclass(frozen=True, slots=True)
class Route:
    """One path template and method, compiled: who has it, which rule governs it, what it says.

    `threshold` is the canary's weight in hundredths of a percent (0 to 10,000). `reads_session`:
    its identity may lie in the Flask session. `overridden`: an override says so, not the file.
    `failover` and `circuit` are None where they are off, or where legacy has no such route;
    `mirroring` where nothing is mirrored, `guardrail` where nobody looks after the route.
    `findings` are why native may not answer here, whatever the cutover: a client then gets legacy.
    `accepted` are findings that the rule accepts, each code with its reason. `wider` marks a native
    path that is taken out of a wider legacy view, `elsewhere` one
    that legacy has for other methods, or on another host.
    """

    method: str
    label: str
    legacy: LegacyEndpoint | None
    native: NativeEndpoint | None
    coverage: Coverage
    rule: Rule | None
    cutover: Cutover
    threshold: int
    sticky: tuple[str, ...]
    salt: str
    body: BodyMode
    hooks: Hooks
    auth: Auth | None
    requires: frozenset[str]
    host: str | None
    considered: tuple[Rule, ...]
    native_opaque: bool = False
    reads_session: bool = False
    overridden: bool = False
    failover: FailoverConfig | None = None
    circuit: CircuitConfig | None = None
    mirroring: Mirroring | None = None
    guardrail: GuardrailConfig | None = None
    findings: tuple[Finding, ...] = ()
    accepted: Mapping[str, str] = field(default_factory=dict)
    wider: bool = False
    elsewhere: bool = False
    template: Template | None = field(default=None, repr=False)

    @property
    def id(self) -> str:
        """What `gateway routes` prints and commands accept: `GET /items/{id}`."""
        return f"{self.method} {self.label}"


@dataclass(frozen=True, slots=True)
class Match:
    """The answer to "which route is this?".

    `forced` says who must answer whatever the cutover, with the reason; it is None where the
    route's cutover decides. `head` asks for the native GET without its body. `direct` says that
    the native app's own matching leads to the route's native endpoint, so that it needs no help.
    `read` is what legacy makes of the request: native stands in only where Flask itself, asked
    with the real request, gives this very answer. `preflight`: a CORS preflight that a framework
    answers without asking any handler, so that it comes before the shared guard.
    """

    route: Route | None
    forced: tuple[Backend, Reason] | None = None
    head: bool = False
    direct: bool = False
    read: LegacyAnswer = NOT_FOUND
    preflight: bool = False

    @property
    def settled(self) -> bool:
        """Whether native can't answer, whatever the policy and the caller."""
        if self.forced is not None:
            return self.forced[0] is Backend.LEGACY
        return self.route is not None and self.route.coverage is Coverage.ONLY_LEGACY


@dataclass(frozen=True, slots=True)
class Unit:
    """The routes of one template and method: one per host that rules tell apart.

    `hosts` are tried in order; the last one has no host, so that one always applies.
    """

    matches: tuple[Match, ...]

    def pick(self, scope: Scope) -> Match:
        """Return the first match whose host is the request's."""
        if len(self.matches) == 1:
            return self.matches[0]
        host = request_host(scope)
        for match in self.matches[:-1]:
            if match.route is not None and host_matches(match.route.host, host):
                return match
        return self.matches[-1]


def scope_of(method: str, path: str) -> dict[str, Any]:
    """Make the least of an ASGI scope that a table can be asked with."""
    return {
        "type": "http",
        "method": method,
        "path": path,
        "raw_path": path.encode(),
        "root_path": "",
        "query_string": b"",
        "headers": [],
    }


def request_host(scope: Scope) -> str:
    """Return the Host header's name in lower case, without its port."""
    for name, value in scope["headers"]:
        if name == b"host":
            host: str = value.decode("latin-1").lower()
            if host.startswith("["):
                return host.partition("]")[0] + "]"
            return host.partition(":")[0]
    return ""


def host_matches(pattern: str | None, host: str) -> bool:
    """Compare a host with `shop.example.com` or `*.example.com`; None matches any."""
    if pattern is None:
        return True
    if pattern.startswith("*."):
        return host.endswith(pattern[1:]) and len(host) > len(pattern) - 1
    return host == pattern


def header(scope: Scope, name: bytes) -> bytes | None:
    """Return the first value of a header (name in lower case), or None."""
    for key, value in scope["headers"]:
        if key == name:
            found: bytes = value
            return found
    return None


_NEITHER = Match(None, (Backend.LEGACY, Reason.NEITHER))
_REDIRECT = Match(None, (Backend.LEGACY, Reason.REDIRECT), read=LegacyAnswer("redirect"))
_BAD_REQUEST = Match(None, (Backend.LEGACY, Reason.BAD_REQUEST), read=LegacyAnswer("refused"))
_METHOD = Match(None, (Backend.LEGACY, Reason.METHOD), read=LegacyAnswer("method"))
_ONLY_NATIVE = Match(None, (Backend.NATIVE, Reason.ONLY_NATIVE))
_NATIVE_METHOD = Match(None, (Backend.NATIVE, Reason.METHOD))
_NATIVE_REDIRECT = Match(None, (Backend.NATIVE, Reason.REDIRECT))


@dataclass(frozen=True, slots=True)
class Concrete:
    """A rule over an app whose routes can't be listed: compared with the request's path."""

    template: Template
    prefix: bool
    methods: frozenset[str] | None
    unit: Unit

    def claims(self, method: str, folded: str) -> bool:
        """Tell whether the rule names `method` and the path that `normalise` has folded."""
        if self.methods is not None and method not in self.methods:
            return False
        return self.covers(folded)

    def covers(self, folded: str) -> bool:
        """Tell whether the rule names a path, whatever the method."""
        regex = self.template.prefix_regex if self.prefix else self.template.regex
        return regex.match(folded) is not None


NativeKey = tuple[str, str, str]


def native_key(endpoint: NativeEndpoint, method: str) -> NativeKey:
    """Name a native route and method; of two equal ones FastAPI only ever runs the first."""
    return (endpoint.kind, endpoint.path, method)


@dataclass(frozen=True)
class RouteTable:
    """Both route tables and the rules, compiled. Immutable; `match` is its only question.

    `by_legacy` is keyed by `id` of the Werkzeug rule, which `legacy` keeps alive. `overlays`
    holds, per legacy rule, the flagged native routes of narrower paths, with that rule as their
    legacy side. `sockets` goes by the order of native's WebSocket routes. `wide` ranks the legacy
    rules with an open parameter, for `concrete` to beat. `folded` holds what has moved away from a
    legacy app that may be lenient about spellings. `default_auth` is what `defaults.auth` says.
    """

    routes: tuple[Route, ...]
    rules: tuple[Rule, ...]
    legacy: LegacyRoutes
    native: NativeRoutes
    by_legacy: Mapping[int, Mapping[str, Unit]]
    by_native: Mapping[NativeKey, Unit]
    overlays: Mapping[int, Mapping[NativeKey, Unit]]
    sockets: Mapping[int, Unit]
    concrete: tuple[Concrete, ...]
    folded: tuple[tuple[Template, str, Match], ...]
    wide: Mapping[int, tuple[int, ...]]
    paired: frozenset[tuple[str, ...]]
    static: Mapping[tuple[str, str], Match]
    default_auth: Auth | None = None

    def match(self, scope: Scope) -> Match:
        """Return the route of an HTTP request (ASGI scope)."""
        method: str = scope["method"]
        path = route_path(scope)
        hit = self.static.get((method, path))
        if hit is not None and (hit.settled or self.legacy.plain(scope)):
            return hit
        if method == "OPTIONS" and (asked := preflight_method(scope)) is not None:
            return self._preflight(scope, asked, path)
        return self._match(scope, method, path)

    def _preflight(self, scope: Scope, asked: str, path: str) -> Match:
        """Return the side that serves the method which a CORS preflight asks about."""
        own = self._match(scope, "OPTIONS", path)
        wanted = self._match({**scope, "method": asked}, asked, path)
        route = wanted.route
        if wanted.forced is not None:
            backend = wanted.forced[0]
        else:
            backend = LEADS[route.cutover] if route is not None else Backend.LEGACY
        automatic = bool(getattr(own.read.ref, "provide_automatic_options", False))
        if automatic and not self._native_preflight(scope, own):
            backend = Backend.LEGACY
        if backend is Backend.NATIVE and own.read.outcome == wanted.read.outcome:
            if self.native.answers_preflights:
                forced = (Backend.NATIVE, Reason.PREFLIGHT)
                return Match(route, forced, read=own.read, preflight=True)
            if not own.settled:
                return own
            if route is None or route.auth != "shared":
                return Match(route, (Backend.NATIVE, Reason.PREFLIGHT), read=own.read)
        forced = (Backend.LEGACY, Reason.PREFLIGHT)
        return Match(own.route or route, forced, read=own.read, preflight=automatic)

    def _native_preflight(self, scope: Scope, own: Match) -> bool:
        """Tell whether anything in native may answer a preflight; else it would be a 405.

        Flask answers OPTIONS by itself, and Flask-CORS as well, wherever its view has moved to.
        """
        if self.native.opaque or self.native.may_speak_cors:
            return True
        if own.route is not None and own.route.native is not None:
            return True
        found = self.native.find(scope)
        return found is not None and found.outcome == "full"

    def _match(self, scope: Scope, method: str, path: str) -> Match:
        return self.interpret(self.legacy.answer(scope, method, path), scope, path)

    def interpret(self, answer: LegacyAnswer, scope: Scope, path: str) -> Match:
        """Return the route of a request of which legacy's own router says `answer`."""
        method: str = scope["method"]
        outcome = answer.outcome
        if outcome == "rule":
            if self.concrete and (rank := self.wide.get(id(answer.ref))) is not None:
                claimed = self._concrete(scope, answer, path, rank)
                if claimed is not None:
                    return claimed
            return self._legacy_rule(scope, answer)
        if outcome == "redirect":
            return _REDIRECT
        if outcome == "refused":
            return _BAD_REQUEST
        if self.concrete:
            claimed = self._concrete(scope, answer, path, (4,))
            if claimed is not None:
                return claimed
        match = self._unmatched(scope, answer)
        if outcome == "unknown" and match is _NEITHER and self.folded:
            return self._folded(method, normalise(path)) or match
        return match

    def _folded(self, method: str, folded: str) -> Match | None:
        """Return the moved route that a lenient legacy app could read this spelling as."""
        wanted = ("GET",) if method == "HEAD" else (method,)
        for template, moved, match in self.folded:
            if moved in wanted and template.regex.match(folded):
                return match
        return None

    def _concrete(
        self, scope: Scope, answer: LegacyAnswer, path: str, rank: tuple[int, ...]
    ) -> Match | None:
        """Return the rule over an unlisted app that claims the path and is narrower than `rank`."""
        folded = normalise(path)
        for rule in self.concrete:
            if rule.template.rank < rank and rule.claims(scope["method"], folded):
                match = rule.unit.pick(scope)
                if answer.outcome == "method" and not _opted(match.route, scope["method"]):
                    return None
                return replace(match, read=answer)
        return None

    def _legacy_rule(self, scope: Scope, answer: LegacyAnswer) -> Match:
        key = id(answer.ref)
        overlays = self.overlays.get(key)
        if overlays is not None and (match := self._overlay(scope, overlays)):
            return match
        units = self.by_legacy.get(key)
        unit = None
        if units is not None:
            # Werkzeug reads `get` as `GET` and runs its view; `*` is a rule without any list.
            unit = units.get(scope["method"].upper()) or units.get("*")
        if unit is None:
            # A rule added after the table was compiled.
            return Match(None, (Backend.LEGACY, Reason.ONLY_LEGACY), read=answer)
        return unit.pick(scope)

    def _overlay(self, scope: Scope, units: Mapping[NativeKey, Unit]) -> Match | None:
        """Return the flagged native route of a narrower path than the matched legacy rule."""
        found = self.native.find(scope)
        if found is not None and found.outcome == "full":
            unit = units.get(native_key(found.endpoint, scope["method"]))
            return unit.pick(scope) if unit is not None else None
        if scope["method"] == "HEAD":
            # The route has been taken over from a wider one that answers HEAD: so does its GET.
            get = self._overlay({**scope, "method": "GET"}, units)
            return replace(get, head=True) if get is not None else None
        return None

    def _unmatched(self, scope: Scope, answer: LegacyAnswer) -> Match:
        """Return what becomes of a request that legacy has no view for."""
        method: str = scope["method"]
        found = self.native.find(scope)
        if found is None:
            return _METHOD if answer.outcome == "method" else _NEITHER
        if found.outcome == "full":
            return self._native_full(scope, method, found, answer)
        if answer.outcome == "method":
            return _METHOD
        if answer.outcome == "unknown" and method == "HEAD":
            moved = self._moved_head(scope)
            if moved is not None:
                return moved
        if answer.outcome == "unknown" or self._template(found) in self.paired:
            return _NEITHER
        if is_catch_all(found.endpoint):
            return _NEITHER
        return _NATIVE_METHOD if found.outcome == "partial" else _NATIVE_REDIRECT

    def _native_full(self, scope: Scope, method: str, found: Found, answer: LegacyAnswer) -> Match:
        endpoint = found.endpoint
        unit = self.by_native.get((endpoint.kind, endpoint.path, method)) or self.by_native.get(
            native_key(endpoint, "*")
        )
        if answer.outcome == "method":
            # Flask has the path, and says 405; only a rule that names both can say otherwise.
            match = unit.pick(scope) if unit is not None else _METHOD
            return replace(match, read=answer) if _opted(match.route, method) else _METHOD
        if unit is None:
            # A route added while the process runs: nothing is flagged, so only native has it,
            # unless Flask can't be asked.
            if is_catch_all(found.endpoint) or answer.outcome == "unknown":
                return _NEITHER
            return _NEITHER if self.legacy.knows(scope, route_path(scope)) else _ONLY_NATIVE
        match = unit.pick(scope)
        route = match.route
        if route is None:
            return match
        if route.rule is None and _catches_all(route):
            return _NEITHER
        if self.legacy.opaque:
            return match
        if route.coverage is Coverage.BOTH:
            # Flask has this very template and method, yet said no to the path.
            if not (_opted(route, method) and _takes_mismatches(route)):
                return Match(route, (Backend.LEGACY, Reason.CONVERTER))
            return replace(match, read=answer)
        known = route.elsewhere or self.legacy.knows(scope, route_path(scope))
        if known and not (_opted(route, method) and _takes_mismatches(route)):
            # Else another host or spelling would come around the hooks of the rule that Flask has.
            return _NEITHER
        return match

    def _moved_head(self, scope: Scope) -> Match | None:
        found = self.native.find({**scope, "method": "GET"})
        if found is None or found.outcome != "full":
            return None
        unit = self.by_native.get(native_key(found.endpoint, "GET"))
        match = unit.pick(scope) if unit is not None else None
        if match is None or match.route is None or match.route.rule is None:
            return None
        return Match(match.route, match.forced, head=True)

    def _template(self, found: Found) -> tuple[str, ...]:
        return native_template(found.endpoint).segments

    def socket(self, scope: Scope) -> Match:
        """Return the route of a WebSocket; legacy is forced where native may not accept it.

        Flask's hooks never run for a WebSocket. So on a path that Flask answers, or below a rule
        that guards its routes, somebody must say who guards it.
        """
        path = route_path(scope)
        found = self.native.find(scope)
        unit: Unit | None = None
        if found is not None:
            unit = self.sockets.get(found.endpoint.order)
        elif self.native.opaque:
            folded = normalise(path)
            unit = next((each.unit for each in self.concrete if each.covers(folded)), None)
        else:
            return _NEITHER
        match = unit.pick(scope) if unit is not None else _ONLY_NATIVE
        auth = match.route.auth if match.route is not None else self.default_auth
        findings = match.route.findings if match.route is not None else ()
        beside = match.route is not None and match.route.elsewhere
        said = auth in _SAID or (auth is None and not beside and not self._answers(scope, path))
        if said and not findings:
            return match
        return Match(match.route, (Backend.LEGACY, Reason.REFUSED))

    def _answers(self, scope: Scope, path: str) -> bool:
        """Tell whether legacy knows the path of a WebSocket, asked as an ordinary request.

        Where it refuses to say, because of the host, nobody knows that it doesn't.
        """
        headers = [each for each in scope["headers"] if each[0] == b"host"]
        scheme = "https" if scope.get("scheme") == "wss" else "http"
        asked = {**scope, "type": "http", "method": "GET", "scheme": scheme, "headers": headers}
        if self.legacy.answer(asked, "GET", path).outcome == "refused":
            return True
        return bool(self.legacy.allowed(asked, path)) or self.legacy.knows(asked, path)

    def allowed(self, scope: Scope) -> frozenset[str]:
        """List the methods that either side serves at the request's path, for `Allow`."""
        path = route_path(scope)
        methods = set(self.legacy.allowed(scope, path))
        native = {method for _, _, method in self.by_native if method != "*"}
        for method in native - methods:
            match = self._match({**scope, "method": method}, method, path)
            if match.forced is None and match.route and match.route.cutover not in UNMOVED:
                methods.add(method)
        return frozenset(methods)


def _takes_mismatches(route: Route) -> bool:
    """Tell whether a rule lets native answer a path that Flask says no to."""
    return route.rule is not None and route.rule.config.on_mismatch == "native"


def _opted(route: Route | None, method: str) -> bool:
    """Tell whether a rule lets native answer where Flask itself wouldn't call a view."""
    return route is not None and is_opted(route, method)


def is_opted(route: Route, method: str | None = None) -> bool:
    """Tell whether a route's rule names path and method, and says who guards the handler.

    No view's hooks do, where Flask has no view for the request. `method` is the request's, if it
    isn't the route's.
    """
    if route.rule is None or route.auth not in _SAID:
        return False
    method, config = method or route.method, route.rule.config
    named = frozenset(config.methods or ())
    return config.path is not None and (method in named or (method == "HEAD" and "GET" in named))


def _catches_all(route: Route) -> bool:
    """Tell what `is_catch_all` does, of a route whose template is known already."""
    if route.native is None or route.template is None:
        return False
    return route.native.kind == "host" or route.template.catch_all


def native_template(endpoint: NativeEndpoint) -> Template:
    """Return the template of a native route; a mount's ends in an open parameter."""
    if endpoint.kind in ("mount", "frontend"):
        return parse_native(endpoint.path.rstrip("/").removesuffix("/{path:path}") + "/{path:path}")
    return parse_native(endpoint.path)


def is_catch_all(endpoint: NativeEndpoint) -> bool:
    """Tell whether a native route would take every path: `Mount("/")`, `frontend("/")`."""
    return endpoint.kind == "host" or native_template(endpoint).catch_all


def preflight_method(scope: Scope) -> str | None:
    """Return the method that a CORS preflight asks about, or None (Fetch, section 3.2.2)."""
    asked = header(scope, b"access-control-request-method")
    if asked is None or header(scope, b"origin") is None:
        return None
    return asked.decode("latin-1").upper()
