"""`accept` holds for the very views that it was written for, as `routes.lock` names them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fastapi import FastAPI
from flask import Blueprint, Flask, request

from gateway import Gateway
from gateway.loading import load
from gateway.lock import lock_path, write_lock

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
