"""What of two answers may be shown and kept: short, and without secrets."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from decimal import Decimal
from typing import TYPE_CHECKING, Any, AnyStr

from gateway.secrecy import HIDDEN, is_secret, is_secret_pair, secret_members, without_secrets
from gateway.shadow.values import MISSING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gateway.locations import Location
    from gateway.shadow.trees import Found

_LONGEST = 200
_WIDEST = 20
_DEPTH = 4
_BEFORE = 60
#: Integers beyond it are shown as text: they may be very long, and readers of JSON round them.
_SAFE_BITS = 53


def shown(location: Location, value: Any) -> Any:
    """Return a value as plain JSON of at most some 200 characters; None for MISSING.

    A value below a name that says it is secret is `***`, unless it is null or a boolean.
    """
    if value is MISSING:
        return None
    # The root and what belongs to it are our words, not the answer's.
    secret = any(isinstance(part, str) and is_secret(part) for part in location[1:])
    if location[0] == "cookies":
        return value
    plain = _plain(value, secret, _DEPTH)
    if isinstance(plain, dict | list):
        text = json.dumps(plain, ensure_ascii=False)
        return plain if len(text) <= _LONGEST else _short(text)
    return plain


def hide_named(found: Found, trees: Sequence[Any]) -> Found:
    """Hide values that a name beside them makes secret: `[{"name": "password", "value": …}]`."""
    if not any(_is_named_secret(tree, found.location[1:]) for tree in trees):
        return found
    legacy, native = (
        MISSING if value is MISSING else HIDDEN for value in (found.legacy, found.native)
    )
    return replace(found, legacy=legacy, native=native)


def _is_named_secret(tree: Any, place: Location) -> bool:
    for at, key in enumerate(place):
        if isinstance(tree, dict):
            if key in secret_members(tree):
                return True
        elif isinstance(tree, list) and isinstance(key, int) and key < len(tree):
            if at == len(place) - 1 and key == 1 and is_secret_pair(tree):
                return True
        else:
            return False
        if isinstance(tree, dict) and key not in tree:
            return False
        tree = tree[key]
    return False


def _plain(value: Any, secret: bool, depth: int) -> Any:
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, dict | list) and not depth:
        return "…"
    if isinstance(value, dict):
        hidden = secret_members(value)
        members = list(value.items())[:_WIDEST]
        plain = {
            _safe(without_secrets(key)): _plain(each, secret or key in hidden, depth - 1)
            for key, each in members
        }
        return plain if len(members) == len(value) else {**plain, "…": len(value)}
    if isinstance(value, list):
        pair = is_secret_pair(value)
        items = [
            _plain(each, secret or (pair and at == 1), depth - 1)
            for at, each in enumerate(value[:_WIDEST])
        ]
        return items if len(items) == len(value) else [*items, f"… ({len(value)})"]
    if secret:
        return HIDDEN
    if isinstance(value, str):
        return _safe(without_secrets(value))
    if isinstance(value, Decimal):
        return _short(format(value, "f"))
    if isinstance(value, int) and value.bit_length() > _SAFE_BITS:
        return _short(str(value))
    if isinstance(value, float) and not math.isfinite(value):
        # No JSON (RFC 8259, section 6), though Python reads and writes it.
        return json.dumps(value)
    return value


def _safe(text: str) -> str:
    """Shorten; escape lone surrogates, which can't be written as UTF-8."""
    return _short(text).encode("utf-8", "backslashreplace").decode("utf-8")


def _short(text: str) -> str:
    if len(text) <= _LONGEST:
        return text
    return f"{text[: _LONGEST - 40]}… ({len(text)} characters)"


def texts_apart(legacy: str, native: str) -> tuple[str, str]:
    """Return both texts around their first difference, with where it is."""
    at = first_difference(legacy, native)
    hidden = without_secrets(legacy), without_secrets(native)
    if hidden[0] == hidden[1]:
        return (f"{HIDDEN} (from character {at})",) * 2
    near = first_difference(*hidden)
    one, other = (
        f"{'…' if near > _BEFORE else ''}"
        f"{each[max(0, near - _BEFORE) : near + _LONGEST - _BEFORE]}"
        f"{'…' if len(each) > near + _LONGEST - _BEFORE else ''}"
        f" (character {at} of {len(whole)})"
        for each, whole in zip(hidden, (legacy, native), strict=True)
    )
    return one, other


def bytes_apart(legacy: bytes, native: bytes) -> tuple[str, str]:
    """Tell of two bodies how long they are, and from which byte they differ."""
    at = first_difference(legacy, native)
    return f"{len(legacy)} bytes, differ from {at}", f"{len(native)} bytes, differ from {at}"


def first_difference(one: AnyStr, other: AnyStr) -> int:
    """Return where two texts begin to differ, by halving."""
    low, high = 0, min(len(one), len(other))
    while low < high:
        middle = (low + high + 1) // 2
        if one[low:middle] == other[low:middle]:
            low = middle
        else:
            high = middle - 1
    return low
