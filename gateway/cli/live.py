"""Commands that steer a running gateway: set, rollback, clear, status, audit."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated, get_args

import typer
from rich.live import Live
from rich.table import Table

from gateway.changes import Wanted, way_out
from gateway.cli.output import (
    ConfigArgument,
    ConfigOption,
    JsonOption,
    RouteArgument,
    UrlOption,
    apart,
    author,
    cell,
    chosen,
    duration,
    fail,
    local_time,
    names_config,
    one_config,
    out,
    print_json,
)
from gateway.cli.picture import narrowed, picture
from gateway.cli.remote import Place, place
from gateway.cli.writing import write as write_file
from gateway.config import Auth, Cutover
from gateway.overrides import ALL, as_cutover, written

ReasonOption = Annotated[str, typer.Option("--reason", help="Why, for the audit trail.")]
AllOption = Annotated[bool, typer.Option("--all", help="Every route: the kill switch.")]
IfMatchOption = Annotated[
    str | None,
    typer.Option("--if-match", help="Change nothing unless this is still the revision."),
]
WriteOption = Annotated[
    bool, typer.Option("--write", help="Change the config file instead; comments stay.")
]
AuthOption = Annotated[
    Auth | None,
    typer.Option(
        "--auth", help="Who guards the native handler; with --write, for it goes into the file."
    ),
]
_NOT_WRITTEN = {
    "--for": "the file has no clock",
    "--if-match": "the file has no revision",
    "--url": "it changes the file here, not a running gateway",
    "--reason": "the file has no audit trail, say it in a comment or the commit",
}


def register(app: typer.Typer) -> None:
    """Add this module's commands to `app`."""
    app.command("set", epilog="Example: gateway set users canary --weight 10 --for 30m")(set_)
    app.command(epilog="Example: gateway rollback users --reason 'wrong totals'")(rollback)
    app.command(epilog="Example: gateway clear users")(clear)
    app.command(epilog="Example: gateway status --url http://localhost:8000 --watch")(status)
    app.command(epilog="Example: gateway audit users --limit 20")(audit)


def set_(
    words: Annotated[
        list[str],
        typer.Argument(
            metavar="[ROUTE] CUTOVER [CONFIG]",
            help=f"The route, and its cutover: {', '.join(get_args(Cutover))}.",
        ),
    ],
    weight: Annotated[
        float | None, typer.Option(help="Percent of identities for native; with canary.")
    ] = None,
    lasts: Annotated[
        str | None,
        typer.Option(
            "--for", help="How long it holds: 30s, 30m, 2h; a year at most. Default: for good."
        ),
    ] = None,
    reason: ReasonOption = "",
    every: AllOption = False,
    write: WriteOption = False,
    auth: AuthOption = None,
    if_match: IfMatchOption = None,
    url: UrlOption = None,
    config: ConfigOption = None,
    json: JsonOption = False,
) -> None:
    """Change a route's cutover while traffic flows; `set --all legacy` is the kill switch."""
    if len(words) > 1 and names_config(words[-1]):
        config = one_config(Path(words.pop()), config)
    route, cutover = _words(words, every=every)
    if auth is not None and (every or not write):
        fail("--auth is written into a rule of the file: name a ROUTE, and say --write")
    try:
        wanted = Wanted(
            "set", route, as_cutover(cutover), weight, duration("--for", lasts), author(), reason
        )
    except ValueError as error:
        fail(str(error))
    if write:
        _only_live({"--for": lasts, "--if-match": if_match, "--url": url, "--reason": reason})
        _written(wanted, config, auth, json=json)
        return
    change(place(url, config, chosen(config)), wanted, if_match, json=json)


def _words(words: list[str], *, every: bool) -> tuple[str | None, str]:
    if len(words) != (1 if every else 2):
        quoted = ", a ROUTE with a blank in quotes" if len(words) > 2 else ""  # noqa: PLR2004
        fail(f"write `gateway set ROUTE CUTOVER`, or `gateway set --all legacy`{quoted}")
    return (None if every else words[0]), words[-1]


def rollback(
    route: RouteArgument = None,
    file: ConfigArgument = None,
    every: AllOption = False,
    reason: ReasonOption = "",
    write: WriteOption = False,
    if_match: IfMatchOption = None,
    url: UrlOption = None,
    config: ConfigOption = None,
    json: JsonOption = False,
) -> None:
    """Put a route, or all, back on legacy; it stays there until `gateway clear`."""
    route, config = apart(route, file, config)
    wanted = Wanted("rollback", _one(route, every=every), author=author(), reason=reason)
    if write:
        _only_live({"--if-match": if_match, "--url": url, "--reason": reason})
        _written(wanted, config, None, json=json)
        return
    change(place(url, config, chosen(config)), wanted, if_match, json=json)


def clear(
    route: RouteArgument = None,
    file: ConfigArgument = None,
    every: AllOption = False,
    reason: ReasonOption = "",
    write: Annotated[bool, typer.Option("--write", hidden=True)] = False,
    if_match: IfMatchOption = None,
    url: UrlOption = None,
    config: ConfigOption = None,
    json: JsonOption = False,
) -> None:
    """Drop an override, or all of them: the file has the last word again.

    There is no --write: overrides aren't in the file, so that there is nothing to write.
    """
    route, config = apart(route, file, config)
    if write:
        fail("clear has no --write: overrides aren't in the file; `gateway set --write` changes it")
    wanted = Wanted("clear", _one(route, every=every), author=author(), reason=reason)
    change(place(url, config, chosen(config)), wanted, if_match, json=json)


def _one(route: str | None, *, every: bool) -> str | None:
    if (route is None) != every:
        fail("name a route, or say --all")
    return route


def _only_live(given: dict[str, str | None]) -> None:
    """Refuse what means something to a running gateway only."""
    for option, value in given.items():
        if value:
            fail(f"{option} has no meaning with --write: {_NOT_WRITTEN[option]}")


def _written(wanted: Wanted, config: Path | None, auth: Auth | None, *, json: bool) -> None:
    done = write_file(wanted, chosen(config), auth)
    if json:
        print_json(done)
        return
    says = written(done["cutover"], done["weight"])
    for route in done["routes"]:
        what = "kill switch on" if route == ALL else f"{route}: {says}"
        what += f", auth: {auth}" if auth is not None else ""
        out.print(cell(f"{done['file']}: {what}"))
    _skipped(done["skipped"])


def change(where: Place, wanted: Wanted, revision: str | None, *, json: bool) -> None:
    """Carry out a change, and say what has come of it."""
    done = where.change(wanted, _revision(revision))
    if json:
        print_json(done)
        return
    verb = {"set": f"set to {written(wanted.cutover, wanted.weight)}", "rollback": "on legacy"}
    verb["accept"] = "blocked no more, for the release in which it opened"
    what = verb.get(wanted.action, "as the file says")
    for route in done["routes"]:
        name = "everything that legacy can serve" if route == ALL else route
        out.print(cell(f"{name}: {what}"))
        if wanted.action == "accept":
            out.print(cell(f"  if it was rolled back as well: gateway clear '{name}'", "dim"))
    if not done["routes"]:
        out.print("nothing to change")
    _skipped(done["skipped"])
    for warning in done["warnings"]:
        out.print(cell(warning, "yellow"))
    for route in done.get("blocked", ()):
        out.print(cell(f"{route}: blocked, legacy serves it: {way_out(route)}", "red"))
    out.print(cell(f"revision {done['revision']}", "dim"))


def _skipped(routes: list[str]) -> None:
    for route in routes:
        out.print(cell(f"{route}: only one side has it, left as it is", "dim"))


def _revision(text: str | None) -> str | None:
    """Take a revision as a status prints it, or as an ETag has it."""
    if text is None:
        return None
    bare = text.strip().removeprefix('"').removesuffix('"')
    if not bare or not bare.isascii() or not bare.isprintable():
        fail(f"--if-match {text!r} is no revision: `gateway status` prints it")
    return bare


# -- looking ----------------------------------------------------------------------------------


def status(
    route: RouteArgument = None,
    file: ConfigArgument = None,
    watch: Annotated[bool, typer.Option("--watch", help="Keep it up to date.")] = False,
    url: UrlOption = None,
    config: ConfigOption = None,
    json: JsonOption = False,
) -> None:
    """Show how each route does: cutover, share, rate, errors, durations of both sides."""
    route, config = apart(route, file, config)
    if watch and json:
        fail("--watch draws: leave it out to get JSON")
    where = place(url, config, chosen(config))
    data = narrowed(where.status(), route)
    if json:
        print_json(data)
        return
    if not watch:
        out.print(picture(data, out.width))
        return
    with Live(picture(data, out.width), console=out, screen=False) as live:
        try:
            while True:
                time.sleep(1)
                live.update(picture(narrowed(where.status(), route), out.width))
        except KeyboardInterrupt:
            return


def audit(
    route: RouteArgument = None,
    file: ConfigArgument = None,
    limit: Annotated[int, typer.Option(min=1, max=1000, help="How many lines.")] = 20,
    url: UrlOption = None,
    config: ConfigOption = None,
    json: JsonOption = False,
) -> None:
    """Show what was changed, by whom and why; the newest first.

    A rule's changes are its routes', too: `audit ROUTE` tells both, whichever is named.
    """
    route, config = apart(route, file, config)
    trail = place(url, config, chosen(config)).audit(limit, route)
    if json:
        print_json(trail)
        return
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in ("WHEN", "WHAT", "ROUTE", "CHANGE", "BY", "WHY"):
        table.add_column(column, overflow="fold")
    for entry in trail["entries"]:
        cells = (
            local_time(entry["at"], "%Y-%m-%d %H:%M:%S"),
            entry["action"],
            entry["route"],
            f"{entry['before'] or 'nothing'} → {entry['after'] or 'the file'}",
            entry["author"],
            entry["reason"],
        )
        # Not held to be texts: the store keeps what any version has written.
        table.add_row(*(cell(str(each)) for each in cells))
    out.print(table)
    for each in trail.get("accepted", ()):
        by = f", {each['owner']}" if each["owner"] else ""
        for_ = f"{len(each['routes'])} route{'s' * (len(each['routes']) != 1)}"
        line = f"the file accepts {each['code']} of {each['rule']} ({for_}{by}): {each['reason']}"
        out.print(cell(line), soft_wrap=True)
