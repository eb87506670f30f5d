"""httpbin, a public Flask app that we did not write: bare against gateway, byte by byte."""

from __future__ import annotations

import contextlib
import importlib
import json
import re
import socket
import subprocess
import sys
from dataclasses import dataclass, field, replace
from importlib.metadata import version
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

import pytest
from werkzeug.exceptions import HTTPException

from gateway import Gateway
from gateway.templates import parse_flask, parse_native
from tests.apps import httpbin_native
from tests.functional.httpbin_cases import CASES, CHUNKED_CASES, HOST, REPEATED, Case
from tests.functional.servers import serve

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from pathlib import Path
    from wsgiref.types import StartResponse, WSGIEnvironment

    from flask import Flask
    from starlette.types import ASGIApp

pytestmark = pytest.mark.network

SERVER_SOFTWARE = "gunicorn/0 (said by the tests)"

# A process of its own: the gateway hooks into the Flask object that it is given.
_BARE = """
import logging, sys
from httpbin import app
from werkzeug.serving import make_server

logging.getLogger("werkzeug").setLevel(logging.CRITICAL)
app.logger.disabled = True
software = sys.argv[2]

def named(environ, start_response):
    if software:
        environ["SERVER_SOFTWARE"] = software
    return app(environ, start_response)

make_server("127.0.0.1", 0, named, threaded=True, fd=int(sys.argv[1])).serve_forever()
"""


# -- a raw client ---------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Answer:
    """What came over the wire. Header names in lower case, values in their order of arrival."""

    status: int
    headers: dict[str, tuple[str, ...]]
    body: bytes
    interim: tuple[int, ...] = ()

    def without(self, *names: str) -> Answer:
        return replace(self, headers={k: v for k, v in self.headers.items() if k not in names})


#: The server closed the connection without a byte.
NO_ANSWER = Answer(0, {}, b"")


def ask(port: int, case: Case) -> Answer:
    """Send a case and read the one answer up to the end of the connection."""
    with socket.create_connection(("127.0.0.1", port), timeout=30) as client:
        client.sendall(case.encode())
        data = bytearray()
        while piece := client.recv(262_144):
            data += piece
    if not data:
        return NO_ANSWER
    return parse(bytes(data), head=case.method == "HEAD")


def parse(data: bytes, *, head: bool) -> Answer:
    """Parse a whole connection's bytes; more or fewer bytes than announced are an error."""
    interim: list[int] = []
    while True:
        top, blank, data = data.partition(b"\r\n\r\n")
        assert blank, f"no end of headers: {top[:200]!r}"
        line, *fields = top.decode("latin-1").split("\r\n")
        status = int(line.split(" ")[1])
        if status != 100 or not data:
            break
        interim.append(status)
    headers: dict[str, tuple[str, ...]] = {}
    for entry in fields:
        name, colon, value = entry.partition(":")
        assert colon, f"no header: {entry!r}"
        key = name.lower()
        headers[key] = (*headers.get(key, ()), value.strip(" \t"))
    if "chunked" in headers.get("transfer-encoding", ()) and not head:
        data = _unchunk(data)
    elif head or status in (204, 304):
        assert data == b"", f"a body where none may be: {data[:80]!r}"
    elif "content-length" in headers:
        assert headers["content-length"] == (str(len(data)),), "length of the body"
    return Answer(status, headers, data, tuple(interim))


def _unchunk(data: bytes) -> bytes:
    whole = bytearray()
    while True:
        line, _, data = data.partition(b"\r\n")
        size = int(line, 16)
        chunk, end, data = data[:size], data[size : size + 2], data[size + 2 :]
        assert end == b"\r\n", "a chunk ends early"
        if size == 0:
            assert data == b"", f"bytes after the last chunk: {data[:80]!r}"
            return bytes(whole)
        whole += chunk


def port_of(base_url: str) -> int:
    return int(base_url.rpartition(":")[2])


# -- what may differ ------------------------------------------------------------------------------

#: Headers that belong to the server in front of the app, not to the app's answer.
SERVERS_OWN = {
    "date": "each server stamps its own clock",
    "server": "Werkzeug/3 Python/3 and uvicorn name themselves",
    "connection": "Werkzeug's server closes always; uvicorn says so as the client asked for it",
    "transfer-encoding": "framing: both chunk a body without a length; the bytes are compared",
}


@dataclass(frozen=True, slots=True)
class Shape:
    """A random answer: `mask` replaces what is random by its shape, on both sides."""

    target: str
    reason: str
    mask: Callable[[Answer], Answer]


def _mask_body(pattern: bytes, shape: bytes) -> Callable[[Answer], Answer]:
    return lambda answer: replace(answer, body=re.sub(pattern, shape, answer.body))


def _mask_header(name: str, pattern: str, shape: str) -> Callable[[Answer], Answer]:
    def mask(answer: Answer) -> Answer:
        values = tuple(re.sub(pattern, shape, value) for value in answer.headers.get(name, ()))
        return replace(answer, headers={**answer.headers, name: values}) if values else answer

    return mask


def _mask_all(*masks: Callable[[Answer], Answer]) -> Callable[[Answer], Answer]:
    def mask(answer: Answer) -> Answer:
        for each in masks:
            answer = each(answer)
        return answer

    return mask


_HEX = r'\b(nonce|opaque)="?[0-9a-f]+"?'
_DATE = r"^\w{3}, \d\d \w{3} \d{4} \d\d:\d\d:\d\d GMT$"
SHAPES = (
    Shape(
        r"/uuid\b",
        "a random UUID, version 4",
        _mask_body(rb"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}", b"U"),
    ),
    Shape(
        r"/(stream-)?bytes/\d+($|\?chunk_size=\d+$)",
        "random bytes without a seed: their number is compared",
        lambda answer: replace(answer, body=b"?" * len(answer.body)),
    ),
    Shape(
        r"/cache$",
        "ETag is a random UUID, Last-Modified the current second",
        _mask_all(
            _mask_header("etag", r"^[0-9a-f]{32}$", "U"),
            _mask_header("last-modified", _DATE, "now"),
        ),
    ),
    Shape(
        r"/digest-auth/",
        "nonce and opaque are random",
        _mask_header("www-authenticate", _HEX, r"\1=R"),
    ),
)


@dataclass(frozen=True, slots=True)
class Quirk:
    """A difference that stays: in which cases (by name), in exactly what, and why.

    `aspects` are `status`, `body`, `interim` or `header:NAME`. A case must differ in exactly
    these, so that a row which is no longer true fails. `native` is the same after the route was
    moved, where that is something else.
    """

    cases: str
    aspects: frozenset[str]
    reason: str
    native: frozenset[str] | None = None


_LENGTH = frozenset({"body", "header:content-length"})
_CORS = {"header:access-control-allow-credentials", "header:access-control-allow-origin"}
#: An answer of the server's own, in plain text, instead of one of the app's.
_REFUSED = _LENGTH | _CORS | {"status", "header:content-type"}
QUIRKS = (
    Quirk(
        r"^BREW /(get|anything)$",
        _REFUSED | {"header:allow"},
        "httptools refuses methods that it doesn't know with 400 (uvicorn with h11 doesn't)",
    ),
    Quirk(
        r"^BREW /unknown$",
        _REFUSED,
        "the same, where the app says 404",
    ),
    Quirk(
        r" \(expect\)$",
        frozenset({"interim"}),
        "Werkzeug's server sends 100 Continue twice, uvicorn once",
    ),
    Quirk(
        r" /(post|anything|anything/x) \(chunked form\)$",
        _LENGTH | {"status", "header:content-type"},
        "httpbin refuses chunked bodies (501) unless the server is called gunicorn; the bridge has "
        "read the body and so hands it on with its length",
    ),
    Quirk(
        r" /unknown \(chunked form\)$|/status/200 \(chunked form\)$",
        _LENGTH | {"status"},
        "the same, where the app's own answer has no body or is HTML too",
    ),
    Quirk(
        r"\(chunked, no chunk\)$",
        _LENGTH | {"status", "header:content-type"},
        "the same for an empty chunked body: it is handed on with a length of 0",
        native=_LENGTH | {"status", "header:content-type"},
    ),
    Quirk(
        r" /status/(600|999)$",
        _REFUSED,
        "no HTTP status (RFC 9110, section 15): uvicorn can't send it, so the answer is a 500",
        native=_LENGTH | {"status"},
    ),
    Quirk(
        r"/response-headers\?bad%20name=1$",
        _REFUSED | {"header:bad name"},
        "Werkzeug's server sends a header name with a space; the bridge refuses it with 500",
        native=_LENGTH | {"status", "header:content-type", "header:bad name"},
    ),
    Quirk(
        r"/response-headers\?=1$",
        _REFUSED | {"header:"},
        "Werkzeug's server sends a header without a name; the bridge refuses it with 500",
        native=_LENGTH | {"status", "header:content-type", "header:"},
    ),
    Quirk(
        r"/response-headers\?X-Euro=%E2%82%AC$",
        _LENGTH | {"status", "header:content-type"},
        "a value outside latin-1: Werkzeug's server dies without an answer, the bridge says 500",
        native=_REFUSED,
    ),
    Quirk(
        r"^HEAD /anything",
        frozenset(),
        "HEAD on a moved route runs the native GET (by design), so that an echo of the method says "
        "GET, which is one byte shorter than HEAD",
        native=frozenset({"header:content-length"}),
    ),
    Quirk(
        r"^GET /cookies \(two lines\)$",
        _LENGTH,
        "two Cookie lines are joined by `; ` (RFC 9113, section 8.2.3); Werkzeug's server uses `,`",
    ),
)


def quirk_for(case: Case) -> Quirk | None:
    return next((quirk for quirk in QUIRKS if re.search(quirk.cases, case.name)), None)


def allowed(case: Case, *, native: bool = False) -> frozenset[str]:
    """Return the aspects in which a case has to differ from bare Flask; mostly none."""
    quirk = quirk_for(case)
    if quirk is None:
        return frozenset()
    return quirk.native if native and quirk.native is not None else quirk.aspects


def normalise(case: Case, answer: Answer) -> Answer:
    """Take away what the two tables above allow, for this case."""
    answer = answer.without(*SERVERS_OWN)
    if "allow" in answer.headers:
        # Flask joins a Python set: the order is the process's hash seed's.
        methods = sorted(re.split(r",\s*", ", ".join(answer.headers["allow"])))
        answer = replace(answer, headers={**answer.headers, "allow": tuple(methods)})
    if answer.body.startswith(b"\x1f\x8b"):
        # gzip writes the second in which it packs (RFC 1952, section 2.3.1).
        answer = replace(answer, body=answer.body[:4] + bytes(4) + answer.body[8:])
    for shape in SHAPES:
        if re.match(shape.target, case.target):
            answer = shape.mask(answer)
    return answer


def differences(case: Case, bare: Answer, other: Answer) -> dict[str, tuple[Any, Any]]:
    """Return every aspect in which two answers differ, with both values."""
    left, right = normalise(case, bare), normalise(case, other)
    found: dict[str, tuple[Any, Any]] = {}
    if left.status != right.status:
        found["status"] = (left.status, right.status)
    if left.interim != right.interim:
        found["interim"] = (left.interim, right.interim)
    for name in sorted(left.headers.keys() | right.headers.keys()):
        if left.headers.get(name) != right.headers.get(name):
            found[f"header:{name}"] = (left.headers.get(name), right.headers.get(name))
    if left.body != right.body:
        found["body"] = (left.body[:600], right.body[:600])
    return found


# -- servers --------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def httpbin_app() -> Flask:
    try:
        app: Flask = importlib.import_module("httpbin").app
    except ImportError as error:
        pytest.fail(f"httpbin can't be imported ({error}); with Werkzeug 3 it must be >= 0.10.4")
    return app


def mount(legacy: Any, config: Any, native: ASGIApp | None = None) -> Gateway:
    """Build a Gateway. `legacy` is Any: mypy doesn't take a Flask for an a2wsgi WSGIApp."""
    return Gateway(legacy=legacy, native=native, config=config)


@contextlib.contextmanager
def bare_flask(software: str = "") -> Iterator[int]:
    """Serve bare httpbin by Werkzeug's threaded server, in a process of its own; yield the port."""
    with socket.create_server(("127.0.0.1", 0), backlog=128) as listener:
        descriptor = listener.fileno()
        with subprocess.Popen(
            [sys.executable, "-c", _BARE, str(descriptor), software],
            pass_fds=[descriptor],
            stderr=subprocess.DEVNULL,
        ) as process:
            try:
                # The socket listens already: the first connection waits until the app accepts.
                ask(listener.getsockname()[1], Case("GET", "/ip"))
                yield int(listener.getsockname()[1])
            finally:
                process.terminate()


@dataclass(frozen=True, slots=True)
class Bare:
    """Bare httpbin. Each case is asked once: what may change from answer to answer is masked."""

    port: int
    answers: dict[Case, Answer] = field(default_factory=dict)

    def ask(self, case: Case) -> Answer:
        if case not in self.answers:
            self.answers[case] = ask(self.port, case)
        return self.answers[case]


@pytest.fixture(scope="module")
def bare(httpbin_app: Flask) -> Iterator[Bare]:
    with bare_flask() as port:
        yield Bare(port)


@pytest.fixture(scope="module")
def mounted(httpbin_app: Flask) -> Iterator[int]:
    with serve(mount(httpbin_app, {"version": 1})) as url:
        yield port_of(url)


# -- httpbin as legacy ----------------------------------------------------------------------------


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_gateway_answers_as_bare_flask(case: Case, bare: Bare, mounted: int) -> None:
    found = differences(case, bare.ask(case), ask(mounted, case))
    assert found.keys() == allowed(case), found


@pytest.fixture(scope="module")
def named_gunicorn(httpbin_app: Flask) -> Iterator[tuple[int, int]]:
    """Both servers, named so that httpbin reads chunked bodies; legacy is any WSGI app here."""

    def legacy(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        return httpbin_app({**environ, "SERVER_SOFTWARE": SERVER_SOFTWARE}, start_response)

    gateway = mount(legacy, {"version": 1})
    with bare_flask(SERVER_SOFTWARE) as port, serve(gateway) as url:
        yield port, port_of(url)


@pytest.mark.parametrize("case", CHUNKED_CASES, ids=lambda case: case.name)
def test_chunked_bodies_are_read_as_bare_flask_reads_them(
    case: Case, named_gunicorn: tuple[int, int]
) -> None:
    flask, gateway = named_gunicorn
    found = differences(case, _unframed(ask(flask, case)), _unframed(ask(gateway, case)))
    assert found == {}


def _unframed(answer: Answer) -> Answer:
    """Leave out how the body came: the bridge has read it and hands it on with its length."""
    if answer.headers.get("content-type") != ("application/json",):
        return answer
    echoed = json.loads(answer.body)
    for name in ("Content-Length", "Transfer-Encoding"):
        echoed["headers"].pop(name, None)
    return replace(answer.without("content-length"), body=json.dumps(echoed).encode())


@pytest.mark.parametrize("method", ["BREW", "get", "X-Y.Z"])
def test_methods_that_httptools_refuses_reach_flask_by_h11(
    method: str, httpbin_app: Flask, bare: Bare
) -> None:
    gateway = mount(httpbin_app, {"version": 1})
    with serve(gateway, http="h11") as url:
        for path in ("/get", "/anything", "/unknown"):
            case = Case(method, path)
            assert differences(case, bare.ask(case), ask(port_of(url), case)) == {}, case.name


def test_every_rule_and_method_of_httpbin_is_covered(httpbin_app: Flask) -> None:
    adapter = httpbin_app.url_map.bind(HOST)
    covered: set[str] = set()
    for case in CASES:
        with contextlib.suppress(HTTPException):
            rule, _ = adapter.match(unquote(case.path), case.method, return_rule=True)
            covered.add(f"{case.method} {rule.rule}")
    rules = list(httpbin_app.url_map.iter_rules())
    wanted = {f"{method} {rule.rule}" for rule in rules for method in rule.methods or ()}
    assert sorted(wanted - covered) == []


def test_case_names_are_unique() -> None:
    assert REPEATED == []


def test_every_allowed_difference_is_for_some_case() -> None:
    unused = [q.cases for q in QUIRKS if not any(quirk_for(case) is q for case in CASES)]
    unused += [s.target for s in SHAPES if not any(re.match(s.target, c.target) for c in CASES)]
    assert unused == []


# -- routes moved one by one ----------------------------------------------------------------------


def cases_by_route(app: Flask, cases: Iterable[Case] = CASES) -> dict[str, list[Case]]:
    """Sort cases by the template that Flask finds, whatever the method."""
    adapter = app.url_map.bind(HOST)
    found: dict[str, list[Case]] = {}
    for case in cases:
        methods = list(adapter.allowed_methods(unquote(case.path)))
        with contextlib.suppress(HTTPException, IndexError):
            method = case.method if case.method in methods else methods[0]
            rule, _ = adapter.match(unquote(case.path), method, return_rule=True)
            found.setdefault(parse_flask(rule.rule).label, []).append(case)
    return found


def label_of(path: str, by_route: dict[str, list[Case]]) -> str:
    """Return how Flask's side calls the template of a native route."""
    wanted = parse_native(path).segments
    return next(label for label in by_route if parse_native(label).segments == wanted)


def write_config(file: Path, moved: Sequence[str], *, kill_switch: bool = False) -> Path:
    lines = [
        "version: 1",
        "served_by: true",
        f"defaults: {{kill_switch: {str(kill_switch).lower()}}}",
    ]
    lines += ["routes:"] if moved else ["routes: []"]
    lines += [f"  - {{path: '{path}', cutover: native, hooks: skip, auth: none}}" for path in moved]
    file.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return file


def wanted_side(case: Case, native_methods: frozenset[str]) -> tuple[str, ...]:
    """Return the X-Served-By that a case must have; none where uvicorn itself refuses it."""
    if case.method == "BREW":
        return ()
    # A preflight goes to the side that serves the method it asks for.
    asked = dict(case.headers).get("Access-Control-Request-Method", case.method)
    return ("native" if asked in native_methods else "legacy",)


def compare_route(
    cases: list[Case], bare: Bare, gateway: int, native_methods: frozenset[str]
) -> list[str]:
    """Compare all cases of one route; return what is wrong, in words."""
    wrong: list[str] = []
    for case in cases:
        wanted = wanted_side(case, native_methods)
        answer = ask(gateway, case)
        served = answer.headers.get("x-served-by", ())
        if served != wanted:
            wrong.append(f"{case.name}: served by {served}, not {wanted}: {answer}")
        found = differences(case, bare.ask(case), answer.without("x-served-by"))
        if found.keys() != allowed(case, native=wanted == ("native",)):
            wrong.append(f"{case.name}: {found}")
    return wrong


def test_at_least_ten_routes_are_written_natively() -> None:
    assert len(httpbin_native.ROUTES) >= 10
    assert len({path for path, _ in httpbin_native.ROUTES}) == len(httpbin_native.ROUTES)


@pytest.fixture(scope="module")
def by_route(httpbin_app: Flask) -> dict[str, list[Case]]:
    return cases_by_route(httpbin_app)


def with_head(methods: frozenset[str]) -> frozenset[str]:
    return methods | {"HEAD"} if "GET" in methods else methods


def _step_name(step: int) -> str:
    return f"{step} {httpbin_native.ROUTES[step - 1][0]}" if step else "0 nothing moved"


@pytest.mark.skipif(
    int(version("werkzeug").partition(".")[0]) < 3,
    reason="the native copies give Werkzeug 3's answers to odd cookies, queries and forms",
)
@pytest.mark.parametrize("step", range(len(httpbin_native.ROUTES) + 1), ids=_step_name)
def test_moving_routes_one_by_one(
    step: int, httpbin_app: Flask, by_route: dict[str, list[Case]], bare: Bare, tmp_path: Path
) -> None:
    """Step N moves the N-th route too: its cases stay equal, all others stay where they were."""
    routes = httpbin_native.ROUTES
    config = write_config(tmp_path / "gateway.yaml", [path for path, _ in routes[:step]])
    app = mount(httpbin_app, config, httpbin_native.create_app())
    wrong: list[str] = []
    with serve(app) as url:
        for position, (path, methods) in enumerate(routes, 1):
            cases = by_route[label_of(path, by_route)]
            native = with_head(methods) if position <= step else frozenset[str]()
            # One method that moves is enough for the others: each has a step of its own.
            others = [next(case for case in cases if case.method in methods)]
            chosen = cases if position == step else others
            wrong += compare_route(chosen, bare, port_of(url), native)
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("kill", ["kill switch", "rules removed"])
def test_moving_all_back(
    kill: str, httpbin_app: Flask, by_route: dict[str, list[Case]], bare: Bare, tmp_path: Path
) -> None:
    switch = kill == "kill switch"
    moved = [path for path, _ in httpbin_native.ROUTES] if switch else []
    config = write_config(tmp_path / "gateway.yaml", moved, kill_switch=switch)
    app = mount(httpbin_app, config, httpbin_native.create_app())
    wrong: list[str] = []
    with serve(app) as url:
        for path, _ in httpbin_native.ROUTES:
            cases = by_route[label_of(path, by_route)]
            wrong += compare_route(cases, bare, port_of(url), frozenset())
    assert not wrong, "\n".join(wrong)
