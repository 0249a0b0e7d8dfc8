"""The algebra of ALS in float64: both sides of the normal equations, and exact fold-ins.

Written from the objective that `implicit` 0.7.3 minimises, not from the trainer's code:

    L(X, Y) = sum over ALL pairs of c_ui (p_ui - x_u . y_i)^2 + reg (|X|^2 + |Y|^2)

with p_ui = 1 and c_ui = float32(alpha * r_ui) on observed pairs, p_ui = 0 and c_ui = 1 elsewhere.
With a popularity discount each item has an alpha of its own (`alphas`).
Half the gradient with respect to y_i is `left - right` of that item's normal equations,

    left_i  = (X'X + reg I) y_i + sum over i's users of (c_ui - 1) (x_u . y_i) x_u
    right_i = sum over i's users of c_ui x_u

so at X as stored it is the residual of the last half-step, and at the exact fold-in X* of every
user it is the gradient of the objective that is left once X has been minimised away. Nothing of
size users x items is ever built: observed pairs are visited once, in blocks.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import scipy

Doubles = npt.NDArray[np.float64]

_BLOCK_PAIRS = 1 << 17
_BLOCK_CELLS = 1 << 22
_STEP = 4


def alphas(users: npt.NDArray[np.int64], alpha: float, discount: float) -> npt.NDArray[np.float32]:
    """What each item's alpha is, float32 (n_items,): alpha 2^(discount (m - k_i)).

    `users` is how many have each item, (n_items,). 2^k_i is the largest power of two that is at
    most i's; m is the lower median of k over the observed pairs.

    >>> alphas(np.array([4, 3, 2, 1]), 3.0, 1.0).tolist()
    [1.5, 3.0, 3.0, 6.0]
    """
    k = np.array([max(count, 1).bit_length() - 1 for count in users.tolist()], dtype=np.int64)
    pairs = np.bincount(k, weights=users)  # how many pairs lie with items of each k
    m = int(np.searchsorted(np.cumsum(pairs), (pairs.sum() + 1) // 2)) if pairs.sum() else 0
    return np.array([alpha * 2.0 ** (discount * (m - one)) for one in k.tolist()], np.float32)


def users_by_item(weights: Any) -> npt.NDArray[np.int64]:
    """How many users have each item, (n_items,), of CSR (n_users, n_items) without stored zeros."""
    counted: npt.NDArray[np.int64] = np.bincount(weights.indices, minlength=weights.shape[1])
    return counted


def confidences(weights: Any, alpha: float | npt.NDArray[np.float32]) -> Any:
    """c on the observed pairs: float64 CSR with the float32 products that the solver used.

    `alpha` is one number, or that of each item, (n_items,).
    """
    each = np.asarray(alpha, dtype=np.float32)
    each = each[weights.indices] if each.ndim else each
    products = weights.data.astype(np.float32) * each
    return scipy.sparse.csr_matrix(
        (products.astype(np.float64), weights.indices, weights.indptr), shape=weights.shape
    )


def blocks(confidence: Any) -> Iterator[slice]:
    """Consecutive ranges of rows with about `_BLOCK_PAIRS` observed pairs each."""
    indptr, first = confidence.indptr, 0
    while first < confidence.shape[0]:
        last = int(np.searchsorted(indptr, indptr[first] + _BLOCK_PAIRS, side="right")) - 1
        last = min(max(last, first + 1), first + _BLOCK_PAIRS, confidence.shape[0])
        yield slice(first, last)
        first = last


def predictions(observed: Any, X: Doubles, Y: Doubles) -> Doubles:
    """x_u . y_i on each observed pair, in the order of `observed.data`: float64 (nnz,)."""
    rows = np.repeat(np.arange(observed.shape[0]), np.diff(observed.indptr))
    found = np.empty(observed.nnz)
    step = max(1, _BLOCK_CELLS // X.shape[1])
    for first in range(0, observed.nnz, step):
        part = slice(first, first + step)
        found[part] = np.einsum("kf,kf->k", X[rows[part]], Y[observed.indices[part]])
    return found


@dataclass(frozen=True, eq=False, repr=False)
class ItemSides:
    """Both sides of every item's normal equations, and the trace of each left-hand matrix.

    `left` and `right` are float64 (n_items, f), `trace` is float64 (n_items,).
    """

    left: Doubles
    right: Doubles
    trace: Doubles

    @property
    def difference(self) -> Doubles:
        """Half the gradient of the objective with respect to the item factors."""
        return self.left - self.right

    @property
    def scale(self) -> Doubles:
        """|left| + |right| of each item."""
        whole: Doubles = np.linalg.norm(self.left, axis=1) + np.linalg.norm(self.right, axis=1)
        return whole

    def relative(self) -> Doubles:
        """|left - right| / (|left| + |right|) of each item; 0 where both sides are 0."""
        scale = self.scale
        off = np.linalg.norm(self.difference, axis=1)
        found: Doubles = np.divide(off, scale, out=np.zeros_like(off), where=scale > 0)
        return found


class ItemEquations:
    """Gathers `ItemSides` from blocks of users, so that all of X need never be held at once."""

    def __init__(self, Y: Doubles, regularization: float) -> None:
        self._Y, self._regularization = Y, regularization
        self._gram = np.zeros((Y.shape[1], Y.shape[1]))
        self._left, self._right = np.zeros_like(Y), np.zeros_like(Y)
        self._trace = np.zeros(len(Y))

    def add(self, confidence: Any, X: Doubles) -> None:
        """Take in some users: their rows of c, float64 CSR (k, n_items), and X, (k, f)."""
        excess = confidence.data - 1.0
        scored = _with(confidence, excess * predictions(confidence, X, self._Y))
        self._gram += X.T @ X
        self._left += scored.T @ X
        self._right += confidence.T @ X
        self._trace += _with(confidence, excess).T @ np.einsum("uf,uf->u", X, X)

    def sides(self) -> ItemSides:
        """The equations of everybody taken in so far."""
        width = self._Y.shape[1]
        whole = self._gram + self._regularization * np.eye(width)
        return ItemSides(self._left + self._Y @ whole, self._right, self._trace + np.trace(whole))


def item_sides(confidence: Any, X: npt.NDArray[Any], Y: Doubles, reg: float) -> ItemSides:
    """Both sides of every item's equations at (X, Y), in blocks; X may be float32."""
    equations = ItemEquations(Y, reg)
    for rows in blocks(confidence):
        equations.add(confidence[rows], X[rows].astype(np.float64))
    return equations.sides()


class FoldIn:
    """Exact minimisers x*_u of the objective for given item factors.

    x*_u solves (M + Y_u' E Y_u) x = Y_u' c_u with M = Y'Y + reg I, E = diag(c_u - 1) over u's
    items. With M = L L' and Z = Y L^-T this is x = L^-T Z_u' v where (I + E Z_u Z_u') v = c_u
    (push-through identity): a system of the size of u's history, not of f. A history that is not
    shorter than f takes the f x f system instead.
    """

    def __init__(self, Y: Doubles, regularization: float) -> None:
        self._factor = scipy.linalg.cholesky(
            Y.T @ Y + regularization * np.eye(Y.shape[1]), lower=True
        )
        self._white = scipy.linalg.solve_triangular(self._factor, Y.T, lower=True).T.copy()

    def __call__(self, confidence: Any) -> Doubles:
        """x* for each row of c, float64 CSR (k, n_items): float64 (k, f); 0 for an empty row."""
        width = self._white.shape[1]
        white = np.zeros((confidence.shape[0], width))
        lengths = np.diff(confidence.indptr)
        padded = -(-lengths // _STEP) * _STEP
        for size in np.unique(padded[(lengths > 0) & (padded <= width)]):
            alike = np.flatnonzero(padded == size)
            step = max(1, _BLOCK_CELLS // int(size * width))
            for first in range(0, len(alike), step):
                rows = alike[first : first + step]
                white[rows] = self._short(confidence, rows, int(size))
        for row in np.flatnonzero(padded > width):
            white[row] = self._long(confidence, int(row))
        solved: Doubles = scipy.linalg.solve_triangular(
            self._factor, white.T, trans="T", lower=True
        ).T
        return solved

    def _short(self, confidence: Any, rows: npt.NDArray[np.int64], size: int) -> Doubles:
        """Histories padded to one length: a padded place has c = 0 and E = 0, so v = 0 there."""
        starts = confidence.indptr[rows].astype(np.int64)[:, None] + np.arange(size)
        real = starts < confidence.indptr[rows + 1].astype(np.int64)[:, None]
        places = np.where(real, starts, 0)
        weight = np.where(real, confidence.data[places], 0.0)
        excess = np.where(real, weight - 1.0, 0.0)
        Z = self._white[np.where(real, confidence.indices[places], 0)]
        system = np.eye(size) + excess[:, :, None] * (Z @ Z.transpose(0, 2, 1))
        v = np.linalg.solve(system, weight[:, :, None])
        found: Doubles = (Z.transpose(0, 2, 1) @ v)[:, :, 0]
        return found

    def _long(self, confidence: Any, row: int) -> Doubles:
        span = slice(confidence.indptr[row], confidence.indptr[row + 1])
        Z, weight = self._white[confidence.indices[span]], confidence.data[span]
        system = np.eye(Z.shape[1]) + (Z * (weight - 1.0)[:, None]).T @ Z
        found: Doubles = scipy.linalg.solve(system, Z.T @ weight, assume_a="pos")
        return found


def _with(pattern: Any, data: Doubles) -> Any:
    """The same places with other values."""
    return scipy.sparse.csr_matrix((data, pattern.indices, pattern.indptr), shape=pattern.shape)
