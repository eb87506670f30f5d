"""The gateway against the bare apps' real answers, on paths mutated from both sides' templates.

`GATEWAY_EXAMPLES=20000` runs the long one.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import pytest
from fastapi import FastAPI, Request
from flask import Flask, Response
from flask import request as flask_request
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from starlette.responses import JSONResponse
from starlette.routing import Mount

from gateway import Gateway
from gateway.cutover import decide

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from starlette.types import ASGIApp

EXAMPLES = int(os.environ.get("GATEWAY_EXAMPLES", "300"))
UUID = "7f1c4a4e-3f0a-4f0e-9b1c-0d3c1b2a4e5f"
KNOWN = ("GET", "POST", "PUT", "PATCH", "DELETE")
METHODS = ["GET"] * 5 + [
    "POST",
    "PUT",
    "PATCH",
    "DELETE",
    "HEAD",
    "HEAD",
    "OPTIONS",
    "PURGE",
    "get",
]

# (template, methods, options of Werkzeug's Rule)
FLASK: list[tuple[str, str, dict[str, Any]]] = [
    ("/", "GET", {}),
    ("/items/", "GET POST", {}),
    ("/items/<int:id>", "GET PUT", {}),
    ("/items/<int:id>/parts/<part>", "GET", {}),
    ("/users/<int:id>", "GET", {}),
    ("/users/<name>", "POST", {}),
    ("/users/me", "GET", {}),
    ("/loose/", "GET", {"strict_slashes": False}),
    ("/slim", "GET", {}),
    ("/slim/<path:rest>", "GET", {}),
    ("/both/<path:rest>", "GET DELETE", {}),
    ("/raw/<path:rest>", "GET", {"merge_slashes": False}),
    ("/pages/", "GET", {"endpoint": "pages", "defaults": {"page": 1}}),
    ("/pages/<int:page>", "GET", {"endpoint": "pages"}),
    ("/float/<float:x>", "GET", {}),
    ("/uuid/<uuid:x>/", "GET", {}),
    ("/any/<any(red,blue):c>", "GET", {}),
    ("/len/<string(length=2):c>", "GET", {}),
    ("/v<int:version>/x", "GET", {}),
    ("/file/<name>.json", "GET POST", {}),
    ("/mixed", "GET", {}),
    ("/legacy/<int:a>/", "GET DELETE", {}),
]
NATIVE: list[tuple[str, str]] = [
    ("/", "GET"),
    ("/items", "GET POST DELETE"),
    ("/items/{id}", "GET PATCH"),
    ("/items/{id}/parts/{part}/", "GET"),
    ("/users/{name}", "POST"),
    ("/users/{id:int}", "GET"),
    ("/loose", "GET"),
    ("/slim/", "GET"),
    ("/slim/native", "GET"),
    ("/both/{rest:path}", "GET"),
    ("/raw/{rest:path}", "GET"),
    ("/pages/{page}", "GET"),
    ("/float/{x:float}", "GET"),
    ("/uuid/{x:uuid}", "GET"),
    ("/any/{c}", "GET"),
    ("/len/{c}", "GET"),
    ("/v{version}/x", "GET"),
    ("/file/{name}.json", "GET"),
    ("/mixed", "POST"),
    ("/native/{x}", "GET HEAD PUT"),
    ("/native/only/", "GET"),
]
VALUES = [
    "7",
    "0",
    "007",
    "x",
    "me",
    "red",
    "ab",
    "1.5",
    "-1",
    "a.b",
    "é",
    "a b",
    UUID,
    "7/8",
    "",
    "%",
]
ODD = ["x", "%2f", " ", "\n", ";a", "é", "\\", "|", "."]
FITTING = {"int": "7", "float": "1.5", "uuid": UUID, "any": "red", "string": "ab", "path": "a/b"}

Key = tuple[str, ...]


def key_of(template: str) -> Key:
    """Name what two templates have in common when they pair; written anew, as an oracle must be."""
    flat = re.sub(r"<path:\w+>|{\w+:path}", "**", template)
    return tuple(re.sub(r"<[^>]*>|{[^}]*}", "*", flat).strip("/").split("/"))


def methods_by_key(entries: Any) -> dict[Key, set[str]]:
    found: dict[Key, set[str]] = defaultdict(set)
    for template, methods, *_ in entries:
        found[key_of(template)] |= set(methods.split())
    return found


FLASK_METHODS, NATIVE_METHODS = methods_by_key(FLASK), methods_by_key(NATIVE)
COMMON = {
    key: both
    for key, methods in FLASK_METHODS.items()
    if (both := methods & NATIVE_METHODS.get(key, set()))
}
#: Methods that only native has on paths that Flask has, and that rules name.
OPTED: dict[Key, list[str]] = {
    key_of("/items/{id}"): ["PATCH"],
    key_of("/mixed"): ["POST"],
}


def flask_app(*, merge_slashes: bool) -> Flask:
    app = Flask("legacy", static_folder=None)
    app.url_map.merge_slashes = merge_slashes

    def view(**values: Any) -> dict[str, Any]:
        return {"rule": str(flask_request.url_rule), "values": {k: str(values[k]) for k in values}}

    for number, (template, methods, options) in enumerate(FLASK):
        endpoint = options.get("endpoint", f"view{number}")
        rest = {name: value for name, value in options.items() if name != "endpoint"}
        app.add_url_rule(template, endpoint, view, methods=methods.split(), **rest)

    @app.after_request
    def mark(response: Response) -> Response:
        if flask_request.url_rule is not None:
            response.headers["X-Rule"] = flask_request.url_rule.rule
        return response

    return app


def native_app(*, mount: bool) -> FastAPI:
    app = FastAPI(openapi_url=None)

    def handler(template: str) -> Any:
        async def handle(request: Request) -> JSONResponse:
            values = {name: str(value) for name, value in request.path_params.items()}
            body = {"route": template, "values": values}
            return JSONResponse(body, headers={"x-route": template})

        return handle

    for template, methods in NATIVE:
        app.add_api_route(template, handler(template), methods=methods.split())
    if mount:
        app.router.routes.append(Mount("/", JSONResponse({}, headers={"x-mount": "yes"})))
    return app


@dataclass(frozen=True)
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def seen(self) -> tuple[int, str | None, bytes, str | None, str | None]:
        """What must be equal; `Allow` may be widened and is compared apart."""
        headers = self.headers
        return (
            self.status, headers.get("location"), self.body, headers.get("x-rule"),
            headers.get("content-type"),
        )  # fmt: skip

    @property
    def allow(self) -> set[str]:
        return {m.strip() for m in self.headers.get("allow", "").split(",")} - {""}


def scope_of(method: str, path: str) -> dict[str, Any]:
    return {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "1.1",
        "method": method,
        "scheme": "http",
        "path": path,
        "raw_path": quote(path).encode(),
        "root_path": "",
        "query_string": b"",
        "headers": [(b"host", b"localhost")],
        "client": ("127.0.0.1", 1),
        "server": ("localhost", 80),
    }


async def ask_asgi(app: ASGIApp, method: str, path: str) -> Answer:
    status, headers, chunks = 0, {}, []
    over = asyncio.Event()
    requests = iter([{"type": "http.request", "body": b"", "more_body": False}])

    async def receive() -> Any:
        for message in requests:
            return message
        await over.wait()
        return {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        nonlocal status, headers
        if message["type"] == "http.response.start":
            status = message["status"]
            headers = {k.decode().lower(): v.decode("latin-1") for k, v in message["headers"]}
        else:
            chunks.append(message.get("body", b""))

    await app(scope_of(method, path), receive, send)
    # A server sends no body to HEAD; an app may hand it one.
    return Answer(status, headers, b"" if method == "HEAD" else b"".join(chunks))


def ask_flask(app: Flask, method: str, path: str) -> Answer:
    with app.test_client() as client:
        overrides = {"PATH_INFO": path.encode().decode("latin-1"), "REQUEST_METHOD": method}
        response = client.open("/", environ_overrides=overrides)
        headers = {name.lower(): value for name, value in response.headers}
        answer = Answer(response.status_code, headers, response.get_data())
        response.close()
    return answer


@contextlib.asynccontextmanager
async def started(app: ASGIApp) -> AsyncIterator[None]:
    to_app: asyncio.Queue[Any] = asyncio.Queue()
    from_app: asyncio.Queue[Any] = asyncio.Queue()
    scope = {"type": "lifespan", "asgi": {"version": "3.0"}, "state": {}}
    task = asyncio.ensure_future(app(scope, to_app.get, from_app.put))
    await to_app.put({"type": "lifespan.startup"})
    assert (await from_app.get())["type"] == "lifespan.startup.complete"
    yield
    await to_app.put({"type": "lifespan.shutdown"})
    assert (await from_app.get())["type"] == "lifespan.shutdown.complete"
    await task


@dataclass
class World:
    """Bare apps, and gateways over apps of their own: without rules, and with all pairs moved."""

    run: Any
    flask: Flask
    native: FastAPI
    untouched: Gateway
    moved: Gateway
    asked: int = 0
    hits: int = 0
    counts: dict[str, int] = field(default_factory=lambda: defaultdict(int))


def configured(rules: list[dict[str, Any]]) -> dict[str, Any]:
    defaults = {"hooks": "skip"}
    return {"version": 1, "served_by": True, "defaults": defaults, "routes": rules}


@pytest.fixture(scope="module", params=["plain", "no-merge-and-mount"])
def world(request: pytest.FixtureRequest) -> Iterator[World]:
    plain = request.param == "plain"

    def pair() -> tuple[Flask, FastAPI]:
        return flask_app(merge_slashes=plain), native_app(mount=not plain)

    templates = {key_of(template): template for template, *_ in FLASK}
    rules = [
        {
            "path": templates[key],
            "methods": sorted(methods),
            "cutover": "native",
            "auth": "none",
            "on_mismatch": "legacy",
        }
        for key, methods in COMMON.items()
    ]
    rules += [
        {"path": templates[key], "methods": methods, "cutover": "native", "auth": "none"}
        for key, methods in OPTED.items()
    ]
    with asyncio.Runner() as runner:
        untouched, moved = Gateway(*pair(), configured([])), Gateway(*pair(), configured(rules))
        stack = contextlib.AsyncExitStack()
        runner.run(stack.enter_async_context(started(untouched)))
        runner.run(stack.enter_async_context(started(moved)))
        yield World(runner.run, *pair(), untouched, moved)
        runner.run(stack.aclose())


TEMPLATES = sorted({entry[0] for entry in FLASK} | {entry[0] for entry in NATIVE})
PARAMETER = re.compile(r"<(?:(?P<kind>\w+)(?:\([^)]*\))?:)?\w+>|{\w+(?::(?P<conv>\w+))?}")


@st.composite
def requests(draw: st.DrawFn) -> tuple[str, str]:
    """Draw a method and a path: a template's own more often than not, then mutated."""
    template, methods = draw(st.sampled_from([entry[:2] for entry in (*FLASK, *NATIVE)]))
    method = draw(st.sampled_from(methods.split()) | st.sampled_from(METHODS))

    def value(match: re.Match[str]) -> str:
        fitting = FITTING.get(match["kind"] or match["conv"] or "", "7")
        return draw(st.sampled_from([fitting] * 2 * len(VALUES) + VALUES))

    path = PARAMETER.sub(value, template)
    for _ in range(draw(st.sampled_from([0, 0, 0, 0, 1, 2]))):
        at = draw(st.integers(0, len(path)))
        kind = draw(st.integers(0, 9))
        slash = path.find("/", at)
        path = (
            path.rstrip("/") + "/" if kind == 0
            else path.rstrip("/") or "/" if kind == 1
            else path + "//" if kind == 2
            else path[:slash] + "/" + path[slash:] if kind == 3
            else path[:slash] + "/." + path[slash:] if kind == 4
            else path[:slash] + "/.." + path[slash:] if kind == 5
            else path.swapcase() if kind == 6
            else path[:at] + draw(st.sampled_from(ODD))
            + path[at:] if kind == 7
            else path[:at] + path[at + 1 :] if kind == 8
            else path + "/" + draw(st.sampled_from(VALUES))
        )  # fmt: skip
    return method, "/" + path.removeprefix("/")


def native_keys_at(world: World, path: str) -> set[Key]:
    """Ask the bare app which of its templates have the path, whatever the method."""
    answers = [world.run(ask_asgi(world.native, method, path)) for method in KNOWN]
    keys = {key_of(a.headers["x-route"]) for a in answers if "x-route" in a.headers}
    for answer in answers:
        if answer.status == 307:
            keys |= native_keys_at(world, path[:-1] if path.endswith("/") else path + "/")
    return keys


def expected(world: World, method: str, path: str, *, moved: bool) -> set[str]:
    """Say who may answer, from the bare apps' answers alone."""
    legacy = ask_flask(world.flask, method, path)
    native = world.run(ask_asgi(world.native, method, path))
    route = native.headers.get("x-route")
    rule = legacy.headers.get("x-rule")
    if rule is not None:
        asked = "GET" if method.upper() == "HEAD" else method.upper()
        return {"native" if moved and asked in COMMON.get(key_of(rule), ()) else "legacy"}
    if legacy.status not in (404, 405):
        assert legacy.status == 308
        return {"legacy"}
    if legacy.status == 405:
        # Flask knows the path: its answer, unless a rule names path and method.
        named = moved and route is not None and method in OPTED.get(key_of(route), ())
        return {"native" if named else "legacy"}
    if route is not None:
        methods = FLASK_METHODS.get(key_of(route), set[str]())
        if method in methods or (method == "HEAD" and "GET" in methods):
            # Flask has the very template and said no to the value: its answer, as ever.
            return {"legacy"}
        # Flask has the template, or redirects the path, for another method.
        known = methods or any(ask_flask(world.flask, each, path).status == 308 for each in KNOWN)
        named = moved and method in OPTED.get(key_of(route), ())
        return {"legacy" if known and not named else "native"}
    if native.status == 404 or "x-mount" in native.headers:
        return {"legacy"}
    paired = {key in COMMON for key in native_keys_at(world, path)}
    return {"legacy" if each else "native" for each in paired} or {"legacy"}


def check(world: World, gate: Gateway, method: str, path: str, *, moved: bool) -> None:
    scope = scope_of(method, path)
    decision = decide(gate.table.match(scope), scope, gate.snapshots.current.policy)
    answer = world.run(ask_asgi(gate, method, path))
    side = answer.headers["x-served-by"]
    assert side == decision.backend.value
    assert side in expected(world, method, path, moved=moved), decision
    world.counts[f"{'moved' if moved else 'untouched'}: {side} {decision.reason.value}"] += 1
    legacy = ask_flask(world.flask, method, path)
    if side == "legacy":
        assert answer.seen == legacy.seen
        assert answer.allow >= legacy.allow
        return
    rule = legacy.headers.get("x-rule")
    if rule is None:
        bare = world.run(ask_asgi(world.native, method, path))
        assert (answer.seen, answer.allow >= bare.allow) == (bare.seen, True)
    elif method in ("GET", "HEAD", *KNOWN):
        # Straight to the template that pairs, however the path is spelled.
        assert answer.status == 200
        assert key_of(answer.headers["x-route"]) == key_of(rule)
        assert "x-rule" not in answer.headers
        bare = world.run(ask_asgi(world.native, "GET" if method == "HEAD" else method, path))
        if bare.headers.get("x-route") == answer.headers["x-route"]:
            assert answer.headers["content-length"] == str(len(bare.body))
            assert answer.body == (b"" if method == "HEAD" else bare.body)
    else:
        assert answer.status == 405


@pytest.mark.timeout(120 + EXAMPLES // 10)
def test_the_gateway_answers_as_the_right_bare_app(world: World) -> None:
    @settings(
        max_examples=EXAMPLES,
        deadline=None,
        derandomize="GATEWAY_EXAMPLES" not in os.environ,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(request=requests())
    def run(request: tuple[str, str]) -> None:
        method, path = request
        # Flask's `<path:p>` takes a newline, Starlette's `{p:path}` doesn't: see the test below.
        assume("\n" not in path)
        world.asked += 1
        ours = ask_flask(world.flask, method, path).headers
        theirs = world.run(ask_asgi(world.native, method, path)).headers
        world.hits += "x-rule" in ours or "x-route" in theirs
        check(world, world.untouched, method, path, moved=False)
        check(world, world.moved, method, path, moved=True)

    run()
    assert world.hits >= 0.3 * world.asked, f"{world.hits} of {world.asked} hit a route"
    print(f"{world.asked} requests, {world.hits} hit a route ({world.hits / world.asked:.0%})")
    print(*(f"  {count:6} {name}" for name, count in sorted(world.counts.items())), sep="\n")


def test_what_the_native_template_cannot_read_is_natives_404(world: World) -> None:
    """The route has moved, so its retired view stays asleep even for a value that it took."""
    answer = world.run(ask_asgi(world.moved, "GET", "/raw/\na/b/"))
    assert (answer.status, answer.headers["x-served-by"]) == (404, "native")


@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "OPTIONS", "PURGE", "get"])
def test_every_template_with_fitting_values(world: World, method: str) -> None:
    for template in TEMPLATES:
        path = PARAMETER.sub(
            lambda match: FITTING.get(match["kind"] or match["conv"] or "", "7"), template
        )
        for spelled in (path, path.rstrip("/") or "/", path.rstrip("/") + "/"):
            check(world, world.untouched, method, spelled, moved=False)
            check(world, world.moved, method, spelled, moved=True)
