"""The status of a gateway, drawn for a terminal as wide as it is."""

from __future__ import annotations

import difflib
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from rich.console import Group
from rich.table import Table
from rich.text import Text

from gateway.changes import way_out
from gateway.cli.output import cell, fail
from gateway.overrides import written
from gateway.printable import shown
from gateway.templates import parse_any

if TYPE_CHECKING:
    from collections.abc import Sequence

_BARS = "▁▂▃▄▅▆▇█"
#: Blanks between two columns.
_GAP = 2
#: What a column that may be folded needs at least.
_FOLDED = 24


@dataclass(slots=True, eq=False)
class _Column:
    """One column of the table. Those of the highest `rank` go first where room is scarce, 0 never.

    What is `foldable` is content with _FOLDED columns.
    """

    name: str
    rank: int
    right: bool = False
    foldable: bool = False
    cells: list[Text] = field(default_factory=list)

    @property
    def width(self) -> int:
        width = max((len(self.name), *(each.cell_len for each in self.cells)))
        return min(width, _FOLDED) if self.foldable else width


# -- which routes -----------------------------------------------------------------------------


def named(rows: Sequence[dict[str, Any]], wanted: str) -> list[dict[str, Any]]:
    """Return the rows that ROUTE means: a rule's name, `GET /items/{id}`, or a path."""
    found = [row for row in rows if wanted in (row["route"], row["rule"], row["path"])]
    method, _, path = wanted.strip().rpartition(" ")
    if found or not path.startswith("/"):
        return found
    segments = parse_any(path).segments
    method = "GET" if method.upper() == "HEAD" else method.upper()
    return [
        row
        for row in rows
        if method in ("", row["method"]) and parse_any(row["path"]).segments == segments
    ]


def narrowed(data: dict[str, Any], wanted: str | None) -> dict[str, Any]:
    """Leave only the rows of ROUTE in a status; end the command where there are none."""
    if wanted is None:
        return data
    found = named(data["routes"], wanted)
    if not found:
        fail(unknown(data["routes"], wanted), 1)
    return {**data, "routes": found}


def unknown(rows: Sequence[dict[str, Any]], wanted: str) -> str:
    """Say that there is no such route, and which one may be meant."""
    known = dict.fromkeys(row[key] for key in ("rule", "route", "path") for row in rows)
    close = difflib.get_close_matches(wanted, known, n=1, cutoff=0.5)
    hint = f"did you mean {close[0]!r}?" if close else "`gateway routes` lists them"
    return f"there is no such route: {wanted!r} ({hint})"


# -- the picture ------------------------------------------------------------------------------


def picture(data: dict[str, Any], width: int) -> Group:
    """Draw a status within `width` columns: what is least important is left out first."""
    columns, notes = _columns(data)
    while _room(columns, width) < 0 and any(each.rank for each in columns):
        least = max(each.rank for each in columns)
        columns = [each for each in columns if each.rank != least]
    below: list[Text] = []
    if notes not in columns:
        lines = zip(columns[0].cells, notes.cells, strict=True)
        below = [Text.assemble(route, ": ", note) for route, note in lines if note.plain]
    table = Table(box=None, pad_edge=False, header_style="bold")
    folded = (notes,) if _room(columns, width) >= 0 else (notes, columns[0])
    for column in columns:
        table.add_column(
            column.name,
            justify="right" if column.right else "left",
            no_wrap=column not in folded,
            overflow="fold",
        )
    for cells in zip(*(column.cells for column in columns), strict=True):
        table.add_row(*cells)
    return Group(*_head(data), table, *([Text(""), *below] if below else []))


def _room(columns: Sequence[_Column], width: int) -> int:
    """Tell how much of `width` is left."""
    return width - sum(each.width for each in columns) - _GAP * (len(columns) - 1)


def _columns(data: dict[str, Any]) -> tuple[list[_Column], _Column]:
    """Return the columns; and the notes, which stand below the table if they aren't among them."""
    route, cutover = _Column("ROUTE", 0), _Column("CUTOVER", 0)
    notes = _Column("NOTES", 4, foldable=True)
    for row in data["routes"]:
        route.cells.append(cell(row["route"]))
        cutover.cells.append(_cutover(row, switched=data["kill_switch"]))
        notes.cells.append(_notes(row, data.get("walks") or {}))
    columns = [route, cutover]
    if data["workers"] > 0:
        columns += _numbers(data["routes"])
    if any(each.plain for each in notes.cells):
        columns.append(notes)
    return columns, notes


def _numbers(rows: Sequence[dict[str, Any]]) -> list[_Column]:
    share = _Column("NATIVE", 2, right=True)
    rate, errors = _Column("REQ/S", 3, right=True), _Column("ERR/S", 1, right=True)
    legacy = _Column("LEGACY p50/p95", 5, right=True)
    native = _Column("NATIVE p50/p95", 5, right=True)
    minute = _Column("LAST MINUTE", 6)
    for row in rows:
        part = row["native_share"]
        share.cells.append(Text("" if part is None else f"{part:.0f}%"))
        rate.cells.append(Text(f"{row['rate']:.1f}"))
        errors.cells.append(Text(f"{row['error_rate']:.1f}", "red" if row["error_rate"] else ""))
        legacy.cells.append(Text(_times(row["sides"]["legacy"])))
        native.cells.append(Text(_times(row["sides"]["native"])))
        minute.cells.append(Text(_sparkline(row["history"]), "green"))
    return [share, rate, errors, legacy, native, minute]


def _head(data: dict[str, Any]) -> list[Text]:
    lines = []
    if data["kill_switch"]:
        held = data["kill_switch_override"]
        why = f": {held['reason']}" if held and held["reason"] else ""
        who = f" (by {held['author'] or 'nobody named'}{why})" if held else ""
        lines.append(cell(f"KILL SWITCH: legacy serves all that it can{who}", "bold red"))
    lines += [
        cell(
            f"BLOCKED {row['route']}: {row['blocked']['what']}; {way_out(row['route'])}", "bold red"
        )
        for row in data["routes"]
        if row.get("blocked")
    ]
    health = data["health"]
    if health["config"] != "ok":
        lines.append(cell(f"config: {health['config']}", "bold red"))
    if health["store"] != "ok":
        lines.append(cell(f"store: {health['store']}", "bold red"))
    if health["restart_required"]:
        lines.append(cell(f"restart to change {', '.join(health['restart_required'])}", "yellow"))
    lines += [
        cell(f"the override of {name} is ignored: {why}", "yellow")
        for name, why in data["ignored"].items()
    ]
    number = data["workers"]
    workers = f"{number} worker{'s' * (number != 1)}"
    if not number:
        workers = "from the store: --url asks a running gateway for figures"
    lines += [cell(f"revision {data['revision']}, {workers}", "dim"), Text("")]
    return lines


def _cutover(row: dict[str, Any], *, switched: bool) -> Text:
    if row["coverage"] != "both":
        return cell(row["coverage"].replace("_", " "), "dim")
    if switched:
        return Text("legacy", "red")
    if row.get("blocked"):
        return Text("blocked", "bold red")
    colour = {"legacy": "cyan", "native": "green"}.get(row["cutover"], "yellow")
    text = written(row["cutover"], row["weight"])
    return cell(text, f"bold {colour}" if row["overridden"] else colour)


def _walk(walk: dict[str, Any]) -> str:
    """Say where the guardrail stands with a canary: `guardrail: walking at 5%, hold`."""
    state = str(walk["state"]).replace("_", " ")
    where = f" at {walk['weight']:g}%" if walk["state"] in ("walking", "waiting", "paused") else ""
    verdict = str(walk["said"]).partition(":")[0]
    return f"guardrail: {state}{where}" + (f", {verdict}" if verdict in ("pass", "hold") else "")


def _notes(row: dict[str, Any], walks: dict[str, Any]) -> Text:
    """Say what the numbers don't: native's failures that nobody saw, and what beats the file."""
    notes = [_opened(row), _refused(row), _bypassed(row), _failures(row)]
    notes += [*_circuits(row), _suspended(row)]
    parts = [Text(shown(note), "red") for note in notes if note]
    if row.get("compared"):
        what = f"{row['different']} of {row['compared']} compared answers differ"
        parts.append(Text(what, "red" if row["different"] else "green"))
    walk = walks.get(row["rule"]) if row["rule"] else None
    if walk is not None:
        colour = {"rolled_back": "red", "done": "green"}.get(walk["state"], "yellow")
        parts.append(cell(_walk(walk), colour))
    held = row["override"]
    if held is not None:
        until = ""
        if held["expires"] is not None:
            until = f", {max(0, held['expires'] - time.time()) / 60:.0f} min left"
        why = f": {held['reason']}" if held["reason"] else ""
        by = held["author"] or "nobody"
        parts.append(cell(f"the file says {row['file']} ({held['kind']} by {by}{until}{why})"))
    return Text("; ").join(parts)


def _opened(row: dict[str, Any]) -> str:
    """Tell how often native let in a caller whom legacy refused; older gateways don't."""
    opened = row.get("opened", 0)
    return f"opened: native let in whom legacy refused, {opened} times" if opened else ""


def _failures(row: dict[str, Any]) -> str:
    """Tell how often legacy answered for a native handler that failed; older gateways don't."""
    failed = row.get("failovers", 0)
    return f"native failed, legacy answered: {failed} of {row['requests']}" if failed else ""


def _refused(row: dict[str, Any]) -> str:
    """Name what keeps a moved route on legacy; older gateways don't."""
    codes = row.get("findings") or []
    return f"kept on legacy, `gateway check` refuses the move: {', '.join(codes)}" if codes else ""


def _bypassed(row: dict[str, Any]) -> str:
    """Tell how often WSGI middleware answered in front of both sides; older gateways don't."""
    bypassed = row.get("bypassed", 0)
    return f"WSGI middleware answered instead: {bypassed} times" if bypassed else ""


def _suspended(row: dict[str, Any]) -> str:
    """Name the handler because of which a route is mirrored no more; older gateways don't."""
    handler = row.get("mirror_suspended")
    return f"mirrored no more: {handler} blocks or hangs" if handler else ""


def _circuits(row: dict[str, Any]) -> list[str]:
    """Say on how many workers legacy serves as native fails: state is each worker's own."""
    states = {name: n for name, n in (row["circuit"] or {}).items() if name != "closed"}
    return [
        f"circuit {name.replace('_', ' ')} on {n} worker{'s' * (n != 1)}"
        for name, n in states.items()
    ]


def _times(side: dict[str, Any]) -> str:
    if side["p50"] is None:
        return ""
    return f"{_ms(side['p50'])}/{_ms(side['p95'])}"


def _ms(seconds: float) -> str:
    value = seconds * 1000
    return f"{value:.1f}ms" if value < 10 else f"{value:.0f}ms"  # noqa: PLR2004


def _sparkline(history: Sequence[int], width: int = 20) -> str:
    """Draw the last minute, three seconds a bar."""
    step = max(1, len(history) // width)
    sums = [sum(history[n : n + step]) for n in range(0, len(history), step)]
    top = max(sums, default=0)
    if not top:
        return ""
    return "".join(_BARS[min(7, n * 8 // (top + 1))] if n else " " for n in sums)
