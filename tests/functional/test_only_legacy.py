"""`serve --only-legacy` and `--strict`: the way out at 3 a.m., and no start with findings."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

import httpx
import pytest

from tests.functional.live import search_path, server

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.network

APP = """
from flask import Flask

app = Flask("legacy")
app.add_url_rule("/old", "old", lambda: "old")
"""
BROKEN = """
version: 7
legacy: {app: "only_legacy_app:app"}
native: {app: "no_such_module:app"}
defaults: {cutover: sideways}
routes:
  - {path: /old, cutover: nonsense}
"""
UNSAID = """
version: 1
legacy: {app: "only_legacy_app:app"}
native: {app: "only_legacy_native:app"}
admin: {token_env: GATEWAY_ADMIN_TOKEN}
routes:
  - {path: /old, cutover: native}
"""
NATIVE = """
from fastapi import FastAPI

app = FastAPI()
app.add_api_route("/old", lambda: "native")
"""


def written(folder: Path, text: str) -> Path:
    (folder / "only_legacy_app.py").write_text(APP)
    (folder / "only_legacy_native.py").write_text(NATIVE)
    file = folder / "gateway.yaml"
    file.write_text(text)
    return file


@pytest.mark.parametrize("workers", [(), ("--workers", "2")])
def test_whatever_is_wrong_beside_it_the_legacy_app_is_served(
    tmp_path: Path, workers: tuple[str, ...]
) -> None:
    file = written(tmp_path, BROKEN)
    with server(file.parent, "--only-legacy", *workers) as running:
        assert httpx.get(f"{running.url}/old").text == "old"
        assert httpx.get(f"{running.url}/docs").status_code == 404
        # It doesn't follow the file either.
        file.write_text(BROKEN.replace("version: 7", "version: 1"))
        assert httpx.get(f"{running.url}/old").text == "old"


def serve(file: Path, *flags: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "gateway", "serve", str(file), "--port", "0", *flags],
        env={**os.environ, "PYTHONPATH": search_path(file.parent)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_strict_refuses_the_start_and_says_the_line_to_add(tmp_path: Path) -> None:
    done = serve(written(tmp_path, UNSAID), "--strict")
    assert done.returncode in (1, 2)
    assert "[auth-missing]" in done.stderr
    assert "add `auth: none`" in done.stderr
    assert "Traceback" not in done.stderr


def test_without_it_legacy_serves_what_is_not_said(tmp_path: Path) -> None:
    with server(written(tmp_path, UNSAID).parent) as running:
        assert httpx.get(f"{running.url}/old").text == "old"
        ready = httpx.get(f"{running.url}/-/ready").json()
        assert ready["refused"] == ["GET /old", "HEAD /old"]
        assert "gateway_routes_refused 2" in running.ask("GET", "/metrics").text


def test_both_at_once_make_no_sense(tmp_path: Path) -> None:
    done = serve(written(tmp_path, UNSAID), "--strict", "--only-legacy")
    assert done.returncode == 2
    assert "has no meaning" in done.stderr
