"""Reading statements: which lines are reached, by whom, and what names mean there."""

from __future__ import annotations

import ast
from contextlib import contextmanager
from functools import cache
from typing import TYPE_CHECKING

from gateway.guards import source
from gateway.guards.base import derived
from gateway.guards.expressions import Expressions
from gateway.guards.frame import Flow
from gateway.guards.values import (
    ANY_DATA,
    NOTHING,
    ROUTE_DATA,
    Known,
    Local,
    Made,
    joined,
    only,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gateway.guards.frame import Frame
    from gateway.guards.values import Value, Values


class Statements(Expressions):
    """The part that walks through a function's body."""

    def block(self, body: list[ast.stmt], frame: Frame) -> Flow:
        """Read statements in order; what follows an end is not read."""
        flow, entered = Flow.GOES_ON, (frame.doubt, frame.branch)
        for each in body:
            step = self.statement(each, frame)
            if step is Flow.ENDS:
                flow = Flow.ENDS
                break
            if step is Flow.PERHAPS:
                flow = Flow.PERHAPS
                # From here on not everybody comes along.
                frame.branch += 1
        frame.branch = entered[1]
        return flow

    def statement(self, node: ast.stmt, frame: Frame) -> Flow:  # noqa: C901, PLR0912 - a table
        """Read one statement."""
        match node:
            case ast.Return():
                values, told = self._returned(node, frame)
                if frame.answers and not told:
                    self.answer(values, frame, node)
                frame.returns.append(values)
                return Flow.ENDS
            case ast.Raise():
                self.raised(node, frame)
                return Flow.ENDS
            case ast.If():
                return self._if(node, frame)
            case ast.Match():
                return self._match(node, frame)
            case ast.For() | ast.AsyncFor():
                return self._for(node, frame)
            case ast.Break() | ast.Continue():
                frame.left = True
                return Flow.ENDS
            case ast.While():
                return self._loop(node, None, frame)
            case ast.Try() | ast.TryStar():
                return self._try(node, frame)
            case ast.With() | ast.AsyncWith():
                for item in node.items:
                    entered = self.entered(self.ev(item.context_expr, frame), frame,
                                           item.context_expr)  # fmt: skip
                    if item.optional_vars is not None:
                        self.assign(item.optional_vars, entered, frame)
                return self.block(node.body, frame)
            case ast.Assign():
                values = self.ev(node.value, frame)
                for target in node.targets:
                    self.assign(target, values, frame)
            case ast.AnnAssign():
                if node.value is not None:
                    self.assign(node.target, self.ev(node.value, frame), frame)
            case ast.AugAssign():
                self.augmented(node, frame)
            case ast.Assert():
                _, fails = self.truth(self.ev(node.test, frame), frame)
                if fails:
                    self.thrown(Made(AssertionError), frame, node)
                self.ev(node.msg, frame)
            case ast.FunctionDef() | ast.AsyncFunctionDef():
                frame.bind(node.name, self._defined(node, frame))
            case ast.ClassDef():
                self._class(node, frame)
            case ast.Delete():
                for each in node.targets:
                    self._deleted(each, frame)
            case ast.Global():
                frame.globals_ |= set(node.names)
            case ast.Import() | ast.ImportFrom():
                self.imported(node, frame)
            case ast.Expr():
                self.ev(node.value, frame)
            case _:  # pass, break, continue, nonlocal
                pass
        return Flow.GOES_ON

    def _deleted(self, target: ast.expr, frame: Frame) -> None:
        if isinstance(target, ast.Subscript | ast.Attribute):
            if isinstance(target, ast.Subscript):
                self.ev(target.slice, frame)
            for owner in self.ev(target.value, frame):
                self.special(owner, ("__delitem__", "__delattr__"), frame, target)
        elif isinstance(target, ast.Tuple | ast.List):
            for each in target.elts:
                self._deleted(each, frame)

    def _returned(self, node: ast.Return, frame: Frame) -> tuple[Values, bool]:
        """Work out what is returned, and tell whether the callee has read it as an answer."""
        value = node.value
        called = value.value if isinstance(value, ast.Await) else value
        before, self.tail, self.tail_read = self.tail, None, False
        if frame.answers and not frame.branch and isinstance(called, ast.Call):
            self.tail = called
        values = self.ev(value, frame)
        told = self.tail_read
        self.tail, self.tail_read = before, False
        return values, told

    def _defined(self, node: ast.FunctionDef | ast.AsyncFunctionDef, frame: Frame) -> Values:
        values: Values = frozenset({Local(node, frame)})
        for decorator in reversed(node.decorator_list):
            deciding = self.ev(decorator, frame)
            values = joined(
                *(self.call(each, (values,), {}, frame, decorator) for each in deciding)
            )
        return values

    def _class(self, node: ast.ClassDef, frame: Frame) -> None:
        """Bind a class that is made while the code runs: its methods can't be told apart."""
        for each in node.body:
            if isinstance(each, ast.FunctionDef | ast.AsyncFunctionDef):
                self.used(frozenset({Local(each, frame)}), frame, each)
        frame.bind(node.name, self.doubt(frame, ast.Name(node.name, lineno=node.lineno)))

    # -- branches --------------------------------------------------------------------------------

    def _if(self, node: ast.If, frame: Frame) -> Flow:
        values = self.ev(node.test, frame)
        yes, no = self.truth(values, frame)
        if not (yes and no):
            return self.block(node.body if yes else node.orelse, frame)
        torn = self.is_torn(values)
        known_only = self.asks_who(node.test, frame)
        return self._branches(
            frame, [(node.body, known_only == "known"), (node.orelse, known_only == "stranger")],
            torn=torn, checked=self._checks_a_form(node.test, frame),
        )  # fmt: skip

    def _checks_a_form(self, test: ast.expr, frame: Frame) -> bool:
        """Tell whether a test is `form.validate_on_submit()`, or the same by hand, and no more.

        What redirects then has taken what was sent: it is the end of a POST, and no refusal.
        """
        match test:
            case ast.BoolOp(op=ast.And(), values=[first, last]):
                yes, no = self.truth(self.ev(first, frame), frame)
                return yes != no and self._checks_a_form(last, frame)
            case ast.Call(
                func=ast.Attribute(value=ast.Name() as form, attr="validate_on_submit" | "validate")
            ):
                kinds = self.classes_of(self.ev(form, frame))
                return bool(kinds) and all(map(_is_form, kinds or ()))
        return False

    def _branches(
        self,
        frame: Frame,
        bodies: list[tuple[list[ast.stmt], bool]],
        *,
        torn: bool,
        checked: bool = False,
    ) -> Flow:
        """Read branches of which one is taken; `torn` where the route says which.

        A body whose second word is True is reached by known callers only; `checked`: the first one
        by those whose form is in order.
        """
        before, flows, left = dict(frame.env), [], []
        for body, insiders in bodies:
            frame.env = dict(before)
            with self._branch(frame, doubt=torn or insiders):
                count = len(frame.returns)
                in_order = checked and body is bodies[0][0]
                frame.in_order += in_order
                flow = self.block(body, frame)
                frame.in_order -= in_order
                if torn and len(frame.returns) > count:
                    frame.torn = True
            flows.append(flow)
            if flow is not Flow.ENDS:
                left.append(frame.env)
        frame.join(*left)
        if all(flow is Flow.ENDS for flow in flows):
            return Flow.ENDS
        if all(flow is Flow.GOES_ON for flow in flows):
            return Flow.GOES_ON
        if torn:
            # Who has come this far, only the route tells.
            frame.doubt += 1
            frame.torn = True
        return Flow.PERHAPS

    @contextmanager
    def _branch(self, frame: Frame, *, doubt: bool) -> Iterator[None]:
        before = frame.doubt
        frame.branch += 1
        frame.doubt += doubt
        inner = frame.doubt
        yield
        frame.branch -= 1
        # What a torn branch inside has put into doubt stays so.
        frame.doubt = before + (frame.doubt - inner)

    def _match(self, node: ast.Match, frame: Frame) -> Flow:
        subject = self.ev(node.subject, frame)
        bodies: list[tuple[list[ast.stmt], bool]] = []
        exhaustive = False
        held = only(subject)
        for case in node.cases:
            for part in ast.walk(case.pattern):
                if isinstance(part, ast.MatchValue):
                    self.ev(part.value, frame)
                name = getattr(part, "name", None) or getattr(part, "rest", None)
                if isinstance(name, str):
                    whole = isinstance(part, ast.MatchAs)
                    inner = joined(subject, self.elements(subject, frame, case.pattern))
                    frame.bind(name, inner if whole else joined(inner, ANY_DATA))
            if case.guard is not None:
                self.ev(case.guard, frame)
            told = self._fits(case.pattern, held, frame)
            if told is False:
                continue
            bodies.append((case.body, False))
            if told and case.guard is None:
                exhaustive = True
                break
        if exhaustive and len(bodies) == 1:
            return self.block(bodies[0][0], frame)
        if not exhaustive:
            bodies.append(([], False))
        return self._branches(frame, bodies, torn=ROUTE_DATA in derived(subject))

    def _fits(self, pattern: ast.pattern, subject: Value | None, frame: Frame) -> bool | None:
        """Tell whether a pattern takes the subject; None where it can't be told."""
        match pattern:
            case ast.MatchAs(pattern=None):
                return True
            case ast.MatchAs(pattern=inner) if inner is not None:
                return self._fits(inner, subject, frame)
            case ast.MatchOr():
                told = [self._fits(each, subject, frame) for each in pattern.patterns]
                return True if True in told else None if None in told else False
            case ast.MatchValue() | ast.MatchSingleton():
                value = pattern.value
                wanted: Value | None = Known(value)
                if isinstance(value, ast.expr):
                    wanted = only(self.ev(value, frame))
                if subject is None or wanted is None:
                    return None
                return self.compared(ast.Eq(), subject, wanted)
        return None

    def _for(self, node: ast.For | ast.AsyncFor, frame: Frame) -> Flow:
        over = self.ev(node.iter, frame)
        one_by_one = self.one_by_one(over)
        if one_by_one is None or _leaves(node):
            return self._loop(node, self.elements(over, frame, node.iter), frame)
        flow, branch = Flow.GOES_ON, frame.branch
        for element in one_by_one:
            self.assign(node.target, element, frame)
            step = self.block(node.body, frame)
            if step is Flow.ENDS:
                frame.branch = branch
                return Flow.ENDS if flow is Flow.GOES_ON else Flow.PERHAPS
            if step is Flow.PERHAPS:
                flow = Flow.PERHAPS
                frame.branch += 1
        frame.branch = branch
        rest = self.block(node.orelse, frame)
        return rest if flow is Flow.GOES_ON else Flow.PERHAPS

    def _loop(
        self, node: ast.For | ast.AsyncFor | ast.While, elements: Values | None, frame: Frame
    ) -> Flow:
        before = dict(frame.env)
        torn, flow = False, Flow.GOES_ON
        forever, outer, frame.left = False, frame.left, False
        for _ in range(2):  # the second time with what the first has left
            if isinstance(node, ast.While):
                tested = self.ev(node.test, frame)
                yes, no = self.truth(tested, frame)
                torn, forever = self.is_torn(tested), not no
                if not yes:
                    return self.block(node.orelse, frame)
            elif elements is not None:
                torn = self.is_torn(elements)
                self.assign(node.target, elements, frame)
            with self._branch(frame, doubt=torn):
                flow = self.block(node.body, frame)
            frame.join(before, frame.env)
        if torn and flow is not Flow.GOES_ON:
            frame.doubt += 1
            frame.torn = True
        left, frame.left = frame.left, outer
        rest = self.block(node.orelse, frame)
        if forever and flow is Flow.ENDS and not left:
            return Flow.ENDS
        return Flow.PERHAPS if flow is not Flow.GOES_ON or rest is not Flow.GOES_ON else rest

    def _try(self, node: ast.Try | ast.TryStar, frame: Frame) -> Flow:
        before = dict(frame.env)
        caught = [self.ev(each.type, frame) if each.type else None for each in node.handlers]
        with self._branch(frame, doubt=any(self._catches(each) for each in caught)):
            body = self.block(node.body, frame)
        after_body = dict(frame.env)
        flows = [body]
        if body is not Flow.ENDS:
            flows = [self.block(node.orelse, frame)]
            if body is Flow.PERHAPS and flows[0] is Flow.GOES_ON:
                flows = [Flow.PERHAPS]
        left = [] if flows[0] is Flow.ENDS else [frame.env]
        for handler, kinds in zip(node.handlers, caught, strict=True):
            frame.join(before, after_body)
            if handler.name:
                frame.bind(handler.name, self.caught(kinds))
            with self._branch(frame, doubt=False):
                flow = self.block(handler.body, frame)
            flows.append(flow)
            if flow is not Flow.ENDS:
                left.append(frame.env)
        frame.join(*(left or [before, after_body]))
        if self.block(node.finalbody, frame) is Flow.ENDS:
            return Flow.ENDS
        if all(flow is Flow.ENDS for flow in flows):
            return Flow.ENDS
        return Flow.GOES_ON if all(flow is Flow.GOES_ON for flow in flows) else Flow.PERHAPS

    def _catches(self, kinds: Values | None) -> bool:
        """Tell whether an `except` may take a refusal that was raised in its `try`."""
        if kinds is None:
            return True
        classes = self.classes(kinds)
        if classes is None:
            return True
        return any(self.catches_refusals(each) for each in classes)

    def caught(self, kinds: Values | None) -> Values:
        """Return what `except … as error` binds."""
        classes = self.classes(kinds) if kinds else None
        if classes is None:
            return frozenset({Made(Exception)})
        return frozenset(self.make(each, each) for each in classes) or NOTHING


def _is_form(kind: type) -> bool:
    """Tell whether a class is a form of WTForms', whose own checks are read with its validators."""
    return any(source.home(base).partition(".")[0] == "wtforms" for base in kind.__mro__)


@cache
def _leaves(node: ast.stmt) -> bool:
    """Tell whether a loop, or one inside it, is left early or goes on with its next turn."""
    return any(isinstance(each, ast.Break | ast.Continue) for each in ast.walk(node))
