"""The ready-made auth dependencies, over real sockets and with a real key server."""

from __future__ import annotations

import contextlib
import json
import threading
import time
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import TYPE_CHECKING, Any

import httpx
import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from fastapi import Depends, FastAPI
from jwt.algorithms import RSAAlgorithm

from gateway.auth.jwt import BearerJwt
from gateway.auth.tokens import ApiToken
from gateway.exceptions import GatewayError
from tests.functional.servers import serve

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.network


@contextlib.contextmanager
def guarded(dependency: Any) -> Iterator[httpx.Client]:
    app = FastAPI()

    @app.get("/")
    async def who(value: Any = Depends(dependency)) -> Any:  # noqa: B008 - a local name
        return value

    with serve(app) as url, httpx.Client(base_url=url) as client:
        yield client


# -- a token -------------------------------------------------------------------------------------


def test_a_token_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SHOP_TOKEN", "old new\u00fc")
    with guarded(ApiToken(env="SHOP_TOKEN", name="shop")) as client:
        assert client.get("/", headers={"X-Token": "old"}).json() == "shop"
        wrong: list[list[tuple[str, str]]] = [
            [],
            [("X-Token", "")],
            [("X-Token", "old new")],
            [("X-Token", "OLD")],
            [("X-Token", "old"), ("X-Token", "old")],
        ]
        for headers in wrong:
            answer = client.get("/", headers=headers)
            assert answer.status_code == 401
            assert answer.headers["www-authenticate"] == "X-Token"
            assert "old" not in answer.text


def test_a_token_file_may_change(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text("one\n")
    with guarded(ApiToken(file=file, header="X-Key")) as client:

        def status(token: str) -> int:
            return client.get("/", headers={"X-Key": token}).status_code

        assert status("one") == 200
        file.write_text("one two\n")
        assert [status(each) for each in ("one", "two")] == [200, 200]
        file.write_text("two-only\n")
        assert [status(each) for each in ("one", "two-only")] == [401, 200]
        file.unlink()
        assert status("two-only") == 200, "the last good ones outlive the file"


def test_no_token_opens_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EMPTY", " ")
    (tmp_path / "empty").write_text("\n")
    for settings in (
        {"env": "EMPTY"},
        {"env": "NOT_SET"},
        {"file": tmp_path / "empty"},
        {"file": tmp_path / "none"},
        {},
        {"env": "EMPTY", "file": tmp_path / "empty"},
    ):
        with pytest.raises(GatewayError):
            ApiToken(**settings)


# -- JWT -----------------------------------------------------------------------------------------


class Keys:
    """A key server: what it publishes, how often it was asked."""

    def __init__(self) -> None:
        self.private = {name: rsa.generate_private_key(65537, 2048) for name in ("a", "b")}
        self.published = ["a"]
        self.asked = 0
        self.broken = False

    def body(self) -> bytes:
        keys = []
        for name in self.published:
            key: dict[str, Any] = json.loads(RSAAlgorithm.to_jwk(self.private[name].public_key()))
            keys.append({**key, "kid": name, "use": "sig", "alg": "RS256"})
        return json.dumps({"keys": keys}).encode()

    def token(self, name: str = "a", **claims: Any) -> str:
        now = int(time.time())
        payload = {"sub": "ann", "exp": now + 60, "aud": "shop", "iss": "login", **claims}
        payload = {key: value for key, value in payload.items() if value is not None}
        return jwt.encode(payload, self.private[name], "RS256", {"kid": name})


@pytest.fixture
def keys() -> Iterator[tuple[Keys, str]]:
    found = Keys()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            found.asked += 1
            self.send_response(500 if found.broken else 200)
            self.end_headers()
            self.wfile.write(found.body())

        def log_message(self, *_: Any) -> None: ...

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield found, f"http://127.0.0.1:{server.server_port}/jwks.json"
        server.shutdown()
        thread.join()


def checker(url: str) -> BearerJwt:
    return BearerJwt(jwks_url=url, algorithms=["RS256"], audience="shop", issuer="login")


def show(client: httpx.Client, token: str) -> httpx.Response:
    return client.get("/", headers={"Authorization": f"Bearer {token}"})


def test_a_good_token_and_many_bad_ones(keys: tuple[Keys, str]) -> None:
    server, url = keys
    now = int(time.time())
    public = server.private["a"].public_key()
    pem = public.public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    good = server.token()
    head, payload, _ = good.split(".")
    confused = jwt.api_jws.PyJWS().encode(b"{}", b"secret" * 8, "HS256", {"kid": "a"})
    bad = [
        server.token(exp=now - 10),
        server.token(exp=None),
        server.token(nbf=now + 100),
        server.token(aud="other"),
        server.token(aud=None),
        server.token(iss="other"),
        server.token("b"),
        jwt.encode({"sub": "ann", "exp": now + 60}, "", "none", {"kid": "a"}),
        f"{head}.{payload}.",
        f"{head}.{payload}",
        good[:-4] + "AAAA",
        confused,
        "x",
        "\u00fc.\u00fc.\u00fc",
    ]
    assert pem
    with guarded(checker(url)) as client:
        assert show(client, good).json()["sub"] == "ann"
        assert client.get("/").headers["www-authenticate"] == "Bearer"
        for token in bad:
            data = f"Bearer {token}".encode("latin-1", "replace")
            answer = client.get("/", headers={b"Authorization": data})
            assert answer.status_code == 401, token
            assert answer.headers["www-authenticate"] == 'Bearer error="invalid_token"'
        twice = [("Authorization", f"Bearer {good}")] * 2
        assert client.get("/", headers=twice).status_code == 401
        basic = client.get("/", headers={"Authorization": "Basic eDp5"})
        assert basic.status_code == 401


def test_keys_rotate_and_outlive_an_outage(
    keys: tuple[Keys, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    server, url = keys
    check = checker(url)
    with guarded(check) as client:
        assert show(client, server.token()).status_code == 200
        assert show(client, server.token("b")).status_code == 401
        server.published = ["a", "b"]
        monkeypatch.setattr("gateway.auth.jwt.REFETCH_SECONDS", 0.0)
        assert show(client, server.token("b")).status_code == 200, "an unknown kid fetches again"
        server.broken = True
        unknown = jwt.encode({"exp": 9e9}, server.private["a"], "RS256", {"kid": "c"})
        assert show(client, unknown).status_code == 401
        assert show(client, server.token("a")).status_code == 200, "the last good keys stay"


def test_a_flood_of_unknown_kids_fetches_once(keys: tuple[Keys, str]) -> None:
    server, url = keys
    with guarded(checker(url)) as client:
        for n in range(50):
            token = jwt.encode({"exp": 9e9}, server.private["a"], "RS256", {"kid": f"x{n}"})
            assert show(client, token).status_code == 401
    assert server.asked == 1


@pytest.mark.parametrize(
    "settings",
    [
        {"algorithms": [], "key": "k"},
        {"algorithms": ["none"], "key": "k"},
        {"algorithms": ["RS256", "HS256"], "key": "k"},
        {"algorithms": ["HS256"], "jwks_url": "http://127.0.0.1:1/"},
        {"algorithms": ["RS256"]},
        {"algorithms": ["RS256"], "key": "k", "jwks_url": "http://127.0.0.1:1/"},
    ],
)
def test_what_cannot_be_safe_is_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(GatewayError):
        BearerJwt(**settings)
