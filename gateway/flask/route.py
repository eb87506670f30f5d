"""`FlaskRoute`: native handlers that live in Flask's world while they are being ported.

    router = APIRouter(route_class=FlaskRoute)

Around such a handler stands a real Flask request: `request`, `g`, `session`, `current_app` and
whatever extensions and helpers make of them, however deep in the call stack. Flask's hooks run
once, whether the rule says `hooks: inherit` or not. A plain `def` handler runs on the very thread
of the hooks, so that connections and whatever else belongs to a thread stay usable.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from dataclasses import dataclass
from functools import wraps
from http import HTTPStatus
from importlib.metadata import version
from types import UnionType
from typing import (
    TYPE_CHECKING,
    Any,
    Union,
    get_args,
    get_origin,
    get_type_hints,
    is_typeddict,
)

from fastapi.exceptions import RequestValidationError, WebSocketRequestValidationError
from fastapi.routing import APIRoute
from flask import current_app, has_request_context, stream_with_context
from starlette.exceptions import HTTPException as StarletteHTTPException
from starlette.exceptions import WebSocketException
from starlette.responses import Response
from werkzeug.exceptions import HTTPException as WerkzeugHTTPException
from werkzeug.wrappers import Response as WerkzeugResponse

from gateway.flask.misuse import check_dependencies, check_endpoint
from gateway.legacy import current

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from starlette.requests import Request
    from starlette.types import Receive, Scope, Send

_FASTAPIS = (
    StarletteHTTPException,
    WebSocketException,
    RequestValidationError,
    WebSocketRequestValidationError,
)
_TUPLE_SIZES = (2, 3)
_UNIONS = (Union, UnionType)
_FLASK = tuple(int(part) for part in version("flask").split(".")[:3] if part.isdigit())
_MOVABLE_STREAMS = (3, 1, 2)
#: Where classes come from that JSON knows, or Flask's JSON writes.
_PLAIN = frozenset({"builtins", "datetime", "decimal", "uuid", "typing", "collections.abc"})


class FlaskRoute(APIRoute):
    """A route whose handler has a Flask request and app context.

    It may return what a Flask view may, and Flask makes the answer of it: text, bytes, a dict or
    list, `(body, status, headers)`, a generator, `jsonify(…)`, `send_file(…)`. What else it returns
    (a Pydantic model, a number), and whatever a handler returns that declares a model, a
    `response_class`, or uses FastAPI's own `response` parameter, is FastAPI's. Its exceptions go to
    the side that they belong to: FastAPI's own and those with a FastAPI exception handler to
    FastAPI, all others to Flask, as if the view had raised them.

    Raises TypeError where handler or dependencies can't work: see `gateway.flask.misuse`.
    """

    wants_flask = True
    """The dispatcher lets such a route run inside of Flask, whatever its rule says of hooks."""

    def __init__(self, path: str, endpoint: Callable[..., Any], **kwargs: Any) -> None:
        check_endpoint(endpoint)
        hints = _hints(endpoint)
        returns = hints.get("return", Any)
        unresolved = not hints and bool(getattr(endpoint, "__annotations__", {}).get("return"))
        if _only_flasks(returns) or (unresolved and not _is_set(kwargs, "response_model")):
            # The annotation is no model, or one that can't be looked up at run time.
            kwargs["response_model"] = None
        flask = _Making(
            values=_flask_may_make(returns)
            and not (_is_set(kwargs, "response_model", "response_class")),
            status=kwargs.get("status_code"),
        )
        super().__init__(path, _adapted(endpoint, flask), **kwargs)
        if _uses_response(self.dependant):
            flask.values = False
        check_dependencies(self.dependant)

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Return FastAPI's handler, which leaves to Flask what isn't FastAPI's to handle."""
        original = super().get_route_handler()

        async def handle(request: Request) -> Response:
            try:
                return await original(request)
            except _FASTAPIS:
                raise
            except Exception as error:
                if not isinstance(error, WerkzeugHTTPException) and _is_fastapis(request, error):
                    raise
                return _Raised(error)

        return handle

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Run the handler; raises RuntimeError outside of Flask."""
        if not has_request_context():
            message = "a FlaskRoute needs the gateway in front: serve the app through it"
            raise RuntimeError(message)
        await super().handle(scope, receive, send)


@dataclass(slots=True)
class _Making:
    """What of a handler's values Flask makes the answer: all that it can, or responses only.

    `status` is what the route's decorator says.
    """

    values: bool
    status: int | None

    def takes(self, value: Any) -> bool:
        """Tell whether Flask makes the answer of a value (Flask, "About Responses")."""
        if isinstance(value, WerkzeugResponse):
            return True
        if not self.values:
            return False
        if isinstance(value, tuple):
            if len(value) not in _TUPLE_SIZES:
                return False
            second = value[1]
            return isinstance(second, int | str | dict | list) and not isinstance(second, bool)
        return isinstance(value, str | bytes | bytearray | dict | list | Iterator)

    def make(self, value: Any) -> Any:
        """Let Flask make the answer, where it can."""
        if not self.takes(value):
            return value
        try:
            answer = current_app.make_response(value)
        except TypeError:
            if isinstance(value, dict | list):
                return value  # what Flask's JSON can't write, FastAPI's may
            raise
        if self.status is not None and not isinstance(value, tuple | WerkzeugResponse):
            answer.status_code = self.status
        if _enters_context(answer):
            answer.get_data()
        return _Made(answer)


def _enters_context(answer: WerkzeugResponse) -> bool:
    """Tell whether a stream has entered the request's context, here and now, to leave it later.

    Flask before 3.1.2 does that in `stream_with_context`, and can't leave it elsewhere: such a
    stream is read to its end where it was made.
    """
    code = getattr(answer.response, "gi_code", None)
    return (
        code is not None
        and code.co_filename == stream_with_context.__code__.co_filename
        and _FLASK < _MOVABLE_STREAMS
    )


def _adapted(endpoint: Callable[..., Any], flask: _Making) -> Callable[..., Any]:
    """Return an `async def` with the endpoint's signature, whose answers Flask may make."""
    is_async = inspect.iscoroutinefunction(endpoint)

    @wraps(endpoint)
    async def adapted(*args: Any, **kwargs: Any) -> Any:
        if is_async:
            # Not on the worker: the loop must not be needed once more, where a handler that keeps
            # a database connection until the request's end has blocked it for the next one.
            return flask.make(await endpoint(*args, **kwargs))
        return await _on_worker(lambda: flask.make(endpoint(*args, **kwargs)))

    # FastAPI looks names up where the function says that it comes from: here they are resolved.
    hints = _hints(endpoint)
    signature = inspect.signature(endpoint)
    parameters = [
        each.replace(annotation=hints.get(each.name, each.annotation))
        for each in signature.parameters.values()
    ]
    returns = hints.get("return", signature.return_annotation)
    adapted.__signature__ = signature.replace(  # type: ignore[attr-defined]
        parameters=parameters, return_annotation=returns
    )
    return adapted


def _hints(endpoint: Callable[..., Any]) -> dict[str, Any]:
    try:
        return get_type_hints(endpoint, include_extras=True)
    except (NameError, TypeError):
        return {}


async def _on_worker(function: Callable[[], Any]) -> Any:
    """Run `function` on the thread of Flask's hooks, which waits for us."""
    result: Any = await current.get().on_worker(function)
    return result


def _is_set(kwargs: dict[str, Any], *names: str) -> bool:
    # FastAPI wraps what nobody has set into a placeholder with a `value`.
    return any(
        kwargs.get(name) is not None and not hasattr(kwargs[name], "value") for name in names
    )


def _only_flasks(hint: Any) -> bool:
    """Tell whether an annotation names what only Flask can make an answer of."""
    origin = get_origin(hint)
    if origin in _UNIONS:
        return any(_only_flasks(each) for each in get_args(hint))
    kind = origin or hint
    return isinstance(kind, type) and issubclass(kind, WerkzeugResponse | Iterator)


def _flask_may_make(hint: Any) -> bool:
    """Tell whether Flask can make an answer of all that an annotation names."""
    if hint in (Any, object, None, type(None)):
        return True
    origin, inner = get_origin(hint), get_args(hint)
    if origin in _UNIONS:
        return all(_flask_may_make(each) for each in inner)
    if origin is tuple:
        return bool(inner) and _flask_may_make(inner[0])
    kind = origin or hint
    if not isinstance(kind, type):
        return False
    if issubclass(kind, WerkzeugResponse | Iterator | str | bytes | bytearray):
        return True
    return kind in (dict, list, tuple) and not any(_names_a_model(each) for each in inner)


def _names_a_model(hint: Any) -> bool:
    kind = get_origin(hint) or hint
    plain = kind in (Any, object, type(None)) or (
        isinstance(kind, type) and kind.__module__ in _PLAIN and not is_typeddict(kind)
    )
    return not (plain or kind in _UNIONS) or any(_names_a_model(each) for each in get_args(hint))


def _uses_response(dependant: Any) -> bool:
    """Tell whether handler or dependencies set headers, cookies or tasks by FastAPI's own means."""
    return bool(
        dependant.response_param_name
        or dependant.background_tasks_param_name
        or any(_uses_response(each) for each in dependant.dependencies)
    )


def _is_fastapis(request: Request, error: Exception) -> bool:
    """Tell whether the native app has an exception handler of its own for `error`."""
    handlers = getattr(request.app, "exception_handlers", {})
    return any(cls in handlers for cls in type(error).__mro__ if cls is not Exception)


class _Made(Response):
    """A Flask response on its way through the native app's middleware, back to Flask.

    What Flask sends is the response itself: a stream is iterated where it was made, a file is sent
    as Flask sends it, and what waits for its end is called.
    """

    def __init__(self, answer: WerkzeugResponse) -> None:
        self.answer = answer
        whole = not (answer.is_streamed or answer.direct_passthrough)
        super().__init__(answer.get_data() if whole else b"", answer.status_code)
        self.raw_headers = [
            (name.lower().encode("latin-1"), value.encode("latin-1"))
            for name, value in answer.headers
        ]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send head and body through the middleware, and leave the response with the worker."""
        current.get().beside = self.answer
        await super().__call__(scope, receive, send)


class _Raised(Response):
    """The place of an answer: Flask makes one of what the handler has raised."""

    def __init__(self, error: Exception) -> None:
        code = error.code if isinstance(error, WerkzeugHTTPException) else None
        super().__init__(status_code=code or HTTPStatus.INTERNAL_SERVER_ERROR)
        self.error = error

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Leave the error with the worker, which raises it where the view would have."""
        current.get().beside = self.error
        await super().__call__(scope, receive, send)
