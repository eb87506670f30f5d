"""A bar chart as SVG, legible on light and dark pages. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING
from xml.sax.saxutils import escape

from tests.benchmarks import stats
from tests.benchmarks.peers import OURS

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tests.benchmarks.results import CaseResult

_WIDTH, _LABEL, _VALUE, _ROW, _BAR = 760, 250, 70, 24, 16
_STYLE = (
    "text{font:13px system-ui,sans-serif;fill:#57606a}.t{font-weight:600}"
    ".b{fill:#8c959f}.o{fill:#1a7f64}"
    "@media(prefers-color-scheme:dark){text{fill:#9ba4ae}.o{fill:#2fbf95}}"
)


def cpu_chart(cases: Iterable[CaseResult]) -> str:
    """Draw CPU µs per request of every peer, one group of bars per case, lowest first."""
    parts: list[str] = []
    top = 8
    for case in cases:
        rows = sorted(
            (stats.mean(peer.values["cpu_us"]).value, key, peer.title)
            for key, peer in case.peers.items()
            if not peer.problem and "cpu_us" in peer.values
        )
        if not rows:
            continue
        title = escape(f"{case.title}: CPU µs per request, less is better")
        parts.append(f'<text class="t" x="0" y="{top + 14}">{title}</text>')
        top += _ROW
        scale = (_WIDTH - _LABEL - _VALUE) / rows[-1][0]
        for value, key, name in rows:
            parts.append(_bar(name, value, value * scale, top, ours=key == OURS))
            top += _ROW
        top += _ROW // 2
    body = "\n".join(parts)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {top}" role="img" '
        f'aria-label="CPU microseconds per request, gateway and peers">\n'
        f"<style>{_STYLE}</style>\n{body}\n</svg>\n"
    )


def _bar(name: str, value: float, width: float, top: int, *, ours: bool) -> str:
    baseline = top + _BAR - 3
    kind = "o" if ours else "b"
    weight = ' class="t"' if ours else ""
    return (
        f'<text{weight} x="{_LABEL - 8}" y="{baseline}" text-anchor="end">{escape(name)}</text>'
        f'<rect class="{kind}" x="{_LABEL}" y="{top}" width="{width:.1f}" height="{_BAR}" rx="2"/>'
        f'<text{weight} x="{_LABEL + width + 6:.1f}" y="{baseline}">{value:,.0f}</text>'
    )
