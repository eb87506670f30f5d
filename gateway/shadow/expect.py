"""Declared differences: what each side must have at a place so that it is the meant one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from gateway.locations import Pattern, parse
from gateway.shadow.values import MISSING, json_type, same

if TYPE_CHECKING:
    from collections.abc import Iterable

    from gateway.config import ExpectConfig

_ANY: Final = "any"
_MISSING: Final = "missing"


@dataclass(frozen=True, slots=True)
class Side:
    """What one side must have: `missing`, `any`, a type of JSON, or an exact value."""

    form: str
    value: Any = None

    def fits(self, value: Any) -> bool:
        """Tell whether a value, or MISSING, is as declared."""
        if self.form == _ANY:
            return True
        if value is MISSING or self.form == _MISSING:
            return value is MISSING and self.form == _MISSING
        if self.form == "type":
            return bool(json_type(value) == self.value)
        return same(self.value, value)

    def __str__(self) -> str:
        """Name the form only: an exact value may be a secret."""
        return f"type {self.value}" if self.form == "type" else self.form


@dataclass(frozen=True, slots=True, eq=False)
class Expectation:
    """One declared difference."""

    pattern: Pattern
    legacy: Side
    native: Side

    @property
    def demands(self) -> bool:
        """Whether native must have what legacy lacks."""
        return self.legacy.form == _MISSING and not self.native.fits(MISSING)


def expectations(configs: Iterable[ExpectConfig]) -> tuple[Expectation, ...]:
    """Compile what the configuration declares."""
    return tuple(
        Expectation(parse(each.path), _side(each.legacy), _side(each.native)) for each in configs
    )


def _side(value: Any) -> Side:
    if isinstance(value, dict):
        (form, inner), *_ = value.items()
        return Side(form, inner)
    if isinstance(value, str) and value in (_ANY, _MISSING):
        return Side(value)
    return Side("value", value)
