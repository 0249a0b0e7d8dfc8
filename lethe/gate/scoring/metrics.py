"""Ranked lists, and metrics for each user at every cutoff in one pass over the hits.

Names follow AWS Personalize where it has one: `coverage`, `mean_reciprocal_rank_at_25`,
`normalized_discounted_cumulative_gain_at_K`, `precision_at_K`; `recall_at_K`, `map_at_K` and
`popularity_of_lists` are ours. Relevance is binary. With h(r) = 1 where the item at rank r (from 1)
is relevant, R the number of relevant items, and K the cutoff:

    precision_at_K  sum h(r) / K                        r = 1..K; K, also when fewer items remain
    recall_at_K     sum h(r) / R
    nDCG_at_K       sum h(r)/log2(1+r)  /  sum 1/log2(1+j)    j = 1..min(K, R)
    map_at_K        sum h(r) precision_at_r  /  min(K, R)
    MRR_at_25       1 / (rank of the first hit), 0 without a hit

nDCG: Järvelin and Kekäläinen, TOIS 20(4), 2002. Mean average precision cut at K and normalised by
min(K, R), so that a perfect list scores 1 at every K (`implicit` divides otherwise).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from lethe.errors import BadInput, RecipeFailed

FloatArray = NDArray[np.float64]
Scores = NDArray[np.float32]
Items = NDArray[np.int64]

CUTOFFS: Final = (5, 10, 25)
LIST_LENGTH: Final = 25
"""How many items a recommended list has where Personalize fixes it (coverage, MRR)."""

COVERAGE: Final = "coverage"
POPULARITY: Final = "popularity_of_lists"
NO_ITEM: Final = -1
"""Fills a list where the catalogue ends."""
_LANES_PER_RANK: Final = 16
_LOWEST: Final = np.finfo(np.float32).min

MRR: Final = f"mean_reciprocal_rank_at_{LIST_LENGTH}"


def ndcg_at(k: int) -> str:
    """The name of nDCG at `k`.

    >>> ndcg_at(10)
    'normalized_discounted_cumulative_gain_at_10'
    """
    return f"normalized_discounted_cumulative_gain_at_{k}"


def metric_names(ks: Sequence[int] = CUTOFFS) -> tuple[str, ...]:
    """Names of the per-user metrics at the cutoffs `ks`, in reporting order.

    >>> metric_names((5,))[1:]
    ('precision_at_5', 'recall_at_5', 'map_at_5', 'mean_reciprocal_rank_at_25')
    """
    at_k = [
        name
        for k in ks
        for name in (ndcg_at(k), f"precision_at_{k}", f"recall_at_{k}", f"map_at_{k}")
    ]
    return (*at_k, MRR)


def ranking_depth(ks: Sequence[int] = CUTOFFS) -> int:
    """How many ranks must be known to compute every metric at the cutoffs `ks`.

    Raises:
        BadInput: no cutoff, or one below 1.

    >>> ranking_depth((5, 10)), ranking_depth((50,))
    (25, 50)
    """
    if not ks or min(ks) < 1:
        raise BadInput(f"cutoffs must be whole numbers from 1 up, got {list(ks)}")
    return max(LIST_LENGTH, *ks)


def top_items(scores: Scores, depth: int) -> Items:
    """The best `depth` columns of each row, best first, ties by the lower column.

    Columns are dealt into lanes; the depth-th best lane maximum is a lower bound of the depth-th
    best score, so that one comparison leaves few candidates to sort. Sorting every candidate at
    or above the bound is what makes ties exact, which a bare argpartition leaves to chance.

    Args:
        scores: float32 (n_rows, n_columns); -inf is never chosen.
        depth: length of a list, at least 1.

    Returns:
        int64 (n_rows, depth), filled up with -1 where a row has fewer columns to choose.

    Raises:
        RecipeFailed: a score is NaN or +inf.

    >>> top_items(np.array([[1, 3, 3, -np.inf]], dtype=np.float32), 4)
    array([[ 1,  2,  0, -1]])
    """
    n_rows, n_columns = scores.shape
    out = np.full((n_rows, depth), NO_ITEM, dtype=np.int64)
    if not scores.size:
        return out
    lanes = _lane_maxima(scores, min(n_columns, _LANES_PER_RANK * depth))
    best = lanes.max(axis=1)
    if np.isnan(best).any() or (best == np.inf).any():
        raise RecipeFailed("a recipe gave scores that are NaN or infinite")
    lowest = lanes.shape[1] - depth
    bound = np.full(n_rows, _LOWEST, dtype=scores.dtype)  # every score but -inf is at or above it
    if lowest >= 0:
        np.maximum(bound, np.partition(lanes, lowest, axis=1)[:, lowest], out=bound)
    wanted = scores >= bound[:, None]
    crowd = 2 * _LANES_PER_RANK * depth
    if np.count_nonzero(wanted) > crowd * n_rows:
        _drop_late_ties(wanted, scores, bound, depth, crowd)
    place, start = _places(wanted)
    if np.diff(start).max() > crowd:
        _drop_late_ties(wanted, scores, bound, depth, crowd)
        place, start = _places(wanted)
    return _sorted(scores, place, start, out)


def _places(wanted: NDArray[np.bool_]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Where the candidates are, row by row, and at which of them each row starts and ends."""
    place = np.flatnonzero(wanted)
    rows, columns = wanted.shape
    return place, np.searchsorted(place, np.arange(rows + 1) * columns)


def _sorted(
    scores: Scores, place: NDArray[np.int64], start: NDArray[np.int64], out: Items
) -> Items:
    """Fill `out` with the best candidates of each row, padded to rows of one length and sorted."""
    count = np.diff(start)
    row = np.repeat(np.arange(len(count)), count)
    slot = np.arange(len(place)) - start[row]
    worth = np.full((len(count), max(1, int(count.max()))), np.inf, dtype=scores.dtype)
    column = np.full(worth.shape, NO_ITEM, dtype=np.int64)
    worth[row, slot] = -scores.ravel()[place]
    column[row, slot] = place - row * scores.shape[1]
    order = np.argsort(worth, axis=1, kind="stable")[:, : out.shape[1]]  # a tie stays ascending
    out[:, : order.shape[1]] = np.take_along_axis(column, order, axis=1)
    return out


def per_user_metrics(
    hits: NDArray[np.bool_], relevant: NDArray[np.int64], ks: Sequence[int] = CUTOFFS
) -> dict[str, FloatArray]:
    """Every metric of every user.

    Args:
        hits: bool (n_users, depth); `hits[u, r]` says that the item at rank r + 1 is relevant.
            `depth` is at least `ranking_depth(ks)`; ranks without an item are False.
        relevant: int (n_users,), the relevant items of each user, at least 1.
        ks: the cutoffs.

    Returns:
        Name -> float64 (n_users,), each in [0, 1]; the names are `metric_names(ks)`.

    Raises:
        BadInput: shapes do not fit, a user has nothing relevant, or more hits than relevant items.

    >>> hits = np.zeros((1, 25), dtype=bool)
    >>> hits[0, [0, 2]] = True
    >>> found = per_user_metrics(hits, np.array([2]), ks=(5,))
    >>> {name: round(float(value[0]), 4) for name, value in found.items()}["map_at_5"]
    0.8333
    """
    _check(hits, relevant, ranking_depth(ks))
    depth = hits.shape[1]
    ranks = np.arange(1, depth + 1, dtype=np.float64)
    discount = 1.0 / np.log2(1.0 + ranks)
    ideal = np.concatenate(([0.0], np.cumsum(discount)))
    found = np.cumsum(hits, axis=1, dtype=np.float64)
    gained = np.cumsum(hits * discount, axis=1)
    summed_precision = np.cumsum(hits * (found / ranks), axis=1)
    metrics: dict[str, FloatArray] = {}
    for k in ks:
        reachable = np.minimum(relevant, k)
        metrics[ndcg_at(k)] = gained[:, k - 1] / ideal[reachable]
        metrics[f"precision_at_{k}"] = found[:, k - 1] / k
        metrics[f"recall_at_{k}"] = found[:, k - 1] / relevant
        metrics[f"map_at_{k}"] = summed_precision[:, k - 1] / reachable
    listed = hits[:, :LIST_LENGTH]
    metrics[MRR] = np.where(listed.any(axis=1), 1.0 / (1.0 + listed.argmax(axis=1)), 0.0)
    return metrics


def coverage(recommended: NDArray[np.bool_]) -> float:
    """Share of the catalogue that appears in at least one list; 0.0 for an empty catalogue.

    Args:
        recommended: bool (n_items,), True where somebody's top 25 holds the item.

    >>> coverage(np.array([True, False, True, False]))
    0.5
    """
    return float(recommended.mean()) if recommended.size else 0.0


def popularity(recommended: NDArray[np.int64], holders: NDArray[np.int64], users: int) -> float:
    """Mean share of users who had a listed item already, over every place of every list.

    Near the share of the most popular items, everybody is shown what everybody has. It is the
    average recommendation popularity of Yin et al. (VLDB 2012) as a share; NaN without a list.

    Args:
        recommended: int (n_items,), in how many top 25 an item stands.
        holders: int (n_items,), how many of the `users` have it in train.
        users: how many users were scored.

    >>> popularity(np.array([3, 1]), np.array([4, 0]), 8)
    0.375
    """
    places = int(recommended.sum())
    return float(recommended @ holders) / (places * users) if places and users else float("nan")


def means(per_user: Mapping[str, FloatArray]) -> dict[str, float]:
    """The mean of each metric over users; NaN where there is no user, never 0.

    >>> means({"precision_at_5": np.array([0.2, 0.4])})
    {'precision_at_5': 0.30000000000000004}
    """
    return {
        name: float(values.mean()) if values.size else float("nan")
        for name, values in per_user.items()
    }


def _check(hits: NDArray[np.bool_], relevant: NDArray[np.int64], depth: int) -> None:
    if hits.ndim != 2 or hits.dtype != np.bool_ or hits.shape[1] < depth:  # noqa: PLR2004
        raise BadInput(f"hits must be bool (n_users, {depth} or more), got {hits.shape}")
    if relevant.shape != hits.shape[:1]:
        raise BadInput(f"{len(relevant)} counts of relevant items for {len(hits)} users")
    if relevant.size and relevant.min() < 1:
        raise BadInput("a user without a relevant item cannot be scored")
    if (hits.sum(axis=1) > relevant).any():
        raise BadInput("a user has more hits than relevant items")


def _lane_maxima(scores: Scores, lanes: int) -> Scores:
    """Maximum of every `lanes`-th column, as float32 (n_rows, lanes); NaN spreads."""
    maxima = scores[:, :lanes].copy()
    for start in range(lanes, scores.shape[1], lanes):
        piece = scores[:, start : start + lanes]
        np.maximum(maxima[:, : piece.shape[1]], piece, out=maxima[:, : piece.shape[1]])
    return maxima


def _drop_late_ties(
    wanted: NDArray[np.bool_], scores: Scores, bound: Scores, depth: int, crowd: int
) -> None:
    """Where a whole catalogue ties at the bound, only the first `depth` ties can be chosen."""
    for row in np.flatnonzero(np.count_nonzero(wanted, axis=1) > crowd):
        wanted[row, np.flatnonzero(scores[row] == bound[row])[depth:]] = False
