"""One mutable object per request, the same wherever the request is served.

A context variable that Flask sets is gone when its worker ends, and one that a plain `def`
dependency of FastAPI sets is gone when its thread does. The mapping below is made once, outside of
both apps, so that utilities which know neither framework can write and read it anywhere: in WSGI
and ASGI middleware, in hooks, views, dependencies and handlers, on any thread; and access logs
read it afterwards (`Exchange.state`).
"""

from __future__ import annotations

from contextvars import ContextVar
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

_state: ContextVar[dict[str, Any]] = ContextVar("gateway.request_state")


def request_state() -> dict[str, Any]:
    """Return the running request's own mapping. Raises LookupError outside of a request."""
    try:
        return _state.get()
    except LookupError:
        message = "there is no request: request_state() works while the gateway serves one"
        raise LookupError(message) from None


def begin(state: Mapping[str, Any] | None = None) -> None:
    """Give the running request a mapping of its own, with a copy of `state` in it.

    Called by the outermost ASGI layer, and for every mirrored request.
    """
    _state.set({} if state is None else dict(state))


mirrored: ContextVar[bool] = ContextVar("gateway.mirrored", default=False)


def is_mirror() -> bool:
    """Tell whether the running code serves a mirrored request, whose answer nobody gets.

    Works on both sides, and whatever they call: ask it before a mail is sent or a counter is
    raised. Legacy has it as `environ["gateway.mirror"]`, too.
    """
    return mirrored.get()


#: Where a WSGI app is given the request's Reached.
REACHED_KEY = "gateway.reached"


@dataclass(slots=True, eq=False)
class Reached:
    """How far one request has come in the legacy app; written on its worker's thread.

    `app`: the app was called. `view`: none of its middleware and hooks has answered instead of the
    view, or of the native handler that stands in its place.
    """

    app: bool = False
    view: bool = False

    @property
    def by_hook(self) -> bool:
        """Whether middleware or a hook has answered."""
        return self.app and not self.view
