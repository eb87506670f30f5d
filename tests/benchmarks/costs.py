"""What Flask's world and the shared guard cost per request: `python -m tests.benchmarks.costs`.

One server, one route per form, asked in turn, forwards and backwards; CPU µs per request of the
server's process, as a Markdown table between the markers of `tests/benchmarks/README.md`.
"""

from __future__ import annotations

import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated

import typer

from tests.benchmarks import environment, load, stats
from tests.benchmarks.cases import CONNECTIONS
from tests.benchmarks.load import Request
from tests.benchmarks.peers import Peer
from tests.benchmarks.report import embed
from tests.benchmarks.server import Server

MARK = "bench:costs"
FORMS = {
    "/legacy/bare": "legacy view, no hooks",
    "/legacy/uncounted": "legacy view, no hooks, nothing counted",
    "/legacy-hooks": "legacy view, two hooks",
    "/legacy-write": "legacy view that writes the session",
    "/legacy/shared": "legacy view, `auth: shared`",
    "/json": "legacy view, 2 KB of JSON",
    "/shadow-off": "the same, `shadow` with `sample: 0`",
    "/shadow-on": "the same, `shadow`, all requests mirrored",
    "/shadow-new": "the same, and every answer is another one",
    "/native-json": "native, 2 KB of JSON",
    "/bare": "native, nothing around it",
    "/uncounted": "native, nothing around it, nothing counted",
    "/hooks": "native, two hooks inherited",
    "/route": "native, `FlaskRoute` and two hooks",
    "/read": "native, session read",
    "/write": "native, session written",
    "/shared": "native, `auth: shared`",
}
_COMMAND = [sys.executable, "-m", "uvicorn", "tests.benchmarks.apps.costs:app"]
_COMMAND += ["--no-access-log", "--log-level", "warning"]
PEER = Peer(
    "costs",
    "gateway",
    lambda place: [[*_COMMAND, "--port", str(place.port)]],
    legacy="",
    native="",
)


def measure_forms(forms: list[str], blocks: int, seconds: int) -> dict[str, list[float]]:
    """Return the CPU µs per request of each form, one value per block."""
    found: dict[str, list[float]] = {form: [] for form in forms}
    with (
        TemporaryDirectory() as folder,
        Server(PEER, routes="hello", files=Path(folder)) as server,
    ):
        for block in range(-1, blocks):  # the first one warms up
            samples: dict[str, list[float]] = {form: [] for form in forms}
            for form in stats.palindrome(forms, max(block, 0)):
                before = server.cpu_seconds()
                taken = load.run(
                    server.port, Request(form), connections=CONNECTIONS, seconds=seconds
                )
                if taken.errors:
                    raise typer.BadParameter(f"{form} gave {taken.errors} errors")
                samples[form].append((server.cpu_seconds() - before) / taken.requests * 1e6)
            if block >= 0:
                for form, values in samples.items():
                    found[form].append(sum(values) / len(values))
    return found


def table(found: dict[str, list[float]], blocks: int) -> str:
    """Write the figures as Markdown."""
    base = stats.mean(found.get("/bare", [0.0])).value
    counting = [
        f"Counting for metrics costs {_share(found, *pair)}."
        for pair in (("/legacy/bare", "/legacy/uncounted"), ("/bare", "/uncounted"))
        if set(pair) <= found.keys()
    ]
    if {"/json", "/shadow-off", "/shadow-on", "/shadow-new", "/native-json"} <= found.keys():
        off = stats.mean(_ratios(found, "/shadow-off", "/json"))
        again, new = _mirroring(found, "/shadow-on"), _mirroring(found, "/shadow-new")
        counting.append(
            f"`shadow` with `sample: 0` costs {off.value:.3f} [{off.low:.3f}, {off.high:.3f}] of "
            f"`legacy`; mirroring all costs the native handler's own and {again} µs more where "
            f"answers repeat, {new} µs where each is another."
        )
    lines = [
        *counting,
        f"{environment.now()}, A-B-B-A blocks: {blocks}.",
        "",
        "| form | CPU µs/request [95%] | beyond a bare native handler |",
        "|---|---:|---:|",
    ]
    for form, values in found.items():
        each = stats.mean(values)
        figure = f"{each.value:.0f} [{each.low:.0f}, {each.high:.0f}]"
        lines.append(f"| {FORMS[form]} | {figure} | {each.value - base:+.0f} |")
    return "\n".join(lines)


def _mirroring(found: dict[str, list[float]], form: str) -> str:
    """Write what mirroring adds to both handlers' own costs."""
    rows = zip(found[form], found["/json"], found["/native-json"], strict=True)
    more = stats.mean([on - legacy - native for on, legacy, native in rows])
    return f"{more.value:.0f} [{more.low:.0f}, {more.high:.0f}]"


def _ratios(found: dict[str, list[float]], one: str, other: str) -> list[float]:
    return [a / b for a, b in zip(found[one], found[other], strict=True)]


def _share(found: dict[str, list[float]], counted: str, uncounted: str) -> str:
    """Write what counting adds to one side's hello, in percent, block by block."""
    pairs = zip(found[counted], found[uncounted], strict=True)
    each = stats.mean([100 * (one / other - 1) for one, other in pairs])
    side = "legacy" if counted.startswith("/legacy") else "native"
    return f"{each.value:.1f}% [{each.low:.1f}, {each.high:.1f}] of the {side} hello"


def main(
    blocks: Annotated[int, typer.Option(min=1, help="A-B-B-A blocks.")] = 5,
    seconds: Annotated[int, typer.Option(min=1, max=60, help="Length of one load.")] = 1,
    only: Annotated[str, typer.Option(help="Only these forms, by `;`.")] = "",
    readme: Annotated[Path | None, typer.Option(help="File whose table is redrawn.")] = None,
) -> None:
    """Measure, print, and write the table where asked."""
    text = table(
        measure_forms(
            [f for f in FORMS if not only or FORMS[f] in only.split(";")], blocks, seconds
        ),
        blocks,
    )
    typer.echo(text)
    if readme is not None:
        content = readme.read_text(encoding="utf-8")
        readme.write_text(embed(content, MARK, text), encoding="utf-8")


if __name__ == "__main__":
    typer.run(main)
