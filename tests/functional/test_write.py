"""`--write`: a change goes into the config file, whole or not at all."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from tests.functional.live import APPS, CONFIG, search_path

if TYPE_CHECKING:
    from pathlib import Path

RULES = """\
routes:
  - {name: a, path: /a, cutover: legacy, auth: none}   # the first
  - {name: rest, prefix: /, cutover: legacy, auth: none}
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "live_apps.py").write_text(APPS)
    (tmp_path / "gateway.yaml").write_text(CONFIG + RULES)
    return tmp_path


def command(folder: Path, *words: str) -> list[str]:
    return [sys.executable, "-m", "gateway", *words, "--write"]


def environ(folder: Path, **more: str) -> dict[str, str]:
    env = {
        **os.environ,
        "PYTHONPATH": search_path(folder),
        "GATEWAY_CONFIG": "gateway.yaml",
        **more,
    }
    for name in ("GATEWAY_STATE", "GATEWAY_ADMIN_TOKEN"):
        env.pop(name, None)
    return env


def write(folder: Path, *words: str, **more: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command(folder, *words),
        capture_output=True, text=True, env=environ(folder, **more), cwd=folder, timeout=60,
        check=False,
    )  # fmt: skip


def refused(done: subprocess.CompletedProcess[str], code: int, said: str) -> None:
    assert (done.returncode, done.stdout) == (code, ""), done
    assert said in done.stderr
    assert "Traceback" not in done.stderr
    assert ".new" not in done.stderr


def test_writers_at_once_lose_nothing(folder: Path) -> None:
    rules = "".join(f"  - {{name: {n}, path: /{n}, cutover: legacy, auth: none}}\n" for n in "abc")
    (folder / "gateway.yaml").write_text(CONFIG + "routes:\n" + rules)
    asked = [("a", "native"), ("b", "native"), ("c", "canary", "--weight", "5")]
    running = [
        subprocess.Popen(
            command(folder, "set", *words),
            env=environ(folder), cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )
        for words in asked
    ]  # fmt: skip
    said = [each.communicate(timeout=120)[0] for each in running]
    assert [each.returncode for each in running] == [0, 0, 0], said
    wanted = rules.replace("legacy", "native", 2).replace("legacy", "canary, weight: 5")
    assert (folder / "gateway.yaml").read_text() == CONFIG + "routes:\n" + wanted
    assert list(folder.glob(".gateway.yaml*")) == []


def test_a_link_stays_a_link_and_the_mode_stays(folder: Path) -> None:
    """What is relative to the file is relative to the link, as it is when the gateway reads it."""
    (folder / "real").mkdir()
    real = folder / "real" / "shop.yaml"
    (folder / "gateway.yaml").rename(real)
    real.chmod(0o640)
    (folder / "gateway.yaml").symlink_to("real/shop.yaml")
    (folder / "routes.lock").write_text("# nothing of this is true\nGET /nowhere\n")
    refused(write(folder, "set", "a", "native"), 1, "gateway.yaml is unchanged")
    (folder / "routes.lock").unlink()
    assert write(folder, "set", "a", "native").returncode == 0
    assert (folder / "gateway.yaml").is_symlink()
    assert "/a, cutover: native, auth: none}   # the first" in real.read_text()
    assert real.stat().st_mode & 0o777 == 0o640
    assert sorted(each.name for each in (folder / "real").iterdir()) == ["shop.yaml"]


def test_line_ends_and_the_byte_order_mark_stay(folder: Path) -> None:
    text = "\ufeff" + (CONFIG + RULES).replace("\n", "\r\n")
    (folder / "gateway.yaml").write_bytes(text.encode())
    assert write(folder, "rollback", "--all").returncode == 0
    assert write(folder, "set", "a", "native").returncode == 0
    wanted = text.replace("/a, cutover: legacy", "/a, cutover: native")
    wanted = wanted.replace("version: 1\r\n", "version: 1\r\ndefaults: {kill_switch: true}\r\n")
    assert (folder / "gateway.yaml").read_bytes() == wanted.encode()


@pytest.mark.parametrize(
    ("words", "option"),
    [
        (("set", "a", "native", "--for", "30m"), "--for"),
        (("set", "a", "native", "--if-match", "x-1"), "--if-match"),
        (("rollback", "a", "--url", "http://127.0.0.1:1"), "--url"),
        (("rollback", "--all", "--reason", "fire"), "--reason"),
    ],
)
def test_what_has_no_meaning_in_a_file_is_refused(
    folder: Path, words: tuple[str, ...], option: str
) -> None:
    refused(write(folder, *words), 2, f"{option} has no meaning with --write")
    assert (folder / "gateway.yaml").read_text() == CONFIG + RULES


def test_json_tells_what_was_written(folder: Path) -> None:
    done = write(folder, "set", "a", "canary", "--weight", "5", "--json")
    assert json.loads(done.stdout) == {
        "file": "gateway.yaml", "routes": ["a"], "skipped": [], "cutover": "canary", "weight": 5.0,
        "auth": None,
    }  # fmt: skip


UNSAID = """\
routes:
  - path: /a   # the first
    methods: [GET]
    cutover: legacy
  - {path: /b, methods: [GET], cutover: legacy, auth: native}
"""


@pytest.mark.parametrize(
    ("words", "after"),
    [
        (("GET /a", "native"), UNSAID.replace("legacy\n", "native\n    auth: none\n")),
        (
            ("GET /a", "canary", "--weight", "2.5"),
            UNSAID.replace("legacy\n", "canary\n    weight: 2.5\n    auth: none\n"),
        ),
        (("GET /b", "native"), UNSAID.replace("legacy, auth: native", "native, auth: none")),
        (
            ("GET /c", "native"),
            f'{UNSAID}  - {{path: "/c", methods: [GET], cutover: native, auth: none}}\n',
        ),
    ],
)
def test_who_guards_it_is_written_with_the_cutover(
    folder: Path, words: tuple[str, ...], after: str
) -> None:
    file = folder / "gateway.yaml"
    file.write_text(CONFIG + UNSAID)
    done = write(folder, "set", *words, "--auth", "none")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.endswith(", auth: none\n")
    assert file.read_text() == CONFIG + after


def test_a_refusal_names_the_command_that_says_who_guards_it(folder: Path) -> None:
    file = folder / "gateway.yaml"
    file.write_text(CONFIG + UNSAID)
    done = write(folder, "set", "GET /a", "canary", "--weight", "5")
    refused(done, 1, "nobody says who guards it")
    command_ = shlex.split(done.stderr.partition("to write it, too: gateway ")[2])
    assert "--write" in command_
    again = subprocess.run(
        [sys.executable, "-m", "gateway", *command_],
        capture_output=True, text=True, env=environ(folder), cwd=folder, timeout=60, check=False,
    )  # fmt: skip
    assert (again.returncode, again.stderr) == (0, "")
    assert "cutover: canary\n    weight: 5\n    auth: none\n" in file.read_text()


def test_what_check_refuses_is_not_written_whoever_is_said_to_guard_it(folder: Path) -> None:
    (folder / "gateway.yaml").write_text(CONFIG + UNSAID)
    refused(write(folder, "set", "GET /a", "native", "--auth", "native"), 1, "[guards-nobody]")
    refused(write(folder, "set", "GET /a", "native", "--auth", "hooks"), 1, "[hooks-guard-nobody]")
    refused(write(folder, "set", "GET /a", "native", "--auth", "shared"), 1, "[missing-key]")
    refused(write(folder, "set", "GET /a", "native", "--auth", "guard"), 2, "'guard'")
    refused(write(folder, "set", "--all", "legacy", "--auth", "none"), 2, "--auth is written into")
    assert (folder / "gateway.yaml").read_text() == CONFIG + UNSAID


def test_nobody_says_at_run_time_who_guards_a_route(folder: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "gateway", "set", "a", "native", "--auth", "none"],
        capture_output=True, text=True, env=environ(folder), cwd=folder, timeout=60, check=False,
    )  # fmt: skip
    refused(done, 2, "--auth is written into a rule of the file")


def test_a_route_is_changed_in_the_rule_that_owns_just_it(folder: Path) -> None:
    done = write(folder, "set", "GET /a", "native")
    assert (done.returncode, done.stderr) == (0, "")
    assert (folder / "gateway.yaml").read_text() == CONFIG + RULES.replace(
        "/a, cutover: legacy", "/a, cutover: native"
    )
    refused(
        write(folder, "set", "GET /b", "native"),
        1,
        "the rule 'rest' (routes[1], prefix: /) owns GET /b, and also GET /c",
    )


def test_a_file_that_cant_be_changed_is_left_alone(folder: Path) -> None:
    file = folder / "gateway.yaml"
    shared = CONFIG + (
        "routes:\n  - &a {name: a, path: /a, cutover: legacy, auth: none}\n"
        "  - {<<: *a, name: b, path: /b}\n"
    )
    file.write_text(shared)
    refused(write(folder, "set", "a", "native"), 1, "gateway.yaml is unchanged: line 7")
    assert file.read_text() == shared
    # The file's rule isn't what decides.
    file.write_text(CONFIG + RULES)
    done = write(folder, "rollback", "--all", GATEWAY_DEFAULTS__KILL_SWITCH="false")
    refused(done, 1, "would still be at 'kill_switch false'")
    # No room on the disk: as near as root comes to a folder that it can't write to.
    done = subprocess.run(
        ["prlimit", "--fsize=0", *command(folder, "set", "a", "native")],
        capture_output=True, text=True, env=environ(folder, PYTHONDONTWRITEBYTECODE="1"),
        cwd=folder, timeout=60, check=False,
    )  # fmt: skip
    refused(done, 2, "gateway.yaml is unchanged: it can't be written (File too large)")
    assert file.read_text() == CONFIG + RULES
    assert list(folder.glob(".gateway.yaml*")) == []
    file.unlink()
    refused(write(folder, "set", "a", "native"), 2, "gateway.yaml: no such file")
    file.mkdir()
    refused(write(folder, "set", "a", "native"), 2, "gateway.yaml: can't be read")


def test_a_folder_that_cant_be_written_is_named(folder: Path) -> None:
    folder.chmod(0o555)
    # Root may write everywhere, unless it gives up that right.
    humbly = ["setpriv", "--bounding-set=-dac_override"] if os.geteuid() == 0 else []
    done = subprocess.run(
        [*humbly, *command(folder, "set", "a", "native")],
        capture_output=True, text=True, env=environ(folder), cwd=folder, timeout=60, check=False,
    )  # fmt: skip
    folder.chmod(0o755)
    refused(done, 2, "gateway.yaml is unchanged: it can't be written (Permission denied)")


def test_a_fifo_is_not_waited_for(folder: Path) -> None:
    (folder / "gateway.yaml").unlink()
    os.mkfifo(folder / "gateway.yaml")
    refused(write(folder, "set", "a", "native"), 2, "can't be read: no regular file")


def test_clear_says_why_it_writes_nothing(folder: Path) -> None:
    refused(write(folder, "clear", "a"), 2, "clear has no --write: overrides aren't in the file")
