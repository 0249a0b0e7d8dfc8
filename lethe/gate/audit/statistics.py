"""What an attacker computes from item factors and the history of one person.

Nothing here needs the factors of users: the attacker holds what a shop gives away with the items,
and knows the whole history of the person asked about.

- fold-in fit: the mean score of the person's own items, once the person is folded in;
- left-out items: the mean score of the (at most three) rarest items, each left out of the
  history that is folded in;
- cosine: the mean cosine between two items of the history.

ALS is folded in exactly (`lethe.gate.proof.algebra.FoldIn`). Of a recipe without equations the
person is the mean of the items' embeddings, biases count in the fit, and the rare items are scored
by the cosine.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import scipy

from lethe.gate.audit.curves import Doubles
from lethe.gate.proof.algebra import FoldIn, alphas, confidences, predictions

FIT, RARE, COSINE = "fold-in fit", "left-out items", "cosine"
STATISTICS = (FIT, RARE, COSINE)
_RAREST = 3


@dataclass(frozen=True)
class Equations:
    """The numbers of ALS that an exact fold-in needs, by their names in a manifest."""

    alpha: float
    regularization: float
    popularity_discount: float = 0.0


@dataclass(frozen=True, eq=False, repr=False)
class Asked:
    """The people asked about.

    `histories` are weights, float32 CSR (people, n_items), at least one item each. `left_out` has a
    row for each (person, rare item): the history without that item; `owner` and `item` name both.
    `popularity` is how many people touched each item, (n_items,): an attacker sees what sells.
    """

    histories: Any
    left_out: Any
    owner: npt.NDArray[np.int64]
    item: npt.NDArray[np.int64]
    popularity: npt.NDArray[np.int64]

    @classmethod
    def of(cls, histories: Any, popularity: npt.NDArray[Any]) -> Asked:
        """`popularity` as kept."""
        owner, item, kept = [], [], []
        for row in range(histories.shape[0]):
            span = np.arange(histories.indptr[row], histories.indptr[row + 1])
            by_rarity = np.argsort(popularity[histories.indices[span]], kind="stable")
            for place in by_rarity[:_RAREST]:
                owner.append(row)
                item.append(int(histories.indices[span[place]]))
                kept.append(np.delete(span, place))
        places = np.concatenate(kept) if kept else np.empty(0, dtype=np.int64)
        ends = np.concatenate(([0], np.cumsum([len(span) for span in kept])))
        left_out = scipy.sparse.csr_matrix(
            (histories.data[places], histories.indices[places], ends),
            shape=(len(kept), histories.shape[1]),
        )
        return cls(
            histories,
            left_out,
            np.array(owner, dtype=np.int64),
            np.array(item, dtype=np.int64),
            np.asarray(popularity, dtype=np.int64),
        )

    def per_person(self, scores: Doubles) -> Doubles:
        """The mean over each person's rare items of one score a row of `left_out`."""
        people = self.histories.shape[0]
        total = np.bincount(self.owner, weights=scores, minlength=people)
        found: Doubles = total / np.maximum(np.bincount(self.owner, minlength=people), 1)
        return found


def measured(
    asked: Asked, factors: Any, biases: Any | None, equations: Equations | None
) -> dict[str, Doubles]:
    """Each statistic of each person on one model: name -> float64 (people,).

    `factors` are the item factors, (n_items, f); `biases` those of the items, (n_items,) or None.
    """
    Y = np.asarray(factors, dtype=np.float64)
    found = (
        _by_embeddings(asked, Y, biases)
        if equations is None
        else _by_equations(asked, Y, equations)
    )
    return {**found, COSINE: _cosine(asked.histories, _unit(Y))}


def _by_equations(asked: Asked, Y: Doubles, equations: Equations) -> dict[str, Doubles]:
    fold_in = FoldIn(Y, equations.regularization)
    alpha = alphas(asked.popularity, equations.alpha, equations.popularity_discount)
    confidence = confidences(asked.histories, alpha)
    scored = predictions(confidence, fold_in(confidence), Y)
    others = fold_in(confidences(asked.left_out, alpha))
    return {
        FIT: _row_means(asked.histories, scored),
        RARE: asked.per_person(np.einsum("kf,kf->k", others, Y[asked.item])),
    }


def _by_embeddings(asked: Asked, Y: Doubles, biases: Any | None) -> dict[str, Doubles]:
    touched = _pattern(asked.histories)
    lengths = np.maximum(np.diff(touched.indptr), 1)
    middle = (touched @ Y) / lengths[:, None]
    fit = np.einsum("kf,kf->k", middle, middle)
    if biases is not None:
        fit = fit + (touched @ np.asarray(biases, dtype=np.float64)) / lengths
    unit = _unit(Y)
    rest = _unit(_pattern(asked.left_out) @ unit)
    return {FIT: fit, RARE: asked.per_person(np.einsum("kf,kf->k", rest, unit[asked.item]))}


def _cosine(histories: Any, unit: Doubles) -> Doubles:
    """Mean over pairs of items; 0 for somebody with fewer than two items that have a direction."""
    touched = _pattern(histories)
    directed = touched @ (np.abs(unit).sum(axis=1) > 0).astype(np.float64)
    summed = touched @ unit
    pairs = np.maximum(directed * (directed - 1), 1.0)
    found: Doubles = (np.einsum("kf,kf->k", summed, summed) - directed) / pairs
    return np.asarray(np.where(directed > 1, found, 0.0), dtype=np.float64)


def _pattern(histories: Any) -> Any:
    ones = np.ones(histories.nnz)
    return scipy.sparse.csr_matrix(
        (ones, histories.indices, histories.indptr), shape=histories.shape
    )


def _unit(rows: Doubles) -> Doubles:
    size = np.linalg.norm(rows, axis=1, keepdims=True)
    found: Doubles = np.divide(rows, size, out=np.zeros_like(rows), where=size > 0)
    return found


def _row_means(histories: Any, values: Doubles) -> Doubles:
    owner = np.repeat(np.arange(histories.shape[0]), np.diff(histories.indptr))
    total = np.bincount(owner, weights=values, minlength=histories.shape[0])
    found: Doubles = total / np.maximum(np.diff(histories.indptr), 1)
    return found
