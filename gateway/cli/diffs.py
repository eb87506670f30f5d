"""`gateway diffs`: what the mirrors have found, both answers side by side."""

from __future__ import annotations

import json as json_module
import sys
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from gateway.admin import report
from gateway.changes import Wanted, way_out
from gateway.cli.live import IfMatchOption, change
from gateway.cli.output import (
    ConfigOption,
    JsonOption,
    UrlOption,
    author,
    cell,
    chosen,
    duration,
    fail,
    names_config,
    one_config,
    out,
    print_json,
)
from gateway.cli.remote import place
from gateway.folders import refuse_planted

if TYPE_CHECKING:
    from rich.console import RenderableType

HtmlOption = Annotated[
    Path | None, typer.Option("--html", help="Write one file to look at in a browser.")
]
LimitOption = Annotated[
    int, typer.Option("--limit", min=1, max=1000, help="How many samples, the newest first.")
]
SinceOption = Annotated[
    str | None,
    typer.Option("--since", help="Only samples of the last 30m, 2h or 1d: is a mend one?"),
]
ReasonOption = Annotated[
    str, typer.Option("--reason", help="With accept: why native may let in whom legacy refuses.")
]
_VERDICTS = {
    "opened": "bold white on red",
    "closed": "bold red",
    "different": "bold red",
    "raced": "dim",
    "equal": "green",
    "expected": "green",
    "noise": "cyan",
}
_MOST_FIELDS = 10
#: So many differences of one field and kind are shown of a sample; the rest is a number.
_MOST_ALIKE = 3
_FLAPS = {"changed": "value", "type": "type", "absent": "comes and goes", "order": "order"}


def register(app: typer.Typer) -> None:
    """Add this module's command to `app`."""
    app.command(epilog="Example: gateway diffs 'GET /users/{id}' --html diffs.html")(diffs)


def diffs(
    words: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[accept] [ROUTE] [CONFIG]",
            help="A rule's name, 'GET /items/{id}', or a path for all its methods. After `accept`: "
            "the blocked route whose difference is meant.",
        ),
    ] = None,
    html: HtmlOption = None,
    limit: LimitOption = 20,
    since: SinceOption = None,
    reason: ReasonOption = "",
    if_match: IfMatchOption = None,
    url: UrlOption = None,
    config: ConfigOption = None,
    json: JsonOption = False,
) -> None:
    """Show what mirrors have found: counts, fields, noise, and both answers side by side.

    `opened` comes first: legacy refused a caller there, and native let it in. Such a route is
    blocked: legacy serves it, whatever the file says, until a new release has been compared 200
    times or `gateway diffs accept ROUTE --reason …` says that it is meant.

    Exit code 0: nothing differs unexpectedly; 1: something does; 2: it could not be told. With
    --since only what was sampled in that time counts.
    """
    words = words or []
    if words and names_config(words[-1]):
        config = one_config(Path(words.pop()), config)
    route, accepts = _words(words)
    if accepts:
        if html is not None or since is not None:
            fail("accept ends a block: --html and --since have no meaning with it")
        if route is not None and not reason.strip():
            fail("say why native may let in whom legacy refuses: --reason 'what is meant by it'")
        wanted = Wanted("accept", route, author=author(), reason=reason)
        change(place(url, config, chosen(config)), wanted, if_match, json=json)
        return
    if reason or if_match:
        fail("--reason and --if-match are for `gateway diffs accept ROUTE`")
    if html is not None and json:
        fail("--html writes a file, --json prints: choose one")
    seconds = duration("--since", since)
    data = place(url, config, chosen(config)).diffs(limit, route, seconds)
    if data["store"] != "ok" and not data["workers"]:
        fail("the store can't be read, and no running gateway was asked (--url)")
    if json:
        print_json(data)
    elif html is not None:
        _write(html, report.html(data))
    else:
        _print(data, since)
    if since is not None and data["store"] != "ok":
        fail("the store can't be read: what has differed lately isn't known")
    counted = since is None and any(
        row["verdicts"].get(name) for row in data["routes"] for name in report.APART
    )
    blocked = any(row.get("blocked") for row in data["routes"])
    sys.exit(1 if counted or blocked or data["samples"] else 0)


def _words(words: list[str]) -> tuple[str | None, bool]:
    """Return the ROUTE, and whether its block is to end."""
    accepts = len(words) > 1 and words[0] == "accept"
    rest = words[1:] if accepts else words
    if len(rest) > 1:
        fail(f"one route at a time: {' '.join(rest)!r} is {len(rest)} words (quote 'GET /path')")
    if rest == ["accept"]:
        fail("name the route: gateway diffs accept ROUTE --reason …")
    return (rest[0] if rest else None), accepts


def _write(file: Path, text: str) -> None:
    try:
        refuse_planted(file.absolute())
        file.write_text(text, encoding="utf-8", errors="backslashreplace")
    except OSError as error:
        fail(f"{file} can't be written: {error.strerror or error}")
    out.print(cell(f"{file} is written: open it in a browser"))


# -- in a terminal ------------------------------------------------------------------------------


def _print(data: dict[str, Any], since: str | None) -> None:
    if data["store"] != "ok":
        _line(cell("the store is down: there are counts, but no samples and no noise", "red"))
    if not data["workers"]:
        told = "from the store, which has samples and no counts: --url asks a running gateway"
        _line(cell(told, "dim"))
    if not data["routes"]:
        _line(cell("nothing is mirrored: give a rule `cutover: shadow` or `live`", "dim"))
    for number, row in enumerate(data["routes"]):
        if number:
            _line("")
        samples = [each for each in data["samples"] if each["route"] == row["route"]]
        if since is None:
            _route(row, counted=bool(data["workers"]))
        else:
            what = "has differed" if samples else "nothing has differed"
            _line(cell(row["route"], "bold").append(f"  {what} in the last {since}", "not bold"))
            _blocked(row)
        for sample in samples:
            _line("")
            _sample(sample, before=sample["at"] < (data.get("counted_since") or 0.0))
    if data["more_samples"]:
        _line("")
        _line(cell(f"{data['more_samples']} older samples: --limit shows more", "dim"))


def _line(what: RenderableType) -> None:
    out.print(what, soft_wrap=False)


def _route(row: dict[str, Any], *, counted: bool) -> None:
    verdicts = row["verdicts"]
    head = cell(row["route"], "bold")
    if counted:
        head.append(f"  {sum(verdicts.values())} compared", "not bold")
        for name, colour in _VERDICTS.items():
            if verdicts.get(name):
                head.append(", " if head.plain.endswith(tuple(_VERDICTS)) else ": ", "not bold")
                head.append(f"{verdicts[name]} {name}", f"not bold {colour}")
    _line(head)
    _blocked(row)
    if row["suspended"]:
        why = f"mirrored no more: {row['suspended']} blocks the event loop, or hangs"
        _entry("suspended", cell(why, "red"))
    fields = [f"{name} ({number})" for name, number in row["fields"]]
    if len(fields) > _MOST_FIELDS:
        fields = [*fields[:_MOST_FIELDS], f"and {len(fields) - _MOST_FIELDS} more"]
    _entry("fields", cell(", ".join(fields)))
    noise = [f"{each['path']} ({_FLAPS.get(each['flap'], each['flap'])})" for each in row["noise"]]
    _entry("noise", cell(", ".join(noise), "cyan"))
    skipped = [f"{name} ({n})" for name, n in row["outcomes"].items() if name != "compared"]
    _entry("skipped", cell(", ".join(skipped), "dim"))


def _blocked(row: dict[str, Any]) -> None:
    """Say why legacy serves a route whatever else is said, and how that ends."""
    block = row.get("blocked")
    if block:
        _entry("blocked", cell(f"{block['what']}; {way_out(row['route'])}", "bold red"))


def _entry(name: str, what: Text) -> None:
    """Print one line of a route's head, where there is something to say."""
    if what.plain:
        grid = Table.grid()
        grid.add_column(no_wrap=True)
        grid.add_column(overflow="fold")
        grid.add_row(Text(f"  {name:<11}", "dim"), what)
        _line(grid)


def _sample(sample: dict[str, Any], *, before: bool) -> None:
    when = datetime.fromtimestamp(sample["at"], UTC).astimezone()
    target = sample["path"] + (f"?{sample['query']}" if sample["query"] else "")
    head = cell(f"{when:%Y-%m-%d %H:%M:%S}  {sample['method']} {target}", "bold")
    if sample.get("verdict") in ("opened", "closed"):
        head.append(f"  {sample['verdict']}", _VERDICTS[sample["verdict"]])
    if before:
        head.append("  (before the last start: not in the counts)", "not bold dim")
    _line(Text("  ").append_text(head))
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="dim")
    table.add_column("", no_wrap=True)
    for name in ("PATH", "LEGACY", "NATIVE", "KIND"):
        table.add_column(name, overflow="fold")
    alike: Counter[tuple[str, str]] = Counter()
    for each in sample["differences"]:
        alike[each["field"], each["kind"]] += 1
        if alike[each["field"], each["kind"]] <= _MOST_ALIKE:
            legacy, native = (_value(each, side) for side in ("legacy", "native"))
            kind = cell(report.kind(each), "dim")
            table.add_row(" ", cell(each["path"], "bold"), legacy, native, kind)
    for (name, kind_), number in alike.items():
        if number > _MOST_ALIKE:
            more = cell(f"{number - _MOST_ALIKE} more like these", "dim")
            table.add_row(" ", cell(name, "bold"), more, "", cell(kind_, "dim"))
    sides = (cell(_answered(sample[side]), "dim") for side in ("legacy", "native"))
    table.add_row(" ", Text("answered", "dim"), *sides, "")
    _line(table)
    if sample["more"]:
        _line(Text("  there are more differences than these", "dim"))
    for side in ("legacy", "native"):
        if sample[side]["error"]:
            _line(Text(f"  {side} raised", "red"))
            lines = sample[side]["error"].rstrip("\n").split("\n")
            told = Text("\n").join(cell(line, "dim") for line in lines)
            _line(Padding(told, (0, 0, 0, 4), expand=False))


def _value(difference: dict[str, Any], side: str) -> Text:
    """Write a value as JSON, so that 1 and "1" look different."""
    if difference["kind"] == ("missing" if side == "native" else "added"):
        return Text("(nothing)", "dim italic")
    text = json_module.dumps(difference[side], ensure_ascii=False)
    return cell(text, "cyan" if side == "legacy" else "green")


def _answered(answer: dict[str, Any]) -> str:
    return f"{answer['status'] or 'no answer'}, {answer['bytes']} bytes"
