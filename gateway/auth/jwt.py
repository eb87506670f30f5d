"""A ready-made dependency: a JWT in the Authorization header (RFC 6750, RFC 7519), by PyJWT."""

# No postponed annotations: FastAPI before 0.116 can't resolve them on an instance's __call__.

import asyncio
import threading
import time
from collections.abc import Sequence
from typing import Any

import jwt
from fastapi import HTTPException, Request
from jwt import PyJWKClient, PyJWKClientError

from gateway.exceptions import GatewayError

#: Seconds between two fetches of the key set for unknown keys: nobody can make us hammer it.
REFETCH_SECONDS = 10.0


class BearerJwt:
    """Lets in whoever shows a valid token; returns its claims.

        check = BearerJwt(jwks_url="https://login.example.com/jwks.json",
                          algorithms=["RS256"], audience="shop", issuer="https://login.example.com")

    `auth.id: sub` and `auth.scopes: scope` fit its claims. Either a `key` or a `jwks_url` is
    given; keys rotate: an unknown `kid` has the set fetched again, at most every
    `REFETCH_SECONDS`, and the last good keys outlive an outage of its host. A token must expire;
    `leeway` (seconds) forgives clocks.

    Raises GatewayError for a configuration that can't be safe; HTTPException 401 (RFC 6750,
    section 3) for a missing, repeated, malformed, expired or wrongly signed token.
    """

    def __init__(
        self,
        *,
        algorithms: Sequence[str],
        key: str | bytes | None = None,
        jwks_url: str | None = None,
        audience: str | None = None,
        issuer: str | None = None,
        leeway: float = 0,
    ) -> None:
        if (key is None) == (jwks_url is None):
            message = "BearerJwt needs exactly one of key and jwks_url"
            raise GatewayError(message)
        symmetric = {name.upper().startswith("HS") for name in algorithms}
        if not algorithms or len(symmetric) > 1 or "none" in [a.lower() for a in algorithms]:
            # With both kinds a public key could be used as the secret (RFC 8725, section 2.1).
            message = "algorithms must be named, of one kind (HS… or not), and never `none`"
            raise GatewayError(message)
        if jwks_url is not None and True in symmetric:
            message = "a published key set can't hold a secret: HS… algorithms need a key"
            raise GatewayError(message)
        self._key = key
        self._keys = _KeySet(jwks_url) if jwks_url is not None else None
        self._settings: dict[str, Any] = {
            "algorithms": list(algorithms),
            "audience": audience,
            "issuer": issuer,
            "leeway": leeway,
            "options": {"require": ["exp"], "verify_aud": audience is not None},
        }

    async def __call__(self, request: Request) -> dict[str, Any]:
        """Check the token; return its claims."""
        shown = request.headers.getlist("authorization")
        if not shown:
            raise _unauthorized("")
        scheme, _, token = shown[0].partition(" ")
        if len(shown) > 1 or scheme.lower() != "bearer":
            raise _unauthorized('error="invalid_request"')
        try:
            key = await self._key_for(token.strip())
            claims: dict[str, Any] = jwt.decode(token.strip(), key, **self._settings)
        except (jwt.PyJWTError, PyJWKClientError, ValueError):
            raise _unauthorized('error="invalid_token"') from None
        return claims

    async def _key_for(self, token: str) -> Any:
        if self._keys is None:
            return self._key
        kid = jwt.get_unverified_header(token).get("kid")
        found = self._keys.known(kid)
        if found is None:
            found = await asyncio.to_thread(self._keys.fetch, kid)
        if found is None:
            message = "no such key"
            raise PyJWKClientError(message)
        return found


class _KeySet:
    """A published key set, fetched off the event loop and kept."""

    def __init__(self, url: str) -> None:
        self._client = PyJWKClient(url, cache_jwk_set=False, timeout=5)
        self._keys: dict[str | None, Any] = {}
        self._fetched = -REFETCH_SECONDS
        self._lock = threading.Lock()

    def known(self, kid: str | None) -> Any | None:
        """Return a key that is here already; without a `kid`, the only one."""
        if kid is None and len(self._keys) == 1:
            return next(iter(self._keys.values()))
        return self._keys.get(kid)

    def fetch(self, kid: str | None) -> Any | None:
        """Fetch the set, unless that was just done; keep the last good keys where it fails."""
        with self._lock:
            found = self.known(kid)
            if found is not None or time.monotonic() - self._fetched < REFETCH_SECONDS:
                return found
            self._fetched = time.monotonic()
            try:
                keys = self._client.get_signing_keys()
            except PyJWKClientError:
                return None
            self._keys = {each.key_id: each.key for each in keys}
            return self.known(kid)


def _unauthorized(detail: str) -> HTTPException:
    challenge = f"Bearer {detail}".strip()
    return HTTPException(401, "Unauthorized", {"WWW-Authenticate": challenge})
