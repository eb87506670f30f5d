"""What the admin pages show, as plain values: routes, status, overrides."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, urlsplit, urlunsplit

from gateway.admin import diffs
from gateway.observe.tally import HISTORY_SECONDS, Line, Moment, Totals, percentile, totals
from gateway.overrides import ALL
from gateway.routing import AUTOMATIC, UNMOVED, Coverage

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from gateway.observe.metrics import Part
    from gateway.overrides import Override
    from gateway.routing import Route
    from gateway.snapshot import Snapshot
    from gateway.store import Entry

#: The span of `rate` and `errors` in a status, in seconds.
RATE_SECONDS = 10


def listed(snapshot: Snapshot) -> list[Route]:
    """Return the routes worth a row, each once, in the order of paths.

    HEAD and OPTIONS are worth one where native could serve them and not as it serves the others.
    """
    kept: dict[tuple[str, str, str], Route] = {}
    held: set[tuple[str, str, object]] = set()
    for route in snapshot.table.routes:
        if route.method not in AUTOMATIC:
            kept.setdefault((route.label, route.method, _host(route)), route)
            held.add((route.label, _host(route), _holding(route)))
    for route in snapshot.table.routes:
        if route.method in AUTOMATIC and route.coverage is not Coverage.ONLY_LEGACY:
            get = kept.get((route.label, "GET", _host(route)))
            same = {(route.label, _host(route), _holding(get))} if get is not None else held
            if (route.label, _host(route), _holding(route)) not in same:
                kept.setdefault((route.label, route.method, _host(route)), route)
    return [kept[key] for key in sorted(kept)]


def _host(route: Route) -> str:
    return route.host or (route.legacy.host if route.legacy else "")


def _holding(route: Route) -> object:
    """Return what holds for a route, to be compared: its cutover, its rule, who may come."""
    rule = route.rule.index if route.rule is not None else None
    return route.cutover, route.threshold, rule, route.auth, route.requires


def route_row(route: Route) -> dict[str, Any]:
    """Describe one route: who has it, what holds for it."""
    return {
        "route": route.id,
        "method": route.method,
        "path": route.label,
        "host": _host(route),
        "legacy": route.legacy.endpoint if route.legacy else "",
        "native": route.native.name if route.native else "any" if route.native_opaque else "",
        "coverage": route.coverage.value,
        "rule": route.rule.id if route.rule else "",
        "cutover": route.cutover,
        "weight": route.threshold / 100 if route.cutover == "canary" else None,
        "overridden": route.overridden,
        "auth": route.auth or "",
        "requires": sorted(route.requires),
        "hooks": route.hooks,
        "findings": [each.code for each in route.findings] if route.cutover not in UNMOVED else [],
        "accepted": dict(route.accepted),
    }


def overrides(snapshot: Snapshot) -> dict[str, Any]:
    """Describe what beats the file just now, each with the ids that it holds for."""
    held: dict[str, tuple[Override, list[str]]] = {}
    for ident, override in snapshot.overrides.items():
        held.setdefault(override.route, (override, []))[1].append(ident)
    return {
        "revision": snapshot.revision,
        "kill_switch": snapshot.policy.kill_switch,
        "overrides": [{**each.as_json(), "holds_for": sorted(ids)} for each, ids in held.values()],
        "ignored": dict(snapshot.ignored),
    }


def status(snapshot: Snapshot, parts: Sequence[Part], now: float) -> dict[str, Any]:
    """Describe how each route does: share, rate, errors, durations of both sides, history.

    Rates are per second, over the last RATE_SECONDS; durations in seconds, shares in percent of
    what has been counted since the server started.
    """
    alive = [part for part in parts if part.get("alive", True)]
    counted = _by_path(totals(part["tally"] for part in parts))
    found = diffs.counts(parts)
    rows = []
    for route in listed(snapshot):
        override = snapshot.overrides.get(route.id) or (
            snapshot.overrides.get(route.rule.id) if route.rule else None
        )
        block = snapshot.blocks.get(route.id)
        rows.append(
            {
                **route_row(route),
                **_numbers(counted, route.label, route.method, now),
                **found.shortly(route.id),
                "blocked": diffs.block_row(block) if block is not None else None,
                "circuit": _circuit(route, alive),
                "file": override.replaced if override is not None else None,
                "override": override.as_json() if override is not None else None,
            }
        )
    rows.sort(key=lambda row: (row["blocked"] is None, not row["opened"]))
    return {
        "revision": snapshot.revision,
        "revisions": sorted({part["revision"] for part in alive}),
        "workers": len(alive),
        "since": min((part["started"] for part in alive), default=None),
        "kill_switch": snapshot.policy.kill_switch,
        "kill_switch_override": _json_of(snapshot, ALL),
        "ignored": dict(snapshot.ignored),
        "routes": rows,
        "other": _numbers(counted, "", None, now),
    }


def _circuit(route: Route, alive: Sequence[Part]) -> dict[str, int] | None:
    """Count the workers by the state of a route's circuit; None where it has none."""
    if route.circuit is None:
        return None
    states = Counter(part["circuits"].get(route.id, "closed") for part in alive)
    return dict(states)


def trail(entries: Iterable[Entry], snapshot: Snapshot) -> dict[str, Any]:
    """Describe the audit trail, and which findings the file accepts, for which routes and why."""
    routes: dict[tuple[int, str], list[Route]] = {}
    for route in snapshot.table.routes:
        for code in route.accepted:
            if route.rule is not None:
                routes.setdefault((route.rule.index, code), []).append(route)
    accepted = [
        {
            "rule": found[0].rule.id if found[0].rule is not None else "",
            "code": code,
            "reason": found[0].accepted[code],
            "owner": (found[0].rule.config.owner if found[0].rule is not None else None) or "",
            "routes": list(dict.fromkeys(each.id for each in found)),
        }
        for (_, code), found in routes.items()
    ]
    return {"entries": [entry_row(each) for each in entries], "accepted": accepted}


def entry_row(entry: Entry) -> dict[str, Any]:
    """Describe one line of the audit trail."""
    return asdict(entry)


def _json_of(snapshot: Snapshot, ident: str) -> dict[str, Any] | None:
    found = snapshot.overrides.get(ident)
    return asdict(found) if found is not None else None


Counted = dict[str, dict[str, tuple[dict[str, Line], dict[int, Moment]]]]
"""By path template and method: what each side has served, and when."""


def _by_path(whole: Totals) -> Counted:
    found: Counted = {}
    for (method, label, side), line in whole.lines.items():
        sides, _ = found.setdefault(label, {}).setdefault(method, ({}, {}))
        sides.setdefault(side, Line()).add(line)
    for (method, label), moments in whole.history.items():
        found.setdefault(label, {}).setdefault(method, ({}, {}))[1].update(moments)
    return found


def _numbers(counted: Counted, label: str, method: str | None, now: float) -> dict[str, Any]:
    """Add up a route's methods: GET includes HEAD, None is all of them."""
    sides = {"legacy": Line(), "native": Line(), "guard": Line()}
    moments: dict[int, Moment] = {}
    for each, held in counted.get(label, {}).items():
        if method in (None, each) or (method == "GET" and each == "HEAD"):
            for side, line in held[0].items():
                sides[side].add(line)
            for second, moment in held[1].items():
                moments.setdefault(second, Moment()).add(moment)
    legacy, native = sides["legacy"], sides["native"]
    last = int(now)
    recent = [moments[s] for s in moments if last - RATE_SECONDS < s <= last]
    count = legacy.count + native.count
    return {
        "requests": count,
        "refused": sides["guard"].count,
        "failovers": legacy.reasons.get("failover", 0),
        "bypassed": legacy.reasons.get("middleware", 0),
        "native_share": 100 * native.count / count if count else None,
        "rate": sum(m.legacy + m.native for m in recent) / RATE_SECONDS,
        "error_rate": sum(m.errors for m in recent) / RATE_SECONDS,
        "sides": {"legacy": _side(legacy), "native": _side(native)},
        "history": [
            moments[s].legacy + moments[s].native if s in moments else 0
            for s in range(last - HISTORY_SECONDS + 1, last + 1)
        ],
    }


def _side(line: Line) -> dict[str, Any]:
    return {
        "requests": line.count,
        "errors": line.errors,
        "p50": percentile(line.durations, 0.5),
        "p95": percentile(line.durations, 0.95),
    }


def config(snapshot: Snapshot, file: str, restart_required: Sequence[str]) -> dict[str, Any]:
    """Describe the config in force. It names where secrets are, and holds none."""
    values = snapshot.config.model_dump(mode="json")
    if values["state"] and not values["state"].startswith("sqlite:"):
        values["state"] = _without_secrets(values["state"])
    return {
        "revision": snapshot.revision,
        "file": file,
        "restart_required": list(restart_required),
        "config": values,
        "warnings": [str(problem) for problem in snapshot.warnings],
    }


def _without_secrets(url: str) -> str:
    """Leave out whatever may hold a password: the user's part, and all of a query but `prefix`."""
    parts = urlsplit(url)
    _, at, host = parts.netloc.rpartition("@")
    shown = [f"{k}={v if k == 'prefix' else '***'}" for k, v in parse_qsl(parts.query)]
    kept = parts._replace(netloc=f"***@{host}" if at else host, query="&".join(shown))
    return urlunsplit(kept)
