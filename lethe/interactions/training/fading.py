"""How a weight fades with age: step 5 of `lethe.interactions.training.snapshot`, exactly.

What a processor's `pow` gives differs in its last bit between libraries, and one millionth more
or less in one cell is another matrix. So a share is a decimal of 60 digits, rounded once, to a
whole number of millionths: no last digit decides anything.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from decimal import ROUND_HALF_EVEN, Context, Decimal

import numpy as np

from lethe.interactions.training.splits import Longs, present

DAY = 86_400
_ONE_IN = 1_000
_LEAST = 1  # a millionth: nobody's row goes, however old
_EXACTLY = Context(prec=60, rounding=ROUND_HALF_EVEN)
MOST_HALVINGS = 4
"""Within the time that the data span, of a weight in a half-life that a search may choose."""
_FEWEST_HALVINGS = 1


def faded(weight: Longs, timestamp: Longs, half_life_days: float) -> Longs:
    """The millionths of the rows of one window, halved for every `half_life_days` of their age.

    `weight` int64, at least 1, and `timestamp` Unix seconds, one a row, in any order; answers
    int64, at least 1. An age is counted in days of UTC from the day of the newest row, as
    `newest_day` finds it; a row that is newer still has none.

    >>> faded(np.array([1000, 1000, 1]), np.array([0, 5 * DAY, 0]), 5.0).tolist()
    [500, 1000, 1]
    """
    if len(weight) == 0:
        return weight
    age = np.maximum(newest_day(timestamp) - timestamp // DAY, 0)
    shares = _shares(present(age), half_life_days)
    found = np.empty_like(weight)
    for level in np.unique(weight).tolist():
        table = np.array([_times(level, share) for share in shares], dtype=np.int64)
        rows = weight == level
        found[rows] = table[age[rows]]
    return found


def newest_day(timestamp: Longs) -> int:
    """The day, counted from 1970, that ages are counted from; `timestamp` holds at least one.

    Of every thousand rows the newest is passed over: a clock that runs ahead would make everybody
    else's rows old.

    >>> newest_day(np.array([3 * DAY, 7 * DAY, DAY]))
    7
    >>> newest_day(np.array([DAY] * 999 + [9_000 * DAY]))
    1
    """
    last = len(timestamp) - 1 - len(timestamp) // _ONE_IN
    return int(np.partition(timestamp, last)[last]) // DAY


def span(timestamp: Longs) -> int:
    """Days between the oldest row and the day that ages are counted from; 0 without a row.

    >>> span(np.array([3 * DAY, 7 * DAY, DAY]))
    6
    """
    return newest_day(timestamp) - int(timestamp.min()) // DAY if len(timestamp) else 0


def worth_trying(half_lives: Iterable[float | None], days: int) -> tuple[float | None, ...]:
    """Those under which the oldest row of `days` halves once at the least, four times at the most.

    A sixteenth of everybody is left: then the residual test can ask about nearly everybody
    (docs/verification-measured.md), and few searches lead to a night that is INCONCLUSIVE because
    somebody old was erased. None, no fading, stays.

    >>> worth_trying((None, 15, 30, 60, 120), 100)
    (None, 30, 60)
    """
    return tuple(
        half_life
        for half_life in half_lives
        if half_life is None or _FEWEST_HALVINGS <= days / half_life <= MOST_HALVINGS
    )


def nearest(half_life: float | None, offered: tuple[float | None, ...]) -> float | None:
    """`half_life` if it is offered, else the next longer one, else the longest; None is longest.

    >>> nearest(45, (None, 30, 60, 120)), nearest(500, (None, 30)), nearest(None, (30, 90))
    (60, None, 90)
    """

    def length(days: float | None) -> float:
        return math.inf if days is None else days

    enough = [days for days in offered if length(days) >= length(half_life)]
    return min(enough, key=length) if enough else max(offered, key=length)


def _shares(ages: Longs, half_life_days: float) -> list[Decimal]:
    """What is left at each age up to the oldest; 0 at those that no row has."""
    shares = [Decimal(0)] * (int(ages[-1]) + 1)
    half_life = Decimal(half_life_days)
    for age in ages.tolist():
        halvings = _EXACTLY.divide(Decimal(age), half_life)
        shares[age] = _EXACTLY.power(Decimal(2), -halvings)
    return shares


def _times(weight: int, share: Decimal) -> int:
    """The nearest whole number of millionths, of two as near the even one; one at least."""
    return max(_LEAST, int(_EXACTLY.multiply(weight, share).to_integral_value(ROUND_HALF_EVEN)))
