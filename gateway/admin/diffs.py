"""What mirrors have found, as plain values: counts of all workers, samples, learned noise."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from gateway.changes import ChangeRefused, unknown
from gateway.overrides import resolve
from gateway.shadow.noise import Noise
from gateway.shadow.sharing import DIFFS, NOISE, take_in
from gateway.store import StoreDown

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from gateway.blocks import Block
    from gateway.control import Control
    from gateway.observe.metrics import Part
    from gateway.routing import RouteTable
    from gateway.snapshot import Snapshot


#: Verdicts of answers that differ, the gravest first.
_APART = ("opened", "closed", "different")
_SAMPLE = frozenset({"method", "path", "query", "more"})
_ESSENCE = frozenset({"status", "bytes", "error"})
_DIFFERENCE = frozenset({"path", "legacy", "native", "kind", "note"})


@dataclass(slots=True)
class Counts:
    """What all workers have counted since each of them started, by the id of a route."""

    outcomes: dict[str, Counter[str]] = field(default_factory=dict)
    """How mirrors ended: `compared`, or why nothing was."""
    verdicts: dict[str, Counter[str]] = field(default_factory=dict)
    fields: dict[str, Counter[str]] = field(default_factory=dict)
    """Unexpected differences by field."""
    suspended: dict[str, str] = field(default_factory=dict)
    """The handlers that are to blame where a route is mirrored no more, on one worker at least."""

    def shortly(self, route: str) -> dict[str, Any]:
        """Return what a status says of a route."""
        verdicts = self.verdicts.get(route, Counter())
        return {
            "compared": verdicts.total(),
            "different": sum(verdicts[each] for each in _APART),
            "opened": verdicts["opened"],
            "mirror_suspended": self.suspended.get(route),
        }

    def row(self, route: str) -> dict[str, Any]:
        """Return all that is counted of a route."""
        return {
            "route": route,
            "verdicts": dict(self.verdicts.get(route, {})),
            "outcomes": dict(self.outcomes.get(route, {})),
            "fields": [list(each) for each in self.fields.get(route, Counter()).most_common()],
            "suspended": self.suspended.get(route),
        }

    def __contains__(self, route: str) -> bool:
        return route in self.outcomes or route in self.verdicts or route in self.suspended


def counts(parts: Sequence[Part]) -> Counts:
    """Add up what the workers tell; what was counted of HEAD belongs to GET."""
    found = Counts()
    for part in parts:
        told = part.get("mirrors")
        if told is None:
            continue
        for method, label, outcome, number in told["outcomes"]:
            found.outcomes.setdefault(_id(f"{method} {label}"), Counter())[outcome] += number
        for method, label, verdicts, fields in told["verdicts"]:
            route = _id(f"{method} {label}")
            found.verdicts.setdefault(route, Counter()).update(verdicts)
            found.fields.setdefault(route, Counter()).update(fields)
        if part.get("alive", True):
            found.suspended |= {_id(route): name for route, name in told["suspended"].items()}
    return found


async def look(control: Control) -> tuple[dict[str, Any], dict[str, Any], str]:
    """Return samples and noise from the store, and how it is: one that is down has neither.

    What another version has written otherwise is left out.
    """
    try:
        samples, noise = await control.documents(DIFFS, NOISE)
    except StoreDown:
        return {}, {}, "down"
    return {key: each for key, each in samples.items() if _is_sample(each)}, noise, "ok"


def _is_sample(document: Any) -> bool:
    try:
        return (
            document.keys() >= _SAMPLE
            and isinstance(document["route"], str)
            and isinstance(document["at"], int | float)
            and isinstance(document.get("verdict", ""), str)
            and all(document[side].keys() >= _ESSENCE for side in ("legacy", "native"))
            and all(each.keys() >= _DIFFERENCE for each in document["differences"])
        )
    except (AttributeError, KeyError, TypeError):
        return False


def wanted(route: str | None, table: RouteTable) -> frozenset[str] | None:
    """Return the ids of the routes that a ROUTE means, None for all. Raises ChangeRefused."""
    if route is None:
        return None
    found = resolve(route, table)
    if not found.ids and not found.alone:
        raise ChangeRefused(unknown(route, table))
    names = {*found.ids, *found.alone}
    return frozenset(
        _id(each.id)
        for each in table.routes
        if each.id in names or (each.rule is not None and each.rule.id in names)
    )


def newer(samples: Mapping[str, Any], than: float) -> dict[str, Any]:
    """Return the samples that were taken after `than`, in seconds since the epoch."""
    return {key: each for key, each in samples.items() if each["at"] > than}


def page(
    snapshot: Snapshot,
    parts: Sequence[Part],
    samples: Mapping[str, Any],
    noise: Mapping[str, Any],
    only: Iterable[str] | None,
    limit: int,
    now: float,
) -> dict[str, Any]:
    """Describe what was found of the routes `only`, or of all: `limit` samples, the newest first.

    A route has a row where it is mirrored, or where anything is known of it. What is blocked, or
    has opened, comes before all else. Times are in seconds since the epoch.
    """
    table, stand = snapshot.table, blocks(snapshot)
    counted = counts(parts)
    asked = frozenset(_id(each.id) for each in table.routes)
    if only is not None:
        asked &= frozenset(only)
    kept = [
        {**each, "route": _id(each["route"])}
        for each in samples.values()
        if _id(each["route"]) in asked
    ]
    kept.sort(key=lambda each: (each.get("verdict") == "opened", each["at"]), reverse=True)
    learned = _learned(noise, now)
    told = {each["route"] for each in kept} | learned.keys()
    told |= {_id(each.id) for each in table.routes if each.mirroring is not None}
    opened = {each["route"] for each in kept if each.get("verdict") == "opened"}
    opened |= {route for route, each in counted.verdicts.items() if each["opened"]}
    rows = [
        {
            **counted.row(route),
            "noise": learned.get(route, []),
            "blocked": stand.get(route),
        }
        for route in sorted(asked, key=lambda r: (r not in stand, r not in opened, *_by_path(r)))
        if route in told or route in counted or route in stand
    ]
    return {"routes": rows, "samples": kept[:limit], "more_samples": max(0, len(kept) - limit)}


def blocks(snapshot: Snapshot) -> dict[str, dict[str, Any]]:
    """Describe the blocks that stand, by the routes that legacy serves because of them."""
    return {_id(route): block_row(block) for route, block in snapshot.blocks.items()}


def block_row(block: Block) -> dict[str, Any]:
    """Describe one block."""
    return {
        "what": block.what,
        "since": block.since,
        "releases": list(block.releases),
    }


def _learned(documents: Mapping[str, Any], now: float) -> dict[str, list[dict[str, Any]]]:
    together: dict[str, Noise] = {}
    for route, document in documents.items():
        take_in(together.setdefault(_id(route), Noise()), document, now)
    listed = {route: noise.listing(now) for route, noise in together.items()}
    return {
        route: [asdict(each) for each in entries] for route, entries in listed.items() if entries
    }


def _id(route: str) -> str:
    method, _, path = route.partition(" ")
    return f"GET {path}" if method == "HEAD" else route


def _by_path(route: str) -> tuple[str, str]:
    method, _, path = route.partition(" ")
    return path, method
