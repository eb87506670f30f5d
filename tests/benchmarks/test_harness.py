"""The pure parts of the benchmark, and that its clock agrees with the kernel's ticks."""

import os
import time
from pathlib import Path

import pytest

from tests.benchmarks import bars, chart, measure, report, stats
from tests.benchmarks.bars import Bar
from tests.benchmarks.cases import CASES
from tests.benchmarks.peers import BY_NAME, PEERS
from tests.benchmarks.results import CaseResult, PeerResult, Results, load_results
from tests.benchmarks.runner import MATCH, peers_of


def example() -> Results:
    ours = PeerResult("gateway (uvicorn)")
    theirs = PeerResult("gunicorn | <gthread>")
    for block in range(30):
        for peer, cpu in ((ours, 100.0), (theirs, 200.0)):
            figures = {"cpu_us": cpu + block, "rps": 1e6 / cpu, "p99_ms": 3.0, "errors": 0.0}
            peer.add_block([figures, figures])
    absent = PeerResult("pyvoy", "not installed (pyvoy)")
    case = CaseResult("Legacy hello", "2026-01-01T00:00+00:00", 30, "gunicorn")
    case.peers = {"ours": ours, "gunicorn": theirs, "pyvoy": absent}
    machine = {"date": "2026-01-01T00:00+00:00", "cpu": "a chip", "cores": "2"}
    return Results(machine, {"flask": "3"}, {"legacy-hello": case})


def test_percentile_interpolates_between_neighbours() -> None:
    assert stats.percentile([1.0, 2.0, 3.0, 4.0], 0.5) == 2.5
    assert stats.percentile([7.0], 0.99) == 7.0
    with pytest.raises(ValueError, match="no values"):
        stats.percentile([], 0.5)


def test_ratio_is_of_the_pairs_so_a_drift_of_the_machine_cancels() -> None:
    drift = [1.0 + block / 10 for block in range(30)]
    found = stats.paired_ratio([40 * d for d in drift], [100 * d for d in drift])
    assert (found.value, found.low, found.high) == pytest.approx((0.4, 0.4, 0.4))


def test_interval_holds_the_mean_and_is_the_same_every_time() -> None:
    values = [1.0, 2.0, 3.0, 4.0, 5.0]
    found = stats.mean(values)
    assert found.low < found.value == 3.0 < found.high
    assert stats.mean(values) == found


def test_one_value_has_no_interval() -> None:
    assert stats.mean([2.0]) == stats.Interval(2.0, 2.0, 2.0)


def test_any_two_names_run_as_a_b_b_a() -> None:
    names = ["a", "b", "c"]
    for block in range(4):
        order = stats.palindrome(names, block)
        assert sorted(order) == sorted(names * 2)
        assert order == order[::-1]
    assert stats.palindrome(names, 1)[0] == "b"


def test_a_block_keeps_the_mean_but_the_worst_of_memory() -> None:
    peer = PeerResult("p")
    peer.add_block([{"rss_mb": 1.0, "mb_s": 10.0}, {"rss_mb": 5.0, "mb_s": 20.0}])
    assert peer.values == {"rss_mb": [5.0], "mb_s": [15.0]}


@pytest.mark.parametrize(
    ("low", "high", "least", "verdict"),
    [
        (0.3, 0.5, False, "met"),
        (0.55, 0.65, False, "unclear"),
        (0.7, 0.8, False, "not met"),
        (0.7, 0.8, True, "met"),
        (0.55, 0.65, True, "unclear"),
        (0.3, 0.5, True, "not met"),
    ],
)
def test_a_bar_is_judged_by_the_whole_interval(
    low: float, high: float, least: bool, verdict: str
) -> None:
    bar = Bar("c", "t", "cpu_us", 0.6, 0.4, "gunicorn", least=least)
    figure = stats.Interval((low + high) / 2, low, high)
    assert bar.verdict(figure, bars.BLOCKS) == verdict
    assert bar.verdict(figure, 29) == "too few blocks"
    assert bar.verdict(None, bars.BLOCKS) == "no figures"


def test_bars_name_cases_and_peers_that_exist() -> None:
    known = {case.name for case in CASES} | {MATCH}
    assert {bar.case for bar in bars.BARS} <= known
    assert {bar.against for bar in bars.BARS if bar.against} <= set(BY_NAME)
    for case in CASES:
        assert case.baseline in {peer.name for peer in peers_of(case, frozenset())}


def test_tables_show_ratio_missing_peers_and_escape_cell_borders() -> None:
    results = example()
    text = report.case_table(results.cases["legacy-hello"])
    assert "**gateway (uvicorn)**" in text
    assert "0.53 [0.5" in text
    assert "gunicorn \\| <gthread>" in text
    assert "not installed (pyvoy)" in text
    widths = {line.replace("\\|", "").count("|") for line in text.splitlines()}
    assert len(widths) == 1
    assert "| met |" in report.bars_table(results)
    assert "no figures" in report.bars_table(results)
    assert "2026-01-01" in report.full(results, "cpu.svg")
    assert "tests/benchmarks/cpu.svg" in report.summary(results, "tests/benchmarks", "cpu.svg")


def test_embedding_keeps_the_text_around_and_can_be_repeated() -> None:
    text = "# Title\n<!-- bench:begin -->\nold\n<!-- bench:end -->\nafter\n"
    once = report.embed(text, "bench", "new")
    assert once.startswith("# Title\n")
    assert once.endswith("\nafter\n")
    assert "old" not in once
    assert report.embed(once, "bench", "new") == once
    with pytest.raises(report.MarkerError):
        report.embed("no markers", "bench", "new")


def test_chart_is_wellformed_and_leaves_out_absent_peers() -> None:
    from xml.etree import ElementTree as ET

    drawn = chart.cpu_chart(example().cases.values())
    root = ET.fromstring(drawn)
    bars_drawn = root.findall("{http://www.w3.org/2000/svg}rect")
    assert len(bars_drawn) == 2
    assert "pyvoy" not in drawn


def test_results_come_back_from_json_as_they_were(tmp_path: Path) -> None:
    results = example()
    results.save(tmp_path / "results.json")
    assert load_results(tmp_path / "results.json") == results


def test_every_peer_says_what_it_serves() -> None:
    for peer in PEERS:
        assert peer.legacy is not None or peer.native is not None
        assert peer.missing() is None or isinstance(peer.missing(), str)


def test_the_clock_of_a_process_agrees_with_its_own_view() -> None:
    until = time.process_time() + 0.05
    while time.process_time() < until:
        pass
    assert measure.cpu_seconds([os.getpid()]) == pytest.approx(time.process_time(), abs=0.05)
    assert os.getpid() in measure.tree([os.getpid()])
    assert measure.rss_bytes([os.getpid()]) > 1_000_000
