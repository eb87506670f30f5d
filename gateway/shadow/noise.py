"""What differs by itself: learned from two legacy answers to the same request.

Pure: time comes from outside, in seconds since the epoch. One per route and worker; what other
workers have learned is merged in. The status and the content type are never learned, nor that the
whole body may be of another type.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, cast

from gateway.locations import Step, Wild, field_of, numbered, written
from gateway.shadow.compare import NOTHING, Learned
from gateway.shadow.lens import Extent, Rule

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from gateway.locations import Location, Parts
    from gateway.shadow.compare import Twins
    from gateway.shadow.trees import Kind

DAY = 86_400.0

Flap = Literal["changed", "type", "absent", "order"]
"""Its value; its type; whether it is there (or null); the order of a list."""
_Key = tuple["Parts", Flap]

_EXTENTS: dict[Flap, int] = {
    "changed": Extent.CHANGED,
    "type": Extent.TYPE | Extent.CHANGED | Extent.BELOW,
    "absent": Extent.ABSENT | Extent.CHANGED | Extent.BELOW,
}
_NEVER = frozenset({("status",), ("headers", "content-type")})
#: How many keys of one object make us believe that any key may come; fewer where all of them have
#: a digit in them, as ids, dates and hashes have.
_SEVERAL = 20
_SEVERAL_NUMBERED = 5
_MOST_OBJECTS = 200
_MOST_KEYS = 200
_LONGEST = 500


@dataclass(slots=True)
class Seen:
    """When a field was seen to differ by itself (first and last, epoch), and how often."""

    first: float
    last: float
    count: int = 1


@dataclass(frozen=True, slots=True)
class Entry:
    """One learned field, for people. `path` has `[*]` for indexes and `.*` for generated keys."""

    path: str
    flap: Flap
    first: float
    last: float
    count: int


@dataclass(slots=True)
class _Object:
    """An object whose members come and go: `single` were on one side alone, `common` on both."""

    last: float
    single: dict[str, None] = field(default_factory=dict)
    common: dict[str, None] = field(default_factory=dict)


class Noise:
    """Learns which fields differ by themselves; each is forgotten `memory` seconds after it did.

    At most `limit` fields are kept: beyond it the one seen least goes.
    """

    def __init__(self, memory: float = DAY, limit: int = 1000) -> None:
        self._memory = memory
        self._limit = limit
        self._seen: dict[_Key, Seen] = {}
        self._objects: dict[Parts, _Object] = {}
        self._learned: Learned | None = NOTHING
        self._expiry = float("inf")

    def learn(self, twins: Twins, now: float) -> None:
        """Take in how two legacy answers to one request differ."""
        for keys in twins.keys:
            self._members(field_of(keys.location), keys.single, keys.common, now)
        for location in twins.reordered:
            self._note(field_of(location), "order", now)
        for location, kind, null in twins.flaps:
            flap = _flap(kind, location, null=null)
            self._flapped(field_of(location), flap, now, there=kind == "type")

    def learned(self, now: float) -> Learned:
        """Return what is known now; the same object as long as that stays the same."""
        if now >= self._expiry:
            self._forget(now)
        if self._learned is None:
            self._learned = Learned(tuple(self._rules())) if self._seen else NOTHING
        return self._learned

    def listing(self, now: float) -> list[Entry]:
        """Return the learned fields, by path."""
        self._forget(now)
        return sorted(
            (
                Entry(written(parts), flap, seen.first, seen.last, seen.count)
                for (parts, flap), seen in self._seen.items()
            ),
            key=lambda entry: (entry.path, entry.flap),
        )

    def as_json(self) -> dict[str, Any]:
        """Return plain values, for `merge` in another worker."""
        return {
            "fields": [
                [_plain(parts), flap, seen.first, seen.last, seen.count]
                for (parts, flap), seen in self._seen.items()
            ],
            "objects": [
                [_plain(parts), each.last, list(each.single), list(each.common)]
                for parts, each in self._objects.items()
            ],
        }

    def merge(self, data: Mapping[str, Any], now: float) -> None:
        """Take in what another worker knows; twice the same changes nothing.

        `count` is the highest that one worker has.
        """
        for parts, last, single, common in data["objects"]:
            if last + self._memory > now:
                self._members(_parts(parts), single, common, last)
        for parts, flap, first, last, count in data["fields"]:
            if last + self._memory > now:
                seen = self._note(_parts(parts), cast("Flap", flap), last, times=0)
                seen.first, seen.count = min(seen.first, first), max(seen.count, count)

    def _flapped(self, parts: Parts, flap: Flap, now: float, *, there: bool) -> None:
        if parts in _NEVER or (parts == ("$",) and flap != "changed"):
            return
        if sum(len(part) for part in parts if isinstance(part, str)) > _LONGEST:
            return
        # That a member is null at times isn't said by its object having generated keys.
        null = there and flap == "absent"
        self._note(parts if null else self._covering(parts, flap) or parts, flap, now)

    def _covering(self, parts: Parts, flap: Flap) -> Parts | None:
        """Return the field with generated keys that this one belongs to."""
        if (parts, flap) in self._seen:
            return parts
        known = self._objects.get(parts[:-1])
        if flap == "absent" and known is not None and parts[-1] in known.common:
            return None
        for wide, known_flap in self._seen:
            if known_flap == flap and len(wide) == len(parts) and _generated(wide):
                pairs = zip(wide, parts, strict=True)
                if all(one is two or one == two or _fits(one, two) for one, two in pairs):
                    return wide
        return None

    def _note(self, parts: Parts, flap: Flap, now: float, times: int = 1) -> Seen:
        seen = self._seen.get((parts, flap))
        if seen is not None:
            seen.last, seen.count = max(seen.last, now), seen.count + times
            return seen
        if len(self._seen) >= self._limit:
            del self._seen[min(self._seen.items(), key=lambda item: _worth(item[1]))[0]]
        seen = self._seen[parts, flap] = Seen(now, now, times)
        self._learned = None
        self._expiry = min(self._expiry, now + self._memory)
        return self._together(parts, flap) or seen

    def _together(self, parts: Parts, flap: Flap) -> Seen | None:
        """Make one field of many that are the same but for one key, if it looks generated."""
        for at, part in enumerate(parts):
            last = at == len(parts) - 1
            if not at or not isinstance(part, str) or (last and flap == "absent"):
                continue
            alike = [
                other
                for other, their in self._seen
                if their == flap
                and len(other) == len(parts)
                and isinstance(other[at], str)
                and other[:at] == parts[:at]
                and other[at + 1 :] == parts[at + 1 :]
            ]
            with_digits = [each for each in alike if numbered(str(each[at]))]
            if len(with_digits) >= _SEVERAL_NUMBERED:
                return self._merged(with_digits, at, Wild.NUMBERED, flap)
            if len(alike) >= _SEVERAL and not last:
                return self._merged(alike, at, Wild.MEMBER, flap)
        return None

    def _merged(self, fields: list[Parts], at: int, wild: Wild, flap: Flap) -> Seen:
        parts = (*fields[0][:at], wild, *fields[0][at + 1 :])
        gone = [self._seen.pop((each, flap)) for each in fields]
        seen = self._note(parts, flap, max(each.last for each in gone), times=0)
        seen.first = min(seen.first, *(each.first for each in gone))
        seen.count += sum(each.count for each in gone)
        return seen

    def _members(
        self, parts: Parts, single: Iterable[str], common: Iterable[str], now: float
    ) -> None:
        """Learn of an object that its keys are generated, once several came and went."""
        known = self._objects.get(parts)
        if known is None:
            if len(self._objects) >= _MOST_OBJECTS:
                del self._objects[min(self._objects.items(), key=lambda item: item[1].last)[0]]
            known = self._objects[parts] = _Object(now)
        known.last = max(known.last, now)
        before = len(known.common)
        for keys, mine in ((single, known.single), (common, known.common)):
            mine.update(dict.fromkeys(sorted(keys)[: max(0, _MOST_KEYS - len(mine))]))
        if len(known.common) != before:
            self._learned = None
        came = [key for key in known.single if key not in known.common]
        with_digits = [key for key in came if numbered(key)]
        wild = Wild.MEMBER if len(came) >= _SEVERAL else Wild.NUMBERED
        if len(came) >= _SEVERAL or len(with_digits) >= _SEVERAL_NUMBERED:
            for key in came if wild is Wild.MEMBER else with_digits:
                seen = self._seen.get(((*parts, key), "absent"))
                if seen is not None and seen.count == 1:
                    del self._seen[(*parts, key), "absent"]
            self._note((*parts, wild), "absent", now, times=0)

    def _forget(self, now: float) -> None:
        old = now - self._memory
        for key in [key for key, seen in self._seen.items() if seen.last <= old]:
            del self._seen[key]
            self._learned = None
        for parts in [parts for parts, each in self._objects.items() if each.last <= old]:
            del self._objects[parts]
            self._learned = None
        lasts = [each.last for each in self._seen.values()]
        lasts += [each.last for each in self._objects.values()]
        self._expiry = min(lasts, default=float("inf")) + self._memory

    def _rules(self) -> Iterable[Rule]:
        for parts, flap in self._seen:
            if flap == "order":
                yield Rule(_steps(parts), unordered=True)
            elif flap == "absent" and isinstance(parts[-1], Wild):
                yield Rule(_steps(parts), noise=Extent.KEYS)
                known = self._objects.get(parts[:-1])
                for key in known.common if known is not None else ():
                    yield Rule(_steps((*parts[:-1], key)), noise=Extent.STABLE)
            else:
                yield Rule(_steps(parts), noise=_EXTENTS[flap])


def _flap(kind: Kind, location: Location, *, null: bool) -> Flap:
    """Name what flaps: a member that is null may as well be absent; an element can't be."""
    if kind == "changed":
        return "changed"
    member = null and isinstance(location[-1], str)
    return "type" if kind == "type" and not member else "absent"


def _worth(seen: Seen) -> tuple[int, float]:
    return seen.count, seen.last


def _generated(parts: Parts) -> bool:
    return Wild.NUMBERED in parts or Wild.MEMBER in parts


def _fits(wild: str | int | Wild, part: str | int | Wild) -> bool:
    return isinstance(wild, Wild) and isinstance(part, str) and wild.fits(part)


def _steps(parts: Parts) -> tuple[Step, ...]:
    return tuple(map(Step, parts))


_WILD = (Wild.ELEMENT, Wild.MEMBER, Wild.NUMBERED)


def _plain(parts: Parts) -> list[str | int]:
    return [_WILD.index(part) if isinstance(part, Wild) else part for part in parts]


def _parts(plain: Iterable[str | int]) -> Parts:
    return tuple(_WILD[part] if isinstance(part, int) else part for part in plain)
