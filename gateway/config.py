"""The configuration as frozen values: what `config/gateway.yaml` may say.

Only shapes live here; `gateway.loading` reads files and the environment and reports problems.
"""

from __future__ import annotations

import re
from datetime import date  # noqa: TC003 - Pydantic reads it
from itertools import pairwise
from typing import Annotated, Any, Literal, get_args
from urllib.parse import SplitResult, parse_qsl, urlsplit

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    WithJsonSchema,
    model_validator,
)

from gateway.locations import parse as parse_location
from gateway.units import Duration, Size

Cutover = Literal["legacy", "shadow", "canary", "live", "native"]
Hooks = Literal["inherit", "skip"]
Auth = Literal["hooks", "shared", "native", "none"]
#: What `defaults.auth` may say: a handler that guards itself, or an open route, is named singly.
DefaultAuth = Literal["hooks", "shared"]
#: Findings of the analysis that a rule may `accept`, with a reason.
AcceptedCode = Literal["guards-itself", "may-guard-itself", "hooks-guard-nobody", "guards-nobody"]
BodyMode = Literal["spool", "stream"]

_METHOD = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")  # RFC 9110, section 5.6.2: token
_IDENTITY = re.compile(r"ip|principal|session:.+|(?:header|cookie):[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_STATE = re.compile(r"sqlite:///.|rediss?://.")
#: Options of a Redis URL: what each may be, as a pattern and in words.
_REDIS = {
    "prefix": (".+", "a text"),
    "db": ("[0-9]{1,9}", "a number"),
    "username": (".+", "a text"),
    "password": (".+", "a text"),
    "ssl_ca_certs": (".+", "a file"),
    "ssl_ca_path": (".+", "a folder"),
    "ssl_certfile": (".+", "a file"),
    "ssl_keyfile": (".+", "a file"),
    "ssl_cert_reqs": ("required|optional|none", "required, optional or none"),
    "ssl_check_hostname": ("true|false", "true or false"),
}
_ALL = 100
_HOST = re.compile(r"(?:\*\.)?[A-Za-z0-9_-]+(?:\.[A-Za-z0-9_-]+)*")


class _Model(BaseModel):
    """Frozen, and an unknown key is an error: a typo must never pass as a default."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


def _number(value: Any) -> Any:
    if isinstance(value, bool):
        message = f"{str(value).lower()} is no number"
        raise ValueError(message)  # noqa: TRY004 - Pydantic reports ValueError, not TypeError
    return value


def _methods(value: tuple[str, ...]) -> tuple[str, ...]:
    for method in value:
        if not _METHOD.fullmatch(method):
            message = f"{method!r} is no HTTP method"
            raise ValueError(message)
    return tuple(sorted({method.upper() for method in value}))


def _absolute(value: str) -> str:
    if not value.startswith("/"):
        message = f"{value!r} must start with '/'"
        raise ValueError(message)
    return value


def _identity(value: str) -> str:
    if not _IDENTITY.fullmatch(value):
        sources = "principal, session:KEY, header:NAME, cookie:NAME or ip"
        message = f"{value!r} is no identity source, use {sources}"
        raise ValueError(message)
    return value


def _host(value: str) -> str:
    if not _HOST.fullmatch(value):
        message = f"{value!r} is no host name, write shop.example.com or *.example.com (no port)"
        raise ValueError(message)
    return value.lower()


def _state(value: str) -> str:
    try:
        parts = urlsplit(value)
        right = _STATE.match(value) and (parts.scheme == "sqlite" or parts.port != 0)
    except ValueError:  # no port, or no IPv6 address
        right = False
    if not right:
        # Never the value itself: it may hold a password.
        message = (
            "must be sqlite:///path/to/state.db, redis://:password@host:6379/0 or rediss://… "
            "(in a password %2F for /, %40 for @, %3A for :, %3F for ?)"
        )
        raise ValueError(message)
    if parts.scheme != "sqlite":
        _redis(parts)
    return value


def _redis(parts: SplitResult) -> None:
    """Hold the path and the query of a Redis URL to what the client can use."""
    # No value is told, nor a name that isn't known: a `?` in a password begins the query, too.
    message = ""
    if not re.fullmatch(r"/?[0-9]{0,9}", parts.path):
        message = "the database in its path must be a number"
    seen = set()
    for name, value in parse_qsl(parts.query, keep_blank_values=True):
        if name not in _REDIS:
            message = f"its query can hold {', '.join(_REDIS)}; all else is the gateway's to choose"
        elif name in seen:
            message = f"{name} stands twice in its query"
        elif name.startswith("ssl_") and parts.scheme != "rediss":
            message = f"{name} needs rediss://"
        elif not re.fullmatch(_REDIS[name][0], value):
            message = f"{name} in its query must be {_REDIS[name][1]}"
        seen.add(name)
    if message:
        raise ValueError(message)


def _location(value: str) -> str:
    parse_location(value)
    return value


def _in_body(value: str) -> str:
    if parse_location(value).root != "$":
        message = f"{value!r} must start with $: it is about fields of JSON bodies"
        raise ValueError(message)
    return value


def _ignorable(value: str) -> str:
    if parse_location(value).root == "status":
        message = "the status is always compared; declare a difference under expect"
        raise ValueError(message)
    return value


def _comparable(value: str) -> str:
    if value.lower() == "set-cookie":
        message = "set-cookie is always compared, by the cookies' names"
        raise ValueError(message)
    return value.lower()


def _percent(value: Any) -> Any:
    """Read `5%` as 5."""
    value = _number(value)
    if isinstance(value, str) and value.strip().endswith("%"):
        return value.strip()[:-1]
    return value


#: Types of JSON values, as `expect` names them.
JsonType = Literal["string", "number", "boolean", "null", "object", "array"]
_JSON_TYPES = frozenset(get_args(JsonType))


def _side(value: Any) -> Any:
    """Hold a side of `expect` to its forms; a mapping is one of ours, never an exact value."""
    if not isinstance(value, dict):
        return value
    if set(value) == {"value"}:
        return value
    if set(value) == {"type"}:
        if value["type"] in _JSON_TYPES:
            return value
        message = f"{value['type']!r} is no type of JSON, use {', '.join(sorted(_JSON_TYPES))}"
        raise ValueError(message)
    message = "write missing, any, {type: string}, {value: ...} or the value itself"
    raise ValueError(message)


Methods = Annotated[tuple[str, ...], AfterValidator(_methods), Field(min_length=1)]
AbsolutePath = Annotated[str, AfterValidator(_absolute)]
IdentitySource = Annotated[str, AfterValidator(_identity)]
StateUrl = Annotated[str, AfterValidator(_state)]
HeaderName = Annotated[str, Field(pattern=f"^{_METHOD.pattern}$")]
HostPattern = Annotated[str, AfterValidator(_host)]
Count = Annotated[int, BeforeValidator(_number), Field(ge=0)]
#: Percent; accepts `5%` and `5`.
Percent = Annotated[
    float,
    BeforeValidator(_percent),
    Field(ge=0, le=100),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "number", "minimum": 0, "maximum": 100},
                {"type": "string", "pattern": r"^\d+(\.\d+)?\s*%$"},
            ]
        }
    ),
]
BodyLocation = Annotated[str, AfterValidator(_in_body)]
IgnoredLocation = Annotated[str, AfterValidator(_ignorable)]
AnyLocation = Annotated[str, AfterValidator(_location)]
ComparedHeader = Annotated[HeaderName, AfterValidator(_comparable)]
Tolerance = Annotated[float, BeforeValidator(_number), Field(ge=0, allow_inf_nan=False)]


class LegacyConfig(_Model):
    """The WSGI side and the bridge that serves it."""

    app: str | None = None
    """Import string of the WSGI app, `module:attr` or `module:factory()`."""
    threads: Annotated[Count, Field(ge=1, le=1000)] = 40
    """Worker threads of the bridge's own pool, per process."""
    queue: Count = 200
    """Requests that may wait for a thread; one more gets 503 with Retry-After."""
    queue_timeout: Duration = 5.0
    """How long a request may wait for a thread before it gets 503."""
    max_body: Size = Size(100_000_000)
    """Largest request body for legacy; above it the client gets 413."""
    body: BodyMode = "spool"
    """`spool` reads the whole body before a thread is taken; `stream` hands it through."""
    spool_memory: Size = Size(262_144)
    """Bytes of one spooled body kept in memory; the rest goes to a temporary file."""
    spool_limit: Size = Size(2_000_000_000)
    """Bytes of all spooled bodies on disk, per process; above it the client gets 503."""
    body_timeout: Duration = 30.0
    """Longest silence of a client while its body is read; then 408."""
    send_timeout: Duration = 60.0
    """Longest time a client may accept nothing of an answer; then the connection is closed."""
    shutdown_timeout: Duration = 30.0
    """How long requests in flight may go on after the server was told to stop."""
    async_views: Literal["own", "main"] = "own"
    """Event loop of asynchronous Flask views: `own`, a new one per call, or the server's `main`."""
    underscore_headers: bool = False
    """Accept `X_Token` beside `X-Token`. Both become HTTP_X_TOKEN, so this is spoofable."""


class NativeConfig(_Model):
    """The ASGI side."""

    app: str | None = None
    """Import string of the FastAPI (or any ASGI) app, `module:attr` or `module:factory()`."""


class FailoverConfig(_Model):
    """When legacy answers in native's place: on an exception or 5xx before the first byte."""

    enabled: bool = True
    """`failover: false` is short for `{enabled: false}`."""
    timeout: Duration | None = None
    """Longest wait for native's first byte, for GET and HEAD; then legacy answers."""
    unsafe: bool = False
    """True: other methods fail over, too. Only for handlers that have no effect before they fail:
    a POST that has committed and then fails would be carried out twice."""


class CircuitConfig(_Model):
    """When a route whose native handler keeps failing is left to legacy for a while."""

    enabled: bool = True
    """`circuit: false` is short for `{enabled: false}`."""
    ratio: Annotated[Percent, Field(gt=0)] = 50.0
    """Percent of native answers within `window` that fail (5xx, exception, timeout): it opens."""
    requests: Annotated[Count, Field(ge=1)] = 20
    """Not before so many were seen within `window`."""
    window: Duration = 10.0
    """How far back failures count."""
    open: Duration = 30.0
    """How long legacy serves before native is tried again."""
    probes: Annotated[Count, Field(ge=1)] = 3
    """How many requests try native then, and must succeed for the circuit to close."""


class GuardrailConfig(_Model):
    """When a canary gets more traffic by itself, and when it is rolled back by itself.

    `gateway.rollout` explains the tests; a figure that nothing measures is an error here.
    """

    min_requests: Annotated[Count, Field(ge=1)] = 200
    """Native requests (and legacy's, and comparisons) that a figure needs before it can pass."""
    success_rate: Percent | None = None
    """Percent of native requests that must succeed: no 5xx, exception or timeout, and not
    covered by failover. Absolute: legacy's own rate doesn't excuse native."""
    against_legacy: bool = True
    """Native may not fail more often than legacy does."""
    margin: Percent = 0.1
    """Percentage points that native may fail more often than legacy, for `against_legacy`; at 0 up
    to 1 of 40 healthy walks is rolled back by chance, at 0.1 about 1 of 400."""
    duration_ratio: Annotated[float, BeforeValidator(_number), Field(ge=1)] | None = None
    """Native's durations, from the median to p95, may be so many times legacy's."""
    consistency: Percent | None = None
    """Percent of compared answers that must agree; needs the comparison on."""
    steps: Annotated[tuple[Annotated[Percent, Field(gt=0)], ...], Field(min_length=1)] = (
        1,
        5,
        25,
        50,
        100,
    )
    """Weights that the canary walks up, in percent; after the last one comes `native`."""
    interval: Duration = 60.0
    """How long a step lasts at least, and how long `native` is watched at least."""
    confirm: bool = False
    """True: after the last step a person must confirm before the route becomes `native`."""

    @model_validator(mode="after")
    def _usable(self) -> GuardrailConfig:
        if any(after <= before for before, after in pairwise(self.steps)):
            message = f"steps must grow, found {', '.join(f'{step:g}' for step in self.steps)}"
            raise ValueError(message)
        watched = (self.success_rate, self.duration_ratio, self.consistency)
        if not self.against_legacy and all(each is None for each in watched):
            message = "nothing to watch: set success_rate, duration_ratio or consistency"
            raise ValueError(message)
        compares = self.against_legacy and self.success_rate is None
        if self.steps[0] == _ALL and (compares or self.duration_ratio is not None):
            message = (
                "at a first step of 100 legacy has no traffic to compare with: begin below it, or "
                "set a success_rate and no duration_ratio"
            )
            raise ValueError(message)
        return self


def _switch(value: Any) -> Any:
    """Read `true` and `false` as the whole with its defaults, on or off."""
    if isinstance(value, bool):
        return {"enabled": value}
    if value is not None and not isinstance(value, dict | BaseModel):
        message = f"{value!r} is neither true nor false nor keys below it"
        raise ValueError(message)
    return value


Failover = Annotated[FailoverConfig | None, BeforeValidator(_switch)]
Circuit = Annotated[CircuitConfig | None, BeforeValidator(_switch)]


class DefaultsConfig(_Model):
    """What a rule means where it says nothing, and what routes without a rule do."""

    cutover: Literal["legacy", "native"] = "legacy"
    """Who serves a route that both apps have and no rule names."""
    hooks: Hooks = "inherit"
    """Whether Flask's own hooks run around a moved route."""
    auth: DefaultAuth | None = None
    """Who guards a moved route whose rule doesn't say: `hooks` (Flask's own, inherited) or `shared`
    (`auth.dependency`). `native` and `none` are for rules only."""
    failover: Failover = None
    """`true`, or when legacy answers in the place of a native handler that fails."""
    circuit: Circuit = None
    """`true`, or when a failing route is left to legacy for a while; comes with failover."""
    guardrail: GuardrailConfig | None = None
    """When the canaries of rules that say nothing else move by themselves; default: never."""
    sticky: tuple[IdentitySource, ...] = ("cookie:gw_id",)
    """Where a canary finds the caller's identity; the first source present counts."""
    salt: str = "gateway"
    """Mixed into the canary's hash; another salt deals all identities anew."""
    kill_switch: bool = False
    """True: legacy serves everything that legacy can serve."""


class AuthConfig(_Model):
    """The dependency that guards every route with `auth: shared`, and how a refusal looks."""

    dependency: str | None = None
    """Import string of an ordinary FastAPI dependency; what it returns is the caller's value."""
    id: str | None = None
    """Path to the caller's id in that value: `sub`, `user.id`; default: the value is the id. Where
    it finds none the caller gets 500, and the log says what was read."""
    scopes: str | None = None
    """Path to the caller's scopes: a string split at blanks, or a list. Where it finds nothing the
    caller has none: 403 on routes with `requires`; the log says so once."""
    login: tuple[AbsolutePath, ...] | None = None
    """Paths of login pages: a redirect to one of them is a refusal. Default: Flask-Login's
    `login_view`."""


class TesterConfig(_Model):
    """Lets chosen callers pick the side of one request by a header; off unless configured."""

    header: HeaderName = "X-Cutover"
    """Request header whose value, `native` or `legacy`, picks the side."""
    secret_env: str | None = None
    """Environment variable that holds the secret."""
    role: str | None = None
    """Scope of a Principal who needs no secret, on routes with `auth: shared`."""
    secret_header: HeaderName = "X-Cutover-Secret"  # noqa: S105 - a header's name
    """Request header that must carry the secret; removed before either app sees it."""

    @model_validator(mode="after")
    def _someone(self) -> TesterConfig:
        if self.secret_env is None and self.role is None:
            message = "a tester needs a secret_env or a role"
            raise ValueError(message)
        return self


class AdminConfig(_Model):
    """The gateway's own pages."""

    prefix: AbsolutePath = "/-"
    """Path prefix of the gateway's own pages; neither app may have routes below it."""
    token_env: str | None = None
    """Environment variable that holds the token of the admin pages; without a token they are
    off, `/-/healthy` and `/-/ready` aside."""
    token_file: str | None = None
    """File that holds the token, relative to this file; read again when it changes."""

    @model_validator(mode="after")
    def _one_source(self) -> AdminConfig:
        if self.token_env is not None and self.token_file is not None:
            message = "the token comes from token_env or from token_file, not from both"
            raise ValueError(message)
        return self


class ObserveConfig(_Model):
    """What is told of requests beyond metrics."""

    access_log: Literal["none", "console", "json"] = "none"
    """One line per request on stdout: for people, or as JSON; never with a query or a secret."""
    tracing: bool = False
    """True: OpenTelemetry spans for decisions and legacy requests (extra `otel`)."""
    loop_lag: Duration = 0.25
    """Whatever blocks the event loop for longer is named in the log and in metrics."""


class CompareConfig(_Model):
    """How two answers to one request are compared. Locations are JSONPath: `$.items[*].price`."""

    ignore: tuple[IgnoredLocation, ...] = ()
    """Locations that don't count, with all below them: `$..generated_at`, `headers.location`."""
    unordered: tuple[BodyLocation, ...] = ()
    """Lists whose order has no meaning."""
    tolerance: dict[BodyLocation, Tolerance] = {}
    """How far two numbers may lie apart, by location: `{"$.price": 0.01}`."""
    headers: tuple[ComparedHeader, ...] = ("content-type", "location")
    """Headers that count; the names of cookies set or deleted always do, their values never."""
    max_body: Size = Size(1_000_000)
    """Bytes; a larger answer isn't compared, and counted as skipped."""


class ExpectConfig(_Model):
    """One intended difference. Where it applies, it must be exactly as declared.

    It applies where legacy's value is as `legacy` says; then native's must be as `native` says. A
    side is `missing`, `any` (whatever it is, or nothing), `{type: string}` (number, boolean, null,
    object, array) or an exact value, which `{value: any}` writes where it would be read as a word.
    A cookie's value is `set` or `deleted`.
    """

    path: AnyLocation
    """Where: `$..password`, `status`, `headers.location`, `cookies.session`."""
    legacy: Annotated[Any, BeforeValidator(_side)] = "any"
    """Legacy's side. `missing` with a fixed `native`: native must add it, in answers with 2xx."""
    native: Annotated[Any, BeforeValidator(_side)] = "any"
    """Native's side."""

    @model_validator(mode="after")
    def _says_something(self) -> ExpectConfig:
        if self.legacy == self.native == "any":
            message = "say what legacy or native has there; to leave it out use compare.ignore"
            raise ValueError(message)
        if self.legacy == self.native:
            message = f"legacy and native are both {self.legacy!r}: that is no difference"
            raise ValueError(message)
        if self.path == "status" and "missing" in (self.legacy, self.native):
            message = "an answer always has a status"
            raise ValueError(message)
        return self


class WritesConfig(_Model):
    """How requests that write may be mirrored: inside something that undoes what they did."""

    rollback: str
    """Import string of a callable that returns a context manager (`with` or `async with`): the
    mirrored side runs within it, and at its end nothing has happened."""
    probe: str
    """Import string of a generator function that proves it at every start: it writes, yields, and
    then yields whether a second connection still finds what was written."""


class SideEffectsConfig(_Model):
    """Whether what both sides do besides answering is compared, too."""

    enabled: bool = True
    """`side_effects: true` is short for `{enabled: true}`."""
    ignore: tuple[str, ...] = ()
    """Shell patterns of effects that don't count: `POST https://metrics.example/*`."""


class MirrorConfig(_Model):
    """How much mirroring a worker bears; what is beyond is skipped and counted."""

    in_flight: Annotated[Count, Field(ge=1, le=1000)] = 8
    """Mirrored requests at a time, each with one thread of the mirror's own pool."""
    timeout: Duration = 10.0
    """How long the mirrored side may take."""


SideEffects = Annotated[SideEffectsConfig | None, BeforeValidator(_switch)]
SELECTORS = ("path", "prefix", "blueprint", "endpoint", "tag")


class RuleConfig(_Model):
    """One entry of `routes`: which routes (one selector), and who serves them."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")] | None = None
    """How the command line and metrics call this rule; else derived from its selector."""
    path: AbsolutePath | None = None
    """A template in Flask's or FastAPI's syntax: `/users/<int:id>` or `/users/{id}`."""
    prefix: AbsolutePath | None = None
    """All routes below a path, by whole segments: `/api` owns `/api/x`, never `/apix`."""
    blueprint: str | None = None
    """All routes of a Flask blueprint, nested ones included."""
    endpoint: str | None = None
    """All routes of a Flask endpoint, for instance `users.show`."""
    tag: str | None = None
    """All routes with a FastAPI tag."""
    methods: Methods | None = None
    """Only these methods; GET includes HEAD. Default: all."""
    host: HostPattern | None = None
    """Only requests to this host: `shop.example.com` or `*.example.com`."""
    priority: Annotated[int, BeforeValidator(_number)] = 0
    """Beats specificity where two rules claim the same route."""
    cutover: Cutover
    """Who answers: `legacy`; `shadow` (legacy, and native is compared with it); `canary` (native
    for `weight` percent of identities); `live` (native, and legacy is compared); `native`."""
    weight: Percent | None = None
    """Percent of identities that native serves; only with `canary`."""
    sticky: Annotated[tuple[IdentitySource, ...], Field(min_length=1)] | None = None
    """Identity sources for this rule; default `defaults.sticky`."""
    salt: str | None = None
    """Salt for this rule; default `defaults.salt`."""
    hooks: Hooks | None = None
    """Whether Flask's hooks run around the moved route; default `defaults.hooks`."""
    auth: Auth | None = None
    """Who guards the route where native answers it: `hooks` (Flask's, inherited), `shared`
    (`auth.dependency`), `native` (the handler itself) or `none` (nobody). Default:
    `defaults.auth`."""
    accept: dict[AcceptedCode, Annotated[str, Field(min_length=1)]] = {}
    """Findings of `gateway check` that are known and fine, by code, each with the reason:
    `{may-guard-itself: "reads the cart only"}`."""
    requires: tuple[str, ...] = ()
    """Scopes that the Principal must have; only with `auth: shared`."""
    failover: Failover = None
    """`true`, `false`, or when legacy answers in native's place; default `defaults.failover`."""
    circuit: Circuit = None
    """`true`, `false`, or when a failing route is left to legacy; default `defaults.circuit`."""
    on_mismatch: Literal["legacy", "native"] | None = None
    """Who answers a path that Flask's converter refuses and FastAPI's accepts; default legacy."""
    sample: Percent | None = None
    """Percent of requests that are mirrored; default 100 with `shadow` and `live`, 1 with
    `canary`."""
    compare: CompareConfig = CompareConfig()
    """What counts where two answers are compared."""
    expect: tuple[ExpectConfig, ...] = ()
    """Differences that are meant, and must be there."""
    noise: Percent = 0.0
    """Percent of mirrored requests that legacy answers once more, to learn which fields differ by
    themselves."""
    guardrail: GuardrailConfig | None = None
    """When this rule's canary moves by itself; default `defaults.guardrail`."""
    side_effects: SideEffects = None
    """`true`: rows written (SQLAlchemy), calls made (http.client, httpx) and signals sent (blinker)
    are recorded on both sides and compared, by what they are and without their values."""
    writes: WritesConfig | None = None
    """How methods other than GET and HEAD are mirrored; default: not at all."""
    body: BodyMode | None = None
    """How legacy reads this route's bodies; default `legacy.body`."""
    owner: str | None = None
    """The team to ask about this rule; for people only."""
    expires: date | None = None
    """After this day `gateway check` reports the rule as stale."""

    @model_validator(mode="after")
    def _one_selector(self) -> RuleConfig:
        given = [name for name in SELECTORS if getattr(self, name) is not None]
        if len(given) != 1:
            found = " and ".join(given) if given else "none"
            message = f"a rule needs exactly one of {', '.join(SELECTORS)}; found {found}"
            raise ValueError(message)
        if self.cutover == "canary" and self.weight is None:
            message = "cutover: canary needs a weight (percent of identities, 0 to 100)"
            raise ValueError(message)
        if self.cutover != "canary" and self.weight is not None:
            message = f"weight has no meaning with cutover: {self.cutover} (only with canary)"
            raise ValueError(message)
        return self


class Config(_Model):
    """The whole of `config/gateway.yaml`."""

    version: Literal[1]
    """Version of this format."""
    legacy: LegacyConfig = LegacyConfig()
    """The WSGI side and its bridge."""
    native: NativeConfig = NativeConfig()
    """The ASGI side."""
    defaults: DefaultsConfig = DefaultsConfig()
    """What a rule means where it says nothing."""
    auth: AuthConfig | None = None
    """The shared guard; needed where a route says `auth: shared`."""
    tester: TesterConfig | None = None
    """Callers that may pick the side; default nobody. Native is never picked for a view that may
    guard itself, until its rule says `auth:`."""
    admin: AdminConfig = AdminConfig()
    """The gateway's own pages."""
    state: StateUrl | None = None
    """Where overrides and their audit trail are kept: `sqlite:///path` (relative to this file) for
    the workers of one host, `redis://host/0?prefix=shop` for replicas. Default:
    `sqlite:///.gateway/state.db`, made by the first command that overrides something. A Redis
    URL's query can hold `prefix`, `db`, `username`, `password`; with `rediss://` also
    `ssl_ca_certs`, `ssl_ca_path`, `ssl_certfile`, `ssl_keyfile`, `ssl_cert_reqs` (`required`,
    `optional`, `none`) and `ssl_check_hostname` (`true`, `false`)."""
    mirror: MirrorConfig = MirrorConfig()
    """How much mirroring a worker bears."""
    observe: ObserveConfig = ObserveConfig()
    """What is told of requests beyond metrics."""
    served_by: bool = False
    """True: answers carry `X-Served-By: legacy|native`; `guard` where the shared guard refused."""
    lock: str = "routes.lock"
    """The committed list of both apps' routes, relative to this file (`gateway lock`)."""
    routes: tuple[RuleConfig, ...] = ()
    """The rules. Order has no meaning; the most specific one counts."""
