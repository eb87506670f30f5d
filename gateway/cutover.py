"""Who serves this request? A pure decision over a match, the request's identity and a policy."""

from __future__ import annotations

import hmac
import secrets
from dataclasses import dataclass, field
from hashlib import blake2b
from http.cookies import CookieError, SimpleCookie
from typing import TYPE_CHECKING, Any

from gateway.routing import LEADS, Backend, Coverage, Match, Reason, Route, header

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gateway.inventory import Scope

BUCKETS = 10_000
#: Cookies with this prefix are ours: only they are ever set by us.
OWN_COOKIE = "gw_"
#: How long a minted identity lives, in seconds (one year).
COOKIE_AGE = 31_536_000


@dataclass(frozen=True, slots=True)
class Tester:
    """Callers who prove the secret, or have the role, may pick the side.

    Header names in lower case; `secret` and `role` are None where they open nothing.
    """

    header: bytes
    secret_header: bytes
    secret: bytes | None
    role: str | None = None


@dataclass(frozen=True, slots=True)
class Caller:
    """What is known of the caller beyond the request's head: its id and scopes, its session."""

    id: str | None = None
    scopes: frozenset[str] = frozenset()
    session: Mapping[str, Any] = field(default_factory=dict)


NOBODY = Caller()


@dataclass(frozen=True, slots=True)
class Policy:
    """What holds for all routes: the kill switch, who may test, and the ids of blocked routes."""

    kill_switch: bool = False
    tester: Tester | None = None
    blocked: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Decision:
    """Who serves one request, and why.

    `bucket` (0 to 9,999) and `identity` (the source, never its value) are set for a canary;
    `mint` is the cookie to set, as (name, value), for a client that had no identity.
    """

    backend: Backend
    reason: Reason
    bucket: int | None = None
    identity: str | None = None
    mint: tuple[str, str] | None = None

    @property
    def side(self) -> str:
        """Who answered, as `X-Served-By` and the metrics call it: legacy, native or guard."""
        return "guard" if self.reason is Reason.GUARD else self.backend.value


_PLAIN = {(backend, reason): Decision(backend, reason) for backend in Backend for reason in Reason}
_BY_COVERAGE = {
    Coverage.BOTH: Reason.BOTH,
    Coverage.ONLY_LEGACY: Reason.ONLY_LEGACY,
    Coverage.ONLY_NATIVE: Reason.ONLY_NATIVE,
}


def decide(match: Match, scope: Scope, policy: Policy, caller: Caller = NOBODY) -> Decision:
    """Choose the backend of one request; the first rule of the order in the design that applies.

    Order: kill switch, tester, (forced by the match), rule, derived. Whatever they say, native
    never answers a route that has findings, or is blocked.
    """
    decision = _chosen(match, scope, policy, caller)
    route = match.route
    if decision.backend is Backend.NATIVE and route is not None:
        if route.findings:
            return _PLAIN[Backend.LEGACY, Reason.REFUSED]
        if policy.blocked and _is_blocked(route, policy):
            return _PLAIN[Backend.LEGACY, Reason.BLOCKED]
    return decision


def _is_blocked(route: Route, policy: Policy) -> bool:
    return route.coverage is Coverage.BOTH and route.id in policy.blocked


def _chosen(match: Match, scope: Scope, policy: Policy, caller: Caller) -> Decision:
    route = match.route
    if route is not None and route.coverage is Coverage.BOTH:
        if policy.kill_switch:
            return _PLAIN[Backend.LEGACY, Reason.KILL_SWITCH]
        if policy.tester is not None and match.forced is None:
            picked = _tester(scope, policy.tester, caller)
            # Where no rule may move a route, a tester's header is ignored.
            if picked is not None and not (picked is Backend.NATIVE and route.findings):
                return _PLAIN[picked, Reason.TESTER]
    if match.forced is not None:
        return _PLAIN[match.forced]
    if route is None:
        return _PLAIN[Backend.LEGACY, Reason.NEITHER]
    if route.cutover == "canary":
        return _canary(route, scope, caller)
    backend = LEADS[route.cutover]
    if route.coverage is Coverage.ONLY_LEGACY:
        return _PLAIN[backend, Reason.ONLY_LEGACY]
    if route.overridden:
        return _PLAIN[backend, Reason.OVERRIDE]
    reason = Reason.RULE if route.rule is not None else _BY_COVERAGE[route.coverage]
    return _PLAIN[backend, reason]


def bucket_of(salt: str, identity: str) -> int:
    """Return the stable bucket (0 to 9,999) of an identity: the same on every worker, for ever."""
    # The salt's length goes in first, so that no (salt, identity) pair can spell another one.
    text = f"{len(salt)}:{salt}:{identity}".encode("utf-8", "surrogateescape")
    return int.from_bytes(blake2b(text, digest_size=8).digest(), "big") % BUCKETS


def _canary(route: Route, scope: Scope, caller: Caller) -> Decision:
    source, identity = find_identity(route.sticky, scope, caller)
    mint = None
    if identity is None:
        name = next((s.partition(":")[2] for s in route.sticky if _is_own_cookie(s)), None)
        if name is None:
            return _PLAIN[Backend.LEGACY, Reason.NO_IDENTITY]
        identity = secrets.token_urlsafe(16)
        source, mint = f"cookie:{name}", (name, identity)
    bucket = bucket_of(route.salt, identity)
    # Half-open: weight 0 takes nobody, weight 100 everybody, and raising it only adds buckets.
    backend = Backend.NATIVE if bucket < route.threshold else Backend.LEGACY
    return Decision(backend, Reason.CANARY, bucket, source, mint)


def find_identity(
    sources: tuple[str, ...], scope: Scope, caller: Caller = NOBODY
) -> tuple[str | None, str | None]:
    """Return the first source that is present and its value; (None, None) where there's none."""
    for source in sources:
        kind, _, name = source.partition(":")
        value: str | None
        if kind == "principal":
            value = caller.id
        elif kind == "session":
            held = caller.session.get(name)
            value = None if held is None else str(held)
        elif kind == "ip":
            client = scope.get("client")
            value = client[0] if client else None
        elif kind == "header":
            raw = header(scope, name.lower().encode())
            value = raw.decode("latin-1").strip() if raw is not None else None
        else:
            value = cookie(scope, name)
        if value:
            return source, value
    return None, None


def cookie(scope: Scope, name: str) -> str | None:
    """Return a cookie's value, or None; all Cookie lines count (RFC 9113, section 8.2.3)."""
    for key, value in scope["headers"]:
        if key == b"cookie":
            for part in value.decode("latin-1").split(";"):
                found, _, text = part.strip().partition("=")
                if found == name:
                    return _unquote(text.strip())
    return None


def _unquote(text: str) -> str:
    if not text.startswith('"'):
        return text
    try:
        parsed = SimpleCookie(f"v={text}")
    except CookieError:
        return text
    return parsed["v"].value if "v" in parsed else text


def _is_own_cookie(source: str) -> bool:
    return source.startswith(f"cookie:{OWN_COOKIE}")


def _tester(scope: Scope, tester: Tester, caller: Caller) -> Backend | None:
    wanted = header(scope, tester.header)
    if wanted is None:
        return None
    if tester.role is None or tester.role not in caller.scopes:
        shown = header(scope, tester.secret_header)
        if shown is None or tester.secret is None:
            return None
        if not hmac.compare_digest(shown, tester.secret):
            return None
    try:
        return Backend(wanted.decode("latin-1").strip().lower())
    except ValueError:
        return None


def set_cookie(name: str, value: str, *, secure: bool) -> bytes:
    """Write the Set-Cookie line of a minted identity (RFC 6265, section 4.1.1)."""
    text = f"{name}={value}; Path=/; Max-Age={COOKIE_AGE}; HttpOnly; SameSite=Lax"
    return (text + ("; Secure" if secure else "")).encode("latin-1")
