"""A native answer as a Flask response, so that `after_request` sees what it always saw."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from werkzeug.datastructures import Headers
from werkzeug.urls import iri_to_uri

from gateway.legacy import LoopBody

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from flask import Response

    from gateway.legacy import Answer

#: Headers that Werkzeug reads as URLs.
_URLS = ("location", "content-location")


def flask_response(base: type[Response], answer: Answer) -> Response:
    """Return `answer` as a response of the app's own class, its headers as native sent them.

    It is made as Flask makes one of what a view returns (`Flask.make_response`), so that whatever
    the class adds by itself is there.
    """
    kind: Any = base
    body = answer.body or ()
    if not isinstance(answer.body, bytes):
        kind = _streamed(kind)
    headers = [(k.decode("latin-1"), v.decode("latin-1")) for k, v in answer.headers]
    response: Response = kind(body, status=answer.status, headers=Headers(headers))
    if not any(name == b"content-type" for name, _ in answer.headers):
        response.headers.remove("Content-Type")
    for name in _URLS:
        url = response.headers.get(name)
        if url and not _is_uri(url):
            response.__class__ = _as_sent(kind)
            break
    return response


def passed_on(made: Response, base: type[Response], answer: Answer) -> Response:
    """Return a response that Flask has made for a native handler, as it came through native.

    The native app's middleware may have changed its head, and a body that was there as a whole.
    """
    whole = not (made.is_streamed or made.direct_passthrough)
    if whole and answer.body != made.get_data():
        changed = flask_response(base, answer)
        changed.call_on_close(made.close)
        return changed
    made.headers = Headers([(k.decode("latin-1"), v.decode("latin-1")) for k, v in answer.headers])
    made.status_code = answer.status
    return made


def is_host(text: str) -> bool:
    """Tell whether a Host header can stand in a URL: its name can be encoded (RFC 3490)."""
    try:
        parts = urlsplit(f"//{text}")
        _, _ = parts.port, (parts.hostname or "").encode("idna")
    except ValueError:
        return False
    return True


def _is_uri(text: str) -> bool:
    """Tell whether Werkzeug can write a URL: it raises where a host's name can't be encoded."""
    try:
        iri_to_uri(text)
    except ValueError:
        return False
    return True


@cache
def _as_sent(base: type[Response]) -> type[Response]:
    """Return a class of responses whose URLs are sent as native has written them."""

    class AsSent(base):  # type: ignore[valid-type, misc] # a class of the user's
        def get_wsgi_headers(self, environ: dict[str, Any]) -> Headers:
            """Keep Werkzeug from reading what it can't."""
            urls = [each for each in self.headers if each[0].lower() in _URLS]
            for name in _URLS:
                self.headers.remove(name)
            try:
                headers: Headers = super().get_wsgi_headers(environ)
            finally:
                self.headers.extend(urls)
            headers.extend(urls)
            return headers

    return AsSent


@cache
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
