"""What a request does besides answering: rows written, calls made, signals sent.

Two handlers may give the same answer and leave different things behind. Where a rule asks for it,
both sides' effects are recorded by a context variable, which handlers, hooks and their threads
inherit, and compared as sets.

| kind | seen through | written as |
|---|---|---|
| `sql` | SQLAlchemy's `before_cursor_execute` of every engine | `INSERT orders (id, total)` |
| `http` | `http.client` (urllib, requests) and httpx's transports | `POST https://pay.example/v1` |
| `signals` | blinker (Flask's signals and the team's own) | `order-paid` |

Values are never recorded: neither parameters, nor queries, nor bodies. What only reads is no
effect. Listening begins when the first such request comes, and costs next to nothing where nobody
records.
"""

from __future__ import annotations

import re
import sys
from contextvars import ContextVar
from fnmatch import fnmatchcase
from http.client import HTTPConnection, HTTPSConnection
from typing import TYPE_CHECKING, Any

from gateway.secrecy import path_without_secrets
from gateway.shadow.compare import Difference

if TYPE_CHECKING:
    from collections.abc import Iterable

#: How many effects of one request are told apart.
MOST = 200
#: Requests that only ask (RFC 9110, section 9.2.1).
_ASKING = frozenset({"GET", "HEAD", "OPTIONS", "TRACE"})
#: Flask's own signals: they are sent for each request, on the way that it takes.
_FLASKS = frozenset(
    {
        "appcontext-popped",
        "appcontext-pushed",
        "appcontext-tearing-down",
        "before-render-template",
        "got-request-exception",
        "message-flashed",
        "request-finished",
        "request-started",
        "request-tearing-down",
        "template-rendered",
    }
)
_NAME = r'(?:[\w$."`\[\]]+)'
_INSERT = re.compile(
    rf"\s*(?:INSERT|REPLACE)\b.*?\bINTO\s+({_NAME})\s*(?:\(([^)]*)\))?", re.IGNORECASE | re.DOTALL
)
_UPDATE = re.compile(rf"\s*UPDATE\s+(?:ONLY\s+)?({_NAME})\s+SET\s+(.*)", re.IGNORECASE | re.DOTALL)
_DELETE = re.compile(rf"\s*DELETE\s+FROM\s+({_NAME})", re.IGNORECASE)
_QUOTED = re.compile(r"'(?:[^']|'')*'")
_COLUMN = re.compile(rf"(?:^|,)\s*({_NAME})\s*=")
_READING = re.compile(
    r"\s*(?:SELECT|WITH|SHOW|PRAGMA|EXPLAIN|SET|SAVEPOINT|RELEASE|ROLLBACK|BEGIN|COMMIT|VALUES)\b",
    re.IGNORECASE,
)
_MARK = "_gateway_effects"

Recording = set[tuple[str, str]]
"""Effects of one side, each a kind and what it was."""

recording: ContextVar[Recording | None] = ContextVar("gateway.effects", default=None)


def note(kind: str, what: str) -> None:
    """Record one effect, if somebody records."""
    found = recording.get()
    if found is not None and len(found) < MOST:
        found.add((kind, what))


def forget() -> None:
    """Forget what was recorded so far, if somebody records."""
    found = recording.get()
    if found is not None:
        found.clear()


def differing(legacy: Recording, native: Recording, ignore: Iterable[str]) -> list[Difference]:
    """Return what one side did and the other didn't; `ignore` are shell patterns of effects."""
    ignored = tuple(ignore)

    def counts(what: str) -> bool:
        return not any(fnmatchcase(what, pattern) for pattern in ignored)

    found = []
    for kind, what in sorted(legacy ^ native):
        if counts(what):
            mine = (kind, what) in legacy
            found.append(
                Difference(
                    path=f"effects.{kind}",
                    legacy=what if mine else None,
                    native=None if mine else what,
                    kind="missing" if mine else "added",
                    field=f"effects.{kind}",
                    note=f"only {'legacy' if mine else 'native'} did it",
                )
            )
    return found


def written(statement: str) -> str | None:
    """Say in short what an SQL statement writes; None where it only reads."""
    statement = _QUOTED.sub("''", statement)
    for pattern, verb in ((_INSERT, "INSERT"), (_UPDATE, "UPDATE")):
        match = pattern.match(statement)
        if match is not None:
            columns = match[2] or ""
            named = columns.split(",") if verb == "INSERT" else _COLUMN.findall(columns)
            listed = ", ".join(sorted(_bare(each) for each in named if each.strip()))
            return f"{verb} {_bare(match[1])}" + (f" ({listed})" if listed else "")
    match = _DELETE.match(statement)
    if match is not None:
        return f"DELETE {_bare(match[1])}"
    if _READING.match(statement):
        return None
    return " ".join(statement.split()[:3])


def _bare(name: str) -> str:
    return re.sub(r'["`\[\]]', "", name).strip().lower()


# -- listening ----------------------------------------------------------------------------------


def listen() -> None:
    """Listen to whatever of the three this process has imported by now; may be repeated."""
    _listen_to_sql()
    _listen_to_http()
    _listen_to_httpx()
    _listen_to_signals()


def _listen_to_sql() -> None:
    event = sys.modules.get("sqlalchemy.event")
    engine = getattr(sys.modules.get("sqlalchemy.engine"), "Engine", None)
    if event is not None and not event.contains(engine, "before_cursor_execute", _on_statement):
        event.listen(engine, "before_cursor_execute", _on_statement)


def _on_statement(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
    if recording.get() is not None:
        what = written(statement)
        if what is not None:
            note("sql", what)


def _listen_to_http() -> None:
    original = HTTPConnection.putrequest
    if hasattr(original, _MARK):
        return

    def putrequest(self: HTTPConnection, method: str, url: str, *args: Any, **more: Any) -> None:
        if recording.get() is not None:
            scheme = "https" if isinstance(self, HTTPSConnection) else "http"
            _note_call(method, scheme, self.host, self.port, url)
        original(self, method, url, *args, **more)

    setattr(putrequest, _MARK, True)
    HTTPConnection.putrequest = putrequest  # type: ignore[method-assign]


def _listen_to_httpx() -> None:
    httpx = sys.modules.get("httpx")
    if httpx is None or hasattr(httpx.HTTPTransport.handle_request, _MARK):
        return
    handle = httpx.HTTPTransport.handle_request
    handle_async = httpx.AsyncHTTPTransport.handle_async_request

    def handle_request(self: Any, request: Any) -> Any:
        _note_request(request)
        return handle(self, request)

    async def handle_async_request(self: Any, request: Any) -> Any:
        _note_request(request)
        return await handle_async(self, request)

    setattr(handle_request, _MARK, True)
    httpx.HTTPTransport.handle_request = handle_request
    httpx.AsyncHTTPTransport.handle_async_request = handle_async_request


def _note_request(request: Any) -> None:
    if recording.get() is not None:
        url = request.url
        _note_call(request.method, url.scheme, url.host, url.port, url.path)


def _note_call(method: str, scheme: str, host: str, port: int | None, target: str) -> None:
    if method.upper() in _ASKING:
        return
    path = path_without_secrets(target.partition("?")[0])
    if "://" in path:  # absolute form, through a proxy
        note("http", f"{method.upper()} {path}")
        return
    usual = {"http": 80, "https": 443}.get(scheme)
    place = host if port in (None, usual) else f"{host}:{port}"
    note("http", f"{method.upper()} {scheme}://{place}{path}")


def _listen_to_signals() -> None:
    signal = getattr(sys.modules.get("blinker"), "NamedSignal", None)
    if signal is None or hasattr(signal.send, _MARK):
        return
    original = signal.send

    def send(self: Any, *args: Any, **more: Any) -> Any:
        if recording.get() is not None and self.name not in _FLASKS:
            note("signals", str(self.name))
        return original(self, *args, **more)

    setattr(send, _MARK, True)
    signal.send = send
