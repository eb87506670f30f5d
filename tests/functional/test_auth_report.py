"""`gateway routes --auth` against what a stranger is really answered."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.functional.live import server

pytestmark = pytest.mark.network

ROOT = Path(__file__).parents[2]

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
  - {path: /moved, cutover: native, auth: none}
  - {path: /skipped, cutover: native, auth: none, hooks: skip}
  - {path: /shared, cutover: native, auth: shared}
  - {path: /flaskroute, cutover: native, auth: none, hooks: skip}
  - {path: /bearer, cutover: native, hooks: skip, auth: native, owner: payments-team}
  - {path: /softbearer, cutover: native, auth: none, hooks: skip}
  - {path: /ownmoved, cutover: native, auth: none}
  - {path: /login, cutover: native, auth: native}
  - {path: /user, cutover: native, auth: none}
  - {path: /session, cutover: native, auth: none}
  - {path: /body, cutover: native, auth: native}
  - {path: /app-wide, cutover: native, auth: native}
  - {path: /canary, cutover: canary, weight: 100, auth: none, sticky: [ip]}
  - {path: /staffmoved, cutover: native, auth: none}
  - {path: /staffskipped, cutover: native, auth: none, hooks: skip}
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
    path = f"{folder}{os.pathsep}{ROOT}"
    return subprocess.run(
        [sys.executable, "-m", "gateway", *words],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": path, "COLUMNS": "250", **environ},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def report(folder: Path, *words: str, **environ: str) -> dict[str, dict[str, Any]]:
    done = gateway(folder, "routes", "--auth", "--json", *words, "gateway.yaml", **environ)
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
    told = {path: row["verdict"] in ("nothing", "identifies") for path, row in rows.items()}
    assert told == {path: status == 200 for path, status in answered.items()}
    assert {row["verdict"] for row in rows.values()} <= {"nothing", "identifies", "refuses"}


def test_the_report_names_what_refuses_and_what_no_longer_does(tmp_path: Path) -> None:
    (tmp_path / "live_apps.py").write_text(APPS)
    (tmp_path / "gateway.yaml").write_text(CONFIG)
    rows = report(tmp_path, KIND="hooks")
    hook = "live_apps.only_known (app)"
    assert refuses(rows["/alone"], "native") == [hook]
    assert refuses(rows["/docs"], "native") == [hook]
    assert refuses(rows["/staffmoved"], "native") == [hook, "live_apps.only_staff (staff)"]
    assert rows["/skipped"]["lost"] == [hook]
    assert refuses(rows["/shared"], "native") == ["the shared guard", hook]
    assert "the dependency fastapi.security.http.HTTPBearer" in refuses(rows["/bearer"], "native")
    assert refuses(rows["/own"], "legacy")[1].startswith(
        "the view itself: is decorated by flask_login.utils.login_required"
    )
    rows = report(tmp_path, KIND="none")
    assert set(rows["/canary"]["sides"]) == {"native", "legacy"}
    assert rows["/canary"]["verdict"] == "nothing"
    assert refuses(rows["/canary"], "legacy") != []


def refuses(row: dict[str, Any], side: str) -> list[str]:
    found: list[str] = row["sides"][side]["refuses"]
    return found


def test_the_table_fits_80_columns_and_counts_its_rows(tmp_path: Path) -> None:
    (tmp_path / "live_apps.py").write_text(APPS)
    (tmp_path / "gateway.yaml").write_text(CONFIG)
    done = gateway(tmp_path, "routes", "--auth", "gateway.yaml", KIND="none", COLUMNS="80")
    table, _, footer = done.stdout.rpartition("\n\n")
    assert max(len(line) for line in table.splitlines()) <= 80
    assert table.split()[:4] == ["ROUTE", "REFUSES", "PERHAPS", "IDENTIFIES"]
    rows = report(tmp_path, KIND="none").values()
    verdicts = [row["verdict"] for row in rows]
    assert footer == (
        f"{len(rows)} routes: {verdicts.count('refuses')} refuses, 0 perhaps, 0 unknown, "
        f"0 identifies, {verdicts.count('nothing')} open\n"
    )


def test_filter_takes_parts_and_patterns(tmp_path: Path) -> None:
    (tmp_path / "live_apps.py").write_text(APPS)
    (tmp_path / "gateway.yaml").write_text(CONFIG)

    def listed(wanted: str) -> set[str]:
        return set(report(tmp_path, "--filter", wanted, KIND="none"))

    assert listed("STAFF") == {"/staff", "/staffmoved", "/staffskipped"}
    assert listed("*moved") == {"/moved", "/ownmoved", "/staffmoved"}
    assert listed("payments-team") == {"/bearer"}
    assert listed("no such thing") == set()


def test_a_hook_that_only_identifies_guards_nothing(tmp_path: Path) -> None:
    (tmp_path / "live_apps.py").write_text(
        """
import hmac
from flask import Flask, g, request

flask = Flask("legacy")


@flask.before_request
def client() -> None:
    given = request.headers.get("X-Key", "")
    g.client = "shop" if hmac.compare_digest(given, "secret") else None


@flask.get("/open")
def view():
    return "open"
"""
    )
    config = "version: 1\nlegacy: {app: 'live_apps:flask'}\n"
    (tmp_path / "gateway.yaml").write_text(config)
    row = report(tmp_path)["/open"]
    assert row["verdict"] == "identifies"
    assert row["sides"]["legacy"] == {
        "refuses": [],
        "perhaps": [],
        "identifies": ["live_apps.client (app)"],
        "unknown": "",
    }


def test_the_table_is_shown_beside_errors(tmp_path: Path) -> None:
    (tmp_path / "live_apps.py").write_text(APPS)
    wrong = CONFIG.replace("{path: /moved, cutover: native, auth: none}",
                           "{path: /moved, cutover: native}")  # fmt: skip
    (tmp_path / "gateway.yaml").write_text(wrong)
    done = gateway(tmp_path, "routes", "--auth", "gateway.yaml", KIND="none")
    assert done.returncode == 1
    assert done.stderr == "gateway: 1 error: see gateway check\n"
    assert "kept on legacy" in done.stdout


def test_match_shows_the_hooks_around_a_native_only_route(tmp_path: Path) -> None:
    (tmp_path / "live_apps.py").write_text(APPS)
    (tmp_path / "gateway.yaml").write_text(CONFIG)

    def match(path: str) -> str:
        words = ("match", "GET", path, "--config", "gateway.yaml")
        return gateway(tmp_path, *words, KIND="hooks").stdout

    assert "  hooks     of Flask run around it: live_apps.only_known (app)" in match("/docs")
    assert "  hooks     skipped (hooks: skip)\n" in match("/aloneskipped")
    assert "live_apps.only_known (app)" in match("/flaskroute")
    assert "  auth      none; can refuse: live_apps.only_known (app)" in match("/user")
