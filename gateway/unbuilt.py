"""Features that the design names and this version doesn't have yet: refused by name.

A key that we don't know could be a typo; one that we know and don't honour would be a promise
broken in silence (`auth: shared` read as no auth at all). So each is an error of its own.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

Location = tuple[str | int, ...]


@dataclass(frozen=True, slots=True)
class Unbuilt:
    """One use of a feature that isn't built: where in the data, its name, what to do."""

    location: Location
    feature: str
    next: str


_RULE_KEYS = {
    "side_effects": "comparing side effects",
}


def find_unbuilt(data: dict[str, Any]) -> Iterator[Unbuilt]:
    """Yield every use of an unbuilt feature in `data`, the configuration as plain values."""
    remove = "remove the key until then"
    routes = data.get("routes")
    for index, rule in enumerate(routes if isinstance(routes, list) else ()):
        if isinstance(rule, dict):
            for key, feature in _RULE_KEYS.items():
                if key in rule:
                    yield Unbuilt(("routes", index, key), feature, remove)
