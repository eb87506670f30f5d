"""Views that guard themselves in ways that are easy to miss, and views that do nothing."""

from __future__ import annotations

import contextlib
import functools
import hmac
import json
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import IntEnum
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, ClassVar

import flask
import flask_restx
import werkzeug.exceptions
from flask import (
    Flask,
    Response,
    current_app,
    flash,
    g,
    jsonify,
    make_response,
    redirect,
    render_template,
    request,
    session,
    url_for,
)
from flask import abort as stop
from flask.views import MethodView, View
from flask_login import current_user, login_required
from werkzeug import exceptions
from werkzeug.exceptions import Forbidden, HTTPException, NotFound, Unauthorized

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

REFUSES: list[Callable[..., Any]] = []
PERHAPS: list[Callable[..., Any]] = []
IDENTIFIES: list[Callable[..., Any]] = []
NOTHING: list[Callable[..., Any]] = []

CODE = 403
TEXT = "401 UNAUTHORIZED"
MISSING = 404


class Codes(IntEnum):
    NO = 403
    GONE = 410


class Holder:
    code = 401
    absent = 404

    def __init__(self) -> None:
        self.given = 403


holder = Holder()


def refuses(view: Any) -> Any:
    REFUSES.append(view)
    return view


def perhaps(view: Any) -> Any:
    PERHAPS.append(view)
    return view


def identifies(view: Any) -> Any:
    IDENTIFIES.append(view)
    return view


def nothing(view: Any) -> Any:
    NOTHING.append(view)
    return view


# -- who is calling, asked for in passing ---------------------------------------------------------


@identifies
def looks_into_the_session() -> str:
    if "user" not in session:
        return "please log in"
    return "secret"


@identifies
def chooses_by_the_session() -> str:
    return "secret" if session else "please log in"


@identifies
def walks_the_session() -> str:
    return "secret" if any(each == "user" for each in session) else "please log in"


@identifies
def counts_the_session() -> str:
    return "secret" if len(session) > 1 else "please log in"


@identifies
def asks_a_cookie() -> str:
    return "secret" if request.cookies.get("sid") == "p" else "please log in"


@identifies
def asks_an_address() -> str:
    return "secret" if request.remote_addr == "10.0.0.1" else "not here"


@identifies
def asks_a_header_of_its_own() -> str:
    return "secret" if request.headers.get("X-Client") == "shop" else "not for you"


@identifies
def asks_the_environ() -> str:
    return "secret" if request.environ.get("HTTP_X_CLIENT") == "shop" else "not for you"


@identifies
def asks_a_parameter() -> str:
    return "secret" if request.args.get("api_key") == "k" else "not for you"


@identifies
def asks_a_form() -> str:
    return "secret" if request.form["password"] == "k" else "not for you"


@perhaps
def redirects_by_a_status() -> Any:
    return "", 200 if request.args else 302, {"Location": "/elsewhere"}


class DeletesLoudly:
    def __delitem__(self, name: str) -> None:
        stop(401)


_loud = DeletesLoudly()


@refuses
def deletes() -> str:
    del _loud["x"]
    return "secret"


@nothing
def reads_harmless_headers() -> str:
    wanted = request.headers.get("Accept-Language"), request.headers["User-Agent"]
    return f"{wanted} {request.args.get('page')} {request.headers.get('X-Request-ID')}"


# -- statuses and where they come from -----------------------------------------------------------


@refuses
def aborts_by_enum() -> None:
    stop(HTTPStatus.FORBIDDEN)


@refuses
def aborts_by_value() -> None:
    flask.abort(HTTPStatus.UNAUTHORIZED.value)


@refuses
def aborts_by_own_enum() -> None:
    flask.abort(Codes.NO)


@refuses
def aborts_by_werkzeug() -> None:
    werkzeug.exceptions.abort(403)


@refuses
def aborts_by_restx() -> None:
    flask_restx.abort(code=401, message="no")


@refuses
def aborts_by_app() -> None:
    current_app.aborter(403)


@refuses
def aborts_by_alias() -> None:
    leave = stop
    leave(401)


@refuses
def aborts_by_getattr() -> None:
    getattr(flask, "abort")(403)  # noqa: B009


@refuses
def aborts_by_partial() -> None:
    functools.partial(stop, 403)()


@refuses
def aborts_by_lambda() -> None:
    deny: Callable[[], Any] = lambda: stop(403)  # noqa: E731
    deny()


@refuses
def aborts_in_nested() -> None:
    def deny(code: int) -> None:
        stop(code)

    deny(403)


@refuses
def aborts_with_response() -> None:
    stop(Response("no", 401))


@refuses
def aborts_with_exception() -> None:
    stop(make_response("no", 403))


@refuses
def code_in_global() -> None:
    stop(CODE)


@refuses
def code_in_local() -> None:
    code = 400
    if request.args.get("x"):
        code = code + 1
    stop(code)


@refuses
def code_in_default(code: int = 403) -> Any:
    return "no", code


@refuses
def code_in_class() -> None:
    stop(Holder.code)


@refuses
def code_in_object() -> None:
    stop(holder.given)


def with_code(code: int) -> Callable[[], Any]:
    def closed() -> None:
        stop(code)

    return closed


refuses(with_code(403))


@refuses
def code_in_conditional() -> Any:
    return "no", (200 if request.args else 403)


@refuses
def code_by_walrus() -> Any:
    if (code := int("403")) and request.args:
        stop(code)
    return ""


@refuses
def code_in_dict() -> None:
    stop({"no": 403, "yes": 200}["no"])


@refuses
def code_by_match() -> Any:
    match request.args.get("x"):
        case "a":
            answer = "a"
        case _:
            stop(403)
    return answer


@refuses
def code_in_loop() -> Any:
    code = 404
    for _ in range(2):
        if code == 403:
            stop(code)
        code = 403
    return ""


@perhaps
def code_from_afar() -> None:
    stop(int(request.args["code"]))


@perhaps
def code_from_session_free_text() -> Any:
    return "x", request.args["status"]


# -- answers ------------------------------------------------------------------------------------


@refuses
def by_status_enum() -> Any:
    return "no", HTTPStatus.UNAUTHORIZED


@refuses
def by_status_text() -> Any:
    return Response("x"), "403 FORBIDDEN"


@refuses
def by_status_constant() -> Any:
    return "no", TEXT, {"X": "1"}


@refuses
def by_status_code() -> Any:
    response = jsonify(error="no")
    response.status_code = 401
    return response


@refuses
def by_status() -> Any:
    response = make_response("no")
    response.status = "407 Proxy Authentication Required"
    return response


@refuses
def by_setattr() -> Any:
    response = make_response("no")
    setattr(response, "status_code", 403)  # noqa: B010
    return response


@refuses
def by_make_response() -> Any:
    return make_response(jsonify(error="no"), HTTPStatus.FORBIDDEN)


@refuses
def by_response() -> Any:
    return Response("no", status=HTTPStatus.FORBIDDEN)


@refuses
def by_helper() -> Any:
    return _refusal()


def _refusal() -> Any:
    answer = ("no", 403)
    return answer  # noqa: RET504


@refuses
def by_exception_value() -> Any:
    return Forbidden()


class Denied(Response):
    default_status = 403


@refuses
def by_response_class() -> Any:
    return Denied("no")


@refuses
def by_generator() -> Any:
    for each in _checked():
        return each
    return ""


def _checked() -> Iterator[str]:
    if not request.args:
        stop(403)
    yield "x"


@refuses
def by_context_manager() -> str:
    with _allowed():
        return ""


@contextlib.contextmanager
def _allowed() -> Iterator[None]:
    if not request.args:
        raise Forbidden
    yield


class Allowed:
    def __enter__(self) -> None:
        stop(401)

    def __exit__(self, *args: object) -> None:
        pass


@refuses
def by_context_class() -> str:
    with Allowed():
        return ""


@refuses
def to_login() -> Any:
    if not g.user:
        return redirect("/login")
    return ""


@refuses
def to_login_by_name() -> Any:
    if "user" not in session:
        return redirect(url_for("auth.login", next=request.path))
    return ""


@refuses
def to_login_by_text() -> Any:
    if not request.args:
        return redirect("/signin?next=" + request.path)
    return ""


@perhaps
def to_elsewhere() -> Any:
    if not g.user:
        return redirect("/")
    return ""


@perhaps
def to_computed() -> Any:
    if not request.args:
        return flask.redirect(request.args["next"])
    return ""


# -- exceptions ---------------------------------------------------------------------------------


@refuses
def raises_by_module() -> None:
    raise exceptions.Forbidden


@refuses
def raises_called() -> None:
    raise werkzeug.exceptions.Unauthorized("no")


@perhaps
def raises_reraised() -> Any:
    try:
        raise Unauthorized
    except HTTPException as error:
        raise error from None


class Locked(HTTPException):
    code = 403


class TooPoor(Locked):
    description = "pay"


@refuses
def raises_own() -> None:
    raise TooPoor


@refuses
def raises_made() -> None:
    raise _made_error()


def _made_error() -> Exception:
    return Locked("no")


class NotAllowed(Exception):
    status = 403


class NotNow(NotAllowed):
    pass


class Unready(Exception):
    pass


class Unhandled(Exception):
    pass


@refuses
def raises_handled() -> None:
    raise NotAllowed


@refuses
def raises_handled_below() -> None:
    if not request.args:
        raise NotNow("no")


@nothing
def raises_handled_by_503() -> None:
    raise Unready


@nothing
def raises_unhandled() -> None:
    raise Unhandled


@nothing
def raises_not_found() -> None:
    raise NotFound


@refuses
def caught_and_refused() -> Any:
    try:
        return json.loads(request.data)
    except ValueError:
        stop(403)


@perhaps
def raises_unknown() -> None:
    raise g.error


# -- objects ------------------------------------------------------------------------------------


class Page:
    def __init__(self, name: str) -> None:
        self.name = name
        self.store = Store()

    def save(self) -> None:
        if not self.name:
            stop(403)

    @property
    def title(self) -> str:
        stop(401)

    @classmethod
    def of(cls, name: str) -> Page:
        return cls(name)

    @staticmethod
    def check() -> None:
        stop(403)

    def __bool__(self) -> bool:
        if not self.name:
            stop(403)
        return True

    def __getitem__(self, key: str) -> str:
        raise Forbidden

    def text(self) -> str:
        return self.name.upper()

    def below(self) -> None:
        self.store.put()

    def __call__(self) -> None:
        stop(401)


class Store:
    def put(self) -> None:
        stop(403)

    def size(self) -> int:
        return 0


class SubPage(Page):
    def save(self) -> None:
        super().save()


class Quiet(Page):
    def save(self) -> None:
        pass


class Dynamic:
    def __getattr__(self, name: str) -> Any:
        stop(403)


service = Page("service")
dynamic = Dynamic()
store = Store()
engine: Any = None
registry: dict[str, Callable[[], Any]] = {"deny": aborts_by_enum, "ok": lambda: ""}
checks: list[Callable[[], Any]] = [lambda: stop(403)]


@refuses
def by_method() -> str:
    page = Page(request.args["x"])
    page.save()
    return ""


@refuses
def by_module_object() -> str:
    service.save()
    return ""


@refuses
def by_super() -> str:
    SubPage(request.args["x"]).save()
    return ""


@refuses
def by_property() -> str:
    return Page(request.args["x"]).title


@refuses
def by_classmethod() -> str:
    Page.of("x").save()
    return ""


@refuses
def by_staticmethod() -> str:
    Page.check()
    return ""


@refuses
def by_truth() -> str:
    if Page(request.args["x"]):
        return "x"
    return ""


@refuses
def by_index() -> str:
    return Page(request.args["x"])["y"]


@refuses
def by_attribute_s_method() -> str:
    Page(request.args["x"]).store.put()
    return ""


@refuses
def by_method_of_method() -> str:
    Page(request.args["x"]).below()
    return ""


@refuses
def by_call() -> str:
    service()
    return ""


@refuses
def by_getattr_hook() -> str:
    dynamic.anything()
    return ""


@refuses
def by_registry() -> Any:
    return registry[request.args["x"]]()


@refuses
def by_list() -> str:
    for each in checks:
        each()
    return ""


@refuses
def by_local_list() -> str:
    held = []
    held.append(store)
    held[0].put()
    return ""


@refuses
def by_map() -> str:
    return str(list(map(lambda x: stop(403), [1])))  # noqa: C417


@refuses
def by_argument() -> str:
    return _runs(store.put)


def _runs(function: Callable[[], Any]) -> str:
    function()
    return ""


@refuses
def by_unpacking() -> str:
    page, _ = Page(request.args["x"]), 1
    page.save()
    return ""


@refuses
def by_recursion(depth: int = 0) -> Any:
    if depth:
        stop(403)
    return by_recursion(1)


@dataclass
class Order:
    total: int
    page: Page

    def check(self) -> None:
        self.page.save()

    def size(self) -> int:
        return self.total


@refuses
def by_dataclass() -> str:
    Order(1, Page(request.args["x"])).check()
    return ""


@perhaps
def by_none() -> str:
    engine.save()
    return ""


@perhaps
def by_g() -> str:
    g.page.save()
    return ""


@perhaps
def by_parameter_helper() -> str:
    return _given(g.thing)


def _given(thing: Any) -> str:
    return str(thing.check())


@perhaps
def by_dynamic_name() -> str:
    return str(getattr(service, request.args["x"])())


@perhaps
def by_unknown_user() -> str:
    return "x" if current_user.is_admin else ""


# -- decorators ---------------------------------------------------------------------------------


def checked(view: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(view)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        if not g.get("user"):
            stop(401)
        return view(*args, **kwargs)

    return wrapper


def unmarked(view: Callable[..., Any]) -> Callable[..., Any]:
    def wrapper(*args: Any) -> Any:
        if request.args.get("token") != "x":
            return "no", 403
        return view(*args)

    return wrapper


def with_role(role: str, code: int = 403) -> Callable[..., Any]:
    def decorate(view: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(view)
        def wrapper(*args: Any) -> Any:
            if role != g.role:
                stop(code)
            return view(*args)

        return wrapper

    return decorate


def harmless(view: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(view)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        response = make_response(view(*args, **kwargs))
        response.headers["X-Time"] = datetime.now(UTC).isoformat()
        return response

    return wrapper


class Guarding:
    def __init__(self, view: Callable[..., Any]) -> None:
        self.view = view

    def __call__(self, *args: Any) -> Any:
        if not request.args:
            raise Forbidden
        return self.view(*args)


class Passing:
    def __init__(self, view: Callable[..., Any]) -> None:
        self.view = view

    def __call__(self, *args: Any) -> Any:
        return self.view(*args)


def plain() -> Any:
    return jsonify(ok=request.args.get("q"), url=flask.url_for("x"))


refuses(checked(plain))
refuses(unmarked(plain))
refuses(with_role("admin")(plain))
refuses(Guarding(plain))
refuses(Passing(checked(plain)))
refuses(harmless(unmarked(plain)))
refuses(functools.partial(checked(plain)))
refuses(Guarding(plain).__call__)
refuses(login_required(plain))
refuses(harmless(by_status_enum))
refuses(functools.lru_cache(aborts_by_enum))
nothing(harmless(plain))
nothing(Passing(plain))


@refuses
def by_local_decorator() -> Any:
    @checked
    def inner() -> str:
        return ""

    return inner()


# -- classes ------------------------------------------------------------------------------------


class Decorated(View):
    decorators: ClassVar[list[Any]] = [checked]

    def dispatch_request(self) -> str:
        return ""


class Methods(MethodView):
    def get(self) -> str:
        return ""

    def post(self) -> str:
        self.check()
        return ""

    @checked
    def put(self) -> str:
        return ""

    def check(self) -> None:
        stop(403)


class Below(Methods):
    pass


class Dispatching(MethodView):
    def dispatch_request(self, **kwargs: Any) -> Any:
        if not g.user:
            raise Unauthorized
        return super().dispatch_request(**kwargs)

    def get(self) -> str:
        return ""


class Configured(View):
    def __init__(self, code: int) -> None:
        self.code = code

    def dispatch_request(self) -> Any:
        return "x", self.code


refuses(Decorated.as_view("decorated"))
refuses(Dispatching.as_view("dispatching"))
refuses(checked(Methods.as_view("methods")))
refuses(Configured.as_view("configured", 403))
nothing(Configured.as_view("gone", 410))
nothing(Methods.as_view("methods"))
nothing(Below.as_view("below"))


# -- who is calling -----------------------------------------------------------------------------


@identifies
def reads_session() -> Any:
    return jsonify(name=session.get("name"))


@identifies
def reads_user() -> Any:
    return jsonify(known=current_user.is_authenticated)


@identifies
def reads_g() -> Any:
    return jsonify(user=g.user)


@identifies
def reads_authorization() -> Any:
    return jsonify(sent=request.authorization is not None)


@identifies
def reads_header() -> Any:
    return request.headers.get("X-Api-Token", "")


@identifies
def compares() -> Any:
    return jsonify(same=hmac.compare_digest("a", "b"))


# -- nothing ------------------------------------------------------------------------------------


nothing(plain)


@nothing
def not_found() -> None:
    stop(404)


@nothing
def absent() -> None:
    stop(MISSING if request.args else Holder.absent)


@nothing
def bad_request() -> Any:
    data = request.get_json()
    if not isinstance(data, dict) or "name" not in data:
        stop(HTTPStatus.BAD_REQUEST)
    return jsonify(name=data["name"].strip().upper()), HTTPStatus.CREATED


@nothing
def page() -> Any:
    items = [each for each in range(int(request.args.get("n", "3"))) if each]
    current_app.logger.info("shown %s", len(items))
    flash("shown")
    return render_template("page.html", items=sorted(items, key=lambda each: -each))


@nothing
def posted() -> Any:
    name = request.form["name"]
    flash(f"Saved {name}.")
    return redirect(url_for("page", name=name))


@nothing
def quiet() -> Any:
    page = Quiet("x")
    page.save()
    return page.text()


@nothing
def sizes() -> Any:
    total = Order(3, Quiet("x")).size() + store.size()
    return {"total": total, "at": datetime.now(UTC).isoformat()}, 200, {"X-Total": str(total)}


@nothing
def follows() -> Any:
    return jsonify(_double([1, 2]))


def _double(values: list[int]) -> list[int]:
    result = []
    for value in values:
        result.append(value * 2)  # noqa: PERF401
    return result


@nothing
def matches() -> Any:
    match request.args.get("kind"):
        case "a" | "b" as kind:
            return kind
        case str(other) if other:
            return other.title()
    return ""


@nothing
def tries() -> Any:
    try:
        number = int(request.args["n"])
    except (KeyError, ValueError):
        return jsonify(error="n must be a number"), 422
    finally:
        current_app.logger.debug("asked")
    return str(number)


def app() -> Flask:
    made = Flask(__name__)
    made.secret_key = "s"

    @made.errorhandler(NotAllowed)
    def not_allowed(error: NotAllowed) -> Any:
        return jsonify(error=str(error)), error.status

    @made.errorhandler(Unready)
    def unready(error: Unready) -> Any:
        return "later", 503

    return made


# -- exceptions that redirect --------------------------------------------------------------------


class GoneTo(HTTPException):
    code = 303

    def __init__(self, address: str) -> None:
        super().__init__()
        self.address = address

    def get_response(self, *_: Any, **__: Any) -> Any:
        return redirect(self.address, 303)


def needs_admin(function: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(function)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        if session.get("admin"):
            return function(*args, **kwargs)
        raise GoneTo(url_for(".admin", goto=request.path))

    return wrapper


def needs_somebody(function: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(function)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        if not session.get("user"):
            raise GoneTo("/login")
        return function(*args, **kwargs)

    return wrapper


@perhaps
@needs_admin
def behind_an_exception_that_redirects() -> str:
    return "admin"


@refuses
@needs_somebody
def behind_an_exception_that_redirects_to_a_login() -> str:
    return "somebody"


@nothing
def always_redirects_by_an_exception() -> None:
    raise GoneTo("/elsewhere")


# -- one helper in many ways ---------------------------------------------------------------------


def may_see(name: str) -> bool:
    if name == "part-13":
        stop(403)
    return True


@refuses
def asks_in_many_ways() -> Any:
    may_see("part-0"), may_see("part-1"), may_see("part-2"), may_see("part-3"), may_see("part-4")
    may_see("part-5"), may_see("part-6"), may_see("part-7"), may_see("part-8"), may_see("part-9")
    may_see("part-10"), may_see("part-11"), may_see("part-12"), may_see("part-13")
    return jsonify(ok=True)


def writes(*parts: Any) -> str:
    return "".join(str(part) for part in parts)


@nothing
def writes_in_many_ways() -> Any:
    lines = [writes("a"), writes("b"), writes("c"), writes("d"), writes("e"), writes("f")]
    lines += [writes("g"), writes("h"), writes("i"), writes("j"), writes("k"), writes("l")]
    lines += [writes("m"), writes("n"), writes("o"), writes("p"), writes("q"), writes("r")]
    return jsonify(lines)
