"""The state of reading one function: its names, and how sure it is that a line is reached."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING, Any

from gateway.guards.values import NOTHING, Known, RoutePath, joined

if TYPE_CHECKING:
    from types import CodeType

    from gateway.guards.values import Value, Values
    from gateway.inventory import Does


@dataclass(frozen=True, slots=True)
class Finding:
    """One sign: what a line does to a caller, and where (`views.py:12`, or empty)."""

    does: Does
    what: str
    where: str = ""

    def __str__(self) -> str:
        """Render as `calls abort(403) (views.py:12)`."""
        return f"{self.what} ({self.where})" if self.where else self.what


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known of a request before it comes: the route. None stands for "nothing known"."""

    endpoint: str | None = None
    blueprint: str | None = None
    rule: str | None = None
    method: str = ""
    path: Value = field(default_factory=lambda: RoutePath(""))
    #: False where the route doesn't matter: what depends on it is unknown then.
    given: bool = False

    def of(self, names: frozenset[str]) -> tuple[object, ...]:
        """Return some of the facts: two routes that have them in common read alike."""
        return (self.given, *(getattr(self, each) for each in sorted(names)))

    @property
    def blueprints(self) -> tuple[str, ...]:
        """The blueprint and those around it, the innermost first."""
        names, name = [], self.blueprint or ""
        while name:
            names.append(name)
            name = name.rpartition(".")[0]
        return tuple(names)


@dataclass(frozen=True, slots=True)
class Named:
    """An attribute of something unknown that code looks up, or calls."""

    name: str
    called: bool = False


@dataclass(frozen=True, slots=True)
class Outcome:
    """What was read of a function: signs, what it may return, and the code that was read for it.

    `routed`: of which of the route's `Facts` it depends, by name. `named`: what it asks of unknown
    objects, for `Namesakes`.
    """

    findings: tuple[Finding, ...] = ()
    returns: Values = NOTHING
    codes: frozenset[CodeType] = frozenset()
    routed: frozenset[str] = frozenset()
    named: frozenset[Named] = frozenset()


class Flow(Enum):
    """How a block ends: it goes on, perhaps goes on, or returns and raises for sure."""

    GOES_ON = 0
    PERHAPS = 1
    ENDS = 2


@dataclass(slots=True, eq=False)
class Frame:
    """One function while it is read. Nested functions see the names of their `parent`."""

    filename: str
    names: dict[str, Any]
    cells: dict[str, Any] = field(default_factory=dict)
    parent: Frame | None = None
    env: dict[str, Values] = field(default_factory=dict)
    ever: dict[str, Values] = field(default_factory=dict)
    globals_: set[str] = field(default_factory=set)
    me: Values = NOTHING
    returns: list[Values] = field(default_factory=list)
    yields: list[Values] = field(default_factory=list)
    findings: dict[tuple[str, str], Finding] = field(default_factory=dict)
    codes: set[CodeType] = field(default_factory=set)
    routed: set[str] = field(default_factory=set)
    named: set[Named] = field(default_factory=set)
    #: Above 0: what refuses here may do so on other routes only, or is caught.
    doubt: int = 0
    #: Above 0: a line that isn't reached by everybody.
    branch: int = 0
    #: How many of these lines are only reached by those whose form is in order, whoever they are.
    in_order: int = 0
    #: The return value depends on the route in a way that can't be told.
    torn: bool = False
    #: A loop was left, or went on with its next turn.
    left: bool = False
    #: Its return value is the answer to a request.
    answers: bool = False

    def outcome(self, returns: Values = NOTHING) -> Outcome:
        """Sum up what was read."""
        return Outcome(
            tuple(self.findings.values()),
            returns,
            frozenset(self.codes),
            frozenset(self.routed),
            frozenset(self.named),
        )

    def bind(self, name: str, values: Values) -> None:
        """Give a local name its value from here on."""
        self.env[name] = values
        self.ever[name] = joined(self.ever.get(name, NOTHING), values)

    def local(self, name: str) -> Values | None:
        """Return a local name's value; None where the function has none of that name."""
        if name in self.env:
            return self.env[name]
        if name in self.ever:
            return self.ever[name]
        if name in self.cells:
            return frozenset({Known(self.cells[name])})
        outer = self.parent
        while outer is not None:
            if name in outer.ever:
                return outer.ever[name]
            if name in outer.cells:
                return frozenset({Known(outer.cells[name])})
            outer = outer.parent
        return None

    def join(self, *others: dict[str, Values]) -> None:
        """Go on with what any of several branches has left."""
        merged: dict[str, Values] = {}
        for name in {name for env in others for name in env}:
            merged[name] = joined(*(env[name] for env in others if name in env))
        self.env = merged
