"""Which elements of two lists belong together.

A wrong answer here makes an explanation longer; it never makes unequal lists equal.
"""

from __future__ import annotations

from collections import Counter, defaultdict, deque
from decimal import Decimal
from difflib import SequenceMatcher
from typing import TYPE_CHECKING, Any

from gateway.shadow.lens import Extent

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterable, Sequence

    from gateway.shadow.lens import Marks, State

Pair = tuple[int | None, int | None]
"""Indexes in the two lists; None: the other element has no partner."""

_VALUES = Extent.CHANGED | Extent.TYPE | Extent.ABSENT
_ALIGNED = 300
_EXPLAINED = 40
#: Pairs of elements, times their members, that deepdiff is asked for: some 20 ms.
_DEEPDIFF = 400
#: Pairs of elements that are compared by their members.
_COMPARED = 40_000


def unordered(x: list[Any], y: list[Any], state: State) -> list[Pair]:
    """Pair the elements of two lists whose order has no meaning; the left over ones by likeness."""
    pairs, left, right = _matched(_keys(x, state), _keys(y, state))
    return [*pairs, *_most_alike(x, y, left, right, state)]


def in_order(x: list[Any], y: list[Any], state: State, offset: int) -> list[Pair]:
    """Pair the elements of two lists in order, so that as many as can be are equal.

    The indexes count from `offset`.
    """
    pairs: list[Pair] = []
    if max(len(x), len(y)) > _ALIGNED:
        blocks: Iterable[tuple[int, int, int, int]] = [(0, len(x), 0, len(y))]
    else:
        keys, others = ([key for key, _ in _keys(side, state, offset)] for side in (x, y))
        matcher = SequenceMatcher(None, keys, others, autojunk=False)
        blocks = [block[1:] for block in matcher.get_opcodes()]
    for low, high, other_low, other_high in blocks:
        both = min(high - low, other_high - other_low)
        pairs += [(offset + low + k, offset + other_low + k) for k in range(both)]
        pairs += [(offset + k, None) for k in range(low + both, high)]
        pairs += [(None, offset + k) for k in range(other_low + both, other_high)]
    return pairs


def shuffled(x: list[Any], y: list[Any], state: State) -> list[Pair] | None:
    """Pair two lists that are the same in another order; None where they aren't.

    Members of the elements that differ by themselves don't count, as long as something is left
    that shows the order.
    """
    if len(x) != len(y):
        return None
    keys, others = ([key for key, _ in _keys(side, state)] for side in (x, y))
    if Counter(keys) != Counter(others):
        if not all(isinstance(each, dict) for each in (*x, *y)):
            return None
        moving = _differing_members(x, y, state)
        keys, others = (
            [
                _key({k: v for k, v in each.items() if k not in moving}, state.child(i))[0]
                for i, each in enumerate(side)
            ]
            for side in (x, y)
        )
    if keys == others:
        return None
    pairs, left, _ = _matched([(key, ()) for key in keys], [(key, ()) for key in others])
    return None if left else pairs


def _differing_members(x: list[Any], y: list[Any], state: State) -> set[str]:
    """Return the members whose values, all elements together, aren't the same on both sides."""
    held: dict[str, Counter[Hashable]] = defaultdict(Counter)
    held_there: dict[str, Counter[Hashable]] = defaultdict(Counter)
    for side, values in ((x, held), (y, held_there)):
        for i, each in enumerate(side):
            for name, value in each.items():
                values[name][_key(value, state.child(i).child(name))[0]] += 1
    return {name for name in held.keys() | held_there.keys() if held[name] != held_there[name]}


_Key = tuple["Hashable", tuple[float, ...]]


def _matched(
    keys: Sequence[_Key], others: Sequence[_Key]
) -> tuple[list[Pair], list[int], list[int]]:
    """Pair elements of equal keys; of several, those whose tolerated numbers are next in size."""
    waiting: dict[Hashable, deque[int]] = defaultdict(deque)
    for j in sorted(range(len(others)), key=lambda j: others[j][1]):
        waiting[others[j][0]].append(j)
    pairs: list[Pair] = []
    left = []
    for i in sorted(range(len(keys)), key=lambda i: keys[i][1]):
        partners = waiting.get(keys[i][0])
        if partners:
            pairs.append((i, partners.popleft()))
        else:
            left.append(i)
    return pairs, sorted(left), sorted(j for rest in waiting.values() for j in rest)


def _most_alike(
    x: list[Any], y: list[Any], left: list[int], right: list[int], state: State
) -> list[Pair]:
    both = [i for i in left if _explainable(x[i])]
    theirs = [j for j in right if _explainable(y[j])]
    flat = [_flat(x[i], state.child(i)) for i in both]
    flat_there = [_flat(y[j], state.child(j)) for j in theirs]
    cost = len(both) * len(theirs)
    if cost * max(map(len, (*flat, *flat_there)), default=0) <= _DEEPDIFF:
        found = _by_deepdiff(flat, flat_there) if cost else []
    else:
        found = _by_members(flat, flat_there) if cost <= _COMPARED else []
    pairs: list[Pair] = [(both[i], theirs[j]) for i, j in found]
    mine = {i for i, _ in pairs}
    taken = {j for _, j in pairs}
    return [
        *pairs,
        *((i, None) for i in left if i not in mine),
        *((None, j) for j in right if j not in taken),
    ]


def _explainable(value: Any) -> bool:
    return isinstance(value, dict) and len(value) <= _EXPLAINED


def _flat(value: dict[str, Any], state: State) -> dict[str, Any]:
    """Return the members without what lies below them: deepdiff's cost grows fast with depth."""
    flat = {}
    for name, each in value.items():
        key = _key(each, state.child(name))[0]
        flat[name] = key if isinstance(key, str | int | float) else hash(key)
    return flat


def _by_deepdiff(x: list[dict[str, Any]], y: list[dict[str, Any]]) -> list[tuple[int, int]]:
    from deepdiff import DeepDiff  # noqa: PLC0415 - costs memory that most processes never need

    found = DeepDiff(
        x,
        y,
        ignore_order=True,
        cutoff_intersection_for_pairs=1,
        cutoff_distance_for_pairs=0.7,
        max_passes=10_000,
        view="tree",
    )
    partners: dict[int, int] = {}
    for levels in found.values():
        for level in levels:
            path, other = (level.path(output_format="list", use_t2=side) for side in (False, True))
            if path and other and len(path) > 1:
                partners.setdefault(other[0], path[0])
    unique = {i: j for j, i in partners.items()}
    return sorted(unique.items())


def _by_members(x: list[dict[str, Any]], y: list[dict[str, Any]]) -> list[tuple[int, int]]:
    """Pair the elements that have most members in common; deepdiff takes 50 µs for each member."""
    waiting = {j: set(each.items()) for j, each in enumerate(y)}
    pairs = []
    for i, each in enumerate(x):
        members = set(each.items())
        shared, j = max(((len(members & waiting[j]), -j) for j in waiting), default=(0, 0))
        if shared:
            pairs.append((i, -j))
            del waiting[-j]
    return pairs


def _keys(values: Sequence[Any], state: State, offset: int = 0) -> list[_Key]:
    return [_key(each, state.child(offset + i)) for i, each in enumerate(values)]


def _key(value: Any, state: State) -> _Key:
    """Return something hashable that equal values have alike, and the tolerated numbers in it.

    What is ignored, declared, noise or tolerated is left out.
    """
    numbers: list[float] = []
    return _hashable(value, state, numbers), tuple(numbers)


def _hashable(value: Any, state: State, numbers: list[float]) -> Hashable:
    marks = state.marks
    if marks is not None and _left_out(value, marks, numbers):
        return None
    kind = type(value)
    if kind is dict:
        return frozenset(
            (key, _hashable(each, state.child(key), numbers))
            for key, each in value.items()
            if not _generated(state.child(key).marks)
        )
    if kind is list:
        items = [_hashable(each, state.child(i), numbers) for i, each in enumerate(value)]
        if marks is not None and marks.unordered:
            return ("any order", frozenset(Counter(items).items()))
        return ("list", *items)
    if kind is bool:
        return ("boolean", value)
    return "NaN" if value != value else value  # noqa: PLR0124


def _left_out(value: Any, marks: Marks, numbers: list[float]) -> bool:
    if marks.tolerance is not None and type(value) in (int, float, Decimal):
        try:
            numbers.append(float(value))
        except OverflowError:
            return False
        return True
    return bool(marks.ignore or marks.expectations or marks.noise & _VALUES)


def _generated(marks: Marks | None) -> bool:
    """Whether a member may be on one side alone, so that it tells nothing."""
    if marks is None:
        return False
    keys = marks.noise & (Extent.KEYS | Extent.STABLE) == Extent.KEYS
    return keys or bool(marks.ignore or marks.expectations or marks.noise & _VALUES)
