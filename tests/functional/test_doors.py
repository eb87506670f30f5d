"""Every door has the same lock: what `check` refuses is refused at run time as well (F1 10)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import httpx
import pytest
from fastapi import FastAPI
from flask import Flask, abort, request

from gateway import Gateway
from tests.functional.servers import serve
from tests.functional.test_fail_closed import TOKEN, Seen, admin_app, admin_twin, ask, guard, moved

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.network

ADMIN_TOKEN = "a-token-of-thirty-two-characters"
RIGHT = {"Authorization": f"Bearer {ADMIN_TOKEN}"}
#: Rules that serve legacy, over a handler that guards nobody, and what `check` says of moving them.
WAITING: dict[str, tuple[dict[str, Any], str]] = {
    "native": ({"path": "/admin/users", "auth": "native"}, "guards-nobody"),
    "unsaid": ({"path": "/admin/users"}, "auth-missing"),
    "hooks": ({"path": "/admin/itself", "auth": "hooks"}, "guards-itself"),
    "shared": ({"path": "/admin/users", "auth": "shared"}, "guards-nobody"),
    "prefix": ({"prefix": "/admin", "auth": "hooks"}, "guards-itself"),
    "blueprint": ({"blueprint": "admin", "auth": "native"}, "guards-nobody"),
    "shadow": ({"path": "/admin/users", "auth": "native", "cutover": "shadow"}, "guards-nobody"),
}


async def anybody() -> dict[str, str]:
    return {"sub": "anybody"}


def waiting(seen: Seen, rule: dict[str, Any], **more: Any) -> Gateway:
    app, native = admin_app("app"), admin_twin(seen)

    @app.get("/admin/itself")
    def itself() -> str:
        if request.headers.get("X-Role") != "admin":
            abort(403)
        return "legacy itself"

    @native.get("/admin/itself")
    async def twin() -> str:
        seen.ran.append("itself")
        return "native itself"

    said = {
        "auth": {"dependency": f"{__name__}:anybody", "id": "sub"},
        "admin": {"token_env": "GATEWAY_TEST_TOKEN"},
        "state": "memory://",
    }
    return moved(app, native, seen, {"cutover": "legacy", "name": "it", **rule}, **said | more)


@pytest.mark.parametrize("name", WAITING)
@pytest.mark.parametrize("cutover", ["native", "live", "canary"])
def test_set_refuses_what_check_refuses(
    name: str, cutover: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GATEWAY_TEST_TOKEN", ADMIN_TOKEN)
    seen, (rule, code) = Seen(), WAITING[name]
    wanted: dict[str, Any] = {"route": "it", "cutover": cutover, "reason": "now"}
    wanted |= {"weight": 100} if cutover == "canary" else {}
    with serve(waiting(seen, rule)) as url:
        done = httpx.post(f"{url}/-/overrides", json=wanted, headers=RIGHT)
        assert done.status_code == 409, done.text
        assert code in done.text
        for path in ("/admin/users", "/admin/itself"):
            answer = ask(url, f"GET {path} HTTP/1.1\nHost: ok\n{TOKEN}\nX-Role: admin")
            assert answer[1].startswith(b"legacy")
            assert ask(url, f"DELETE {path} HTTP/1.1\nHost: ok")[0] in (401, 405)
        assert httpx.get(f"{url}/-/overrides", headers=RIGHT).json()["overrides"] == []
    assert "shadow" in name or seen.ran == []


def test_no_order_of_allowed_changes_opens_what_one_may_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Under the kill switch, and with the switch taken away again, nothing has moved."""
    monkeypatch.setenv("GATEWAY_TEST_TOKEN", ADMIN_TOKEN)
    seen = Seen()
    with serve(waiting(seen, WAITING["native"][0])) as url:

        def post(page: str, **body: Any) -> int:
            body["reason"] = "a test"
            return httpx.post(f"{url}/-{page}", json=body, headers=RIGHT).status_code

        assert post("/overrides", all=True, cutover="legacy") == 200
        assert post("/overrides", route="it", cutover="native") == 409
        assert post("/overrides", route="it", cutover="shadow") == 200
        assert post("/overrides", route="it", cutover="native") == 409
        assert post("/clear", all=True) == 200
        assert ask(url, f"DELETE /admin/users HTTP/1.1\nHost: ok\n{TOKEN}") == (
            200,
            b"legacy users",
        )
    assert seen.ran == []


def test_a_reload_moves_nothing_that_check_refuses(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GATEWAY_TEST_TOKEN", ADMIN_TOKEN)
    seen, file = Seen(), tmp_path / "gateway.yaml"
    text = (
        "version: 1\nadmin: {token_env: GATEWAY_TEST_TOKEN}\nroutes:\n"
        "  - {path: /admin/users, cutover: legacy, auth: native}\n"
    )
    file.write_text(text)
    gateway = Gateway(admin_app(), admin_twin(seen), file, observers=[seen], verify_lock=False)
    with serve(gateway) as url:
        file.write_text(text.replace("cutover: legacy", "cutover: native"))
        assert httpx.post(f"{url}/-/reload", headers=RIGHT).status_code == 200
        assert any(each.code == "guards-nobody" for each in gateway.snapshots.current.warnings)
        asked = f"DELETE /admin/users HTTP/1.1\nHost: ok\n{TOKEN}"
        assert ask(url, asked) == (200, b"legacy users")
        assert ask(url, "DELETE /admin/users HTTP/1.1\nHost: ok")[0] == 401
    assert seen.ran == []


def test_a_canary_with_a_guardrail_takes_no_step_that_check_refuses() -> None:
    rail = {"min_requests": 1, "steps": [50, 100], "interval": "1s"}
    rule = {"path": "/admin/users", "cutover": "canary", "weight": 100, "auth": "native"}
    rule |= {"guardrail": rail, "sticky": ["ip"]}
    with serve(moved(admin_app(), admin_twin(Seen()), Seen(), rule)) as url:
        for _ in range(5):
            asked = f"GET /admin/users HTTP/1.1\nHost: ok\n{TOKEN}"
            assert ask(url, asked) == (200, b"legacy users")
        assert ask(url, "GET /admin/users HTTP/1.1\nHost: ok")[0] == 401


def test_defaults_that_move_everything_move_nothing_that_is_not_said() -> None:
    seen = Seen()
    defaults = {"cutover": "native"}
    app, native = Flask("legacy"), FastAPI()
    app.before_request(guard)
    app.add_url_rule("/x", "x", lambda: "legacy x")
    native.add_api_route("/x", lambda: seen.ran.append("x"), methods=["GET"])
    with serve(moved(app, native, seen, defaults=defaults)) as url:
        assert ask(url, f"GET /x HTTP/1.1\nHost: ok\n{TOKEN}") == (200, b"legacy x")
        assert ask(url, "GET /x HTTP/1.1\nHost: ok")[0] == 401
    assert seen.ran == []
