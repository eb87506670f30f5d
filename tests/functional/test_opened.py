"""Proof on live traffic: where native lets in a caller whom legacy refuses, legacy serves again."""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse, PlainTextResponse, RedirectResponse, StreamingResponse
from flask import Blueprint, Flask, Response, abort, redirect, request
from flask_login import LoginManager, UserMixin, login_required
from flask_wtf import CSRFProtect
from typer.testing import CliRunner

from gateway import Gateway
from gateway.blocks import ENOUGH
from gateway.cli import app
from gateway.routing import REASONS, Reason
from tests.functional.live import TOKEN, Server, server, wait_until
from tests.functional.servers import serve
from tests.functional.services import redis_server

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from typer.testing import Result

pytestmark = pytest.mark.network

GOOD = {"X-Key": "good"}


@pytest.fixture(autouse=True)
def own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep what one test leaves for the next start away from the others."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setenv("GATEWAY_ADMIN_TOKEN", TOKEN)
    monkeypatch.setenv("GATEWAY_RELEASE", "r1")


def made(flask: Flask, native: FastAPI, *routes: dict[str, Any], **config: Any) -> Gateway:
    whole = {
        "version": 1,
        "routes": [{"auth": "none", "sample": 100} | each for each in routes],
        "mirror": {"timeout": 2, "in_flight": 4},
        "served_by": True,
        "admin": {"token_env": "GATEWAY_ADMIN_TOKEN"},
    }
    return Gateway(flask, native, whole | config, verify_lock=False)


def verdicts(gateway: Gateway) -> dict[str, int]:
    found: dict[str, int] = {}
    for tried in gateway.mirrors.verdicts.tried.values():
        for verdict, number in tried.verdicts.items():
            found[verdict] = found.get(verdict, 0) + number
    return found


def outcomes(gateway: Gateway) -> dict[str, int]:
    found: dict[str, int] = {}
    for (_, _, outcome), number in gateway.mirrors.outcomes.items():
        found[outcome] = found.get(outcome, 0) + number
    return found


def settled(gateway: Gateway, number: int = 1) -> dict[str, int]:
    wait_until(lambda: sum(outcomes(gateway).values()) >= number)
    return outcomes(gateway)


def side(url: str, path: str, **more: Any) -> str:
    return httpx.get(f"{url}{path}", **more).headers["x-served-by"]


def ask(url: str, method: str, page: str, **more: Any) -> httpx.Response:
    headers = {"Authorization": f"Bearer {TOKEN}"} | more.pop("headers", {})
    return httpx.request(method, f"{url}/-{page}", headers=headers, timeout=20, **more)


# -- who is let in ------------------------------------------------------------------------------


def one(legacy: Callable[[], Any], handler: Callable[..., Any]) -> tuple[Flask, FastAPI]:
    flask, native = Flask("legacy"), FastAPI(openapi_url=None)
    flask.add_url_rule("/a", "a", legacy)
    native.add_api_route("/a", handler)
    return flask, native


def answering(status: int, **headers: str) -> tuple[Callable[[], Any], Callable[[], Any]]:
    """Return a view and a handler that answer the same."""

    def view() -> Any:
        return Response("x", status, headers, content_type="text/plain; charset=utf-8")

    def handler() -> Any:
        return PlainTextResponse("x", status, headers)

    return view, handler


@pytest.mark.parametrize(
    ("legacy", "native", "verdict"),
    [
        (401, 200, "opened"),
        (403, 204, "opened"),
        (407, 201, "opened"),
        (404, 200, "opened"),
        (200, 401, "closed"),
        (200, 404, "closed"),
        (401, 401, "equal"),
        (401, 403, "different"),
        (401, 500, "different"),
        (401, 302, "different"),
        (429, 200, "different"),  # the view itself said so
        (200, 503, "different"),
        (200, 200, "equal"),
    ],
)
@pytest.mark.parametrize("cutover", ["shadow", "live"])
def test_the_verdict_says_who_is_let_in(
    legacy: int, native: int, verdict: str, cutover: str
) -> None:
    gateway = made(
        *one(answering(legacy)[0], answering(native)[1]), {"path": "/a", "cutover": cutover}
    )
    with serve(gateway) as url:
        answer = httpx.get(f"{url}/a")
        assert answer.status_code == (legacy if cutover == "shadow" else native)
        assert settled(gateway) == {"compared": 1}
        blocked = gateway.control.standing()
        assert bool(blocked) is (verdict == "opened")
        assert side(url, "/a") == ("legacy" if blocked or cutover == "shadow" else "native")
    assert set(verdicts(gateway)) == {verdict}


def hooked(answer: Callable[[], Any]) -> tuple[Flask, FastAPI]:
    flask, native = one(lambda: "view", lambda: "native")
    flask.before_request(lambda: answer() if "X-Key" not in request.headers else None)
    return flask, native


@pytest.mark.parametrize(
    ("answer", "outcome", "verdict"),
    [
        (lambda: Response("please log in", 200), "compared", "opened"),
        (lambda: Response("teapot", 418), "compared", "opened"),
        (lambda: abort(404), "compared", "opened"),
        (lambda: redirect("/anywhere"), "compared", "opened"),
        (lambda: Response("slow down", 429), "limited", None),
        (lambda: Response("maintenance", 503), "limited", None),
    ],
)
def test_a_hook_that_answers_instead_of_the_view_refuses(
    answer: Callable[[], Any], outcome: str, verdict: str | None
) -> None:
    gateway = made(*hooked(answer), {"path": "/a", "cutover": "shadow", "hooks": "skip"})
    with serve(gateway) as url:
        httpx.get(f"{url}/a")
        assert settled(gateway) == {outcome: 1}
        assert verdicts(gateway) == ({verdict: 1} if verdict else {})
        httpx.get(f"{url}/a", headers=GOOD)
        settled(gateway, 2)
        assert verdicts(gateway).get("different") == 1  # "view", "native": both let in


def test_a_hook_around_both_refuses_on_both_sides() -> None:
    gateway = made(
        *hooked(lambda: Response("please log in", 200)), {"path": "/a", "cutover": "shadow"}
    )
    with serve(gateway) as url:
        httpx.get(f"{url}/a")
        assert settled(gateway) == {"compared": 1}
        assert verdicts(gateway) == {"equal": 1}


def test_middleware_that_answers_instead_of_the_app_refuses() -> None:
    flask, native = one(lambda: "view", lambda: "native")
    inner = flask.wsgi_app

    def gate(environ: Any, start_response: Any) -> Any:
        if "HTTP_X_KEY" in environ:
            return inner(environ, start_response)
        start_response("200 OK", [("Content-Type", "text/html")])
        return [b"log in"]

    flask.wsgi_app = gate  # type: ignore[method-assign]
    gateway = made(flask, native, {"path": "/a", "cutover": "shadow", "hooks": "skip"})
    with serve(gateway) as url:
        assert httpx.get(f"{url}/a").text == "log in"
        settled(gateway)
    assert verdicts(gateway) == {"opened": 1}


def test_what_the_bridge_refuses_is_no_refusal_of_legacy_s() -> None:
    """413 comes from `legacy.max_body`: no hook has answered, the app was never asked."""
    flask, native = one(lambda: "view", lambda: "native")
    gateway = made(flask, native, {"path": "/a", "cutover": "shadow"}, legacy={"max_body": 3})
    with serve(gateway) as url:
        assert httpx.request("GET", f"{url}/a", content=b"four").status_code == 413
        settled(gateway)
        assert gateway.control.standing() == {}
    assert "opened" not in verdicts(gateway)


@pytest.mark.parametrize(
    ("location", "login", "verdict"),
    [
        ("/login?next=/a", ["/login"], "opened"),
        ("http://127.0.0.1/login", ["/login"], "opened"),
        ("/other", ["/login"], "different"),
        ("/login", None, "different"),  # no Flask-Login here, and nothing configured
    ],
)
def test_a_redirect_to_a_login_page_refuses(
    location: str, login: list[str] | None, verdict: str
) -> None:
    flask, native = one(answering(302, location=location)[0], lambda: "native")
    auth = {} if login is None else {"auth": {"login": login}}
    gateway = made(flask, native, {"path": "/a", "cutover": "shadow"}, **auth)
    with serve(gateway) as url:
        httpx.get(f"{url}/a")
        settled(gateway)
    assert verdicts(gateway) == {verdict: 1}


class _User(UserMixin):  # type: ignore[misc]
    id = "ann"


def test_flask_login_s_login_view_is_known() -> None:
    flask, native = Flask("legacy"), FastAPI(openapi_url=None)
    flask.secret_key = "x"
    manager = LoginManager(flask)
    manager.login_view = "pages.sign_in"
    manager.request_loader(lambda r: _User() if "X-Key" in r.headers else None)
    pages = Blueprint("pages", __name__, url_prefix="/pages")
    pages.add_url_rule("/sign-in", "sign_in", lambda: "form")
    flask.register_blueprint(pages)
    flask.add_url_rule("/a", "a", login_required(lambda: "ok"))
    native.add_api_route("/a", lambda: PlainTextResponse("ok"))
    gateway = made(flask, native, {"path": "/a", "cutover": "shadow"})
    with serve(gateway) as url:
        httpx.get(f"{url}/a", headers=GOOD)
        settled(gateway)
        assert gateway.control.standing() == {}
        assert httpx.get(f"{url}/a").status_code == 302
        settled(gateway, 2)
        assert list(gateway.control.standing()) == ["GET /a"]


def test_a_native_redirect_to_the_login_page_closes() -> None:
    flask, native = one(lambda: "ok", lambda: RedirectResponse("/login", 303))
    gateway = made(flask, native, {"path": "/a", "cutover": "live"}, auth={"login": ["/login"]})
    with serve(gateway) as url:
        httpx.get(f"{url}/a")
        settled(gateway)
        assert side(url, "/a") == "native"
    assert set(verdicts(gateway)) == {"closed"}


@contextlib.contextmanager
def nothing_to_undo() -> Iterator[None]:
    yield


def nothing_written() -> Iterator[Any]:
    yield
    yield False


def test_csrf_s_400_refuses() -> None:
    """FastAPI's handler knows no token: with `hooks: skip` anybody may post."""
    flask, native = Flask("legacy"), FastAPI(openapi_url=None)
    flask.secret_key = "x"
    CSRFProtect(flask)
    flask.add_url_rule("/a", "a", lambda: "ok", methods=["POST"])
    native.add_api_route("/a", lambda: "ok", methods=["POST"])
    here = __name__
    undo = {"rollback": f"{here}:nothing_to_undo", "probe": f"{here}:nothing_written"}
    rule = {"path": "/a", "methods": ["POST"], "cutover": "shadow", "hooks": "skip"}
    gateway = made(flask, native, rule | {"writes": undo})
    with serve(gateway) as url:
        assert httpx.post(f"{url}/a").status_code == 400
        settled(gateway)
        assert list(gateway.control.standing()) == ["POST /a"]


# -- order, and what can't be compared ----------------------------------------------------------


@dataclass
class Once:
    """Lets in the first so many callers, and refuses those who come later; or the reverse."""

    lets_in: int
    then: int = 401
    asked: int = 0
    reverse: bool = False

    def status(self) -> int:
        self.asked += 1
        early = self.asked <= self.lets_in
        return self.then if early is self.reverse else 200


def test_a_session_that_ends_between_the_two_answers_is_raced() -> None:
    """Live: native let the caller in, legacy refuses by now, and so would native."""
    shared = Once(1)
    flask, native = one(
        lambda: Response("x", shared.status()), lambda: PlainTextResponse("x", shared.status())
    )
    gateway = made(flask, native, {"path": "/a", "cutover": "live"})
    with serve(gateway) as url:
        assert httpx.get(f"{url}/a").status_code == 200
        settled(gateway)
        assert shared.asked == 3
        assert gateway.control.standing() == {}
    assert verdicts(gateway) == {"raced": 1}


def test_a_refusal_that_came_first_is_not_asked_again() -> None:
    asked = Once(0)
    flask, native = one(lambda: Response("x", asked.status()), lambda: PlainTextResponse("x"))
    gateway = made(flask, native, {"path": "/a", "cutover": "shadow"})
    with serve(gateway) as url:
        httpx.get(f"{url}/a")
        settled(gateway)
    assert asked.asked == 1
    assert verdicts(gateway) == {"opened": 1}


@pytest.mark.parametrize(("misses", "verdict"), [(1, "raced"), (2, "opened")])
def test_what_was_made_between_the_two_answers_is_raced(misses: int, verdict: str) -> None:
    """Shadow: legacy said 404, and now that it is there, it lets the caller in as well."""
    asked = Once(misses, then=404, reverse=True)
    flask, native = one(lambda: Response("x", asked.status()), lambda: PlainTextResponse("x"))
    gateway = made(flask, native, {"path": "/a", "cutover": "shadow"})
    with serve(gateway) as url:
        httpx.get(f"{url}/a")
        settled(gateway)
    assert asked.asked == 2
    assert verdicts(gateway) == {verdict: 1}


def _long() -> Any:
    return PlainTextResponse("x" * 100_000)


def _events() -> Any:
    async def events() -> Any:
        yield b"data: secret\n\n"
        await asyncio.sleep(3600)

    return StreamingResponse(events(), media_type="text/event-stream")


def _stops() -> Any:
    async def parts() -> Any:
        yield b"secret"
        await asyncio.sleep(3600)

    return StreamingResponse(parts())


@pytest.mark.parametrize("native", [_long, _events, _stops])
def test_who_is_let_in_counts_where_the_body_can_t_be_compared(
    native: Callable[[], Any],
) -> None:
    flask, native_ = one(lambda: Response("no", 401), native)
    rule = {"path": "/a", "cutover": "shadow", "compare": {"max_body": 10_000}}
    gateway = made(flask, native_, rule, mirror={"timeout": 0.3})
    with serve(gateway) as url:
        httpx.get(f"{url}/a")
        settled(gateway)
        assert list(gateway.control.standing()) == ["GET /a"]
    assert verdicts(gateway) == {"opened": 1}


def test_a_long_answer_of_native_s_is_compared_in_who_was_let_in() -> None:
    flask, native_ = one(lambda: Response("no", 401), _long)
    rule = {"path": "/a", "cutover": "live", "compare": {"max_body": 10_000}}
    gateway = made(flask, native_, rule)
    with serve(gateway) as url:
        assert len(httpx.get(f"{url}/a").content) == 100_000
        settled(gateway)
        assert side(url, "/a") == "legacy"
    assert set(verdicts(gateway)) == {"opened"}


def test_long_answers_of_both_sides_are_skipped_as_ever() -> None:
    flask, native_ = one(lambda: "x" * 100_000, _long)
    gateway = made(
        flask, native_, {"path": "/a", "cutover": "live", "compare": {"max_body": 10_000}}
    )
    with serve(gateway) as url:
        httpx.get(f"{url}/a")
        assert settled(gateway) == {"too_long": 1}
    assert verdicts(gateway) == {}


def test_what_is_expected_or_ignored_silences_nothing() -> None:
    flask, native_ = one(lambda: Response("no", 401), lambda: PlainTextResponse("no"))
    rule = {
        "path": "/a",
        "cutover": "shadow",
        "expect": [{"path": "status", "legacy": 401, "native": 200}],
    }
    gateway = made(flask, native_, rule)
    with serve(gateway) as url:
        httpx.get(f"{url}/a")
        settled(gateway)
        assert list(gateway.control.standing()) == ["GET /a"]


# -- what follows -------------------------------------------------------------------------------


def keyed() -> tuple[Flask, FastAPI]:
    """Return a pair of which only legacy asks for the key."""
    flask, native = Flask("legacy"), FastAPI(openapi_url=None)

    def users(id: str = "") -> Any:  # noqa: A002 - Flask calls it so
        return "users" if request.headers.get("X-Key") == "good" else abort(401)

    flask.add_url_rule("/users/<id>", "users", users)
    flask.add_url_rule("/other", "other", lambda: "other")
    native.add_api_route("/users/{id}", lambda: PlainTextResponse("users"))
    native.add_api_route("/other", lambda: PlainTextResponse("other"))
    return flask, native


def rules(cutover: str, **more: Any) -> dict[str, Any]:
    return {"name": "all", "prefix": "/", "cutover": cutover} | more


@pytest.mark.parametrize(
    "rule",
    [
        rules("live"),
        rules("canary", weight=100, sticky=["ip"]),
        rules("canary", weight=100, sticky=["ip"], guardrail={"min_requests": 20}),
    ],
    ids=["live", "canary", "guardrail"],
)
def test_one_is_enough_to_roll_back_and_to_block(
    rule: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    gateway = made(*keyed(), rule)
    with serve(gateway) as url:
        assert side(url, "/users/1", headers=GOOD) == "native"
        settled(gateway)
        assert side(url, "/users/7?token=hunter2") == "native"
        settled(gateway, 2)
        assert httpx.get(f"{url}/users/8").status_code == 401
        wait_until(lambda: gateway.snapshots.current.overrides)
        (override,) = ask(url, "GET", "/overrides").json()["overrides"]
        assert (override["kind"], override["author"], override["route"]) == (
            "rollback",
            "guardrail",
            "all",
        )
        assert override["reason"] == "opened: GET /users/{id}: legacy answered 401, native 200"
        entries = ask(url, "GET", "/audit").json()["entries"]
        assert [(e["action"], e["route"]) for e in entries] == [
            ("rollback", "all"),
            ("block", "GET /users/{id}"),
        ]
        # The rule's other routes may move again; this one may not.
        assert ask(url, "POST", "/clear", json={"route": "all"}).status_code == 200
        assert side(url, "/other") == "native"
        assert side(url, "/users/1", headers=GOOD) == "legacy"
        assert "hunter2" not in caplog.text


def test_shadow_only_blocks() -> None:
    gateway = made(*keyed(), rules("shadow"))
    with serve(gateway) as url:
        httpx.get(f"{url}/users/1")
        wait_until(lambda: ask(url, "GET", "/audit").json()["entries"])
        assert gateway.snapshots.current.overrides == {}
        assert [b.route for b in gateway.snapshots.current.blocks.values()] == [
            "GET /users/{id}",
            "GET /users/{id}",  # and HEAD
        ]


def test_a_canary_mirrors_one_in_a_hundred_by_itself() -> None:
    gateway = Gateway(
        *keyed(),
        {
            "version": 1,
            "routes": [
                {"path": "/users/{id}", "cutover": "canary", "weight": 1, "auth": "native"},
                {"path": "/other", "cutover": "canary", "weight": 1, "auth": "native", "sample": 0},
            ],
        },
        verify_lock=False,
    )
    samples = {r.id: r.mirroring.sample for r in gateway.table.routes if r.mirroring is not None}
    assert samples == {
        "GET /users/{id}": 1.0,
        "HEAD /users/{id}": 1.0,
        "GET /other": 0.0,
        "HEAD /other": 0.0,
    }


@pytest.mark.parametrize("cutover", ["canary", "live", "native"])
def test_a_blocked_route_can_t_be_set(cutover: str) -> None:
    gateway = made(*keyed(), rules("shadow"))
    with serve(gateway) as url:
        httpx.get(f"{url}/users/1")
        settled(gateway)
        body = {"cutover": cutover} | ({"weight": 5} if cutover == "canary" else {})
        answer = ask(url, "POST", "/overrides", json={"route": "GET /users/{id}", **body})
        assert answer.status_code == 422
        assert "legacy answered 401, native 200" in answer.text
        assert "gateway diffs accept 'GET /users/{id}' --reason" in answer.text
        # Its rule has another route, which may move: the blocked one stays.
        answer = ask(url, "POST", "/overrides", json={"route": "all", **body, "weight": None})
        if cutover != "canary":
            assert answer.json()["blocked"] == ["GET /users/{id}"]
            assert side(url, "/users/1", headers=GOOD) == "legacy"
            assert side(url, "/other") == "native"
        for quiet in ("legacy", "shadow"):
            body = {"route": "GET /users/{id}", "cutover": quiet}
            assert ask(url, "POST", "/overrides", json=body).status_code == 200


def test_nobody_reaches_native_on_a_blocked_route(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither a tester nor an override that was there before, nor HEAD."""
    monkeypatch.setenv("TESTER_SECRET", "tester-secret-x")
    gateway = made(*keyed(), rules("live"), tester={"secret_env": "TESTER_SECRET"})
    tester = {"X-Cutover": "native", "X-Cutover-Secret": "tester-secret-x"}
    with serve(gateway) as url:
        assert side(url, "/users/1", headers=GOOD | tester) == "native"
        httpx.head(f"{url}/users/1")
        wait_until(gateway.control.standing)
        for method in ("GET", "HEAD"):
            answer = httpx.request(method, f"{url}/users/1", headers=tester)
            assert (answer.status_code, answer.headers["x-served-by"]) == (401, "legacy")
        reasons = ask(url, "GET", "/metrics").text
        assert 'reason="blocked"' in reasons
    assert Reason.BLOCKED in REASONS


def test_accepting_it_ends_the_block_for_its_release() -> None:
    gateway = made(*keyed(), rules("live"))
    with serve(gateway) as url:
        httpx.get(f"{url}/users/1")
        wait_until(lambda: gateway.snapshots.current.overrides)
        accept = {"route": "GET /users/{id}", "reason": "public by now", "author": "ann"}
        assert ask(url, "POST", "/diffs/accept", json=accept | {"reason": ""}).status_code == 422
        assert ask(url, "POST", "/diffs/accept", json=accept | {"route": "/no"}).status_code == 422
        stale = ask(url, "POST", "/diffs/accept", json=accept, headers={"If-Match": '"x-1"'})
        assert stale.status_code == 412
        revision = gateway.snapshots.current.revision
        done = ask(url, "POST", "/diffs/accept", json=accept, headers={"If-Match": f'"{revision}"'})
        assert done.json()["routes"] == ["GET /users/{id}"]
        entry = ask(url, "GET", "/audit").json()["entries"][0]
        assert (entry["action"], entry["author"], entry["reason"]) == (
            "accept",
            "ann",
            "public by now",
        )
        assert ask(url, "POST", "/clear", json={"route": "all"}).status_code == 200
        # It opens again, which is counted, and what was accepted stays accepted.
        before = verdicts(gateway)["opened"]
        assert side(url, "/users/1") == "native"
        wait_until(lambda: verdicts(gateway)["opened"] > before)
        assert side(url, "/users/1") == "native"
        assert ask(url, "POST", "/diffs/accept", json=accept).json()["routes"] == []


def test_another_release_is_not_accepted(monkeypatch: pytest.MonkeyPatch) -> None:
    first = made(*keyed(), rules("live"))
    with serve(first) as url:
        httpx.get(f"{url}/users/1")
        wait_until(lambda: first.snapshots.current.overrides)
        accept = {"route": "all", "reason": "meant"}
        assert ask(url, "POST", "/diffs/accept", json=accept).status_code == 200
        ask(url, "POST", "/clear", json={"route": "all"})
        assert side(url, "/users/1") == "native"
    monkeypatch.setenv("GATEWAY_RELEASE", "r2")
    second = made(*keyed(), rules("live"))
    with serve(second) as url:
        assert side(url, "/users/1") == "native"
        wait_until(second.control.standing)
        assert second.control.standing()["GET /users/{id}"].releases == ("r1", "r2")


def guarded_natively() -> tuple[Flask, FastAPI]:
    flask, _ = keyed()
    native = FastAPI(openapi_url=None)

    def users(id: str, request: Request) -> Any:  # noqa: A002
        good = request.headers.get("x-key") == "good"
        return PlainTextResponse("users") if good else JSONResponse({}, 401)

    native.add_api_route("/users/{id}", users)
    return flask, native


def test_a_new_release_proves_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    """After 200 comparisons, with one that both refuse; not before, and not without one."""
    rule = {"name": "users", "path": "/users/{id}", "cutover": "live"}
    first = made(*keyed(), rule)
    with serve(first) as url:
        httpx.get(f"{url}/users/1")
        wait_until(lambda: first.snapshots.current.overrides)
        ask(url, "POST", "/clear", json={"route": "users"})
        with httpx.Client(headers=GOOD) as client:  # the same release proves nothing
            for _ in range(5):
                client.get(f"{url}/users/1")
    monkeypatch.setenv("GATEWAY_RELEASE", "r2")
    second = made(*guarded_natively(), rule, mirror={"in_flight": 64})
    second._sharing._every = 0.1
    with serve(second) as url, httpx.Client() as client:
        for number in range(ENOUGH - 1):
            client.get(f"{url}/users/1", headers=GOOD)
            wait_until(lambda number=number: sum(verdicts(second).values()) > number)
        time.sleep(0.3)
        client.get(f"{url}/users/1", headers=GOOD)
        wait_until(lambda: sum(verdicts(second).values()) == ENOUGH)
        time.sleep(0.5)
        assert list(second.control.standing()) == ["GET /users/{id}"]  # nobody was refused
        assert side(url, "/users/1", headers=GOOD) == "legacy"
        client.get(f"{url}/users/1")
        wait_until(lambda: not second.control.standing())
        assert side(url, "/users/1", headers=GOOD) == "native"
        entry = ask(url, "GET", "/audit").json()["entries"][0]
        assert (entry["action"], entry["route"]) == ("unblock", "GET /users/{id}")
        assert "release r2" in entry["reason"]


# -- it stands first ----------------------------------------------------------------------------


def test_it_stands_first_everywhere() -> None:
    flask, native = keyed()
    flask.add_url_rule("/aaa", "aaa", lambda: "one")
    native.add_api_route("/aaa", lambda: PlainTextResponse("two"))
    gateway = made(flask, native, rules("shadow"))
    with serve(gateway) as url:
        first = ask(url, "GET", "/metrics").text
        assert 'gateway_blocked{method="GET",route="/users/{id}"} 0.0' in first
        assert 'gateway_opened_total{method="GET",route="/users/{id}"} 0.0' in first
        httpx.get(f"{url}/users/1?password=hunter2", headers={"Authorization": "Bearer hunter2"})
        settled(gateway)
        httpx.get(f"{url}/aaa")
        settled(gateway, 2)
        gateway._sharing._every = 0.01
        wait_until(lambda: len(ask(url, "GET", "/diffs").json()["samples"]) == 2, 10)
        found = ask(url, "GET", "/diffs").json()
        assert [each["route"] for each in found["routes"]][:2] == ["GET /users/{id}", "GET /aaa"]
        assert found["routes"][0]["blocked"]["what"] == "legacy answered 401, native 200"
        assert found["routes"][0]["blocked"]["releases"] == ["r1"]
        sample = found["samples"][0]
        assert (sample["verdict"], sample["route"]) == ("opened", "GET /users/{id}")
        assert sample["differences"][0] == {
            "path": "who is let in",
            "field": "who is let in",
            "legacy": "401",
            "native": "200",
            "kind": "changed",
            "note": "",
        }
        row = ask(url, "GET", "/status").json()["routes"][0]
        assert (row["route"], row["opened"], row["different"]) == ("GET /users/{id}", 1, 1)
        assert row["blocked"]["what"] == "legacy answered 401, native 200"
        text = ask(url, "GET", "/metrics").text
        assert 'gateway_blocked{method="GET",route="/users/{id}"} 1.0' in text
        assert 'gateway_opened_total{method="GET",route="/users/{id}"} 1.0' in text
        assert 'gateway_blocked{method="GET",route="/aaa"} 0.0' in text
        assert "hunter2" not in str(found) + text


# -- the command --------------------------------------------------------------------------------


def command(*words: str) -> Result:
    return CliRunner().invoke(app, [*words])


def test_the_command_shows_it_first_and_ends_it(tmp_path: Path) -> None:
    gateway = made(*keyed(), rules("shadow"))
    config = tmp_path / "gateway.yaml"
    config.write_text("version: 1\nadmin: {token_env: GATEWAY_ADMIN_TOKEN}\n")
    with serve(gateway) as url:
        where = ("--url", url, "--config", str(config))
        assert command("diffs", *where).exit_code == 0
        httpx.get(f"{url}/users/1")
        settled(gateway)
        found = command("diffs", *where)
        assert found.exit_code == 1
        assert "1 opened" in found.output
        assert "legacy answered 401, native 200; mend native and deploy it" in found.output
        status = command("status", *where).output
        assert "BLOCKED GET /users/{id}: legacy answered 401, native 200" in status
        assert "1 times" in status
        page = tmp_path / "page.html"
        assert command("diffs", "--html", str(page), *where).exit_code == 1
        assert "Blocked: legacy answered 401, native 200." in page.read_text()
        moved = command("set", "GET /users/{id}", "native", *where)
        assert moved.exit_code == 1
        both = command("set", "all", "native", *where)
        assert "GET /users/{id}: blocked, legacy serves it" in both.output
        for words, said in (
            (["accept"], "name the route"),
            (["accept", "GET /users/{id}"], "say why native may let in whom legacy refuses"),
            (["accept", "GET /users/{id}", "--reason", " "], "say why native may let in"),
            (["GET", "/users/{id}"], "one route at a time"),
            (["accept", "all", "--since", "1h", "--reason", "x"], "have no meaning"),
            (["all", "--reason", "x"], "are for `gateway diffs accept ROUTE`"),
        ):
            wrong = command("diffs", *words, *where)
            assert wrong.exit_code in (1, 2)
            assert said in wrong.output
        done = command("diffs", "accept", "GET /users/{id}", "--reason", "meant", *where)
        assert done.exit_code == 0
        assert "GET /users/{id}: blocked no more" in done.output
        assert "if it was rolled back as well: gateway clear 'GET /users/{id}'" in done.output
        assert side(url, "/users/1", headers=GOOD) == "native"


def test_the_command_ends_it_in_the_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "opened_apps.py").write_text(APPS)
    config = tmp_path / "gateway.yaml"
    config.write_text(CONFIG.replace("live_apps", "opened_apps").replace("CUTOVER", "live"))
    monkeypatch.syspath_prepend(str(tmp_path))
    gateway = Gateway(config=config, verify_lock=False)
    where = ("--config", str(config))
    with serve(gateway) as url:
        httpx.get(f"{url}/a")
        wait_until(lambda: gateway.snapshots.current.overrides)
        assert "legacy answered 401, native 200" in command("diffs", *where).output
        assert "BLOCKED GET /a" in command("status", *where).output
        matched = command("match", "GET", "/a", *where)
        assert matched.exit_code == 0
        done = command("diffs", "accept", "a", "--reason", "meant", *where)
        assert done.exit_code == 0
        command("clear", "a", *where)
        wait_until(lambda: side(url, "/a", headers=GOOD) == "native", 3)


# -- stores, workers, outages, files ------------------------------------------------------------

APPS = """
from pathlib import Path
from fastapi import FastAPI
from flask import Flask, abort, request

flask, native = Flask("legacy"), FastAPI(openapi_url=None)
flask.add_url_rule("/a", "a", lambda: "a" if "X-Key" in request.headers else abort(401))
native.add_api_route("/a", lambda: "a")
"""
CONFIG = """\
version: 1
legacy: {app: "live_apps:flask", threads: 4}
native: {app: "live_apps:native"}
admin: {token_env: GATEWAY_ADMIN_TOKEN}
served_by: true
routes: [{name: a, path: /a, cutover: CUTOVER, auth: none}]
"""


@contextlib.contextmanager
def process(
    folder: Path, *flags: str, cutover: str = "live", setup: str = "", **environ: str
) -> Iterator[Server]:
    (folder / "live_apps.py").write_text(APPS + setup)
    config = CONFIG.replace("CUTOVER", cutover)
    more = {"TMPDIR": str(folder), "GATEWAY_RELEASE": "r1"} | environ
    with server(folder, *flags, config=config, **more) as running:
        yield running


def sides(running: Server, number: int = 12) -> set[str]:
    """Ask over a connection each, so that all workers are asked; return who answered."""
    found = set()
    for _ in range(number):
        with contextlib.closing(
            http.client.HTTPConnection(running.url.removeprefix("http://"), timeout=20)
        ) as connection:
            connection.request("GET", "/a", headers=GOOD)
            answer = connection.getresponse()
            answer.read()
            found.add(answer.headers["x-served-by"])
    return found


@pytest.mark.parametrize("kind", ["sqlite", "redis"])
def test_all_workers_leave_it_to_legacy_within_a_second(kind: str, tmp_path: Path) -> None:
    with contextlib.ExitStack() as stack:
        state = f"sqlite:///{tmp_path}/state.db"
        if kind == "redis":
            state = stack.enter_context(redis_server(tmp_path))
        running = stack.enter_context(process(tmp_path, "--workers", "2", GATEWAY_STATE=state))
        assert sides(running) == {"native"}
        httpx.get(f"{running.url}/a")
        time.sleep(1.0)
        assert sides(running) == {"legacy"}
        # The file that would move it is read again: it stays.
        config = tmp_path / "gateway.yaml"
        config.write_text(config.read_text().replace("live", "native"))
        running.post("/reload", {})
        running.post("/clear", {"route": "a"})
        assert sides(running) == {"legacy"}
        table = running.ask("GET", "/status").json()["routes"][0]
        assert (table["cutover"], table["blocked"]["releases"]) == ("native", ["r1"])
        refused = running.ask("POST", "/overrides", json={"route": "a", "cutover": "native"})
        assert refused.status_code == 422
        running.post("/diffs/accept", {"route": "a", "reason": "meant"})
        wait_until(lambda: sides(running) == {"native"}, 3)


@pytest.mark.parametrize("when", ["at import", "in a view"])
def test_the_log_tells_although_the_app_sets_up_logging(when: str, tmp_path: Path) -> None:
    """`dictConfig`, and Alembic's `fileConfig`, turn off every logger that they don't name."""
    setup = "import logging.config\nset_up = lambda: logging.config.dictConfig({'version': 1})\n"
    setup += "set_up()\n" if when == "at import" else "flask.before_request(set_up)\n"
    with process(tmp_path, setup=setup, cutover="shadow") as running:
        httpx.get(f"{running.url}/a")
        wait_until(lambda: "GET /a opened: legacy answered 401, native 200" in running.log())


def test_a_worker_keeps_the_block_while_the_store_is_down(tmp_path: Path) -> None:
    """It is in force at once, for whoever starts meanwhile, and written once the store is back."""
    with contextlib.ExitStack() as stack:
        redis = stack.enter_context(contextlib.ExitStack())
        state = redis.enter_context(redis_server(tmp_path))
        port = int(state.rpartition(":")[2])
        with process(tmp_path, GATEWAY_STATE=state) as running:
            assert sides(running, 2) == {"native"}
            redis.close()
            httpx.get(f"{running.url}/a")
            wait_until(lambda: sides(running, 1) == {"legacy"}, 3)
            assert running.ask("GET", "/diffs").json()["routes"][0]["blocked"]
            wait_until(lambda: list((tmp_path / f"gateway-{os.getuid()}").rglob("*.block")), 5)
        with process(tmp_path, GATEWAY_STATE=state) as running:
            assert sides(running, 2) == {"legacy"}
            redis.enter_context(redis_server(tmp_path, port))
            wait_until(lambda: running.ask("GET", "/audit").status_code == 200, 10)
            entries = running.ask("GET", "/audit").json()["entries"]
            wait_until(lambda: running.ask("GET", "/audit").json()["entries"], 5)
            entries = running.ask("GET", "/audit").json()["entries"]
            assert ("block", "GET /a") in [(e["action"], e["route"]) for e in entries]
            assert sides(running, 2) == {"legacy"}
            wait_until(lambda: not list((tmp_path / f"gateway-{os.getuid()}").rglob("*.block")), 5)


def test_a_store_that_lost_the_block_gets_it_back() -> None:
    gateway = made(*keyed(), rules("live"))
    file = Path(os.environ["GATEWAY_STATE"].removeprefix("sqlite:///"))
    with serve(gateway) as url:
        httpx.get(f"{url}/users/1")
        wait_until(lambda: gateway.snapshots.current.overrides)
        for each in file.parent.glob(f"{file.name}*"):
            each.unlink()
        wait_until(file.exists)
        wait_until(lambda: gateway.control.store.twin().read().blocks)
        assert side(url, "/users/1", headers=GOOD) == "legacy"
