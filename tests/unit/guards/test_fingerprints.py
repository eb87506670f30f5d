"""A fingerprint changes with the code that decides about a caller, and with nothing else."""

from __future__ import annotations

import importlib.util
from typing import TYPE_CHECKING, Any

import pytest

from gateway.flask.routes import FlaskRoutes
from gateway.guards import handler_fingerprint
from gateway.native import NativeApp

if TYPE_CHECKING:
    from pathlib import Path

APP = """
import functools
from fastapi import Depends, FastAPI, HTTPException
from flask import Flask, abort, request

flask = Flask("app")
native = FastAPI()


def decorated(view):
    @functools.wraps(view)
    def wrapper():
        return view()

    return wrapper


def helper():
    return "help"


def unrelated():
    return 1


@flask.before_request
def hook():
    if request.args.get("as") != "ann":
        abort(401)


@flask.get("/x")
@decorated
def view():
    return helper()


def verify():
    raise HTTPException(401)


@native.get("/x", dependencies=[Depends(verify)])
def handler():
    return helper()
"""


def prints(folder: Path, source: str) -> tuple[str, str]:
    path = folder / str(len(list(folder.iterdir()))) / "printed.py"
    path.parent.mkdir()
    path.write_text(source)
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module: Any = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    routes = FlaskRoutes(module.flask)
    endpoint = next(each for each in routes.endpoints() if each.endpoint == "view")
    native = next(each for each in NativeApp(module.native).endpoints() if each.path == "/x")
    return (
        routes.fingerprint(endpoint, "GET"),
        handler_fingerprint(native, module.native),
    )


def test_the_same_code_has_the_same_fingerprint(tmp_path: Path) -> None:
    first = prints(tmp_path, APP)
    assert all(len(each) == 16 and int(each, 16) >= 0 for each in first)
    assert prints(tmp_path, APP) == first
    assert prints(tmp_path, "# moved down\n\n\n" + APP) == first


@pytest.mark.parametrize(
    ("old", "new", "changed"),
    [
        ('return "help"', 'return "other"', (True, True)),
        ("return view()", "return view() or None", (True, False)),
        ('!= "ann"', '!= "bob"', (True, False)),
        ("@decorated\n", "", (True, False)),
        ("HTTPException(401)", "HTTPException(403)", (False, True)),
        ("return 1", "return 2", (False, False)),
    ],
)
def test_what_changes_a_fingerprint(
    tmp_path: Path, old: str, new: str, changed: tuple[bool, bool]
) -> None:
    before, after = prints(tmp_path, APP), prints(tmp_path, APP.replace(old, new))
    assert tuple(a != b for a, b in zip(before, after, strict=True)) == changed
