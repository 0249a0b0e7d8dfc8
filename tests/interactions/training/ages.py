"""How weights fade, by comparing whole numbers: the slow oracle of trainer and verifier."""

from __future__ import annotations

from collections.abc import Iterable
from fractions import Fraction
from typing import Any

DAY = 86_400
Row = tuple[str, str, int, int]


def slow_worth(millionths: int, age: int, half_life_days: float) -> int:
    """The whole number nearest to millionths * 2^-(age / half-life), of two the even one, or 1.

    With p/q for the half-life, 2m * 2^-(age q / p) is above k where (2m)^p is above
    k^p * 2^(age q): nothing is rounded anywhere.
    """
    p, q = Fraction(half_life_days).as_integer_ratio()

    def beside(k: int) -> int:
        """-1, 0 or 1: twice the faded weight is below, at or above k."""
        left, right = int((2 * millionths) ** p), int(k**p) << (age * q)
        return (left > right) - (left < right)

    low, high = 0, millionths  # the answer is the first n that the faded weight is not above
    while low < high:
        n = (low + high) // 2
        if beside(2 * n + 1) > 0 or (beside(2 * n + 1) == 0 and n % 2):
            low = n + 1
        else:
            high = n
    return max(1, low)


def slow_day(moments: Iterable[int]) -> int:
    """The day of the newest moment, of every thousand the newest left out."""
    ascending = sorted(moments)
    return ascending[len(ascending) - 1 - len(ascending) // 1_000] // DAY


def slow_fading(rows: list[Row], rules: Any, day: int | None = None) -> list[Row]:
    """Rows (user, item, moment, millionths) of one window, each worth what its age leaves it."""
    if rules.half_life_days is None or not rows:
        return rows
    day = slow_day(moment for _, _, moment, _ in rows) if day is None else day
    return [
        (
            user,
            item,
            moment,
            slow_worth(millionths, max(0, day - moment // DAY), rules.half_life_days),
        )
        for user, item, moment, millionths in rows
    ]
