"""What clients and apps write comes out as one line, and without its secrets, wherever it is told.

The logger's records are looked at as a plain handler writes them.
"""

from __future__ import annotations

import io
import json
import logging
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from fastapi import FastAPI
from flask import Flask
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from gateway import Gateway, UseLegacy
from gateway.observe.access import NAME
from tests.functional.live import APPS, server, wait_until
from tests.functional.servers import serve

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.network

APPS_OF_LIVE = (
    APPS
    + """

@native.get("/raises")
def raises(q: str):
    raise RuntimeError(q)
"""
)
CONFIG_OF_LIVE = """\
version: 1
legacy: {app: "live_apps:flask"}
native: {app: "live_apps:native"}
defaults: {hooks: skip}
"""
TOKEN = "an-admin-token-for-this-test"
#: A forged line, and what clears a terminal; as a client sends them in a path.
FORGED = "a%0aERROR%20forged%1b[2J"


@pytest.fixture
def log() -> Iterator[io.StringIO]:
    """What the gateway, its server and Flask itself log."""
    written = io.StringIO()
    handler = logging.StreamHandler(written)
    handler.setFormatter(logging.Formatter("%(levelname)s %(name)s %(message)s"))
    names = ("gateway", "uvicorn.error", "legacy")
    loggers = [logging.getLogger(name) for name in names]
    for each in loggers:
        each.addHandler(handler)
    yield written
    for each in loggers:
        each.removeHandler(handler)


def apps() -> tuple[Flask, FastAPI]:
    flask, native = Flask("legacy"), FastAPI(openapi_url=None)
    for name in ("fails", "asks", "crashes", "differs"):
        flask.add_url_rule(
            f"/{name}/<rest>/<word>/<key>",
            name,
            lambda rest, word, key: {"note": f"passwd[]=hunter2&n=/{word}/{key}", "db_pass": key},
            methods=["GET", "POST"],
        )

    @native.get("/fails/{rest}/{word}/{key}")
    async def fails(rest: str, word: str, key: str) -> None:
        raise ValueError(f"no {rest}: {word}={key}")

    @native.get("/asks/{rest}/{word}/{key}")
    @native.get("/nobodys/{rest}/{word}/{key}")
    async def asks() -> None:
        raise UseLegacy

    @native.get("/differs/{rest}/{word}/{key}")
    async def differs(word: str, key: str) -> dict[str, Any]:
        return {"note": f"user_pwd=hunter2&m=/{word}/{key}", "db_pass": f"{key}!"}

    return flask, native


def config(hooks: str = "skip", **more: Any) -> dict[str, Any]:
    moved = [
        {"path": f"/{name}/<rest>/<word>/<key>", "methods": ["GET"], "cutover": "native",
         "auth": "none", "hooks": hooks, "failover": True}
        for name in ("fails", "asks")
    ]  # fmt: skip
    shadow = {"path": "/differs/<rest>/<word>/<key>", "methods": ["GET"], "cutover": "shadow"}
    return {"version": 1, "routes": [*moved, shadow], **more}


def lines(log: io.StringIO) -> list[str]:
    text = log.getvalue()
    assert not [each for each in text if not (each.isprintable() or each == "\n")]
    return text.splitlines()


@pytest.mark.parametrize("hooks", ["skip", "inherit"])
def test_a_path_is_one_line_of_the_log(hooks: str, log: io.StringIO) -> None:
    flask, native = apps()

    @flask.before_request
    def before() -> None:
        """Something to inherit."""

    with serve(Gateway(flask, native, config(hooks), verify_lock=False)) as url:
        for path in ("fails", "asks"):
            answer = httpx.get(f"{url}/{path}/{FORGED}/token/hunter2")
            assert answer.status_code == 200
        assert httpx.get(f"{url}/nobodys/{FORGED}/token/hunter2").status_code in (404, 500)
    found = lines(log)
    assert not [line for line in found if line.startswith("ERROR forged")]
    if hooks == "inherit":
        said = r"/nobodys/a\nERROR forged\x1b[2J/token/hunter2 [GET]"
        assert f"ERROR legacy Exception on {said}" in found, "Flask's own line"
    else:
        said = r"GET /fails/a\nERROR forged\x1b[2J/token/***: native answered 500"
        assert f"WARNING gateway.dispatch {said}" in found
    assert r"    ERROR forged\x1b[2J: token=hunter2" in found, "of an exception: told as it is"


def test_a_handler_that_asks_for_a_legacy_that_isnt_there(log: io.StringIO) -> None:
    flask, native = Flask("legacy"), apps()[1]
    with serve(Gateway(flask, native, config() | {"routes": []}, verify_lock=False)) as url:
        httpx.get(f"{url}/nobodys/{FORGED}/pin/1234")
    found = lines(log)
    said = r"/nobodys/a\nERROR forged\x1b[2J/pin/***: UseLegacy, but legacy has no such route"
    assert f"ERROR gateway.dispatch {said}" in found
    assert f"RuntimeError: {said}" in found
    assert not [line for line in found if line.startswith("ERROR forged") or "1234" in line]


def test_middleware_that_makes_another_path_of_it(log: io.StringIO) -> None:
    flask, native = apps()

    class Moved:
        def __init__(self, app: Any) -> None:
            self.app = app

        def __call__(self, environ: dict[str, Any], start: Any) -> Any:
            environ["PATH_INFO"] = environ["PATH_INFO"].replace("/old/", "/asks/")
            return self.app(environ, start)

    flask.wsgi_app = Moved(flask.wsgi_app)  # type: ignore[method-assign, assignment]
    with serve(Gateway(flask, native, config("inherit"), verify_lock=False)) as url:
        httpx.get(f"{url}/old/{FORGED}/pwd/hunter2")
    found = lines(log)
    assert not [line for line in found if line.startswith("ERROR forged") or "hunter2" in line]
    assert [line for line in found if r"/asks/a\nERROR forged\x1b[2J/pwd/***" in line]


async def caller() -> dict[str, str]:
    return {"sub": "ann\n2026-01-01 GET /forged 200\x1b[2J\u2028"}


@pytest.mark.parametrize("kind", ["console", "json"])
def test_a_principals_id_is_one_line_of_the_access_log(
    kind: str, capsys: pytest.CaptureFixture[str]
) -> None:
    logger = logging.getLogger(NAME)
    auth = {"dependency": f"{__name__}:caller", "id": "sub"}
    shared = {
        "path": "/differs/<rest>/<word>/<key>",
        "methods": ["GET"],
        "auth": "shared",
        "cutover": "legacy",
    }
    more = {"auth": auth, "observe": {"access_log": kind}, "routes": [shared]}
    try:
        with serve(Gateway(*apps(), config() | more, verify_lock=False)) as url:
            httpx.get(f"{url}/differs/{FORGED}/pass/hunter2?passwd=hunter2")
    finally:
        logger.handlers.clear()
        logger.propagate = True
    (line,) = capsys.readouterr().out.splitlines()
    assert line.isprintable()
    assert "hunter2" not in line
    assert "/differs/a" in line
    if kind == "console":
        assert line.endswith(r"ann\n2026-01-01 GET /forged 200\x1b[2J\u2028")
    else:
        assert json.loads(line)["principal"] == "ann\n2026-01-01 GET /forged 200\x1b[2J\u2028"


def test_what_mirrors_find_is_told_without_secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GATEWAY_ADMIN_TOKEN", TOKEN)
    more = {"admin": {"token_env": "GATEWAY_ADMIN_TOKEN"}, "state": "memory://"}
    headers = {"Authorization": f"Bearer {TOKEN}"}
    query = "password=%26hunter2&passwd[]=hunter2&user_pwd=hunter2&db_pass=hunter2&n=%0a7"
    with serve(Gateway(*apps(), config() | more, verify_lock=False)) as url:

        def told() -> httpx.Response:
            return httpx.get(f"{url}/-/diffs", headers=headers)

        httpx.get(f"{url}/differs/x/reset-passwd/hunter2?{query}")
        wait_until(lambda: bool(told().json()["samples"]))
        (sample,) = told().json()["samples"]
        page = httpx.get(f"{url}/-/diffs", headers={**headers, "Accept": "text/html"}).text
    assert sample["query"] == (r"password=***&passwd[]=***&user_pwd=***&db_pass=***&n=\n7")
    assert sample["path"] == "/differs/x/reset-passwd/***"
    assert "hunter2" not in json.dumps(sample) + page
    values = {each["path"]: (each["legacy"], each["native"]) for each in sample["differences"]}
    assert values["$.db_pass"] == ("***", "***")
    assert values["$.note"][0] == "passwd[]=***&n=/reset-passwd/***"
    assert values["$.note"][1] == "user_pwd=***&m=/reset-passwd/***"


def test_a_spans_path_has_no_secrets() -> None:
    exporter = InMemorySpanExporter()
    provider = trace.get_tracer_provider()
    if not isinstance(provider, TracerProvider):
        provider = TracerProvider()
        trace.set_tracer_provider(provider)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    more = {"observe": {"tracing": True}}
    with serve(Gateway(*apps(), config() | more, verify_lock=False)) as url:
        httpx.get(f"{url}/differs/x/otp/123456?passwd=hunter2")
    own = next(s for s in exporter.get_finished_spans() if "gateway.reason" in (s.attributes or {}))
    assert dict(own.attributes or {})["url.path"] == "/differs/x/otp/***"
    assert "hunter2" not in own.to_json()


def test_the_servers_own_log_under_gateway_serve(tmp_path: Path) -> None:
    (tmp_path / "live_apps.py").write_text(APPS_OF_LIVE)
    with server(tmp_path, "--access-log", config=CONFIG_OF_LIVE) as running:
        for target in (
            "/raises?q=a%0aERROR%20forged",
            "/new/otp/123456?passwd[]=hunter2&page=%202&user%5Bpwd%5D=%26hunter2",
            "/new?q=a+b%26&n=1",
        ):
            httpx.get(f"{running.url}{target}")
        wait_until(lambda: "q=a+b" in running.log())
        log = running.log()
    assert '"GET /new/otp/***?passwd[]=***&page=%202&user%5Bpwd%5D=*** HTTP/1.1" 404' in log
    assert '"GET /new?q=a+b%26&n=1 HTTP/1.1" 200' in log
    assert "RuntimeError: a\n    ERROR forged\n" in log
    assert "hunter2" not in log
    assert "Exception in ASGI application" in log
