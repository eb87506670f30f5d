"""Results as Markdown: the full tables, and the short summary for the top README. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.benchmarks import stats
from tests.benchmarks.bars import BARS
from tests.benchmarks.peers import OURS
from tests.benchmarks.results import METRICS

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from tests.benchmarks.results import CaseResult, PeerResult, Results
    from tests.benchmarks.stats import Interval

RESULTS_MARK = "bench:results"
SUMMARY_MARK = "bench"
#: What ratios are told of, in each case: the first of these that it has.
_HEADLINE = ("cpu_us", "mb_s", "p99_busy_ms")


class MarkerError(ValueError):
    """A file has no such pair of markers to write between."""


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Write a Markdown table; the first column is left-aligned, the others right-aligned."""
    lines = [
        "| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in (head, *rows)
    ]
    lines.insert(1, "|---|" + "---:|" * (len(head) - 1))
    return "\n".join(lines)


def with_interval(figure: Interval, digits: int) -> str:
    """Write `0.44 [0.43, 0.45]`, or the value alone where there is no interval."""
    value = f"{figure.value:,.{digits}f}"
    if figure.low == figure.high:
        return value
    return f"{value} [{figure.low:,.{digits}f}, {figure.high:,.{digits}f}]"


def headline(case: CaseResult) -> str | None:
    """Name the metric that the case's ratios are told of, or None (routing, memory)."""
    known = {name for peer in case.peers.values() for name in peer.values}
    return next((name for name in _HEADLINE if name in known), None)


def _ratio(case: CaseResult, peer: PeerResult, metric: str) -> Interval | None:
    base = case.peers.get(case.baseline)
    if base is None or base.problem or base is peer:
        return None
    ours, theirs = peer.values[metric], base.values[metric]
    if len(ours) != len(theirs) or min(*ours, *theirs) <= 0:
        return None
    return stats.paired_ratio(ours, theirs)


def case_table(case: CaseResult) -> str:
    """Write one case: a row per peer, a column per metric, and the ratio to its baseline."""
    names = [name for name in METRICS if any(name in peer.values for peer in case.peers.values())]
    lead = headline(case)
    base = case.peers.get(case.baseline)
    compared = lead is not None and base is not None and not base.problem
    head = ["", *(METRICS[name].title for name in names)]
    if not names:
        head.append("")  # every peer has a problem to tell
    if compared and base is not None and lead is not None:
        head.append(f"{METRICS[lead].title}, ratio to {base.title} [95%]")
    rows = []
    for key, peer in case.peers.items():
        title = f"**{peer.title}**" if key == OURS else peer.title
        if peer.problem:
            rows.append([title, *_short(peer.problem, len(head) - 1)])
            continue
        cells = [
            f"{stats.mean(peer.values[name]).value:,.{METRICS[name].digits}f}" for name in names
        ]
        if compared and lead is not None:
            ratio = _ratio(case, peer, lead)
            cells.append("1" if peer is base else with_interval(ratio, 2) if ratio else "-")
        rows.append([title, *cells])
    return table(head, rows)


def _short(problem: str, columns: int) -> list[str]:
    """Write a problem into the first of `columns` cells, without the log that may follow."""
    line = problem.partition("; its log ends")[0].replace("\n", " ")
    return [line[:120], *[""] * (columns - 1)]


def bars_table(results: Results) -> str:
    """Write every bar with the measured figure, its 95% interval and the verdict."""
    rows = []
    for bar in BARS:
        figure = bar.figure(results.cases)
        shown = with_interval(figure, 2) if figure is not None else "-"
        case = results.cases.get(bar.case)
        title = f"{case.title if case else bar.case}: {bar.title}"
        verdict = bar.verdict(figure, case.blocks if case else 0)
        rows.append([title, bar.goal(), f"{bar.reach:g}", shown, verdict])
    return table(["case", "bar", "reach for", "measured [95%]", ""], rows)


def full(results: Results, chart: str | None) -> str:
    """Write the generated section of the benchmarks' README; `chart` is an image's file name."""
    about = ", ".join(f"{name} {value}" for name, value in results.machine.items())
    used = ", ".join(f"{name} {value}" for name, value in results.versions.items())
    parts = [f"Machine: {about}.", f"Versions: {used}."]
    if chart is not None:
        parts.append(f"![CPU per request, gateway and peers]({chart})")
    parts += ["### Bars", bars_table(results)]
    for name, case in results.cases.items():
        note = f"`{name}`, {case.started}, A-B-B-A blocks: {case.blocks}."
        parts += [f"### {case.title}", note, case_table(case)]
    return "\n\n".join(parts)


def summary(results: Results, folder: str, chart: str | None) -> str:
    """Write the few lines for the top README; `folder` is where the full tables are."""
    rows = []
    shown = ("legacy-hello", "native-hello")
    for case in (results.cases[name] for name in shown if name in results.cases):
        for key, peer in case.peers.items():
            if peer.problem:
                continue
            cpu, rate = (stats.mean(peer.values[name]).value for name in ("cpu_us", "rps"))
            title = f"**{peer.title}**" if key == OURS else peer.title
            rows.append([title, case.title.lower(), f"{cpu:,.0f}", f"{rate:,.0f}"])
    where = results.machine
    note = (
        f"One worker each, side by side, {where['date'][:10]}, {where['cores']} cores of "
        f"{where['cpu']}. [All cases, intervals and versions]({folder}/README.md)."
    )
    parts = [table(["", "request", "CPU µs/request", "requests/s"], rows), note]
    if chart is not None:
        parts.insert(0, f"![CPU per request, gateway and peers]({folder}/{chart})")
    return "\n\n".join(parts)


def embed(text: str, mark: str, section: str) -> str:
    """Put `section` between `<!-- mark:begin -->` and `<!-- mark:end -->` in `text`.

    Raises MarkerError where the two markers aren't there in this order.
    """
    begin, end = f"<!-- {mark}:begin -->", f"<!-- {mark}:end -->"
    before, found, rest = text.partition(begin)
    _, closed, after = rest.partition(end)
    if not found or not closed:
        raise MarkerError(f"no {begin} … {end}")
    return f"{before}{begin}\n\n{section}\n\n{end}{after}"
