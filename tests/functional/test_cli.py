"""The command line as a user meets it: real processes, exit codes, no traceback of ours."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from importlib.metadata import version
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
BROKEN = ROOT / "tests" / "configs" / "broken"
VALID = ROOT / "tests" / "configs" / "valid"
DEMO = "config/gateway.yaml"


def gateway(*words: str, **environ: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "gateway", *words],
        cwd=ROOT,
        env={**os.environ, "COLUMNS": "200", **environ},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_the_version_is_that_of_the_package() -> None:
    done = gateway("--version")
    assert (done.returncode, done.stdout) == (0, f"gateway {version('gateway')}\n")


def test_check_accepts_the_demos_config() -> None:
    done = gateway("check", DEMO)
    assert (done.returncode, done.stderr) == (0, "")
    assert "ok" in done.stdout


@pytest.mark.parametrize("name", ["collision", "app-raises", "half-written", "matches-nothing"])
def test_check_reports_problems_and_exits_1(name: str) -> None:
    done = gateway("check", str(BROKEN / f"{name}.yaml"))
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert f"{name}.yaml" in done.stderr


def test_check_of_a_missing_file_exits_2() -> None:
    done = gateway("check", "nowhere.yaml")
    assert done.returncode == 2
    assert done.stderr.startswith("nowhere.yaml: no such file")


def on_a_terminal(columns: int, *words: str) -> tuple[str, int]:
    """Run a command on a terminal; return what it shows without colours, and its exit code."""
    pty = pytest.importorskip("pty")
    said = b""
    leader, follower = pty.openpty()
    env = {**os.environ, "COLUMNS": str(columns), "TERM": "xterm-256color"}
    command = [sys.executable, "-m", "gateway", *words]
    with subprocess.Popen(command, cwd=ROOT, stdout=follower, stderr=follower, env=env) as process:
        os.close(follower)
        with contextlib.suppress(OSError):  # the end of a terminal
            while part := os.read(leader, 65_536):
                said += part
    os.close(leader)
    return re.sub(r"\x1b\[[\d;]*m", "", said.decode()).replace("\r\n", "\n"), process.returncode


@pytest.mark.parametrize("name", ["sorted", "auth-guard", "not-utf8"])
def test_problems_are_one_line_each_for_grep_and_folded_for_people(name: str) -> None:
    file = str(BROKEN / f"{name}.yaml")
    lines = gateway("check", file).stderr.splitlines()
    where = [line.partition(": ")[0] for line in lines]
    assert where == sorted(where, key=lambda each: int(f"0{each.partition('yaml:')[2]}"))
    assert all(line.endswith("]") for line in lines)
    for columns in (50, 100):
        shown, code = on_a_terminal(columns, "check", file)
        assert code in (1, 2)
        folded = shown.splitlines()
        assert max(map(len, folded)) <= columns
        squeezed = re.sub(r"\s+", "", shown)
        for problem in json.loads(gateway("check", file, "--json").stdout):
            for part in ("where", "key", "code", "what", "next"):
                assert re.sub(r"\s+", "", problem[part]) in squeezed
        assert any(line.startswith("    → ") for line in folded)


def test_check_speaks_json() -> None:
    done = gateway("check", str(BROKEN / "collision.yaml"), "--json")
    assert done.returncode == 1
    assert {problem["code"] for problem in json.loads(done.stdout)} >= {"collision"}


@pytest.mark.parametrize("words", [(), ("--auth",), ("--auth", "--filter", "items")])
@pytest.mark.parametrize("name", ["selectors", "collision", "lock-vanished"])
def test_the_routes_are_listed_though_the_rules_are_wrong(
    name: str, words: tuple[str, ...]
) -> None:
    file = str(BROKEN / f"{name}.yaml")
    done = gateway("routes", file, *words)
    assert done.returncode == 2
    assert any(line.startswith("GET /items/") or "/items/ " in line for line in
               done.stdout.splitlines())  # fmt: skip
    told = gateway("check", file).stderr
    assert done.stderr == (
        told + "gateway: the table is without rules and overrides: the config is wrong\n"
    )
    done = gateway("routes", file, *words, "--json")
    assert (done.returncode, done.stdout) == (2, ""), "a program gets no table but the file's"


@pytest.mark.parametrize("command", ["serve", "routes", "demo"])
def test_a_wrong_config_never_serves(command: str) -> None:
    extra = ("--port", "0")
    words = (command, str(BROKEN / "selectors.yaml"), *(extra if command != "routes" else ()))
    done = gateway(*words)
    assert done.returncode == 2
    assert "a rule needs exactly one of" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_wrong_config_never_serves_under_plain_uvicorn() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "uvicorn", "gateway.asgi:app", "--port", "0"],
        cwd=ROOT,
        env={**os.environ, "GATEWAY_CONFIG": str(BROKEN / "collision.yaml")},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 2
    assert "[collision]" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_port_in_use_is_said_in_one_line() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        done = gateway("serve", DEMO, "--port", str(taken.getsockname()[1]))
    assert done.returncode == 2
    assert "Address already in use" in done.stderr
    assert "Traceback" not in done.stderr


def test_routes_lists_both_sides_and_their_coverage() -> None:
    done = gateway("routes", DEMO, "--json")
    assert done.returncode == 0
    listed = json.loads(done.stdout)
    assert {row["serves"].split()[0] for row in listed["routes"]} == {"legacy", "native"}
    assert f"{listed['native']} of {listed['total']} routes native" in gateway("routes").stdout


def test_match_explains_a_canary_step_by_step() -> None:
    config = str(VALID / "canary.yaml")
    words = ("match", "GET", "/users/7", "-H", "X-Account: alice", "--config", config)
    done = gateway(*words)
    assert done.returncode == 0
    for word in ("legacy", "native", "route", "rule", "identity", "bucket", "serves"):
        assert f"\n  {word}" in done.stdout
    explained = json.loads(gateway(*words, "--json").stdout)
    assert explained["reason"] == "canary"
    assert explained["identity"] == "header:X-Account"
    assert "alice" not in done.stdout


def test_match_tells_who_guards_a_route() -> None:
    words = ("match", "POST", "/items/import", "--config", DEMO, "--principal", "ann")
    said = gateway(*words, "--scope", "items:read").stdout
    assert "the shared guard first, needs items:write: 403, ann lacks items:write" in said
    assert "gateway.demo.legacy.items.check_token" in said
    assert "lets ann in" in gateway(*words, "--scope", "items:write").stdout
    explained = json.loads(gateway(*words, "--json").stdout)
    assert explained["auth"] == "shared"
    assert explained["requires"] == ["items:write"]


def test_the_readme_s_samples_are_what_the_demo_says() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    _, _, rest = text.partition("$ gateway match GET /items/3 -H 'X-Account: alice'\n")
    sample = rest.partition("```")[0]
    done = gateway("match", "GET", "/items/3", "-H", "X-Account: alice", GATEWAY_CONFIG=DEMO)
    assert done.stdout == sample
    _, _, rest = text.partition("$ gateway routes\n")
    rows = [line.split() for line in rest.partition("…")[0].splitlines()]
    listed = [line.split() for line in gateway("routes", DEMO).stdout.splitlines()]
    assert rows
    assert all(row in listed for row in rows), rows


COMMANDS = [
    ("check",), ("routes",), ("lock", "--check"), ("match", "GET", "/items/3"), ("status",),
    ("status", "catalog"), ("audit",), ("diffs",), ("diffs", "catalog"),
    ("set", "catalog", "native", "--if-match", "never"), ("rollback", "catalog", "--if-match", "x"),
    ("clear", "catalog", "--if-match", "x"),
]  # fmt: skip


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_the_configuration_may_end_the_command_or_be_an_option(
    words: tuple[str, ...], tmp_path: Path
) -> None:
    environ = {"GATEWAY_STATE": f"sqlite:///{tmp_path}/state.db"}
    option = gateway(*words, "--config", DEMO, **environ)
    assert "no such file" not in option.stderr
    named = gateway(*words, DEMO, **environ)
    assert (named.returncode, named.stderr) == (option.returncode, option.stderr)
    missing = gateway(*words, "nowhere.yaml", **environ)
    assert missing.returncode == 2
    assert missing.stderr.startswith("nowhere.yaml: no such file")
    twice = gateway(*words, DEMO, "--config", DEMO, **environ)
    assert twice.returncode == 2
    assert "the configuration is named twice" in twice.stderr


@pytest.mark.parametrize("where", ["gateway.yaml", "config/gateway.yaml"])
def test_the_configuration_is_found_where_people_put_it(where: str, tmp_path: Path) -> None:
    file = tmp_path / where
    file.parent.mkdir(exist_ok=True)
    file.write_text('version: 1\nlegacy: {app: "tests.apps.pair:legacy"}\n')
    if where == "gateway.yaml":  # the one beside it comes second
        (tmp_path / "config").mkdir()
        (tmp_path / "config" / "gateway.yaml").write_text("version: 2\n")
    done = subprocess.run(
        [sys.executable, "-m", "gateway", "check"],
        cwd=tmp_path,
        env={
            **{key: each for key, each in os.environ.items() if key != "GATEWAY_CONFIG"},
            "PYTHONPATH": str(ROOT),
        },
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == f"{where}: ok, 0 warnings\n"


def test_match_refuses_a_header_that_is_none() -> None:
    done = gateway("match", "GET", "/", "-H", "nonsense", "--config", DEMO)
    assert (done.returncode, "Traceback" in done.stderr) == (2, False)


def test_schema_names_every_key() -> None:
    schema = json.loads(gateway("schema").stdout)
    assert set(schema["properties"]) >= {"version", "legacy", "native", "routes", "defaults"}
    rule = schema["$defs"]["RuleConfig"]["properties"]
    assert set(rule) >= {"path", "prefix", "blueprint", "endpoint", "tag", "cutover", "weight"}


def test_the_environment_overrides_a_scalar() -> None:
    listed = gateway("routes", DEMO, "--json", GATEWAY_DEFAULTS__KILL_SWITCH="true")
    served = json.loads(listed.stdout)["routes"]
    assert any(row["reason"] == "kill_switch" for row in served)
    done = gateway("check", DEMO, GATEWAY_LEGACY__THREDS="4")
    assert done.returncode == 1
    assert "did you mean GATEWAY_LEGACY__THREADS?" in done.stderr


def test_lock_is_written_verified_and_missed(tmp_path: Path) -> None:
    config = tmp_path / "gateway.yaml"
    config.write_text((VALID / "canary.yaml").read_text(encoding="utf-8"), encoding="utf-8")
    assert gateway("lock", str(config), "--check").returncode == 1
    assert gateway("lock", str(config)).returncode == 0
    assert gateway("lock", str(config), "--check").returncode == 0
    lock = tmp_path / "routes.lock"
    lock.write_text(lock.read_text(encoding="utf-8") + "legacy GET /gone gone\n", encoding="utf-8")
    done = gateway("check", str(config))
    assert done.returncode == 1
    assert "legacy GET /gone gone is locked but no longer there" in done.stderr


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


@pytest.mark.parametrize("workers", ["1", "2"])
def test_serve_answers_and_ends_on_sigterm(workers: str) -> None:
    port = free_port()
    process = subprocess.Popen(
        [sys.executable, "-m", "gateway", "serve", str(VALID / "canary.yaml"),
         "--port", str(port), "--workers", workers],
        cwd=ROOT,
        stderr=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        deadline = time.monotonic() + 60
        while True:
            try:
                url = f"http://127.0.0.1:{port}"
                with urllib.request.urlopen(f"{url}/-/ready", timeout=5) as answer:
                    assert json.load(answer)["status"] == "ready"
                with urllib.request.urlopen(f"{url}/items/", timeout=5) as answer:
                    assert answer.read() == b"items"
                break
            except OSError:
                assert time.monotonic() < deadline
                time.sleep(0.1)
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(timeout=30)
    assert process.returncode in (0, -signal.SIGTERM)
