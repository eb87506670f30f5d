"""What others wrote can't begin a log line, whichever call logs it and whoever formats it."""

from __future__ import annotations

import ast
import io
import logging
import traceback
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import gateway
from gateway.cli.output import console
from gateway.logs import logger_for, traceback_of
from gateway.printable import Lines

if TYPE_CHECKING:
    from collections.abc import Iterator

FORGED = "/x\n2026-01-01 ERROR forged\r\x1b[2J\u2028\u202e"
ESCAPED = r"/x\n2026-01-01 ERROR forged\r\x1b[2J\u2028\u202e"


@pytest.fixture
def log() -> Iterator[tuple[logging.Logger, io.StringIO]]:
    logger, written = logger_for("gateway.for-a-test"), io.StringIO()
    handler = logging.StreamHandler(written)
    handler.setFormatter(logging.Formatter("%(levelname)s %(message)s"))
    logger.addHandler(handler)
    logger.propagate = False
    yield logger, written
    logger.removeHandler(handler)


def fail() -> None:
    try:
        dict[str, int]().pop(FORGED)
    except KeyError as error:
        error.add_note("a note\nERROR forged")
        raise ValueError("first\nERROR forged\x1b") from error


class Odd:
    def __repr__(self) -> str:
        return FORGED


def test_whoever_sets_up_logging_turns_off_none_of_ours(
    log: tuple[logging.Logger, io.StringIO],
) -> None:
    """A logger that a configuration doesn't name is disabled by it; its level is the way to."""
    logger, written = log
    logger.disabled = True
    logger.warning("heard")
    logger.setLevel(logging.ERROR)
    logger.warning("not heard")
    logger.setLevel(logging.NOTSET)
    assert (logger.disabled, written.getvalue()) == (False, "WARNING heard\n")


@pytest.mark.parametrize("value", [FORGED, ValueError(FORGED), Path(FORGED), Odd()])
def test_an_argument_is_one_line(log: tuple[logging.Logger, io.StringIO], value: object) -> None:
    logger, written = log
    logger.warning("%s: %d of %s", value, 1, None)
    assert written.getvalue() == f"WARNING {ESCAPED}: 1 of None\n"


def test_other_ways_to_log_it(log: tuple[logging.Logger, io.StringIO]) -> None:
    logger, written = log
    logger.warning(FORGED)
    logger.warning(ValueError(FORGED))
    logger.warning("%(path)s", {"path": FORGED})
    logger.warning("%r", [FORGED])
    logger.log(logging.ERROR, "%-3s|", FORGED)
    assert written.getvalue().splitlines() == [
        f"WARNING {ESCAPED}",
        f"WARNING {ESCAPED}",
        f"WARNING {ESCAPED}",
        f"WARNING {[FORGED]!r}",
        f"ERROR {ESCAPED}|",
    ]


def test_a_childs_record_is_escaped_as_well(log: tuple[logging.Logger, io.StringIO]) -> None:
    """A filter of a logger isn't asked about records of loggers below it."""
    _, written = log
    logger_for("gateway.for-a-test.below").warning("%s", FORGED)
    assert written.getvalue() == f"WARNING {ESCAPED}\n"


def test_line_ends_that_are_meant_stay(log: tuple[logging.Logger, io.StringIO]) -> None:
    logger, written = log
    logger.warning("one\n  two: %s", Lines("three\n  \tfour\nERROR five\x1b"))
    assert written.getvalue() == "WARNING one\n  two: three\n  \tfour\n    ERROR five\\x1b\n"


def test_a_traceback_stays_but_an_exceptions_text_begins_no_line(
    log: tuple[logging.Logger, io.StringIO],
) -> None:
    logger, written = log
    try:
        fail()
    except ValueError:
        logger.exception("%s failed", FORGED)
    first, head, *lines = written.getvalue().splitlines()
    assert first == rf"ERROR {ESCAPED} failed"
    assert head == "Traceback (most recent call last):"
    unindented = [line for line in lines if line and not line.startswith(" ")]
    assert unindented == [
        f"KeyError: {FORGED!r}",
        "The above exception was the direct cause of the following exception:",
        "Traceback (most recent call last):",
        "ValueError: first",
    ]
    assert lines[-1] == r"    ERROR forged\x1b"
    assert "    a note" in lines
    assert "    ERROR forged" in lines


def errors() -> Iterator[Exception]:
    yield ValueError("without a traceback")
    for code in (
        "1 / 0",
        "int(",
        "try:\n 1 / 0\nfinally:\n [][1]",
        "raise ExceptionGroup('many', [ValueError('a'), KeyError('b')])",
    ):
        try:
            exec(compile(code, "<a test>", "exec"))
        except Exception as error:
            yield error


def test_an_ordinary_traceback_is_pythons() -> None:
    for error in errors():
        assert traceback_of(error) == "".join(traceback.format_exception(error)).rstrip("\n")


def test_every_logger_is_one_of_these() -> None:
    """So that no new call can forget; the demo is a user's app."""
    root = Path(gateway.__file__).parent
    allowed = {root / "logs.py", root / "cli" / "prove.py", root / "cli" / "serve.py"}
    allowed.add(root / "migrate" / "prove" / "raised.py")  # it listens, and writes nothing
    for file in root.rglob("*.py"):
        if file in allowed or root / "demo" in file.parents:
            continue
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Attribute):
                assert node.attr not in ("getLogger", "getChild"), f"{file}:{node.lineno}"


def test_nothing_steers_the_terminal_that_commands_print_to() -> None:
    out, written = console(), io.StringIO()
    out.file = written
    out.print("a\x1b[2Jb", "[bold]c\x7f")
    out.print("\nd \u2028\u202e \x9b")
    assert written.getvalue() == "a\\x1b[2Jb [bold]c\\x7f\n\nd \\u2028\\u202e \\x9b\n"
