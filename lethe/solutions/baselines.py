"""What a winner must beat: the most popular items, and item-to-item neighbours."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import scipy
from pydantic import BaseModel, ConfigDict, Field

from lethe.interactions.training.matrix import InteractionMatrix
from lethe.solutions.learned import Factors, FloatArray, Progress

_BLOCK = 512


class PopularHyperparameters(BaseModel):
    """Popularity has none."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class ItemKnnHyperparameters(BaseModel):
    """Bounds and defaults of item-kNN.

    Attributes:
        neighbours: the most similar items that are kept for each item.
        shrinkage: added to the product of the norms; it mistrusts similarities of rare items.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    neighbours: int = Field(default=100, ge=1, le=10_000)
    shrinkage: float = Field(default=10.0, ge=0, le=1e6, allow_inf_nan=False)


def popularity(matrix: InteractionMatrix) -> npt.NDArray[np.int64]:
    """How many users touched each item: int64 (n_items,)."""
    return np.bincount(matrix.csr.indices, minlength=len(matrix.items)).astype(np.int64)


def popular_items(matrix: InteractionMatrix) -> npt.NDArray[np.int32]:
    """All items by falling popularity, equal ones by index: int32 (n_items,).

    >>> csr = scipy.sparse.csr_matrix(np.array([[1, 1, 0], [0, 1, 1]], dtype=np.float32))
    >>> popular_items(InteractionMatrix(("u", "v"), ("a", "b", "c"), csr)).tolist()
    [1, 0, 2]
    """
    return np.argsort(-popularity(matrix), kind="stable").astype(np.int32)


def fit_popular(
    matrix: InteractionMatrix,
    hyperparameters: PopularHyperparameters,
    seed: int = 0,
    progress: Progress | None = None,
) -> Factors:
    """Everybody gets the same scores: the number of users who touched the item, as rank 1."""
    learned = Factors(
        np.ones((len(matrix.users), 1), dtype=np.float32),
        popularity(matrix).astype(np.float32)[:, None].copy(),
    )
    if progress is not None:
        progress(1, learned)
    return learned


@dataclass(frozen=True, eq=False, repr=False)
class ItemKnn:
    """A user's row times the item-item similarities.

    Attributes:
        interactions: float32 CSR (n_users, n_items).
        similarities: float32 CSR (n_items, n_items); column j holds the neighbours of item j,
            the diagonal is empty.
    """

    interactions: Any
    similarities: Any

    def scores(self, rows: npt.NDArray[Any]) -> FloatArray:
        """Scores of all items for the users in `rows`: float32 (len(rows), n_items)."""
        dense = (self.interactions[rows] @ self.similarities).toarray()
        return np.ascontiguousarray(dense, dtype=np.float32)


def fit_item_knn(
    matrix: InteractionMatrix,
    hyperparameters: ItemKnnHyperparameters,
    seed: int = 0,
    progress: Progress | None = None,
) -> ItemKnn:
    """Cosine similarity of item columns, shrunk: ``a.b / (|a| |b| + shrinkage)``.

    Only the `neighbours` most similar items of each item stay; of equal ones the lower index.
    Blocks of 512 items keep memory at 512 x n_items floats. Source: Sarwar et al. 2001; the
    shrinkage is Bell and Koren's, 2007.
    """
    columns = matrix.csr.T.tocsr().astype(np.float64)
    norms = np.sqrt(np.asarray(columns.multiply(columns).sum(axis=1)).ravel())
    blocks = [
        _neighbours(columns, norms, start, hyperparameters)
        for start in range(0, len(matrix.items), _BLOCK)
    ]
    similarities = scipy.sparse.vstack(blocks, format="csr").T.tocsr()
    learned = ItemKnn(matrix.csr, similarities)
    if progress is not None:
        progress(1, learned)
    return learned


def _neighbours(
    columns: Any, norms: npt.NDArray[np.float64], start: int, rule: ItemKnnHyperparameters
) -> Any:
    """Rows `start` .. `start` + 512 of the similarities, cut to the best of each."""
    block = (columns[start : start + _BLOCK] @ columns.T).toarray()
    block /= norms[start : start + _BLOCK, None] * norms[None, :] + rule.shrinkage + 1e-12
    rows = np.arange(block.shape[0])
    block[rows, start + rows] = 0.0
    keep = min(rule.neighbours, block.shape[1])
    order = np.argsort(-block, axis=1, kind="stable")[:, :keep]
    cut = np.zeros_like(block, dtype=np.float32)
    np.put_along_axis(cut, order, np.take_along_axis(block, order, 1).astype(np.float32), 1)
    return scipy.sparse.csr_matrix(cut)
