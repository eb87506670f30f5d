"""Reading attributes: of modules, classes, the request, and objects of known classes."""

from __future__ import annotations

import sys
from collections import UserDict
from datetime import datetime, timedelta
from decimal import Decimal
from enum import Enum, EnumMeta
from functools import cached_property, partial
from types import (
    BuiltinFunctionType,
    ClassMethodDescriptorType,
    FunctionType,
    MemberDescriptorType,
    MethodDescriptorType,
    MethodType,
    ModuleType,
)
from typing import TYPE_CHECKING, Any
from uuid import UUID

import flask
from flask.views import View
from werkzeug.datastructures import Authorization, FileStorage, Headers, MultiDict
from werkzeug.local import LocalProxy
from werkzeug.wrappers import Request as WerkzeugRequest

from gateway.guards import source
from gateway.guards.base import Base
from gateway.guards.frame import Named
from gateway.guards.known import (
    ALARMING,
    IDENTIFIES,
    REFUSES,
    names_a_secret,
    names_an_identity,
    says_who,
)
from gateway.guards.values import (
    ANY_DATA,
    ANYTHING,
    DATA,
    ENVIRON,
    GLOBALS,
    HEADERS,
    ITS_STATUS,
    MODULE,
    NOTHING,
    PARAMETERS,
    PLAIN,
    REPORTED,
    REQUEST,
    ROUTE_DATA,
    SAID,
    SESSION,
    UNKNOWN,
    USER,
    Bag,
    Bound,
    Held,
    Items,
    Known,
    Lib,
    Local,
    Made,
    Method,
    Routed,
    RoutePath,
    Super,
    Text,
    Value,
    held,
    joined,
    routed,
)

if TYPE_CHECKING:
    import ast

    from gateway.guards.frame import Frame
    from gateway.guards.values import Values

#: What plain data, dates and uploaded files have.
_OF_DATA = frozenset(
    name
    for kind in (
        str, bytes, int, float, list, dict, set, tuple, UserDict, datetime, timedelta, Decimal,
        UUID, MultiDict, Headers, FileStorage, Authorization,
    )
    for name in dir(kind)
) | {"name", "value", "filename", "content_type", "stream"}  # fmt: skip
#: Attributes that each request is given, so that no class has them.
_OF_REQUESTS = frozenset({
    "scheme", "server", "root_path", "query_string", "shallow", "json_module",
    "routing_exception",
})  # fmt: skip
#: What a request says of its caller.
_WHO = frozenset({"authorization", "remote_user", "remote_addr", "access_route", "cookies"})
_OF_ROUTE = frozenset({"url", "base_url", "full_path", "view_args", "url_rule", "root_url", "path"})
#: Which facts of the route an attribute of the request tells.
_FACTS = {
    "endpoint": ("endpoint",),
    "blueprint": ("blueprint",),
    "blueprints": ("blueprint",),
    "method": ("method",),
    "path": ("path",),
    "url_rule": ("endpoint", "rule"),
}
_USER_NAMES = frozenset({
    "id", "name", "email", "username", "is_authenticated", "is_active", "is_anonymous", "get_id",
})  # fmt: skip
#: Names of the ORMs' own that a class of the team's may have as well.
ORM = frozenset({
    "get", "filter", "filter_by", "all", "first", "one", "one_or_none", "add", "commit",
    "rollback", "execute", "query", "close", "items", "keys", "values", "update", "delete",
    "count", "order_by", "limit", "offset", "join", "scalars", "scalar", "fetchall", "fetchone",
    "append", "remove", "pop", "info", "debug", "warning", "error", "exception", "set", "json",
    "text",
})  # fmt: skip


#: Packages of which each function is known by its name.
_KNOWN_ROOTS = frozenset(name.partition(".")[0] for name in (*REFUSES, *IDENTIFIES))


class Attributes(Base):
    """The part that reads attributes."""

    def proxied(self, values: Values) -> Values:
        """Return what Flask's proxies stand for, instead of the proxies."""
        return frozenset(self._proxied(each) for each in values)

    def _proxied(self, value: Value) -> Value:
        if not isinstance(value, Known) or type(value.value) is not LocalProxy:
            return value
        proxy: Any = value.value
        if proxy is flask.request:
            return REQUEST
        if proxy is flask.session:
            return SESSION
        if proxy is flask.g:
            return GLOBALS
        if proxy is flask.current_app:
            return Known(self.app) if self.app is not None else Lib()
        login = sys.modules.get("flask_login")
        if isinstance(login, ModuleType) and proxy is vars(login).get("current_user"):
            return USER
        jwt = sys.modules.get("flask_jwt_extended")
        if isinstance(jwt, ModuleType) and proxy is vars(jwt).get("current_user"):
            return USER
        return value

    @staticmethod
    def is_followed(value: Any) -> bool:
        """Tell whether something is a function of the team's own, so that it is read."""
        while isinstance(value, partial):
            value = value.func
        if isinstance(value, MethodType):
            value = value.__func__
        if isinstance(value, FunctionType):
            return source.is_own(value)
        return False

    def attribute(self, value: Value, name: str, frame: Frame, node: ast.AST) -> Values:  # noqa: C901, PLR0912 - a table
        """Return what an attribute may be."""
        if isinstance(value, Known):
            return self._of_known(value, name, frame, node)
        if isinstance(value, Made):
            return self._of_made(value, name, frame, node)
        if value is REPORTED:
            return SAID
        if value is REQUEST:
            return self._of_request(name, frame, node)
        if value is SESSION:
            self.say(frame, "identifies", "reads the session", node)
            return frozenset({Method(DATA, name)})
        if value is GLOBALS:
            return self._of_globals(name, frame, node)
        if value is USER:
            self.say(frame, "identifies", "reads current_user", node)
            if name not in _USER_NAMES:
                return self.doubt(frame, node)
            return frozenset({Method(DATA, name)}) if name == "get_id" else ANY_DATA
        if value in (ENVIRON, HEADERS, PARAMETERS):
            return frozenset({Method(value, name)})
        if isinstance(value, Super):
            return self._of_super(value, name, frame, node)
        if value is ITS_STATUS:
            return frozenset({Method(DATA, name)})
        if isinstance(value, Bag | Items):
            return frozenset({Method(value, name)})
        if value in (DATA, ROUTE_DATA) or isinstance(value, Text | RoutePath):
            # Data that has something else isn't data: it was lost on the way.
            if name not in _OF_DATA:
                torn = value is ROUTE_DATA or isinstance(value, RoutePath)
                by_route: Values = frozenset({ROUTE_DATA}) if torn else NOTHING
                return joined(self.of_unknown(name, frame, node), by_route)
            return frozenset({Method(value, name)})
        if isinstance(value, Method) and isinstance(value.owner, Lib):
            value = value.owner
        if isinstance(value, Lib):
            return self._of_lib(value, name, frame, node)
        if isinstance(value, Method) and value.owner is UNKNOWN:
            return self.of_unknown(name, frame, node)
        if isinstance(value, Bound | Local | Method):
            return frozenset({Method(DATA if name.startswith("__") else UNKNOWN, name)})
        if value is MODULE:
            return frozenset({Method(UNKNOWN, name)})
        if value is UNKNOWN:
            return self.of_unknown(name, frame, node)
        return self.doubt(frame, node)

    def of_unknown(self, name: str, frame: Frame, node: ast.AST) -> Values:
        """Return what an attribute of something unknown may be.

        To look it up runs a property of that name, or what a class has for any name.
        """
        if name in ALARMING:
            return self.doubt(frame, node)
        frame.named.add(Named(name))
        return frozenset({Method(UNKNOWN, name)})

    def of_namesakes(self, name: str, frame: Frame, node: ast.AST) -> Values:
        """Read a call of something unknown's method: whatever has its name may run.

        A library's that has it turns nobody away, unless it is one that may refuse.
        """
        if name in self.names.unlisted:
            return self.doubt(frame, node)
        frame.named.add(Named(name, called=True))
        return ANYTHING

    def namesakes(self, named: Named, frame: Frame, node: ast.AST) -> None:
        """Read all that may run where an attribute of something unknown is asked for."""
        frame.doubt += 1
        callees: list[Value] = []
        if named.called:
            callees += [Known(each) for each in self.names.globals.get(named.name, ())]
        for kind, found in self.names.attributes.get(named.name, ()):
            me = self.make(kind, kind)
            if isinstance(found, FunctionType):
                callees += [Bound(Known(found), (frozenset({me}),))] if named.called else []
            elif named.called or not isinstance(found, classmethod | staticmethod):
                looked_up = self._of_object(me, kind, {}, named.name, frame, node)
                callees += looked_up if named.called else ()
        for hook in ("__getattr__", "__getattribute__"):
            for kind, found in self.names.attributes.get(hook, ()):
                if self.is_followed(found):
                    callees.append(Bound(Known(found), (frozenset({self.make(kind, kind)}),)))
        for each in callees:
            self.call(each, (), {}, frame, node, ANYTHING)
        frame.doubt -= 1

    # -- Flask's own -----------------------------------------------------------------------------

    def _of_request(  # noqa: C901, PLR0912 - a table
        self, name: str, frame: Frame, node: ast.AST
    ) -> Values:
        facts = self.facts
        self.routes(frame, *_FACTS.get(name, ()))
        if name == "method":
            return frozenset({Routed(facts.method)}) if facts.method else ANY_DATA
        if name == "path" and facts.given:
            return frozenset({routed(facts.path)})
        if facts.given and name == "url_rule":
            made = self.made.setdefault("url_rule", Made(type(flask.Flask("x").url_map)))
            return frozenset({Routed(None)}) if facts.rule is None else self._rule(made)
        if facts.given and name in ("endpoint", "blueprint"):
            return frozenset({Routed(getattr(facts, name))})
        if facts.given and name == "blueprints":
            return frozenset({Routed(facts.blueprints)})
        if name in _OF_ROUTE or name in ("endpoint", "blueprint", "blueprints"):
            return frozenset({ROUTE_DATA})
        if name in _WHO:
            self.say(frame, "identifies", f"reads request.{name}", node)
            return ANY_DATA
        if name == "headers":
            return frozenset({HEADERS})
        if name in ("args", "form", "values"):
            return frozenset({PARAMETERS})
        if name == "environ":
            return frozenset({ENVIRON})
        kind = getattr(self.app, "request_class", flask.Request)
        found = source.static(kind, name)
        if isinstance(found, property | cached_property) or self.is_followed(found):
            getter = found.fget if isinstance(found, property) else getattr(found, "func", found)
            if self.is_followed(getter):
                if found is getter:
                    return frozenset({Bound(Known(getter), (frozenset({REQUEST}),))})
                return self.call(Known(getter), (frozenset({REQUEST}),), {}, frame, node)
        if (
            source.static(WerkzeugRequest, name) is None
            and source.static(flask.Request, name) is None
        ):
            if name in _OF_REQUESTS:
                return ANY_DATA
            hook = source.static(kind, "__getattr__")
            if self.is_followed(hook):
                args: tuple[Values, ...] = (frozenset({REQUEST}), frozenset({Known(name)}))
                return self.call(Known(hook), args, {}, frame, node)
            # Set by a hook, or missing: that is an error, and no answer.
            return self.requested.get(name, ANYTHING)
        method = isinstance(found, FunctionType)
        return frozenset({Method(DATA, name)}) if method else ANY_DATA

    def asks_for(self, owner: Value, name: object, frame: Frame, node: ast.AST) -> None:
        """Note a header or parameter that may say who is calling.

        Any header may but those that are known not to; of parameters those with such a name.
        """
        if owner is HEADERS and (not isinstance(name, str) or says_who(name)):
            told = f"the header {name}" if isinstance(name, str) else "a header"
            self.say(frame, "identifies", f"reads {told}", node)
        elif owner is PARAMETERS and isinstance(name, str) and names_a_secret(name):
            self.say(frame, "identifies", f"reads the parameter {name}", node)

    def _rule(self, made: Made) -> Values:
        made.fields["rule"] = frozenset({Routed(self.facts.rule)})
        made.fields["endpoint"] = frozenset({Routed(self.facts.endpoint)})
        return frozenset({made})

    def _of_globals(self, name: str, frame: Frame, node: ast.AST) -> Values:
        if name in ("get", "pop", "setdefault"):
            return frozenset({Method(GLOBALS, name)})
        return self.of_g(name, frame, node)

    def of_g(self, name: str, frame: Frame, node: ast.AST) -> Values:
        """Return what `g.name` may be: what hooks and views were seen to put there."""
        if names_an_identity(name):
            self.say(frame, "identifies", f"reads g.{name}", node)
        return self.globals.get(name, ANYTHING)

    # -- objects ---------------------------------------------------------------------------------

    def _of_known(self, value: Known, name: str, frame: Frame, node: ast.AST) -> Values:
        this = value.value
        if isinstance(this, ModuleType):
            return self._of_module(this, name, frame, node)
        if isinstance(this, type):
            return self._of_class(this, name, frame, node)
        if type(this) in PLAIN or type(this) in (list, tuple, set, frozenset, dict):
            # None has nothing: that is an error, and no answer.
            return NOTHING if this is None else frozenset({Method(value, name)})
        if isinstance(this, Enum) and name in ("value", "name"):
            return frozenset({Known(source.plain_dict(this).get(f"_{name}_"))})
        if isinstance(this, FunctionType | MethodType | partial):
            inner = source.plain_dict(this).get(name)
            if inner is not None:
                return self.proxied(frozenset({Known(inner)}))
            return ANYTHING if not name.startswith("__") else ANY_DATA
        if type(this) is LocalProxy:
            return self.doubt(frame, node)
        return self._of_object(value, type(this), source.plain_dict(this), name, frame, node)

    def _of_made(self, value: Made, name: str, frame: Frame, node: ast.AST) -> Values:
        fields = value.fields
        if name in fields and not isinstance(source.static(value.kind, name), property):
            return fields[name]
        return self._of_object(value, value.kind, {}, name, frame, node)

    def _of_object(  # noqa: C901, PLR0912 - as Python looks attributes up
        self,
        value: Known | Made,
        kind: type,
        own: dict[str, Any],
        name: str,
        frame: Frame,
        node: ast.AST,
    ) -> Values:
        found = source.static(kind, name)
        me = frozenset({value})
        if name == "__dict__":
            return ANYTHING
        for base in ("__getattribute__", "__getattr__"):
            hook = source.static(kind, base)
            missing = found is None and name not in own
            if self.is_followed(hook) and (missing or base == "__getattribute__"):
                return self.call(Known(hook), (me, frozenset({Known(name)})), {}, frame, node)
        if isinstance(found, property | cached_property):
            getter = found.fget if isinstance(found, property) else found.func
            if isinstance(found, cached_property) and name in own:
                return self.proxied(frozenset({Known(own[name])}))
            if self.is_followed(getter):
                return self.call(Known(getter), (me,), {}, frame, node)
            return self._library_made(kind, frame, node)
        if name in own:
            if own[name] is None:
                # Set by `init_app`, or by the first request.
                return frozenset({Held(None), UNKNOWN})
            return held(self.proxied(frozenset({Known(own[name])})))
        if isinstance(found, FunctionType):
            return frozenset({Bound(Known(found), (me,))})
        if isinstance(found, classmethod):
            return frozenset({Bound(Known(found.__func__), (frozenset({Known(kind)}),))})
        if isinstance(found, staticmethod):
            return frozenset({Known(found.__func__)})
        if isinstance(found, source.BUILTIN):
            return frozenset({Bound(Known(found), (me,))})
        if found is not None:
            return self._descriptor(found, value, kind, frame, node)
        dynamic = isinstance(value, Made) or source.static(kind, "__getattr__") is not None
        if dynamic and not source.is_own(kind):
            return self._library_made(kind, frame, node)
        return frozenset({Method(UNKNOWN, name)})  # set by somebody else, later

    def _of_super(self, value: Super, name: str, frame: Frame, node: ast.AST) -> Values:
        inner = value.inner
        kind = inner.kind if isinstance(inner, Made) else None
        if isinstance(inner, Known):
            kind = inner.value if isinstance(inner.value, type) else type(inner.value)
        order = kind.__mro__ if kind is not None else value.below.__mro__
        after = order[order.index(value.below) + 1 :] if value.below in order else order
        found = next((vars(base)[name] for base in after if name in vars(base)), None)
        if isinstance(found, property):
            getter = found.fget
            if self.is_followed(getter):
                return self.call(Known(getter), (frozenset({inner}),), {}, frame, node)
            return frozenset({Lib()})
        if isinstance(found, classmethod | staticmethod):
            me = (frozenset({Known(kind)}),) if isinstance(found, classmethod) else ()
            return frozenset({Bound(Known(found.__func__), me)})
        if isinstance(found, FunctionType):
            return frozenset({Bound(Known(found), (frozenset({inner}),))})
        if found is None:
            return self.doubt(frame, node)
        return frozenset({Known(found)}) if type(found) in PLAIN else frozenset({Lib()})

    def _descriptor(
        self, found: Any, value: Known | Made, kind: type, frame: Frame, node: ast.AST
    ) -> Values:
        getter = source.static(type(found), "__get__")
        if getter is None or isinstance(found, type):
            return self.proxied(frozenset({Known(found)}))
        if self.is_followed(getter):
            args = (frozenset({Known(found)}), frozenset({value}), frozenset({Known(kind)}))
            return self.call(Known(getter), args, {}, frame, node)
        held = [each for each in source.plain_dict(found).values() if self.is_followed(each)]
        if held:  # hybrid_property, lazy properties of libraries: they run the team's function
            me = (frozenset({value}),)
            return joined(*(self.call(Known(each), me, {}, frame, node) for each in held))
        if isinstance(found, MemberDescriptorType):
            return ANYTHING
        if not self.may_refuse(source.home(type(found))):
            return frozenset({Lib(frozenset({kind}) if source.is_own(kind) else frozenset())})
        return self.doubt(frame, node)

    def _library_made(self, kind: type, frame: Frame, node: ast.AST) -> Values:
        """Return an attribute of a library's object, which the library works out."""
        home = next((base for base in kind.__mro__ if not source.is_own(base)), object)
        module = source.home(kind if not source.is_own(kind) else home)
        if module.partition(".")[0] in _KNOWN_ROOTS or not self.may_refuse(module):
            return frozenset({Lib(frozenset({kind}) if source.is_own(kind) else frozenset())})
        return self.doubt(frame, node)

    def _of_module(self, module: ModuleType, name: str, frame: Frame, node: ast.AST) -> Values:
        held = vars(module)
        if name in held:
            values = self.proxied(frozenset({Known(held[name])}))
            file = held.get("__file__")
            set_anew = isinstance(file, str) and name in source.rebound(file)
            return joined(values, ANYTHING) if set_anew or held[name] is None else values
        below = sys.modules.get(f"{module.__name__}.{name}")
        if below is not None:
            return frozenset({Known(below)})
        if not self.may_refuse(module.__name__):
            return frozenset({Lib()})
        return self.doubt(frame, node)

    def _of_class(  # noqa: C901, PLR0912 - as Python looks attributes up
        self, kind: type, name: str, frame: Frame, node: ast.AST
    ) -> Values:
        if isinstance(kind, EnumMeta):
            member: Any = kind.__members__.get(name)
            if member is not None:
                return frozenset({Known(member)})
        if name == "__mro__":
            return bases_of(kind)
        if name == "mro":
            return frozenset({Bound(Known(type.mro), (frozenset({Known(kind)}),))})
        found = source.static(kind, name)
        if isinstance(found, classmethod):
            return frozenset({Bound(Known(found.__func__), (frozenset({Known(kind)}),))})
        if isinstance(found, staticmethod):
            return frozenset({Known(found.__func__)})
        plain = (*PLAIN, list, dict, set, tuple)
        if found is not None and (isinstance(found, FunctionType | type) or type(found) in plain):
            return self.proxied(frozenset({Known(found)}))
        if found is None:
            hook = source.static(type(kind), "__getattr__")
            if isinstance(hook, FunctionType) and self.is_followed(hook):
                args = (frozenset({Known(kind)}), frozenset({Known(name)}))
                return self.call(Known(hook), args, {}, frame, node)
            if name in kind.__dict__ or any(name in base.__dict__ for base in kind.__mro__):
                return frozenset({Known(None), UNKNOWN})
            return frozenset({Method(UNKNOWN, name)})
        if isinstance(found, property):
            return ANYTHING
        if source.static(type(found), "__get__") is None:
            return self.proxied(frozenset({Known(found)}))
        if isinstance(
            found, ClassMethodDescriptorType | MethodDescriptorType | BuiltinFunctionType
        ):
            return frozenset({Known(found)})
        if not self.may_refuse(source.home(type(found))):
            return frozenset({Lib(frozenset({kind}) if source.is_own(kind) else frozenset())})
        return self.doubt(frame, node)

    def _of_lib(self, value: Lib, name: str, frame: Frame, node: ast.AST) -> Values:
        """Return an attribute of something that a library made: perhaps an object of the team's."""
        if name in ALARMING:
            return self.doubt(frame, node)
        found: list[Values] = [frozenset({Method(value, name)})]
        for kind in self.own_classes().get(name, ()):
            if any(issubclass(kind, model) or issubclass(model, kind) for model in value.models):
                me = self.make(kind, kind)
                found.append(self._of_object(me, kind, {}, name, frame, node))
        if name not in ORM and any(self.names.attributes.get(name, ())):
            self.of_unknown(name, frame, node)
        return joined(*found)

    def own_classes(self) -> dict[str, list[type]]:
        """List the team's classes by the names of the functions and properties in them."""
        if self._own_classes is None:
            self._own_classes = {}
            for module in list(sys.modules.values()):
                file = source.plain_dict(module).get("__file__")
                if not isinstance(file, str) or not source.own_file(file):
                    continue
                for kind in list(source.plain_dict(module).values()):
                    if isinstance(kind, type) and source.home(kind) == module.__name__:
                        self._enter(kind)
        return self._own_classes

    def _enter(self, kind: type) -> None:
        if issubclass(kind, View) or self._own_classes is None:
            return
        for name, this in vars(kind).items():
            runs = isinstance(this, FunctionType | property | cached_property | classmethod)
            if runs and not name.startswith("__"):
                self._own_classes.setdefault(name, []).append(kind)

    def make(self, kind: type, key: object) -> Made:
        """Return the one object that stands for what a place in the code makes."""
        return self.made.setdefault((kind, key), Made(kind))

    def set_attribute(
        self, owner: Value, name: str, values: Values, frame: Frame, node: ast.AST
    ) -> None:
        """Read `owner.name = value`."""
        if owner is GLOBALS:
            self.globals[name] = joined(self.globals.get(name, NOTHING), values)
            return
        if owner is REQUEST:
            self.requested[name] = joined(self.requested.get(name, NOTHING), values)
            return
        kind: Any = owner.kind if isinstance(owner, Made) else None
        if isinstance(owner, Known) and not isinstance(owner.value, ModuleType | type):
            kind = type(owner.value)
        if kind is not None:
            setter = source.static(kind, name)
            if isinstance(setter, property) and self.is_followed(setter.fset):
                self.call(Known(setter.fset), (frozenset({owner}), values), {}, frame, node)
                return
            hook = source.static(kind, "__setattr__")
            if self.is_followed(hook):
                args = (frozenset({owner}), frozenset({Known(name)}), values)
                self.call(Known(hook), args, {}, frame, node)
        if isinstance(owner, Made):
            owner.put(name, values)
        if name in ("status_code", "status", "_status", "_status_code", "code"):
            self.set_status(owner, kind, values, frame, node)

    def set_status(
        self, owner: Value, kind: Any, values: Values, frame: Frame, node: ast.AST
    ) -> None:
        """Read `response.status_code = value`."""
        raise NotImplementedError

    _own_classes: dict[str, list[type]] | None = None


def bases_of(kind: type) -> Values:
    """Return a class and its bases, in the order in which attributes are looked up."""
    each = tuple(frozenset[Value]({Known(base)}) for base in type.__dict__["__mro__"].__get__(kind))
    return frozenset({Items(each, exact=True)})
