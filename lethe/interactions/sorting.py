"""Rows of whole numbers in ascending order: packed into one number each wherever they fit."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt

_BITS: Final = 64


def in_order(
    columns: Sequence[npt.NDArray[Any]], *, distinct: bool = False
) -> list[npt.NDArray[Any]]:
    """Rows in ascending order, by the first column, then the next; with `distinct` each once.

    `columns` are one or more writable arrays of one length, of integers that are never negative.
    They are used up: the answer lies in them, and has their dtypes.

    >>> [column.tolist() for column in in_order([np.array([2, 0, 2]), np.array([1, 7, 0])])]
    [[0, 2, 2], [7, 0, 1]]
    """
    widths = [int(column.max(initial=0)).bit_length() for column in columns]
    if sum(widths) > _BITS:
        return _by_columns(columns, distinct)
    # Sorting one column of numbers is many times quicker than sorting places by several.
    rows = np.zeros(len(columns[0]), dtype=np.uint64)
    for column, width in zip(columns, widths, strict=True):
        if width:  # one of 64 bits is the only one, and shifts nothing
            rows <<= np.uint64(width % _BITS)
            np.bitwise_or(rows, column, out=rows, casting="unsafe", dtype=np.uint64)
    rows.sort()
    if distinct:
        rows = rows[_first_of_equal([rows])]
    found = []
    for column, width in zip(reversed(columns), reversed(widths), strict=True):
        part = column[: len(rows)]
        part[:] = 0
        if width:
            ones = np.uint64((1 << width) - 1)
            np.bitwise_and(rows, ones, out=part, casting="unsafe", dtype=np.uint64)
            rows >>= np.uint64(width % _BITS)
        found.append(part)
    return found[::-1]


def _by_columns(columns: Sequence[npt.NDArray[Any]], distinct: bool) -> list[npt.NDArray[Any]]:
    order = np.lexsort(columns[::-1])
    found = []
    for column in columns:
        column[:] = column[order]
        found.append(column)
    if distinct:
        first = _first_of_equal(found)
        found = [column[first] for column in found]
    return found


def _first_of_equal(columns: Sequence[npt.NDArray[Any]]) -> npt.NDArray[np.bool_]:
    first = np.ones(len(columns[0]), dtype=np.bool_)
    first[1:] = False
    for column in columns:
        first[1:] |= column[1:] != column[:-1]
    return first
