"""Dying right before a call: what a kill leaves, the next attempt must be able to end."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import pytest


class Killed(BaseException):
    """Not an Exception: nothing may catch a kill."""


def dying_at(
    at: int | None,
    calls_of: Iterable[tuple[Any, str]],
    do: Callable[[], object],
    counts: Callable[..., bool] = lambda *_: True,
) -> int:
    """Do something, and die right before call number `at` of these functions (None: do not).

    `calls_of` are owners and names. Calls whose arguments do not count pass. How many came.
    """
    calls = 0

    def counted(original: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **options: Any) -> Any:
            nonlocal calls
            if counts(*arguments):
                calls += 1
                if calls - 1 == at:
                    raise Killed
            return original(*arguments, **options)

        return call

    with pytest.MonkeyPatch.context() as patch:
        for owner, name in calls_of:
            patch.setattr(owner, name, counted(getattr(owner, name)))
        try:
            do()
        except Killed:
            return calls
    return calls
