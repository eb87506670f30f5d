"""A `dispatch_request` of the app's own runs as ever; native answers where it calls the view."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from fastapi import FastAPI, HTTPException, Request
from flask import Flask, Response, abort, request
from flask.globals import current_app

from gateway import Gateway, UseLegacy
from gateway.routing import Reason
from tests.functional.servers import serve
from tests.functional.test_fail_closed import TOKEN, Seen, ask, moved, told
from tests.functional.test_mirror import settled

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = pytest.mark.network

ITEM = "GET /items/5 HTTP/1.1\nHost: ok"
RULE = {"path": "/items/<int:number>", "cutover": "native", "auth": "none"}


class Log(list[str]):
    """What has run, in order."""

    def count_of(self, what: str) -> int:
        """Return how often something ran."""
        return sum(each == what for each in self)


@pytest.fixture
def log() -> Log:
    return Log()


def legacy_app(kind: type[Flask], log: Log) -> Flask:
    app = kind("legacy")

    @app.route("/items/<int:number>", methods=["GET", "POST"])
    def item(number: int) -> str:
        log.append("view")
        return f"legacy {number}"

    @app.before_request
    def before() -> None:
        log.append("hook")

    @app.after_request
    def after(response: Response) -> Response:
        response.headers["X-After"] = "yes"
        return response

    return app


def native_app(log: Log) -> FastAPI:
    app = FastAPI()

    @app.get("/items/{number}")
    @app.post("/items/{number}")
    def item(number: int, request: Request) -> str:
        log.append("native")
        if request.query_params.get("how") == "legacy":
            raise UseLegacy
        if request.query_params.get("how") == "fail":
            raise HTTPException(500)
        if request.query_params.get("how") == "crash":
            raise ValueError("native is broken")
        return f"native {number}"

    @app.get("/new")
    def new() -> str:
        log.append("native")
        return "native only"

    @app.options("/items/{number}")
    def options(number: int) -> str:
        log.append("native options")
        return "native options"

    return app


def finalized(app: Any, *args: Any) -> Response:
    """Make an answer of what a view has returned; Flask 3.2 hands its context over."""
    response: Response = app.finalize_request(*args)
    return response


class Timing(Flask):
    def dispatch_request(self, *args: Any) -> Any:
        current_app.config["LOG"].append("begin")
        try:
            return super().dispatch_request(*args)
        finally:
            current_app.config["LOG"].append("end")


class Guarding(Flask):
    def dispatch_request(self, *args: Any) -> Any:
        if request.headers.get("X-Token") != "t":
            abort(401)
        return super().dispatch_request(*args)


class Returning(Flask):
    def dispatch_request(self, *args: Any) -> Any:
        if request.headers.get("X-Token") != "t":
            return Response("no", 401)
        return super().dispatch_request(*args)


class Direct(Flask):
    def dispatch_request(self, *_: Any) -> Any:
        assert request.endpoint is not None
        return self.view_functions[request.endpoint](**(request.view_args or {}))


class Readying(Flask):
    """As Flask's own does it, written out."""

    def dispatch_request(self, *_: Any) -> Any:
        assert request.endpoint is not None
        view = self.view_functions[request.endpoint]
        return self.ensure_sync(view)(**(request.view_args or {}))


class Checking(Flask):
    """Looks at the answer, and takes it away where it isn't for this caller."""

    def dispatch_request(self, *args: Any) -> Any:
        response = self.make_response(super().dispatch_request(*args))
        response.headers["X-Checked"] = "yes"
        return response if request.headers.get("X-Token") == "t" else Response("no", 403)


class Retrying(Flask):
    def dispatch_request(self, *args: Any) -> Any:
        first = second = None
        try:
            first = super().dispatch_request(*args)
        except ValueError:
            second = super().dispatch_request(*args)
        return super().dispatch_request(*args) if first is not None else second


class Rewriting(Flask):
    """Calls the view with another item than was asked for."""

    def dispatch_request(self, *_: Any) -> Any:
        assert request.endpoint is not None
        return self.ensure_sync(self.view_functions[request.endpoint])(number=7)


class Saving(Flask):
    """Makes an answer of whatever is raised."""

    def dispatch_request(self, *args: Any) -> Any:
        try:
            return super().dispatch_request(*args)
        except ValueError:
            return "saved"


def serving(kind: type[Flask], log: Log, seen: Seen, **more: Any) -> Gateway:
    app = legacy_app(kind, log)
    app.config["LOG"] = log
    return moved(app, native_app(log), seen, {**RULE, **more})


def test_one_that_measures_runs_around_native(log: Log) -> None:
    with serve(serving(Timing, log, Seen())) as url:
        assert ask(url, ITEM) == (200, b'"native 5"')
    assert log == ["hook", "begin", "native", "end"]


@pytest.mark.parametrize("kind", [Guarding, Returning])
def test_one_that_guards_guards_native(kind: type[Flask], log: Log) -> None:
    seen = Seen()
    with serve(serving(kind, log, seen)) as url:
        for method in ("GET", "HEAD", "POST"):
            assert ask(url, ITEM.replace("GET", method))[0] == 401
        assert "native" not in log
        assert ask(url, f"{ITEM}\n{TOKEN}") == (200, b'"native 5"')
        assert ask(url, f"{ITEM}\n{TOKEN}".replace("GET", "HEAD")) == (200, b"")
    assert "view" not in log
    assert [each.decision.reason for each in seen.exchanges[:3]] == [Reason.HOOKS] * 3


def test_one_that_guards_is_the_guard_that_auth_hooks_asks_for(log: Log) -> None:
    accept = {"may-guard-itself": "a view of the tests"}
    with serve(serving(Guarding, log, Seen(), auth="hooks", accept=accept)) as url:
        assert ask(url, ITEM)[0] == 401
        assert ask(url, f"{ITEM}\n{TOKEN}") == (200, b'"native 5"')


def test_one_that_calls_views_by_itself_keeps_them_and_is_named_once(
    log: Log, caplog: pytest.LogCaptureFixture
) -> None:
    seen = Seen()
    with told(caplog) as lines, serve(serving(Direct, log, seen)) as url:
        for _ in range(3):
            assert ask(url, ITEM) == (200, b"legacy 5")
        assert lines("test_own_dispatch.Direct.dispatch_request answered without calling") == 1
    assert log == ["hook", "view"] * 3
    assert all(each.decision.side == "legacy" for each in seen.exchanges)


def test_one_that_readies_views_as_flask_does_has_native_in_their_place(log: Log) -> None:
    with serve(serving(Readying, log, Seen())) as url:
        assert ask(url, ITEM) == (200, b'"native 5"')


def test_what_is_done_to_the_view_s_answer_is_done_to_native_s(log: Log) -> None:
    with serve(serving(Checking, log, Seen())) as url:
        assert ask(url, ITEM) == (403, b"no")
        assert ask(url, f"{ITEM}\n{TOKEN}") == (200, b'"native 5"')
    assert "view" not in log


def test_one_that_tries_again_gets_the_same_answer_and_nothing_runs_twice(log: Log) -> None:
    with serve(serving(Retrying, log, Seen())) as url:
        assert ask(url, ITEM) == (200, b'"native 5"')
        assert log == ["hook", "native"]
        assert ask(url, ITEM.replace("/5", "/5?how=crash"))[0] == 500
        assert ask(url, ITEM.replace("/5", "/5?how=legacy")) == (200, b"legacy 5")
    assert log[2:] == ["hook", "native", "hook", "native", "view", "view"]


def test_one_that_catches_native_s_failure_has_the_last_word(log: Log) -> None:
    with serve(serving(Saving, log, Seen())) as url:
        assert ask(url, ITEM.replace("/5", "/5?how=crash")) == (200, b"saved")


def test_one_that_changes_the_arguments_keeps_the_view(
    log: Log, caplog: pytest.LogCaptureFixture
) -> None:
    with told(caplog) as lines, serve(serving(Rewriting, log, Seen())) as url:
        assert ask(url, ITEM) == (200, b"legacy 7")
        assert lines("Rewriting.dispatch_request, has changed the view's arguments (number)") == 1
    assert "native" not in log


def test_one_on_the_object_is_run_whether_it_came_before_or_after(log: Log) -> None:
    for when in ("before", "after"):
        app = legacy_app(Flask, log)
        app.before_request_funcs.clear()
        app.after_request_funcs.clear()

        def guard(app: Flask = app) -> None:
            original = app.dispatch_request

            def guarded(*args: Any) -> Any:
                if request.headers.get("X-Token") != "t":
                    abort(401)
                return original(*args)

            app.dispatch_request = guarded  # type: ignore[method-assign]

        if when == "before":
            guard()
        with serve(moved(app, native_app(log), Seen(), RULE)) as url:
            if when == "after":
                assert ask(url, ITEM) == (200, b'"native 5"')
                guard()
            assert ask(url, ITEM)[0] == 401
            assert ask(url, f"{ITEM}\n{TOKEN}") == (200, b'"native 5"')
    assert "view" not in log


@pytest.mark.parametrize("name", ["preprocess_request", "full_dispatch_request", "ensure_sync"])
@pytest.mark.parametrize("when", ["before", "after"])
def test_no_method_of_the_object_s_own_is_passed_by(name: str, when: str, log: Log) -> None:
    app = legacy_app(Flask, log)
    app.before_request_funcs.clear()
    app.after_request_funcs.clear()

    def patch() -> None:
        original = getattr(app, name)

        def guarded(*args: Any) -> Any:
            if request.headers.get("X-Token") != "t":
                abort(401)
            return original(*args)

        setattr(app, name, guarded)

    if when == "before":
        patch()
    with serve(moved(app, native_app(log), Seen(), RULE)) as url:
        if when == "after":
            assert ask(url, ITEM) == (200, b'"native 5"')
            patch()
            log.clear()
        assert ask(url, ITEM)[0] in (401, 500)
        assert log == []
        assert ask(url, f"{ITEM}\n{TOKEN}") == (200, b'"native 5"')


def test_what_ensure_sync_puts_around_a_view_is_not_left_out(
    log: Log, caplog: pytest.LogCaptureFixture
) -> None:
    class Wrapping(Flask):
        def ensure_sync(self, func: Callable[..., Any]) -> Callable[..., Any]:
            ready = super().ensure_sync(func)

            def guarded(*args: Any, **kwargs: Any) -> Any:
                if request.headers.get("X-Token") != "t":
                    abort(401)
                return ready(*args, **kwargs)

            return guarded

    app = legacy_app(Wrapping, log)
    app.before_request_funcs.clear()
    app.after_request_funcs.clear()
    with told(caplog) as lines, serve(moved(app, native_app(log), Seen(), RULE)) as url:
        assert ask(url, ITEM)[0] == 401
        assert ask(url, f"{ITEM}\n{TOKEN}") == (200, b"legacy 5")
        assert lines("an ensure_sync of the app's own puts something around the view") == 1
    assert "native" not in log


def test_an_asynchronous_view_is_stood_in_for_and_run_as_ever(log: Log) -> None:
    app = Timing("legacy")
    app.config["LOG"] = log

    @app.route("/items/<int:number>")
    async def item(number: int) -> str:
        log.append("view")
        return f"legacy {number}"

    with serve(moved(app, native_app(log), Seen(), RULE)) as url:
        assert ask(url, ITEM) == (200, b'"native 5"')
        assert ask(url, ITEM.replace("/5", "/5?how=legacy")) == (200, b"legacy 5")
    assert log == ["begin", "native", "end", "begin", "native", "view", "end"]


def test_a_hook_that_is_the_view_s_own_function_is_a_hook(log: Log) -> None:
    app = Timing("legacy")
    app.config["LOG"] = log

    def both() -> Any:
        log.append("both")

    app.add_url_rule("/new", "new", both)
    app.before_request(both)
    rule = {"path": "/new", "cutover": "native", "auth": "none"}
    with serve(moved(app, native_app(log), Seen(), rule)) as url:
        assert ask(url, "GET /new HTTP/1.1\nHost: ok") == (200, b'"native only"')
    assert log == ["both", "begin", "native", "end"]


def test_a_hook_that_runs_in_the_midst_of_dispatch_is_a_hook(log: Log) -> None:
    class Again(Flask):
        def dispatch_request(self, *args: Any) -> Any:
            self.preprocess_request(*args)
            return super().dispatch_request(*args)

    app = Again("legacy")

    def both() -> None:
        log.append("both")

    view: Any = both
    app.add_url_rule("/new", "new", view)
    app.before_request(both)
    rule = {"path": "/new", "cutover": "native", "auth": "none"}
    with serve(moved(app, native_app(log), Seen(), rule)) as url:
        ask(url, "GET /new HTTP/1.1\nHost: ok")
    assert log[:2] == ["both", "both"]
    assert "native" not in log  # another request might have been made of it


def test_what_a_view_calls_by_itself_is_its_own(log: Log) -> None:
    """A view that was left the answer may call itself, another view, or the app's test client."""
    app = Timing("legacy")
    app.config["LOG"] = log

    @app.route("/items/<int:number>")
    def item(number: int) -> str:
        log.append(f"view {number}")
        if number != 5:
            return f"legacy {number}"
        other = app.ensure_sync(app.view_functions["other"])()
        itself = app.ensure_sync(app.view_functions["item"])(number=6)
        with app.test_client() as client:
            asked = client.get("/items/8").text
        return f"{other}, {itself}, {asked}"

    @app.route("/other")
    def other() -> str:
        return "other"

    head = ITEM.replace("/5", "/5?how=legacy")
    with serve(moved(app, native_app(log), Seen(), RULE)) as url:
        assert ask(url, head) == (200, b"other, legacy 6, legacy 8")
    assert log.count_of("native") == 1


def test_another_view_that_dispatch_calls_on_the_way_is_called(log: Log) -> None:
    class Welcoming(Flask):
        def dispatch_request(self, *args: Any) -> Any:
            self.ensure_sync(self.view_functions["welcome"])()
            with self.test_client() as client:
                log.append(client.get("/items/9").text)
            return super().dispatch_request(*args)

    class Once(Welcoming):
        def dispatch_request(self, *args: Any) -> Any:
            if "werkzeug" in request.user_agent.string.lower():
                return Flask.dispatch_request(self, *args)
            return super().dispatch_request(*args)

    app = legacy_app(Once, log)

    @app.route("/welcome")
    def welcome() -> str:
        log.append("welcome")
        return ""

    with serve(moved(app, native_app(log), Seen(), RULE)) as url:
        assert ask(url, ITEM) == (200, b'"native 5"')
    assert [each for each in log if each != "hook"] == ["welcome", "view", "legacy 9", "native"]


@pytest.mark.parametrize("how", ["fail", "crash"])
def test_failover_leads_to_the_view_through_the_same_dispatch(how: str, log: Log) -> None:
    with serve(serving(Timing, log, Seen(), failover=True)) as url:
        assert ask(url, ITEM.replace("/5", f"/5?how={how}")) == (200, b"legacy 5")
    assert log == ["hook", "begin", "native", "view", "end"]


def test_a_crash_of_native_is_fastapi_s_500(log: Log) -> None:
    with serve(serving(Timing, log, Seen())) as url:
        assert ask(url, ITEM.replace("/5", "/5?how=crash")) == (500, b"Internal Server Error")
    assert log == ["hook", "begin", "native", "end"]


@pytest.mark.parametrize("kind", [Timing, Guarding, Checking])
def test_a_path_that_only_native_has_passes_the_app_s_dispatch(kind: type[Flask], log: Log) -> None:
    """Flask's own raises its 404 there; where that comes out, nothing has refused the request."""
    app = legacy_app(kind, log)
    app.config["LOG"] = log
    with serve(moved(app, native_app(log), Seen(), RULE)) as url:
        refused = ask(url, "GET /new HTTP/1.1\nHost: ok")
        assert refused[0] == (401 if kind is Guarding else 200)
        assert ask(url, f"GET /new HTTP/1.1\nHost: ok\n{TOKEN}") == (200, b'"native only"')


def test_a_dispatch_that_answers_unknown_paths_keeps_them(log: Log) -> None:
    class Page(Flask):
        def dispatch_request(self, *args: Any) -> Any:
            return "page" if request.url_rule is None else super().dispatch_request(*args)

    with serve(serving(Page, log, Seen())) as url:
        assert ask(url, "GET /new HTTP/1.1\nHost: ok") == (200, b"page")


def test_options_pass_the_app_s_dispatch(log: Log) -> None:
    head = ITEM.replace("GET", "OPTIONS")
    with serve(serving(Guarding, log, Seen(), methods=["GET", "OPTIONS"])) as url:
        assert ask(url, head)[0] == 401
        assert ask(url, f"{head}\n{TOKEN}")[0] == 200
    with serve(serving(Timing, log, Seen(), methods=["GET", "OPTIONS"])) as url:
        timed = ask(url, head)
    with serve(serving(Flask, log, Seen(), methods=["GET", "OPTIONS"])) as url:
        assert ask(url, head) == timed


@pytest.mark.parametrize("held", ["hooks and views", "views"])
def test_a_full_dispatch_that_goes_past_the_hooks_or_dispatch_keeps_the_views(
    held: str, log: Log, caplog: pytest.LogCaptureFixture
) -> None:
    class Full(Flask):
        def full_dispatch_request(self, *args: Any) -> Response:
            if held == "views":
                self.preprocess_request(*args)
            endpoint = request.endpoint or ""
            answer = self.view_functions[endpoint](**(request.view_args or {}))
            return finalized(self, *args, answer)

    with told(caplog) as lines, serve(serving(Full, log, Seen())) as url:
        for _ in range(2):
            assert ask(url, ITEM) == (200, b"legacy 5")
        if held != "views":
            assert lines("Full.full_dispatch_request, or WSGI middleware, answered by itself") == 1
    assert "native" not in log


def test_a_full_dispatch_that_calls_both_has_native_behind_them(log: Log) -> None:
    class Full(Flask):
        def full_dispatch_request(self, *args: Any) -> Response:
            log.append("full")
            return super().full_dispatch_request(*args)

    with serve(serving(Full, log, Seen())) as url:
        assert ask(url, ITEM) == (200, b'"native 5"')
    assert log == ["full", "hook", "native"]


class FullDirect(Flask):
    def full_dispatch_request(self, *args: Any) -> Response:
        self.preprocess_request(*args)
        answer = self.view_functions[request.endpoint or ""](**(request.view_args or {}))
        return finalized(self, *args, answer)


@pytest.mark.parametrize(
    ("kind", "outcome"),
    [
        (Timing, "compared"),
        (Direct, "strayed"),
        (Returning, "strayed"),
        (Rewriting, "strayed"),
        (FullDirect, "strayed"),
    ],
)
def test_a_mirrored_request_is_compared_only_where_native_was_asked(
    kind: type[Flask], outcome: str, log: Log
) -> None:
    """The view's answer, compared with itself, would prove native right."""
    gateway = serving(kind, log, Seen(), cutover="shadow", sample=100)
    with serve(gateway) as url:
        ask(url, ITEM)
        counted = settled(gateway, 1)
    assert counted == {outcome: 1}
    assert log.count_of("native") == (outcome == "compared")
