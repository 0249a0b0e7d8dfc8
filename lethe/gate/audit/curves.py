"""How well a score tells two groups apart."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

Doubles = npt.NDArray[np.float64]
FALSE_POSITIVES = 0.01
_NORMAL_95 = 1.96
_A_HANDFUL = 10


def auc(inside: Doubles, outside: Doubles) -> float:
    """The chance that a score of `inside` exceeds one of `outside`, ties halved; NaN without both.

    0.5 is guessing, 1 is certain, 0 is certain the wrong way round.

    >>> auc(np.array([2.0, 3.0]), np.array([1.0, 2.0]))
    0.875
    """
    from scipy.stats import rankdata

    if not len(inside) or not len(outside):
        return float("nan")
    ranks = rankdata(np.concatenate((inside, outside)))[: len(inside)]
    above = float(ranks.sum()) - len(inside) * (len(inside) + 1) / 2
    return above / (len(inside) * len(outside))


def found_at(inside: Doubles, outside: Doubles, rate: float = FALSE_POSITIVES) -> float:
    """The share of `inside` above a line that at most `rate` of `outside` exceeds; NaN if empty.

    >>> found_at(np.array([2.0, 3.0]), np.array([1.0, 2.0]), 0.5)
    1.0
    """
    if not len(inside) or not len(outside):
        return float("nan")
    descending = np.sort(outside)[::-1]
    # One ulp must not cost a person: 0.29 of 100 is 29.
    allowed = int(np.floor(rate * len(outside) + 1e-9))
    line = descending[allowed] if allowed < len(outside) else -np.inf
    return float(np.mean(inside > line))


def curve(
    inside: Doubles, outside: Doubles, rates: Sequence[float]
) -> tuple[tuple[float, float], ...]:
    """(false-positive rate, share found) at each rate."""
    return tuple((rate, found_at(inside, outside, rate)) for rate in rates)


def interval(area: float, inside: int, outside: int) -> tuple[float, float]:
    """About 95 % for an AUC of so many people (Hanley and McNeil 1982), within 0 and 1.

    From 0 to 1 for fewer than ten: the formula shrinks near the ends, the doubt does not.

    >>> interval(1.0, 3, 400)
    (0.0, 1.0)
    """
    if min(inside, outside) < _A_HANDFUL:
        return 0.0, 1.0
    pairs, ends = area / (2 - area), 2 * area**2 / (1 + area)
    spread = area * (1 - area) + (inside - 1) * (pairs - area**2) + (outside - 1) * (ends - area**2)
    half = _NORMAL_95 * float(np.sqrt(max(spread, 0.0) / (inside * outside)))
    return max(0.0, area - half), min(1.0, area + half)
