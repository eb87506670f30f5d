"""`python -m tests.guardfuzz`: random requests to random worlds, and what ran that may not."""

from __future__ import annotations

import asyncio
import sys
import time
from typing import TYPE_CHECKING, Annotated, Literal

import typer
import uvloop
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from tests.guardfuzz import shrink
from tests.guardfuzz.faults import FAULTS
from tests.guardfuzz.runner import (
    Found,
    Tally,
    again,
    quiet,
    request_of,
    run,
    run_world,
    world_of,
)
from tests.guardfuzz.wire import PARSERS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.guardfuzz.wire import Parser

#: A share of requests below this tests too little.
MIN_HITS = 0.3
#: Within so many requests each fault that was put back must be found.
MOST_FOR_A_FAULT = 20_000


def _run(
    seed: int, parsers: tuple[Parser, ...], minutes: float | None, requests: int, console: Console
) -> dict[Parser, Tally]:
    """Run until the time is up, or each parser has had its requests."""
    tallies = {parser: Tally() for parser in parsers}
    started = time.monotonic()
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    with Progress(
        *columns, TimeElapsedColumn(), console=console, disable=not console.is_terminal
    ) as progress:
        total = int(minutes * 60) if minutes is not None else requests
        task = progress.add_task("", total=total)

        def goes_on(tallies: dict[Parser, Tally]) -> bool:
            passed = time.monotonic() - started
            least = min(tally.requests for tally in tallies.values())
            failures = sum(len(tally.found) for tally in tallies.values())
            progress.update(
                task,
                completed=min(total, int(passed) if minutes is not None else least),
                description=f"{sum(t.requests for t in tallies.values()):,} requests, "
                f"{failures} failures",
            )
            return passed < minutes * 60 if minutes is not None else least < requests

        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(run(seed, parsers, goes_on, tallies))
    return tallies


def _report(tallies: dict[Parser, Tally], console: Console) -> bool:
    """Print the figures; tell whether enough of the requests hit what they shall test."""
    table = Table("", *tallies)
    each = list(tallies.values())

    def share(name: str) -> list[str]:
        return [f"{getattr(t, name) / max(t.requests, 1):.1%}" for t in each]

    table.add_row("requests", *(f"{t.requests:,}" for t in each))
    table.add_row("worlds (rejected by the gateway)", *(f"{t.worlds} ({t.rejected})" for t in each))
    table.add_row("hit a guarded moved route", *share("hits"))
    table.add_row("refused by a guard", *share("refused"))
    table.add_row("native ran", *share("ran"))
    table.add_row("without an end: not judged", *share("unended"))
    table.add_row("500 where Flask has none", *(str(t.errors) for t in each))
    table.add_row(
        "requests per second", *(f"{t.requests / max(t.seconds, 1e-9):.0f}" for t in each)
    )
    table.add_row("failures", *(str(len(t.found)) for t in each))
    console.print(table)
    for tally in each:
        for what in (tally.problems, tally.broken):
            for name, value in what.items():
                console.print(f"{name}: {value}", markup=False)
    return all(t.hits >= MIN_HITS * t.requests for t in each)


def _one_of_each(found: list[Found]) -> Iterator[Found]:
    """Yield the first failure of each kind."""
    kinds = set()
    for each in found:
        if each.failure.kind not in kinds:
            kinds.add(each.failure.kind)
            yield each


def _show(found: list[Found], console: Console) -> None:
    for each in _one_of_each(found):
        number = sum(other.failure.kind == each.failure.kind for other in found)
        console.rule(f"{number} times {each.failure.kind}, first at request {each.number + 1:,}")
        if shrink.confirmed(each):
            text = shrink.shrink(each).text()
        else:
            console.print("[yellow]not seen again when asked alone:")
            text = each.text()
        console.print(text, markup=False, highlight=False, soft_wrap=True)


def _only(seed: int, number: int, parsers: tuple[Parser, ...], console: Console) -> bool:
    """Send one request again; tell whether all was well."""
    world, request = world_of(seed, number), request_of(world_of(seed, number), seed, number)
    console.print(world.text(), markup=False, highlight=False, soft_wrap=True)
    console.print(f"request ({', '.join(request.notes) or 'plain'})")
    console.print(f"  {request.raw!r}", markup=False, highlight=False, soft_wrap=True)
    well = True
    for parser in parsers:
        failures = asyncio.run(again(world, request, parser, number))
        well = well and not failures
        for failure in failures:
            found = Found(seed, number, parser, world, request, failure)
            console.rule(f"{parser}, made smaller")
            console.print(shrink.shrink(found).text(), markup=False, soft_wrap=True)
        if not failures:
            console.print(f"{parser}: nothing ran that may not")
    return well


def first_failure(
    seed: int, parser: Parser, kinds: tuple[str, ...], most: int
) -> tuple[int, Found | None]:
    """Return how many requests it took to find a failure of some kind, and the failure."""
    tally = Tally()

    def found() -> Found | None:
        return next((each for each in tally.found if each.failure.kind in kinds), None)

    async def search() -> None:
        index = 0
        while found() is None and tally.requests < most:
            await run_world(seed, index, parser, tally)
            index += 1

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(search())
    first = found()
    return (first.number + 1 if first is not None else tally.requests), first


def _faults(seed: int, parsers: tuple[Parser, ...], console: Console) -> bool:
    """Put each known fault back, and tell whether all of them are found."""
    table = Table("fault", "shows as", *(f"{parser}: at request" for parser in parsers))
    well = True
    for name, fault in FAULTS.items():
        cells = []
        for parser in parsers:
            with fault.put_back():
                at, found = first_failure(seed, parser, fault.kinds, MOST_FOR_A_FAULT)
            well = well and found is not None
            cells.append(f"{at:,}" if found is not None else f"[red]not in {at:,}")
        console.print(name, *cells)
        table.add_row(name, ", ".join(fault.kinds), *cells)
    console.print(table)
    return well


def main(
    *,
    minutes: Annotated[float | None, typer.Option(help="How long to run.")] = None,
    requests: Annotated[int, typer.Option(help="Or: how many requests per parser.")] = 20_000,
    seed: Annotated[int, typer.Option(help="Where all that is random begins.")] = 1,
    only: Annotated[int | None, typer.Option(help="Send this one request again.")] = None,
    parser: Annotated[
        Literal["httptools", "h11", "both"], typer.Option(help="Which server.")
    ] = "both",
    put_back: Annotated[
        bool, typer.Option("--faults", help="Put known faults back; each has to be found.")
    ] = False,
) -> None:
    """Look for a native handler that runs where bare Flask would have refused.

    Example: python -m tests.guardfuzz --minutes 30 --seed 7
    """
    console = Console(width=None if sys.stdout.isatty() else 120)
    parsers = PARSERS if parser == "both" else (parser,)
    with quiet():
        if only is not None:
            raise typer.Exit(0 if _only(seed, only, parsers, console) else 1)
        if put_back:
            raise typer.Exit(0 if _faults(seed, parsers, console) else 1)
        tallies = _run(seed, parsers, minutes, requests, console)
        enough = _report(tallies, console)
        found = [each for tally in tallies.values() for each in tally.found]
        _show(found, console)
    if not enough:
        console.print(f"[red]fewer than {MIN_HITS:.0%} of the requests hit a guarded moved route")
    raise typer.Exit(1 if found or not enough else 0)


if __name__ == "__main__":
    typer.run(main)
