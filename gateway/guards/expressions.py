"""Reading expressions: what they may be, and what happens while they are worked out."""

from __future__ import annotations

import ast
import builtins
import operator
import sys
from enum import Enum
from types import FunctionType, ModuleType
from typing import TYPE_CHECKING, Any

from gateway.guards import source
from gateway.guards.answers import Answers
from gateway.guards.base import derived
from gateway.guards.known import is_harmless, says_who
from gateway.guards.values import (
    ANY_DATA,
    ANYTHING,
    DATA,
    ENVIRON,
    GLOBALS,
    HEADERS,
    NOTHING,
    PARAMETERS,
    PLAIN,
    REPORTED,
    REQUEST,
    ROUTE_DATA,
    SESSION,
    UNKNOWN,
    USER,
    Bag,
    Held,
    Items,
    Known,
    Lib,
    Local,
    Made,
    Mark,
    Method,
    Routed,
    RoutePath,
    Text,
    is_unknown,
    joined,
    known,
    only,
    routed,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from gateway.guards.frame import Frame
    from gateway.guards.values import Value, Values

_MOST_ELEMENTS = 60
_MOST_COMPARED = 10_000
_MOST_UNROLLED = 20
_LONGEST_TEXT = 400
_CONTAINERS = (list, tuple, set, frozenset, dict)
_SAFE = (*PLAIN, *_CONTAINERS)

_COMPARE: dict[type[ast.cmpop], Callable[[Any, Any], Any]] = {
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
    ast.Is: operator.is_,
    ast.IsNot: operator.is_not,
    ast.In: lambda a, b: a in b,
    ast.NotIn: lambda a, b: a not in b,
}
_DUNDERS: dict[type[ast.AST], tuple[str, ...]] = {
    ast.Add: ("__add__", "__radd__", "__iadd__"),
    ast.Sub: ("__sub__", "__rsub__", "__isub__"),
    ast.Mult: ("__mul__", "__rmul__"),
    ast.Div: ("__truediv__", "__rtruediv__"),
    ast.FloorDiv: ("__floordiv__", "__rfloordiv__"),
    ast.Mod: ("__mod__", "__rmod__", "__str__", "__repr__", "__getitem__", "__iter__"),
    ast.Pow: ("__pow__", "__rpow__"),
    ast.MatMult: ("__matmul__", "__rmatmul__"),
    ast.LShift: ("__lshift__", "__rlshift__", "__ilshift__"),
    ast.RShift: ("__rshift__", "__rrshift__", "__irshift__"),
    ast.BitAnd: ("__and__", "__rand__", "__iand__"),
    ast.BitOr: ("__or__", "__ror__", "__ior__"),
    ast.BitXor: ("__xor__", "__rxor__", "__ixor__"),
    ast.Eq: ("__eq__",),
    ast.NotEq: ("__ne__", "__eq__"),
    ast.Lt: ("__lt__", "__gt__"),
    ast.LtE: ("__le__", "__ge__"),
    ast.Gt: ("__gt__", "__lt__"),
    ast.GtE: ("__ge__", "__le__"),
    ast.In: ("__contains__", "__iter__", "__eq__", "__hash__"),
    ast.NotIn: ("__contains__", "__iter__", "__eq__", "__hash__"),
    ast.USub: ("__neg__",),
    ast.UAdd: ("__pos__",),
    ast.Invert: ("__invert__",),
}
_TRUTH = ("__bool__", "__len__")


class Expressions(Answers):
    """The part that works expressions out."""

    def ev(self, node: ast.expr | None, frame: Frame) -> Values:  # noqa: C901, PLR0912 - a table
        """Return what an expression may be, and note what it does."""
        self.expressions += 1
        match node:
            case None:
                return frozenset({Known(None)})
            case ast.Constant():
                return frozenset({Known(node.value)})
            case ast.Name():
                return self._name(node, frame)
            case ast.Attribute():
                return self._attributes(node, frame)
            case ast.Call():
                return self._call(node, frame)
            case ast.Subscript():
                return self._subscript(node, frame)
            case ast.BoolOp():
                return self._bool(node, frame)
            case ast.UnaryOp():
                return self._unary(node, frame)
            case ast.Compare():
                return self._compare(node, frame)
            case ast.BinOp():
                return self._binary(node, frame)
            case ast.IfExp():
                return self._ifexp(node, frame)
            case ast.JoinedStr():
                return self._fstring(node, frame)
            case ast.Tuple() | ast.List():
                return self._display(node, frame)
            case ast.Set():
                return self.bag(node, joined(*(self.ev(each, frame) for each in node.elts)))
            case ast.Dict():
                keys = [self.ev(each, frame) for each in node.keys if each is not None]
                parts = [self.ev(each, frame) for each in node.values]
                unpacked = [
                    self._mapped(part)
                    for key, part in zip(node.keys, parts, strict=True)
                    if key is None
                ]
                bags = self.bag(node, joined(*keys, *parts, *unpacked))
                singles = [only(key) for key in keys]
                if not unpacked and all(_is_constant(each) for each in singles):
                    for bag in bags:
                        if isinstance(bag, Bag):
                            pairs = zip(singles, parts, strict=True)
                            bag.table = {key: part for key, part in pairs if key is not None}
                return bags
            case ast.Lambda():
                return frozenset({Local(node, frame)})
            case ast.NamedExpr():
                values = self.ev(node.value, frame)
                self.assign(node.target, values, frame)
                return values
            case ast.Await() | ast.Starred():
                return self.ev(node.value, frame)
            case ast.Yield():
                if node.value is not None:
                    frame.yields.append(self.ev(node.value, frame))
                return ANYTHING
            case ast.YieldFrom():
                frame.yields.append(self.elements(self.ev(node.value, frame), frame, node))
                return ANYTHING
            case ast.ListComp() | ast.GeneratorExp() if len(node.generators) == 1:
                return self._comprehended(node, frame)
            case ast.ListComp() | ast.SetComp() | ast.GeneratorExp():
                self._generators(node.generators, frame)
                return self.bag(node, self.ev(node.elt, frame))
            case ast.DictComp():
                self._generators(node.generators, frame)
                both = joined(self.ev(node.key, frame), self.ev(node.value, frame))
                return self.bag(node, both)
            case ast.FormattedValue():
                return self.ev(node.value, frame)
            case ast.Slice():
                for each in (node.lower, node.upper, node.step):
                    self.ev(each, frame)
                return ANY_DATA
            case _:
                return self.doubt(frame, node)

    def _comprehended(self, node: ast.ListComp | ast.GeneratorExp, frame: Frame) -> Values:
        """Read `[… for x in …]`: one by one where the elements are known."""
        (each,) = node.generators
        over = self.ev(each.iter, frame)
        one_by_one = self.one_by_one(over)
        if one_by_one is None or each.ifs:
            self.assign(each.target, self.elements(over, frame, each.iter), frame)
            for test in each.ifs:
                self.ev(test, frame)
            return self.bag(node, self.ev(node.elt, frame))
        parts = []
        for element in one_by_one:
            self.assign(each.target, element, frame)
            parts.append(self.ev(node.elt, frame))
        return frozenset({Items(tuple(parts), exact=True)})

    def one_by_one(self, values: Values) -> list[Values] | None:
        """Return the elements of a sequence in order, where it is a short, known one."""
        over = only(values)
        if isinstance(over, Items) and over.exact and len(over.items) <= _MOST_UNROLLED:
            return list(over.items)
        if not isinstance(over, Known) or type(over.value) not in (list, tuple, set, frozenset):
            return None
        if not 0 < len(over.value) <= _MOST_UNROLLED:
            return None
        if not all(type(each) in PLAIN for each in over.value):
            return None
        kind = Routed if isinstance(over, Routed) else Known
        return [frozenset({kind(each)}) for each in over.value]

    def bag(self, node: ast.AST, held: Values) -> Values:
        """Return the one container that an expression makes."""
        bag = self.bags.setdefault(node, Bag())
        bag.held = joined(bag.held, held)
        return frozenset({bag})

    def _generators(self, generators: list[ast.comprehension], frame: Frame) -> None:
        for each in generators:
            elements = self.elements(self.ev(each.iter, frame), frame, each.iter)
            self.assign(each.target, elements, frame)
            for test in each.ifs:
                self.ev(test, frame)

    # -- names -----------------------------------------------------------------------------------

    def _name(self, node: ast.Name, frame: Frame) -> Values:
        name = node.id
        if name not in frame.globals_:
            found = frame.local(name)
            if found is not None:
                return self.proxied(found)
        if name in frame.names:
            # A dict of functions, or a code, that functions set anew may be another one later.
            values: Values = frozenset({Known(frame.names[name])})
            if name in source.rebound(frame.filename) or frame.names[name] is None:
                return joined(values, ANYTHING)
            return self.proxied(values)
        if hasattr(builtins, name):
            return frozenset({Known(getattr(builtins, name))})
        return ANYTHING

    def imported(self, node: ast.Import | ast.ImportFrom, frame: Frame) -> None:
        """Bind what an import inside of a function brings, if it was loaded before."""
        for each in node.names:
            name = each.asname or each.name.partition(".")[0]
            if isinstance(node, ast.Import):
                module = sys.modules.get(each.name if each.asname else name)
                values = self._unloaded(each.name, frame, node)
                frame.bind(name, frozenset({Known(module)}) if module is not None else values)
                continue
            home = node.module or ""
            if node.level:
                package = str(frame.names.get("__package__") or "").split(".")
                kept = package[: len(package) - node.level + 1]
                home = ".".join([*kept, *([home] if home else [])])
            owner = sys.modules.get(home)
            held = vars(owner).get(each.name) if isinstance(owner, ModuleType) else None
            held = sys.modules.get(f"{home}.{each.name}") if held is None else held
            if held is not None:
                values = frozenset({Known(held)})
            elif isinstance(owner, ModuleType):
                values = ANYTHING
            else:
                values = self._unloaded(home, frame, node)
            frame.bind(name, self.proxied(values))

    def _unloaded(self, module: str, frame: Frame, node: ast.AST) -> Values:
        """Return what is imported of a module; the team's own are read once they are loaded."""
        if module in sys.modules or is_harmless(module):
            return ANYTHING
        return self.doubt(frame, node, "isn't loaded yet")

    def _attributes(self, node: ast.Attribute, frame: Frame) -> Values:
        owners = self.ev(node.value, frame)
        return joined(*(self.attribute(each, node.attr, frame, node) for each in owners))

    # -- targets ---------------------------------------------------------------------------------

    def assign(self, target: ast.expr, values: Values, frame: Frame) -> None:
        """Give a target its value."""
        match target:
            case ast.Name():
                if target.id not in frame.globals_:
                    frame.bind(target.id, values)
            case ast.Starred():
                self.assign(target.value, frozenset({Items((values,))}), frame)
            case ast.Tuple() | ast.List():
                self._unpack(target.elts, values, frame)
            case ast.Attribute():
                for owner in self.ev(target.value, frame):
                    self.set_attribute(owner, target.attr, values, frame, target)
            case ast.Subscript():
                self.ev(target.slice, frame)
                for owner in self.ev(target.value, frame):
                    self.special(owner, ("__setitem__",), frame, target)
                    self.store(owner, values)

    def _unpack(self, targets: list[ast.expr], values: Values, frame: Frame) -> None:
        exact = only(values)
        starred = any(isinstance(each, ast.Starred) for each in targets)
        if isinstance(exact, Items) and len(exact.items) == len(targets) and not starred:
            for each, value in zip(targets, exact.items, strict=True):
                self.assign(each, value, frame)
            return
        elements = self.elements(values, frame, targets[0]) if targets else NOTHING
        for each in targets:
            self.assign(each, elements, frame)

    def augmented(self, node: ast.AugAssign, frame: Frame) -> None:
        """Read `target += value`."""
        value = self.ev(node.value, frame)
        load: ast.expr = node.target
        old = self._name(load, frame) if isinstance(load, ast.Name) else self.ev(load, frame)
        names = _DUNDERS.get(type(node.op), ())
        for each in (*old, *value):
            self.special(each, names, frame, node)
        self.assign(node.target, joined(old, value, derived(old, value)), frame)

    # -- operators -------------------------------------------------------------------------------

    def truth(self, values: Values, frame: Frame) -> tuple[bool, bool]:
        """Tell whether values may be true, and whether they may be false."""
        yes = no = False
        for each in values:
            said = self._truth(each, frame)
            yes, no = yes or said is not False, no or said is not True
        return (yes, no) if values else (True, True)

    def _truth(self, value: Value, frame: Frame) -> bool | None:
        if isinstance(value, Held):
            return None
        if isinstance(value, Known):
            kind = type(value.value)
            if kind in (*PLAIN, tuple, frozenset):
                return bool(value.value)
            if kind in _SAFE:
                return None  # it may be filled by then
            if isinstance(value.value, type | ModuleType) or callable(value.value):
                return None if not isinstance(value.value, type | ModuleType) else True
            if isinstance(value.value, Enum):
                return None
            self.special(value, _TRUTH, frame, None)
            return None
        if isinstance(value, Made):
            self.special(value, _TRUTH, frame, None)
            own = any(source.static(value.kind, name) is not None for name in _TRUTH)
            return None if own else True
        if isinstance(value, Local | RoutePath):
            return True
        self.special(value, _TRUTH, frame, None)
        return None

    def _bool(self, node: ast.BoolOp, frame: Frame) -> Values:
        stops = isinstance(node.op, ast.Or)
        found: Values = NOTHING
        entered = frame.doubt, frame.branch
        for each in node.values:
            values = self.ev(each, frame)
            yes, no = self.truth(values, frame)
            goes_on = no if stops else yes
            if not goes_on or each is node.values[-1]:
                found = joined(found, values)
                break
            if yes and no:
                torn = self.is_torn(values)
                # What stops here is true in an `or`, false in an `and`.
                left = values if stops else frozenset({Known(False)})
                found = joined(found, left, frozenset({ROUTE_DATA}) if torn else NOTHING)
                frame.branch += 1
                frame.doubt += torn
        frame.doubt, frame.branch = entered
        if self.truth(frozenset(each for each in found if each is not ROUTE_DATA), frame) == (
            False,
            True,
        ):
            return frozenset({Known(False)})
        return found

    def _unary(self, node: ast.UnaryOp, frame: Frame) -> Values:
        values = self.ev(node.operand, frame)
        if not isinstance(node.op, ast.Not):
            for each in values:
                self.special(each, _DUNDERS.get(type(node.op), ()), frame, node)
            return derived(values)
        yes, no = self.truth(values, frame)
        if yes and no:
            return frozenset({ROUTE_DATA}) if self.is_torn(values) else ANY_DATA
        return frozenset({Known(no)})

    def _compare(self, node: ast.Compare, frame: Frame) -> Values:
        operands = [self.ev(each, frame) for each in (node.left, *node.comparators)]
        for op, *pair in zip(node.ops, operands, operands[1:], strict=False):
            for each in (*pair[0], *pair[1]):
                self.special(each, _DUNDERS.get(type(op), ()), frame, node)
        if len(node.ops) == 1:
            told = [
                self.compared(node.ops[0], left, right)
                for left in operands[0]
                for right in operands[1]
            ]
            if told and None not in told:
                return frozenset(Known(each) for each in told)
        torn = ROUTE_DATA in derived(*operands)
        return frozenset({ROUTE_DATA}) if torn else ANY_DATA

    def compared(  # noqa: C901 - a table
        self, op: ast.cmpop, left: Value, right: Value
    ) -> bool | None:
        """Compare two values; None where it can't be told."""
        if isinstance(left, RoutePath):
            return self._compared_path(op, left, right)
        if isinstance(right, RoutePath) and isinstance(op, ast.Eq | ast.NotEq):
            return self._compared_path(op, right, left)
        table = right.table if isinstance(right, Bag) else None
        if isinstance(op, ast.In | ast.NotIn) and table is not None and _is_constant(left):
            return (left in table) == isinstance(op, ast.In)
        left, right = self.plainly(left), self.plainly(right)
        if isinstance(op, ast.Is | ast.IsNot):
            several = {type(left), type(right)}
            nothing = any(isinstance(each, Known) and each.value is None for each in (left, right))
            if nothing and several & {Made, Items, Bag, Local, RoutePath, Text}:
                return isinstance(op, ast.IsNot)
        if not isinstance(left, Known) or not isinstance(right, Known):
            return None
        if isinstance(left, Held) or isinstance(right, Held):
            return None
        if isinstance(op, ast.Is | ast.IsNot):
            return bool(_COMPARE[type(op)](left.value, right.value))
        if isinstance(op, ast.In | ast.NotIn) and isinstance(left.value, FunctionType):
            if type(right.value) not in _CONTAINERS:
                return None
            inside = any(each is left.value for each in right.value)
            return inside == isinstance(op, ast.In)
        if type(left.value) in PLAIN and _is_safe(right.value):
            try:
                return bool(_COMPARE[type(op)](left.value, right.value))
            except TypeError:
                return None
        return None

    @staticmethod
    def _compared_path(op: ast.cmpop, path: RoutePath, other: Value) -> bool | None:
        """Compare a path of which the start is known: only "can't be equal" can be told."""
        if not isinstance(other, Known):
            return None
        texts: list[Any]
        if isinstance(op, ast.Eq | ast.NotEq):
            texts = [other.value]
        elif isinstance(op, ast.In | ast.NotIn) and type(other.value) in _CONTAINERS:
            texts = list(other.value)
        else:
            return None
        if any(isinstance(each, str) and each.startswith(path.prefix) for each in texts):
            return None
        return isinstance(op, ast.NotEq | ast.NotIn)

    @staticmethod
    def plainly(value: Value) -> Value:
        """Return a display of constants as the constant that it is."""
        if isinstance(value, Bag):
            held = known(value.held)
            return value if held is None else Known(tuple(held))
        if isinstance(value, Items):
            parts = [known(each) for each in value.items]
            if all(each is not None and len(each) == 1 for each in parts):
                return Known(tuple(each[0] for each in parts if each))
        return value

    def _binary(self, node: ast.BinOp, frame: Frame) -> Values:
        left, right = self.ev(node.left, frame), self.ev(node.right, frame)
        names = _DUNDERS.get(type(node.op), ())
        for each in (*left, *right):
            self.special(each, names, frame, node)
        a, b = only(left), only(right)
        if isinstance(node.op, ast.Add):
            if isinstance(a, Known) and isinstance(b, Known):
                kinds = {type(a.value), type(b.value)}
                if kinds in ({int}, {str}) and len(str(a.value)) < _LONGEST_TEXT:
                    return frozenset({Known(a.value + b.value)})
            if isinstance(a, Items) and isinstance(b, Items):
                return frozenset({Items(a.items + b.items, a.exact and b.exact)})
            if isinstance(a, Bag) or isinstance(b, Bag):
                return joined(left, right)
        joins = isinstance(node.op, ast.Add | ast.Mod)
        text = _text_of(left) + _text_of(right) if joins else ""
        made = derived(left, right)
        if any(isinstance(each, Made | Lib) for each in (*left, *right)):
            made = joined(made - {DATA}, frozenset({Lib()}))
        containers = frozenset(each for each in (*left, *right) if isinstance(each, Items | Bag))
        made = joined(made, containers)
        return joined(frozenset({Text(text)}), made - {DATA}) if text else made

    def _fstring(self, node: ast.JoinedStr, frame: Frame) -> Values:
        parts = []
        for each in node.values:
            values = self.ev(each, frame)
            if isinstance(each, ast.FormattedValue):
                for value in values:
                    self.special(value, ("__format__", "__str__", "__repr__"), frame, node)
            parts.append(values)
        single = [only(each) for each in parts]
        if all(isinstance(each, Known) and type(each.value) in (str, int) for each in single):
            text = "".join(str(each.value) for each in single if isinstance(each, Known))
            return frozenset({Known(text)})
        torn = any(self.is_torn(each) for each in parts)
        text = "".join(map(_text_of, parts))
        rest: Values = frozenset({ROUTE_DATA}) if torn else ANY_DATA
        return joined(frozenset({Text(text)}), rest - {DATA}) if text else rest

    def _ifexp(self, node: ast.IfExp, frame: Frame) -> Values:
        tested = self.ev(node.test, frame)
        yes, no = self.truth(tested, frame)
        if not (yes and no):
            return self.ev(node.body if yes else node.orelse, frame)
        torn = self.is_torn(tested)
        frame.branch += 1
        frame.doubt += torn
        found = joined(self.ev(node.body, frame), self.ev(node.orelse, frame))
        frame.branch -= 1
        frame.doubt -= torn
        return joined(found, frozenset({ROUTE_DATA})) if torn else found

    def _display(self, node: ast.Tuple | ast.List, frame: Frame) -> Values:
        parts = [self.ev(each, frame) for each in node.elts]
        starred = any(isinstance(each, ast.Starred) for each in node.elts)
        if starred:
            parts = [
                self.elements(part, frame, each) if isinstance(each, ast.Starred) else part
                for part, each in zip(parts, node.elts, strict=True)
            ]
        if isinstance(node, ast.List):
            return self.bag(node, joined(*parts))
        return frozenset({Items(tuple(parts), exact=not starred)})

    # -- parts of values -------------------------------------------------------------------------

    def _subscript(self, node: ast.Subscript, frame: Frame) -> Values:
        owners, index = self.ev(node.value, frame), self.ev(node.slice, frame)
        return joined(*(self.item(each, index, frame, node) for each in owners))

    def item(  # noqa: C901, PLR0912 - a table
        self, owner: Value, index: Values, frame: Frame, node: ast.AST
    ) -> Values:
        """Return what `owner[index]` may be."""
        key = only(index)
        name = key.value if isinstance(key, Known) and type(key.value) in (str, int) else None
        if owner is SESSION:
            self.say(frame, "identifies", "reads the session", node)
            return ANY_DATA
        if owner is HEADERS or owner is PARAMETERS:
            self.asks_for(owner, name, frame, node)
            return ANY_DATA
        if owner is ENVIRON:
            return self.environ(name, frame, node)
        if owner in (DATA, ROUTE_DATA, REPORTED) or isinstance(owner, RoutePath):
            return frozenset({owner if isinstance(owner, Mark) else ROUTE_DATA})
        if isinstance(owner, Items):
            if (
                isinstance(name, int)
                and owner.exact
                and -len(owner.items) <= name < len(owner.items)
            ):
                return owner.items[name]
            return joined(*owner.items, self._torn_by(index)) or ANY_DATA
        if isinstance(owner, Bag):
            if owner.table is not None and index and all(_is_constant(each) for each in index):
                return joined(*(owner.table.get(each, NOTHING) for each in index))
            return joined(owner.held, self._torn_by(index)) or ANY_DATA
        if isinstance(owner, Known) and type(owner.value) in _CONTAINERS:
            return self._of_container(owner.value, index)
        if isinstance(owner, Known) and type(owner.value) in PLAIN:
            return derived(index)
        if isinstance(owner, Known) and isinstance(owner.value, dict):
            # A library's kind of dict: Flask's Config.
            if type(owner.value).__getitem__ is dict.__getitem__:
                return self._of_container(dict(dict.items(owner.value)), index)
            return frozenset({Lib()})
        if isinstance(owner, Method) and isinstance(owner.owner, Lib):
            owner = owner.owner
        if isinstance(owner, Lib):
            return frozenset({owner})
        if isinstance(owner, Text):
            return ANY_DATA
        if is_unknown(owner):
            return self.of_namesakes("__getitem__", frame, node)
        if owner is REQUEST or owner is USER:
            return self.doubt(frame, node)
        if isinstance(owner, Made | Known):
            kind = owner.kind if isinstance(owner, Made) else type(owner.value)
            self.special(owner, ("__getitem__", "__missing__"), frame, node)
            return frozenset({Lib()}) if not source.is_own(kind) else frozenset({REPORTED})
        return self.doubt(frame, node)

    def _torn_by(self, index: Values) -> Values:
        return derived(index) & {ROUTE_DATA}

    def store(self, owner: Value, values: Values) -> None:
        """Put values into a container."""
        if isinstance(owner, Bag):
            owner.held = joined(owner.held, values)
            owner.table = None
        elif isinstance(owner, Known) and type(owner.value) in (dict, list, set):
            key = id(owner.value)
            self.stored[key] = joined(self.stored.get(key, NOTHING), values)

    def _of_container(self, held: Any, index: Values) -> Values:
        keys = known(index)
        if keys is not None and all(type(key) in PLAIN for key in keys):
            found = []
            for key in keys:
                try:
                    found.append(Known(held[key]))
                except (KeyError, IndexError, TypeError):
                    # An error is no answer; or somebody has put it there by then.
                    return self.stored.get(id(held), ANY_DATA)
            if any(isinstance(each, Routed) for each in index):
                return frozenset(routed(each) for each in found)
            return self.proxied(frozenset(found))
        return joined(self._held_by(held), self._torn_by(index))

    def _held_by(self, held: Any, *, keys: bool = False) -> Values:
        """Return what a container holds, and what the code was seen to put there."""
        stored = self.stored.get(id(held), NOTHING)
        return joined(_elements_of(held, keys=keys) if held or not stored else NOTHING, stored)

    def elements(self, values: Values, frame: Frame, node: ast.AST) -> Values:
        """Return what iterating over values may give."""
        return joined(*(self._elements(each, frame, node) for each in values)) or ANY_DATA

    def _elements(  # noqa: C901, PLR0912 - a table
        self, value: Value, frame: Frame, node: ast.AST
    ) -> Values:
        if isinstance(value, Items):
            return joined(*value.items) or ANY_DATA
        if isinstance(value, Bag):
            return value.held or ANY_DATA
        if isinstance(value, Known) and type(value.value) in _CONTAINERS:
            # Iterating over a dict gives its keys; `.items()` both.
            return self._held_by(value.value, keys=True)
        if (
            isinstance(value, Known)
            and isinstance(value.value, type)
            and issubclass(value.value, Enum)
        ):
            return ANYTHING
        if isinstance(value, Mark):
            if value is SESSION:
                self.say(frame, "identifies", "reads the session", node)
            if value is UNKNOWN:
                for name in ("__iter__", "__next__"):
                    self.of_namesakes(name, frame, node)
                return ANYTHING
            if value in (REQUEST, USER, GLOBALS):
                return self.doubt(frame, node)
            return frozenset({value}) if value in (DATA, ROUTE_DATA, REPORTED) else ANY_DATA
        if isinstance(value, RoutePath):
            return frozenset({ROUTE_DATA})
        if isinstance(value, Method):
            value = value.owner
            if value is UNKNOWN:
                return self._elements(value, frame, node)
        if isinstance(value, Lib):
            return frozenset({value})
        if isinstance(value, Made | Known):
            kind = value.kind if isinstance(value, Made) else type(value.value)
            if kind in PLAIN:
                return ANY_DATA
            if not source.is_own(kind):
                return frozenset({Lib()})
            given = self.special(value, ("__iter__", "__next__", "__aiter__", "__anext__"), frame,
                                 node)  # fmt: skip
            return joined(*(self._elements(each, frame, node) for each in given
                            if each is not value), ANYTHING)  # fmt: skip
        return ANY_DATA if isinstance(value, Text) else self.doubt(frame, node)

    def entered(self, values: Values, frame: Frame, node: ast.expr) -> Values:
        """Return what `with values as` binds."""
        found = []
        for each in values:
            if isinstance(each, Items):  # a function under @contextmanager
                found.append(joined(*each.items))
            elif is_unknown(each):
                for name in ("__exit__", "__aenter__", "__aexit__"):
                    self.of_namesakes(name, frame, node)
                found.append(self.of_namesakes("__enter__", frame, node))
            elif isinstance(each, Made | Known):
                names = ("__enter__", "__exit__", "__aenter__", "__aexit__")
                given = self.special(each, names, frame, node)
                found.append(given or frozenset({each}))
            else:
                found.append(frozenset({each}))
        return joined(*found)

    def special(
        self, value: Value, names: tuple[str, ...], frame: Frame, node: ast.AST | None
    ) -> Values:
        """Read what an operator runs on an object whose class the team has written."""
        kind: Any = None
        if value is SESSION:
            self.say(frame, "identifies", "reads the session", node)
        elif isinstance(value, Made):
            kind = value.kind
        elif isinstance(value, Known) and type(value.value) not in _SAFE:
            kind = type(value.value)
        if kind is None or kind is ModuleType:
            return NOTHING
        found = []
        for name in names:
            method = source.static(kind, name)
            if method is not None and self.is_followed(method):
                args = (frozenset({value}),)
                found.append(
                    self.call(Known(method), args, {}, frame, node or ast.Pass(), ANYTHING)
                )
        return joined(*found)

    def environ(self, name: object, frame: Frame, node: ast.AST) -> Values:
        """Return what one key of a WSGI environ may be."""
        if name == "PATH_INFO":
            facts = self.routes(frame, "path")
            return frozenset({routed(facts.path) if facts.given else ROUTE_DATA})
        if name == "REQUEST_METHOD":
            facts = self.routes(frame, "method")
            return frozenset({Routed(facts.method) if facts.method else DATA})
        header = name.startswith("HTTP_") and says_who(name[5:]) if isinstance(name, str) else False
        if header or name in ("REMOTE_USER", "REMOTE_ADDR", "AUTH_TYPE"):
            self.say(frame, "identifies", f"reads {name}", node)
            return ANY_DATA
        if isinstance(name, str) and name.startswith(("HTTP_", "QUERY", "CONTENT", "REMOTE_")):
            return ANY_DATA
        return frozenset({DATA, ROUTE_DATA})

    def asks_who(self, test: ast.expr, frame: Frame) -> str:
        """Tell whether a test is true for known callers only, or for strangers only."""
        match test:
            case ast.BoolOp(op=ast.And()):
                said = {self.asks_who(each, frame) for each in test.values}
                return "known" if "known" in said else ""
            case ast.UnaryOp(op=ast.Not()):
                said_of = self.asks_who(test.operand, frame)
                return {"known": "stranger"}.get(said_of, "")
            case ast.Compare(ops=[ast.IsNot() | ast.Is()], comparators=[ast.Constant(value=None)]):
                inner = self.asks_who(test.left, frame)
                is_not = isinstance(test.ops[0], ast.IsNot)
                return ("known" if is_not else "stranger") if inner else ""
            case ast.Attribute(attr="is_authenticated"):
                return "known"
            case ast.Attribute(attr="user" | "current_user", value=ast.Name(id="g")):
                return "known"
        return ""

    def _call(self, node: ast.Call, frame: Frame) -> Values:
        functions = self.ev(node.func, frame)
        args: list[Values] = []
        rest: Values = NOTHING
        for arg in node.args:
            values = self.ev(arg, frame)
            if isinstance(arg, ast.Starred):
                exact = only(values)
                if isinstance(exact, Items) and exact.exact and not rest:
                    args.extend(exact.items)
                else:
                    rest = joined(rest, self.elements(values, frame, arg))
            elif rest:
                rest = joined(rest, values)
            else:
                args.append(values)
        kwargs: dict[str, Values] = {}
        for keyword in node.keywords:
            values = self.ev(keyword.value, frame)
            if keyword.arg is None:
                rest = joined(rest, self._mapped(values))
            else:
                kwargs[keyword.arg] = values
        return joined(
            *(self.call(each, tuple(args), kwargs, frame, node, rest) for each in functions)
        )

    @staticmethod
    def _mapped(values: Values) -> Values:
        found: list[Values] = []
        for each in values:
            if isinstance(each, Items):
                found.extend(each.items)
            elif isinstance(each, Bag):
                found.append(each.held)
            elif isinstance(each, Known) and type(each.value) is dict:
                found.append(_elements_of(each.value))
            else:
                found.append(frozenset({each}))
        return joined(*found)


def _is_constant(value: Value | None) -> bool:
    """Tell whether a value is the same whenever the code runs: a class, a text, a number."""
    return type(value) is Known and (
        type(value.value) in PLAIN or isinstance(value.value, type | FunctionType)
    )


def _is_safe(value: Any) -> bool:
    """Tell whether comparing with a value runs no code of the user's."""
    if type(value) in PLAIN:
        return True
    if type(value) in _CONTAINERS:
        return len(value) < _MOST_COMPARED and all(
            type(each) in PLAIN or (type(each) is tuple and _is_safe(each)) for each in value
        )
    return False


def _elements_of(held: Any, *, keys: bool = False) -> Values:
    parts = list(held.values()) if isinstance(held, dict) and not keys else list(held)
    if all(type(each) in PLAIN for each in parts):
        if len(parts) > _MOST_ELEMENTS:
            return ANY_DATA
        return frozenset(Known(each) for each in parts) or ANY_DATA
    if len(parts) > _MOST_ELEMENTS:
        return ANYTHING
    return joined(*(frozenset({Known(each)}) for each in parts))


def _text_of(values: Values) -> str:
    value = only(values - {DATA, ROUTE_DATA})
    if isinstance(value, Text):
        return value.parts
    return value.value if isinstance(value, Known) and type(value.value) is str else ""
