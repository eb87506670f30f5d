"""How commands speak: problems to stderr, data to stdout, JSON where it is asked for."""

from __future__ import annotations

import json
import re
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer
from rich.console import Console
from rich.text import Text

from gateway.admin.rendering import finite
from gateway.loading import default_path
from gateway.printable import shown
from gateway.units import parse_duration

if TYPE_CHECKING:
    from collections.abc import Iterable

#: Columns of what is no terminal: whatever is piped or kept in a file is never wrapped or cut.
_ENDLESS = 10_000
_LONGEST_SECONDS = 365 * 86_400.0


def console() -> Console:
    """Return the console of stdout, as wide as its terminal."""
    return Console(highlight=False, soft_wrap=True, width=None if sys.stdout.isatty() else _ENDLESS)


out = console()

RouteArgument = Annotated[
    str | None,
    typer.Argument(help="A rule's name, 'GET /items/{id}', or a path for all its methods."),
]
ConfigArgument = Annotated[
    Path | None,
    typer.Argument(help="The configuration. Default: GATEWAY_CONFIG, then config/gateway.yaml."),
]
ConfigOption = Annotated[
    Path | None,
    typer.Option(
        "--config", help="The configuration. Default: GATEWAY_CONFIG, then config/gateway.yaml."
    ),
]
UrlOption = Annotated[
    str | None,
    typer.Option("--url", help="A running gateway, http://host:port. Default: GATEWAY_URL."),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def chosen(config: Path | None) -> Path:
    """Return the configuration that a command means."""
    return config if config is not None else default_path()


def cell(text: str, style: str = "") -> Text:
    """Return text for a terminal, whoever wrote it."""
    return Text(shown(text), style)


def local_time(seconds: object, form: str) -> str:
    """Write a time (seconds since the epoch) as it is here; `?` where it is none.

    It comes from a store, or from another version.
    """
    if not isinstance(seconds, int | float):
        return "?"
    try:
        return datetime.fromtimestamp(seconds, UTC).astimezone().strftime(form)
    except (ValueError, OverflowError, OSError):  # NaN, or a year that no calendar has
        return "?"


def duration(option: str, text: str | None) -> float | None:
    """Read seconds from an option; `30` could be seconds or minutes, and is refused."""
    if text is None:
        return None
    if re.fullmatch(r"[\d.]*", text.strip()):
        fail(f"{option} {text!r} has no unit: write 30s, 30m or 2h")
    try:
        seconds = float(parse_duration(text))
    except ValueError as error:
        fail(f"{option}: {error}")
    if not seconds:
        fail(f"{option} {text!r} is no time at all: write for instance 30m")
    if seconds > _LONGEST_SECONDS:
        fail(f"{option} {text!r} is above a year: leave it out, and there is no limit")
    return seconds


def report(problems: Iterable[object]) -> None:
    """Write problems to stderr, one a line."""
    for problem in problems:
        sys.stderr.write(f"{shown(str(problem))}\n")


def print_json(data: Any) -> None:
    """Write data to stdout as JSON; what is no number is null."""
    sys.stdout.write(json.dumps(finite(data), indent=2, default=str) + "\n")


def fail(message: str, code: int = 2) -> NoReturn:
    """Say why a command can't go on, and end it."""
    lines = "\n".join(shown(line) for line in message.split("\n"))
    sys.stderr.write(f"gateway: {lines}\n")
    sys.exit(code)
