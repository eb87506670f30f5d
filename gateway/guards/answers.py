"""Reading answers: which statuses are sent, and what exceptions become."""

from __future__ import annotations

import ast
import fnmatch
import re
from functools import partial
from types import FunctionType, MethodType, ModuleType
from typing import TYPE_CHECKING, Any

import flask
from starlette.exceptions import HTTPException as StarletteHTTPException
from starlette.responses import Response as StarletteResponse
from werkzeug.exceptions import HTTPException
from werkzeug.routing import RequestRedirect
from werkzeug.wrappers import Response

from gateway.guards import source
from gateway.guards.attributes import bases_of
from gateway.guards.base import derived, written
from gateway.guards.calls import Calls
from gateway.guards.known import REFUSALS, is_harmless, is_login, is_of_python
from gateway.guards.packages import is_free_of_web
from gateway.guards.values import (
    ANY_DATA,
    ANYTHING,
    DATA,
    ITS_STATUS,
    MODULE,
    NOTHING,
    REPORTED,
    ROUTE_DATA,
    SAME,
    Bag,
    Bound,
    Items,
    Known,
    Lib,
    Local,
    Made,
    Routed,
    Super,
    Text,
    is_unknown,
    joined,
    known,
    only,
    routed,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from gateway.guards.frame import Frame, Outcome
    from gateway.guards.values import Value, Values

_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_LENGTHS = (2, 3)
#: How many expressions are read for an error handler.
_OF_A_HANDLER = 2_000
#: How signs begin that are about what is answered.
_OF_AN_ANSWER = ("answers ", "returns ", "sets the status ", "redirects")
_STATUS_WORDS = ("status", "status_code", "code", "http_status_code", "error_status_code")
#: Exceptions under which every refusal can be caught.
_GENERIC = (Exception, BaseException, object, HTTPException, StarletteHTTPException)


class Answers(Calls):
    """The part that knows statuses, redirects and exceptions."""

    # -- statuses --------------------------------------------------------------------------------

    def status(self, values: Values, frame: Frame, node: ast.AST, how: str) -> None:
        """Read a status that is sent; `how` tells it, `{}` stands for the code."""
        for each in values:
            code = code_of(each)
            if (
                code is None
                and each not in (ITS_STATUS, REPORTED)
                and not (isinstance(each, Known) and each.value is None)
            ):
                self.say(frame, "perhaps", how.format("a status that can't be read"), node)
            elif code in REFUSALS:
                self.say(frame, "refuses", how.format(code), node)
            elif code in _REDIRECTS and (frame.branch or len(values) > 1):
                self.say(frame, "perhaps", how.format(code), node)

    def started(self, args: tuple[Values, ...], frame: Frame, node: ast.AST) -> None:
        """Read `start_response(status, headers)`."""
        self.status(args[0] if args else ANYTHING, frame, node, "answers {}")

    def set_status(
        self, owner: Value, kind: Any, values: Values, frame: Frame, node: ast.AST
    ) -> None:
        """Read `response.status_code = value`; of anything else a status is no matter."""
        is_answer = kind is None or self.is_response(kind) or issubclass(kind, HTTPException)
        if isinstance(owner, Bag | Items) or not is_answer:
            return
        if kind is not None and issubclass(kind, BaseException):
            return  # read where it is raised
        self.status(values, frame, node, "sets the status {}")

    def is_response(self, kind: type) -> bool:
        """Tell whether a class is of answers."""
        return issubclass(kind, Response | StarletteResponse) or kind.__name__.endswith("Response")

    def responds(
        self,
        kind: type,
        args: tuple[Values, ...],
        kwargs: dict[str, Values],
        frame: Frame,
        node: ast.AST,
    ) -> None:
        """Read the making of a response."""
        given = [kwargs[name] for name in ("status", "status_code") if name in kwargs]
        given += [args[1]] if len(args) > 1 else []
        for values in given:
            self.status(values, frame, node, "answers {}")
        if not given:
            default = source.static(kind, "default_status")
            if isinstance(default, int | str):
                self.status(frozenset({Known(default)}), frame, node, "answers {}")
        if "Redirect" in kind.__name__:
            target = kwargs.get("url", args[0] if args else NOTHING)
            self.redirects(target, frame, node)
        self._handed(args, kwargs, frame, node)

    def redirects(self, target: Values, frame: Frame, node: ast.AST) -> None:
        """Read a redirect: to a login page it refuses, elsewhere it may."""
        texts = [
            each.parts if isinstance(each, Text) else str(each.value)
            for each in target
            if isinstance(each, Text) or (isinstance(each, Known) and type(each.value) is str)
        ]
        login = next((text for text in texts if self._is_login(text)), None)
        if login is not None:
            self.say(frame, "refuses", f"redirects to {login}", node)
        elif frame.branch > frame.in_order or not frame.answers:
            self.say(frame, "perhaps", "redirects", node)

    def _is_login(self, text: str) -> bool:
        manager = source.plain_dict(self.app).get("login_manager") if self.app else None
        held = source.plain_dict(manager)
        views = [held.get("login_view"), *dict(held.get("blueprint_login_views") or {}).values()]
        return is_login(text) or text in [each for each in views if each]

    def answer(  # noqa: C901, PLR0912 - a table
        self, values: Values, frame: Frame, node: ast.AST
    ) -> None:
        """Read what a view or hook returns."""
        for each in values:
            if isinstance(each, Items) and each.exact and len(each.items) in _LENGTHS:
                self.answer(each.items[0], frame, node)
                second = each.items[1]
                if any(isinstance(one, Bag | Items) for one in second):
                    continue  # headers
                if all(
                    isinstance(one, Known) and type(one.value) in (dict, list) for one in second
                ):
                    continue
                self.status(second, frame, node, "returns {}")
            elif isinstance(each, Made) and issubclass(each.kind, HTTPException):
                self.thrown(each, frame, node)
            elif isinstance(each, Made) and issubclass(each.kind, Response):
                called = source.static(each.kind, "__call__")
                if self.is_followed(called):
                    self.doubt(frame, node)
            elif (
                isinstance(each, Made)
                and not self.native
                and not issubclass(each.kind, BaseException)
            ):
                # Flask takes what can be called for a WSGI app.
                self.special(each, ("__call__",), frame, node)
            elif isinstance(each, Known) and isinstance(each.value, HTTPException):
                self.thrown(each, frame, node)
            elif isinstance(each, Known) and isinstance(each.value, Response):
                self.status(frozenset({Known(each.value.status_code)}), frame, node, "answers {}")
            elif isinstance(each, Local | Bound) or (
                isinstance(each, Known) and isinstance(each.value, FunctionType)
            ):
                self.doubt(frame, node, "is called by Flask")
            elif is_unknown(each) and not self.native:
                self.say(frame, "perhaps", f"returns {_what(node)}, which can't be read", node)
            elif each is ITS_STATUS:
                continue

    # -- exceptions ------------------------------------------------------------------------------

    def aborts(
        self, args: tuple[Values, ...], kwargs: dict[str, Values], frame: Frame, node: ast.AST
    ) -> Values:
        """Read `abort(…)`, of whatever library."""
        name = written(node.func if isinstance(node, ast.Call) else node)
        name = name.removesuffix("()")
        named = [kwargs[each] for each in _STATUS_WORDS if each in kwargs]
        values = named[0] if named else args[0] if args else ANYTHING
        for each in values:
            code = code_of(each)
            if code in REFUSALS:
                self.say(frame, "refuses", f"calls {name}({code})", node)
            elif code is not None:
                self._handled(code, None, frame, node)
            elif isinstance(each, Made) and issubclass(each.kind, BaseException | Response):
                if issubclass(each.kind, BaseException):
                    self.thrown(each, frame, node)
            elif isinstance(each, Known) and isinstance(each.value, type):
                self.thrown(each, frame, node)
            elif each is not REPORTED:
                self.say(frame, "perhaps", f"calls {name} with a status that can't be read", node)
        return NOTHING

    def raised(self, node: ast.Raise, frame: Frame) -> None:
        """Read `raise`."""
        if node.exc is None:
            return
        for each in self.ev(node.exc, frame):
            self.thrown(each, frame, node)

    def thrown(  # noqa: C901, PLR0912 - a table
        self, value: Value, frame: Frame, node: ast.AST
    ) -> None:
        """Read an exception that is raised."""
        if isinstance(value, Known) and isinstance(value.value, type):
            made = self.construct(value.value, (), {}, frame, node, NOTHING)
            for each in made:
                if isinstance(each, Made):
                    self.thrown(each, frame, node)
            return
        if value is REPORTED:
            return
        if isinstance(value, Made):
            kind, fields = value.kind, value.fields
        elif isinstance(value, Known) and isinstance(value.value, BaseException):
            kind = type(value.value)
            fields = {
                key: frozenset({Known(held)})
                for key, held in source.plain_dict(value.value).items()
            }
        else:
            self.doubt(frame, node, "can't be followed")
            return
        if issubclass(kind, RequestRedirect):
            self.redirects(fields.get("args", NOTHING), frame, node)
            return
        if issubclass(kind, HTTPException | StarletteHTTPException):
            codes = self._codes(kind, fields)
            for each in codes:
                code = code_of(each)
                if code in REFUSALS:
                    named = kind.__name__ if kind is not HTTPException else "HTTPException"
                    shown = f"{named}({code})" if "HTTP" in named else named
                    self.say(frame, "refuses", f"raises {shown}", node)
                elif code is None and each is not REPORTED:
                    what = f"raises {kind.__name__} with a status that can't be read"
                    self.say(frame, "perhaps", what, node)
                else:
                    if code in _REDIRECTS:
                        self.redirects(self._targets(fields), frame, node)
                    self._handled(code or 0, kind, frame, node)
            respond = source.static(kind, "get_response")
            if self.is_followed(respond):
                me: Values = frozenset({value})
                self.take(frame, self.follow(Known(respond), (me,), {}, ANYTHING, answers=True))
            return
        self._handled(0, kind, frame, node, value)

    def refuses_as_it_is(self, value: Made) -> bool:
        """Tell whether an exception stands for 401, 403 or 407."""
        if not issubclass(value.kind, HTTPException):
            return False
        return any(code_of(each) in REFUSALS for each in self._codes(value.kind, value.fields))

    @staticmethod
    def _targets(fields: dict[str, Values]) -> Values:
        """Return where an exception that redirects may lead to: whatever it was given."""
        own = joined(*fields.values()) if fields else ANYTHING
        leads = (each.items[0] for each in own if isinstance(each, Items) and each.items)
        return joined(own, *leads)

    @staticmethod
    def _codes(kind: type, fields: dict[str, Values]) -> Values:
        if issubclass(kind, StarletteHTTPException):
            return fields.get("status_code", ANYTHING)
        if "response" in fields and known(fields["response"]) != [None]:
            return NOTHING  # read where the response was made
        found = fields.get("code", NOTHING)
        fixed = source.static(kind, "code")
        if fixed is None or isinstance(fixed, property):
            return found or ANYTHING
        return joined(found, frozenset({Known(fixed)}))

    def _handled(
        self, code: int, kind: type | None, frame: Frame, node: ast.AST, value: Value | None = None
    ) -> None:
        """Read the error handlers that make an answer of an exception."""
        if self.handling:
            return  # Flask hands no error handler what another one has raised: that is a 500
        error = value if value is not None else Made(kind or HTTPException)
        if value is None and isinstance(error, Made):
            error.fields["code"] = frozenset({Known(code)})
        given: Values = frozenset({self._alike(error)})
        found = False
        for registered, handler in self.handlers():
            own = isinstance(registered, type)
            if own and (kind is None or registered not in kind.__mro__):
                continue
            if not own and registered != code:
                continue
            if registered in _GENERIC and value is None:
                continue
            found = True
            outcome = self._handles(handler, given)
            # What a handler of 404 pages does besides is no matter here.
            sure = value is not None
            kept = [sign for sign in outcome.findings if sure or sign.does == "refuses"]
            frame.codes |= outcome.codes
            frame.routed |= outcome.routed
            frame.named |= outcome.named
            for sign in kept:
                what = f"{sign.what} in {source.full_name(handler)}"
                self.say(frame, sign.does, what, node)
        if not found and self.any_raise and value is not None and kind is not None:
            # A 500 is no refusal, but nobody gets in either.
            self.say(frame, "perhaps", f"raises {kind.__name__}", node)

    def _handles(self, handler: Any, given: Values) -> Outcome:
        """Read an error handler: however much is left, for many views come to the same one."""
        self.handling = True
        before, limit = self.expressions, self.limit
        self.limit = max(limit, before + _OF_A_HANDLER)
        try:
            return self.follow(Known(handler), (given,), {}, frozenset({Lib()}), answers=True)
        finally:
            self.handling = False
            self.limit = limit + self.expressions - before

    def _alike(self, error: Value) -> Value:
        """Return the one exception that stands for all of its class that say the same of statuses.

        So that a handler isn't read again for each text that an exception may have.
        """
        if not isinstance(error, Made):
            return error
        fields = {name: _without_texts(each) for name, each in error.fields.items()}
        key = (error.kind, tuple(sorted(fields.items(), key=lambda each: each[0])))
        return self.made.setdefault(key, Made(error.kind, fields))

    def may_refuse(self, module: str) -> bool:
        """Tell whether a library's code may turn a caller away, by what it raises or answers."""
        root = module.partition(".")[0]
        if is_of_python(root):
            return not is_harmless(module)
        if root in self.suspects:
            return True
        if is_harmless(module):
            return False
        return "builtins" in self.suspects or not is_free_of_web(module)

    @property
    def suspects(self) -> frozenset[str]:
        """The packages of whose exceptions an error handler makes a refusal, or may do so."""
        if self._suspects is None:
            self._suspects = frozenset()  # for what the handlers call themselves
            self._suspects = frozenset(
                source.home(registered).partition(".")[0]
                for registered, handler in self.handlers()
                if isinstance(registered, type)
                and not issubclass(registered, HTTPException | StarletteHTTPException)
                and not source.is_own(registered)
                and self.is_followed(handler)
                and any(
                    sign.does == "refuses" or sign.what.startswith(_OF_AN_ANSWER)
                    for sign in self._handles(handler, frozenset({Made(registered)})).findings
                )
            )
        return self._suspects

    _suspects: frozenset[str] | None = None

    def handlers(self) -> Iterator[tuple[Any, Any]]:
        """Yield the app's error handlers, by status or exception class, each of them once."""
        seen = set()
        for registered, handler in self._registered():
            if (registered, id(handler)) not in seen:
                seen.add((registered, id(handler)))
                yield registered, handler

    def _registered(self) -> Iterator[tuple[Any, Any]]:
        spec = getattr(self.app, "error_handler_spec", None)
        for by_code in (spec or {}).values():
            for code, by_class in by_code.items():
                for kind, handler in by_class.items():
                    yield (kind if code is None else code), handler
                    if code is not None:
                        yield kind, handler
        if spec is None:
            yield from dict(getattr(self.app, "exception_handlers", None) or {}).items()

    def classes(self, values: Values) -> list[type] | None:
        """Return the classes that an expression names; None where it isn't known."""
        found: list[type] = []
        for each in values:
            if isinstance(each, Known) and isinstance(each.value, type):
                found.append(each.value)
            elif isinstance(each, Known) and isinstance(each.value, tuple):
                found.extend(one for one in each.value if isinstance(one, type))
            elif isinstance(each, Items):
                for part in each.items:
                    inner = self.classes(part)
                    if inner is None:
                        return None
                    found.extend(inner)
            else:
                return None
        return found

    @staticmethod
    def catches_refusals(kind: type) -> bool:
        """Tell whether `except kind` may take what refuses."""
        if kind in _GENERIC:
            return True
        return issubclass(kind, HTTPException | StarletteHTTPException)

    # -- calls with a meaning of their own -------------------------------------------------------

    def special_calls(self) -> dict[str, Callable[..., Values]]:
        """Return the readers of functions that are known by name."""
        if self._special is None:
            self._special = {
                "flask.helpers.redirect": self._redirect,
                "werkzeug.utils.redirect": self._redirect,
                "flask.app.Flask.redirect": self._app_redirect,
                "flask.sansio.app.App.redirect": self._app_redirect,
                "flask.helpers.url_for": self._url_for,
                "flask.helpers.make_response": self._make_response,
                "flask.app.Flask.make_response": self._app_make_response,
                "flask.json.jsonify": self._jsonify,
                "flask.app.Flask.ensure_sync": self._second,
                "flask.app.Flask.wsgi_app": self._behind,
                "flask.app.Flask.__call__": self._behind,
                "flask.app.Flask.full_dispatch_request": self._behind,
                "flask.app.Flask.dispatch_request": self._behind,
                "flask.app.Flask.preprocess_request": self._behind,
                "asgiref.sync.async_to_sync": self._first,
                "flask.views.MethodView.dispatch_request": self._dispatched,
                "flask_restx.resource.Resource.dispatch_request": self._dispatched,
                "flask_restful.Resource.dispatch_request": self._dispatched,
                "builtins.type.mro": self._bases,
                "importlib.import_module": self._imported,
                "builtins.getattr": self._getattr,
                "builtins.setattr": self._setattr,
                "builtins.isinstance": self._isinstance,
                "builtins.super": self._super,
                "builtins.callable": self._callable,
                "builtins.hasattr": self._hasattr,
                "builtins.any": partial(self._any, True),
                "builtins.all": partial(self._any, False),
                "re.match": partial(self._matched, re.match),
                "re.search": partial(self._matched, re.search),
                "re.fullmatch": partial(self._matched, re.fullmatch),
                "re.Pattern.match": partial(self._matched, re.match),
                "re.Pattern.search": partial(self._matched, re.search),
                "re.Pattern.fullmatch": partial(self._matched, re.fullmatch),
                "fnmatch.fnmatch": self._globbed,
                "fnmatch.fnmatchcase": self._globbed,
                "functools.wraps": self._same,
                "functools.partial": self._partial,
                "functools.lru_cache": self._cached,
                "functools.cache": self._first,
                "contextlib.contextmanager": self._first,
                "contextlib.asynccontextmanager": self._first,
                "typing.cast": self._second,
            }
        return self._special

    def _redirect(
        self,
        args: tuple[Values, ...],
        kwargs: dict[str, Values],
        frame: Frame,
        node: ast.AST,
        rest: Values,  # noqa: ARG002
    ) -> Values:
        self.redirects(args[0] if args else kwargs.get("location", ANYTHING), frame, node)
        return frozenset({self.make(flask.Response, "redirect")})

    def _url_for(self, args: Any, kwargs: Any, frame: Frame, node: ast.AST, rest: Any) -> Values:  # noqa: ARG002
        values = args[0] if args else kwargs.get("endpoint", ANYTHING)
        names = known(values)
        if names is not None and all(isinstance(each, str) for each in names):
            return frozenset(Text(each) for each in names)
        return derived(values)

    def _make_response(
        self, args: Any, kwargs: Any, frame: Frame, node: ast.AST, rest: Any
    ) -> Values:
        whole: Values = frozenset({Items(tuple(args), exact=True)}) if len(args) > 1 else NOTHING
        self.answer(whole or (args[0] if args else NOTHING), frame, node)
        if not whole and args:
            return frozenset({self.make(flask.Response, "made")})
        self._handed(args, kwargs, frame, node, rest)
        return frozenset({self.make(flask.Response, "made")})

    def _app_make_response(
        self, args: Any, kwargs: Any, frame: Frame, node: ast.AST, rest: Any
    ) -> Values:
        return self._make_response(args[1:], kwargs, frame, node, rest)

    def _jsonify(self, args: Any, kwargs: Any, frame: Frame, node: ast.AST, rest: Any) -> Values:
        self._handed(args, kwargs, frame, node, rest)
        return frozenset({self.make(flask.Response, "made")})

    def _getattr(self, args: Any, kwargs: Any, frame: Frame, node: ast.AST, rest: Any) -> Values:  # noqa: ARG002
        names = known(args[1]) if len(args) > 1 else None
        if names is None or not all(isinstance(each, str) for each in names):
            inert = args and all(_runs_nothing(each) for each in args[0])
            return ANYTHING if inert or not args else self.doubt(frame, node)
        owners = [each for each in args[0] if each is not REPORTED]
        found: list[Values] = []
        for each in owners:
            for name in names:
                if self._lacks(each, name) and len(args) > 2:  # noqa: PLR2004
                    found.append(args[2])
                else:
                    found.append(self.attribute(each, name, frame, node))
                    has = isinstance(each, Known) and isinstance(each.value, FunctionType)
                    found += [] if has else args[2:]
        marked = ROUTE_DATA in derived(args[0])
        plain = [known(each) for each in found]
        if marked and all(each is not None for each in plain):
            return frozenset(routed(each) for values in found for each in values)
        return joined(*found, frozenset({ROUTE_DATA}) if marked else NOTHING)

    @staticmethod
    def _lacks(value: Value, name: str) -> bool:
        """Tell whether a function certainly has no such attribute."""
        return (
            isinstance(value, Known)
            and isinstance(value.value, FunctionType)
            and name not in source.plain_dict(value.value)
            and not name.startswith("__")
        )

    def _hasattr(self, args: Any, kwargs: Any, frame: Frame, node: ast.AST, rest: Any) -> Values:  # noqa: ARG002
        names = known(args[1]) if len(args) > 1 else None
        owner = only(args[0]) if args else None
        if names and isinstance(owner, Known) and isinstance(owner.value, FunctionType):
            return frozenset({Routed(not self._lacks(owner, str(names[0])))})
        return derived(*args) & {DATA, ROUTE_DATA}

    def _any(
        self, wanted: bool, args: Any, kwargs: Any, frame: Frame, node: ast.AST, rest: Any
    ) -> Values:
        over = only(args[0]) if len(args) == 1 else None
        if not isinstance(over, Items) or not over.exact:
            self._handed(args, kwargs, frame, node, rest)
            return derived(*args, rest) & {DATA, ROUTE_DATA}
        told = [self.truth(each, frame) for each in over.items]
        if (True, False) in told if wanted else (False, True) in told:
            return frozenset({Known(wanted)})
        if all(yes != no for yes, no in told):
            return frozenset({Known(not wanted)})
        torn = any(self.is_torn(each) for each in over.items)
        return frozenset({ROUTE_DATA}) if torn else ANY_DATA

    def _matched(
        self, match: Any, args: Any, kwargs: Any, frame: Frame, node: ast.AST, rest: Any
    ) -> Values:
        """Read a regular expression that is asked of the route's path."""
        self._handed(args, kwargs, frame, node, rest)
        pattern, text = (only(args[0]), only(args[1])) if len(args) > 1 else (None, None)
        if kwargs or not isinstance(pattern, Known) or not isinstance(text, Routed):
            return derived(*args)
        if not isinstance(pattern.value, str | re.Pattern) or type(text.value) is not str:
            return derived(*args)
        try:
            found = match(pattern.value, text.value)
        except (re.error, TypeError):
            return ANY_DATA
        return frozenset({Routed(None) if found is None else self.make(re.Match, node)})

    def _globbed(self, args: Any, kwargs: Any, frame: Frame, node: ast.AST, rest: Any) -> Values:  # noqa: ARG002
        text, pattern = (known(args[0]), known(args[1])) if len(args) > 1 else (None, None)
        if text and pattern and len(text) == len(pattern) == 1 and isinstance(text[0], str):
            return frozenset({Routed(fnmatch.fnmatch(text[0], str(pattern[0])))})
        return derived(*args)

    def _bases(self, args: Any, kwargs: Any, frame: Frame, node: ast.AST, rest: Any) -> Values:  # noqa: ARG002
        kinds = known(args[0]) if args else None
        if kinds is None or not all(isinstance(each, type) for each in kinds):
            return ANYTHING
        return joined(*(bases_of(each) for each in kinds))

    def _imported(self, args: Any, kwargs: Any, frame: Frame, node: ast.AST, rest: Any) -> Values:  # noqa: ARG002
        """Read `import_module(…)`: a module's own code runs once, for whoever comes first."""
        return frozenset({MODULE})

    def _setattr(self, args: Any, kwargs: Any, frame: Frame, node: ast.AST, rest: Any) -> Values:  # noqa: ARG002
        names = known(args[1]) if len(args) > 2 else None  # noqa: PLR2004
        if names is None:
            return self.doubt(frame, node)
        for each in args[0]:
            for name in names:
                self.set_attribute(each, str(name), args[2], frame, node)
        return frozenset({Known(None)})

    def _isinstance(self, args: Any, kwargs: Any, frame: Frame, node: ast.AST, rest: Any) -> Values:  # noqa: ARG002
        kinds = self.classes_of(args[0]) if args else None
        wanted = self.classes(args[1]) if len(args) > 1 else None
        if kinds and wanted and all(type(each) is type for each in wanted):
            return frozenset(Known(any(each in kind.__mro__ for each in wanted)) for kind in kinds)
        return derived(args[0]) & {DATA, ROUTE_DATA} if args else ANY_DATA

    def _super(self, args: Any, kwargs: Any, frame: Frame, node: ast.AST, rest: Any) -> Values:  # noqa: ARG002
        below = known(args[0]) if args else None
        held = frame.local("__class__")
        below = below or (known(held) if held else None)
        me = args[1] if len(args) > 1 else frame.me
        if not below or not isinstance(below[0], type):
            return self.doubt(frame, node)
        return frozenset(Super(each, below[0]) for each in me) or self.doubt(frame, node)

    def _same(self, args: Any, kwargs: Any, frame: Frame, node: ast.AST, rest: Any) -> Values:  # noqa: ARG002
        return frozenset({SAME})

    def rendered(self, frame: Frame, node: ast.AST) -> None:
        """Read what templates may call; they aren't read themselves.

        Those are the app's context processors and what these give, its globals, filters and tests.
        """
        spec = getattr(self.app, "template_context_processors", {})
        for name in (None, *self.routes(frame).blueprints):
            for processor in filter(source.is_own, spec.get(name, ())):
                given = self.call(Known(processor), (), {}, frame, node)
                for value in [each for bag in given if isinstance(bag, Bag) for each in bag.held]:
                    if isinstance(value, Local | Bound) or _is_own_function(value):
                        self.call(value, (), {}, frame, node, ANY_DATA)
        # Made by the first who asks for it, and nobody has then given it anything.
        environment = source.plain_dict(self.app).get("jinja_env")
        for kind in ("globals", "filters", "tests"):
            for value in map(Known, list(getattr(environment, kind, {}).values())):
                if _is_own_function(value):
                    self.call(value, (), {}, frame, node, ANY_DATA)

    def _second(self, args: Any, kwargs: Any, frame: Frame, node: ast.AST, rest: Any) -> Values:  # noqa: ARG002
        return args[1] if len(args) > 1 else ANYTHING

    def _first(self, args: Any, kwargs: Any, frame: Frame, node: ast.AST, rest: Any) -> Values:  # noqa: ARG002
        return args[0] if args else ANYTHING

    def _partial(self, args: Any, kwargs: Any, frame: Frame, node: ast.AST, rest: Any) -> Values:
        if not args or rest:
            return self.doubt(frame, node)
        return frozenset(Bound(each, args[1:], tuple(kwargs.items())) for each in args[0])

    def _app_redirect(
        self, args: Any, kwargs: Any, frame: Frame, node: ast.AST, rest: Any
    ) -> Values:
        return self._redirect(args[1:], kwargs, frame, node, rest)

    def _behind(self, args: Any, kwargs: Any, frame: Frame, node: ast.AST, rest: Any) -> Values:  # noqa: ARG002
        if not self.outside:
            return self.doubt(frame, node)
        self._passed_on(args[1:], frame, node)
        return frozenset({Lib()})

    def _callable(self, args: Any, kwargs: Any, frame: Frame, node: ast.AST, rest: Any) -> Values:  # noqa: ARG002
        return ANY_DATA

    def _cached(self, args: Any, kwargs: Any, frame: Frame, node: ast.AST, rest: Any) -> Values:  # noqa: ARG002
        direct = args and all(isinstance(each, Local | Bound) for each in args[0])
        return args[0] if direct else frozenset({SAME})

    def _dispatched(self, args: Any, kwargs: Any, frame: Frame, node: ast.AST, rest: Any) -> Values:
        found = []
        for each in args[0] if args else ():
            kind = each.kind if isinstance(each, Made) else None
            if kind is None:
                found.append(self.doubt(frame, node))
                continue
            values = self.by_method(each, kind, frame, node)
            found += [self.call(one, args[1:], kwargs, frame, node, rest) for one in values]
        return joined(*found)

    def by_method(self, me: Made, kind: type, frame: Frame, node: ast.AST) -> Values:
        """Return the method of a class of views that answers the route's HTTP method."""
        asked = self.routes(frame, "method").method.lower()
        names = [asked] + (["get"] if asked == "head" else [])
        if not asked:
            names = ["get", "post", "put", "patch", "delete", "head", "options"]
        found: list[Values] = []
        for name in names:
            method = source.static(kind, name)
            if method is None:
                continue
            values = self.attribute(me, name, frame, node)
            decorators = source.static(kind, "method_decorators")
            if isinstance(decorators, dict):
                decorators = [*decorators.get(name, ()), *decorators.get("*", ())]
            for each in decorators or ():
                given = (values,)
                values = self.call(Known(each), given, {}, frame, node)
            found.append(values)
            if asked:
                break
        return joined(*found)

    _special: dict[str, Callable[..., Values]] | None = None


def code_of(value: Value) -> int | None:
    """Read a status: 403, HTTPStatus.FORBIDDEN, "403 FORBIDDEN"; None where it can't be read."""
    if not isinstance(value, Known):
        return None
    held = value.value
    if isinstance(held, int) and not isinstance(held, bool):
        return int.__index__(held)
    if isinstance(held, bytes):
        held = held.decode("latin-1")
    if type(held) is str and held[:3].isdigit():
        return int(held[:3])
    return None


def _is_own_function(value: Value) -> bool:
    if not isinstance(value, Known):
        return False
    held = value.value
    function = held.__func__ if type(held) is MethodType else held
    return type(function) is FunctionType and source.is_own(function)


def _without_texts(values: Values) -> Values:
    """Return values with any text in the place of those that are no status."""
    found: set[Value] = set()
    for each in values:
        if isinstance(each, Text):
            found.add(DATA)
        elif isinstance(each, Items):
            found.add(Items(tuple(map(_without_texts, each.items)), each.exact))
        elif isinstance(each, Known) and type(each.value) is str and code_of(each) is None:
            found.add(DATA)
        else:
            found.add(each)
    return frozenset(found)


def _runs_nothing(value: Value) -> bool:
    """Tell whether looking up any attribute of a value runs no code: a module's."""
    return value is MODULE or (isinstance(value, Known) and isinstance(value.value, ModuleType))


def _what(node: ast.AST) -> str:
    value = getattr(node, "value", None)
    return written(value) if isinstance(value, ast.AST) else "something"
