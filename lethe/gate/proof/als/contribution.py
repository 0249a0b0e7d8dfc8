"""How many copies of one person's history do the item factors contain?

Let G be the gradient of the retained objective with respect to the item factors at (X*, Y). If
the factors are stationary on the retained users plus a person u, then G is about -G_u, where
G_u = w_u x_u' is what u alone adds to the gradient: x_u is u's exact fold-in, and
w_ui = c_ui (x_u . y_i - 1) on u's items, x_u . y_i elsewhere. So, under weights W_i = 1/trace(H_i),

    a_u = -<G, G_u>_W / <G_u, G_u>_W

is about 1 for somebody who was trained on and is missing from the retained, and about 0 for
somebody who was never seen. Pretending that a retained user u is missing turns G into G - G_u
and leaves W fixed, hence gives exactly 1 + s_u, where s_u is the same quotient with the whole
G: the positive control costs no retraining.

Within a group the a_u are also solved jointly, because similar people share directions. Nothing
of size people x items is built: w_u is Y x_u plus a correction on u's own items.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import scipy

from lethe.gate.proof.algebra import Doubles, FoldIn, predictions

# Directions of the joint regression that carry less than this share of one person's own are too
# alike to be told apart; a person is then given the least share that explains the gradient.
_ALIKE = 0.01


@dataclass(frozen=True, eq=False, repr=False)
class Field:
    """The gradient of the retained objective at (X*, Y), and what is needed to project on it.

    `gradient` G and `item_factors` Y are float64 (n_items, f), `weights` W float64 (n_items,).
    """

    gradient: Doubles
    item_factors: Doubles
    weights: Doubles
    fold_in: FoldIn

    @cached_property
    def pull(self) -> Doubles:
        """Y' W G: (f, f)."""
        return (self.item_factors.T * self.weights) @ self.gradient

    @cached_property
    def gram(self) -> Doubles:
        """Y' W Y: (f, f)."""
        return (self.item_factors.T * self.weights) @ self.item_factors

    def without(self, people: People, shares: Doubles) -> Field:
        """The same field once `shares` copies of these people are put back: G + sum a_u G_u."""
        a = np.nan_to_num(shares)
        scaled = people.factors * a[:, None]
        back = self.item_factors @ (people.factors.T @ scaled) + people.corrections.T @ scaled
        return Field(self.gradient + back, self.item_factors, self.weights, self.fold_in)


@dataclass(frozen=True, eq=False, repr=False)
class People:
    """What each of some people would add to the gradient, in factored form.

    `factors` are exact fold-ins, float64 (k, f). `corrections` is CSR (k, n_items): w_u less
    Y x_u, which is (c - 1)(x . y) - c on u's items. `size` is <G_u, G_u>_W and `push` is
    -<G, G_u>_W, both float64 (k,).
    """

    field: Field
    factors: Doubles
    corrections: Any
    size: Doubles
    push: Doubles

    @classmethod
    def of(cls, confidence: Any, field: Field) -> People:
        """From rows of c, float64 CSR (k, n_items); an empty row has size 0."""
        X = field.fold_in(confidence)
        scored = predictions(confidence, X, field.item_factors)
        corrections = scipy.sparse.csr_matrix(
            (
                (confidence.data - 1.0) * scored - confidence.data,
                confidence.indices,
                confidence.indptr,
            ),
            shape=confidence.shape,
        )
        weighted = corrections @ (field.item_factors * field.weights[:, None])
        own = np.einsum("uf,fg,ug->u", X, field.gram, X, optimize=True)
        own += 2 * np.einsum("uf,uf->u", weighted, X)
        own += corrections.power(2) @ field.weights
        pulled = corrections @ (field.gradient * field.weights[:, None])
        push = np.einsum("uf,fg,ug->u", X, field.pull, X, optimize=True)
        push += np.einsum("uf,uf->u", pulled, X)
        length = np.einsum("uf,uf->u", X, X)
        return cls(field, X, corrections, np.maximum(own, 0.0) * length, -push)

    def alone(self) -> Doubles:
        """a_u of each person alone, float64 (k,); NaN for somebody who adds nothing."""
        measured = self.size > 0
        return np.divide(self.push, self.size, out=np.full_like(self.push, np.nan), where=measured)

    def jointly(self) -> Doubles:
        """a_u of all of them at once, float64 (k,); NaN for somebody who adds nothing.

        Solves K a = push with K_uv = (w_u' W w_v)(x_u' x_v), scaled to a unit diagonal.
        """
        measured = np.flatnonzero(self.size > 0)
        found = np.full(len(self.size), np.nan)
        if len(measured) == 0:
            return found
        scale = np.sqrt(self.size[measured])
        kernel = self._kernel(measured) / np.outer(scale, scale)
        values, vectors = scipy.linalg.eigh(kernel)
        kept = values > _ALIKE
        spread = vectors[:, kept].T @ (self.push[measured] / scale)
        found[measured] = (vectors[:, kept] @ (spread / values[kept])) / scale
        return found

    def _kernel(self, rows: Any) -> Doubles:
        X, d, field = self.factors[rows], self.corrections[rows], self.field
        cross = (d @ (field.item_factors * field.weights[:, None])) @ X.T
        own = (d.multiply(field.weights) @ d.T).toarray()
        kernel: Doubles = (X @ field.gram @ X.T + cross + cross.T + own) * (X @ X.T)
        return kernel
