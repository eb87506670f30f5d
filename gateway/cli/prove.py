"""`gateway prove`: asks both apps who is refused, in a test environment."""

from __future__ import annotations

import asyncio
import logging
import os
import sys
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.progress import Progress, TextColumn
from rich.table import Table

from gateway.cli.output import (
    ConfigArgument,
    ConfigOption,
    JsonOption,
    RouteArgument,
    apart,
    cell,
    chosen,
    fail,
    out,
    print_json,
)
from gateway.loading import load
from gateway.migrate.prove import databases, drivers, reporting
from gateway.migrate.prove.asking import make, running
from gateway.migrate.prove.cases import NAME as CASES_NAME
from gateway.migrate.prove.cases import load_cases
from gateway.migrate.prove.fence import Fence, standing
from gateway.migrate.prove.fingerprints import fingerprints
from gateway.migrate.prove.judging import FINE, Outcome, in_order, judge
from gateway.migrate.prove.planning import targets
from gateway.migrate.prove.recording import recorded
from gateway.proofs import NAME as RECORD_NAME
from gateway.proofs import proved, write_proofs

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gateway.loading import Loaded
    from gateway.migrate.prove.asking import Made, Sides
    from gateway.migrate.prove.cases import Cases
    from gateway.migrate.prove.judging import Finding
    from gateway.migrate.prove.planning import Target

_VARIABLE = "GATEWAY_TEST_ENVIRONMENT"
_COLOURS = {
    Outcome.OPENED: "bold red",
    Outcome.CLOSED: "red",
    Outcome.UNPROVED: "yellow",
    Outcome.OPEN: "cyan",
    Outcome.PROVED: "green",
}

_LEGEND = (
    "The identities are what legacy did with each; the outcome says whether native did the same. "
    "opened: native let in whom legacy refused; closed: the reverse; open: `auth: none`, to sign."
)

CasesOption = Annotated[
    Path | None,
    typer.Option(
        "--cases", help="Who asks, and what. Default: prove.yaml, beside the configuration."
    ),
]
RecordOption = Annotated[
    Path | None,
    typer.Option(
        "--record", help="Where proofs are kept. Default: routes.proof, beside the configuration."
    ),
]
HostOption = Annotated[
    list[str] | None,
    typer.Option("--allow-host", help="A host besides this machine that may be connected to."),
]
JunitOption = Annotated[
    Path | None, typer.Option("--junit", help="Write the results as JUnit's XML.")
]
TableOption = Annotated[
    Path | None, typer.Option("--table", help="Write a page in Markdown for a reviewer to sign.")
]


def register(app: typer.Typer) -> None:
    """Add this module's command to `app`."""
    app.command(
        epilog="Example: GATEWAY_TEST_ENVIRONMENT=1 gateway prove 'GET /items/{id}' "
        "--cases config/prove.yaml --table proof.md"
    )(prove)


@dataclass(slots=True)
class _Run:
    """What was found, and what belongs beside it."""

    findings: tuple[Finding, ...]
    databases: list[str]
    stray: list[str]


def prove(
    route: RouteArgument = None,
    file: ConfigArgument = None,
    cases: CasesOption = None,
    record: RecordOption = None,
    allow_host: HostOption = None,
    junit: JunitOption = None,
    table: TableOption = None,
    config: ConfigOption = None,
    json: JsonOption = False,
) -> None:
    """Prove that a moved route refuses whom legacy refuses: both apps are asked, by everybody.

    Only in a test environment (GATEWAY_TEST_ENVIRONMENT=1): it sends real requests to both apps, in
    this process, and calls `reset:` before each one that may write. The cases name identities,
    among them `nobody`, `wrong` and `expired`. A route is proved if legacy let one in (2xx) and
    refused another, and native did the same with each. Exit code 0: all is proved, or open and said
    to be; 1: something isn't; 2: it could not run.
    """
    if os.environ.get(_VARIABLE) != "1":
        fail(
            f"prove sends requests that may write, to both apps: it runs only where {_VARIABLE}=1 "
            "says that their databases are there for tests"
        )
    route, config = apart(route, file, config)
    path = chosen(config)
    # What the apps log of refusals is no news; their own handlers, if any, still get it.
    logging.getLogger().addHandler(logging.NullHandler())
    loaded = load(path)
    proofs = record if record is not None else loaded.folder / RECORD_NAME
    before = proved(proofs)
    with standing(Fence(allow_host or ())) as fence:
        found = load_cases(cases if cases is not None else loaded.folder / CASES_NAME, os.environ)
        made = make(loaded)
        chosen_ = targets(
            made.table, loaded.config, found.config, found.source, made.refused, route
        )
        run = asyncio.run(_run(made, loaded, found, fence, chosen_, quiet=json))
    after = recorded(before, run.findings, partial(fingerprints, made.gateway), whole=route is None)
    if after != before:
        write_proofs(proofs, after)
    if junit is not None:
        _write(junit, reporting.junit(run.findings))
    if table is not None:
        _write(table, reporting.table(run.findings, run.databases))
    if json:
        print_json(reporting.as_json(run.findings, run.databases) | {"blocked": run.stray})
    else:
        _print(run.findings)
    for each in run.stray:
        sys.stderr.write(f"gateway: blocked outside of any request: {each} (--allow-host)\n")
    fine = run.findings and all(each.outcome in FINE for each in run.findings)
    sys.exit(0 if fine and not run.stray else 1)


async def _run(
    made: Made,
    loaded: Loaded,
    cases: Cases,
    fence: Fence,
    chosen_: Sequence[Target],
    *,
    quiet: bool,
) -> _Run:
    """Tell the databases, start both apps, and ask."""
    urls = databases.found(made.gateway.legacy, os.environ)
    told = databases.shown(urls)
    say = _to_stderr if quiet else _to_stdout
    say("Databases, before anything is asked:")
    for line in told or ["none found yet; those that are opened later follow"]:
        say(f"  {line}")
    beyond = drivers.unseen()
    if beyond:
        say(f"Loaded, and what it connects to by itself isn't seen: {', '.join(beyond)}")
    wrong = databases.outside(urls, fence)
    if wrong:
        fail(f"{'; '.join(wrong)}: no test database of this machine (--allow-host allows it)")
    known: list[str] = []

    def opened(url: str) -> None:
        if url not in known and not any(each.startswith(url) for each in told):
            known.append(url)

    fence.opened = opened
    with databases.watching(fence, opened):
        async with running(made, loaded, cases, fence) as sides:
            findings = await _asked(sides, chosen_, quiet=quiet)
            stray = [*sides.stray, *fence.taken()]
    for url in known:
        say(f"  {url}  (opened meanwhile)")
    return _Run(in_order(findings), [*told, *known], stray)


async def _asked(sides: Sides, chosen_: Sequence[Target], *, quiet: bool) -> list[Finding]:
    identities = list(sides.cases.config.identities)
    findings: list[Finding] = []
    console = Console(stderr=True, quiet=quiet or not sys.stderr.isatty())
    columns = (*Progress.get_default_columns(), TextColumn("{task.completed}/{task.total}"))
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task("asking both sides", total=len(chosen_) * len(identities))
        for target in chosen_:
            cells = []
            for identity in identities:
                cells.append(await sides.cell(target, identity))
                progress.advance(task)
            findings.append(judge(target, cells))
    return findings


def _print(findings: Sequence[Finding]) -> None:
    if not findings:
        out.print("no rule governs a route that both apps have: there is nothing to prove")
        return
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in ("ROUTE", "AUTH", "LEGACY LET IN", "LEGACY REFUSED", "OUTCOME"):
        table.add_column(column, overflow="fold")
    for each in findings:
        table.add_row(
            cell(each.route),
            cell(each.target.route.auth or ""),
            cell(_names(each.let_in, each)),
            cell(_names(each.refused, each)),
            cell(each.outcome.value, _COLOURS[each.outcome]),
        )
    out.print()
    out.print(table)
    out.print()
    out.print(cell(_LEGEND, "dim"), soft_wrap=False)
    for each in findings:
        if each.outcome not in FINE:
            out.print()
            out.print(cell(f"{each.outcome.value}: {each.route}", _COLOURS[each.outcome]))
            out.print(cell(f"  {each.why}"))
            if each.next:
                out.print(cell(f"  {each.next}"))
    signing = [each.route for each in findings if each.open]
    if signing:
        out.print()
        out.print("Open, to be signed: legacy refuses none of the identities here")
        for name in signing:
            out.print(cell(f"  {name}"))
    counted = reporting.counts(findings)
    told = ", ".join(f"{number} {outcome}" for outcome, number in counted.items())
    out.print(f"\n{len(findings)} route{'s' * (len(findings) != 1)}: {told}")


def _names(names: Sequence[str], finding: Finding) -> str:
    everybody = len(names) == len(finding.cells) > 0
    return "everybody" if everybody else ", ".join(names)


def _to_stdout(line: str) -> None:
    out.print(cell(line))


def _to_stderr(line: str) -> None:
    sys.stderr.write(f"{cell(line).plain}\n")


def _write(file: Path, text: str) -> None:
    try:
        file.write_text(text, encoding="utf-8")
    except OSError as error:
        fail(f"{file} can't be written: {error.strerror or error}")
