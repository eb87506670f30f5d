"""How strongly counts speak against a bound, however often somebody looks.

The guardrail looks at growing counts again and again and stops at the first bad look. A test for
one fixed sample would raise a false alarm sooner or later; this is a test martingale instead: by
Ville's inequality it reaches 1/a with a probability of at most a, over all looks together.

Sources: Wald, Sequential Tests of Statistical Hypotheses (1945); Ramdas, Grünwald, Vovk and
Shafer, Game-Theoretic Statistics and Safe Anytime-Valid Inference (2023, arXiv 2210.01948).
"""

from __future__ import annotations

from math import exp, inf, log, log1p

#: Odds against the bound that are looked for (times as many hits), and their prior weights. Most
#: lies near 3: a 3% error rate beside 0.6% must be seen within 1,000 requests.
_ODDS = ((1.5, 0.10), (2.5, 0.25), (4.0, 0.40), (10.0, 0.15), (40.0, 0.10))
_PRIORS = tuple((odds - 1, log(odds), log(weight)) for odds, weight in _ODDS)


def evidence(hits: float, trials: float, share: float) -> float:
    """Return ln of the e-value against "at most `share` of the `trials` are hits".

    A mixture of likelihood ratios, each against odds of hits that are so many times as high. It
    grows with `hits`; 0 or less says nothing. Infinite where a hit is impossible by the bound.
    """
    if share <= 0:
        return inf if hits > 0 else 0.0
    if share >= 1 or trials <= 0:
        return 0.0
    terms = [weight + hits * gain - trials * log1p(more * share) for more, gain, weight in _PRIORS]
    top = max(terms)
    return top + log(sum(exp(term - top) for term in terms))


def excess(hits: float, trials: float, other_hits: float, other_trials: float) -> float:
    """Return ln of the e-value against "there are no more hits here than with the other".

    Of all hits together, as many should be here as of all trials: the unknown common rate drops
    out. For rare hits this is the Bayes factor under the rate's right Haar prior, which may be
    looked at whenever one likes (Hendriksen, de Heide and Grünwald, Optional Stopping with Bayes
    Factors, 2021); for frequent ones it is cautious. Without other trials it says nothing.
    """
    trials_together = trials + other_trials
    if not trials_together:
        return 0.0
    return evidence(hits, hits + other_hits, trials / trials_together)


def mean(values: list[float]) -> float:
    """Return ln of the average of e-values given by their ln: the average is an e-value, too."""
    top = max(values)
    if top == inf:
        return inf
    return top + log(sum(exp(value - top) for value in values) / len(values))


def despite(proof: float, other: float, prior: float) -> float:
    """Return ln of the e-value `proof` where another explanation has the e-value `other`.

    `prior` is ln of the odds against that explanation before anything was seen.
    """
    if proof == inf:
        return inf
    weight = other - prior
    return proof - max(0.0, weight) - log1p(exp(-abs(weight)))
