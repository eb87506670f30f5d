"""Import strings: `shop.app:app` and `shop.app:create_app()`."""

from __future__ import annotations

import difflib
import importlib
import inspect
import re
import sys
import traceback
from pathlib import Path
from typing import Any

from gateway.exceptions import AppImportError

_STRING = re.compile(r"(?P<module>\w+(?:\.\w+)*):(?P<attribute>\w+(?:\.\w+)*)(?P<call>\(\))?")
_HERE = str(Path(__file__).parent)


def import_app(string: str) -> Any:
    """Return the app that `module:attr` names, or that `module:factory()` returns.

    Raises AppImportError that says what is wrong and points at the user's own line, never at ours.
    """
    target = import_callable(string, "an app")
    if not string.strip().endswith("()") and _is_factory(target):
        raise AppImportError(f"{string} is a function without arguments (write {string}() to call)")
    return target


def import_callable(string: str, what: str) -> Any:
    """Return what `module:attr` names or `module:factory()` returns; raises as `import_app` does.

    `what` says for the message as what it will be called: `a dependency`.
    """
    form = _STRING.fullmatch(string.strip())
    if form is None:
        raise AppImportError(f"{string!r} is no import string: write module:app or module:make()")
    module_name, attribute = form["module"], form["attribute"]
    try:
        target: Any = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        missing = error.name or module_name
        if module_name == missing or module_name.startswith(f"{missing}."):
            raise AppImportError(
                f"no module named {missing!r} (is it installed, and the working folder right?)"
            ) from error
        raise AppImportError(_blame(f"importing {module_name}", error)) from error
    except (Exception, SystemExit) as error:
        raise AppImportError(_blame(f"importing {module_name}", error)) from error
    for part in attribute.split("."):
        try:
            target = getattr(target, part)
        except AttributeError:
            close = difflib.get_close_matches(part, dir(target), n=1)
            hint = f" (did you mean {close[0]}?)" if close else ""
            raise AppImportError(f"{module_name} has no {part!r}{hint}") from None
    if form["call"]:
        return _call(string, target)
    if not callable(target):
        raise AppImportError(
            f"{string} is {type(target).__name__}, which can't be called as {what}"
        )
    return target


def _call(string: str, factory: Any) -> Any:
    if not callable(factory):
        raise AppImportError(f"{string}: {type(factory).__name__} can't be called")
    try:
        inspect.signature(factory).bind()
    except TypeError as error:
        raise AppImportError(
            f"{string} needs arguments: {error} (name a factory that works without any)"
        ) from None
    except ValueError:
        pass  # A builtin without a signature: calling it tells.
    try:
        return factory()
    except (Exception, SystemExit) as error:
        raise AppImportError(_blame(f"calling {string}", error)) from error


def _is_factory(target: Any) -> bool:
    return inspect.isfunction(target) and not inspect.signature(target).parameters


def _blame(doing: str, error: BaseException) -> str:
    """Describe `error` by the innermost line of the user's own code that led to it."""
    if isinstance(error, SyntaxError) and error.filename:
        return f"{doing}: {error.filename}:{error.lineno}: SyntaxError: {error.msg}"
    last = own_frame(error)
    kind = type(error).__name__
    said = " ".join(str(error).split())
    if last is None:
        return f"{doing}: {kind}: {said}"
    return f"{doing}: {last.filename}:{last.lineno}: in {last.name}: {kind}: {said}"


def own_frame(error: BaseException) -> traceback.FrameSummary | None:
    """Return the innermost frame of the user's own code that led to `error`, or else a library's.

    None where there is neither.
    """
    frames = [
        frame
        for frame in traceback.extract_tb(error.__traceback__)
        if not frame.filename.startswith((_HERE, "<frozen ", importlib.__path__[0]))
    ]
    own = [frame for frame in frames if not _is_library(frame.filename)] or frames
    return own[-1] if own else None


def _is_library(filename: str) -> bool:
    parts = Path(filename).parts
    if "site-packages" in parts or "dist-packages" in parts:
        return True
    return Path(filename).is_relative_to(Path(sys.base_prefix) / "lib")
