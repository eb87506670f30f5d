"""How far a request comes in the legacy app: to its view, or only to a hook or middleware."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gateway.state import REACHED_KEY

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from a2wsgi.wsgi_typing import Environ, StartResponse, WSGIApp


def noting(app: WSGIApp) -> WSGIApp:
    """Return the app, which writes down that it was called where somebody wants to know."""

    def called(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        reached: Any = environ.get(REACHED_KEY)
        if reached is not None:
            reached.app = True
        return app(environ, start_response)

    return called


def note_view(environ: Mapping[str, Any]) -> None:
    """Write down that Flask calls the view, where somebody wants to know."""
    reached = environ.get(REACHED_KEY)
    if reached is not None:
        reached.view = True
