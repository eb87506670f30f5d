"""What a proof has come to, as JSON, as JUnit's XML, and as a page for a reviewer to sign. Pure."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree as ET

from gateway.migrate.prove.judging import FINE, Outcome, Verdict

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gateway.migrate.prove.judging import Answered, Cell, Finding

_LEGEND = (
    "`in`: the view or handler answered with 2xx. `out`: refused, by 401, 403, 407, CSRF's 400, a "
    "login page, or by a hook before the view. `absent`: 404. `other`: anything else. Two answers "
    "in a cell are legacy's and native's; one is both."
)


def as_json(findings: Sequence[Finding], databases: Sequence[str]) -> dict[str, Any]:
    """Return plain values."""
    return {
        "databases": list(databases),
        "outcomes": counts(findings),
        "routes": [
            {
                "route": each.route,
                "rule": each.target.route.rule.id if each.target.route.rule else "",
                "auth": each.target.route.auth or "",
                "outcome": each.outcome.value,
                "why": each.why,
                "next": each.next,
                "cells": [
                    {
                        "identity": cell.identity,
                        "verdict": cell.verdict.value,
                        "legacy": _answer(cell.legacy),
                        "native": _answer(cell.native),
                        "trouble": cell.trouble,
                    }
                    for cell in each.cells
                ],
            }
            for each in findings
        ],
        "to_sign": [each.route for each in findings if each.open],
    }


def _answer(answer: Answered | None) -> dict[str, Any] | None:
    if answer is None:
        return None
    return {"status": answer.status, "means": answer.refusal.value}


def counts(findings: Sequence[Finding]) -> dict[str, int]:
    """Count the outcomes, the worst first."""
    found = Counter(each.outcome for each in findings)
    return {each.value: found[each] for each in Outcome}


def cell_text(cell: Cell) -> str:
    """Write a cell in a few words: what both answered, or what each did where that differs."""
    if cell.legacy is None or cell.native is None:
        return "not asked"
    legacy, native = cell.legacy.text, cell.native.text
    if legacy == native:
        return legacy
    return f"{legacy} / {native}"


def junit(findings: Sequence[Finding]) -> str:
    """Write JUnit's XML: a case for each route and identity, and one for each route's proof."""
    suite = ET.Element("testsuite", name="gateway prove")
    tests = failures = 0
    for each in findings:
        for cell in each.cells:
            case = ET.SubElement(suite, "testcase", classname=each.route, name=cell.identity)
            tests += 1
            if cell.verdict is not Verdict.SAME:
                failures += 1
                told = cell.trouble or cell_text(cell)
                ET.SubElement(case, "failure", type=cell.verdict.value, message=_xml(told))
        case = ET.SubElement(suite, "testcase", classname=each.route, name="is proved")
        tests += 1
        if each.outcome not in FINE:
            failures += 1
            told = f"{each.why} ({each.next})" if each.next else each.why
            ET.SubElement(case, "failure", type=each.outcome.value, message=_xml(told))
    suite.set("tests", str(tests))
    suite.set("failures", str(failures))
    ET.indent(suite)
    return ET.tostring(suite, "unicode", xml_declaration=True) + "\n"


def _xml(text: str) -> str:
    """Leave out what XML 1.0 can't hold (section 2.2)."""
    return "".join(each for each in text if each >= " " or each in "\t\n")


def table(findings: Sequence[Finding], databases: Sequence[str]) -> str:
    """Write a page in Markdown for a reviewer to sign."""
    identities = list(dict.fromkeys(cell.identity for each in findings for cell in each.cells))
    head = ["route", "auth", *identities, "outcome"]
    rows = [_row(head), "|" + "---|" * len(head)]
    for each in findings:
        cells = {cell.identity: cell_text(cell) for cell in each.cells}
        answers = [cells.get(name, "") for name in identities]
        auth = each.target.route.auth or "not said"
        rows.append(_row([f"`{each.route}`", auth, *answers, each.outcome.value]))
    parts = [
        "# Who is refused: legacy and native compared by `gateway prove`",
        "Asked in a test environment with: " + (", ".join(databases) or "no database found") + ".",
        "\n".join(rows),
        _LEGEND,
    ]
    why = [
        f"- `{each.route}`: {each.why}{f' ({each.next})' if each.next else ''}"
        for each in findings
        if each.outcome not in FINE
    ]
    if why:
        parts += ["## Not proved, and why", "\n".join(why)]
    signing = [e for e in findings if e.open]
    if signing:
        parts += [
            "## Open routes, to be signed",
            "Legacy refuses none of the identities here. Sign each that is meant to be open.",
            "\n".join(
                f"- [ ] `{each.route}` (auth: {each.target.route.auth or 'not said'}) "
                "signed: ____________ date: __________"
                for each in signing
            ),
        ]
    parts.append("Reviewed by: ____________________ date: __________")
    return "\n\n".join(parts) + "\n"


def _row(cells: Sequence[str]) -> str:
    return "| " + " | ".join(each.replace("|", "\\|") for each in cells) + " |"
