"""What is drawn for a life: days, what people ask, and what befalls a night."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Literal

from hypothesis import strategies as st

from lethe.interactions.rights.register import Action
from tests.fakes.living_estate import (
    INTAKE,
    PROMOTION,
    RETIRE,
    ROTATION,
    Kill,
)

Right = Literal["erasure", "objection", "restriction"]
Wish = Right | Action | Literal["merge"]
PEOPLE = [f"customer-{number:04d}" for number in range(4)]
DAYS = 6  # of a life, after its first
MONTH = 31 * 86_400

Asked = list[tuple[Wish, str]]
Older = str | tuple[str, Kill | None]
Day = tuple[list[Any], str | None, Asked, Older]
Trouble = tuple[str, Asked, Kill | None]

person = st.sampled_from(PEOPLE)
right: st.SearchStrategy[Wish] = st.sampled_from(
    [*["erasure"] * 4, "objection", "restriction", *Action, "merge"]
)
ASKED = st.lists(st.tuples(right, person), min_size=1, max_size=3)
NOBODY: st.SearchStrategy[Asked] = st.just([])
ROW = st.tuples(person, st.integers(0, 3), st.booleans()) | st.integers(0, 20)
ROTATED: st.SearchStrategy[Older] = st.tuples(
    st.just("rotated"),
    st.none() | st.tuples(st.sampled_from(sorted(ROTATION)), st.sampled_from([0, 0, 0, 1, 2])),
)
DAY = st.tuples(
    st.lists(ROW, min_size=1, max_size=3),
    st.none() | person,
    NOBODY | ASKED | ASKED,
    st.one_of(*[st.sampled_from(["", "", "", "copied", "put back"])] * 3, ROTATED),
)


def killed(calls: Iterable[str]) -> st.SearchStrategy[Trouble]:
    """A night that is killed before one of these calls, mostly the first of its kind."""
    kill = st.tuples(st.sampled_from(sorted(calls)), st.sampled_from([0, 0, 0, 0, 1, 3]))
    return st.tuples(st.just("VERIFIED"), NOBODY | ASKED, kill)


INTERRUPTED: st.SearchStrategy[Trouble] = st.tuples(st.just("VERIFIED"), ASKED, st.none())
TROUBLE: st.SearchStrategy[Trouble] = st.one_of(
    st.tuples(st.just("REFUSED"), NOBODY, st.none()),
    INTERRUPTED,
    killed(INTAKE),
    killed(PROMOTION),
    killed(RETIRE),
)
