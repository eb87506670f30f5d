"""Which build is served? GATEWAY_RELEASE if it is set, else a digest of both apps' own code.

Two workers that run the same code have the same release, wherever it lies. It takes in more files
than need be: code that guards a route may be anywhere.
"""

from __future__ import annotations

import hashlib
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

VARIABLE = "GATEWAY_RELEASE"
_LONGEST = 100
#: Folders of other people's code, below which no app's own lies.
_FOREIGN = frozenset({"site-packages", "dist-packages"})
_SKIPPED = frozenset({"__pycache__", "node_modules", *_FOREIGN})
#: Files that are read of one package, lest a module in `/` has the whole disk read.
MOST_FILES = 20_000


def named(environ: Mapping[str, str]) -> str | None:
    """Return the release that the environment names, None where it names none.

    What would not fit into one line is named by its digest.
    """
    text = environ.get(VARIABLE, "").strip()
    if not text:
        return None
    if len(text) <= _LONGEST and text.isprintable():
        return text
    return _digest([(VARIABLE, text.encode("utf-8", "surrogateescape"))])


def of_code(names: Iterable[str], modules: Mapping[str, Any] | None = None) -> str:
    """Return the digest of the code that these modules belong to, and of all that isn't installed.

    `names` are of modules in which apps, views, hooks and handlers are written; `modules` are the
    loaded ones, by default the interpreter's. Reads files, so not on the event loop.
    """
    loaded = dict(sys.modules if modules is None else modules)
    roots = {_root(name) for name in names}
    roots |= {_root(name) for name, module in loaded.items() if _is_own(module)}
    roots -= {name for name in roots if name in sys.stdlib_module_names and name != "__main__"}
    files: dict[str, Path] = {}
    for root in sorted(roots):
        files |= _files_of(root, loaded.get(root))
    return _digest((name, _content(file)) for name, file in sorted(files.items()))


def _root(name: str) -> str:
    """Return the package that a module belongs to; of our own, only the part that it is in."""
    parts = name.split(".")
    return ".".join(parts[:2] if parts[0] == "gateway" else parts[:1])


def _is_own(module: Any) -> bool:
    """Tell whether a module is neither installed nor ours nor the interpreter's."""
    file, name = getattr(module, "__file__", None), getattr(module, "__name__", "")
    if not isinstance(file, str) or not isinstance(name, str):
        return False
    if _root(name).partition(".")[0] in (*sys.stdlib_module_names, "gateway"):
        return name == "__main__" and not _FOREIGN & set(Path(file).parts)
    return not _FOREIGN & set(Path(file).parts)


def _files_of(root: str, module: Any) -> dict[str, Path]:
    """Return the source files of a package; of a module by itself, those that lie beside it."""
    found: dict[str, Path] = {}
    try:
        for folder in (Path(each) for each in getattr(module, "__path__", ())):
            for file in _walk(folder):
                found.setdefault(f"{root}/{file.relative_to(folder).as_posix()}", file)
        own = getattr(module, "__file__", None)
        if not found and isinstance(own, str):
            beside = sorted(Path(own).parent.glob("*.py"))[:MOST_FILES]
            found = {each.name: each for each in (Path(own), *beside)}
    except (OSError, TypeError, ValueError):  # a module may say anything of itself
        return found
    return found


def _walk(folder: Path) -> Iterator[Path]:
    left = MOST_FILES
    for place, folders, files in os.walk(folder):
        folders[:] = sorted(f for f in folders if f not in _SKIPPED and not f.startswith("."))
        for name in sorted(files):
            if name.endswith(".py") and left:
                left -= 1
                yield Path(place, name)


def _content(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError:
        return b""


def _digest(parts: Iterable[tuple[str, bytes]]) -> str:
    whole = hashlib.blake2b(digest_size=6)
    for name, content in parts:
        for each in (name.encode("utf-8", "surrogateescape"), content):
            whole.update(len(each).to_bytes(8, "big"))
            whole.update(each)
    return whole.hexdigest()
