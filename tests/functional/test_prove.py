"""`gateway prove`: real apps, real logins, a real database; what is proved, and what isn't."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree as ET

import pytest
from typer.testing import CliRunner

from gateway.cli import app as command
from gateway.exceptions import ConfigError, GatewayError
from gateway.proofs import proved
from tests.apps import proof

if TYPE_CHECKING:
    from collections.abc import Mapping

ROOT = Path(__file__).parents[2]
IDENTITIES = """
  nobody: {}
  wrong: {headers: {X-Token: guessed}}
  expired: {headers: {X-Token: t-old}}
  admin: {headers: {X-Token: t-admin}}
  ann: {headers: {X-Token: t-ann}}
"""


@dataclass(frozen=True)
class Done:
    code: int
    stdout: str
    stderr: str

    @property
    def data(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.stdout)
        return found

    def outcome(self, route: str) -> str:
        return str(self._route(route)["outcome"])

    def why(self, route: str) -> str:
        return str(self._route(route)["why"])

    def verdicts(self, route: str) -> dict[str, str]:
        return {cell["identity"]: cell["verdict"] for cell in self._route(route)["cells"]}

    def statuses(self, route: str, identity: str) -> tuple[int, int]:
        cells = {cell["identity"]: cell for cell in self._route(route)["cells"]}
        found = cells[identity]
        return found["legacy"]["status"], found["native"]["status"]

    def _route(self, route: str) -> dict[str, Any]:
        found: dict[str, Any] = next(e for e in self.data["routes"] if e["route"] == route)
        return found


class Project:
    """A folder with a config and cases, as a team has one."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.record = folder / "routes.proof"

    def write(
        self,
        rules: str,
        *,
        legacy: str = "legacy",
        native: str = "native",
        identities: str = IDENTITIES,
        cases: str = "",
        config: str = "",
    ) -> None:
        (self.folder / "gateway.yaml").write_text(
            f"version: 1\nlegacy: {{app: 'tests.apps.proof:{legacy}()'}}\n"
            f"native: {{app: 'tests.apps.proof:{native}()'}}\n{config}\nroutes:\n{rules}\n"
        )
        (self.folder / "prove.yaml").write_text(f"version: 1\nidentities:{identities}\n{cases}\n")

    def prove(self, *words: str, environ: Mapping[str, str] | None = None) -> Done:
        config = str(self.folder / "gateway.yaml")
        done = CliRunner().invoke(
            command,
            ["prove", *words, "--config", config],
            env={"GATEWAY_TEST_ENVIRONMENT": "1", **(environ or {})},
        )
        if isinstance(done.exception, ConfigError | GatewayError):
            # As `main` does.
            return Done(2, done.stdout, str(done.exception))
        assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
        return Done(done.exit_code, done.stdout, done.stderr)


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    monkeypatch.setenv("PROOF_DB", str(tmp_path / "orders.db"))
    for name in [each for each in os.environ if each.endswith(("_URL", "_URI", "_DSN"))]:
        monkeypatch.delenv(name)
    proof.CALLS.clear()
    proof.reset()
    proof.CALLS.clear()
    return Project(tmp_path)


DESK = "  - {name: desk, prefix: /desk, cutover: legacy, auth: native}"


def test_a_route_is_proved_where_both_sides_refuse_the_same_callers(project: Project) -> None:
    project.write("  - {path: /desk/items/<int:item_id>, cutover: legacy, auth: native}")
    done = project.prove("--json")
    assert done.code == 0, done.stdout + done.stderr
    assert done.outcome("GET /desk/items/{item_id}") == "proved"
    assert done.statuses("GET /desk/items/{item_id}", "nobody") == (401, 401)
    assert done.statuses("GET /desk/items/{item_id}", "admin") == (200, 200)
    found = proved(project.record)["GET /desk/items/{item_id}"]
    assert found.let_in == ("admin", "ann")
    assert found.refused == ("nobody", "wrong", "expired")
    assert found.guard == "native,inherit"
    assert len(found.legacy) >= 8
    assert len(found.native) >= 8


def test_a_guard_removed_by_hand_from_a_native_handler_is_found(project: Project) -> None:
    rule = "  - {path: /desk/reports/<name>, cutover: legacy, auth: native}"
    project.write(rule)
    assert project.prove("--json").code == 0
    assert "GET /desk/reports/{name}" in proved(project.record)
    project.write(rule, native="native_unguarded")
    done = project.prove("--json")
    assert done.code == 1
    route = "GET /desk/reports/{name}"
    assert done.outcome(route) == "opened"
    # The inherited hook still turns strangers away; who lost nothing but the role gets in.
    assert done.verdicts(route) == {
        "nobody": "same",
        "wrong": "same",
        "expired": "same",
        "admin": "same",
        "ann": "opened",
    }
    assert done.statuses(route, "ann") == (403, 200)
    assert proved(project.record) == {}


def test_what_is_opened_comes_first_in_the_table(project: Project) -> None:
    project.write(DESK, native="native_unguarded")
    done = project.prove()
    assert done.code == 1
    lines = [line for line in done.stdout.splitlines() if line.startswith(("GET", "POST"))]
    assert lines[0].startswith("GET /desk/reports/{name}")
    assert lines[0].rstrip().endswith("opened")
    [head] = [line for line in done.stdout.splitlines() if line.startswith("ROUTE")]
    assert re.split(r"  +", head.strip()) == [
        "ROUTE", "AUTH", "LEGACY LET IN", "LEGACY REFUSED", "OUTCOME",
    ]  # fmt: skip
    assert "The identities are what legacy did with each" in done.stdout
    assert "native lets in whom legacy turns away: ann (legacy out 403, native in 200)" in (
        done.stdout
    )


def test_hooks_that_the_rule_leaves_out_are_missed(project: Project) -> None:
    """The handler guards itself; a sibling that counted on the blueprint's hook does not."""
    project.write(
        "  - {path: /desk/items/<int:item_id>, cutover: legacy, auth: none, hooks: skip}",
        native="native_fussy",
        cases="routes: {'GET /desk/items/{item_id}': {query: '?page=1'}}",
    )
    done = project.prove("--json")
    assert done.code == 1
    assert done.outcome("GET /desk/items/{item_id}") == "opened"
    assert done.statuses("GET /desk/items/{item_id}", "nobody") == (401, 200)


def test_a_handler_that_refuses_whom_legacy_lets_in_is_closed(project: Project) -> None:
    rule = "  - {path: /desk/items/<int:item_id>, cutover: legacy, auth: native}"
    project.write(rule, native="native_strict")
    done = project.prove("--json")
    assert done.code == 1
    assert done.outcome("GET /desk/items/{item_id}") == "closed"
    assert done.verdicts("GET /desk/items/{item_id}")["admin"] == "closed"
    assert done.verdicts("GET /desk/items/{item_id}")["nobody"] == "same"


def test_a_validation_error_proves_nothing(project: Project) -> None:
    rule = "  - {path: /desk/items/<int:item_id>, cutover: legacy, auth: none}"
    project.write(rule, native="native_fussy")
    done = project.prove("--json")
    assert done.code == 1
    assert done.outcome("GET /desk/items/{item_id}") == "unproved"
    assert done.verdicts("GET /desk/items/{item_id}")["admin"] == "unlike"


@pytest.mark.parametrize(
    ("route", "why"),
    [
        ("GET /desk/notes/{note_id}", "admin (legacy absent 404, native out 403)"),
        ("GET /desk/busy", "legacy answered 429: turn its limits off in the tests"),
        ("GET /desk/broken", "legacy: it failed with 500: RuntimeError: broken (proof.py:"),
    ],
)
def test_what_tells_nothing_of_who_may_come_is_unproved(
    project: Project, route: str, why: str
) -> None:
    project.write(DESK)
    done = project.prove(route, "--json")
    assert done.code == 1
    assert done.outcome(route) == "unproved"
    assert why in done.why(route)
    assert [each["route"] for each in done.data["routes"]] == [route]


def test_a_socket_that_would_leave_is_blocked_and_named(project: Project) -> None:
    project.write(DESK)
    done = project.prove("GET /desk/far", "--json")
    assert done.code == 1
    assert done.outcome("GET /desk/far") == "unproved"
    assert "192.0.2.1:80 was blocked" in done.why("GET /desk/far")
    allowed = project.prove("GET /desk/far", "--allow-host", "192.0.2.1", "--json")
    assert allowed.code == 0
    assert allowed.outcome("GET /desk/far") == "proved"


def test_a_write_is_asked_from_a_clean_state_or_not_at_all(project: Project) -> None:
    project.write(DESK, cases="routes: {'POST /desk/orders': {json: {name: lamp}}}")
    done = project.prove("POST /desk/orders", "--json")
    assert done.code == 1
    assert "nothing puts the data back" in done.why("POST /desk/orders")
    with proof.rows() as connection:
        assert connection.execute("SELECT count(*) FROM orders").fetchone() == (0,)
    cases = "reset: tests.apps.proof:reset\nroutes: {'POST /desk/orders': {json: {name: lamp}}}"
    project.write(DESK, cases=cases)
    done = project.prove("POST /desk/orders", "--json")
    # The same order twice would fail: ten requests, ten resets.
    assert (done.code, done.outcome("POST /desk/orders")) == (0, "proved")
    assert done.statuses("POST /desk/orders", "admin") == (201, 201)
    assert proof.CALLS == ["reset"] * 10


def test_a_rules_rollback_serves_as_well(project: Project) -> None:
    rollback = "{rollback: tests.apps.proof:rolled_back, probe: tests.apps.proof:probe}"
    project.write(
        f"  - {{path: /desk/orders, cutover: legacy, auth: native, writes: {rollback}}}",
        cases="routes: {'POST /desk/orders': {json: {name: lamp}}}",
    )
    done = project.prove("--json")
    assert done.code == 0, done.stdout
    assert done.outcome("POST /desk/orders") == "proved"
    assert proof.CALLS == ["begin", "end"] * 10


ACCOUNT = "  - {path: /account, cutover: legacy, auth: native}"
LOGINS = """
  nobody: {login: tests.apps.proof:visit}
  wrong: {login: tests.apps.proof:visit, headers: {X-Token: guessed}}
  expired: {login: tests.apps.proof:visit, cookies: {remember_token: old}}
  ann: {login: tests.apps.proof:log_in}
"""
FORM = "reset: tests.apps.proof:reset\nroutes: {POST /account: {form: {name: lamp}}}"


def test_a_login_by_flask_login_with_a_token_of_flask_wtf(project: Project) -> None:
    """Legacy redirects strangers to its login page, native says 401: both refuse."""
    project.write(ACCOUNT, legacy="legacy_with_csrf", identities=LOGINS, cases=FORM)
    done = project.prove("--json")
    assert done.code == 0, done.stdout
    for route in ("GET /account", "POST /account"):
        assert done.outcome(route) == "proved"
        assert done.statuses(route, "nobody") == (302, 401)
        assert done.statuses(route, "ann") == (200, 200)
    assert {"login legacy", "login native"} < set(proof.CALLS)


def test_a_refusal_by_csrf_hides_what_else_would_refuse(project: Project) -> None:
    identities = LOGINS.replace("nobody: {login: tests.apps.proof:visit}", "nobody: {}")
    project.write(ACCOUNT, legacy="legacy_with_csrf", identities=identities, cases=FORM)
    done = project.prove("--json")
    assert done.code == 1
    assert done.outcome("GET /account") == "proved"
    assert (
        done.why("POST /account")
        == "nobody: CSRF refused first: give it a right token, by `login:`"
    )


def test_open_routes_are_listed_to_be_signed(project: Project) -> None:
    project.write(
        "  - {path: /open, cutover: legacy, auth: none}\n"
        "  - {path: /desk/items/<int:item_id>, cutover: legacy, auth: native}"
    )
    sheet = project.folder / "proof.md"
    done = project.prove("--table", str(sheet))
    assert done.code == 0
    assert "Open, to be signed: legacy refuses none of the identities here\n  GET /open" in (
        done.stdout
    )
    text = sheet.read_text()
    assert "| `GET /open` | none | in 200 | in 200 | in 200 | in 200 | in 200 | open |" in text
    assert (
        "| `GET /desk/items/{item_id}` | native | out 401 | out 401 | out 401 | in 200 | in 200"
        " | proved |"
    ) in text
    assert "- [ ] `GET /open` (auth: none) signed: " in text
    assert set(proved(project.record)) == {"GET /desk/items/{item_id}"}


def test_an_open_route_that_does_not_say_so_is_unproved(project: Project) -> None:
    project.write("  - {path: /open, cutover: legacy, auth: native}")
    done = project.prove("--json")
    assert done.code == 1
    assert done.why("GET /open") == "legacy refuses none of the identities"
    assert done.data["to_sign"] == ["GET /open"]


def test_a_rule_that_says_nothing_of_auth_is_unproved(project: Project) -> None:
    project.write("  - {path: /desk/items/<int:item_id>, cutover: shadow}")
    done = project.prove("--json")
    assert done.code == 1
    assert "nothing says who guards it" in done.why("GET /desk/items/{item_id}")


def test_a_run_for_one_route_keeps_the_proofs_of_others(project: Project) -> None:
    project.write(DESK)
    project.prove("GET /desk/items/{item_id}")
    project.prove("GET /desk/reports/{name}")
    assert set(proved(project.record)) == {"GET /desk/items/{item_id}", "GET /desk/reports/{name}"}


def test_junit_has_a_case_for_each_identity_and_for_the_proof(project: Project) -> None:
    project.write(DESK, native="native_unguarded")
    file = project.folder / "junit.xml"
    done = project.prove("GET /desk/reports/{name}", "--junit", str(file))
    assert done.code == 1
    suite = ET.parse(file).getroot()
    assert (suite.get("tests"), suite.get("failures")) == ("6", "2")
    failed = {case.get("name"): case[0].get("type") for case in suite.iter("testcase") if len(case)}
    assert failed == {"ann": "opened", "is proved": "opened"}


def test_it_runs_in_a_test_environment_only(project: Project) -> None:
    project.write(DESK)
    for value in ("", "0", "true"):
        done = project.prove(environ={"GATEWAY_TEST_ENVIRONMENT": value})
        assert done.code == 2
        assert "GATEWAY_TEST_ENVIRONMENT=1" in done.stderr
    assert proof.CALLS == []


def test_a_database_elsewhere_is_refused_before_anything_is_asked(project: Project) -> None:
    project.write(DESK, cases="reset: tests.apps.proof:reset")
    url = "postgresql://shop:hunter2-X@db.example/shop"
    done = project.prove(environ={"DATABASE_URL": url})
    assert done.code == 2
    assert "postgresql://shop:***@db.example/shop  (DATABASE_URL of the environment)" in done.stdout
    assert "DATABASE_URL of the environment names db.example" in done.stderr
    assert "hunter2-X" not in done.stdout + done.stderr
    assert proof.CALLS == []


@pytest.mark.parametrize(
    ("identities", "cases", "wrong"),
    [
        (
            "\n  nobody: {}\n  wrong: {}\n",
            "",
            "prove.yaml:2: identities: 'expired' must be among them",
        ),
        ("\n  nobody: {}\n  wrong: {}\n  expired: {header: {}}", "", "did you mean headers?"),
        (IDENTITIES, "routes: {GET /nowhere: {}}", "there is no rule or route 'GET /nowhere'"),
        (
            IDENTITIES,
            "routes: {'GET /desk/items/{item_id}': {values: {id: 1}}}",
            "has no such parameter (known: item_id)",
        ),
        (IDENTITIES, "reset: tests.apps.proof:wants_more", "can't be called: missing a required"),
        (IDENTITIES, "reset: tests.apps.proof:nothing", "has no 'nothing'"),
        (
            IDENTITIES + "  env: {headers: {X-Token: '${NO_SUCH_VARIABLE}'}}",
            "",
            "the environment variable NO_SUCH_VARIABLE is not set",
        ),
        (IDENTITIES, "routes: {GET /open: {json: {}, form: {}}}", "a request has one body"),
        (IDENTITIES, "routes: {GET /open: {jsn: {}}}", "did you mean json?"),
    ],
)
def test_a_wrong_file_of_cases_is_told_with_its_place(
    project: Project, identities: str, cases: str, wrong: str
) -> None:
    project.write(DESK, identities=identities, cases=cases)
    done = project.prove()
    assert done.code == 2
    assert wrong in done.stderr
    assert "prove.yaml" in done.stderr


def test_without_cases_it_says_what_to_write(project: Project) -> None:
    project.write(DESK)
    (project.folder / "prove.yaml").unlink()
    done = project.prove()
    assert done.code == 2
    assert "prove.yaml: no such file" in done.stderr


def test_an_unknown_route_is_told(project: Project) -> None:
    project.write(DESK)
    done = project.prove("GET /desk/itms/{item_id}")
    assert done.code == 2
    assert "did you mean 'GET /desk/items/{item_id}'?" in done.stderr


def test_an_app_that_does_not_start_is_told(project: Project) -> None:
    project.write("  - {prefix: /desk, cutover: legacy}", native="native_that_fails_to_start")
    done = project.prove()
    assert done.code == 2
    assert "no database" in done.stderr


@pytest.mark.parametrize(
    ("login", "why"),
    [
        ("fails", "ann: the login of ann raised LookupError: no such user"),
        ("gives_nonsense", "ann: the login of ann returned no credentials: cookies"),
    ],
)
def test_a_login_that_fails_is_told(project: Project, login: str, why: str) -> None:
    project.write(
        ACCOUNT,
        identities=LOGINS.replace("proof:log_in", f"proof:{login}"),
        cases="reset: tests.apps.proof:reset",
    )
    done = project.prove("GET /account", "--json")
    assert done.code == 1
    assert done.why("GET /account").startswith(why)


@pytest.mark.parametrize("kind", ["plain", "in_flask"])
def test_what_a_failing_handler_raised_is_told(project: Project, kind: str) -> None:
    """Without it nobody could tell what the handler misses, as nothing is logged."""
    rule = "  - {path: /desk/items/<int:item_id>, cutover: legacy, auth: native}"
    project.write(rule, native=f"native_failing_{kind}")
    done = project.prove("--json")
    why = done.why("GET /desk/items/{item_id}")
    assert why.startswith("admin: native: it failed with 500: LookupError: no seat 1 (proof.py:")
    assert done.outcome("GET /desk/items/{item_id}") == "unproved"


def test_a_page_in_a_message_is_cut(project: Project) -> None:
    """A login's `assert answer.ok, answer.text` has the whole page."""
    project.write(
        ACCOUNT,
        identities=LOGINS.replace("proof:log_in", "proof:fails_with_a_page"),
        cases="reset: tests.apps.proof:reset",
    )
    why = project.prove("GET /account", "--json").why("GET /account")
    assert why.startswith("ann: the login of ann raised AssertionError: <html> Retry later <p>")
    assert len(why) < 400
    assert "…" in why


def test_a_value_comes_from_the_environment(project: Project) -> None:
    identities = IDENTITIES.replace("t-admin", "'${ADMIN_TOKEN}'")
    project.write(
        "  - {path: /desk/reports/<name>, cutover: legacy, auth: native}", identities=identities
    )
    assert project.prove(environ={"ADMIN_TOKEN": "t-admin"}).code == 0
    assert project.prove(environ={"ADMIN_TOKEN": "t-none"}).code == 1


def test_the_demo_is_proved_by_the_real_command(tmp_path: Path) -> None:
    environ = {key: each for key, each in os.environ.items() if not key.startswith("GATEWAY_")}
    words = ("prove", "--config", "config/gateway.yaml", "--record", str(tmp_path / "record"))
    done = subprocess.run(
        [sys.executable, "-m", "gateway", *words],
        cwd=ROOT,
        env={**environ, "GATEWAY_TEST_ENVIRONMENT": "1"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("Databases, before anything is asked:\n")
    assert "0 opened, 0 closed, 0 unproved, 7 open, 6 proved" in done.stdout
    assert set(proved(tmp_path / "record")) >= {"POST /items/", "GET /notes", "POST /notes"}


def test_a_legacy_app_that_is_not_flask_is_asked_as_well(project: Project) -> None:
    """Nothing is recorded: there is no code to read, so that nothing could end the proof."""
    project.write(
        "  - {path: /guarded, cutover: legacy, auth: native, hooks: skip, methods: [GET]}",
        legacy="plain_wsgi",
        native="native_guarded",
    )
    done = project.prove("--json")
    assert done.code == 0, done.stdout
    assert done.outcome("GET /guarded") == "proved"
    assert proved(project.record) == {}


def test_inherited_hooks_are_a_guard(project: Project) -> None:
    """The handler looks at nobody; the blueprint's hook does, on both sides."""
    project.write(
        "  - {path: /desk/items/<int:item_id>, cutover: legacy, auth: hooks}",
        native="native_fussy",
        cases="routes: {'GET /desk/items/{item_id}': {query: '?page=1'}}",
    )
    done = project.prove("--json")
    assert done.code == 0, done.stdout
    assert done.outcome("GET /desk/items/{item_id}") == "proved"
    assert proved(project.record)["GET /desk/items/{item_id}"].guard == "hooks,inherit"


def test_hooks_do_not_inherit_what_a_view_refuses_itself(project: Project) -> None:
    project.write(
        "  - {path: /desk/reports/<name>, cutover: legacy, auth: hooks}", native="native_unguarded"
    )
    done = project.prove("--json")
    assert done.code == 1
    assert done.verdicts("GET /desk/reports/{name}")["ann"] == "opened"


def test_the_store_and_the_overrides_are_left_alone(project: Project) -> None:
    project.write(DESK, config=f"state: 'sqlite:///{project.folder}/state.db'")
    assert project.prove("GET /desk/items/{item_id}").code == 0
    assert sorted(each.name for each in project.folder.iterdir()) == [
        "gateway.yaml",
        "orders.db",
        "prove.yaml",
        "routes.proof",
    ]


def test_a_read_after_a_write_finds_the_data_as_they_were(project: Project) -> None:
    project.write(
        "  - {path: /desk/orders, cutover: legacy, auth: native}\n"
        "  - {path: /desk/orders/none, cutover: legacy, auth: native}",
        cases="reset: tests.apps.proof:reset\nroutes: {'POST /desk/orders': {json: {name: lamp}}}",
    )
    done = project.prove("--json")
    assert [each["route"] for each in done.data["routes"]] == [
        "POST /desk/orders",
        "GET /desk/orders/none",
    ]
    assert done.code == 0, done.stdout
    assert proof.CALLS == ["reset"] * 11


def test_what_reaches_out_at_the_start_is_told(project: Project) -> None:
    project.write(DESK, native="native_that_reaches_out")
    done = project.prove("GET /desk/items/{item_id}", "--json")
    assert done.code == 1
    assert done.outcome("GET /desk/items/{item_id}") == "proved"
    assert done.data["blocked"] == ["192.0.2.1:80"]
    assert "blocked outside of any request: 192.0.2.1:80 (--allow-host)" in done.stderr
