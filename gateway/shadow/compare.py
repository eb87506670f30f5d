"""The comparison of two answers: a pure function of both, a policy, and what is known as noise."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from gateway.locations import generalised, parse, written
from gateway.shadow import values
from gateway.shadow.answer import cookies, media_type
from gateway.shadow.expect import expectations
from gateway.shadow.lens import Lens, Rule
from gateway.shadow.masking import bytes_apart, hide_named, shown, texts_apart
from gateway.shadow.trees import Enough, Found, Keys, Kind, Report, walk
from gateway.shadow.values import MISSING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from gateway.config import CompareConfig, ExpectConfig
    from gateway.locations import Location
    from gateway.shadow.answer import Answer, MediaType

_SUCCESS = 2
_FAILURE = 500
_REMEMBERED_BYTES = 65_536
_TYPE = b"content-type"
#: Headers whose answers take a closer look.
_CLOSER = frozenset({b"content-encoding", b"set-cookie"})


class Verdict(StrEnum):
    """What came out of a comparison."""

    EQUAL = "equal"
    EXPECTED = "expected"
    """It differs exactly as declared."""
    NOISE = "noise"
    """It differs only in what differs by itself."""
    DIFFERENT = "different"
    OPENED = "opened"
    """Legacy turned the caller away, native let it in."""
    CLOSED = "closed"
    """Native turned the caller away, legacy let it in."""
    RACED = "raced"
    """It was one of these two, and is no longer when it is looked at again."""


#: Verdicts of answers that differ unexpectedly.
UNEQUAL = (Verdict.DIFFERENT, Verdict.OPENED, Verdict.CLOSED)


@dataclass(frozen=True, slots=True)
class Difference:
    """One unexpected difference, short and without secrets.

    `path` is the place, `field` the same with every index as `[*]`: what to count by. `missing`:
    native lacks it; `added`: legacy lacks it; the value of the side that lacks it is None. `note`
    says more where the difference is one from what was declared.
    """

    path: str
    legacy: Any
    native: Any
    kind: Kind
    field: str
    note: str = ""


@dataclass(frozen=True, slots=True)
class Comparison:
    """The verdict on two answers.

    `expected` are fields, with every index as `[*]`; `noisy` the learned ones, as they are listed.
    `cut`: there are more differences than these.
    """

    verdict: Verdict
    differences: tuple[Difference, ...] = ()
    expected: tuple[str, ...] = ()
    noisy: tuple[str, ...] = ()
    cut: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class Learned:
    """What is known to differ by itself, as rules. One object until something new is learned."""

    rules: tuple[Rule, ...] = ()


#: Nothing was learned.
NOTHING = Learned()
EQUAL = Comparison(Verdict.EQUAL)


@dataclass(slots=True, eq=False)
class Policy:
    """How the answers of one route are compared. Frozen, but for what was last found out.

    Made by `Policy.of`; one per route and config.
    """

    headers: tuple[str, ...]
    rules: tuple[Rule, ...]
    others: tuple[bytes, ...] = field(init=False)
    """The headers but the Content-Type, as ASGI has them."""
    alike: tuple[bytes, bytes] | None = field(default=None, init=False)
    """The two JSON bodies last found to be the same: much of what is asked for is asked for again.
    """
    _lens: tuple[Learned, Lens] | None = field(default=None, init=False)

    @classmethod
    def of(cls, compare: CompareConfig, expect: Iterable[ExpectConfig] = ()) -> Policy:
        """Compile the configuration."""
        ignored = (Rule(parse(each).steps, ignore=True) for each in compare.ignore)
        unordered = (Rule(parse(each).steps, unordered=True) for each in compare.unordered)
        tolerated = (
            Rule(parse(each).steps, tolerance=far) for each, far in compare.tolerance.items()
        )
        declared = expectations(expect)
        expected = (Rule(each.pattern.steps, expectation=each) for each in declared)
        named = (
            each.pattern.steps[1].selector for each in declared if each.pattern.root == "headers"
        )
        headers = (*compare.headers, *(each for each in named if isinstance(each, str)))
        return cls(tuple(dict.fromkeys(headers)), (*ignored, *unordered, *tolerated, *expected))

    def __post_init__(self) -> None:
        """Write the headers' names once."""
        names = (each.encode("latin-1") for each in self.headers)
        self.others = tuple(name for name in names if name != _TYPE)

    def lens(self, learned: Learned) -> Lens:
        """Return the rules together with what was learned, compiled once for each `learned`."""
        known = self._lens
        if known is None or known[0] is not learned:
            known = self._lens = (learned, Lens((*self.rules, *learned.rules)))
        return known[1]


@dataclass(frozen=True, slots=True)
class Twins:
    """How two legacy answers to one request differ: what `Noise.learn` is fed with."""

    flaps: tuple[tuple[Location, Kind, bool], ...] = ()
    """Where, how, and whether one side is null."""
    reordered: tuple[Location, ...] = ()
    keys: tuple[Keys, ...] = ()


def compare(
    legacy: Answer,
    native: Answer,
    policy: Policy,
    learned: Learned = NOTHING,
    *,
    head: bool = False,
) -> Comparison:
    """Compare two answers to one request; `head`: it was a HEAD request, whose body is none.

    Where the statuses are of different classes the rest isn't looked at: it is about other things.
    """
    lens = policy.lens(learned)
    if not lens.expects and _plainly_equal(legacy, native, policy, head=head):
        return EQUAL
    report = Report(lens, successful=legacy.status // 100 == _SUCCESS)
    cut = not _compare(legacy, native, policy.headers, report, head=head)
    if not (report.differences or report.expected or report.noisy):
        return EQUAL
    differences = tuple(map(_difference, report.differences))
    expected = tuple(dict.fromkeys(map(generalised, report.expected)))
    noisy = tuple(report.noisy)
    verdict = Verdict.DIFFERENT if differences else Verdict.EXPECTED if expected else Verdict.NOISE
    return Comparison(verdict, differences, expected, noisy, cut)


def _plainly_equal(legacy: Answer, native: Answer, policy: Policy, *, head: bool) -> bool:
    """Tell at once of most answers that they are equal; False: it takes a closer look."""
    if legacy.status != native.status or legacy.failed or native.failed:
        return False
    x, y = dict(legacy.headers), dict(native.headers)
    if len(x) != len(legacy.headers) or len(y) != len(native.headers):
        return False  # some header is there twice
    if _CLOSER & (x.keys() | y.keys()):
        return False
    a, b = x.get(_TYPE), y.get(_TYPE)
    kind = media_type(a.decode("latin-1") if a is not None else None)
    if a != b and kind != media_type(b.decode("latin-1") if b is not None else None):
        return False
    for name in policy.others:
        if x.get(name) != y.get(name):
            return False
    if head or legacy.body == native.body:
        return True
    if not kind.is_json:
        return False
    bodies = legacy.body, native.body
    if bodies == policy.alike:
        return True
    try:
        equal = values.read(bodies[0]) == values.read(bodies[1]) and not values.ambiguous(*bodies)
    except (values.NotJson, RecursionError):
        return False
    if equal and len(bodies[0]) <= _REMEMBERED_BYTES:
        policy.alike = bodies
    return equal


def compare_twins(
    legacy: Answer, twin: Answer, policy: Policy, learned: Learned = NOTHING
) -> Twins:
    """Tell how two answers of legacy to one request differ, as far as that can be learned.

    Nothing is learned of answers with different statuses, or where one was an exception.
    """
    if legacy.failed or twin.failed or legacy.status != twin.status:
        return Twins()
    report = Report(policy.lens(learned), learning=True)
    _compare(legacy, twin, policy.headers, report, head=False)
    return Twins(
        tuple(
            (each.location, each.kind, each.legacy is None or each.native is None)
            for each in (*report.differences, *report.flaps)
        ),
        tuple(report.reordered),
        tuple(report.keys),
    )


def _compare(
    legacy: Answer, native: Answer, headers: tuple[str, ...], report: Report, *, head: bool
) -> bool:
    """Compare everything; False: there was too much to tell it all."""
    try:
        if _status(legacy, native, report):
            types = (
                media_type(legacy.header("content-type")),
                media_type(native.header("content-type")),
            )
            _headers(legacy, native, headers, types, report)
            if not head:
                _bodies(legacy, native, types, report)
    except Enough:
        return False
    return True


def _status(legacy: Answer, native: Answer, report: Report) -> bool:
    """Compare how it went; False where the rest would be about other things."""
    at = ("status",)
    # Flask answers 500 for its views and tells nobody: two of these say the same.
    alike = legacy.status == native.status >= _FAILURE
    if legacy.failed is not native.failed and not alike:
        report.differences.append(
            Found(at, legacy.outcome, native.outcome, "changed", "one side has failed")
        )
        return False
    before = len(report.differences)
    _flat(("status",), legacy.status, native.status, report)
    return len(report.differences) == before or legacy.status // 100 == native.status // 100


def _flat(location: tuple[str, ...], x: Any, y: Any, report: Report) -> None:
    """Compare two values that have no inside."""
    state = report.lens.at(*location)
    chain: tuple[Any, ...] = (location[0],)
    for key in location[1:]:
        chain = (chain, key)
    if x is not MISSING or y is not MISSING:
        walk(x, y, state, chain, report)
    elif report.successful:
        report.settle(chain, x, y, state)


def _headers(
    legacy: Answer,
    native: Answer,
    headers: tuple[str, ...],
    types: tuple[MediaType, MediaType],
    report: Report,
) -> None:
    for name in headers:
        x, y = legacy.header(name), native.header(name)
        if name == "content-type" and types[0] == types[1]:
            y = x
        _flat(("headers", name), MISSING if x is None else x, MISSING if y is None else y, report)
    x_set, y_set = cookies(legacy), cookies(native)
    for name in dict.fromkeys((*x_set, *y_set, *report.lens.at("cookies").demands)):
        _flat(("cookies", name), x_set.get(name, MISSING), y_set.get(name, MISSING), report)


def _bodies(
    legacy: Answer, native: Answer, types: tuple[MediaType, MediaType], report: Report
) -> None:
    marks = report.lens.at("body").marks
    if marks is not None and marks.ignore:
        return
    if legacy.body == native.body and not report.lens.expects:
        return
    x, y = legacy.content(), native.content()
    if types[0].is_json and types[1].is_json:
        before = len(report.differences)
        try:
            _json(x, y, report)
        except RecursionError:
            del report.differences[before:]
        else:
            return
    elif x != y and types[0].is_text and types[1].is_text:
        texts = _decoded(x, types[0]), _decoded(y, types[1])
        if None not in texts:
            _flat(("body",), *texts, report)
            return
    _flat(("body",), x, y, report)


def _decoded(body: bytes, kind: MediaType) -> str | None:
    try:
        return body.decode(kind.charset or "utf-8")
    except (UnicodeDecodeError, LookupError):
        return None


def _json(x: bytes, y: bytes, report: Report) -> None:
    trees: list[Any] = []
    refused: list[str] = []
    for body in (x, y):
        try:
            trees.append(values.read(body))
            refused.append("JSON")
        except values.NotJson as error:
            refused.append(str(error))
    if len(trees) == 2:  # noqa: PLR2004
        quick = not (report.learning or report.lens.expects)
        if quick and trees[0] == trees[1] and not values.ambiguous(x, y):
            return  # the usual case, in C
        before = len(report.differences)
        try:
            walk(trees[0], trees[1], report.lens.at("$"), ("$",), report)
        finally:  # there may be more differences than anybody reads
            fresh = [hide_named(each, trees) for each in report.differences[before:]]
            report.differences[before:] = fresh
    elif trees:
        report.differences.append(Found(("body",), refused[0], refused[1], "type"))
    else:
        _flat(("body",), x, y, report)


def _difference(found: Found) -> Difference:
    location = found.location
    x, y = found.legacy, found.native
    if isinstance(x, bytes) and isinstance(y, bytes):
        x, y = bytes_apart(x, y)
    elif location == ("body",) and found.kind == "changed":
        x, y = texts_apart(x, y)
    else:
        x, y = shown(location, x), shown(location, y)
    return Difference(written(location), x, y, found.kind, generalised(location), found.note)
