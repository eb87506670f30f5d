"""What hooks put in the place of a part of Flask's request: native would read the sent one.

Werkzeug keeps what it has read of a request in the request's own `__dict__` (`cached_property`,
`_load_form_data`, `get_data`, `get_json`), where hooks may put something else: `request.form =
cleaned`. So a request that native may answer gets a class that notes what Werkzeug puts there by
itself. Whatever else is found there in the end, under a name that a request has, is a hook's. What
hooks add under names of their own (`request.user`) is nothing that native would read.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache, wraps
from operator import is_
from types import new_class
from typing import TYPE_CHECKING, Any

from flask import appcontext_pushed, request_started
from flask.sessions import SecureCookieSessionInterface
from werkzeug.datastructures import ImmutableDict, ImmutableMultiDict
from werkzeug.utils import cached_property

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from flask import Flask, Request

#: Where the request keeps what was noted, and its class what is known of it.
_NOTED, _WATCHING = "_gateway_noted", "_gateway_watching"
_MISSING = object()
#: Read of the body, which can be read only once.
_OF_THE_BODY = frozenset(
    {"form", "files", "values", "data", "stream", "_cached_data", "_cached_json"}
)
#: Set by Flask after it has made the request. What its matching gave is looked at elsewhere.
_BY_FLASK = frozenset({"json_module", "url_rule", "view_args", "routing_exception", "shallow"})
#: Read by Flask itself before any hook: for the session, and for the map's host.
_USUAL = frozenset({"cookies", "host"})
#: Methods of Werkzeug's that keep something, and under which names.
_KEEPING = {
    "_load_form_data": ("form", "files", "stream"),
    "get_data": ("_cached_data",),
    "get_json": ("_cached_json",),
}


@dataclass(frozen=True, slots=True)
class _Watching:
    """A request class, and the one that notes in its place.

    `initial` are the names that each request has from the start; `mutable`: what it keeps can be
    changed in place.
    """

    kind: type[Request]
    noting: type[Request]
    initial: frozenset[str]
    usual: frozenset[str]
    mutable: bool

    def has(self, name: str) -> bool:
        """Tell whether a name is the request's own, and not one that the app has added."""
        if name in _BY_FLASK:
            return False
        return name in self.initial or name in _OF_THE_BODY or hasattr(self.kind, name)


def watch(app: Flask, request: Request) -> str | None:
    """Note from now on what Werkzeug keeps in the request; to be called before its first hook.

    Return the name of what somebody has replaced already: receivers of signals and the session's
    interface come before any hook.
    """
    state = vars(request)
    if _NOTED in state:
        return None
    kind: Any = type(request)
    watching = _watching(kind)
    if watching is None:
        return "__class__"
    if not state.keys() <= watching.usual or _somebody_came_before(app):
        early = _replaced_before(watching, request)
        if early is not None:
            return early
    state[_NOTED] = dict(state)
    request.__class__ = watching.noting
    return None


def replaced(request: Request) -> str | None:
    """Return the name of a part of the watched request that a hook has replaced; None: none."""
    state = vars(request)
    noted: dict[str, Any] = state[_NOTED]
    watching: _Watching = getattr(type(request), _WATCHING)
    if type(request) is not watching.noting:
        return "__class__"
    # The usual case, without a loop in Python: all is noted, and nothing has been added.
    if len(state) != len(noted) + 1 or not all(map(is_, map(state.get, noted), noted.values())):
        for name, value in state.items():
            if noted.get(name, _MISSING) is not value and watching.has(name):
                return name
    if watching.mutable:
        changed = next(_may_have_changed(watching.kind, request), None)
        if changed is not None:
            return changed
    return "json" if "_cached_json" in state and _has_other_json(request) else None


@cache
def _watching(kind: type[Any]) -> _Watching | None:
    """Make the class that notes; None where `kind` can't have a subclass."""
    found = {
        name: value
        for cls in reversed(kind.__mro__)
        for name, value in vars(cls).items()
        if isinstance(value, cached_property)
    }
    members: dict[str, Any] = {
        name: cached_property(_noting_value(name, value.fget), name, value.__doc__)
        for name, value in found.items()
        if getattr(kind, name, None) is value and value.fget is not None
    }
    for name, kept in _KEEPING.items():
        members[name] = _noting_kept(getattr(kind, name), kept)
    members |= {"__module__": kind.__module__, "__qualname__": kind.__qualname__}
    try:
        noting: type[Request] = new_class(
            kind.__name__, (kind,), exec_body=lambda n: n.update(members)
        )
        made = vars(kind({"REQUEST_METHOD": "GET"}, populate_request=False))
    except Exception:  # noqa: BLE001 - a class of the app's own: it may refuse what it likes
        return None
    storages = kind.parameter_storage_class, kind.dict_storage_class
    mutable = not all(issubclass(each, (ImmutableDict, ImmutableMultiDict)) for each in storages)
    initial = frozenset(made)
    watching = _Watching(kind, noting, initial, initial | _BY_FLASK | _USUAL, mutable)
    setattr(noting, _WATCHING, watching)
    return watching


def _noting_value(name: str, get: Callable[[Any], Any]) -> Callable[[Any], Any]:
    def read(request: Any) -> Any:
        value = vars(request)[_NOTED][name] = get(request)
        return value

    return read


def _noting_kept(method: Callable[..., Any], names: tuple[str, ...]) -> Callable[..., Any]:
    @wraps(method)
    def read(request: Any, *args: Any, **kwargs: Any) -> Any:
        state = vars(request)
        noted = state[_NOTED]
        # What a hook has put there is given back as if it had been read.
        own = [n for n in names if state.get(n, _MISSING) is noted.get(n, _MISSING)]
        try:
            return method(request, *args, **kwargs)
        finally:
            noted.update((name, state[name]) for name in own if name in state)

    return read


# -- before the first hook ------------------------------------------------------------------------


def _somebody_came_before(app: Flask) -> bool:
    return bool(
        request_started.receivers
        or appcontext_pushed.receivers
        or type(app.session_interface) is not SecureCookieSessionInterface
    )


def _replaced_before(watching: _Watching, request: Request) -> str | None:
    """Compare with a request made anew: what it reads of the environ can be read again."""
    fresh = watching.kind(request.environ, populate_request=False)
    for name, value in vars(request).items():
        if not watching.has(name):
            continue
        if name in _OF_THE_BODY or bool(getattr(fresh, name, _MISSING) != value):
            return name
    return None


# -- what can be changed in place -----------------------------------------------------------------


def _may_have_changed(kind: type[Request], request: Request) -> Iterator[str]:
    """Name the parts that a hook may have changed, where their classes let it."""
    state = vars(request)
    fresh = kind(request.environ, populate_request=False)
    for name in state.keys() & {"args", "cookies"}:
        if bool(getattr(fresh, name) != state[name]):
            yield name
    yield from state.keys() & {"form", "files"}


def _has_other_json(request: Request) -> bool:
    """Tell whether a JSON document that a hook has read is another one by now."""
    state = vars(request)
    read = [each for each in state["_cached_json"] if isinstance(each, dict | list)]
    if not read:
        return False
    try:
        sent = request.json_module.loads(state["_cached_data"])
    except (KeyError, ValueError):
        return True
    return any(bool(each != sent) for each in read)
