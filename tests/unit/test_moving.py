"""May native answer a route that Flask has? What isn't said is refused, and what is accepted holds
for the routes that it was written for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from fastapi import Depends, FastAPI, HTTPException
from fastapi.security import HTTPBasic
from flask import Blueprint, Flask, abort, request
from werkzeug.local import LocalProxy

from gateway import Gateway
from gateway.cutover import decide
from gateway.exceptions import ConfigError
from gateway.loading import load
from gateway.lock import write_lock
from gateway.proofs import Proof, guard_text, write_proofs
from gateway.routing import scope_of

if TYPE_CHECKING:
    from pathlib import Path

GUARD = {"auth": {"dependency": "tests.apps.guards:verify_token", "id": "sub", "scopes": "scope"}}
OPEN_GUARD = {"auth": {"dependency": "tests.unit.test_moving:nobody_refused"}}


async def nobody_refused() -> str:
    return "somebody"


#: Nobody can tell from its code what calling it does.
desk: Any = LocalProxy(lambda: Flask("desk"))


def legacy(*, guarded: bool = True) -> Flask:
    app = Flask("legacy")
    blueprint = Blueprint("desk", "desk")
    if guarded:

        @blueprint.before_request
        def check() -> None:
            if request.headers.get("X-Token") != "t":
                abort(401)

    @blueprint.get("/plain")
    def plain() -> str:
        return "plain"

    @blueprint.get("/itself")
    def itself() -> str:
        if request.headers.get("X-Role") != "admin":
            abort(403)
        return "itself"

    @blueprint.get("/unclear")
    def unclear() -> str:
        return str(desk.report())

    @blueprint.get("/unclear/too")
    def unclear_too() -> str:
        return str(desk.report())

    app.register_blueprint(blueprint)
    return app


def twin(**more: Any) -> FastAPI:
    app = FastAPI(openapi_url=None)
    for path in ("/plain", "/itself", "/unclear", "/unclear/too"):
        app.add_api_route(path, lambda: "native", methods=["GET"], **more)
    return app


def codes(gateway: Gateway, path: str) -> list[str]:
    route = next(each for each in gateway.table.routes if each.id == f"GET {path}")
    return [finding.code for finding in route.findings]


def made(path: str, flask: Flask, native: FastAPI, **said: Any) -> Gateway:
    config = {key: said.pop(key) for key in ("auth_section",) if key in said}
    whole: dict[str, Any] = {"version": 1, **config.get("auth_section", {})}
    whole["routes"] = [{"path": path, "cutover": "native", **said}]
    return Gateway(flask, native, whole, verify_lock=False)


@pytest.mark.parametrize(
    ("path", "guarded", "found"),
    [
        ("/plain", True, []),
        ("/plain", False, ["hooks-guard-nobody"]),
        ("/itself", True, ["guards-itself"]),
        ("/itself", False, ["hooks-guard-nobody", "guards-itself"]),
        ("/unclear", True, ["may-guard-itself"]),
    ],
)
def test_hooks_are_enough_where_the_view_asks_nobody_else(
    path: str, guarded: bool, found: list[str]
) -> None:
    assert codes(made(path, legacy(guarded=guarded), twin(), auth="hooks"), path) == found


def test_hooks_that_are_skipped_guard_nothing() -> None:
    with pytest.raises(ConfigError) as caught:
        made("/plain", legacy(), twin(), auth="hooks", hooks="skip")
    assert [each.code for each in caught.value.problems if each.fatal] == ["hooks-skipped"]


@pytest.mark.parametrize(
    ("section", "path", "requires", "found"),
    [
        (GUARD, "/plain", [], []),
        (GUARD, "/itself", [], ["guards-itself"]),
        (GUARD, "/itself", ["items:write"], []),
        (GUARD, "/unclear", [], []),
        (OPEN_GUARD, "/plain", [], ["guards-nobody"]),
    ],
)
def test_the_shared_guard_is_enough_where_it_can_refuse(
    section: dict[str, Any], path: str, requires: list[str], found: list[str]
) -> None:
    gateway = made(path, legacy(), twin(), auth="shared", requires=requires, auth_section=section)
    assert codes(gateway, path) == found


def perhaps() -> None:
    desk.check()


def surely() -> None:
    if not desk:
        raise HTTPException(401)


@pytest.mark.parametrize(
    ("dependency", "found"),
    [(HTTPBasic(), []), (surely, []), (perhaps, ["guards-nobody"]), (None, ["guards-nobody"])],
)
def test_perhaps_is_no_guard_for_a_handler_that_guards_itself(
    dependency: Any, found: list[str]
) -> None:
    native = twin(dependencies=[Depends(dependency)] if dependency else [])
    assert codes(made("/plain", legacy(), native, auth="native"), "/plain") == found


def to_the_login() -> None:
    if not desk:
        raise HTTPException(303, headers={"Location": "/login"})


def test_a_guard_that_redirects_may_be_accepted_and_the_key_is_printed() -> None:
    """A redirect is a refusal for those alone who know where it leads; running it tells."""
    guarded = twin(dependencies=[Depends(to_the_login)])
    gateway = made("/plain", legacy(), guarded, auth="native")
    assert codes(gateway, "/plain") == ["guards-nobody"]
    (problem,) = [each for each in gateway.snapshots.current.warnings if each.finding]
    assert (
        "by a redirect, prove it (gateway prove), and add `accept: {guards-nobody:" in problem.next
    )


def test_an_open_page_is_said_and_the_better_word_is_named() -> None:
    gateway = made("/plain", legacy(), twin(), auth="none")
    assert codes(gateway, "/plain") == []
    warned = [each for each in gateway.snapshots.current.warnings if each.code == "hooks-guard-it"]
    assert len(warned) == 1
    assert "`auth: hooks` is the better word" in warned[0].next


@pytest.mark.parametrize("path", ["/plain", "/itself", "/unclear"])
def test_what_is_not_said_is_served_by_legacy_and_the_line_to_add_is_printed(path: str) -> None:
    gateway = made(path, legacy(), twin())
    assert codes(gateway, path) == ["auth-missing"]
    scope = scope_of("GET", path)
    decision = decide(gateway.table.match(scope), scope, gateway.snapshots.current.policy)
    assert (decision.backend, decision.reason) == ("legacy", "refused")
    (problem,) = [each for each in gateway.snapshots.current.warnings if each.finding]
    assert "add `auth: " in problem.next
    assert gateway.snapshots.current.refused == (f"GET {path}", f"HEAD {path}")
    with pytest.raises(ConfigError):
        Gateway(
            legacy(), twin(), {"version": 1, "routes": [{"path": path, "cutover": "native"}]},
            strict=True,
        )  # fmt: skip


@pytest.mark.parametrize("cutover", ["legacy", "shadow"])
def test_where_no_client_gets_native_nothing_has_to_be_said(cutover: str) -> None:
    config = {"version": 1, "routes": [{"path": "/plain", "cutover": cutover}]}
    gateway = Gateway(legacy(), twin(), config)
    assert [each for each in gateway.snapshots.current.warnings if each.finding] == []


@pytest.mark.parametrize("auth", ["native", "none"])
def test_defaults_open_nothing(auth: str) -> None:
    with pytest.raises(ConfigError):
        Gateway(legacy(), twin(), {"version": 1, "defaults": {"auth": auth}})


# -- accept ---------------------------------------------------------------------------------------

CONFIG = """
version: 1
routes:
  - path: /unclear
    cutover: native
    auth: hooks
    accept: {may-guard-itself: reads the cart only}
"""


def written(folder: Path, text: str = CONFIG) -> Path:
    file = folder / "gateway.yaml"
    file.write_text(text, encoding="utf-8")
    return file


def test_what_is_accepted_is_no_finding_and_is_kept_with_its_reason(tmp_path: Path) -> None:
    gateway = Gateway(legacy(), twin(), written(tmp_path))
    route = next(each for each in gateway.table.routes if each.id == "GET /unclear")
    assert (route.findings, route.accepted) == ((), {"may-guard-itself": "reads the cart only"})


def test_an_accept_holds_for_the_routes_that_it_was_written_for(tmp_path: Path) -> None:
    """A rule that has got another route since is asked about it; `gateway lock` notes it."""
    file = written(tmp_path)
    write_lock(load(file), Gateway(legacy(), twin(), file).table)
    assert "accept may-guard-itself GET /unclear" in (tmp_path / "routes.lock").read_text()
    written(tmp_path, CONFIG.replace("path: /unclear", "prefix: /unclear"))
    gateway = Gateway(legacy(), twin(), file)
    assert codes(gateway, "/unclear") == []
    assert codes(gateway, "/unclear/too") == ["may-guard-itself"]
    (problem,) = [each for each in gateway.snapshots.current.warnings if each.finding]
    assert "/unclear/too" in problem.what
    write_lock(load(file), gateway.table)
    assert codes(Gateway(legacy(), twin(), file), "/unclear/too") == []


def test_an_accept_of_what_is_not_there_is_told(tmp_path: Path) -> None:
    file = written(tmp_path, CONFIG.replace("path: /unclear", "path: /plain"))
    gateway = Gateway(legacy(), twin(), file)
    found = [p.code for p in gateway.snapshots.current.warnings]
    assert found == ["accept-unused", "lock-missing"]


@pytest.mark.parametrize("code", ["auth-missing", "opened", "hooks-skipped", "nonsense"])
def test_only_some_findings_can_be_accepted(tmp_path: Path, code: str) -> None:
    with pytest.raises(ConfigError):
        Gateway(legacy(), twin(), written(tmp_path, CONFIG.replace("may-guard-itself", code)))


def test_an_accept_needs_a_reason(tmp_path: Path) -> None:
    with pytest.raises(ConfigError):
        Gateway(legacy(), twin(), written(tmp_path, CONFIG.replace("reads the cart only", '""')))


# -- proofs ---------------------------------------------------------------------------------------


def proof_of(gateway: Gateway) -> Proof:
    from gateway.migrate.prove.fingerprints import fingerprints

    route = next(each for each in gateway.table.routes if each.id == "GET /unclear")
    found = fingerprints(gateway, route)
    assert found is not None
    return Proof(*found, guard_text("hooks", "inherit", ()), ("ann",), ("nobody",))


def test_a_proof_of_this_very_code_answers_what_reading_leaves_open(tmp_path: Path) -> None:
    file = written(tmp_path, CONFIG.replace("    accept:", "    # accept:"))
    gateway = Gateway(legacy(), twin(), file)
    assert codes(gateway, "/unclear") == ["may-guard-itself"]
    proof = proof_of(gateway)
    write_proofs(tmp_path / "routes.proof", {"GET /unclear": proof})
    proved = Gateway(legacy(), twin(), file)
    assert codes(proved, "/unclear") == []
    assert all(not each.findings for each in proved.table.routes if each.id == "HEAD /unclear")
    other = Proof("0" * 16, proof.native, proof.guard, proof.let_in, proof.refused)
    write_proofs(tmp_path / "routes.proof", {"GET /unclear": other})
    assert codes(Gateway(legacy(), twin(), file), "/unclear") == ["may-guard-itself"]
    write_proofs(tmp_path / "routes.proof", {"GET /unclear/too": proof})
    assert codes(Gateway(legacy(), twin(), file), "/unclear") == ["may-guard-itself"]
