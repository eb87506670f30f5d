"""What an expression may be, as far as reading code tells."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gateway.guards.frame import Frame
    from gateway.guards.source import Function

#: Builtin types whose values can be looked at, compared and asked without running user code.
PLAIN: tuple[type, ...] = (str, bytes, int, float, bool, type(None))
_MOST = 24
#: How many texts an attribute may have before it counts as one that may have any.
_MOST_TEXTS = 3


class Value:
    """One thing that an expression may be."""

    __slots__ = ()


class Known(Value):
    """The very object: a module, class, function, constant or an object of a module."""

    __slots__ = ("_key", "value")

    def __init__(self, value: Any) -> None:
        self.value = value
        self._key = (type(value), value) if type(value) in PLAIN else (object, id(value))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Known) and self._key == other._key

    def __hash__(self) -> int:
        return hash(self._key)


class Held(Known):
    """What an object holds right now: another part of the code may set it anew."""

    __slots__ = ()

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Held) and self._key == other._key

    def __hash__(self) -> int:
        return hash((Held, self._key))


class Routed(Known):
    """What only holds for the route that is read for: its name, its path, its view."""

    __slots__ = ()

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Routed) and self._key == other._key

    def __hash__(self) -> int:
        return hash((Routed, self._key))


@dataclass(frozen=True, slots=True, eq=False)
class Made(Value):
    """An object of a known class that the code makes. `fields` fill while the code is read."""

    kind: type
    fields: dict[str, Values] = field(default_factory=dict)

    def put(self, name: str, values: Values) -> None:
        """Set an attribute, besides what it was before."""
        found = joined(self.fields.get(name, NOTHING), held(values))
        plain = {each for each in found if isinstance(each, Known) and type(each.value) is str}
        if len(plain) > _MOST_TEXTS:
            found = (found - plain) | {DATA}
        self.fields[name] = found

    def state(self) -> object:
        """Return what tells the object from what it was before."""
        return tuple(self.fields.items())


@dataclass(frozen=True, slots=True)
class Lib(Value):
    """Something that a harmless library made; it may hold objects of `models`."""

    models: frozenset[type] = frozenset()


@dataclass(frozen=True, slots=True)
class Items(Value):
    """A tuple, element by element; `exact` where its length is known."""

    items: tuple[Values, ...]
    exact: bool = False


@dataclass(slots=True, eq=False)
class Bag(Value):
    """A list, set or dict that the code makes; what is put in is kept without order."""

    held: Values = frozenset()
    #: A display of which every key is known, until something else is put in.
    table: dict[Value, Values] | None = None


@dataclass(frozen=True, slots=True)
class Method(Value):
    """A method of something that isn't the team's own."""

    owner: Value
    name: str


@dataclass(frozen=True, slots=True, eq=False)
class Local(Value):
    """A function that is made while another one runs."""

    node: Function
    frame: Frame


@dataclass(frozen=True, slots=True)
class Bound(Value):
    """A callable with arguments that it already has: a bound method, a partial."""

    function: Value
    args: tuple[Values, ...]
    kwargs: tuple[tuple[str, Values], ...] = ()


@dataclass(frozen=True, slots=True)
class Super(Value):
    """`super()`: an object, seen as what comes after `below` in its class's order."""

    inner: Value
    below: type


@dataclass(frozen=True, slots=True)
class Text(Value):
    """A text of which parts are known: `/login?next=…`."""

    parts: str


@dataclass(frozen=True, slots=True)
class RoutePath(Value):
    """The request's path: it starts with `prefix`, and goes on as the client likes."""

    prefix: str


@dataclass(frozen=True, slots=True)
class Mark(Value):
    """A value that only its name tells."""

    name: str


#: Plain data of any kind: a number, a text, or lists and mappings of them.
DATA = Mark("data")
#: The same, but it differs from route to route.
ROUTE_DATA = Mark("route data")
#: Anything at all; whatever is done with it is reported.
UNKNOWN = Mark("unknown")
#: Comes from something that was reported already.
REPORTED = Mark("reported")
#: Some module, which the code imports by its name.
MODULE = Mark("module")
#: A decorator that gives back what it is given: functools.wraps(…).
SAME = Mark("same")
REQUEST = Mark("request")
SESSION = Mark("session")
GLOBALS = Mark("g")
USER = Mark("current_user")
HEADERS = Mark("headers")
#: The query, or a form.
PARAMETERS = Mark("parameters")
ENVIRON = Mark("environ")
START_RESPONSE = Mark("start_response")
#: The status that an app behind a middleware has answered.
ITS_STATUS = Mark("its status")

Values = frozenset[Value]
NOTHING: Values = frozenset()
NONE: Values = frozenset({Known(None)})
ANY_DATA: Values = frozenset({DATA})
ANYTHING: Values = frozenset({UNKNOWN})
SAID: Values = frozenset({REPORTED})


def joined(*several: Values) -> Values:
    """Return what any of several may be."""
    found = frozenset().union(*several)
    if len(found) <= _MOST:
        return found
    plain = {each for each in found if isinstance(each, Known) and type(each.value) in PLAIN}
    rest = (found - plain) | {DATA}
    return frozenset(rest) if len(rest) <= _MOST else ANYTHING


def held(values: Values) -> Values:
    """Return values as an object's attribute has them: constants may be others later."""
    return frozenset(
        Held(each.value) if isinstance(each, Known) and type(each.value) in PLAIN else each
        for each in values
    )


def routed(value: Value) -> Value:
    """Return a value as one that another route would have otherwise."""
    return Routed(value.value) if isinstance(value, Known) else value


def is_unknown(value: Value) -> bool:
    """Tell whether a value may be anything: itself, or an attribute of such a thing."""
    return value is UNKNOWN or (isinstance(value, Method) and value.owner is UNKNOWN)


def known(values: Values) -> list[Any] | None:
    """Return the objects that an expression may be, where all of them are known."""
    if not values or not all(isinstance(each, Known) for each in values):
        return None
    return [each.value for each in values if isinstance(each, Known)]


def only(values: Values) -> Value | None:
    """Return what an expression is where it can be one thing only."""
    return next(iter(values)) if len(values) == 1 else None
