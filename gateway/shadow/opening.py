"""Who was let in? Two answers to one request, compared in nothing but that."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from gateway.refusals import Refusal, refused
from gateway.routing import Backend
from gateway.shadow.compare import Difference, Verdict

if TYPE_CHECKING:
    from collections.abc import Collection

    from starlette.types import Scope

    from gateway.shadow.answer import Answer

_BAD_REQUEST = 400
_AWAY = (Refusal.REFUSED, Refusal.ABSENT)
#: What the difference is called in samples and counts.
FIELD = "who is let in"


@dataclass(frozen=True, slots=True)
class Pair:
    """What both answers mean for the one who asked."""

    legacy: Refusal
    native: Refusal

    @property
    def verdict(self) -> Verdict | None:
        """`opened` or `closed`; None: who is let in doesn't differ in a way that tells."""
        if self.legacy in _AWAY and self.native is Refusal.LET_IN:
            return Verdict.OPENED
        if self.native in _AWAY and self.legacy is Refusal.LET_IN:
            return Verdict.CLOSED
        return None

    @property
    def both_refused(self) -> bool:
        """Whether both turned the caller away."""
        return self.legacy is self.native is Refusal.REFUSED

    @property
    def away(self) -> Backend:
        """The side that turned the caller away, of a pair with a verdict."""
        return Backend.LEGACY if self.native is Refusal.LET_IN else Backend.NATIVE


def pair(legacy: Answer, native: Answer, scope: Scope, login: Collection[str]) -> Pair:
    """Say what both answers to the request of `scope` mean; `login` are paths of login pages."""
    return Pair(meaning(legacy, scope, login), meaning(native, scope, login))


def meaning(answer: Answer, scope: Scope, login: Collection[str]) -> Refusal:
    """Say what an answer means for the one who asked."""
    root = scope.get("root_path", "").rstrip("/")
    pages = (*login, *(f"{root}{page}" for page in login)) if root else login
    body = answer.content() if answer.status == _BAD_REQUEST else b""
    return refused(
        answer.status,
        answer.headers,
        login=pages,
        by_hook=answer.by_hook,
        body=body,
        path=scope["path"],
    )


def changed_since(again: Refusal, *, late: bool) -> bool:
    """Tell whether a verdict was raced, by what the side that ran first answers now.

    `late`: the side that refuses ran second. Then the first has refused meanwhile; else it had
    refused too early, and lets the caller in by now.
    """
    return again in _AWAY if late else again is Refusal.LET_IN


def limited(legacy: Answer, native: Answer) -> bool:
    """Tell whether a hook or middleware has answered 429 or 503: that says nothing of a caller."""
    return any(
        each.by_hook and refused(each.status, ()) is Refusal.LIMITED for each in (legacy, native)
    )


def told(legacy: Answer, native: Answer) -> str:
    """Say how both answered, without anything of the request: `legacy answered 401, native 200`."""
    return f"legacy answered {_told(legacy)}, native {_told(native)}"


def _told(answer: Answer) -> str:
    return f"{answer.status} by a hook or middleware" if answer.by_hook else str(answer.status)


def difference(legacy: Answer, native: Answer) -> Difference:
    """Write down who was let in as a difference, whatever else differs."""
    return Difference(FIELD, _told(legacy), _told(native), "changed", FIELD)
