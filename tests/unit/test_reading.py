"""Whatever stands in the place of the config, its problem has a place, a code and no traceback."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING

import pytest

from gateway.exceptions import ConfigError, Problem
from gateway.loading import load, load_mapping
from gateway.reading import MAX_BYTES

if TYPE_CHECKING:
    from pathlib import Path

GOOD = "version: 1\nlegacy: {app: shop:app}\n"
LAUGHS = "".join(
    f"x{n}: &x{n} [{', '.join([f'*x{n - 1}'] * 10)}]\n"
    if n
    else f"x0: &x0 [{', '.join('a' * 10)}]\n"
    for n in range(9)
)


def problem(file: Path) -> Problem:
    with pytest.raises(ConfigError) as caught:
        load(file, {})
    for each in caught.value.problems:
        str(each).encode()
    return caught.value.problems[0]


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("x: !!bool zz", "this can't be read as !!bool"),
        ('x: !!int ""', "this can't be read as !!int"),
        ("x: !!int 0b", "this can't be read as !!int"),
        ("x: !!float abc", "this can't be read as !!float"),
        ("x: 2020-13-45", "this can't be read as !!timestamp"),
        ("x: !!timestamp soon", "this can't be read as !!timestamp"),
        ("x: " + "9" * 5000, "this can't be read as !!int"),
        ("x: 0x" + "f" * 5000, "the number is too large"),
        ("? 0x" + "f" * 5000 + "\n: 1", "the number is too large"),
        ('x: "\\ud800"', "half a surrogate pair is no text"),
        ('"\\ud800": 1', "half a surrogate pair is no text"),
        ('x: "a\\0"', "NUL is no character of a text"),
        ("x: !!python/object:os.abort {}", "the tag !!python/object:os.abort has no meaning here"),
        ("x: !!binary '@@@'", "the tag !!binary has no meaning here"),
        ("x: !!set [1]", "the tag !!set has no meaning here"),
        ("x: !!omap [1]", "the tag !!omap has no meaning here"),
        ("x: !secret abc", "the tag !secret has no meaning here"),
        ("x: &a 1\ny: &a 2", "the anchor 'a' stands for another value already"),
        ("x: &a [*a]", "unknown key"),
        ("!!str x: 1", "only plain text can be a key"),
        ("x: " + "[" * 3000, "nested too deeply"),
        ("x: " + "{a: " * 2000 + "}" * 2000, "nested too deeply"),
        ("- " * 3000, "expected"),
        (LAUGHS, "there are too many values"),
        ("x: \x00", "unacceptable character"),
        ("x: a\x08", "unacceptable character"),
        ("? [a]\n: 2", "only plain text can be a key"),
        ("? {a: b}\n: 2", "only plain text can be a key"),
        ("<<: 3", "expected a mapping"),
        ("<<: [3]", "expected a mapping"),
        ("---\nx: 1", "found another document"),
        ("x: *a", "undefined alias"),
        ("x: @", "cannot start any token"),
    ],
)  # fmt: skip
def test_what_no_config_can_hold_is_a_problem_with_its_line(
    tmp_path: Path, text: str, what: str
) -> None:
    file = tmp_path / "gateway.yaml"
    file.write_text(f"{GOOD}{text}\n")
    found = problem(file)
    assert what in found.what
    assert re.fullmatch(rf"{re.escape(str(file))}:\d+", found.where), found.where
    assert int(found.where.rpartition(":")[2]) >= 3


def test_a_value_that_cant_be_read_is_never_shown(tmp_path: Path) -> None:
    file = tmp_path / "gateway.yaml"
    file.write_text(f"{GOOD}tester: {{secret: !!int hunter2}}\n")
    found = problem(file)
    assert "hunter2" not in str(found)
    assert found.where == f"{file}:3"
    assert found.code == "yaml-syntax"


def test_tags_of_plain_values_are_understood(tmp_path: Path) -> None:
    file = tmp_path / "gateway.yaml"
    file.write_text("version: !!int 1\nlegacy: !!map {app: !!str shop:app}\nroutes: !!seq []\n")
    assert load(file, {}).config.legacy.app == "shop:app"


def test_a_fifo_in_the_place_of_the_file_is_not_waited_for(tmp_path: Path) -> None:
    file = tmp_path / "gateway.yaml"
    os.mkfifo(file)
    found = problem(file)
    assert (found.code, found.what) == ("unreadable-file", "can't be read: no regular file")


def test_a_folder_in_the_place_of_the_file_is_a_problem(tmp_path: Path) -> None:
    assert problem(tmp_path).what == "can't be read: Is a directory"


def test_a_link_to_itself_is_a_problem(tmp_path: Path) -> None:
    file = tmp_path / "gateway.yaml"
    file.symlink_to(file)
    assert problem(file).code == "unreadable-file"


def test_a_huge_file_is_refused_before_it_is_read(tmp_path: Path) -> None:
    file = tmp_path / "gateway.yaml"
    file.write_text(GOOD)
    os.truncate(file, 100_000_000)
    found = problem(file)
    assert found.code == "unreadable-file"
    assert found.what == f"can't be read: larger than {MAX_BYTES:,} bytes"


@pytest.mark.parametrize("value", ["²", "9" * 5000, "\udcff"])
def test_an_odd_version_in_the_environment_is_a_problem(tmp_path: Path, value: str) -> None:
    file = tmp_path / "gateway.yaml"
    file.write_text(GOOD)
    with pytest.raises(ConfigError) as caught:
        load(file, {"GATEWAY_VERSION": value})
    assert caught.value.problems[0].where == "GATEWAY_VERSION"


def test_plain_values_that_hold_themselves_are_a_problem() -> None:
    data: dict[str, object] = {"version": 1}
    data["routes"] = [data]
    with pytest.raises(ConfigError, match="nested too deeply"):
        load_mapping(data, {})
