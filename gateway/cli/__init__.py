"""The `gateway` command. Exit codes: 0 all is well, 1 problems were found, 2 it could not run."""

from __future__ import annotations

import os
import sys
from importlib.metadata import version
from typing import Annotated

import typer

from gateway.cli import diffs, inspect, live, prove, serve
from gateway.cli.output import fail, report
from gateway.exceptions import ConfigError, GatewayError

app = typer.Typer(
    name="gateway",
    help="Move a live Flask app to FastAPI, one route at a time, in one process.",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    add_completion=False,
)


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"gateway {version('gateway')}")
        raise typer.Exit


@app.callback()
def _common(
    _: Annotated[
        bool,
        typer.Option(
            "--version", help="Show the version and exit.", callback=_show_version, is_eager=True
        ),
    ] = False,
) -> None:
    """Take the options that come before any command."""


inspect.register(app)
live.register(app)
diffs.register(app)
prove.register(app)
serve.register(app)


def main() -> None:
    """Run the command line; a user's mistake ends in a message, never in a traceback."""
    # As uvicorn does: import strings are looked up in the working folder first.
    sys.path.insert(0, os.getcwd())  # noqa: PTH109 - sys.path wants text
    try:
        app()
    except ConfigError as error:
        report(error.problems)
        sys.exit(2)
    except GatewayError as error:
        fail(str(error))
