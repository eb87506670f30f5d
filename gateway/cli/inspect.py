"""Commands that look and don't touch: check, routes, match, schema, lock."""

from __future__ import annotations

import time
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any
from urllib.parse import unquote, urlsplit

import typer
from rich.table import Table
from rich.text import Text

from gateway.admin import views
from gateway.app import Gateway
from gateway.cli.output import (
    ConfigArgument,
    ConfigOption,
    JsonOption,
    UrlOption,
    chosen,
    fail,
    out,
    print_json,
    report,
)
from gateway.cli.remote import place
from gateway.config import Config
from gateway.cutover import Caller, decide, find_identity
from gateway.exceptions import ConfigError
from gateway.inventory import Guards
from gateway.loading import load
from gateway.lock import lock_lines, lock_path, write_lock
from gateway.routing import (
    REASONS,
    Backend,
    Coverage,
    Match,
    Reason,
    Route,
    request_host,
)

if TYPE_CHECKING:
    from gateway.cutover import Decision


def register(app: typer.Typer) -> None:
    """Add this module's commands to `app`."""
    app.command(epilog="Example: gateway check config/gateway.yaml")(check)
    app.command(epilog="Example: gateway routes --json")(routes)
    app.command(epilog="Example: gateway match GET /users/7 -H 'X-Account: alice'")(match)
    app.command(epilog="Example: gateway schema > gateway.schema.json")(schema)
    app.command(epilog="Example: gateway lock --check")(lock)


def check(config: ConfigArgument = None, json: JsonOption = False) -> None:
    """Check the configuration against both apps; report every problem at once."""
    path = chosen(config)
    try:
        problems = Gateway(config=path).snapshots.current.warnings
    except ConfigError as error:
        problems = error.problems
    errors = [problem for problem in problems if not problem.warning]
    unusable = any(problem.code in ("missing-file", "unreadable-file") for problem in problems)
    if json:
        print_json([asdict(problem) for problem in problems])
    else:
        report(problems)
        if not errors:
            out.print(f"{path}: ok, {len(problems)} warning{'s' * (len(problems) != 1)}")
    if errors:
        raise typer.Exit(2 if unusable else 1)


def schema() -> None:
    """Print the configuration's JSON Schema, for editors."""
    print_json(
        {"$schema": "https://json-schema.org/draft/2020-12/schema"} | Config.model_json_schema()
    )


def lock(
    config: ConfigArgument = None,
    check: Annotated[bool, typer.Option("--check", help="Only compare; write nothing.")] = False,
) -> None:
    """Write routes.lock, the committed list of both apps' routes, or compare with it."""
    path = chosen(config)
    loaded = load(path)
    gateway = Gateway(config=path, verify_lock=False)
    if not check:
        written = write_lock(loaded, gateway.table)
        out.print(f"{written.name}: {len(lock_lines(gateway.table))} routes")
        return
    problems = list(gateway.lock_problems())
    report(problems)
    if not lock_path(loaded).exists():
        fail(f"there is no {lock_path(loaded).name} (write it: gateway lock)", 1)
    if problems:
        raise typer.Exit(1)
    out.print(f"{lock_path(loaded).name}: ok")


def _static(route: Route, gateway: Gateway) -> tuple[str, Reason]:
    """Return who serves a route as far as no single request is needed to tell."""
    policy = gateway.snapshots.current.policy
    if route.cutover == "canary" and not policy.kill_switch:
        return f"native {route.threshold / 100:g}%", Reason.CANARY
    decision = decide(Match(route), {"headers": []}, policy)
    return decision.backend.value, decision.reason


AuthOption = Annotated[
    bool, typer.Option("--auth", help="Show who guards each route instead, for a reviewer.")
]


UsageOption = Annotated[
    bool,
    typer.Option("--usage", help="Ask a running gateway which routes nobody calls (needs --url)."),
]


def routes(
    config: ConfigArgument = None,
    auth: AuthOption = False,
    usage: UsageOption = False,
    url: UrlOption = None,
    json: JsonOption = False,
) -> None:
    """List every route of both apps: who has it, which rule governs it, who serves it and why."""
    if usage:
        _show_usage(place(url, None, chosen(config)).status(), json=json)
        return
    gateway = Gateway(config=chosen(config))
    listed = views.listed(gateway.snapshots.current)
    if auth:
        _show_auth([_auth_row(route, gateway) for route in listed], json=json)
        return
    rows = [_row(route, gateway) for route in listed]
    # FastAPI's own pages (/docs and its like) are nobody's work: they don't count.
    counted = [row for row, route in zip(rows, listed, strict=True) if not _is_frameworks(route)]
    native = sum(row["serves"] == "native" for row in counted)
    if json:
        print_json({"routes": rows, "native": native, "total": len(counted)})
        return
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in ("METHOD", "PATH", "LEGACY", "NATIVE", "CUTOVER", "SERVES", "WHY"):
        table.add_column(column, overflow="fold")
    colours = {"legacy": "cyan", "native": "green"}
    for row in rows:
        colour = colours.get(row["serves"], "yellow")
        why = row["reason"] + (f": {row['rule']}" if row["rule"] else "")
        cells = (row["method"], row["path"], row["legacy"], row["native"], row["cutover"])
        table.add_row(*(Text(cell) for cell in cells), Text(row["serves"], colour), Text(why))
    out.print(table)
    out.print(f"\n{native} of {len(counted)} routes native")


def _show_usage(data: dict[str, Any], *, json: bool) -> None:
    """List what was called how often since the server started, the idle ones first."""
    if data["since"] is None:
        fail("usage is counted by a running gateway: name it by --url or GATEWAY_URL")
    sides = ("legacy", "native")
    rows = [
        {"route": row["route"], "requests": row["requests"]}
        | {side: row["sides"][side]["requests"] for side in sides}
        for row in sorted(data["routes"], key=lambda row: row["requests"])
    ]
    if json:
        print_json({"since": data["since"], "routes": rows})
        return
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in ("ROUTE", "REQUESTS", "LEGACY", "NATIVE"):
        table.add_column(column, overflow="fold")
    for row in rows:
        cells = (row["requests"] or "never", row["legacy"] or "", row["native"] or "")
        table.add_row(Text(row["route"]), *(Text(str(cell)) for cell in cells))
    out.print(table)
    idle = sum(not row["requests"] for row in rows)
    days = (time.time() - data["since"]) / 86_400
    out.print(f"\n{idle} of {len(rows)} routes were never called in {days:.1f} days")


def _is_frameworks(route: Route) -> bool:
    return (
        route.coverage is Coverage.ONLY_NATIVE
        and route.native is not None
        and route.native.module.startswith("fastapi.")
    )


def _row(route: Route, gateway: Gateway) -> dict[str, str]:
    serves, reason = _static(route, gateway)
    return {
        "route": route.id,
        "method": route.method,
        "path": route.label,
        "host": route.host or (route.legacy.host if route.legacy else ""),
        "legacy": route.legacy.endpoint if route.legacy else "",
        "native": route.native.name if route.native else "any" if route.native_opaque else "",
        "cutover": route.cutover if route.coverage is Coverage.BOTH else "",
        "serves": serves,
        "reason": reason.value,
        "rule": route.rule.id if route.rule else "",
    }


def _auth_row(route: Route, gateway: Gateway) -> dict[str, Any]:
    """Tell everything that stands between a caller and the handler that serves a route."""
    serves, _ = _static(route, gateway)
    guards = gateway.table.legacy.guards(route.legacy, route.method) if route.legacy else Guards()
    native_serves = serves != "legacy"
    return {
        "route": route.id,
        "serves": serves,
        "auth": route.auth or "",
        "requires": sorted(route.requires),
        "hooks": "" if serves == "legacy" else route.hooks,
        "middleware": list(guards.middleware),
        "before_request": list(guards.hooks),
        "view": list(guards.view),
        "dependencies": _dependencies(route) if native_serves else [],
        "rule": route.rule.id if route.rule else "",
    }


def _dependencies(route: Route) -> list[str]:
    """Name what FastAPI solves before the native handler, one level deep."""
    dependant = route.native.dependant if route.native is not None else None
    calls = (each.call for each in getattr(dependant, "dependencies", ()))
    return [getattr(call, "__qualname__", type(call).__qualname__) for call in calls]


def _show_auth(rows: list[dict[str, Any]], *, json: bool) -> None:
    if json:
        print_json({"routes": rows})
        return
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in ("ROUTE", "SERVES", "AUTH", "GUARDED BY", "THE LEGACY VIEW", "RULE"):
        table.add_column(column, overflow="fold")
    for row in rows:
        inherits = row["hooks"] != "skip"
        by = ["the shared guard"] if row["auth"] == "shared" else []
        by += [f"scope {scope}" for scope in row["requires"]]
        by += [*row["middleware"], *row["before_request"]] if inherits else []
        by += row["dependencies"]
        by += ["its own view"] if row["serves"] == "legacy" and row["view"] else []
        lost = row["hooks"] == "skip" and (row["middleware"] or row["before_request"])
        warned = ["loses Flask's hooks"] if lost else []
        said = row["auth"] or ("not said" if row["serves"] != "legacy" else "")
        cells = (row["route"], row["serves"], said, "\n".join(by) or "nobody")
        table.add_row(*cells, "\n".join([*warned, *row["view"]]), row["rule"])
    out.print(table)


def match(
    method: Annotated[str, typer.Argument(help="HTTP method.")],
    path: Annotated[str, typer.Argument(help="Path, or a whole URL.")],
    header: Annotated[
        list[str] | None, typer.Option("--header", "-H", help="A header, `Name: value`.")
    ] = None,
    ip: Annotated[str, typer.Option(help="The client's address.")] = "127.0.0.1",
    principal: Annotated[
        str | None, typer.Option(help="The id of whom the shared guard would let in.")
    ] = None,
    scope: Annotated[
        list[str] | None, typer.Option("--scope", help="A scope of that principal.")
    ] = None,
    session: Annotated[
        list[str] | None, typer.Option("--session", help="A key of Flask's session, `key=value`.")
    ] = None,
    config: ConfigOption = None,
    json: JsonOption = False,
) -> None:
    """Explain one request: the rules considered, the rule chosen, identity, bucket, reason."""
    request = _scope(method, path, header or [], ip)
    held = dict(each.partition("=")[::2] for each in session or [])
    caller = Caller(principal, frozenset(scope or ()), held)
    gateway = Gateway(config=chosen(config))
    snapshot = gateway.snapshots.current
    found = gateway.table.match(request)
    decision = decide(found, request, snapshot.policy, caller)
    if json:
        print_json(_explained(found, decision, gateway, request))
        return
    out.print(f"{request['method']} {request['path']}  (host {request_host(request) or 'none'})")
    for step, text in _steps(found, decision, gateway, request, caller):
        out.print(Text(f"  {step:<10}", "bold").append(text, "not bold"))


def _scope(method: str, target: str, headers: list[str], ip: str) -> dict[str, Any]:
    url = urlsplit(target) if "://" in target else None
    raw, query = (url.path or "/", url.query) if url else target.partition("?")[::2]
    if not raw.startswith("/"):
        fail(f"{target!r} must be a path that starts with '/', or a URL")
    pairs: list[tuple[bytes, bytes]] = []
    if url and url.netloc:
        pairs.append((b"host", url.netloc.encode()))
    for line in headers:
        name, colon, value = line.partition(":")
        if not colon or not name.strip():
            fail(f"{line!r} is no header: write 'Name: value'")
        pairs.append((name.strip().lower().encode("latin-1"), value.strip().encode("latin-1")))
    return {
        "type": "http",
        "http_version": "1.1",
        "method": method.upper(),
        "scheme": url.scheme if url else "http",
        "path": unquote(raw),
        "raw_path": raw.encode(),
        "root_path": "",
        "query_string": query.encode(),
        "headers": pairs,
        "client": (ip, 0),
        "server": ("localhost", 80),
    }


def _explained(
    found: Match, decision: Decision, gateway: Gateway, scope: dict[str, Any]
) -> dict[str, Any]:
    route = found.route
    return {
        "method": scope["method"],
        "path": scope["path"],
        "route": route.id if route else None,
        "legacy": route.legacy.endpoint if route and route.legacy else None,
        "native": route.native.name if route and route.native else None,
        "considered": [rule.id for rule in route.considered] if route else [],
        "rule": route.rule.id if route and route.rule else None,
        "cutover": route.cutover if route else None,
        "identity": decision.identity,
        "bucket": decision.bucket,
        "threshold": route.threshold if route and route.cutover == "canary" else None,
        "serves": decision.backend.value,
        "reason": decision.reason.value,
        "auth": route.auth if route else None,
        "requires": sorted(route.requires) if route else [],
        "hooks": _runs_hooks(route, decision, gateway),
        "revision": gateway.snapshots.current.revision,
    }


def _steps(
    found: Match, decision: Decision, gateway: Gateway, scope: dict[str, Any], caller: Caller
) -> list[tuple[str, str]]:
    table, route = gateway.table, found.route
    answer = table.legacy.answer(scope, scope["method"], scope["path"])
    said = {
        "rule": f"matches {getattr(answer.ref, 'rule', '')} "
        f"(endpoint {getattr(answer.ref, 'endpoint', '')})",
        "redirect": "redirects to another spelling of this path",
        "method": "knows the path, not the method (405)",
        "refused": "refuses the host",
        "none": "doesn't know the path (404)",
        "unknown": "can't be asked (not a Flask app)",
    }[answer.outcome]
    steps = [("legacy", said)]
    native = table.native.find(scope)
    outcome = {"full": "runs it", "partial": "405", "redirect": "slash redirect"}
    if native is not None:
        steps.append(("native", f"matches {native.endpoint.path} ({outcome[native.outcome]})"))
    else:
        opaque = "can't be asked (not a FastAPI app)"
        steps.append(("native", opaque if table.native.opaque else "doesn't know the path (404)"))
    steps.append(("route", _route_text(route)))
    if route is not None:
        steps.extend(_rule_steps(route))
        steps.extend(_guard_steps(route, caller))
        if route.cutover == "canary":
            steps.extend(_canary_steps(route, decision, scope, caller))
    hooks = _runs_hooks(route, decision, gateway)
    if hooks:
        steps.append(("hooks", f"of Flask run around it: {', '.join(hooks)}"))
    elif route is not None and route.legacy is not None and decision.backend is Backend.NATIVE:
        none = "skipped by the rule" if route.hooks == "skip" else "none in Flask for this route"
        steps.append(("hooks", none))
    if found.head and decision.backend is Backend.NATIVE:
        steps.append(("head", "the native GET runs, its body is dropped"))
    why = REASONS[decision.reason]
    steps.append(("serves", f"{decision.backend.value}, because {decision.reason.value}: {why}"))
    return steps


def _route_text(route: Route | None) -> str:
    if route is None:
        return "none"
    where = {
        Coverage.BOTH: "both apps have it",
        Coverage.ONLY_LEGACY: "only legacy has it",
        Coverage.ONLY_NATIVE: "only native has it",
    }
    return f"{route.id} ({where[route.coverage]})"


def _rule_steps(route: Route) -> list[tuple[str, str]]:
    steps = []
    for rule in route.considered:
        chosen_one = rule is route.rule
        verdict = "chosen" if chosen_one else "less specific, or another host"
        text = f"{rule.id} ({rule.key}, {rule.selector}, cutover: {rule.config.cutover}): {verdict}"
        steps.append(("rule", text))
    if not route.considered:
        steps.append(("rule", "none names this route"))
    return steps


def _guard_steps(route: Route, caller: Caller) -> list[tuple[str, str]]:
    """Say who lets the request in, before anybody serves it."""
    if route.auth is None:
        return []
    if route.auth != "shared":
        said = "the native handler guards itself" if route.auth == "native" else "nobody guards it"
        return [("auth", said)]
    missing = sorted(route.requires - caller.scopes)
    needs = f", needs {', '.join(sorted(route.requires))}" if route.requires else ""
    said = f"the shared guard first{needs}"
    if caller.id is not None and missing:
        said += f": 403, {caller.id} lacks {', '.join(missing)}"
    elif caller.id is not None:
        said += f": lets {caller.id} in"
    return [("auth", said)]


def _runs_hooks(route: Route | None, decision: Decision, gateway: Gateway) -> list[str]:
    """Name what of Flask's runs around a native handler."""
    if route is None or route.legacy is None or decision.backend is not Backend.NATIVE:
        return []
    if route.hooks == "skip":
        return []
    guards = gateway.table.legacy.guards(route.legacy, route.method)
    return [*guards.middleware, *guards.hooks]


def _canary_steps(
    route: Route, decision: Decision, scope: dict[str, Any], caller: Caller
) -> list[tuple[str, str]]:
    steps = [("sticky", " → ".join(route.sticky))]
    source, _ = find_identity(route.sticky, scope, caller)
    if decision.bucket is None:
        steps.append(("identity", f"from {source}" if source else "none of the sources is present"))
        return steps
    fresh = " (absent: a new one would be set, this bucket is of an example)"
    steps.append(("identity", f"from {decision.identity}{fresh if decision.mint else ''}"))
    side = "below" if decision.bucket < route.threshold else "not below"
    steps.append(
        (
            "bucket",
            f"{decision.bucket} of 10000, {side} {route.threshold} ({route.threshold / 100:g}%)",
        )
    )
    return steps
