"""Commands that steer a running gateway: set, rollback, clear, status, audit."""

from __future__ import annotations

import getpass
import os
import shutil
import socket
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from gateway.app import Gateway
from gateway.changes import ChangeRefused, Wanted, plan
from gateway.cli.output import (
    ConfigOption,
    JsonOption,
    UrlOption,
    chosen,
    fail,
    out,
    print_json,
    report,
)
from gateway.cli.remote import Place, place
from gateway.editing import add_rule, set_kill_switch, set_rule
from gateway.exceptions import ConfigError
from gateway.loading import load
from gateway.overrides import ALL, Held, as_cutover, written
from gateway.units import parse_duration

if TYPE_CHECKING:
    from pathlib import Path

ReasonOption = Annotated[str, typer.Option("--reason", help="Why, for the audit trail.")]
AllOption = Annotated[bool, typer.Option("--all", help="Every route: the kill switch.")]
IfMatchOption = Annotated[
    str | None,
    typer.Option("--if-match", help="Change nothing unless this is still the revision."),
]
WriteOption = Annotated[
    bool, typer.Option("--write", help="Change the config file instead; comments are kept.")
]
RouteArgument = Annotated[
    str | None,
    typer.Argument(help="A rule's name, 'GET /items/{id}', or a path for all its methods."),
]
_BARS = "▁▂▃▄▅▆▇█"


def register(app: typer.Typer) -> None:
    """Add this module's commands to `app`."""
    app.command("set", epilog="Example: gateway set users canary --weight 10 --for 30m")(set_)
    app.command(epilog="Example: gateway rollback users --reason 'wrong totals'")(rollback)
    app.command(epilog="Example: gateway clear users")(clear)
    app.command(epilog="Example: gateway status --url http://localhost:8000 --watch")(status)
    app.command(epilog="Example: gateway audit users --limit 20")(audit)


def set_(
    words: Annotated[
        list[str], typer.Argument(metavar="[ROUTE] CUTOVER", help="The route, and its cutover.")
    ],
    weight: Annotated[
        float | None, typer.Option(help="Percent of identities for native; with canary.")
    ] = None,
    lasts: Annotated[
        str | None, typer.Option("--for", help="How long it holds: 30m, 2h. Default: for good.")
    ] = None,
    reason: ReasonOption = "",
    every: AllOption = False,
    write: WriteOption = False,
    if_match: IfMatchOption = None,
    url: UrlOption = None,
    config: ConfigOption = None,
    json: JsonOption = False,
) -> None:
    """Change a route's cutover while traffic flows; `set --all legacy` is the kill switch."""
    route, cutover = _words(words, every=every)
    try:
        wanted = Wanted(
            "set", route, as_cutover(cutover), weight, _seconds(lasts), _author(), reason
        )
    except ValueError as error:
        fail(str(error))
    if write:
        if wanted.seconds is not None:
            fail("--for has no meaning with --write: the file has no clock")
        _write(wanted, config)
        return
    _change(place(url, config, chosen(config)), wanted, if_match, json=json)


def _words(words: list[str], *, every: bool) -> tuple[str | None, str]:
    if len(words) != (1 if every else 2):
        fail("write `gateway set ROUTE CUTOVER`, or `gateway set --all legacy`")
    return (None if every else words[0]), words[-1]


def rollback(
    route: RouteArgument = None,
    every: AllOption = False,
    reason: ReasonOption = "",
    write: WriteOption = False,
    if_match: IfMatchOption = None,
    url: UrlOption = None,
    config: ConfigOption = None,
    json: JsonOption = False,
) -> None:
    """Put a route, or all, back on legacy; it stays there until `gateway clear`."""
    wanted = Wanted("rollback", _one(route, every=every), author=_author(), reason=reason)
    if write:
        _write(wanted, config)
        return
    _change(place(url, config, chosen(config)), wanted, if_match, json=json)


def clear(
    route: RouteArgument = None,
    every: AllOption = False,
    reason: ReasonOption = "",
    if_match: IfMatchOption = None,
    url: UrlOption = None,
    config: ConfigOption = None,
    json: JsonOption = False,
) -> None:
    """Drop an override, or all of them: the file has the last word again."""
    wanted = Wanted("clear", _one(route, every=every), author=_author(), reason=reason)
    _change(place(url, config, chosen(config)), wanted, if_match, json=json)


def _one(route: str | None, *, every: bool) -> str | None:
    if (route is None) != every:
        fail("name a route, or say --all")
    return route


def _change(where: Place, wanted: Wanted, revision: str | None, *, json: bool) -> None:
    done = where.change(wanted, revision)
    if json:
        print_json(done)
        return
    verb = {"set": f"set to {written(wanted.cutover, wanted.weight)}", "rollback": "on legacy"}
    what = verb.get(wanted.action, "as the file says")
    for route in done["routes"]:
        name = "everything that legacy can serve" if route == ALL else route
        out.print(Text(f"{name}: {what}"))
    if not done["routes"]:
        out.print("nothing to change")
    for route in done["skipped"]:
        out.print(Text(f"{route}: only one side has it, left as it is", "dim"))
    out.print(Text(f"revision {done['revision']}", "dim"))


def _author() -> str:
    try:
        return f"{getpass.getuser()}@{socket.gethostname()}"[:100]
    except (KeyError, OSError):
        return str(os.getuid())


def _seconds(text: str | None) -> float | None:
    if text is None:
        return None
    try:
        return float(parse_duration(text))
    except (TypeError, ValueError) as error:
        fail(str(error))


# -- the file ---------------------------------------------------------------------------------


def _write(wanted: Wanted, config: Path | None) -> None:
    """Put the change into the YAML: only if the whole is right with it."""
    path = chosen(config)
    loaded, table = load(path), Gateway(config=path, verify_lock=False).table
    try:
        planned = plan(wanted, loaded.config, table, Held(), time.time())
    except ChangeRefused as error:
        fail(str(error), 1)
    target = path.resolve()
    text = target.read_text(encoding="utf-8")
    weight = wanted.weight if wanted.cutover == "canary" else None
    for ident in planned.routes:
        index = next((rule.index for rule in table.rules if rule.id == ident), None)
        if ident == ALL:
            text = set_kill_switch(text, on=True)
        elif index is not None:
            text = set_rule(text, index, wanted.cutover, weight)
        elif not ident.startswith("HEAD "):  # GET includes it
            method, _, label = ident.partition(" ")
            ending = f", weight: {weight:g}" if weight is not None else ""
            rule = f'{{path: "{label}", methods: [{method}], cutover: {wanted.cutover}{ending}}}'
            text = add_rule(text, rule)
    fresh = target.with_name(f".{target.name}.new")
    try:
        fresh.write_text(text, encoding="utf-8")
        shutil.copymode(target, fresh)
        Gateway(config=fresh)
        fresh.replace(target)
    except ConfigError as error:
        report(error.problems)
        fail(f"{path} is unchanged: the config would be wrong", 1)
    finally:
        fresh.unlink(missing_ok=True)
    for ident in planned.routes:
        out.print(Text(f"{path}: {ident}: {written(wanted.cutover, weight)}"))


# -- looking ----------------------------------------------------------------------------------


def status(
    route: RouteArgument = None,
    watch: Annotated[bool, typer.Option("--watch", help="Keep it up to date.")] = False,
    url: UrlOption = None,
    config: ConfigOption = None,
    json: JsonOption = False,
) -> None:
    """Show how each route does: cutover, share, rate, errors, durations of both sides."""
    where = place(url, config, chosen(config))
    if json:
        print_json(where.status())
        return
    if not watch:
        out.print(_picture(where.status(), route))
        return
    with Live(_picture(where.status(), route), console=out, screen=False) as live:
        try:
            while True:
                time.sleep(1)
                live.update(_picture(where.status(), route))
        except KeyboardInterrupt:
            return


def _picture(data: dict[str, Any], only: str | None) -> Group:
    counted = data["workers"] > 0
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("ROUTE", overflow="fold")
    table.add_column("CUTOVER", overflow="fold")
    if counted:
        for name in ("NATIVE", "REQ/S", "ERR/S", "LEGACY p50/p95", "NATIVE p50/p95"):
            table.add_column(name, justify="right", no_wrap=True)
        table.add_column("LAST MINUTE", no_wrap=True)
    table.add_column("THE FILE SAYS", overflow="fold")
    for row in data["routes"]:
        if only is not None and only not in (row["route"], row["rule"], row["path"]):
            continue
        cells = [Text(row["route"]), _cutover(row, switched=data["kill_switch"])]
        if counted:
            share = row["native_share"]
            errors = Text(f"{row['error_rate']:.1f}", "red" if row["error_rate"] else "")
            cells += [
                Text("" if share is None else f"{share:.0f}%"),
                Text(f"{row['rate']:.1f}"),
                errors,
                Text(_times(row["sides"]["legacy"])),
                Text(_times(row["sides"]["native"])),
                Text(_sparkline(row["history"]), "green"),
            ]
        cells.append(Text(_open_circuit(row), "red").append(_differs(row)))
        table.add_row(*cells)
    return Group(*_head(data), table)


def _head(data: dict[str, Any]) -> list[Text]:
    lines = []
    if data["kill_switch"]:
        held = data["kill_switch_override"]
        who = f" (by {held['author'] or 'nobody named'}: {held['reason']})" if held else ""
        lines.append(Text(f"KILL SWITCH: legacy serves all that it can{who}", "bold red"))
    health = data["health"]
    if health["config"] != "ok":
        lines.append(Text(f"config: {health['config']}", "bold red"))
    if health["store"] != "ok":
        lines.append(Text(f"store: {health['store']}", "bold red"))
    if health["restart_required"]:
        lines.append(Text(f"restart to change {', '.join(health['restart_required'])}", "yellow"))
    lines += [
        Text(f"the override of {name} is ignored: {why}", "yellow")
        for name, why in data["ignored"].items()
    ]
    workers = f", {data['workers']} workers" if data["workers"] else ", no running gateway asked"
    lines.append(Text(f"revision {data['revision']}{workers}\n", "dim"))
    return lines


def _cutover(row: dict[str, Any], *, switched: bool) -> Text:
    if row["coverage"] != "both":
        return Text(row["coverage"].replace("_", " "), "dim")
    if switched:
        return Text("legacy", "red")
    text = written(row["cutover"], row["weight"])
    colour = {"legacy": "cyan", "native": "green"}.get(row["cutover"], "yellow")
    return Text(text, f"bold {colour}" if row["overridden"] else colour)


def _open_circuit(row: dict[str, Any]) -> str:
    """Say on how many workers legacy serves as native fails: state is each worker's own."""
    states = {name: n for name, n in (row["circuit"] or {}).items() if name != "closed"}
    return "".join(f"circuit {name.replace('_', ' ')} on {n}; " for name, n in states.items())


def _differs(row: dict[str, Any]) -> Text:
    held = row["override"]
    if held is None:
        return Text("")
    until = ""
    if held["expires"] is not None:
        left = max(0, held["expires"] - time.time())
        until = f", {left / 60:.0f} min left"
    why = f": {held['reason']}" if held["reason"] else ""
    return Text(f"{row['file']} ({held['kind']} by {held['author'] or 'nobody'}{until}{why})")


def _times(side: dict[str, Any]) -> str:
    if side["p50"] is None:
        return ""
    return f"{_ms(side['p50'])}/{_ms(side['p95'])}"


def _ms(seconds: float) -> str:
    value = seconds * 1000
    return f"{value:.1f}ms" if value < 10 else f"{value:.0f}ms"  # noqa: PLR2004


def _sparkline(history: list[int], width: int = 20) -> str:
    """Draw the last minute, three seconds a bar."""
    step = max(1, len(history) // width)
    sums = [sum(history[n : n + step]) for n in range(0, len(history), step)]
    top = max(sums, default=0)
    if not top:
        return ""
    return "".join(_BARS[min(7, n * 8 // (top + 1))] if n else " " for n in sums)


def audit(
    route: RouteArgument = None,
    limit: Annotated[int, typer.Option(min=1, max=1000, help="How many lines.")] = 20,
    url: UrlOption = None,
    config: ConfigOption = None,
    json: JsonOption = False,
) -> None:
    """Show what was changed, by whom and why; the newest first."""
    entries = place(url, config, chosen(config)).audit(limit, route)
    if json:
        print_json({"entries": entries})
        return
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in ("WHEN", "WHAT", "ROUTE", "CHANGE", "BY", "WHY"):
        table.add_column(column, overflow="fold")
    for entry in entries:
        when = datetime.fromtimestamp(entry["at"], UTC).astimezone()
        table.add_row(
            *(
                Text(cell)
                for cell in (
                    f"{when:%Y-%m-%d %H:%M:%S}",
                    entry["action"],
                    entry["route"],
                    f"{entry['before'] or 'nothing'} → {entry['after'] or 'the file'}",
                    entry["author"],
                    entry["reason"],
                )
            )
        )
    out.print(table)
