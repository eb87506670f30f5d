"""Which proofs belong into `routes.proof` after a run. Pure."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from gateway.migrate.prove.judging import Outcome
from gateway.proofs import Proof

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from gateway.migrate.prove.judging import Finding
    from gateway.routing import Route


def recorded(
    before: Mapping[str, Proof],
    findings: Sequence[Finding],
    fingerprints: Callable[[Route], tuple[str, str] | None],
    *,
    whole: bool,
) -> dict[str, Proof]:
    """Return the proofs that hold now.

    What was asked and is no longer proved goes; what wasn't asked stays, unless the run was about
    the `whole` config. Never recorded are a route that hosts tell apart, which has no id of its
    own, and one without `fingerprints`, whose code can't be read.
    """
    asked = Counter(each.route for each in findings)
    kept = {} if whole else {route: each for route, each in before.items() if route not in asked}
    for each in findings:
        if each.outcome is not Outcome.PROVED or asked[each.route] > 1:
            continue
        code = fingerprints(each.target.route)
        if code is not None:
            legacy, native = code
            kept[each.route] = Proof(legacy, native, each.target.guard, each.let_in, each.refused)
    return kept
