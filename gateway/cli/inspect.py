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
from gateway.cli.guarding import around_native, before
from gateway.cli.held import look
from gateway.cli.output import (
    ConfigArgument,
    ConfigOption,
    JsonOption,
    UrlOption,
    cell,
    chosen,
    fail,
    local_time,
    one_config,
    out,
    print_json,
    report,
)
from gateway.cli.remote import place
from gateway.cli.review import auth_row, fits, show_auth
from gateway.config import Config
from gateway.cutover import Caller, decide, find_identity
from gateway.exceptions import ConfigError
from gateway.loading import load, read_values
from gateway.lock import lock_lines, lock_path, write_lock
from gateway.overrides import ALL
from gateway.routing import (
    REASONS,
    Backend,
    Coverage,
    Match,
    Reason,
    Route,
    request_host,
)
from gateway.templates import parse_any

if TYPE_CHECKING:
    from pathlib import Path

    from gateway.config import Auth
    from gateway.cutover import Decision
    from gateway.overrides import Override
    from gateway.snapshot import Snapshot


_SAID_AUTH: dict[Auth | None, str] = {
    "hooks": "left to Flask's hooks",
    "native": "left to the native handler",
    "none": "none",
    None: "not said",
}


def register(app: typer.Typer) -> None:
    """Add this module's commands to `app`."""
    app.command(epilog="Example: gateway check config/gateway.yaml")(check)
    app.command(epilog="Example: gateway routes --json")(routes)
    app.command(epilog="Example: gateway match GET /users/7 -H 'X-Account: alice'")(match)
    app.command(epilog="Example: gateway schema > gateway.schema.json")(schema)
    app.command(epilog="Example: gateway lock --check")(lock)


def check(
    file: ConfigArgument = None, config: ConfigOption = None, json: JsonOption = False
) -> None:
    """Check the configuration against both apps; report every problem at once.

    The apps are imported, and their factories called; no request is sent, no view or handler runs.
    """
    path = chosen(one_config(file, config))
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
            out.print(cell(f"{path}: ok, {len(problems)} warning{'s' * (len(problems) != 1)}"))
    if errors:
        raise typer.Exit(2 if unusable else 1)


def schema() -> None:
    """Print the configuration's JSON Schema, for editors."""
    print_json(
        {"$schema": "https://json-schema.org/draft/2020-12/schema"} | Config.model_json_schema()
    )


def lock(
    file: ConfigArgument = None,
    config: ConfigOption = None,
    check: Annotated[bool, typer.Option("--check", help="Only compare; write nothing.")] = False,
) -> None:
    """Write routes.lock, the committed list of both apps' routes, or compare with it."""
    path = chosen(one_config(file, config))
    loaded = load(path)
    gateway = Gateway(config=path, verify_lock=False)
    if not check:
        written = write_lock(loaded, gateway.table)
        out.print(cell(f"{written.name}: {len(lock_lines(gateway.table))} routes"))
        return
    problems = list(gateway.lock_problems())
    report(problems)
    if not lock_path(loaded).exists():
        fail(f"there is no {lock_path(loaded).name} (write it: gateway lock)", 1)
    if problems:
        raise typer.Exit(1)
    out.print(cell(f"{lock_path(loaded).name}: ok"))


def _in_force(gateway: Gateway, *, file_only: bool) -> tuple[Snapshot, str]:
    """Return the file with the overrides in force, and the store that they are from.

    A store that can't be read is said on stderr; then it is what the file says.
    """
    if file_only:
        return gateway.snapshots.current, ""
    seen = look(gateway.control.loaded)
    if seen.failure is not None:
        report([f"gateway: overrides can't be read, so without them: {seen.failure}"])
        return gateway.snapshots.current, seen.url
    snapshot = gateway.preview(seen.held)
    report(
        f"gateway: the override of {ident} is ignored: {why}"
        for ident, why in snapshot.ignored.items()
    )
    return snapshot, seen.url


def _footnote(snapshot: Snapshot, url: str) -> None:
    count = len(snapshot.overrides)
    if count:
        out.print(cell(f"{count} override{'s' * (count != 1)} in force, from {url}"))


def _override(route: Route | None, snapshot: Snapshot) -> Override | None:
    """Return the override that decides for a route; the kill switch comes before all others."""
    if route is None or route.coverage is not Coverage.BOTH:
        return None
    names = [ALL] if snapshot.policy.kill_switch else []
    if route.overridden:
        names += [route.id, *([route.rule.id] if route.rule else [])]
    return next((snapshot.overrides[each] for each in names if each in snapshot.overrides), None)


def _static(route: Route, snapshot: Snapshot) -> tuple[str, Reason]:
    """Return who serves a route as far as no single request is needed to tell."""
    policy = snapshot.policy
    if route.cutover == "canary" and not policy.kill_switch:
        reason = Reason.OVERRIDE if route.overridden else Reason.CANARY
        return f"native {route.threshold / 100:g}%", reason
    decision = decide(Match(route), {"headers": []}, policy)
    return decision.backend.value, decision.reason


AuthOption = Annotated[
    bool,
    typer.Option(
        "--auth", help="Show what refuses, perhaps refuses or identifies callers, for a reviewer."
    ),
]
FilterOption = Annotated[
    str,
    typer.Option(
        "--filter",
        help="Only routes whose path, endpoint, rule or owner has this text, or fits this pattern.",
    ),
]

FileOption = Annotated[
    bool,
    typer.Option("--no-overrides", help="Show what the file says; don't look into the store."),
]
UsageOption = Annotated[
    bool,
    typer.Option("--usage", help="Ask a running gateway which routes nobody calls (needs --url)."),
]


def routes(
    file: ConfigArgument = None,
    config: ConfigOption = None,
    auth: AuthOption = False,
    wanted: FilterOption = "",
    usage: UsageOption = False,
    file_only: FileOption = False,
    url: UrlOption = None,
    json: JsonOption = False,
) -> None:
    """List every route of both apps: who has it, what governs it, who serves it and why."""
    path = chosen(one_config(file, config))
    if usage:
        _show_usage(place(url, None, path).status(), json=json)
        return
    try:
        gateway, wrong = Gateway(config=path), None
    except ConfigError as error:
        if json:
            raise
        gateway, wrong = _without_rules(path, error), error
    snapshot, store = _in_force(gateway, file_only=file_only or wrong is not None)
    listed = [route for route in views.listed(snapshot) if fits(route, wanted)]
    if auth:
        show_auth([auth_row(r, _static(r, snapshot)[0], gateway, snapshot) for r in listed], json)
        if not json:
            _footnote(snapshot, store)
        _tell_errors(snapshot, wrong)
        return
    rows = [_row(route, snapshot) for route in listed]
    # FastAPI's own pages (/docs and its like) are nobody's work: they don't count.
    counted = [row for row, route in zip(rows, listed, strict=True) if not _is_frameworks(route)]
    native = sum(row["serves"] == "native" for row in counted)
    if json:
        print_json(
            {
                "routes": rows,
                "native": native,
                "total": len(counted),
                "overrides": len(snapshot.overrides),
                "store": store,
            }
        )
        return
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in ("METHOD", "PATH", "LEGACY", "NATIVE", "CUTOVER", "SERVES", "WHY"):
        table.add_column(column, overflow="fold")
    colours = {"legacy": "cyan", "native": "green"}
    for row in rows:
        colour = colours.get(row["serves"], "yellow")
        by = row["override"] or row["rule"]
        why = row["reason"] + (f": {by}" if by else "")
        cells = (row["method"], row["path"], row["legacy"], row["native"], row["cutover"])
        table.add_row(*map(cell, cells), cell(row["serves"], colour), cell(why))
    out.print(table)
    own = len(rows) - len(counted)
    left = f" (not counted: {own} page{'s' * (own != 1)} of FastAPI's own)" if own else ""
    out.print(f"\n{native} of {len(counted)} routes native{left}")
    _footnote(snapshot, store)
    _tell_wrong(wrong)


def _without_rules(path: Path, wrong: ConfigError) -> Gateway:
    """Take both apps from a config that is wrong, so that their routes can be listed all the same.

    Raises what was wrong where that is about the apps.
    """
    try:
        data, _, _ = read_values(path, str(path))
        kept: dict[str, Any] = {
            key: data[key] for key in ("legacy", "native", "auth") if key in data
        }
        return Gateway(config={"version": 1, **kept}, verify_lock=False)
    except ConfigError:
        raise wrong from None


def _tell_wrong(wrong: ConfigError | None) -> None:
    if wrong is not None:
        report(wrong.problems)
        fail("the table is without rules and overrides: the config is wrong")


def _tell_errors(snapshot: Snapshot, wrong: ConfigError | None) -> None:
    """Say on stderr how many errors `gateway check` would name, and exit with 1 for them.

    With 2, after its problems, where the config couldn't be used at all.
    """
    _tell_wrong(wrong)
    count = sum(not problem.warning for problem in snapshot.warnings)
    if count:
        fail(f"{count} error{'s' * (count != 1)}: see gateway check", 1)


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
        table.add_row(cell(row["route"]), *(cell(str(each)) for each in cells))
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


def _row(route: Route, snapshot: Snapshot) -> dict[str, str]:
    serves, reason = _static(route, snapshot)
    override = _override(route, snapshot)
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
        "override": override.route if override is not None else "",
    }


def match(
    method: Annotated[str, typer.Argument(help="HTTP method.")],
    path: Annotated[str, typer.Argument(help="Path, or a whole URL.")],
    file: ConfigArgument = None,
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
    file_only: FileOption = False,
    config: ConfigOption = None,
    json: JsonOption = False,
) -> None:
    """Explain one request: the rules considered, the rule chosen, identity, bucket, reason."""
    request = _scope(method, path, header or [], ip)
    held = dict(each.partition("=")[::2] for each in session or [])
    caller = Caller(principal, frozenset(scope or ()), held)
    gateway = Gateway(config=chosen(one_config(file, config)))
    snapshot, store = _in_force(gateway, file_only=file_only)
    found = snapshot.table.match(request)
    decision = decide(found, request, snapshot.policy, caller)
    if json:
        print_json(_explained(found, decision, snapshot, request))
        return
    host = request_host(request) or "none"
    out.print(cell(f"{request['method']} {request['path']}  (host {host})"))
    for step, text in _steps(found, decision, gateway, snapshot, request, caller):
        out.print(Text(f"  {step:<10}", "bold").append(cell(text, "not bold")))
    _footnote(snapshot, store)


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
    found: Match, decision: Decision, snapshot: Snapshot, scope: dict[str, Any]
) -> dict[str, Any]:
    route = found.route
    override = _override(route, snapshot)
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
        "hooks": _runs_hooks(route, decision, snapshot),
        "override": override.as_json() if override is not None else None,
        "revision": snapshot.revision,
    }


def _steps(
    found: Match,
    decision: Decision,
    gateway: Gateway,
    snapshot: Snapshot,
    scope: dict[str, Any],
    caller: Caller,
) -> list[tuple[str, str]]:
    table, route = snapshot.table, found.route
    answer = table.legacy.answer(scope, scope["method"], scope["path"])
    said = {
        "rule": f"matches {getattr(answer.ref, 'rule', '')} "
        f"(endpoint {getattr(answer.ref, 'endpoint', '')})",
        "redirect": "redirects to another spelling of this path",
        "method": "knows the path, not the method (405)",
        "refused": "refuses the request itself: its host, or its upgrade",
        "none": "doesn't know the path (404)",
        "unknown": "can't be asked (not a Flask app)",
    }[answer.outcome]
    steps = [("legacy", said)]
    steps += [
        ("mount", f"DispatcherMiddleware hands {prefix} to another app, which answers instead")
        for prefix in table.legacy.mounted
        if parse_any(scope["path"]).below(parse_any(prefix))
    ]
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
        override = _override(route, snapshot)
        if override is not None:
            steps.append(("override", _override_text(override)))
        steps.append(("auth", _guard_text(route, decision, gateway, snapshot, caller)))
        steps.extend(("refused", f"no move: {finding}") for finding in route.findings)
        if route.cutover == "canary":
            steps.extend(_canary_steps(route, decision, scope, caller))
    if decision.backend is Backend.NATIVE and not table.legacy.opaque:
        hooks = _runs_hooks(route, decision, snapshot)
        skipped = route is not None and route.hooks == "skip"
        none = "skipped (hooks: skip)" if skipped else "none in Flask for this route"
        said = f"of Flask run around it: {', '.join(hooks)}" if hooks else none
        steps.append(("hooks", said))
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


def _override_text(override: Override) -> str:
    name = "the kill switch" if override.route == ALL else override.route
    until = ""
    if override.expires is not None:
        until = f", until {local_time(override.expires, '%Y-%m-%d %H:%M')}"
    reason = f": {override.reason}" if override.reason else ""
    return f"{name}: {override.text}, by {override.author or 'nobody named'}{until}{reason}"


def _guard_text(
    route: Route, decision: Decision, gateway: Gateway, snapshot: Snapshot, caller: Caller
) -> str:
    """Say who lets the request in, before or while somebody serves it."""
    if route.auth != "shared":
        standing = before(decision.backend, route, gateway, snapshot)
        lines = standing.can_refuse
        by = f"can refuse: {', '.join(lines)}" if lines else "nobody refuses a caller"
        return f"{_SAID_AUTH[route.auth]}; {by}"
    missing = sorted(route.requires - caller.scopes)
    needs = f", needs {', '.join(sorted(route.requires))}" if route.requires else ""
    text = f"the shared guard first{needs}"
    if caller.id is not None and missing:
        text += f": 403, {caller.id} lacks {', '.join(missing)}"
    elif caller.id is not None:
        text += f": lets {caller.id} in"
    return text


def _runs_hooks(route: Route | None, decision: Decision, snapshot: Snapshot) -> list[str]:
    """Name what of Flask's runs around a native handler."""
    if decision.backend is not Backend.NATIVE:
        return []
    guards = around_native(snapshot.table, route, snapshot.config.defaults.hooks)
    return [each.name for each in guards.around]


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
