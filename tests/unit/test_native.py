"""NativeApp: listing, direct dispatch, and everything of FastAPI that must keep working."""

from __future__ import annotations

import asyncio
import gc
import json
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from typing import TYPE_CHECKING, Any

import pytest
from fastapi import APIRouter, FastAPI, Request
from fastapi.routing import APIRoute
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.responses import PlainTextResponse
from starlette.routing import Match, Mount, NoMatchFound, Route, Router

from gateway.native import NativeApp, included
from gateway.native.candidate import get_route_path
from tests.apps.native_zoo import (
    HAS_FRONTEND,
    Answer,
    Versioned,
    ask,
    build,
    echo,
    echo_named,
    log_of,
    plain_asgi,
    scope_of,
    who,
)

if TYPE_CHECKING:
    from pathlib import Path

    from starlette.types import ASGIApp, Receive, Scope, Send

    from gateway.inventory import NativeEndpoint

Run = Callable[[Coroutine[Any, Any, Answer]], Answer]


@pytest.fixture(scope="module")
def run() -> Iterator[Run]:
    with asyncio.Runner() as runner:
        yield runner.run


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    (tmp_path / "page.txt").write_text("page")
    (tmp_path / "index.html").write_text("<p>index</p>")
    return tmp_path


@pytest.fixture
def zoo(directory: Path) -> FastAPI:
    return build(directory)


@pytest.fixture
def native(zoo: FastAPI) -> NativeApp:
    return NativeApp(zoo)


def endpoint(native: NativeApp, path: str, method: str = "GET") -> NativeEndpoint:
    for each in native.endpoints():
        if each.path == path and (each.methods is None or method in each.methods):
            return each
    raise LookupError(path)


def pinned(native: NativeApp, template: str, params: dict[str, Any], method: str = "GET") -> Any:
    """Return an ASGI app that serves everything by one route."""
    target = endpoint(native, template, method)

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await native.serve(target, params, scope, receive, send)

    return app


def data(answer: Answer) -> Any:
    assert answer.status == 200, answer
    return json.loads(answer.body)


# --- what there is --------------------------------------------------------------------------


def test_endpoints_are_listed_with_prefixes_tags_and_kinds(native: NativeApp) -> None:
    leaf = endpoint(native, "/api/outer/{tenant}/middle/deep/inner/leaf/{id:int}")
    assert leaf.methods == frozenset({"GET"})
    assert leaf.name == "leaf"
    assert leaf.tags[-1] == "leaf"
    assert {"api", "middle", "inner"} <= set(leaf.tags)
    assert (leaf.module, leaf.qualname) == ("tests.apps.native_zoo", "_leaf")
    assert leaf.include_in_schema
    assert not leaf.mounted
    kinds = {each.path: each.kind for each in native.endpoints()}
    assert kinds["/ws/{room}"] == "websocket"
    assert kinds["/api/outer/{tenant}/middle/deep/inner/ws/{room}"] == "websocket"
    assert kinds["/sub"] == kinds["/asgi"] == kinds["/static"] == "mount"
    assert kinds["{name}.zoo.test"] == "host"
    assert [each.order for each in native.endpoints()] == list(range(len(kinds_of(native))))


def kinds_of(native: NativeApp) -> list[str]:
    return [each.kind for each in native.endpoints()]


def test_routes_of_mounted_apps_are_listed_below_their_mount(native: NativeApp) -> None:
    child = endpoint(native, "/sub/child/{id:int}")
    assert (child.kind, child.mounted, child.tags) == ("route", True, ("child",))
    grandchild = endpoint(native, "/sub/deeper/{level}/grandchild/{name}")
    assert grandchild.mounted
    assert endpoint(native, "/group/star/{n:int}").mounted
    assert child.order < endpoint(native, "/sub").order


@pytest.mark.skipif(not HAS_FRONTEND, reason="this FastAPI has no frontend()")
def test_frontend_is_listed_and_found_last(native: NativeApp, run: Run) -> None:
    assert native.endpoints()[-1].kind == "frontend"
    found = native.find(scope_of("/ui/page.txt"))
    assert found is not None
    assert (found.endpoint.path, found.outcome) == ("/ui", "full")
    assert run(ask(native, "/ui/page.txt")).body == b"page"
    refused = native.find(scope_of("/ui/page.txt", "POST"))
    assert refused is not None
    assert refused.outcome == "partial"


def test_find_says_run_405_redirect_or_nothing(native: NativeApp) -> None:
    def outcome(path: str, method: str = "GET", **more: Any) -> tuple[str, str] | None:
        found = native.find(scope_of(path, method, **more))
        return (found.outcome, found.endpoint.path) if found is not None else None

    assert outcome("/users/me") == ("full", "/users/me")
    assert outcome("/users/7", "PATCH") == ("partial", "/users/{id:int}")
    assert outcome("/users/7", "HEAD") == ("partial", "/users/{id:int}")
    assert outcome("/items") == ("redirect", "/items/")
    assert outcome("/nowhere") is None
    assert outcome("/ws/1", kind="websocket") == ("full", "/ws/{room}")
    assert outcome("/ws/1") is None
    assert outcome("/sub/child/7") == ("full", "/sub/child/{id:int}")
    assert outcome("/sub/child/7", "POST") == ("partial", "/sub/child/{id:int}")
    assert outcome("/sub/slash") == ("redirect", "/sub/slash/")
    assert outcome("/sub/unknown") == ("full", "/sub")
    assert outcome("/mnt/users/me", root_path="/mnt") == ("full", "/users/me")


def test_find_leaves_the_scope_as_it_is(native: NativeApp) -> None:
    scope = scope_of("/api/outer/x/middle/deep/inner/v")
    before = dict(scope)
    assert native.find(scope) is not None
    assert scope == before


@pytest.mark.parametrize(
    ("path", "root", "left"),
    [
        ("/a/b", "", "/a/b"),
        ("/a/b", "/a", "/b"),
        ("/a", "/a", ""),
        ("/b", "/a", "/b"),
    ],
)
def test_starlette_reads_path_and_root_path_as_ever(path: str, root: str, left: str) -> None:
    """The one private function of Starlette's that is used: its routes match what it returns."""
    assert get_route_path({"path": path, "root_path": root}) == left


def test_the_apps_own_root_path_wins() -> None:
    app = FastAPI()
    app.root_path = "/mnt"
    app.get("/x")(echo_named("x"))
    assert NativeApp(app).find(scope_of("/mnt/x")) is not None


def test_params_are_read_by_the_routes_own_regex(native: NativeApp) -> None:
    user = endpoint(native, "/users/{id:int}")
    assert native.params_for(user, "/users/7") == {"id": 7}
    assert native.params_for(user, "/users/x") is None
    assert native.params_for(endpoint(native, "/sub"), "/sub/a/b") == {"path": "a/b"}
    child = endpoint(native, "/sub/deeper/{level}/grandchild/{name}")
    path = "/sub/deeper/3/grandchild/x"
    assert native.params_for(child, path) == {"level": "3", "name": "x"}
    assert native.params_for(child, "/sub/child/3") is None
    assert native.params_for(endpoint(native, "{name}.zoo.test"), "/hosted/1") is None


def test_any_other_asgi_app_is_opaque_and_just_called(run: Run) -> None:
    native = NativeApp(plain_asgi)
    assert native.opaque
    assert native.endpoints() == ()
    assert native.find(scope_of("/")) is None
    assert run(ask(native, "/x")).body == b"asgi  /x"


@pytest.mark.parametrize("app_class", [Starlette, Router])
def test_starlette_and_bare_routers_are_indexed(app_class: Any, run: Run) -> None:
    def app() -> Any:
        return app_class(routes=[Route("/s/{x}", echo), Mount("/m", routes=[Route("/y", echo)])])

    native, plain = NativeApp(app()), app()
    assert not native.opaque
    for path in ("/s/1", "/s/1/", "/m/y", "/m/z", "/none"):
        got, wanted = run(ask(native, path)), run(ask(plain, path))
        assert (got.status, got.body, got.headers) == (wanted.status, wanted.body, wanted.headers)
        assert type(got.scope.get("route")) is type(wanted.scope.get("route"))


# --- nobody notices the entry ---------------------------------------------------------------


def test_the_entry_is_in_no_document_and_no_url(zoo: FastAPI, directory: Path) -> None:
    plain = build(directory)
    NativeApp(zoo)
    assert zoo.openapi() == plain.openapi()
    assert zoo.url_path_for("leaf", tenant="t", id=7) == plain.url_path_for(
        "leaf", tenant="t", id=7
    )
    with pytest.raises(NoMatchFound):
        zoo.url_path_for("")


def test_wrapping_twice_adds_one_entry(zoo: FastAPI, run: Run) -> None:
    before = len(zoo.routes)
    first, second = NativeApp(zoo), NativeApp(zoo)
    assert len(zoo.routes) == before + 1
    assert run(ask(first, "/users/7")).body == run(ask(second, "/users/7")).body
    assert first.endpoints() == second.endpoints()


def test_the_wrapped_app_still_answers_when_called_itself(zoo: FastAPI, run: Run) -> None:
    NativeApp(zoo)
    assert data(run(ask(zoo, "/users/7")))["name"] == "user"
    assert run(ask(zoo, "/nowhere")).status == 404


def walk(scope: Scope) -> list[str]:
    """Name the route as OpenTelemetry and Prometheus instrumentations do."""
    return [
        getattr(route, "path", "?")
        for route in scope["app"].routes
        if not isinstance(route, Route) and route.matches(scope)[0] is Match.FULL
    ] + [
        route.path
        for route in scope["app"].routes
        if isinstance(route, Route) and Route.matches(route, scope)[0] is Match.FULL
    ]


@pytest.mark.parametrize("below_another_router", [False, True])
def test_tools_that_walk_the_routes_see_the_real_one(
    below_another_router: bool,
    run: Run,
) -> None:
    seen: list[list[str]] = []

    class Walker:
        def __init__(self, app: ASGIApp) -> None:
            self.app = app

        async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
            seen.append(walk(scope))
            await self.app(scope, receive, send)
            seen.append(walk(scope))

    app = FastAPI(middleware=[Middleware(Walker)])

    @app.get("/x/{y}")
    async def endpoint(request: Request) -> None:
        seen.append(walk(request.scope))

    native = NativeApp(app)
    more: dict[str, Any] = {"router": Router()} if below_another_router else {}
    assert run(ask(native, "/x/1", **more)).status == 200
    assert seen == [["/x/{y}"]] * 3


def test_an_outer_routers_place_in_the_scope_is_kept(run: Run) -> None:
    app = FastAPI()

    @app.get("/x/{y}", name="inner_x")
    async def x(request: Request, y: str) -> dict[str, Any]:
        return {"outer": request.scope["router"] is outer.router, **who(request.scope)}

    native = NativeApp(app)
    outer = Starlette(routes=[Mount("/in", app=native)])
    assert data(run(ask(outer, "/in/x/1")))["outer"]
    assert run(ask(outer, "/in/none")).status == 404
    outer = Starlette(routes=[Mount("/in", app=pinned(native, "/x/{y}", {"y": "2"}))])
    spelled = data(run(ask(outer, "/in//x/2/")))
    assert spelled["outer"]
    assert spelled["params"] == {"y": "'2'"}


def test_fastapis_own_telemetry_gets_the_template(zoo: FastAPI, run: Run) -> None:
    api = pytest.importorskip("fastapi.telemetry._api")
    native = NativeApp(zoo)
    for path, template in {
        "/users/7": "/users/{id:int}",
        "/api/outer/t/middle/deep/inner/leaf/7": None,
        "/sub/child/7": None,
        "/asgi/x": None,
        "/second/middle/deep/box/x": None,
        "/items": None,
    }.items():
        routes = []
        for app in (zoo, native):
            telemetry = api._RequestTelemetry(
                span=None, span_method="GET", tracer=None, logger=None, _mount_prefix=""
            )
            run(ask(app, path, **{"fastapi.telemetry": telemetry}))
            routes.append(telemetry.route)
        assert routes[0] == routes[1]
        assert routes[1] is not None, path
        assert template is None or routes[1].replace("{id}", "{id:int}") == template


# --- features keep working ------------------------------------------------------------------


def test_url_for_works_inside_a_handler(native: NativeApp, run: Run) -> None:
    links = data(run(ask(native, "/linked/a")))
    assert links["self"] == "http://zoo.example/linked/a"


def test_route_classes_keep_their_overrides(native: NativeApp, run: Run) -> None:
    base = "/second/middle/deep/inner"
    tagged = run(ask(native, f"{base}/tagged/1"))
    assert (tagged.header("x-handler"), tagged.header("x-handle")) == (["tagged"], ["tagged"])
    assert tagged.header("x-guard") == ["inner"]
    for path, names in {"/v": ("v1", "v2"), f"{base}/v": ("inner_v1", "inner_v2")}.items():
        assert data(run(ask(native, path)))["name"] == names[0]
        versioned = data(run(ask(native, path, headers=[(b"x-version", b"2")])))
        assert (versioned["name"], versioned["versioned"]) == (names[1], True)


def test_include_dependencies_run_once_per_include(native: NativeApp, run: Run) -> None:
    answer = run(ask(native, "/api/outer/t/middle/deep/inner/leaf/7"))
    assert answer.header("x-guard") == ["outer", "inner"]


def test_yield_dependencies_and_overrides(zoo: FastAPI, native: NativeApp, run: Run) -> None:
    assert run(ask(native, "/held/1")).body == b"resource 1"
    assert zoo.state.log == ["open", "run", "close"]
    other: list[str] = []
    zoo.dependency_overrides[log_of] = lambda: other
    assert run(ask(native, "/held/2")).status == 200
    assert other == ["open", "run", "close"]


def test_form_and_body_limits_of_an_include_hold(run: Run) -> None:
    try:
        inner = APIRouter(form_limits={"max_fields": 1})
    except TypeError:
        pytest.skip("this FastAPI has no form limits")

    def app() -> FastAPI:
        app, outer = FastAPI(max_body_size=1000), APIRouter()
        inner.add_api_route("/l", limits, methods=["GET"])
        outer.include_router(inner, prefix="/in", max_body_size=10)
        outer.mount("/box", plain_asgi)
        app.include_router(outer, max_body_size=20, form_limits={"max_files": 2})
        return app

    async def limits(request: Request) -> dict[str, Any]:
        await request.body()
        return dict(request.scope["fastapi"]["form_limits"])

    native, plain = NativeApp(app()), app()
    for length in (b"5", b"15", b"30", b"2000"):
        headers = [(b"content-length", length)]
        for path in ("/in/l", "/box/x"):
            got = run(ask(native, path, headers=headers))
            wanted = run(ask(plain, path, headers=headers))
            assert (got.status, got.body) == (wanted.status, wanted.body)
    assert data(run(ask(native, "/in/l"))) == {"max_fields": 1, "max_files": 2}


def test_routes_with_a_regex_of_their_own_are_asked_for_every_path(run: Run) -> None:
    """The known trick for case-insensitive routes: the index must not trust the template."""
    import re

    class Insensitive(APIRoute):
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            super().__init__(*args, **kwargs)
            self.path_regex = re.compile(self.path_regex.pattern, re.IGNORECASE)

    app = FastAPI()
    app.router.add_api_route("/Case/{x}", echo_named("c"), route_class_override=Insensitive)
    assert data(run(ask(NativeApp(app), "/cASE/1")))["name"] == "c"


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_an_include_that_cant_be_read_is_run_as_a_whole(
    zoo: FastAPI, directory: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As it would be under a FastAPI whose included routers are built in another way."""
    monkeypatch.setattr(included, "UNDERSTOOD", False)
    plain, native = build(directory), NativeApp(zoo)
    for path in ("/api/outer/t/middle/deep/inner/leaf/7", "/second/middle", "/users/7", "/none"):
        for method in ("GET", "POST", "PATCH"):
            got, wanted = run(ask(native, path, method)), run(ask(plain, path, method))
            assert (got.status, got.body, got.headers) == (
                wanted.status,
                wanted.body,
                wanted.headers,
            )
    gc.collect()  # The filter is for what Starlette before 0.40 leaves open here.


# --- routes that come and go ----------------------------------------------------------------


def test_routes_that_come_and_go_are_seen(run: Run) -> None:
    app = FastAPI()
    inner = APIRouter()
    inner.get("/first")(echo_named("first"))
    app.include_router(inner, prefix="/in")
    native = NativeApp(app)

    def names(*paths: str) -> list[Any]:
        answers = [run(ask(native, path)) for path in paths]
        return [json.loads(a.body).get("name") if a.status == 200 else a.status for a in answers]

    assert names("/late", "/in/first") == [404, "first"]
    app.get("/late")(echo_named("late"))
    assert names("/late") == ["late"]
    assert endpoint(native, "/late").qualname.startswith("echo_named")
    app.router.routes.insert(0, Route("/late", PlainTextResponse("x")))
    assert run(ask(native, "/late")).body == b"x"
    del app.router.routes[0]
    assert names("/late") == ["late"]
    app.router.routes.remove(next(r for r in app.routes if getattr(r, "path", "") == "/late"))
    assert names("/late") == [404]
    app.router.routes = [Route("/only", PlainTextResponse("only"))]
    assert run(ask(native, "/only")).body == b"only"
    assert names("/in/first") == [404]
    assert [each.path for each in native.endpoints()] == ["/only"]


def test_a_route_replaced_by_an_equal_one_is_seen(run: Run) -> None:
    """Starlette calls routes equal by path, endpoint and methods; their headers may differ."""
    app = FastAPI()
    shared = echo_named("shared")
    app.add_api_route("/x", shared, status_code=200)
    native = NativeApp(app)
    assert run(ask(native, "/x")).status == 200

    @app.get("/y")
    async def other() -> dict[str, str]:
        return {"other": "y"}

    app.router.routes[-1] = APIRoute("/x", other)
    replaced = APIRoute("/x", shared, methods=["GET"])
    position = next(i for i, r in enumerate(app.routes) if getattr(r, "path", "") == "/x")
    app.router.routes[position] = replaced
    assert run(ask(native, "/x")).scope["route"] is replaced


def test_routes_added_below_an_include_are_seen_when_fastapi_sees_them(run: Run) -> None:
    def answers(wrap: Callable[[FastAPI], Any]) -> list[Any]:
        app, inner, deep = FastAPI(), APIRouter(), APIRouter()
        inner.include_router(deep, prefix="/deep")
        app.include_router(inner, prefix="/in")
        app.get("/in/deep/x")(echo_named("shadowed"))
        asked = wrap(app)
        statuses = [run(ask(asked, "/in/deep/x")).body]
        deep.get("/x")(echo_named("deep"))
        statuses.append(run(ask(asked, "/in/deep/x")).body)
        inner.routes.insert(0, Route("/deep/x", echo))
        statuses.append(run(ask(asked, "/in/deep/x")).body)
        return statuses

    assert answers(NativeApp) == answers(lambda app: app)


@pytest.mark.skipif(not hasattr(APIRouter(), "_routes_version"), reason="nothing to count")
def test_fastapi_counts_the_changes_of_a_router() -> None:
    """The one private counter that the index relies on; without it, lists are compared."""
    inner = APIRouter()
    before = included.stamp([inner])
    inner.get("/x")(echo_named("x"))
    assert included.stamp([inner]) != before
    assert included.UNDERSTOOD

    class Uncounted:
        routes = [1]  # noqa: RUF012

    uncounted = Uncounted()
    first = included.stamp([uncounted])
    assert first == included.stamp([uncounted])
    uncounted.routes.append(2)
    assert first != included.stamp([uncounted])


def test_routes_added_to_a_mounted_app_are_listed(native: NativeApp, zoo: FastAPI) -> None:
    mount = next(r for r in zoo.routes if getattr(r, "path", "") == "/sub")
    assert isinstance(mount, Mount)
    assert isinstance(mount.app, FastAPI)
    mount.app.get("/late/{x}")(echo_named("late"))
    assert endpoint(native, "/sub/late/{x}").mounted
    found = native.find(scope_of("/sub/late/1"))
    assert found is not None
    assert found.endpoint.path == "/sub/late/{x}"


def test_an_app_mounted_below_itself_is_listed_once(run: Run) -> None:
    outer, inner = FastAPI(openapi_url=None), FastAPI(openapi_url=None)
    outer.get("/x")(echo_named("x"))
    outer.mount("/in", inner)
    inner.mount("/out", outer)
    native = NativeApp(outer)
    assert [each.path for each in native.endpoints()] == ["/x", "/in/out", "/in"]
    assert data(run(ask(native, "/in/out/in/out/x")))["name"] == "x"


# --- straight to a route --------------------------------------------------------------------


@pytest.mark.parametrize(
    "path", ["/users/7", "//users//7", "/users/7/", "/users/./7", "/quite/another"]
)
def test_a_pinned_route_is_reached_however_the_path_is_spelled(
    native: NativeApp, path: str, run: Run
) -> None:
    answer = run(ask(pinned(native, "/users/{id:int}", {"id": 7}), path))
    got = data(answer)
    assert (got["name"], got["params"]["id"], got["path"]) == ("user", "7", path)
    assert answer.header("x-timing") == ["1"]
    assert answer.header("x-signed") == ["zoo"]
    assert answer.scope["route"].path == "/users/{id:int}"


def test_a_pinned_route_wins_over_earlier_ones(native: NativeApp, run: Run) -> None:
    shadowed = pinned(native, "/api/x/middle/later", {})
    assert data(run(ask(shadowed, "/api/x/middle/later")))["name"] == "shadowed"
    assert data(run(ask(native, "/api/x/middle/later")))["name"] == "shadowed"
    me = pinned(native, "/users/{name}", {"name": "7"}, "DELETE")
    assert data(run(ask(me, "/users/7", "DELETE")))["name"] == "delete_user"
    late = pinned(native, "/api/outer/{tenant}/middle/late", {"tenant": "t"})
    assert data(run(ask(late, "/api/outer/t/middle/late")))["name"] == "never_reached"


def test_a_pinned_included_route_has_its_includes_around_it(native: NativeApp, run: Run) -> None:
    template = "/api/outer/{tenant}/middle/deep/inner/leaf/{id:int}"
    app = pinned(native, template, {"tenant": "t", "id": 7})
    answer = run(ask(app, "/api//outer/t/middle/deep/inner/leaf/7/"))
    assert data(answer)["params"] == {"tenant": "'t'", "id": "7"}
    assert answer.header("x-guard") == ["outer", "inner"]


def test_given_params_win_over_the_paths_own_reading(native: NativeApp, run: Run) -> None:
    app = pinned(native, "/files/{rest:path}", {"rest": "a/b"})
    assert data(run(ask(app, "/files//a//b")))["params"] == {"rest": "'a/b'"}


def test_a_pinned_routes_errors_are_the_apps_to_handle(native: NativeApp, run: Run) -> None:
    answer = run(ask(pinned(native, "/fail", {}), "//fail/"))
    assert answer.status == 418
    assert json.loads(answer.body) == {"zoo": "on purpose", "at": "//fail/"}


def test_a_pinned_routes_resources_close_after_the_answer(
    native: NativeApp, zoo: FastAPI, run: Run
) -> None:
    assert run(ask(pinned(native, "/held/{id}", {"id": "1"}), "/held/1/")).body == b"resource 1"
    assert zoo.state.log == ["open", "run", "close"]


def test_head_on_a_pinned_get_is_left_to_the_caller(native: NativeApp, run: Run) -> None:
    app = pinned(native, "/users/{id:int}", {"id": 7})
    answer = run(ask(app, "/users/7", "HEAD"))
    assert (answer.status, answer.header("allow")) == (405, ["GET"])


def test_routes_of_mounted_apps_can_be_pinned(native: NativeApp, run: Run) -> None:
    app = pinned(native, "/sub/child/{id:int}", {"id": 7})
    assert data(run(ask(app, "/sub/child/7")))["path"] == "/sub/child/7"
    spelled = data(run(ask(app, "//sub//child/7/")))
    assert (spelled["name"], spelled["path"], spelled["root_path"]) == (
        "child",
        "/sub/child/7",
        "/sub",
    )
    deep = pinned(native, "/sub/deeper/{level}/grandchild/{name}", {"level": "1", "name": "x"})
    assert data(run(ask(deep, "/sub/deeper/1//grandchild/x")))["name"] == "grandchild"
    mount = pinned(native, "/asgi", {"path": "x/y"})
    assert run(ask(mount, "//asgi/x/y")).body == b"asgi /asgi /asgi/x/y"


def test_route_classes_keep_their_overrides_when_pinned(native: NativeApp, run: Run) -> None:
    inner = "/second/middle/deep/inner"
    tagged = run(ask(pinned(native, f"{inner}/tagged/{{id}}", {"id": "1"}), "/tagged//1"))
    assert (tagged.status, tagged.header("x-handle")) == (200, ["tagged"])
    version_2 = next(e for e in native.endpoints() if e.path == "/v" and e.name == "v2")

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await native.serve(version_2, {}, scope, receive, send)

    assert data(run(ask(app, "/v/", headers=[(b"x-version", b"2")])))["name"] == "v2"
    assert data(run(ask(app, "/v")))["name"] == "v1", "its own matches() refused"


def test_a_pinned_websocket_is_reached(native: NativeApp, run: Run) -> None:
    template = "/api/outer/{tenant}/middle/deep/inner/ws/{room}"
    app = pinned(native, template, {"tenant": "t", "room": "r"})
    sent = run(ask(app, "//api/outer/t/middle/deep/inner/ws/r/", kind="websocket")).sent
    assert [message["type"] for message in sent] == [
        "websocket.accept",
        "websocket.send",
        "websocket.close",
    ]
    assert json.loads(sent[1]["text"])["room"] == "r"


def test_a_missing_parameter_is_refused_before_the_app_is_called(
    native: NativeApp, run: Run
) -> None:
    answer = run(ask(pinned(native, "/users/{id:int}", {}), "/users/7"))
    assert answer.error == "ValueError('/users/{id:int}: no value for id')"
    assert answer.status is None
    assert "path" in run(ask(pinned(native, "/asgi", {}), "//asgi")).error


def test_the_pin_is_dropped_where_a_middleware_rewrites_the_request(
    native: NativeApp, run: Run
) -> None:
    app = pinned(native, "/users/{id:int}", {"id": 7})
    assert data(run(ask(app, "/rewritten/items/")))["name"] == "items"


def test_a_method_override_drops_the_pin(run: Run) -> None:
    class Override:
        def __init__(self, app: ASGIApp) -> None:
            self.app = app

        async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
            await self.app({**scope, "method": "DELETE"}, receive, send)

    app = FastAPI(middleware=[Middleware(Override)])
    app.post("/x")(echo_named("post"))
    app.delete("/x")(echo_named("delete"))
    native = NativeApp(app)
    assert data(run(ask(pinned(native, "/x", {}, "POST"), "/x", "POST")))["name"] == "delete"


def test_an_endpoint_that_the_app_has_lost_is_not_run(
    native: NativeApp, zoo: FastAPI, run: Run
) -> None:
    app = pinned(native, "/users/{id:int}", {"id": 7})
    zoo.router.routes[:] = [
        route for route in zoo.routes if getattr(route, "path", "") != "/users/{id:int}"
    ]
    assert run(ask(app, "//users/7")).status == 404


def test_an_endpoint_listed_before_a_change_still_reaches_its_route(
    native: NativeApp, zoo: FastAPI, run: Run
) -> None:
    app = pinned(native, "/users/{id:int}", {"id": 7})
    zoo.router.routes.insert(0, Route("/new", echo))
    assert data(run(ask(app, "//users/7")))["name"] == "user"


def test_a_host_or_an_app_of_another_gateway_is_matched_normally(
    native: NativeApp, run: Run
) -> None:
    hosted = pinned(native, "{name}.zoo.test", {})
    assert data(run(ask(hosted, "/users/7")))["name"] == "user"


def test_an_opaque_app_serves_without_endpoints(run: Run, native: NativeApp) -> None:
    opaque = NativeApp(plain_asgi)
    some = endpoint(native, "/users/{id:int}")

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await opaque.serve(some, {}, scope, receive, send)

    assert run(ask(app, "/x")).body == b"asgi  /x"


def test_requests_in_flight_do_not_mix(native: NativeApp, run: Run) -> None:
    async def many() -> Answer:
        apps: list[Callable[..., Awaitable[None]]] = [
            pinned(native, "/users/{id:int}", {"id": 1}),
            native,
            pinned(native, "/items/", {}),
        ] * 20
        answers = await asyncio.gather(*(ask(app, "/users/me") for app in apps))
        names = [json.loads(answer.body)["name"] for answer in answers]
        assert names == ["user", "me", "items"] * 20
        return answers[0]

    run(many())


def test_custom_matches_is_never_skipped_by_the_index(zoo: FastAPI) -> None:
    assert any(isinstance(route, Versioned) for route in zoo.routes)
    asked: list[str] = []

    class Recording(APIRoute):
        def matches(self, scope: Scope) -> tuple[Match, Scope]:
            asked.append(scope["path"])
            return super().matches(scope)

    zoo.router.routes.insert(0, Recording("/recorded", echo_named("recorded")))
    assert NativeApp(zoo).find(scope_of("/elsewhere")) is None
    assert asked[0] == "/elsewhere"
