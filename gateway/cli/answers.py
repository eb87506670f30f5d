"""What a running gateway answers, as far as commands rely on it: held before anything is shown."""

from __future__ import annotations

from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from gateway.exceptions import GatewayError


class StrangeAnswer(GatewayError):
    """Whoever answered is no gateway, or one of another version."""


class Done(BaseModel):
    """The answer to a change."""

    routes: list[str]
    skipped: list[str]
    blocked: list[str] = []
    revision: str
    warnings: list[str] = []


class Side(BaseModel):
    """What one side has served of a route; durations in seconds."""

    requests: int
    p50: float | None
    p95: float | None


class Sides(BaseModel):
    """Both sides of a route."""

    legacy: Side
    native: Side


class Override(BaseModel):
    """What beats the file."""

    author: str
    reason: str
    kind: str
    expires: float | None


class Block(BaseModel):
    """Why legacy serves a route whatever else is said; `since` in seconds since the epoch."""

    what: str
    since: float
    releases: list[str]


class Row(BaseModel):
    """One route of a status."""

    route: str
    rule: str
    method: str
    path: str
    coverage: str
    cutover: str
    weight: float | None
    overridden: bool
    requests: int
    native_share: float | None
    rate: float
    error_rate: float
    sides: Sides
    history: list[int]
    circuit: dict[str, int] | None
    compared: int = 0
    different: int = 0
    opened: int = 0
    blocked: Block | None = None
    mirror_suspended: str | None = None
    file: str | None
    override: Override | None


class Health(BaseModel):
    """What isn't as it should be."""

    config: str
    store: str
    restart_required: list[str]


class Walk(BaseModel):
    """Where the guardrail stands with a rule's canary."""

    state: str
    weight: float
    since: float
    said: str


class Status(BaseModel):
    """The answer of `/-/status`."""

    revision: str
    workers: int
    since: float | None
    kill_switch: bool
    kill_switch_override: Override | None
    ignored: dict[str, str]
    health: Health
    routes: list[Row]
    walks: dict[str, Walk] = {}


class Entry(BaseModel):
    """One line of the audit trail; `at` in seconds since the epoch, if it is a time at all."""

    at: Any
    action: str
    route: str
    before: str
    after: str
    author: str
    reason: str


class Accepted(BaseModel):
    """A finding that a rule accepts, and for which routes."""

    rule: str
    code: str
    reason: str
    owner: str
    routes: list[str]


class Trail(BaseModel):
    """The answer of `/-/audit`."""

    entries: list[Entry]
    accepted: list[Accepted] = []


class Essence(BaseModel):
    """One side's answer to a mirrored request; `status` 0 where there was none."""

    status: int
    bytes: int
    error: str | None


class Difference(BaseModel):
    """One unexpected difference."""

    path: str
    field: str
    legacy: Any
    native: Any
    kind: str
    note: str


class Sample(BaseModel):
    """Two answers to one request that differ."""

    route: str
    at: float
    verdict: str = "different"
    method: str
    path: str
    query: str
    legacy: Essence
    native: Essence
    differences: list[Difference]
    more: bool


class Noise(BaseModel):
    """One field that differs by itself."""

    path: str
    flap: str
    count: int


class Compared(BaseModel):
    """What was found of one route."""

    route: str
    verdicts: dict[str, int]
    outcomes: dict[str, int]
    fields: list[tuple[str, int]]
    noise: list[Noise]
    suspended: str | None
    blocked: Block | None = None


class Diffs(BaseModel):
    """The answer of `/-/diffs`."""

    routes: list[Compared]
    samples: list[Sample]
    more_samples: int
    counted_since: float | None = None
    store: str
    workers: int


M = TypeVar("M", bound=BaseModel)


def held(model: type[M], data: Any) -> dict[str, Any]:
    """Return `data` as it came, with keys that this version doesn't know; raises StrangeAnswer."""
    try:
        model.model_validate(data)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        place = ".".join(str(part) for part in first["loc"])
        what = f"{place}: {first['msg']}" if place else str(first["msg"])
        raise StrangeAnswer(what) from None
    found: dict[str, Any] = data
    return found
