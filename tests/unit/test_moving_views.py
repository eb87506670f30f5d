"""Every way in which a view may guard itself, held against a rule that moves it (F1 9)."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any

import pytest
from fastapi import FastAPI
from flask import abort, g, make_response, redirect, request

from gateway import Gateway
from tests.unit.guards import views

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from gateway.routing import Finding


def moved(*functions: Callable[..., Any]) -> Mapping[str, tuple[Finding, ...]]:
    """Return what `check` finds for each view, moved by a rule that says `hooks`."""
    app, native = views.app(), FastAPI(openapi_url=None)

    @app.before_request
    def guard() -> None:
        if request.headers.get("X-Token") != "t":
            abort(401)

    app.add_url_rule("/login", "auth.login", lambda: "login")
    for number, function in enumerate(functions):
        takes = [
            each.name
            for each in inspect.signature(function).parameters.values()
            if each.default is each.empty and each.kind is each.POSITIONAL_OR_KEYWORD
        ]
        path = "".join([f"/views/{number}", *(f"/<{name}>" for name in takes)])
        app.add_url_rule(path, f"view{number}", function)
        here = path.replace("<", "{").replace(">", "}")
        native.add_api_route(here, lambda: "native", methods=["GET"])
    rule = {"prefix": "/views", "cutover": "native", "auth": "hooks"}
    table = Gateway(app, native, {"version": 1, "routes": [rule]}).table
    return {
        route.legacy.endpoint: route.findings
        for route in table.routes
        if route.legacy is not None and route.native is not None and route.method == "GET"
    }


@pytest.mark.parametrize(
    ("functions", "code"),
    [(views.REFUSES, "guards-itself"), (views.PERHAPS, "may-guard-itself")],
)
def test_no_view_that_may_refuse_is_moved_behind_the_hooks_alone(
    functions: list[Callable[..., Any]], code: str
) -> None:
    found = moved(*functions)
    assert len(found) == len(functions)
    left = [
        getattr(function, "__name__", repr(function))
        for number, function in enumerate(functions)
        if code not in {each.code for each in found[f"view{number}"]}
    ]
    assert left == []


def to_login() -> Any:
    if not g.get("user"):
        return redirect("/login")
    return "page"


def by_page() -> str:
    views.Page("x").save()
    return "saved"


def by_loop_over_guards() -> str:
    for guard in (views.service, views.store.put):
        guard()
    return "ok"


def by_two_targets() -> Any:
    answer = make_response("no")
    answer.status_code, answer.headers["X"] = 401, "1"
    return answer


def by_conditional_tuple() -> Any:
    return ("page", 200) if g.get("user") else ("no", 401)


def by_a_code_out_of_a_dict() -> Any:
    code = {True: 200}.get(bool(g.get("user")), 403)
    return "page", code


@pytest.mark.parametrize(
    "view",
    [
        to_login,
        by_page,
        by_loop_over_guards,
        by_two_targets,
        by_conditional_tuple,
        by_a_code_out_of_a_dict,
    ],
)
def test_neither_are_these(view: Callable[..., Any]) -> None:
    codes = {each.code for each in moved(view)["view0"]}
    assert codes & {"guards-itself", "may-guard-itself"}
