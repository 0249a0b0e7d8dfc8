"""Packed or not, rows come in the order of their columns."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from hypothesis import given, settings
from hypothesis import strategies as st

from lethe.interactions.sorting import in_order

SMALL, LARGE = st.integers(0, 3), st.integers(0, 2**62)
ROWS = st.sampled_from([(SMALL, SMALL, SMALL), (LARGE, SMALL, SMALL), (SMALL, LARGE, LARGE)])


@given(data=st.data(), distinct=st.booleans(), one=st.booleans())
@settings(max_examples=200, deadline=None)
def test_rows_of_any_numbers_are_sorted_as_tuples_are(
    data: st.DataObject, distinct: bool, one: bool
) -> None:
    """Numbers of 62 bits beside others no longer fit into one of 64."""
    rows = data.draw(ROWS.flatmap(lambda kinds: st.lists(st.tuples(*kinds), max_size=12)))
    columns = [np.array([row[place] for row in rows], np.int64) for place in range(3)]
    found = in_order(columns[: 1 if one else 3], distinct=distinct)
    expected = [row[:1] for row in rows] if one else rows
    assert list(zip(*(column.tolist() for column in found), strict=True)) == sorted(
        set(expected) if distinct else expected
    )


def test_the_columns_keep_their_types() -> None:
    columns: list[npt.NDArray[Any]] = [
        np.array([3, 1], np.uint64), np.array([1, 2], np.int32), np.array([0, 1], np.uint8)
    ]  # fmt: skip
    found = in_order(columns)
    assert [column.dtype for column in found] == [np.uint64, np.int32, np.uint8]
    (whole,) = in_order([np.array([2**64 - 1, 0], np.uint64)])
    assert whole.tolist() == [0, 2**64 - 1]
