"""Reads functions: what they certainly do to a caller, what they may do, and what they don't.

The reading is an abstract run: names hold what they may be, calls of the team's own functions are
followed, and libraries are known by name. What can't be resolved is reported as "perhaps", so that
"nothing" means that every line was understood. User code is read, never run.
"""

from __future__ import annotations

import ast
from collections import Counter
from types import CodeType, FunctionType
from typing import Any

from gateway.guards import source
from gateway.guards.answers import code_of
from gateway.guards.frame import Facts, Finding, Frame, Named, Outcome
from gateway.guards.statements import Statements
from gateway.guards.values import (
    ANY_DATA,
    ANYTHING,
    DATA,
    NONE,
    NOTHING,
    REPORTED,
    ROUTE_DATA,
    Bag,
    Bound,
    Items,
    Known,
    Local,
    Made,
    Value,
    Values,
    joined,
)

#: How many functions one view or hook may lead to, and how deep, before it counts as unread.
MAX_FUNCTIONS = 2_000
#: How many expressions are read for one view or hook, and for a whole app; what is left then is
#: read for the fewest. Beyond, a call "perhaps" refuses. So a start takes seconds at most.
EXPRESSIONS = 10_000
#: The same for what unknown objects may be that it asks for something.
_NAMESAKES = 4_000
_WHOLE_APP = 60_000
_FEWEST = 60
MAX_DEPTH = 40
#: In how many ways one function is read for one view or hook: then with any text or number in the
#: place of a certain one, and after as many again it counts as unread.
MAX_WAYS = 12
#: From how deep on that is always so: what many views share is read once for all of them.
_DEEP = 3
_MAX_RECURSION = 3
_TEXTS = (str, bytes, int, float)
_MOST_OBJECTS = 200
_TOO_MUCH = Outcome((Finding("perhaps", "leads to more code than is read"),), frozenset({REPORTED}))
_ROOT = ast.Pass()


class Reader(Statements):
    """Reads the functions of one app; what it has read once, it remembers."""

    def __init__(self, app: Any = None, *, native: bool = False) -> None:
        super().__init__(app, native=native)
        #: By the call, by the names of the facts that it asks for, by what these are.
        self._memo: dict[object, dict[frozenset[str], dict[object, Outcome]]] = {}
        self._running: list[object] = []
        self._bodies: list[object] = []
        self._left = MAX_FUNCTIONS
        self._ways: Counter[object] = Counter()
        #: How many expressions were read for what unknown objects may be.
        self._on_names = 0
        self._cut: int | None = None
        self._places: dict[FunctionType, ast.AST] = {}
        self._being_used: set[Bag] = set()
        self._unwrapping: list[object] = []
        self._called_back: dict[type, Outcome] = {}

    def read(
        self,
        function: Any,
        facts: Facts | None = None,
        args: tuple[Values, ...] = (),
        rest: Values = ANY_DATA,
        *,
        answers: bool = True,
    ) -> Outcome:
        """Read a view, hook, middleware or dependency as it is called by its framework."""
        self.handling = False
        self.facts = facts or Facts()
        self._left = MAX_FUNCTIONS
        self._ways.clear()
        direct = self.expressions - self._on_names
        self.limit = self.expressions + min(EXPRESSIONS, max(_FEWEST, _WHOLE_APP - direct))
        frame = Frame("", {}, answers=answers)
        self.tail, self.tail_read = _ROOT, False
        try:
            values = self.call(Known(function), args, {}, frame, _ROOT, rest)
            if answers and not self.tail_read:
                self.answer(values, frame, _ROOT)
            self._namesakes(frame)
        except Exception as error:  # noqa: BLE001 - what can't be read is no proof of anything
            self._running.clear()
            self._bodies.clear()
            self._unwrapping.clear()
            what = f"{source.full_name(function)} can't be read ({type(error).__name__})"
            self.note(frame, Finding("perhaps", what))
            values = frozenset({REPORTED})
        self.tail = None
        return frame.outcome(values)

    def _namesakes(self, frame: Frame) -> None:
        """Read what unknown objects may have been asked for, and what that asks for in turn."""
        self.tail = None
        before = self.expressions
        self.limit = before + min(_NAMESAKES, max(_FEWEST, _WHOLE_APP - self._on_names))
        read: set[Named] = set()
        while left := frame.named - read:
            read |= left
            for each in sorted(left, key=lambda one: (one.name, one.called)):
                if self.expressions >= self.limit:
                    self.take(frame, _TOO_MUCH)
                    break
                self.namesakes(each, frame, _ROOT)
            if self.expressions >= self.limit:
                break
        self._on_names += self.expressions - before

    def follow(
        self,
        function: Value,
        args: tuple[Values, ...] = (),
        kwargs: dict[str, Values] | None = None,
        rest: Values = NOTHING,
        *,
        answers: bool = False,
    ) -> Outcome:
        """Read a function that is called with these arguments."""
        kwargs = kwargs or {}
        what = function.value if isinstance(function, Known) else function
        body = what.__code__ if isinstance(what, FunctionType) else what
        if self._ways[body] >= MAX_WAYS or len(self._running) >= _DEEP:
            args = tuple(_any_text(each) for each in args)
            kwargs = {name: _any_text(each) for name, each in kwargs.items()}
        given = tuple(sorted(kwargs.items(), key=lambda each: each[0]))
        key = (
            what,
            args,
            given,
            rest,
            answers,
            self.handling,
            _state([*args, *kwargs.values(), rest]),
        )
        # What a nested function sees of the one around it may be another value by now.
        keeps = not isinstance(function, Local)
        for names, by_facts in self._memo.get(key, {}).items() if keeps else ():
            outcome = by_facts.get(self.facts.of(names))
            if outcome is not None:
                return outcome
        if key in self._running:
            place = self._running.index(key)
            self._cut = place if self._cut is None else min(place, self._cut)
            return Outcome(returns=frozenset({REPORTED}))
        if (
            self._left <= 0
            or self._ways[body] >= 2 * MAX_WAYS
            or self.expressions >= self.limit
            or len(self._running) > MAX_DEPTH
            or (self._bodies.count(body) >= _MAX_RECURSION)
        ):
            return _TOO_MUCH
        self._left -= 1
        self._ways[body] += 1
        self._running.append(key)
        self._bodies.append(body)
        before = self.tail, self.tail_read
        self.tail, self.tail_read = None, False
        try:
            outcome = self._read(function, args, kwargs, rest, answers=answers)
        finally:
            self._running.pop()
            self._bodies.pop()
            self.tail, self.tail_read = before
        if self._cut is not None and self._cut >= len(self._running):
            self._cut = None
        # What leads back to a function that is still being read lacks that one's signs.
        if keeps and self._cut is None:
            by_facts = self._memo.setdefault(key, {}).setdefault(outcome.routed, {})
            by_facts[self.facts.of(outcome.routed)] = outcome
        return outcome

    def _read(
        self,
        function: Value,
        args: tuple[Values, ...],
        kwargs: dict[str, Values],
        rest: Values,
        *,
        answers: bool,
    ) -> Outcome:
        if isinstance(function, Local):
            outer = function.frame
            frame = Frame(outer.filename, outer.names, parent=outer, answers=answers)
            return self._body(function.node, frame, args, kwargs, rest, (), {})
        held: FunctionType = function.value  # type: ignore[attr-defined]
        code: CodeType = held.__code__
        nodes = source.nodes_of(code)
        if not nodes:
            sign = Finding("perhaps", f"{source.full_name(held)}, whose source can't be read")
            return Outcome((sign,), frozenset({REPORTED}), frozenset({code}))
        outcomes = []
        for node in nodes:
            frame = Frame(code.co_filename, held.__globals__, source.cells(held), answers=answers)
            frame.codes.add(code)
            defaults = held.__defaults__ or (), held.__kwdefaults__ or {}
            outcomes.append(self._body(node, frame, args, kwargs, rest, *defaults))
        if len(outcomes) == 1:
            return outcomes[0]
        signs = dict.fromkeys(sign for each in outcomes for sign in each.findings)
        return Outcome(
            tuple(Finding("perhaps", each.what, each.where) if each.does == "refuses" else each
                  for each in signs),
            joined(*(each.returns for each in outcomes)),
            frozenset({code}),
            frozenset().union(*(each.routed for each in outcomes)),
            frozenset().union(*(each.named for each in outcomes)),
        )  # fmt: skip

    def _body(
        self,
        node: source.Function,
        frame: Frame,
        args: tuple[Values, ...],
        kwargs: dict[str, Values],
        rest: Values,
        defaults: tuple[Any, ...],
        named: dict[str, Any],
    ) -> Outcome:
        self._bind(node, frame, args, kwargs, rest, defaults, named)
        if isinstance(node, ast.Lambda):
            values = self.ev(node.body, frame)
            if frame.answers:
                self.answer(values, frame, node)
            frame.returns.append(values)
        else:
            self.block(node.body, frame)
        returns = joined(*frame.returns) if frame.returns else NONE
        if frame.yields:
            returns = self.bag(node, joined(*frame.yields))
        elif not _always_returns(node):
            returns = joined(returns, NONE)
        if frame.torn:
            returns = joined(returns, frozenset({ROUTE_DATA}))
        return frame.outcome(returns)

    def _bind(
        self,
        node: source.Function,
        frame: Frame,
        args: tuple[Values, ...],
        kwargs: dict[str, Values],
        rest: Values,
        defaults: tuple[Any, ...],
        named: dict[str, Any],
    ) -> None:
        """Give the parameters their values."""
        spec = node.args
        places = [*spec.posonlyargs, *spec.args]
        standard: dict[str, Values] = {}
        if frame.parent is not None:
            pairs = [*zip(reversed(places), reversed(spec.defaults), strict=False)]
            pairs += [(a, b) for a, b in zip(spec.kwonlyargs, spec.kw_defaults, strict=True) if b]
            standard = {a.arg: self.ev(b, frame.parent) for a, b in pairs}
        else:
            last = zip(reversed(places), reversed(defaults), strict=False)
            standard = {a.arg: self.proxied(frozenset({Known(b)})) for a, b in last}
            standard |= {a: self.proxied(frozenset({Known(b)})) for a, b in named.items()}
        left = dict(kwargs)
        given = list(args)
        for each in places:
            if given:
                values = given.pop(0)
            elif each.arg in left:
                values = left.pop(each.arg)
            else:
                values = self._unbound(each, standard, rest)
            frame.bind(each.arg, values)
        if places:
            frame.me = frame.env[places[0].arg]
        for each in spec.kwonlyargs:
            values = left.pop(each.arg, NOTHING) or self._unbound(each, standard, rest)
            frame.bind(each.arg, values)
        if spec.vararg is not None:
            more = (*given, rest) if rest else tuple(given)
            frame.bind(spec.vararg.arg, frozenset({Items(more, exact=not rest)}))
        if spec.kwarg is not None:
            held = joined(*left.values(), rest)
            frame.bind(spec.kwarg.arg, self._named(node, held))

    def _named(self, node: ast.AST, held: Values) -> Values:
        bag = self.bags.setdefault((node, held), Bag(held))
        return frozenset({bag})

    def _unbound(self, place: ast.arg, standard: dict[str, Values], rest: Values) -> Values:
        if place.arg in standard:
            return joined(standard[place.arg], rest)
        return rest or ANYTHING

    # -- classes ---------------------------------------------------------------------------------

    def of_class(self, view: FunctionType, kind: type, rest: Values) -> Outcome:
        """Read what `View.as_view()` made: the class is made, and its `dispatch_request` asked."""
        frame = Frame("", {}, answers=True)
        held = source.cells(view)
        given = tuple(frozenset[Value]({Known(each)}) for each in held.get("class_args", ()))
        named = {
            key: frozenset[Value]({Known(each)})
            for key, each in dict(held.get("class_kwargs", {})).items()
        }
        made = self.construct(
            kind, given, named, frame, self._places.setdefault(view, ast.Pass()), NOTHING
        )
        returned = []
        before, self.tail, self.tail_read = self.tail, _ROOT, False
        for me in made:
            for method in self.attribute(me, "dispatch_request", frame, _ROOT):
                answer = self.call(method, (), {}, frame, _ROOT, rest or ANY_DATA)
                returned.append(answer)
        if not self.tail_read:
            self.answer(joined(*returned), frame, _ROOT)
        self.tail, self.tail_read = before, True
        return frame.outcome(joined(*returned))

    def may_call_back(self, kind: type) -> Outcome:
        """Read all methods of a class whose library base may call them."""
        if kind in self._called_back:
            return self._called_back[kind]
        self._called_back[kind] = Outcome()
        frame = Frame("", {})
        me = self.make(kind, kind)
        for base in kind.__mro__:
            if not source.is_own(base):
                continue
            for name, held in vars(base).items():
                function = held.fget if isinstance(held, property) else held
                function = getattr(function, "__func__", function)
                if name in ("__init__", "__new__") or not self.is_followed(function):
                    continue
                self.call(Known(function), (frozenset({me}),), {}, frame, _ROOT, ANY_DATA)
        outcome = frame.outcome()
        self._called_back[kind] = outcome
        return outcome


def _any_text(values: Values) -> Values:
    """Return the values with any text or number in the place of certain ones, but for statuses."""
    return frozenset(
        DATA
        if type(each) is Known and type(each.value) in _TEXTS and code_of(each) is None
        else each
        for each in values
    )


def _state(several: list[Values]) -> object:
    """Return what the objects among values hold: they change while the code is read."""
    found: dict[Value, object] = {}
    pending = [each for values in several for each in values]
    while pending and len(found) < _MOST_OBJECTS:
        each = pending.pop()
        if each in found:
            continue
        if isinstance(each, Made):
            found[each] = each.state()
            pending += [one for values in each.fields.values() for one in values]
        elif isinstance(each, Bag):
            found[each] = each.held
            pending += each.held
        elif isinstance(each, Items):
            pending += [one for values in each.items for one in values]
        elif isinstance(each, Bound):
            pending += [one for values in each.args for one in values]
    return tuple(found.items())


def _always_returns(node: source.Function) -> bool:
    if isinstance(node, ast.Lambda):
        return True
    return isinstance(node.body[-1], ast.Return | ast.Raise)
