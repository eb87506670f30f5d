"""The demo's database: nothing before first use, the same file for everybody afterwards."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import func, select

from gateway.demo.shop.database import Database, database, prepare
from gateway.demo.shop.models import Item, User
from gateway.demo.shop.seed import NAMES
from gateway.demo.shop.users import hash_password

if TYPE_CHECKING:
    import pytest

ROOT = Path(__file__).parents[3]


def run(code: str, tmp_path: Path, **variables: str) -> str:
    """Run code in a process of its own, with `tmp_path` as its temporary directory."""
    environment = {**os.environ, "TMPDIR": str(tmp_path), "PYTHONPATH": str(ROOT), **variables}
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        env=environment, capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_importing_and_making_the_apps_opens_nothing(tmp_path: Path) -> None:
    code = "import gateway.demo.legacy as l, gateway.demo.native; l.create_app()"
    named = tmp_path / "named" / "shop.db"
    run(code, tmp_path, GATEWAY_DEMO_DB=str(named))
    run(code, tmp_path, GATEWAY_DEMO_DB="")
    assert list(tmp_path.iterdir()) == []


def test_the_default_database_is_gone_with_its_process(tmp_path: Path) -> None:
    code = (
        "from gateway.demo.shop.database import database, prepare; prepare()\n"
        "assert database().path.exists(); print(database().path)"
    )
    path = Path(run(code, tmp_path, GATEWAY_DEMO_DB=""))
    assert path.is_relative_to(tmp_path)
    assert not path.parent.exists()


def test_prepare_fills_the_named_file_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "new" / "shop.db"
    monkeypatch.setenv("GATEWAY_DEMO_DB", str(path))
    assert not path.parent.exists()
    prepare()
    prepare()
    assert path.exists()
    with Database(path).session() as session:
        assert session.scalars(select(User.name).order_by(User.id)).all() == list(NAMES)
        assert session.scalar(select(func.count()).select_from(Item)) == 40


def test_a_restart_keeps_what_was_written(tmp_path: Path) -> None:
    with Database(tmp_path / "shop.db").session() as session:
        session.add(Item(item_name="cup"))
        session.commit()
    with Database(tmp_path / "shop.db").session() as session:
        assert session.scalar(select(func.count()).select_from(Item)) == 41


def test_workers_that_start_at_once_fill_it_once(tmp_path: Path) -> None:
    code = "from gateway.demo.shop.database import prepare; prepare()"
    environment = {
        **os.environ, "PYTHONPATH": str(ROOT), "GATEWAY_DEMO_DB": str(tmp_path / "shop.db"),
    }  # fmt: skip
    workers = [subprocess.Popen([sys.executable, "-c", code], env=environment) for _ in range(4)]
    assert [worker.wait(60) for worker in workers] == [0, 0, 0, 0]
    with Database(tmp_path / "shop.db").session() as session:
        assert session.scalar(select(func.count()).select_from(User)) == len(NAMES)


def test_one_file_is_one_database(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GATEWAY_DEMO_DB", str(tmp_path / "one.db"))
    one = database()
    assert database() is one
    monkeypatch.setenv("GATEWAY_DEMO_DB", str(tmp_path / "two.db"))
    assert database() is not one


def test_no_password_is_stored_as_it_was_given(tmp_path: Path) -> None:
    first, second = hash_password("correct horse"), hash_password("correct horse")
    assert first != second
    assert "horse" not in first
    with Database(tmp_path / "shop.db").session() as session:
        assert all(
            password.startswith("scrypt$") for password in session.scalars(select(User.password))
        )
