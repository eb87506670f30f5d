"""Each file of `tests/configs/broken` gives exactly the messages of its `.expected` neighbour."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from gateway import ConfigError, Gateway

BROKEN = Path(__file__).parent.parent / "configs" / "broken"
FILES = sorted(BROKEN.glob("*.yaml"))


def messages(file: Path) -> str:
    try:
        problems = Gateway(config=file).snapshots.current.warnings
        assert any(each.finding for each in problems), f"nothing is wrong with {file.name}"
    except ConfigError as error:
        problems = error.problems
    text = "".join(f"{problem}\n" for problem in problems)
    root = Path(__file__).parents[2]
    return text.replace(f"{BROKEN}{os.sep}", "").replace(f"{root}{os.sep}", "")


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_a_broken_config_gives_exactly_its_messages(file: Path) -> None:
    assert messages(file) == file.with_suffix(".expected").read_text(encoding="utf-8")


def test_every_message_says_where_what_and_a_code() -> None:
    for file in FILES:
        for line in messages(file).splitlines():
            where, _, rest = line.partition(": ")
            assert where
            assert rest.endswith("]"), line


def test_a_missing_file_is_one_clear_problem(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        Gateway(config=tmp_path / "none.yaml")
    assert [problem.code for problem in caught.value.problems] == ["missing-file"]
