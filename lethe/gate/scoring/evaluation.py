"""Score what was learned against what people did next.

Items that a user has in train are never recommended and never count as held out. A user is scored
when at least one held-out item is left. A user or an item without any train history is cold: cold
users are scored like everybody else, cold items stay in the catalogue and among the relevant
items, and both are counted. Equal scores are ordered by the lower item index, so that the same
scores give the same lists on every machine.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import scipy
from numpy.typing import NDArray

from lethe.errors import BadInput
from lethe.gate.scoring.metrics import (
    COVERAGE,
    CUTOFFS,
    LIST_LENGTH,
    NO_ITEM,
    POPULARITY,
    FloatArray,
    Items,
    coverage,
    means,
    metric_names,
    per_user_metrics,
    popularity,
    ranking_depth,
)
from lethe.gate.scoring.ranking import Learned, Rows, recommend, users_at_once


@dataclass(frozen=True)
class EvaluationCounts:
    """What stands behind the means. Pairs are (user, item)."""

    users: int
    """Users scored."""
    pairs: int
    """Held-out pairs that could be hit."""
    cold_users: int
    """Users in the held-out window without train history."""
    cold_items: int
    """Items in the held-out window without train history."""
    seen_pairs: int
    """Held-out pairs left out because the user has the item in train."""
    users_only_seen: int
    """Users left out because nothing but such pairs was held out for them."""


@dataclass(frozen=True, eq=False)
class Evaluation:
    """Metrics of one solution on one window.

    `means` has every metric of `per_user` (NaN when no user could be scored), `coverage` and
    `popularity_of_lists`.
    `per_user` maps a metric to float64 (len(rows),), aligned with `rows`, ascending user rows.

    Raises:
        BadInput: lengths differ, or a mean is not the mean of its users.
    """

    means: Mapping[str, float]
    per_user: Mapping[str, FloatArray] = field(repr=False)
    rows: Rows = field(repr=False)
    counts: EvaluationCounts

    def __post_init__(self) -> None:
        for name, values in self.per_user.items():
            if values.shape != self.rows.shape:
                raise BadInput(f"{name} has {len(values)} values for {len(self.rows)} users")
        for name, mean in means(self.per_user).items():
            told = self.means.get(name)
            if told is None or not np.isclose(told, mean, rtol=0, atol=1e-12, equal_nan=True):
                raise BadInput(f"the mean of {name} is not the mean of its users")

    def telling_cold(self, users: int, items: int) -> Evaluation:
        """The same evaluation that also counts cold users and items outside the matrix."""
        counts = self.counts
        told = replace(
            counts, cold_users=counts.cold_users + users, cold_items=counts.cold_items + items
        )
        return replace(self, counts=told)


def evaluate(  # noqa: PLR0913
    learned: Learned,
    train: scipy.sparse.csr_matrix,
    held_out: scipy.sparse.csr_matrix,
    ks: Sequence[int] = CUTOFFS,
    *,
    users: Rows | None = None,
    block: int = 1024,
) -> Evaluation:
    """Rank the catalogue for each user with something unseen held out, and measure the lists.

    Args:
        learned: scores rows of `train`.
        train: CSR (n_users, n_items); positive entries are what the user already has.
        held_out: CSR of the same shape; positive entries are what the user did next.
        ks: cutoffs of the metrics.
        users: rows to look at (each once, in any order), None for all.
        block: most users scored at once; fewer when the catalogue is large.

    Raises:
        BadInput: shapes differ, a row is out of range, a cutoff or the block is below 1.
        RecipeFailed: scores of the wrong shape, NaN or +inf.
    """
    if train.shape != held_out.shape or block < 1:
        raise BadInput(f"train is {train.shape}, held out is {held_out.shape}, block is {block}")
    depth, window = ranking_depth(ks), _window(train, held_out, users)
    listed = np.zeros(train.shape[1], dtype=np.int64)
    parts: dict[str, list[FloatArray]] = {name: [np.empty(0)] for name in metric_names(ks)}
    step = users_at_once(train.shape[1], block)
    for start in range(0, len(window.rows), step):
        part = slice(start, start + step)
        relevant = window.relevant[part]
        found = recommend(learned, window.rows[part], window.seen[part], depth)
        top = found[:, :LIST_LENGTH]
        listed += np.bincount(top[top != NO_ITEM], minlength=len(listed))
        measured = per_user_metrics(_hits(found, relevant), _lengths(relevant), ks)
        for name, values in measured.items():
            parts[name].append(values)
    per_user = {name: np.concatenate(values) for name, values in parts.items()}
    holders = np.bincount(window.seen.indices, minlength=len(listed))
    told = means(per_user) | {
        COVERAGE: coverage(listed > 0),
        POPULARITY: popularity(listed, holders, len(window.rows)),
    }
    return Evaluation(told, per_user, window.rows, window.counts)


@dataclass(frozen=True, eq=False)
class _Window:
    """Users to score, aligned: `seen` and `relevant` are patterns of (len(rows), n_items)."""

    rows: Rows
    seen: scipy.sparse.csr_matrix
    relevant: scipy.sparse.csr_matrix
    counts: EvaluationCounts


def _window(
    train: scipy.sparse.csr_matrix, held_out: scipy.sparse.csr_matrix, users: Rows | None
) -> _Window:
    n_users = train.shape[0]
    rows = np.arange(n_users) if users is None else np.unique(np.asarray(users, dtype=np.int64))
    if rows.size and (rows[0] < 0 or rows[-1] >= n_users):
        raise BadInput(f"rows to evaluate must lie in 0..{n_users - 1}")
    had, window = _positive(train), _positive(held_out[rows])
    present = _lengths(window) > 0
    rows, window = rows[present], window[present]
    seen = had[rows]
    unseen = _without(window, seen)
    scored = _lengths(unseen) > 0
    known = np.zeros(train.shape[1], dtype=np.bool_)
    known[had.indices] = True
    counts = EvaluationCounts(
        users=int(scored.sum()),
        pairs=int(unseen.nnz),
        cold_users=int((_lengths(seen) == 0).sum()),
        cold_items=len(np.unique(window.indices[~known[window.indices]])),
        seen_pairs=int(window.nnz - unseen.nnz),
        users_only_seen=int((~scored).sum()),
    )
    return _Window(rows[scored], seen[scored], unseen[scored], counts)


def _hits(recommended: Items, relevant: scipy.sparse.csr_matrix) -> NDArray[np.bool_]:
    """bool like `recommended`: True where the item is among the user's relevant ones."""
    wanted = _keys(relevant)
    asked = recommended + np.arange(len(recommended))[:, None] * relevant.shape[1]
    place = np.minimum(np.searchsorted(wanted, asked), len(wanted) - 1)
    hits: NDArray[np.bool_] = (wanted[place] == asked) & (recommended != NO_ITEM)
    return hits


def _positive(matrix: scipy.sparse.csr_matrix) -> scipy.sparse.csr_matrix:
    """The pattern of positive entries, indices sorted and each once, as a copy."""
    pattern = scipy.sparse.csr_matrix(matrix > 0)
    pattern.sum_duplicates()
    return pattern


def _lengths(matrix: scipy.sparse.csr_matrix) -> Rows:
    lengths: Rows = np.diff(matrix.indptr).astype(np.int64)
    return lengths


def _keys(matrix: scipy.sparse.csr_matrix) -> Rows:
    """One ascending int64 for each stored pair: row * n_columns + column."""
    row = np.repeat(np.arange(matrix.shape[0], dtype=np.int64), _lengths(matrix))
    keys: Rows = row * matrix.shape[1] + matrix.indices
    return keys


def _without(
    matrix: scipy.sparse.csr_matrix, other: scipy.sparse.csr_matrix
) -> scipy.sparse.csr_matrix:
    """The pattern of `matrix` less that of `other`."""
    kept = ~np.isin(_keys(matrix), _keys(other), assume_unique=True)
    row = np.repeat(np.arange(matrix.shape[0]), _lengths(matrix))[kept]
    return scipy.sparse.csr_matrix(
        (np.ones(len(row), dtype=np.bool_), (row, matrix.indices[kept])), shape=matrix.shape
    )
