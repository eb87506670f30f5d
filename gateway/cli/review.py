"""`gateway routes --auth`: the table that whoever has to sign the routes reads."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from rich.table import Table
from rich.text import Text

from gateway.cli.guarding import around_native, before, lost, weakest
from gateway.cli.output import out, print_json
from gateway.flask import refusing
from gateway.routing import Backend

if TYPE_CHECKING:
    from gateway.app import Gateway
    from gateway.routing import Route
    from gateway.snapshot import Snapshot

_COLUMNS = ("ROUTE", "SERVES", "AUTH", "CAN REFUSE A CALLER", "GUARDS NO LONGER", "RULE")


def auth_row(route: Route, serves: str, gateway: Gateway, snapshot: Snapshot) -> dict[str, Any]:
    """Tell everything that stands between a caller and the code that serves a route.

    `serves` is `legacy`, `native`, or a canary's `native 25%`, where either side may.
    """
    table, default = snapshot.table, snapshot.config.defaults.hooks
    sides = list(Backend) if " " in serves else [Backend(serves)]
    native = Backend.NATIVE in sides
    standings = {side: before(side, route, gateway, snapshot) for side in sides}
    # A canary's legacy side has all of Flask's; its native side perhaps less: `hooks` says so.
    around = (
        table.legacy.guards(route.legacy, route.method)
        if Backend.LEGACY in sides
        else around_native(table, route, default)
    )
    dependant = route.native.dependant if native and route.native is not None else None
    return {
        "route": route.id,
        "serves": serves,
        "auth": route.auth or "",
        "requires": sorted(route.requires),
        "hooks": route.hooks if native else "",
        "middleware": list(around.middleware),
        "before_request": list(around.hooks),
        "view": list(table.legacy.guards(route.legacy, route.method).view),
        "dependencies": [each.what for each in refusing.of_dependencies(dependant)],
        "can_refuse": {side.value: standing.lines for side, standing in standings.items()},
        "verdict": weakest(standings.values()),
        "lost": lost(route, table) if native else [],
        "rule": route.rule.id if route.rule else "",
    }


def show_auth(rows: list[dict[str, Any]], json: bool) -> None:
    """Print the rows, and how many of them nobody guards."""
    counts = Counter(row["verdict"] for row in rows)
    if json:
        print_json({"routes": rows, "verdicts": dict(counts)})
        return
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in _COLUMNS:
        table.add_column(column, overflow="fold")
    for row in rows:
        said = row["auth"] or ("not said" if row["serves"] != "legacy" else "")
        by, gone = "\n".join(_by_side(row["can_refuse"])), "\n".join(row["lost"])
        cells = (row["route"], row["serves"], said, by, gone, row["rule"])
        table.add_row(*(Text(cell) for cell in cells))
    out.print(table)
    out.print(
        f"\n{len(rows)} routes: {counts['guarded']} guarded, {counts['perhaps']} perhaps, "
        f"{counts['unknown']} unknown, {counts['nobody']} guarded by nobody"
    )


def _by_side(lines: dict[str, list[str]]) -> list[str]:
    """Name the side before each line where two sides serve, and not alike."""
    first, *others = lines.values()
    if all(first == each for each in others):
        return first
    return [f"{side}: {line}" for side, found in lines.items() for line in found]
