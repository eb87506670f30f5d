"""Two JSON trees walked together, a lens along with them.

The walk itself decides what differs. `gateway.shadow.pairing` only says which elements of two lists
belong together.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from gateway.shadow import pairing
from gateway.shadow.lens import Extent
from gateway.shadow.values import MISSING, PLAIN, json_type, near, same

if TYPE_CHECKING:
    from gateway.locations import Location
    from gateway.shadow.expect import Expectation
    from gateway.shadow.lens import Lens, Marks, State

Kind = Literal["changed", "missing", "added", "type"]
At = tuple[Any, ...]
"""A place as a chain: (the place above, key), the root alone in the innermost. Cheap to extend."""

_DEEPEST = 200
_MOST = 200
_EITHER = frozenset({"object", "array"})


@dataclass(frozen=True, slots=True)
class Found:
    """A difference as it was found: where, both values (or MISSING), and how they differ."""

    location: Location
    legacy: Any
    native: Any
    kind: Kind
    note: str = ""


@dataclass(frozen=True, slots=True)
class Keys:
    """An object whose two sides have different members: which are on both, which on one."""

    location: Location
    common: frozenset[str]
    single: frozenset[str]


class Enough(Exception):
    """More differences than anybody reads."""


class _Differs(Exception):
    """What a probe raises at the first difference."""


@dataclass(slots=True)
class Report:
    """What a walk has found. `learning`: two legacy answers, whose lists may be in any order."""

    lens: Lens
    learning: bool = False
    successful: bool = True
    """Whether legacy answered with 2xx: only then must native add what is declared as added."""
    differences: list[Found] = field(default_factory=list)
    expected: dict[Location, None] = field(default_factory=dict)
    noisy: dict[str, None] = field(default_factory=dict)
    """The learned fields that differ."""
    flaps: list[Found] = field(default_factory=list)
    """The same by their places, where two legacy answers are compared."""
    reordered: list[Location] = field(default_factory=list)
    keys: list[Keys] = field(default_factory=list)
    probing: bool = False
    _probe: Report | None = None

    def settle(self, at: At, x: Any, y: Any, state: State) -> bool:
        """Hold two values against what is declared of their place; False: nothing is."""
        marks = state.marks
        if marks is None or not marks.expectations or self.learning:
            return False
        there = [each for each in marks.expectations if each.legacy.fits(x)]
        if not there:
            return False
        if any(each.native.fits(y) for each in there):
            if not self.probing and not same(x, y):
                self.expected[located(at)] = None
        else:
            self._unmet(at, x, y, there[0])
        return True

    def _unmet(self, at: At, x: Any, y: Any, expectation: Expectation) -> None:
        note = f"declared otherwise: native: {expectation.native} ({expectation.pattern.text})"
        self._add(at, x, y, "changed", note)

    def differ(self, at: At, x: Any, y: Any, state: State) -> None:
        """Note that two values (or MISSING) are not the same, as noise where it is known."""
        kind = kind_of(x, y)
        marks = state.marks
        if marks is not None and marks.covers(kind, null=x is None or y is None):
            self.known(at, x, y, kind, marks.name)
            return
        self._add(at, x, y, kind)

    def known(self, at: At, x: Any, y: Any, kind: Kind, name: str) -> None:
        """Note that two values differ where they were learned to."""
        if self.learning and not self.probing:
            self.flaps.append(Found(located(at), x, y, kind))
        elif not self.probing:
            self.noisy[name] = None

    def _add(self, at: At, x: Any, y: Any, kind: Kind, note: str = "") -> None:
        if self.probing:
            raise _Differs
        self.differences.append(Found(located(at), x, y, kind, note))
        if len(self.differences) >= _MOST:
            raise Enough

    def alike(self, x: Any, y: Any, state: State) -> bool:
        """Tell whether two values differ in nothing that counts, without noting anything."""
        if not state.live:
            return same(x, y)
        if self._probe is None:
            probe = Report(self.lens, self.learning, self.successful, probing=True)
            self._probe = self if self.probing else probe
        try:
            walk(x, y, state, (), self._probe)
        except _Differs:
            return False
        return True


def located(at: At) -> Location:
    """Write a chain as a location."""
    keys = []
    while at:
        at, key = at if len(at) == 2 else ((), at[0])  # noqa: PLR2004
        keys.append(key)
    return tuple(reversed(keys))


def kind_of(x: Any, y: Any) -> Kind:
    """Say how two values (or MISSING) differ."""
    if x is MISSING:
        return "added"
    if y is MISSING:
        return "missing"
    return "changed" if json_type(x) == json_type(y) else "type"


def walk(x: Any, y: Any, state: State, at: At, report: Report, depth: int = 0) -> None:
    """Compare two values, either of which may be MISSING.

    Raises RecursionError where they are nested too deeply, and Enough.
    """
    if not state.live and x is not MISSING and same(x, y):
        return
    if depth > _DEEPEST:
        raise RecursionError
    marks = state.marks
    if marks is not None and _marked(x, y, state, marks, at, report):
        return
    kind = type(x)
    if kind is dict and type(y) is dict:
        _objects(x, y, state, at, report, depth)
    elif kind is list and type(y) is list:
        _lists(x, y, state, at, report, depth)
    elif x is MISSING or not same(x, y):
        report.differ(at, x, y, state)


def _marked(x: Any, y: Any, state: State, marks: Marks, at: At, report: Report) -> bool:
    """Do what is said of this place; True: there is nothing more to compare."""
    if marks.ignore or report.settle(at, x, y, state):
        return True
    if marks.tolerance is not None and near(x, y, marks.tolerance):
        return True
    containers = x is not MISSING and y is not MISSING and json_type(x) in _EITHER
    if marks.noise & Extent.BELOW and containers and json_type(x) == json_type(y):
        if not report.probing and not same(x, y):
            report.known(at, x, y, "changed", marks.name)
        return True
    return False


def _objects(
    x: dict[str, Any], y: dict[str, Any], state: State, at: At, report: Report, depth: int
) -> None:
    live = state.live
    for key, value in x.items():
        other = y.get(key, MISSING)
        child = state.child(key) if live else state
        plain = type(value) is type(other) and type(value) in PLAIN
        if plain and value == other and child.quiet:
            continue
        if child.live or not same(value, other):
            walk(value, other, child, (at, key), report, depth + 1)
    if x.keys() != y.keys():
        for key, other in y.items():
            if key not in x:
                walk(MISSING, other, state.child(key), (at, key), report, depth + 1)
        if report.learning and not report.probing:
            common, single = x.keys() & y.keys(), x.keys() ^ y.keys()
            report.keys.append(Keys(located(at), frozenset(common), frozenset(single)))
    if report.successful:
        for key in state.demands:
            if key not in x and key not in y:
                report.settle((at, key), MISSING, MISSING, state.child(key))


def _lists(x: list[Any], y: list[Any], state: State, at: At, report: Report, depth: int) -> None:
    marks = state.marks
    if marks is not None and marks.unordered:
        pairs = pairing.unordered(x, y, state)
    else:
        pairs = _in_order(x, y, state, at, report)
    for i, j in pairs:
        if i is None and j is not None:
            walk(MISSING, y[j], state.child(j), (at, j), report, depth + 1)
        elif i is not None:
            other = MISSING if j is None else y[j]
            walk(x[i], other, state.child(i), (at, i), report, depth + 1)


def _in_order(
    x: list[Any], y: list[Any], state: State, at: At, report: Report
) -> list[pairing.Pair]:
    shorter = min(len(x), len(y))
    start = 0
    while start < shorter and report.alike(x[start], y[start], state.child(start)):
        start += 1
    if start == len(x) == len(y):
        wanted = report.lens.notes and state.live and not report.probing
        return [(i, i) for i in range(start)] if wanted else []
    if report.learning and not report.probing:
        shuffled = pairing.shuffled(x, y, state)
        if shuffled is not None:
            report.reordered.append(located(at))
            return shuffled
    end = 0
    while end < shorter - start and report.alike(
        x[-1 - end], y[-1 - end], state.child(len(x) - 1 - end)
    ):
        end += 1
    middle = pairing.in_order(x[start : len(x) - end], y[start : len(y) - end], state, start)
    head = [(i, i) for i in range(start)]
    tail = [(len(x) - end + k, len(y) - end + k) for k in range(end)]
    return [*head, *middle, *tail]
