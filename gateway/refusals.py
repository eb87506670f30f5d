"""Who is turned away? One pure question about an answer, the same for both sides.

`gateway prove` asks it in the test environment, the verdicts `opened` and `closed` on live traffic.
"""

from __future__ import annotations

import re
from enum import StrEnum
from typing import TYPE_CHECKING
from urllib.parse import unquote, urljoin, urlsplit

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

_LIMITED = frozenset({429, 503})
_REFUSED = frozenset({401, 403, 407})
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_BAD_REQUEST = 400
_NOT_FOUND = 404
#: How much of a body is searched for what CSRF's refusals say, in bytes.
_SEARCHED = 4_096
#: As Flask-WTF, fastapi-csrf-protect and starlette-csrf say it. A form that is shown once more,
#: with its hidden field for the token, says nothing of the kind.
_CSRF = re.compile(
    rb"csrf[^<>]{0,60}(?:missing|expired|invalid|incorrect|required|match|fail)"
    rb"|(?:missing|expired|invalid|incorrect)[^<>]{0,60}csrf"
    rb"|referrer (?:header is missing|does not match the host)",
    re.IGNORECASE,
)


class Refusal(StrEnum):
    """What an answer means for the one who asked."""

    LET_IN = "let_in"
    """The view, or the native handler, did what was asked: 2xx."""
    REFUSED = "refused"
    """The caller was turned away."""
    LIMITED = "limited"
    """Too many requests, or not now (429, 503): that says nothing of who may come."""
    ABSENT = "absent"
    """There is no such thing (404); some apps say so to a caller whom they turn away."""
    OTHER = "other"
    """Anything else: a redirect to a page, a validation error, a failure."""


def refused(
    status: int,
    headers: Iterable[tuple[bytes, bytes]],
    *,
    login: Collection[str] = (),
    by_hook: bool = False,
    body: bytes = b"",
    path: str = "/",
) -> Refusal:
    """Tell whether an answer turns its caller away.

    It does where a hook or middleware answered and the view never ran (`by_hook`), with 401, 403
    and 407, with a 400 whose `body` says that a CSRF token is missing or wrong, and with a redirect
    to one of the `login` paths. A relative Location counts from `path`, the path of the request.
    `headers` are ASGI's.
    """
    if status in _LIMITED:
        return Refusal.LIMITED
    if by_hook or status in _REFUSED:
        return Refusal.REFUSED
    if 200 <= status < 300:  # noqa: PLR2004 - RFC 9110, section 15.3
        return Refusal.LET_IN
    if status == _NOT_FOUND:
        return Refusal.ABSENT
    if status == _BAD_REQUEST and speaks_of_csrf(body):
        return Refusal.REFUSED
    if status in _REDIRECTS and _leads_to(headers, login, path):
        return Refusal.REFUSED
    return Refusal.OTHER


def speaks_of_csrf(body: bytes) -> bool:
    """Tell whether an answer's body says that a CSRF token is missing or wrong."""
    return _CSRF.search(body[:_SEARCHED]) is not None


def _leads_to(headers: Iterable[tuple[bytes, bytes]], login: Collection[str], path: str) -> bool:
    pages = {_plain(page) for page in login}
    location = next((value for name, value in headers if name.lower() == b"location"), None)
    if location is None or not pages:
        return False
    try:
        target = urlsplit(urljoin(path, location.decode("latin-1")))
    except ValueError:  # no port, or no IPv6 address
        return False
    return _plain(unquote(target.path)) in pages


def _plain(path: str) -> str:
    """Return a path without the slash at its end, which differs between the two frameworks."""
    return path.rstrip("/") or "/"
