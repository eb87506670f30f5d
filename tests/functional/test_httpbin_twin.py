"""httpbin on both sides, every route mirrored: whatever it answers, clients never notice.

The native side is httpbin itself behind FastAPI's routes, so that what has no native copy (ranges,
304, streams, compressed answers, cookies, redirects) has a second side as well.
"""

from __future__ import annotations

import asyncio
import random
import re
from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest
from a2wsgi import WSGIMiddleware
from fastapi import FastAPI, Response

from gateway import Gateway
from gateway.templates import parse_flask
from tests.functional.httpbin_cases import CASES, Case
from tests.functional.live import wait_until
from tests.functional.servers import serve
from tests.functional.test_httpbin import (
    Answer,
    ask,
    differences,
    httpbin_app,
    normalise,
    parse,
    port_of,
)

if TYPE_CHECKING:
    from collections.abc import Iterable
    from wsgiref.types import StartResponse, WSGIEnvironment

    from flask import Flask
    from starlette.types import Receive, Scope, Send

__all__ = ["httpbin_app"]  # a fixture

pytestmark = [pytest.mark.network, pytest.mark.usefixtures("never_suspended")]

HEADERS = ("content-type", "content-encoding", "content-range", "location", "cache-control", "vary")
#: Asked by many at once. Nothing seeded: httpbin seeds the `random` that all threads share.
MANY = (
    "/range/5000?chunk_size=100",
    "/stream/20",
    "/gzip",
    "/brotli",
    "/deflate",
    "/delay/0.1",
    "/drip?duration=0.1&numbytes=50",
    "/redirect/3",
    "/cookies/set?a=1",
    "/etag/x",
    "/links/200/2",
    "/get",
    "/encoding/utf8",
    "/status/304",
    "/anything/a?b=c",
)
CLIENTS = 400


def twin(flask: Flask) -> FastAPI:
    """Return a FastAPI app with httpbin's own routes, each answered by httpbin itself."""

    def apart(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        return flask(environ, start_response)

    wsgi: Any = WSGIMiddleware(apart, workers=40)  # type: ignore[arg-type]
    native = FastAPI(openapi_url=None)

    class Whole(Response):
        async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
            await wsgi(scope, receive, send)

    async def view() -> Response:
        return Whole()

    rules = [rule for rule in flask.url_map.iter_rules() if "GET" in (rule.methods or ())]
    for label in dict.fromkeys(parse_flask(rule.rule).label for rule in rules):
        native.add_api_route(label, view, methods=["GET"])
    return native


def gateway_of(flask: Any, cutover: str, **more: Any) -> Gateway:
    rule = {"prefix": "/", "cutover": cutover, "hooks": "skip", "auth": "none"}
    config: dict[str, Any] = {
        "version": 1,
        "routes": [rule | {"compare": {"headers": HEADERS}}],
        "mirror": {"in_flight": 200},
    }
    return Gateway(legacy=flask, native=twin(flask), config=config | more, verify_lock=False)


def outcomes(gateway: Gateway) -> Counter[str]:
    found: Counter[str] = Counter()
    for (_, _, outcome), number in gateway.mirrors.outcomes.items():
        found[outcome] += number
    return found


#: Two answers of one app differ there by themselves, or by how the twin's WSGI server reads.
APART = (
    r"/uuid|/(stream-)?bytes/\d+($|\?chunk_size)|/status/(600|999)",
    r"/response-headers\?(X-Euro|bad|=)|/cookies$|/(get|headers|anything)$|/digest-auth/",
)


def test_no_answer_is_changed_by_its_mirror(httpbin_app: Flask) -> None:
    """Ranges, 304, streams, compressed answers, redirects, cookies: all compared, none touched."""
    safe = (case for case in CASES if case.method in ("GET", "HEAD"))
    # httpbin seeds the numbers of the whole process: two of it at once draw from the same ones.
    cases = [case for case in safe if "seed=" not in case.target.lower()]
    alone, gateway = gateway_of(httpbin_app, "legacy"), gateway_of(httpbin_app, "shadow")
    wrong: list[str] = []
    with serve(alone) as url, serve(gateway) as mirrored_url:
        for case in cases:
            found = differences(case, ask(port_of(url), case), ask(port_of(mirrored_url), case))
            if found:
                wrong.append(f"{case.name}: {found}")
        wait_until(lambda: gateway.mirrors.in_flight == 0)
    assert not wrong, "\n".join(wrong)
    assert outcomes(gateway).keys() == {"compared"}
    assert outcomes(gateway).total() > 500
    (kept,) = asyncio.run(gateway.control.documents("diffs"))
    samples = kept.values()
    targets = {f"{each['path']}?{each['query']}".rstrip("?") for each in samples}
    assert {each for each in targets if not re.match("|".join(APART), each)} == set()


async def _client(port: int, target: str, *, leaves: bool) -> Answer | None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    headers = (("Range", "bytes=10-3000"),) if target.startswith("/range") else ()
    writer.write(Case("GET", target, headers=headers).encode())
    await writer.drain()
    if leaves:
        await reader.read(30)
        await asyncio.sleep(random.random() / 10)
        writer.transport.abort()
        return None
    data = await reader.read()
    writer.close()
    return normalise(Case("GET", target), parse(data, head=False))


@pytest.mark.parametrize("cutover", ["shadow", "live"])
def test_many_clients_at_once_get_their_own_answers(
    cutover: str,
    httpbin_app: Flask,
) -> None:
    """A third of them leave in the middle; what nobody got to its end is no mismatch."""
    legacy = {"threads": 40, "queue": 2000, "queue_timeout": "60s"}
    gateway = gateway_of(httpbin_app, cutover, legacy=legacy)
    alone = gateway_of(httpbin_app, "legacy")

    async def ask_all(port: int) -> list[Answer | None]:
        targets = [MANY[number % len(MANY)] for number in range(CLIENTS)]
        asked = (
            _client(port, target, leaves=number % 3 == 0) for number, target in enumerate(targets)
        )
        return await asyncio.gather(*asked)

    async def ask_one_by_one(port: int) -> dict[str, Answer | None]:
        return {target: await _client(port, target, leaves=False) for target in MANY}

    with serve(alone) as url:
        wanted = asyncio.run(ask_one_by_one(port_of(url)))
    with serve(gateway, backlog=1024) as url:
        answers = asyncio.run(ask_all(port_of(url)))
        wait_until(lambda: gateway.mirrors.in_flight == 0, 30)
    for number, answer in enumerate(answers):
        assert answer is None or answer == wanted[MANY[number % len(MANY)]]
    assert sum(answer is not None for answer in answers) == CLIENTS - len(range(0, CLIENTS, 3))
    # A machine that is busy enough is taken for a handler that blocks: "suspended".
    assert outcomes(gateway).keys() <= {"compared", "aborted", "busy", "suspended"}
    assert outcomes(gateway).total() == CLIENTS
    assert asyncio.run(gateway.control.documents("diffs")) == [{}]
