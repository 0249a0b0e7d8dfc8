"""Top lists of many users, a block of them at a time: product, mask, partial selection.

What a user has is masked in the block's scores, and `metrics.top_items` chooses from the rest,
equal scores by the lower item index. Memory is bounded by the blocks that are worked on at once,
whatever the number of users or the size of the catalogue.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Final, Protocol

import numpy as np
import scipy
from numpy.typing import NDArray

from lethe.errors import BadInput, RecipeFailed
from lethe.gate.scoring.metrics import NO_ITEM, Items, Scores, top_items
from lethe.solutions.learned import Factors

Rows = NDArray[np.int64]

_BLOCK_CELLS: Final = 1 << 23
"""Scores held at once (32 MiB of float32), whatever the size of the catalogue."""
_SHARE_CELLS: Final = 1 << 21
"""Of each thread where only lists are wanted (8 MiB): little enough to stay near the processor."""


class Learned(Protocol):
    """Anything that scores users against the whole catalogue."""

    def scores(self, rows: Rows, /) -> Scores:
        """float32 (len(rows), n_items); higher is better, -inf is never recommended."""
        ...


@dataclass(frozen=True, eq=False)
class Lists:
    """The lists of some users, aligned: `items` and `scores` are (len(rows), depth).

    `items` is int64, `NO_ITEM` where the catalogue ends, with a score of NaN there; `scores`
    float32.
    """

    rows: Rows
    items: Items
    scores: Scores


def users_at_once(n_items: int, most: int, cells: int = _BLOCK_CELLS) -> int:
    """How many users are scored in one block: `most`, fewer when the catalogue is large.

    >>> users_at_once(1_000, 1_024), users_at_once(100_000, 1_024), users_at_once(1 << 30, 1_024)
    (1024, 83, 1)
    """
    return max(1, min(most, cells // max(1, n_items)))


def unseen_scores(learned: Learned, rows: Rows, seen: scipy.sparse.csr_matrix) -> Scores:
    """Scores of a block, float32 (len(rows), n_items), -inf where `seen` has an entry.

    The array is the caller's own.

    Raises:
        RecipeFailed: scores of another shape than `seen`.
    """
    scores = learned.scores(rows)
    if not isinstance(learned, Factors):  # those make a new array; elsewhere the mask needs a copy
        scores = np.array(scores, dtype=np.float32)
    if scores.shape != seen.shape:
        raise RecipeFailed(f"a recipe gave scores of shape {scores.shape}, not {seen.shape}")
    scores[np.repeat(np.arange(len(rows)), np.diff(seen.indptr)), seen.indices] = -np.inf
    return scores


def recommend(learned: Learned, rows: Rows, seen: scipy.sparse.csr_matrix, depth: int) -> Items:
    """Lists of unseen items, int64 (len(rows), depth), -1 where the catalogue ends."""
    return top_items(unseen_scores(learned, rows, seen), depth)


def recommend_all(
    learned: Learned, rows: Rows, seen: scipy.sparse.csr_matrix, depth: int, threads: int = 1
) -> Iterator[Lists]:
    """The lists of all `rows`, in their order, block by block.

    Args:
        learned: scores rows; called from `threads` threads at once.
        rows: whom to recommend to.
        seen: CSR (len(rows), n_items), aligned with `rows`; what is stored is not recommended.
        depth: length of a list, at least 1.
        threads: blocks worked on at once. The products run on one BLAS thread each, so the answer
            does not depend on it.

    Raises:
        BadInput: `seen` is not aligned, `depth` or `threads` is below 1.
        RecipeFailed: scores of the wrong shape, NaN or +inf.
    """
    if seen.shape[0] != len(rows) or depth < 1 or threads < 1:
        raise BadInput(f"{len(rows)} rows, seen {seen.shape}, depth {depth}, {threads} threads")
    step = users_at_once(seen.shape[1], 1024, _SHARE_CELLS)

    def listed(start: int) -> Lists:
        part = slice(start, start + step)
        scores = unseen_scores(learned, rows[part], seen[part])
        items = top_items(scores, depth)
        if not scores.size:
            return Lists(rows[part], items, np.full(items.shape, np.nan, np.float32))
        best = np.take_along_axis(scores, np.maximum(items, 0), axis=1)
        best[items == NO_ITEM] = np.nan
        return Lists(rows[part], items, best)

    starts = range(0, len(rows), step)
    if threads == 1:
        yield from map(listed, starts)
        return
    with ThreadPoolExecutor(threads) as pool:
        under_way: deque[Future[Lists]] = deque()
        for start in starts:
            under_way.append(pool.submit(listed, start))
            if len(under_way) > threads:  # one waits, so that no thread does
                yield under_way.popleft().result()
        while under_way:
            yield under_way.popleft().result()
