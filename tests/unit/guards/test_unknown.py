"""What can't be resolved is read by its name: each harmless form beside one that refuses."""

from __future__ import annotations

import importlib
import importlib.metadata
import sys
from typing import TYPE_CHECKING, Any

import pytest
from flask import Flask, abort, g, redirect, request
from flask_wtf import FlaskForm
from wtforms import StringField  # type: ignore[import-untyped]

from gateway.guards import source
from gateway.guards.frame import Facts
from gateway.guards.hooks import guard
from gateway.guards.packages import is_free_of_web
from gateway.guards.reader import Reader
from gateway.guards.values import Known

if TYPE_CHECKING:
    from collections.abc import Callable

FACTS = Facts("x", None, "/x", "GET", Known("/x"), given=True)


class Basket:
    def weigh_basket(self) -> int:
        return 1

    def open_basket(self) -> int:
        abort(403)

    @property
    def basket_owner(self) -> str:
        return "x"

    @property
    def basket_secret(self) -> str:
        abort(403)


class Keeper:
    def __init__(self, keep: Callable[[], Any]) -> None:
        self.kept_by_keeper = keep


class Denied(Exception):
    """Becomes a 403."""


class Absent(Denied):
    """Becomes a 404."""


def harmless_method() -> str:
    return str(request.basket.weigh_basket())  # type: ignore[attr-defined]


def method_that_refuses() -> str:
    return str(request.basket.open_basket())  # type: ignore[attr-defined]


def harmless_property() -> str:
    return str(g.basket.basket_owner)


def property_that_refuses() -> str:
    return str(g.basket.basket_secret)


def method_of_a_library() -> str:
    return str(g.basket.fetchall_from_library())


def stored_function() -> str:
    return str(g.keeper.kept_by_keeper())


def unknown_function() -> str:
    return str(g.run())


def alarming_name() -> str:
    return str(g.basket.authorize())


def package_version() -> str:
    return importlib.metadata.version("flask")


def imported_by_name() -> str:
    return str(importlib.import_module("json").SOME_CONSTANT)


def imported_and_refusing() -> str:
    return str(importlib.import_module("baskets").open_basket())


def imports_what_is_loaded() -> str:
    import email.message

    return str(email.message.Message())


def imports_what_is_not_loaded() -> str:
    from baskets import look  # type: ignore[import-not-found]

    return str(look())


class Sheet(FlaskForm):  # type: ignore[misc]
    title = StringField()


def redirects_after_a_post() -> Any:
    form = Sheet()
    if form.validate_on_submit():
        return redirect("/sheets")
    return "form"


def redirects_instead_of_the_form() -> Any:
    form = Sheet()
    if not form.validate_on_submit():
        return redirect("/sheets")
    return "form"


def redirects_by_who_is_calling() -> Any:
    form = Sheet()
    if form.validate_on_submit():
        if g.sheet_is_hidden:
            return redirect("/sheets")
        return "saved"
    return "form"


def mapped_to_404() -> str:
    raise Absent


def mapped_to_403() -> str:
    raise Denied


@pytest.fixture(autouse=True)
def alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """An unknown object may be of any class that is loaded: other tests' apps have theirs."""
    for name, module in list(sys.modules.items()):
        file = getattr(module, "__file__", None)
        if name != __name__ and isinstance(file, str) and source.own_file(file):
            monkeypatch.delitem(sys.modules, name)


def reader() -> Reader:
    app = Flask(__name__)

    @app.errorhandler(Denied)
    def denied(error: Denied) -> tuple[str, int]:
        codes = {Denied: 403, Absent: 404}
        for kind in type(error).mro():
            if kind in codes:
                return "no", codes[kind]
        return "no", 500

    return Reader(app)


def does(view: Callable[..., Any]) -> str:
    return guard("view", "view", reader().read(view, FACTS).findings).does


@pytest.mark.parametrize(
    "view",
    [
        harmless_method,
        harmless_property,
        method_of_a_library,
        package_version,
        imported_by_name,
        imports_what_is_loaded,
        redirects_after_a_post,
        mapped_to_404,
    ],
)
def test_what_only_looks_as_if_it_could_refuse(view: Callable[..., Any]) -> None:
    assert does(view) == "nothing"


@pytest.mark.parametrize(
    "view",
    [
        method_that_refuses,
        property_that_refuses,
        stored_function,
        unknown_function,
        alarming_name,
        imported_and_refusing,
        imports_what_is_not_loaded,
        redirects_instead_of_the_form,
        redirects_by_who_is_calling,
    ],
)
def test_its_neighbour_that_may_refuse(view: Callable[..., Any]) -> None:
    assert does(view) == "perhaps"


def test_an_exception_is_answered_by_its_class() -> None:
    assert does(mapped_to_403) == "refuses"


def test_a_package_that_requires_a_web_framework_may_refuse() -> None:
    """`flask_login` isn't free, though it is loaded; `attr`-like packages are."""
    importlib.import_module("flask_login")
    importlib.import_module("deepdiff")
    assert not is_free_of_web("flask_login")
    assert is_free_of_web("deepdiff")
