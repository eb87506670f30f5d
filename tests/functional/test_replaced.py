"""What a hook puts in the place of a part of the request is what counts: the view answers then."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

import pytest
from fastapi import FastAPI, Request
from flask import Flask, request, request_started
from flask import Request as FlaskRequest
from flask.sessions import SecureCookieSessionInterface
from werkzeug.datastructures import Authorization, Headers, ImmutableMultiDict, MultiDict

from tests.functional.servers import serve
from tests.functional.test_fail_closed import SEEN, TOKEN, Seen, ask, guard, moved, told

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = pytest.mark.network

SAVE = {"path": "/save", "cutover": "native", "auth": "hooks", "accept": SEEN}
FORM = b"role=admin"
JSON = b'{"role": "admin"}'
CLEAN = ImmutableMultiDict({"role": "user"})


def form() -> None:
    request.form = CLEAN


def form_after_reading() -> None:
    assert request.form["role"] == "admin"
    request.form = CLEAN


def form_in_the_dict() -> None:
    request._get_current_object().__dict__["form"] = CLEAN  # type: ignore[attr-defined]


def values() -> None:
    request.values = CLEAN  # type: ignore[assignment]


def args() -> None:
    request.args = CLEAN


def args_in_the_dict() -> None:
    request.__dict__["args"] = CLEAN


def files() -> None:
    request.files = ImmutableMultiDict()


def cookies() -> None:
    request.cookies = CLEAN


def headers() -> None:
    request.headers = Headers({"X-Token": "t", "X-Role": "user"})


def data() -> None:
    request.data = b"role=user"


def cached_data() -> None:
    request._cached_data = b"role=user"


def cached_data_after_reading() -> None:
    request.get_data()
    request._cached_data = b"role=user"


def stream() -> None:
    request.stream = io.BytesIO(b"role=user")


def get_json() -> None:
    request.get_json = lambda *_, **__: {"role": "user"}  # type: ignore[method-assign]


def cached_json() -> None:
    request._cached_json = ({"role": "user"}, {"role": "user"})


def cached_json_after_reading() -> None:
    request.get_json(silent=True)
    request._cached_json = ({"role": "user"}, {"role": "user"})


def changed_json() -> None:
    told_role = request.get_json()
    told_role["role"] = "user"


def emptied_json() -> None:
    request.get_json().pop("role")


def authorization() -> None:
    request.authorization = Authorization("basic", {"username": "user", "password": ""})


def remote_addr() -> None:
    request.remote_addr = "10.0.0.1"


def user_agent() -> None:
    request.user_agent = "user"  # type: ignore[assignment]


def own_class() -> None:
    found = request._get_current_object()  # type: ignore[attr-defined]
    changed = {"form": property(lambda _: CLEAN), "get_json": lambda *_, **__: dict(CLEAN)}
    found.__class__ = type("Cleaned", (type(found),), changed)


def full_path() -> None:
    request.full_path = "/save?role=user"


REPLACING = (
    form, form_after_reading, form_in_the_dict, values, args, args_in_the_dict, files, cookies,
    headers, data, cached_data, cached_data_after_reading, stream, get_json, cached_json,
    cached_json_after_reading, changed_json, emptied_json, authorization, remote_addr, user_agent,
    full_path, own_class,
)  # fmt: skip


def reads_everything() -> None:
    """What hooks usually do: log, check tokens, and note things of their own."""
    request.user = "me"  # type: ignore[attr-defined]
    request._started = 1.0  # type: ignore[attr-defined]
    found = (
        request.form, request.values, request.args, request.files, request.cookies, request.data,
        request.headers, request.url, request.host, request.mimetype, request.authorization,
        request.user_agent, request.full_path, request.accept_languages, request.access_route,
    )  # fmt: skip
    assert found
    request.get_json(silent=True)
    request.get_data()


def reads_json() -> None:
    request.get_json(silent=True)
    assert request.is_json is (request.mimetype == "application/json")
    assert request.json if request.is_json else True


def reads_nothing() -> None:
    return None


def apps(hook: Callable[[], None], seen: Seen) -> tuple[Flask, FastAPI]:
    app, twin = Flask("legacy"), FastAPI()
    app.secret_key = "x"
    app.before_request(guard)
    app.before_request(hook)
    app.add_url_rule("/save", "save", lambda: "legacy", methods=["GET", "POST"])

    @twin.api_route("/save", methods=["GET", "POST"])
    async def save(request: Request) -> str:
        seen.ran.append((await request.body()).decode())
        return "native"

    return app, twin


def asked(body: bytes, kind: str) -> tuple[str, bytes]:
    head = f"POST /save?role=admin HTTP/1.1\nHost: ok\n{TOKEN}\nCookie: role=admin"
    return f"{head}\nContent-Type: {kind}", body


WAYS = ((FORM, "application/x-www-form-urlencoded"), (JSON, "application/json"))


@pytest.mark.parametrize("hook", REPLACING)
def test_what_a_hook_has_replaced_is_the_view_s(
    hook: Callable[[], None], caplog: pytest.LogCaptureFixture
) -> None:
    seen = Seen()
    sent = asked(*WAYS["json" in hook.__name__])
    with told(caplog) as lines, serve(moved(*apps(hook, seen), seen, SAVE)) as url:
        for _ in range(2):
            assert ask(url, *sent) == (200, b"legacy")
        assert lines("so that the view answers, not native") == 1
    assert seen.ran == []


@pytest.mark.parametrize("hook", [reads_everything, reads_json, reads_nothing])
@pytest.mark.parametrize(("body", "kind"), WAYS)
def test_what_hooks_only_read_or_add_keeps_native_in_place(
    hook: Callable[[], None], body: bytes, kind: str
) -> None:
    seen = Seen()
    with serve(moved(*apps(hook, seen), seen, SAVE)) as url:
        assert ask(url, *asked(body, kind)) == (200, b'"native"')
        assert ask(url, f"GET /save HTTP/1.1\nHost: ok\n{TOKEN}") == (200, b'"native"')
    assert seen.ran == [body.decode(), ""]


class MutableRequest(FlaskRequest):
    parameter_storage_class = MultiDict  # type: ignore[assignment]


class Mutable(Flask):
    request_class = MutableRequest


def changes_args() -> None:
    request.args["role"] = "user"


def changes_form() -> None:
    request.form["role"] = "user"


@pytest.mark.parametrize("hook", [changes_args, changes_form])
def test_a_request_class_whose_values_may_be_changed(hook: Callable[[], None]) -> None:
    seen = Seen()
    app, twin = Mutable("legacy"), apps(reads_nothing, seen)[1]
    app.before_request(guard)
    app.before_request(hook)
    app.add_url_rule("/save", "save", lambda: "legacy", methods=["POST"])
    with serve(moved(app, twin, seen, SAVE)) as url:
        assert ask(url, *asked(*WAYS[0])) == (200, b"legacy")
    assert seen.ran == []


@pytest.mark.parametrize("hook", [args, form, cookies, full_path, data])
def test_a_receiver_may_replace_it_before_the_hooks(hook: Callable[[], None]) -> None:
    seen = Seen()
    app, twin = apps(reads_nothing, seen)
    with (
        serve(moved(app, twin, seen, SAVE)) as url,
        request_started.connected_to(lambda *_, **__: hook(), app),
    ):
        assert ask(url, *asked(*WAYS[0])) == (200, b"legacy")
    assert seen.ran == []


def test_a_receiver_may_read_it_before_the_hooks() -> None:
    seen = Seen()
    app, twin = apps(reads_nothing, seen)
    read: list[Any] = []

    def receive(*_: Any, **__: Any) -> None:
        read.append((request.args, request.url, request.cookies, request.host))

    with serve(moved(app, twin, seen, SAVE)) as url, request_started.connected_to(receive, app):
        assert ask(url, *asked(*WAYS[0])) == (200, b'"native"')
    assert len(read) == 1


def test_a_session_interface_may_replace_the_cookies() -> None:
    class Cleaning(SecureCookieSessionInterface):
        def open_session(self, app: Any, request: Any) -> Any:
            request.cookies = CLEAN
            return super().open_session(app, request)

    seen = Seen()
    app, twin = apps(reads_nothing, seen)
    app.session_interface = Cleaning()
    with serve(moved(app, twin, seen, SAVE)) as url:
        assert ask(url, *asked(*WAYS[0])) == (200, b"legacy")
    assert seen.ran == []
