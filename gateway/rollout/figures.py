"""What both sides of a route did, as values that add up."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


@dataclass(frozen=True, slots=True)
class Side:
    """What one side did: counters that only grow, or the difference of two readings of them.

    A failure is a 5xx, an exception or a timeout of this side, before failover covered it.
    `durations` is a histogram, one bucket more than it has bounds (the last one is open);
    `seconds` their exact sum.
    """

    requests: int = 0
    failures: int = 0
    durations: tuple[int, ...] = ()
    seconds: float = 0.0

    def __add__(self, other: Side) -> Side:
        return Side(
            self.requests + other.requests,
            self.failures + other.failures,
            _added(self.durations, other.durations),
            self.seconds + other.seconds,
        )

    def since(self, before: Side) -> Side:
        """Return what has come since an earlier reading of the same counters."""
        return self + Side(
            -before.requests,
            -before.failures,
            tuple(-count for count in before.durations),
            -before.seconds,
        )

    def as_json(self) -> dict[str, Any]:
        """Return plain values."""
        return {
            "requests": self.requests,
            "failures": self.failures,
            "durations": list(self.durations),
            "seconds": self.seconds,
        }

    @classmethod
    def of_json(cls, data: Any) -> Side:
        """Read what `as_json` has written; raises ValueError for anything else."""
        data = mapping(data)
        durations = data.get("durations")
        if not isinstance(durations, list):
            message = "durations must be a list"
            raise ValueError(message)  # noqa: TRY004 - malformed data is one error
        return cls(
            whole(data, "requests"),
            whole(data, "failures"),
            tuple(whole({"durations": count}, "durations") for count in durations),
            number(data, "seconds"),
        )


#: A side that nothing was asked of.
IDLE = Side()


@dataclass(frozen=True, slots=True)
class Window:
    """What both sides did in the same time; `different` of the `compared` answers differed."""

    native: Side = IDLE
    legacy: Side = IDLE
    compared: int = 0
    different: int = 0

    def __add__(self, other: Window) -> Window:
        return Window(
            self.native + other.native,
            self.legacy + other.legacy,
            self.compared + other.compared,
            self.different + other.different,
        )

    def since(self, before: Window) -> Window:
        """Return what has come since an earlier reading of one worker's counters.

        Counters that went back began anew: then all that they say has come since.
        """
        if (
            self.native.requests < before.native.requests
            or self.legacy.requests < before.legacy.requests
            or self.compared < before.compared
        ):
            return self
        return Window(
            self.native.since(before.native),
            self.legacy.since(before.legacy),
            self.compared - before.compared,
            self.different - before.different,
        )

    def as_json(self) -> dict[str, Any]:
        """Return plain values."""
        return {
            "native": self.native.as_json(),
            "legacy": self.legacy.as_json(),
            "compared": self.compared,
            "different": self.different,
        }

    @classmethod
    def of_json(cls, data: Any) -> Window:
        """Read what `as_json` has written; raises ValueError for anything else."""
        data = mapping(data)
        return cls(
            Side.of_json(data.get("native")),
            Side.of_json(data.get("legacy")),
            whole(data, "compared"),
            whole(data, "different"),
        )


#: A window in which nothing came.
EMPTY = Window()


def mapping(data: Any) -> Mapping[str, Any]:
    """Return `data` if it is a mapping; raises ValueError otherwise."""
    if not isinstance(data, dict):
        message = f"expected a mapping, found {type(data).__name__}"
        raise ValueError(message)  # noqa: TRY004 - malformed data is one error
    return data


def number(data: Mapping[str, Any], key: str) -> float:
    """Return a finite number of 0 or more; raises ValueError for anything else."""
    value = data.get(key)
    if (
        isinstance(value, bool)
        or not isinstance(value, int | float)
        or not 0 <= value < float("inf")
    ):
        message = f"{key} must be a number of 0 or more, found {value!r}"
        raise ValueError(message)
    return value


def whole(data: Mapping[str, Any], key: str) -> int:
    """Return a whole number of 0 or more; raises ValueError for anything else."""
    value = number(data, key)
    if not isinstance(value, int):
        message = f"{key} must be a whole number, found {value!r}"
        raise ValueError(message)  # noqa: TRY004 - malformed data is one error
    return value


def _added(one: Sequence[int], other: Sequence[int]) -> tuple[int, ...]:
    if not one or not other:
        return tuple(one or other)
    return tuple(a + b for a, b in zip(one, other, strict=True))
