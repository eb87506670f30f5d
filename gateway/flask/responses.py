"""A native answer as a Flask response, so that `after_request` sees what it always saw."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from flask import Response  # noqa: TC002 - a key at run time
from werkzeug.datastructures import Headers

from gateway.legacy import LoopBody

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from gateway.legacy import Answer


_streamed_classes: dict[type[Response], type[Response]] = {}


def flask_response(base: type[Response], answer: Answer) -> Response:
    """Return `answer` as a response of the app's own class, its headers as native sent them."""
    if isinstance(answer.body, bytes):
        response = base(answer.body or (), answer.status)
    else:
        streamed = _streamed_classes.get(base)
        if streamed is None:
            streamed = _streamed_classes[base] = _streamed(base)
        response = streamed(answer.body, answer.status)
    headers = [(k.decode("latin-1"), v.decode("latin-1")) for k, v in answer.headers]
    response.headers = Headers(headers)
    return response


def _streamed(base: type[Response]) -> type[Response]:
    """Return the app's response class, for a body that the event loop can send by itself."""

    class Streamed(base):  # type: ignore[valid-type, misc] # a class of the user's
        _watched = False

        def call_on_close(self, func: Callable[[], Any]) -> Callable[[], Any]:
            """Stay in the way of the body: someone waits for its end."""
            self._watched = True
            called: Callable[[], Any] = super().call_on_close(func)
            return called

        def get_app_iter(self, environ: dict[str, Any]) -> Iterable[bytes]:
            """Return the body itself where nobody has touched it: the worker is then free."""
            chunks: Iterable[bytes] = super().get_app_iter(environ)
            if chunks and not self._watched and isinstance(self.response, LoopBody):
                return self.response
            return chunks

    return Streamed
