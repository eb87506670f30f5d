"""What every part of the reader has: signs, places, the app, and the route that is read for."""

from __future__ import annotations

import ast
from abc import ABC, abstractmethod
from pathlib import Path
from types import FunctionType
from typing import TYPE_CHECKING, Any

from gateway.guards import source
from gateway.guards.frame import Facts, Finding, Frame, Outcome
from gateway.guards.namesakes import Namesakes
from gateway.guards.values import (
    DATA,
    REPORTED,
    ROUTE_DATA,
    UNKNOWN,
    Bag,
    Bound,
    Items,
    Known,
    Lib,
    Local,
    Made,
    Routed,
    RoutePath,
    Values,
)

if TYPE_CHECKING:
    from gateway.guards.values import Value
    from gateway.inventory import Does

_LONGEST = 60


class Base(ABC):
    """The reader's state, and the parts that call each other."""

    def __init__(self, app: Any = None, *, native: bool = False) -> None:
        self.app = app
        self.native = native
        #: Whether any exception keeps callers out: it does in a dependency of native code.
        self.any_raise = False
        self.facts = Facts()
        self.globals: dict[str, Values] = {}
        self.made: dict[object, Made] = {}
        #: What the code puts into containers of modules, by their `id`.
        self.stored: dict[int, Values] = {}
        self.bags: dict[object, Bag] = {}
        #: What hooks and views were seen to set as an attribute of the request.
        self.requested: dict[str, Values] = {}
        self._names: Namesakes | None = None
        #: The count of expressions at which reading stops.
        self.limit = 0
        #: Whether an error handler is being read.
        self.handling = False
        #: How many expressions have been read so far.
        self.expressions = 0

    @property
    def names(self) -> Namesakes:
        """The team's functions by name."""
        if self._names is None:
            self._names = Namesakes(self.may_refuse)
        return self._names

    def say(self, frame: Frame, does: Does, what: str, node: ast.AST | None = None) -> None:
        """Note a sign, at the line of `node`."""
        if does == "refuses" and frame.doubt:
            does = "perhaps"
        line = getattr(node, "lineno", None)
        where = f"{Path(frame.filename).name}:{line}" if line is not None else ""
        self.note(frame, Finding(does, what, where))

    @staticmethod
    def note(frame: Frame, finding: Finding) -> None:
        """Keep a sign; of two for the same line the stronger one."""
        key = (finding.what, finding.where)
        old = frame.findings.get(key)
        if old is None or (old.does != "refuses" and finding.does == "refuses"):
            frame.findings[key] = finding

    def doubt(self, frame: Frame, node: ast.AST, why: str = "can't be followed") -> Values:
        """Note a call or access that can't be resolved; return what it may give."""
        self.say(frame, "perhaps", f"{written(node)} {why}", node)
        return frozenset({REPORTED})

    def take(self, frame: Frame, outcome: Outcome, *, sure: bool = True) -> Values:
        """Count what a called function does as done here; return what it returns."""
        frame.codes |= outcome.codes
        frame.routed |= outcome.routed
        frame.named |= outcome.named
        for each in outcome.findings:
            weak = each.does == "refuses" and (frame.doubt or not sure)
            self.note(frame, Finding("perhaps", each.what, each.where) if weak else each)
        return outcome.returns

    @staticmethod
    def is_torn(values: Values) -> bool:
        """Tell whether a condition depends on the route in a way that can't be told."""
        return any(each is ROUTE_DATA or isinstance(each, RoutePath) for each in values)

    def routes(self, frame: Frame, *names: str) -> Facts:
        """Return the facts of the route, and remember of which of them this function asked."""
        frame.routed.update(names)
        return self.facts

    @abstractmethod
    def may_refuse(self, module: str) -> bool:
        """Tell whether a library's code may turn a caller away, by what it raises or answers."""

    @abstractmethod
    def ev(self, node: ast.expr | None, frame: Frame) -> Values:
        """Return what an expression may be, and note what it does."""

    @abstractmethod
    def attribute(self, value: Value, name: str, frame: Frame, node: ast.AST) -> Values:
        """Return what an attribute may be."""

    @abstractmethod
    def call(
        self,
        value: Value,
        args: tuple[Values, ...],
        kwargs: dict[str, Values],
        frame: Frame,
        node: ast.AST,
        rest: Values = frozenset(),
    ) -> Values:
        """Return what a call may give, and note what it does."""

    @abstractmethod
    def follow(
        self,
        function: Value,
        args: tuple[Values, ...] = (),
        kwargs: dict[str, Values] | None = None,
        rest: Values = frozenset(),
        *,
        answers: bool = False,
    ) -> Outcome:
        """Read a function that is called with these arguments."""

    @abstractmethod
    def block(self, body: list[ast.stmt], frame: Frame) -> Any:
        """Read statements."""


def written(node: ast.AST) -> str:
    """Write an expression as its author did, on one line."""
    target = node.func if isinstance(node, ast.Call) else node
    try:
        text = " ".join(ast.unparse(target).split())
    except (ValueError, RecursionError):
        return "an expression"
    short = text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"
    return f"{short}()" if isinstance(node, ast.Call) else short


def derived(*several: Values) -> Values:
    """Return what harmless code may make of several values: data, or what was put in."""
    found: set[Value] = {DATA}
    seen: set[Value] = set()
    pending = [each for values in several for each in values]
    while pending:
        each = pending.pop()
        if each in seen:
            continue
        seen.add(each)
        if isinstance(each, Bag):
            pending += each.held
        elif isinstance(each, Items):
            pending += [one for values in each.items for one in values]
        elif each is ROUTE_DATA or isinstance(each, RoutePath | Routed):
            found.add(ROUTE_DATA)
        elif (
            each in (UNKNOWN, REPORTED)
            or isinstance(each, Lib | Made | Local | Bound)
            or (isinstance(each, Known) and _is_teams(each.value))
        ):
            found.add(each)
    return frozenset(found)


def _is_teams(value: Any) -> bool:
    """Tell whether an object, class or function is the team's own."""
    if isinstance(value, type | FunctionType):
        return source.is_own(value)
    return type(value).__module__ != "builtins" and source.is_own(type(value))
