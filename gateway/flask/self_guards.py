"""Does a legacy view guard itself? What its decorators and its body do is lost when it moves.

Flask's `before_request` functions are inherited by a native handler; a decorator on the view, or a
check inside of it, is not. So the evidence is listed, and a rule that moves such a route has to
say `auth:`. A false alarm costs one line of config, a miss could open a route: whatever wraps a
view counts, unless it is known to be harmless. User code is read, never run.
"""

from __future__ import annotations

import ast
import inspect
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import CodeType, FunctionType, MethodType
from typing import TYPE_CHECKING, Any

from gateway.flask.reading import (
    code_of,
    globals_of,
    is_function,
    module_of,
    run_by,
    static,
    tree_of,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

#: How many helpers deep a body is followed.
MAX_DEPTH = 3
#: Wrappers and objects of the frameworks' own that guard nothing.
_HARMLESS = ("flask.", "werkzeug.", "fastapi.", "gateway.flask.")
_NAMES = {
    "current_user": "reads current_user",
    "session": "reads the session",
    "current_identity": "reads current_identity",
    "verify_jwt_in_request": "verifies a JWT",
    "get_jwt": "reads a JWT",
    "get_jwt_identity": "reads a JWT",
    "current_token": "reads current_token",
    "check_password_hash": "checks a password",
    "compare_digest": "compares a secret",
    "login_required": "uses login_required",
    "Unauthorized": "raises Unauthorized",
    "Forbidden": "raises Forbidden",
}
_ATTRIBUTES = {
    "authorization": "reads request.authorization",
    "is_authenticated": "reads is_authenticated",
    "login_manager": "uses the login manager",
    "compare_digest": "compares a secret",
}
_SECRET_HEADERS = ("authorization", "token", "api-key", "apikey", "secret", "signature", "cookie")
_REFUSALS = frozenset({401, 403})
_STATUS_LINES = ("401", "403")


@dataclass(frozen=True, slots=True)
class Evidence:
    """One sign that a view guards itself: what it does, and where (`views.py:12`, or empty).

    `refuses`: it turns callers away. Without it the sign may be of something else: a session is
    read for a cart, too.
    """

    what: str
    where: str = ""
    refuses: bool = False

    def __str__(self) -> str:
        """Render as `calls abort(403) (views.py:12)`."""
        return f"{self.what} ({self.where})" if self.where else self.what


def evidence(view: Callable[..., Any], method: str) -> tuple[Evidence, ...]:
    """List what may guard `view` for one HTTP method; empty where nothing does. Never raises."""
    found: dict[str, Evidence] = {}
    for each in _of_view(view, method):
        found.setdefault(each.what, each)
    return tuple(found.values())


def refuses(function: Callable[..., Any]) -> bool:
    """Tell whether a hook, dependency or WSGI callable has code that turns callers away."""
    return any(each.refuses for each in evidence(run_by(function), ""))


def _of_view(view: Any, method: str) -> Iterator[Evidence]:
    inner = view
    seen: set[int] = set()
    while id(inner) not in seen:
        seen.add(id(inner))
        cls = static(inner, "view_class")
        # functools.wraps copies it to whatever decorates the view, which comes first.
        if isinstance(cls, type) and _is_frameworks(inner):
            yield from _of_class(cls, method)
            return
        wrapped = _wrapped(inner)
        if wrapped is None:
            break
        yield from _of_wrapper(inner)
        inner = wrapped
    yield from _of_function(inner, {}, 0)


def _of_class(cls: type, method: str) -> Iterator[Evidence]:
    for name in ("decorators", "method_decorators"):
        decorators = static(cls, name)
        if isinstance(decorators, dict):
            decorators = [*decorators.get(method.lower(), ()), *decorators.get("*", ())]
        for decorator in decorators or ():
            what = f"{cls.__qualname__}.{name} has {_name(decorator)}"
            yield Evidence(what, _place(decorator), _sends_away(decorator))
    names = [method.lower()] + (["get"] if method == "HEAD" else [])
    for name in [*names, "dispatch_request"]:
        handler = static(cls, name)
        if handler is None or _is_frameworks(handler):
            continue
        while (wrapped := _wrapped(handler)) is not None:
            yield from _of_wrapper(handler)
            handler = wrapped
        yield from _of_function(handler, {"self": cls}, 0)


def _wrapped(function: Any) -> Any:
    """Return what `function` wraps: by functools.wraps, partial, or a cell of its closure."""
    if isinstance(function, partial):
        return function.func
    if isinstance(function, MethodType):
        return function.__func__
    wrapped = static(function, "__wrapped__")
    if wrapped is not None:
        return wrapped
    if not isinstance(function, FunctionType):
        return _held(function)
    for cell in function.__closure__ or ():
        try:
            content = cell.cell_contents
        except ValueError:
            continue
        if is_function(content) and not _is_frameworks(content):
            return content
        if isinstance(content, type) or _is_frameworks(content):
            continue
        if _held(content) is not None:
            return content
    return None


def _held(decorator: Any) -> Any:
    """Return the function that a decorator which is an object keeps in an attribute."""
    if isinstance(decorator, FunctionType) or static(type(decorator), "__call__") is None:
        return None
    try:
        held = object.__getattribute__(decorator, "__dict__")
    except AttributeError:
        return None
    return next((value for value in held.values() if is_function(value)), None)


def _of_wrapper(wrapper: Any) -> Iterator[Evidence]:
    if not (_is_frameworks(wrapper) or isinstance(wrapper, (partial, MethodType))):
        what = f"is decorated by {_name(wrapper)}"
        yield Evidence(what, _place(wrapper), _sends_away(wrapper))


def _sends_away(decorator: Any) -> bool:
    """Tell by its name or its body whether a decorator refuses callers."""
    if "required" in _name(decorator):
        return True
    return any(each.refuses for each in _of_function(decorator, {}, 0))


def _is_frameworks(function: Any) -> bool:
    return f"{module_of(function, code_of(function))}.".startswith(_HARMLESS)


# -- bodies --------------------------------------------------------------------------------------


def _of_function(function: Any, known: dict[str, type], depth: int) -> Iterator[Evidence]:
    code = code_of(function)
    if code is None or depth >= MAX_DEPTH or _is_frameworks(function):
        return
    names = globals_of(function)
    tree = tree_of(function)
    if tree is None:
        for name in _all_names(code):
            what = _NAMES.get(name) or _ATTRIBUTES.get(name)
            if what is not None:
                place = f"{Path(code.co_filename).name}:{code.co_firstlineno}"
                yield Evidence(what, place, _is_refusal(what))
        return
    first = code.co_firstlineno
    # A database's session is handed in under this name; Flask's never is.
    given = "session" in code.co_varnames[: code.co_argcount + code.co_kwonlyargcount]
    for node in ast.walk(tree):
        if given and isinstance(node, ast.Name) and node.id == "session":
            continue
        sign = _sign(node, names)
        if sign is not None:
            line = first + getattr(node, "lineno", 1) - 1
            yield Evidence(sign, f"{Path(code.co_filename).name}:{line}", _is_refusal(sign))
        if isinstance(node, ast.Call):
            helper = _helper(node.func, names, known)
            if helper is not None and helper is not function:
                yield from _of_function(helper, known, depth + 1)


def _is_refusal(sign: str) -> bool:
    return not sign.startswith("reads ")


def _sign(node: ast.AST, names: dict[str, Any]) -> str | None:
    if isinstance(node, ast.Name) and node.id in _NAMES:
        return _NAMES[node.id]
    if isinstance(node, ast.Attribute):
        if node.attr in _ATTRIBUTES:
            return _ATTRIBUTES[node.attr]
        if node.attr in _NAMES and _base(node) in ("flask", "flask_login", "flask_jwt_extended"):
            return _NAMES[node.attr]
    if isinstance(node, ast.Call):
        return _sign_of_call(node, names)
    if isinstance(node, ast.Return) and isinstance(node.value, ast.Tuple):
        for element in node.value.elts:
            if isinstance(element, ast.Constant) and element.value in _REFUSALS:
                return f"returns {element.value}"
    if isinstance(node, ast.Subscript) and _is_headers(node.value):
        return _sign_of_header(node.slice)
    return None


def _sign_of_call(node: ast.Call, names: dict[str, Any]) -> str | None:
    called = node.func
    name = called.id if isinstance(called, ast.Name) else getattr(called, "attr", "")
    first = node.args[0] if node.args else None
    if isinstance(first, ast.Name):
        value = names.get(first.id)
    else:
        value = first.value if isinstance(first, ast.Constant) else None
    if "abort" in name and value in _REFUSALS:
        return f"calls {name}({value})"
    if name == "HTTPException":
        status = next((_status(k.value) for k in node.keywords if k.arg == "status_code"), value)
        status = status or (_status(first) if first is not None else None)
        return f"raises HTTPException({status})" if status in _REFUSALS else None
    if name == "start_response" and str(value).startswith(_STATUS_LINES):
        return f"answers {str(value)[:3]}"
    if name in ("get", "getlist") and isinstance(called, ast.Attribute) and first is not None:
        return _sign_of_header(first) if _is_headers(called.value) else None
    if name in ("make_response", "jsonify") or name.endswith("Response"):
        named = [k.value for k in node.keywords if k.arg in ("status", "code", "status_code")]
        for each in [*node.args[1:2], *named]:
            if _status(each) in _REFUSALS:
                return f"answers {_status(each)}"
    return None


def _status(node: ast.AST) -> Any:
    """Read a status: `401`, or Starlette's `status.HTTP_401_UNAUTHORIZED`."""
    if isinstance(node, ast.Constant):
        return node.value
    name = getattr(node, "attr", "")
    return int(name[5:8]) if name.startswith("HTTP_") and name[5:8].isdigit() else None


def _is_headers(node: ast.AST) -> bool:
    return isinstance(node, ast.Attribute) and node.attr in ("headers", "cookies")


def _sign_of_header(node: ast.AST) -> str | None:
    if not isinstance(node, ast.Constant) or not isinstance(node.value, str):
        return None
    if any(word in node.value.lower() for word in _SECRET_HEADERS):
        return f"reads the header {node.value}"
    return None


def _base(node: ast.Attribute) -> str:
    return node.value.id if isinstance(node.value, ast.Name) else ""


def _helper(called: ast.AST, names: dict[str, Any], known: dict[str, type]) -> Any:
    """Find the function that a body calls: a global, a module's attribute, or `self.method`."""
    found: Any = None
    if isinstance(called, ast.Name):
        found = names.get(called.id)
    elif isinstance(called, ast.Attribute) and isinstance(called.value, ast.Name):
        owner = known.get(called.value.id, names.get(called.value.id))
        if isinstance(owner, type) or inspect.ismodule(owner):
            found = static(owner, called.attr)
    while (wrapped := static(found, "__wrapped__")) is not None:
        found = wrapped
    if not isinstance(found, FunctionType):
        return None
    # Only the app's own helpers: a library that reads a session is not this view's guard.
    home = str(names.get("__name__", "")).partition(".")[0]
    return found if module_of(found, found.__code__).partition(".")[0] == home else None


def _all_names(code: CodeType) -> Iterator[str]:
    yield from code.co_names
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _all_names(constant)


def _name(function: Any) -> str:
    """Name a decorator by where its wrapper was written: `flask_login.utils.login_required`."""
    code = code_of(function)
    if code is None:
        kind = type(function)
        return f"{kind.__module__}.{kind.__qualname__}"
    return f"{module_of(function, code)}.{code.co_qualname.partition('.<locals>')[0]}"


def _place(function: Any) -> str:
    code = code_of(function)
    return f"{Path(code.co_filename).name}:{code.co_firstlineno}" if code is not None else ""
