r"""What do the answers prove? Pure.

::

    legacy \ native   let_in    refused   absent    other
    let_in            same      closed    closed    unlike
    refused           opened    same      unlike    unlike
    absent            opened    unlike    same      unlike
    other             unlike    unlike    unlike    same

An answer that says nothing (`limited`, a failure, one of the other side's, none at all) makes the
cell `unclear`, and so does a refusal by CSRF: it hides what else would have refused the caller.
"""

from __future__ import annotations

from collections.abc import Mapping  # noqa: TC003 - a table at run time
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from gateway.refusals import Refusal

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gateway.migrate.prove.planning import Target

_FAILED = 500
_REDIRECTION = 3


class Verdict(StrEnum):
    """What one cell has come to."""

    SAME = "same"
    OPENED = "opened"
    CLOSED = "closed"
    UNLIKE = "unlike"
    UNCLEAR = "unclear"


class Outcome(StrEnum):
    """What one route has come to, the worst first."""

    OPENED = "opened"
    CLOSED = "closed"
    UNPROVED = "unproved"
    OPEN = "open"
    """It refuses nobody on either side, and its rule says `auth: none`: to be signed."""
    PROVED = "proved"


#: What needs no more work.
FINE = (Outcome.PROVED, Outcome.OPEN)
_AWAY = (Refusal.REFUSED, Refusal.ABSENT)
#: What each answer means in words, for tables.
WORDS: Mapping[Refusal, str] = {
    Refusal.LET_IN: "in",
    Refusal.REFUSED: "out",
    Refusal.LIMITED: "limited",
    Refusal.ABSENT: "absent",
    Refusal.OTHER: "other",
}


@dataclass(frozen=True, slots=True)
class Answered:
    """One side's answer. `trouble` says why it tells nothing of who may come; empty: it does."""

    status: int
    refusal: Refusal
    by_csrf: bool = False
    trouble: str = ""

    @property
    def text(self) -> str:
        """The answer in two words: `out 401`."""
        return f"{WORDS[self.refusal]} {self.status}" if self.status else "no answer"


@dataclass(frozen=True, slots=True)
class Cell:
    """One identity's two answers on one route; None for a side that wasn't asked."""

    identity: str
    legacy: Answered | None
    native: Answered | None
    hindrance: str = ""

    @property
    def trouble(self) -> str:
        """Why the cell tells nothing; empty where it does."""
        if self.hindrance:
            return self.hindrance
        for side, answer in (("legacy", self.legacy), ("native", self.native)):
            if answer is None:
                return f"{side} wasn't asked"
            if answer.trouble:
                return f"{side}: {answer.trouble}"
            if answer.refusal is Refusal.LIMITED:
                return f"{side} answered {answer.status}: turn its limits off in the tests"
        for answer in (self.legacy, self.native):
            if answer is not None and answer.by_csrf:
                return "CSRF refused first: give it a right token, by `login:`"
        return ""

    @property
    def verdict(self) -> Verdict:
        """Compare both answers in who is refused, and in nothing else."""
        legacy, native = self.legacy, self.native
        if legacy is None or native is None or legacy.trouble:
            return Verdict.UNCLEAR
        if legacy.refusal in _AWAY and native.refusal is Refusal.LET_IN:
            # Also where it was CSRF that refused, and whatever trouble native had.
            return Verdict.OPENED
        if self.trouble:
            return Verdict.UNCLEAR
        if legacy.refusal is Refusal.LET_IN and native.refusal in _AWAY:
            return Verdict.CLOSED
        return Verdict.SAME if legacy.refusal is native.refusal else Verdict.UNLIKE


@dataclass(frozen=True, slots=True)
class Finding:
    """What one route has come to, why, and what to do next."""

    target: Target
    cells: tuple[Cell, ...]
    outcome: Outcome
    why: str = ""
    next: str = ""

    @property
    def route(self) -> str:
        """The route's id."""
        return self.target.route.id

    @property
    def let_in(self) -> tuple[str, ...]:
        """Whom legacy let in."""
        return self._by_legacy(Refusal.LET_IN)

    @property
    def refused(self) -> tuple[str, ...]:
        """Whom legacy refused."""
        return self._by_legacy(Refusal.REFUSED)

    @property
    def open(self) -> bool:
        """Legacy let somebody in and turned nobody away: a person has to sign that it is meant."""
        away = any(e.legacy is not None and e.legacy.refusal in _AWAY for e in self.cells)
        return bool(self.let_in) and not away

    def _by_legacy(self, refusal: Refusal) -> tuple[str, ...]:
        return tuple(
            each.identity
            for each in self.cells
            if each.legacy is not None and each.legacy.refusal is refusal
        )


def judge(target: Target, asked: Sequence[Cell]) -> Finding:
    """Say what a route's cells prove.

    Only that legacy let in one and refused another, and that native did the same with each, is a
    proof.
    """
    cells = tuple(asked)
    if target.hindrance:
        return Finding(target, cells, Outcome.UNPROVED, target.hindrance, target.next)
    by_verdict: dict[Verdict, list[Cell]] = {}
    for each in cells:
        by_verdict.setdefault(each.verdict, []).append(each)
    for verdict, outcome, words, hint in _APART:
        apart = by_verdict.get(verdict)
        if apart:
            to_login = verdict is Verdict.UNLIKE and any(_redirects(each) for each in apart)
            next_ = _LOGIN if to_login else hint
            return Finding(target, cells, outcome, f"{words} {_told(apart)}", next_)
    unclear = by_verdict.get(Verdict.UNCLEAR)
    if unclear:
        first = unclear[0]
        return Finding(
            target, cells, Outcome.UNPROVED, f"{first.identity}: {first.trouble}{_more(unclear)}"
        )
    finding = Finding(target, cells, Outcome.PROVED)
    if finding.open:
        if target.route.auth == "none":
            return Finding(target, cells, Outcome.OPEN, "it refuses nobody, and says `auth: none`")
        return Finding(
            target,
            cells,
            Outcome.UNPROVED,
            "legacy refuses none of the identities",
            "name one that it refuses; if it is open, say `auth: none`",
        )
    if not finding.let_in:
        why = f"legacy let nobody in: {_answers(cells)}"
        hint = "add an identity that may come, and values and a body for the route"
        return Finding(target, cells, Outcome.UNPROVED, why, hint)
    if not finding.refused:
        hint = "name an identity that it refuses"
        return Finding(target, cells, Outcome.UNPROVED, "legacy refused nobody", hint)
    return finding


_APART = (
    (
        Verdict.OPENED,
        Outcome.OPENED,
        "native lets in whom legacy turns away:",
        "guard the native handler, or take the route back",
    ),
    (
        Verdict.CLOSED,
        Outcome.CLOSED,
        "native turns away whom legacy lets in:",
        "mend the native handler's guard",
    ),
    (
        Verdict.UNLIKE,
        Outcome.UNPROVED,
        "the answers can't be compared:",
        "give values and a body that both sides take",
    ),
)


_LOGIN = "is that a redirect to a login page? Then name it in auth.login"


def _redirects(cell: Cell) -> bool:
    """Tell whether one side refuses where the other one redirects."""
    answers = [each for each in (cell.legacy, cell.native) if each is not None]
    refuses = any(each.refusal is Refusal.REFUSED for each in answers)
    return refuses and any(
        each.refusal is Refusal.OTHER and each.status // 100 == _REDIRECTION for each in answers
    )


def _told(cells: Sequence[Cell]) -> str:
    first = cells[0]
    legacy, native = first.legacy, first.native
    both = f"legacy {legacy.text if legacy else ''}, native {native.text if native else ''}"
    return f"{first.identity} ({both}){_more(cells)}"


def _more(cells: Sequence[Cell]) -> str:
    return f"; also {', '.join(each.identity for each in cells[1:])}" if len(cells) > 1 else ""


def _answers(cells: Sequence[Cell]) -> str:
    return ", ".join(f"{e.identity} {e.legacy.text}" for e in cells if e.legacy is not None)


def failed(status: int, by_hook: bool, raised: str = "") -> str:
    """Return the trouble with a side that fails, rather than refuses; empty for any other.

    `raised` is the exception behind it, where one is known.
    """
    if status >= _FAILED and status != 503 and not by_hook:  # noqa: PLR2004 - a limit, no failure
        return f"it failed with {status}: {raised}" if raised else f"it failed with {status}"
    return ""


#: The worst first, as a reader wants them.
ORDER: Mapping[Outcome, int] = {each: index for index, each in enumerate(Outcome)}


def in_order(findings: Sequence[Finding]) -> tuple[Finding, ...]:
    """Sort findings: what is open or shut wrongly first."""
    return tuple(sorted(findings, key=lambda each: ORDER[each.outcome]))
