"""`gateway routes --auth` against what a stranger is really answered."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from tests.functional.live import server

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.network

#: Both apps have each path below; the rules say who serves it. `?as=ann` makes one known.
APPS = """
import os
from typing import Annotated, Any

from fastapi import APIRouter, Depends, FastAPI, HTTPException, Request, Response, Security
from fastapi.security import HTTPBearer
from flask import Blueprint, Flask, abort, request
from flask_login import LoginManager, login_required, UserMixin

from gateway.flask import (
    CurrentFlaskUser, FlaskRoute, FlaskSession, FlaskUrlFor, ReadOnlyFlaskSession, flask_login,
)

flask = Flask("legacy")
flask.secret_key = "s"
LoginManager(flask).user_loader(lambda name: None)

if os.environ["KIND"] == "hooks":

    @flask.before_request
    def only_known():
        if request.args.get("as") != "ann":
            abort(401)

if os.environ["KIND"] == "middleware":

    class Gate:
        def __init__(self, app):
            self.app = app

        def __call__(self, environ, start_response):
            if "as=ann" in environ["QUERY_STRING"]:
                return self.app(environ, start_response)
            start_response("401 Unauthorized", [])
            return [b""]

    flask.wsgi_app = Gate(flask.wsgi_app)

staff = Blueprint("staff", __name__)


@staff.before_request
def only_staff():
    if request.args.get("as") != "ann":
        return "who?", 403


def view():
    return "legacy"


for name in ("plain", "moved", "skipped", "shared", "flaskroute", "bearer", "softbearer"):
    flask.add_url_rule(f"/{name}", name, view)
for name in ("own", "ownmoved", "login", "user", "session", "body", "app-wide", "canary"):
    flask.add_url_rule(f"/{name}", name, login_required(view))
for name in ("staff", "staffmoved", "staffskipped"):
    staff.add_url_rule(f"/{name}", name, view)
flask.register_blueprint(staff)


def verify(request: Request) -> dict[str, str]:
    if "authorization" not in request.headers:
        raise HTTPException(401)
    return {"sub": "ann"}


native = FastAPI()
guarded = APIRouter(dependencies=[Depends(verify)])
inside = APIRouter(route_class=FlaskRoute)


def plain() -> str:
    return "native"


for name in ("moved", "skipped", "shared", "ownmoved", "staffmoved", "staffskipped", "alone",
             "aloneskipped", "aloneshared", "canary"):
    native.add_api_route(f"/{name}", plain)
inside.add_api_route("/flaskroute", plain)
guarded.add_api_route("/app-wide", plain)
native.add_api_route("/bearer", plain, dependencies=[Depends(HTTPBearer())])
native.add_api_route("/softbearer", plain, dependencies=[Security(HTTPBearer(auto_error=False))])
native.add_api_route("/login", plain, dependencies=[Depends(flask_login)])


@native.get("/user")
def user(known: CurrentFlaskUser, link: FlaskUrlFor) -> str:
    return "native"


@native.get("/session")
def session(held: FlaskSession, read: ReadOnlyFlaskSession) -> str:
    return "native"


@native.get("/body")
def body(known: CurrentFlaskUser) -> str:
    if known is None:
        raise HTTPException(status_code=401)
    return "native"


native.include_router(guarded)
native.include_router(inside)
"""
CONFIG = """\
version: 1
legacy: {app: "live_apps:flask", threads: 8}
native: {app: "live_apps:native"}
auth: {dependency: "live_apps:verify", id: sub}
routes:
  - {path: /moved, cutover: native}
  - {path: /skipped, cutover: native, hooks: skip}
  - {path: /shared, cutover: native, auth: shared}
  - {path: /flaskroute, cutover: native, hooks: skip}
  - {path: /bearer, cutover: native, hooks: skip, auth: native}
  - {path: /softbearer, cutover: native, hooks: skip, auth: native}
  - {path: /ownmoved, cutover: native, auth: none}
  - {path: /login, cutover: native, auth: native}
  - {path: /user, cutover: native, auth: native}
  - {path: /session, cutover: native, auth: native}
  - {path: /body, cutover: native, auth: native}
  - {path: /app-wide, cutover: native, auth: native}
  - {path: /canary, cutover: canary, weight: 100, auth: native, sticky: [ip]}
  - {path: /staffmoved, cutover: native}
  - {path: /staffskipped, cutover: native, hooks: skip}
  - {path: /aloneskipped, cutover: native, hooks: skip}
  - {path: /aloneshared, cutover: native, hooks: skip, auth: shared}
"""
OPEN = {
    "none": {
        "/plain", "/moved", "/skipped", "/flaskroute", "/softbearer", "/ownmoved", "/user",
        "/session", "/canary", "/staffskipped", "/alone", "/aloneskipped",
        "/docs", "/docs/oauth2-redirect", "/openapi.json", "/redoc",
    },
    "hooks": {"/skipped", "/softbearer", "/staffskipped", "/aloneskipped"},
    "middleware": {"/skipped", "/softbearer", "/staffskipped", "/aloneskipped"},
}  # fmt: skip


def gateway(folder: Path, *words: str, **environ: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "gateway", *words],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(folder), "COLUMNS": "250", **environ},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def report(folder: Path, **environ: str) -> dict[str, dict[str, Any]]:
    done = gateway(folder, "routes", "--auth", "--json", "gateway.yaml", **environ)
    assert done.returncode == 0, done.stderr
    rows = json.loads(done.stdout)["routes"]
    return {row["route"].removeprefix("GET "): row for row in rows}


@pytest.mark.parametrize("kind", ["none", "hooks", "middleware"])
def test_the_report_says_what_a_stranger_is_answered(tmp_path: Path, kind: str) -> None:
    (tmp_path / "live_apps.py").write_text(APPS)
    with server(tmp_path, config=CONFIG, KIND=kind) as running:
        rows = report(tmp_path, KIND=kind)
        del rows["/static/{filename:path}"]
        answered = {path: httpx.get(running.url + path).status_code for path in rows}
    # Older FastAPI refuses a missing token with 403; where hooks refuse, Flask says 401.
    assert set(answered.values()) <= {200, 401, 403}
    assert {path for path, status in answered.items() if status == 200} == OPEN[kind]
    told = {path: row["verdict"] for path, row in rows.items()}
    assert told == {
        path: "nobody" if status == 200 else "guarded" for path, status in answered.items()
    }


def test_the_report_names_what_refuses_and_what_no_longer_does(tmp_path: Path) -> None:
    (tmp_path / "live_apps.py").write_text(APPS)
    (tmp_path / "gateway.yaml").write_text(CONFIG)
    rows = report(tmp_path, KIND="hooks")
    hook = "live_apps.only_known (app)"
    assert rows["/alone"]["can_refuse"] == {"native": [hook]}
    assert rows["/docs"]["can_refuse"] == {"native": [hook]}
    assert rows["/staffmoved"]["can_refuse"] == {"native": [hook, "live_apps.only_staff (staff)"]}
    assert rows["/skipped"]["lost"] == [hook]
    assert rows["/shared"]["can_refuse"] == {"native": ["the shared guard", hook]}
    assert rows["/bearer"]["dependencies"] == ["the dependency fastapi.security.http.HTTPBearer"]
    assert rows["/user"]["dependencies"] == []
    assert rows["/session"]["dependencies"] == []
    assert rows["/own"]["can_refuse"]["legacy"][1].startswith(
        "the view itself: is decorated by flask_login.utils.login_required"
    )
    rows = report(tmp_path, KIND="none")
    assert set(rows["/canary"]["can_refuse"]) == {"native", "legacy"}
    assert rows["/canary"]["verdict"] == "nobody"


def test_the_footer_counts_the_rows(tmp_path: Path) -> None:
    (tmp_path / "live_apps.py").write_text(APPS)
    (tmp_path / "gateway.yaml").write_text(CONFIG)
    text = gateway(tmp_path, "routes", "--auth", "gateway.yaml", KIND="none").stdout
    rows = report(tmp_path, KIND="none").values()
    verdicts = [row["verdict"] for row in rows]
    nobody, guarded = verdicts.count("nobody"), verdicts.count("guarded")
    assert text.endswith(
        f"\n{len(rows)} routes: {guarded} guarded, 0 perhaps, 0 unknown, "
        f"{nobody} guarded by nobody\n"
    )
    # A canary has a line for each side.
    assert text.count("nobody") == nobody + 1


def test_check_warns_of_a_handler_that_refuses_nobody(tmp_path: Path) -> None:
    (tmp_path / "live_apps.py").write_text(APPS)
    (tmp_path / "gateway.yaml").write_text(CONFIG)
    done = gateway(tmp_path, "check", "gateway.yaml", KIND="hooks")
    assert done.returncode == 0
    warned = [line for line in done.stderr.splitlines() if "[guards-nobody]" in line]
    assert [line.split(": ")[3] for line in warned] == ["GET /user", "GET /session", "GET /canary"]
    assert warned[0].startswith(
        "gateway.yaml:14: warning: routes[8].auth: GET /user: the legacy view may"
    )
    assert "Depends(flask_login)" in warned[0]


def test_check_warns_of_a_shared_guard_that_refuses_nobody(tmp_path: Path) -> None:
    (tmp_path / "live_apps.py").write_text(APPS)
    config = CONFIG.replace("live_apps:verify", "gateway.flask:flask_user")
    (tmp_path / "gateway.yaml").write_text(config)
    done = gateway(tmp_path, "check", "gateway.yaml", KIND="none")
    assert "gateway.yaml:4: warning: auth.dependency: it refuses nobody" in done.stderr
    assert report(tmp_path, KIND="none")["/aloneshared"]["verdict"] == "nobody"


def test_match_shows_the_hooks_around_a_native_only_route(tmp_path: Path) -> None:
    (tmp_path / "live_apps.py").write_text(APPS)
    (tmp_path / "gateway.yaml").write_text(CONFIG)

    def match(path: str) -> str:
        words = ("match", "GET", path, "--config", "gateway.yaml")
        return gateway(tmp_path, *words, KIND="hooks").stdout

    assert "  hooks     of Flask run around it: live_apps.only_known (app)\n" in match("/docs")
    assert "  hooks     skipped (hooks: skip)\n" in match("/aloneskipped")
    assert "live_apps.only_known (app)" in match("/flaskroute")
    assert "  auth      left to the native handler; can refuse: live_apps.only" in match("/user")
