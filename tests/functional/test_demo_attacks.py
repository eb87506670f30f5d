"""An attack list against the demo: nothing moved answers what the bare Flask app refuses."""

from __future__ import annotations

import contextlib
import os
import re
import socket
import subprocess
import sys
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from gateway import Gateway
from gateway.demo.legacy import create_app
from gateway.demo.native import app as native_app
from gateway.demo.shop.settings import DEFAULT_TOKEN
from tests.functional.servers import serve

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.network

CONFIG = Path(__file__).parents[2] / "config" / "gateway.yaml"
BARE = """
import logging, sys
from gateway.demo.legacy import create_app
from werkzeug.serving import make_server

logging.getLogger("werkzeug").setLevel(logging.CRITICAL)
make_server("127.0.0.1", 0, create_app(), threaded=True, fd=int(sys.argv[1])).serve_forever()
"""

#: What the bare app guards, and a body that it would take.
GUARDED = {
    ("POST", "/items/"): b'{"item_name": "whisk"}',
    ("POST", "/items/import"): b'{"item_name": "whisk"}',
    ("GET", "/items/"): b"",
    ("GET", "/items/1"): b"",
    ("GET", "/items/export.csv"): b"",
    ("GET", "/notes"): b"",
    ("POST", "/notes"): b'{"text": "note"}',
    ("POST", "/logout"): b"",
}
CREDENTIALS: dict[str, list[bytes]] = {
    "none": [],
    "empty": [b"X-Token:"],
    "wrong": [b"X-Token: wrong"],
    "expired": [b"X-Token: demo-token-2025", b"Cookie: session=expired; remember_token=1|abc"],
    "almost": [b"X-Token: demo-toke"],
    "longer": [b"X-Token: demo-token2"],
    "case": [b"X-Token: DEMO-TOKEN"],
    "doubled": [b"X-Token: demo-token", b"X-Token: wrong"],
    "doubled the other way": [b"X-Token: wrong", b"X-Token: demo-token"],
    "in a list": [b"X-Token: demo-token, wrong"],
    "quoted": [b'X-Token: "demo-token"'],
    "odd bytes": [b"X-Token: \xff\xfe\xe9"],
    "underscore": [b"X_Token: demo-token"],
    "elsewhere": [b"Authorization: Bearer demo-token", b"Cookie: X-Token=demo-token"],
    "principal": [b"X-Principal: kitchen", b"X_Principal: kitchen", b"Principal: kitchen"],
    "remote user": [b"REMOTE_USER: kitchen", b"Remote-User: kitchen", b"X-Remote-User: kitchen"],
    "our keys": [b"gateway.principal: kitchen", b"X-Gateway-Principal: kitchen"],
    "tester": [b"X-Cutover: native", b"X-Cutover-Secret: "],
    "rewritten": [b"X-Original-URL: /health", b"X-Rewrite-URL: /health"],
    "overridden": [b"X-HTTP-Method-Override: GET", b"X-HTTP-Method: GET"],
    "forwarded": [b"X-Forwarded-Prefix: /health", b"X-Forwarded-For: 127.0.0.1"],
    "forged session": [
        b"Cookie: session=eyJfdXNlcl9pZCI6ImFkYSJ9.aaaaaa.bbbbbbbbbbbbbbbbbbbbbbbbbbb"
    ],
}
METHODS = ["HEAD", "OPTIONS", "PUT", "PATCH", "DELETE", "TRACE", "BREW", "get", "Post", "G*T"]
BODIES = [b"{", b"\xff\x00", b"[" * 2000, b'{"item_name": 1e999}', b"item_name=whisk", b"null"]


def spellings(path: str) -> list[str]:
    """Write a path as somebody would who looks for a way around its guard."""
    head, _, tail = path.lstrip("/").partition("/")
    return [
        path,
        "/" + path,
        "/." + path,
        "/x/.." + path,
        path.rstrip("/"),
        path.rstrip("/") + "/",
        path + "//",
        path + "?x=1",
        path + ";x=1",
        path + "%00",
        path + "%20",
        path.upper(),
        f"/{head}%2f{tail}",
        f"/{head}//{tail}",
        f"/{head}/./{tail}",
        f"/{head}/x/../{tail}",
        "/" + "".join(f"%{ord(c):02x}" for c in head) + f"/{tail}",
        f"http://shop.test{path}",
    ]


@pytest.fixture(scope="module")
def ports(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[int, int]]:
    """Serve the bare Flask app in a process of its own, and the demo's gateway."""
    folder = tmp_path_factory.mktemp("attacks")
    patch = pytest.MonkeyPatch()
    patch.setenv("GATEWAY_DEMO_DB", str(folder / "gateway.db"))
    env = {**os.environ, "GATEWAY_DEMO_DB": str(folder / "bare.db")}
    with socket.create_server(("127.0.0.1", 0), backlog=128) as listener:
        command = [sys.executable, "-c", BARE, str(listener.fileno())]
        with subprocess.Popen(command, pass_fds=[listener.fileno()], env=env) as bare:
            try:
                gateway = Gateway(create_app(), native_app, CONFIG)
                with serve(gateway) as url:
                    yield listener.getsockname()[1], int(url.rpartition(":")[2])
            finally:
                bare.kill()
                patch.undo()


def ask(port: int, method: str, path: str, headers: list[bytes], body: bytes) -> int:
    """Send one request as it is; return the status, 0 where there was no answer."""
    head = [f"{method} {path} HTTP/1.1".encode(), b"Host: shop.test", b"Connection: close"]
    if body:
        head += [b"Content-Type: application/json", f"Content-Length: {len(body)}".encode()]
    with socket.create_connection(("127.0.0.1", port), timeout=20) as client:
        client.sendall(b"\r\n".join([*head, *headers]) + b"\r\n\r\n" + body)
        data = b""
        with contextlib.suppress(ConnectionResetError):
            while piece := client.recv(65536):
                data += piece
    found = re.match(rb"HTTP/1\.\d (\d\d\d)", data)
    return int(found[1]) if found else 0


def compare(ports: tuple[int, int], attacks: list[Any]) -> tuple[int, list[str]]:
    """Return how many attacks the bare app refused, and those that the gateway let through."""
    refused, opened = 0, []
    for method, path, headers, body in attacks:
        bare = ask(ports[0], method, path, headers, body)
        ours = ask(ports[1], method, path, headers, body)
        if 200 <= bare < 300:
            continue
        refused += 1
        if 200 <= ours < 300 or (bare in (401, 403) and ours not in (401, 403, 400)):
            opened.append(f"{method} {path} {headers} {body[:20]!r}: Flask {bare}, gateway {ours}")
    return refused, opened


@pytest.mark.parametrize("name", CREDENTIALS)
def test_credentials(ports: tuple[int, int], name: str) -> None:
    attacks = [(*route, CREDENTIALS[name], body) for route, body in GUARDED.items()]
    refused, opened = compare(ports, attacks)
    assert not opened
    assert refused >= 2, "an attack that Flask welcomes shows nothing"


def test_methods(ports: tuple[int, int]) -> None:
    paths = sorted({path for _, path in GUARDED})
    attacks = [
        (method, path, headers, b"")
        for method, path, headers in product(METHODS, paths, ([], [b"X-Token: wrong"]))
        if method != "OPTIONS"
    ]
    refused, opened = compare(ports, attacks)
    assert not opened
    assert refused > 50


def test_options_tell_no_more_than_methods(ports: tuple[int, int]) -> None:
    """Where Flask guards its automatic OPTIONS, it stays guarded."""
    for path in sorted({path for _, path in GUARDED}):
        answers = [ask(port, "OPTIONS", path, [], b"") for port in ports]
        assert answers[0] == answers[1], path


@pytest.mark.parametrize("route", GUARDED, ids=" ".join)
def test_spellings(ports: tuple[int, int], route: tuple[str, str]) -> None:
    attacks = [
        (route[0], path, headers, GUARDED[route])
        for path, headers in product(spellings(route[1]), ([], [b"X-Token: wrong"]))
    ]
    refused, opened = compare(ports, attacks)
    assert not opened
    assert refused == len(attacks)


@pytest.mark.parametrize("body", BODIES, ids=range(len(BODIES)))
def test_a_malformed_body_comes_after_the_guard(ports: tuple[int, int], body: bytes) -> None:
    for path in ("/items/", "/items/import", "/notes"):
        bare = ask(ports[0], "POST", path, [], body)
        assert bare == 401
        assert ask(ports[1], "POST", path, [], body) == 401, path


def test_the_right_credentials_are_let_in(ports: tuple[int, int]) -> None:
    """Else everything above would hold for a door that is nailed shut."""
    token = {"X-Token": DEFAULT_TOKEN, "Content-Type": "application/json"}
    with httpx.Client(base_url=f"http://127.0.0.1:{ports[1]}") as client:
        for (method, path), body in GUARDED.items():
            if path.startswith("/items"):
                answer = client.request(method, path, content=body or None, headers=token)
                assert answer.status_code == 200, (method, path, answer.text)
        assert client.post("/login", json={"name": "ada"}).status_code == 200
        assert client.get("/notes").status_code == 200
