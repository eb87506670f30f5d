"""`gateway demo` in a pipe: each fact on a line of its own, ready to be copied."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.network

ROOT = Path(__file__).parents[2]


def demo(**more: str) -> list[str]:
    env = {k: v for k, v in os.environ.items() if k not in ("GATEWAY_ADMIN_TOKEN", "GATEWAY_STATE")}
    command = [sys.executable, "-m", "gateway", "demo", "--port", "0", "--seconds", "0.1"]
    done = subprocess.run(
        [*command, "--no-traffic"],
        capture_output=True, text=True, cwd=ROOT, timeout=60, check=True,
        env={**env, "COLUMNS": "40", **more},
    )  # fmt: skip
    return done.stdout.splitlines()


def test_url_and_token_can_be_copied_from_a_pipe() -> None:
    where, token, watch, steer, *_ = demo()
    assert where.startswith("gateway demo at http://127.0.0.1:")
    url, secret = where.split()[-1], token.removeprefix("admin token: ")
    assert len(secret) >= 16
    assert watch.startswith(f"watch it: GATEWAY_ADMIN_TOKEN={secret} ")
    assert watch.endswith(f"gateway status --watch --url {url}")
    assert steer.endswith(f": export GATEWAY_URL={url} GATEWAY_ADMIN_TOKEN={secret}")


def test_a_token_of_ones_own_is_not_shown() -> None:
    mine = "mine-0123456789-abcdef"
    lines = demo(GATEWAY_ADMIN_TOKEN=mine, PATH=f"{Path(sys.executable).parent}:/usr/bin:/bin")
    assert mine not in "\n".join(lines)
    url = lines[0].split()[-1]
    assert lines[1] == (
        f"watch it, with your GATEWAY_ADMIN_TOKEN: gateway status --watch --url {url}"
    )
