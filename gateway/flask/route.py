"""`FlaskRoute`: native handlers that live in Flask's world while they are being ported.

    router = APIRouter(route_class=FlaskRoute)

Around such a handler stands a real Flask request: `request`, `g`, `session`, `current_app` and
whatever extensions and helpers make of them, however deep in the call stack. Flask's hooks run
once, whether the rule says `hooks: inherit` or not. A plain `def` handler runs on the very thread
of the hooks, so that connections and whatever else belongs to a thread stay usable.
"""

from __future__ import annotations

import inspect
from functools import partial, wraps
from typing import TYPE_CHECKING, Any, get_type_hints

from fastapi.exceptions import RequestValidationError, WebSocketRequestValidationError
from fastapi.routing import APIRoute
from flask import current_app, has_request_context
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


class FlaskRoute(APIRoute):
    """A route whose handler has a Flask request and app context.

    It may return what a Flask view may: `jsonify(…)`, a Werkzeug response, `(body, status)` and
    `(body, status, headers)`. Its exceptions go to the side that they belong to: Werkzeug's
    HTTPException (`abort(404)`) and those with a Flask `errorhandler` to Flask, FastAPI's own and
    those with a FastAPI exception handler to FastAPI.

    Raises TypeError where handler or dependencies can't work: see `gateway.flask.misuse`.
    """

    wants_flask = True
    """The dispatcher lets such a route run inside of Flask, whatever its rule says of hooks."""

    def __init__(self, path: str, endpoint: Callable[..., Any], **kwargs: Any) -> None:
        check_endpoint(endpoint)
        if _returns_flask(endpoint):
            kwargs["response_model"] = None
        super().__init__(path, _adapted(endpoint, tuples=_undeclared(endpoint, kwargs)), **kwargs)
        check_dependencies(self.dependant)

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Return FastAPI's handler, with Flask's error handlers behind it."""
        original = super().get_route_handler()

        async def handle(request: Request) -> Response:
            try:
                return await original(request)
            except _FASTAPIS:
                raise
            except Exception as error:
                if not isinstance(error, WerkzeugHTTPException) and _is_fastapis(request, error):
                    raise
                answer: Response = await _on_worker(partial(_flask_answer, error))
                return answer

        return handle

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Run the handler; raises RuntimeError outside of Flask."""
        if not has_request_context():
            message = "a FlaskRoute needs the gateway in front: serve the app through it"
            raise RuntimeError(message)
        await super().handle(scope, receive, send)


def _adapted(endpoint: Callable[..., Any], *, tuples: bool) -> Callable[..., Any]:
    """Return an `async def` with the endpoint's signature, which understands Flask's answers.

    `tuples` are `(body, status, headers)`, unless the handler declares what it returns.
    """
    is_async = inspect.iscoroutinefunction(endpoint)

    @wraps(endpoint)
    async def adapted(*args: Any, **kwargs: Any) -> Any:
        if is_async:
            value = await endpoint(*args, **kwargs)
            if not _is_flasks(value, tuples=tuples):
                return value
            return await _on_worker(partial(_understood, value, tuples=tuples))
        return await _on_worker(lambda: _understood(endpoint(*args, **kwargs), tuples=tuples))

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


def _returns_flask(endpoint: Callable[..., Any]) -> bool:
    returns = _hints(endpoint).get("return")
    return isinstance(returns, type) and issubclass(returns, WerkzeugResponse)


async def _on_worker(function: Callable[[], Any]) -> Any:
    """Run `function` on the thread of Flask's hooks, which waits for us."""
    result: Any = await current.get().on_worker(function)
    return result


def _undeclared(endpoint: Callable[..., Any], kwargs: dict[str, Any]) -> bool:
    model = kwargs.get("response_model")
    returns = _hints(endpoint).get("return", Any)
    # FastAPI wraps what nobody has set into a placeholder with a `value`.
    return getattr(model, "value", model) is None and returns in (Any, object)


def _is_flasks(value: Any, *, tuples: bool) -> bool:
    """Tell whether only Flask can make an answer of `value`."""
    if isinstance(value, WerkzeugResponse):
        return True
    if not tuples or not isinstance(value, tuple) or len(value) not in _TUPLE_SIZES:
        return False
    return isinstance(value[1], int | str | dict | list) and not isinstance(value[1], bool)


def _understood(value: Any, *, tuples: bool) -> Any:
    if _is_flasks(value, tuples=tuples):
        return _FlaskAnswer(current_app.make_response(value))
    return value


def _flask_answer(error: Exception) -> Response:
    """Let Flask's error handlers answer; raises `error` where none of them takes it."""
    try:
        raise error  # noqa: TRY301 - Flask raises it again by a bare `raise`
    except Exception as raised:  # noqa: BLE001
        answer = current_app.handle_user_exception(raised)
    return _FlaskAnswer(current_app.make_response(answer))


def _is_fastapis(request: Request, error: Exception) -> bool:
    """Tell whether the native app has an exception handler of its own for `error`."""
    handlers = getattr(request.app, "exception_handlers", {})
    return any(cls in handlers for cls in type(error).__mro__ if cls is not Exception)


class _FlaskAnswer(Response):
    """A Flask response, as FastAPI hands it on."""

    def __init__(self, answer: WerkzeugResponse) -> None:
        super().__init__(answer.get_data(), answer.status_code)
        self.raw_headers = [
            (name.lower().encode("latin-1"), value.encode("latin-1"))
            for name, value in answer.headers
        ]
