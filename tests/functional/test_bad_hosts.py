"""A host that no URL can have: FastAPI's slash redirect is none of Flask's 500s."""

from __future__ import annotations

import http.client
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest
from fastapi import FastAPI
from fastapi.responses import RedirectResponse
from flask import Flask
from werkzeug.middleware.proxy_fix import ProxyFix

from gateway import Gateway
from tests.functional.servers import serve

if TYPE_CHECKING:
    from collections.abc import Iterator

HOSTS = ["a..b", "a_..b", f"a_{'x' * 70}", "a..b_:80", "ok, a_..b", "u@a_..b", "[a_..b", ".", ".."]


def legacy_app() -> Flask:
    app = Flask("legacy")
    app.wsgi_app = ProxyFix(app.wsgi_app, x_host=1)  # type: ignore[method-assign]
    for path in ("/items/", "/things"):
        app.add_url_rule(path, path, lambda: "legacy")
    app.before_request(lambda: None)
    return app


def native_app() -> FastAPI:
    app = FastAPI()
    for path in ("/items", "/things/", "/alone", "/other/"):
        app.add_api_route(path, lambda: "native")

    @app.get("/leave")
    def leave() -> RedirectResponse:
        return RedirectResponse("http://a_..b/somewhere")

    return app


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    rules = [{"path": p, "cutover": "native", "auth": "none"} for p in ("/items/", "/things")]
    with serve(Gateway(legacy_app(), native_app(), {"version": 1, "routes": rules})) as base:
        yield base


def asked(url: str, path: str, host: str) -> http.client.HTTPResponse:
    parts = urlsplit(url)
    assert parts.hostname
    connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=20)
    connection.request("GET", path, headers={"X-Forwarded-Host": host})
    answer = connection.getresponse()
    answer.read()
    connection.close()
    return answer


@pytest.mark.parametrize("host", HOSTS)
@pytest.mark.parametrize("path", ["/items", "/things/", "/alone/", "/other", "/nobody"])
def test_another_spelling_on_a_host_of_no_url_is_answered_by_flask(
    url: str, path: str, host: str
) -> None:
    try:
        bare: Any = legacy_app().test_client().get(path, headers={"X-Forwarded-Host": host})
    except ValueError:  # a Werkzeug that can't write its own redirect
        return
    answer = asked(url, path, host)
    assert answer.status == bare.status_code
    assert answer.getheader("location") == bare.headers.get("Location")


@pytest.mark.parametrize("path", ["/alone/", "/other"])
def test_on_any_other_host_fastapi_redirects(url: str, path: str) -> None:
    answer = asked(url, path, "shop.example:8443")
    other = path.strip("/") if path.endswith("/") else f"{path.strip('/')}/"
    assert answer.status == 307
    assert answer.getheader("location") == f"http://shop.example:8443/{other}"


def test_a_handler_s_own_redirect_is_sent_as_it_wrote_it(url: str) -> None:
    answer = asked(url, "/leave", "shop.example")
    assert (answer.status, answer.getheader("location")) == (307, "http://a_..b/somewhere")
    assert len(answer.headers.get_all("location") or ()) == 1
