"""Agents that measure an app replace methods of the class Flask itself; no hook is lost by that."""

from __future__ import annotations

import functools
import inspect
from typing import TYPE_CHECKING, Any

import pytest
from flask import Flask, Response, abort, has_request_context, request

from tests.functional.servers import serve
from tests.functional.test_fail_closed import (
    ADMIN,
    TOKEN,
    Seen,
    admin_app,
    admin_twin,
    ask,
    moved,
)

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = pytest.mark.network

GUARDED = "DELETE /admin/users HTTP/1.1\nHost: ok"
METHODS = (
    "full_dispatch_request",
    "dispatch_request",
    "preprocess_request",
    "wsgi_app",
    "__call__",
    "handle_user_exception",
    "handle_exception",
    "process_response",
    "finalize_request",
    "do_teardown_request",
    "request_context",
    "make_response",
    "ensure_sync",
    "add_url_rule",
    "try_trigger_before_first_request_functions",
)


def passing(original: Callable[..., Any]) -> Callable[..., Any]:
    """As newrelic, ddtrace, sentry and opentelemetry do: measure, and call the original."""

    @functools.wraps(original)
    def measured(*args: Any, **kwargs: Any) -> Any:
        return original(*args, **kwargs)

    return measured


def by_object(function: Callable[..., Any]) -> Any:
    """As wrapt does (ddtrace uses it): an object that says it were the function it wraps."""

    class Wrapper:
        __class__ = property(lambda _: type(function))

        def __getattr__(self, name: str) -> Any:
            return getattr(inspect.unwrap(function), name)

        def __get__(self, instance: Any, owner: Any) -> Any:
            return self if instance is None else functools.partial(function, instance)

        def __call__(self, *args: Any, **kwargs: Any) -> Any:
            return function(*args, **kwargs)

    return Wrapper()


def passing_by_object(original: Callable[..., Any]) -> Any:
    """Measure, and say it were the original."""
    return by_object(passing(original))


@pytest.mark.parametrize("wrap", [passing, passing_by_object])
@pytest.mark.parametrize("when", ["before", "after", "while"])
@pytest.mark.parametrize("name", METHODS)
def test_an_agent_that_measures_leaves_every_guard_in_place(
    name: str, when: str, wrap: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    if name not in vars(Flask) and not hasattr(Flask, name):
        pytest.skip(f"this Flask has no {name}")
    original = getattr(Flask, name)

    def patch() -> None:
        monkeypatch.setattr(Flask, name, wrap(original))

    seen = Seen()
    if when == "before":
        patch()
    gateway = moved(admin_app(), admin_twin(seen), seen, ADMIN)
    if when == "after":
        patch()
    with serve(gateway) as url:
        if when == "while":
            assert ask(url, f"{GUARDED}\n{TOKEN}")[0] == 200
            patch()
        assert ask(url, GUARDED)[0] == 401
        assert ask(url, "DELETE /admin/users HTTP/1.1\nHost: a..b")[0] in (400, 401)
        assert len(seen.ran) == (when == "while")
        status, body = ask(url, f"{GUARDED}\n{TOKEN}")
        assert (status, body) == (200, b'"native users"')


def guarding(original: Callable[..., Any]) -> Callable[..., Any]:
    """One that refuses by itself: nothing else guards the app."""

    @functools.wraps(original)
    def guarded(*args: Any, **kwargs: Any) -> Any:
        if has_request_context():
            token = request.headers.get("X-Token")
        else:
            token = args[1].get("HTTP_X_TOKEN") if name_of(original) in WSGI else "t"
        if token == "t":
            return original(*args, **kwargs)
        if name_of(original) not in WSGI:
            abort(401)
        return Response("no", 401)(*args[1:])

    return guarded


def guarding_by_object(original: Callable[..., Any]) -> Any:
    """Refuse, and say it were the original."""
    return by_object(guarding(original))


WSGI = ("wsgi_app", "__call__")


def name_of(function: Any) -> str:
    return str(getattr(function, "__name__", ""))


def open_app() -> Flask:
    app = Flask("legacy")
    app.add_url_rule("/admin/users", "users", lambda: "legacy users", methods=["GET", "DELETE"])
    return app


@pytest.mark.parametrize("when", ["before", "after", "while"])
@pytest.mark.parametrize("wrap", [guarding, guarding_by_object])
@pytest.mark.parametrize("name", [*WSGI, *METHODS[:3], "process_response"])
def test_a_guard_on_flask_s_own_class_guards_native(
    name: str, when: str, wrap: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = getattr(Flask, name)

    def patch() -> None:
        monkeypatch.setattr(Flask, name, wrap(original))

    seen = Seen()
    if when == "before":
        patch()
    rule = {"prefix": "/admin", "cutover": "native", "auth": "none"}
    gateway = moved(open_app(), admin_twin(seen), seen, rule)
    if when == "after":
        patch()
    with serve(gateway) as url:
        if when == "while":
            assert ask(url, GUARDED) == (200, b'"native users"')
            patch()
        for _ in range(2):
            assert ask(url, GUARDED)[0] in (401, 500)
            assert len(seen.ran) == (when == "while") or name == "process_response"
        assert ask(url, f"{GUARDED}\n{TOKEN}")[0] == 200


def test_a_class_that_dispatches_without_the_hooks_has_no_native_answer(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Bare Flask calls the view then; native stands in only behind the hooks."""

    def own(self: Any, *args: Any) -> Any:
        return self.finalize_request(*args, self.dispatch_request(*args))

    seen = Seen()
    gateway = moved(admin_app(), admin_twin(seen), seen, ADMIN)
    monkeypatch.setattr(Flask, "full_dispatch_request", own)
    with serve(gateway) as url:
        for head in (GUARDED, f"{GUARDED}\n{TOKEN}"):
            assert ask(url, head) == (200, b"legacy users")
    assert seen.ran == []
