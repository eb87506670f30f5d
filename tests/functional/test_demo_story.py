"""`gateway demo --story` as a user runs it: a process of its own, its output in a pipe."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.network

STORY = [sys.executable, "-m", "gateway", "demo", "--story", "--port", "0"]


def test_the_story_is_told_to_its_end(tmp_path: Path) -> None:
    """Anywhere: it needs no file, and leaves none behind."""
    environ = {**os.environ, "GATEWAY_DEMO_MENDED": "1", "GATEWAY_STATE": "nonsense"}
    done = subprocess.run(
        STORY, capture_output=True, text=True, cwd=tmp_path, env=environ, timeout=150, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert "\x1b" not in done.stdout
    assert not list(tmp_path.iterdir())
    _, one, two, three, four, five, six = re.split(r"\n\d\. ", done.stdout)
    assert re.search(r"Clients: \d+ requests, \d+ served by Flask and 0 by FastAPI, no errors", one)

    assert re.search(r"GET /orders/\d+/total  \$\.total_cents: legacy \d+, native \d+", two)
    assert re.search(r"status: legacy 200, native 500, raised ZeroDivisionError", two)
    assert "0 by FastAPI, no errors" in two, "nobody saw it"

    assert "guardrail: {success_rate: 99, steps: [5, 25, 100]" in three
    assert re.search(r"\d+ requests served by FastAPI, [1-9]\d* errors?\.", three)

    # A busy machine may walk a step before it meets the bug.
    assert re.search(r"rollback order-total: canary (5|25|100)% -> legacy, by guardrail", four)
    assert re.search(r"rolled back at \d+%: success \d+\.\d+% of \d+ \(legacy 100%", four)
    assert "0 by FastAPI, no errors" in four

    assert re.search(r"\d+ comparisons: \d+ equal, 0 different", five)
    steps = re.findall(r"^  (canary \d+%|native) +[█░]{20} .*, no errors", five, re.MULTILINE)
    assert steps == ["canary 5%", "canary 25%", "canary 100%", "native"]

    assert "README.md" in six


def test_the_story_ends_at_ctrl_c_without_a_traceback(tmp_path: Path) -> None:
    command = ["env", "--default-signal=INT", *STORY]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=tmp_path
    ) as process:
        assert process.stdout is not None
        while "Clients:" not in process.stdout.readline():
            assert process.poll() is None
        time.sleep(0.5)
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=30)
    assert (process.returncode, errors) == (0, "")


def test_the_story_takes_no_config() -> None:
    done = subprocess.run(
        [*STORY, "config/gateway.yaml"], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 2
    assert done.stderr.startswith("gateway: --story brings its own config")
