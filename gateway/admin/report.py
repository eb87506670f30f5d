"""What the mirrors have found, as one HTML file that needs nothing else, not even JavaScript."""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from gateway.printable import shown

if TYPE_CHECKING:
    from collections.abc import Callable

VERDICTS = ("opened", "closed", "different", "raced", "equal", "expected", "noise")
#: Verdicts of answers that differ unexpectedly.
APART = ("opened", "closed", "different")
_FLAPS = {"changed": "value", "type": "type", "absent": "comes and goes", "order": "order"}


def html(data: dict[str, Any], now: float | None = None) -> str:
    """Write what `/-/diffs` says as a page; whatever the apps have answered is inert text there."""
    samples = data["samples"]
    routes = [_route(row, samples) for row in data["routes"]]
    totals = {
        name: sum(row["verdicts"].get(name, 0) for row in data["routes"]) for name in VERDICTS
    }
    text: str = _template().render(
        routes=sorted(routes, key=lambda each: (not each["blocked"], not each["differs"])),
        apart=sum(totals[name] for name in APART),
        totals=totals,
        verdicts=VERDICTS,
        counted=bool(data["workers"]),
        store=data["store"],
        more=data["more_samples"],
        written=time.time() if now is None else now,
    )
    return text


def kind(difference: dict[str, Any]) -> str:
    """Say how two values differ; also where that can't be seen, as both are hidden."""
    said = [difference["kind"], difference["note"]]
    if difference["kind"] == "changed" and difference["legacy"] == difference["native"]:
        said.append("in what is hidden")
    return ": ".join(each for each in said if each)


def _route(row: dict[str, Any], samples: list[dict[str, Any]]) -> dict[str, Any]:
    own = [each for each in samples if each["route"] == row["route"]]
    return {
        **row,
        "verdicts": {name: row["verdicts"].get(name, 0) for name in VERDICTS},
        "compared": sum(row["verdicts"].values()),
        "differs": bool(own or any(row["verdicts"].get(name) for name in APART)),
        "blocked": row.get("blocked"),
        "samples": own,
        "skipped": {name: n for name, n in row["outcomes"].items() if name != "compared"},
    }


def _template() -> Any:
    environment = Environment(
        loader=PackageLoader("gateway.admin"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    filters: dict[str, Callable[..., Any]] = {
        "shown": shown,
        "value": _value,
        "kind": kind,
        "lines": lambda text: "\n".join(map(shown, text.rstrip("\n").split("\n"))),
        "flap": lambda name: _FLAPS.get(name, name),
        "when": lambda at: f"{datetime.fromtimestamp(at, UTC).astimezone():%Y-%m-%d %H:%M:%S}",
        "percent": lambda part, whole: f"{100 * part / whole if whole else 0:.2f}",
        "number": lambda number: f"{number:,}",
    }
    environment.filters.update(filters)
    return environment.get_template("diffs.html")


def _value(value: Any) -> str:
    """Write a value as JSON, so that 1 and "1" look different."""
    return shown(json.dumps(value, ensure_ascii=False))
