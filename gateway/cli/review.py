"""`gateway routes --auth`: the table that whoever has to sign the routes reads."""

from __future__ import annotations

import os
import re
import sys
from collections import Counter
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from gateway.cli.guarding import around_native, before, lost, weakest
from gateway.cli.output import cell, print_json
from gateway.routing import UNMOVED, Backend, Coverage

if TYPE_CHECKING:
    from gateway.app import Gateway
    from gateway.cli.guarding import Standing
    from gateway.routing import Route
    from gateway.snapshot import Snapshot

#: Columns where nothing says how wide the reader's paper is.
_WIDE = 160
#: A name of three parts or more.
_DOTTED = re.compile(r"[A-Za-z_]\w*(?:\.(?:\w+|<locals>)){2,}")
_SIGNS = ("refuses", "perhaps", "identifies")


def fits(route: Route, wanted: str) -> bool:
    """Tell whether `--filter` means a route: part of a path, endpoint, rule or owner, or a pattern.

    A text with `*`, `?` or `[` is a shell pattern of the whole word; case doesn't matter.
    """
    rule = route.rule
    words = [
        route.id,
        route.label,
        route.legacy.endpoint if route.legacy else "",
        route.native.name if route.native else "",
        rule.id if rule else "",
        (rule.config.owner or "") if rule else "",
    ]
    text = wanted.lower()
    if any(sign in text for sign in "*?["):
        return any(fnmatchcase(word.lower(), text) for word in words if word)
    return any(text in word.lower() for word in words)


def auth_row(route: Route, serves: str, gateway: Gateway, snapshot: Snapshot) -> dict[str, Any]:
    """Tell everything that stands between a caller and the code that serves a route.

    `serves` is `legacy`, `native`, or a canary's `native 25%`, where either side may.
    """
    table, default = snapshot.table, snapshot.config.defaults.hooks
    sides = list(Backend) if " " in serves else [Backend(serves)]
    native = Backend.NATIVE in sides
    standings = {side: before(side, route, gateway, snapshot) for side in sides}
    # A canary's legacy side has all of Flask's; its native side perhaps less: `hooks` says so.
    met = table.legacy.guards(route.legacy, route.method)
    around = (met if Backend.LEGACY in sides else around_native(table, route, default)).around
    rule = route.rule
    return {
        "route": route.id,
        "serves": serves,
        "auth": route.auth or "",
        "requires": sorted(route.requires),
        "hooks": route.hooks if native else "",
        "sides": {side.value: _signs(standing) for side, standing in standings.items()},
        "moved": native and route.coverage is Coverage.BOTH,
        "verdict": weakest(standings.values()),
        "around": [
            {"name": each.name, "place": each.place, "does": each.does, "evidence": each.evidence}
            for each in around
        ],
        "view": {"does": met.view.does, "evidence": met.view.evidence} if met.view else None,
        "lost": lost(route, table) if native else [],
        "refused": [str(each) for each in route.findings],
        "kept": bool(route.findings) and route.cutover not in UNMOVED,
        "accepted": dict(route.accepted),
        "rule": rule.id if rule else "",
        "owner": (rule.config.owner or "") if rule else "",
    }


def _signs(standing: Standing) -> dict[str, Any]:
    signs = {name: list(getattr(standing, name)) for name in _SIGNS}
    return {**signs, "unknown": standing.unknown}


def show_auth(rows: list[dict[str, Any]], json: bool) -> None:
    """Print the rows, and how many of them refuse, perhaps do, or let everybody in."""
    counts = Counter(row["verdict"] for row in rows)
    if json:
        print_json({"routes": rows, "verdicts": dict(counts)})
        return
    paper = _paper()
    table = Table(box=None, pad_edge=False, header_style="bold", expand=False)
    # At 80 columns the route gets 26, and each kind of sign 17.
    width = max(20, paper.width // 3)
    table.add_column("ROUTE", overflow="fold", max_width=width)
    for column in _SIGNS:
        table.add_column(column.upper(), overflow="fold", ratio=1)
    for row in rows:
        signs = [_lines(_by_side(row["sides"], name)) for name in _SIGNS]
        name = _by_segment(row["route"], width)
        table.add_row(_lines([*name, *(f"  {each}" for each in _serves(row))]), *signs)
    paper.print(table)
    told = [f"{counts[each]} {each}" for each in ("refuses", "perhaps", "unknown", "identifies")]
    told.append(f"{counts['nothing']} open")
    paper.print(f"\n{len(rows)} routes: {', '.join(told)}", soft_wrap=True)


def _by_segment(route: str, width: int) -> list[str]:
    """Fold a route's name between the segments of its path, as long as one fits into a line."""
    lines = [""]
    for part in re.split(r"(?<=[^ ])(?=/)", route):
        if lines[-1] and len(lines[-1]) + len(part) > width:
            lines.append("  ")
        lines[-1] += part
    return lines


def _lines(lines: list[str]) -> Text:
    return Text("\n").join(cell(line) for line in lines)


def _paper() -> Console:
    """Return a console that folds to the terminal, or to COLUMNS where there is none."""
    columns = os.environ.get("COLUMNS", "")
    width = None if sys.stdout.isatty() else int(columns) if columns.isdigit() else _WIDE
    return Console(highlight=False, width=width)


def _serves(row: dict[str, Any]) -> list[str]:
    """Say who serves a route, who guards it by its rule, and what that leaves out."""
    lines = [f"{row['serves']}{', ' if row['rule'] else ''}{row['rule']}"]
    if row["auth"] or row["moved"]:
        lines.append(f"auth: {row['auth'] or 'not said'}")
    if row["kept"]:
        lines.append("kept on legacy: see `gateway check`")
    lines += [f"accepts {code}: {reason}" for code, reason in row["accepted"].items()]
    return lines + [f"no longer guarded by {_short(each)}" for each in row["lost"]]


def _short(sign: str) -> str:
    """Shorten `shop.auth.checks.check_token (admin)` to `checks.check_token (admin)`."""
    return _DOTTED.sub(lambda found: _last_two(found[0]), sign)


def _last_two(name: str) -> str:
    return ".".join([part for part in name.split(".") if part != "<locals>"][-2:])


def _by_side(sides: dict[str, dict[str, Any]], name: str) -> list[str]:
    """List the signs of one kind; the side is named where two sides serve, and not alike."""
    lines = {side: [_short(each) for each in signs[name]] for side, signs in sides.items()}
    if name == "perhaps":
        for side, signs in sides.items():
            lines[side] += [signs["unknown"]] if signs["unknown"] else []
    first, *others = lines.values()
    if all(first == each for each in others):
        return first
    return [f"{side}: {line}" for side, found in lines.items() for line in found or ["nothing"]]
