"""How commands speak: problems to stderr, data to stdout, JSON where it is asked for."""

from __future__ import annotations

import getpass
import json
import os
import re
import socket
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer
from rich.console import Console, Group
from rich.padding import Padding
from rich.segment import Segment
from rich.table import Table
from rich.text import Text

from gateway.admin.rendering import finite
from gateway.exceptions import Problem
from gateway.loading import default_path
from gateway.printable import shown, shown_lines
from gateway.units import parse_duration

if TYPE_CHECKING:
    from collections.abc import Iterable

    from rich.console import ConsoleOptions, RenderableType

#: Columns of what is no terminal: whatever is piped or kept in a file is never wrapped or cut.
_ENDLESS = 10_000
_LONGEST_SECONDS = 365 * 86_400.0


def console() -> Console:
    """Return the console of stdout, as wide as its terminal."""
    width = None if sys.stdout.isatty() else _ENDLESS
    return _Console(highlight=False, markup=False, emoji=False, soft_wrap=True, width=width)


class _Console(Console):
    """A console whose terminal obeys nobody else: whatever is printed is escaped once more.

    `cell` does so as well, and knows then how wide the text is; line ends are its matter alone.
    """

    def render(
        self, renderable: RenderableType, options: ConsoleOptions | None = None
    ) -> Iterable[Segment]:
        """Render to segments of text without control characters."""
        for segment in super().render(renderable, options):
            text, style, control = segment
            plain = control or text.isprintable() or text == "\n"
            yield segment if plain else Segment(shown_lines(text), style)


out = console()

RouteArgument = Annotated[
    str | None,
    typer.Argument(help="A rule's name, 'GET /items/{id}', or a path for all its methods."),
]
ConfigArgument = Annotated[
    Path | None,
    typer.Argument(
        metavar="[CONFIG]",
        help="The configuration. Default: GATEWAY_CONFIG, then gateway.yaml, config/gateway.yaml.",
    ),
]
ConfigOption = Annotated[
    Path | None, typer.Option("--config", help="The same as CONFIG, which may end the command.")
]
UrlOption = Annotated[
    str | None,
    typer.Option(
        "--url",
        help="A running gateway, http://host:port. Default: GATEWAY_URL, unless --config is given.",
    ),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def author() -> str:
    """Return who types: for the audit trail."""
    try:
        return shown(f"{getpass.getuser()}@{socket.gethostname()}")[:100]
    except (KeyError, OSError):
        return str(os.getuid())


def one_config(file: Path | None, option: Path | None) -> Path | None:
    """Return the configuration that is named, as CONFIG or by --config; None where none is."""
    if file is not None and option is not None:
        fail(f"the configuration is named twice: {file}, and --config {option}")
    return file if file is not None else option


def apart(
    route: str | None, file: Path | None, option: Path | None
) -> tuple[str | None, Path | None]:
    """Tell ROUTE and CONFIG of a command apart, where either may be left out.

    What ends in `.yaml` or `.yml` is a file, unless it is the path of a route.
    """
    if file is None and route is not None and names_config(route):
        return None, one_config(Path(route), option)
    return route, one_config(file, option)


def names_config(word: str) -> bool:
    """Tell whether a word names a configuration rather than a route."""
    path = Path(word)
    is_yaml = path.suffix in (".yaml", ".yml") and " " not in word
    return is_yaml and (not word.startswith("/") or path.is_file())


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
    """Write problems to stderr: one a line, for grep; folded to a terminal, for people."""
    if not sys.stderr.isatty():
        for problem in problems:
            sys.stderr.write(f"{shown(str(problem))}\n")
        return
    paper = _Console(stderr=True, highlight=False, markup=False, emoji=False)
    for problem in problems:
        if isinstance(problem, Problem):
            paper.print(laid_out(problem))
        else:
            paper.print(cell(str(problem)))


def laid_out(problem: Problem) -> RenderableType:
    """Return a problem for people: where and which, then what is wrong, then what to do."""
    level, style = ("warning", "yellow") if problem.warning else ("error", "red")
    head = Text.assemble(cell(problem.where, "bold"), ": ", (level, style), ": ")
    head.append(cell(f"{problem.key} " if problem.key else "")).append(f"[{problem.code}]", "dim")
    lines: list[RenderableType] = [head, _indented(cell(problem.what))]
    if problem.next:
        todo = Table.grid(padding=(0, 1, 0, 0))
        todo.add_row(cell("→", "green"), cell(problem.next))
        lines.append(_indented(todo))
    return Group(*lines)


def _indented(what: RenderableType) -> Padding:
    return Padding(what, (0, 0, 0, 4), expand=False)


def print_json(data: Any) -> None:
    """Write data to stdout as JSON; what is no number is null."""
    sys.stdout.write(json.dumps(finite(data), indent=2, default=str) + "\n")


def fail(message: str, code: int = 2) -> NoReturn:
    """Say why a command can't go on, and end it."""
    sys.stderr.write(f"gateway: {shown_lines(message)}\n")
    sys.exit(code)
