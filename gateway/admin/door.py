"""The door of the admin pages: who may come in, how much they may bring, what answers carry.

A token in `Authorization: Bearer`, compared in constant time; nothing else lets in: no cookie, no
query, so that no other site can make a browser do it. It stands before everything that reads a
body.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import time
from collections import OrderedDict
from typing import TYPE_CHECKING

from starlette.exceptions import HTTPException

from gateway.admin.rendering import Json
from gateway.exceptions import GatewayError
from gateway.logs import logger_for

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from gateway.config import AdminConfig

logger = logger_for("gateway.admin")

#: Largest body that an admin page reads, in bytes.
MAX_BODY = 65_536
#: Most digits of a length that are read: Python refuses 4,300 of them.
_DIGITS = 20
#: So many wrong tokens within a minute, from one address and from all, are told apart from luck.
FAILURES_PER_ADDRESS, FAILURES = 10, 100
WINDOW_SECONDS = 60.0
#: A token that is shorter could be guessed.
SHORTEST_TOKEN = 16
#: Addresses that are remembered at most.
_MOST_ADDRESSES = 10_000

HEADERS = {
    "cache-control": "no-store",
    "content-security-policy": "default-src 'none'; frame-ancestors 'none'",
    "cross-origin-resource-policy": "same-origin",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
}


class WeakToken(GatewayError):
    """The admin token is too short to keep anybody out, or can't be read."""


class Token:
    """The admin token: from an environment variable, or from a file that may be replaced.

    Only its digest is kept, so that neither a dump nor a log can show it. White space around it
    doesn't count. Raises WeakToken where it can't keep anybody out, or can't be read; but only at
    the start: a file that is wrong later leaves the last token, and an empty one lets nobody in.
    """

    def __init__(self, config: AdminConfig, folder: Path) -> None:
        self._file = folder / config.token_file if config.token_file is not None else None
        self._stamp: tuple[int, int, int] | None = None
        self._digest: bytes | None = None
        if config.token_env is not None:
            self._take(os.environ.get(config.token_env, ""), f"${config.token_env}")
        elif self._file is not None:
            try:
                self._read(self._file)
            except (OSError, UnicodeDecodeError) as error:
                raise WeakToken(f"{self._file}: the token can't be read ({error})") from None

    @property
    def expected(self) -> bool:
        """Whether there may ever be one: a file that is empty now may be filled later."""
        return self._file is not None or self._digest is not None

    @property
    def known(self) -> bool:
        """Whether there is a token at all; without one every page but the probes is off."""
        if self._file is not None:
            try:
                self._read(self._file)
            except (OSError, UnicodeDecodeError, WeakToken) as error:
                logger.error("the admin token can't be read, the last one stays: %s", error)
        return self._digest is not None

    def matches(self, given: bytes) -> bool:
        """Compare in constant time."""
        known = self.known
        return hmac.compare_digest(hashlib.sha256(given).digest(), self._digest or b"") and known

    def _read(self, file: Path) -> None:
        found = file.stat()
        stamp = (found.st_mtime_ns, found.st_ino, found.st_size)
        if stamp != self._stamp:
            # Whatever comes of it: the same content is looked at, and complained of, once.
            self._stamp = stamp
            self._take(file.read_text(encoding="utf-8"), str(file))

    def _take(self, text: str, source: str) -> None:
        token = text.strip().encode("utf-8", "surrogateescape")
        if token and len(token) < SHORTEST_TOKEN:
            raise WeakToken(f"{source} is shorter than {SHORTEST_TOKEN} characters")
        self._digest = hashlib.sha256(token).digest() if token else None


class Failures:
    """Counts wrong tokens by address, within a window that moves with the clock."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._began = clock()
        self._all = 0
        self._by_address: OrderedDict[str, int] = OrderedDict()

    def count(self, address: str) -> int:
        """Count one more; return how many seconds to wait, 0 while there are few."""
        now = self._clock()
        if now - self._began >= WINDOW_SECONDS:
            self._began, self._all = now, 0
            self._by_address.clear()
        self._all += 1
        mine = self._by_address[address] = self._by_address.pop(address, 0) + 1
        if len(self._by_address) > _MOST_ADDRESSES:
            self._by_address.popitem(last=False)
        if mine <= FAILURES_PER_ADDRESS and self._all <= FAILURES:
            return 0
        return max(1, round(WINDOW_SECONDS - (now - self._began)))


class Door:
    """Lets requests with the token through to `app`, and puts HEADERS on every answer.

    A right token is always let in, also after many wrong ones from the same address: behind an
    ingress everybody has the same, and whoever guesses must not keep the kill switch from its
    owner. Guessing a token of 16 characters takes longer than anybody has; the limit keeps it
    from costing anything.
    """

    def __init__(self, app: ASGIApp, token: Token) -> None:
        self._app, self._token = app, token
        self._failures = Failures()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one HTTP request."""
        headed = _with_headers(send)
        given = _bearer(scope)
        if given is None or not self._token.matches(given):
            await self._refuse(scope, receive, headed, given)
            return
        length = _header(scope, b"content-length") or b"0"
        if not length.isdigit() or len(length) > _DIGITS or int(length) > MAX_BODY:
            await _answer(413, "the body is too long")(scope, receive, headed)
            return
        await self._app(scope, _Bounded(receive), headed)

    async def _refuse(
        self, scope: Scope, receive: Receive, send: Send, given: bytes | None
    ) -> None:
        client = scope.get("client")
        address = client[0] if client else ""
        wait = self._failures.count(address) if given is not None else 0
        if wait:
            answer = _answer(429, "too many wrong tokens", {"retry-after": str(wait)})
        else:
            challenge = {"www-authenticate": 'Bearer realm="gateway"'}
            answer = _answer(401, "the admin token is needed", challenge)
            if given is not None:
                logger.warning("a wrong admin token from %s", address or "nowhere")
        await answer(scope, receive, send)


class _Bounded:
    """A `receive` that gives no more than MAX_BODY bytes."""

    def __init__(self, receive: Receive) -> None:
        self._receive = receive
        self._size = 0

    async def __call__(self) -> Message:
        message = await self._receive()
        self._size += len(message.get("body", b""))
        if self._size > MAX_BODY:
            raise HTTPException(413, "the body is too long")
        return message


def _answer(status: int, detail: str, headers: dict[str, str] | None = None) -> Json:
    return Json({"detail": detail}, status, headers=headers)


def _with_headers(send: Send) -> Send:
    async def headed(message: Message) -> None:
        if message["type"] == "http.response.start":
            own = [(name.encode(), value.encode()) for name, value in HEADERS.items()]
            message = {**message, "headers": [*message.get("headers", ()), *own]}
        await send(message)

    return headed


def _header(scope: Scope, name: bytes) -> bytes | None:
    found = [value for key, value in scope["headers"] if key == name]
    # Two of them could be read differently by two readers.
    return found[0] if len(found) == 1 else None


def _bearer(scope: Scope) -> bytes | None:
    kind, _, token = (_header(scope, b"authorization") or b"").partition(b" ")
    return token.strip() if kind.lower() == b"bearer" and token.strip() else None
