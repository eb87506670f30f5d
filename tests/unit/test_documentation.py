"""Documentation is held to the code."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from gateway.config import Config, RuleConfig
from gateway.observe.metrics import METRICS
from tests import reference

ROOT = Path(__file__).parents[2]


def test_the_reference_says_what_the_code_does() -> None:
    """Write it anew by `python -m tests.reference`."""
    pytest.importorskip("typer", minversion="0.29", reason="it describes commands in another way")
    assert reference.FILE.read_text(encoding="utf-8") == reference.page()


def test_every_key_metric_and_command_has_words() -> None:
    pytest.importorskip("typer", minversion="0.29", reason="it describes commands in another way")
    for row in reference.page().splitlines():
        cells = [cell.strip() for cell in re.split(r"(?<!\\)\|", row)[1:-1]]
        if cells and set(row) != {"|", "-"}:
            assert cells[-1], row
    assert all(text for _, text in METRICS.values())


def test_the_demos_config_explains_the_keys_that_it_has() -> None:
    """Line by line: every key of the first sections has a comment beside it."""
    text = (ROOT / "config" / "gateway.yaml").read_text(encoding="utf-8")
    for line in text.partition("\nroutes:")[0].splitlines():
        if line.strip() and not line.startswith("#"):
            assert "#" in line, line
    known = set(Config.model_fields) | set(RuleConfig.model_fields)
    named = re.findall(r"^ *(?:- )?([a-z_]+):", text, re.MULTILINE)
    assert {"state", "admin", "auth", "routes", "legacy"} <= set(named) & known


def test_every_test_file_that_the_readme_names_exists() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    here = {file.name for file in (ROOT / "tests").rglob("test_*.py")}
    assert set(re.findall(r"test_\w+\.py", text)) <= here
