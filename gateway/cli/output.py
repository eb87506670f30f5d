"""How commands speak: problems to stderr, data to stdout, JSON where it is asked for."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer
from rich.console import Console

from gateway.loading import default_path

if TYPE_CHECKING:
    from collections.abc import Iterable

    from gateway.exceptions import Problem

out = Console(highlight=False, soft_wrap=True)

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


def report(problems: Iterable[Problem]) -> None:
    """Write problems to stderr, one a line."""
    for problem in problems:
        sys.stderr.write(f"{problem}\n")


def print_json(data: Any) -> None:
    """Write data to stdout as JSON."""
    sys.stdout.write(json.dumps(data, indent=2, default=str) + "\n")


def fail(message: str, code: int = 2) -> NoReturn:
    """Say why a command can't go on, and end it."""
    sys.stderr.write(f"gateway: {message}\n")
    sys.exit(code)
