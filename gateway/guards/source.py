"""User code looked at without touching it: no property, descriptor or function of it is run."""

from __future__ import annotations

import ast
import contextlib
import hashlib
import inspect
import linecache
import site
import sys
import sysconfig
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from types import (
    BuiltinFunctionType,
    ClassMethodDescriptorType,
    CodeType,
    FunctionType,
    MethodDescriptorType,
    MethodType,
    ModuleType,
    WrapperDescriptorType,
)
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

Function = ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda

#: Folders and files of installed packages that the apps are written in (`adopt`).
_adopted: set[str] = set()

_HERE = str(Path(__file__).resolve().parent.parent)
#: The demo is the one part of the gateway that is an app.
_DEMO = f"{_HERE}/demo/"
_LIBRARIES = tuple(
    dict.fromkeys(
        f"{each}/"
        for name in ("stdlib", "platstdlib", "purelib", "platlib")
        for each in [sysconfig.get_paths().get(name)]
        if each
    )
) + tuple(f"{each}/" for each in site.getsitepackages())


def static(owner: Any, name: str) -> Any:
    """Read an attribute without running a property or `__getattr__`; None where there is none."""
    if type(owner) is not type:
        return inspect.getattr_static(owner, name, None)
    # The same, without its checks for odd metaclasses and slots: it is asked a lot.
    for base in type.__dict__["__mro__"].__get__(owner):
        held = type.__dict__["__dict__"].__get__(base)
        if name in held:
            return held[name]
    return inspect.getattr_static(owner, name, None)


def plain_dict(value: object) -> dict[str, Any]:
    """Return an object's own attributes as they are; empty where it keeps none."""
    if isinstance(value, ModuleType):
        return vars(value)
    try:
        held = object.__getattribute__(value, "__dict__")
    except (AttributeError, TypeError):
        return {}
    return held if isinstance(held, dict) else {}


def cells(function: FunctionType) -> dict[str, Any]:
    """Return what a function has closed over, by name."""
    held = {}
    for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True):
        with contextlib.suppress(ValueError):
            held[name] = cell.cell_contents
    return held


def adopt(roots: Iterable[str]) -> None:
    """Count these loaded packages as the team's own, though they may be installed.

    An app that was put into an image by `pip install` lies where libraries do.
    """
    found = set()
    for root in roots:
        module = sys.modules.get(root)
        held = plain_dict(module)
        found |= {f"{Path(each).absolute()}/" for each in held.get("__path__", ())}
        if "__path__" not in held and isinstance(held.get("__file__"), str):
            found.add(str(Path(held["__file__"]).absolute()))
    if not found <= _adopted:
        _adopted.update(found)
        own_file.cache_clear()


@cache
def own_file(filename: str) -> bool:
    """Tell whether a file is the team's own: no library's, no part of Python or the gateway."""
    if filename.startswith("<"):  # made at run time, as by dataclasses and attrs
        return False
    path = str(Path(filename).absolute())
    if path.startswith((_DEMO, *_adopted)):
        return True
    if "/site-packages/" in path or "/dist-packages/" in path:
        return False
    return not path.startswith((*_LIBRARIES, f"{_HERE}/"))


def is_own(value: Any) -> bool:
    """Tell whether a function or class was written by the team."""
    if isinstance(value, FunctionType):
        return own_file(value.__code__.co_filename)
    name = home(value)
    root = name.partition(".")[0]
    if root == "builtins":
        return False
    file = plain_dict(sys.modules.get(name)).get("__file__")
    if file is None:
        # A module that was run but isn't registered: nothing says that a library brought it.
        return root not in sys.stdlib_module_names
    return own_file(str(file))


BUILTIN = (
    BuiltinFunctionType,
    MethodDescriptorType,
    ClassMethodDescriptorType,
    WrapperDescriptorType,
)


def home(value: Any) -> str:
    """Name the module that a function's code or a class is from; wraps() copies `__module__`."""
    if isinstance(value, FunctionType):
        return str(value.__globals__.get("__name__", ""))
    if isinstance(value, BUILTIN):
        owner = getattr(value, "__objclass__", None) or getattr(value, "__self__", None)
        if isinstance(owner, type):
            return home(owner)
        return str(getattr(value, "__module__", None) or home(type(owner)))
    kind = value if isinstance(value, type) else type(value)
    return str(type.__dict__["__module__"].__get__(kind))


def qualname(value: Any) -> str:
    """Name a function by where its code was written, without `<locals>`; others by their class."""
    if isinstance(value, FunctionType):
        return value.__code__.co_qualname.partition(".<locals>")[0]
    if isinstance(value, type):
        return str(type.__dict__["__qualname__"].__get__(value))
    if isinstance(value, BUILTIN):
        return str(value.__qualname__)
    return type(value).__qualname__


def full_name(value: Any) -> str:
    """Name something as `module.qualname`."""
    while isinstance(value, partial):
        value = value.func
    if isinstance(value, MethodType):
        value = value.__func__
    return f"{home(value)}.{qualname(value)}"


@dataclass(frozen=True, slots=True)
class _File:
    """What one file of source tells."""

    #: Its functions, by the line that their code starts at.
    functions: dict[int, list[Function]]
    #: The globals that its functions set anew by `global`.
    rebound: frozenset[str]
    #: The names under which it keeps something that may be called: methods, attributes, arguments.
    callables: frozenset[str]


@cache
def _read(filename: str) -> _File:
    functions: dict[int, list[Function]] = {}
    rebound_: set[str] = set()
    callables: set[str] = set()
    try:
        tree = ast.parse("".join(linecache.getlines(filename)))
    except (SyntaxError, ValueError, RecursionError):
        return _File(functions, frozenset(), frozenset())
    # Classes that a function makes can't be found by way of a module.
    top = {id(each) for each in _classes(tree.body)}
    for node in ast.walk(tree):
        match node:
            case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.Lambda():
                lines = [each.lineno for each in getattr(node, "decorator_list", ())]
                functions.setdefault(min([node.lineno, *lines]), []).append(node)
            case ast.Global():
                rebound_.update(node.names)
            case ast.Assign():
                callables.update(_kept(node.targets, node.value))
            case ast.AnnAssign() if node.value is not None:
                callables.update(_kept([node.target], node.value))
            case ast.ClassDef() if id(node) not in top:
                callables.update(each.name for each in ast.walk(node) if isinstance(each, _NAMED))
            case ast.keyword(arg=str(name)) if _may_be_called(node.value):
                callables.add(name)
            case _:
                pass
    return _File(functions, frozenset(rebound_), frozenset(callables))


_NAMED = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)


def _classes(body: list[ast.stmt]) -> Iterator[ast.stmt]:
    """Yield the classes of a module, and those inside them, but none in functions."""
    for each in body:
        if isinstance(each, ast.ClassDef):
            yield each
        if not isinstance(each, ast.FunctionDef | ast.AsyncFunctionDef):
            inner = [one for name in ("body", "orelse", "handlers", "finalbody")
                     for one in getattr(each, name, ())]  # fmt: skip
            yield from _classes(inner)


def _kept(targets: list[ast.expr], value: ast.expr) -> Iterator[str]:
    if not _may_be_called(value):
        return
    for target in targets:
        for each in ast.walk(target):
            if isinstance(each, ast.Attribute) and isinstance(each.ctx, ast.Store):
                yield each.attr


def _may_be_called(value: ast.expr) -> bool:
    """Tell whether an expression may give a function: no text, number or display does."""
    return isinstance(
        value,
        ast.Name
        | ast.Attribute
        | ast.Call
        | ast.Lambda
        | ast.Subscript
        | ast.IfExp
        | ast.BoolOp
        | ast.Await
        | ast.NamedExpr
        | ast.Tuple
        | ast.List,
    )


def callables(filename: str) -> frozenset[str]:
    """List the attributes to which a file's code gives a function, or what may be one."""
    return _read(filename).callables


def unloaded(loaded: set[str]) -> Iterator[Path]:
    """Yield the files of the team's packages that no loaded module is from."""
    roots = {name.partition(".")[0] for name in list(sys.modules)}
    for root in roots:
        for folder in plain_dict(sys.modules.get(root)).get("__path__", ()):
            if own_file(f"{folder}/__init__.py"):
                for file in Path(folder).rglob("*.py"):
                    if str(file.absolute()) not in loaded:
                        yield file


def text_of(module: object) -> str:
    """Return a module's source; empty where there is none."""
    file = plain_dict(module).get("__file__")
    return "".join(linecache.getlines(file)) if isinstance(file, str) else ""


def rebound(filename: str) -> frozenset[str]:
    """List the globals of a file that its functions set anew by `global`."""
    return _read(filename).rebound


@cache
def nodes_of(code: CodeType) -> tuple[Function, ...]:
    """Return the syntax that a code object was compiled from.

    More than one where lambdas share a line; none where the source can't be read, or has changed.
    """
    names = code.co_varnames[: code.co_argcount + code.co_kwonlyargcount]
    found = []
    for node in _read(code.co_filename).functions.get(code.co_firstlineno, ()):
        args = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
        named = "<lambda>" if isinstance(node, ast.Lambda) else node.name
        # Inside a class, `__x` is compiled to `_Class__x`.
        same = [a.arg == b or b.endswith(a.arg) for a, b in zip(args, names, strict=False)]
        if named == code.co_name and len(args) == len(names) and all(same):
            found.append(node)
    return tuple(found)


@cache
def digest(code: CodeType) -> str:
    """Hash what a function's code says: its source, or its bytecode where there is none."""
    nodes = nodes_of(code)
    text = "\n".join(ast.dump(node) for node in nodes) if nodes else _bytecode(code)
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


def _bytecode(code: CodeType) -> str:
    constants = [
        _bytecode(each) if isinstance(each, CodeType) else repr(each)
        for each in code.co_consts
        if not isinstance(each, frozenset)  # its order is another one in each process
    ]
    return f"{code.co_code.hex()} {code.co_names} {constants}"
