"""Thousands of byte patterns in one pass: a few bytes of each are looked up at fixed steps.

Every pattern has at least eight bytes. If all have at least `stride + 7`, then whoever looks at
eight bytes at every `stride`-th position cannot miss one, provided that the table holds `stride`
neighbouring windows of each pattern. This is sampling as in Wu and Manber (1994), with a table in
place of a shift. Candidates are compared by their first and last eight bytes, and then in full.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

WINDOW = 8
_STRIDES = (8, 4, 2, 1)
_BLOCK = 1 << 13  # windows looked at in one step: what they need stays in the processor's cache
_LEAST_BITS, _MOST_BITS = 16, 26
_SPARSE = 16  # table entries for each window held, of which two are set (Bloom, 1970)
_OFFSETS = 64  # of a long pattern, the windows among which the rarest are chosen
_MIX = np.uint64(0x9E3779B97F4A7C15)
_MIX_2 = np.uint64(0xC2B2AE3D27D4EB4F)
Array = np.ndarray[Any, np.dtype[Any]]


def words(content: bytes | bytearray, step: int = 1, first: int = 0) -> Array:
    """The eight bytes at every `step`-th position from `first` on, as uint64, without a copy."""
    count = max(0, (len(content) - first - WINDOW) // step + 1)
    return np.ndarray((count,), "<u8", content, first if count else 0, (step,))


def among(values: Array, known: Array) -> Array:
    """For each value, whether it is in the sorted array `known`."""
    if not len(known):
        return np.zeros(len(values), bool)
    places = np.searchsorted(known, values)
    places[places == len(known)] = 0
    same: Array = known[places] == values
    return same


@dataclass(frozen=True, repr=False, eq=False)
class Patterns:
    """A set of byte strings of at least eight bytes, ready to be looked for."""

    known: frozenset[bytes]
    stride: int
    shift: np.uint64
    table: Array
    windows: Array  # sorted, each once
    first_pair: Array  # (windows + 1,): where a window's pairs begin
    offsets: Array  # of each pair: where in the pattern the window lies
    lengths: Array  # of each pair: the pattern's length
    ends: Array  # sorted: what the first and last bytes of every pattern mix to

    @classmethod
    def of(cls, contents: Iterable[bytes]) -> Patterns:
        """Make the table; seconds for some 100,000 patterns.

        Raises:
            ValueError: a pattern is shorter than eight bytes.
        """
        known = frozenset(contents)
        shortest = min(map(len, known), default=WINDOW)
        if shortest < WINDOW:
            raise ValueError("a pattern is shorter than eight bytes")
        stride = next(step for step in _STRIDES if step <= shortest - WINDOW + 1)
        rows, ends = [np.zeros((0, 3), np.uint64)], [np.zeros(0, np.uint64)]
        for length, group in _by_length(known).items():
            first, found = _rarest(group, length, stride)
            for at, window in enumerate(found, start=first):
                row = np.empty((len(window), 3), np.uint64)
                row[:, 0], row[:, 1], row[:, 2] = window, at, length
                rows.append(row)
            tail = _column(group, length, length - WINDOW)
            ends.append(_mixed(_column(group, length, 0), tail, np.uint64(length)))
        pairs = np.unique(np.concatenate(rows), axis=0)
        windows, firsts = np.unique(pairs[:, 0], return_index=True)
        bits = min(max(int(len(windows) * _SPARSE).bit_length(), _LEAST_BITS), _MOST_BITS)
        shift = np.uint64(64 - bits)
        table = np.zeros(1 << bits, bool)
        for mix in (_MIX, _MIX_2):
            table[_hashed(windows, mix, shift)] = True
        return cls(
            known, stride, shift, table, windows, np.append(firsts, len(pairs)),
            pairs[:, 1].astype(np.int64), pairs[:, 2].astype(np.int64),
            np.unique(np.concatenate(ends)),
        )  # fmt: skip

    def found_in(self, content: bytes) -> Iterator[tuple[int, bytes]]:
        """(start, pattern) for every place of every pattern, each once."""
        if not self.known or len(content) < WINDOW:
            return
        every = words(content)
        places = np.concatenate([*self._likely(content)])
        if len(places):
            yield from self._checked(content, every, places)

    def _likely(self, content: bytes) -> Iterator[Array]:
        """Places at which a window of a pattern may lie: all that do, and one in a hundred more."""
        for first in range(0, WINDOW, self.stride):
            column = words(content, WINDOW, first)
            for at in range(0, len(column), _BLOCK):
                block = column[at : at + _BLOCK]
                places = np.flatnonzero(self.table.take(_hashed(block, _MIX, self.shift)))
                again = self.table.take(_hashed(block[places], _MIX_2, self.shift))
                yield first + (at + places[again]) * WINDOW

    def _checked(self, content: bytes, every: Array, places: Array) -> Iterator[tuple[int, bytes]]:
        found = every[places]
        held = among(found, self.windows)
        which, places = np.searchsorted(self.windows, found[held]), places[held]
        counts = self.first_pair[which + 1] - self.first_pair[which]
        starts = np.repeat(self.first_pair[which] - np.cumsum(counts) + counts, counts)
        pairs = starts + np.arange(len(starts))
        lengths = self.lengths[pairs]
        begins = np.repeat(places, counts) - self.offsets[pairs]
        inside = (begins >= 0) & (begins + lengths <= len(content))
        begins, lengths = begins[inside], lengths[inside]
        tails = every[begins + lengths - WINDOW]
        alike = among(_mixed(every[begins], tails, lengths.astype(np.uint64)), self.ends)
        for begin, length in zip(begins[alike].tolist(), lengths[alike].tolist(), strict=True):
            part = content[begin : begin + length]
            if part in self.known:
                yield begin, part


def _by_length(known: Iterable[bytes]) -> Mapping[int, bytes]:
    groups: dict[int, list[bytes]] = {}
    for pattern in known:
        groups.setdefault(len(pattern), []).append(pattern)
    return {length: b"".join(group) for length, group in groups.items()}


def _column(group: bytes, length: int, at: int) -> Array:
    """The window at offset `at` of every pattern of a group."""
    return words(group, length, at)


def _rarest(group: bytes, length: int, stride: int) -> tuple[int, list[Array]]:
    """`stride` neighbouring windows that the fewest patterns share, and the offset of the first.

    Ids often begin or end alike, and so do those of everybody else in the data.
    """
    count = min(length - WINDOW + 1, _OFFSETS)
    columns = [_column(group, length, at) for at in range(count)]
    shared = [float(np.square(np.unique(c, return_counts=True)[1]).sum()) for c in columns]
    sums = [sum(shared[at : at + stride]) for at in range(count - stride + 1)]
    first = int(np.argmin(sums))
    return first, columns[first : first + stride]


def _hashed(values: Array, mix: np.uint64, shift: np.uint64) -> Array:
    """The leading bits of a product, as an index; a signed one, which numpy takes as it is."""
    product = values * mix
    np.right_shift(product, shift, out=product)
    return product.view(np.int64)


def _mixed(head: Array, tail: Array, length: Any) -> Array:
    mixed: Array = (head * _MIX) ^ (tail * _MIX_2) ^ length
    return mixed
