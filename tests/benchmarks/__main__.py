"""`python -m tests.benchmarks`: run the comparison, print it, and write it down."""

from __future__ import annotations

import signal
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.markdown import Markdown
from rich.progress import (
    BarColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from tests.benchmarks import chart, environment, report, runner
from tests.benchmarks.bars import BLOCKS
from tests.benchmarks.cases import CASES, write_files
from tests.benchmarks.peers import BY_NAME
from tests.benchmarks.results import CaseResult, Results, load_results

if TYPE_CHECKING:
    from collections.abc import Iterator

_CHART = "cpu.svg"
_CHARTED = ("legacy-hello", "native-hello")
_NAMES = (*(case.name for case in CASES), runner.MATCH)
_QUICK_PAIRS = 1


def _chosen(text: str, known: tuple[str, ...], what: str) -> frozenset[str]:
    names = frozenset(name for name in text.split(",") if name)
    if unknown := sorted(names.difference(known)):
        raise typer.BadParameter(f"no {what} {', '.join(unknown)}; known: {', '.join(known)}")
    return names


def _progress(console: Console) -> Progress:
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        console=console,
        disable=not console.is_terminal,
    )


def _run(
    only: frozenset[str], peers: frozenset[str], pairs: int, seconds: int, console: Console
) -> Iterator[tuple[str, CaseResult]]:
    """Yield each chosen case as soon as it is done."""
    with TemporaryDirectory(prefix="bench-files-") as folder, _progress(console) as progress:
        files = Path(folder)
        write_files(files)
        for case in CASES:
            if only and case.name not in only:
                continue
            able = runner.peers_of(case, peers)
            blocks = min(pairs, case.blocks or pairs)
            task = progress.add_task(case.name, total=2 * blocks * len(able))

            def step(peer: str, name: str = case.name, task: TaskID = task) -> None:
                progress.update(task, advance=1, description=f"{name}: {peer}")

            result = runner.run_case(
                case, able, pairs=pairs, seconds=seconds, files=files, step=step
            )
            progress.remove_task(task)
            yield case.name, result
        if not only or runner.MATCH in only:
            yield runner.MATCH, runner.run_match(pairs)


def _write(results: Results, out: Path) -> None:
    """Write JSON, chart, tables and summary into `out`, keeping the README's own text."""
    out.mkdir(parents=True, exist_ok=True)
    results.save(out / "results.json")
    charted = [results.cases[name] for name in _CHARTED if name in results.cases]
    image = _CHART if charted else None
    if image is not None:
        (out / image).write_text(chart.cpu_chart(charted), encoding="utf-8")
    readme = out / "README.md"
    begin, end = (f"<!-- {report.RESULTS_MARK}:{word} -->" for word in ("begin", "end"))
    text = readme.read_text(encoding="utf-8") if readme.exists() else f"{begin}\n{end}\n"
    section = report.full(results, image)
    readme.write_text(report.embed(text, report.RESULTS_MARK, section), encoding="utf-8")
    (out / "summary.md").write_text(_summary(results, image) + "\n", encoding="utf-8")


def _summary(results: Results, image: str | None) -> str:
    return report.summary(results, "tests/benchmarks", image)


def main(
    *,
    quick: Annotated[
        bool, typer.Option("--quick", help="One block per case: shows that it works, no more.")
    ] = False,
    only: Annotated[str, typer.Option(help=f"Cases, by comma: {', '.join(_NAMES)}.")] = "",
    peers: Annotated[str, typer.Option(help=f"Peers, by comma: {', '.join(BY_NAME)}.")] = "",
    pairs: Annotated[int, typer.Option(min=1, help="A-B-B-A blocks per case.")] = BLOCKS,
    seconds: Annotated[int, typer.Option(min=1, max=60, help="Length of one load.")] = 1,
    out: Annotated[
        Path | None, typer.Option(help="Folder to write to; without it, only print.")
    ] = None,
    readme: Annotated[
        Path | None, typer.Option(help="A README whose summary, between markers, is redrawn.")
    ] = None,
) -> None:
    """Compare the gateway with its peers on this machine, one worker process each.

    With --out, cases that aren't run now are kept from the results.json that is there.
    Example: python -m tests.benchmarks --only legacy-hello --peers ours,gunicorn --pairs 5
    """
    chosen = _chosen(only, _NAMES, "case")
    wanted = _chosen(peers, tuple(BY_NAME), "peer")
    console = Console(width=None if sys.stdout.isatty() else 140)
    earlier = out / "results.json" if out is not None else None
    results = Results(environment.machine(), environment.versions())
    if earlier is not None and earlier.exists() and chosen:
        kept = load_results(earlier)
        if kept.versions != results.versions:
            console.print("Other versions than in the earlier results: those are dropped.")
        else:
            results.cases = kept.cases
    for name, result in _run(chosen, wanted, _QUICK_PAIRS if quick else pairs, seconds, console):
        results.cases[name] = result
        if out is not None:
            _write(results, out)
        console.print(Markdown(f"### {result.title}\n\n{report.case_table(result)}"))
        for peer in result.peers.values():
            if peer.problem.startswith("failed"):
                console.print(f"{peer.title}: {peer.problem}", markup=False)
    console.print(Markdown(f"### Bars\n\n{report.bars_table(results)}"))
    if readme is not None:
        image = _CHART if any(name in results.cases for name in _CHARTED) else None
        text = readme.read_text(encoding="utf-8")
        section = _summary(results, image)
        readme.write_text(report.embed(text, report.SUMMARY_MARK, section), encoding="utf-8")


if __name__ == "__main__":
    # So that a plain kill also ends the servers: an exception unwinds the `with` blocks.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    typer.run(main)
