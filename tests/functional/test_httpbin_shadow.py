"""httpbin, a public app, against the native copies of its routes: each answer mirrored, compared.

The comparison is first made blind, so that everything in which the two sides differ is found; what
is found must be what `DECLARED` says, no more and no less, and with that declared nothing is left.
"""

from __future__ import annotations

import contextlib
import json
import time
from collections import Counter
from dataclasses import dataclass, field, replace
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

import pytest
from starlette.datastructures import MutableHeaders

from gateway import Gateway
from tests.apps import httpbin_native
from tests.functional.httpbin_cases import Case
from tests.functional.httpbin_public import PUBLIC
from tests.functional.live import samples_kept, wait_until
from tests.functional.servers import serve
from tests.functional.test_httpbin import (
    Answer,
    ask,
    cases_by_route,
    differences,
    httpbin_app,
    label_of,
    port_of,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from flask import Flask
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

__all__ = ["httpbin_app"]  # a fixture

pytestmark = [
    pytest.mark.network,
    pytest.mark.usefixtures("never_suspended"),
    pytest.mark.skipif(
        int(version("werkzeug").partition(".")[0]) < 3,
        reason="the native copies give Werkzeug 3's answers to odd cookies, queries and forms",
    ),
]

#: All that httpbin says of an answer, the server's own headers aside.
HEADERS = (
    "content-type",
    "content-length",
    "location",
    "cache-control",
    "www-authenticate",
    "proxy-authenticate",
    "access-control-allow-origin",
    "access-control-allow-credentials",
    "x-more-info",
    "x-one",
    "animal",
)
#: What the bridge says where it can't send what the app has answered.
REFUSED = "500 Internal Server Error\n"


# -- what differs ---------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Declared:
    """A difference that stays: on which route, at which place, and why.

    `expect` holds both sides to what they must be; without it the place is ignored. `methods`
    narrows it down, where only they differ. `unsafe`: it takes a mirrored POST to find it.
    """

    path: str
    place: str
    reason: str
    expect: dict[str, Any] = field(default_factory=dict)
    methods: tuple[str, ...] = ()
    unsafe: bool = False


def _chunked(path: str, *methods: str) -> Iterator[Declared]:
    """Say how a request that came in chunks is echoed."""
    why = "legacy gets a chunked body with its length, native as it came"
    length, chunked = "$.headers['Content-Length']", "$.headers['Transfer-Encoding']"
    either = {"legacy": "missing", "native": "any"}
    yield Declared(path, length, why, methods=methods, unsafe=True)
    yield Declared(path, chunked, why, either, methods=methods, unsafe=True)
    yield Declared(path, "headers.content-length", why, methods=methods, unsafe=True)


def _refused(path: str, why: str, **content_type: str) -> Iterator[Declared]:
    """Say how native answers 500 to what legacy answers, but the bridge can't send."""
    plain, missing = "text/plain; charset=utf-8", "missing"
    said = {
        "body": {"legacy": REFUSED},
        "headers.content-type": {"legacy": plain, **content_type},
        "headers.content-length": {"legacy": str(len(REFUSED)), "native": "265"},
        "headers.access-control-allow-origin": {"legacy": missing, "native": "*"},
        "headers.access-control-allow-credentials": {"legacy": missing, "native": "true"},
    }
    for name, sides in said.items():
        yield Declared(path, name, why, sides)


_ECHO = "an echo of the method: HEAD on a moved route runs the native GET, which says GET"
DECLARED = (
    Declared("/uuid", "$.uuid", "a random UUID, version 4"),
    Declared("/bytes/{n}", "body", "random bytes without a seed; content-length has their number"),
    Declared("/anything", "headers.content-length", _ECHO, methods=("HEAD",)),
    Declared("/anything/{rest:path}", "headers.content-length", _ECHO, methods=("HEAD",)),
    *_chunked("/post"),
    *_chunked("/anything", "POST"),
    *_chunked("/anything/{rest:path}", "POST"),
    # Its 400 is text/plain as well, on both sides: hence no type for native.
    *_refused("/status/{codes}", "600 and 999 are no HTTP status: the bridge refuses them"),
    *_refused(
        "/response-headers",
        "no header's name, or no latin-1: the bridge refuses it",
        native="text/html; charset=utf-8",
    ),
)


#: Native handlers that read no body: in `live` it can't be sent to legacy any more.
UNREAD = frozenset({"/status/{codes}"})


def rules(cutover: str, *, declared: bool = True, **more: Any) -> list[dict[str, Any]]:
    """Return a rule for each native route, and one more where only some methods differ."""
    found: list[dict[str, Any]] = []
    for path, methods in httpbin_native.ROUTES:
        rows = [each for each in DECLARED if each.path == path] if declared else []
        for narrowed in sorted({each.methods for each in rows} | {()}):
            mine = [each for each in rows if each.methods in (narrowed, ())]
            compare = {
                "headers": HEADERS,
                "ignore": [each.place for each in mine if not each.expect],
            }
            expect = [{"path": each.place, **each.expect} for each in mine if each.expect]
            rule = {
                "path": path,
                "cutover": cutover,
                "auth": "none",
                "sample": 100,
                "hooks": "skip",
            }
            # Of its own methods alone: /post is asked by GET as well, which only legacy refuses.
            rule |= {"methods": list(narrowed) or sorted(methods)}
            rule |= {"priority": len(narrowed)}
            found.append(rule | {"compare": compare, "expect": expect} | more)
    return found


# -- the run --------------------------------------------------------------------------------------


@dataclass(slots=True)
class Run:
    """What came of all the requests: the clients' answers, how mirrors ended, what differed."""

    answers: dict[Case, Answer] = field(default_factory=dict)
    outcomes: Counter[str] = field(default_factory=Counter)
    verdicts: Counter[str] = field(default_factory=Counter)
    differences: dict[tuple[str, str], list[str]] = field(default_factory=dict)
    """By native template and field: method, path, and both values."""

    def listed(self) -> str:
        return "\n".join(
            f"{path} {name}: {each}"
            for (path, name), found in sorted(self.differences.items())
            for each in found
        )


@dataclass(frozen=True, slots=True)
class Setup:
    """Which side answers, and whether requests that write are mirrored as well."""

    cutover: str
    unsafe: bool

    def __str__(self) -> str:
        return f"{self.cutover}{' with writes' if self.unsafe else ''}"

    def rules(self, *, declared: bool = True) -> list[dict[str, Any]]:
        more = {"writes": WRITES} if self.unsafe else {}
        return rules(self.cutover, declared=declared, **more)

    def mirrors(self, case: Case, methods: frozenset[str]) -> bool:
        """Tell whether a case has a mirror: never an OPTIONS."""
        if case.method in ("GET", "HEAD"):
            return "GET" in methods
        return self.unsafe and case.method in methods

    def outcomes(self, by_path: dict[str, list[Case]]) -> Counter[str]:
        """Return how the mirrors have to end."""
        found: Counter[str] = Counter()
        for path, methods in httpbin_native.ROUTES:
            for case in by_path[path]:
                if self.mirrors(case, methods):
                    brings = bool(case.body) or case.chunks is not None
                    unread = self.cutover == "live" and path in UNREAD and brings
                    found["unread" if unread else "compared"] += 1
        return found


SETUPS = [Setup(cutover, unsafe) for cutover in ("shadow", "live") for unsafe in (False, True)]


def nothing_to_undo() -> contextlib.AbstractContextManager[None]:
    """Undo what httpbin has written: it keeps nothing."""
    return contextlib.nullcontext()


def nothing_written() -> Iterator[bool | None]:
    """Prove it."""
    yield None
    yield False


WRITES = {
    "rollback": "tests.functional.test_httpbin_shadow:nothing_to_undo",
    "probe": "tests.functional.test_httpbin_shadow:nothing_written",
}


def cases_of(flask: Flask) -> dict[str, list[Case]]:
    """Return httpbin's public requests and ours, by native template."""
    ours = cases_by_route(flask)
    public = cases_by_route(flask, PUBLIC)
    labels = {path: label_of(path, ours) for path, _ in httpbin_native.ROUTES}
    return {path: [*public.get(label, ()), *ours[label]] for path, label in labels.items()}


def fire(gateway: Gateway, setup: Setup, by_path: dict[str, list[Case]]) -> Run:
    """Send everything, route by route, and wait for the mirrors of each."""
    run = Run()
    mirrors = gateway.mirrors
    wanted = 0
    with serve(gateway) as url, samples_kept(gateway) as kept:
        for path, methods in httpbin_native.ROUTES:
            for case in by_path.get(path, ()):
                run.answers[case] = ask(port_of(url), case)
                wanted += setup.mirrors(case, methods)
            # A client has its answer before the mirror begins: none in flight isn't all done.
            wait_until(lambda number=wanted: mirrors.outcomes.total() >= number, 30)
            mirrors.verdicts.take_samples()  # what nobody has taken yet
            for sample in kept:
                for each in sample["differences"]:
                    what = f"{sample['method']} {sample['path']}?{sample['query']}"
                    both = f"{each['legacy']!r} | {each['native']!r} {each['note']}".rstrip()
                    found = run.differences.setdefault((path, each["field"]), [])
                    found.append(f"{what}: {both}")
            kept.clear()
    for (_, _, outcome), number in mirrors.outcomes.items():
        run.outcomes[outcome] += number
    for tried in mirrors.verdicts.tried.values():
        run.verdicts.update(tried.verdicts)
    return run


def gateway_of(legacy: Any, native: ASGIApp, routes: list[dict[str, Any]]) -> Gateway:
    config = {"version": 1, "routes": routes, "mirror": {"in_flight": 100}}
    return Gateway(legacy=legacy, native=native, config=config, verify_lock=False)


@pytest.fixture(scope="module")
def by_path(httpbin_app: Flask) -> dict[str, list[Case]]:
    return cases_of(httpbin_app)


# -- tests ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("setup", SETUPS, ids=str)
def test_what_a_blind_comparison_finds_is_what_is_declared(
    setup: Setup,
    httpbin_app: Flask,
    by_path: dict[str, list[Case]],
) -> None:
    """Neither ignored nor expected is anything; a row that no request needs is one too many."""
    native = httpbin_native.create_app()
    run = fire(gateway_of(httpbin_app, native, setup.rules(declared=False)), setup, by_path)
    print(f"{setup}: found blind in {run.outcomes['compared']} comparisons\n{run.listed()}")
    assert run.outcomes == setup.outcomes(by_path)
    rows = [each for each in DECLARED if setup.unsafe or not each.unsafe]
    assert run.differences.keys() == {(each.path, each.place) for each in rows}


@pytest.fixture(scope="module")
def declared(
    request: pytest.FixtureRequest,
    httpbin_app: Flask,
    by_path: dict[str, list[Case]],
) -> tuple[Setup, Run]:
    """Run with everything declared."""
    setup: Setup = request.param
    native = httpbin_native.create_app()
    return setup, fire(gateway_of(httpbin_app, native, setup.rules()), setup, by_path)


@pytest.mark.parametrize("declared", SETUPS, ids=str, indirect=True)
def test_with_that_declared_nothing_differs(
    declared: tuple[Setup, Run], by_path: dict[str, list[Case]]
) -> None:
    setup, run = declared
    assert run.listed() == ""
    assert run.outcomes == setup.outcomes(by_path)
    assert run.verdicts.keys() == {"equal", "expected"}


@pytest.mark.parametrize("declared", SETUPS, ids=str, indirect=True)
def test_the_client_gets_what_the_answering_side_alone_would_say(
    declared: tuple[Setup, Run],
    httpbin_app: Flask,
    by_path: dict[str, list[Case]],
) -> None:
    setup, run = declared
    live = setup.cutover == "live"
    if not live:
        alone: ASGIApp = gateway_of(httpbin_app, httpbin_native.create_app(), [])
    else:
        alone = httpbin_native.create_app()
    wrong: list[str] = []
    with serve(alone) as url:
        for path, methods in httpbin_native.ROUTES:
            for case in by_path[path]:
                if live and not _moved(case, methods):
                    continue
                bare = _got(port_of(url), case) if live else ask(port_of(url), case)
                found = differences(case, bare, run.answers[case])
                if found:
                    wrong.append(f"{case.name}: {found}")
    assert not wrong, "\n".join(wrong)


def _moved(case: Case, methods: frozenset[str]) -> bool:
    """Tell whether native answers, by itself: Flask says 405, reads OPTIONS, and merges slashes."""
    method = "GET" if case.method == "HEAD" else case.method
    return method in methods and not case.path.startswith("//")


def _got(port: int, case: Case) -> Answer:
    """Ask bare FastAPI, which has no HEAD: the headers of its GET (RFC 9110, section 9.3.2)."""
    if case.method != "HEAD":
        return ask(port, case)
    return replace(ask(port, replace(case, method="GET")), body=b"")


# -- the seeded opposite --------------------------------------------------------------------------


class Wrong:
    """A native app whose answers' bodies are changed on purpose."""

    def __init__(self, app: ASGIApp, change: Callable[[bytes], bytes]) -> None:
        self._app, self._change = app, change

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        start: dict[str, Any] = {}

        async def answer(message: Message) -> None:
            if message["type"] == "http.response.start":
                start.update(message)
                return
            body = self._change(message.get("body", b""))
            headers = MutableHeaders(raw=list(start["headers"]))
            if "content-length" in headers:
                headers["content-length"] = str(len(body))
            await send({**start, "headers": headers.raw})
            await send({**message, "body": body})

        await self._app(scope, receive, answer if scope["type"] == "http" else send)


def wrong_app(change: Callable[[bytes], bytes]) -> ASGIApp:
    app = httpbin_native.create_app()
    app.add_middleware(Wrong, change=change)
    return app


def _spoilt(body: bytes) -> bytes:
    """Add a member to what is JSON, and a byte to any other body."""
    try:
        value = json.loads(body)
    except ValueError:
        return body + b"!"
    return json.dumps(value | {"seeded": 1}).encode() if isinstance(value, dict) else body + b"!"


@pytest.mark.parametrize("cutover", ["shadow", "live"])
def test_a_handler_that_is_wrong_on_purpose_is_found(
    cutover: str,
    httpbin_app: Flask,
    by_path: dict[str, list[Case]],
) -> None:
    """One value of one field; nothing else is different, on this route or any other."""
    native = wrong_app(lambda body: body.replace(b'"title": "Overview"', b'"title": "Overvieu"'))
    run = fire(
        gateway_of(httpbin_app, native, rules(cutover)), Setup(cutover, unsafe=False), by_path
    )
    ((what, (found,)),) = run.differences.items()
    assert what == ("/json", "$.slideshow.slides[*].title")
    assert found.endswith("'Overview' | 'Overvieu'")


def test_a_change_of_any_route_is_found(
    httpbin_app: Flask,
    by_path: dict[str, list[Case]],
) -> None:
    """Whatever is declared on it."""
    native = wrong_app(_spoilt)
    run = fire(gateway_of(httpbin_app, native, rules("shadow")), SETUPS[0], by_path)
    fields: dict[str, set[str]] = {}
    for path, name in run.differences:
        fields.setdefault(path, set()).add(name)
    assert fields.keys() == {path for path, methods in httpbin_native.ROUTES if "GET" in methods}
    assert all(found & {"$.seeded", "body", "headers.content-length"} for found in fields.values())


def test_what_is_random_is_learned_as_noise_by_itself(
    httpbin_app: Flask,
) -> None:
    routes = rules("shadow", declared=False, noise=100)
    gateway = gateway_of(httpbin_app, httpbin_native.create_app(), routes)
    cases = {
        path: [Case("GET", path.replace("{n}", "16"), str(n)) for n in range(8)]
        for path in ("/uuid", "/bytes/{n}", "/json")
    }
    run = fire(gateway, SETUPS[0], cases)
    assert run.verdicts == {"noise": 16, "equal": 8}
    learned = {
        route: [entry.path for entry in noise.listing(time.time())]
        for route, noise in gateway.mirrors.verdicts.noise.items()
    }
    assert sorted(learned.values()) == [[], ["$.uuid"], ["body"]]
