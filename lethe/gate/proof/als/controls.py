"""Known cases for the contribution layer: members pretended erased, and people never seen.

The first are retained users. The second are invented: half of one retained user's items and half
of those of another who shares an item with them, cut to a wanted length. They have the tastes
and the lengths of real people, and nobody was ever trained on them.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import scipy

Indices = npt.NDArray[np.int64]
_NEAREST = 32


def members(confidence: Any, count: int, draw: np.random.Generator) -> Indices:
    """Row numbers of at most `count` retained users with a history, ascending."""
    held = np.flatnonzero(np.diff(confidence.indptr) > 0)
    return np.sort(draw.choice(held, min(count, len(held)), replace=False))


def alike(confidence: Any, lengths: Indices, draw: np.random.Generator) -> Indices:
    """For each length the row number of a retained user whose history is about as long."""
    held = np.diff(confidence.indptr)
    by_length = _by_length(held)
    return np.array([_alike(by_length, held, int(n), draw) for n in lengths], dtype=np.int64)


def never_seen(confidence: Any, lengths: Indices, draw: np.random.Generator) -> Any:
    """One invented row of c for each wanted length: float64 CSR (len(lengths), n_items).

    A row is shorter than wanted where its two parents have too few items between them.
    """
    held = np.diff(confidence.indptr)
    by_length = _by_length(held)
    by_item = confidence.tocsc()
    indptr, indices, data = [0], [], []
    for length in lengths:
        first = _alike(by_length, held, int(length), draw)
        second = _neighbour(confidence, by_item, first, draw)
        items, values = _crossed(confidence, first, second, int(length), draw)
        indices.append(items)
        data.append(values)
        indptr.append(indptr[-1] + len(items))
    return scipy.sparse.csr_matrix(
        (np.concatenate(data), np.concatenate(indices), indptr),
        shape=(len(lengths), confidence.shape[1]),
    )


def _by_length(held: Any) -> Indices:
    order: Indices = np.argsort(held, kind="stable")
    some: Indices = order[held[order] > 0]
    return some


def _alike(by_length: Indices, held: Any, length: int, draw: np.random.Generator) -> int:
    """A random one of the users whose histories are nearest to `length`."""
    place = int(np.searchsorted(held[by_length], length))
    low = max(0, min(place - _NEAREST // 2, len(by_length) - _NEAREST))
    return int(draw.choice(by_length[low : low + _NEAREST]))


def _neighbour(confidence: Any, by_item: Any, user: int, draw: np.random.Generator) -> int:
    """Somebody who shares a random item of this user; the user where nobody does."""
    item = draw.choice(_row(confidence, user)[0])
    return int(draw.choice(by_item.indices[by_item.indptr[item] : by_item.indptr[item + 1]]))


def _row(matrix: Any, row: int) -> tuple[Any, Any]:
    span = slice(matrix.indptr[row], matrix.indptr[row + 1])
    return matrix.indices[span], matrix.data[span]


def _crossed(
    confidence: Any, first: int, second: int, length: int, draw: np.random.Generator
) -> tuple[Any, Any]:
    items, values = _row(confidence, first)
    others, other_values = _row(confidence, second)
    new = ~np.isin(others, items)
    others, other_values = others[new], other_values[new]
    taken = min(len(others), length // 2)
    kept = min(len(items), length - taken)
    taken = min(len(others), length - kept)
    a = draw.choice(len(items), kept, replace=False)
    b = draw.choice(len(others), taken, replace=False) if taken else np.empty(0, dtype=np.int64)
    joined = np.concatenate((items[a], others[b]))
    order = np.argsort(joined)
    return joined[order], np.concatenate((values[a], other_values[b]))[order]
