"""Reading calls: the team's own functions are followed, libraries' are known by name."""

from __future__ import annotations

from enum import Enum
from functools import cache, partial
from types import FunctionType, MethodType
from typing import TYPE_CHECKING, Any

from flask import Flask
from werkzeug.exceptions import Aborter, HTTPException
from werkzeug.local import LocalProxy
from werkzeug.wrappers import Response

from gateway.guards import source
from gateway.guards.attributes import ORM, Attributes
from gateway.guards.base import derived
from gateway.guards.known import ALARMING, HARMLESS, IDENTIFIES, REFUSES, said_of
from gateway.guards.values import (
    ANY_DATA,
    ANYTHING,
    DATA,
    ENVIRON,
    GLOBALS,
    HEADERS,
    ITS_STATUS,
    NOTHING,
    PARAMETERS,
    PLAIN,
    REPORTED,
    ROUTE_DATA,
    SAID,
    SESSION,
    UNKNOWN,
    Bag,
    Bound,
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
    Values,
    joined,
    known,
    only,
)

if TYPE_CHECKING:
    import ast
    from collections.abc import Callable

    from gateway.guards.frame import Frame, Outcome
    from gateway.guards.values import Value

    Special = Callable[..., Values]

_CACHED = type(cache(len))
_ADDS = frozenset({
    "append", "appendleft", "extend", "insert", "add", "update", "setdefault", "__setitem__",
})  # fmt: skip
#: Methods of texts and mappings that are worked out where everything is known.
_WORKED_OUT = frozenset({
    "startswith", "endswith", "lower", "upper", "strip", "lstrip", "rstrip", "split", "rsplit",
    "partition", "rpartition", "replace", "removeprefix", "removesuffix", "get", "keys", "values",
    "items", "count", "index", "find", "casefold", "format",
})  # fmt: skip
#: Libraries that make texts and answers of what they get, and never give it back.
_ANSWERING = frozenset({"flask", "werkzeug", "jinja2", "json", "starlette", "fastapi", "logging"})
#: Where the functions are that render templates.
_TEMPLATING = frozenset({"flask.templating", "jinja2.environment"})
#: What libraries pass to functions that they call.
LIBRARY: Values = frozenset({Lib()})
#: What libraries may call on an object that they are handed.
_HANDED = (
    "__str__", "__repr__", "__html__", "__iter__", "__len__", "__eq__", "__hash__", "__getitem__",
    "__json__", "__bool__", "__format__", "__call__",
)  # fmt: skip


class Calls(Attributes):
    """The part that reads calls."""

    def call(
        self,
        value: Value,
        args: tuple[Values, ...],
        kwargs: dict[str, Values],
        frame: Frame,
        node: ast.AST,
        rest: Values = NOTHING,
    ) -> Values:
        """Return what a call may give, and note what it does."""
        match value:
            case Local():
                return self._followed(value, args, kwargs, rest, frame, node)
            case Bound():
                more = {**dict(value.kwargs), **kwargs}
                return self.call(value.function, value.args + args, more, frame, node, rest)
            case Method():
                return self._method(value, args, kwargs, frame, node, rest)
            case Known():
                return self._known(value, args, kwargs, frame, node, rest)
            case Made():
                return self._object(value, value.kind, args, kwargs, frame, node, rest)
            case Mark("same"):
                return args[0] if args else ANYTHING
            case Mark("start_response"):
                self.started(args, frame, node)
                return frozenset({Lib()})
            case Mark("reported"):
                self._handed(args, kwargs, frame, node, rest)
                return SAID
            case Lib():
                self._handed(args, kwargs, frame, node, rest)
                return frozenset({Lib(value.models | _models(*args, *kwargs.values()))})
            case _:
                self._handed(args, kwargs, frame, node, rest)
                return self.doubt(frame, node)

    def _followed(
        self,
        value: Value,
        args: tuple[Values, ...],
        kwargs: dict[str, Values],
        rest: Values,
        frame: Frame,
        node: ast.AST,
    ) -> Values:
        answers = frame.answers and node is self.tail
        outcome = self.follow(value, args, kwargs, rest, answers=answers)
        self.tail_read = self.tail_read or answers
        return self.take(frame, outcome)

    # -- known objects ---------------------------------------------------------------------------

    def _known(  # noqa: C901 - a table
        self,
        value: Known,
        args: tuple[Values, ...],
        kwargs: dict[str, Values],
        frame: Frame,
        node: ast.AST,
        rest: Values,
    ) -> Values:
        held = value.value
        if id(held) in self.behind:
            self._passed_on(args, frame, node)
            return frozenset({Lib()})
        if isinstance(held, partial):
            given = tuple(self.proxied(frozenset({Known(each)})) for each in held.args)
            named = {
                key: self.proxied(frozenset({Known(each)})) for key, each in held.keywords.items()
            }
            inner = Known(held.func)
            return self.call(inner, given + args, {**named, **kwargs}, frame, node, rest)
        if isinstance(held, MethodType):
            me = self.proxied(frozenset({Known(held.__self__)}))
            return self.call(Known(held.__func__), (me, *args), kwargs, frame, node, rest)
        if isinstance(held, staticmethod | classmethod):
            return self.call(Known(held.__func__), args, kwargs, frame, node, rest)
        if isinstance(held, type):
            return self.construct(held, args, kwargs, frame, node, rest)
        if isinstance(held, FunctionType):
            if source.is_own(held):
                return self._followed(value, args, kwargs, rest, frame, node)
            return self._library(held, args, kwargs, frame, node, rest)
        if isinstance(held, source.BUILTIN) or type(held).__name__ in (
            "method-wrapper",
            "wrapper_descriptor",
            "ufunc",
        ):
            return self._library(held, args, kwargs, frame, node, rest)
        if isinstance(held, _CACHED):
            inner = Known(held.__wrapped__)
            return self.call(inner, args, kwargs, frame, node, rest)
        if type(held) is LocalProxy:
            return self.doubt(frame, node)
        if isinstance(held, Flask) and not self.outside:
            return self.doubt(frame, node)
        if isinstance(held, Flask):
            self._passed_on(args, frame, node)
            return frozenset({Lib()})
        return self._object(value, type(held), args, kwargs, frame, node, rest)

    def _object(
        self,
        value: Known | Made,
        kind: type,
        args: tuple[Values, ...],
        kwargs: dict[str, Values],
        frame: Frame,
        node: ast.AST,
        rest: Values,
    ) -> Values:
        """Read a call of an object."""
        if issubclass(kind, Aborter):
            return self.aborts(args, kwargs, frame, node)
        called = source.static(kind, "__call__")
        if isinstance(called, FunctionType) and source.is_own(called):
            me: Values = frozenset({value})
            return self.call(Known(called), (me, *args), kwargs, frame, node, rest)
        if issubclass(kind, HTTPException | Response):
            if issubclass(kind, HTTPException):
                self.thrown(value, frame, node)
            return frozenset({Lib()})
        name = f"{source.home(kind)}.{source.qualname(kind)}"
        held = source.plain_dict(value.value) if isinstance(value, Known) else {}
        own = [each for each in held.values() if self._runs_own(each)]
        for each in own:  # a decorator of a library's that is an object
            self.call(Known(each), args, kwargs, frame, node, rest or ANY_DATA)
        return self._by_name(name, source.home(kind), args, kwargs, frame, node, rest)

    def _runs_own(self, value: Any, depth: int = 0) -> bool:
        """Tell whether a function is the team's own, or wraps one that is."""
        if isinstance(value, partial):
            return self._runs_own(value.func, depth + 1)
        if isinstance(value, MethodType):
            return self._runs_own(value.__func__, depth + 1)
        if isinstance(value, type) or depth > 8:  # noqa: PLR2004
            return False
        if isinstance(value, FunctionType):
            if source.is_own(value) or self._made_of_own(value):
                return True
            inner = [*source.cells(value).values(), source.plain_dict(value).get("__wrapped__")]
            return any(self._runs_own(each, depth + 1) for each in inner if callable(each))
        return source.is_own(type(value)) and self.is_followed(
            source.static(type(value), "__call__")
        )

    @staticmethod
    def _made_of_own(function: FunctionType) -> bool:
        """Tell whether a view was made by `as_view()` of a class of the team's own."""
        kind = source.plain_dict(function).get("view_class")
        return isinstance(kind, type) and source.is_own(kind)

    # -- libraries -------------------------------------------------------------------------------

    def _library(
        self,
        function: Any,
        args: tuple[Values, ...],
        kwargs: dict[str, Values],
        frame: Frame,
        node: ast.AST,
        rest: Values,
    ) -> Values:
        """Read a call of a library's function: by its name; what it wraps is read as well."""
        name = source.full_name(function)
        inner = isinstance(function, FunctionType) and "<locals>" in function.__code__.co_qualname
        special = self.special_calls().get(name) if not inner else None
        if special is not None:
            return special(args, kwargs, frame, node, rest)
        if args and not inner:
            self._of_own(function, args[0], frame, node)
        if name.endswith(".abort") or (name == "flask.helpers.abort"):
            return self.aborts(args, kwargs, frame, node)
        if name == "flask.views.View.as_view" and isinstance(function, FunctionType):
            kind = source.plain_dict(function).get("view_class")
            if isinstance(kind, type):
                return self.take(frame, self.of_class(function, kind, rest))
        if isinstance(function, FunctionType):
            optional = source.cells(function).get("optional")
            said = said_of(name, REFUSES)
            wrapped = self._wrapped(function)
            if said is not None and optional is not True and not self._is_optional(kwargs):
                if wrapped:
                    self.say(frame, "refuses", f"is decorated by {name}")
                else:
                    self.say(frame, "refuses", said, node)
            if wrapped:
                if said is None and said_of(name, IDENTIFIES) is None and self.may_refuse(name):
                    self.say(frame, "perhaps", f"is decorated by {name}")
                self._unwrapping.append(function)  # flask_caching's wrapper holds itself
                found = [
                    self.call(Known(each), args, kwargs, frame, node, rest or ANY_DATA)
                    for each in wrapped
                    if not any(each is one for one in self._unwrapping)
                ]
                self._unwrapping.pop()
                return joined(*found, frozenset({Lib()}))
            if said is not None:
                self._handed(args, kwargs, frame, node, rest)
                return frozenset({Lib()})
        return self._by_name(name, source.home(function), args, kwargs, frame, node, rest)

    def _of_own(self, function: Any, me: Values, frame: Frame, node: ast.AST) -> None:
        """Read what a library's method may call of an object whose class the team has written."""
        for each in me:
            if isinstance(each, Known) and isinstance(each.value, type):
                continue
            kind = each.kind if isinstance(each, Made) else None
            kind = type(each.value) if isinstance(each, Known) else kind
            name = getattr(function, "__name__", "")
            if kind is None or source.static(kind, name) is not function:
                continue
            if issubclass(kind, HTTPException) and name in ("get_response", "__call__"):
                self.thrown(each, frame, node)
            elif source.is_own(kind) and not issubclass(kind, BaseException | Flask):
                self.take(frame, self.may_call_back(kind), sure=False)

    @staticmethod
    def _is_optional(kwargs: dict[str, Values]) -> bool:
        return known(kwargs.get("optional", NOTHING)) == [True]

    def _wrapped(self, function: FunctionType) -> list[Any]:
        """Return what a library's wrapper runs of the team's own."""
        held = source.cells(function)
        inner = source.plain_dict(function).get("__wrapped__")
        each = [*held.values(), *([inner] if inner is not None else [])]
        unique = {id(one): one for one in each if callable(one) and self._runs_own(one)}
        return list(unique.values())

    def _by_name(
        self,
        name: str,
        module: str,
        args: tuple[Values, ...],
        kwargs: dict[str, Values],
        frame: Frame,
        node: ast.AST,
        rest: Values,
    ) -> Values:
        self._handed(args, kwargs, frame, node, rest)
        if name in HARMLESS:
            return frozenset({Lib()})
        said = said_of(name, REFUSES)
        if said is not None:
            if not self._is_optional(kwargs):
                self.say(frame, "refuses", said, node)
            return frozenset({Lib()})
        said = said_of(name, IDENTIFIES)
        if said is not None:
            self.say(frame, "identifies", said, node)
            return frozenset({Lib()}) | self._torn(args)
        last = name.rpartition(".")[2]
        if self.may_refuse(module) or last in ALARMING:
            return self.doubt(frame, node)
        if name.startswith(("builtins.exec", "builtins.eval", "builtins.__import__")):
            return self.doubt(frame, node)
        if module == "builtins" or module.partition(".")[0] in ("operator", "re", "_operator"):
            return derived(*args, *kwargs.values(), rest) | self._containers(args)
        if module.partition(".")[0] in _ANSWERING:
            if module in _TEMPLATING:
                self.rendered(frame, node)
            return frozenset({Lib(_models(*args, *kwargs.values()))})
        return joined(
            frozenset({Lib(_models(*args, *kwargs.values()))}),
            _objects(derived(*args, *kwargs.values(), rest)),
        )

    @staticmethod
    def _torn(args: tuple[Values, ...]) -> Values:
        return derived(*args) & {ROUTE_DATA}

    @staticmethod
    def _containers(args: tuple[Values, ...]) -> Values:
        return frozenset(
            each for values in args for each in values if isinstance(each, Bag | Items)
        )

    def _handed(
        self,
        args: tuple[Values, ...],
        kwargs: dict[str, Values],
        frame: Frame,
        node: ast.AST,
        rest: Values = NOTHING,
    ) -> None:
        """Read what a library may run of what it is handed."""
        for values in (*args, *kwargs.values(), rest):
            self.used(values, frame, node, joined(*(self._inside(each) for each in args)))

    def _inside(self, values: Values, besides: Values = LIBRARY) -> Values:
        found: list[Values] = [besides]
        for each in values:
            if isinstance(each, Bag):
                found.append(each.held)
            elif isinstance(each, Items):
                found.extend(each.items)
            elif isinstance(each, Lib | Made) or each in (ROUTE_DATA, REPORTED, UNKNOWN):
                found.append(frozenset({each}))
        return joined(*found)

    def used(  # noqa: C901, PLR0912 - a table
        self, values: Values, frame: Frame, node: ast.AST, given: Values = LIBRARY
    ) -> None:
        """Read functions and objects that are handed to code which may call them."""
        for each in values:
            if each is SESSION:
                self.say(frame, "identifies", "reads the session", node)
            if isinstance(each, Local):
                self.call(each, (), {}, frame, node, given)
            elif isinstance(each, Bound | Method) or (
                isinstance(each, Known) and self._runs_own(each.value)
            ):
                if isinstance(each, Bound) and not self._is_worth(each):
                    continue
                if not isinstance(each, Method):
                    self.call(each, (), {}, frame, node, given)
            elif isinstance(each, Known) and isinstance(each.value, partial | FunctionType):
                if source.full_name(each.value).endswith(".abort"):
                    self.call(each, (), {}, frame, node, given)
            elif isinstance(each, Made) and self.refuses_as_it_is(each):
                self.thrown(each, frame, node)
            elif isinstance(each, Made | Known):
                frame.doubt += 1
                self.special(each, _HANDED, frame, node)
                frame.doubt -= 1
            elif isinstance(each, Bag):
                held = frozenset(one for one in each.held if isinstance(one, Local | Known | Bound))
                if each not in self._being_used:
                    self._being_used.add(each)
                    self.used(held, frame, node, given)
                    self._being_used.discard(each)
            elif isinstance(each, Items):
                for part in each.items:
                    self.used(part, frame, node, given)

    def _is_worth(self, value: Bound) -> bool:
        """Tell whether a bound method leads to code of the team's, or to `abort`."""
        inner: Value = value
        while isinstance(inner, Bound):
            inner = inner.function
        if isinstance(inner, Known):
            name = source.full_name(inner.value)
            return self._runs_own(inner.value) or name.endswith(".abort")
        return isinstance(inner, Local)

    # -- methods of what isn't the team's --------------------------------------------------------

    def _method(  # noqa: C901 - a table
        self,
        value: Method,
        args: tuple[Values, ...],
        kwargs: dict[str, Values],
        frame: Frame,
        node: ast.AST,
        rest: Values,
    ) -> Values:
        owner, name = value.owner, value.name
        if name in _ADDS:
            put = args[1:] if name in ("setdefault", "insert", "__setitem__") else args
            self.store(owner, joined(*put, *kwargs.values(), self._spread(put)))
        told = self._worked_out(owner, name, args, kwargs)
        if told is not None:
            return told
        if isinstance(owner, Bag | Items) or (
            isinstance(owner, Known) and type(owner.value) in (dict, list, tuple, set, frozenset)
        ):
            self._handed(args, kwargs, frame, node, rest)
            index = args[0] if args and name in ("get", "pop", "setdefault") else ANY_DATA
            inside = self.item(owner, index, frame, node)
            if isinstance(owner, Known) and name in ("items", "keys", "values", "copy"):
                inside = joined(self.elements(frozenset({owner}), frame, node), inside)
            return joined(
                frozenset({Items((inside,))}) if name == "items" else NOTHING,
                inside if name != "copy" else frozenset({owner}), *args[1:],
                frozenset({Known(None)}) if name == "get" else NOTHING,
            )  # fmt: skip
        if owner is GLOBALS:
            key = known(args[0]) if args else None
            if key is not None and len(key) == 1 and isinstance(key[0], str):
                return joined(self.of_g(key[0], frame, node), *args[1:])
            return ANYTHING
        if owner is HEADERS or owner is PARAMETERS:
            for key in known(args[0]) or (None,) if args else ():
                self.asks_for(owner, key, frame, node)
            return joined(ANY_DATA, *args[1:])
        if owner is ENVIRON:
            key = known(args[0]) if args else None
            return joined(self.environ(key[0] if key else None, frame, node), *args[1:])
        self._handed(args, kwargs, frame, node, rest)
        if owner is UNKNOWN:
            return self.of_namesakes(name, frame, node)
        if owner in (DATA, ROUTE_DATA, REPORTED) or isinstance(owner, Text | RoutePath):
            torn = isinstance(owner, RoutePath) or owner is ROUTE_DATA
            return derived(*args, *kwargs.values()) | (frozenset({ROUTE_DATA}) if torn else NOTHING)
        if isinstance(owner, Known) and type(owner.value) in PLAIN:
            return derived(*args, *kwargs.values())
        return self._of_library(owner, name, args, kwargs, frame, node)

    def _spread(self, args: tuple[Values, ...]) -> Values:
        return joined(*(self._inside(each, NOTHING) for each in args))

    def _of_library(
        self,
        owner: Value,
        name: str,
        args: tuple[Values, ...],
        kwargs: dict[str, Values],
        frame: Frame,
        node: ast.AST,
    ) -> Values:
        """Read a library's method, on an object whose class may be the team's."""
        if name == "ensure_sync" and args:
            return args[0]
        if name in ALARMING:
            return self.doubt(frame, node)
        models = _models(*args, *kwargs.values())
        if isinstance(owner, Lib):
            if name not in ORM and name in self.names.attributes:
                self.of_namesakes(name, frame, node)
            return joined(
                frozenset({Lib(owner.models | models)}),
                _objects(derived(*args, *kwargs.values())),
            )
        kind = owner.kind if isinstance(owner, Made) else type(getattr(owner, "value", None))
        if source.is_own(kind) and not issubclass(kind, BaseException):
            self.take(frame, self.may_call_back(kind), sure=False)
            models |= {kind}
        return frozenset({Lib(models)})

    def _worked_out(
        self, owner: Value, name: str, args: tuple[Values, ...], kwargs: dict[str, Values]
    ) -> Values | None:
        """Work out what a text's or mapping's method gives where everything is known."""
        if kwargs or name not in _WORKED_OUT:
            return None
        given = []
        by_route = isinstance(owner, Routed) or any(
            isinstance(each, Routed) for values in args for each in values
        )
        kind = Routed if by_route else Known
        for values in args:
            each = only(values)
            each = self.plainly(each) if each is not None else None
            if not isinstance(each, Known) or type(each.value) not in (*PLAIN, tuple):
                return None
            given.append(each.value)
        if isinstance(owner, RoutePath):
            return self._of_path(owner, name, given)
        if not isinstance(owner, Known) or type(owner.value) not in (str, dict):
            return None
        if isinstance(owner, Held) or any(
            type(each) is tuple and not all(isinstance(x, str) for x in each) for each in given
        ):
            return None
        try:
            made = getattr(owner.value, name)(*given)
        except Exception:  # noqa: BLE001 - the view would raise it, too
            return None
        missed = made is None and name == "get" and not by_route
        if (type(made) in PLAIN and not missed) or type(made) in (list, tuple):
            return frozenset({kind(made)})
        if isinstance(owner.value, dict) and name == "get":
            # Somebody may put it there by then, unless it is a table of routes.
            later = ANYTHING if made is None and not by_route else NOTHING
            return joined(self.proxied(frozenset({kind(made)})), later)
        return None

    @staticmethod
    def _of_path(path: RoutePath, name: str, given: list[Any]) -> Values:
        unknown: Values = frozenset({ROUTE_DATA})
        if name != "startswith" or len(given) != 1:
            return unknown
        wanted = given[0] if isinstance(given[0], tuple) else (given[0],)
        if any(isinstance(each, str) and path.prefix.startswith(each) for each in wanted):
            return frozenset({Known(True)})
        if any(isinstance(each, str) and each.startswith(path.prefix) for each in wanted):
            return unknown
        return frozenset({Known(False)})

    # -- classes ---------------------------------------------------------------------------------

    def construct(
        self,
        kind: type,
        args: tuple[Values, ...],
        kwargs: dict[str, Values],
        frame: Frame,
        node: ast.AST,
        rest: Values,
    ) -> Values:
        """Read a call of a class."""
        name = f"{source.home(kind)}.{source.qualname(kind)}"
        special = self.special_calls().get(name)
        if special is not None:
            return special(args, kwargs, frame, node, rest)
        if not source.is_own(kind):
            return self._library_class(kind, name, args, kwargs, frame, node, rest)
        if issubclass(kind, Enum):
            return joined(ANY_DATA, self._torn(args))
        if self.is_followed(source.static(type(kind), "__call__")):
            self.call(Known(source.static(type(kind), "__call__")),
                      (frozenset({Known(kind)}), *args), kwargs, frame, node, rest)  # fmt: skip
        made = self.make(kind, node)
        me: Values = frozenset({made})
        new, init = source.static(kind, "__new__"), source.static(kind, "__init__")
        if isinstance(new, staticmethod):
            new = new.__func__
        if self.is_followed(new):
            own: Values = frozenset({Known(kind)})
            self.call(Known(new), (own, *args), kwargs, frame, node, rest)
        if self.is_followed(init):
            self.call(Known(init), (me, *args), kwargs, frame, node, rest)
        else:
            self._filled(made, args, kwargs)
            if not _is_generated(init):
                self._handed(args, kwargs, frame, node, rest)
            after = source.static(kind, "__post_init__")
            if self.is_followed(after):
                self.call(Known(after), (me,), {}, frame, node, ANYTHING)
            if issubclass(kind, Response):
                self.responds(kind, args, kwargs, frame, node)
            elif not issubclass(kind, BaseException):
                self._made_by_library(kind, init, frame, node)
        return me

    def _made_by_library(self, kind: type, init: Any, frame: Frame, node: ast.AST) -> None:
        if init is None or init is object.__init__ or not isinstance(init, FunctionType):
            return
        if _is_generated(init):
            return
        if self.may_refuse(source.home(init)):
            self.doubt(frame, node)
        self.take(frame, self.may_call_back(kind), sure=False)

    @staticmethod
    def _filled(made: Made, args: tuple[Values, ...], kwargs: dict[str, Values]) -> None:
        names = list(source.static(made.kind, "__dataclass_fields__") or ())
        pairs = [*zip(names, args, strict=False), *kwargs.items()]
        if issubclass(made.kind, HTTPException):
            pairs += zip(("description", "response"), args, strict=False)
        if issubclass(made.kind, BaseException):
            pairs.append(("args", frozenset({Items(args)})))
            pairs += [(key, values) for key, values in
                      zip(("status_code", "detail"), args, strict=False)]  # fmt: skip
        for name, values in pairs:
            made.put(name, values)

    def _library_class(
        self,
        kind: type,
        name: str,
        args: tuple[Values, ...],
        kwargs: dict[str, Values],
        frame: Frame,
        node: ast.AST,
        rest: Values,
    ) -> Values:
        if issubclass(kind, BaseException):
            made = Made(kind)
            self._filled(made, args, kwargs)
            return frozenset({made})
        if issubclass(kind, Response) or self.is_response(kind):
            self.responds(kind, args, kwargs, frame, node)
            return frozenset({self.make(kind, kind)})
        if kind in (list, set, tuple, frozenset, dict):
            held = joined(*(self.elements(each, frame, node) for each in args), *kwargs.values())
            pairs = [each for each in held if isinstance(each, Items)]
            held = joined(held, *(part for each in pairs for part in each.items))
            return self.bag(node, held if args or kwargs else NOTHING)
        if kind is type and len(args) == 1:
            return self._types(args[0])
        if kind in (bool, str, int, float) and len(args) == 1:
            return self._converted(kind, args[0], frame, node)
        if kind is property:
            return ANYTHING
        found = self._by_name(name, source.home(kind), args, kwargs, frame, node, rest)
        if found == SAID or kind in (map, filter, zip, enumerate, reversed, iter):
            return joined(found, self._spread(args)) if found != SAID else found
        if source.home(kind) == "builtins":
            return found
        return joined(frozenset({self.make(kind, kind)}), found - {Lib(frozenset()), DATA})

    def _types(self, values: Values) -> Values:
        kinds = self.classes_of(values)
        return ANYTHING if kinds is None else frozenset(Known(each) for each in kinds)

    def _converted(self, kind: type, values: Values, frame: Frame, node: ast.AST) -> Values:
        if kind is bool:
            yes, no = self.truth(values, frame)
            if yes != no:
                return frozenset({Known(yes)})
        held = only(values)
        if kind in (int, str) and isinstance(held, Known) and type(held.value) in (int, str):
            try:
                return frozenset({Known(kind(held.value))})
            except ValueError:
                return ANY_DATA
        if kind is int and isinstance(held, Known) and isinstance(held.value, int):
            return frozenset({Known(int(held.value))})
        for each in values:
            self.special(each, _HANDED, frame, node)
        return joined(derived(values) & {ROUTE_DATA, DATA})

    def classes_of(self, values: Values) -> list[type] | None:
        """Return the classes of what values may be; None where they can't be known."""
        found = []
        for each in values:
            if isinstance(each, Made):
                found.append(each.kind)
            elif isinstance(each, Known):
                found.append(type(each.value))
            else:
                return None
        return found

    # -- what the other parts do -----------------------------------------------------------------

    #: The call whose value is the answer to a request; and that its callee has read it as one.
    tail: ast.AST | None = None
    tail_read = False
    #: Whether middleware is read: what it calls of Flask's own is what is behind it.
    outside = False
    #: By `id`: what a middleware wraps, which is read in its own turn.
    behind: frozenset[int] = frozenset()
    _being_used: set[Bag]
    _unwrapping: list[object]

    def special_calls(self) -> dict[str, Special]:
        """Return the readers of functions that are known by name."""
        raise NotImplementedError

    def special(
        self, value: Value, names: tuple[str, ...], frame: Frame, node: ast.AST | None
    ) -> Values:
        """Read what an operator runs on an object."""
        raise NotImplementedError

    def item(self, owner: Value, index: Values, frame: Frame, node: ast.AST) -> Values:
        """Return what `owner[index]` may be."""
        raise NotImplementedError

    def elements(self, values: Values, frame: Frame, node: ast.AST) -> Values:
        """Return what iterating over values may give."""
        raise NotImplementedError

    def store(self, owner: Value, values: Values) -> None:
        """Put values into a container."""
        raise NotImplementedError

    def environ(self, name: object, frame: Frame, node: ast.AST) -> Values:
        """Return what one key of a WSGI environ may be."""
        raise NotImplementedError

    def bag(self, node: ast.AST, held: Values) -> Values:
        """Return the one container that an expression makes."""
        raise NotImplementedError

    def truth(self, values: Values, frame: Frame) -> tuple[bool, bool]:
        """Tell whether values may be true, and whether they may be false."""
        raise NotImplementedError

    @staticmethod
    def plainly(value: Value) -> Value:
        """Return a display of constants as the constant that it is."""
        raise NotImplementedError

    def rendered(self, frame: Frame, node: ast.AST) -> None:
        """Read what templates may call."""
        raise NotImplementedError

    def thrown(self, value: Value, frame: Frame, node: ast.AST) -> None:
        """Read an exception that is raised."""
        raise NotImplementedError

    def refuses_as_it_is(self, value: Made) -> bool:
        """Tell whether an exception stands for 401, 403 or 407."""
        raise NotImplementedError

    def started(self, args: tuple[Values, ...], frame: Frame, node: ast.AST) -> None:
        """Read `start_response(status, headers)`."""
        raise NotImplementedError

    def aborts(
        self, args: tuple[Values, ...], kwargs: dict[str, Values], frame: Frame, node: ast.AST
    ) -> Values:
        """Read `abort(…)`."""
        raise NotImplementedError

    def responds(
        self,
        kind: type,
        args: tuple[Values, ...],
        kwargs: dict[str, Values],
        frame: Frame,
        node: ast.AST,
    ) -> None:
        """Read the making of a response."""
        raise NotImplementedError

    def is_response(self, kind: type) -> bool:
        """Tell whether a class is of answers."""
        raise NotImplementedError

    def of_class(self, view: FunctionType, kind: type, rest: Values) -> Outcome:
        """Read what `View.as_view()` made."""
        raise NotImplementedError

    def may_call_back(self, kind: type) -> Outcome:
        """Read all methods of a class whose library base may call them."""
        raise NotImplementedError

    def _passed_on(self, args: tuple[Values, ...], frame: Frame, node: ast.AST) -> None:
        """Read the `start_response` that a middleware hands to what is behind it."""
        for values in args:
            for each in values:
                if isinstance(each, Local | Bound) or (
                    isinstance(each, Known) and self._runs_own(each.value)
                ):
                    self.call(each, (frozenset({ITS_STATUS}), ANY_DATA), {}, frame, node)


def _objects(values: Values) -> Values:
    """Leave out plain data, and classes: of those a library makes objects."""
    return frozenset(
        each
        for each in values
        if each is not DATA and not (isinstance(each, Known) and isinstance(each.value, type))
    )


def _is_generated(init: Any) -> bool:
    """Tell whether an `__init__` only sets attributes: that of a dataclass, or of attrs."""
    return isinstance(init, FunctionType) and init.__code__.co_filename.startswith("<")


def _models(*several: Values) -> frozenset[type]:
    """Return the team's classes among values: what a library may make objects of."""
    found: set[type] = set()
    for values in several:
        for each in values:
            if (
                isinstance(each, Known)
                and isinstance(each.value, type)
                and source.is_own(each.value)
            ):
                found.add(each.value)
            elif isinstance(each, Made) and source.is_own(each.kind):
                found.add(each.kind)
            elif isinstance(each, Lib):
                found |= each.models
    return frozenset(found)
