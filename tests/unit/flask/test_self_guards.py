"""What a view does to guard itself is found; what is no guard isn't reported."""

from __future__ import annotations

import functools
import hmac
from typing import TYPE_CHECKING, Any, ClassVar

import flask
import pytest
from fastapi import HTTPException, status
from flask import Flask, Response, abort, g, jsonify, make_response, redirect, request, session
from flask.views import MethodView, View

from gateway.flask.self_guards import evidence, refuses

if TYPE_CHECKING:
    from collections.abc import Callable

current_user: Any = None
FORBIDDEN = 403


def login_required(view: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(view)
    def decorated(*args: Any, **kwargs: Any) -> Any:
        return view(*args, **kwargs)

    return decorated


def unmarked(view: Callable[..., Any]) -> Callable[..., Any]:
    """A decorator of before functools.wraps was known."""

    def decorated(*args: Any) -> Any:
        return view(*args)

    return decorated


def with_role(role: str) -> Callable[..., Any]:
    def decorate(view: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(view)
        def decorated(*args: Any) -> Any:
            return view(role, *args)

        return decorated

    return decorate


class Guard:
    """A decorator that is an object."""

    def __init__(self, view: Callable[..., Any]) -> None:
        self.view = view

    def __call__(self, *args: Any) -> Any:
        return self.view(*args)


def plain() -> Any:
    return jsonify(ok=request.args.get("q"), url=flask.url_for("x"))


class Database:
    session: Any = None


db = Database()


def queries() -> Any:
    return db.session.query(1)


def reads_g() -> Any:
    return jsonify(user=g.user)


def redirects() -> Any:
    return redirect("/x", 302)


def aborts() -> None:
    abort(401)


def aborts_by_constant() -> None:
    flask.abort(FORBIDDEN)


def not_found() -> None:
    abort(404)


def by_tuple() -> Any:
    return "no", 403


def by_response() -> Any:
    return Response("no", status=401)


def by_make_response() -> Any:
    return make_response("no", 403)


def reads_user() -> Any:
    return current_user.name


def reads_session() -> Any:
    return session.get("user")


def reads_flask_session() -> Any:
    return flask.session["user"]


def reads_authorization() -> Any:
    return request.authorization


def reads_token() -> Any:
    return request.headers.get("X-Api-Token")


def reads_header() -> Any:
    return request.headers["Authorization"]


def reads_language() -> Any:
    return request.headers["Accept-Language"]


def compares() -> Any:
    return hmac.compare_digest("a", "b")


def _check() -> None:
    _deeper()


def _deeper() -> None:
    abort(403)


def calls_helper() -> str:
    _check()
    return ""


def recursive() -> Any:
    return recursive()


def raises_fastapis() -> None:
    raise HTTPException(status_code=status.HTTP_403_FORBIDDEN)


def raises_another() -> None:
    raise HTTPException(404)


def takes_a_database(session: Any) -> Any:
    return session.all()


class Gate:
    def __init__(self, app: Any) -> None:
        self.app = app

    def __call__(self, environ: Any, start_response: Any) -> Any:
        start_response("401 Unauthorized", [])
        return [b""]


class Page(View):
    decorators: ClassVar[list[Any]] = [login_required]

    def dispatch_request(self) -> str:
        return ""


class Methods(MethodView):
    def get(self) -> str:
        return ""

    def post(self) -> str:
        self.check()
        return ""

    @login_required
    def put(self) -> str:
        return ""

    def check(self) -> None:
        abort(403)


class Below(Methods):
    pass


@pytest.mark.parametrize(
    "view",
    [
        plain,
        queries,
        reads_g,
        redirects,
        not_found,
        reads_language,
        recursive,
        len,
        raises_another,
        takes_a_database,
    ],
)
def test_a_plain_view_is_no_guard(view: Callable[..., Any]) -> None:
    assert evidence(view, "GET") == ()


@pytest.mark.parametrize(
    ("view", "what"),
    [
        (aborts, "calls abort(401)"),
        (aborts_by_constant, "calls abort(403)"),
        (by_tuple, "returns 403"),
        (by_response, "answers 401"),
        (by_make_response, "answers 403"),
        (reads_user, "reads current_user"),
        (reads_session, "reads the session"),
        (reads_flask_session, "reads the session"),
        (reads_authorization, "reads request.authorization"),
        (reads_token, "reads the header X-Api-Token"),
        (reads_header, "reads the header Authorization"),
        (compares, "compares a secret"),
        (calls_helper, "calls abort(403)"),
        (raises_fastapis, "raises HTTPException(403)"),
    ],
)
def test_a_body_that_guards(view: Callable[..., Any], what: str) -> None:
    found = evidence(view, "GET")
    assert what in [each.what for each in found]
    assert all(each.where.startswith("test_self_guards.py:") for each in found)


@pytest.mark.parametrize(
    ("view", "name"),
    [
        (login_required(plain), "login_required"),
        (unmarked(plain), "unmarked"),
        (with_role("admin")(plain), "with_role"),
        (Guard(plain), "Guard"),
        (login_required(unmarked(Guard(plain))), "Guard"),
        (functools.partial(login_required(plain)), "login_required"),
    ],
)
def test_whatever_wraps_a_view_counts(view: Callable[..., Any], name: str) -> None:
    found = evidence(view, "GET")
    assert any(f"test_self_guards.{name}" in each.what for each in found), found


def test_a_guard_below_a_decorator_is_found_too() -> None:
    assert [each.what for each in evidence(login_required(aborts), "GET")][1] == "calls abort(401)"


@pytest.mark.parametrize(
    "guard", [aborts, by_tuple, raises_fastapis, compares, Gate(None), login_required(plain)]
)
def test_what_refuses(guard: Callable[..., Any]) -> None:
    assert refuses(guard)


@pytest.mark.parametrize("lets_in", [plain, reads_user, reads_session, unmarked(plain), Gate])
def test_what_only_reads_or_wraps_may_be_no_guard(lets_in: Callable[..., Any]) -> None:
    assert not refuses(lets_in)


def test_class_based_views() -> None:
    assert "login_required" in str(evidence(Page.as_view("page"), "GET")[0])
    for cls in (Methods, Below):
        view = cls.as_view("methods")
        assert evidence(view, "GET") == evidence(view, "HEAD") == ()
        assert [each.what for each in evidence(view, "POST")] == ["calls abort(403)"]
        assert "login_required" in str(evidence(view, "PUT")[0])
        assert "login_required" in str(evidence(login_required(view), "GET")[0])


def test_no_code_of_the_user_is_run() -> None:
    class Trap:
        @property
        def __wrapped__(self) -> Any:
            raise AssertionError

        def __getattr__(self, name: str) -> Any:
            raise AssertionError

        def __call__(self) -> str:
            return ""

    evidence(Trap(), "GET")


def test_flasks_own_views_are_no_guard() -> None:
    app = Flask("x", static_folder=".")
    assert evidence(app.view_functions["static"], "GET") == ()
