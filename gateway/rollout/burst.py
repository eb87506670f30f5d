"""Is native failing right now? O(1) per request, in every worker, before anybody adds up."""

from __future__ import annotations

from math import inf, log

#: Failure rates that are told apart: what is borne in silence, and so much more than that.
_BORNE = 0.05
_MORE = 0.25
#: Legacy's own failures vary: half as many again are borne.
_SLACK = 1.5
#: Legacy that fails more often than this is no measure; then `analysis` alone decides.
_HOPELESS = 0.45
#: ln of the likelihood ratio that is a burst: nine failures in a row, from rest.
_LIMIT = 14.4


class Burst:
    """A CUSUM of native outcomes (Page, Continuous Inspection Schemes, 1954).

    Each failure adds, each success takes away, never below 0. With the `ambient` failure rate (a
    share, legacy's own) at up to 3%: nine failures in a row are a burst, a failure rate of 50% is
    one within 50 requests (99.9%), and 0.5% or 1% never in practice.
    """

    __slots__ = ("_gain", "_level", "_limit", "_loss")

    def __init__(self, ambient: float = 0.0) -> None:
        hopeless = ambient > _HOPELESS
        borne = _BORNE if hopeless else max(_BORNE, _SLACK * ambient)
        burst = borne + _MORE
        self._gain = log(burst / borne)
        self._loss = log((1 - borne) / (1 - burst))
        self._limit = inf if hopeless else _LIMIT
        self._level = 0.0

    def note(self, ok: bool) -> bool:
        """Count one outcome; True says that native fails in a burst: roll back at once."""
        if ok:
            self._level = max(0.0, self._level - self._loss)
            return False
        self._level += self._gain
        return self._level >= self._limit
