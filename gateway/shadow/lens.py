"""All patterns of a policy as one automaton, walked along with the two bodies.

A state is what is still open after the steps taken so far. States are made when they are first
reached and are as many as the patterns allow, however many keys the bodies have.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING

from gateway.locations import Wild, written

if TYPE_CHECKING:
    from collections.abc import Iterable

    from gateway.locations import Parts, Step
    from gateway.shadow.expect import Expectation


_REMEMBERED = 500


class Extent(IntEnum):
    """What differs by itself at a location: bits. No IntFlag, whose `&` costs ten times as much."""

    CHANGED = 1
    """Its value, of the same type."""
    TYPE = 2
    """The type of its value."""
    ABSENT = 4
    """Whether it is there, or null."""
    BELOW = 8
    """Whatever lies below it."""
    KEYS = 16
    """Whether a member is there, of an object with generated keys."""
    STABLE = 32
    """Nothing of KEYS: this member was seen on both sides."""


@dataclass(frozen=True, slots=True, eq=False)
class Rule:
    """One pattern, and what it says of the places that it matches."""

    steps: tuple[Step, ...]
    ignore: bool = False
    unordered: bool = False
    tolerance: float | None = None
    expectation: Expectation | None = None
    noise: int = 0
    """Of `Extent`."""


@dataclass(frozen=True, slots=True)
class Marks:
    """What all rules together say of one place. `tolerance` is the widest one."""

    ignore: bool
    unordered: bool
    tolerance: float | None
    expectations: tuple[Expectation, ...]
    noise: int
    name: str
    """The learned field that the noise belongs to."""

    def covers(self, kind: str, *, null: bool) -> bool:
        """Tell whether a difference of this kind is noise; `null`: against null."""
        noise = self.noise
        if kind == "changed":
            return bool(noise & Extent.CHANGED)
        if kind == "type":
            return bool(noise & (Extent.TYPE | Extent.ABSENT if null else Extent.TYPE))
        if noise & Extent.ABSENT:
            return True
        return noise & (Extent.KEYS | Extent.STABLE) == Extent.KEYS


_Items = frozenset[tuple[int, int]]


class State:
    """Where the patterns stand at one place of the bodies."""

    __slots__ = (
        "_children",
        "_items",
        "_lens",
        "_named",
        "_others",
        "demands",
        "live",
        "marks",
        "quiet",
    )

    def __init__(self, lens: Lens, items: _Items) -> None:
        self._lens = lens
        self._items = items
        self.live = bool(items)
        """False: no pattern says anything of this place or what is below it."""
        self.marks = lens.marks(items)
        self.quiet = self.marks is None or not self.marks.expectations
        """True: there is nothing to tell of equal values here."""
        self.demands = lens.demands(items)
        """Members that native must have where legacy lacks them."""
        self._named = {
            rule.steps[at].selector
            for rule, at in ((lens.rules[index], at) for index, at in items)
            if at < len(rule.steps)
        }
        self._others: dict[bool, State] = {}
        # The keys of bodies are of any number: only so many are remembered.
        self._children: dict[str | int, State] = {}

    def child(self, key: str | int) -> State:
        """Return the state one step further down."""
        return self._children.get(key) or self._find(key)

    def _find(self, key: str | int) -> State:
        if not self.live:
            return self
        if key in self._named:
            found = self._lens.after(self._items, key)
        else:
            kind = Wild.NUMBERED in self._named and Wild.NUMBERED.fits(key)
            known = self._others.get(kind)
            if known is None:
                known = self._others[kind] = self._lens.after(self._items, key)
            found = known
        if len(self._children) < _REMEMBERED:
            self._children[key] = found
        return found


def _parts(rule: Rule) -> Parts:
    return tuple(step.selector for step in rule.steps)


class Lens:
    """The rules of a policy, and of what was learned, compiled together."""

    def __init__(self, rules: Iterable[Rule]) -> None:
        self.rules = tuple(rules)
        self._states: dict[_Items, State] = {}
        self.start = self._state(frozenset((index, 0) for index in range(len(self.rules))))
        self.notes = any(rule.noise or rule.expectation for rule in self.rules)
        """Whether there is something to tell of answers that don't differ unexpectedly."""
        self.expects = any(rule.expectation for rule in self.rules)
        """Whether equal answers may be wrong."""

    def at(self, *keys: str) -> State:
        """Return the state of a place by its root and keys."""
        state = self.start
        for key in keys:
            state = state.child(key)
        return state

    def after(self, items: _Items, key: str | int) -> State:
        """Return the state after one more step."""
        reached: set[tuple[int, int]] = set()
        for rule, at in items:
            steps = self.rules[rule].steps
            if at < len(steps):
                if steps[at].below:
                    reached.add((rule, at))
                if steps[at].fits(key):
                    reached.add((rule, at + 1))
        return self._state(frozenset(reached))

    def _state(self, items: _Items) -> State:
        found = self._states.get(items)
        if found is None:
            found = self._states[items] = State(self, items)
        return found

    def marks(self, items: _Items) -> Marks | None:
        """Return what the rules say that end here; None where none does."""
        here = [self.rules[rule] for rule, at in items if at == len(self.rules[rule].steps)]
        if not here:
            return None
        noise = 0
        for rule in here:
            noise |= rule.noise
        tolerances = [rule.tolerance for rule in here if rule.tolerance is not None]
        return Marks(
            any(rule.ignore for rule in here),
            any(rule.unordered for rule in here),
            max(tolerances, default=None),
            tuple(rule.expectation for rule in here if rule.expectation is not None),
            noise,
            next((written(_parts(rule)) for rule in here if rule.noise), ""),
        )

    def demands(self, items: _Items) -> tuple[str, ...]:
        """Return the members that an expectation demands of native, directly below."""
        names: set[str] = set()
        for index, at in items:
            rule = self.rules[index]
            if at != len(rule.steps) - 1 or rule.steps[at].below:
                continue
            selector = rule.steps[at].selector
            wanted = rule.expectation is not None and rule.expectation.demands
            if wanted and isinstance(selector, str):
                names.add(selector)
        return tuple(sorted(names))
