"""`accept` holds for the very views that it was written for, as `routes.lock` names them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fastapi import FastAPI
from flask import Blueprint, Flask, request

from gateway import Gateway
from gateway.loading import load
from gateway.lock import lock_path, write_lock
from tests.functional.test_auth_report import gateway as run

if TYPE_CHECKING:
    from pathlib import Path

CONFIG = """
version: 1
routes:
  - blueprint: users
    cutover: native
    auth: hooks
    accept: {may-guard-itself: looked at, hooks-guard-nobody: looked at}
"""


def unclear(**_: Any) -> str:
    """Nobody can tell what this asks for by reading it."""
    return str(getattr(request, "anything", None)) + str(_unknown())


_unknown: Any = lambda: ""  # noqa: E731 - not to be followed


def app_with(*rules: tuple[str, dict[str, Any]]) -> Flask:
    app = Flask("legacy", subdomain_matching=True)
    app.config["SERVER_NAME"] = "shop.example"
    blueprint = Blueprint("users", "users")
    for number, (rule, options) in enumerate(rules):
        blueprint.add_url_rule(rule, f"view{number}", unclear, **options)
    app.register_blueprint(blueprint)
    return app


def twin() -> FastAPI:
    native = FastAPI()

    @native.get("/users/{name}")
    async def user(name: str) -> str:
        return name

    return native


FIRST: tuple[str, dict[str, Any]] = ("/users/<int:name>", {})


def moved_after(folder: Path, *new: tuple[str, dict[str, Any]]) -> list[tuple[str, bool]]:
    """Lock the first view, add others, and return endpoints with whether each is refused."""
    config = folder / "gateway.yaml"
    config.write_text(CONFIG)
    gateway = Gateway(app_with(FIRST), twin(), config)
    write_lock(load(config), gateway.snapshots.current.table)
    table = Gateway(app_with(FIRST, *new), twin(), config).snapshots.current.table
    return sorted(
        (str(route.legacy.endpoint), bool(route.findings))
        for route in table.routes
        if route.legacy is not None and route.native is not None and route.method == "GET"
    )


def test_what_was_locked_stays_accepted(tmp_path: Path) -> None:
    assert moved_after(tmp_path) == [("users.view0", False)]


def test_a_new_view_of_the_same_shape_is_not_accepted_with_the_old_one(tmp_path: Path) -> None:
    found = moved_after(tmp_path, ("/users/<name>", {}))
    assert found == [("users.view0", False), ("users.view1", True)]


def test_the_same_path_on_another_host_is_not_accepted_with_the_old_one(tmp_path: Path) -> None:
    found = moved_after(tmp_path, ("/users/<int:name>", {"subdomain": "admin"}))
    assert found == [("users.view0", False), ("users.view1", True)]


def test_a_lock_that_cannot_be_read_accepts_nothing(tmp_path: Path) -> None:
    """Overrides are built although `check` would report the file: they must not be let in by it."""
    config = tmp_path / "gateway.yaml"
    config.write_text(CONFIG)
    gateway = Gateway(app_with(FIRST), twin(), config)
    loaded = load(config)
    write_lock(loaded, gateway.snapshots.current.table)
    lock_path(loaded).write_bytes(b"\xff\xfe")
    relaxed = Gateway(app_with(FIRST), twin(), config, verify_lock=False)
    assert relaxed.snapshots.current.refused


def test_a_lock_that_is_missing_is_told_with_the_command_that_writes_it(tmp_path: Path) -> None:
    """Without one a rule accepts whatever route it will ever match."""
    config = tmp_path / "gateway.yaml"
    config.write_text(CONFIG)
    gateway = Gateway(app_with(FIRST), twin(), config)
    told = [each for each in gateway.snapshots.current.warnings if each.code == "lock-missing"]
    assert [each.next for each in told] == [
        "run: gateway lock gateway.yaml, and commit what it writes"
    ]
    assert ":7: warning: routes[0].accept: there is no routes.lock" in str(told[0])
    write_lock(load(config), gateway.table)
    again = Gateway(app_with(FIRST), twin(), config)
    assert "lock-missing" not in {each.code for each in again.snapshots.current.warnings}


def test_a_config_that_accepts_nothing_needs_no_lock(tmp_path: Path) -> None:
    config = tmp_path / "gateway.yaml"
    config.write_text(CONFIG.partition("    accept:")[0])
    gateway = Gateway(app_with(FIRST), twin(), config)
    assert "lock-missing" not in {each.code for each in gateway.snapshots.current.warnings}


def test_the_command_says_so_too(tmp_path: Path) -> None:
    (tmp_path / "live_apps.py").write_text(
        "from fastapi import FastAPI\nfrom flask import Flask\n"
        "flask, native = Flask('legacy'), FastAPI()\n"
        "flask.add_url_rule('/users/<int:name>', 'users.one', lambda name: str(name))\n"
    )
    config = tmp_path / "gateway.yaml"
    text = CONFIG.replace("blueprint: users", "prefix: /users").replace(": native", ": legacy")
    apps = "legacy: {app: 'live_apps:flask'}\nnative: {app: 'live_apps:native'}\n"
    config.write_text(apps + text)
    checked = run(tmp_path, "check", "gateway.yaml")
    assert "there is no routes.lock" in checked.stdout + checked.stderr
    assert run(tmp_path, "lock", "gateway.yaml").returncode == 0
    checked = run(tmp_path, "check", "gateway.yaml")
    assert "there is no routes.lock" not in checked.stdout + checked.stderr
